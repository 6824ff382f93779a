/* The three passes of view_batch.c with AVX-512 and VNNI: half the instructions, the same bytes. */
#include "decode_window.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include "view_batch.h"
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")))

AVX512 static inline __m512i four_columns(const uint8_t *row, const int32_t *offset) {
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(row + offset[0])));
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + offset[4])), 1);
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + offset[8])), 2);
    return _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + offset[12])), 3);
}

AVX512 static void resize_row(const work_t *work, const uint8_t *row, float *out) {
    const __m512i split = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    const int columns = work->columns;
    for (int x = 0; x < columns; x += 16) {
        const uint8_t *weight = (const uint8_t *)work->weight + x / 16 * 512;
        __m512i sum[4];                     /* B G R 0 of columns i, 4 + i, 8 + i, 12 + i */
        for (int i = 0; i < 4; i++) {
            __m512i bytes = _mm512_shuffle_epi8(four_columns(row, work->offset + x + i), split);
            __m512i high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), bytes, _mm512_load_si512(weight + 64 * i));
            sum[i] = _mm512_dpbusd_epi32(_mm512_slli_epi32(high, 7), bytes, _mm512_load_si512(weight + 256 + 64 * i));
        }
        __m512i blue_green[2] = {_mm512_unpacklo_epi32(sum[0], sum[1]), _mm512_unpacklo_epi32(sum[2], sum[3])};
        __m512i red[2] = {_mm512_unpackhi_epi32(sum[0], sum[1]), _mm512_unpackhi_epi32(sum[2], sum[3])};
        __m512i plane[3] = {_mm512_unpacklo_epi64(blue_green[0], blue_green[1]),
                            _mm512_unpackhi_epi64(blue_green[0], blue_green[1]), _mm512_unpacklo_epi64(red[0], red[1])};
        for (int i = 0; i < 3; i++)
            _mm512_storeu_ps(out + i * columns + x, _mm512_cvtepi32_ps(plane[i]));
    }
}

AVX512 static inline __m512i to_bytes(__m512 value) {
    return _mm512_min_epi32(_mm512_max_epi32(_mm512_cvtps_epi32(value), _mm512_setzero_si512()), _mm512_set1_epi32(255));
}

AVX512 static void blend_rows(const work_t *work, float *const *in, const float *weight, uint8_t *out, uint64_t *sums) {
    const int columns = work->columns;
    __m512 w[4];
    for (int k = 0; k < 4; k++)
        w[k] = _mm512_set1_ps(weight[k] * (1.f / WEIGHT_ONE));
    for (int plane = 0; plane < 3; plane++) {
        __m512i total = _mm512_setzero_si512();
        for (int x = plane * columns; x < (plane + 1) * columns; x += 16) {
            __m512 sum = _mm512_mul_ps(w[3], _mm512_loadu_ps(in[3] + x));
            for (int k = 2; k >= 0; k--)
                sum = _mm512_fmadd_ps(w[k], _mm512_loadu_ps(in[k] + x), sum);
            __m512i bytes = to_bytes(sum);
            total = _mm512_add_epi32(total, bytes);
            _mm_storeu_si128((__m128i *)(out + x), _mm512_cvtepi32_epi8(bytes));
        }
        sums[plane] += (uint64_t)_mm512_reduce_add_epi32(total);
    }
}

AVX512 static void write_picture(const work_t *work, const float *matrix, uint8_t *out) {
    const int size = work->size, columns = work->columns;
    for (int y = 0; y < size; y++) {
        const uint8_t *planes = work->planes + (size_t)y * 3 * columns;
        uint8_t *row = out + (size_t)y * size * 3;
        for (int x = 0; x < size; x += 16) {
            __m128i result[3];
            __m512 value[3];
            for (int c = 0; c < 3; c++) {
                result[c] = _mm_loadu_si128((const __m128i *)(planes + c * columns + x));
                value[c] = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(result[c]));
            }
            for (int c = 0; matrix && c < 3; c++) {
                __m512 sum = _mm512_set1_ps(matrix[4 * c + 3]);
                for (int k = 0; k < 3; k++)
                    sum = _mm512_fmadd_ps(_mm512_set1_ps(matrix[4 * c + k]), value[k], sum);
                result[c] = _mm512_cvtepi32_epi8(to_bytes(sum));
            }
            put_pixels(result, row, x, size);
        }
    }
}

const passes_t wv_avx512 = {resize_row, blend_rows, write_picture};
#endif
