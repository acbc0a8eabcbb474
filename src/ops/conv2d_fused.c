/* SPDX-License-Identifier: MIT
 *
 * conv2d_fused.c -- a convolution with all that may follow it before its result is stored: bias, batch norm with known
 * statistics, a residual, an activation. One pass over memory where the ops one by one take four or five; nothing is
 * kept for the gradient but x and y.
 */
#include <math.h>
#include <string.h>

#include "ops/conv2d.h"

enum { X, WEIGHT, BIAS, NORM, RESIDUAL = NORM + LA_NORMS };                      /* tensor slots */
enum { STRIDE = RESIDUAL + 1, EPS = STRIDE + 4, ACTIVATION, PRECISION, METHOD }; /* parameters */
enum { IDENTITY, RELU, RELU6 };

/* A call, checked and dense. */
typedef struct fused {
    la_conv shape;
    la_tensor *x, *weight, *bias, *norm[LA_NORMS], *residual;
    float low, high;
    int64_t rows; /* of y as a matrix of shape.o columns */
} fused;

static void drop(fused *f)
{
    la_tensor_release(&f->x);
    la_tensor_release(&f->weight);
    la_tensor_release(&f->bias);
    la_tensor_release(&f->residual);
    for (int i = 0; i < LA_NORMS; i++)
        la_tensor_release(&f->norm[i]);
}

static la_filter filter_of(const la_call *c, const fused *f)
{
    la_filter out = { .weight = f->weight, .bias = f->bias, .eps = c->arg[EPS].number };
    for (int i = 0; i < LA_NORMS; i++)
        out.norm[i] = f->norm[i];
    return out;
}

/* ---- arguments ---- */

static int check_norm(const la_call *c, const la_conv *s)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    for (int i = NORM; i < NORM + LA_NORMS; i++) {
        if (!c->in[i] != !c->in[NORM])
            return la_fail(LA_EARG,
                           "conv2d_fused: norm_weight, norm_bias, norm_mean and norm_variance come together, "
                           "%s is missing",
                           la__slot_name(c, c->in[i] ? NORM : i));
        if (!c->in[i])
            continue;
        LA_TRY(la__check_f32(c, i));
        if (c->in[i]->ndim != 1 || c->in[i]->dim[0] != s->o)
            return la_fail(LA_ESHAPE, "conv2d_fused: %s must be (%d), got %s", la__slot_name(c, i), s->o,
                           la__shape(c->in[i], text));
        if (i >= NORM + LA_NORM_MEAN && la_tensor_requires_grad(c->in[i]))
            return la_fail(LA_EARG, "conv2d_fused: %s must not ask for a gradient: it has none", la__slot_name(c, i));
    }
done:
    return err;
}

static int check_residual(const la_call *c, const la_conv *s)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    const la_tensor *r = c->in[RESIDUAL];
    if (!r)
        return 0;
    LA_TRY(la__check_f32(c, RESIDUAL));
    if (r->ndim != 4 || r->dim[0] != s->n || r->dim[1] != s->oh || r->dim[2] != s->ow || r->dim[3] != s->o)
        return la_fail(LA_ESHAPE, "conv2d_fused: residual must be (%d, %d, %d, %d) like the result, got %s", s->n,
                       s->oh, s->ow, s->o, la__shape(r, text));
done:
    return err;
}

static int dense_if(la_tensor **out, const la_tensor *t)
{
    return t ? la__dense(out, t) : 0;
}

/* Checks a call; of its inputs x and the residual are made dense only if asked. */
static int open_call(fused *f, const la_call *c, bool whole)
{
    static const float bound[][2] = { { -INFINITY, INFINITY }, { 0.0f, INFINITY }, { 0.0f, 6.0f } };
    int err = 0;

    memset(f, 0, sizeof *f);
    LA_TRY(la__conv_check(&f->shape, c, STRIDE));
    LA_TRY(check_norm(c, &f->shape));
    LA_TRY(check_residual(c, &f->shape));
    f->low = bound[c->arg[ACTIVATION].ints[0]][0];
    f->high = bound[c->arg[ACTIVATION].ints[0]][1];
    f->rows = (int64_t)f->shape.n * f->shape.oh * f->shape.ow;
    LA_TRY(la__dense(&f->weight, c->in[WEIGHT]));
    LA_TRY(dense_if(&f->bias, c->in[BIAS]));
    for (int i = 0; i < LA_NORMS; i++)
        LA_TRY(dense_if(&f->norm[i], c->in[NORM + i]));
    if (whole) {
        LA_TRY(la__dense(&f->x, c->in[X]));
        LA_TRY(dense_if(&f->residual, c->in[RESIDUAL]));
    }
done:
    return err;
}

/* ---- forward ---- */

static int forward(la_call *c)
{
    int err = 0;
    fused f = { 0 };

    LA_TRY(open_call(&f, c, true));
    const la_conv *s = &f.shape;
    const la_filter filter = filter_of(c, &f);
    LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(s->n, s->oh, s->ow, s->o)));
    LA_TRY(la__conv_apply(
        c, s, PRECISION, c->out[0], f.x, &filter,
        &(la_epilogue){ .residual = f.residual ? f.residual->storage->buffer : NULL, .low = f.low, .high = f.high }));
    if (c->arg[ACTIVATION].ints[0] != IDENTITY)
        LA_TRY(la__alias(&c->saved[0], c->out[0]));
done:
    drop(&f);
    return err;
}

/* ---- backward ---- */

/* What backward works with: the gradient before the activation, and its sums per channel. */
typedef struct back {
    la_tensor *g, *shift, *part;
} back;

/* The gradient before the activation. It takes the place of dy if nobody else holds that; b->part gets sums over
 * blocks of its rows on the way, if sums are wanted and the device is one where a work-item can go through rows. */
static int before_activation(back *b, la_call *c, const fused *f, la_tensor *dy, bool sums)
{
    int err = 0;
    const int64_t count = la_tensor_numel(dy), n = f->shape.o;
    const la_tensor *y = c->saved[0];
    int64_t step = 16384 / n < 8 ? 8 : 16384 / n; /* depends on the shape alone: the same order everywhere */

    if (!y) {
        b->g = la_tensor_retain(dy);
        return 0;
    }
    if (dy->refs == 1 && dy->storage->refs == 1)
        b->g = la_tensor_retain(dy);
    else
        LA_TRY(la__like(&b->g, dy));
    if (!sums || count == 0 || !la__device_is_cpu(c->dev))
        return la__launch(
            c->dev,
            &(la_launch){ .program = "conv2d_fused",
                          .entry = "conv2d_fused_bwd_bounds",
                          .global = { (size_t)count },
                          .bytes = 12.0 * (double)count },
            (la_karg[]){ LA_T(b->g), LA_T(dy), LA_T(y), LA_INT(count), LA_FLOAT(f->low), LA_FLOAT(f->high) }, 6);
    const int64_t blocks = LA_CEIL(f->rows, step);
    LA_TRY(la_tensor_new(&b->part, c->dev, LA_F32, LA_DIMS(blocks, n)));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "conv2d_fused",
                                    .entry = "conv2d_fused_bwd_bounds_sum",
                                    .global = { (size_t)blocks },
                                    .local = { 1 },
                                    .bytes = 12.0 * (double)count },
                      (la_karg[]){ LA_T(b->g), LA_T(b->part), LA_T(dy), LA_T(y), LA_INT(f->rows), LA_INT(n),
                                   LA_INT(step), LA_FLOAT(f->low), LA_FLOAT(f->high) },
                      9));
done:
    return err;
}

static int sum_shift(back *b, la_call *c, const fused *f)
{
    int err = 0;
    LA_TRY(la_tensor_new(&b->shift, c->dev, LA_F32, LA_DIMS(f->shape.o)));
    if (b->part)
        LA_TRY(la__column_sum(b->shift, b->part, b->part->dim[0], f->shape.o));
    else
        LA_TRY(la__column_sum(b->shift, b->g, f->rows, f->shape.o));
done:
    return err;
}

/* Turns dw, the gradient of the scaled weight, into that of the weight, and gives those of norm weight and bias. */
static int through_norm(la_call *c, const fused *f, const back *b, la_tensor *dw)
{
    int err = 0;
    la_norm norm = { 0 };
    const la_filter filter = filter_of(c, f);
    const la_conv *s = &f->shape;
    const int64_t k = (int64_t)s->kh * s->kw * (s->c / s->groups);
    const bool wants_weight = la__wants(c, NORM + LA_NORM_WEIGHT), wants_bias = f->bias && la__wants(c, BIAS);
    la_tensor **dweight = &c->grad[NORM + LA_NORM_WEIGHT], **dbias = &c->grad[BIAS];

    LA_TRY(la__conv_norm(&norm, c->dev, &filter));
    if (wants_weight)
        LA_TRY(la__like(dweight, c->in[NORM + LA_NORM_WEIGHT]));
    if (wants_bias)
        LA_TRY(la__like(dbias, c->in[BIAS]));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "conv2d_fused",
                                    .entry = "conv2d_fused_bwd_norm",
                                    .global = { (size_t)s->o },
                                    .local = { la__device_is_cpu(c->dev) ? 1 : 0 },
                                    .bytes = 12.0 * (double)(s->o * k) },
                      (la_karg[]){ LA_T(dw), LA_T(wants_weight ? *dweight : dw), LA_T(wants_bias ? *dbias : dw),
                                   LA_T(f->weight), LA_BUF(norm.buffer), LA_T(b->shift ? b->shift : f->weight),
                                   LA_T(f->bias ? f->bias : f->norm[0]), LA_T(f->norm[LA_NORM_MEAN]),
                                   LA_T(f->norm[LA_NORM_VARIANCE]), LA_INT(s->o), LA_INT(k), LA_INT(f->bias != NULL),
                                   LA_INT(wants_weight), LA_INT(wants_bias), LA_FLOAT(filter.eps) },
                      15));
done:
    la__conv_norm_give(&norm);
    return err;
}

/* Gradients of the weight and of what its scale is made of. */
static int backward_filter(la_call *c, fused *f, const back *b)
{
    int err = 0;
    la_tensor *dw = NULL;
    const la_conv_plan p = la__conv_plan_weight(c->dev, &f->shape, (la_method)c->arg[METHOD].ints[0],
                                                (la_precision)c->arg[PRECISION].ints[0]);

    LA_TRY(la__dense(&f->x, c->in[X]));
    LA_TRY(la__like(&dw, f->weight));
    LA_TRY(la__conv_backward_weight(c->dev, &f->shape, &p, dw, b->g, f->x));
    if (f->norm[0])
        LA_TRY(through_norm(c, f, b, dw));
    if (la__wants(c, WEIGHT))
        c->grad[WEIGHT] = la_tensor_retain(dw);
done:
    la_tensor_release(&dw);
    return err;
}

static int backward_x(la_call *c, const fused *f, const back *b)
{
    int err = 0;
    const la_filter filter = filter_of(c, f);
    LA_TRY(la__like(&c->grad[X], c->in[X]));
    LA_TRY(la__conv_apply_x(c, &f->shape, PRECISION, c->grad[X], b->g, &filter));
done:
    return err;
}

/* With g the gradient before the activation and G = that of the scaled weight:
 *   dx from g and the scaled weight, dresidual = g, dshift = the column sums of g,
 *   dweight = scale G, dscale = <weight, G>, dbias = scale dshift,
 *   dnorm_bias = dshift, dnorm_weight = (dscale + (bias - mean) dshift) / sqrt(variance + eps). */
static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    fused f = { 0 };
    back b = { 0 };
    enum { NORM_WEIGHT = NORM + LA_NORM_WEIGHT, NORM_BIAS = NORM + LA_NORM_BIAS };

    LA_TRY(open_call(&f, c, false));
    const bool bias = f.bias && la__wants(c, BIAS), norm = f.norm[0] != NULL;
    const bool scaled = norm && la__wants(c, NORM_WEIGHT), shifted = norm && la__wants(c, NORM_BIAS);
    LA_TRY(before_activation(&b, c, &f, g[0], bias || scaled || shifted));
    if (la__wants(c, X))
        LA_TRY(backward_x(c, &f, &b));
    if (bias || scaled || shifted)
        LA_TRY(sum_shift(&b, c, &f));
    if (la__wants(c, WEIGHT) || scaled || (bias && norm))
        LA_TRY(backward_filter(c, &f, &b));
    if (bias && !norm)
        c->grad[BIAS] = la_tensor_retain(b.shift);
    if (shifted)
        c->grad[NORM_BIAS] = la_tensor_retain(b.shift);
    if (f.shape.o && c->in[RESIDUAL] && la__wants(c, RESIDUAL))
        c->grad[RESIDUAL] = la_tensor_retain(b.g);
done:
    la_tensor_release(&b.g);
    la_tensor_release(&b.shift);
    la_tensor_release(&b.part);
    drop(&f);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "feature map (N, H, W, C), float32", NULL },
    { LA_P_TENSOR, "weight", NULL, "(O, KH, KW, C / groups), float32", NULL },
    { LA_P_TENSOR, "bias", "nil", "(O), float32", NULL },
    { LA_P_TENSOR, "norm_weight", "nil", "(O), batch norm's; without the four of them there is no norm", NULL },
    { LA_P_TENSOR, "norm_bias", "nil", "(O)", NULL },
    { LA_P_TENSOR, "norm_mean", "nil", "(O), the mean that it subtracts; no gradient", NULL },
    { LA_P_TENSOR, "norm_variance", "nil", "(O), the variance that it divides by; no gradient", NULL },
    { LA_P_TENSOR, "residual", "nil", "added before the activation; of the result's shape", NULL },
    { LA_P_INTS, "stride", "1", "pixels from one output to the next: 1 number, or 2 for rows and columns", NULL },
    { LA_P_INTS, "padding", "0", "zeros around x: 1 number, 2 (rows, columns) or 4 (top, bottom, left, right)", NULL },
    { LA_P_INTS, "dilation", "1", "pixels from one tap of the kernel to the next: 1 or 2 numbers", NULL },
    { LA_P_INT, "groups", "1", "channels are split into that many convolutions; C for a depthwise one", NULL },
    { LA_P_NUMBER, "eps", "1e-5", "added to the variance", NULL },
    { LA_P_CHOICE, "activation", "none", "what the sum goes through", "none|relu|relu6" },
    { LA_P_CHOICE, "precision", "default",
      "default: float32; strict: float32, no fast algorithm with larger errors; bfloat16: forward, where faster, "
      "factors rounded to 8 bits (Winograd's after its transform), sums float32; else as default",
      LA_PRECISIONS },
    { LA_P_CHOICE, "method", "auto", "which kernels; all but auto are there to compare with", LA_METHODS },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_conv2d_fused = {
    .name = "conv2d_fused",
    .brief = "Convolution and what follows it in one pass: activation(norm(conv(x, weight) + bias) + residual), where "
             "norm is batch norm with given statistics.",
    .example = "local y = la.conv2d_fused(x, weight, bias, nil, nil, nil, nil, residual, { activation = 'relu' })",
    .param = params,
    .forward = forward,
    .backward = backward,
    .shape_only = 1u << RESIDUAL,
};
