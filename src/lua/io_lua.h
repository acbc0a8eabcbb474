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

/* A picture (H, W, C), (1, H, W, C) or (H, W), C = 1 or 3, as a new canvas in a userdata that is left on the stack.
 * Numbers are rounded and clamped to 0..255. Messages name `what`. */
la_canvas *la__lua_to_canvas(lua_State *L, int index, const char *what);

#endif
