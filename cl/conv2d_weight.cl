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
    int tiles;                          // CPUs: tiles of MR rows of one work-item
    int turned, gathers, in_place;      // CPUs: rows are those of x; rows are gathered, columns are not
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
#define TILES 44     // of one work-item at most: its sums stay in the cache
#define POSITIONS 96 // multiplied into one tile after the other
#define NEAR 272     // floats from one position to the next, at most, where rows are gathered

// Asks for a line of the cache before it is needed: a hint, left out where the compiler has none.
#define PREFETCH(p)
#if defined(FETCH) && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#define PREFETCH(p) __builtin_prefetch((const void *)(uintptr_t)(p), 0, 2)
#endif
#endif

// A panel's part of `count` positions, `step` apart: NR floats each, of which n are there and the others stay.
static void gather_panel(float16 *b, __global const float *from, int step, int count, int n)
{
    for (int p = 0; p < count; p++, b += NV, from += step) {
        if (n == NR) {
            UNROLL for (int v = 0; v < NV; v++) b[v] = vload16(v, from);
        } else {
            const int whole = n / 16;
            for (int v = 0; v < whole; v++)
                b[v] = vload16(v, from);
            for (int k = whole * 16; k < n; k++)
                ((float *)b)[k] = from[k];
        }
    }
}

// vstore16 becomes four stores on some compilers.
typedef struct __attribute__((packed)) {
    float16 v;
} unaligned;

// The rows' part of `count` positions, `step` apart: `pieces` runs of `piece` floats, `gap` apart.
static void gather_rows(float *a, int pitch, __global const float *from, int step, int count, int pieces, int piece,
                        int gap)
{
    for (int p = 0; p < count; p++, a += pitch, from += step)
        for (int k = 0; k < pieces; k++) {
            float *to = a + k * piece;
            __global const float *at = from + k * gap;
            if (piece >= 16) { // the last vector ends with the last float
                for (int i = 0; i + 16 < piece; i += 16)
                    ((unaligned *)(to + i))->v = vload16(0, at + i);
                ((unaligned *)(to + piece - 16))->v = vload16(0, at + piece - 16);
            } else {
                for (int i = 0; i < piece; i++)
                    to[i] = at[i];
            }
        }
}

// One register tile: sum += a^T b over positions that start at a[at[p]] and B. Meanwhile lines `step` floats apart are
// fetched from `next` on: positions that come next.
#define MULTIPLY(NAME, SPACE_A, PARAMETERS_B, B)                                                          \
    static void NAME(float16 sum[MR][NV], SPACE_A const float *a, const int *at, PARAMETERS_B, int count, \
                     __global const float *next, int step)                                                \
    {                                                                                                     \
        float16 acc[MR][NV];                                                                              \
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) acc[r][v] = sum[r][v];    \
        for (int p = 0; p < count; p++, next += step) {                                                   \
            SPACE_A const float *ap = a + at[p];                                                          \
            float16 bv[NV];                                                                               \
            PREFETCH(next);                                                                               \
            UNROLL for (int v = 0; v < NV; v++) bv[v] = B;                                                \
            UNROLL for (int r = 0; r < MR; r++)                                                           \
            {                                                                                             \
                const float16 av = (float16)(ap[r]);                                                      \
                UNROLL for (int v = 0; v < NV; v++) acc[r][v] = fma(av, bv[v], acc[r][v]);                \
            }                                                                                             \
        }                                                                                                 \
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sum[r][v] = acc[r][v];    \
    }
#define COMMA ,
MULTIPLY(multiply_near, , const float16 *b, b[p * NV + v])
MULTIPLY(multiply, __global, const float16 *b, b[p * NV + v])
MULTIPLY(multiply_in_place, __global, __global const float *b COMMA const int *bt, vload16(v, b + bt[p]))

// to[row][column]: the sums, rows of NR floats of which so many are meant.
static void store(__global float *to, int pitch, const float *sum, int rows, int columns)
{
    for (int i = 0; i < rows; i++, to += pitch, sum += NR) {
        if (columns == NR) {
            UNROLL for (int v = 0; v < NV; v++) vstore16(vload16(v, sum), v, to);
        } else {
            for (int k = 0; k < columns; k++)
                to[k] = sum[k];
        }
    }
}

// to[column][row].
static void store_turned(__global float *to, int pitch, const float *sum, int rows, int columns)
{
    for (int j = 0; j < columns; j += 16)
        for (int i = 0; i < rows; i += 16) {
            const float *from = sum + i * NR + j;
            __global float *at = to + j * pitch + i;
            if (i + 16 <= rows && j + 16 <= columns) {
                float16 r[16];
                UNROLL for (int k = 0; k < 16; k++) r[k] = vload16(0, from + k * NR);
                transpose16(r);
                UNROLL for (int k = 0; k < 16; k++) vstore16(r[k], 0, at + k * pitch);
            } else {
                for (int c = 0; c < min(16, columns - j); c++)
                    for (int r = 0; r < min(16, rows - i); r++)
                        at[c * pitch + r] = from[r * NR + c];
            }
        }
}

// One work-item: up to TILES register tiles of one panel of NR columns, one tap and one split. Rows are channels of y
// and columns those of x, or the other way round if `turned`. Columns of so many positions are gathered into memory of
// its own, since in place they lie whole pixels apart, and meet all rows, which are read where they lie.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_bwd_weight_cpu(__global float *restrict part,
                                                                                   __global const float *restrict dy,
                                                                                   __global const float *restrict x,
                                                                                   const span s)
{
    const int rows = s.turned ? s.cols : s.ycols, columns = s.turned ? s.ycols : s.cols, taps = s.th * s.tw;
    const int panels = (columns + NR - 1) / NR, id = (int)get_global_id(1);
    const int tap = id / panels % taps, g = id / panels / taps, groups = (int)get_global_size(1) / panels / taps;
    const int split = (int)get_global_id(2), splits = (int)get_global_size(2);
    const int u = tap / s.tw, column = s.ow + (tap - u * s.tw) * s.dw;
    const int i0 = (int)get_global_id(0) * s.tiles * MR, ni = min(s.tiles * MR, rows - i0), tiles = (ni + MR - 1) / MR;
    const int j0 = id % panels * NR, nj = min(NR, columns - j0);
    const int xlines = ((s.turned ? ni : nj) + 15) / 16, lines = xlines + ((s.turned ? nj : ni) + 15) / 16;
    float16 sum[TILES][MR][NV], as[NEAR * POSITIONS / 16], b[POSITIONS * NV];
    const int pitch = ((tiles * MR + 15) / 16 | 1) * 16; // an odd number of lines: they spread over the cache
    float *a = (float *)as;
    int xat[POSITIONS], yat[POSITIONS], near[POSITIONS];

    for (int t = 0; t < tiles; t++)
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sum[t][r][v] = (float16)0.0f;
    for (int k = 0; nj < NR && k < POSITIONS * NV; k++)
        b[k] = (float16)0.0f;
    for (int p = 0; s.gathers && p < POSITIONS; p++) {
        near[p] = p * pitch;
        for (int k = ni; k < tiles * MR; k++)
            a[p * pitch + k] = 0.0f;
    }
    // the positions of a row for which this tap lies inside x, and those of this split
    const int first = column >= 0 ? 0 : (-column + s.sw - 1) / s.sw;
    const int end = column > s.w - 1 ? 0 : min(s.yw, (s.w - 1 - column) / s.sw + 1);
    const int share = s.rows * s.yw / splits, more = s.rows * s.yw % splits;
    const int start = split * share + min(split, more), stop = start + share + (split < more);
    const int xstep = s.sw * s.pitch, x0 = g * s.cols + (s.turned ? i0 : j0), y0 = g * s.ycols + (s.turned ? j0 : i0);
    int row = start / s.yw, q = max(first, start - row * s.yw), count = 0, ahead = 0, yahead = 0;
    while (row * s.yw + first < stop) {
        const int n = row / s.yh, line = (row - n * s.yh) * s.sh + s.oh + u * s.dh, last = min(end, stop - row * s.yw);
        const bool inside = (uint)line < (uint)s.h && q < last;
        if (inside) {
            const int now = min(last - q, POSITIONS - count);
            const int px = ((n * s.h + line) * s.w + q * s.sw + column) * s.pitch + x0;
            const int py = (row * s.yw + q) * s.ypitch + y0;
            for (int p = 0; p < now; p++) {
                xat[count + p] = px + p * xstep;
                yat[count + p] = py + p * s.ypitch;
            }
            if (s.gathers)
                gather_rows(a + count * pitch, pitch, s.turned ? x + px : dy + py, s.turned ? xstep : s.ypitch, now,
                            s.pieces, s.pieces > 1 ? s.piece : ni, s.gap);
            if (!s.in_place)
                gather_panel(b + count * NV, s.turned ? dy + py : x + px, s.turned ? s.ypitch : xstep, now, nj);
            count += now;
            q += now;
            ahead = px + now * xstep;
            yahead = py + now * s.ypitch;
        }
        if (!inside || q == last) {
            q = first;
            row++;
        }
        if (count == 0 || (count < POSITIONS && row * s.yw + first < stop))
            continue;
        for (int t = 0; t < tiles; t++) {
            const int fetched = t < lines ? t : 0, of_x = fetched < xlines, i = min(t * MR, ni - MR);
            __global const float *next = of_x ? x + ahead + 16 * fetched : dy + yahead + 16 * (fetched - xlines);
            const int step = t >= lines ? 0 : of_x ? xstep : s.ypitch;
            if (s.gathers)
                multiply_near(sum[t], a + t * MR, near, b, count, next, step);
            else if (s.in_place)
                multiply_in_place(sum[t], (s.turned ? x : dy) + i, s.turned ? xat : yat, s.turned ? dy : x,
                                  s.turned ? yat : xat, count, next, step);
            else
                multiply(sum[t], (s.turned ? x : dy) + i, s.turned ? xat : yat, b, count, next, step);
        }
        count = 0;
    }
    const int depth = taps * s.cols;
    part += (size_t)(split * groups + g) * s.ycols * depth + tap * s.cols;
    if (tiles > 0 && ni % MR != 0 && !s.gathers) // the rows that the last tile has of its own, to its start
        for (int r = 0; r < ni % MR; r++)
            UNROLL for (int v = 0; v < NV; v++) sum[tiles - 1][r][v] = sum[tiles - 1][r + MR - ni % MR][v];
    if (s.turned)
        store_turned(part + j0 * depth + i0, depth, (const float *)sum, ni, nj);
    else
        store(part + i0 * depth + j0, depth, (const float *)sum, ni, nj);
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
