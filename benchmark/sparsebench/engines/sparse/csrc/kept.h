/* Weight gradients at kept positions: each is a sum, over all positions and images, of output gradient times input.
 *
 * R rows of T vectors of one channel's output gradients are held in registers against four kept inputs at a time, each
 * multiply-add with its input as a memory operand. How the sums are cut into tiles and bands of rows follows from the
 * layer's shape alone, never from a measurement or from the number of threads: neither changes a bit.
 */
#ifdef WIDE
#define KEPT_ROWS 3
#else
#define KEPT_ROWS 1
#endif
#define KEPT_TILE 8

typedef float quad __attribute__((vector_size(16), aligned(4)));

/* The sums of four vectors' lanes. */
INLINE quad sum4(vec a, vec b, vec c, vec d) {
#if defined(__AVX512F__) && V == 16
    const __m512 ab = _mm512_unpacklo_ps((__m512)a, (__m512)b) + _mm512_unpackhi_ps((__m512)a, (__m512)b);
    const __m512 cd = _mm512_unpacklo_ps((__m512)c, (__m512)d) + _mm512_unpackhi_ps((__m512)c, (__m512)d);
    const __m512 s = _mm512_shuffle_ps(ab, cd, 0x44) + _mm512_shuffle_ps(ab, cd, 0xEE);
    const __m256 h = _mm512_castps512_ps256(s) + (__m256)_mm512_extractf64x4_pd((__m512d)s, 1);
    return (quad)(_mm256_castps256_ps128(h) + _mm256_extractf128_ps(h, 1));
#elif defined(__AVX__) && V == 8
    const __m256 ab = _mm256_unpacklo_ps((__m256)a, (__m256)b) + _mm256_unpackhi_ps((__m256)a, (__m256)b);
    const __m256 cd = _mm256_unpacklo_ps((__m256)c, (__m256)d) + _mm256_unpackhi_ps((__m256)c, (__m256)d);
    const __m256 s = _mm256_shuffle_ps(ab, cd, 0x44) + _mm256_shuffle_ps(ab, cd, 0xEE);
    return (quad)(_mm256_castps256_ps128(s) + _mm256_extractf128_ps(s, 1));
#else
    return (quad){sum1(a), sum1(b), sum1(c), sum1(d)};
#endif
}

#define KEPT_ARGUMENTS const spb_op *op, int o0, int o1, const char *x, const char *g, float *partial
typedef void (*kept_fn)(KEPT_ARGUMENTS);

INLINE void kept_tile(const int R, const int T, const int S, KEPT_ARGUMENTS) {
    const int32_t *starts = op->starts, *offsets = op->offsets;
    const int64_t xr = op->x.row * S, gr = op->y.row, gc = op->y.ch;
    for (int o = o0; o < o1; o++) {
        int k = starts[o];
        const int end = starts[o + 1];
        if (k == end) continue;
        vec d[KEPT_ROWS][KEPT_TILE];
        UNROLL for (int i = 0; i < R; i++)
            UNROLL for (int t = 0; t < T; t++) d[i][t] = *(const vec *)(g + o * gc + i * gr + t * VB);
        for (; k + 4 <= end; k += 4) {
            const char *p0 = x + offsets[k], *p1 = x + offsets[k + 1], *p2 = x + offsets[k + 2], *p3 = x + offsets[k + 3];
            vec a0 = splat(0), a1 = splat(0), a2 = splat(0), a3 = splat(0);
            UNROLL for (int i = 0; i < R; i++)
                UNROLL for (int t = 0; t < T; t++) {
                    const int64_t at = i * xr + XOFF(t, S);
                    a0 += d[i][t] * *(const vec *)(p0 + at);
                    a1 += d[i][t] * *(const vec *)(p1 + at);
                    a2 += d[i][t] * *(const vec *)(p2 + at);
                    a3 += d[i][t] * *(const vec *)(p3 + at);
                }
            *(quad *)(partial + k) += sum4(a0, a1, a2, a3);
        }
        for (; k < end; k++) {
            const char *p = x + offsets[k];
            vec a0 = splat(0), a1 = splat(0);
            UNROLL for (int i = 0; i < R; i++)
                UNROLL for (int t = 0; t < T; t++) {
                    const vec v = *(const vec *)(p + i * xr + XOFF(t, S));
                    if ((i * T + t) % 2) a1 += d[i][t] * v;
                    else a0 += d[i][t] * v;
                }
            partial[k] += sum1(a0 + a1);
        }
    }
}

#define KEPT(R, T, S)                                                                                              \
    static void kept_##R##_##T##_##S(KEPT_ARGUMENTS) { kept_tile(R, T, S, op, o0, o1, x, g, partial); }
#define EACH8(F, R, S) EACH7(F, R, S) F(R, 8, S)
#define KEPT_NAME(R, T, S) kept_##R##_##T##_##S,
EACH8(KEPT, 1, 1) EACH8(KEPT, 1, 2)
#ifdef WIDE
EACH8(KEPT, 2, 1) EACH8(KEPT, 2, 2) EACH8(KEPT, 3, 1) EACH8(KEPT, 3, 2)
static const kept_fn kept[2][3][8] = {
    {{EACH8(KEPT_NAME, 1, 1)}, {EACH8(KEPT_NAME, 2, 1)}, {EACH8(KEPT_NAME, 3, 1)}},
    {{EACH8(KEPT_NAME, 1, 2)}, {EACH8(KEPT_NAME, 2, 2)}, {EACH8(KEPT_NAME, 3, 2)}}};
#else
static const kept_fn kept[2][1][8] = {{{EACH8(KEPT_NAME, 1, 1)}}, {{EACH8(KEPT_NAME, 1, 2)}}};
#endif

/* x: the layer's input; y: the gradient of its output. One band of rows of all chunks, one part of the outputs. */
static void kept_item(const spb_op *op, int index) {
    const spb_train *t = op->train;
    const int part = index % op->parts, band = index / op->parts, s = op->stride;
    const int o0 = (int64_t)op->y.channels * part / op->parts, o1 = (int64_t)op->y.channels * (part + 1) / op->parts;
    const int h0 = band * t->band, h1 = h0 + t->band < op->y.height ? h0 + t->band : op->y.height;
    float *partial = t->partial + (int64_t)band * t->count;
    memset(partial + op->starts[o0], 0, (op->starts[o1] - op->starts[o0]) * sizeof *partial);
    for (int chunk = 0; chunk < t->batches; chunk++) {
        const char *x = op->x.data + chunk * op->x_step, *g = op->y.data + chunk * op->y_step;
        for (int h = h0, rows; h < h1; h += rows) {
            rows = h1 - h < op->rows ? h1 - h : op->rows;
            for (place p = tile_at(op, 0); p.t > 0; p = tile_at(op, p.w + p.t / U))
                kept[s - 1][rows - 1][p.t - 1](op, o0, o1, x + (int64_t)h * s * op->x.row + column(&op->x, p.w * s),
                                               g + h * op->y.row + column(&op->y, p.w), partial);
        }
    }
}

enum { RUN = 4096 }; /* weights of an item that goes over a list of them */

static void kept_sum_item(const spb_op *op, int index) {
    const spb_train *t = op->train;
    const int k0 = index * RUN, k1 = k0 + RUN < t->count ? k0 + RUN : t->count;
    memcpy(t->to + k0, t->partial + k0, (k1 - k0) * sizeof *t->to);
    for (int band = 1; band < t->bands; band++) {
        const float *more = t->partial + (int64_t)band * t->count;
        for (int k = k0; k < k1; k++) t->to[k] += more[k];
    }
}

static void gather_item(const spb_op *op, int index) {
    const spb_train *t = op->train;
    const int k0 = index * RUN, k1 = k0 + RUN < t->count ? k0 + RUN : t->count;
    for (int k = k0; k < k1; k++) t->to[(int64_t)k * t->apart] = t->index[k] < 0 ? 0 : t->from[t->index[k]];
}

static void bias_item(const spb_op *op, int index) {
    const spb_train *t = op->train;
    for (int c = index * CHANNELS; c < (index + 1) * CHANNELS && c < op->x.channels; c++) {
        double s1, s2;
        total(t, op->x.height, op->x.channels, c, &s1, &s2);
        t->offset_gradient[c] = (float)s1;
    }
}
