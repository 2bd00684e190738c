// RWKV-4's weighted averages on the CPU, V channels in a vector: see kernels/rwkv4.py for the map. Within a chunk an average is a sum of
// values over a sum of weights, both relative to e^top, and the decay multiplies them (a slow one would be lost in adding it to `top`); between chunks it
// is the average and the log of its weight. Work is shared out by document and part of channels, so the result does not depend on the threads.
#include "parallel.h"
#include "vector.h"

#include <algorithm>

namespace {

constexpr long CHUNK = 64, PART = 64;  // at the fastest decay that multiplies, e^-1, weights of a chunk stay above 1e-28

// Of a normal number, and exact near 1: what settling adds to a long memory's weight must not drift.
inline vec log(vec x) {
    const ivec bits = (ivec)x - 0x3f400000, whole = bits >> 23;  // a mantissa in [0.75, 1.5)
    const vec m = (vec)((bits & 0x7fffff) + 0x3f400000), s = (m - 1.0f) / (m + 1.0f), q = s * s;
    const vec series = 1.0f + q * (0.33333333f + q * (0.2f + q * (0.14285714f + q * 0.11111111f)));
    return x == x ? __builtin_convertvector(whole, vec) * 0.693147181f + 2.0f * s * series : x;
}
inline vec larger(vec a, vec b) { return a > b || a != a ? a : b; }

// Decay of a step: a slow one is a factor, a fast one a summand of `top`, so that neither is lost.
struct Decay {
    vec factor, summand, slip{};  // slip: what the factor, rounded to float32, lacks of the log decay in each step
    explicit Decay(vec w) : factor(w < -1.0f ? all(1) : exp(w)), summand(w < -1.0f ? w : all(0)) {
        const vec change = w * (1.0f + w * (0.5f + w * (1.0f / 6 + w * (1.0f / 24 + w * (1.0f / 120 + w * (1.0f / 720)))))), near = 1.0f + change;
        factor = w > -0.25f ? near : factor;
        slip = w > -0.25f ? (change - (near - 1.0f)) / near : vec{};
    }
};

// S sums of one channel vector whose terms carry weights e^log, as multiples of e^top; sums[S - 1] is that of the weights alone.
template <int S>
struct Sums {
    vec top, sums[S];

    void start(vec log_weight, const vec (&means)[S - 1]) {
        top = log_weight;
        for (int i = 0; i < S - 1; ++i) sums[i] = means[i];
        sums[S - 1] = all(1);
    }
    void add(const Decay& decay, vec log_weight, const vec (&terms)[S]) {
        const vec faded = top + decay.summand, gap = log_weight - faded, less = exp(gap < 0.0f ? gap : -gap);
        const vec old = decay.factor * (gap > 0.0f ? less : all(1)), fresh = gap > 0.0f ? all(1) : less;
        for (int i = 0; i < S; ++i) sums[i] = old * sums[i] + fresh * terms[i];
        top = larger(faded, log_weight);
    }
    void settle(const Decay& decay, long steps) {
        const vec one_by = 1.0f / sums[S - 1];
        top += log(sums[S - 1]) + (float)steps * decay.slip;
        for (int i = 0; i < S - 1; ++i) sums[i] *= one_by;
        sums[S - 1] = all(1);
    }
};

// The answer to one token: the average of the past and of the token's value, whose weight has the bonus.
struct Answer {
    vec top, weight, share, y;  // all weights: weight e^top; the token's share of them

    Answer(const Sums<2>& past, vec log_weight, vec value) {
        top = larger(past.top, log_weight);
        const vec gap = log_weight - past.top, less = exp(gap < 0.0f ? gap : -gap);
        const vec old = gap > 0.0f ? less : all(1), own = gap > 0.0f ? all(1) : less;
        weight = old * past.sums[1] + own;
        share = own / weight;
        y = old * past.sums[0] / weight + share * value;
    }
};

struct Sizes {
    long B, T, E;
    long parts() const { return (E + PART - 1) / PART; }
    long chunks() const { return (T + CHUNK - 1) / CHUNK; }
};

// work(channel, count) for each vector of a part
template <class Work>
inline void over_part(const Sizes& z, long part, const Work& work) {
    for (long e = part * PART; e < std::min(z.E, (part + 1) * PART); e += V) work(e, std::min<long>(V, z.E - e));
}

}  // namespace

struct Inputs {
    const float *k, *v, *w, *u, *mean, *weight;  // (B, T, E) twice, (E) twice, (B, E) twice
};

struct Gradients {
    const float *y, *mean, *weight, *before, *last_mean, *last_weight;  // of the outputs, and what the forward pass left
    float *k, *v, *w, *u, *first_mean, *first_weight;                   // of the inputs; w and u once per document
};

// y (B, T, E), mean, weight (B, E); before: (B, chunks, 2, E), average and log weight before each chunk
extern "C" int rwkv4_forward(const Inputs* in, float* y, float* mean, float* weight, float* before, long B, long T, long E, int threads) {
    const Sizes z{B, T, E};
    return parallel(B * z.parts(), threads, [&](long item) {
        const long b = item / z.parts(), part = item % z.parts();
        over_part(z, part, [&](long e, long count) {
            store(mean + b * E + e, load(in->mean + b * E + e, count), count);
            store(weight + b * E + e, load(in->weight + b * E + e, count), count);
        });
        for (long c = 0; c < z.chunks(); ++c)
            over_part(z, part, [&](long e, long count) {
                const Decay decay(load(in->w + e, count));
                const vec bonus = load(in->u + e, count);
                const long here = b * E + e;
                Sums<2> past;
                past.start(load(weight + here, count), {load(mean + here, count)});
                float* kept = before + (b * z.chunks() + c) * 2 * E + e;
                store(kept, past.sums[0], count);
                store(kept + E, past.top, count);
                for (long t = b * T + c * CHUNK, end = b * T + std::min(T, (c + 1) * CHUNK); t < end; ++t) {
                    const vec k = load(in->k + t * E + e, count), v = load(in->v + t * E + e, count);
                    store(y + t * E + e, Answer(past, bonus + k, v).y, count);
                    past.add(decay, k, {v, all(1)});
                }
                past.settle(decay, std::min(CHUNK, T - c * CHUNK));
                store(mean + here, past.sums[0], count);
                store(weight + here, past.top, count);
            });
    });
}

extern "C" int rwkv4_backward(const Inputs* in, const Gradients* to, long B, long T, long E, int threads) {
    const Sizes z{B, T, E};
    return parallel(B * z.parts(), threads, [&](long item) {
        const long b = item / z.parts(), part = item % z.parts();
        // Walking back, the future is sums of the same kind: weights 1 / (all weights at s), values dy and dy y.
        std::vector<Sums<3>> futures(PART / V);
        std::vector<vec> dws(PART / V), dus(PART / V);
        std::vector<Sums<2>> pasts(CHUNK, Sums<2>{});
        std::vector<vec> tops(CHUNK), weights(CHUNK), shares(CHUNK), ys(CHUNK);
        over_part(z, part, [&](long e, long count) {
            const vec dmean = load(to->mean + b * E + e, count), mean = load(to->last_mean + b * E + e, count);
            futures[(e - part * PART) / V].start(
                -load(to->last_weight + b * E + e, count), {dmean, mean * dmean - load(to->weight + b * E + e, count)});
        });
        for (long c = z.chunks(); c-- > 0;)
            over_part(z, part, [&](long e, long count) {
                const long place = (e - part * PART) / V, start = b * T + c * CHUNK, n = std::min(CHUNK, T - c * CHUNK);
                const vec bonus = load(in->u + e, count);
                const Decay decay(load(in->w + e, count));
                const float* kept = to->before + (b * z.chunks() + c) * 2 * E + e;
                Sums<2> past;
                past.start(load(kept + E, count), {load(kept, count)});
                for (long i = 0; i < n; ++i) {
                    const vec k = load(in->k + (start + i) * E + e, count), v = load(in->v + (start + i) * E + e, count);
                    const Answer answer(past, bonus + k, v);
                    pasts[i] = past, tops[i] = answer.top, weights[i] = answer.weight, shares[i] = answer.share, ys[i] = answer.y;
                    past.add(decay, k, {v, all(1)});
                }
                Sums<3>& future = futures[place];
                vec dw{}, du{};
                for (long i = n; i-- > 0;) {
                    const long at = (start + i) * E + e;
                    const vec k = load(in->k + at, count), v = load(in->v + at, count), dy = load(to->y + at, count);
                    const vec own = dy * shares[i], worth = own * (v - ys[i]), reach = exp(k + future.top);
                    store(to->v + at, own + reach * future.sums[0], count);
                    store(to->k + at, worth + reach * (future.sums[0] * v - future.sums[1]), count);
                    dw += exp(pasts[i].top + decay.summand + future.top) * (future.sums[0] * pasts[i].sums[0] - future.sums[1] * pasts[i].sums[1]);
                    du += worth;
                    const vec one_by = 1.0f / weights[i];
                    future.add(decay, -tops[i], {dy * one_by, dy * ys[i] * one_by, one_by});
                }
                future.settle(decay, n);
                dws[place] += decay.factor * dw;
                dus[place] += du;
            });
        over_part(z, part, [&](long e, long count) {
            const long here = b * E + e, place = (e - part * PART) / V;
            const vec mean = load(in->mean + here, count), reach = exp(load(in->weight + here, count) + futures[place].top);
            const vec dmean = futures[place].sums[0];
            store(to->first_mean + here, reach * dmean, count);
            store(to->first_weight + here, reach * (dmean * mean - futures[place].sums[1]), count);
            store(to->w + here, dws[place], count);
            store(to->u + here, dus[place], count);
        });
    });
}
