/* SPDX-License-Identifier: MIT
 *
 * conv2d_narrow.c -- the data gradient of a convolution from few channels: the first layer of a network, where the
 * picture is to be trained or was warped (cl/conv2d_narrow.cl).
 */
#include "ops/conv2d.h"

/* Mirrors `narrow` in cl/conv2d_narrow.cl. */
typedef struct narrow {
    int32_t h, w, c, o, kh, run, oh, ow;
    int32_t sh, sw, top, left, dh;
    int32_t columns, bands;
    int32_t scale;
} narrow;

/* Bands of rows of an image: pieces of work, some 16 in all. Each repeats the rows of y that its neighbours need too,
 * so that they should not be thin. */
static int32_t choose_bands(const la_conv *s)
{
    const int32_t least = 4 * (s->kh - 1) * s->dh + 1, wish = LA_CEIL(16, s->n), most = LA_CEIL(s->h, least);
    return wish < most ? wish : most;
}

int la__conv_narrow_x(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dx, const la_tensor *dy,
                      const la_filter *f)
{
    int err = 0;
    la_norm norm = { 0 };
    la_buffer *packed = NULL;
    narrow q = { .h = s->h,
                 .w = s->w,
                 .c = s->c,
                 .o = s->o,
                 .kh = s->kh,
                 .run = s->kw * s->c,
                 .oh = s->oh,
                 .ow = s->ow,
                 .sh = s->sh,
                 .sw = s->sw,
                 .top = s->top,
                 .left = s->left,
                 .dh = s->dh,
                 .columns = s->kh * s->kw * s->c };
    const int32_t nr = p->tile->nr, panels = LA_CEIL(q.columns, nr);

    if (s->n == 0)
        return 0;
    q.bands = choose_bands(s);
    LA_TRY(la__conv_norm(&norm, dev, f));
    q.scale = norm.scale;
    const la_buffer *w = f->weight->storage->buffer;
    LA_TRY(la__buffer_take(&packed, dev, (size_t)panels * (size_t)s->o * (size_t)nr * 4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_narrow",
                                    .options = p->options,
                                    .entry = "conv2d_narrow_pack",
                                    .global = { (size_t)s->o, (size_t)panels },
                                    .bytes = 8.0 * (double)s->o * q.columns },
                      (la_karg[]){ LA_BUF(packed), LA_BUF(w), LA_BUF(norm.buffer ? norm.buffer : w), LA_STRUCT(q) },
                      4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_narrow",
                                    .options = p->options,
                                    .entry = "conv2d_narrow_bwd_x",
                                    .global = { (size_t)q.bands, (size_t)s->n },
                                    .local = { 1, 1, 1 },
                                    .flops = la__conv_flops(s),
                                    .bytes = la__conv_bytes(s) },
                      (la_karg[]){ LA_T(dx), LA_T(dy), LA_BUF(packed), LA_STRUCT(q) }, 4));
done:
    la__conv_norm_give(&norm);
    la__buffer_give(packed);
    return err;
}

bool la__conv_plan_narrow(la_conv_plan *p, la_device *dev, const la_conv *s, la_method wish)
{
    if (!la__conv_merges_rows(s))
        return false;
    la_conv_plan q = la__conv_plan(dev, s, wish, 0, s->kh * s->kw * s->c);
    q.narrow = true;
    if (q.method != LA_CPU || !la__trusted(dev, "conv2d_narrow", q.options, la__conv_trial_narrow, &q))
        return false;
    *p = q;
    return true;
}
