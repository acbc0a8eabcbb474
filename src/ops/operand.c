/* SPDX-License-Identifier: MIT
 *
 * operand.c -- operands that are tensors or numbers.
 */
#include "ops/operand.h"

#include <math.h>

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
