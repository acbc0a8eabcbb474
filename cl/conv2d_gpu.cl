// SPDX-License-Identifier: MIT
//
// conv2d_gpu.cl -- convolution on GPUs: a product of matrices whose left factor is gathered as it is read. A work-group
// of 16 x 16 makes a tile of 64 x 64, see matmul_gpu.cl; neighbours touch neighbouring addresses.
#include "common.clh"

#define UNROLL _Pragma("unroll")

// The same as la_sweep and la_taps of src/ops/conv2d.h.
typedef struct {
    int rows, ph, pw;                   // positions in all, and per image
    int h, w, pitch, run;               // source: pixels, floats from pixel to pixel, floats read per tap
    int th, tw, sh, sw, oh, ow, dh, dw; // taps; steps of positions, first tap, steps of taps, in source pixels
    int yh, yw, ysh, ysw, yoh, yow;     // destination: pixels, step and offset of positions in it
    int ypitch, cols;                   // floats from pixel to pixel, floats written per group
    int clears;                         // whether the pixels skipped by the steps in the destination are set to zero
    int panels_first;                   // which the first dimension of the grid sweeps: positions (0) or panels (1)
} sweep;

// Where the weight of (group, column, tap, run) lies: start + g sg + n sn + i si + j sj + c sc. Where the scale of
// output channels and the shift of columns lie in their buffer, or -1; output channels are the columns, or run.
typedef struct {
    int start, sg, sn, si, sj, sc;
    int scale, shift, by_run;
} taps;

// The same as la_conv of src/ops/conv2d.h.
typedef struct {
    int n, h, w, c, o, kh, kw, oh, ow;
    int sh, sw, top, left, dh, dw, groups;
} shape;

#define SIDE 16 // of the work-group, and depth of a slice
#define TILE 64
#define PITCH (TILE + 1)

// A work-group makes 64 positions x 64 columns; see matmul_gpu.cl. Weights are read where they lie.
__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void conv2d_sweep_gpu(
    __global float *y, __global const float *x, __global const float *w, __global const float *norm,
    __global const float *residual, const sweep s, const taps f, const after e)
{
    __local float as[SIDE * PITCH], bs[SIDE * PITCH];
    const int lx = (int)get_local_id(0), ly = (int)get_local_id(1), id = ly * SIDE + lx;
    const int n0 = (int)get_group_id(0) * TILE, m0 = (int)get_group_id(1) * TILE, g = (int)get_group_id(2);
    const int depth = s.th * s.tw * s.run;
    int row[4], column[4], from[4];
    float acc[4][4];

    UNROLL for (int t = 0; t < 4; t++)
    { // the positions whose source pixels this work-item loads
        const int m = m0 + id / SIDE + SIDE * t, n = m / (s.ph * s.pw), p = m - n * s.ph * s.pw;
        row[t] = m < s.rows ? p / s.pw * s.sh + s.oh : INT_MIN / 2;
        column[t] = p % s.pw * s.sw + s.ow;
        from[t] = ((n * s.h + p / s.pw * s.sh + s.oh) * s.w + column[t]) * s.pitch + g * s.run;
    }
    UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++)
    {
        const int n = n0 + lx + SIDE * j;
        acc[i][j] = f.shift >= 0 && n < s.cols ? norm[f.shift + g * s.cols + n] : 0.0f;
    }
    w += f.start + g * f.sg;
    for (int k0 = 0; k0 < depth; k0 += SIDE) {
        const int ka = k0 + id % SIDE, ta = ka / s.run, ia = ta / s.tw, ja = ta - ia * s.tw;
        for (int t = 0; t < 4; t++) {
            const bool inside = ka < depth && (uint)(row[t] + ia * s.dh) < (uint)s.h &&
                                (uint)(column[t] + ja * s.dw) < (uint)s.w;
            as[id % SIDE * PITCH + id / SIDE + SIDE * t] =
                inside ? x[from[t] + (ia * s.dh * s.w + ja * s.dw) * s.pitch + ka - ta * s.run] : 0.0f;
            // neighbours load along whichever direction lies in consecutive addresses
            const int deep = f.sc == 1 ? id % SIDE : id / TILE + 4 * t,
                      wide = f.sc == 1 ? id / SIDE + SIDE * t : id % TILE;
            const int kb = k0 + deep, tb = kb / s.run, ib = tb / s.tw, jb = tb - ib * s.tw;
            float weight = kb < depth && n0 + wide < s.cols
                               ? w[(n0 + wide) * f.sn + ib * f.si + jb * f.sj + (kb - tb * s.run) * f.sc]
                               : 0.0f;
            if (f.scale >= 0 && kb < depth && n0 + wide < s.cols)
                weight *= norm[f.scale + (f.by_run ? g * s.run + kb - tb * s.run : g * s.cols + n0 + wide)];
            bs[deep * PITCH + wide] = weight;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int k = 0; k < SIDE; k++)
        {
            float av[4], bv[4];
            UNROLL for (int t = 0; t < 4; t++)
            {
                av[t] = as[k * PITCH + ly + SIDE * t];
                bv[t] = bs[k * PITCH + lx + SIDE * t];
            }
            UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++)
                acc[i][j] = fma(av[i], bv[j], acc[i][j]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < 4; i++) {
        const int m = m0 + ly + SIDE * i, n = m / (s.ph * s.pw), p = m - n * s.ph * s.pw;
        const int into = ((n * s.yh + p / s.pw * s.ysh + s.yoh) * s.yw + p % s.pw * s.ysw + s.yow) * s.ypitch +
                         g * s.cols;
        for (int j = 0; j < 4; j++)
            if (m < s.rows && n0 + lx + SIDE * j < s.cols) {
                const int at = into + n0 + lx + SIDE * j;
                const float sum = e.residual ? acc[i][j] + residual[at] : acc[i][j];
                y[at] = BOUND(sum, e.low, e.high);
            }
    }
}

// A work-group makes 64 channels of y x 64 columns (tap and channel of x) for one split of `rows` rows of y.
// part[split][g][o][tap][c]: dw itself if there is one split only.
__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void conv2d_bwd_weight_gpu(__global float *part,
                                                                                         __global const float *dy,
                                                                                         __global const float *x,
                                                                                         const shape s, int rows)
{
    __local float as[SIDE * PITCH], bs[SIDE * PITCH];
    const int lx = (int)get_local_id(0), ly = (int)get_local_id(1), id = ly * SIDE + lx;
    const int cg = s.c / s.groups, og = s.o / s.groups, groups = s.groups, depth = s.kh * s.kw * cg;
    const int k0 = (int)get_group_id(0) * TILE, o0 = (int)get_group_id(1) * TILE;
    const int g = (int)get_group_id(2) % groups, split = (int)get_group_id(2) / groups;
    const int wide = id % TILE, deep = id / TILE; // what this work-item loads
    const int k = k0 + wide, tap = k / cg, u = tap / s.kw, v = tap - u * s.kw, c = k - tap * cg;
    const int first = split * rows * s.ow, last = min(s.n * s.oh, (split + 1) * rows) * s.ow;
    float acc[4][4];

    UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) acc[i][j] = 0.0f;
    for (int p0 = first; p0 < last; p0 += SIDE) {
        for (int t = 0; t < SIDE; t += 4) {
            const int p = p0 + deep + t, line = p / s.ow, n = line / s.oh;
            const int row = (line - n * s.oh) * s.sh - s.top + u * s.dh;
            const int column = (p - line * s.ow) * s.sw - s.left + v * s.dw;
            const bool inside = p < last && k < depth && (uint)row < (uint)s.h && (uint)column < (uint)s.w;
            as[(deep + t) * PITCH + wide] = p < last && o0 + wide < og ? dy[p * s.o + g * og + o0 + wide] : 0.0f;
            bs[(deep + t) * PITCH + wide] = inside ? x[((n * s.h + row) * s.w + column) * s.c + g * cg + c] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int p = 0; p < SIDE; p++)
        {
            float av[4], bv[4];
            UNROLL for (int t = 0; t < 4; t++)
            {
                av[t] = as[p * PITCH + ly + SIDE * t];
                bv[t] = bs[p * PITCH + lx + SIDE * t];
            }
            UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++)
                acc[i][j] = fma(av[i], bv[j], acc[i][j]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    part += (size_t)(split * groups + g) * og * depth;
    UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++)
    {
        const int o = o0 + ly + SIDE * i, at = k0 + lx + SIDE * j;
        if (o < og && at < depth)
            part[o * depth + at] = acc[i][j];
    }
}

// dw = the splits' sums, in order.
__kernel void conv2d_sum_gpu(__global float *dw, __global const float *part, int splits, int size)
{
    const int at = (int)get_global_id(0);
    if (at >= size)
        return;
    float sum = part[at];
    for (int i = 1; i < splits; i++)
        sum += part[(size_t)i * size + at];
    dw[at] = sum;
}
