/* SPDX-License-Identifier: MIT
 *
 * program.c -- programs and their kernels, when first needed: from the cache on disk, else built by another process
 * (builder.c), else here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "device/builder.h"
#include "device/internal.h"

/* ---- building ---- */

/* Cuts text after `lines` lines. */
static void keep_lines(char *text, int lines)
{
    for (char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        if (--lines == 0) {
            *at = '\0';
            return;
        }
}

static int build_failed(const la_device *dev, const la_program *p, const char *entry, cl_int code)
{
    enum { LINES = 12 };
    char log[1400] = "";
    size_t n = 0;
    char *whole = NULL;
    if (p->program && clGetProgramBuildInfo(p->program, dev->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n) == CL_SUCCESS && n)
        whole = calloc(n + 1, 1);
    if (whole && clGetProgramBuildInfo(p->program, dev->id, CL_PROGRAM_BUILD_LOG, n, whole, NULL) == CL_SUCCESS) {
        keep_lines(whole, LINES);
        snprintf(log, sizeof log, "%s", whole);
    }
    free(whole);
    return la_fail(LA_EDEVICE, "program '%s', wanted for kernel '%s'%s%s, does not build on %s: %s\n%s", p->name, entry,
                   *p->options ? ", options " : "", p->options, dev->info.name, la__cl_error(code), log);
}

static void drop_program(la_program *p)
{
    if (p->program)
        clReleaseProgram(p->program);
    p->program = NULL;
}

static void count_kernels(la_program *p)
{
    size_t count = 0;
    p->have = 0;
    if (clGetProgramInfo(p->program, CL_PROGRAM_NUM_KERNELS, sizeof count, &count, NULL) == CL_SUCCESS)
        p->have = (unsigned)count;
    free(p->text);
    p->text = NULL;
}

/* From a binary, if the driver takes it. */
static bool from_binary(la_device *dev, la_program *p, const void *binary, size_t length)
{
    cl_int code, status = CL_SUCCESS;
    const unsigned char *bytes = binary;
    p->program = clCreateProgramWithBinary(dev->context, 1, &dev->id, &length, &bytes, &status, &code);
    if (code == CL_SUCCESS && status == CL_SUCCESS &&
        clBuildProgram(p->program, 1, &dev->id, p->options, NULL, NULL) == CL_SUCCESS) {
        p->saved = true;
        count_kernels(p);
        return true;
    }
    drop_program(p);
    return false;
}

static bool from_cache(la_device *dev, la_program *p)
{
    size_t length = 0;
    void *binary = la__cache_load(&length, p->name, p->key);
    const bool good = binary && from_binary(dev, p, binary, length);
    free(binary);
    return good;
}

/* From its text, in this process. */
static int from_text(la_device *dev, la_program *p, const char *entry)
{
    int err = 0;
    cl_int code;
    const char *text = p->text;
    const double began = la__now();

    la__build_begun(dev);
    p->program = clCreateProgramWithSource(dev->context, 1, &text, NULL, &code);
    if (code == CL_SUCCESS)
        code = clBuildProgram(p->program, 1, &dev->id, p->options, NULL, NULL);
    if (code == CL_SUCCESS) {
        count_kernels(p);
    } else {
        err = build_failed(dev, p, entry, code);
        drop_program(p);
    }
    la__build_counted(dev, p->name, p->options, la__now() - began, err < 0 ? la_error() : NULL);
    return err;
}

/* Has it built by another process, if one can be had; else here. */
static int start(la_device *dev, la_program *p, const char *entry)
{
    if (from_cache(dev, p))
        return 0;
    p->saved = false;
    p->job = la__job_build(dev, p, entry);
    return p->job ? 0 : from_text(dev, p, entry);
}

/* Takes over what the other process has made. */
static int take(la_device *dev, la_program *p, const char *entry)
{
    int err = 0;
    la_job *job = p->job;
    p->job = NULL;
    if (job->unable)
        err = from_text(dev, p, entry);
    else if (job->code < 0)
        err = la_fail(job->code, "%s", job->message);
    else if (!from_binary(dev, p, job->output.data, job->output.bytes))
        err = from_text(dev, p, entry);
    la__job_free(dev, job);
    return err;
}

static void program_free(la_program *p)
{
    if (!p)
        return;
    drop_program(p);
    free(p->text);
    free(p->name);
    free(p->options);
    free(p->only);
    free(p);
}

static int new_program(la_program **out, const char *name, const char *options, const char *only)
{
    la_program *p = la__calloc(1, sizeof *p);
    *out = p;
    if (!p)
        return LA_ENOMEM;
    p->name = strdup(name);
    p->options = strdup(options);
    p->only = strdup(only);
    return p->name && p->options && p->only ? 0 : la_fail(LA_ENOMEM, "program '%s': out of host memory", name);
}

/* The program in the table, entered if it is new, and started if it is not there and nobody is at it. Walked only when
 * a kernel is new. */
static int find_program(la_program **out, la_device *dev, const char *name, const char *options, const char *source,
                        const char *entry)
{
    int err = 0;
    bool family;
    char *text = NULL;
    la_program *p = dev->programs, *fresh = NULL;

    LA_TRY(la__source(&text, &family, name, source, entry));
    const char *only = family ? entry : "";
    while (p && (strcmp(p->name, name) != 0 || strcmp(p->options, options) != 0 || strcmp(p->only, only) != 0))
        p = p->next;
    if (!p) {
        LA_TRY(new_program(&fresh, name, options, only));
        p = fresh;
        p->own = source != NULL;
        p->next = dev->programs;
        dev->programs = p;
        fresh = NULL;
    }
    *out = p;
    if (!p->program && !p->job) {
        p->key = la__cache_key(dev, text, options);
        free(p->text);
        p->text = text;
        text = NULL;
        LA_TRY(start(dev, p, entry));
    }
done:
    free(text);
    program_free(fresh);
    return err;
}

int la__program_binary(void **binary, size_t *length, la_device *dev, const char *name, const char *options,
                       const char *text, const char *entry)
{
    enum { MOST = 256 };
    cl_kernel kernels[MOST];
    cl_uint made = 0;
    int err = 0;
    la_program *p = NULL;

    *binary = NULL;
    LA_TRY(new_program(&p, name, options, ""));
    p->key = la__cache_key(dev, text, options);
    p->text = strdup(text);
    if (!p->text) {
        err = la_fail(LA_ENOMEM, "program '%s': out of host memory", name);
        goto done;
    }
    LA_TRY(from_text(dev, p, entry));
    /* some drivers compile when a kernel is made, and put into the binary what is compiled */
    if (p->have <= MOST && clCreateKernelsInProgram(p->program, MOST, kernels, &made) != CL_SUCCESS)
        made = 0;
    *binary = la__cache_binary(p->program, length);
    if (*binary)
        la__cache_save(*binary, *length, p->name, p->key);
done:
    for (cl_uint i = 0; i < made; i++)
        clReleaseKernel(kernels[i]);
    program_free(p);
    return err;
}

void la__program_want(la_device *dev, const char *program, const char *options, const char *entry)
{
    la_program *p;
    if (la__builder_possible(dev))
        find_program(&p, dev, program, options ? options : "", NULL, entry); /* a failure comes when it is needed */
}

bool la__device_program(const la_device *dev, int i, const char **program, const char **options, const char **entry)
{
    const la_program *p = dev->programs;
    while (p && (p->own || p->made == 0 || i-- > 0))
        p = p->next;
    if (p) {
        *program = p->name;
        *options = p->options;
        *entry = p->only;
    }
    return p != NULL;
}

/* ---- kernels ---- */

static int make_kernel(la_device *dev, la_kernel *k)
{
    cl_int code = CL_SUCCESS;
    k->kernel = clCreateKernel(k->owner->program, k->entry, &code);
    if (code != CL_SUCCESS) {
        k->kernel = NULL;
        return la_fail(LA_EDEVICE, "program '%s' has no kernel '%s': %s", k->owner->name, k->entry, la__cl_error(code));
    }
    k->max_group = dev->max_group;
    clGetKernelWorkGroupInfo(k->kernel, dev->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof k->max_group, &k->max_group, NULL);
    clGetKernelWorkGroupInfo(k->kernel, dev->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof k->fixed, k->fixed, NULL);
    k->owner->made++;
    return 0;
}

int la__kernel_ready(bool *ready, la_device *dev, la_kernel *k, bool wait)
{
    int err = 0;
    *ready = k->kernel != NULL;
    if (*ready)
        return 0;
    if (k->owner->job) {
        if (!la__job_done(dev, k->owner->job, wait))
            return 0;
        LA_TRY(take(dev, k->owner, k->entry));
    }
    if (!k->owner->program)
        return la_fail(LA_EDEVICE, "program '%s', wanted for kernel '%s', did not build", k->owner->name, k->entry);
    LA_TRY(make_kernel(dev, k));
    *ready = true;
done:
    return err;
}

static void kernel_free(la_kernel *k)
{
    if (k->kernel)
        clReleaseKernel(k->kernel);
    free(k->entry);
    free(k);
}

static la_kernel *known_kernel(const la_device *dev, uint64_t hash, const char *program, const char *options,
                               const char *entry)
{
    for (la_kernel *k = dev->kernels[hash % LA_KERNEL_BUCKETS]; k; k = k->next)
        if (k->hash == hash && strcmp(k->entry, entry) == 0 && strcmp(k->owner->options, options) == 0 &&
            strcmp(k->owner->name, program) == 0)
            return k;
    return NULL;
}

int la__kernel_find(la_kernel **out, la_device *dev, const char *program, const char *options, const char *source,
                    const char *entry)
{
    int err = 0;
    bool ready;
    la_program *owner;
    if (!options)
        options = "";
    uint64_t hash = XXH64(program, strlen(program), 0);
    hash = XXH64(options, strlen(options), hash);
    hash = XXH64(entry, strlen(entry), hash);
    la_kernel *k = known_kernel(dev, hash, program, options, entry);
    if (k && (k->kernel || k->owner->job)) {
        *out = k;
        return 0;
    }
    LA_TRY(find_program(&owner, dev, program, options, source, entry));
    if (!k) {
        k = la__calloc(1, sizeof *k);
        if (!k)
            return LA_ENOMEM;
        k->entry = strdup(entry);
        if (!k->entry) {
            free(k);
            return la_fail(LA_ENOMEM, "kernel '%s': out of host memory", entry);
        }
        k->owner = owner;
        k->hash = hash;
        k->next = dev->kernels[hash % LA_KERNEL_BUCKETS];
        dev->kernels[hash % LA_KERNEL_BUCKETS] = k;
    }
    LA_TRY(la__kernel_ready(&ready, dev, k, false));
    *out = k;
done:
    return err;
}

/* A binary is written at once, except where asking for it compiles what was not yet needed: there, when nothing is
 * left. */
void la__kernel_launched(la_device *dev, la_kernel *k)
{
    la_program *p = k->owner;
    size_t length;
    if (p->saved || (dev->lazy_binaries && p->made < p->have))
        return;
    p->saved = true;
    void *binary = la__cache_binary(p->program, &length);
    if (binary)
        la__cache_save(binary, length, p->name, p->key);
    free(binary);
}

void la__programs_free(la_device *dev)
{
    for (int i = 0; i < LA_KERNEL_BUCKETS; i++)
        while (dev->kernels[i]) {
            la_kernel *k = dev->kernels[i];
            dev->kernels[i] = k->next;
            kernel_free(k);
        }
    while (dev->programs) {
        la_program *p = dev->programs;
        dev->programs = p->next;
        program_free(p);
    }
}
