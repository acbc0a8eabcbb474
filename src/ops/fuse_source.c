/* SPDX-License-Identifier: MIT
 *
 * fuse_source.c -- writes the kernels of fused expressions.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lualign.h"
#include "ops/fuse.h"

/* A growing text; `lost` once memory ran out. */
typedef struct writer {
    char *text;
    size_t length, room;
    bool lost;
    const la_expr *e;
    const la_fuse_form *form;
    const bool *needed;
} writer;

static void LA_PRINTF(2, 3) put(writer *w, const char *format, ...)
{
    enum { MOST = 2048 }; /* of one call; names and numbers are short */
    va_list args;
    if (w->room - w->length < MOST && !w->lost) {
        const size_t room = 2 * w->room + 2 * MOST;
        char *text = realloc(w->text, room);
        w->lost = !text;
        w->text = text ? text : w->text;
        w->room = text ? room : w->room;
    }
    if (w->lost)
        return;
    va_start(args, format);
    w->length += (size_t)vsnprintf(w->text + w->length, MOST, format, args);
    va_end(args);
}

static bool is_tensor(const writer *w, int slot)
{
    return w->form->access[slot] > LA_A_NUMBER;
}

static la_fuse_sum sum_of(const writer *w, int k)
{
    return (la_fuse_sum)w->form->sum[k];
}

void la__fuse_needed(bool *needed, const la_expr *e, const la_fuse_form *form)
{
    memset(needed, 0, (size_t)e->count * sizeof *needed);
    for (int k = 0; k < LA_EXPR_OPERANDS; k++)
        needed[la__fuse_node(e, form, k)] = true;
    for (int i = e->count - 1; i > 0; i--) {
        const la_expr_node *n = &e->node[i];
        if (needed[i] && n->op != LA_E_OPERAND)
            needed[n->a] = needed[n->b] = needed[n->c] = true;
    }
    needed[0] = false;
}

/* ---- values ---- */

/* What stands for node i in the text: a constant by its bits, or a variable. */
static const char *value(const writer *w, int i, char *out)
{
    const la_expr_node *n = &w->e->node[i];
    const float f = (float)n->value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (n->op == LA_E_CONST)
        sprintf(out, "(V)(as_float(0x%08xu))", (unsigned)bits);
    else if (n->op == LA_E_OPERAND)
        sprintf(out, "x%d", n->a);
    else if (n->op == LA_E_GRADIENT)
        sprintf(out, "x%d", LA_FUSE_GRADIENT);
    else
        sprintf(out, "t%d", i);
    return out;
}

/* Functions and infix operators by the name that they have in the text; V, float or float16, suits them all. */
static const char *const names[] = {
    [LA_E_NEG] = "-",     [LA_E_ABS] = "fabs", [LA_E_FLOOR] = "floor", [LA_E_EXP] = "exp",   [LA_E_LOG] = "log",
    [LA_E_SQRT] = "sqrt", [LA_E_SIN] = "sin",  [LA_E_COS] = "cos",     [LA_E_TANH] = "tanh", [LA_E_ADD] = "+",
    [LA_E_SUB] = "-",     [LA_E_MUL] = "*",    [LA_E_DIV] = "/",       [LA_E_LT] = "<",      [LA_E_LE] = "<=",
    [LA_E_GT] = ">",      [LA_E_GE] = ">=",    [LA_E_EQ] = "==",       [LA_E_NE] = "!=",
};

/* The larger (or smaller) of a and b, where a NaN in either stays: it takes the branch that keeps it. A constant is no
 * NaN as a rule, and one comparison less is one instruction in all. */
static void put_extreme(writer *w, const la_expr_node *n, const char *a, const char *b)
{
    const char *sign = n->op == LA_E_MAX ? ">" : "<";
    const la_expr_node *first = &w->e->node[n->a], *second = &w->e->node[n->b];
    if (second->op == LA_E_CONST && second->value == second->value)
        put(w, "(%s %s %s) ? %s : %s", b, sign, a, b, a);
    else if (first->op == LA_E_CONST && first->value == first->value)
        put(w, "(%s %s %s) ? %s : %s", a, sign, b, a, b);
    else
        put(w, "(%s %s %s || %s != %s) ? %s : %s", a, sign, b, a, a, a, b);
}

static void put_comparison(writer *w, const la_expr_node *n)
{
    char a[32], b[32];
    put(w, "(%s %s %s)", value(w, n->a, a), names[n->op], value(w, n->b, b));
}

static bool is_wave(la_expr_op op)
{
    return op == LA_E_SIN || op == LA_E_COS;
}

/* Sine or cosine of sixteen. Where one of them is large, PoCL 3.1 gets all of them wrong: then one by one. */
static void put_wave(writer *w, la_expr_op op)
{
    put(w,
        "float16 wide_%s(float16 x)\n{\nif (all(fabs(x) < 100.0f))\nreturn %s(x);\nfloat lane[16];\n"
        "vstore16(x, 0, lane);\nfor (int i = 0; i < 16; i++)\nlane[i] = %s(lane[i]);\nreturn vload16(0, lane);\n}\n",
        names[op], names[op], names[op]);
}

/* Node i from those before it. */
static void put_node(writer *w, int i, bool vector)
{
    char at[32], bt[32], ct[32];
    const la_expr_node *n = &w->e->node[i];
    const char *a = value(w, n->a, at), *b = value(w, n->b, bt), *c = value(w, n->c, ct);

    put(w, "const V t%d = ", i);
    if (n->op == LA_E_WHERE) {
        put_comparison(w, &w->e->node[n->a]);
        put(w, " ? %s : %s", b, c);
    } else if (la__expr_compares(n->op)) {
        put_comparison(w, n);
        put(w, " ? (V)(1.0f) : (V)(0.0f)");
    } else if (n->op == LA_E_MAX || n->op == LA_E_MIN) {
        put_extreme(w, n, a, b);
    } else if (n->op == LA_E_POW) {
        put(w, "pow(%s, %s)", a, b);
    } else if (n->op == LA_E_SIGN) {
        put(w, "(%s > 0.0f) ? (V)(1.0f) : ((%s < 0.0f) ? (V)(-1.0f) : %s)", a, a, a);
    } else if (n->op == LA_E_RSQRT) {
        put(w, "1.0f / sqrt(%s)", a);
    } else if (n->op == LA_E_SIGMOID) {
        put(w, "1.0f / (1.0f + exp(-%s))", a);
    } else if (n->b == 0) {
        put(w, "%s%s(%s)", vector && is_wave(n->op) ? "wide_" : "", names[n->op], a);
    } else {
        put(w, "%s %s %s", a, names[n->op], b);
    }
    put(w, ";\n");
}

/* ---- loops ---- */

/* What a tensor's element is read as. */
static const char *type_of(const writer *w, int slot)
{
    return w->form->dtype[slot] == LA_U8 ? "uchar" : w->form->dtype[slot] == LA_I32 ? "int" : "float";
}

static void put_load(writer *w, int slot, bool vector)
{
    const la_fuse_access access = (la_fuse_access)w->form->access[slot];
    const bool floats = w->form->dtype[slot] == LA_F32 || access == LA_A_CYCLE;
    if (access == LA_A_NUMBER)
        put(w, "const V x%d = (V)(n%d);\n", slot, slot);
    else if (access == LA_A_ONE)
        put(w, "const V x%d = (V)((float)q%d[0]);\n", slot, slot);
    else if (access == LA_A_STEPS)
        put(w, "const V x%d = (float)q%d[i * s%d];\n", slot, slot, slot);
    else if (!vector)
        put(w, "const V x%d = (float)q%d[i];\n", slot, slot);
    else if (floats)
        put(w, "const V x%d = vload16(0, q%d + i);\n", slot, slot);
    else
        put(w, "const V x%d = convert_float16(vload16(0, q%d + i));\n", slot, slot);
}

static void put_result(writer *w, int k, bool vector)
{
    char v[32];
    value(w, la__fuse_node(w->e, w->form, k), v);
    if (sum_of(w, k) == LA_S_EACH && vector)
        put(w, "vstore16(%s, 0, y%d + i);\n", v, k);
    else if (sum_of(w, k) == LA_S_EACH)
        put(w, "y%d[i] = %s;\n", k, v);
    else if (sum_of(w, k) == LA_S_ROWS && vector)
        put(w, "vstore16(vload16(0, y%d + i) + %s, 0, y%d + i);\n", k, v, k);
    else if (sum_of(w, k) == LA_S_ROWS)
        put(w, "y%d[i] += %s;\n", k, v);
    else
        put(w, "%s%d += %s;\n", vector ? "wide" : "sum", k, v);
}

/* The loop over a row's segment from i on, by one element or sixteen. */
static void put_loop(writer *w, bool vector)
{
    put(w, "#define V %s\n", vector ? "float16" : "float");
    put(w, vector ? "for (; i + 16 <= count; i += 16) {\n" : "for (; i < count; i++) {\n");
    for (int slot = 0; slot < LA_FUSE_SLOTS; slot++)
        if (w->form->access[slot] != LA_A_NONE)
            put_load(w, slot, vector);
    for (int i = 1; i < w->e->count; i++)
        if (w->needed[i] && w->e->node[i].op >= LA_E_NEG)
            put_node(w, i, vector);
    for (int k = 0; k < LA_EXPR_OPERANDS; k++)
        if (sum_of(w, k) != LA_S_NONE)
            put_result(w, k, vector);
    put(w, "}\n#undef V\n");
}

/* Sums of one kind, LA_S_LENGTH or LA_S_BLOCK, before and after what they sum over. */
static void put_sums(writer *w, la_fuse_sum kind, bool before)
{
    for (int k = 0; k < LA_EXPR_OPERANDS; k++) {
        if (sum_of(w, k) != kind)
            continue;
        if (before)
            put(w, "float16 wide%d = (float16)(0.0f);\nfloat sum%d = 0.0f;\n", k, k);
        else if (kind == LA_S_BLOCK)
            put(w, "o%d[id] = SUM16(wide%d) + sum%d;\n", k, k, k);
        else
            put(w, "o%d[(above * w.rows + top + r) * w.segments + segment] = SUM16(wide%d) + sum%d;\n", k, k, k);
    }
}

static void put_rows(writer *w)
{
    for (int k = 0; k < LA_EXPR_OPERANDS; k++)
        if (sum_of(w, k) == LA_S_ROWS)
            put(w,
                "global float *y%d = o%d + (above * w.blocks + block) * w.length + first;\n"
                "for (int i = 0; i < count; i++)\ny%d[i] = 0.0f;\n",
                k, k, k);
    for (int slot = 0; slot < LA_FUSE_SLOTS; slot++)
        if (w->form->access[slot] == LA_A_CYCLE)
            put(w, "float q%d[%d];\nfor (int i = 0; i < count; i++)\nq%d[i] = (float)p%d[a%d + i %% w.cycle];\n", slot,
                LA_FUSE_CYCLE, slot, slot, slot);
    put_sums(w, LA_S_BLOCK, true);
    put(w, "for (int r = 0; r < rows; r++) {\n");
    for (int slot = 0; slot < LA_FUSE_SLOTS; slot++)
        if (is_tensor(w, slot) && w->form->access[slot] != LA_A_CYCLE)
            put(w, "global const %s *q%d = p%d + a%d + r * r%d;\n", type_of(w, slot), slot, slot, slot, slot);
    for (int k = 0; k < LA_EXPR_OPERANDS; k++)
        if (sum_of(w, k) == LA_S_EACH)
            put(w, "global float *y%d = o%d + place + r * w.length;\n", k, k);
    put_sums(w, LA_S_LENGTH, true);
    put(w, "int i = 0;\n");
    if (w->form->vectors)
        put_loop(w, true);
    put_loop(w, false);
    put_sums(w, LA_S_LENGTH, false);
    put(w, "}\n");
    put_sums(w, LA_S_BLOCK, false);
}

/* ---- the whole ---- */

static void put_head(writer *w, int tensors)
{
    put(w, "#define SUM8(v) (((v).s0 + (v).s4) + ((v).s1 + (v).s5) + (((v).s2 + (v).s6) + ((v).s3 + (v).s7)))\n"
           "#define SUM16(v) SUM8((v).lo + (v).hi)\n");
    put(w,
        "typedef struct plan {\nint items, segments, blocks, block, rows, chunk, length, cycle, outer, dim[%d];\n"
        "struct { int offset, step, row, outer[%d]; } at[%d];\n} plan;\n",
        LA_FUSE_OUTER, LA_FUSE_OUTER, tensors > 0 ? tensors : 1);
    for (la_expr_op op = LA_E_SIN; op <= LA_E_COS && w->form->vectors; op++)
        for (int i = 1; i < w->e->count; i++)
            if (w->needed[i] && w->e->node[i].op == op) {
                put_wave(w, op);
                break;
            }
    put(w, "%skernel void fuse_%s(", w->form->single ? "__attribute__((reqd_work_group_size(1, 1, 1)))\n" : "",
        w->form->backward ? "bwd" : "fwd");
    for (int k = 0; k < LA_EXPR_OPERANDS; k++)
        if (sum_of(w, k) != LA_S_NONE)
            put(w, "global float *restrict o%d, ", k);
    for (int slot = 0; slot < LA_FUSE_SLOTS; slot++)
        if (is_tensor(w, slot))
            put(w, "global const %s *restrict p%d, ", type_of(w, slot), slot);
    put(w, "const plan w");
    for (int slot = 0; slot < LA_FUSE_SLOTS; slot++)
        if (w->form->access[slot] == LA_A_NUMBER)
            put(w, ", const float n%d", slot);
    put(w, ")\n{\n");
}

/* Where the work-item's part begins, in the result and in each tensor. */
static void put_start(writer *w)
{
    put(w, "const int id = get_global_id(0);\nif (id >= w.items)\nreturn;\n"
           "const int segment = id %% w.segments, block = id / w.segments %% w.blocks;\n"
           "const int above = id / w.segments / w.blocks, first = segment * w.chunk, top = block * w.block;\n"
           "const int count = min(w.chunk, w.length - first), rows = min(w.block, w.rows - top);\n"
           "const int place = (above * w.rows + top) * w.length + first;\n");
    for (int slot = 0, n = 0; slot < LA_FUSE_SLOTS; slot++)
        if (is_tensor(w, slot)) {
            put(w, "const int s%d = w.at[%d].step, r%d = w.at[%d].row;\n", slot, n, slot, n);
            put(w, "int a%d = w.at[%d].offset + top * r%d + first * s%d;\n", slot, n, slot, slot);
            n++;
        }
    put(w, "for (int d = w.outer - 1, rest = above; d >= 0; d--) {\n"
           "const int at = rest %% w.dim[d];\nrest /= w.dim[d];\n");
    for (int slot = 0, n = 0; slot < LA_FUSE_SLOTS; slot++)
        if (is_tensor(w, slot))
            put(w, "a%d += at * w.at[%d].outer[d];\n", slot, n++);
    put(w, "}\n");
}

int la__fuse_source(char **out, const la_expr *e, const la_fuse_form *form)
{
    bool needed[LA_EXPR_NODES];
    writer w = { .e = e, .form = form, .needed = needed };
    int tensors = 0;

    la__fuse_needed(needed, e, form);
    for (int slot = 0; slot < LA_FUSE_SLOTS; slot++)
        tensors += is_tensor(&w, slot);
    put_head(&w, tensors);
    put_start(&w);
    put_rows(&w);
    put(&w, "}\n");
    if (w.lost) {
        free(w.text);
        return la_fail(LA_ENOMEM, "fuse: out of memory for a kernel's text");
    }
    *out = w.text;
    return 0;
}
