/* SPDX-License-Identifier: MIT
 *
 * fuse.h -- the kernel of a fused expression: what its text depends on, and the text.
 *
 * A kernel walks over the dense result, seen as (outer dimensions, rows, length). A work-item takes a block of rows and
 * of each a segment. It computes some nodes of the expression: the root, or slopes; the slope of an operand that was
 * broadcast is summed over the block, and the partial sums are added up afterwards.
 */
#ifndef LA_FUSE_H
#define LA_FUSE_H

#include "ops/expr.h"

enum {
    LA_FUSE_SLOTS = LA_EXPR_OPERANDS + 1,
    LA_FUSE_GRADIENT = LA_EXPR_OPERANDS,
    LA_FUSE_OUTER = 4,
    LA_FUSE_CYCLE = 512
};

/* How an operand is read: not at all, a number, one element for the whole row, elements side by side, the same few over
 * and over, elements apart. */
typedef enum la_fuse_access { LA_A_NONE, LA_A_NUMBER, LA_A_ONE, LA_A_DENSE, LA_A_CYCLE, LA_A_STEPS } la_fuse_access;

/* How a result is written: each element, or summed over a block's rows (one for each column), over the part of each
 * row, or over the whole block. */
typedef enum la_fuse_sum { LA_S_NONE, LA_S_EACH, LA_S_ROWS, LA_S_LENGTH, LA_S_BLOCK } la_fuse_sum;

/* All that the text depends on besides the expression; compared byte by byte. */
typedef struct la_fuse_form {
    uint8_t backward;              /* slopes, else the root as result 0 */
    uint8_t single;                /* work-groups of one work-item */
    uint8_t vectors;               /* loops over float16 */
    uint8_t access[LA_FUSE_SLOTS]; /* la_fuse_access of the operands, and of the gradient */
    uint8_t dtype[LA_FUSE_SLOTS];  /* la_dtype */
    uint8_t sum[LA_EXPR_OPERANDS]; /* la_fuse_sum of results */
} la_fuse_form;

/* The node that is result k. */
static inline int la__fuse_node(const la_expr *e, const la_fuse_form *form, int k)
{
    return form->sum[k] == LA_S_NONE ? 0 : form->backward ? e->slope[k] : e->root;
}

/* Marks what is needed for the results. */
void la__fuse_needed(bool *needed, const la_expr *e, const la_fuse_form *form);

/* The text of kernel `fuse_fwd` or `fuse_bwd`, malloc'ed. Its arguments are the results, the tensors in order of their
 * slots, the plan (la_fuse_plan), and the numbers. */
int la__fuse_source(char **out, const la_expr *e, const la_fuse_form *form);

/* Ints of a plan for n tensors: items, segments, blocks, block, rows, chunk, length (at most LA_FUSE_CYCLE where there
 * is a cycle), cycle, number of outer dimensions, these (LA_FUSE_OUTER of them), then for each tensor offset, step,
 * row, outer strides. */
enum { LA_FUSE_HEAD = 9 };
#define LA_FUSE_PLAN(n) (LA_FUSE_HEAD + LA_FUSE_OUTER + (n) * (3 + LA_FUSE_OUTER))

#endif
