/* SPDX-License-Identifier: MIT
 *
 * paths.c -- where the Lua files and the packaged scripts are, and which script a command names.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "cli/cli.h"
#include "util/util.h"

#ifndef LUALIGN_SOURCE_DIR
#define LUALIGN_SOURCE_DIR ""
#define LUALIGN_BINARY_DIR ""
#endif

enum { MAX_COMMANDS = 64 };

/* The running program into `out`, links resolved; "" if it cannot be found out. */
static void program_path(char *out, size_t size)
{
    char path[LA_CLI_PATH] = "", *real = NULL;
#ifdef __APPLE__
    uint32_t bytes = sizeof path;
    if (_NSGetExecutablePath(path, &bytes) != 0)
        path[0] = '\0';
    real = realpath(path, NULL);
#else
    real = realpath("/proc/self/exe", NULL);
#endif
    snprintf(out, size, "%s", real ? real : path);
    free(real);
}

static void program_folder(char *out, size_t size)
{
    program_path(out, size);
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
}

static bool same_folder(const char *a, const char *b)
{
    char *ra = realpath(a, NULL), *rb = realpath(b, NULL);
    const bool same = ra && rb && strcmp(ra, rb) == 0;
    free(ra);
    free(rb);
    return same;
}

static bool readable(const char *path)
{
    return access(path, R_OK) == 0;
}

static void find(la_cli_paths *p)
{
    char folder[LA_CLI_PATH - 64], probe[LA_CLI_PATH];
    program_path(p->program, sizeof p->program);
    program_folder(folder, sizeof folder);
    if (same_folder(folder, LUALIGN_BINARY_DIR)) { /* in place, beside the build */
        snprintf(p->lua, sizeof p->lua, "%s/lua", LUALIGN_SOURCE_DIR);
        snprintf(p->scripts, sizeof p->scripts, "%s/scripts", LUALIGN_SOURCE_DIR);
        snprintf(p->modules, sizeof p->modules, "%s/lua", folder);
        return;
    }
    char *slash = strrchr(folder, '/'); /* <prefix>/bin */
    if (slash)
        *slash = '\0';
    snprintf(p->lua, sizeof p->lua, "%s/share/lua/5.4", folder);
    snprintf(p->scripts, sizeof p->scripts, "%s/share/lualign/scripts", folder);
    snprintf(p->modules, sizeof p->modules, "%s/lib/lua/5.4", folder);
    snprintf(probe, sizeof probe, "%.4000s/lualign/init.lua", p->lua);
    if (!readable(probe)) { /* a build folder inside a source tree that was moved */
        snprintf(p->lua, sizeof p->lua, "%s/lua", folder);
        snprintf(p->scripts, sizeof p->scripts, "%s/scripts", folder);
    }
}

const la_cli_paths *la__cli_paths(void)
{
    static la_cli_paths paths;
    if (!paths.lua[0])
        find(&paths);
    return &paths;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int la__cli_commands(const char **names, int most)
{
    static char text[MAX_COMMANDS][64];
    int n = 0;
    DIR *dir = opendir(la__cli_paths()->scripts);
    if (!dir)
        return 0;
    for (const struct dirent *e = readdir(dir); e && n < most && n < MAX_COMMANDS; e = readdir(dir)) {
        const size_t length = strlen(e->d_name);
        if (length < 5 || length - 4 >= sizeof text[0] || strcmp(e->d_name + length - 4, ".lua") != 0)
            continue;
        memcpy(text[n], e->d_name, length - 4);
        text[n][length - 4] = '\0';
        names[n] = text[n];
        n++;
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof *names, by_name);
    return n;
}

int la__cli_find_script(char *out, size_t size, bool *packaged, const char *name)
{
    const char *names[MAX_COMMANDS];
    const size_t length = strlen(name);
    const bool is_path = strchr(name, '/') || (length > 4 && strcmp(name + length - 4, ".lua") == 0);

    *packaged = false;
    if (!is_path) {
        snprintf(out, size, "%s/%s.lua", la__cli_paths()->scripts, name);
        if (readable(out)) {
            *packaged = true;
            return 0;
        }
    }
    snprintf(out, size, "%s", name);
    if (readable(name))
        return 0;
    if (is_path)
        return la_fail(LA_EIO, "there is no file '%s'", name);
    const int n = la__cli_commands(names, MAX_COMMANDS);
    const char *near = la__nearest(name, names, n);
    return near ? la_fail(LA_EARG, "there is no command or file '%s', did you mean '%s'?", name, near)
                : la_fail(LA_EARG, "there is no command or file '%s'; lualign --help lists the commands", name);
}
