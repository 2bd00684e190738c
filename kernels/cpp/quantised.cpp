// Four-bit weights, decoded into rows of floats or straight into dot products: see kernels/quantised.py for the format.
// The sixteen values of the table lie in registers, so that a weight is decoded by a permutation and costs no memory but its own half byte.
#include "parallel.h"
#include "vector.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>

namespace {

constexpr long BLOCK = 64, SCALES = 256, GROUP = 32, BYTES = 16;
constexpr int PARTS = 16 / V;

struct Weight {
    long rows, columns, blocks;
    const uint8_t* codes;
    const uint8_t* sizes;
    const float *outer, *mean, *table, *floats;

    const uint8_t* row(long r) const { return codes + r * blocks * BLOCK / 2; }
    float scale(long index) const { return floats[sizes[index]] * outer[index / SCALES] + *mean; }
};

struct Table {
#if defined(__AVX512F__)
    __m512 values;
    Table times(float scale) const { return {_mm512_mul_ps(values, _mm512_set1_ps(scale))}; }
    static Table load(const float* from) { return {_mm512_loadu_ps(from)}; }
    inline vec pick(ivec index) const { return (vec)_mm512_permutexvar_ps((__m512i)index, values); }  // reads the lowest four bits
    // 16 bytes hold 32 weights: the low halves the first sixteen, the high halves the others.
    inline void decode(const uint8_t* from, vec (&w)[2 * PARTS]) const {
        const ivec both = (ivec)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        w[0] = pick(both), w[1] = pick(both >> 4);
    }
#elif defined(__AVX2__)
    __m256 lower, upper;
    Table times(float scale) const { return {_mm256_mul_ps(lower, _mm256_set1_ps(scale)), _mm256_mul_ps(upper, _mm256_set1_ps(scale))}; }
    static Table load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
    inline vec pick(ivec which) const {
        const __m256i index = (__m256i)which;
        const __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // bit 3 of the index becomes the sign
        return (vec)_mm256_blendv_ps(_mm256_permutevar8x32_ps(lower, index), _mm256_permutevar8x32_ps(upper, index), high);
    }
    inline void decode(const uint8_t* from, vec (&w)[2 * PARTS]) const {
        for (int i = 0; i < 2; ++i) {
            const ivec both = (ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * i)));
            w[i] = pick(both), w[2 + i] = pick(both >> 4);
        }
    }
#else
    float values[16];
    Table times(float scale) const {
        Table scaled;
        for (int i = 0; i < 16; ++i) scaled.values[i] = values[i] * scale;
        return scaled;
    }
    static Table load(const float* from) {
        Table table;
        std::copy(from, from + 16, table.values);
        return table;
    }
    inline vec pick(ivec index) const {
        vec found;
        for (int i = 0; i < V; ++i) found[i] = values[index[i] & 15];
        return found;
    }
    inline void decode(const uint8_t* from, vec (&w)[2 * PARTS]) const {
        for (int i = 0; i < 16; ++i) {
            w[i / V][i % V] = values[from[i] & 15];
            w[PARTS + i / V][i % V] = values[from[i] >> 4];
        }
    }
#endif
};

// Every weight of a block is one of sixteen products, so the table is scaled instead of the weights.
void decode_row(const Weight& weight, const Table& table, long r, float* to) {
    const uint8_t* from = weight.row(r);
    for (long b = 0; b < weight.blocks; ++b, to += BLOCK) {
        const Table scaled = table.times(weight.scale(r * weight.blocks + b));
        const long columns = std::min(BLOCK, weight.columns - b * BLOCK);
        for (long at = 0; at < BLOCK; from += BYTES, at += GROUP) {
            vec w[2 * PARTS];
            scaled.decode(from, w);
            if (columns == BLOCK)
                for (int i = 0; i < 2 * PARTS; ++i) store(to + at + i * V, w[i]);
            else
                for (int i = 0; i < 2 * PARTS; ++i)
                    if (columns > at + i * V) store(to + at + i * V, w[i], columns - at - i * V);
        }
    }
}

// By halves: a sum lane after lane would wait for each addition.
inline float total_of(vec x) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)x);
#else
    float lanes[V];
    store(lanes, x);
    for (int n = V / 2; n; n /= 2)
        for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
    return lanes[0];
#endif
}

// For dot products the codes are read as integers: of V that lie side by side, the four bits at 8 o + 4 h stand for V weights of which lane d is
// number 32 (d / 4) + 16 h + 4 (d % 4) + o. Reading from o bytes further on brings them to the lowest bits but for h. So inputs are turned, not codes.
constexpr long CHUNK = 8 * V, BYTES_OF = CHUNK / 2;

// `tokens` rows of x in that order, zeros behind them, vectors of the same weights side by side.
void turn(const float* from, long columns, long tokens, long chunks, float* to) {
    for (long c = 0; c < chunks; ++c)
        for (int o = 0; o < 4; ++o)
            for (int h = 0; h < 2; ++h)
                for (long m = 0; m < tokens; ++m)
                    for (int d = 0; d < V; ++d) {
                        const long at = c * CHUNK + 32 * (d / 4) + 16 * h + 4 * (d % 4) + o;
                        *to++ = at < columns ? from[m * columns + at] : 0.0f;
                    }
}

// Scales of `count` blocks from block number `first` of the matrix on.
void read_scales(const Weight& weight, long first, long count, float* to) {
    while (count) {
        const long n = std::min(count, SCALES - first % SCALES);
        const float outer = weight.outer[first / SCALES], mean = *weight.mean;
        long i = 0;
#if defined(__AVX512F__)
        for (; i + V <= n; i += V) {
            const __m512i sizes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weight.sizes + first + i)));
            store(to + i, (vec)_mm512_i32gather_ps(sizes, weight.floats, 4) * outer + mean);
        }
#endif
        for (; i < n; ++i) to[i] = weight.floats[weight.sizes[first + i]] * outer + mean;
        first += n, to += n, count -= n;
    }
}

inline ivec lower_half() {
    ivec lanes{};
    for (int i = 0; i < V / 2; ++i) lanes[i] = -1;
    return lanes;
}

// R rows of codes, which lie `apart`, at one chunk of M tokens.
template <int R, int M>
inline __attribute__((always_inline)) void add_dots(
    const Table& table, const uint8_t* from, long apart, const float* x, const float* scales, long blocks, vec (&total)[R][M]) {
    for (int i = 0; i < R; ++i) {
        __builtin_prefetch(from + (i + R) * apart);
        vec even[M], odd[M];
        for (int o = 0; o < 4; ++o) {
            ivec codes;
            std::memcpy(&codes, from + i * apart + o, sizeof codes);
            const vec low = table.pick(codes), high = table.pick(codes >> 4);
            for (int m = 0; m < M; ++m) {
                const vec a = low * load(x + (2 * o * M + m) * V), b = high * load(x + ((2 * o + 1) * M + m) * V);
                even[m] = o ? even[m] + a : a, odd[m] = o ? odd[m] + b : b;
            }
        }
        const float* here = scales + i * blocks;
        vec scale = all(here[0]);
        if (CHUNK > BLOCK) scale = lower_half() ? scale : all(here[1]);
        for (int m = 0; m < M; ++m) total[i][m] += scale * (even[m] + odd[m]);
    }
}

// y[m][r] for R rows from row r on and M tokens, turned; `scales` of these rows, and a number behind them.
template <int R, int M>
void dots(const Weight& weight, const Table& table, long r, const float* x, const float* scales, float* y) {
    vec total[R][M] = {};
    const long bytes = weight.blocks * BLOCK / 2, whole = r + R < weight.rows ? bytes : bytes - 3;
    const uint8_t* const from = weight.row(r);
    long at = 0;
    for (; at + BYTES_OF <= whole; at += BYTES_OF, x += CHUNK * M)
        add_dots<R, M>(table, from + at, bytes, x, scales + 2 * at / BLOCK, weight.blocks, total);
    if (at < bytes) {  // nothing is read behind the matrix
        constexpr long ROOM = BYTES_OF + 3;
        uint8_t last[R * ROOM] = {};
        for (int i = 0; i < R; ++i) std::copy(from + i * bytes + at, from + (i + 1) * bytes, last + i * ROOM);
        add_dots<R, M>(table, last, ROOM, x, scales + 2 * at / BLOCK, weight.blocks, total);
    }
    for (int i = 0; i < R; ++i)
        for (int m = 0; m < M; ++m) y[m * weight.rows + r + i] = total_of(total[i][m]);
}

}  // namespace

extern "C" {

// Rows [first, first + count) as floats, each row `columns` long.
int quantised_decode(const Weight* weight, long first, long count, float* to, int threads) {
    const Table table = Table::load(weight->table);
    constexpr long CHUNK = 32;
    return parallel((count + CHUNK - 1) / CHUNK, threads, [&](long chunk) {
        for (long r = chunk * CHUNK; r < std::min(count, (chunk + 1) * CHUNK); ++r)
            decode_row(*weight, table, first + r, to + r * weight->columns);
    });
}

// y (tokens, rows) = x (tokens, columns) times the weight transposed
int quantised_dots(const Weight* weight, const float* x, float* y, long tokens, int threads) {
    const Table table = Table::load(weight->table);
    const long chunks = (weight->columns + CHUNK - 1) / CHUNK, columns = weight->columns;
    constexpr long PART = 64, ROWS = 4, TOKENS = 4;
    static thread_local std::vector<float> room;
    room.resize(tokens * chunks * CHUNK);
    float* const turned = room.data();
    for (long m = 0; m < tokens; m += tokens - m >= TOKENS ? TOKENS : 1)
        turn(x + m * columns, columns, tokens - m >= TOKENS ? TOKENS : 1, chunks, turned + m * chunks * CHUNK);
    return parallel((weight->rows + PART - 1) / PART, threads, [&](long part) {
        static thread_local std::vector<float> scales;
        scales.resize(ROWS * weight->blocks + 1);
        const long end = std::min(weight->rows, (part + 1) * PART);
        auto multiply = [&](long r, auto R, auto M, long m, const float* of) {
            dots<R, M>(*weight, table, r, turned + m * chunks * CHUNK, of, y + m * weight->rows);
        };
        constexpr std::integral_constant<int, 1> one;
        for (long r = part * PART; r < end; r += ROWS) {
            const long rows = std::min(ROWS, end - r);
            read_scales(*weight, r * weight->blocks, rows * weight->blocks, scales.data());
            long m = 0;
            for (; m + TOKENS <= tokens; m += TOKENS)
                for (long i = 0; i < rows; ++i) multiply(r + i, one, std::integral_constant<int, TOKENS>{}, m, &scales[i * weight->blocks]);
            for (; m < tokens; ++m)
                if (rows == ROWS) multiply(r, std::integral_constant<int, ROWS>{}, one, m, &scales[0]);
                else for (long i = 0; i < rows; ++i) multiply(r + i, one, one, m, &scales[i * weight->blocks]);
        }
    });
}
}
