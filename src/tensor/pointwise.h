/* SPDX-License-Identifier: MIT
 *
 * pointwise.h -- how kernels run over broadcast, strided operands element by element.
 */
#ifndef LA_POINTWISE_H
#define LA_POINTWISE_H

#include "tensor/tensor.h"

enum { LA_POINTWISE_OPERANDS = 3 };

/* As `pointwise` in cl/common.clh, whose comment says what it means. */
typedef struct la_pointwise {
    int32_t ndim;
    int32_t dim[LA_MAX_DIMS];
    int32_t stride[LA_POINTWISE_OPERANDS][LA_MAX_DIMS];
    int32_t offset[LA_POINTWISE_OPERANDS];
    int32_t chunk, segments, items;
} la_pointwise;

/* Plans the walk over a shape with n operands broadcast to it. Neighbouring dimensions that are contiguous in all
 * operands are merged and those of one element dropped: ndim == 1 then means that each operand has one step. */
void la__pointwise_plan(la_pointwise *p, int ndim, const int64_t *dim, int n, la_tensor *const *operand);

/* Runs kernel `entry` of `program` on out[..] = f(operand[0][..], ...): n operands, at most three, each broadcast to
 * the shape of out, which is dense. The kernel's arguments are out, the operands and the plan. */
int la__pointwise(la_tensor *out, const char *program, const char *entry, int n, la_tensor *const *operand);

#endif
