/* SPDX-License-Identifier: MIT
 *
 * conv2d_weight.c -- the weight gradient (cl/conv2d_weight.cl).
 */
#include "ops/winograd.h"

#include <math.h>

enum { TILES = 44 }; /* of one work-item at most, as in the .cl file */

/* How many splits of the positions: enough to make pieces of some 30 million multiply-adds, from 8 to 64 of them, with
 * what the shape gives anyway; none of fewer than 256 positions. It depends on the shape alone, so that every machine
 * adds in the same order. */
static int32_t choose_splits(const la_conv *s, int64_t pieces)
{
    const double wish = fmin(fmax(la__conv_flops(s) / 6e7, 8), 64);
    const int64_t most = (int64_t)s->n * s->oh * s->ow / 256, splits = LA_CEIL((int64_t)wish, pieces);
    return (int32_t)(splits < most ? splits : most > 1 ? most : 1);
}

/* How many splits of the rows of y: enough to make about `wish` pieces of work with what the shape gives anyway, none
 * of fewer than 512 positions. It depends on the shape alone, so that every machine adds in the same order. */
static int32_t choose_split(la_span *p, int64_t work, int64_t wish)
{
    const int64_t splits = LA_CEIL(wish, work);
    int64_t rows = LA_CEIL(p->rows, splits);
    if (rows * p->yw < 512)
        rows = LA_CEIL(512, p->yw);
    p->split = (int32_t)rows;
    return (int32_t)LA_CEIL(p->rows, rows);
}

static la_span span_of(const la_conv *s)
{
    const int32_t cg = s->c / s->groups;
    return (la_span){ .rows = s->n * s->oh,
                      .yh = s->oh,
                      .yw = s->ow,
                      .h = s->h,
                      .w = s->w,
                      .pitch = s->c,
                      .cols = cg,
                      .th = s->kh,
                      .tw = s->kw,
                      .sh = s->sh,
                      .sw = s->sw,
                      .oh = -s->top,
                      .ow = -s->left,
                      .dh = s->dh,
                      .dw = s->dw,
                      .ypitch = s->o,
                      .ycols = s->o / s->groups,
                      .pieces = 1 };
}

/* The splits' sums: dw itself where there is one split, else a buffer to be given back. */
static int part_of(la_buffer **part, const la_tensor *dw, int32_t splits)
{
    if (splits <= 1)
        return 0;
    return la__buffer_take(part, dw->storage->dev, (size_t)splits * (size_t)la_tensor_numel(dw) * 4);
}

int la__conv_sum_parts(la_device *dev, const char *options, la_tensor *dw, const la_buffer *part, int32_t parts)
{
    const int64_t size = la_tensor_numel(dw);
    if (parts <= 1)
        return 0;
    return la__launch(dev,
                      &(la_launch){ .program = "conv2d_weight",
                                    .options = options,
                                    .entry = "conv2d_sum",
                                    .global = { (size_t)LA_CEIL(size, 16) },
                                    .flops = (double)(size * parts),
                                    .bytes = 4.0 * (double)(size * (parts + 1)) },
                      (la_karg[]){ LA_T(dw), LA_BUF(part), LA_INT(parts), LA_INT(size) }, 4);
}

/* ---- CPUs ---- */

static int weight_tiles(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dw, const la_tensor *dy,
                        const la_tensor *x)
{
    int err = 0;
    la_conv c = *s;
    la_buffer *padded = NULL, *part = NULL;
    const la_buffer *source = x->storage->buffer;
    const bool merge = la__conv_merges_rows(s);

    if (merge) {
        LA_TRY(la__conv_pad(&padded, &c, dev, x));
        source = padded;
    }
    la_span q = span_of(&c);
    if (merge) { /* the whole kernel is one tap whose columns lie in rows of a padded x */
        q.pieces = c.kh;
        q.piece = c.kw * c.c;
        q.gap = c.dh * c.w * c.c;
        q.cols = c.kh * c.kw * c.c;
        q.th = q.tw = 1;
    } else if (s->sh * s->sw * s->kh * s->kw == 1 && s->oh == s->h && s->ow == s->w) { /* a product of matrices */
        q.yh = q.h = 1;
        q.rows = s->n;
        q.yw = q.w = s->h * s->w;
    }
    q.turned = p->turned || merge;
    const int32_t mr = p->tile->mr, nr = p->tile->nr, rows = q.turned ? q.cols : q.ycols;
    const int32_t columns = q.turned ? q.ycols : q.cols, tiles = LA_CEIL(rows, mr);
    const int64_t across = LA_CEIL(tiles, TILES);
    const int64_t down = (int64_t)LA_CEIL(columns, nr) * q.th * q.tw * s->groups;
    q.tiles = (int32_t)LA_CEIL(tiles, across);
    q.gathers = merge || rows < mr;
    q.in_place = !q.gathers && columns % nr == 0 && (q.turned ? q.ypitch : q.pitch * q.sw) <= 64;
    const int32_t splits = choose_splits(s, across * down);
    LA_TRY(part_of(&part, dw, splits));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_weight",
                                    .options = p->options,
                                    .entry = "conv2d_bwd_weight_cpu",
                                    .global = { (size_t)across, (size_t)down, (size_t)splits },
                                    .local = { 1, 1, 1 },
                                    .flops = la__conv_flops(s),
                                    .bytes = la__conv_bytes(s) },
                      (la_karg[]){ LA_BUF(part ? part : dw->storage->buffer), LA_T(dy), LA_BUF(source), LA_STRUCT(q) },
                      4));
    LA_TRY(la__conv_sum_parts(dev, p->options, dw, part, splits));
done:
    la__buffer_give(padded);
    la__buffer_give(part);
    return err;
}

/* ---- depthwise ---- */

static int weight_depthwise(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dw, const la_tensor *dy,
                            const la_tensor *x)
{
    int err = 0;
    la_buffer *part = NULL;
    la_span q = span_of(s);
    const bool cpu = p->method == LA_CPU;
    const int64_t blocks = LA_CEIL(s->c, p->tile->nr), taps = (int64_t)s->kh * s->kw;
    const int32_t splits = choose_split(&q, blocks * taps, cpu ? 256 : 4096);

    LA_TRY(la__buffer_take(&part, dev, (size_t)splits * (size_t)la_tensor_numel(dw) * 4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_weight",
                                    .options = p->options,
                                    .entry = "conv2d_bwd_weight_depthwise",
                                    .global = { (size_t)blocks, (size_t)taps, (size_t)splits },
                                    .local = { cpu ? 1 : 0, 1, 1 },
                                    .flops = la__conv_flops(s),
                                    .bytes = la__conv_bytes(s) },
                      (la_karg[]){ LA_BUF(part), LA_T(dy), LA_T(x), LA_STRUCT(q) }, 4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_weight",
                                    .options = p->options,
                                    .entry = "conv2d_sum_depthwise",
                                    .global = { (size_t)la_tensor_numel(dw) } },
                      (la_karg[]){ LA_T(dw), LA_BUF(part), LA_INT(splits), LA_INT(taps), LA_INT(s->c) }, 5));
done:
    la__buffer_give(part);
    return err;
}

int la__conv_backward_weight(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dw,
                             const la_tensor *dy, const la_tensor *x)
{
    if (s->n == 0)
        return la__fill(dw, 0.0);
    if (p->depthwise)
        return weight_depthwise(dev, s, p, dw, dy, x);
    if (p->method == LA_CPU)
        return weight_tiles(dev, s, p, dw, dy, x);
    if (p->method == LA_GPU)
        return la__conv_weight_gpu(dev, p->gpu, s, dw, dy, x);
    if (p->method == LA_WINOGRAD4 || p->method == LA_WINOGRAD2)
        return la__winograd_backward_weight(dev, s, p, dw, dy, x);
    return la__launch(dev,
                      &(la_launch){ .program = "conv2d",
                                    .entry = "conv2d_bwd_weight",
                                    .global = { (size_t)la_tensor_numel(dw) },
                                    .flops = la__conv_flops(s),
                                    .bytes = la__conv_bytes(s) },
                      (la_karg[]){ LA_T(dw), LA_T(dy), LA_T(x), LA_STRUCT(*s) }, 4);
}

/* What a tile costs for so many rows and columns, in multiply-adds: the empty ones too, and the gathering of columns,
 * which takes as long as one and a half tiles of the rows that meet them. */
static double tile_work(const la_tile *t, int64_t rows, int64_t columns)
{
    const int64_t tiles = LA_CEIL(rows, t->mr), together = LA_CEIL(tiles, LA_CEIL(tiles, TILES));
    return (double)(tiles * t->mr) * (double)(LA_CEIL(columns, t->nr) * t->nr) * (1 + 1.5 / (double)together);
}

la_conv_plan la__conv_plan_weight(la_device *dev, const la_conv *s, la_method wish, la_precision precision)
{
    la_conv_plan fast;
    wish = la__conv_choose(dev, s, wish, precision == LA_STRICT ? "conv2d.weight.strict" : "conv2d.weight");
    if (la__winograd_choose_weight(&fast, dev, s, wish, precision))
        return fast;
    const bool merge = la__conv_merges_rows(s);
    const int32_t of_x = merge ? s->kh * s->kw * s->c : s->c / s->groups, of_y = s->o / s->groups;
    la_conv_plan p = la__conv_plan(dev, s, wish, of_y, of_x);
    if (p.method == LA_CPU && !p.depthwise) {
        const la_conv_plan q = la__conv_plan(dev, s, wish, of_x, of_y);
        if (merge || tile_work(q.tile, of_x, of_y) < 0.95 * tile_work(p.tile, of_y, of_x)) {
            p = q;
            p.turned = true;
        }
    }
    if (p.method != LA_PLAIN && !la__trusted(dev, "conv2d_weight", p.options, la__conv_trial_weight, &p))
        p = (la_conv_plan){ .method = LA_PLAIN };
    return p;
}
