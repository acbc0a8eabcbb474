/* SPDX-License-Identifier: MIT
 *
 * pad.cl -- borders around (N, H, W, C): zeros, or the image mirrored at its edges, the edge pixel included (and
 * mirrored again where the border is wider than the image).
 */
#include "common.clh"

/* The input row under row i of the mirrored image, i counted from the input's first row. */
static int mirrored(int i, int n)
{
    const int period = 2 * n, m = (i % period + period) % period;
    return m < n ? m : period - 1 - m;
}

__kernel void pad_fwd(__global float *y, __global const float *x, int total, int H, int W, int C, int h, int w, int top,
                      int left, int symmetric)
{
    const int item = (int)get_global_id(0);
    if (item >= total)
        return;
    const int c = item % C, n = item / C / w / h;
    int i = item / C / w % h - top, j = item / C % w - left;
    if (!symmetric && (i < 0 || i >= H || j < 0 || j >= W)) {
        y[item] = 0.0f;
        return;
    }
    i = mirrored(i, H);
    j = mirrored(j, W);
    y[item] = x[((n * H + i) * W + j) * C + c];
}

/* The next output row after i (from `first` on) that shows input row y, i and y counted as in mirrored(). */
static int next_copy(int i, int y, int n)
{
    const int period = 2 * n;
    i++;
    const int a = i + ((y - i) % period + period) % period;
    const int b = i + ((period - 1 - y - i) % period + period) % period;
    return min(a, b);
}

__kernel void pad_bwd_x(__global float *dx, __global const float *g, int total, int H, int W, int C, int h, int w,
                        int top, int left, int symmetric)
{
    const int item = (int)get_global_id(0);
    if (item >= total)
        return;
    const int c = item % C, x = item / C % W, y = item / C / W % H, n = item / C / W / H;
    float sum = 0.0f;
    if (!symmetric)
        sum = g[((n * h + y + top) * w + x + left) * C + c];
    else
        for (int i = next_copy(-top - 1, y, H); i < h - top; i = next_copy(i, y, H))
            for (int j = next_copy(-left - 1, x, W); j < w - left; j = next_copy(j, x, W))
                sum += g[((n * h + i + top) * w + j + left) * C + c];
    dx[item] = sum;
}
