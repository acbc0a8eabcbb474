/* SPDX-License-Identifier: MIT
 *
 * filter.h -- what a convolution multiplies with and what is done to its sums before they are stored:
 *
 *   y = clamp(norm(conv(x, weight) + bias) + residual, low, high)
 *
 * norm is batch norm with running statistics, which is a scale and a shift per output channel:
 *   scale = norm weight / sqrt(variance + eps),   shift = norm bias + (bias - mean) scale.
 * The scale goes into the packed or transformed weights, the rest follows the sums in registers.
 */
#ifndef LA_FILTER_H
#define LA_FILTER_H

#include "tensor/derived.h"

enum { LA_NORM_WEIGHT, LA_NORM_BIAS, LA_NORM_MEAN, LA_NORM_VARIANCE, LA_NORMS };

/* All dense. */
typedef struct la_filter {
    const la_tensor *weight;         /* (o, kh, kw, c / groups) */
    const la_tensor *bias;           /* (o) or NULL */
    const la_tensor *norm[LA_NORMS]; /* (o) each, or all NULL */
    double eps;
} la_filter;

/* What follows the sums. */
typedef struct la_epilogue {
    const la_buffer *residual; /* of y's shape, or NULL */
    float low, high;           /* -INFINITY and INFINITY where there is no activation */
} la_epilogue;

/* The tensors that a filter's packed form depends on, in the order that la__derived_take wants. Returns how many. */
static inline int la__filter_origins(const la_tensor *from[LA_DERIVED_FROM], const la_filter *f)
{
    from[0] = f->weight;
    from[1] = f->bias;
    for (int i = 0; i < LA_NORMS; i++)
        from[2 + i] = f->norm[i];
    return 2 + LA_NORMS;
}

#endif
