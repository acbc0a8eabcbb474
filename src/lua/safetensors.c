/* SPDX-License-Identifier: MIT
 *
 * safetensors.c -- safetensors files in Lua; lua/lualign/io.lua gives them their convenient form.
 */
#include <string.h>

#include "lua/io_lua.h"

#define FILE_TYPE "lualign.safetensors"

static int file_close(lua_State *L)
{
    la_safetensors **file = luaL_checkudata(L, 1, FILE_TYPE);
    la_safetensors_close(*file);
    *file = NULL;
    return 0;
}

/* safetensors_load(path) -> { name = tensor }, { key = text }, list of names */
static int safetensors_load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *key, *value;
    la_safetensors **file = lua_newuserdatauv(L, sizeof *file, 0);
    *file = NULL;
    luaL_setmetatable(L, FILE_TYPE);
    la__lua_try(L, la_safetensors_open(file, path));
    la_device *dev = la__lua_device(L);
    const int n = la_safetensors_count(*file);
    lua_settop(L, 2);
    lua_createtable(L, 0, n);
    lua_newtable(L);
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushstring(L, la_safetensors_name(*file, i));
        lua_pushvalue(L, -1);
        lua_rawseti(L, 5, i + 1);
        la_box *b = la__lua_new_box(L);
        la__lua_try(L, la_safetensors_read(&b->t, *file, dev, i));
        lua_rawset(L, 3);
    }
    for (int i = 0; la_safetensors_text(*file, i, &key, &value); i++) {
        lua_pushstring(L, value);
        lua_setfield(L, 4, key);
    }
    la_safetensors_close(*file);
    *file = NULL;
    return 3;
}

/* The strings of a list, borrowed from it, in a userdata that is left on the stack. */
static const char **check_strings(lua_State *L, int index, int n, const char *what)
{
    const char **list = lua_newuserdatauv(L, (size_t)n * sizeof *list + 1, 0);
    for (int i = 0; i < n; i++) {
        if (lua_rawgeti(L, index, i + 1) != LUA_TSTRING)
            luaL_error(L, "save_safetensors: %s %d must be a string, got a %s", what, i + 1, luaL_typename(L, -1));
        list[i] = lua_tostring(L, -1);
        if (strlen(list[i]) != lua_rawlen(L, -1))
            luaL_error(L, "save_safetensors: %s '%s' has a NUL in it", what, list[i]);
        lua_pop(L, 1);
    }
    return list;
}

/* safetensors_save(path, names, tensors, keys, values): lists */
static int safetensors_save(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    for (int i = 2; i <= 5; i++)
        luaL_checktype(L, i, LUA_TTABLE);
    const int n = (int)lua_rawlen(L, 2), texts = (int)lua_rawlen(L, 4);
    const char **names = check_strings(L, 2, n, "name");
    const char **keys = check_strings(L, 4, texts, "metadata key");
    const char **values = check_strings(L, 5, texts, "metadata value");
    la_tensor **tensors = lua_newuserdatauv(L, (size_t)n * sizeof *tensors + 1, 0);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 3, i + 1);
        tensors[i] = la__lua_test_tensor(L, -1);
        if (!tensors[i])
            return luaL_error(L, "save_safetensors: '%s' must be a tensor, got a %s", names[i], luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    la__lua_try(L, la_safetensors_save(path, n, names, tensors, texts, keys, values));
    return 0;
}

/* elements(path, offset, type, shape) -> tensor: the elements from a byte of a file on, "F32", "I64", ... */
static int elements(lua_State *L)
{
    int64_t dim[LA_MAX_DIMS];
    const char *path = luaL_checkstring(L, 1), *type = luaL_checkstring(L, 3);
    const lua_Integer offset = luaL_checkinteger(L, 2);
    luaL_checktype(L, 4, LUA_TTABLE);
    const int ndim = (int)lua_rawlen(L, 4);
    if (ndim > LA_MAX_DIMS)
        return luaL_error(L, "elements: shape must have at most %d dimensions, got %d", LA_MAX_DIMS, ndim);
    for (int d = 0; d < ndim; d++) {
        lua_rawgeti(L, 4, d + 1);
        dim[d] = luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
    la_device *dev = la__lua_device(L);
    la_box *b = la__lua_new_box(L);
    la__lua_try(L, la_elements_read(&b->t, dev, path, offset, type, ndim, dim));
    return 1;
}

void la__lua_open_safetensors(lua_State *L)
{
    static const luaL_Reg functions[] = { { "safetensors_load", safetensors_load },
                                          { "safetensors_save", safetensors_save },
                                          { "elements", elements },
                                          { NULL, NULL } };
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, FILE_TYPE);
    lua_pushcfunction(L, file_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
