/* SPDX-License-Identifier: MIT
 *
 * conv2d_gpu.c -- convolution on GPUs: implicit products of matrices in local memory (cl/conv2d_gpu.cl).
 */
#include "ops/conv2d.h"

#include <math.h>

enum { ALIGNED_X = 1, ALIGNED_W = 2, ALIGNED_Y = 4 }; /* as in the .cl file */

/* The same as `sweep` in cl/conv2d_gpu.cl. */
typedef struct sweep_gpu {
    int32_t groups, rows, ph, pw;
    int32_t h, w, pitch, run;
    int32_t th, tw, sh, sw, oh, ow, dh, dw;
    int32_t yh, yw, ysh, ysw, yoh, yow;
    int32_t ypitch, cols;
    int32_t start, sg, sn, si, sj, sc;
    int32_t scale, shift, by_run;
    int32_t slices;
    int32_t aligned;
    la_gpu_finish finish;
} sweep_gpu;

static bool fours(int32_t a, int32_t b)
{
    return a % 4 == 0 && b % 4 == 0;
}

/* Whether the weights of a column lie in the order of the depth, next to each other. */
static bool is_deep(const la_sweep *s, const la_taps *f)
{
    return !f->by_run && f->sc == 1 && (s->tw == 1 || f->sj == s->run) && (s->th == 1 || f->si == s->tw * s->run);
}

static sweep_gpu kernel_sweep(const la_sweep_job *j)
{
    const la_sweep *s = &j->sweep;
    const la_taps *f = &j->taps;
    const bool deep = is_deep(s, f);
    const bool across = fours(s->cols, f->sg) && fours(f->start, f->si) && fours(f->sj, f->sc);
    return (sweep_gpu){ .groups = j->groups,
                        .rows = s->rows,
                        .ph = s->ph,
                        .pw = s->pw,
                        .h = s->h,
                        .w = s->w,
                        .pitch = s->pitch,
                        .run = s->run,
                        .th = s->th,
                        .tw = s->tw,
                        .sh = s->sh,
                        .sw = s->sw,
                        .oh = s->oh,
                        .ow = s->ow,
                        .dh = s->dh,
                        .dw = s->dw,
                        .yh = s->yh,
                        .yw = s->yw,
                        .ysh = s->ysh,
                        .ysw = s->ysw,
                        .yoh = s->yoh,
                        .yow = s->yow,
                        .ypitch = s->ypitch,
                        .cols = s->cols,
                        .start = f->start,
                        .sg = f->sg,
                        .sn = f->sn,
                        .si = f->si,
                        .sj = f->sj,
                        .sc = f->sc,
                        .scale = f->scale,
                        .shift = f->shift,
                        .by_run = f->by_run && f->scale >= 0,
                        .aligned = (fours(s->run, s->pitch) ? ALIGNED_X : 0) |
                                   ((deep ? fours(s->run, f->start) && fours(f->sn, f->sg) : across) ? ALIGNED_W : 0) |
                                   (fours(s->cols, s->ypitch) ? ALIGNED_Y : 0) };
}

static la_gpu_finish finish_of(const la_sweep_job *j, const la_after *e)
{
    return (la_gpu_finish){ .flags = (j->taps.scale >= 0 && !j->taps.by_run ? LA_FINISH_SCALE : 0) |
                                     (j->taps.shift >= 0 ? LA_FINISH_SHIFT : 0) |
                                     (e->residual ? LA_FINISH_RESIDUAL : 0) |
                                     (e->low > -INFINITY || e->high < INFINITY ? LA_FINISH_CLAMP : 0),
                            .low = e->low,
                            .high = e->high };
}

const la_gpu_tile *la__conv_gpu_tile(const la_device *dev, const la_conv *s, la_method wish, int64_t rows,
                                     int64_t columns)
{
    const int64_t positions = (int64_t)s->n * s->oh * s->ow, taps = (int64_t)s->kh * s->kw;
    return rows ? la__gpu_tile(dev, wish, s->groups, rows, taps * s->c / s->groups, positions)
                : la__gpu_tile(dev, wish, s->groups, positions, columns, taps * s->c / s->groups);
}

int la__conv_sweep_gpu(la_device *dev, const la_gpu_tile *tile, const la_sweep_job *j, const la_after *e,
                       const la_buffer *y, const la_buffer *x, const la_buffer *w, const la_buffer *norm,
                       const la_buffer *residual)
{
    int err = 0;
    la_buffer *part = NULL;
    sweep_gpu s = kernel_sweep(j);
    const int64_t depth = (int64_t)s.th * s.tw * s.run, size = (int64_t)s.groups * s.rows * s.cols;
    const int64_t share = la__gpu_share(s.groups, s.rows, s.cols, depth), splits = LA_CEIL(depth, share);

    s.slices = (int32_t)LA_CEIL(share, tile->k);
    if (splits > 1)
        LA_TRY(la__buffer_take(&part, dev, (size_t)(splits * size) * 4));
    else
        s.finish = finish_of(j, e);
    LA_TRY(la__launch(
        dev,
        &(la_launch){ .program = "conv2d_gpu",
                      .options = tile->options,
                      .entry = is_deep(&j->sweep, &j->taps) ? "conv2d_sweep_gpu" : "conv2d_sweep_across_gpu",
                      .global = { (size_t)LA_CEIL(s.cols, tile->n) * 16, (size_t)LA_CEIL(s.rows, tile->m) * 16,
                                  (size_t)(s.groups * splits) },
                      .local = { 16, 16, 1 },
                      .flops = j->flops,
                      .bytes = j->bytes },
        (la_karg[]){ LA_BUF(part ? part : y), LA_BUF(x), LA_BUF(w), LA_BUF(norm), LA_BUF(residual), LA_STRUCT(s) }, 6));
    if (splits > 1) {
        s.finish = finish_of(j, e);
        LA_TRY(la__launch(
            dev,
            &(la_launch){ .program = "conv2d_gpu",
                          .options = tile->options,
                          .entry = "conv2d_finish_gpu",
                          .global = { (size_t)size },
                          .bytes = 4.0 * (double)(size * (splits + 1)) },
            (la_karg[]){ LA_BUF(y), LA_BUF(part), LA_BUF(norm), LA_BUF(residual), LA_INT(splits), LA_STRUCT(s) }, 6));
    }
done:
    la__buffer_give(part);
    return err;
}

int la__conv_weight_gpu(la_device *dev, const la_gpu_tile *tile, const la_conv *s, la_tensor *dw, const la_tensor *dy,
                        const la_tensor *x)
{
    int err = 0;
    la_buffer *part = NULL;
    const int64_t m = s->o / s->groups, n = (int64_t)s->kh * s->kw * (s->c / s->groups), size = la_tensor_numel(dw);
    const int64_t lines = (int64_t)s->n * s->oh;
    const int64_t rows = LA_CEIL(la__gpu_share(s->groups, m, n, lines * s->ow), s->ow), splits = LA_CEIL(lines, rows);
    const int32_t aligned = (fours(s->c / s->groups, 0) ? ALIGNED_X : 0) | (fours(s->o / s->groups, 0) ? ALIGNED_Y : 0);

    if (splits > 1)
        LA_TRY(la__buffer_take(&part, dev, (size_t)(splits * size) * 4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_gpu",
                                    .options = tile->options,
                                    .entry = "conv2d_bwd_weight_gpu",
                                    .global = { (size_t)LA_CEIL(n, tile->n) * 16, (size_t)LA_CEIL(m, tile->m) * 16,
                                                (size_t)(s->groups * splits) },
                                    .local = { 16, 16, 1 },
                                    .flops = la__conv_flops(s),
                                    .bytes = la__conv_bytes(s) },
                      (la_karg[]){ LA_BUF(part ? part : dw->storage->buffer), LA_T(dy), LA_T(x), LA_STRUCT(*s),
                                   LA_INT(rows), LA_INT(aligned) },
                      6));
    if (splits > 1)
        LA_TRY(la__launch(dev,
                          &(la_launch){ .program = "conv2d_gpu",
                                        .options = tile->options,
                                        .entry = "conv2d_sum_gpu",
                                        .global = { (size_t)size },
                                        .flops = (double)(size * splits),
                                        .bytes = 4.0 * (double)(size * (splits + 1)) },
                          (la_karg[]){ LA_T(dw), LA_BUF(part), LA_INT(splits), LA_INT(size) }, 4));
done:
    la__buffer_give(part);
    return err;
}
