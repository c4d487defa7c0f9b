/* The instruction sets that the resize is compiled for, best first. */
#include "resize.h"

static const struct {
    const char *name;
    spb_resize *run;
} sets[] = {
#if defined(__x86_64__)
    {"avx2", spb_resize_avx2},
    {"portable", spb_resize_portable},
#elif defined(__aarch64__)
    {"neon", spb_resize_neon},
#else
    {"portable", spb_resize_portable},
#endif
};

#define PUBLIC __attribute__((visibility("default")))

PUBLIC int spb_resize_abi(void) { return SPB_RESIZE_ABI; }

/* The name of an instruction set; null behind the last one. */
PUBLIC const char *spb_resize_name(int index) {
    return index < 0 || index >= (int)(sizeof(sets) / sizeof(sets[0])) ? 0 : sets[index].name;
}

/* Whether this processor has the instructions. */
PUBLIC int spb_resize_usable(int index) {
    if (!spb_resize_name(index)) return 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (sets[index].run == spb_resize_avx2) return __builtin_cpu_supports("avx2") != 0;
#endif
    return 1;
}

PUBLIC int spb_resize_run(int index, const uint8_t *image, int64_t stride, const spb_axis *columns,
                          const spb_axis *rows, int rows_first, uint8_t *output) {
    return sets[index].run(image, stride, columns, rows, rows_first, output);
}
