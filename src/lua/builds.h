/* SPDX-License-Identifier: MIT
 *
 * builds.h -- a log of the programs that the devices of a Lua state have built.
 */
#ifndef LA_LUA_BUILDS_H
#define LA_LUA_BUILDS_H

#include "lua/lua_util.h"

typedef struct la_built {
    char *program, *options, *error; /* error: NULL if it built */
    double seconds;
} la_built;

typedef struct la_builds {
    la_built *list;
    int count, room;
    la_build_fn show; /* called besides, NULL if nobody wants it */
} la_builds;

/* A listener of la_device_on_build; the payload is a la_builds, all zero at first. */
void la__lua_note_build(void *payload, const la_build *b);
void la__lua_free_builds(la_builds *builds);

/* device.programs() and device.want(list) of Lua, see builtin.lua */
int la__lua_programs(lua_State *L);
int la__lua_want(lua_State *L);

/* Pushes { { program=, options=, seconds=, error= }, ... }. */
void la__lua_push_builds(lua_State *L, const la_builds *builds);

#endif
