// SPDX-License-Identifier: MIT
//
// matmul_gpu.cl -- products of matrices on GPUs, tiles in local memory (common.clh): -DTM -DTN the tile, -DTK its
// depth.
//
//   c[z, i, j] = finish(sum_p a[z, i, p] b[z, p, j])
//
// Matrices are read through strides, as in matmul.cl. Where the tiles are too few for a GPU, the depth is dealt to
// several work-groups; each leaves its sums in a part of its own, and matmul_finish_gpu adds these in their order.
#include "common.clh"

enum { ALIGNED_A = 1, ALIGNED_B = 2, ALIGNED_C = 4 };

// The same as la_product_gpu of src/ops/gemm_gpu.c.
typedef struct {
    int batch, m, n, k;
    int az, ai, ap; // strides of a: batch, row, inner
    int bz, bp, bj; // of b: batch, inner, column
    int slices;     // of TK, for each of the splits of the depth
    int aligned;
    finish f;
} product;

TILE_GROUP __kernel void matmul_fwd_gpu(__global float *c, __global const float *a, __global const float *b,
                                        __global const float *scale, __global const float *shift,
                                        __global const float *residual, const product s)
{
    __local float4 local_tiles[TILE_LOCAL / 4];
    __local float *as = (__local float *)local_tiles, *bs = as + 2 * TILE_A;
    const int lx = (int)get_local_id(0), ly = (int)get_local_id(1), id = ly * 16 + lx;
    const int j0 = (int)get_group_id(0) * TN, i0 = (int)get_group_id(1) * TM;
    const int z = (int)get_group_id(2) % s.batch, split = (int)get_group_id(2) / s.batch;
    const int first = split * s.slices * TK, last = min(s.k, first + s.slices * TK);
    const tile_factor fa = tile_factor_of(s.ap == 1, id, TM, i0, s.ap, s.ai, s.m, s.aligned & ALIGNED_A);
    const tile_factor fb = tile_factor_of(s.bp == 1, id, TN, j0, s.bp, s.bj, s.n, s.aligned & ALIGNED_B);
    float4 acc[TM / 16][TN / 64], va[TILE_AQ], vb[TILE_BQ];

    a += z * s.az;
    b += z * s.bz;
    TILE_UNROLL for (int i = 0; i < TM / 16; i++) TILE_UNROLL for (int j = 0; j < TN / 64; j++)
        acc[i][j] = (float4)0.0f;
    tile_fetch(va, TM, a, &fa, first, last);
    tile_fetch(vb, TN, b, &fb, first, last);
    tile_keep(as, TM, va, fa.deep, id);
    tile_keep(bs, TN, vb, fb.deep, id);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k0 = first, now = 0; k0 < last; k0 += TK, now ^= 1) {
        const bool more = k0 + TK < last;
        if (more) {
            tile_fetch(va, TM, a, &fa, k0 + TK, last);
            tile_fetch(vb, TN, b, &fb, k0 + TK, last);
        }
        tile_multiply(acc, as + now * TILE_A, bs + now * TILE_B, lx, ly);
        if (more) {
            tile_keep(as + (now ^ 1) * TILE_A, TM, va, fa.deep, id);
            tile_keep(bs + (now ^ 1) * TILE_B, TN, vb, fb.deep, id);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    c += (size_t)split * s.batch * s.m * s.n;
    TILE_UNROLL for (int i = 0; i < TM / 16; i++)
    {
        const int row = i0 + TILE_PLACE(i / 4, ly) + i % 4;
        TILE_UNROLL for (int j = 0; j < TN / 64; j++)
        {
            const int column = j0 + TILE_PLACE(j, lx), count = row < s.m ? s.n - column : 0;
            const int at = (z * s.m + row) * s.n + column, aligned = s.aligned & ALIGNED_C;
            tile_write(c + at, tile_finish(acc[i][j], s.f, scale, shift, residual, column, at, count, aligned), count,
                       aligned);
        }
    }
}

// c = finish(the splits' sums, in order). One element per work-item.
__kernel void matmul_finish_gpu(__global float *c, __global const float *part, __global const float *scale,
                                __global const float *shift, __global const float *residual, int splits, int size,
                                const product s)
{
    const int at = (int)get_global_id(0);
    if (at >= size)
        return;
    float sum = part[at];
    for (int i = 1; i < splits; i++)
        sum += part[(size_t)i * size + at];
    c[at] = tile_finish((float4)sum, s.f, scale, shift, residual, at % s.n, at, 1, 0).x;
}
