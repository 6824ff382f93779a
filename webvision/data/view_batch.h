/* What view_batch.c and its AVX-512 sibling share. Both give the same bytes: the sums of the first pass are whole numbers. */
#ifndef WV_VIEW_BATCH_H
#define WV_VIEW_BATCH_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define WEIGHT_ONE 14000        /* a column's weights add up to this: at an edge one may be 1.12 of it, and it is split into
                                   two signed bytes, 128 * high + low; sums of bytes stay below 2^24, exact as floats */

/* Where an output column or row comes from: four inputs from `first` on, and their weights. */
typedef struct { int32_t first; float weight[4]; } tap_t;

/* Everything one picture needs besides its window; allocated once per batch. `columns` = size rounded up to 32. */
typedef struct {
    int size, columns;
    tap_t *across, *down;
    int32_t *offset;            /* [columns] byte offset of a column's first input */
    __m256i *weight;            /* [columns] its weights, four for each channel; or, for AVX-512, high bytes and low bytes */
    float *rows;                /* [4][3][columns] resized rows, by input row modulo 4 */
    uint8_t *planes;            /* [size][3][columns] the resized picture */
    char *message;
} work_t;

/* One way to do the three passes; see view_batch.c for what each does. */
typedef struct {
    void (*resize_row)(const work_t *, const uint8_t *, float *);
    void (*blend_rows)(const work_t *, float *const *, const float *, uint8_t *, uint64_t *);
    void (*write_picture)(const work_t *, const float *, uint8_t *);
} passes_t;

extern const passes_t wv_avx512;

/* Sixteen pixels of three planes as 48 interleaved bytes. */
AVX2 static inline void store_pixels(__m128i b, __m128i g, __m128i r, uint8_t *out) {
    static const int8_t order[9][16] = {
        {0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5}, {-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1},
        {-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1}, {-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1},
        {5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10}, {-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1},
        {-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1}, {-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1},
        {10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15}};
    for (int part = 0; part < 3; part++) {
        const __m128i *mask = (const __m128i *)order[3 * part];
        __m128i mixed = _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(b, _mm_loadu_si128(mask)),
                                                  _mm_shuffle_epi8(g, _mm_loadu_si128(mask + 1))),
                                     _mm_shuffle_epi8(r, _mm_loadu_si128(mask + 2)));
        _mm_storeu_si128((__m128i *)(out + 16 * part), mixed);
    }
}

/* Pixels x .. x + 15 of a row of `size`, or what the row has left of them. */
AVX2 static inline void put_pixels(const __m128i *bgr, uint8_t *row, int x, int size) {
    uint8_t last[48];
    uint8_t *out = x + 16 <= size ? row + 3 * x : last;
    store_pixels(bgr[0], bgr[1], bgr[2], out);
    if (out == last)
        memcpy(row + 3 * x, last, 3 * (size - x));
}
#endif
