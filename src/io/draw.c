/* SPDX-License-Identifier: MIT
 *
 * draw.c -- shapes and text on a canvas. A polygon's coverage is exact: each edge adds, row by row, the signed area to
 * its right, so that a running sum along the row gives how much of each pixel is inside.
 */
#include <math.h>
#include <stb/stb_easy_font.h>
#include <stdlib.h>
#include <string.h>

#include "io/canvas.h"
#include "util/util.h"

static void blend(la_canvas *c, int x, int y, const double *colour, double alpha)
{
    uint8_t *p = c->pixels + ((size_t)y * (size_t)c->width + (size_t)x) * (size_t)c->channels;
    for (int k = 0; k < c->channels; k++) {
        const double v = p[k] + alpha * (colour[k] - p[k]);
        p[k] = (uint8_t)(v <= 0.0 ? 0.0 : v >= 255.0 ? 255.0 : v + 0.5);
    }
}

static int clip(double v, int low, int high)
{
    return v <= low ? low : v >= high ? high : (int)v;
}

/* Adds the piece of an edge from (xa, .) to (xb, .), dy high, within one row of w pixels; sum has w + 1 places. */
static void add_edge(double *sum, int w, double xa, double xb, double dy)
{
    const double left = fmin(xa, xb), right = fmax(xa, xb), span = right - left;
    if (left >= w)
        return;
    if (right <= 0.0) {
        sum[0] += dy;
        return;
    }
    if (left < 0.0)
        sum[0] += dy * (-left / span);
    const int first = clip(floor(left), 0, w - 1), last = clip(floor(right), 0, w - 1);
    for (int i = first; i <= last; i++) {
        const double from = fmax(left, i), to = fmin(right, i + 1.0);
        const double part = span > 0.0 ? dy * (to - from) / span : dy;
        const double mean = (from + to) / 2.0 - i;
        sum[i] += part * (1.0 - mean);
        sum[i + 1] += part * mean;
    }
}

/* All of an edge that lies in the row [y, y + 1]. */
static void add_edge_in_row(double *sum, int w, double y, const double *a, const double *b)
{
    const double low = fmax(fmin(a[1], b[1]), y), high = fmin(fmax(a[1], b[1]), y + 1.0);
    if (high <= low)
        return;
    const double slope = (b[0] - a[0]) / (b[1] - a[1]);
    const double xa = a[0] + slope * (low - a[1]), xb = a[0] + slope * (high - a[1]);
    add_edge(sum, w, xa, xb, b[1] > a[1] ? high - low : low - high);
}

int la__canvas_polygon(la_canvas *c, const double *xy, int n, const double *colour, double alpha)
{
    double top = INFINITY, bottom = -INFINITY;
    for (int i = 0; i < 2 * n; i++)
        if (!isfinite(xy[i]))
            return la_fail(LA_EARG, "polygon: coordinates must be finite, number %d is not", i + 1);
    for (int i = 0; i < n; i++) {
        top = fmin(top, xy[2 * i + 1] + 0.5);
        bottom = fmax(bottom, xy[2 * i + 1] + 0.5);
    }
    if (n < 3 || bottom <= 0.0 || top >= c->height)
        return 0;
    double *sum = la__calloc((size_t)c->width + 1, sizeof *sum);
    if (!sum)
        return LA_ENOMEM;
    const int last = clip(ceil(bottom), 0, c->height);
    for (int y = clip(floor(top), 0, c->height); y < last; y++) {
        memset(sum, 0, ((size_t)c->width + 1) * sizeof *sum);
        for (int i = 0; i < n; i++) {
            const double *a = xy + 2 * i, *b = xy + 2 * ((i + 1) % n);
            add_edge_in_row(sum, c->width, y, (double[]){ a[0] + 0.5, a[1] + 0.5 },
                            (double[]){ b[0] + 0.5, b[1] + 0.5 });
        }
        double inside = 0.0;
        for (int x = 0; x < c->width; x++) {
            inside += sum[x];
            if (fabs(inside) > 1e-9)
                blend(c, x, y, colour, alpha * fmin(fabs(inside), 1.0));
        }
    }
    free(sum);
    return 0;
}

int la__canvas_ellipse(la_canvas *c, double cx, double cy, double rx, double ry, double angle, const double *colour,
                       double alpha)
{
    enum { MOST = 720 };
    double xy[2 * MOST];
    /* a chord leaves the curve by r (1 - cos(pi / n)), at most 1/50 of a pixel here */
    const int n = clip(ceil(3.1416 / acos(1.0 - fmin(0.02 / fmax(fmax(rx, ry), 1.0), 1.0))), 12, MOST);
    const double turn_x = cos(angle), turn_y = sin(angle);
    for (int i = 0; i < n; i++) {
        const double t = 2.0 * 3.14159265358979323846 * i / n, x = rx * cos(t), y = ry * sin(t);
        xy[2 * i] = cx + turn_x * x - turn_y * y;
        xy[2 * i + 1] = cy + turn_y * x + turn_x * y;
    }
    return la__canvas_polygon(c, xy, n, colour, alpha);
}

/* Where the line, `reach` wide on both sides, can touch row y: [first, last). */
static void line_columns(int *first, int *last, const la_canvas *c, const double *a, const double *b, double reach,
                         int y)
{
    double left = fmin(a[0], b[0]), right = fmax(a[0], b[0]);
    const double dy = b[1] - a[1];
    if (fabs(dy) > 1e-9) {
        const double t0 = (y - reach - a[1]) / dy, t1 = (y + reach - a[1]) / dy;
        const double x0 = a[0] + fmin(fmax(t0, 0.0), 1.0) * (b[0] - a[0]);
        const double x1 = a[0] + fmin(fmax(t1, 0.0), 1.0) * (b[0] - a[0]);
        left = fmin(x0, x1);
        right = fmax(x0, x1);
    }
    *first = clip(floor(left - reach), 0, c->width);
    *last = clip(ceil(right + reach) + 1.0, 0, c->width);
}

void la__canvas_line(la_canvas *c, double x1, double y1, double x2, double y2, double width, const double *colour,
                     double alpha)
{
    const double a[2] = { x1, y1 }, b[2] = { x2, y2 }, dx = x2 - x1, dy = y2 - y1, squared = dx * dx + dy * dy;
    const double half = fmax(width, 1.0) / 2.0, reach = half + 0.5;
    const int bottom = clip(ceil(fmax(y1, y2) + reach) + 1.0, 0, c->height);
    alpha *= fmin(fmax(width, 0.0), 1.0); /* thinner than a pixel: fainter */
    for (int y = clip(floor(fmin(y1, y2) - reach), 0, c->height); y < bottom; y++) {
        int first, last;
        line_columns(&first, &last, c, a, b, reach, y);
        for (int x = first; x < last; x++) {
            const double t = squared > 0.0 ? fmin(fmax(((x - x1) * dx + (y - y1) * dy) / squared, 0.0), 1.0) : 0.0;
            const double distance = hypot(x - x1 - t * dx, y - y1 - t * dy);
            const double cover = fmin(reach - distance, 1.0);
            if (cover > 0.0)
                blend(c, x, y, colour, alpha * cover);
        }
    }
}

/* ---- text ---- */

enum { LINE = 256 }; /* characters at a time */

/* Copies text up to LINE characters or the end of its line, with what the font lacks replaced; returns what it took. */
static size_t take_line(char *line, const char *text)
{
    size_t n = 0;
    for (; n < LINE && text[n] && text[n] != '\n'; n++)
        line[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    line[n] = '\0';
    return n;
}

/* A filled rectangle between corners, as a polygon of exact coverage. */
static void fill_box(la_canvas *c, double x0, double y0, double x1, double y1, const double *colour)
{
    const double xy[8] = { x0 - 0.5, y0 - 0.5, x1 - 0.5, y0 - 0.5, x1 - 0.5, y1 - 0.5, x0 - 0.5, y1 - 0.5 };
    la__canvas_polygon(c, xy, 4, colour, 1.0);
}

void la__canvas_text(la_canvas *c, double x, double y, const char *text, const double *colour, double scale)
{
    enum { VERTEX = 16, QUADS = 32 }; /* bytes of one; at most so many quads a character */
    char line[LINE + 1];
    char *quads = la__calloc(LINE * QUADS, 4 * VERTEX);
    double left = x;
    if (!quads)
        return;
    while (*text) {
        const size_t taken = take_line(line, text);
        const int n = stb_easy_font_print(0, 0, line, NULL, quads, LINE * QUADS * 4 * VERTEX);
        for (int q = 0; q < n; q++) {
            float from[2], to[2];
            memcpy(from, quads + q * 4 * VERTEX, sizeof from);
            memcpy(to, quads + (q * 4 + 2) * VERTEX, sizeof to);
            fill_box(c, left + from[0] * scale, y + from[1] * scale, left + to[0] * scale, y + to[1] * scale, colour);
        }
        left += stb_easy_font_width(line) * scale;
        text += taken;
        if (*text == '\n') {
            text++;
            left = x;
            y += 12.0 * scale;
        }
    }
    free(quads);
}

void la__canvas_text_size(int *width, int *height, const char *text, double scale)
{
    char line[LINE + 1];
    double widest = 0.0, current = 0.0;
    int lines = 1;
    while (*text) {
        text += take_line(line, text);
        current += stb_easy_font_width(line) * scale;
        widest = fmax(widest, current);
        if (*text == '\n') {
            text++;
            lines++;
            current = 0.0;
        }
    }
    *width = (int)ceil(widest);
    *height = (int)ceil(12.0 * scale * lines);
}
