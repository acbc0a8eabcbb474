// SPDX-License-Identifier: MIT
//
// matmul.cl -- products of matrices, the plain form, and what every form shares.
//
//   c[z, i, j] = bias[j] + sum_p a[z, i, p] b[z, p, j]
//
// A matrix is read through two strides, so that a transposed one is the same kernel: a[z, i, p] lies at
// z az + i ai + p ap, b[z, p, j] at z bz + p bp + j bj. c is dense.
#include "common.clh"

__kernel void matmul_fwd(__global float *c, __global const float *a, __global const float *b,
                         __global const float *bias, int batch, int m, int n, int k, int az, int ai, int ap, int bz,
                         int bp, int bj, int biased)
{
    const int at = (int)get_global_id(0);
    if (at >= batch * m * n)
        return;
    const int j = at % n, i = at / n % m, z = at / n / m;
    a += z * az + i * ai;
    b += z * bz + j * bj;
    float sum = biased ? bias[j] : 0.0f;
    for (int p = 0; p < k; p++)
        sum = fma(a[p * ap], b[p * bp], sum);
    c[at] = sum;
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

// y[i, j] += bias[j], for products that came without one.
__kernel void matmul_add_bias(__global float *y, __global const float *bias, int total, int n)
{
    const int at = (int)get_global_id(0);
    if (at < total)
        y[at] += bias[at % n];
}
