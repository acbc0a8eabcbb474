/* SPDX-License-Identifier: MIT
 *
 * test_gemm.c -- products with all that may go before and after their sums, against sums in double precision; what is
 * kept with the right matrix, and for how long.
 */
#include <math.h>

#include "ops/gemm.h"
#include "unit.h"
#include "util/util.h"

static la_device *dev;

/* A product, all of its operands on both sides. */
enum { A, B, SCALE, BIAS, RESIDUAL, INPUTS };

typedef struct problem {
    la_gemm g;
    la_tensor *t[INPUTS], *c;
    float *x[INPUTS];
} problem;

static void prepare(problem *p, la_gemm g, bool scaled, bool biased, bool residual, uint32_t seed)
{
    const int64_t count[INPUTS] = { (g.a_step ? g.batch : 1) * g.m * g.k, (g.b_step ? g.batch : 1) * g.k * g.n,
                                    g.scale_rows ? g.k : g.n, g.n, g.batch * g.m * g.n };
    *p = (problem){ .g = g };
    for (int i = 0; i < INPUTS; i++) {
        p->x[i] = la__calloc((size_t)count[i] + 1, sizeof(float));
        assert_non_null(p->x[i]);
        la__trial_numbers(p->x[i], (int)count[i], seed + (uint32_t)i);
        OK(la_tensor_from(&p->t[i], dev, LA_F32, LA_DIMS(count[i]), p->x[i]));
    }
    OK(la_tensor_new(&p->c, dev, LA_F32, LA_DIMS(g.batch, g.m, g.n)));
    p->g.a = p->t[A]->storage->buffer;
    p->g.b = p->t[B]->storage->buffer;
    p->g.c = p->c->storage->buffer;
    p->g.scale = scaled ? p->t[SCALE]->storage->buffer : NULL;
    p->g.bias = biased ? p->t[BIAS]->storage->buffer : NULL;
    p->g.residual = residual ? p->t[RESIDUAL]->storage->buffer : NULL;
}

static void discard(problem *p)
{
    for (int i = 0; i < INPUTS; i++) {
        la_tensor_release(&p->t[i]);
        free(p->x[i]);
    }
    la_tensor_release(&p->c);
}

static double expected(const problem *p, int64_t z, int64_t i, int64_t j)
{
    const la_gemm *g = &p->g;
    double sum = 0.0;
    for (int64_t q = 0; q < g->k; q++) {
        const double a = (double)p->x[A][z * g->a_step + (g->ta ? q * g->m + i : i * g->k + q)];
        const double b = (double)p->x[B][z * g->b_step + (g->tb ? j * g->k + q : q * g->n + j)];
        sum += a * b * (g->scale ? (double)p->x[SCALE][g->scale_rows ? q : j] : 1.0);
    }
    sum += g->bias ? (double)p->x[BIAS][j] : 0.0;
    sum += g->residual ? (double)p->x[RESIDUAL][(z * g->m + i) * g->n + j] : 0.0;
    if (g->clamp)
        sum = sum < (double)g->low ? (double)g->low : sum > (double)g->high ? (double)g->high : sum;
    return sum;
}

/* Runs the product and compares: 1e-5 of what the sums can reach. */
static void check(const problem *p, const char *label)
{
    const la_gemm *g = &p->g;
    float *got = la__calloc((size_t)(g->batch * g->m * g->n) + 1, sizeof *got);
    assert_non_null(got);
    OK(la__fill(p->c, NAN));
    OK(la__gemm(dev, g));
    OK(la_tensor_read(p->c, got));
    for (int64_t at = 0; at < g->batch * g->m * g->n; at++) {
        const double want = expected(p, at / g->n / g->m, at / g->n % g->m, at % g->n);
        if (!(fabs((double)got[at] - want) <= 1e-5 * (2.0 + sqrt((double)g->k))))
            fail_msg("%s: element %lld is %.9g, should be %.9g", label, (long long)at, (double)got[at], want);
    }
    free(got);
}

/* Every combination of scale, bias, residual and clamp, by every method, transposed or not, full tiles and cut ones. */
static void what_goes_with_the_sums(void **state)
{
    static const int64_t size[][3] = { { 7, 5, 9 },    { 19, 71, 33 }, { 48, 64, 40 },
                                       { 3, 18, 130 }, { 24, 1, 17 },  { 5, 71, 203 } };
    (void)state;
    for (int code = 0; code < 3 * 16 * LA_COUNT(size); code++) {
        const int scale = code % 3, what = code / 3 % 16;
        const int64_t *s = size[code / 48], batch = code % 5 == 0 ? 2 : 1;
        la_gemm g = { .batch = batch,
                      .m = s[0],
                      .n = s[1],
                      .k = s[2],
                      .ta = code % 7 < 3,
                      .tb = code % 2 == 0,
                      .a_step = batch > 1 ? s[0] * s[2] : 0,
                      .b_step = batch > 1 && code % 10 == 0 ? s[1] * s[2] : 0,
                      .scale_rows = scale == 2,
                      .clamp = what & 4,
                      .low = -0.75f,
                      .high = what & 8 ? 0.5f : INFINITY };
        problem p;
        prepare(&p, g, scale != 0, what & 1, what & 2, (uint32_t)code);
        for (int method = LA_AUTO; method <= LA_GPU64X64; method++) {
            if (method == LA_CLBLAST)
                continue;
            char label[160];
            snprintf(label, sizeof label, "method %d, %lld of %lldx%lldx%lld%s%s, scale %d, extras %d", method,
                     (long long)batch, (long long)s[0], (long long)s[1], (long long)s[2], g.ta ? " ta" : "",
                     g.tb ? " tb" : "", scale, what);
            p.g.method = (la_method)method;
            check(&p, label);
        }
        discard(&p);
    }
}

/* CLBlast, where the library has it: a test of its own, since its kernels take long to build. */
static void clblast_computes_the_same(void **state)
{
    static const int64_t size[][3] = { { 7, 5, 9 }, { 48, 64, 40 }, { 130, 130, 130 } };
    (void)state;
    if (!la__clblast_available())
        skip();
    for (int code = 0; code < 4 * LA_COUNT(size); code++) {
        const int64_t *s = size[code / 4];
        la_gemm g = { .method = LA_CLBLAST,
                      .batch = 2,
                      .m = s[0],
                      .n = s[1],
                      .k = s[2],
                      .ta = code & 1,
                      .tb = code & 2,
                      .a_step = s[0] * s[2],
                      .b_step = code % 3 == 0 ? 0 : s[1] * s[2],
                      .scale_rows = code & 1,
                      .clamp = true,
                      .low = -0.75f,
                      .high = 0.5f };
        problem p;
        prepare(&p, g, true, true, true, (uint32_t)code);
        check(&p, "clblast");
        discard(&p);
    }
}

/* No elements, and sums of nothing: what follows the sums is there all the same. */
static void empty_sizes(void **state)
{
    static const int64_t size[][3] = { { 0, 5, 9 }, { 5, 0, 9 }, { 7, 20, 0 } };
    (void)state;
    for (int i = 0; i < LA_COUNT(size); i++)
        for (int method = LA_AUTO; method <= LA_GPU64X64; method++) {
            if (method == LA_CLBLAST)
                continue;
            problem p;
            la_gemm g = { .batch = 1, .m = size[i][0], .n = size[i][1], .k = size[i][2], .clamp = true, .high = 1.0f };
            prepare(&p, g, true, true, true, 1);
            p.g.method = (la_method)method;
            check(&p, "empty");
            discard(&p);
        }
}

/* A NaN of the sums or of the residual is not clamped away, in full tiles and in cut ones. */
static void nan_survives(void **state)
{
    (void)state;
    for (int method = LA_AUTO; method <= LA_GPU64X64; method++) {
        if (method == LA_CLBLAST)
            continue;
        enum { M = 30, N = 70, K = 20 };
        problem p;
        float c[M * N];
        prepare(&p, (la_gemm){ .batch = 1, .m = M, .n = N, .k = K, .clamp = true, .low = 0.0f, .high = 6.0f }, false,
                true, true, 3);
        p.g.method = (la_method)method;
        p.x[A][2 * K + 3] = NAN;          /* row 2 */
        p.x[RESIDUAL][29 * N + 69] = NAN; /* the last element */
        OK(la_tensor_write(p.t[A], p.x[A]));
        OK(la_tensor_write(p.t[RESIDUAL], p.x[RESIDUAL]));
        OK(la__gemm(dev, &p.g));
        OK(la_tensor_read(p.c, c));
        for (int at = 0; at < M * N; at++)
            if ((isnan(c[at]) != 0) != (at / N == 2 || at == M * N - 1))
                fail_msg("method %d: row %d, column %d is %g", method, at / N, at % N, (double)c[at]);
        discard(&p);
    }
}

/* With origins the panels are made once; anything that they depend on makes them anew. */
static void panels_are_kept(void **state)
{
    (void)state;
    for (int method = LA_AUTO; method <= LA_GPU64X64; method++) {
        if (method == LA_CLBLAST)
            continue;
        problem p;
        prepare(&p, (la_gemm){ .batch = 1, .m = 12, .n = 70, .k = 40, .tb = true }, true, true, false, 5);
        const la_tensor *const origin[] = { p.t[B], p.t[BIAS], p.t[SCALE] };
        p.g.method = (la_method)method;
        p.g.origin = origin;
        p.g.origins = LA_COUNT(origin);
        p.g.key = "test";
        check(&p, "first");
        const bool keeps = la__method(dev, p.g.method) == LA_CPU; /* on GPUs the sums are scaled */
        assert_int_equal(p.t[B]->storage->kept != NULL, keeps);
        const struct la_kept *kept = p.t[B]->storage->kept;
        check(&p, "again");
        assert_ptr_equal(p.t[B]->storage->kept, kept);
        for (int i = B; i <= BIAS; i++) { /* the weight, then the scale, then the bias change */
            for (int at = 0; at < 70; at++)
                p.x[i][at] += 1.0f;
            OK(la_tensor_write(p.t[i], p.x[i]));
            check(&p, i == B ? "other weight" : i == SCALE ? "other scale" : "other bias");
            assert_ptr_equal(p.t[B]->storage->kept, kept);
        }
        p.g.bias = NULL; /* other panels */
        p.g.origins = 3;
        check(&p, "without bias");
        p.g.tb = false;
        check(&p, "not transposed");
        p.g.scale = NULL;
        check(&p, "without scale");
        discard(&p);
    }
}

/* Those of a weight that is trained are not. */
static void trained_weights_keep_nothing(void **state)
{
    (void)state;
    problem p;
    prepare(&p, (la_gemm){ .batch = 1, .m = 12, .n = 70, .k = 40, .tb = true }, true, true, false, 5);
    const la_tensor *const origin[] = { p.t[B], p.t[BIAS], p.t[SCALE] };
    p.g.origin = origin;
    p.g.origins = LA_COUNT(origin);
    la_tensor_set_requires_grad(p.t[B], true);
    check(&p, "trained");
    assert_null(p.t[B]->storage->kept);
    discard(&p);
}

/* x as tensor cores take it: tf32 keeps 10 bits behind the point, ties go away from zero; bfloat16 7, ties to even. */
static float rounded(float x, la_factors factors)
{
    int e;
    const int bits = factors == LA_TF32_FACTORS ? 10 : 7;
    const float f = ldexpf(frexpf(x, &e), bits + 1);
    return ldexpf(factors == LA_TF32_FACTORS ? roundf(f) : rintf(f), e - bits - 1);
}

/* The kernel for tensor cores with the instruction emulated, element by element where PTX has them: the sums of
 * rounded factors, cut and whole tiles, a depth dealt out. */
static void tensor_cores_emulated(void **state)
{
    static const int64_t size[][3] = { { 128, 128, 32 }, { 5, 7, 3 },     { 130, 131, 33 },
                                       { 20, 36, 1100 }, { 21, 133, 47 }, { 4, 8, 16 } };
    (void)state;
    setenv("LUALIGN_MMA", "emulate", 1);
    for (int code = 0; code < 8 * LA_COUNT(size); code++) {
        const la_factors factors = code % 2 ? LA_TF32_FACTORS : LA_BFLOAT16_FACTORS;
        const int64_t *s = size[code / 8], batch = s[0] < 21 ? 2 : 1;
        problem p;
        prepare(&p,
                (la_gemm){ .factors = factors,
                           .batch = batch,
                           .m = s[0],
                           .n = s[1],
                           .k = s[2],
                           .ta = code / 2 % 2,
                           .tb = code / 4 % 2,
                           .a_step = s[0] * s[2],
                           .b_step = s[1] * s[2],
                           .clamp = true,
                           .low = -1.0f,
                           .high = 2.0f },
                true, true, true, (uint32_t)code);
        for (int i = A; i <= B; i++)
            for (int64_t at = 0; at < batch * (i == A ? s[0] : s[1]) * s[2]; at++)
                p.x[i][at] = rounded(p.x[i][at], factors);
        check(&p, "emulated"); /* the device has them as they were */
        discard(&p);
    }
    unsetenv("LUALIGN_MMA");
}

/* NaN and infinities go through the rounding; without tensor cores the precision is refused. */
static void tensor_cores_keep_nan(void **state)
{
    enum { M = 3, N = 4, K = 8 };
    (void)state;
    setenv("LUALIGN_MMA", "emulate", 1);
    for (la_factors factors = LA_TF32_FACTORS; factors <= LA_BFLOAT16_FACTORS; factors++) {
        problem p;
        float c[M * N];
        const uint32_t payload = 0x7fffffffu; /* adding to it would make it a zero with a sign */
        prepare(&p, (la_gemm){ .factors = factors, .batch = 1, .m = M, .n = N, .k = K }, false, false, false, 1);
        memcpy(&p.x[A][1 * K + 5], &payload, 4);
        for (int k = 0; k < K; k++)
            p.x[A][2 * K + k] = k == 3 ? INFINITY : 1.0f;
        for (int at = 0; at < K * N; at++)
            p.x[B][at] = 1.0f;
        OK(la_tensor_write(p.t[A], p.x[A]));
        OK(la_tensor_write(p.t[B], p.x[B]));
        OK(la__gemm(dev, &p.g));
        OK(la_tensor_read(p.c, c));
        for (int j = 0; j < N; j++)
            assert_true(isfinite(c[j]) && isnan(c[N + j]) && isinf(c[2 * N + j]));
        if (strcmp(la_device_get_info(dev)->type, "cpu") == 0) {
            unsetenv("LUALIGN_MMA");
            assert_int_equal(la__gemm(dev, &p.g), LA_EARG);
            assert_non_null(strstr(la_error(), "tensor cores"));
            setenv("LUALIGN_MMA", "emulate", 1);
        }
        discard(&p);
    }
    unsetenv("LUALIGN_MMA");
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
        cmocka_unit_test(what_goes_with_the_sums),
        cmocka_unit_test(clblast_computes_the_same),
        cmocka_unit_test(empty_sizes),
        cmocka_unit_test(nan_survives),
        cmocka_unit_test(panels_are_kept),
        cmocka_unit_test(trained_weights_keep_nothing),
        cmocka_unit_test(tensor_cores_emulated),
        cmocka_unit_test(tensor_cores_keep_nan),
    };
    return cmocka_run_group_tests_name("gemm", tests, open_device, close_device);
}
