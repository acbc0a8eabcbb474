/* SPDX-License-Identifier: MIT
 *
 * in_place.c -- fill_, zero_, copy_, add_, mul_, scale_: they write their first tensor, a view or not, and return it.
 */
#include <stdio.h>

#include "ops/op.h"
#include "tensor/pointwise.h"

static const la_param x_param[] = {
    { LA_P_TENSOR, "x", NULL, "the tensor that is written, any shape and type", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static const la_param fill_params[] = {
    { LA_P_TENSOR, "x", NULL, "the tensor that is written, any shape and type", NULL },
    { LA_P_NUMBER, "value", NULL, "of every element", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int fill_forward(la_call *c)
{
    return la__fill(c->in[0], c->arg[1].number);
}

static int zero_forward(la_call *c)
{
    return la__fill(c->in[0], 0);
}

const la_op la_op_fill_ = {
    .name = "fill_",
    .brief = "Sets every element to one value.",
    .example = "x:fill_(0.5)",
    .param = fill_params,
    .in_place = true,
    .forward = fill_forward,
};

const la_op la_op_zero_ = {
    .name = "zero_",
    .brief = "Sets every element to 0.",
    .example = "x:zero_()",
    .param = x_param,
    .in_place = true,
    .forward = zero_forward,
};

static const la_param copy_params[] = {
    { LA_P_TENSOR, "x", NULL, "the tensor that is written, any shape and type", NULL },
    { LA_P_TENSOR, "source", NULL, "elements to copy; its shape broadcasts to x's, its type is converted", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int copy_forward(la_call *c)
{
    return la__copy(c->in[0], c->in[1]);
}

const la_op la_op_copy_ = {
    .name = "copy_",
    .brief = "Overwrites x with the elements of another tensor.",
    .example = "x:copy_(y)",
    .param = copy_params,
    .in_place = true,
    .forward = copy_forward,
};

/* ---- arithmetic ---- */

/* x = x * factor + shift where x is dense. */
static int affine(la_tensor *x, double factor, double shift)
{
    la_pointwise w;
    const int64_t n = la_tensor_numel(x);
    la__pointwise_plan(&w, x->ndim, x->dim, 1, &x);
    x->storage->version++;
    return la__launch(x->storage->dev,
                      &(la_launch){ .program = "in_place",
                                    .entry = "affine_inplace",
                                    .global = { (size_t)w.items },
                                    .bytes = 8.0 * (double)n,
                                    .flops = 2.0 * (double)n },
                      (la_karg[]){ LA_T(x), LA_STRUCT(w), LA_FLOAT(factor), LA_FLOAT(shift) }, 4);
}

/* x = op(x, y or number) by way of a fresh tensor: what views and integers need. */
static int by_copy(la_tensor *x, const char *op, la_tensor *y, double number)
{
    int err = 0;
    char option[48];
    la_tensor *result = NULL;
    snprintf(option, sizeof option, "b=%.17g", number);
    LA_TRY(la__run(&result, op, 2, (la_tensor *[]){ x, y }, y ? NULL : option));
    LA_TRY(la__copy(x, result));
done:
    la_tensor_release(&result);
    return err;
}

static const la_param add_params[] = {
    { LA_P_TENSOR, "x", NULL, "the tensor that is written, any shape", NULL },
    { LA_P_OPERAND, "y", NULL, "what is added: a tensor that broadcasts to x's shape, or a number", NULL },
    { LA_P_NUMBER, "alpha", "1", "factor of y", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int add_forward(la_call *c)
{
    int err = 0;
    la_tensor *x = c->in[0], *y = c->in[1], *wide = NULL, *scaled = NULL;
    const double alpha = c->arg[2].number;
    const bool direct = x->dtype == LA_F32 && la__is_dense(x);

    if (direct && !y)
        return affine(x, 1, alpha * c->arg[1].number);
    if (!y)
        return by_copy(x, "add", NULL, alpha * c->arg[1].number);
    LA_TRY(la__view_expand(&wide, y, x->ndim, x->dim, "add_"));
    if (direct && y->dtype == LA_F32 && y->storage != x->storage) {
        LA_TRY(la__accumulate(x, wide, alpha));
    } else {
        char option[48];
        snprintf(option, sizeof option, "b=%.17g", alpha);
        if (alpha != 1)
            LA_TRY(la__run(&scaled, "mul", 2, (la_tensor *[]){ wide, NULL }, option));
        LA_TRY(by_copy(x, "add", scaled ? scaled : wide, 0));
    }
done:
    la_tensor_release(&wide);
    la_tensor_release(&scaled);
    return err;
}

const la_op la_op_add_ = {
    .name = "add_",
    .brief = "x = x + alpha y.",
    .example = "x:add_(y, { alpha = -0.1 })",
    .param = add_params,
    .in_place = true,
    .forward = add_forward,
};

static const la_param mul_params[] = {
    { LA_P_TENSOR, "x", NULL, "the tensor that is written, any shape", NULL },
    { LA_P_OPERAND, "y", NULL, "the factor: a tensor that broadcasts to x's shape, or a number", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* A product with a number adds -0, which changes nothing, not even a sign. */
static int mul_forward(la_call *c)
{
    la_tensor *x = c->in[0];
    if (!c->in[1] && x->dtype == LA_F32 && la__is_dense(x))
        return affine(x, c->arg[1].number, -0.0);
    return by_copy(x, "mul", c->in[1], c->arg[1].number);
}

const la_op la_op_mul_ = {
    .name = "mul_",
    .brief = "x = x y.",
    .example = "x:mul_(0.5)",
    .param = mul_params,
    .in_place = true,
    .forward = mul_forward,
};

static const la_param scale_params[] = {
    { LA_P_TENSOR, "x", NULL, "the tensor that is written, float32", NULL },
    { LA_P_TENSOR, "factor", NULL, "float32 with one element, which stays on the device", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int scale_forward(la_call *c)
{
    int err = 0;
    char text[LA_SHAPE_TEXT];
    la_pointwise w;
    la_tensor *factor = NULL, *x = c->in[0];
    const int64_t n = la_tensor_numel(x);

    LA_TRY(la__check_f32(c, 0));
    LA_TRY(la__check_f32(c, 1));
    if (la_tensor_numel(c->in[1]) != 1)
        return la_fail(LA_ESHAPE, "scale_: factor must have one element, got %s", la__shape(c->in[1], text));
    LA_TRY(la__dense(&factor, c->in[1]));
    if (!la__is_dense(x) || factor->storage == x->storage) {
        la_tensor *scalar = NULL;
        LA_TRY(la__view_reshape(&scalar, factor, 0, NULL, "scale_"));
        err = by_copy(x, "mul", scalar, 0);
        la_tensor_release(&scalar);
        goto done;
    }
    la__pointwise_plan(&w, x->ndim, x->dim, 1, &x);
    x->storage->version++;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "in_place",
                                    .entry = "scale_inplace",
                                    .global = { (size_t)w.items },
                                    .bytes = 8.0 * (double)n,
                                    .flops = (double)n },
                      (la_karg[]){ LA_T(x), LA_T(factor), LA_STRUCT(w) }, 3));
done:
    la_tensor_release(&factor);
    return err;
}

const la_op la_op_scale_ = {
    .name = "scale_",
    .brief = "x = x factor, where the factor is a tensor of one element.",
    .example = "gradient:scale_(la.minimum(1, limit / norm))",
    .param = scale_params,
    .in_place = true,
    .forward = scale_forward,
};
