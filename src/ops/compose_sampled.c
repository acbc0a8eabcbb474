/* SPDX-License-Identifier: MIT
 *
 * compose_sampled.c -- outer(inner(p)) with the outer transformation read off its grid, as the soft inlier loss has it.
 */
#include "ops/grid_sample.h"

enum { OUTER, INNER };

static int check(const la_call *c)
{
    int err = 0;
    const la_tensor *outer = c->in[OUTER];
    const int64_t N = outer->ndim > 0 ? outer->dim[0] : 0;
    LA_TRY(la__check_grid(c, OUTER, N));
    LA_TRY(la__check_grid(c, INNER, N));
done:
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    la_tensor *outer = NULL, *inner = NULL;

    LA_TRY(check(c));
    LA_TRY(la__dense(&outer, c->in[OUTER]));
    LA_TRY(la__dense(&inner, c->in[INNER]));
    LA_TRY(la__like(&c->out[0], inner));
    const int64_t P = inner->dim[1] * inner->dim[2], total = inner->dim[0] * P;
    LA_TRY(la__launch(
        c->dev,
        &(la_launch){ .program = "compose_sampled", .entry = "compose_sampled_fwd", .global = { (size_t)total } },
        (la_karg[]){ LA_T(c->out[0]), LA_T(outer), LA_T(inner), LA_INT(total), LA_INT(P), LA_INT(outer->dim[1]),
                     LA_INT(outer->dim[2]) },
        7));
done:
    la_tensor_release(&outer);
    la_tensor_release(&inner);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    la_tensor *t[2] = { NULL, NULL }, *gd = NULL;

    LA_TRY(la__dense(&t[OUTER], c->in[OUTER]));
    LA_TRY(la__dense(&t[INNER], c->in[INNER]));
    LA_TRY(la__dense(&gd, g[0]));
    const int64_t *d = t[OUTER]->dim, P = t[INNER]->dim[1] * t[INNER]->dim[2];
    for (int slot = OUTER; slot <= INNER; slot++) {
        const int64_t total = d[0] * (slot == OUTER ? d[1] : P);
        if (!la__wants(c, slot))
            continue;
        LA_TRY(la__like(&c->grad[slot], t[slot]));
        LA_TRY(
            la__launch(c->dev,
                       &(la_launch){ .program = "compose_sampled",
                                     .entry = slot == OUTER ? "compose_sampled_bwd_outer" : "compose_sampled_bwd_inner",
                                     .global = { (size_t)total } },
                       (la_karg[]){ LA_T(c->grad[slot]), LA_T(gd), LA_T(t[OUTER]), LA_T(t[INNER]), LA_INT(total),
                                    LA_INT(P), LA_INT(d[1]), LA_INT(d[2]) },
                       8));
    }
done:
    la_tensor_release(&t[OUTER]);
    la_tensor_release(&t[INNER]);
    la_tensor_release(&gd);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "outer", NULL,
      "grid (N, h, w, 2) of the transformation applied last, over the whole of [-1, 1]^2, float32", NULL },
    { LA_P_TENSOR, "inner", NULL, "grid (N, h', w', 2) of the one applied first, float32", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_compose_sampled = {
    .name = "compose_sampled",
    .brief = "outer(inner(p)), the outer grid sampled bilinearly as WeakAlign's loss does: what leaves (-1, 1) goes to "
             "-1e10. For the exact composition call <family>_points on the inner grid.",
    .example = "local g = la.compose_sampled(affine_grid, tps_grid)",
    .param = params,
    .forward = forward,
    .backward = backward,
};
