/* SPDX-License-Identifier: MIT
 *
 * list.c -- the flat list of devices over all platforms, and the choice among them.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "device/internal.h"

enum { MAX_PLATFORMS = 32, MAX_DEVICES = 64 };

/* PoCL compiles a kernel anew for each work-group size that it meets, for no gain that could be measured on lualign's
 * kernels (each size costs 50 to 100 ms); one build for all sizes is also what its binaries hold. Before OpenCL starts,
 * and only where the user has not decided. */
static void set_environment(void)
{
    setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 0);
}

/* All devices of all platforms, in the loader's order; a platform that fails or has none is passed over. */
static int list_devices(cl_device_id *ids)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint np = 0;
    int n = 0;

    set_environment();
    if (clGetPlatformIDs(MAX_PLATFORMS, platforms, &np) != CL_SUCCESS)
        return 0;
    for (cl_uint p = 0; p < np && p < MAX_PLATFORMS && n < MAX_DEVICES; p++) {
        const cl_uint room = (cl_uint)(MAX_DEVICES - n);
        cl_uint found = 0;
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, room, ids + n, &found) == CL_SUCCESS)
            n += (int)(found < room ? found : room);
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
        return la_fail(
            LA_EDEVICE,
            "device: no OpenCL device was found; install a driver, such as pocl-opencl-icd (Debian, Ubuntu), "
            "which makes one of any CPU");
    if (index < 0 || index >= n)
        return la_fail(LA_EDEVICE, "device: there is no number %d; they go from 1 to %d", index + 1, n);
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
    out->type = "none";
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
    for (; *text; text++)
        if (strncasecmp(text, part, n) == 0)
            return true;
    return n == 0;
}

/* A choice taken apart: a number, a type with a rank, or a part of a name. */
typedef struct choice {
    enum { BY_DEFAULT, BY_NUMBER, BY_TYPE, BY_NAME } by;
    long number;      /* from 1: of the device, or among those of the type */
    const char *type; /* as la_device_info has it */
} choice;

static choice parse(const char *which)
{
    static const char *const types[] = { "gpu", "cpu", "accelerator" };
    char *end;
    if (!which || !*which)
        return (choice){ .by = BY_DEFAULT };
    const long number = strtol(which, &end, 10);
    if (*end == '\0')
        return (choice){ .by = BY_NUMBER, .number = number };
    for (int i = 0; i < LA_COUNT(types); i++) {
        const size_t n = strlen(types[i]);
        if (strncasecmp(which, types[i], n) != 0 || (which[n] != '\0' && which[n] != ':'))
            continue;
        const long rank = which[n] ? strtol(which + n + 1, &end, 10) : 1;
        if (which[n] == '\0' || *end == '\0')
            return (choice){ .by = BY_TYPE, .number = rank, .type = types[i] };
    }
    return (choice){ .by = BY_NAME };
}

/* The message for a choice that fits nothing: what there is. */
static int no_such_device(const char *which, int count)
{
    char text[800] = "";
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof text - 100; i++) {
        la_device_info info;
        if (la_device_describe(&info, i) == 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%d: %s %.60s", i ? "; " : "", i + 1, info.type,
                                     info.name);
    }
    return la_fail(LA_EDEVICE,
                   "device: '%s' fits none of the devices (%s); choose by number, type or a part of the name", which,
                   text);
}

int la_device_choose(int *out, const char *which)
{
    cl_device_id first;
    int count = 0, err;

    *out = 0;
    if (!which)
        which = getenv("LUALIGN_DEVICE");
    if ((err = la__device_id(&first, 0, &count)) < 0)
        return err;
    const choice c = parse(which);
    long rank = c.number;
    for (int i = 0; i < count; i++) {
        la_device_info info;
        if ((err = la_device_describe(&info, i)) < 0)
            return err;
        const bool fits = c.by == BY_NUMBER ? c.number == i + 1
                          : c.by == BY_TYPE ? strcmp(info.type, c.type) == 0 && --rank == 0
                          : c.by == BY_NAME ? contains(info.name, which) || contains(info.platform, which) ||
                                                  contains(info.version, which)
                                            : strcmp(info.type, "gpu") == 0;
        if (fits) {
            *out = i;
            return 0;
        }
    }
    return c.by == BY_DEFAULT ? 0 : no_such_device(which, count);
}
