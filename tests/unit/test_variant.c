/* SPDX-License-Identifier: MIT
 *
 * test_variant.c -- the choice of kernels: by device and environment, by the tile that fits, by the verdict of a trial.
 */
#include <math.h>

#include "ops/variant.h"
#include "ops/winograd.h"
#include "unit.h"
#include "util/util.h"

static la_device *dev;

typedef struct fake {
    int calls;
    int result;
    bool good;
} fake;

static int fake_trial(bool *good, la_device *d, const void *what)
{
    fake *f = (fake *)(uintptr_t)what;
    (void)d;
    f->calls++;
    *good = f->good;
    return f->result;
}

static void the_device_and_the_environment_choose(void **state)
{
    (void)state;
    const la_method own = la__device_is_cpu(dev) ? LA_CPU : LA_GPU;
    static const struct {
        const char *value;
        la_method wish, family;
    } named[] = { { "plain", LA_PLAIN, LA_PLAIN },
                  { "cpu", LA_CPU, LA_CPU },
                  { "gpu", LA_GPU, LA_GPU },
                  { "gpu128x64", LA_GPU128X64, LA_GPU },
                  { "cpu14x16", LA_CPU14X16, LA_CPU } };
    static const char *const nothing[] = { "", "auto", "gp", "gpu128", "gpus", "|", "plain|cpu" };
    unsetenv("LUALIGN_METHOD");
    assert_int_equal(la__method(dev, LA_AUTO), own);
    for (int i = 0; i < LA_COUNT(named); i++) {
        setenv("LUALIGN_METHOD", named[i].value, 1);
        assert_int_equal(la__wish(LA_AUTO), named[i].wish);
        assert_int_equal(la__method(dev, LA_AUTO), named[i].family);
        assert_int_equal(la__method(dev, LA_CPU), LA_CPU); /* what was asked for stays */
    }
    for (int i = 0; i < LA_COUNT(nothing); i++) {
        setenv("LUALIGN_METHOD", nothing[i], 1);
        assert_int_equal(la__wish(LA_AUTO), LA_AUTO);
        assert_int_equal(la__method(dev, LA_AUTO), own);
    }
    unsetenv("LUALIGN_METHOD");
}

/* One trial per program and options; a trial that fails is a verdict too. */
static void a_trial_runs_once(void **state)
{
    (void)state;
    fake right = { .good = true }, wrong = { .good = false }, broken = { .good = true, .result = LA_EDEVICE };
    for (int i = 0; i < 3; i++) {
        assert_true(la__trusted(dev, "some", "-DA", fake_trial, &right));
        assert_false(la__trusted(dev, "some", "-DB", fake_trial, &wrong));
        assert_false(la__trusted(dev, "some", NULL, fake_trial, &broken));
    }
    assert_int_equal(right.calls, 1);
    assert_int_equal(wrong.calls, 1);
    assert_int_equal(broken.calls, 1);
    assert_false(la__trusted(dev, "somewhat", "", fake_trial, &wrong)); /* a name that starts like another */
    assert_int_equal(wrong.calls, 2);
}

static void closeness_is_relative(void **state)
{
    (void)state;
    const double want[3] = { 1.0, -10.0, 0.0 };
    assert_true(la__trial_close((float[]){ 1.0005f, -10.0f, 0.0f }, want, 3)); /* relative to the largest */
    assert_false(la__trial_close((float[]){ 1.002f, -10.0f, 0.0f }, want, 3));
    assert_false(la__trial_close((float[]){ NAN, -10.0f, 0.0f }, want, 3));
}

/* A tile wastes little on the columns that networks have. */
static void tiles_waste_little(void **state)
{
    (void)state;
    static const int64_t columns[] = { 64, 96, 128, 144, 160, 192, 256, 320, 512, 1024 };
    for (int i = 0; i < LA_COUNT(columns); i++) {
        const int64_t nr = la__tile(dev, 0, columns[i])->nr;
        assert_true((double)(LA_CEIL(columns[i], nr) * nr) <= 1.07 * (double)columns[i]);
    }
}

/* On the drivers that lualign is tested with, what is measured is what runs: none of the variants has fallen back. */
static void no_variant_falls_back(void **state)
{
    (void)state;
    static const la_conv layers[] = {
        { .n = 1,
          .h = 9,
          .w = 9,
          .c = 64,
          .o = 64,
          .kh = 3,
          .kw = 3,
          .oh = 7,
          .ow = 7,
          .sh = 1,
          .sw = 1,
          .dh = 1,
          .dw = 1,
          .groups = 1 },
        { .n = 1,
          .h = 9,
          .w = 9,
          .c = 48,
          .o = 48,
          .kh = 3,
          .kw = 3,
          .oh = 7,
          .ow = 7,
          .sh = 1,
          .sw = 1,
          .dh = 1,
          .dw = 1,
          .groups = 48 },
    };
    const la_conv first = { .n = 1,
                            .h = 9,
                            .w = 9,
                            .c = 3,
                            .o = 8,
                            .kh = 7,
                            .kw = 7,
                            .oh = 2,
                            .ow = 2,
                            .sh = 2,
                            .sw = 2,
                            .dh = 1,
                            .dw = 1,
                            .groups = 1 };
    if (strstr(la_device_get_info(dev)->platform, "Portable") == NULL &&
        strstr(la_device_get_info(dev)->platform, "Intel") == NULL)
        skip();
    assert_true(la__conv_plan_sweep(dev, &first, LA_CPU, LA_DEFAULT, true).narrow);
    for (int i = 0; i < LA_COUNT(layers); i++)
        for (la_method wish = LA_CPU; wish <= LA_GPU64X64; wish++) {
            const la_method family = la__method(dev, wish);
            assert_int_equal(la__conv_plan_sweep(dev, &layers[i], wish, LA_DEFAULT, false).method, family);
            assert_int_equal(la__conv_plan_sweep(dev, &layers[i], wish, LA_DEFAULT, true).method, family);
            assert_int_equal(la__conv_plan_weight(dev, &layers[i], wish, LA_DEFAULT).method, family);
        }
}

/* The depth is dealt out in whole slices, all of it, and only where a product is too small to fill a GPU. */
static void the_depth_is_dealt_out(void **state)
{
    (void)state;
    for (int64_t depth = 0; depth < 5000; depth += 37)
        for (int64_t side = 1; side <= 4096; side *= 4) {
            const int64_t share = la__gpu_share(1, side, side, depth);
            assert_true(share == depth || (share < depth && share % 16 == 0 && share >= 256));
            assert_true(side < 1024 || share == depth);
        }
    assert_true(la__gpu_share(1, 64, 64, 4096) < 4096);
    assert_int_equal(la__gpu_share(0, 64, 64, 4096), 4096);
    assert_int_equal(la__gpu_share(1, 0, 64, 4096), 4096);
    assert_int_equal(la__gpu_share(1, 64, 0, 4096), 4096);
}

static la_conv layer(int32_t n, int32_t size, int32_t c, int32_t o)
{
    return (la_conv){ .n = n,
                      .h = size,
                      .w = size,
                      .c = c,
                      .o = o,
                      .kh = 3,
                      .kw = 3,
                      .oh = size,
                      .ow = size,
                      .sh = 1,
                      .sw = 1,
                      .top = 1,
                      .left = 1,
                      .dh = 1,
                      .dw = 1,
                      .groups = 1 };
}

/* On CPUs where it pays and is exact enough; where it is asked for; never where it does not fit. */
static void winograd_where_it_pays(void **state)
{
    (void)state;
    const la_conv good = layer(2, 15, 64, 64), few = layer(2, 15, 8, 64), tiny = layer(1, 7, 64, 64);
    la_conv strided = good;
    strided.sh = 2;
    unsetenv("LUALIGN_METHOD");
    assert_int_equal(la__winograd_pays(&good, LA_DEFAULT), LA_WINOGRAD4);
    assert_int_equal(la__winograd_pays(&good, LA_STRICT), LA_WINOGRAD2);
    assert_int_equal(la__winograd_pays(&good, LA_BFLOAT16), LA_WINOGRAD4);
    assert_int_equal(la__winograd_pays(&few, LA_DEFAULT), LA_AUTO);
    assert_int_equal(la__winograd_pays(&tiny, LA_DEFAULT), LA_WINOGRAD2);
    assert_int_equal(la__winograd_pays_weight(&good, LA_DEFAULT), LA_WINOGRAD4);
    assert_int_equal(la__winograd_pays_weight(&good, LA_STRICT), LA_AUTO);
    assert_int_equal(la__winograd_pays_weight(&tiny, LA_DEFAULT), LA_AUTO);
    assert_int_equal(la__conv_plan_weight(dev, &good, LA_AUTO, LA_STRICT).method, la__method(dev, LA_AUTO));
    assert_int_equal(la__conv_plan_weight(dev, &few, LA_WINOGRAD4, LA_DEFAULT).method, LA_WINOGRAD4);
    assert_true(la__conv_plan_weight(dev, &strided, LA_WINOGRAD4, LA_DEFAULT).method <= LA_GPU);
    la_conv_plan p = la__conv_plan_sweep(dev, &good, LA_AUTO, LA_DEFAULT, false);
    assert_int_equal(p.method == LA_WINOGRAD4, la__device_is_cpu(dev));
    for (int wish = LA_PLAIN; wish <= LA_GPU; wish++)
        assert_true(la__conv_plan_sweep(dev, &good, (la_method)wish, LA_DEFAULT, true).method <= LA_GPU);
    p = la__conv_plan_sweep(dev, &few, LA_WINOGRAD2, LA_DEFAULT, true);
    assert_int_equal(p.method, LA_WINOGRAD2);
    assert_true(la__conv_plan_sweep(dev, &strided, LA_WINOGRAD4, LA_DEFAULT, false).method <= LA_GPU);
}

/* The kernels for GPUs and for CPUs on whatever device this is. */
static void winograd_is_right_in_both_forms(void **state)
{
    (void)state;
    static const la_method methods[] = { LA_WINOGRAD2, LA_WINOGRAD4 }, families[] = { LA_CPU, LA_GPU };
    for (int m = 0; m < LA_COUNT(methods); m++)
        for (int f = 0; f < LA_COUNT(families); f++) {
            bool right = false;
            const la_conv_plan p = la__winograd_plan(dev, methods[m], families[f]);
            assert_int_equal(p.tile != NULL, families[f] == LA_CPU);
            assert_int_equal(la__conv_trial_sweep(&right, dev, &p), 0);
            assert_true(right);
            right = false;
            assert_int_equal(la__conv_trial_weight(&right, dev, &p), 0);
            assert_true(right);
        }
}

static int open_device(void **state)
{
    (void)state;
    return la_device_open(&dev, NULL);
}

static int close_device(void **state)
{
    (void)state;
    la_device_close(dev);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_device_and_the_environment_choose),
        cmocka_unit_test(a_trial_runs_once),
        cmocka_unit_test(closeness_is_relative),
        cmocka_unit_test(tiles_waste_little),
        cmocka_unit_test(no_variant_falls_back),
        cmocka_unit_test(the_depth_is_dealt_out),
        cmocka_unit_test(winograd_where_it_pays),
        cmocka_unit_test(winograd_is_right_in_both_forms),
    };
    return cmocka_run_group_tests_name("variant", tests, open_device, close_device);
}
