/* A whole step of a chain in one call: convolution stages, linear layers, cross entropy, backward and every update.
 *
 * At a few images a step of a small network is a hundred microseconds of kernels, and was three hundred of Python between
 * them.
 */
#include "chain.h"
#include <math.h>

/* A parameter group of an optimizer. */
typedef struct {
    int32_t kind, decoupled;
    double lr, beta1, beta2, eps, decay, momentum;
} Group;

/* first, second: exp_avg and exp_avg_sq, or momentum_buffer; count: steps so far, of Adam. What the kind has not may be
 * anything but for `first` and `second`, which must point somewhere. */
typedef struct {
    const Group *group;
    int64_t size;
    float *value, *first, *second, *count;
} Parameter;

typedef struct {
    Shape shape;
    Parameter weight, bias;
    float *x, *y, *dx, *dy; /* dx: null for the first */
    int8_t *chosen;
    float *scratch, *weight_gradient, *bias_gradient;
} Stage;

/* x [N][in] -> y [N][out]; delta: the gradient of y; mask: of dropout, to be multiplied with relu(y), or null. */
typedef struct {
    int32_t in, out, relu;
    Parameter weight, bias;
    float *x, *y, *delta;
    const float *mask;
} Layer;

/* below: the gradient of the first layer's x, null without stages. */
typedef struct {
    int32_t stages, layers, padding;
    float smoothing; /* of labels: this share of each image's label goes to all classes alike */
    Stage *stage;
    Layer *layer;
    float *below;
} Network;

static Rule next_step(const Parameter *p) {
    const Group *g = p->group;
    Rule rule = {.kind = g->kind, .rate = g->lr, .decay = g->decoupled ? 0.0 : g->decay, .shrink = 1.0,
                 .eps = g->eps, .momentum = g->momentum};
    if (g->kind == ADAM) {
        const double steps = *p->count += 1.0f;
        rule.rate = g->lr / (1.0 - pow(g->beta1, steps));
        rule.first = 1.0 - g->beta1;
        rule.second = 1.0 - g->beta2;
        rule.scale = 1.0 / sqrt(1.0 - pow(g->beta2, steps));
        if (g->decoupled) rule.shrink = 1.0 - g->lr * g->decay;
    }
    return rule;
}

static void forward_stages(const Network *n, const float *images, int32_t count, float *features) {
    const Stage *first = n->stage, *last = n->stage + n->stages - 1;
    const int pad = n->padding;
    to_lanes(images, count, first->shape.in, first->shape.height - 2 * pad, first->shape.width - 2 * pad, pad, first->x);
    for (const Stage *s = first; s <= last; s++) {
        Shape shape = s->shape;
        shape.groups = (count + LANES - 1) / LANES;
        stage_forward(&shape, s->x, s->weight.value, s->bias.value, s->y, s->chosen);
    }
    from_lanes(last->y, count, n->layer->in, features);
}

static void backward_stages(const Network *n, int32_t count) {
    const Stage *last = n->stage + n->stages - 1;
    to_lanes(n->below, count, n->layer->in, 1, 1, 0, last->dy);
    for (const Stage *s = last; s >= n->stage; s--) {
        Shape shape = s->shape;
        shape.groups = (count + LANES - 1) / LANES;
        stage_backward(&shape, s->x, s->weight.value, s->y, s->chosen, s->dy, s->dx, s->scratch, s->weight_gradient,
                       s->bias_gradient);
        const Rule rule = next_step(&s->weight), bias_rule = next_step(&s->bias);
        apply(&rule, s->weight.size, s->weight_gradient, s->weight.value, s->weight.first, s->weight.second);
        apply(&bias_rule, s->bias.size, s->bias_gradient, s->bias.value, s->bias.first, s->bias.second);
    }
}

/* y = max(y, 0) * mask; not a number stays so, as in torch. */
static void activate(const Layer *l, int32_t count) {
    const long size = (long)count * l->out;
    for (long i = 0; l->relu && i < size; i++) l->y[i] = l->y[i] < 0.0f ? 0.0f : l->y[i];
    for (long i = 0; l->mask && i < size; i++) l->y[i] *= l->mask[i];
}

/* The gradient of what `activate` left in y becomes that of what it found. */
static void through(const Layer *l, int32_t count) {
    const long size = (long)count * l->out;
    for (long i = 0; l->mask && i < size; i++) l->delta[i] *= l->mask[i];
    for (long i = 0; l->relu && i < size; i++) l->delta[i] = l->y[i] <= 0.0f ? 0.0f : l->delta[i];
}

/* logits [classes] -> their gradient in `delta`, over `count` images; the loss. */
static double cross_entropy(const float *logits, int32_t classes, int64_t label, double smoothing, int32_t count,
                            float *delta, int64_t *hits) {
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (logits[c] > logits[best] || (logits[c] != logits[c] && logits[best] == logits[best])) best = c;
    double sum = 0.0, wanted = (1.0 - smoothing) * (logits[label] - logits[best]);
    for (int c = 0; c < classes; c++) sum += delta[c] = expf(logits[c] - logits[best]);
    for (int c = 0; smoothing > 0.0 && c < classes; c++) wanted += smoothing / classes * (logits[c] - logits[best]);
    const float share = (float)(1.0 / (sum * count)), even = (float)(smoothing / classes / count);
    for (int c = 0; c < classes; c++) delta[c] = delta[c] * share - even;
    delta[label] -= (float)((1.0 - smoothing) / count);
    *hits += best == label;
    return log(sum) - wanted;
}

/* One step on float images and labels: their mean loss, and how many were classified rightly. Gradients of weights are
 * left nowhere. Nothing is done, and 1 returned, with a label that is no class. */
int32_t learn(const Network *n, const float *images, const int64_t *labels, int32_t count, float *loss, int64_t *hits) {
    Layer *first = n->layer, *last = n->layer + n->layers - 1;
    for (long i = 0; i < count; i++)
        if (labels[i] < 0 || labels[i] >= last->out) return 1;
    if (n->stages) forward_stages(n, images, count, first->x);
    else first->x = (float *)images;
    for (Layer *l = first; l <= last; l++) {
        layer_forward(count, l->in, l->out, l->x, l->weight.value, l->bias.value, l->y);
        activate(l, count);
    }
    double sum = 0.0;
    *hits = 0;
    for (long i = 0; i < count; i++)
        sum += cross_entropy(last->y + i * last->out, last->out, labels[i], n->smoothing, count,
                             last->delta + i * last->out, hits);
    *loss = (float)(sum / count);
    for (Layer *l = last; l >= first; l--) {
        float *below = l > first ? (l - 1)->delta : n->below;
        const Rule rule = next_step(&l->weight), bias_rule = next_step(&l->bias);
        bias_backward(&bias_rule, count, l->out, l->delta, l->bias.value, l->bias.first, l->bias.second);
        layer_backward(&rule, count, l->in, l->out, l->x, l->delta, l->weight.value, l->weight.first, l->weight.second, below);
        if (l > first) through(l - 1, count);
    }
    if (n->stages) backward_stages(n, count);
    return 0;
}
