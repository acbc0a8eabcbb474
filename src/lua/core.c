/* SPDX-License-Identifier: MIT
 *
 * core.c -- the module lualign.core, on which the Lua files of lualign are built.
 */
#include <string.h>

#include "lua/lua_util.h"

int la__lua_raise(lua_State *L, int code)
{
    (void)code;
    luaL_where(L, 1);
    lua_pushstring(L, la_error());
    lua_concat(L, 2);
    return lua_error(L);
}

void la__lua_try(lua_State *L, int code)
{
    if (code < 0)
        la__lua_raise(L, code);
}

la_dtype la__lua_check_dtype(lua_State *L, int index, la_dtype fallback)
{
    static const char *const names[] = { "float32", "int32", "uint8", NULL };
    if (lua_isnoneornil(L, index))
        return fallback;
    return (la_dtype)luaL_checkoption(L, index, NULL, names);
}

LA_API int luaopen_lualign_core(lua_State *L)
{
    luaL_checkversion(L);
    lua_newtable(L);
    lua_pushstring(L, la_version());
    lua_setfield(L, -2, "version");
    la__lua_open_device(L); /* first: its state must outlive every tensor */
    la__lua_open_tensor(L);
    la__lua_open_grad(L);
    la__lua_open_fuse(L);
    la__lua_open_io(L);
    lua_setfield(L, -2, "io");
    return 1;
}
