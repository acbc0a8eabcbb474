/* SPDX-License-Identifier: MIT
 *
 * batch_norm.cl -- normalisation of the channels of a (rows, C) array: y = (x - mean) / sqrt(var + eps) * weight +
 * bias.
 *
 * One work-item owns up to 8 channels of a run of rows. Sums over all rows are made in two steps, runs first, in an
 * order that depends on the shape alone; the variance is that of the differences from the mean.
 */
#include "common.clh"

#define BLOCK 8
#define LOAD1(p) (*(p))
#define STORE1(v, p) (*(p) = (v))
#define LOAD8(p) vload8(0, p)
#define STORE8(v, p) vstore8(v, 0, p)

/* The work-item's run of rows, from inclusive to exclusive, and its channels. */
typedef struct {
    int run, first, last;
    int c, channels;
} part;

static bool find_part(part *p, int rows, int C, int run)
{
    const int blocks = (C + BLOCK - 1) / BLOCK, at = (int)get_global_id(0);
    if (at >= (rows + run - 1) / run * blocks)
        return false;
    p->run = at / blocks;
    p->first = p->run * run;
    p->last = min(p->first + run, rows);
    p->c = at % blocks * BLOCK;
    p->channels = min(BLOCK, C - p->c);
    return true;
}

/* Runs a body defined for one channel and for eight on the channels of a part. */
#define EACH(p, NAME, ...)                     \
    if ((p).channels == BLOCK)                 \
        NAME##8(__VA_ARGS__, (p).c);           \
    else                                       \
        for (int k = 0; k < (p).channels; k++) \
            NAME##1(__VA_ARGS__, (p).c + k);

/* sum[run, c] of x over the run's rows */
#define SUM(N, T)                                                                                    \
    static void sum_run##N(__global float *sum, __global const float *x, const part p, int C, int c) \
    {                                                                                                \
        T s = 0.0f;                                                                                  \
        for (int r = p.first; r < p.last; r++)                                                       \
            s += LOAD##N(x + r * C + c);                                                             \
        STORE##N(s, sum + p.run * C + c);                                                            \
    }

/* sum[run, c] of (x - mean)^2 */
#define SQUARES(N, T)                                                                                                  \
    static void sum_squares##N(__global float *sum, __global const float *x, __global const float *mean, const part p, \
                               int C, int c)                                                                           \
    {                                                                                                                  \
        const T m = LOAD##N(mean + c);                                                                                 \
        T s = 0.0f;                                                                                                    \
        for (int r = p.first; r < p.last; r++) {                                                                       \
            const T d = LOAD##N(x + r * C + c) - m;                                                                    \
            s = fma(d, d, s);                                                                                          \
        }                                                                                                              \
        STORE##N(s, sum + p.run * C + c);                                                                              \
    }

/* sums[0, run, c] of g, sums[1, run, c] of g (x - mean) rstd */
#define PRODUCTS(N, T)                                                                                           \
    static void sum_products##N(__global float *sum, __global float *product, __global const float *g,           \
                                __global const float *x, __global const float *mean, __global const float *rstd, \
                                const part p, int C, int c)                                                      \
    {                                                                                                            \
        const T m = LOAD##N(mean + c);                                                                           \
        T s = 0.0f, t = 0.0f;                                                                                    \
        for (int r = p.first; r < p.last; r++) {                                                                 \
            const T a = LOAD##N(g + r * C + c);                                                                  \
            s += a;                                                                                              \
            t = fma(a, LOAD##N(x + r * C + c) - m, t);                                                           \
        }                                                                                                        \
        STORE##N(s, sum + p.run * C + c);                                                                        \
        STORE##N(t *LOAD##N(rstd + c), product + p.run * C + c);                                                 \
    }

#define APPLY(N, T)                                                                                            \
    static void apply##N(__global float *y, __global const float *x, __global const float *mean,               \
                         __global const float *rstd, __global const float *weight, __global const float *bias, \
                         const part p, int C, int affine, int c)                                               \
    {                                                                                                          \
        const T m = LOAD##N(mean + c);                                                                         \
        T factor = LOAD##N(rstd + c), shift = 0.0f;                                                            \
        if (affine) {                                                                                          \
            factor *= LOAD##N(weight + c);                                                                     \
            shift = LOAD##N(bias + c);                                                                         \
        }                                                                                                      \
        for (int r = p.first; r < p.last; r++)                                                                 \
            STORE##N(fma(LOAD##N(x + r * C + c) - m, factor, shift), y + r * C + c);                           \
    }

/* dx = weight rstd (g - mean(g) - xhat mean(g xhat)) with statistics of the batch, weight rstd g with fixed ones;
 * sums: as above, joined over the runs; share: 1 / rows, or 0 for fixed statistics */
#define GRADIENT(N, T)                                                                                            \
    static void gradient##N(__global float *dx, __global const float *g, __global const float *x,                 \
                            __global const float *mean, __global const float *rstd, __global const float *weight, \
                            __global const float *sums, const part p, int C, int affine, float share, int c)      \
    {                                                                                                             \
        const T m = LOAD##N(mean + c), s = LOAD##N(rstd + c);                                                     \
        const T factor = affine ? s * LOAD##N(weight + c) : s;                                                    \
        if (share == 0.0f) {                                                                                      \
            for (int r = p.first; r < p.last; r++)                                                                \
                STORE##N(LOAD##N(g + r * C + c) * factor, dx + r * C + c);                                        \
            return;                                                                                               \
        }                                                                                                         \
        const T gm = LOAD##N(sums + c) * share, gx = LOAD##N(sums + C + c) * share * s;                           \
        for (int r = p.first; r < p.last; r++) {                                                                  \
            const T d = LOAD##N(x + r * C + c) - m;                                                               \
            STORE##N((LOAD##N(g + r * C + c) - gm - d * gx) * factor, dx + r * C + c);                            \
        }                                                                                                         \
    }

SUM(1, float)
SUM(8, float8)
SQUARES(1, float)
SQUARES(8, float8)
PRODUCTS(1, float)
PRODUCTS(8, float8)
APPLY(1, float)
APPLY(8, float8)
GRADIENT(1, float)
GRADIENT(8, float8)

__kernel void batch_norm_sum(__global float *sum, __global const float *x, int rows, int C, int run)
{
    part p;
    if (!find_part(&p, rows, C, run))
        return;
    EACH(p, sum_run, sum, x, p, C)
}

__kernel void batch_norm_sum_squares(__global float *sum, __global const float *x, __global const float *mean, int rows,
                                     int C, int run)
{
    part p;
    if (!find_part(&p, rows, C, run))
        return;
    EACH(p, sum_squares, sum, x, mean, p, C)
}

/* sums (2, runs, C) */
__kernel void batch_norm_sum_products(__global float *sums, __global const float *g, __global const float *x,
                                      __global const float *mean, __global const float *rstd, int rows, int C, int run)
{
    part p;
    if (!find_part(&p, rows, C, run))
        return;
    __global float *products = sums + (rows + run - 1) / run * C;
    EACH(p, sum_products, sums, products, g, x, mean, rstd, p, C)
}

/* out[k, c] = factor sum over runs of sum[k, run, c], for `total` pairs of k and c */
__kernel void batch_norm_join(__global float *out, __global const float *sum, int total, int C, int runs, float factor)
{
    const int at = (int)get_global_id(0);
    if (at >= total)
        return;
    sum += at / C * runs * C + at % C;
    float s = 0.0f;
    for (int r = 0; r < runs; r++)
        s += sum[r * C];
    out[at] = s * factor;
}

/* rstd = 1 / sqrt(var + eps) */
__kernel void batch_norm_rstd(__global float *rstd, __global const float *var, int C, float eps)
{
    const int c = (int)get_global_id(0);
    if (c < C)
        rstd[c] = 1.0f / sqrt(var[c] + eps);
}

/* running += momentum (factor batch - running) */
__kernel void batch_norm_running(__global float *running, __global const float *batch, int C, float momentum,
                                 float factor)
{
    const int c = (int)get_global_id(0);
    if (c < C)
        running[c] = fma(momentum, batch[c] * factor, (1.0f - momentum) * running[c]);
}

__kernel void batch_norm_fwd(__global float *y, __global const float *x, __global const float *mean,
                             __global const float *rstd, __global const float *weight, __global const float *bias,
                             int rows, int C, int run, int affine)
{
    part p;
    if (!find_part(&p, rows, C, run))
        return;
    EACH(p, apply, y, x, mean, rstd, weight, bias, p, C, affine)
}

__kernel void batch_norm_bwd_x(__global float *dx, __global const float *g, __global const float *x,
                               __global const float *mean, __global const float *rstd, __global const float *weight,
                               __global const float *sums, int rows, int C, int run, int affine, float share)
{
    part p;
    if (!find_part(&p, rows, C, run))
        return;
    EACH(p, gradient, dx, g, x, mean, rstd, weight, sums, p, C, affine, share)
}
