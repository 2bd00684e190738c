// Linear attention with one decay per head and token, chunk by chunk: see kernels/simple_gla.py for the map.
// A head's chunk is packed into small aligned buffers, so that every product below is a register tile over rows that lie in the cache.
#include "parallel.h"
#include "vector.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

namespace {

constexpr int WIDTH = V, ROWS = V == 16 ? 8 : 4, CHUNK = 64;
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
#define INLINE inline __attribute__((always_inline))

INLINE loose& at(float* p) { return *reinterpret_cast<loose*>(p); }
INLINE vec at(const float* p) { return *reinterpret_cast<const loose*>(p); }
long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }

// Sum of the lanes, four at a time: a chunk asks for hundreds.
INLINE float total(vec x) {
    quad parts[WIDTH / 4];
    std::memcpy(parts, &x, sizeof x);
    for (int i = 1; i < WIDTH / 4; ++i) parts[0] += parts[i];
    return (parts[0][0] + parts[0][1]) + (parts[0][2] + parts[0][3]);
}

// tile[i][:] += sum over k of a[i * row + k * step] * b[k * ld + :]
template <int N>
INLINE void multiply(vec (&tile)[ROWS][N], const float* a, long row, long step, const float* b, long ld, long count) {
    for (long k = 0; k < count; ++k, a += step, b += ld) {
        vec right[N];
        for (int j = 0; j < N; ++j) right[j] = at(b + j * WIDTH);
        for (int i = 0; i < ROWS; ++i)
            for (int j = 0; j < N; ++j) tile[i][j] += a[i * row] * right[j];
    }
}

// The same over the first ROWS of k, for k <= i only.
template <int N>
INLINE void multiply_lower(vec (&tile)[ROWS][N], const float* a, long row, const float* b, long ld) {
    for (int k = 0; k < ROWS; ++k)
        for (int i = k; i < ROWS; ++i)
            for (int j = 0; j < N; ++j) tile[i][j] += a[i * row + k] * at(b + k * ld + j * WIDTH);
}

// work(column, tile of ROWS x 2 vectors), the last one of 1 vector where the number of vectors is odd
template <class Work>
INLINE void over_columns(long columns, const Work& work) {
    long j = 0;
    for (; j + 2 * WIDTH <= columns; j += 2 * WIDTH) {
        vec tile[ROWS][2] = {};
        work(j, tile);
    }
    if (j < columns) {
        vec tile[ROWS][1] = {};
        work(j, tile);
    }
}

template <int N>
INLINE void scale_rows(vec (&tile)[ROWS][N], const float* factors) {
    for (int i = 0; i < ROWS; ++i)
        for (int j = 0; j < N; ++j) tile[i][j] *= factors[i];
}

template <int N>
INLINE void add_dots(float* sums, const vec (&tile)[ROWS][N], const float* rows, long ld) {
    for (int i = 0; i < ROWS; ++i) {
        vec dot = tile[i][0] * at(rows + i * ld);
        for (int j = 1; j < N; ++j) dot += tile[i][j] * at(rows + i * ld + j * WIDTH);
        sums[i] += total(dot);
    }
}

// The part of a tile that exists: `rows` rows, `columns` columns.
template <int N>
INLINE void store(const vec (&tile)[ROWS][N], float* to, long ld, long rows, long columns) {
    if (rows >= ROWS && columns >= N * WIDTH) {
        for (int i = 0; i < ROWS; ++i)
            for (int j = 0; j < N; ++j) at(to + i * ld + j * WIDTH) = tile[i][j];
        return;
    }
    for (long i = 0; i < std::min<long>(rows, ROWS); ++i)
        std::memcpy(to + i * ld, tile[i], sizeof(float) * std::min<long>(columns, N * WIDTH));
}

// Rows of a tensor into a buffer of rounded size, zeros around them.
void pack(float* to, long ld, long rows, const float* from, long stride, long n, long width) {
    for (long t = 0; t < n; ++t, from += stride, to += ld) {
        long j = 0;
        for (; j + WIDTH <= width; j += WIDTH) at(to + j) = at(from + j);
        for (; j < width; ++j) to[j] = from[j];
        std::fill(to + j, to + ld, 0.0f);
    }
    std::fill(to, to + (rows - n) * ld, 0.0f);
}

void scale_rows(float* rows, long ld, long n, const float* factors) {
    for (long t = 0; t < n; ++t)
        for (long j = 0; j < ld; j += WIDTH) at(rows + t * ld + j) *= factors[t];
}

// to (columns x rows, leading size to_ld) = from' , both sizes multiples of 4
void transpose(float* to, long to_ld, const float* from, long ld, long rows, long columns) {
    for (long i = 0; i < rows; i += 4)
        for (long j = 0; j < columns; j += 4) {
            const float* p = from + i * ld + j;
            quad a = *(const quad*)p, b = *(const quad*)(p + ld), c = *(const quad*)(p + 2 * ld), d = *(const quad*)(p + 3 * ld);
            quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            float* o = to + j * to_ld + i;
            *(quad*)o = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(quad*)(o + to_ld) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            *(quad*)(o + 2 * to_ld) = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
            *(quad*)(o + 3 * to_ld) = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
        }
}

struct Sizes {
    long B, T, H, G, K, V;
    float scale;
    long KP = round_up(K, WIDTH), VP = round_up(V, WIDTH);
    long chunks() const { return (T + CHUNK - 1) / CHUNK; }
};

// Buffers of one thread, kept between calls: fresh pages would cost more than the arithmetic of a short call.
float* scratch(long floats) {
    static thread_local std::vector<float> memory;
    if ((long)memory.size() < floats + WIDTH) memory.resize(floats + WIDTH);
    std::size_t address = reinterpret_cast<std::size_t>(memory.data());
    return reinterpret_cast<float*>((address + WIDTH * 4 - 1) / (WIDTH * 4) * (WIDTH * 4));
}

struct Carver {
    float* free;
    float* take(long floats) { return std::exchange(free, free + round_up(floats, WIDTH)); }
};

// The decays of a chunk, those that lead to an output times `scale`. A sum of logs is split in two floats: a difference of two sums is
// then exact where it matters.
struct Decays {
    alignas(64) float high[CHUNK], low[CHUNK], since_start[CHUNK], until_end[CHUNK];
    float scale, whole;

    explicit Decays(float scale) : scale(scale) {}

    void set(const float* g, long stride, long n) {
        double sums[CHUNK], total = 0;
        for (long t = 0; t < CHUNK; ++t) {
            if (t < n) total += g[t * stride];
            sums[t] = total;
            high[t] = (float)total;
            low[t] = (float)(total - high[t]);
        }
        for (long t = 0; t < CHUNK; ++t) until_end[t] = (float)(total - sums[t]);
        for (long t = 0; t < CHUNK; t += WIDTH) {
            at(since_start + t) = exp(vec(at(high + t)));
            at(until_end + t) = exp(vec(at(until_end + t)));
        }
        whole = since_start[CHUNK - 1];
        for (long t = 0; t < CHUNK; t += WIDTH) at(since_start + t) *= scale;
    }
    // x decayed from step r + lane to step s; zero where that is later, whatever x is: no number must not reach back
    INLINE vec between(long s, long r, vec x) const {
        ivec later;
        for (int lane = 0; lane < WIDTH; ++lane) later[lane] = lane;
        vec log = (high[s] - at(high + r)) + (low[s] - at(low + r));
        return later > (int)(s - r) ? vec{} : x * (scale * exp(log));
    }
};

// state = whole * state + left' right, over n steps; left (n, KP), right (n, VP), state (KP, VP). The steps are added up by themselves first:
// a state that never fades outgrows them, and would be rounded at every one.
void advance(float* state, long rows, long columns, float whole, const float* left, long left_ld, const float* right, long n) {
    for (long i = 0; i < rows; i += ROWS)
        over_columns(columns, [&](long j, auto& tile) {
            constexpr int N = sizeof(tile[0]) / sizeof(vec);
            float* to = state + i * columns + j;
            multiply(tile, left + i, 1, left_ld, right + j, columns, n);
            for (int r = 0; r < ROWS; ++r)
                for (int c = 0; c < N; ++c) at(to + r * columns + c * WIDTH) = whole * at(to + r * columns + c * WIDTH) + tile[r][c];
        });
}

struct Head {
    const float *q, *k, *v, *g, *state;
};

Head head(const Sizes& z, long b, long h, const float* q, const float* k, const float* v, const float* g, const float* state) {
    long group = h / (z.H / z.G), at_group = (b * z.T * z.G + group) * z.K;
    return {q + at_group, k + at_group, v + (b * z.T * z.H + h) * z.V, g + b * z.T * z.H + h, state + (b * z.H + h) * z.K * z.V};
}

void forward(const Sizes& z, const Head& in, float* out, float* last) {
    const long KP = z.KP, VP = z.VP;
    Carver carve{scratch(CHUNK * (3 * KP + VP + CHUNK) + KP * VP)};
    float *q = carve.take(CHUNK * KP), *k = carve.take(CHUNK * KP), *kt = carve.take(KP * CHUNK), *v = carve.take(CHUNK * VP);
    float *scores = carve.take(CHUNK * CHUNK), *state = carve.take(KP * VP);
    pack(state, VP, KP, in.state, z.V, z.K, z.V);
    Decays decays(z.scale);
    for (long start = 0; start < z.T; start += CHUNK) {
        const long n = std::min<long>(CHUNK, z.T - start), rows = round_up(n, WIDTH), tiled = round_up(n, ROWS);
        decays.set(in.g + start * z.H, z.H, n);
        pack(q, KP, rows, in.q + start * z.G * z.K, z.G * z.K, n, z.K);
        pack(k, KP, rows, in.k + start * z.G * z.K, z.G * z.K, n, z.K);
        pack(v, VP, rows, in.v + start * z.H * z.V, z.H * z.V, n, z.V);
        transpose(kt, CHUNK, k, KP, rows, KP);
        for (long s = 0; s < tiled; s += ROWS) {
            over_columns(round_up(s + ROWS, WIDTH), [&](long j, auto& tile) {
                constexpr int N = sizeof(tile[0]) / sizeof(vec);
                multiply(tile, q + s * KP, KP, 1, kt + j, CHUNK, z.K);
                for (int r = 0; r < ROWS; ++r)
                    for (int c = 0; c < N; ++c)
                        at(scores + (s + r) * CHUNK + j + c * WIDTH) = decays.between(s + r, j + c * WIDTH, tile[r][c]);
            });
            over_columns(VP, [&](long j, auto& tile) {
                multiply(tile, q + s * KP, KP, 1, state + j, VP, z.K);
                scale_rows(tile, decays.since_start + s);
                multiply(tile, scores + s * CHUNK, CHUNK, 1, v + j, VP, s);
                multiply_lower(tile, scores + s * CHUNK + s, CHUNK, v + s * VP + j, VP);
                store(tile, out + (start + s) * z.H * z.V + j, z.H * z.V, n - s, z.V - j);
            });
        }
        scale_rows(k, KP, n, decays.until_end);
        advance(state, KP, VP, decays.whole, k, KP, v, n);
    }
    for (long i = 0; i < z.K; ++i) std::memcpy(last + i * z.V, state + i * VP, sizeof(float) * z.V);
}

struct Gradients {
    float *q, *k, *v, *g, *state;
};

void backward(const Sizes& z, const Head& in, const float* out_grad, const float* last_grad, const Gradients& to) {
    const long KP = z.KP, VP = z.VP, size = KP * VP;
    Carver carve{scratch(CHUNK * (4 * KP + 3 * VP + 2 * CHUNK + ROWS) + (z.chunks() + 3) * size)};
    float *q = carve.take(CHUNK * KP), *k = carve.take(CHUNK * KP), *kt = carve.take(KP * CHUNK);
    float *v = carve.take(CHUNK * VP), *vt = carve.take(VP * CHUNK), *o = carve.take(CHUNK * VP);
    float *scores = carve.take(CHUNK * CHUNK), *flows = carve.take(CHUNK * CHUNK), *paths = carve.take(ROWS * CHUNK);
    float *state_t = carve.take(size), *grad = carve.take(size), *grad_t = carve.take(size), *states = carve.take(z.chunks() * size);
    Decays decays(z.scale);

    pack(states, VP, KP, in.state, z.V, z.K, z.V);
    for (long start = 0; start + CHUNK < z.T; start += CHUNK, states += size) {
        decays.set(in.g + start * z.H, z.H, CHUNK);
        pack(k, KP, CHUNK, in.k + start * z.G * z.K, z.G * z.K, CHUNK, z.K);
        pack(v, VP, CHUNK, in.v + start * z.H * z.V, z.H * z.V, CHUNK, z.V);
        scale_rows(k, KP, CHUNK, decays.until_end);
        std::memcpy(states + size, states, sizeof(float) * size);
        advance(states + size, KP, VP, decays.whole, k, KP, v, CHUNK);
    }
    pack(grad, VP, KP, last_grad, z.V, z.K, z.V);
    for (long start = (z.chunks() - 1) * CHUNK; start >= 0; start -= CHUNK, states -= size) {
        const long n = std::min<long>(CHUNK, z.T - start), rows = round_up(n, WIDTH), tiled = round_up(n, ROWS);
        // Every path from an earlier step to a later one through step t brings its worth to the gradient of g_t: paths inside the
        // chunk (`inside`), from before it (`entering`, by their end), to after it (`leaving`, by their start), and right through it.
        float inside[CHUNK] = {}, entering[CHUNK] = {}, leaving[CHUNK] = {};
        alignas(64) float open[CHUNK] = {};
        decays.set(in.g + start * z.H, z.H, n);
        pack(q, KP, rows, in.q + start * z.G * z.K, z.G * z.K, n, z.K);
        pack(k, KP, rows, in.k + start * z.G * z.K, z.G * z.K, n, z.K);
        pack(v, VP, rows, in.v + start * z.H * z.V, z.H * z.V, n, z.V);
        pack(o, VP, rows, out_grad + start * z.H * z.V, z.H * z.V, n, z.V);
        transpose(kt, CHUNK, k, KP, rows, KP);
        transpose(vt, CHUNK, v, VP, rows, VP);
        transpose(state_t, KP, states, VP, KP, VP);
        transpose(grad_t, KP, grad, VP, KP, VP);
        for (long s = tiled - ROWS; s >= 0; s -= ROWS) {
            const long columns = round_up(s + ROWS, WIDTH);
            over_columns(columns, [&](long j, auto& tile) {
                multiply(tile, q + s * KP, KP, 1, kt + j, CHUNK, z.K);
                store(tile, paths + j, CHUNK, ROWS, sizeof(tile[0]) / 4);
            });
            over_columns(columns, [&](long j, auto& tile) {
                constexpr int N = sizeof(tile[0]) / sizeof(vec);
                multiply(tile, o + s * VP, VP, 1, vt + j, CHUNK, z.V);
                for (int r = 0; r < ROWS; ++r)
                    for (int c = 0; c < N; ++c) {
                        const long here = (s + r) * CHUNK + j + c * WIDTH;
                        const vec decay = decays.between(s + r, j + c * WIDTH, all(1)), score = at(paths + r * CHUNK + j + c * WIDTH);
                        at(scores + here) = score * decay;
                        at(flows + here) = tile[r][c] * decay;
                        at(paths + r * CHUNK + j + c * WIDTH) = score * tile[r][c] * decay;
                    }
            });
            for (int r = ROWS - 1; r >= 0; --r) {
                vec passing = {};
                for (long j = 0; j < columns; j += WIDTH) {
                    at(open + j) += at(paths + r * CHUNK + j);
                    ivec lane;
                    for (int i = 0; i < WIDTH; ++i) lane[i] = i;
                    passing += lane < (int)(s + r - j) ? at(open + j) : vec{};
                }
                inside[s + r] = total(passing);
            }
        }
        for (long s = 0; s < tiled; s += ROWS) {
            over_columns(KP, [&](long j, auto& tile) {
                multiply(tile, o + s * VP, VP, 1, state_t + j, KP, z.V);
                scale_rows(tile, decays.since_start + s);
                add_dots(entering + s, tile, q + s * KP + j, KP);
                multiply(tile, flows + s * CHUNK, CHUNK, 1, k + j, KP, s + ROWS);
                store(tile, to.q + (start + s) * z.H * z.K + j, z.H * z.K, n - s, z.K - j);
            });
            over_columns(KP, [&](long j, auto& tile) {
                multiply(tile, v + s * VP, VP, 1, grad_t + j, KP, z.V);
                scale_rows(tile, decays.until_end + s);
                add_dots(leaving + s, tile, k + s * KP + j, KP);
                multiply(tile, flows + s * CHUNK + s, 1, CHUNK, q + s * KP + j, KP, tiled - s);
                store(tile, to.k + (start + s) * z.H * z.K + j, z.H * z.K, n - s, z.K - j);
            });
            over_columns(VP, [&](long j, auto& tile) {
                multiply(tile, k + s * KP, KP, 1, grad + j, VP, z.K);
                scale_rows(tile, decays.until_end + s);
                multiply(tile, scores + s * CHUNK + s, 1, CHUNK, o + s * VP + j, VP, tiled - s);
                store(tile, to.v + (start + s) * z.H * z.V + j, z.H * z.V, n - s, z.V - j);
            });
        }
        vec through = {};
        for (long i = 0; i < size; i += WIDTH) through += at(states + i) * at(grad + i);
        double worth = decays.whole * total(through);
        for (long t = n - 1; t >= 0; --t) to.g[(start + t) * z.H] = (float)(inside[t] + (worth += entering[t]));
        worth = 0;
        for (long t = 0; t < n; worth += leaving[t++]) to.g[(start + t) * z.H] += (float)worth;
        scale_rows(q, KP, n, decays.since_start);
        advance(grad, KP, VP, decays.whole, q, KP, o, n);
    }
    for (long i = 0; i < z.K; ++i) std::memcpy(to.state + i * z.V, grad + i * VP, sizeof(float) * z.V);
}

}  // namespace

extern "C" int simple_gla_forward(
    const float* q, const float* k, const float* v, const float* g, const float* state, float* out, float* last,
    long B, long T, long H, long G, long K, long V, float scale, int threads) {
    const Sizes z{B, T, H, G, K, V, scale};
    return parallel(B * H, threads, [&](long unit) {
        const long b = unit / H, h = unit % H;
        forward(z, head(z, b, h, q, k, v, g, state), out + (b * T * H + h) * V, last + unit * K * V);
    });
}

// The gradients of q and k come per head, (B, T, H, K), also where heads share them.
extern "C" int simple_gla_backward(
    const float* q, const float* k, const float* v, const float* g, const float* state, const float* out_grad, const float* last_grad,
    float* q_grad, float* k_grad, float* v_grad, float* g_grad, float* state_grad,
    long B, long T, long H, long G, long K, long V, float scale, int threads) {
    const Sizes z{B, T, H, G, K, V, scale};
    return parallel(B * H, threads, [&](long unit) {
        const long b = unit / H, h = unit % H, at_head = b * T * H + h;
        const Gradients to{q_grad + at_head * K, k_grad + at_head * K, v_grad + at_head * V, g_grad + at_head, state_grad + unit * K * V};
        backward(z, head(z, b, h, q, k, v, g, state), out_grad + at_head * V, last_grad + unit * K * V, to);
    });
}
