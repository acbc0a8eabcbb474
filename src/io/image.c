/* SPDX-License-Identifier: MIT
 *
 * image.c -- pictures: decode, crop, mirror, resize; and back into files.
 */
#include <stb/stb_image_write.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/picture.h"
#include "tensor/tensor.h"
#include "util/util.h"

enum { MOST_SIDE = 32768 }; /* that a picture is resized to */

void la__picture_free(la_picture *p)
{
    free(p->bytes);
    free(p->floats);
    *p = (la_picture){ 0 };
}

int la__picture_to_float(la_picture *p)
{
    if (!p->bytes)
        return 0;
    const size_t n = (size_t)p->height * (size_t)p->width * 3;
    p->floats = la__calloc(n, sizeof *p->floats);
    if (!p->floats)
        return LA_ENOMEM;
    for (size_t i = 0; i < n; i++)
        p->floats[i] = p->bytes[i];
    free(p->bytes);
    p->bytes = NULL;
    return 0;
}

/* Keeps a window of the picture, in place. */
static int crop(la_picture *p, const la_image_options *o, const char *path)
{
    if (o->top < 0 || o->left < 0 || o->top >= o->bottom || o->left >= o->right || o->bottom > p->height ||
        o->right > p->width)
        return la_fail(LA_EARG, "%s: crop must lie within %d x %d pixels, got rows %d to %d, columns %d to %d", path,
                       p->width, p->height, o->top, o->bottom, o->left, o->right);
    const int height = o->bottom - o->top, width = o->right - o->left;
    for (int y = 0; y < height; y++)
        memmove(p->bytes + (size_t)y * (size_t)width * 3,
                p->bytes + ((size_t)(o->top + y) * (size_t)p->width + (size_t)o->left) * 3, (size_t)width * 3);
    p->height = height;
    p->width = width;
    return 0;
}

static void mirror(la_picture *p)
{
    for (int y = 0; y < p->height; y++) {
        uint8_t *left = p->bytes + (size_t)y * (size_t)p->width * 3, *right = left + ((size_t)p->width - 1) * 3;
        for (; left < right; left += 3, right -= 3) {
            uint8_t pixel[3];
            memcpy(pixel, left, 3);
            memcpy(left, right, 3);
            memcpy(right, pixel, 3);
        }
    }
}

static int resize(la_picture *p, const la_image_options *o)
{
    int err = 0;
    if (o->height < 1 || o->width < 1 || o->height > MOST_SIDE || o->width > MOST_SIDE)
        return la_fail(LA_EARG, "image: size must be between 1 and %d, got %d and %d", MOST_SIDE, o->height, o->width);
    p->floats = la__calloc((size_t)o->height * (size_t)o->width * 3, sizeof *p->floats);
    if (!p->floats)
        return LA_ENOMEM;
    if (o->antialias)
        LA_TRY(la__resample_antialiased(p->floats, o->height, o->width, p->bytes, p->height, p->width));
    else
        la__resample_aligned(p->floats, o->height, o->width, p->bytes, p->height, p->width);
    free(p->bytes);
    p->bytes = NULL;
    p->height = o->height;
    p->width = o->width;
done:
    return err;
}

int la__picture_load(la_picture *out, const char *path, const la_image_options *options)
{
    int err = 0;
    const la_image_options o = options ? *options : (la_image_options){ 0 };
    *out = (la_picture){ 0 };
    LA_TRY(la__decode(out, path, o.upright));
    if (o.crop)
        LA_TRY(crop(out, &o, path));
    if (o.flip)
        mirror(out);
    if (o.height || o.width)
        LA_TRY(resize(out, &o));
done:
    if (err)
        la__picture_free(out);
    return err;
}

int la_image_load(la_tensor **out, la_device *dev, const char *path, const la_image_options *options)
{
    int err = 0;
    la_picture p;
    *out = NULL;
    LA_TRY(la__picture_load(&p, path, options));
    const void *data = p.floats ? (const void *)p.floats : p.bytes;
    LA_TRY(la_tensor_from(out, dev, p.floats ? LA_F32 : LA_U8, LA_DIMS(p.height, p.width, 3), data));
done:
    la__picture_free(&p);
    return err;
}

/* ---- writing ---- */

typedef struct text {
    uint8_t *data;
    size_t size, room;
    bool failed;
} text;

static void collect(void *user, void *data, int n)
{
    text *t = user;
    const size_t more = (size_t)n;
    if (t->failed)
        return;
    if (t->room - t->size < more) {
        const size_t room = 2 * (t->room + more);
        uint8_t *grown = realloc(t->data, room);
        if (!grown) {
            t->failed = true;
            return;
        }
        t->data = grown;
        t->room = room;
    }
    memcpy(t->data + t->size, data, more);
    t->size += more;
}

int la__encode(const char *path, int width, int height, int channels, const uint8_t *bytes, int quality)
{
    int err = 0, ok;
    text t = { 0 };
    const char *ending = strrchr(path, '.');
    if (quality < 1 || quality > 100)
        return la_fail(LA_EARG, "%s: quality must be between 1 and 100, got %d", path, quality);
    if (ending && strcasecmp(ending, ".png") == 0)
        ok = stbi_write_png_to_func(collect, &t, width, height, channels, bytes, width * channels);
    else if (ending && (strcasecmp(ending, ".jpg") == 0 || strcasecmp(ending, ".jpeg") == 0))
        ok = stbi_write_jpg_to_func(collect, &t, width, height, channels, bytes, quality);
    else if (ending && strcasecmp(ending, ".bmp") == 0)
        ok = stbi_write_bmp_to_func(collect, &t, width, height, channels, bytes);
    else
        return la_fail(LA_EARG, "%s: the name must end in .png, .jpg, .jpeg or .bmp", path);
    if (!ok || t.failed) {
        err = la_fail(LA_ENOMEM, "%s: out of memory for the file of %d x %d pixels", path, width, height);
        goto done;
    }
    LA_TRY(la__write_file(path, t.data, t.size));
done:
    free(t.data);
    return err;
}

/* Elements to bytes, rounded and clamped; NaN is black. */
static void to_bytes(uint8_t *out, const void *data, int64_t n, la_dtype dtype)
{
    for (int64_t i = 0; i < n; i++) {
        const double v = dtype == LA_F32   ? (double)((const float *)data)[i]
                         : dtype == LA_I32 ? (double)((const int32_t *)data)[i]
                                           : (double)((const uint8_t *)data)[i];
        out[i] = (uint8_t)(v >= 255.0 ? 255.0 : v > 0.0 ? v + 0.5 : 0.0);
    }
}

int la__picture_bytes(uint8_t **out, int *height, int *width, int *channels, const la_tensor *t, const char *what)
{
    int err = 0;
    char shape[LA_SHAPE_TEXT];
    const int skip = t->ndim == 4 && t->dim[0] == 1 ? 1 : 0, ndim = t->ndim - skip;
    const int64_t h = ndim >= 2 ? t->dim[skip] : 0, w = ndim >= 2 ? t->dim[skip + 1] : 0;
    const int64_t c = ndim == 3 ? t->dim[skip + 2] : 1, n = la_tensor_numel(t);
    void *data = NULL;
    *out = NULL;
    if ((ndim != 2 && ndim != 3) || (c != 1 && c != 3) || h < 1 || w < 1 || h > MOST_SIDE || w > MOST_SIDE)
        return la_fail(LA_ESHAPE, "%s: the picture must be (H, W, 3), (H, W, 1) or (H, W) of at most %d a side, got %s",
                       what, MOST_SIDE, la__shape(t, shape));
    data = la__calloc((size_t)n, la_dtype_size(t->dtype));
    *out = la__calloc((size_t)n, 1);
    if (!data || !*out) {
        err = LA_ENOMEM;
        goto done;
    }
    LA_TRY(la_tensor_read(t, data));
    to_bytes(*out, data, n, t->dtype);
    *height = (int)h;
    *width = (int)w;
    *channels = (int)c;
done:
    free(data);
    if (err) {
        free(*out);
        *out = NULL;
    }
    return err;
}

int la_image_save(const la_tensor *t, const char *path, int quality)
{
    int err = 0, height = 0, width = 0, channels = 0;
    uint8_t *bytes = NULL;
    LA_TRY(la__picture_bytes(&bytes, &height, &width, &channels, t, "image_save"));
    LA_TRY(la__encode(path, width, height, channels, bytes, quality));
done:
    free(bytes);
    return err;
}
