/* SPDX-License-Identifier: MIT
 *
 * pointwise.c -- plans and starts kernels over broadcast, strided operands.
 */
#include "tensor/pointwise.h"

#include <string.h>

enum { SHORTEST = 64, LONGEST = 1024, RUNS = 128 };

int64_t la__pointwise_chunk(const la_device *dev, int64_t n)
{
    const int64_t even = n / RUNS;
    return !la__device_is_cpu(dev) ? 1 : even < SHORTEST ? SHORTEST : even > LONGEST ? LONGEST : even;
}

void la__pointwise_plan(la_pointwise *p, int ndim, const int64_t *dim, int n, la_tensor *const *operand)
{
    int64_t total = 1;
    memset(p, 0, sizeof *p);
    for (int k = 0; k < n; k++)
        p->offset[k] = (int32_t)operand[k]->offset;
    for (int d = 0; d < ndim; d++) {
        int32_t stride[LA_POINTWISE_OPERANDS] = { 0 };
        const int last = p->ndim - 1;
        bool merge = last >= 0;
        total *= dim[d];
        if (dim[d] == 1)
            continue;
        for (int k = 0; k < n; k++) {
            const int own = d - (ndim - operand[k]->ndim);
            stride[k] = own >= 0 && operand[k]->dim[own] != 1 ? (int32_t)operand[k]->stride[own] : 0;
            merge = merge && p->stride[k][last] == stride[k] * (int32_t)dim[d];
        }
        const int at = merge ? last : p->ndim++;
        p->dim[at] = (int32_t)dim[d] * (merge ? p->dim[at] : 1);
        for (int k = 0; k < n; k++)
            p->stride[k][at] = stride[k];
    }
    if (p->ndim == 0) {
        p->dim[0] = 1;
        p->ndim = 1;
    }
    const int32_t length = p->dim[p->ndim - 1];
    const int64_t chunk = la__pointwise_chunk(operand[0]->storage->dev, total);
    p->chunk = chunk < length ? (int32_t)chunk : length;
    p->segments = total > 0 ? (length + p->chunk - 1) / p->chunk : 0;
    p->items = total > 0 ? (int32_t)total / length * p->segments : 0;
}

int la__pointwise_with(la_tensor *out, const char *program, const char *entry, int n, la_tensor *const *operand,
                       int extra, const la_karg *more)
{
    la_pointwise p;
    la_karg args[LA_POINTWISE_OPERANDS + 6] = { LA_T(out) };
    const double total = (double)la_tensor_numel(out);
    double bytes = total * (double)la_dtype_size(out->dtype);

    la__pointwise_plan(&p, out->ndim, out->dim, n, operand);
    for (int k = 0; k < n; k++) {
        args[k + 1] = LA_T(operand[k]);
        bytes += (double)la_tensor_numel(operand[k]) * (double)la_dtype_size(operand[k]->dtype);
    }
    args[n + 1] = LA_STRUCT(p);
    for (int k = 0; k < extra; k++)
        args[n + 2 + k] = more[k];
    return la__launch(
        out->storage->dev,
        &(la_launch){
            .program = program, .entry = entry, .global = { (size_t)p.items }, .bytes = bytes, .flops = total },
        args, n + 2 + extra);
}

int la__pointwise(la_tensor *out, const char *program, const char *entry, int n, la_tensor *const *operand)
{
    return la__pointwise_with(out, program, entry, n, operand, 0, NULL);
}
