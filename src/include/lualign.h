/* SPDX-License-Identifier: MIT
 *
 * lualign.h -- the public interface of liblualign.
 *
 * lualign is a small compute library for aligning photographs of different objects of one category and
 * for training the networks that do it. Everything that computes is an OpenCL kernel; the device, a CPU
 * or a GPU of any vendor, is chosen at run time.
 *
 * The ideas, in the order in which they are needed:
 *
 *   device   an OpenCL device with one in-order queue, a pool of memory and a cache of programs.
 *            Opening one is the first moment at which OpenCL is touched.
 *   tensor   up to six dimensions of float32, int32 or uint8 on a device; reference counted; views share
 *            the storage of what they view. Images and feature maps are (N, H, W, C), "NHWC".
 *   op       a function of tensors and plain values with a descriptor (name, parameters, text). Ops are
 *            found by name with la_op_find and run by la_apply, which also notes them on the tape.
 *   tape     la_backward walks back from a scalar and adds to the gradient of every leaf that asked for
 *            one; the graph is freed on the way.
 *
 * Every function that can fail returns an int: 0, or one of the negative codes below, and then la_error()
 * says in one line which operation, which argument, what was expected and what came. Results are returned
 * through the first parameter, called out, which is NULL after a failure; the caller owns what it receives
 * and returns it with la_tensor_release. Work is asynchronous: only reading a tensor waits for the device.
 *
 * A device and its tensors belong to one thread at a time.
 */
#ifndef LUALIGN_H
#define LUALIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LA_API __attribute__((visibility("default")))
#define LA_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define LA_API
#define LA_PRINTF(f, a)
#endif

#define LA_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------------------- */

enum {
    LA_OK = 0,
    LA_EARG = -1,    /* a value out of range, an unknown name */
    LA_ESHAPE = -2,  /* shapes that do not fit */
    LA_EDTYPE = -3,  /* the wrong element type */
    LA_ENOMEM = -4,  /* out of host or device memory */
    LA_EDEVICE = -5, /* no device, or OpenCL said no */
    LA_EIO = -6,     /* a file that cannot be read or written */
    LA_EFORMAT = -7  /* a file whose contents are not what they should be */
};

/* The message of the last failure on this thread; never NULL. */
LA_API const char *la_error(void);

/* Sets that message (printf style) and returns code, so that a check reads `return la_fail(...)`. */
LA_API int la_fail(int code, const char *format, ...) LA_PRINTF(2, 3);

/* The version of the library, e.g. "0.1.0". */
LA_API const char *la_version(void);

/* ---- devices ------------------------------------------------------------------------------------ */

typedef struct la_device la_device;

typedef struct la_device_info {
    char name[256];     /* as the driver gives it */
    char platform[128]; /* "Portable Computing Language", ... */
    char vendor[128];
    char version[128]; /* OpenCL version string of the device */
    char driver[128];
    const char *type; /* "cpu", "gpu" or "accelerator" */
    unsigned units;   /* compute units */
    uint64_t memory;  /* bytes of global memory */
    uint64_t max_allocation;
} la_device_info;

/* The number of OpenCL devices over all platforms: 0 when there is none (then la_error says why). */
LA_API int la_device_count(int *out);

/* Describes device `index`, counted from 0 in the flat list over all platforms. */
LA_API int la_device_describe(la_device_info *out, int index);

/* Opens a device: `which` is its number counted from 1 ("2"), a part of its name or of its platform's
 * name in any case ("pocl", "radeon"), a type ("gpu", "cpu", or "gpu:2" for the second one), or NULL for
 * the environment's LUALIGN_DEVICE and, without that, the first GPU, else the first device.
 * LUALIGN_MEMORY (MiB) lowers the memory that it may take. */
LA_API int la_device_open(la_device **out, const char *which);

/* The number, from 0, of the device that la_device_open would take. */
LA_API int la_device_choose(int *out, const char *which);

/* Waits for the queue, frees everything; tensors of the device must have been released. NULL is allowed. */
LA_API void la_device_close(la_device *dev);

LA_API const la_device_info *la_device_get_info(const la_device *dev);
LA_API int la_device_get_index(const la_device *dev); /* in the flat list, from 0 */

/* Waits until all work queued so far is done. */
LA_API int la_device_finish(la_device *dev);

typedef struct la_memory {
    size_t used;        /* bytes held by tensors now */
    size_t peak;        /* largest `used` since the last la_device_reset_peak */
    size_t pooled;      /* bytes kept for reuse, not used */
    size_t allocations; /* how often fresh memory was asked of the driver */
    size_t budget;      /* bytes that may be taken in all */
} la_memory;

LA_API la_memory la_device_memory(const la_device *dev);
LA_API void la_device_reset_peak(la_device *dev);

/* Called before the pool asks the driver for fresh memory, and when the driver refuses (urgent): the
 * caller may release tensors. The Lua layer runs its collector here. */
typedef void (*la_pressure_fn)(void *payload, size_t bytes, bool urgent);
LA_API void la_device_on_pressure(la_device *dev, la_pressure_fn fn, void *payload);

/* Programs (kernels) are compiled when first needed, which takes seconds, and kept on disk. A listener hears when one
 * is done, and now and then while the device is waited for.
 *
 * LUALIGN_BUILDER may name the program `lualign`: then programs are built in processes of their own, several at once,
 * and a compiler that crashes is an error and not the end. Launches do not wait for that: a program that does not build
 * can be the failure of a later call. */
typedef struct la_build {
    int done, total;               /* of those begun since the device last had all that it needed */
    double spent, left;            /* seconds; left is a guess */
    const char *program, *options; /* what is done; NULL: nothing new */
    double seconds;                /* that it took */
    const char *error;             /* why it failed; NULL: it did not */
} la_build;
typedef void (*la_build_fn)(void *payload, const la_build *build);
LA_API void la_device_on_build(la_device *dev, la_build_fn fn, void *payload);

/* Which method is best for a pass of an operation over a shape ("conv2d.forward", "8x15x15x256 ..."), as measured on
 * the device: a record that operations obey where the caller leaves the method to them. It is kept in the cache folder,
 * for this device, its driver and this version of the library; LUALIGN_CHOICES=0 ignores what is kept. */
typedef struct la_choice {
    const char *pass, *shape;
    const char *method;  /* NULL: was asked for, and is not on record */
    double milliseconds; /* that it took */
} la_choice;

/* Puts a choice on record; method NULL takes one off. Kept on disk only by la_choice_save. */
LA_API int la_choice_set(la_device *dev, const char *pass, const char *shape, const char *method, double milliseconds);
LA_API int la_choice_save(la_device *dev);
LA_API int la_choice_forget(la_device *dev); /* all, on disk too */

/* Notes from now on what is asked for. */
LA_API int la_choice_watch(la_device *dev, bool on);

/* The record, or what was asked for since watching began; borrowed until the next call, sorted. */
LA_API int la_choice_list(la_device *dev, bool asked, const la_choice **rows, int *count);

/* Seeds the device's Philox generator; the pair (seed, counter) is its whole state. */
LA_API void la_device_seed(la_device *dev, uint64_t seed, uint64_t counter);
LA_API void la_device_seed_state(const la_device *dev, uint64_t *seed, uint64_t *counter);

/* Per-kernel profile. Off by default, since it waits after each launch. */
typedef struct la_profile_row {
    const char *kernel;
    uint64_t calls;
    double seconds;
    double bytes; /* moved, 0 if the op does not say */
    double flops; /* done, 0 if the op does not say */
} la_profile_row;

LA_API void la_profile_enable(la_device *dev, bool on);
LA_API void la_profile_reset(la_device *dev);
LA_API int la_profile_rows(la_device *dev, const la_profile_row **rows, int *count); /* borrowed, slowest first */

/* ---- tensors ------------------------------------------------------------------------------------ */

typedef struct la_tensor la_tensor;

typedef enum la_dtype { LA_F32, LA_I32, LA_U8 } la_dtype;

#define LA_MAX_DIMS 6

/* A new dense tensor with undefined contents. 0 <= ndim <= LA_MAX_DIMS; a dimension may be 0. */
LA_API int la_tensor_new(la_tensor **out, la_device *dev, la_dtype dtype, int ndim, const int64_t *dim);

/* The same, filled from host memory (numel elements of that dtype, row-major). */
LA_API int la_tensor_from(la_tensor **out, la_device *dev, la_dtype dtype, int ndim, const int64_t *dim,
                          const void *data);

LA_API la_tensor *la_tensor_retain(la_tensor *t); /* returns t */
LA_API void la_tensor_release(la_tensor **t);     /* drops one reference and sets *t to NULL */

LA_API la_dtype la_tensor_dtype(const la_tensor *t);
LA_API int la_tensor_ndim(const la_tensor *t);
LA_API int64_t la_tensor_dim(const la_tensor *t, int d); /* d from 0 */
LA_API int64_t la_tensor_numel(const la_tensor *t);
LA_API size_t la_dtype_size(la_dtype dtype);
LA_API const char *la_dtype_name(la_dtype dtype); /* "float32", "int32", "uint8" */

/* Waits for the device and copies all elements, row-major, to `data` (numel elements of t's dtype). */
LA_API int la_tensor_read(const la_tensor *t, void *data);

/* Overwrites all elements of t, a view or not, from host memory. */
LA_API int la_tensor_write(la_tensor *t, const void *data);

/* ---- ops ---------------------------------------------------------------------------------------- */

typedef struct la_op la_op;
typedef struct la_call la_call;

/* The descriptor of an op by name, or NULL (la_error names the nearest one). */
LA_API const la_op *la_op_find(const char *name);

/* All descriptors, in the order of ops.def, NULL-terminated. */
LA_API const la_op *const *la_op_all(void);

/* Runs an op on n tensors (NULL where an optional one is left out) with every other parameter at its
 * default, except those in `options`, written "name=value name=value" ("stride=2 padding=1,1,1,1").
 * out receives the first output. Noted on the tape where an input asks for gradients. */
LA_API int la_op_run(la_tensor **out, const char *op, la_tensor *const *in, int n, const char *options);

/* The same with a descriptor. */
LA_API int la_op_call(la_tensor **out, const la_op *op, la_tensor *const *in, int n, const char *options);

/* Makes an op of a pointwise expression, such as "max(x * s + b, 0)": one kernel, and derived gradients. Its operands,
 * tensors that broadcast or numbers ("s=0.5" in la_op_call's options), are the n names given or, with n == 0, those in
 * the text in order of first appearance; 16 at most. An expression holds numbers, + - * / ^, comparisons (0 or 1), and
 * abs, sign, floor, exp, log, sqrt, rsqrt, sin, cos, tanh, sigmoid, relu, relu6, min, max, clamp(x, low, high) and
 * where(condition, a, b). It is computed in float32. Like a tensor, the op belongs to one thread at a time. */
LA_API int la_fuse(const la_op **out, const char *expression, int n, const char *const *names);
LA_API void la_fuse_release(const la_op **op); /* sets *op to NULL; calls that were noted still go back through it */

/* ---- gradients ---------------------------------------------------------------------------------- */

LA_API void la_tensor_set_requires_grad(la_tensor *t, bool on); /* leaves of dtype float32 only */
LA_API bool la_tensor_requires_grad(
    const la_tensor *t);                              /* true for leaves that ask and for results that depend on one */
LA_API la_tensor *la_tensor_grad(const la_tensor *t); /* borrowed, NULL if there is none */
LA_API int la_tensor_set_grad(la_tensor *t, la_tensor *g); /* retains g; NULL clears */

/* Adds d(t)/d(leaf) to the gradient of every leaf that t depends on. t must hold one element unless
 * `seed`, a gradient of t's shape, is given. The graph is freed. */
LA_API int la_backward(la_tensor *t, la_tensor *seed);

/* Switches recording on or off for this thread; returns what it was. */
LA_API bool la_grad_enable(bool on);

/* ---- pictures ------------------------------------------------------------------------------------ */

/* What to do with a decoded picture, in this order; all zero leaves it as it is. */
typedef struct la_image_options {
    bool upright;                 /* turn it as the EXIF data of a JPEG say; else pixels stay as they are stored */
    bool crop;                    /* keep rows [top, bottom) and columns [left, right), counted from 0 */
    int top, bottom, left, right; /* within the picture */
    bool flip;                    /* mirror left and right */
    int height, width;            /* resize to this, aspect not kept; 0: leave the size */
    bool antialias;               /* resize by a triangle as wide as the step, pixel centres at halves; else bilinearly
                                     between four pixels, corners aligned */
} la_image_options;

/* Width and height, from the head of a JPEG, PNG, BMP or TGA file. */
LA_API int la_image_info(int *width, int *height, const char *path);

/* A picture as (H, W, 3): uint8, or float32 in 0..255 where it was resized. Grey is repeated, transparent parts lie on
 * white. A file that ends early or is damaged is an error. */
LA_API int la_image_load(la_tensor **out, la_device *dev, const char *path, const la_image_options *options);

/* Writes (H, W, 3), (H, W, 1) or (H, W), rounded and clamped to 0..255, as the name's ending says: .png, .jpg, .jpeg or
 * .bmp. quality: 1..100, of JPEG. The file appears whole or not at all. */
LA_API int la_image_save(const la_tensor *t, const char *path, int quality);

/* ---- weights: safetensors files ------------------------------------------------------------------- */

typedef struct la_safetensors la_safetensors;

/* Opens a file and checks all of its header. Elements stay on disk until they are asked for. */
LA_API int la_safetensors_open(la_safetensors **out, const char *path);
LA_API void la_safetensors_close(la_safetensors *file); /* NULL is allowed */

LA_API int la_safetensors_count(const la_safetensors *file);
LA_API const char *la_safetensors_name(const la_safetensors *file, int i);    /* in the order of the header */
LA_API int la_safetensors_find(const la_safetensors *file, const char *name); /* its number, or LA_EARG */

/* Tensor i. F64, F16 and BF16 become float32, I64, U64, U32, I16, U16 and I8 int32 (a number that does not fit is an
 * error), BOOL uint8. */
LA_API int la_safetensors_read(la_tensor **out, la_safetensors *file, la_device *dev, int i);

/* The file's own texts: pair i of key and value, false past the last one. */
LA_API bool la_safetensors_text(const la_safetensors *file, int i, const char **key, const char **value);

/* Writes n tensors in the given order, and `texts` pairs of key and value (keys[i], values[i]). The file appears whole
 * or not at all. */
LA_API int la_safetensors_save(const char *path, int n, const char *const *names, la_tensor *const *tensors, int texts,
                               const char *const *keys, const char *const *values);

/* A tensor of the elements from byte `offset` of a file on, little-endian and without gaps, of the type that
 * safetensors calls "F32", "BF16", "I64", ...; conversions as above. For readers of other formats. */
LA_API int la_elements_read(la_tensor **out, la_device *dev, const char *path, int64_t offset, const char *type,
                            int ndim, const int64_t *dim);

#ifdef __cplusplus
}
#endif
#endif
