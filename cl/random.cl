// SPDX-License-Identifier: MIT
// random.cl -- Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): four words from a
// counter and a key. Work-item b makes elements 4 b to 4 b + 3 from block `counter + b`.
#include "common.clh"

// Written in scalars and unrolled, so that compilers can run many work-items in one vector.
static uint4 philox(uint4 c, uint2 k)
{
    uint x = c.x, y = c.y, z = c.z, w = c.w, k0 = k.x, k1 = k.y;
    _Pragma("unroll") for (int round = 0; round < 10; round++)
    {
        const ulong a = 0xD2511F53ul * x, b = 0xCD9E8D57ul * z;
        x = (uint)(b >> 32) ^ y ^ k0;
        y = (uint)b;
        z = (uint)(a >> 32) ^ w ^ k1;
        w = (uint)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (uint4)(x, y, z, w);
}

static uint4 block(int b, uint counter_low, uint counter_high, uint seed_low, uint seed_high)
{
    const uint low = counter_low + (uint)b;
    return philox((uint4)(low, counter_high + (low < counter_low ? 1u : 0u), 0u, 0u), (uint2)(seed_low, seed_high));
}

static void store(global float *out, int b, int n, float4 v)
{
    const int left = n - 4 * b;
    if (left >= 4) {
        vstore4(v, b, out);
        return;
    }
    out[4 * b] = v.x;
    if (left > 1)
        out[4 * b + 1] = v.y;
    if (left > 2)
        out[4 * b + 2] = v.z;
}

// 24 bits as a number of [0, 1): the same on every device, since neither step rounds; nor does fma leave a choice.
kernel void uniform_fwd(global float *out, const int n, const uint counter_low, const uint counter_high,
                        const uint seed_low, const uint seed_high, const float low, const float width)
{
    const int b = get_global_id(0);
    if (b >= (n + 3) / 4)
        return;
    const uint4 x = block(b, counter_low, counter_high, seed_low, seed_high);
    store(out, b, n, fma((float4)(width), convert_float4(x >> 8) * 0x1p-24f, (float4)(low)));
}

// Box and Muller: two uniform numbers, the first of (0, 1], make two normal ones.
kernel void normal_fwd(global float *out, const int n, const uint counter_low, const uint counter_high,
                       const uint seed_low, const uint seed_high, const float mean, const float deviation)
{
    const int b = get_global_id(0);
    if (b >= (n + 3) / 4)
        return;
    const uint4 x = block(b, counter_low, counter_high, seed_low, seed_high);
    const float2 radius = sqrt(-2.0f * log(convert_float2((x.xz >> 8) + 1) * 0x1p-24f));
    const float2 turn = convert_float2(x.yw >> 8) * 0x1p-23f;
    const float2 c = radius * cospi(turn), s = radius * sinpi(turn);
    store(out, b, n, fma((float4)(deviation), (float4)(c.x, s.x, c.y, s.y), (float4)(mean)));
}
