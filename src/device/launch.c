/* SPDX-License-Identifier: MIT
 *
 * launch.c -- sets a kernel's arguments and queues it.
 */
#include "device/internal.h"

/* How many launches a driver may hold back before it is told to start. */
enum { FLUSH_AFTER = 16 };

/* The work-group that the launcher chooses along dimension 0: one of a few sizes, since a driver may compile for each.
 * On a CPU a work-group is a loop on one core: as long as leaves every core several. */
static size_t choose_local(const la_device *dev, const la_kernel *k, size_t global)
{
    static const size_t loops[] = { 1024, 256, 64 };
    size_t wish = dev->is_cpu ? 16 : 128;
    for (int i = 0; dev->is_cpu && i < LA_COUNT(loops); i++)
        if (global / loops[i] >= (size_t)8 * dev->info.units) {
            wish = loops[i];
            break;
        }
    while (wish > 1 && (wish > k->max_group || wish > dev->max_group))
        wish /= 2;
    return wish;
}

/* Sizes as OpenCL wants them. */
static void shape_of(size_t *global, size_t *local, const la_device *dev, const la_kernel *k, const la_launch *what)
{
    for (int d = 0; d < 3; d++) {
        global[d] = d > 0 && what->global[d] == 0 ? 1 : what->global[d];
        local[d] = what->local[d] ? what->local[d] : k->fixed[d] ? k->fixed[d] : 1;
    }
    if (what->local[0] == 0) {
        if (k->fixed[0] == 0)
            local[0] = choose_local(dev, k, global[0]);
        global[0] = (global[0] + local[0] - 1) / local[0] * local[0];
    }
}

static int set_arguments(const la_kernel *k, const la_karg *args, int nargs)
{
    for (int i = 0; i < nargs; i++) {
        const la_karg *a = &args[i];
        const cl_int code = a->buffer ? clSetKernelArg(k->kernel, (cl_uint)i, sizeof a->buffer->mem, &a->buffer->mem)
                                      : clSetKernelArg(k->kernel, (cl_uint)i, a->size, a->data ? a->data : &a->v);
        if (code != CL_SUCCESS)
            return la_fail(LA_EDEVICE, "kernel '%s': argument %d: %s", k->entry, i + 1, la__cl_error(code));
    }
    return 0;
}

/* Waits for the launch and adds its time to the profile. */
static int account(la_device *dev, const la_kernel *k, const la_launch *what, cl_event event)
{
    cl_ulong start = 0, end = 0;
    cl_int code = clWaitForEvents(1, &event);
    if (code == CL_SUCCESS)
        code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
    if (code == CL_SUCCESS)
        code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    clReleaseEvent(event);
    if (code != CL_SUCCESS)
        return la_fail(LA_EDEVICE, "kernel '%s': %s", k->entry, la__cl_error(code));
    return la__profile_add(dev, k->entry, end > start ? (double)(end - start) * 1e-9 : 0.0, what->bytes, what->flops);
}

int la__enqueue(la_device *dev, la_kernel *k, const la_launch *what, const la_karg *args, int nargs)
{
    int err = 0;
    cl_event event = NULL;
    size_t global[3], local[3];

    if (dev->profiling != dev->queue_times)
        LA_TRY(la__queue_open(dev, dev->profiling));
    shape_of(global, local, dev, k, what);
    LA_TRY(set_arguments(k, args, nargs));
    const cl_int code = clEnqueueNDRangeKernel(dev->queue, k->kernel, 3, NULL, global, local, 0, NULL,
                                               dev->profiling ? &event : NULL);
    if (code != CL_SUCCESS) {
        const bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY;
        err = la_fail(memory ? LA_ENOMEM : LA_EDEVICE,
                      "kernel '%s' cannot be queued (%zu x %zu x %zu work-items in groups of %zu x %zu x %zu): %s",
                      k->entry, global[0], global[1], global[2], local[0], local[1], local[2], la__cl_error(code));
        goto done;
    }
    la__kernel_launched(dev, k);
    if (event)
        LA_TRY(account(dev, k, what, event));
    else if (++dev->unflushed == FLUSH_AFTER) {
        dev->unflushed = 0;
        clFlush(dev->queue);
    }
done:
    return err;
}

int la__launch(la_device *dev, const la_launch *what, const la_karg *args, int nargs)
{
    int err = 0;
    la_kernel *k = NULL;

    if (what->global[0] == 0)
        return 0;
    if (dev->pending)
        la__settle(dev, false);
    if (dev->failure)
        return la__report_failure(dev);
    LA_TRY(la__kernel_find(&k, dev, what->program, what->options, what->source, what->entry));
    if (k->kernel && !dev->pending)
        LA_TRY(la__enqueue(dev, k, what, args, nargs));
    else
        LA_TRY(la__pending_launch(dev, k, what, args, nargs));
done:
    return err;
}
