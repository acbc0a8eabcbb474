/* SPDX-License-Identifier: MIT
 *
 * matmul.c -- products of matrices and of batches of them.
 */
#include "ops/gemm.h"

enum { A, B };                              /* tensor slots */
enum { TA = 2, TB = 3, PRECISION, METHOD }; /* parameters */

/* A product seen as equal numbers of matrices; a or b may also be one matrix for all. */
typedef struct sizes {
    int64_t m, n, k, batch;
    int ndim;
    int64_t dim[LA_MAX_DIMS]; /* of the result */
} sizes;

static bool flag(const la_call *c, int parameter)
{
    return c->arg[parameter].ints[0] != 0;
}

static int check(sizes *z, const la_call *c)
{
    int err = 0;
    char ta[LA_SHAPE_TEXT], tb[LA_SHAPE_TEXT];
    const la_tensor *a = c->in[A], *b = c->in[B];

    LA_TRY(la__gemm_check_method(c, METHOD));
    for (int slot = A; slot <= B; slot++) {
        LA_TRY(la__check_f32(c, slot));
        if (c->in[slot]->ndim < 2)
            return la_fail(LA_ESHAPE, "matmul: %s must have at least 2 dimensions, got %s", la__slot_name(c, slot),
                           la__shape(c->in[slot], ta));
    }
    const int64_t *da = a->dim + a->ndim - 2, *db = b->dim + b->ndim - 2;
    const bool at = flag(c, TA), bt = flag(c, TB);
    *z = (sizes){ .m = da[at], .k = da[!at], .n = db[!bt], .batch = 1 };
    if (z->k != db[bt])
        return la_fail(LA_ESHAPE, "matmul: the inner sizes differ: a %s%s has %lld columns, b %s%s has %lld rows",
                       la__shape(a, ta), at ? " transposed" : "", (long long)z->k, la__shape(b, tb),
                       bt ? " transposed" : "", (long long)db[bt]);
    z->ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int d = 0; d < z->ndim - 2; d++) {
        const int ia = d - (z->ndim - a->ndim), ib = d - (z->ndim - b->ndim);
        const int64_t na = ia < 0 ? 1 : a->dim[ia], nb = ib < 0 ? 1 : b->dim[ib];
        if (na != nb && na != 1 && nb != 1)
            return la_fail(LA_ESHAPE, "matmul: the leading dimensions of a %s and b %s do not broadcast",
                           la__shape(a, ta), la__shape(b, tb));
        z->dim[d] = na == 1 ? nb : na;
        z->batch *= z->dim[d];
    }
    z->dim[z->ndim - 2] = z->m;
    z->dim[z->ndim - 1] = z->n;
done:
    return err;
}

/* t dense, with *step elements between its matrices: one matrix for the whole batch, or as many as the batch has. */
static int operand(la_tensor **out, int64_t *step, const la_tensor *t, const sizes *z)
{
    int err = 0;
    la_tensor *wide = NULL;
    int64_t matrices = 1, dim[LA_MAX_DIMS];

    for (int d = 0; d < t->ndim - 2; d++)
        matrices *= t->dim[d];
    if (matrices != 1 && matrices != z->batch) {
        for (int d = 0; d < z->ndim - 2; d++)
            dim[d] = z->dim[d];
        dim[z->ndim - 2] = t->dim[t->ndim - 2];
        dim[z->ndim - 1] = t->dim[t->ndim - 1];
        LA_TRY(la__view_expand(&wide, t, z->ndim, dim, "matmul"));
    }
    LA_TRY(la__dense(out, wide ? wide : t));
    *step = matrices == 1 ? 0 : t->dim[t->ndim - 2] * t->dim[t->ndim - 1];
done:
    la_tensor_release(&wide);
    return err;
}

/* out = op(a) op(b) for dense operands with their steps; m, n, k as op leaves them. When one right matrix serves a
 * batch of left ones that follow each other, the batch is one tall matrix. */
static int product(la_call *c, la_tensor *out, const la_tensor *a, int64_t a_step, bool ta, const la_tensor *b,
                   int64_t b_step, bool tb, int64_t m, int64_t n, int64_t k, int64_t batch)
{
    la_gemm g = { .method = (la_method)c->arg[METHOD].ints[0],
                  .factors = (la_factors)c->arg[PRECISION].ints[0],
                  .batch = batch,
                  .m = m,
                  .n = n,
                  .k = k,
                  .ta = ta,
                  .tb = tb,
                  .a = a->storage->buffer,
                  .b = b->storage->buffer,
                  .a_step = a_step,
                  .b_step = b_step,
                  .c = out->storage->buffer };
    if (b_step == 0 && a_step != 0 && !ta) {
        g.m *= batch;
        g.batch = 1;
    }
    return la__gemm(c->dev, &g);
}

static int forward(la_call *c)
{
    int err = 0;
    sizes z;
    la_tensor *a = NULL, *b = NULL;
    int64_t a_step, b_step;

    LA_TRY(check(&z, c));
    LA_TRY(operand(&a, &a_step, c->in[A], &z));
    LA_TRY(operand(&b, &b_step, c->in[B], &z));
    LA_TRY(la__out(c, 0, LA_F32, z.ndim, z.dim));
    LA_TRY(product(c, c->out[0], a, a_step, flag(c, TA), b, b_step, flag(c, TB), z.m, z.n, z.k, z.batch));
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    return err;
}

/* The gradient of one operand: the product of two dense ones per matrix of the batch, summed to the operand's shape. */
static int gradient(la_call *c, int slot, const sizes *z, const la_tensor *left, int64_t left_step, bool tl,
                    const la_tensor *right, int64_t right_step, bool tr, int64_t inner)
{
    int err = 0;
    la_tensor *all = NULL;
    const la_tensor *t = c->in[slot];
    int64_t dim[LA_MAX_DIMS];

    for (int d = 0; d < z->ndim - 2; d++)
        dim[d] = z->dim[d];
    const int64_t rows = dim[z->ndim - 2] = t->dim[t->ndim - 2];
    const int64_t columns = dim[z->ndim - 1] = t->dim[t->ndim - 1];
    LA_TRY(la_tensor_new(&all, c->dev, LA_F32, z->ndim, dim));
    LA_TRY(product(c, all, left, left_step, tl, right, right_step, tr, rows, columns, inner, z->batch));
    LA_TRY(la__sum_to(&c->grad[slot], all, t));
done:
    la_tensor_release(&all);
    return err;
}

/* db when one b served a whole batch of rows: a product over all rows of the batch at once. */
static int gradient_shared(la_call *c, const sizes *z, const la_tensor *a, const la_tensor *g)
{
    int err = 0;
    const la_tensor *b = c->in[B];
    LA_TRY(la__like(&c->grad[B], b));
    const int64_t rows = z->batch * z->m;
    if (flag(c, TB))
        LA_TRY(product(c, c->grad[B], g, 0, true, a, 0, false, z->n, z->k, rows, 1));
    else
        LA_TRY(product(c, c->grad[B], a, 0, true, g, 0, false, z->k, z->n, rows, 1));
done:
    return err;
}

/* c = op(a) op(b): d op(a) = g op(b)^T, d op(b) = op(a)^T g. */
static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    sizes z;
    la_tensor *a = NULL, *b = NULL, *d = NULL;
    int64_t a_step, b_step;
    const bool ta = flag(c, TA), tb = flag(c, TB);

    LA_TRY(check(&z, c));
    LA_TRY(operand(&a, &a_step, c->in[A], &z));
    LA_TRY(operand(&b, &b_step, c->in[B], &z));
    LA_TRY(la__dense(&d, g[0]));
    const int64_t d_step = z.m * z.n;
    if (la__wants(c, A)) {
        if (ta)
            LA_TRY(gradient(c, A, &z, b, b_step, tb, d, d_step, true, z.n));
        else
            LA_TRY(gradient(c, A, &z, d, d_step, false, b, b_step, !tb, z.n));
    }
    if (la__wants(c, B)) {
        if (b_step == 0 && c->in[B]->ndim == 2 && !ta && (a_step != 0 || z.batch == 1))
            LA_TRY(gradient_shared(c, &z, a, d));
        else if (tb)
            LA_TRY(gradient(c, B, &z, d, d_step, true, a, a_step, ta, z.m));
        else
            LA_TRY(gradient(c, B, &z, a, a_step, !ta, d, d_step, false, z.m));
    }
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    la_tensor_release(&d);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "a", NULL, "left matrix (m, k) or batch of them (..., m, k), float32", NULL },
    { LA_P_TENSOR, "b", NULL, "right matrix (k, n) or batch of them (..., k, n), float32", NULL },
    { LA_P_BOOL, "ta", "false", "a is given transposed, (..., k, m)", NULL },
    { LA_P_BOOL, "tb", "false", "b is given transposed, (..., n, k)", NULL },
    { LA_P_CHOICE, "precision", "float32", "what factors are rounded to; sums are float32. Others need tensor cores",
      LA_FACTORS },
    { LA_P_CHOICE, "method", "auto", "which kernels; all but auto are there to compare with", LA_METHODS },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_matmul = {
    .name = "matmul",
    .brief = "Product of two matrices, c = a b, or of two batches of them, whose leading dimensions broadcast.",
    .example = "local c = la.matmul(a, b, { tb = true })",
    .param = params,
    .forward = forward,
    .backward = backward,
};
