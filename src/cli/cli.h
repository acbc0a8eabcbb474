/* SPDX-License-Identifier: MIT
 *
 * cli.h -- what the files of the program share.
 *
 *   main.c       options, and what is run
 *   paths.c      where the Lua files and the packaged scripts are; which script a command names
 *   interrupt.c  Ctrl-C
 *   building.c   progress of compiling kernels
 *   trace.c      error messages with only the user's frames
 *   terminal.c   reading a line, with readline if it is there
 *   program.c    the module lualign.program: all of this for lualign.repl and lualign.cli
 */
#ifndef LA_CLI_H
#define LA_CLI_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

enum { LA_CLI_PATH = 4096 };

/* ---- paths ---- */

typedef struct la_cli_paths {
    char program[LA_CLI_PATH]; /* the running one */
    char lua[LA_CLI_PATH];     /* holds lualign/init.lua */
    char scripts[LA_CLI_PATH]; /* holds align.lua, ... */
    char modules[LA_CLI_PATH]; /* holds lualign/core.so */
} la_cli_paths;

/* Found when first asked for: beside the build, or below the prefix that the program is installed in. */
const la_cli_paths *la__cli_paths(void);

/* The file to run for the first argument of the program: a path, or the name of a packaged script (then *packaged is
 * true). A negative code, with a message that names the nearest one, if it is neither. */
int la__cli_find_script(char *out, size_t size, bool *packaged, const char *name);

/* Names of the packaged scripts, sorted; at most `most`. They stay valid until the next call. */
int la__cli_commands(const char **names, int most);

/* ---- compiling kernels ---- */

/* A listener of la_device_on_build that shows progress. */
struct la_build;
void la__cli_show_build(void *payload, const struct la_build *b);

/* ---- what has to wait until a device is opened ---- */

/* Seeds the device when it opens, or now if it is open; times its kernels and prints the table at the end. */
int la__cli_seed(lua_State *L, lua_Integer seed);
int la__cli_profile(lua_State *L);

/* What --seed said, or the fallback. */
lua_Integer la__cli_given_seed(lua_Integer fallback);

/* ---- Ctrl-C ---- */

/* The next Ctrl-C raises "interrupted!" in L, the one after it kills. Also forgets one that came. */
void la__interrupt_arm(lua_State *L);

/* While deferred, the first Ctrl-C only makes la__interrupt_pending true. */
void la__interrupt_defer(bool on);

bool la__interrupt_pending(void);

/* ---- errors ---- */

/* A message handler for lua_pcall: turns the error value into a text with positions in the user's files and, if more
 * than one of the user's functions was running, a traceback of those. Tables with a field exit_status stay as they are.
 */
int la__trace(lua_State *L);

/* Whether the running script is a packaged one: its errors are messages to its user, without positions. */
void la__trace_packaged(bool on);

/* ---- terminal ---- */

/* One line without its end, malloc'ed: 1. End of input: 0. Ctrl-C: -1. */
int la__terminal_line(char **out, lua_State *L, const char *prompt);

/* Whether stdin and stdout are terminals. */
bool la__terminal_is_interactive(void);

/* "readline 8.2" or "none" */
const char *la__terminal_editor(void);

void la__terminal_add_history(const char *text);
int la__terminal_read_history(const char *path);
int la__terminal_write_history(const char *path);

/* The function at the top of the stack, popped, completes words: fn(word, line, start) -> list of words. */
void la__terminal_set_completer(lua_State *L);

/* ---- lualign.program ---- */

int luaopen_lualign_program(lua_State *L);
int luaopen_lualign_core(lua_State *L);

#endif
