/* SPDX-License-Identifier: MIT
 *
 * builds.c -- what was built, noted from within the device.
 */
#include "lua/builds.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* May come in the middle of any call: it raises nothing. */
void la__lua_note_build(void *payload, const la_build *b)
{
    la_builds *s = payload;
    if (s->show)
        s->show(NULL, b);
    if (!b->program)
        return;
    if (s->count == s->room) {
        const int room = s->room ? 2 * s->room : 32;
        la_built *more = realloc(s->list, (size_t)room * sizeof *more);
        if (!more)
            return;
        s->list = more;
        s->room = room;
    }
    s->list[s->count++] = (la_built){ copy(b->program), copy(b->options), copy(b->error), b->seconds };
}

void la__lua_free_builds(la_builds *builds)
{
    for (int i = 0; i < builds->count; i++) {
        free(builds->list[i].program);
        free(builds->list[i].options);
        free(builds->list[i].error);
    }
    free(builds->list);
    *builds = (la_builds){ 0 };
}

void la__lua_push_builds(lua_State *L, const la_builds *builds)
{
    lua_createtable(L, builds->count, 0);
    for (int i = 0; i < builds->count; i++) {
        const la_built *b = &builds->list[i];
        lua_createtable(L, 0, 4);
        lua_pushstring(L, b->program);
        lua_setfield(L, -2, "program");
        lua_pushstring(L, b->options);
        lua_setfield(L, -2, "options");
        lua_pushnumber(L, b->seconds);
        lua_setfield(L, -2, "seconds");
        lua_pushstring(L, b->error); /* nil for NULL */
        lua_setfield(L, -2, "error");
        lua_rawseti(L, -2, i + 1);
    }
}

int la__lua_programs(lua_State *L)
{
    const la_device *dev = la__lua_device(L);
    const char *field[3];
    int n = 0;
    while (la__device_program(dev, n, &field[0], &field[1], &field[2]))
        n++;
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        la__device_program(dev, n - 1 - i, &field[0], &field[1], &field[2]);
        lua_createtable(L, 3, 0);
        for (int k = 0; k < LA_COUNT(field); k++) {
            lua_pushstring(L, field[k]);
            lua_rawseti(L, -2, k + 1);
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

int la__lua_want(lua_State *L)
{
    la_device *dev = la__lua_device(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_Integer i = 1; lua_geti(L, 1, i) == LUA_TTABLE; i++) {
        for (int k = 1; k <= 3; k++)
            lua_rawgeti(L, 2, k);
        la__program_want(dev, luaL_checkstring(L, 3), luaL_optstring(L, 4, ""), luaL_optstring(L, 5, ""));
        lua_settop(L, 1);
    }
    return 0;
}
