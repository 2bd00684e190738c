// Vectors of V floats that any GCC or Clang turns into the machine's own, and the few functions the kernels need on them.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int V = 16;
#elif defined(__AVX__)
constexpr int V = 8;
#else
constexpr int V = 4;
#endif
typedef float vec __attribute__((vector_size(4 * V)));
typedef int32_t ivec __attribute__((vector_size(4 * V)));
typedef float loose __attribute__((vector_size(4 * V), aligned(4), may_alias));

inline vec all(float x) { return x - vec{}; }

// The first `count` lanes from memory, zeros after them.
inline vec load(const float* from, long count = V) {
    if (count >= V) return *reinterpret_cast<const loose*>(from);
    vec x{};
    std::memcpy(&x, from, count * sizeof(float));
    return x;
}

inline void store(float* to, vec x, long count = V) {
    if (count >= V) *reinterpret_cast<loose*>(to) = x;
    else std::memcpy(to, &x, count * sizeof(float));
}

inline float sum(vec x) {
    float total = 0;
    for (int i = 0; i < V; ++i) total += x[i];
    return total;
}

// 2^x to 1e-7 of its value, and to 3e-7 of 1 - 2^x near 0, which is what a long memory asks for. 0 below 2^-126, infinite above 2^128.
inline vec exp2(vec x) {
    constexpr float SHIFT = 12582912.0f;  // adding 1.5 * 2^23 rounds to a whole number and leaves it in the lowest bits
    x = x < -127.0f ? all(-127.0f) : x;
    x = x > 128.0f ? all(128.0f) : x;
    const vec shifted = x + SHIFT;
    const vec f = x - (shifted - SHIFT);
    const vec p = ((((1.326472731e-3f * f + 9.671512991e-3f) * f + 5.550733581e-2f) * f + 2.402224243e-1f) * f + 6.931470037e-1f) * f + 1.0f;
    return p * (vec)(((ivec)shifted + 127) << 23);
}

inline vec exp(vec x) { return exp2(x * 1.44269504f); }

// log(1 + u) for u in [0, 1], as 2 atanh(u / (2 + u)): exact for tiny u too.
inline vec log1p(vec u) {
    const vec s = u / (2.0f + u), q = s * s;
    return s * (2.0f + q * (0.66666317f + q * (0.40024909f + q * (0.27960601f + q * 0.28178334f))));
}

inline vec sigmoid(vec x) {
    const vec u = exp(x < 0.0f ? x : -x), r = 1.0f / (1.0f + u);
    return x < 0.0f ? u * r : r;
}

inline vec softplus(vec x) { return (x > 0.0f ? x : vec{}) + log1p(exp(x < 0.0f ? x : -x)); }
