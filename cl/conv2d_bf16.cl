// SPDX-License-Identifier: MIT
//
// conv2d_bf16.cl -- the forward sweep (see conv2d_sweep.cl) with factors rounded to bfloat16 and sums in float, by the
// instruction that multiplies pairs of them (AVX512-BF16). Inline assembly: a compiler or processor that does not know
// it stops the process, so that this program is first tried in another one (la__program_probe).
#define BF16
#include "common.clh"

#define UNROLL _Pragma("unroll")
#define MR 12 // the register tile: positions x columns
#define NR 32
#define NV (NR / 16)
#define ROWS (2 * MR) // positions of a work-item: two tiles use each piece of the weights
#define PANELS 8      // panels of NR columns of a work-item, at most
#define PAIRS 128     // pairs of a piece: what is multiplied before sums go back to memory
#define CEIL(a, b) (((a) + (b)-1) / (b))

// The same as la_sweep and la_taps of src/ops/conv2d.h.
typedef struct {
    int rows, ph, pw;                   // positions in all, and per image
    int h, w, pitch, run;               // source: pixels, floats from pixel to pixel, floats read per tap
    int th, tw, sh, sw, oh, ow, dh, dw; // taps; steps of positions, first tap, steps of taps, in source pixels
    int yh, yw, ysh, ysw, yoh, yow;     // destination: pixels, step and offset of positions in it
    int ypitch, cols;                   // floats from pixel to pixel, floats written per group
    int clears;
    int panels_first;
} sweep;

typedef struct {
    int start, sg, sn, si, sj, sc;
    int scale, shift, by_run;
} taps;

// Weights, scaled, as packed[g][panel][tap][pair of run][NR], a last odd one with a zero; then the shift of every
// panel. A work-item makes one row of NR.
__kernel void conv2d_bf16_pack(__global uint *packed, __global const float *w, __global const float *norm,
                               const sweep s, const taps f, int groups)
{
    const int half_run = (s.run + 1) / 2, depth = s.th * s.tw * half_run, panels = CEIL(s.cols, NR);
    const int row = (int)get_global_id(0), all = groups * panels * depth;
    if (row >= all + groups * panels)
        return;
    const int panel = row < all ? row / depth % panels : (row - all) % panels;
    const int g = row < all ? row / depth / panels : (row - all) / panels;
    const int k = row % depth, tap = k / half_run, c = (k - tap * half_run) * 2;
    w += f.start + g * f.sg + tap / s.tw * f.si + tap % s.tw * f.sj + c * f.sc;
    for (int n = 0; n < NR; n++) {
        const int column = panel * NR + n, o = g * s.cols + column;
        uint pair = 0;
        if (column < s.cols && row < all) {
            const float scale = f.scale >= 0 ? norm[f.scale + o] : 1.0f;
            pair = rounded(w[column * f.sn] * scale);
            if (c + 1 < s.run)
                pair |= rounded(w[column * f.sn + f.sc] * scale) << 16;
        } else if (column < s.cols && f.shift >= 0) {
            pair = as_uint(norm[f.shift + o]);
        }
        packed[(size_t)row * NR + n] = pair;
    }
}

// to[k] = the pair of from[2 k] and from[2 k + 1], for `count` floats.
static inline void round_run(uint *to, __global const float *from, int count)
{
    int c = 0;
    for (; c + 16 <= count; c += 16)
        vstore8(rounded_pairs(vload16(0, from + c)), 0, to + c / 2);
    for (; c + 2 <= count; c += 2)
        to[c / 2] = rounded(from[c]) | rounded(from[c + 1]) << 16;
    if (c < count)
        to[c / 2] = rounded(from[c]);
}

// Where a tile begins and ends: with the shift, or the sums so far (MR, NR); with those, or in y.
typedef struct {
    __global const float *shift; // 0: goes on from the sums
    __global float *y;           // 0: not the last piece
    __global const float *residual;
    const int *into; // of each position, in y and residual
    int rows, columns;
} tile_ends;

static inline void finish(float16 acc[MR][NV], float16 *sums, const tile_ends *t, const after *e)
{
    if (t->rows >= MR && t->columns >= NR) {
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
        {
            const float16 z = e->residual ? acc[r][v] + vload16(v, t->residual + t->into[r]) : acc[r][v];
            vstore16(BOUND(z, (float16)e->low, (float16)e->high), v, t->y + t->into[r]);
        }
    } else {
        const float *edge = (const float *)sums;
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sums[r * NV + v] = acc[r][v];
        for (int r = 0; r < min(MR, t->rows); r++)
            for (int k = 0; k < min(NR, t->columns); k++) {
                const float z = e->residual ? edge[r * NR + k] + t->residual[t->into[r] + k] : edge[r * NR + k];
                t->y[t->into[r] + k] = BOUND(z, e->low, e->high);
            }
    }
}

// A tile += a (MR, pairs) b (pairs, NR)
static inline void multiply(float16 *sums, const uint *a, __global const uint *b, int pairs, const tile_ends *t,
                            const after *e)
{
    float16 acc[MR][NV];
    if (t->shift) {
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) acc[r][v] = vload16(v, t->shift);
    } else {
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) acc[r][v] = sums[r * NV + v];
    }
    for (int k = 0; k < pairs; k++, b += NR) {
        uint16 bv[NV];
        UNROLL for (int v = 0; v < NV; v++) bv[v] = vload16(v, b);
        UNROLL for (int r = 0; r < MR; r++)
        {
            const uint16 av = (uint16)(a[r * PAIRS + k]);
            UNROLL for (int v = 0; v < NV; v++) acc[r][v] = add_products(acc[r][v], av, bv[v]);
        }
    }
    if (t->y)
        finish(acc, sums, t, e);
    else
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sums[r * NV + v] = acc[r][v];
}

// One work-item: ROWS consecutive positions, `per` panels. The pixels of a piece are rounded once for all panels.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_bf16_sweep(
    __global float *restrict y, __global const float *restrict x, __global const uint *restrict packed,
    __global const float *restrict residual, const sweep s, const after e, int groups, int per)
{
    const int m0 = (int)get_global_id(0) * ROWS, first = (int)get_global_id(1) * per, g = (int)get_global_id(2);
    const int half_run = (s.run + 1) / 2, all_taps = s.th * s.tw, depth = all_taps * half_run;
    const int panels = CEIL(s.cols, NR), count = min(per, panels - first), rows = min(ROWS, s.rows - m0);
    __global const uint *b = packed + (size_t)(g * panels + first) * depth * NR;
    __global const float *shift = (__global const float *)packed +
                                  ((size_t)groups * panels * depth + g * panels + first) * NR;
    float16 sums[PANELS * ROWS * NV];
    uint16 factors[ROWS * PAIRS / 16];
    uint *a = (uint *)factors;
    int row[ROWS], column[ROWS], from[ROWS], into[ROWS];

    for (int r = 0; r < ROWS; r++) {
        const int m = m0 + r, n = m / (s.ph * s.pw), p = m - n * s.ph * s.pw, ph = p / s.pw, pw = p - ph * s.pw;
        row[r] = r < rows ? ph * s.sh + s.oh : INT_MIN / 2;
        column[r] = pw * s.sw + s.ow;
        from[r] = ((n * s.h + ph * s.sh + s.oh) * s.w + column[r]) * s.pitch + g * s.run;
        into[r] = ((n * s.yh + ph * s.ysh + s.yoh) * s.yw + pw * s.ysw + s.yow) * s.ypitch + g * s.cols;
    }
    const int at_once = max(1, PAIRS / half_run); // taps of a piece, or a part of one tap
    for (int t0 = 0; t0 < all_taps; t0 += at_once)
        for (int k0 = 0; k0 < half_run; k0 += PAIRS) {
            const int some_taps = min(at_once, all_taps - t0), some = min(PAIRS, half_run - k0);
            for (int t = 0; t < some_taps; t++) {
                const int i = (t0 + t) / s.tw * s.dh, j = (t0 + t) % s.tw * s.dw;
                for (int r = 0; r < ROWS; r++) {
                    uint *to = a + r * PAIRS + t * half_run;
                    if ((uint)(row[r] + i) < (uint)s.h && (uint)(column[r] + j) < (uint)s.w)
                        round_run(to, x + from[r] + (i * s.w + j) * s.pitch + 2 * k0, min(2 * some, s.run - 2 * k0));
                    else
                        for (int k = 0; k < some; k++)
                            to[k] = 0;
                }
            }
            const bool begins = t0 + k0 == 0, ends = t0 + at_once >= all_taps && k0 + PAIRS >= half_run;
            for (int p = 0; p < count; p++)
                for (int r = 0; r < rows; r += MR) {
                    const int column = (first + p) * NR;
                    const tile_ends t = { begins ? shift + p * NR : 0,
                                          ends ? y + column : 0,
                                          residual + column,
                                          into + r,
                                          rows - r,
                                          s.cols - column };
                    multiply(sums + (p * ROWS + r) * NV, a + r * PAIRS,
                             b + ((size_t)p * depth + t0 * half_run + k0) * NR,
                             some_taps > 1 ? some_taps * half_run : some, &t, &e);
                }
        }
}
