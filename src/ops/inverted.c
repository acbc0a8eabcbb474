/* SPDX-License-Identifier: MIT
 *
 * inverted.c -- an inverted residual block as one operation, for inference: on CPUs in bands of rows whose wide maps
 * stay in the cache (cl/inverted.cl), elsewhere as the three convolutions that it is made of.
 */
#include "ops/inverted.h"
#include "tensor/derived.h"

#include <math.h>
#include <stdio.h>

#define CEIL(a, b) (((a) + (b)-1) / (b))

enum { STRIDE, PADDING, DILATION, RESIDUAL, ACTIVATION, METHOD, FIRST = LA_BLOCK_INPUTS }; /* parameters from FIRST */
enum { AUTO, PLAIN, CPU };                                                                 /* of METHOD */

static const char *const activation[] = { "none", "relu", "relu6" };

/* ---- arguments ---- */

static int check_shape(const la_call *c, int slot, int64_t o, int64_t inputs, bool pointwise)
{
    int err = 0;
    char text[LA_SHAPE_TEXT], wants[3][24];
    const la_tensor *t = c->in[slot];
    const int64_t want[4] = { o, pointwise ? 1 : -1, pointwise ? 1 : -1, inputs };
    static const char *const free_dim[] = { "out", "rows", "columns" };

    LA_TRY(la__check_f32(c, slot));
    LA_TRY(la__check_ndim(c, slot, 4));
    bool good = true;
    for (int d = 0; d < 4; d++)
        good = good && (want[d] < 0 ? t->dim[d] > 0 && t->dim[d] <= 1024 : t->dim[d] == want[d]);
    for (int d = 0; d < 3; d++)
        if (want[d] < 0)
            snprintf(wants[d], sizeof wants[d], "%s", free_dim[d]);
        else
            snprintf(wants[d], sizeof wants[d], "%lld", (long long)want[d]);
    if (!good)
        return la_fail(LA_ESHAPE, "%s: %s must be (%s, %s, %s, %lld), got %s", c->op->name, la__slot_name(c, slot),
                       wants[0], wants[1], wants[2], (long long)inputs, la__shape(t, text));
done:
    return err;
}

static int check_bias(const la_call *c, int slot, int64_t channels)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    if (!c->in[slot])
        return 0;
    LA_TRY(la__check_f32(c, slot));
    if (c->in[slot]->ndim != 1 || c->in[slot]->dim[0] != channels)
        return la_fail(LA_ESHAPE, "%s: %s must be (%lld), got %s", c->op->name, la__slot_name(c, slot),
                       (long long)channels, la__shape(c->in[slot], text));
done:
    return err;
}

static int check_tensors(la_block *b, const la_call *c)
{
    int err = 0;
    LA_TRY(la__check_f32(c, LA_BLOCK_X));
    LA_TRY(la__check_ndim(c, LA_BLOCK_X, 4));
    LA_TRY(la__check_ndim(c, LA_BLOCK_PROJECT, 4));
    const int64_t *x = c->in[LA_BLOCK_X]->dim, *project = c->in[LA_BLOCK_PROJECT]->dim;
    const int64_t wide = project[3];
    if (!c->in[LA_BLOCK_EXPAND] && c->in[LA_BLOCK_EXPAND_BIAS])
        return la_fail(LA_EARG, "%s: expand_bias is given, but not expand", c->op->name);
    if (!c->in[LA_BLOCK_EXPAND] && x[3] != wide)
        return la_fail(LA_ESHAPE, "%s: x must have the %lld channels that project takes, without expand, got %lld",
                       c->op->name, (long long)wide, (long long)x[3]);
    LA_TRY(check_shape(c, LA_BLOCK_PROJECT, project[0], wide, true));
    LA_TRY(check_shape(c, LA_BLOCK_DEPTHWISE, wide, 1, false));
    if (c->in[LA_BLOCK_EXPAND])
        LA_TRY(check_shape(c, LA_BLOCK_EXPAND, wide, x[3], true));
    LA_TRY(check_bias(c, LA_BLOCK_PROJECT_BIAS, project[0]));
    LA_TRY(check_bias(c, LA_BLOCK_DEPTHWISE_BIAS, wide));
    LA_TRY(check_bias(c, LA_BLOCK_EXPAND_BIAS, wide));
    if (x[3] < 1 || wide < 1 || project[0] < 1)
        return la_fail(LA_ESHAPE, "%s: x and the weights must have channels", c->op->name);
    b->n = (int32_t)x[0];
    b->h = (int32_t)x[1];
    b->w = (int32_t)x[2];
    b->c = (int32_t)x[3];
    b->wide = (int32_t)wide;
    b->o = (int32_t)project[0];
    b->kh = (int32_t)c->in[LA_BLOCK_DEPTHWISE]->dim[1];
    b->kw = (int32_t)c->in[LA_BLOCK_DEPTHWISE]->dim[2];
done:
    return err;
}

static int check_numbers(la_block *b, const la_call *c)
{
    static const int from[5][4] = { { 0 }, { 0, 0, 0, 0 }, { 0, 0, 1, 1 }, { 0 }, { 0, 1, 2, 3 } };
    static const float bound[][2] = { { -INFINITY, INFINITY }, { 0.0f, INFINITY }, { 0.0f, 6.0f } };
    const la_value *v = &c->arg[FIRST + PADDING];
    const int64_t stride = c->arg[FIRST + STRIDE].ints[0], dilation = c->arg[FIRST + DILATION].ints[0];

    if (stride < 1 || stride > 1024 || dilation < 1 || dilation > 1024)
        return la_fail(LA_EARG, "%s: stride and dilation must be from 1 to 1024, got %lld and %lld", c->op->name,
                       (long long)stride, (long long)dilation);
    if (v->count != 1 && v->count != 2 && v->count != 4)
        return la_fail(LA_EARG, "%s: padding must be 1, 2 or 4 numbers, got %d", c->op->name, v->count);
    for (int i = 0; i < 4; i++) {
        const int64_t pad = v->ints[from[v->count][i]];
        if (pad < 0 || pad > 1024)
            return la_fail(LA_EARG, "%s: padding must be from 0 to 1024, got %lld", c->op->name, (long long)pad);
        b->pad[i] = (int32_t)pad;
    }
    b->stride = (int32_t)stride;
    b->dilation = (int32_t)dilation;
    const int32_t rows = b->h + b->pad[0] + b->pad[1] - b->dilation * (b->kh - 1) - 1;
    const int32_t columns = b->w + b->pad[2] + b->pad[3] - b->dilation * (b->kw - 1) - 1;
    if (rows < 0 || columns < 0)
        return la_fail(LA_ESHAPE, "%s: the kernel does not fit the padded x of %d x %d pixels", c->op->name,
                       b->h + b->pad[0] + b->pad[1], b->w + b->pad[2] + b->pad[3]);
    b->oh = rows / b->stride + 1;
    b->ow = columns / b->stride + 1;
    b->residual = c->arg[FIRST + RESIDUAL].ints[0] != 0;
    b->low = bound[c->arg[FIRST + ACTIVATION].ints[0]][0];
    b->high = bound[c->arg[FIRST + ACTIVATION].ints[0]][1];
    if (b->residual && (b->oh != b->h || b->ow != b->w || b->o != b->c))
        return la_fail(LA_ESHAPE, "%s: residual needs a result (%d, %d, %d, %d) like x, got (%d, %d, %d, %d)",
                       c->op->name, b->n, b->h, b->w, b->c, b->n, b->oh, b->ow, b->o);
    return 0;
}

/* ---- in bands ---- */

/* The same as `block` in cl/inverted.cl. */
typedef struct block {
    int32_t h, w, c, wide, o, oh, ow, top, left, width, bands, floats, given;
    float low, high;
} block;

enum { HAS_EXPAND = 1, HAS_EXPAND_BIAS = 2, HAS_DEPTHWISE_BIAS = 4, HAS_PROJECT_BIAS = 8, HAS_RESIDUAL = 16 };

/* Each band widens again the rows that it shares with the one before it. */
static int32_t choose_bands(la_device *dev, const la_block *b)
{
    const int32_t least = 4 * b->kh, wish = CEIL(2 * (int32_t)la__device_units(dev), b->n), most = CEIL(b->oh, least);
    return wish < most ? wish : most;
}

static la_karg argument(const la_block *b, int slot)
{
    return b->in[slot] ? LA_T(b->in[slot]) : LA_T(b->in[LA_BLOCK_PROJECT]);
}

static int pack(la_derived *packed, la_device *dev, const la_block *b, const la_block_kernel *k, const block *s)
{
    int err = 0;
    char key[80];
    const la_tensor *from[LA_DERIVED_FROM];
    static const int slot[LA_DERIVED_FROM] = { LA_BLOCK_PROJECT,        LA_BLOCK_PROJECT_BIAS, LA_BLOCK_DEPTHWISE,
                                               LA_BLOCK_DEPTHWISE_BIAS, LA_BLOCK_EXPAND,       LA_BLOCK_EXPAND_BIAS };
    const size_t wide = (size_t)b->wide;
    const size_t floats = (s->given & HAS_EXPAND ? ((size_t)b->c + 1) * wide : 0) +
                          ((size_t)(b->kh * b->kw) + 1) * wide + (wide + 1) * (size_t)b->o;

    for (int i = 0; i < LA_DERIVED_FROM; i++)
        from[i] = b->in[slot[i]];
    snprintf(key, sizeof key, "inverted %d, %d %d %d %d", s->given & (HAS_RESIDUAL - 1), b->c, b->kh, b->wide, b->o);
    LA_TRY(la__derived_take(packed, key, floats * 4, LA_DERIVED_FROM, from));
    if (packed->ready)
        return 0;
    LA_TRY(
        la__launch(dev,
                   &(la_launch){ .program = "inverted",
                                 .options = k->options,
                                 .entry = "inverted_pack",
                                 .global = { floats },
                                 .bytes = 8.0 * (double)floats },
                   (la_karg[]){ LA_BUF(packed->buffer), argument(b, LA_BLOCK_EXPAND), argument(b, LA_BLOCK_EXPAND_BIAS),
                                argument(b, LA_BLOCK_DEPTHWISE), argument(b, LA_BLOCK_DEPTHWISE_BIAS),
                                argument(b, LA_BLOCK_PROJECT), argument(b, LA_BLOCK_PROJECT_BIAS), LA_STRUCT(*s) },
                   8));
done:
    if (err < 0 && packed->buffer && !packed->owned) {
        la__derived_forget(b->in[LA_BLOCK_PROJECT]->storage);
        *packed = (la_derived){ 0 };
    }
    return err;
}

int la__block_bands(la_device *dev, const la_block *b, const la_block_kernel *k, la_tensor *y)
{
    int err = 0;
    la_derived packed = { 0 };
    la_buffer *own = NULL;
    const int32_t reach = (b->ow - 1) * b->stride + b->kw, lies = b->pad[2] + b->w;
    block s = { .h = b->h,
                .w = b->w,
                .c = b->c,
                .wide = b->wide,
                .o = b->o,
                .oh = b->oh,
                .ow = b->ow,
                .top = b->pad[0],
                .left = b->pad[2],
                .width = reach > lies ? reach : lies,
                .low = b->low,
                .high = b->high };
    const double pixels = (double)b->n * b->oh * b->ow;

    if (b->n == 0)
        return 0;
    s.bands = choose_bands(dev, b);
    s.floats = (k->kernel * s.width + b->ow) * b->wide;
    s.given = (b->in[LA_BLOCK_EXPAND] ? HAS_EXPAND : 0) | (b->in[LA_BLOCK_EXPAND_BIAS] ? HAS_EXPAND_BIAS : 0) |
              (b->in[LA_BLOCK_DEPTHWISE_BIAS] ? HAS_DEPTHWISE_BIAS : 0) |
              (b->in[LA_BLOCK_PROJECT_BIAS] ? HAS_PROJECT_BIAS : 0) | (b->residual ? HAS_RESIDUAL : 0);
    LA_TRY(pack(&packed, dev, b, k, &s));
    LA_TRY(la__buffer_take(&own, dev, (size_t)b->n * (size_t)s.bands * (size_t)s.floats * 4));
    LA_TRY(la__launch(
        dev,
        &(la_launch){ .program = "inverted",
                      .options = k->options,
                      .entry = "inverted_residual",
                      .global = { (size_t)s.bands, (size_t)b->n },
                      .local = { 1, 1, 1 },
                      .flops = 2.0 * pixels * b->wide * (b->kh * b->kw + b->o) +
                               (s.given & HAS_EXPAND ? 2.0 * b->n * b->h * b->w * (double)b->c * b->wide : 0.0),
                      .bytes = 4.0 * ((double)b->n * b->h * b->w * b->c + pixels * b->o) },
        (la_karg[]){ LA_T(y), LA_T(b->in[LA_BLOCK_X]), LA_BUF(packed.buffer), LA_BUF(own), LA_STRUCT(s) }, 5));
done:
    la__derived_give(&packed);
    la__buffer_give(own);
    return err;
}

/* ---- as three convolutions ---- */

static int apart(la_tensor **out, const la_block *b, const la_call *c)
{
    int err = 0;
    char options[160];
    la_tensor *wide = NULL, *swept = NULL;
    const char *act = activation[c->arg[FIRST + ACTIVATION].ints[0]];
    const char *method = c->arg[FIRST + METHOD].ints[0] == PLAIN ? "plain" : "auto";

    if (b->in[LA_BLOCK_EXPAND]) {
        snprintf(options, sizeof options, "activation=%s method=%s", act, method);
        LA_TRY(la__run(&wide, "conv2d_fused", 3,
                       (la_tensor *[]){ b->in[LA_BLOCK_X], b->in[LA_BLOCK_EXPAND], b->in[LA_BLOCK_EXPAND_BIAS] },
                       options));
    } else {
        wide = la_tensor_retain(b->in[LA_BLOCK_X]);
    }
    snprintf(options, sizeof options, "activation=%s method=%s stride=%d dilation=%d groups=%d padding=%d,%d,%d,%d",
             act, method, b->stride, b->dilation, b->wide, b->pad[0], b->pad[1], b->pad[2], b->pad[3]);
    LA_TRY(la__run(&swept, "conv2d_fused", 3,
                   (la_tensor *[]){ wide, b->in[LA_BLOCK_DEPTHWISE], b->in[LA_BLOCK_DEPTHWISE_BIAS] }, options));
    snprintf(options, sizeof options, "method=%s", method);
    LA_TRY(la__run(out, "conv2d_fused", 8,
                   (la_tensor *[]){ swept, b->in[LA_BLOCK_PROJECT], b->in[LA_BLOCK_PROJECT_BIAS], NULL, NULL, NULL,
                                    NULL, b->residual ? b->in[LA_BLOCK_X] : NULL },
                   options));
done:
    la_tensor_release(&wide);
    la_tensor_release(&swept);
    return err;
}

/* ---- the choice ---- */

/* The weights are read again for each row: they must stay in the cache beside the rows, and rows fill some tiles. */
static bool pays(const la_block *b)
{
    enum { CACHE = 320 << 10, LEAST = 16 }; /* a third of a usual second-level cache */
    return b->w >= LEAST && (int64_t)b->wide * (b->c + b->o) * 4 <= CACHE;
}

static const la_block_kernel *choose(la_device *dev, const la_block *b, int64_t method)
{
    static const la_block_kernel kernels[] = {
        { "-DK=3 -DS=1", 3, 1 }, { "-DK=3 -DS=2", 3, 2 }, { "-DK=5 -DS=1", 5, 1 }, { "-DK=5 -DS=2", 5, 2 }
    };
    if (la__method(dev, method == CPU     ? LA_CPU
                        : method == PLAIN ? LA_PLAIN
                                          : LA_AUTO) != LA_CPU ||
        (method == AUTO && (la__device_float_width(dev) < 16 || !pays(b))))
        return NULL;
    if (b->dilation != 1 || b->wide < 16 || b->o < 16 || b->ow < 5 || b->kh != b->kw || b->n == 0)
        return NULL;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (kernels[i].kernel == b->kh && kernels[i].stride == b->stride)
            return la__trusted(dev, "inverted", kernels[i].options, la__block_trial, &kernels[i]) ? &kernels[i] : NULL;
    return NULL;
}

static int forward(la_call *c)
{
    int err = 0;
    la_block b = { 0 };

    LA_TRY(check_tensors(&b, c));
    LA_TRY(check_numbers(&b, c));
    for (int i = 0; i < LA_BLOCK_INPUTS; i++)
        if (c->in[i])
            LA_TRY(la__dense(&b.in[i], c->in[i]));
    const la_block_kernel *k = choose(c->dev, &b, c->arg[FIRST + METHOD].ints[0]);
    if (k) {
        LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(b.n, b.oh, b.ow, b.o)));
        LA_TRY(la__block_bands(c->dev, &b, k, c->out[0]));
    } else {
        LA_TRY(apart(&c->out[0], &b, c));
    }
done:
    for (int i = 0; i < LA_BLOCK_INPUTS; i++)
        la_tensor_release(&b.in[i]);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "feature map (N, H, W, C), float32", NULL },
    { LA_P_TENSOR, "depthwise", NULL, "(M, KH, KW, 1), float32, M the channels in between", NULL },
    { LA_P_TENSOR, "depthwise_bias", "nil", "(M)", NULL },
    { LA_P_TENSOR, "project", NULL, "(O, 1, 1, M)", NULL },
    { LA_P_TENSOR, "project_bias", "nil", "(O)", NULL },
    { LA_P_TENSOR, "expand", "nil", "(M, 1, 1, C); without it M is C", NULL },
    { LA_P_TENSOR, "expand_bias", "nil", "(M)", NULL },
    { LA_P_INT, "stride", "1", "pixels from one output of the depthwise convolution to the next", NULL },
    { LA_P_INTS, "padding", "0", "zeros around its input: 1 number, 2 (rows, columns) or 4 (top, bottom, left, right)",
      NULL },
    { LA_P_INT, "dilation", "1", "pixels from one of its taps to the next", NULL },
    { LA_P_BOOL, "residual", "false", "add x to the result, which must have its shape", NULL },
    { LA_P_CHOICE, "activation", "relu6", "what the first two convolutions' sums go through", "none|relu|relu6" },
    { LA_P_CHOICE, "method", "auto",
      "plain: the three convolutions' plain kernels; cpu: in bands of rows, where it can", "auto|plain|cpu" },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_inverted_residual = {
    .name = "inverted_residual",
    .brief = "An inverted residual block (MobileNetV2, CVPR 2018) for inference, without gradient: project(act("
             "depthwise(act(expand(x))))) + x.",
    .example = "local y = la.inverted_residual(x, depthwise, nil, project, nil, expand, nil, { padding = 1 })",
    .param = params,
    .forward = forward,
    .inference_only = true,
};
