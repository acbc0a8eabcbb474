/* SPDX-License-Identifier: MIT
 *
 * view.c -- tensors that share the storage of another: narrow, select, permute, expand, reshape.
 */
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"
#include "util/util.h"

bool la__is_dense(const la_tensor *t)
{
    int64_t expected = 1;
    if (t->offset != 0)
        return false;
    for (int d = t->ndim - 1; d >= 0; d--) {
        if (t->dim[d] != 1 && t->stride[d] != expected)
            return false;
        expected *= t->dim[d];
    }
    return true;
}

int la__alias(la_tensor **out, const la_tensor *t)
{
    *out = la__calloc(1, sizeof **out);
    if (!*out)
        return LA_ENOMEM;
    **out = *t;
    (*out)->refs = 1;
    (*out)->requires_grad = false;
    (*out)->node = NULL;
    (*out)->output = 0;
    (*out)->grad = NULL;
    t->storage->refs++;
    return 0;
}

int la__shell(la_tensor **out, const la_tensor *t)
{
    la_tensor *shell = la__calloc(1, sizeof *shell);
    la_storage *storage = la__calloc(1, sizeof *storage);
    *out = NULL;
    if (!shell || !storage) {
        free(shell);
        free(storage);
        return LA_ENOMEM;
    }
    *shell = *t;
    *storage = (la_storage){ .refs = 1, .dev = t->storage->dev };
    shell->refs = 1;
    shell->storage = storage;
    shell->grad = NULL;
    if (shell->node)
        shell->node->refs++;
    *out = shell;
    return 0;
}

static int check_dim(const la_tensor *t, int d, const char *op)
{
    if (d < 0 || d >= t->ndim)
        return la_fail(LA_EARG, "%s: dimension %d of a tensor with %d", op, d + 1, t->ndim);
    return 0;
}

/* a + b for messages, where no overflow matters. */
static int64_t next(int64_t a, int64_t b)
{
    return b > 0 && a > INT64_MAX - b ? INT64_MAX : a + b;
}

int la__view_narrow(la_tensor **out, const la_tensor *t, int d, int64_t start, int64_t length, const char *op)
{
    int err = 0;
    *out = NULL;
    LA_TRY(check_dim(t, d, op));
    if (start < 0)
        start += t->dim[d];
    if (start < 0 || start > t->dim[d] || length < 0 || length > t->dim[d] - start)
        return la_fail(LA_EARG, "%s: elements %lld to %lld of dimension %d, which has %lld", op,
                       (long long)next(start, 1), (long long)next(start, length), d + 1, (long long)t->dim[d]);
    LA_TRY(la__alias(out, t));
    (*out)->dim[d] = length;
    (*out)->offset += start * t->stride[d];
done:
    return err;
}

int la__view_select(la_tensor **out, const la_tensor *t, int d, int64_t index, const char *op)
{
    int err = 0;
    *out = NULL;
    LA_TRY(check_dim(t, d, op));
    if (index < 0)
        index += t->dim[d];
    if (index < 0 || index >= t->dim[d])
        return la_fail(LA_EARG, "%s: element %lld of dimension %d, which has %lld", op, (long long)next(index, 1),
                       d + 1, (long long)t->dim[d]);
    LA_TRY(la__alias(out, t));
    (*out)->offset += index * t->stride[d];
    (*out)->ndim--;
    for (int k = d; k < (*out)->ndim; k++) {
        (*out)->dim[k] = t->dim[k + 1];
        (*out)->stride[k] = t->stride[k + 1];
    }
done:
    return err;
}

int la__view_permute(la_tensor **out, const la_tensor *t, const int *order, const char *op)
{
    int err = 0;
    bool seen[LA_MAX_DIMS] = { false };
    *out = NULL;
    for (int d = 0; d < t->ndim; d++) {
        if (order[d] < 0 || order[d] >= t->ndim || seen[order[d]])
            return la_fail(LA_EARG, "%s: the order must name each of the %d dimensions once", op, t->ndim);
        seen[order[d]] = true;
    }
    LA_TRY(la__alias(out, t));
    for (int d = 0; d < t->ndim; d++) {
        (*out)->dim[d] = t->dim[order[d]];
        (*out)->stride[d] = t->stride[order[d]];
    }
done:
    return err;
}

int la__view_expand(la_tensor **out, const la_tensor *t, int ndim, const int64_t *dim, const char *op)
{
    int err = 0;
    const int lead = ndim - t->ndim;
    int64_t n;
    char text[LA_SHAPE_TEXT];
    *out = NULL;
    if (lead < 0 || ndim > LA_MAX_DIMS)
        return la_fail(LA_ESHAPE, "%s: %s has more dimensions than the %d asked for", op, la__shape(t, text), ndim);
    for (int d = 0; d < t->ndim; d++)
        if (t->dim[d] != 1 && dim[lead + d] != t->dim[d] && dim[lead + d] != -1)
            return la_fail(LA_ESHAPE, "%s: dimension %d of %s cannot become %lld", op, d + 1, la__shape(t, text),
                           (long long)dim[lead + d]);
    LA_TRY(la__alias(out, t));
    (*out)->ndim = ndim;
    for (int d = 0; d < ndim; d++) {
        const bool kept = d >= lead && (t->dim[d - lead] != 1 || dim[d] == -1 || dim[d] == 1);
        (*out)->dim[d] = kept ? t->dim[d - lead] : dim[d];
        (*out)->stride[d] = kept ? t->stride[d - lead] : 0;
    }
    LA_TRY(la__count(&n, ndim, (*out)->dim));
done:
    if (err < 0)
        la_tensor_release(out);
    return err;
}

/* Resolves a -1 and checks the number of elements. */
static int reshape_dims(int64_t *out, const la_tensor *t, int ndim, const int64_t *dim, const char *op)
{
    const int64_t n = la_tensor_numel(t);
    int64_t known = 1;
    int open = -1;
    char text[LA_SHAPE_TEXT];
    if (ndim < 0 || ndim > LA_MAX_DIMS)
        return la_fail(LA_ESHAPE, "%s: at most %d dimensions, got %d", op, LA_MAX_DIMS, ndim);
    for (int d = 0; d < ndim; d++) {
        out[d] = dim[d];
        if (dim[d] == -1 && open < 0)
            open = d;
        else if (dim[d] < 0 || dim[d] > INT32_MAX / (known > 0 ? known : 1))
            return la_fail(LA_ESHAPE, "%s: dimension %d is %lld", op, d + 1, (long long)dim[d]);
        else
            known *= dim[d];
    }
    if (open >= 0 && known > 0 && n % known == 0)
        out[open] = n / known;
    else if (open >= 0 || known != n)
        return la_fail(LA_ESHAPE, "%s: %s has %lld elements, the shape asked for %lld%s", op, la__shape(t, text),
                       (long long)n, (long long)known, open >= 0 ? " times an unknown" : "");
    return 0;
}

/* Strides of a reshaped view, when each run of merged dimensions is contiguous in t; false: a copy is needed. */
static bool reshape_strides(int64_t *stride, const la_tensor *t, int ndim, const int64_t *dim)
{
    int64_t old_dim[LA_MAX_DIMS], old_stride[LA_MAX_DIMS];
    int n = 0, i = 0, j = 0;
    for (int d = 0; d < t->ndim; d++)
        if (t->dim[d] != 1) {
            old_dim[n] = t->dim[d];
            old_stride[n++] = t->stride[d];
        }
    while (i < n) {
        int64_t a = old_dim[i], b = 1;
        const int first_old = i, first_new = j;
        while (j < ndim && b < a)
            b *= dim[j++];
        while (a != b) {
            if (a < b) {
                if (++i >= n)
                    return false;
                a *= old_dim[i];
            } else {
                if (j >= ndim)
                    return false;
                b *= dim[j++];
            }
        }
        for (int k = first_old; k < i; k++)
            if (old_stride[k] != old_stride[k + 1] * old_dim[k + 1])
                return false;
        int64_t s = old_stride[i++];
        for (int k = j - 1; k >= first_new; k--) {
            stride[k] = s;
            s *= dim[k];
        }
    }
    for (; j < ndim; j++) /* trailing ones */
        stride[j] = 1;
    return true;
}

int la__view_reshape(la_tensor **out, const la_tensor *t, int ndim, const int64_t *dim, const char *op)
{
    int err = 0;
    int64_t want[LA_MAX_DIMS] = { 0 }, stride[LA_MAX_DIMS] = { 0 };
    la_tensor *dense = NULL;
    *out = NULL;
    LA_TRY(reshape_dims(want, t, ndim, dim, op));
    if (la_tensor_numel(t) > 0 && reshape_strides(stride, t, ndim, want)) {
        LA_TRY(la__alias(out, t));
    } else {
        LA_TRY(la__dense(&dense, t));
        LA_TRY(la__alias(out, dense));
        int64_t s = 1;
        for (int d = ndim - 1; d >= 0; d--) {
            stride[d] = s;
            s *= want[d] > 0 ? want[d] : 1;
        }
    }
    (*out)->ndim = ndim;
    memcpy((*out)->dim, want, sizeof want);
    memcpy((*out)->stride, stride, sizeof stride);
done:
    la_tensor_release(&dense);
    return err;
}

int la__broadcast(int *ndim, int64_t *dim, const la_tensor *a, const la_tensor *b, const char *op)
{
    const int n = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int d = 0; d < n; d++) {
        const int ia = d - (n - a->ndim), ib = d - (n - b->ndim);
        const int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da != db && da != 1 && db != 1) {
            char ta[LA_SHAPE_TEXT], tb[LA_SHAPE_TEXT];
            return la_fail(LA_ESHAPE, "%s: shapes %s and %s do not broadcast", op, la__shape(a, ta), la__shape(b, tb));
        }
        dim[d] = da == 1 ? db : da;
    }
    *ndim = n;
    return 0;
}
