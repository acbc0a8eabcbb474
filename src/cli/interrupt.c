/* SPDX-License-Identifier: MIT
 *
 * interrupt.c -- Ctrl-C: the first one stops the running Lua code, or, while deferred, asks it to stop; the second
 * kills.
 */
#include <signal.h>
#include <string.h>

#include "cli/cli.h"

static volatile sig_atomic_t pending, deferred;
static lua_State *volatile running;

static void stop(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    luaL_where(L, 0); /* where it was running; luaL_error would say where that was called from */
    lua_pushliteral(L, "interrupted!");
    lua_concat(L, 2);
    lua_error(L);
}

/* lua_sethook is the one function of Lua that a signal handler may call. The default action is back by then. */
static void on_interrupt(int number)
{
    (void)number;
    pending = 1;
    if (!deferred && running)
        lua_sethook(running, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

void la__interrupt_arm(lua_State *L)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)((unsigned)SA_RESTART | (unsigned)SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    running = L;
    pending = 0;
    lua_sethook(L, NULL, 0, 0);
    sigaction(SIGINT, &action, NULL);
}

void la__interrupt_defer(bool on)
{
    deferred = on;
}

bool la__interrupt_pending(void)
{
    return pending != 0;
}
