/* SPDX-License-Identifier: MIT
 *
 * reduce.c -- sum, mean, max, min, argmax, argmin, var, norm over any dimensions.
 */
#include <math.h>
#include <string.h>

#include "ops/reduce.h"
#include "tensor/pointwise.h"

#define DIMS_PARAMS                                                                                       \
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },                                               \
        { LA_P_DIMS, "dims", "nil", "dimension or list of dimensions to reduce; all if left out", NULL }, \
    {                                                                                                     \
        LA_P_BOOL, "keepdim", "false", "keep the reduced dimensions, with one element each", NULL         \
    }

static const la_param params[] = { DIMS_PARAMS, { LA_P_END, NULL, NULL, NULL, NULL } };

/* The form of the call's input, converted to `dtype` first; release r->x. */
static int bring(la_reduction *r, const la_call *c, la_dtype dtype)
{
    int err = 0;
    la_tensor *x = NULL;
    r->x = NULL;
    LA_TRY(la__convert(&x, c->in[0], dtype));
    LA_TRY(la__reduction(r, x, c->arg[1].count, c->arg[1].ints, c->arg[2].ints[0], c->op->name));
done:
    la_tensor_release(&x);
    return err;
}

static int check_not_empty(const la_call *c, const la_reduction *r)
{
    if (r->n == 0)
        return la_fail(LA_ESHAPE, "%s: the dimensions to reduce have no elements", c->op->name);
    return 0;
}

/* factor * g as a view of x's shape. */
static int spread(la_tensor **out, const la_call *c, const la_reduction *r, la_tensor *g, double factor)
{
    int err = 0;
    la_tensor *f = NULL, *scaled = NULL;
    if (factor != 1) {
        LA_TRY(la__full(&f, c->dev, 0, NULL, factor));
        LA_TRY(la__run(&scaled, "mul", 2, (la_tensor *[]){ g, f }, NULL));
    }
    LA_TRY(la__reduce_spread(out, r, scaled ? scaled : g, c->in[0]));
done:
    la_tensor_release(&f);
    la_tensor_release(&scaled);
    return err;
}

/* The gradient from x, a tensor of the result's size, and g: kernel `entry` of cl/reduce.cl. */
static int slope(la_call *c, const la_reduction *r, const char *entry, la_tensor *result, la_tensor *g, double factor)
{
    int err = 0;
    la_tensor *wide_r = NULL, *wide_g = NULL;
    LA_TRY(la__reduce_spread(&wide_r, r, result, c->in[0]));
    LA_TRY(spread(&wide_g, c, r, g, factor));
    LA_TRY(la_tensor_new(&c->grad[0], c->dev, LA_F32, c->in[0]->ndim, c->in[0]->dim));
    LA_TRY(la__pointwise(c->grad[0], "reduce", entry, 3, (la_tensor *[]){ c->in[0], wide_r, wide_g }));
done:
    la_tensor_release(&wide_r);
    la_tensor_release(&wide_g);
    return err;
}

/* ---- sum and mean ---- */

/* The dimensions alone, without bringing x into form: what backward needs. */
static void mark(la_reduction *r, const la_call *c)
{
    memset(r, 0, sizeof *r);
    r->n = 1;
    for (int d = 0; d < c->in[0]->ndim; d++) {
        r->reduced[d] = c->arg[1].count == 0;
        for (int i = 0; i < c->arg[1].count; i++)
            r->reduced[d] = r->reduced[d] || c->arg[1].ints[i] == d;
        if (r->reduced[d])
            r->n *= c->in[0]->dim[d];
    }
}

static int sum_forward(la_call *c)
{
    int err = 0;
    la_reduction r = { 0 };
    LA_TRY(bring(&r, c, c->in[0]->dtype == LA_F32 ? LA_F32 : LA_I32));
    LA_TRY(la__reduce(&c->out[0], &r, "sum", "sum", NULL, 1));
done:
    la_tensor_release(&r.x);
    return err;
}

static int sum_backward(la_call *c, la_tensor *const *g)
{
    la_reduction r;
    mark(&r, c);
    return spread(&c->grad[0], c, &r, g[0], 1);
}

static int mean_forward(la_call *c)
{
    int err = 0;
    la_reduction r = { 0 };
    LA_TRY(bring(&r, c, LA_F32));
    LA_TRY(la__reduce(&c->out[0], &r, "sum", "sum", NULL, 1.0 / (double)r.n));
done:
    la_tensor_release(&r.x);
    return err;
}

static int mean_backward(la_call *c, la_tensor *const *g)
{
    la_reduction r;
    mark(&r, c);
    return spread(&c->grad[0], c, &r, g[0], 1.0 / (double)r.n);
}

const la_op la_op_sum = {
    .name = "sum",
    .brief = "Sum over dimensions; integers give int32.",
    .example = "local s = x:sum(-1)",
    .param = params,
    .forward = sum_forward,
    .backward = sum_backward,
    .shape_only = 1,
};

const la_op la_op_mean = {
    .name = "mean",
    .brief = "Mean over dimensions, in float32.",
    .example = "local m = x:mean({ 2, 3 }, { keepdim = true })",
    .param = params,
    .forward = mean_forward,
    .backward = mean_backward,
    .shape_only = 1,
};

/* ---- max, min and their places ---- */

static int extreme_forward(la_call *c)
{
    int err = 0;
    la_reduction r = { 0 };
    la_tensor *out = NULL;
    LA_TRY(bring(&r, c, c->in[0]->dtype == LA_F32 ? LA_F32 : LA_I32));
    LA_TRY(check_not_empty(c, &r));
    LA_TRY(la__reduce(&out, &r, c->op->name, c->op->name, NULL, 1));
    LA_TRY(la__convert(&c->out[0], out, c->in[0]->dtype));
    LA_TRY(la__alias(&c->saved[0], c->out[0]));
done:
    la_tensor_release(&out);
    la_tensor_release(&r.x);
    return err;
}

/* Elements that equal the extreme share its gradient. */
static int share(la_call *c, la_tensor *g, const char *count, const char *entry)
{
    int err = 0;
    la_reduction r = { 0 };
    la_tensor *many = NULL, *part = NULL, *flat = NULL;
    LA_TRY(bring(&r, c, LA_F32));
    LA_TRY(la__reduce(&many, &r, count, "sum", c->saved[0], 1));
    LA_TRY(la__run(&part, "div", 2, (la_tensor *[]){ g, many }, NULL));
    LA_TRY(slope(c, &r, entry, c->saved[0], part, 1));
done:
    la_tensor_release(&many);
    la_tensor_release(&part);
    la_tensor_release(&flat);
    la_tensor_release(&r.x);
    return err;
}

static int extreme_backward(la_call *c, la_tensor *const *g)
{
    return share(c, g[0], "count", "extreme_bwd");
}

const la_op la_op_max = {
    .name = "max",
    .brief = "Largest element over dimensions; NaN wins. Equal ones share the gradient.",
    .example = "local m = x:max(-1)",
    .param = params,
    .forward = extreme_forward,
    .backward = extreme_backward,
};

const la_op la_op_min = {
    .name = "min",
    .brief = "Smallest element over dimensions; NaN wins. Equal ones share the gradient.",
    .example = "local m = x:min(-1)",
    .param = params,
    .forward = extreme_forward,
    .backward = extreme_backward,
};

static const la_param arg_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIMS, "dim", "nil", "one dimension; left out, the place in the flattened tensor", NULL },
    { LA_P_BOOL, "keepdim", "false", "keep the reduced dimension, with one element", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int arg_forward(la_call *c)
{
    int err = 0;
    la_reduction r = { 0 };
    la_tensor *extreme = NULL;
    const char *kind = strcmp(c->op->name, "argmax") == 0 ? "max" : "min";

    if (c->arg[1].count > 1)
        return la_fail(LA_EARG, "%s: dim must be one dimension, got %d", c->op->name, c->arg[1].count);
    LA_TRY(bring(&r, c, c->in[0]->dtype == LA_F32 ? LA_F32 : LA_I32));
    LA_TRY(check_not_empty(c, &r));
    LA_TRY(la__reduce(&extreme, &r, kind, kind, NULL, 1));
    LA_TRY(la__reduce_place(&c->out[0], &r, extreme));
done:
    la_tensor_release(&extreme);
    la_tensor_release(&r.x);
    return err;
}

const la_op la_op_argmax = {
    .name = "argmax",
    .brief = "Place of the first largest element along a dimension, from 1, int32; a NaN wins.",
    .example = "local i = x:argmax(-1)",
    .param = arg_params,
    .forward = arg_forward,
};

const la_op la_op_argmin = {
    .name = "argmin",
    .brief = "Place of the first smallest element along a dimension, from 1, int32; a NaN wins.",
    .example = "local i = x:argmin(-1)",
    .param = arg_params,
    .forward = arg_forward,
};

/* ---- var ---- */

static const la_param var_params[] = {
    DIMS_PARAMS,
    { LA_P_BOOL, "unbiased", "true", "divide by n - 1, not n", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* In two passes, so that a large mean does not eat the digits. */
static int var_forward(la_call *c)
{
    int err = 0;
    la_reduction r = { 0 };
    LA_TRY(bring(&r, c, LA_F32));
    LA_TRY(la__reduce(&c->saved[0], &r, "sum", "sum", NULL, 1.0 / (double)r.n));
    LA_TRY(
        la__reduce(&c->out[0], &r, "deviations", "sum", c->saved[0], 1.0 / ((double)r.n - (double)c->arg[3].ints[0])));
done:
    la_tensor_release(&r.x);
    return err;
}

/* 2 (x - mean) g / (n - 1): the mean's own share cancels. */
static int var_backward(la_call *c, la_tensor *const *g)
{
    la_reduction r;
    mark(&r, c);
    return slope(c, &r, "deviation_bwd", c->saved[0], g[0], 2.0 / ((double)r.n - (double)c->arg[3].ints[0]));
}

const la_op la_op_var = {
    .name = "var",
    .brief = "Variance over dimensions, in float32.",
    .example = "local v = x:var({ 1, 2, 3 }, { unbiased = false })",
    .param = var_params,
    .forward = var_forward,
    .backward = var_backward,
};

/* ---- norm ---- */

static const la_param norm_params[] = {
    DIMS_PARAMS,
    { LA_P_NUMBER, "p", "2", "1 (sum of absolute values), 2 (Euclidean) or math.huge (largest absolute value)", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int norm_forward(la_call *c)
{
    int err = 0;
    la_reduction r = { 0 };
    la_tensor *sum = NULL;
    const double p = c->arg[3].number;

    if (p != 1 && p != 2 && p != (double)INFINITY)
        return la_fail(LA_EARG, "norm: p must be 1, 2 or math.huge, got %g", p);
    LA_TRY(bring(&r, c, LA_F32));
    if (p == 2) {
        LA_TRY(la__reduce(&sum, &r, "squares", "sum", NULL, 1));
        LA_TRY(la__run(&c->out[0], "sqrt", 1, &sum, NULL));
    } else {
        LA_TRY(la__reduce(&c->out[0], &r, p == 1 ? "abs" : "max_abs", p == 1 ? "sum" : "max", NULL, 1));
    }
    LA_TRY(la__alias(&c->saved[0], c->out[0]));
done:
    la_tensor_release(&sum);
    la_tensor_release(&r.x);
    return err;
}

/* x g / norm for p = 2; 0 where the norm is 0. */
static int norm_backward(la_call *c, la_tensor *const *g)
{
    la_reduction r;
    const double p = c->arg[3].number;
    mark(&r, c);
    if (p == 2)
        return slope(c, &r, "norm_bwd", c->saved[0], g[0], 1);
    if (p == 1)
        return slope(c, &r, "abs_bwd", c->saved[0], g[0], 1);
    return share(c, g[0], "count_abs", "extreme_abs_bwd");
}

const la_op la_op_norm = {
    .name = "norm",
    .brief = "Norm over dimensions, in float32: (sum |x|^p)^(1/p). The gradient at 0 is 0.",
    .example = "local n = x:norm(-1)",
    .param = norm_params,
    .forward = norm_forward,
    .backward = norm_backward,
};
