/* SPDX-License-Identifier: MIT
 *
 * program.c -- the module lualign.program, which exists only inside the program: the terminal, Ctrl-C, tracebacks and
 * folders, for lualign.repl, lualign.cli and lualign.interrupt.
 */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lua/lua_util.h"

/* read_line(prompt) -> line; nil at the end of the input; false after Ctrl-C */
static int read_line(lua_State *L)
{
    char *line = NULL;
    const int got = la__terminal_line(&line, L, luaL_optstring(L, 1, ""));
    if (got > 0)
        lua_pushstring(L, line);
    else if (got < 0)
        lua_pushboolean(L, 0);
    else
        lua_pushnil(L);
    free(line);
    return 1;
}

static int add_to_history(lua_State *L)
{
    la__terminal_add_history(luaL_checkstring(L, 1));
    return 0;
}

static int load_history(lua_State *L)
{
    lua_pushboolean(L, la__terminal_read_history(luaL_checkstring(L, 1)) == 0);
    return 1;
}

/* save_history(folder, name) -> true, or nil and a message; makes the folder */
static int save_history(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1), *path = lua_pushfstring(L, "%s/%s", folder, luaL_checkstring(L, 2));
    if (la__mkdirs(folder) < 0 || la__terminal_write_history(path) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, la_error());
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* set_completer(fn): fn(word, line, start) -> list of words */
static int set_completer(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    la__terminal_set_completer(L);
    return 0;
}

static int is_interactive(lua_State *L)
{
    lua_pushboolean(L, la__terminal_is_interactive());
    return 1;
}

/* stderr_is_terminal() -> whether a line there can be redrawn */
static int stderr_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(STDERR_FILENO));
    return 1;
}

static int editor(lua_State *L)
{
    lua_pushstring(L, la__terminal_editor());
    return 1;
}

/* columns() -> width of the terminal at stdout, or nil */
static int columns(lua_State *L)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 0;
    lua_pushinteger(L, size.ws_col);
    return 1;
}

/* arm(): see la__interrupt_arm. The hook belongs to the main thread. */
static int arm(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    la__interrupt_arm(lua_tothread(L, -1));
    return 0;
}

static int defer(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    la__interrupt_defer(lua_toboolean(L, 1));
    return 0;
}

static int interrupted(lua_State *L)
{
    lua_pushboolean(L, la__interrupt_pending());
    return 1;
}

/* given_seed(fallback) -> what the program's --seed said */
static int given_seed(lua_State *L)
{
    lua_pushinteger(L, la__cli_given_seed(luaL_checkinteger(L, 1)));
    return 1;
}

/* seed(n), profile(): as the options --seed and --profile of the program */
static int seed(lua_State *L)
{
    return la__cli_seed(L, luaL_checkinteger(L, 1));
}

static int profile(lua_State *L)
{
    return la__cli_profile(L);
}

/* folders() -> {lua=, scripts=} */
static int folders(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, la__cli_paths()->lua);
    lua_setfield(L, -2, "lua");
    lua_pushstring(L, la__cli_paths()->scripts);
    lua_setfield(L, -2, "scripts");
    return 1;
}

/* commands() -> sorted names of the packaged scripts */
static int commands(lua_State *L)
{
    const char *names[64];
    const int n = la__cli_commands(names, LA_COUNT(names));
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static const luaL_Reg functions[] = { { "read_line", read_line },
                                      { "add_history", add_to_history },
                                      { "load_history", load_history },
                                      { "save_history", save_history },
                                      { "set_completer", set_completer },
                                      { "is_interactive", is_interactive },
                                      { "stderr_is_terminal", stderr_is_terminal },
                                      { "editor", editor },
                                      { "columns", columns },
                                      { "arm", arm },
                                      { "defer", defer },
                                      { "interrupted", interrupted },
                                      { "given_seed", given_seed },
                                      { "seed", seed },
                                      { "profile", profile },
                                      { "trace", la__trace },
                                      { "folders", folders },
                                      { "commands", commands },
                                      { NULL, NULL } };

int luaopen_lualign_program(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
