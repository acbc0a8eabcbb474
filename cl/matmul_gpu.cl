// SPDX-License-Identifier: MIT
//
// matmul_gpu.cl -- products of matrices on GPUs: a work-group of 16 x 16 makes a 64 x 64 tile of c, each work-item 4 x
// 4 of it, rows and columns 16 apart so that neighbours touch neighbouring addresses. Slices of 16 columns of a and 16
// rows of b pass through local memory. Matrices are read through strides, as in matmul.cl.
#include "common.clh"

#define SIDE 16 // of the work-group, and depth of a slice
#define TILE 64
#define PITCH (TILE + 1) // of a row in local memory: one more, so that a column meets every bank
#define UNROLL _Pragma("unroll")

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void matmul_fwd_gpu(
    __global float *c, __global const float *a, __global const float *b, __global const float *bias, int m, int n,
    int k, int az, int ai, int ap, int bz, int bp, int bj, int biased)
{
    __local float as[SIDE * PITCH], bs[SIDE * PITCH];
    const int lx = (int)get_local_id(0), ly = (int)get_local_id(1), id = ly * SIDE + lx;
    const int j0 = (int)get_group_id(0) * TILE, i0 = (int)get_group_id(1) * TILE, z = (int)get_group_id(2);
    float acc[4][4];

    a += z * az;
    b += z * bz;
    UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++)
        acc[i][j] = biased && j0 + lx + SIDE * j < n ? bias[j0 + lx + SIDE * j] : 0.0f;
    for (int p0 = 0; p0 < k; p0 += SIDE) {
        for (int t = 0; t < 4; t++) {
            // neighbours load along whichever direction lies in consecutive addresses
            const int deep_a = ap == 1 ? id % SIDE : id / TILE + 4 * t,
                      wide_a = ap == 1 ? id / SIDE + SIDE * t : id % TILE;
            const int deep_b = bp == 1 ? id % SIDE : id / TILE + 4 * t,
                      wide_b = bp == 1 ? id / SIDE + SIDE * t : id % TILE;
            as[deep_a * PITCH + wide_a] = i0 + wide_a < m && p0 + deep_a < k
                                              ? a[(i0 + wide_a) * ai + (p0 + deep_a) * ap]
                                              : 0.0f;
            bs[deep_b * PITCH + wide_b] = j0 + wide_b < n && p0 + deep_b < k
                                              ? b[(p0 + deep_b) * bp + (j0 + wide_b) * bj]
                                              : 0.0f;
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
    UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++)
    {
        const int row = i0 + ly + SIDE * i, column = j0 + lx + SIDE * j;
        if (row < m && column < n)
            c[(z * m + row) * n + column] = acc[i][j];
    }
}
