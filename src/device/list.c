/* SPDX-License-Identifier: MIT
 *
 * list.c -- the flat list of devices over all platforms, and the choice among them.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

enum { MAX_PLATFORMS = 32, MAX_DEVICES = 64 };

const char *la__cl_error(cl_int code)
{
    static const struct {
        cl_int code;
        const char *name;
    } names[] = {
        { CL_DEVICE_NOT_FOUND, "CL_DEVICE_NOT_FOUND" },
        { CL_DEVICE_NOT_AVAILABLE, "CL_DEVICE_NOT_AVAILABLE" },
        { CL_COMPILER_NOT_AVAILABLE, "CL_COMPILER_NOT_AVAILABLE" },
        { CL_MEM_OBJECT_ALLOCATION_FAILURE, "CL_MEM_OBJECT_ALLOCATION_FAILURE" },
        { CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES" },
        { CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY" },
        { CL_BUILD_PROGRAM_FAILURE, "CL_BUILD_PROGRAM_FAILURE" },
        { CL_INVALID_VALUE, "CL_INVALID_VALUE" },
        { CL_INVALID_BUFFER_SIZE, "CL_INVALID_BUFFER_SIZE" },
        { CL_INVALID_BINARY, "CL_INVALID_BINARY" },
        { CL_INVALID_BUILD_OPTIONS, "CL_INVALID_BUILD_OPTIONS" },
        { CL_INVALID_KERNEL_NAME, "CL_INVALID_KERNEL_NAME" },
        { CL_INVALID_ARG_INDEX, "CL_INVALID_ARG_INDEX" },
        { CL_INVALID_ARG_VALUE, "CL_INVALID_ARG_VALUE" },
        { CL_INVALID_ARG_SIZE, "CL_INVALID_ARG_SIZE" },
        { CL_INVALID_KERNEL_ARGS, "CL_INVALID_KERNEL_ARGS" },
        { CL_INVALID_WORK_GROUP_SIZE, "CL_INVALID_WORK_GROUP_SIZE" },
        { CL_INVALID_GLOBAL_WORK_SIZE, "CL_INVALID_GLOBAL_WORK_SIZE" },
        { -1001, "CL_PLATFORM_NOT_FOUND_KHR" },
    };
    static _Thread_local char other[32];
    for (int i = 0; i < LA_COUNT(names); i++)
        if (names[i].code == code)
            return names[i].name;
    snprintf(other, sizeof other, "OpenCL error %d", (int)code);
    return other;
}

/* All devices of all platforms, in the loader's order; a platform that fails or has none is passed over. */
static int list_devices(cl_device_id *ids)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint np = 0;
    int n = 0;
    if (clGetPlatformIDs(MAX_PLATFORMS, platforms, &np) != CL_SUCCESS)
        return 0;
    for (cl_uint p = 0; p < np && p < MAX_PLATFORMS; p++) {
        cl_uint nd = 0;
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, (cl_uint)(MAX_DEVICES - n), ids + n, &nd) == CL_SUCCESS)
            n += (int)nd < MAX_DEVICES - n ? (int)nd : MAX_DEVICES - n;
        if (n == MAX_DEVICES)
            break;
    }
    return n;
}

int la__device_id(cl_device_id *out, int index, int *count)
{
    cl_device_id ids[MAX_DEVICES];
    const int n = list_devices(ids);
    if (count)
        *count = n;
    if (n == 0)
        return la_fail(LA_EDEVICE, "device: no OpenCL device was found; install a driver (any CPU will do: Debian's "
                                   "pocl-opencl-icd)");
    if (index < 0 || index >= n)
        return la_fail(LA_EDEVICE, "device: number %d of %d does not exist", index + 1, n);
    *out = ids[index];
    return 0;
}

int la_device_count(int *out)
{
    cl_device_id first;
    if (la__device_id(&first, 0, out) < 0)
        *out = 0;
    return 0;
}

static void info_text(cl_device_id id, cl_device_info what, char *text, size_t size)
{
    if (clGetDeviceInfo(id, what, size, text, NULL) != CL_SUCCESS)
        snprintf(text, size, "unknown");
    text[size - 1] = '\0';
}

int la_device_describe(la_device_info *out, int index)
{
    cl_device_id id;
    cl_platform_id platform;
    cl_device_type type = 0;
    cl_uint units = 0;
    cl_ulong memory = 0, max = 0;
    const int err = la__device_id(&id, index, NULL);

    memset(out, 0, sizeof *out);
    if (err < 0)
        return err;
    info_text(id, CL_DEVICE_NAME, out->name, sizeof out->name);
    info_text(id, CL_DEVICE_VENDOR, out->vendor, sizeof out->vendor);
    info_text(id, CL_DEVICE_VERSION, out->version, sizeof out->version);
    info_text(id, CL_DRIVER_VERSION, out->driver, sizeof out->driver);
    if (clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL) == CL_SUCCESS)
        clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof out->platform, out->platform, NULL);
    clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    clGetDeviceInfo(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    clGetDeviceInfo(id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory, NULL);
    clGetDeviceInfo(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof max, &max, NULL);
    out->type = type & CL_DEVICE_TYPE_GPU ? "gpu" : type & CL_DEVICE_TYPE_CPU ? "cpu" : "accelerator";
    out->units = units;
    out->memory = memory;
    out->max_allocation = max;
    return 0;
}

/* Case-insensitive search. */
static bool contains(const char *text, const char *part)
{
    const size_t n = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return n == 0;
}

/* "gpu", "gpu:2": 1 if `which` reads so, with the type's length and the rank. */
static bool parse_type(const char *which, size_t *length, long *rank)
{
    static const char *const types[] = { "gpu", "cpu", "accelerator" };
    for (int i = 0; i < LA_COUNT(types); i++) {
        const size_t n = strlen(types[i]);
        if (strncmp(which, types[i], n) == 0 && (which[n] == '\0' || which[n] == ':')) {
            *length = n;
            *rank = which[n] ? strtol(which + n + 1, NULL, 10) : 1;
            return true;
        }
    }
    return false;
}

/* The message for a choice that fits nothing: what there is. */
static int no_such_device(const char *which, int count)
{
    char text[600] = "";
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof text - 80; i++) {
        la_device_info info;
        if (la_device_describe(&info, i) == 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%d: %s %.48s", i ? "; " : "", i + 1, info.type, info.name);
    }
    return la_fail(LA_EDEVICE, "device: nothing fits '%s'; there is %s", which, text);
}

/* Which device `which` names, from 0. */
static int choose(int *out, const char *which)
{
    cl_device_id first;
    int count = 0, err;
    size_t length = 0;
    long rank = 1;
    char *end;

    if ((err = la__device_id(&first, 0, &count)) < 0)
        return err;
    const bool automatic = !which || !*which;
    const bool by_type = automatic || parse_type(which, &length, &rank);
    const long number = automatic ? 0 : strtol(which, &end, 10);
    if (!automatic && *which && *end == '\0') {
        *out = (int)number - 1;
        return number >= 1 && number <= count ? 0 : no_such_device(which, count);
    }
    for (int i = 0; i < count; i++) {
        la_device_info info;
        if ((err = la_device_describe(&info, i)) < 0)
            return err;
        const bool fits = automatic ? strcmp(info.type, "gpu") == 0
                          : by_type ? strncmp(info.type, which, length) == 0 && --rank == 0
                                    : contains(info.name, which) || contains(info.platform, which);
        if (fits) {
            *out = i;
            return 0;
        }
    }
    *out = 0;
    return automatic ? 0 : no_such_device(which, count);
}

int la_device_choose(int *out, const char *which)
{
    return choose(out, which ? which : getenv("LUALIGN_DEVICE"));
}

/* The part of opening that talks to OpenCL. */
static int open_queue(la_device *dev)
{
    cl_int code;
    dev->context = clCreateContext(NULL, 1, &dev->id, NULL, NULL, &code);
    if (code == CL_SUCCESS)
        dev->queue = clCreateCommandQueue(dev->context, dev->id, CL_QUEUE_PROFILING_ENABLE, &code);
    if (code != CL_SUCCESS)
        return la_fail(LA_EDEVICE, "device: %s cannot be opened: %s", dev->info.name, la__cl_error(code));
    clGetDeviceInfo(dev->id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof dev->max_group, &dev->max_group, NULL);
    cl_ulong local = 0;
    clGetDeviceInfo(dev->id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    dev->local_memory = (size_t)local;
    return 0;
}

int la_device_open(la_device **out, const char *which)
{
    int err = 0;
    la_device *dev = NULL;

    *out = NULL;
    dev = la__calloc(1, sizeof *dev);
    if (!dev)
        return LA_ENOMEM;
    LA_TRY(la_device_choose(&dev->index, which));
    LA_TRY(la__device_id(&dev->id, dev->index, NULL));
    LA_TRY(la_device_describe(&dev->info, dev->index));
    dev->is_cpu = strcmp(dev->info.type, "cpu") == 0;
    LA_TRY(open_queue(dev));
    const char *limit = getenv("LUALIGN_MEMORY"), *poison = getenv("LUALIGN_POISON"), *pool = getenv("LUALIGN_POOL");
    /* PoCL reports a share of what the host has free; the driver's own refusal is the other limit */
    dev->memory.budget = limit && atof(limit) > 0 ? (size_t)(atof(limit) * 1048576.0) : (size_t)dev->info.memory;
    dev->poison = poison && strcmp(poison, "1") == 0;
    dev->exact = pool && strcmp(pool, "exact") == 0;
    *out = dev;
    return 0;
done:
    la_device_close(dev);
    return err;
}

void la_device_close(la_device *dev)
{
    if (!dev)
        return;
    if (dev->queue)
        clFinish(dev->queue);
    la__constants_free(dev);
    la__pool_trim(dev);
    la__programs_free(dev);
    if (dev->queue)
        clReleaseCommandQueue(dev->queue);
    if (dev->context)
        clReleaseContext(dev->context);
    free(dev->rows);
    free(dev);
}

const la_device_info *la_device_get_info(const la_device *dev)
{
    return &dev->info;
}

int la_device_get_index(const la_device *dev)
{
    return dev->index;
}

int la_device_finish(la_device *dev)
{
    const cl_int code = clFinish(dev->queue);
    return code == CL_SUCCESS ? 0 : la_fail(LA_EDEVICE, "device: waiting for the queue failed: %s", la__cl_error(code));
}

void la_device_seed(la_device *dev, uint64_t seed, uint64_t counter)
{
    dev->seed = seed;
    dev->counter = counter;
}

void la_device_seed_state(const la_device *dev, uint64_t *seed, uint64_t *counter)
{
    *seed = dev->seed;
    *counter = dev->counter;
}

uint64_t la__device_draw(la_device *dev, uint64_t n, uint64_t *seed)
{
    const uint64_t before = dev->counter;
    dev->counter += n;
    *seed = dev->seed;
    return before;
}

bool la__device_is_cpu(const la_device *dev)
{
    return dev->is_cpu;
}

unsigned la__device_units(const la_device *dev)
{
    return dev->info.units;
}

size_t la__device_max_group(const la_device *dev)
{
    return dev->max_group;
}

size_t la__device_local_memory(const la_device *dev)
{
    return dev->local_memory;
}
