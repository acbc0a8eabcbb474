/* SPDX-License-Identifier: MIT
 *
 * test_canvas.c -- drawing: areas, edges, cutting off, mixing.
 */
#include <math.h>

#include "io/canvas.h"
#include "unit.h"
#include "util/util.h"

static const double WHITE[3] = { 255, 255, 255 }, BLACK[3] = { 0, 0, 0 };

static la_canvas *black(int width, int height, int channels)
{
    la_canvas *c;
    OK(la__canvas_new(&c, width, height, channels, BLACK));
    return c;
}

/* How much white there is, in pixels, and its middle. */
static double white(const la_canvas *c, double *x, double *y)
{
    double sum = 0.0, mx = 0.0, my = 0.0;
    for (int i = 0; i < c->height; i++)
        for (int j = 0; j < c->width; j++) {
            const double v = c->pixels[(i * c->width + j) * c->channels] / 255.0;
            sum += v;
            mx += v * j;
            my += v * i;
        }
    if (x)
        *x = mx / sum;
    if (y)
        *y = my / sum;
    return sum;
}

static double area(const double *xy, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        const double *a = xy + 2 * i, *b = xy + 2 * ((i + 1) % n);
        sum += a[0] * b[1] - a[1] * b[0];
    }
    return fabs(sum) / 2.0;
}

/* Coverage is rounded to 1/255 on each pixel of the edge. */
static void polygons_cover_their_area(void **state)
{
    static const double shapes[][10] = { { 3.2, 4.7, 30.1, 8.3, 25.5, 33.9, 11, 38.25, 5.5, 20 },
                                         { 10, 10, 10.4, 10, 10.4, 10.4, 10, 10.4, 10, 10.2 },
                                         { 0, 0, 39, 0.3, 39, 39, 20, 10, 0, 39 },
                                         { 5.1, 5.1, 5.2, 35, 5.3, 35, 35, 35.2, 35, 35.4 } };
    (void)state;
    for (int s = 0; s < LA_COUNT(shapes); s++) {
        double back[10];
        la_canvas *c = black(40, 40, 1), *d = black(40, 40, 1);
        for (int i = 0; i < 5; i++)
            memcpy(back + 2 * i, shapes[s] + 2 * (4 - i), 2 * sizeof *back);
        OK(la__canvas_polygon(c, shapes[s], 5, WHITE, 1.0));
        OK(la__canvas_polygon(d, back, 5, WHITE, 1.0));
        assert_true(fabs(white(c, NULL, NULL) - area(shapes[s], 5)) < 160 * 0.5 / 255);
        for (int i = 0; i < 40 * 40; i++) /* either way round; a half may be rounded either way */
            assert_true(abs(c->pixels[i] - d->pixels[i]) <= 1);
        la__canvas_free(&c);
        la__canvas_free(&d);
    }
}

static void pixels_have_their_centres_at_whole_numbers(void **state)
{
    const double pixel[] = { 2.5, 1.5, 3.5, 1.5, 3.5, 2.5, 2.5, 2.5 }, half[] = { 4.5, 0, 6.5, 0, 6.5, 0.5, 4.5, 0.5 };
    la_canvas *c = black(8, 4, 1);
    (void)state;
    OK(la__canvas_polygon(c, pixel, 4, WHITE, 1.0));
    OK(la__canvas_polygon(c, half, 4, WHITE, 1.0));
    for (int i = 0; i < 32; i++)
        assert_int_equal(c->pixels[i], i == 2 * 8 + 3 ? 255 : i == 5 || i == 6 ? 128 : 0);
    la__canvas_free(&c);
}

/* What lies outside is cut off, on all sides, however far away. */
static void shapes_are_cut_off(void **state)
{
    const double around[] = { -1e7, -1e7, 1e7, -1e7, 1e7, 1e7, -1e7, 1e7 };
    const double left[] = { -50, -50, -1, -50, -1, 80, -50, 80 }, right[] = { 40, 0, 90, 0, 90, 20, 40, 20 };
    const double corner[] = { -10, -10, 4.5, -10, 4.5, 2.5, -10, 2.5 }, odd[] = { 0, 0, NAN, 1, 1, 1 };
    la_canvas *c = black(20, 10, 1);
    (void)state;
    OK(la__canvas_polygon(c, left, 4, WHITE, 1.0));
    OK(la__canvas_polygon(c, right, 4, WHITE, 1.0));
    OK(la__canvas_line(c, -1e9, -50, 1e9, -50, 3, WHITE, 1.0));
    OK(la__canvas_ellipse(c, -30, 5, 10, 10, 0, WHITE, 1.0));
    la__canvas_text(c, -500, 3, "left", WHITE, 1.0);
    la__canvas_text(c, 3, 1e9, "below", WHITE, 1.0);
    assert_true(white(c, NULL, NULL) == 0.0);
    OK(la__canvas_polygon(c, corner, 4, WHITE, 1.0));
    assert_true(white(c, NULL, NULL) == 15.0);
    OK(la__canvas_polygon(c, around, 4, WHITE, 1.0));
    assert_true(white(c, NULL, NULL) == 200.0);
    FAILS(la__canvas_polygon(c, odd, 3, WHITE, 1.0), LA_EARG, "coordinates must be finite, number 3 is not");
    la__canvas_free(&c);
}

static void ellipses_and_lines_have_their_size(void **state)
{
    const double pi = 3.14159265358979323846;
    double x, y;
    la_canvas *c = black(100, 80, 3);
    (void)state;
    OK(la__canvas_ellipse(c, 41.3, 40.6, 30, 12, 0.7, WHITE, 1.0));
    assert_true(fabs(white(c, &x, &y) - pi * 30 * 12) < 0.002 * pi * 30 * 12);
    assert_true(fabs(x - 41.3) < 0.02 && fabs(y - 40.6) < 0.02);
    la__canvas_free(&c);
    c = black(100, 80, 1);
    OK(la__canvas_line(c, 20.25, 30.5, 70.25, 50.5, 4, WHITE, 1.0)); /* round ends: half a disc each */
    const double expected = 4 * hypot(50, 20) + pi * 4;
    assert_true(fabs(white(c, &x, &y) - expected) < 0.005 * expected);
    assert_true(fabs(x - 45.25) < 0.05 && fabs(y - 40.5) < 0.05);
    la__canvas_free(&c);
    c = black(50, 50, 1);
    OK(la__canvas_line(c, 5, 45, 45, 5, 0.25, WHITE, 1.0)); /* thinner than a pixel: fainter, not gone */
    assert_true(fabs(white(c, NULL, NULL) - 0.25 * hypot(40, 40)) < 0.3);
    la__canvas_free(&c);
}

static void colours_mix_by_alpha(void **state)
{
    const double red[3] = { 200, 100, 0 }, all[] = { -1, -1, 9, -1, 9, 9, -1, 9 };
    la_canvas *c = black(4, 4, 3), *grey;
    (void)state;
    OK(la__canvas_polygon(c, all, 4, red, 0.25));
    assert_memory_equal(c->pixels, ((uint8_t[]){ 50, 25, 0 }), 3);
    OK(la__canvas_new(&grey, 2, 2, 1, (double[]){ 90 }));
    la__canvas_paste(c, grey, 3, -1, 1.0); /* one pixel of it is inside */
    assert_memory_equal(c->pixels + 9, ((uint8_t[]){ 90, 90, 90, 50 }), 4);
    la__canvas_paste(grey, c, 0, 0, 1.0); /* luminance */
    assert_int_equal(grey->pixels[0], (int)(0.299 * 50 + 0.587 * 25 + 0.5));
    la__canvas_free(&c);
    la__canvas_free(&grey);
}

static void gradients_run_from_corner_to_corner(void **state)
{
    la_canvas *c = black(5, 3, 1);
    (void)state;
    la__canvas_gradient(c, (double[]){ 0 }, (double[]){ 200 }, 0.0);
    assert_memory_equal(c->pixels, ((uint8_t[]){ 0, 50, 100, 150, 200, 0 }), 6);
    la__canvas_gradient(c, (double[]){ 0 }, (double[]){ 200 }, 3.14159265358979323846);
    assert_memory_equal(c->pixels, ((uint8_t[]){ 200, 150, 100, 50, 0, 200 }), 6);
    la__canvas_free(&c);
}

/* Between -amount and amount, different for another seed, the same for the same one, smooth within a cell. */
static void noise_is_bounded_and_repeats(void **state)
{
    const double middle[1] = { 128 };
    la_canvas *a, *b, *other;
    int low = 255, high = 0;
    double sum = 0.0;
    (void)state;
    OK(la__canvas_new(&a, 60, 60, 1, middle));
    OK(la__canvas_new(&b, 60, 60, 1, middle));
    OK(la__canvas_new(&other, 60, 60, 1, middle));
    la__canvas_noise(a, 7, 40, 6);
    la__canvas_noise(b, 7, 40, 6);
    la__canvas_noise(other, 8, 40, 6);
    assert_memory_equal(a->pixels, b->pixels, 3600);
    assert_memory_not_equal(a->pixels, other->pixels, 3600);
    for (int i = 0; i < 3600; i++) {
        low = a->pixels[i] < low ? a->pixels[i] : low;
        high = a->pixels[i] > high ? a->pixels[i] : high;
        sum += a->pixels[i];
        if (i % 60)
            assert_true(abs(a->pixels[i] - a->pixels[i - 1]) <= 80 * 1.5 / 6 + 1);
    }
    assert_true(low >= 88 && low < 110 && high <= 168 && high > 146);
    assert_true(fabs(sum / 3600 - 128) < 6);
    la__canvas_free(&a);
    la__canvas_free(&b);
    la__canvas_free(&other);
}

static void text_fits_the_size_it_says(void **state)
{
    const char *text = "two words, and\nanother line of \xc3\xa9 and ~|{}";
    int width, height;
    double most_x = 0, most_y = 0;
    la_canvas *c = black(400, 60, 1);
    (void)state;
    la__canvas_text_size(&width, &height, text, 1.5);
    assert_int_equal(height, 36);
    la__canvas_text(c, 10, 5, text, WHITE, 1.5);
    assert_true(white(c, NULL, NULL) > 300);
    for (int i = 0; i < 400 * 60; i++)
        if (c->pixels[i]) {
            most_x = fmax(most_x, i % 400);
            most_y = fmax(most_y, i / 400);
            assert_true(i % 400 >= 10 && i / 400 >= 5);
        }
    assert_true(most_x < 10 + width && most_x > 10 + width - 8);
    assert_true(most_y < 5 + height && most_y > 5 + height - 10);
    la__canvas_free(&c);
}

static void sizes_are_checked(void **state)
{
    la_canvas *c;
    (void)state;
    FAILS(la__canvas_new(&c, 0, 5, 1, BLACK), LA_EARG, "between 1 and 32768, got 0 and 5");
    FAILS(la__canvas_new(&c, 5, 40000, 1, BLACK), LA_EARG, "got 5 and 40000");
    FAILS(la__canvas_new(&c, 5, 5, 4, BLACK), LA_EARG, "channels must be 1 or 3, got 4");
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(polygons_cover_their_area),
        cmocka_unit_test(pixels_have_their_centres_at_whole_numbers),
        cmocka_unit_test(shapes_are_cut_off),
        cmocka_unit_test(ellipses_and_lines_have_their_size),
        cmocka_unit_test(colours_mix_by_alpha),
        cmocka_unit_test(gradients_run_from_corner_to_corner),
        cmocka_unit_test(noise_is_bounded_and_repeats),
        cmocka_unit_test(text_fits_the_size_it_says),
        cmocka_unit_test(sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
