/* SPDX-License-Identifier: MIT
 *
 * main.c -- the program: options, then a command, a script, pieces of code, standard input or the prompt.
 */
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "device/device.h"
#include "lua/lua_util.h"
#include "util/util.h"

enum { FAILED = 1, INTERRUPTED = 130 };

/* What the command line asks for. */
typedef struct request {
    const char *device; /* NULL: not said */
    long long seed;
    bool has_seed, profile, interactive, version, help;
    int pieces; /* how many -e */
    int rest;   /* index of the script or command in argv; argc if there is none */
} request;

/* Read by announce, which has no other way to know. */
static request asked;

/* ---- options ---- */

static int unknown_option(const char *option)
{
    static const char *const known[] = { "--device", "--seed", "--profile", "--version", "--help", "-e", "-i", "-h" };
    const size_t length = strcspn(option, "=");
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, option);
    const char *near = la__nearest(name, known, LA_COUNT(known));
    return near ? la_fail(LA_EARG, "unknown option '%s', did you mean '%s'?", name, near)
                : la_fail(LA_EARG, "unknown option '%s'; lualign --help lists them", name);
}

/* The value of "--name=value" or "--name value" at argv[*i], which moves on; NULL if it is another option. */
static int value_of(const char **out, const char *name, char **argv, int *i)
{
    const size_t n = strlen(name);
    *out = NULL;
    if (strncmp(argv[*i], name, n) != 0 || (argv[*i][n] != '=' && argv[*i][n] != '\0'))
        return 0;
    if (argv[*i][n] == '=') {
        *out = argv[*i] + n + 1;
        return 0;
    }
    if (!argv[*i + 1])
        return la_fail(LA_EARG, "the option '%s' needs a value", name);
    *out = argv[++*i];
    return 0;
}

/* One option at argv[*i]. */
static int read_option(request *r, char **argv, int *i)
{
    static const struct {
        const char *name;
        size_t at;
    } flags[] = { { "--profile", offsetof(request, profile) },
                  { "--version", offsetof(request, version) },
                  { "--help", offsetof(request, help) },
                  { "-h", offsetof(request, help) },
                  { "-i", offsetof(request, interactive) } };
    const char *value;
    int err = 0;
    for (int k = 0; k < LA_COUNT(flags); k++)
        if (strcmp(argv[*i], flags[k].name) == 0) {
            *(bool *)((char *)r + flags[k].at) = true;
            return 0;
        }
    if (strcmp(argv[*i], "-e") == 0) {
        r->pieces++;
        return argv[++*i] ? 0 : la_fail(LA_EARG, "the option '-e' needs a piece of Lua code");
    }
    LA_TRY(value_of(&value, "--device", argv, i));
    if (value) {
        r->device = value;
        return 0;
    }
    LA_TRY(value_of(&value, "--seed", argv, i));
    if (value) {
        char *end;
        r->seed = strtoll(value, &end, 10);
        r->has_seed = true;
        return *value && !*end ? 0 : la_fail(LA_EARG, "--seed must be a whole number, got '%s'", value);
    }
    return unknown_option(argv[*i]);
done:
    return err;
}

static int read_options(request *r, int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        const int err = read_option(r, argv, &i);
        if (err < 0)
            return err;
    }
    r->rest = i;
    return 0;
}

/* ---- the Lua state ---- */

/* package.<field> = "folder/?.lua;..." in front of what is there. */
static void prepend_path(lua_State *L, const char *field, const char *text)
{
    lua_getglobal(L, "package");
    lua_pushstring(L, text);
    lua_getfield(L, -2, field);
    lua_concat(L, 2);
    lua_setfield(L, -2, field);
    lua_pop(L, 1);
}

/* Calls la.device.<name>(argument), the argument being at the top of the stack; its result replaces it. */
static void call_device(lua_State *L, const char *name)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "lualign.device");
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
}

static bool device_is_open(lua_State *L)
{
    lua_pushnil(L);
    call_device(L, "is_open");
    const bool open = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return open;
}

int la__cli_seed(lua_State *L, lua_Integer seed)
{
    asked.has_seed = true;
    asked.seed = seed;
    if (device_is_open(L)) {
        lua_pushinteger(L, seed);
        call_device(L, "seed");
    }
    return 0;
}

int la__cli_profile(lua_State *L)
{
    asked.profile = true;
    if (device_is_open(L)) {
        lua_pushboolean(L, 1);
        call_device(L, "profile");
    }
    return 0;
}

lua_Integer la__cli_given_seed(lua_Integer fallback)
{
    return asked.has_seed ? asked.seed : fallback;
}

/* la.device.on_open: prints the choice, and does what had to wait for it. */
static int announce(lua_State *L)
{
    lua_getfield(L, 1, "name");
    lua_getfield(L, 1, "type");
    lua_getfield(L, 1, "platform");
    lua_getfield(L, 1, "units");
    fprintf(stderr, "device: %s (%s, %s, %d units)\n", lua_tostring(L, 2), lua_tostring(L, 3), lua_tostring(L, 4),
            (int)lua_tointeger(L, 5));
    la__lua_show_builds(L, la__cli_show_build);
    if (asked.profile)
        la__cli_profile(L);
    if (asked.has_seed)
        la__cli_seed(L, asked.seed);
    return 0;
}

/* package.path, the modules in the program, the device that was asked for. OpenCL stays untouched. */
static void open_modules(lua_State *L)
{
    const la_cli_paths *p = la__cli_paths();
    luaL_openlibs(L);
    lua_warning(L, "@on", 0);
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;", p->lua, p->lua);
    prepend_path(L, "path", lua_tostring(L, -1));
    lua_pushfstring(L, "%s/?.so;", p->modules);
    prepend_path(L, "cpath", lua_tostring(L, -1));
    lua_pop(L, 2);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_lualign_core);
    lua_setfield(L, -2, "lualign.core");
    lua_pushcfunction(L, luaopen_lualign_program);
    lua_setfield(L, -2, "lualign.program");
    lua_pop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "lualign.device");
    lua_pushcfunction(L, announce);
    lua_setfield(L, -2, "on_open");
    lua_pop(L, 1);
}

/* Calls require(module)[name]() in protected mode; the caller finds its result or the error's text on the stack. */
static int call_module(lua_State *L, const char *module, const char *name, int results)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    int status = lua_pcall(L, 1, 1, 0);
    if (status != LUA_OK)
        return status;
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    lua_pushcfunction(L, la__trace);
    lua_insert(L, -2);
    status = lua_pcall(L, 0, results, -2);
    lua_remove(L, status == LUA_OK ? -1 - results : -2);
    return status;
}

/* ---- running ---- */

/* Prints the error at the top of the stack. A table with exit_status ends the program quietly with that status. */
static int report(lua_State *L, const char *command)
{
    int status = FAILED;
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "exit_status");
        status = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (lua_getfield(L, -1, "message") == LUA_TNIL)
            return status;
    }
    fflush(stdout);
    fprintf(stderr, "lualign%s%s: %s\n", command ? " " : "", command ? command : "", luaL_tolstring(L, -1, NULL));
    return la__interrupt_pending() ? INTERRUPTED : status;
}

/* Runs the chunk at the top of the stack, above `n` arguments' worth of `arg`; `loaded` is what loading it returned. */
static int run_chunk(lua_State *L, int loaded, const char *command)
{
    int arguments = 0;
    if (loaded != LUA_OK)
        return report(L, command);
    lua_pushcfunction(L, la__trace);
    lua_insert(L, -2);
    const int handler = lua_gettop(L) - 1;
    lua_getglobal(L, "arg");
    const int arg = lua_gettop(L);
    const int n = (int)luaL_len(L, arg);
    luaL_checkstack(L, n + 8, "too many arguments");
    for (; arguments < n; arguments++)
        lua_rawgeti(L, arg, arguments + 1);
    lua_remove(L, arg);
    la__interrupt_arm(L);
    const int status = lua_pcall(L, arguments, 0, handler) == LUA_OK ? 0 : report(L, command);
    lua_settop(L, handler - 1);
    return status;
}

/* arg[0] is what runs, arg[1] and on its arguments, below it the program's own. */
static void set_arg(lua_State *L, int argc, char **argv, const char *script)
{
    lua_createtable(L, argc, 2);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - asked.rest);
    }
    if (script) {
        lua_pushstring(L, script);
        lua_rawseti(L, -2, 0);
    }
    lua_setglobal(L, "arg");
}

/* For code without a file of its own (-e, standard input, the prompt), la is there without require. */
static int set_la(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, "lualign");
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        return report(L, NULL);
    lua_setglobal(L, "la");
    return 0;
}

static int run_pieces(lua_State *L, int argc, char **argv)
{
    int status = asked.pieces ? set_la(L) : 0;
    for (int i = 1; i < asked.rest && i < argc && status == 0; i++) {
        const char *value;
        if (strcmp(argv[i], "-e") == 0) {
            const char *code = argv[++i];
            status = run_chunk(L, luaL_loadbuffer(L, code, strlen(code), "=(command line)"), NULL);
        } else if (value_of(&value, "--device", argv, &i) < 0 || value_of(&value, "--seed", argv, &i) < 0) {
            break; /* steps over values; read_options has seen them */
        }
    }
    return status;
}

static int run_script(lua_State *L, int argc, char **argv)
{
    char path[LA_CLI_PATH];
    bool packaged;
    const char *name = argv[asked.rest];
    if (la__cli_find_script(path, sizeof path, &packaged, name) < 0) {
        fprintf(stderr, "lualign: %s\n", la_error());
        return FAILED;
    }
    la__trace_packaged(packaged);
    set_arg(L, argc, argv, path);
    return run_chunk(L, luaL_loadfile(L, path), packaged ? name : NULL);
}

static int run_stdin(lua_State *L)
{
    const int status = set_la(L);
    return status ? status : run_chunk(L, luaL_loadfile(L, NULL), NULL);
}

static int run_prompt(lua_State *L)
{
    const int status = set_la(L);
    if (status)
        return status;
    la__interrupt_arm(L);
    return call_module(L, "lualign.repl", "run", 0) == LUA_OK ? 0 : report(L, NULL);
}

static int run(lua_State *L, int argc, char **argv)
{
    const bool script = asked.rest < argc;
    set_arg(L, argc, argv, NULL);
    int status = run_pieces(L, argc, argv);
    if (status == 0 && script)
        status = strcmp(argv[asked.rest], "-") == 0 ? run_stdin(L) : run_script(L, argc, argv);
    if (asked.interactive)
        status = run_prompt(L);
    else if (!script && !asked.pieces)
        status = isatty(STDIN_FILENO) ? run_prompt(L) : run_stdin(L);
    return status;
}

/* --device and --seed, as far as they need no device. */
static int prepare(lua_State *L)
{
    if (asked.device) {
        luaL_requiref(L, "lualign.core", luaopen_lualign_core, 0);
        lua_getfield(L, -1, "device");
        lua_getfield(L, -1, "use");
        lua_pushstring(L, asked.device);
        lua_call(L, 1, 0);
        lua_pop(L, 2);
    }
    if (asked.has_seed) {
        lua_getglobal(L, "math");
        lua_getfield(L, -1, "randomseed");
        lua_pushinteger(L, asked.seed);
        lua_call(L, 1, 0);
        lua_pop(L, 1);
    }
    return 0;
}

/* In protected mode: argc, argv -> exit status */
static int protected_main(lua_State *L)
{
    const int argc = (int)lua_tointeger(L, 1);
    char **argv = lua_touserdata(L, 2);
    lua_settop(L, 0);
    open_modules(L);
    prepare(L);
    int status = 0;
    if (asked.help || asked.version)
        status = call_module(L, "lualign.cli", asked.help ? "print_help" : "print_version", 0) == LUA_OK
                     ? 0
                     : report(L, NULL);
    else
        status = run(L, argc, argv);
    if (asked.profile && call_module(L, "lualign.cli", "print_profile", 0) != LUA_OK)
        status = report(L, NULL);
    lua_pushinteger(L, status);
    return 1;
}

int main(int argc, char **argv)
{
    int status = FAILED;
    if (argc == 2 && strcmp(argv[1], "--serve-builds") == 0)
        la__builder_serve();
    setenv("LUALIGN_BUILDER", la__cli_paths()->program, 0);
    if (read_options(&asked, argc, argv) < 0) {
        fprintf(stderr, "lualign: %s\n", la_error());
        return FAILED;
    }
    lua_State *L = luaL_newstate();
    if (!L) {
        fprintf(stderr, "lualign: out of memory\n");
        return FAILED;
    }
    lua_pushcfunction(L, protected_main);
    lua_pushinteger(L, argc);
    lua_pushlightuserdata(L, argv);
    if (lua_pcall(L, 2, 1, 0) == LUA_OK)
        status = (int)lua_tointeger(L, -1);
    else
        report(L, NULL);
    lua_close(L);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "lualign: writing to standard output failed\n");
        return FAILED;
    }
    return status;
}
