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

/* The byte offset of vector t of a tile in an input that is read at stride S. */
#define XOFF(t, S) ((((t) / U) * (S) * U + (t) % U) * VB)

/* What is asked for early, while a tile is computed, so that it has come when it is needed: the next tile's inputs, into
 * the second cache, a share of their channels with each output channel; and the outputs and residuals of the output
 * channels a few ahead.
 */
typedef struct {
    const char *x;    /* the next tile's new inputs; NULL: nothing */
    int rows, lines;  /* of each channel */
    int64_t row, step; /* bytes from one to the next */
    int done, total;  /* of the shares: one for each output channel (or group of them) and block */
} spb_ahead;

enum { AHEAD = 2 }; /* output channels */

INLINE void ask_inputs(const spb_op *op, spb_ahead *a) {
    if (!a->x) return;
    const int64_t channels = op->x.channels;
    const int k0 = channels * a->done / a->total, k1 = channels * (a->done + 1) / a->total;
    a->done++;
    for (int k = k0; k < k1; k++)
        for (int i = 0; i < a->rows; i++) {
            const char *at = a->x + i * a->row + k * op->x.ch;
            for (int l = 0; l < a->lines; l++) __builtin_prefetch(at + l * a->step, 0, 2);
        }
}

INLINE void ask_line(const char *at, const int T, int write) {
    UNROLL for (int t = 0; t < T; t += (VB < 64 ? 64 / VB : 1))
        if (write)
            __builtin_prefetch(at + t * VB, 1, 3);
        else
            __builtin_prefetch(at + t * VB, 0, 3);
}

INLINE void sparse_tile(const int R, const int T, const int S, const spb_op *op, int block, int c0, int c1,
                        const char *x, char *y, const char *r, spb_ahead *ahead) {
    const int32_t *starts = op->starts + (int64_t)block * (op->y.channels + 1);
    const int first = block == 0, last = block == op->blocks - 1;
    const int64_t xr = op->x.row * S, yr = op->y.row, yc = op->y.ch, rr = op->r.row, rc = op->r.ch;
    const spb_entry *entries = op->entries;
    const vec low = splat(op->low), high = splat(op->high);
    for (int c = c0; c < c1; c++) {
        const spb_entry *p = entries + starts[c], *end = entries + starts[c + 1];
        ask_inputs(op, ahead);
        if (p == end && !first && !last) continue;
        char *out = y + c * yc;
        if (first && c + AHEAD < c1) UNROLL for (int i = 0; i < R; i++) ask_line(out + AHEAD * yc + i * yr, T, 1);
        if (last && r && c + AHEAD < c1)
            UNROLL for (int i = 0; i < R; i++) ask_line(r + (c + AHEAD) * rc + i * rr, T, 0);
        vec a[2][14]; /* of fixed size, so that what is used of it stays in registers */
        if (first) {
            vec b = splat(op->bias[c]);
            UNROLL for (int i = 0; i < R; i++)
                UNROLL for (int t = 0; t < T; t++) a[i][t] = b;
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
        if (last) {
            if (r) {
                const char *add = r + c * rc;
                UNROLL for (int i = 0; i < R; i++)
                    UNROLL for (int t = 0; t < T; t++) a[i][t] += *(const vec *)(add + i * rr + t * VB);
            }
            UNROLL for (int i = 0; i < R; i++)
                UNROLL for (int t = 0; t < T; t++) a[i][t] = clamp(a[i][t], low, high);
        }
        UNROLL for (int i = 0; i < R; i++)
            UNROLL for (int t = 0; t < T; t++) *(vec *)(out + i * yr + t * VB) = a[i][t];
    }
}

/* Dense: SPB_GROUP output channels share each input that is loaded. */
INLINE void dense_tile(const int T, const int S, const spb_op *op, int block, int g0, int g1, const char *x, char *y,
                       const char *r, spb_ahead *ahead) {
    enum { M = SPB_GROUP };
    const int first = block == 0, last = block == op->blocks - 1;
    const int k0 = op->starts[block], k1 = op->starts[block + 1];
    const vec low = splat(op->low), high = splat(op->high);
    for (int g = g0; g < g1; g++) {
        const int valid = op->y.channels - g * M < M ? op->y.channels - g * M : M;
        const float *w = op->weights + ((int64_t)g * op->inputs + k0) * M;
        char *out = y + (int64_t)g * M * op->y.ch;
        ask_inputs(op, ahead);
        if (first) UNROLL for (int m = 0; m < M; m++) if (m < valid) ask_line(out + m * op->y.ch, T, 1);
        if (last && r) UNROLL for (int m = 0; m < M; m++) if (m < valid) ask_line(r + ((int64_t)g * M + m) * op->r.ch, T, 0);
        vec a[M][4];
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int t = 0; t < T; t++)
                a[m][t] = m >= valid ? splat(0)
                          : first    ? splat(op->bias[g * M + m])
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
            UNROLL for (int t = 0; t < T; t++) {
                vec s = a[m][t];
                if (last) {
                    if (r) s += *(const vec *)(r + ((int64_t)g * M + m) * op->r.ch + t * VB);
                    s = clamp(s, low, high);
                }
                *(vec *)(out + m * op->y.ch + t * VB) = s;
            }
        }
    }
}
