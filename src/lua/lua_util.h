/* SPDX-License-Identifier: MIT
 *
 * lua_util.h -- what the binding files share. Only src/lua and src/cli include lua.h.
 *
 * A tensor in Lua is a box: a userdata with one reference to a la_tensor. Order inside a binding: check every argument
 * (which may jump while nothing is owned), push an empty box, let the core fill it, raise on a negative code.
 */
#ifndef LA_LUA_UTIL_H
#define LA_LUA_UTIL_H

#include <lauxlib.h>
#include <lua.h>

#include "grad/grad.h"

#define LA_TENSOR_TYPE "lualign.tensor"

/* While a scope is open, new boxes are chained to it, so that they can be emptied when it closes. */
typedef struct la_box {
    la_tensor *t; /* NULL: not filled yet, or emptied by its scope */
    struct la_box *next, *previous;
} la_box;

/* Pushes an empty box, chained to the open scope. */
la_box *la__lua_new_box(lua_State *L);

/* Pushes a box that takes over one reference. */
void la__lua_push_tensor(lua_State *L, la_tensor *t);

/* Empties the box at index 1: its __gc and __close. */
int la__lua_box_release(lua_State *L);

/* The tensor at a stack index, borrowed; raises an error that names the argument, also when the box was emptied. */
la_tensor *la__lua_check_tensor(lua_State *L, int index);

/* The same, but NULL if the value is no tensor. */
la_tensor *la__lua_test_tensor(lua_State *L, int index);

/* The current device, opened when first needed; raises if there is none. */
la_device *la__lua_device(lua_State *L);

/* Shows how far the building of programs is, on all devices of this state. */
void la__lua_show_builds(lua_State *L, la_build_fn fn);

/* Raises la_error() if code is negative. */
void la__lua_try(lua_State *L, int code);

/* Raises la_error(), with the position of the Lua code that called. */
int la__lua_raise(lua_State *L, int code);

/* "float32", "int32", "uint8" at index; `fallback` if none or nil. */
la_dtype la__lua_check_dtype(lua_State *L, int index, la_dtype fallback);

/* Calls the op whose descriptor is upvalue 1, as a light userdata. */
int la__lua_call_op(lua_State *L);

/* Each pushes or extends the table of the core module at the top of the stack. */
void la__lua_open_tensor(lua_State *L); /* the tensor class and its constructors */
void la__lua_open_ops(lua_State *L);    /* every op, into the module and the methods at index -2 */
void la__lua_open_grad(lua_State *L);   /* no_grad, scope, keep */
void la__lua_open_fuse(lua_State *L);   /* fuse */
void la__lua_open_device(lua_State *L); /* the table `device` */
int la__lua_open_io(lua_State *L);      /* pushes the table `io` */

int luaopen_lualign_core(lua_State *L);

#endif
