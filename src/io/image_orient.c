/* SPDX-License-Identifier: MIT
 *
 * image_orient.c -- which way up a photograph is. Cameras store pixels as the sensor reads them and note in the EXIF
 * data of the JPEG (segment APP1, a TIFF header with tags) how they are to be turned for looking at: tag 0x0112,
 * EXIF 2.3, section 4.6.4.
 */
#include <stdlib.h>
#include <string.h>

#include "io/picture.h"
#include "util/util.h"

static unsigned number16(const uint8_t *p, bool little)
{
    return little ? (unsigned)p[1] << 8 | p[0] : (unsigned)p[0] << 8 | p[1];
}

static uint32_t number32(const uint8_t *p, bool little)
{
    const uint32_t a = number16(p, little), b = number16(p + 2, little);
    return little ? b << 16 | a : a << 16 | b;
}

/* The tag in the first directory of a TIFF block of n bytes; 1 where there is none. */
static int tiff_orientation(const uint8_t *tiff, size_t n)
{
    enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 };
    if (n < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    const bool little = tiff[0] == 'I';
    const size_t at = number32(tiff + 4, little);
    if (at > n - 2)
        return 1;
    const size_t count = number16(tiff + at, little), room = (n - at - 2) / ENTRY;
    for (size_t i = 0; i < count && i < room; i++) {
        const uint8_t *entry = tiff + at + 2 + i * ENTRY;
        if (number16(entry, little) == ORIENTATION && number16(entry + 2, little) == SHORT) {
            const unsigned v = number16(entry + 8, little);
            return v >= 1 && v <= 8 ? (int)v : 1;
        }
    }
    return 1;
}

int la__exif_orientation(const uint8_t *data, size_t size)
{
    enum { APP1 = 0xe1, START_OF_SCAN = 0xda };
    static const char exif[6] = "Exif\0";
    if (size < 2 || data[0] != 0xff || data[1] != 0xd8)
        return 1;
    /* segments follow each other without a gap up to the picture's data */
    for (size_t at = 2; size - at >= 4 && data[at] == 0xff && data[at + 1] != START_OF_SCAN;) {
        const size_t length = number16(data + at + 2, false);
        if (length < 2 || length > size - at - 2)
            return 1;
        if (data[at + 1] == APP1 && length >= 2 + sizeof exif && memcmp(data + at + 4, exif, sizeof exif) == 0)
            return tiff_orientation(data + at + 4 + sizeof exif, length - 2 - sizeof exif);
        at += 2 + length;
    }
    return 1;
}

/* Where pixel (y, x) of the upright picture is stored in one of W columns and H rows. EXIF names the side on which the
 * stored row 0 and column 0 are seen: 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top,
 * 7 right bottom, 8 left bottom. */
static size_t stored_at(int orientation, int H, int W, int y, int x)
{
    const bool swapped = orientation >= 5;
    int row = swapped ? x : y, column = swapped ? y : x;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        row = H - 1 - row;
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        column = W - 1 - column;
    return ((size_t)row * (size_t)W + (size_t)column) * 3;
}

int la__turn_upright(la_picture *p, int orientation)
{
    if (orientation == 1)
        return 0;
    const int H = p->height, W = p->width, h = orientation >= 5 ? W : H, w = orientation >= 5 ? H : W;
    uint8_t *out = la__calloc((size_t)h * (size_t)w, 3);
    if (!out)
        return LA_ENOMEM;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            memcpy(out + ((size_t)y * (size_t)w + (size_t)x) * 3, p->bytes + stored_at(orientation, H, W, y, x), 3);
    free(p->bytes);
    *p = (la_picture){ .height = h, .width = w, .bytes = out };
    return 0;
}
