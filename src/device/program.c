/* SPDX-License-Identifier: MIT
 *
 * program.c -- programs, built from the embedded sources or from the cache when first needed, and their kernels.
 * LUALIGN_CL_DIR names a folder from which the sources are read instead. A launch may bring its program's text along.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "device/internal.h"

static const char *embedded_source(const char *name)
{
    for (const la_source *s = la__sources; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->text;
    return NULL;
}

/* cl/<name>.cl from the folder, with its include line replaced by common.clh; *out is malloc'ed. */
static int read_source(char **out, const char *folder, const char *name)
{
    static const char include[] = "#include \"common.clh\"";
    int err = 0;
    char path[1024];
    void *text = NULL, *common = NULL;
    size_t n, nc;

    snprintf(path, sizeof path, "%s/common.clh", folder);
    LA_TRY(la__read_file(&common, &nc, path));
    snprintf(path, sizeof path, "%s/%s.cl", folder, name);
    LA_TRY(la__read_file(&text, &n, path));
    char *at = strstr(text, include);
    *out = la__calloc(n + nc + 1, 1);
    if (!*out) {
        err = LA_ENOMEM;
        goto done;
    }
    const size_t before = at ? (size_t)(at - (char *)text) : n;
    memcpy(*out, text, before);
    if (at) {
        memcpy(*out + before, common, nc);
        strcpy(*out + before + nc, at + sizeof include - 1);
    }
done:
    free(text);
    free(common);
    return err;
}

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

/* Builds from the entry of the cache, if there is one that the driver takes. */
static bool build_from_cache(la_device *dev, la_program *p)
{
    cl_int code, status = CL_SUCCESS;
    size_t length = 0;
    unsigned char *binary = la__cache_load(&length, p->name, p->key);
    if (!binary)
        return false;
    p->program = clCreateProgramWithBinary(dev->context, 1, &dev->id, &length, (const unsigned char **)&binary, &status,
                                           &code);
    free(binary);
    if (code == CL_SUCCESS && status == CL_SUCCESS &&
        clBuildProgram(p->program, 1, &dev->id, p->options, NULL, NULL) == CL_SUCCESS)
        return true;
    if (p->program)
        clReleaseProgram(p->program);
    p->program = NULL;
    return false;
}

/* From `source`, or where that is NULL the embedded text of that name. */
static int build(la_device *dev, la_program *p, const char *source, const char *entry)
{
    int err = 0;
    cl_int code = CL_SUCCESS;
    cl_uint have = 0;
    size_t count = 0;
    char *own = NULL;
    const char *folder = getenv("LUALIGN_CL_DIR");
    const char *text = source ? source : embedded_source(p->name);

    if (!source && folder && *folder) {
        LA_TRY(read_source(&own, folder, p->name));
        text = own;
    }
    if (!text) {
        err = la_fail(LA_EDEVICE, "kernel '%s': there is no program '%s'", entry, p->name);
        goto done;
    }
    p->key = la__cache_key(dev, text, p->options);
    p->saved = build_from_cache(dev, p);
    if (!p->saved) {
        p->program = clCreateProgramWithSource(dev->context, 1, &text, NULL, &code);
        if (code == CL_SUCCESS)
            code = clBuildProgram(p->program, 1, &dev->id, p->options, NULL, NULL);
        if (code != CL_SUCCESS) {
            err = build_failed(dev, p, entry, code);
            goto done;
        }
    }
    if (clGetProgramInfo(p->program, CL_PROGRAM_NUM_KERNELS, sizeof count, &count, NULL) == CL_SUCCESS)
        have = (cl_uint)count;
    p->have = have;
done:
    free(own);
    return err;
}

static void program_free(la_program *p)
{
    if (!p)
        return;
    if (p->program)
        clReleaseProgram(p->program);
    free(p->name);
    free(p->options);
    free(p);
}

/* The program, from memory or built. Walked only when a kernel is new. */
static int find_program(la_program **out, la_device *dev, const char *name, const char *options, const char *source,
                        const char *entry)
{
    int err = 0;
    la_program *p = dev->programs;

    while (p && (strcmp(p->name, name) != 0 || strcmp(p->options, options) != 0))
        p = p->next;
    if (p) {
        *out = p;
        return 0;
    }
    p = la__calloc(1, sizeof *p);
    if (!p)
        return LA_ENOMEM;
    p->name = strdup(name);
    p->options = strdup(options);
    if (!p->name || !p->options) {
        err = la_fail(LA_ENOMEM, "program '%s': out of host memory", name);
        goto done;
    }
    LA_TRY(build(dev, p, source, entry));
    p->next = dev->programs;
    dev->programs = p;
    *out = p;
    p = NULL;
done:
    program_free(p);
    return err;
}

static void kernel_free(la_kernel *k)
{
    if (k->kernel)
        clReleaseKernel(k->kernel);
    free(k->entry);
    free(k);
}

static int make_kernel(la_kernel **out, la_device *dev, const char *name, const char *options, const char *source,
                       const char *entry)
{
    int err = 0;
    cl_int code = CL_SUCCESS;
    la_kernel *k = la__calloc(1, sizeof *k);

    if (!k)
        return LA_ENOMEM;
    LA_TRY(find_program(&k->owner, dev, name, options, source, entry));
    k->entry = strdup(entry);
    k->kernel = clCreateKernel(k->owner->program, entry, &code);
    if (!k->entry || code != CL_SUCCESS) {
        err = la_fail(LA_EDEVICE, "program '%s' has no kernel '%s': %s", name, entry, la__cl_error(code));
        goto done;
    }
    k->max_group = dev->max_group;
    clGetKernelWorkGroupInfo(k->kernel, dev->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof k->max_group, &k->max_group, NULL);
    clGetKernelWorkGroupInfo(k->kernel, dev->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof k->fixed, k->fixed, NULL);
    k->owner->made++;
    *out = k;
    k = NULL;
done:
    if (k)
        kernel_free(k);
    return err;
}

int la__kernel_find(la_kernel **out, la_device *dev, const char *program, const char *options, const char *source,
                    const char *entry)
{
    if (!options)
        options = "";
    uint64_t hash = XXH64(program, strlen(program), 0);
    hash = XXH64(options, strlen(options), hash);
    hash = XXH64(entry, strlen(entry), hash);
    la_kernel **bucket = &dev->kernels[hash % LA_KERNEL_BUCKETS];
    for (la_kernel *k = *bucket; k; k = k->next)
        if (k->hash == hash && strcmp(k->entry, entry) == 0 && strcmp(k->owner->options, options) == 0 &&
            strcmp(k->owner->name, program) == 0) {
            *out = k;
            return 0;
        }
    la_kernel *k = NULL;
    const int err = make_kernel(&k, dev, program, options, source, entry);
    if (err < 0)
        return err;
    k->hash = hash;
    k->next = *bucket;
    *bucket = k;
    *out = k;
    return 0;
}

/* A binary is written at once, except where asking for it compiles what was not yet needed: there, when nothing is
 * left. */
void la__kernel_launched(la_device *dev, la_kernel *k)
{
    la_program *p = k->owner;
    if (p->saved || (dev->lazy_binaries && p->made < p->have))
        return;
    p->saved = true;
    la__cache_save(p->program, p->name, p->key);
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
