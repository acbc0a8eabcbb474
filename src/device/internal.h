/* SPDX-License-Identifier: MIT
 *
 * internal.h -- the parts of a device, shared by the files of src/device; nothing outside includes it.
 */
#ifndef LA_DEVICE_INTERNAL_H
#define LA_DEVICE_INTERNAL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "device/device.h"
#include "util/util.h"

enum { LA_SIZE_CLASSES = 160 };

struct la_buffer {
    la_device *dev;
    cl_mem mem;
    void *host;      /* what mem lies on, where we gave the memory; else NULL */
    size_t bytes;    /* of its size class */
    int size_class;
    la_buffer *next; /* in the free list */
};

/* One kernel of a program; kept, since creating it again costs more than a launch. */
typedef struct la_kernel {
    char *entry;
    cl_kernel kernel;
    la_profile_row profile;
} la_kernel;

typedef struct la_program {
    const char *name;
    char *options;
    cl_program program;
    la_kernel *kernel;
    int kernels;
} la_program;

struct la_device {
    int index;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    la_device_info info;
    bool is_cpu;
    size_t max_group, local_memory;

    /* pool */
    la_buffer *free_list[LA_SIZE_CLASSES];
    la_memory memory;
    bool poison, exact;
    la_pressure_fn pressure;
    void *pressure_payload;

    /* programs */
    la_program *program;
    int programs;

    /* profile */
    bool profiling;
    la_profile_row *rows;

    uint64_t seed, counter;

    struct la_constant *constants;
};

/* "CL_OUT_OF_RESOURCES" and the like. */
const char *la__cl_error(cl_int code);

/* The OpenCL device at `index` of the flat list; counts them all in *count if that is not NULL. */
int la__device_id(cl_device_id *out, int index, int *count);

/* The kernel `entry` of (program, options), built or loaded when first asked for. */
int la__kernel_find(la_kernel **out, la_device *dev, const char *program, const char *options, const char *entry);
void la__programs_free(la_device *dev);

/* Gives the constants' memory back to the pool. */
void la__constants_free(la_device *dev);

/* Releases the pool's free blocks. */
void la__pool_trim(la_device *dev);

#endif
