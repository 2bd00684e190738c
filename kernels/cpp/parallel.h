// Runs work(i) for i in [0, count) on up to `threads` threads. Threads live for one call: a process may fork between two.
#pragma once
#include <atomic>
#include <exception>
#include <thread>
#include <vector>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// While one lives, numbers below 1e-38 are zero in its thread: a memory that fades away would else take a hundred times longer.
class Flush {
#if defined(__SSE__)
    unsigned before = _mm_getcsr();

  public:
    Flush() { _mm_setcsr(before | 0x8040); }
    ~Flush() { _mm_setcsr(before); }
#else
  public:
    Flush() {}
#endif
};

// 0, or 1 where an allocation failed: an exception that left a thread would end the process. Every kernel answers with this number.
template <class Work>
int parallel(long count, int threads, const Work& work) {
    std::atomic<long> next{0};
    std::atomic<int> failed{0};
    auto run = [&] {
        const Flush flush;
        try {
            for (long i; (i = next.fetch_add(1)) < count;) work(i);
        } catch (const std::exception&) {
            failed = 1, next = count;
        }
    };
    std::vector<std::thread> others;
    try {
        for (long n = 1; n < threads && n < count; ++n) others.emplace_back(run);
    } catch (const std::exception&) {
        // those that could be started share the work
    }
    run();
    for (auto& thread : others) thread.join();
    return failed;
}
