/* SPDX-License-Identifier: MIT
 *
 * constant.c -- tables that are made once on the host and stay with the device.
 */
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

typedef struct la_constant {
    struct la_constant *next;
    char *key;
    la_buffer *buffer;
} la_constant;

static void constant_free(la_constant *k)
{
    if (k->buffer)
        la__buffer_give(k->buffer);
    free(k->key);
    free(k);
}

void la__constants_free(la_device *dev)
{
    while (dev->constants) {
        la_constant *k = dev->constants;
        dev->constants = k->next;
        constant_free(k);
    }
}

int la__device_constant(const la_buffer **out, la_device *dev, const char *key, size_t bytes,
                        int (*fill)(void *data, const void *what), const void *what)
{
    int err = 0;
    void *data = NULL;
    la_constant *k = dev->constants;

    *out = NULL;
    while (k && strcmp(k->key, key) != 0)
        k = k->next;
    if (k) {
        *out = k->buffer;
        return 0;
    }
    k = la__calloc(1, sizeof *k);
    data = la__calloc(1, bytes);
    if (!k || !data || !(k->key = strdup(key))) {
        err = la_fail(LA_ENOMEM, "constant '%s': out of memory", key);
        goto done;
    }
    LA_TRY(fill(data, what));
    LA_TRY(la__buffer_take(&k->buffer, dev, bytes));
    LA_TRY(la__buffer_write(k->buffer, 0, bytes, data));
    k->next = dev->constants;
    dev->constants = k;
    *out = k->buffer;
    k = NULL;
done:
    free(data);
    if (k)
        constant_free(k);
    return err;
}
