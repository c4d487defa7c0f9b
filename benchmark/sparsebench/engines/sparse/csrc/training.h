/* What the operations of training need beside an spb_op; engines/sparse/training/library.py mirrors it.
 *
 * A batch is several chunks of lanes. An operation with `chunks` set is done for each of them; what goes over all of
 * them at once (sums over a batch, weight gradients) loops itself. The lanes of the last chunk that hold no image are
 * left out of every sum: their gradients are zeros from the first to the last map.
 */
#ifndef SPARSEBENCH_TRAINING_H
#define SPARSEBENCH_TRAINING_H
#include <stdint.h>

enum {
    SPB_GATHER = 64,  /* weights into the arrays that the tiles read */
    SPB_LOAD,         /* images, or gradients of features, into a map */
    SPB_STORE,        /* features out of a map */
    SPB_SUMS,         /* of each row and channel: the values, and their squares */
    SPB_MOMENTS,      /* from the sums: mean and variance, and the norm as a scale and a shift */
    SPB_NORM,         /* scaled, shifted, something added, clamped */
    SPB_NORM_SUMS,    /* of each row and channel: the gradients behind the clamp, and their products with the input */
    SPB_NORM_SLOPES,  /* from the sums: gradients of scale and shift, and the input's as a linear map */
    SPB_NORM_BACK,    /* that map */
    SPB_MASK,         /* gradients behind a clamp */
    SPB_KEPT,         /* weight gradients at kept positions, in bands of rows */
    SPB_KEPT_SUM,     /* the sum of the bands */
    SPB_BIAS,         /* gradients of biases, from the sums */
    SPB_SPREAD,       /* a map onto every second position of another, added */
    SPB_FILL,         /* zeros */
    SPB_MAXPOOL_BACK,
    SPB_AVGPOOL_BACK,
    SPB_MEAN_BACK,
};

typedef struct spb_train {
    spb_map z; /* a norm's input; a max pool's output */
    int64_t z_step;
    int32_t images, batches; /* of the batch, and its chunks */
    int32_t from_input;      /* where a clamp was open is seen from the norm's input, not from its output */
    int32_t fixed;           /* a norm by its running statistics */
    int32_t bands, band;     /* weight gradients: bands of rows, and rows of a band */
    int32_t shift_h, shift_w; /* spread: the first row and column */
    float epsilon, momentum;
    const float *gain, *offset;  /* a norm's parameters; NULL: ones and zeros */
    float *running_mean, *running_var;
    float *mean, *inverse, *scale, *shift, *slope, *level; /* of each channel */
    double *sums;                /* [chunk][row][channel][2] */
    float *partial;              /* [band][kept] */
    float *gain_gradient, *offset_gradient;
    const float *from;           /* gather: the kept weights */
    const int32_t *index;
    float *to;
    int32_t count, apart;        /* gathered, and floats from one to the next; of kept weights */
    spb_io io;
} spb_train;

#endif
