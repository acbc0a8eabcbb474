// SPDX-License-Identifier: MIT
//
// conv2d_narrow.cl -- the data gradient of a convolution from few channels, on CPUs.
//
// dx has too few channels to fill a vector. But all that one position of y sends to x, kh kw c numbers, is a row of the
// product dy W with W as it lies, (o, kh kw c). So a few positions at a time are multiplied into memory of their own,
// and their rows of the kernel, `run` = kw c floats that are next to each other in x, are added to where they belong.
// Each work-item owns a band of rows of dx and goes through the rows of y that reach it in their order.
//
// Builds: -DMR -DNR, the register tile.
#include "common.clh"

#define NV (NR / 16)
#define UNROLL _Pragma("unroll")
#define POSITIONS (4 * MR) // multiplied at a time
#define COLUMNS 288        // of the product at most: 256 in whole panels

// The same as `narrow` of src/ops/conv2d_narrow.c.
typedef struct {
    int h, w, c, o, kh, run, oh, ow;
    int sh, sw, top, left, dh;
    int columns, bands;
    int scale; // where the channels' scales start in norm, or -1
} narrow;

// packed[panel][o][NR], scaled and filled up with zeros. One row of a panel per work-item.
__kernel void conv2d_narrow_pack(__global float *packed, __global const float *w, __global const float *norm,
                                 const narrow s)
{
    const int o = (int)get_global_id(0), panel = (int)get_global_id(1);
    if (o >= s.o)
        return;
    const float scale = s.scale < 0 ? 1.0f : norm[s.scale + o];
    packed += (panel * s.o + o) * NR;
    w += o * s.columns + panel * NR;
    for (int k = 0; k < NR; k++)
        packed[k] = panel * NR + k < s.columns ? w[k] * scale : 0.0f;
}

// z[position][column] of `count` positions from dy on.
static void multiply(float *z, __global const float *dy, __global const float *b, int o, int panels, int count)
{
    for (int panel = 0; panel < panels; panel++, b += o * NR)
        for (int p = 0; p < count; p += MR) {
            __global const float *a[MR], *bp = b;
            float16 acc[MR][NV];
            UNROLL for (int r = 0; r < MR; r++)
            {
                a[r] = dy + min(p + r, count - 1) * o;
                UNROLL for (int v = 0; v < NV; v++) acc[r][v] = (float16)0.0f;
            }
            for (int k = 0; k < o; k++, bp += NR) {
                float16 bv[NV];
                UNROLL for (int v = 0; v < NV; v++) bv[v] = vload16(v, bp);
                UNROLL for (int r = 0; r < MR; r++)
                {
                    const float16 av = (float16)(a[r][k]);
                    UNROLL for (int v = 0; v < NV; v++) acc[r][v] = fma(av, bv[v], acc[r][v]);
                }
            }
            UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
                vstore16(acc[r][v], v, z + (p + r) * panels * NR + panel * NR);
        }
}

// Vectors anywhere: vload and vstore become several accesses on some compilers.
typedef struct __attribute__((packed)) {
    float16 v;
} unaligned16;

typedef struct __attribute__((packed)) {
    float8 v;
} unaligned8;

// Adds `run` floats to row[at ...] as far as these are from 0 to `length`.
static void add_run(__global float *row, int length, int at, const float *from, int run)
{
    if (at < 0 || at + run + 7 > length) {
        for (int k = max(0, -at); k < min(run, length - at); k++)
            row[at + k] += from[k];
        return;
    }
    int k = 0;
    for (row += at; k + 16 <= run; k += 16)
        ((__global unaligned16 *)(row + k))->v += ((const unaligned16 *)(from + k))->v;
    for (; k < run; k += 8)
        ((__global unaligned8 *)(row + k))->v += (int8)(0, 1, 2, 3, 4, 5, 6, 7) < (int8)(run - k)
                                                     ? ((const unaligned8 *)(from + k))->v
                                                     : (float8)0.0f;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_narrow_bwd_x(__global float *restrict dx,
                                                                                 __global const float *restrict dy,
                                                                                 __global const float *restrict packed,
                                                                                 const narrow s)
{
    const int n = (int)get_global_id(1), band = (int)get_global_id(0), length = s.w * s.c, step = s.sw * s.c;
    const int first = s.h * band / s.bands, last = s.h * (band + 1) / s.bands, panels = (s.columns + NR - 1) / NR;
    const int phases = (s.run + 7 + step - 1) / step; // runs that many positions apart do not touch
    const int before = first + s.top - (s.kh - 1) * s.dh, end = min(s.oh, (last - 1 + s.top) / s.sh + 1);
    float z[POSITIONS * COLUMNS + 8];

    dx += n * s.h * length;
    dy += n * s.oh * s.ow * s.o;
    for (int k = first * length; k < last * length; k++)
        dx[k] = 0.0f;
    for (int i = before <= 0 ? 0 : (before + s.sh - 1) / s.sh; i < end; i++)
        for (int p0 = 0; p0 < s.ow; p0 += POSITIONS) {
            const int count = min(POSITIONS, s.ow - p0);
            multiply(z, dy + (i * s.ow + p0) * s.o, packed, s.o, panels, count);
            for (int u = 0; u < s.kh; u++) {
                const int row = i * s.sh - s.top + u * s.dh;
                if (row < first || row >= last)
                    continue;
                for (int phase = 0; phase < phases; phase++)
                    for (int p = phase; p < count; p += phases)
                        add_run(dx + row * length, length, (p0 + p) * step - s.left * s.c,
                                z + p * panels * NR + u * s.run, s.run);
            }
        }
}
