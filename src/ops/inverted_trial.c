/* SPDX-License-Identifier: MIT
 *
 * inverted_trial.c -- tries the kernel for inverted residual blocks on small ones, against their definition in double
 * precision.
 */
#include "ops/inverted.h"

#include <math.h>
#include <stdlib.h>

/* Of a map (h, w, c) on the host: w[o][k] of a pointwise convolution. */
static void pointwise(double *y, const double *x, const float *w, const float *bias, int pixels, int c, int o)
{
    for (int at = 0; at < pixels * o; at++) {
        y[at] = (double)bias[at % o];
        for (int k = 0; k < c; k++)
            y[at] += x[at / o * c + k] * (double)w[at % o * c + k];
    }
}

static void bounds(double *y, const la_block *b, int count)
{
    for (int i = 0; i < count; i++)
        y[i] = fmin(fmax(y[i], (double)b->low), (double)b->high);
}

static void depthwise(double *y, const double *x, const float *w, const float *bias, const la_block *b)
{
    for (int at = 0; at < b->oh * b->ow * b->wide; at++) {
        const int c = at % b->wide, j = at / b->wide % b->ow, i = at / b->wide / b->ow;
        y[at] = (double)bias[c];
        for (int k = 0; k < b->kh * b->kw; k++) {
            const int row = i * b->stride - b->pad[0] + k / b->kw, column = j * b->stride - b->pad[2] + k % b->kw;
            if (row >= 0 && row < b->h && column >= 0 && column < b->w)
                y[at] += x[(row * b->w + column) * b->wide + c] * (double)w[c * b->kh * b->kw + k];
        }
    }
}

/* What the block makes of one image; `room` holds three maps as large as the largest. */
static double *expect(double *room, size_t each, const la_block *b, float *const host[LA_BLOCK_INPUTS])
{
    double *x = room, *wide = room + each, *swept = room + 2 * each;
    const int pixels = b->h * b->w, count = b->oh * b->ow;
    for (int i = 0; i < pixels * b->c; i++)
        x[i] = (double)host[LA_BLOCK_X][i];
    if (b->in[LA_BLOCK_EXPAND]) {
        pointwise(wide, x, host[LA_BLOCK_EXPAND], host[LA_BLOCK_EXPAND_BIAS], pixels, b->c, b->wide);
        bounds(wide, b, pixels * b->wide);
    }
    depthwise(swept, b->in[LA_BLOCK_EXPAND] ? wide : x, host[LA_BLOCK_DEPTHWISE], host[LA_BLOCK_DEPTHWISE_BIAS], b);
    bounds(swept, b, count * b->wide);
    pointwise(wide, swept, host[LA_BLOCK_PROJECT], host[LA_BLOCK_PROJECT_BIAS], count, b->wide, b->o);
    for (int i = 0; b->residual && i < count * b->o; i++)
        wide[i] += x[i];
    return wide;
}

static int compare(bool *good, la_device *dev, la_block *b, const la_block_kernel *k)
{
    int err = 0;
    float *host[LA_BLOCK_INPUTS] = { NULL }, *got = NULL;
    la_tensor *y = NULL;
    const int size[LA_BLOCK_INPUTS] = {
        b->h * b->w * b->c, b->wide * b->kh * b->kw, b->wide, b->o * b->wide, b->o, b->wide * b->c, b->wide
    };
    const size_t each = (size_t)b->h * (size_t)b->w * (size_t)(b->wide > b->o ? b->wide : b->o);
    double *room = la__calloc(3 * each, sizeof *room);

    got = la__calloc((size_t)(b->oh * b->ow * b->o), sizeof *got);
    if (!room || !got) {
        err = LA_ENOMEM;
        goto done;
    }
    for (int i = 0; i < (b->wide == b->c ? LA_BLOCK_EXPAND : LA_BLOCK_INPUTS); i++) {
        host[i] = la__calloc((size_t)size[i], sizeof(float));
        if (!host[i]) {
            err = LA_ENOMEM;
            goto done;
        }
        la__trial_numbers(host[i], size[i], (uint32_t)i + 1);
        LA_TRY(la_tensor_from(&b->in[i], dev, LA_F32, LA_DIMS(size[i]), host[i]));
    }
    LA_TRY(la_tensor_new(&y, dev, LA_F32, LA_DIMS(b->oh * b->ow * b->o)));
    LA_TRY(la__block_bands(dev, b, k, y));
    LA_TRY(la_tensor_read(y, got));
    *good = la__trial_close(got, expect(room, each, b, host), b->oh * b->ow * b->o);
done:
    la_tensor_release(&y);
    for (int i = 0; i < LA_BLOCK_INPUTS; i++) {
        la_tensor_release(&b->in[i]);
        free(host[i]);
    }
    free(got);
    free(room);
    return err;
}

int la__block_trial(bool *good, la_device *dev, const void *kernel)
{
    /* channels of x, in between, of y: so that tiles of each width come, whole and not */
    static const int32_t channels[][3] = { { 19, 53, 19 }, { 21, 21, 16 }, { 17, 83, 50 }, { 40, 40, 40 } };
    const la_block_kernel *k = kernel;
    int err = 0;
    *good = true;
    for (int i = 0; i < 4 && *good; i++) {
        la_block b = { .n = 1,
                       .h = 24,
                       .w = 13,
                       .c = channels[i][0],
                       .wide = channels[i][1],
                       .o = channels[i][2],
                       .kh = k->kernel,
                       .kw = k->kernel,
                       .stride = k->stride,
                       .dilation = 1,
                       .pad = { k->kernel / 2, k->kernel / 2, k->kernel / 2, k->kernel / 2 },
                       .low = -1.0f,
                       .high = 1.5f };
        b.oh = (b.h - 1) / b.stride + 1;
        b.ow = (b.w - 1) / b.stride + 1;
        b.residual = b.stride == 1 && b.c == b.o;
        LA_TRY(compare(good, dev, &b, k));
    }
done:
    return err;
}
