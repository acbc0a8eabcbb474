/* SPDX-License-Identifier: MIT
 *
 * grad.c -- no_grad, and scopes, which empty the boxes made inside them when they close.
 */
#include <string.h>

#include "lua/lua_util.h"

static const char key = 0;

/* The innermost open scope's chain of boxes; `head` is a sentinel. Scopes live on the C stack of `scope`. */
typedef struct scope_chain {
    la_box head;
    struct scope_chain *outer;
} scope_chain;

static scope_chain **innermost(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    scope_chain **s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return s;
}

static void unchain(la_box *b)
{
    if (b->next) {
        b->next->previous = b->previous;
        b->previous->next = b->next;
        b->next = b->previous = NULL;
    }
}

static void chain(la_box *b, scope_chain *s)
{
    unchain(b);
    if (s) {
        b->next = s->head.next;
        b->previous = &s->head;
        b->next->previous = b;
        s->head.next = b;
    }
}

la_box *la__lua_new_box(lua_State *L)
{
    la_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    memset(b, 0, sizeof *b);
    luaL_setmetatable(L, LA_TENSOR_TYPE);
    chain(b, *innermost(L));
    return b;
}

void la__lua_push_tensor(lua_State *L, la_tensor *t)
{
    la__lua_new_box(L)->t = t;
}

/* __gc and __close of a box */
int la__lua_box_release(lua_State *L)
{
    la_box *b = luaL_checkudata(L, 1, LA_TENSOR_TYPE);
    unchain(b);
    la_tensor_release(&b->t);
    return 0;
}

/* Stack that keep_values takes, which must not raise while a scope closes: a key and a value for each of four levels.
 */
enum { KEEP_SLOTS = 24 };

/* Moves the boxes among the values from `first` up, and inside tables among them, out to the outer scope. */
static void keep_values(lua_State *L, int first, scope_chain *outer, int depth)
{
    for (int i = first, top = lua_gettop(L); i <= top; i++) {
        la_box *b = luaL_testudata(L, i, LA_TENSOR_TYPE);
        if (b) {
            chain(b, outer);
        } else if (lua_istable(L, i) && depth < 4) {
            for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1))
                keep_values(L, lua_gettop(L), outer, depth + 1);
        }
    }
}

/* Raises an error unless the first argument can be called. */
static void check_callable(lua_State *L)
{
    if (lua_isfunction(L, 1))
        return;
    if (luaL_getmetafield(L, 1, "__call") == LUA_TNIL)
        luaL_typeerror(L, 1, "function");
    lua_pop(L, 1);
}

/* scope(fn, ...) -> the results of fn(...). Every tensor made inside is released when fn ends, by return or by error,
 * except those among its results (tables are searched four deep) and those given to keep. */
static int scope(lua_State *L)
{
    scope_chain **current = innermost(L);
    scope_chain s = { .outer = *current };
    check_callable(L);
    s.head.next = s.head.previous = &s.head;
    *current = &s;
    const int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    *current = s.outer;
    const bool room = lua_checkstack(L, KEEP_SLOTS);
    if (status == LUA_OK && room)
        keep_values(L, 1, s.outer, 0);
    while (s.head.next != &s.head) {
        la_box *b = s.head.next;
        unchain(b);
        la_tensor_release(&b->t);
    }
    if (status != LUA_OK)
        return lua_error(L);
    if (!room)
        return luaL_error(L, "scope: too many results");
    return lua_gettop(L);
}

/* keep(...) -> ...: takes tensors (also inside tables) out of all scopes; they live until Lua collects them. */
static int keep(lua_State *L)
{
    luaL_checkstack(L, KEEP_SLOTS, "keep");
    keep_values(L, 1, NULL, 0);
    return lua_gettop(L);
}

/* Calls the function at index 1 with recording on or off, and puts back what was, also after an error. */
static int call_recording(lua_State *L, bool on)
{
    check_callable(L);
    const bool was = la_grad_enable(on);
    const int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    la_grad_enable(was);
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L);
}

/* no_grad(fn, ...) -> the results of fn(...), with recording off */
static int no_grad(lua_State *L)
{
    return call_recording(L, false);
}

/* enable_grad(fn, ...) -> the results of fn(...), with recording on, also inside no_grad */
static int enable_grad(lua_State *L)
{
    return call_recording(L, true);
}

/* grad_enabled() -> boolean; set_grad_enabled(on) -> what it was */
static int grad_enabled(lua_State *L)
{
    lua_pushboolean(L, la__grad_enabled());
    return 1;
}

static int set_grad_enabled(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    lua_pushboolean(L, la_grad_enable(lua_toboolean(L, 1)));
    return 1;
}

static const luaL_Reg functions[] = { { "scope", scope },
                                      { "keep", keep },
                                      { "no_grad", no_grad },
                                      { "enable_grad", enable_grad },
                                      { "grad_enabled", grad_enabled },
                                      { "set_grad_enabled", set_grad_enabled },
                                      { NULL, NULL } };

void la__lua_open_grad(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) { /* else the module is loaded again */
        scope_chain **s = lua_newuserdatauv(L, sizeof *s, 0);
        *s = NULL;
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    }
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}
