/* SPDX-License-Identifier: MIT
 *
 * unary.c -- functions of one float32 tensor, element by element.
 */
#include <math.h>
#include <stdio.h>

#include "ops/op.h"

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any shape", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static const la_param clamp_params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any shape", NULL },
    { LA_P_NUMBER, "min", "nil", "lower bound; none if left out", NULL },
    { LA_P_NUMBER, "max", "nil", "upper bound; none if left out", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* clamp's bounds; the others have none and their kernels ignore them. */
static void numbers(const la_call *c, float *p, float *q)
{
    const bool bounded = c->op->param == clamp_params;
    *p = bounded && c->arg[1].count > 0 ? (float)c->arg[1].number : -INFINITY;
    *q = bounded && c->arg[2].count > 0 ? (float)c->arg[2].number : INFINITY;
}

static int forward(la_call *c)
{
    int err = 0;
    float p, q;
    char entry[24];
    la_tensor *x = NULL;

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(la__dense(&x, c->in[0]));
    LA_TRY(la__out(c, 0, LA_F32, x->ndim, x->dim));
    const int64_t n = la_tensor_numel(x);
    numbers(c, &p, &q);
    snprintf(entry, sizeof entry, "%s_fwd", c->op->name);
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "unary", .entry = entry, .global = { (size_t)n }, .bytes = 8.0 * (double)n,
                                    .flops = (double)n },
                      (la_karg[]){ LA_T(c->out[0]), LA_T(x), LA_INT(n), LA_FLOAT(p), LA_FLOAT(q) }, 5));
    LA_TRY(la__alias(&c->saved[0], c->out[0]));
done:
    la_tensor_release(&x);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    float p, q;
    char entry[24];
    la_tensor *x = NULL;

    LA_TRY(la__dense(&x, c->in[0]));
    LA_TRY(la_tensor_new(&c->grad[0], c->dev, LA_F32, x->ndim, x->dim));
    const int64_t n = la_tensor_numel(x);
    numbers(c, &p, &q);
    snprintf(entry, sizeof entry, "%s_bwd", c->op->name);
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "unary", .entry = entry, .global = { (size_t)n }, .bytes = 16.0 * (double)n },
                      (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_T(x), LA_T(c->saved[0]), LA_INT(n), LA_FLOAT(p), LA_FLOAT(q) },
                      7));
done:
    la_tensor_release(&x);
    return err;
}

#define UNARY(op, text, line)                                                                                             \
    const la_op la_op_##op = { .name = #op, .brief = text, .example = line, .param = params, .forward = forward, .backward = backward };

UNARY(neg, "Minus x.", "local y = -x")
UNARY(abs, "Absolute value; its gradient at 0 is 0.", "local y = la.abs(x)")
UNARY(exp, "e to the power of x.", "local y = la.exp(x)")
UNARY(log, "Natural logarithm.", "local y = la.log(x)")
UNARY(sqrt, "Square root.", "local y = la.sqrt(x)")
UNARY(sin, "Sine of x in radians.", "local y = la.sin(x)")
UNARY(cos, "Cosine of x in radians.", "local y = la.cos(x)")
UNARY(tanh, "Hyperbolic tangent.", "local y = la.tanh(x)")
UNARY(sigmoid, "1 / (1 + exp(-x)).", "local y = la.sigmoid(x)")
UNARY(floor, "Largest whole number not above x; its gradient is 0.", "local y = la.floor(x)")
UNARY(relu, "max(x, 0); NaN stays, and the gradient at 0 is 0.", "local y = la.relu(x)")
UNARY(relu6, "min(max(x, 0), 6); NaN stays.", "local y = la.relu6(x)")

const la_op la_op_clamp = {
    .name = "clamp",
    .brief = "x limited to [min, max]; NaN stays. The gradient passes inside and at the bounds.",
    .example = "local y = la.clamp(x, { min = 0, max = 1 })",
    .param = clamp_params,
    .forward = forward,
    .backward = backward,
};
