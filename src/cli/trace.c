/* SPDX-License-Identifier: MIT
 *
 * trace.c -- error messages in which only the user's own files appear: positions and frames in lualign's files, in C
 * and in packaged scripts are left out. LUALIGN_TRACE=1 shows everything.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { MOST_FRAMES = 20 };

static bool packaged;

void la__trace_packaged(bool on)
{
    packaged = on;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Whether `path` lies in `folder`. Lua shortens long names to "...tail": then it counts as inside if `folder` holds a
 * file of that name after the last `mark`. */
static bool inside(const char *path, const char *folder, const char *mark)
{
    char probe[2 * LA_CLI_PATH];
    const char *rest = NULL;
    if (starts_with(path, folder))
        return true;
    if (!starts_with(path, "..."))
        return false;
    for (const char *at = strstr(path, mark); at; at = strstr(at + 1, mark))
        rest = at + strlen(mark);
    if (!rest)
        return false;
    snprintf(probe, sizeof probe, "%s%s", folder, rest);
    return access(probe, R_OK) == 0;
}

/* Whether a file is lualign's: of the library, or, while one runs, a packaged script. */
static bool is_ours(const char *path)
{
    char folder[LA_CLI_PATH + 16];
    snprintf(folder, sizeof folder, "%s/lualign/", la__cli_paths()->lua);
    if (inside(path, folder, "/lualign/"))
        return true;
    snprintf(folder, sizeof folder, "%s/", la__cli_paths()->scripts);
    return packaged && inside(path, folder, "/scripts/");
}

/* The length of "file:12: " at the start of a message if the file is ours, else 0. */
static size_t our_position(const char *message)
{
    char path[256];
    const char *colon = strstr(message, ".lua:");
    if (!colon || (size_t)(colon - message) + 5 > sizeof path)
        return 0;
    const size_t length = (size_t)(colon - message) + 4;
    memcpy(path, message, length);
    path[length] = '\0';
    const char *at = message + length + 1;
    if (!isdigit((unsigned char)*at))
        return 0;
    while (isdigit((unsigned char)*at))
        at++;
    return starts_with(at, ": ") && is_ours(path) ? (size_t)(at + 2 - message) : 0;
}

static bool is_users(const lua_Debug *ar)
{
    return strcmp(ar->what, "C") != 0 && !(ar->source[0] == '@' && is_ours(ar->source + 1));
}

static void push_frame(lua_State *L, const lua_Debug *ar)
{
    lua_pushfstring(L, "\n\t%s:%d: in ", ar->short_src, ar->currentline);
    if (strcmp(ar->what, "main") == 0)
        lua_pushliteral(L, "main chunk");
    else if (ar->name)
        lua_pushfstring(L, "%s '%s'", ar->namewhat, ar->name);
    else
        lua_pushfstring(L, "function <%s:%d>", ar->short_src, ar->linedefined);
    lua_concat(L, 2);
}

/* Appends the user's frames to the text at the top, if there are at least two; *where is the innermost one. */
static void append_frames(lua_State *L, char *where, size_t size)
{
    lua_Debug ar;
    int frames = 0;
    lua_pushliteral(L, "\nstack traceback:");
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sln", &ar);
        if (!is_users(&ar))
            continue;
        if (frames++ == 0)
            snprintf(where, size, "%s:%d: ", ar.short_src, ar.currentline);
        if (frames <= MOST_FRAMES)
            push_frame(L, &ar);
        else if (frames == MOST_FRAMES + 1)
            lua_pushliteral(L, "\n\t...");
        else
            continue;
        lua_concat(L, 2);
    }
    if (frames < 2) {
        lua_pop(L, 1);
        lua_pushliteral(L, "");
    }
}

static const char *text_of(lua_State *L)
{
    if (lua_isstring(L, 1) || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
        lua_settop(L, 1);
        return luaL_tolstring(L, 1, NULL);
    }
    return lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
}

int la__trace(lua_State *L)
{
    char where[LUA_IDSIZE + 32] = "";
    const char *all = getenv("LUALIGN_TRACE");

    if (lua_istable(L, 1) && lua_getfield(L, 1, "exit_status") != LUA_TNIL) {
        lua_settop(L, 1);
        return 1;
    }
    lua_settop(L, 1);
    const char *text = text_of(L);
    if (all && strcmp(all, "1") == 0) {
        luaL_traceback(L, L, text, 1);
        return 1;
    }
    const size_t ours = our_position(text);
    append_frames(L, where, sizeof where);
    lua_pushstring(L, ours ? where : ""); /* a position of ours gives way to the user's that led there */
    lua_pushstring(L, text + ours);
    lua_pushvalue(L, -3);
    lua_concat(L, 3);
    return 1;
}
