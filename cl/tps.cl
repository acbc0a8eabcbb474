/* SPDX-License-Identifier: MIT
 *
 * tps.cl -- thin-plate splines with control points P_i on a regular gy x gx grid over [-1, 1], x the slow index.
 *
 *   f(p) = gain * (a0 + a1 x + a2 y + sum_i w_i U(|p - P_i|^2)),   U(r2) = r2 ln r2, U(0) = 0
 *
 * theta (N, 2 K) holds the x, then the y, of the K = gy gx images. The weights (N, K + 3) of float2, first the w_i,
 * then a0, a1, a2, are the first K columns of the inverse system matrix (inverse: (K + 3, K)) times theta. They are
 * computed from theta minus the identity, and the identity added to a1 and a2: the same in exact arithmetic, and far
 * more accurate near the identity.
 */
#include "common.clh"

static float2 control_point(int i, int gy, int gx)
{
    return (float2)((float)(2 * (i / gy) - (gx - 1)) / (float)(gx - 1),
                    (float)(2 * (i % gy) - (gy - 1)) / (float)(gy - 1));
}

static float squared(float2 d)
{
    return fma(d.x, d.x, d.y * d.y);
}

static float radial(float r2)
{
    return r2 == 0.0f ? 0.0f : r2 * log(r2);
}

/* The same of 8 points at once: logarithms of vectors are several times faster on CPUs. */
static float8 radial8(float8 x, float8 y, float2 c)
{
    const float8 dx = x - c.x, dy = y - c.y, r2 = fma(dx, dx, dy * dy);
    return select(r2 * log(r2), (float8)(0.0f), r2 == 0.0f);
}

/* 8 values of x and y from p on; where there are only `count`, the last one is repeated. */
static void load8(float8 *x, float8 *y, __global const float2 *p, int count)
{
    float v[16];
    for (int i = 0; i < 8; i++) {
        v[i] = p[min(i, count - 1)].x;
        v[i + 8] = p[min(i, count - 1)].y;
    }
    *x = vload8(0, v);
    *y = vload8(1, v);
}

__kernel void tps_fwd_weights(__global float2 *weights, __global const float *theta, __global const float *inverse,
                              int total, int gy, int gx)
{
    const int item = (int)get_global_id(0), K = gy * gx;
    if (item >= total)
        return;
    const int i = item % (K + 3);
    __global const float *t = theta + item / (K + 3) * 2 * K;
    float2 sum = i == K + 1 ? (float2)(1.0f, 0.0f) : i == K + 2 ? (float2)(0.0f, 1.0f) : (float2)(0.0f);
    for (int j = 0; j < K; j++)
        sum = fma((float2)(inverse[i * K + j]), (float2)(t[j], t[K + j]) - control_point(j, gy, gx), sum);
    weights[item] = sum;
}

/* One work-item maps 8 points of one sample. */
__kernel void tps_fwd(__global float2 *out, __global const float2 *weights, __global const float2 *points, int total,
                      int P, int blocks, int gy, int gx, int shared, float gain)
{
    const int item = (int)get_global_id(0), K = gy * gx;
    if (item >= total)
        return;
    const int n = item / blocks, first = item % blocks * 8, count = min(P - first, 8);
    __global const float2 *w = weights + n * (K + 3);
    float8 x, y;
    load8(&x, &y, points + (shared ? 0 : n * P) + first, count);
    float8 u = fma(y, (float8)(w[K + 2].x), fma(x, (float8)(w[K + 1].x), (float8)(w[K].x)));
    float8 v = fma(y, (float8)(w[K + 2].y), fma(x, (float8)(w[K + 1].y), (float8)(w[K].y)));
    for (int i = 0; i < K; i++) {
        const float8 r = radial8(x, y, control_point(i, gy, gx));
        u = fma(r, (float8)(w[i].x), u);
        v = fma(r, (float8)(w[i].y), v);
    }
    float uv[16];
    vstore8(gain * u, 0, uv);
    vstore8(gain * v, 1, uv);
    for (int i = 0; i < count; i++)
        out[n * P + first + i] = (float2)(uv[i], uv[i + 8]);
}

/* partial[n, chunk, i] = sum over a chunk of points of phi_i(p) g, phi = (U_1 .. U_K, 1, x, y) */
__kernel void tps_bwd_weights(__global float2 *partial, __global const float2 *g, __global const float2 *points,
                              int total, int P, int gy, int gx, int chunks, int chunk, int shared)
{
    const int item = (int)get_global_id(0), K = gy * gx;
    if (item >= total)
        return;
    const int i = item % (K + 3), k = item / (K + 3) % chunks, n = item / (K + 3) / chunks;
    const int first = k * chunk, last = min(first + chunk, P);
    __global const float2 *gn = g + n * P, *pn = points + (shared ? 0 : n * P);
    const float2 c = i < K ? control_point(i, gy, gx) : (float2)(0.0f);
    float8 sx = 0.0f, sy = 0.0f;
    for (int p = first; p < last; p += 8) {
        float8 x, y, gx8, gy8;
        const int count = min(last - p, 8);
        load8(&x, &y, pn + p, count);
        load8(&gx8, &gy8, gn + p, count);
        const float8 phi = i < K ? radial8(x, y, c) : i == K ? (float8)(1.0f) : i == K + 1 ? x : y;
        const int8 there = (int8)(0, 1, 2, 3, 4, 5, 6, 7) < (int8)(count);
        sx += select((float8)(0.0f), phi * gx8, there);
        sy += select((float8)(0.0f), phi * gy8, there);
    }
    partial[item] = (float2)(SUM8(sx), SUM8(sy));
}

/* dtheta[n, d K + j] = gain * sum_i inverse[i, j] sum_chunks partial[n, chunk, i][d] */
__kernel void tps_bwd_theta(__global float *dtheta, __global const float *partial, __global const float *inverse,
                            int total, int K, int chunks, float gain)
{
    const int item = (int)get_global_id(0);
    if (item >= total)
        return;
    const int j = item % K, d = item / K % 2, n = item / K / 2;
    float sum = 0.0f;
    for (int i = 0; i < K + 3; i++) {
        float s = 0.0f;
        for (int k = 0; k < chunks; k++)
            s += partial[((n * chunks + k) * (K + 3) + i) * 2 + d];
        sum = fma(inverse[i * K + j], s, sum);
    }
    dtheta[item] = gain * sum;
}

/* dp = gain * J(p)' g with U'(r2) = ln r2 + 1, summed over the samples where they share their points */
__kernel void tps_bwd_points(__global float2 *dpoints, __global const float2 *g, __global const float2 *weights,
                             __global const float2 *points, int total, int P, int N, int gy, int gx, int shared,
                             float gain)
{
    const int item = (int)get_global_id(0), K = gy * gx;
    if (item >= total)
        return;
    const int first = shared ? 0 : item / P, last = shared ? N : first + 1;
    const float2 p = points[item];
    float2 sum = 0.0f;
    for (int n = first; n < last; n++) {
        __global const float2 *w = weights + n * (K + 3);
        const float2 v = g[n * P + item % P];
        sum += (float2)(dot(w[K + 1], v), dot(w[K + 2], v));
        for (int i = 0; i < K; i++) {
            const float2 d = p - control_point(i, gy, gx);
            const float r2 = squared(d);
            const float slope = r2 == 0.0f ? 0.0f : 2.0f * (log(r2) + 1.0f) * dot(w[i], v);
            sum = fma((float2)(slope), d, sum);
        }
    }
    dpoints[item] = gain * sum;
}
