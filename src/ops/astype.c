/* SPDX-License-Identifier: MIT
 *
 * astype.c -- conversion of the element type.
 */
#include "ops/op.h"

static const la_param params[] = {
    { LA_P_TENSOR, "x", NULL, "any shape and type", NULL },
    { LA_P_CHOICE, "dtype", NULL, "the new type; floats are cut towards 0 and limited to its range, NaN becomes 0",
      "float32|int32|uint8" },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int forward(la_call *c)
{
    return la__convert(&c->out[0], c->in[0], (la_dtype)c->arg[1].ints[0]);
}

/* Only float32 to float32, which changes nothing, passes a gradient; to integers there is none. */
static int backward(la_call *c, la_tensor *const *g)
{
    c->grad[0] = g[0]->dtype == LA_F32 ? la_tensor_retain(g[0]) : NULL;
    return 0;
}

const la_op la_op_astype = { .name = "astype",
                             .brief = "The elements in another type.",
                             .example = "local f = image:astype('float32')",
                             .param = params,
                             .forward = forward,
                             .backward = backward };
