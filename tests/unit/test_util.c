/* SPDX-License-Identifier: MIT
 *
 * test_util.c -- the error message, likeness of names, files and folders.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/util.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/lualign-util-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(char *path, const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

/* ---- errors ---- */

static void fail_returns_code_and_keeps_text(void **state)
{
    (void)state;
    assert_int_equal(la_fail(LA_ESHAPE, "op: %s must be %d, got %d", "x", 3, 4), LA_ESHAPE);
    assert_string_equal(la_error(), "op: x must be 3, got 4");
}

static void fail_may_quote_the_last_error(void **state)
{
    (void)state;
    la_fail(LA_EIO, "the cause");
    la_fail(LA_EIO, "while reading: %s (%s)", la_error(), la_error());
    assert_string_equal(la_error(), "while reading: the cause (the cause)");
}

static void fail_cuts_long_text(void **state)
{
    char text[5000];
    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    la_fail(LA_EARG, "%s", text);
    assert_in_range(strlen(la_error()), 1000, sizeof text - 2);
    assert_int_equal(strspn(la_error(), "a"), strlen(la_error()));
}

static void *fail_elsewhere(void *unused)
{
    (void)unused;
    la_fail(LA_EARG, "of another thread");
    return NULL;
}

static void each_thread_has_its_own_error(void **state)
{
    pthread_t thread;
    (void)state;
    la_fail(LA_EARG, "of this thread");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    assert_string_equal(la_error(), "of this thread");
}

static void calloc_refuses_what_cannot_be(void **state)
{
    (void)state;
    void *p = la__calloc(0, 0);
    assert_non_null(p);
    free(p);
    assert_null(la__calloc(SIZE_MAX / 2, 16));
    assert_non_null(strstr(la_error(), "out of host memory"));
}

/* ---- names ---- */

static void nearest_name(void **state)
{
    static const char *const names[] = { "stride", "padding", "dilation", "groups", "bias" };
    const int n = LA_COUNT(names);
    (void)state;
    assert_string_equal(la__nearest("strides", names, n), "stride");
    assert_string_equal(la__nearest("stirde", names, n), "stride");
    assert_string_equal(la__nearest("pading", names, n), "padding");
    assert_string_equal(la__nearest("group", names, n), "groups");
    assert_string_equal(la__nearest("bias", names, n), "bias");
    assert_null(la__nearest("learning_rate", names, n));
    assert_null(la__nearest("", names, n));
    assert_null(la__nearest("stride", names, 0));
}

static void nearest_of_very_long_names(void **state)
{
    char name[300];
    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const char *const names[] = { name, "x" };
    assert_null(la__nearest("stride", names, 2));
    la__nearest(name, names, 2); /* must only not run over its table */
}

/* ---- files ---- */

static void file_round_trip(void **state)
{
    char path[PATH_MAX], data[100000];
    void *back = NULL;
    size_t bytes = 0;
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 % 251);
    assert_int_equal(la__write_file(in_folder(path, "a"), data, sizeof data), 0);
    assert_int_equal(la__read_file(&back, &bytes, path), 0);
    assert_int_equal(bytes, sizeof data);
    assert_memory_equal(back, data, sizeof data);
    assert_int_equal(((char *)back)[bytes], 0);
    free(back);
    assert_int_equal(la__write_file(path, "", 0), 0); /* replaces it, by nothing */
    assert_int_equal(la__read_file(&back, &bytes, path), 0);
    assert_int_equal(bytes, 0);
    free(back);
}

static int count_files(const char *where)
{
    char command[PATH_MAX + 32], text[32] = "";
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", where);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    pclose(f);
    return atoi(text);
}

static void write_leaves_no_other_file(void **state)
{
    char path[PATH_MAX], target[PATH_MAX];
    struct stat st;
    (void)state;
    assert_int_equal(la__mkdirs(in_folder(path, "only")), 0);
    snprintf(target, sizeof target, "%.200s/file", path);
    assert_int_equal(la__write_file(target, "12345", 5), 0);
    assert_int_equal(la__write_file(target, "123", 3), 0);
    assert_int_equal(count_files(path), 1);
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_size, 3);
}

/* The target is a folder: the last step fails, and what was there before stays as it was, without a temporary file. */
static void failed_write_leaves_nothing(void **state)
{
    char path[PATH_MAX], target[PATH_MAX], inside[PATH_MAX];
    (void)state;
    assert_int_equal(la__mkdirs(in_folder(path, "fails")), 0);
    snprintf(target, sizeof target, "%.200s/busy", path);
    snprintf(inside, sizeof inside, "%.200s/busy/inside", path);
    assert_int_equal(la__mkdirs(inside), 0);
    assert_int_equal(la__write_file(target, "1", 1), LA_EIO);
    assert_non_null(strstr(la_error(), target));
    assert_int_equal(count_files(path), 1);
    assert_int_equal(la__write_file(in_folder(path, "no/such/folder/file"), "1", 1), LA_EIO);
    assert_non_null(strstr(la_error(), strerror(ENOENT)));
}

/* A stale temporary file of a killed process with the same number is in the way. */
static void write_steps_over_stale_temporaries(void **state)
{
    char path[PATH_MAX], stale[PATH_MAX];
    (void)state;
    in_folder(path, "stale");
    snprintf(stale, sizeof stale, "%.200s.%ld-0.tmp", path, (long)getpid());
    FILE *f = fopen(stale, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(la__write_file(path, "1", 1), 0);
    assert_int_equal(access(path, F_OK), 0);
}

static void read_says_what_is_wrong(void **state)
{
    char path[PATH_MAX];
    void *data = &path;
    size_t bytes = 7;
    (void)state;
    assert_int_equal(la__read_file(&data, &bytes, in_folder(path, "missing")), LA_EIO);
    assert_null(data);
    assert_int_equal(bytes, 0);
    assert_non_null(strstr(la_error(), "missing"));
    assert_non_null(strstr(la_error(), strerror(ENOENT)));
    assert_int_equal(la__read_file(&data, &bytes, folder), LA_EIO);
    assert_non_null(strstr(la_error(), "is not a file"));
}

static void mkdirs_makes_parents(void **state)
{
    char path[PATH_MAX];
    struct stat st;
    (void)state;
    for (int i = 0; i < 2; i++) /* the second time they are there */
        assert_int_equal(la__mkdirs(in_folder(path, "a1/b//c/")), 0);
    assert_int_equal(stat(in_folder(path, "a1/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(la__write_file(in_folder(path, "plain"), "1", 1), 0);
    assert_int_equal(la__mkdirs(path), LA_EIO);
    assert_int_equal(la__mkdirs(in_folder(path, "plain/below")), LA_EIO);
    assert_non_null(strstr(la_error(), "plain"));
}

static void cache_folder_by_environment(void **state)
{
    char wish[PATH_MAX], got[PATH_MAX];
    (void)state;
    setenv("LUALIGN_CACHE", in_folder(wish, "own"), 1);
    assert_int_equal(la__cache_dir(got, sizeof got), 0);
    assert_string_equal(got, wish);
    assert_int_equal(access(got, F_OK), 0);
    unsetenv("LUALIGN_CACHE");
    setenv("XDG_CACHE_HOME", in_folder(wish, "xdg"), 1);
    assert_int_equal(la__cache_dir(got, sizeof got), 0);
    assert_string_equal(got, in_folder(wish, "xdg/lualign"));
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", in_folder(wish, "home"), 1);
    assert_int_equal(la__cache_dir(got, sizeof got), 0);
    assert_string_equal(got, in_folder(wish, "home/.cache/lualign"));
    assert_int_equal(la__cache_dir(got, 5), LA_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_returns_code_and_keeps_text),
        cmocka_unit_test(fail_may_quote_the_last_error),
        cmocka_unit_test(fail_cuts_long_text),
        cmocka_unit_test(each_thread_has_its_own_error),
        cmocka_unit_test(calloc_refuses_what_cannot_be),
        cmocka_unit_test(nearest_name),
        cmocka_unit_test(nearest_of_very_long_names),
        cmocka_unit_test(file_round_trip),
        cmocka_unit_test(write_leaves_no_other_file),
        cmocka_unit_test(failed_write_leaves_nothing),
        cmocka_unit_test(write_steps_over_stale_temporaries),
        cmocka_unit_test(read_says_what_is_wrong),
        cmocka_unit_test(mkdirs_makes_parents),
        cmocka_unit_test(cache_folder_by_environment),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
