/* SPDX-License-Identifier: MIT
 *
 * unary.c -- functions of one tensor, element by element. neg, abs, sign and clamp also take integers and give int32.
 */
#include <math.h>
#include <stdio.h>

#include "ops/op.h"
#include "tensor/pointwise.h"

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any shape", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static const la_param any_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type; integers give int32", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static const la_param clamp_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type; integers give int32", NULL },
    { LA_P_NUMBER, "min", "nil", "lower bound; none if left out", NULL },
    { LA_P_NUMBER, "max", "nil", "upper bound; none if left out", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* clamp's bounds; the others have none and their kernels ignore them. */
static void numbers(const la_call *c, double *p, double *q)
{
    const bool bounded = c->op->param == clamp_params;
    *p = bounded && c->arg[1].count > 0 ? c->arg[1].number : -INFINITY;
    *q = bounded && c->arg[2].count > 0 ? c->arg[2].number : INFINITY;
}

/* out = f(x) by the kernel <op>_fwd, for integers <op>_fwd_int. */
static int launch(const la_call *c, la_tensor *out, la_tensor *x, double p, double q)
{
    char entry[24];
    const bool ints = x->dtype == LA_I32;
    snprintf(entry, sizeof entry, "%s_fwd%s", c->op->name, ints ? "_int" : "");
    return la__pointwise_with(out, "unary", entry, 1, &x, 2,
                              (la_karg[]){ ints ? LA_INT(p) : LA_FLOAT(p), ints ? LA_INT(q) : LA_FLOAT(q) });
}

static int forward(la_call *c)
{
    int err = 0;
    double p, q;

    LA_TRY(la__check_f32(c, 0));
    numbers(c, &p, &q);
    if (p > q)
        return la_fail(LA_EARG, "%s: min must not be above max, got %g and %g", c->op->name, p, q);
    LA_TRY(la__out(c, 0, LA_F32, c->in[0]->ndim, c->in[0]->dim));
    LA_TRY(launch(c, c->out[0], c->in[0], p, q));
    LA_TRY(la__alias(&c->saved[0], c->out[0]));
done:
    return err;
}

/* The whole numbers within the bounds of an integer: the least not below p, the largest not above q. */
static int forward_any(la_call *c)
{
    int err = 0;
    double p, q;
    la_tensor *x = NULL;

    if (c->in[0]->dtype == LA_F32)
        return forward(c);
    numbers(c, &p, &q);
    p = fmax(ceil(p), INT32_MIN);
    q = fmin(floor(q), INT32_MAX);
    if (!(p <= q))
        return la_fail(LA_EARG, "%s: no integer lies between min and max", c->op->name);
    LA_TRY(la__convert(&x, c->in[0], LA_I32));
    LA_TRY(la__out(c, 0, LA_I32, x->ndim, x->dim));
    LA_TRY(launch(c, c->out[0], x, p, q));
done:
    la_tensor_release(&x);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    double p, q;
    char entry[24];

    LA_TRY(la_tensor_new(&c->grad[0], c->dev, LA_F32, c->in[0]->ndim, c->in[0]->dim));
    numbers(c, &p, &q);
    snprintf(entry, sizeof entry, "%s_bwd", c->op->name);
    LA_TRY(la__pointwise_with(c->grad[0], "unary", entry, 3, (la_tensor *[]){ g[0], c->in[0], c->saved[0] }, 2,
                              (la_karg[]){ LA_FLOAT(p), LA_FLOAT(q) }));
done:
    return err;
}

#define UNARY(op, list, run, back, text, line)                                                       \
    const la_op la_op_##op = {                                                                       \
        .name = #op, .brief = text, .example = line, .param = list, .forward = run, .backward = back \
    };

UNARY(neg, any_params, forward_any, backward, "Minus x.", "local y = -x")
UNARY(abs, any_params, forward_any, backward, "Absolute value; its gradient at 0 is 0.", "local y = la.abs(x)")
UNARY(sign, any_params, forward_any, NULL, "1, 0 or -1; NaN stays. No gradient.", "local y = la.sign(x)")
UNARY(floor, params, forward, NULL, "Largest whole number not above x. No gradient.", "local y = la.floor(x)")
UNARY(exp, params, forward, backward, "e to the power of x.", "local y = la.exp(x)")
UNARY(log, params, forward, backward, "Natural logarithm.", "local y = la.log(x)")
UNARY(sqrt, params, forward, backward, "Square root.", "local y = la.sqrt(x)")
UNARY(sin, params, forward, backward, "Sine of x in radians.", "local y = la.sin(x)")
UNARY(cos, params, forward, backward, "Cosine of x in radians.", "local y = la.cos(x)")
UNARY(tanh, params, forward, backward, "Hyperbolic tangent.", "local y = la.tanh(x)")
UNARY(sigmoid, params, forward, backward, "1 / (1 + exp(-x)).", "local y = la.sigmoid(x)")
UNARY(relu, params, forward, backward, "max(x, 0); NaN stays, and the gradient at 0 is 0.", "local y = la.relu(x)")
UNARY(relu6, params, forward, backward, "min(max(x, 0), 6); NaN stays.", "local y = la.relu6(x)")

const la_op la_op_clamp = {
    .name = "clamp",
    .brief = "x limited to [min, max]; NaN stays. The gradient passes inside and at the bounds.",
    .example = "local y = la.clamp(x, { min = 0, max = 1 })",
    .param = clamp_params,
    .forward = forward_any,
    .backward = backward,
};
