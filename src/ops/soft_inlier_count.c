/* SPDX-License-Identifier: MIT
 *
 * soft_inlier_count.c -- how much correlation a transformation gathers (Rocco, Arandjelovic, Sivic, CVPR 2018).
 */
#include "ops/grid_sample.h"

enum { CORRELATION, GRID };
enum { SOURCE = 2, NORMALIZE, DILATION, SMOOTH, ORDER, MODE };
enum { BY_COLUMN = 0, PLAIN = 1 }; /* choices */
enum { STATE, MASK };              /* saved: (score, 1 / denominator) per sample; the warped mask of the plain form */

static const char program[] = "soft_inlier_count";

typedef struct sizes {
    int64_t N, Q, K, h, w; /* samples, target cells, source cells = h w */
    bool by_column, normalize, plain, smooth;
    int dilation; /* neighbours that a mask reaches */
} sizes;

/* The source grid: given, or else the target's own size. */
static int source_size(sizes *z, const la_call *c)
{
    const la_value *source = &c->arg[SOURCE];
    const la_tensor *s = c->in[CORRELATION];
    z->h = source->count ? source->ints[0] : s->dim[1];
    z->w = source->count ? source->ints[source->count > 1] : s->dim[2];
    if (source->count > 2 || z->h < 1 || z->w < 1 || z->h > INT16_MAX || z->w > INT16_MAX || z->h * z->w != s->dim[3])
        return la_fail(
            LA_ESHAPE,
            "soft_inlier_count: source must be { rows, columns } with %lld cells, as correlation has, got %lld x %lld",
            (long long)s->dim[3], (long long)z->h, (long long)z->w);
    return 0;
}

static int check(sizes *z, const la_call *c)
{
    int err = 0;
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    const la_tensor *s = c->in[CORRELATION], *grid = c->in[GRID];
    const int64_t dilation = c->arg[DILATION].ints[0];

    LA_TRY(la__check_f32(c, CORRELATION));
    LA_TRY(la__check_ndim(c, CORRELATION, 4));
    LA_TRY(la__check_grid(c, GRID, s->dim[0]));
    if (grid->dim[1] != s->dim[1] || grid->dim[2] != s->dim[2])
        return la_fail(LA_ESHAPE,
                       "soft_inlier_count: grid must have a point for each target cell of correlation %s, got %s",
                       la__shape(s, a), la__shape(grid, b));
    if (dilation != 0 && dilation != 4 && dilation != 8)
        return la_fail(LA_EARG, "soft_inlier_count: dilation must be 0, 4 or 8 neighbours, got %lld",
                       (long long)dilation);
    if (dilation != 0 && c->arg[SMOOTH].ints[0])
        return la_fail(LA_EARG, "soft_inlier_count: smooth must be false where dilation is %lld", (long long)dilation);
    *z = (sizes){ .N = s->dim[0],
                  .Q = s->dim[1] * s->dim[2],
                  .K = s->dim[3],
                  .by_column = c->arg[ORDER].ints[0] == BY_COLUMN,
                  .normalize = c->arg[NORMALIZE].ints[0] != 0,
                  .plain = c->arg[MODE].ints[0] == PLAIN,
                  .smooth = c->arg[SMOOTH].ints[0] != 0,
                  .dilation = c->arg[SMOOTH].ints[0] ? 8 : (int)dilation };
    LA_TRY(source_size(z, c));
done:
    return err;
}

/* The mask images of all source cells, once per sample: (N, h, w, K). */
static int mask_images(la_tensor **out, const la_call *c, const sizes *z)
{
    int err = 0;
    la_tensor *one = NULL, *all = NULL;
    const int64_t total = z->K * z->K;

    LA_TRY(la_tensor_new(&one, c->dev, LA_F32, LA_DIMS(1, z->h, z->w, z->K)));
    LA_TRY(la__launch(
        c->dev, &(la_launch){ .program = program, .entry = "soft_inlier_count_fwd_mask", .global = { (size_t)total } },
        (la_karg[]){ LA_T(one), LA_INT(total), LA_INT(z->h), LA_INT(z->w), LA_INT(z->by_column), LA_INT(z->dilation),
                     LA_INT(z->smooth) },
        7));
    LA_TRY(la__view_expand(&all, one, LA_DIMS(z->N, z->h, z->w, z->K), "soft_inlier_count"));
    LA_TRY(la__dense(out, all));
done:
    la_tensor_release(&one);
    la_tensor_release(&all);
    return err;
}

/* sums (N, Q, 2) of m s and m, from the cells under each point */
static int sums_fused(la_tensor *sums, const la_call *c, const sizes *z, la_tensor *s, la_tensor *grid)
{
    const int64_t rows = z->N * z->Q;
    return la__launch(c->dev,
                      &(la_launch){ .program = program, .entry = "soft_inlier_count_fwd", .global = { (size_t)rows } },
                      (la_karg[]){ LA_T(sums), LA_T(s), LA_T(grid), LA_INT(rows), LA_INT(z->h), LA_INT(z->w),
                                   LA_INT(z->by_column), LA_INT(z->dilation), LA_INT(z->smooth) },
                      9);
}

/* The same from the whole warped mask, which is kept. */
static int sums_plain(la_tensor *sums, la_call *c, const sizes *z, la_tensor *s, la_tensor *grid)
{
    int err = 0;
    la_tensor *images = NULL;
    const int64_t rows = z->N * z->Q;

    LA_TRY(mask_images(&images, c, z));
    LA_TRY(la__sample(&c->saved[MASK], images, grid));
    LA_TRY(la__launch(
        c->dev, &(la_launch){ .program = program, .entry = "soft_inlier_count_fwd_plain", .global = { (size_t)rows } },
        (la_karg[]){ LA_T(sums), LA_T(s), LA_T(c->saved[MASK]), LA_INT(rows), LA_INT(z->K) }, 5));
done:
    la_tensor_release(&images);
    return err;
}

static int forward(la_call *c)
{
    int err = 0;
    sizes z;
    la_tensor *s = NULL, *grid = NULL, *sums = NULL;

    LA_TRY(check(&z, c));
    LA_TRY(la__dense(&s, c->in[CORRELATION]));
    LA_TRY(la__dense(&grid, c->in[GRID]));
    LA_TRY(la_tensor_new(&sums, c->dev, LA_F32, LA_DIMS(z.N, z.Q, 2)));
    LA_TRY(z.plain ? sums_plain(sums, c, &z, s, grid) : sums_fused(sums, c, &z, s, grid));
    LA_TRY(la__out(c, 0, LA_F32, LA_DIMS(z.N)));
    LA_TRY(la_tensor_new(&c->saved[STATE], c->dev, LA_F32, LA_DIMS(z.N, 2)));
    /* the papers' code adds 1e-5 to each element of the mask before it sums them */
    const double eps = z.normalize ? 1e-5 * (double)z.Q * (double)z.K : -1.0;
    LA_TRY(la__launch(
        c->dev, &(la_launch){ .program = program, .entry = "soft_inlier_count_fwd_score", .global = { (size_t)z.N } },
        (la_karg[]){ LA_T(c->out[0]), LA_T(c->saved[STATE]), LA_T(sums), LA_INT(z.N), LA_INT(z.Q), LA_FLOAT(eps) }, 6));
done:
    la_tensor_release(&s);
    la_tensor_release(&grid);
    la_tensor_release(&sums);
    return err;
}

static int backward_fused(la_call *c, const sizes *z, la_tensor *g, la_tensor *s, la_tensor *grid)
{
    int err = 0;
    const int64_t rows = z->N * z->Q;

    if (la__wants(c, CORRELATION)) {
        LA_TRY(la__full(&c->grad[CORRELATION], c->dev, s->ndim, s->dim, 0.0));
        LA_TRY(la__launch(c->dev,
                          &(la_launch){ .program = program,
                                        .entry = "soft_inlier_count_bwd_correlation",
                                        .global = { (size_t)rows } },
                          (la_karg[]){ LA_T(c->grad[CORRELATION]), LA_T(g), LA_T(c->saved[STATE]), LA_T(grid),
                                       LA_INT(rows), LA_INT(z->Q), LA_INT(z->h), LA_INT(z->w), LA_INT(z->by_column),
                                       LA_INT(z->dilation), LA_INT(z->smooth) },
                          11));
    }
    if (la__wants(c, GRID)) {
        LA_TRY(la__like(&c->grad[GRID], grid));
        LA_TRY(la__launch(
            c->dev,
            &(la_launch){ .program = program, .entry = "soft_inlier_count_bwd_grid", .global = { (size_t)rows } },
            (la_karg[]){ LA_T(c->grad[GRID]), LA_T(g), LA_T(s), LA_T(c->saved[STATE]), LA_T(grid), LA_INT(rows),
                         LA_INT(z->Q), LA_INT(z->h), LA_INT(z->w), LA_INT(z->by_column), LA_INT(z->dilation),
                         LA_INT(z->smooth), LA_INT(z->normalize) },
            13));
    }
done:
    return err;
}

static int backward_plain(la_call *c, const sizes *z, la_tensor *g, la_tensor *s, la_tensor *grid)
{
    int err = 0;
    la_tensor *images = NULL, *ds = NULL, *dm = NULL;
    const int64_t total = z->N * z->Q * z->K;

    LA_TRY(la__like(&ds, s));
    LA_TRY(la__like(&dm, s));
    LA_TRY(la__launch(
        c->dev, &(la_launch){ .program = program, .entry = "soft_inlier_count_bwd_plain", .global = { (size_t)total } },
        (la_karg[]){ LA_T(ds), LA_T(dm), LA_T(g), LA_T(c->saved[STATE]), LA_T(s), LA_T(c->saved[MASK]), LA_INT(total),
                     LA_INT(z->Q * z->K), LA_INT(z->normalize) },
        9));
    if (la__wants(c, CORRELATION))
        c->grad[CORRELATION] = la_tensor_retain(ds);
    if (la__wants(c, GRID)) {
        LA_TRY(mask_images(&images, c, z));
        LA_TRY(la__sample_grad_grid(&c->grad[GRID], dm, images, grid));
    }
done:
    la_tensor_release(&images);
    la_tensor_release(&ds);
    la_tensor_release(&dm);
    return err;
}

static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    sizes z;
    la_tensor *s = NULL, *grid = NULL, *gd = NULL;

    LA_TRY(check(&z, c));
    LA_TRY(la__dense(&s, c->in[CORRELATION]));
    LA_TRY(la__dense(&grid, c->in[GRID]));
    LA_TRY(la__dense(&gd, g[0]));
    LA_TRY(z.plain ? backward_plain(c, &z, gd, s, grid) : backward_fused(c, &z, gd, s, grid));
done:
    la_tensor_release(&s);
    la_tensor_release(&grid);
    la_tensor_release(&gd);
    return err;
}

static const la_param params[] = {
    { LA_P_TENSOR, "correlation", NULL, "(N, hB, wB, hA wA), float32, as correlation makes it", NULL },
    { LA_P_TENSOR, "grid", NULL, "source coordinates (N, hB, wB, 2) of each target cell, float32", NULL },
    { LA_P_INTS, "source", "nil", "{ hA, wA }, rows and columns of the source grid; the target's if left out", NULL },
    { LA_P_BOOL, "normalize", "true", "divide by the sum of the mask (with 1e-5 added to each of its elements)", NULL },
    { LA_P_INT, "dilation", "0", "each source cell's mask covers it alone (0), its 4 or its 8 neighbours too", NULL },
    { LA_P_BOOL, "smooth", "false", "smooth the masks by (1 2 1; 2 4 2; 1 2 1) / 16, zero outside; not with dilation",
      NULL },
    { LA_P_CHOICE, "order", "column", "how source cells are numbered, as given to correlation", "column|row" },
    { LA_P_CHOICE, "mode", "fused", "fused touches the cells under each point; plain warps the whole mask",
      "fused|plain" },
    { LA_P_END, NULL, NULL, NULL, NULL }
};

const la_op la_op_soft_inlier_count = {
    .name = "soft_inlier_count",
    .brief = "The correlation that a transformation gathers, (N): sum(m s) / sum(m + 1e-5) over all pairs of cells, m "
             "the source cells' masks warped by the grid.",
    .example = "local score = la.soft_inlier_count(s, la.affine_grid(theta, { height = 15, width = 15 }))",
    .param = params,
    .forward = forward,
    .backward = backward,
};
