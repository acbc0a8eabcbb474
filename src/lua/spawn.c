/* SPDX-License-Identifier: MIT
 *
 * spawn.c -- other programs, started with a list of arguments and no shell between.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lua/io_lua.h"

#define CHILD_TYPE "lualign.child"

extern char **environ;

typedef struct child {
    pid_t pid;  /* 0: gone, or never there */
    int status; /* of exit; 128 and its number after a signal */
} child;

static child *check_child(lua_State *L)
{
    return luaL_checkudata(L, 1, CHILD_TYPE);
}

/* Whether it has ended; never waits. */
static bool reap(child *c)
{
    int how = 0;
    if (c->pid == 0)
        return true;
    const pid_t got = waitpid(c->pid, &how, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR))
        return false;
    c->status = got < 0 ? 127 : WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
    c->pid = 0;
    return true;
}

/* False when a signal came. */
static bool doze(double seconds)
{
    const struct timespec pause = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - floor(seconds)) * 1e9) };
    return nanosleep(&pause, NULL) == 0;
}

static double check_seconds(lua_State *L, int index)
{
    const double seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0 && seconds <= 86400, index, "must be 0 to 86400 seconds");
    return seconds;
}

/* child:wait(seconds) -> exit status, or nil if it still runs then, or if a signal such as Ctrl-C came before */
static int child_wait(lua_State *L)
{
    child *c = check_child(L);
    double left = check_seconds(L, 2), step = 0.001;
    while (!reap(c)) {
        if (left <= 0 || !doze(step < left ? step : left))
            return 0;
        left -= step;
        step = fmin(2 * step, 0.05);
    }
    lua_pushinteger(L, c->status);
    return 1;
}

/* child:kill(): asks it to end, waits a second, then makes it end. Also __close and __gc. */
static int child_kill(lua_State *L)
{
    child *c = check_child(L);
    for (int k = 0; k < 100 && !reap(c); k++) {
        if (k == 0)
            kill(c->pid, SIGTERM);
        doze(0.01);
    }
    if (c->pid != 0) {
        int how;
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, &how, 0) < 0 && errno == EINTR)
            continue;
        c->status = 128 + SIGKILL;
        c->pid = 0;
    }
    return 0;
}

/* The strings of the list at index 1, as execve wants them; what holds them stays on the stack. */
static char **arguments(lua_State *L)
{
    const lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    luaL_argcheck(L, n > 0 && n < 10000, 1, "must hold a program and its arguments");
    char **argv = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *argv, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        size_t length = 0;
        luaL_argcheck(L, lua_rawgeti(L, 1, i) == LUA_TSTRING, 1, "must hold strings only");
        const char *text = lua_tolstring(L, -1, &length); /* the list keeps it */
        luaL_argcheck(L, strlen(text) == length, 1, "must hold no zero bytes");
        memcpy(&argv[i - 1], &text, sizeof text); /* execve does not write to them */
        lua_pop(L, 1);
    }
    argv[n] = NULL;
    return argv;
}

/* spawn({ program, argument, ... }, stdout, stderr) -> child; nil and a message if it cannot be started. Its input is
 * empty, its output goes to the two files, which it makes. The program is searched for as the shell does. */
static int spawn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *out = luaL_checkstring(L, 2), *err = luaL_checkstring(L, 3);
    char **argv = arguments(L);
    child *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (child){ 0, 0 };
    luaL_setmetatable(L, CHILD_TYPE);

    posix_spawn_file_actions_t files;
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    int code = posix_spawn_file_actions_init(&files);
    if (code == 0) {
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out, flags, 0666);
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err, flags, 0666);
        code = posix_spawnp(&c->pid, argv[0], &files, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&files);
    }
    if (code == 0)
        return 1;
    c->pid = 0;
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", argv[0], strerror(code));
    return 2;
}

/* sleep(seconds): less if a signal comes */
static int sleep_for(lua_State *L)
{
    doze(check_seconds(L, 1));
    return 0;
}

void la__lua_open_spawn(lua_State *L)
{
    static const luaL_Reg methods[] = { { "wait", child_wait },
                                        { "kill", child_kill },
                                        { "__close", child_kill },
                                        { "__gc", child_kill },
                                        { NULL, NULL } };
    luaL_newmetatable(L, CHILD_TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, spawn);
    lua_setfield(L, -2, "spawn");
    lua_pushcfunction(L, sleep_for);
    lua_setfield(L, -2, "sleep");
}
