/* SPDX-License-Identifier: MIT
 *
 * grid_sample.cl -- bilinear sampling of an image (N, H, W, C) at points (N, P) of [-1, 1]^2, corners aligned. A corner
 * outside the image counts as 0; the other weights stay as they are.
 *
 * Channels go in blocks of CHANNELS. The image's gradient is gathered, without atomics: one work-item owns some rows of
 * one image and one block of channels and walks through all points in order, so that every sum has one order, however
 * the rows are divided.
 */
#include "common.clh"

#define CHANNELS 16

/* `count` channels at o: the weighted corners, those outside left out. */
static void blend(__global float *o, __global const float *im, const bilinear_cell *at, int H, int W, int C, int count)
{
    for (int c = 0; c < count; c++)
        o[c] = 0.0f;
    for (int k = 0; k < 4; k++) {
        const int cell = bilinear_index(at, k, H, W);
        const float weight = bilinear_weight(at, k);
        for (int c = 0; cell >= 0 && c < count; c++)
            o[c] = fma(weight, im[cell * C + c], o[c]);
    }
}

__kernel void grid_sample_fwd(__global float *out, __global const float *image, __global const float2 *grid, int total,
                              int P, int H, int W, int C)
{
    const int item = (int)get_global_id(0), blocks = (C + CHANNELS - 1) / CHANNELS;
    if (item >= total)
        return;
    const int n = (int)get_global_id(1), point = item / blocks, first = (item - point * blocks) * CHANNELS;
    const int count = min(C - first, CHANNELS);
    __global const float *im = image + n * H * W * C + first;
    __global float *o = out + (n * P + point) * C + first;
    bilinear_cell at;
    if (!bilinear_locate(&at, grid[n * P + point], H, W)) {
        for (int c = 0; c < count; c++)
            o[c] = 0.0f;
        return;
    }
    if (at.x < 0 || at.y < 0 || at.x + 1 >= W || at.y + 1 >= H || (count < CHANNELS && C != 3)) {
        blend(o, im, &at, H, W, C, count);
        return;
    }
    __global const float *p = im + (at.y * W + at.x) * C, *q = p + W * C;
    const float a = bilinear_weight(&at, 0), b = bilinear_weight(&at, 1), c = bilinear_weight(&at, 2),
                d = bilinear_weight(&at, 3);
    if (C == 3)
        vstore3(a * vload3(0, p) + b * vload3(1, p) + c * vload3(0, q) + d * vload3(1, q), 0, o);
    else
        vstore16(a * vload16(0, p) + b * vload16(0, p + C) + c * vload16(0, q) + d * vload16(0, q + C), 0, o);
}

__kernel void grid_sample_bwd_grid(__global float2 *dgrid, __global const float *g, __global const float *image,
                                   __global const float2 *grid, int total, int P, int H, int W, int C)
{
    const int point = (int)get_global_id(0);
    if (point >= total)
        return;
    __global const float *im = image + point / P * H * W * C, *v = g + point * C;
    bilinear_cell at;
    float d[4] = { 0.0f, 0.0f, 0.0f, 0.0f };
    if (!bilinear_locate(&at, grid[point], H, W)) {
        dgrid[point] = (float2)(0.0f);
        return;
    }
    for (int k = 0; k < 4; k++) {
        const int cell = bilinear_index(&at, k, H, W);
        for (int c = 0; cell >= 0 && c < C; c++)
            d[k] = fma(v[c], im[cell * C + c], d[k]);
    }
    dgrid[point] = bilinear_slope(&at, d, H, W);
}

__kernel void grid_sample_bwd_image(__global float *dimage, __global const float *g, __global const float2 *grid,
                                    int total, int P, int H, int W, int C, int band)
{
    const int item = (int)get_global_id(0), blocks = (C + CHANNELS - 1) / CHANNELS, bands = (H + band - 1) / band;
    if (item >= total)
        return;
    const int first = item % blocks * CHANNELS, last = min(first + CHANNELS, C);
    const int n = item / blocks / bands, top = item / blocks % bands * band, end = min(top + band, H);
    __global float *im = dimage + n * H * W * C;
    for (int i = top * W; i < end * W; i++)
        for (int c = first; c < last; c++)
            im[i * C + c] = 0.0f;
    for (int p = n * P; p < (n + 1) * P; p++) {
        bilinear_cell at;
        const float py = (grid[p].y + 1.0f) * 0.5f * (float)(H - 1); /* most points are elsewhere: a quick test first */
        if (!(py >= (float)(top - 1) && py < (float)end) || !bilinear_locate(&at, grid[p], H, W))
            continue;
        for (int k = 0; k < 4; k++) {
            const int cell = bilinear_index(&at, k, H, W), row = at.y + (k >> 1);
            const float weight = bilinear_weight(&at, k);
            if (cell < 0 || row < top || row >= end)
                continue;
            for (int c = first; c < last; c++)
                im[cell * C + c] = fma(weight, g[p * C + c], im[cell * C + c]);
        }
    }
}
