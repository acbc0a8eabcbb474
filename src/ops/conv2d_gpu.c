/* SPDX-License-Identifier: MIT
 *
 * conv2d_gpu.c -- convolution on GPUs: implicit products of matrices in local memory (cl/conv2d_gpu.cl).
 */
#include "ops/conv2d.h"

int la__conv_sweep_gpu(la_device *dev, const la_sweep_job *j, const la_after *e, const la_buffer *y, const la_buffer *x,
                       const la_buffer *w, const la_buffer *norm, const la_buffer *residual)
{
    return la__launch(dev,
                      &(la_launch){ .program = "conv2d_gpu",
                                    .entry = "conv2d_sweep_gpu",
                                    .global = { (size_t)LA_CEIL(j->sweep.cols, 64) * 16,
                                                (size_t)LA_CEIL(j->sweep.rows, 64) * 16, (size_t)j->groups },
                                    .local = { 16, 16, 1 },
                                    .flops = j->flops,
                                    .bytes = j->bytes },
                      (la_karg[]){ LA_BUF(y), LA_BUF(x), LA_BUF(w), LA_BUF(norm), LA_BUF(residual), LA_STRUCT(j->sweep),
                                   LA_STRUCT(j->taps), LA_STRUCT(*e) },
                      8);
}

/* Rows of y per split: enough splits to make about 256 work-groups with what the shape gives anyway, none of fewer
 * than 512 positions. It depends on the shape alone, so that every machine adds in the same order. */
static int32_t split_rows(const la_conv *s, int64_t groups)
{
    const int64_t rows = LA_CEIL((int64_t)s->n * s->oh, LA_CEIL(256, groups));
    return (int32_t)(rows * s->ow < 512 ? LA_CEIL(512, s->ow) : rows);
}

int la__conv_weight_gpu(la_device *dev, const la_conv *s, la_tensor *dw, const la_tensor *dy, const la_tensor *x)
{
    int err = 0;
    la_buffer *part = NULL;
    const int64_t across = LA_CEIL((int64_t)s->kh * s->kw * (s->c / s->groups), 64);
    const int64_t down = LA_CEIL(s->o / s->groups, 64), size = la_tensor_numel(dw);
    const int32_t rows = split_rows(s, across * down * s->groups);
    const int64_t splits = LA_CEIL((int64_t)s->n * s->oh, rows);

    if (splits > 1)
        LA_TRY(la__buffer_take(&part, dev, (size_t)(splits * size) * 4));
    LA_TRY(la__launch(
        dev,
        &(la_launch){ .program = "conv2d_gpu",
                      .entry = "conv2d_bwd_weight_gpu",
                      .global = { (size_t)across * 16, (size_t)down * 16, (size_t)(s->groups * splits) },
                      .local = { 16, 16, 1 },
                      .flops = la__conv_flops(s),
                      .bytes = la__conv_bytes(s) },
        (la_karg[]){ LA_BUF(part ? part : dw->storage->buffer), LA_T(dy), LA_T(x), LA_STRUCT(*s), LA_INT(rows) }, 5));
    if (splits > 1)
        LA_TRY(la__launch(dev,
                          &(la_launch){ .program = "conv2d_gpu",
                                        .entry = "conv2d_sum_gpu",
                                        .global = { (size_t)size },
                                        .flops = (double)(size * splits),
                                        .bytes = 4.0 * (double)(size * (splits + 1)) },
                          (la_karg[]){ LA_T(dw), LA_BUF(part), LA_INT(splits), LA_INT(size) }, 4));
done:
    la__buffer_give(part);
    return err;
}
