/* SPDX-License-Identifier: MIT
 *
 * resize.cl -- bilinear change of size of (N, H, W, C), without antialiasing. Output row i lies on the input at
 *   aligned:     i (H - 1) / (h - 1)
 *   half_pixel:  (i + 1/2) H / h - 1/2, clamped to the image
 * computed in whole numbers, so that the fraction is exact. The gradient is gathered over the outputs near each input.
 */
#include "common.clh"

/* The upper of the two input rows and the weight of the lower one. */
static int locate(float *fraction, int i, int in, int out, int aligned)
{
    const int number = aligned ? i * (in - 1) : max((2 * i + 1) * in - out, 0);
    const int divisor = aligned ? max(out - 1, 1) : 2 * out;
    const int row = min(number / divisor, in - 1);
    *fraction = row == in - 1 ? 0.0f : (float)(number - row * divisor) / (float)divisor;
    return row;
}

/* The weight of input row y in output row i. */
static float weight_of(int y, int i, int in, int out, int aligned)
{
    float f;
    const int row = locate(&f, i, in, out, aligned);
    return row == y ? 1.0f - f : row + 1 == y ? f : 0.0f;
}

/* The first output row that input row y may touch, and the one after the last. */
static int2 touched(int y, int in, int out, int aligned)
{
    const float step = aligned ? (float)max(out - 1, 1) / (float)max(in - 1, 1) : (float)out / (float)in;
    const int first = (int)floor(((float)y - 1.0f) * step) - 1, last = (int)ceil(((float)y + 2.0f) * step) + 2;
    return in == 1 ? (int2)(0, out) : (int2)(max(first, 0), y == in - 1 ? out : min(last, out));
}

__kernel void resize_fwd(__global float *y, __global const float *x, int total, int H, int W, int C, int h, int w,
                         int aligned)
{
    const int item = (int)get_global_id(0);
    if (item >= total)
        return;
    float fy, fx;
    const int n = item / w / h, top = locate(&fy, item / w % h, H, h, aligned),
              left = locate(&fx, item % w, W, w, aligned);
    const int down = top < H - 1 ? W * C : 0, right = left < W - 1 ? C : 0;
    __global const float *p = x + ((n * H + top) * W + left) * C;
    for (int c = 0; c < C; c++, p++) {
        const float above = fma(fx, p[right] - p[0], p[0]), below = fma(fx, p[down + right] - p[down], p[down]);
        y[item * C + c] = fma(fy, below - above, above);
    }
}

__kernel void resize_bwd_x(__global float *dx, __global const float *g, int total, int H, int W, int C, int h, int w,
                           int aligned)
{
    const int item = (int)get_global_id(0);
    if (item >= total)
        return;
    const int n = item / W / H, y = item / W % H, x = item % W;
    const int2 rows = touched(y, H, h, aligned), columns = touched(x, W, w, aligned);
    for (int c = 0; c < C; c++)
        dx[item * C + c] = 0.0f;
    for (int i = rows.s0; i < rows.s1; i++) {
        const float wy = weight_of(y, i, H, h, aligned);
        for (int j = columns.s0; wy != 0.0f && j < columns.s1; j++) {
            const float weight = wy * weight_of(x, j, W, w, aligned);
            __global const float *v = g + ((n * h + i) * w + j) * C;
            for (int c = 0; weight != 0.0f && c < C; c++)
                dx[item * C + c] = fma(weight, v[c], dx[item * C + c]);
        }
    }
}
