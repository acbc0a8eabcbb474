/* SPDX-License-Identifier: MIT
 *
 * compare.c -- eq, ne, lt, le, gt, ge: 0 or 1 in uint8, with broadcasting; and where.
 */
#include "ops/operand.h"
#include "tensor/pointwise.h"

static int forward(la_call *c)
{
    return la__binary_forward(c, "compare", la__operands_whole(c, 0), LA_U8);
}

#define COMPARISON(op, text, line)                                                                  \
    const la_op la_op_##op = {                                                                      \
        .name = #op, .brief = text, .example = line, .param = la__binary_params, .forward = forward \
    };

COMPARISON(eq, "1 where a equals b, else 0, in uint8.", "local m = la.eq(a, b)")
COMPARISON(ne, "1 where a differs from b, else 0, in uint8.", "local m = la.ne(a, b)")
COMPARISON(lt, "1 where a < b, else 0, in uint8.", "local m = la.lt(a, 0.5)")
COMPARISON(le, "1 where a <= b, else 0, in uint8.", "local m = la.le(a, b)")
COMPARISON(gt, "1 where a > b, else 0, in uint8.", "local m = la.gt(a, 0)")
COMPARISON(ge, "1 where a >= b, else 0, in uint8.", "local m = la.ge(a, b)")

/* ---- where ---- */

static const la_param where_params[] = {
    { LA_P_TENSOR, "condition", NULL, "any shape and type; not 0 means yes", NULL },
    { LA_P_OPERAND, "a", NULL, "values where the condition holds: a tensor that broadcasts with it, or a number",
      NULL },
    { LA_P_OPERAND, "b", NULL, "values elsewhere", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* The condition as bytes: not by conversion, which makes 0 of 0.5 and of -1. */
static int mask(la_tensor **out, la_call *c)
{
    if (c->in[0]->dtype == LA_U8) {
        *out = la_tensor_retain(c->in[0]);
        return 0;
    }
    return la__run(out, "ne", 2, (la_tensor *[]){ c->in[0], NULL }, "b=0");
}

/* out = m ? a : b in the shape of all three together. */
static int choose(la_tensor **out, la_tensor *m, la_tensor *a, la_tensor *b)
{
    int err = 0, ndim;
    int64_t dim[LA_MAX_DIMS];
    la_tensor ab = *a; /* only a shape: that of a and b together */
    LA_TRY(la__broadcast(&ab.ndim, ab.dim, a, b, "where"));
    LA_TRY(la__broadcast(&ndim, dim, m, &ab, "where"));
    LA_TRY(la_tensor_new(out, m->storage->dev, a->dtype, ndim, dim));
    LA_TRY(la__pointwise(*out, "compare", "where_fwd", 3, (la_tensor *[]){ m, a, b }));
done:
    return err;
}

static int where_forward(la_call *c)
{
    int err = 0;
    la_tensor *a = NULL, *b = NULL, *m = NULL;
    const la_dtype dtype = la__operands_whole(c, 1) ? LA_I32 : LA_F32;

    LA_TRY(mask(&m, c));
    LA_TRY(la__operand(&a, c, 1, 1, dtype));
    LA_TRY(la__operand(&b, c, 2, 2, dtype));
    LA_TRY(choose(&c->out[0], m, a, b));
    c->saved[0] = la_tensor_retain(m);
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    la_tensor_release(&m);
    return err;
}

static int where_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *zero = NULL, *side = NULL;
    LA_TRY(la__full(&zero, c->dev, 0, NULL, 0));
    for (int k = 1; k <= 2; k++) {
        if (!la__wants(c, k))
            continue;
        LA_TRY(choose(&side, c->saved[0], k == 1 ? g[0] : zero, k == 1 ? zero : g[0]));
        LA_TRY(la__sum_to(&c->grad[k], side, c->in[k]));
        la_tensor_release(&side);
    }
done:
    la_tensor_release(&zero);
    la_tensor_release(&side);
    return err;
}

const la_op la_op_where = {
    .name = "where",
    .brief = "a where the condition holds, b elsewhere; all three broadcast.",
    .example = "local y = la.where(la.gt(x, 0), x, 0.1 * x)",
    .param = where_params,
    .forward = where_forward,
    .backward = where_backward,
};
