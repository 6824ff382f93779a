/* What decode_window.c offers to view_batch.c and to the benchmark's limit. */
#ifndef WV_DECODE_WINDOW_H
#define WV_DECODE_WINDOW_H
#include <stddef.h>
#include <stdint.h>

#define WV_VERSION 7            /* decode.py refuses a library of another version */
#define WV_MESSAGE 200          /* bytes for a message; >= libjpeg's JMSG_LENGTH_MAX */
#define WV_SLACK 32             /* vector loads reach this far past the last pixel of a row */
#define WV_STRIP 8              /* rows that are handed over together: they stay in the first-level cache */
#define WV_REFUSED 1            /* status: the data is damaged, or not what the caller said */
#define WV_NO_MEMORY 2          /* status: says nothing about the data */
#define EXPORT __attribute__((visibility("default")))

/* Where the rows of a window go while they are decoded: rows[i] is the first byte of row first + i, BGR, gone after the
 * call. Strips come in order; all but the last have WV_STRIP rows. */
typedef struct {
    void (*take)(void *whose, uint8_t *const *rows, int first, int count);
    void *whose;
} sink_t;

/* Decode `box` = x, y, width, height of a picture of the size picture[0] x picture[1] that is shrunk by `scale` (1, 2, 4,
 * 8; sides rounded up). With `whole` the rest is gone through too: damage anywhere is a refusal. 0: done. WV_REFUSED, WV_NO_MEMORY: `message` (WV_MESSAGE bytes) says what is wrong. */
int wv_decode_window(const uint8_t *data, size_t size, const int32_t *picture, int scale, const int32_t *box, int tolerant,
                     int whole, const sink_t *sink, char *message);

/* read_batch.c, for read_members.c: whether `data` is surely a plain, upright JPEG, and its sides. */
int wv_read_sides(const uint8_t *data, int64_t size, int32_t *sides);
#endif
