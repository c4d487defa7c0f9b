/* Resizes random images and compares them with plain loops: what a sanitizer or valgrind looks on at.
 *
 *     resize CASES [INSTRUCTION_SET...]
 *
 * Images, weights and outputs are allocated to the byte, so that whoever reads or writes beyond them is seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resize.h"

const char *spb_resize_name(int index);
int spb_resize_usable(int index);
int spb_resize_run(int index, const uint8_t *image, int64_t stride, const spb_axis *columns, const spb_axis *rows,
                   int rows_first, uint8_t *output);

static uint64_t state = 88172645463325252u;
static int failures;

static int draw(int low, int high) { /* both included */
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return low + (int)((state >> 33) % (uint64_t)(high - low + 1));
}

static void *memory(size_t bytes) {
    void *found = malloc(bytes);
    if (!found) abort();
    return found;
}

/* Some neighbouring outputs of an axis: windows that move on from input to input, with weights of about 1 in sum. */
static spb_axis new_axis(void) {
    const int size = draw(1, 70), taps = draw(1, size < 12 ? size : 12), count = draw(1, 40), one = 1 << SPB_BITS;
    int32_t *first = memory(count * sizeof *first), *weights = memory((size_t)count * taps * sizeof *weights);
    for (int i = 0, at = draw(0, size / 2); i < count; i++) {
        first[i] = at;
        for (int t = 0; t < taps; t++)
            weights[i * taps + t] = at + t < size ? draw(-one / 4, one + one / 4) / taps : 0;
        at += draw(0, 3);
        if (at >= size) at = size - 1;
    }
    return (spb_axis){size, count, taps, first, weights};
}

static void free_axis(spb_axis *axis) {
    free((void *)axis->first);
    free((void *)axis->weights);
}

/* One output of an axis, its inputs `step` bytes apart. */
static uint8_t output_of(const spb_axis *axis, int i, const uint8_t *from, int64_t step) {
    int64_t sum = 1 << (SPB_BITS - 1);
    for (int t = 0; t < axis->taps && axis->first[i] + t < axis->size; t++)
        sum += (int64_t)axis->weights[i * axis->taps + t] * from[(axis->first[i] + t) * step];
    sum >>= SPB_BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t)sum;
}

/* The plain way: one axis of the whole image, then the other. */
static void plainly(const uint8_t *image, int64_t stride, const spb_axis *columns, const spb_axis *rows, int rows_first,
                    uint8_t *output) {
    const int wide = rows_first ? columns->size : columns->count, high = rows_first ? rows->count : rows->size;
    uint8_t *between = memory((size_t)wide * high);
    for (int c = 0; c < 3; c++) {
        for (int y = 0; y < high; y++)
            for (int x = 0; x < wide; x++)
                between[y * wide + x] = rows_first ? output_of(rows, y, image + 3 * x + c, stride)
                                                   : output_of(columns, x, image + y * stride + c, 3);
        for (int y = 0; y < rows->count; y++)
            for (int x = 0; x < columns->count; x++)
                *output++ = rows_first ? output_of(columns, x, between + y * wide, 1)
                                       : output_of(rows, y, between + x, wide);
    }
    free(between);
}

static int chosen(const char *name, int count, char **names) {
    for (int i = 0; i < count; i++)
        if (!strcmp(name, names[i])) return 1;
    return count == 0;
}

int main(int argc, char **argv) {
    const int cases = argc > 1 ? atoi(argv[1]) : 300;
    int sets = 0;
    for (int i = 0; spb_resize_name(i); i++) sets += spb_resize_usable(i) && chosen(spb_resize_name(i), argc - 2, argv + 2);
    for (int index = 0; index < cases; index++) {
        spb_axis columns = new_axis(), rows = new_axis();
        const int64_t stride = 3 * columns.size + (draw(0, 2) ? 0 : draw(1, 40));
        const size_t bytes = (rows.size - 1) * stride + 3 * columns.size, area = (size_t)columns.count * rows.count;
        uint8_t *image = memory(bytes), *right = memory(3 * area), *output = memory(3 * area);
        for (size_t i = 0; i < bytes; i++) image[i] = (uint8_t)(draw(0, 3) ? draw(0, 255) : draw(0, 1) * 255);
        for (int rows_first = 0; rows_first < 2; rows_first++) {
            plainly(image, stride, &columns, &rows, rows_first, right);
            for (int i = 0; spb_resize_name(i); i++) {
                if (!spb_resize_usable(i) || !chosen(spb_resize_name(i), argc - 2, argv + 2)) continue;
                memset(output, 99, 3 * area);
                if (spb_resize_run(i, image, stride, &columns, &rows, rows_first, output)) abort();
                if (memcmp(right, output, 3 * area) && failures++ < 20)
                    printf("WRONG: image %d, %s, %s first\n", index, spb_resize_name(i), rows_first ? "rows" : "columns");
            }
        }
        free(image), free(right), free(output);
        free_axis(&columns), free_axis(&rows);
    }
    printf("  resize: %d images on %d instruction sets, %d failures\n", cases, sets, failures);
    return failures || !sets;
}
