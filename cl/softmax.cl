// softmax.cl -- exp(x - max) / sum of that, along the last dimension; one work-item a row.
#include "common.clh"

kernel void softmax_fwd(global float *out, global const float *in, const int rows, const int n)
{
    const int row = get_global_id(0);
    if (row >= rows)
        return;
    global const float *x = in + row * n;
    global float *y = out + row * n;
    float top = -INFINITY;
    for (int i = 0; i < n; i++)
        top = fmax(top, x[i]);
    float sum = 0.0f, low = 0.0f; // compensated, since a row can be long
    for (int i = 0; i < n; i++) {
        const float e = exp(x[i] - top), t = e - low, s = sum + t;
        y[i] = e;
        low = (s - sum) - t;
        sum = s;
    }
    for (int i = 0; i < n; i++)
        y[i] /= sum;
}

// gx = y * (g - sum of g * y)
kernel void softmax_bwd(global float *gx, global const float *grad, global const float *out, const int rows, const int n)
{
    const int row = get_global_id(0);
    if (row >= rows)
        return;
    global const float *g = grad + row * n;
    global const float *y = out + row * n;
    float dot = 0.0f, low = 0.0f;
    for (int i = 0; i < n; i++) {
        const float t = g[i] * y[i] - low, s = dot + t;
        low = (s - dot) - t;
        dot = s;
    }
    for (int i = 0; i < n; i++)
        gx[row * n + i] = y[i] * (g[i] - dot);
}
