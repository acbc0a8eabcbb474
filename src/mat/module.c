/* SPDX-License-Identifier: MIT
 *
 * module.c -- the module lualign.mat, apart from lualign.core because libmatio brings three dozen libraries with it.
 *
 * A file is read by a process of its own: libmatio trusts sizes and offsets that it finds, so that a damaged or made-up
 * file can crash it, keep it busy for ever or ask for all memory there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mat/mat.h"

#define BOX_TYPE "lualign.mat"

enum { MOST_SECONDS = 20, PIECE = 1 << 16 };

static const size_t most_bytes = (size_t)2 << 30; /* that the reader may take, and may answer with */

/* What is open while a file is read; Lua closes it if it raises in between. */
typedef struct box {
    pid_t pid; /* 0: none */
    int fd;    /* -1: none */
    char *data;
    size_t bytes, room;
} box;

static int box_end(box *b)
{
    int status = 0;
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    if (b->pid > 0) {
        while (waitpid(b->pid, &status, 0) < 0 && errno == EINTR)
            continue;
        b->pid = 0;
    }
    return status;
}

static int box_free(lua_State *L)
{
    box *b = luaL_checkudata(L, 1, BOX_TYPE);
    if (b->pid > 0)
        kill(b->pid, SIGKILL);
    box_end(b);
    free(b->data);
    b->data = NULL;
    return 0;
}

/* ---- the reader ---- */

static void limit(int what, size_t most)
{
    struct rlimit l;
    if (getrlimit(what, &l) != 0 || (l.rlim_cur != RLIM_INFINITY && l.rlim_cur <= most))
        return;
    l.rlim_cur = most;
    setrlimit(what, &l);
}

/* Address space that this process has already, 0 where it cannot be found out. */
static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* In the new process: never returns. */
static void read_and_exit(int fd, const char *path)
{
    static const int usual[] = { SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPIPE, SIGXCPU };
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        signal(usual[i], SIG_DFL);
    const int null = open("/dev/null", O_RDWR);
    if (null >= 0) { /* libraries below libmatio print */
        dup2(null, 1);
        dup2(null, 2);
    }
    const size_t taken = address_space();
    if (taken > 0)
        limit(RLIMIT_AS, taken + most_bytes);
    limit(RLIMIT_CPU, MOST_SECONDS);
    limit(RLIMIT_CORE, 0);
    FILE *out = fdopen(fd, "wb");
    if (!out)
        _exit(1);
    la__mat_dump(out, path);
    _exit(fflush(out) == 0 && !ferror(out) ? 0 : 1);
}

/* ---- the one who asks ---- */

static bool start(box *b, const char *path)
{
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    b->fd = ends[0];
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    b->pid = fork();
    if (b->pid == 0) {
        close(ends[0]);
        read_and_exit(ends[1], path);
    }
    close(ends[1]);
    return b->pid > 0;
}

/* All that the reader writes; false if that is too much. */
static bool collect(box *b)
{
    for (;;) {
        if (b->room - b->bytes < PIECE) {
            const size_t room = b->room ? 2 * b->room : 2 * PIECE;
            char *data = room <= 2 * most_bytes ? realloc(b->data, room) : NULL;
            if (!data)
                return false;
            b->data = data;
            b->room = room;
        }
        const ssize_t got = read(b->fd, b->data + b->bytes, PIECE);
        if (got == 0)
            return true;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || b->bytes > most_bytes)
            return false;
        b->bytes += (size_t)got;
    }
}

/* dump(path) -> the stream that mat.h describes; nil and why there is none */
static int dump(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    box *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (box){ .fd = -1 };
    luaL_setmetatable(L, BOX_TYPE);
    if (!start(b, path)) {
        lua_pushnil(L);
        lua_pushfstring(L, "no process could be started to read it: %s", strerror(errno));
        return 2;
    }
    const bool whole = collect(b);
    if (!whole)
        kill(b->pid, SIGKILL);
    const int status = box_end(b);
    if (!whole || status != 0) {
        lua_pushnil(L);
        if (!whole)
            lua_pushliteral(L, "it holds more than can be taken");
        else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
            lua_pushfstring(L, "libmatio had not read it after %d seconds", (int)MOST_SECONDS);
        else if (WIFSIGNALED(status))
            lua_pushfstring(L, "libmatio crashed on it (signal %d)", WTERMSIG(status));
        else
            lua_pushfstring(L, "libmatio gave up on it (status %d)", WEXITSTATUS(status));
        return 2;
    }
    lua_pushlstring(L, b->data, b->bytes);
    free(b->data);
    b->data = NULL;
    return 1;
}

__attribute__((visibility("default"))) int luaopen_lualign_mat(lua_State *L);

int luaopen_lualign_mat(lua_State *L)
{
    static const luaL_Reg functions[] = { { "dump", dump }, { NULL, NULL } };
    luaL_checkversion(L);
    luaL_newmetatable(L, BOX_TYPE);
    lua_pushcfunction(L, box_free);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, functions);
    return 1;
}
