/* SPDX-License-Identifier: MIT
 *
 * expr.h -- expressions of pointwise functions: a text becomes a graph of nodes in which equal subexpressions are one
 * node, constants are folded, and the derivatives by every operand are further nodes.
 */
#ifndef LA_EXPR_H
#define LA_EXPR_H

#include "util/util.h"

enum { LA_EXPR_OPERANDS = 16, LA_EXPR_NAME = 32, LA_EXPR_NODES = 2048, LA_EXPR_DEPTH = 100 };

typedef enum la_expr_op {
    LA_E_NONE,
    LA_E_CONST,    /* value */
    LA_E_OPERAND,  /* number a of the call's operands */
    LA_E_GRADIENT, /* the gradient that comes in from the result */
    LA_E_NEG,
    LA_E_ABS,
    LA_E_SIGN,
    LA_E_FLOOR,
    LA_E_EXP,
    LA_E_LOG,
    LA_E_SQRT,
    LA_E_RSQRT,
    LA_E_SIN,
    LA_E_COS,
    LA_E_TANH,
    LA_E_SIGMOID,
    LA_E_ADD,
    LA_E_SUB,
    LA_E_MUL,
    LA_E_DIV,
    LA_E_POW,
    LA_E_MAX,
    LA_E_MIN,
    LA_E_LT, /* the comparisons, LA_E_LT .. LA_E_NE, are 0 or 1 */
    LA_E_LE,
    LA_E_GT,
    LA_E_GE,
    LA_E_EQ,
    LA_E_NE,
    LA_E_WHERE /* a comparison ? b : c */
} la_expr_op;

/* Operands are numbers of nodes made earlier; 0 where there is none. */
typedef struct la_expr_node {
    la_expr_op op;
    int a, b, c;
    double value;
} la_expr_node;

typedef struct la_expr {
    char *text;
    int operands;
    char name[LA_EXPR_OPERANDS][LA_EXPR_NAME];
    int count, room;
    la_expr_node *node; /* node[0] is LA_E_NONE */
    int root;
    int slope[LA_EXPR_OPERANDS]; /* d(result)/d(operand) times the incoming gradient; 0: nothing passes */
} la_expr;

/* Reads `text`. Its operands are the n names given or, with n == 0, the names in it in order of first appearance.
 * Messages start with "fuse: " and name the column. Release with la__expr_free, also after a failure. */
int la__expr_parse(la_expr *e, const char *text, int n, const char *const *names);
void la__expr_free(la_expr *e);

/* A node, simplified: what comes back may be another one that means the same. Negative after a failure, and where an
 * operand is negative, so that calls nest. */
int la__expr_make(la_expr *e, la_expr_op op, int a, int b, int c);
int la__expr_const(la_expr *e, double value);

/* Fills slope[]: the chain rule from the root down. What flows, at kinks and for NaN, is what the ops of the same names
 * let through. */
int la__expr_differentiate(la_expr *e);

static inline bool la__expr_compares(la_expr_op op)
{
    return op >= LA_E_LT && op <= LA_E_NE;
}

#endif
