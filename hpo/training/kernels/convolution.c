/* Convolution, 2x2 max pooling and ReLU in one pass, forward and backward, for networks with few channels.
 *
 * The images of a batch lie in the lanes of a vector: an array [C][H][W] of vectors holds LANES images, so every
 * instruction works on whole vectors whatever the number of channels. A batch is `groups` such arrays. Lanes without an
 * image hold zeros and a zero gradient. hpo/training/kernels/convolutions.py owns all memory; nothing is allocated
 * here.
 */
#include "chain.h"

#if defined(__AVX512F__)
#define BLOCK 6 /* output channels in registers at once: 4 accumulators each, of 32 registers */
#else
#define BLOCK 2 /* of 16 registers */
#endif
#define TAPS 4 /* output channels at once for the gradient of the weights: `kernel` accumulators each */

typedef int8_t bytes __attribute__((vector_size(LANES)));

int32_t lanes(void) { return LANES; }

/* images [count][planes][rows][columns] -> vectors [groups][planes][rows + 2 pad][columns + 2 pad], padding
 * untouched. */
void to_lanes(const float *images, int32_t count, int32_t planes, int32_t rows, int32_t columns, int32_t pad,
              float *out) {
    const int size = planes * rows * columns, wide = columns + 2 * pad;
    const long group_size = (long)planes * (rows + 2 * pad) * wide;
    for (int first = 0; first < count; first += LANES, out += group_size * LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const float *image = images + (long)(first + lane) * size;
            for (int plane = 0; plane < planes; plane++)
                for (int row = 0; row < rows; row++) {
                    float *to = out + (((long)plane * (rows + 2 * pad) + row + pad) * wide + pad) * LANES + lane;
                    for (int column = 0; column < columns; column++)
                        to[column * LANES] = first + lane < count ? *image++ : 0.0f;
                }
        }
}

/* vectors [groups][size] -> images [count][size] */
void from_lanes(const float *vectors, int32_t count, int32_t size, float *images) {
    for (int n = 0; n < count; n++)
        for (int i = 0; i < size; i++)
            images[(long)n * size + i] = vectors[((long)(n / LANES) * size + i) * LANES + n % LANES];
}

INLINE vec larger(vec best, vec other, mask *which, int number) {
    mask take = (other > best) | (other != other); /* a NaN wins, as in torch */
    *which = (take & number) | (~take & *which);
    return pick(take, other, best);
}

/* The pooled outputs of channels [first, first + n) at one place; x points at the upper left input of channel 0. */
INLINE void forward_place(const int n, const int k, const Shape *s, const vec *x, const float *w, const float *bias,
                          vec *y, long y_step, bytes *argmax, long argmax_step) {
    vec sum[BLOCK][4];
    for (int o = 0; o < n; o++)
        for (int corner = 0; corner < 4; corner++) sum[o][corner] = (vec){} + bias[o];
    for (int i = 0; i < s->in; i++, x += (long)s->height * s->width)
        for (int ky = 0; ky < k; ky++) {
            const vec *upper = x + ky * s->width, *lower = upper + s->width;
            const float *row = w + (i * k + ky) * k;
#pragma GCC unroll 5
            for (int kx = 0; kx < k; kx++)
#pragma GCC unroll 6
                for (int o = 0; o < n; o++) {
                    const float weight = row[(long)o * s->in * k * k + kx];
                    sum[o][0] += weight * upper[kx];
                    sum[o][1] += weight * upper[kx + 1];
                    sum[o][2] += weight * lower[kx];
                    sum[o][3] += weight * lower[kx + 1];
                }
        }
    for (int o = 0; o < n; o++) {
        mask which = {};
        vec best = larger(sum[o][0], sum[o][1], &which, 1);
        best = larger(best, sum[o][2], &which, 2);
        best = larger(best, sum[o][3], &which, 3);
        y[o * y_step] = pick(best < 0, (vec){}, best);
        argmax[o * argmax_step] = __builtin_convertvector(which, bytes);
    }
}

INLINE void forward_k(const int k, const Shape *s, const vec *x, const float *w, const float *bias, vec *y,
                      bytes *argmax) {
    const int rows = (s->height - k + 1) / 2, columns = (s->width - k + 1) / 2, wide = columns + 2 * s->out_pad;
    const long y_plane = (long)(rows + 2 * s->out_pad) * wide, plane = (long)rows * columns;
    for (int g = 0; g < s->groups; g++, x += (long)s->in * s->height * s->width, y += s->out * y_plane,
         argmax += s->out * plane)
        for (int o = 0; o < s->out;) {
            const int n = s->out - o >= BLOCK ? BLOCK : s->out - o >= 4 && BLOCK > 4 ? 4 : s->out - o >= 2 ? 2 : 1;
            const float *weights = w + (long)o * s->in * k * k;
            for (int r = 0; r < rows; r++)
                for (int c = 0; c < columns; c++) {
                    const vec *from = x + 2 * r * s->width + 2 * c;
                    vec *to = y + o * y_plane + (r + s->out_pad) * wide + c + s->out_pad;
                    bytes *mark = argmax + o * plane + r * columns + c;
                    if (n == BLOCK) forward_place(BLOCK, k, s, from, weights, bias + o, to, y_plane, mark, plane);
                    else if (n == 4) forward_place(BLOCK > 4 ? 4 : 1, k, s, from, weights, bias + o, to, y_plane,
                                                   mark, plane);
                    else if (n == 2) forward_place(2, k, s, from, weights, bias + o, to, y_plane, mark, plane);
                    else forward_place(1, k, s, from, weights, bias + o, to, y_plane, mark, plane);
                }
            o += n;
        }
}

/* x [groups][in][height][width] -> y [groups][out][rows][columns] with padding, and which of four each maximum was. */
void stage_forward(const Shape *s, const float *x, const float *w, const float *bias, float *y, int8_t *argmax) {
    if (s->kernel == 5) forward_k(5, s, (const vec *)x, w, bias, (vec *)y, (bytes *)argmax);
    else forward_k(3, s, (const vec *)x, w, bias, (vec *)y, (bytes *)argmax);
}

/* The gradient before pooling and ReLU, [out][2 rows][2 columns + 2 (k - 1)], zero at both ends of each row. */
INLINE void unpool(const int k, const Shape *s, const vec *y, const bytes *argmax, const vec *dy, vec *d,
                     vec *bias_sum) {
    const int rows = (s->height - k + 1) / 2, columns = (s->width - k + 1) / 2, wide = columns + 2 * s->out_pad;
    const int d_wide = 2 * columns + 2 * (k - 1);
    for (int o = 0; o < s->out; o++)
        for (int r = 0; r < rows; r++) {
            const long at = ((long)o * (rows + 2 * s->out_pad) + r + s->out_pad) * wide + s->out_pad;
            vec *upper = d + ((long)o * 2 * rows + 2 * r) * d_wide + k - 1, *lower = upper + d_wide;
            for (int c = 0; c < columns; c++, argmax++) {
                const mask which = __builtin_convertvector(*argmax, mask);
                const vec zero = {}, grad_output = pick(y[at + c] > 0, dy[at + c], zero);
                bias_sum[o] += grad_output;
                upper[2 * c] = pick(which == 0, grad_output, zero);
                upper[2 * c + 1] = pick(which == 1, grad_output, zero);
                lower[2 * c] = pick(which == 2, grad_output, zero);
                lower[2 * c + 1] = pick(which == 3, grad_output, zero);
            }
        }
}

/* dw[o][i][ky][:] += the products along one output row, for n channels from `d` on. */
INLINE void weight_row(const int n, const int k, int columns, const vec *x, const vec *d, long d_plane, vec *dw,
                       long dw_step) {
    vec sum[TAPS][5];
    for (int o = 0; o < n; o++)
        for (int kx = 0; kx < k; kx++) sum[o][kx] = dw[o * dw_step + kx];
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int o = 0; o < n; o++) {
            const vec grad_output = d[o * d_plane + c];
#pragma GCC unroll 5
            for (int kx = 0; kx < k; kx++) sum[o][kx] += grad_output * x[c + kx];
        }
    for (int o = 0; o < n; o++)
        for (int kx = 0; kx < k; kx++) dw[o * dw_step + kx] = sum[o][kx];
}

INLINE void weights_k(const int k, const Shape *s, const vec *x, const vec *d, vec *dw) {
    const int rows = s->height - k + 1, columns = s->width - k + 1, d_wide = columns + 2 * (k - 1);
    const long d_plane = (long)rows * d_wide, step = (long)s->in * k * k;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < s->in; i++)
            for (int ky = 0; ky < k; ky++) {
                const vec *from = x + ((long)i * s->height + r + ky) * s->width;
                for (int o = 0; o < s->out;) {
                    const vec *grad_output = d + o * d_plane + (long)r * d_wide + k - 1;
                    vec *to = dw + o * step + (i * k + ky) * k;
                    if (LANES == 16 && s->out - o >= TAPS) weight_row(TAPS, k, columns, from, grad_output, d_plane,
                            to, step), o += TAPS;
                    else if (s->out - o >= 2) weight_row(2, k, columns, from, grad_output, d_plane, to, step), o += 2;
                    else weight_row(1, k, columns, from, grad_output, d_plane, to, step), o += 1;
                }
            }
}

/* dx of n input channels at four (or fewer) places of a row; d points at place 0 of channel 0, row 0 of the
 * gradient. */
INLINE void input_places(const int n, const int m, const int k, const Shape *s, const vec *d, const float *w, int row,
                         vec *dx) {
    const int rows = s->height - k + 1, d_wide = s->width + k - 1;
    vec sum[BLOCK][4] = {};
    const int first = row - rows + 1 > 0 ? row - rows + 1 : 0, last = row < k - 1 ? row : k - 1;
    for (int o = 0; o < s->out; o++)
        for (int ky = first; ky <= last; ky++) {
            const vec *from = d + ((long)o * rows + row - ky) * d_wide + k - 1;
            const float *weights = w + ((long)o * s->in * k + ky) * k;
#pragma GCC unroll 5
            for (int kx = 0; kx < k; kx++)
#pragma GCC unroll 6
                for (int i = 0; i < n; i++)
#pragma GCC unroll 4
                    for (int c = 0; c < m; c++) sum[i][c] += weights[i * k * k + kx] * from[c - kx];
        }
    for (int i = 0; i < n; i++)
        for (int c = 0; c < m; c++) dx[(long)i * s->height * s->width + c] = sum[i][c];
}

INLINE void inputs_n(const int n, const int k, const Shape *s, const vec *d, const float *w, vec *dx) {
    for (int row = 0; row < s->height; row++) {
        vec *to = dx + (long)row * s->width;
        int c = 0;
        for (; c + 4 <= s->width; c += 4) input_places(n, 4, k, s, d + c, w, row, to + c);
        for (; c < s->width; c++) input_places(n, 1, k, s, d + c, w, row, to + c);
    }
}

INLINE void inputs_k(const int k, const Shape *s, const vec *d, const float *w, vec *dx) {
    for (int i = 0; i < s->in;) {
        const int n = s->in - i >= BLOCK ? BLOCK : 1;
        vec *to = dx + (long)i * s->height * s->width;
        if (n == BLOCK) inputs_n(BLOCK, k, s, d, w + (long)i * k * k, to);
        else inputs_n(1, k, s, d, w + (long)i * k * k, to);
        i += n;
    }
}

INLINE void backward_k(const int k, const Shape *s, const vec *x, const float *w, const vec *y, const bytes *argmax,
                       const vec *dy, vec *dx, vec *scratch, float *weight_gradient, float *bias_gradient) {
    const int rows = (s->height - k + 1) / 2, columns = (s->width - k + 1) / 2;
    const long weights = (long)s->out * s->in * k * k, x_size = (long)s->in * s->height * s->width;
    const long y_size = (long)s->out * (rows + 2 * s->out_pad) * (columns + 2 * s->out_pad);
    vec *bias_sum = scratch, *dw = bias_sum + s->out, *d = dw + weights;
    memset(bias_sum, 0, sizeof(vec) * (s->out + weights));
    for (int g = 0; g < s->groups; g++) {
        unpool(k, s, y + g * y_size, argmax + (long)g * s->out * rows * columns, dy + g * y_size, d, bias_sum);
        weights_k(k, s, x + g * x_size, d, dw);
        if (dx) inputs_k(k, s, d, w, dx + g * x_size);
    }
    for (long i = 0; i < weights; i++) weight_gradient[i] = total(dw[i]);
    for (int o = 0; o < s->out; o++) bias_gradient[o] = total(bias_sum[o]);
}

/* From dy to the gradients of weights, bias and, unless dx is null, the input.
 * scratch: zeros at first, of out + out in k k + out (height - k + 1) (width + k - 1) vectors. */
void stage_backward(const Shape *s, const float *x, const float *w, const float *y, const int8_t *argmax,
                    const float *dy,
                    float *dx, float *scratch, float *weight_gradient, float *bias_gradient) {
    if (s->kernel == 5)
        backward_k(5, s, (const vec *)x, w, (const vec *)y, (const bytes *)argmax, (const vec *)dy, (vec *)dx,
                   (vec *)scratch, weight_gradient, bias_gradient);
    else
        backward_k(3, s, (const vec *)x, w, (const vec *)y, (const bytes *)argmax, (const vec *)dy, (vec *)dx,
                   (vec *)scratch, weight_gradient, bias_gradient);
}
