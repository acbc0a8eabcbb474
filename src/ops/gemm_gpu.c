/* SPDX-License-Identifier: MIT
 *
 * gemm_gpu.c -- products of matrices on GPUs: tiles in local memory (cl/matmul_gpu.cl).
 */
#include "ops/gemm.h"

#define CEIL(a, b) (((a) + (b)-1) / (b))

enum { ALIGNED_A = 1, ALIGNED_B = 2, ALIGNED_C = 4 }; /* as in the .cl file */

/* The same as `product` in cl/matmul_gpu.cl. */
typedef struct product_gpu {
    int32_t batch, m, n, k;
    int32_t az, ai, ap;
    int32_t bz, bp, bj;
    int32_t slices;
    int32_t aligned;
    la_gpu_finish finish;
} product_gpu;

/* Whether the floats of a matrix come in fours: in each row of it as it lies, and from matrix to matrix. */
static bool in_fours(int64_t inner, int64_t step)
{
    return inner % 4 == 0 && step % 4 == 0;
}

static product_gpu product_of(const la_gemm *g)
{
    return (product_gpu){ .batch = (int32_t)g->batch,
                          .m = (int32_t)g->m,
                          .n = (int32_t)g->n,
                          .k = (int32_t)g->k,
                          .az = (int32_t)g->a_step,
                          .ai = (int32_t)la__gemm_a_row(g),
                          .ap = (int32_t)la__gemm_a_column(g),
                          .bz = (int32_t)g->b_step,
                          .bp = (int32_t)la__gemm_b_row(g),
                          .bj = (int32_t)la__gemm_b_column(g),
                          .aligned = (in_fours(g->ta ? g->m : g->k, g->a_step) ? ALIGNED_A : 0) |
                                     (in_fours(g->tb ? g->k : g->n, g->b_step) ? ALIGNED_B : 0) |
                                     (in_fours(g->n, 0) ? ALIGNED_C : 0) };
}

static la_gpu_finish finish_of(const la_gemm *g)
{
    return (la_gpu_finish){ .flags = (g->scale && !g->scale_rows ? LA_FINISH_SCALE : 0) |
                                     (g->bias ? LA_FINISH_SHIFT : 0) | (g->residual ? LA_FINISH_RESIDUAL : 0) |
                                     (g->clamp ? LA_FINISH_CLAMP : 0),
                            .low = g->low,
                            .high = g->high };
}

int la__gemm_in_tiles(la_device *dev, const la_gemm *g, const la_gemm_kernel *kernel)
{
    int err = 0;
    la_buffer *part = NULL;
    product_gpu s = product_of(g);
    const int64_t size = g->batch * g->m * g->n, share = la__gpu_share(g->batch, g->m, g->n, g->k);
    const int64_t splits = g->k > 0 ? CEIL(g->k, share) : 1;
    const la_buffer *scale = g->scale ? g->scale : g->a, *shift = g->bias ? g->bias : g->a;
    const la_buffer *residual = g->residual ? g->residual : g->a;

    s.slices = (int32_t)CEIL(share, kernel->k);
    if (splits > 1)
        LA_TRY(la__buffer_take(&part, dev, (size_t)(splits * size) * 4));
    else
        s.finish = finish_of(g);
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = kernel->program,
                                    .options = kernel->options,
                                    .entry = kernel->entry,
                                    .global = { (size_t)CEIL(g->n, kernel->n) * 16, (size_t)CEIL(g->m, kernel->m) * 16,
                                                (size_t)(g->batch * splits) },
                                    .local = { 16, 16, 1 },
                                    .flops = la__gemm_flops(g),
                                    .bytes = la__gemm_bytes(g) },
                      (la_karg[]){ LA_BUF(part ? part : g->c), LA_BUF(g->a), LA_BUF(g->b), LA_BUF(scale), LA_BUF(shift),
                                   LA_BUF(residual), LA_STRUCT(s) },
                      7));
    if (splits > 1) {
        s.finish = finish_of(g);
        LA_TRY(la__launch(dev,
                          &(la_launch){ .program = kernel->program,
                                        .options = kernel->options,
                                        .entry = "matmul_finish_gpu",
                                        .global = { (size_t)size },
                                        .bytes = 4.0 * (double)(size * (splits + 1)) },
                          (la_karg[]){ LA_BUF(g->c), LA_BUF(part), LA_BUF(scale), LA_BUF(shift), LA_BUF(residual),
                                       LA_INT(splits), LA_INT(size), LA_STRUCT(s) },
                          8));
    }
done:
    la__buffer_give(part);
    return err;
}

int la__gemm_gpu(la_device *dev, const la_gemm *g, const la_gpu_tile *tile)
{
    return la__gemm_in_tiles(dev, g,
                             &(la_gemm_kernel){ .program = "matmul_gpu",
                                                .options = tile->options,
                                                .entry = "matmul_fwd_gpu",
                                                .m = tile->m,
                                                .n = tile->n,
                                                .k = tile->k });
}
