/* SPDX-License-Identifier: MIT
 *
 * canvas.h -- drawing on 8-bit pixels in host memory, anti-aliased, without any device.
 *
 * Coordinates are pixels: (0, 0) is the centre of the top left pixel, x to the right, y down, so that the canvas spans
 * [-0.5, width - 0.5] x [-0.5, height - 0.5]. A colour has as many numbers, 0..255, as the canvas has channels; alpha
 * is 0..1. What lies outside is cut off.
 */
#ifndef LA_CANVAS_H
#define LA_CANVAS_H

#include "lualign.h"

typedef struct la_canvas {
    int width, height, channels; /* channels: 1 or 3 */
    uint8_t *pixels;             /* (height, width, channels) */
} la_canvas;

/* A canvas of one colour; 1 or 3 channels, at most LA_CANVAS_SIDE pixels a side. */
enum { LA_CANVAS_SIDE = 32768 };
int la__canvas_new(la_canvas **out, int width, int height, int channels, const double *colour);

/* A picture (H, W, 3), (1, H, W, 3), (H, W, 1) or (H, W) of any element type. Messages name `what`. */
int la__canvas_from(la_canvas **out, const la_tensor *t, const char *what);

void la__canvas_free(la_canvas **canvas);

/* Fills a closed polygon of n points (x, y), inside where the winding number is not 0. */
int la__canvas_polygon(la_canvas *c, const double *xy, int n, const double *colour, double alpha);

/* A filled ellipse with half axes rx and ry, the first turned by `angle` radians from x towards y. */
int la__canvas_ellipse(la_canvas *c, double cx, double cy, double rx, double ry, double angle, const double *colour,
                       double alpha);

/* A line with round ends. */
int la__canvas_line(la_canvas *c, double x1, double y1, double x2, double y2, double width, const double *colour,
                    double alpha);

/* Replaces everything by a change from one colour to another along the direction `angle`, corner to corner. */
void la__canvas_gradient(la_canvas *c, const double *from, const double *to, double angle);

/* Adds smooth noise between -amount and amount, the same to all channels, with cells of `scale` pixels. */
void la__canvas_noise(la_canvas *c, uint64_t seed, double amount, double scale);

/* Printable ASCII, 8 x scale pixels to a line with its top left corner at (x, y); other characters become '?'. */
void la__canvas_text(la_canvas *c, double x, double y, const char *text, const double *colour, double scale);

/* The size that la__canvas_text needs. */
void la__canvas_text_size(int *width, int *height, const char *text, double scale);

/* Mixes `src` in with its top left pixel at (x, y); between 1 and 3 channels it repeats or takes the luminance. */
void la__canvas_paste(la_canvas *c, const la_canvas *src, int x, int y, double alpha);

#endif
