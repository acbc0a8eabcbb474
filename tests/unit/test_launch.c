/* SPDX-License-Identifier: MIT
 *
 * test_launch.c -- launches of small kernels of its own, profile, constants, random state, CLBlast.
 */
#include <math.h>

#include "unit.h"

static const char kernels[] =
    "#include \"common.clh\"\n"
    "kernel void iota(global int *out, const int n)\n"
    "{ const int i = get_global_id(0); if (i < n) out[i] = i * STEP + BASE; }\n"
    "kernel void where(global int *out, const int n)\n"
    "{ const int i = get_global_id(0) + get_global_size(0) * get_global_id(1);\n"
    "  if (i < n) out[i] = get_local_size(0) * 100 + get_local_size(1); }\n"
    "kernel __attribute__((reqd_work_group_size(2, 3, 1))) void fixed(global int *out, const int n)\n"
    "{ const int i = get_global_id(0) * 3 + get_global_id(1); if (i < n) out[i] = i + 1; }\n"
    "typedef struct pair { int a; float b; } pair;\n"
    "kernel void mixed(global float *out, const pair p, const float f, const uint u)\n"
    "{ if (get_global_id(0) == 0) { out[0] = p.a; out[1] = p.b; out[2] = f; out[3] = u; } }\n";
static const char broken[] = "kernel void broken(global int *out) { out[0] = undeclared_thing; }\n";

static int make_kernels(void **state)
{
    if (make_folder(state) < 0)
        return -1;
    put_file("common.clh", "#define BASE 5\n#ifndef STEP\n#define STEP 1\n#endif\n");
    put_file("unit.cl", kernels);
    put_file("broken.cl", broken);
    return 0;
}

/* ---- launches ---- */

static int run_iota(la_device *dev, la_buffer *out, int n, const char *options)
{
    const la_launch what = {
        .program = "unit", .entry = "iota", .options = options, .global = { (size_t)n }, .bytes = 4.0 * n, .flops = n
    };
    return la__launch(dev, &what, (la_karg[]){ LA_BUF(out), LA_INT(n) }, 2);
}

/* Counts on both sides of every work-group size that the launcher knows; nothing past n is written. */
static void global_size_is_rounded_up(void **state)
{
    static const int counts[] = { 1, 15, 16, 17, 63, 1023, 1025, 4097, 16383, 16385, 40001 };
    enum { MOST = 40001 + 2000 };
    static int data[MOST];
    la_device *dev = open_with(NULL, NULL);
    la_buffer *b;
    (void)state;
    OK(la__buffer_take(&b, dev, sizeof data));
    for (int c = 0; c < LA_COUNT(counts); c++) {
        memset(data, 0xff, sizeof data);
        OK(la__buffer_write(b, 0, sizeof data, data));
        OK(run_iota(dev, b, counts[c], NULL));
        OK(la__buffer_read(b, 0, sizeof data, data));
        for (int i = 0; i < MOST; i++)
            assert_int_equal(data[i], i < counts[c] ? i + 5 : -1);
    }
    OK(run_iota(dev, b, 0, NULL)); /* no work, no error */
    la__buffer_give(b);
    la_device_close(dev);
}

/* A program whose text comes with the launch: built once, its name serves afterwards, and an error says which it was.
 */
static void text_may_come_with_the_launch(void **state)
{
    static const char text[] = "kernel void square(global int *out, const int n)\n"
                               "{ const int i = get_global_id(0); if (i < n) out[i] = i * i; }\n";
    la_device *dev = open_with(NULL, NULL);
    int data[5];
    la_buffer *b;
    (void)state;
    OK(la__buffer_take(&b, dev, sizeof data));
    la_launch what = { .program = "made-1", .entry = "square", .source = text, .global = { 5 } };
    for (int round = 0; round < 2; round++) {
        memset(data, 0, sizeof data);
        OK(la__buffer_write(b, 0, sizeof data, data));
        OK(la__launch(dev, &what, (la_karg[]){ LA_BUF(b), LA_INT(5) }, 2));
        OK(la__buffer_read(b, 0, sizeof data, data));
        assert_int_equal(data[4], 16);
        what.source = round == 0 ? NULL : text;
    }
    what.program = "made-2";
    what.source = broken;
    what.entry = "broken";
    assert_int_equal(la__launch(dev, &what, (la_karg[]){ LA_BUF(b) }, 1), LA_EDEVICE);
    assert_non_null(strstr(la_error(), "program 'made-2', wanted for kernel 'broken'"));
    la__buffer_give(b);
    la_device_close(dev);
}

static void options_are_builds_of_their_own(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    int data[3];
    la_buffer *b;
    (void)state;
    OK(la__buffer_take(&b, dev, sizeof data));
    for (int round = 0; round < 2; round++) {
        OK(run_iota(dev, b, 3, "-DSTEP=10"));
        OK(la__buffer_read(b, 0, sizeof data, data));
        assert_int_equal(data[2], 25);
        OK(run_iota(dev, b, 3, NULL));
        OK(la__buffer_read(b, 0, sizeof data, data));
        assert_int_equal(data[2], 7);
    }
    la__buffer_give(b);
    la_device_close(dev);
}

static void local_size_given_or_required(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    int data[24];
    la_buffer *b;
    la_launch what = { .program = "unit", .entry = "where", .global = { 4, 6 }, .local = { 2, 3 } };
    (void)state;
    OK(la__buffer_take(&b, dev, sizeof data));
    OK(la__launch(dev, &what, (la_karg[]){ LA_BUF(b), LA_INT(24) }, 2));
    OK(la__buffer_read(b, 0, sizeof data, data));
    for (int i = 0; i < 24; i++)
        assert_int_equal(data[i], 203);
    what = (la_launch){ .program = "unit", .entry = "fixed", .global = { 7, 3 } }; /* rounded up to 8 by 3 */
    OK(la__launch(dev, &what, (la_karg[]){ LA_BUF(b), LA_INT(24) }, 2));
    OK(la__buffer_read(b, 0, sizeof data, data));
    for (int i = 0; i < 24; i++)
        assert_int_equal(data[i], i + 1);
    la__buffer_give(b);
    la_device_close(dev);
}

static void arguments_of_every_kind(void **state)
{
    const struct {
        int a;
        float b;
    } pair = { 3, 0.5f };
    const la_launch what = { .program = "unit", .entry = "mixed", .global = { 1 } };
    la_device *dev = open_with(NULL, NULL);
    float data[4];
    la_buffer *b;
    (void)state;
    OK(la__buffer_take(&b, dev, sizeof data));
    OK(la__launch(dev, &what, (la_karg[]){ LA_BUF(b), LA_STRUCT(pair), LA_FLOAT(1.25), LA_UINT(7) }, 4));
    OK(la__buffer_read(b, 0, sizeof data, data));
    assert_true(data[0] == 3.0f && data[1] == 0.5f && data[2] == 1.25f && data[3] == 7.0f);
    la__buffer_give(b);
    la_device_close(dev);
}

static void failures_name_the_kernel(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *b;
    (void)state;
    OK(la__buffer_take(&b, dev, 64));
    const la_karg args[] = { LA_BUF(b), LA_INT(1), LA_INT(1) };
    la_launch what = { .program = "unit", .entry = "no_such_kernel", .global = { 1 } };
    FAILS(la__launch(dev, &what, args, 2), LA_EDEVICE, "program 'unit' has no kernel 'no_such_kernel'");
    what = (la_launch){ .program = "nowhere", .entry = "iota", .global = { 1 } };
    FAILS(la__launch(dev, &what, args, 2), LA_EIO, "nowhere.cl");
    what = (la_launch){ .program = "unit", .entry = "iota", .global = { 1 } };
    FAILS(la__launch(dev, &what, args, 3), LA_EDEVICE, "kernel 'iota': argument 3");
    what = (la_launch){ .program = "unit", .entry = "iota", .global = { 7 }, .local = { 2 } };
    FAILS(la__launch(dev, &what, args, 2), LA_EDEVICE,
          "kernel 'iota' cannot be queued (7 x 1 x 1 work-items in groups of 2 x 1 x 1)");
    what = (la_launch){ .program = "broken", .entry = "broken", .global = { 1 } };
    for (int round = 0; round < 2; round++) {
        FAILS(la__launch(dev, &what, args, 1), LA_EDEVICE,
              "program 'broken', wanted for kernel 'broken', does not build on");
        assert_non_null(strstr(la_error(), "undeclared_thing"));
    }
    OK(run_iota(dev, b, 3, NULL)); /* the device goes on */
    OK(la_device_finish(dev));
    la__buffer_give(b);
    unsetenv("LUALIGN_CL_DIR");
    what = (la_launch){ .program = "nowhere", .entry = "iota", .global = { 1 } };
    FAILS(la__launch(dev, &what, args, 2), LA_EDEVICE, "kernel 'iota': there is no program 'nowhere'");
    setenv("LUALIGN_CL_DIR", folder, 1);
    la_device_close(dev);
}

static void profile_counts_calls(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    const la_profile_row *rows;
    int count = -1;
    la_buffer *b;
    const la_launch slow = { .program = "unit", .entry = "where", .global = { 1 << 20 } };
    (void)state;
    OK(la__buffer_take(&b, dev, 4 << 20));
    OK(run_iota(dev, b, 10, NULL)); /* off: not counted */
    OK(la_profile_rows(dev, &rows, &count));
    assert_int_equal(count, 0);
    la_profile_enable(dev, true);
    OK(run_iota(dev, b, 10, NULL));
    OK(run_iota(dev, b, 20, "-DSTEP=10")); /* the same row */
    for (int i = 0; i < 3; i++)
        OK(la__launch(dev, &slow, (la_karg[]){ LA_BUF(b), LA_INT(1 << 20) }, 2));
    OK(la_profile_rows(dev, &rows, &count));
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].kernel, "where");
    assert_int_equal(rows[0].calls, 3);
    assert_true(rows[0].seconds > rows[1].seconds && rows[0].seconds < 60.0);
    assert_string_equal(rows[1].kernel, "iota");
    assert_int_equal(rows[1].calls, 2);
    assert_true(rows[1].bytes == 120.0 && rows[1].flops == 30.0);
    la_profile_reset(dev);
    la_profile_enable(dev, false);
    OK(run_iota(dev, b, 10, NULL));
    OK(la_profile_rows(dev, &rows, &count));
    assert_int_equal(count, 0);
    la__buffer_give(b);
    la_device_close(dev);
}

/* ---- the rest ---- */

static int fill_constant(void *data, const void *what)
{
    ++*(int *)(uintptr_t)what;
    *(int *)data = 42;
    return 0;
}

static void constants_are_made_once(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    const la_buffer *a, *b;
    int calls = 0, value = 0;
    (void)state;
    OK(la__device_constant(&a, dev, "table of 1", 4, fill_constant, &calls));
    OK(la__device_constant(&b, dev, "table of 1", 4, fill_constant, &calls));
    assert_ptr_equal(a, b);
    assert_int_equal(calls, 1);
    OK(la__device_constant(&b, dev, "table of 2", 4, fill_constant, &calls));
    assert_ptr_not_equal(a, b);
    OK(la__buffer_read(a, 0, 4, &value));
    assert_int_equal(value, 42);
    la_device_close(dev);
}

static void random_state_advances(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    uint64_t seed = 0, counter = 0;
    (void)state;
    la_device_seed(dev, 9, 100);
    assert_int_equal(la__device_draw(dev, 7, &seed), 100);
    assert_int_equal(seed, 9);
    assert_int_equal(la__device_draw(dev, 1, &seed), 107);
    la_device_seed_state(dev, &seed, &counter);
    assert_int_equal(counter, 108);
    la_device_close(dev);
    la_device_close(NULL);
}

/* c = op(a) op(b) in a c full of NaN, which must not come through, and at offsets. */
static void clblast_multiplies(void **state)
{
    enum { M = 5, N = 7, K = 3, AT = 2 };
    float a[AT + M * K], b[AT + K * N], c[AT + M * N];
    la_buffer *da, *db, *dc;
    (void)state;
    if (!la__clblast_available())
        skip();
    la_device *dev = open_with("LUALIGN_POISON", "1");
    for (int i = 0; i < AT + M * K; i++)
        a[i] = (float)(i % 5) - 1.5f;
    for (int i = 0; i < AT + K * N; i++)
        b[i] = (float)(i % 7) * 0.25f - 0.5f;
    OK(la__buffer_take(&da, dev, sizeof a));
    OK(la__buffer_take(&db, dev, sizeof b));
    OK(la__buffer_take(&dc, dev, sizeof c));
    OK(la__buffer_write(da, 0, sizeof a, a));
    OK(la__buffer_write(db, 0, sizeof b, b));
    for (int t = 0; t < 4; t++) {
        OK(la__clblast_gemm(dev, t & 1, t & 2, M, N, K, da, AT, db, AT, dc, AT));
        OK(la__buffer_read(dc, 0, sizeof c, c));
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0.0;
                for (int k = 0; k < K; k++)
                    sum += (double)a[AT + (t & 1 ? k * M + i : i * K + k)] *
                           (double)b[AT + (t & 2 ? j * K + k : k * N + j)];
                assert_true(fabs((double)c[AT + i * N + j] - sum) < 1e-5);
            }
    }
    la__buffer_give(da);
    la__buffer_give(db);
    la__buffer_give(dc);
    la_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(global_size_is_rounded_up),     cmocka_unit_test(options_are_builds_of_their_own),
        cmocka_unit_test(text_may_come_with_the_launch), cmocka_unit_test(local_size_given_or_required),
        cmocka_unit_test(arguments_of_every_kind),       cmocka_unit_test(failures_name_the_kernel),
        cmocka_unit_test(profile_counts_calls),          cmocka_unit_test(constants_are_made_once),
        cmocka_unit_test(random_state_advances),         cmocka_unit_test(clblast_multiplies),
    };
    return cmocka_run_group_tests(tests, make_kernels, remove_folder);
}
