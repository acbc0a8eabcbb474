/* SPDX-License-Identifier: MIT
 *
 * reduce.c -- sum, mean, max, min, argmax, argmin, var, norm over any dimensions, and la__sum_to.
 *
 * The tensor is brought into the form (outer, n, inner) with the reduced dimensions in the middle: a view where they are
 * neighbours, else a copy with them last.
 */
#include <string.h>

#include "ops/op.h"

enum { CHUNK = 512 };

typedef struct form {
    la_tensor *x; /* dense, in the order below */
    int64_t outer, n, inner;
    bool reduced[LA_MAX_DIMS];
    int order[LA_MAX_DIMS]; /* dimension of the given tensor at each place of x */
} form;

/* dims == 0: all. */
static int bring(form *f, const la_tensor *t, int dims, const int64_t *dim)
{
    int err = 0, first = -1, last = -1, at = 0;
    la_tensor *view = NULL;
    memset(f, 0, sizeof *f);
    f->outer = f->n = f->inner = 1;
    for (int i = 0; i < dims; i++)
        f->reduced[dim[i]] = true;
    for (int d = 0; d < t->ndim; d++) {
        f->reduced[d] = f->reduced[d] || dims == 0;
        if (f->reduced[d]) {
            first = first < 0 ? d : first;
            last = d;
        }
    }
    bool neighbours = true;
    for (int d = first; d >= 0 && d <= last; d++)
        neighbours = neighbours && f->reduced[d];
    for (int pass = 0; pass < 2 && !neighbours; pass++)
        for (int d = 0; d < t->ndim; d++)
            if (f->reduced[d] == (pass == 1))
                f->order[at++] = d;
    for (int d = 0; d < t->ndim; d++) {
        if (neighbours)
            f->order[d] = d;
        if (f->reduced[d])
            f->n *= t->dim[d];
        else if (!neighbours || d < first)
            f->outer *= t->dim[d];
        else
            f->inner *= t->dim[d];
    }
    LA_TRY(la__view_permute(&view, t, f->order, "reduce"));
    LA_TRY(la__dense(&f->x, view));
done:
    la_tensor_release(&view);
    return err;
}

/* The result's shape: reduced dimensions are dropped, or kept with one element. */
static int result_dims(int64_t *out, const form *f, const la_tensor *t, bool keep)
{
    int n = 0;
    for (int d = 0; d < t->ndim; d++)
        if (!f->reduced[d])
            out[n++] = t->dim[d];
        else if (keep)
            out[n++] = 1;
    return n;
}

/* out (dense, outer * inner elements) = reduction of in; `again` joins partial results. */
static int run(la_tensor *out, const la_tensor *in, const char *entry, const char *again, int64_t outer, int64_t n, int64_t inner)
{
    int err = 0;
    la_tensor *part = NULL;
    la_device *dev = out->storage->dev;
    const int64_t chunk = n > 2 * CHUNK ? CHUNK : n > 0 ? n : 1, chunks = n > 0 ? (n + chunk - 1) / chunk : 1;
    const int64_t total = outer * chunks * inner;
    la_tensor *to = out;

    if (chunks > 1) {
        LA_TRY(la_tensor_new(&part, dev, LA_F32, 1, &total));
        to = part;
    }
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "reduce", .entry = entry, .global = { (size_t)total },
                                    .bytes = 4.0 * (double)(outer * n * inner + total), .flops = (double)(outer * n * inner) },
                      (la_karg[]){ LA_T(to), LA_T(in), LA_INT(total), LA_INT(n), LA_INT(inner), LA_INT(chunk), LA_INT(chunks) }, 7));
    if (chunks > 1)
        LA_TRY(run(out, part, again, again, outer, chunks, inner));
done:
    la_tensor_release(&part);
    return err;
}

static int scale(la_tensor **out, la_tensor *x, double factor)
{
    int err = 0;
    la_tensor *f = NULL;
    LA_TRY(la__full(&f, x->storage->dev, 0, NULL, factor));
    LA_TRY(la__run(out, "mul", 2, (la_tensor *[]){ x, f }, NULL));
done:
    la_tensor_release(&f);
    return err;
}

/* Reduces x over the dims of c->arg[1] into *out, of the final shape. */
static int reduce(la_tensor **out, form *f, la_call *c, const la_tensor *x, const char *entry, const char *again, bool keep)
{
    int err = 0;
    int64_t dim[LA_MAX_DIMS];
    LA_TRY(bring(f, x, c->arg[1].count, c->arg[1].ints));
    LA_TRY(la_tensor_new(out, c->dev, LA_F32, result_dims(dim, f, x, keep), dim));
    LA_TRY(run(*out, f->x, entry, again, f->outer, f->n, f->inner));
done:
    return err;
}

/* g, of the reduced shape, seen with x's shape (a view with strides of 0). */
static int spread(la_tensor **out, const la_call *c, const la_tensor *g)
{
    int err = 0;
    const la_tensor *x = c->in[0];
    int64_t dim[LA_MAX_DIMS];
    la_tensor *kept = NULL;
    for (int d = 0; d < x->ndim; d++) {
        bool reduced = c->arg[1].count == 0;
        for (int i = 0; i < c->arg[1].count; i++)
            reduced = reduced || c->arg[1].ints[i] == d;
        dim[d] = reduced ? 1 : x->dim[d];
    }
    LA_TRY(la__view_reshape(&kept, g, x->ndim, dim, c->op->name));
    LA_TRY(la__view_expand(out, kept, x->ndim, x->dim, c->op->name));
done:
    la_tensor_release(&kept);
    return err;
}

static int reduced_count(const la_call *c, double *n)
{
    *n = 1;
    for (int d = 0; d < c->in[0]->ndim; d++) {
        bool reduced = c->arg[1].count == 0;
        for (int i = 0; i < c->arg[1].count; i++)
            reduced = reduced || c->arg[1].ints[i] == d;
        if (reduced)
            *n *= (double)c->in[0]->dim[d];
    }
    return 0;
}

#define DIMS_PARAMS                                                                                            \
    { LA_P_TENSOR, "x", NULL, "float32, any shape", NULL },                                                    \
    { LA_P_DIMS, "dims", "nil", "dimension or list of dimensions to reduce; all if left out", NULL },          \
    { LA_P_BOOL, "keepdim", "false", "keep the reduced dimensions, with one element each", NULL }

static const la_param params[] = { DIMS_PARAMS, { LA_P_END, NULL, NULL, NULL, NULL } };

/* ---- sum and mean ---- */

static int sum_forward(la_call *c)
{
    int err = 0;
    form f = { 0 };
    la_tensor *x = NULL, *sum = NULL;
    double n;
    const bool mean = strcmp(c->op->name, "mean") == 0;

    LA_TRY(la__convert(&x, c->in[0], LA_F32));
    LA_TRY(reduce(mean ? &sum : &c->out[0], &f, c, x, "reduce_sum", "reduce_sum", c->arg[2].ints[0]));
    reduced_count(c, &n);
    if (mean)
        LA_TRY(scale(&c->out[0], sum, 1.0 / n));
done:
    la_tensor_release(&x);
    la_tensor_release(&sum);
    la_tensor_release(&f.x);
    return err;
}

static int sum_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    double n;
    la_tensor *scaled = NULL;
    reduced_count(c, &n);
    if (strcmp(c->op->name, "mean") == 0)
        LA_TRY(scale(&scaled, g[0], 1.0 / n));
    LA_TRY(spread(&c->grad[0], c, scaled ? scaled : g[0]));
done:
    la_tensor_release(&scaled);
    return err;
}

const la_op la_op_sum = { .name = "sum",
                          .brief = "Sum over dimensions.",
                          .example = "local s = x:sum(-1)",
                          .param = params,
                          .forward = sum_forward,
                          .backward = sum_backward };

const la_op la_op_mean = { .name = "mean",
                           .brief = "Mean over dimensions.",
                           .example = "local m = x:mean({ 2, 3 }, { keepdim = true })",
                           .param = params,
                           .forward = sum_forward,
                           .backward = sum_backward };

/* ---- max, min and their places ---- */

static int check_not_empty(const la_call *c, const form *f)
{
    if (f->n == 0)
        return la_fail(LA_ESHAPE, "%s: the dimensions to reduce have no elements", c->op->name);
    return 0;
}

static int find_places(la_tensor **out, const la_call *c, const form *f, float sign)
{
    int err = 0;
    const int64_t total = f->outer * f->inner;
    LA_TRY(la_tensor_new(out, c->dev, LA_I32, 1, &total));
    LA_TRY(la__launch(c->dev, &(la_launch){ .program = "reduce", .entry = "arg", .global = { (size_t)total } },
                      (la_karg[]){ LA_T(*out), LA_T(f->x), LA_INT(total), LA_INT(f->n), LA_INT(f->inner), LA_FLOAT(sign) }, 6));
done:
    return err;
}

static int max_forward(la_call *c)
{
    int err = 0;
    form f = { 0 };
    const bool max = strcmp(c->op->name, "max") == 0;

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(reduce(&c->out[0], &f, c, c->in[0], max ? "reduce_max" : "reduce_min", max ? "reduce_max" : "reduce_min", c->arg[2].ints[0]));
    LA_TRY(check_not_empty(c, &f));
    if (c->want[0])
        LA_TRY(find_places(&c->saved[0], c, &f, max ? 1.0f : -1.0f));
done:
    la_tensor_release(&f.x);
    return err;
}

/* The gradient goes to the first extreme element. It is made in the order of the form and then put back. */
static int max_backward(la_call *c, la_tensor *const *g)
{
    int err = 0, back[LA_MAX_DIMS];
    form f = { 0 };
    la_tensor *gx = NULL;

    LA_TRY(bring(&f, c->in[0], c->arg[1].count, c->arg[1].ints));
    LA_TRY(la__like(&gx, f.x));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "reduce", .entry = "arg_bwd", .global = { (size_t)la_tensor_numel(gx) } },
                      (la_karg[]){ LA_T(gx), LA_T(g[0]), LA_T(c->saved[0]), LA_INT(la_tensor_numel(gx)), LA_INT(f.n),
                                   LA_INT(f.inner) }, 6));
    for (int d = 0; d < gx->ndim; d++)
        back[f.order[d]] = d;
    LA_TRY(la__view_permute(&c->grad[0], gx, back, c->op->name));
done:
    la_tensor_release(&gx);
    la_tensor_release(&f.x);
    return err;
}

const la_op la_op_max = { .name = "max",
                          .brief = "Largest element over dimensions; NaN wins. The gradient goes to the first one.",
                          .example = "local m = x:max(-1)",
                          .param = params,
                          .forward = max_forward,
                          .backward = max_backward };

const la_op la_op_min = { .name = "min",
                          .brief = "Smallest element over dimensions; NaN wins. The gradient goes to the first one.",
                          .example = "local m = x:min(-1)",
                          .param = params,
                          .forward = max_forward,
                          .backward = max_backward };

static const la_param arg_params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any shape", NULL },
    { LA_P_DIMS, "dim", "nil", "one dimension; left out, the place in the flattened tensor", NULL },
    { LA_P_BOOL, "keepdim", "false", "keep the reduced dimension, with one element", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int arg_forward(la_call *c)
{
    int err = 0;
    form f = { 0 };
    la_tensor *places = NULL;
    int64_t dim[LA_MAX_DIMS];

    LA_TRY(la__check_f32(c, 0));
    if (c->arg[1].count > 1)
        return la_fail(LA_EARG, "%s: one dimension at a time, got %d", c->op->name, c->arg[1].count);
    LA_TRY(bring(&f, c->in[0], c->arg[1].count, c->arg[1].ints));
    LA_TRY(check_not_empty(c, &f));
    LA_TRY(find_places(&places, c, &f, strcmp(c->op->name, "argmax") == 0 ? 1.0f : -1.0f));
    const int n = result_dims(dim, &f, c->in[0], c->arg[2].ints[0]);
    LA_TRY(la__view_reshape(&c->out[0], places, n, dim, c->op->name));
done:
    la_tensor_release(&places);
    la_tensor_release(&f.x);
    return err;
}

const la_op la_op_argmax = { .name = "argmax",
                             .brief = "Place of the first largest element along a dimension, from 1, int32; a NaN wins.",
                             .example = "local i = x:argmax(-1)",
                             .param = arg_params,
                             .forward = arg_forward };

const la_op la_op_argmin = { .name = "argmin",
                             .brief = "Place of the first smallest element along a dimension, from 1, int32; a NaN wins.",
                             .example = "local i = x:argmin(-1)",
                             .param = arg_params,
                             .forward = arg_forward };

/* ---- var ---- */

static const la_param var_params[] = { DIMS_PARAMS,
                                       { LA_P_BOOL, "unbiased", "true", "divide by n - 1, not n", NULL },
                                       { LA_P_END, NULL, NULL, NULL, NULL } };

/* x - mean(x), by two passes, so that a large mean does not eat the digits. */
static int centred(la_tensor **out, la_call *c)
{
    int err = 0;
    double n;
    form f = { 0 };
    la_tensor *sum = NULL, *mean = NULL;
    reduced_count(c, &n);
    LA_TRY(reduce(&sum, &f, c, c->in[0], "reduce_sum", "reduce_sum", true));
    LA_TRY(scale(&mean, sum, 1.0 / n));
    LA_TRY(la__run(out, "sub", 2, (la_tensor *[]){ c->in[0], mean }, NULL));
done:
    la_tensor_release(&sum);
    la_tensor_release(&mean);
    la_tensor_release(&f.x);
    return err;
}

static int var_forward(la_call *c)
{
    int err = 0;
    double n;
    form f = { 0 };
    la_tensor *centre = NULL, *sum = NULL;

    LA_TRY(la__check_f32(c, 0));
    reduced_count(c, &n);
    LA_TRY(centred(&centre, c));
    LA_TRY(reduce(&sum, &f, c, centre, "reduce_sum_squares", "reduce_sum", c->arg[2].ints[0]));
    LA_TRY(scale(&c->out[0], sum, 1.0 / (n - (c->arg[3].ints[0] ? 1 : 0))));
done:
    la_tensor_release(&centre);
    la_tensor_release(&sum);
    la_tensor_release(&f.x);
    return err;
}

/* 2 (x - mean) g / (n - 1): the mean's own share cancels. */
static int var_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    double n;
    la_tensor *centre = NULL, *wide = NULL, *product = NULL;
    reduced_count(c, &n);
    LA_TRY(centred(&centre, c));
    LA_TRY(spread(&wide, c, g[0]));
    LA_TRY(la__run(&product, "mul", 2, (la_tensor *[]){ centre, wide }, NULL));
    LA_TRY(scale(&c->grad[0], product, 2.0 / (n - (c->arg[3].ints[0] ? 1 : 0))));
done:
    la_tensor_release(&centre);
    la_tensor_release(&wide);
    la_tensor_release(&product);
    return err;
}

const la_op la_op_var = { .name = "var",
                          .brief = "Variance over dimensions.",
                          .example = "local v = x:var({ 1, 2, 3 }, { unbiased = false })",
                          .param = var_params,
                          .forward = var_forward,
                          .backward = var_backward };

/* ---- norm ---- */

static int norm_forward(la_call *c)
{
    int err = 0;
    form f = { 0 };
    la_tensor *sum = NULL;

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(reduce(&sum, &f, c, c->in[0], "reduce_sum_squares", "reduce_sum", c->arg[2].ints[0]));
    LA_TRY(la__run(&c->out[0], "sqrt", 1, &sum, NULL));
    LA_TRY(la__alias(&c->saved[0], c->out[0]));
done:
    la_tensor_release(&sum);
    la_tensor_release(&f.x);
    return err;
}

/* x g / norm; 0 where the norm is 0. */
static int norm_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *tiny = NULL, *safe = NULL, *ratio = NULL, *wide = NULL;
    LA_TRY(la__full(&tiny, c->dev, 0, NULL, 1e-30));
    LA_TRY(la__run(&safe, "maximum", 2, (la_tensor *[]){ c->saved[0], tiny }, NULL));
    LA_TRY(la__run(&ratio, "div", 2, (la_tensor *[]){ g[0], safe }, NULL));
    LA_TRY(spread(&wide, c, ratio));
    LA_TRY(la__run(&c->grad[0], "mul", 2, (la_tensor *[]){ c->in[0], wide }, NULL));
done:
    la_tensor_release(&tiny);
    la_tensor_release(&safe);
    la_tensor_release(&ratio);
    la_tensor_release(&wide);
    return err;
}

const la_op la_op_norm = { .name = "norm",
                           .brief = "Euclidean norm over dimensions; its gradient at 0 is 0.",
                           .example = "local n = x:norm(-1)",
                           .param = params,
                           .forward = norm_forward,
                           .backward = norm_backward };

/* ---- for other ops ---- */

int la__sum_to(la_tensor **out, const la_tensor *g, const la_tensor *like)
{
    int err = 0, dims = 0;
    int64_t dim[LA_MAX_DIMS];
    form f = { 0 };
    la_tensor *sum = NULL;
    const int lead = g->ndim - like->ndim;

    for (int d = 0; d < g->ndim; d++)
        if (d < lead || (like->dim[d - lead] == 1 && g->dim[d] != 1))
            dim[dims++] = d;
    if (dims == 0) {
        *out = la_tensor_retain((la_tensor *)(uintptr_t)g);
        return 0;
    }
    LA_TRY(bring(&f, g, dims, dim));
    LA_TRY(la_tensor_new(&sum, g->storage->dev, LA_F32, like->ndim, like->dim));
    LA_TRY(run(sum, f.x, "reduce_sum", "reduce_sum", f.outer, f.n, f.inner));
    *out = la_tensor_retain(sum);
done:
    la_tensor_release(&sum);
    la_tensor_release(&f.x);
    return err;
}
