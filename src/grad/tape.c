/* SPDX-License-Identifier: MIT
 *
 * tape.c -- the backward walk.
 */
#include <stdlib.h>
#include <string.h>

#include "grad/grad.h"

/* The nodes still to visit: a binary heap, the largest number on top. A node enters once, when the first gradient
 * reaches it; all its consumers have larger numbers, so it comes up only after each of them is done. */
typedef struct heap {
    la_node **at;
    int count, room;
} heap;

static int heap_push(heap *h, la_node *n)
{
    if (h->count == h->room) {
        const int room = h->room ? 2 * h->room : 64;
        la_node **at = realloc(h->at, (size_t)room * sizeof *at);
        if (!at)
            return la_fail(LA_ENOMEM, "backward: out of memory for %d nodes", room);
        h->at = at;
        h->room = room;
    }
    int i = h->count++;
    for (; i > 0 && h->at[(i - 1) / 2]->number < n->number; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = n;
    n->head.refs++;
    return 0;
}

static la_node *heap_pop(heap *h)
{
    la_node *top = h->at[0], *last = h->at[--h->count];
    int i = 0;
    for (int child = 1; child < h->count; child = 2 * i + 1) {
        child += child + 1 < h->count && h->at[child + 1]->number > h->at[child]->number;
        if (h->at[child]->number <= last->number)
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = last;
    return top;
}

/* *sum += g. The first gradient is kept as it is; the second makes a sum of our own, since the first may be shared. */
static int add_gradient(la_tensor **sum, la_tensor *g)
{
    int err = 0;
    if (!*sum) {
        *sum = la_tensor_retain(g);
        return 0;
    }
    if ((*sum)->refs > 1 || (*sum)->storage->refs > 1 || !la__is_dense(*sum)) {
        la_tensor *own = NULL;
        LA_TRY(la__clone(&own, *sum));
        la_tensor_release(sum);
        *sum = own;
    }
    LA_TRY(la__accumulate(*sum, g, 1.0));
done:
    return err;
}

/* A leaf's gradient lives beyond the walk: it is always a dense tensor that nothing else shares. */
static int add_leaf_gradient(la_tensor *leaf, la_tensor *g)
{
    int err = 0;
    if (!leaf->grad && g->refs == 1 && g->storage->refs == 1 && la__is_dense(g))
        leaf->grad = la_tensor_retain(g); /* the call that made it lets go of it next */
    else if (!leaf->grad)
        LA_TRY(la__clone(&leaf->grad, g));
    else
        LA_TRY(la__accumulate(leaf->grad, g, 1.0));
done:
    return err;
}

/* Sends gradient g to tensor t: to its node, or to the leaf itself. */
static int deliver(heap *h, la_tensor *t, la_tensor *g, const char *op)
{
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    if (!la__same_shape(t, g))
        return la_fail(LA_ESHAPE, "%s: backward made a gradient of shape %s for an input of shape %s", op,
                       la__shape(g, a), la__shape(t, b));
    if (!t->node)
        return t->requires_grad ? add_leaf_gradient(t, g) : 0;
    la_node *n = (la_node *)t->node;
    if (n->freed)
        return la_fail(LA_EARG, "backward: the graph through '%s' was already freed by an earlier backward",
                       n->call.op->name);
    bool reached = false;
    for (int k = 0; k < LA_MAX_OUTPUTS; k++)
        reached = reached || n->gout[k];
    if (!reached) {
        const int err = heap_push(h, n);
        if (err < 0)
            return err;
    }
    return add_gradient(&n->gout[t->output], g);
}

static int visit(heap *h, la_node *n)
{
    int err = 0;
    la_call *c = &n->call;
    for (int i = 0; i < c->inputs; i++)
        if (c->in[i] && n->version[i] != c->in[i]->storage->version)
            return la_fail(LA_EARG, "backward: %s of '%s' was changed in place after the call", la__slot_name(c, i),
                           c->op->name);
    for (int i = 0; i < LA_MAX_SAVED; i++)
        if (c->saved[i] && n->saved_version[i] != c->saved[i]->storage->version)
            return la_fail(LA_EARG, "backward: the result of '%s' was changed in place after the call", c->op->name);
    for (int k = 0; k < LA_MAX_OUTPUTS; k++) { /* ops may count on dense gradients */
        la_tensor *dense = NULL;
        if (!n->gout[k])
            continue;
        LA_TRY(la__dense(&dense, n->gout[k]));
        la_tensor_release(&n->gout[k]);
        n->gout[k] = dense;
    }
    LA_TRY(c->op->backward(c, n->gout));
    for (int i = 0; i < c->inputs; i++)
        if (c->want[i] && c->grad[i])
            LA_TRY(deliver(h, c->in[i], c->grad[i], c->op->name));
done:
    return err;
}

/* Lets go of all that a node held; its outputs may live on. */
static void node_empty(la_node *n)
{
    n->freed = true;
    la__call_clear(&n->call);
    for (int k = 0; k < LA_MAX_OUTPUTS; k++)
        la_tensor_release(&n->gout[k]);
}

/* Whether g can be a gradient of t. */
static int check_gradient(const la_tensor *t, const la_tensor *g, const char *what)
{
    char a[LA_SHAPE_TEXT], b[LA_SHAPE_TEXT];
    if (!la__same_shape(t, g) || g->dtype != LA_F32)
        return la_fail(LA_ESHAPE, "%s must be float32 of shape %s, got %s %s", what, la__shape(t, a),
                       la_dtype_name(g->dtype), la__shape(g, b));
    if (g->storage->dev != t->storage->dev)
        return la_fail(LA_EARG, "%s is on another device than the tensor", what);
    return 0;
}

int la_backward(la_tensor *t, la_tensor *seed)
{
    int err = 0;
    heap h = { 0 };
    la_tensor *g = NULL;
    char text[LA_SHAPE_TEXT];
    const bool was = la_grad_enable(false);

    if (!la_tensor_requires_grad(t)) {
        err = la_fail(LA_EARG, "backward: the tensor depends on nothing that requires a gradient");
        goto done;
    }
    if (seed) {
        LA_TRY(check_gradient(t, seed, "backward: the gradient"));
        g = la_tensor_retain(seed);
    } else if (la_tensor_numel(t) == 1) {
        LA_TRY(la__full(&g, t->storage->dev, t->ndim, t->dim, 1.0));
    } else {
        err = la_fail(LA_ESHAPE, "backward: needs a tensor of one element or a gradient to start from, got %s",
                      la__shape(t, text));
        goto done;
    }
    LA_TRY(deliver(&h, t, g, "backward"));
    while (h.count > 0) {
        la_node *n = heap_pop(&h);
        err = visit(&h, n);
        node_empty(n);
        la__node_release(&n->head);
        if (err < 0)
            goto done;
    }
done:
    while (h.count > 0) {
        la_node *n = heap_pop(&h);
        node_empty(n);
        la__node_release(&n->head);
    }
    free(h.at);
    la_tensor_release(&g);
    la_grad_enable(was);
    return err;
}

bool la_tensor_requires_grad(const la_tensor *t)
{
    return t->requires_grad || t->node;
}

void la_tensor_set_requires_grad(la_tensor *t, bool on)
{
    t->requires_grad = on && !t->node && t->dtype == LA_F32;
}

la_tensor *la_tensor_grad(const la_tensor *t)
{
    return t->grad;
}

/* A handle of t's own, since g may depend on t, and dense, since backward adds to it. */
int la_tensor_set_grad(la_tensor *t, la_tensor *g)
{
    int err = 0;
    la_tensor *own = NULL;
    if (g) {
        LA_TRY(check_gradient(t, g, "grad:"));
        LA_TRY(la__is_dense(g) ? la__alias(&own, g) : la__clone(&own, g));
    }
    la_tensor_release(&t->grad);
    t->grad = own;
done:
    return err;
}
