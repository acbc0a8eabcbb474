/* SPDX-License-Identifier: MIT
 *
 * winograd_weight.c -- runs cl/winograd_weight.cl: tiles are transformed chunk by chunk and multiplied while they are
 * in the caches.
 */
#include "ops/winograd.h"

/* The same as `span` in cl/winograd_weight.cl. */
typedef struct la_winograd_span {
    int32_t h, w, c, o, oh, ow, top, left;
    int32_t th, tw, tiles;
    int32_t chunk, first;
    int32_t xwide, ywide;
    int32_t vpitch, epitch;
    int32_t rows, pitch;
    int32_t panels, groups, items;
} la_winograd_span;

/* One gradient. `lanes` and `nr` are the channels of a vector and of a panel of x; nr is 0 without a tile. */
typedef struct job {
    la_device *dev;
    const la_conv_plan *plan;
    la_winograd_span s;
    int frequencies, lanes, nr;
    const la_buffer *x, *dy;
    double flops;
} job;

/* Tiles of a chunk: with all their channels they fill some 10 MB. It depends on the shape alone, so that every machine
 * adds in the same order. */
static int32_t choose_chunk(const la_winograd_span *s, int frequencies)
{
    const int32_t room = 2600000 / frequencies / (s->c + s->o), most = room < 64 ? 64 : room > 512 ? 512 : room;
    return LA_CEIL(s->tiles, LA_CEIL(s->tiles, most));
}

static int transform(const job *j, const la_buffer *v, const la_buffer *e, int32_t chunks)
{
    const la_winograd_span *s = &j->s;
    const int64_t left = (int64_t)s->tiles - (int64_t)s->first * s->chunk, all = (int64_t)chunks * s->chunk;
    const int64_t tiles = left < all ? left : all;
    return la__launch(j->dev,
                      &(la_launch){ .program = "winograd_weight",
                                    .options = j->plan->options,
                                    .entry = "winograd_weight_tiles",
                                    .global = { (size_t)(tiles * (j->nr ? 2 : s->c + s->o)) },
                                    .local = { j->nr ? 1 : 0, 1, 1 },
                                    .bytes = 8.0 * (double)tiles * j->frequencies * (s->c + s->o) },
                      (la_karg[]){ LA_BUF(v), LA_BUF(e), LA_BUF(j->x), LA_BUF(j->dy), LA_STRUCT(*s) }, 5);
}

/* Three kernels through memory. */
static int run_staged(job *j, const la_buffer *dw)
{
    int err = 0;
    la_buffer *v = NULL, *e = NULL, *m = NULL;
    la_winograd_span *s = &j->s;
    const size_t frequencies = (size_t)j->frequencies, pairs = (size_t)s->c * (size_t)s->o;

    s->chunk = s->tiles;
    s->xwide = s->c;
    s->ywide = s->o;
    s->vpitch = s->tiles * s->c;
    s->epitch = s->tiles * s->o;
    s->pitch = s->c * s->o;
    LA_TRY(la__buffer_take(&v, j->dev, frequencies * (size_t)s->vpitch * 4));
    LA_TRY(la__buffer_take(&e, j->dev, frequencies * (size_t)s->epitch * 4));
    LA_TRY(la__buffer_take(&m, j->dev, frequencies * pairs * 4));
    LA_TRY(transform(j, v, e, 1));
    LA_TRY(la__gemm(j->dev, &(la_gemm){ .batch = j->frequencies,
                                        .m = s->o,
                                        .n = s->c,
                                        .k = s->tiles,
                                        .ta = true,
                                        .a = e,
                                        .a_step = s->epitch,
                                        .b = v,
                                        .b_step = s->vpitch,
                                        .c = m }));
    LA_TRY(la__launch(j->dev,
                      &(la_launch){ .program = "winograd_weight",
                                    .options = j->plan->options,
                                    .entry = "winograd_weight_taps",
                                    .global = { pairs },
                                    .bytes = 4.0 * (double)(pairs * (frequencies + 9)) },
                      (la_karg[]){ LA_BUF(dw), LA_BUF(m), LA_STRUCT(*s) }, 3));
done:
    la__buffer_give(v);
    la__buffer_give(e);
    la__buffer_give(m);
    return err;
}

/* The products of so many chunks from s.first on, as many work-items as the device has units. */
static int multiply(job *j, const la_buffer *part, const la_buffer *v, const la_buffer *e, const la_buffer *m,
                    int32_t slots, int32_t chunks)
{
    la_winograd_span *s = &j->s;
    s->items = s->groups * s->panels * chunks;
    return la__launch(
        j->dev,
        &(la_launch){ .program = "winograd_weight",
                      .options = j->plan->options,
                      .entry = "winograd_weight_products",
                      .global = { (size_t)(slots < s->items ? slots : s->items) },
                      .local = { 1, 1, 1 },
                      .flops = j->flops * chunks / LA_CEIL(s->tiles, s->chunk),
                      .bytes = 4.0 * chunks *
                               (j->frequencies * (double)s->chunk * (s->c + s->o) + 9.0 * (double)s->c * s->o) },
        (la_karg[]){ LA_BUF(part), LA_BUF(v), LA_BUF(e), LA_BUF(m), LA_STRUCT(*s) }, 5);
}

/* Chunk by chunk, several at a time where there are units for them. */
static int run_chunks(job *j, la_tensor *dw)
{
    enum { ROWS = 64 }; /* whose products with a panel, 0.3 MB, stay in the cache */
    int err = 0;
    la_buffer *v = NULL, *e = NULL, *m = NULL, *part = NULL;
    la_winograd_span *s = &j->s;
    const int32_t units = (int32_t)la__device_units(j->dev), mr = j->plan->tile->mr;
    const size_t frequencies = (size_t)j->frequencies;

    s->chunk = choose_chunk(s, j->frequencies);
    const int32_t chunks = LA_CEIL(s->tiles, s->chunk);
    s->xwide = j->nr;
    s->ywide = j->lanes;
    s->panels = LA_CEIL(s->c, j->nr);
    s->vpitch = s->chunk * s->panels * j->nr + 16; /* off the multiples that share lines of the cache */
    s->epitch = s->chunk * LA_CEIL(s->o, j->lanes) * j->lanes + 16;
    for (s->rows = ROWS; s->rows > mr && s->panels * LA_CEIL(s->o, s->rows) < 4 * units;)
        s->rows -= mr;
    s->groups = LA_CEIL(s->o, s->rows);
    s->pitch = s->rows * j->nr + 16;
    const int32_t wish = LA_CEIL(4 * units, s->panels * s->groups), together = wish < chunks ? wish : chunks;

    LA_TRY(la__buffer_take(&v, j->dev, (size_t)together * frequencies * (size_t)s->vpitch * 4));
    LA_TRY(la__buffer_take(&e, j->dev, (size_t)together * frequencies * (size_t)s->epitch * 4));
    LA_TRY(la__buffer_take(&m, j->dev, (size_t)units * frequencies * (size_t)s->pitch * 4));
    if (chunks > 1)
        LA_TRY(la__buffer_take(&part, j->dev, (size_t)chunks * 36 * (size_t)s->c * (size_t)s->o));
    for (s->first = 0; s->first < chunks; s->first += together) {
        const int32_t now = together < chunks - s->first ? together : chunks - s->first;
        LA_TRY(transform(j, v, e, now));
        LA_TRY(multiply(j, part ? part : dw->storage->buffer, v, e, m, units, now));
    }
    LA_TRY(la__conv_sum_parts(j->dev, NULL, dw, part, chunks));
done:
    la__buffer_give(v);
    la__buffer_give(e);
    la__buffer_give(m);
    la__buffer_give(part);
    return err;
}

int la__winograd_backward_weight(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dw,
                                 const la_tensor *dy, const la_tensor *x)
{
    const int tile = p->method == LA_WINOGRAD4 ? 4 : 2;
    job j = { .dev = dev,
              .plan = p,
              .s = { .h = s->h,
                     .w = s->w,
                     .c = s->c,
                     .o = s->o,
                     .oh = s->oh,
                     .ow = s->ow,
                     .top = s->top,
                     .left = s->left,
                     .th = LA_CEIL(s->oh, tile),
                     .tw = LA_CEIL(s->ow, tile),
                     .tiles = s->n * LA_CEIL(s->oh, tile) * LA_CEIL(s->ow, tile) },
              .frequencies = (tile + 2) * (tile + 2),
              .lanes = p->tile ? p->tile->nr / 2 : 1,
              .nr = p->tile ? p->tile->nr : 0,
              .x = x->storage->buffer,
              .dy = dy->storage->buffer,
              .flops = la__conv_flops(s) };
    return p->tile ? run_chunks(&j, dw) : run_staged(&j, dw->storage->buffer);
}
