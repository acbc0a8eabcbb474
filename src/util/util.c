/* SPDX-License-Identifier: MIT
 *
 * util.c -- the error message, memory, files.
 */
#include "util/util.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Thread_local char message[2048] = "no error";

const char *la_error(void)
{
    return message;
}

/* By way of a second buffer, so that la_error() may be among the arguments. */
int la_fail(int code, const char *format, ...)
{
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n + 1 : sizeof text);
    return code;
}

const char *la_version(void)
{
    return LA_VERSION;
}

void *la__calloc(size_t count, size_t size)
{
    const bool fits = size == 0 || count <= PTRDIFF_MAX / size;
    void *p = fits ? calloc(count ? count : 1, size ? size : 1) : NULL;
    if (!p)
        la_fail(LA_ENOMEM, "out of host memory: asked for %zu times %zu bytes", count, size);
    return p;
}

/* Levenshtein's distance, for names up to 63 characters. */
static int distance(const char *a, const char *b)
{
    int row[64];
    const int n = (int)strlen(b);
    if (n > 63 || strlen(a) > 63)
        return 64;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = change;
            if (row[j - 1] + 1 < row[j])
                row[j] = row[j - 1] + 1;
            if (diagonal + 1 < row[j])
                row[j] = diagonal + 1;
        }
    }
    return row[n];
}

const char *la__nearest(const char *name, const char *const *names, int n)
{
    const char *best = NULL;
    int least = (int)strlen(name) / 2 + 1; /* further away is no likeness */
    for (int i = 0; i < n; i++) {
        const int d = distance(name, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

int la__mkdirs(const char *path)
{
    char part[PATH_MAX];
    const size_t n = strlen(path);
    if (n >= sizeof part)
        return la_fail(LA_EIO, "%s: the name is too long", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return la_fail(LA_EIO, "%s: cannot make the folder: %s", part, strerror(errno));
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return la_fail(LA_EIO, "%s: is not a folder", path);
    return 0;
}

int la__read_file(void **out, size_t *bytes, const char *path)
{
    int err = 0;
    struct stat st;
    char *data = NULL;
    FILE *f = fopen(path, "rb");

    *out = NULL;
    *bytes = 0;
    if (!f)
        return la_fail(LA_EIO, "%s: cannot be read: %s", path, strerror(errno));
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) {
        err = la_fail(LA_EIO, "%s: is not a file", path);
        goto done;
    }
    data = malloc((size_t)st.st_size + 1);
    if (!data) {
        err = la_fail(LA_ENOMEM, "%s: out of memory for %lld bytes", path, (long long)st.st_size);
        goto done;
    }
    *bytes = fread(data, 1, (size_t)st.st_size, f);
    if (*bytes != (size_t)st.st_size) {
        err = la_fail(LA_EIO, "%s: ended early, after %zu of %lld bytes", path, *bytes, (long long)st.st_size);
        goto done;
    }
    data[*bytes] = '\0';
    *out = data;
    data = NULL;
done:
    free(data);
    fclose(f);
    return err;
}

int la__cache_dir(char *out, size_t size)
{
    const char *own = getenv("LUALIGN_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (own && *own)
        n = snprintf(out, size, "%s", own);
    else if (xdg && *xdg)
        n = snprintf(out, size, "%s/lualign", xdg);
    else if (home && *home)
        n = snprintf(out, size, "%s/.cache/lualign", home);
    else
        n = snprintf(out, size, "/tmp/lualign-%ld", (long)getuid());
    if (n < 0 || (size_t)n >= size)
        return la_fail(LA_EIO, "the name of the cache folder is too long");
    return la__mkdirs(out);
}
