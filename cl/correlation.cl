/* SPDX-License-Identifier: MIT
 *
 * correlation.cl -- every target cell against every source cell, ReLU, unit length over the source cells.
 *
 *   raw[n, q, k] = <b[n, q, :], a[n, p(k), :]>        q a target cell, p(k) the k-th source cell
 *   s = max(raw, 0), s / sqrt(sum_k s^2 + eps)
 *
 * Source cells are numbered column by column (p(k): row k mod hA, column k div hA) or row by row. The products come
 * from matmul on reordered sources; correlation_fwd_plain and correlation_bwd_plain_* are the same products written
 * plainly.
 */
#include "common.clh"

/* The row-major number of the k-th source cell. */
static int source_cell(int k, int hA, int wA, int by_column)
{
    return by_column ? k % hA * wA + k / hA : k;
}

__kernel void correlation_fwd_plain(__global float *raw, __global const float *a, __global const float *b, int total,
                                    int Q, int C, int hA, int wA, int by_column)
{
    const int i = (int)get_global_id(0), K = hA * wA;
    if (i >= total)
        return;
    const int k = i % K, row = i / K, n = row / Q;
    __global const float *pa = a + (n * K + source_cell(k, hA, wA, by_column)) * C;
    __global const float *pb = b + row * C;
    float sum = 0.0f;
    for (int c = 0; c < C; c++)
        sum = fma(pa[c], pb[c], sum);
    raw[i] = sum;
}

/* da[n, p, c] = sum_q draw[n, q, k(p)] b[n, q, c] */
__kernel void correlation_bwd_plain_a(__global float *da, __global const float *draw, __global const float *b,
                                      int total, int Q, int C, int hA, int wA, int by_column)
{
    const int i = (int)get_global_id(0), K = hA * wA;
    if (i >= total)
        return;
    const int c = i % C, p = i / C % K, n = i / C / K;
    const int k = by_column ? p / wA + p % wA * hA : p;
    float sum = 0.0f;
    for (int q = 0; q < Q; q++)
        sum = fma(draw[(n * Q + q) * K + k], b[(n * Q + q) * C + c], sum);
    da[i] = sum;
}

/* db[n, q, c] = sum_k draw[n, q, k] a[n, p(k), c] */
__kernel void correlation_bwd_plain_b(__global float *db, __global const float *draw, __global const float *a,
                                      int total, int Q, int C, int hA, int wA, int by_column)
{
    const int i = (int)get_global_id(0), K = hA * wA;
    if (i >= total)
        return;
    const int c = i % C, row = i / C, n = row / Q;
    float sum = 0.0f;
    for (int k = 0; k < K; k++)
        sum = fma(draw[row * K + k], a[(n * K + source_cell(k, hA, wA, by_column)) * C + c], sum);
    db[i] = sum;
}

/* In place on rows of K raw products: ReLU (low = 0, or -infinity for none), then unit length if asked; norm[row] is
 * the factor. A NaN stays one. */
__kernel void correlation_fwd_norm(__global float *s, __global float *norm, int rows, int K, int normalize, float low,
                                   float eps)
{
    const int row = (int)get_global_id(0);
    if (row >= rows)
        return;
    __global float *p = s + row * K;
    float8 sum8 = 0.0f;
    int k = 0;
    for (; k + 8 <= K; k += 8) {
        float8 v = vload8(0, p + k);
        v = v < low ? (float8)low : v;
        sum8 = fma(v, v, sum8);
    }
    float sum = SUM8(sum8);
    for (; k < K; k++) {
        const float v = p[k] < low ? low : p[k];
        sum = fma(v, v, sum);
    }
    const float r = normalize ? 1.0f / sqrt(sum + eps) : 1.0f;
    norm[row] = r;
    for (k = 0; k + 8 <= K; k += 8) {
        const float8 v = vload8(0, p + k);
        vstore8(r * (v < low ? (float8)low : v), 0, p + k);
    }
    for (; k < K; k++)
        p[k] = r * (p[k] < low ? low : p[k]);
}

/* draw = r (g - s sum(g s)) where the ReLU let the product through; s is the result. */
__kernel void correlation_bwd_norm(__global float *draw, __global const float *g, __global const float *s,
                                   __global const float *norm, int rows, int K, int relu, int normalize)
{
    const int row = (int)get_global_id(0);
    if (row >= rows)
        return;
    const float r = norm[row];
    __global const float *pg = g + row * K, *ps = s + row * K;
    __global float *out = draw + row * K;
    float gs = 0.0f;
    for (int k = 0; normalize && k < K; k++)
        gs = fma(pg[k], ps[k], gs);
    for (int k = 0; k < K; k++) {
        const float d = r * fma(-ps[k], gs, pg[k]);
        out[k] = relu && !(ps[k] > 0.0f) ? 0.0f : d;
    }
}
