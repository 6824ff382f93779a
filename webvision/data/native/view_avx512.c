/* The three passes of view_batch.c with AVX-512 and VNNI: half the instructions, the same bytes. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#include "view_batch.h"
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")))

/* The first inputs of the columns `offset`[0], [4], [8], [12], times their weights: B G R 0 of each. */
AVX512 static inline __m512i weigh(const uint8_t *row, const int32_t *offset, const uint8_t *weight) {
    const __m512i split = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(row + offset[0])));
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + offset[4])), 1);
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + offset[8])), 2);
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + offset[12])), 3);
    __m512i bytes = _mm512_shuffle_epi8(all, split);
    __m512i high = _mm512_dpbusd_epi32(_mm512_set1_epi32(-(MIDDLE << (ACROSS_BITS - 7))), bytes, _mm512_load_si512(weight));
    return _mm512_dpbusd_epi32(_mm512_slli_epi32(high, 7), bytes, _mm512_load_si512(weight + 256));
}

AVX512 static void resize_pair(const work_t *work, const uint8_t *even, const uint8_t *odd, int32_t *out) {
    const int columns = work->columns;
    for (int x = 0; x < columns; x += 16) {
        const uint8_t *weight = work->weight + 32 * x;
        __m512i two[4];                     /* B G R 0 of columns i, 4 + i, 8 + i, 12 + i, each a pair of 16 bits */
        for (int i = 0; i < 4; i++) {
            __m512i low = _mm512_srli_epi32(weigh(even, work->offset + x + i, weight + 64 * i), CUT);
            __m512i high = _mm512_slli_epi32(weigh(odd, work->offset + x + i, weight + 64 * i), 16 - CUT);
            two[i] = _mm512_mask_blend_epi16(0xAAAAAAAA, low, high);
        }
        __m512i blue_green[2] = {_mm512_unpacklo_epi32(two[0], two[1]), _mm512_unpacklo_epi32(two[2], two[3])};
        __m512i red[2] = {_mm512_unpackhi_epi32(two[0], two[1]), _mm512_unpackhi_epi32(two[2], two[3])};
        _mm512_store_si512(out + x, _mm512_unpacklo_epi64(blue_green[0], blue_green[1]));
        _mm512_store_si512(out + columns + x, _mm512_unpackhi_epi64(blue_green[0], blue_green[1]));
        _mm512_store_si512(out + 2 * columns + x, _mm512_unpacklo_epi64(red[0], red[1]));
    }
}

AVX512 static void blend_rows(work_t *work, int row) {
    const blend_t *blend = &work->blends[row];
    const int columns = work->columns;
    uint8_t *out = work->planes + (size_t)row * 3 * columns;
    const int32_t *in[3];
    __m512i weight[3];
    for (int k = 0; k < 3; k++) {
        in[k] = pair_of(work, blend->first + k);
        weight[k] = _mm512_set1_epi32(two_weights(blend, k));
    }
    for (int plane = 0; plane < 3; plane++) {
        __m128i total = _mm_setzero_si128();
        for (int x = plane * columns; x < (plane + 1) * columns; x += 16) {
            __m512i sum = _mm512_set1_epi32(BLEND_START);
            for (int k = 0; k < 3; k++)
                sum = _mm512_dpwssd_epi32(sum, _mm512_load_si512(in[k] + x), weight[k]);
            sum = _mm512_max_epi32(_mm512_srai_epi32(sum, SHIFT), _mm512_setzero_si512());
            __m128i bytes = _mm512_cvtusepi32_epi8(sum);
            _mm_store_si128((__m128i *)(out + x), bytes);
            total = _mm_add_epi64(total, _mm_sad_epu8(bytes, _mm_setzero_si128()));
        }
        work->sums[plane] += (uint64_t)_mm_extract_epi64(total, 0) + _mm_extract_epi64(total, 1);
    }
}

/* Sixteen pixels as 48 interleaved bytes, in the first three quarters. */
AVX512 static inline __m512i interleave(const __m512i *bgr) {
    const __m512i keep = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m512i close = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 3, 3, 3);
    __m512i pixels = _mm512_ternarylogic_epi32(bgr[0], _mm512_slli_epi32(bgr[1], 8), _mm512_slli_epi32(bgr[2], 16), 0xFE);
    return _mm512_permutexvar_epi32(close, _mm512_shuffle_epi8(pixels, keep));
}

AVX512 static void write_picture(const work_t *work, const float *matrix, uint8_t *out) {
    const int size = work->size, columns = work->columns;
    for (int y = 0; y < size; y++) {
        const uint8_t *planes = work->planes + (size_t)y * 3 * columns;
        uint8_t *row = out + (size_t)y * size * 3;
        for (int x = 0; x < size; x += 16) {
            __m512i bgr[3];
            for (int c = 0; c < 3; c++)
                bgr[c] = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(planes + c * columns + x)));
            if (matrix) {
                __m512 level[3] = {_mm512_cvtepi32_ps(bgr[0]), _mm512_cvtepi32_ps(bgr[1]), _mm512_cvtepi32_ps(bgr[2])};
                for (int c = 0; c < 3; c++) {
                    __m512 sum = _mm512_set1_ps(matrix[4 * c + 3]);
                    for (int k = 0; k < 3; k++)
                        sum = _mm512_fmadd_ps(_mm512_set1_ps(matrix[4 * c + k]), level[k], sum);
                    __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(sum), _mm512_setzero_si512());
                    bgr[c] = _mm512_min_epi32(whole, _mm512_set1_epi32(255));
                }
            }
            int left = size - x < 16 ? size - x : 16;
            _mm512_mask_storeu_epi8(row + 3 * x, (1ULL << 3 * left) - 1, interleave(bgr));
        }
    }
}

const passes_t wv_avx512 = {resize_pair, blend_rows, write_picture};
#endif
