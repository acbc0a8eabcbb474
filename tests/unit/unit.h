/* SPDX-License-Identifier: MIT
 *
 * unit.h -- what the tests of src/device share: cmocka with what it wants before it, checks of results and messages, a
 * folder.
 */
#ifndef LA_TESTS_UNIT_H
#define LA_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/internal.h"

#define OK(expr)                                   \
    do {                                           \
        if ((expr) < 0)                            \
            fail_msg("%s: %s", #expr, la_error()); \
    } while (0)

#define FAILS(expr, code, part)                                           \
    do {                                                                  \
        assert_int_equal(expr, code);                                     \
        if (!strstr(la_error(), part))                                    \
            fail_msg("'%s' is not in the message: %s", part, la_error()); \
    } while (0)

/* The folder of the test program that includes this. */
static char folder[64];

static inline void put_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    OK(la__write_file(path, text, strlen(text)));
}

/* A fresh folder, from which kernels are read, and in it the cache. */
static inline int make_folder(void **state)
{
    char path[128];
    (void)state;
    strcpy(folder, "/tmp/lualign-unit-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    setenv("LUALIGN_CL_DIR", folder, 1);
    snprintf(path, sizeof path, "%s/cache", folder);
    setenv("LUALIGN_CACHE", path, 1);
    return 0;
}

static inline int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* A device opened while `variable`, if it is not NULL, has that value. */
static inline la_device *open_with(const char *variable, const char *value)
{
    la_device *dev = NULL;
    if (variable)
        setenv(variable, value, 1);
    OK(la_device_open(&dev, NULL));
    if (variable)
        unsetenv(variable);
    return dev;
}

#endif
