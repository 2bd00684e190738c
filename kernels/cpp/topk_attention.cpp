// Attention of each query to its few highest-scoring keys: see kernels/topk_attention.py for the map.
// Scores of a few queries at a time are made where they stay in the cache; only the chosen keys' numbers outlive that.
#include "parallel.h"
#include "vector.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <limits>

namespace {

constexpr int ROWS = 8, WIDE = 2 * V;
constexpr long CHUNK = 64;      // queries that a thread takes at a time
constexpr long MOST = 1 << 21;  // scores held at a time, but for those of ROWS queries

struct Sizes {
    long B, H, G, T, S, D, k, apart;  // apart: floats from a head's first key to the next head's
    float scale;
    long padded() const { return (S + WIDE - 1) / WIDE * WIDE; }
    long group(long bh) const { return bh / H * G + bh % H / (H / G); }
    long visible(long t) const { return S - T + t + 1; }
};

float* scratch(long floats) {
    static thread_local std::vector<float> memory;
    if ((long)memory.size() < floats) memory.resize(floats);
    return memory.data();
}

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

// WIDE keys of D numbers as a panel: number d of all of them side by side, zeros for keys beyond the last.
void turn_panel(const float* k, long count, long D, float* to) {
    long d = 0;
    for (; count >= WIDE && d + 4 <= D; d += 4)
        for (long s = 0; s < WIDE; s += 4) {
            const float* from = k + s * D + d;
            __builtin_prefetch(k + 2 * WIDE * D + (d / 4 * (WIDE / 4) + s / 4) * 16);  // the panel after next: rows are met across, which no machine foresees
            const quad a = *(const quad*)from, b = *(const quad*)(from + D), c = *(const quad*)(from + 2 * D), e = *(const quad*)(from + 3 * D);
            const quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            const quad ce = __builtin_shufflevector(c, e, 0, 4, 1, 5), CE = __builtin_shufflevector(c, e, 2, 6, 3, 7);
            float* at = to + d * WIDE + s;
            *(quad*)at = __builtin_shufflevector(ab, ce, 0, 1, 4, 5);
            *(quad*)(at + WIDE) = __builtin_shufflevector(ab, ce, 2, 3, 6, 7);
            *(quad*)(at + 2 * WIDE) = __builtin_shufflevector(AB, CE, 0, 1, 4, 5);
            *(quad*)(at + 3 * WIDE) = __builtin_shufflevector(AB, CE, 2, 3, 6, 7);
        }
    for (; d < D; ++d)
        for (long s = 0; s < WIDE; ++s) to[d * WIDE + s] = s < count ? k[s * D + d] : 0.0f;
}

// A score that is no number counts as infinite, so that it is chosen and makes its output no number.
inline vec comparable(vec x) { return x == x ? x : all(std::numeric_limits<float>::infinity()); }

// scores[i][0] to scores[i][WIDE - 1] of up to R queries for one panel: a score is one sum over d, whatever else is computed beside it
template <int R>
inline void score_panel(const float* q, long rows, long D, const float* panel, long padded, float scale, float* scores) {
    const float* row[R];
    for (long i = 0; i < R; ++i) row[i] = q + std::min(i, rows - 1) * D;
    vec tile[R][2] = {};
    for (long d = 0; d < D; ++d) {
        const vec a = load(panel + d * WIDE), b = load(panel + d * WIDE + V);
        for (int i = 0; i < R; ++i) {
            tile[i][0] += row[i][d] * a;
            tile[i][1] += row[i][d] * b;
        }
    }
    for (long i = 0; i < rows; ++i) {
        store(scores + i * padded, comparable(tile[i][0] * scale));
        store(scores + i * padded + V, comparable(tile[i][1] * scale));
    }
}

inline float total_of(vec x) {
    float lanes[V];
    store(lanes, x);
    for (int n = V / 2; n; n /= 2)
        for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
    return lanes[0];
}

inline float dot(const float* a, const float* b, long D) {
    vec sum{};
    for (long d = 0; d < D; d += V) sum += load(a + d, D - d) * load(b + d, D - d);
    return total_of(sum);
}

inline void add(float* to, float factor, const float* from, long D) {
    for (long d = 0; d < D; d += V) store(to + d, load(to + d, D - d) + factor * load(from + d, D - d), D - d);
}

inline long total_of(ivec x) {
    int32_t lanes[V];
    std::memcpy(lanes, &x, sizeof x);
    for (int n = V / 2; n; n /= 2)
        for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
    return lanes[0];
}

// A float's bits as a whole number of the same order.
inline int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

// The k-th largest of n >= k values: bit by bit the largest number that k of them reach. `room` holds n + V numbers.
float kth_largest(const float* values, long n, long k, int32_t* room) {
    for (long i = 0; i < n; ++i) {
        int32_t bits;
        std::memcpy(&bits, values + i, sizeof bits);
        room[i] = ordered(bits);
    }
    constexpr int32_t LOWEST = std::numeric_limits<int32_t>::min();
    std::fill(room + n, room + (n + V - 1) / V * V, LOWEST);
    auto reach = [&](int32_t least) {
        ivec count{};
        for (long i = 0; i < n; i += V) {
            ivec some;
            std::memcpy(&some, room + i, sizeof some);
            count -= some >= least;
        }
        return total_of(count);
    };
    int32_t least = reach(0) >= k ? 0 : LOWEST;
    for (int bit = 30; bit >= 0; --bit) {
        const long reached = reach(least + (int32_t(1) << bit));
        if (reached < k) continue;
        least += int32_t(1) << bit;
        if (reached > k) continue;
        int32_t smallest = std::numeric_limits<int32_t>::max();
        for (long i = 0; i < n; ++i) smallest = std::min(smallest, room[i] >= least ? room[i] : smallest);
        least = smallest;
        break;
    }
    least = ordered(least);
    float value;
    std::memcpy(&value, &least, sizeof value);
    return value;
}

// Those of n scores that reach `bound`, and where they stood; how many there are.
long gather(const float* scores, long n, float bound, float* values, int32_t* places) {
    long count = 0, s = 0;
#if defined(__AVX512F__)
    const __m512 least = _mm512_set1_ps(bound);
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; s + 16 <= n; s += 16, place = _mm512_add_epi32(place, _mm512_set1_epi32(16))) {
        const __m512 some = _mm512_loadu_ps(scores + s);
        const __mmask16 reached = _mm512_cmp_ps_mask(some, least, _CMP_GE_OQ);
        _mm512_storeu_ps(values + count, _mm512_maskz_compress_ps(reached, some));
        _mm512_storeu_si512(places + count, _mm512_maskz_compress_epi32(reached, place));
        count += __builtin_popcount(reached);
    }
#endif
    for (; s < n; ++s) {
        values[count] = scores[s];
        places[count] = s;
        count += scores[s] >= bound;
    }
    return count;
}

// Indices, ascending, of the k largest of n scores, of equal ones the earliest; how many there are. `room` holds 3 (n + V) numbers.
long choose(const float* scores, long n, long k, int32_t* chosen, float* room) {
    if (n <= k) {
        for (long s = 0; s < n; ++s) chosen[s] = s;
        return n;
    }
    float* values = room;
    int32_t *places = reinterpret_cast<int32_t*>(room + n + V), *work = places + n + V;
    // Of the largest values of 2 k columns, k are at least as large as the k-th of these: a bound from below that few scores reach.
    const long columns = (2 * k + V - 1) / V * V;
    float bound = -std::numeric_limits<float>::infinity();
    if (n >= 2 * columns) {
        std::copy(scores, scores + columns, values);
        for (long s = columns; s < n; s += columns)
            for (long c = 0; c < std::min(columns, n - s); ++c) values[c] = std::max(values[c], scores[s + c]);
        bound = kth_largest(values, columns, k, work);
    }
    const long count = gather(scores, n, bound, values, places);
    const float least = kth_largest(values, count, k, work);
    long equal = k, taken = 0;
    for (long c = 0; c < count; ++c) equal -= values[c] > least;
    for (long c = 0; c < count; ++c)
        if (values[c] > least || (values[c] == least && equal-- > 0)) chosen[taken++] = places[c];
    return taken;
}

struct Outputs {
    float *out, *log_sum;
    int32_t* chosen;
};

// Softmax over the chosen scores, and the values so weighted.
void read(const Sizes& z, const float* scores, const int32_t* chosen, long count, const float* v, float* weights, float* out, float* log_sum) {
    float most = -std::numeric_limits<float>::infinity(), sum = 0;
    for (long c = 0; c < count; ++c) most = std::max(most, weights[c] = scores[chosen[c]]);
    for (long c = 0; c < count; c += V) store(weights + c, exp(load(weights + c, count - c) - most), count - c);
    for (long c = 0; c < count; ++c) sum += weights[c];
    for (long d = 0; d < z.D; d += V) {
        vec total{};
        for (long c = 0; c < count; ++c) total += weights[c] * load(v + chosen[c] * z.D + d, z.D - d);
        store(out + d, total / sum, z.D - d);
    }
    *log_sum = most + std::log(sum);
}

// Queries [first, until) of one head; `keys` turned, or null where each panel of them is turned when its turn comes.
void attend(const Sizes& z, const float* q, const float* k, const float* keys, const float* v, long first, long until, const Outputs& to) {
    // A panel meets all queries while it lies in the first cache. Rows of scores lie an odd distance apart, or they would share its sets.
    const long padded = z.padded() + WIDE, room = 3 * (padded + V), pass = std::clamp<long>(MOST / padded / ROWS * ROWS, ROWS, CHUNK);
    float* scores = scratch(pass * padded + room + z.k + V + z.D * WIDE);
    float *work = scores + pass * padded, *weights = work + room, *turned = weights + z.k + V;
    for (long t = first; t < until; t += pass) {
        const long end = std::min(until, t + pass), part = keys ? WIDE * z.D / ((end - t + ROWS - 1) / ROWS) : 0;
        for (long s = 0; s < z.visible(end - 1); s += WIDE) {
            if (!keys) turn_panel(k + s * z.D, z.S - s, z.D, turned);
            const float* panel = keys ? keys + s * z.D : turned;
            for (long row = t; row < end; row += ROWS) {
                const long rows = std::min<long>(ROWS, end - row);
                float* here = scores + (row - t) * padded + s;
                for (long i = 0, from = (row - t) / ROWS * part; i < part; i += 16) __builtin_prefetch(panel + WIDE * z.D + from + i);
                if (s >= z.visible(row + rows - 1)) continue;
                if (rows == 1) score_panel<1>(q + row * z.D, 1, z.D, panel, padded, z.scale, here);
                else score_panel<ROWS>(q + row * z.D, rows, z.D, panel, padded, z.scale, here);
            }
        }
        for (long row = t; row < end; ++row) {
            const float* own = scores + (row - t) * padded;
            int32_t* chosen = to.chosen + row * z.k;
            const long count = choose(own, z.visible(row), z.k, chosen, work);
            std::fill(chosen + count, chosen + z.k, -1);
            read(z, own, chosen, count, v, weights, to.out + row * z.D, to.log_sum + row);
        }
    }
}

struct Gradients {
    const float *dout, *out, *log_sum;
    const int32_t* chosen;
    float *dq, *dk, *dv;
};

void pull_back(const Sizes& z, const float* q, const float* k, const float* v, long bh, const Gradients& g) {
    const long at = z.group(bh) * z.S * z.D;
    k += at, v += at;
    for (long t = 0; t < z.T; ++t) {
        const long row = bh * z.T + t;
        const float *query = q + row * z.D, *dout = g.dout + row * z.D;
        const int32_t* chosen = g.chosen + row * z.k;
        float* dquery = g.dq + row * z.D;
        const float along = dot(dout, g.out + row * z.D, z.D);
        std::fill(dquery, dquery + z.D, 0.0f);
        for (long c = 0; c < z.k && chosen[c] >= 0; ++c) {
            const long s = chosen[c] * z.D;
            const float weight = std::exp(z.scale * dot(query, k + s, z.D) - g.log_sum[row]);
            const float dscore = z.scale * weight * (dot(dout, v + s, z.D) - along);
            add(dquery, dscore, k + s, z.D);
            add(g.dk + at + s, dscore, query, z.D);
            add(g.dv + at + s, weight, dout, z.D);
        }
    }
}

}  // namespace

extern "C" {

// q (B, H, T, D), k and v (B, G, S, D), which may be the beginnings of longer ones; out like q, log_sum (B, H, T), chosen (B, H, T, k); keys: room for B G D `padded` floats, or null
int topk_forward(const Sizes* z, const float* q, const float* k, const float* v, float* keys, float* out, float* log_sum, int32_t* chosen, int threads) {
    const long padded = z->padded();
    const long panels = padded / WIDE;
    auto turn = [&](long i) {
        const long bg = i / panels, s = i % panels * WIDE;
        turn_panel(k + bg * z->apart + s * z->D, z->S - s, z->D, keys + (bg * padded + s) * z->D);
    };
    if (keys && parallel(z->B * z->G * panels, threads, turn)) return 1;
    const long chunks = (z->T + CHUNK - 1) / CHUNK;
    return parallel(z->B * z->H * chunks, threads, [&](long i) {
        const long bh = i / chunks, first = i % chunks * CHUNK, bg = z->group(bh), at = bg * z->apart, row = bh * z->T;
        const Outputs to{out + row * z->D, log_sum + row, chosen + row * z->k};
        attend(*z, q + row * z->D, k + at, keys ? keys + bg * z->D * padded : nullptr, v + at, first, std::min(z->T, first + CHUNK), to);
    });
}

// dk and dv come filled with zeros; the heads of a group add to them in turn.
int topk_backward(const Sizes* z, const float* q, const float* k, const float* v, const Gradients* g, int threads) {
    return parallel(z->B * z->G, threads, [&](long bg) {
        const long heads = z->H / z->G, first = bg / z->G * z->H + bg % z->G * heads;
        for (long bh = first; bh < first + heads; ++bh) pull_back(*z, q, k, v, bh, *g);
    });
}
}
