// SPDX-License-Identifier: MIT
// arithmetic.cl -- out = f(a, b) with broadcasting, and the derivatives of f.
#include "common.clh"

// The inner loops of the common cases have steps that the compiler can see.
#define BINARY(NAME, T, EXPR)                                                                        \
    PICKED(NAME) void NAME(global T *out, global const T *pa, global const T *pb, const pointwise w) \
    {                                                                                                \
        pointwise_part p;                                                                            \
        if (!pointwise_begin(&p, &w, get_global_id(0)))                                              \
            return;                                                                                  \
        out += p.out;                                                                                \
        pa += p.at[0];                                                                               \
        pb += p.at[1];                                                                               \
        if (p.step[0] == 1 && p.step[1] == 1) {                                                      \
            for (int i = 0; i < p.count; i++) {                                                      \
                const T a = pa[i], b = pb[i];                                                        \
                out[i] = EXPR;                                                                       \
            }                                                                                        \
        } else if (p.step[0] == 1 && p.step[1] == 0) {                                               \
            const T b = pb[0];                                                                       \
            for (int i = 0; i < p.count; i++) {                                                      \
                const T a = pa[i];                                                                   \
                out[i] = EXPR;                                                                       \
            }                                                                                        \
        } else if (p.step[0] == 0 && p.step[1] == 1) {                                               \
            const T a = pa[0];                                                                       \
            for (int i = 0; i < p.count; i++) {                                                      \
                const T b = pb[i];                                                                   \
                out[i] = EXPR;                                                                       \
            }                                                                                        \
        } else {                                                                                     \
            for (int i = 0; i < p.count; i++) {                                                      \
                const T a = pa[i * p.step[0]], b = pb[i * p.step[1]];                                \
                out[i] = EXPR;                                                                       \
            }                                                                                        \
        }                                                                                            \
    }

BINARY(add_fwd, float, a + b)
BINARY(sub_fwd, float, a - b)
BINARY(mul_fwd, float, a *b)
BINARY(div_fwd, float, a / b)
BINARY(pow_fwd, float, b == 2.0f ? a * a : pow(a, b))
// a NaN in either operand stays
BINARY(maximum_fwd, float, a > b || a != a ? a : b)
BINARY(minimum_fwd, float, a < b || a != a ? a : b)

BINARY(add_fwd_int, int, a + b)
BINARY(sub_fwd_int, int, a - b)
BINARY(mul_fwd_int, int, a *b)
BINARY(maximum_fwd_int, int, max(a, b))
BINARY(minimum_fwd_int, int, min(a, b))

// Derivatives by a or b, times the incoming gradient g.
#define SLOPE(NAME, EXPR)                                                                                \
    PICKED(NAME)                                                                                         \
    void NAME(global float *out, global const float *pg, global const float *pa, global const float *pb, \
              const pointwise w)                                                                         \
    {                                                                                                    \
        pointwise_part p;                                                                                \
        if (!pointwise_begin(&p, &w, get_global_id(0)))                                                  \
            return;                                                                                      \
        out += p.out;                                                                                    \
        pg += p.at[0];                                                                                   \
        pa += p.at[1];                                                                                   \
        pb += p.at[2];                                                                                   \
        if (p.step[0] == 1 && p.step[1] == 1 && p.step[2] == 1) {                                        \
            for (int i = 0; i < p.count; i++) {                                                          \
                const float g = pg[i], a = pa[i], b = pb[i];                                             \
                out[i] = EXPR;                                                                           \
            }                                                                                            \
        } else {                                                                                         \
            for (int i = 0; i < p.count; i++) {                                                          \
                const float g = pg[i * p.step[0]], a = pa[i * p.step[1]], b = pb[i * p.step[2]];         \
                out[i] = EXPR;                                                                           \
            }                                                                                            \
        }                                                                                                \
    }

SLOPE(div_bwd_b, -g *a / (b * b))
SLOPE(pow_bwd_a, b == 2.0f ? 2.0f * g * a : b == 0.0f ? 0.0f : g * b * pow(a, b - 1.0f))
SLOPE(pow_bwd_b, a == 0.0f && b >= 0.0f ? 0.0f : g * pow(a, b) * log(a))
// equal operands share the gradient; NaN, which is neither, passes it on
SLOPE(maximum_bwd_a, a < b ? 0.0f : a == b ? 0.5f * g : g)
SLOPE(maximum_bwd_b, b < a ? 0.0f : a == b ? 0.5f * g : g)
SLOPE(minimum_bwd_a, a > b ? 0.0f : a == b ? 0.5f * g : g)
SLOPE(minimum_bwd_b, b > a ? 0.0f : a == b ? 0.5f * g : g)
