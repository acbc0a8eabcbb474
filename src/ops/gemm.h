/* SPDX-License-Identifier: MIT
 *
 * gemm.h -- products of dense matrices, for the ops that are one: matmul, linear, pointwise convolutions.
 */
#ifndef LA_GEMM_H
#define LA_GEMM_H

#include "ops/gpu.h"
#include "tensor/derived.h"

/* What the factors of products are rounded to; sums are float32. All but float32 are for tensor cores. */
typedef enum la_factors { LA_FLOAT32_FACTORS, LA_TF32_FACTORS, LA_BFLOAT16_FACTORS } la_factors;

#define LA_FACTORS "float32|tf32|bfloat16" /* in the order of la_factors */

/* c[z] (m, n) = clamp(op(a[z]) op(b[z]) + bias + residual[z], low, high) for z < batch, all row-major and dense; op
 * transposes what lies there as (k, m) or (n, k). a_step and b_step are the elements from one matrix of the batch to
 * the next, 0 where all use the same one. What is optional is NULL, false or 0. */
typedef struct la_gemm {
    la_method method;
    la_factors factors; /* other than float32: the method is theirs, and there is no scale_rows */
    int64_t batch, m, n, k;
    bool ta, tb;
    const la_buffer *a, *b;
    int64_t a_step, b_step;
    la_buffer *c;

    const la_buffer *scale; /* multiplies the columns of op(b), (n), or with scale_rows its rows, (k) */
    bool scale_rows;
    const la_buffer *bias;     /* (n) */
    const la_buffer *residual; /* as c, and another buffer */
    bool clamp;                /* a NaN stays one */
    float low, high;

    /* Where one b serves all: the tensors that b, scale and bias come from, b's own first, so that what is made of them
     * (la__derived_take) is kept with b; and all else that it depends on, such as an eps. No origins: nothing is kept.
     */
    int origins;
    const la_tensor *const *origin;
    const char *key;
} la_gemm;

int la__gemm(la_device *dev, const la_gemm *g);

/* What the kernels need of b, from the tensors it came from if they are known: `name` says what it is. Fills nothing.
 * After la__gemm_derive and the launches that fill what was not ready, la__gemm_derived ends it: with an error if err
 * is one, so that nothing half made is found again. */
int la__gemm_derive(la_derived *out, la_device *dev, const la_gemm *g, const char *name, size_t bytes);
void la__gemm_derived(la_derived *d, const la_gemm *g, int err);

/* The form for GPUs, untried (gemm_gpu.c): tiles in local memory. It leaves scale_rows to its caller. */
int la__gemm_gpu(la_device *dev, const la_gemm *g, const la_gpu_tile *tile);

/* By tensor cores (gemm_mma.c), tried: an error where there are none. */
int la__gemm_mma(la_device *dev, const la_gemm *g);

/* The launches that both share: `tile` says with which program and kernel. */
typedef struct la_gemm_kernel {
    const char *program, *options, *entry;
    int m, n, k; /* of the tile */
} la_gemm_kernel;

int la__gemm_in_tiles(la_device *dev, const la_gemm *g, const la_gemm_kernel *kernel);

/* Register tiles on CPUs, untried (gemm_cpu.c). */
int la__gemm_cpu(la_device *dev, const la_gemm *g, const la_tile *tile);

/* Whether the last of n columns make a panel of fewer vectors than a tile has: a program of its own, with tiles for
 * those, which take as long to compile as all else. */
bool la__gemm_cpu_narrow(const la_tile *tile, int64_t n);

/* How their program is built: in `options`, returned. */
enum { LA_GEMM_OPTIONS = 64 };
const char *la__gemm_cpu_options(char options[LA_GEMM_OPTIONS], const la_tile *tile, bool ta, bool narrow);

/* Rows by rows on CPUs, untried (gemm_dot.c): a b^T with nothing packed, for what la__gemm_dot_can. */
bool la__gemm_dot_can(const la_gemm *g);
int la__gemm_dot(la_device *dev, const la_gemm *g);

/* An error where an op's `method` names kernels that no product has. */
int la__gemm_check_method(const la_call *c, int parameter);

/* For profiles. */
double la__gemm_flops(const la_gemm *g);
double la__gemm_bytes(const la_gemm *g);

/* Elements from row to row and from column to column of op(a) and op(b). */
static inline int64_t la__gemm_a_row(const la_gemm *g)
{
    return g->ta ? 1 : g->k;
}
static inline int64_t la__gemm_a_column(const la_gemm *g)
{
    return g->ta ? g->m : 1;
}
static inline int64_t la__gemm_b_row(const la_gemm *g)
{
    return g->tb ? 1 : g->n;
}
static inline int64_t la__gemm_b_column(const la_gemm *g)
{
    return g->tb ? g->k : 1;
}

/* out (n) = the sums of the columns of x (rows, n), always added in the same order. */
int la__column_sum(la_tensor *out, const la_tensor *x, int64_t rows, int64_t n);

#endif
