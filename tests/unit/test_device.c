/* SPDX-License-Identifier: MIT
 *
 * test_device.c -- the choice of a device and its pool of memory.
 */
#include <ctype.h>
#include <math.h>

#include "unit.h"

/* ---- the list and the choice ---- */

static void list_is_described(void **state)
{
    int count = 0;
    la_device_info info;
    (void)state;
    OK(la_device_count(&count));
    assert_in_range(count, 1, 64);
    for (int i = 0; i < count; i++) {
        OK(la_device_describe(&info, i));
        assert_true(*info.name && *info.platform && *info.version && *info.driver);
        assert_true(info.units >= 1 && info.memory > 0);
        assert_true(!strcmp(info.type, "cpu") || !strcmp(info.type, "gpu") || !strcmp(info.type, "accelerator"));
    }
    FAILS(la_device_describe(&info, count), LA_EDEVICE, "they go from 1 to");
    FAILS(la_device_describe(&info, -1), LA_EDEVICE, "there is no number 0");
}

static void choice_by_number_type_and_name(void **state)
{
    la_device_info info;
    char text[300];
    int index = -1;
    (void)state;
    OK(la_device_describe(&info, 0));
    OK(la_device_choose(&index, "1"));
    assert_int_equal(index, 0);
    OK(la_device_choose(&index, info.type));
    assert_int_equal(index, 0);
    snprintf(text, sizeof text, "%s:1", info.type);
    *text = (char)toupper((unsigned char)*text);
    OK(la_device_choose(&index, text));
    assert_int_equal(index, 0);
    snprintf(text, sizeof text, "%s", info.platform);
    for (char *c = text; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    OK(la_device_choose(&index, text + 1));
    assert_int_equal(index, 0);
}

static void wrong_choice_lists_what_there_is(void **state)
{
    static const char *const wrong[] = {
        "0", "-1", "99", "cpu:99", "gpu:0", "gpu:x", "no such device", "99999999999999999999"
    };
    la_device *dev = NULL;
    la_device_info info;
    char start[64];
    (void)state;
    OK(la_device_describe(&info, 0));
    snprintf(start, sizeof start, "1: %s %.20s", info.type, info.name);
    for (int i = 0; i < LA_COUNT(wrong); i++) {
        FAILS(la_device_open(&dev, wrong[i]), LA_EDEVICE, wrong[i]);
        assert_non_null(strstr(la_error(), start));
        assert_null(dev);
    }
    const char *before = getenv("LUALIGN_DEVICE");
    char *kept = before ? strdup(before) : NULL;
    setenv("LUALIGN_DEVICE", "nothing like it", 1);
    FAILS(la_device_open(&dev, NULL), LA_EDEVICE, "nothing like it");
    if (kept)
        setenv("LUALIGN_DEVICE", kept, 1);
    else
        unsetenv("LUALIGN_DEVICE");
    free(kept);
}

/* ---- memory ---- */

static void pool_reuses_blocks(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *a, *b, *c;
    (void)state;
    OK(la__buffer_take(&a, dev, 1000));
    OK(la__buffer_take(&b, dev, 1000));
    const la_memory two = la_device_memory(dev);
    assert_int_equal(two.allocations, 2);
    assert_int_equal(two.used, a->bytes + b->bytes);
    la_buffer *const first = a;
    la__buffer_give(a);
    assert_int_equal(la_device_memory(dev).pooled, b->bytes);
    OK(la__buffer_take(&a, dev, 990));
    assert_ptr_equal(a, first);
    OK(la__buffer_take(&c, dev, 0)); /* never an empty block */
    assert_true(c->bytes > 0);
    const la_memory m = la_device_memory(dev);
    assert_int_equal(m.allocations, 3);
    assert_int_equal(m.pooled, 0);
    assert_int_equal(m.peak, m.used);
    la__buffer_give(a);
    la__buffer_give(b);
    la__buffer_give(c);
    assert_int_equal(la_device_memory(dev).used, 0);
    assert_int_equal(la_device_memory(dev).peak, m.peak);
    la_device_reset_peak(dev);
    assert_int_equal(la_device_memory(dev).peak, 0);
    la_device_close(dev);
}

static void blocks_waste_little(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    size_t size = 1;
    (void)state;
    for (int i = 0; i < 120; i++, size += size / 7 + 1) {
        la_buffer *b;
        OK(la__buffer_take(&b, dev, size));
        assert_true(b->bytes >= size);
        assert_true(b->bytes <= 256 || b->bytes <= size + size / 4 + 1);
        la__buffer_give(b);
        if (size > (size_t)8 << 20)
            break;
    }
    la_device_close(dev);
}

static void contents_survive(void **state)
{
    enum { N = 3000 };
    la_device *dev = open_with(NULL, NULL);
    la_buffer *b;
    static int data[N], back[N];
    (void)state;
    for (int i = 0; i < N; i++)
        data[i] = i * i;
    OK(la__buffer_take(&b, dev, sizeof data));
    OK(la__buffer_write(b, 0, sizeof data, data));
    OK(la__buffer_write(b, 40, 8, (int[]){ -1, -2 }));
    OK(la__buffer_read(b, 0, sizeof back, back));
    data[10] = -1;
    data[11] = -2;
    assert_memory_equal(back, data, sizeof data);
    OK(la__buffer_read(b, 40, 0, NULL));
    OK(la__buffer_read(b, 44, 4, back));
    assert_int_equal(back[0], -2);
    FAILS(la__buffer_read(b, b->bytes, 4, back), LA_EDEVICE, "reading 4 bytes failed");
    la__buffer_give(b);
    la_device_close(dev);
}

static void budget_is_kept(void **state)
{
    la_device *dev = open_with("LUALIGN_MEMORY", "4");
    la_buffer *a, *b;
    (void)state;
    assert_int_equal(la_device_memory(dev).budget, 4 << 20);
    OK(la__buffer_take(&a, dev, 2 << 20));
    FAILS(la__buffer_take(&b, dev, 3 << 20), LA_ENOMEM, "asked for 3.00 MiB, 2.00 MiB in use of 4.00 MiB");
    assert_null(b);
    assert_int_equal(la_device_memory(dev).used, 2 << 20);
    la__buffer_give(a); /* kept by the pool, and in the way of what follows until it is freed */
    OK(la__buffer_take(&b, dev, 3 << 20));
    assert_int_equal(la_device_memory(dev).pooled, 0);
    la__buffer_give(b);
    FAILS(la__buffer_take(&b, dev, (size_t)1 << 62), LA_ENOMEM, "out of device memory");
    FAILS(la__buffer_take(&b, dev, SIZE_MAX), LA_ENOMEM, "out of device memory");
    la_device_close(dev);
}

static void limit_must_be_a_number(void **state)
{
    static const char *const wrong[] = { "much", "0", "-5", "12GB", "nan" };
    la_device *dev = NULL;
    (void)state;
    for (int i = 0; i < LA_COUNT(wrong); i++) {
        setenv("LUALIGN_MEMORY", wrong[i], 1);
        FAILS(la_device_open(&dev, NULL), LA_EARG, wrong[i]);
        assert_null(dev);
    }
    unsetenv("LUALIGN_MEMORY");
}

typedef struct holder {
    la_buffer *held;
    int calls, urgent;
} holder;

static void let_go(void *payload, size_t bytes, bool urgent)
{
    holder *h = payload;
    (void)bytes;
    h->calls++;
    h->urgent += urgent;
    if (urgent) {
        la__buffer_give(h->held);
        h->held = NULL;
    }
}

static void pressure_makes_room(void **state)
{
    la_device *dev = open_with("LUALIGN_MEMORY", "4");
    holder h = { 0 };
    la_buffer *b;
    (void)state;
    OK(la__buffer_take(&h.held, dev, 3 << 20));
    la_device_on_pressure(dev, let_go, &h);
    OK(la__buffer_take(&b, dev, 1000)); /* fits: asked before fresh memory, but not urgently */
    assert_int_equal(h.calls, 1);
    assert_int_equal(h.urgent, 0);
    la__buffer_give(b);
    OK(la__buffer_take(&b, dev, 2 << 20));
    assert_int_equal(h.urgent, 1);
    assert_null(h.held);
    la__buffer_give(b);
    const int calls = h.calls;
    OK(la__buffer_take(&b, dev, 2 << 20)); /* from the pool: nobody is asked */
    assert_int_equal(h.calls, calls);
    la__buffer_give(b);
    la_device_close(dev);
}

/* Memory is poisoned when fresh and when it comes from the pool. */
static void poison_shows_undefined_memory(void **state)
{
    enum { N = 500 };
    la_device *dev = open_with("LUALIGN_POISON", "1");
    float data[N] = { 0 };
    la_buffer *b;
    (void)state;
    for (int round = 0; round < 2; round++) {
        OK(la__buffer_take(&b, dev, sizeof data));
        OK(la__buffer_read(b, 0, sizeof data, data));
        for (int i = 0; i < N; i++)
            assert_true(isnan(data[i]));
        memset(data, 0, sizeof data);
        OK(la__buffer_write(b, 0, sizeof data, data));
        la__buffer_give(b);
    }
    assert_int_equal(la_device_memory(dev).allocations, 1);
    la_device_close(dev);
}

static void exact_blocks_are_never_reused(void **state)
{
    la_device *dev = open_with("LUALIGN_POOL", "exact");
    la_buffer *b;
    (void)state;
    for (int round = 0; round < 2; round++) {
        OK(la__buffer_take(&b, dev, 1001));
        assert_int_equal(b->bytes, 1001);
        la__buffer_give(b);
    }
    assert_int_equal(la_device_memory(dev).allocations, 2);
    assert_int_equal(la_device_memory(dev).pooled, 0);
    assert_int_equal(la_device_memory(dev).used, 0);
    la_device_close(dev);
}

/* ---- larger blocks, which a device that works on our memory cuts from an arena ---- */

enum { KIB = 1024, BLOCKS = 60, LONGEST = 400 };

static uint32_t next_random(uint32_t *seed)
{
    return *seed = *seed * 1664525u + 1013904223u;
}

static void fill_words(la_buffer *b, uint32_t value)
{
    static uint32_t words[LONGEST * KIB / 4];
    for (size_t i = 0; i < b->bytes / 4; i++)
        words[i] = value;
    OK(la__buffer_write(b, 0, b->bytes, words));
}

/* All words of b: nobody else wrote into it. */
static void holds_words(const la_buffer *b, uint32_t value)
{
    static uint32_t words[LONGEST * KIB / 4];
    OK(la__buffer_read(b, 0, b->bytes, words));
    for (size_t i = 0; i < b->bytes / 4; i++)
        assert_int_equal(words[i], value);
}

/* Random takes and gives of random sizes: blocks keep what is theirs, and the figures add up. */
static void blocks_do_not_overlap(void **state)
{
    la_device *dev = open_with(NULL, NULL);
    la_buffer *block[BLOCKS] = { NULL };
    uint32_t seed = 5;
    size_t used = 0;
    (void)state;
    for (uint32_t round = 0; round < 600; round++) {
        const uint32_t i = next_random(&seed) / 7 % BLOCKS;
        if (block[i]) {
            used -= block[i]->bytes;
            holds_words(block[i], i);
            la__buffer_give(block[i]);
            block[i] = NULL;
        } else {
            const size_t bytes = 30 * KIB + next_random(&seed) / 7 % ((LONGEST - 60) * KIB);
            OK(la__buffer_take(&block[i], dev, bytes));
            assert_true(block[i]->bytes >= bytes);
            used += block[i]->bytes;
            fill_words(block[i], i);
        }
        assert_int_equal(la_device_memory(dev).used, used);
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (block[i])
            holds_words(block[i], i);
        la__buffer_give(block[i]);
    }
    assert_int_equal(la_device_memory(dev).used, 0);
    la_device_close(dev);
}

/* What many small blocks leave serves one large one, and the other way round. */
static void neighbours_are_joined(void **state)
{
    la_buffer *part[8], *whole;
    la_device_info info;
    (void)state;
    la_device *dev = open_with(NULL, NULL);
    info = *la_device_get_info(dev);
    if (strcmp(info.type, "cpu") != 0) {
        la_device_close(dev);
        skip();
    }
    for (int i = 0; i < 8; i++)
        OK(la__buffer_take(&part[i], dev, 100 * KIB));
    const la_memory before = la_device_memory(dev);
    for (int i = 0; i < 8; i++) /* 0, 3, 6, 1, 4, 7, 2, 5 */
        la__buffer_give(part[i * 3 % 8]);
    assert_int_equal(la_device_memory(dev).pooled, before.used);
    OK(la__buffer_take(&whole, dev, 800 * KIB));
    assert_int_equal(la_device_memory(dev).allocations, before.allocations);
    assert_int_equal(la_device_memory(dev).pooled, 0);
    la__buffer_give(whole);
    for (int i = 0; i < 4; i++)
        OK(la__buffer_take(&part[i], dev, 200 * KIB));
    assert_int_equal(la_device_memory(dev).allocations, before.allocations);
    OK(la__buffer_take(&part[4], dev, 33 * KIB)); /* nothing is left */
    assert_int_equal(la_device_memory(dev).allocations, before.allocations + 1);
    for (int i = 0; i < 5; i++)
        la__buffer_give(part[i]);
    la_device_close(dev);
}

/* Pages in holes that nothing fits into are given back when the budget says so; what is used stays. */
static void holes_give_room(void **state)
{
    enum { N = 8 };
    la_device *dev = open_with("LUALIGN_MEMORY", "2");
    la_buffer *part[N], *large;
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        OK(la__buffer_take(&part[i], dev, 200 * KIB));
        fill_words(part[i], i);
    }
    for (int i = 0; i < N; i += 2)
        la__buffer_give(part[i]);
    OK(la__buffer_take(&large, dev, 390 * KIB));
    fill_words(large, 77);
    const la_memory m = la_device_memory(dev);
    assert_true(m.used + m.pooled <= m.budget);
    for (uint32_t i = 1; i < N; i += 2)
        holds_words(part[i], i);
    OK(la__buffer_take(&part[0], dev, 200 * KIB)); /* into a hole again */
    fill_words(part[0], 5);
    holds_words(large, 77);
    FAILS(la__buffer_take(&part[2], dev, 900 * KIB), LA_ENOMEM, "LUALIGN_MEMORY sets the limit");
    la__buffer_give(part[0]);
    la__buffer_give(large);
    for (int i = 1; i < N; i += 2)
        la__buffer_give(part[i]);
    la_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_is_described),
        cmocka_unit_test(choice_by_number_type_and_name),
        cmocka_unit_test(wrong_choice_lists_what_there_is),
        cmocka_unit_test(pool_reuses_blocks),
        cmocka_unit_test(blocks_waste_little),
        cmocka_unit_test(contents_survive),
        cmocka_unit_test(budget_is_kept),
        cmocka_unit_test(limit_must_be_a_number),
        cmocka_unit_test(pressure_makes_room),
        cmocka_unit_test(poison_shows_undefined_memory),
        cmocka_unit_test(exact_blocks_are_never_reused),
        cmocka_unit_test(blocks_do_not_overlap),
        cmocka_unit_test(neighbours_are_joined),
        cmocka_unit_test(holes_give_room),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
