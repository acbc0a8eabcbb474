/* SPDX-License-Identifier: MIT
 *
 * stb.c -- the bodies of stb_image and stb_image_write, with the formats that pictures come in and no others. Memory is
 * zeroed, since a JPEG may use tables that it never sets.
 */
#include <stdlib.h>

#define STBI_MALLOC(bytes) calloc(1, bytes)
#define STBI_REALLOC realloc
#define STBI_FREE free
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_TGA
#define STBI_NO_LINEAR
#include <stb/stb_image.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>
