/* SPDX-License-Identifier: MIT
 *
 * io_lua.h -- what the files that bind io share.
 */
#ifndef LA_IO_LUA_H
#define LA_IO_LUA_H

#include "io/canvas.h"
#include "lua/lua_util.h"

/* Each extends the table `io` at the top of the stack. */
void la__lua_open_canvas(lua_State *L);
void la__lua_open_image(lua_State *L);
void la__lua_open_safetensors(lua_State *L);
void la__lua_open_spawn(lua_State *L);

/* The canvas at a stack index, NULL if the value is none. */
const la_canvas *la__lua_test_canvas(lua_State *L, int index);

#endif
