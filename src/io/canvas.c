/* SPDX-License-Identifier: MIT
 *
 * canvas.c -- making canvases; gradients, noise and pasting, which touch every pixel. Shapes are in draw.c.
 */
#include "io/canvas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/picture.h"
#include "util/util.h"

static uint8_t to_byte(double v)
{
    return (uint8_t)(v <= 0.0 ? 0.0 : v >= 255.0 ? 255.0 : v + 0.5);
}

int la__canvas_new(la_canvas **out, int width, int height, int channels, const double *colour)
{
    *out = NULL;
    if (width < 1 || height < 1 || width > LA_CANVAS_SIDE || height > LA_CANVAS_SIDE)
        return la_fail(LA_EARG, "canvas: width and height must be between 1 and %d, got %d and %d", LA_CANVAS_SIDE,
                       width, height);
    if (channels != 1 && channels != 3)
        return la_fail(LA_EARG, "canvas: channels must be 1 or 3, got %d", channels);
    la_canvas *c = la__calloc(1, sizeof *c);
    if (!c)
        return LA_ENOMEM;
    const size_t count = (size_t)width * (size_t)height;
    *c = (la_canvas){ width, height, channels, la__calloc(count, (size_t)channels) };
    if (!c->pixels) {
        free(c);
        return LA_ENOMEM;
    }
    for (size_t i = 0; colour && i < count; i++)
        for (int k = 0; k < channels; k++)
            c->pixels[i * (size_t)channels + (size_t)k] = to_byte(colour[k]);
    *out = c;
    return 0;
}

int la__canvas_from(la_canvas **out, const la_tensor *t, const char *what)
{
    int err = 0, width, height, channels;
    uint8_t *bytes = NULL;
    *out = NULL;
    LA_TRY(la__picture_bytes(&bytes, &height, &width, &channels, t, what));
    LA_TRY(la__canvas_new(out, width, height, channels, NULL));
    free((*out)->pixels);
    (*out)->pixels = bytes;
    bytes = NULL;
done:
    free(bytes);
    return err;
}

void la__canvas_free(la_canvas **canvas)
{
    if (*canvas) {
        free((*canvas)->pixels);
        free(*canvas);
        *canvas = NULL;
    }
}

void la__canvas_gradient(la_canvas *c, const double *from, const double *to, double angle)
{
    const double dx = cos(angle), dy = sin(angle);
    const double reach = fabs(dx) * (c->width - 1) + fabs(dy) * (c->height - 1);
    const double start = (dx < 0 ? dx * (c->width - 1) : 0.0) + (dy < 0 ? dy * (c->height - 1) : 0.0);
    uint8_t *p = c->pixels;
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            const double t = reach > 0.0 ? (dx * x + dy * y - start) / reach : 0.0;
            for (int k = 0; k < c->channels; k++)
                *p++ = to_byte(from[k] + t * (to[k] - from[k]));
        }
}

/* A number of [-1, 1) for a point of the lattice: the finaliser of splitmix64 over seed and position. */
static double lattice(uint64_t seed, int64_t x, int64_t y)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15u * ((uint64_t)x + 1) + 0xd1b54a32d192ed03u * ((uint64_t)y + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-52 - 1.0;
}

void la__canvas_noise(la_canvas *c, uint64_t seed, double amount, double scale)
{
    uint8_t *p = c->pixels;
    scale = fmax(scale, 1.0);
    for (int y = 0; y < c->height; y++) {
        const double v = y / scale, y0 = floor(v), fy = v - y0, sy = fy * fy * (3.0 - 2.0 * fy);
        for (int x = 0; x < c->width; x++) {
            const double u = x / scale, x0 = floor(u), fx = u - x0, sx = fx * fx * (3.0 - 2.0 * fx);
            const int64_t i = (int64_t)x0, j = (int64_t)y0;
            const double a = lattice(seed, i, j), b = lattice(seed, i + 1, j);
            const double d = lattice(seed, i, j + 1), e = lattice(seed, i + 1, j + 1);
            const double top = a + sx * (b - a), bottom = d + sx * (e - d);
            const double n = amount * (top + sy * (bottom - top));
            for (int k = 0; k < c->channels; k++, p++)
                *p = to_byte(*p + n);
        }
    }
}

/* Channel k of a pixel of `src`, for a canvas of `channels`: repeated, or Rec. 601 luminance. */
static double sample(const uint8_t *pixel, int src_channels, int channels, int k)
{
    if (src_channels == channels)
        return pixel[k];
    return src_channels == 1 ? pixel[0] : 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
}

void la__canvas_paste(la_canvas *c, const la_canvas *src, int x, int y, double alpha)
{
    const int64_t right = (int64_t)x + src->width, bottom = (int64_t)y + src->height;
    const int x1 = right < c->width ? (int)right : c->width, y1 = bottom < c->height ? (int)bottom : c->height;
    for (int row = y > 0 ? y : 0; row < y1; row++)
        for (int column = x > 0 ? x : 0; column < x1; column++) {
            uint8_t *p = c->pixels + ((size_t)row * (size_t)c->width + (size_t)column) * (size_t)c->channels;
            const size_t at = (size_t)(row - y) * (size_t)src->width + (size_t)(column - x);
            const uint8_t *q = src->pixels + at * (size_t)src->channels;
            for (int k = 0; k < c->channels; k++)
                p[k] = to_byte(p[k] + alpha * (sample(q, src->channels, c->channels, k) - p[k]));
        }
}
