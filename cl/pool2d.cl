/* SPDX-License-Identifier: MIT
 *
 * pool2d.cl -- largest and mean value of windows of an image (N, H, W, C).
 *
 * One work-item owns up to 8 channels of one place. Gradients are gathered: each place of x asks the windows that it is
 * in, so that nothing is added from two sides. On CPUs (_rows) it owns whole rows.
 */
#include "common.clh"

typedef struct {
    int n, h, w, c;
    int oh, ow, kh, kw, sh, sw;
    int top, bottom, left, right;
    int include_pad; /* mean only: padding counts as cells of value 0 */
} shape;

#define BLOCK 8

/* Where a work-item is: `channels` from c on of place (n, i, j) of a map of h x w. */
typedef struct {
    int n, i, j, c, channels;
} place;

static bool find_place(place *p, const shape s, int h, int w)
{
    const int blocks = (s.c + BLOCK - 1) / BLOCK;
    int at = (int)get_global_id(0);
    if (at >= s.n * h * w * blocks)
        return false;
    p->c = at % blocks * BLOCK;
    p->channels = min(BLOCK, s.c - p->c);
    at /= blocks;
    p->j = at % w;
    p->i = at / w % h;
    p->n = at / w / h;
    return true;
}

/* The cells of x, from inclusive to exclusive, that window (i, j) covers. */
typedef struct {
    int top, bottom, left, right;
} window;

static window find_window(const place *p, const shape s)
{
    const int y = p->i * s.sh - s.top, x = p->j * s.sw - s.left;
    return (window){ max(y, 0), min(y + s.kh, s.h), max(x, 0), min(x + s.kw, s.w) };
}

/* 1 / the number of cells that the mean of window (i, j) is over: windows end with the padding. */
static float share(const window *v, int i, int j, const shape s)
{
    const int y = i * s.sh - s.top, x = j * s.sw - s.left;
    const int padded = (min(y + s.kh, s.h + s.bottom) - y) * (min(x + s.kw, s.w + s.right) - x);
    return 1.0f / (float)(s.include_pad ? padded : (v->bottom - v->top) * (v->right - v->left));
}

/* The windows, from inclusive to exclusive, that cover a cell along one axis. */
static int first_window(int at, int padding, int kernel_size, int stride)
{
    const int past = at + padding - kernel_size;
    return past < 0 ? 0 : past / stride + 1;
}

static int last_window(int at, int padding, int stride, int count)
{
    return min((at + padding) / stride + 1, count);
}

#define LOAD1(p) (*(p))
#define STORE1(v, p) (*(p) = (v))
#define LOAD16(p) vload16(0, p)
#define STORE16(v, p) vstore16(v, 0, p)
#define LOAD8(p) vload8(0, p)
#define STORE8(v, p) vstore8(v, 0, p)

/* Runs a body defined for one channel and for eight on the channels of a place. */
#define EACH(p, NAME, ...)                     \
    if ((p).channels == BLOCK)                 \
        NAME##8(__VA_ARGS__, (p).c);           \
    else                                       \
        for (int k = 0; k < (p).channels; k++) \
            NAME##1(__VA_ARGS__, (p).c + k);

/* A NaN is the largest, as elsewhere. */
#define MAX_FWD(N, T)                                                                                        \
    static void max_fwd##N(__global float *y, __global const float *x, const window v, const shape s, int c) \
    {                                                                                                        \
        T best = -INFINITY;                                                                                  \
        for (int i = v.top; i < v.bottom; i++)                                                               \
            for (int j = v.left; j < v.right; j++) {                                                         \
                const T a = LOAD##N(x + (i * s.w + j) * s.c + c);                                            \
                best = select(best, a, (a > best) | (a != a));                                               \
            }                                                                                                \
        STORE##N(best, y + c);                                                                               \
    }

/* Which cell of the whole window, row by row, is the first largest. */
#define MAX_WHERE(N, T, I)                                                                                \
    static void max_where##N(__global int *where, __global const float *x, const window v, const place p, \
                             const shape s, int c)                                                        \
    {                                                                                                     \
        const int y0 = p.i * s.sh - s.top, x0 = p.j * s.sw - s.left;                                      \
        T best = -INFINITY;                                                                               \
        I found = (v.top - y0) * s.kw + v.left - x0;                                                      \
        for (int i = v.top; i < v.bottom; i++)                                                            \
            for (int j = v.left; j < v.right; j++) {                                                      \
                const T a = LOAD##N(x + (i * s.w + j) * s.c + c);                                         \
                const I better = (a > best) | (a != a);                                                   \
                best = select(best, a, better);                                                           \
                found = select(found, (I)((i - y0) * s.kw + j - x0), better);                             \
            }                                                                                             \
        STORE##N(found, where + c);                                                                       \
    }

#define MAX_BWD(N, T, I)                                                                                          \
    static void max_bwd##N(__global float *dx, __global const float *g, __global const int *where, const place p, \
                           const shape s, int c)                                                                  \
    {                                                                                                             \
        T sum = 0.0f;                                                                                             \
        for (int i = first_window(p.i, s.top, s.kh, s.sh); i < last_window(p.i, s.top, s.sh, s.oh); i++)          \
            for (int j = first_window(p.j, s.left, s.kw, s.sw); j < last_window(p.j, s.left, s.sw, s.ow); j++) {  \
                const int cell = (p.i - (i * s.sh - s.top)) * s.kw + p.j - (j * s.sw - s.left);                   \
                const int at = (i * s.ow + j) * s.c + c;                                                          \
                sum += select((T)0.0f, LOAD##N(g + at), LOAD##N(where + at) == (I)cell);                          \
            }                                                                                                     \
        STORE##N(sum, dx + c);                                                                                    \
    }

#define MEAN_FWD(N, T)                                                                                             \
    static void mean_fwd##N(__global float *y, __global const float *x, const window v, float part, const shape s, \
                            int c)                                                                                 \
    {                                                                                                              \
        T sum = 0.0f;                                                                                              \
        for (int i = v.top; i < v.bottom; i++) {                                                                   \
            T line = 0.0f;                                                                                         \
            for (int j = v.left; j < v.right; j++)                                                                 \
                line += LOAD##N(x + (i * s.w + j) * s.c + c);                                                      \
            sum += line;                                                                                           \
        }                                                                                                          \
        STORE##N(sum *part, y + c);                                                                                \
    }

#define MEAN_BWD(N, T)                                                                                           \
    static void mean_bwd##N(__global float *dx, __global const float *g, const place p, const shape s, int c)    \
    {                                                                                                            \
        T sum = 0.0f;                                                                                            \
        for (int i = first_window(p.i, s.top, s.kh, s.sh); i < last_window(p.i, s.top, s.sh, s.oh); i++)         \
            for (int j = first_window(p.j, s.left, s.kw, s.sw); j < last_window(p.j, s.left, s.sw, s.ow); j++) { \
                const place q = { p.n, i, j, c, 0 };                                                             \
                const window v = find_window(&q, s);                                                             \
                sum += LOAD##N(g + (i * s.ow + j) * s.c + c) * share(&v, i, j, s);                               \
            }                                                                                                    \
        STORE##N(sum, dx + c);                                                                                   \
    }

MAX_FWD(1, float)
MAX_FWD(8, float8)
MAX_FWD(16, float16)
MAX_WHERE(1, float, int)
MAX_WHERE(8, float8, int8)
MAX_BWD(1, float, int)
MAX_BWD(8, float8, int8)
MEAN_FWD(1, float)
MEAN_FWD(8, float8)
MEAN_FWD(16, float16)
MEAN_BWD(1, float)
MEAN_BWD(8, float8)

__kernel void max_pool2d_fwd(__global float *y, __global const float *x, const shape s)
{
    place p;
    if (!find_place(&p, s, s.oh, s.ow))
        return;
    const window v = find_window(&p, s);
    y += ((p.n * s.oh + p.i) * s.ow + p.j) * s.c;
    x += p.n * s.h * s.w * s.c;
    EACH(p, max_fwd, y, x, v, s)
}

__kernel void max_pool2d_where(__global int *where, __global const float *x, const shape s)
{
    place p;
    if (!find_place(&p, s, s.oh, s.ow))
        return;
    const window v = find_window(&p, s);
    where += ((p.n * s.oh + p.i) * s.ow + p.j) * s.c;
    x += p.n * s.h * s.w * s.c;
    EACH(p, max_where, where, x, v, p, s)
}

__kernel void max_pool2d_bwd_x(__global float *dx, __global const float *g, __global const int *where, const shape s)
{
    place p;
    if (!find_place(&p, s, s.h, s.w))
        return;
    dx += ((p.n * s.h + p.i) * s.w + p.j) * s.c;
    g += p.n * s.oh * s.ow * s.c;
    where += p.n * s.oh * s.ow * s.c;
    EACH(p, max_bwd, dx, g, where, p, s)
}

__kernel void avg_pool2d_fwd(__global float *y, __global const float *x, const shape s)
{
    place p;
    if (!find_place(&p, s, s.oh, s.ow))
        return;
    const window v = find_window(&p, s);
    const float part = share(&v, p.i, p.j, s);
    y += ((p.n * s.oh + p.i) * s.ow + p.j) * s.c;
    x += p.n * s.h * s.w * s.c;
    EACH(p, mean_fwd, y, x, v, part, s)
}

__kernel void avg_pool2d_bwd_x(__global float *dx, __global const float *g, const shape s)
{
    place p;
    if (!find_place(&p, s, s.h, s.w))
        return;
    dx += ((p.n * s.h + p.i) * s.w + p.j) * s.c;
    g += p.n * s.oh * s.ow * s.c;
    EACH(p, mean_bwd, dx, g, p, s)
}

/* The same for all channels of a place, 16 at a time. */
#define ALL(NAME, ...)                 \
    {                                  \
        int c = 0;                     \
        for (; c + 16 <= s.c; c += 16) \
            NAME##16(__VA_ARGS__, c);  \
        for (; c < s.c; c++)           \
            NAME##1(__VA_ARGS__, c);   \
    }

/* A row of y per work-item. */
#define ROW_OF_Y(BODY)                                                                  \
    place p = { .i = (int)get_global_id(0) % s.oh, .n = (int)get_global_id(0) / s.oh }; \
    if (p.n >= s.n)                                                                     \
        return;                                                                         \
    y += (p.n * s.oh + p.i) * s.ow * s.c;                                               \
    x += p.n * s.h * s.w * s.c;                                                         \
    for (p.j = 0; p.j < s.ow; p.j++, y += s.c) {                                        \
        const window v = find_window(&p, s);                                            \
        BODY                                                                            \
    }

__kernel void max_pool2d_fwd_rows(__global float *y, __global const float *x,
                                  const shape s){ ROW_OF_Y(ALL(max_fwd, y, x, v, s)) }

__kernel void avg_pool2d_fwd_rows(__global float *y, __global const float *x, const shape s)
{
    ROW_OF_Y(const float part = share(&v, p.i, p.j, s); ALL(mean_fwd, y, x, v, part, s))
}

/* What window v gives to those of its cells that lie in rows first to last of dx: everything to the largest, ... */
#define MAX_SHARE(N, T, I)                                                                                         \
    static void max_share##N(__global float *dx, __global const float *g, __global const float *x, const window v, \
                             const shape s, int first, int last, int c)                                            \
    {                                                                                                              \
        T best = -INFINITY;                                                                                        \
        I found = 0;                                                                                               \
        for (int i = v.top; i < v.bottom; i++)                                                                     \
            for (int j = v.left; j < v.right; j++) {                                                               \
                const T a = LOAD##N(x + (i * s.w + j) * s.c + c);                                                  \
                const I better = (a > best) | (a != a);                                                            \
                best = select(best, a, better);                                                                    \
                found = select(found, (I)((i - v.top) * s.kw + j - v.left), better);                               \
            }                                                                                                      \
        const T given = LOAD##N(g + c);                                                                            \
        for (int i = max(v.top, first); i < min(v.bottom, last); i++)                                              \
            for (int j = v.left; j < v.right; j++) {                                                               \
                __global float *to = dx + (i * s.w + j) * s.c + c;                                                 \
                const T sum = LOAD##N(to) + select((T)0.0f, given, found == (I)((i - v.top) * s.kw + j - v.left)); \
                STORE##N(sum, to);                                                                                 \
            }                                                                                                      \
    }

/* ... or the same to each. */
#define MEAN_SHARE(N, T)                                                                                              \
    static void mean_share##N(__global float *dx, __global const float *g, float part, const window v, const shape s, \
                              int first, int last, int c)                                                             \
    {                                                                                                                 \
        const T given = LOAD##N(g + c) * part;                                                                        \
        for (int i = max(v.top, first); i < min(v.bottom, last); i++)                                                 \
            for (int j = v.left; j < v.right; j++) {                                                                  \
                __global float *to = dx + (i * s.w + j) * s.c + c;                                                    \
                STORE##N(LOAD##N(to) + given, to);                                                                    \
            }                                                                                                         \
    }

MAX_SHARE(1, float, int)
MAX_SHARE(16, float16, int16)
MEAN_SHARE(1, float)
MEAN_SHARE(16, float16)

static void clear_rows(__global float *dx, int first, int last, int row)
{
    for (int k = first * row; k < last * row; k++)
        dx[k] = 0.0f;
}

/* `band` rows of dx per work-item, which goes through all windows that reach into them, in their order, and clears
 * rows as it comes to them. */
#define BAND_OF_X(BODY)                                                                                         \
    const int bands = (s.h + band - 1) / band, first = (int)get_global_id(0) % bands * band;                    \
    const int last = min(first + band, s.h), row = s.w * s.c;                                                   \
    place p = { .n = (int)get_global_id(0) / bands };                                                           \
    if (p.n >= s.n)                                                                                             \
        return;                                                                                                 \
    dx += p.n * s.h * row;                                                                                      \
    g += p.n * s.oh * s.ow * s.c;                                                                               \
    int cleared = first;                                                                                        \
    for (p.i = first_window(first, s.top, s.kh, s.sh); p.i < last_window(last - 1, s.top, s.sh, s.oh); p.i++) { \
        p.j = 0;                                                                                                \
        const int end = min(last, find_window(&p, s).bottom);                                                   \
        clear_rows(dx, cleared, end, row);                                                                      \
        cleared = max(cleared, end);                                                                            \
        for (; p.j < s.ow; p.j++) {                                                                             \
            const window v = find_window(&p, s);                                                                \
            __global const float *given = g + (p.i * s.ow + p.j) * s.c;                                         \
            BODY                                                                                                \
        }                                                                                                       \
    }                                                                                                           \
    clear_rows(dx, cleared, last, row);

__kernel void max_pool2d_bwd_x_rows(__global float *dx, __global const float *g, __global const float *x, const shape s,
                                    int band)
{
    x += (int)get_global_id(0) / ((s.h + band - 1) / band) * s.h * s.w * s.c;
    BAND_OF_X(ALL(max_share, dx, given, x, v, s, first, last))
}

__kernel void avg_pool2d_bwd_x_rows(__global float *dx, __global const float *g, const shape s, int band)
{
    BAND_OF_X(const float part = share(&v, p.i, p.j, s); ALL(mean_share, dx, given, part, v, s, first, last))
}
