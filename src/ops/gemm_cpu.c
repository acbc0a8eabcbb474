/* SPDX-License-Identifier: MIT
 *
 * gemm_cpu.c -- products of matrices in register tiles (cl/matmul_cpu.cl).
 */
#include <stdio.h>

#include "ops/gemm.h"

#define CEIL(a, b) (((a) + (b)-1) / (b))

/* The same as `product` in cl/matmul_cpu.cl. */
typedef struct product {
    int32_t m, n, k, az, ai, cz, bz, panels, bias, panels_first, residual, clamp;
    float low, high;
} product;

/* op(a) of a transposed left factor, turned into rows; *out is to be given back. */
static int turn(la_buffer **out, la_device *dev, const la_gemm *g, const la_tile *tile, int64_t matrices)
{
    int err = 0;
    LA_TRY(la__buffer_take(out, dev, (size_t)(matrices * g->m * g->k) * 4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul_cpu",
                                    .options = tile->options,
                                    .entry = "matmul_turn_cpu",
                                    .global = { (size_t)CEIL(g->m, 16), (size_t)CEIL(g->k, 16), (size_t)matrices },
                                    .local = { 1, 1, 1 },
                                    .bytes = 8.0 * (double)(matrices * g->m * g->k) },
                      (la_karg[]){ LA_BUF(*out), LA_BUF(g->a), LA_INT(g->m), LA_INT(g->k) }, 4));
done:
    return err;
}

/* b in panels with its scale, and the bias behind them. */
static int pack(la_derived *out, la_device *dev, const la_gemm *g, const la_tile *tile, int64_t matrices,
                int64_t panels)
{
    int err = 0;
    char name[64];
    snprintf(name, sizeof name, "panels %dx%d", tile->mr, tile->nr);
    LA_TRY(la__gemm_derive(out, dev, g, name, (size_t)(panels * tile->nr * (matrices * g->k + 1)) * 4));
    if (out->ready)
        return 0;
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul_cpu",
                                    .options = tile->options,
                                    .entry = "matmul_pack_cpu",
                                    .global = { (size_t)g->k / 16 + 1, (size_t)panels, (size_t)matrices },
                                    .local = { 1, 1, 1 },
                                    .bytes = 8.0 * (double)(matrices * g->k * g->n) },
                      (la_karg[]){ LA_BUF(out->buffer), LA_BUF(g->b), LA_BUF(g->bias ? g->bias : g->b),
                                   LA_BUF(g->scale ? g->scale : g->b), LA_INT(g->n), LA_INT(g->k), LA_INT(g->b_step),
                                   LA_INT(la__gemm_b_row(g)), LA_INT(la__gemm_b_column(g)), LA_INT(g->bias != NULL),
                                   LA_INT(g->scale == NULL ? 0
                                          : g->scale_rows  ? 2
                                                           : 1) },
                      11));
done:
    return err;
}

int la__gemm_cpu(la_device *dev, const la_gemm *g, const la_tile *tile)
{
    int err = 0;
    la_derived packed = { 0 };
    la_buffer *turned = NULL;
    const int64_t panels = CEIL(g->n, tile->nr), matrices = g->b_step ? g->batch : 1, rows = CEIL(g->m, tile->mr);
    /* panels that fit the cache together come first, so that rows of c are written whole */
    const bool panels_first = panels * g->k * tile->nr <= 140000;

    LA_TRY(pack(&packed, dev, g, tile, matrices, panels));
    if (g->ta)
        LA_TRY(turn(&turned, dev, g, tile, g->a_step ? g->batch : 1));
    const product s = { .m = (int32_t)g->m,
                        .n = (int32_t)g->n,
                        .k = (int32_t)g->k,
                        .az = (int32_t)g->a_step,
                        .ai = (int32_t)g->k,
                        .cz = (int32_t)(g->m * g->n),
                        .bz = (int32_t)(g->b_step ? panels : 0),
                        .panels = (int32_t)panels,
                        .bias = (int32_t)(matrices * panels * g->k * tile->nr),
                        .panels_first = panels_first,
                        .residual = g->residual != NULL,
                        .clamp = g->clamp,
                        .low = g->low,
                        .high = g->high };
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul_cpu",
                                    .options = tile->options,
                                    .entry = "matmul_fwd_cpu",
                                    .global = { (size_t)(panels_first ? panels : rows),
                                                (size_t)(panels_first ? rows : panels), (size_t)g->batch },
                                    .local = { 1, 1, 1 },
                                    .flops = la__gemm_flops(g),
                                    .bytes = la__gemm_bytes(g) },
                      (la_karg[]){ LA_BUF(g->c), LA_BUF(turned ? turned : g->a), LA_BUF(packed.buffer),
                                   LA_BUF(g->residual ? g->residual : packed.buffer), LA_STRUCT(s) },
                      5));
done:
    la__gemm_derived(&packed, g, err);
    la__buffer_give(turned);
    return err;
}
