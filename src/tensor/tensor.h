/* SPDX-License-Identifier: MIT
 *
 * tensor.h -- storage, shapes, strides and views.
 *
 * A tensor is DENSE when it is contiguous, row-major and starts at offset 0 of its storage. Kernels other than
 * the strided ones (copy, pointwise) take dense tensors only; la__dense gives one, at no cost if it is one.
 */
#ifndef LA_TENSOR_H
#define LA_TENSOR_H

#include "device/device.h"

typedef struct la_storage {
    int refs;
    uint32_t version; /* raised by every in-place write; the tape compares it */
    uint64_t serial;  /* of all storages of the device, this is that one */
    la_device *dev;
    la_buffer *buffer;
    struct la_kept *kept; /* what ops made of it and keep with it (derived.h) */
} la_storage;

/* How a tensor holds the tape node that made it, without knowing what a node is (grad/grad.h). */
typedef struct la_node_head {
    int refs;
    void (*destroy)(struct la_node_head *head);
    struct la_node_head *next; /* of those waiting to be destroyed */
} la_node_head;

/* Lets go of a node; the last reference destroys it and, in a loop, the nodes that only it held. */
void la__node_release(la_node_head *node);

struct la_tensor {
    int refs;
    la_dtype dtype;
    int ndim;
    int64_t dim[LA_MAX_DIMS];
    int64_t stride[LA_MAX_DIMS]; /* in elements; 0 where expanded */
    int64_t offset;              /* in elements */
    la_storage *storage;

    /* owned by grad/ */
    bool requires_grad; /* a leaf that asks for its gradient */
    la_node_head *node; /* what made it, NULL for leaves */
    int output;         /* which output of that node */
    la_tensor *grad;
};

/* The elements of a shape: sizes must not be negative, and kernels' 32-bit ints must hold their product (0 counting as
 * 1). */
int la__count(int64_t *out, int ndim, const int64_t *dim);

/* How many bytes of text la__shape needs at most. */
enum { LA_SHAPE_TEXT = 128 };

/* "(2, 15, 15, 1024)" into a caller's buffer, for messages: la__shape(t, (char[LA_SHAPE_TEXT]){0}). */
const char *la__shape(const la_tensor *t, char *text);

bool la__is_dense(const la_tensor *t);
bool la__same_shape(const la_tensor *a, const la_tensor *b);

/* A dense tensor with t's elements: t itself, retained, or a copy. */
int la__dense(la_tensor **out, const la_tensor *t);

/* A dense copy, always fresh. */
int la__clone(la_tensor **out, const la_tensor *t);

/* A second handle on the same storage, outside the graph. */
int la__alias(la_tensor **out, const la_tensor *t);

/* t's shape and its place in the graph without its elements: a tensor that must not be read. */
int la__shell(la_tensor **out, const la_tensor *t);

/* New dense tensor of t's shape and dtype on t's device, undefined contents. */
int la__like(la_tensor **out, const la_tensor *t);

/* New dense float32 tensor full of one value. */
int la__full(la_tensor **out, la_device *dev, int ndim, const int64_t *dim, double value);

/* In-place: fill, and copy with broadcasting of src to dst and conversion of dtype. dst may be any view, but copy
 * refuses expanded ones, whose elements share memory; src may share dst's storage. Both raise dst's version. */
int la__fill(la_tensor *dst, double value);
int la__copy(la_tensor *dst, const la_tensor *src);

/* dst += alpha * src for float32 tensors of equal shape (dst dense). */
int la__accumulate(la_tensor *dst, const la_tensor *src, double alpha);

/* Conversion to another dtype (dense copy; the same tensor retained if nothing changes). float -> int truncates, out of
 * range saturates. */
int la__convert(la_tensor **out, const la_tensor *t, la_dtype dtype);

/* Views; indices and dims from 0, checked, messages name `op`. */
int la__view_narrow(la_tensor **out, const la_tensor *t, int d, int64_t start, int64_t length, const char *op);
int la__view_select(la_tensor **out, const la_tensor *t, int d, int64_t index, const char *op);
int la__view_permute(la_tensor **out, const la_tensor *t, const int *order, const char *op);
int la__view_expand(la_tensor **out, const la_tensor *t, int ndim, const int64_t *dim, const char *op);
/* Reshape: a view where strides allow it, else of a dense copy. One dimension may be -1. */
int la__view_reshape(la_tensor **out, const la_tensor *t, int ndim, const int64_t *dim, const char *op);

/* NumPy broadcasting of two shapes; the message names `op`. */
int la__broadcast(int *ndim, int64_t *dim, const la_tensor *a, const la_tensor *b, const char *op);

/* la_karg of a dense tensor. */
#define LA_T(t) LA_BUF((t)->storage->buffer)

#define LA_DIMS(...)                                                               \
    (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (const int64_t[]) \
    {                                                                              \
        __VA_ARGS__                                                                \
    }

#endif
