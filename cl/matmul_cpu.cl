// SPDX-License-Identifier: MIT
//
// matmul_cpu.cl -- products of matrices on CPUs, in register tiles.
//
// b is packed into panels of NR columns, packed[z][panel][p][column], the last one as wide as it must be in whole
// vectors of 16; behind all panels lies the bias, padded likewise. Where all panels are whole, b and the bias may also
// be read where they are. A work-item makes a block of rows for a group of panels: for each panel (which then stays in
// the cache) tile after tile of rows, each one a loop over p that loads a row of the panel and multiplies it by MR
// numbers of a, broadcast. The widest tile is MR x NR (-D); the narrower ones, for the last panel (-DNARROW: there is
// such a panel), have as many rows as registers allow. No local memory, no barriers, work-groups of one.
//
// Rows of a are read where they lie, those of the next tile being fetched meanwhile (-DFETCH). With -DTA, where a is
// given transposed, a work-item copies its block of a into its own memory first, since in place it would touch a page
// per number.
#include "common.clh"

#define NV (NR / 16)
#define UNROLL _Pragma("unroll")

// Asks for a line of the cache before it is needed: a hint, left out where the compiler has none.
#define PREFETCH(p)
#if defined(FETCH) && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#define PREFETCH(p) __builtin_prefetch((const void *)(uintptr_t)(p), 0, 2)
#endif
#endif

typedef struct {
    int m, n, k;
    int az, ai;             // strides of a: batch, and row (with TA: column); the others are next to each other
    int cz;                 // batch stride of c
    int bz;                 // floats from one right matrix to the next: 0 when all use the same
    int panel, pitch;       // from panel to panel, and from row to row of whole ones
    int bias;               // where the bias starts, -1: there is none
    int rows, group, depth; // of a work-item: rows of c, panels; slices of p in which it goes through both
    int residual, clamps;
    float low, high;
} product;

// The first `count` of 16 numbers, zeros for the rest, and back.
static inline float16 load_part(__global const float *from, int count)
{
    float part[16];
    UNROLL for (int j = 0; j < 16; j++) part[j] = 0.0f;
    for (int j = 0; j < count; j++)
        part[j] = from[j];
    return vload16(0, part);
}

static inline void store_part(float16 v, __global float *to, int count)
{
    float8 w = v.lo;
    if (count & 8) {
        vstore8(v.lo, 0, to);
        to += 8;
        w = v.hi;
    }
    float4 x = w.lo;
    if (count & 4) {
        vstore4(w.lo, 0, to);
        to += 4;
        x = w.hi;
    }
    if (count & 2) {
        vstore2(x.lo, 0, to);
        to += 2;
        x.lo = x.hi;
    }
    if (count & 1)
        *to = x.x;
}

// A NaN stays one.
static inline float16 clamped(float16 v, float low, float high)
{
    v = v < low ? (float16)low : v;
    return v > high ? (float16)high : v;
}

#ifdef TA
#define A
#define ROWS 48
#define DEPTH 1024
#define A_ROWS(R)
#define A_AT(r) a[p * ROWS + r]
#define A_NEXT(R)
#else
#define A __global
#define A_ROWS(R)                \
    __global const float *at[R]; \
    UNROLL for (int r = 0; r < R; r++) at[r] = a + min(r, rows - 1) * s->ai;
#define A_AT(r) at[r][p]
#define A_NEXT(R) PREFETCH(a + R * (s->ai + p)); // rows follow each other
#endif

// At the edges tiles go by way of rows of `pitch` floats in own memory, by loops that are not unrolled: most of what
// there is to compile would else be for them.
#define ROLLED _Pragma("clang loop unroll(disable) vectorize(disable)")

static inline void edge_load(float *edge, int pitch, __global const float *c, int n, int rows, int columns)
{
    ROLLED for (int r = 0; r < rows; r++) ROLLED for (int j = 0; j < pitch; j += 16)
        vstore16(load_part(c + r * n + j, clamp(columns - j, 0, 16)), 0, edge + r * pitch + j);
}

static inline void edge_store(__global float *c, __global const float *residual, const float *edge, int pitch, int rows,
                              int columns, int ends, const product *s)
{
    ROLLED for (int r = 0; r < rows; r++) ROLLED for (int j = 0; j < columns; j += 16)
    {
        const int count = min(columns - j, 16);
        float16 v = vload16(0, edge + r * pitch + j);
        if (ends && s->residual)
            v += load_part(residual + r * s->n + j, count);
        if (ends && s->clamps)
            v = clamped(v, s->low, s->high);
        if (count == 16)
            vstore16(v, 0, c + r * s->n + j);
        else
            store_part(v, c + r * s->n + j, count);
    }
}

// One register tile of R rows and V vectors: c = (first slice of p: bias, else c) + a b, and in the last one what
// follows the sums. `rows` and `columns` are those that exist.
#define TILE(NAME, R, V)                                                                                               \
    static void NAME(__global float *c, __global const float *residual, A const float *a, __global const float *b,     \
                     __global const float *bias, int pitch, int rows, int columns, int depth, int begins, int ends,    \
                     const product *s)                                                                                 \
    {                                                                                                                  \
        float16 acc[R][V];                                                                                             \
        float edge[16 * R * V];                                                                                        \
        const int whole = rows >= R && columns >= 16 * V;                                                              \
        A_ROWS(R)                                                                                                      \
        if (begins)                                                                                                    \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)                                      \
                acc[r][v] = s->bias < 0 ? (float16)0.0f : vload16(v, bias);                                            \
        else if (whole)                                                                                                \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)                                      \
                acc[r][v] = vload16(v, c + r * s->n);                                                                  \
        else {                                                                                                         \
            edge_load(edge, 16 * V, c, s->n, min(R, rows), columns);                                                   \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)                                      \
                acc[r][v] = r < rows ? vload16(r * V + v, edge) : (float16)0.0f;                                       \
        }                                                                                                              \
        for (int p = 0; p < depth; p++, b += V == NV ? pitch : 16 * V) {                                               \
            float16 bv[V];                                                                                             \
            A_NEXT(R)                                                                                                  \
            UNROLL for (int v = 0; v < V; v++) bv[v] = vload16(v, b);                                                  \
            UNROLL for (int r = 0; r < R; r++)                                                                         \
            {                                                                                                          \
                const float16 av = (float16)(A_AT(r));                                                                 \
                UNROLL for (int v = 0; v < V; v++) acc[r][v] = fma(av, bv[v], acc[r][v]);                              \
            }                                                                                                          \
        }                                                                                                              \
        if (!whole) {                                                                                                  \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) vstore16(acc[r][v], r *V + v, edge); \
            edge_store(c, residual, edge, 16 * V, min(R, rows), columns, ends, s);                                     \
            return;                                                                                                    \
        }                                                                                                              \
        if (ends && s->residual)                                                                                       \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)                                      \
                acc[r][v] += vload16(v, residual + r * s->n);                                                          \
        if (ends && s->clamps)                                                                                         \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)                                      \
                acc[r][v] = clamped(acc[r][v], s->low, s->high);                                                       \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) vstore16(acc[r][v], v, c + r * s->n);    \
    }

TILE(tile_widest, MR, NV)
#ifdef NARROW
#if NV > 3
TILE(tile3, 8, 3)
#endif
#if NV > 2
TILE(tile2, 12, 2)
#endif
#if NV > 1
TILE(tile1, 12, 1)
#endif
#endif

#define TILES(R, tile)                                                                                            \
    for (int i = 0; i < rows; i += R)                                                                             \
    tile(cp + i * s.n, rp + i * s.n, A_BLOCK(i), bp, bias + panel * NR, pitch, rows - i, columns, depth, p0 == 0, \
         p0 + depth == s.k, &s)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void matmul_fwd_cpu(
    __global float *restrict c, __global const float *restrict a, __global const float *restrict packed,
    __global const float *bias, __global const float *residual, const product s)
{
    // the last, perhaps smaller blocks come first: some drivers give half of all to the first core that asks
    const int i0 = (int)(get_global_size(0) - 1 - get_global_id(0)) * s.rows, rows = min(s.rows, s.m - i0);
    const int first = (int)(get_global_size(1) - 1 - get_global_id(1)) * s.group, panels = (s.n + NR - 1) / NR;
    const int last = min(panels, first + s.group), z = (int)get_global_id(2);
    c += z * s.cz + i0 * s.n;
    residual += z * s.cz + i0 * s.n;
    bias += max(0, s.bias);
    packed += (size_t)z * s.bz;
#ifdef TA
    float16 block[DEPTH * ROWS / 16];
    a += z * s.az + i0;
#define A_BLOCK(i) ((const float *)block + i)
#else
    a += z * s.az + i0 * s.ai;
#define A_BLOCK(i) (a + i * s.ai + p0)
#endif
    int p0 = 0;
    do { // once for k = 0 too
        const int depth = min(s.depth, s.k - p0);
#ifdef TA
        for (int p = 0; p < depth; p++)
            UNROLL for (int v = 0; v < ROWS / 16; v++) block[p * (ROWS / 16) + v] =
                16 * v + 16 <= rows ? vload16(v, a + (size_t)(p0 + p) * s.ai)
                                    : load_part(a + (size_t)(p0 + p) * s.ai + 16 * v, clamp(rows - 16 * v, 0, 16));
#endif
        for (int panel = first; panel < last; panel++) {
            const int columns = min(NR, s.n - panel * NR), vectors = (columns + 15) / 16;
            const int pitch = vectors == NV ? s.pitch : 16 * vectors;
            __global const float *bp = packed + (size_t)panel * s.panel + p0 * pitch;
            __global float *cp = c + panel * NR;
            __global const float *rp = residual + panel * NR;
#ifdef NARROW
#if NV > 3
            if (vectors == 3)
                TILES(8, tile3);
#endif
#if NV > 2
            if (vectors == 2)
                TILES(12, tile2);
#endif
#if NV > 1
            if (vectors == 1)
                TILES(12, tile1);
#endif
            if (vectors == NV)
#endif
                TILES(MR, tile_widest);
        }
        p0 += depth;
    } while (p0 < s.k);
}

// b[z, p, j] at z bz + p bp + j bj into panels; behind them the bias. scaled: 0 not, 1 columns, 2 rows. A work-item
// packs `width` columns (a divisor of NR) and `depth` rows: wide pieces of rows as they lie, long ones of columns.
__kernel void matmul_pack_cpu(__global float *packed, __global const float *b, __global const float *bias,
                              __global const float *scale, int n, int k, int bz, int bp, int bj, int biased, int scaled,
                              int width, int depth)
{
    const int j0 = (int)get_global_id(0) * width, z = (int)get_global_id(2), matrices = (int)get_global_size(2);
    if (j0 >= n)
        return;
    const int panel = j0 / NR, columns = min(width, n - j0), padded = (n + 15) / 16 * 16;
    const int pitch = min(NR, padded - panel * NR), last = min(k, ((int)get_global_id(1) + 1) * depth);
    __global float *out = packed + (size_t)z * k * padded + (size_t)panel * k * NR + (j0 - panel * NR);
    b += z * bz + j0 * bj;
    for (int p0 = (int)get_global_id(1) * depth; p0 < last; p0 += 16) {
        const int rows = min(16, last - p0);
        for (int v = 0; v < columns; v += 16) {
            const int count = min(16, columns - v);
            __global float *to = out + p0 * pitch + v;
            __global const float *from = b + p0 * bp + v * bj;
            if (bj == 1) {
                for (int p = 0; p < rows; p++)
                    vstore16(count == 16 ? vload16(0, from + p * bp) : load_part(from + p * bp, count), 0,
                             to + p * pitch);
            } else {
                if (count < 16)
                    for (int p = 0; p < rows; p++)
                        vstore16((float16)0.0f, 0, to + p * pitch);
                transpose_block(to, pitch, from, bj, rows, count);
            }
            if (scaled)
                for (int p = 0; p < rows; p++)
                    for (int j = 0; j < count; j++)
                        to[p * pitch + j] *= scale[scaled == 1 ? j0 + v + j : p0 + p];
        }
    }
    if (get_global_id(1) == 0 && z == 0) {
        __global float *to = packed + (size_t)matrices * k * padded + j0;
        for (int j = 0; j < min(width, padded - j0); j++)
            to[j] = biased && j < columns ? bias[j0 + j] : 0.0f;
    }
}
