/* SPDX-License-Identifier: MIT
 *
 * test_builder.c -- programs built by other processes: the same results in order, crashes and failures as errors,
 * helpers that are none, probes.
 */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/builder.h"
#include "unit.h"

/* What a helper says when it has come up: one empty part. */
#define GREETING "printf '\\001' >&3; head -c 327 /dev/zero >&3\n"

static const char kernels[] =
    "#include \"common.clh\"\n"
    "kernel void iota(global int *out, const int n) { const int i = get_global_id(0); if (i < n) out[i] = i + BASE; }\n"
    "kernel void twice(global int *out, const int n) { const int i = get_global_id(0); if (i < n) out[i] *= 2; }\n"
    "kernel void product(global float *y, global const float *x, const float a, const int n)\n"
    "{ const int i = get_global_id(0); if (i < n) y[i] = a * x[i]; }\n";
static const char broken[] = "kernel void broken(global int *out) { out[0] = undeclared_thing; }\n";
static const char family[] =
    "#include \"common.clh\"\n"
    "#define MAKE(NAME, V) PICKED(NAME) void NAME(global int *out) { out[get_global_id(0)] = V; }\n"
    "MAKE(one, 1)\nMAKE(two, 2)\n";

static char real_builder[256];

static void put_script(const char *name, const char *text)
{
    char path[128], script[1024];
    snprintf(script, sizeof script, "#!/bin/sh\n%s", text);
    put_file(name, script);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    chmod(path, 0755);
}

static void use_script(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    setenv("LUALIGN_BUILDER", path, 1);
}

static int make_all(void **state)
{
    if (make_folder(state) < 0)
        return -1;
    put_file("common.clh",
             "#ifndef BASE\n#define BASE 5\n#endif\n#ifdef ONLY\n#define SECOND(a, b, ...) b\n#define PICKED_(...) "
             "SECOND(__VA_ARGS__, static, )\n#define PICKED(N) PICKED_(PICK_##N)\n#else\n"
             "#define PICKED(N) kernel\n#endif\n");
    put_file("unit.cl", kernels);
    put_file("broken.cl", broken);
    put_file("family.cl", family);
    put_script("crash", GREETING "head -c 10 <&3 >/dev/null; echo 'LLVM ERROR: no luck' >&2; kill -ABRT $$\n");
    put_script("gone", "exit 1\n");
    put_script("bored", GREETING "exit 0\n");
    const char *build = getenv("LUALIGN_BUILD");
    snprintf(real_builder, sizeof real_builder, "%s/lualign", build ? build : "build");
    return 0;
}

static int fresh_cache(void **state)
{
    char command[160];
    (void)state;
    setenv("LUALIGN_BUILDER", real_builder, 1);
    snprintf(command, sizeof command, "rm -rf '%s/cache'", folder);
    return system(command);
}

static int run(la_device *dev, la_buffer *b, const char *entry, const char *options, int n)
{
    const la_launch what = { .program = "unit", .entry = entry, .options = options, .global = { (size_t)n } };
    return la__launch(dev, &what, (la_karg[]){ LA_BUF(b), LA_INT(n) }, 2);
}

static void expect(const la_buffer *b, int first, int step)
{
    int data[100];
    OK(la__buffer_read(b, 0, sizeof data, data));
    for (int i = 0; i < 100; i++)
        assert_int_equal(data[i], first + step * i);
}

/* Launches, writes and reads of which some wait for programs come out as if none did. */
static void order_is_kept(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *a, *b;
    int numbers[100];
    (void)state;
    for (int i = 0; i < 100; i++)
        numbers[i] = 7 * i;
    OK(la__buffer_take(&a, dev, 400));
    OK(la__buffer_take(&b, dev, 400));
    OK(run(dev, a, "iota", NULL, 100));
    OK(run(dev, b, "iota", "-DBASE=100", 100));
    assert_non_null(dev->pending); /* nothing has been waited for */
    OK(run(dev, a, "twice", NULL, 100));
    OK(la__buffer_write(b, 0, sizeof numbers, numbers));
    numbers[0] = 1; /* it has its own copy */
    OK(run(dev, b, "twice", "-DBASE=3", 100));
    expect(b, 0, 14);
    expect(a, 10, 2);
    assert_null(dev->pending);
    OK(run(dev, a, "iota", "-DBASE=100", 100));
    expect(a, 100, 1);
    la__buffer_give(a);
    la__buffer_give(b);
    la_device_close(dev);
}

/* A block may be given back, and be part of another one, while launches on it still wait. */
static void blocks_change_hands(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *a, *b, *c;
    int numbers[100];
    (void)state;
    for (int i = 0; i < 100; i++)
        numbers[i] = 7 * i;
    OK(la__buffer_take(&a, dev, 100 << 10));
    OK(la__buffer_take(&b, dev, 100 << 10));
    OK(run(dev, a, "iota", NULL, 100));
    OK(run(dev, b, "iota", "-DBASE=100", 100));
    OK(run(dev, a, "twice", NULL, 100));
    OK(la__buffer_write(b, 0, sizeof numbers, numbers));
    assert_non_null(dev->pending);
    la__buffer_give(a);
    la__buffer_give(b);
    OK(la__buffer_take(&c, dev, 200 << 10)); /* where both were */
    OK(run(dev, c, "iota", "-DBASE=3", 100));
    OK(run(dev, c, "twice", "-DBASE=3", 100));
    expect(c, 6, 2);
    la__buffer_give(c);
    la_device_close(dev);
}

static void closing_does_not_wait(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *b;
    (void)state;
    OK(la__buffer_take(&b, dev, 400));
    OK(run(dev, b, "iota", NULL, 100));
    OK(run(dev, b, "iota", "-DBASE=9", 100));
    la__buffer_give(b);
    la_device_close(dev);
}

static void families_are_built_one_by_one(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *b;
    int value;
    (void)state;
    for (int round = 0; round < 2; round++) { /* in other processes, and here */
        OK(la__buffer_take(&b, dev, 4));
        for (int k = 1; k <= 2; k++) {
            const la_launch what = {
                .program = "family", .entry = k == 1 ? "one" : "two", .global = { 1 }, .local = { 1 }
            };
            OK(la__launch(dev, &what, (la_karg[]){ LA_BUF(b) }, 1));
            OK(la__buffer_read(b, 0, 4, &value));
            assert_int_equal(value, k);
            for (const la_program *p = dev->programs; p; p = p->next)
                assert_int_equal(p->have, 1);
        }
        la__buffer_give(b);
        la_device_close(dev);
        fresh_cache(state);
        dev = open_with("LUALIGN_BUILDER", "");
    }
    la_device_close(dev);
}

/* The failure comes with the next thing that waits, once; what was launched after it is dropped, writes are not. */
static void failure_is_reported_later(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *a, *b;
    int numbers[100];
    const la_launch bad = { .program = "broken", .entry = "broken", .global = { 1 } };
    (void)state;
    for (int i = 0; i < 100; i++)
        numbers[i] = i;
    OK(la__buffer_take(&a, dev, 400));
    OK(la__buffer_take(&b, dev, 400));
    OK(run(dev, a, "iota", NULL, 100));
    expect(a, 5, 1);
    for (int round = 0; round < 2; round++) {
        OK(la__launch(dev, &bad, (la_karg[]){ LA_BUF(b) }, 1));
        OK(run(dev, a, "twice", NULL, 100));
        OK(la__buffer_write(b, 0, sizeof numbers, numbers));
        assert_true(la__device_settle(dev) < 0); /* does not report it */
        FAILS(la_device_finish(dev), LA_EDEVICE, "program 'broken', wanted for kernel 'broken', does not build on");
        assert_non_null(strstr(la_error(), "undeclared_thing"));
        OK(la_device_finish(dev));
        expect(a, 5, 1);
        expect(b, 0, 1);
    }
    OK(run(dev, a, "twice", NULL, 100));
    expect(a, 10, 2);
    la__buffer_give(a);
    la__buffer_give(b);
    la_device_close(dev);
}

static void crash_is_an_error(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *b;
    (void)state;
    use_script("crash");
    OK(la__buffer_take(&b, dev, 400));
    OK(run(dev, b, "iota", "-DBASE=8", 100));
    FAILS(
        la_device_finish(dev), LA_EDEVICE,
        "device: building program 'unit', wanted for kernel 'iota', options -DBASE=8, crashed the compiler (signal 6): "
        "LLVM ERROR: no luck");
    setenv("LUALIGN_BUILDER", real_builder, 1);
    OK(run(dev, b, "iota", "-DBASE=8", 100)); /* the device goes on */
    expect(b, 8, 1);
    la__buffer_give(b);
    la_device_close(dev);
}

/* What is no helper, or one that leaves: the program is built all the same. */
static void helpers_that_do_not_help(void **state)
{
    static const char *const scripts[] = { "gone", "bored", "missing" };
    for (int i = 0; i < LA_COUNT(scripts); i++) {
        la_device *dev;
        la_buffer *b;
        fresh_cache(state);
        dev = open_with(NULL, NULL);
        use_script(scripts[i]);
        OK(la__buffer_take(&b, dev, 400));
        OK(run(dev, b, "iota", NULL, 100));
        expect(b, 5, 1);
        assert_int_equal(dev->build.done, dev->build.total);
        la__buffer_give(b);
        la_device_close(dev);
    }
}

static void cache_that_cannot_be_written(void **state)
{
    char file[128], cache[128];
    (void)state;
    snprintf(cache, sizeof cache, "%s", getenv("LUALIGN_CACHE"));
    put_file("plain", "x");
    snprintf(file, sizeof file, "%s/plain/cache", folder);
    setenv("LUALIGN_CACHE", file, 1);
    la_device *dev = open_with(NULL, NULL);
    la_buffer *b;
    OK(la__buffer_take(&b, dev, 400));
    OK(run(dev, b, "iota", NULL, 100));
    expect(b, 5, 1);
    la__buffer_give(b);
    la_device_close(dev);
    setenv("LUALIGN_CACHE", cache, 1);
}

/* ---- probes ---- */

static int probe(bool *works, la_device *dev, const char *program, float right)
{
    static const float zero[3], x[3] = { 1, 2, 3 };
    const float a = 2.5f, expected[3] = { 2.5f, 5.0f, right };
    const int n = 3;
    return la__program_probe(
        works, dev, &(la_launch){ .program = program, .entry = "product", .global = { 3 } },
        (la_probe_arg[]){ LA_PROBE_BUF(zero), LA_PROBE_BUF(x), LA_PROBE_VALUE(a), LA_PROBE_VALUE(n) }, 4, expected,
        1e-6f);
}

static void probe_compares_and_remembers(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    bool works;
    (void)state;
    OK(probe(&works, dev, "unit", 7.5f));
    assert_true(works);
    OK(probe(&works, dev, "unit", 7.0f));
    assert_false(works);
    OK(probe(&works, dev, "broken", 7.5f));
    assert_false(works);
    OK(probe(&works, dev, "unit", NAN));
    assert_false(works);
    use_script("crash"); /* nothing is tried again */
    OK(probe(&works, dev, "unit", 7.5f));
    assert_true(works);
    OK(probe(&works, dev, "unit", 7.0f));
    assert_false(works);
    FAILS(probe(&works, dev, "nowhere", 1), LA_EIO, "nowhere.cl");
    la_device_close(dev);
}

static void probe_survives_a_crash(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    bool works = true;
    (void)state;
    setenv("LUALIGN_BUILDER", "", 1); /* nothing is tried, nothing kept */
    OK(probe(&works, dev, "unit", 7.5f));
    assert_false(works);
    use_script("crash");
    OK(probe(&works, dev, "unit", 7.5f));
    assert_false(works);
    setenv("LUALIGN_BUILDER", real_builder, 1);
    OK(probe(&works, dev, "unit", 7.5f));
    assert_false(works); /* it once crashed */
    la_device_close(dev);
}

/* ---- listeners ---- */

typedef struct heard {
    int done, failed;
    la_build last;
} heard;

static void listen(void *payload, const la_build *b)
{
    heard *h = payload;
    h->last = *b;
    h->done += b->program != NULL;
    h->failed += b->error != NULL;
}

static void listener_hears_of_each(void **state)
{
    const la_launch bad = { .program = "broken", .entry = "broken", .global = { 1 } };
    (void)state;
    for (int round = 0; round < 2; round++) { /* in other processes, and here */
        la_device *dev = open_with(NULL, NULL);
        la_buffer *b;
        heard h = { 0 };
        fresh_cache(state);
        if (round)
            setenv("LUALIGN_BUILDER", "", 1);
        la_device_on_build(dev, listen, &h);
        OK(la__buffer_take(&b, dev, 400));
        OK(run(dev, b, "iota", NULL, 100));
        OK(run(dev, b, "iota", "-DBASE=1", 100));
        OK(la_device_finish(dev));
        assert_int_equal(h.done, 2);
        assert_int_equal(h.last.done, 2);
        assert_int_equal(h.last.total, 2);
        assert_true(la__launch(dev, &bad, (la_karg[]){ LA_BUF(b) }, 1) < 0 || la_device_finish(dev) < 0);
        assert_int_equal(h.done, 3);
        assert_int_equal(h.failed, 1);
        la__buffer_give(b);
        la_device_close(dev);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(order_is_kept, fresh_cache),
        cmocka_unit_test_setup(blocks_change_hands, fresh_cache),
        cmocka_unit_test_setup(closing_does_not_wait, fresh_cache),
        cmocka_unit_test_setup(families_are_built_one_by_one, fresh_cache),
        cmocka_unit_test_setup(failure_is_reported_later, fresh_cache),
        cmocka_unit_test_setup(crash_is_an_error, fresh_cache),
        cmocka_unit_test_setup(helpers_that_do_not_help, fresh_cache),
        cmocka_unit_test_setup(cache_that_cannot_be_written, fresh_cache),
        cmocka_unit_test_setup(probe_compares_and_remembers, fresh_cache),
        cmocka_unit_test_setup(probe_survives_a_crash, fresh_cache),
        cmocka_unit_test_setup(listener_hears_of_each, fresh_cache),
    };
    return cmocka_run_group_tests(tests, make_all, remove_folder);
}
