/* SPDX-License-Identifier: MIT
 *
 * choice.c -- the record of choices: in memory a table by pass and shape, on disk a text file in the cache folder for
 * each device, driver and version of the library, with lines
 *
 *   pass TAB shape TAB method TAB milliseconds
 *
 * It is read when something is first asked. Lines that are broken are passed over.
 */
#include "device/choice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "device/internal.h"

enum { BUCKETS = 256, MOST_TEXT = 200 };

typedef struct entry {
    struct entry *next; /* in its bucket */
    la_choice row;      /* method NULL: asked for, not on record */
    bool asked;         /* since watching began */
    char *method;
    char pass[]; /* pass, a zero, shape, a zero */
} entry;

typedef struct la_choices {
    entry *bucket[BUCKETS];
    int recorded; /* entries with a method */
    bool watched, off;
    la_choice *list; /* what was last listed */
} la_choices;

/* ---- the table ---- */

static entry **place(la_choices *c, const char *pass, const char *shape)
{
    const uint64_t hash = XXH64(shape, strlen(shape), XXH64(pass, strlen(pass), 0));
    entry **at = &c->bucket[hash % BUCKETS];
    while (*at && (strcmp((*at)->row.pass, pass) != 0 || strcmp((*at)->row.shape, shape) != 0))
        at = &(*at)->next;
    return at;
}

/* The entry of a pass and shape, made if it is not there; NULL without memory. */
static entry *entry_of(la_choices *c, const char *pass, const char *shape)
{
    entry **at = place(c, pass, shape);
    if (!*at) {
        const size_t n = strlen(pass) + 1, m = strlen(shape) + 1;
        entry *e = la__calloc(1, sizeof *e + n + m);
        if (!e)
            return NULL;
        memcpy(e->pass, pass, n);
        memcpy(e->pass + n, shape, m);
        e->row.pass = e->pass;
        e->row.shape = e->pass + n;
        *at = e;
    }
    return *at;
}

/* method NULL: forgets it. */
static int put(la_choices *c, const char *pass, const char *shape, const char *method, double milliseconds)
{
    char *copy = NULL;
    entry *e = entry_of(c, pass, shape);
    if (method) {
        copy = la__calloc(strlen(method) + 1, 1);
        if (copy)
            strcpy(copy, method);
    }
    if (!e || (method && !copy)) {
        free(copy);
        return LA_ENOMEM;
    }
    c->recorded += (method != NULL) - (e->method != NULL);
    free(e->method);
    e->method = copy;
    e->row.method = copy;
    e->row.milliseconds = milliseconds;
    return 0;
}

static void clear(la_choices *c)
{
    for (int i = 0; i < BUCKETS; i++)
        while (c->bucket[i]) {
            entry *e = c->bucket[i];
            c->bucket[i] = e->next;
            free(e->method);
            free(e);
        }
    c->recorded = 0;
}

/* ---- the file ---- */

static int file_path(char *out, size_t size, const la_device *dev)
{
    char folder[900];
    const int err = la__cache_dir(folder, sizeof folder);
    if (err == 0)
        snprintf(out, size, "%s/choices-%016llx.tsv", folder, (unsigned long long)la__cache_key(dev, "choices", ""));
    return err;
}

/* A name that may stand in a line. */
static bool is_name(const char *text)
{
    const size_t n = strlen(text);
    return n > 0 && n <= MOST_TEXT && strcspn(text, "\t\r\n") == n;
}

static bool is_time(double milliseconds)
{
    return milliseconds > 0 && isfinite(milliseconds);
}

/* One line, which is cut into pieces. */
static void read_line(la_choices *c, char *line)
{
    char *field[4], *end;
    for (int i = 0; i < 4; i++) {
        field[i] = line;
        end = strchr(line, i < 3 ? '\t' : '\0');
        if (!end)
            return;
        *end = '\0';
        line = end + 1;
    }
    const double milliseconds = strtod(field[3], &end);
    if (end == field[3] || *end || !is_time(milliseconds) || !is_name(field[0]) || !is_name(field[1]) ||
        !is_name(field[2]))
        return;
    put(c, field[0], field[1], field[2], milliseconds); /* without memory it stays unknown */
}

static void load(la_choices *c, const la_device *dev)
{
    char path[1024];
    void *file = NULL;
    size_t bytes = 0;
    if (file_path(path, sizeof path, dev) < 0 || la__read_file(&file, &bytes, path) < 0)
        return;
    for (char *line = file; *line;) { /* the text ends with a zero, and a line with one at the latest */
        char *end = line + strcspn(line, "\n");
        const bool last = *end == '\0';
        *end = '\0';
        read_line(c, line);
        line = last ? end : end + 1;
    }
    free(file);
}

/* The device's record, read from disk the first time; NULL without memory. LUALIGN_CHOICES=0: an empty one. */
static la_choices *record(la_device *dev)
{
    if (!dev->choices) {
        const char *value = getenv("LUALIGN_CHOICES");
        dev->choices = la__calloc(1, sizeof *dev->choices);
        if (!dev->choices)
            return NULL;
        dev->choices->off = value && strcmp(value, "0") == 0;
        if (!dev->choices->off)
            load(dev->choices, dev);
    }
    return dev->choices;
}

/* ---- asking ---- */

bool la__choices_matter(la_device *dev)
{
    const la_choices *c = record(dev);
    return c && (c->recorded > 0 || c->watched);
}

const char *la__choice(la_device *dev, const char *pass, const char *shape)
{
    la_choices *c = record(dev);
    if (!c)
        return NULL;
    entry *e = c->watched ? entry_of(c, pass, shape) : *place(c, pass, shape);
    if (!e)
        return NULL;
    e->asked = true;
    return e->method;
}

void la__choices_free(la_device *dev)
{
    if (!dev->choices)
        return;
    clear(dev->choices);
    free(dev->choices->list);
    free(dev->choices);
    dev->choices = NULL;
}

/* ---- public ---- */

int la_choice_set(la_device *dev, const char *pass, const char *shape, const char *method, double milliseconds)
{
    if (!is_name(pass) || !is_name(shape) || (method && !is_name(method)))
        return la_fail(LA_EARG, "choice: pass, shape and method must be texts of 1 to %d characters, without tabs",
                       MOST_TEXT);
    if (method && !is_time(milliseconds))
        return la_fail(LA_EARG, "choice: milliseconds must be above 0, got %g", milliseconds);
    la_choices *c = record(dev);
    return c && put(c, pass, shape, method, milliseconds) == 0 ? 0 : la_fail(LA_ENOMEM, "choice: out of memory");
}

int la_choice_watch(la_device *dev, bool on)
{
    la_choices *c = record(dev);
    if (!c)
        return la_fail(LA_ENOMEM, "choice: out of memory");
    for (int i = 0; on && i < BUCKETS; i++)
        for (entry *e = c->bucket[i]; e; e = e->next)
            e->asked = false;
    c->watched = on;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const la_choice *x = a, *y = b;
    const int order = strcmp(x->pass, y->pass);
    return order ? order : strcmp(x->shape, y->shape);
}

int la_choice_list(la_device *dev, bool asked, const la_choice **rows, int *count)
{
    la_choices *c = record(dev);
    int n = 0;
    for (int pass = 0; c && pass < 2; pass++) {
        n = 0;
        for (int i = 0; i < BUCKETS; i++)
            for (const entry *e = c->bucket[i]; e; e = e->next)
                if (asked ? e->asked : e->method != NULL) {
                    if (pass)
                        c->list[n] = e->row;
                    n++;
                }
        if (pass == 0) {
            free(c->list);
            c->list = la__calloc((size_t)n + 1, sizeof *c->list);
            if (!c->list)
                c = NULL;
        }
    }
    if (!c)
        return la_fail(LA_ENOMEM, "choice: out of memory");
    qsort(c->list, (size_t)n, sizeof *c->list, by_name);
    *rows = c->list;
    *count = n;
    return 0;
}

int la_choice_save(la_device *dev)
{
    int err = 0, count = 0;
    const la_choice *rows;
    char path[1024], *text = NULL;

    LA_TRY(file_path(path, sizeof path, dev));
    LA_TRY(la_choice_list(dev, false, &rows, &count));
    const size_t room = (size_t)count * (3 * MOST_TEXT + 64) + 1;
    text = la__calloc(room, 1);
    if (!text) {
        err = la_fail(LA_ENOMEM, "choice: out of memory");
        goto done;
    }
    size_t used = 0;
    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, room - used, "%s\t%s\t%s\t%.6g\n", rows[i].pass, rows[i].shape,
                                 rows[i].method, rows[i].milliseconds);
    LA_TRY(la__write_file(path, text, used));
done:
    free(text);
    return err;
}

int la_choice_forget(la_device *dev)
{
    char path[1024];
    la_choices *c = record(dev);
    if (c)
        clear(c);
    const int err = file_path(path, sizeof path, dev);
    if (err < 0)
        return err;
    remove(path); /* what is not there is forgotten */
    return 0;
}
