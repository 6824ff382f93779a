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
#define UNALIGNED 8             /* libjpeg-turbo writes aligned rows past the caches, and whoever reads them next waits for memory */
#define MAX_SCANS 500           /* a progressive file of 64 KB can hold thousands of scans over 64 Mpx each */
EXPORT int wv_version(void) { return WV_VERSION; }

typedef struct {
    struct jpeg_error_mgr base;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    int tolerant, status;
    char *message;
} watch_t;

/* Lack of memory is the machine's, not the file's: the picture's size, which memory follows, was agreed to by the caller. */
static void fail(j_common_ptr info) {
    watch_t *watch = (watch_t *)info->err;
    watch->base.format_message(info, watch->message);
    if (info->err->msg_code == JERR_OUT_OF_MEMORY || info->err->msg_code == JERR_NO_BACKING_STORE)
        watch->status = WV_NO_MEMORY;
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

static void reject(j_decompress_ptr info, const char *why) {
    watch_t *watch = (watch_t *)info->err;
    snprintf(watch->message, WV_MESSAGE, "%s", why);
    longjmp(watch->escape, 1);
}

/* Read the header and begin, at `scale`; the header must tell the size that the caller was told. */
static void start(j_decompress_ptr info, const uint8_t *data, size_t size, const int32_t *picture, int scale) {
    jpeg_mem_src(info, (unsigned char *)data, size);
    jpeg_read_header(info, TRUE);
    if ((int32_t)info->image_width != picture[0] || (int32_t)info->image_height != picture[1])
        reject(info, "two headers of different sizes");
    info->out_color_space = JCS_EXT_BGR;
    info->scale_num = 1;
    info->scale_denom = scale;
    jpeg_start_decompress(info);
}

/* Whether libjpeg cuts rows exactly. With a sampling factor of 4 it may upsample a component only in part (two of four
 * fold, or the rest that its shrinking leaves over), and then counts the columns of a cut row wrongly: up to 251 levels. */
static int cuts_exactly(j_decompress_ptr info) {
    return info->max_h_samp_factor < 4 && info->max_v_samp_factor < 4;
}

/* Go through what lies below the window, for damage there. The last row is read, since libjpeg takes a skip to the very
 * end as leave to look at nothing more. Where there are several scans, all of them were read at the start. */
static void read_rest(j_decompress_ptr info, JSAMPARRAY rows) {
    if (!jpeg_has_multiple_scans(info)) {
        if (info->output_scanline + 1 < info->output_height && cuts_exactly(info))
            jpeg_skip_scanlines(info, info->output_height - info->output_scanline - 1);
        while (info->output_scanline < info->output_height)
            if (jpeg_read_scanlines(info, rows, 1) < 1)
                reject(info, "the decoder stopped");
        jpeg_finish_decompress(info);
    }
}

/* Hand the rows of `box` to `sink`, decoding a margin at its sides. */
static void read_window(j_decompress_ptr info, const int32_t *box, int whole, const sink_t *sink) {
    const int32_t x = box[0], y = box[1], w = box[2], h = box[3];
    if (x < 0 || y < 0 || w < 1 || h < 1 || (int64_t)x + w > info->output_width || (int64_t)y + h > info->output_height)
        reject(info, "a window outside the picture");
    JDIMENSION left = x > MARGIN ? x - MARGIN : 0, right = x + w + MARGIN, width;
    if (right > info->output_width)
        right = info->output_width;
    width = right - left;
    if (width < info->output_width && cuts_exactly(info)) {
        jpeg_crop_scanline(info, &left, &width);        /* moves left to a block's edge */
    } else {
        left = 0;
        width = info->output_width;
    }
    JSAMPARRAY rows = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, UNALIGNED + width * 3 + WV_SLACK, WV_STRIP);
    uint8_t *shown[WV_STRIP];
    for (int i = 0; i < WV_STRIP; i++) {
        rows[i] += UNALIGNED;
        shown[i] = rows[i] + (size_t)(x - left) * 3;
    }
    if (y > 0)
        jpeg_skip_scanlines(info, y);
    for (int32_t row = 0; row < h;) {
        int wanted = h - row < WV_STRIP ? h - row : WV_STRIP, have = 0;
        while (have < wanted) {
            int got = jpeg_read_scanlines(info, rows + have, wanted - have);
            if (got <= 0)
                reject(info, "the decoder stopped");
            have += got;
        }
        sink->take(sink->whose, shown, row, wanted);
        row += wanted;
    }
    if (whole)
        read_rest(info, rows);
}

int wv_decode_window(const uint8_t *data, size_t size, const int32_t *picture, int scale, const int32_t *box, int tolerant,
                     int whole, const sink_t *sink, char *message) {
    struct jpeg_decompress_struct info;
    watch_t watch;

    info.err = jpeg_std_error(&watch.base);
    watch.base.error_exit = fail;
    watch.base.emit_message = on_message;
    watch.tolerant = tolerant;
    watch.message = message;
    watch.status = WV_REFUSED;
    if (setjmp(watch.escape)) {
        jpeg_destroy_decompress(&info);
        return watch.status;
    }
    jpeg_create_decompress(&info);
    watch.progress.progress_monitor = on_progress;
    info.progress = &watch.progress;
    start(&info, data, size, picture, scale);
    read_window(&info, box, whole && !tolerant, sink);
    jpeg_destroy_decompress(&info);
    return 0;
}

typedef struct { uint8_t *pixels; size_t stride; } copy_t;

static void copy_rows(void *whose, uint8_t *const *rows, int first, int count) {
    const copy_t *copy = whose;
    for (int i = 0; i < count; i++)
        memcpy(copy->pixels + copy->stride * (first + i), rows[i], copy->stride);
}

EXPORT int wv_decode(const uint8_t *data, size_t size, const int32_t *picture, int scale, const int32_t *box, int tolerant,
                     int whole, uint8_t *out, char *message) {
    copy_t copy = {out, (size_t)box[2] * 3};
    const sink_t sink = {copy_rows, &copy};
    message[0] = 0;
    return wv_decode_window(data, size, picture, scale, box, tolerant, whole, &sink, message);
}
