// SPDX-License-Identifier: MIT
//
// matmul.cl -- products of matrices, the plain form, and what every form shares.
//
//   c[z, i, j] = clamp(sum_p a[z, i, p] b[z, p, j] s[j or p] + bias[j] + residual[z, i, j], low, high)
//
// A matrix is read through two strides, so that a transposed one is the same kernel: a[z, i, p] lies at
// z az + i ai + p ap, b[z, p, j] at z bz + p bp + j bj. c and residual are dense.
#include "common.clh"

// The same as in src/ops/gemm.c.
typedef struct {
    int batch, m, n, k, az, ai, ap, bz, bp, bj;
    int biased, scaled, residual, clamps; // scaled: 0 not, 1 columns of b, 2 rows
    float low, high;
} product;

static float clamped(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v; // a NaN stays one
}

__kernel void matmul_fwd(__global float *c, __global const float *a, __global const float *b,
                         __global const float *scale, __global const float *bias, __global const float *residual,
                         const product s)
{
    const int at = (int)get_global_id(0);
    if (at >= s.batch * s.m * s.n)
        return;
    const int j = at % s.n, i = at / s.n % s.m, z = at / s.n / s.m;
    a += z * s.az + i * s.ai;
    b += z * s.bz + j * s.bj;
    float sum = 0.0f;
    if (s.scaled == 2) {
        for (int p = 0; p < s.k; p++)
            sum = fma(a[p * s.ap], scale[p] * b[p * s.bp], sum);
    } else {
        for (int p = 0; p < s.k; p++)
            sum = fma(a[p * s.ap], b[p * s.bp], sum);
        if (s.scaled)
            sum *= scale[j];
    }
    if (s.biased)
        sum += bias[j];
    if (s.residual)
        sum += residual[at];
    c[at] = s.clamps ? clamped(sum, s.low, s.high) : sum;
}

// out = b with its columns or rows scaled, (k, n) or turned (n, k), any number of them.
__kernel void matmul_scale(__global float *out, __global const float *b, __global const float *scale, int total, int n,
                           int k, int turned, int rows)
{
    const int at = (int)get_global_id(0);
    if (at >= total)
        return;
    const int inner = turned ? k : n, outer = turned ? n : k;
    out[at] = b[at] * scale[(rows != 0) == (turned != 0) ? at % inner : at / inner % outer];
}

// c = clamp(c + bias + residual), for products that came without.
__kernel void matmul_finish(__global float *c, __global const float *bias, __global const float *residual, int total,
                            int n, int biased, int has_residual, int clamps, float low, float high)
{
    const int at = (int)get_global_id(0);
    if (at >= total)
        return;
    float v = c[at];
    if (biased)
        v += bias[at % n];
    if (has_residual)
        v += residual[at];
    c[at] = clamps ? clamped(v, low, high) : v;
}

// Sums of the columns of x (rows, n), first over blocks of `step` rows: part (blocks, n).
__kernel void matmul_column_sum(__global float *part, __global const float *x, int rows, int n, int step, int blocks)
{
    const int at = (int)get_global_id(0);
    if (at >= blocks * n)
        return;
    const int j = at % n, block = at / n, last = min(rows, (block + 1) * step);
    float sum = 0.0f;
    for (int i = block * step; i < last; i++)
        sum += x[i * n + j];
    part[at] = sum;
}

// The same for CPUs, a block of rows per work-item, in the order in which they lie.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void matmul_column_sum_rows(__global float *restrict part,
                                                                                    __global const float *restrict x,
                                                                                    int rows, int n, int step)
{
    const int block = (int)get_global_id(0), first = block * step, last = min(rows, first + step), whole = n / 16 * 16;
    part += block * n;
    for (int j = 0; j < n; j++)
        part[j] = x[first * n + j];
    for (int i = first + 1; i < last; i++) {
        __global const float *row = x + i * n;
        for (int j = 0; j < whole; j += 16)
            vstore16(vload16(0, part + j) + vload16(0, row + j), 0, part + j);
        for (int j = whole; j < n; j++)
            part[j] += row[j];
    }
}

// And 16 columns of few rows per work-item.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void matmul_column_sum_few(__global float *restrict out,
                                                                                   __global const float *restrict x,
                                                                                   int rows, int n)
{
    const int j = 16 * (int)get_global_id(0);
    if (j + 16 <= n) {
        float16 a = (float16)0.0f, b = (float16)0.0f;
        int i = 0;
        for (; i + 2 <= rows; i += 2) {
            a += vload16(0, x + i * n + j);
            b += vload16(0, x + (i + 1) * n + j);
        }
        if (i < rows)
            a += vload16(0, x + i * n + j);
        vstore16(a + b, 0, out + j);
    } else {
        for (int k = j; k < n; k++) {
            float sum = 0.0f;
            for (int i = 0; i < rows; i++)
                sum += x[i * n + k];
            out[k] = sum;
        }
    }
}
