/* SPDX-License-Identifier: MIT
 *
 * pool2d.c -- largest and mean value of windows of an image.
 */
#include "ops/variant.h"

/* Mirrors `shape` in cl/pool2d.cl. */
typedef struct pool_shape {
    int32_t n, h, w, c;
    int32_t oh, ow, kh, kw, sh, sw;
    int32_t top, bottom, left, right;
    int32_t include_pad;
} pool_shape;

enum { X, KERNEL, STRIDE, PADDING, CEIL, INCLUDE_PAD, BLOCK = 8 };

/* One number for both axes, or { y, x }. */
static int read_pair(int32_t *y, int32_t *x, const la_call *c, int param, int64_t least)
{
    const la_value *v = &c->arg[param];
    if (v->count < 1 || v->count > 2)
        return la_fail(LA_EARG, "%s: %s must be one number or { y, x }, got %d numbers", c->op->name,
                       c->op->param[param].name, v->count);
    for (int i = 0; i < v->count; i++)
        if (v->ints[i] < least || v->ints[i] > INT16_MAX)
            return la_fail(LA_EARG, "%s: %s must be at least %lld, got %lld", c->op->name, c->op->param[param].name,
                           (long long)least, (long long)v->ints[i]);
    *y = (int32_t)v->ints[0];
    *x = (int32_t)v->ints[v->count - 1];
    return 0;
}

/* One number for all sides, { y, x }, or { top, bottom, left, right }; each less than the window, so that no window
 * lies in the padding alone. */
static int read_padding(pool_shape *s, const la_call *c)
{
    const la_value *v = &c->arg[PADDING];
    if (v->count < 1 || v->count == 3 || v->count > 4)
        return la_fail(LA_EARG,
                       "%s: padding must be one number, { y, x } or { top, bottom, left, right }, got %d numbers",
                       c->op->name, v->count);
    for (int i = 0; i < v->count; i++) {
        const int vertical = v->count == 4 ? i < 2 : i == 0;
        const int32_t most = v->count == 1 ? (s->kh < s->kw ? s->kh : s->kw) : vertical ? s->kh : s->kw;
        if (v->ints[i] < 0 || v->ints[i] >= most)
            return la_fail(LA_EARG, "%s: padding must be from 0 to less than the window's %d, got %lld", c->op->name,
                           (int)most, (long long)v->ints[i]);
    }
    const int64_t *p = v->ints;
    const int last = v->count - 1;
    s->top = (int32_t)p[0];
    s->bottom = (int32_t)p[v->count == 4 ? 1 : 0];
    s->left = (int32_t)p[v->count == 4 ? 2 : last];
    s->right = (int32_t)p[v->count == 4 ? 3 : last];
    return 0;
}

/* Windows along an axis. With `ceil` the last one may reach past the padding, but starts before it does. */
static int32_t windows(int64_t size, int32_t before, int32_t after, int32_t window, int32_t stride, bool ceil)
{
    const int64_t room = size + before + after - window;
    if (room < 0 && !(ceil && size > 0))
        return 0;
    int64_t n = (room + (ceil ? stride - 1 : 0)) / stride + 1;
    if (room < 0)
        n = 1;
    if (ceil && (n - 1) * stride >= size + before)
        n--;
    return (int32_t)n;
}

static int read_shape(pool_shape *s, const la_call *c)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    const la_tensor *x = c->in[0];

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(la__check_ndim(c, 0, 4));
    *s = (pool_shape){
        .n = (int32_t)x->dim[0], .h = (int32_t)x->dim[1], .w = (int32_t)x->dim[2], .c = (int32_t)x->dim[3]
    };
    LA_TRY(read_pair(&s->kh, &s->kw, c, KERNEL, 1));
    LA_TRY(read_pair(&s->sh, &s->sw, c, c->arg[STRIDE].count > 0 ? STRIDE : KERNEL, 1));
    LA_TRY(read_padding(s, c));
    const bool ceil = c->arg[CEIL].ints[0];
    s->oh = windows(x->dim[1], s->top, s->bottom, s->kh, s->sh, ceil);
    s->ow = windows(x->dim[2], s->left, s->right, s->kw, s->sw, ceil);
    if (s->oh < 1 || s->ow < 1)
        return la_fail(LA_ESHAPE, "%s: x must be at least as large as a window of %d x %d, got %s", c->op->name,
                       (int)s->kh, (int)s->kw, la__shape(x, text));
    s->include_pad = c->arg[INCLUDE_PAD].ints[0] != 0; /* 0 for max_pool2d, which has no such parameter */
done:
    return err;
}

/* Work-items for the places of a map of h x w. */
static size_t items(const pool_shape *s, int32_t h, int32_t w)
{
    return (size_t)s->n * (size_t)h * (size_t)w * (size_t)((s->c + BLOCK - 1) / BLOCK);
}

static double bytes(const pool_shape *s)
{
    return 4.0 * s->n * s->c * ((double)s->h * s->w + (double)s->oh * s->ow);
}

/* Whether work-items own whole rows. */
static bool by_rows(const la_call *c)
{
    return la__method(c->dev, LA_AUTO) == LA_CPU;
}

/* Rows of x of a work-item: few windows belong to two. */
static int32_t band_of(const pool_shape *s)
{
    return s->kh > 4 ? 4 * s->kh : 16;
}

static size_t bands(const pool_shape *s)
{
    return (size_t)s->n * (size_t)((s->h + band_of(s) - 1) / band_of(s));
}

static int forward(la_call *c, const char *entry, const char *entry_rows)
{
    int err = 0;
    pool_shape s;
    const bool rows = by_rows(c);
    la_tensor *x = NULL;

    LA_TRY(read_shape(&s, c));
    LA_TRY(la__dense(&x, c->in[0]));
    LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(s.n, s.oh, s.ow, s.c)));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "pool2d",
                                    .entry = rows ? entry_rows : entry,
                                    .global = { rows ? (size_t)s.n * (size_t)s.oh : items(&s, s.oh, s.ow) },
                                    .local = { rows ? 1 : 0 },
                                    .bytes = bytes(&s) },
                      (la_karg[]){ LA_T(c->out[0]), LA_T(x), LA_STRUCT(s) }, 3));
done:
    la_tensor_release(&x);
    return err;
}

static int max_forward(la_call *c)
{
    return forward(c, "max_pool2d_fwd", "max_pool2d_fwd_rows");
}

/* Where each window's largest is is found again here: the forward pass, which often has no backward, keeps nothing. */
static int max_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    pool_shape s;
    la_tensor *x = NULL, *where = NULL;

    LA_TRY(read_shape(&s, c));
    LA_TRY(la__dense(&x, c->in[0]));
    LA_TRY(la__like(&c->grad[0], x));
    if (by_rows(c)) {
        LA_TRY(la__launch(c->dev,
                          &(la_launch){ .program = "pool2d",
                                        .entry = "max_pool2d_bwd_x_rows",
                                        .global = { bands(&s) },
                                        .local = { 1 },
                                        .bytes = 2 * bytes(&s) },
                          (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_T(x), LA_STRUCT(s), LA_INT(band_of(&s)) }, 5));
        goto done;
    }
    LA_TRY(la_tensor_new(&where, c->dev, LA_I32, LA_DIMS(s.n, s.oh, s.ow, s.c)));
    LA_TRY(la__launch(
        c->dev,
        &(la_launch){
            .program = "pool2d", .entry = "max_pool2d_where", .global = { items(&s, s.oh, s.ow) }, .bytes = bytes(&s) },
        (la_karg[]){ LA_T(where), LA_T(x), LA_STRUCT(s) }, 3));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "pool2d",
                                    .entry = "max_pool2d_bwd_x",
                                    .global = { items(&s, s.h, s.w) },
                                    .bytes = 2 * bytes(&s) },
                      (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_T(where), LA_STRUCT(s) }, 4));
done:
    la_tensor_release(&x);
    la_tensor_release(&where);
    return err;
}

static int avg_forward(la_call *c)
{
    return forward(c, "avg_pool2d_fwd", "avg_pool2d_fwd_rows");
}

static int avg_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    pool_shape s;

    LA_TRY(read_shape(&s, c));
    LA_TRY(la_tensor_new(&c->grad[0], c->dev, LA_F32, LA_DIMS(s.n, s.h, s.w, s.c)));
    if (by_rows(c)) {
        LA_TRY(la__launch(c->dev,
                          &(la_launch){ .program = "pool2d",
                                        .entry = "avg_pool2d_bwd_x_rows",
                                        .global = { bands(&s) },
                                        .local = { 1 },
                                        .bytes = bytes(&s) },
                          (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_STRUCT(s), LA_INT(band_of(&s)) }, 4));
        goto done;
    }
    LA_TRY(la__launch(
        c->dev,
        &(la_launch){
            .program = "pool2d", .entry = "avg_pool2d_bwd_x", .global = { items(&s, s.h, s.w) }, .bytes = bytes(&s) },
        (la_karg[]){ LA_T(c->grad[0]), LA_T(g[0]), LA_STRUCT(s) }, 3));
done:
    return err;
}

#define PARAMS(PADDING_BRIEF)                                                                                        \
    { LA_P_TENSOR, "x", NULL, "image or features (N, H, W, C), float32", NULL },                                     \
        { LA_P_INTS, "kernel", NULL, "size of the window: one number, or { y, x }", NULL },                          \
        { LA_P_INTS, "stride", "nil", "step of the window: one number, or { y, x }; the window's size if left out",  \
          NULL },                                                                                                    \
        { LA_P_INTS, "padding", "0", "one number, { y, x } or { top, bottom, left, right }; " PADDING_BRIEF, NULL }, \
    {                                                                                                                \
        LA_P_BOOL, "ceil", "false", "a window may reach past the padding at the end, if it starts before that", NULL \
    }

static const la_param max_params[] = { PARAMS("counts as -infinity"), { LA_P_END, NULL, NULL, NULL, NULL } };

static const la_param avg_params[] = { PARAMS("counts as 0"),
                                       { LA_P_BOOL, "count_include_pad", "true",
                                         "divide by the window with its padding, not by the cells of x in it", NULL },
                                       { LA_P_END, NULL, NULL, NULL, NULL } };

const la_op la_op_max_pool2d = {
    .name = "max_pool2d",
    .brief = "The largest value of each window.",
    .example = "local y = la.max_pool2d(x, { kernel = 3, stride = 2, padding = 1 })",
    .param = max_params,
    .forward = max_forward,
    .backward = max_backward,
};

const la_op la_op_avg_pool2d = {
    .name = "avg_pool2d",
    .brief = "The mean of each window.",
    .example = "local y = la.avg_pool2d(x, { kernel = 2 })",
    .param = avg_params,
    .forward = avg_forward,
    .backward = avg_backward,
};
