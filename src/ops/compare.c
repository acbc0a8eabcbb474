/* SPDX-License-Identifier: MIT
 *
 * compare.c -- eq, ne, lt, le, gt, ge: 0 or 1 in uint8, with broadcasting; and where.
 */
#include <stdio.h>

#include "ops/walk.h"

static const la_param params[] = {
    { LA_P_OPERAND, "a", NULL, "first operand: a tensor of any shape, or a number", NULL },
    { LA_P_OPERAND, "b", NULL, "second operand: a tensor whose shape broadcasts with a's, or a number", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static bool is_float(const la_call *c, int i)
{
    return c->in[i] ? c->in[i]->dtype == LA_F32 : c->arg[i].number != (double)(int32_t)c->arg[i].number;
}

static int operand(la_tensor **out, const la_call *c, int slot, int arg, la_dtype dtype)
{
    int err = 0;
    if (c->in[slot])
        return la__convert(out, c->in[slot], dtype);
    LA_TRY(la_tensor_new(out, c->dev, dtype, 0, NULL));
    LA_TRY(la__fill(*out, c->arg[arg].number));
done:
    return err;
}

static int forward(la_call *c)
{
    int err = 0, ndim;
    int64_t dim[LA_MAX_DIMS];
    la_tensor *a = NULL, *b = NULL;
    la_walk w;
    char entry[16];
    const la_dtype dtype = is_float(c, 0) || is_float(c, 1) ? LA_F32 : LA_I32;

    LA_TRY(operand(&a, c, 0, 0, dtype));
    LA_TRY(operand(&b, c, 1, 1, dtype));
    LA_TRY(la__broadcast(&ndim, dim, a, b, c->op->name));
    LA_TRY(la__out(c, 0, LA_U8, ndim, dim));
    if (la_tensor_numel(c->out[0]) == 0)
        goto done;
    la__walk_plan(&w, ndim, dim, 2, (la_tensor *[]){ a, b });
    snprintf(entry, sizeof entry, "%s%s", c->op->name, dtype == LA_I32 ? "_int" : "");
    LA_TRY(la__launch(c->dev, &(la_launch){ .program = "compare", .entry = entry, .global = { la__walk_rows(&w) } },
                      (la_karg[]){ LA_T(c->out[0]), LA_T(a), LA_T(b), LA_STRUCT(w), LA_INT(la__walk_rows(&w)) }, 5));
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    return err;
}

#define COMPARISON(op, text, line) \
    const la_op la_op_##op = { .name = #op, .brief = text, .example = line, .param = params, .forward = forward };

COMPARISON(eq, "1 where a equals b, else 0, in uint8.", "local m = la.eq(a, b)")
COMPARISON(ne, "1 where a differs from b, else 0, in uint8.", "local m = la.ne(a, b)")
COMPARISON(lt, "1 where a < b, else 0, in uint8.", "local m = la.lt(a, 0.5)")
COMPARISON(le, "1 where a <= b, else 0, in uint8.", "local m = la.le(a, b)")
COMPARISON(gt, "1 where a > b, else 0, in uint8.", "local m = la.gt(a, 0)")
COMPARISON(ge, "1 where a >= b, else 0, in uint8.", "local m = la.ge(a, b)")

/* ---- where ---- */

static const la_param where_params[] = {
    { LA_P_TENSOR, "condition", NULL, "uint8, any shape; not 0 means yes", NULL },
    { LA_P_OPERAND, "a", NULL, "values where the condition holds: float32 tensor that broadcasts, or a number", NULL },
    { LA_P_OPERAND, "b", NULL, "values elsewhere", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int where_forward(la_call *c)
{
    int err = 0, ndim, ndim_ab;
    int64_t dim[LA_MAX_DIMS], dim_ab[LA_MAX_DIMS];
    la_tensor *a = NULL, *b = NULL, *shape = NULL, *m = NULL;
    la_walk w;

    LA_TRY(la__convert(&m, c->in[0], LA_U8));
    LA_TRY(operand(&a, c, 1, 1, LA_F32));
    LA_TRY(operand(&b, c, 2, 2, LA_F32));
    LA_TRY(la__broadcast(&ndim_ab, dim_ab, a, b, "where"));
    LA_TRY(la_tensor_new(&shape, c->dev, LA_U8, ndim_ab, dim_ab));
    LA_TRY(la__broadcast(&ndim, dim, m, shape, "where"));
    LA_TRY(la__out(c, 0, LA_F32, ndim, dim));
    if (la_tensor_numel(c->out[0]) == 0)
        goto done;
    la__walk_plan(&w, ndim, dim, 3, (la_tensor *[]){ m, a, b });
    LA_TRY(la__launch(c->dev, &(la_launch){ .program = "compare", .entry = "where_fwd", .global = { la__walk_rows(&w) } },
                      (la_karg[]){ LA_T(c->out[0]), LA_T(m), LA_T(a), LA_T(b), LA_STRUCT(w), LA_INT(la__walk_rows(&w)) }, 6));
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    la_tensor_release(&m);
    la_tensor_release(&shape);
    return err;
}

static int where_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *m = NULL, *side = NULL;
    la_walk w;
    LA_TRY(la__convert(&m, c->in[0], LA_U8));
    la__walk_plan(&w, g[0]->ndim, g[0]->dim, 1, (la_tensor *[]){ m });
    for (int k = 1; k <= 2; k++) {
        if (!la__wants(c, k))
            continue;
        LA_TRY(la__like(&side, g[0]));
        if (la_tensor_numel(g[0]) > 0)
            LA_TRY(la__launch(c->dev, &(la_launch){ .program = "compare", .entry = "where_bwd", .global = { la__walk_rows(&w) } },
                              (la_karg[]){ LA_T(side), LA_T(m), LA_T(g[0]), LA_STRUCT(w), LA_INT(la__walk_rows(&w)), LA_INT(k == 1) },
                              6));
        LA_TRY(la__sum_to(&c->grad[k], side, c->in[k]));
        la_tensor_release(&side);
    }
done:
    la_tensor_release(&m);
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
