/* Resizing 8-bit RGB as Pillow does, bit for bit, but only the columns and rows that are wanted. */
#ifndef SPB_RESIZE_H
#define SPB_RESIZE_H

#include <stdint.h>

enum { SPB_RESIZE_ABI = 1, SPB_BITS = 22 /* of a weight's fraction */ };

/* One axis: which inputs an output is the weighted sum of. */
typedef struct {
    int32_t size;           /* inputs */
    int32_t count;          /* outputs */
    int32_t taps;           /* weights an output, the last of them perhaps 0 */
    const int32_t *first;   /* [count], never decreasing: the first input */
    const int32_t *weights; /* [count][taps]; of an input beyond the last one 0 */
} spb_axis;

/* Pixels [rows->size][columns->size][3], rows `stride` bytes apart, to planes [3][rows->count][columns->count].
 * Columns are resized first, then rows, or the other way round: between them values are rounded to 8 bits. Returns 0, or
 * 1 where there is no memory. Reads nothing outside the image. */
typedef int spb_resize(const uint8_t *image, int64_t stride, const spb_axis *columns, const spb_axis *rows,
                       int rows_first, uint8_t *output);

spb_resize spb_resize_avx2, spb_resize_neon, spb_resize_portable;

#endif
