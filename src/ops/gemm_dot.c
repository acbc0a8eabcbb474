/* SPDX-License-Identifier: MIT
 *
 * gemm_dot.c -- products of rows with rows on CPUs, nothing packed (cl/matmul_dot.cl).
 */
#include "ops/gemm.h"

#define CEIL(a, b) (((a) + (b)-1) / (b))

/* The same as `product` in cl/matmul_dot.cl. */
typedef struct product {
    int32_t m, n, k, az, bz, cz, rows, columns, biased, scaled, residual, clamp;
    float low, high;
} product;

bool la__gemm_dot_can(const la_gemm *g)
{
    return !g->ta && g->tb && g->k >= 16 && !(g->scale && g->scale_rows);
}

int la__gemm_dot(la_device *dev, const la_gemm *g)
{
    enum { ROWS = 4, COLUMNS = 6, CACHE = 512 << 10, ITEMS = 32 };
    /* a block of rows stays in half of the cache, a few columns at a time go past it: both are met as rarely as can be
     */
    int64_t rows = CACHE / (4 * g->k) / ROWS * ROWS, columns = CACHE * 2 / 3 / (4 * g->k) / COLUMNS * COLUMNS;
    rows = rows < ROWS ? ROWS : rows > g->m ? g->m : rows;
    columns = columns < COLUMNS ? COLUMNS : columns > g->n ? g->n : columns;
    while (columns > COLUMNS && g->batch * CEIL(g->m, rows) * CEIL(g->n, columns) < ITEMS)
        columns = CEIL(columns / 2, COLUMNS) * COLUMNS;
    rows = CEIL(CEIL(g->m, CEIL(g->m, rows)), ROWS) * ROWS;
    columns = CEIL(CEIL(g->n, CEIL(g->n, columns)), COLUMNS) * COLUMNS;
    const product s = { .m = (int32_t)g->m,
                        .n = (int32_t)g->n,
                        .k = (int32_t)g->k,
                        .az = (int32_t)g->a_step,
                        .bz = (int32_t)g->b_step,
                        .cz = (int32_t)(g->m * g->n),
                        .rows = (int32_t)rows,
                        .columns = (int32_t)columns,
                        .biased = g->bias != NULL,
                        .scaled = g->scale != NULL,
                        .residual = g->residual != NULL,
                        .clamp = g->clamp,
                        .low = g->low,
                        .high = g->high };
    return la__launch(
        dev,
        &(la_launch){ .program = "matmul_dot",
                      .entry = "matmul_dot_cpu",
                      .global = { (size_t)CEIL(g->m, rows), (size_t)CEIL(g->n, columns), (size_t)g->batch },
                      .local = { 1, 1, 1 },
                      .flops = la__gemm_flops(g),
                      .bytes = la__gemm_bytes(g) },
        (la_karg[]){ LA_BUF(g->c), LA_BUF(g->a), LA_BUF(g->b), LA_BUF(g->bias ? g->bias : g->b),
                     LA_BUF(g->scale ? g->scale : g->b), LA_BUF(g->residual ? g->residual : g->b), LA_STRUCT(s) },
        7);
}
