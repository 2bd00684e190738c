// A convolution over the past of each channel by itself, with silu as in front of Mamba's scan or without. out[t] = silu(bias + sum
// over i < W of weight[:, i] * x[t + i - W + 1]); the W - 1 steps before the first are given. Backwards the sums are computed again.
#include <algorithm>

#include "parallel.h"
#include "vector.h"

constexpr long PART = 128, STEPS = 64;

struct Convolution {
    long B, T, E, W, x_row, silu;
    const float *x, *before, *weight, *bias;  // x rows may lie apart; before (B, W - 1, E), weight (W, E), bias (E)
};

namespace {

inline const float* step(const Convolution& c, long b, long t) {
    return t < 0 ? c.before + (b * (c.W - 1) + c.W - 1 + t) * c.E : c.x + (b * c.T + t) * c.x_row;
}

inline vec weighted(const Convolution& c, long b, long t, long e, long count) {
    vec total = load(c.bias + e, count);
    for (long i = 0; i < c.W; ++i) total += load(c.weight + i * c.E + e, count) * load(step(c, b, t + i - c.W + 1) + e, count);
    return total;
}

void backward(const Convolution& c, long item, const float* dout, float* dx, float* dbefore, float* dweight, float* dbias) {
    const long parts = (c.E + PART - 1) / PART, b = item / parts, first = item % parts * PART, end = std::min(c.E, first + PART);
    std::vector<vec> flows(STEPS + c.W - 1), weights(c.W), dw(c.W);  // flows: gradients of the sums, of W - 1 further steps too
    for (long e = first; e < end; e += V) {
        const long count = std::min<long>(V, c.E - e);
        std::fill(flows.begin(), flows.end(), vec{});
        std::fill(dw.begin(), dw.end(), vec{});
        vec db{};
        for (long i = 0; i < c.W; ++i) weights[i] = load(c.weight + i * c.E + e, count);
        for (long start = (c.T - 1) / STEPS * STEPS; start >= 0; start -= STEPS) {
            const long steps = std::min(STEPS, c.T - start);
            std::copy_backward(flows.begin(), flows.begin() + c.W - 1, flows.begin() + steps + c.W - 1);
            for (long i = 0; i < steps; ++i) {
                vec flow = load(dout + (b * c.T + start + i) * c.E + e, count);
                if (c.silu) {
                    const vec z = weighted(c, b, start + i, e, count), on = sigmoid(z);
                    flow *= on * (1.0f + z * (1.0f - on));
                }
                flows[i] = flow;
                db += flow;
                for (long j = 0; j < c.W; ++j) dw[j] += flow * load(step(c, b, start + i + j - c.W + 1) + e, count);
            }
            for (long i = 0; i < steps; ++i) {
                vec total{};
                for (long j = 0; j < c.W; ++j) total += weights[j] * flows[i + c.W - 1 - j];
                store(dx + (b * c.T + start + i) * c.E + e, total, count);
            }
        }
        for (long i = 0; i < c.W - 1; ++i) {  // step i - (W - 1) was weighted by weight j at step i - j of the document
            vec total{};
            for (long j = 0; j <= i; ++j)
                if (i - j < c.T) total += weights[j] * flows[i - j];
            store(dbefore + (b * (c.W - 1) + i) * c.E + e, total, count);
        }
        for (long i = 0; i < c.W; ++i) store(dweight + (b * c.W + i) * c.E + e, dw[i], count);
        store(dbias + b * c.E + e, db, count);
    }
}

}  // namespace

extern "C" int convolution_forward(const Convolution* c, float* out, int threads) {
    const long blocks = (c->T + STEPS - 1) / STEPS;
    return parallel(c->B * blocks, threads, [&](long item) {
        const long b = item / blocks, start = item % blocks * STEPS, end = std::min(c->T, start + STEPS);
        for (long t = start; t < end; ++t)
            for (long e = 0; e < c->E; e += V) {
                const long count = std::min<long>(V, c->E - e);
                const vec z = weighted(*c, b, t, e, count);
                store(out + (b * c->T + t) * c->E + e, c->silu ? z * sigmoid(z) : z, count);
            }
    });
}

// Gradients of weight (B, W, E) and bias (B, E) are those of each document.
extern "C" int convolution_backward(
    const Convolution* c, const float* dout, float* dx, float* dbefore, float* dweight, float* dbias, int threads) {
    const long parts = (c->E + PART - 1) / PART;
    return parallel(c->B * parts, threads, [&](long item) { backward(*c, item, dout, dx, dbefore, dweight, dbias); });
}
