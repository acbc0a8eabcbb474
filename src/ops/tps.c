/* SPDX-License-Identifier: MIT
 *
 * tps.c -- thin-plate splines (Bookstein 1989) through any regular grid of control points, interpolating or
 * regularised.
 *
 * The system matrix L = [[K + reg I, P], [P', 0]] depends on the control grid and the regulariser only. It is inverted
 * on the host in double precision when first met and its first K columns stay with the device.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/transform.h"

enum { GRID, REG };          /* among the extras */
enum { MOST_POINTS = 1024 }; /* of control */
enum { LANES = 8 };          /* points per work-item, as in the kernel */

typedef struct spline {
    int gy, gx;
    double reg;
} spline;

static double control(int i, int n)
{
    return (double)(2 * i - (n - 1)) / (double)(n - 1);
}

/* L, n x n with room for n more columns, which hold the identity. */
static void fill_system(double *m, const spline *s)
{
    const int k = s->gy * s->gx, n = k + 3;
    for (int i = 0; i < k; i++) {
        const double x = control(i / s->gy, s->gx), y = control(i % s->gy, s->gy);
        for (int j = 0; j < k; j++) {
            const double dx = x - control(j / s->gy, s->gx), dy = y - control(j % s->gy, s->gy), r2 = dx * dx + dy * dy;
            m[i * 2 * n + j] = i == j ? s->reg : r2 * log(r2);
        }
        const double row[3] = { 1.0, x, y };
        for (int d = 0; d < 3; d++)
            m[i * 2 * n + k + d] = m[(k + d) * 2 * n + i] = row[d];
    }
    for (int i = 0; i < n; i++)
        m[i * 2 * n + n + i] = 1.0;
}

/* Gauss-Jordan elimination with pivoting of n rows of 2 n numbers: the right half becomes the inverse of the left. */
static int invert(double *m, int n, const spline *s)
{
    for (int c = 0; c < n; c++) {
        int p = c;
        for (int i = c + 1; i < n; i++)
            if (fabs(m[i * 2 * n + c]) > fabs(m[p * 2 * n + c]))
                p = i;
        const double pivot = m[p * 2 * n + c];
        if (!(fabs(pivot) > 1e-12))
            return la_fail(LA_EARG, "the system of a %d x %d grid with reg %g is singular", s->gy, s->gx, s->reg);
        for (int j = 0; j < 2 * n; j++) {
            const double v = m[p * 2 * n + j] / pivot;
            m[p * 2 * n + j] = m[c * 2 * n + j];
            m[c * 2 * n + j] = v;
        }
        for (int i = 0; i < n; i++) {
            const double f = m[i * 2 * n + c];
            for (int j = c; i != c && f != 0.0 && j < 2 * n; j++)
                m[i * 2 * n + j] -= f * m[c * 2 * n + j];
        }
    }
    return 0;
}

/* For la__device_constant: the first K columns of the inverse, (K + 3, K) floats. */
static int fill_inverse(void *data, const void *what)
{
    int err = 0;
    const spline *s = what;
    const int k = s->gy * s->gx, n = k + 3;
    float *out = data;
    double *m = la__calloc((size_t)n * 2 * (size_t)n, sizeof *m);

    if (!m)
        return LA_ENOMEM;
    fill_system(m, s);
    LA_TRY(invert(m, n, s));
    for (int i = 0; i < n; i++)
        for (int j = 0; j < k; j++)
            out[i * k + j] = (float)m[i * 2 * n + n + j];
done:
    free(m);
    return err;
}

/* An empty table is 3, too: it may have been meant as one of options. */
static spline spline_of(const la_mapping *m)
{
    const la_value *grid = &m->extra[GRID];
    const int64_t gy = grid->count > 0 ? grid->ints[0] : 3, gx = grid->count > 1 ? grid->ints[1] : gy;
    const bool fits = grid->count <= 2 && gy >= 2 && gx >= 2 && gy <= MOST_POINTS && gx <= MOST_POINTS;
    return (spline){ fits ? (int)gy : 0, fits ? (int)gx : 0, m->extra[REG].number };
}

static int check(const la_mapping *m)
{
    char text[LA_SHAPE_TEXT];
    const char *op = m->call->op->name;
    const spline s = spline_of(m);
    if (s.gy == 0 || s.gy * s.gx > MOST_POINTS)
        return la_fail(LA_EARG, "%s: grid must be one or two numbers from 2, at most %d control points", op,
                       MOST_POINTS);
    if (!(s.reg >= 0))
        return la_fail(LA_EARG, "%s: reg must not be negative, got %g", op, s.reg);
    if (m->T != 2 * s.gy * s.gx)
        return la_fail(LA_ESHAPE, "%s: theta must be (N, %d) for a control grid of %d x %d, got %s", op,
                       2 * s.gy * s.gx, s.gy, s.gx, la__shape(m->call->in[0], text));
    return 0;
}

static int inverse_of(const la_buffer **out, const la_mapping *m)
{
    char key[64];
    const spline s = spline_of(m);
    const size_t k = (size_t)(s.gy * s.gx);
    snprintf(key, sizeof key, "tps %d %d %.17g", s.gy, s.gx, s.reg);
    return la__device_constant(out, m->call->dev, key, (k + 3) * k * sizeof(float), fill_inverse, &s);
}

/* The weights of all samples, (N, K + 3, 2). */
static int weights_of(la_tensor **out, const la_mapping *m)
{
    int err = 0;
    const la_buffer *inverse;
    const spline s = spline_of(m);
    const int64_t rows = m->N * (s.gy * s.gx + 3);

    LA_TRY(inverse_of(&inverse, m));
    LA_TRY(la_tensor_new(out, m->call->dev, LA_F32, LA_DIMS(rows, 2)));
    LA_TRY(la__launch(
        m->call->dev, &(la_launch){ .program = "tps", .entry = "tps_fwd_weights", .global = { (size_t)rows } },
        (la_karg[]){ LA_T(*out), LA_T(m->theta), LA_BUF(inverse), LA_INT(rows), LA_INT(s.gy), LA_INT(s.gx) }, 6));
done:
    return err;
}

static int family_forward(const la_mapping *m, la_tensor *out)
{
    int err = 0;
    la_tensor *weights = NULL;
    const spline s = spline_of(m);
    const int64_t blocks = (m->P + LANES - 1) / LANES, items = m->N * blocks;

    LA_TRY(weights_of(&weights, m));
    LA_TRY(la__launch(
        m->call->dev,
        &(la_launch){
            .program = "tps", .entry = "tps_fwd", .global = { (size_t)items }, .bytes = 16.0 * (double)(m->N * m->P) },
        (la_karg[]){ LA_T(out), LA_T(weights), LA_T(m->points), LA_INT(items), LA_INT(m->P), LA_INT(blocks),
                     LA_INT(s.gy), LA_INT(s.gx), LA_INT(m->shared), LA_FLOAT(m->gain) },
        10));
done:
    la_tensor_release(&weights);
    return err;
}

static int gradient_theta(const la_mapping *m, la_tensor *g, la_tensor *dtheta)
{
    int err = 0;
    la_tensor *partial = NULL;
    const la_buffer *inverse;
    const spline s = spline_of(m);
    const int64_t k = s.gy * s.gx, rows = m->N * m->chunks * (k + 3);
    la_device *dev = m->call->dev;

    LA_TRY(inverse_of(&inverse, m));
    LA_TRY(la_tensor_new(&partial, dev, LA_F32, LA_DIMS(rows, 2)));
    LA_TRY(la__launch(dev, &(la_launch){ .program = "tps", .entry = "tps_bwd_weights", .global = { (size_t)rows } },
                      (la_karg[]){ LA_T(partial), LA_T(g), LA_T(m->points), LA_INT(rows), LA_INT(m->P), LA_INT(s.gy),
                                   LA_INT(s.gx), LA_INT(m->chunks), LA_INT(LA_POINTS_CHUNK), LA_INT(m->shared) },
                      10));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "tps", .entry = "tps_bwd_theta", .global = { (size_t)(m->N * 2 * k) } },
                      (la_karg[]){ LA_T(dtheta), LA_T(partial), LA_BUF(inverse), LA_INT(m->N * 2 * k), LA_INT(k),
                                   LA_INT(m->chunks), LA_FLOAT(m->gain) },
                      7));
done:
    la_tensor_release(&partial);
    return err;
}

static int family_backward(const la_mapping *m, la_tensor *g, la_tensor *dtheta, la_tensor *dpoints)
{
    int err = 0;
    la_tensor *weights = NULL;
    const spline s = spline_of(m);

    if (dtheta)
        LA_TRY(gradient_theta(m, g, dtheta));
    if (dpoints) {
        const int64_t total = m->shared ? m->P : m->N * m->P;
        LA_TRY(weights_of(&weights, m));
        LA_TRY(la__launch(
            m->call->dev, &(la_launch){ .program = "tps", .entry = "tps_bwd_points", .global = { (size_t)total } },
            (la_karg[]){ LA_T(dpoints), LA_T(g), LA_T(weights), LA_T(m->points), LA_INT(total), LA_INT(m->P),
                         LA_INT(m->N), LA_INT(s.gy), LA_INT(s.gx), LA_INT(m->shared), LA_FLOAT(m->gain) },
            11));
    }
done:
    la_tensor_release(&weights);
    return err;
}

static const la_family tps = { .extras = 2, .check = check, .forward = family_forward, .backward = family_backward };

static int points_forward(la_call *c)
{
    return la__points_forward(c, &tps);
}

static int points_backward(la_call *c, la_tensor *const *g)
{
    return la__points_backward(c, g[0], &tps);
}

static int grid_forward(la_call *c)
{
    return la__grid_forward(c, &tps);
}

static int grid_backward(la_call *c, la_tensor *const *g)
{
    return la__grid_backward(c, g[0], &tps);
}

#define PARAM_THETA                                                                                                   \
    {                                                                                                                 \
        LA_P_TENSOR, "theta", NULL,                                                                                   \
            "(N, 2 K), float32: x, then y, of the images of the K control points, which run over [-1, 1] with x the " \
            "slow index",                                                                                             \
            NULL                                                                                                      \
    }
#define PARAM_EXTRAS                                                                                \
    { LA_P_INTS, "grid", "3", "control points along each side, or { rows, columns }", NULL },       \
    {                                                                                               \
        LA_P_NUMBER, "reg", "0", "0 interpolates, more smooths; 0.2 in the papers' weak loss", NULL \
    }

static const la_param points_params[] = {
    PARAM_THETA, LA_PARAM_POINTS, PARAM_EXTRAS, { LA_P_END, NULL, NULL, NULL, NULL }
};
static const la_param grid_params[] = {
    PARAM_THETA, LA_PARAM_SIZE, PARAM_EXTRAS, LA_PARAM_OFFSET, { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_tps_points = {
    .name = "tps_points",
    .brief = "Maps points by a thin-plate spline with kernel r^2 ln r^2.",
    .example = "local q = la.tps_points(theta, points, { reg = 0.2 })",
    .param = points_params,
    .forward = points_forward,
    .backward = points_backward,
};

const la_op la_op_tps_grid = {
    .name = "tps_grid",
    .brief = "Source coordinates (N, height, width, 2) of a thin-plate spline for each cell of a target grid; corners "
             "aligned.",
    .example = "local warped = la.grid_sample(image, la.tps_grid(theta, { height = 240, width = 240 }))",
    .param = grid_params,
    .forward = grid_forward,
    .backward = grid_backward,
};
