// SPDX-License-Identifier: MIT
//
// matmul_dot.cl -- products c = a b^T on CPUs whose long rows are multiplied where they lie: rows of a with rows of b,
// both read in vectors along the inner dimension, nothing packed. For few rows, where packing b would be most of the
// work, and for long sums of middling matrices. A tile is 4 rows of a and 6 of b; its 24 sums of 16 lanes are added up
// at the end. A work-item makes a block of rows and columns.
#include "common.clh"

#define R 4
#define C 6
#define UNROLL _Pragma("unroll")

typedef struct {
    int m, n, k;
    int az, bz, cz;    // from matrix to matrix
    int rows, columns; // of a work-item
    int biased, scaled, residual, clamps;
    float low, high;
} product;

// The sums of the lanes of a column's four rows' vectors, four of each left: s0123 belongs to row 0.
static inline float16 fold_rows(float16 w, float16 x, float16 y, float16 z)
{
    const float16 wx = (float16)(w.lo, x.lo) + (float16)(w.hi, x.hi),
                  yz = (float16)(y.lo, z.lo) + (float16)(y.hi, z.hi);
    return (float16)(wx.s0123, wx.s89ab, yz.s0123, yz.s89ab) + (float16)(wx.s4567, wx.scdef, yz.s4567, yz.scdef);
}

// Of two and two columns folded so: for each row the sums of the four columns.
static inline float16 fold_columns(float16 w, float16 x, float16 y, float16 z)
{
    const float16 wx =
        (float16)(w.s0, x.s0, w.s1, x.s1, w.s4, x.s4, w.s5, x.s5, w.s8, x.s8, w.s9, x.s9, w.sc, x.sc, w.sd, x.sd) +
        (float16)(w.s2, x.s2, w.s3, x.s3, w.s6, x.s6, w.s7, x.s7, w.sa, x.sa, w.sb, x.sb, w.se, x.se, w.sf, x.sf);
    const float16 yz =
        (float16)(y.s0, z.s0, y.s1, z.s1, y.s4, z.s4, y.s5, z.s5, y.s8, z.s8, y.s9, z.s9, y.sc, z.sc, y.sd, z.sd) +
        (float16)(y.s2, z.s2, y.s3, z.s3, y.s6, z.s6, y.s7, z.s7, y.sa, z.sa, y.sb, z.sb, y.se, z.se, y.sf, z.sf);
    return (float16)(wx.s01, yz.s01, wx.s45, yz.s45, wx.s89, yz.s89, wx.scd, yz.scd) +
           (float16)(wx.s23, yz.s23, wx.s67, yz.s67, wx.sab, yz.sab, wx.sef, yz.sef);
}

#define STEP(LOAD)                                                                    \
    {                                                                                 \
        float16 bv[C];                                                                \
        UNROLL for (int j = 0; j < C; j++) bv[j] = LOAD(bj[j]);                       \
        UNROLL for (int r = 0; r < R; r++)                                            \
        {                                                                             \
            const float16 av = LOAD(ai[r]);                                           \
            UNROLL for (int j = 0; j < C; j++) acc[r][j] = fma(av, bv[j], acc[r][j]); \
        }                                                                             \
    }
#define WHOLE(q) vload16(0, (q) + p)
#define LAST(q) (lane < over ? (float16)0.0f : vload16(0, (q) + s->k - 16)) // what was there before counts as 0

static void tile(__global float *c, __global const float *a, __global const float *b, __global const float *bias,
                 __global const float *scale, __global const float *residual, int rows, int columns, const product *s)
{
    float16 acc[R][C];
    __global const float *ai[R], *bj[C];
    UNROLL for (int r = 0; r < R; r++) ai[r] = a + min(r, rows - 1) * s->k;
    UNROLL for (int j = 0; j < C; j++) bj[j] = b + min(j, columns - 1) * s->k;
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int j = 0; j < C; j++) acc[r][j] = (float16)0.0f;
    int p = 0;
    for (; p + 16 <= s->k; p += 16) {
        STEP(WHOLE)
    }
    if (p < s->k) {
        const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), over = (int16)(p + 16 - s->k);
        STEP(LAST)
    }
    float16 folded[C];
    UNROLL for (int j = 0; j < C; j++) folded[j] = fold_rows(acc[0][j], acc[1][j], acc[2][j], acc[3][j]);
    const float16 four = fold_columns(folded[0], folded[1], folded[2], folded[3]);
    const float16 two = fold_columns(folded[4], folded[5], folded[4], folded[5]);
    if (rows >= R && columns >= C && !s->biased && !s->scaled && !s->residual && !s->clamps) {
        vstore4(four.s0123, 0, c);
        vstore2(two.s01, 0, c + 4);
        vstore4(four.s4567, 0, c + s->n);
        vstore2(two.s45, 0, c + s->n + 4);
        vstore4(four.s89ab, 0, c + 2 * s->n);
        vstore2(two.s89, 0, c + 2 * s->n + 4);
        vstore4(four.scdef, 0, c + 3 * s->n);
        vstore2(two.scd, 0, c + 3 * s->n + 4);
        return;
    }
    float sums[2][16];
    vstore16(four, 0, sums[0]);
    vstore16(two, 0, sums[1]);
    for (int r = 0; r < min(R, rows); r++)
        for (int j = 0; j < min(C, columns); j++) {
            float v = sums[j / 4][4 * r + j % 4];
            if (s->scaled)
                v *= scale[j];
            if (s->biased)
                v += bias[j];
            if (s->residual)
                v += residual[r * s->n + j];
            if (s->clamps) // a NaN stays one
                v = v < s->low ? s->low : v > s->high ? s->high : v;
            c[r * s->n + j] = v;
        }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void matmul_dot_cpu(
    __global float *c, __global const float *a, __global const float *b, __global const float *bias,
    __global const float *scale, __global const float *residual, const product s)
{
    const int i0 = (int)get_global_id(0) * s.rows, j0 = (int)get_global_id(1) * s.columns, z = (int)get_global_id(2);
    const int i1 = min(s.m, i0 + s.rows), j1 = min(s.n, j0 + s.columns);
    c += z * s.cz;
    residual += z * s.cz;
    a += z * s.az;
    b += z * s.bz;
    for (int j = j0; j < j1; j += C)
        for (int i = i0; i < i1; i += R)
            tile(c + i * s.n + j, a + i * s.k, b + j * s.k, bias + j, scale + j, residual + i * s.n + j, i1 - i, j1 - j,
                 &s);
}
