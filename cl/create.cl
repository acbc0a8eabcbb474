// SPDX-License-Identifier: MIT
// create.cl -- tensors that follow a rule.
#include "common.clh"

// The first half_n elements count up from start, the rest down from stop, and one in the very middle is given: so both
// ends are exact and a symmetric range is symmetric.
kernel void ramp(global float *out, const int n, const int half_n, const float start, const float middle,
                 const float stop, const float step)
{
    const int i = get_global_id(0);
    if (i >= n)
        return;
    if (i < half_n)
        out[i] = fma((float)i, step, start);
    else
        out[i] = 2 * i == n - 1 ? middle : fma((float)(n - 1 - i), -step, stop);
}

kernel void ramp_int(global int *out, const int n, const int start, const int step)
{
    const int i = get_global_id(0);
    if (i < n)
        out[i] = start + i * step;
}

// ones on the diagonal of an array with `columns` columns
kernel void diagonal(global float *out, const int n, const int columns)
{
    const int i = get_global_id(0);
    if (i < n)
        out[i] = i / columns == i % columns ? 1.0f : 0.0f;
}
