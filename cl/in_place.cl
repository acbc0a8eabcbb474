// in_place.cl -- steps of the optimisers. All tensors are dense and float32.
#include "common.clh"

// PyTorch's SGD: g' = g + decay * p; buffer = first ? g' : momentum * buffer + (1 - dampening) * g';
// p -= lr * (nesterov ? g' + momentum * buffer : buffer)
kernel void sgd_step(global float *p, global const float *g, global float *buffer, const int n, const int first,
                     const int nesterov, const float lr, const float momentum, const float dampening, const float decay)
{
    const int i = get_global_id(0);
    if (i >= n)
        return;
    const float d = fma(decay, p[i], g[i]);
    const float b = first ? d : fma(momentum, buffer[i], (1.0f - dampening) * d);
    buffer[i] = b;
    p[i] -= lr * (nesterov ? fma(momentum, b, d) : b);
}

kernel void sgd_step_plain(global float *p, global const float *g, const int n, const float lr, const float decay)
{
    const int i = get_global_id(0);
    if (i < n)
        p[i] -= lr * fma(decay, p[i], g[i]);
}

// PyTorch's Adam and AdamW: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
// p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). `rate` and `root` are the two corrections, made in double.
kernel void adam_step(global float *p, global const float *g, global float *m, global float *v, const int n,
                      const float rate, const float root, const float beta1, const float beta2, const float one_beta1,
                      const float one_beta2, const float eps, const float decay, const float shrink)
{
    const int i = get_global_id(0);
    if (i >= n)
        return;
    const float w = p[i] * shrink, d = fma(decay, w, g[i]);
    const float a = fma(one_beta1, d, beta1 * m[i]), b = fma(one_beta2 * d, d, beta2 * v[i]);
    m[i] = a;
    v[i] = b;
    p[i] = w - rate * (a / (sqrt(b) * root + eps));
}
