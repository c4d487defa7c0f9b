/* What works on positions that are tokens: layer norm, attention, choosing and shifting them; and the positions of a
 * window side by side as channels, for convolutions of a large stride.
 */

/* T vectors side by side: normalised over the channels. */
INLINE void norm_run(const int T, const spb_op *op, const char *x, char *y) {
    const int channels = op->x.channels;
    const int64_t xc = op->x.ch, yc = op->y.ch;
    const vec share = splat(1.0f / channels);
    vec mean[8], spread[8];
    UNROLL for (int t = 0; t < T; t++) mean[t] = spread[t] = splat(0);
    for (int c = 0; c < channels; c++)
        UNROLL for (int t = 0; t < T; t++) mean[t] += *(const vec *)(x + c * xc + t * VB);
    UNROLL for (int t = 0; t < T; t++) mean[t] *= share;
    for (int c = 0; c < channels; c++)
        UNROLL for (int t = 0; t < T; t++) {
            const vec d = *(const vec *)(x + c * xc + t * VB) - mean[t];
            spread[t] += d * d;
        }
    for (int t = 0; t < T; t++) {
        float values[V] __attribute__((aligned(VB)));
        *(vec *)values = spread[t] * share + splat(op->eps);
        for (int n = 0; n < V; n++) values[n] = 1.0f / sqrtf(values[n]);
        spread[t] = *(const vec *)values;
    }
    for (int c = 0; c < channels; c++) {
        const vec weight = splat(op->weights[c]), bias = splat(op->bias[c]);
        UNROLL for (int t = 0; t < T; t++)
            *(vec *)(y + c * yc + t * VB) = (*(const vec *)(x + c * xc + t * VB) - mean[t]) * spread[t] * weight + bias;
    }
}

static void layernorm_item(const spb_op *op, int h) {
    const spb_map *x = &op->x, *y = &op->y;
    const char *in = x->data + h * x->row;
    char *out = y->data + h * y->row;
    for (int w = 0, end; w < y->width; w = end) {
        end = run_end(x, y, w, y->width);
        const char *from = in + column(x, w);
        char *to = out + column(y, w);
        for (int left = (end - w) * U, t; left > 0; left -= t, from += t * VB, to += t * VB) switch (left) {
            case 1: norm_run(t = 1, op, from, to); break;
            case 2:
            case 3: norm_run(t = 2, op, from, to); break;
            case 4:
            case 5:
            case 6: norm_run(t = 4, op, from, to); break;
            case 7: norm_run(t = 7, op, from, to); break;
            default: norm_run(t = 8, op, from, to); break;
            }
    }
    zero_columns(y, out, 1, 0, y->channels);
}

/* Positions of the input moved on by `shift`, plus a constant; what has no position there is zero. */
static void tokens_item(const spb_op *op, int h) {
    const spb_map *x = &op->x, *y = &op->y;
    for (int w = 0; w < y->width; w++) {
        const int p = h * y->width + w - op->shift;
        const char *in = p < 0 || p >= op->positions ? 0 : x->data + p / x->width * x->row + column(x, p % x->width);
        char *out = y->data + h * y->row + column(y, w);
        const float *constant = op->constant ? op->constant + (int64_t)h * y->channels * y->width + w : 0;
        for (int c = 0; c < y->channels; c++) {
            const vec add = splat(constant ? constant[(int64_t)c * y->width] : 0);
            for (int u = 0; u < U; u++)
                *(vec *)(out + c * y->ch + u * VB) = in ? *(const vec *)(in + c * x->ch + u * VB) + add : add;
        }
    }
    zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}

/* The positions of each window as channels: (channel, kernel row, kernel column), zeros outside. */
static void unfold_item(const spb_op *op, int h) {
    const spb_map *x = &op->x, *y = &op->y;
    const int window = op->kernel_h * op->kernel_w;
    for (int w = 0; w < y->width; w++)
        for (int k = 0; k < y->channels; k++) {
            const int i = h * op->stride - op->pad_top + k % window / op->kernel_w;
            const int j = w * op->stride - op->pad_left + k % op->kernel_w;
            const int inside = i >= 0 && i < x->height && j >= 0 && j < x->width;
            const char *in = x->data + i * x->row + k / window * x->ch;
            char *out = y->data + h * y->row + k * y->ch + column(y, w);
            if (inside)
                memcpy(out, in + column(x, j), N * 4);
            else
                memset(out, 0, N * 4);
        }
    zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}

#ifdef WIDE
enum { SIDE = 4 };
#else
enum { SIDE = 3 };
#endif
/* A tile of at most SIDE x SIDE of what `call` computes, its sizes constants for the compiler. */
#define SIZES2(call, q, k)                                                                                         \
    ((k) >= SIDE ? call(q, SIDE) : (k) == 3 ? call(q, 3) : (k) == 2 ? call(q, 2) : call(q, 1))
#define SIZES(call, q, k)                                                                                          \
    ((q) >= SIDE ? SIZES2(call, SIDE, k) : (q) == 3 ? SIZES2(call, 3, k) : (q) == 2 ? SIZES2(call, 2, k) : SIZES2(call, 1, k))

INLINE int score_tile(const int A, const int B, const char *q, const char *k, int64_t ch, int size, vec scale, vec *to,
                      int valid) {
    vec a[SIDE][SIDE];
    UNROLL for (int i = 0; i < A; i++)
        UNROLL for (int j = 0; j < B; j++) a[i][j] = splat(0);
    for (int d = 0; d < size; d++, q += ch, k += ch) {
        vec keys[SIDE];
        UNROLL for (int j = 0; j < B; j++) keys[j] = *(const vec *)(k + j * N * 4);
        UNROLL for (int i = 0; i < A; i++) {
            const vec query = *(const vec *)(q + i * N * 4);
            UNROLL for (int j = 0; j < B; j++) a[i][j] += query * keys[j];
        }
    }
    UNROLL for (int j = 0; j < B; j++)
        if (j < valid)
            UNROLL for (int i = 0; i < A; i++) to[j * QUERIES + i] = a[i][j] * scale;
    return B;
}

/* A queries' means of B channels of the values, weighted. */
INLINE int value_tile(const int A, const int B, const spb_op *op, const char *v, const vec *weights, const vec *shares,
                      char *y) {
    const spb_map *x = &op->x;
    vec a[SIDE][SIDE];
    UNROLL for (int i = 0; i < A; i++)
        UNROLL for (int j = 0; j < B; j++) a[i][j] = splat(0);
    for (int h = 0, p = 0; p < op->positions; h++)
        for (int w = 0, end; w < x->width && p < op->positions; w = end) {
            end = strip_end(x, w, x->width);
            const char *in = v + h * x->row + column(x, w);
            for (int k = w; k < end && p < op->positions; k++, p++, in += N * 4) {
                vec values[SIDE];
                UNROLL for (int j = 0; j < B; j++) values[j] = *(const vec *)(in + j * x->ch);
                UNROLL for (int i = 0; i < A; i++) {
                    const vec weight = weights[p * QUERIES + i];
                    UNROLL for (int j = 0; j < B; j++) a[i][j] += weight * values[j];
                }
            }
        }
    UNROLL for (int j = 0; j < B; j++)
        UNROLL for (int i = 0; i < A; i++) *(vec *)(y + j * op->y.ch + i * N * 4) = a[i][j] * shares[i];
    return B;
}

/* Scores of queries as shares before the division: exp(score - the largest). Returns one over their sum. */
static void soften(vec *scores, int positions, vec *shares) {
    vec most[QUERIES], sum[QUERIES];
    for (int i = 0; i < QUERIES; i++) most[i] = scores[i], sum[i] = splat(0);
    for (int p = 1; p < positions; p++)
        UNROLL for (int i = 0; i < QUERIES; i++) {
            const vec s = scores[p * QUERIES + i];
            most[i] = clamp(s, most[i], splat(INFINITY));
        }
    for (int p = 0; p < positions; p++)
        UNROLL for (int i = 0; i < QUERIES; i++) {
            const vec e = exponential(scores[p * QUERIES + i] - most[i]);
            scores[p * QUERIES + i] = e;
            sum[i] += e;
        }
    for (int i = 0; i < QUERIES; i++) shares[i] = splat(1) / sum[i];
}

/* softmax(scale Q K') V of some queries of one head; x holds queries, keys and values one after another. */
static __attribute__((noinline)) void attention_item(const spb_op *op, int index) {
    const spb_map *x = &op->x, *y = &op->y;
    const int groups = ceil_div(y->width, QUERIES), head = index / (groups * y->height);
    const int h = index / groups % y->height, w0 = index % groups * QUERIES;
    const int w1 = w0 + QUERIES < y->width ? w0 + QUERIES : y->width;
    const int size = y->channels / op->heads, positions = op->positions;
    const vec scale = splat(op->scale);
    vec scores[SPB_TOKENS_MOST * QUERIES], shares[QUERIES];
    for (int u = 0; u < U; u++) {
        const char *queries = x->data + h * x->row + head * size * x->ch + u * VB;
        const char *keys = x->data + (y->channels + head * size) * x->ch + u * VB;
        const char *values = keys + y->channels * x->ch;
        char *out = y->data + h * y->row + head * size * y->ch + u * VB;
        if (w1 - w0 < QUERIES) memset(scores, 0, (size_t)positions * QUERIES * VB);
        for (int row = 0; row * x->width < positions; row++)
            for (int q = w0, queries_end; q < w1; q = queries_end) {
                queries_end = run_end(x, y, q, w1);
                if (queries_end > q + SIDE) queries_end = q + SIDE;
                for (int k = 0, end; k < x->width; k = end) {
                    end = strip_end(x, k, x->width);
                    if (end > k + SIDE) end = k + SIDE;
                    const int p = row * x->width + k, valid = positions - p;
                    const char *from = keys + row * x->row + column(x, k);
#define SCORES(A, B)                                                                                               \
    score_tile(A, B, queries + column(x, q), from, x->ch, size, scale, scores + p * QUERIES + q - w0, valid)
                    if (valid > 0) SIZES(SCORES, queries_end - q, end - k);
                }
            }
        soften(scores, positions, shares);
        for (int q = w0, end; q < w1; q = end) {
            end = run_end(x, y, q, w1);
            if (end > q + SIDE) end = q + SIDE;
            for (int d = 0; d < size;) {
                const int left = size - d < SIDE ? size - d : SIDE;
#define VALUES(A, B)                                                                                               \
    value_tile(A, B, op, values + d * x->ch, scores + q - w0, shares + q - w0, out + d * y->ch + column(y, q))
                d += SIZES(VALUES, end - q, left);
            }
        }
    }
    if (head == 0 && w0 == 0) zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}
