// SPDX-License-Identifier: MIT
// softmax.cl -- softmax and its logarithm along the middle of (outer, n, inner), and their gradients.
//
// A work-item has one row, or, where rows lie side by side (inner > 1), `width` of them: 16 on a CPU, one on a GPU.
#include "common.clh"

// Sum over a row of contiguous elements by 16 partial sums; x is the element, or 16 of them.
#define ROW_SUM(SUM, EXPR_16, EXPR)  \
    {                                \
        float16 part = 0.0f;         \
        int k = 0;                   \
        for (; k + 16 <= n; k += 16) \
            part += EXPR_16;         \
        SUM = SUM16(part);           \
        for (; k < n; k++)           \
            SUM += EXPR;             \
    }

// y = exp(x - max) / sum, or x - max - log(sum). Exponentials come in a loop of their own, which vectorises.
kernel void softmax_fwd(global float *out, global const float *in, const int rows, const int n, const int logarithm)
{
    const int row = get_global_id(0);
    if (row >= rows)
        return;
    global const float *x = in + row * n;
    global float *y = out + row * n;
    float16 tops = -INFINITY;
    int i = 0;
    for (; i + 16 <= n; i += 16)
        tops = fmax(tops, vload16(0, x + i));
    const float8 a = fmax(tops.lo, tops.hi);
    const float4 b = fmax(a.lo, a.hi);
    float top = fmax(fmax(b.x, b.y), fmax(b.z, b.w)), sum;
    for (; i < n; i++)
        top = fmax(top, x[i]);
    for (int k = 0; k < n; k++)
        y[k] = exp(x[k] - top);
    ROW_SUM(sum, vload16(0, y + k), y[k])
    if (logarithm) {
        const float shift = log(sum);
        for (int k = 0; k < n; k++)
            y[k] = x[k] - top - shift;
    } else {
        for (int k = 0; k < n; k++)
            y[k] /= sum;
    }
}

// gx = y (g - sum of g y)
kernel void softmax_bwd(global float *gx, global const float *grad, global const float *out, const int rows,
                        const int n)
{
    const int row = get_global_id(0);
    if (row >= rows)
        return;
    global const float *g = grad + row * n, *y = out + row * n;
    float dot;
    ROW_SUM(dot, vload16(0, g + k) * vload16(0, y + k), g[k] * y[k])
    for (int k = 0; k < n; k++)
        gx[row * n + k] = y[k] * (g[k] - dot);
}

// gx = g - exp(y) sum of g
kernel void log_softmax_bwd(global float *gx, global const float *grad, global const float *out, const int rows,
                            const int n)
{
    const int row = get_global_id(0);
    if (row >= rows)
        return;
    global const float *g = grad + row * n, *y = out + row * n;
    float sum;
    ROW_SUM(sum, vload16(0, g + k), g[k])
    for (int k = 0; k < n; k++)
        gx[row * n + k] = g[k] - exp(y[k]) * sum;
}

#define MAX_SUM(T, LOAD)             \
    T top = -INFINITY, sum = 0.0f;   \
    for (int k = 0; k < n; k++)      \
        top = fmax(top, LOAD(x, k)); \
    for (int k = 0; k < n; k++)      \
        sum += exp(LOAD(x, k) - top);

#define LOAD_1(p, k) (p)[(k)*inner + i]
#define LOAD_16(p, k) vload16(0, (p) + (k)*inner)
#define STORE_1(v, p, k) (p)[(k)*inner + i] = (v)
#define STORE_16(v, p, k) vstore16((v), 0, (p) + (k)*inner)

#define COLUMNS(BODY)                                                               \
    const int tiles = (inner + width - 1) / width, id = get_global_id(0);           \
    if (id >= items)                                                                \
        return;                                                                     \
    const int column = id % tiles * width, start = id / tiles * n * inner + column; \
    if (width == 16 && column + 16 <= inner) {                                      \
        BODY(float16, LOAD_16, STORE_16)                                            \
    } else {                                                                        \
        for (int i = 0; i < min(width, inner - column); i++) {                      \
            BODY(float, LOAD_1, STORE_1)                                            \
        }                                                                           \
    }

#define FORWARD(T, LOAD, STORE)                            \
    global const float *x = in + start;                    \
    global float *y = out + start;                         \
    MAX_SUM(T, LOAD)                                       \
    const T shift = logarithm ? log(sum) : 0.0f;           \
    for (int k = 0; k < n; k++) {                          \
        const T v = LOAD(x, k) - top;                      \
        STORE(logarithm ? v - shift : exp(v) / sum, y, k); \
    }

#define BACKWARD(T, LOAD, STORE)                                           \
    global const float *g = grad + start, *y = out + start;                \
    T dot = 0.0f;                                                          \
    for (int k = 0; k < n; k++)                                            \
        dot += logarithm ? LOAD(g, k) : LOAD(g, k) * LOAD(y, k);           \
    for (int k = 0; k < n; k++) {                                          \
        const T v = LOAD(y, k), w = LOAD(g, k);                            \
        STORE(logarithm ? w - exp(v) * dot : v *(w - dot), gx + start, k); \
    }

kernel void softmax_fwd_columns(global float *out, global const float *in, const int items, const int n,
                                const int inner, const int width, const int logarithm){ COLUMNS(FORWARD) }

kernel void softmax_bwd_columns(global float *gx, global const float *grad, global const float *out, const int items,
                                const int n, const int inner, const int width, const int logarithm)
{
    COLUMNS(BACKWARD)
}
