/* SPDX-License-Identifier: MIT
 *
 * walk.c -- plans the walk of pointwise kernels over broadcast operands.
 */
#include "ops/walk.h"

#include <stdio.h>
#include <string.h>

void la__walk_plan(la_walk *w, int ndim, const int64_t *dim, int n, la_tensor *const *operand)
{
    memset(w, 0, sizeof *w);
    for (int k = 0; k < n; k++)
        w->offset[k] = (int32_t)operand[k]->offset;
    for (int d = 0; d < ndim; d++) {
        int32_t stride[LA_WALK_OPERANDS] = { 0 };
        const int last = w->ndim - 1;
        bool merge = last >= 0;
        if (dim[d] == 1)
            continue;
        for (int k = 0; k < n; k++) {
            const int own = d - (ndim - operand[k]->ndim);
            stride[k] = own >= 0 && operand[k]->dim[own] != 1 ? (int32_t)operand[k]->stride[own] : 0;
            merge = merge && w->stride[k][last] == stride[k] * (int32_t)dim[d];
        }
        const int at = merge ? last : w->ndim++;
        w->dim[at] = (int32_t)dim[d] * (merge ? w->dim[at] : 1);
        for (int k = 0; k < n; k++)
            w->stride[k][at] = stride[k];
    }
    if (w->ndim == 0) {
        w->dim[0] = 1;
        for (int k = 0; k < n; k++)
            w->stride[k][0] = 1;
        w->ndim = 1;
    }
}

size_t la__walk_rows(const la_walk *w)
{
    size_t rows = 1;
    for (int d = 0; d < w->ndim - 1; d++)
        rows *= (size_t)w->dim[d];
    return rows;
}

int la__walk_binary(la_tensor *out, const char *program, const char *name, la_tensor *a, la_tensor *b)
{
    la_walk w;
    char entry[64];
    const int64_t n = la_tensor_numel(out);
    if (n == 0)
        return 0;
    la__walk_plan(&w, out->ndim, out->dim, 2, (la_tensor *[]){ a, b });
    const int32_t sa = w.stride[0][0], sb = w.stride[1][0];
    const char *form = w.ndim > 1 ? "rows" : sa == 1 && sb == 1 ? "flat" : sa == 1 && sb == 0 ? "flat_a" : sa == 0 && sb == 1 ? "flat_b" : "rows";
    snprintf(entry, sizeof entry, "%s_%s", name, form);
    const double bytes = 4.0 * (double)(n + la_tensor_numel(a) + la_tensor_numel(b));
    if (strcmp(form, "rows") == 0)
        return la__launch(out->storage->dev,
                          &(la_launch){ .program = program, .entry = entry, .global = { la__walk_rows(&w) }, .bytes = bytes },
                          (la_karg[]){ LA_T(out), LA_T(a), LA_T(b), LA_STRUCT(w), LA_INT(la__walk_rows(&w)) }, 5);
    return la__launch(out->storage->dev,
                      &(la_launch){ .program = program, .entry = entry, .global = { (size_t)n }, .bytes = bytes, .flops = (double)n },
                      (la_karg[]){ LA_T(out), LA_T(a), LA_T(b), LA_INT(n), LA_INT(w.offset[0]), LA_INT(w.offset[1]) }, 6);
}
