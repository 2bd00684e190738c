// A matrix memory whose transition is diagonal plus rank one, step by step: see kernels/delta_rule.py for the map.
// Columns of the state (value channels) never meet, and given what a step writes neither do its rows (key channels). So the two sweeps that
// must sum over keys hold columns in their vectors, and the gradients that sum over values hold rows; no sum ever crosses the lanes.
#include "parallel.h"
#include "vector.h"

#include <algorithm>
#include <memory>

namespace {

constexpr long CHUNK = 32;  // steps between two kept states
constexpr int ROWS = 4;     // value channels that are taken together where vectors hold keys

typedef float aligned __attribute__((vector_size(4 * V), may_alias));
inline aligned& at(float* p) { return *reinterpret_cast<aligned*>(p); }
inline const aligned& at(const float* p) { return *reinterpret_cast<const aligned*>(p); }
inline long whole(long n) { return (n + V - 1) / V * V; }

}  // namespace

// The map's inputs; without `g` nothing decays. With `beta` it is the delta rule, and a and b are absent.
struct DeltaRule {
    long B, T, H, K, M;  // M: value size
    long per_key;        // whether g is (B, T, H, K), else (B, T, H)
    float scale;
    const float *q, *k, *v, *g, *beta, *a, *b, *state;
};

struct Gradients {
    const float *out, *last, *seen, *before;
    float *q, *k, *v, *g, *beta, *a, *b, *state;
};

namespace {

// exp(g), rounded so that what float32 cannot hold of one decay is handed to the next: products of any length stay exact.
inline vec decay(vec g, vec& lost) {
    vec change = g * (1.0f + g * (1.0f / 2 + g * (1.0f / 6 + g * (1.0f / 24 + g * (1.0f / 120 + g * (1.0f / 720 + g * (1.0f / 5040)))))));
    change += lost * (1.0f + change);
    const vec near = 1.0f + change, rest = (change - (near - 1.0f)) / near;
    lost = g > -0.35f ? rest : vec{};
    return g > -0.35f ? near : exp(g);
}

// One head's memory and one chunk of its steps. The memory is `faded` times `state`, by key: a slow decay is multiplied into `faded`, in which
// it is exact, and into the state once per chunk or where `faded` would fall below 0.7, since a state that is rounded at every step, always to
// the same side, drifts. So q, k, a, b are those of `state`, and `keep` is mostly 1. Row t + 1 of each array is step t; the rows before and after the chunk change nothing.
struct Head {
    const DeltaRule& in;
    const long b, h, keys = whole(in.K), M = whole(in.M);
    const long K = keys + V;  // a row of keys and a gap: half rows of a power of two would share half of a cache's sets
    std::unique_ptr<float[]> memory;
    // A step is state = keep state + b_' (a state) + k' v, or with one key for both keep state + k' (v + a state).
    float *q, *k, *a, *b_, *keep, *faded;  // (CHUNK + 2, K)
    float *v, *seen, *out;              // (CHUNK + 2, M): what is written, what is seen (a state), and the output or its gradient
    float *state;                       // (K, M)
    float *dq, *dk, *da, *db, *dkeep;   // (CHUNK + 2, K)
    float *dv, *dseen, *grad;           // as v, seen, state
    float *state_t, *grad_t, *history;  // (M, K) twice; the states of a few rows at every step
    long start = 0, n = 0;

    Head(const DeltaRule& in, long head, bool training) : in(in), b(head / in.H), h(head % in.H) {
        const long rows = std::min(CHUNK, in.T) + 2, by_key = rows * K, by_value = rows * M;
        const long floats = 6 * by_key + 3 * by_value + K * M + (training ? 5 * by_key + 2 * by_value + 3 * K * M + CHUNK * ROWS * 2 * V : 0) + V;
        memory.reset(new float[floats]());
        float* free = memory.get() + (V - reinterpret_cast<std::size_t>(memory.get()) / 4 % V) % V;
        auto take = [&](long size) { return free += size, free - size; };
        for (float** p : {&q, &k, &a, &b_, &keep, &faded}) *p = take(by_key);
        for (float** p : {&v, &seen, &out}) *p = take(by_value);
        state = take(K * M);
        if (!training) return;
        for (float** p : {&dq, &dk, &da, &db, &dkeep}) *p = take(by_key);
        for (float** p : {&dv, &dseen}) *p = take(by_value);
        for (float** p : {&grad, &state_t, &grad_t}) *p = take(K * M);
        history = take(CHUNK * ROWS * 2 * V);
    }

    bool two() const { return in.b; }
    long step(long t) const { return (b * in.T + t) * in.H + h; }
    long unit() const { return b * in.H + h; }

    void open(long first) {
        start = first, n = std::min(CHUNK, in.T - start);
        for (long j = 0; j < keys; j += V) {
            at(keep + j) = at(keep + (n + 1) * K + j) = at(faded + j) = all(1.0f);
            at(a + (n + 1) * K + j) = vec{};
        }
        for (long j = 0; j < (in.per_key ? keys : V); j += V) {
            vec lost{}, log{};
            for (long r = 1; r <= n; ++r) {
                const float* g = in.g + step(start + r - 1) * (in.per_key ? in.K : 1);
                if (in.g) log += in.per_key ? load(g + j, in.K - j) : all(*g);
                vec rest = lost;
                const vec since = decay(log, rest);
                const ivec settle = r == n ? ~ivec{} : log < -0.35f;
                at(keep + r * K + j) = settle ? since : all(1.0f);
                at(faded + r * K + j) = settle ? all(1.0f) : since;
                lost = settle ? rest : lost;
                log = settle ? vec{} : log;
            }
        }
        for (long r = 1; r <= n; ++r) {
            const long t = step(start + r - 1);
            const float beta = in.beta ? in.beta[t] : 1.0f;
            for (long j = 0; j < keys; j += V) {
                const long here = r * K + j, from = t * in.K + j, count = in.K - j;
                if (!in.per_key) at(keep + here) = at(keep + r * K), at(faded + here) = at(faded + r * K);
                const vec now = at(faded + here), one_by = 1.0f / now, key = load(in.k + from, count);
                at(q + here) = in.scale * now * load(in.q + from, count);
                at(k + here) = one_by * key;
                at(a + here) = two() ? at(faded + here - K) * load(in.a + from, count) : -beta * (at(keep + here) * now) * key;
                if (two()) at(b_ + here) = one_by * load(in.b + from, count);
            }
            for (long j = 0; j < M; j += V) at(v + r * M + j) = beta * load(in.v + t * in.M + j, in.M - j);
        }
    }

    void read(float* to, const float* from, long rows, long ld, long width) const {
        for (long i = 0; i < rows; ++i, to += ld) std::copy(from + i * width, from + (i + 1) * width, to);
    }

    void write(float* to, const float* from, long rows, long ld, long width) const {
        for (long i = 0; i < rows; ++i, from += ld) std::copy(from, from + width, to + i * width);
    }

    // to (M, K) = from' , which has in.K rows that lie `ld` apart
    void turn(float* to, const float* from, long ld) const {
        for (long i = 0; i < in.K; i += V)
            for (long j = 0; j < in.M; ++j) {
                vec x{};
                for (long lane = 0; lane < std::min<long>(V, in.K - i); ++lane) x[lane] = from[(i + lane) * ld + j];
                at(to + j * K + i) = x;
            }
    }

    // Value channels j to j + N V through the chunk: state, output, and what each step sees.
    template <bool TWO, int N>
    void forward(long j) {
        vec sees[N]{};
        for (long r = 0; r <= n; ++r) {
            const float *keep_K = keep + r * K, *k_K = k + r * K, *b_K = b_ + r * K, *q_K = q + r * K, *next_K = a + (r + 1) * K;
            vec writes[N], reads[N]{}, next[N]{};
            for (int x = 0; x < N; ++x) {
                writes[x] = at(v + r * M + j + x * V);
                if (!TWO) writes[x] += sees[x];
            }
            float* s = state + j;
            for (long i = 0; i < in.K; ++i, s += M)
                for (int x = 0; x < N; ++x) {
                    vec y = k_K[i] * writes[x] + keep_K[i] * at(s + x * V);
                    if (TWO) y += b_K[i] * sees[x];
                    at(s + x * V) = y;
                    reads[x] += q_K[i] * y;
                    next[x] += next_K[i] * y;
                }
            for (int x = 0; x < N; ++x) {
                at(out + r * M + j + x * V) = reads[x];
                at(seen + r * M + j + x * V) = sees[x];
                sees[x] = next[x];
            }
        }
    }

    // The same backwards: `grad` of the state, and of what each step writes and sees.
    template <bool TWO, int N>
    void backward(long j) {
        vec later[N]{};
        for (long r = n; r >= 0; --r) {
            const float *keep_K = keep + (r + 1) * K, *a_K = a + (r + 1) * K, *q_K = q + r * K, *k_K = k + r * K, *b_K = b_ + r * K;
            vec read[N], written[N]{}, sees[N]{};
            for (int x = 0; x < N; ++x) read[x] = at(out + r * M + j + x * V);
            float* s = grad + j;
            for (long i = 0; i < in.K; ++i, s += M)
                for (int x = 0; x < N; ++x) {
                    const vec y = q_K[i] * read[x] + (a_K[i] * later[x] + keep_K[i] * at(s + x * V));
                    at(s + x * V) = y;
                    written[x] += k_K[i] * y;
                    if (TWO) sees[x] += b_K[i] * y;
                }
            for (int x = 0; x < N; ++x) {
                later[x] = TWO ? sees[x] : written[x];
                at(dv + r * M + j + x * V) = written[x];
                at(dseen + r * M + j + x * V) = later[x];
            }
        }
    }

    // Gradients that sum over value channels j to j + ROWS, for key channels i to i + N V; what was written and seen is known by now.
    template <bool TWO, int N>
    void gradients(long i, long j) {
        vec s[ROWS][N];
        auto each = [](auto work) {
            for (int y = 0; y < ROWS; ++y)
                for (int x = 0; x < N; ++x) work(y, x);
        };
        float *const past = history, *const q_sums = dq + i, *const k_sums = dk + i, *const a_sums = da + i, *const b_sums = db + i;
        float *const keep_sums = dkeep + i;
        const float *const q_i = q + i, *const k_i = k + i, *const a_i = a + i, *const b_i = b_ + i, *const keep_i = keep + i;
        const float *const v_j = v + j, *const seen_j = seen + j, *const out_j = out + j, *const dseen_j = dseen + j;
        const long K = this->K, M = this->M, n = this->n;
        each([&](int y, int x) { s[y][x] = at(state_t + (j + y) * K + i + x * V); });
        for (long r = 1; r <= n; ++r) {
            float* const here = past + (r - 1) * ROWS * N * V;
            vec q_sum[N];
            for (int x = 0; x < N; ++x) q_sum[x] = at(q_sums + r * K + x * V);
            each([&](int y, int x) {
                at(here + (y * N + x) * V) = s[y][x];
                s[y][x] = v_j[r * M + y] * at(k_i + r * K + x * V) + at(keep_i + r * K + x * V) * s[y][x];
                if (TWO) s[y][x] += seen_j[r * M + y] * at(b_i + r * K + x * V);
                q_sum[x] += out_j[r * M + y] * s[y][x];
            });
            for (int x = 0; x < N; ++x) at(q_sums + r * K + x * V) = q_sum[x];
        }
        each([&](int y, int x) { s[y][x] = at(grad_t + (j + y) * K + i + x * V); });
        for (long r = n; r >= 1; --r) {
            const float* const here = past + (r - 1) * ROWS * N * V;
            vec k_sum[N], b_sum[N], a_sum[N], keep_sum[N];
            for (int x = 0; x < N; ++x) {
                const long t = r * K + x * V;
                k_sum[x] = at(k_sums + t), a_sum[x] = at(a_sums + t), keep_sum[x] = at(keep_sums + t);
                if (TWO) b_sum[x] = at(b_sums + t);
            }
            each([&](int y, int x) {
                const vec before = at(here + (y * N + x) * V), g = s[y][x] + out_j[r * M + y] * at(q_i + r * K + x * V);
                k_sum[x] += v_j[r * M + y] * g;
                if (TWO) b_sum[x] += seen_j[r * M + y] * g;
                a_sum[x] += dseen_j[r * M + y] * before;
                keep_sum[x] += g * before;
                s[y][x] = dseen_j[r * M + y] * at(a_i + r * K + x * V) + at(keep_i + r * K + x * V) * g;
            });
            for (int x = 0; x < N; ++x) {
                const long t = r * K + x * V;
                at(k_sums + t) = k_sum[x], at(a_sums + t) = a_sum[x], at(keep_sums + t) = keep_sum[x];
                if (TWO) at(b_sums + t) = b_sum[x];
            }
        }
        each([&](int y, int x) { at(grad_t + (j + y) * K + i + x * V) = s[y][x]; });
    }

    // From the gradients of the chunk's rows to those of the inputs.
    void close(const Gradients& to) const {
        for (long r = 1; r <= n; ++r) {
            const long t = step(start + r - 1);
            const float beta = in.beta ? in.beta[t] : 1.0f;
            vec beta_sum{}, g_sum{};
            for (long j = 0; j < keys; j += V) {
                const long here = r * K + j, to_here = t * in.K + j, count = in.K - j;
                const vec now = at(faded + here), one_by = 1.0f / now;
                vec k_grad = one_by * at(dk + here), g_grad = at(keep + here) * at(dkeep + here);
                if (!two()) {
                    const vec seen_grad = at(keep + here) * now * at(da + here), key = now * at(k + here);
                    k_grad -= beta * seen_grad;
                    g_grad -= beta * key * seen_grad;
                    beta_sum -= key * seen_grad;
                } else {
                    store(to.a + to_here, at(faded + here - K) * at(da + here), count);
                    store(to.b + to_here, one_by * at(db + here), count);
                }
                store(to.q + to_here, in.scale * now * at(dq + here), count);
                store(to.k + to_here, k_grad, count);
                if (in.per_key && to.g) store(to.g + to_here, g_grad, count);
                g_sum += g_grad;
            }
            if (to.g && !in.per_key) to.g[t] = sum(g_sum);
            for (long j = 0; j < M; j += V) {
                const vec grad = at(dv + r * M + j);
                beta_sum += grad * load(in.v + t * in.M + j, in.M - j);
                store(to.v + t * in.M + j, beta * grad, in.M - j);
            }
            if (to.beta) to.beta[t] = sum(beta_sum);
        }
    }

    // work(column, number of vectors) over `columns`
    template <class Work>
    static void over(long columns, const Work& work) {
        constexpr int MOST = V == 16 ? 4 : 2;
        long j = 0;
        for (; j + MOST * V <= columns; j += MOST * V) work(j, std::integral_constant<int, MOST>{});
        for (; j < columns; j += V) work(j, std::integral_constant<int, 1>{});
    }

    template <bool TWO>
    void run_forward(float* to, float* last, float* kept_seen, float* before) {
        if (in.state) read(state, in.state + unit() * in.K * in.M, in.K, M, in.M);
        for (long start = 0; start < in.T; start += CHUNK) {
            if (before) write(before + (unit() * ((in.T + CHUNK - 1) / CHUNK) + start / CHUNK) * in.K * in.M, state, in.K, M, in.M);
            open(start);
            over(M, [&](long j, auto N) { forward<TWO, N>(j); });
            for (long r = 1; r <= n; ++r) {
                const long row = step(start + r - 1) * in.M;
                write(to + row, out + r * M, 1, M, in.M);
                if (kept_seen) write(kept_seen + row, seen + r * M, 1, M, in.M);
            }
        }
        write(last + unit() * in.K * in.M, state, in.K, M, in.M);
    }

    template <bool TWO>
    void run_backward(const Gradients& to) {
        const long size = in.K * in.M, chunks = (in.T + CHUNK - 1) / CHUNK;
        read(grad, to.last + unit() * size, in.K, M, in.M);
        turn(grad_t, grad, M);
        for (long start = (chunks - 1) * CHUNK; start >= 0; start -= CHUNK) {
            open(start);
            for (long r = 1; r <= n; ++r) {
                const long row = step(start + r - 1) * in.M;
                read(out + r * M, to.out + row, 1, M, in.M);
                read(seen + r * M, to.seen + row, 1, M, in.M);
                for (long j = 0; j < (TWO ? 0 : M); j += V) at(v + r * M + j) += at(seen + r * M + j);  // what it wrote in all
            }
            const float* kept = to.before + (unit() * chunks + start / CHUNK) * size;
            turn(state_t, kept, in.M);
            over(M, [&](long j, auto N) { backward<TWO, N>(j); });
            for (float* p : {dq, dk, da, db, dkeep}) std::fill(p + K, p + (n + 1) * K, 0.0f);
            for (long i = 0; i < keys;) {
                const int N = i + 2 * V <= keys ? 2 : 1;
                for (long j = 0; j < in.M; j += ROWS) N == 2 ? gradients<TWO, 2>(i, j) : gradients<TWO, 1>(i, j);
                i += N * V;
            }
            close(to);
        }
        write(to.state + unit() * size, grad, in.K, M, in.M);
    }
};

}  // namespace

// out (B, T, H, M), last (B, H, K, M); where they are wanted: seen (B, T, H, M) and the states `before` each chunk (B, H, chunks, K, M).
extern "C" int delta_rule_forward(const DeltaRule* in, float* out, float* last, float* seen, float* before, int threads) {
    return parallel(in->B * in->H, threads, [&](long head) {
        Head memory(*in, head, false);
        in->b ? memory.run_forward<true>(out, last, seen, before) : memory.run_forward<false>(out, last, seen, before);
    });
}

extern "C" int delta_rule_backward(const DeltaRule* in, const Gradients* to, int threads) {
    return parallel(in->B * in->H, threads, [&](long head) {
        Head memory(*in, head, true);
        in->b ? memory.run_backward<true>(*to) : memory.run_backward<false>(*to);
    });
}
