/* The resize for one instruction set; compiled once for each, with -DISA=name. Sums are of integers, so all agree.
 *
 * Rows are resized across into a ring of as many lines as a row of outputs needs, a line being three planes; a row of
 * outputs is the weighted sum of the ring's lines. Or rows are summed first, and the sum is resized across. Either way,
 * what is in between stays in the first cache.
 */
#include <stdlib.h>
#include <string.h>

#include "resize.h"

#define INLINE static inline __attribute__((always_inline))
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

#ifdef __AVX2__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum {
    HALF = 1 << (SPB_BITS - 1),
    SUMS = 4,             /* vectors of a line that are summed at once */
    BLOCK = SUMS * LANES, /* a line has whole blocks */
    QUAD = 4              /* columns or taps that are done together */
};

INLINE int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

INLINE uint8_t byte(int32_t sum) {
    sum >>= SPB_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

INLINE int64_t padded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

#ifdef __AVX2__
#include "avx2.h"
#else
#include "plain.h"
#endif

/* Rows added up with their weights: `bytes` of each. */
static void sum_rows(const uint8_t *const *rows, const int32_t *weights, int taps, int64_t bytes, uint8_t *output) {
    int64_t at = 0;
    for (; at + BLOCK <= bytes; at += BLOCK) {
        ints sums[SUMS];
        for (int k = 0; k < SUMS; k++) sums[k] = splat(HALF);
        for (int t = 0; t < taps; t++) {
            const ints weight = splat(weights[t]);
            for (int k = 0; k < SUMS; k++) sums[k] = added(sums[k], widened(rows[t] + at + k * LANES), weight);
        }
        narrowed(sums, output + at);
    }
    for (; at < bytes; at++) {
        int32_t sum = HALF;
        for (int t = 0; t < taps; t++) sum += weights[t] * rows[t][at];
        output[at] = byte(sum);
    }
}

/* Memory of a call, in the order in which it lies. */
typedef struct {
    void *table;
    uint8_t *ring, *line, *last;
    const uint8_t **rows;
} scratch;

typedef struct {
    const uint8_t *image;
    int64_t stride, row_bytes, end, far, plane, line_bytes;
    const spb_axis *columns, *rows;
} job;

/* Row y of the outputs, columns first: each input row is resized into the ring, in the place of one no longer needed. */
static void across_then_down(const job *j, const scratch *s, int y, int *done) {
    const spb_axis *rows = j->rows;
    const int taps = rows->taps, first = rows->first[y];
    for (const int until = least(first + taps, rows->size); *done < until; ++*done) {
        const uint8_t *row = j->image + *done * j->stride;
        if (*done * j->stride + j->far > j->end) row = memcpy(s->last, row, (size_t)j->row_bytes);
        resize_row(row, j->columns, s->table, s->ring + *done % taps * j->line_bytes, j->plane);
    }
    for (int t = 0; t < taps; t++) s->rows[t] = s->ring + (first + t) % taps * j->line_bytes;
    sum_rows(s->rows, rows->weights + (int64_t)y * taps, taps, j->line_bytes, s->line);
}

/* The same, rows first: the sum of input rows is resized. Rows beyond the last one count 0. */
static void down_then_across(const job *j, const scratch *s, int y) {
    const spb_axis *rows = j->rows;
    for (int t = 0; t < rows->taps; t++)
        s->rows[t] = j->image + least(rows->first[y] + t, rows->size - 1) * j->stride;
    sum_rows(s->rows, rows->weights + (int64_t)y * rows->taps, rows->taps, j->row_bytes, s->last);
    resize_row(s->last, j->columns, s->table, s->line, j->plane);
}

int JOIN(spb_resize_, ISA)(const uint8_t *image, int64_t stride, const spb_axis *columns, const spb_axis *rows,
                           int rows_first, uint8_t *output) {
    const int64_t width = columns->count, plane = padded(width, QUAD), row_bytes = 3 * (int64_t)columns->size;
    const job j = {image, stride, row_bytes, (rows->size - 1) * stride + row_bytes, reach(columns), plane,
                   padded(3 * plane, BLOCK), columns, rows};
    const int64_t table = padded(table_bytes(columns), 64), lines = rows->taps * (int64_t)sizeof(uint8_t *);
    const int64_t last = row_bytes > j.far ? row_bytes : j.far; /* a row, and what is read behind it */
    char *memory = NULL;
    const int64_t total = table + padded(lines, 64) + (rows->taps + 1) * j.line_bytes + last;
    if (posix_memalign((void **)&memory, 64, (size_t)total)) return 1;
    memset(memory + table, 0, (size_t)(total - table));
    scratch s = {.table = memory, .rows = (const uint8_t **)(memory + table)};
    s.ring = (uint8_t *)memory + table + padded(lines, 64);
    s.line = s.ring + rows->taps * j.line_bytes;
    s.last = s.line + j.line_bytes;
    fill(columns, s.table);
    int done = rows->first[0];
    for (int y = 0; y < rows->count; y++) {
        if (rows_first)
            down_then_across(&j, &s, y);
        else
            across_then_down(&j, &s, y, &done);
        for (int c = 0; c < 3; c++)
            memcpy(output + (c * rows->count + y) * width, s.line + c * plane, (size_t)width);
    }
    free(memory);
    return 0;
}
