/* SPDX-License-Identifier: MIT
 *
 * picture.h -- pictures in host memory, and the threads that decode them. No device is touched here, so that all of it
 * may run in any thread.
 */
#ifndef LA_PICTURE_H
#define LA_PICTURE_H

#include "lualign.h"

/* Three channels, row-major: bytes, or floats of 0..255. */
typedef struct la_picture {
    int height, width;
    uint8_t *bytes; /* one of the two is NULL */
    float *floats;
} la_picture;

/* la_image_load without a device. options may be NULL. */
int la__picture_load(la_picture *out, const char *path, const la_image_options *options);

void la__picture_free(la_picture *p);

/* Makes floats of bytes; no change to a picture of floats. */
int la__picture_to_float(la_picture *p);

/* The whole file decoded to three channels of bytes, turned as its EXIF data say if `upright` is set. */
int la__decode(la_picture *out, const char *path, bool upright);

/* How a file's picture is to be turned for looking at: 1 (as it is) to 8, the values of EXIF; 1 where it does not say.
 */
int la__exif_orientation(const uint8_t *data, size_t size);

/* Turns and mirrors a picture of bytes that is stored with this orientation. */
int la__turn_upright(la_picture *p, int orientation);

/* LA_EFORMAT if the file, which starts as a PNG or JPEG does, ends early or is damaged in a way that stb_image misses.
 */
int la__check_png(const uint8_t *data, size_t size, const char *path);
int la__check_jpeg(const uint8_t *data, size_t size, const char *path);

/* h x w out of H x W bytes of 3 channels, as la_image_options says; out holds h w 3 floats. */
void la__resample_aligned(float *out, int h, int w, const uint8_t *in, int H, int W);
int la__resample_antialiased(float *out, int h, int w, const uint8_t *in, int H, int W);

/* A tensor (H, W, 3), (1, H, W, 3), (H, W, 1) or (H, W) as bytes of 1 or 3 channels, rounded and clamped to 0..255,
 * freed by free(). Messages name `what`. */
int la__picture_bytes(uint8_t **out, int *height, int *width, int *channels, const la_tensor *t, const char *what);

/* A picture's bytes as a file, by the ending of its name; 1 or 3 channels. */
int la__encode(const char *path, int width, int height, int channels, const uint8_t *bytes, int quality);

/* ---- decoding in the background ---- */

typedef struct la_loader la_loader;

/* Threads that decode ahead: at most `ahead` pictures wait to be taken. */
int la__loader_open(la_loader **out, int threads, int ahead);

/* Stops the threads, after the pictures they are at; NULL is allowed. */
void la__loader_close(la_loader *loader);

/* Asks for a picture; what is wrong with it shows when it is taken. Never waits. */
int la__loader_submit(la_loader *loader, const char *path, const la_image_options *options);

/* How many were asked for and not yet taken. */
int64_t la__loader_pending(la_loader *loader);

/* The next one in the order of submission, as floats; waits for it. LA_EARG if there is none. */
int la__loader_take(la_picture *out, la_loader *loader);

/* The next one as a tensor (h, w, 3), float32. */
int la__loader_next(la_tensor **out, la_loader *loader, la_device *dev);

/* The next n as one tensor (n, h, w, 3). They are taken even if one of them is a failure, whose message it is then. */
int la__loader_batch(la_tensor **out, la_loader *loader, la_device *dev, int n);

#endif
