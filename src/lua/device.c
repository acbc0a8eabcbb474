/* SPDX-License-Identifier: MIT
 *
 * device.c -- la.device: the list, the choice, memory, profile; and the collector's part in memory pressure.
 */
#include <string.h>
#include <time.h>

#include "lua/builds.h"

enum { MAX_OPEN = 8 };

/* One per Lua state, made before any tensor and so finalised after all of them. */
typedef struct devices {
    la_device *open[MAX_OPEN];
    int count;
    int current; /* index into open, -1: none yet */
    char choice[256];
    bool chosen;
    lua_State *main;
    size_t fresh; /* bytes asked of the driver since the last collection */
    la_builds builds;
} devices;

static const char key = 0;

static devices *state(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    devices *s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return s;
}

/* Lua cannot see what its boxes weigh: run its collector when the driver is asked for much, or says no. */
static void under_pressure(void *payload, size_t bytes, bool urgent)
{
    devices *s = payload;
    const size_t share = (size_t)256 << 20;
    s->fresh += bytes;
    if (urgent || s->fresh > share) {
        lua_gc(s->main, LUA_GCCOLLECT);
        s->fresh = 0;
    }
}

static int devices_close(lua_State *L)
{
    devices *s = lua_touserdata(L, 1);
    for (int i = 0; i < s->count; i++)
        la_device_close(s->open[i]);
    s->count = 0;
    s->current = -1;
    la__lua_free_builds(&s->builds);
    return 0;
}

/* Calls la.device.on_open(info), if a program set it, so that the choice can be printed. */
static void tell_opened(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "lualign.device");
    if (lua_getfield(L, -1, "on_open") == LUA_TFUNCTION) {
        lua_getfield(L, -2, "info");
        lua_call(L, 0, 1);
        lua_call(L, 1, 0);
    } else {
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

la_device *la__lua_device(lua_State *L)
{
    devices *s = state(L);
    la_device *dev = NULL;
    if (s->current >= 0)
        return s->open[s->current];
    la__lua_try(L, la_device_open(&dev, s->chosen ? s->choice : NULL));
    for (int i = 0; i < s->count; i++)
        if (la_device_get_index(s->open[i]) == la_device_get_index(dev)) {
            la_device_close(dev);
            s->current = i;
            return s->open[i];
        }
    if (s->count == MAX_OPEN) {
        la_device_close(dev);
        luaL_error(L, "device: at most %d devices can be open", MAX_OPEN);
    }
    s->open[s->count] = dev;
    s->current = s->count++;
    la_device_on_pressure(dev, under_pressure, s);
    la_device_on_build(dev, la__lua_note_build, &s->builds);
    tell_opened(L);
    return dev;
}

void la__lua_show_builds(lua_State *L, la_build_fn fn)
{
    state(L)->builds.show = fn;
}

static void push_info(lua_State *L, const la_device_info *info, int index)
{
    lua_createtable(L, 0, 10);
    const struct {
        const char *name, *value;
    } texts[] = { { "name", info->name },       { "platform", info->platform }, { "vendor", info->vendor },
                  { "version", info->version }, { "driver", info->driver },     { "type", info->type } };
    for (int i = 0; i < LA_COUNT(texts); i++) {
        lua_pushstring(L, texts[i].value);
        lua_setfield(L, -2, texts[i].name);
    }
    lua_pushinteger(L, info->units);
    lua_setfield(L, -2, "units");
    lua_pushinteger(L, (lua_Integer)info->memory);
    lua_setfield(L, -2, "memory");
    lua_pushinteger(L, (lua_Integer)info->max_allocation);
    lua_setfield(L, -2, "max_allocation");
    lua_pushinteger(L, index + 1);
    lua_setfield(L, -2, "number");
}

/* device.list() -> { {number=, name=, platform=, type=, units=, memory=, ...}, ... }; empty, message: none */
static int device_list(lua_State *L)
{
    int count = 0;
    la__lua_try(L, la_device_count(&count));
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        la_device_info info;
        la__lua_try(L, la_device_describe(&info, i));
        push_info(L, &info, i);
        lua_rawseti(L, -2, i + 1);
    }
    if (count == 0) {
        lua_pushstring(L, la_error());
        return 2;
    }
    return 1;
}

/* device.use(which): number, name or type; opened when first needed. nil goes back to the default. */
static int device_use(lua_State *L)
{
    devices *s = state(L);
    const char *which = luaL_optstring(L, 1, NULL);
    s->chosen = which != NULL;
    if (which) {
        if (strlen(which) >= sizeof s->choice)
            return luaL_error(L, "device.use: the name is too long");
        strcpy(s->choice, which);
    }
    s->current = -1;
    return 0;
}

/* device.choose([which]) -> the number of the device that would be opened; opens nothing */
static int device_choose(lua_State *L)
{
    const devices *s = state(L);
    int index = 0;
    la__lua_try(L, la_device_choose(&index, luaL_optstring(L, 1, s->chosen ? s->choice : NULL)));
    lua_pushinteger(L, index + 1);
    return 1;
}

/* device.info() -> the current device, opening it if needed */
static int device_info(lua_State *L)
{
    const la_device *dev = la__lua_device(L);
    push_info(L, la_device_get_info(dev), la_device_get_index(dev));
    return 1;
}

/* device.is_open() -> whether OpenCL has been touched */
static int device_is_open(lua_State *L)
{
    lua_pushboolean(L, state(L)->count > 0);
    return 1;
}

static int device_finish(lua_State *L)
{
    la__lua_try(L, la_device_finish(la__lua_device(L)));
    return 0;
}

/* device.memory() -> {used=, peak=, pooled=, allocations=, budget=}, bytes */
static int device_memory(lua_State *L)
{
    const la_memory m = la_device_memory(la__lua_device(L));
    const struct {
        const char *name;
        size_t value;
    } fields[] = { { "used", m.used },
                   { "peak", m.peak },
                   { "pooled", m.pooled },
                   { "allocations", m.allocations },
                   { "budget", m.budget } };
    lua_createtable(L, 0, LA_COUNT(fields));
    for (int i = 0; i < LA_COUNT(fields); i++) {
        lua_pushinteger(L, (lua_Integer)fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* device.builds() -> { {program=, options=, seconds=, error=}, ... }: the programs compiled by this process so far */
static int device_builds(lua_State *L)
{
    la__lua_push_builds(L, &state(L)->builds);
    return 1;
}

/* device.kind() -> type and width of float vectors, such as "cpu16": what the choice of kernels goes by */
static int device_kind(lua_State *L)
{
    const la_device *dev = la__lua_device(L);
    lua_pushfstring(L, "%s%d", la_device_get_info(dev)->type, (int)la__device_float_width(dev));
    return 1;
}

static int device_reset_peak(lua_State *L)
{
    la_device_reset_peak(la__lua_device(L));
    return 0;
}

/* device.profile(on) */
static int device_profile(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    la_profile_enable(la__lua_device(L), lua_toboolean(L, 1));
    return 0;
}

static int device_profile_reset(lua_State *L)
{
    la_profile_reset(la__lua_device(L));
    return 0;
}

/* device.profile_rows() -> { {kernel=, calls=, seconds=, bytes=, flops=}, ... }, slowest first */
static int device_profile_rows(lua_State *L)
{
    const la_profile_row *rows;
    int count;
    la__lua_try(L, la_profile_rows(la__lua_device(L), &rows, &count));
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_createtable(L, 0, 5);
        lua_pushstring(L, rows[i].kernel);
        lua_setfield(L, -2, "kernel");
        lua_pushinteger(L, (lua_Integer)rows[i].calls);
        lua_setfield(L, -2, "calls");
        lua_pushnumber(L, rows[i].seconds);
        lua_setfield(L, -2, "seconds");
        lua_pushnumber(L, rows[i].bytes);
        lua_setfield(L, -2, "bytes");
        lua_pushnumber(L, rows[i].flops);
        lua_setfield(L, -2, "flops");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* device.seed(seed, [counter]); device.seed_state() -> seed, counter */
static int device_seed(lua_State *L)
{
    la_device_seed(la__lua_device(L), (uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_optinteger(L, 2, 0));
    return 0;
}

static int device_seed_state(lua_State *L)
{
    uint64_t seed, counter;
    la_device_seed_state(la__lua_device(L), &seed, &counter);
    lua_pushinteger(L, (lua_Integer)seed);
    lua_pushinteger(L, (lua_Integer)counter);
    return 2;
}

/* device.peak([repeats]) -> floating-point operations per second that a probe kernel reaches */
static int device_peak(lua_State *L)
{
    double flops;
    const lua_Integer repeats = luaL_optinteger(L, 1, 5);
    luaL_argcheck(L, repeats >= 1 && repeats <= 1000, 1, "repeats must be 1 to 1000");
    la__lua_try(L, la__device_peak(la__lua_device(L), (int)repeats, &flops));
    lua_pushnumber(L, flops);
    return 1;
}

/* device.clock() -> seconds of real time since some fixed moment */
static int device_clock(lua_State *L)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (double)t.tv_sec + 1e-9 * (double)t.tv_nsec);
    return 1;
}

/* ---- the record of choices ---- */

static int push_choices(lua_State *L, bool asked)
{
    const la_choice *rows;
    int count;
    la__lua_try(L, la_choice_list(la__lua_device(L), asked, &rows, &count));
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_createtable(L, 0, 4);
        const struct {
            const char *name, *value;
        } texts[] = { { "pass", rows[i].pass }, { "shape", rows[i].shape }, { "method", rows[i].method } };
        for (int k = 0; k < LA_COUNT(texts); k++) {
            lua_pushstring(L, texts[k].value); /* nil where there is none */
            lua_setfield(L, -2, texts[k].name);
        }
        if (rows[i].method) {
            lua_pushnumber(L, rows[i].milliseconds);
            lua_setfield(L, -2, "milliseconds");
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* device.choices() -> { {pass=, shape=, method=, milliseconds=}, ... } */
static int device_choices(lua_State *L)
{
    return push_choices(L, false);
}

/* device.set_choice(pass, shape, method or nil, milliseconds) */
static int device_set_choice(lua_State *L)
{
    const char *method = luaL_optstring(L, 3, NULL);
    la__lua_try(L, la_choice_set(la__lua_device(L), luaL_checkstring(L, 1), luaL_checkstring(L, 2), method,
                                 method ? luaL_checknumber(L, 4) : 0));
    return 0;
}

static int device_save_choices(lua_State *L)
{
    la__lua_try(L, la_choice_save(la__lua_device(L)));
    return 0;
}

static int device_forget_choices(lua_State *L)
{
    la__lua_try(L, la_choice_forget(la__lua_device(L)));
    return 0;
}

/* device.asked_choices(fn, ...) -> what fn(...) asks the record for, as choices() has it; fn's errors pass through */
static int device_asked_choices(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    la__lua_try(L, la_choice_watch(la__lua_device(L), true));
    const int failed = lua_pcall(L, lua_gettop(L) - 1, 0, 0);
    la__lua_try(L, la_choice_watch(la__lua_device(L), false));
    return failed ? lua_error(L) : push_choices(L, true);
}

static const luaL_Reg functions[] = { { "list", device_list },
                                      { "use", device_use },
                                      { "choose", device_choose },
                                      { "info", device_info },
                                      { "is_open", device_is_open },
                                      { "finish", device_finish },
                                      { "memory", device_memory },
                                      { "kind", device_kind },
                                      { "builds", device_builds },
                                      { "programs", la__lua_programs },
                                      { "want", la__lua_want },
                                      { "reset_peak", device_reset_peak },
                                      { "profile", device_profile },
                                      { "profile_reset", device_profile_reset },
                                      { "profile_rows", device_profile_rows },
                                      { "peak", device_peak },
                                      { "clock", device_clock },
                                      { "choices", device_choices },
                                      { "set_choice", device_set_choice },
                                      { "save_choices", device_save_choices },
                                      { "forget_choices", device_forget_choices },
                                      { "asked_choices", device_asked_choices },
                                      { "seed", device_seed },
                                      { "seed_state", device_seed_state },
                                      { NULL, NULL } };

/* A module that is loaded again goes on with the devices that there are: the tensors of before live on them. */
static void make_state(lua_State *L)
{
    if (state(L))
        return;
    devices *s = lua_newuserdatauv(L, sizeof *s, 0);
    memset(s, 0, sizeof *s);
    s->current = -1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    s->main = lua_tothread(L, -1);
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, devices_close);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

void la__lua_open_device(lua_State *L)
{
    make_state(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "lualign.device"); /* so that tell_opened finds on_open */
    luaL_setfuncs(L, functions, 0);
    lua_setfield(L, -2, "device");
}
