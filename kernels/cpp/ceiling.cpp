// What the processor can do at most: multiply-adds on numbers that stay in registers, and reading memory in order. Results are of no use.
#include "parallel.h"
#include "vector.h"

namespace {
constexpr int CHAINS = 12;  // more than two a clock times a latency of four, fewer than there are registers
}

extern "C" {

// rounds * CHAINS * V multiply-adds on each thread; out: one number each.
int ceiling_multiply_adds(float* out, long rounds, int threads) {
    return parallel(threads, threads, [&](long i) {
        vec x[CHAINS];
        for (int c = 0; c < CHAINS; ++c) x[c] = all(1.0f + c);
        const vec scale = all(0.999f), shift = all(0.001f);
        for (long r = 0; r < rounds; ++r)
            for (int c = 0; c < CHAINS; ++c) x[c] = x[c] * scale + shift;
        for (int c = 1; c < CHAINS; ++c) x[0] += x[c];
        out[i] = sum(x[0]);
    });
}

// The multiply-adds of a round, which depend on how wide the vectors are.
int ceiling_per_round() { return CHAINS * V; }

// Every number is read `passes` times, each by one thread; out: one number each.
int ceiling_read(float* out, const float* from, long count, long passes, int threads) {
    const long piece = count / threads / (8 * V) * (8 * V);
    return parallel(threads, threads, [&](long i) {
        vec x[8]{};
        for (long p = 0; p < passes; ++p)
            for (long n = i * piece; n < (i + 1) * piece; n += 8 * V)
                for (int c = 0; c < 8; ++c) x[c] += load(from + n + c * V);
        for (int c = 1; c < 8; ++c) x[0] += x[c];
        out[i] = sum(x[0]);
    });
}

}
