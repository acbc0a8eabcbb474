/* SPDX-License-Identifier: MIT
 *
 * copy.c -- fill, copy with broadcasting and conversion, accumulate; dense copies.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"
#include "util/util.h"

/* As in cl/copy.cl. */
typedef struct walk {
    int32_t ndim;
    int32_t dim[LA_MAX_DIMS], to[LA_MAX_DIMS], from[LA_MAX_DIMS];
    int32_t to_offset, from_offset;
} walk;

static const char *const kernel_type[] = { "float", "int", "uchar" };

/* The walk over dst with src broadcast to it (src NULL: fill); neighbouring dimensions that are contiguous in both are
 * merged and those of one element dropped, so that ndim == 1 with strides 1 means flat. */
static void plan(walk *w, const la_tensor *dst, const la_tensor *src)
{
    memset(w, 0, sizeof *w);
    w->to_offset = (int32_t)dst->offset;
    w->from_offset = src ? (int32_t)src->offset : 0;
    for (int d = 0; d < dst->ndim; d++) {
        const int s = src ? d - (dst->ndim - src->ndim) : -1;
        const int32_t n = (int32_t)dst->dim[d], to = (int32_t)dst->stride[d];
        const int32_t from = s >= 0 && src->dim[s] != 1 ? (int32_t)src->stride[s] : 0;
        const int last = w->ndim - 1;
        if (n == 1)
            continue;
        if (last >= 0 && w->to[last] == to * n && (!src || w->from[last] == from * n)) {
            w->dim[last] *= n;
            w->to[last] = to;
            w->from[last] = from;
        } else {
            w->dim[w->ndim] = n;
            w->to[w->ndim] = to;
            w->from[w->ndim++] = from;
        }
    }
    if (w->ndim == 0) {
        w->dim[0] = w->to[0] = w->from[0] = 1;
        w->ndim = 1;
    }
}

static size_t rows_of(const walk *w)
{
    size_t rows = 1;
    for (int d = 0; d < w->ndim - 1; d++)
        rows *= (size_t)w->dim[d];
    return rows;
}

int la__copy(la_tensor *dst, const la_tensor *src)
{
    int64_t dim[LA_MAX_DIMS];
    int ndim;
    char entry[48], a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    walk w;
    const int64_t n = la_tensor_numel(dst);
    const int err = la__broadcast(&ndim, dim, dst, src, "copy");

    if (err < 0)
        return err;
    bool fits = ndim == dst->ndim;
    for (int d = 0; fits && d < ndim; d++)
        fits = dim[d] == dst->dim[d];
    if (!fits)
        return la_fail(LA_ESHAPE, "copy: a tensor of shape %s does not fit into %s", la__shape(src, a), la__shape(dst, b));
    dst->storage->version++;
    if (n == 0)
        return 0;
    plan(&w, dst, src);
    const double bytes = (double)n * (double)(la_dtype_size(dst->dtype) + la_dtype_size(src->dtype));
    const bool flat = w.ndim == 1 && w.to[0] == 1 && w.from[0] == 1;
    snprintf(entry, sizeof entry, "copy_%s%s_%s", flat ? "flat_" : "", kernel_type[dst->dtype], kernel_type[src->dtype]);
    const la_launch what = { .program = "copy", .entry = entry, .global = { flat ? (size_t)n : rows_of(&w) }, .bytes = bytes };
    if (flat)
        return la__launch(dst->storage->dev, &what,
                          (la_karg[]){ LA_T(dst), LA_T(src), LA_INT(n), LA_INT(w.to_offset), LA_INT(w.from_offset) }, 5);
    return la__launch(dst->storage->dev, &what, (la_karg[]){ LA_T(dst), LA_T(src), LA_STRUCT(w), LA_INT(rows_of(&w)) }, 4);
}

/* The value as a kernel argument of the tensor's type, saturated. */
static la_karg typed(la_dtype dtype, double value)
{
    la_karg a = { .size = la_dtype_size(dtype) };
    const double low = dtype == LA_U8 ? 0 : INT32_MIN, high = dtype == LA_U8 ? 255 : INT32_MAX;
    if (dtype == LA_F32)
        a.v.f = (float)value;
    else
        a.v.i = isnan(value) ? 0 : (int32_t)fmin(fmax(value, low), high); /* a uint8 is the low byte: little-endian */
    return a;
}

int la__fill(la_tensor *dst, double value)
{
    char entry[32];
    walk w;
    const int64_t n = la_tensor_numel(dst);

    dst->storage->version++;
    if (n == 0)
        return 0;
    plan(&w, dst, NULL);
    const bool flat = w.ndim == 1 && w.to[0] == 1;
    snprintf(entry, sizeof entry, "fill_%s%s", flat ? "flat_" : "", kernel_type[dst->dtype]);
    const la_launch what = { .program = "copy", .entry = entry, .global = { flat ? (size_t)n : rows_of(&w) },
                             .bytes = (double)n * (double)la_dtype_size(dst->dtype) };
    if (flat)
        return la__launch(dst->storage->dev, &what,
                          (la_karg[]){ LA_T(dst), LA_INT(n), LA_INT(w.to_offset), typed(dst->dtype, value) }, 4);
    return la__launch(dst->storage->dev, &what,
                      (la_karg[]){ LA_T(dst), LA_STRUCT(w), LA_INT(rows_of(&w)), typed(dst->dtype, value) }, 4);
}

int la__clone(la_tensor **out, const la_tensor *t)
{
    int err = 0;
    LA_TRY(la__like(out, t));
    LA_TRY(la__copy(*out, t));
done:
    if (err < 0)
        la_tensor_release(out);
    return err;
}

int la__dense(la_tensor **out, const la_tensor *t)
{
    if (!la__is_dense(t))
        return la__clone(out, t);
    *out = la_tensor_retain((la_tensor *)(uintptr_t)t); /* a reference count is no part of the value */
    return 0;
}

int la__convert(la_tensor **out, const la_tensor *t, la_dtype dtype)
{
    int err = 0;
    if (t->dtype == dtype) {
        *out = la_tensor_retain((la_tensor *)(uintptr_t)t);
        return 0;
    }
    LA_TRY(la_tensor_new(out, t->storage->dev, dtype, t->ndim, t->dim));
    LA_TRY(la__copy(*out, t));
done:
    if (err < 0)
        la_tensor_release(out);
    return err;
}

int la__accumulate(la_tensor *dst, const la_tensor *src, double alpha)
{
    int err = 0;
    la_tensor *dense = NULL;
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    const int64_t n = la_tensor_numel(dst);

    if (!la__same_shape(dst, src) || dst->dtype != LA_F32 || src->dtype != LA_F32)
        return la_fail(LA_ESHAPE, "accumulate: needs two float32 tensors of one shape, got %s and %s", la__shape(dst, a),
                       la__shape(src, b));
    LA_TRY(la__dense(&dense, src));
    dst->storage->version++;
    LA_TRY(la__launch(dst->storage->dev,
                      &(la_launch){ .program = "copy", .entry = "accumulate", .global = { (size_t)n }, .bytes = 12.0 * (double)n,
                                    .flops = 2.0 * (double)n },
                      (la_karg[]){ LA_T(dst), LA_T(dense), LA_INT(n), LA_FLOAT(alpha) }, 4));
done:
    la_tensor_release(&dense);
    return err;
}
