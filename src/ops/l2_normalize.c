/* SPDX-License-Identifier: MIT
 *
 * l2_normalize.c -- unit length along one dimension, the feature normalisation of the alignment papers.
 */
#include "ops/op.h"

/* The dense input seen as (outer, C, inner) around dimension d. */
static void split(const la_tensor *x, int d, int64_t *outer, int64_t *length, int64_t *inner)
{
    *outer = *inner = 1;
    *length = x->dim[d];
    for (int i = 0; i < d; i++)
        *outer *= x->dim[i];
    for (int i = d + 1; i < x->ndim; i++)
        *inner *= x->dim[i];
}

static int forward(la_call *c)
{
    int err = 0;
    la_tensor *x = NULL;
    int64_t outer, length, inner;

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(la__dense(&x, c->in[0]));
    split(x, (int)c->arg[1].ints[0], &outer, &length, &inner);
    LA_TRY(la__out(c, 0, LA_F32, x->ndim, x->dim));
    LA_TRY(la_tensor_new(&c->saved[0], c->dev, LA_F32, 1, (int64_t[]){ outer * inner }));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "l2_normalize",
                                    .entry = "l2_normalize_fwd",
                                    .global = { (size_t)(outer * inner) },
                                    .bytes = 8.0 * (double)la_tensor_numel(x) },
                      (la_karg[]){ LA_T(c->out[0]), LA_T(c->saved[0]), LA_T(x), LA_INT(outer * inner), LA_INT(length),
                                   LA_INT(inner), LA_FLOAT(c->arg[2].number) },
                      7));
done:
    la_tensor_release(&x);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *x = NULL, *gd = NULL;
    int64_t outer, length, inner;

    LA_TRY(la__dense(&x, c->in[0]));
    LA_TRY(la__dense(&gd, g[0]));
    split(x, (int)c->arg[1].ints[0], &outer, &length, &inner);
    LA_TRY(la__like(&c->grad[0], x));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "l2_normalize",
                                    .entry = "l2_normalize_bwd_x",
                                    .global = { (size_t)(outer * inner) },
                                    .bytes = 12.0 * (double)la_tensor_numel(x) },
                      (la_karg[]){ LA_T(c->grad[0]), LA_T(gd), LA_T(x), LA_T(c->saved[0]), LA_INT(outer * inner),
                                   LA_INT(length), LA_INT(inner) },
                      7));
done:
    la_tensor_release(&x);
    la_tensor_release(&gd);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any shape with at least one dimension; feature maps are (N, H, W, C)", NULL },
    { LA_P_DIM, "dim", "-1", "the dimension along which the squares are summed", NULL },
    { LA_P_NUMBER, "eps", "1e-6", "added to the sum of squares, inside the root", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_l2_normalize = {
    .name = "l2_normalize",
    .brief = "Scales to unit length along a dimension: x / sqrt(sum x^2 + eps).",
    .example = "local f = la.l2_normalize(features)",
    .param = params,
    .forward = forward,
    .backward = backward,
};
