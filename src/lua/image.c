/* SPDX-License-Identifier: MIT
 *
 * image.c -- pictures in Lua: reading, writing, and the loader, which decodes ahead. Their options are one table:
 *
 *   upright   turn the picture as the EXIF data of a JPEG say, before all else; else pixels stay as they are stored
 *   size      side, or { height, width }, to resize to
 *   filter    "bilinear" (between four pixels, corners aligned) or "antialias" (a triangle, pixel centres at halves)
 *   crop      { top =, bottom =, left =, right = }: rows top to bottom - 1, counted from 0
 *   flip      mirror left and right, before the resizing
 */
#include <string.h>

#include "io/picture.h"
#include "lua/io_lua.h"
#include "util/util.h"

#define LOADER_TYPE "lualign.loader"

/* ---- options ---- */

/* Fails on a key that is not among the n names. */
static void check_keys(lua_State *L, int index, const char *fname, const char *const *names, int n)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        bool known = false;
        for (int i = 0; key && i < n; i++)
            known = known || strcmp(key, names[i]) == 0;
        if (!key)
            luaL_error(L, "%s: options must have names, got a %s as key", fname, luaL_typename(L, -2));
        const char *nearest = known ? NULL : la__nearest(key, names, n);
        if (nearest)
            luaL_error(L, "%s: unknown option '%s', did you mean '%s'?", fname, key, nearest);
        if (!known)
            luaL_error(L, "%s: unknown option '%s'", fname, key);
    }
}

/* The whole number at the top of the stack, popped. */
static int pop_int(lua_State *L, const char *fname, const char *name)
{
    int ok;
    const lua_Integer v = lua_tointegerx(L, -1, &ok);
    if (!ok || lua_type(L, -1) != LUA_TNUMBER || v < INT32_MIN || v > INT32_MAX)
        luaL_error(L, "%s: %s must be a whole number, got %s", fname, name, luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
    return (int)v;
}

static void read_size(lua_State *L, int index, const char *fname, la_image_options *o)
{
    if (lua_getfield(L, index, "size") == LUA_TTABLE) {
        if (luaL_len(L, -1) != 2)
            luaL_error(L, "%s: size must be a side or { height, width }, got %I numbers", fname, luaL_len(L, -1));
        lua_geti(L, -1, 1);
        o->height = pop_int(L, fname, "size[1]");
        lua_geti(L, -1, 2);
        o->width = pop_int(L, fname, "size[2]");
        lua_pop(L, 1);
    } else if (!lua_isnil(L, -1)) {
        o->height = o->width = pop_int(L, fname, "size");
    } else {
        lua_pop(L, 1);
        return;
    }
    if (o->height < 1 || o->width < 1)
        luaL_error(L, "%s: size must be positive, got %d x %d", fname, o->height, o->width);
}

static void read_crop(lua_State *L, int index, const char *fname, la_image_options *o)
{
    static const char *const names[] = { "top", "bottom", "left", "right" };
    int *const place[] = { &o->top, &o->bottom, &o->left, &o->right };
    if (lua_getfield(L, index, "crop") != LUA_TNIL) {
        if (!lua_istable(L, -1))
            luaL_error(L, "%s: crop must be { top =, bottom =, left =, right = }, got a %s", fname,
                       luaL_typename(L, -1));
        const int table = lua_gettop(L);
        check_keys(L, table, fname, names, LA_COUNT(names));
        for (int i = 0; i < LA_COUNT(names); i++) {
            lua_getfield(L, table, names[i]);
            *place[i] = pop_int(L, fname, names[i]);
        }
        o->crop = true;
    }
    lua_pop(L, 1);
}

static void read_filter(lua_State *L, int index, const char *fname, la_image_options *o)
{
    if (lua_getfield(L, index, "filter") != LUA_TNIL) {
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        o->antialias = strcmp(name, "antialias") == 0;
        if (!o->antialias && strcmp(name, "bilinear") != 0)
            luaL_error(L, "%s: filter must be 'bilinear' or 'antialias', got %s", fname, luaL_tolstring(L, -1, NULL));
    }
    lua_pop(L, 1);
}

static la_image_options check_options(lua_State *L, int index, const char *fname)
{
    static const char *const names[] = { "size", "filter", "crop", "flip", "upright" };
    la_image_options o = { 0 };
    if (lua_isnoneornil(L, index))
        return o;
    if (!lua_istable(L, index))
        luaL_error(L, "%s: options must be a table, got a %s", fname, luaL_typename(L, index));
    check_keys(L, index, fname, names, LA_COUNT(names));
    read_size(L, index, fname, &o);
    read_crop(L, index, fname, &o);
    read_filter(L, index, fname, &o);
    lua_getfield(L, index, "flip");
    o.flip = lua_toboolean(L, -1);
    lua_getfield(L, index, "upright");
    o.upright = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return o;
}

/* ---- files ---- */

/* image_load(path, [options]) -> (H, W, 3): uint8, or float32 of 0..255 if resized */
static int image_load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    const la_image_options o = check_options(L, 2, "image.load");
    la_device *dev = la__lua_device(L);
    la_box *b = la__lua_new_box(L);
    la__lua_try(L, la_image_load(&b->t, dev, path, &o));
    return 1;
}

/* image_info(path) -> width, height */
static int image_info(lua_State *L)
{
    int width, height;
    la__lua_try(L, la_image_info(&width, &height, luaL_checkstring(L, 1)));
    lua_pushinteger(L, width);
    lua_pushinteger(L, height);
    return 2;
}

/* image_save(path, picture or canvas, [{ quality = 92 }]) */
static int image_save(lua_State *L)
{
    static const char *const names[] = { "quality" };
    int quality = 92;
    const char *path = luaL_checkstring(L, 1);
    const la_canvas *c = la__lua_test_canvas(L, 2);
    const la_tensor *t = c ? NULL : la__lua_check_tensor(L, 2);
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        check_keys(L, 3, "image.save", names, LA_COUNT(names));
        if (lua_getfield(L, 3, "quality") != LUA_TNIL)
            quality = pop_int(L, "image.save", "quality");
    }
    la__lua_try(L, c ? la__encode(path, c->width, c->height, c->channels, c->pixels, quality)
                     : la_image_save(t, path, quality));
    return 0;
}

/* ---- the loader ---- */

/* Its user value is a table of tags by the number of the submission. */
typedef struct loader_box {
    la_loader *loader; /* NULL: closed */
    lua_Integer submitted, taken;
} loader_box;

static loader_box *check_loader(lua_State *L)
{
    loader_box *b = luaL_checkudata(L, 1, LOADER_TYPE);
    if (!b->loader)
        luaL_error(L, "loader: is closed");
    return b;
}

/* loader { threads = 2, ahead = 64 } */
static int loader_new(lua_State *L)
{
    static const char *const names[] = { "threads", "ahead" };
    int value[] = { 2, 64 };
    if (!lua_isnoneornil(L, 1)) {
        luaL_checktype(L, 1, LUA_TTABLE);
        check_keys(L, 1, "loader", names, LA_COUNT(names));
        for (int i = 0; i < LA_COUNT(names); i++) {
            if (lua_getfield(L, 1, names[i]) != LUA_TNIL)
                value[i] = pop_int(L, "loader", names[i]);
            else
                lua_pop(L, 1);
        }
    }
    loader_box *b = lua_newuserdatauv(L, sizeof *b, 1);
    *b = (loader_box){ 0 };
    luaL_setmetatable(L, LOADER_TYPE);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    la__lua_try(L, la__loader_open(&b->loader, value[0], value[1]));
    return 1;
}

/* loader:submit(path, [options, tag]) */
static int loader_submit(lua_State *L)
{
    loader_box *b = check_loader(L);
    const char *path = luaL_checkstring(L, 2);
    const la_image_options o = check_options(L, 3, "loader");
    lua_settop(L, 4);
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 4);
    lua_rawseti(L, -2, b->submitted + 1);
    la__lua_try(L, la__loader_submit(b->loader, path, &o));
    b->submitted++;
    return 0;
}

/* Pushes the tag of the next one to be taken, and forgets it. */
static void pop_tag(lua_State *L, loader_box *b)
{
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, ++b->taken);
    lua_pushnil(L);
    lua_rawseti(L, -3, b->taken);
    lua_remove(L, -2);
}

/* loader:next() -> picture (h, w, 3) float32, tag; nil if nothing is left */
static int loader_next(lua_State *L)
{
    loader_box *b = check_loader(L);
    if (b->taken == b->submitted) {
        lua_pushnil(L);
        return 1;
    }
    la_device *dev = la__lua_device(L);
    la_box *t = la__lua_new_box(L);
    pop_tag(L, b);
    la__lua_try(L, la__loader_next(&t->t, b->loader, dev));
    return 2;
}

/* loader:batch(n) -> pictures (n, h, w, 3) float32, list of their tags */
static int loader_batch(lua_State *L)
{
    loader_box *b = check_loader(L);
    const lua_Integer n = luaL_checkinteger(L, 2);
    if (n < 1 || n > b->submitted - b->taken)
        return luaL_error(L, "loader: batch of %I asked for, %I pictures were submitted and not taken", n,
                          b->submitted - b->taken);
    la_device *dev = la__lua_device(L);
    la_box *t = la__lua_new_box(L);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        pop_tag(L, b);
        lua_rawseti(L, -2, i);
    }
    la__lua_try(L, la__loader_batch(&t->t, b->loader, dev, (int)n));
    return 2;
}

/* loader:pending() -> how many were submitted and not taken */
static int loader_pending(lua_State *L)
{
    const loader_box *b = check_loader(L);
    lua_pushinteger(L, b->submitted - b->taken);
    return 1;
}

/* loader:close(), __gc, __close: joins the threads */
static int loader_close(lua_State *L)
{
    loader_box *b = luaL_checkudata(L, 1, LOADER_TYPE);
    la_loader *l = b->loader;
    b->loader = NULL;
    la__loader_close(l);
    return 0;
}

void la__lua_open_image(lua_State *L)
{
    static const luaL_Reg functions[] = { { "image_load", image_load },
                                          { "image_info", image_info },
                                          { "image_save", image_save },
                                          { "loader", loader_new },
                                          { NULL, NULL } };
    static const luaL_Reg meta[] = { { "__gc", loader_close }, { "__close", loader_close }, { NULL, NULL } };
    static const luaL_Reg methods[] = { { "submit", loader_submit }, { "next", loader_next },
                                        { "batch", loader_batch },   { "pending", loader_pending },
                                        { "close", loader_close },   { NULL, NULL } };
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, LOADER_TYPE);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
