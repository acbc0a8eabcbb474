// index.cl -- picking elements by an index tensor (1-based), and the gradients, each owned by one work-item.
#include "common.clh"

// out[o, k, i] = x[o, index[k], i]; an index outside gives NaN
kernel void index_select_fwd(global float *out, global const float *x, global const int *index, const int total,
                             const int n, const int count, const int inner)
{
    const int id = get_global_id(0);
    if (id >= total)
        return;
    const int r = index[id / inner % count] - 1;
    out[id] = r >= 0 && r < n ? x[(id / inner / count * n + r) * inner + id % inner] : NAN;
}

// gx[o, r, i] = sum of g[o, k, i] over k with index[k] = r, in the order of k
kernel void index_select_bwd(global float *gx, global const float *g, global const int *index, const int total,
                             const int n, const int count, const int inner)
{
    const int id = get_global_id(0);
    if (id >= total)
        return;
    const int r = id / inner % n;
    global const float *p = g + id / inner / n * count * inner + id % inner;
    float sum = 0.0f;
    for (int k = 0; k < count; k++)
        if (index[k] - 1 == r)
            sum += p[k * inner];
    gx[id] = sum;
}

// out[o, k, i] = x[o, index[o, k, i], i]
kernel void gather_fwd(global float *out, global const float *x, global const int *index, const int total, const int n,
                       const int count, const int inner)
{
    const int id = get_global_id(0);
    if (id >= total)
        return;
    const int r = index[id] - 1;
    out[id] = r >= 0 && r < n ? x[(id / inner / count * n + r) * inner + id % inner] : NAN;
}

// gx[o, r, i] = sum of g[o, k, i] over k with index[o, k, i] = r
kernel void gather_bwd(global float *gx, global const float *g, global const int *index, const int total, const int n,
                       const int count, const int inner)
{
    const int id = get_global_id(0);
    if (id >= total)
        return;
    const int r = id / inner % n, base = id / inner / n * count * inner + id % inner;
    float sum = 0.0f;
    for (int k = 0; k < count; k++)
        if (index[base + k * inner] - 1 == r)
            sum += g[base + k * inner];
    gx[id] = sum;
}
