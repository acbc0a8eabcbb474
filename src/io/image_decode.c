/* SPDX-License-Identifier: MIT
 *
 * image_decode.c -- picture files to bytes, by stb_image, which takes a file that ends early for a picture with a grey
 * or black part; that is an error here.
 */
#include <errno.h>
#include <stb/stb_image.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/picture.h"
#include "util/util.h"

enum { HEAD = 16 };                                  /* bytes that tell what a file is */
static const int64_t MOST_PIXELS = (int64_t)1 << 28; /* of one picture */

/* ---- what stb_image reads from ---- */

typedef struct source {
    const uint8_t *data;
    int size, at;
    const char *refill; /* stb_image's own buffer, known from its first read */
    bool beyond;        /* more was asked for than there is */
} source;

static int source_read(void *user, char *out, int size)
{
    source *s = user;
    const int left = s->size - s->at, n = left < size ? left : size;
    if (!s->refill)
        s->refill = out;
    /* a refill reads ahead and wants more only when it gets nothing; any other read needs all of it */
    if (n == 0 || (n < size && out != s->refill))
        s->beyond = true;
    memcpy(out, s->data + s->at, (size_t)n);
    memset(out + n, 0, (size_t)(size - n));
    s->at += n;
    return n;
}

static void source_skip(void *user, int n)
{
    source *s = user;
    const int64_t to = (int64_t)s->at + n;
    s->beyond = s->beyond || to > s->size;
    s->at = to < 0 ? 0 : to > s->size ? s->size : (int)to;
}

static int source_eof(void *user)
{
    const source *s = user;
    return s->at >= s->size;
}

/* ---- what is a picture ---- */

/* TGA files have no mark of their own, so there the name decides. */
static bool is_picture(const uint8_t *head, size_t n, const char *path)
{
    const size_t length = strlen(path);
    return (n >= 3 && memcmp(head, "\xff\xd8\xff", 3) == 0) || (n >= 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0) ||
           (n >= 2 && memcmp(head, "BM", 2) == 0) || (length > 4 && strcasecmp(path + length - 4, ".tga") == 0);
}

static int not_a_picture(const char *path, size_t bytes)
{
    if (bytes == 0)
        return la_fail(LA_EFORMAT, "%s: the file is empty", path);
    return la_fail(LA_EFORMAT, "%s: is not a picture (JPEG, PNG, BMP or TGA)", path);
}

/* ---- decoding ---- */

/* In place, since three channels never take more room: grey is repeated, alpha mixed with white. */
static int to_three_channels(uint8_t **pixels, size_t count, int channels)
{
    if (channels == 3)
        return 0;
    uint8_t *out = malloc(count * 3);
    if (!out)
        return la_fail(LA_ENOMEM, "out of memory for a picture of %zu pixels", count);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = *pixels + i * (size_t)channels;
        const unsigned alpha = channels == 4 ? p[3] : channels == 2 ? p[1] : 255;
        for (int k = 0; k < 3; k++) {
            const unsigned v = channels >= 3 ? p[k] : p[0];
            out[3 * i + (size_t)k] = (uint8_t)((v * alpha + 255 * (255 - alpha) + 127) / 255);
        }
    }
    free(*pixels);
    *pixels = out;
    return 0;
}

/* Deflate gives at most 1032 bytes for one, which are 8256 pixels of one bit; other formats give less. */
static int check_size(int width, int height, size_t bytes, const char *path)
{
    enum { MOST_A_BYTE = 8256 };
    if (width < 1 || height < 1 || (int64_t)width * height > MOST_PIXELS)
        return la_fail(LA_EFORMAT, "%s: the picture claims %d x %d pixels, at most %lld are taken", path, width, height,
                       (long long)MOST_PIXELS);
    if ((uint64_t)width * (uint64_t)height / MOST_A_BYTE > bytes)
        return la_fail(LA_EFORMAT, "%s: the picture ends early: %d x %d pixels in %zu bytes", path, width, height,
                       bytes);
    return 0;
}

static int decode_bytes(uint8_t **out, int *width, int *height, const uint8_t *data, size_t size, const char *path)
{
    static const stbi_io_callbacks calls = { source_read, source_skip, source_eof };
    int err = 0, channels;
    uint8_t *pixels = NULL;
    source s = { .data = data, .size = (int)size };
    if (!is_picture(data, size, path))
        return not_a_picture(path, size);
    if (size > INT32_MAX)
        return la_fail(LA_EFORMAT, "%s: the file is too large for a picture: %zu bytes", path, size);
    if (size > 0 && data[0] == 0x89)
        LA_TRY(la__check_png(data, size, path));
    else if (size > 0 && data[0] == 0xff)
        LA_TRY(la__check_jpeg(data, size, path));
    if (stbi_info_from_callbacks(&calls, &s, width, height, &channels))
        LA_TRY(check_size(*width, *height, size, path));
    s = (source){ .data = data, .size = (int)size };
    pixels = stbi_load_from_callbacks(&calls, &s, width, height, &channels, 0);
    if (s.beyond) {
        err = la_fail(LA_EFORMAT, "%s: the picture ends early, after %zu bytes", path, size);
        goto done;
    }
    if (!pixels) {
        err = la_fail(LA_EFORMAT, "%s: the picture is damaged or of a kind that is not known: %s", path,
                      stbi_failure_reason());
        goto done;
    }
    LA_TRY(to_three_channels(&pixels, (size_t)*width * (size_t)*height, channels));
    *out = pixels;
    pixels = NULL;
done:
    free(pixels);
    return err;
}

int la__decode(la_picture *out, const char *path, bool upright)
{
    void *data = NULL;
    size_t size = 0;
    int err = 0;
    *out = (la_picture){ 0 };
    LA_TRY(la__read_file(&data, &size, path));
    LA_TRY(decode_bytes(&out->bytes, &out->width, &out->height, data, size, path));
    if (upright)
        LA_TRY(la__turn_upright(out, la__exif_orientation(data, size)));
done:
    free(data);
    return err;
}

int la_image_info(int *width, int *height, const char *path)
{
    int err = 0, channels;
    uint8_t head[HEAD];
    FILE *f = fopen(path, "rb");
    *width = *height = 0;
    if (!f)
        return la_fail(LA_EIO, "%s: cannot be read: %s", path, strerror(errno));
    const size_t n = fread(head, 1, sizeof head, f);
    if (ferror(f)) {
        err = la_fail(LA_EIO, "%s: cannot be read: %s", path, strerror(errno));
        goto done;
    }
    rewind(f);
    if (!is_picture(head, n, path)) {
        err = not_a_picture(path, n);
        goto done;
    }
    if (!stbi_info_from_file(f, width, height, &channels)) {
        err = la_fail(LA_EFORMAT, "%s: the picture's head is damaged or ends early", path);
        goto done;
    }
    LA_TRY(check_size(*width, *height, SIZE_MAX, path));
done:
    fclose(f);
    return err;
}
