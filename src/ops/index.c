/* SPDX-License-Identifier: MIT
 *
 * index.c -- index_select and gather. Index tensors are int32 and count from 1. Checking them would wait for the device, so
 * an index outside gives NaN instead of an error.
 */
#include <stdio.h>
#include <string.h>

#include "ops/op.h"

static const la_param select_params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any shape", NULL },
    { LA_P_DIM, "dim", NULL, "the dimension to pick from", NULL },
    { LA_P_TENSOR, "index", NULL, "int32 (K), from 1; may repeat. An index outside gives NaN", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static const la_param gather_params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any shape", NULL },
    { LA_P_DIM, "dim", NULL, "the dimension to pick from", NULL },
    { LA_P_TENSOR, "index", NULL, "int32, x's shape but for that dimension, from 1. An index outside gives NaN", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* (outer, n, inner) of x round dimension d. */
static void split(const la_tensor *x, int d, int64_t *outer, int64_t *inner)
{
    *outer = *inner = 1;
    for (int k = 0; k < d; k++)
        *outer *= x->dim[k];
    for (int k = d + 1; k < x->ndim; k++)
        *inner *= x->dim[k];
}

static int check(const la_call *c, bool gather)
{
    const la_tensor *x = c->in[0], *index = c->in[1];
    const int d = (int)c->arg[1].ints[0];
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    if (index->dtype != LA_I32)
        return la_fail(LA_EDTYPE, "%s: index must be int32, got %s", c->op->name, la_dtype_name(index->dtype));
    bool fits = gather ? index->ndim == x->ndim : index->ndim == 1;
    for (int k = 0; gather && fits && k < x->ndim; k++)
        fits = k == d || index->dim[k] == x->dim[k];
    if (!fits)
        return la_fail(LA_ESHAPE, "%s: index must be %s, got %s for x of %s along dimension %d", c->op->name,
                       gather ? "of x's shape but for that dimension" : "1-D", la__shape(index, a), la__shape(x, b), d + 1);
    return 0;
}

/* Both ways: out from `from` over total elements. */
static int launch(la_call *c, la_tensor *out, const la_tensor *from, const char *way)
{
    int err = 0;
    int64_t outer, inner;
    char entry[32];
    la_tensor *index = NULL, *dense = NULL;
    const int d = (int)c->arg[1].ints[0];
    const bool gather = strcmp(c->op->name, "gather") == 0;
    const int64_t n = c->in[0]->dim[d], total = la_tensor_numel(out);

    LA_TRY(la__dense(&index, c->in[1]));
    LA_TRY(la__dense(&dense, from));
    split(c->in[0], d, &outer, &inner);
    snprintf(entry, sizeof entry, "%s_%s", c->op->name, way);
    const int64_t count = gather ? index->dim[d] : index->dim[0];
    LA_TRY(la__launch(c->dev, &(la_launch){ .program = "index", .entry = entry, .global = { (size_t)total } },
                      (la_karg[]){ LA_T(out), LA_T(dense), LA_T(index), LA_INT(total), LA_INT(n), LA_INT(count), LA_INT(inner) }, 7));
done:
    la_tensor_release(&index);
    la_tensor_release(&dense);
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    int64_t dim[LA_MAX_DIMS];
    const bool gather = strcmp(c->op->name, "gather") == 0;
    const int d = (int)c->arg[1].ints[0];

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(check(c, gather));
    for (int k = 0; k < c->in[0]->ndim; k++)
        dim[k] = c->in[0]->dim[k];
    dim[d] = gather ? c->in[1]->dim[d] : c->in[1]->dim[0];
    LA_TRY(la__out(c, 0, LA_F32, c->in[0]->ndim, dim));
    LA_TRY(launch(c, c->out[0], c->in[0], "fwd"));
done:
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    LA_TRY(la_tensor_new(&c->grad[0], c->dev, LA_F32, c->in[0]->ndim, c->in[0]->dim));
    LA_TRY(launch(c, c->grad[0], g[0], "bwd"));
done:
    return err;
}

const la_op la_op_index_select = { .name = "index_select",
                                   .brief = "Elements of one dimension by number: out[.., k, ..] = x[.., index[k], ..].",
                                   .example = "local rows = x:index_select(1, la.tensor({ 3, 1 }, 'int32'))",
                                   .param = select_params,
                                   .forward = forward,
                                   .backward = backward };

const la_op la_op_gather = { .name = "gather",
                             .brief = "One element for each element of index: out[.., k, ..] = x[.., index[.., k, ..], ..].",
                             .example = "local best = scores:gather(-1, scores:argmax(-1, { keepdim = true }))",
                             .param = gather_params,
                             .forward = forward,
                             .backward = backward };
