/* SPDX-License-Identifier: MIT
 *
 * fuse.c -- la.fuse: a function that computes an expression by one kernel.
 */
#include <string.h>

#include "lua/lua_util.h"
#include "ops/expr.h"

#define OP_TYPE "lualign.fused"

static int release_op(lua_State *L)
{
    la_fuse_release(luaL_checkudata(L, 1, OP_TYPE));
    return 0;
}

/* The list of names at index 2, borrowed from the table; how many. */
static int read_names(lua_State *L, const char **names)
{
    if (lua_isnoneornil(L, 2))
        return 0;
    if (!lua_istable(L, 2))
        return luaL_error(L, "fuse: names must be a list of strings, got %s", luaL_typename(L, 2));
    const lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    if (n < 1 || n > LA_EXPR_OPERANDS)
        return luaL_error(L, "fuse: names must hold 1 to %d strings, got %I", LA_EXPR_OPERANDS, n);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 2, i) != LUA_TSTRING)
            return luaL_error(L, "fuse: names must be strings, name %I is a %s", i, luaL_typename(L, -1));
        names[i - 1] = lua_tostring(L, -1);
        if (strlen(names[i - 1]) != lua_rawlen(L, -1))
            return luaL_error(L, "fuse: name %I holds a byte 0", i);
        lua_pop(L, 1);
    }
    return (int)n;
}

/* fuse("max(x * s + b, 0)"[, names]) -> fn(x, s, b); fn keeps the op that it calls */
static int fuse(lua_State *L)
{
    const char *names[LA_EXPR_OPERANDS];
    size_t length;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "fuse: the expression must be a string, got %s", luaL_typename(L, 1));
    const char *text = lua_tolstring(L, 1, &length);
    if (strlen(text) != length)
        return luaL_error(L, "fuse: a byte 0 at column %I of the expression", (lua_Integer)strlen(text) + 1);
    if (lua_gettop(L) > 2)
        return luaL_error(L, "fuse: too many arguments (%d)", lua_gettop(L));
    const int n = read_names(L, names);
    const la_op **op = lua_newuserdatauv(L, sizeof *op, 0);
    *op = NULL;
    luaL_setmetatable(L, OP_TYPE);
    la__lua_try(L, la_fuse(op, text, n, names));
    lua_pushlightuserdata(L, (void *)(uintptr_t)*op); /* read-only data: the cast drops const for Lua's sake */
    lua_insert(L, -2);
    lua_pushcclosure(L, la__lua_call_op, 2);
    return 1;
}

void la__lua_open_fuse(lua_State *L)
{
    luaL_newmetatable(L, OP_TYPE);
    lua_pushcfunction(L, release_op);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, fuse);
    lua_setfield(L, -2, "fuse");
}
