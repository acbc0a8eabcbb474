/* SPDX-License-Identifier: MIT
 *
 * test_program_cache.c -- built programs on disk: written, found again, and replaced where broken.
 */
#include <dirent.h>

#include "unit.h"

static char cache[96];

static void put_kernel(int value)
{
    char text[200];
    snprintf(text, sizeof text,
             "#include \"common.clh\"\nkernel void one(global int *out) { out[get_global_id(0)] = %d; }\n", value);
    put_file("one.cl", text);
}

static int make_sources(void **state)
{
    if (make_folder(state) < 0)
        return -1;
    put_file("common.clh", "\n");
    snprintf(cache, sizeof cache, "%s", getenv("LUALIGN_CACHE"));
    return 0;
}

static int empty_cache(void **state)
{
    char command[128];
    (void)state;
    put_kernel(11);
    snprintf(command, sizeof command, "rm -rf '%s'", cache);
    return system(command);
}

/* What the kernel writes, on a device opened for it, as a new process would. */
static int run_kernel(const char *options)
{
    const la_launch what = { .program = "one", .entry = "one", .options = options, .global = { 1 }, .local = { 1 } };
    la_device *dev = NULL;
    la_buffer *b = NULL;
    int value = 0;
    OK(la_device_open(&dev, NULL));
    OK(la__buffer_take(&b, dev, 4));
    OK(la__launch(dev, &what, (la_karg[]){ LA_BUF(b) }, 1));
    OK(la__buffer_read(b, 0, 4, &value));
    la__buffer_give(b);
    la_device_close(dev);
    return value;
}

/* The number of entries, and the path of the last one. */
static int entries(char *path, size_t size)
{
    int n = 0;
    DIR *d = opendir(cache);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.') {
            n++;
            if (path)
                snprintf(path, size, "%s/%.60s", cache, e->d_name);
        }
    closedir(d);
    return n;
}

static void entry_is_written_and_found_again(void **state)
{
    char path[256];
    void *before, *after;
    size_t bytes, later;
    (void)state;
    assert_int_equal(run_kernel(NULL), 11);
    assert_int_equal(entries(path, sizeof path), 1);
    assert_non_null(strstr(path, "/one-"));
    OK(la__read_file(&before, &bytes, path));
    assert_int_equal(run_kernel(NULL), 11);
    assert_int_equal(entries(NULL, 0), 1);
    OK(la__read_file(&after, &later, path));
    assert_int_equal(bytes, later);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
}

/* The binary is what runs, not the source: an entry made from another source, put under this one's name and key. */
static void entry_is_what_runs(void **state)
{
    char first[256], second[256];
    void *a, *b;
    size_t na, nb;
    (void)state;
    assert_int_equal(run_kernel(NULL), 11);
    assert_int_equal(entries(first, sizeof first), 1);
    OK(la__read_file(&a, &na, first));
    OK(la__write_file(first, "", 0));
    remove(first);
    put_kernel(22);
    assert_int_equal(run_kernel(NULL), 22);
    assert_int_equal(entries(second, sizeof second), 1);
    assert_string_not_equal(first, second);
    OK(la__read_file(&b, &nb, second));
    const size_t magic = 24, key = 8;
    memcpy((char *)a + magic, (char *)b + magic, key);
    OK(la__write_file(second, a, na));
    assert_int_equal(run_kernel(NULL), 11);
    free(a);
    free(b);
}

static void source_and_options_are_in_the_key(void **state)
{
    (void)state;
    assert_int_equal(run_kernel(NULL), 11);
    assert_int_equal(run_kernel("-DA=1"), 11);
    assert_int_equal(entries(NULL, 0), 2);
    put_kernel(33);
    assert_int_equal(run_kernel(NULL), 33);
    assert_int_equal(entries(NULL, 0), 3);
    put_kernel(11);
    assert_int_equal(run_kernel(NULL), 11);
    assert_int_equal(entries(NULL, 0), 3);
}

/* Each way of breaking an entry: the kernel runs all the same, and the entry is whole again. */
static void broken_entry_is_replaced(void **state)
{
    char path[256];
    void *whole, *again;
    size_t bytes, later;
    (void)state;
    assert_int_equal(run_kernel(NULL), 11);
    assert_int_equal(entries(path, sizeof path), 1);
    OK(la__read_file(&whole, &bytes, path));
    for (int way = 0; way < 6; way++) {
        char *broken = malloc(bytes + 1);
        size_t n = bytes;
        assert_non_null(broken);
        memcpy(broken, whole, bytes);
        broken[bytes] = 0;
        switch (way) {
        case 0: n = 0; break;
        case 1: n = 20; break;           /* within the header */
        case 2: n = bytes / 2; break;    /* cut short */
        case 3: n = bytes + 1; break;    /* something behind */
        case 4: broken[0] ^= 1; break;   /* another format */
        default: broken[bytes - 1] ^= 1; /* one bit of the binary */
        }
        OK(la__write_file(path, broken, n));
        free(broken);
        assert_int_equal(run_kernel(NULL), 11);
        OK(la__read_file(&again, &later, path));
        uint64_t
            length; /* a driver may write its binary otherwise each time: compare magic and key, check the length */
        assert_true(later > 48);
        assert_memory_equal(again, whole, 32);
        memcpy(&length, (char *)again + 32, sizeof length);
        assert_int_equal(later, 48 + length);
        free(again);
        assert_int_equal(entries(NULL, 0), 1);
    }
    free(whole);
}

static void no_cache_is_only_slower(void **state)
{
    char file[128];
    (void)state;
    put_file("plain", "x");
    snprintf(file, sizeof file, "%s/plain/cache", folder);
    setenv("LUALIGN_CACHE", file, 1);
    assert_int_equal(run_kernel(NULL), 11);
    setenv("LUALIGN_CACHE", cache, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(entry_is_written_and_found_again, empty_cache),
        cmocka_unit_test_setup(entry_is_what_runs, empty_cache),
        cmocka_unit_test_setup(source_and_options_are_in_the_key, empty_cache),
        cmocka_unit_test_setup(broken_entry_is_replaced, empty_cache),
        cmocka_unit_test_setup(no_cache_is_only_slower, empty_cache),
    };
    return cmocka_run_group_tests(tests, make_sources, remove_folder);
}
