/* SPDX-License-Identifier: MIT
 *
 * pad.cl -- borders around (N, H, W, C): zeros, or the image mirrored at its edges, the edge pixel included (and
 * mirrored again where the border is wider than the image).
 */
#include "common.clh"

/* The input row under row i of the mirrored image, i counted from the input's first row. */
static int mirrored(int i, int n)
{
    i = i < 0 ? -1 - i : i;
    if (i >= 2 * n)
        i %= 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

/* One work-item copies one pixel; dimensions of the range: columns (rounded up), rows, samples. */
__kernel void pad_fwd(__global float *y, __global const float *x, int H, int W, int C, int h, int w, int top, int left,
                      int symmetric)
{
    const int i = (int)get_global_id(1) - top, j = (int)get_global_id(0) - left, n = (int)get_global_id(2);
    if (j + left >= w)
        return;
    __global float *out = y + ((n * h + i + top) * w + j + left) * C;
    if (!symmetric && (i < 0 || i >= H || j < 0 || j >= W)) {
        for (int c = 0; c < C; c++)
            out[c] = 0.0f;
        return;
    }
    __global const float *in = x + ((n * H + mirrored(i, H)) * W + mirrored(j, W)) * C;
    for (int c = 0; c < C; c++)
        out[c] = in[c];
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

__kernel void pad_bwd_x(__global float *dx, __global const float *g, int H, int W, int C, int h, int w, int top,
                        int left, int symmetric)
{
    const int y = (int)get_global_id(1), x = (int)get_global_id(0), n = (int)get_global_id(2);
    if (x >= W)
        return;
    __global float *out = dx + ((n * H + y) * W + x) * C;
    for (int c = 0; c < C; c++)
        out[c] = symmetric ? 0.0f : g[((n * h + y + top) * w + x + left) * C + c];
    for (int i = next_copy(-top - 1, y, H); symmetric && i < h - top; i = next_copy(i, y, H))
        for (int j = next_copy(-left - 1, x, W); j < w - left; j = next_copy(j, x, W))
            for (int c = 0; c < C; c++)
                out[c] += g[((n * h + i + top) * w + j + left) * C + c];
}
