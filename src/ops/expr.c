/* SPDX-License-Identifier: MIT
 *
 * expr.c -- the nodes of an expression: made once each, folded and simplified. A rule is taken only where it holds for
 * every number, infinite ones and NaN included; the sign of a zero is not kept.
 */
#include "ops/expr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void la__expr_free(la_expr *e)
{
    free(e->text);
    free(e->node);
    memset(e, 0, sizeof *e);
}

static bool same_value(double x, double y)
{
    return memcmp(&x, &y, sizeof x) == 0;
}

/* The node with these fields, an old one if there is one. */
static int intern(la_expr *e, la_expr_op op, int a, int b, int c, double value)
{
    for (int i = 1; i < e->count; i++) {
        const la_expr_node *n = &e->node[i];
        if (n->op == op && n->a == a && n->b == b && n->c == c && same_value(n->value, value))
            return i;
    }
    if (e->count == LA_EXPR_NODES)
        return la_fail(LA_EARG, "fuse: the expression has more than %d parts", LA_EXPR_NODES);
    if (e->count == e->room) {
        const int room = e->room ? 2 * e->room : 32;
        la_expr_node *node = realloc(e->node, (size_t)room * sizeof *node);
        if (!node)
            return la_fail(LA_ENOMEM, "fuse: out of memory for an expression of %d parts", room);
        e->node = node;
        e->room = room;
        if (e->count == 0)
            e->node[e->count++] = (la_expr_node){ LA_E_NONE, 0, 0, 0, 0 };
    }
    e->node[e->count] = (la_expr_node){ op, a, b, c, value };
    return e->count++;
}

int la__expr_const(la_expr *e, double value)
{
    return intern(e, LA_E_CONST, 0, 0, 0, value);
}

static bool is_const(const la_expr *e, int i)
{
    return e->node[i].op == LA_E_CONST;
}

static bool is_value(const la_expr *e, int i, double value)
{
    return is_const(e, i) && e->node[i].value == value;
}

/* The function of numbers, as the kernels of the op with its name compute it. */
static double fold(la_expr_op op, double x, double y)
{
    switch (op) {
    case LA_E_NEG: return -x;
    case LA_E_ABS: return fabs(x);
    case LA_E_SIGN: return x > 0 ? 1 : x < 0 ? -1 : x;
    case LA_E_FLOOR: return floor(x);
    case LA_E_EXP: return exp(x);
    case LA_E_LOG: return log(x);
    case LA_E_SQRT: return sqrt(x);
    case LA_E_RSQRT: return 1 / sqrt(x);
    case LA_E_SIN: return sin(x);
    case LA_E_COS: return cos(x);
    case LA_E_TANH: return tanh(x);
    case LA_E_SIGMOID: return 1 / (1 + exp(-x));
    case LA_E_ADD: return x + y;
    case LA_E_SUB: return x - y;
    case LA_E_MUL: return x * y;
    case LA_E_DIV: return x / y;
    case LA_E_POW: return pow(x, y);
    case LA_E_MAX: return x > y || isnan(x) ? x : y;
    case LA_E_MIN: return x < y || isnan(x) ? x : y;
    case LA_E_LT: return x < y;
    case LA_E_LE: return x <= y;
    case LA_E_GT: return x > y;
    case LA_E_GE: return x >= y;
    case LA_E_EQ: return x == y;
    case LA_E_NE: return x != y;
    default: return NAN;
    }
}

/* x to a small whole power, by products. */
static int whole_power(la_expr *e, int x, int power)
{
    if (power < 0)
        return la__expr_make(e, LA_E_DIV, la__expr_const(e, 1), whole_power(e, x, -power), 0);
    if (power == 0)
        return la__expr_const(e, 1);
    const int half = power > 1 ? whole_power(e, x, power / 2) : 0;
    const int even = power > 1 ? la__expr_make(e, LA_E_MUL, half, half, 0) : 0;
    return power == 1 ? x : power % 2 == 0 ? even : la__expr_make(e, LA_E_MUL, even, x, 0);
}

/* Rules for sums, with at most one constant among a and b. 0: none applies. */
static int simplify_sum(la_expr *e, la_expr_op op, int a, int b)
{
    const la_expr_node A = e->node[a], B = e->node[b];
    if (is_value(e, b, 0))
        return a;
    if (is_value(e, a, 0))
        return op == LA_E_ADD ? b : la__expr_make(e, LA_E_NEG, b, 0, 0);
    if (B.op == LA_E_NEG)
        return la__expr_make(e, op == LA_E_ADD ? LA_E_SUB : LA_E_ADD, a, B.a, 0);
    if (A.op == LA_E_NEG && op == LA_E_ADD)
        return la__expr_make(e, LA_E_SUB, b, A.a, 0);
    if (a == b && op == LA_E_ADD)
        return la__expr_make(e, LA_E_MUL, la__expr_const(e, 2), a, 0);
    return 0;
}

/* For products and quotients; a constant factor of a product is its a. */
static int simplify_product(la_expr *e, la_expr_op op, int a, int b)
{
    const la_expr_node A = e->node[a], B = e->node[b];
    if (is_value(e, b, 1))
        return a;
    if (op == LA_E_MUL && is_value(e, a, 1))
        return b;
    if (op == LA_E_MUL && is_value(e, a, -1))
        return la__expr_make(e, LA_E_NEG, b, 0, 0);
    if (op == LA_E_MUL && A.op == LA_E_CONST && B.op == LA_E_NEG)
        return la__expr_make(e, LA_E_MUL, la__expr_const(e, -A.value), B.a, 0);
    if (A.op == LA_E_NEG && B.op == LA_E_NEG)
        return la__expr_make(e, op, A.a, B.a, 0);
    if (A.op == LA_E_NEG && B.op != LA_E_CONST)
        return la__expr_make(e, LA_E_NEG, la__expr_make(e, op, A.a, b, 0), 0, 0);
    if (B.op == LA_E_NEG && A.op != LA_E_CONST)
        return la__expr_make(e, LA_E_NEG, la__expr_make(e, op, a, B.a, 0), 0, 0);
    return 0;
}

static int simplify(la_expr *e, la_expr_op op, int a, int b, int c)
{
    const la_expr_node A = e->node[a], B = e->node[b];
    enum { LARGEST_POWER = 4 };
    switch (op) {
    case LA_E_NEG:
        if (A.op == LA_E_SUB)
            return la__expr_make(e, LA_E_SUB, A.b, A.a, 0);
        return A.op == LA_E_NEG ? A.a : 0;
    case LA_E_ABS: return A.op == LA_E_NEG ? la__expr_make(e, LA_E_ABS, A.a, 0, 0) : A.op == LA_E_ABS ? a : 0;
    case LA_E_ADD:
    case LA_E_SUB: return simplify_sum(e, op, a, b);
    case LA_E_MUL:
    case LA_E_DIV: return simplify_product(e, op, a, b);
    case LA_E_POW:
        if (B.op == LA_E_CONST && B.value == floor(B.value) && fabs(B.value) <= LARGEST_POWER)
            return whole_power(e, a, (int)B.value);
        return 0;
    case LA_E_MAX:
    case LA_E_MIN: return a == b ? a : 0;
    case LA_E_WHERE:
        if (A.op == LA_E_CONST)
            return A.value != 0 ? b : c;
        if (b == c)
            return b;
        return la__expr_compares(A.op)
                   ? 0
                   : la__expr_make(e, op, la__expr_make(e, LA_E_NE, a, la__expr_const(e, 0), 0), b, c);
    default: return 0;
    }
}

int la__expr_make(la_expr *e, la_expr_op op, int a, int b, int c)
{
    if (a < 0 || b < 0 || c < 0)
        return a < 0 ? a : b < 0 ? b : c;
    if (op == LA_E_OPERAND || op == LA_E_GRADIENT)
        return intern(e, op, a, b, c, 0);
    if (op != LA_E_WHERE && is_const(e, a) && (b == 0 || is_const(e, b)))
        return la__expr_const(e, fold(op, e->node[a].value, e->node[b].value));
    if ((op == LA_E_ADD || op == LA_E_MUL) && (is_const(e, b) || (a > b && !is_const(e, a)))) {
        const int swap = a;
        a = b;
        b = swap;
    }
    const int simple = simplify(e, op, a, b, c);
    return simple != 0 ? simple : intern(e, op, a, b, c, 0);
}
