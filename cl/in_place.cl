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

// BODY for sixteen elements at a time, then for one. Vectors are written out, since a compiler that vectorises across
// work-items instead would gather from as many places.
#define STEPS(BODY)                      \
    PART(w)                              \
    int i = first;                       \
    for (; i + 16 <= last; i += 16) {    \
        BODY(float16, vload16, vstore16) \
    }                                    \
    for (; i < last; i++) {              \
        BODY(float, LOAD_ONE, STORE_ONE) \
    }
#define LOAD_ONE(at, p) (p)[at]
#define STORE_ONE(v, at, p) (p)[at] = v
#define OPTIMISER kernel __attribute__((vec_type_hint(float16))) void

#define SGD(T, LOAD, STORE)                                        \
    const T x = LOAD(0, p + i), g = LOAD(0, grad + i) + decay * x; \
    STORE(x - lr * g, 0, p + i);

OPTIMISER sgd_step(global float *restrict p, global const float *restrict grad, const pointwise w, const float lr,
                   const float decay){ STEPS(SGD) }

// b = momentum b + keep g, or g the first time; p -= lr (g + momentum b, or b)
#define SGD_MOMENTUM(T, LOAD, STORE)                                   \
    const T x = LOAD(0, p + i), g = LOAD(0, grad + i) + decay * x;     \
    const T b = fresh ? g : momentum * LOAD(0, buffer + i) + keep * g; \
    STORE(b, 0, buffer + i);                                           \
    STORE(x - lr * (nesterov ? g + momentum * b : b), 0, p + i);

OPTIMISER sgd_step_momentum(global float *restrict p, global float *restrict buffer, global const float *restrict grad,
                            const pointwise w, const int fresh, const int nesterov, const float lr, const float decay,
                            const float momentum, const float keep){ STEPS(SGD_MOMENTUM) }

// m += (1 - beta1) (g - m), v = beta2 v + (1 - beta2) g^2, p -= size m / (sqrt(v) / root + eps); the decay goes to g,
// or shrinks p (factor shrink) when it is decoupled.
#define ADAM(T, LOAD, STORE)                                                \
    const T x = LOAD(0, p + i) * shrink, g = LOAD(0, grad + i) + decay * x; \
    const T m0 = LOAD(0, pm + i), m = m0 + rest1 * (g - m0);                \
    const T v = beta2 * LOAD(0, pv + i) + rest2 * g * g;                    \
    STORE(m, 0, pm + i);                                                    \
    STORE(v, 0, pv + i);                                                    \
    STORE(x - size * (m / (sqrt(v) / root + eps)), 0, p + i);

OPTIMISER adam_step(global float *restrict p, global float *restrict pm, global float *restrict pv,
                    global const float *restrict grad, const pointwise w, const float shrink, const float decay,
                    const float rest1, const float beta2, const float rest2, const float size, const float root,
                    const float eps){ STEPS(ADAM) }

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
