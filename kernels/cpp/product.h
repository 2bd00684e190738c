// Matrix products whose right side is packed, or made, a slice at a time: WIDE columns by DEEP rows, which stay in the first cache.
#pragma once
#include <algorithm>

#include "vector.h"

#if defined(__AVX512F__)
constexpr int TALL = 14;
#else
constexpr int TALL = 6;
#endif
constexpr long WIDE = 2 * V, DEEP = 256;
// Rows of a left side lie this much further apart than they are long: at a whole page they would share one set of the cache.
constexpr long APART = 16;

// c (`rows`, at most R, by width), added to where `add` says so, = a (R, depth) times a slice; a(i, k) lies at i * across + k * along.
template <int R>
inline void tile(long rows, const float* a, long across, long along, const float* slice, long depth, float* c, long apart, long width, bool add) {
    if constexpr (R > 1)
        if (rows < R) return tile<R - 1>(rows, a, across, along, slice, depth, c, apart, width, add);
    vec sum[R][2] = {};
    // What is added up would wait for these rows of c in the end: a twelfth of the time.
    for (int i = 0; i < R; ++i) __builtin_prefetch(c + i * apart, 1), __builtin_prefetch(c + i * apart + V, 1);
    for (long k = 0; k < depth; ++k, slice += WIDE, a += along) {
        const vec left = load(slice), right = load(slice + V);
#pragma GCC unroll 16
        for (int i = 0; i < R; ++i) {
            const vec x = all(a[i * across]);
            sum[i][0] += x * left, sum[i][1] += x * right;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i, c += apart)
        for (long half = 0; half < 2; ++half)
            if (const long count = std::min<long>(V, width - half * V); count > 0)
                store(c + half * V, add ? load(c + half * V, count) + sum[i][half] : sum[i][half], count);
}

// c (rows, columns), added to where `add` says so, = a (rows, depth) times b; make(k, depth, j, width, slice) writes b[k + .., j + ..], zeros behind `width`.
template <class Make>
void product(const float* a, long a_apart, long rows, long depth, long columns, float* c, long c_apart, bool add, const Make& make) {
    alignas(64) float slice[DEEP * WIDE];
    for (long k = 0; k < depth; k += DEEP)
        for (long j = 0; j < columns; j += WIDE) {
            const long deep = std::min(DEEP, depth - k), width = std::min(WIDE, columns - j);
            make(k, deep, j, width, slice);
            for (long i = 0; i < rows; i += TALL)
                tile<TALL>(rows - i, a + i * a_apart + k, a_apart, 1, slice, deep, c + i * c_apart + j, c_apart, width, add || k);
        }
}

constexpr long HIGH = (TALL + V - 1) / V * V;
constexpr long turning(long rows) { return (rows + TALL - 1) / TALL * DEEP * HIGH; }

// The same of a that lies as (depth, rows), by way of `room` for `turning(rows)` numbers: read across, each would lie in a page of its own.
template <class Make>
void turned_product(const float* a, long a_apart, long rows, long depth, long columns, float* c, long c_apart, bool add, float* room, const Make& make) {
    alignas(64) float slice[DEEP * WIDE];
    for (long k = 0; k < depth; k += DEEP) {
        const long deep = std::min(DEEP, depth - k);
        for (long at = 0; at < deep; ++at)
            for (long i = 0; i < rows; i += TALL)
                for (long n = 0; n < TALL; n += V)
                    store(room + (i / TALL * DEEP + at) * HIGH + n, load(a + (k + at) * a_apart + i + n, std::max(0L, rows - i - n)));
        for (long j = 0; j < columns; j += WIDE) {
            const long width = std::min(WIDE, columns - j);
            make(k, deep, j, width, slice);
            for (long i = 0; i < rows; i += TALL)
                tile<TALL>(rows - i, room + i / TALL * DEEP * HIGH, 1, HIGH, slice, deep, c + i * c_apart + j, c_apart, width, add || k);
        }
    }
}

// Makes slices of common + scale * own, or of `own` alone where there is nothing in common.
struct Matrix {
    const float *own, *common;
    float scale;
    long apart;

    // As it lies.
    auto straight() const {
        return [m = *this](long k, long deep, long j, long width, float* slice) {
            for (; deep--; ++k, slice += WIDE)
                for (long at = 0; at < WIDE; at += V) store(slice + at, width > at ? m.read(k * m.apart + j + at, width - at) : vec{});
        };
    }
    // Its transpose.
    auto turned() const {
        return [m = *this](long k, long deep, long j, long width, float* slice) {
            for (long c = 0; c < WIDE; ++c)
                for (long r = 0; r < deep; r += V) {
                    const vec x = c < width ? m.read((j + c) * m.apart + k + r, deep - r) : vec{};
                    for (long i = 0; i < std::min<long>(V, deep - r); ++i) slice[(r + i) * WIDE + c] = x[i];
                }
        };
    }

  private:
    vec read(long at, long count) const {
        const vec x = load(own + at, count);
        return common ? load(common + at, count) + scale * x : x;
    }
};
