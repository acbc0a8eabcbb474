// SPDX-License-Identifier: MIT
//
// conv2d_fused.cl -- the gradients of what follows a convolution: y = bounded(scale conv(x, w) + shift + residual).
//
// The gradient g before the bounds passes where low < y < high; NaN is not at a bound, so that it passes.
#include "common.clh"

#define PASSES(g, y, low, high) ((y) <= (low) || (y) >= (high) ? 0.0f : (g))

// g may be dy itself.
__kernel void conv2d_fused_bwd_bounds(__global float *g, __global const float *dy, __global const float *y, int count,
                                      float low, float high)
{
    const int i = (int)get_global_id(0);
    if (i < count)
        g[i] = PASSES(dy[i], y[i], low, high);
}

// The same, with part (blocks, n): sums over blocks of `step` rows of g (rows, n). One block per work-item, which goes
// through memory in order: for CPUs.
__kernel void conv2d_fused_bwd_bounds_sum(__global float *g, __global float *part, __global const float *dy,
                                          __global const float *y, int rows, int n, int step, float low, float high)
{
    const int block = (int)get_global_id(0), first = block * step, last = min(rows, first + step);
    if (first >= rows)
        return;
    part += block * n;
    for (int c = 0; c < n; c++)
        part[c] = 0.0f;
    for (int r = first; r < last; r++) {
        __global const float *py = y + r * n, *pdy = dy + r * n;
        __global float *pg = g + r * n;
        int c = 0;
        for (; c + 16 <= n; c += 16) {
            const float16 v = vload16(0, py + c), d = vload16(0, pdy + c);
            const float16 passed = v <= low || v >= high ? (float16)0.0f : d;
            vstore16(passed, 0, pg + c);
            vstore16(vload16(0, part + c) + passed, 0, part + c);
        }
        for (; c < n; c++) {
            const float passed = PASSES(pdy[c], py[c], low, high);
            pg[c] = passed;
            part[c] += passed;
        }
    }
}

// From dw (o, k), the gradient of scale w, and that of the shift, one channel per work-item: the gradients of w (in
// place), of the norm's weight and of the bias. norm (2, o) is scale and shift.
__kernel void conv2d_fused_bwd_norm(__global float *dw, __global float *dweight, __global float *dbias,
                                    __global const float *w, __global const float *norm, __global const float *dshift,
                                    __global const float *bias, __global const float *mean,
                                    __global const float *variance, int o, int k, int biased, int wants_weight,
                                    int wants_bias, float eps)
{
    const int at = (int)get_global_id(0);
    if (at >= o)
        return;
    const float scale = norm[at];
    float16 sums = 0.0f;
    float sum = 0.0f;
    int i = 0;
    dw += at * k;
    w += at * k;
    for (; i + 16 <= k; i += 16) {
        const float16 d = vload16(0, dw + i);
        sums = fma(d, vload16(0, w + i), sums);
        vstore16(scale * d, 0, dw + i);
    }
    for (; i < k; i++) {
        sum = fma(dw[i], w[i], sum);
        dw[i] *= scale;
    }
    if (wants_weight)
        dweight[at] = fma((biased ? bias[at] : 0.0f) - mean[at], dshift[at], SUM16(sums) + sum) /
                      sqrt(variance[at] + eps);
    if (wants_bias)
        dbias[at] = scale * dshift[at];
}
