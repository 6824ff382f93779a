/* JPEG windows: decode only what a crop needs.
 *
 * Built by `make setup` where a C compiler and libjpeg-turbo's headers are; decode.py loads it through ctypes and lives
 * without it. The data is a stranger's: every error of the decoder, and every warning about the picture's data, comes
 * back as a status and a message, never as an exit; sizes are checked against what the caller read from the header.
 * Nothing is kept between calls, so that any thread may call, and no file can lean on tables of the one before.
 */
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>
#include "decode_window.h"

#define MARGIN 2                /* fancy upsampling looks one chroma sample to each side: 2 px make a window exact */
#define MAX_SCANS 500           /* a progressive file of 64 KB can hold thousands of scans over 64 Mpx each */
EXPORT int wv_version(void) { return WV_VERSION; }

typedef struct {
    struct jpeg_error_mgr base;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    int tolerant;
    char *message;
} watch_t;

static void fail(j_common_ptr info) {
    watch_t *watch = (watch_t *)info->err;
    watch->base.format_message(info, watch->message);
    longjmp(watch->escape, 1);
}

static void on_message(j_common_ptr info, int level) {
    watch_t *watch = (watch_t *)info->err;
    /* Odd headers are harmless; every other warning is about damaged data. */
    if (level >= 0 || watch->tolerant || info->err->msg_code == JWRN_ADOBE_XFORM || info->err->msg_code == JWRN_JFIF_MAJOR)
        return;
    fail(info);
}

static void on_progress(j_common_ptr info) {
    watch_t *watch = (watch_t *)info->err;
    if (info->is_decompressor && ((j_decompress_ptr)info)->input_scan_number > MAX_SCANS) {
        snprintf(watch->message, WV_MESSAGE, "more than %d scans", MAX_SCANS);
        longjmp(watch->escape, 1);
    }
}

int wv_decode_window(const uint8_t *data, size_t size, const int32_t *picture, int scale, const int32_t *box, int tolerant,
                     window_t *window, char *message) {
    struct jpeg_decompress_struct info;
    watch_t watch;
    const int32_t x = box[0], y = box[1], w = box[2], h = box[3];
    JSAMPROW rows[8];

    info.err = jpeg_std_error(&watch.base);
    watch.base.error_exit = fail;
    watch.base.emit_message = on_message;
    watch.tolerant = tolerant;
    watch.message = message;
    if (setjmp(watch.escape)) {
        jpeg_destroy_decompress(&info);
        free(window->owned);
        window->owned = NULL;
        return 1;
    }
    jpeg_create_decompress(&info);
    watch.progress.progress_monitor = on_progress;
    info.progress = &watch.progress;
    jpeg_mem_src(&info, (unsigned char *)data, size);
    jpeg_read_header(&info, TRUE);
    if ((int32_t)info.image_width != picture[0] || (int32_t)info.image_height != picture[1]) {
        snprintf(message, WV_MESSAGE, "two headers of different sizes");
        longjmp(watch.escape, 1);
    }
    info.out_color_space = JCS_EXT_BGR;
    info.scale_num = 1;
    info.scale_denom = scale;
    jpeg_start_decompress(&info);
    if (x < 0 || y < 0 || w < 1 || h < 1 || (int64_t)x + w > info.output_width || (int64_t)y + h > info.output_height) {
        snprintf(message, WV_MESSAGE, "a window outside the picture");
        longjmp(watch.escape, 1);
    }
    JDIMENSION left = x > MARGIN ? x - MARGIN : 0, right = x + w + MARGIN, width;
    if (right > info.output_width)
        right = info.output_width;
    width = right - left;
    if (width < info.output_width)
        jpeg_crop_scanline(&info, &left, &width);       /* moves left to a block's edge */
    else
        left = 0;
    if (window->memory && width != (JDIMENSION)w) {     /* the caller's memory holds the window without margins */
        snprintf(message, WV_MESSAGE, "no room for a margin");
        longjmp(watch.escape, 1);
    }
    window->stride = (size_t)width * 3;
    if (!window->memory)
        window->memory = window->owned = malloc(window->stride * h + WV_SLACK);
    if (!window->memory) {
        snprintf(message, WV_MESSAGE, "out of memory");
        longjmp(watch.escape, 1);
    }
    window->pixels = window->memory + (size_t)(x - left) * 3;
    if (y > 0)
        jpeg_skip_scanlines(&info, y);
    for (int32_t row = 0; row < h;) {
        int wanted = h - row < 8 ? h - row : 8;
        for (int i = 0; i < wanted; i++)
            rows[i] = window->memory + window->stride * (row + i);
        int got = jpeg_read_scanlines(&info, rows, wanted);
        if (got <= 0) {
            snprintf(message, WV_MESSAGE, "the decoder stopped");
            longjmp(watch.escape, 1);
        }
        row += got;
    }
    jpeg_destroy_decompress(&info);
    return 0;
}

EXPORT int wv_decode(const uint8_t *data, size_t size, const int32_t *picture, int scale, const int32_t *box, int tolerant,
                     uint8_t *out, char *message) {
    /* A window as wide as the picture has no margins and goes straight to `out`. */
    int whole_rows = box[0] == 0 && scale > 0 && box[2] == (picture[0] + scale - 1) / scale;
    window_t window = {whole_rows ? out : NULL, NULL, NULL, 0};
    message[0] = 0;
    if (wv_decode_window(data, size, picture, scale, box, tolerant, &window, message))
        return 1;
    if (!whole_rows)
        for (int32_t row = 0; row < box[3]; row++)
            memcpy(out + (size_t)row * box[2] * 3, window.pixels + row * window.stride, (size_t)box[2] * 3);
    free(window.owned);
    return 0;
}
