// A mixture's feed-forwards, forward and backward: each thread takes an equal share of the sorted assignments and walks it in blocks of rows.
#include <memory>
#include <new>

#include "parallel.h"
#include "product.h"

namespace {

using Room = std::unique_ptr<float[]>;
constexpr long TOKENS = 64;

// f, and its derivative, of up to V numbers. The normal distribution's tail is Abramowitz and Stegun 7.1.26 (absolute error 1e-7).
struct Gelu {
    static constexpr long wide = 1;
    vec x, below, density;
    Gelu(const float* h, long, long count) : x(load(h, count)) {
        const vec z = x < 0.0f ? -x : x, bell = exp(-0.5f * x * x), t = 1.0f / (1.0f + 0.2316419f * z);
        const vec tail = 0.5f * bell * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
        below = x < 0.0f ? tail : 1.0f - tail;
        density = 0.3989422804f * bell;
    }
    vec value() const { return x * below; }
    void pull_back(vec da, float* dh, long, long count) const { store(dh, da * (below + x * density), count); }
};

struct SwiGLU {
    static constexpr long wide = 2;
    vec gate, up, s;
    SwiGLU(const float* h, long width, long count) : gate(load(h, count)), up(load(h + width, count)), s(sigmoid(gate)) {}
    vec value() const { return gate * s * up; }
    void pull_back(vec da, float* dh, long width, long count) const {
        store(dh, da * up * s * (1.0f + gate * (1.0f - s)), count);
        store(dh + width, da * gate * s, count);
    }
};

struct Layer {
    long tokens, assignments, experts, width, inner, wide, block, parts;
    const long *token, *loads;
    const float *x, *weight, *widen, *narrow, *widen_common, *narrow_common;
    float scale;

    Matrix first(long e) const { return {widen + e * width * wide, widen_common, scale, wide}; }
    Matrix second(long e) const { return {narrow + e * inner * width, narrow_common, scale, width}; }
    long begin(long part) const { return assignments * part / parts; }
    long rows() const { return std::min(block, *std::max_element(loads, loads + experts)); }

    // The rows of `from` that assignments [at, at + count) name.
    void gather(const float* from, long at, long count, float* to) const {
        for (long r = 0; r < count; ++r) std::copy_n(from + token[at + r] * width, width, to + r * (width + APART));
    }

    // work(part, e, at, count, again, late) for every block: `again` where the part has met the expert before, `late` where an earlier part has.
    template <class Work>
    int walk(const Work& work) const {
        return parallel(parts, parts, [&](long part) {
            for (long e = 0, start = 0; e < experts; start += loads[e++]) {
                const long from = std::max(start, begin(part)), end = std::min(start + loads[e], begin(part + 1));
                if (from >= end) continue;
                const long blocks = (end - from + block - 1) / block, size = (end - from + blocks - 1) / blocks;
                for (long at = from; at < end; at += size) work(part, e, at, std::min(size, end - at), at > from, start < from);
            }
        });
    }

    // work(part, e) for every part whose first expert e began in an earlier one; an expert's one after the other.
    template <class Work>
    int late_parts(const Work& work) const {
        std::vector<long> start(experts + 1);
        for (long e = 0; e < experts; ++e) start[e + 1] = start[e] + loads[e];
        return parallel(experts, parts, [&](long e) {
            for (long part = 1; part < parts; ++part)
                if (start[e] < begin(part) && begin(part) < start[e + 1]) work(part, e);
        });
    }

    // to (tokens, width) = the sum of each token's `rows`, times `by` where there is one, in the order of the assignments whatever the threads.
    int add_up(const float* rows, const float* by, float* to) const {
        std::vector<long> end(tokens + 1), order(assignments);
        for (long m = 0; m < assignments; ++m) ++end[token[m] + 1];
        for (long n = 0; n < tokens; ++n) end[n + 1] += end[n];
        for (long m = 0; m < assignments; ++m) order[end[token[m]]++] = m;
        return parallel((tokens + TOKENS - 1) / TOKENS, parts, [&](long i) {
            for (long n = i * TOKENS; n < std::min(tokens, (i + 1) * TOKENS); ++n)
                for (long d = 0; d < width; d += V) {
                    vec total{};
                    for (long at = n ? end[n - 1] : 0; at < end[n]; ++at)
                        total += (by ? by[order[at]] : 1.0f) * load(rows + order[at] * width + d, width - d);
                    store(to + n * width + d, total, width - d);
                }
        });
    }
};

// What stands before f is written to `kept`, where there is one.
template <class F>
int forward(const Layer& l, float* kept, float* y) {
    const long rows = l.rows(), D = l.width + APART, A = l.inner + APART, each = rows * (D + A + (kept ? 0 : l.wide));
    const Room room(new float[l.parts * each]), out(new float[l.assignments * l.width]);
    const int failed = l.walk([&](long part, long e, long at, long count, bool, bool) {
        float *const x = &room[part * each], *const a = x + rows * D, *const h = kept ? kept + at * l.wide : a + rows * A;
        l.gather(l.x, at, count, x);
        product(x, D, count, l.width, l.wide, h, l.wide, false, l.first(e).straight());
        for (long r = 0; r < count; ++r)
            for (long f = 0; f < l.inner; f += V) store(a + r * A + f, F(h + r * l.wide + f, l.inner, l.inner - f).value(), l.inner - f);
        product(a, A, count, l.inner, l.width, &out[at * l.width], l.width, false, l.second(e).straight());
    });
    return failed || l.add_up(out.get(), l.weight, y);
}

template <class F>
int backward(const Layer& l, const float* h, const float* dy, float* dx, float* dweight, float* dwiden, float* dnarrow) {
    const long rows = l.rows(), D = l.width + APART, A = l.inner + APART, H = l.wide + APART;
    const long turned = turning(std::max(l.width, l.inner)), each = turned + rows * (2 * D + A + H + l.inner);
    const long one = l.width * l.wide, other = l.inner * l.width;
    // An expert that began in an earlier part has gradients of its own there, which are added up in the end.
    const Room room(new float[l.parts * each]), out(new float[l.assignments * l.width]), spare(new float[l.parts * (one + other)]);
    const int failed = l.walk([&](long part, long e, long at, long count, bool again, bool late) {
        float *const t = &room[part * each], *const x = t + turned, *const g = x + rows * D, *const a = g + rows * D;
        float *const dh = a + rows * A, *const da = dh + rows * H, *const extra = &spare[part * (one + other)];
        l.gather(l.x, at, count, x);
        l.gather(dy, at, count, g);
        product(g, D, count, l.width, l.inner, da, l.inner, false, l.second(e).turned());
        for (long r = 0; r < count; ++r) {
            vec total{};
            const vec weight = all(l.weight[at + r]);
            for (long f = 0; f < l.inner; f += V) {
                const F here(h + (at + r) * l.wide + f, l.inner, l.inner - f);
                const vec value = here.value(), grad = load(da + r * l.inner + f, l.inner - f);
                total += grad * value;
                store(a + r * A + f, weight * value, l.inner - f);
                here.pull_back(weight * grad, dh + r * H + f, l.inner, l.inner - f);
            }
            dweight[at + r] = sum(total);
        }
        turned_product(a, A, l.inner, count, l.width, late ? extra + one : dnarrow + e * other, l.width, again, t, Matrix{g, nullptr, 0, D}.straight());
        turned_product(x, D, l.width, count, l.wide, late ? extra : dwiden + e * one, l.wide, again, t, Matrix{dh, nullptr, 0, H}.straight());
        product(dh, H, count, l.wide, l.width, &out[at * l.width], l.width, false, l.first(e).turned());
    });
    return failed || l.late_parts([&](long part, long e) {
        const float* const extra = &spare[part * (one + other)];
        for (long i = 0; i < one; ++i) dwiden[e * one + i] += extra[i];
        for (long i = 0; i < other; ++i) dnarrow[e * other + i] += extra[one + i];
    }) || l.add_up(out.get(), nullptr, dx);
}

// 1 where an allocation failed: no exception may leave for a caller in another language.
template <class Work>
int answer(const Work& work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

extern "C" {

int gelu_forward(const Layer* l, float* h, float* y) { return answer([=] { return forward<Gelu>(*l, h, y); }); }
int swiglu_forward(const Layer* l, float* h, float* y) { return answer([=] { return forward<SwiGLU>(*l, h, y); }); }
int gelu_backward(const Layer* l, const float* h, const float* dy, float* dx, float* dweight, float* dwiden, float* dnarrow) {
    return answer([=] { return backward<Gelu>(*l, h, dy, dx, dweight, dwiden, dnarrow); });
}
int swiglu_backward(const Layer* l, const float* h, const float* dy, float* dx, float* dweight, float* dwiden, float* dnarrow) {
    return answer([=] { return backward<SwiGLU>(*l, h, dy, dx, dweight, dwiden, dnarrow); });
}

}
