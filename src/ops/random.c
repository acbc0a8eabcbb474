/* SPDX-License-Identifier: MIT
 *
 * random.c -- rand, randn, randperm from the device's Philox stream. Each call takes as many blocks of four words as it
 * needs; rand and randperm give the same elements on every device, randn does up to the rounding of log and cospi.
 */
#include "ops/random.h"

#include <stdlib.h>

#include "ops/op.h"

void la__philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] }, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        const uint32_t old1 = c[1], old3 = c[3];
        c[0] = (uint32_t)(p1 >> 32) ^ old1 ^ k0;
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ old3 ^ k1;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

/* out[i] = offset + scale * z for the kernel's kind of z. */
static int fill_random(la_call *c, const char *entry, double offset, double scale)
{
    int err = 0;
    uint64_t seed;
    LA_TRY(la__out(c, 0, LA_F32, c->arg[0].count, c->arg[0].ints));
    const int64_t n = la_tensor_numel(c->out[0]), blocks = (n + 3) / 4;
    const uint64_t counter = la__device_draw(c->dev, (uint64_t)blocks, &seed);
    LA_TRY(la__launch(
        c->dev,
        &(la_launch){ .program = "random", .entry = entry, .global = { (size_t)blocks }, .bytes = 4.0 * (double)n },
        (la_karg[]){ LA_T(c->out[0]), LA_INT(n), LA_UINT(counter), LA_UINT(counter >> 32), LA_UINT(seed),
                     LA_UINT(seed >> 32), LA_FLOAT(offset), LA_FLOAT(scale) },
        8));
done:
    return err;
}

static const la_param rand_params[] = {
    { LA_P_INTS, "shape", NULL, "sizes of the dimensions, as a list or one after the other", NULL },
    { LA_P_NUMBER, "low", "0", "least value", NULL },
    { LA_P_NUMBER, "high", "1", "bound of the values, not reached by 24 bits from 0 to 1", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int rand_forward(la_call *c)
{
    const double low = c->arg[1].number, high = c->arg[2].number;
    if (!(low <= high))
        return la_fail(LA_EARG, "rand: low must not be above high, got %g and %g", low, high);
    return fill_random(c, "uniform_fwd", low, high - low);
}

const la_op la_op_rand = {
    .name = "rand",
    .brief = "Uniform random numbers of [low, high), the same on every device for one seed.",
    .example = "local x = la.rand(2, 3)",
    .param = rand_params,
    .forward = rand_forward,
};

static const la_param randn_params[] = {
    { LA_P_INTS, "shape", NULL, "sizes of the dimensions, as a list or one after the other", NULL },
    { LA_P_NUMBER, "mean", "0", "of the distribution", NULL },
    { LA_P_NUMBER, "std", "1", "standard deviation", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int randn_forward(la_call *c)
{
    if (!(c->arg[2].number >= 0))
        return la_fail(LA_EARG, "randn: std must not be negative, got %g", c->arg[2].number);
    return fill_random(c, "normal_fwd", c->arg[1].number, c->arg[2].number);
}

const la_op la_op_randn = {
    .name = "randn",
    .brief = "Normally distributed random numbers.",
    .example = "local x = la.randn({ 2, 3 }, { std = 0.1 })",
    .param = randn_params,
    .forward = randn_forward,
};

/* ---- randperm ---- */

/* Fisher and Yates; 64 random bits per element leave a bias below 2^-33. */
static void shuffle(int32_t *list, int64_t n, uint64_t counter, uint64_t seed)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t word[4];
    for (int64_t i = 0; i < n; i++) {
        if (i % 2 == 0) {
            const uint64_t block = counter + (uint64_t)i / 2;
            la__philox(word, (uint32_t[4]){ (uint32_t)block, (uint32_t)(block >> 32), 0, 0 }, key);
        }
        const uint64_t bits = (uint64_t)word[i % 2 * 2] << 32 | word[i % 2 * 2 + 1];
        const int64_t k = (int64_t)(bits % (uint64_t)(i + 1));
        list[i] = list[k];
        list[k] = (int32_t)(i + 1);
    }
}

static const la_param randperm_params[] = {
    { LA_P_INT, "n", NULL, "how many numbers", NULL },
    { LA_P_END, NULL, NULL, NULL, NULL },
};

static int randperm_forward(la_call *c)
{
    int err = 0;
    int32_t *list = NULL;
    uint64_t seed;
    const int64_t n = c->arg[0].ints[0];

    if (n < 0 || n > INT32_MAX)
        return la_fail(LA_EARG, "randperm: n must be from 0 to 2^31 - 1, got %lld", (long long)n);
    list = la__calloc((size_t)n + 1, sizeof *list);
    if (!list)
        return LA_ENOMEM;
    const uint64_t counter = la__device_draw(c->dev, (uint64_t)(n + 1) / 2, &seed);
    shuffle(list, n, counter, seed);
    LA_TRY(la_tensor_from(&c->out[0], c->dev, LA_I32, 1, &n, list));
done:
    free(list);
    return err;
}

const la_op la_op_randperm = {
    .name = "randperm",
    .brief = "The numbers 1 to n in random order, int32, the same on every device for one seed.",
    .example = "local order = la.randperm(100)",
    .param = randperm_params,
    .forward = randperm_forward,
};
