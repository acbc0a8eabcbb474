/* SPDX-License-Identifier: MIT
 *
 * in_place.c -- ops that write their first tensor: fill_, copy_, zero_, add_, mul_, and the steps of SGD and Adam.
 * They are refused on tensors that are part of a gradient graph, and leave none.
 */
#include <math.h>

#include "ops/op.h"

static const la_param fill_params[] = {
    { LA_P_TENSOR, "x", NULL, "any view", NULL },
    { LA_P_NUMBER, "value", NULL, "what every element becomes", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int fill_forward(la_call *c)
{
    return la__fill(c->in[0], c->arg[1].number);
}

const la_op la_op_fill_ = { .name = "fill_", .brief = "Sets every element, in place.", .example = "x:fill_(0.5)",
                            .param = fill_params, .forward = fill_forward, .in_place = true };

static const la_param zero_params[] = { { LA_P_TENSOR, "x", NULL, "any view", NULL }, { LA_P_END, NULL, NULL, NULL, NULL } };

static int zero_forward(la_call *c)
{
    return la__fill(c->in[0], 0);
}

const la_op la_op_zero_ = { .name = "zero_", .brief = "Sets every element to 0, in place.", .example = "x:zero_()",
                            .param = zero_params, .forward = zero_forward, .in_place = true };

static const la_param copy_params[] = {
    { LA_P_TENSOR, "x", NULL, "any view", NULL },
    { LA_P_TENSOR, "source", NULL, "a tensor whose shape broadcasts to x's; converted to its type", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int copy_forward(la_call *c)
{
    return la__copy(c->in[0], c->in[1]);
}

const la_op la_op_copy_ = { .name = "copy_", .brief = "Overwrites x with another tensor's elements, in place.",
                            .example = "x:copy_(y)", .param = copy_params, .forward = copy_forward, .in_place = true };

/* ---- add_ and mul_ ---- */

static const la_param add_params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any view", NULL },
    { LA_P_OPERAND, "y", NULL, "tensor that broadcasts to x, or a number", NULL },
    { LA_P_NUMBER, "alpha", "1", "factor of y", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static const la_param mul_params[] = {
    { LA_P_TENSOR, "x", NULL, "float32, any view", NULL },
    { LA_P_OPERAND, "y", NULL, "tensor that broadcasts to x, or a number", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* x = op(x, y), with y from the tensor or the number. */
static int update(la_call *c, const char *op, double factor)
{
    int err = 0;
    la_tensor *y = NULL, *f = NULL, *scaled = NULL, *result = NULL;

    LA_TRY(la__check_f32(c, 0));
    if (c->in[1])
        y = la_tensor_retain(c->in[1]);
    else
        LA_TRY(la__full(&y, c->dev, 0, NULL, c->arg[1].number));
    if (factor != 1.0) {
        LA_TRY(la__full(&f, c->dev, 0, NULL, factor));
        LA_TRY(la__run(&scaled, "mul", 2, (la_tensor *[]){ y, f }, NULL));
    }
    LA_TRY(la__run(&result, op, 2, (la_tensor *[]){ c->in[0], scaled ? scaled : y }, NULL));
    LA_TRY(la__copy(c->in[0], result));
done:
    la_tensor_release(&y);
    la_tensor_release(&f);
    la_tensor_release(&scaled);
    la_tensor_release(&result);
    return err;
}

static int add_forward(la_call *c)
{
    return update(c, "add", c->arg[2].number);
}

static int mul_forward(la_call *c)
{
    return update(c, "mul", 1.0);
}

const la_op la_op_add_ = { .name = "add_", .brief = "x + alpha * y, in place.", .example = "x:add_(y, { alpha = -0.1 })",
                           .param = add_params, .forward = add_forward, .in_place = true };
const la_op la_op_mul_ = { .name = "mul_", .brief = "x * y, in place.", .example = "x:mul_(0.5)", .param = mul_params,
                           .forward = mul_forward, .in_place = true };

/* ---- optimisers ---- */

/* Parameters and their state must be dense float32 tensors of one shape; the gradient is brought into that form. */
static int check_state(la_call *c, int first, int count)
{
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    for (int i = 0; i < first + count; i++) {
        if (!c->in[i])
            continue;
        const int err = la__check_f32(c, i);
        if (err < 0)
            return err;
        if (!la__same_shape(c->in[i], c->in[0]))
            return la_fail(LA_ESHAPE, "%s: %s must have the parameter's shape %s, got %s", c->op->name, la__slot_name(c, i),
                           la__shape(c->in[0], a), la__shape(c->in[i], b));
        if (i != 1 && !la__is_dense(c->in[i]))
            return la_fail(LA_EARG, "%s: %s must lie in order in memory of its own (it is a view)", c->op->name, la__slot_name(c, i));
    }
    return 0;
}

static const la_param sgd_params[] = {
    { LA_P_TENSOR, "param", NULL, "float32, dense; updated", NULL },
    { LA_P_TENSOR, "grad", NULL, "its gradient", NULL },
    { LA_P_TENSOR, "buffer", "nil", "momentum buffer of the same shape, updated; needed with momentum", NULL },
    { LA_P_NUMBER, "lr", NULL, "learning rate", NULL },
    { LA_P_NUMBER, "momentum", "0", "share of the buffer that is kept", NULL },
    { LA_P_NUMBER, "dampening", "0", "share of the gradient that is held back", NULL },
    { LA_P_NUMBER, "weight_decay", "0", "times the parameter, added to the gradient", NULL },
    { LA_P_BOOL, "nesterov", "false", "look ahead", NULL },
    { LA_P_BOOL, "first", "false", "first step: the buffer becomes the gradient", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int sgd_forward(la_call *c)
{
    int err = 0;
    la_tensor *g = NULL;
    const int64_t n = la_tensor_numel(c->in[0]);
    const double lr = c->arg[3].number, momentum = c->arg[4].number, decay = c->arg[6].number;

    LA_TRY(check_state(c, 2, 1));
    LA_TRY(la__dense(&g, c->in[1]));
    c->in[0]->storage->version++;
    if (!c->in[2]) {
        if (momentum != 0)
            err = la_fail(LA_EARG, "sgd_step_: momentum %g needs a buffer", momentum);
        else
            err = la__launch(c->dev, &(la_launch){ .program = "in_place", .entry = "sgd_step_plain", .global = { (size_t)n } },
                             (la_karg[]){ LA_T(c->in[0]), LA_T(g), LA_INT(n), LA_FLOAT(lr), LA_FLOAT(decay) }, 5);
        goto done;
    }
    c->in[2]->storage->version++;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "in_place", .entry = "sgd_step", .global = { (size_t)n }, .bytes = 20.0 * (double)n },
                      (la_karg[]){ LA_T(c->in[0]), LA_T(g), LA_T(c->in[2]), LA_INT(n), LA_INT(c->arg[8].ints[0]),
                                   LA_INT(c->arg[7].ints[0]), LA_FLOAT(lr), LA_FLOAT(momentum), LA_FLOAT(c->arg[5].number),
                                   LA_FLOAT(decay) }, 10));
done:
    la_tensor_release(&g);
    return err;
}

const la_op la_op_sgd_step_ = {
    .name = "sgd_step_",
    .brief = "One step of stochastic gradient descent with momentum, as PyTorch defines it.",
    .example = "la.sgd_step_(w, w.grad, buffer, { lr = 0.1, momentum = 0.9 })",
    .param = sgd_params,
    .forward = sgd_forward,
    .in_place = true,
};

static const la_param adam_params[] = {
    { LA_P_TENSOR, "param", NULL, "float32, dense; updated", NULL },
    { LA_P_TENSOR, "grad", NULL, "its gradient", NULL },
    { LA_P_TENSOR, "m", NULL, "first moment, same shape, 0 at the start; updated", NULL },
    { LA_P_TENSOR, "v", NULL, "second moment, same shape, 0 at the start; updated", NULL },
    { LA_P_NUMBER, "lr", NULL, "learning rate", NULL },
    { LA_P_INT, "step", NULL, "number of this step, from 1", NULL },
    { LA_P_NUMBER, "beta1", "0.9", "decay of the first moment", NULL },
    { LA_P_NUMBER, "beta2", "0.999", "decay of the second moment", NULL },
    { LA_P_NUMBER, "eps", "1e-8", "added to the root", NULL },
    { LA_P_NUMBER, "weight_decay", "0", "times the parameter", NULL },
    { LA_P_BOOL, "decoupled", "false", "AdamW: the decay shrinks the parameter instead of joining the gradient", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int adam_forward(la_call *c)
{
    int err = 0;
    la_tensor *g = NULL;
    const int64_t n = la_tensor_numel(c->in[0]);
    const double lr = c->arg[4].number, t = c->arg[5].number, b1 = c->arg[6].number, b2 = c->arg[7].number;
    const double decay = c->arg[9].number;
    const bool decoupled = c->arg[10].ints[0];

    if (t < 1)
        return la_fail(LA_EARG, "adam_step_: step counts from 1, got %g", t);
    LA_TRY(check_state(c, 2, 2));
    LA_TRY(la__dense(&g, c->in[1]));
    for (int i = 0; i < 4; i++)
        c->in[i]->storage->version += i != 1;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "in_place", .entry = "adam_step", .global = { (size_t)n }, .bytes = 28.0 * (double)n },
                      (la_karg[]){ LA_T(c->in[0]), LA_T(g), LA_T(c->in[2]), LA_T(c->in[3]), LA_INT(n), LA_FLOAT(lr / (1 - pow(b1, t))),
                                   LA_FLOAT(1 / sqrt(1 - pow(b2, t))), LA_FLOAT(b1), LA_FLOAT(b2), LA_FLOAT(1 - b1), LA_FLOAT(1 - b2),
                                   LA_FLOAT(c->arg[8].number), LA_FLOAT(decoupled ? 0 : decay),
                                   LA_FLOAT(decoupled ? 1 - lr * decay : 1) }, 14));
done:
    la_tensor_release(&g);
    return err;
}

const la_op la_op_adam_step_ = {
    .name = "adam_step_",
    .brief = "One step of Adam (Kingma and Ba, 2015) or AdamW, as PyTorch defines them.",
    .example = "la.adam_step_(w, w.grad, m, v, { lr = 1e-3, step = 1 })",
    .param = adam_params,
    .forward = adam_forward,
    .in_place = true,
};
