/* SPDX-License-Identifier: MIT
 *
 * resize.c -- bilinear resizing without antialiasing, as the alignment papers prepare their images.
 */
#include "ops/op.h"

enum { HEIGHT = 1, WIDTH, MODE };
enum { ALIGNED = 0 };
enum { LARGEST = 32767 }; /* the kernels' whole-number arithmetic fits 32 bits */

static int run(const la_call *c, const char *entry, la_tensor *out, la_tensor *in, const int64_t *d, int64_t total)
{
    return la__launch(c->dev,
                      &(la_launch){ .program = "resize",
                                    .entry = entry,
                                    .global = { (size_t)total },
                                    .bytes = 4.0 * (double)(la_tensor_numel(in) + la_tensor_numel(out)) },
                      (la_karg[]){ LA_T(out), LA_T(in), LA_INT(total), LA_INT(d[1]), LA_INT(d[2]), LA_INT(d[3]),
                                   LA_INT(c->arg[HEIGHT].ints[0]), LA_INT(c->arg[WIDTH].ints[0]),
                                   LA_INT(c->arg[MODE].ints[0] == ALIGNED) },
                      9);
}

static int forward(la_call *c)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    la_tensor *x = NULL;
    const int64_t h = c->arg[HEIGHT].ints[0], w = c->arg[WIDTH].ints[0];

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(la__check_ndim(c, 0, 4));
    const int64_t *d = c->in[0]->dim;
    if (h < 1 || w < 1 || h > LARGEST || w > LARGEST) {
        err = la_fail(LA_EARG, "resize: height and width must be from 1 to %d, got %lld and %lld", LARGEST,
                      (long long)h, (long long)w);
        goto done;
    }
    if (d[1] < 1 || d[2] < 1 || d[1] > LARGEST || d[2] > LARGEST) {
        err = la_fail(LA_ESHAPE, "resize: x must have 1 to %d rows and columns, got %s", LARGEST,
                      la__shape(c->in[0], text));
        goto done;
    }
    LA_TRY(la__dense(&x, c->in[0]));
    LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(d[0], h, w, d[3])));
    LA_TRY(run(c, "resize_fwd", c->out[0], x, d, d[0] * h * w));
done:
    la_tensor_release(&x);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *gd = NULL;
    const int64_t *d = c->in[0]->dim;

    LA_TRY(la__dense(&gd, g[0]));
    LA_TRY(la__like(&c->grad[0], c->in[0]));
    LA_TRY(run(c, "resize_bwd_x", c->grad[0], gd, d, d[0] * d[1] * d[2]));
done:
    la_tensor_release(&gd);
    return err;
}

static const la_param params[] = { { LA_P_TENSOR, "x", NULL, "images or features (N, H, W, C), float32", NULL },
                                   { LA_P_INT, "height", NULL, "rows of the result", NULL },
                                   { LA_P_INT, "width", NULL, "columns of the result", NULL },
                                   { LA_P_CHOICE, "mode", "aligned",
                                     "aligned: border centres coincide; half_pixel: borders coincide",
                                     "aligned|half_pixel" },
                                   { LA_P_END, NULL, NULL, NULL, NULL } };

const la_op la_op_resize = {
    .name = "resize",
    .brief = "Resizes bilinearly, without antialiasing.",
    .example = "local small = la.resize(images, { height = 240, width = 240 })",
    .param = params,
    .forward = forward,
    .backward = backward,
    .shape_only = 1,
};
