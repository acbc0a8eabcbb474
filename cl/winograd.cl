// SPDX-License-Identifier: MIT
//
// winograd.cl -- 3 x 3 convolution of stride 1 by Winograd's minimal filtering, F(4x4, 3x3) and F(2x2, 3x3):
//
//   y tile = A^T [ sum_c (G w G^T) * (B^T x tile B) ] A        (* elementwise)
//
// TILE x TILE results take (TILE + 2)^2 multiplications for each pair of channels instead of 9 TILE^2: 36 for 144 or 16
// for 36. The elementwise products for all tiles and channels are (TILE + 2)^2 products of matrices. TILE 2 evaluates
// polynomials in 0, 1, -1 and infinity; TILE 4 in 0, +-1/sqrt(2), +-sqrt(2), infinity, which loses less
// than twice what the direct sum does (rms; 0, +-1, +-2, infinity loses twice that again).
//
//   u[f][panel][k][NR]   the weights; f of (TILE + 2)^2 frequencies, k input channels, panels of nr output channels;
//                        then the shift of every output channel, padded to whole panels, then PAD zeros
//   v[f][tile][k]        the transformed pixels
//   m[f][tile][j]        their products, j output channels
//
// The data gradient is the same over dy, with the weights turned by 180 degrees and their channels exchanged.
// -DLANES=16: channels a vector holds (1 on GPUs). With -DMR=8 -DNR=32 there is the fused kernel for CPUs; with -DBF16
// its products are those of factors rounded to bfloat16, summed in float: u and v then hold pairs of neighbouring k.
#ifdef BF16
#define AVX512_BF16
#endif
#include "common.clh"

#define PAD 32
#ifdef BF16
#define PER 2 // input channels in one place of u and v
#else
#define PER 1
#endif
#define DEPTH(channels) (((channels) + PER - 1) / PER)

// The same as la_winograd in src/ops/winograd.c.
typedef struct {
    int h, w, c, o, oh, ow, top, left;
    int th, tw, tiles;  // of an image, down and across; of all images
    int vpitch, mpitch; // floats from one frequency to the next
    int row;            // floats from one tile to the next in m
    int residual;
    float low, high;
    int block, wide, panels, blocks, items, slot; // of the fused kernel, explained there
} winograd;

// ---- the transforms along one direction, in place on t[0], t[s], t[2 s], ... ----

#if TILE == 4
static inline void output_line(vec *t, const int s)
{
    const vec s1 = t[s] + t[2 * s], d1 = t[s] - t[2 * s], s2 = t[3 * s] + t[4 * s], d2 = t[3 * s] - t[4 * s];
    t[0] = t[0] + (s1 + s2);
    t[s] = R2 * (0.5f * d1 + d2);
    t[2 * s] = 0.5f * s1 + 2.0f * s2;
    t[3 * s] = R2 * (0.25f * d1 + 2.0f * d2) + t[5 * s];
}

static inline void weight_line(vec *t, const int s)
{
    const vec g0 = t[0], g1 = t[s], g2 = t[2 * s];
    const vec e1 = (g0 + 0.5f * g2) * (-2.0f / 3.0f), o1 = g1 * (-R2 / 3.0f);
    const vec e2 = (g0 + 2.0f * g2) * (1.0f / 6.0f), o2 = g1 * (R2 / 6.0f);
    t[s] = e1 + o1;
    t[2 * s] = e1 - o1;
    t[3 * s] = e2 + o2;
    t[4 * s] = e2 - o2;
    t[5 * s] = g2;
}
#else
static inline void output_line(vec *t, const int s)
{
    const vec sum = t[s] + t[2 * s], difference = t[s] - t[2 * s];
    t[0] = t[0] + sum;
    t[s] = difference - t[3 * s];
}

static inline void weight_line(vec *t, const int s)
{
    const vec even = 0.5f * (t[0] + t[2 * s]), odd = 0.5f * t[s];
    t[3 * s] = t[2 * s];
    t[s] = even + odd;
    t[2 * s] = even - odd;
}
#endif

// ---- weights ----

// The same as la_winograd_weights in src/ops/winograd.c.
typedef struct {
    int depth, columns; // input and output channels, as the pass has them
    int sk, sj, st;     // strides of w by input channel, output channel and tap
    int turned;         // taps backwards
    int nr, panels;
    int pitch;       // floats of one frequency
    int scaled_by_k; // the norm's scale goes with the input channel
    int biased, normed;
    float eps;
} weights;

static inline float scale_of(__global const float *weight, __global const float *variance, const weights *s, int i)
{
    return s->normed ? weight[i] / sqrt(variance[i] + s->eps) : 1.0f;
}

#ifdef BF16
#define WEIGHT(t, j) as_float16(rounded_lanes(t[0][j]) | rounded_lanes(t[1][j]) << 16)
#else
#define WEIGHT(t, j) t[0][j]
#endif

// One work-item: LANES input channels by LANES output channels.
__kernel void winograd_weights(__global float *u, __global const float *w, __global const float *bias,
                               __global const float *norm_weight, __global const float *norm_bias,
                               __global const float *norm_mean, __global const float *norm_variance, const weights s)
{
    const int blocks = (s.depth + LANES - 1) / LANES, wide = s.panels * s.nr;
    const int k0 = (int)get_global_id(0) % blocks * LANES, j0 = (int)get_global_id(0) / blocks * LANES;
    if (j0 >= wide)
        return;
    const int rows = min(LANES, s.depth - k0), columns = clamp(s.columns - j0, 0, LANES);
    __global float *to = u + ((size_t)(j0 / s.nr) * DEPTH(s.depth) + k0 / PER) * s.nr + j0 % s.nr;
    vec g[9 * LANES], across[3 * SIDE * LANES];
    float scale[LANES];

    for (int t = 0; t < 9; t++) {
        __global const float *from = w + (s.turned ? 8 - t : t) * s.st + k0 * s.sk + j0 * s.sj;
#if LANES == 16
        if (rows == 16 && columns == 16 && s.sj == 1) {
            UNROLL for (int k = 0; k < 16; k++) g[t * 16 + k] = LOAD(from + k * s.sk);
            continue;
        }
        if (rows == 16 && columns == 16 && s.sk == 1) {
            float16 r[16];
            UNROLL for (int j = 0; j < 16; j++) r[j] = LOAD(from + j * s.sj);
            transpose16(r);
            UNROLL for (int k = 0; k < 16; k++) g[t * 16 + k] = r[k];
            continue;
        }
#endif
        for (int k = 0; k < rows; k++) {
            float lanes[LANES];
            for (int j = 0; j < LANES; j++)
                lanes[j] = j < columns ? from[k * s.sk + j * s.sj] : 0.0f;
            g[t * LANES + k] = LOAD(lanes);
        }
    }
    for (int i = 0; i < LANES; i++) {
        const int at = s.scaled_by_k ? k0 + i : j0 + i;
        scale[i] = at < (s.scaled_by_k ? s.depth : s.columns) ? scale_of(norm_weight, norm_variance, &s, at) : 0.0f;
    }
    for (int k = 0; k < rows; k++) {
        const vec by = s.scaled_by_k ? (vec)(scale[k]) : LOAD(scale);
        UNROLL for (int j = 0; j < 3; j++)
        {
            vec t[SIDE];
            UNROLL for (int i = 0; i < 3; i++) t[i] = g[(3 * i + j) * LANES + k] * by;
            weight_line(t, 1);
            UNROLL for (int i = 0; i < SIDE; i++) across[(3 * i + j) * LANES + k] = t[i];
        }
    }
    for (int i = 0; i < SIDE; i++)
        for (int k = 0; k < rows; k += PER) {
            vec t[PER][SIDE];
            UNROLL for (int h = 0; h < PER; h++)
            {
                UNROLL for (int j = 0; j < 3; j++) t[h][j] = k + h < rows ? across[(3 * i + j) * LANES + k + h]
                                                                          : (vec)(0.0f);
                weight_line(t[h], 1);
            }
            UNROLL for (int j = 0; j < SIDE; j++)
                STORE(WEIGHT(t, j), to + (size_t)(i * SIDE + j) * s.pitch + k / PER * s.nr);
        }
    if (k0 > 0)
        return;
    to = u + (size_t)SIDE * SIDE * s.pitch + j0;
    for (int j = 0; j < LANES; j++) {
        float shift = 0.0f;
        if (j < columns && s.biased)
            shift = bias[j0 + j];
        if (j < columns && s.normed && !s.scaled_by_k)
            shift = norm_bias[j0 + j] + (shift - norm_mean[j0 + j]) * scale[j];
        to[j] = shift;
    }
    for (int j = 0; j0 == 0 && j < PAD; j++)
        to[wide + j] = 0.0f;
}

// ---- pixels and products ----

// Where a tile lies: its image and its first row and column of y.
typedef struct {
    int n, i, j;
} place;

static inline place place_of(const winograd *s, int tile)
{
    const int line = tile / s->tw, n = line / s->th;
    return (place){ n, (line - n * s->th) * TILE, (tile - line * s->tw) * TILE };
}

// Transforms one tile of x for the channels from c0 on into v, vpitch floats apart. `zero` is a vector of zeros.
// Missing channels come out as zeros.
static inline void input_tile(__global float *v, __global const float *x, __global const float *zero, const winograd *s,
                              place at, int c0)
{
    vec t[SIDE * SIDE];
    const int row = at.i - s->top, column = at.j - s->left;
    __global const float *from = x + ((at.n * s->h + row) * s->w + column) * s->c + c0;

    if (s->c - c0 >= LANES) {
        UNROLL for (int i = 0; i < SIDE; i++) UNROLL for (int j = 0; j < SIDE; j++)
        {
            const bool inside = (uint)(row + i) < (uint)s->h && (uint)(column + j) < (uint)s->w;
            t[i * SIDE + j] = LOAD(inside ? from + (i * s->w + j) * s->c : zero);
        }
    } else {
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < SIDE; j++) {
                const bool inside = (uint)(row + i) < (uint)s->h && (uint)(column + j) < (uint)s->w;
                float lanes[LANES];
                for (int k = 0; k < LANES; k++)
                    lanes[k] = inside && c0 + k < s->c ? from[(i * s->w + j) * s->c + k] : 0.0f;
                t[i * SIDE + j] = LOAD(lanes);
            }
    }
    UNROLL for (int j = 0; j < SIDE; j++) input_line(t + j, SIDE);
    UNROLL for (int i = 0; i < SIDE; i++)
    {
        input_line(t + i * SIDE, 1);
#ifdef BF16
        UNROLL for (int j = 0; j < SIDE; j++)
            vstore8(as_float8(rounded_pairs(t[i * SIDE + j])), 0, v + (i * SIDE + j) * s->vpitch);
#else
        UNROLL for (int j = 0; j < SIDE; j++) STORE(t[i * SIDE + j], v + (i * SIDE + j) * s->vpitch);
#endif
    }
}

static inline vec clamped(vec v, float low, float high)
{
    v = v < low ? (vec)(low) : v;
    return v > high ? (vec)(high) : v;
}

// Transforms the products of one tile for the output channels from o0 on and writes what of it lies in y.
static inline void output_tile(__global float *y, __global const float *m, __global const float *shift,
                               __global const float *residual, const winograd *s, place at, int o0)
{
    vec t[SIDE * SIDE];
    const vec plus = LOAD(shift + o0);
    UNROLL for (int i = 0; i < SIDE; i++)
    {
        UNROLL for (int j = 0; j < SIDE; j++) t[i * SIDE + j] = LOAD(m + (i * SIDE + j) * s->mpitch);
        output_line(t + i * SIDE, 1);
    }
    UNROLL for (int j = 0; j < TILE; j++) output_line(t + j, SIDE);

    const int to = ((at.n * s->oh + at.i) * s->ow + at.j) * s->o + o0;
    const int rows = min(TILE, s->oh - at.i), columns = min(TILE, s->ow - at.j), lanes = min(LANES, s->o - o0);
    if (lanes == LANES) {
        UNROLL for (int i = 0; i < TILE; i++) UNROLL for (int j = 0; j < TILE; j++) if (i < rows && j < columns)
        {
            const int pixel = to + (i * s->ow + j) * s->o;
            vec v = t[i * SIDE + j] + plus;
            if (s->residual)
                v += LOAD(residual + pixel);
            STORE(clamped(v, s->low, s->high), y + pixel);
        }
    } else {
        float edge[TILE * TILE * LANES];
        UNROLL for (int i = 0; i < TILE; i++) UNROLL for (int j = 0; j < TILE; j++)
            STORE(t[i * SIDE + j] + plus, edge + (i * TILE + j) * LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                for (int k = 0; k < lanes; k++) {
                    const int pixel = to + (i * s->ow + j) * s->o + k;
                    float v = edge[(i * TILE + j) * LANES + k];
                    if (s->residual)
                        v += residual[pixel];
                    v = v < s->low ? s->low : v;
                    y[pixel] = v > s->high ? s->high : v;
                }
    }
}

// The stages apart, for devices without large caches: one work-item per tile and channel.
#if LANES == 1
__kernel void winograd_input(__global float *v, __global const float *x, __global const float *u, const winograd s)
{
    const int id = (int)get_global_id(0), tile = id / s.c, c = id - tile * s.c;
    if (tile >= s.tiles)
        return;
    __global const float *zero = u + (size_t)SIDE * SIDE * s.c * s.o + s.o;
    input_tile(v + tile * s.c + c, x, zero, &s, place_of(&s, tile), c);
}

__kernel void winograd_output(__global float *y, __global const float *m, __global const float *u,
                              __global const float *residual, const winograd s)
{
    const int id = (int)get_global_id(0), tile = id / s.o, o = id - tile * s.o;
    if (tile >= s.tiles)
        return;
    output_tile(y, m + tile * s.o + o, u + (size_t)SIDE * SIDE * s.c * s.o, residual, &s, place_of(&s, tile), o);
}
#endif

#ifdef NR
#define NV (NR / LANES)

#ifdef BF16
#define ADD_PRODUCTS(sum, a, b) add_products(sum, as_uint16(a), as_uint16(b))
#else
#define ADD_PRODUCTS(sum, a, b) fma(a, b, sum)
#endif

// m[tile][panel's channels] = v[tile][k] panel[k][NR] for MR tiles. A line from `ahead` on is fetched in each step:
// weights come from memory, since those of one layer nearly fill the caches.
static inline void multiply(__global float *m, int mrow, __global const float *v, int vrow, __global const float *b,
                            int depth, int rows, __global const float *ahead)
{
    vec acc[MR][NV];
    __global const float *a[MR];
    UNROLL for (int r = 0; r < MR; r++)
    {
        a[r] = v + min(r, rows - 1) * vrow;
        UNROLL for (int q = 0; q < NV; q++) acc[r][q] = (vec)(0.0f);
    }
    for (int k = 0; k < depth; k++, b += NR) {
        vec bv[NV];
        PREFETCH(ahead + k * 16);
        UNROLL for (int q = 0; q < NV; q++) bv[q] = LOAD(b + q * LANES);
        UNROLL for (int r = 0; r < MR; r++)
        {
            const vec av = (vec)(a[r][k]);
            UNROLL for (int q = 0; q < NV; q++) acc[r][q] = ADD_PRODUCTS(acc[r][q], av, bv[q]);
        }
    }
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int q = 0; q < NV; q++) STORE(acc[r][q], m + r * mrow + q * LANES);
}

// All of it for `block` tiles (whole times MR) by `wide` panels, through a slot of scratch memory, v and then m, that
// stays in the core's cache. A work-item does one such item after the other; panels slowest, so that neighbours share
// weights.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_fused(
    __global float *restrict y, __global const float *restrict x, __global const float *restrict u,
    __global const float *restrict residual, __global float *restrict scratch, const winograd s)
{
    __global float *v = scratch + (size_t)get_global_id(0) * s.slot, *m = v + SIDE * SIDE * s.vpitch;
    const int depth = DEPTH(s.c), vrow = (s.c + LANES - 1) / LANES * LANES / PER;
    __global const float *shift = u + (size_t)SIDE * SIDE * s.panels * depth * NR, *zero = shift + s.panels * NR;

    for (int item = (int)get_global_id(0); item < s.items; item += (int)get_global_size(0)) {
        const int first = item % s.blocks * s.block, tiles = min(s.block, s.tiles - first);
        const int panel = item / s.blocks * s.wide, panels = min(s.wide, s.panels - panel);
        for (int t = 0; t < tiles; t++) {
            const place at = place_of(&s, first + t);
            for (int c = 0; c < s.c; c += LANES)
                input_tile(v + t * vrow + c / PER, x, zero, &s, at, c);
        }
        for (int f = 0; f < SIDE * SIDE; f++)
            for (int p = 0; p < panels; p++) {
                __global const float *b = u + ((size_t)f * s.panels + panel + p) * depth * NR;
                __global const float *next = b + (size_t)(p + 1 < panels ? 1 : s.panels - p) * depth * NR;
                for (int t = 0; t < tiles; t += MR) // each step fetches a sixteenth, the first NR / 16 of them all
                    multiply(m + f * s.mpitch + t * s.row + p * NR, s.row, v + f * s.vpitch + t * vrow, vrow, b, depth,
                             tiles - t, t / MR < NR / 16 ? next + t / MR * depth * 16 : b);
            }
        for (int t = 0; t < tiles; t++) {
            const place at = place_of(&s, first + t);
            for (int j = 0; j < panels * NR && panel * NR + j < s.o; j += LANES)
                output_tile(y, m + t * s.row + j, shift, residual, &s, at, panel * NR + j);
        }
    }
}
#endif
