/* SPDX-License-Identifier: MIT
 *
 * correlation.c -- the matching layer: all pairs of a source and a target cell.
 */
#include <math.h>

#include "ops/op.h"

enum { A, B };                                    /* tensor slots */
enum { ORDER = 2, RELU, NORMALIZE, EPS, METHOD }; /* parameters */
enum { BY_COLUMN = 0, PLAIN = 1 };                /* choices */
enum { RESULT, NORM };                            /* saved tensors */

typedef struct sizes {
    int64_t N, hA, wA, hB, wB, C;
} sizes;

static int check(sizes *z, const la_call *c)
{
    int err = 0;
    char ta[LA_SHAPE_TEXT], tb[LA_SHAPE_TEXT];
    const la_tensor *a = c->in[A], *b = c->in[B];

    for (int slot = A; slot <= B; slot++) {
        LA_TRY(la__check_f32(c, slot));
        LA_TRY(la__check_ndim(c, slot, 4));
    }
    if (a->dim[0] != b->dim[0] || a->dim[3] != b->dim[3])
        return la_fail(LA_ESHAPE, "correlation: a and b must agree in batch and channels, got %s and %s",
                       la__shape(a, ta), la__shape(b, tb));
    *z = (sizes){ a->dim[0], a->dim[1], a->dim[2], b->dim[1], b->dim[2], a->dim[3] };
done:
    return err;
}

/* a as the matrix (N, hA wA, C) whose rows are the source cells in the order asked for. */
static int source_rows(la_tensor **out, const la_call *c, const sizes *z)
{
    int err = 0;
    la_tensor *turned = NULL;
    if (c->arg[ORDER].ints[0] == BY_COLUMN)
        LA_TRY(la__view_permute(&turned, c->in[A], (int[]){ 0, 2, 1, 3 }, "correlation"));
    else
        LA_TRY(la__alias(&turned, c->in[A]));
    LA_TRY(la__view_reshape(out, turned, LA_DIMS(z->N, z->hA * z->wA, z->C), "correlation"));
done:
    la_tensor_release(&turned);
    return err;
}

static int target_rows(la_tensor **out, const la_call *c, const sizes *z)
{
    return la__view_reshape(out, c->in[B], LA_DIMS(z->N, z->hB * z->wB, z->C), "correlation");
}

/* A plain product kernel: out and two dense inputs, one work-item per element of out. */
static int plain(const la_call *c, const sizes *z, const char *entry, la_tensor *out, la_tensor *x, la_tensor *y)
{
    const int64_t total = la_tensor_numel(out);
    return la__launch(c->dev,
                      &(la_launch){ .program = "correlation",
                                    .entry = entry,
                                    .global = { (size_t)total },
                                    .flops = 2.0 * (double)(z->N * z->hA * z->wA * z->hB * z->wB * z->C) },
                      (la_karg[]){ LA_T(out), LA_T(x), LA_T(y), LA_INT(total), LA_INT(z->hB * z->wB), LA_INT(z->C),
                                   LA_INT(z->hA), LA_INT(z->wA), LA_INT(c->arg[ORDER].ints[0] == BY_COLUMN) },
                      9);
}

/* The inner products, (N, hB, wB, hA wA), fresh and dense. */
static int products(la_tensor **out, const la_call *c, const sizes *z)
{
    int err = 0;
    la_tensor *a = NULL, *b = NULL, *m = NULL;

    if (c->arg[METHOD].ints[0] == PLAIN) {
        LA_TRY(la__dense(&a, c->in[A]));
        LA_TRY(la__dense(&b, c->in[B]));
        LA_TRY(la_tensor_new(out, c->dev, LA_F32, LA_DIMS(z->N, z->hB, z->wB, z->hA * z->wA)));
        LA_TRY(plain(c, z, "correlation_fwd_plain", *out, a, b));
    } else {
        LA_TRY(source_rows(&a, c, z));
        LA_TRY(target_rows(&b, c, z));
        LA_TRY(la__run(&m, "matmul", 2, (la_tensor *[]){ b, a }, "tb=true"));
        LA_TRY(la__view_reshape(out, m, LA_DIMS(z->N, z->hB, z->wB, z->hA * z->wA), "correlation"));
    }
done:
    la_tensor_release(&a);
    la_tensor_release(&b);
    la_tensor_release(&m);
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    sizes z;

    LA_TRY(check(&z, c));
    LA_TRY(products(&c->out[0], c, &z));
    LA_TRY(la_tensor_new(&c->saved[NORM], c->dev, LA_F32, LA_DIMS(z.N, z.hB, z.wB)));
    LA_TRY(la__alias(&c->saved[RESULT], c->out[0]));
    const int64_t rows = z.N * z.hB * z.wB;
    const float low = c->arg[RELU].ints[0] ? 0.0f : -INFINITY;
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "correlation",
                                    .entry = "correlation_fwd_norm",
                                    .global = { (size_t)rows },
                                    .bytes = 8.0 * (double)la_tensor_numel(c->out[0]) },
                      (la_karg[]){ LA_T(c->out[0]), LA_T(c->saved[NORM]), LA_INT(rows), LA_INT(z.hA * z.wA),
                                   LA_INT(c->arg[NORMALIZE].ints[0]), LA_FLOAT(low), LA_FLOAT(c->arg[EPS].number) },
                      7));
done:
    return err;
}

/* The gradient of the raw products, (N, hB wB, hA wA). */
static int products_gradient(la_tensor **out, const la_call *c, const sizes *z, const la_tensor *g)
{
    int err = 0;
    la_tensor *gd = NULL;
    const int64_t rows = z->N * z->hB * z->wB;

    LA_TRY(la__dense(&gd, g));
    LA_TRY(la_tensor_new(out, c->dev, LA_F32, LA_DIMS(z->N, z->hB * z->wB, z->hA * z->wA)));
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = "correlation",
                                    .entry = "correlation_bwd_norm",
                                    .global = { (size_t)rows },
                                    .bytes = 12.0 * (double)la_tensor_numel(gd) },
                      (la_karg[]){ LA_T(*out), LA_T(gd), LA_T(c->saved[RESULT]), LA_T(c->saved[NORM]), LA_INT(rows),
                                   LA_INT(z->hA * z->wA), LA_INT(c->arg[RELU].ints[0]),
                                   LA_INT(c->arg[NORMALIZE].ints[0]) },
                      8));
done:
    la_tensor_release(&gd);
    return err;
}

static int gradient_a(la_call *c, const sizes *z, la_tensor *draw)
{
    int err = 0;
    la_tensor *b = NULL, *m = NULL, *cells = NULL, *turned = NULL;

    LA_TRY(target_rows(&b, c, z));
    if (c->arg[METHOD].ints[0] == PLAIN) {
        LA_TRY(la__dense(&m, b));
        LA_TRY(la_tensor_new(&c->grad[A], c->dev, LA_F32, LA_DIMS(z->N, z->hA, z->wA, z->C)));
        LA_TRY(plain(c, z, "correlation_bwd_plain_a", c->grad[A], draw, m));
        goto done;
    }
    LA_TRY(la__run(&m, "matmul", 2, (la_tensor *[]){ draw, b }, "ta=true"));
    if (c->arg[ORDER].ints[0] == BY_COLUMN) {
        LA_TRY(la__view_reshape(&cells, m, LA_DIMS(z->N, z->wA, z->hA, z->C), "correlation"));
        LA_TRY(la__view_permute(&turned, cells, (int[]){ 0, 2, 1, 3 }, "correlation"));
        LA_TRY(la__dense(&c->grad[A], turned));
    } else {
        LA_TRY(la__view_reshape(&c->grad[A], m, LA_DIMS(z->N, z->hA, z->wA, z->C), "correlation"));
    }
done:
    la_tensor_release(&b);
    la_tensor_release(&m);
    la_tensor_release(&cells);
    la_tensor_release(&turned);
    return err;
}

static int gradient_b(la_call *c, const sizes *z, la_tensor *draw)
{
    int err = 0;
    la_tensor *a = NULL, *m = NULL;

    if (c->arg[METHOD].ints[0] == PLAIN) {
        LA_TRY(la__dense(&a, c->in[A]));
        LA_TRY(la_tensor_new(&c->grad[B], c->dev, LA_F32, LA_DIMS(z->N, z->hB, z->wB, z->C)));
        LA_TRY(plain(c, z, "correlation_bwd_plain_b", c->grad[B], draw, a));
    } else {
        LA_TRY(source_rows(&a, c, z));
        LA_TRY(la__run(&m, "matmul", 2, (la_tensor *[]){ draw, a }, NULL));
        LA_TRY(la__view_reshape(&c->grad[B], m, LA_DIMS(z->N, z->hB, z->wB, z->C), "correlation"));
    }
done:
    la_tensor_release(&a);
    la_tensor_release(&m);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    sizes z;
    la_tensor *draw = NULL;

    LA_TRY(check(&z, c));
    LA_TRY(products_gradient(&draw, c, &z, g[0]));
    if (la__wants(c, A))
        LA_TRY(gradient_a(c, &z, draw));
    if (la__wants(c, B))
        LA_TRY(gradient_b(c, &z, draw));
done:
    la_tensor_release(&draw);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "a", NULL, "source features (N, hA, wA, C), float32", NULL },
    { LA_P_TENSOR, "b", NULL, "target features (N, hB, wB, C), float32", NULL },
    { LA_P_CHOICE, "order", "column",
      "how source cells are numbered: column by column as the papers' networks do, or row by row", "column|row" },
    { LA_P_BOOL, "relu", "true", "clamp the products at 0 before normalising", NULL },
    { LA_P_BOOL, "normalize", "true", "scale each target cell's products to unit length", NULL },
    { LA_P_NUMBER, "eps", "1e-6", "added to the sum of squares, inside the root", NULL },
    { LA_P_CHOICE, "method", "matmul", "matmul, or plain: a direct kernel to check against", "matmul|plain" },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_correlation = {
    .name = "correlation",
    .brief = "Correlates each target cell with all source cells, (N, hB, wB, hA wA): s = max(<b, a>, 0), s / sqrt(sum "
             "s^2 + eps) over the source cells.",
    .example = "local s = la.correlation(source_features, target_features)",
    .param = params,
    .forward = forward,
    .backward = backward,
};
