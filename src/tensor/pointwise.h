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

/* How many of n elements one work-item takes: one on a GPU; on a CPU a run for the vectors of its loop, short enough
 * that there are runs for every core. It depends on n and the kind of device alone. */
int64_t la__pointwise_chunk(const la_device *dev, int64_t n);

/* Plans the walk over a shape with n operands broadcast to it. Neighbouring dimensions that are contiguous in all
 * operands are merged and those of one element dropped: ndim == 1 then means that each operand has one step. */
void la__pointwise_plan(la_pointwise *p, int ndim, const int64_t *dim, int n, la_tensor *const *operand);

/* Runs kernel `entry` of `program` on out[..] = f(operand[0][..], ...): n operands, at most three, each broadcast to
 * the shape of out, which is dense. The kernel's arguments are out, the operands, the plan, and `extra` others, at
 * most 4. */
int la__pointwise_with(la_tensor *out, const char *program, const char *entry, int n, la_tensor *const *operand,
                       int extra, const la_karg *args);

/* The same without others. */
int la__pointwise(la_tensor *out, const char *program, const char *entry, int n, la_tensor *const *operand);

#endif
