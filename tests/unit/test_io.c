/* SPDX-License-Identifier: MIT
 *
 * test_io.c -- pictures: what is read, every way of ending early, cropping and resizing against plain references, and
 * the threads that decode ahead.
 */
#include <math.h>
#include <stb/stb_image_write.h>

#include "io/json.h"
#include "io/picture.h"
#include "tensor/tensor.h"
#include "unit.h"
#include "util/util.h"

enum { W = 23, H = 17 };
static uint8_t picture[H * W * 3]; /* smooth, so that JPEG keeps it */
static char path[256];

static const char *at(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_picture(void **state)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int k = 0; k < 3; k++)
                picture[(y * W + x) * 3 + k] = (uint8_t)(128 + 100 * sin(0.2 * x + k) * cos(0.15 * y - k));
    return make_folder(state);
}

static void put(void *user, void *data, int n)
{
    assert_int_equal(fwrite(data, 1, (size_t)n, user), n);
}

/* Without la__write_file's wait for the disk, which some file systems add where a file is written over. */
static void put_bytes(const uint8_t *data, size_t bytes)
{
    remove(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    put(f, (void *)(uintptr_t)data, (int)bytes);
    assert_int_equal(fclose(f), 0);
}

/* A file that la__encode does not make: 1 to 4 channels, as PNG or TGA. */
static void put_channels(const char *name, int channels, const uint8_t *pixels, int width, int height)
{
    FILE *f = fopen(at(name), "wb");
    assert_non_null(f);
    if (strstr(name, ".tga"))
        assert_true(stbi_write_tga_to_func(put, f, width, height, channels, pixels));
    else
        assert_true(stbi_write_png_to_func(put, f, width, height, channels, pixels, width * channels));
    fclose(f);
}

/* ---- reading and writing ---- */

static void pictures_read_back(void **state)
{
    static const char *const names[] = { "a.png", "a.bmp", "a.jpg", "a.JPEG", "a.tga" };
    (void)state;
    for (int i = 0; i < LA_COUNT(names); i++) {
        la_picture p;
        int width, height, most = 0;
        if (i < 4)
            OK(la__encode(at(names[i]), W, H, 3, picture, 95));
        else
            put_channels(names[i], 3, picture, W, H);
        OK(la__picture_load(&p, path, NULL));
        OK(la_image_info(&width, &height, path));
        assert_int_equal(p.width, W);
        assert_int_equal(p.height, H);
        assert_int_equal(width, W);
        assert_int_equal(height, H);
        for (int k = 0; k < H * W * 3; k++)
            most = abs(p.bytes[k] - picture[k]) > most ? abs(p.bytes[k] - picture[k]) : most;
        assert_true(most <= (i == 2 || i == 3 ? 12 : 0));
        la__picture_free(&p);
    }
    FAILS(la__encode(at("a.gif"), W, H, 3, picture, 95), LA_EARG, "must end in .png, .jpg, .jpeg or .bmp");
    FAILS(la__encode(at("a.jpg"), W, H, 3, picture, 0), LA_EARG, "quality must be between 1 and 100, got 0");
    FAILS(la__encode("/nowhere/a.png", W, H, 3, picture, 9), LA_EIO, "/nowhere/a.png: cannot be written");
}

/* Grey is repeated, alpha mixed with white: v a + 255 (1 - a). */
static void other_channels_become_three(void **state)
{
    const uint8_t grey[] = { 10, 200 }, grey_alpha[] = { 10, 0, 10, 255 }, colour_alpha[] = { 0, 100, 200, 51 };
    la_picture p;
    (void)state;
    put_channels("g.png", 1, grey, 2, 1);
    OK(la__picture_load(&p, path, NULL));
    assert_memory_equal(p.bytes, ((uint8_t[]){ 10, 10, 10, 200, 200, 200 }), 6);
    la__picture_free(&p);
    put_channels("ga.png", 2, grey_alpha, 2, 1);
    OK(la__picture_load(&p, path, NULL));
    assert_memory_equal(p.bytes, ((uint8_t[]){ 255, 255, 255, 10, 10, 10 }), 6);
    la__picture_free(&p);
    put_channels("ca.png", 4, colour_alpha, 1, 1);
    OK(la__picture_load(&p, path, NULL));
    assert_memory_equal(p.bytes, ((uint8_t[]){ 204, 224, 244 }), 3);
    la__picture_free(&p);
}

/* ---- what is no whole picture ---- */

/* Every file that ends early, down to none at all, is refused, and its message starts with its name. */
static void no_part_of_a_picture_is_taken(void **state)
{
    static const char *const names[] = { "a.png", "a.jpg", "a.bmp", "a.tga" };
    (void)state;
    for (int i = 0; i < LA_COUNT(names); i++) {
        uint8_t *file;
        size_t bytes;
        if (i < 3)
            OK(la__encode(at(names[i]), W, H, 3, picture, 80));
        else
            put_channels(names[i], 3, picture, W, H);
        OK(la__read_file((void **)&file, &bytes, path));
        for (size_t n = 0; n < bytes; n++) {
            la_picture p;
            put_bytes(file, n);
            if (la__picture_load(&p, path, NULL) != LA_EFORMAT)
                fail_msg("%s: %zu of %zu bytes were taken", names[i], n, bytes);
            assert_memory_equal(la_error(), path, strlen(path));
            assert_null(p.bytes);
        }
        free(file);
    }
}

/* A PNG has check sums: no byte of it can change unseen. */
static void a_damaged_png_is_refused(void **state)
{
    uint8_t *file;
    size_t bytes;
    (void)state;
    OK(la__encode(at("d.png"), 5, 4, 3, picture, 80));
    OK(la__read_file((void **)&file, &bytes, path));
    for (size_t n = 0; n < bytes; n++) {
        la_picture p;
        file[n] ^= 4;
        put_bytes(file, bytes);
        if (la__picture_load(&p, path, NULL) != LA_EFORMAT)
            fail_msg("byte %zu of %zu was changed and the PNG taken", n, bytes);
        file[n] ^= 4;
    }
    free(file);
}

/* A JPEG's Huffman table claims more symbols than there are. */
static void tables_that_are_too_long_are_refused(void **state)
{
    uint8_t *file;
    size_t bytes, table = 0;
    la_picture p;
    (void)state;
    OK(la__encode(at("t.jpg"), W, H, 3, picture, 80));
    OK(la__read_file((void **)&file, &bytes, path));
    for (size_t i = 0; i + 1 < bytes && !table; i++)
        table = file[i] == 0xff && file[i + 1] == 0xc4 ? i + 5 : 0;
    assert_true(table > 0);
    file[table + 15] = 255;
    file[table + 14] = 255;
    put_bytes(file, bytes);
    FAILS(la__picture_load(&p, path, NULL), LA_EFORMAT, "t.jpg: the JPEG is damaged");
    free(file);
}

static void other_files_are_no_pictures(void **state)
{
    la_picture p;
    int width, height;
    (void)state;
    put_file("text.jpg", "image,category\n");
    FAILS(la__picture_load(&p, at("text.jpg"), NULL), LA_EFORMAT, "text.jpg: is not a picture");
    FAILS(la_image_info(&width, &height, path), LA_EFORMAT, "text.jpg: is not a picture");
    put_file("empty.jpg", "");
    FAILS(la__picture_load(&p, at("empty.jpg"), NULL), LA_EFORMAT, "empty.jpg: the file is empty");
    FAILS(la_image_info(&width, &height, path), LA_EFORMAT, "empty.jpg: the file is empty");
    put_file("head.jpg", "\xff\xd8\xff\xe0");
    FAILS(la_image_info(&width, &height, at("head.jpg")), LA_EFORMAT, "damaged or ends early");
    FAILS(la__picture_load(&p, at("none.jpg"), NULL), LA_EIO, "none.jpg: cannot be read: No such file");
    FAILS(la_image_info(&width, &height, path), LA_EIO, "none.jpg: cannot be read: No such file");
    FAILS(la__picture_load(&p, folder, NULL), LA_EIO, "is not a file");
    FAILS(la_image_info(&width, &height, folder), LA_EIO, "cannot be read");
}

/* ---- cropping, mirroring, resizing ---- */

static void crop_comes_before_flip(void **state)
{
    la_picture p;
    const la_image_options o = { .crop = true, .top = 3, .bottom = 10, .left = 4, .right = 22, .flip = true };
    (void)state;
    OK(la__encode(at("c.png"), W, H, 3, picture, 80));
    OK(la__picture_load(&p, path, &o));
    assert_int_equal(p.height, 7);
    assert_int_equal(p.width, 18);
    for (int y = 0; y < 7; y++)
        for (int x = 0; x < 18; x++)
            assert_memory_equal(p.bytes + (y * 18 + x) * 3, picture + ((y + 3) * W + 21 - x) * 3, 3);
    la__picture_free(&p);
    const int bad[][4] = { { 0, H + 1, 0, W }, { -1, H, 0, W }, { 5, 5, 0, W }, { 0, H, 9, 8 }, { 0, H, 0, W + 1 } };
    for (int i = 0; i < LA_COUNT(bad); i++) {
        const la_image_options b = {
            .crop = true, .top = bad[i][0], .bottom = bad[i][1], .left = bad[i][2], .right = bad[i][3]
        };
        FAILS(la__picture_load(&p, path, &b), LA_EARG, "crop must lie within 23 x 17 pixels");
    }
    FAILS(la__picture_load(&p, path, &(la_image_options){ .height = 5 }), LA_EARG, "size must be between 1 and 32768");
}

/* The weight of input i in output j, by definition, in double precision. */
static double weight(bool antialias, int i, int N, int j, int n)
{
    if (!antialias)
        return fmax(0.0, 1.0 - fabs(i - (n > 1 ? j * (N - 1.0) / (n - 1) : 0.0)));
    const double step = (double)N / n, reach = fmax(step, 1.0), centre = (j + 0.5) * step;
    double sum = 0.0;
    for (int m = 0; m < N; m++)
        sum += fmax(0.0, 1.0 - fabs(m + 0.5 - centre) / reach);
    return fmax(0.0, 1.0 - fabs(i + 0.5 - centre) / reach) / sum;
}

static double resized(bool antialias, int h, int w, int y, int x, int k)
{
    double sum = 0.0;
    for (int i = 0; i < H; i++)
        for (int j = 0; j < W; j++)
            sum += weight(antialias, i, H, y, h) * weight(antialias, j, W, x, w) * picture[(i * W + j) * 3 + k];
    return sum;
}

static void resizing_agrees_with_its_definition(void **state)
{
    static const int sizes[][2] = { { H, W }, { 5, 7 }, { 31, 64 }, { 1, 1 }, { 40, 3 }, { 2, W }, { H, 1 } };
    (void)state;
    OK(la__encode(at("r.png"), W, H, 3, picture, 80));
    for (int s = 0; s < LA_COUNT(sizes); s++)
        for (int antialias = 0; antialias < 2; antialias++) {
            const int h = sizes[s][0], w = sizes[s][1];
            la_picture p;
            OK(la__picture_load(&p, path, &(la_image_options){ .height = h, .width = w, .antialias = antialias }));
            assert_int_equal(p.height, h);
            assert_int_equal(p.width, w);
            for (int i = 0; i < h * w * 3; i++) {
                const double expected = resized(antialias, h, w, i / 3 / w, i / 3 % w, i % 3);
                if (fabs((double)p.floats[i] - expected) > 2e-4)
                    fail_msg("%d x %d: %g, expected %g", h, w, (double)p.floats[i], expected);
            }
            la__picture_free(&p);
        }
}

/* ---- threads ---- */

/* Pictures of one colour, i.png, whose colour is i. */
static void put_colours(int n)
{
    for (int i = 0; i < n; i++) {
        char name[32];
        uint8_t pixels[4 * 4 * 3];
        memset(pixels, i, sizeof pixels);
        snprintf(name, sizeof name, "%d.png", i);
        OK(la__encode(at(name), 4, 4, 3, pixels, 80));
    }
}

static void submit(la_loader *l, int i, int size)
{
    char name[32];
    snprintf(name, sizeof name, "%d.png", i);
    OK(la__loader_submit(l, at(name), &(la_image_options){ .height = size, .width = size }));
}

static void pictures_come_in_order(void **state)
{
    enum { COLOURS = 50, ROUNDS = 6 };
    la_loader *l;
    la_picture p;
    (void)state;
    put_colours(COLOURS);
    for (int ahead = 1; ahead < 20; ahead += 9) {
        OK(la__loader_open(&l, 4, ahead));
        for (int i = 0; i < COLOURS * ROUNDS; i++)
            submit(l, i * 7 % 53, i % 5 + 1); /* 50, 51 and 52 do not exist */
        for (int i = 0; i < COLOURS * ROUNDS; i++) {
            const int colour = i * 7 % 53;
            assert_int_equal(la__loader_pending(l), COLOURS * ROUNDS - i);
            if (colour >= COLOURS) {
                char name[32];
                snprintf(name, sizeof name, "%d.png: cannot be read", colour);
                FAILS(la__loader_take(&p, l), LA_EIO, name);
                continue;
            }
            OK(la__loader_take(&p, l));
            assert_int_equal(p.width, i % 5 + 1);
            assert_true(p.floats[0] == (float)colour);
            la__picture_free(&p);
        }
        FAILS(la__loader_take(&p, l), LA_EARG, "nothing was submitted");
        la__loader_close(l);
    }
    OK(la__loader_open(&l, 3, 2)); /* closing with work left */
    for (int i = 0; i < COLOURS; i++)
        submit(l, i, 64);
    OK(la__loader_take(&p, l));
    la__picture_free(&p);
    la__loader_close(l);
    la__loader_close(NULL);
    FAILS(la__loader_open(&l, 0, 1), LA_EARG, "threads must be between 1 and 64, got 0");
    FAILS(la__loader_open(&l, 1, 0), LA_EARG, "ahead must be at least 1, got 0");
}

static void batches_stay_apart(void **state)
{
    la_device *dev;
    la_loader *l;
    la_tensor *t;
    float value[3 * 2 * 2 * 3];
    (void)state;
    unsetenv("LUALIGN_CL_DIR");
    put_colours(6);
    remove(at("60.png"));
    OK(la_device_open(&dev, NULL));
    OK(la__loader_open(&l, 2, 1));
    submit(l, 1, 2), submit(l, 60, 2), submit(l, 2, 2); /* with one that is not there */
    submit(l, 3, 2), submit(l, 4, 2), submit(l, 5, 2);
    submit(l, 1, 2), submit(l, 2, 3);
    submit(l, 5, 1);
    FAILS(la__loader_batch(&t, l, dev, 10), LA_EARG, "between 1 and the 9 pictures");
    FAILS(la__loader_batch(&t, l, dev, 3), LA_EIO, "60.png: cannot be read");
    OK(la__loader_batch(&t, l, dev, 3));
    assert_int_equal(t->ndim, 4);
    OK(la_tensor_read(t, value));
    for (int i = 0; i < 36; i++)
        assert_true(value[i] == (float)(3 + i / 12));
    la_tensor_release(&t);
    FAILS(la__loader_batch(&t, l, dev, 2), LA_ESHAPE,
          "of one size (submit them with the option size), got 2 x 2 and, as number 2, 3 x 3");
    OK(la__loader_next(&t, l, dev));
    assert_int_equal(la_tensor_dim(t, 0), 1);
    la_tensor_release(&t);
    la__loader_close(l);
    la_device_close(dev);
}

/* ---- text ---- */

static void utf8_is_told_from_bytes(void **state)
{
    static const char *const fine[] = {
        "", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\xba", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"
    };
    static const char *const bad[] = { "\xff",  "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                       "\xc3(", "\x80" };
    (void)state;
    for (int i = 0; i < LA_COUNT(fine); i++)
        assert_int_equal(la__utf8_fault(fine[i], strlen(fine[i])), 0);
    for (int i = 0; i < LA_COUNT(bad); i++)
        assert_int_equal(la__utf8_fault(bad[i], strlen(bad[i])), 1);
    assert_int_equal(la__utf8_fault("ab\xff", 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_read_back),
        cmocka_unit_test(other_channels_become_three),
        cmocka_unit_test(no_part_of_a_picture_is_taken),
        cmocka_unit_test(a_damaged_png_is_refused),
        cmocka_unit_test(tables_that_are_too_long_are_refused),
        cmocka_unit_test(other_files_are_no_pictures),
        cmocka_unit_test(crop_comes_before_flip),
        cmocka_unit_test(resizing_agrees_with_its_definition),
        cmocka_unit_test(pictures_come_in_order),
        cmocka_unit_test(batches_stay_apart),
        cmocka_unit_test(utf8_is_told_from_bytes),
    };
    return cmocka_run_group_tests(tests, make_picture, remove_folder);
}
