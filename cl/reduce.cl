// reduce.cl -- reductions of a dense tensor seen as (outer, n, inner) over the middle.
//
// A long middle is cut into chunks of a fixed length, each reduced on its own, and the partial results are reduced again: the
// order of additions never depends on the device, and the error stays that of short sums.
#include "common.clh"

// out[outer, chunk, inner]; one work-item each. 8 partial results when the middle is contiguous.
#define REDUCE(NAME, INIT, STEP, JOIN)                                                                                 \
    kernel void NAME(global float *out, global const float *in, const int total, const int n, const int inner,        \
                     const int chunk, const int chunks)                                                                \
    {                                                                                                                  \
        const int id = get_global_id(0);                                                                               \
        if (id >= total)                                                                                               \
            return;                                                                                                    \
        const int i = id % inner, k = id / inner % chunks, o = id / inner / chunks;                                    \
        const int first = k * chunk, count = min(chunk, n - first);                                                    \
        global const float *p = in + (o * n + first) * inner + i;                                                      \
        float r = INIT;                                                                                                \
        if (inner == 1 && count >= 8) {                                                                                \
            float part[8];                                                                                             \
            for (int j = 0; j < 8; j++)                                                                                \
                part[j] = INIT;                                                                                        \
            int at = 0;                                                                                                \
            for (; at + 8 <= count; at += 8)                                                                           \
                for (int j = 0; j < 8; j++) {                                                                          \
                    const float x = p[at + j];                                                                         \
                    part[j] = STEP(part[j], x);                                                                        \
                }                                                                                                      \
            for (; at < count; at++)                                                                                   \
                part[0] = STEP(part[0], p[at]);                                                                        \
            for (int j = 0; j < 4; j++)                                                                                \
                part[j] = JOIN(part[j], part[j + 4]);                                                                  \
            r = JOIN(JOIN(part[0], part[2]), JOIN(part[1], part[3]));                                                  \
        } else {                                                                                                       \
            for (int at = 0; at < count; at++)                                                                         \
                r = STEP(r, p[at * inner]);                                                                            \
        }                                                                                                              \
        out[id] = r;                                                                                                   \
    }

#define ADD(a, b) ((a) + (b))
#define ADD_SQUARE(a, b) fma(b, b, a)
#define ADD_ABS(a, b) ((a) + fabs(b))
#define LARGER(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define SMALLER(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))

REDUCE(reduce_sum, 0.0f, ADD, ADD)
REDUCE(reduce_sum_squares, 0.0f, ADD_SQUARE, ADD)
REDUCE(reduce_max, -INFINITY, LARGER, LARGER)
REDUCE(reduce_min, INFINITY, SMALLER, SMALLER)

// out[outer, inner]: 1-based place of the first largest (sign 1) or smallest (sign -1) of the middle; a NaN wins.
kernel void arg(global int *out, global const float *in, const int total, const int n, const int inner, const float sign)
{
    const int id = get_global_id(0);
    if (id >= total)
        return;
    global const float *p = in + id / inner * n * inner + id % inner;
    float best = sign * p[0];
    int where = 0;
    for (int k = 1; k < n; k++) {
        const float x = sign * p[k * inner];
        if (x > best || (x != x && best == best)) {
            best = x;
            where = k;
        }
    }
    out[id] = where + 1;
}

// gx[outer, n, inner] = g[outer, inner] at the place found, else 0
kernel void arg_bwd(global float *gx, global const float *g, global const int *where, const int total, const int n,
                    const int inner)
{
    const int id = get_global_id(0);
    if (id >= total)
        return;
    const int k = id / inner % n, at = id / inner / n * inner + id % inner;
    gx[id] = where[at] == k + 1 ? g[at] : 0.0f;
}
