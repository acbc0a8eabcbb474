// SPDX-License-Identifier: MIT
// in_place.cl -- in-place updates of dense float32 tensors: scaling, the optimisers' steps, and the sum of squares that
// clipping needs.
#include "common.clh"

// The part of a work-item: `count` elements of each tensor, all dense and of one shape, from `first` on.
#define PART(W)                                          \
    pointwise_part part;                                 \
    if (!pointwise_begin(&part, &(W), get_global_id(0))) \
        return;                                          \
    const int first = part.out, last = part.out + part.count;

// x = x * factor + shift
kernel void affine_inplace(global float *x, const pointwise w, const float factor, const float shift)
{
    PART(w)
    for (int i = first; i < last; i++)
        x[i] = fma(x[i], factor, shift);
}

// x = x * factor[0]
kernel void scale_inplace(global float *x, global const float *factor, const pointwise w)
{
    PART(w)
    const float f = factor[0];
    for (int i = first; i < last; i++)
        x[i] *= f;
}

kernel void sgd_step(global float *p, global const float *grad, const pointwise w, const float lr, const float decay)
{
    PART(w)
    for (int i = first; i < last; i++)
        p[i] -= lr * (grad[i] + decay * p[i]);
}

// b = momentum b + keep g, or g the first time; p -= lr (g + momentum b, or b)
kernel void sgd_step_momentum(global float *p, global float *buffer, global const float *grad, const pointwise w,
                              const int fresh, const int nesterov, const float lr, const float decay,
                              const float momentum, const float keep)
{
    PART(w)
    for (int i = first; i < last; i++) {
        const float g = grad[i] + decay * p[i];
        const float b = fresh ? g : momentum * buffer[i] + keep * g;
        buffer[i] = b;
        p[i] -= lr * (nesterov ? g + momentum * b : b);
    }
}

// m += (1 - beta1) (g - m), v = beta2 v + (1 - beta2) g^2, p -= size m / (sqrt(v) / root + eps); the decay goes to g,
// or shrinks p (factor shrink) when it is decoupled.
kernel void adam_step(global float *p, global float *pm, global float *pv, global const float *grad, const pointwise w,
                      const float shrink, const float decay, const float rest1, const float beta2, const float rest2,
                      const float size, const float root, const float eps)
{
    PART(w)
    for (int i = first; i < last; i++) {
        const float x = p[i] * shrink, g = grad[i] + decay * x;
        const float m = pm[i] + rest1 * (g - pm[i]), v = beta2 * pv[i] + rest2 * g * g;
        pm[i] = m;
        pv[i] = v;
        p[i] = x - size * (m / (sqrt(v) / root + eps));
    }
}

// out[at + k] = sum of squares of chunk k of x
kernel void sum_squares_part(global float *out, global const float *x, const int at, const int n, const int chunk)
{
    const int k = get_global_id(0), first = k * chunk;
    if (first >= n)
        return;
    const int last = min(first + chunk, n);
    float16 sum = 0.0f;
    int i = first;
    for (; i + 16 <= last; i += 16) {
        const float16 v = vload16(0, x + i);
        sum = fma(v, v, sum);
    }
    float s = SUM16(sum);
    for (; i < last; i++)
        s = fma(x[i], x[i], s);
    out[at + k] = s;
}
