/* SPDX-License-Identifier: MIT
 *
 * shape.c -- views as ops, so that gradients pass through them: reshape, permute, transpose, expand, narrow, select,
 * squeeze, unsqueeze, flip, contiguous; and cat and stack, which copy.
 */
#include "ops/op.h"

static const la_param x_param[] = { { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
                                    { LA_P_END, NULL, NULL, NULL, NULL } };

/* The gradient of every op that only changes the shape. */
static int backward_reshape(la_call *c, la_tensor *const *g)
{
    return la__view_reshape(&c->grad[0], g[0], c->in[0]->ndim, c->in[0]->dim, c->op->name);
}

/* ---- reshape, squeeze, unsqueeze, contiguous ---- */

static const la_param reshape_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_INTS, "shape", NULL, "the new sizes; one may be -1", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int reshape_forward(la_call *c)
{
    return la__view_reshape(&c->out[0], c->in[0], c->arg[1].count, c->arg[1].ints, "reshape");
}

const la_op la_op_reshape = { .name = "reshape",
                              .brief =
                                  "The same elements in another shape: a view where strides allow it, else a copy.",
                              .example = "local y = x:reshape(2, -1)",
                              .param = reshape_params,
                              .forward = reshape_forward,
                              .backward = backward_reshape };

static const la_param squeeze_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIMS, "dims", "nil", "dimensions of one element to drop; all of those if left out", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int squeeze_forward(la_call *c)
{
    const la_tensor *x = c->in[0];
    int64_t dim[LA_MAX_DIMS];
    int n = 0;
    for (int d = 0; d < x->ndim; d++) {
        bool drop = c->arg[1].count == 0 && x->dim[d] == 1;
        for (int i = 0; i < c->arg[1].count; i++)
            drop = drop || c->arg[1].ints[i] == d;
        if (drop && x->dim[d] != 1)
            return la_fail(LA_ESHAPE, "squeeze: dimension %d has %lld elements, not 1", d + 1, (long long)x->dim[d]);
        if (!drop)
            dim[n++] = x->dim[d];
    }
    return la__view_reshape(&c->out[0], x, n, dim, "squeeze");
}

const la_op la_op_squeeze = { .name = "squeeze",
                              .brief = "Drops dimensions of one element.",
                              .example = "local y = x:squeeze(1)",
                              .param = squeeze_params,
                              .forward = squeeze_forward,
                              .backward = backward_reshape };

static const la_param unsqueeze_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIM, "dim", NULL, "new dimension's place in the result", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int unsqueeze_forward(la_call *c)
{
    const la_tensor *x = c->in[0];
    const int at = (int)c->arg[1].ints[0];
    int64_t dim[LA_MAX_DIMS + 1];
    for (int d = 0; d <= x->ndim; d++)
        dim[d] = d < at ? x->dim[d] : d == at ? 1 : x->dim[d - 1];
    return la__view_reshape(&c->out[0], x, x->ndim + 1, dim, "unsqueeze");
}

const la_op la_op_unsqueeze = { .name = "unsqueeze",
                                .brief = "Inserts a dimension of one element.",
                                .example = "local y = x:unsqueeze(1)",
                                .param = unsqueeze_params,
                                .forward = unsqueeze_forward,
                                .backward = backward_reshape };

static int contiguous_forward(la_call *c)
{
    return la__dense(&c->out[0], c->in[0]);
}

const la_op la_op_contiguous = { .name = "contiguous",
                                 .brief = "The tensor itself if its elements lie in order, else a copy that does.",
                                 .example = "local y = x:permute(1, 4, 2, 3):contiguous()",
                                 .param = x_param,
                                 .forward = contiguous_forward,
                                 .backward = backward_reshape };

/* ---- permute, transpose, flip ---- */

static const la_param permute_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIMS, "order", NULL, "for each dimension of the result, the dimension of x that it is", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int permute_order(const la_call *c, int *order)
{
    if (c->arg[1].count != c->in[0]->ndim)
        return la_fail(LA_EARG, "permute: order must name all %d dimensions, got %d", c->in[0]->ndim, c->arg[1].count);
    for (int d = 0; d < c->in[0]->ndim; d++)
        order[d] = (int)c->arg[1].ints[d];
    return 0;
}

static int permute_forward(la_call *c)
{
    int order[LA_MAX_DIMS] = { 0 };
    const int err = permute_order(c, order);
    return err < 0 ? err : la__view_permute(&c->out[0], c->in[0], order, "permute");
}

static int permute_backward(la_call *c, la_tensor *const *g)
{
    int order[LA_MAX_DIMS] = { 0 }, back[LA_MAX_DIMS] = { 0 };
    const int err = permute_order(c, order);
    for (int d = 0; d < c->in[0]->ndim; d++)
        back[order[d]] = d;
    return err < 0 ? err : la__view_permute(&c->grad[0], g[0], back, "permute");
}

const la_op la_op_permute = { .name = "permute",
                              .brief = "The dimensions in another order; a view.",
                              .example = "local nchw = x:permute(1, 4, 2, 3)",
                              .param = permute_params,
                              .forward = permute_forward,
                              .backward = permute_backward };

static const la_param transpose_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIM, "a", "-2", "one dimension", NULL },
    { LA_P_DIM, "b", "-1", "the one to exchange it with", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int exchange(la_tensor **out, const la_call *c, const la_tensor *t)
{
    int order[LA_MAX_DIMS];
    for (int d = 0; d < LA_MAX_DIMS; d++)
        order[d] = d;
    order[c->arg[1].ints[0]] = (int)c->arg[2].ints[0];
    order[c->arg[2].ints[0]] = (int)c->arg[1].ints[0];
    return la__view_permute(out, t, order, "transpose");
}

static int transpose_forward(la_call *c)
{
    return exchange(&c->out[0], c, c->in[0]);
}

static int transpose_backward(la_call *c, la_tensor *const *g)
{
    return exchange(&c->grad[0], c, g[0]);
}

const la_op la_op_transpose = { .name = "transpose",
                                .brief = "Two dimensions exchanged; a view.",
                                .example = "local t = x:transpose(1, 2)",
                                .param = transpose_params,
                                .forward = transpose_forward,
                                .backward = transpose_backward };

static const la_param flip_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIM, "dim", NULL, "the dimension to reverse", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

/* A negative stride does it. */
static int reversed(la_tensor **out, const la_tensor *t, int d)
{
    const int err = la__alias(out, t);
    if (err < 0 || t->dim[d] == 0)
        return err;
    (*out)->offset += (t->dim[d] - 1) * t->stride[d];
    (*out)->stride[d] = -t->stride[d];
    return 0;
}

static int flip_forward(la_call *c)
{
    return reversed(&c->out[0], c->in[0], (int)c->arg[1].ints[0]);
}

static int flip_backward(la_call *c, la_tensor *const *g)
{
    return reversed(&c->grad[0], g[0], (int)c->arg[1].ints[0]);
}

const la_op la_op_flip = { .name = "flip",
                           .brief = "One dimension in reverse order; a view.",
                           .example = "local mirrored = image:flip(2)",
                           .param = flip_params,
                           .forward = flip_forward,
                           .backward = flip_backward };

/* ---- expand ---- */

static const la_param expand_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_INTS, "shape", NULL, "sizes to broadcast to; -1 keeps one", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int expand_forward(la_call *c)
{
    return la__view_expand(&c->out[0], c->in[0], c->arg[1].count, c->arg[1].ints, "expand");
}

static int expand_backward(la_call *c, la_tensor *const *g)
{
    return la__sum_to(&c->grad[0], g[0], c->in[0]);
}

const la_op la_op_expand = { .name = "expand",
                             .brief = "Repeats dimensions of one element without copying; a view.",
                             .example = "local rows = bias:expand(8, 16)",
                             .param = expand_params,
                             .forward = expand_forward,
                             .backward = expand_backward };

/* ---- narrow and select ---- */

static const la_param narrow_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIM, "dim", NULL, "the dimension to cut", NULL },
    { LA_P_INDEX, "start", NULL, "first element kept", NULL },
    { LA_P_INT, "length", NULL, "how many are kept", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int narrow(la_tensor **out, const la_call *c, const la_tensor *t)
{
    return la__view_narrow(out, t, (int)c->arg[1].ints[0], c->arg[2].ints[0], c->arg[3].ints[0], "narrow");
}

static int narrow_forward(la_call *c)
{
    return narrow(&c->out[0], c, c->in[0]);
}

/* A gradient that is 0 outside the part of x that `cut` finds. */
static int backward_part(la_call *c, const la_tensor *g, int (*cut)(la_tensor **, const la_call *, const la_tensor *))
{
    int err = 0;
    la_tensor *part = NULL;
    LA_TRY(la__full(&c->grad[0], c->dev, c->in[0]->ndim, c->in[0]->dim, 0));
    LA_TRY(cut(&part, c, c->grad[0]));
    LA_TRY(la__copy(part, g));
done:
    la_tensor_release(&part);
    return err;
}

static int narrow_backward(la_call *c, la_tensor *const *g)
{
    return backward_part(c, g[0], narrow);
}

const la_op la_op_narrow = { .name = "narrow",
                             .brief = "A run of elements of one dimension; a view.",
                             .example = "local middle = x:narrow(2, 3, 5)",
                             .param = narrow_params,
                             .forward = narrow_forward,
                             .backward = narrow_backward };

static const la_param select_params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_DIM, "dim", NULL, "the dimension to drop", NULL },
    { LA_P_INDEX, "index", NULL, "the element of it that is kept", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int pick(la_tensor **out, const la_call *c, const la_tensor *t)
{
    return la__view_select(out, t, (int)c->arg[1].ints[0], c->arg[2].ints[0], "select");
}

static int select_forward(la_call *c)
{
    return pick(&c->out[0], c, c->in[0]);
}

static int select_backward(la_call *c, la_tensor *const *g)
{
    return backward_part(c, g[0], pick);
}

const la_op la_op_select = { .name = "select",
                             .brief = "One element of one dimension, which is dropped; a view.",
                             .example = "local first = x:select(1, 1)",
                             .param = select_params,
                             .forward = select_forward,
                             .backward = select_backward };

/* ---- cat and stack ---- */

static const la_param cat_params[] = {
    { LA_P_TENSORS, "list", NULL, "tensors of equal shape but for the dimension that is joined, and of one type",
      NULL },
    { LA_P_DIM, "dim", "1", "the dimension to join along", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int check_list(const la_call *c, int except)
{
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    const la_tensor *first = c->in[0];
    for (int i = 1; i < c->inputs; i++) {
        const la_tensor *t = c->in[i];
        bool fits = t->ndim == first->ndim && t->dtype == first->dtype;
        for (int d = 0; fits && d < t->ndim; d++)
            fits = d == except || t->dim[d] == first->dim[d];
        if (!fits)
            return la_fail(LA_ESHAPE, "%s: tensor %d is %s %s, which does not go with %s %s", c->op->name, i + 1,
                           la_dtype_name(t->dtype), la__shape(t, a), la_dtype_name(first->dtype), la__shape(first, b));
    }
    return 0;
}

static int cat_forward(la_call *c)
{
    int err = 0;
    const int d = (int)c->arg[1].ints[0];
    int64_t dim[LA_MAX_DIMS], at = 0;
    la_tensor *part = NULL;

    LA_TRY(check_list(c, d));
    for (int k = 0; k < c->in[0]->ndim; k++)
        dim[k] = c->in[0]->dim[k];
    for (int i = 1; i < c->inputs; i++)
        dim[d] += c->in[i]->dim[d];
    LA_TRY(la__out(c, 0, c->in[0]->dtype, c->in[0]->ndim, dim));
    for (int i = 0; i < c->inputs; i++) {
        LA_TRY(la__view_narrow(&part, c->out[0], d, at, c->in[i]->dim[d], "cat"));
        LA_TRY(la__copy(part, c->in[i]));
        la_tensor_release(&part);
        at += c->in[i]->dim[d];
    }
done:
    la_tensor_release(&part);
    return err;
}

static int cat_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    const int d = (int)c->arg[1].ints[0];
    int64_t at = 0;
    for (int i = 0; i < c->inputs; i++) {
        if (la__wants(c, i))
            LA_TRY(la__view_narrow(&c->grad[i], g[0], d, at, c->in[i]->dim[d], "cat"));
        at += c->in[i]->dim[d];
    }
done:
    return err;
}

const la_op la_op_cat = { .name = "cat",
                          .brief = "Tensors joined along a dimension that they have.",
                          .example = "local both = la.cat({ a, b }, -1)",
                          .param = cat_params,
                          .forward = cat_forward,
                          .backward = cat_backward,
                          .shape_only = ~0u };

static const la_param stack_params[] = {
    { LA_P_TENSORS, "list", NULL, "tensors of equal shape and type", NULL },
    { LA_P_DIM, "dim", "1", "new dimension's place in the result", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int stack_forward(la_call *c)
{
    int err = 0;
    const int at = (int)c->arg[1].ints[0], n = c->in[0]->ndim;
    int64_t dim[LA_MAX_DIMS + 1];
    la_tensor *part = NULL;

    LA_TRY(check_list(c, -1));
    for (int d = 0; d <= n; d++)
        dim[d] = d < at ? c->in[0]->dim[d] : d == at ? c->inputs : c->in[0]->dim[d - 1];
    LA_TRY(la__out(c, 0, c->in[0]->dtype, n + 1, dim));
    for (int i = 0; i < c->inputs; i++) {
        LA_TRY(la__view_select(&part, c->out[0], at, i, "stack"));
        LA_TRY(la__copy(part, c->in[i]));
        la_tensor_release(&part);
    }
done:
    la_tensor_release(&part);
    return err;
}

static int stack_backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    for (int i = 0; i < c->inputs; i++)
        if (la__wants(c, i))
            LA_TRY(la__view_select(&c->grad[i], g[0], (int)c->arg[1].ints[0], i, "stack"));
done:
    return err;
}

const la_op la_op_stack = { .name = "stack",
                            .brief = "Tensors of equal shape joined along a new dimension.",
                            .example = "local batch = la.stack({ image1, image2 }, 1)",
                            .param = stack_params,
                            .forward = stack_forward,
                            .backward = stack_backward,
                            .shape_only = ~0u };
