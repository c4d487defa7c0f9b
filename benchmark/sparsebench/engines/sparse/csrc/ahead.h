/* What is asked for early, while a tile is computed, so that it has come when it is needed. Into the second cache: the
 * next tile's inputs, a share of their channels with each output channel. Into the first: the outputs and residuals of
 * an output channel a few ahead.
 */
#define LINE 64 /* bytes */
#define AHEAD 4 /* output channels */
#define LINE_STEP (4 * V < LINE ? LINE / (4 * V) : 1) /* vectors from one line to the next */

typedef struct {
    const char *x;     /* the next tile's new inputs, of channel 0; NULL: nothing */
    int rows, lines;   /* of each channel */
    int channels;      /* of all strips */
    int64_t row, step; /* bytes from one to the next */
    int done, total;   /* of the shares: one for each output channel (or group of them) and block */
} spb_ahead;

/* The inputs of a tile that the one before it (to the left, or above) didn't read. */
INLINE spb_ahead new_inputs(const spb_op *op, const char *x, int tile, int rows) {
    const int s = op->stride, overlap = op->reach_h >= s, dense = s == 1 || op->reach_w >= s;
    const int lanes = VB * U, columns = (tile + U - 1) / U < op->x.strip ? (tile + U - 1) / U : op->x.strip;
    const int strips = (tile + U * op->x.strip - 1) / (U * op->x.strip); /* they follow one another in a row */
    const int top = (overlap ? op->reach_h - s : 0) - op->pad_top;
    const int left = (op->reach_w >= s ? op->reach_w - s : 0) - op->pad_left;
    return (spb_ahead){
        .x = x + top * op->x.row + (int64_t)left * lanes,
        .rows = overlap ? rows * s : rows,
        .row = overlap ? op->x.row : op->x.row * s,
        .channels = op->x.channels * strips,
        .lines = dense ? (columns * s * lanes + LINE - 1) / LINE : columns,
        .step = dense ? LINE : s * lanes,
    };
}

INLINE void ask_inputs(const spb_op *op, spb_ahead *a) {
    if (!a->x) return;
    const int64_t channels = a->channels;
    const int k0 = channels * a->done / a->total, k1 = channels * (a->done + 1) / a->total;
    a->done++;
    for (int k = k0; k < k1; k++)
        for (int i = 0; i < a->rows; i++) {
            const char *at = a->x + i * a->row + k * op->x.ch;
            for (int l = 0; l < a->lines; l++) __builtin_prefetch(at + l * a->step, 0, 2);
        }
}

/* T vectors that will be written. */
INLINE void ask_outputs(const char *at, const int T) {
    UNROLL for (int t = 0; t < T; t += LINE_STEP) __builtin_prefetch(at + t * VB, 1, 3);
}

/* T vectors that will be read. */
INLINE void ask_residuals(const char *at, const int T) {
    UNROLL for (int t = 0; t < T; t += LINE_STEP) __builtin_prefetch(at + t * VB, 0, 3);
}
