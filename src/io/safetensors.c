/* SPDX-License-Identifier: MIT
 *
 * safetensors.c -- reading. A file is believed only after all of its header was checked: every tensor's bytes lie in
 * the file, fit its shape, and together with the others' fill the file without gap or overlap.
 */
#include "io/safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/json.h"
#include "tensor/tensor.h"
#include "util/util.h"

enum { PREFIX = 8, MOST_DIMS = 16 };
static const uint64_t MOST_HEADER = 100000000; /* bytes, as in the format's own implementation */

typedef struct entry {
    char *name;
    la_stored type;
    int ndim;
    int64_t dim[MOST_DIMS];
    int64_t numel;
    uint64_t begin, end; /* after the header */
} entry;

typedef struct text_pair {
    char *key, *value;
} text_pair;

struct la_safetensors {
    char *path;
    FILE *file;
    uint64_t start, bytes; /* of the elements: where, and how many */
    int count, texts;
    entry *entry;
    text_pair *text;
};

static int copy_string(char **out, const char *s)
{
    *out = strdup(s);
    return *out ? 0 : la_fail(LA_ENOMEM, "out of memory for a name");
}

/* ---- one tensor of the header ---- */

/* A whole number that is not negative, exactly as a double holds it. */
static bool whole(uint64_t *out, const la_json *json)
{
    if (!json || la__json_kind(json) != LA_JSON_NUMBER)
        return false;
    const double v = la__json_number(json);
    if (!(v >= 0.0 && v <= 0x1p53) || v != floor(v))
        return false;
    *out = (uint64_t)v;
    return true;
}

static int parse_dtype(entry *e, const la_json *json, const char *path)
{
    if (!json || la__json_kind(json) != LA_JSON_STRING)
        return la_fail(LA_EFORMAT, "%s: tensor '%s' has no dtype", path, e->name);
    for (int k = 0; k < LA_S_COUNT; k++)
        if (strcmp(la__json_string(json), la__stored_types[k].name) == 0) {
            e->type = (la_stored)k;
            return 0;
        }
    return la_fail(LA_EFORMAT, "%s: tensor '%s' has a dtype that is not known: '%s'", path, e->name,
                   la__json_string(json));
}

static int parse_shape(entry *e, const la_json *json, const char *path)
{
    if (!json || la__json_kind(json) != LA_JSON_ARRAY)
        return la_fail(LA_EFORMAT, "%s: tensor '%s' has no shape", path, e->name);
    uint64_t numel = 1;
    for (const la_json *d = la__json_first(json); d; d = la__json_next(d)) {
        uint64_t size;
        if (e->ndim == MOST_DIMS)
            return la_fail(LA_EFORMAT, "%s: tensor '%s' has more than %d dimensions", path, e->name, MOST_DIMS);
        if (!whole(&size, d))
            return la_fail(LA_EFORMAT, "%s: tensor '%s': dimension %d is no size", path, e->name, e->ndim + 1);
        if (size && numel > ((uint64_t)1 << 53) / size)
            return la_fail(LA_EFORMAT, "%s: tensor '%s' claims more elements than can be", path, e->name);
        numel *= size;
        e->dim[e->ndim++] = (int64_t)size;
    }
    e->numel = (int64_t)numel;
    return 0;
}

static int parse_offsets(entry *e, const la_json *json, const char *path)
{
    const la_json *first = json && la__json_kind(json) == LA_JSON_ARRAY ? la__json_first(json) : NULL;
    const la_json *second = first ? la__json_next(first) : NULL;
    if (!whole(&e->begin, first) || !whole(&e->end, second) || la__json_next(second))
        return la_fail(LA_EFORMAT, "%s: tensor '%s' has no data_offsets of two whole numbers", path, e->name);
    const uint64_t size = la__stored_types[e->type].size;
    if (e->end < e->begin || e->end - e->begin != (uint64_t)e->numel * size)
        return la_fail(
            LA_EFORMAT, "%s: tensor '%s': %lld elements of %s take %llu bytes, its offsets are %llu and %llu", path,
            e->name, (long long)e->numel, la__stored_types[e->type].name,
            (unsigned long long)((uint64_t)e->numel * size), (unsigned long long)e->begin, (unsigned long long)e->end);
    return 0;
}

static int parse_entry(entry *e, const la_json *json, const char *path)
{
    int err = 0;
    static const char *const names[] = { "dtype", "shape", "data_offsets" };
    const la_json *field[LA_COUNT(names)] = { NULL };
    LA_TRY(copy_string(&e->name, la__json_key(json)));
    if (la__json_kind(json) != LA_JSON_OBJECT) {
        err = la_fail(LA_EFORMAT, "%s: tensor '%s' is not described by an object", path, e->name);
        goto done;
    }
    for (const la_json *m = la__json_first(json); m; m = la__json_next(m))
        for (int k = 0; k < LA_COUNT(names); k++)
            if (strcmp(la__json_key(m), names[k]) == 0) {
                if (field[k]) {
                    err = la_fail(LA_EFORMAT, "%s: tensor '%s' has %s twice", path, e->name, names[k]);
                    goto done;
                }
                field[k] = m;
            }
    LA_TRY(parse_dtype(e, field[0], path));
    LA_TRY(parse_shape(e, field[1], path));
    LA_TRY(parse_offsets(e, field[2], path));
done:
    return err;
}

/* ---- the texts ---- */

static int parse_texts(la_safetensors *s, const la_json *json)
{
    int err = 0, n = 0;
    if (la__json_kind(json) != LA_JSON_OBJECT || s->text)
        return la_fail(LA_EFORMAT, "%s: " LA_METADATA " must be one object of strings", s->path);
    for (const la_json *m = la__json_first(json); m; m = la__json_next(m))
        n++;
    s->text = la__calloc((size_t)n, sizeof *s->text);
    if (!s->text)
        return LA_ENOMEM;
    for (const la_json *m = la__json_first(json); m; m = la__json_next(m)) {
        if (la__json_kind(m) != LA_JSON_STRING) {
            err = la_fail(LA_EFORMAT, "%s: " LA_METADATA ": '%s' is no string", s->path, la__json_key(m));
            goto done;
        }
        text_pair *t = &s->text[s->texts++];
        LA_TRY(copy_string(&t->key, la__json_key(m)));
        LA_TRY(copy_string(&t->value, la__json_string(m)));
    }
done:
    return err;
}

/* ---- all of them together ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const entry *const *)a)->name, (*(const entry *const *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* No name twice; in the order of their bytes each tensor starts where the one before it ends. */
static int check_together(const la_safetensors *s)
{
    int err = 0;
    uint64_t at = 0;
    const entry **sorted = la__calloc((size_t)s->count, sizeof *sorted);
    if (!sorted)
        return LA_ENOMEM;
    for (int i = 0; i < s->count; i++)
        sorted[i] = &s->entry[i];
    qsort(sorted, (size_t)s->count, sizeof *sorted, by_name);
    for (int i = 1; i < s->count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            err = la_fail(LA_EFORMAT, "%s: two tensors are called '%s'", s->path, sorted[i]->name);
            goto done;
        }
    qsort(sorted, (size_t)s->count, sizeof *sorted, by_offset);
    for (int i = 0; i < s->count; i++) {
        const entry *e = sorted[i];
        if (e->end > s->bytes)
            err = la_fail(LA_EFORMAT, "%s: ends early: tensor '%s' reaches to byte %llu, there are %llu", s->path,
                          e->name, (unsigned long long)(s->start + e->end), (unsigned long long)(s->start + s->bytes));
        else if (e->begin < at)
            err = la_fail(LA_EFORMAT, "%s: tensors '%s' and '%s' overlap", s->path, sorted[i - 1]->name, e->name);
        else if (e->begin > at)
            err = la_fail(LA_EFORMAT, "%s: %llu bytes before tensor '%s' belong to none", s->path,
                          (unsigned long long)(e->begin - at), e->name);
        if (err)
            goto done;
        at = e->end;
    }
    if (at != s->bytes)
        err = la_fail(LA_EFORMAT, "%s: the last %llu bytes belong to no tensor", s->path,
                      (unsigned long long)(s->bytes - at));
done:
    free(sorted);
    return err;
}

static int parse_header(la_safetensors *s, const char *header, size_t n)
{
    int err = 0;
    size_t count = 0;
    la_json *json = NULL;
    LA_TRY(la__json_parse(&json, header, n, s->path));
    if (la__json_kind(json) != LA_JSON_OBJECT) {
        err = la_fail(LA_EFORMAT, "%s: the header is not an object", s->path);
        goto done;
    }
    for (const la_json *m = la__json_first(json); m; m = la__json_next(m))
        count++;
    s->entry = la__calloc(count, sizeof *s->entry);
    if (!s->entry) {
        err = LA_ENOMEM;
        goto done;
    }
    for (const la_json *m = la__json_first(json); m; m = la__json_next(m)) {
        if (strcmp(la__json_key(m), LA_METADATA) == 0)
            LA_TRY(parse_texts(s, m));
        else
            LA_TRY(parse_entry(&s->entry[s->count++], m, s->path));
    }
    LA_TRY(check_together(s));
done:
    la__json_free(&json);
    return err;
}

/* Reads the header's length and text and lets them be parsed. */
static int read_header(la_safetensors *s)
{
    int err = 0;
    uint8_t prefix[PREFIX];
    uint64_t n = 0;
    char *header = NULL;
    struct stat st;
    if (fstat(fileno(s->file), &st) != 0 || !S_ISREG(st.st_mode))
        return la_fail(LA_EIO, "%s: is not a file", s->path);
    const uint64_t size = (uint64_t)st.st_size;
    if (fread(prefix, 1, PREFIX, s->file) != PREFIX)
        return la_fail(LA_EFORMAT, "%s: is no safetensors file: it has %llu bytes", s->path, (unsigned long long)size);
    for (int k = PREFIX; k-- > 0;)
        n = n << 8 | prefix[k];
    if (n > MOST_HEADER || n > size - PREFIX)
        return la_fail(LA_EFORMAT, "%s: is no safetensors file or ends early: a header of %llu bytes in a file of %llu",
                       s->path, (unsigned long long)n, (unsigned long long)size);
    s->start = PREFIX + n;
    s->bytes = size - s->start;
    header = la__calloc((size_t)n + 1, 1);
    if (!header)
        return LA_ENOMEM;
    if (fread(header, 1, (size_t)n, s->file) != (size_t)n) {
        err = la_fail(LA_EIO, "%s: cannot be read: %s", s->path, strerror(errno));
        goto done;
    }
    LA_TRY(parse_header(s, header, (size_t)n));
done:
    free(header);
    return err;
}

int la_safetensors_open(la_safetensors **out, const char *path)
{
    int err = 0;
    la_safetensors *s = la__calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return LA_ENOMEM;
    LA_TRY(copy_string(&s->path, path));
    s->file = fopen(path, "rb");
    if (!s->file) {
        err = la_fail(LA_EIO, "%s: cannot be read: %s", path, strerror(errno));
        goto done;
    }
    LA_TRY(read_header(s));
    *out = s;
    s = NULL;
done:
    la_safetensors_close(s);
    return err;
}

void la_safetensors_close(la_safetensors *s)
{
    if (!s)
        return;
    if (s->file)
        fclose(s->file);
    for (int i = 0; i < s->count; i++)
        free(s->entry[i].name);
    for (int i = 0; i < s->texts; i++) {
        free(s->text[i].key);
        free(s->text[i].value);
    }
    free(s->entry);
    free(s->text);
    free(s->path);
    free(s);
}

/* ---- asking ---- */

int la_safetensors_count(const la_safetensors *s)
{
    return s->count;
}

const char *la_safetensors_name(const la_safetensors *s, int i)
{
    return i >= 0 && i < s->count ? s->entry[i].name : NULL;
}

int la_safetensors_find(const la_safetensors *s, const char *name)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->entry[i].name, name) == 0)
            return i;
    return la_fail(LA_EARG, "%s: has no tensor '%s'", s->path, name);
}

bool la_safetensors_text(const la_safetensors *s, int i, const char **key, const char **value)
{
    if (i < 0 || i >= s->texts)
        return false;
    *key = s->text[i].key;
    *value = s->text[i].value;
    return true;
}

/* Past the size of our tensors, dimensions of 0 left aside. */
static bool too_large(const entry *e)
{
    int64_t n = 1;
    for (int d = 0; d < e->ndim; d++) {
        if (e->dim[d] > INT32_MAX)
            return true;
        n *= e->dim[d] ? e->dim[d] : 1;
        if (n > INT32_MAX)
            return true;
    }
    return false;
}

int la_safetensors_read(la_tensor **out, la_safetensors *s, la_device *dev, int i)
{
    *out = NULL;
    if (i < 0 || i >= s->count)
        return la_fail(LA_EARG, "%s: has %d tensors, asked for number %d", s->path, s->count, i + 1);
    const entry *e = &s->entry[i];
    if (e->ndim > LA_MAX_DIMS)
        return la_fail(LA_EFORMAT, "%s: tensor '%s' has %d dimensions, at most %d are taken", s->path, e->name, e->ndim,
                       LA_MAX_DIMS);
    if (too_large(e))
        return la_fail(LA_EFORMAT, "%s: tensor '%s' is too large: at most 2^31 - 1 elements are taken", s->path,
                       e->name);
    char what[512];
    snprintf(what, sizeof what, "%s: tensor '%s'", s->path, e->name);
    return la__stored_read(out, dev, s->file, (int64_t)(s->start + e->begin), e->type, e->ndim, e->dim, what);
}
