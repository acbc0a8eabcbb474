/* SPDX-License-Identifier: MIT
 *
 * softmax.c -- softmax and log_softmax along any dimension.
 */
#include <string.h>

#include "ops/op.h"

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, at least one dimension", NULL },
    { LA_P_DIM, "dim", "-1", "the dimension whose elements the exponentials are summed over", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

enum { CPU_WIDTH = 16 };

/* x as (outer, n, inner) about the dimension, and how many work-items of `width` rows that makes. */
typedef struct form {
    int64_t n, inner, items, width;
} form;

static form form_of(const la_call *c)
{
    const la_tensor *x = c->in[0];
    const int dim = (int)c->arg[1].ints[0];
    form f = { .n = x->dim[dim], .inner = 1, .items = 1 };
    for (int d = 0; d < x->ndim; d++) {
        f.items *= d < dim ? x->dim[d] : 1;
        f.inner *= d > dim ? x->dim[d] : 1;
    }
    f.width = la__device_is_cpu(c->dev) && f.inner > 1 ? CPU_WIDTH : 1;
    f.items *= f.n > 0 ? (f.inner + f.width - 1) / f.width : 0;
    return f;
}

static bool is_logarithm(const la_call *c)
{
    return strcmp(c->op->name, "log_softmax") == 0;
}

static int forward(la_call *c)
{
    int err = 0;
    la_tensor *x = NULL;

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(la__dense(&x, c->in[0]));
    LA_TRY(la__out(c, 0, LA_F32, x->ndim, x->dim));
    const form f = form_of(c);
    const double n = (double)la_tensor_numel(x);
    const la_launch what = { .program = "softmax",
                             .entry = f.inner == 1 ? "softmax_fwd" : "softmax_fwd_columns",
                             .global = { (size_t)f.items },
                             .bytes = 8.0 * n,
                             .flops = 4.0 * n };
    if (f.inner == 1)
        LA_TRY(la__launch(
            c->dev, &what,
            (la_karg[]){ LA_T(c->out[0]), LA_T(x), LA_INT(f.items), LA_INT(f.n), LA_INT(is_logarithm(c)) }, 5));
    else
        LA_TRY(la__launch(c->dev, &what,
                          (la_karg[]){ LA_T(c->out[0]), LA_T(x), LA_INT(f.items), LA_INT(f.n), LA_INT(f.inner),
                                       LA_INT(f.width), LA_INT(is_logarithm(c)) },
                          7));
    LA_TRY(la__alias(&c->saved[0], c->out[0]));
done:
    la_tensor_release(&x);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    const form f = form_of(c);
    const double n = (double)la_tensor_numel(c->in[0]);
    const char *row = is_logarithm(c) ? "log_softmax_bwd" : "softmax_bwd";
    const la_launch what = { .program = "softmax",
                             .entry = f.inner == 1 ? row : "softmax_bwd_columns",
                             .global = { (size_t)f.items },
                             .bytes = 12.0 * n,
                             .flops = 4.0 * n };

    LA_TRY(la_tensor_new(&c->grad[0], c->dev, LA_F32, c->in[0]->ndim, c->in[0]->dim));
    if (f.inner == 1)
        LA_TRY(la__launch(c->dev, &what,
                          (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_T(c->saved[0]), LA_INT(f.items), LA_INT(f.n) },
                          5));
    else
        LA_TRY(la__launch(c->dev, &what,
                          (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_T(c->saved[0]), LA_INT(f.items), LA_INT(f.n),
                                       LA_INT(f.inner), LA_INT(f.width), LA_INT(is_logarithm(c)) },
                          8));
done:
    return err;
}

const la_op la_op_softmax = {
    .name = "softmax",
    .brief = "exp(x) over its sum along a dimension.",
    .example = "local p = scores:softmax(-1)",
    .param = params,
    .forward = forward,
    .backward = backward,
};

const la_op la_op_log_softmax = {
    .name = "log_softmax",
    .brief = "Logarithm of softmax, exact where softmax is near 0.",
    .example = "local p = scores:log_softmax(-1)",
    .param = params,
    .forward = forward,
    .backward = backward,
};
