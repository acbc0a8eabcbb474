/* SPDX-License-Identifier: MIT
 *
 * cache_trim.c -- keeps the folder of built programs from growing without end: of other drivers, devices and versions
 * of lualign, entries stay that nobody will load again. Several processes may do this at once: each deletes what it
 * finds, and what another one deleted first is gone just as well. An entry that is still wanted is built again.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/internal.h"

enum { LIMIT = 256 /* MiB */ };

typedef struct entry {
    char *path;
    off_t bytes;
    struct timespec used;
} entry;

static double limit_bytes(void)
{
    const char *text = getenv("LUALIGN_CACHE_LIMIT");
    char *end;
    const double mib = text && *text ? strtod(text, &end) : LIMIT;
    return (mib >= 0 ? mib : LIMIT) * 1048576.0;
}

static int oldest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const entry *)a)->used, *y = &((const entry *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* Only what the cache wrote itself: "<name>-<16 digits>.bin". The folder may be one that the user chose. */
static bool is_entry(const char *name)
{
    const size_t n = strlen(name), tail = strlen("-0123456789abcdef.bin");
    return n > tail && name[n - tail] == '-' && strspn(name + n - tail + 1, "0123456789abcdef") == 16 &&
           strcmp(name + n - 4, ".bin") == 0;
}

/* The entries of the folder; *bytes: of all. Their number, or -1. */
static int list(entry **out, double *bytes, const char *folder)
{
    int n = 0, room = 0;
    DIR *dir = opendir(folder);
    *out = NULL;
    *bytes = 0;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        char path[1200];
        struct stat st;
        if (!is_entry(e->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (stat(path, &st) != 0)
            continue;
        if (n == room) {
            room = room ? 2 * room : 64;
            entry *more = realloc(*out, (size_t)room * sizeof **out);
            if (!more)
                break;
            *out = more;
        }
        const struct timespec used = st.st_mtime > st.st_atime ? st.st_mtim : st.st_atim;
        (*out)[n++] = (entry){ .path = strdup(path), .bytes = st.st_size, .used = used };
        *bytes += (double)st.st_size;
    }
    if (dir)
        closedir(dir);
    return n;
}

void la__cache_trim(void)
{
    char folder[900];
    entry *entries;
    double bytes;
    const double limit = limit_bytes();

    if (la__cache_dir(folder, sizeof folder) < 0)
        return;
    const int n = list(&entries, &bytes, folder);
    if (bytes > limit)
        qsort(entries, (size_t)n, sizeof *entries, oldest_first);
    for (int i = 0; i < n; i++) {
        if (bytes > limit && entries[i].path) {
            unlink(entries[i].path);
            bytes -= (double)entries[i].bytes;
        }
        free(entries[i].path);
    }
    free(entries);
}
