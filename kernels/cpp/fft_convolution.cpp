// Long causal convolution of each channel with a filter of its own, by the fast Fourier transform.
//
// V channels travel side by side, so every butterfly is vector arithmetic and (B, T, D) needs no transposing. Two documents (or two
// blocks of one) are the real and the imaginary part of one transform: as the filter is real, they come out apart again. Forward
// transforms leave the frequencies in a scrambled order and inverse ones start from it, so nothing is ever put in order. Each block
// of a long document is a window of N steps behind L - 1 earlier ones (overlap-save); the backward pass is the exact transpose.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "parallel.h"
#include "vector.h"

struct Convolution {
    long B, S, T, D, N, L;                 // documents, steps seen, of which the last T give outputs, channels, window, taps
    const float *seen, *taps, *spectrum;  // (B, S, D), (L, D), (groups, N, 2, V): the transform over N
};

namespace {

constexpr double TURN = 6.283185307179586476925286766559;

// For n = N, N / 4, ...: the 1st, 2nd and 3rd powers of exp(-2 pi i j / n), j < n / 4, as (real, imaginary).
std::vector<float> powers(long N) {
    std::vector<float> table;
    for (long n = N; n > 4; n /= 4)
        for (long j = 0; j < n / 4; ++j)
            for (long power = 1; power <= 3; ++power) {
                table.push_back(float(std::cos(TURN * double(power * j) / double(n))));
                table.push_back(float(-std::sin(TURN * double(power * j) / double(n))));
            }
    return table;
}

const float* roots(long N) {
    static std::mutex guard;
    static std::map<long, std::vector<float>> tables;
    const std::lock_guard<std::mutex> lock(guard);
    auto found = tables.find(N);
    if (found == tables.end()) found = tables.emplace(N, powers(N)).first;
    return found->second.data();
}

struct Complex {
    vec re, im;
};

inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
inline Complex conj_times(Complex a, Complex b) { return {a.re * b.re + a.im * b.im, a.re * b.im - a.im * b.re}; }  // conj(a) b
inline Complex turned(Complex a) { return {a.im, -a.re}; }                                                             // -i a
inline Complex times(Complex a, const float* w) { return {a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]}; }
inline Complex times_conj(Complex a, const float* w) { return {a.re * w[0] + a.im * w[1], a.im * w[0] - a.re * w[1]}; }

// Depth first: from some size on a quarter stays in the cache until it is finished.
void forward(Complex* x, long n, const float* w) {
    if (n == 2) {
        const Complex a = x[0], b = x[1];
        x[0] = a + b, x[1] = a - b;
    }
    if (n < 4) return;
    const long q = n / 4;
    for (long j = 0; j < q; ++j) {
        const Complex a = x[j], b = x[j + q], c = x[j + 2 * q], d = x[j + 3 * q];
        const Complex even = a + c, odd = a - c, both = b + d, apart = turned(b - d);
        x[j] = even + both;
        if (n == 4) {
            x[1] = odd + apart, x[2] = even - both, x[3] = odd - apart;
            return;
        }
        x[j + q] = times(odd + apart, w + 6 * j);
        x[j + 2 * q] = times(even - both, w + 6 * j + 2);
        x[j + 3 * q] = times(odd - apart, w + 6 * j + 4);
    }
    for (long part = 0; part < 4; ++part) forward(x + part * q, q, w + 6 * q);
}

// N times the inverse of `forward`.
void inverse(Complex* x, long n, const float* w) {
    if (n == 2) {
        const Complex a = x[0], b = x[1];
        x[0] = a + b, x[1] = a - b;
    }
    if (n < 4) return;
    const long q = n / 4;
    if (n > 4)
        for (long part = 0; part < 4; ++part) inverse(x + part * q, q, w + 6 * q);
    for (long j = 0; j < q; ++j) {
        const bool last = n == 4;
        const Complex a = x[j], b = last ? x[1] : times_conj(x[j + q], w + 6 * j);
        const Complex c = last ? x[2] : times_conj(x[j + 2 * q], w + 6 * j + 2), d = last ? x[3] : times_conj(x[j + 3 * q], w + 6 * j + 4);
        const Complex even = a + c, odd = a - c, both = b + d, apart = turned(b - d);
        x[j] = even + both, x[j + q] = odd - apart, x[j + 2 * q] = even - both, x[j + 3 * q] = odd + apart;
    }
}

// One window: which document, and which outputs.
struct Block {
    long b, start, count;
};

long blocks(const Convolution& c) { return (c.T + c.N - c.L) / (c.N - c.L + 1); }

Block block(const Convolution& c, long item) {
    const long per = blocks(c), fresh = c.N - c.L + 1, start = item % per * fresh;
    return {item / per, start, std::max<long>(0, item < c.B * per ? std::min(fresh, c.T - start) : 0)};
}

// The steps of a window that the document has: offset of the window's first step in it, and the range inside the window.
struct Range {
    long first, begin, end;
};

Range range(const Convolution& c, const Block& at) {
    const long first = c.S - c.T + at.start - (c.L - 1);
    return {first, std::max<long>(0, -first), at.count ? c.L - 1 + at.count : 0};
}

void read(const Convolution& c, const Block& at, long d, long lanes, vec Complex::* part, Complex* x) {
    const Range r = range(c, at);
    for (long i = 0; i < std::min(r.begin, r.end); ++i) x[i].*part = vec{};
    const float* from = c.seen + (at.b * c.S + r.first) * c.D + d;
    for (long i = r.begin; i < r.end; ++i) x[i].*part = load(from + i * c.D, lanes);
    for (long i = r.end; i < c.N; ++i) x[i].*part = vec{};
}

inline Complex at(const float* spectrum, long i) { return {load(spectrum + 2 * V * i), load(spectrum + 2 * V * i + V)}; }

void convolve(const Convolution& c, long group, long pair, float* out) {
    const long d = group * V, lanes = std::min<long>(V, c.D - d);
    const float *spectrum = c.spectrum + group * c.N * 2 * V, *w = roots(c.N);
    std::vector<Complex> x(c.N);
    const Block one = block(c, 2 * pair), two = block(c, 2 * pair + 1);
    read(c, one, d, lanes, &Complex::re, x.data());
    read(c, two, d, lanes, &Complex::im, x.data());
    forward(x.data(), c.N, w);
    for (long i = 0; i < c.N; ++i) x[i] = x[i] * at(spectrum, i);
    inverse(x.data(), c.N, w);
    for (long i = 0; i < one.count; ++i) store(out + (one.b * c.T + one.start + i) * c.D + d, x[c.L - 1 + i].re, lanes);
    for (long i = 0; i < two.count; ++i) store(out + (two.b * c.T + two.start + i) * c.D + d, x[c.L - 1 + i].im, lanes);
}

void read_flow(const Convolution& c, const Block& at, long d, long lanes, const float* dout, vec Complex::* part, Complex* x) {
    for (long i = 0; i < c.L - 1; ++i) x[i].*part = vec{};
    const float* from = dout + (at.b * c.T + at.start) * c.D + d;
    for (long i = 0; i < at.count; ++i) x[c.L - 1 + i].*part = load(from + i * c.D, lanes);
    for (long i = c.L - 1 + at.count; i < c.N; ++i) x[i].*part = vec{};
}

void add_flow(const Convolution& c, const Block& at, long d, long lanes, const Complex* x, vec Complex::* part, float* dseen) {
    const Range r = range(c, at);
    float* to = dseen + (at.b * c.S + r.first) * c.D + d;
    for (long i = r.begin; i < r.end; ++i) store(to + i * c.D, load(to + i * c.D, lanes) + x[i].*part, lanes);
}

void transpose(const Convolution& c, long group, const float* dout, float* dseen, float* dtaps) {
    const long d = group * V, lanes = std::min<long>(V, c.D - d), pairs = (c.B * blocks(c) + 1) / 2;
    const float *spectrum = c.spectrum + group * c.N * 2 * V, *w = roots(c.N);
    std::vector<Complex> x(c.N), flow(c.N), total(c.N, Complex{vec{}, vec{}});
    for (long pair = 0; pair < pairs; ++pair) {
        const Block one = block(c, 2 * pair), two = block(c, 2 * pair + 1);
        read(c, one, d, lanes, &Complex::re, x.data());
        read(c, two, d, lanes, &Complex::im, x.data());
        forward(x.data(), c.N, w);
        read_flow(c, one, d, lanes, dout, &Complex::re, flow.data());
        read_flow(c, two, d, lanes, dout, &Complex::im, flow.data());
        forward(flow.data(), c.N, w);
        for (long i = 0; i < c.N; ++i) {
            total[i] = total[i] + conj_times(x[i], flow[i]);  // its inverse has the sum over both in its real part
            flow[i] = conj_times(at(spectrum, i), flow[i]);
        }
        inverse(flow.data(), c.N, w);
        add_flow(c, one, d, lanes, flow.data(), &Complex::re, dseen);
        add_flow(c, two, d, lanes, flow.data(), &Complex::im, dseen);
    }
    inverse(total.data(), c.N, w);
    for (long i = 0; i < c.L; ++i) store(dtaps + i * c.D + d, total[i].re * (1.0f / float(c.N)), lanes);
}

}  // namespace

extern "C" long fft_lanes() { return V; }

// The filters' transform over N, with the 1 / N of the inverse in it.
extern "C" void fft_spectrum(const Convolution* c, float* spectrum, int threads) {
    parallel((c->D + V - 1) / V, threads, [&](long group) {
        const long d = group * V, lanes = std::min<long>(V, c->D - d);
        std::vector<Complex> x(c->N, Complex{vec{}, vec{}});
        for (long i = 0; i < c->L; ++i) x[i].re = load(c->taps + i * c->D + d, lanes) * (1.0f / float(c->N));
        forward(x.data(), c->N, roots(c->N));
        for (long i = 0; i < c->N; ++i) {
            store(spectrum + (group * c->N + i) * 2 * V, x[i].re);
            store(spectrum + (group * c->N + i) * 2 * V + V, x[i].im);
        }
    });
}

extern "C" void fft_convolution_forward(const Convolution* c, float* out, int threads) {
    const long pairs = (c->B * blocks(*c) + 1) / 2;
    parallel((c->D + V - 1) / V * pairs, threads, [&](long item) { convolve(*c, item / pairs, item % pairs, out); });
}

// dseen must come as zeros: windows overlap, and each adds its share.
extern "C" void fft_convolution_backward(const Convolution* c, const float* dout, float* dseen, float* dtaps, int threads) {
    parallel((c->D + V - 1) / V, threads, [&](long group) { transpose(*c, group, dout, dseen, dtaps); });
}
