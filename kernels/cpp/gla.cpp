// Linear attention with a decay per key channel and token, one token after the other: see kernels/gla.py for the map.
// A tile of the state stays in registers while CHUNK tokens pass by, so the recurrence costs no more than its arithmetic; a form
// made of matrix products would need almost as much of it, and exponentials for pairs of tokens. Work is shared out by document and head.
#include "parallel.h"
#include "vector.h"

#include <algorithm>
#include <utility>

#define INLINE inline __attribute__((always_inline))

namespace {

constexpr long CHUNK = 32, PANEL = 16;
constexpr int ROWS = V == 16 ? 8 : 4;  // a tile of ROWS x 2 vectors fits in the registers

long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }
INLINE loose& at(float* p) { return *reinterpret_cast<loose*>(p); }
INLINE vec at(const float* p) { return *reinterpret_cast<const loose*>(p); }

// When a state is read: after the token is written (gated linear attention), before it fades and the token is written (RWKV-6), or,
// for the gradient that walks back from the end, after writing and before fading.
enum Order { FADE_WRITE_READ, READ_FADE_WRITE, WRITE_READ_FADE };

// A buffer of a chunk, (tokens, size), lies in panels of PANEL columns, (panels, CHUNK, PANEL): what a tile needs of it is adjacent. This is
// where token 0 of a column lies.
INLINE long place(long column) { return column / PANEL * (CHUNK * PANEL) + column % PANEL; }

struct Walk {
    const float *fade, *write, *read;  // (n, rows): a factor of each row of the state
    const float* in;                   // (n, columns): what is written
    float* out;                        // (n, columns): what is read is added to this
    long rows, columns, n;
    bool backwards;
};

template <Order ORDER, int N>
INLINE void walk_tile(const Walk& w, float* state, long row, long column) {
    vec s[ROWS][N];
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < N; ++c) s[r][c] = at(state + (row + r) * w.columns + column + c * V);
    for (long i = 0; i < w.n; ++i) {
        const long t = w.backwards ? w.n - 1 - i : i;
        const long here = place(row) + t * PANEL;
        const float *fade = w.fade + here, *write = w.write + here, *read = w.read + here;
        vec x[N], y[N];
        for (int c = 0; c < N; ++c) {
            const long there = place(column + c * V) + t * PANEL;
            x[c] = at(w.in + there), y[c] = at((const float*)w.out + there);
        }
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < N; ++c) {
                if constexpr (ORDER == READ_FADE_WRITE) y[c] += read[r] * s[r][c];
                if constexpr (ORDER != WRITE_READ_FADE) s[r][c] *= fade[r];
                s[r][c] += write[r] * x[c];
                if constexpr (ORDER != READ_FADE_WRITE) y[c] += read[r] * s[r][c];
                if constexpr (ORDER == WRITE_READ_FADE) s[r][c] *= fade[r];
            }
        for (int c = 0; c < N; ++c) at(w.out + place(column + c * V) + t * PANEL) = y[c];
    }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < N; ++c) at(state + (row + r) * w.columns + column + c * V) = s[r][c];
}

// The state (rows, columns) through n tokens.
template <Order ORDER>
void walk(const Walk& w, float* state) {
    for (long row = 0; row < w.rows; row += ROWS) {
        long column = 0;
        for (; column + 2 * V <= w.columns; column += 2 * V) walk_tile<ORDER, 2>(w, state, row, column);
        if (column < w.columns) walk_tile<ORDER, 1>(w, state, row, column);
    }
}

// ROWS values of one vector of keys of a state, from `before` a chunk to `after` it. The state is transposed here, (V, K), so that
// the sums over values below stay in their lanes.
template <class Each>
INLINE void replay(
    const float* k, const float* fade, const float* v, long n, const float* before, long ld, long row, long column, const Each& each) {
    vec s[ROWS];
    for (int r = 0; r < ROWS; ++r) s[r] = at(before + (row + r) * ld + column);
    for (long t = 0; t < n; ++t) {
        const vec key = at(k + place(column) + t * PANEL), f = at(fade + place(column) + t * PANEL);
        const float* value = v + place(row) + t * PANEL;
        each(t, s);
        for (int r = 0; r < ROWS; ++r) s[r] = f * s[r] + value[r] * key;
    }
    each(n, s);
}

// What the backward pass knows of a chunk.
struct Chunk {
    const float *q, *k, *fade, *v, *o;  // o: gradient of the output
    float *dq, *dk, *dg;                // added to; dg still lacks the factor `fade`
    long K, n;
};

// The states of the chunk again, one tile of them, kept in `states`, then back through it with the state's gradient.
template <bool BONUS>
INLINE void pull_tile(const Chunk& z, const float* before, float* grad, vec (*states)[ROWS], long row, long column) {
    vec g[ROWS];
    replay(z.k, z.fade, z.v, z.n, before, z.K, row, column, [&](long t, const vec* s) {
        for (int r = 0; r < ROWS; ++r) states[t][r] = s[r];
    });
    for (int r = 0; r < ROWS; ++r) g[r] = at(grad + (row + r) * z.K + column);
    for (long t = z.n; t-- > 0;) {
        const long here = place(column) + t * PANEL, there = place(row) + t * PANEL;
        const vec fade = at(z.fade + here), q = at(z.q + here);
        const float *v = z.v + there, *o = z.o + there;
        vec dq = at(z.dq + here), dk = at(z.dk + here), dg = at(z.dg + here);
        for (int r = 0; r < ROWS; ++r) {
            if constexpr (!BONUS) g[r] += o[r] * q;
            dk += v[r] * g[r];
            dq += o[r] * states[BONUS ? t : t + 1][r];
            dg += g[r] * states[t][r];
            g[r] *= fade;
            if constexpr (BONUS) g[r] += o[r] * q;
        }
        at(z.dq + here) = dq, at(z.dk + here) = dk, at(z.dg + here) = dg;
    }
    for (int r = 0; r < ROWS; ++r) at(grad + (row + r) * z.K + column) = g[r];
}

struct Sizes {
    long B, T, H, K, V;
    float scale;
    bool bonus;
    long KP = round_up(K, 16), VP = round_up(V, 16);
    long chunks() const { return (T + CHUNK - 1) / CHUNK; }
};

struct Head {
    const float *q, *k, *v, *g, *bonus, *state;
};

// Buffers of one thread, kept between calls: fresh pages would cost more than the arithmetic of a short call.
struct Carver {
    float* free;
    explicit Carver(long floats) {
        static thread_local std::vector<float> memory;
        if ((long)memory.size() < floats + 16) memory.resize(floats + 16);
        free = reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
    }
    float* take(long floats) { return std::exchange(free, free + round_up(floats, 16)); }
};

// Rows of a tensor to a matrix of rounded size, zeros around them; and back.
void widen(float* to, long ld, long rows, const float* from, long n, long width) {
    for (long t = 0; t < rows; ++t)
        for (long j = 0; j < ld; j += V) at(to + t * ld + j) = load(from + t * width + j, t < n ? std::clamp<long>(width - j, 0, V) : 0);
}
void narrow(float* to, const float* from, long ld, long n, long width) {
    for (long t = 0; t < n; ++t)
        for (long j = 0; j < width; j += V) store(to + t * width + j, at(from + t * ld + j), width - j);
}

// n tokens of a tensor into a chunk's buffer, times `scale`, zeros up to the rounded size; and back. Rows of one head lie too far apart for
// the machine to foresee.
void pack(float* to, long size, const float* from, long stride, long n, long width, float scale = 1) {
    for (long t = 0; t < n; ++t)
        for (long j = 0; j < size; j += V) {
            at(to + place(j) + t * PANEL) = scale * load(from + t * stride + j, std::clamp<long>(width - j, 0, V));
            __builtin_prefetch(from + (t + 8) * stride + j);
        }
}
void unpack(float* to, long stride, const float* from, long n, long width, float scale = 1) {
    for (long t = 0; t < n; ++t)
        for (long j = 0; j < width; j += V) store(to + t * stride + j, scale * at(from + place(j) + t * PANEL), width - j);
}

void transpose(float* to, const float* from, long rows, long columns) {
    for (long i = 0; i < rows; ++i)
        for (long j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
}

// work(place, token) for every vector of a chunk's buffer
template <class Work>
INLINE void each(long size, long n, const Work& work) {
    for (long j = 0; j < size; j += V)
        for (long t = 0; t < n; ++t) work(place(j) + t * PANEL, t);
}

// Log decays to what each token multiplies the state by. The memory is `faded` times the state: slow decays are multiplied into `faded`, in
// which they are exact, and into the state at the end of a chunk or where `faded` would fall below 0.78, since a state that is rounded at every
// token, always to the same side, drifts. What float32 cannot hold of one such product is handed to the next.
void fades(float* to, float* faded, long size, long n) {
    for (long j = 0; j < size; j += V) {
        vec lost{}, g{};
        for (long t = 0; t < n; ++t) {
            const long here = place(j) + t * PANEL;
            g += at((const float*)to + here);
            vec change = g * (1.0f + g * (0.5f + g * (1.0f / 6 + g * (1.0f / 24 + g * (1.0f / 120 + g * (1.0f / 720))))));
            change += lost * (1.0f + change);
            const vec near = 1.0f + change, decay = g > -0.25f ? near : exp(g);
            const ivec settle = t == n - 1 ? ~ivec{} : g < -0.25f;
            lost = settle ? (g > -0.25f ? (change - (near - 1.0f)) / near : vec{}) : lost;
            at(to + here) = settle ? decay : all(1.0f);
            at(faded + here) = settle ? all(1.0f) : decay;
            g = settle ? vec{} : g;
        }
    }
}

// `faded` when a token is read: after it is written, or with a bonus before.
INLINE vec when_read(const float* faded, long here, long t, bool bonus) { return !bonus ? at(faded + here) : t ? at(faded + here - PANEL) : all(1.0f); }

// What a token is worth to its own reading by the bonus: the sum over keys of q u k.
INLINE float own(const float* q, const float* bonus, const float* k, const float* faded, long size, long t) {
    vec total{};
    for (long j = 0; j < size; j += V) {
        const long here = place(j) + t * PANEL;
        total += at(q + here) * at(bonus + j) * (at(k + here) * at(faded + here) / when_read(faded, here, t, true));
    }
    return sum(total);
}

void forward(const Sizes& z, const Head& in, float* out, float* last) {
    const long KP = z.KP, VP = z.VP, keys = z.H * z.K, values = z.H * z.V;
    Carver carve(4 * CHUNK * KP + 2 * CHUNK * VP + KP + KP * VP);
    float *q = carve.take(CHUNK * KP), *k = carve.take(CHUNK * KP), *fade = carve.take(CHUNK * KP), *bonus = carve.take(KP);
    float* faded = carve.take(CHUNK * KP);
    float *v = carve.take(CHUNK * VP), *read = carve.take(CHUNK * VP), *state = carve.take(KP * VP);
    widen(state, VP, KP, in.state, z.K, z.V);
    if (z.bonus) widen(bonus, KP, 1, in.bonus, 1, z.K);
    for (long start = 0; start < z.T; start += CHUNK) {
        const long n = std::min(CHUNK, z.T - start);
        pack(q, KP, in.q + start * keys, keys, n, z.K, z.scale);
        pack(k, KP, in.k + start * keys, keys, n, z.K);
        pack(fade, KP, in.g + start * keys, keys, n, z.K);
        fades(fade, faded, KP, n);
        each(KP, n, [&](long here, long t) { at(q + here) *= when_read(faded, here, t, z.bonus), at(k + here) /= at((const float*)faded + here); });
        pack(v, VP, in.v + start * values, values, n, z.V);
        std::fill(read, read + CHUNK * VP, 0.0f);
        const Walk w{fade, k, q, v, read, KP, VP, n, false};
        if (z.bonus) {
            walk<READ_FADE_WRITE>(w, state);
            for (long t = 0; t < n; ++t) {
                const float worth = own(q, bonus, k, faded, KP, t);
                for (long j = 0; j < VP; j += V) at(read + place(j) + t * PANEL) += worth * at((const float*)v + place(j) + t * PANEL);
            }
        } else {
            walk<FADE_WRITE_READ>(w, state);
        }
        unpack(out + start * values, values, read, n, z.V);
    }
    narrow(last, state, VP, z.K, z.V);
}

struct Gradients {
    float *q, *k, *v, *g, *bonus, *state;
};

void backward(const Sizes& z, const Head& in, const float* out_grad, const float* last_grad, const Gradients& to) {
    const long KP = z.KP, VP = z.VP, size = KP * VP, keys = z.H * z.K, values = z.H * z.V;
    Carver carve(7 * CHUNK * KP + 3 * CHUNK * VP + 2 * KP + (z.chunks() + 3) * size);
    float *q = carve.take(CHUNK * KP), *k = carve.take(CHUNK * KP), *fade = carve.take(CHUNK * KP), *faded = carve.take(CHUNK * KP);
    float *dq = carve.take(CHUNK * KP), *dk = carve.take(CHUNK * KP), *dg = carve.take(CHUNK * KP);
    float *v = carve.take(CHUNK * VP), *o = carve.take(CHUNK * VP), *dv = carve.take(CHUNK * VP);
    float *bonus = carve.take(KP), *dbonus = carve.take(KP), *grad = carve.take(size), *grad_t = carve.take(size);
    float *spare = carve.take(size), *states = carve.take(z.chunks() * size);
    vec kept[CHUNK + 1][ROWS];

    auto fetch = [&](long start, long n) {
        pack(k, KP, in.k + start * keys, keys, n, z.K);
        pack(fade, KP, in.g + start * keys, keys, n, z.K);
        fades(fade, faded, KP, n);
        each(KP, n, [&](long here, long) { at(k + here) /= at((const float*)faded + here); });
        pack(v, VP, in.v + start * values, values, n, z.V);
    };

    widen(spare, VP, KP, in.state, z.K, z.V);
    transpose(states, spare, KP, VP);
    for (long start = 0; start + CHUNK < z.T; start += CHUNK, states += size) {
        fetch(start, CHUNK);
        for (long row = 0; row < VP; row += ROWS)
            for (long column = 0; column < KP; column += V)
                replay(k, fade, v, CHUNK, states, KP, row, column, [&](long t, const vec* s) {
                    for (int r = 0; t == CHUNK && r < ROWS; ++r) at(states + size + (row + r) * KP + column) = s[r];
                });
    }
    widen(grad, VP, KP, last_grad, z.K, z.V);
    transpose(grad_t, grad, KP, VP);
    if (z.bonus) widen(bonus, KP, 1, in.bonus, 1, z.K);
    std::fill(dbonus, dbonus + KP, 0.0f);
    for (long start = (z.chunks() - 1) * CHUNK; start >= 0; start -= CHUNK, states -= size) {
        const long n = std::min(CHUNK, z.T - start);
        fetch(start, n);
        pack(q, KP, in.q + start * keys, keys, n, z.K, z.scale);
        each(KP, n, [&](long here, long t) { at(q + here) *= when_read(faded, here, t, z.bonus); });
        pack(o, VP, out_grad + start * values, values, n, z.V);
        for (float* sums : {dq, dk, dg}) std::fill(sums, sums + CHUNK * KP, 0.0f);
        std::fill(dv, dv + CHUNK * VP, 0.0f);
        const Chunk chunk{q, k, fade, v, o, dq, dk, dg, KP, n};
        const Walk w{fade, q, k, o, dv, KP, VP, n, true};
        for (long row = 0; row < VP; row += ROWS)
            for (long column = 0; column < KP; column += V)
                z.bonus ? pull_tile<true>(chunk, states, grad_t, kept, row, column)
                        : pull_tile<false>(chunk, states, grad_t, kept, row, column);
        if (z.bonus) {
            walk<READ_FADE_WRITE>(w, grad);
            for (long t = 0; t < n; ++t) {
                const float worth = own(q, bonus, k, faded, KP, t);
                vec products{};
                for (long j = 0; j < VP; j += V) {
                    const long here = place(j) + t * PANEL;
                    products += at((const float*)o + here) * at((const float*)v + here);
                    at(dv + here) += worth * at((const float*)o + here);
                }
                const float reward = sum(products);
                for (long j = 0; j < KP; j += V) {
                    const long here = place(j) + t * PANEL;
                    const vec qt = at((const float*)q + here), kt = at((const float*)k + here), u = at((const float*)bonus + j);
                    const vec share = reward * (at((const float*)faded + here) / when_read(faded, here, t, true));
                    at(dq + here) += share * u * kt;
                    at(dk + here) += share * u * qt;
                    at(dbonus + j) += share * qt * kt;
                }
            }
        } else {
            walk<WRITE_READ_FADE>(w, grad);
        }
        each(KP, n, [&](long here, long t) {
            at(dg + here) *= at((const float*)fade + here);
            at(dq + here) *= when_read(faded, here, t, z.bonus);
            at(dk + here) /= at((const float*)faded + here);
        });
        unpack(to.q + start * keys, keys, dq, n, z.K, z.scale);
        unpack(to.k + start * keys, keys, dk, n, z.K);
        unpack(to.g + start * keys, keys, dg, n, z.K);
        unpack(to.v + start * values, values, dv, n, z.V);
    }
    narrow(to.state, grad, VP, z.K, z.V);
    if (z.bonus) narrow(to.bonus, dbonus, KP, 1, z.K);
}

Head head(const Sizes& z, long unit, const float* const* x) {
    const long b = unit / z.H, h = unit % z.H, at_key = (b * z.T * z.H + h) * z.K, at_value = (b * z.T * z.H + h) * z.V;
    return {x[0] + at_key, x[1] + at_key, x[2] + at_value, x[3] + at_key, z.bonus ? x[4] + h * z.K : nullptr, x[5] + unit * z.K * z.V};
}

}  // namespace

// inputs: q, k (B, T, H, K), v (B, T, H, V), g as k, bonus (H, K) or none, state (B, H, K, V)
extern "C" int gla_forward(
    const float* const* inputs, float* out, float* last, long B, long T, long H, long K, long values, float scale, int threads) {
    const Sizes z{B, T, H, K, values, scale, inputs[4] != nullptr};
    return parallel(B * H, threads, [&](long unit) {
        forward(z, head(z, unit, inputs), out + (unit / H * T * H + unit % H) * values, last + unit * K * values);
    });
}

// gradients: of each input in turn, that of the bonus once per document, (B, H, K)
extern "C" int gla_backward(
    const float* const* inputs, const float* out_grad, const float* last_grad, float* const* gradients,
    long B, long T, long H, long K, long values, float scale, int threads) {
    const Sizes z{B, T, H, K, values, scale, inputs[4] != nullptr};
    return parallel(B * H, threads, [&](long unit) {
        const long at_head = unit / H * T * H + unit % H, size = K * values;
        float* const* d = gradients;
        const Gradients to{d[0] + at_head * K, d[1] + at_head * K, d[2] + at_head * values, d[3] + at_head * K,
                           z.bonus ? d[4] + unit * K : nullptr, d[5] + unit * size};
        backward(z, head(z, unit, inputs), out_grad + at_head * values, last_grad + unit * size, to);
    });
}
