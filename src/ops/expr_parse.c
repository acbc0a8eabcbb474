/* SPDX-License-Identifier: MIT
 *
 * expr_parse.c -- from text to nodes, by precedence climbing: comparisons bind least, then + -, then * /, then unary -,
 * then ^, which groups from the right, as in Lua. By hand, since nothing at hand does it for C and Lua both: LPeg would
 * be a dependency for this alone, and Lua's own parser shows nobody what it has read.
 */
#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/expr.h"

typedef struct parser {
    la_expr *e;
    const char *at;
    int depth;
    bool open; /* new names become operands */
} parser;

/* What `min`, `clamp` and the like stand for; op is NONE where it takes more than one node. */
static const struct function {
    const char *name;
    la_expr_op op;
    int arguments;
} functions[] = {
    { "abs", LA_E_ABS, 1 },     { "sign", LA_E_SIGN, 1 }, { "floor", LA_E_FLOOR, 1 },     { "exp", LA_E_EXP, 1 },
    { "log", LA_E_LOG, 1 },     { "sqrt", LA_E_SQRT, 1 }, { "rsqrt", LA_E_RSQRT, 1 },     { "sin", LA_E_SIN, 1 },
    { "cos", LA_E_COS, 1 },     { "tanh", LA_E_TANH, 1 }, { "sigmoid", LA_E_SIGMOID, 1 }, { "relu", LA_E_NONE, 1 },
    { "relu6", LA_E_NONE, 1 },  { "min", LA_E_MIN, 2 },   { "max", LA_E_MAX, 2 },         { "clamp", LA_E_NONE, 3 },
    { "where", LA_E_WHERE, 3 },
};

/* "fuse: <message> at column 14 of 'max(x, 0'": p->at is where. A long text is shown around it. */
static int LA_PRINTF(2, 3) fail(const parser *p, const char *format, ...)
{
    enum { SHOWN = 60 };
    char message[160], shown[SHOWN + 1];
    const size_t column = (size_t)(p->at - p->e->text), length = strlen(p->e->text);
    const size_t first = length <= SHOWN || column < SHOWN / 2 ? 0 : column - SHOWN / 2;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(shown, sizeof shown, "%s", p->e->text + first);
    for (char *c = shown; *c; c++)
        if (!isprint((unsigned char)*c))
            *c = '?';
    return la_fail(LA_EARG, "fuse: %s at column %zu of '%s%s%s'", message, column + 1, first > 0 ? "..." : "", shown,
                   first + SHOWN < length ? "..." : "");
}

static void skip_space(parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static bool take(parser *p, const char *token)
{
    skip_space(p);
    const size_t n = strlen(token);
    if (strncmp(p->at, token, n) != 0)
        return false;
    p->at += n;
    return true;
}

static int parse_comparison(parser *p);
static int parse_unary(parser *p);

static int parse_number(parser *p)
{
    char *end;
    const double x = strtod(p->at, &end);
    if (end == p->at || !(fabs(x) <= FLT_MAX))
        return fail(p, "the number is not one that float32 holds");
    p->at = end;
    return la__expr_const(p->e, x);
}

/* min and max take two arguments or more, from the left. */
static int apply(la_expr *e, const struct function *f, const int *arg)
{
    const int zero = la__expr_const(e, 0), six = f->arguments == 1 ? la__expr_const(e, 6) : 0, x = arg[0];
    if (f->op != LA_E_NONE)
        return la__expr_make(e, f->op, arg[0], arg[1], arg[2]);
    if (f->arguments == 3) /* clamp */
        return la__expr_make(e, LA_E_WHERE, la__expr_make(e, LA_E_LT, x, arg[1], 0), arg[1],
                             la__expr_make(e, LA_E_WHERE, la__expr_make(e, LA_E_GT, x, arg[2], 0), arg[2], x));
    const int low = la__expr_make(e, LA_E_LE, x, zero, 0);
    if (strcmp(f->name, "relu") == 0)
        return la__expr_make(e, LA_E_WHERE, low, zero, x);
    return la__expr_make(e, LA_E_WHERE, low, zero,
                         la__expr_make(e, LA_E_WHERE, la__expr_make(e, LA_E_GE, x, six, 0), six, x));
}

/* After the opening parenthesis of f's call. */
static int parse_arguments(parser *p, const struct function *f)
{
    int arg[3] = { 0 }, n = 0;
    do {
        const int a = parse_comparison(p);
        if (a < 0)
            return a;
        const bool joins = f->op == LA_E_MIN || f->op == LA_E_MAX;
        if (n == 2 && joins) {
            arg[0] = apply(p->e, f, arg);
            n = 1;
        }
        if (n == f->arguments)
            return fail(p, "%s takes %d argument%s, and there are more", f->name, f->arguments,
                        f->arguments > 1 ? "s" : "");
        arg[n++] = a;
    } while (take(p, ","));
    if (n < f->arguments) {
        skip_space(p);
        return fail(p, "%s takes %d arguments: expected ','", f->name, f->arguments);
    }
    if (!take(p, ")"))
        return fail(p, "expected ')'");
    const la_expr_node *low = &p->e->node[arg[1]], *high = &p->e->node[arg[2]];
    if (f->op == LA_E_NONE && low->op == LA_E_CONST && high->op == LA_E_CONST && low->value > high->value)
        return fail(p, "%s: the lower bound is above the upper one,", f->name);
    return apply(p->e, f, arg);
}

/* Lua's operators that are words, of which there are none here. */
static const char *word_at(const char *at)
{
    static const char *const words[] = { "and", "or", "not" };
    for (int i = 0; i < LA_COUNT(words); i++) {
        const size_t n = strlen(words[i]);
        if (strncmp(at, words[i], n) == 0 && !isalnum((unsigned char)at[n]) && at[n] != '_')
            return words[i];
    }
    return NULL;
}

static int find_operand(parser *p, const char *name)
{
    la_expr *e = p->e;
    for (int i = 0; i < e->operands; i++)
        if (strcmp(e->name[i], name) == 0)
            return la__expr_make(e, LA_E_OPERAND, i, 0, 0);
    if (!p->open)
        return fail(p, "'%s' is none of the names given", name);
    if (e->operands == LA_EXPR_OPERANDS)
        return fail(p, "more than %d operands", LA_EXPR_OPERANDS);
    strcpy(e->name[e->operands], name);
    return la__expr_make(e, LA_E_OPERAND, e->operands++, 0, 0);
}

static int parse_name(parser *p)
{
    char name[LA_EXPR_NAME];
    const char *names[LA_COUNT(functions)];
    size_t n = 0;
    if (word_at(p->at))
        return fail(p, "there is no '%s', but where(c, a, b), min and max,", word_at(p->at));
    while (isalnum((unsigned char)p->at[n]) || p->at[n] == '_')
        n++;
    if (n >= sizeof name)
        return fail(p, "a name of more than %d letters", LA_EXPR_NAME - 1);
    memcpy(name, p->at, n);
    name[n] = '\0';
    const char *after = p->at + n;
    const bool call = after[strspn(after, " \t\n\r\f\v")] == '(';
    for (int i = 0; i < LA_COUNT(functions); i++) {
        names[i] = functions[i].name;
        if (strcmp(name, functions[i].name) == 0) {
            p->at = after;
            if (!take(p, "("))
                return fail(p, "%s is a function: expected '('", name);
            return parse_arguments(p, &functions[i]);
        }
    }
    if (call) {
        const char *near = la__nearest(name, names, LA_COUNT(functions));
        return fail(p, "no function is called '%s'%s%s%s,", name, near ? ", did you mean '" : "", near ? near : "",
                    near ? "'?" : "");
    }
    const int node = find_operand(p, name);
    if (node > 0)
        p->at = after;
    return node;
}

static int parse_primary(parser *p)
{
    skip_space(p);
    const char c = *p->at;
    if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)p->at[1])))
        return parse_number(p);
    if (isalpha((unsigned char)c) || c == '_')
        return parse_name(p);
    if (!take(p, "("))
        return fail(p, "expected a number, a name or '('");
    const int inner = parse_comparison(p);
    if (inner > 0 && !take(p, ")"))
        return fail(p, "expected ')'");
    return inner;
}

/* -a, a ^ b: the exponent may have a sign. All recursion passes here. */
static int parse_unary(parser *p)
{
    int node;
    if (++p->depth > LA_EXPR_DEPTH)
        return fail(p, "nested more than %d deep", LA_EXPR_DEPTH);
    if (take(p, "-")) {
        node = la__expr_make(p->e, LA_E_NEG, parse_unary(p), 0, 0);
    } else {
        node = parse_primary(p);
        if (node > 0 && take(p, "^"))
            node = la__expr_make(p->e, LA_E_POW, node, parse_unary(p), 0);
    }
    p->depth--;
    return node;
}

static int parse_product(parser *p)
{
    int node = parse_unary(p);
    while (node > 0) {
        if (take(p, "*"))
            node = la__expr_make(p->e, LA_E_MUL, node, parse_unary(p), 0);
        else if (take(p, "/"))
            node = la__expr_make(p->e, LA_E_DIV, node, parse_unary(p), 0);
        else
            break;
    }
    return node;
}

static int parse_sum(parser *p)
{
    int node = parse_product(p);
    while (node > 0) {
        if (take(p, "+"))
            node = la__expr_make(p->e, LA_E_ADD, node, parse_product(p), 0);
        else if (take(p, "-"))
            node = la__expr_make(p->e, LA_E_SUB, node, parse_product(p), 0);
        else
            break;
    }
    return node;
}

static la_expr_op take_comparison(parser *p)
{
    static const struct {
        const char *token;
        la_expr_op op;
    } list[] = { { "<=", LA_E_LE }, { ">=", LA_E_GE }, { "==", LA_E_EQ }, { "~=", LA_E_NE },
                 { "!=", LA_E_NE }, { "<", LA_E_LT },  { ">", LA_E_GT } };
    for (int i = 0; i < LA_COUNT(list); i++)
        if (take(p, list[i].token))
            return list[i].op;
    return LA_E_NONE;
}

/* a < b < c is refused: it would compare 0 or 1 with c. */
static int parse_comparison(parser *p)
{
    int node = parse_sum(p);
    const la_expr_op op = node > 0 ? take_comparison(p) : LA_E_NONE;
    if (op == LA_E_NONE)
        return node;
    node = la__expr_make(p->e, op, node, parse_sum(p), 0);
    const char *at = p->at;
    if (node > 0 && take_comparison(p) != LA_E_NONE) {
        p->at = at;
        skip_space(p);
        return fail(p, "comparisons do not chain: put one in parentheses,");
    }
    return node;
}

static int check_name(la_expr *e, const char *name)
{
    size_t n = strlen(name);
    bool good = n > 0 && n < LA_EXPR_NAME && !isdigit((unsigned char)name[0]);
    for (size_t i = 0; i < n; i++)
        good = good && (isalnum((unsigned char)name[i]) || name[i] == '_');
    if (!good)
        return la_fail(LA_EARG, "fuse: '%.40s' cannot be an operand's name", name);
    for (int i = 0; i < e->operands; i++)
        if (strcmp(e->name[i], name) == 0)
            return la_fail(LA_EARG, "fuse: the name '%s' is given twice", name);
    strcpy(e->name[e->operands++], name);
    return 0;
}

/* A name that the text does not use is a slip. */
static int check_used(const la_expr *e, const bool *used)
{
    for (int i = 0; i < e->operands; i++)
        if (!used[i])
            return la_fail(LA_EARG, "fuse: '%s' is given as a name but is not in the expression", e->name[i]);
    return 0;
}

int la__expr_parse(la_expr *e, const char *text, int n, const char *const *names)
{
    int err = 0;
    bool used[LA_EXPR_OPERANDS] = { false };
    memset(e, 0, sizeof *e);
    e->text = strdup(text);
    if (!e->text)
        return la_fail(LA_ENOMEM, "fuse: out of memory");
    if (n > LA_EXPR_OPERANDS)
        return la_fail(LA_EARG, "fuse: at most %d operands, got %d", LA_EXPR_OPERANDS, n);
    for (int i = 0; i < n; i++)
        LA_TRY(check_name(e, names[i]));
    parser p = { .e = e, .at = e->text, .open = n == 0 };
    LA_TRY(e->root = parse_comparison(&p));
    skip_space(&p);
    if (*p.at && word_at(p.at))
        return fail(&p, "there is no '%s', but where(c, a, b), min and max,", word_at(p.at));
    if (*p.at)
        return fail(&p, "expected an operator");
    for (int i = 1; i < e->count; i++)
        if (e->node[i].op == LA_E_OPERAND)
            used[e->node[i].a] = true;
    LA_TRY(check_used(e, used));
    if (e->operands == 0)
        return la_fail(LA_EARG, "fuse: '%.60s' has no operand", text);
    err = 0;
done:
    return err;
}
