/* SPDX-License-Identifier: MIT
 *
 * io.c -- the table la.io: files, JSON, pictures, canvases. lua/lualign/io.lua adds what needs no C.
 */
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "io/json.h"
#include "lua/io_lua.h"
#include "util/util.h"

#define JSON_TYPE "lualign.json"
#define BLOCK_TYPE "lualign.block"

/* ---- files ---- */

/* A pointer that free() gets when Lua has no more use for the userdata. */
static int block_free(lua_State *L)
{
    void **block = luaL_checkudata(L, 1, BLOCK_TYPE);
    free(*block);
    *block = NULL;
    return 0;
}

/* read_file(path) -> its bytes */
static int read_file(lua_State *L)
{
    size_t bytes = 0;
    const char *path = luaL_checkstring(L, 1);
    void **block = lua_newuserdatauv(L, sizeof *block, 0);
    *block = NULL;
    luaL_setmetatable(L, BLOCK_TYPE);
    la__lua_try(L, la__read_file(block, &bytes, path));
    lua_pushlstring(L, *block, bytes);
    free(*block);
    *block = NULL;
    return 1;
}

/* write_file(path, bytes): whole or not at all */
static int write_file(lua_State *L)
{
    size_t bytes;
    const char *path = luaL_checkstring(L, 1), *data = luaL_checklstring(L, 2, &bytes);
    la__lua_try(L, la__write_file(path, data, bytes));
    return 0;
}

/* mkdirs(path): the folder and its parents */
static int mkdirs(lua_State *L)
{
    la__lua_try(L, la__mkdirs(luaL_checkstring(L, 1)));
    return 0;
}

/* exists(path) -> "file", "folder" or "other"; nil if there is nothing */
static int exists(lua_State *L)
{
    struct stat st;
    if (stat(luaL_checkstring(L, 1), &st) != 0)
        lua_pushnil(L);
    else
        lua_pushstring(L, S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "folder" : "other");
    return 1;
}

/* ---- JSON ---- */

static int json_free(lua_State *L)
{
    la__json_free(luaL_checkudata(L, 1, JSON_TYPE));
    return 0;
}

static void push_value(lua_State *L, const la_json *json, const char *what);

static void push_array(lua_State *L, const la_json *json, const char *what)
{
    lua_Integer n = 0;
    lua_newtable(L);
    for (const la_json *m = la__json_first(json); m; m = la__json_next(m)) {
        push_value(L, m, what);
        lua_rawseti(L, -2, ++n);
    }
    if (n == 0 && lua_istable(L, 3)) { /* what tells it from an empty object */
        lua_pushvalue(L, 3);
        lua_setmetatable(L, -2);
    }
}

static void push_object(lua_State *L, const la_json *json, const char *what)
{
    lua_newtable(L);
    for (const la_json *m = la__json_first(json); m; m = la__json_next(m)) {
        lua_pushstring(L, la__json_key(m));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL)
            luaL_error(L, "%s: the JSON has '%s' twice in one object", what, la__json_key(m));
        lua_pop(L, 1);
        push_value(L, m, what);
        lua_rawset(L, -3);
    }
}

/* Whole numbers up to 2^53 become integers. */
static void push_value(lua_State *L, const la_json *json, const char *what)
{
    luaL_checkstack(L, 6, "JSON");
    switch (la__json_kind(json)) {
    case LA_JSON_NULL: lua_pushlightuserdata(L, NULL); break;
    case LA_JSON_FALSE: lua_pushboolean(L, 0); break;
    case LA_JSON_TRUE: lua_pushboolean(L, 1); break;
    case LA_JSON_STRING: lua_pushstring(L, la__json_string(json)); break;
    case LA_JSON_ARRAY: push_array(L, json, what); break;
    case LA_JSON_OBJECT: push_object(L, json, what); break;
    case LA_JSON_NUMBER: {
        const double v = la__json_number(json);
        if (v == floor(v) && fabs(v) <= 0x1p53)
            lua_pushinteger(L, (lua_Integer)v);
        else
            lua_pushnumber(L, v);
        break;
    }
    }
}

/* json_parse(text, what, metatable of empty arrays) -> value; messages start with `what` */
static int json_parse(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n), *what = luaL_checkstring(L, 2);
    lua_settop(L, 3);
    la_json **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, JSON_TYPE);
    la__lua_try(L, la__json_parse(box, text, n, what));
    push_value(L, *box, what);
    la__json_free(box);
    return 1;
}

static void free_by(lua_State *L, const char *type, lua_CFunction gc)
{
    luaL_newmetatable(L, type);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int la__lua_open_io(lua_State *L)
{
    static const luaL_Reg functions[] = { { "read_file", read_file },   { "write_file", write_file },
                                          { "mkdirs", mkdirs },         { "exists", exists },
                                          { "json_parse", json_parse }, { NULL, NULL } };
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    free_by(L, BLOCK_TYPE, block_free);
    free_by(L, JSON_TYPE, json_free);
    la__lua_open_canvas(L);
    la__lua_open_image(L);
    la__lua_open_safetensors(L);
    la__lua_open_spawn(L);
    return 1;
}
