/* SPDX-License-Identifier: MIT
 *
 * ops.c -- one C function for every op: it reads the descriptor and converts the arguments accordingly.
 *
 * Arguments come in the order of the parameters; a table of named options may follow. A list parameter takes a table
 * or, as in la.zeros(2, 3), the numbers one after the other.
 */
#include <string.h>

#include "lua/lua_util.h"

static bool is_list(la_kind kind)
{
    return kind == LA_P_INTS || kind == LA_P_DIMS || kind == LA_P_TENSORS;
}

/* Whether the table at `index` is a list for parameter p rather than the table of options. */
static bool is_list_argument(lua_State *L, const la_param *p, int index)
{
    if (!is_list(p->kind))
        return false;
    const bool sequence = lua_rawgeti(L, index, 1) != LUA_TNIL;
    lua_pop(L, 1);
    if (sequence)
        return true;
    lua_pushnil(L);
    if (lua_next(L, index) == 0)
        return !p->fallback; /* an empty table: an empty list where one is needed, else no options */
    lua_pop(L, 2);
    return false;
}

static int argument_error(lua_State *L, const la_op *op, const la_param *p, const char *expected, int index)
{
    const char *got = luaL_testudata(L, index, LA_TENSOR_TYPE) ? "a tensor" : luaL_typename(L, index);
    return luaL_error(L, "%s: %s must be %s, got %s", op->name, p->name, expected, got);
}

/* Lua counts dimensions and elements from 1, and from -1 backwards; C from 0. */
static int64_t from_one(lua_State *L, const la_op *op, const la_param *p, int64_t i)
{
    if (i == 0)
        luaL_error(L, "%s: %s counts from 1 (or from -1 backwards), got 0", op->name, p->name);
    return i > 0 ? i - 1 : i;
}

static void add_int(lua_State *L, const la_op *op, const la_param *p, la_value *v, int index)
{
    int whole;
    const lua_Integer i = lua_tointegerx(L, index, &whole);
    if (!whole || lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "%s: %s must be whole (use // to divide), got %s", op->name, p->name,
                   luaL_tolstring(L, index, NULL));
    if (v->count == LA_MAX_DIMS)
        luaL_error(L, "%s: %s has more than %d elements", op->name, p->name, LA_MAX_DIMS);
    const bool shifted = p->kind == LA_P_DIM || p->kind == LA_P_DIMS || p->kind == LA_P_INDEX;
    v->ints[v->count] = shifted ? from_one(L, op, p, i) : i;
    if (v->count++ == 0)
        v->number = (double)i;
}

/* The plain value at `index` into v. */
static void read_value(lua_State *L, const la_op *op, const la_param *p, la_value *v, int index)
{
    switch (p->kind) {
    case LA_P_INT:
    case LA_P_DIM:
    case LA_P_INDEX: add_int(L, op, p, v, index); break;
    case LA_P_INTS:
    case LA_P_DIMS:
        if (!lua_istable(L, index)) {
            add_int(L, op, p, v, index);
            break;
        }
        for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, index); i <= n; i++) {
            lua_rawgeti(L, index, i);
            add_int(L, op, p, v, lua_gettop(L));
            lua_pop(L, 1);
        }
        break;
    case LA_P_OPERAND:
    case LA_P_NUMBER:
        if (lua_type(L, index) != LUA_TNUMBER)
            argument_error(L, op, p, p->kind == LA_P_NUMBER ? "a number" : "a tensor or a number", index);
        v->number = lua_tonumber(L, index);
        v->count = 1;
        break;
    case LA_P_BOOL:
        if (!lua_isboolean(L, index))
            argument_error(L, op, p, "a boolean", index);
        v->ints[0] = lua_toboolean(L, index);
        v->count = 1;
        break;
    default: break;
    }
    v->given = true;
}

static void read_choice(lua_State *L, la_call *c, const la_param *p, int index)
{
    if (lua_type(L, index) != LUA_TSTRING)
        argument_error(L, c->op, p, p->choices, index);
    la__lua_try(L, la__call_option(c, p->name, lua_tostring(L, index)));
}

static la_tensor *read_tensor(lua_State *L, const la_op *op, const la_param *p, const char *expected, int index)
{
    const la_box *b = luaL_testudata(L, index, LA_TENSOR_TYPE);
    if (!b)
        argument_error(L, op, p, expected, index);
    if (!b->t)
        luaL_error(L, "%s: %s was released when its scope ended: return it from the scope, or la.keep it", op->name,
                   p->name);
    return b->t;
}

/* Lists are read raw, here and above: a metamethod could release the inputs that are borrowed already. */
static void read_tensors(lua_State *L, la_call *c, const la_param *p, int index)
{
    if (!lua_istable(L, index))
        argument_error(L, c->op, p, "a list of tensors", index);
    const lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    if (n < 1 || n > LA_MAX_INPUTS)
        luaL_error(L, "%s: %s must hold 1 to %d tensors, got %I", c->op->name, p->name, LA_MAX_INPUTS, n);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, index, i);
        c->in[i - 1] = read_tensor(L, c->op, p, "a list of tensors", lua_gettop(L));
        lua_pop(L, 1);
    }
    c->inputs = (int)n;
}

/* Parameter number i from the stack index; nil leaves it out. Inputs are borrowed from the boxes here. */
static void read_argument(lua_State *L, la_call *c, int i, int slot, int index)
{
    const la_param *p = &c->op->param[i];
    if (lua_isnoneornil(L, index))
        return;
    if (p->kind == LA_P_TENSORS) {
        read_tensors(L, c, p, index);
    } else if (p->kind == LA_P_TENSOR || (p->kind == LA_P_OPERAND && lua_isuserdata(L, index))) {
        c->in[slot] = read_tensor(L, c->op, p, p->kind == LA_P_TENSOR ? "a tensor" : "a tensor or a number", index);
    } else if (p->kind == LA_P_CHOICE) {
        read_choice(L, c, p, index);
    } else {
        c->arg[i] = (la_value){ 0 };
        read_value(L, c->op, p, &c->arg[i], index);
    }
}

/* Every key of the options table must be a parameter. */
static void read_options(lua_State *L, la_call *c, int index)
{
    const char *names[LA_MAX_PARAMS];
    int n = 0;
    for (; c->op->param[n].kind != LA_P_END; n++)
        names[n] = c->op->param[n].name;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: the table of options holds an element without a name", c->op->name);
        const char *name = lua_tostring(L, -2);
        int i = 0, slot = 0;
        for (; i < n && strcmp(names[i], name) != 0; i++)
            slot += c->op->param[i].kind == LA_P_TENSOR || c->op->param[i].kind == LA_P_OPERAND;
        if (i == n) {
            const char *near = la__nearest(name, names, n);
            luaL_error(L, "%s: unknown option '%s'%s%s%s", c->op->name, name, near ? ", did you mean '" : "",
                       near ? near : "", near ? "'?" : "");
        }
        read_argument(L, c, i, slot, lua_gettop(L));
    }
}

static void read_arguments(lua_State *L, la_call *c)
{
    int top = lua_gettop(L);
    int index = 1, slot = 0;
    while (top > 0 && lua_isnil(L, top)) /* options that were handed through */
        lua_settop(L, --top);
    for (int i = 0; c->op->param[i].kind != LA_P_END && index <= top; i++) {
        const la_param *p = &c->op->param[i];
        if (index == top && lua_istable(L, index) && !is_list_argument(L, p, index))
            break; /* the options */
        read_argument(L, c, i, slot, index);
        slot += p->kind == LA_P_TENSOR || p->kind == LA_P_OPERAND;
        const bool spread = (p->kind == LA_P_INTS || p->kind == LA_P_DIMS) && lua_isnumber(L, index);
        index++;
        while (spread && index <= top && lua_type(L, index) == LUA_TNUMBER)
            add_int(L, c->op, p, &c->arg[i], index++);
    }
    if (index == top && lua_istable(L, index))
        read_options(L, c, index++);
    if (index <= top)
        luaL_error(L, "%s: too many arguments (%d)", c->op->name, top);
}

/* Whether op has a parameter that takes a tensor. */
static bool takes_tensors(const la_op *op)
{
    for (const la_param *p = op->param; p->kind != LA_P_END; p++)
        if (p->kind == LA_P_TENSOR || p->kind == LA_P_OPERAND || p->kind == LA_P_TENSORS)
            return true;
    return false;
}

int la__lua_call_op(lua_State *L)
{
    la_call c = { .op = lua_touserdata(L, lua_upvalueindex(1)) };
    la_box *box[LA_MAX_OUTPUTS];
    const int outputs = c.op->outputs > 1 ? c.op->outputs : 1;

    read_arguments(L, &c); /* may raise: nothing is owned yet */
    if (!takes_tensors(c.op))
        c.dev = la__lua_device(L);
    for (int k = 0; k < outputs; k++)
        box[k] = la__lua_new_box(L);
    for (int i = 0; i < LA_MAX_INPUTS; i++)
        la_tensor_retain(c.in[i]);
    int err = la__call_prepare(&c);
    if (err < 0)
        la__call_clear(&c);
    else
        err = la_apply(&c);
    la__lua_try(L, err);
    int results = 0;
    for (int k = 0; k < outputs; k++) {
        box[k]->t = c.out[k];
        results += c.out[k] != NULL;
    }
    lua_settop(L, lua_gettop(L) - (outputs - results));
    return results;
}

static const char *kind_name(la_kind kind)
{
    static const char *const names[] = {
        "",      "tensor", "tensor or number", "list of tensors", "integer", "integer or list", "dim", "dim or list",
        "index", "number", "boolean",          "choice"
    };
    return names[kind];
}

static void push_param(lua_State *L, const la_param *p)
{
    const struct {
        const char *name, *value;
    } fields[] = { { "name", p->name },
                   { "kind", kind_name(p->kind) },
                   { "default", p->fallback },
                   { "brief", p->brief },
                   { "choices", p->choices } };
    lua_createtable(L, 0, LA_COUNT(fields));
    for (int i = 0; i < LA_COUNT(fields); i++) {
        lua_pushstring(L, fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
}

/* op_list() -> { {name=, brief=, example=, differentiable=, in_place=, params={ {name=, kind=, default=, brief=,
 * choices=} }} } */
static int op_list(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; la_op_all()[i]; i++) {
        const la_op *op = la_op_all()[i];
        lua_createtable(L, 0, 6);
        lua_pushstring(L, op->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, op->brief);
        lua_setfield(L, -2, "brief");
        lua_pushstring(L, op->example);
        lua_setfield(L, -2, "example");
        lua_pushboolean(L, op->backward != NULL);
        lua_setfield(L, -2, "differentiable");
        lua_pushboolean(L, op->in_place);
        lua_setfield(L, -2, "in_place");
        lua_newtable(L);
        for (int k = 0; op->param[k].kind != LA_P_END; k++) {
            push_param(L, &op->param[k]);
            lua_rawseti(L, -2, k + 1);
        }
        lua_setfield(L, -2, "params");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* -t: Lua hands the operand over twice. */
static int negate(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static void set_metamethods(lua_State *L, const char *event, const char *op)
{
    if (lua_getfield(L, -1, op) != LUA_TFUNCTION) { /* the op is not in this build */
        lua_pop(L, 1);
        return;
    }
    if (strcmp(event, "__unm") == 0)
        lua_pushcclosure(L, negate, 1);
    luaL_getmetatable(L, LA_TENSOR_TYPE);
    lua_insert(L, -2);
    lua_setfield(L, -2, event);
    lua_pop(L, 1);
}

void la__lua_open_ops(lua_State *L)
{
    for (int i = 0; la_op_all()[i]; i++) {
        const la_op *op = la_op_all()[i];
        lua_pushlightuserdata(L, (void *)(uintptr_t)op); /* read-only data: the cast drops const for Lua's sake */
        lua_pushcclosure(L, la__lua_call_op, 1);
        if (takes_tensors(op)) {
            lua_pushvalue(L, -1);
            lua_setfield(L, -4, op->name); /* methods, below the module */
        }
        lua_setfield(L, -2, op->name);
    }
    static const char *const arithmetic[][2] = { { "__add", "add" }, { "__sub", "sub" }, { "__mul", "mul" },
                                                 { "__div", "div" }, { "__pow", "pow" }, { "__unm", "neg" } };
    for (int i = 0; i < LA_COUNT(arithmetic); i++)
        set_metamethods(L, arithmetic[i][0], arithmetic[i][1]);
    lua_pushcfunction(L, op_list);
    lua_setfield(L, -2, "op_list");
}
