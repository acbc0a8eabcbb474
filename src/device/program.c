/* SPDX-License-Identifier: MIT
 *
 * program.c -- programs, built from the embedded sources when first needed and kept on disk as device binaries.
 *
 * A file of the cache is a header (magic, key, length, checksum) and the binary. Its name and key hash everything that
 * the binary depends on: source, options, device, driver, platform and library version. A file that does not check out is
 * ignored and written anew. LUALIGN_CL_DIR names a folder from which the sources are read instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "device/internal.h"

#define MAGIC "lualign-program-1"

typedef struct cache_header {
    char magic[24];
    uint64_t key, length, checksum;
} cache_header;

static const la_source *find_source(const char *name)
{
    for (const la_source *s = la__sources; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
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
    *out = malloc(n + nc + 1);
    if (!*out) {
        err = la_fail(LA_ENOMEM, "program '%s': out of memory", name);
        goto done;
    }
    if (at) {
        const size_t before = (size_t)(at - (char *)text);
        memcpy(*out, text, before);
        memcpy(*out + before, common, nc);
        memcpy(*out + before + nc, at + sizeof include - 1, n - before - sizeof include + 1);
        (*out)[n + nc - sizeof include + 1] = '\0';
    } else {
        memcpy(*out, text, n + 1);
    }
done:
    free(text);
    free(common);
    return err;
}

static uint64_t hash_text(uint64_t seed, const char *text)
{
    return XXH64(text, strlen(text) + 1, seed);
}

static uint64_t program_key(const la_device *dev, const char *source, const char *options)
{
    uint64_t key = hash_text(0, source);
    key = hash_text(key, options);
    key = hash_text(key, dev->info.name);
    key = hash_text(key, dev->info.driver);
    key = hash_text(key, dev->info.version);
    key = hash_text(key, dev->info.platform);
    return hash_text(key, LA_VERSION);
}

static int cache_path(char *out, size_t size, const char *name, uint64_t key)
{
    char folder[900];
    const int err = la__cache_dir(folder, sizeof folder);
    if (err == 0)
        snprintf(out, size, "%s/%s-%016llx.bin", folder, name, (unsigned long long)key);
    return err;
}

/* The binary in the cache, or NULL: a miss of any kind is no error. */
static void *load_binary(size_t *length, const char *name, uint64_t key)
{
    char path[1024];
    void *file = NULL;
    size_t bytes = 0;
    cache_header h;

    if (cache_path(path, sizeof path, name, key) < 0 || la__read_file(&file, &bytes, path) < 0)
        return NULL;
    if (bytes < sizeof h)
        goto bad;
    memcpy(&h, file, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof MAGIC) != 0 || h.key != key || h.length != bytes - sizeof h ||
        h.checksum != XXH64((char *)file + sizeof h, bytes - sizeof h, 0))
        goto bad;
    memmove(file, (char *)file + sizeof h, h.length);
    *length = h.length;
    return file;
bad:
    free(file);
    return NULL;
}

static void save_binary(const la_device *dev, cl_program program, const char *name, uint64_t key)
{
    size_t length = 0;
    char path[1024], *file = NULL;
    cache_header h = { .magic = MAGIC, .key = key };
    (void)dev;

    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof length, &length, NULL) != CL_SUCCESS || length == 0)
        return;
    file = malloc(sizeof h + length);
    if (!file)
        return;
    unsigned char *binary = (unsigned char *)file + sizeof h;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS &&
        cache_path(path, sizeof path, name, key) == 0) {
        h.length = length;
        h.checksum = XXH64(binary, length, 0);
        memcpy(file, &h, sizeof h);
        la__write_file(path, file, sizeof h + length); /* a cache that cannot be written is only slower */
    }
    free(file);
}

static int build_failed(const la_device *dev, const la_program *p, cl_int code)
{
    char log[1500] = "";
    size_t n = 0;
    clGetProgramBuildInfo(p->program, dev->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n);
    char *whole = n ? malloc(n + 1) : NULL;
    if (whole && clGetProgramBuildInfo(p->program, dev->id, CL_PROGRAM_BUILD_LOG, n, whole, NULL) == CL_SUCCESS) {
        whole[n] = '\0';
        snprintf(log, sizeof log, "%s", whole);
    }
    free(whole);
    return la_fail(LA_EDEVICE, "program '%s' (options '%s') does not build on %s: %s\n%s", p->name, p->options, dev->info.name,
                   la__cl_error(code), log);
}

static int build(la_device *dev, la_program *p)
{
    int err = 0;
    cl_int code = CL_SUCCESS;
    size_t length;
    char *own = NULL;
    const char *folder = getenv("LUALIGN_CL_DIR");
    const la_source *source = find_source(p->name);
    const char *text = source ? source->text : NULL;

    if (folder && *folder) {
        LA_TRY(read_source(&own, folder, p->name));
        text = own;
    }
    if (!text) {
        err = la_fail(LA_EDEVICE, "no program is called '%s'", p->name);
        goto done;
    }
    const uint64_t key = program_key(dev, text, p->options);
    unsigned char *binary = load_binary(&length, p->name, key);
    if (binary) {
        cl_int status = CL_SUCCESS;
        p->program = clCreateProgramWithBinary(dev->context, 1, &dev->id, &length, (const unsigned char **)&binary, &status, &code);
        if (code == CL_SUCCESS && status == CL_SUCCESS)
            code = clBuildProgram(p->program, 1, &dev->id, p->options, NULL, NULL);
        free(binary);
        if (code == CL_SUCCESS && status == CL_SUCCESS)
            goto done;
        if (p->program)
            clReleaseProgram(p->program);
        p->program = NULL;
    }
    p->program = clCreateProgramWithSource(dev->context, 1, &text, NULL, &code);
    if (code == CL_SUCCESS)
        code = clBuildProgram(p->program, 1, &dev->id, p->options, NULL, NULL);
    if (code != CL_SUCCESS)
        err = build_failed(dev, p, code);
    else
        save_binary(dev, p->program, p->name, key);
done:
    free(own);
    return err;
}

/* The program, from memory or built; programs are few, so a walk is enough. */
static int find_program(la_program **out, la_device *dev, const char *name, const char *options)
{
    int err = 0;
    for (int i = 0; i < dev->programs; i++)
        if (strcmp(dev->program[i].name, name) == 0 && strcmp(dev->program[i].options, options) == 0) {
            *out = &dev->program[i];
            return 0;
        }
    la_program *more = realloc(dev->program, (size_t)(dev->programs + 1) * sizeof *more);
    if (!more)
        return la_fail(LA_ENOMEM, "program '%s': out of memory", name);
    dev->program = more;
    la_program *p = &more[dev->programs];
    *p = (la_program){ .name = name };
    p->options = strdup(options);
    if (!p->options)
        return la_fail(LA_ENOMEM, "program '%s': out of memory", name);
    LA_TRY(build(dev, p));
    dev->programs++;
    *out = p;
    return 0;
done:
    if (p->program)
        clReleaseProgram(p->program);
    free(p->options);
    return err;
}

int la__kernel_find(la_kernel **out, la_device *dev, const char *program, const char *options, const char *entry)
{
    int err = 0;
    cl_int code;
    la_program *p = NULL;

    LA_TRY(find_program(&p, dev, program, options ? options : ""));
    for (int i = 0; i < p->kernels; i++)
        if (strcmp(p->kernel[i].entry, entry) == 0) {
            *out = &p->kernel[i];
            return 0;
        }
    la_kernel *more = realloc(p->kernel, (size_t)(p->kernels + 1) * sizeof *more);
    if (!more)
        return la_fail(LA_ENOMEM, "kernel '%s': out of memory", entry);
    p->kernel = more;
    la_kernel *k = &more[p->kernels];
    *k = (la_kernel){ .entry = strdup(entry), .kernel = clCreateKernel(p->program, entry, &code) };
    if (!k->entry || code != CL_SUCCESS) {
        free(k->entry);
        return la_fail(LA_EDEVICE, "program '%s' has no kernel '%s': %s", program, entry, la__cl_error(code));
    }
    p->kernels++;
    *out = k;
done:
    return err;
}

void la__programs_free(la_device *dev)
{
    for (int i = 0; i < dev->programs; i++) {
        la_program *p = &dev->program[i];
        for (int k = 0; k < p->kernels; k++) {
            clReleaseKernel(p->kernel[k].kernel);
            free(p->kernel[k].entry);
        }
        free(p->kernel);
        free(p->options);
        clReleaseProgram(p->program);
    }
    free(dev->program);
    dev->program = NULL;
    dev->programs = 0;
}
