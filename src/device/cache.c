/* SPDX-License-Identifier: MIT
 *
 * cache.c -- built programs on disk. An entry is a header (magic, key, length, checksum) and the device's binary. Its
 * name and key hash everything that the binary depends on: source, options, device, driver, platform and library
 * version. An entry that does not check out is passed over and written anew.
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

static uint64_t hash_text(uint64_t seed, const char *text)
{
    return XXH64(text, strlen(text) + 1, seed);
}

uint64_t la__cache_key(const la_device *dev, const char *source, const char *options)
{
    uint64_t key = hash_text(0, source);
    key = hash_text(key, options);
    key = hash_text(key, dev->info.name);
    key = hash_text(key, dev->info.version);
    key = hash_text(key, dev->info.driver);
    key = hash_text(key, dev->info.platform);
    key = hash_text(key, dev->platform_version);
    return hash_text(key, LA_VERSION);
}

static int entry_path(char *out, size_t size, const char *name, uint64_t key)
{
    char folder[900];
    const int err = la__cache_dir(folder, sizeof folder);
    if (err == 0)
        snprintf(out, size, "%s/%s-%016llx.bin", folder, name, (unsigned long long)key);
    return err;
}

void *la__cache_load(size_t *length, const char *name, uint64_t key)
{
    char path[1024];
    void *file = NULL;
    size_t bytes = 0;
    cache_header h;

    if (entry_path(path, sizeof path, name, key) < 0 || la__read_file(&file, &bytes, path) < 0)
        return NULL;
    if (bytes <= sizeof h)
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

void *la__cache_binary(cl_program program, size_t *length)
{
    *length = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof *length, length, NULL) != CL_SUCCESS || *length == 0)
        return NULL;
    unsigned char *binary = malloc(*length);
    if (binary && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) != CL_SUCCESS) {
        free(binary);
        binary = NULL;
    }
    return binary;
}

void la__cache_save(const void *binary, size_t length, const char *name, uint64_t key)
{
    char path[1024];
    cache_header h = { .magic = MAGIC, .key = key, .length = length, .checksum = XXH64(binary, length, 0) };
    char *file = malloc(sizeof h + length);
    if (file && entry_path(path, sizeof path, name, key) == 0) {
        memcpy(file, &h, sizeof h);
        memcpy(file + sizeof h, binary, length);
        la__write_file(path, file, sizeof h + length);
        la__cache_trim();
    }
    free(file);
}

/* ---- verdicts of probes: an entry of one byte ---- */

int la__cache_verdict(const char *name, uint64_t key)
{
    size_t length = 0;
    char *verdict = la__cache_load(&length, name, key);
    const int result = verdict && length == 1 ? verdict[0] : 0;
    free(verdict);
    return result;
}

void la__cache_keep_verdict(int verdict, const char *name, uint64_t key)
{
    const char byte = (char)verdict;
    la__cache_save(&byte, 1, name, key);
}
