/* SPDX-License-Identifier: MIT
 *
 * verdict.c -- what has been found out about programs on a device: whether a variant computes what it should.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "device/internal.h"

typedef struct la_verdict {
    struct la_verdict *next;
    int verdict;
    char name[]; /* program, a space, options */
} la_verdict;

static la_verdict *find(const la_device *dev, const char *program, const char *options)
{
    const size_t n = strlen(program);
    for (la_verdict *v = dev->verdicts; v; v = v->next)
        if (strncmp(v->name, program, n) == 0 && v->name[n] == ' ' && strcmp(v->name + n + 1, options) == 0)
            return v;
    return NULL;
}

int la__program_verdict(const la_device *dev, const char *program, const char *options)
{
    const la_verdict *v = find(dev, program, options ? options : "");
    return v ? v->verdict : 0;
}

void la__program_judge(la_device *dev, const char *program, const char *options, int verdict)
{
    la_verdict *v = find(dev, program, options ? options : "");
    if (!v) {
        const size_t n = strlen(program), size = n + 1 + strlen(options ? options : "") + 1;
        v = la__calloc(1, sizeof *v + size);
        if (!v)
            return; /* it will be tried again */
        strcpy(v->name, program);
        v->name[n] = ' ';
        strcpy(v->name + n + 1, options ? options : "");
        v->next = dev->verdicts;
        dev->verdicts = v;
    }
    v->verdict = verdict;
}

/* Where a program's proof is kept on disk: under its text, options, device, driver and our version. False where the
 * program has no text of its own. */
static bool proof_key(uint64_t *key, const la_device *dev, const char *program, const char *options)
{
    char *text = NULL;
    bool family;
    const bool whole = la__source(&text, &family, program, NULL, "any") == 0 && !family;
    if (whole)
        *key = XXH64("proven", 6, la__cache_key(dev, text, options ? options : ""));
    free(text);
    return whole;
}

bool la__program_proven(const la_device *dev, const char *program, const char *options)
{
    uint64_t key = 0;
    return proof_key(&key, dev, program, options) && la__cache_verdict(program, key) == 1;
}

void la__program_prove(const la_device *dev, const char *program, const char *options)
{
    uint64_t key = 0;
    if (proof_key(&key, dev, program, options))
        la__cache_keep_verdict(1, program, key);
}

void la__verdicts_free(la_device *dev)
{
    while (dev->verdicts) {
        la_verdict *v = dev->verdicts;
        dev->verdicts = v->next;
        free(v);
    }
}
