/* SPDX-License-Identifier: MIT
 *
 * fuse.c -- ops made at run time from expressions: la_fuse makes a descriptor whose parameters are the expression's
 * operands. A call chooses among kernels by how the operands lie in memory; each is written when it is first needed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "ops/fuse.h"
#include "ops/op.h"
#include "ops/reduce.h"
#include "ops/variant.h"

_Static_assert((int)LA_EXPR_OPERANDS <= (int)LA_MAX_PARAMS, "every operand is a parameter");

/* A kernel's text, under a name that holds its hash. */
typedef struct kernel {
    struct kernel *next;
    la_fuse_form form;
    char name[32];
    char *text;
} kernel;

typedef struct fused {
    la_owner owner; /* first: the descriptor's owner is this */
    la_op op;
    la_param param[LA_EXPR_OPERANDS + 1];
    char brief[160], example[160];
    la_expr expr;
    kernel *kernels;
} fused;

static fused *of(const la_call *c)
{
    return (fused *)c->op->owner;
}

/* ---- the walk over the result ---- */

/* The result's shape with neighbouring dimensions merged where every tensor allows it: at least (rows, length). A slot
 * is `broadcast` along a dimension that its tensor lacks or has one element of. */
typedef struct walk {
    int ndim;
    int32_t dim[LA_MAX_DIMS];
    int32_t stride[LA_FUSE_SLOTS][LA_MAX_DIMS];
    bool broadcast[LA_FUSE_SLOTS][LA_MAX_DIMS];
    int32_t rows, length, chunk, segments, block, blocks, items;
    int32_t cycle; /* length before short rows were put one after the other, else 0 */
} walk;

/* Dimension d of a result, of `size` elements, behind those that the walk has. */
static void add_dim(walk *w, int d, int ndim, int32_t size, la_tensor *const *t)
{
    int32_t stride[LA_FUSE_SLOTS];
    bool broadcast[LA_FUSE_SLOTS], merge = w->ndim > 0;
    const int last = w->ndim - 1;
    for (int k = 0; k < LA_FUSE_SLOTS; k++) {
        if (!t[k])
            continue;
        const int own = d - (ndim - t[k]->ndim);
        broadcast[k] = own < 0 || t[k]->dim[own] == 1;
        stride[k] = broadcast[k] ? 0 : (int32_t)t[k]->stride[own];
        merge = merge && w->stride[k][last] == stride[k] * size && w->broadcast[k][last] == broadcast[k];
    }
    const int at = merge ? last : w->ndim++;
    w->dim[at] = size * (merge ? w->dim[at] : 1);
    for (int k = 0; k < LA_FUSE_SLOTS; k++)
        if (t[k]) {
            w->stride[k][at] = stride[k];
            w->broadcast[k][at] = broadcast[k];
        }
}

/* A dimension of one element in front. */
static void add_front(walk *w)
{
    for (int k = 0; k < LA_FUSE_SLOTS; k++) {
        memmove(w->stride[k] + 1, w->stride[k], sizeof w->stride[k] - sizeof w->stride[k][0]);
        memmove(w->broadcast[k] + 1, w->broadcast[k], sizeof w->broadcast[k] - sizeof w->broadcast[k][0]);
        w->stride[k][0] = 0;
        w->broadcast[k][0] = true;
    }
    memmove(w->dim + 1, w->dim, sizeof w->dim - sizeof w->dim[0]);
    w->dim[0] = 1;
    w->ndim++;
}

/* Short rows, such as three colours, become few long ones for the vectors' sake: operands that repeat with every row
 * then go around in a cycle. Only where every tensor is dense over both dimensions, repeats with the rows, or is one
 * element. */
static void join_rows(walk *w, la_tensor *const *t)
{
    enum { SHORT = 64 };
    const int row = w->ndim - 2, last = w->ndim - 1;
    const int32_t length = w->dim[last];
    int32_t times = length < SHORT ? LA_FUSE_CYCLE / length : 1;
    if (times > w->dim[row])
        times = w->dim[row];
    while (w->dim[row] % times != 0)
        times--;
    for (int k = 0; k < LA_FUSE_SLOTS && times > 1; k++) {
        const int32_t by_row = t[k] ? w->stride[k][row] : 0, step = t[k] ? w->stride[k][last] : 0;
        const bool dense = step == 1 && by_row == length, repeats = step <= 1 && by_row == 0;
        if ((!dense && !repeats) || (w->broadcast[k][last] && !w->broadcast[k][row]))
            times = 1;
    }
    if (times == 1)
        return;
    w->cycle = length;
    w->dim[last] *= times;
    w->dim[row] /= times;
    for (int k = 0; k < LA_FUSE_SLOTS; k++)
        w->stride[k][row] *= times;
}

/* The parts of work-items, from sizes and the kind of device alone: on a CPU a few thousand elements, so that vectors
 * run and partial sums are few; on a GPU one, or a short column where one is summed. */
static void divide(walk *w, const la_device *dev, bool sums, int64_t total)
{
    enum { FEW = 1024, MANY = 16384, ITEMS = 64, CHUNK = 4096, COLUMN = 32 };
    const int64_t even = total / ITEMS, part = even < FEW ? FEW : even > MANY ? MANY : even;
    const bool cpu = la__device_is_cpu(dev);
    w->rows = w->dim[w->ndim - 2];
    w->length = w->dim[w->ndim - 1];
    const int32_t most = cpu ? (int32_t)(part < CHUNK ? part / 16 * 16 : CHUNK) : 1;
    w->chunk = w->length < most ? w->length : most;
    const int32_t block = cpu ? (int32_t)(part / w->chunk) : sums ? COLUMN : 1;
    w->block = block > w->rows ? w->rows : block;
    w->segments = (w->length + w->chunk - 1) / w->chunk;
    w->blocks = (w->rows + w->block - 1) / w->block;
    w->items = w->segments * w->blocks;
    for (int d = 0; d < w->ndim - 2; d++)
        w->items *= w->dim[d];
}

/* Over a shape without zeros. t: the tensors by slot, NULL where there is none. */
static void plan_walk(walk *w, const la_device *dev, int ndim, const int64_t *dim, la_tensor *const *t, bool sums)
{
    int64_t total = 1;
    memset(w, 0, sizeof *w);
    for (int d = 0; d < ndim; d++) {
        total *= dim[d];
        if (dim[d] != 1)
            add_dim(w, d, ndim, (int32_t)dim[d], t);
    }
    while (w->ndim < 2)
        add_front(w);
    if (la__device_is_cpu(dev))
        join_rows(w, t);
    divide(w, dev, sums, total);
}

static la_fuse_sum sum_over(const walk *w, int k)
{
    const bool rows = w->broadcast[k][w->ndim - 2], length = w->broadcast[k][w->ndim - 1];
    return rows && length ? LA_S_BLOCK : rows ? LA_S_ROWS : length ? LA_S_LENGTH : LA_S_EACH;
}

/* ---- kernels ---- */

static int find_kernel(kernel **out, fused *f, const la_fuse_form *form)
{
    int err = 0;
    for (kernel *k = f->kernels; k; k = k->next)
        if (memcmp(&k->form, form, sizeof *form) == 0) {
            *out = k;
            return 0;
        }
    kernel *k = la__calloc(1, sizeof *k);
    if (!k)
        return LA_ENOMEM;
    k->form = *form;
    LA_TRY(la__fuse_source(&k->text, &f->expr, form));
    snprintf(k->name, sizeof k->name, "fuse-%016llx", (unsigned long long)XXH64(k->text, strlen(k->text), 0));
    k->next = f->kernels;
    f->kernels = k;
    *out = k;
    k = NULL;
done:
    free(k);
    return err;
}

static la_fuse_access access_of(const walk *w, int k)
{
    const int32_t step = w->stride[k][w->ndim - 1];
    if (step == 1 && w->cycle > 0 && w->stride[k][w->ndim - 2] == 0)
        return LA_A_CYCLE;
    return step == 0 ? LA_A_ONE : step == 1 ? LA_A_DENSE : LA_A_STEPS;
}

/* Fills in how the needed operands are read, and takes the tensors that are not out of t. */
static void choose_access(la_fuse_form *form, const la_expr *e, const walk *w, la_tensor **t)
{
    bool needed[LA_EXPR_NODES];
    la__fuse_needed(needed, e, form);
    for (int i = 1; i < e->count; i++) {
        const la_expr_node *n = &e->node[i];
        if (!needed[i] || (n->op != LA_E_OPERAND && n->op != LA_E_GRADIENT))
            continue;
        const int k = n->op == LA_E_OPERAND ? n->a : LA_FUSE_GRADIENT;
        form->access[k] = (uint8_t)(t[k] ? access_of(w, k) : LA_A_NUMBER);
        form->dtype[k] = (uint8_t)(t[k] ? t[k]->dtype : LA_F32);
        form->vectors = form->vectors && form->access[k] != LA_A_STEPS;
    }
    for (int k = 0; k < LA_FUSE_SLOTS; k++)
        if (form->access[k] <= LA_A_NUMBER)
            t[k] = NULL;
}

/* The plan as ints, in the layout of LA_FUSE_PLAN; how many. */
static int write_plan(int32_t *out, const walk *w, la_tensor *const *t)
{
    const int outer = w->ndim - 2;
    int n = LA_FUSE_HEAD;
    memset(out, 0, LA_FUSE_PLAN(LA_FUSE_SLOTS) * sizeof *out);
    memcpy(out,
           (int32_t[]){ w->items, w->segments, w->blocks, w->block, w->rows, w->chunk, w->length, w->cycle, outer },
           LA_FUSE_HEAD * sizeof *out);
    memcpy(out + n, w->dim, (size_t)outer * sizeof *out);
    n += LA_FUSE_OUTER;
    for (int k = 0; k < LA_FUSE_SLOTS; k++) {
        if (!t[k])
            continue;
        out[n] = (int32_t)t[k]->offset;
        out[n + 1] = w->stride[k][outer + 1];
        out[n + 2] = w->stride[k][outer];
        memcpy(out + n + 3, w->stride[k], (size_t)outer * sizeof *out);
        n += 3 + LA_FUSE_OUTER;
    }
    return n > LA_FUSE_PLAN(1) ? n : LA_FUSE_PLAN(1);
}

/* Runs the kernel of a form whose sums are filled in. result[k] belongs to form->sum[k]. */
static int launch(const la_call *c, la_fuse_form *form, const walk *w, la_tensor *const *tensors,
                  la_tensor *const *result)
{
    int err = 0, n = 0;
    int32_t plan[LA_FUSE_PLAN(LA_FUSE_SLOTS)];
    la_karg args[3 * LA_FUSE_SLOTS + 1];
    la_tensor *t[LA_FUSE_SLOTS];
    kernel *k = NULL;
    double bytes = 0;

    memcpy(t, tensors, sizeof t);
    form->single = la__device_is_cpu(c->dev);
    form->vectors = form->single && !la__plain_kernels();
    choose_access(form, &of(c)->expr, w, t);
    LA_TRY(find_kernel(&k, of(c), form));
    for (int i = 0; i < LA_EXPR_OPERANDS; i++)
        if (form->sum[i] != LA_S_NONE) {
            args[n++] = LA_T(result[i]);
            bytes += 4.0 * (double)la_tensor_numel(result[i]);
        }
    for (int i = 0; i < LA_FUSE_SLOTS; i++)
        if (t[i]) {
            args[n++] = LA_T(t[i]);
            bytes += (double)la_tensor_numel(t[i]) * (double)la_dtype_size(t[i]->dtype);
        }
    args[n++] = (la_karg){ .data = plan, .size = (size_t)write_plan(plan, w, t) * sizeof *plan };
    for (int i = 0; i < LA_EXPR_OPERANDS; i++)
        if (form->access[i] == LA_A_NUMBER)
            args[n++] = LA_FLOAT(c->arg[i].number);
    LA_TRY(la__launch(c->dev,
                      &(la_launch){ .program = k->name,
                                    .entry = form->backward ? "fuse_bwd" : "fuse_fwd",
                                    .source = k->text,
                                    .global = { (size_t)w->items },
                                    .bytes = bytes },
                      args, n));
done:
    return err;
}

/* ---- forward ---- */

/* The shape that all operands broadcast to. */
static int common_shape(const la_call *c, int *ndim, int64_t *dim)
{
    int err = 0;
    la_tensor shape = { 0 };
    for (int k = 0; k < c->inputs; k++) {
        if (!c->in[k])
            continue;
        LA_TRY(la__broadcast(ndim, dim, &shape, c->in[k], c->op->name));
        shape.ndim = *ndim;
        memcpy(shape.dim, dim, sizeof shape.dim);
    }
done:
    return err;
}

static int forward(la_call *c)
{
    int err = 0, ndim = 0;
    int64_t dim[LA_MAX_DIMS] = { 0 };
    la_tensor *t[LA_FUSE_SLOTS] = { NULL };
    la_fuse_form form = { .sum = { LA_S_EACH } };
    walk w;

    for (int k = 0; k < c->inputs; k++) {
        t[k] = c->in[k];
        c->want[k] = c->want[k] && of(c)->expr.slope[k] != 0;
    }
    LA_TRY(common_shape(c, &ndim, dim));
    LA_TRY(la__out(c, 0, LA_F32, ndim, dim));
    if (la_tensor_numel(c->out[0]) == 0)
        goto done;
    plan_walk(&w, c->dev, ndim, dim, t, false);
    LA_TRY(launch(c, &form, &w, t, c->out));
done:
    return err;
}

/* ---- backward ---- */

/* The sizes of operand k's partial sums: the walk's dimensions, of rows and length what one result stands for. Returns
 * how many of them, in `over`, are to be summed still. */
static int partial_shape(int64_t *dim, int64_t *over, const walk *w, int k)
{
    int n = 0;
    for (int d = 0; d < w->ndim; d++) {
        const bool sum = w->broadcast[k][d];
        dim[d] = sum && d == w->ndim - 2 ? w->blocks : sum && d == w->ndim - 1 ? w->segments : w->dim[d];
    }
    if (w->cycle > 0 && sum_over(w, k) == LA_S_ROWS) {
        dim[w->ndim - 2] = w->blocks * (w->length / w->cycle);
        dim[w->ndim - 1] = w->cycle;
    }
    for (int d = 0; d < w->ndim; d++)
        if (w->broadcast[k][d] && dim[d] > 1)
            over[n++] = d;
    return n;
}

/* The gradient of operand k from its partial sums. */
static int gather(la_tensor **out, la_tensor *part, const walk *w, int k, const la_tensor *like)
{
    int err = 0;
    int64_t dim[LA_MAX_DIMS], over[LA_MAX_DIMS];
    la_reduction r = { 0 };
    la_tensor *sum = NULL;
    const int n = partial_shape(dim, over, w, k);

    if (n > 0) {
        LA_TRY(la__reduction(&r, part, n, over, false, "fuse"));
        LA_TRY(la__reduce(&sum, &r, "sum", "sum", NULL, 1));
    }
    LA_TRY(la__view_reshape(out, sum ? sum : part, like->ndim, like->dim, "fuse"));
done:
    la_tensor_release(&r.x);
    la_tensor_release(&sum);
    return err;
}

/* The tensors that a kernel for the slopes has to do with: those that it reads, and those whose gradients it makes. */
static void choose_tensors(la_tensor **t, const la_call *c, const la_fuse_form *form, la_tensor *g)
{
    bool needed[LA_EXPR_NODES];
    const la_expr *e = &of(c)->expr;
    la__fuse_needed(needed, e, form);
    for (int k = 0; k < c->inputs; k++)
        t[k] = form->sum[k] != LA_S_NONE ? c->in[k] : NULL;
    for (int i = 1; i < e->count; i++)
        if (needed[i] && e->node[i].op == LA_E_OPERAND)
            t[e->node[i].a] = c->in[e->node[i].a];
    t[LA_FUSE_GRADIENT] = g;
}

/* One kernel for the slopes of all operands k with form->sum[k] set to anything. */
static int slopes(la_call *c, la_fuse_form *form, la_tensor *g)
{
    int err = 0;
    int64_t dim[LA_MAX_DIMS], over[LA_MAX_DIMS];
    la_tensor *t[LA_FUSE_SLOTS] = { NULL }, *part[LA_EXPR_OPERANDS] = { NULL };
    bool sums = false;
    walk w;

    choose_tensors(t, c, form, g);
    for (int k = 0; k < c->inputs; k++)
        sums = sums || (form->sum[k] != LA_S_NONE && !la__same_shape(c->in[k], g));
    plan_walk(&w, c->dev, g->ndim, g->dim, t, sums);
    for (int k = 0; k < c->inputs; k++) {
        if (form->sum[k] == LA_S_NONE)
            continue;
        form->sum[k] = (uint8_t)sum_over(&w, k);
        partial_shape(dim, over, &w, k);
        LA_TRY(la_tensor_new(&part[k], c->dev, LA_F32, w.ndim, dim));
    }
    LA_TRY(launch(c, form, &w, t, part));
    for (int k = 0; k < c->inputs; k++)
        if (part[k])
            LA_TRY(gather(&c->grad[k], part[k], &w, k, c->in[k]));
done:
    for (int k = 0; k < LA_EXPR_OPERANDS; k++)
        la_tensor_release(&part[k]);
    return err;
}

/* A slope that is the incoming gradient itself needs no kernel, and a result without elements none at all. */
static int backward(la_call *c, la_tensor *const *g)
{
    int err = 0;
    const la_expr *e = &of(c)->expr;
    la_fuse_form form = { .backward = true };
    bool any = false;

    for (int k = 0; k < c->inputs; k++) {
        if (!la__wants(c, k))
            continue;
        if (la_tensor_numel(g[0]) == 0)
            LA_TRY(la__full(&c->grad[k], c->dev, c->in[k]->ndim, c->in[k]->dim, 0));
        else if (e->node[e->slope[k]].op == LA_E_GRADIENT)
            LA_TRY(la__sum_to(&c->grad[k], g[0], c->in[k]));
        else
            form.sum[k] = LA_S_EACH;
        any = any || form.sum[k] != LA_S_NONE;
    }
    if (any)
        LA_TRY(slopes(c, &form, g[0]));
done:
    return err;
}

/* ---- making one ---- */

static void destroy(la_owner *owner)
{
    fused *f = (fused *)owner;
    while (f->kernels) {
        kernel *k = f->kernels;
        f->kernels = k->next;
        free(k->text);
        free(k);
    }
    la__expr_free(&f->expr);
    free(f);
}

static void describe(fused *f)
{
    snprintf(f->brief, sizeof f->brief, "an operand of '%.100s': a tensor or a number", f->expr.text);
    snprintf(f->example, sizeof f->example, "local f = la.fuse(\"%.100s\")", f->expr.text);
    for (int i = 0; i < f->expr.operands; i++)
        f->param[i] = (la_param){ LA_P_OPERAND, f->expr.name[i], NULL, f->brief, NULL };
    f->param[f->expr.operands] = (la_param){ LA_P_END, NULL, NULL, NULL, NULL };
    f->op = (la_op){ .name = "fuse",
                     .brief = f->expr.text,
                     .example = f->example,
                     .param = f->param,
                     .forward = forward,
                     .backward = backward,
                     .owner = &f->owner };
}

int la_fuse(const la_op **out, const char *expression, int n, const char *const *names)
{
    int err = 0;
    *out = NULL;
    fused *f = la__calloc(1, sizeof *f);
    if (!f)
        return LA_ENOMEM;
    f->owner = (la_owner){ .refs = 1, .destroy = destroy };
    LA_TRY(la__expr_parse(&f->expr, expression, n, names));
    LA_TRY(la__expr_differentiate(&f->expr));
    describe(f);
    *out = &f->op;
    f = NULL;
done:
    if (f)
        destroy(&f->owner);
    return err;
}

void la_fuse_release(const la_op **op)
{
    if (*op)
        la__owner_release((*op)->owner);
    *op = NULL;
}
