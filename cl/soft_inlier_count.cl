/* SPDX-License-Identifier: MIT
 *
 * soft_inlier_count.cl -- score[n] = sum m s / (sum m + eps), sums over target cells q and source cells k.
 *
 * s (N, Q, K) is the correlation, m[q, k] the bilinear weight with which the warped target cell q lands on source cell
 * k: the mask image of k, 1 at k (and at its neighbours, when dilated; or 1/4 there, 1/8 beside it and 1/16 at corners,
 * when smoothed), sampled at grid[q]. With the corners' weights w_c this is sum_k m s = sum_c w_c S_c,   sum_k m =
 * sum_c w_c N_c, S_c the sum of s over the cells whose mask covers corner c, weighted by it, and N_c how many they are.
 * The fused kernels use that and touch those cells only. The plain ones work on the whole mask, as the paper writes it.
 */
#include "common.clh"

/* The number of source cell (y, x) in the correlation. */
static int source_number(int y, int x, int h, int w, int by_column)
{
    return by_column ? y + h * x : y * w + x;
}

/* Neighbour i of 9 (0 the cell itself, 1 .. 4 beside it, 5 .. 8 diagonal) of cell (y, x), as a number, or -1 outside.
 */
static int neighbour(int i, int y, int x, int h, int w, int by_column)
{
    const int dy = i == 1 || i == 5 || i == 6 ? -1 : i == 2 || i == 7 || i == 8 ? 1 : 0;
    const int dx = i == 3 || i == 5 || i == 7 ? -1 : i == 4 || i == 6 || i == 8 ? 1 : 0;
    const int ny = y + dy, nx = x + dx;
    return ny >= 0 && ny < h && nx >= 0 && nx < w ? source_number(ny, nx, h, w, by_column) : -1;
}

/* The mask of a cell at its neighbour i. */
static float mask_at(int i, int smooth)
{
    return !smooth ? 1.0f : i == 0 ? 0.25f : i < 5 ? 0.125f : 0.0625f;
}

/* S_c and N_c of the corner at cell (y, x). */
static float2 covered(__global const float *s, int cell, int h, int w, int by_column, int dilation, int smooth)
{
    float2 sum = 0.0f;
    for (int i = 0; i <= dilation; i++) {
        const int k = neighbour(i, cell / w, cell % w, h, w, by_column);
        sum += k >= 0 ? mask_at(i, smooth) * (float2)(s[k], 1.0f) : (float2)(0.0f);
    }
    return sum;
}

/* sums[n, q] = (sum_k m s, sum_k m) */
__kernel void soft_inlier_count_fwd(__global float2 *sums, __global const float *s, __global const float2 *grid,
                                    int total, int h, int w, int by_column, int dilation, int smooth)
{
    const int row = (int)get_global_id(0);
    if (row >= total)
        return;
    bilinear_cell at;
    float2 sum = 0.0f;
    if (bilinear_locate(&at, grid[row], h, w))
        for (int k = 0; k < 4; k++) {
            const int cell = bilinear_index(&at, k, h, w);
            if (cell >= 0)
                sum += bilinear_weight(&at, k) * covered(s + row * h * w, cell, h, w, by_column, dilation, smooth);
        }
    sums[row] = sum;
}

/* The same from the whole warped mask m (N, Q, K). */
__kernel void soft_inlier_count_fwd_plain(__global float2 *sums, __global const float *s, __global const float *m,
                                          int total, int K)
{
    const int row = (int)get_global_id(0);
    if (row >= total)
        return;
    float2 sum = 0.0f;
    for (int k = 0; k < K; k++)
        sum += m[row * K + k] * (float2)(s[row * K + k], 1.0f);
    sums[row] = sum;
}

/* state[n] = (score, 1 / denominator); eps < 0 means no normalisation */
__kernel void soft_inlier_count_fwd_score(__global float *score, __global float2 *state, __global const float2 *sums,
                                          int N, int Q, float eps)
{
    const int n = (int)get_global_id(0);
    if (n >= N)
        return;
    float2 sum = 0.0f;
    for (int q = 0; q < Q; q++)
        sum += sums[n * Q + q];
    const float inverse = eps < 0.0f ? 1.0f : 1.0f / (sum.y + eps);
    score[n] = sum.x * inverse;
    state[n] = (float2)(sum.x * inverse, inverse);
}

/* The mask images (h, w, K): the mask of k at cell (y, x). */
__kernel void soft_inlier_count_fwd_mask(__global float *mask, int total, int h, int w, int by_column, int dilation,
                                         int smooth)
{
    const int i = (int)get_global_id(0), K = h * w;
    if (i >= total)
        return;
    const int k = i % K, cell = i / K % K;
    float value = 0.0f;
    for (int j = 0; j <= dilation; j++)
        if (neighbour(j, cell / w, cell % w, h, w, by_column) == k)
            value = mask_at(j, smooth);
    mask[i] = value;
}

/* ds[n, q, k] = g / denominator * m: adds to a row that was set to 0. */
__kernel void soft_inlier_count_bwd_correlation(__global float *ds, __global const float *g,
                                                __global const float2 *state, __global const float2 *grid, int total,
                                                int Q, int h, int w, int by_column, int dilation, int smooth)
{
    const int row = (int)get_global_id(0);
    if (row >= total)
        return;
    const float scale = g[row / Q] * state[row / Q].y;
    bilinear_cell at;
    if (!bilinear_locate(&at, grid[row], h, w))
        return;
    for (int k = 0; k < 4; k++) {
        const int cell = bilinear_index(&at, k, h, w);
        for (int i = 0; cell >= 0 && i <= dilation; i++) {
            const int j = neighbour(i, cell / w, cell % w, h, w, by_column);
            if (j >= 0)
                ds[row * h * w + j] = fma(scale * mask_at(i, smooth), bilinear_weight(&at, k), ds[row * h * w + j]);
        }
    }
}

/* d score / d w_c = (S_c - score N_c) / denominator, without the second term if not normalised */
__kernel void soft_inlier_count_bwd_grid(__global float2 *dgrid, __global const float *g, __global const float *s,
                                         __global const float2 *state, __global const float2 *grid, int total, int Q,
                                         int h, int w, int by_column, int dilation, int smooth, int normalize)
{
    const int row = (int)get_global_id(0);
    if (row >= total)
        return;
    const float scale = g[row / Q] * state[row / Q].y, score = normalize ? state[row / Q].x : 0.0f;
    bilinear_cell at;
    float d[4];
    if (!bilinear_locate(&at, grid[row], h, w)) {
        dgrid[row] = (float2)(0.0f);
        return;
    }
    for (int k = 0; k < 4; k++) {
        const int cell = bilinear_index(&at, k, h, w);
        const float2 sum = cell >= 0 ? covered(s + row * h * w, cell, h, w, by_column, dilation, smooth)
                                     : (float2)(0.0f);
        d[k] = sum.x - score * sum.y;
    }
    dgrid[row] = scale * bilinear_slope(&at, d, h, w);
}

/* Of the plain form, the gradients of correlation and mask: ds = g m / denominator, dm = g (s - score) / denominator.
 */
__kernel void soft_inlier_count_bwd_plain(__global float *ds, __global float *dm, __global const float *g,
                                          __global const float2 *state, __global const float *s,
                                          __global const float *m, int total, int per_sample, int normalize)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    const int n = i / per_sample;
    const float scale = g[n] * state[n].y, score = normalize ? state[n].x : 0.0f;
    ds[i] = scale * m[i];
    dm[i] = scale * (s[i] - score);
}
