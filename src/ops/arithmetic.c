/* SPDX-License-Identifier: MIT
 *
 * arithmetic.c -- add, sub, mul, div, pow, maximum, minimum: operands are tensors or numbers, shapes broadcast as in NumPy.
 * Two integer operands give int32 (div gives float32); anything with a float32 gives float32.
 */
#include <stdio.h>
#include <string.h>

#include "ops/walk.h"

static const la_param params[] = {
    { LA_P_OPERAND, "a", NULL, "first operand: a tensor of any shape, or a number", NULL },
    { LA_P_OPERAND, "b", NULL, "second operand: a tensor whose shape broadcasts with a's, or a number", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static bool whole(const la_call *c, int i)
{
    return c->in[i] ? c->in[i]->dtype != LA_F32 : c->arg[i].number == (double)(int32_t)c->arg[i].number;
}

/* Operand i as a tensor of the given type; a number becomes a tensor without dimensions. */
static int operand(la_tensor **out, const la_call *c, int i, la_dtype dtype)
{
    int err = 0;
    if (c->in[i])
        return la__convert(out, c->in[i], dtype);
    LA_TRY(la_tensor_new(out, c->dev, dtype, 0, NULL));
    LA_TRY(la__fill(*out, c->arg[i].number));
done:
    return err;
}

static int forward(la_call *c)
{
    int err = 0, ndim;
    int64_t dim[LA_MAX_DIMS];
    la_tensor *a = NULL, *b = NULL;
    char entry[32];
    const bool ints = whole(c, 0) && whole(c, 1) && strcmp(c->op->name, "div") != 0 && strcmp(c->op->name, "pow") != 0 &&
                      (!c->in[0] || c->in[0]->dtype != LA_F32) && (!c->in[1] || c->in[1]->dtype != LA_F32);
    const la_dtype dtype = ints ? LA_I32 : LA_F32;

    LA_TRY(operand(&a, c, 0, dtype));
    LA_TRY(operand(&b, c, 1, dtype));
    LA_TRY(la__broadcast(&ndim, dim, a, b, c->op->name));
    LA_TRY(la__out(c, 0, dtype, ndim, dim));
    snprintf(entry, sizeof entry, "%s%s", c->op->name, ints ? "_int" : "");
    LA_TRY(la__walk_binary(c->out[0], "arithmetic", entry, a, b));
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    return err;
}

/* g * df/d(operand k), summed down to that operand's shape. */
static int slope(la_call *c, la_tensor *g, int k)
{
    int err = 0;
    la_tensor *a = NULL, *b = NULL, *whole_slope = NULL;
    la_walk w;
    char entry[32];

    LA_TRY(operand(&a, c, 0, LA_F32));
    LA_TRY(operand(&b, c, 1, LA_F32));
    LA_TRY(la__like(&whole_slope, g));
    la__walk_plan(&w, g->ndim, g->dim, 2, (la_tensor *[]){ a, b });
    snprintf(entry, sizeof entry, "%s_bwd_%c", c->op->name, "ab"[k]);
    if (la_tensor_numel(g) > 0)
        LA_TRY(la__launch(c->dev,
                          &(la_launch){ .program = "arithmetic", .entry = entry, .global = { la__walk_rows(&w) },
                                        .bytes = 16.0 * (double)la_tensor_numel(g) },
                          (la_karg[]){ LA_T(whole_slope), LA_T(g), LA_T(a), LA_T(b), LA_STRUCT(w), LA_INT(la__walk_rows(&w)) }, 6));
    LA_TRY(la__sum_to(&c->grad[k], whole_slope, c->in[k]));
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    la_tensor_release(&whole_slope);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    for (int k = 0; k < 2; k++)
        if (la__wants(c, k))
            LA_TRY(slope(c, g[0], k));
done:
    return err;
}

/* add and sub need no kernel for their slopes: g, and g or -g. */
static int backward_linear(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *minus = NULL;
    if (la__wants(c, 0))
        LA_TRY(la__sum_to(&c->grad[0], g[0], c->in[0]));
    if (la__wants(c, 1) && strcmp(c->op->name, "add") == 0) {
        LA_TRY(la__sum_to(&c->grad[1], g[0], c->in[1]));
    } else if (la__wants(c, 1)) {
        LA_TRY(la__run(&minus, "neg", 1, (la_tensor *[]){ g[0] }, NULL));
        LA_TRY(la__sum_to(&c->grad[1], minus, c->in[1]));
    }
done:
    la_tensor_release(&minus);
    return err;
}

#define ARITHMETIC(op, text, line, back)                                                                                          \
    const la_op la_op_##op = { .name = #op, .brief = text, .example = line, .param = params, .forward = forward, .backward = back };

ARITHMETIC(add, "Sum, a + b.", "local c = a + 1", backward_linear)
ARITHMETIC(sub, "Difference, a - b.", "local c = a - b", backward_linear)
ARITHMETIC(mul, "Product of elements, a * b.", "local c = 2 * a", backward)
ARITHMETIC(div, "Quotient, a / b, in float32.", "local c = a / b", backward)
ARITHMETIC(pow, "Power, a ^ b, in float32.", "local c = a ^ 2", backward)
ARITHMETIC(maximum, "The larger of a and b; NaN in a stays. Equal operands share the gradient.", "local c = la.maximum(a, 0)", backward)
ARITHMETIC(minimum, "The smaller of a and b; NaN in a stays. Equal operands share the gradient.", "local c = la.minimum(a, b)", backward)
