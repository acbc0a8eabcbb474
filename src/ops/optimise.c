/* SPDX-License-Identifier: MIT
 *
 * optimise.c -- the optimisers' steps, each one kernel per parameter, with PyTorch's formulas; sum_squares, for
 * clipping.
 */
#include <math.h>

#include "ops/op.h"
#include "tensor/pointwise.h"

/* Every tensor of a step has the parameter's shape, is float32, and dense where it is written. */
static int check_state(const la_call *c, int slot)
{
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    const la_tensor *t = c->in[slot];
    if (t->dtype != LA_F32 || !la__same_shape(t, c->in[0]))
        return la_fail(LA_ESHAPE, "%s: %s must be float32 of the parameter's shape %s, got %s %s", c->op->name,
                       la__slot_name(c, slot), la__shape(c->in[0], a), la_dtype_name(t->dtype), la__shape(t, b));
    if (slot != 1 && !la__is_dense(t))
        return la_fail(LA_EARG, "%s: %s must be contiguous, since it is written", c->op->name, la__slot_name(c, slot));
    return 0;
}

static int check_not_negative(const la_call *c, int arg)
{
    if (!(c->arg[arg].number >= 0))
        return la_fail(LA_EARG, "%s: %s must not be negative, got %g", c->op->name, c->op->param[arg].name,
                       c->arg[arg].number);
    return 0;
}

/* ---- stochastic gradient descent ---- */

static const la_param sgd_params[] = {
    { LA_P_TENSOR, "param", NULL, "float32, any shape; written", NULL },
    { LA_P_TENSOR, "grad", NULL, "its gradient, float32, of that shape", NULL },
    { LA_P_TENSOR, "buffer", "nil", "of that shape; written. Needed where momentum is not 0", NULL },
    { LA_P_NUMBER, "lr", NULL, "learning rate", NULL },
    { LA_P_NUMBER, "momentum", "0", "share of the buffer that is kept", NULL },
    { LA_P_NUMBER, "dampening", "0", "share of the gradient that does not enter the buffer", NULL },
    { LA_P_NUMBER, "weight_decay", "0", "times the parameter is added to the gradient", NULL },
    { LA_P_BOOL, "nesterov", "false", "look ahead along the new buffer", NULL },
    { LA_P_BOOL, "first", "false", "the buffer holds nothing yet and becomes the gradient", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int sgd_forward(la_call *c)
{
    int err = 0;
    la_pointwise w;
    la_tensor *p = c->in[0], *buffer = c->in[2], *g = NULL;
    const double lr = c->arg[3].number, momentum = c->arg[4].number, decay = c->arg[6].number;
    const int64_t n = la_tensor_numel(p);

    for (int k = 0; k < 3; k++)
        if (c->in[k])
            LA_TRY(check_state(c, k));
    for (int k = 3; k < 7; k++)
        LA_TRY(check_not_negative(c, k));
    if (momentum != 0 && !buffer)
        return la_fail(LA_EARG, "sgd_step_: buffer is missing, and momentum is %g", momentum);
    LA_TRY(la__dense(&g, c->in[1]));
    la__pointwise_plan(&w, p->ndim, p->dim, 1, &p);
    p->storage->version++;
    if (momentum == 0) {
        LA_TRY(la__launch(c->dev,
                          &(la_launch){ .program = "in_place",
                                        .entry = "sgd_step",
                                        .global = { (size_t)w.items },
                                        .bytes = 12.0 * (double)n,
                                        .flops = 4.0 * (double)n },
                          (la_karg[]){ LA_T(p), LA_T(g), LA_STRUCT(w), LA_FLOAT(lr), LA_FLOAT(decay) }, 5));
        goto done;
    }
    buffer->storage->version++;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "in_place",
                                    .entry = "sgd_step_momentum",
                                    .global = { (size_t)w.items },
                                    .bytes = 20.0 * (double)n,
                                    .flops = 8.0 * (double)n },
                      (la_karg[]){ LA_T(p), LA_T(buffer), LA_T(g), LA_STRUCT(w), LA_INT(c->arg[8].ints[0]),
                                   LA_INT(c->arg[7].ints[0]), LA_FLOAT(lr), LA_FLOAT(decay), LA_FLOAT(momentum),
                                   LA_FLOAT(1 - c->arg[5].number) },
                      10));
done:
    la_tensor_release(&g);
    return err;
}

const la_op la_op_sgd_step_ = {
    .name = "sgd_step_",
    .brief =
        "One step of gradient descent: g = grad + weight_decay param; buffer = momentum buffer + (1 - dampening) g; "
        "param -= lr buffer.",
    .example = "la.sgd_step_(p, p.grad, buffer, { lr = 0.01, momentum = 0.9, first = step == 1 })",
    .param = sgd_params,
    .in_place = true,
    .forward = sgd_forward,
};

/* ---- Adam ---- */

static const la_param adam_params[] = {
    { LA_P_TENSOR, "param", NULL, "float32, any shape; written", NULL },
    { LA_P_TENSOR, "grad", NULL, "its gradient, float32, of that shape", NULL },
    { LA_P_TENSOR, "m", NULL, "mean of the gradients, zeros at first; written", NULL },
    { LA_P_TENSOR, "v", NULL, "mean of their squares, zeros at first; written", NULL },
    { LA_P_NUMBER, "lr", "0.001", "learning rate", NULL },
    { LA_P_INT, "step", NULL, "which step this is, from 1", NULL },
    { LA_P_NUMBER, "beta1", "0.9", "share of m that is kept, from 0 to 1", NULL },
    { LA_P_NUMBER, "beta2", "0.999", "share of v that is kept, from 0 to 1", NULL },
    { LA_P_NUMBER, "eps", "1e-8", "added to the root of v", NULL },
    { LA_P_NUMBER, "weight_decay", "0", "of the parameter", NULL },
    { LA_P_BOOL, "decoupled", "false", "the decay shrinks the parameter itself (AdamW), not by way of the gradient",
      NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int check_adam(const la_call *c)
{
    int err = 0;
    for (int k = 0; k < 4; k++)
        LA_TRY(check_state(c, k));
    for (int k = 4; k < 10; k++)
        LA_TRY(check_not_negative(c, k));
    for (int k = 6; k < 8; k++)
        if (!(c->arg[k].number < 1))
            return la_fail(LA_EARG, "adam_step_: %s must be below 1, got %g", c->op->param[k].name, c->arg[k].number);
    if (c->arg[5].ints[0] < 1)
        return la_fail(LA_EARG, "adam_step_: step counts from 1, got %lld", (long long)c->arg[5].ints[0]);
done:
    return err;
}

static int adam_forward(la_call *c)
{
    int err = 0;
    la_pointwise w;
    la_tensor *g = NULL;
    const double lr = c->arg[4].number, beta1 = c->arg[6].number, beta2 = c->arg[7].number, decay = c->arg[9].number;
    const bool decoupled = c->arg[10].ints[0];
    const double step = (double)c->arg[5].ints[0];
    const int64_t n = la_tensor_numel(c->in[0]);

    LA_TRY(check_adam(c));
    LA_TRY(la__dense(&g, c->in[1]));
    const double size = lr / (1 - pow(beta1, step)), root = sqrt(1 - pow(beta2, step));
    la__pointwise_plan(&w, c->in[0]->ndim, c->in[0]->dim, 1, c->in);
    for (int k = 0; k < 4; k++)
        c->in[k]->storage->version += k != 1;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "in_place",
                                    .entry = "adam_step",
                                    .global = { (size_t)w.items },
                                    .bytes = 28.0 * (double)n,
                                    .flops = 16.0 * (double)n },
                      (la_karg[]){ LA_T(c->in[0]), LA_T(c->in[2]), LA_T(c->in[3]), LA_T(g), LA_STRUCT(w),
                                   LA_FLOAT(decoupled ? 1 - lr * decay : 1), LA_FLOAT(decoupled ? 0 : decay),
                                   LA_FLOAT(1 - beta1), LA_FLOAT(beta2), LA_FLOAT(1 - beta2), LA_FLOAT(size),
                                   LA_FLOAT(root), LA_FLOAT(c->arg[8].number) },
                      13));
done:
    la_tensor_release(&g);
    return err;
}

const la_op la_op_adam_step_ = {
    .name = "adam_step_",
    .brief = "One step of Adam (Kingma and Ba, 2015) or AdamW: param -= lr m' / (sqrt(v') + eps), m' and v' freed of "
             "their start at 0.",
    .example = "la.adam_step_(p, p.grad, m, v, { lr = 1e-3, step = step })",
    .param = adam_params,
    .in_place = true,
    .forward = adam_forward,
};

/* ---- sum of squares ---- */

static const la_param squares_params[] = {
    { LA_P_TENSORS, "list", NULL, "float32 tensors of any shapes", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

enum { CHUNK = 1024 };

static int squares_forward(la_call *c)
{
    int err = 0;
    int64_t parts = 0, at = 0;
    la_tensor *part = NULL, *dense = NULL;

    for (int i = 0; i < c->inputs; i++) {
        if (c->in[i]->dtype != LA_F32)
            return la_fail(LA_EDTYPE, "sum_squares: tensor %d must be float32, got %s", i + 1,
                           la_dtype_name(c->in[i]->dtype));
        parts += (la_tensor_numel(c->in[i]) + CHUNK - 1) / CHUNK;
    }
    LA_TRY(la_tensor_new(&part, c->dev, LA_F32, 1, &parts));
    for (int i = 0; i < c->inputs; i++) {
        const int64_t n = la_tensor_numel(c->in[i]), chunks = (n + CHUNK - 1) / CHUNK;
        LA_TRY(la__dense(&dense, c->in[i]));
        LA_TRY(la__launch(c->dev,
                          &(la_launch){ .program = "in_place",
                                        .entry = "sum_squares_part",
                                        .global = { (size_t)chunks },
                                        .bytes = 4.0 * (double)n,
                                        .flops = 2.0 * (double)n },
                          (la_karg[]){ LA_T(part), LA_T(dense), LA_INT(at), LA_INT(n), LA_INT(CHUNK) }, 5));
        la_tensor_release(&dense);
        at += chunks;
    }
    LA_TRY(la__run(&c->out[0], "sum", 1, &part, NULL));
done:
    la_tensor_release(&part);
    la_tensor_release(&dense);
    return err;
}

const la_op la_op_sum_squares = {
    .name = "sum_squares",
    .brief = "Sum of the squares of all elements of all tensors in a list, for clipping gradients.",
    .example = "local norm = la.sqrt(la.sum_squares(gradients))",
    .param = squares_params,
    .forward = squares_forward,
};
