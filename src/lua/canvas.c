/* SPDX-License-Identifier: MIT
 *
 * canvas.c -- la.io.canvas: drawing on pixels in host memory. Coordinates are those of io/canvas.h: (0, 0) is the
 * centre of the top left pixel. Methods that draw return the canvas.
 *
 *   la.io.canvas(width, height, colour)      as many channels as the colour has numbers, 1 or 3
 *   la.io.canvas(picture)                    a tensor (H, W, 3), (H, W, 1) or (H, W)
 */
#include <math.h>

#include "lua/io_lua.h"

#define CANVAS_TYPE "lualign.canvas"

static la_canvas **new_box(lua_State *L)
{
    la_canvas **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, CANVAS_TYPE);
    return box;
}

static la_canvas *self(lua_State *L)
{
    return *(la_canvas **)luaL_checkudata(L, 1, CANVAS_TYPE);
}

const la_canvas *la__lua_test_canvas(lua_State *L, int index)
{
    la_canvas **box = luaL_testudata(L, index, CANVAS_TYPE);
    return box ? *box : NULL;
}

static int canvas_gc(lua_State *L)
{
    la__canvas_free(luaL_checkudata(L, 1, CANVAS_TYPE));
    return 0;
}

/* ---- arguments ---- */

static double check_finite(lua_State *L, int index)
{
    const double v = luaL_checknumber(L, index);
    luaL_argcheck(L, isfinite(v), index, "must be finite");
    return v;
}

static double check_alpha(lua_State *L, int index)
{
    const double v = luaL_optnumber(L, index, 1.0);
    luaL_argcheck(L, v >= 0.0 && v <= 1.0, index, "alpha must be between 0 and 1");
    return v;
}

/* A colour: a number, or a table of 1 or 3. Returns how many it gave. */
static int read_colour(lua_State *L, int index, double *colour)
{
    if (lua_type(L, index) == LUA_TNUMBER) {
        colour[0] = check_finite(L, index);
        return 1;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    const lua_Integer n = luaL_len(L, index);
    luaL_argcheck(L, n == 1 || n == 3, index, "a colour has 1 or 3 numbers");
    for (int k = 0; k < (int)n; k++) {
        lua_geti(L, index, k + 1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TNUMBER && isfinite(lua_tonumber(L, -1)), index,
                      "a colour has finite numbers");
        colour[k] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    return (int)n;
}

/* A colour for a canvas of `channels`: one number serves all of them. */
static void check_colour(lua_State *L, int index, double *colour, int channels)
{
    const int n = read_colour(L, index, colour);
    luaL_argcheck(L, n == 1 || n == channels, index, "a canvas of one channel takes one number as colour");
    for (int k = n; k < channels; k++)
        colour[k] = colour[0];
}

/* ---- from and to tensors ---- */

/* A picture as a new canvas in a userdata that is left on the stack. */
static la_canvas *to_canvas(lua_State *L, int index, const char *what)
{
    const la_tensor *t = la__lua_check_tensor(L, index);
    la_canvas **box = new_box(L);
    la__lua_try(L, la__canvas_from(box, t, what));
    return *box;
}

/* canvas(width, height, [colour]) or canvas(picture) */
static int canvas_new(lua_State *L)
{
    double colour[3] = { 0.0, 0.0, 0.0 };
    if (la__lua_test_tensor(L, 1)) {
        to_canvas(L, 1, "canvas");
        return 1;
    }
    const lua_Integer width = luaL_checkinteger(L, 1), height = luaL_checkinteger(L, 2);
    const int channels = lua_isnoneornil(L, 3) ? 3 : read_colour(L, 3, colour);
    if (width < 1 || height < 1 || width > LA_CANVAS_SIDE || height > LA_CANVAS_SIDE)
        return luaL_error(L, "canvas: width and height must be between 1 and %d, got %I and %I", LA_CANVAS_SIDE, width,
                          height);
    la_canvas **box = new_box(L);
    la__lua_try(L, la__canvas_new(box, (int)width, (int)height, channels, colour));
    return 1;
}

/* canvas:tensor() -> uint8 (H, W, channels) */
static int canvas_tensor(lua_State *L)
{
    const la_canvas *c = self(L);
    la_device *dev = la__lua_device(L);
    la_box *b = la__lua_new_box(L);
    la__lua_try(L, la_tensor_from(&b->t, dev, LA_U8, LA_DIMS(c->height, c->width, c->channels), c->pixels));
    return 1;
}

/* canvas:size() -> width, height, channels */
static int canvas_size(lua_State *L)
{
    const la_canvas *c = self(L);
    lua_pushinteger(L, c->width);
    lua_pushinteger(L, c->height);
    lua_pushinteger(L, c->channels);
    return 3;
}

/* canvas:bytes() -> the pixels as a string */
static int canvas_bytes(lua_State *L)
{
    const la_canvas *c = self(L);
    lua_pushlstring(L, (const char *)c->pixels, (size_t)c->width * (size_t)c->height * (size_t)c->channels);
    return 1;
}

/* canvas:get(x, y) -> one number a channel; whole pixels */
static int canvas_get(lua_State *L)
{
    const la_canvas *c = self(L);
    const lua_Integer x = luaL_checkinteger(L, 2), y = luaL_checkinteger(L, 3);
    luaL_argcheck(L, x >= 0 && x < c->width, 2, "x is outside the canvas");
    luaL_argcheck(L, y >= 0 && y < c->height, 3, "y is outside the canvas");
    const size_t at = ((size_t)y * (size_t)c->width + (size_t)x) * (size_t)c->channels;
    for (int k = 0; k < c->channels; k++)
        lua_pushinteger(L, c->pixels[at + (size_t)k]);
    return c->channels;
}

/* ---- drawing ---- */

/* canvas:polygon({x1, y1, x2, y2, ...}, colour, [alpha]) */
static int canvas_polygon(lua_State *L)
{
    la_canvas *c = self(L);
    double colour[3];
    luaL_checktype(L, 2, LUA_TTABLE);
    check_colour(L, 3, colour, c->channels);
    const double alpha = check_alpha(L, 4);
    const lua_Integer n = luaL_len(L, 2);
    luaL_argcheck(L, n % 2 == 0 && n <= 1 << 20, 2, "a polygon has an even count of numbers, x and y in turn");
    double *xy = lua_newuserdatauv(L, (size_t)n * sizeof *xy + 1, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_geti(L, 2, i + 1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TNUMBER, 2, "a polygon has numbers only");
        xy[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    la__lua_try(L, la__canvas_polygon(c, xy, (int)(n / 2), colour, alpha));
    lua_settop(L, 1);
    return 1;
}

/* canvas:ellipse(cx, cy, rx, ry, angle, colour, [alpha]) */
static int canvas_ellipse(lua_State *L)
{
    la_canvas *c = self(L);
    double v[5], colour[3];
    for (int i = 0; i < 5; i++)
        v[i] = check_finite(L, i + 2);
    check_colour(L, 7, colour, c->channels);
    la__lua_try(L, la__canvas_ellipse(c, v[0], v[1], v[2], v[3], v[4], colour, check_alpha(L, 8)));
    lua_settop(L, 1);
    return 1;
}

/* canvas:circle(cx, cy, radius, colour, [alpha]) */
static int canvas_circle(lua_State *L)
{
    la_canvas *c = self(L);
    double v[3], colour[3];
    for (int i = 0; i < 3; i++)
        v[i] = check_finite(L, i + 2);
    check_colour(L, 5, colour, c->channels);
    la__lua_try(L, la__canvas_ellipse(c, v[0], v[1], v[2], v[2], 0.0, colour, check_alpha(L, 6)));
    lua_settop(L, 1);
    return 1;
}

/* canvas:line(x1, y1, x2, y2, width, colour, [alpha]) */
static int canvas_line(lua_State *L)
{
    la_canvas *c = self(L);
    double v[5], colour[3];
    for (int i = 0; i < 5; i++)
        v[i] = check_finite(L, i + 2);
    check_colour(L, 7, colour, c->channels);
    la__lua_try(L, la__canvas_line(c, v[0], v[1], v[2], v[3], v[4], colour, check_alpha(L, 8)));
    lua_settop(L, 1);
    return 1;
}

/* canvas:gradient(from, to, [angle]) */
static int canvas_gradient(lua_State *L)
{
    la_canvas *c = self(L);
    double from[3], to[3];
    check_colour(L, 2, from, c->channels);
    check_colour(L, 3, to, c->channels);
    la__canvas_gradient(c, from, to, lua_isnoneornil(L, 4) ? 0.0 : check_finite(L, 4));
    lua_settop(L, 1);
    return 1;
}

/* canvas:noise(seed, amount, [scale]) */
static int canvas_noise(lua_State *L)
{
    la_canvas *c = self(L);
    const uint64_t seed = (uint64_t)luaL_checkinteger(L, 2);
    const double amount = check_finite(L, 3);
    la__canvas_noise(c, seed, amount, lua_isnoneornil(L, 4) ? 1.0 : check_finite(L, 4));
    lua_settop(L, 1);
    return 1;
}

/* canvas:text(x, y, text, colour, [scale]) */
static int canvas_text(lua_State *L)
{
    la_canvas *c = self(L);
    double colour[3];
    const double x = check_finite(L, 2), y = check_finite(L, 3);
    const char *text = luaL_checkstring(L, 4);
    check_colour(L, 5, colour, c->channels);
    la__canvas_text(c, x, y, text, colour, lua_isnoneornil(L, 6) ? 1.0 : check_finite(L, 6));
    lua_settop(L, 1);
    return 1;
}

/* text_size(text, [scale]) -> width, height in pixels */
static int text_size(lua_State *L)
{
    int width, height;
    la__canvas_text_size(&width, &height, luaL_checkstring(L, 1), lua_isnoneornil(L, 2) ? 1.0 : check_finite(L, 2));
    lua_pushinteger(L, width);
    lua_pushinteger(L, height);
    return 2;
}

/* canvas:paste(picture or canvas, [x, y, alpha]); whole pixels */
static int canvas_paste(lua_State *L)
{
    la_canvas *c = self(L);
    const lua_Integer x = luaL_optinteger(L, 3, 0), y = luaL_optinteger(L, 4, 0);
    const double alpha = check_alpha(L, 5);
    luaL_argcheck(L, x > -LA_CANVAS_SIDE && x < LA_CANVAS_SIDE, 3, "x is too far outside the canvas");
    luaL_argcheck(L, y > -LA_CANVAS_SIDE && y < LA_CANVAS_SIDE, 4, "y is too far outside the canvas");
    const la_canvas *other = la__lua_test_canvas(L, 2);
    la__canvas_paste(c, other ? other : to_canvas(L, 2, "paste"), (int)x, (int)y, alpha);
    lua_settop(L, 1);
    return 1;
}

static int canvas_tostring(lua_State *L)
{
    const la_canvas *c = self(L);
    lua_pushfstring(L, "canvas %d x %d, %d channels", c->width, c->height, c->channels);
    return 1;
}

void la__lua_open_canvas(lua_State *L)
{
    static const luaL_Reg meta[] = {
        { "__gc", canvas_gc }, { "__tostring", canvas_tostring }, { "__index", NULL }, { NULL, NULL }
    };
    static const luaL_Reg methods[] = { { "tensor", canvas_tensor },
                                        { "size", canvas_size },
                                        { "bytes", canvas_bytes },
                                        { "get", canvas_get },
                                        { "polygon", canvas_polygon },
                                        { "ellipse", canvas_ellipse },
                                        { "circle", canvas_circle },
                                        { "line", canvas_line },
                                        { "gradient", canvas_gradient },
                                        { "noise", canvas_noise },
                                        { "text", canvas_text },
                                        { "paste", canvas_paste },
                                        { NULL, NULL } };
    luaL_newmetatable(L, CANVAS_TYPE);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, canvas_new);
    lua_setfield(L, -2, "canvas");
    lua_pushcfunction(L, text_size);
    lua_setfield(L, -2, "text_size");
}
