// SPDX-License-Identifier: MIT
//
// matmul_mma.cl -- products of matrices on the tensor cores of NVIDIA's GPUs from compute capability 8.0 on: factors
// rounded to tf32 (-DTF32: 10 bits behind the point) or bfloat16 (-DBF16: 7), sums float32.
//
// As matmul_gpu.cl, with tiles of 128 x 128. What is kept in local memory are words of 32 bits: one tf32, or two
// bfloat16 that follow each other in the depth, the first one in the lower half. With words in the place of numbers
// both instructions, mma.m16n8k8 and mma.m16n8k16, take the same fragments: 16 x 8 words of a, 8 x 8 of b. A sub-group
// of 32
// ("warp") makes 64 x 32 sums, four by four fragments.
//
// -DEMULATE does what the instruction does through local memory, as the PTX manual (Matrix Fragments) says where each
// element is: so the rest can be tested on any device.
#define TM 128
#define TN 128
#define TK 16      // words
#define TILE_PAD 8 // a fragment's 4 x 8 words fall into different banks
#include "common.clh"

#ifdef BF16
#define PER_WORD 2
#else
#define PER_WORD 1
#endif

enum { ALIGNED_A = 1, ALIGNED_B = 2, ALIGNED_C = 4 };

// The same as product_gpu of src/ops/gemm_gpu.c; slices count TK words.
typedef struct {
    int batch, m, n, k;
    int az, ai, ap;
    int bz, bp, bj;
    int slices;
    int aligned;
    finish f;
} product;

// ---- rounding, to nearest ----

TILE_INLINE uint4 round_tf32(float4 v) // ties away from zero; infinities and NaN have nothing to round
{
    const uint4 bits = as_uint4(v);
    return select((bits + 0x1000u) & 0xffffe000u, bits, (bits & 0x7f800000u) == 0x7f800000u);
}

TILE_INLINE uint4 round_bf16(float4 v) // ties to even; a NaN stays one
{
    const uint4 bits = as_uint4(v);
    return select((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, (bits >> 16) | 0x40u, isnan(v));
}

// ---- what the instruction does: c += a b ----

#ifdef EMULATE
#define SCRATCH (8 * 32 * 6)
#define MMA_UNROLL // so many barriers one after the other take compilers for CPUs minutes

TILE_INLINE float word_product(uint a, uint b)
{
#ifdef BF16
    const float high = as_float(a & 0xffff0000u) * as_float(b & 0xffff0000u);
    return fma(as_float(a << 16), as_float(b << 16), high);
#else
    return as_float(a) * as_float(b);
#endif
}

// Every work-item shows its fragments, then takes what its sums need from where the manual says that it is.
TILE_INLINE void mma(float c[4], const uint a[4], const uint b[2], __local uint *scratch, int id)
{
    const int lane = id % 32;
    __local uint *warp = scratch + id / 32 * 32 * 6;
    for (int i = 0; i < 4; i++)
        warp[lane * 6 + i] = a[i];
    for (int i = 0; i < 2; i++)
        warp[lane * 6 + 4 + i] = b[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 8; k++) {
            const uint av = warp[(row % 8 * 4 + k % 4) * 6 + row / 8 + 2 * (k / 4)];
            const uint bv = warp[(column * 4 + k % 4) * 6 + 4 + k / 4];
            c[i] += word_product(av, bv);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
#else
#define SCRATCH 1
#define MMA_UNROLL TILE_UNROLL
#ifdef BF16
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#else
#define MMA "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
#endif

TILE_INLINE void mma(float c[4], const uint a[4], const uint b[2], __local uint *scratch, int id)
{
    __asm__ volatile(MMA " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// ---- words from memory ----

// Quad t of a slice: four words along the depth or across it, as o says. k0 and last count numbers.
TILE_INLINE float4 fetch_words(int t, __global const float *from, const tile_factor *o, int k0, int last)
{
    const int k = k0 + PER_WORD * (o->k + (o->deep ? 0 : t * TILE_WIDE_STEP(TM)));
    const int row = o->row + (o->deep ? t * TILE_DEEP_STEP : 0), inside = o->rows - row;
    __global const float *p = from + k * o->sk + row * o->sr;
    const float4 v = tile_load(p, o->deep ? (inside > 0 ? last - k : 0) : k < last ? inside : 0, o->aligned);
#ifdef BF16
    const float4 w = o->deep ? tile_load(p + 4, inside > 0 ? last - k - 4 : 0, o->aligned)
                             : tile_load(p + o->sk, k + 1 < last ? inside : 0, o->aligned);
    const uint4 vs = round_bf16(v), ws = round_bf16(w);
    return as_float4(o->deep ? (uint4)(vs.x | vs.y << 16, vs.z | vs.w << 16, ws.x | ws.y << 16, ws.z | ws.w << 16)
                             : (vs | ws << 16));
#else
    return as_float4(round_tf32(v));
#endif
}

// Steps of eight words of a slice: fragments from local memory, then the sums.
TILE_INLINE void multiply_words(float acc[4][4][4], __local const uint *as, __local const uint *bs, int id,
                                __local uint *scratch)
{
    const int lane = id % 32, row0 = id / 32 % 2 * 64 + lane / 4, column0 = id / 64 * 32 + lane / 4;
    MMA_UNROLL for (int k0 = 0; k0 < TK; k0 += 8)
    {
        const int k = k0 + lane % 4;
        uint a[4][4], b[4][2];
        TILE_UNROLL for (int i = 0; i < 4; i++) TILE_UNROLL for (int q = 0; q < 4; q++)
            a[i][q] = as[(k + q / 2 * 4) * TILE_AP + row0 + 16 * i + q % 2 * 8];
        TILE_UNROLL for (int j = 0; j < 4; j++) TILE_UNROLL for (int q = 0; q < 2; q++)
            b[j][q] = bs[(k + q * 4) * TILE_BP + column0 + 8 * j];
        MMA_UNROLL for (int i = 0; i < 4; i++) MMA_UNROLL for (int j = 0; j < 4; j++)
            mma(acc[i][j], a[i], b[j], scratch, id);
    }
}

TILE_GROUP __kernel void matmul_fwd_mma(__global float *c, __global const float *a, __global const float *b,
                                        __global const float *scale, __global const float *shift,
                                        __global const float *residual, const product s)
{
    __local float4 local_tiles[TILE_LOCAL / 4];
    __local uint scratch[SCRATCH];
    __local float *as = (__local float *)local_tiles, *bs = as + 2 * TILE_A;
    const int id = (int)get_local_id(1) * 16 + (int)get_local_id(0), lane = id % 32;
    const int j0 = (int)get_group_id(0) * TN, i0 = (int)get_group_id(1) * TM;
    const int z = (int)get_group_id(2) % s.batch, split = (int)get_group_id(2) / s.batch;
    const int depth = TK * PER_WORD, first = split * s.slices * depth, last = min(s.k, first + s.slices * depth);
    const tile_factor fa = tile_factor_of(s.ap == 1, id, TM, i0, s.ap, s.ai, s.m, s.aligned & ALIGNED_A);
    const tile_factor fb = tile_factor_of(s.bp == 1, id, TN, j0, s.bp, s.bj, s.n, s.aligned & ALIGNED_B);
    float acc[4][4][4];
    float4 va[2], vb[2];

    a += z * s.az;
    b += z * s.bz;
    TILE_UNROLL for (int i = 0; i < 64; i++) acc[i / 16][i / 4 % 4][i % 4] = 0.0f;
#define FETCH(k0)                             \
    va[0] = fetch_words(0, a, &fa, k0, last); \
    va[1] = fetch_words(1, a, &fa, k0, last); \
    vb[0] = fetch_words(0, b, &fb, k0, last); \
    vb[1] = fetch_words(1, b, &fb, k0, last);
    FETCH(first)
    tile_keep(as, TM, va, fa.deep, id);
    tile_keep(bs, TN, vb, fb.deep, id);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k0 = first, now = 0; k0 < last; k0 += depth, now ^= 1) {
        const bool more = k0 + depth < last;
        if (more) {
            FETCH(k0 + depth)
        }
        multiply_words(acc, (__local const uint *)(as + now * TILE_A), (__local const uint *)(bs + now * TILE_B), id,
                       scratch);
        if (more) {
            tile_keep(as + (now ^ 1) * TILE_A, TM, va, fa.deep, id);
            tile_keep(bs + (now ^ 1) * TILE_B, TN, vb, fb.deep, id);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#undef FETCH
    c += (size_t)split * s.batch * s.m * s.n;
    TILE_UNROLL for (int i = 0; i < 4; i++) TILE_UNROLL for (int j = 0; j < 4; j++)
        TILE_UNROLL for (int q = 0; q < 4; q++)
    {
        const int row = i0 + id / 32 % 2 * 64 + 16 * i + lane / 4 + q / 2 * 8;
        const int column = j0 + id / 64 * 32 + 8 * j + lane % 4 * 2 + q % 2, at = (z * s.m + row) * s.n + column;
        if (row < s.m && column < s.n)
            c[at] = tile_finish((float4)acc[i][j][q], s.f, scale, shift, residual, column, at, 1, 0).x;
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
