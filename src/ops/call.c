/* SPDX-License-Identifier: MIT
 *
 * call.c -- the table of ops, and what every call shares: defaults, options, checks, results.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op.h"

#define LA_OP(name) extern const la_op la_op_##name;
#include "ops/ops.def"
#undef LA_OP

#define LA_OP(name) &la_op_##name,
static const la_op *const table[] = {
#include "ops/ops.def"
    NULL
};
#undef LA_OP

const la_op *const *la_op_all(void)
{
    return table;
}

const la_op *la_op_find(const char *name)
{
    const char *names[LA_COUNT(table)] = { NULL };
    int n = 0;
    for (; table[n]; n++) {
        if (strcmp(table[n]->name, name) == 0)
            return table[n];
        names[n] = table[n]->name;
    }
    const char *near = la__nearest(name, names, n);
    la_fail(LA_EARG, "no op is called '%s'%s%s%s", name, near ? ", did you mean '" : "", near ? near : "",
            near ? "'?" : "");
    return NULL;
}

static bool is_tensor_kind(la_kind kind)
{
    return kind == LA_P_TENSOR || kind == LA_P_OPERAND || kind == LA_P_TENSORS;
}

const char *la__slot_name(const la_call *c, int slot)
{
    int s = 0;
    for (const la_param *p = c->op->param; p->kind != LA_P_END; p++) {
        if (p->kind == LA_P_TENSORS)
            return p->name;
        if (is_tensor_kind(p->kind) && s++ == slot)
            return p->name;
    }
    return "input";
}

int la__check_ndim(const la_call *c, int slot, int ndim)
{
    char text[LA_SHAPE_TEXT];
    if (c->in[slot]->ndim != ndim)
        return la_fail(LA_ESHAPE, "%s: %s must be %d-D, got %s", c->op->name, la__slot_name(c, slot), ndim,
                       la__shape(c->in[slot], text));
    return 0;
}

int la__check_f32(const la_call *c, int slot)
{
    if (c->in[slot]->dtype != LA_F32)
        return la_fail(LA_EDTYPE, "%s: %s must be float32, got %s", c->op->name, la__slot_name(c, slot),
                       la_dtype_name(c->in[slot]->dtype));
    return 0;
}

int la__out(la_call *c, int k, la_dtype dtype, int ndim, const int64_t *dim)
{
    return la_tensor_new(&c->out[k], c->dev, dtype, ndim, dim);
}

/* Which of "a|b|c" is `text`, or -1. */
static int choice_index(const char *choices, const char *text)
{
    const size_t length = strlen(text);
    int index = 0;
    for (const char *p = choices; *p; index++) {
        const size_t n = strcspn(p, "|");
        if (n == length && strncmp(p, text, n) == 0)
            return index;
        p += n;
        p += *p == '|';
    }
    return -1;
}

static int parse_numbers(la_value *v, const la_call *c, const la_param *p, const char *text)
{
    const char *s = text;
    while (*s) {
        char *end;
        errno = 0;
        const double x = strtod(s, &end);
        if (end == s || errno == ERANGE || v->count >= LA_MAX_DIMS)
            return la_fail(LA_EARG, "%s: %s must be a number or a short list of them, got '%s'", c->op->name, p->name,
                           text);
        const bool fits = x >= -9e18 && x <= 9e18;
        if (p->kind != LA_P_NUMBER && p->kind != LA_P_OPERAND && !(fits && x == (double)(int64_t)x))
            return la_fail(LA_EARG, "%s: %s must be whole, got %s", c->op->name, p->name, text);
        if (v->count == 0)
            v->number = x;
        v->ints[v->count++] = fits ? (int64_t)x : 0;
        s = end + strspn(end, ", {}");
    }
    return 0;
}

/* The value of parameter p as text; dims and indices here are 1-based or negative, as in Lua. */
static int parse_value(la_value *v, const la_call *c, const la_param *p, const char *text)
{
    *v = (la_value){ 0 };
    if (strcmp(text, "nil") == 0)
        return 0;
    if (p->kind == LA_P_BOOL) {
        if (strcmp(text, "true") && strcmp(text, "false"))
            return la_fail(LA_EARG, "%s: %s must be true or false, got '%s'", c->op->name, p->name, text);
        v->ints[0] = text[0] == 't';
        v->count = 1;
        return 0;
    }
    if (p->kind == LA_P_CHOICE) {
        const int k = choice_index(p->choices, text);
        if (k < 0)
            return la_fail(LA_EARG, "%s: %s must be one of %s, got '%s'", c->op->name, p->name, p->choices, text);
        v->ints[0] = k;
        v->count = 1;
        return 0;
    }
    const int err = parse_numbers(v, c, p, text + strspn(text, "{ "));
    if (err == 0 && v->count != 1 && p->kind != LA_P_INTS && p->kind != LA_P_DIMS)
        return la_fail(LA_EARG, "%s: %s must be one number, got '%s'", c->op->name, p->name, text);
    for (int i = 0; err == 0 && i < v->count; i++) {
        if (p->kind != LA_P_DIM && p->kind != LA_P_DIMS && p->kind != LA_P_INDEX)
            break;
        if (v->ints[i] == 0)
            return la_fail(LA_EARG, "%s: %s counts from 1 (or from -1 backwards), got 0", c->op->name, p->name);
        v->ints[i] -= v->ints[i] > 0;
    }
    return err;
}

int la__call_option(la_call *c, const char *name, const char *text)
{
    const char *names[LA_MAX_PARAMS];
    int n = 0;
    for (; c->op->param[n].kind != LA_P_END; n++) {
        const la_param *p = &c->op->param[n];
        names[n] = p->name;
        if (strcmp(p->name, name) == 0 && p->kind != LA_P_TENSOR && p->kind != LA_P_TENSORS) {
            const int err = parse_value(&c->arg[n], c, p, text);
            c->arg[n].given = true;
            return err;
        }
    }
    const char *near = la__nearest(name, names, n);
    return la_fail(LA_EARG, "%s: unknown option '%s'%s%s%s", c->op->name, name, near ? ", did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

/* Negative dimensions count from the end of the first input; c->op has one then. */
static int resolve_dims(la_call *c, const la_param *p, la_value *v)
{
    const int ndim = c->in[0] ? c->in[0]->ndim : 0;
    /* stack and unsqueeze name a dimension of the result, which has one more; they say so by a brief that starts so */
    const int limit = ndim + (strncmp(p->brief, "new dimension", 13) == 0);
    if (v->count > 0 && limit == 0)
        return la_fail(LA_EARG, "%s: %s names a dimension, but the tensor has none", c->op->name, p->name);
    for (int i = 0; i < v->count; i++) {
        const int64_t d = v->ints[i];
        if (d < -limit || d >= limit)
            return la_fail(LA_EARG, "%s: %s must be a dimension from 1 to %d or from -1 to -%d, got %lld", c->op->name,
                           p->name, limit, limit, (long long)(d >= 0 ? d + 1 : d));
        v->ints[i] = d < 0 ? d + limit : d;
    }
    return 0;
}

/* As many inputs as the op has slots; a list has its own number of them and no gaps. */
static int check_inputs(la_call *c, int slots)
{
    const bool list = c->op->param[0].kind == LA_P_TENSORS;
    if (!list && c->inputs > slots)
        return la_fail(LA_EARG, "%s: takes %d tensors at most, got %d", c->op->name, slots, c->inputs);
    for (int i = 0; list && i < c->inputs; i++)
        if (!c->in[i])
            return la_fail(LA_EARG, "%s: tensor %d of %s is missing", c->op->name, i + 1, c->op->param[0].name);
    c->inputs = list ? c->inputs : slots;
    return 0;
}

int la__call_prepare(la_call *c)
{
    int err = 0, slot = 0;
    for (int i = 0; c->op->param[i].kind != LA_P_END; i++) {
        const la_param *p = &c->op->param[i];
        if (is_tensor_kind(p->kind)) {
            const bool absent = !c->in[slot] && !(p->kind == LA_P_OPERAND && c->arg[i].given);
            if (absent && !p->fallback)
                return la_fail(LA_EARG, "%s: %s is missing: %s", c->op->name, p->name, p->brief);
            slot += p->kind != LA_P_TENSORS;
        }
        if (!c->arg[i].given && p->kind != LA_P_TENSOR && p->kind != LA_P_TENSORS) {
            if (p->fallback)
                LA_TRY(parse_value(&c->arg[i], c, p, p->fallback));
            else if (p->kind != LA_P_OPERAND)
                return la_fail(LA_EARG, "%s: %s is missing: %s", c->op->name, p->name, p->brief);
        }
        if (p->kind == LA_P_DIM || p->kind == LA_P_DIMS)
            LA_TRY(resolve_dims(c, p, &c->arg[i]));
    }
    LA_TRY(check_inputs(c, slot));
    for (int i = 0; i < c->inputs; i++)
        if (c->in[i])
            c->dev = c->in[i]->storage->dev;
    if (!c->dev)
        return la_fail(LA_EARG, "%s: needs at least one tensor", c->op->name);
    for (int i = 0; i < c->inputs; i++)
        if (c->in[i] && c->in[i]->storage->dev != c->dev)
            return la_fail(LA_EARG, "%s: %s is on another device than the other tensors", c->op->name,
                           la__slot_name(c, i));
done:
    return err;
}

void la__owner_release(la_owner *owner)
{
    if (owner && --owner->refs == 0)
        owner->destroy(owner);
}

void la__call_clear(la_call *c)
{
    for (int i = 0; i < LA_MAX_INPUTS; i++) {
        la_tensor_release(&c->in[i]);
        la_tensor_release(&c->grad[i]);
    }
    for (int i = 0; i < LA_MAX_SAVED; i++)
        la_tensor_release(&c->saved[i]);
    for (int i = 0; i < LA_MAX_OUTPUTS; i++)
        la_tensor_release(&c->out[i]);
}

/* "name=value name=value" into c. */
static int parse_options(la_call *c, const char *options)
{
    char name[64], value[128];
    for (const char *s = options; s && *s;) {
        int used = 0;
        if (sscanf(s, " %63[^= ]=%127[^ ]%n", name, value, &used) != 2)
            return la_fail(LA_EARG, "%s: options must read name=value, got '%s'", c->op->name, s);
        const int err = la__call_option(c, name, value);
        if (err < 0)
            return err;
        s += used;
        s += strspn(s, " ");
    }
    return 0;
}

/* Fills a call from plain arguments; its inputs are retained. */
int la__call_fill(la_call *c, const la_op *op, int n, la_tensor *const *in, const char *options)
{
    memset(c, 0, sizeof *c);
    c->op = op;
    if (!op) /* la_op_find said why */
        return LA_EARG;
    if (n > LA_MAX_INPUTS)
        return la_fail(LA_EARG, "%s: at most %d tensors, got %d", op->name, LA_MAX_INPUTS, n);
    c->inputs = n;
    for (int i = 0; i < n; i++)
        c->in[i] = la_tensor_retain(in[i]);
    int err = parse_options(c, options);
    if (err == 0)
        err = la__call_prepare(c);
    return err;
}

int la__run(la_tensor **out, const char *op, int n, la_tensor *const *in, const char *options)
{
    int err = 0;
    la_call c;
    *out = NULL;
    LA_TRY(la__call_fill(&c, la_op_find(op), n, in, options));
    LA_TRY(c.op->forward(&c));
    *out = la_tensor_retain(c.out[0]);
done:
    la__call_clear(&c);
    return err;
}
