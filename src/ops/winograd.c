/* SPDX-License-Identifier: MIT
 *
 * winograd.c -- runs cl/winograd.cl: transforms the weights, unless they are kept, and goes through the tiles.
 */
#include "ops/winograd.h"

#include <math.h>
#include <stdio.h>

/* The same as `winograd` in cl/winograd.cl. */
typedef struct la_winograd {
    int32_t h, w, c, o, oh, ow, top, left;
    int32_t th, tw, tiles;
    int32_t vpitch, mpitch, row;
    int32_t residual;
    float low, high;
    int32_t block, wide, panels, blocks, items, slot;
} la_winograd;

/* The same as `weights` there. */
typedef struct la_winograd_weights {
    int32_t depth, columns;
    int32_t sk, sj, st;
    int32_t turned;
    int32_t nr, panels, pitch;
    int32_t scaled_by_k;
    int32_t biased, normed;
    float eps;
} la_winograd_weights;

enum { PAD = 32 };

/* One pass: y of it is dx in the data gradient. */
typedef struct job {
    la_device *dev;
    const la_conv_plan *plan;
    la_winograd s;
    int tile, frequencies, lanes, nr, per; /* per: input channels in one place of u and v */
    const la_buffer *y, *x, *residual;
    const la_filter *filter;
    bool gradient;
    double flops;
} job;

bool la__winograd_fits(const la_conv *s)
{
    return s->kh == 3 && s->kw == 3 && s->sh == 1 && s->sw == 1 && s->dh == 1 && s->dw == 1 && s->groups == 1;
}

la_conv_plan la__winograd_plan(const la_device *dev, la_method method, la_method family)
{
    /* sums that fill the registers; MR divides the 16 tiles of a 15 x 15 map */
    static const la_tile wide[] = { { 8, 32, "-DTILE=2 -DLANES=16 -DMR=8 -DNR=32 -DFETCH" },
                                    { 8, 32, "-DTILE=4 -DLANES=16 -DMR=8 -DNR=32 -DFETCH" } };
    static const la_tile elsewhere[] = { { 8, 32, "-DTILE=2 -DLANES=16 -DMR=8 -DNR=32" },
                                         { 8, 32, "-DTILE=4 -DLANES=16 -DMR=8 -DNR=32" } };
    static const la_tile narrow[] = { { 4, 16, "-DTILE=2 -DLANES=8 -DMR=4 -DNR=16" },
                                      { 4, 16, "-DTILE=4 -DLANES=8 -DMR=4 -DNR=16" } };
    static const char *const plain[] = { "-DTILE=2 -DLANES=1", "-DTILE=4 -DLANES=1" };
    const int large = method == LA_WINOGRAD4;
    la_conv_plan p = { .method = method, .options = plain[large] };
    if (family == LA_CPU) {
        p.tile = !la__device_is_cpu(dev)            ? &elsewhere[large]
                 : la__device_float_width(dev) < 16 ? &narrow[large]
                                                    : &wide[large];
        p.options = p.tile->options;
    }
    return p;
}

/* Seen against the direct sum with two cores, kept weights, as shares of its time: F(4x4) 0.36 to 0.5 for 64 channels
 * at 60 x 60, 128 at 30 x 30, 256 at 15 x 15, batch 1 to 8; 0.5 to 0.7 for 16 or 32 channels at 60 x 60; 0.75 for 64 at
 * 7 x 7, batch 2 (8 tiles). With 4 tiles or fewer the weights cost more than the sums: 1.1 to 2.0, where F(2x2), which
 * has four times the tiles, takes 0.7 (7 x 7) to 1.1 (4 x 4). Below 16 channels the vectors stay empty. */
la_method la__winograd_pays(const la_conv *s, la_precision precision)
{
    const int64_t large = (int64_t)s->n * LA_CEIL(s->oh, 4) * LA_CEIL(s->ow, 4);
    const int64_t small = (int64_t)s->n * LA_CEIL(s->oh, 2) * LA_CEIL(s->ow, 2);
    if (s->c < 16 || s->o < 16)
        return LA_AUTO;
    return precision != LA_STRICT && large >= 8 ? LA_WINOGRAD4 : small >= 8 ? LA_WINOGRAD2 : LA_AUTO;
}

bool la__winograd_bf16(la_conv_plan *p, la_device *dev)
{
    static const la_tile tile = { 8, 32, "-DTILE=4 -DLANES=16 -DMR=8 -DNR=32 -DFETCH -DBF16" };
    *p = (la_conv_plan){ .method = LA_WINOGRAD4, .tile = &tile, .options = tile.options, .bf16 = true };
    return la__trusted(dev, "winograd", p->options, la__conv_trial_bf16, p);
}

/* Both passes' choice: the method that pays where none is wished for. */
static bool choose(la_conv_plan *p, la_device *dev, const la_conv *s, la_method wish, la_method pays)
{
    const la_method family = la__method(dev, wish);
    wish = la__wish(wish);
    if (!la__winograd_fits(s))
        return false;
    if (wish == LA_AUTO && family == LA_CPU)
        wish = pays;
    if (wish != LA_WINOGRAD4 && wish != LA_WINOGRAD2)
        return false;
    *p = la__winograd_plan(dev, wish, family);
    return true;
}

bool la__winograd_choose(la_conv_plan *p, la_device *dev, const la_conv *s, la_method wish, la_precision precision)
{
    return choose(p, dev, s, wish, la__winograd_pays(s, precision)) &&
           la__trusted(dev, "winograd", p->options, la__conv_trial_sweep, p);
}

/* Seen against the direct sum with two cores, as shares of its time: 0.43 for 256 channels at 15 x 15 and batch 1 to 8,
 * 0.5 for 128 at 30 x 30, 0.66 for 64 at 60 x 60, 0.75 for 32, 0.95 for 16; 0.9 with 8 tiles, 1 to 1.5 with 4. */
la_method la__winograd_pays_weight(const la_conv *s, la_precision precision)
{
    const int64_t tiles = (int64_t)s->n * LA_CEIL(s->oh, 4) * LA_CEIL(s->ow, 4);
    return precision != LA_STRICT && s->c >= 16 && s->o >= 16 && tiles >= 8 ? LA_WINOGRAD4 : LA_AUTO;
}

bool la__winograd_choose_weight(la_conv_plan *p, la_device *dev, const la_conv *s, la_method wish,
                                la_precision precision)
{
    return choose(p, dev, s, wish, la__winograd_pays_weight(s, precision)) &&
           la__trusted(dev, "winograd_weight", p->options, la__conv_trial_weight, p);
}

/* The transformed weights, made or as they were kept. */
static int transform_weights(la_derived *out, const job *j)
{
    int err = 0;
    char key[80];
    const la_filter *f = j->filter;
    const la_tensor *from[LA_DERIVED_FROM];
    const int n = la__filter_origins(from, f);
    const int32_t depth = j->s.c, columns = j->s.o, nr = j->nr;
    la_winograd_weights t = { .depth = depth,
                              .columns = columns,
                              .sk = j->gradient ? 9 * columns : 1,
                              .sj = j->gradient ? 1 : 9 * depth,
                              .st = j->gradient ? columns : depth,
                              .turned = j->gradient,
                              .nr = nr,
                              .panels = LA_CEIL(columns, nr),
                              .scaled_by_k = j->gradient,
                              .biased = f->bias && !j->gradient,
                              .normed = f->norm[LA_NORM_WEIGHT] != NULL,
                              .eps = (float)f->eps };
    t.pitch = t.panels * LA_CEIL(depth, j->per) * nr;
    const int64_t floats = (int64_t)j->frequencies * t.pitch + t.panels * nr + PAD;
    const la_buffer *w = f->weight->storage->buffer, *norm[LA_NORMS];
    for (int i = 0; i < LA_NORMS; i++)
        norm[i] = t.normed ? f->norm[i]->storage->buffer : w;

    snprintf(key, sizeof key, "winograd %s %d %.9g", j->plan->options, j->gradient, t.normed ? f->eps : 0.0);
    LA_TRY(la__derived_take(out, key, (size_t)floats * 4, n, from));
    if (out->ready)
        goto done;
    LA_TRY(la__launch(j->dev,
                      &(la_launch){ .program = "winograd",
                                    .options = j->plan->options,
                                    .entry = "winograd_weights",
                                    .global = { (size_t)(t.panels * nr / j->lanes) * (size_t)LA_CEIL(depth, j->lanes) },
                                    .local = { j->lanes > 1, 1, 1 },
                                    .bytes = 4.0 * ((double)floats + 9.0 * depth * columns) },
                      (la_karg[]){ LA_BUF(out->buffer), LA_BUF(w), LA_BUF(t.biased ? f->bias->storage->buffer : w),
                                   LA_BUF(norm[LA_NORM_WEIGHT]), LA_BUF(norm[LA_NORM_BIAS]), LA_BUF(norm[LA_NORM_MEAN]),
                                   LA_BUF(norm[LA_NORM_VARIANCE]), LA_STRUCT(t) },
                      8));
done:
    if (err < 0 && out->buffer)
        la__derived_forget(f->weight->storage);
    return err;
}

/* How many tiles and panels a work-item takes at once: what takes the least time by the clocks that the parts have been
 * seen to need. A multiply-add of 16 lanes takes 1/2, the weights come with 31 bytes a clock, and a tile's transforms
 * take 25 a vector, twice that where v and m leave a cache of 1.25 MB. They get 5 MB per core at most. */
static void cut(la_winograd *s, unsigned units, int frequencies, int per, const la_tile *tile)
{
    enum { MOST = 64, CACHE = 5 << 16, SLOT = 5 << 18 };
    double least = INFINITY;
    const int32_t all = LA_CEIL(s->tiles, tile->mr) * tile->mr, depth = LA_CEIL(s->c, per);

    for (int32_t block = tile->mr; block <= MOST && block <= all; block += tile->mr)
        for (int32_t parts = 1; parts <= s->panels; parts++) {
            const int32_t wide = LA_CEIL(s->panels, parts), blocks = LA_CEIL(s->tiles, block);
            const int32_t items = blocks * LA_CEIL(s->panels, wide);
            const double columns = (double)wide * tile->nr, floats = (double)frequencies * block * (depth + columns);
            const double item = frequencies * (double)depth * columns * (block / 32.0 + 0.13) +
                                floats * (floats > CACHE ? 1.4 : 0.7);
            const double time = ceil(items / (double)units) * item;
            if (time < least && (floats <= SLOT || block == tile->mr)) {
                least = time;
                s->block = block;
                s->wide = wide;
                s->blocks = blocks;
                s->items = items;
            }
        }
}

/* One kernel, as many work-items as the device has units. */
static int run_fused(const job *j, const la_buffer *u)
{
    int err = 0;
    la_buffer *scratch = NULL;
    la_winograd s = j->s;
    const unsigned units = la__device_units(j->dev);

    s.panels = LA_CEIL(s.o, j->nr);
    cut(&s, units, j->frequencies, j->per, j->plan->tile);
    const int32_t slots = (unsigned)s.items < units ? s.items : (int32_t)units;
    s.row = s.wide * j->nr;
    /* off the multiples that share lines of the cache */
    s.vpitch = s.block * LA_CEIL(s.c, j->lanes) * j->lanes / j->per + 16;
    s.mpitch = s.block * s.row + 16;
    s.slot = j->frequencies * (s.vpitch + s.mpitch);
    LA_TRY(la__buffer_take(&scratch, j->dev, (size_t)slots * (size_t)s.slot * 4));
    LA_TRY(la__launch(
        j->dev,
        &(la_launch){ .program = "winograd",
                      .options = j->plan->options,
                      .entry = "winograd_fused",
                      .global = { (size_t)slots },
                      .local = { 1, 1, 1 },
                      .flops = j->flops,
                      .bytes = 4.0 * j->frequencies * s.c * s.o },
        (la_karg[]){ LA_BUF(j->y), LA_BUF(j->x), LA_BUF(u), LA_BUF(j->residual), LA_BUF(scratch), LA_STRUCT(s) }, 6));
done:
    la__buffer_give(scratch);
    return err;
}

/* Three kernels through memory. */
static int run_staged(const job *j, const la_buffer *u)
{
    int err = 0;
    la_buffer *v = NULL, *m = NULL;
    la_winograd s = j->s;

    s.panels = 1;
    s.row = s.o;
    s.vpitch = s.tiles * s.c;
    s.mpitch = s.tiles * s.o;
    const double moved = 4.0 * j->frequencies * s.tiles;
    LA_TRY(la__buffer_take(&v, j->dev, (size_t)j->frequencies * (size_t)s.vpitch * 4));
    LA_TRY(la__buffer_take(&m, j->dev, (size_t)j->frequencies * (size_t)s.mpitch * 4));
    LA_TRY(la__launch(j->dev,
                      &(la_launch){ .program = "winograd",
                                    .options = j->plan->options,
                                    .entry = "winograd_input",
                                    .global = { (size_t)s.vpitch },
                                    .bytes = 2.0 * moved * s.c },
                      (la_karg[]){ LA_BUF(v), LA_BUF(j->x), LA_BUF(u), LA_STRUCT(s) }, 4));
    LA_TRY(la__gemm(j->dev, &(la_gemm){ .batch = j->frequencies,
                                        .m = s.tiles,
                                        .n = s.o,
                                        .k = s.c,
                                        .a = v,
                                        .a_step = s.vpitch,
                                        .b = u,
                                        .b_step = (int64_t)s.c * s.o,
                                        .c = m }));
    LA_TRY(la__launch(j->dev,
                      &(la_launch){ .program = "winograd",
                                    .options = j->plan->options,
                                    .entry = "winograd_output",
                                    .global = { (size_t)s.mpitch },
                                    .bytes = 2.0 * moved * s.o },
                      (la_karg[]){ LA_BUF(j->y), LA_BUF(m), LA_BUF(u), LA_BUF(j->residual), LA_STRUCT(s) }, 5));
done:
    la__buffer_give(v);
    la__buffer_give(m);
    return err;
}

static int run(job *j)
{
    int err = 0;
    la_derived u = { 0 };
    la_winograd *s = &j->s;
    const la_tile *t = j->plan->tile;

    j->tile = j->plan->method == LA_WINOGRAD4 ? 4 : 2;
    j->frequencies = (j->tile + 2) * (j->tile + 2);
    j->lanes = t ? t->nr / 2 : 1;
    j->nr = t ? t->nr : s->o;
    j->per = j->plan->bf16 ? 2 : 1;
    s->th = LA_CEIL(s->oh, j->tile);
    s->tw = LA_CEIL(s->ow, j->tile);
    s->tiles *= s->th * s->tw;
    s->residual = j->residual != NULL;
    if (!j->residual)
        j->residual = j->x;
    if (s->tiles == 0)
        return 0;
    LA_TRY(transform_weights(&u, j));
    LA_TRY(t ? run_fused(j, u.buffer) : run_staged(j, u.buffer));
done:
    la__derived_give(&u);
    return err;
}

int la__winograd_forward(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *y, const la_tensor *x,
                         const la_filter *f, const la_epilogue *e)
{
    return run(&(job){ .dev = dev,
                       .plan = p,
                       .s = { .h = s->h,
                              .w = s->w,
                              .c = s->c,
                              .o = s->o,
                              .oh = s->oh,
                              .ow = s->ow,
                              .top = s->top,
                              .left = s->left,
                              .tiles = s->n,
                              .low = e ? e->low : -INFINITY,
                              .high = e ? e->high : INFINITY },
                       .y = y->storage->buffer,
                       .x = x->storage->buffer,
                       .residual = e ? e->residual : NULL,
                       .filter = f,
                       .flops = la__conv_flops(s) });
}

int la__winograd_backward_x(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dx, const la_tensor *dy,
                            const la_filter *f)
{
    return run(&(job){ .dev = dev,
                       .plan = p,
                       .s = { .h = s->oh,
                              .w = s->ow,
                              .c = s->o,
                              .o = s->c,
                              .oh = s->h,
                              .ow = s->w,
                              .top = 2 - s->top,
                              .left = 2 - s->left,
                              .tiles = s->n,
                              .low = -INFINITY,
                              .high = INFINITY },
                       .y = dx->storage->buffer,
                       .x = dy->storage->buffer,
                       .filter = f,
                       .gradient = true,
                       .flops = la__conv_flops(s) });
}
