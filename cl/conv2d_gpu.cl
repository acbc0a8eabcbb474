// SPDX-License-Identifier: MIT
//
// conv2d_gpu.cl -- convolution on GPUs: products of matrices whose factors are gathered as they are read, tiles in
// local memory (common.clh). -DTM -DTN the tile, -DTK its depth.
//
// A sweep (conv2d_sweep.cl explains it) is a product of positions x (tap, channel) and (tap, channel) x columns. The
// weight gradient is one of channels of y x positions and positions x (tap, channel of x). Where the tiles are too few
// for a GPU, the depth is dealt to several work-groups; each leaves its sums in a part of its own, which are added in
// their order.
#include "common.clh"

enum { ALIGNED_X = 1, ALIGNED_W = 2, ALIGNED_Y = 4 };

// The same as la_sweep_gpu of src/ops/conv2d_gpu.c.
typedef struct {
    int groups, rows, ph, pw;           // positions in all, and per image
    int h, w, pitch, run;               // source: pixels, floats from pixel to pixel, floats read per tap
    int th, tw, sh, sw, oh, ow, dh, dw; // taps; steps of positions, first tap, steps of taps, in source pixels
    int yh, yw, ysh, ysw, yoh, yow;     // destination: pixels, step and offset of positions in it
    int ypitch, cols;                   // floats from pixel to pixel, floats written per group
    int start, sg, sn, si, sj, sc;      // weight of (group, column, tap, run): start + g sg + n sn + i si + j sj + c sc
    int scale, shift, by_run;           // where they lie in `norm`; whether the scale is one of run, of the weights' c
    int slices;                         // of TK, for each of the splits of the depth
    int aligned;
    finish f;
} sweep;

// What number k of the depth is: channel c of tap (i, j).
typedef struct {
    int i, j, c;
} tap;

TILE_INLINE tap tap_of(int k, int run, int tw)
{
    const int t = k / run;
    const tap a = { t / tw, t % tw, k - t * run };
    return a;
}

TILE_INLINE void tap_advance(tap *a, int by, int run, int tw)
{
    a->c += by;
    if (a->c >= run) {
        const int t = a->c / run;
        a->c -= t * run;
        a->j += t;
        if (a->j >= tw) {
            a->i += a->j / tw;
            a->j %= tw;
        }
    }
}

// Where a position's pixels are: of its first tap, which may lie outside, and in the destination.
typedef struct {
    int row, column, from;
} place;

TILE_INLINE place place_of(const sweep *s, int m, int g)
{
    const int n = m / (s->ph * s->pw), p = m - n * s->ph * s->pw, i = p / s->pw, j = p - i * s->pw;
    const place a = { m < s->rows ? i * s->sh + s->oh : INT_MIN / 2, j * s->sw + s->ow,
                      ((n * s->h + i * s->sh + s->oh) * s->w + j * s->sw + s->ow) * s->pitch + g * s->run };
    return a;
}

TILE_INLINE int destination_of(const sweep *s, int m, int g)
{
    const int n = m / (s->ph * s->pw), p = m - n * s->ph * s->pw, i = p / s->pw, j = p - i * s->pw;
    return ((n * s->yh + i * s->ysh + s->yoh) * s->yw + j * s->ysw + s->yow) * s->ypitch + g * s->cols;
}

TILE_INLINE int source_of(const sweep *s, const place *a, const tap *t)
{
    const bool inside = (uint)(a->row + t->i * s->dh) < (uint)s->h && (uint)(a->column + t->j * s->dw) < (uint)s->w;
    return inside ? a->from + (t->i * s->dh * s->w + t->j * s->dw) * s->pitch + t->c : -1;
}

// A quad of the source: four channels of a tap, or whatever four numbers of the depth are where channels do not come in
// fours. `left`: how far it is to the end of the depth.
TILE_INLINE float4 fetch_source(__global const float *x, const sweep *s, const place *p, tap t, int left)
{
    float4 v = (float4)0.0f;
    if (s->aligned & ALIGNED_X) {
        const int at = left > 0 ? source_of(s, p, &t) : -1;
        return at >= 0 ? *(__global const float4 *)(x + at) : v;
    }
#define ONE(lane, e)                                        \
    {                                                       \
        const int at = left > e ? source_of(s, p, &t) : -1; \
        v.lane = at >= 0 ? x[at] : 0.0f;                    \
        tap_advance(&t, 1, s->run, s->tw);                  \
    }
    ONE(x, 0)
    ONE(y, 1)
    ONE(z, 2)
    ONE(w, 3)
#undef ONE
    return v;
}

// A quad of the weights where neighbours are columns: the data gradient.
TILE_INLINE float4 fetch_across(__global const float *w, __global const float *norm, const sweep *s, int g, int column,
                                tap t, int left)
{
    const float4 v = tile_load(w + t.i * s->si + t.j * s->sj + t.c * s->sc + column, left > 0 ? s->cols - column : 0,
                               s->aligned & ALIGNED_W);
    return s->by_run && left > 0 ? v * norm[s->scale + g * s->run + t.c] : v;
}

// The body of the kernels below. `deep`: the weights of a column lie in the order of the depth (forward), else
// neighbours are columns (data gradient).
TILE_INLINE void sweep_tile(int deep, __global float *y, __global const float *x, __global const float *w,
                            __global const float *norm, __global const float *residual, const sweep *s,
                            __local float *as)
{
    __local float *bs = as + 2 * TILE_A;
    const int lx = (int)get_local_id(0), ly = (int)get_local_id(1), id = ly * 16 + lx;
    const int n0 = (int)get_group_id(0) * TN, m0 = (int)get_group_id(1) * TM;
    const int g = (int)get_group_id(2) % s->groups, split = (int)get_group_id(2) / s->groups;
    const int first = split * s->slices * TK, last = min(s->th * s->tw * s->run, first + s->slices * TK);
    const tile_factor fb = tile_factor_of(1, id, TN, n0, 1, s->sn, s->cols, s->aligned & ALIGNED_W);
    const int across = n0 + TILE_WIDE_ROW(id, TN);
    const int kb = deep ? TILE_DEEP_K(id) : TILE_WIDE_K(id, TN);
    tap ta = tap_of(first + TILE_DEEP_K(id), s->run, s->tw), tb = tap_of(first + kb, s->run, s->tw);
    float4 acc[TM / 16][TN / 64], va[TILE_AQ], vb[TILE_BQ];
    place places[TILE_AQ];

    places[0] = place_of(s, m0 + TILE_DEEP_ROW(id), g);
    if (TILE_AQ > 1)
        places[TILE_AQ - 1] = place_of(s, m0 + TILE_DEEP_ROW(id) + TILE_DEEP_STEP, g);
    TILE_UNROLL for (int i = 0; i < TM / 16; i++) TILE_UNROLL for (int j = 0; j < TN / 64; j++)
        acc[i][j] = (float4)0.0f;
    w += s->start + g * s->sg;
    // the next slice; `left` is how far its start is from the end of the depth
#define FETCH(left)                                                                              \
    va[0] = fetch_source(x, s, &places[0], ta, (left)-TILE_DEEP_K(id));                          \
    if (TILE_AQ > 1)                                                                             \
        va[TILE_AQ - 1] = fetch_source(x, s, &places[TILE_AQ - 1], ta, (left)-TILE_DEEP_K(id));  \
    tap_advance(&ta, TK, s->run, s->tw);                                                         \
    if (deep) {                                                                                  \
        tile_fetch(vb, TN, w, &fb, last - (left), last);                                         \
    } else {                                                                                     \
        vb[0] = fetch_across(w, norm, s, g, across, tb, (left)-kb);                              \
        tap_advance(&tb, TK / TILE_BQ, s->run, s->tw);                                           \
        if (TILE_BQ > 1) {                                                                       \
            vb[TILE_BQ - 1] = fetch_across(w, norm, s, g, across, tb, (left)-kb - TK / TILE_BQ); \
            tap_advance(&tb, TK / TILE_BQ, s->run, s->tw);                                       \
        }                                                                                        \
    }
    FETCH(last - first)
    tile_keep(as, TM, va, 1, id);
    tile_keep(bs, TN, vb, deep, id);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int left = last - first, now = 0; left > 0; left -= TK, now ^= 1) {
        const bool more = left > TK;
        if (more) {
            FETCH(left - TK)
        }
        tile_multiply(acc, as + now * TILE_A, bs + now * TILE_B, lx, ly);
        if (more) {
            tile_keep(as + (now ^ 1) * TILE_A, TM, va, 1, id);
            tile_keep(bs + (now ^ 1) * TILE_B, TN, vb, deep, id);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#undef FETCH
    const int parts = (int)get_num_groups(2) > s->groups;
    y += (size_t)split * s->groups * s->rows * s->cols;
    TILE_UNROLL for (int i = 0; i < TM / 16; i++)
    {
        const int m = m0 + TILE_PLACE(i / 4, ly) + i % 4;
        const int into = parts ? (g * s->rows + m) * s->cols : destination_of(s, m, g);
        TILE_UNROLL for (int j = 0; j < TN / 64; j++)
        {
            const int n = n0 + TILE_PLACE(j, lx), count = m < s->rows ? s->cols - n : 0,
                      aligned = s->aligned & ALIGNED_Y;
            tile_write(y + into + n,
                       tile_finish(acc[i][j], s->f, norm + s->scale, norm + s->shift, residual, g * s->cols + n,
                                   into + n, count, aligned),
                       count, aligned);
        }
    }
}

#define SWEEP(name, deep)                                                                                    \
    TILE_GROUP __kernel void name(__global float *y, __global const float *x, __global const float *w,       \
                                  __global const float *norm, __global const float *residual, const sweep s) \
    {                                                                                                        \
        __local float4 local_tiles[TILE_LOCAL / 4];                                                          \
        sweep_tile(deep, y, x, w, norm, residual, &s, (__local float *)local_tiles);                         \
    }
SWEEP(conv2d_sweep_gpu, 1)
SWEEP(conv2d_sweep_across_gpu, 0)
#undef SWEEP

// y = finish(the splits' sums, in order). One element per work-item.
__kernel void conv2d_finish_gpu(__global float *y, __global const float *part, __global const float *norm,
                                __global const float *residual, int splits, const sweep s)
{
    const int at = (int)get_global_id(0), size = s.groups * s.rows * s.cols;
    if (at >= size)
        return;
    const int n = at % s.cols, m = at / s.cols % s.rows, g = at / s.cols / s.rows;
    const int into = destination_of(&s, m, g) + n;
    float sum = part[at];
    for (int i = 1; i < splits; i++)
        sum += part[(size_t)i * size + at];
    y[into] = tile_finish((float4)sum, s.f, norm + s.scale, norm + s.shift, residual, g * s.cols + n, into, 1, 0).x;
}

// The same as la_conv of src/ops/conv2d.h.
typedef struct {
    int n, h, w, c, o, kh, kw, oh, ow;
    int sh, sw, top, left, dh, dw, groups;
} shape;

// Four columns of the weight gradient's second factor, numbers k .. k + 3 of (tap, channel).
typedef struct {
    int count;             // how many of them there are
    int row[4], column[4]; // of the tap, less the padding
    int channel[4];
} columns;

TILE_INLINE columns columns_of(const shape *s, int k, int g)
{
    const int cg = s->c / s->groups;
    columns q;
    q.count = s->kh * s->kw * cg - k;
    TILE_UNROLL for (int e = 0; e < 4; e++)
    {
        const tap t = tap_of(k + e, cg, s->kw);
        q.row[e] = t.i * s->dh - s->top;
        q.column[e] = t.j * s->dw - s->left;
        q.channel[e] = g * cg + t.c;
    }
    return q;
}

// Pixel (i, j) of image n of y, as position p of all.
typedef struct {
    int n, i, j;
} pixel;

TILE_INLINE int pixel_of_x(const shape *s, const pixel *p, const columns *q, int e)
{
    const int row = p->i * s->sh + q->row[e], column = p->j * s->sw + q->column[e];
    const bool inside = (uint)row < (uint)s->h && (uint)column < (uint)s->w;
    return inside ? ((p->n * s->h + row) * s->w + column) * s->c + q->channel[e] : -1;
}

TILE_INLINE float4 fetch_columns(__global const float *x, const shape *s, const pixel *p, const columns *q, bool inside,
                                 int aligned)
{
    float4 v = (float4)0.0f;
    if (aligned) { // all of one tap
        const int at = inside && q->count > 0 ? pixel_of_x(s, p, q, 0) : -1;
        return at >= 0 ? *(__global const float4 *)(x + at) : v;
    }
#define ONE(lane, e)                                                         \
    {                                                                        \
        const int at = inside && q->count > e ? pixel_of_x(s, p, q, e) : -1; \
        v.lane = at >= 0 ? x[at] : 0.0f;                                     \
    }
    ONE(x, 0)
    ONE(y, 1)
    ONE(z, 2)
    ONE(w, 3)
#undef ONE
    return v;
}

// A work-group makes TM channels of y x TN columns (tap and channel of x) for one split of `rows` rows of y.
// part[split][g][o][tap][c]: dw itself if there is one split only.
TILE_GROUP __kernel void conv2d_bwd_weight_gpu(__global float *part, __global const float *dy, __global const float *x,
                                               const shape s, int rows, int aligned)
{
    __local float4 local_tiles[TILE_LOCAL / 4];
    __local float *as = (__local float *)local_tiles, *bs = as + 2 * TILE_A;
    const int lx = (int)get_local_id(0), ly = (int)get_local_id(1), id = ly * 16 + lx;
    const int k0 = (int)get_group_id(0) * TN, o0 = (int)get_group_id(1) * TM;
    const int g = (int)get_group_id(2) % s.groups, split = (int)get_group_id(2) / s.groups;
    const int cg = s.c / s.groups, og = s.o / s.groups, depth = s.kh * s.kw * cg;
    const int first = split * rows * s.ow, last = min(s.n * s.oh, (split + 1) * rows) * s.ow;
    const tile_factor fa = tile_factor_of(0, id, TM, o0, s.o, 1, og, aligned & ALIGNED_Y);
    const int kb = first + TILE_WIDE_K(id, TN);
    const columns q = columns_of(&s, k0 + TILE_WIDE_ROW(id, TN), g);
    pixel p = { kb / s.ow / s.oh, kb / s.ow % s.oh, kb % s.ow };
    float4 acc[TM / 16][TN / 64], va[TILE_AQ], vb[TILE_BQ];

    TILE_UNROLL for (int i = 0; i < TM / 16; i++) TILE_UNROLL for (int j = 0; j < TN / 64; j++)
        acc[i][j] = (float4)0.0f;
    dy += g * og;
#define FETCH(p0)                                                                                                     \
    tile_fetch(va, TM, dy, &fa, p0, last);                                                                            \
    TILE_UNROLL for (int t = 0; t < TILE_BQ; t++)                                                                     \
    {                                                                                                                 \
        vb[t] = fetch_columns(x, &s, &p, &q, (p0) + kb - first + t * TILE_WIDE_STEP(TN) < last, aligned & ALIGNED_X); \
        p.j += TK / TILE_BQ;                                                                                          \
        if (p.j >= s.ow) {                                                                                            \
            p.i += p.j / s.ow;                                                                                        \
            p.j %= s.ow;                                                                                              \
            if (p.i >= s.oh) {                                                                                        \
                p.n += p.i / s.oh;                                                                                    \
                p.i %= s.oh;                                                                                          \
            }                                                                                                         \
        }                                                                                                             \
    }
    FETCH(first)
    tile_keep(as, TM, va, 0, id);
    tile_keep(bs, TN, vb, 0, id);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int p0 = first, now = 0; p0 < last; p0 += TK, now ^= 1) {
        const bool more = p0 + TK < last;
        if (more) {
            FETCH(p0 + TK)
        }
        tile_multiply(acc, as + now * TILE_A, bs + now * TILE_B, lx, ly);
        if (more) {
            tile_keep(as + (now ^ 1) * TILE_A, TM, va, 0, id);
            tile_keep(bs + (now ^ 1) * TILE_B, TN, vb, 0, id);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#undef FETCH
    part += (size_t)(split * s.groups + g) * og * depth;
    TILE_UNROLL for (int i = 0; i < TM / 16; i++)
    {
        const int o = o0 + TILE_PLACE(i / 4, ly) + i % 4;
        TILE_UNROLL for (int j = 0; j < TN / 64; j++)
        {
            const int at = k0 + TILE_PLACE(j, lx);
            tile_write(part + o * depth + at, acc[i][j], o < og ? depth - at : 0, aligned & ALIGNED_X);
        }
    }
}

// dw = the splits' sums, in order.
__kernel void conv2d_sum_gpu(__global float *dw, __global const float *part, int splits, int size)
{
    const int at = (int)get_global_id(0);
    if (at >= size)
        return;
    float sum = part[at];
    for (int i = 1; i < splits; i++)
        sum += part[(size_t)i * size + at];
    dw[at] = sum;
}
