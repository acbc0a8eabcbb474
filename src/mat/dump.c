/* SPDX-License-Identifier: MIT
 *
 * dump.c -- what libmatio makes of a file, as the stream that mat.h describes.
 */
#include "mat/mat.h"

#include <matio.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_RANK = 16, MAX_DEPTH = 64 };

static const size_t max_elements = (size_t)1 << 31;

static char complaint[240]; /* the first thing that libmatio or this file had to say */

__attribute__((format(printf, 1, 2))) static int fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!complaint[0])
        vsnprintf(complaint, sizeof complaint, format, args);
    va_end(args);
    return -1;
}

static void listen(int level, char *message)
{
    if ((level & (MATIO_LOG_LEVEL_ERROR | MATIO_LOG_LEVEL_CRITICAL)) && message)
        fail("%s", message);
}

/* ---- parts of the stream ---- */

static void put_byte(FILE *out, int byte)
{
    fputc(byte, out);
}

static void put_count(FILE *out, size_t count)
{
    const uint64_t n = count;
    fwrite(&n, sizeof n, 1, out);
}

static void put_text(FILE *out, const char *text, size_t bytes)
{
    put_count(out, bytes);
    fwrite(text, 1, bytes, out);
}

static int count_elements(size_t *count, const matvar_t *v)
{
    if (v->rank < 0 || v->rank > MAX_RANK || (v->rank > 0 && !v->dims))
        return fail("an array has %d dimensions; at most %d are read", v->rank, (int)MAX_RANK);
    size_t n = v->rank > 0;
    for (int d = 0; d < v->rank; d++) {
        if (v->dims[d] > max_elements || (v->dims[d] && n > max_elements / v->dims[d]))
            return fail("an array has too many elements");
        n *= v->dims[d];
    }
    *count = n;
    return 0;
}

static void put_shape(FILE *out, const matvar_t *v)
{
    put_byte(out, v->rank);
    for (int d = 0; d < v->rank; d++)
        put_count(out, v->dims[d]);
}

static void put_empty(FILE *out)
{
    const char head[] = { 'N', MAT_C_DOUBLE, 0, 0, 2 };
    fwrite(head, 1, sizeof head, out);
    put_count(out, 0);
    put_count(out, 0);
}

/* ---- numbers ---- */

/* Column-major in, row-major out. */
static int put_elements(FILE *out, const matvar_t *v, const char *data, size_t n, size_t width)
{
    size_t at[MAX_RANK] = { 0 }, stride[MAX_RANK], from = 0, held = 0;
    char buffer[4096];
    if (!data)
        return fail("an array has no data");
    for (int d = 0; d < v->rank; d++)
        stride[d] = d == 0 ? width : stride[d - 1] * v->dims[d - 1];
    for (size_t i = 0; i < n; i++) {
        if (held + width > sizeof buffer) {
            fwrite(buffer, 1, held, out);
            held = 0;
        }
        memcpy(buffer + held, data + from, width);
        held += width;
        for (int d = v->rank - 1; d >= 0; d--) {
            from += stride[d];
            if (++at[d] < v->dims[d])
                break;
            from -= stride[d] * v->dims[d];
            at[d] = 0;
        }
    }
    fwrite(buffer, 1, held, out);
    return 0;
}

static int put_numbers(FILE *out, const matvar_t *v, size_t n)
{
    const size_t width = Mat_SizeOfClass((int)v->class_type);
    if (n == 0 && v->rank == 0) {
        put_empty(out);
        return 0;
    }
    if (n > 0 && (width == 0 || v->data_size < 0 || (size_t)v->data_size != width || v->nbytes < n * width))
        return fail("an array has fewer data than its shape says");
    put_byte(out, 'N');
    put_byte(out, (int)v->class_type);
    put_byte(out, v->isLogical != 0);
    put_byte(out, v->isComplex != 0);
    put_shape(out, v);
    if (n == 0)
        return 0;
    if (!v->isComplex)
        return put_elements(out, v, v->data, n, width);
    const mat_complex_split_t *both = v->data;
    if (!both)
        return fail("an array has no data");
    return put_elements(out, v, both->Re, n, width) < 0 ? -1 : put_elements(out, v, both->Im, n, width);
}

/* ---- texts ---- */

static size_t utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(lead[more] | (c >> (6 * more)));
    for (int k = 1; k <= more; k++)
        out[k] = (char)(0x80 | ((c >> (6 * (more - k))) & 0x3f));
    return (size_t)more + 1;
}

static uint32_t unit_at(const matvar_t *v, size_t i)
{
    const unsigned char *p = (const unsigned char *)v->data + i * (size_t)v->data_size;
    uint32_t c = 0;
    if (v->data_size == 1)
        return *p;
    if (v->data_size == 2) {
        uint16_t half;
        memcpy(&half, p, sizeof half);
        return half;
    }
    memcpy(&c, p, sizeof c);
    return c > 0x10ffff ? 0xfffd : c;
}

/* Row `row` of a matrix of characters, of `columns`; characters of one byte are Latin-1. */
static int put_row(FILE *out, const matvar_t *v, size_t row, size_t rows, size_t columns)
{
    char *text = malloc(4 * columns + 1);
    size_t bytes = 0;
    if (!text)
        return fail("there is no memory for a text of %zu characters", columns);
    for (size_t c = 0; c < columns; c++) {
        uint32_t u = unit_at(v, row + c * rows);
        if (v->data_size == 2 && (u & 0xfc00) == 0xd800 && c + 1 < columns) {
            const uint32_t low = unit_at(v, row + (c + 1) * rows);
            if ((low & 0xfc00) == 0xdc00) {
                u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
                c++;
            }
        }
        bytes += utf8(text + bytes, u);
    }
    put_text(out, text, bytes);
    free(text);
    return 0;
}

static int put_characters(FILE *out, const matvar_t *v, size_t n)
{
    const size_t rows = n ? v->dims[0] : 1, columns = n / rows;
    put_byte(out, 'S');
    put_count(out, rows);
    if (n == 0) {
        put_text(out, "", 0);
        return 0;
    }
    if (v->data && v->data_type == MAT_T_UTF8 && rows == 1) {
        put_text(out, v->data, v->nbytes);
        return 0;
    }
    if (!v->data || (v->data_size != 1 && v->data_size != 2 && v->data_size != 4) ||
        v->nbytes / (size_t)v->data_size < n)
        return fail("a text is shorter than its shape says");
    for (size_t r = 0; r < rows; r++)
        if (put_row(out, v, r, rows, columns) < 0)
            return -1;
    return 0;
}

/* ---- what holds others ---- */

static int put_value(FILE *out, const matvar_t *v, int depth);

/* `n` values in a row, which MATLAB may have left empty. */
static int put_values(FILE *out, const matvar_t *v, size_t n, int depth)
{
    matvar_t *const *held = v->data;
    if (n > 0 && (!held || v->nbytes / sizeof *held < n))
        return fail("a cell array or structure is shorter than its shape says");
    for (size_t i = 0; i < n; i++) {
        if (!held[i])
            put_empty(out);
        else if (put_value(out, held[i], depth) < 0)
            return -1;
    }
    return 0;
}

static int put_struct(FILE *out, matvar_t *v, size_t n, int depth)
{
    const size_t fields = Mat_VarGetNumberOfFields(v);
    char *const *names = fields ? Mat_VarGetStructFieldnames(v) : NULL;
    if (fields > 0 && (!names || n > max_elements / fields))
        return fail("a structure has too many fields");
    put_byte(out, 'T');
    put_shape(out, v);
    put_count(out, fields);
    for (size_t f = 0; f < fields; f++) {
        if (!names[f])
            return fail("a field of a structure has no name");
        put_text(out, names[f], strlen(names[f]));
    }
    return put_values(out, v, n * fields, depth);
}

static int put_unread(FILE *out, const char *class)
{
    put_byte(out, 'U');
    put_text(out, class, strlen(class));
    return 0;
}

static int put_value(FILE *out, const matvar_t *v, int depth)
{
    size_t n = 0;
    if (depth > MAX_DEPTH)
        return fail("arrays are nested more than %d deep", (int)MAX_DEPTH);
    if (count_elements(&n, v) < 0)
        return -1;
    switch (v->class_type) {
    case MAT_C_EMPTY: put_empty(out); return 0;
    case MAT_C_CHAR: return put_characters(out, v, n);
    case MAT_C_CELL:
        put_byte(out, 'C');
        put_shape(out, v);
        return put_values(out, v, n, depth + 1);
    case MAT_C_STRUCT: return put_struct(out, (matvar_t *)v, n, depth + 1);
    case MAT_C_OBJECT: return put_unread(out, "object");
    case MAT_C_SPARSE: return put_unread(out, "sparse");
    case MAT_C_FUNCTION: return put_unread(out, "function");
    case MAT_C_OPAQUE: return put_unread(out, "opaque");
    default: return put_numbers(out, v, n);
    }
}

/* ---- the file ---- */

/* Every element takes a byte of the file or, compressed, a thousandth of one: shapes that promise more are not worth
 * the memory that they would take. */
static int check_promise(const matvar_t *v, size_t most, int depth)
{
    size_t n = 0;
    if (count_elements(&n, v) < 0)
        return -1;
    if (n > most)
        return fail("an array has more elements than the file can hold");
    if (depth > MAX_DEPTH || (v->class_type != MAT_C_CELL && v->class_type != MAT_C_STRUCT) || !v->data)
        return 0;
    matvar_t *const *held = v->data;
    for (size_t i = 0; i < v->nbytes / sizeof *held; i++)
        if (held[i] && check_promise(held[i], most, depth + 1) < 0)
            return -1;
    return 0;
}

static int put_variable(FILE *out, mat_t *mat, matvar_t *v, size_t most)
{
    const char *name = v->name ? v->name : "";
    if (check_promise(v, most, 0) < 0)
        return -1;
    if (Mat_VarReadDataAll(mat, v) != 0)
        return fail("libmatio cannot read the data of '%s'", name);
    put_byte(out, '#');
    put_text(out, name, strlen(name));
    return put_value(out, v, 0);
}

static int put_all(FILE *out, mat_t *mat, const char *path)
{
    int good = 0;
    struct stat st;
    size_t most = max_elements;
    if (Mat_GetVersion(mat) != MAT_FT_MAT73 && stat(path, &st) == 0 && (size_t)st.st_size < most / 1032)
        most = (size_t)st.st_size * 1032;
    while (good == 0) {
        matvar_t *v = Mat_VarReadNextInfo(mat);
        if (!v)
            break;
        good = put_variable(out, mat, v, most);
        Mat_VarFree(v);
    }
    return complaint[0] ? -1 : good;
}

void la__mat_dump(FILE *out, const char *path)
{
    complaint[0] = '\0';
    Mat_LogInitFunc("lualign", listen);
    const char *why = la__mat_check(path);
    mat_t *mat = why ? NULL : Mat_Open(path, MAT_ACC_RDONLY);
    if (!mat)
        fail("%s", why ? why : "libmatio cannot open it");
    if (mat && put_all(out, mat, path) == 0) {
        put_byte(out, '.');
    } else {
        const uint32_t bytes = (uint32_t)strlen(complaint);
        fwrite(complaint, 1, bytes, out);
        fwrite(&bytes, sizeof bytes, 1, out);
        put_byte(out, '!');
    }
    if (mat)
        Mat_Close(mat);
}
