/* SPDX-License-Identifier: MIT
 *
 * apply.c -- runs a call and notes it on the tape.
 */
#include <stdlib.h>
#include <string.h>

#include "grad/grad.h"

/* Whether this thread records, and the number of the next node: state of the thread, not of the library. */
static _Thread_local bool recording = true;
static _Thread_local uint64_t next_number = 1;

bool la__grad_enabled(void)
{
    return recording;
}

bool la_grad_enable(bool on)
{
    const bool was = recording;
    recording = on;
    return was;
}

static void node_destroy(la_node_head *head)
{
    la_node *n = (la_node *)head;
    la__call_clear(&n->call);
    la__owner_release(n->call.op->owner);
    for (int k = 0; k < LA_MAX_OUTPUTS; k++)
        la_tensor_release(&n->gout[k]);
    free(n);
}

/* Lets go of the elements that backward does not read. A leaf stays as it is: the gradient goes to it. */
static int shed(la_call *c)
{
    for (int i = 0; i < c->inputs; i++) {
        la_tensor *shell;
        if (!(c->op->shape_only >> i & 1) || !c->in[i] || c->in[i]->requires_grad)
            continue;
        const int err = la__shell(&shell, c->in[i]);
        if (err < 0)
            return err;
        la_tensor_release(&c->in[i]);
        c->in[i] = shell;
    }
    return 0;
}

/* Moves the call onto a new node that its outputs own. */
static int record(la_call *c)
{
    la_node *n = la__calloc(1, sizeof *n);
    if (!n)
        return LA_ENOMEM;
    n->head.destroy = node_destroy;
    n->number = next_number++;
    n->call = *c;
    if (c->op->owner)
        c->op->owner->refs++;
    memset(n->call.out, 0, sizeof n->call.out);
    memset(c->in, 0, sizeof c->in);
    memset(c->saved, 0, sizeof c->saved);
    for (int i = 0; i < n->call.inputs; i++)
        if (n->call.in[i])
            n->version[i] = n->call.in[i]->storage->version;
    for (int i = 0; i < LA_MAX_SAVED; i++)
        if (n->call.saved[i])
            n->saved_version[i] = n->call.saved[i]->storage->version;
    for (int k = 0; k < LA_MAX_OUTPUTS; k++) {
        if (!c->out[k])
            continue;
        c->out[k]->node = &n->head;
        c->out[k]->output = k;
        n->head.refs++;
    }
    return 0;
}

/* An op may hand its own input back (contiguous of a dense tensor): the graph needs a tensor of its own then. */
static int separate_outputs(la_call *c)
{
    int err = 0;
    for (int k = 0; k < LA_MAX_OUTPUTS; k++)
        for (int i = 0; i < c->inputs; i++)
            if (c->out[k] && c->out[k] == c->in[i]) {
                la_tensor *same = c->out[k];
                err = la__alias(&c->out[k], same);
                la_tensor_release(&same);
                if (err < 0)
                    return err;
            }
    return 0;
}

static int check_in_place(const la_call *c)
{
    const la_tensor *t = c->in[0];
    if (recording && t && (t->node || t->requires_grad))
        return la_fail(LA_EARG,
                       "%s: writes in place to a tensor that is part of a gradient graph; use la.no_grad or a copy",
                       c->op->name);
    return 0;
}

/* An op that has a gradient in mathematics and none here must not cut a graph in silence. */
static int check_inference(const la_call *c)
{
    for (int i = 0; recording && i < c->inputs; i++)
        if (c->want[i])
            return la_fail(LA_EARG, "%s: is for inference, but %s asks for a gradient; use la.no_grad, or detach it",
                           c->op->name, la__slot_name(c, i));
    return 0;
}

/* A message from below ("out of device memory") gets the op's name in front. */
static int name_op(const la_call *c, int err)
{
    const size_t n = strlen(c->op->name);
    if (strncmp(la_error(), c->op->name, n) == 0 && la_error()[n] == ':')
        return err;
    return la_fail(err, "%s: %s", c->op->name, la_error());
}

int la_apply(la_call *c)
{
    int err = 0;
    bool wanted = false;
    if (c->op->in_place)
        LA_TRY(check_in_place(c));
    for (int i = 0; i < c->inputs; i++)
        c->want[i] = c->in[i] && c->in[i]->dtype == LA_F32 && la_tensor_requires_grad(c->in[i]);
    if (c->op->inference_only)
        LA_TRY(check_inference(c));
    LA_TRY(c->op->forward(c));
    for (int i = 0; i < c->inputs; i++)
        wanted = wanted || c->want[i];
    if (c->op->in_place) {
        la_tensor_retain(c->in[0]);
        la_tensor_release(&c->out[0]);
        c->out[0] = c->in[0];
    } else if (recording && wanted && c->op->backward && c->out[0]->dtype == LA_F32) {
        LA_TRY(separate_outputs(c));
        LA_TRY(shed(c));
        LA_TRY(record(c));
    }
done:
    if (err < 0) {
        la__call_clear(c);
        return name_op(c, err);
    }
    for (int i = 0; i < LA_MAX_INPUTS; i++)
        la_tensor_release(&c->in[i]);
    for (int i = 0; i < LA_MAX_SAVED; i++)
        la_tensor_release(&c->saved[i]);
    return 0;
}

int la_op_call(la_tensor **out, const la_op *op, la_tensor *const *in, int n, const char *options)
{
    int err = 0;
    la_call c;
    *out = NULL;
    err = la__call_fill(&c, op, n, in, options);
    if (err < 0) {
        la__call_clear(&c);
        return err;
    }
    LA_TRY(la_apply(&c));
    *out = c.out[0];
    for (int k = 1; k < LA_MAX_OUTPUTS; k++)
        la_tensor_release(&c.out[k]);
done:
    return err;
}

int la_op_run(la_tensor **out, const char *op, la_tensor *const *in, int n, const char *options)
{
    return la_op_call(out, la_op_find(op), in, n, options);
}
