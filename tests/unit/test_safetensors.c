/* SPDX-License-Identifier: MIT
 *
 * test_safetensors.c -- what is written reads back bit by bit; every element type; and every way in which a header can
 * lie.
 */
#include <math.h>

#include "io/safetensors.h"
#include "tensor/tensor.h"
#include "unit.h"
#include "util/util.h"

static la_device *dev;
static char path[128];

static int open_device(void **state)
{
    if (make_folder(state))
        return -1;
    unsetenv("LUALIGN_CL_DIR"); /* the library's own kernels */
    snprintf(path, sizeof path, "%s/t.safetensors", folder);
    return la_device_open(&dev, NULL);
}

static int close_device(void **state)
{
    la_device_close(dev);
    return remove_folder(state);
}

/* A file of a header and `bytes` bytes of elements 0, 1, 2, ... */
static void put_safetensors(const char *header, size_t bytes)
{
    uint8_t file[4096];
    const size_t n = strlen(header);
    assert_true(8 + n + bytes <= sizeof file);
    for (size_t k = 0; k < 8; k++)
        file[k] = (uint8_t)(n >> (8 * k));
    memcpy(file + 8, header, n);
    for (size_t k = 0; k < bytes; k++)
        file[8 + n + k] = (uint8_t)k;
    OK(la__write_file(path, file, 8 + n + bytes));
}

static void refuses(const char *header, size_t bytes, const char *part)
{
    la_safetensors *s;
    put_safetensors(header, bytes);
    const int code = la_safetensors_open(&s, path);
    if (code != LA_EFORMAT || !strstr(la_error(), part) || strncmp(la_error(), path, strlen(path)) != 0)
        fail_msg("%s: %d, %s", header, code, code < 0 ? la_error() : "taken");
    assert_null(s);
}

/* ---- there and back ---- */

static void what_is_written_reads_back(void **state)
{
    const float f[6] = { 1.5f, -0.0f, INFINITY, 1e-45f, 3.0f, 4.0f };
    const int32_t i[2] = { INT32_MIN, INT32_MAX };
    const uint8_t u[3] = { 0, 128, 255 };
    const char *names[] = { "bytes", "floats", "empty", "ints", "scalar \"\xc3\xa9\"" };
    const char *keys[] = { "kind", "empty" }, *values[] = { "a \"text\"\nof two lines", "" }, *key, *value;
    la_tensor *t[5], *back;
    la_safetensors *s;
    (void)state;
    OK(la_tensor_from(&t[0], dev, LA_U8, LA_DIMS(3), u));
    OK(la_tensor_from(&t[1], dev, LA_F32, LA_DIMS(2, 3), f));
    OK(la_tensor_new(&t[2], dev, LA_F32, LA_DIMS(0, 5)));
    OK(la_tensor_from(&t[3], dev, LA_I32, LA_DIMS(2), i));
    OK(la_tensor_from(&t[4], dev, LA_F32, 0, NULL, f));
    OK(la_safetensors_save(path, 5, names, t, 2, keys, values));

    OK(la_safetensors_open(&s, path));
    assert_int_equal(la_safetensors_count(s), 5);
    for (int k = 0; k < 5; k++) {
        char a[64] = { 0 }, b[64] = { 0 };
        assert_string_equal(la_safetensors_name(s, k), names[k]);
        assert_int_equal(la_safetensors_find(s, names[k]), k);
        OK(la_safetensors_read(&back, s, dev, k));
        assert_int_equal(back->dtype, t[k]->dtype);
        assert_true(la__same_shape(back, t[k]));
        OK(la_tensor_read(back, a));
        OK(la_tensor_read(t[k], b));
        assert_memory_equal(a, b, sizeof a);
        la_tensor_release(&back);
        la_tensor_release(&t[k]);
    }
    for (int k = 0; k < 2; k++) {
        assert_true(la_safetensors_text(s, k, &key, &value));
        assert_string_equal(key, keys[k]);
        assert_string_equal(value, values[k]);
    }
    assert_false(la_safetensors_text(s, 2, &key, &value));
    FAILS(la_safetensors_find(s, "none"), LA_EARG, "has no tensor 'none'");
    FAILS(la_safetensors_read(&back, s, dev, 5), LA_EARG, "has 5 tensors, asked for number 6");
    la_safetensors_close(s);
    la_safetensors_close(NULL);
}

/* Elements start at a multiple of eight and those of four bytes come first, so that readers can map the file. */
static void elements_are_aligned(void **state)
{
    const char *names[] = { "a", "b" };
    const uint8_t u[1] = { 7 };
    const float f[1] = { 1.0f };
    la_tensor *t[2];
    uint8_t *file;
    size_t bytes;
    (void)state;
    OK(la_tensor_from(&t[0], dev, LA_U8, LA_DIMS(1), u));
    OK(la_tensor_from(&t[1], dev, LA_F32, LA_DIMS(1), f));
    OK(la_safetensors_save(path, 2, names, t, 0, NULL, NULL));
    OK(la__read_file((void **)&file, &bytes, path));
    assert_int_equal((8 + file[0]) % 8, 0);
    assert_int_equal(bytes, 8 + (size_t)file[0] + 5);
    assert_memory_equal(file + 8 + file[0], f, 4);
    assert_int_equal(file[bytes - 1], 7);
    free(file);
    la_tensor_release(&t[0]);
    la_tensor_release(&t[1]);
}

static void bad_names_are_not_written(void **state)
{
    const char *twice[] = { "a", "a" }, *reserved[] = { "__metadata__" }, *bytes[] = { "\xff" }, *fine[] = { "a" };
    la_tensor *t[2];
    (void)state;
    remove(path);
    OK(la__full(&t[0], dev, LA_DIMS(1), 1.0));
    t[1] = t[0];
    FAILS(la_safetensors_save(path, 2, twice, t, 0, NULL, NULL), LA_EARG, "tensor name 'a' is given twice");
    FAILS(la_safetensors_save(path, 1, reserved, t, 0, NULL, NULL), LA_EARG, "must not be '__metadata__'");
    FAILS(la_safetensors_save(path, 1, bytes, t, 0, NULL, NULL), LA_EARG, "no UTF-8");
    FAILS(la_safetensors_save(path, 1, fine, t, 2, twice, twice), LA_EARG, "metadata key 'a' is given twice");
    FAILS(la_safetensors_save(path, 1, fine, t, 1, fine, bytes), LA_EARG, "metadata value is no UTF-8");
    FAILS(la_safetensors_save("/nowhere/x", 1, fine, t, 0, NULL, NULL), LA_EIO, "/nowhere/x: cannot be written");
    FILE *f = fopen(path, "rb");
    assert_null(f);
    la_tensor_release(&t[0]);
}

/* ---- element types ---- */

/* IEEE binary16 by its definition, in double precision. */
static double half_value(unsigned h)
{
    const double sign = h & 0x8000 ? -1.0 : 1.0;
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return exponent ? sign * ldexp(1024 + fraction, exponent - 25) : sign * ldexp(fraction, -24);
}

static void halves_are_exact(void **state)
{
    static uint16_t in[65536];
    static float out[65536];
    (void)state;
    for (unsigned h = 0; h < 65536; h++)
        in[h] = (uint16_t)h;
    assert_int_equal(la__stored_convert(out, in, 65536, LA_S_F16), 0);
    for (unsigned h = 0; h < 65536; h++) {
        const double v = half_value(h);
        if (isnan(v) ? !isnan(out[h]) : (double)out[h] != v || !signbit(out[h]) != !signbit(v))
            fail_msg("half %04x: %g, expected %g", h, (double)out[h], v);
    }
    assert_int_equal(la__stored_convert(out, in, 65536, LA_S_BF16), 0);
    for (unsigned h = 0; h < 65536; h++) {
        uint32_t bits;
        memcpy(&bits, &out[h], sizeof bits);
        assert_int_equal(bits, h << 16);
    }
}

static void whole_numbers_that_do_not_fit_are_named(void **state)
{
    const int64_t i64[] = { INT32_MIN, INT32_MAX, (int64_t)INT32_MAX + 1 };
    const uint64_t u64[] = { 1, UINT64_MAX };
    const uint32_t u32[] = { INT32_MAX, 1u << 31 };
    const int16_t i16[] = { -5, INT16_MIN };
    const uint16_t u16[] = { UINT16_MAX };
    const int8_t i8[] = { -128 };
    const uint8_t bools[] = { 0, 1, 2 };
    int32_t out[3];
    uint8_t bytes[3];
    (void)state;
    assert_int_equal(la__stored_convert(out, i64, 2, LA_S_I64), 0);
    assert_int_equal(out[0], INT32_MIN);
    assert_int_equal(la__stored_convert(out, i64, 3, LA_S_I64), 3);
    assert_int_equal(la__stored_convert(out, u64, 2, LA_S_U64), 2);
    assert_int_equal(la__stored_convert(out, u32, 1, LA_S_U32), 0);
    assert_int_equal(la__stored_convert(out, u32, 2, LA_S_U32), 2);
    assert_int_equal(la__stored_convert(out, i16, 2, LA_S_I16), 0);
    assert_int_equal(out[1], INT16_MIN);
    assert_int_equal(la__stored_convert(out, u16, 1, LA_S_U16), 0);
    assert_int_equal(out[0], UINT16_MAX);
    assert_int_equal(la__stored_convert(out, i8, 1, LA_S_I8), 0);
    assert_int_equal(out[0], -128);
    assert_int_equal(la__stored_convert(bytes, bools, 3, LA_S_BOOL), 0);
    assert_memory_equal(bytes, ((uint8_t[]){ 0, 1, 1 }), 3);
}

static void a_number_that_does_not_fit_fails_when_read(void **state)
{
    la_safetensors *s;
    la_tensor *t;
    (void)state;
    put_safetensors("{\"n\":{\"dtype\":\"U32\",\"shape\":[41],\"data_offsets\":[0,164]}}", 164);
    OK(la_safetensors_open(&s, path));
    FAILS(la_safetensors_read(&t, s, dev, 0), LA_EFORMAT, "tensor 'n': element 33 of U32 does not fit int32");
    assert_null(t);
    la_safetensors_close(s);
}

static void what_no_tensor_can_be_fails_when_read(void **state)
{
    la_safetensors *s;
    la_tensor *t;
    (void)state;
    put_safetensors("{\"n\":{\"dtype\":\"U8\",\"shape\":[0,65536,65536],\"data_offsets\":[0,0]}}", 0);
    OK(la_safetensors_open(&s, path));
    FAILS(la_safetensors_read(&t, s, dev, 0), LA_EFORMAT, "tensor 'n' is too large");
    la_safetensors_close(s);
    put_safetensors("{\"n\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1);
    OK(la_safetensors_open(&s, path));
    FAILS(la_safetensors_read(&t, s, dev, 0), LA_EFORMAT, "has 7 dimensions, at most 6");
    la_safetensors_close(s);
}

/* Elements of four bytes behind a single one, as the format allows. */
static void elements_may_lie_anywhere(void **state)
{
    la_safetensors *s;
    la_tensor *t;
    float f;
    (void)state;
    put_safetensors("{\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},"
                    "\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}  ",
                    5);
    OK(la_safetensors_open(&s, path));
    assert_string_equal(la_safetensors_name(s, 0), "f");
    OK(la_safetensors_read(&t, s, dev, 0));
    OK(la_tensor_read(t, &f));
    assert_memory_equal(&f, ((uint8_t[]){ 1, 2, 3, 4 }), 4);
    la_tensor_release(&t);
    la_safetensors_close(s);
}

/* ---- headers that lie ---- */

#define U8(name, shape, from, to) \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"

static void bytes_must_be_covered_once(void **state)
{
    (void)state;
    refuses("{" U8("a", "4", 0, 4) "}", 3, "ends early: tensor 'a'");
    refuses("{" U8("a", "4", 0, 4) "}", 5, "the last 1 bytes belong to no tensor");
    refuses("{" U8("a", "4", 0, 4) "," U8("b", "2", 3, 5) "}", 5, "tensors 'a' and 'b' overlap");
    refuses("{" U8("a", "2", 0, 2) "," U8("b", "2", 3, 5) "}", 5, "1 bytes before tensor 'b'");
    refuses("{" U8("a", "2", 1, 3) "}", 3, "1 bytes before tensor 'a'");
    refuses("{" U8("a", "2", 0, 2) "," U8("a", "2", 2, 4) "}", 4, "two tensors are called 'a'");
    refuses("{}", 1, "the last 1 bytes");
}

static void shapes_must_fit_offsets(void **state)
{
    (void)state;
    refuses("{" U8("a", "3", 0, 4) "}", 4, "3 elements of U8 take 3 bytes, its offsets are 0 and 4");
    refuses("{" U8("a", "0", 4, 0) "}", 4, "its offsets are 4 and 0");
    refuses("{" U8("a", "-1", 0, 4) "}", 4, "dimension 1 is no size");
    refuses("{" U8("a", "2.5", 0, 4) "}", 4, "dimension 1 is no size");
    refuses("{" U8("a", "1,1e300", 0, 4) "}", 4, "dimension 2 is no size");
    refuses("{" U8("a", "\"4\"", 0, 4) "}", 4, "dimension 1 is no size");
    refuses("{" U8("a", "4294967296,4294967296", 0, 0) "}", 0, "more elements than can be");
    refuses("{" U8("a", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", 0, 1) "}", 1, "more than 16 dimensions");
    refuses("{" U8("a", "4", 0, -4) "}", 4, "no data_offsets of two whole numbers");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", 4, "no data_offsets");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]}}", 4, "no data_offsets");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":4}}", 4, "no data_offsets");
    refuses("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "has no shape");
    refuses("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "not known: 'F8_E4M3'");
    refuses("{\"a\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "has no dtype");
    refuses("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "has dtype twice");
    refuses("{\"a\":[]}", 0, "not described by an object");
}

static void the_header_must_be_json(void **state)
{
    (void)state;
    refuses("", 0, "no JSON at byte 1");
    refuses("[]", 0, "the header is not an object");
    refuses("{\"a\":", 0, "no JSON at byte");
    refuses("{} x", 0, "comes after the end of the JSON");
    refuses("{\"\xc3\":1}", 0, "no UTF-8");
    refuses("{\"a\\u0000b\":1}", 0, "\\u0000");
    refuses("{\"__metadata__\":{\"a\":1}}", 0, "'a' is no string");
    refuses("{\"__metadata__\":[]}", 0, "one object of strings");
    refuses("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "one object of strings");
}

static void the_length_must_be_in_the_file(void **state)
{
    const uint8_t longer[] = { 3, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    const uint8_t huge[] = { 255, 255, 255, 255, 255, 255, 255, 255, '{', '}' };
    la_safetensors *s;
    (void)state;
    OK(la__write_file(path, "short", 5));
    FAILS(la_safetensors_open(&s, path), LA_EFORMAT, "it has 5 bytes");
    OK(la__write_file(path, "", 0));
    FAILS(la_safetensors_open(&s, path), LA_EFORMAT, "it has 0 bytes");
    OK(la__write_file(path, longer, sizeof longer));
    FAILS(la_safetensors_open(&s, path), LA_EFORMAT, "a header of 3 bytes in a file of 10");
    OK(la__write_file(path, huge, sizeof huge));
    FAILS(la_safetensors_open(&s, path), LA_EFORMAT, "a header of 18446744073709551615 bytes");
    FAILS(la_safetensors_open(&s, folder), LA_EIO, "is not a file");
    FAILS(la_safetensors_open(&s, "/nowhere"), LA_EIO, "/nowhere: cannot be read");
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(elements_are_aligned),
        cmocka_unit_test(bad_names_are_not_written),
        cmocka_unit_test(halves_are_exact),
        cmocka_unit_test(whole_numbers_that_do_not_fit_are_named),
        cmocka_unit_test(a_number_that_does_not_fit_fails_when_read),
        cmocka_unit_test(what_no_tensor_can_be_fails_when_read),
        cmocka_unit_test(elements_may_lie_anywhere),
        cmocka_unit_test(bytes_must_be_covered_once),
        cmocka_unit_test(shapes_must_fit_offsets),
        cmocka_unit_test(the_header_must_be_json),
        cmocka_unit_test(the_length_must_be_in_the_file),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
