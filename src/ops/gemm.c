/* SPDX-License-Identifier: MIT
 *
 * gemm.c -- products of matrices: the plain kernel, register tiles on CPUs, CLBlast or local-memory tiles on GPUs.
 */
#include "ops/gemm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CEIL(a, b) (((a) + (b)-1) / (b))

double la__gemm_flops(const la_gemm *g)
{
    return 2.0 * (double)g->batch * (double)g->m * (double)g->n * (double)g->k;
}

double la__gemm_bytes(const la_gemm *g)
{
    return 4.0 * (double)g->batch * (double)(g->m * g->k + g->k * g->n + g->m * g->n * (g->residual ? 2 : 1));
}

/* ---- what is kept with b ---- */

int la__gemm_derive(la_derived *out, la_device *dev, const la_gemm *g, const char *name, size_t bytes)
{
    int err = 0;
    char key[256];
    if (g->origins == 0 || g->batch != 1) {
        *out = (la_derived){ .owned = true };
        return la__buffer_take(&out->buffer, dev, bytes);
    }
    snprintf(key, sizeof key, "gemm %s, %lldx%lld%s%s%s, %s", name, (long long)g->k, (long long)g->n,
             g->tb ? " turned" : "", g->bias ? " biased" : "",
             g->scale == NULL ? ""
             : g->scale_rows  ? " rows scaled"
                              : " scaled",
             g->key ? g->key : "");
    LA_TRY(la__derived_take(out, key, bytes, g->origins, g->origin));
done:
    return err;
}

void la__gemm_derived(la_derived *d, const la_gemm *g, int err)
{
    if (err < 0 && d->buffer && !d->owned && !d->ready)
        la__derived_forget(g->origin[0]->storage);
    else
        la__derived_give(d);
}

/* ---- the plain kernel ---- */

/* The same as `product` in cl/matmul.cl. */
typedef struct product {
    int32_t batch, m, n, k, az, ai, ap, bz, bp, bj;
    int32_t biased, scaled, residual, clamp;
    float low, high;
} product;

static int plain(la_device *dev, const la_gemm *g)
{
    const product s = { .batch = (int32_t)g->batch,
                        .m = (int32_t)g->m,
                        .n = (int32_t)g->n,
                        .k = (int32_t)g->k,
                        .az = (int32_t)g->a_step,
                        .ai = (int32_t)la__gemm_a_row(g),
                        .ap = (int32_t)la__gemm_a_column(g),
                        .bz = (int32_t)g->b_step,
                        .bp = (int32_t)la__gemm_b_row(g),
                        .bj = (int32_t)la__gemm_b_column(g),
                        .biased = g->bias != NULL,
                        .scaled = g->scale == NULL ? 0
                                  : g->scale_rows  ? 2
                                                   : 1,
                        .residual = g->residual != NULL,
                        .clamp = g->clamp,
                        .low = g->low,
                        .high = g->high };
    return la__launch(dev,
                      &(la_launch){ .program = "matmul",
                                    .entry = "matmul_fwd",
                                    .global = { (size_t)(g->batch * g->m * g->n) },
                                    .flops = la__gemm_flops(g),
                                    .bytes = la__gemm_bytes(g) },
                      (la_karg[]){ LA_BUF(g->c), LA_BUF(g->a), LA_BUF(g->b), LA_BUF(g->scale ? g->scale : g->a),
                                   LA_BUF(g->bias ? g->bias : g->a), LA_BUF(g->residual ? g->residual : g->a),
                                   LA_STRUCT(s) },
                      7);
}

/* ---- GPUs: tiles in gemm_gpu.c ---- */

static int clblast(la_device *dev, const la_gemm *g)
{
    int err = 0;
    for (int64_t z = 0; z < g->batch; z++)
        LA_TRY(la__clblast_gemm(dev, g->ta, g->tb, (size_t)g->m, (size_t)g->n, (size_t)g->k, g->a,
                                (size_t)(z * g->a_step), g->b, (size_t)(z * g->b_step), g->c,
                                (size_t)(z * g->m * g->n)));
done:
    return err;
}

/* b with its scale, as b lies. */
static int scale(la_derived *out, la_device *dev, const la_gemm *g)
{
    int err = 0;
    const int64_t size = (g->b_step ? g->batch : 1) * g->k * g->n;
    LA_TRY(la__gemm_derive(out, dev, g, "scaled", (size_t)size * 4));
    if (out->ready)
        return 0;
    LA_TRY(la__launch(
        dev,
        &(la_launch){
            .program = "matmul", .entry = "matmul_scale", .global = { (size_t)size }, .bytes = 8.0 * (double)size },
        (la_karg[]){ LA_BUF(out->buffer), LA_BUF(g->b), LA_BUF(g->scale), LA_INT(size), LA_INT(g->n), LA_INT(g->k),
                     LA_INT(g->tb), LA_INT(g->scale_rows) },
        8));
done:
    return err;
}

/* A product of a GPU, by our own tiles or CLBlast (no tile): b is scaled before where the form cannot do it, what
 * follows CLBlast's sums is done after. */
static int gpu(la_device *dev, const la_gemm *g, const la_gpu_tile *tile)
{
    int err = 0;
    la_gemm bare = *g;
    la_derived scaled = { 0 };
    const bool biased = g->bias != NULL;
    const int64_t size = g->batch * g->m * g->n;

    if (g->scale && (!tile || g->scale_rows)) {
        LA_TRY(scale(&scaled, dev, g));
        bare.b = scaled.buffer;
        bare.scale = NULL;
    }
    LA_TRY(tile ? la__gemm_gpu(dev, &bare, tile) : clblast(dev, &bare));
    if (!tile && (biased || g->residual || g->clamp))
        LA_TRY(la__launch(dev,
                          &(la_launch){ .program = "matmul",
                                        .entry = "matmul_finish",
                                        .global = { (size_t)size },
                                        .bytes = 8.0 * (double)size },
                          (la_karg[]){ LA_BUF(g->c), LA_BUF(biased ? g->bias : g->a),
                                       LA_BUF(g->residual ? g->residual : g->a), LA_INT(size), LA_INT(g->n),
                                       LA_INT(biased), LA_INT(g->residual != NULL), LA_INT(g->clamp), LA_FLOAT(g->low),
                                       LA_FLOAT(g->high) },
                          10));
done:
    la__gemm_derived(&scaled, g, err);
    return err;
}

/* ---- the choice ---- */

static bool worth_tiles(const la_gemm *g)
{
    return g->m * g->n * g->k >= 4096 && (g->m >= 4 || g->n >= 16);
}

/* Few rows or columns, where packing b would be most of the work, and long sums of middling matrices. */
static bool worth_dots(const la_gemm *g)
{
    if (!la__gemm_dot_can(g) || g->k < 64)
        return false;
    return g->m <= 24 || g->n <= 4 || (g->m <= 256 && g->k >= 512 && g->origins == 0);
}

/* The last panel may be narrower, so that the widest tile wastes nothing but rows; and that matters less than building
 * another program where there is little to do. */
static bool worth_widest(const la_gemm *g)
{
    return g->n >= 64 && (g->m >= 24 || g->m * g->n * g->k < 1 << 20);
}

/* CLBlast pays a launch and more per matrix; small ones of a large batch go through our own kernel in one. */
static bool worth_clblast(const la_device *dev, const la_gemm *g)
{
    return la__clblast_available() && !la__device_is_cpu(dev) && g->m * g->n * g->k >= 1 << 18;
}

/* How a gemm is to be run: the arguments of a trial, and of the run itself. */
typedef struct plan {
    la_method method;
    const la_tile *tile;    /* with LA_CPU; none: rows by rows */
    const la_gpu_tile *gpu; /* with LA_GPU */
    bool ta, narrow;        /* with a tile programs of their own */
} plan;

static int run(la_device *dev, const la_gemm *g, const plan *p)
{
    if (p->method == LA_CPU)
        return p->tile ? la__gemm_cpu(dev, g, p->tile) : la__gemm_dot(dev, g);
    return p->method == LA_GPU ? gpu(dev, g, p->gpu) : plain(dev, g);
}

/* c = clamp(a (scaled b)^T + bias + residual) for a batch of 2, sizes that leave edges everywhere. */
enum { TRIAL_Z = 2, TRIAL_M = 19, TRIAL_N = 110, TRIAL_K = 269 };
enum { TRIAL_A, TRIAL_B, TRIAL_SCALE, TRIAL_BIAS, TRIAL_RESIDUAL, TRIAL_C, TRIAL_BUFFERS };

static void trial_result(double *want, const la_gemm *g, float *const in[TRIAL_BUFFERS])
{
    const float *a = in[TRIAL_A], *b = in[TRIAL_B];
    for (int64_t at = 0; at < g->batch * g->m * g->n; at++) {
        const int64_t z = at / g->n / g->m, i = at / g->n % g->m, j = at % g->n;
        double sum = 0.0;
        for (int64_t q = 0; q < g->k; q++)
            sum += (double)a[z * g->a_step + i * la__gemm_a_row(g) + q * la__gemm_a_column(g)] *
                   (double)b[z * g->b_step + q * la__gemm_b_row(g) + j * la__gemm_b_column(g)];
        sum *= g->scale ? (double)in[TRIAL_SCALE][j] : 1.0;
        sum += (double)in[TRIAL_BIAS][j] + (double)in[TRIAL_RESIDUAL][at];
        want[at] = sum < (double)g->low ? (double)g->low : sum > (double)g->high ? (double)g->high : sum;
    }
}

/* The columns: so that the last panel is of each width, or whole; and b turned and scaled, or in place. */
static const struct {
    int columns;
    bool turned;
} with[] = { { TRIAL_N, true }, { 70, true }, { 95, true }, { 64, true }, { 96, true }, { 64, false }, { 96, false } };

static int trial(bool *good, la_device *dev, const void *what)
{
    static const int count[TRIAL_BUFFERS] = {
        TRIAL_Z * TRIAL_M * TRIAL_K, TRIAL_Z * TRIAL_N * TRIAL_K, TRIAL_N, TRIAL_N,
        TRIAL_Z * TRIAL_M * TRIAL_N, TRIAL_Z * TRIAL_M * TRIAL_N
    };
    const plan *p = what;
    int err = 0;
    float *in[TRIAL_BUFFERS] = { NULL };
    la_buffer *buffer[TRIAL_BUFFERS] = { NULL };
    double *want = la__calloc(TRIAL_Z * TRIAL_M * TRIAL_N, sizeof *want);

    for (int i = 0; i < TRIAL_BUFFERS; i++) {
        in[i] = la__calloc((size_t)count[i], sizeof(float));
        if (!in[i] || !want) {
            err = LA_ENOMEM;
            goto done;
        }
        la__trial_numbers(in[i], count[i], (uint32_t)i + 1);
        LA_TRY(la__buffer_take(&buffer[i], dev, (size_t)count[i] * 4));
        if (i < TRIAL_C)
            LA_TRY(la__buffer_write(buffer[i], 0, (size_t)count[i] * 4, in[i]));
    }
    *good = true;
    for (int i = 0; i < LA_COUNT(with) && *good; i++) {
        if (p->tile && la__gemm_cpu_narrow(p->tile, with[i].columns) != p->narrow)
            continue; /* another program */
        const la_gemm g = { .batch = TRIAL_Z,
                            .m = TRIAL_M,
                            .n = with[i].columns,
                            .k = TRIAL_K,
                            .ta = p->ta,
                            .tb = with[i].turned || (p->method == LA_CPU && !p->tile),
                            .a = buffer[TRIAL_A],
                            .b = buffer[TRIAL_B],
                            .a_step = TRIAL_M * TRIAL_K,
                            .b_step = with[i].columns * TRIAL_K,
                            .c = buffer[TRIAL_C],
                            .scale = with[i].turned ? buffer[TRIAL_SCALE] : NULL,
                            .bias = buffer[TRIAL_BIAS],
                            .residual = buffer[TRIAL_RESIDUAL],
                            .clamp = true,
                            .low = -5.0f,
                            .high = 8.0f };
        trial_result(want, &g, in);
        LA_TRY(run(dev, &g, p));
        LA_TRY(la__buffer_read(g.c, 0, (size_t)count[TRIAL_C] * 4, in[TRIAL_C]));
        *good = la__trial_close(in[TRIAL_C], want, (int)(g.batch * g.m * g.n));
    }
done:
    for (int i = 0; i < TRIAL_BUFFERS; i++) {
        la__buffer_give(buffer[i]);
        free(in[i]);
    }
    free(want);
    return err;
}

/* The kernels of a CPU that suit a product, tried. */
static plan plan_cpu(la_device *dev, const la_gemm *g, la_method wish)
{
    char options[LA_GEMM_OPTIONS];
    plan p = { .method = LA_CPU };
    if (wish == LA_AUTO && !worth_tiles(g))
        return (plan){ .method = LA_PLAIN };
    if (!la__tile_named(wish) && worth_dots(g) && la__trusted(dev, "matmul_dot", NULL, trial, &p))
        return p;
    p.tile = la__tile_named(wish) ? la__tile_named(wish)
             : worth_widest(g)    ? la__tile(dev, 0, 64)
                                  : la__tile(dev, g->m, g->n);
    p.ta = g->ta;
    p.narrow = la__gemm_cpu_narrow(p.tile, g->n);
    if (!la__trusted(dev, "matmul_cpu", la__gemm_cpu_options(options, p.tile, p.ta, p.narrow), trial, &p))
        p.method = LA_PLAIN;
    return p;
}

/* What is wished for: by the caller, the environment or the record of choices. */
static la_method wished(la_device *dev, const la_gemm *g)
{
    const la_method m = la__choose(dev, g->method, "gemm", "%lld %lldx%lldx%lld %c%c%s%s", (long long)g->batch,
                                   (long long)g->m, (long long)g->n, (long long)g->k, g->ta ? 't' : 'n',
                                   g->tb ? 't' : 'n', g->batch > 1 && g->a_step == 0 ? " one a" : "",
                                   g->batch > 1 && g->b_step == 0 ? " one b" : "");
    /* a record may come from a build with CLBlast */
    return la__wish(m == LA_CLBLAST && g->method == LA_AUTO && !la__clblast_available() ? LA_AUTO : m);
}

int la__gemm(la_device *dev, const la_gemm *g)
{
    const la_method wish = wished(dev, g);
    plan p = { .method = la__method(dev, wish), .ta = g->ta };
    if (g->batch * g->m * g->n == 0)
        return 0;
    if (g->factors != LA_FLOAT32_FACTORS)
        return la__gemm_mma(dev, g);
    if ((wish == LA_CLBLAST && g->k > 0) || (wish == LA_AUTO && p.method == LA_GPU && worth_clblast(dev, g)))
        return gpu(dev, g, NULL);
    if (p.method == LA_CPU) {
        p = plan_cpu(dev, g, wish);
    } else if (p.method == LA_GPU) {
        p.gpu = la__gpu_tile(dev, wish, g->batch, g->m, g->n, g->k);
        if (!p.gpu || !la__trusted(dev, "matmul_gpu", p.gpu->options, trial, &p))
            p.method = LA_PLAIN;
    }
    return run(dev, g, &p);
}

int la__gemm_check_method(const la_call *c, int parameter)
{
    const int64_t method = c->arg[parameter].ints[0];
    if (method == LA_WINOGRAD4 || method == LA_WINOGRAD2)
        return la_fail(LA_EARG, "%s: method must be one for products of matrices, got %s", c->op->name,
                       method == LA_WINOGRAD4 ? "winograd4" : "winograd2");
    return 0;
}

/* In blocks of as many rows as there are blocks, so that the sums are short; a block of rows per work-item, then 16
 * columns. */
static int column_sum_cpu(la_tensor *out, const la_tensor *x, int64_t rows, int64_t n)
{
    int err = 0;
    la_tensor *part = NULL;
    la_device *dev = x->storage->dev;
    const la_tensor *from = x;

    if (rows > 512) {
        const int64_t step = (int64_t)ceil(sqrt((double)rows)), blocks = CEIL(rows, step);
        LA_TRY(la_tensor_new(&part, dev, LA_F32, LA_DIMS(blocks, n)));
        LA_TRY(la__launch(dev,
                          &(la_launch){ .program = "matmul",
                                        .entry = "matmul_column_sum_rows",
                                        .global = { (size_t)blocks },
                                        .local = { 1, 1, 1 },
                                        .flops = (double)(rows * n),
                                        .bytes = 4.0 * (double)(rows * n) },
                          (la_karg[]){ LA_T(part), LA_T(x), LA_INT(rows), LA_INT(n), LA_INT(step) }, 5));
        from = part;
        rows = blocks;
    }
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "matmul",
                                    .entry = "matmul_column_sum_few",
                                    .global = { (size_t)CEIL(n, 16) },
                                    .local = { 1, 1, 1 },
                                    .flops = (double)(rows * n),
                                    .bytes = 4.0 * (double)(rows * n) },
                      (la_karg[]){ LA_T(out), LA_T(from), LA_INT(rows), LA_INT(n) }, 4));
done:
    la_tensor_release(&part);
    return err;
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
    if (la__method(dev, LA_AUTO) == LA_CPU)
        return column_sum_cpu(out, x, rows, n);
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
