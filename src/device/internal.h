/* SPDX-License-Identifier: MIT
 *
 * internal.h -- the parts of a device, shared by the files of src/device; nothing outside includes it.
 */
#ifndef LA_DEVICE_INTERNAL_H
#define LA_DEVICE_INTERNAL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include "device/device.h"
#include "util/util.h"

enum { LA_SIZE_CLASSES = 520, LA_KERNEL_BUCKETS = 256 };

struct la_buffer {
    la_device *dev;
    cl_mem mem;
    void *host;      /* what mem lies on, where we gave the memory; else NULL */
    size_t bytes;    /* of its size class; of the arena, pages */
    int size_class;  /* not of the arena's */
    la_buffer *next; /* in the free list */
    /* of the arena's: */
    bool arena, is_free;
    size_t warm;                      /* of a free one, bytes that were in use before */
    la_buffer *prev, *before, *after; /* in the free list; by address, in its chunk */
};

typedef struct la_chunk la_chunk;

/* A (name, options) pair, built or on its way; of a family of kernels (see source.c), one kernel of it. */
typedef struct la_program {
    struct la_program *next;
    char *name, *options, *only;
    char *text;          /* until it is built */
    cl_program program;  /* NULL while it is not there */
    struct la_job *job;  /* which builds it elsewhere, or NULL */
    uint64_t key;        /* of its cache entry */
    bool own;            /* its text came with the launch */
    bool saved;          /* an entry is on disk, or was tried */
    unsigned have, made; /* kernels in it, kernels created from it */
} la_program;

/* One kernel of a program; kept, since creating it again costs more than a launch. */
typedef struct la_kernel {
    struct la_kernel *next; /* in its bucket */
    uint64_t hash;          /* of program, options, entry */
    la_program *owner;
    char *entry;
    cl_kernel kernel; /* NULL while the program is not there */
    size_t max_group;
    size_t fixed[3]; /* reqd_work_group_size, or zeros */
} la_kernel;

struct la_device {
    int index;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    bool queue_times; /* the queue takes the times of its commands */
    la_device_info info;
    char platform_version[128];
    bool is_cpu;
    bool as_gpu;        /* LUALIGN_METHOD asks for the kernels of GPUs */
    bool lazy_binaries; /* asking for a program's binary compiles every kernel that was not launched yet (PoCL) */
    size_t max_group, local_memory;
    unsigned float_width;
    unsigned unflushed; /* launches since the last flush */

    /* pool */
    la_buffer *free_list[LA_SIZE_CLASSES];
    la_buffer *free_block[LA_SIZE_CLASSES]; /* of the arena, each in the largest class that is not above its size */
    la_chunk *chunks;
    la_memory memory;
    bool poison, exact;
    la_pressure_fn pressure;
    void *pressure_payload;

    /* programs */
    la_program *programs;
    la_kernel *kernels[LA_KERNEL_BUCKETS];
    bool used_clblast;

    /* programs being built (builder.c), launches that wait for them (pending.c), who listens (progress.c) */
    struct la_builder *builder;
    struct la_pending *pending, *last_pending;
    int failure; /* of a pending launch, to be reported: code and text */
    char *failure_text;
    struct {
        la_build_fn fn;
        void *payload;
        int done, total;
        double began, ended;
    } build;

    /* profile */
    bool profiling;
    la_profile_row *rows; /* the names are owned */
    int row_count;

    uint64_t seed, counter;
    uint64_t serial; /* the last one given out */

    struct la_constant *constants;
    struct la_verdict *verdicts;
    struct la_choices *choices; /* choice.c */
};

/* "out of resources (CL_OUT_OF_RESOURCES)" and the like. */
const char *la__cl_error(cl_int code);

/* The OpenCL device at `index` of the flat list; counts them all in *count if that is not NULL. */
int la__device_id(cl_device_id *out, int index, int *count);

/* (Re)opens the queue, after all work is done; `times` asks for one that takes the times of its commands. */
int la__queue_open(la_device *dev, bool times);

/* The text of a program, malloc'ed: `own` if that is not NULL. A family's is cut to the kernel `entry`. */
int la__source(char **out, bool *family, const char *name, const char *own, const char *entry);

/* Builds a program here, keeps its binary in the cache and returns that, malloc'ed; NULL if the driver gives none. */
int la__program_binary(void **binary, size_t *length, la_device *dev, const char *name, const char *options,
                       const char *text, const char *entry);

/* The kernel `entry` of (program, options), started to be built or loaded when first asked for: from `source` if that
 * is not NULL. */
int la__kernel_find(la_kernel **out, la_device *dev, const char *program, const char *options, const char *source,
                    const char *entry);

/* Whether the kernel's program is there; with `wait`, it is afterwards. */
int la__kernel_ready(bool *ready, la_device *dev, la_kernel *k, bool wait);

/* To be told after each launch: keeps the program's binary if that is due. */
void la__kernel_launched(la_device *dev, la_kernel *k);
void la__programs_free(la_device *dev);

/* The key of a program's cache entry: everything that its binary depends on. */
uint64_t la__cache_key(const la_device *dev, const char *source, const char *options);

/* The binary of a cache entry, malloc'ed, or NULL: a miss or a broken entry is no error. */
void *la__cache_load(size_t *length, const char *name, uint64_t key);

/* The device's binary of a program, malloc'ed, or NULL. */
void *la__cache_binary(cl_program program, size_t *length);

/* Writes an entry; a cache that cannot be written is only slower. */
void la__cache_save(const void *binary, size_t length, const char *name, uint64_t key);

/* Deletes the entries used longest ago while all together are larger than LUALIGN_CACHE_LIMIT (MiB, 256). */
void la__cache_trim(void);

/* A number from 1 to 127 kept under that name and key; 0: none is. */
int la__cache_verdict(const char *name, uint64_t key);
void la__cache_keep_verdict(int verdict, const char *name, uint64_t key);

/* Queues a kernel whose program is there. Of `what` it needs the sizes and the figures for the profile. */
int la__enqueue(la_device *dev, la_kernel *k, const la_launch *what, const la_karg *args, int nargs);

/* Puts a launch, or a write, behind those that wait for their programs. */
int la__pending_launch(la_device *dev, la_kernel *k, const la_launch *what, const la_karg *args, int nargs);
int la__pending_write(la_buffer *to, size_t offset, size_t bytes, const void *data);

/* Queues what waits and can go; with `wait`, everything. The code of a failure that is still to be reported, or 0. */
int la__settle(la_device *dev, bool wait);

/* Fails with the failure of an earlier launch, if there was one, once. */
int la__report_failure(la_device *dev);

/* Both, waiting. */
int la__settle_and_report(la_device *dev);
void la__pending_free(la_device *dev);

/* A blocking write past everything that waits. */
int la__write_now(const la_device *dev, cl_mem to, size_t offset, size_t bytes, const void *src);

/* For progress.c: a build was begun; is waited for. */
void la__build_begun(la_device *dev);
void la__build_waiting(la_device *dev);

/* Seconds of real time since some fixed moment. */
double la__now(void);

/* Frees the profile's rows. */
void la__profile_free(la_device *dev);

/* Adds one call to the profile's row of that name. */
int la__profile_add(la_device *dev, const char *name, double seconds, double bytes, double flops);

/* Drops CLBlast's programs, which it would otherwise find again under the address of a later context. */
void la__clblast_forget(void);

/* Gives the constants' memory back to the pool. */
void la__constants_free(la_device *dev);

/* Forgets the verdicts on programs. */
void la__verdicts_free(la_device *dev);

/* The class of a size and the bytes of its blocks, not fewer. */
int la__size_class(size_t bytes, size_t *rounded);

/* Releases free blocks of the pool, large ones first, until `room` more bytes fit the budget. */
void la__pool_trim(la_device *dev, size_t room);

/* Frees the pool: all blocks have been given back. */
void la__pool_close(la_device *dev);

/* A block of the arena (arena.c) of which at most `room` bytes were never used before; NULL where there is none, for
 * the reason in *code if the driver or the system gave one. */
la_buffer *la__arena_take(la_device *dev, size_t bytes, size_t room, cl_int *code);
void la__arena_give(la_buffer *b);

/* Gives pages of free blocks back to the system, until `room` more bytes fit the budget. */
void la__arena_trim(la_device *dev, size_t room);
void la__arena_close(la_device *dev);

#endif
