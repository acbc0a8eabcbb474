// SPDX-License-Identifier: MIT
//
// probe.cl -- how fast the device can multiply and add: the yardstick of the benchmarks, never part of a result.
//
// -DACC: how many independent sums of 16 lanes one work-item keeps. Which number is fastest depends on the compiler, so
// a benchmark tries several and takes the best. One work-item does 32 ACC rounds floating-point operations.
#include "common.clh"

__kernel void probe_fma(__global float *out, int rounds, float a, float b)
{
    const float16 va = (float16)a, vb = (float16)b;
    float16 acc[ACC];
    _Pragma("unroll") for (int i = 0; i < ACC; i++) acc[i] = (float16)(b * (float)i);
    for (int k = 0; k < rounds; k++) {
        _Pragma("unroll") for (int i = 0; i < ACC; i++) acc[i] = fma(acc[i], va, vb);
    }
    float16 sum = acc[0];
    _Pragma("unroll") for (int i = 1; i < ACC; i++) sum += acc[i];
    vstore16(sum, get_global_id(0), out);
}
