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
    // 16 bytes hold 32 weights: the low halves the first sixteen, the high halves the others.
    inline void decode(const uint8_t* from, vec (&w)[2 * PARTS]) const {
        const __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        w[0] = (vec)_mm512_permutexvar_ps(both, values);  // it reads the lowest four bits of an index only
        w[1] = (vec)_mm512_permutexvar_ps(_mm512_srli_epi32(both, 4), values);
    }
#elif defined(__AVX2__)
    __m256 lower, upper;
    Table times(float scale) const { return {_mm256_mul_ps(lower, _mm256_set1_ps(scale)), _mm256_mul_ps(upper, _mm256_set1_ps(scale))}; }
    static Table load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
    inline vec pick(__m256i index) const {
        const __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // bit 3 of the index becomes the sign
        return (vec)_mm256_blendv_ps(_mm256_permutevar8x32_ps(lower, index), _mm256_permutevar8x32_ps(upper, index), high);
    }
    inline void decode(const uint8_t* from, vec (&w)[2 * PARTS]) const {
        for (int i = 0; i < 2; ++i) {
            const __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * i)));
            w[i] = pick(both);
            w[2 + i] = pick(_mm256_srli_epi32(both, 4));
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
    float lanes[V];
    store(lanes, x);
    for (int n = V / 2; n; n /= 2)
        for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
    return lanes[0];
}

// y[m][r] for M tokens, whose rows in x are padded with zeros to whole blocks
template <int M>
void dot_row(const Weight& weight, const Table table, long r, const float* x, float* y) {
    const long width = weight.blocks * BLOCK;
    const uint8_t* from = weight.row(r);
    vec total[M] = {};
    for (long b = 0; b < weight.blocks; ++b, x += BLOCK, from += BLOCK / 2) {
        vec w[4 * PARTS], part[M] = {};
        table.decode(from, *reinterpret_cast<vec(*)[2 * PARTS]>(w));
        table.decode(from + BYTES, *reinterpret_cast<vec(*)[2 * PARTS]>(w + 2 * PARTS));
        for (int m = 0; m < M; ++m)
            for (int i = 0; i < 4 * PARTS; ++i) part[m] += w[i] * load(x + m * width + i * V);
        const float scale = weight.scale(r * weight.blocks + b);
        for (int m = 0; m < M; ++m) total[m] += scale * part[m];
    }
    for (int m = 0; m < M; ++m) y[m * weight.rows + r] = total_of(total[m]);
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

// y (tokens, rows) = x (tokens, blocks * BLOCK) times the weight transposed
int quantised_dots(const Weight* weight, const float* x, float* y, long tokens, int threads) {
    const Table table = Table::load(weight->table);
    const long width = weight->blocks * BLOCK;
    constexpr long CHUNK = 64;
    return parallel((weight->rows + CHUNK - 1) / CHUNK, threads, [&](long chunk) {
        for (long r = chunk * CHUNK; r < std::min(weight->rows, (chunk + 1) * CHUNK); ++r) {
            long m = 0;
            for (; m + 4 <= tokens; m += 4) dot_row<4>(*weight, table, r, x + m * width, y + m * weight->rows);
            for (; m < tokens; ++m) dot_row<1>(*weight, table, r, x + m * width, y + m * weight->rows);
        }
    });
}
}
