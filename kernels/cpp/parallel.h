// Runs work(i) for i in [0, count) on up to `threads` threads. Threads live for one call: a process may fork between two.
#pragma once
#include <atomic>
#include <thread>
#include <vector>

template <class Work>
void parallel(long count, int threads, const Work& work) {
    std::atomic<long> next{0};
    auto run = [&] {
        for (long i; (i = next.fetch_add(1)) < count;) work(i);
    };
    std::vector<std::thread> others;
    for (long n = 1; n < threads && n < count; ++n) others.emplace_back(run);
    run();
    for (auto& thread : others) thread.join();
}
