/* SPDX-License-Identifier: MIT
 *
 * homography.cl -- (x, y) -> gain * ((h1 x + h2 y + h3) / k, (h4 x + h5 y + h6) / k), k = h7 x + h8 y + h9.
 *
 * theta is (N, 9), the matrix by rows, or (N, 8), four x and four y of the images of the corners (-1,-1), (-1,1),
 * (1,-1), (1,1). The latter makes a matrix with h9 = 1 by the linear system A h = theta, whose rows for corner (x, y)
 * -> (u, v) are x y 1 0 0 0 -ux -uy   and   0 0 0 x y 1 -vx -vy. For points k becomes k + sign(k) nudge (1e-5 in the
 * paper's code), for grids nudge is 0.
 */
#include "common.clh"

/* Solves A x = b, or A' x = b, for the 8 x 8 system of the corners, by elimination with pivoting; m is 8 rows of 9. */
static void solve_corners(float *x, __global const float *theta, const float *b, int transposed)
{
    float m[72];
    for (int i = 0; i < 8; i++) {
        const int corner = i % 4;
        const float px = corner < 2 ? -1.0f : 1.0f, py = corner % 2 ? 1.0f : -1.0f;
        const float row[8] = { i < 4 ? px : 0.0f, i < 4 ? py : 0.0f,   i < 4 ? 1.0f : 0.0f, i < 4 ? 0.0f : px,
                               i < 4 ? 0.0f : py, i < 4 ? 0.0f : 1.0f, -theta[i] * px,      -theta[i] * py };
        for (int j = 0; j < 8; j++)
            m[transposed ? j * 9 + i : i * 9 + j] = row[j];
        m[i * 9 + 8] = b[i];
    }
    for (int c = 0; c < 8; c++) {
        int p = c;
        for (int i = c + 1; i < 8; i++)
            p = fabs(m[i * 9 + c]) > fabs(m[p * 9 + c]) ? i : p;
        const float pivot = m[p * 9 + c];
        for (int j = c; j < 9; j++) {
            const float v = m[p * 9 + j] / pivot;
            m[p * 9 + j] = m[c * 9 + j];
            m[c * 9 + j] = v;
        }
        for (int i = c + 1; i < 8; i++) {
            const float f = m[i * 9 + c];
            for (int j = c; j < 9; j++)
                m[i * 9 + j] = fma(-f, m[c * 9 + j], m[i * 9 + j]);
        }
    }
    for (int i = 7; i >= 0; i--) {
        float v = m[i * 9 + 8];
        for (int j = i + 1; j < 8; j++)
            v = fma(-m[i * 9 + j], x[j], v);
        x[i] = v;
    }
}

/* matrix[n] (9 numbers) of corners theta[n] (8 numbers) */
__kernel void homography_fwd_matrix(__global float *matrix, __global const float *theta, int N)
{
    const int n = (int)get_global_id(0);
    if (n >= N)
        return;
    float b[8], h[8];
    for (int i = 0; i < 8; i++)
        b[i] = theta[n * 8 + i];
    solve_corners(h, theta + n * 8, b, 0);
    for (int i = 0; i < 8; i++)
        matrix[n * 9 + i] = h[i];
    matrix[n * 9 + 8] = 1.0f;
}

/* dtheta = (1 + h7 x + h8 y) lambda with A' lambda = dmatrix: what theta does on both sides of A h = theta */
__kernel void homography_bwd_matrix(__global float *dtheta, __global const float *dmatrix, __global const float *matrix,
                                    __global const float *theta, int N)
{
    const int n = (int)get_global_id(0);
    if (n >= N)
        return;
    float b[8], lambda[8];
    for (int i = 0; i < 8; i++)
        b[i] = dmatrix[n * 9 + i];
    solve_corners(lambda, theta + n * 8, b, 1);
    for (int i = 0; i < 8; i++) {
        const float px = i % 4 < 2 ? -1.0f : 1.0f, py = i % 2 ? 1.0f : -1.0f;
        dtheta[n * 8 + i] = lambda[i] * (1.0f + matrix[n * 9 + 6] * px + matrix[n * 9 + 7] * py);
    }
}

static float denominator(__global const float *h, float2 p, float nudge)
{
    const float k = fma(h[6], p.x, fma(h[7], p.y, h[8]));
    return k + (k > 0.0f ? nudge : k < 0.0f ? -nudge : 0.0f);
}

static float2 map_point(__global const float *h, float2 p, float k)
{
    return (float2)(fma(h[0], p.x, fma(h[1], p.y, h[2])) / k, fma(h[3], p.x, fma(h[4], p.y, h[5])) / k);
}

__kernel void homography_fwd(__global float2 *out, __global const float *matrix, __global const float2 *points,
                             int total, int P, int shared, float nudge, float gain)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    __global const float *h = matrix + i / P * 9;
    const float2 p = points[shared ? i % P : i];
    out[i] = gain * map_point(h, p, denominator(h, p, nudge));
}

/* partial[n, chunk, :] = sum over a chunk of the points of d out / d h' g */
__kernel void homography_bwd_theta(__global float *partial, __global const float2 *g, __global const float *matrix,
                                   __global const float2 *points, int total, int P, int chunks, int chunk, int shared,
                                   float nudge)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    const int n = i / chunks, first = i % chunks * chunk, last = min(first + chunk, P);
    __global const float *h = matrix + n * 9;
    float3 sx = 0.0f, sy = 0.0f, sk = 0.0f;
    for (int j = first; j < last; j++) {
        const float2 p = points[shared ? j : n * P + j];
        const float k = denominator(h, p, nudge);
        const float2 v = g[n * P + j] / k;
        const float3 basis = (float3)(p, 1.0f);
        sx = fma(v.x, basis, sx);
        sy = fma(v.y, basis, sy);
        sk = fma(-dot(v, map_point(h, p, k)), basis, sk);
    }
    vstore3(sx, 0, partial + i * 9);
    vstore3(sy, 0, partial + i * 9 + 3);
    vstore3(sk, 0, partial + i * 9 + 6);
}

/* dmatrix[n, j] = gain * sum of the chunks */
__kernel void homography_bwd_sum(__global float *dmatrix, __global const float *partial, int total, int chunks,
                                 float gain)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    float sum = 0.0f;
    for (int k = 0; k < chunks; k++)
        sum += partial[(i / 9 * chunks + k) * 9 + i % 9];
    dmatrix[i] = gain * sum;
}

__kernel void homography_bwd_points(__global float2 *dpoints, __global const float2 *g, __global const float *matrix,
                                    __global const float2 *points, int total, int P, int N, int shared, float nudge,
                                    float gain)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    const int first = shared ? 0 : i / P, last = shared ? N : first + 1;
    const float2 p = points[i];
    float2 sum = 0.0f;
    for (int n = first; n < last; n++) {
        __global const float *h = matrix + n * 9;
        const float k = denominator(h, p, nudge);
        const float2 v = g[n * P + i % P] / k;
        const float back = dot(v, map_point(h, p, k));
        sum += (float2)(h[0] * v.x + h[3] * v.y - h[6] * back, h[1] * v.x + h[4] * v.y - h[7] * back);
    }
    dpoints[i] = gain * sum;
}
