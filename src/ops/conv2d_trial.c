/* SPDX-License-Identifier: MIT
 *
 * conv2d_trial.c -- tries the variants of the convolution on a small problem whose edges fall everywhere, against the
 * definition computed on the host in double precision.
 */
#include "ops/conv2d.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of the problem on the host and on the device. */
typedef struct problem {
    la_conv s;
    int nx, nw, ny;
    float *host;  /* x, w, y and the norm's tensors one after the other */
    double *want; /* as large as the largest */
    la_tensor *x, *w, *y, *norm[LA_NORMS], *result;
} problem;

enum { LOW = -2, HIGH = 2 }; /* the forward pass keeps these bounds */

static int make(problem *p, la_device *dev, const la_conv *s)
{
    int err = 0;
    p->s = *s;
    p->nx = s->n * s->h * s->w * s->c;
    p->nw = s->o * s->kh * s->kw * (s->c / s->groups);
    p->ny = s->n * s->oh * s->ow * s->o;
    const int all = p->nx + p->nw + p->ny + LA_NORMS * s->o;
    p->host = la__calloc((size_t)all, sizeof *p->host);
    p->want = la__calloc((size_t)all, sizeof *p->want);
    if (!p->host || !p->want)
        return LA_ENOMEM;
    la__trial_numbers(p->host, all, 7);
    for (int i = 0; i < all; i++) /* so many bits that bfloat16 holds them, products too */
        p->host[i] = floorf(p->host[i] * 8.0f) / 8.0f;
    LA_TRY(la_tensor_from(&p->x, dev, LA_F32, LA_DIMS(p->nx), p->host));
    LA_TRY(la_tensor_from(&p->w, dev, LA_F32, LA_DIMS(p->nw), p->host + p->nx));
    LA_TRY(la_tensor_from(&p->y, dev, LA_F32, LA_DIMS(p->ny), p->host + p->nx + p->nw));
    float *norm = p->host + p->nx + p->nw + p->ny;
    for (int i = 0; i < LA_NORMS; i++, norm += s->o) {
        for (int o = 0; o < s->o; o++)
            norm[o] = i == LA_NORM_VARIANCE ? 4.0f : i == LA_NORM_WEIGHT ? (o % 2 ? 1.0f : -0.5f) : norm[o];
        LA_TRY(la_tensor_from(&p->norm[i], dev, LA_F32, LA_DIMS(s->o), norm));
    }
done:
    return err;
}

static void drop(problem *p)
{
    la_tensor_release(&p->x);
    la_tensor_release(&p->w);
    la_tensor_release(&p->y);
    for (int i = 0; i < LA_NORMS; i++)
        la_tensor_release(&p->norm[i]);
    la_tensor_release(&p->result);
    free(p->host);
    free(p->want);
}

typedef enum pass { FORWARD, DATA, WEIGHT } pass;

/* Tensor i of the norm for channel o. */
static double norm_at(const problem *p, int i, int o)
{
    return (double)p->host[p->nx + p->nw + p->ny + i * p->s.o + o];
}

static double scale_at(const problem *p, int o)
{
    return norm_at(p, LA_NORM_WEIGHT, o) / sqrt(norm_at(p, LA_NORM_VARIANCE, o));
}

/* What follows the sums of the forward pass; the residual is the gradient that the data pass gets. */
static void finish(problem *p)
{
    const float *residual = p->host + p->nx + p->nw;
    for (int at = 0; at < p->ny; at++) {
        const int o = at % p->s.o;
        const double sum = p->want[at] + norm_at(p, LA_NORM_BIAS, o) - norm_at(p, LA_NORM_MEAN, o) * scale_at(p, o);
        p->want[at] = fmin(fmax(sum + (double)residual[at], LOW), HIGH);
    }
}

/* Visits every product x w y of the convolution and adds it to the sum that the pass asks for. */
static void expect(problem *p, pass which)
{
    const la_conv *s = &p->s;
    const float *x = p->host, *w = x + p->nx, *y = w + p->nw;
    const int cg = s->c / s->groups, og = s->o / s->groups;
    for (int at = 0; at < p->ny; at++) {
        const int o = at % s->o, j = at / s->o % s->ow, i = at / s->o / s->ow % s->oh, n = at / s->o / s->ow / s->oh;
        for (int k = 0; k < s->kh * s->kw * cg; k++) {
            const int c = k % cg, v = k / cg % s->kw, u = k / cg / s->kw;
            const int row = i * s->sh - s->top + u * s->dh, column = j * s->sw - s->left + v * s->dw;
            if (row < 0 || row >= s->h || column < 0 || column >= s->w)
                continue;
            const int xi = ((n * s->h + row) * s->w + column) * s->c + o / og * cg + c, wi = o * s->kh * s->kw * cg + k;
            if (which == FORWARD)
                p->want[at] += (double)x[xi] * (double)w[wi] * scale_at(p, o);
            else if (which == DATA)
                p->want[xi] += (double)y[at] * (double)w[wi] * scale_at(p, o);
            else
                p->want[wi] += (double)y[at] * (double)x[xi];
        }
    }
}

static int compare(bool *good, problem *p, la_device *dev, const la_conv_plan *plan, pass which)
{
    int err = 0;
    const int n = which == FORWARD ? p->ny : which == DATA ? p->nx : p->nw;
    la_filter f = { .weight = p->w };
    float *got = la__calloc((size_t)n, sizeof *got);
    if (!got)
        return LA_ENOMEM;
    memset(p->want, 0, (size_t)n * sizeof *p->want);
    expect(p, which);
    if (which == FORWARD)
        finish(p);
    for (int i = 0; i < LA_NORMS; i++)
        f.norm[i] = p->norm[i];
    LA_TRY(la_tensor_new(&p->result, dev, LA_F32, LA_DIMS(n)));
    if (plan->bf16 && plan->method == LA_CPU)
        LA_TRY(
            la__conv_bf16_forward(dev, &p->s, p->result, p->x, &f, &(la_epilogue){ p->y->storage->buffer, LOW, HIGH }));
    else if (which == FORWARD)
        LA_TRY(la__conv_forward(dev, &p->s, plan, p->result, p->x, &f,
                                &(la_epilogue){ p->y->storage->buffer, LOW, HIGH }));
    else if (which == DATA)
        LA_TRY(la__conv_backward_x(dev, &p->s, plan, p->result, p->y, &f));
    else
        LA_TRY(la__conv_backward_weight(dev, &p->s, plan, p->result, p->y, p->x));
    LA_TRY(la_tensor_read(p->result, got));
    /* Winograd's transforms make numbers that bfloat16 does not hold, and the bounds cut the largest */
    *good = la__trial_within(got, p->want, n, plan->bf16 && plan->method != LA_CPU ? 1e-1 : 1e-4);
done:
    la_tensor_release(&p->result);
    free(got);
    return err;
}

/* 3 x 2 taps, stride 2 and 1, dilation 1 and 2, uneven padding; 19 channels to 37 for the general kernels, or 20 to 36,
 * which come in fours. For Winograd's 3 x 3 taps, and tiles that lie partly outside. */
static la_conv small(const la_conv_plan *plan, bool fours)
{
    la_conv s = { .n = 2,
                  .h = 9,
                  .w = 8,
                  .c = 19,
                  .o = 37,
                  .kh = 3,
                  .kw = 2,
                  .sh = 2,
                  .sw = 1,
                  .top = 1,
                  .left = 0,
                  .dh = 1,
                  .dw = 2,
                  .groups = 1,
                  .oh = 4,
                  .ow = 7 };
    if (fours) {
        s.c = 20;
        s.o = 36;
    }
    if (plan->whole && plan->whole->kernel > 0) {
        s.kh = s.kw = plan->whole->kernel;
        s.sw = plan->whole->stride;
        s.dw = 1;
        s.w = 13;
        s.left = 2;
        s.oh = (s.h + s.top - s.kh) / s.sh + 1;
        s.ow = (s.w + s.left - s.kw) / s.sw + 1;
    }
    if (plan->whole) /* more than one block of channels */
        s.c = 37;
    if (plan->depthwise)
        s.o = s.groups = s.c;
    if (plan->narrow) { /* runs of 8 and 16 floats and some more */
        s.c = 9;
        s.kw = 3;
        s.dw = 1;
        s.ow = 6;
    }
    if (plan->method == LA_WINOGRAD4 || plan->method == LA_WINOGRAD2) {
        s.kw = 3;
        s.sh = s.dw = s.left = 1;
        s.oh = 9;
    }
    return s;
}

static int trial(bool *good, la_device *dev, const la_conv_plan *plan, pass first, pass last)
{
    int err = 0;
    problem p = { 0 };
    *good = true;
    for (int fours = 0; fours <= (plan->gpu != NULL) && *good; fours++) { /* GPUs load quads where they can */
        const la_conv s = small(plan, fours);
        LA_TRY(make(&p, dev, &s));
        for (pass which = first; which <= last && *good; which++)
            LA_TRY(compare(good, &p, dev, plan, which));
        drop(&p);
        p = (problem){ 0 };
    }
done:
    drop(&p);
    return err;
}

int la__conv_trial_sweep(bool *good, la_device *dev, const void *plan)
{
    return trial(good, dev, plan, FORWARD, DATA);
}

int la__conv_trial_weight(bool *good, la_device *dev, const void *plan)
{
    int err = 0;
    la_conv_plan p = *(const la_conv_plan *)plan;
    const bool turns = p.method == LA_CPU;
    for (int turned = 0; turned <= turns; turned++) {
        p.turned = turned;
        LA_TRY(trial(good, dev, &p, WEIGHT, WEIGHT));
        if (!*good)
            break;
    }
done:
    return err;
}

int la__conv_trial_narrow(bool *good, la_device *dev, const void *plan)
{
    return trial(good, dev, plan, DATA, DATA);
}

int la__conv_trial_whole(bool *good, la_device *dev, const void *plan)
{
    const la_conv_plan *p = plan;
    return trial(good, dev, plan, FORWARD, p->whole->kernel > 0 ? FORWARD : DATA);
}

int la__conv_trial_bf16(bool *good, la_device *dev, const void *plan)
{
    return trial(good, dev, plan, FORWARD, FORWARD);
}
