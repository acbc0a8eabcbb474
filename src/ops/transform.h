/* SPDX-License-Identifier: MIT
 *
 * transform.h -- what the affine, thin-plate spline and homography ops share. Each family is a pair of ops:
 *
 *   <family>_points(theta, points, {extras})                          maps points (N or 1, ..., 2)
 *   <family>_grid(theta, {height, width, extras, offset})             maps the identity grid, (N, height, width, 2)
 *
 * The grid op is the points op on the identity grid, with its coordinates divided by `offset` before and multiplied
 * after. theta is (N, T), any split of T into further dimensions, or (T) for N = 1.
 */
#ifndef LA_TRANSFORM_H
#define LA_TRANSFORM_H

#include "ops/op.h"

/* Points summed by one work-item when the gradient of theta is gathered: fixed, so that results do not depend on the
 * device. */
enum { LA_POINTS_CHUNK = 256 };

typedef struct la_mapping {
    const la_call *call;
    const la_value *extra; /* the family's own parameters */
    la_tensor *theta;      /* dense, (N, T) in memory */
    la_tensor *points;     /* dense, (N or 1, P, 2) in memory */
    int64_t N, T, P;
    int64_t chunks; /* ceil(P / LA_POINTS_CHUNK) */
    bool shared;    /* one set of points for all samples */
    bool grid;      /* called as a grid op */
    float gain;     /* multiplies the result */
} la_mapping;

typedef struct la_family {
    int extras; /* parameters of its own */

    /* Whether T numbers make a theta; sets the message. */
    int (*check)(const la_mapping *m);
    /* out: dense, N * P points. */
    int (*forward)(const la_mapping *m, la_tensor *out);
    /* g: dense, as out. Either result may be NULL; dpoints has the shape of points. */
    int (*backward)(const la_mapping *m, la_tensor *g, la_tensor *dtheta, la_tensor *dpoints);
} la_family;

int la__points_forward(la_call *c, const la_family *f);
int la__points_backward(la_call *c, la_tensor *g, const la_family *f);
int la__grid_forward(la_call *c, const la_family *f);
int la__grid_backward(la_call *c, la_tensor *g, const la_family *f);

#define LA_PARAM_POINTS                                                                                     \
    {                                                                                                       \
        LA_P_TENSOR, "points", NULL,                                                                        \
            "points (N, ..., 2), x before y, float32; a first dimension of 1 is shared by all thetas", NULL \
    }
#define LA_PARAM_SIZE                                        \
    { LA_P_INT, "height", NULL, "rows of the grid", NULL },  \
    {                                                        \
        LA_P_INT, "width", NULL, "columns of the grid", NULL \
    }
#define LA_PARAM_OFFSET                                                                              \
    {                                                                                                \
        LA_P_NUMBER, "offset", "1",                                                                  \
            "the grid is divided by this before the transformation and multiplied by it after", NULL \
    }

#endif
