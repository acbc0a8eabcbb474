/* SPDX-License-Identifier: MIT
 *
 * tensor.c -- creation, reference counts, reading and writing.
 */
#include "tensor/tensor.h"

#include <stdio.h>
#include <stdlib.h>

#include "tensor/derived.h"
#include "util/util.h"

size_t la_dtype_size(la_dtype dtype)
{
    return dtype == LA_U8 ? 1 : 4;
}

const char *la_dtype_name(la_dtype dtype)
{
    static const char *const names[] = { "float32", "int32", "uint8" };
    return names[dtype];
}

static void storage_release(la_storage *s)
{
    if (s && --s->refs == 0) {
        la__derived_forget(s);
        la__buffer_give(s->buffer);
        free(s);
    }
}

int la__count(int64_t *out, int ndim, const int64_t *dim)
{
    int64_t n = 1;
    bool empty = false;
    if (ndim < 0 || ndim > LA_MAX_DIMS)
        return la_fail(LA_ESHAPE, "tensor: at most %d dimensions, got %d", LA_MAX_DIMS, ndim);
    for (int d = 0; d < ndim; d++) {
        if (dim[d] < 0)
            return la_fail(LA_ESHAPE, "tensor: dimension %d must not be negative, got %lld", d + 1, (long long)dim[d]);
        if (dim[d] > 0 && n > INT32_MAX / dim[d])
            return la_fail(LA_ESHAPE, "tensor: more than 2^31 - 1 elements");
        n *= dim[d] > 0 ? dim[d] : 1;
        empty = empty || dim[d] == 0;
    }
    *out = empty ? 0 : n;
    return 0;
}

int la_tensor_new(la_tensor **out, la_device *dev, la_dtype dtype, int ndim, const int64_t *dim)
{
    int err = 0;
    int64_t n = 0;
    la_tensor *t = NULL;

    *out = NULL;
    LA_TRY(la__count(&n, ndim, dim));
    t = la__calloc(1, sizeof *t);
    if (!t)
        return LA_ENOMEM;
    t->refs = 1;
    t->dtype = dtype;
    t->ndim = ndim;
    for (int d = ndim - 1; d >= 0; d--) {
        t->dim[d] = dim[d];
        t->stride[d] = d == ndim - 1 ? 1 : t->stride[d + 1] * (dim[d + 1] > 0 ? dim[d + 1] : 1);
    }
    t->storage = la__calloc(1, sizeof *t->storage);
    if (!t->storage) {
        err = LA_ENOMEM;
        goto done;
    }
    t->storage->refs = 1;
    t->storage->dev = dev;
    t->storage->serial = la__device_serial(dev);
    LA_TRY(la__buffer_take(&t->storage->buffer, dev, (size_t)n * la_dtype_size(dtype)));
    *out = t;
    return 0;
done:
    if (t) {
        free(t->storage);
        free(t);
    }
    return err;
}

int la_tensor_from(la_tensor **out, la_device *dev, la_dtype dtype, int ndim, const int64_t *dim, const void *data)
{
    int err = 0;
    LA_TRY(la_tensor_new(out, dev, dtype, ndim, dim));
    LA_TRY(la__buffer_write((*out)->storage->buffer, 0, (size_t)la_tensor_numel(*out) * la_dtype_size(dtype), data));
done:
    if (err < 0)
        la_tensor_release(out);
    return err;
}

la_tensor *la_tensor_retain(la_tensor *t)
{
    if (t)
        t->refs++;
    return t;
}

/* A node's inputs may be all that holds the node before it, and so on: they wait in a list, since a long graph would
 * take too much stack. */
void la__node_release(la_node_head *node)
{
    static _Thread_local la_node_head *waiting;
    static _Thread_local bool running;
    if (--node->refs > 0)
        return;
    node->next = waiting;
    waiting = node;
    if (running)
        return;
    running = true;
    while (waiting) {
        la_node_head *n = waiting;
        waiting = n->next;
        n->destroy(n);
    }
    running = false;
}

void la_tensor_release(la_tensor **tp)
{
    la_tensor *t = *tp;
    *tp = NULL;
    if (!t || --t->refs > 0)
        return;
    if (t->node)
        la__node_release(t->node);
    la_tensor_release(&t->grad);
    storage_release(t->storage);
    free(t);
}

la_dtype la_tensor_dtype(const la_tensor *t)
{
    return t->dtype;
}

int la_tensor_ndim(const la_tensor *t)
{
    return t->ndim;
}

int64_t la_tensor_dim(const la_tensor *t, int d)
{
    return d >= 0 && d < t->ndim ? t->dim[d] : 1;
}

int64_t la_tensor_numel(const la_tensor *t)
{
    int64_t n = 1;
    for (int d = 0; d < t->ndim; d++)
        n *= t->dim[d];
    return n;
}

int la_tensor_read(const la_tensor *t, void *data)
{
    int err = 0;
    la_tensor *dense = NULL;
    const size_t bytes = (size_t)la_tensor_numel(t) * la_dtype_size(t->dtype);

    if (bytes == 0)
        return 0;
    LA_TRY(la__dense(&dense, t));
    LA_TRY(la__buffer_read(dense->storage->buffer, 0, bytes, data));
done:
    la_tensor_release(&dense);
    return err;
}

int la_tensor_write(la_tensor *t, const void *data)
{
    int err = 0;
    la_tensor *dense = NULL;
    const size_t bytes = (size_t)la_tensor_numel(t) * la_dtype_size(t->dtype);

    if (bytes == 0)
        return 0;
    if (la__is_dense(t)) {
        t->storage->version++;
        return la__buffer_write(t->storage->buffer, 0, bytes, data);
    }
    LA_TRY(la_tensor_from(&dense, t->storage->dev, t->dtype, t->ndim, t->dim, data));
    LA_TRY(la__copy(t, dense));
done:
    la_tensor_release(&dense);
    return err;
}

const char *la__shape(const la_tensor *t, char *text)
{
    size_t used = (size_t)snprintf(text, LA_SHAPE_TEXT, "(");
    for (int d = 0; d < t->ndim; d++)
        used += (size_t)snprintf(text + used, LA_SHAPE_TEXT - used, "%s%lld", d ? ", " : "", (long long)t->dim[d]);
    snprintf(text + used, LA_SHAPE_TEXT - used, ")");
    return text;
}

bool la__same_shape(const la_tensor *a, const la_tensor *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (int d = 0; d < a->ndim; d++)
        if (a->dim[d] != b->dim[d])
            return false;
    return true;
}

int la__like(la_tensor **out, const la_tensor *t)
{
    return la_tensor_new(out, t->storage->dev, t->dtype, t->ndim, t->dim);
}

int la__full(la_tensor **out, la_device *dev, int ndim, const int64_t *dim, double value)
{
    int err = 0;
    LA_TRY(la_tensor_new(out, dev, LA_F32, ndim, dim));
    LA_TRY(la__fill(*out, value));
done:
    if (err < 0)
        la_tensor_release(out);
    return err;
}
