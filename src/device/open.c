/* SPDX-License-Identifier: MIT
 *
 * open.c -- opening and closing a device, its queue, its budget of memory, its random numbers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/builder.h"
#include "device/choice.h"
#include "device/internal.h"

int la__queue_open(la_device *dev, bool times)
{
    cl_int code;
    if (dev->queue && (code = clFinish(dev->queue)) != CL_SUCCESS)
        return la_fail(LA_EDEVICE, "device: waiting for the queue failed: %s", la__cl_error(code));
    cl_command_queue queue = clCreateCommandQueue(dev->context, dev->id, times ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    if (code != CL_SUCCESS)
        return la_fail(LA_EDEVICE, "device: no queue on %s: %s", dev->info.name, la__cl_error(code));
    if (dev->queue)
        clReleaseCommandQueue(dev->queue);
    dev->queue = queue;
    dev->queue_times = times;
    return 0;
}

/* Memory of the machine, or less where a control group limits it. */
static uint64_t host_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    unsigned long long limit;
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "r");
    if (f) {
        if (fscanf(f, "%llu", &limit) == 1 && limit < bytes)
            bytes = limit;
        fclose(f);
    }
    return bytes;
}

/* What the pool may take: LUALIGN_MEMORY, or 3/4 of the host's memory on a CPU (a driver's own figure is often a small
 * part of it, and our blocks are not bound by that), or 9/10 of what another device has. */
static int find_budget(la_device *dev)
{
    const char *text = getenv("LUALIGN_MEMORY");
    const uint64_t host = dev->is_cpu ? host_memory() : 0;
    uint64_t budget = host ? host / 4 * 3 : dev->info.memory / 10 * 9;
    if (text && *text) {
        char *end;
        const double mib = strtod(text, &end);
        if (*end || !(mib > 0))
            return la_fail(LA_EARG, "LUALIGN_MEMORY must be a number of MiB, got '%s'", text);
        budget = mib < 1e12 ? (uint64_t)(mib * 1048576.0) : UINT64_MAX;
    }
    dev->memory.budget = budget < SIZE_MAX ? (size_t)budget : SIZE_MAX;
    return 0;
}

static void ask_device(la_device *dev)
{
    const char *method = getenv("LUALIGN_METHOD");
    cl_platform_id platform;
    cl_uint width = 1;
    cl_ulong local = 0;
    dev->max_group = 1;
    clGetDeviceInfo(dev->id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof dev->max_group, &dev->max_group, NULL);
    clGetDeviceInfo(dev->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
    clGetDeviceInfo(dev->id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    if (clGetDeviceInfo(dev->id, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL) == CL_SUCCESS)
        clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof dev->platform_version, dev->platform_version, NULL);
    dev->float_width = width;
    dev->local_memory = (size_t)local;
    dev->is_cpu = strcmp(dev->info.type, "cpu") == 0;
    dev->as_gpu = method && strncmp(method, "gpu", 3) == 0;
    dev->lazy_binaries = strcmp(dev->info.platform, "Portable Computing Language") == 0;
}

int la_device_open(la_device **out, const char *which)
{
    int err = 0;
    const char *poison = getenv("LUALIGN_POISON"), *pool = getenv("LUALIGN_POOL");
    la_device *dev = la__calloc(1, sizeof *dev);
    cl_int code;

    *out = NULL;
    if (!dev)
        return LA_ENOMEM;
    LA_TRY(la_device_choose(&dev->index, which));
    LA_TRY(la__device_id(&dev->id, dev->index, NULL));
    LA_TRY(la_device_describe(&dev->info, dev->index));
    ask_device(dev);
    LA_TRY(find_budget(dev));
    dev->context = clCreateContext(NULL, 1, &dev->id, NULL, NULL, &code);
    if (code != CL_SUCCESS) {
        err = la_fail(LA_EDEVICE, "device: %s cannot be opened: %s", dev->info.name, la__cl_error(code));
        goto done;
    }
    LA_TRY(la__queue_open(dev, false));
    dev->poison = poison && strcmp(poison, "1") == 0;
    dev->exact = pool && strcmp(pool, "exact") == 0;
    *out = dev;
    dev = NULL;
done:
    la_device_close(dev);
    return err;
}

void la_device_close(la_device *dev)
{
    if (!dev)
        return;
    la__pending_free(dev);
    la__builder_close(dev);
    if (dev->queue)
        clFinish(dev->queue);
    la__constants_free(dev);
    la__pool_close(dev);
    la__programs_free(dev);
    la__verdicts_free(dev);
    la__choices_free(dev);
    la__profile_free(dev);
    if (dev->used_clblast)
        la__clblast_forget();
    if (dev->queue)
        clReleaseCommandQueue(dev->queue);
    if (dev->context)
        clReleaseContext(dev->context);
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
    const int err = la__settle_and_report(dev);
    if (err < 0)
        return err;
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

uint64_t la__device_serial(la_device *dev)
{
    return ++dev->serial;
}

bool la__device_is_cpu(const la_device *dev)
{
    return dev->is_cpu && !dev->as_gpu;
}

unsigned la__device_units(const la_device *dev)
{
    return dev->info.units;
}

unsigned la__device_float_width(const la_device *dev)
{
    return dev->float_width;
}

size_t la__device_max_group(const la_device *dev)
{
    return dev->max_group;
}

size_t la__device_local_memory(const la_device *dev)
{
    return dev->local_memory;
}
