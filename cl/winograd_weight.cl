// SPDX-License-Identifier: MIT
//
// winograd_weight.cl -- the weight gradient of 3 x 3 convolutions of stride 1 by Winograd's minimal filtering: the
// forward algorithm (winograd.cl) turned round, at the same points and with its transforms transposed:
//
//   dw = G^T [ sum over tiles (A dy tile A^T) * (B^T x tile B) ] G        (* elementwise)
//
// TILE x TILE numbers of dy meet (TILE + 2)^2 of x in (TILE + 2)^2 multiplications instead of 9 TILE^2. The sums over
// tiles are (TILE + 2)^2 products of matrices, one per frequency f. Tiles come in chunks; each leaves its own dw, and
// conv2d_sum (conv2d_weight.cl) adds these in their order.
//
//   v[chunk][f][panel][tile][xwide]   x transformed; panels of xwide input channels, the missing ones 0
//   e[chunk][f][panel][tile][ywide]   dy transformed; panels of ywide output channels likewise
//   m[f][j][k]                        the products; j output channels, k input channels
//   part[chunk][j][tap][k]            the chunks' dw
//
// -DLANES=16: channels a vector holds (1 on GPUs). With -DMR=8 -DNR=32 there is the products' kernel for CPUs.
#include "common.clh"

// The same as la_winograd_span in src/ops/winograd_weight.c.
typedef struct {
    int h, w, c, o, oh, ow, top, left;
    int th, tw, tiles;  // of an image, down and across; of all images
    int chunk, first;   // tiles of a chunk; the first chunk of this launch
    int xwide, ywide;   // channels of a panel
    int vpitch, epitch; // floats from one frequency to the next
    int rows, pitch;    // m: output channels of one item, floats from one frequency to the next
    int panels, groups, items;
} span;

// ---- the transforms along one direction, in place on t[0], t[s], t[2 s], ... ----

#if TILE == 4
static inline void gradient_line(vec *t, const int s)
{
    const vec g0 = t[0], g1 = t[s], g2 = t[2 * s], g3 = t[3 * s];
    const vec e1 = g0 + 0.5f * g2, o1 = 0.5f * R2 * (g1 + 0.5f * g3), e2 = g0 + 2.0f * g2, o2 = R2 * (g1 + 2.0f * g3);
    t[s] = e1 + o1;
    t[2 * s] = e1 - o1;
    t[3 * s] = e2 + o2;
    t[4 * s] = e2 - o2;
    t[5 * s] = g3;
}

static inline void sum_line(vec *t, const int s)
{
    const vec s1 = t[s] + t[2 * s], d1 = t[s] - t[2 * s], s2 = t[3 * s] + t[4 * s], d2 = t[3 * s] - t[4 * s];
    t[0] = t[0] + ((1.0f / 6.0f) * s2 - (2.0f / 3.0f) * s1);
    t[s] = (R2 / 6.0f) * (d2 - 2.0f * d1);
    t[2 * s] = (1.0f / 3.0f) * (s2 - s1) + t[5 * s];
}
#else
static inline void gradient_line(vec *t, const int s)
{
    const vec g0 = t[0], g1 = t[s];
    t[s] = g0 + g1;
    t[2 * s] = g0 - g1;
    t[3 * s] = -g1;
}

static inline void sum_line(vec *t, const int s)
{
    const vec even = 0.5f * (t[s] + t[2 * s]), odd = 0.5f * (t[s] - t[2 * s]);
    t[0] = t[0] + even;
    t[s] = odd;
    t[2 * s] = even + t[3 * s];
}
#endif

// ---- tiles ----

// side x side pixels of a map (n, h, w, c) from a row and column on, zeros outside, of the channels from c0 on.
static inline void load_patch(vec *t, const int side, __global const float *map, int n, int row, int column, int h,
                              int w, int c, int c0)
{
    __global const float *from = map + ((n * h + row) * w + column) * c + c0;
    if (c - c0 >= LANES) {
        UNROLL for (int i = 0; i < side; i++) UNROLL for (int j = 0; j < side; j++)
        {
            const bool inside = (uint)(row + i) < (uint)h && (uint)(column + j) < (uint)w;
            const vec v = LOAD(inside ? from + (i * w + j) * c : map);
            t[i * SIDE + j] = inside ? v : (vec)(0.0f);
        }
    } else {
        for (int i = 0; i < side; i++)
            for (int j = 0; j < side; j++) {
                const bool inside = (uint)(row + i) < (uint)h && (uint)(column + j) < (uint)w;
                float some[LANES];
                for (int k = 0; k < LANES; k++)
                    some[k] = inside && c0 + k < c ? from[(i * w + j) * c + k] : 0.0f;
                t[i * SIDE + j] = LOAD(some);
            }
    }
}

static inline void x_tile(__global float *v, __global const float *x, const span *s, int n, int i, int j, int c0)
{
    vec t[SIDE * SIDE];
    load_patch(t, SIDE, x, n, i * TILE - s->top, j * TILE - s->left, s->h, s->w, s->c, c0);
    UNROLL for (int q = 0; q < SIDE; q++) input_line(t + q, SIDE);
    UNROLL for (int p = 0; p < SIDE; p++)
    {
        input_line(t + p * SIDE, 1);
        UNROLL for (int q = 0; q < SIDE; q++) STORE(t[p * SIDE + q], v + (size_t)(p * SIDE + q) * s->vpitch);
    }
}

static inline void y_tile(__global float *e, __global const float *dy, const span *s, int n, int i, int j, int o0)
{
    vec t[SIDE * SIDE];
    load_patch(t, TILE, dy, n, i * TILE, j * TILE, s->oh, s->ow, s->o, o0);
    UNROLL for (int q = 0; q < TILE; q++) gradient_line(t + q, SIDE);
    UNROLL for (int p = 0; p < SIDE; p++)
    {
        gradient_line(t + p * SIDE, 1);
        UNROLL for (int q = 0; q < SIDE; q++) STORE(t[p * SIDE + q], e + (size_t)(p * SIDE + q) * s->epitch);
    }
}

// Where a tile's channel c lies in one frequency of v or e.
static inline int channel_at(int c, int tile, int wide, int chunk)
{
    return c / wide * chunk * wide + tile * wide + c % wide;
}

// One work-item: a tile of x or of dy, all channels; with LANES 1 one channel of it.
__kernel void winograd_weight_tiles(__global float *v, __global float *e, __global const float *x,
                                    __global const float *dy, const span s)
{
    const int each = LANES > 1 ? 1 : s.c + s.o, id = (int)get_global_id(0) / each;
    const int only = (int)get_global_id(0) % each, of_x = LANES > 1 ? id % 2 == 0 : only < s.c;
    const int k = LANES > 1 ? id / 2 : id, at = s.first * s.chunk + k, chunk = k / s.chunk, t = k - chunk * s.chunk;
    if (at >= s.tiles)
        return;
    const int line = at / s.tw, n = line / s.th, i = line - n * s.th, j = at - line * s.tw;
    const int wide = of_x ? s.xwide : s.ywide, channels = of_x ? s.c : s.o;
    const int start = LANES > 1 ? 0
                      : of_x    ? only
                                : only - s.c,
              end = LANES > 1 ? (channels + wide - 1) / wide * wide : start + 1;
    const int pitch = of_x ? s.vpitch : s.epitch;
    __global float *to = (of_x ? v : e) + (size_t)chunk * SIDE * SIDE * pitch;
    for (int c0 = start; c0 < end; c0 += LANES) {
        __global float *next = to + (c0 + LANES < end ? channel_at(c0 + LANES, t, wide, s.chunk)
                                                      : channel_at(start, t + 1, wide, s.chunk));
        UNROLL for (int f = 0; f < SIDE * SIDE; f++) PREFETCH_TO(next + (size_t)f * pitch);
        if (of_x)
            x_tile(to + channel_at(c0, t, wide, s.chunk), x, &s, n, i, j, c0);
        else
            y_tile(to + channel_at(c0, t, wide, s.chunk), dy, &s, n, i, j, c0);
    }
}

// ---- products ----

// dw's nine taps for output channel j, from the products m, `pitch` floats apart, of the input channels from c0 on.
static inline void sum_taps(__global float *part, __global const float *m, const span *s, int pitch, int chunk, int j,
                            int c0)
{
    vec t[SIDE * SIDE];
    __global float *to = part + ((size_t)chunk * s->o + j) * 9 * s->c + c0;
    const int lanes = min(LANES, s->c - c0);
    UNROLL for (int p = 0; p < SIDE; p++)
    {
        UNROLL for (int q = 0; q < SIDE; q++) t[p * SIDE + q] = LOAD(m + (size_t)(p * SIDE + q) * pitch);
        sum_line(t + p * SIDE, 1);
    }
    UNROLL for (int q = 0; q < 3; q++) sum_line(t + q, SIDE);
    UNROLL for (int u = 0; u < 3; u++) UNROLL for (int v = 0; v < 3; v++)
    {
        if (lanes == LANES) {
            STORE(t[u * SIDE + v], to + (3 * u + v) * s->c);
        } else {
            float some[LANES];
            STORE(t[u * SIDE + v], some);
            for (int k = 0; k < lanes; k++)
                to[(3 * u + v) * s->c + k] = some[k];
        }
    }
}

#if LANES == 1
// The taps apart, for devices without large caches: one work-item per pair of channels.
__kernel void winograd_weight_taps(__global float *dw, __global const float *m, const span s)
{
    const int id = (int)get_global_id(0);
    if (id < s.o * s.c)
        sum_taps(dw, m + id, &s, s.pitch, 0, id / s.c, id % s.c);
}
#endif

#ifdef NR
#define NV (NR / LANES)

// m[j][NR] = sum over tiles of e[tile][j] v[tile][NR] for MR output channels. What the next frequency needs is fetched
// from next_e and next_v on, a line of 16 floats for each tile.
static inline void multiply(__global float *m, __global const float *e, __global const float *v, int tiles,
                            __global const float *next_e, __global const float *next_v)
{
    vec acc[MR][NV];
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int q = 0; q < NV; q++) acc[r][q] = (vec)(0.0f);
    for (int t = 0; t < tiles; t++, e += LANES, v += NR) {
        vec b[NV];
        PREFETCH(next_e + t * 16);
        PREFETCH(next_v + t * 16);
        UNROLL for (int q = 0; q < NV; q++) b[q] = LOAD(v + q * LANES);
        UNROLL for (int r = 0; r < MR; r++)
        {
            const vec a = (vec)(e[r]);
            UNROLL for (int q = 0; q < NV; q++) acc[r][q] = fma(a, b[q], acc[r][q]);
        }
    }
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int q = 0; q < NV; q++) STORE(acc[r][q], m + r * NR + q * LANES);
}

// `rows` output channels by a panel of input channels, all frequencies and the tiles of a chunk, through scratch memory
// that stays in the core's cache. A work-item does one such item after the other.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_weight_products(__global float *restrict part,
                                                                                      __global const float *restrict v,
                                                                                      __global const float *restrict e,
                                                                                      __global float *restrict scratch,
                                                                                      const span s)
{
    __global float *m = scratch + (size_t)get_global_id(0) * SIDE * SIDE * s.pitch;
    for (int item = (int)get_global_id(0); item < s.items; item += (int)get_global_size(0)) {
        const int j0 = item % s.groups * s.rows, rows = min(s.rows, s.o - j0), panel = item / s.groups % s.panels;
        const int slot = item / s.groups / s.panels, chunk = s.first + slot;
        const int tiles = min(s.chunk, s.tiles - chunk * s.chunk);
        __global const float *vs = v + (size_t)slot * SIDE * SIDE * s.vpitch + (size_t)panel * s.chunk * NR;
        __global const float *es = e + (size_t)slot * SIDE * SIDE * s.epitch;
        for (int f = 0; f < SIDE * SIDE; f++)
            for (int j = 0; j < rows; j += MR) {
                __global const float *ef = es + (size_t)f * s.epitch + channel_at(j0 + j, 0, LANES, s.chunk);
                __global const float *vf = vs + (size_t)f * s.vpitch;
                multiply(m + f * s.pitch + j * NR, ef, vf, tiles, ef + s.epitch,
                         vf + s.vpitch + j / MR % 2 * tiles * 16);
            }
        for (int j = 0; j < rows; j++)
            for (int k = 0; k < NR && panel * NR + k < s.c; k += LANES)
                sum_taps(part, m + j * NR + k, &s, s.pitch, chunk, j0 + j, panel * NR + k);
    }
}
#endif
