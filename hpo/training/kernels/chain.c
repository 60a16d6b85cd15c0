/* A whole step of a chain in one call: convolution stages, linear layers, cross entropy, backward and every update.
 *
 * For a few images a step of a small network takes a hundred microseconds in kernels; called one by one, Python would
 * spend three hundred more between them. */
#include "chain.h"
#include <math.h>

/* A parameter group of an optimizer. */
typedef struct {
    int32_t kind, decoupled;
    double lr, beta1, beta2, eps, decay, momentum;
} Group;

/* exp_avg: or momentum_buffer; count: steps so far, of Adam. What the kind does not use may be
 * anything but for `exp_avg` and `exp_avg_sq`, which must point somewhere. */
typedef struct {
    const Group *group;
    int64_t size;
    float *value, *exp_avg, *exp_avg_sq, *count;
} Parameter;

typedef struct {
    Shape shape;
    Parameter weight, bias;
    float *x, *y, *dx, *dy; /* dx: null for the first */
    int8_t *argmax;
    float *scratch, *weight_gradient, *bias_gradient;
} Stage;

/* x [N][in] -> y [N][out]; grad_output: the gradient of y; mask: of dropout, to be multiplied with relu(y), or null. */
typedef struct {
    int32_t in, out, relu;
    Parameter weight, bias;
    float *x, *y, *grad_output;
    const float *mask;
} Layer;

/* grad_input: the gradient of the first layer's x, null without stages. */
typedef struct {
    int32_t stages, layers, padding;
    float smoothing; /* of labels: this share of each image's label is spread over all classes */
    Stage *stage;
    Layer *layer;
    float *grad_input;
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
    to_lanes(images, count, first->shape.in, first->shape.height - 2 * pad, first->shape.width - 2 * pad, pad,
             first->x);
    for (const Stage *s = first; s <= last; s++) {
        Shape shape = s->shape;
        shape.groups = (count + LANES - 1) / LANES;
        stage_forward(&shape, s->x, s->weight.value, s->bias.value, s->y, s->argmax);
    }
    from_lanes(last->y, count, n->layer->in, features);
}

static void backward_stages(const Network *n, int32_t count) {
    const Stage *last = n->stage + n->stages - 1;
    to_lanes(n->grad_input, count, n->layer->in, 1, 1, 0, last->dy);
    for (const Stage *s = last; s >= n->stage; s--) {
        Shape shape = s->shape;
        shape.groups = (count + LANES - 1) / LANES;
        stage_backward(&shape, s->x, s->weight.value, s->y, s->argmax, s->dy, s->dx, s->scratch, s->weight_gradient,
                       s->bias_gradient);
        const Rule rule = next_step(&s->weight), bias_rule = next_step(&s->bias);
        apply(&rule, s->weight.size, s->weight_gradient, s->weight.value, s->weight.exp_avg, s->weight.exp_avg_sq);
        apply(&bias_rule, s->bias.size, s->bias_gradient, s->bias.value, s->bias.exp_avg, s->bias.exp_avg_sq);
    }
}

/* y = max(y, 0) * mask; NaN stays NaN, as in torch. */
static void activate(const Layer *l, int32_t count) {
    const long size = (long)count * l->out;
    for (long i = 0; l->relu && i < size; i++) l->y[i] = l->y[i] < 0.0f ? 0.0f : l->y[i];
    for (long i = 0; l->mask && i < size; i++) l->y[i] *= l->mask[i];
}

/* Turns the gradient of the output of `activate` into that of its input. */
static void activation_backward(const Layer *l, int32_t count) {
    const long size = (long)count * l->out;
    for (long i = 0; l->mask && i < size; i++) l->grad_output[i] *= l->mask[i];
    for (long i = 0; l->relu && i < size; i++) l->grad_output[i] = l->y[i] <= 0.0f ? 0.0f : l->grad_output[i];
}

/* logits [classes] -> their gradient in `grad_output`, over `count` images; the loss. */
static double cross_entropy(const float *logits, int32_t classes, int64_t label, double smoothing, int32_t count,
                            float *grad_output, int64_t *hits) {
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (logits[c] > logits[best] || (logits[c] != logits[c] && logits[best] == logits[best])) best = c;
    double sum = 0.0, wanted = (1.0 - smoothing) * (logits[label] - logits[best]);
    for (int c = 0; c < classes; c++) sum += grad_output[c] = expf(logits[c] - logits[best]);
    for (int c = 0; smoothing > 0.0 && c < classes; c++) wanted += smoothing / classes * (logits[c] - logits[best]);
    const float share = (float)(1.0 / (sum * count)), even = (float)(smoothing / classes / count);
    for (int c = 0; c < classes; c++) grad_output[c] = grad_output[c] * share - even;
    grad_output[label] -= (float)((1.0 - smoothing) / count);
    *hits += best == label;
    return log(sum) - wanted;
}

/* One step on float images and labels: their mean loss, and how many were classified correctly. Gradients of weights
 * are not kept. Does nothing and returns 1 if a label is not a class. */
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
                             last->grad_output + i * last->out, hits);
    *loss = (float)(sum / count);
    for (Layer *l = last; l >= first; l--) {
        float *grad_input = l > first ? (l - 1)->grad_output : n->grad_input;
        const Rule rule = next_step(&l->weight), bias_rule = next_step(&l->bias);
        bias_backward(&bias_rule, count, l->out, l->grad_output, l->bias.value, l->bias.exp_avg, l->bias.exp_avg_sq);
        layer_backward(&rule, count, l->in, l->out, l->x, l->grad_output, l->weight.value, l->weight.exp_avg,
                       l->weight.exp_avg_sq, grad_input);
        if (l > first) activation_backward(l - 1, count);
    }
    if (n->stages) backward_stages(n, count);
    return 0;
}
