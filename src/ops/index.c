/* SPDX-License-Identifier: MIT
 *
 * index.c -- index_select and gather. Index tensors are int32 and count from 1. Checking them would wait for the
 * device, so an index outside gives NaN (0 among integers) instead of an error.
 */
#include "ops/op.h"

static const la_param select_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIM, "dim", NULL, "the dimension to pick from", NULL },
    { LA_P_TENSOR, "index", NULL, "int32 (K), from 1; may repeat. An index outside gives NaN", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static const la_param gather_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIM, "dim", NULL, "the dimension to pick from", NULL },
    { LA_P_TENSOR, "index", NULL,
      "int32, from 1, as many dimensions as x and in the others no larger. An index outside gives NaN", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

enum { CPU_CHUNK = 1024, CPU_WIDTH = 16 };

/* x as (outer, n, inner) about the dimension, `count` places to pick, and the dense index. */
typedef struct form {
    la_tensor *index;
    int64_t outer, n, inner, count;
} form;

static int bring(form *f, const la_call *c, const la_tensor *x)
{
    const int dim = (int)c->arg[1].ints[0];
    const la_tensor *index = c->in[1];
    *f = (form){ .outer = 1, .inner = 1, .n = x->dim[dim], .count = index->dim[index->ndim == 1 ? 0 : dim] };
    for (int d = 0; d < x->ndim; d++) {
        f->outer *= d < dim ? x->dim[d] : 1;
        f->inner *= d > dim ? x->dim[d] : 1;
    }
    return la__dense(&f->index, index);
}

static int check_index(const la_call *c)
{
    if (c->in[1]->dtype != LA_I32)
        return la_fail(LA_EDTYPE, "%s: index must be int32, got %s", c->op->name, la_dtype_name(c->in[1]->dtype));
    return 0;
}

/* What an index outside gives: NaN or 0, as the bits of an int. */
static int32_t missing(const la_tensor *x)
{
    return x->dtype == LA_F32 ? 0x7fc00000 : 0;
}

/* x as the kernels take it: dense elements of four bytes. */
static int words(la_tensor **out, const la_tensor *x)
{
    int err = 0;
    la_tensor *wide = NULL;
    LA_TRY(la__convert(&wide, x, x->dtype == LA_U8 ? LA_I32 : x->dtype));
    LA_TRY(la__dense(out, wide));
done:
    la_tensor_release(&wide);
    return err;
}

/* ---- index_select ---- */

static int select_forward(la_call *c)
{
    int err = 0;
    form f = { 0 };
    la_tensor *x = NULL, *out = NULL;
    int64_t dim[LA_MAX_DIMS];
    char text[LA_SHAPE_TEXT];

    LA_TRY(check_index(c));
    if (c->in[1]->ndim != 1)
        return la_fail(LA_ESHAPE, "index_select: index must be 1-D, got %s", la__shape(c->in[1], text));
    LA_TRY(words(&x, c->in[0]));
    LA_TRY(bring(&f, c, x));
    for (int d = 0; d < x->ndim; d++)
        dim[d] = x->dim[d];
    dim[c->arg[1].ints[0]] = f.count;
    LA_TRY(la_tensor_new(&out, c->dev, x->dtype, x->ndim, dim));
    const int64_t chunk = !la__device_is_cpu(c->dev) ? 1 : f.inner < CPU_CHUNK ? f.inner : CPU_CHUNK;
    const int64_t items = f.inner > 0 ? f.outer * f.count * ((f.inner + chunk - 1) / chunk) : 0;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "index",
                                    .entry = "index_select_fwd",
                                    .global = { (size_t)items },
                                    .bytes = 8.0 * (double)la_tensor_numel(out) },
                      (la_karg[]){ LA_T(out), LA_T(x), LA_T(f.index), LA_INT(items), LA_INT(f.n), LA_INT(f.count),
                                   LA_INT(f.inner), LA_INT(chunk), LA_INT(missing(x)) },
                      9));
    LA_TRY(la__convert(&c->out[0], out, c->in[0]->dtype));
done:
    la_tensor_release(&x);
    la_tensor_release(&out);
    la_tensor_release(&f.index);
    return err;
}

static int select_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    form f = { 0 };

    LA_TRY(bring(&f, c, c->in[0]));
    LA_TRY(la_tensor_new(&c->grad[0], c->dev, LA_F32, c->in[0]->ndim, c->in[0]->dim));
    const int64_t width = la__device_is_cpu(c->dev) ? CPU_WIDTH : 1;
    const int64_t items = f.n > 0 ? f.outer * ((f.inner + width - 1) / width) : 0;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "index",
                                    .entry = "index_select_bwd",
                                    .global = { (size_t)items },
                                    .bytes = 12.0 * (double)la_tensor_numel(g[0]) },
                      (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_T(f.index), LA_INT(items), LA_INT(f.n),
                                   LA_INT(f.count), LA_INT(f.inner), LA_INT(width) },
                      8));
done:
    la_tensor_release(&f.index);
    return err;
}

const la_op la_op_index_select = {
    .name = "index_select",
    .brief = "Elements of one dimension by number: out[.., k, ..] = x[.., index[k], ..].",
    .example = "local rows = x:index_select(1, la.tensor({ 3, 1 }, 'int32'))",
    .param = select_params,
    .forward = select_forward,
    .backward = select_backward,
};

/* ---- gather ---- */

static int check_gather(const la_call *c)
{
    const la_tensor *x = c->in[0], *index = c->in[1];
    const int dim = (int)c->arg[1].ints[0];
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    bool fits = index->ndim == x->ndim;
    for (int d = 0; fits && d < x->ndim; d++)
        fits = d == dim || index->dim[d] <= x->dim[d];
    if (!fits)
        return la_fail(LA_ESHAPE, "gather: index must have x's shape or less but for dimension %d, got %s for x of %s",
                       dim + 1, la__shape(index, a), la__shape(x, b));
    return 0;
}

/* The part of t, of x's shape, that the index covers. */
static int covered(la_tensor **out, const la_call *c, const la_tensor *t)
{
    int err = 0;
    la_tensor *part = NULL;
    LA_TRY(la__alias(out, t));
    for (int d = 0; d < t->ndim; d++) {
        if (d == (int)c->arg[1].ints[0] || t->dim[d] == c->in[1]->dim[d])
            continue;
        LA_TRY(la__view_narrow(&part, *out, d, 0, c->in[1]->dim[d], "gather"));
        la_tensor_release(out);
        *out = part;
    }
done:
    return err;
}

static int gather_forward(la_call *c)
{
    int err = 0;
    form f = { 0 };
    la_tensor *part = NULL, *x = NULL, *out = NULL;

    LA_TRY(check_index(c));
    LA_TRY(check_gather(c));
    LA_TRY(covered(&part, c, c->in[0]));
    LA_TRY(words(&x, part));
    LA_TRY(bring(&f, c, x));
    LA_TRY(la_tensor_new(&out, c->dev, x->dtype, x->ndim, c->in[1]->dim));
    const int64_t items = la_tensor_numel(out);
    LA_TRY(la__launch(
        c->dev,
        &(la_launch){
            .program = "index", .entry = "gather_fwd", .global = { (size_t)items }, .bytes = 12.0 * (double)items },
        (la_karg[]){ LA_T(out), LA_T(x), LA_T(f.index), LA_INT(items), LA_INT(f.n), LA_INT(f.count), LA_INT(f.inner),
                     LA_INT(missing(x)) },
        8));
    LA_TRY(la__convert(&c->out[0], out, c->in[0]->dtype));
done:
    la_tensor_release(&part);
    la_tensor_release(&x);
    la_tensor_release(&out);
    la_tensor_release(&f.index);
    return err;
}

static int gather_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    form f = { 0 };
    la_tensor *part = NULL, *own = NULL;

    LA_TRY(la__full(&c->grad[0], c->dev, c->in[0]->ndim, c->in[0]->dim, 0));
    LA_TRY(covered(&part, c, c->grad[0]));
    LA_TRY(bring(&f, c, part));
    LA_TRY(la_tensor_new(&own, c->dev, LA_F32, part->ndim, part->dim));
    const int64_t items = f.n > 0 ? f.outer * f.inner : 0;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "index",
                                    .entry = "gather_bwd",
                                    .global = { (size_t)items },
                                    .bytes = 16.0 * (double)la_tensor_numel(g[0]) },
                      (la_karg[]){ LA_T(own), LA_T(g[0]), LA_T(f.index), LA_INT(items), LA_INT(f.n), LA_INT(f.count),
                                   LA_INT(f.inner) },
                      7));
    LA_TRY(la__copy(part, own));
done:
    la_tensor_release(&part);
    la_tensor_release(&own);
    la_tensor_release(&f.index);
    return err;
}

const la_op la_op_gather = {
    .name = "gather",
    .brief = "One element for each element of index: out[.., k, ..] = x[.., index[.., k, ..], ..].",
    .example = "local best = scores:gather(-1, scores:argmax(-1, { keepdim = true }))",
    .param = gather_params,
    .forward = gather_forward,
    .backward = gather_backward,
};
