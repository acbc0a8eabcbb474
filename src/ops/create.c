/* SPDX-License-Identifier: MIT
 *
 * create.c -- zeros, ones, full, arange, linspace, eye: tensors that follow a rule.
 */
#include <math.h>

#include "ops/op.h"

/* clang-format off */
#define SHAPE { LA_P_INTS, "shape", NULL, "sizes of the dimensions, as a list or one after the other", NULL }
#define DTYPE { LA_P_CHOICE, "dtype", "float32", "element type", "float32|int32|uint8" }
/* clang-format on */

static const la_param shape_params[] = { SHAPE, DTYPE, { LA_P_END, NULL, NULL, NULL, NULL } };

static const la_param full_params[] = {
    SHAPE,
    { LA_P_NUMBER, "value", NULL, "of every element", NULL },
    DTYPE,
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int filled(la_call *c, double value, int dtype_arg)
{
    int err = 0;
    LA_TRY(la__out(c, 0, (la_dtype)c->arg[dtype_arg].ints[0], c->arg[0].count, c->arg[0].ints));
    LA_TRY(la__fill(c->out[0], value));
done:
    return err;
}

static int zeros_forward(la_call *c)
{
    return filled(c, 0, 1);
}

static int ones_forward(la_call *c)
{
    return filled(c, 1, 1);
}

static int full_forward(la_call *c)
{
    return filled(c, c->arg[1].number, 2);
}

const la_op la_op_zeros = {
    .name = "zeros",
    .brief = "A tensor of zeros.",
    .example = "local x = la.zeros(2, 3)",
    .param = shape_params,
    .forward = zeros_forward,
};

const la_op la_op_ones = {
    .name = "ones",
    .brief = "A tensor of ones.",
    .example = "local x = la.ones({ 2, 3 }, 'uint8')",
    .param = shape_params,
    .forward = ones_forward,
};

const la_op la_op_full = {
    .name = "full",
    .brief = "A tensor of one value.",
    .example = "local x = la.full({ 2, 3 }, 0.5)",
    .param = full_params,
    .forward = full_forward,
};

/* ---- ramps ---- */

/* The first `half` elements are counted from start, the others from stop; the one in the middle lies between the two.
 */
static int ramp(la_tensor *out, double start, double stop, double step, int64_t half)
{
    const int64_t n = out->dim[0];
    const double middle = n == 1 ? start : (start + stop) / 2;
    return la__launch(
        out->storage->dev,
        &(la_launch){ .program = "create", .entry = "ramp", .global = { (size_t)n }, .bytes = 4.0 * (double)n },
        (la_karg[]){ LA_T(out), LA_INT(n), LA_INT(half), LA_FLOAT(start), LA_FLOAT(middle), LA_FLOAT(stop),
                     LA_FLOAT(step) },
        7);
}

static int whole_ramp(la_tensor *out, double start, double step)
{
    const int64_t n = out->dim[0];
    return la__launch(
        out->storage->dev,
        &(la_launch){ .program = "create", .entry = "ramp_int", .global = { (size_t)n }, .bytes = 4.0 * (double)n },
        (la_karg[]){ LA_T(out), LA_INT(n), LA_INT(start), LA_INT(step) }, 4);
}

static const la_param arange_params[] = {
    { LA_P_NUMBER, "start", NULL, "first element; the end, counted from 0, if it is the only number", NULL },
    { LA_P_NUMBER, "stop", "nil", "end, itself left out", NULL },
    { LA_P_NUMBER, "step", "1", "from one element to the next; may be negative", NULL },
    DTYPE,
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static bool is_int32(double x)
{
    return x >= INT32_MIN && x <= INT32_MAX && x == floor(x);
}

static int arange_forward(la_call *c)
{
    int err = 0;
    la_tensor *whole = NULL;
    const bool one = c->arg[1].count == 0;
    const double start = one ? 0 : c->arg[0].number, stop = c->arg[one ? 0 : 1].number, step = c->arg[2].number;
    const double count = ceil((stop - start) / step);
    const la_dtype dtype = (la_dtype)c->arg[3].ints[0];

    if (!(step != 0 && count >= 0 && count <= INT32_MAX))
        return la_fail(LA_EARG, "arange: step must lead from start to stop, got %g to %g by %g", start, stop, step);
    const int64_t n = (int64_t)count;
    if (dtype == LA_F32) {
        LA_TRY(la__out(c, 0, LA_F32, 1, &n));
        LA_TRY(ramp(c->out[0], start, stop, step, n));
        goto done;
    }
    if (!is_int32(start) || !is_int32(stop) || !is_int32(step))
        return la_fail(LA_EARG, "arange: start, stop and step must be whole for %s, got %g, %g and %g",
                       la_dtype_name(dtype), start, stop, step);
    LA_TRY(la_tensor_new(&whole, c->dev, LA_I32, 1, &n));
    LA_TRY(whole_ramp(whole, start, step));
    LA_TRY(la__convert(&c->out[0], whole, dtype));
done:
    la_tensor_release(&whole);
    return err;
}

const la_op la_op_arange = {
    .name = "arange",
    .brief = "start, start + step, ... up to but without stop; arange(n) is 0 to n - 1.",
    .example = "local i = la.arange(1, 11)",
    .param = arange_params,
    .forward = arange_forward,
};

static const la_param linspace_params[] = {
    { LA_P_NUMBER, "start", NULL, "first element", NULL },
    { LA_P_NUMBER, "stop", NULL, "last element", NULL },
    { LA_P_INT, "count", NULL, "how many", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int linspace_forward(la_call *c)
{
    int err = 0;
    const double start = c->arg[0].number, stop = c->arg[1].number;
    const int64_t n = c->arg[2].ints[0];

    LA_TRY(la__out(c, 0, LA_F32, 1, &n));
    LA_TRY(ramp(c->out[0], start, stop, n > 1 ? (stop - start) / (double)(n - 1) : 0, n / 2));
done:
    return err;
}

const la_op la_op_linspace = {
    .name = "linspace",
    .brief = "count numbers at equal distances from start to stop, both included.",
    .example = "local x = la.linspace(-1, 1, 15)",
    .param = linspace_params,
    .forward = linspace_forward,
};

/* ---- eye ---- */

static const la_param eye_params[] = {
    { LA_P_INT, "n", NULL, "rows", NULL },
    { LA_P_INT, "m", "nil", "columns; as many as rows if left out", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int eye_forward(la_call *c)
{
    int err = 0;
    const int64_t rows = c->arg[0].ints[0], columns = c->arg[c->arg[1].count > 0 ? 1 : 0].ints[0];

    LA_TRY(la__out(c, 0, LA_F32, 2, (int64_t[]){ rows, columns }));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "create", .entry = "diagonal", .global = { (size_t)(rows * columns) } },
                      (la_karg[]){ LA_T(c->out[0]), LA_INT(rows * columns), LA_INT(columns) }, 3));
done:
    return err;
}

const la_op la_op_eye = {
    .name = "eye",
    .brief = "Ones on the diagonal of an n x m matrix, zeros elsewhere.",
    .example = "local i = la.eye(3)",
    .param = eye_params,
    .forward = eye_forward,
};
