/* SPDX-License-Identifier: MIT
 *
 * reduce.h -- what reductions share: the form in which their kernels see a tensor.
 */
#ifndef LA_REDUCE_H
#define LA_REDUCE_H

#include "ops/op.h"

/* A tensor as (outer, n, inner), to be reduced over n: x is dense and has the reduced dimensions side by side; a view
 * of the given tensor where they are so already, else a copy with them last. */
typedef struct la_reduction {
    la_tensor *x;
    int64_t outer, n, inner;
    bool reduced[LA_MAX_DIMS]; /* by dimension of the given tensor */
    int ndim;                  /* of the result */
    int64_t dim[LA_MAX_DIMS];
} la_reduction;

/* Over `dims` dimensions, all if 0; the result keeps them with one element each or drops them. Release r->x. */
int la__reduction(la_reduction *r, const la_tensor *t, int dims, const int64_t *dim, bool keep, const char *op);

/* *out = factor * reduction of r->x by kernel reduce_<first>, of the result's shape; partial results are joined by
 * reduce_<again>. `with`, of outer * inner elements, is what the steps compare with; NULL where they do not. The
 * kernels for int32 end in _int. */
int la__reduce(la_tensor **out, const la_reduction *r, const char *first, const char *again, const la_tensor *with,
               double factor);

/* *out = for each row the place, from 1, of the first element that equals `with` of that row. */
int la__reduce_place(la_tensor **out, const la_reduction *r, const la_tensor *with);

/* t, of the result's shape with or without the kept dimensions, as a view of x's shape. */
int la__reduce_spread(la_tensor **out, const la_reduction *r, const la_tensor *t, const la_tensor *x);

#endif
