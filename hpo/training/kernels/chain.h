/* What the files of one library share: convolution.c and layers.c have the kernels, chain.c calls them for a whole
 * step. Python owns all memory (hpo/training/kernels/convolutions.py, fused_train_step.py); nothing is allocated
 * here. The structures are repeated there as ctypes. */
#pragma once
#include "vectors.h"

/* A stage of convolution, 2x2 max pooling and ReLU. The images of a batch lie in the lanes of a vector: an array
 * [C][H][W] of vectors holds LANES images, and a batch is `groups` such arrays.
 * height, width: of the input with its zero padding; out_pad: zero padding that the output array has around it. */
typedef struct {
    int32_t groups, in, out, height, width, kernel, out_pad;
} Shape;

enum { ADAM, SGD, MOMENTUM, NESTEROV };

/* One step of an optimizer. rate: lr, for Adam lr / (1 - beta1^t); decay: gradient += decay * weight; shrink: weight *=
 * shrink (AdamW); first, second, scale: 1 - beta1, 1 - beta2, 1 / sqrt(1 - beta2^t). */
typedef struct {
    int32_t kind;
    float rate, decay, shrink, first, second, scale, eps, momentum;
} Rule;

int32_t lanes(void);
void to_lanes(const float *images, int32_t count, int32_t planes, int32_t rows, int32_t columns, int32_t pad,
              float *out);
void from_lanes(const float *vectors, int32_t count, int32_t size, float *images);
void stage_forward(const Shape *s, const float *x, const float *w, const float *bias, float *y, int8_t *argmax);
void stage_backward(const Shape *s, const float *x, const float *w, const float *y, const int8_t *argmax,
                    const float *dy,
                    float *dx, float *scratch, float *weight_gradient, float *bias_gradient);

void layer_forward(int32_t images, int32_t in, int32_t out, const float *x, const float *w, const float *bias,
                   float *y);
void layer_backward(const Rule *r, int32_t images, int32_t in, int32_t out, const float *x, const float *grad_output,
                    float *w,
                    float *a, float *b, float *grad_input);
void bias_backward(const Rule *r, int32_t images, int32_t out, const float *grad_output, float *bias, float *a,
                   float *b);
void apply(const Rule *r, int64_t size, const float *gradient, float *w, float *a, float *b);
