// SPDX-License-Identifier: MIT
//
// conv2d_sweep.cl -- the sweep: what convolution and its data gradient have in common, and the fast forms of it.
//
//   y[p * ys + yo] = shift + sum_{i < th, j < tw} scale W[i, j] x[p * s + o + i * d]  (per direction; outside x is
//   zero)
//
// A grid of positions p = (n, ph, pw) sweeps over a source map x in steps of s, meets th x tw taps d apart and writes
// to every ys-th pixel of y. Forward: s = stride, o = -padding, d = dilation, ys = 1. Data gradient: the roles of x and
// y change, d is negative, and each residue of the pixels modulo the stride is a sweep of its own with its own taps and
// ys = stride: a gather, nothing is added to memory twice. A residual is added to y and bounds are kept before it is
// stored.
//
// Builds: -DMR -DNR the register tile of CPUs, -DV depthwise, V channels at once. The form for GPUs is in
// conv2d_gpu.cl.
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

#ifdef MR
#define NV (NR / 16)

// Asks for a line of the cache before it is needed (-DFETCH): a hint, left out where the compiler has none.
#define PREFETCH(p, write)
#if defined(FETCH) && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#define PREFETCH(p, write) __builtin_prefetch((const void *)(uintptr_t)(p), write, 2)
#endif
#endif

#define BLOCK 16 // rows of a panel that one work-item packs

// Into panels of NR columns, scaled: packed[g][panel][i][j][c][NR], then the shift of every panel, then a row of zeros
// that stands for pixels outside x.
__kernel void conv2d_pack(__global float *packed, __global const float *w, __global const float *norm, const sweep s,
                          const taps f)
{
    const int k0 = (int)get_global_id(0) * BLOCK, panel = (int)get_global_id(1), g = (int)get_global_id(2);
    const int panels = (int)get_global_size(1), all = panels * (int)get_global_size(2), depth = s.th * s.tw * s.run;
    const int rows = min(BLOCK, depth - k0), columns = min(NR, s.cols - panel * NR);
    int from[BLOCK];

    if (k0 > depth)
        return;
    w += f.start + g * f.sg + panel * NR * f.sn;
    for (int r = 0; r < rows; r++) {
        const int t = (k0 + r) / s.run, i = t / s.tw;
        from[r] = i * f.si + (t - i * s.tw) * f.sj + (k0 + r - t * s.run) * f.sc;
    }
    __global float *to = packed + ((size_t)(g * panels + panel) * depth + k0) * NR;
    if (f.sn == 1) {
        for (int r = 0; r < rows; r++)
            for (int n = 0; n < columns; n++)
                to[r * NR + n] = w[from[r] + n];
    } else if (rows > 0 && f.sc == 1 && from[rows - 1] - from[0] == rows - 1) {
        for (int n = 0; n < columns; n += 16)
            transpose_block(to + n, NR, w + from[0] + n * f.sn, f.sn, rows, min(16, columns - n));
    } else {
        for (int n = 0; n < columns; n++)
            for (int r = 0; r < rows; r++)
                to[r * NR + n] = w[from[r] + n * f.sn];
    }
    for (int r = 0; r < rows; r++)
        for (int n = columns; n < NR; n++)
            to[r * NR + n] = 0.0f;
    norm += g * (f.by_run ? s.run : s.cols);
    if (f.scale >= 0)
        for (int r = 0; r < rows; r++)
            for (int n = 0; n < columns; n++)
                to[r * NR + n] *= norm[f.scale + (f.by_run ? (k0 + r) % s.run : panel * NR + n)];
    if (k0 + BLOCK <= depth)
        return;
    to = packed + ((size_t)all * depth + g * panels + panel) * NR;
    for (int n = 0; n < NR; n++)
        to[n] = f.shift >= 0 && n < columns ? norm[f.shift + panel * NR + n] : 0.0f;
    to = packed + (size_t)all * (depth + 1) * NR;
    for (int c = 0; g + panel == 0 && c < s.run; c++)
        to[c] = 0.0f;
}

// Zeros for `columns` channels from `at` on of the pixels between position m and the next ones.
static void clear_skipped(__global float *y, const sweep *s, int m, int at, int columns)
{
    const int n = m / (s->ph * s->pw), ph = m / s->pw - n * s->ph, pw = m % s->pw;
    for (int i = ph * s->ysh; i < min(s->yh, (ph + 1) * s->ysh); i++)
        for (int j = pw * s->ysw; j < min(s->yw, (pw + 1) * s->ysw); j++) {
            __global float *pixel = y + ((n * s->yh + i) * s->yw + j) * s->ypitch + at;
            if (i == ph * s->ysh && j == pw * s->ysw)
                continue;
            if (columns == NR) {
                UNROLL for (int v = 0; v < NV; v++) vstore16((float16)0.0f, v, pixel);
            } else {
                for (int k = 0; k < columns; k++)
                    pixel[k] = 0.0f;
            }
        }
}

// The sums of one tile += what one tap gives: a[r][at + c] times rows of the panel, which *b moves behind. The same tap
// of the next positions, which follow these in memory, is fetched from `next` on.
static inline void add_tap(float16 acc[MR][NV], __global const float *a[MR], int at, __global const float **b, int run,
                           __global const float *next, int step)
{
    for (int c = 0; c < run; c++, *b += NR) {
        float16 bv[NV];
        UNROLL for (int v = 0; v < NV; v++) bv[v] = vload16(v, *b);
        PREFETCH(next + c * step, 0);
        UNROLL for (int r = 0; r < MR; r++)
        {
            const float16 av = (float16)(a[r][at + c]);
            UNROLL for (int v = 0; v < NV; v++) acc[r][v] = fma(av, bv[v], acc[r][v]);
        }
    }
}

// What becomes of the sums of one tile.
static inline void finish_tile(float16 acc[MR][NV], __global float *y, __global const float *residual,
                               const int into[MR], int rows, int columns, const after *e)
{
    if (rows >= MR && columns == NR) {
        if (e->residual) {
            UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
                acc[r][v] += vload16(v, residual + into[r]);
        }
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
            vstore16(BOUND(acc[r][v], (float16)e->low, (float16)e->high), v, y + into[r]);
    } else {
        float edge[MR * NR];
        int place[MR];
        UNROLL for (int r = 0; r < MR; r++)
        {
            place[r] = into[r];
            UNROLL for (int v = 0; v < NV; v++) vstore16(acc[r][v], v, edge + r * NR);
        }
        for (int r = 0; r < min(MR, rows); r++)
            for (int k = 0; k < columns; k++) {
                const float sum = e->residual ? edge[r * NR + k] + residual[place[r] + k] : edge[r * NR + k];
                y[place[r] + k] = BOUND(sum, e->low, e->high);
            }
    }
}

// One work-item: `each` tiles of MR consecutive positions by NR columns. A row of x is read where it lies and
// broadcast.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_sweep_cpu(__global float *restrict y,
                                                                              __global const float *restrict x,
                                                                              __global const float *restrict packed,
                                                                              __global const float *restrict residual,
                                                                              const sweep s, const after e, int each)
{
    const int first = (int)get_global_id(s.panels_first) * MR * each, panel = (int)get_global_id(1 - s.panels_first);
    const int panels = (int)get_global_size(1 - s.panels_first), g = (int)get_global_id(2);
    const int all = panels * (int)get_global_size(2), depth = s.th * s.tw * s.run;
    const int columns = min(NR, s.cols - panel * NR), last_row = (s.th - 1) * s.dh, last_column = (s.tw - 1) * s.dw;
    __global const float *shift = packed + ((size_t)all * depth + g * panels + panel) * NR;
    __global const float *zero = packed + (size_t)all * (depth + 1) * NR;

    int n = first / (s.ph * s.pw), ph = (first - n * s.ph * s.pw) / s.pw, pw = first - (n * s.ph + ph) * s.pw;
    for (int m0 = first; m0 < min(first + MR * each, s.rows); m0 += MR) {
        __global const float *b = packed + (size_t)(g * panels + panel) * depth * NR, *a[MR];
        float16 acc[MR][NV];
        int row[MR], column[MR], from[MR], into[MR];
        bool inside_all = true;

        UNROLL for (int r = 0; r < MR; r++)
        {
            row[r] = m0 + r < s.rows ? ph * s.sh + s.oh : INT_MIN / 2;
            column[r] = pw * s.sw + s.ow;
            from[r] = ((n * s.h + ph * s.sh + s.oh) * s.w + column[r]) * s.pitch + g * s.run;
            into[r] = ((n * s.yh + ph * s.ysh + s.yoh) * s.yw + pw * s.ysw + s.yow) * s.ypitch + g * s.cols +
                      panel * NR;
            inside_all = inside_all && (uint)row[r] < (uint)s.h && (uint)(row[r] + last_row) < (uint)s.h &&
                         (uint)column[r] < (uint)s.w && (uint)(column[r] + last_column) < (uint)s.w;
            const int end_of_row = ++pw == s.pw;
            pw = end_of_row ? 0 : pw;
            ph += end_of_row;
            const int end_of_image = ph == s.ph;
            ph = end_of_image ? 0 : ph;
            n += end_of_image;
            UNROLL for (int v = 0; v < NV; v++) acc[r][v] = vload16(v, shift);
            UNROLL for (int v = 0; v < NV; v++) PREFETCH(y + into[r] + 16 * v, 1);
        }
        if (e.residual) {
            UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
                PREFETCH(residual + into[r] + 16 * v, 0);
        }
        UNROLL for (int r = 0; r < MR; r++) a[r] = x + (inside_all ? from[r] : 0);
        for (int i = 0; i < s.th; i++)
            for (int j = 0; j < s.tw; j++) {
                const int tap = (i * s.dh * s.w + j * s.dw) * s.pitch;
                if (!inside_all)
                    UNROLL for (int r = 0; r < MR; r++)
                    {
                        const bool inside = (uint)(row[r] + i * s.dh) < (uint)s.h &&
                                            (uint)(column[r] + j * s.dw) < (uint)s.w;
                        a[r] = inside ? x + (from[r] + tap) : zero;
                    }
                add_tap(acc, a, inside_all ? tap : 0, &b, s.run, x + (from[0] + tap + MR * s.sw * s.pitch), MR * s.sw);
            }
        for (int r = 0; s.clears && r < min(MR, s.rows - m0); r++)
            clear_skipped(y, &s, m0 + r, g * s.cols + panel * NR, columns);
        finish_tile(acc, y, residual, into, s.rows - m0, columns, &e);
    }
}
#endif

// x (n, h, w, c) with zeros around it: out (n, oh, ow, c). One row of out per work-item.
__kernel void conv2d_pad(__global float *out, __global const float *x, int n, int h, int w, int c, int oh, int ow,
                         int top, int left)
{
    const int row = (int)get_global_id(0), image = row / oh, i = row - image * oh - top;
    if (row >= n * oh)
        return;
    const bool inside = i >= 0 && i < h;
    const int before = min(left, ow) * c, middle = min(w, ow - min(left, ow)) * c;
    __global float *to = out + row * ow * c;
    __global const float *from = x + (inside ? (image * h + i) * w * c : 0);
    for (int k = 0; k < before; k++)
        to[k] = 0.0f;
    for (int k = 0; k < middle; k++)
        to[before + k] = inside ? from[k] : 0.0f;
    for (int k = before + middle; k < ow * c; k++)
        to[k] = 0.0f;
}

#ifdef V
#define SPAN 8

// Depthwise weights as packed[i][j][channel], scaled, then the shift, then zeros that stand for pixels outside x. One
// weight per work-item.
__kernel void conv2d_pack_depthwise(__global float *packed, __global const float *w, __global const float *norm,
                                    const sweep s, const taps f)
{
    const int at = (int)get_global_id(0), c = at % s.pitch, t = at / s.pitch;
    if (t > s.th * s.tw + 1)
        return;
    packed[at] = t > s.th * s.tw    ? 0.0f
                 : t == s.th * s.tw ? (f.shift >= 0 ? norm[f.shift + c] : 0.0f)
                                    : w[f.start + c * f.sg + t / s.tw * f.si + t % s.tw * f.sj] *
                                          (f.scale >= 0 ? norm[f.scale + c] : 1.0f);
}

// One work-item: V channels of positions along a row, SPAN of them at a time so that a weight is read once for all. The
// last block of channels overlaps the one before it and writes only what is its own.
__kernel void conv2d_sweep_depthwise(__global float *y, __global const float *x, __global const float *packed,
                                     __global const float *residual, const sweep s, const after e)
{
    const int block = (int)get_global_id(0), line = (int)get_global_id(1), n = line / s.ph, ph = line - n * s.ph;
    if (block * V >= s.pitch)
        return;
    const int c0 = min(block * V, s.pitch - V), own = block * V - c0;
    const int first = ((n * s.yh + ph * s.ysh + s.yoh) * s.yw + s.yow) * s.pitch + c0;
    const VEC(V) shift = VLOAD(V)(0, packed + s.th * s.tw * s.pitch + c0);

    for (int p0 = (int)get_global_id(2) * SPAN; p0 < s.pw; p0 += (int)get_global_size(2) * SPAN) {
        VEC(V) acc[SPAN];
        UNROLL for (int q = 0; q < SPAN; q++) acc[q] = shift;
        for (int i = 0; i < s.th; i++) {
            const int row = ph * s.sh + s.oh + i * s.dh;
            if (row < 0 || row >= s.h)
                continue;
            __global const float *from = x + (n * s.h + row) * s.w * s.pitch + c0;
            for (int j = 0; j < s.tw; j++) {
                const VEC(V) wv = VLOAD(V)(0, packed + (i * s.tw + j) * s.pitch + c0);
                const int column = p0 * s.sw + s.ow + j * s.dw;
                if (column >= 0 && column + (SPAN - 1) * s.sw < s.w) {
                    UNROLL for (int q = 0; q < SPAN; q++)
                        acc[q] = fma(VLOAD(V)(0, from + (column + q * s.sw) * s.pitch), wv, acc[q]);
                } else {
                    UNROLL for (int q = 0; q < SPAN; q++) if ((uint)(column + q * s.sw) < (uint)s.w)
                        acc[q] = fma(VLOAD(V)(0, from + (column + q * s.sw) * s.pitch), wv, acc[q]);
                }
            }
        }
        UNROLL for (int q = 0; q < SPAN; q++) if (p0 + q < s.pw)
        {
            __global float *pixel = y + first + (p0 + q) * s.ysw * s.pitch;
            const VEC(V) sum = e.residual ? acc[q] + VLOAD(V)(0, residual + first + (p0 + q) * s.ysw * s.pitch)
                                          : acc[q];
            const VEC(V) result = BOUND(sum, (VEC(V))e.low, (VEC(V))e.high);
            if (own == 0) {
                VSTORE(V)(result, 0, pixel);
            } else {
                float lanes[V];
                VSTORE(V)(result, 0, lanes);
                for (int k = own; k < V; k++)
                    pixel[k] = lanes[k];
            }
        }
    }
}
#endif
