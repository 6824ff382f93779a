/* What decode_window.c offers to view_batch.c. */
#ifndef WV_DECODE_WINDOW_H
#define WV_DECODE_WINDOW_H
#include <stddef.h>
#include <stdint.h>

#define WV_VERSION 3            /* decode.py refuses a library of another version */
#define WV_MESSAGE 200          /* bytes for a message; >= libjpeg's JMSG_LENGTH_MAX */
#define WV_SLACK 32             /* vector loads reach this far past the last pixel of a window */
#define EXPORT __attribute__((visibility("default")))

/* A decoded window: `pixels` is the first byte of its first row, BGR. `memory` is given, and just the size of the
 * window, or NULL: then it is allocated, and `owned` is what to free. */
typedef struct {
    uint8_t *memory, *pixels, *owned;
    size_t stride;
} window_t;

/* Decode `box` = x, y, width, height of a picture of the size picture[0] x picture[1] that is shrunk by `scale` (1, 2, 4,
 * 8; sides rounded up). 0: done. 1: `message` (WV_MESSAGE bytes) says what is wrong, nothing is owned. */
int wv_decode_window(const uint8_t *data, size_t size, const int32_t *picture, int scale, const int32_t *box, int tolerant,
                     window_t *window, char *message);
#endif
