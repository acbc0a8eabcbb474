/* SPDX-License-Identifier: MIT
 *
 * gemm.h -- products of dense matrices, for the ops that are one: matmul, linear, pointwise convolutions.
 */
#ifndef LA_GEMM_H
#define LA_GEMM_H

#include "ops/variant.h"

/* c[z] (m, n) = op(a[z]) op(b[z]) + bias for z < batch, all row-major and dense; op transposes what lies there as (k,
 * m) or (n, k). a_step and b_step are the elements from one matrix of the batch to the next, 0 where all use the same
 * one. */
typedef struct la_gemm {
    la_method method;
    int64_t batch, m, n, k;
    bool ta, tb;
    const la_buffer *a, *b, *bias; /* bias (n) or NULL */
    int64_t a_step, b_step;
    la_buffer *c;
} la_gemm;

int la__gemm(la_device *dev, const la_gemm *g);

/* The form for GPUs, untried (gemm_gpu.c): in local memory, needs work-groups of 256. */
int la__gemm_gpu(la_device *dev, const la_gemm *g);

/* out (n) = the sums of the columns of x (rows, n), always added in the same order. */
int la__column_sum(la_tensor *out, const la_tensor *x, int64_t rows, int64_t n);

#endif
