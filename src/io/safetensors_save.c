/* SPDX-License-Identifier: MIT
 *
 * safetensors_save.c -- writing. The header lists tensors in the order given; their elements lie in the order of their
 * size, four bytes before one, behind a header padded to eight bytes, so that all of them are aligned.
 */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/safetensors.h"
#include "tensor/tensor.h"
#include "util/util.h"

enum { ALIGN = 8 };

/* Bytes of an element, in the order in which elements are laid out. */
static const size_t sizes[] = { 4, 1 };

static la_stored stored_as(la_dtype dtype)
{
    return dtype == LA_F32 ? LA_S_F32 : dtype == LA_I32 ? LA_S_I32 : LA_S_U8;
}

static size_t bytes_of(const la_tensor *t)
{
    return (size_t)la_tensor_numel(t) * la_dtype_size(t->dtype);
}

static int check_string(const char *what, const char *s, const char *path)
{
    if (la__utf8_fault(s, strlen(s)))
        return la_fail(LA_EARG, "%s: %s is no UTF-8: '%s'", path, what, s);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All names valid and different. */
static int check_names(int n, const char *const *names, const char *what, const char *path)
{
    int err = 0;
    const char **sorted = la__calloc((size_t)n, sizeof *sorted);
    if (!sorted)
        return LA_ENOMEM;
    for (int i = 0; i < n; i++) {
        LA_TRY(check_string(what, names[i], path));
        sorted[i] = names[i];
    }
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    for (int i = 0; i < n; i++) {
        if (strcmp(sorted[i], LA_METADATA) == 0)
            err = la_fail(LA_EARG, "%s: %s must not be '" LA_METADATA "'", path, what);
        else if (i > 0 && strcmp(sorted[i - 1], sorted[i]) == 0)
            err = la_fail(LA_EARG, "%s: %s '%s' is given twice", path, what, sorted[i]);
        if (err)
            goto done;
    }
done:
    free(sorted);
    return err;
}

/* Where each tensor's elements begin: those of four bytes first. */
static void place(uint64_t *begin, int n, la_tensor *const *tensors)
{
    uint64_t at = 0;
    for (int k = 0; k < LA_COUNT(sizes); k++)
        for (int i = 0; i < n; i++)
            if (la_dtype_size(tensors[i]->dtype) == sizes[k]) {
                begin[i] = at;
                at += bytes_of(tensors[i]);
            }
}

static bool add_tensor(cJSON *root, const char *name, const la_tensor *t, uint64_t begin)
{
    cJSON *object = cJSON_AddObjectToObject(root, name);
    bool ok = cJSON_AddStringToObject(object, "dtype", la__stored_types[stored_as(t->dtype)].name) != NULL;
    cJSON *shape = cJSON_AddArrayToObject(object, "shape"), *offsets = cJSON_AddArrayToObject(object, "data_offsets");
    for (int d = 0; d < t->ndim; d++)
        ok = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->dim[d])) && ok;
    ok = cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)begin)) && ok;
    return cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)(begin + bytes_of(t)))) && ok;
}

/* The header's text, freed by cJSON_free. */
static int make_header(char **out, int n, const char *const *names, la_tensor *const *tensors, const uint64_t *begin,
                       int texts, const char *const *keys, const char *const *values)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root != NULL;
    if (texts > 0) {
        cJSON *object = cJSON_AddObjectToObject(root, LA_METADATA);
        for (int i = 0; i < texts; i++)
            ok = cJSON_AddStringToObject(object, keys[i], values[i]) && ok;
    }
    for (int i = 0; i < n && ok; i++)
        ok = add_tensor(root, names[i], tensors[i], begin[i]);
    *out = ok ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    return *out ? 0 : la_fail(LA_ENOMEM, "out of memory for a header of %d tensors", n);
}

static int put_header(la_writer *w, const char *header)
{
    int err = 0;
    static const char spaces[ALIGN] = { ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ' };
    const size_t length = strlen(header), padding = (ALIGN - length % ALIGN) % ALIGN;
    const uint64_t n = length + padding;
    uint8_t prefix[8];
    for (int k = 0; k < 8; k++)
        prefix[k] = (uint8_t)(n >> (8 * k));
    LA_TRY(la__writer_put(w, prefix, sizeof prefix));
    LA_TRY(la__writer_put(w, header, length));
    LA_TRY(la__writer_put(w, spaces, padding));
done:
    return err;
}

static int put_tensors(la_writer *w, int n, la_tensor *const *tensors)
{
    int err = 0;
    size_t most = 0;
    for (int i = 0; i < n; i++)
        most = bytes_of(tensors[i]) > most ? bytes_of(tensors[i]) : most;
    void *data = la__calloc(most, 1);
    if (!data)
        return LA_ENOMEM;
    for (int k = 0; k < LA_COUNT(sizes); k++) /* in the order of place() */
        for (int i = 0; i < n; i++)
            if (la_dtype_size(tensors[i]->dtype) == sizes[k]) {
                LA_TRY(la_tensor_read(tensors[i], data));
                LA_TRY(la__writer_put(w, data, bytes_of(tensors[i])));
            }
done:
    free(data);
    return err;
}

int la_safetensors_save(const char *path, int n, const char *const *names, la_tensor *const *tensors, int texts,
                        const char *const *keys, const char *const *values)
{
    int err = 0;
    char *header = NULL;
    la_writer *w = NULL;
    uint64_t *begin = la__calloc((size_t)n, sizeof *begin);
    if (!begin)
        return LA_ENOMEM;
    LA_TRY(check_names(n, names, "tensor name", path));
    LA_TRY(check_names(texts, keys, "metadata key", path));
    for (int i = 0; i < texts; i++)
        LA_TRY(check_string("metadata value", values[i], path));
    place(begin, n, tensors);
    LA_TRY(make_header(&header, n, names, tensors, begin, texts, keys, values));
    LA_TRY(la__writer_open(&w, path));
    LA_TRY(put_header(w, header));
    LA_TRY(put_tensors(w, n, tensors));
    LA_TRY(la__writer_commit(&w));
done:
    la__writer_abandon(&w);
    cJSON_free(header);
    free(begin);
    return err;
}
