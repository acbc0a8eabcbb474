/* SPDX-License-Identifier: MIT
 *
 * header.c -- the public header alone, in strict C99 and C++11: it must include what it uses and mean the same in both.
 * Compiled, not run; tests/checks.cmake says with what.
 */
#include <lualign.h>
#include <lualign.h> /* twice is once */

#ifdef __cplusplus
static_assert(LA_OK == 0 && LA_EFORMAT < 0, "error codes are 0 or negative");
#else
typedef char la_codes_are_negative[LA_OK == 0 && LA_EFORMAT < 0 ? 1 : -1];
#endif

int header_use(la_device *dev, const char **name);

/* The common path through the interface, by its types only. */
int header_use(la_device *dev, const char **name)
{
    la_tensor *t = 0;
    la_tensor *sum = 0;
    const int64_t dim[2] = { 2, 3 };
    la_memory memory = la_device_memory(dev);
    const la_op *const *all = la_op_all();
    int err = la_tensor_new(&t, dev, LA_F32, 2, dim);

    *name = la_dtype_name(LA_U8);
    if (err == LA_OK)
        err = la_op_run(&sum, "sum", &t, 1, 0);
    if (err == LA_OK && memory.peak == 0 && !all[0])
        err = la_fail(LA_EARG, "header: %s", la_error());
    la_tensor_release(&sum);
    la_tensor_release(&t);
    return err;
}
