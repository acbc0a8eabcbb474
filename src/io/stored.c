/* SPDX-License-Identifier: MIT
 *
 * stored.c -- the element types of files and how they become ours. Elements in a file need not be aligned.
 */
#include <string.h>

#include "io/safetensors.h"

const la_stored_type la__stored_types[LA_S_COUNT] = {
    [LA_S_F64] = { "F64", 8, LA_F32 },   [LA_S_F32] = { "F32", 4, LA_F32 }, [LA_S_F16] = { "F16", 2, LA_F32 },
    [LA_S_BF16] = { "BF16", 2, LA_F32 }, [LA_S_I64] = { "I64", 8, LA_I32 }, [LA_S_I32] = { "I32", 4, LA_I32 },
    [LA_S_I16] = { "I16", 2, LA_I32 },   [LA_S_I8] = { "I8", 1, LA_I32 },   [LA_S_U64] = { "U64", 8, LA_I32 },
    [LA_S_U32] = { "U32", 4, LA_I32 },   [LA_S_U16] = { "U16", 2, LA_I32 }, [LA_S_U8] = { "U8", 1, LA_U8 },
    [LA_S_BOOL] = { "BOOL", 1, LA_U8 },
};

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE binary16: 1 sign, 5 exponent, 10 fraction; all of its numbers are float32 numbers. */
static float from_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;
    if (exponent == 0x1f)
        return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent != 0)
        return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float tiny = (float)fraction * 0x1p-24f; /* subnormal, or zero */
    return sign ? -tiny : tiny;
}

#define GET(type, in, i) \
    type v;              \
    memcpy(&v, (const char *)(in) + (size_t)(i) * sizeof v, sizeof v)

static void to_floats(float *out, const void *in, int64_t n, la_stored type)
{
    for (int64_t i = 0; i < n; i++) {
        if (type == LA_S_F64) {
            GET(double, in, i);
            out[i] = (float)v;
        } else if (type == LA_S_F16) {
            GET(uint16_t, in, i);
            out[i] = from_half(v);
        } else {
            GET(uint16_t, in, i);
            out[i] = from_bits((uint32_t)v << 16);
        }
    }
}

/* A whole number of a file; *fits says whether it is an int32. */
static int32_t to_int(bool *fits, const void *in, int64_t i, la_stored type)
{
    int64_t wide = 0;
    if (type == LA_S_I64) {
        GET(int64_t, in, i);
        wide = v;
    } else if (type == LA_S_U64) {
        GET(uint64_t, in, i);
        wide = v > INT32_MAX ? INT64_MAX : (int64_t)v;
    } else if (type == LA_S_U32) {
        GET(uint32_t, in, i);
        wide = v;
    } else if (type == LA_S_I16) {
        GET(int16_t, in, i);
        wide = v;
    } else if (type == LA_S_U16) {
        GET(uint16_t, in, i);
        wide = v;
    } else {
        GET(int8_t, in, i);
        wide = v;
    }
    *fits = wide >= INT32_MIN && wide <= INT32_MAX;
    return *fits ? (int32_t)wide : 0;
}

int64_t la__stored_convert(void *out, const void *in, int64_t n, la_stored type)
{
    if (type == LA_S_F32 || type == LA_S_I32 || type == LA_S_U8) {
        memcpy(out, in, (size_t)n * la__stored_types[type].size);
    } else if (la__stored_types[type].dtype == LA_F32) {
        to_floats(out, in, n, type);
    } else if (type == LA_S_BOOL) {
        for (int64_t i = 0; i < n; i++)
            ((uint8_t *)out)[i] = ((const uint8_t *)in)[i] != 0;
    } else {
        for (int64_t i = 0; i < n; i++) {
            bool fits;
            ((int32_t *)out)[i] = to_int(&fits, in, i, type);
            if (!fits)
                return i + 1;
        }
    }
    return 0;
}
