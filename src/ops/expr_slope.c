/* SPDX-License-Identifier: MIT
 *
 * expr_slope.c -- derivatives, by the chain rule from the result to the operands: every node hands the gradient that it
 * has gathered to the nodes that it is made of. Each rule is the backward of the op of the same name (unary.cl,
 * arithmetic.cl, compare.cl).
 */
#include <stdlib.h>

#include "ops/expr.h"

/* passes[i]: an operand's gradient flows through node i; into[i]: what has been gathered for it, 0 for nothing. */
typedef struct sweep {
    la_expr *e;
    bool *passes;
    int *into;
} sweep;

static int make(sweep *s, la_expr_op op, int a, int b)
{
    return la__expr_make(s->e, op, a, b, 0);
}

static int where(sweep *s, int c, int a, int b)
{
    return la__expr_make(s->e, LA_E_WHERE, c, a, b);
}

/* into[i] += g */
static int gather(sweep *s, int i, int g)
{
    if (g < 0)
        return g;
    if (s->into[i] > 0)
        g = make(s, LA_E_ADD, s->into[i], g);
    s->into[i] = g;
    return g < 0 ? g : 0;
}

/* d by x of f(x) = n, times g */
static int slope_unary(sweep *s, la_expr_op op, int n, int x, int g)
{
    const int zero = la__expr_const(s->e, 0), one = la__expr_const(s->e, 1), half = la__expr_const(s->e, 0.5);
    switch (op) {
    case LA_E_NEG: return make(s, LA_E_NEG, g, 0);
    case LA_E_ABS:
        return where(s, make(s, LA_E_GT, x, zero), g,
                     where(s, make(s, LA_E_LT, x, zero), make(s, LA_E_NEG, g, 0), make(s, LA_E_MUL, x, g)));
    case LA_E_EXP: return make(s, LA_E_MUL, g, n);
    case LA_E_LOG: return make(s, LA_E_DIV, g, x);
    case LA_E_SQRT: return make(s, LA_E_DIV, make(s, LA_E_MUL, half, g), n);
    case LA_E_RSQRT:
        return make(s, LA_E_NEG, make(s, LA_E_DIV, make(s, LA_E_MUL, make(s, LA_E_MUL, half, g), n), x), 0);
    case LA_E_SIN: return make(s, LA_E_MUL, g, make(s, LA_E_COS, x, 0));
    case LA_E_COS: return make(s, LA_E_NEG, make(s, LA_E_MUL, g, make(s, LA_E_SIN, x, 0)), 0);
    case LA_E_TANH: return make(s, LA_E_MUL, g, make(s, LA_E_SUB, one, make(s, LA_E_MUL, n, n)));
    case LA_E_SIGMOID: return make(s, LA_E_MUL, make(s, LA_E_MUL, g, n), make(s, LA_E_SUB, one, n));
    default: return 0;
    }
}

/* Equal operands of min and max share the gradient; NaN, which is neither, passes it on. `behind`: x is not the one. */
static int slope_extreme(sweep *s, la_expr_op behind, int x, int other, int g)
{
    const int zero = la__expr_const(s->e, 0), half = make(s, LA_E_MUL, la__expr_const(s->e, 0.5), g);
    return where(s, make(s, behind, x, other), zero, where(s, make(s, LA_E_EQ, x, other), half, g));
}

/* a ^ b = n */
static int slope_power(sweep *s, int n, int a, int b, bool by_base, int g)
{
    const int zero = la__expr_const(s->e, 0), one = la__expr_const(s->e, 1);
    if (by_base)
        return where(s, make(s, LA_E_EQ, b, zero), zero,
                     make(s, LA_E_MUL, make(s, LA_E_MUL, g, b), make(s, LA_E_POW, a, make(s, LA_E_SUB, b, one))));
    const int slope = make(s, LA_E_MUL, make(s, LA_E_MUL, g, n), make(s, LA_E_LOG, a, 0));
    return where(s, make(s, LA_E_EQ, a, zero), where(s, make(s, LA_E_GE, b, zero), zero, slope), slope);
}

/* d by the first (which = 0) or second operand of n = op(a, b), times g */
static int slope_binary(sweep *s, la_expr_op op, int n, int a, int b, int which, int g)
{
    switch (op) {
    case LA_E_ADD: return g;
    case LA_E_SUB: return which == 0 ? g : make(s, LA_E_NEG, g, 0);
    case LA_E_MUL: return make(s, LA_E_MUL, g, which == 0 ? b : a);
    case LA_E_DIV:
        return which == 0 ? make(s, LA_E_DIV, g, b)
                          : make(s, LA_E_NEG, make(s, LA_E_MUL, make(s, LA_E_DIV, g, b), n), 0);
    case LA_E_POW: return slope_power(s, n, a, b, which == 0, g);
    case LA_E_MAX: return slope_extreme(s, LA_E_LT, which == 0 ? a : b, which == 0 ? b : a, g);
    case LA_E_MIN: return slope_extreme(s, LA_E_GT, which == 0 ? a : b, which == 0 ? b : a, g);
    default: return 0;
    }
}

/* Hands on what node i has gathered. */
static int visit(sweep *s, int i)
{
    int err = 0;
    const la_expr_node n = s->e->node[i]; /* a copy: making nodes moves them */
    const int g = s->into[i], zero = la__expr_const(s->e, 0);

    if (n.op == LA_E_WHERE) {
        if (s->passes[n.b])
            LA_TRY(gather(s, n.b, where(s, n.a, g, zero)));
        if (s->passes[n.c])
            LA_TRY(gather(s, n.c, where(s, n.a, zero, g)));
    } else if (n.b == 0 && s->passes[n.a]) {
        LA_TRY(gather(s, n.a, slope_unary(s, n.op, i, n.a, g)));
    } else {
        if (s->passes[n.a])
            LA_TRY(gather(s, n.a, slope_binary(s, n.op, i, n.a, n.b, 0, g)));
        if (s->passes[n.b])
            LA_TRY(gather(s, n.b, slope_binary(s, n.op, i, n.a, n.b, 1, g)));
    }
done:
    return err;
}

/* Comparisons, sign and floor let nothing through, nor does a condition. */
static bool passes(const sweep *s, int i)
{
    const la_expr_node *n = &s->e->node[i];
    if (n->op == LA_E_OPERAND)
        return true;
    if (n->op < LA_E_NEG || n->op == LA_E_SIGN || n->op == LA_E_FLOOR || la__expr_compares(n->op))
        return false;
    return (n->op != LA_E_WHERE && s->passes[n->a]) || s->passes[n->b] || s->passes[n->c];
}

int la__expr_differentiate(la_expr *e)
{
    int err = 0;
    const int count = e->root + 1; /* nodes made for the slopes come after these */
    sweep s = { e, la__calloc((size_t)count, sizeof(bool)), la__calloc((size_t)count, sizeof(int)) };

    if (!s.passes || !s.into) {
        err = LA_ENOMEM;
        goto done;
    }
    for (int i = 1; i < count; i++)
        s.passes[i] = passes(&s, i);
    LA_TRY(s.into[e->root] = la__expr_make(e, LA_E_GRADIENT, 0, 0, 0));
    for (int i = e->root; i > 0; i--) {
        if (s.into[i] <= 0 || !s.passes[i])
            continue;
        if (e->node[i].op == LA_E_OPERAND)
            e->slope[e->node[i].a] = s.into[i];
        else
            LA_TRY(visit(&s, i));
    }
    err = 0;
done:
    free(s.passes);
    free(s.into);
    return err;
}
