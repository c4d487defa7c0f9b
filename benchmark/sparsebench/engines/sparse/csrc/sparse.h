/* The plain C interface of the sparse engine; sparsebench/engines/sparse/library.py mirrors it.
 *
 * Activations lie as [row][channel][column][lane]: `lane` is an image of the chunk. A row's channels are `ch` bytes
 * apart, rows `row` bytes. Zero columns after each channel, and zero rows above and below, are the padding of the
 * layers that read the buffer, so that a nonzero weight is one byte offset and one value, wherever the output lies.
 * A map that is read position by position may be cut into strips of a few columns, which follow one another in a row,
 * [row][strip][channel][column][lane]: what a tile of a strip reads and writes is then one run of memory.
 */
#ifndef SPARSEBENCH_SPARSE_H
#define SPARSEBENCH_SPARSE_H
#include <stdint.h>

#define SPB_ABI 6
#define SPB_GROUP 6 /* output channels that a dense tile computes together */
#define SPB_TOKENS_MOST 1024 /* positions of an attention, at most: their scores lie on the stack */

enum { SPB_PACK, SPB_ZERO, SPB_SPARSE, SPB_DENSE, SPB_MAXPOOL, SPB_AVGPOOL, SPB_MEAN, SPB_ADD, SPB_UNPACK, SPB_PAIR };
enum { SPB_SCALE = 20, SPB_LAYERNORM, SPB_TOKENS, SPB_ATTENTION, SPB_UNFOLD };
enum { SPB_NONE, SPB_SIGMOID, SPB_HARDSIGMOID, SPB_SILU, SPB_HARDSWISH, SPB_GELU, SPB_GELU_TANH };

typedef struct {
    int32_t offset; /* bytes from the output's origin in the input */
    float value;
} spb_entry;

typedef struct {
    int32_t offset;
    float value[2]; /* of an even output channel and of the next */
} spb_both;

typedef struct {
    char *data; /* position (0, 0), channel 0, lane 0 */
    int64_t row, ch;
    int64_t step; /* bytes from one strip to the next */
    int32_t channels, height, width, border; /* border: zero columns after a channel, and zero rows around */
    int32_t strip;                           /* columns of a strip; the width where there are none */
} spb_map;

struct spb_train;

typedef struct {
    int32_t kind, stride;   /* of the output's positions in the input; 0: a pool's windows share the input evenly */
    spb_map x, y, r;        /* input, output, and what is added (data NULL: nothing) */
    float low, high;        /* the activation: clamped to these */
    int32_t tile, rows;     /* vectors of a row and rows that one tile computes */
    int32_t parts, blocks;  /* parts of the output channels, and blocks of the input channels */
    const int32_t *starts;  /* sparse: [blocks][channels + 1] into entries; dense: [blocks + 1] into offsets */
    const spb_entry *entries;
    const int32_t *both_starts; /* pair: [blocks][pairs + 1] into both; starts and entries hold the rest */
    const spb_both *both;
    const int32_t *offsets; /* dense: of each input, the same for every output channel */
    const float *weights;   /* dense: [groups][inputs][SPB_GROUP] */
    const float *bias;
    int32_t inputs;         /* dense: number of offsets */
    int32_t kernel_h, kernel_w;  /* pools */
    int32_t pad_top, pad_left;
    int32_t outside;        /* max: whether zeros lie outside; avg: 1 divides by what lies inside alone */
    int32_t limit_h, limit_w; /* pools: height and width with the padding behind */
    int32_t sweep; /* one block: each output channel (or group) does all columns of a row before the next one begins */
    int32_t reach_h, reach_w; /* convolutions: rows and columns that a kernel spans, dilation included */
    int32_t curve;         /* the activation after the clamp; SPB_NONE: none */
    float slope;           /* of SPB_SILU: x times sigmoid(slope x) */
    int32_t heads;         /* attention */
    int32_t positions;     /* of x that count (mean, tokens, attention): the first ones, row by row */
    int32_t shift;         /* tokens: position p of the output is position p - shift of the input */
    float eps;             /* layer norm: what is added to the variance */
    float scale;           /* attention: what the scores are multiplied by */
    const float *constant; /* sum, tokens: [row][channel][column], added to every image; or NULL */
    int32_t chunks;             /* training: chunks that the operation is done for; 0: one */
    int64_t x_step, y_step, r_step; /* bytes from one chunk to the next */
    const struct spb_train *train;
} spb_op;

typedef struct {
    const float *input;
    int64_t stride_n, stride_c, stride_h, stride_w; /* floats */
    float *output;                                  /* [count][features] */
    int32_t count;                                  /* images of this chunk, at most its lanes */
    int32_t *unusual;                               /* [count], set where an input isn't finite */
} spb_io;

#include "training.h"

typedef struct {
    const char *name;
    int32_t vector, lanes; /* floats */
    int32_t tile, dense_tile, pair_tile; /* the most accumulators of a sparse tile, and vectors of the others */
    int (*items)(const spb_op *);
    void (*item)(const spb_op *, int, const spb_io *);
} spb_isa;

typedef struct spb_team spb_team;

#pragma GCC visibility push(default)
int spb_abi(void);
int spb_sizes(int which);
int spb_count(void);
const spb_isa *spb_get(int index);
int spb_usable(int index);
spb_team *spb_team_new(int threads);
void spb_team_free(spb_team *team);
int spb_run(spb_team *team, const spb_isa *isa, const spb_op *ops, int count, const spb_io *io);
void *spb_alloc(int64_t bytes);
void spb_free(void *memory);
#pragma GCC visibility pop

#endif
