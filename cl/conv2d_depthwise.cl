// SPDX-License-Identifier: MIT
//
// conv2d_depthwise.cl -- the depthwise sweep (see conv2d_sweep.cl) on CPUs. A work-item makes a row of positions, all
// channels (16 at least), so that memory is read and written in order. MANY positions and 32 channels stay in
// registers; where those do not divide the row, the last ones are made twice. The weights come from
// conv2d_pack_depthwise.
#include "common.clh"

#define UNROLL _Pragma("unroll")
#define MANY 5  // positions at once
#define TAPS 49 // of a kernel, at most

// The same as la_sweep of src/ops/conv2d.h.
typedef struct {
    int rows, ph, pw;                   // positions in all, and per image
    int h, w, pitch, run;               // source: pixels, floats from pixel to pixel, floats read per tap
    int th, tw, sh, sw, oh, ow, dh, dw; // taps; steps of positions, first tap, steps of taps, in source pixels
    int yh, yw, ysh, ysw, yoh, yow;     // destination: pixels, step and offset of positions in it
    int ypitch, cols;                   // floats from pixel to pixel, floats written per group
    int clears;
    int panels_first;
} sweep;

#define ARGUMENTS                                                                                         \
    (__global float *restrict y, __global const float *restrict x, __global const float *restrict packed, \
     __global const float *restrict residual, const sweep s, const after e)

// What the bodies below share: where the results go, and the channels in blocks, the last one shifted back.
#define INTO(q) (((n * s.yh + ph * s.ysh + s.yoh) * s.yw + (q)*s.ysw + s.yow) * s.pitch)
#define CHANNELS(BODY)                             \
    if (s.pitch < 32) {                            \
        for (int c0 = 0; c0 < s.pitch; c0 += 16) { \
            const int c = min(c0, s.pitch - 16);   \
            BODY(1)                                \
        }                                          \
    } else {                                       \
        for (int c0 = 0; c0 < s.pitch; c0 += 32) { \
            const int c = min(c0, s.pitch - 32);   \
            BODY(2)                                \
        }                                          \
    }
#define BEGIN(NB)          \
    float16 acc[MANY][NB]; \
    UNROLL for (int q = 0; q < MANY; q++) UNROLL for (int b = 0; b < NB; b++) acc[q][b] = vload16(b, shift + c);
#define FINISH(NB)                                                                                 \
    UNROLL for (int q = 0; q < MANY; q++) UNROLL for (int b = 0; b < NB; b++)                      \
    {                                                                                              \
        const float16 z = e.residual ? acc[q][b] + vload16(b, residual + into[q] + c) : acc[q][b]; \
        vstore16(BOUND(z, (float16)e.low, (float16)e.high), b, y + into[q] + c);                   \
    }

#ifdef K
#define WIDE ((MANY - 1) * S + K) // pixels of a row that MANY positions meet

// at[i][column] are the pixels of a row, of[i] its weights. Compilers see that taps share pixels, and read each once.
#define TAP(J, NB)                                                                       \
    {                                                                                    \
        float16 wv[NB];                                                                  \
        UNROLL for (int b = 0; b < NB; b++) wv[b] = vload16(b, of[i] + J * s.pitch + c); \
        UNROLL for (int q = 0; q < MANY; q++) UNROLL for (int b = 0; b < NB; b++)        \
            acc[q][b] = fma(vload16(b, at[i][q * S + J] + c), wv[b], acc[q][b]);         \
    }
#if K == 5
#define MORE_TAPS(NB) TAP(3, NB) TAP(4, NB)
#else
#define MORE_TAPS(NB)
#endif
#define NEIGHBOURS(NB)                    \
    {                                     \
        BEGIN(NB)                         \
        for (int i = 0; i < count; i++) { \
            TAP(0, NB)                    \
            TAP(1, NB)                    \
            TAP(2, NB)                    \
            MORE_TAPS(NB)                 \
        }                                 \
        FINISH(NB)                        \
    }

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_depthwise ARGUMENTS
{
    const int line = (int)get_global_id(0), n = line / s.ph, ph = line - n * s.ph;
    __global const float *shift = packed + K * K * s.pitch, *zero = shift + s.pitch;
    __global const float *at[K][WIDE], *of[K];
    int into[MANY];

    for (int begin = 0; begin < s.pw; begin += MANY) {
        const int p0 = min(begin, s.pw - MANY);
        int count = 0;
        for (int q = 0; q < MANY; q++)
            into[q] = INTO(p0 + q);
        for (int i = 0; i < K; i++) {
            const int row = ph * s.sh + s.oh + i * s.dh;
            if (row < 0 || row >= s.h)
                continue;
            of[count] = packed + i * K * s.pitch;
            for (int k = 0; k < WIDE; k++) {
                const int column = p0 * S + s.ow + k;
                at[count][k] = (uint)column < (uint)s.w ? x + ((n * s.h + row) * s.w + column) * s.pitch : zero;
            }
            count++;
        }
        CHANNELS(NEIGHBOURS)
    }
}
#else
// Any kernel: at[k][q] is the pixel that tap k of position q reads, of[k] its weights.
#define ANY(NB)                                                                       \
    {                                                                                 \
        BEGIN(NB)                                                                     \
        for (int k = 0; k < count; k++) {                                             \
            float16 wv[NB];                                                           \
            UNROLL for (int b = 0; b < NB; b++) wv[b] = vload16(b, of[k] + c);        \
            UNROLL for (int q = 0; q < MANY; q++) UNROLL for (int b = 0; b < NB; b++) \
                acc[q][b] = fma(vload16(b, at[k][q] + c), wv[b], acc[q][b]);          \
        }                                                                             \
        FINISH(NB)                                                                    \
    }

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv2d_depthwise ARGUMENTS
{
    const int line = (int)get_global_id(0), n = line / s.ph, ph = line - n * s.ph;
    __global const float *shift = packed + s.th * s.tw * s.pitch, *zero = shift + s.pitch;
    __global const float *at[TAPS][MANY], *of[TAPS];
    int into[MANY];

    for (int p0 = 0; p0 < s.pw; p0 += MANY) {
        int count = 0;
        for (int q = 0; q < MANY; q++)
            into[q] = INTO(min(p0 + q, s.pw - 1));
        for (int i = 0; i < s.th; i++) {
            const int row = ph * s.sh + s.oh + i * s.dh;
            if (row < 0 || row >= s.h)
                continue;
            for (int j = 0; j < s.tw; j++, count++) {
                of[count] = packed + (i * s.tw + j) * s.pitch;
                for (int q = 0; q < MANY; q++) {
                    const int column = min(p0 + q, s.pw - 1) * s.sw + s.ow + j * s.dw;
                    at[count][q] = (uint)column < (uint)s.w ? x + ((n * s.h + row) * s.w + column) * s.pitch : zero;
                }
            }
        }
        CHANNELS(ANY)
    }
}
#endif
