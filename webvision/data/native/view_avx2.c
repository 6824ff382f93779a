/* The three passes of view_batch.c with AVX2. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#include "view_batch.h"
#define AVX2 __attribute__((target("avx2,fma")))

/* Four inputs of a column, times its weights: B01 B23 G01 G23 | R01 R23 0 0. */
AVX2 static inline __m256i weigh(const work_t *work, const uint8_t *row, int column) {
    const __m128i split = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
    __m128i four = _mm_loadu_si128((const __m128i *)(row + work->offset[column]));
    return _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_shuffle_epi8(four, split)),
                             _mm256_load_si256((const __m256i *)(work->weight + 32 * column)));
}

AVX2 static void resize_pair(const work_t *work, const uint8_t *even, const uint8_t *odd, int32_t *out) {
    const __m256i middle = _mm256_set1_epi32(-(MIDDLE << ACROSS_BITS));
    const int columns = work->columns;
    for (int x = 0; x < columns; x += 8) {
        __m256 two[4];                      /* B G B G | R 0 R 0, each a pair of 16 bits */
        for (int i = 0; i < 4; i++) {
            __m256i low = _mm256_hadd_epi32(weigh(work, even, x + 2 * i), weigh(work, even, x + 2 * i + 1));
            __m256i high = _mm256_hadd_epi32(weigh(work, odd, x + 2 * i), weigh(work, odd, x + 2 * i + 1));
            low = _mm256_srli_epi32(_mm256_add_epi32(low, middle), CUT);
            high = _mm256_slli_epi32(_mm256_add_epi32(high, middle), 16 - CUT);
            two[i] = _mm256_castsi256_ps(_mm256_blend_epi16(low, high, 0xAA));
        }
        __m256 blue_red[2], green[2];
        for (int i = 0; i < 2; i++) {
            blue_red[i] = _mm256_shuffle_ps(two[2 * i], two[2 * i + 1], 0x88);
            green[i] = _mm256_shuffle_ps(two[2 * i], two[2 * i + 1], 0xDD);
        }
        _mm256_store_ps((float *)out + x, _mm256_permute2f128_ps(blue_red[0], blue_red[1], 0x20));
        _mm256_store_ps((float *)out + columns + x, _mm256_permute2f128_ps(green[0], green[1], 0x20));
        _mm256_store_ps((float *)out + 2 * columns + x, _mm256_permute2f128_ps(blue_red[0], blue_red[1], 0x31));
    }
}

AVX2 static void blend_rows(work_t *work, int row) {
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const blend_t *blend = &work->blends[row];
    uint8_t *out = work->planes + (size_t)row * 3 * work->columns;
    const int32_t *in[3];
    __m256i weight[3];
    for (int k = 0; k < 3; k++) {
        in[k] = pair_of(work, blend->first + k);
        weight[k] = _mm256_set1_epi32(two_weights(blend, k));
    }
    for (int plane = 0; plane < 3; plane++) {
        __m256i total = _mm256_setzero_si256();
        for (int x = plane * work->columns; x < (plane + 1) * work->columns; x += 32) {
            __m256i level[4];
            for (int i = 0; i < 4; i++) {
                __m256i sum = _mm256_set1_epi32(BLEND_START);
                for (int k = 0; k < 3; k++)
                    sum = _mm256_add_epi32(
                        sum, _mm256_madd_epi16(_mm256_load_si256((const __m256i *)(in[k] + x + 8 * i)), weight[k]));
                level[i] = _mm256_srai_epi32(sum, SHIFT);
            }
            __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(level[0], level[1]), _mm256_packs_epi32(level[2], level[3]));
            bytes = _mm256_permutevar8x32_epi32(bytes, in_order);
            _mm256_storeu_si256((__m256i *)(out + x), bytes);
            total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
        }
        work->sums[plane] += (uint64_t)_mm256_extract_epi64(total, 0) + _mm256_extract_epi64(total, 1)
                           + _mm256_extract_epi64(total, 2) + _mm256_extract_epi64(total, 3);
    }
}

/* Sixteen pixels of three planes as 48 interleaved bytes. */
AVX2 static inline void store_pixels(const __m128i *bgr, uint8_t *out) {
    static const int8_t order[9][16] = {
        {0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5}, {-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1},
        {-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1}, {-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1},
        {5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10}, {-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1},
        {-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1}, {-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1},
        {10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15}};
    for (int part = 0; part < 3; part++) {
        const __m128i *mask = (const __m128i *)order[3 * part];
        __m128i mixed = _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(bgr[0], _mm_loadu_si128(mask)),
                                                  _mm_shuffle_epi8(bgr[1], _mm_loadu_si128(mask + 1))),
                                     _mm_shuffle_epi8(bgr[2], _mm_loadu_si128(mask + 2)));
        _mm_storeu_si128((__m128i *)(out + 16 * part), mixed);
    }
}

AVX2 static inline __m256 eight(const uint8_t *bytes) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes)));
}

/* Sixteen pixels of three planes through `matrix`. */
AVX2 static inline void colour(const uint8_t *planes, int columns, const float *matrix, __m128i *bgr) {
    __m256 low[3], high[3];
    for (int c = 0; c < 3; c++) {
        low[c] = eight(planes + c * columns);
        high[c] = eight(planes + c * columns + 8);
    }
    for (int c = 0; c < 3; c++) {
        __m256 sum_low = _mm256_set1_ps(matrix[4 * c + 3]), sum_high = sum_low;
        for (int k = 0; k < 3; k++) {
            __m256 factor = _mm256_set1_ps(matrix[4 * c + k]);
            sum_low = _mm256_fmadd_ps(factor, low[k], sum_low);
            sum_high = _mm256_fmadd_ps(factor, high[k], sum_high);
        }
        __m256i words = _mm256_permute4x64_epi64(
            _mm256_packs_epi32(_mm256_cvtps_epi32(sum_low), _mm256_cvtps_epi32(sum_high)), 0xD8);
        bgr[c] = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    }
}

AVX2 static void write_picture(const work_t *work, const float *matrix, uint8_t *out) {
    const int size = work->size, columns = work->columns;
    uint8_t last[48];
    for (int y = 0; y < size; y++) {
        const uint8_t *planes = work->planes + (size_t)y * 3 * columns;
        uint8_t *row = out + (size_t)y * size * 3;
        for (int x = 0; x < size; x += 16) {
            __m128i bgr[3];
            if (matrix)
                colour(planes + x, columns, matrix, bgr);
            else
                for (int c = 0; c < 3; c++)
                    bgr[c] = _mm_loadu_si128((const __m128i *)(planes + c * columns + x));
            store_pixels(bgr, x + 16 <= size ? row + 3 * x : last);
            if (x + 16 > size)
                memcpy(row + 3 * x, last, 3 * (size - x));
        }
    }
}

const passes_t wv_avx2 = {resize_pair, blend_rows, write_picture};
#endif
