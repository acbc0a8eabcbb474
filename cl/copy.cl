// copy.cl -- fill, strided copy with conversion, accumulate.
#include "common.clh"

// A strided walk over n = dim[0] * ... elements: element offsets of destination and source.
typedef struct walk {
    int ndim;
    int dim[6];
    int to[6];
    int from[6];
    int to_offset;
    int from_offset;
} walk;

// float to integer saturates and truncates towards zero; NaN becomes 0, as OpenCL's convert_*_sat says.
#define AS_float(x) ((float)(x))
#define AS_int(x) convert_int_sat_rtz(x)
#define AS_uchar(x) convert_uchar_sat_rtz(x)
#define INT_AS_int(x) (x)
#define INT_AS_uchar(x) convert_uchar_sat(x)
#define INT_AS_float(x) ((float)(x))

// rows of the last dimension, one work-item each
#define COPY(D, S, CONVERT)                                                                                            \
    kernel void copy_##D##_##S(global D *to, global const S *from, const walk w, const int rows)                       \
    {                                                                                                                  \
        const int row = get_global_id(0);                                                                              \
        if (row >= rows)                                                                                               \
            return;                                                                                                    \
        int rest = row, t = w.to_offset, f = w.from_offset;                                                            \
        for (int d = w.ndim - 2; d >= 0; d--) {                                                                        \
            const int i = rest % w.dim[d];                                                                             \
            rest /= w.dim[d];                                                                                          \
            t += i * w.to[d];                                                                                          \
            f += i * w.from[d];                                                                                        \
        }                                                                                                              \
        const int n = w.dim[w.ndim - 1], ts = w.to[w.ndim - 1], fs = w.from[w.ndim - 1];                               \
        if (ts == 1 && fs == 1)                                                                                        \
            for (int i = 0; i < n; i++)                                                                                \
                to[t + i] = CONVERT(from[f + i]);                                                                      \
        else                                                                                                           \
            for (int i = 0; i < n; i++)                                                                                \
                to[t + i * ts] = CONVERT(from[f + i * fs]);                                                            \
    }                                                                                                                  \
    kernel void copy_flat_##D##_##S(global D *to, global const S *from, const int n, const int t, const int f)         \
    {                                                                                                                  \
        const int i = get_global_id(0);                                                                                \
        if (i < n)                                                                                                     \
            to[t + i] = CONVERT(from[f + i]);                                                                          \
    }

COPY(float, float, AS_float)
COPY(int, float, AS_int)
COPY(uchar, float, AS_uchar)
COPY(float, int, INT_AS_float)
COPY(int, int, INT_AS_int)
COPY(uchar, int, INT_AS_uchar)
COPY(float, uchar, INT_AS_float)
COPY(int, uchar, INT_AS_int)
COPY(uchar, uchar, INT_AS_uchar)

// to: any view; every element becomes v
#define FILL(D)                                                                                                        \
    kernel void fill_##D(global D *to, const walk w, const int rows, const D v)                                        \
    {                                                                                                                  \
        const int row = get_global_id(0);                                                                              \
        if (row >= rows)                                                                                               \
            return;                                                                                                    \
        int rest = row, t = w.to_offset;                                                                               \
        for (int d = w.ndim - 2; d >= 0; d--) {                                                                        \
            t += rest % w.dim[d] * w.to[d];                                                                            \
            rest /= w.dim[d];                                                                                          \
        }                                                                                                              \
        for (int i = 0; i < w.dim[w.ndim - 1]; i++)                                                                    \
            to[t + i * w.to[w.ndim - 1]] = v;                                                                          \
    }                                                                                                                  \
    kernel void fill_flat_##D(global D *to, const int n, const int t, const D v)                                       \
    {                                                                                                                  \
        const int i = get_global_id(0);                                                                                \
        if (i < n)                                                                                                     \
            to[t + i] = v;                                                                                             \
    }

FILL(float)
FILL(int)
FILL(uchar)

// to += alpha * from, both dense
kernel void accumulate(global float *to, global const float *from, const int n, const float alpha)
{
    const int i = get_global_id(0);
    if (i < n)
        to[i] += alpha * from[i];
}
