/* SPDX-License-Identifier: MIT
 *
 * conv2d_bf16.c -- the forward pass with factors rounded to bfloat16, on processors that multiply pairs of them
 * (cl/conv2d_bf16.cl).
 */
#include "ops/conv2d.h"

#include <math.h>
#include <stdio.h>

enum { NR = 32, ROWS = 24, PANELS = 8 }; /* as in the kernel */

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
    enum { M = 5, C = 41, O = 35, PAIRS = (C + 1) / 2, LINES = 2 * PAIRS + 2 };
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
    const int32_t groups = 1, per = 2;

    for (int i = 0; i < M * C; i++)
        x[i] = (float)(i * 7 % 13 - 6);
    for (int o = 0; o < O; o++)
        for (int c = 0; c < C; c++) {
            const float w = (float)((o * 5 + c * 3) % 11 - 5);
            packed[(o / NR * PAIRS + c / 2) * NR + o % NR] |= bits_of(w) << (c % 2 * 16);
            for (int m = 0; m < M; m++)
                expected[m * O + o] += w * x[m * C + c];
        }
    return la__program_probe(
        works, dev,
        &(la_launch){ .program = "conv2d_bf16", .entry = "conv2d_bf16_sweep", .global = { 1 }, .local = { 1, 1, 1 } },
        (la_probe_arg[]){ LA_PROBE_BUF(y), LA_PROBE_BUF(x), LA_PROBE_BUF(packed), LA_PROBE_BUF(x), LA_PROBE_VALUE(s),
                          LA_PROBE_VALUE(after), LA_PROBE_VALUE(groups), LA_PROBE_VALUE(per) },
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

/* Panels of a work-item: many, since it rounds its pixels once for all of them (as long as three eighths of a panel
 * take), but such that the device's units get equal shares. */
static int32_t panels_each(int64_t rows, int32_t panels, int64_t units)
{
    int32_t best = 1;
    int64_t least = INT64_MAX;
    for (int32_t each = 1; each <= PANELS && each <= panels; each++) {
        const int64_t time = LA_CEIL(rows * LA_CEIL(panels, each), units) * (8 * each + 3);
        if (time < least) {
            least = time;
            best = each;
        }
    }
    return best;
}

int la__conv_bf16_forward(la_device *dev, const la_conv *s, la_tensor *y, const la_tensor *x, const la_filter *f,
                          const la_epilogue *e)
{
    int err = 0;
    la_derived packed = { 0 };
    la_buffer *padded = NULL;
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
    const int64_t rows = LA_CEIL(j.sweep.rows, ROWS);
    const int32_t panels = LA_CEIL(j.sweep.cols, NR), each = panels_each(rows, panels, la__device_units(dev));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "conv2d_bf16",
                                    .entry = "conv2d_bf16_sweep",
                                    .global = { (size_t)rows, (size_t)LA_CEIL(panels, each), (size_t)j.groups },
                                    .local = { 1, 1, 1 },
                                    .flops = j.flops,
                                    .bytes = j.bytes },
                      (la_karg[]){ LA_T(y), LA_BUF(source), LA_BUF(packed.buffer),
                                   LA_BUF(e && e->residual ? e->residual : source), LA_STRUCT(j.sweep),
                                   LA_STRUCT(after), LA_INT(j.groups), LA_INT(each) },
                      8));
done:
    la__derived_give(&packed);
    la__buffer_give(padded);
    return err;
}
