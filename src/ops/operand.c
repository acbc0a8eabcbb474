/* SPDX-License-Identifier: MIT
 *
 * operand.c -- operands that are tensors or numbers.
 */
#include "ops/operand.h"

#include "tensor/pointwise.h"

#include <math.h>
#include <stdio.h>

int la__operand(la_tensor **out, const la_call *c, int arg, int slot, la_dtype dtype)
{
    int err = 0;
    if (c->in[slot])
        return la__convert(out, c->in[slot], dtype);
    LA_TRY(la_tensor_new(out, c->dev, dtype, 0, NULL));
    LA_TRY(la__fill(*out, c->arg[arg].number));
done:
    return err;
}

bool la__operands_whole(const la_call *c, int first)
{
    for (int i = first; i < first + 2; i++) {
        const double x = c->arg[i].number;
        if (c->in[i] ? c->in[i]->dtype == LA_F32 : !(x == floor(x) && x >= INT32_MIN && x <= INT32_MAX))
            return false;
    }
    return c->in[first] || c->in[first + 1];
}

const la_param la__binary_params[] = {
    { LA_P_OPERAND, "a", NULL, "first operand: a tensor of any shape, or a number", NULL },
    { LA_P_OPERAND, "b", NULL, "second operand: a tensor whose shape broadcasts with a's, or a number", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

int la__binary_forward(la_call *c, const char *program, bool ints, la_dtype dtype)
{
    int err = 0, ndim;
    int64_t dim[LA_MAX_DIMS];
    la_tensor *in[2] = { NULL };
    char entry[32];

    for (int i = 0; i < 2; i++)
        LA_TRY(la__operand(&in[i], c, i, i, ints ? LA_I32 : LA_F32));
    LA_TRY(la__broadcast(&ndim, dim, in[0], in[1], c->op->name));
    LA_TRY(la__out(c, 0, dtype, ndim, dim));
    snprintf(entry, sizeof entry, "%s_fwd%s", c->op->name, ints ? "_int" : "");
    LA_TRY(la__pointwise(c->out[0], program, entry, 2, in));
done:
    la_tensor_release(&in[0]);
    la_tensor_release(&in[1]);
    return err;
}
