// SPDX-License-Identifier: MIT
// compare.cl -- out = a < b and the like, as 0 or 1 in uint8; and where.
#include "common.clh"

#define COMPARE(NAME, T, EXPR)                                                                           \
    PICKED(NAME) void NAME(global uchar *out, global const T *pa, global const T *pb, const pointwise w) \
    {                                                                                                    \
        pointwise_part p;                                                                                \
        if (!pointwise_begin(&p, &w, get_global_id(0)))                                                  \
            return;                                                                                      \
        out += p.out;                                                                                    \
        pa += p.at[0];                                                                                   \
        pb += p.at[1];                                                                                   \
        if (p.step[0] == 1 && p.step[1] == 0) {                                                          \
            const T b = pb[0];                                                                           \
            for (int i = 0; i < p.count; i++) {                                                          \
                const T a = pa[i];                                                                       \
                out[i] = (EXPR) ? 1 : 0;                                                                 \
            }                                                                                            \
        } else {                                                                                         \
            for (int i = 0; i < p.count; i++) {                                                          \
                const T a = pa[i * p.step[0]], b = pb[i * p.step[1]];                                    \
                out[i] = (EXPR) ? 1 : 0;                                                                 \
            }                                                                                            \
        }                                                                                                \
    }

COMPARE(eq_fwd, float, a == b)
COMPARE(ne_fwd, float, a != b)
COMPARE(lt_fwd, float, a < b)
COMPARE(le_fwd, float, a <= b)
COMPARE(gt_fwd, float, a > b)
COMPARE(ge_fwd, float, a >= b)
COMPARE(eq_fwd_int, int, a == b)
COMPARE(ne_fwd_int, int, a != b)
COMPARE(lt_fwd_int, int, a < b)
COMPARE(le_fwd_int, int, a <= b)
COMPARE(gt_fwd_int, int, a > b)
COMPARE(ge_fwd_int, int, a >= b)

// out = c ? a : b; the elements are only moved, so that one kernel serves float and int
PICKED(where_fwd)
void where_fwd(global int *out, global const uchar *pc, global const int *pa, global const int *pb, const pointwise w)
{
    pointwise_part p;
    if (!pointwise_begin(&p, &w, get_global_id(0)))
        return;
    out += p.out;
    pc += p.at[0];
    pa += p.at[1];
    pb += p.at[2];
    if (p.step[0] == 1 && p.step[1] == 1 && p.step[2] == 1) {
        for (int i = 0; i < p.count; i++) {
            const int a = pa[i], b = pb[i];
            out[i] = pc[i] ? a : b;
        }
    } else {
        for (int i = 0; i < p.count; i++) {
            const int a = pa[i * p.step[1]], b = pb[i * p.step[2]];
            out[i] = pc[i * p.step[0]] ? a : b;
        }
    }
}
