/* SPDX-License-Identifier: MIT
 *
 * test_choice.c -- the record of choices: what is put on it is found, kept on disk, and obeyed.
 */
#include "device/choice.h"
#include "ops/variant.h"
#include "unit.h"
#include "util/util.h"

static la_device *dev;

static int setup(void **state)
{
    if (make_folder(state) < 0)
        return -1;
    unsetenv("LUALIGN_METHOD");
    unsetenv("LUALIGN_CHOICES");
    return la_device_open(&dev, NULL);
}

static int teardown(void **state)
{
    la_device_close(dev);
    return remove_folder(state);
}

static void reopen(void)
{
    la_device_close(dev);
    dev = NULL;
    OK(la_device_open(&dev, NULL));
}

static void check(const char *pass, const char *shape, const char *method)
{
    const char *found = la__choice(dev, pass, shape);
    if (method)
        assert_string_equal(found ? found : "(none)", method);
    else
        assert_null(found);
}

static void what_is_set_is_found(void **state)
{
    (void)state;
    OK(la_choice_forget(dev));
    assert_false(la__choices_matter(dev));
    check("a.forward", "1x2", NULL);
    OK(la_choice_set(dev, "a.forward", "1x2", "cpu", 1.5));
    OK(la_choice_set(dev, "a.forward", "1x3", "plain", 2));
    OK(la_choice_set(dev, "a.data", "1x2", "winograd4", 3));
    assert_true(la__choices_matter(dev));
    check("a.forward", "1x2", "cpu");
    check("a.forward", "1x3", "plain");
    check("a.data", "1x2", "winograd4");
    check("a.dat", "a1x2", NULL); /* pass and shape are not one text */
    OK(la_choice_set(dev, "a.forward", "1x2", "gpu", 1));
    check("a.forward", "1x2", "gpu");
    OK(la_choice_set(dev, "a.forward", "1x2", NULL, 0));
    check("a.forward", "1x2", NULL);
}

/* More than the table has places. */
static void many_are_kept_on_disk(void **state)
{
    (void)state;
    char shape[32];
    OK(la_choice_forget(dev));
    for (int i = 0; i < 1000; i++) {
        snprintf(shape, sizeof shape, "shape %d", i);
        OK(la_choice_set(dev, "pass", shape, i % 2 ? "cpu" : "plain", i + 1));
    }
    OK(la_choice_set(dev, "pass", "shape 7", NULL, 0));
    OK(la_choice_save(dev));
    reopen();
    for (int i = 0; i < 1000; i++) {
        snprintf(shape, sizeof shape, "shape %d", i);
        check("pass", shape, i == 7 ? NULL : i % 2 ? "cpu" : "plain");
    }
    const la_choice *rows;
    int count;
    OK(la_choice_list(dev, false, &rows, &count));
    assert_int_equal(count, 999);
    assert_string_equal(rows[1].shape, "shape 1"); /* sorted */
    assert_true(rows[1].milliseconds == 2.0);
    OK(la_choice_forget(dev));
    reopen();
    assert_false(la__choices_matter(dev));
}

/* The only file of the cache whose name starts with choices-. */
static void overwrite(const char *text)
{
    char command[200];
    OK(la_choice_set(dev, "x", "y", "z", 1));
    OK(la_choice_save(dev));
    put_file("text", text);
    snprintf(command, sizeof command, "cp %s/text %s/cache/choices-*.tsv", folder, folder);
    assert_int_equal(system(command), 0);
}

static void broken_lines_are_passed_over(void **state)
{
    (void)state;
    overwrite("good\t1\tcpu\t0.5\n"
              "two\tfields\n"
              "\n"
              "no number\t1\tcpu\tfast\n"
              "tail\t1\tcpu\t1 ms\n"
              "below\t1\tcpu\t-1\n"
              "nan\t1\tcpu\tnan\n"
              "infinite\t1\tcpu\tinf\n"
              "empty\t\tcpu\t1\n"
              "five\t1\tcpu\t1\t2\n"
              "last\t1\tplain\t2");
    reopen();
    const la_choice *rows;
    int count;
    OK(la_choice_list(dev, false, &rows, &count));
    assert_int_equal(count, 2);
    check("good", "1", "cpu");
    check("last", "1", "plain");
    overwrite("");
    reopen();
    assert_false(la__choices_matter(dev));
    overwrite("good\t1\tcpu\t0.5\n");
    setenv("LUALIGN_CHOICES", "0", 1);
    reopen();
    check("good", "1", NULL);
    unsetenv("LUALIGN_CHOICES");
    reopen();
    check("good", "1", "cpu");
    OK(la_choice_forget(dev));
}

static void what_is_asked_is_noted(void **state)
{
    (void)state;
    const la_choice *rows;
    int count;
    OK(la_choice_forget(dev));
    check("before", "1", NULL);
    OK(la_choice_set(dev, "known", "1", "cpu", 1));
    OK(la_choice_watch(dev, true));
    assert_true(la__choices_matter(dev));
    check("asked", "1", NULL);
    check("known", "1", "cpu");
    check("asked", "1", NULL);
    OK(la_choice_watch(dev, false));
    check("after", "1", NULL);
    OK(la_choice_list(dev, true, &rows, &count));
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].pass, "asked");
    assert_null(rows[0].method);
    assert_string_equal(rows[1].method, "cpu");
    OK(la_choice_list(dev, false, &rows, &count));
    assert_int_equal(count, 1);
    OK(la_choice_watch(dev, true)); /* begins anew */
    OK(la_choice_list(dev, true, &rows, &count));
    assert_int_equal(count, 0);
    OK(la_choice_watch(dev, false));
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    FAILS(la_choice_set(dev, "a\tb", "1", "cpu", 1), LA_EARG, "choice: pass, shape and method");
    FAILS(la_choice_set(dev, "a", "", "cpu", 1), LA_EARG, "choice: pass, shape and method");
    FAILS(la_choice_set(dev, "a", "1", "c\npu", 1), LA_EARG, "choice: pass, shape and method");
    FAILS(la_choice_set(dev, "a", "1", "cpu", 0), LA_EARG, "choice: milliseconds must be above 0, got 0");
}

static void ops_obey_where_they_may(void **state)
{
    (void)state;
    OK(la_choice_forget(dev));
    assert_int_equal(la__choose(dev, LA_AUTO, "p", "%dx%d", 3, 4), LA_AUTO);
    OK(la_choice_set(dev, "p", "3x4", "winograd2", 1));
    OK(la_choice_set(dev, "p", "3x5", "of another version", 1));
    assert_int_equal(la__choose(dev, LA_AUTO, "p", "%dx%d", 3, 4), LA_WINOGRAD2);
    assert_int_equal(la__choose(dev, LA_GPU, "p", "%dx%d", 3, 4), LA_GPU); /* what was asked for stays */
    assert_int_equal(la__choose(dev, LA_AUTO, "p", "%dx%d", 3, 5), LA_AUTO);
    assert_int_equal(la__choose(dev, LA_AUTO, "q", "%dx%d", 3, 4), LA_AUTO);
    static const struct {
        const char *name;
        la_method method;
    } known[] = { { "plain", LA_PLAIN },         { "cpu", LA_CPU },         { "gpu", LA_GPU },
                  { "winograd4", LA_WINOGRAD4 }, { "clblast", LA_CLBLAST }, { "cpu6x64", LA_CPU6X64 },
                  { "cpu14x16", LA_CPU14X16 },   { "cpu14x1", LA_AUTO },    { "auto|plain", LA_AUTO } };
    for (int i = 0; i < LA_COUNT(known); i++) {
        OK(la_choice_set(dev, "p", "3x4", known[i].name, 1));
        assert_int_equal(la__choose(dev, LA_AUTO, "p", "%dx%d", 3, 4), known[i].method);
    }
    setenv("LUALIGN_METHOD", "plain", 1);
    assert_int_equal(la__choose(dev, LA_AUTO, "p", "%dx%d", 3, 4), LA_AUTO);
    unsetenv("LUALIGN_METHOD");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_set_is_found),         cmocka_unit_test(many_are_kept_on_disk),
        cmocka_unit_test(broken_lines_are_passed_over), cmocka_unit_test(what_is_asked_is_noted),
        cmocka_unit_test(bad_names_are_refused),        cmocka_unit_test(ops_obey_where_they_may),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
