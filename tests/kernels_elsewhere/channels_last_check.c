/* The kernels of channels_last.c without Python: floats from stdin, results to stdout (tests/kernels_elsewhere/check.py).
 *
 * x [2][9][9][20], taps [9][20], g [2][5][5][20]: the gradients of x and taps through max pooling (3, stride 1, padding 1)
 * and a depthwise convolution (3, stride 2, padding 1).
 */
#include "channels_last.c"
#include "numbers.h"

enum { IMAGES = 2, CHANNELS = 20, SIDE = 9, HALF = 5, HIGH = SIDE + 2, PIXELS = IMAGES * SIDE * SIDE * CHANNELS };

int main(void) {
    const Shape pooling = {IMAGES, CHANNELS, SIDE, SIDE, HIGH, HIGH, SIDE, SIDE, 3, 1, 1, 0};
    const Shape depthwise = {IMAGES, CHANNELS, SIDE, SIDE, HIGH, HIGH, HALF, HALF, 3, 2, 1, 0};
    const float *x = given(PIXELS), *taps = given(9 * CHANNELS), *g = given(IMAGES * HALF * HALF * CHANNELS);
    float *y = zeros(PIXELS), *dy = zeros(PIXELS), *dx = zeros(PIXELS), *dw = zeros(9 * CHANNELS);
    float *scratch = zeros(2 * HIGH * HIGH * LANES);
    uint8_t *argmax = (uint8_t *)zeros(PIXELS);
    pool_forward(&pooling, x, y, argmax, scratch);
    depthwise_backward(&depthwise, y, taps, g, dy, dw, scratch);
    pool_backward(&pooling, dy, argmax, dx, scratch);
    give(dx, PIXELS);
    give(dw, 9 * CHANNELS);
    return 0;
}
