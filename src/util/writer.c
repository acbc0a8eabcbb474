/* SPDX-License-Identifier: MIT
 *
 * writer.c -- files that appear whole or not at all: written under a temporary name beside their own, then renamed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/util.h"

struct la_writer {
    int fd; /* -1: closed */
    char path[PATH_MAX], temporary[PATH_MAX + 32];
};

static int fail(const char *path, int why)
{
    return la_fail(LA_EIO, "%s: cannot be written: %s", path, strerror(why));
}

/* A new file beside the path, under a name that no other thread or process has. */
static bool open_temporary(la_writer *w)
{
    enum { TRIES = 100 };
    for (int i = 0; i < TRIES; i++) {
        snprintf(w->temporary, sizeof w->temporary, "%s.%ld-%d.tmp", w->path, (long)getpid(), i);
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd >= 0 || errno != EEXIST)
            return w->fd >= 0;
    }
    return false;
}

int la__writer_open(la_writer **out, const char *path)
{
    *out = NULL;
    if (strlen(path) >= PATH_MAX)
        return fail(path, ENAMETOOLONG);
    la_writer *w = la__calloc(1, sizeof *w);
    if (!w)
        return LA_ENOMEM;
    strcpy(w->path, path);
    if (!open_temporary(w)) {
        const int code = fail(path, errno);
        free(w);
        return code;
    }
    *out = w;
    return 0;
}

int la__writer_put(la_writer *w, const void *data, size_t bytes)
{
    static const size_t most = (size_t)1 << 30; /* in one call, which some systems limit */
    const char *p = data;
    while (bytes > 0) {
        const ssize_t n = write(w->fd, p, bytes < most ? bytes : most);
        if (n < 0 && errno != EINTR)
            return fail(w->path, errno);
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        }
    }
    return 0;
}

int la__writer_commit(la_writer **writer)
{
    la_writer *w = *writer;
    int err = fsync(w->fd) == 0 ? 0 : fail(w->path, errno);
    if (close(w->fd) != 0 && err == 0)
        err = fail(w->path, errno);
    w->fd = -1;
    if (err == 0 && rename(w->temporary, w->path) != 0)
        err = fail(w->path, errno);
    if (err == 0)
        w->temporary[0] = '\0';
    la__writer_abandon(writer);
    return err;
}

void la__writer_abandon(la_writer **writer)
{
    la_writer *w = *writer;
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary[0])
        unlink(w->temporary);
    free(w);
    *writer = NULL;
}

int la__write_file(const char *path, const void *data, size_t bytes)
{
    int err = 0;
    la_writer *w = NULL;
    LA_TRY(la__writer_open(&w, path));
    LA_TRY(la__writer_put(w, data, bytes));
    LA_TRY(la__writer_commit(&w));
done:
    la__writer_abandon(&w);
    return err;
}
