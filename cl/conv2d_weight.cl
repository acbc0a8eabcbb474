// SPDX-License-Identifier: MIT
//
// conv2d_weight.cl -- the weight gradient of a convolution, its fast forms.
//
//   dw[o, u, v, c] = sum over (n, i, j) of dy[n, i, j, o] x[n, i sh + oh + u dh, j sw + ow + v dw, c]
//
// A product of matrices whose inner dimension is the positions of y. Rows of y are dealt to a number of splits that
// depends on the shape alone; each split leaves its sum in `part`, and conv2d_sum adds these in their order.
//
// Builds: -DMR -DNR the register tile of CPUs, -DV depthwise. The form for GPUs is in conv2d_gpu.cl.
#include "common.clh"

#define UNROLL _Pragma("unroll")

// The same as la_span of src/ops/conv2d.h.
typedef struct {
    int rows, yh, yw;                   // rows of y in all (images x yh), rows and columns of one image
    int h, w, pitch, cols;              // x: pixels, floats from pixel to pixel, channels per group
    int th, tw, sh, sw, oh, ow, dh, dw; // taps; steps of positions, first tap, steps of taps, in pixels of x
    int ypitch, ycols;                  // y: floats from pixel to pixel, channels per group
    int pieces, piece, gap;             // one tap's columns are `pieces` runs of `piece` floats, `gap` apart in x
    int split;                          // rows of y per split
    int tiles, panels;                  // CPUs: tiles of MR rows and panels of NR columns of one work-item
} span;

// dw = the splits' sums, in order.
__kernel void conv2d_sum(__global float *dw, __global const float *part, int splits, int size)
{
    const int at = 16 * (int)get_global_id(0);
    if (at >= size)
        return;
    if (at + 16 <= size) {
        float16 sum = vload16(0, part + at);
        for (int i = 1; i < splits; i++)
            sum += vload16(0, part + (size_t)i * size + at);
        vstore16(sum, 0, dw + at);
    } else {
        for (int k = at; k < size; k++) {
            float sum = part[k];
            for (int i = 1; i < splits; i++)
                sum += part[(size_t)i * size + k];
            dw[k] = sum;
        }
    }
}

#ifdef MR
#define NV (NR / 16)
#define CELLS 44     // register tiles of one work-item at most: its sums stay in the cache
#define POSITIONS 64 // gathered before they are multiplied
#define ALIMIT 264   // floats of y ...
#define BLIMIT 256   // ... and of x gathered per position at most
#define VECTORS(n) (((n) + 15) / 16)

// Asks for a line of the cache before it is needed: a hint, left out where the compiler has none.
#define PREFETCH(p)
#if defined(FETCH) && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#define PREFETCH(p) __builtin_prefetch((const void *)(uintptr_t)(p), 0, 2)
#endif
#endif

static void gather(float *to, __global const float *from, int n)
{
    int k = 0;
    for (; k + 16 <= n; k += 16)
        vstore16(vload16(0, from + k), 0, to + k);
    for (; k < n; k++)
        to[k] = from[k];
}

// One register tile: sum += a^T b over the gathered positions. Meanwhile lines `step` floats apart are fetched from
// `next` on: positions that are gathered next.
static void multiply(float16 sum[MR][NV], const float *a, int ap, const float *b, int bp, int count,
                     __global const float *next, int step)
{
    float16 acc[MR][NV];
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) acc[r][v] = sum[r][v];
    for (int p = 0; p < count; p++, a += ap, b += bp, next += step) {
        float16 bv[NV];
        PREFETCH(next);
        UNROLL for (int v = 0; v < NV; v++) bv[v] = vload16(v, b);
        UNROLL for (int r = 0; r < MR; r++)
        {
            const float16 av = (float16)(a[r]);
            UNROLL for (int v = 0; v < NV; v++) acc[r][v] = fma(av, bv[v], acc[r][v]);
        }
    }
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sum[r][v] = acc[r][v];
}

// One work-item: tiles x panels register tiles of one tap and one split. It gathers 64 positions of y and x into its
// own memory, close together, since in place they lie whole pixels apart, and multiplies them into all its tiles.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_bwd_weight_cpu(__global float *restrict part,
                                                                                   __global const float *restrict dy,
                                                                                   __global const float *restrict x,
                                                                                   const span s)
{
    const int o0 = (int)get_global_id(0) * s.tiles * MR, no = min(s.tiles * MR, s.ycols - o0);
    const int blocks = (s.cols + s.panels * NR - 1) / (s.panels * NR), taps = s.th * s.tw;
    const int tap = (int)get_global_id(1) / blocks % taps, u = tap / s.tw, column = s.ow + (tap - u * s.tw) * s.dw;
    const int g = (int)get_global_id(1) / blocks / taps, split = (int)get_global_id(2);
    const int c0 = (int)get_global_id(1) % blocks * s.panels * NR, nc = min(s.panels * NR, s.cols - c0);
    const int tiles = (no + MR - 1) / MR, cells = tiles * ((nc + NR - 1) / NR);
    const int ap = VECTORS(tiles * MR) * 16, bp = cells / tiles * NR;
    float16 sum[CELLS][MR][NV], as[POSITIONS * VECTORS(ALIMIT)], bs[POSITIONS * VECTORS(BLIMIT)];
    float *a = (float *)as, *b = (float *)bs;

    for (int t = 0; t < cells; t++)
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sum[t][r][v] = (float16)0.0f;
    for (int p = 0; p < POSITIONS; p++) {
        for (int k = no; k < ap; k++)
            a[p * ap + k] = 0.0f;
        for (int k = nc; k < bp; k++)
            b[p * bp + k] = 0.0f;
    }
    // the positions of a row for which this tap lies inside x
    const int first = column >= 0 ? 0 : (-column + s.sw - 1) / s.sw;
    const int end = column > s.w - 1 ? 0 : min(s.yw, (s.w - 1 - column) / s.sw + 1);
    const int last = first < end ? min(s.rows, (split + 1) * s.split) : 0;
    __global const float *px = x, *py = dy;
    int row = split * s.split, q = first;
    while (row < last) {
        int count = 0;
        while (row < last && count < POSITIONS) {
            const int n = row / s.yh, line = (row - n * s.yh) * s.sh + s.oh + u * s.dh;
            if ((uint)line >= (uint)s.h) {
                row++;
                continue;
            }
            const int stop = count + min(end - q, POSITIONS - count);
            px = x + ((n * s.h + line) * s.w + q * s.sw + column) * s.pitch + g * s.cols + c0;
            py = dy + (row * s.yw + q) * s.ypitch + g * s.ycols + o0;
            q += stop - count;
            for (; count < stop; count++, px += s.sw * s.pitch, py += s.ypitch) {
                if (s.pieces == 1)
                    gather(b + count * bp, px, nc);
                else
                    for (int k = 0; k < s.pieces; k++)
                        gather(b + count * bp + k * s.piece, px + k * s.gap, s.piece);
                gather(a + count * ap, py, no);
            }
            if (q == end) {
                q = first;
                row++;
            }
        }
        const int xlines = VECTORS(nc), lines = xlines + VECTORS(no);
        for (int t = 0; t < cells; t++) {
            const int line = t < lines ? t : 0, is_x = line < xlines;
            multiply(sum[t], a + t % tiles * MR, ap, b + t / tiles * NR, bp, count,
                     (is_x ? px : py - 16 * xlines) + 16 * line,
                     t >= lines ? 0
                     : is_x     ? s.sw * s.pitch
                                : s.ypitch);
        }
    }
    const int depth = taps * s.cols, groups = (int)get_global_size(1) / blocks / taps;
    part += ((size_t)(split * groups + g) * s.ycols + o0) * depth + tap * s.cols + c0;
    for (int t = 0; t < cells; t++) {
        const int width = min(NR, nc - t / tiles * NR), height = min(MR, no - t % tiles * MR);
        __global float *to = part + t % tiles * MR * depth + t / tiles * NR;
        for (int r = 0; r < height; r++, to += depth) {
            const float *from = (const float *)sum[t][r];
            for (int k = 0; k < width; k++)
                to[k] = from[k];
        }
    }
}
#endif

#ifdef V
// One work-item: V channels of one tap and one split; part[split][tap][channel].
__kernel void conv2d_bwd_weight_depthwise(__global float *part, __global const float *dy, __global const float *x,
                                          const span s)
{
    const int block = (int)get_global_id(0), tap = (int)get_global_id(1), split = (int)get_global_id(2);
    if (block * V >= s.pitch)
        return;
    const int c0 = min(block * V, s.pitch - V), own = block * V - c0, u = tap / s.tw, column = s.ow + tap % s.tw * s.dw;
    const int first = column >= 0 ? 0 : (-column + s.sw - 1) / s.sw;
    const int end = column > s.w - 1 ? 0 : min(s.yw, (s.w - 1 - column) / s.sw + 1);
    const int last = min(s.rows, (split + 1) * s.split), step = s.sw * s.pitch;
    VEC(V) acc[4];

    UNROLL for (int t = 0; t < 4; t++) acc[t] = (VEC(V))0.0f;
    for (int row = split * s.split; row < last; row++) {
        const int n = row / s.yh, line = (row - n * s.yh) * s.sh + s.oh + u * s.dh;
        if (line < 0 || line >= s.h)
            continue;
        __global const float *py = dy + (row * s.yw + first) * s.pitch + c0;
        __global const float *px = x + ((n * s.h + line) * s.w + first * s.sw + column) * s.pitch + c0;
        int q = first;
        for (; q + 4 <= end; q += 4, px += 4 * step, py += 4 * s.pitch)
            UNROLL for (int t = 0; t < 4; t++)
                acc[t] = fma(VLOAD(V)(0, px + t * step), VLOAD(V)(0, py + t * s.pitch), acc[t]);
        for (; q < end; q++, px += step, py += s.pitch)
            acc[0] = fma(VLOAD(V)(0, px), VLOAD(V)(0, py), acc[0]);
    }
    float lanes[V];
    VSTORE(V)((acc[0] + acc[1]) + (acc[2] + acc[3]), 0, lanes);
    part += (split * s.th * s.tw + tap) * s.pitch + c0;
    for (int k = own; k < V; k++)
        part[k] = lanes[k];
}

// dw[c][tap]: the splits' sums, in order, turned round.
__kernel void conv2d_sum_depthwise(__global float *dw, __global const float *part, int splits, int taps, int channels)
{
    const int at = (int)get_global_id(0), tap = at % taps, c = at / taps;
    if (c >= channels)
        return;
    float sum = 0.0f;
    for (int i = 0; i < splits; i++)
        sum += part[(i * taps + tap) * channels + c];
    dw[at] = sum;
}
#endif
