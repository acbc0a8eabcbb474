/* SPDX-License-Identifier: MIT
 *
 * errors.c -- OpenCL's codes in words.
 */
#include <stdio.h>

#include "device/internal.h"

/* Codes whose names the OpenCL 1.2 header does not have. */
enum { PLATFORM_NOT_FOUND_KHR = -1001, NVIDIA_BAD_ACCESS = -9999 };

#define NAMED(code, words)         \
    {                              \
        code, words " (" #code ")" \
    }

static const struct {
    cl_int code;
    const char *words;
} errors[] = {
    NAMED(CL_DEVICE_NOT_FOUND, "no device of that kind"),
    NAMED(CL_DEVICE_NOT_AVAILABLE, "the device is not available"),
    NAMED(CL_COMPILER_NOT_AVAILABLE, "the driver has no compiler"),
    NAMED(CL_MEM_OBJECT_ALLOCATION_FAILURE, "the driver has no memory left"),
    NAMED(CL_OUT_OF_RESOURCES, "out of resources, or an access outside a buffer"),
    NAMED(CL_OUT_OF_HOST_MEMORY, "out of host memory"),
    NAMED(CL_PROFILING_INFO_NOT_AVAILABLE, "the queue takes no times"),
    NAMED(CL_MEM_COPY_OVERLAP, "source and destination overlap"),
    NAMED(CL_BUILD_PROGRAM_FAILURE, "the compiler refused it"),
    NAMED(CL_MAP_FAILURE, "memory cannot be mapped"),
    NAMED(CL_MISALIGNED_SUB_BUFFER_OFFSET, "a misaligned offset"),
    NAMED(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, "an earlier command failed"),
    NAMED(CL_COMPILE_PROGRAM_FAILURE, "the compiler refused it"),
    NAMED(CL_LINKER_NOT_AVAILABLE, "the driver has no linker"),
    NAMED(CL_LINK_PROGRAM_FAILURE, "the linker refused it"),
    NAMED(CL_KERNEL_ARG_INFO_NOT_AVAILABLE, "nothing is known of the arguments"),
    NAMED(CL_INVALID_VALUE, "an invalid value"),
    NAMED(CL_INVALID_DEVICE_TYPE, "an invalid device type"),
    NAMED(CL_INVALID_PLATFORM, "an invalid platform"),
    NAMED(CL_INVALID_DEVICE, "an invalid device"),
    NAMED(CL_INVALID_CONTEXT, "an invalid context"),
    NAMED(CL_INVALID_QUEUE_PROPERTIES, "the device has no such queue"),
    NAMED(CL_INVALID_COMMAND_QUEUE, "an invalid queue: an earlier command brought it down"),
    NAMED(CL_INVALID_HOST_PTR, "an invalid host pointer"),
    NAMED(CL_INVALID_MEM_OBJECT, "an invalid buffer"),
    NAMED(CL_INVALID_BINARY, "an invalid binary"),
    NAMED(CL_INVALID_BUILD_OPTIONS, "invalid build options"),
    NAMED(CL_INVALID_PROGRAM, "an invalid program"),
    NAMED(CL_INVALID_PROGRAM_EXECUTABLE, "a program that was not built"),
    NAMED(CL_INVALID_KERNEL_NAME, "no kernel of that name"),
    NAMED(CL_INVALID_KERNEL_DEFINITION, "a kernel whose definition does not fit"),
    NAMED(CL_INVALID_KERNEL, "an invalid kernel"),
    NAMED(CL_INVALID_ARG_INDEX, "the kernel has fewer arguments"),
    NAMED(CL_INVALID_ARG_VALUE, "a value that does not fit the argument"),
    NAMED(CL_INVALID_ARG_SIZE, "a size that does not fit the argument"),
    NAMED(CL_INVALID_KERNEL_ARGS, "arguments are missing"),
    NAMED(CL_INVALID_WORK_DIMENSION, "an invalid number of dimensions"),
    NAMED(CL_INVALID_WORK_GROUP_SIZE, "a work-group size that does not fit"),
    NAMED(CL_INVALID_WORK_ITEM_SIZE, "a work-group too large in one dimension"),
    NAMED(CL_INVALID_GLOBAL_OFFSET, "an invalid global offset"),
    NAMED(CL_INVALID_EVENT_WAIT_LIST, "an invalid list of events"),
    NAMED(CL_INVALID_EVENT, "an invalid event"),
    NAMED(CL_INVALID_OPERATION, "an operation the device does not know"),
    NAMED(CL_INVALID_BUFFER_SIZE, "a size that the driver does not allow"),
    NAMED(CL_INVALID_GLOBAL_WORK_SIZE, "an invalid number of work-items"),
    NAMED(CL_INVALID_PROPERTY, "an invalid property"),
    NAMED(PLATFORM_NOT_FOUND_KHR, "no OpenCL driver is installed"),
    NAMED(NVIDIA_BAD_ACCESS, "an invalid access in a kernel"),
};

const char *la__cl_error(cl_int code)
{
    static _Thread_local char other[40];
    for (int i = 0; i < LA_COUNT(errors); i++)
        if (errors[i].code == code)
            return errors[i].words;
    snprintf(other, sizeof other, "OpenCL error %d", (int)code);
    return other;
}
