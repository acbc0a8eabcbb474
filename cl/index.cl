// SPDX-License-Identifier: MIT
// index.cl -- picking elements by an index tensor (1-based), and the gradients. Elements are only moved, so that one
// kernel serves float and int: `missing` has the bits of what an index outside gives.
#include "common.clh"

// out[o, k, i] = x[o, index[k], i]; a work-item copies `chunk` elements of the inner dimension
kernel void index_select_fwd(global int *out, global const int *x, global const int *index, const int items,
                             const int n, const int count, const int inner, const int chunk, const int missing)
{
    const int id = get_global_id(0), segments = (inner + chunk - 1) / chunk;
    if (id >= items)
        return;
    const int row = id / segments, first = id % segments * chunk, length = min(chunk, inner - first);
    const int r = index[row % count] - 1;
    out += row * inner + first;
    if (r >= 0 && r < n) {
        x += (row / count * n + r) * inner + first;
        for (int i = 0; i < length; i++)
            out[i] = x[i];
    } else {
        for (int i = 0; i < length; i++)
            out[i] = missing;
    }
}

// out[o, k, i] = x[o, index[o, k, i], i]
kernel void gather_fwd(global int *out, global const int *x, global const int *index, const int items, const int n,
                       const int count, const int inner, const int missing)
{
    const int id = get_global_id(0);
    if (id >= items)
        return;
    const int r = index[id] - 1;
    out[id] = r >= 0 && r < n ? x[(id / inner / count * n + r) * inner + id % inner] : missing;
}

// gx[o, r, i] = sum of g[o, k, i] over k with index r, in the order of k. One work-item owns all r of `width` columns
// i, so that nothing is added to by two.
kernel void index_select_bwd(global float *gx, global const float *g, global const int *index, const int items,
                             const int n, const int count, const int inner, const int width)
{
    const int id = get_global_id(0), tiles = (inner + width - 1) / width;
    if (id >= items)
        return;
    const int o = id / tiles, column = id % tiles * width, length = min(width, inner - column);
    gx += o * n * inner + column;
    g += o * count * inner + column;
    for (int r = 0; r < n; r++)
        for (int i = 0; i < length; i++)
            gx[r * inner + i] = 0.0f;
    for (int k = 0; k < count; k++) {
        const int r = index[k] - 1;
        if (r >= 0 && r < n)
            for (int i = 0; i < length; i++)
                gx[r * inner + i] += g[k * inner + i];
    }
}

// the same where every column has indices of its own
kernel void gather_bwd(global float *gx, global const float *g, global const int *index, const int items, const int n,
                       const int count, const int inner)
{
    const int id = get_global_id(0);
    if (id >= items)
        return;
    const int o = id / inner, i = id % inner;
    gx += o * n * inner + i;
    g += o * count * inner + i;
    index += o * count * inner + i;
    for (int r = 0; r < n; r++)
        gx[r * inner] = 0.0f;
    for (int k = 0; k < count; k++) {
        const int r = index[k * inner] - 1;
        if (r >= 0 && r < n)
            gx[r * inner] += g[k * inner];
    }
}
