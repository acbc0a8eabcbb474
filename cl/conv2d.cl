// SPDX-License-Identifier: MIT
//
// conv2d.cl -- convolution, the plain form: the definition, written down.
//
//   y[n, i, j, o] = sum_{u, v, c} w[o, u, v, c] x[n, i sh - top + u dh, j sw - left + v dw, g C/G + c]
//
// x (N, H, W, C), w (O, KH, KW, C/G), y (N, OH, OW, O); g = o / (O/G) is the group of o; outside x is zero. What
// follows the sums: y scale[o] + shift[o] + residual, between bounds. The other forms are checked against these:
// conv2d_sweep.cl and conv2d_weight.cl.
#include "common.clh"

typedef struct {
    int n, h, w, c, o, kh, kw, oh, ow;
    int sh, sw, top, left, dh, dw, groups;
} shape;

// Batch norm with known statistics after a bias, as a scale and a shift: out (2, n), and the shift again alone.
__kernel void conv2d_norm(__global float *out, __global float *alone, __global const float *bias,
                          __global const float *weight, __global const float *offset, __global const float *mean,
                          __global const float *variance, int n, int biased, float eps)
{
    const int o = (int)get_global_id(0);
    if (o >= n)
        return;
    const float scale = weight[o] / sqrt(variance[o] + eps);
    out[o] = scale;
    out[n + o] = alone[o] = fma((biased ? bias[o] : 0.0f) - mean[o], scale, offset[o]);
}

__kernel void conv2d_fwd(__global float *y, __global const float *x, __global const float *w,
                         __global const float *norm, __global const float *residual, const shape s, const after e)
{
    const int at = (int)get_global_id(0);
    if (at >= s.n * s.oh * s.ow * s.o)
        return;
    const int o = at % s.o, j = at / s.o % s.ow, i = at / s.o / s.ow % s.oh, n = at / s.o / s.ow / s.oh;
    const int cg = s.c / s.groups, g = o / (s.o / s.groups);
    float sum = 0.0f;
    for (int u = 0; u < s.kh; u++)
        for (int v = 0; v < s.kw; v++) {
            const int row = i * s.sh - s.top + u * s.dh, column = j * s.sw - s.left + v * s.dw;
            if (row < 0 || row >= s.h || column < 0 || column >= s.w)
                continue;
            __global const float *px = x + ((n * s.h + row) * s.w + column) * s.c + g * cg;
            __global const float *pw = w + ((o * s.kh + u) * s.kw + v) * cg;
            float tap = 0.0f;
            for (int c = 0; c < cg; c++)
                tap = fma(px[c], pw[c], tap);
            sum += tap;
        }
    sum = (e.scale >= 0 ? norm[e.scale + o] * sum : sum) + (e.shift >= 0 ? norm[e.shift + o] : 0.0f);
    sum = e.residual ? sum + residual[at] : sum;
    y[at] = BOUND(sum, e.low, e.high);
}

// dx[n, row, column, c]: every output that read it, times its scale (scale < 0: none).
__kernel void conv2d_bwd_x(__global float *dx, __global const float *dy, __global const float *w,
                           __global const float *norm, const shape s, int scale)
{
    const int at = (int)get_global_id(0);
    if (at >= s.n * s.h * s.w * s.c)
        return;
    const int c = at % s.c, column = at / s.c % s.w, row = at / s.c / s.w % s.h, n = at / s.c / s.w / s.h;
    const int cg = s.c / s.groups, og = s.o / s.groups, g = c / cg;
    float sum = 0.0f;
    for (int u = 0; u < s.kh; u++)
        for (int v = 0; v < s.kw; v++) {
            const int i = row + s.top - u * s.dh, j = column + s.left - v * s.dw;
            if (i < 0 || i % s.sh != 0 || i / s.sh >= s.oh || j < 0 || j % s.sw != 0 || j / s.sw >= s.ow)
                continue;
            __global const float *py = dy + ((n * s.oh + i / s.sh) * s.ow + j / s.sw) * s.o + g * og;
            __global const float *pw = w + ((g * og * s.kh + u) * s.kw + v) * cg + c % cg;
            float tap = 0.0f;
            for (int o = 0; o < og; o++)
                tap = fma(scale >= 0 ? norm[scale + g * og + o] * py[o] : py[o], pw[o * s.kh * s.kw * cg], tap);
            sum += tap;
        }
    dx[at] = sum;
}

// dw[o, u, v, c]: summed row by row, so that rounding errors stay those of short sums.
__kernel void conv2d_bwd_weight(__global float *dw, __global const float *dy, __global const float *x, const shape s)
{
    const int at = (int)get_global_id(0), cg = s.c / s.groups;
    if (at >= s.o * s.kh * s.kw * cg)
        return;
    const int c = at % cg, v = at / cg % s.kw, u = at / cg / s.kw % s.kh, o = at / cg / s.kw / s.kh;
    const int g = o / (s.o / s.groups);
    float sum = 0.0f;
    for (int n = 0; n < s.n; n++) {
        float image = 0.0f;
        for (int i = 0; i < s.oh; i++) {
            const int row = i * s.sh - s.top + u * s.dh;
            if (row < 0 || row >= s.h)
                continue;
            float line = 0.0f;
            for (int j = 0; j < s.ow; j++) {
                const int column = j * s.sw - s.left + v * s.dw;
                if (column >= 0 && column < s.w)
                    line = fma(dy[((n * s.oh + i) * s.ow + j) * s.o + o],
                               x[((n * s.h + row) * s.w + column) * s.c + g * cg + c], line);
            }
            image += line;
        }
        sum += image;
    }
    dw[at] = sum;
}
