// SPDX-License-Identifier: MIT
//
// conv2d_bf16.cl -- the forward sweep (see conv2d_sweep.cl) with factors rounded to bfloat16 and sums in float, by the
// instruction that multiplies pairs of them (AVX512-BF16). Inline assembly: a compiler or processor that does not know
// it stops the process, so that this program is first tried in another one (la__program_probe).
#define AVX512_BF16
#include "common.clh"

#define UNROLL _Pragma("unroll")
#define MR 12 // the register tile: positions x columns
#define NR 32
#define NV (NR / 16)
#define PAIRS 128 // pairs of a piece: rounded pixels lie [tile][piece][MR][PAIRS], so that addresses are constants
#define CEIL(a, b) (((a) + (b)-1) / (b))

// Asks for a line of the cache before it is needed: a hint, left out where the compiler has none.
#define PREFETCH(p, write)
#if defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#define PREFETCH(p, write) __builtin_prefetch((const void *)(uintptr_t)(p), write, 2)
#endif
#endif

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
static inline void round_run(__global uint *to, __global const float *from, int count)
{
    int c = 0;
    for (; c + 16 <= count; c += 16)
        vstore8(rounded_pairs(vload16(0, from + c)), 0, to + c / 2);
    for (; c + 2 <= count; c += 2)
        to[c / 2] = rounded(from[c]) | rounded(from[c + 1]) << 16;
    if (c < count)
        to[c / 2] = rounded(from[c]);
}

// How a row of pairs is cut into pieces: several taps, or a part of one.
typedef struct {
    int taps, run;          // in all; pairs of a tap
    int at_once, per, many; // taps of a piece; pieces of a tap; pieces
} cutting;

static inline cutting cutting_of(int taps, int run)
{
    const int at_once = max(1, PAIRS / run), per = CEIL(run, PAIRS);
    const cutting c = { taps, run, at_once, per, per > 1 ? taps * per : CEIL(taps, at_once) };
    return c;
}

static inline int length_of(const cutting *c, int piece)
{
    return c->per > 1 ? min(PAIRS, c->run - piece % c->per * PAIRS)
                      : min(c->at_once, c->taps - piece * c->at_once) * c->run;
}

// Where position m looks at x.
typedef struct {
    int n, ph, pw;
} position;

// Rounds what the MR positions from *p on see, `rows` of which exist; moves *p behind them.
static inline void round_tile(__global uint *a, __global const float *x, const sweep *s, const cutting *c, position *p,
                              int rows)
{
    for (int r = 0; r < rows; r++) {
        const int row = p->ph * s->sh + s->oh, column = p->pw * s->sw + s->ow;
        __global const float *from = x + ((p->n * s->h + row) * s->w + column) * s->pitch;
        __global uint *to = a + r * PAIRS;
        for (int t = 0, i = 0, j = 0, in_piece = 0; t < c->taps; t++) {
            const bool inside = (uint)(row + i * s->dh) < (uint)s->h && (uint)(column + j * s->dw) < (uint)s->w;
            __global const float *tap = from + (i * s->dh * s->w + j * s->dw) * s->pitch;
            for (int k0 = 0; k0 < c->run; k0 += PAIRS) {
                const int some = min(PAIRS, c->run - k0);
                __global uint *at = to + in_piece * c->run;
                if (inside)
                    round_run(at, tap + 2 * k0, min(2 * some, s->run - 2 * k0));
                else
                    for (int k = 0; k < some; k++)
                        at[k] = 0;
                if (c->per > 1)
                    to += MR * PAIRS;
            }
            if (c->per == 1 && ++in_piece == c->at_once) {
                in_piece = 0;
                to += MR * PAIRS;
            }
            if (++j == s->tw) {
                j = 0;
                i++;
            }
        }
        if (++p->pw == s->pw) {
            p->pw = 0;
            if (++p->ph == s->ph) {
                p->ph = 0;
                p->n++;
            }
        }
    }
}

// y and residual are those of a tile: y[r * pitch + column] = clamp(sum + residual) where it exists.
static inline void finish(float16 acc[MR][NV], __global float *y, __global const float *residual, int pitch, int rows,
                          int columns, const after *e)
{
    if (rows >= MR && columns >= NR) {
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
        {
            const float16 z = e->residual ? acc[r][v] + vload16(v, residual + r * pitch) : acc[r][v];
            vstore16(BOUND(z, (float16)e->low, (float16)e->high), v, y + r * pitch);
        }
    } else {
        float edge[MR * NR];
        UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) vstore16(acc[r][v], v, edge + r * NR);
        for (int r = 0; r < min(MR, rows); r++)
            for (int k = 0; k < min(NR, columns); k++) {
                const float z = e->residual ? edge[r * NR + k] + residual[r * pitch + k] : edge[r * NR + k];
                y[r * pitch + k] = BOUND(z, e->low, e->high);
            }
    }
}

// One tile: shift + a (MR, pairs) b (pairs, NR). A line from `ahead` on is fetched in each step.
static inline void multiply(__global float *y, __global const float *residual, int pitch, int rows, int columns,
                            __global const uint *a, __global const uint *b, __global const float *shift,
                            const cutting *c, __global const uint *ahead, const after *e)
{
    float16 acc[MR][NV];
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)
    {
        acc[r][v] = vload16(v, shift);
        PREFETCH(y + r * pitch + 16 * v, 1);
        if (e->residual)
            PREFETCH(residual + r * pitch + 16 * v, 0);
    }
    for (int piece = 0; piece < c->many; piece++, a += MR * PAIRS) {
        const int length = length_of(c, piece);
        for (int k = 0; k < length; k++, b += NR, ahead += 16) {
            uint16 bv[NV];
            PREFETCH(ahead, 0);
            UNROLL for (int v = 0; v < NV; v++) bv[v] = vload16(v, b);
            UNROLL for (int r = 0; r < MR; r++)
            {
                const uint16 av = (uint16)(a[r * PAIRS + k]);
                UNROLL for (int v = 0; v < NV; v++) acc[r][v] = add_products(acc[r][v], av, bv[v]);
            }
        }
    }
    finish(acc, y, residual, pitch, rows, columns, e);
}

// The same as la_dealt in src/ops/conv2d_bf16.c: ranges of tiles of positions by parts of the panels make items, of
// which a work-item does one after the other.
typedef struct {
    int groups, ranges, parts;
    int slot; // of rounded pixels, in the scratch memory of a work-item
} dealt;

static inline int share(int all, int which, int of)
{
    return (int)((long)all * which / of);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_bf16_sweep(
    __global float *restrict y, __global const float *restrict x, __global const uint *restrict packed,
    __global const float *restrict residual, __global uint *restrict scratch, const sweep s, const after e,
    const dealt d)
{
    const cutting c = cutting_of(s.th * s.tw, (s.run + 1) / 2);
    const int depth = c.taps * c.run, tile = c.many * MR * PAIRS, panels = CEIL(s.cols, NR);
    __global uint *a = scratch + (size_t)get_global_id(0) * d.slot;

    for (int item = (int)get_global_id(0); item < d.groups * d.ranges * d.parts; item += (int)get_global_size(0)) {
        const int range = item % d.ranges, part = item / d.ranges % d.parts, g = item / d.ranges / d.parts;
        const int first = share(CEIL(s.rows, MR), range, d.ranges), last = share(CEIL(s.rows, MR), range + 1, d.ranges);
        const int m = first * MR, n = m / (s.ph * s.pw), rest = m - n * s.ph * s.pw;
        position p = { n, rest / s.pw, rest % s.pw };

        for (int t = first; t < last; t++)
            round_tile(a + (t - first) * tile, x + g * s.run, &s, &c, &p, min(MR, s.rows - t * MR));
        for (int q = share(panels, part, d.parts); q < share(panels, part + 1, d.parts); q++) {
            __global const uint *b = packed + (size_t)(g * panels + q) * depth * NR, *next = b + (size_t)depth * NR;
            __global const float *shift = (__global const float *)packed + (size_t)d.groups * panels * depth * NR +
                                          (g * panels + q) * NR;
            for (int t = first; t < last; t++) { // the first NV tiles fetch the next panel
                const size_t to = (size_t)t * MR * s.ypitch + g * s.cols + q * NR;
                multiply(y + to, residual + to, s.ypitch, s.rows - t * MR, s.cols - q * NR, a + (t - first) * tile, b,
                         shift, &c, t - first < NV ? next + (t - first) * depth * 16 : b, &e);
            }
        }
    }
}
