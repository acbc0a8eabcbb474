// SPDX-License-Identifier: MIT
// unary.cl -- y = f(x) element by element, and gx = g * f'(x), from x and y. p and q are f's own numbers.
#include "common.clh"

#define FORWARD(NAME, T, EXPR)                                                                         \
    PICKED(NAME) void NAME(global T *out, global const T *in, const pointwise w, const T p, const T q) \
    {                                                                                                  \
        pointwise_part part;                                                                           \
        if (!pointwise_begin(&part, &w, get_global_id(0)))                                             \
            return;                                                                                    \
        out += part.out;                                                                               \
        in += part.at[0];                                                                              \
        if (part.step[0] == 1) {                                                                       \
            for (int i = 0; i < part.count; i++) {                                                     \
                const T x = in[i];                                                                     \
                out[i] = EXPR;                                                                         \
            }                                                                                          \
        } else {                                                                                       \
            for (int i = 0; i < part.count; i++) {                                                     \
                const T x = in[i * part.step[0]];                                                      \
                out[i] = EXPR;                                                                         \
            }                                                                                          \
        }                                                                                              \
    }

#define UNARY(NAME, EXPR, SLOPE)                                                                               \
    FORWARD(NAME##_fwd, float, EXPR)                                                                           \
    PICKED(NAME##_bwd)                                                                                         \
    void NAME##_bwd(global float *out, global const float *pg, global const float *px, global const float *py, \
                    const pointwise w, const float p, const float q)                                           \
    {                                                                                                          \
        pointwise_part part;                                                                                   \
        if (!pointwise_begin(&part, &w, get_global_id(0)))                                                     \
            return;                                                                                            \
        out += part.out;                                                                                       \
        pg += part.at[0];                                                                                      \
        px += part.at[1];                                                                                      \
        py += part.at[2];                                                                                      \
        if (part.step[0] == 1 && part.step[1] == 1 && part.step[2] == 1) {                                     \
            for (int i = 0; i < part.count; i++) {                                                             \
                const float g = pg[i], x = px[i], y = py[i];                                                   \
                out[i] = SLOPE;                                                                                \
            }                                                                                                  \
        } else {                                                                                               \
            for (int i = 0; i < part.count; i++) {                                                             \
                const float g = pg[i * part.step[0]], x = px[i * part.step[1]], y = py[i * part.step[2]];      \
                out[i] = SLOPE;                                                                                \
            }                                                                                                  \
        }                                                                                                      \
    }

UNARY(neg, -x, -g)
UNARY(abs, fabs(x), x > 0.0f ? g : x < 0.0f ? -g : x * g)
UNARY(exp, exp(x), g *y)
UNARY(log, log(x), g / x)
UNARY(sqrt, sqrt(x), g * 0.5f / y)
UNARY(sin, sin(x), g *cos(x))
UNARY(cos, cos(x), -g *sin(x))
UNARY(tanh, tanh(x), g *(1.0f - y * y))
UNARY(sigmoid, 1.0f / (1.0f + exp(-x)), g *y *(1.0f - y))
// NaN stays: it is neither below nor above, and its gradient passes
UNARY(relu, x <= 0.0f ? 0.0f : x, x <= 0.0f ? 0.0f : g)
UNARY(relu6, x <= 0.0f ? 0.0f : x > 6.0f ? 6.0f : x, x <= 0.0f || x >= 6.0f ? 0.0f : g)
UNARY(clamp, (x < p) ? p : ((x > q) ? q : x), (x < p) || (x > q) ? 0.0f : g)

FORWARD(floor_fwd, float, floor(x))
FORWARD(sign_fwd, float, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x)

FORWARD(neg_fwd_int, int, -x)
FORWARD(abs_fwd_int, int, max(x, -x))
FORWARD(sign_fwd_int, int, x > 0 ? 1 : x < 0 ? -1 : 0)
FORWARD(clamp_fwd_int, int, (x < p) ? p : ((x > q) ? q : x))
