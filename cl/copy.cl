// SPDX-License-Identifier: MIT
// copy.cl -- fill, strided copy with conversion, accumulate.
#include "common.clh"

// float to integer saturates and truncates towards zero; NaN becomes 0, which not every convert_*_sat does by itself.
#define FLOAT_TO_float(x) (x)
#define FLOAT_TO_int(x) (isnan(x) ? 0 : convert_int_sat_rtz(x))
#define FLOAT_TO_uchar(x) (isnan(x) ? (uchar)0 : convert_uchar_sat_rtz(x))
#define INT_TO_float(x) ((float)(x))
#define INT_TO_int(x) (x)
#define INT_TO_uchar(x) convert_uchar_sat(x)

// Both sides may be any view: operand 0 of the walk is where to, operand 1 where from.
#define COPY(D, S, CONVERT)                                                                           \
    PICKED(copy_##D##_##S) void copy_##D##_##S(global D *to, global const S *from, const pointwise w) \
    {                                                                                                 \
        pointwise_part p;                                                                             \
        if (!pointwise_begin(&p, &w, get_global_id(0)))                                               \
            return;                                                                                   \
        to += p.at[0];                                                                                \
        from += p.at[1];                                                                              \
        if (p.step[0] == 1 && p.step[1] == 1) {                                                       \
            for (int i = 0; i < p.count; i++)                                                         \
                to[i] = CONVERT(from[i]);                                                             \
        } else {                                                                                      \
            for (int i = 0; i < p.count; i++)                                                         \
                to[i * p.step[0]] = CONVERT(from[i * p.step[1]]);                                     \
        }                                                                                             \
    }

COPY(float, float, FLOAT_TO_float)
COPY(int, float, FLOAT_TO_int)
COPY(uchar, float, FLOAT_TO_uchar)
COPY(float, int, INT_TO_float)
COPY(int, int, INT_TO_int)
COPY(uchar, int, INT_TO_uchar)
COPY(float, uchar, INT_TO_float)
COPY(int, uchar, INT_TO_int)
COPY(uchar, uchar, INT_TO_uchar)

// A transposition of the last two dimensions: from steps by 1 along the one, to along the other. One work-item moves a
// tile of `side` x `side`, whose lines stay in the cache of a CPU; on a GPU `side` is 1.
#define TRANSPOSE(D)                                                                                                \
    PICKED(transpose_##D) void transpose_##D(global D *to, global const D *from, const pointwise w, const int side) \
    {                                                                                                               \
        const int rows = w.dim[w.ndim - 2], columns = w.dim[w.ndim - 1];                                            \
        const int down = (rows + side - 1) / side, across = (columns + side - 1) / side;                            \
        const int id = get_global_id(0);                                                                            \
        if (id >= w.items)                                                                                          \
            return;                                                                                                 \
        const int row = id / across % down * side, column = id % across * side;                                     \
        int rest = id / across / down, t = w.offset[0], f = w.offset[1];                                            \
        for (int d = w.ndim - 3; d >= 0; d--) {                                                                     \
            t += rest % w.dim[d] * w.stride[0][d];                                                                  \
            f += rest % w.dim[d] * w.stride[1][d];                                                                  \
            rest /= w.dim[d];                                                                                       \
        }                                                                                                           \
        const int ts = w.stride[0][w.ndim - 2], fs = w.stride[1][w.ndim - 1];                                       \
        for (int r = row; r < min(rows, row + side); r++)                                                           \
            for (int c = column; c < min(columns, column + side); c++)                                              \
                to[t + r * ts + c] = from[f + r + c * fs];                                                          \
    }

TRANSPOSE(float)
TRANSPOSE(int)
TRANSPOSE(uchar)

// to: any view; every element becomes v
#define FILL(D)                                                                \
    PICKED(fill_##D) void fill_##D(global D *to, const pointwise w, const D v) \
    {                                                                          \
        pointwise_part p;                                                      \
        if (!pointwise_begin(&p, &w, get_global_id(0)))                        \
            return;                                                            \
        to += p.at[0];                                                         \
        for (int i = 0; i < p.count; i++)                                      \
            to[i * p.step[0]] = v;                                             \
    }

FILL(float)
FILL(int)
FILL(uchar)

// to += alpha * from; to is dense
PICKED(accumulate) void accumulate(global float *to, global const float *from, const pointwise w, const float alpha)
{
    pointwise_part p;
    if (!pointwise_begin(&p, &w, get_global_id(0)))
        return;
    to += p.out;
    from += p.at[0];
    if (p.step[0] == 1) {
        for (int i = 0; i < p.count; i++)
            to[i] = fma(alpha, from[i], to[i]);
    } else {
        for (int i = 0; i < p.count; i++)
            to[i] = fma(alpha, from[i * p.step[0]], to[i]);
    }
}
