/* SPDX-License-Identifier: MIT
 *
 * grid_sample.c -- bilinear sampling with aligned corners and zero padding.
 */
#include "ops/grid_sample.h"

enum { IMAGE, GRID };
enum { CHANNELS = 16 }; /* per work-item, as in the kernels */

static int64_t blocks(int64_t channels)
{
    return (channels + CHANNELS - 1) / CHANNELS;
}

int la__check_grid(const la_call *c, int slot, int64_t N)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    const la_tensor *grid = c->in[slot];
    LA_TRY(la__check_f32(c, slot));
    if (grid->ndim != 4 || grid->dim[3] != 2 || grid->dim[0] != N)
        return la_fail(LA_ESHAPE, "%s: %s must be (%lld, h, w, 2), got %s", c->op->name, la__slot_name(c, slot),
                       (long long)N, la__shape(grid, text));
done:
    return err;
}

int la__sample(la_tensor **out, la_tensor *image, la_tensor *grid)
{
    int err = 0;
    la_device *dev = image->storage->dev;
    const int64_t *d = image->dim, P = grid->dim[1] * grid->dim[2], total = P * blocks(d[3]);

    LA_TRY(la_tensor_new(out, dev, LA_F32, LA_DIMS(d[0], grid->dim[1], grid->dim[2], d[3])));
    if (d[0] == 0)
        return 0;
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "grid_sample",
                                    .entry = "grid_sample_fwd",
                                    .global = { (size_t)total, (size_t)d[0] },
                                    .bytes = 4.0 * (double)(d[0] * P * (5 * d[3] + 2)) },
                      (la_karg[]){ LA_T(*out), LA_T(image), LA_T(grid), LA_INT(total), LA_INT(P), LA_INT(d[1]),
                                   LA_INT(d[2]), LA_INT(d[3]) },
                      8));
done:
    return err;
}

int la__sample_grad_grid(la_tensor **out, la_tensor *g, la_tensor *image, la_tensor *grid)
{
    int err = 0;
    la_device *dev = image->storage->dev;
    const int64_t *d = image->dim, P = grid->dim[1] * grid->dim[2], total = d[0] * P;

    LA_TRY(la__like(out, grid));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "grid_sample",
                                    .entry = "grid_sample_bwd_grid",
                                    .global = { (size_t)total },
                                    .bytes = 4.0 * (double)(total * (5 * d[3] + 4)) },
                      (la_karg[]){ LA_T(*out), LA_T(g), LA_T(image), LA_T(grid), LA_INT(total), LA_INT(P), LA_INT(d[1]),
                                   LA_INT(d[2]), LA_INT(d[3]) },
                      9));
done:
    return err;
}

/* Rows per work-item: each one reads all points, so a CPU with few cores takes wide bands and a GPU single rows. The
 * sums do not depend on it. */
static int64_t rows_per_item(const la_device *dev, int64_t height)
{
    return la__device_is_cpu(dev) && height > 32 ? (height + 15) / 16 : 1;
}

int la__sample_grad_image(la_tensor **out, la_tensor *g, la_tensor *grid, const la_tensor *like)
{
    int err = 0;
    la_device *dev = g->storage->dev;
    const int64_t *d = like->dim, P = grid->dim[1] * grid->dim[2];
    const int64_t band = rows_per_item(dev, d[1]), total = d[0] * ((d[1] + band - 1) / band) * blocks(d[3]);

    LA_TRY(la__like(out, like));
    LA_TRY(la__launch(dev,
                      &(la_launch){ .program = "grid_sample",
                                    .entry = "grid_sample_bwd_image",
                                    .global = { (size_t)total },
                                    .bytes = 4.0 * (double)(d[0] * P * (9 * d[3] + 2)) },
                      (la_karg[]){ LA_T(*out), LA_T(g), LA_T(grid), LA_INT(total), LA_INT(P), LA_INT(d[1]),
                                   LA_INT(d[2]), LA_INT(d[3]), LA_INT(band) },
                      9));
done:
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    la_tensor *image = NULL, *grid = NULL;

    LA_TRY(la__check_f32(c, IMAGE));
    LA_TRY(la__check_ndim(c, IMAGE, 4));
    LA_TRY(la__check_grid(c, GRID, c->in[IMAGE]->dim[0]));
    LA_TRY(la__dense(&image, c->in[IMAGE]));
    LA_TRY(la__dense(&grid, c->in[GRID]));
    LA_TRY(la__sample(&c->out[0], image, grid));
done:
    la_tensor_release(&image);
    la_tensor_release(&grid);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *image = NULL, *grid = NULL, *gd = NULL;

    LA_TRY(la__dense(&grid, c->in[GRID]));
    LA_TRY(la__dense(&gd, g[0]));
    if (la__wants(c, IMAGE))
        LA_TRY(la__sample_grad_image(&c->grad[IMAGE], gd, grid, c->in[IMAGE]));
    if (la__wants(c, GRID)) {
        LA_TRY(la__dense(&image, c->in[IMAGE]));
        LA_TRY(la__sample_grad_grid(&c->grad[GRID], gd, image, grid));
    }
done:
    la_tensor_release(&image);
    la_tensor_release(&grid);
    la_tensor_release(&gd);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "image", NULL, "(N, H, W, C), float32: an image, features, or another transformation's grid", NULL },
    { LA_P_TENSOR, "grid", NULL, "(N, h, w, 2), float32: x before y, -1 and 1 are the centres of the border cells",
      NULL },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_grid_sample = {
    .name = "grid_sample",
    .brief = "Samples an image bilinearly at the points of a grid, (N, h, w, C); corners outside the image count as 0.",
    .example = "local warped = la.grid_sample(image, la.affine_grid(theta, { height = 240, width = 240 }))",
    .param = params,
    .forward = forward,
    .backward = backward,
};
