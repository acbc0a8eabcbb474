/* SPDX-License-Identifier: MIT
 *
 * fuzz_files.c -- files changed at random, the same ones each time: readers may refuse them, with a message that names
 * the file, and must not crash, read past the end or believe what cannot be. LUALIGN_FUZZ: how many of each (default
 * 2000); worth running with sanitizers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/json.h"
#include "io/picture.h"
#include "tensor/tensor.h"
#include "util/util.h"

enum { ROOM = 1 << 16 };

static char folder[64];
static la_device *dev;
static uint64_t state_of_chance = 88172645463325252u;

static unsigned chance(unsigned n)
{
    state_of_chance ^= state_of_chance << 13;
    state_of_chance ^= state_of_chance >> 7;
    state_of_chance ^= state_of_chance << 17;
    return (unsigned)(state_of_chance >> 33) % n;
}

static int rounds(void)
{
    const char *text = getenv("LUALIGN_FUZZ");
    return text ? atoi(text) : 2000;
}

static int prepare(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/lualign-fuzz-XXXXXX");
    return mkdtemp(folder) && la_device_open(&dev, NULL) == 0 ? 0 : -1;
}

static int tidy(void **state)
{
    char command[128];
    (void)state;
    la_device_close(dev);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* ---- changes ---- */

/* What numbers, names and punctuation in a header may become. */
static const char *const tokens[] = {
    "0",    "-1",   "1e308", "4294967296", "9007199254740993", "\"F32\"",  "\"I64\"", "[", "]", "{", "}", ",", ":",
    "\"\"", "null", "true",  "\\u",        "\\u0000",          "\"a\":1,", "3.5",     " "
};

static size_t put_over(uint8_t *data, size_t n, size_t at, const void *what, size_t length)
{
    for (size_t k = 0; k < length && at + k < n; k++)
        data[at + k] = ((const uint8_t *)what)[k];
    return n;
}

static size_t put_between(uint8_t *data, size_t n, size_t at, const void *what, size_t length)
{
    if (n + length > ROOM)
        return n;
    memmove(data + at + length, data + at, n - at);
    memmove(data + at, what, length);
    return n + length;
}

static size_t cut(uint8_t *data, size_t n, size_t at, size_t length)
{
    length = length < n - at ? length : n - at;
    memmove(data + at, data + at + length, n - at - length);
    return n - length;
}

/* One change; most of them near the start, where the headers are. Returns the new length. */
static size_t change(uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    const size_t at = chance((unsigned)(chance(4) && n > 64 ? 64 + chance((unsigned)n - 63) : n));
    const char *token = tokens[chance(LA_COUNT(tokens))];
    switch (chance(8)) {
    case 0: data[at] ^= (uint8_t)(1u << chance(8)); return n;
    case 1: data[at] = (uint8_t)chance(256); return n;
    case 2: return cut(data, n, at, 1 + chance(16));
    case 3: return chance(3) ? n : at;
    case 4: return put_over(data, n, at, token, strlen(token));
    case 5: return put_between(data, n, at, token, strlen(token));
    case 6: return put_between(data, n, at, data + chance((unsigned)n - (n > 32 ? 32 : 0)), n > 32 ? chance(32) : 1);
    default: data[chance(8) % n] = (uint8_t)chance(chance(2) ? 4 : 256); return n;
    }
}

/* Without la__write_file's wait for the disk, which some file systems add where a file is written over. */
static void put_bytes(const char *path, const uint8_t *data, size_t bytes)
{
    remove(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

/* A changed copy of one of the files, under `path`; keeps the length of a safetensors header right in half of the
 * cases, so that its text is reached. */
static void put_changed(const char *path, const uint8_t *file, size_t bytes, bool header)
{
    static uint8_t data[ROOM];
    size_t n = bytes;
    memcpy(data, file, bytes);
    for (unsigned k = 1 + chance(4); k > 0; k--)
        n = change(data, n);
    if (header && n > 8 && n - bytes + file[0] + 256u * file[1] < n && chance(2)) {
        const size_t length = (size_t)file[0] + 256u * file[1] + n - bytes;
        for (size_t k = 0; k < 8; k++)
            data[k] = (uint8_t)((uint64_t)length >> (8 * k));
    }
    put_bytes(path, data, n);
}

/* ---- safetensors ---- */

static void put_good_safetensors(const char *path)
{
    static const char *const names[] = { "conv.weight", "conv.bias", "steps", "mask", "none" };
    static const char *const keys[] = { "kind", "config" }, *const values[] = { "model", "{\"layers\": [7, 12]}" };
    la_tensor *t[5];
    assert_int_equal(la__full(&t[0], dev, LA_DIMS(2, 3, 3, 1), 0.5), 0);
    assert_int_equal(la__full(&t[1], dev, LA_DIMS(2), 0.5), 0);
    assert_int_equal(la_tensor_from(&t[2], dev, LA_I32, 0, NULL, &(int32_t){ 7 }), 0);
    assert_int_equal(la_tensor_from(&t[3], dev, LA_U8, LA_DIMS(5), "abcde"), 0);
    assert_int_equal(la_tensor_new(&t[4], dev, LA_F32, LA_DIMS(0, 4)), 0);
    assert_int_equal(la_safetensors_save(path, 5, names, t, 2, keys, values), 0);
    for (int i = 0; i < 5; i++)
        la_tensor_release(&t[i]);
}

/* Reads all of a file that was taken; its elements, of one byte at least, must lie in it. */
static void read_all(la_safetensors *s, size_t bytes)
{
    size_t sum = 0;
    for (int i = 0; i < la_safetensors_count(s); i++) {
        la_tensor *t;
        const int code = la_safetensors_read(&t, s, dev, i);
        assert_true(code == 0 || code == LA_EFORMAT);
        assert_true((t != NULL) == (code == 0));
        sum += t ? (size_t)la_tensor_numel(t) : 0;
        assert_int_equal(la_safetensors_find(s, la_safetensors_name(s, i)), i);
        la_tensor_release(&t);
    }
    assert_true(sum <= bytes);
}

static void safetensors_are_read_with_care(void **state)
{
    char path[128];
    uint8_t *file;
    size_t bytes, size;
    int taken = 0, refused = 0;
    void *changed;
    (void)state;
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    put_good_safetensors(path);
    assert_int_equal(la__read_file((void **)&file, &bytes, path), 0);
    for (int i = 0; i < rounds(); i++) {
        la_safetensors *s;
        put_changed(path, file, bytes, true);
        const int code = la_safetensors_open(&s, path);
        if (code == 0) {
            assert_int_equal(la__read_file(&changed, &size, path), 0);
            free(changed);
            read_all(s, size);
            la_safetensors_close(s);
            taken++;
        } else {
            assert_int_equal(code, LA_EFORMAT);
            assert_memory_equal(la_error(), path, strlen(path));
            refused++;
        }
    }
    assert_true(taken > 0 && refused > rounds() / 2); /* both were reached */
    free(file);
}

/* ---- pictures ---- */

static void pictures_are_read_with_care(void **state)
{
    static const char *const endings[] = { "png", "jpg", "bmp", "tga" };
    uint8_t pixels[13 * 11 * 3];
    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i % 251);
    for (int e = 0; e < LA_COUNT(endings); e++) {
        char path[128];
        uint8_t *file, tga[18 + sizeof pixels] = { 0, 0, 2, [12] = 13, [14] = 11, [16] = 24 };
        size_t bytes;
        snprintf(path, sizeof path, "%s/a.%s", folder, endings[e]);
        memcpy(tga + 18, pixels, sizeof pixels);
        assert_int_equal(e < 3 ? la__encode(path, 13, 11, 3, pixels, 70) : la__write_file(path, tga, sizeof tga), 0);
        assert_int_equal(la__read_file((void **)&file, &bytes, path), 0);
        for (int i = 0; i < rounds(); i++) {
            la_picture p;
            int width, height;
            put_changed(path, file, bytes, false);
            const int code = la__picture_load(&p, path, &(la_image_options){ .height = 5, .width = 5 });
            if (code < 0) {
                assert_true(code == LA_EFORMAT || code == LA_ENOMEM);
                assert_null(p.floats);
            } else {
                assert_int_equal(la_image_info(&width, &height, path), 0);
                for (int k = 0; k < 75; k++)
                    assert_true(p.floats[k] >= 0.0f && p.floats[k] <= 255.0f);
            }
            la__picture_free(&p);
        }
        free(file);
    }
}

/* ---- JSON ---- */

static int members(const la_json *json)
{
    int n = 1;
    const la_json_kind kind = la__json_kind(json);
    if (kind == LA_JSON_STRING)
        n += (int)strlen(la__json_string(json));
    if (kind == LA_JSON_ARRAY || kind == LA_JSON_OBJECT)
        for (const la_json *m = la__json_first(json); m; m = la__json_next(m))
            n += members(m);
    return n;
}

static void json_is_read_with_care(void **state)
{
    static const char text[] =
        "{\"a\": [1, -2.5e3, true, null, \"\\u00e9\\n\"], \"b\": {\"c\": {}, \"d\": []}, \"e\": \"x\"}";
    int taken = 0, refused = 0;
    (void)state;
    for (int i = 0; i < 4 * rounds(); i++) {
        static uint8_t data[ROOM];
        size_t n = sizeof text - 1;
        la_json *json;
        memcpy(data, text, n);
        for (unsigned k = 1 + chance(3); k > 0; k--)
            n = change(data, n);
        char *exact = malloc(n ? n : 1); /* of that size, so that a read past the end shows */
        memcpy(exact, data, n);
        if (la__json_parse(&json, exact, n, "text") == 0) {
            assert_true(members(json) > 0);
            taken++;
        } else {
            assert_null(json);
            refused++;
        }
        la__json_free(&json);
        free(exact);
    }
    assert_true(taken > 0 && refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_are_read_with_care),
        cmocka_unit_test(pictures_are_read_with_care),
        cmocka_unit_test(json_is_read_with_care),
    };
    return cmocka_run_group_tests(tests, prepare, tidy);
}
