/* The kernels of chain.c without Python: floats from stdin, results to stdout (tests/kernels_elsewhere/check.py).
 *
 *     learn adam|sgd COUNT    x [COUNT][37], then two layers' weights and biases -> the loss, and these after a step
 *     stage                   x [5][2][6][6], w [7][2][3][3], bias [7], g [5][63] -> features [5][63], gradients of w, bias
 */
#include "chain.c"
#include "numbers.h"

enum { INPUTS = 37, HIDDEN = 21, CLASSES = 9 };

static Parameter parameter(const Group *group, long size) {
    return (Parameter){group, size, given(size), zeros(size), zeros(size), zeros(1)};
}

static int learn_once(int kind, int count) {
    const Group group = {.kind = kind, .lr = 0.5, .beta1 = 0.9, .beta2 = 0.999, .eps = 0.1,
                         .decay = kind == ADAM ? 0.1 : 0.0};
    const int sizes[] = {INPUTS, HIDDEN, CLASSES};
    float *images = given((long)count * INPUTS), loss;
    Layer layers[2] = {0};
    for (int i = 0; i < 2; i++) {
        Layer *l = layers + i;
        l->in = sizes[i], l->out = sizes[i + 1], l->relu = i == 0;
        l->weight = parameter(&group, l->in * l->out);
        l->bias = parameter(&group, l->out);
        l->y = zeros((long)count * l->out), l->grad_output = zeros((long)count * l->out);
    }
    layers[1].x = layers[0].y;
    int64_t labels[64], hits;
    for (int i = 0; i < count; i++) labels[i] = i % CLASSES;
    const Network network = {.layers = 2, .smoothing = 0.1f, .layer = layers};
    if (learn(&network, images, labels, count, &loss, &hits)) return 3;
    give(&loss, 1);
    for (int i = 0; i < 2; i++) {
        give(layers[i].weight.value, layers[i].weight.size);
        give(layers[i].bias.value, layers[i].bias.size);
    }
    return 0;
}

static int stage_once(void) {
    enum { COUNT = 5, IN = 2, OUT = 7, SIDE = 6, KERNEL = 3, PAD = 1, HIGH = SIDE + 2 * PAD, HALF = SIDE / 2 };
    const int groups = (COUNT + LANES - 1) / LANES, spread = 2 * HALF * (2 * HALF + 2 * (KERNEL - 1));
    const Shape shape = {groups, IN, OUT, HIGH, HIGH, KERNEL, 0};
    const float *images = given(COUNT * IN * SIDE * SIDE), *w = given(OUT * IN * KERNEL * KERNEL), *bias = given(OUT);
    const float *g = given(COUNT * OUT * HALF * HALF);
    float *x = zeros((long)groups * IN * HIGH * HIGH * LANES), *y = zeros((long)groups * OUT * HALF * HALF * LANES);
    float *dy = zeros((long)groups * OUT * HALF * HALF * LANES), *features = zeros(COUNT * OUT * HALF * HALF);
    float *scratch = zeros((long)(OUT + OUT * IN * KERNEL * KERNEL + OUT * spread) * LANES);
    float *dw = zeros(OUT * IN * KERNEL * KERNEL), *db = zeros(OUT);
    int8_t *argmax = (int8_t *)zeros((long)groups * OUT * HALF * HALF * LANES);
    to_lanes(images, COUNT, IN, SIDE, SIDE, PAD, x);
    stage_forward(&shape, x, w, bias, y, argmax);
    from_lanes(y, COUNT, OUT * HALF * HALF, features);
    to_lanes(g, COUNT, OUT * HALF * HALF, 1, 1, 0, dy);
    stage_backward(&shape, x, w, y, argmax, dy, 0, scratch, dw, db);
    give(features, COUNT * OUT * HALF * HALF);
    give(dw, OUT * IN * KERNEL * KERNEL);
    give(db, OUT);
    return 0;
}

int main(int count, char **words) {
    if (count == 4) return learn_once(strcmp(words[2], "adam") ? SGD : ADAM, atoi(words[3]));
    return stage_once();
}
