/* SPDX-License-Identifier: MIT
 *
 * affine.c -- affine maps of points and of the identity grid.
 */
#include "ops/transform.h"

static int check(const la_mapping *m)
{
    char text[LA_SHAPE_TEXT];
    if (m->T != 6)
        return la_fail(LA_ESHAPE, "%s: theta must be (N, 6) or (N, 2, 3), got %s", m->call->op->name,
                       la__shape(m->call->in[0], text));
    return 0;
}

static int family_forward(const la_mapping *m, la_tensor *out)
{
    const int64_t total = m->N * m->P;
    return la__launch(
        m->call->dev,
        &(la_launch){
            .program = "affine", .entry = "affine_fwd", .global = { (size_t)total }, .bytes = 16.0 * (double)total },
        (la_karg[]){ LA_T(out), LA_T(m->theta), LA_T(m->points), LA_INT(total), LA_INT(m->P), LA_INT(m->shared),
                     LA_FLOAT(m->gain) },
        7);
}

static int gradient_theta(const la_mapping *m, la_tensor *g, la_tensor *dtheta)
{
    int err = 0;
    la_tensor *partial = NULL;
    la_device *dev = m->call->dev;

    LA_TRY(la_tensor_new(&partial, dev, LA_F32, LA_DIMS(m->N, m->chunks, 6)));
    LA_TRY(la__launch(
        dev, &(la_launch){ .program = "affine", .entry = "affine_bwd_theta", .global = { (size_t)(m->N * m->chunks) } },
        (la_karg[]){ LA_T(partial), LA_T(g), LA_T(m->points), LA_INT(m->N * m->chunks), LA_INT(m->P), LA_INT(m->chunks),
                     LA_INT(LA_POINTS_CHUNK), LA_INT(m->shared) },
        8));
    LA_TRY(la__launch(
        dev, &(la_launch){ .program = "affine", .entry = "affine_bwd_sum", .global = { (size_t)(m->N * 6) } },
        (la_karg[]){ LA_T(dtheta), LA_T(partial), LA_INT(m->N * 6), LA_INT(m->chunks), LA_FLOAT(m->gain) }, 5));
done:
    la_tensor_release(&partial);
    return err;
}

static int family_backward(const la_mapping *m, la_tensor *g, la_tensor *dtheta, la_tensor *dpoints)
{
    int err = 0;
    if (dtheta)
        LA_TRY(gradient_theta(m, g, dtheta));
    if (dpoints) {
        const int64_t total = m->shared ? m->P : m->N * m->P;
        LA_TRY(
            la__launch(m->call->dev,
                       &(la_launch){ .program = "affine", .entry = "affine_bwd_points", .global = { (size_t)total } },
                       (la_karg[]){ LA_T(dpoints), LA_T(g), LA_T(m->theta), LA_INT(total), LA_INT(m->P), LA_INT(m->N),
                                    LA_INT(m->shared), LA_FLOAT(m->gain) },
                       8));
    }
done:
    return err;
}

static const la_family affine = { .extras = 0, .check = check, .forward = family_forward, .backward = family_backward };

static int points_forward(la_call *c)
{
    return la__points_forward(c, &affine);
}

static int points_backward(la_call *c, la_tensor *const *g)
{
    return la__points_backward(c, g[0], &affine);
}

static int grid_forward(la_call *c)
{
    return la__grid_forward(c, &affine);
}

static int grid_backward(la_call *c, la_tensor *const *g)
{
    return la__grid_backward(c, g[0], &affine);
}

#define PARAM_THETA                                                                                                    \
    {                                                                                                                  \
        LA_P_TENSOR, "theta", NULL, "(N, 6) or (N, 2, 3), float32: x' = t1 x + t2 y + t3, y' = t4 x + t5 y + t6", NULL \
    }

static const la_param points_params[] = { PARAM_THETA, LA_PARAM_POINTS, { LA_P_END, NULL, NULL, NULL, NULL } };
static const la_param grid_params[] = {
    PARAM_THETA, LA_PARAM_SIZE, LA_PARAM_OFFSET, { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_affine_points = {
    .name = "affine_points",
    .brief = "Maps points by an affine transformation; on another transformation's grid it is the exact composition.",
    .example = "local g = la.affine_points(affine, la.tps_grid(tps, { height = 15, width = 15 }))",
    .param = points_params,
    .forward = points_forward,
    .backward = points_backward,
};

const la_op la_op_affine_grid = {
    .name = "affine_grid",
    .brief = "Source coordinates (N, height, width, 2) of an affine transformation for each cell of a target grid; "
             "corners aligned.",
    .example = "local warped = la.grid_sample(image, la.affine_grid(theta, { height = 240, width = 240 }))",
    .param = grid_params,
    .forward = grid_forward,
    .backward = grid_backward,
};
