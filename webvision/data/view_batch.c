/* A whole training batch in one call: window decode, bicubic resize, mirror, colour matrix.
 *
 * Python's and OpenCV's share of a picture (about 100 us of 300) becomes about 45, and threads stop waiting for the
 * interpreter's lock. The arithmetic is that of OpenCV's INTER_CUBIC (a = -0.75, edges repeated) and cv2.transform;
 * a column's weights are rounded to 1/14000, which moves four values in ten thousand by one level. (OpenCV's own two
 * ways, with and without Intel's IPP, differ in three hundred.) AVX-512, where it is, gives the same bytes.
 * Needs AVX2; elsewhere builder.py goes picture by picture through OpenCV.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "decode_window.h"

enum { ROW, PICTURE_WIDTH, PICTURE_HEIGHT, SCALE, X, Y, WIDTH, HEIGHT, RESIZED_WIDTH, RESIZED_HEIGHT, LEFT, TOP, FLIP, FIELDS };

#if defined(__x86_64__) && defined(__GNUC__)
#include "view_batch.h"
#define MAX_SIZE 4096
static int highest = 2;

/* 0: not for this processor. 1: AVX2. 2: AVX-512 with VNNI. */
EXPORT int wv_kernel(void) {
    int level = !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ? 0
              : !__builtin_cpu_supports("avx512vnni") || !__builtin_cpu_supports("avx512bw") ? 1 : 2;
    return level < highest ? level : highest;
}

/* For tests: use no higher level than `level`. */
EXPORT void wv_use(int level) { highest = level; }

static void cubic(float x, float *c) {
    const float a = -0.75f;
    c[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    c[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    c[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    c[3] = 1.f - c[0] - c[1] - c[2];
}

/* Taps of the outputs start .. start + count - 1 of `length` inputs (at least 4) resized to `resized`. */
static void find_taps(tap_t *taps, int length, int resized, int start, int count, int mirrored) {
    const double factor = (double)length / resized;
    for (int i = 0; i < count; i++) {
        float place = (float)((start + i + 0.5) * factor - 0.5), c[4];
        int at = (int)place - (place < 0), base = at - 1;       /* floor: place is never below -0.5 */
        tap_t *tap = &taps[mirrored ? count - 1 - i : i];
        cubic(place - at, c);
        tap->first = base < 0 ? 0 : base > length - 4 ? length - 4 : base;
        if (tap->first == base) {
            memcpy(tap->weight, c, sizeof c);
            continue;
        }
        memset(tap->weight, 0, sizeof tap->weight);
        for (int k = 0; k < 4; k++) {       /* an input beyond the edge is the edge's */
            int input = base + k < 0 ? 0 : base + k > length - 1 ? length - 1 : base + k;
            tap->weight[input - tap->first] += c[k];
        }
    }
}

/* One input row, interleaved BGR bytes, to three planes of exact sums, WEIGHT_ONE to a level, as floats. */
AVX2 static void resize_row(const work_t *work, const uint8_t *row, float *out) {
    const __m128i split = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
    const int columns = work->columns;
    for (int x = 0; x < columns; x += 8) {
        __m256i sum[8];
        for (int i = 0; i < 8; i++) {       /* B01 B23 G01 G23 | R01 R23 0 0 */
            __m128i four = _mm_loadu_si128((const __m128i *)(row + work->offset[x + i]));
            sum[i] = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_shuffle_epi8(four, split)), work->weight[x + i]);
        }
        __m256 pair[4];                     /* B G B G | R 0 R 0 */
        for (int i = 0; i < 4; i++)
            pair[i] = _mm256_castsi256_ps(_mm256_hadd_epi32(sum[2 * i], sum[2 * i + 1]));
        __m256 blue_red[2], green[2];
        for (int i = 0; i < 2; i++) {
            blue_red[i] = _mm256_shuffle_ps(pair[2 * i], pair[2 * i + 1], 0x88);
            green[i] = _mm256_shuffle_ps(pair[2 * i], pair[2 * i + 1], 0xDD);
        }
        __m256 plane[3] = {_mm256_permute2f128_ps(blue_red[0], blue_red[1], 0x20), _mm256_permute2f128_ps(green[0], green[1], 0x20),
                           _mm256_permute2f128_ps(blue_red[0], blue_red[1], 0x31)};
        for (int i = 0; i < 3; i++)
            _mm256_storeu_ps(out + i * columns + x, _mm256_cvtepi32_ps(_mm256_castps_si256(plane[i])));
    }
}

/* Four resized rows to one of bytes, three planes; adds each plane's sum to `sums`. */
AVX2 static void blend_rows(const work_t *work, float *const *in, const float *weight, uint8_t *out, uint64_t *sums) {
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256 w[4];
    for (int k = 0; k < 4; k++)
        w[k] = _mm256_set1_ps(weight[k] * (1.f / WEIGHT_ONE));
    for (int plane = 0; plane < 3; plane++) {
        __m256i total = _mm256_setzero_si256();
        for (int x = plane * work->columns; x < (plane + 1) * work->columns; x += 32) {
            __m256i whole[4];
            for (int i = 0; i < 4; i++) {
                __m256 sum = _mm256_mul_ps(w[3], _mm256_loadu_ps(in[3] + x + 8 * i));
                for (int k = 2; k >= 0; k--)
                    sum = _mm256_fmadd_ps(w[k], _mm256_loadu_ps(in[k] + x + 8 * i), sum);
                whole[i] = _mm256_cvtps_epi32(sum);
            }
            __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3]));
            bytes = _mm256_permutevar8x32_epi32(bytes, in_order);
            _mm256_storeu_si256((__m256i *)(out + x), bytes);
            total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
        }
        sums[plane] += (uint64_t)_mm256_extract_epi64(total, 0) + _mm256_extract_epi64(total, 1)
                     + _mm256_extract_epi64(total, 2) + _mm256_extract_epi64(total, 3);
    }
}

AVX2 static inline __m256 eight(const uint8_t *bytes) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes)));
}

/* The planes, each pixel through `matrix` (3 x 4, or NULL), interleaved into `out`. */
AVX2 static void write_picture(const work_t *work, const float *matrix, uint8_t *out) {
    const int size = work->size, columns = work->columns;
    for (int y = 0; y < size; y++) {
        const uint8_t *planes = work->planes + (size_t)y * 3 * columns;
        uint8_t *row = out + (size_t)y * size * 3;
        for (int x = 0; x < size; x += 16) {
            __m128i result[3];
            if (matrix) {
                __m256 low[3], high[3];
                for (int c = 0; c < 3; c++) {
                    low[c] = eight(planes + c * columns + x);
                    high[c] = eight(planes + c * columns + x + 8);
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
                    result[c] = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
                }
            } else {
                for (int c = 0; c < 3; c++)
                    result[c] = _mm_loadu_si128((const __m128i *)(planes + c * columns + x));
            }
            put_pixels(result, row, x, size);
        }
    }
}

static const passes_t wv_avx2 = {resize_row, blend_rows, write_picture};

/* matrix = linear | of_mean * mean + offset, from `colour` (linear 9, of_mean 9, offset 3). */
static void complete_matrix(const double *colour, const uint64_t *sums, double pixels, float *matrix) {
    for (int c = 0; c < 3; c++) {
        double added = colour[18 + c];
        for (int k = 0; k < 3; k++) {
            matrix[4 * c + k] = (float)colour[3 * c + k];
            added += colour[9 + 3 * c + k] * (sums[k] / pixels);
        }
        matrix[4 * c + 3] = (float)added;
    }
}

/* `weight` in whole numbers that add up to WEIGHT_ONE, so that a flat picture stays flat. */
static void whole_weights(const float *weight, int16_t *whole) {
    int sum = 0, largest = 0;
    for (int k = 0; k < 4; k++) {
        whole[k] = (int16_t)lrintf(weight[k] * WEIGHT_ONE);
        sum += whole[k];
        if (weight[k] > weight[largest])
            largest = k;
    }
    whole[largest] += WEIGHT_ONE - sum;
}

/* The tables of the first pass from work->across. AVX2: a column's four weights for each of three channels, 16 bits each.
 * AVX-512: for sixteen columns four vectors of high bytes, four of low bytes; lane l of vector i is column 4 l + i.
 * Columns beyond the picture weigh nothing: their numbers stay the zeros of the allocation. */
static void fill_tables(work_t *work, int left, int wide) {
    for (int x = 0; x < work->size; x++) {
        int16_t whole[4];
        uint8_t high[4], low[4], *weight = (uint8_t *)work->weight;
        work->offset[x] = 3 * (work->across[x].first - left);
        whole_weights(work->across[x].weight, whole);
        for (int k = 0; k < 4; k++) {
            high[k] = (uint8_t)((whole[k] + 64) >> 7);
            low[k] = (uint8_t)(whole[k] - (int8_t)high[k] * 128);
        }
        for (int channel = 0; channel < 3; channel++) {
            uint8_t *lane = weight + x / 16 * 512 + x % 4 * 64 + x % 16 / 4 * 16 + 4 * channel;
            if (wide) {
                memcpy(lane, high, 4);
                memcpy(lane + 256, low, 4);
            } else {
                memcpy(weight + 32 * x + 8 * channel, whole, 8);
            }
        }
    }
}

/* Decode what `task` needs, resize it into work->planes, and sum up the planes; 0 when done. */
static int resize_picture(work_t *work, const passes_t *passes, const uint8_t *data, size_t bytes,
                          const int32_t *task, int tolerant, uint64_t *sums) {
    const int size = work->size, columns = work->columns;
    if (task[WIDTH] < 4 || task[HEIGHT] < 4 || task[RESIZED_WIDTH] < 1 || task[RESIZED_HEIGHT] < 1)
        return 1;
    find_taps(work->across, task[WIDTH], task[RESIZED_WIDTH], task[LEFT], size, task[FLIP]);
    find_taps(work->down, task[HEIGHT], task[RESIZED_HEIGHT], task[TOP], size, 0);
    int left = work->across[task[FLIP] ? size - 1 : 0].first, right = work->across[task[FLIP] ? 0 : size - 1].first + 4;
    int top = work->down[0].first, bottom = work->down[size - 1].first + 4;
    const int32_t box[4] = {task[X] + left, task[Y] + top, right - left, bottom - top};
    fill_tables(work, left, passes == &wv_avx512);
    window_t window = {NULL, NULL, NULL, 0};
    if (wv_decode_window(data, bytes, task + PICTURE_WIDTH, task[SCALE], box, tolerant, &window, work->message))
        return 1;
    int32_t held[4] = {-1, -1, -1, -1};
    for (int y = 0; y < size; y++) {
        float *rows[4];
        for (int k = 0; k < 4; k++) {
            int32_t input = work->down[y].first - top + k;
            rows[k] = work->rows + (size_t)(input & 3) * 3 * columns;
            if (held[input & 3] != input) {
                passes->resize_row(work, window.pixels + window.stride * input, rows[k]);
                held[input & 3] = input;
            }
        }
        passes->blend_rows(work, rows, work->down[y].weight, work->planes + (size_t)y * 3 * columns, sums);
    }
    free(window.owned);
    return 0;
}

/* Build `count` pictures of size x size. tasks: FIELDS numbers each; data, bytes: the file of each. colours: 21 numbers a
 * row, or NULL. out, colours, matrices and failed are indexed by the task's ROW. With `matrices` the colours are not
 * applied but written there. failed: 1 where the caller must look itself. beat: progress, counted up; beat[2] = ROW. */
EXPORT int wv_batch(int count, const int32_t *tasks, const uint8_t *const *data, const int64_t *bytes, const double *colours,
                    int size, int tolerant, uint8_t *out, float *matrices, uint8_t *failed, int64_t *beat) {
    char message[WV_MESSAGE];
    const int columns = (size + 31) / 32 * 32;
    const passes_t *passes = wv_kernel() == 2 ? &wv_avx512 : &wv_avx2;
    if (size < 1 || size > MAX_SIZE || !wv_kernel())
        return 1;
    work_t work = {size, columns, malloc(sizeof(tap_t) * size), malloc(sizeof(tap_t) * size),
                   malloc(sizeof(int32_t) * columns), aligned_alloc(64, 32 * (size_t)columns),
                   malloc(sizeof(float) * 12 * columns), malloc((size_t)3 * columns * size), message};
    int ready = work.across && work.down && work.offset && work.weight && work.rows && work.planes;
    if (ready) {
        memset(work.offset, 0, sizeof(int32_t) * columns);
        memset(work.weight, 0, 32 * (size_t)columns);
    }
    for (int i = 0; ready && i < count; i++) {
        const int32_t *task = tasks + FIELDS * i;
        const int32_t row = task[ROW];
        uint64_t sums[3] = {0, 0, 0};
        float matrix[12];
        if (beat) {
            ((volatile int64_t *)beat)[2] = row;
            ((volatile int64_t *)beat)[0]++;
        }
        failed[row] = (uint8_t)resize_picture(&work, passes, data[i], bytes[i], task, tolerant, sums);
        if (failed[row])
            continue;
        if (colours)
            complete_matrix(colours + 21 * row, sums, (double)size * size, matrices ? matrices + 12 * row : matrix);
        passes->write_picture(&work, colours && !matrices ? matrix : NULL, out + (size_t)row * size * size * 3);
    }
    free(work.across);
    free(work.down);
    free(work.offset);
    free(work.weight);
    free(work.rows);
    free(work.planes);
    return !ready;
}

#else
EXPORT int wv_kernel(void) { return 0; }
#endif
