/* SPDX-License-Identifier: MIT
 *
 * conv2d.c -- two-dimensional convolution: what it takes, and which kernels do it.
 */
#include "ops/winograd.h"

#include <math.h>
#include <stdio.h>

enum { X, WEIGHT, BIAS };                                   /* tensor slots */
enum { STRIDE, PADDING, DILATION, GROUPS };                 /* options that all convolutions have, from the first on */
enum { FIRST = 3, PRECISION = FIRST + GROUPS + 1, METHOD }; /* parameters */

double la__conv_flops(const la_conv *s)
{
    return 2.0 * s->n * s->oh * s->ow * (double)s->o * s->kh * s->kw * (s->c / s->groups);
}

double la__conv_bytes(const la_conv *s)
{
    return 4.0 * ((double)s->n * s->h * s->w * s->c + (double)s->n * s->oh * s->ow * s->o +
                  (double)s->o * s->kh * s->kw * (s->c / s->groups));
}

bool la__conv_merges_rows(const la_conv *s)
{
    return s->groups == 1 && s->c < 16 && s->kw > 1 && s->dw == 1 && s->kh * s->kw * s->c <= 256;
}

/* ---- arguments ---- */

/* One number for both directions, or one for each; at least `least`. */
static int pair(int32_t out[2], const la_call *c, int parameter, int64_t least)
{
    const la_value *v = &c->arg[parameter];
    const char *name = c->op->param[parameter].name;
    if (v->count < 1 || v->count > 2)
        return la_fail(LA_EARG, "%s: %s must be 1 or 2 numbers, got %d", c->op->name, name, v->count);
    for (int i = 0; i < 2; i++) {
        const int64_t n = v->ints[v->count == 1 ? 0 : i];
        if (n < least || n > 1 << 20)
            return la_fail(LA_EARG, "%s: %s must be at least %lld, got %lld", c->op->name, name, (long long)least,
                           (long long)n);
        out[i] = (int32_t)n;
    }
    return 0;
}

/* Top, bottom, left, right. */
static int padding(int32_t out[4], const la_call *c, int parameter)
{
    static const int from[5][4] = { { 0 }, { 0, 0, 0, 0 }, { 0, 0, 1, 1 }, { 0 }, { 0, 1, 2, 3 } };
    const la_value *v = &c->arg[parameter];
    if (v->count != 1 && v->count != 2 && v->count != 4)
        return la_fail(LA_EARG,
                       "%s: padding must be 1, 2 (rows, columns) or 4 (top, bottom, left, right) numbers, got %d",
                       c->op->name, v->count);
    for (int i = 0; i < 4; i++) {
        const int64_t n = v->ints[from[v->count][i]];
        if (n < 0 || n > 1 << 20)
            return la_fail(LA_EARG, "%s: padding must be at least 0, got %lld", c->op->name, (long long)n);
        out[i] = (int32_t)n;
    }
    return 0;
}

/* Channels and groups of x, weight and bias against each other. */
static int check_channels(la_conv *s, const la_call *c, int64_t groups)
{
    char tx[LA_SHAPE_TEXT], tw[LA_SHAPE_TEXT];
    const la_tensor *x = c->in[X], *w = c->in[WEIGHT], *bias = c->in[BIAS];
    const int64_t channels = x->dim[3];
    const char *op = c->op->name;

    if (groups < 1 || channels % groups != 0 || w->dim[0] % groups != 0)
        return la_fail(LA_EARG, "%s: groups must divide the %lld channels of x and the %lld of weight, got %lld", op,
                       (long long)channels, (long long)w->dim[0], (long long)groups);
    if (w->dim[3] * groups != channels)
        return la_fail(LA_ESHAPE, "%s: weight must be (out, rows, columns, %lld) for x %s in %lld group%s, got %s", op,
                       (long long)(channels / groups), la__shape(x, tx), (long long)groups, groups == 1 ? "" : "s",
                       la__shape(w, tw));
    if (bias && (bias->ndim != 1 || bias->dim[0] != w->dim[0]))
        return la_fail(LA_ESHAPE, "%s: bias must be (%lld), got %s", op, (long long)w->dim[0], la__shape(bias, tx));
    for (int d = 0; d < 4; d++)
        if (w->dim[d] < 1 || w->dim[d] > INT32_MAX)
            return la_fail(LA_ESHAPE, "%s: weight must not be empty, got %s", op, la__shape(w, tw));
    s->groups = (int32_t)groups;
    return 0;
}

int la__conv_check(la_conv *s, const la_call *c, int first)
{
    int err = 0;
    int32_t stride[2] = { 1, 1 }, dilation[2] = { 1, 1 }, pad[4] = { 0 };

    for (int slot = X; slot <= BIAS; slot++)
        if (c->in[slot])
            LA_TRY(la__check_f32(c, slot));
    LA_TRY(la__check_ndim(c, X, 4));
    LA_TRY(la__check_ndim(c, WEIGHT, 4));
    LA_TRY(pair(stride, c, first + STRIDE, 1));
    LA_TRY(pair(dilation, c, first + DILATION, 1));
    LA_TRY(padding(pad, c, first + PADDING));
    LA_TRY(check_channels(s, c, c->arg[first + GROUPS].ints[0]));
    const int64_t *dx = c->in[X]->dim, *dw = c->in[WEIGHT]->dim;
    const int64_t h = dx[1] + pad[0] + pad[1], w = dx[2] + pad[2] + pad[3];
    const int64_t rows = dilation[0] * (dw[1] - 1) + 1, columns = dilation[1] * (dw[2] - 1) + 1;
    if (rows > h || columns > w)
        return la_fail(LA_ESHAPE, "%s: the kernel covers %lld x %lld pixels, the padded x has %lld x %lld", c->op->name,
                       (long long)rows, (long long)columns, (long long)h, (long long)w);
    *s = (la_conv){ .n = (int32_t)dx[0],
                    .h = (int32_t)dx[1],
                    .w = (int32_t)dx[2],
                    .c = (int32_t)dx[3],
                    .o = (int32_t)dw[0],
                    .kh = (int32_t)dw[1],
                    .kw = (int32_t)dw[2],
                    .oh = (int32_t)((h - rows) / stride[0] + 1),
                    .ow = (int32_t)((w - columns) / stride[1] + 1),
                    .sh = stride[0],
                    .sw = stride[1],
                    .top = pad[0],
                    .left = pad[2],
                    .dh = dilation[0],
                    .dw = dilation[1],
                    .groups = s->groups };
done:
    return err;
}

/* ---- the passes ---- */

bool la__conv_is_product(const la_conv *s)
{
    return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->groups == 1 && s->oh == s->h && s->ow == s->w;
}

/* c (pixels, columns) = a op(weight), with what follows. */
static int as_product(la_device *dev, const la_conv *s, la_method method, la_tensor *out, const la_tensor *a,
                      const la_filter *f, const la_epilogue *e, bool data_gradient)
{
    int err = 0;
    char key[64];
    la_norm norm = { 0 };
    const la_tensor *from[LA_DERIVED_FROM];
    const int origins = la__filter_origins(from, f);

    LA_TRY(la__conv_norm(&norm, dev, f));
    snprintf(key, sizeof key, "conv2d product%s eps %.9g", data_gradient ? " back" : "", f->eps);
    LA_TRY(la__gemm(dev, &(la_gemm){ .method = method,
                                     .batch = 1,
                                     .m = (int64_t)s->n * s->h * s->w,
                                     .n = data_gradient ? s->c : s->o,
                                     .k = data_gradient ? s->o : s->c,
                                     .tb = !data_gradient,
                                     .a = a->storage->buffer,
                                     .b = f->weight->storage->buffer,
                                     .c = out->storage->buffer,
                                     .scale = norm.scale < 0 ? NULL : norm.buffer,
                                     .scale_rows = data_gradient,
                                     .bias = data_gradient ? NULL : norm.alone,
                                     .residual = e ? e->residual : NULL,
                                     .clamp = e && (e->low > -INFINITY || e->high < INFINITY),
                                     .low = e ? e->low : 0.0f,
                                     .high = e ? e->high : 0.0f,
                                     .origins = origins,
                                     .origin = from,
                                     .key = key }));
done:
    la__conv_norm_give(&norm);
    return err;
}

int la__conv_norm(la_norm *out, la_device *dev, const la_filter *f)
{
    int err = 0;
    char key[64];
    const la_tensor *from[] = { f->norm[0], f->norm[1], f->norm[2], f->norm[3], f->bias };
    const la_tensor *bias = f->bias ? f->bias : f->norm[0];

    *out = (la_norm){ .scale = -1, .shift = f->bias && !from[0] ? 0 : -1 };
    if (!from[0]) {
        out->buffer = out->alone = f->bias ? f->bias->storage->buffer : NULL;
        return 0;
    }
    const int64_t n = la_tensor_numel(from[0]);
    snprintf(key, sizeof key, "conv2d norm eps %.9g", f->eps);
    LA_TRY(la__derived_take(&out->held[0], key, (size_t)n * 8, LA_COUNT(from), from));
    snprintf(key, sizeof key, "conv2d shift eps %.9g", f->eps);
    LA_TRY(la__derived_take(&out->held[1], key, (size_t)n * 4, LA_COUNT(from), from));
    out->buffer = out->held[0].buffer;
    out->alone = out->held[1].buffer;
    out->scale = 0;
    out->shift = (int32_t)n;
    if (!out->held[0].ready || !out->held[1].ready)
        LA_TRY(la__launch(dev, &(la_launch){ .program = "conv2d", .entry = "conv2d_norm", .global = { (size_t)n } },
                          (la_karg[]){ LA_BUF(out->buffer), LA_BUF(out->alone), LA_T(bias), LA_T(from[0]),
                                       LA_T(from[1]), LA_T(from[2]), LA_T(from[3]), LA_INT(n), LA_INT(f->bias != NULL),
                                       LA_FLOAT(f->eps) },
                          10));
done:
    if (err < 0) {
        la__conv_norm_give(out);
        la__derived_forget(from[0]->storage);
    }
    return err;
}

void la__conv_norm_give(la_norm *norm)
{
    la__derived_give(&norm->held[0]);
    la__derived_give(&norm->held[1]);
}

/* A method that is there for other shapes or other ops alone. */
static int refuse(const la_call *c, la_method method)
{
    static const char *const name[] = {
        [LA_WINOGRAD4] = "winograd4", [LA_WINOGRAD2] = "winograd2", [LA_CLBLAST] = "clblast"
    };
    return la_fail(LA_EARG, "%s: method %s cannot do this convolution", c->op->name, name[method]);
}

static int as_bfloat16(const la_call *c, const la_conv *s, la_method asked, la_tensor *y, const la_tensor *x,
                       const la_filter *f, const la_epilogue *e)
{
    int err = 0;
    bool works = false;
    la_conv_plan winograd;
    la_method method = asked;
    if (method == LA_AUTO || method == LA_CPU || (method == LA_WINOGRAD4 && la__winograd_fits(s)))
        LA_TRY(la__conv_bf16_works(&works, c->dev));
    if (!works)
        return la_fail(LA_EARG,
                       "%s: precision must be default or strict here: bfloat16 needs a processor that multiplies it "
                       "(AVX512-BF16) and method auto, cpu or, where it fits, winograd4",
                       c->op->name);
    if (method == LA_AUTO && la__conv_merges_rows(s)) { /* rounding so short rows takes longer than it saves */
        const la_conv_plan exact = la__conv_plan_sweep(c->dev, s, method, LA_DEFAULT, false);
        return la__conv_forward(c->dev, s, &exact, y, x, f, e);
    }
    if (method == LA_AUTO && la__winograd_fits(s))
        method = la__winograd_pays(s, LA_BFLOAT16);
    if (method == LA_WINOGRAD4 && la__winograd_bf16(&winograd, c->dev))
        return la__winograd_forward(c->dev, s, &winograd, y, x, f, e);
    if (asked == LA_WINOGRAD4)
        return refuse(c, asked);
    LA_TRY(la__conv_bf16_forward(c->dev, s, y, x, f, e));
done:
    return err;
}

int la__conv_apply(const la_call *c, const la_conv *s, int precision, la_tensor *y, const la_tensor *x,
                   const la_filter *f, const la_epilogue *e)
{
    const la_precision p = (la_precision)c->arg[precision].ints[0];
    const la_method method = (la_method)c->arg[precision + 1].ints[0];
    const bool winograd = method == LA_WINOGRAD4 || method == LA_WINOGRAD2;
    const bool depthwise = s->groups == s->c && s->o == s->c;
    if (p == LA_BFLOAT16 && !depthwise)
        return as_bfloat16(c, s, method, y, x, f, e);
    if (la__conv_is_product(s) && !winograd)
        return as_product(c->dev, s, method, y, x, f, e, false);
    const la_conv_plan plan = la__conv_plan_sweep(c->dev, s, method, p, false);
    if ((winograd && plan.method != method) || method == LA_CLBLAST)
        return refuse(c, method);
    return la__conv_forward(c->dev, s, &plan, y, x, f, e);
}

int la__conv_apply_x(const la_call *c, const la_conv *s, int precision, la_tensor *dx, const la_tensor *dy,
                     const la_filter *f)
{
    const la_method method = (la_method)c->arg[precision + 1].ints[0];
    if (la__conv_is_product(s))
        return as_product(c->dev, s, method, dx, dy, f, NULL, true);
    const la_conv_plan plan = la__conv_plan_sweep(c->dev, s, method, (la_precision)c->arg[precision].ints[0], true);
    return la__conv_backward_x(c->dev, s, &plan, dx, dy, f);
}

/* ---- the op ---- */

static int forward(la_call *c)
{
    int err = 0;
    la_conv s = { 0 };
    la_tensor *x = NULL, *w = NULL, *bias = NULL;

    LA_TRY(la__conv_check(&s, c, FIRST));
    LA_TRY(la__dense(&x, c->in[X]));
    LA_TRY(la__dense(&w, c->in[WEIGHT]));
    if (c->in[BIAS])
        LA_TRY(la__dense(&bias, c->in[BIAS]));
    LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(s.n, s.oh, s.ow, s.o)));
    LA_TRY(la__conv_apply(c, &s, PRECISION, c->out[0], x, &(la_filter){ .weight = w, .bias = bias }, NULL));
done:
    la_tensor_release(&x);
    la_tensor_release(&w);
    la_tensor_release(&bias);
    return err;
}

static int gradient_x(la_call *c, const la_conv *s, const la_tensor *dy)
{
    int err = 0;
    la_tensor *w = NULL;
    LA_TRY(la__dense(&w, c->in[WEIGHT]));
    LA_TRY(la__like(&c->grad[X], c->in[X]));
    LA_TRY(la__conv_apply_x(c, s, PRECISION, c->grad[X], dy, &(la_filter){ .weight = w }));
done:
    la_tensor_release(&w);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_conv s = { 0 };
    la_tensor *x = NULL, *dy = NULL;

    LA_TRY(la__conv_check(&s, c, FIRST));
    LA_TRY(la__dense(&dy, g[0]));
    if (la__wants(c, X))
        LA_TRY(gradient_x(c, &s, dy));
    if (la__wants(c, WEIGHT)) {
        const la_conv_plan p = la__conv_plan_weight(c->dev, &s, (la_method)c->arg[METHOD].ints[0],
                                                    (la_precision)c->arg[PRECISION].ints[0]);
        LA_TRY(la__dense(&x, c->in[X]));
        LA_TRY(la__like(&c->grad[WEIGHT], c->in[WEIGHT]));
        LA_TRY(la__conv_backward_weight(c->dev, &s, &p, c->grad[WEIGHT], dy, x));
    }
    if (c->in[BIAS] && la__wants(c, BIAS)) {
        LA_TRY(la__like(&c->grad[BIAS], c->in[BIAS]));
        LA_TRY(la__column_sum(c->grad[BIAS], dy, (int64_t)s.n * s.oh * s.ow, s.o));
    }
done:
    la_tensor_release(&x);
    la_tensor_release(&dy);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "feature map (N, H, W, C), float32", NULL },
    { LA_P_TENSOR, "weight", NULL, "(O, KH, KW, C / groups), float32", NULL },
    { LA_P_TENSOR, "bias", "nil", "(O), float32", NULL },
    { LA_P_INTS, "stride", "1", "pixels from one output to the next: 1 number, or 2 for rows and columns", NULL },
    { LA_P_INTS, "padding", "0", "zeros around x: 1 number, 2 (rows, columns) or 4 (top, bottom, left, right)", NULL },
    { LA_P_INTS, "dilation", "1", "pixels from one tap of the kernel to the next: 1 or 2 numbers", NULL },
    { LA_P_INT, "groups", "1", "channels are split into that many convolutions; C for a depthwise one", NULL },
    { LA_P_CHOICE, "precision", "default",
      "default: float32; strict: float32, no fast algorithm with larger errors; bfloat16: forward, where faster, "
      "factors rounded to 8 bits (Winograd's after its transform), sums float32; else as default",
      LA_PRECISIONS },
    { LA_P_CHOICE, "method", "auto", "which kernels; all but auto are there to compare with", LA_METHODS },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_conv2d = {
    .name = "conv2d",
    .brief =
        "Convolution (without flipping the kernel), y[i, j] = b + sum_{u, v} W[u, v] x[i s - p + u d, j s - p + v d].",
    .example = "local y = la.conv2d(x, weight, bias, { stride = 2, padding = 1 })",
    .param = params,
    .forward = forward,
    .backward = backward,
};
