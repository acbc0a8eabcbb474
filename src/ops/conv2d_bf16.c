/* SPDX-License-Identifier: MIT
 *
 * conv2d_bf16.c -- the forward pass with factors rounded to bfloat16, on processors that multiply pairs of them
 * (cl/conv2d_bf16.cl).
 */
#include "ops/conv2d.h"

#include <math.h>
#include <stdio.h>

enum { MR = 12, NR = 32, PAIRS = 128 }; /* as in the kernel */

/* The same as `dealt` there. */
typedef struct la_dealt {
    int32_t groups, ranges, parts, slot;
} la_dealt;

/* ---- whether it works ---- */

/* A bfloat16 of a small whole number: the upper half of the float. */
static uint32_t bits_of(float x)
{
    union {
        float f;
        uint32_t u;
    } v = { .f = x };
    return v.u >> 16;
}

/* A product of small whole numbers, exact in bfloat16, in another process: 5 pixels of 41 channels to 35. */
static int probe(bool *works, la_device *dev)
{
    enum { M = 5, C = 41, O = 35, HALF = (C + 1) / 2, LINES = 2 * HALF + 2 };
    float x[M * C], y[M * O] = { 0 }, expected[M * O] = { 0 };
    uint32_t packed[LINES * NR] = { 0 };
    const la_after after = { -1, -1, 0, -INFINITY, INFINITY };
    const la_sweep s = la__conv_sweep(&(la_conv){ .n = 1,
                                                  .h = M,
                                                  .w = 1,
                                                  .c = C,
                                                  .o = O,
                                                  .kh = 1,
                                                  .kw = 1,
                                                  .oh = M,
                                                  .ow = 1,
                                                  .sh = 1,
                                                  .sw = 1,
                                                  .dh = 1,
                                                  .dw = 1,
                                                  .groups = 1 })
                           .sweep;
    uint32_t scratch[MR * PAIRS] = { 0 };
    const la_dealt dealt = { 1, 1, 1, MR * PAIRS };

    for (int i = 0; i < M * C; i++)
        x[i] = (float)(i * 7 % 13 - 6);
    for (int o = 0; o < O; o++)
        for (int c = 0; c < C; c++) {
            const float w = (float)((o * 5 + c * 3) % 11 - 5);
            packed[(o / NR * HALF + c / 2) * NR + o % NR] |= bits_of(w) << (c % 2 * 16);
            for (int m = 0; m < M; m++)
                expected[m * O + o] += w * x[m * C + c];
        }
    return la__program_probe(
        works, dev,
        &(la_launch){ .program = "conv2d_bf16", .entry = "conv2d_bf16_sweep", .global = { 1 }, .local = { 1, 1, 1 } },
        (la_probe_arg[]){ LA_PROBE_BUF(y), LA_PROBE_BUF(x), LA_PROBE_BUF(packed), LA_PROBE_BUF(x),
                          LA_PROBE_BUF(scratch), LA_PROBE_VALUE(s), LA_PROBE_VALUE(after), LA_PROBE_VALUE(dealt) },
        8, expected, 1e-6f);
}

int la__conv_bf16_works(bool *works, la_device *dev)
{
    enum { GOOD = 1, BAD = 2 };
    int err = 0, verdict = la__program_verdict(dev, "conv2d_bf16", "probed");
    if (verdict == 0) {
        bool good = false;
        if (la__device_is_cpu(dev) && la__device_float_width(dev) >= 16)
            LA_TRY(probe(&good, dev));
        verdict = good ? GOOD : BAD;
        la__program_judge(dev, "conv2d_bf16", "probed", verdict);
    }
    *works = verdict == GOOD && la__trusted(dev, "conv2d_bf16", NULL, la__conv_trial_bf16,
                                            &(la_conv_plan){ .method = LA_CPU, .bf16 = true });
done:
    return err;
}

/* ---- the pass ---- */

static int pack(la_derived *packed, la_device *dev, const la_sweep_job *j, const la_filter *f)
{
    int err = 0;
    char key[96];
    const la_tensor *from[LA_DERIVED_FROM];
    const int n = la__filter_origins(from, f);
    const la_sweep *s = &j->sweep;
    const int64_t lines = (int64_t)j->groups * LA_CEIL(s->cols, NR) * (s->th * s->tw * LA_CEIL(s->run, 2) + 1);
    la_norm norm = { 0 };
    la_taps t = j->taps;

    snprintf(key, sizeof key, "conv2d bf16 g%d %dx%dx%d eps %.9g", j->groups, s->th, s->tw, s->run, f->eps);
    LA_TRY(la__derived_take(packed, key, (size_t)lines * NR * 4, n, from));
    if (packed->ready)
        return 0;
    LA_TRY(la__conv_norm(&norm, dev, f));
    t.scale = norm.scale;
    t.shift = norm.shift;
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_bf16",
                                    .entry = "conv2d_bf16_pack",
                                    .global = { (size_t)lines },
                                    .bytes = 6.0 * NR * (double)lines },
                      (la_karg[]){ LA_BUF(packed->buffer), LA_T(f->weight),
                                   LA_BUF(norm.buffer ? norm.buffer : f->weight->storage->buffer), LA_STRUCT(*s),
                                   LA_STRUCT(t), LA_INT(j->groups) },
                      6));
done:
    if (err < 0)
        la__derived_forget(f->weight->storage);
    la__conv_norm_give(&norm);
    return err;
}

/* Pairs that a row of rounded pixels takes. */
static int64_t row_of(const la_sweep *s)
{
    const int64_t run = LA_CEIL(s->run, 2), taps = s->th * s->tw;
    return PAIRS * (run > PAIRS ? taps * LA_CEIL(run, PAIRS) : LA_CEIL(taps, PAIRS / run));
}

/* Ranges of positions and parts of the panels: what takes the least time, in steps of a tile over one pair. A panel
 * takes 12 of them for each tile, its rounding 4.5 whatever the panels, and fetching a panel's weights 4. What is
 * rounded is to stay near: in half of a second-level cache where weights that fit none are to be met seldom. */
static la_dealt deal(const la_sweep_job *j, unsigned units)
{
    enum { CACHE = 128 << 10, WEIGHTS = 256 << 10 };
    la_dealt best = { .groups = j->groups };
    const int64_t row = row_of(&j->sweep), tiles = LA_CEIL(j->sweep.rows, MR), panels = LA_CEIL(j->sweep.cols, NR);
    const int64_t cache = panels * NR * row * 4 > WEIGHTS ? 4 * CACHE : CACHE, fits = cache / (row * MR * 4);
    const int64_t least_ranges = LA_CEIL(tiles, fits > 0 ? fits : 1);
    double least = INFINITY;

    for (int64_t parts = 1; parts <= panels && parts <= units; parts++)
        for (int64_t ranges = least_ranges; ranges <= tiles && ranges < least_ranges + units; ranges++) {
            const double t = (double)LA_CEIL(tiles, ranges), p = (double)LA_CEIL(panels, parts);
            const double time = (double)LA_CEIL(ranges * parts * j->groups, (int64_t)units) *
                                (12 * t * p + 4.5 * t + 4 * p);
            if (time < least) {
                least = time;
                best.ranges = (int32_t)ranges;
                best.parts = (int32_t)parts;
            }
        }
    best.slot = (int32_t)(LA_CEIL(tiles, best.ranges) * MR * row);
    return best;
}

int la__conv_bf16_forward(la_device *dev, const la_conv *s, la_tensor *y, const la_tensor *x, const la_filter *f,
                          const la_epilogue *e)
{
    int err = 0;
    la_derived packed = { 0 };
    la_buffer *padded = NULL, *scratch = NULL;
    la_conv q = *s;
    const la_buffer *source = x->storage->buffer;
    const la_after after = la__conv_after(e);

    if (la_tensor_numel(y) == 0)
        return 0;
    if (la__conv_merges_rows(s)) {
        LA_TRY(la__conv_pad(&padded, &q, dev, x));
        source = padded;
    }
    la_sweep_job j = la__conv_sweep(&q);
    if (padded) { /* a row of the kernel is one tap */
        j.sweep.run *= j.sweep.tw;
        j.sweep.tw = 1;
    }
    LA_TRY(pack(&packed, dev, &j, f));
    const la_dealt d = deal(&j, la__device_units(dev));
    const int64_t items = (int64_t)d.groups * d.ranges * d.parts, units = la__device_units(dev);
    const size_t slots = (size_t)(items < units ? items : units);
    LA_TRY(la__buffer_take(&scratch, dev, slots * (size_t)d.slot * 4));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_bf16",
                                    .entry = "conv2d_bf16_sweep",
                                    .global = { slots },
                                    .local = { 1, 1, 1 },
                                    .flops = j.flops,
                                    .bytes = j.bytes },
                      (la_karg[]){ LA_T(y), LA_BUF(source), LA_BUF(packed.buffer),
                                   LA_BUF(e && e->residual ? e->residual : source), LA_BUF(scratch), LA_STRUCT(j.sweep),
                                   LA_STRUCT(after), LA_STRUCT(d) },
                      8));
done:
    la__derived_give(&packed);
    la__buffer_give(padded);
    la__buffer_give(scratch);
    return err;
}
