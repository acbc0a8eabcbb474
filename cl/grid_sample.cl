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

__kernel void grid_sample_fwd(__global float *out, __global const float *image, __global const float2 *grid, int total,
                              int P, int H, int W, int C)
{
    const int item = (int)get_global_id(0), blocks = (C + CHANNELS - 1) / CHANNELS;
    if (item >= total)
        return;
    const int point = item / blocks, first = item % blocks * CHANNELS, last = min(first + CHANNELS, C);
    __global const float *im = image + point / P * H * W * C;
    __global float *o = out + point * C;
    bilinear_cell at;
    const bool found = bilinear_locate(&at, grid[point], H, W);
    for (int c = first; c < last; c++)
        o[c] = 0.0f;
    if (!found)
        return;
    for (int k = 0; k < 4; k++) {
        const int cell = bilinear_index(&at, k, H, W);
        const float weight = bilinear_weight(&at, k);
        if (cell >= 0)
            for (int c = first; c < last; c++)
                o[c] = fma(weight, im[cell * C + c], o[c]);
    }
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
        if (!bilinear_locate(&at, grid[p], H, W) || at.y + 1 < top || at.y >= end)
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
