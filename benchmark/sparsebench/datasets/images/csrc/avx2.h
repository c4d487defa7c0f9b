/* What isa.c is made of, with AVX2. */
#include <immintrin.h>

/* Weights as the multiply-adds of 16 bits want them: two taps of one column, in a high and a low part of LOW bits.
 * A step is two columns (a lane each: the first and third of four, or the second and fourth) and two taps. */
enum { LOW = 11 };

typedef struct {
    __m256i high, low;
} step;

INLINE int64_t quads(const spb_axis *columns) { return padded(columns->taps, QUAD) / QUAD; }

/* Bytes past a row's first column that a row is read to. */
static int64_t reach(const spb_axis *columns) {
    return 3 * (int64_t)columns->first[columns->count - 1] + 12 * quads(columns) + 4;
}

/* A table holds the byte offsets of the columns' first inputs, then the steps. */
static int64_t table_bytes(const spb_axis *columns) {
    const int64_t count = padded(columns->count, QUAD);
    return count * (int64_t)sizeof(int64_t) + count / 2 * quads(columns) * 2 * (int64_t)sizeof(step);
}

INLINE step *steps_of(const spb_axis *columns, void *table) {
    return (step *)((int64_t *)table + padded(columns->count, QUAD));
}

static void fill(const spb_axis *columns, void *table) {
    for (int x = 0; x < padded(columns->count, QUAD); x++)
        ((int64_t *)table)[x] = 3 * (int64_t)columns->first[least(x, columns->count - 1)];
    const int steps = 2 * (int)quads(columns), pairs = (int)padded(columns->count, QUAD) / 2;
    for (int pair = 0; pair < pairs; pair++)
        for (int s = 0; s < steps; s++) {
            int32_t high[2], low[2];
            for (int lane = 0; lane < 2; lane++) {
                const int column = QUAD * (pair / 2) + pair % 2 + 2 * lane;
                int32_t w[2] = {0, 0};
                for (int t = 0; t < 2; t++)
                    if (column < columns->count && 2 * s + t < columns->taps)
                        w[t] = columns->weights[(int64_t)column * columns->taps + 2 * s + t];
                high[lane] = (int32_t)((uint32_t)(w[1] >> LOW) << 16 | ((uint32_t)(w[0] >> LOW) & 0xffff));
                low[lane] = (w[1] & ((1 << LOW) - 1)) << 16 | (w[0] & ((1 << LOW) - 1));
            }
            step *to = steps_of(columns, table) + (int64_t)pair * steps + s;
            to->high = _mm256_set_m128i(_mm_set1_epi32(high[1]), _mm_set1_epi32(high[0]));
            to->low = _mm256_set_m128i(_mm_set1_epi32(low[1]), _mm_set1_epi32(low[0]));
        }
}

/* Two columns: sums of red, green, blue and something, a column a lane, shifted down. */
INLINE __m256i two(const uint8_t *left, const uint8_t *right, const step *table, int count) {
    const __m256i first = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i second = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    __m256i high = _mm256_setzero_si256(), low = _mm256_set1_epi32(HALF);
    for (int q = 0; q < count; q++, left += 12, right += 12, table += 2) {
        const __m256i x = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)left)),
                                                  _mm_loadu_si128((const __m128i *)right), 1);
        const __m256i a = _mm256_shuffle_epi8(x, first), b = _mm256_shuffle_epi8(x, second);
        high = _mm256_add_epi32(high, _mm256_madd_epi16(a, table[0].high));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(a, table[0].low));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(b, table[1].high));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(b, table[1].low));
    }
    return _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, LOW), low), SPB_BITS);
}

/* Four columns at a time, to four bytes of each plane. */
INLINE void across(const uint8_t *row, const spb_axis *columns, void *table, int count, uint8_t *line,
                   int64_t plane) {
    const int wide = columns->count;
    const __m128i apart = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const step *at = steps_of(columns, table);
    const int64_t *from = table;
    for (int x = 0; x < wide; x += QUAD, at += 4 * count, from += QUAD) {
        const __m256i even = two(row + from[0], row + from[2], at, count);
        const __m256i odd = two(row + from[1], row + from[3], at + 2 * count, count);
        const __m256i words = _mm256_packs_epi32(even, odd);
        const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        const __m128i planes = _mm_shuffle_epi8(bytes, apart);
        const int32_t r = _mm_cvtsi128_si32(planes), g = _mm_extract_epi32(planes, 1), b = _mm_extract_epi32(planes, 2);
        memcpy(line + x, &r, QUAD);
        memcpy(line + plane + x, &g, QUAD);
        memcpy(line + 2 * plane + x, &b, QUAD);
    }
}

static void resize_row(const uint8_t *row, const spb_axis *columns, void *table, uint8_t *line, int64_t plane) {
    if (quads(columns) == 1)
        across(row, columns, table, 1, line, plane);
    else
        across(row, columns, table, (int)quads(columns), line, plane);
}

typedef __m256i ints;

INLINE ints splat(int32_t value) { return _mm256_set1_epi32(value); }

INLINE ints widened(const uint8_t *bytes) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes)); }

INLINE ints added(ints sum, ints pixels, ints weight) {
    return _mm256_add_epi32(sum, _mm256_mullo_epi32(pixels, weight));
}

INLINE void narrowed(const ints *sums, uint8_t *bytes) {
    const __m256i a = _mm256_packs_epi32(_mm256_srai_epi32(sums[0], SPB_BITS), _mm256_srai_epi32(sums[1], SPB_BITS));
    const __m256i b = _mm256_packs_epi32(_mm256_srai_epi32(sums[2], SPB_BITS), _mm256_srai_epi32(sums[3], SPB_BITS));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)bytes, _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order));
}

