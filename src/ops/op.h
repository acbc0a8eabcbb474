/* SPDX-License-Identifier: MIT
 *
 * op.h -- what an op file needs. See relu.c and correlation.c for two whole ones.
 *
 * An op is a descriptor `const la_op la_op_<name>` at the end of src/ops/<file>.c and a row LA_OP(<name>) in
 * ops.def. Its parameters feed argument checks, error texts, help and the reference page.
 *
 * forward(c): inputs are c->in[slot] (tensor parameters, in order; NULL where an optional one or a plain number
 *   was given) and c->arg[i] (by parameter index, for the others). It checks shapes, makes c->out[0..], launches.
 *   It may clear c->want[slot] of an input to which no gradient can come.
 *   What backward needs besides the inputs goes to c->saved[] (owned by the call; alias outputs with la__alias,
 *   never store an output itself: that would be a cycle). Inputs may be any view: take la__dense of them.
 * backward(c, g): g[k] is the dense gradient of output k (NULL if nothing depends on it). For each slot with
 *   la__wants(c, slot) it sets c->grad[slot] to a fresh tensor of that input's shape. Nothing is recorded here.
 * Both return 0 or a negative code and may leave half-made tensors in out/saved/grad: the caller releases them.
 */
#ifndef LA_OP_H
#define LA_OP_H

#include "tensor/tensor.h"
#include "util/util.h"

enum { LA_MAX_PARAMS = 16, LA_MAX_INPUTS = 32, LA_MAX_OUTPUTS = 3, LA_MAX_SAVED = 6 };

typedef enum la_kind {
    LA_P_END = 0,
    LA_P_TENSOR,  /* a tensor; optional if fallback is "nil" */
    LA_P_OPERAND, /* a tensor or a number (then in[slot] is NULL and arg[i].number holds it) */
    LA_P_TENSORS, /* a list of tensors; the only tensor parameter of its op; c->inputs says how many */
    LA_P_INT,     /* arg.ints[0] and arg.number */
    LA_P_INTS,    /* one int or a list: arg.ints[0 .. count-1] */
    LA_P_DIM,     /* a dimension: 1-based or negative in Lua, from 0 here, checked against in[0] */
    LA_P_DIMS,    /* one or several such; absent (count 0) means all */
    LA_P_INDEX,   /* an element index: 1-based (or negative, from the end) in Lua; here from 0, or negative as given */
    LA_P_NUMBER,  /* arg.number */
    LA_P_BOOL,    /* arg.ints[0] */
    LA_P_CHOICE   /* arg.ints[0]: which of `choices`, from 0 */
} la_kind;

typedef struct la_param {
    la_kind kind;
    const char *name;
    const char *fallback; /* default, as it would be written ("1", "true", "zeros", "nil"); NULL: required */
    const char *brief;    /* with shape, units, range */
    const char *choices;  /* LA_P_CHOICE: "constant|symmetric" */
} la_param;

typedef struct la_value {
    bool given; /* by the caller, not by the default */
    double number;
    int count;
    int64_t ints[LA_MAX_DIMS];
} la_value;

struct la_call {
    const la_op *op;
    la_device *dev; /* of the inputs, or the current one for ops without tensor inputs */
    int inputs;     /* slots used in `in` */
    la_tensor *in[LA_MAX_INPUTS];
    la_value arg[LA_MAX_PARAMS];
    la_tensor *out[LA_MAX_OUTPUTS];
    la_tensor *saved[LA_MAX_SAVED];
    la_tensor *grad[LA_MAX_INPUTS];
    bool want[LA_MAX_INPUTS];
};

/* What owns a descriptor that was made at run time. */
typedef struct la_owner {
    int refs;
    void (*destroy)(struct la_owner *owner);
} la_owner;

struct la_op {
    const char *name;
    const char *brief;   /* one sentence, then the formula or paper if there is one */
    const char *example; /* one line of Lua */
    const la_param *param;
    int outputs;   /* 0 counts as 1 */
    bool in_place; /* writes its first input and returns it: refused on tensors in the graph, never recorded */
    int (*forward)(la_call *c);
    int (*backward)(la_call *c, la_tensor *const *g); /* NULL: the result carries no gradient */
    bool inference_only; /* no backward although there is a gradient: refused where an input asks for one */
    unsigned shape_only; /* bits of the inputs of which backward reads the shape alone, and the tape keeps no more */
    la_owner *owner;     /* NULL for those of ops.def; calls on the tape keep it alive */
};

static inline bool la__wants(const la_call *c, int slot)
{
    return c->want[slot];
}

/* A fresh dense result of the call: c->out[k]. */
int la__out(la_call *c, int k, la_dtype dtype, int ndim, const int64_t *dim);

/* Checks, with messages "op: name must be 4-D, got (3, 4)". */
int la__check_ndim(const la_call *c, int slot, int ndim);
int la__check_f32(const la_call *c, int slot);
const char *la__slot_name(const la_call *c, int slot); /* the parameter's name */

/* Runs another op's forward from inside an op, unrecorded: la__run(&out, "mul", 2, (la_tensor *[]){ a, b }, NULL).
 * `options` as in la_op_run. */
int la__run(la_tensor **out, const char *op, int n, la_tensor *const *in, const char *options);

/* Sums a gradient down to the shape that was broadcast to it. */
int la__sum_to(la_tensor **out, const la_tensor *g, const la_tensor *like);

/* Releases everything a call holds. */
void la__call_clear(la_call *c);

/* Fills the defaults of all parameters and inputs' device; checks that required ones are there. */
int la__call_prepare(la_call *c);

/* Starts a call from plain arguments, retaining the inputs; clear it even after a failure. */
int la__call_fill(la_call *c, const la_op *op, int n, la_tensor *const *in, const char *options);

void la__owner_release(la_owner *owner);

/* Sets parameter `name` of c from text ("1,1,2,2"), as la_op_run's options do. */
int la__call_option(la_call *c, const char *name, const char *text);

#endif
