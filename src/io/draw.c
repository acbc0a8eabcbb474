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

/* The pixels that a polygon may touch: [x0, x1) x [y0, y1). */
typedef struct box {
    int x0, y0, x1, y1;
} box;

static box bounds(const la_canvas *c, const double *xy, int n)
{
    double low[2] = { INFINITY, INFINITY }, high[2] = { -INFINITY, -INFINITY };
    for (int i = 0; i < 2 * n; i++) {
        low[i % 2] = fmin(low[i % 2], xy[i] + 0.5);
        high[i % 2] = fmax(high[i % 2], xy[i] + 0.5);
    }
    return (box){ clip(floor(low[0]), 0, c->width), clip(floor(low[1]), 0, c->height), clip(ceil(high[0]), 0, c->width),
                  clip(ceil(high[1]), 0, c->height) };
}

int la__canvas_polygon(la_canvas *c, const double *xy, int n, const double *colour, double alpha)
{
    for (int i = 0; i < 2 * n; i++)
        if (!isfinite(xy[i]))
            return la_fail(LA_EARG, "polygon: coordinates must be finite, number %d is not", i + 1);
    const box b = bounds(c, xy, n);
    if (n < 3 || b.x0 >= b.x1 || b.y0 >= b.y1)
        return 0;
    const int width = b.x1 - b.x0;
    const double dx = 0.5 - b.x0; /* pixels' edges, not centres, to whole numbers; the box's left to 0 */
    double *sum = la__calloc((size_t)width + 1, sizeof *sum);
    if (!sum)
        return LA_ENOMEM;
    for (int y = b.y0; y < b.y1; y++) {
        memset(sum, 0, ((size_t)width + 1) * sizeof *sum);
        for (int i = 0; i < n; i++) {
            const double *p = xy + 2 * i, *q = xy + 2 * ((i + 1) % n);
            add_edge_in_row(sum, width, y, (double[]){ p[0] + dx, p[1] + 0.5 }, (double[]){ q[0] + dx, q[1] + 0.5 });
        }
        double inside = 0.0;
        for (int x = 0; x < width; x++) {
            inside += sum[x];
            if (fabs(inside) > 1e-9)
                blend(c, b.x0 + x, y, colour, alpha * fmin(fabs(inside), 1.0));
        }
    }
    free(sum);
    return 0;
}

enum { MOST_POINTS = 720 }; /* of a curve */
static const double PI = 3.14159265358979323846;

/* How many chords a circle is drawn with: one leaves the curve by r (1 - cos(pi / n)), 1/50 of a pixel at most. */
static int chords(double radius)
{
    return clip(ceil(PI / acos(1.0 - 0.02 / fmax(radius, 1.0))), 12, MOST_POINTS - 2);
}

int la__canvas_ellipse(la_canvas *c, double cx, double cy, double rx, double ry, double angle, const double *colour,
                       double alpha)
{
    double xy[2 * MOST_POINTS];
    const int n = chords(fmax(rx, ry));
    const double turn_x = cos(angle), turn_y = sin(angle);
    for (int i = 0; i < n; i++) {
        const double t = 2.0 * PI * i / n, x = rx * cos(t), y = ry * sin(t);
        xy[2 * i] = cx + turn_x * x - turn_y * y;
        xy[2 * i + 1] = cy + turn_y * x + turn_x * y;
    }
    return la__canvas_polygon(c, xy, n, colour, alpha);
}

/* A half circle round the one end, from one side of the line to the other, then one round the other end. */
int la__canvas_line(la_canvas *c, double x1, double y1, double x2, double y2, double width, const double *colour,
                    double alpha)
{
    double xy[2 * MOST_POINTS];
    const double radius = width / 2.0, start = atan2(y2 - y1, x2 - x1) + PI / 2.0;
    const int half = chords(radius) / 2 + 1;
    if (!(width > 0.0))
        return 0;
    for (int i = 0; i < 2 * half; i++) {
        const double t = start + PI * (i < half ? i : i - 1) / (half - 1);
        xy[2 * i] = (i < half ? x1 : x2) + radius * cos(t);
        xy[2 * i + 1] = (i < half ? y1 : y2) + radius * sin(t);
    }
    return la__canvas_polygon(c, xy, 2 * half, colour, alpha);
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
