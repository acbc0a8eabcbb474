/* SPDX-License-Identifier: MIT
 *
 * derived.c -- buffers kept with a storage, and the versions of the tensors that they were made of.
 */
#include "tensor/derived.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

typedef struct origin {
    uint64_t serial; /* 0: no tensor */
    uint32_t version;
    int64_t offset;
} origin;

typedef struct la_kept {
    struct la_kept *next;
    char *key;
    size_t bytes;
    la_buffer *buffer;
    origin from[LA_DERIVED_FROM];
} la_kept;

static void destroy(la_kept *k)
{
    la__buffer_give(k->buffer);
    free(k->key);
    free(k);
}

static bool worth_keeping(int n, const la_tensor *const *from)
{
    for (int i = 0; i < n; i++)
        if (from[i] && (from[i]->requires_grad || from[i]->node))
            return false;
    return true;
}

static void note(origin *o, int n, const la_tensor *const *from)
{
    memset(o, 0, LA_DERIVED_FROM * sizeof *o);
    for (int i = 0; i < n; i++)
        if (from[i]) {
            o[i].serial = from[i]->storage->serial;
            o[i].version = from[i]->storage->version;
            o[i].offset = from[i]->offset;
        }
}

static bool same(const origin *a, const origin *b)
{
    for (int i = 0; i < LA_DERIVED_FROM; i++)
        if (a[i].serial != b[i].serial || a[i].version != b[i].version || a[i].offset != b[i].offset)
            return false;
    return true;
}

static la_kept *find(const la_storage *owner, const char *key, size_t bytes)
{
    for (la_kept *k = owner->kept; k; k = k->next)
        if (k->bytes == bytes && strcmp(k->key, key) == 0)
            return k;
    return NULL;
}

static int keep(la_kept **out, la_storage *owner, const char *key, size_t bytes)
{
    int err = 0;
    la_kept *k = la__calloc(1, sizeof *k);
    if (!k)
        return LA_ENOMEM;
    k->bytes = bytes;
    k->key = la__calloc(strlen(key) + 1, 1);
    if (!k->key) {
        err = LA_ENOMEM;
        goto done;
    }
    strcpy(k->key, key);
    LA_TRY(la__buffer_take(&k->buffer, owner->dev, bytes));
    k->next = owner->kept;
    owner->kept = k;
    *out = k;
done:
    if (err < 0)
        destroy(k);
    return err;
}

int la__derived_take(la_derived *out, const char *key, size_t bytes, int n, const la_tensor *const *from)
{
    int err = 0;
    la_storage *owner = from[0]->storage;
    origin now[LA_DERIVED_FROM];

    *out = (la_derived){ 0 };
    if (!worth_keeping(n, from)) {
        LA_TRY(la__buffer_take(&out->buffer, owner->dev, bytes));
        out->owned = true;
        return 0;
    }
    note(now, n, from);
    la_kept *k = find(owner, key, bytes);
    if (!k)
        LA_TRY(keep(&k, owner, key, bytes));
    out->buffer = k->buffer;
    out->ready = same(k->from, now);
    memcpy(k->from, now, sizeof now);
done:
    return err;
}

void la__derived_give(la_derived *d)
{
    if (d->owned)
        la__buffer_give(d->buffer);
    *d = (la_derived){ 0 };
}

void la__derived_forget(la_storage *s)
{
    while (s->kept) {
        la_kept *k = s->kept;
        s->kept = k->next;
        destroy(k);
    }
}
