// unary.cl -- y = f(x) element by element, and gx = g * f'(x), from x and y. p and q are f's own numbers.
#include "common.clh"

#define UNARY(NAME, EXPR, SLOPE)                                                                                       \
    kernel void NAME##_fwd(global float *out, global const float *in, const int n, const float p, const float q)      \
    {                                                                                                                  \
        const int i = get_global_id(0);                                                                                \
        if (i < n) {                                                                                                   \
            const float x = in[i];                                                                                     \
            out[i] = EXPR;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    kernel void NAME##_bwd(global float *out, global const float *grad, global const float *px, global const float *py,\
                           const int n, const float p, const float q)                                                  \
    {                                                                                                                  \
        const int i = get_global_id(0);                                                                                \
        if (i < n) {                                                                                                   \
            const float g = grad[i], x = px[i], y = py[i];                                                             \
            out[i] = SLOPE;                                                                                            \
        }                                                                                                              \
    }

UNARY(neg, -x, -g)
UNARY(abs, fabs(x), x > 0.0f ? g : x < 0.0f ? -g : 0.0f * g)
UNARY(exp, exp(x), g *y)
UNARY(log, log(x), g / x)
UNARY(sqrt, sqrt(x), g * 0.5f / y)
UNARY(sin, sin(x), g *cos(x))
UNARY(cos, cos(x), -g * sin(x))
UNARY(tanh, tanh(x), g *(1.0f - y * y))
UNARY(sigmoid, 1.0f / (1.0f + exp(-x)), g *y *(1.0f - y))
UNARY(floor, floor(x), 0.0f)
// NaN stays: it is neither below nor above
UNARY(relu, x < 0.0f ? 0.0f : x, x > 0.0f ? g : 0.0f)
UNARY(relu6, x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x, x > 0.0f && x < 6.0f ? g : 0.0f)
UNARY(clamp, x < p ? p : x > q ? q : x, x >= p && x <= q ? g : 0.0f)
