/* SPDX-License-Identifier: MIT
 *
 * softmax.c -- along any dimension; another than the last one is brought there and back.
 */
#include "ops/op.h"

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, at least one dimension", NULL },
    { LA_P_DIM, "dim", "-1", "the dimension whose elements sum to 1", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* Exchanges dimension d with the last one; its own inverse. */
static int to_last(la_tensor **out, const la_tensor *t, int d)
{
    int order[LA_MAX_DIMS];
    for (int k = 0; k < LA_MAX_DIMS; k++)
        order[k] = k;
    order[d] = t->ndim - 1;
    order[t->ndim - 1] = d;
    return la__view_permute(out, t, order, "softmax");
}

static int dense_to_last(la_tensor **out, const la_tensor *t, int d)
{
    int err = 0;
    la_tensor *view = NULL;
    LA_TRY(to_last(&view, t, d));
    LA_TRY(la__dense(out, view));
done:
    la_tensor_release(&view);
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    const int d = (int)c->arg[1].ints[0];
    la_tensor *x = NULL, *y = NULL;

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(dense_to_last(&x, c->in[0], d));
    LA_TRY(la__like(&y, x));
    const int64_t n = x->dim[x->ndim - 1], rows = n > 0 ? la_tensor_numel(x) / n : 0;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "softmax", .entry = "softmax_fwd", .global = { (size_t)rows },
                                    .bytes = 8.0 * (double)(rows * n) },
                      (la_karg[]){ LA_T(y), LA_T(x), LA_INT(rows), LA_INT(n) }, 4));
    c->saved[0] = la_tensor_retain(y);
    LA_TRY(to_last(&c->out[0], y, d));
done:
    la_tensor_release(&x);
    la_tensor_release(&y);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    const int d = (int)c->arg[1].ints[0];
    la_tensor *moved = NULL, *gx = NULL;
    const la_tensor *y = c->saved[0];

    LA_TRY(dense_to_last(&moved, g[0], d));
    LA_TRY(la__like(&gx, y));
    const int64_t n = y->dim[y->ndim - 1], rows = n > 0 ? la_tensor_numel(y) / n : 0;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "softmax", .entry = "softmax_bwd", .global = { (size_t)rows },
                                    .bytes = 12.0 * (double)(rows * n) },
                      (la_karg[]){ LA_T(gx), LA_T(moved), LA_T(y), LA_INT(rows), LA_INT(n) }, 5));
    LA_TRY(to_last(&c->grad[0], gx, d));
done:
    la_tensor_release(&moved);
    la_tensor_release(&gx);
    return err;
}

const la_op la_op_softmax = { .name = "softmax",
                              .brief = "exp(x) over its sum along a dimension.",
                              .example = "local p = scores:softmax(-1)",
                              .param = params,
                              .forward = forward,
                              .backward = backward };
