/* SPDX-License-Identifier: MIT
 *
 * io.c -- the table la.io: files and pictures.
 */
#include "lua/io_lua.h"

int la__lua_open_io(lua_State *L)
{
    lua_newtable(L);
    la__lua_open_canvas(L);
    return 1;
}
