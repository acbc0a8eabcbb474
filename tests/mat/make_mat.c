/* SPDX-License-Identifier: MIT
 *
 * make_mat.c -- make_mat FILE 5|5z|7.3: one of everything, written by libmatio, for tests/lua/mat_spec.lua.
 */
#include <matio.h>
#include <stdint.h>
#include <string.h>

static matvar_t *numbers(const char *name, size_t rows, size_t columns)
{
    double v[64];
    for (size_t i = 0; i < rows * columns; i++)
        v[i] = 0.5 + (double)i;
    return Mat_VarCreate(name, MAT_C_DOUBLE, MAT_T_DOUBLE, 2, (size_t[]){ rows, columns }, v, 0);
}

static matvar_t *text(const char *name, const char *chars)
{
    return Mat_VarCreate(name, MAT_C_CHAR, MAT_T_UTF8, 2, (size_t[]){ 1, strlen(chars) }, (char *)(uintptr_t)chars, 0);
}

static void put(mat_t *mat, matvar_t *v, int how)
{
    Mat_VarWrite(mat, v, how ? MAT_COMPRESSION_ZLIB : MAT_COMPRESSION_NONE);
    Mat_VarFree(v);
}

static void put_all(mat_t *mat, int how)
{
    const char *fields[] = { "name", "points" };
    size_t one[] = { 1, 1 }, pair[] = { 1, 2 }, cube[] = { 2, 3, 2 };
    int16_t small[12];
    uint8_t bits[] = { 1, 0, 1, 1 };
    float re[] = { 1, 2, 3 }, im[] = { -1, -2, -3 };
    mat_complex_split_t both = { re, im };

    for (int i = 0; i < 12; i++)
        small[i] = (int16_t)(i - 3);
    put(mat, numbers("matrix", 3, 2), how);
    put(mat, numbers("number", 1, 1), how);
    put(mat, numbers("empty", 0, 2), how);
    put(mat, text("text", "a word"), how);
    put(mat, Mat_VarCreate("cube", MAT_C_INT16, MAT_T_INT16, 3, cube, small, 0), how);
    put(mat, Mat_VarCreate("bits", MAT_C_UINT8, MAT_T_UINT8, 2, (size_t[]){ 2, 2 }, bits, MAT_F_LOGICAL), how);
    put(mat, Mat_VarCreate("complex", MAT_C_SINGLE, MAT_T_SINGLE, 2, (size_t[]){ 1, 3 }, &both, MAT_F_COMPLEX), how);
    matvar_t *cells = Mat_VarCreate("cells", MAT_C_CELL, MAT_T_CELL, 2, pair, NULL, 0);
    Mat_VarSetCell(cells, 0, text(NULL, "one"));
    Mat_VarSetCell(cells, 1, numbers(NULL, 2, 2));
    put(mat, cells, how);
    matvar_t *thing = Mat_VarCreateStruct("thing", 2, one, fields, 2);
    Mat_VarSetStructFieldByName(thing, "name", 0, text(NULL, "car"));
    Mat_VarSetStructFieldByName(thing, "points", 0, numbers(NULL, 2, 3));
    put(mat, thing, how);
    matvar_t *things = Mat_VarCreateStruct("things", 2, pair, fields, 2);
    for (size_t i = 0; i < 2; i++) {
        Mat_VarSetStructFieldByName(things, "name", i, text(NULL, i ? "right" : "left"));
        Mat_VarSetStructFieldByName(things, "points", i, numbers(NULL, 1, 1 + i));
    }
    put(mat, things, how);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    mat_t *mat = Mat_CreateVer(argv[1], NULL, argv[2][0] == '7' ? MAT_FT_MAT73 : MAT_FT_MAT5);
    if (!mat)
        return 77; /* this libmatio has no HDF5 */
    put_all(mat, argv[2][1] == 'z');
    return Mat_Close(mat) != 0;
}
