/* SPDX-License-Identifier: MIT
 *
 * safetensors.h -- what the two halves of the format share: the number of bytes of the header (8 bytes, little-endian),
 * the header in JSON, then the elements of all tensors without gaps. Elements are little-endian, as this machine's are
 * taken to be.
 */
#ifndef LA_SAFETENSORS_H
#define LA_SAFETENSORS_H

#include <stdio.h>

#include "lualign.h"

/* The name in the header that holds the file's own texts. */
#define LA_METADATA "__metadata__"

/* Element types of files. */
typedef enum la_stored {
    LA_S_F64,
    LA_S_F32,
    LA_S_F16,
    LA_S_BF16,
    LA_S_I64,
    LA_S_I32,
    LA_S_I16,
    LA_S_I8,
    LA_S_U64,
    LA_S_U32,
    LA_S_U16,
    LA_S_U8,
    LA_S_BOOL,
    LA_S_COUNT
} la_stored;

typedef struct la_stored_type {
    const char *name; /* "F16" */
    size_t size;
    la_dtype dtype; /* what it becomes */
} la_stored_type;

extern const la_stored_type la__stored_types[LA_S_COUNT];

/* n elements of a file to elements of their la_dtype: 0, or the number, counted from 1, of one that does not fit. */
int64_t la__stored_convert(void *out, const void *in, int64_t n, la_stored type);

/* A tensor of the elements at `offset` of a file; `what` begins the messages. */
int la__stored_read(la_tensor **out, la_device *dev, FILE *file, int64_t offset, la_stored type, int ndim,
                    const int64_t *dim, const char *what);

#endif
