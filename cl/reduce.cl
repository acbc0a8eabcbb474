// SPDX-License-Identifier: MIT
// reduce.cl -- reductions of a dense tensor seen as (outer, n, inner) over its middle, and their gradients.
//
// A long middle is cut into chunks of a fixed length, each reduced on its own, and the partial results are reduced
// again. The order of additions depends on the sizes alone, and the error stays that of short sums.
#include "common.clh"

// out[outer, chunk, tile of `width` columns] = factor * reduction; m[outer, inner] is what some steps compare with. A
// row of contiguous elements (inner == 1) goes by 16 partial results; so do 16 columns side by side.
#define REDUCE(NAME, T, INIT, STEP, JOIN)                                                                          \
    PICKED(NAME)                                                                                                   \
    void NAME(global T *out, global const T *in, global const T *m, const int items, const int n, const int inner, \
              const int chunk, const int chunks, const int width, const T factor)                                  \
    {                                                                                                              \
        const int id = get_global_id(0), tiles = (inner + width - 1) / width;                                      \
        if (id >= items)                                                                                           \
            return;                                                                                                \
        const int column = id % tiles * width, k = id / tiles % chunks, o = id / tiles / chunks;                   \
        const int first = k * chunk, count = min(chunk, n - first);                                                \
        in += (o * n + first) * inner + column;                                                                    \
        m += o * inner + column;                                                                                   \
        out += (o * chunks + k) * inner + column;                                                                  \
        if (inner == 1) {                                                                                          \
            const T m0 = m[0];                                                                                     \
            T r = INIT;                                                                                            \
            int at = 0;                                                                                            \
            if (count >= 16) {                                                                                     \
                T##16 a = INIT, b = INIT;                                                                          \
                for (; at + 32 <= count; at += 32) {                                                               \
                    a = STEP(T##16, a, vload16(0, in + at), m0);                                                   \
                    b = STEP(T##16, b, vload16(0, in + at + 16), m0);                                              \
                }                                                                                                  \
                for (; at + 16 <= count; at += 16)                                                                 \
                    a = STEP(T##16, a, vload16(0, in + at), m0);                                                   \
                a = JOIN(a, b);                                                                                    \
                const T##8 c = JOIN(a.lo, a.hi);                                                                   \
                const T##4 d = JOIN(c.lo, c.hi);                                                                   \
                const T##2 e = JOIN(d.lo, d.hi);                                                                   \
                r = JOIN(e.x, e.y);                                                                                \
            }                                                                                                      \
            for (; at < count; at++)                                                                               \
                r = STEP(T, r, in[at], m0);                                                                        \
            out[0] = r * factor;                                                                                   \
        } else if (width == 16 && column + 16 <= inner) {                                                          \
            const T##16 m0 = vload16(0, m);                                                                        \
            T##16 a = INIT, b = INIT, c = INIT, d = INIT;                                                          \
            int at = 0;                                                                                            \
            for (; at + 4 <= count; at += 4) {                                                                     \
                a = STEP(T##16, a, vload16(0, in + at * inner), m0);                                               \
                b = STEP(T##16, b, vload16(0, in + (at + 1) * inner), m0);                                         \
                c = STEP(T##16, c, vload16(0, in + (at + 2) * inner), m0);                                         \
                d = STEP(T##16, d, vload16(0, in + (at + 3) * inner), m0);                                         \
            }                                                                                                      \
            for (; at < count; at++)                                                                               \
                a = STEP(T##16, a, vload16(0, in + at * inner), m0);                                               \
            a = JOIN(a, b);                                                                                        \
            c = JOIN(c, d);                                                                                        \
            a = JOIN(a, c);                                                                                        \
            vstore16(a *factor, 0, out);                                                                           \
        } else {                                                                                                   \
            for (int i = 0; i < min(width, inner - column); i++) {                                                 \
                const T m0 = m[i];                                                                                 \
                T a = INIT, b = INIT, c = INIT, d = INIT;                                                          \
                int at = 0;                                                                                        \
                for (; at + 4 <= count; at += 4) {                                                                 \
                    a = STEP(T, a, in[at * inner + i], m0);                                                        \
                    b = STEP(T, b, in[(at + 1) * inner + i], m0);                                                  \
                    c = STEP(T, c, in[(at + 2) * inner + i], m0);                                                  \
                    d = STEP(T, d, in[(at + 3) * inner + i], m0);                                                  \
                }                                                                                                  \
                for (; at < count; at++)                                                                           \
                    a = STEP(T, a, in[at * inner + i], m0);                                                        \
                a = JOIN(a, b);                                                                                    \
                c = JOIN(c, d);                                                                                    \
                out[i] = JOIN(a, c) * factor;                                                                      \
            }                                                                                                      \
        }                                                                                                          \
    }

// V is the type of the moment: the element's or a vector of it.
#define ADD(a, b) ((a) + (b))
#define STEP_ADD(V, a, x, m) ((a) + (x))
#define STEP_ADD_ABS(V, a, x, m) ((a) + fabs(x))
#define STEP_ADD_SQUARE(V, a, x, m) fma((V)(x), (V)(x), (V)(a))
#define STEP_ADD_DEVIATION(V, a, x, m) fma((V)(x) - (V)(m), (V)(x) - (V)(m), (V)(a))

// NaN wins, and stays.
#define LARGER(a, b) select((a), (b), isgreater((b), (a)) | isnan(b))
#define SMALLER(a, b) select((a), (b), isless((b), (a)) | isnan(b))
#define STEP_LARGER(V, a, x, m) LARGER((V)(a), (V)(x))
#define STEP_SMALLER(V, a, x, m) SMALLER((V)(a), (V)(x))
#define STEP_LARGER_ABS(V, a, x, m) LARGER((V)(a), fabs((V)(x)))

// How many are m; where m is NaN, how many are NaN.
#define STEP_COUNT(V, a, x, m) ((a) + select((V)(0.0f), (V)(1.0f), isequal((V)(x), (V)(m)) | isnan((V)(x))))
#define STEP_COUNT_ABS(V, a, x, m) STEP_COUNT(V, a, fabs((V)(x)), m)

#define STEP_MAX(V, a, x, m) max((V)(a), (V)(x))
#define STEP_MIN(V, a, x, m) min((V)(a), (V)(x))

REDUCE(reduce_sum, float, 0.0f, STEP_ADD, ADD)
REDUCE(reduce_abs, float, 0.0f, STEP_ADD_ABS, ADD)
REDUCE(reduce_squares, float, 0.0f, STEP_ADD_SQUARE, ADD)
REDUCE(reduce_deviations, float, 0.0f, STEP_ADD_DEVIATION, ADD)
REDUCE(reduce_count, float, 0.0f, STEP_COUNT, ADD)
REDUCE(reduce_count_abs, float, 0.0f, STEP_COUNT_ABS, ADD)
REDUCE(reduce_max, float, -INFINITY, STEP_LARGER, LARGER)
REDUCE(reduce_min, float, INFINITY, STEP_SMALLER, SMALLER)
REDUCE(reduce_max_abs, float, 0.0f, STEP_LARGER_ABS, LARGER)

REDUCE(reduce_sum_int, int, 0, STEP_ADD, ADD)
REDUCE(reduce_max_int, int, INT_MIN, STEP_MAX, max)
REDUCE(reduce_min_int, int, INT_MAX, STEP_MIN, min)

// out[outer, chunk, inner] = 1-based place of the first element that is m (or NaN), INT_MAX if the chunk has none
#define PLACE(NAME, T, FOUND)                                                                                        \
    PICKED(NAME)                                                                                                     \
    void NAME(global int *out, global const T *in, global const T *m, const int items, const int n, const int inner, \
              const int chunk, const int chunks)                                                                     \
    {                                                                                                                \
        const int id = get_global_id(0);                                                                             \
        if (id >= items)                                                                                             \
            return;                                                                                                  \
        const int i = id % inner, k = id / inner % chunks, o = id / inner / chunks;                                  \
        const int last = min(k * chunk + chunk, n);                                                                  \
        const T m0 = m[o * inner + i];                                                                               \
        int at = k * chunk;                                                                                          \
        for (; at < last; at++) {                                                                                    \
            const T x = in[(o * n + at) * inner + i];                                                                \
            if (FOUND)                                                                                               \
                break;                                                                                               \
        }                                                                                                            \
        out[id] = at < last ? at + 1 : INT_MAX;                                                                      \
    }

PLACE(reduce_place, float, x == m0 || x != x)
PLACE(reduce_place_int, int, x == m0)

// Gradients: g and r, the result (for var: the mean), are broadcast to x.
#define SLOPE(NAME, EXPR)                                                                                \
    PICKED(NAME)                                                                                         \
    void NAME(global float *out, global const float *px, global const float *pr, global const float *pg, \
              const pointwise w)                                                                         \
    {                                                                                                    \
        pointwise_part p;                                                                                \
        if (!pointwise_begin(&p, &w, get_global_id(0)))                                                  \
            return;                                                                                      \
        out += p.out;                                                                                    \
        px += p.at[0];                                                                                   \
        pr += p.at[1];                                                                                   \
        pg += p.at[2];                                                                                   \
        if (p.step[0] == 1 && p.step[1] == 0 && p.step[2] == 0) {                                        \
            const float r = pr[0], g = pg[0];                                                            \
            for (int i = 0; i < p.count; i++) {                                                          \
                const float x = px[i];                                                                   \
                out[i] = EXPR;                                                                           \
            }                                                                                            \
        } else {                                                                                         \
            for (int i = 0; i < p.count; i++) {                                                          \
                const float x = px[i * p.step[0]], r = pr[i * p.step[1]], g = pg[i * p.step[2]];         \
                out[i] = EXPR;                                                                           \
            }                                                                                            \
        }                                                                                                \
    }

SLOPE(deviation_bwd, g *(x - r))
SLOPE(norm_bwd, r == 0.0f ? 0.0f : g * (x / r))
SLOPE(abs_bwd, x > 0.0f ? g : x < 0.0f ? -g : x * g)
SLOPE(extreme_bwd, x == r || x != x ? g : 0.0f)
SLOPE(extreme_abs_bwd, x == r ? g : x == -r ? -g : x != x ? g : 0.0f)
