/* SPDX-License-Identifier: MIT
 *
 * base_grid.cl -- the identity grid: cell (i, j) of an h x w grid lies at scale * (-1 + 2 j / (w - 1), -1 + 2 i / (h -
 * 1)), exactly +-scale at the borders, and at 0 along a dimension of one cell.
 */
#include "common.clh"

static float position(int i, int n)
{
    const int d = 2 * i - (n - 1);
    return n == 1 ? 0.0f : d == n - 1 ? 1.0f : d == 1 - n ? -1.0f : (float)d / (float)(n - 1);
}

__kernel void base_grid_fwd(__global float2 *grid, int total, int h, int w, float scale)
{
    const int i = (int)get_global_id(0);
    if (i >= total)
        return;
    grid[i] = scale * (float2)(position(i % w, w), position(i / w % h, h));
}
