/* SPDX-License-Identifier: MIT
 *
 * check.c -- whether the parts of a file of version 5 are as long as they say. libmatio reads past the end of an
 * element into the next one, and does not look at the checksums of compressed variables.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "mat/mat.h"

enum { HEADER = 128, MAX_DEPTH = 70 };
enum { INT8 = 1, INT32 = 5, UINT32 = 6, MATRIX = 14, COMPRESSED = 15, UTF8 = 16 };
enum { CELL = 1, STRUCT = 2, OBJECT = 3, CHAR = 4, DOUBLE = 6, UINT64 = 15 }; /* classes */

typedef struct span {
    const unsigned char *at;
    size_t left;
    bool big; /* endian */
} span;

typedef struct element {
    uint32_t type;
    span data;
} element;

static uint32_t u32(const span *s, size_t at)
{
    const unsigned char *p = s->at + at;
    return s->big ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]
                  : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void skip(span *s, size_t bytes)
{
    bytes = bytes < s->left ? bytes : s->left;
    s->at += bytes;
    s->left -= bytes;
}

/* The next element; false if there is none, or not all of it. */
static bool next(span *s, element *e)
{
    if (s->left < 8)
        return false;
    const uint32_t first = u32(s, 0), small = first >> 16;
    if (small) { /* type and length in one word, up to four bytes in the other */
        *e = (element){ first & 0xffff, { s->at + 4, small, s->big } };
        skip(s, 8);
        return small <= 4;
    }
    const size_t bytes = u32(s, 4);
    if (bytes > s->left - 8)
        return false;
    *e = (element){ first, { s->at + 8, bytes, s->big } };
    skip(s, 8 + (bytes + 7) / 8 * 8);
    return true;
}

static size_t width_of(uint32_t type)
{
    static const unsigned char width[] = { 0, 1, 1, 2, 2, 4, 4, 4, 0, 8, 0, 0, 8, 8, 0, 0, 1, 2, 4 };
    return type < sizeof width ? width[type] : 0;
}

static const char *check_matrix(span s, int depth);

static const char *check_matrices(span *s, size_t n, int depth)
{
    element e;
    const char *why = NULL;
    for (size_t i = 0; i < n && !why; i++)
        why = next(s, &e) && e.type == MATRIX ? check_matrix(e.data, depth + 1)
                                              : "a cell array or structure is shorter than its shape says";
    return why;
}

static const char *check_fields(span *s, size_t n, bool object, int depth)
{
    element e;
    if (object && !next(s, &e))
        return "an object has no class";
    if (!next(s, &e) || e.type != INT32 || e.data.left < 4)
        return "a structure has no fields";
    const uint32_t length = u32(&e.data, 0);
    if (!next(s, &e) || e.type != INT8 || length == 0 || e.data.left % length)
        return "a structure's fields have no names";
    const size_t fields = e.data.left / length;
    return check_matrices(s, fields && n > SIZE_MAX / fields ? SIZE_MAX : n * fields, depth);
}

/* Numbers or characters, twice if complex. */
static const char *check_numbers(span *s, size_t n, int class, bool complex)
{
    for (int part = 0; n > 0 && part <= complex; part++) {
        element e;
        const bool there = next(s, &e);
        const size_t width = there ? width_of(e.type) : 0;
        if (!width || (e.data.left / width < n && !(class == CHAR && e.type == UTF8)))
            return "an array has fewer data than its shape says";
    }
    return NULL;
}

/* What is in a matrix element: NULL, or what is wrong with it. */
static const char *check_matrix(span s, int depth)
{
    element e;
    size_t n = 1;
    if (s.left == 0) /* [] */
        return NULL;
    if (depth > MAX_DEPTH)
        return "arrays are nested too deep";
    if (!next(&s, &e) || e.type != UINT32 || e.data.left < 8)
        return "an array has no flags";
    const uint32_t flags = u32(&e.data, 0);
    const int class = flags & 0xff;
    if (class < CELL || class > UINT64 || class == DOUBLE - 1) /* sparse and others, which are not read */
        return NULL;
    if (!next(&s, &e) || e.type != INT32 || e.data.left < 4)
        return "an array has no shape";
    for (; e.data.left >= 4; skip(&e.data, 4)) {
        const uint32_t size = u32(&e.data, 0);
        n = size && n > SIZE_MAX / size ? SIZE_MAX : n * size;
    }
    if (!next(&s, &e))
        return "an array has no name";
    if (class == CELL)
        return check_matrices(&s, n, depth);
    if (class == STRUCT || class == OBJECT)
        return check_fields(&s, n, class == OBJECT, depth);
    return check_numbers(&s, n, class, (flags & 0x800) != 0);
}

/* A compressed variable: all of it inflates, its checksum is right, and there is a matrix in it. */
static const char *check_compressed(span s)
{
    const char *why = "a compressed variable is damaged";
    const size_t most = s.left * 1032 + 64; /* deflate cannot do better */
    size_t room = s.left * 4 + 256;
    unsigned char *out = malloc(room);
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)s.at, .avail_in = (uInt)s.left };
    int code = Z_OK;
    if (!out || inflateInit(&z) != Z_OK) {
        free(out);
        return "there is no memory for a compressed variable";
    }
    while (code == Z_OK && z.total_out < most) {
        if (room - z.total_out == 0) {
            unsigned char *larger = realloc(out, 2 * room);
            if (!larger)
                break;
            out = larger;
            room *= 2;
        }
        z.next_out = out + z.total_out;
        z.avail_out = room - z.total_out > UINT32_MAX ? UINT32_MAX : (uInt)(room - z.total_out);
        code = inflate(&z, Z_NO_FLUSH);
    }
    if (code == Z_STREAM_END) {
        span all = { out, z.total_out, s.big };
        element e;
        why = next(&all, &e) && e.type == MATRIX ? check_matrix(e.data, 0) : why;
    }
    inflateEnd(&z);
    free(out);
    return why;
}

static const char *check_variables(span s)
{
    const char *why = NULL;
    while (s.left > 0 && !why) {
        const uint32_t type = s.left < 8 ? 0 : u32(&s, 0);
        const size_t bytes = s.left < 8 ? 0 : u32(&s, 4);
        if ((type != MATRIX && type != COMPRESSED) || bytes > s.left - 8)
            return "it does not end with a variable";
        const span inside = { s.at + 8, bytes, s.big };
        why = type == MATRIX ? check_matrix(inside, 0) : check_compressed(inside);
        skip(&s, 8 + bytes);
    }
    return why;
}

const char *la__mat_check(const char *path)
{
    const char *why = "it cannot be read";
    unsigned char *bytes = NULL;
    FILE *f = fopen(path, "rb");
    long size = -1;
    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= HEADER && fseek(f, 0, SEEK_SET) == 0)
        bytes = malloc((size_t)size);
    if (bytes && fread(bytes, 1, (size_t)size, f) == (size_t)size) {
        const bool big = memcmp(bytes + 126, "MI", 2) == 0;
        const bool five = bytes[124 + !big] == 1; /* 0x0100; 7.3 has 0x0200 and is HDF5's affair */
        why = five ? check_variables((span){ bytes + HEADER, (size_t)size - HEADER, big }) : NULL;
    }
    free(bytes);
    if (f)
        fclose(f);
    return why;
}
