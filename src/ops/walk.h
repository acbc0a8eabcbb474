/* SPDX-License-Identifier: MIT
 *
 * walk.h -- how pointwise kernels run over broadcast, strided operands: by rows of the last dimension.
 */
#ifndef LA_WALK_H
#define LA_WALK_H

#include "ops/op.h"

enum { LA_WALK_OPERANDS = 3 };

/* As `walk` in cl/common.clh. The result is dense. */
typedef struct la_walk {
    int32_t ndim;
    int32_t dim[LA_MAX_DIMS];
    int32_t stride[LA_WALK_OPERANDS][LA_MAX_DIMS];
    int32_t offset[LA_WALK_OPERANDS];
} la_walk;

/* Plans the walk over a dense result of the given shape with n operands broadcast to it. Neighbouring dimensions that are
 * contiguous in all are merged; ndim == 1 then means that each operand is flat (stride 1) or one value (stride 0). */
void la__walk_plan(la_walk *w, int ndim, const int64_t *dim, int n, la_tensor *const *operand);

/* The number of rows, and the length of one. */
size_t la__walk_rows(const la_walk *w);

/* Runs <name>_flat, <name>_flat_a (operand b is one value), <name>_flat_b (operand a is) or <name>_rows, whichever fits, on
 * out = f(a, b). */
int la__walk_binary(la_tensor *out, const char *program, const char *name, la_tensor *a, la_tensor *b);

#endif
