// SPDX-License-Identifier: MIT
//
// matmul_cpu.cl -- products of matrices on CPUs: one work-item is one register tile of MR rows and NR columns.
//
// Rows of a are read where they lie and broadcast; b is packed into panels of NR columns,
//   packed[z][j / NR][p][j % NR]   and behind all panels the bias, padded to whole panels
// so that the innermost loop reads both from consecutive addresses. -DMR and -DNR choose the tile: MR NR / 16 sums must
// fit the vector registers. No local memory, no barriers, work-groups of one.
#include "common.clh"

#define NV (NR / 16)
#define UNROLL _Pragma("unroll")

typedef struct {
    int m, n, k;
    int az, ai;       // strides of a: batch, row; its columns are next to each other
    int cz;           // batch stride of c
    int bz;           // panels from one packed matrix to the next: 0 when all use the same
    int panels;       // of one matrix
    int bias;         // where the bias starts, in panels' floats: matrices * panels * k * NR
    int panels_first; // which of them the first dimension of the grid takes: tiles of rows (0) or panels (1)
    int residual, clamps;
    float low, high;
} product;

// A NaN stays one.
static inline float16 clamped(float16 v, float low, float high)
{
    v = v < low ? (float16)low : v;
    return v > high ? (float16)high : v;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void matmul_fwd_cpu(__global float *restrict c,
                                                                            __global const float *restrict a,
                                                                            __global const float *restrict packed,
                                                                            __global const float *residual,
                                                                            const product s)
{
    const int i0 = (int)get_global_id(s.panels_first) * MR, panel = (int)get_global_id(1 - s.panels_first);
    const int z = (int)get_global_id(2);
    __global const float *b = packed + (size_t)(z * s.bz + panel) * s.k * NR;
    __global const float *bias = packed + (size_t)s.bias + panel * NR;
    __global const float *row[MR];
    float16 acc[MR][NV];

    UNROLL for (int r = 0; r < MR; r++)
    {
        row[r] = a + (z * s.az + min(i0 + r, s.m - 1) * s.ai);
        UNROLL for (int v = 0; v < NV; v++) acc[r][v] = vload16(v, bias);
    }
    for (int p = 0; p < s.k; p++, b += NR) {
        float16 bv[NV];
        UNROLL for (int v = 0; v < NV; v++) bv[v] = vload16(v, b);
        UNROLL for (int r = 0; r < MR; r++)
        {
            const float16 av = (float16)(row[r][p]);
            UNROLL for (int v = 0; v < NV; v++) acc[r][v] = fma(av, bv[v], acc[r][v]);
        }
    }
    const int rows = min(MR, s.m - i0), columns = min(NR, s.n - panel * NR);
    c += z * s.cz + i0 * s.n + panel * NR;
    residual += z * s.cz + i0 * s.n + panel * NR;
    if (rows == MR && columns == NR) {
        if (s.residual)
            UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
                acc[r][v] += vload16(v, residual + r * s.n);
        if (s.clamps)
            UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
                acc[r][v] = clamped(acc[r][v], s.low, s.high);
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) vstore16(acc[r][v], v, c + r * s.n);
    } else {
        float edge[MR * NR];
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) vstore16(acc[r][v], v, edge + r * NR);
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < columns; j++) {
                float v = edge[r * NR + j];
                if (s.residual)
                    v += residual[r * s.n + j];
                if (s.clamps)
                    v = v < s.low ? s.low : v > s.high ? s.high : v;
                c[r * s.n + j] = v;
            }
    }
}

#define BLOCK 16 // rows of a panel that one work-item packs

// b[z, p, j] at z bz + p bp + j bj into panels; behind them the bias. scaled: 0 not, 1 columns, 2 rows.
__kernel void matmul_pack_cpu(__global float *packed, __global const float *b, __global const float *bias,
                              __global const float *scale, int n, int k, int bz, int bp, int bj, int biased, int scaled)
{
    const int p0 = (int)get_global_id(0) * BLOCK, panel = (int)get_global_id(1), z = (int)get_global_id(2);
    const int panels = (int)get_global_size(1), matrices = (int)get_global_size(2);
    const int rows = min(BLOCK, k - p0), columns = min(NR, n - panel * NR);
    if (p0 > k)
        return;
    __global float *to = packed + ((size_t)(z * panels + panel) * k + p0) * NR;
    b += z * bz + p0 * bp + panel * NR * bj;
    if (bj == 1) {
        for (int p = 0; p < rows; p++)
            for (int j = 0; j < columns; j++)
                to[p * NR + j] = b[p * bp + j];
    } else if (bp == 1) {
        for (int j = 0; j < columns; j += 16)
            transpose_block(to + j, NR, b + j * bj, bj, rows, min(16, columns - j));
    } else {
        for (int j = 0; j < columns; j++)
            for (int p = 0; p < rows; p++)
                to[p * NR + j] = b[p * bp + j * bj];
    }
    for (int p = 0; p < rows; p++)
        for (int j = columns; j < NR; j++)
            to[p * NR + j] = 0.0f;
    if (scaled == 1)
        for (int p = 0; p < rows; p++)
            for (int j = 0; j < columns; j++)
                to[p * NR + j] *= scale[panel * NR + j];
    else if (scaled == 2)
        for (int p = 0; p < rows; p++)
            for (int j = 0; j < columns; j++)
                to[p * NR + j] *= scale[p0 + p];
    if (p0 + BLOCK > k && z == 0) {
        to = packed + (size_t)matrices * panels * k * NR + panel * NR;
        for (int j = 0; j < NR; j++)
            to[j] = biased && j < columns ? bias[panel * NR + j] : 0.0f;
    }
}

// out[z, i, p] = in[z, p, i], out (m, k): a transposed left factor, turned so that its rows can be broadcast. One
// work-item turns 16 x 16.
__kernel void matmul_turn_cpu(__global float *out, __global const float *in, int m, int k)
{
    const int i0 = 16 * (int)get_global_id(0), p0 = 16 * (int)get_global_id(1), z = (int)get_global_id(2);
    if (i0 >= m)
        return;
    const int rows = min(16, m - i0), columns = min(16, k - p0);
    out += z * m * k + i0 * k + p0;
    in += z * m * k + p0 * m + i0;
    transpose_block(out, k, in, m, rows, columns);
}
