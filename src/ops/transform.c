/* SPDX-License-Identifier: MIT
 *
 * transform.c -- the frame of the transformation ops: shapes, the identity grid, and what forward and backward have in
 * common.
 */
#include "ops/transform.h"

enum { THETA, POINTS };             /* tensor slots of the points ops */
enum { HEIGHT = 1, WIDTH, EXTRAS }; /* parameters of the grid ops; offset comes after the extras */

static void release(la_mapping *m)
{
    la_tensor_release(&m->theta);
    la_tensor_release(&m->points);
}

static int take_theta(la_mapping *m, const la_call *c, const la_family *f)
{
    int err = 0;
    const la_tensor *t = c->in[THETA];
    LA_TRY(la__check_f32(c, THETA));
    m->call = c;
    m->N = t->ndim > 1 ? t->dim[0] : 1;
    m->T = 1;
    for (int d = t->ndim > 1; d < t->ndim; d++)
        m->T *= t->dim[d];
    LA_TRY(f->check(m));
    LA_TRY(la__dense(&m->theta, t));
done:
    return err;
}

static int take_points(la_mapping *m, const la_call *c)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    const la_tensor *p = c->in[POINTS];
    LA_TRY(la__check_f32(c, POINTS));
    if (p->ndim < 3 || p->dim[p->ndim - 1] != 2)
        return la_fail(LA_ESHAPE, "%s: points must be (N, ..., 2), got %s", c->op->name, la__shape(p, text));
    if (p->dim[0] != m->N && p->dim[0] != 1)
        return la_fail(LA_ESHAPE, "%s: points must hold one set for each of the %lld thetas, or one for all, got %s",
                       c->op->name, (long long)m->N, la__shape(p, text));
    m->shared = p->dim[0] != m->N;
    m->P = 1;
    for (int d = 1; d < p->ndim - 1; d++)
        m->P *= p->dim[d];
    m->gain = 1.0f;
    LA_TRY(la__dense(&m->points, p));
done:
    return err;
}

enum { LARGEST = 32767 }; /* so that the number of points fits 32 bits */

/* The identity grid divided by `offset`, (1, height, width, 2). */
static int take_grid(la_mapping *m, const la_call *c, const la_family *f)
{
    int err = 0;
    const int64_t h = c->arg[HEIGHT].ints[0], w = c->arg[WIDTH].ints[0];
    const double offset = c->arg[EXTRAS + f->extras].number;
    if (h < 1 || w < 1)
        return la_fail(LA_EARG, "%s: height and width must be at least 1, got %lld and %lld", c->op->name, (long long)h,
                       (long long)w);
    if (h > LARGEST || w > LARGEST)
        return la_fail(LA_EARG, "%s: height and width must be at most %d, got %lld and %lld", c->op->name, LARGEST,
                       (long long)h, (long long)w);
    if (!(offset > 0))
        return la_fail(LA_EARG, "%s: offset must be positive, got %g", c->op->name, offset);
    m->shared = m->grid = true;
    m->P = h * w;
    m->gain = (float)offset;
    LA_TRY(la_tensor_new(&m->points, c->dev, LA_F32, LA_DIMS(1, h, w, 2)));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "base_grid", .entry = "base_grid_fwd", .global = { (size_t)m->P } },
                      (la_karg[]){ LA_T(m->points), LA_INT(m->P), LA_INT(h), LA_INT(w), LA_FLOAT(1.0 / offset) }, 5));
done:
    return err;
}

static int set_up(la_mapping *m, const la_call *c, const la_family *f, bool grid)
{
    int err = 0;
    *m = (la_mapping){ .extra = c->arg + (grid ? EXTRAS : POINTS + 1) };
    LA_TRY(take_theta(m, c, f));
    LA_TRY(grid ? take_grid(m, c, f) : take_points(m, c));
    m->chunks = (m->P + LA_POINTS_CHUNK - 1) / LA_POINTS_CHUNK;
done:
    return err;
}

int la__points_forward(la_call *c, const la_family *f)
{
    int err = 0;
    la_mapping m;
    int64_t dim[LA_MAX_DIMS];

    LA_TRY(set_up(&m, c, f, false));
    for (int d = 0; d < c->in[POINTS]->ndim; d++)
        dim[d] = d ? c->in[POINTS]->dim[d] : m.N;
    LA_TRY(la__out(c, 0, LA_F32, c->in[POINTS]->ndim, dim));
    LA_TRY(f->forward(&m, c->out[0]));
done:
    release(&m);
    return err;
}

int la__grid_forward(la_call *c, const la_family *f)
{
    int err = 0;
    la_mapping m;

    LA_TRY(set_up(&m, c, f, true));
    LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(m.N, c->arg[HEIGHT].ints[0], c->arg[WIDTH].ints[0], 2)));
    LA_TRY(f->forward(&m, c->out[0]));
done:
    release(&m);
    return err;
}

static int backward(la_call *c, la_tensor *g, const la_family *f, bool grid)
{
    int err = 0;
    la_mapping m;
    la_tensor *gd = NULL;

    LA_TRY(set_up(&m, c, f, grid));
    LA_TRY(la__dense(&gd, g));
    if (la__wants(c, THETA))
        LA_TRY(la__like(&c->grad[THETA], c->in[THETA]));
    if (!grid && la__wants(c, POINTS))
        LA_TRY(la__like(&c->grad[POINTS], c->in[POINTS]));
    LA_TRY(f->backward(&m, gd, c->grad[THETA], grid ? NULL : c->grad[POINTS]));
done:
    release(&m);
    la_tensor_release(&gd);
    return err;
}

int la__points_backward(la_call *c, la_tensor *g, const la_family *f)
{
    return backward(c, g, f, false);
}

int la__grid_backward(la_call *c, la_tensor *g, const la_family *f)
{
    return backward(c, g, f, true);
}
