/* SPDX-License-Identifier: MIT
 *
 * l2_normalize.cl -- y = x / sqrt(sum_c x_c^2 + eps) along one dimension of an (outer, C, inner) array.
 * One work-item owns one row; its sum runs in a fixed order.
 */
#include "common.clh"

/* A row of C contiguous elements (inner == 1): 8 partial sums. */
static float dot_row(__global const float *a, __global const float *b, int C)
{
    float8 sum = 0.0f;
    int c = 0;
    for (; c + 8 <= C; c += 8)
        sum = fma(vload8(0, a + c), vload8(0, b + c), sum);
    float s = SUM8(sum);
    for (; c < C; c++)
        s = fma(a[c], b[c], s);
    return s;
}

static float dot_strided(__global const float *a, __global const float *b, int C, int stride)
{
    float s = 0.0f;
    for (int c = 0; c < C; c++)
        s = fma(a[c * stride], b[c * stride], s);
    return s;
}

/* out = s a + t b along a row. */
static void combine_row(__global float *out, __global const float *a, float s, __global const float *b, float t, int C,
                        int stride)
{
    int c = 0;
    if (stride == 1)
        for (; c + 8 <= C; c += 8)
            vstore8(s * vload8(0, a + c) + t * vload8(0, b + c), 0, out + c);
    for (; c < C; c++)
        out[c * stride] = s * a[c * stride] + t * b[c * stride];
}

/* norm[row] = 1 / sqrt(sum x^2 + eps) is kept for the gradient. */
__kernel void l2_normalize_fwd(__global float *y, __global float *norm, __global const float *x, int rows, int C,
                               int inner, float eps)
{
    const int row = (int)get_global_id(0);
    if (row >= rows)
        return;
    const int at = row / inner * C * inner + row % inner;
    const float sum = inner == 1 ? dot_row(x + at, x + at, C) : dot_strided(x + at, x + at, C, inner);
    const float r = 1.0f / sqrt(sum + eps);
    norm[row] = r;
    combine_row(y + at, x + at, r, x + at, 0.0f, C, inner);
}

/* dx = r g - r^3 x sum(g x) */
__kernel void l2_normalize_bwd_x(__global float *dx, __global const float *g, __global const float *x,
                                 __global const float *norm, int rows, int C, int inner)
{
    const int row = (int)get_global_id(0);
    if (row >= rows)
        return;
    const int at = row / inner * C * inner + row % inner;
    const float r = norm[row];
    const float gx = inner == 1 ? dot_row(g + at, x + at, C) : dot_strided(g + at, x + at, C, inner);
    combine_row(dx + at, g + at, r, x + at, -r * r * r * gx, C, inner);
}
