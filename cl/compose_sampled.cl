/* SPDX-License-Identifier: MIT
 *
 * compose_sampled.cl -- the outer grid (N, h, w, 2) sampled at the points of the inner grid (N, P, 2), as the soft
 * inlier loss composes two transformations: outer cells not strictly inside (-1, 1)^2 count as (-1e10, -1e10), results
 * at inner points not strictly inside are (-1e10, -1e10).
 *
 * So one cell outside throws every result near it far outside. Such a result is a constant: it carries no gradient, and
 * neither do the tests. A cell outside whose weight is exactly 0 changes nothing, and no slope is taken towards it.
 */
#include "common.clh"

#define FAR (-1e10f)

static bool strictly_inside(float2 p)
{
    return p.x > -1.0f && p.x < 1.0f && p.y > -1.0f && p.y < 1.0f;
}

/* The four outer points around p and which of them are usable; true if the result at p varies with them. */
static bool corners_of(float2 *value, bool *usable, bilinear_cell *at, __global const float2 *outer, float2 p, int h,
                       int w)
{
    if (!strictly_inside(p) || !bilinear_locate(at, p, h, w))
        return false;
    bool varies = true;
    for (int k = 0; k < 4; k++) {
        const int cell = bilinear_index(at, k, h, w);
        value[k] = cell >= 0 ? outer[cell] : (float2)(0.0f);
        usable[k] = cell >= 0 && strictly_inside(value[k]);
        varies = varies && (cell < 0 || usable[k] || bilinear_weight(at, k) == 0.0f);
    }
    return varies;
}

__kernel void compose_sampled_fwd(__global float2 *out, __global const float2 *outer, __global const float2 *inner,
                                  int total, int P, int h, int w)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    bilinear_cell at;
    __global const float2 *o = outer + i / P * h * w;
    if (!strictly_inside(inner[i]) || !bilinear_locate(&at, inner[i], h, w)) {
        out[i] = (float2)(FAR);
        return;
    }
    float2 sum = 0.0f;
    for (int k = 0; k < 4; k++) {
        const int cell = bilinear_index(&at, k, h, w);
        if (cell >= 0)
            sum = fma((float2)(bilinear_weight(&at, k)), strictly_inside(o[cell]) ? o[cell] : (float2)(FAR), sum);
    }
    out[i] = sum;
}

/* One work-item owns one row of one outer grid. */
__kernel void compose_sampled_bwd_outer(__global float2 *douter, __global const float2 *g, __global const float2 *outer,
                                        __global const float2 *inner, int total, int P, int h, int w)
{
    const int item = (int)get_global_id(0);
    if (item >= total)
        return;
    const int n = item / h, row = item % h;
    __global float2 *d = douter + n * h * w;
    for (int x = 0; x < w; x++)
        d[row * w + x] = (float2)(0.0f);
    for (int p = n * P; p < (n + 1) * P; p++) {
        float2 value[4];
        bool usable[4];
        bilinear_cell at;
        if (!bilinear_locate(&at, inner[p], h, w) || at.y + 1 < row || at.y > row)
            continue;
        if (!corners_of(value, usable, &at, outer + n * h * w, inner[p], h, w))
            continue;
        for (int k = 2 * (row - at.y), end = k + 2; k < end; k++) {
            const int cell = bilinear_index(&at, k, h, w);
            if (cell >= 0 && usable[k])
                d[cell] = fma((float2)(bilinear_weight(&at, k)), g[p], d[cell]);
        }
    }
}

__kernel void compose_sampled_bwd_inner(__global float2 *dinner, __global const float2 *g, __global const float2 *outer,
                                        __global const float2 *inner, int total, int P, int h, int w)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    float2 v[4];
    bool usable[4];
    bilinear_cell at;
    if (!corners_of(v, usable, &at, outer + i / P * h * w, inner[i], h, w)) {
        dinner[i] = (float2)(0.0f);
        return;
    }
    const float above = usable[0] && usable[1] ? dot(g[i], v[1] - v[0]) : 0.0f;
    const float below = usable[2] && usable[3] ? dot(g[i], v[3] - v[2]) : 0.0f;
    const float left = usable[0] && usable[2] ? dot(g[i], v[2] - v[0]) : 0.0f;
    const float right = usable[1] && usable[3] ? dot(g[i], v[3] - v[1]) : 0.0f;
    dinner[i] = 0.5f * (float2)(fma(at.fy, below, (1.0f - at.fy) * above) * (float)(w - 1),
                                fma(at.fx, right, (1.0f - at.fx) * left) * (float)(h - 1));
}
