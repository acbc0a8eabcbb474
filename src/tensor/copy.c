/* SPDX-License-Identifier: MIT
 *
 * copy.c -- fill, copy with broadcasting and conversion, accumulate; dense copies.
 */
#include <math.h>
#include <stdio.h>

#include "tensor/pointwise.h"
#include "util/util.h"

static const char *const kernel_type[] = { "float", "int", "uchar" };

/* Both dimensions of a transposition must have this many elements for a tile of as many to be worth while. */
enum { TILE = 16 };

static bool is_transposition(const la_pointwise *p)
{
    const int d = p->ndim - 2;
    return d >= 0 && p->stride[0][d + 1] == 1 && p->stride[1][d] == 1 && p->dim[d] >= TILE && p->dim[d + 1] >= TILE;
}

static int transpose(la_tensor *dst, const la_tensor *src, la_pointwise *p, double bytes)
{
    char entry[32];
    const int32_t side = la__device_is_cpu(dst->storage->dev) ? TILE : 1;
    p->items = 1;
    for (int d = 0; d < p->ndim; d++)
        p->items *= d < p->ndim - 2 ? p->dim[d] : (p->dim[d] + side - 1) / side;
    snprintf(entry, sizeof entry, "transpose_%s", kernel_type[dst->dtype]);
    return la__launch(dst->storage->dev,
                      &(la_launch){ .program = "copy", .entry = entry, .global = { (size_t)p->items }, .bytes = bytes },
                      (la_karg[]){ LA_T(dst), LA_T(src), LA_STRUCT(*p), LA_INT(side) }, 4);
}

/* The elements: fits and is not empty. */
static int copy(la_tensor *dst, const la_tensor *src)
{
    la_pointwise p;
    char entry[48];
    const int64_t n = la_tensor_numel(dst);
    const double bytes = (double)n * (double)(la_dtype_size(dst->dtype) + la_dtype_size(src->dtype));
    la_tensor *both[] = { dst, (la_tensor *)(uintptr_t)src }; /* only looked at */

    la__pointwise_plan(&p, dst->ndim, dst->dim, 2, both);
    if (dst->dtype == src->dtype && is_transposition(&p))
        return transpose(dst, src, &p, bytes);
    snprintf(entry, sizeof entry, "copy_%s_%s", kernel_type[dst->dtype], kernel_type[src->dtype]);
    return la__launch(dst->storage->dev,
                      &(la_launch){ .program = "copy", .entry = entry, .global = { (size_t)p.items }, .bytes = bytes },
                      (la_karg[]){ LA_T(dst), LA_T(src), LA_STRUCT(p) }, 3);
}

int la__copy(la_tensor *dst, const la_tensor *src)
{
    int64_t dim[LA_MAX_DIMS];
    int ndim, err = 0;
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    la_tensor *own = NULL;

    LA_TRY(la__broadcast(&ndim, dim, dst, src, "copy"));
    bool fits = ndim == dst->ndim;
    for (int d = 0; fits && d < ndim; d++)
        fits = dim[d] == dst->dim[d];
    if (!fits)
        return la_fail(LA_ESHAPE, "copy: a tensor of shape %s does not fit into %s", la__shape(src, a),
                       la__shape(dst, b));
    for (int d = 0; d < ndim; d++)
        if (dst->stride[d] == 0 && dim[d] > 1)
            return la_fail(LA_EARG, "copy: the elements of an expanded tensor share memory, write to a contiguous one");
    if (dst->storage == src->storage) /* the source would change under the kernel's hands */
        LA_TRY(la__clone(&own, src));
    dst->storage->version++;
    if (la_tensor_numel(dst) > 0)
        LA_TRY(copy(dst, own ? own : src));
done:
    la_tensor_release(&own);
    return err;
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
    la_pointwise p;
    const int64_t n = la_tensor_numel(dst);

    dst->storage->version++;
    if (n == 0)
        return 0;
    la__pointwise_plan(&p, dst->ndim, dst->dim, 1, &dst);
    snprintf(entry, sizeof entry, "fill_%s", kernel_type[dst->dtype]);
    return la__launch(dst->storage->dev,
                      &(la_launch){ .program = "copy",
                                    .entry = entry,
                                    .global = { (size_t)p.items },
                                    .bytes = (double)n * (double)la_dtype_size(dst->dtype) },
                      (la_karg[]){ LA_T(dst), LA_STRUCT(p), typed(dst->dtype, value) }, 3);
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
    la_tensor *from = NULL;
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];

    if (!la__same_shape(dst, src) || dst->dtype != LA_F32 || src->dtype != LA_F32)
        return la_fail(LA_ESHAPE, "accumulate: needs two float32 tensors of one shape, got %s and %s",
                       la__shape(dst, a), la__shape(src, b));
    if (dst->storage == src->storage) /* they may overlap, each in its own order */
        LA_TRY(la__clone(&from, src));
    else
        LA_TRY(la__alias(&from, src));
    dst->storage->version++;
    LA_TRY(la__pointwise_with(dst, "copy", "accumulate", 1, &from, 1, (la_karg[]){ LA_FLOAT(alpha) }));
done:
    la_tensor_release(&from);
    return err;
}
