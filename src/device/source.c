/* SPDX-License-Identifier: MIT
 *
 * source.c -- the text of programs: embedded, or from the folder that LUALIGN_CL_DIR names, or brought by a launch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

static const char *embedded_source(const char *name)
{
    for (const la_source *s = la__sources; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->text;
    return NULL;
}

/* cl/<name>.cl from the folder, with its include line replaced by common.clh; *out is malloc'ed. */
static int read_source(char **out, const char *folder, const char *name)
{
    static const char include[] = "#include \"common.clh\"";
    int err = 0;
    char path[1024];
    void *text = NULL, *common = NULL;
    size_t n, nc;

    snprintf(path, sizeof path, "%s/common.clh", folder);
    LA_TRY(la__read_file(&common, &nc, path));
    snprintf(path, sizeof path, "%s/%s.cl", folder, name);
    LA_TRY(la__read_file(&text, &n, path));
    char *at = strstr(text, include);
    *out = la__calloc(n + nc + 1, 1);
    if (!*out) {
        err = LA_ENOMEM;
        goto done;
    }
    const size_t before = at ? (size_t)(at - (char *)text) : n;
    memcpy(*out, text, before);
    if (at) {
        memcpy(*out + before, common, nc);
        strcpy(*out + before + nc, at + sizeof include - 1);
    }
done:
    free(text);
    free(common);
    return err;
}

/* What picks one kernel of a family, in front of its text: see PICKED in common.clh. */
static int pick(char **text, const char *entry)
{
    static const char format[] = "#define ONLY\n#define PICK_%s ~, kernel\n#line 1\n%s";
    const size_t size = sizeof format + strlen(entry) + strlen(*text);
    char *picked = la__calloc(size, 1);
    if (!picked)
        return LA_ENOMEM;
    snprintf(picked, size, format, entry, *text);
    free(*text);
    *text = picked;
    return 0;
}

/* Whether the text has kernels that are built one by one. */
static bool is_family(const char *text)
{
    static const char define[] = "#define ";
    for (const char *at = text; (at = strstr(at, "PICKED(")) != NULL; at++)
        if (at - text < (ptrdiff_t)strlen(define) || memcmp(at - strlen(define), define, strlen(define)) != 0)
            return true;
    return false;
}

int la__source(char **out, bool *family, const char *name, const char *own, const char *entry)
{
    int err = 0;
    const char *folder = getenv("LUALIGN_CL_DIR"), *text = own ? own : embedded_source(name);

    *out = NULL;
    *family = false;
    if (!own && folder && *folder) {
        LA_TRY(read_source(out, folder, name));
    } else if (!text) {
        err = la_fail(LA_EDEVICE, "kernel '%s': there is no program '%s'", entry, name);
    } else {
        *out = strdup(text);
        if (!*out)
            err = la_fail(LA_ENOMEM, "program '%s': out of host memory", name);
    }
    if (err == 0 && is_family(*out)) {
        *family = true;
        err = pick(out, entry);
    }
done:
    if (err < 0) {
        free(*out);
        *out = NULL;
    }
    return err;
}
