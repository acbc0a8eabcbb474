/* SPDX-License-Identifier: MIT
 *
 * pad.c -- borders of zeros or of the mirrored image.
 */
#include "ops/op.h"

enum { PADDING = 1, MODE };
enum { SYMMETRIC = 1 };
enum { TOP, BOTTOM, LEFT, RIGHT };

static int check(int64_t *p, const la_call *c)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    const la_value *padding = &c->arg[PADDING];
    LA_TRY(la__check_f32(c, 0));
    LA_TRY(la__check_ndim(c, 0, 4));
    if (padding->count != 1 && padding->count != 4)
        return la_fail(LA_EARG, "pad: padding must be one number or { top, bottom, left, right }, got %d numbers",
                       padding->count);
    for (int i = 0; i < 4; i++) {
        p[i] = padding->ints[padding->count == 4 ? i : 0];
        if (p[i] < 0 || p[i] > INT32_MAX / 4)
            return la_fail(LA_EARG, "pad: padding must not be negative, got %lld", (long long)p[i]);
    }
    if (c->arg[MODE].ints[0] == SYMMETRIC && (c->in[0]->dim[1] < 1 || c->in[0]->dim[2] < 1))
        return la_fail(LA_ESHAPE, "pad: x has nothing to mirror, got %s", la__shape(c->in[0], text));
done:
    return err;
}

/* One work-item for each pixel of `out`. */
static int run(const la_call *c, const char *entry, la_tensor *out, la_tensor *in, const int64_t *p)
{
    const int64_t *d = c->in[0]->dim, *o = out->dim;
    if (la_tensor_numel(out) == 0)
        return 0;
    return la__launch(c->dev,
                      &(la_launch){ .program = "pad",
                                    .entry = entry,
                                    .global = { (size_t)o[2], (size_t)o[1], (size_t)o[0] },
                                    .bytes = 8.0 * (double)la_tensor_numel(out) },
                      (la_karg[]){ LA_T(out), LA_T(in), LA_INT(d[1]), LA_INT(d[2]), LA_INT(d[3]),
                                   LA_INT(d[1] + p[TOP] + p[BOTTOM]), LA_INT(d[2] + p[LEFT] + p[RIGHT]), LA_INT(p[TOP]),
                                   LA_INT(p[LEFT]), LA_INT(c->arg[MODE].ints[0] == SYMMETRIC) },
                      10);
}

static int forward(la_call *c)
{
    int err = 0;
    int64_t p[4];
    la_tensor *x = NULL;

    LA_TRY(check(p, c));
    LA_TRY(la__dense(&x, c->in[0]));
    const int64_t *d = x->dim;
    LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(d[0], d[1] + p[TOP] + p[BOTTOM], d[2] + p[LEFT] + p[RIGHT], d[3])));
    LA_TRY(run(c, "pad_fwd", c->out[0], x, p));
done:
    la_tensor_release(&x);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    int64_t p[4];
    la_tensor *gd = NULL;

    LA_TRY(check(p, c));
    LA_TRY(la__dense(&gd, g[0]));
    LA_TRY(la__like(&c->grad[0], c->in[0]));
    LA_TRY(run(c, "pad_bwd_x", c->grad[0], gd, p));
done:
    la_tensor_release(&gd);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "(N, H, W, C), float32", NULL },
    { LA_P_INTS, "padding", NULL, "one number for all sides, or { top, bottom, left, right }", NULL },
    { LA_P_CHOICE, "mode", "zeros", "zeros, or symmetric: mirrored at the edges, the edge pixel included",
      "zeros|symmetric" },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_pad = {
    .name = "pad",
    .brief = "Adds borders to images: zeros, or the image mirrored at its edges.",
    .example = "local wide = la.pad(images, { 240, 240, 320, 320 }, { mode = \"symmetric\" })",
    .param = params,
    .forward = forward,
    .backward = backward,
    .shape_only = 1,
};
