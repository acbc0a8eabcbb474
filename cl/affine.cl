/* SPDX-License-Identifier: MIT
 *
 * affine.cl -- (x, y) -> gain * (t0 x + t1 y + t2, t3 x + t4 y + t5) for each point of each sample.
 *
 * theta is (N, 6); points are (M, P, 2), with M = N or 1 (then all samples share them). Gradients of theta are summed
 * over chunks of points in a first pass (partial: (N, chunks, 6)) and over the chunks in a second.
 */
#include "common.clh"

__kernel void affine_fwd(__global float2 *out, __global const float *theta, __global const float2 *points, int total,
                         int P, int shared, float gain)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    __global const float *t = theta + i / P * 6;
    const float2 p = points[shared ? i % P : i];
    out[i] = gain * (float2)(fma(t[0], p.x, fma(t[1], p.y, t[2])), fma(t[3], p.x, fma(t[4], p.y, t[5])));
}

/* One work-item sums over one chunk of the points of one sample. */
__kernel void affine_bwd_theta(__global float *partial, __global const float2 *g, __global const float2 *points,
                               int total, int P, int chunks, int chunk, int shared)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    const int n = i / chunks, first = i % chunks * chunk, last = min(first + chunk, P);
    __global const float2 *gn = g + n * P, *pn = points + (shared ? 0 : n * P);
    float3 sx = 0.0f, sy = 0.0f;
    for (int p = first; p < last; p++) {
        const float3 basis = (float3)(pn[p], 1.0f);
        sx = fma(gn[p].x, basis, sx);
        sy = fma(gn[p].y, basis, sy);
    }
    vstore3(sx, 0, partial + i * 6);
    vstore3(sy, 0, partial + i * 6 + 3);
}

/* dtheta[n, j] = gain * sum of the chunks */
__kernel void affine_bwd_sum(__global float *dtheta, __global const float *partial, int total, int chunks, float gain)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    float sum = 0.0f;
    for (int k = 0; k < chunks; k++)
        sum += partial[(i / 6 * chunks + k) * 6 + i % 6];
    dtheta[i] = gain * sum;
}

/* dpoints[m, p] = gain * sum over the samples that share them of A' g */
__kernel void affine_bwd_points(__global float2 *dpoints, __global const float2 *g, __global const float *theta,
                                int total, int P, int N, int shared, float gain)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    const int first = shared ? 0 : i / P, last = shared ? N : first + 1;
    float2 sum = 0.0f;
    for (int n = first; n < last; n++) {
        __global const float *t = theta + n * 6;
        const float2 v = g[n * P + i % P];
        sum += (float2)(fma(t[0], v.x, t[3] * v.y), fma(t[1], v.x, t[4] * v.y));
    }
    dpoints[i] = gain * sum;
}
