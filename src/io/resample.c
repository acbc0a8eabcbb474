/* SPDX-License-Identifier: MIT
 *
 * resample.c -- change of size of pictures on the host, into floats of 0..255.
 *
 *   aligned       output i lies at i (N - 1) / (n - 1) and mixes its two neighbours, as the papers do: fine detail
 * aliases antialiased   output i lies at (i + 1/2) N / n - 1/2 and takes a triangle of half width max(N / n, 1), as
 * Pillow and PyTorch's antialiased bilinear do, without their rounding between the passes
 */
#include <math.h>
#include <stdlib.h>

#include "io/picture.h"
#include "util/util.h"

void la__resample_aligned(float *out, int h, int w, const uint8_t *in, int H, int W)
{
    for (int i = 0; i < h; i++) {
        const int64_t row = (int64_t)i * (H - 1), rows = h > 1 ? h - 1 : 1;
        const int top = (int)(row / rows), down = top < H - 1 ? 3 * W : 0;
        const float fy = (float)(row % rows) / (float)rows;
        for (int j = 0; j < w; j++) {
            const int64_t column = (int64_t)j * (W - 1), columns = w > 1 ? w - 1 : 1;
            const int left = (int)(column / columns), right = left < W - 1 ? 3 : 0;
            const float fx = (float)(column % columns) / (float)columns;
            const uint8_t *p = in + ((size_t)top * (size_t)W + (size_t)left) * 3;
            for (int k = 0; k < 3; k++, p++) {
                const float above = (float)p[0] + fx * ((float)p[right] - (float)p[0]);
                const float below = (float)p[down] + fx * ((float)p[down + right] - (float)p[down]);
                *out++ = above + fy * (below - above);
            }
        }
    }
}

/* For each of n outputs: where its run of inputs starts, how long it is, and `most` weights that sum to 1. */
typedef struct taps {
    int most;
    int *first, *count;
    float *weight;
} taps;

static void free_taps(taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weight);
}

static int make_taps(taps *t, int n, int N)
{
    int err = 0;
    const double step = (double)N / n, reach = fmax(step, 1.0);
    t->most = 2 * (int)ceil(reach) + 1;
    t->first = la__calloc((size_t)n, sizeof *t->first);
    t->count = la__calloc((size_t)n, sizeof *t->count);
    t->weight = la__calloc((size_t)n * (size_t)t->most, sizeof *t->weight);
    if (!t->first || !t->count || !t->weight) {
        err = LA_ENOMEM;
        goto done;
    }
    for (int i = 0; i < n; i++) {
        const double centre = (i + 0.5) * step;
        const int first = (int)fmax(floor(centre - reach + 0.5), 0.0), end = (int)fmin(floor(centre + reach + 0.5), N);
        float *weight = t->weight + (size_t)i * (size_t)t->most;
        double sum = 0.0;
        for (int j = first; j < end; j++)
            sum += fmax(1.0 - fabs(j + 0.5 - centre) / reach, 0.0);
        for (int j = first; j < end; j++)
            weight[j - first] = (float)(fmax(1.0 - fabs(j + 0.5 - centre) / reach, 0.0) / sum);
        t->first[i] = first;
        t->count[i] = end - first;
    }
done:
    return err;
}

/* One row of w pixels out of a row of bytes. */
static void shrink_row(float *out, int w, const uint8_t *in, const taps *t)
{
    for (int j = 0; j < w; j++) {
        const float *weight = t->weight + (size_t)j * (size_t)t->most;
        const uint8_t *p = in + 3 * (size_t)t->first[j];
        float sum[3] = { 0.0f, 0.0f, 0.0f };
        for (int m = 0; m < t->count[j]; m++, p += 3)
            for (int k = 0; k < 3; k++)
                sum[k] += weight[m] * (float)p[k];
        for (int k = 0; k < 3; k++)
            *out++ = sum[k];
    }
}

int la__resample_antialiased(float *out, int h, int w, const uint8_t *in, int H, int W)
{
    int err = 0;
    taps rows = { 0 }, columns = { 0 };
    const size_t wide = (size_t)w * 3;
    float *narrow = la__calloc((size_t)H * wide, sizeof *narrow); /* (H, w, 3) */
    if (!narrow) {
        err = LA_ENOMEM;
        goto done;
    }
    LA_TRY(make_taps(&rows, h, H));
    LA_TRY(make_taps(&columns, w, W));
    for (int y = 0; y < H; y++)
        shrink_row(narrow + (size_t)y * wide, w, in + (size_t)y * (size_t)W * 3, &columns);
    for (int i = 0; i < h; i++) {
        float *to = out + (size_t)i * wide;
        for (size_t j = 0; j < wide; j++)
            to[j] = 0.0f;
        for (int m = 0; m < rows.count[i]; m++) {
            const float *from = narrow + (size_t)(rows.first[i] + m) * wide;
            const float weight = rows.weight[(size_t)i * (size_t)rows.most + (size_t)m];
            for (size_t j = 0; j < wide; j++)
                to[j] += weight * from[j];
        }
    }
done:
    free(narrow);
    free_taps(&rows);
    free_taps(&columns);
    return err;
}
