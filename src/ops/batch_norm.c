/* SPDX-License-Identifier: MIT
 *
 * batch_norm.c -- normalisation of channels by the statistics of the batch, or by fixed ones (Ioffe and Szegedy, 2015).
 */
#include <math.h>

#include "ops/op.h"

enum { X, WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR, TRAINING, MOMENTUM, EPS };
enum { BLOCK = 8, SHORT_RUN = 8 };

/* What was normalised with, kept for the gradient. */
enum { MEAN, RSTD };

/* x as (rows, C). A sum over the rows is one of runs of `run` of them: about the root of their number, so that neither
 * step adds up many numbers. */
typedef struct sizes {
    int64_t rows, C, run, runs;
} sizes;

static sizes sizes_of(const la_tensor *x)
{
    sizes s = { .C = x->dim[x->ndim - 1] };
    s.rows = 1;
    for (int d = 0; d < x->ndim - 1; d++)
        s.rows *= x->dim[d];
    s.run = (int64_t)ceil(sqrt((double)s.rows));
    s.run = s.run < 16 ? 16 : s.run;
    s.runs = (s.rows + s.run - 1) / s.run;
    return s;
}

static size_t items(const sizes *s, int64_t run)
{
    return (size_t)((s->rows + run - 1) / run) * (size_t)((s->C + BLOCK - 1) / BLOCK);
}

static int check(const la_call *c, const sizes *s)
{
    int err = 0;
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    const bool training = c->arg[TRAINING].ints[0];

    for (int i = WEIGHT; i <= RUNNING_VAR; i++) {
        if (!c->in[i])
            continue;
        LA_TRY(la__check_f32(c, i));
        if (c->in[i]->ndim != 1 || c->in[i]->dim[0] != s->C)
            return la_fail(LA_ESHAPE, "batch_norm: %s must be (%lld), one for each channel of x %s, got %s",
                           la__slot_name(c, i), (long long)s->C, la__shape(c->in[X], a), la__shape(c->in[i], b));
        if (i >= RUNNING_MEAN && la_tensor_requires_grad(c->in[i]))
            return la_fail(LA_EARG, "batch_norm: %s must not ask for a gradient: it has none", la__slot_name(c, i));
    }
    if (!c->in[WEIGHT] != !c->in[BIAS])
        return la_fail(LA_EARG, "batch_norm: weight and bias come together, %s is missing",
                       c->in[WEIGHT] ? "bias" : "weight");
    if (!c->in[RUNNING_MEAN] != !c->in[RUNNING_VAR] || (!training && !c->in[RUNNING_MEAN]))
        return la_fail(LA_EARG, "batch_norm: %s is missing", c->in[RUNNING_MEAN] ? "running_var" : "running_mean");
    if (training && s->rows < 2)
        return la_fail(LA_ESHAPE, "batch_norm: training needs at least 2 values for each channel, got x %s",
                       la__shape(c->in[X], a));
done:
    return err;
}

/* out (count, C) = factor * the joined sums (count, runs, C) */
static int join(la_tensor *out, la_tensor *sums, const sizes *s, int count, double factor)
{
    return la__launch(
        out->storage->dev,
        &(la_launch){ .program = "batch_norm", .entry = "batch_norm_join", .global = { (size_t)(count * s->C) } },
        (la_karg[]){ LA_T(out), LA_T(sums), LA_INT(count * s->C), LA_INT(s->C), LA_INT(s->runs), LA_FLOAT(factor) }, 6);
}

/* mean (C) and var (C), biased, of the rows of x */
static int statistics(la_tensor *mean, la_tensor *var, la_tensor *x, const sizes *s)
{
    int err = 0;
    la_tensor *sums = NULL;
    la_device *dev = x->storage->dev;
    const double count = (double)s->rows, bytes = 4.0 * count * (double)s->C;

    LA_TRY(la_tensor_new(&sums, dev, LA_F32, LA_DIMS(s->runs, s->C)));
    LA_TRY(la__launch(
        dev,
        &(la_launch){
            .program = "batch_norm", .entry = "batch_norm_sum", .global = { items(s, s->run) }, .bytes = bytes },
        (la_karg[]){ LA_T(sums), LA_T(x), LA_INT(s->rows), LA_INT(s->C), LA_INT(s->run) }, 5));
    LA_TRY(join(mean, sums, s, 1, 1 / count));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "batch_norm",
                                    .entry = "batch_norm_sum_squares",
                                    .global = { items(s, s->run) },
                                    .bytes = bytes },
                      (la_karg[]){ LA_T(sums), LA_T(x), LA_T(mean), LA_INT(s->rows), LA_INT(s->C), LA_INT(s->run) },
                      6));
    LA_TRY(join(var, sums, s, 1, 1 / count));
done:
    la_tensor_release(&sums);
    return err;
}

/* running += momentum (factor batch - running); running may be any view */
static int update(la_tensor *running, la_tensor *batch, double momentum, double factor)
{
    int err = 0;
    const int64_t C = batch->dim[0];
    la_tensor *dense = NULL;

    LA_TRY(la__dense(&dense, running));
    LA_TRY(la__launch(batch->storage->dev,
                      &(la_launch){ .program = "batch_norm", .entry = "batch_norm_running", .global = { (size_t)C } },
                      (la_karg[]){ LA_T(dense), LA_T(batch), LA_INT(C), LA_FLOAT(momentum), LA_FLOAT(factor) }, 5));
    if (dense == running)
        running->storage->version++;
    else
        LA_TRY(la__copy(running, dense));
done:
    la_tensor_release(&dense);
    return err;
}

/* Fills mean and var from the batch, and mixes them into the running statistics, which the graph need not remember. */
static int train(la_call *c, la_tensor *x, la_tensor *mean, la_tensor *var, const sizes *s)
{
    int err = 0;
    LA_TRY(statistics(mean, var, x, s));
    if (c->in[RUNNING_MEAN]) {
        const double momentum = c->arg[MOMENTUM].number, rows = (double)s->rows;
        LA_TRY(update(c->in[RUNNING_MEAN], mean, momentum, 1));
        LA_TRY(update(c->in[RUNNING_VAR], var, momentum, rows / (rows - 1)));
        la_tensor_release(&c->in[RUNNING_MEAN]);
        la_tensor_release(&c->in[RUNNING_VAR]);
    }
done:
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    la_tensor *x = NULL, *var = NULL, *weight = NULL, *bias = NULL;

    LA_TRY(la__check_f32(c, X));
    if (c->in[X]->ndim < 2) {
        char text[LA_SHAPE_TEXT];
        return la_fail(LA_ESHAPE, "batch_norm: x must have at least 2 dimensions, channels last, got %s",
                       la__shape(c->in[X], text));
    }
    const sizes s = sizes_of(c->in[X]);
    LA_TRY(check(c, &s));
    LA_TRY(la__dense(&x, c->in[X]));
    LA_TRY(la__dense(&weight, c->in[WEIGHT] ? c->in[WEIGHT] : x)); /* x where nothing is read: there must be a buffer */
    LA_TRY(la__dense(&bias, c->in[BIAS] ? c->in[BIAS] : x));
    LA_TRY(la__out(c, 0, LA_F32, x->ndim, x->dim));
    LA_TRY(la_tensor_new(&c->saved[RSTD], c->dev, LA_F32, 1, &s.C));
    if (c->arg[TRAINING].ints[0]) {
        LA_TRY(la_tensor_new(&c->saved[MEAN], c->dev, LA_F32, 1, &s.C));
        LA_TRY(la_tensor_new(&var, c->dev, LA_F32, 1, &s.C));
        LA_TRY(train(c, x, c->saved[MEAN], var, &s));
    } else {
        LA_TRY(la__dense(&c->saved[MEAN], c->in[RUNNING_MEAN]));
        LA_TRY(la__dense(&var, c->in[RUNNING_VAR]));
    }
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "batch_norm", .entry = "batch_norm_rstd", .global = { (size_t)s.C } },
                      (la_karg[]){ LA_T(c->saved[RSTD]), LA_T(var), LA_INT(s.C), LA_FLOAT(c->arg[EPS].number) }, 4));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "batch_norm",
                                    .entry = "batch_norm_fwd",
                                    .global = { items(&s, SHORT_RUN) },
                                    .bytes = 8.0 * (double)la_tensor_numel(x) },
                      (la_karg[]){ LA_T(c->out[0]), LA_T(x), LA_T(c->saved[MEAN]), LA_T(c->saved[RSTD]), LA_T(weight),
                                   LA_T(bias), LA_INT(s.rows), LA_INT(s.C), LA_INT(SHORT_RUN),
                                   LA_INT(c->in[WEIGHT] != NULL) },
                      10));
done:
    la_tensor_release(&x);
    la_tensor_release(&var);
    la_tensor_release(&weight);
    la_tensor_release(&bias);
    return err;
}

/* sums (2, C): of g, and of g times the normalised x: the gradients of bias and weight. */
static int gradient_sums(la_tensor **sums, const la_call *c, la_tensor *g, la_tensor *x, const sizes *s)
{
    int err = 0;
    la_tensor *partial = NULL;

    LA_TRY(la_tensor_new(sums, c->dev, LA_F32, LA_DIMS(2, s->C)));
    LA_TRY(la_tensor_new(&partial, c->dev, LA_F32, LA_DIMS(2, s->runs, s->C)));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "batch_norm",
                                    .entry = "batch_norm_sum_products",
                                    .global = { items(s, s->run) },
                                    .bytes = 8.0 * (double)la_tensor_numel(x) },
                      (la_karg[]){ LA_T(partial), LA_T(g), LA_T(x), LA_T(c->saved[MEAN]), LA_T(c->saved[RSTD]),
                                   LA_INT(s->rows), LA_INT(s->C), LA_INT(s->run) },
                      8));
    LA_TRY(join(*sums, partial, s, 2, 1));
done:
    la_tensor_release(&partial);
    return err;
}

static int row_of(la_tensor **out, const la_tensor *sums, int64_t row)
{
    int err = 0;
    la_tensor *view = NULL;
    LA_TRY(la__view_select(&view, sums, 0, row, "batch_norm"));
    LA_TRY(la__clone(out, view));
done:
    la_tensor_release(&view);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *x = NULL, *weight = NULL, *sums = NULL;
    const sizes s = sizes_of(c->in[X]);
    const bool training = c->arg[TRAINING].ints[0];
    const double share = training ? 1 / (double)s.rows : 0;

    LA_TRY(la__dense(&x, c->in[X]));
    LA_TRY(la__dense(&weight, c->in[WEIGHT] ? c->in[WEIGHT] : x));
    if (training || la__wants(c, WEIGHT) || la__wants(c, BIAS))
        LA_TRY(gradient_sums(&sums, c, g[0], x, &s));
    if (la__wants(c, WEIGHT))
        LA_TRY(row_of(&c->grad[WEIGHT], sums, 1));
    if (la__wants(c, BIAS))
        LA_TRY(row_of(&c->grad[BIAS], sums, 0));
    if (la__wants(c, X)) {
        LA_TRY(la__like(&c->grad[X], x));
        LA_TRY(la__launch(c->dev,
                          &(la_launch){ .program = "batch_norm",
                                        .entry = "batch_norm_bwd_x",
                                        .global = { items(&s, SHORT_RUN) },
                                        .bytes = 12.0 * (double)la_tensor_numel(x) },
                          (la_karg[]){ LA_T(c->grad[X]), LA_T(g[0]), LA_T(x), LA_T(c->saved[MEAN]),
                                       LA_T(c->saved[RSTD]), LA_T(weight), LA_T(sums ? sums : x), LA_INT(s.rows),
                                       LA_INT(s.C), LA_INT(SHORT_RUN), LA_INT(c->in[WEIGHT] != NULL), LA_FLOAT(share) },
                          12));
    }
done:
    la_tensor_release(&x);
    la_tensor_release(&weight);
    la_tensor_release(&sums);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "(..., C), float32", NULL },
    { LA_P_TENSOR, "weight", "nil", "(C), times the normalised x; 1 if left out", NULL },
    { LA_P_TENSOR, "bias", "nil", "(C), added to it; 0 if left out", NULL },
    { LA_P_TENSOR, "running_mean", "nil", "(C); used as the mean, or, in training, updated", NULL },
    { LA_P_TENSOR, "running_var", "nil", "(C); used as the variance, or, in training, updated (with the unbiased one)",
      NULL },
    { LA_P_BOOL, "training", "false", "normalise by the statistics of x and update the running ones", NULL },
    { LA_P_NUMBER, "momentum", "0.1", "share of the new statistics in the running ones", NULL },
    { LA_P_NUMBER, "eps", "1e-5", "added to the variance, inside the root", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_batch_norm = {
    .name = "batch_norm",
    .brief = "Normalises each channel: (x - mean) / sqrt(var + eps) * weight + bias (Ioffe and Szegedy, 2015).",
    .example = "local y = la.batch_norm(x, weight, bias, mean, var, { training = true })",
    .param = params,
    .forward = forward,
    .backward = backward,
};
