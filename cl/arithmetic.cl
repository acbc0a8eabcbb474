// arithmetic.cl -- out = f(a, b) with broadcasting, and the derivatives of f.
//
// Forms of each: flat (both dense), flat_a (b is one value), flat_b (a is one value), rows (anything).
#include "common.clh"

#define BINARY(NAME, D, T, EXPR)                                                                                       \
    kernel void NAME##_flat(global D *out, global const T *pa, global const T *pb, const int n, const int oa,         \
                            const int ob)                                                                              \
    {                                                                                                                  \
        const int i = get_global_id(0);                                                                                \
        if (i < n) {                                                                                                   \
            const T a = pa[oa + i], b = pb[ob + i];                                                                    \
            out[i] = EXPR;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    kernel void NAME##_flat_a(global D *out, global const T *pa, global const T *pb, const int n, const int oa,       \
                              const int ob)                                                                            \
    {                                                                                                                  \
        const int i = get_global_id(0);                                                                                \
        if (i < n) {                                                                                                   \
            const T a = pa[oa + i], b = pb[ob];                                                                        \
            out[i] = EXPR;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    kernel void NAME##_flat_b(global D *out, global const T *pa, global const T *pb, const int n, const int oa,       \
                              const int ob)                                                                            \
    {                                                                                                                  \
        const int i = get_global_id(0);                                                                                \
        if (i < n) {                                                                                                   \
            const T a = pa[oa], b = pb[ob + i];                                                                        \
            out[i] = EXPR;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    kernel void NAME##_rows(global D *out, global const T *pa, global const T *pb, const walk3 w, const int rows)     \
    {                                                                                                                  \
        const int row = get_global_id(0);                                                                              \
        if (row >= rows)                                                                                               \
            return;                                                                                                    \
        const int n = w.dim[w.ndim - 1], sa = w.stride[0][w.ndim - 1], sb = w.stride[1][w.ndim - 1];                   \
        const int oa = walk_row(&w, 0, row), ob = walk_row(&w, 1, row);                                                \
        for (int i = 0; i < n; i++) {                                                                                  \
            const T a = pa[oa + i * sa], b = pb[ob + i * sb];                                                          \
            out[row * n + i] = EXPR;                                                                                   \
        }                                                                                                              \
    }

BINARY(add, float, float, a + b)
BINARY(sub, float, float, a - b)
BINARY(mul, float, float, a *b)
BINARY(div, float, float, a / b)
BINARY(pow, float, float, pow(a, b))
// a NaN in either operand stays
BINARY(maximum, float, float, (a > b || a != a) ? a : b)
BINARY(minimum, float, float, (a < b || a != a) ? a : b)

BINARY(add_int, int, int, a + b)
BINARY(sub_int, int, int, a - b)
BINARY(mul_int, int, int, a *b)
BINARY(maximum_int, int, int, max(a, b))
BINARY(minimum_int, int, int, min(a, b))

// Derivatives, times the incoming gradient g (dense, of the result's shape).
#define SLOPE(NAME, EXPR)                                                                                              \
    kernel void NAME(global float *out, global const float *pg, global const float *pa, global const float *pb,       \
                     const walk3 w, const int rows)                                                                    \
    {                                                                                                                  \
        const int row = get_global_id(0);                                                                              \
        if (row >= rows)                                                                                               \
            return;                                                                                                    \
        const int n = w.dim[w.ndim - 1], sa = w.stride[0][w.ndim - 1], sb = w.stride[1][w.ndim - 1];                   \
        const int oa = walk_row(&w, 0, row), ob = walk_row(&w, 1, row);                                                \
        for (int i = 0; i < n; i++) {                                                                                  \
            const float g = pg[row * n + i], a = pa[oa + i * sa], b = pb[ob + i * sb];                                 \
            out[row * n + i] = EXPR;                                                                                   \
        }                                                                                                              \
    }

SLOPE(mul_bwd_a, g *b)
SLOPE(mul_bwd_b, g *a)
SLOPE(div_bwd_a, g / b)
SLOPE(div_bwd_b, -g * a / (b * b))
SLOPE(pow_bwd_a, b == 0.0f ? 0.0f : g * b * pow(a, b - 1.0f))
SLOPE(pow_bwd_b, a == 0.0f && b >= 0.0f ? 0.0f : g * pow(a, b) * log(a))
// equal operands share the gradient
SLOPE(maximum_bwd_a, a > b ? g : a == b ? 0.5f * g : 0.0f)
SLOPE(maximum_bwd_b, b > a ? g : a == b ? 0.5f * g : 0.0f)
SLOPE(minimum_bwd_a, a < b ? g : a == b ? 0.5f * g : 0.0f)
SLOPE(minimum_bwd_b, b < a ? g : a == b ? 0.5f * g : 0.0f)
