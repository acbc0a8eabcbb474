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

enum { LA_SIZE_CLASSES = 160, LA_KERNEL_BUCKETS = 256 };

struct la_buffer {
    la_device *dev;
    cl_mem mem;
    void *host;   /* what mem lies on, where we gave the memory; else NULL */
    size_t bytes; /* of its size class */
    int size_class;
    la_buffer *next; /* in the free list */
};

/* A built (name, options) pair. */
typedef struct la_program {
    struct la_program *next;
    char *name, *options;
    cl_program program;
    uint64_t key;        /* of its cache entry */
    bool saved;          /* an entry is on disk, or was tried */
    unsigned have, made; /* kernels in it, kernels created from it */
} la_program;

/* One kernel of a program; kept, since creating it again costs more than a launch. */
typedef struct la_kernel {
    struct la_kernel *next; /* in its bucket */
    uint64_t hash;          /* of program, options, entry */
    la_program *owner;
    char *entry;
    cl_kernel kernel;
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
    bool lazy_binaries; /* asking for a program's binary compiles every kernel that was not launched yet (PoCL) */
    size_t max_group, local_memory;
    unsigned float_width;
    unsigned unflushed; /* launches since the last flush */

    /* pool */
    la_buffer *free_list[LA_SIZE_CLASSES];
    la_memory memory;
    bool poison, exact;
    la_pressure_fn pressure;
    void *pressure_payload;

    /* programs */
    la_program *programs;
    la_kernel *kernels[LA_KERNEL_BUCKETS];
    bool used_clblast;

    /* profile */
    bool profiling;
    la_profile_row *rows; /* the names are owned */
    int row_count;

    uint64_t seed, counter;
    uint64_t serial; /* the last one given out */

    struct la_constant *constants;
    struct la_verdict *verdicts;
};

/* "out of resources (CL_OUT_OF_RESOURCES)" and the like. */
const char *la__cl_error(cl_int code);

/* The OpenCL device at `index` of the flat list; counts them all in *count if that is not NULL. */
int la__device_id(cl_device_id *out, int index, int *count);

/* (Re)opens the queue, after all work is done; `times` asks for one that takes the times of its commands. */
int la__queue_open(la_device *dev, bool times);

/* The kernel `entry` of (program, options), built or loaded when first asked for: from `source` if that is not NULL. */
int la__kernel_find(la_kernel **out, la_device *dev, const char *program, const char *options, const char *source,
                    const char *entry);

/* To be told after each launch: keeps the program's binary if that is due. */
void la__kernel_launched(la_device *dev, la_kernel *k);
void la__programs_free(la_device *dev);

/* The key of a program's cache entry: everything that its binary depends on. */
uint64_t la__cache_key(const la_device *dev, const char *source, const char *options);

/* The binary of a cache entry, malloc'ed, or NULL: a miss or a broken entry is no error. */
void *la__cache_load(size_t *length, const char *name, uint64_t key);

/* Writes an entry; a cache that cannot be written is only slower. */
void la__cache_save(cl_program program, const char *name, uint64_t key);

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

/* Releases free blocks of the pool, large ones first, until `room` more bytes fit the budget. */
void la__pool_trim(la_device *dev, size_t room);

#endif
