/* Linear layers at small batches: forward, and backward with the optimizer's update in one pass over the weights.
 *
 * At a batch of a few images a step is reading and writing weights and optimizer state, not arithmetic. Here every weight
 * is read once forward and once backward: its gradient, a sum over the batch, never leaves a register, and the gradient
 * of the inputs is taken from the weight before it changes. hpo/training/layers.py owns all memory.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#define IMAGES 4 /* at once in the forward pass: ROWS x IMAGES sums in registers */
#else
#define LANES 8
#define IMAGES 2
#endif
#define ROWS 4 /* outputs at once: inputs and the gradient of inputs are read once for all of them */

typedef float vec __attribute__((vector_size(4 * LANES)));
#define INLINE static inline __attribute__((always_inline))

/* The first n floats; the rest is zero. */
INLINE vec load(const float *from, int n) {
    vec v = {};
    memcpy(&v, from, n == LANES ? sizeof(v) : 4 * (size_t)n);
    return v;
}
INLINE void store(float *to, vec v, int n) { memcpy(to, &v, n == LANES ? sizeof(v) : 4 * (size_t)n); }

INLINE vec root(vec v) {
#if defined(__AVX512F__)
    return (vec)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX__)
    return (vec)_mm256_sqrt_ps((__m256)v);
#else
    for (int lane = 0; lane < LANES; lane++) v[lane] = sqrtf(v[lane]);
    return v;
#endif
}

enum { ADAM, SGD, MOMENTUM, NESTEROV };

/* rate: lr, of Adam over 1 - beta1^t; decay: gradient += decay * weight; shrink: weight *= shrink (AdamW);
 * first, second, scale: 1 - beta1, 1 - beta2, 1 / sqrt(1 - beta2^t). */
typedef struct {
    int32_t kind;
    float rate, decay, shrink, first, second, scale, eps, momentum;
} Rule;

/* n weights with gradient g and state a, b: exp_avg and exp_avg_sq, or momentum_buffer. */
INLINE void update(const int kind, const Rule *r, vec w, vec g, float *wp, float *a, float *b, int n) {
    g += r->decay * w;
    if (kind == ADAM) {
        vec m = load(a, n), v = load(b, n);
        w *= r->shrink;
        m += r->first * (g - m);
        v += r->second * (g * g - v);
        store(a, m, n);
        store(b, v, n);
        w -= r->rate * m / (root(v) * r->scale + r->eps);
    } else if (kind == SGD) {
        w -= r->rate * g;
    } else {
        vec m = r->momentum * load(a, n) + g;
        store(a, m, n);
        w -= r->rate * (kind == NESTEROV ? g + r->momentum * m : m);
    }
    store(wp, w, n);
}

INLINE void back_block(const int kind, const int rows, const Rule *r, int images, long in, long out, const float *x,
                       const float *delta, float *w, float *a, float *b, float *below, int fresh, int n) {
    vec g[ROWS], old[ROWS];
    for (int o = 0; o < rows; o++) g[o] = (vec){}, old[o] = load(w + o * in, n);
#pragma GCC unroll 4
    for (int image = 0; image < images; image++) {
        const float *d = delta + image * out;
        vec xv = load(x + image * in, n);
        for (int o = 0; o < rows; o++) g[o] += d[o] * xv;
        if (below) {
            vec sum = fresh ? (vec){} : load(below + image * in, n);
            for (int o = 0; o < rows; o++) sum += d[o] * old[o];
            store(below + image * in, sum, n);
        }
    }
    for (int o = 0; o < rows; o++)
        update(kind, r, old[o], g[o], w + o * in, a + o * in, b + o * in, n);
}

INLINE void back_rows(const int kind, const int rows, const Rule *r, int images, long in, long out, const float *x,
                      const float *delta, float *w, float *a, float *b, float *below, int fresh) {
    long j = 0;
    for (; j + LANES <= in; j += LANES)
        back_block(kind, rows, r, images, in, out, x + j, delta, w + j, a + j, b + j, below ? below + j : below, fresh, LANES);
    if (j < in)
        back_block(kind, rows, r, images, in, out, x + j, delta, w + j, a + j, b + j, below ? below + j : below, fresh, in - j);
}

INLINE void back_all(const int kind, const Rule *r, int images, long in, long out, const float *x, const float *delta,
                     float *w, float *a, float *b, float *below) {
    long o = 0;
    for (; o + ROWS <= out; o += ROWS)
        back_rows(kind, ROWS, r, images, in, out, x, delta + o, w + o * in, a + o * in, b + o * in, below, o == 0);
    for (; o < out; o++)
        back_rows(kind, 1, r, images, in, out, x, delta + o, w + o * in, a + o * in, b + o * in, below, o == 0);
}

/* x [images][in], delta [images][out], w [out][in] and its state -> below [images][in] = delta w, if asked for, and then
 * a step of w by the gradient delta' x. a, b: what the rule has not is not touched, and may be anything. */
void layer_backward(const Rule *r, int32_t images, int32_t in, int32_t out, const float *x, const float *delta, float *w,
                    float *a, float *b, float *below) {
    if (r->kind == ADAM) back_all(ADAM, r, images, in, out, x, delta, w, a, b, below);
    else if (r->kind == SGD) back_all(SGD, r, images, in, out, x, delta, w, a, b, below);
    else if (r->kind == MOMENTUM) back_all(MOMENTUM, r, images, in, out, x, delta, w, a, b, below);
    else back_all(NESTEROV, r, images, in, out, x, delta, w, a, b, below);
}

INLINE float total(vec v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += v[lane];
    return sum;
#endif
}

INLINE void forward_vectors(const int rows, const int images, vec sum[ROWS][IMAGES], long in, const float *x,
                            const float *w, const int n) {
    vec xs[IMAGES];
#pragma GCC unroll 4
    for (int i = 0; i < images; i++) xs[i] = load(x + i * in, n);
#pragma GCC unroll 4
    for (int o = 0; o < rows; o++) {
        vec wv = load(w + o * in, n);
#pragma GCC unroll 4
        for (int i = 0; i < images; i++) sum[o][i] += wv * xs[i];
    }
}

INLINE void forward_block(const int rows, const int images, long in, long out, const float *x, const float *w,
                          const float *bias, float *y) {
    vec sum[ROWS][IMAGES] = {};
    long j = 0;
    for (; j + LANES <= in; j += LANES) forward_vectors(rows, images, sum, in, x + j, w + j, LANES);
    if (j < in) forward_vectors(rows, images, sum, in, x + j, w + j, (int)(in - j));
    for (int o = 0; o < rows; o++)
        for (int i = 0; i < images; i++) y[i * out + o] = total(sum[o][i]) + bias[o];
}

INLINE void forward_rows(const int rows, long images, long in, long out, const float *x, const float *w, const float *bias,
                         float *y) {
    for (; images >= IMAGES; images -= IMAGES, x += IMAGES * in, y += IMAGES * out)
        forward_block(rows, IMAGES, in, out, x, w, bias, y);
    if (images == 3) forward_block(rows, 3, in, out, x, w, bias, y);
    else if (images == 2) forward_block(rows, 2, in, out, x, w, bias, y);
    else if (images == 1) forward_block(rows, 1, in, out, x, w, bias, y);
}

/* x [images][in], w [out][in], bias [out] -> y [images][out] */
void layer_forward(int32_t images, int32_t in, int32_t out, const float *x, const float *w, const float *bias, float *y) {
    long o = 0;
    for (; o + ROWS <= out; o += ROWS) forward_rows(ROWS, images, in, out, x, w + o * in, bias + o, y + o);
    for (; o < out; o++) forward_rows(1, images, in, out, x, w + o * in, bias + o, y + o);
}
