/* SPDX-License-Identifier: MIT
 *
 * device.h -- what the layers above may ask of the OpenCL layer. CL/cl.h stays inside src/device.
 */
#ifndef LA_DEVICE_H
#define LA_DEVICE_H

#include "lualign.h"

/* ---- pooled memory ---- */

typedef struct la_buffer la_buffer;

/* At least `bytes` of device memory (never 0 bytes), from the pool if a block of that size class is free. */
int la__buffer_take(la_buffer **out, la_device *dev, size_t bytes);

/* Gives it back to the pool; work already queued may still use it, since the queue is in order. */
void la__buffer_give(la_buffer *b);

/* Blocking transfers. */
int la__buffer_write(la_buffer *b, size_t offset, size_t bytes, const void *src);
int la__buffer_read(const la_buffer *b, size_t offset, size_t bytes, void *dst);

/* ---- constants ---- */

/* A table of numbers that ops compute on the host and kernels read, kept with the device until it closes: the buffer
 * under `key`, filled by fill(data, what) when first asked for. Borrowed. */
int la__device_constant(const la_buffer **out, la_device *dev, const char *key, size_t bytes,
                        int (*fill)(void *data, const void *what), const void *what);

/* ---- launching ---- */

/* One kernel argument: a buffer, or plain bytes (`data` if set, else the value in `v`). */
typedef struct la_karg {
    const la_buffer *buffer;
    const void *data;
    size_t size;
    union {
        int32_t i;
        uint32_t u;
        float f;
    } v;
} la_karg;

#define LA_BUF(b) ((la_karg){ .buffer = (b) })
#define LA_INT(x) ((la_karg){ .size = 4, .v.i = (int32_t)(x) })
#define LA_UINT(x) ((la_karg){ .size = 4, .v.u = (uint32_t)(x) })
#define LA_FLOAT(x) ((la_karg){ .size = 4, .v.f = (float)(x) })
#define LA_STRUCT(s) ((la_karg){ .data = &(s), .size = sizeof(s) })

/* What to run. Kernels live in cl/<program>.cl. `options` ("-DKH=3 -DKW=3") selects a specialised build of
 * the program; NULL is the plain one. Each distinct (program, options) pair is compiled once and kept on disk.
 * `source` is for programs made at run time: their whole text, which is read when the program is built. `program` then
 * is a name that no other text bears, such as one that holds a hash of it.
 *
 * local[0] == 0 lets the launcher choose: it takes a work-group along dimension 0 that suits the device and
 * ROUNDS global[0] UP to a multiple of it, so such a kernel must return when get_global_id(0) is past its
 * count. Dimensions 1 and 2 are never rounded. global[0] == 0 is no work and no error: put a count that may be 0
 * there, since a 0 in the others reads as left out.
 * flops and bytes are for the profile; 0 where unknown. */
typedef struct la_launch {
    const char *program;
    const char *entry;
    const char *options;
    const char *source;
    size_t global[3]; /* a 0 in [1] or [2] of a 1-D launch may be left out: unset ones count as 1 */
    size_t local[3];
    double flops, bytes;
} la_launch;

int la__launch(la_device *dev, const la_launch *what, const la_karg *args, int nargs);

/* Where another process builds programs (see builder.h), la__launch does not wait for it: a program that does not build
 * is then the failure of a later call. This waits until all that was launched is queued, and returns the code of such
 * a failure without reporting it: for those who would mistake it for a failure of what they do next. */
int la__device_settle(la_device *dev);

/* Says that a program will be needed: another process may begin to build it. `entry` counts for families of kernels
 * (see cl/README.md). What does not build fails when it is needed. */
void la__program_want(la_device *dev, const char *program, const char *options, const char *entry);

/* The programs of lualign's own of which kernels have run, the last one first; false past the end. */
bool la__device_program(const la_device *dev, int i, const char **program, const char **options, const char **entry);

/* One argument of a probe's launch: a buffer that begins with these bytes, or just the bytes. */
typedef struct la_probe_arg {
    const void *data;
    size_t bytes;
    bool buffer;
} la_probe_arg;

#define LA_PROBE_BUF(array) ((la_probe_arg){ (array), sizeof(array), true })
#define LA_PROBE_VALUE(value) ((la_probe_arg){ &(value), sizeof(value), false })

/* Whether a program that may bring down the compiler, or the process that runs it (inline assembly, extensions), works
 * on the device: it is built, and `what` launched once, in a process of its own, with these arguments (at most 24). The
 * first is the output, a buffer of floats: afterwards it must be |got - expected| <= tolerance * max |expected|
 * everywhere. Where no other process can be had (see builder.h), nothing is tried and it does not work. The verdict is
 * kept, on disk too, for this device, driver, library version, program text, options and arguments: it costs once.
 *
 *     const int n = 5;
 *     static const float zero[16], a[64] = {...}, b[64] = {...}, right[16] = {...};
 *     LA_TRY(la__program_probe(&works, dev,
 *                              &(la_launch){ .program = "x_bf16", .entry = "x_try", .global = { 16 } },
 *                              (la_probe_arg[]){ LA_PROBE_BUF(zero), LA_PROBE_BUF(a), LA_PROBE_BUF(b),
 * LA_PROBE_VALUE(n) }, 4, right, 1e-5f));
 */
int la__program_probe(bool *works, la_device *dev, const la_launch *what, const la_probe_arg *args, int nargs,
                      const float *expected, float tolerance);

/* For the program's main: answers the requests of the process that started this one; does not return. */
void la__builder_serve(void);

/* A note kept with a program of the device for as long as it is open: 0 until judged. Judging a program that was never
 * launched or did not build is remembered too. */
int la__program_verdict(const la_device *dev, const char *program, const char *options);
void la__program_judge(la_device *dev, const char *program, const char *options, int verdict);

/* Whether this very program is known from an earlier process to compute what it should on this device, and the note
 * that it does, in the cache on disk. */
bool la__program_proven(const la_device *dev, const char *program, const char *options);
void la__program_prove(const la_device *dev, const char *program, const char *options);

/* True for CPU devices, unless the environment's LUALIGN_METHOD asks for a GPU's kernels: one work-item is then one
 * register tile (see cl/README.md). */
bool la__device_is_cpu(const la_device *dev);

/* Compute units of the device; kernels that split a reduction use a FIXED split, never this, so that results
 * do not depend on the machine. */
unsigned la__device_units(const la_device *dev);

/* Floats in one vector register, as the device reports it (16 for AVX-512, 1 on most GPUs). */
unsigned la__device_float_width(const la_device *dev);

/* Largest work-group and bytes of local memory. */
size_t la__device_max_group(const la_device *dev);
size_t la__device_local_memory(const la_device *dev);

/* Multiply-adds per second, times two, that kernels of nothing else reach: the best of several, each run `repeats`
 * times, which takes about 50 ms a time. The yardstick of the benchmarks. */
int la__device_peak(la_device *dev, int repeats, double *flops);

/* Takes `n` numbers from the device's Philox stream: returns the counter before, advances it by n. */
uint64_t la__device_draw(la_device *dev, uint64_t n, uint64_t *seed);

/* 1, 2, 3, ...: a number that this device gives out once. */
uint64_t la__device_serial(la_device *dev);

/* CLBlast's row-major SGEMM c(m,n) = op(a) op(b) on dense buffers, none of the sizes 0, offsets in elements; LA_EDEVICE
 * when built without CLBlast. */
int la__clblast_gemm(la_device *dev, bool ta, bool tb, size_t m, size_t n, size_t k, const la_buffer *a,
                     size_t a_offset, const la_buffer *b, size_t b_offset, la_buffer *c, size_t c_offset);
bool la__clblast_available(void);

/* ---- embedded kernels (generated by CMake from cl/) ---- */

typedef struct la_source {
    const char *name; /* "correlation" */
    const char *text; /* with common.clh expanded */
} la_source;

extern const la_source la__sources[]; /* ends with a NULL name */

#endif
