/* SPDX-License-Identifier: MIT
 *
 * conv2d_sweep.c -- the forward pass and the data gradient as sweeps (cl/conv2d_sweep.cl).
 */
#include "ops/winograd.h"

#include <math.h>
#include <stdio.h>

/* ---- from convolutions to sweeps ---- */

la_sweep_job la__conv_sweep(const la_conv *s)
{
    const int32_t cg = s->c / s->groups, og = s->o / s->groups;
    return (la_sweep_job){
        .sweep = { .rows = s->n * s->oh * s->ow,
                   .ph = s->oh,
                   .pw = s->ow,
                   .h = s->h,
                   .w = s->w,
                   .pitch = s->c,
                   .run = cg,
                   .th = s->kh,
                   .tw = s->kw,
                   .sh = s->sh,
                   .sw = s->sw,
                   .oh = -s->top,
                   .ow = -s->left,
                   .dh = s->dh,
                   .dw = s->dw,
                   .yh = s->oh,
                   .yw = s->ow,
                   .ysh = 1,
                   .ysw = 1,
                   .ypitch = s->o,
                   .cols = og },
        .taps = { .sg = og * s->kh * s->kw * cg, .sn = s->kh * s->kw * cg, .si = s->kw * cg, .sj = cg, .sc = 1 },
        .groups = s->groups,
        .flops = la__conv_flops(s),
        .bytes = la__conv_bytes(s)
    };
}

static int32_t gcd(int32_t a, int32_t b)
{
    return b ? gcd(b, a % b) : a;
}

/* One direction of the data gradient for pixels r, r + stride, ...: which taps k reach them, k = first + t step, and
 * where in y, offset - t advance from the pixel's number among its kind. */
typedef struct residue {
    int32_t positions, taps, first, step, offset, advance;
} residue;

static residue residue_of(int32_t r, int32_t size, int32_t kernel, int32_t stride, int32_t pad, int32_t dilation)
{
    const int32_t common = gcd(stride, dilation);
    residue e = { .positions = LA_CEIL(size - r, stride), .step = stride / common, .advance = dilation / common };
    while (e.first < e.step && e.first < kernel && (r + pad - e.first * dilation) % stride != 0)
        e.first++;
    if (e.first < e.step && e.first < kernel) {
        e.taps = LA_CEIL(kernel - e.first, e.step);
        e.offset = (r + pad - e.first * dilation) / stride;
    }
    return e;
}

static la_sweep_job gradient_job(const la_conv *s, const residue *row, const residue *column, int32_t r, int32_t c)
{
    const int32_t cg = s->c / s->groups, og = s->o / s->groups, plane = s->kh * s->kw * cg;
    la_sweep_job j = { .sweep = { .rows = s->n * row->positions * column->positions,
                                  .ph = row->positions,
                                  .pw = column->positions,
                                  .h = s->oh,
                                  .w = s->ow,
                                  .pitch = s->o,
                                  .run = og,
                                  .th = row->taps,
                                  .tw = column->taps,
                                  .sh = 1,
                                  .sw = 1,
                                  .oh = row->offset,
                                  .ow = column->offset,
                                  .dh = -row->advance,
                                  .dw = -column->advance,
                                  .yh = s->h,
                                  .yw = s->w,
                                  .ysh = s->sh,
                                  .ysw = s->sw,
                                  .yoh = r,
                                  .yow = c,
                                  .ypitch = s->c,
                                  .cols = cg },
                       .taps = { .start = row->first * s->kw * cg + column->first * cg,
                                 .sg = og * plane,
                                 .sn = 1,
                                 .si = row->step * s->kw * cg,
                                 .sj = column->step * cg,
                                 .sc = plane,
                                 .by_run = 1 },
                       .groups = s->groups };
    j.flops = 2.0 * j.sweep.rows * (double)s->c * og * row->taps * column->taps;
    j.bytes = 4.0 * (double)j.sweep.rows * (s->c + s->o);
    return j;
}

/* ---- running a sweep ---- */

/* What one sweep reads and writes. */
typedef struct sweep_io {
    la_device *dev;
    const la_conv_plan *plan;
    const la_buffer *y, *x;
    const la_filter *filter;
    const la_epilogue *epilogue; /* may be NULL */
} sweep_io;

la_after la__conv_after(const la_epilogue *e)
{
    return (la_after){ .scale = -1,
                       .shift = -1,
                       .residual = e && e->residual,
                       .low = e ? e->low : -INFINITY,
                       .high = e ? e->high : INFINITY };
}

static const la_buffer *residual_of(const sweep_io *io)
{
    return io->epilogue && io->epilogue->residual ? io->epilogue->residual : io->x;
}

/* The buffer for packed weights; *filled where it holds them. The key says what the packing kernel is told. */
static int take_packed(la_derived *out, const sweep_io *io, const la_sweep_job *j, size_t floats)
{
    char key[256];
    const la_tensor *from[LA_DERIVED_FROM];
    const la_sweep *s = &j->sweep;
    const la_taps *t = &j->taps;
    const int n = la__filter_origins(from, io->filter);
    snprintf(key, sizeof key, "conv2d %s g%d c%d p%d %dx%dx%d at %d %d %d %d %d %d by %d eps %.9g", io->plan->options,
             j->groups, s->cols, s->pitch, s->th, s->tw, s->run, t->start, t->sg, t->sn, t->si, t->sj, t->sc, t->by_run,
             io->filter->eps);
    return la__derived_take(out, key, floats * 4, n, from);
}

/* Packs by `entry` what has not been packed. */
static int pack(const la_derived *packed, const sweep_io *io, const la_sweep_job *j, la_launch what)
{
    int err = 0;
    la_norm norm = { 0 };
    la_taps t = j->taps;

    if (packed->ready)
        return 0;
    LA_TRY(la__conv_norm(&norm, io->dev, io->filter));
    const la_tensor *w = io->filter->weight;
    t.scale = norm.scale;
    t.shift = t.by_run ? -1 : norm.shift;
    what.program = "conv2d_sweep";
    what.options = io->plan->options;
    LA_TRY(
        la__launch(io->dev, &what,
                   (la_karg[]){ LA_BUF(packed->buffer), LA_T(w), LA_BUF(norm.buffer ? norm.buffer : w->storage->buffer),
                                LA_STRUCT(j->sweep), LA_STRUCT(t) },
                   5));
done:
    if (err < 0)
        la__derived_forget(io->filter->weight->storage);
    la__conv_norm_give(&norm);
    return err;
}

/* Tiles of a work-item: several, since starting one takes a while, where each unit still gets many. */
static int32_t tiles_each(int64_t tiles, unsigned units)
{
    const int64_t each = tiles / (32 * (int64_t)units);
    return each < 1 ? 1 : each > 8 ? 8 : (int32_t)each;
}

static int sweep_tiles(const sweep_io *io, la_sweep_job j)
{
    int err = 0;
    la_derived packed = { 0 };
    const la_tile *tile = io->plan->tile;
    const int64_t depth = (int64_t)j.sweep.th * j.sweep.tw * j.sweep.run, panels = LA_CEIL(j.sweep.cols, tile->nr);
    const int64_t zeros = LA_CEIL(j.sweep.run, tile->nr), rows = LA_CEIL(j.sweep.rows, tile->mr);
    const int64_t packed_rows = j.groups * panels * (depth + 1) + zeros;
    const la_after after = la__conv_after(io->epilogue);
    const int32_t each = tiles_each(rows * panels * j.groups, la__device_units(io->dev));

    const int64_t items = LA_CEIL(rows, each);

    /* panels that fit the cache together come first, so that pixels of y are written whole */
    j.sweep.panels_first = panels * depth * tile->nr <= 140000;
    LA_TRY(take_packed(&packed, io, &j, (size_t)(packed_rows * tile->nr)));
    LA_TRY(pack(&packed, io, &j,
                (la_launch){ .entry = "conv2d_pack",
                             .global = { (size_t)(depth / 16 + 1), (size_t)panels, (size_t)j.groups },
                             .local = { 1, 1, 1 },
                             .bytes = 8.0 * (double)(depth * j.groups * j.sweep.cols) }));
    LA_TRY(la__launch(io->dev,
                      &(la_launch){ .program = "conv2d_sweep",
                                    .options = io->plan->options,
                                    .entry = "conv2d_sweep_cpu",
                                    .global = { (size_t)(j.sweep.panels_first ? panels : items),
                                                (size_t)(j.sweep.panels_first ? items : panels), (size_t)j.groups },
                                    .local = { 1, 1, 1 },
                                    .flops = j.flops,
                                    .bytes = j.bytes },
                      (la_karg[]){ LA_BUF(io->y), LA_BUF(io->x), LA_BUF(packed.buffer), LA_BUF(residual_of(io)),
                                   LA_STRUCT(j.sweep), LA_STRUCT(after), LA_INT(each) },
                      7));
done:
    la__derived_give(&packed);
    return err;
}

static int sweep_local_tiles(const sweep_io *io, la_sweep_job j)
{
    int err = 0;
    la_norm norm = { 0 };
    const la_after after = la__conv_after(io->epilogue);
    const la_buffer *w = io->filter->weight->storage->buffer;

    LA_TRY(la__conv_norm(&norm, io->dev, io->filter));
    j.taps.scale = norm.scale;
    j.taps.shift = j.taps.by_run ? -1 : norm.shift;
    LA_TRY(la__conv_sweep_gpu(io->dev, io->plan->gpu, &j, &after, io->y, io->x, w, norm.buffer ? norm.buffer : w,
                              residual_of(io)));
done:
    la__conv_norm_give(&norm);
    return err;
}

static int sweep_depthwise(const sweep_io *io, const la_sweep_job *j)
{
    int err = 0;
    la_derived packed = { 0 };
    const bool cpu = io->plan->method == LA_CPU;
    const size_t floats = (size_t)(j->sweep.th * j->sweep.tw + 2) * (size_t)j->sweep.pitch;
    const int32_t lines = j->sweep.pw > 0 ? j->sweep.rows / j->sweep.pw : 0, lanes = io->plan->tile->nr;
    const la_after after = la__conv_after(io->epilogue);

    LA_TRY(take_packed(&packed, io, j, floats));
    LA_TRY(pack(&packed, io, j, (la_launch){ .entry = "conv2d_pack_depthwise", .global = { floats } }));
    la_launch what = { .program = "conv2d_sweep",
                       .options = io->plan->options,
                       .entry = "conv2d_sweep_depthwise",
                       .global = { (size_t)LA_CEIL(j->sweep.pitch, lanes), (size_t)lines,
                                   cpu ? 1 : (size_t)LA_CEIL(j->sweep.pw, 8) },
                       .local = { cpu ? 1 : 0, 1, 1 },
                       .flops = j->flops,
                       .bytes = j->bytes };
    if (io->plan->whole) {
        what.program = "conv2d_depthwise";
        what.options = io->plan->whole->options;
        what.entry = "conv2d_depthwise";
        what.global[0] = (size_t)lines;
        what.global[1] = 1;
    }
    LA_TRY(la__launch(io->dev, &what,
                      (la_karg[]){ LA_BUF(io->y), LA_BUF(io->x), LA_BUF(packed.buffer), LA_BUF(residual_of(io)),
                                   LA_STRUCT(j->sweep), LA_STRUCT(after) },
                      6));
done:
    la__derived_give(&packed);
    return err;
}

static int run(const sweep_io *io, const la_sweep_job *j)
{
    if (j->sweep.rows == 0)
        return 0;
    return io->plan->depthwise          ? sweep_depthwise(io, j)
           : io->plan->method == LA_CPU ? sweep_tiles(io, *j)
                                        : sweep_local_tiles(io, *j);
}

/* ---- the passes ---- */

int la__conv_pad(la_buffer **out, la_conv *s, la_device *dev, const la_tensor *x)
{
    int err = 0;
    const int32_t h = s->sh * (s->oh - 1) + s->dh * (s->kh - 1) + 1, w = s->sw * (s->ow - 1) + s->dw * (s->kw - 1) + 1;
    LA_TRY(la__buffer_take(out, dev, (size_t)s->n * (size_t)h * (size_t)w * (size_t)s->c * 4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_sweep",
                                    .entry = "conv2d_pad",
                                    .global = { (size_t)s->n * (size_t)h },
                                    .bytes = 8.0 * (double)s->n * h * w * s->c },
                      (la_karg[]){ LA_BUF(*out), LA_T(x), LA_INT(s->n), LA_INT(s->h), LA_INT(s->w), LA_INT(s->c),
                                   LA_INT(h), LA_INT(w), LA_INT(s->top), LA_INT(s->left) },
                      10));
    s->h = h;
    s->w = w;
    s->top = s->left = 0;
done:
    return err;
}

/* The plain kernels, forward and data gradient: they differ in their last arguments alone. */
static int plain(const sweep_io *io, const la_conv *s, int64_t count, bool data_gradient)
{
    int err = 0;
    la_norm norm = { 0 };
    la_after after = la__conv_after(io->epilogue);
    const la_tensor *w = io->filter->weight;

    LA_TRY(la__conv_norm(&norm, io->dev, io->filter));
    after.scale = norm.scale;
    after.shift = norm.shift;
    const la_buffer *b = norm.buffer ? norm.buffer : w->storage->buffer;
    const la_launch what = { .program = "conv2d",
                             .entry = data_gradient ? "conv2d_bwd_x" : "conv2d_fwd",
                             .global = { (size_t)count },
                             .flops = la__conv_flops(s),
                             .bytes = la__conv_bytes(s) };
    if (data_gradient)
        LA_TRY(la__launch(
            io->dev, &what,
            (la_karg[]){ LA_BUF(io->y), LA_BUF(io->x), LA_T(w), LA_BUF(b), LA_STRUCT(*s), LA_INT(norm.scale) }, 6));
    else
        LA_TRY(la__launch(io->dev, &what,
                          (la_karg[]){ LA_BUF(io->y), LA_BUF(io->x), LA_T(w), LA_BUF(b), LA_BUF(residual_of(io)),
                                       LA_STRUCT(*s), LA_STRUCT(after) },
                          7));
done:
    la__conv_norm_give(&norm);
    return err;
}

int la__conv_forward(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *y, const la_tensor *x,
                     const la_filter *f, const la_epilogue *e)
{
    int err = 0;
    la_buffer *padded = NULL;
    la_conv q = *s;
    sweep_io io = { dev, p, y->storage->buffer, x->storage->buffer, f, e };

    if (p->method == LA_PLAIN)
        return plain(&io, s, la_tensor_numel(y), false);
    if (p->method == LA_WINOGRAD4 || p->method == LA_WINOGRAD2)
        return la__winograd_forward(dev, s, p, y, x, f, e);
    const bool merge = p->method == LA_CPU && !p->depthwise && la__conv_merges_rows(s) && s->n > 0;
    if (merge) {
        LA_TRY(la__conv_pad(&padded, &q, dev, x));
        io.x = padded;
    }
    la_sweep_job j = la__conv_sweep(&q);
    if (merge) { /* a row of the kernel is one tap */
        j.sweep.run *= j.sweep.tw;
        j.sweep.tw = 1;
    }
    LA_TRY(run(&io, &j));
done:
    la__buffer_give(padded);
    return err;
}

/* Pixels of x that no tap reaches: a stride wider than the kernel, or a dilation that shares a factor with it. */
static bool leaves_gaps(const la_conv *s)
{
    for (int32_t r = 0; r < s->sh && r < s->h; r++)
        if (residue_of(r, s->h, s->kh, s->sh, s->top, s->dh).taps == 0)
            return true;
    for (int32_t c = 0; c < s->sw && c < s->w; c++)
        if (residue_of(c, s->w, s->kw, s->sw, s->left, s->dw).taps == 0)
            return true;
    return false;
}

int la__conv_backward_x(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dx, const la_tensor *dy,
                        const la_filter *f)
{
    int err = 0;
    const sweep_io io = { dev, p, dx->storage->buffer, dy->storage->buffer, f, NULL };
    if (p->method == LA_PLAIN)
        return plain(&io, s, la_tensor_numel(dx), true);
    if (p->narrow)
        return la__conv_narrow_x(dev, s, p, dx, dy, f);
    if (p->method == LA_WINOGRAD4 || p->method == LA_WINOGRAD2)
        return la__winograd_backward_x(dev, s, p, dx, dy, f);
    /* the tiles can write the zeros between the pixels of the only residue that there is: less memory to go through */
    const bool clears = p->method == LA_CPU && !p->depthwise && s->kh * s->kw == 1 && s->top + s->left == 0;
    if (!clears && leaves_gaps(s))
        LA_TRY(la__fill(dx, 0.0));
    for (int32_t r = 0; r < s->sh && r < s->h; r++)
        for (int32_t c = 0; c < s->sw && c < s->w; c++) {
            const residue row = residue_of(r, s->h, s->kh, s->sh, s->top, s->dh);
            const residue column = residue_of(c, s->w, s->kw, s->sw, s->left, s->dw);
            if (row.taps * column.taps == 0)
                continue;
            la_sweep_job j = gradient_job(s, &row, &column, r, c);
            j.sweep.clears = clears;
            LA_TRY(run(&io, &j));
        }
done:
    return err;
}

/* ---- the choice ---- */

la_method la__conv_choose(la_device *dev, const la_conv *s, la_method wish, const char *pass)
{
    return la__choose(dev, wish, pass, "%dx%dx%dx%d %dx%dx%d %dx%d s%d,%d p%d,%d d%d,%d g%d", s->n, s->h, s->w, s->c,
                      s->o, s->kh, s->kw, s->oh, s->ow, s->sh, s->sw, s->top, s->left, s->dh, s->dw, s->groups);
}

la_conv_plan la__conv_plan(la_device *dev, const la_conv *s, la_method wish, int64_t rows, int64_t columns)
{
    /* depthwise: so many channels at once */
    static const la_tile lanes[] = { { 1, 16, "-DV=16" }, { 1, 8, "-DV=8" }, { 1, 4, "-DV=4" } };
    wish = la__wish(wish);
    la_conv_plan p = { .method = la__method(dev, wish) };

    p.depthwise = p.method != LA_PLAIN && s->groups == s->c && s->o == s->c && s->c >= 4;
    if (p.depthwise)
        p.tile = &lanes[p.method == LA_GPU || s->c < 8 ? 2 : s->c < 16 || la__device_float_width(dev) < 16 ? 1 : 0];
    else if (p.method == LA_CPU)
        p.tile = la__tile_named(wish) ? la__tile_named(wish) : la__tile(dev, rows, columns);
    else if (p.method == LA_GPU && (p.gpu = la__conv_gpu_tile(dev, s, wish, rows, columns)) == NULL)
        p.method = LA_PLAIN;
    p.options = p.tile ? p.tile->options : p.gpu ? p.gpu->options : NULL;
    return p;
}

/* The data gradient's taps go backwards: for the general form. */
static const la_whole *choose_whole(const la_conv *s, const la_conv_plan *p, bool data_gradient)
{
    static const la_whole any = { NULL, 0, 0 }, square[] = {
        { "-DK=3 -DS=1", 3, 1 }, { "-DK=3 -DS=2", 3, 2 }, { "-DK=5 -DS=1", 5, 1 }, { "-DK=5 -DS=2", 5, 2 }
    };
    if (!p->depthwise || p->method != LA_CPU || p->tile->nr != 16 || s->kh * s->kw > 49)
        return NULL;
    for (int i = 0; i < LA_COUNT(square) && !data_gradient; i++)
        if (s->kh == square[i].kernel && s->kw == s->kh && s->sw == square[i].stride && s->dw == 1 && s->ow >= 5)
            return &square[i];
    return &any;
}

la_conv_plan la__conv_plan_sweep(la_device *dev, const la_conv *s, la_method wish, la_precision precision,
                                 bool data_gradient)
{
    static const char *const passes[][2] = { { "conv2d.forward", "conv2d.data" },
                                             { "conv2d.forward.strict", "conv2d.data.strict" },
                                             { "conv2d.forward.bfloat16", "conv2d.data.bfloat16" } };
    la_conv_plan p;
    wish = la__conv_choose(dev, s, wish, passes[precision][data_gradient]);
    if (la__winograd_choose(&p, dev, s, wish, precision))
        return p;
    if (data_gradient && la__conv_plan_narrow(&p, dev, s, wish))
        return p;
    p = la__conv_plan(dev, s, wish, 0, (data_gradient ? s->c : s->o) / s->groups);
    if (p.method != LA_PLAIN && !la__trusted(dev, "conv2d_sweep", p.options, la__conv_trial_sweep, &p))
        p = (la_conv_plan){ .method = LA_PLAIN };
    p.whole = choose_whole(s, &p, data_gradient);
    if (p.whole && !la__trusted(dev, "conv2d_depthwise", p.whole->options, la__conv_trial_whole, &p))
        p.whole = NULL;
    return p;
}
