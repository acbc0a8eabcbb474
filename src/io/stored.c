/* SPDX-License-Identifier: MIT
 *
 * stored.c -- the element types of files and how they become ours. Elements in a file need not be aligned.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"
#include "tensor/tensor.h"
#include "util/util.h"

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

int la__stored_read(la_tensor **out, la_device *dev, FILE *file, int64_t offset, la_stored type, int ndim,
                    const int64_t *dim, const char *what)
{
    int err = 0;
    int64_t n = 0;
    void *raw = NULL, *data = NULL;
    const la_stored_type *t = &la__stored_types[type];

    LA_TRY(la__count(&n, ndim, dim));
    raw = la__calloc((size_t)n, t->size);
    data = la__calloc((size_t)n, la_dtype_size(t->dtype));
    if (!raw || !data) {
        err = LA_ENOMEM;
        goto done;
    }
    if (fseeko(file, (off_t)offset, SEEK_SET) != 0 || fread(raw, t->size, (size_t)n, file) != (size_t)n) {
        err = la_fail(LA_EIO, "%s cannot be read: %s", what, ferror(file) ? strerror(errno) : "the file is too short");
        goto done;
    }
    const int64_t bad = la__stored_convert(data, raw, n, type);
    if (bad) {
        err = la_fail(LA_EFORMAT, "%s: element %lld of %s does not fit int32", what, (long long)bad, t->name);
        goto done;
    }
    LA_TRY(la_tensor_from(out, dev, t->dtype, ndim, dim, data));
done:
    free(raw);
    free(data);
    return err;
}

int la_elements_read(la_tensor **out, la_device *dev, const char *path, int64_t offset, const char *type, int ndim,
                     const int64_t *dim)
{
    int t = 0, err = 0;
    *out = NULL;
    while (t < LA_S_COUNT && strcmp(la__stored_types[t].name, type) != 0)
        t++;
    if (t == LA_S_COUNT)
        return la_fail(LA_EARG, "%s: no element type is called '%s'", path, type);
    FILE *file = fopen(path, "rb");
    if (!file)
        return la_fail(LA_EIO, "%s: %s", path, strerror(errno));
    err = la__stored_read(out, dev, file, offset, (la_stored)t, ndim, dim, path);
    fclose(file);
    return err;
}
