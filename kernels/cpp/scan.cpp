// Mamba's selective scan on the CPU, V channels in a vector. The backward pass computes the states of a chunk again, from the
// one before it, into buffers that stay in the cache. Work is shared out by document and part (PART channels): the result
// does not depend on the number of threads. Letters as in kernels/scan.py; arrays of channels may have a row stride.
#include <algorithm>

#include "parallel.h"
#include "vector.h"

constexpr long PART = 128, GROUPS = PART / V;
constexpr float LOG2E = 1.44269504f;

struct Scan {
    long B, T, E, N, L;  // L: steps per chunk
    long x_row, dt_row, gate_row;
    long softplus;  // whether dt is given before its softplus
    const float *x, *dt, *A, *Bs, *Cs, *D, *gate, *state;  // gate, state: may be none
};

namespace {

struct Place {  // what one item of work covers
    long b, part, first, groups;
    Place(const Scan& s, long item) {
        const long parts = (s.E + PART - 1) / PART;
        b = item / parts, part = item % parts, first = part * PART;
        groups = (std::min(PART, s.E - first) + V - 1) / V;
    }
};

// (E, N) in memory, or zeros, to N vectors of `count` channels; and back.
inline void gather(vec* to, const float* from, long N, long count, float scale = 1) {
    for (long n = 0; n < N; ++n) to[n] = vec{};
    if (from)
        for (long e = 0; e < count; ++e)
            for (long n = 0; n < N; ++n) to[n][e] = scale * from[e * N + n];
}
inline void scatter(float* to, const vec* from, long N, long count) {
    for (long e = 0; e < count; ++e)
        for (long n = 0; n < N; ++n) to[e * N + n] = from[n][e];
}

void forward(const Scan& s, long item, float* y, float* last, float* before) {
    const Place at(s, item);
    const long N = s.N, chunks = (s.T + s.L - 1) / s.L, padded = (s.E + 15) / 16 * 16;
    std::vector<vec> states(GROUPS * N), rates(GROUPS * N);
    for (long g = 0; g < at.groups; ++g) {
        const long e = at.first + g * V, count = std::min<long>(V, s.E - e);
        gather(&rates[g * N], s.A + e * N, N, count, LOG2E);
        gather(&states[g * N], s.state ? s.state + (at.b * s.E + e) * N : nullptr, N, count);
    }
    for (long c = 0; c < chunks; ++c)
        for (long g = 0; g < at.groups; ++g) {
            const long e = at.first + g * V, count = std::min<long>(V, s.E - e);
            vec* const state = &states[g * N];
            if (before)
                for (long n = 0; n < N; ++n) store(before + ((at.b * chunks + c) * N + n) * padded + e, state[n]);
            const vec *rate = &rates[g * N], skip = load(s.D + e, count);
            for (long t = at.b * s.T + c * s.L, end = at.b * s.T + std::min(s.T, (c + 1) * s.L); t < end; ++t) {
                const vec x = load(s.x + t * s.x_row + e, count), given = load(s.dt + t * s.dt_row + e, count);
                const vec dt = s.softplus ? softplus(given) : given, fed = dt * x;
                const float *B = s.Bs + t * N, *C = s.Cs + t * N;
                vec out = skip * x;
                for (long n = 0; n < N; ++n) {
                    state[n] = exp2(dt * rate[n]) * state[n] + fed * B[n];
                    out += state[n] * C[n];
                }
                if (s.gate) {
                    const vec z = load(s.gate + t * s.gate_row + e, count);
                    out *= z * sigmoid(z);
                }
                store(y + t * s.E + e, out, count);
            }
        }
    for (long g = 0; g < at.groups; ++g) {
        const long e = at.first + g * V;
        scatter(last + (at.b * s.E + e) * N, &states[g * N], N, std::min<long>(V, s.E - e));
    }
}

struct Gradients {
    const float *y, *last, *before;  // gradients of the outputs, and the states before each chunk
    float *x, *dt, *A, *Bs, *Cs, *D, *gate, *state;  // A, D: one per document; Bs, Cs: one per part; gate may be none
};

void backward(const Scan& s, long item, const Gradients& to) {
    const Place at(s, item);
    const long N = s.N, L = s.L, chunks = (s.T + L - 1) / L, padded = (s.E + 15) / 16 * 16;
    std::vector<vec> rates(GROUPS * N), carries(GROUPS * N), dAs(GROUPS * N), dDs(GROUPS);
    std::vector<vec> states((L + 1) * N), decays(L * N), dBs(L * N), dCs(L * N), dts(L), slopes(L), dys(L);
    for (long g = 0; g < at.groups; ++g) {
        const long e = at.first + g * V, count = std::min<long>(V, s.E - e);
        gather(&rates[g * N], s.A + e * N, N, count);
        gather(&carries[g * N], to.last + (at.b * s.E + e) * N, N, count);
    }
    for (long c = chunks; c-- > 0;) {
        const long start = at.b * s.T + c * L, steps = std::min(L, s.T - c * L);
        std::fill_n(dBs.begin(), steps * N, vec{});
        std::fill_n(dCs.begin(), steps * N, vec{});
        for (long g = 0; g < at.groups; ++g) {
            const long e = at.first + g * V, count = std::min<long>(V, s.E - e);
            const vec *rate = &rates[g * N], skip = load(s.D + e, count);
            for (long n = 0; n < N; ++n) states[n] = load(to.before + ((at.b * chunks + c) * N + n) * padded + e);
            for (long i = 0; i < steps; ++i) {
                const long t = start + i;
                const vec x = load(s.x + t * s.x_row + e, count), given = load(s.dt + t * s.dt_row + e, count);
                const vec dt = s.softplus ? softplus(given) : given, fed = dt * x, dt2 = dt * LOG2E;
                dts[i] = dt;
                slopes[i] = s.softplus ? sigmoid(given) : all(1);
                const float *B = s.Bs + t * N, *C = s.Cs + t * N;
                const vec* earlier = &states[i * N];
                vec *later = &states[(i + 1) * N], *decay = &decays[i * N], out = skip * x;
                for (long n = 0; n < N; ++n) {
                    decay[n] = exp2(dt2 * rate[n]);
                    later[n] = decay[n] * earlier[n] + fed * B[n];
                    out += later[n] * C[n];
                }
                dys[i] = load(to.y + t * s.E + e, count);
                if (s.gate) {
                    const vec z = load(s.gate + t * s.gate_row + e, count), on = sigmoid(z);
                    store(to.gate + t * s.E + e, dys[i] * out * on * (1.0f + z * (1.0f - on)), count);
                    dys[i] *= z * on;
                }
            }
            vec *carry = &carries[g * N], *dA = &dAs[g * N];
            for (long i = steps; i-- > 0;) {
                const long t = start + i;
                const vec x = load(s.x + t * s.x_row + e, count), dt = dts[i], dy = dys[i], fed = dt * x;
                const float *B = s.Bs + t * N, *C = s.Cs + t * N;
                const vec *earlier = &states[i * N], *later = &states[(i + 1) * N], *decay = &decays[i * N];
                vec *dB = &dBs[i * N], *dC = &dCs[i * N], dfed{}, ddt{};
                for (long n = 0; n < N; ++n) {
                    const vec G = carry[n] + dy * C[n];
                    dC[n] += dy * later[n];
                    dB[n] += fed * G;
                    dfed += G * B[n];
                    carry[n] = decay[n] * G;
                    const vec flow = carry[n] * earlier[n];  // gradient of dt A
                    dA[n] += dt * flow;
                    ddt += rate[n] * flow;
                }
                dDs[g] += dy * x;
                store(to.x + t * s.E + e, dfed * dt + skip * dy, count);
                store(to.dt + t * s.E + e, (ddt + dfed * x) * slopes[i], count);
            }
        }
        for (long i = 0; i < steps * N; ++i) {
            const long place = (at.part * s.B * s.T + start) * N + i;
            to.Bs[place] = sum(dBs[i]);
            to.Cs[place] = sum(dCs[i]);
        }
    }
    for (long g = 0; g < at.groups; ++g) {
        const long e = at.first + g * V, count = std::min<long>(V, s.E - e);
        scatter(to.A + (at.b * s.E + e) * N, &dAs[g * N], N, count);
        scatter(to.state + (at.b * s.E + e) * N, &carries[g * N], N, count);
        store(to.D + at.b * s.E + e, dDs[g], count);
    }
}

long items(const Scan& s) { return s.B * ((s.E + PART - 1) / PART); }

}  // namespace

// y (B, T, E), last (B, E, N), before: none, or (B, chunks, N, E to a multiple of 16), the states before each chunk.
extern "C" int scan_forward(const Scan* s, float* y, float* last, float* before, int threads) {
    return parallel(items(*s), threads, [&](long item) { forward(*s, item, y, last, before); });
}

extern "C" int scan_backward(const Scan* s, const Gradients* to, int threads) {
    return parallel(items(*s), threads, [&](long item) { backward(*s, item, *to); });
}
