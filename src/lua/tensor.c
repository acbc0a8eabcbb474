/* SPDX-License-Identifier: MIT
 *
 * tensor.c -- the tensor class in Lua: making, reading, fields, and those methods that are no ops.
 */
#include <stdlib.h>
#include <string.h>

#include "lua/lua_util.h"

la_tensor *la__lua_test_tensor(lua_State *L, int index)
{
    la_box *b = luaL_testudata(L, index, LA_TENSOR_TYPE);
    if (b && !b->t)
        luaL_error(L, "this tensor was released when its scope ended: return it from the scope, or la.keep it");
    return b ? b->t : NULL;
}

la_tensor *la__lua_check_tensor(lua_State *L, int index)
{
    la_tensor *t = la__lua_test_tensor(L, index);
    if (!t)
        luaL_typeerror(L, index, "tensor");
    return t;
}

/* ---- from and to Lua tables ---- */

/* The shape of a nested table: its first elements all the way down. */
static int table_shape(lua_State *L, int index, int64_t *dim)
{
    int ndim = 0;
    lua_pushvalue(L, index);
    while (lua_istable(L, -1)) {
        if (ndim == LA_MAX_DIMS)
            luaL_error(L, "tensor: tables nested deeper than %d", LA_MAX_DIMS);
        dim[ndim++] = luaL_len(L, -1);
        lua_geti(L, -1, 1);
        lua_remove(L, -2);
    }
    lua_pop(L, 1);
    return ndim;
}

static void put_number(lua_State *L, void *data, int64_t at, la_dtype dtype)
{
    if (lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "tensor: element %I is a %s, not a number", (lua_Integer)(at + 1), luaL_typename(L, -1));
    if (dtype == LA_F32) {
        ((float *)data)[at] = (float)lua_tonumber(L, -1);
        return;
    }
    int whole;
    const lua_Integer i = lua_tointegerx(L, -1, &whole);
    const lua_Integer low = dtype == LA_U8 ? 0 : INT32_MIN, high = dtype == LA_U8 ? 255 : INT32_MAX;
    if (!whole || i < low || i > high)
        luaL_error(L, "tensor: element %I does not fit %s", (lua_Integer)(at + 1), la_dtype_name(dtype));
    if (dtype == LA_U8)
        ((uint8_t *)data)[at] = (uint8_t)i;
    else
        ((int32_t *)data)[at] = (int32_t)i;
}

static void fill_from_table(lua_State *L, int depth, int ndim, const int64_t *dim, void *data, int64_t *at,
                            la_dtype dtype)
{
    if (depth == ndim) {
        put_number(L, data, (*at)++, dtype);
        return;
    }
    if (!lua_istable(L, -1) || luaL_len(L, -1) != dim[depth])
        luaL_error(L, "tensor: the table is ragged at level %d: expected %I elements there", depth + 1,
                   (lua_Integer)dim[depth]);
    luaL_checkstack(L, 4, "tensor");
    for (int64_t i = 1; i <= dim[depth]; i++) {
        lua_geti(L, -1, i);
        fill_from_table(L, depth + 1, ndim, dim, data, at, dtype);
        lua_pop(L, 1);
    }
}

/* tensor(value, [dtype]): a number or nested tables of numbers */
static int tensor_new(lua_State *L)
{
    int64_t dim[LA_MAX_DIMS], n = 1, at = 0;
    const la_dtype dtype = la__lua_check_dtype(L, 2, LA_F32);
    if (!lua_istable(L, 1))
        luaL_checknumber(L, 1);
    const int ndim = table_shape(L, 1, dim);
    la__lua_try(L, la__count(&n, ndim, dim));
    la_device *dev = la__lua_device(L);
    void *data = lua_newuserdatauv(L, (size_t)n * la_dtype_size(dtype) + 1, 0);
    lua_pushvalue(L, 1);
    if (n > 0)
        fill_from_table(L, 0, ndim, dim, data, &at, dtype);
    la_box *b = la__lua_new_box(L);
    la__lua_try(L, la_tensor_from(&b->t, dev, dtype, ndim, dim, data));
    return 1;
}

/* from_bytes(string, dtype, {shape}): raw little-endian elements, row-major */
static int tensor_from_bytes(lua_State *L)
{
    size_t bytes;
    int64_t dim[LA_MAX_DIMS], n = 1;
    const char *data = luaL_checklstring(L, 1, &bytes);
    const la_dtype dtype = la__lua_check_dtype(L, 2, LA_F32);
    luaL_checktype(L, 3, LUA_TTABLE);
    const lua_Integer ndim = luaL_len(L, 3);
    luaL_argcheck(L, ndim <= LA_MAX_DIMS, 3, "too many dimensions");
    for (int d = 0; d < ndim; d++) {
        lua_geti(L, 3, d + 1);
        dim[d] = luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
    la__lua_try(L, la__count(&n, (int)ndim, dim));
    if ((size_t)n * la_dtype_size(dtype) != bytes)
        return luaL_error(L, "from_bytes: the shape asks for %I bytes, got %I",
                          (lua_Integer)((size_t)n * la_dtype_size(dtype)), (lua_Integer)bytes);
    la_device *dev = la__lua_device(L);
    la_box *b = la__lua_new_box(L);
    la__lua_try(L, la_tensor_from(&b->t, dev, dtype, (int)ndim, dim, data));
    return 1;
}

/* The elements of t on the host, in a userdata that is left on the stack. */
static const void *read_to_host(lua_State *L, const la_tensor *t)
{
    void *data = lua_newuserdatauv(L, (size_t)la_tensor_numel(t) * la_dtype_size(t->dtype) + 1, 0);
    la__lua_try(L, la_tensor_read(t, data));
    return data;
}

static void push_number(lua_State *L, const void *data, int64_t at, la_dtype dtype)
{
    if (dtype == LA_F32)
        lua_pushnumber(L, (lua_Number)((const float *)data)[at]);
    else if (dtype == LA_I32)
        lua_pushinteger(L, ((const int32_t *)data)[at]);
    else
        lua_pushinteger(L, ((const uint8_t *)data)[at]);
}

static void push_table(lua_State *L, const la_tensor *t, int depth, const void *data, int64_t *at)
{
    if (depth == t->ndim) {
        push_number(L, data, (*at)++, t->dtype);
        return;
    }
    luaL_checkstack(L, 4, "totable");
    lua_createtable(L, (int)t->dim[depth], 0);
    for (int64_t i = 1; i <= t->dim[depth]; i++) {
        push_table(L, t, depth + 1, data, at);
        lua_rawseti(L, -2, i);
    }
}

/* t:totable() -> nested tables, or a number for a tensor without dimensions */
static int tensor_totable(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    int64_t at = 0;
    const void *data = read_to_host(L, t);
    push_table(L, t, 0, data, &at);
    return 1;
}

/* t:flat() -> one list of all elements, row-major */
static int tensor_flat(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    const int64_t n = la_tensor_numel(t);
    const void *data = read_to_host(L, t);
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        push_number(L, data, i, t->dtype);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* t:bytes() -> the elements as a string, little-endian, row-major */
static int tensor_bytes(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    const void *data = read_to_host(L, t);
    lua_pushlstring(L, data, (size_t)la_tensor_numel(t) * la_dtype_size(t->dtype));
    return 1;
}

/* t:item() -> the number in a tensor of one element */
static int tensor_item(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    char text[LA_SHAPE_TEXT];
    if (la_tensor_numel(t) != 1)
        return luaL_error(L, "item: needs a tensor of one element, got %s", la__shape(t, text));
    push_number(L, read_to_host(L, t), 0, t->dtype);
    return 1;
}

/* ---- shape and graph ---- */

/* t:shape() -> list of sizes; t:size() likewise; t:size(d) -> one size */
static int tensor_size(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    if (!lua_isnoneornil(L, 2)) {
        lua_Integer d = luaL_checkinteger(L, 2);
        d = d < 0 ? d + t->ndim + 1 : d;
        if (d < 1 || d > t->ndim)
            return luaL_error(L, "size: dimension %I of a tensor with %d", luaL_checkinteger(L, 2), t->ndim);
        lua_pushinteger(L, t->dim[d - 1]);
        return 1;
    }
    lua_createtable(L, t->ndim, 0);
    for (int d = 0; d < t->ndim; d++) {
        lua_pushinteger(L, t->dim[d]);
        lua_rawseti(L, -2, d + 1);
    }
    return 1;
}

static int tensor_dim(lua_State *L)
{
    lua_pushinteger(L, la__lua_check_tensor(L, 1)->ndim);
    return 1;
}

static int tensor_numel(lua_State *L)
{
    lua_pushinteger(L, la_tensor_numel(la__lua_check_tensor(L, 1)));
    return 1;
}

/* #t -> the size of the first dimension */
static int tensor_len(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    if (t->ndim == 0)
        return luaL_error(L, "#: the tensor has no dimensions");
    lua_pushinteger(L, t->dim[0]);
    return 1;
}

/* t:is_contiguous() */
static int tensor_is_contiguous(lua_State *L)
{
    lua_pushboolean(L, la__is_dense(la__lua_check_tensor(L, 1)));
    return 1;
}

/* Boxes that a script has lost sight of hold what backward would let go of on its way, which may be most of a step's
 * memory: collects them where that costs little beside the work that so much memory stands for. */
static void collect_lost(lua_State *L, const la_device *dev)
{
    const size_t heap = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024;
    if (la_device_memory(dev).used / 128 > heap)
        lua_gc(L, LUA_GCCOLLECT);
}

/* t:backward([gradient]) */
static int tensor_backward(lua_State *L)
{
    la_tensor *t = la__lua_check_tensor(L, 1);
    collect_lost(L, t->storage->dev);
    la__lua_try(L, la_backward(t, lua_isnoneornil(L, 2) ? NULL : la__lua_check_tensor(L, 2)));
    return 0;
}

/* t:detach() -> the same elements outside the graph */
static int tensor_detach(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    la_box *b = la__lua_new_box(L);
    la__lua_try(L, la__alias(&b->t, t));
    return 1;
}

/* t:clone() -> a dense copy outside the graph */
static int tensor_clone(lua_State *L)
{
    const la_tensor *t = la__lua_check_tensor(L, 1);
    la_box *b = la__lua_new_box(L);
    la__lua_try(L, la__clone(&b->t, t));
    return 1;
}

/* t:requires_grad_(on = true) -> t; leaves of float32 only */
static int tensor_requires_grad(lua_State *L)
{
    la_tensor *t = la__lua_check_tensor(L, 1);
    const bool on = lua_isnone(L, 2) || lua_toboolean(L, 2);
    if (t->dtype != LA_F32)
        return luaL_error(L, "requires_grad_: only float32 tensors have gradients, this one is %s",
                          la_dtype_name(t->dtype));
    if (t->node)
        return luaL_error(
            L, "requires_grad_: the tensor is a result; only leaves can be asked for a gradient (detach it first)");
    la_tensor_set_requires_grad(t, on);
    lua_settop(L, 1);
    return 1;
}

/* t:set_grad(g or nil) -> t */
static int tensor_set_grad(lua_State *L)
{
    la_tensor *t = la__lua_check_tensor(L, 1);
    la__lua_try(L, la_tensor_set_grad(t, lua_isnoneornil(L, 2) ? NULL : la__lua_check_tensor(L, 2)));
    lua_settop(L, 1);
    return 1;
}

/* t:write(string): overwrites all elements from raw bytes */
static int tensor_write(lua_State *L)
{
    size_t bytes;
    la_tensor *t = la__lua_check_tensor(L, 1);
    const char *data = luaL_checklstring(L, 2, &bytes);
    if (bytes != (size_t)la_tensor_numel(t) * la_dtype_size(t->dtype))
        return luaL_error(L, "write: the tensor holds %I bytes, got %I",
                          (lua_Integer)((size_t)la_tensor_numel(t) * la_dtype_size(t->dtype)), (lua_Integer)bytes);
    la__lua_try(L, la_tensor_write(t, data));
    lua_settop(L, 1);
    return 1;
}

/* t:same(u) -> whether both boxes hold the same tensor */
static int tensor_same(lua_State *L)
{
    lua_pushboolean(L, la__lua_check_tensor(L, 1) == la__lua_check_tensor(L, 2));
    return 1;
}

/* Pushes element i (1-based, or negative) of the first dimension. */
static int push_element(lua_State *L, lua_Integer i)
{
    if (i == 0)
        return luaL_error(L, "index: elements count from 1 (or from -1 backwards), got 0");
    lua_getfield(L, lua_upvalueindex(1), "select");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 1);
    lua_pushinteger(L, i);
    lua_call(L, 3, 1);
    return 1;
}

/* t.grad, t.dtype, t.requires_grad, t[i], t:method(); upvalue 1: the methods */
static int tensor_index(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING) {
        const char *name = lua_tostring(L, 2);
        lua_pushvalue(L, 2);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
            return 1;
        la_tensor *t = la__lua_check_tensor(L, 1);
        if (strcmp(name, "grad") == 0) {
            if (!t->grad)
                return 1; /* the nil above */
            la__lua_push_tensor(L, la_tensor_retain(t->grad));
        } else if (strcmp(name, "dtype") == 0) {
            lua_pushstring(L, la_dtype_name(t->dtype));
        } else if (strcmp(name, "requires_grad") == 0) {
            lua_pushboolean(L, la_tensor_requires_grad(t));
        } else if (strcmp(name, "is_leaf") == 0) {
            lua_pushboolean(L, t->node == NULL);
        }
        return 1;
    }
    return push_element(L, luaL_checkinteger(L, 2));
}

/* t.grad = g or nil; t[i] = number or tensor */
static int tensor_newindex(lua_State *L)
{
    la_tensor *t = la__lua_check_tensor(L, 1);
    if (lua_type(L, 2) == LUA_TSTRING) {
        if (strcmp(lua_tostring(L, 2), "grad") != 0)
            return luaL_error(L, "a tensor has no field '%s' that can be set", lua_tostring(L, 2));
        la__lua_try(L, la_tensor_set_grad(t, lua_isnil(L, 3) ? NULL : la__lua_check_tensor(L, 3)));
        return 0;
    }
    if (la__grad_enabled() && (t->node || t->requires_grad))
        return luaL_error(
            L, "index: writes in place to a tensor that is part of a gradient graph; use la.no_grad or a copy");
    la_box *element = NULL;
    lua_Integer i = luaL_checkinteger(L, 2);
    la_tensor *source = la__lua_test_tensor(L, 3);
    const lua_Number number = source ? 0 : luaL_checknumber(L, 3);
    element = la__lua_new_box(L);
    la__lua_try(L, la__view_select(&element->t, t, 0, i > 0 ? i - 1 : i == 0 ? INT32_MAX : i, "index"));
    la__lua_try(L, source ? la__copy(element->t, source) : la__fill(element->t, number));
    la_tensor_release(&element->t);
    return 0;
}

static const luaL_Reg methods[] = { { "totable", tensor_totable },
                                    { "flat", tensor_flat },
                                    { "bytes", tensor_bytes },
                                    { "item", tensor_item },
                                    { "shape", tensor_size },
                                    { "size", tensor_size },
                                    { "dim", tensor_dim },
                                    { "numel", tensor_numel },
                                    { "is_contiguous", tensor_is_contiguous },
                                    { "backward", tensor_backward },
                                    { "detach", tensor_detach },
                                    { "clone", tensor_clone },
                                    { "requires_grad_", tensor_requires_grad },
                                    { "set_grad", tensor_set_grad },
                                    { "write", tensor_write },
                                    { "same", tensor_same },
                                    { "release", la__lua_box_release },
                                    { NULL, NULL } };

/* is_tensor(value) */
static int is_tensor(lua_State *L)
{
    lua_pushboolean(L, luaL_testudata(L, 1, LA_TENSOR_TYPE) != NULL);
    return 1;
}

/* is_alive(tensor): false once its scope has emptied it */
static int is_alive(lua_State *L)
{
    const la_box *b = luaL_checkudata(L, 1, LA_TENSOR_TYPE);
    lua_pushboolean(L, b->t != NULL);
    return 1;
}

/* set_tostring(fn): what tostring and print use for tensors */
static int set_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_getmetatable(L, LA_TENSOR_TYPE);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "__tostring");
    return 0;
}

static const luaL_Reg functions[] = { { "tensor", tensor_new },         { "from_bytes", tensor_from_bytes },
                                      { "is_tensor", is_tensor },       { "is_alive", is_alive },
                                      { "set_tostring", set_tostring }, { NULL, NULL } };

void la__lua_open_tensor(lua_State *L)
{
    luaL_newmetatable(L, LA_TENSOR_TYPE);
    lua_pushcfunction(L, la__lua_box_release);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, la__lua_box_release);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, tensor_len);
    lua_setfield(L, -2, "__len");
    lua_newtable(L); /* the methods: functions that are no ops, then every op that takes a tensor */
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "methods");
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, tensor_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcfunction(L, tensor_newindex);
    lua_setfield(L, -3, "__newindex");
    lua_remove(L, -2); /* the metatable */
    lua_insert(L, -2); /* methods below the module */
    luaL_setfuncs(L, functions, 0);
    la__lua_open_ops(L);
    lua_remove(L, -2);
}
