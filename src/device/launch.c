/* SPDX-License-Identifier: MIT
 *
 * launch.c -- sets a kernel's arguments and queues it; counts its time when a profile is asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

/* Few local sizes, since PoCL compiles a kernel anew for each; large ones on a CPU, where a work-group is a loop. */
static size_t choose_local(const la_device *dev, size_t global)
{
    const size_t wish = !dev->is_cpu ? 128 : global >= 16384 ? 1024 : 64;
    return wish < dev->max_group ? wish : dev->max_group;
}

static int set_arguments(cl_kernel kernel, const la_launch *what, const la_karg *args, int nargs)
{
    for (int i = 0; i < nargs; i++) {
        const la_karg *a = &args[i];
        const cl_int code = a->buffer ? clSetKernelArg(kernel, (cl_uint)i, sizeof a->buffer->mem, &a->buffer->mem)
                                      : clSetKernelArg(kernel, (cl_uint)i, a->size, a->data ? a->data : &a->v);
        if (code != CL_SUCCESS)
            return la_fail(LA_EDEVICE, "kernel '%s': argument %d: %s", what->entry, i + 1, la__cl_error(code));
    }
    return 0;
}

static int account(la_kernel *k, const la_launch *what, cl_event event)
{
    cl_ulong start = 0, end = 0;
    cl_int code = clWaitForEvents(1, &event);
    if (code == CL_SUCCESS)
        code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
    if (code == CL_SUCCESS)
        code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    clReleaseEvent(event);
    if (code != CL_SUCCESS)
        return la_fail(LA_EDEVICE, "kernel '%s': no time from the profile: %s", what->entry, la__cl_error(code));
    k->profile.calls++;
    k->profile.seconds += (double)(end - start) * 1e-9;
    k->profile.bytes += what->bytes;
    k->profile.flops += what->flops;
    return 0;
}

int la__launch(la_device *dev, const la_launch *what, const la_karg *args, int nargs)
{
    int err = 0;
    la_kernel *k;
    cl_event event = NULL;
    size_t global[3], local[3];

    for (int d = 0; d < 3; d++) {
        global[d] = d > 0 && what->global[d] == 0 ? 1 : what->global[d];
        local[d] = what->local[d] ? what->local[d] : 1;
    }
    if (global[0] == 0)
        return 0;
    if (what->local[0] == 0) {
        local[0] = choose_local(dev, global[0]);
        global[0] = (global[0] + local[0] - 1) / local[0] * local[0];
    }
    LA_TRY(la__kernel_find(&k, dev, what->program, what->options, what->entry));
    LA_TRY(set_arguments(k->kernel, what, args, nargs));
    const cl_int code = clEnqueueNDRangeKernel(dev->queue, k->kernel, 3, NULL, global, local, 0, NULL, dev->profiling ? &event : NULL);
    if (code != CL_SUCCESS)
        return la_fail(code == CL_MEM_OBJECT_ALLOCATION_FAILURE ? LA_ENOMEM : LA_EDEVICE,
                       "kernel '%s': cannot be queued with %zu x %zu x %zu work-items: %s", what->entry, global[0], global[1],
                       global[2], la__cl_error(code));
    if (event)
        LA_TRY(account(k, what, event));
done:
    return err;
}

void la_profile_enable(la_device *dev, bool on)
{
    dev->profiling = on;
}

void la_profile_reset(la_device *dev)
{
    for (int i = 0; i < dev->programs; i++)
        for (int k = 0; k < dev->program[i].kernels; k++)
            dev->program[i].kernel[k].profile = (la_profile_row){ 0 };
}

static int by_seconds(const void *a, const void *b)
{
    const double x = ((const la_profile_row *)a)->seconds, y = ((const la_profile_row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Builds of one program under several options are one row. */
int la_profile_rows(la_device *dev, const la_profile_row **rows, int *count)
{
    int n = 0, most = 1;
    for (int i = 0; i < dev->programs; i++)
        most += dev->program[i].kernels;
    free(dev->rows);
    dev->rows = la__calloc((size_t)most, sizeof *dev->rows);
    *rows = dev->rows;
    *count = 0;
    if (!dev->rows)
        return LA_ENOMEM;
    for (int i = 0; i < dev->programs; i++)
        for (int k = 0; k < dev->program[i].kernels; k++) {
            const la_kernel *kernel = &dev->program[i].kernel[k];
            int r = 0;
            while (r < n && strcmp(dev->rows[r].kernel, kernel->entry) != 0)
                r++;
            if (kernel->profile.calls == 0)
                continue;
            dev->rows[r].kernel = kernel->entry;
            dev->rows[r].calls += kernel->profile.calls;
            dev->rows[r].seconds += kernel->profile.seconds;
            dev->rows[r].bytes += kernel->profile.bytes;
            dev->rows[r].flops += kernel->profile.flops;
            n += r == n;
        }
    qsort(dev->rows, (size_t)n, sizeof *dev->rows, by_seconds);
    *count = n;
    return 0;
}
