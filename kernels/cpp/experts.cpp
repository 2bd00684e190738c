// What lies between an expert's two matrix products, forward and backward, each in one pass over rows that are still in the cache.
#include "parallel.h"
#include "vector.h"

namespace {

constexpr long ROWS = 32;

// f, and its derivative, of up to V numbers. The normal distribution's tail is Abramowitz and Stegun 7.1.26 (absolute error 1e-7).
struct Gelu {
    static constexpr long wide = 1;
    vec x, below, density;
    Gelu(const float* h, long, long count) : x(load(h, count)) {
        const vec z = x < 0.0f ? -x : x, bell = exp(-0.5f * x * x), t = 1.0f / (1.0f + 0.2316419f * z);
        const vec tail = 0.5f * bell * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
        below = x < 0.0f ? tail : 1.0f - tail;
        density = 0.3989422804f * bell;
    }
    vec value() const { return x * below; }
    void pull_back(vec da, float* dh, long, long count) const { store(dh, da * (below + x * density), count); }
};

struct SwiGLU {
    static constexpr long wide = 2;
    vec gate, up, s;
    SwiGLU(const float* h, long width, long count) : gate(load(h, count)), up(load(h + width, count)), s(sigmoid(gate)) {}
    vec value() const { return gate * s * up; }
    void pull_back(vec da, float* dh, long width, long count) const {
        store(dh, da * up * s * (1.0f + gate * (1.0f - s)), count);
        store(dh + width, da * gate * s, count);
    }
};

template <class Row>
int by_rows(long rows, int threads, const Row& row) {
    return parallel((rows + ROWS - 1) / ROWS, threads, [&](long i) {
        for (long r = i * ROWS; r < rows && r < (i + 1) * ROWS; ++r) row(r);
    });
}

template <class F>
int forward(const float* h, float* a, long rows, long width, int threads) {
    return by_rows(rows, threads, [&](long r) {
        for (long f = 0; f < width; f += V) store(a + r * width + f, F(h + r * F::wide * width + f, width, width - f).value(), width - f);
    });
}

// Given da, the gradient of an unweighted f: a = weight f(h), dh, and dweight = da f(h).
template <class F>
int backward(const float* h, const float* da, const float* weight, float* a, float* dh, float* dweight, long rows, long width, int threads) {
    return by_rows(rows, threads, [&](long r) {
        vec total{};
        for (long f = 0; f < width; f += V) {
            const long here = r * width + f, wide = r * F::wide * width + f;
            const F at(h + wide, width, width - f);
            const vec value = at.value(), grad = load(da + here, width - f);
            total += grad * value;
            store(a + here, weight[r] * value, width - f);
            at.pull_back(weight[r] * grad, dh + wide, width, width - f);
        }
        dweight[r] = sum(total);
    });
}

}  // namespace

extern "C" {

int gelu_forward(const float* h, float* a, long rows, long width, int threads) { return forward<Gelu>(h, a, rows, width, threads); }
int swiglu_forward(const float* h, float* a, long rows, long width, int threads) { return forward<SwiGLU>(h, a, rows, width, threads); }

int gelu_backward(const float* h, const float* da, const float* weight, float* a, float* dh, float* dweight, long rows, long width, int threads) {
    return backward<Gelu>(h, da, weight, a, dh, dweight, rows, width, threads);
}

int swiglu_backward(const float* h, const float* da, const float* weight, float* a, float* dh, float* dweight, long rows, long width, int threads) {
    return backward<SwiGLU>(h, da, weight, a, dh, dweight, rows, width, threads);
}

}
