/* One instruction set: compiled once for each, with V floats a vector and U vectors of lanes. */
#include <math.h>
#include <string.h>

#include "sparse.h"
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif
#include "tile.h"

#include "pair.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

enum { N = V * U, QUERIES = 8 /* of an item of an attention */ };

#define ARGUMENTS const spb_op *op, int b, int c0, int c1, const char *x, char *y, const char *r, spb_ahead *a
typedef void (*sparse_fn)(ARGUMENTS);
#define SPARSE(R, T, S)                                                                                            \
    static void sparse_##R##_##T##_##S(ARGUMENTS) { sparse_tile(R, T, S, op, b, c0, c1, x, y, r, a); }
#define DENSE(T, S)                                                                                                \
    static void dense_##T##_##S(ARGUMENTS) { dense_tile(T, S, op, b, c0, c1, x, y, r, a); }
#define PAIR(T)                                                                                                    \
    static void pair_##T(ARGUMENTS) { pair_tile(T, op, b, c0, c1, x, y, r, a); }
#define EACH7(F, R, S) F(R, 1, S) F(R, 2, S) F(R, 3, S) F(R, 4, S) F(R, 5, S) F(R, 6, S) F(R, 7, S)
#define EACH14(F, R, S) EACH7(F, R, S) F(R, 8, S) F(R, 9, S) F(R, 10, S) F(R, 11, S) F(R, 12, S) F(R, 13, S) F(R, 14, S)
EACH14(SPARSE, 1, 1)
EACH14(SPARSE, 1, 2)
#ifdef WIDE /* 32 vector registers */
#define TILE2 14
#define DENSE_TILE 4
#define PAIR_TILE 10
EACH14(SPARSE, 2, 1)
EACH14(SPARSE, 2, 2)
DENSE(3, 1) DENSE(4, 1) DENSE(3, 2) DENSE(4, 2)
#else
#define TILE2 7
#define DENSE_TILE 2
#define PAIR_TILE 0 /* too few registers for pairs */
EACH7(SPARSE, 2, 1)
EACH7(SPARSE, 2, 2)
#endif
DENSE(1, 1) DENSE(2, 1) DENSE(1, 2) DENSE(2, 2)
#ifdef WIDE
PAIR(1) PAIR(2) PAIR(3) PAIR(4) PAIR(5) PAIR(6) PAIR(7) PAIR(8) PAIR(9) PAIR(10)
#endif

#define NAME(R, T, S) sparse_##R##_##T##_##S,
static const sparse_fn one_row[2][14] = {{EACH14(NAME, 1, 1)}, {EACH14(NAME, 1, 2)}};
#ifdef WIDE
static const sparse_fn pair[10] = {pair_1, pair_2, pair_3, pair_4, pair_5, pair_6, pair_7, pair_8, pair_9, pair_10};
static const sparse_fn two_rows[2][14] = {{EACH14(NAME, 2, 1)}, {EACH14(NAME, 2, 2)}};
static const sparse_fn dense[2][4] = {{dense_1_1, dense_2_1, dense_3_1, dense_4_1},
                                      {dense_1_2, dense_2_2, dense_3_2, dense_4_2}};
#else
static const sparse_fn pair[1] = {0};
static const sparse_fn two_rows[2][7] = {{EACH7(NAME, 2, 1)}, {EACH7(NAME, 2, 2)}};
static const sparse_fn dense[2][2] = {{dense_1_1, dense_2_1}, {dense_1_2, dense_2_2}};
#endif

static int ceil_div(int a, int b) { return (a + b - 1) / b; }

/* Bytes from a row's first column to another. */
INLINE int64_t column(const spb_map *m, int w) {
    if (w < m->strip) return (int64_t)w * N * 4;
    return w / m->strip * m->step + (int64_t)(w % m->strip) * N * 4;
}

/* The column after the strip of column w, or `end` if that comes first. */
static int strip_end(const spb_map *m, int w, int end) {
    const int next = (w / m->strip + 1) * m->strip;
    return next < end ? next : end;
}

static int train_items(const spb_op *op);
static void train_item(const spb_op *op, int index, int chunk);

static int items_of_one(const spb_op *op) {
    switch (op->kind) {
    case SPB_ZERO: return 2;
    case SPB_SPARSE:
    case SPB_PAIR:
    case SPB_DENSE: return ceil_div(op->y.height, op->rows) * op->parts;
    case SPB_MEAN: return ceil_div(op->y.channels, 16);
    case SPB_ATTENTION: return op->heads * op->y.height * ceil_div(op->y.width, QUERIES);
    case SPB_UNPACK: return 1;
    default: return op->kind >= SPB_GATHER ? train_items(op) : op->y.height;
    }
}

static int items(const spb_op *op) { return items_of_one(op) * (op->chunks > 1 ? op->chunks : 1); }

/* Zero what a reader sees as padding after the last column of `rows` rows, for a range of channels. */
static void zero_columns(const spb_map *y, char *row, int rows, int c0, int c1) {
    const int64_t bytes = (int64_t)y->border * N * 4, at = (int64_t)y->width * N * 4;
    if (bytes == 0) return;
    for (int i = 0; i < rows; i++)
        for (int c = c0; c < c1; c++) memset(row + i * y->row + c * y->ch + at, 0, bytes);
}

/* A tile of `t` vectors: output channels (or groups of them) u0 to u1, one block. */
static void run_tile(const spb_op *op, int block, int u0, int u1, const char *x, char *y, const char *r, int t,
                     int rows, spb_ahead *ahead) {
    const int s = op->stride - 1;
    const sparse_fn run = op->kind == SPB_DENSE  ? dense[s][t - 1]
                          : op->kind == SPB_PAIR ? pair[t - 1]
                          : rows == 2            ? two_rows[s][t - 1]
                                                 : one_row[s][t - 1];
    run(op, block, u0, u1, x, y, r, ahead);
}

/* Where a tile of a row begins, and its vectors; `t` 0 after the last. */
typedef struct {
    int w, t;
} place;

static place tile_at(const spb_op *op, int w) { /* in one strip of all maps */
    int end = strip_end(&op->y, w, op->y.width);
    if (op->stride == 1) end = strip_end(&op->x, w, end);
    if (op->r.data) end = strip_end(&op->r, w, end);
    const int left = (end - w) * U;
    return (place){w, left < op->tile ? left : op->tile};
}

static int together(const spb_op *op) { /* output channels that a tile computes at a time */
    return op->kind == SPB_DENSE ? SPB_GROUP : op->kind == SPB_PAIR ? 2 : 1;
}

/* One part of the output channels for `rows` rows: all tiles of them. */
static void conv_item(const spb_op *op, int index) {
    const int part = index % op->parts, h = index / op->parts * op->rows;
    const int rows = op->y.height - h < op->rows ? 1 : op->rows, all = ceil_div(op->y.channels, together(op));
    const int u0 = (int64_t)all * part / op->parts, u1 = (int64_t)all * (part + 1) / op->parts;
    const char *x = op->x.data + (int64_t)h * op->stride * op->x.row;
    char *y = op->y.data + h * op->y.row;
    const char *r = op->r.data ? op->r.data + h * op->r.row : 0, *below = x + (int64_t)rows * op->stride * op->x.row;
    const int more = part == op->parts - 1 && h + rows < op->y.height; /* the other parts read the same inputs */
    spb_ahead ahead = {0};
    if (op->sweep) {
        int tiles = 0;
        for (place p = tile_at(op, 0); p.t > 0; p = tile_at(op, p.w + p.t / U)) tiles++;
        if (more) ahead = new_inputs(op, below, op->y.width * U, rows);
        ahead.total = (u1 - u0) * tiles;
        for (int u = u0; u < u1; u++)
            for (place p = tile_at(op, 0); p.t > 0; p = tile_at(op, p.w + p.t / U))
                run_tile(op, 0, u, u + 1, x + column(&op->x, p.w * op->stride), y + column(&op->y, p.w),
                         r ? r + column(&op->r, p.w) : 0, p.t, rows, &ahead);
    } else {
        for (place p = tile_at(op, 0), next; p.t > 0; p = next) {
            next = tile_at(op, p.w + p.t / U);
            ahead.x = 0;
            if (next.t > 0 && part == 0)
                ahead = new_inputs(op, x + column(&op->x, next.w * op->stride), next.t, rows);
            else if (next.t <= 0 && more)
                ahead = new_inputs(op, below, op->tile, rows);
            ahead.total = (u1 - u0) * op->blocks;
            for (int block = 0; block < op->blocks; block++)
                run_tile(op, block, u0, u1, x + column(&op->x, p.w * op->stride), y + column(&op->y, p.w),
                         r ? r + column(&op->r, p.w) : 0, p.t, rows, &ahead);
        }
    }
    const int c1 = u1 * together(op);
    zero_columns(&op->y, y, rows, u0 * together(op), c1 < op->y.channels ? c1 : op->y.channels);
}

/* Images to lanes; where an image's input isn't finite, say so. Missing images are zeros. */
static void pack_item(const spb_op *op, int h, const spb_io *io) {
    char *row = op->y.data + h * op->y.row;
    float sums[N] = {0}; /* of x - x: 0, or NaN */
    for (int c = 0; c < op->y.channels; c++) {
        float *out = (float *)(row + c * op->y.ch);
        const float *in = io->input + c * io->stride_c + h * io->stride_h;
        for (int w = 0; w < op->y.width; w++, in += io->stride_w, out += N)
            for (int n = 0; n < N; n++) {
                const float value = n < io->count ? in[n * io->stride_n] : 0;
                sums[n] += value - value;
                out[n] = value;
            }
    }
    for (int n = 0; n < io->count; n++)
        if (sums[n] != 0) __atomic_store_n(&io->unusual[n], 1, __ATOMIC_RELAXED);
    zero_columns(&op->y, row, 1, 0, op->y.channels);
}

/* The zero rows above (0) and below (1) a map, with the columns before its first channel. */
static void zero_item(const spb_op *op, int index) {
    const spb_map *y = &op->y;
    const int64_t before = (int64_t)y->border * N * 4, rows = y->border * y->row;
    if (index == 0)
        memset(y->data - rows - before, 0, rows + before);
    else
        memset(y->data + y->height * y->row, 0, rows);
}

static void pool_item(const spb_op *op, int h, int is_max) {
    const spb_map *x = &op->x, *y = &op->y;
    const int adaptive = op->stride == 0; /* windows that share the input evenly */
    const int top = adaptive ? h * x->height / y->height : h * op->stride - op->pad_top;
    const int bottom = adaptive ? ceil_div((h + 1) * x->height, y->height) : top + op->kernel_h;
    const int h0 = top < 0 ? 0 : top, h1 = bottom < x->height ? bottom : x->height;
    const int limit_h = bottom < op->limit_h ? bottom : op->limit_h;
    const vec low = splat(op->low), high = splat(op->high);
    for (int c = 0; c < y->channels; c++)
        for (int w = 0; w < y->width; w++) {
            const int left = adaptive ? w * x->width / y->width : w * op->stride - op->pad_left;
            const int right = adaptive ? ceil_div((w + 1) * x->width, y->width) : left + op->kernel_w;
            const int w0 = left < 0 ? 0 : left, w1 = right < x->width ? right : x->width;
            const int limit_w = right < op->limit_w ? right : op->limit_w;
            const int inside = h1 > h0 && w1 > w0 ? (h1 - h0) * (w1 - w0) : 0, whole = (limit_h - top) * (limit_w - left);
            const float scale = is_max ? 1 : 1.0f / (op->outside ? inside : whole);
            char *out = y->data + h * y->row + c * y->ch + column(y, w);
            for (int u = 0; u < U; u++) {
                vec s = splat(!is_max || (op->outside && inside < op->kernel_h * op->kernel_w) ? 0 : -INFINITY);
                for (int i = h0; i < h1; i++) {
                    const char *in = x->data + i * x->row + c * x->ch + column(x, w0) + u * VB;
                    for (int j = w0; j < w1; j++, in += N * 4) { /* a window lies in one strip */
                        const vec v = *(const vec *)in;
                        s = is_max ? clamp(v, s, splat(INFINITY)) : s + v;
                    }
                }
                *(vec *)(out + u * VB) = clamp(s * scale, low, high);
            }
            if (op->curve) finish(op, out, U);
        }
    zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}

/* The columns from w on that lie side by side in two maps, up to `end`. */
static int run_end(const spb_map *a, const spb_map *b, int w, int end) {
    return strip_end(a, w, strip_end(b, w, end));
}

/* The mean over positions; four channels at once, whose sums don't wait for one another. */
static void mean_item(const spb_op *op, int index) {
    enum { M = 4 };
    const spb_map *x = &op->x;
    const int c1 = (index + 1) * 16 < x->channels ? (index + 1) * 16 : x->channels;
    const int positions = op->positions ? op->positions : x->height * x->width;
    const float scale = 1.0f / positions;
    for (int c = index * 16; c < c1; c += M)
        for (int u = 0; u < U; u++) {
            vec s[M] = {{0}};
            for (int h = 0; h < x->height; h++) {
                const int left = positions - h * x->width, width = left < x->width ? left : x->width;
                for (int w = 0, end; w < width; w = end) {
                    end = strip_end(x, w, width);
                    const char *in = x->data + h * x->row + c * x->ch + column(x, w) + u * VB;
                    for (int k = w; k < end; k++, in += N * 4)
                        for (int m = 0; m < M; m++) s[m] += *(const vec *)(in + (c + m < c1 ? m : 0) * x->ch);
                }
            }
            for (int m = 0; m < M && c + m < c1; m++) {
                char *out = op->y.data + (c + m) * op->y.ch + u * VB;
                *(vec *)out = s[m] * scale;
            }
        }
    zero_columns(&op->y, op->y.data, 1, index * 16, c1);
}

/* A sum of two maps and a constant, or their product; the second map may be one position, for all. */
static void merge_item(const spb_op *op, int h, const int product) {
    const vec low = splat(op->low), high = splat(op->high);
    const spb_map *x = &op->x, *y = &op->y, *r = &op->r;
    const int one = r->data && r->height == 1 && r->width == 1;
    const char *in = x->data + h * x->row, *other = r->data ? r->data + (one ? 0 : h * r->row) : 0;
    char *out = y->data + h * y->row;
    for (int w = 0, end; w < y->width; w = end) {
        end = run_end(x, y, w, y->width);
        if (other && !one) end = strip_end(r, w, end);
        const int count = (end - w) * U;
        for (int c = 0; c < y->channels; c++) {
            const char *a = in + c * x->ch + column(x, w), *b = other ? other + c * r->ch + (one ? 0 : column(r, w)) : 0;
            char *to = out + c * y->ch + column(y, w);
            const float *constant = op->constant ? op->constant + ((int64_t)h * y->channels + c) * y->width + w : 0;
            for (int t = 0; t < count; t++) {
                vec v = *(const vec *)(a + t * VB);
                if (constant) v += splat(constant[t / U]);
                if (b) {
                    const vec o = *(const vec *)(b + (one ? t % U : t) * VB);
                    v = product ? v * o : v + o;
                }
                *(vec *)(to + t * VB) = clamp(v, low, high);
            }
            if (op->curve) finish(op, to, count);
        }
    }
    zero_columns(y, out, 1, 0, y->channels);
}

#include "tokens.h"

static void unpack(const spb_op *op, const spb_io *io) {
    const spb_map *x = &op->x;
    float *out = io->output;
    for (int n = 0; n < io->count; n++)
        for (int c = 0; c < x->channels; c++)
            for (int h = 0; h < x->height; h++) {
                const char *in = x->data + h * x->row + c * x->ch + 4 * n;
                for (int w = 0; w < x->width; w++) *out++ = *(const float *)(in + column(x, w));
            }
}

#include "norm.h"
#include "kept.h"
#include "backward.h"

static void item_of_one(const spb_op *op, int index, int chunk, const spb_io *io) {
    switch (op->kind) {
    case SPB_PACK: pack_item(op, index, io); break;
    case SPB_ZERO: zero_item(op, index); break;
    case SPB_SPARSE:
    case SPB_PAIR:
    case SPB_DENSE: conv_item(op, index); break;
    case SPB_MAXPOOL: pool_item(op, index, 1); break;
    case SPB_AVGPOOL: pool_item(op, index, 0); break;
    case SPB_MEAN: mean_item(op, index); break;
    case SPB_ADD: merge_item(op, index, 0); break;
    case SPB_SCALE: merge_item(op, index, 1); break;
    case SPB_LAYERNORM: layernorm_item(op, index); break;
    case SPB_TOKENS: tokens_item(op, index); break;
    case SPB_ATTENTION: attention_item(op, index); break;
    case SPB_UNFOLD: unfold_item(op, index); break;
    case SPB_UNPACK: unpack(op, io); break;
    default: train_item(op, index, chunk); break;
    }
}

static void item(const spb_op *op, int index, const spb_io *io) {
    if (op->chunks <= 1) {
        item_of_one(op, index, 0, io);
        return;
    }
    const int each = items_of_one(op), chunk = index / each;
    spb_op own = *op;
    own.x.data += chunk * op->x_step;
    own.y.data += chunk * op->y_step;
    if (own.r.data) own.r.data += chunk * op->r_step;
    item_of_one(&own, index % each, chunk, io);
}

const spb_isa JOIN(spb_isa_, ISA) = {TEXT(ISA), V, N, 2 * TILE2, DENSE_TILE, PAIR_TILE, items, item};
