// compare.cl -- out = a < b and the like, as 0 or 1 in uint8; and where.
#include "common.clh"

#define COMPARE(NAME, T, EXPR)                                                                                         \
    kernel void NAME(global uchar *out, global const T *pa, global const T *pb, const walk3 w, const int rows)        \
    {                                                                                                                  \
        const int row = get_global_id(0);                                                                              \
        if (row >= rows)                                                                                               \
            return;                                                                                                    \
        const int n = w.dim[w.ndim - 1], sa = w.stride[0][w.ndim - 1], sb = w.stride[1][w.ndim - 1];                   \
        const int oa = walk_row(&w, 0, row), ob = walk_row(&w, 1, row);                                                \
        for (int i = 0; i < n; i++) {                                                                                  \
            const T a = pa[oa + i * sa], b = pb[ob + i * sb];                                                          \
            out[row * n + i] = (uchar)(EXPR);                                                                          \
        }                                                                                                              \
    }

COMPARE(eq, float, a == b)
COMPARE(ne, float, a != b)
COMPARE(lt, float, a < b)
COMPARE(le, float, a <= b)
COMPARE(gt, float, a > b)
COMPARE(ge, float, a >= b)
COMPARE(eq_int, int, a == b)
COMPARE(ne_int, int, a != b)
COMPARE(lt_int, int, a < b)
COMPARE(le_int, int, a <= b)
COMPARE(gt_int, int, a > b)
COMPARE(ge_int, int, a >= b)

// out = c ? a : b
kernel void where_fwd(global float *out, global const uchar *pc, global const float *pa, global const float *pb,
                      const walk3 w, const int rows)
{
    const int row = get_global_id(0);
    if (row >= rows)
        return;
    const int last = w.ndim - 1, n = w.dim[last];
    const int oc = walk_row(&w, 0, row), oa = walk_row(&w, 1, row), ob = walk_row(&w, 2, row);
    for (int i = 0; i < n; i++)
        out[row * n + i] =
            pc[oc + i * w.stride[0][last]] ? pa[oa + i * w.stride[1][last]] : pb[ob + i * w.stride[2][last]];
}

// The gradient where c holds (side 1) or does not (side 0).
kernel void where_bwd(global float *out, global const uchar *pc, global const float *pg, const walk3 w, const int rows,
                      const int side)
{
    const int row = get_global_id(0);
    if (row >= rows)
        return;
    const int last = w.ndim - 1, n = w.dim[last];
    const int oc = walk_row(&w, 0, row);
    for (int i = 0; i < n; i++)
        out[row * n + i] = (pc[oc + i * w.stride[0][last]] != 0) == side ? pg[row * n + i] : 0.0f;
}
