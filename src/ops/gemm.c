/* SPDX-License-Identifier: MIT
 *
 * gemm.c -- products of matrices: the plain kernel, register tiles on CPUs, CLBlast or local-memory tiles on GPUs.
 */
#include "ops/gemm.h"

#include <stdlib.h>

#define CEIL(a, b) (((a) + (b)-1) / (b))

static double flops(const la_gemm *g)
{
    return 2.0 * (double)g->batch * (double)g->m * (double)g->n * (double)g->k;
}

static double bytes(const la_gemm *g)
{
    return 4.0 * (double)g->batch * (double)(g->m * g->k + g->k * g->n + g->m * g->n);
}

/* Strides of op(a) and op(b) as the strided kernels take them: row or column, then inner. */
static int64_t a_row(const la_gemm *g)
{
    return g->ta ? 1 : g->k;
}
static int64_t a_inner(const la_gemm *g)
{
    return g->ta ? g->m : 1;
}
static int64_t b_inner(const la_gemm *g)
{
    return g->tb ? 1 : g->n;
}
static int64_t b_column(const la_gemm *g)
{
    return g->tb ? g->k : 1;
}

static int plain(la_device *dev, const la_gemm *g)
{
    return la__launch(dev,
                      &(la_launch){ .program = "matmul",
                                    .entry = "matmul_fwd",
                                    .global = { (size_t)(g->batch * g->m * g->n) },
                                    .flops = flops(g),
                                    .bytes = bytes(g) },
                      (la_karg[]){ LA_BUF(g->c), LA_BUF(g->a), LA_BUF(g->b), LA_BUF(g->bias ? g->bias : g->a),
                                   LA_INT(g->batch), LA_INT(g->m), LA_INT(g->n), LA_INT(g->k), LA_INT(g->a_step),
                                   LA_INT(a_row(g)), LA_INT(a_inner(g)), LA_INT(g->b_step), LA_INT(b_inner(g)),
                                   LA_INT(b_column(g)), LA_INT(g->bias != NULL) },
                      15);
}

/* ---- CPUs ---- */

/* The same as `product` in cl/matmul_cpu.cl. */
typedef struct product {
    int32_t m, n, k, az, ai, cz, bz, panels, bias, panels_first;
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

static int pack(la_device *dev, const la_buffer *packed, const la_gemm *g, const la_tile *tile, int64_t matrices,
                int64_t panels)
{
    return la__launch(dev,
                      &(la_launch){ .program = "matmul_cpu",
                                    .options = tile->options,
                                    .entry = "matmul_pack_cpu",
                                    .global = { (size_t)g->k / 16 + 1, (size_t)panels, (size_t)matrices },
                                    .local = { 1, 1, 1 },
                                    .bytes = 8.0 * (double)(matrices * g->k * g->n) },
                      (la_karg[]){ LA_BUF(packed), LA_BUF(g->b), LA_BUF(g->bias ? g->bias : g->b), LA_INT(g->n),
                                   LA_INT(g->k), LA_INT(g->b_step), LA_INT(b_inner(g)), LA_INT(b_column(g)),
                                   LA_INT(g->bias != NULL) },
                      9);
}

static int tiles(la_device *dev, const la_gemm *g, const la_tile *tile)
{
    int err = 0;
    la_buffer *packed = NULL, *turned = NULL;
    const int64_t panels = CEIL(g->n, tile->nr), matrices = g->b_step ? g->batch : 1, rows = CEIL(g->m, tile->mr);
    const int64_t floats = matrices * panels * g->k * tile->nr;
    /* panels that fit the cache together come first, so that rows of c are written whole */
    const bool panels_first = panels * g->k * tile->nr <= 140000;

    LA_TRY(la__buffer_take(&packed, dev, (size_t)(floats + panels * tile->nr) * 4));
    LA_TRY(pack(dev, packed, g, tile, matrices, panels));
    if (g->ta)
        LA_TRY(turn(&turned, dev, g, tile, g->a_step ? g->batch : 1));
    const product s = { (int32_t)g->m,
                        (int32_t)g->n,
                        (int32_t)g->k,
                        (int32_t)g->a_step,
                        (int32_t)g->k,
                        (int32_t)(g->m * g->n),
                        (int32_t)(g->b_step ? panels : 0),
                        (int32_t)panels,
                        (int32_t)floats,
                        panels_first };
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul_cpu",
                                    .options = tile->options,
                                    .entry = "matmul_fwd_cpu",
                                    .global = { (size_t)(panels_first ? panels : rows),
                                                (size_t)(panels_first ? rows : panels), (size_t)g->batch },
                                    .local = { 1, 1, 1 },
                                    .flops = flops(g),
                                    .bytes = bytes(g) },
                      (la_karg[]){ LA_BUF(g->c), LA_BUF(turned ? turned : g->a), LA_BUF(packed), LA_STRUCT(s) }, 4));
done:
    la__buffer_give(packed);
    la__buffer_give(turned);
    return err;
}

/* ---- GPUs: tiles in gemm_gpu.c ---- */

static int clblast(la_device *dev, const la_gemm *g)
{
    int err = 0;
    for (int64_t z = 0; z < g->batch; z++)
        LA_TRY(la__clblast_gemm(dev, g->ta, g->tb, (size_t)g->m, (size_t)g->n, (size_t)g->k, g->a,
                                (size_t)(z * g->a_step), g->b, (size_t)(z * g->b_step), g->c,
                                (size_t)(z * g->m * g->n)));
    if (g->bias)
        LA_TRY(la__launch(
            dev,
            &(la_launch){
                .program = "matmul", .entry = "matmul_add_bias", .global = { (size_t)(g->batch * g->m * g->n) } },
            (la_karg[]){ LA_BUF(g->c), LA_BUF(g->bias), LA_INT(g->batch * g->m * g->n), LA_INT(g->n) }, 4));
done:
    return err;
}

/* ---- the choice ---- */

static bool worth_tiles(const la_gemm *g)
{
    return g->m >= 4 && g->m * g->n * g->k >= 4096;
}

/* CLBlast pays a launch and more per matrix; small ones of a large batch go through our own kernel in one. */
static bool worth_clblast(const la_device *dev, const la_gemm *g)
{
    return la__clblast_available() && !la__device_is_cpu(dev) && g->m * g->n * g->k >= 1 << 18;
}

/* How a gemm is to be run: the arguments of a trial, and of the run itself. */
typedef struct plan {
    la_method method;
    const la_tile *tile;
} plan;

static int run(la_device *dev, const la_gemm *g, const plan *p)
{
    return p->method == LA_CPU ? tiles(dev, g, p->tile) : p->method == LA_GPU ? la__gemm_gpu(dev, g) : plain(dev, g);
}

/* c = a^T b^T + bias for a batch of 2, sizes that leave edges everywhere. */
static int trial(bool *good, la_device *dev, const void *what)
{
    enum { B = 2, M = 19, N = 71, K = 13 };
    const plan *p = what;
    int err = 0;
    float in[B * M * K + B * N * K + N], got[B * M * N];
    double *want = la__calloc(B * M * N, sizeof *want);
    la_buffer *buffer[4] = { NULL };

    if (!want)
        return LA_ENOMEM;
    la__trial_numbers(in, LA_COUNT(in), 1);
    const float *a = in, *b = in + B * M * K, *bias = b + B * N * K;
    for (int z = 0; z < B; z++)
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                double *sum = &want[(z * M + i) * N + j];
                *sum = (double)bias[j];
                for (int q = 0; q < K; q++)
                    *sum += (double)a[(z * K + q) * M + i] * (double)b[(z * N + j) * K + q];
            }
    const size_t size[] = { sizeof(float[B * M * K]), sizeof(float[B * N * K]), sizeof(float[N]), sizeof got };
    const float *from[] = { a, b, bias };
    for (int i = 0; i < 4; i++) {
        LA_TRY(la__buffer_take(&buffer[i], dev, size[i]));
        if (i < 3)
            LA_TRY(la__buffer_write(buffer[i], 0, size[i], from[i]));
    }
    LA_TRY(run(dev,
               &(la_gemm){ .batch = B,
                           .m = M,
                           .n = N,
                           .k = K,
                           .ta = true,
                           .tb = true,
                           .a = buffer[0],
                           .b = buffer[1],
                           .bias = buffer[2],
                           .a_step = M * K,
                           .b_step = N * K,
                           .c = buffer[3] },
               p));
    LA_TRY(la__buffer_read(buffer[3], 0, sizeof got, got));
    *good = la__trial_close(got, want, B * M * N);
done:
    for (int i = 0; i < 4; i++)
        la__buffer_give(buffer[i]);
    free(want);
    return err;
}

int la__gemm(la_device *dev, const la_gemm *g)
{
    plan p = { .method = la__method(dev, g->method) };
    if (g->batch * g->m * g->n == 0)
        return 0;
    if (p.method == LA_CPU) {
        p.tile = la__tile(dev, g->m, g->n);
        if ((g->method == LA_AUTO && !worth_tiles(g)) || !la__trusted(dev, "matmul_cpu", p.tile->options, trial, &p))
            p.method = LA_PLAIN;
    } else if (p.method == LA_GPU) {
        if (g->method == LA_AUTO && worth_clblast(dev, g))
            return clblast(dev, g);
        if (la__device_max_group(dev) < 256 || !la__trusted(dev, "matmul_gpu", NULL, trial, &p))
            p.method = LA_PLAIN;
    }
    return run(dev, g, &p);
}

int la__column_sum(la_tensor *out, const la_tensor *x, int64_t rows, int64_t n)
{
    int err = 0;
    la_tensor *part = NULL;
    const int64_t step = 128, blocks = CEIL(rows, step);
    la_device *dev = x->storage->dev;
    const la_tensor *from = x;

    if (blocks == 0)
        return la__fill(out, 0.0);
    if (blocks > 1) {
        LA_TRY(la_tensor_new(&part, dev, LA_F32, LA_DIMS(blocks, n)));
        LA_TRY(la__launch(dev,
                          &(la_launch){ .program = "matmul",
                                        .entry = "matmul_column_sum",
                                        .global = { (size_t)(blocks * n) },
                                        .flops = (double)(rows * n),
                                        .bytes = 4.0 * (double)(rows * n) },
                          (la_karg[]){ LA_T(part), LA_T(x), LA_INT(rows), LA_INT(n), LA_INT(step), LA_INT(blocks) },
                          6));
        from = part;
    }
    const int64_t left = blocks > 1 ? blocks : rows;
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul",
                                    .entry = "matmul_column_sum",
                                    .global = { (size_t)n },
                                    .flops = (double)(left * n),
                                    .bytes = 4.0 * (double)(left * n) },
                      (la_karg[]){ LA_T(out), LA_T(from), LA_INT(left), LA_INT(n), LA_INT(left), LA_INT(1) }, 6));
done:
    la_tensor_release(&part);
    return err;
}
