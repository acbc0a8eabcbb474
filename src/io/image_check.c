/* SPDX-License-Identifier: MIT
 *
 * image_check.c -- what stb_image does not look at, checked before it sees a file: that a file has its end, a PNG's
 * check sums, and that a JPEG's Huffman tables fit the room that it has for them.
 */
#include <string.h>

#include "io/picture.h"
#include "util/util.h"

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The check sum of PNG's chunks (ISO 3309), four bits at a time. */
static uint32_t crc32(const uint8_t *data, size_t n)
{
    static const uint32_t table[16] = { 0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

/* Chunks, each whole and with its check sum, up to IEND. */
int la__check_png(const uint8_t *data, size_t size, const char *path)
{
    size_t at = 8;
    for (;;) {
        if (size - at < 12 || big_endian(data + at) > size - at - 12)
            return la_fail(LA_EFORMAT, "%s: the PNG ends early, after %zu bytes", path, size);
        const size_t length = big_endian(data + at);
        const uint8_t *type = data + at + 4;
        if (crc32(type, length + 4) != big_endian(type + 4 + length))
            return la_fail(LA_EFORMAT, "%s: the PNG is damaged: wrong check sum of the chunk at byte %zu", path, at);
        if (memcmp(type, "IEND", 4) == 0)
            return 0;
        at += length + 12;
    }
}

/* A segment with Huffman tables: each has 16 counts, then as many symbols as they add up to, 256 at most. */
static bool tables_fit(const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t symbols = 0;
        if (n < 17)
            return false;
        for (int i = 1; i <= 16; i++)
            symbols += p[i];
        if (symbols > 256 || n - 17 < symbols)
            return false;
        p += 17 + symbols;
        n -= 17 + symbols;
    }
    return true;
}

/* Markers up to the end of the image. Between a scan's header and the next marker lie its data, in which 0xff is
 * followed by 0 or by a restart marker. */
int la__check_jpeg(const uint8_t *data, size_t size, const char *path)
{
    enum { DHT = 0xc4, RST0 = 0xd0, RST7 = 0xd7, EOI = 0xd9 };
    for (size_t at = 2; at < size;) {
        if (data[at++] != 0xff)
            continue;
        while (at < size && data[at] == 0xff)
            at++;
        if (at == size)
            break;
        const uint8_t marker = data[at++];
        if (marker == EOI)
            return 0;
        if (marker == 0 || (marker >= RST0 && marker <= RST7))
            continue;
        const size_t length = size - at < 2 ? 0 : (size_t)data[at] << 8 | data[at + 1];
        if (length > size - at)
            break;
        if (length < 2 || (marker == DHT && !tables_fit(data + at + 2, length - 2)))
            return la_fail(LA_EFORMAT, "%s: the JPEG is damaged: a segment of wrong length at byte %zu", path, at);
        at += length;
    }
    return la_fail(LA_EFORMAT, "%s: the JPEG ends early, after %zu bytes", path, size);
}
