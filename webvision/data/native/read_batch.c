/* The files of a batch in one call: read them, and find the size of those that are plain, upright JPEGs.
 *
 * Python's system calls, objects and header parsing are 14 us a picture; this is 6, of which 5 are the kernel's. It takes
 * what needs no decision and is sure of: a regular file (no link), not too large, unchanged while it is read, whole, 8-bit
 * Huffman of one or three components, without EXIF. builder.py looks at all others itself, and says what is wrong with them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "decode_window.h"

#define FEW 29          /* scans; images.MAX_SCANNED allows that many of a picture of images.ImagePolicy.max_pixels */

/* 1: the scans after the frame header, which ends at `at`, are surely few enough for images.py at any size that it takes:
 * one that holds all channels and is no progressive one, or FEW. */
static int has_few_scans(const uint8_t *data, int64_t at, int64_t size, int progressive, int channels) {
    while (at + 4 < size && data[at] == 0xFF && data[at + 1] != 0xDA) {
        if (data[at + 1] < 0xC0 || (data[at + 1] >= 0xD0 && data[at + 1] <= 0xD9) || data[at + 1] == 0xFF)
            return 0;
        at += 2 + (data[at + 2] << 8 | data[at + 3]);
    }
    if (at + 4 >= size || data[at] != 0xFF)
        return 0;
    if (!progressive && data[at + 4] == channels)
        return 1;
    int scans = 0;
    for (const uint8_t *mark = data + at; scans <= FEW && (mark = memchr(mark, 0xFF, data + size - 1 - mark)); mark++)
        scans += mark[1] == 0xDA;
    return scans <= FEW;
}

/* 1: `data` is surely such a JPEG, sides[0] x sides[1] pixels. image_headers.py is the authority. */
int wv_read_sides(const uint8_t *data, int64_t size, int32_t *sides) {
    int64_t at = 2;
    if (size < 4 || data[0] != 0xFF || data[1] != 0xD8 || data[size - 2] != 0xFF || data[size - 1] != 0xD9)
        return 0;
    while (at + 4 <= size && data[at] == 0xFF) {
        const uint8_t marker = data[at + 1];
        const int length = data[at + 2] << 8 | data[at + 3];
        const uint8_t *body = data + at + 4;
        if (marker < 0xC0 || (marker >= 0xD0 && marker <= 0xDA) || marker == 0xFF || length < 2 || at + 2 + length > size)
            return 0;
        if (marker == 0xE1 && length >= 8 && body[0] == 'E' && body[1] == 'x')
            return 0;
        if (marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
            if (marker > 0xC2 || length < 8 || body[0] != 8 || (body[5] != 1 && body[5] != 3))
                return 0;
            sides[0] = body[3] << 8 | body[4];
            sides[1] = body[1] << 8 | body[2];
            return sides[0] > 0 && sides[1] > 0 && has_few_scans(data, at + 2 + length, size, marker == 0xC2, body[5]);
        }
        at += 2 + length;
    }
    return 0;
}

/* The size of the regular file `path`, at most `largest`; -1: something else. */
static int64_t regular_size(const char *path, int64_t largest) {
    struct stat state;
    return lstat(path, &state) == 0 && S_ISREG(state.st_mode) && state.st_size <= largest ? state.st_size : -1;
}

/* Read the `size` bytes of `path` into `out`; 0: it is not what it was, or cannot be read. */
static int read_file(const char *path, int64_t size, uint8_t *out) {
    struct stat state;
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    int64_t have = 0;
    if (file < 0)
        return 0;
    if (fstat(file, &state) == 0 && S_ISREG(state.st_mode) && state.st_size == size)
        while (have < size) {
            ssize_t more = read(file, out + have, size - have);
            if (more == 0 || (more < 0 && errno != EINTR))
                break;
            have += more > 0 ? more : 0;
        }
    close(file);
    return have == size;
}

/* Read the files `paths` of the batch's `rows` into `memory`. sizes: the bytes of each, or -1 where the caller must look
 * itself; sides: width and height of each. They lie one after the other, those of size -1 take no room. Returns how much
 * memory they need; if that is over `room`, nothing was read. beat: progress, counted up; beat[2] = the row. */
EXPORT int64_t wv_read(int count, const char *const *paths, const int32_t *rows, int64_t largest, uint8_t *memory, int64_t room,
                       int64_t *sizes, int32_t *sides, int64_t *beat) {
    int64_t needed = 0, used = 0;
    for (int i = 0; i < count; i++) {
        ((volatile int64_t *)beat)[2] = rows[i];
        ((volatile int64_t *)beat)[0]++;
        sizes[i] = regular_size(paths[i], largest);
        needed += sizes[i] > 0 ? sizes[i] : 0;
    }
    if (needed > room)
        return needed;
    for (int i = 0; i < count; i++) {
        ((volatile int64_t *)beat)[2] = rows[i];
        ((volatile int64_t *)beat)[0]++;
        if (sizes[i] >= 0 && read_file(paths[i], sizes[i], memory + used) && wv_read_sides(memory + used, sizes[i], sides + 2 * i))
            used += sizes[i];
        else
            sizes[i] = -1;
    }
    return needed;
}
