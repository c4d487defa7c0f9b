/* Tiles of a convolution: R rows of T vectors of outputs, all input channels of one block, a range of output channels.
 * Every output is one chain of multiply-adds in the order of (channel, kernel row, kernel column), however the work is
 * cut, so tile sizes, blocks, threads and batch sizes never change a bit.
 */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef float vec __attribute__((vector_size(4 * V), aligned(4 * V)));
enum { VB = 4 * V }; /* bytes of a vector */

INLINE vec splat(float v) {
#if V == 16
    return (vec){v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
#elif V == 8
    return (vec){v, v, v, v, v, v, v, v};
#else
    return (vec){v, v, v, v};
#endif
}

/* A NaN passes through, as in torch. */
INLINE vec clamp(vec value, vec low, vec high) {
#if defined(__AVX512F__) && V == 16
    return (vec)_mm512_min_ps((__m512)high, _mm512_max_ps((__m512)low, (__m512)value));
#elif defined(__AVX__) && V == 8
    return (vec)_mm256_min_ps((__m256)high, _mm256_max_ps((__m256)low, (__m256)value));
#elif defined(__SSE__) && V == 4
    return (vec)_mm_min_ps((__m128)high, _mm_max_ps((__m128)low, (__m128)value));
#else
    typedef int32_t ivec __attribute__((vector_size(4 * V)));
    ivec under = value < low, over = value > high;
    value = (vec)((under & (ivec)low) | (~under & (ivec)value));
    return (vec)((over & (ivec)high) | (~over & (ivec)value));
#endif
}

/* The activation of a tile's T outputs. */
INLINE void activate(const int T, const spb_op *op, vec *a) {
    /* volatile: read here each time; kept, they would take registers that the loops need */
    const vec low = splat(*(const volatile float *)&op->low), high = splat(*(const volatile float *)&op->high);
    UNROLL for (int t = 0; t < T; t++) a[t] = clamp(a[t], low, high);
}

/* The byte offset of vector t of a tile in an input that is read at stride S. */
#define XOFF(t, S) ((((t) / U) * (S) * U + (t) % U) * VB)

#include "ahead.h"
#include "curves.h"

INLINE void sparse_tile(const int R, const int T, const int S, const spb_op *op, int block, int c0, int c1,
                        const char *x, char *y, const char *r, spb_ahead *ahead) {
    const int32_t *starts = op->starts + (int64_t)block * (op->y.channels + 1);
    const int first = block == 0, last = block == op->blocks - 1;
    const int64_t xr = op->x.row * S, yr = op->y.row, yc = op->y.ch, rr = op->r.row, rc = op->r.ch;
    const spb_entry *entries = op->entries;
    for (int c = c0; c < c1; c++) {
        const spb_entry *p = entries + starts[c], *end = entries + starts[c + 1];
        ask_inputs(op, ahead);
        if (p == end && !first && !last) continue;
        char *out = y + c * yc;
        if (c + AHEAD < c1) UNROLL for (int i = 0; i < R; i++) {
            if (first && r != y) ask_outputs(out + AHEAD * yc + i * yr, T);
            if (first && r) ask_residuals(r + (c + AHEAD) * rc + i * rr, T);
        }
        vec a[2][14]; /* of fixed size, so that what is used of it stays in registers */
        if (first) {
            vec b = splat(op->bias[c]);
            UNROLL for (int i = 0; i < R; i++)
                UNROLL for (int t = 0; t < T; t++) a[i][t] = b;
            if (r) {
                const char *add = r + c * rc;
                UNROLL for (int i = 0; i < R; i++)
                    UNROLL for (int t = 0; t < T; t++) a[i][t] += *(const vec *)(add + i * rr + t * VB);
            }
        } else {
            UNROLL for (int i = 0; i < R; i++)
                UNROLL for (int t = 0; t < T; t++) a[i][t] = *(const vec *)(out + i * yr + t * VB);
        }
        for (; p < end; p++) {
            const char *in = x + p->offset;
            const vec w = splat(p->value);
            UNROLL for (int i = 0; i < R; i++)
                UNROLL for (int t = 0; t < T; t++) a[i][t] += w * *(const vec *)(in + i * xr + XOFF(t, S));
        }
        if (last) UNROLL for (int i = 0; i < R; i++) activate(T, op, a[i]);
        UNROLL for (int i = 0; i < R; i++)
            UNROLL for (int t = 0; t < T; t++) *(vec *)(out + i * yr + t * VB) = a[i][t];
        if (last && op->curve)
            for (int i = 0; i < R; i++) finish(op, out + i * yr, T);
    }
}

/* Where a chain starts: the bias, and what is added to the layer. */
INLINE vec start(float bias, const char *residual) {
    return residual ? splat(bias) + *(const vec *)residual : splat(bias);
}

/* Dense: SPB_GROUP output channels share each input that is loaded. */
INLINE void dense_tile(const int T, const int S, const spb_op *op, int block, int g0, int g1, const char *x, char *y,
                       const char *r, spb_ahead *ahead) {
    enum { M = SPB_GROUP };
    const int first = block == 0, last = block == op->blocks - 1;
    const int k0 = op->starts[block], k1 = op->starts[block + 1];
    for (int g = g0; g < g1; g++) {
        const int valid = op->y.channels - g * M < M ? op->y.channels - g * M : M;
        const float *w = op->weights + ((int64_t)g * op->inputs + k0) * M;
        char *out = y + (int64_t)g * M * op->y.ch;
        ask_inputs(op, ahead);
        const char *add = r ? r + (int64_t)g * M * op->r.ch : 0;
        if (first && r != y) UNROLL for (int m = 0; m < M; m++) ask_outputs(out + m * op->y.ch, T);
        if (first && r) { /* the next group's, or the next tile's of this one */
            const char *next = g + 1 < g1 ? add + M * op->r.ch : add + T * VB;
            UNROLL for (int m = 0; m < M; m++) ask_residuals(next + m * op->r.ch, T);
        }
        vec a[M][4];
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int t = 0; t < T; t++)
                a[m][t] = m >= valid ? splat(0)
                          : first    ? start(op->bias[g * M + m], add ? add + m * op->r.ch + t * VB : 0)
                                     : *(const vec *)(out + m * op->y.ch + t * VB);
        for (int k = k0; k < k1; k++, w += M) {
            const char *in = x + op->offsets[k];
            vec v[4];
            UNROLL for (int t = 0; t < T; t++) v[t] = *(const vec *)(in + XOFF(t, S));
            UNROLL for (int m = 0; m < M; m++) {
                const vec b = splat(w[m]);
                UNROLL for (int t = 0; t < T; t++) a[m][t] += b * v[t];
            }
        }
        UNROLL for (int m = 0; m < M; m++) {
            if (m >= valid) continue;
            if (last) activate(T, op, a[m]);
            UNROLL for (int t = 0; t < T; t++) *(vec *)(out + m * op->y.ch + t * VB) = a[m][t];
            if (last && op->curve) finish(op, out + m * op->y.ch, T);
        }
    }
}
