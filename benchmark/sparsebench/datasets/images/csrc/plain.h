/* What isa.c is made of, with the compiler's own vectors of four integers. */

typedef int32_t ints __attribute__((vector_size(16)));
typedef uint8_t bytes4 __attribute__((vector_size(4)));

INLINE ints splat(int32_t value) { return (ints){value, value, value, value}; }

INLINE ints widened(const uint8_t *bytes) {
    bytes4 four;
    memcpy(&four, bytes, sizeof(four));
    return __builtin_convertvector(four, ints);
}

INLINE ints added(ints sum, ints pixels, ints weight) { return sum + pixels * weight; }

INLINE void narrowed(const ints *sums, uint8_t *bytes) {
    for (int k = 0; k < SUMS; k++)
        for (int i = 0; i < LANES; i++) bytes[k * LANES + i] = byte(sums[k][i]);
}

/* Bytes past a row's first column that a row is read to: a pixel is read as four bytes. */
static int64_t reach(const spb_axis *columns) {
    return 3 * ((int64_t)columns->first[columns->count - 1] + columns->taps) + 1;
}

static int64_t table_bytes(const spb_axis *columns) {
    (void)columns;
    return 0;
}

static void fill(const spb_axis *columns, void *table) { (void)columns, (void)table; }

static void resize_row(const uint8_t *row, const spb_axis *columns, void *table, uint8_t *line, int64_t plane) {
    (void)table;
    const int32_t *weights = columns->weights;
    for (int x = 0; x < columns->count; x++, weights += columns->taps) {
        const uint8_t *from = row + 3 * (int64_t)columns->first[x];
        ints sum = splat(HALF);
        for (int t = 0; t < columns->taps; t++) sum = added(sum, widened(from + 3 * t), splat(weights[t]));
        for (int c = 0; c < 3; c++) line[c * plane + x] = byte(sum[c]);
    }
}
