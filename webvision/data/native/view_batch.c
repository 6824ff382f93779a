/* A whole training batch in one call: window decode, bicubic resize, mirror, colour matrix.
 *
 * Python's and OpenCV's share of a picture (about 100 us of 300) becomes about 35, and threads stop waiting for the
 * interpreter's lock. A picture's rows are resized while they are decoded, a strip at a time, and never lie in memory as a
 * whole. The arithmetic is that of OpenCV's INTER_CUBIC (a = -0.75, edges repeated) and cv2.transform, with weights in 13
 * and 14 bits (OpenCV: 11): two values in a thousand are one level off. OpenCV's own two ways, with and without Intel's
 * IPP, differ in thirty. Needs AVX2; elsewhere builder.py goes picture by picture through OpenCV.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "decode_window.h"

enum { ROW, PICTURE_WIDTH, PICTURE_HEIGHT, SCALE, X, Y, WIDTH, HEIGHT, RESIZED_WIDTH, RESIZED_HEIGHT, LEFT, TOP, FLIP, ALL, FIELDS };

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

/* Where an output column or row comes from: four inputs from `first` on, and their weights. */
typedef struct { int32_t first; float weight[4]; } tap_t;

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

/* `weight` in whole numbers that add up to `one`, so that a flat picture stays flat. */
static void whole_weights(const float *weight, int one, int16_t *whole) {
    int sum = 0, largest = 0;
    for (int k = 0; k < 4; k++) {
        whole[k] = (int16_t)lrintf(weight[k] * one);
        sum += whole[k];
        if (weight[k] > weight[largest])
            largest = k;
    }
    whole[largest] += one - sum;
}

/* The tables of the first pass. AVX2: a column's four weights for each of three channels, 16 bits each. AVX-512: for
 * sixteen columns four vectors of high bytes, four of low bytes; lane l of vector i is column 4 l + i. Columns beyond the
 * picture weigh nothing: their numbers stay the zeros of the allocation. */
static void fill_tables(work_t *work, const tap_t *taps, int left) {
    const int wide = work->passes == &wv_avx512;
    for (int x = 0; x < work->size; x++) {
        int16_t whole[4];
        uint8_t high[4], low[4];
        work->offset[x] = 3 * (taps[x].first - left);
        whole_weights(taps[x].weight, 1 << ACROSS_BITS, whole);
        for (int k = 0; k < 4; k++) {
            high[k] = (uint8_t)((whole[k] + 64) >> 7);
            low[k] = (uint8_t)(whole[k] - (int8_t)high[k] * 128);
        }
        for (int channel = 0; channel < 3; channel++) {
            uint8_t *lane = work->weight + x / 16 * 512 + x % 4 * 64 + x % 16 / 4 * 16 + 4 * channel;
            if (wide) {
                memcpy(lane, high, 4);
                memcpy(lane + 256, low, 4);
            } else {
                memcpy(work->weight + 32 * x + 8 * channel, whole, 8);
            }
        }
    }
}

/* The table of the second pass; inputs are counted from `top`. */
static void fill_blends(work_t *work, const tap_t *taps, int top) {
    for (int y = 0; y < work->size; y++) {
        blend_t *blend = &work->blends[y];
        int first = taps[y].first - top;
        memset(blend, 0, sizeof *blend);
        blend->first = first / 2;
        blend->last = (first + 3) / 2;
        whole_weights(taps[y].weight, 1 << DOWN_BITS, blend->weight + first % 2);
    }
}

/* Resize the rows of a strip, and complete what they complete. */
static void take_rows(void *whose, uint8_t *const *rows, int first, int count) {
    work_t *work = whose;
    for (int i = 0; i < count && work->done < work->size; i += 2) {
        int pair = (first + i) / 2;
        if (pair < work->blends[work->done].first)
            continue;
        /* A last row without a neighbour is its own: it weighs nothing there. */
        work->passes->resize_pair(work, rows[i], rows[i + 1 < count ? i + 1 : i], pair_of(work, pair));
        for (; work->done < work->size && work->blends[work->done].last == pair; work->done++)
            work->passes->blend_rows(work, work->done);
    }
}

/* Decode what `task` needs, resize it into work->planes, and sum up the planes; 0 when done, or WV_REFUSED, WV_NO_MEMORY. */
static int resize_picture(work_t *work, tap_t *taps, const uint8_t *data, size_t bytes, const int32_t *task, int tolerant) {
    const int size = work->size;
    char message[WV_MESSAGE];
    if (task[WIDTH] < 4 || task[HEIGHT] < 4 || task[RESIZED_WIDTH] < 1 || task[RESIZED_HEIGHT] < 1)
        return WV_REFUSED;
    find_taps(taps, task[WIDTH], task[RESIZED_WIDTH], task[LEFT], size, task[FLIP]);
    int left = taps[task[FLIP] ? size - 1 : 0].first, right = taps[task[FLIP] ? 0 : size - 1].first + 4;
    fill_tables(work, taps, left);
    find_taps(taps, task[HEIGHT], task[RESIZED_HEIGHT], task[TOP], size, 0);
    int top = taps[0].first, bottom = taps[size - 1].first + 4;
    fill_blends(work, taps, top);
    const int32_t box[4] = {task[X] + left, task[Y] + top, right - left, bottom - top};
    const sink_t sink = {take_rows, work};
    work->done = 0;
    memset(work->sums, 0, sizeof work->sums);
    int status = wv_decode_window(data, bytes, task + PICTURE_WIDTH, task[SCALE], box, tolerant, task[ALL], &sink, message);
    return status || work->done == size ? status : WV_REFUSED;
}

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

/* Memory for pictures of `size`, zeroed; 0 if there is none. */
static int open_work(work_t *work, tap_t **taps, int size) {
    const size_t columns = (size + 31) / 32 * 32;
    /* One block: what follows begins on cache lines, since `columns` is a multiple of 32. */
    const size_t parts[] = {32 * columns, 4 * 3 * PAIRS * columns, 3 * columns * size, 4 * columns, sizeof(blend_t) * columns,
                            sizeof(tap_t) * columns};
    size_t bytes = 0, at[6];
    for (int i = 0; i < 6; i++) {
        at[i] = bytes;
        bytes += (parts[i] + 63) / 64 * 64;
    }
    uint8_t *block = aligned_alloc(64, bytes);
    if (!block)
        return 0;
    memset(block, 0, at[2]);
    memset(block + at[3], 0, parts[3]);
    *work = (work_t){size, (int)columns, wv_kernel() == 2 ? &wv_avx512 : &wv_avx2, (int32_t *)(block + at[3]), block + at[0],
                     (blend_t *)(block + at[4]), (int32_t *)(block + at[1]), block + at[2], 0, {0, 0, 0}};
    *taps = (tap_t *)(block + at[5]);
    return 1;
}

/* Build `count` pictures of size x size. tasks: FIELDS numbers each; data, bytes: the file of each. colours: 21 numbers a
 * row, or NULL. out, colours, matrices and failed are indexed by the task's ROW. With `matrices` the colours are not
 * applied but written there. failed: 1 where the caller must look itself, 2 where memory ran out. beat: progress, counted up; beat[2] = ROW. */
EXPORT int wv_batch(int count, const int32_t *tasks, const uint8_t *const *data, const int64_t *bytes, const double *colours,
                    int size, int tolerant, uint8_t *out, float *matrices, uint8_t *failed, int64_t *beat) {
    work_t work;
    tap_t *taps;
    if (size < 1 || size > MAX_SIZE || !wv_kernel() || !open_work(&work, &taps, size))
        return 1;
    for (int i = 0; i < count; i++) {
        const int32_t *task = tasks + FIELDS * i;
        const int32_t row = task[ROW];
        float matrix[12];
        if (beat) {
            ((volatile int64_t *)beat)[2] = row;
            ((volatile int64_t *)beat)[0]++;
        }
        failed[row] = (uint8_t)resize_picture(&work, taps, data[i], bytes[i], task, tolerant);
        if (failed[row])
            continue;
        if (colours)
            complete_matrix(colours + 21 * row, work.sums, (double)size * size, matrices ? matrices + 12 * row : matrix);
        work.passes->write_picture(&work, colours && !matrices ? matrix : NULL, out + (size_t)row * size * size * 3);
    }
    free(work.weight);          /* where the block begins */
    return 0;
}

#else
EXPORT int wv_kernel(void) { return 0; }
#endif
