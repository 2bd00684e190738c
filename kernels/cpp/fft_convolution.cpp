// Long causal convolution of each channel with a filter of its own, by the fast Fourier transform.
//
// V channels travel side by side, so every butterfly is vector arithmetic and (B, T, D) needs no transposing. The N steps of a window are
// taken as N / 2 complex numbers, an even step and the odd one behind it, so a transform holds one channel of one document: what is
// loud or no number elsewhere costs it nothing. Forward transforms leave the frequencies in a scrambled order and inverse ones start from it,
// so nothing is ever put in order. Each block of a long document is a window of N steps behind L - 1 earlier ones (overlap-save); the
// backward pass is the exact transpose.
//
// With E and O the transforms of the even and the odd steps, Z = E + i O, w = exp(-2 pi i k / M), M = N / 2, and Z' the conjugate of Z at
// frequency -k, the convolution with a filter (e, o) is  E e + w O o + i (E o + O e) = Z alpha + Z' beta  with alpha = e + i o (1 - w) / 2
// and beta = i o (1 + w) / 2, which is the spectrum kept. Its transpose has conj(alpha) and -conj(beta).
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
    const float *seen, *taps, *spectrum;  // (B, S, D), (L, D), (groups, N / 2, 2, 2, V): alpha and beta of each frequency
};

namespace {

constexpr double TURN = 6.283185307179586476925286766559;

// For n = M, M / 4, ...: the 1st, 2nd and 3rd powers of exp(-2 pi i j / n), j < n / 4, as (real, imaginary).
std::vector<float> powers(long M) {
    std::vector<float> table;
    for (long n = M; n > 4; n /= 4)
        for (long j = 0; j < n / 4; ++j)
            for (long power = 1; power <= 3; ++power) {
                table.push_back(float(std::cos(TURN * double(power * j) / double(n))));
                table.push_back(float(-std::sin(TURN * double(power * j) / double(n))));
            }
    return table;
}

// exp(-2 pi i k / M) of the frequency k at each place, as (real, imaginary).
std::vector<float> turns(long M) {
    std::vector<float> table(2 * M);
    for (long i = 0; i < M; ++i) {
        long k = 0, rest = i, unit = 1;
        for (long n = M; n > 1; n /= 4) {
            const long q = n == 2 ? 1 : n / 4;
            k += rest / q * unit, rest %= q, unit *= 4;
        }
        table[2 * i] = float(std::cos(TURN * double(k) / double(M)));
        table[2 * i + 1] = float(-std::sin(TURN * double(k) / double(M)));
    }
    return table;
}

struct Tables {
    std::vector<float> powers, turns;
};

const Tables& tables(long M) {
    static std::mutex guard;
    static std::map<long, Tables> made;
    const std::lock_guard<std::mutex> lock(guard);
    auto found = made.find(M);
    if (found == made.end()) found = made.emplace(M, Tables{powers(M), turns(M)}).first;
    return found->second;
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

// The place of frequency -k, from that of k: the first holds 0, and in each run [n, 4 n), or the last [n, 2 n), they lie mirrored.
template <class Each>
inline void mirrored(long M, const Each& each) {
    each(0, 0);
    for (long end = M; end > 1;) {
        const long begin = end == 2 ? 1 : end / 4;
        for (long i = begin; i < end; ++i) each(i, begin + end - 1 - i);
        end = begin;
    }
}

long blocks(const Convolution& c) { return (c.T + c.N - c.L) / (c.N - c.L + 1); }

// One window: which document, which outputs, and its first step in the document, of which it has those from `begin` to `end`.
struct Window {
    long b, start, count, first, begin, end;

    Window(const Convolution& c, long item) {
        const long per = blocks(c), fresh = c.N - c.L + 1;
        b = item / per, start = item % per * fresh, count = std::min(fresh, c.T - start);
        first = c.S - c.T + start - (c.L - 1), begin = std::max<long>(0, -first), end = c.L - 1 + count;
    }
};

inline vec* steps(std::vector<Complex>& x) { return reinterpret_cast<vec*>(x.data()); }

void read(const Convolution& c, const Window& at, long d, long lanes, vec* x) {
    std::fill(x, x + at.begin, vec{});
    const float* from = c.seen + (at.b * c.S + at.first) * c.D + d;
    for (long i = at.begin; i < at.end; ++i) x[i] = load(from + i * c.D, lanes);
    std::fill(x + at.end, x + c.N, vec{});
}

inline Complex at(const float* spectrum, long i) { return {load(spectrum + 2 * V * i), load(spectrum + 2 * V * i + V)}; }
inline Complex conj(Complex a) { return {a.re, -a.im}; }

// x = the inverse transform of alpha x + beta x', with the conjugates for the transpose.
template <bool TRANSPOSED>
void filtered(const float* spectrum, long M, const float* w, Complex* x) {
    auto product = [&](long i, Complex here, Complex there) {
        const Complex alpha = at(spectrum, 2 * i), beta = at(spectrum, 2 * i + 1), mirror = conj(there);
        return TRANSPOSED ? conj_times(alpha, here) - conj_times(beta, mirror) : alpha * here + beta * mirror;
    };
    mirrored(M, [&](long i, long j) {
        if (i > j) return;
        const Complex here = x[i], there = x[j];
        x[i] = product(i, here, there);
        x[j] = product(j, there, here);
    });
    inverse(x, M, w);
}

void convolve(const Convolution& c, long group, long item, float* out) {
    const long d = group * V, lanes = std::min<long>(V, c.D - d), M = c.N / 2;
    const float* w = tables(M).powers.data();
    std::vector<Complex> x(M);
    const Window at(c, item);
    read(c, at, d, lanes, steps(x));
    forward(x.data(), M, w);
    filtered<false>(c.spectrum + group * c.N * 2 * V, M, w, x.data());
    float* to = out + (at.b * c.T + at.start) * c.D + d;
    for (long i = 0; i < at.count; ++i) store(to + i * c.D, steps(x)[c.L - 1 + i], lanes);
}

void transpose(const Convolution& c, long group, const float* dout, float* dseen, float* dtaps) {
    const long d = group * V, lanes = std::min<long>(V, c.D - d), M = c.N / 2, windows = c.B * blocks(c);
    const float *spectrum = c.spectrum + group * c.N * 2 * V, *w = tables(M).powers.data(), *turn = tables(M).turns.data();
    const Complex none{vec{}, vec{}};
    std::vector<Complex> x(M), flow(M), same(M, none), cross(M, none);  // sums of conj(Z) G and of Z(-k) G
    for (long item = 0; item < windows; ++item) {
        const Window at(c, item);
        read(c, at, d, lanes, steps(x));
        forward(x.data(), M, w);
        vec* const flows = steps(flow);
        const float* from = dout + (at.b * c.T + at.start) * c.D + d;
        std::fill(flows, flows + c.L - 1, vec{});
        for (long i = 0; i < at.count; ++i) flows[c.L - 1 + i] = load(from + i * c.D, lanes);
        std::fill(flows + at.end, flows + c.N, vec{});
        forward(flow.data(), M, w);
        mirrored(M, [&](long i, long j) {
            same[i] = same[i] + conj_times(x[i], flow[i]);
            cross[i] = cross[i] + x[j] * flow[i];
        });
        filtered<true>(spectrum, M, w, flow.data());
        float* to = dseen + (at.b * c.S + at.first) * c.D + d;
        for (long i = at.begin; i < at.end; ++i) store(to + i * c.D, load(to + i * c.D, lanes) + flows[i], lanes);
    }
    // Of conj(E) (Ge + i Go) + conj(O) (Go + i conj(w) Ge), the even and the odd taps' gradients beside each other.
    mirrored(M, [&](long i, long j) {
        const float near[2] = {1.0f - turn[2 * i], turn[2 * i + 1]}, far[2] = {1.0f + turn[2 * i], -turn[2 * i + 1]};  // 1 -+ conj(w)
        const Complex both = same[i] + cross[i], apart = times(same[i] - cross[i], near) - times(conj(cross[j]) - conj(same[j]), far);
        x[i] = {0.5f * both.re + 0.25f * apart.re, 0.5f * both.im + 0.25f * apart.im};
    });
    inverse(x.data(), M, w);
    for (long i = 0; i < c.L; ++i) store(dtaps + i * c.D + d, steps(x)[i] * (1.0f / float(M)), lanes);
}

}  // namespace

extern "C" const long fft_lanes = V;

// alpha and beta of the filters, with the 1 / M of the inverse in them.
extern "C" int fft_spectrum(const Convolution* c, float* spectrum, int threads) {
    return parallel((c->D + V - 1) / V, threads, [&](long group) {
        const long d = group * V, lanes = std::min<long>(V, c->D - d), M = c->N / 2;
        std::vector<Complex> x(M, Complex{vec{}, vec{}});
        for (long i = 0; i < c->L; ++i) steps(x)[i] = load(c->taps + i * c->D + d, lanes) * (0.5f / float(M));
        const float* turn = tables(M).turns.data();
        forward(x.data(), M, tables(M).powers.data());
        mirrored(M, [&](long i, long j) {
            const Complex even = x[i] + conj(x[j]), odd = x[i] - conj(x[j]);  // e, and i o
            const float near[2] = {0.5f - 0.5f * turn[2 * i], -0.5f * turn[2 * i + 1]}, far[2] = {0.5f + 0.5f * turn[2 * i], 0.5f * turn[2 * i + 1]};
            const Complex alpha = even + times(odd, near), beta = times(odd, far);
            float* to = spectrum + (group * M + i) * 4 * V;
            store(to, alpha.re), store(to + V, alpha.im), store(to + 2 * V, beta.re), store(to + 3 * V, beta.im);
        });
    });
}

extern "C" int fft_convolution_forward(const Convolution* c, float* out, int threads) {
    const long windows = c->B * blocks(*c);
    return parallel((c->D + V - 1) / V * windows, threads, [&](long item) { convolve(*c, item / windows, item % windows, out); });
}

// dseen must come as zeros: windows overlap, and each adds its share.
extern "C" int fft_convolution_backward(const Convolution* c, const float* dout, float* dseen, float* dtaps, int threads) {
    return parallel((c->D + V - 1) / V, threads, [&](long group) { transpose(*c, group, dout, dseen, dtaps); });
}
