/* SPDX-License-Identifier: MIT
 *
 * homography.c -- projective maps by matrix or by the images of the four corners.
 */
#include "ops/transform.h"

enum { CORNERS = 8, MATRIX = 9 };

static int check(const la_mapping *m)
{
    char text[LA_SHAPE_TEXT];
    if (m->T != CORNERS && m->T != MATRIX)
        return la_fail(LA_ESHAPE, "%s: theta must be (N, 8), (N, 9) or (N, 3, 3), got %s", m->call->op->name,
                       la__shape(m->call->in[0], text));
    return 0;
}

static float nudge(const la_mapping *m)
{
    return m->grid ? 0.0f : 1e-5f;
}

/* theta as (N, 9): itself, or the matrices of its corners. */
static int matrix_of(la_tensor **out, const la_mapping *m)
{
    int err = 0;
    if (m->T == MATRIX) {
        *out = la_tensor_retain(m->theta);
        return 0;
    }
    LA_TRY(la_tensor_new(out, m->call->dev, LA_F32, LA_DIMS(m->N, 9)));
    LA_TRY(la__launch(
        m->call->dev,
        &(la_launch){ .program = "homography", .entry = "homography_fwd_matrix", .global = { (size_t)m->N } },
        (la_karg[]){ LA_T(*out), LA_T(m->theta), LA_INT(m->N) }, 3));
done:
    return err;
}

static int family_forward(const la_mapping *m, la_tensor *out)
{
    int err = 0;
    la_tensor *matrix = NULL;
    const int64_t total = m->N * m->P;

    LA_TRY(matrix_of(&matrix, m));
    LA_TRY(la__launch(m->call->dev,
                      &(la_launch){ .program = "homography",
                                    .entry = "homography_fwd",
                                    .global = { (size_t)total },
                                    .bytes = 16.0 * (double)total },
                      (la_karg[]){ LA_T(out), LA_T(matrix), LA_T(m->points), LA_INT(total), LA_INT(m->P),
                                   LA_INT(m->shared), LA_FLOAT(nudge(m)), LA_FLOAT(m->gain) },
                      8));
done:
    la_tensor_release(&matrix);
    return err;
}

static int gradient_theta(const la_mapping *m, la_tensor *matrix, la_tensor *g, la_tensor *dtheta)
{
    int err = 0;
    la_tensor *partial = NULL, *dmatrix = NULL;
    la_device *dev = m->call->dev;

    LA_TRY(la_tensor_new(&partial, dev, LA_F32, LA_DIMS(m->N, m->chunks, 9)));
    if (m->T == MATRIX)
        dmatrix = la_tensor_retain(dtheta);
    else
        LA_TRY(la_tensor_new(&dmatrix, dev, LA_F32, LA_DIMS(m->N, 9)));
    LA_TRY(la__launch(
        dev,
        &(la_launch){
            .program = "homography", .entry = "homography_bwd_theta", .global = { (size_t)(m->N * m->chunks) } },
        (la_karg[]){ LA_T(partial), LA_T(g), LA_T(matrix), LA_T(m->points), LA_INT(m->N * m->chunks), LA_INT(m->P),
                     LA_INT(m->chunks), LA_INT(LA_POINTS_CHUNK), LA_INT(m->shared), LA_FLOAT(nudge(m)) },
        10));
    LA_TRY(la__launch(
        dev, &(la_launch){ .program = "homography", .entry = "homography_bwd_sum", .global = { (size_t)(m->N * 9) } },
        (la_karg[]){ LA_T(dmatrix), LA_T(partial), LA_INT(m->N * 9), LA_INT(m->chunks), LA_FLOAT(m->gain) }, 5));
    if (m->T == CORNERS)
        LA_TRY(la__launch(
            dev, &(la_launch){ .program = "homography", .entry = "homography_bwd_matrix", .global = { (size_t)m->N } },
            (la_karg[]){ LA_T(dtheta), LA_T(dmatrix), LA_T(matrix), LA_T(m->theta), LA_INT(m->N) }, 5));
done:
    la_tensor_release(&partial);
    la_tensor_release(&dmatrix);
    return err;
}

static int family_backward(const la_mapping *m, la_tensor *g, la_tensor *dtheta, la_tensor *dpoints)
{
    int err = 0;
    la_tensor *matrix = NULL;

    LA_TRY(matrix_of(&matrix, m));
    if (dtheta)
        LA_TRY(gradient_theta(m, matrix, g, dtheta));
    if (dpoints) {
        const int64_t total = m->shared ? m->P : m->N * m->P;
        LA_TRY(la__launch(
            m->call->dev,
            &(la_launch){ .program = "homography", .entry = "homography_bwd_points", .global = { (size_t)total } },
            (la_karg[]){ LA_T(dpoints), LA_T(g), LA_T(matrix), LA_T(m->points), LA_INT(total), LA_INT(m->P),
                         LA_INT(m->N), LA_INT(m->shared), LA_FLOAT(nudge(m)), LA_FLOAT(m->gain) },
            10));
    }
done:
    la_tensor_release(&matrix);
    return err;
}

static const la_family homography = {
    .extras = 0, .check = check, .forward = family_forward, .backward = family_backward
};

static int points_forward(la_call *c)
{
    return la__points_forward(c, &homography);
}

static int points_backward(la_call *c, la_tensor *const *g)
{
    return la__points_backward(c, g[0], &homography);
}

static int grid_forward(la_call *c)
{
    return la__grid_forward(c, &homography);
}

static int grid_backward(la_call *c, la_tensor *const *g)
{
    return la__grid_backward(c, g[0], &homography);
}

#define PARAM_THETA                                                                                               \
    {                                                                                                             \
        LA_P_TENSOR, "theta", NULL,                                                                               \
            "float32: (N, 9) or (N, 3, 3), a matrix by rows, or (N, 8), the x, then the y, of the images of the " \
            "corners (-1, -1), "                                                                                  \
            "(-1, 1), (1, -1), (1, 1)",                                                                           \
            NULL                                                                                                  \
    }

static const la_param points_params[] = { PARAM_THETA, LA_PARAM_POINTS, { LA_P_END, NULL, NULL, NULL, NULL } };
static const la_param grid_params[] = {
    PARAM_THETA, LA_PARAM_SIZE, LA_PARAM_OFFSET, { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_homography_points = {
    .name = "homography_points",
    .brief = "Maps points by a homography; its denominator k becomes k + sign(k) 1e-5, as in CNNGeometric.",
    .example = "local q = la.homography_points(theta, points)",
    .param = points_params,
    .forward = points_forward,
    .backward = points_backward,
};

const la_op la_op_homography_grid = {
    .name = "homography_grid",
    .brief =
        "Source coordinates (N, height, width, 2) of a homography for each cell of a target grid; corners aligned.",
    .example = "local warped = la.grid_sample(image, la.homography_grid(theta, { height = 240, width = 240 }))",
    .param = grid_params,
    .forward = grid_forward,
    .backward = grid_backward,
};
