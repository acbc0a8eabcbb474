/* SPDX-License-Identifier: MIT
 *
 * reduction.c -- runs reductions: brings a tensor into form, cuts long rows into chunks, joins the partial results.
 */
#include <stdio.h>
#include <string.h>

#include "ops/reduce.h"

/* Lengths of a chunk: of elements side by side, and of elements `inner` apart. */
enum { ROW_CHUNK = 1024, COLUMN_CHUNK = 256, CPU_WIDTH = 16 };

/* Which dimensions are reduced, and the shape of the result. */
static int mark(la_reduction *r, const la_tensor *t, int dims, const int64_t *dim, bool keep, const char *op)
{
    for (int i = 0; i < dims; i++) {
        if (r->reduced[dim[i]])
            return la_fail(LA_EARG, "%s: dims name dimension %d twice", op, (int)dim[i] + 1);
        r->reduced[dim[i]] = true;
    }
    for (int d = 0; d < t->ndim; d++) {
        r->reduced[d] = r->reduced[d] || dims == 0;
        if (!r->reduced[d])
            r->dim[r->ndim++] = t->dim[d];
        else if (keep)
            r->dim[r->ndim++] = 1;
    }
    return 0;
}

/* Whether the reduced dimensions lie side by side, and between which ones; those of one element are in nobody's way. */
static bool side_by_side(const la_reduction *r, const la_tensor *t, int *first, int *last)
{
    *first = t->ndim;
    *last = -1;
    for (int d = 0; d < t->ndim; d++)
        if (r->reduced[d] && t->dim[d] != 1) {
            *first = *first < d ? *first : d;
            *last = d;
        }
    for (int d = *first; d < *last; d++)
        if (!r->reduced[d] && t->dim[d] != 1)
            return false;
    return true;
}

int la__reduction(la_reduction *r, const la_tensor *t, int dims, const int64_t *dim, bool keep, const char *op)
{
    int err = 0, first, last, order[LA_MAX_DIMS], at = 0;
    la_tensor *view = NULL;

    memset(r, 0, sizeof *r);
    r->outer = r->n = r->inner = 1;
    LA_TRY(mark(r, t, dims, dim, keep, op));
    const bool in_place = side_by_side(r, t, &first, &last);
    for (int d = 0; d < t->ndim; d++) {
        int64_t *size = r->reduced[d] ? &r->n : !in_place || d < first ? &r->outer : &r->inner;
        *size *= t->dim[d];
    }
    if (in_place) {
        LA_TRY(la__dense(&r->x, t));
        goto done;
    }
    for (int pass = 0; pass < 2; pass++)
        for (int d = 0; d < t->ndim; d++)
            if (r->reduced[d] == (pass == 1))
                order[at++] = d;
    LA_TRY(la__view_permute(&view, t, order, op));
    LA_TRY(la__dense(&r->x, view));
done:
    la_tensor_release(&view);
    return err;
}

/* Chunks of a row of n elements: one if it is not much longer than a chunk. */
static int64_t chunks_of(int64_t n, int64_t inner, int64_t *chunk)
{
    const int64_t length = inner == 1 ? ROW_CHUNK : COLUMN_CHUNK;
    *chunk = n > 2 * length ? length : n > 0 ? n : 1;
    return n > 0 ? (n + *chunk - 1) / *chunk : 1;
}

/* out, of outer * inner elements, from in, of outer * n * inner. */
static int reduce(la_tensor *out, const la_tensor *in, const la_reduction *r, int64_t n, const char *kernel,
                  const char *again, const la_tensor *with, double factor)
{
    int err = 0;
    char entry[40];
    la_tensor *part = NULL;
    int64_t chunk;
    la_device *dev = out->storage->dev;
    const bool ints = in->dtype == LA_I32;
    const int64_t chunks = chunks_of(n, r->inner, &chunk), total = r->outer * chunks * r->inner;
    const int64_t width = la__device_is_cpu(dev) ? CPU_WIDTH : 1;
    const int64_t items = r->outer * chunks * ((r->inner + width - 1) / width);
    const double scale = chunks > 1 ? 1 : factor;

    if (chunks > 1)
        LA_TRY(la_tensor_new(&part, dev, in->dtype, 1, &total));
    snprintf(entry, sizeof entry, "reduce_%s%s", kernel, ints ? "_int" : "");
    const la_tensor *to = chunks > 1 ? part : out;
    LA_TRY(
        la__launch(dev,
                   &(la_launch){ .program = "reduce",
                                 .entry = entry,
                                 .global = { (size_t)items },
                                 .bytes = 4.0 * (double)(r->outer * n * r->inner + total),
                                 .flops = (double)(r->outer * n * r->inner) },
                   (la_karg[]){ LA_T(to), LA_T(in), LA_T(with ? with : in), LA_INT(items), LA_INT(n), LA_INT(r->inner),
                                LA_INT(chunk), LA_INT(chunks), LA_INT(width), ints ? LA_INT(scale) : LA_FLOAT(scale) },
                   10));
    if (chunks > 1)
        LA_TRY(reduce(out, part, r, chunks, again, again, NULL, factor));
done:
    la_tensor_release(&part);
    return err;
}

int la__reduce(la_tensor **out, const la_reduction *r, const char *first, const char *again, const la_tensor *with,
               double factor)
{
    int err = 0;
    LA_TRY(la_tensor_new(out, r->x->storage->dev, r->x->dtype, r->ndim, r->dim));
    LA_TRY(reduce(*out, r->x, r, r->n, first, again, with, factor));
done:
    return err;
}

int la__reduce_place(la_tensor **out, const la_reduction *r, const la_tensor *with)
{
    int err = 0;
    la_tensor *part = NULL;
    la_device *dev = r->x->storage->dev;
    int64_t chunk;
    const int64_t chunks = chunks_of(r->n, r->inner, &chunk), items = r->outer * chunks * r->inner;

    LA_TRY(la_tensor_new(out, dev, LA_I32, r->ndim, r->dim));
    if (chunks > 1)
        LA_TRY(la_tensor_new(&part, dev, LA_I32, 1, &items));
    const la_tensor *to = chunks > 1 ? part : *out;
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "reduce",
                                    .entry = r->x->dtype == LA_I32 ? "reduce_place_int" : "reduce_place",
                                    .global = { (size_t)items },
                                    .bytes = 4.0 * (double)la_tensor_numel(r->x) },
                      (la_karg[]){ LA_T(to), LA_T(r->x), LA_T(with), LA_INT(items), LA_INT(r->n), LA_INT(r->inner),
                                   LA_INT(chunk), LA_INT(chunks) },
                      8));
    if (chunks > 1)
        LA_TRY(reduce(*out, part, r, chunks, "min", "min", NULL, 1));
done:
    la_tensor_release(&part);
    return err;
}

int la__reduce_spread(la_tensor **out, const la_reduction *r, const la_tensor *t, const la_tensor *x)
{
    int err = 0;
    int64_t dim[LA_MAX_DIMS];
    la_tensor *kept = NULL;
    for (int d = 0; d < x->ndim; d++)
        dim[d] = r->reduced[d] ? 1 : x->dim[d];
    LA_TRY(la__view_reshape(&kept, t, x->ndim, dim, "reduce"));
    LA_TRY(la__view_expand(out, kept, x->ndim, x->dim, "reduce"));
done:
    la_tensor_release(&kept);
    return err;
}

int la__sum_to(la_tensor **out, const la_tensor *g, const la_tensor *like)
{
    int err = 0, dims = 0;
    int64_t dim[LA_MAX_DIMS];
    la_reduction r = { 0 };
    la_tensor *sum = NULL;
    const int lead = g->ndim - like->ndim;

    for (int d = 0; d < g->ndim; d++)
        if (d < lead || (like->dim[d - lead] == 1 && g->dim[d] != 1))
            dim[dims++] = d;
    if (dims == 0) {
        *out = la_tensor_retain((la_tensor *)(uintptr_t)g); /* a reference count is no part of the value */
        return 0;
    }
    LA_TRY(la__reduction(&r, g, dims, dim, false, "sum_to"));
    LA_TRY(la__reduce(&sum, &r, "sum", "sum", NULL, 1));
    LA_TRY(la__view_reshape(out, sum, like->ndim, like->dim, "sum_to"));
done:
    la_tensor_release(&sum);
    la_tensor_release(&r.x);
    return err;
}
