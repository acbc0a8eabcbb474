/* SPDX-License-Identifier: MIT
 *
 * arithmetic.c -- add, sub, mul, div, pow, maximum, minimum: operands are tensors or numbers, shapes broadcast as in
 * NumPy. Two integer operands give int32 (div and pow give float32); anything with a float32 gives float32.
 */
#include <stdio.h>
#include <string.h>

#include "ops/operand.h"
#include "tensor/pointwise.h"

static int forward(la_call *c)
{
    const bool ints = strcmp(c->op->name, "div") != 0 && strcmp(c->op->name, "pow") != 0 && la__operands_whole(c, 0);
    return la__binary_forward(c, "arithmetic", ints, ints ? LA_I32 : LA_F32);
}

/* The gradient of operand k before it is summed down: a kernel's result. */
static int slope(la_call *c, la_tensor *g, int k)
{
    int err = 0;
    la_tensor *a = NULL, *b = NULL, *wide = NULL;
    char entry[32];

    LA_TRY(la__operand(&a, c, 0, 0, LA_F32));
    LA_TRY(la__operand(&b, c, 1, 1, LA_F32));
    LA_TRY(la__like(&wide, g));
    snprintf(entry, sizeof entry, "%s_bwd_%c", c->op->name, k == 0 ? 'a' : 'b');
    LA_TRY(la__pointwise(wide, "arithmetic", entry, 3, (la_tensor *[]){ g, a, b }));
    LA_TRY(la__sum_to(&c->grad[k], wide, c->in[k]));
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    la_tensor_release(&wide);
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

/* g times or divided by the other operand, by the kernels of the forward pass. */
static int slope_by(la_call *c, la_tensor *g, int k, const char *entry)
{
    int err = 0;
    la_tensor *other = NULL, *wide = NULL;
    LA_TRY(la__operand(&other, c, 1 - k, 1 - k, LA_F32));
    LA_TRY(la__like(&wide, g));
    LA_TRY(la__pointwise(wide, "arithmetic", entry, 2, (la_tensor *[]){ g, other }));
    LA_TRY(la__sum_to(&c->grad[k], wide, c->in[k]));
done:
    la_tensor_release(&other);
    la_tensor_release(&wide);
    return err;
}

static int backward_mul(la_call *c, la_tensor *const *g)
{
    int err = 0;
    for (int k = 0; k < 2; k++)
        if (la__wants(c, k))
            LA_TRY(slope_by(c, g[0], k, "mul_fwd"));
done:
    return err;
}

static int backward_div(la_call *c, la_tensor *const *g)
{
    int err = 0;
    if (la__wants(c, 0))
        LA_TRY(slope_by(c, g[0], 0, "div_fwd"));
    if (la__wants(c, 1))
        LA_TRY(slope(c, g[0], 1));
done:
    return err;
}

static int backward_add(la_call *c, la_tensor *const *g)
{
    int err = 0;
    for (int k = 0; k < 2; k++)
        if (la__wants(c, k))
            LA_TRY(la__sum_to(&c->grad[k], g[0], c->in[k]));
done:
    return err;
}

/* The sum comes first: there may be less to negate then. */
static int backward_sub(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *sum = NULL;
    if (la__wants(c, 0))
        LA_TRY(la__sum_to(&c->grad[0], g[0], c->in[0]));
    if (la__wants(c, 1)) {
        LA_TRY(la__sum_to(&sum, g[0], c->in[1]));
        LA_TRY(la__run(&c->grad[1], "neg", 1, &sum, NULL));
    }
done:
    la_tensor_release(&sum);
    return err;
}

#define ARITHMETIC(op, text, line, back, shapes)           \
    const la_op la_op_##op = { .name = #op,                \
                               .brief = text,              \
                               .example = line,            \
                               .param = la__binary_params, \
                               .forward = forward,         \
                               .backward = back,           \
                               .shape_only = shapes };

ARITHMETIC(add, "Sum, a + b.", "local c = a + 1", backward_add, 3)
ARITHMETIC(sub, "Difference, a - b.", "local c = a - b", backward_sub, 3)
ARITHMETIC(mul, "Product of elements, a * b.", "local c = 2 * a", backward_mul, 0)
ARITHMETIC(div, "Quotient, a / b, in float32.", "local c = a / b", backward_div, 0)
ARITHMETIC(pow, "Power, a ^ b, in float32.", "local c = a ^ 2", backward, 0)
ARITHMETIC(maximum, "The larger of a and b; NaN stays. Equal operands share the gradient.",
           "local c = la.maximum(a, 0)", backward, 0)
ARITHMETIC(minimum, "The smaller of a and b; NaN stays. Equal operands share the gradient.",
           "local c = la.minimum(a, b)", backward, 0)
