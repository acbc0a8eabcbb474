/* SPDX-License-Identifier: MIT
 *
 * linear.c -- the fully connected layer.
 */
#include "ops/gemm.h"

enum { X, WEIGHT, BIAS }; /* tensor slots */
enum { METHOD = 3 };      /* parameters */

typedef struct sizes {
    int64_t rows, in, out;
} sizes;

static int check(sizes *z, const la_call *c)
{
    int err = 0;
    char tx[LA_SHAPE_TEXT], tw[LA_SHAPE_TEXT];
    const la_tensor *x = c->in[X], *w = c->in[WEIGHT], *bias = c->in[BIAS];

    LA_TRY(la__gemm_check_method(c, METHOD));
    LA_TRY(la__check_f32(c, X));
    LA_TRY(la__check_f32(c, WEIGHT));
    LA_TRY(la__check_ndim(c, WEIGHT, 2));
    if (x->ndim < 1 || x->dim[x->ndim - 1] != w->dim[1])
        return la_fail(LA_ESHAPE, "linear: x must end in %lld features, as weight %s does, got %s",
                       (long long)w->dim[1], la__shape(w, tw), la__shape(x, tx));
    if (bias) {
        LA_TRY(la__check_f32(c, BIAS));
        if (bias->ndim != 1 || bias->dim[0] != w->dim[0])
            return la_fail(LA_ESHAPE, "linear: bias must be (%lld), got %s", (long long)w->dim[0], la__shape(bias, tx));
    }
    *z = (sizes){ .rows = 1, .in = w->dim[1], .out = w->dim[0] };
    for (int d = 0; d < x->ndim - 1; d++)
        z->rows *= x->dim[d];
done:
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    sizes z;
    la_tensor *x = NULL, *w = NULL, *bias = NULL;
    int64_t dim[LA_MAX_DIMS];

    LA_TRY(check(&z, c));
    LA_TRY(la__dense(&x, c->in[X]));
    LA_TRY(la__dense(&w, c->in[WEIGHT]));
    if (c->in[BIAS])
        LA_TRY(la__dense(&bias, c->in[BIAS]));
    for (int d = 0; d < x->ndim; d++)
        dim[d] = d == x->ndim - 1 ? z.out : x->dim[d];
    LA_TRY(la__out(c, 0, LA_F32, x->ndim, dim));
    const la_tensor *const origin[] = { w, bias };
    LA_TRY(la__gemm(c->dev, &(la_gemm){ .method = (la_method)c->arg[METHOD].ints[0],
                                        .batch = 1,
                                        .m = z.rows,
                                        .n = z.out,
                                        .k = z.in,
                                        .tb = true,
                                        .a = x->storage->buffer,
                                        .b = w->storage->buffer,
                                        .c = c->out[0]->storage->buffer,
                                        .bias = bias ? bias->storage->buffer : NULL,
                                        .origins = LA_COUNT(origin),
                                        .origin = origin }));
done:
    la_tensor_release(&x);
    la_tensor_release(&w);
    la_tensor_release(&bias);
    return err;
}

/* dx = g W, dW = g^T x, db = the sums of g's columns. */
static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    sizes z;
    la_tensor *x = NULL, *w = NULL, *d = NULL;
    const la_method method = (la_method)c->arg[METHOD].ints[0];

    LA_TRY(check(&z, c));
    LA_TRY(la__dense(&d, g[0]));
    if (la__wants(c, X)) {
        LA_TRY(la__dense(&w, c->in[WEIGHT]));
        LA_TRY(la__like(&c->grad[X], c->in[X]));
        const la_tensor *const origin[] = { w };
        LA_TRY(la__gemm(c->dev, &(la_gemm){ .method = method,
                                            .batch = 1,
                                            .m = z.rows,
                                            .n = z.in,
                                            .k = z.out,
                                            .a = d->storage->buffer,
                                            .b = w->storage->buffer,
                                            .c = c->grad[X]->storage->buffer,
                                            .origins = LA_COUNT(origin),
                                            .origin = origin }));
    }
    if (la__wants(c, WEIGHT)) {
        LA_TRY(la__dense(&x, c->in[X]));
        LA_TRY(la__like(&c->grad[WEIGHT], c->in[WEIGHT]));
        LA_TRY(la__gemm(c->dev, &(la_gemm){ .method = method,
                                            .batch = 1,
                                            .m = z.out,
                                            .n = z.in,
                                            .k = z.rows,
                                            .ta = true,
                                            .a = d->storage->buffer,
                                            .b = x->storage->buffer,
                                            .c = c->grad[WEIGHT]->storage->buffer }));
    }
    if (c->in[BIAS] && la__wants(c, BIAS)) {
        LA_TRY(la__like(&c->grad[BIAS], c->in[BIAS]));
        LA_TRY(la__column_sum(c->grad[BIAS], d, z.rows, z.out));
    }
done:
    la_tensor_release(&x);
    la_tensor_release(&w);
    la_tensor_release(&d);
    return err;
}

static const la_param params[] = { { LA_P_TENSOR, "x", NULL, "features (..., in), float32", NULL },
                                   { LA_P_TENSOR, "weight", NULL, "(out, in), float32", NULL },
                                   { LA_P_TENSOR, "bias", "nil", "(out), float32", NULL },
                                   { LA_P_CHOICE, "method", "auto",
                                     "which kernels; all but auto are there to compare with", LA_METHODS },
                                   { LA_P_END, NULL, NULL, NULL, NULL } };

const la_op la_op_linear = {
    .name = "linear",
    .brief = "Fully connected layer: y = x W^T + b over the last dimension.",
    .example = "local y = la.linear(x, weight, bias)",
    .param = params,
    .forward = forward,
    .backward = backward,
};
