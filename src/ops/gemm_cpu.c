/* SPDX-License-Identifier: MIT
 *
 * gemm_cpu.c -- products of matrices in register tiles (cl/matmul_cpu.cl).
 */
#include <stdio.h>

#include "ops/gemm.h"

#define CEIL(a, b) (((a) + (b)-1) / (b))

/* The same as `product` in cl/matmul_cpu.cl. */
typedef struct product {
    int32_t m, n, k, az, ai, cz, bz, panel, pitch, bias, rows, group, depth, residual, clamp;
    float low, high;
} product;

/* With a transposed left factor: ROWS and DEPTH of cl/matmul_cpu.cl. */
enum { TA_ROWS = 48, TA_DEPTH = 1024 };

/* How a product is dealt to work-items: blocks of rows for groups of panels, in slices of the inner dimension. */
typedef struct blocks {
    int64_t rows, group, depth;
} blocks;

static blocks choose_blocks(const la_gemm *g, const la_tile *tile)
{
    enum { DEPTH = 1024, CACHE = 512 << 10, ITEMS = 32 }; /* half of a usual second-level cache */
    const int64_t panels = CEIL(g->n, tile->nr), unit = tile->mr == 14 ? 14 : 24;
    blocks d = { .depth = g->k };
    if (d.depth > DEPTH)
        d.depth = CEIL(CEIL(g->k, CEIL(g->k, DEPTH)), 16) * 16;
    if (d.depth < 1)
        d.depth = 1;
    /* panels that fit the cache together are met by each row of a once */
    d.group = CACHE / (d.depth * tile->nr * 4);
    d.group = d.group < 1 ? 1 : d.group > panels ? panels : d.group;
    d.group = CEIL(panels, CEIL(panels, d.group));
    if (g->ta) /* what is copied of a is used for all */
        d.group = panels;
    d.rows = g->ta ? TA_ROWS : 4 * unit;
    while (d.rows > unit && d.rows * d.depth * 4 > CACHE / 2)
        d.rows /= 2;
    while (d.rows > unit && g->batch * CEIL(g->m, d.rows) * CEIL(panels, d.group) < ITEMS)
        d.rows /= 2;
    while (d.group > 1 && g->batch * CEIL(g->m, d.rows) * CEIL(panels, d.group) < ITEMS / 2)
        d.group = CEIL(d.group, 2);
    return d;
}

/* Whole panels can be read where they lie; if b is large, its rows too far apart for the caches, it is better packed.
 */
static bool b_in_place(const la_gemm *g, const la_tile *tile)
{
    return !g->tb && !g->scale && g->n % tile->nr == 0 && g->n * g->k <= 400000;
}

/* b in panels with its scale, and the bias behind them. */
static int pack(la_derived *out, la_device *dev, const la_gemm *g, const la_tile *tile, const char *options)
{
    int err = 0;
    char name[64];
    const int64_t matrices = g->b_step ? g->batch : 1, padded = CEIL(g->n, 16) * 16;
    const int64_t width = g->tb ? 16 : tile->nr, depth = g->tb ? 64 : 16, slices = g->k > 0 ? CEIL(g->k, depth) : 1;
    snprintf(name, sizeof name, "panels %d", tile->nr);
    LA_TRY(la__gemm_derive(out, dev, g, name, (size_t)(padded * (matrices * g->k + 1)) * 4));
    if (out->ready)
        return 0;
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul_cpu",
                                    .options = options,
                                    .entry = "matmul_pack_cpu",
                                    .global = { (size_t)CEIL(g->n, width), (size_t)slices, (size_t)matrices },
                                    .local = { 1, 1, 1 },
                                    .bytes = 8.0 * (double)(matrices * g->k * g->n) },
                      (la_karg[]){ LA_BUF(out->buffer), LA_BUF(g->b), LA_BUF(g->bias ? g->bias : g->b),
                                   LA_BUF(g->scale ? g->scale : g->b), LA_INT(g->n), LA_INT(g->k), LA_INT(g->b_step),
                                   LA_INT(la__gemm_b_row(g)), LA_INT(la__gemm_b_column(g)), LA_INT(g->bias != NULL),
                                   LA_INT(g->scale == NULL ? 0
                                          : g->scale_rows  ? 2
                                                           : 1),
                                   LA_INT(width), LA_INT(depth) },
                      13));
done:
    return err;
}

bool la__gemm_cpu_narrow(const la_tile *tile, int64_t n)
{
    return CEIL(n, 16) * 16 % tile->nr != 0;
}

const char *la__gemm_cpu_options(char options[LA_GEMM_OPTIONS], const la_tile *tile, bool ta, bool narrow)
{
    snprintf(options, LA_GEMM_OPTIONS, "%s%s%s", tile->options, ta ? " -DTA" : "", narrow ? " -DNARROW" : "");
    return options;
}

int la__gemm_cpu(la_device *dev, const la_gemm *g, const la_tile *tile)
{
    int err = 0;
    char options[LA_GEMM_OPTIONS];
    la_derived packed = { 0 };
    const int64_t padded = CEIL(g->n, 16) * 16;
    const blocks d = choose_blocks(g, tile);
    const size_t across = (size_t)CEIL(CEIL(g->n, tile->nr), d.group), down = (size_t)CEIL(g->m, d.rows);

    const bool in_place = b_in_place(g, tile);

    la__gemm_cpu_options(options, tile, g->ta, la__gemm_cpu_narrow(tile, g->n));
    if (!in_place)
        LA_TRY(pack(&packed, dev, g, tile, options));
    const product s = { .m = (int32_t)g->m,
                        .n = (int32_t)g->n,
                        .k = (int32_t)g->k,
                        .az = (int32_t)g->a_step,
                        .ai = (int32_t)(g->ta ? g->m : g->k),
                        .cz = (int32_t)(g->m * g->n),
                        .bz = (int32_t)(g->b_step == 0 ? 0
                                        : in_place     ? g->b_step
                                                       : g->k * padded),
                        .panel = (int32_t)(in_place ? tile->nr : tile->nr * g->k),
                        .pitch = (int32_t)(in_place ? g->n : tile->nr),
                        .bias = g->bias == NULL ? -1
                                : in_place      ? 0
                                                : (int32_t)((g->b_step ? g->batch : 1) * g->k * padded),
                        .rows = (int32_t)d.rows,
                        .group = (int32_t)d.group,
                        .depth = (int32_t)d.depth,
                        .residual = g->residual != NULL,
                        .clamp = g->clamp,
                        .low = g->low,
                        .high = g->high };
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul_cpu",
                                    .options = options,
                                    .entry = "matmul_fwd_cpu",
                                    .global = { down, across, (size_t)g->batch },
                                    .local = { 1, 1, 1 },
                                    .flops = la__gemm_flops(g),
                                    .bytes = la__gemm_bytes(g) },
                      (la_karg[]){ LA_BUF(g->c), LA_BUF(g->a), LA_BUF(in_place ? g->b : packed.buffer),
                                   LA_BUF(g->bias && in_place ? g->bias
                                          : in_place          ? g->b
                                                              : packed.buffer),
                                   LA_BUF(g->residual ? g->residual : g->a), LA_STRUCT(s) },
                      6));
done:
    la__gemm_derived(&packed, g, err);
    return err;
}
