/* SPDX-License-Identifier: MIT
 *
 * util.h -- errors, memory and small helpers that know neither OpenCL nor Lua.
 */
#ifndef LA_UTIL_H
#define LA_UTIL_H

#include "lualign.h"

/* Runs an expression that returns an la code and leaves through `done:` on failure. The function declares
 * `int err = 0;` and has one exit. */
#define LA_TRY(expr)            \
    do {                        \
        if ((err = (expr)) < 0) \
            goto done;          \
    } while (0)

#define LA_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* calloc that sets the message: NULL after la_fail(LA_ENOMEM, ...). */
void *la__calloc(size_t count, size_t size);

/* The name in `names` (n of them) closest to `name` by edit distance, or NULL if none is near. */
const char *la__nearest(const char *name, const char *const *names, int n);

/* Makes a folder and its parents. */
int la__mkdirs(const char *path);

/* Writes a file under a temporary name in the same folder, then renames it: never half a file. */
int la__write_file(const char *path, const void *data, size_t bytes);

/* The same in pieces. After commit or abandon *writer is NULL; abandon, also of NULL, leaves no trace. */
typedef struct la_writer la_writer;
int la__writer_open(la_writer **out, const char *path);
int la__writer_put(la_writer *writer, const void *data, size_t bytes);
int la__writer_commit(la_writer **writer);
void la__writer_abandon(la_writer **writer);

/* Reads a whole file; *out is malloc'ed with a NUL after the last byte. */
int la__read_file(void **out, size_t *bytes, const char *path);

/* $XDG_CACHE_HOME/lualign (or ~/.cache/lualign; LUALIGN_CACHE overrides): into `out`, at most `size` bytes. */
int la__cache_dir(char *out, size_t size);

#endif
