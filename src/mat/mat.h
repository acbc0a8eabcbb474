/* SPDX-License-Identifier: MIT
 *
 * mat.h -- what the files of the module lualign.mat share.
 */
#ifndef LA_MAT_H
#define LA_MAT_H

#include <stdio.h>

/* Writes all variables of a .mat file as a stream of tagged values, which lua/lualign/io/mat.lua reads:
 *
 *   '#' name value ...   for each variable, then '.'; where something is wrong it ends anywhere with a message, the
 *                        number of its bytes (u32) and '!'
 *   value = 'N' class u8, logical u8, complex u8, shape, elements in row-major order (twice if complex)
 *         | 'S' rows u64, a text for each                  'C' shape, values in MATLAB's order
 *         | 'T' shape, fields u64, their names, the fields of each element in MATLAB's order
 *         | 'U' a text: a class that is not read
 *   shape = rank u8, sizes u64                             text, name = bytes u64, the bytes
 *
 * All of it in this machine's byte order. May crash, loop or ask for all memory if the file is made to do so: libmatio
 * trusts much of what it reads. */
void la__mat_dump(FILE *out, const char *path);

/* What is wrong with the lengths and checksums in a file of version 5; NULL if nothing is, or the version is another.
 */
const char *la__mat_check(const char *path);

#endif
