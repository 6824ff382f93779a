/* What view_batch.c and its two sets of vector passes share. All arithmetic on pixels is in whole numbers until the
 * colours, so that AVX2 and AVX-512 give the same bytes.
 *
 * Resizing: a row's columns are sums of four inputs, weights adding up to 1 << ACROSS_BITS; of such a sum, taken about the
 * middle level, ROW_BITS bits below the level are kept, in 16 bits. Two rows lie interleaved, because one instruction weighs
 * and adds two 16-bit neighbours: a row of the result comes from two such pairs, or from three where it starts with the
 * second row of a pair. */
#ifndef WV_VIEW_BATCH_H
#define WV_VIEW_BATCH_H
#include <stdint.h>
#include <string.h>

#define ACROSS_BITS 13          /* at an edge one weight may be 1.12: split into 128 * high + low, both fit signed bytes */
#define ROW_BITS 7              /* overshoot takes a row to +-177 about the middle: 22,700 of 32,767 */
#define DOWN_BITS 14
#define MIDDLE 128
#define CUT (ACROSS_BITS - ROW_BITS)            /* bits dropped from a column's sum */
#define SHIFT (ROW_BITS + DOWN_BITS)            /* bits below the level after the second pass */
/* What the second pass starts from: the middle, half a level to round, and half of what the first pass cut on average. */
#define BLEND_START ((MIDDLE << SHIFT) + (1 << (SHIFT - 1)) + (1 << (DOWN_BITS - 1)))
#define PAIRS 4                 /* pairs of rows that are kept: a row of the result needs at most three */

/* Which pairs a row of the result comes from: `first` to `last`, and two weights for each of three. */
typedef struct {
    int32_t first, last;
    int16_t weight[6];
} blend_t;

typedef struct passes passes_t;

/* Everything a picture needs besides its file; allocated once per batch. `columns` = size rounded up to 32. */
typedef struct {
    int size, columns;
    const passes_t *passes;
    int32_t *offset;            /* [columns] byte offset of a column's first input */
    uint8_t *weight;            /* [columns][32] its weights; see fill_tables */
    blend_t *blends;            /* [size] */
    int32_t *pairs;             /* [PAIRS][3][columns] resized rows, by pair modulo PAIRS: the even row in the low half */
    uint8_t *planes;            /* [size][3][columns] the resized picture */
    int done;                   /* rows of it that are complete */
    uint64_t sums[3];           /* of its planes, for the mean */
} work_t;

/* One way to do the three passes. */
struct passes {
    /* Two input rows, interleaved BGR bytes, to three planes of a pair. */
    void (*resize_pair)(const work_t *, const uint8_t *even, const uint8_t *odd, int32_t *out);
    /* Three pairs to one row of bytes, three planes, `row`; adds each plane's sum to work->sums. */
    void (*blend_rows)(work_t *, int row);
    /* The planes, each pixel through `matrix` (3 x 4, or NULL), interleaved into `out`. */
    void (*write_picture)(const work_t *, const float *matrix, uint8_t *out);
};

extern const passes_t wv_avx2, wv_avx512;

static inline int32_t *pair_of(const work_t *work, int number) {
    return work->pairs + (size_t)(number % PAIRS) * 3 * work->columns;
}

static inline int32_t two_weights(const blend_t *blend, int pair) {
    int32_t both;
    memcpy(&both, blend->weight + 2 * pair, sizeof both);
    return both;
}
#endif
