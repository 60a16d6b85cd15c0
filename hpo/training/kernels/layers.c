/* Linear layers: forward, and backward with the optimizer's update in one pass over the weights.
 *
 * Every weight and its state is read and written once: its gradient, a sum over the batch, never leaves a register.
 * All three products keep TALL x WIDE sums in registers, so that they load little for each product; they walk rows of
 * weights from end to end, because the processor fetches ahead. hpo/training/kernels/fused_train_step.py owns
 * all memory. */
#include "chain.h"

#if defined(__AVX512F__)
#define TALL 6 /* of 32 registers: 24 sums, 4 vectors, and one more */
#define ROWS 8 /* outputs at once with few images */
#else
#define TALL 2 /* of 16 registers */
#define ROWS 4
#endif
#define WIDE 4
#define FEW 8    /* images whose gradients of inputs stay in the nearest cache while all weights pass by */
#define PAGES 64 /* rows of weights at once where their columns are walked: each lies in a page of its own */

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

/* Adam's state is most of what a step reads, in pieces too short for the processor to fetch ahead. */
INLINE void fetch_state(const float *a, const float *b, long at) {
    __builtin_prefetch(a + at, 1);
    __builtin_prefetch(b + at, 1);
}

/* One tile of the gradient grad_output' x, [rows][vectors], and the update by it; the last vector has n floats. */
INLINE void update_tile(const int rows, const int vectors, const Rule *r, int images, long in, long out, const float *x,
                        const float *grad_output, float *w, float *a, float *b, const int n) {
    vec g[TALL][WIDE] = {};
    for (int o = 0; r->kind == ADAM && o < rows; o++)
        for (int j = 0; j < vectors; j++) fetch_state(a, b, o * in + (j + WIDE) * LANES); /* of the next tile */
    for (int image = 0; image < images; image++, x += in, grad_output += out) {
        vec xs[WIDE];
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) xs[j] = load(x + j * LANES, n);
#pragma GCC unroll 6
        for (int o = 0; o < rows; o++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++) g[o][j] += grad_output[o] * xs[j];
    }
    for (int o = 0; o < rows; o++)
        for (int j = 0; j < vectors; j++) {
            const long at = o * in + j * LANES;
            update(r->kind, r, load(w + at, n), g[o][j], w + at, a + at, b + at, n);
        }
}

INLINE void update_rows(const int rows, const Rule *r, int images, long in, long out, const float *x,
                        const float *grad_output,
                        float *w, float *a, float *b) {
    long j = 0;
    for (; j + WIDE * LANES <= in; j += WIDE * LANES)
        update_tile(rows, WIDE, r, images, in, out, x + j, grad_output, w + j, a + j, b + j, LANES);
    for (; j + LANES <= in; j += LANES)
        update_tile(rows, 1, r, images, in, out, x + j, grad_output, w + j, a + j, b + j, LANES);
    if (j < in) update_tile(rows, 1, r, images, in, out, x + j, grad_output, w + j, a + j, b + j, (int)(in - j));
}

static void update_all(const Rule *r, int images, long in, long out, const float *x, const float *grad_output,
                       float *w, float *a,
                       float *b) {
    long o = 0;
    for (; o + TALL <= out; o += TALL) update_rows(TALL, r, images, in, out, x, grad_output + o, w + o * in,
                                                   a + o * in, b + o * in);
    for (; o < out; o++) update_rows(1, r, images, in, out, x, grad_output + o, w + o * in, a + o * in, b + o * in);
}

/* One tile of grad_input [images][vectors] = or += grad_output w over `count` rows of w. */
INLINE void grad_input_tile(const int images, const int vectors, long in, long out, int count,
                            const float *grad_output, const float *w,
                       float *grad_input, const int n, int fresh) {
    vec sum[TALL][WIDE] = {};
    for (int i = 0; !fresh && i < images; i++)
        for (int j = 0; j < vectors; j++) sum[i][j] = load(grad_input + i * in + j * LANES, n);
    for (int o = 0; o < count; o++, w += in) {
        vec ws[WIDE];
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) ws[j] = load(w + j * LANES, n);
#pragma GCC unroll 6
        for (int i = 0; i < images; i++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++) sum[i][j] += grad_output[i * out + o] * ws[j];
    }
    for (int i = 0; i < images; i++)
        for (int j = 0; j < vectors; j++) store(grad_input + i * in + j * LANES, sum[i][j], n);
}

INLINE void grad_input_columns(const int vectors, int images, long in, long out, int count, const float *grad_output,
                               const float *w,
                          float *grad_input, const int n, int fresh) {
    for (; images >= TALL; images -= TALL, grad_output += TALL * out, grad_input += TALL * in)
        grad_input_tile(TALL, vectors, in, out, count, grad_output, w, grad_input, n, fresh);
    for (; images >= 2; images -= 2, grad_output += 2 * out, grad_input += 2 * in)
        grad_input_tile(2, vectors, in, out, count, grad_output, w, grad_input, n, fresh);
    if (images) grad_input_tile(1, vectors, in, out, count, grad_output, w, grad_input, n, fresh);
}

static void grad_input_all(int images, long in, long out, const float *grad_output, const float *w, float *grad_input) {
    for (long o = 0; o < out; o += PAGES, grad_output += PAGES, w += PAGES * in) {
        const int count = out - o < PAGES ? (int)(out - o) : PAGES;
        long j = 0;
        for (; j + WIDE * LANES <= in; j += WIDE * LANES)
            grad_input_columns(WIDE, images, in, out, count, grad_output, w + j, grad_input + j, LANES, o == 0);
        for (; j + LANES <= in; j += LANES) grad_input_columns(1, images, in, out, count, grad_output, w + j,
                grad_input + j, LANES, o == 0);
        if (j < in) grad_input_columns(1, images, in, out, count, grad_output, w + j, grad_input + j, (int)(in - j),
                                       o == 0);
    }
}

/* Both at once, of a few images: `grad_input` stays in the nearest cache while the weights pass by. */
INLINE void both_block(const int kind, const int rows, const Rule *r, int images, long in, long out, const float *x,
                       const float *grad_output, float *w, float *a, float *b, float *grad_input, int fresh, int n) {
    vec g[ROWS], old[ROWS];
    for (int o = 0; kind == ADAM && o < rows; o++) fetch_state(a, b, o * in + LANES); /* of the next block */
    for (int o = 0; o < rows; o++) g[o] = (vec){}, old[o] = load(w + o * in, n);
#pragma GCC unroll 4
    for (int image = 0; image < images; image++) {
        const float *d = grad_output + image * out;
        vec xv = load(x + image * in, n), sum = fresh ? (vec){} : load(grad_input + image * in, n);
        for (int o = 0; o < rows; o++) {
            vec factor = (vec){} + d[o];
            KEEP(factor);
            g[o] += factor * xv;
            sum += factor * old[o];
        }
        store(grad_input + image * in, sum, n);
    }
    for (int o = 0; o < rows; o++)
        update(kind, r, old[o], g[o], w + o * in, a + o * in, b + o * in, n);
}

INLINE void both_rows(const int kind, const int rows, const Rule *r, int images, long in, long out, const float *x,
                      const float *grad_output, float *w, float *a, float *b, float *grad_input, int fresh) {
    long j = 0;
    for (; j + LANES <= in; j += LANES)
        both_block(kind, rows, r, images, in, out, x + j, grad_output, w + j, a + j, b + j, grad_input + j, fresh,
                   LANES);
    if (j < in)
        both_block(kind, rows, r, images, in, out, x + j, grad_output, w + j, a + j, b + j, grad_input + j, fresh,
                   (int)(in - j));
}

INLINE void both_all(const int kind, const Rule *r, int images, long in, long out, const float *x,
                     const float *grad_output,
                     float *w, float *a, float *b, float *grad_input) {
    long o = 0;
    for (; o + ROWS <= out; o += ROWS)
        both_rows(kind, ROWS, r, images, in, out, x, grad_output + o, w + o * in, a + o * in, b + o * in, grad_input,
                  o == 0);
    for (; o < out; o++)
        both_rows(kind, 1, r, images, in, out, x, grad_output + o, w + o * in, a + o * in, b + o * in, grad_input,
                  o == 0);
}

/* x [images][in], grad_output [images][out], w [out][in] and its state -> grad_input [images][in] = grad_output w,
 * if asked for, and then a step of w by the gradient grad_output' x. a, b: what the rule does not use is not touched,
 * and may be anything. */
void layer_backward(const Rule *r, int32_t images, int32_t in, int32_t out, const float *x, const float *grad_output,
                    float *w,
                    float *a, float *b, float *grad_input) {
    if (!grad_input || images > FEW) {
        if (grad_input) grad_input_all(images, in, out, grad_output, w, grad_input);
        update_all(r, images, in, out, x, grad_output, w, a, b);
    } else if (r->kind == ADAM) both_all(ADAM, r, images, in, out, x, grad_output, w, a, b, grad_input);
    else if (r->kind == SGD) both_all(SGD, r, images, in, out, x, grad_output, w, a, b, grad_input);
    else both_all(r->kind, r, images, in, out, x, grad_output, w, a, b, grad_input);
}

/* grad_output [images][out], bias [out] and its state: a step by the sum of grad_output over the images. */
void bias_backward(const Rule *r, int32_t images, int32_t out, const float *grad_output, float *bias, float *a,
                   float *b) {
    for (long o = 0; o < out; o += LANES) {
        const int n = out - o < LANES ? (int)(out - o) : LANES;
        vec sum = {};
        for (int image = 0; image < images; image++) sum += load(grad_output + (long)image * out + o, n);
        update(r->kind, r, load(bias + o, n), sum, bias + o, a + o, b + o, n);
    }
}

/* A step of `size` weights by a gradient in memory, that of one image. */
void apply(const Rule *r, int64_t size, const float *gradient, float *w, float *a, float *b) {
    bias_backward(r, 1, (int32_t)size, gradient, w, a, b);
}

/* The sums of four vectors' floats. */
INLINE void totals(const vec v[WIDE], float out[WIDE]) {
#if defined(__AVX512F__)
    const __m512 a = (__m512)v[0], b = (__m512)v[1], c = (__m512)v[2], d = (__m512)v[3];
    const __m512d ab = (__m512d)(_mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b));
    const __m512d cd = (__m512d)(_mm512_unpacklo_ps(c, d) + _mm512_unpackhi_ps(c, d));
    const __m512 fours = (__m512)_mm512_unpacklo_pd(ab, cd) + (__m512)_mm512_unpackhi_pd(ab, cd);
    const __m256 twos = _mm512_castps512_ps256(fours) + (__m256)_mm512_extractf64x4_pd((__m512d)fours, 1);
    _mm_storeu_ps(out, _mm256_castps256_ps128(twos) + _mm256_extractf128_ps(twos, 1));
#else
    for (int i = 0; i < WIDE; i++) out[i] = total(v[i]);
#endif
}

INLINE void forward_vectors(const int rows, const int images, vec sum[TALL][WIDE], long in, const float *x,
                            const float *w,
                            const int n) {
    vec xs[WIDE];
#pragma GCC unroll 4
    for (int i = 0; i < images; i++) xs[i] = load(x + i * in, n);
#pragma GCC unroll 6
    for (int o = 0; o < rows; o++) {
        vec row = load(w + o * in, n);
        KEEP(row);
#pragma GCC unroll 4
        for (int i = 0; i < images; i++) sum[o][i] += row * xs[i];
    }
}

INLINE void forward_tile(const int rows, const int images, long in, long out, const float *x, const float *w,
                         const float *bias, float *y) {
    vec sum[TALL][WIDE] = {};
    long j = 0;
    for (; j + LANES <= in; j += LANES) forward_vectors(rows, images, sum, in, x + j, w + j, LANES);
    if (j < in) forward_vectors(rows, images, sum, in, x + j, w + j, (int)(in - j));
    for (int o = 0; o < rows; o++) {
        float sums[WIDE];
        totals(sum[o], sums);
        for (int i = 0; i < images; i++) y[i * out + o] = sums[i] + bias[o];
    }
}

INLINE void forward_rows(const int rows, int images, long in, long out, const float *x, const float *w,
                         const float *bias,
                         float *y) {
    for (; images >= WIDE; images -= WIDE, x += WIDE * in, y += WIDE * out)
        forward_tile(rows, WIDE, in, out, x, w, bias, y);
    if (images == 3) forward_tile(rows, 3, in, out, x, w, bias, y);
    else if (images == 2) forward_tile(rows, 2, in, out, x, w, bias, y);
    else if (images == 1) forward_tile(rows, 1, in, out, x, w, bias, y);
}

/* x [images][in], w [out][in], bias [out] -> y [images][out] */
void layer_forward(int32_t images, int32_t in, int32_t out, const float *x, const float *w, const float *bias,
                   float *y) {
    long o = 0;
    for (; o + TALL <= out; o += TALL) forward_rows(TALL, images, in, out, x, w + o * in, bias + o, y + o);
    for (; o < out; o++) forward_rows(1, images, in, out, x, w + o * in, bias + o, y + o);
}
