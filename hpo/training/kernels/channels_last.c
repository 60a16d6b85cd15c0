/* The gradient of depthwise convolutions, and max pooling, of channels-last images [N][H][W][C], float32 or bfloat16.
 *
 * The channels of one pixel lie in the lanes of a vector, LANES of them at a time. An image is first copied into a
 * padded array of vectors of float32, so that the inner loops need not care about borders, dtypes or odd channels;
 * all sums are float32. hpo/training/kernels/channels_last.py owns all memory; nothing is allocated here.
 */
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
#define TOGETHER 4 /* images after which the sums of weight gradients go back to memory */

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

#define INLINE static inline __attribute__((always_inline))

/* height, width: of the input; high, wide: of the input with its padding; rows, columns: of the output;
 * half: whether images are bfloat16. */
typedef struct {
    int32_t images, channels, height, width, high, wide, rows, columns, kernel, stride, padding, half;
} Shape;

int32_t lanes(void) { return LANES; }

/* memcpy of `count` items, where all but the last few channels of an image have a constant size */
INLINE void copy(void *to, const void *from, int count, int size) {
    if (count == LANES) memcpy(to, from, LANES * size);
    else if (count == LANES / 2) memcpy(to, from, LANES / 2 * size);
    else memcpy(to, from, (size_t)count * size);
}

INLINE vec load(const void *from, long at, int count, int half) {
    vec value = {};
    if (!half) {
        copy(&value, (const float *)from + at, count, 4);
        return value;
    }
    halves narrow = {};
    copy(&narrow, (const uint16_t *)from + at, count, 2);
    return (vec)(__builtin_convertvector(narrow, bits) << 16);
}

INLINE void store(void *to, long at, int count, int half, vec value) {
    if (!half) {
        copy((float *)to + at, &value, count, 4);
        return;
    }
    const bits wide = (bits)value, nan = (bits)(value != value); /* to nearest, ties to even, as torch does */
    const bits rounded = ((wide + 0x7fff + ((wide >> 16) & 1)) & ~nan) | (0x7fc00000u & nan);
    const halves narrow = __builtin_convertvector(rounded >> 16, halves);
    copy((uint16_t *)to + at, &narrow, count, 2);
}

/* One image's channels [first, first + count) into the middle of `padded`, whose border is left as it is. */
INLINE void pad(const Shape *s, const void *x, long image, int first, int count, vec *padded) {
    long at = image * s->height * s->width * s->channels + first;
    for (int row = 0; row < s->height; row++) {
        vec *to = padded + (long)(row + s->padding) * s->wide + s->padding;
        for (int column = 0; column < s->width; column++, at += s->channels) to[column] = load(x, at, count, s->half);
    }
}

/* The middle of `padded` into one image's channels [first, first + count). */
INLINE void unpad(const Shape *s, const vec *padded, long image, int first, int count, void *x) {
    long at = image * s->height * s->width * s->channels + first;
    for (int row = 0; row < s->height; row++) {
        const vec *from = padded + (long)(row + s->padding) * s->wide + s->padding;
        for (int column = 0; column < s->width; column++, at += s->channels) store(x, at, count, s->half, from[column]);
    }
}

INLINE long padded_size(const Shape *s) { return (long)s->high * s->wide; }

INLINE void depthwise_image(const int k, const int stride, const Shape *s, const void *dy, long at, int count,
                            const vec *padded, vec *unpooled, const vec *weight, vec *sum) {
    const int wide = s->wide;
    vec total[25];
#pragma GCC unroll 25
    for (int tap = 0; tap < k * k; tap++) total[tap] = sum[tap];
    for (int row = 0; row < s->rows; row++)
        for (int column = 0; column < s->columns; column++, at += s->channels) {
            const long corner = (long)row * stride * wide + column * stride;
            const vec grad_output = load(dy, at, count, s->half);
#pragma GCC unroll 5
            for (int ky = 0; ky < k; ky++)
#pragma GCC unroll 5
                for (int kx = 0; kx < k; kx++) {
                    const long place = corner + ky * wide + kx;
                    total[ky * k + kx] += grad_output * padded[place];
                    unpooled[place] += grad_output * weight[ky * k + kx];
                }
        }
#pragma GCC unroll 25
    for (int tap = 0; tap < k * k; tap++) sum[tap] = total[tap];
}

INLINE void depthwise_backward_k(const int k, const int stride, const Shape *s, const void *x, const float *w,
                                 const void *dy, void *dx, float *dw, vec *padded) {
    vec *unpooled = padded + padded_size(s);
    memset(padded, 0, sizeof(vec) * padded_size(s));
    memset(dw, 0, sizeof(float) * k * k * s->channels);
    for (long begin = 0; begin < s->images; begin += TOGETHER)
        for (int first = 0; first < s->channels; first += LANES) {
            const int count = s->channels - first < LANES ? s->channels - first : LANES;
            vec weight[25], sum[25] = {};
            for (int tap = 0; tap < k * k; tap++) weight[tap] = load(w, (long)tap * s->channels + first, count, 0);
            for (long image = begin; image < begin + TOGETHER && image < s->images; image++) {
                pad(s, x, image, first, count, padded);
                memset(unpooled, 0, sizeof(vec) * padded_size(s));
                long at = image * s->rows * s->columns * s->channels + first;
                depthwise_image(k, stride, s, dy, at, count, padded, unpooled, weight, sum);
                unpad(s, unpooled, image, first, count, dx);
            }
            for (int tap = 0; tap < k * k; tap++) {
                const long at = (long)tap * s->channels + first;
                store(dw, at, count, 0, load(dw, at, count, 0) + sum[tap]);
            }
        }
}

/* From dy to dx, and to dw float32 [k][k][C]. scratch: 2 high wide vectors. */
void depthwise_backward(const Shape *s, const void *x, const float *w, const void *dy, void *dx, float *dw,
                        float *scratch) {
    vec *padded = (vec *)scratch;
    if (s->kernel == 3 && s->stride == 1) depthwise_backward_k(3, 1, s, x, w, dy, dx, dw, padded);
    else if (s->kernel == 3) depthwise_backward_k(3, s->stride, s, x, w, dy, dx, dw, padded);
    else if (s->stride == 1) depthwise_backward_k(5, 1, s, x, w, dy, dx, dw, padded);
    else depthwise_backward_k(5, s->stride, s, x, w, dy, dx, dw, padded);
}

INLINE void pool_forward_k(const int k, const Shape *s, const void *x, void *y, uint8_t *argmax, vec *padded) {
    const vec lowest = (vec){} - __builtin_inff();
    for (long place = 0; place < padded_size(s); place++) padded[place] = lowest;
    for (long image = 0; image < s->images; image++)
        for (int first = 0; first < s->channels; first += LANES) {
            const int count = s->channels - first < LANES ? s->channels - first : LANES;
            pad(s, x, image, first, count, padded);
            long at = image * s->rows * s->columns * s->channels + first;
            for (int row = 0; row < s->rows; row++)
                for (int column = 0; column < s->columns; column++, at += s->channels) {
                    const vec *from = padded + (long)row * s->stride * s->wide + column * s->stride;
                    vec best = lowest;
                    mask which = {};
#pragma GCC unroll 9
                    for (int tap = 0; tap < k * k; tap++) {
                        const vec other = from[tap / k * s->wide + tap % k];
                        const mask take = (other > best) | (other != other); /* a NaN wins, as in torch */
                        which = (take & tap) | (~take & which);
                        best = (vec)((take & (mask)other) | (~take & (mask)best));
                    }
                    const bytes narrow = __builtin_convertvector(which, bytes);
                    store(y, at, count, s->half, best);
                    copy(argmax + at, &narrow, count, 1);
                }
        }
}

INLINE void pool_backward_k(const int k, const Shape *s, const void *dy, const uint8_t *argmax, void *dx,
                            vec *unpooled) {
    for (long image = 0; image < s->images; image++)
        for (int first = 0; first < s->channels; first += LANES) {
            const int count = s->channels - first < LANES ? s->channels - first : LANES;
            memset(unpooled, 0, sizeof(vec) * padded_size(s));
            long at = image * s->rows * s->columns * s->channels + first;
            for (int row = 0; row < s->rows; row++)
                for (int column = 0; column < s->columns; column++, at += s->channels) {
                    vec *to = unpooled + (long)row * s->stride * s->wide + column * s->stride;
                    const mask grad_output = (mask)load(dy, at, count, s->half);
                    bytes narrow = {};
                    copy(&narrow, argmax + at, count, 1);
                    const mask which = __builtin_convertvector(narrow, mask);
#pragma GCC unroll 9
                    for (int tap = 0; tap < k * k; tap++)
                        to[tap / k * s->wide + tap % k] += (vec)((which == tap) & grad_output);
                }
            unpad(s, unpooled, image, first, count, dx);
        }
}

/* x [N][height][width][C] -> the maxima y [N][rows][columns][C], and which of the window's pixels each was.
 * scratch: high wide vectors. */
void pool_forward(const Shape *s, const void *x, void *y, uint8_t *argmax, float *scratch) {
    if (s->kernel == 2) pool_forward_k(2, s, x, y, argmax, (vec *)scratch);
    else pool_forward_k(3, s, x, y, argmax, (vec *)scratch);
}

/* From dy to dx. scratch: high wide vectors. */
void pool_backward(const Shape *s, const void *dy, const uint8_t *argmax, void *dx, float *scratch) {
    if (s->kernel == 2) pool_backward_k(2, s, dy, argmax, dx, (vec *)scratch);
    else pool_backward_k(3, s, dy, argmax, dx, (vec *)scratch);
}
