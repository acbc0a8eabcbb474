// SPDX-License-Identifier: MIT
//
// inverted.cl -- an inverted residual block on CPUs: 1x1 convolution, depthwise convolution, 1x1 convolution, without
// the wide maps between them going through memory.
//
// A work-item makes a band of rows of one image, one after the other. Of the widened map it keeps the K rows that a row
// of the result needs, row i in place i % K, with the zeros left and right of it; and one row of the depthwise result.
// Both stay in the cache. Each sum begins with its bias and goes through its products in order, whatever the bands.
//
// Builds: -DK=3|5 taps each way, -DS=1|2 the stride.
#include "common.clh"

#define UNROLL _Pragma("unroll")
#define MANY 5                    // positions of the depthwise convolution at once
#define WIDE ((MANY - 1) * S + K) // pixels that they meet

// The same as `block` of src/ops/inverted.c.
typedef struct {
    int h, w, c, wide, o; // pixels and channels of x, channels between and of y
    int oh, ow, top, left;
    int width;         // pixels of a widened row with its zeros
    int bands, floats; // of an image; of a work-item's own memory
    int given;         // bits: which of the arrays there are
    float low, high;   // what bounds the widened map and the depthwise result
} block;

enum { EXPAND = 1, EXPAND_BIAS = 2, DEPTHWISE_BIAS = 4, PROJECT_BIAS = 8, RESIDUAL = 16 };

// All weights with the output channels next to each other, each array followed by its bias: (c, wide), (K K, wide),
// (wide, o). One float per work-item.
__kernel void inverted_pack(__global float *packed, __global const float *expand, __global const float *expand_bias,
                            __global const float *depthwise, __global const float *depthwise_bias,
                            __global const float *project, __global const float *project_bias, const block s)
{
    const int id = (int)get_global_id(0), first = s.given & EXPAND ? (s.c + 1) * s.wide : 0;
    const int second = first + (K * K + 1) * s.wide, end = second + (s.wide + 1) * s.o;
    if (id < first) {
        const int k = id / s.wide, j = id - k * s.wide;
        packed[id] = k < s.c ? expand[j * s.c + k] : s.given & EXPAND_BIAS ? expand_bias[j] : 0.0f;
    } else if (id < second) {
        const int k = (id - first) / s.wide, j = id - first - k * s.wide;
        packed[id] = k < K * K ? depthwise[j * K * K + k] : s.given & DEPTHWISE_BIAS ? depthwise_bias[j] : 0.0f;
    } else if (id < end) {
        const int k = (id - second) / s.o, j = id - second - k * s.o;
        packed[id] = k < s.wide ? project[j * s.wide + k] : s.given & PROJECT_BIAS ? project_bias[j] : 0.0f;
    }
}

// y (rows, n) = bound(bias + a (rows, k) b (k, n) + residual), n >= 16, in tiles of R rows and V vectors; the vectors
// at the end are those of the last 16 columns, the rows at the end the last one again.
#define PRODUCT(NAME, R, V)                                                                                      \
    static void NAME(__global float *y, __global const float *a, __global const float *b,                        \
                     __global const float *residual, int rows, int n, int k, float low, float high)              \
    {                                                                                                            \
        for (int j = 0; j < n; j += 16 * V) {                                                                    \
            int to[V];                                                                                           \
            UNROLL for (int v = 0; v < V; v++) to[v] = min(j + 16 * v, n - 16);                                  \
            for (int i = 0; i < rows; i += R) {                                                                  \
                float16 acc[R][V];                                                                               \
                __global const float *at[R], *bp = b;                                                            \
                UNROLL for (int r = 0; r < R; r++)                                                               \
                {                                                                                                \
                    at[r] = a + min(i + r, rows - 1) * k;                                                        \
                    UNROLL for (int v = 0; v < V; v++) acc[r][v] = vload16(0, b + k * n + to[v]);                \
                }                                                                                                \
                for (int p = 0; p < k; p++, bp += n) {                                                           \
                    float16 bv[V];                                                                               \
                    UNROLL for (int v = 0; v < V; v++) bv[v] = vload16(0, bp + to[v]);                           \
                    UNROLL for (int r = 0; r < R; r++)                                                           \
                    {                                                                                            \
                        const float16 av = (float16)(at[r][p]);                                                  \
                        UNROLL for (int v = 0; v < V; v++) acc[r][v] = fma(av, bv[v], acc[r][v]);                \
                    }                                                                                            \
                }                                                                                                \
                UNROLL for (int r = 0; r < R; r++)                                                               \
                {                                                                                                \
                    const int row = min(i + r, rows - 1) * n;                                                    \
                    UNROLL for (int v = 0; v < V; v++)                                                           \
                    {                                                                                            \
                        const float16 z = residual ? acc[r][v] + vload16(0, residual + row + to[v]) : acc[r][v]; \
                        vstore16(BOUND(z, (float16)low, (float16)high), 0, y + row + to[v]);                     \
                    }                                                                                            \
                }                                                                                                \
            }                                                                                                    \
        }                                                                                                        \
    }

PRODUCT(product1, 14, 1)
PRODUCT(product2, 12, 2)
PRODUCT(product2_10, 10, 2)
PRODUCT(product3, 8, 3)

#define UP(size, step) (((size) + (step)-1) / (step) * (step))

// By the tiles that have the least to do.
static void product(__global float *y, __global const float *a, __global const float *b, __global const float *residual,
                    int rows, int n, int k, float low, float high)
{
    if (n <= 16)
        product1(y, a, b, residual, rows, n, k, low, high);
    else if (UP(rows, 8) * UP(n, 48) <= min(UP(rows, 10), UP(rows, 12)) * UP(n, 32))
        product3(y, a, b, residual, rows, n, k, low, high);
    else if (UP(rows, 12) <= UP(rows, 10))
        product2(y, a, b, residual, rows, n, k, low, high);
    else
        product2_10(y, a, b, residual, rows, n, k, low, high);
}

static void fill(__global float *to, int count)
{
    for (int k = 0; k < count; k++)
        to[k] = 0.0f;
}

// `count` rows of taps, from at[] on with the weights of[].
#define TAP(J, NB)                                                                        \
    {                                                                                     \
        float16 wv[NB];                                                                   \
        UNROLL for (int b = 0; b < NB; b++) wv[b] = vload16(b, of[i] + J * wide + c);     \
        UNROLL for (int q = 0; q < MANY; q++) UNROLL for (int b = 0; b < NB; b++)         \
            acc[q][b] = fma(vload16(b, from + (q * S + J) * wide + c), wv[b], acc[q][b]); \
    }
#if K == 5
#define MORE_TAPS(NB) TAP(3, NB) TAP(4, NB)
#else
#define MORE_TAPS(NB)
#endif
#define NEIGHBOURS(NB)                                                                                              \
    {                                                                                                               \
        float16 acc[MANY][NB];                                                                                      \
        UNROLL for (int q = 0; q < MANY; q++) UNROLL for (int b = 0; b < NB; b++) acc[q][b] = vload16(b, bias + c); \
        for (int i = 0; i < count; i++) {                                                                           \
            __global const float *from = at[i] + p * S * wide;                                                      \
            TAP(0, NB)                                                                                              \
            TAP(1, NB)                                                                                              \
            TAP(2, NB)                                                                                              \
            MORE_TAPS(NB)                                                                                           \
        }                                                                                                           \
        UNROLL for (int q = 0; q < MANY; q++) UNROLL for (int b = 0; b < NB; b++)                                   \
            vstore16(BOUND(acc[q][b], (float16)low, (float16)high), b, to + (p + q) * wide + c);                    \
    }

static void depthwise(__global float *to, __global const float *const *at, __global const float *const *of, int count,
                      __global const float *bias, int ow, int wide, float low, float high)
{
    for (int p0 = 0; p0 < ow; p0 += MANY) {
        const int p = min(p0, ow - MANY);
        if (wide < 32) {
            for (int c0 = 0; c0 < wide; c0 += 16) {
                const int c = min(c0, wide - 16);
                NEIGHBOURS(1)
            }
        } else {
            for (int c0 = 0; c0 < wide; c0 += 32) {
                const int c = min(c0, wide - 32);
                NEIGHBOURS(2)
            }
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void inverted_residual(__global float *y,
                                                                               __global const float *x,
                                                                               __global const float *packed,
                                                                               __global float *own, const block s)
{
    const int band = (int)get_global_id(0), n = (int)get_global_id(1), expands = s.given & EXPAND;
    const int first = s.oh * band / s.bands, last = s.oh * (band + 1) / s.bands, pitch = s.width * s.wide;
    __global const float *second = packed + (expands ? (s.c + 1) * s.wide : 0);
    __global const float *third = second + (K * K + 1) * s.wide, *at[K], *of[K];
    own += (size_t)(n * s.bands + band) * s.floats;
    x += (size_t)n * s.h * s.w * s.c;
    y += (size_t)n * s.oh * s.ow * s.o;
    __global float *row = own + K * pitch;

    for (int i = 0; i < K; i++) {
        fill(own + i * pitch, s.left * s.wide);
        fill(own + i * pitch + (s.left + s.w) * s.wide, (s.width - s.left - s.w) * s.wide);
    }
    for (int r = first, next = max(0, first * S - s.top); r < last; r++) {
        const int begin = r * S - s.top;
        for (next = max(next, begin); next < min(s.h, begin + K); next++) {
            __global float *to = own + next % K * pitch + s.left * s.wide;
            __global const float *from = x + next * s.w * s.c;
            if (expands)
                product(to, from, packed, 0, s.w, s.wide, s.c, s.low, s.high);
            else
                for (int k = 0; k < s.w * s.c; k += 16)
                    vstore16(vload16(0, from + min(k, s.w * s.c - 16)), 0, to + min(k, s.w * s.c - 16));
        }
        int count = 0;
        for (int i = 0; i < K; i++)
            if (begin + i >= 0 && begin + i < s.h) {
                at[count] = own + (begin + i) % K * pitch;
                of[count++] = second + i * K * s.wide;
            }
        depthwise(row, at, of, count, second + K * K * s.wide, s.ow, s.wide, s.low, s.high);
        product(y + r * s.ow * s.o, row, third, s.given & RESIDUAL ? x + r * s.w * s.c : 0, s.ow, s.o, s.wide,
                -INFINITY, INFINITY);
    }
}
