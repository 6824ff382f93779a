/* Pictures inside tar files: walk an archive's headers, find members in their index, read those of a batch.
 *
 * As in read_batch.c, this takes what needs no decision and is sure of, and leaves the rest to Python, which is the
 * authority: data/archives/tarstream.py for headers, members.py for the index, store.py for what a read is refused for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "decode_window.h"

#define BLOCK 512
#define AHEAD (8 << 20)         /* bytes of an archive that the kernel is told of before they are walked */
#define BRIDGED 8192            /* bytes between two members that are read along rather than skipped: a label's, headers */
#define RUN 128                 /* members in one read */
#define BUCKET 1024             /* records of an index looked through at once; a whole one has 32 or so */
#define RECORD 28               /* key, tag, size, block, archive, seal: members.py */

static int64_t padded(int64_t size) { return (size + BLOCK - 1) / BLOCK * BLOCK; }

/* 32 bits that tell whether a header is still the one that was indexed. members.py has the same in NumPy. */
static uint32_t seal_of(const uint8_t *block) {
    uint64_t words[BLOCK / 8], sum = 0;
    memcpy(words, block, BLOCK);
    for (int i = 0; i < BLOCK / 8; i++)
        sum += words[i] * (0x9E3779B97F4A7C15u * (uint64_t)(2 * i + 1));
    return sum >> 32;
}

/* The octal number in a field of `width` bytes, then NULs or blanks; -1: written otherwise. */
static int64_t octal(const uint8_t *field, int width) {
    int64_t number = 0;
    int i = 0, digits;
    while (i < width && field[i] >= '0' && field[i] <= '7')
        number = number * 8 + (field[i++] - '0');
    digits = i;
    while (i < width && (field[i] == 0 || field[i] == ' '))
        i++;
    return digits > 0 && digits < width && i == width ? number : -1;
}

/* The length of a field's text, to its first NUL. */
static int text(const uint8_t *field, int width) { return (int)strnlen((const char *)field, width); }

/* 1: the block is surely the header of a regular file without an extension: `size`, and `name` of `length` bytes. */
static int plain_header(const uint8_t *block, int64_t *size, uint8_t *name, int32_t *length) {
    int64_t sum = 8 * ' ';
    const int prefix = memcmp(block + 257, "ustar\0", 6) == 0 ? text(block + 345, 155) : 0, rest = text(block, 100);
    for (int i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? 0 : block[i];
    if (octal(block + 148, 8) != sum || (block[156] != '0' && block[156] != 0) || rest == 0 || block[rest - 1] == '/')
        return 0;
    *size = octal(block + 124, 12);
    memcpy(name, block + 345, prefix);
    if (prefix)
        name[prefix] = '/';
    memcpy(name + prefix + (prefix > 0), block, rest);
    *length = prefix + (prefix > 0) + rest;
    return *size >= 0;
}

/* Walk the archive `file` of `end` bytes from `*at` on, at most `most` members of at most `largest` bytes each. Returns how
 * many plain regular files came one after the other, and moves `*at` behind them: start and size of each one's bytes, the
 * seal of its header, its name (256 bytes each) and the name's length. */
EXPORT int wv_walk_tar(int file, int64_t end, int64_t *at, int most, int64_t largest, int64_t *starts, int64_t *sizes,
                       uint32_t *seals, uint8_t *names, int32_t *lengths) {
    uint8_t block[BLOCK];
    int64_t told = *at;
    int count = 0;
    for (; count < most && *at + BLOCK <= end; count++) {
        int64_t size;
        if (*at + AHEAD / 2 > told) {
            told = told > *at ? told : *at;
            posix_fadvise(file, told, AHEAD, POSIX_FADV_WILLNEED);
            told += AHEAD;
        }
        if (pread(file, block, BLOCK, *at) != BLOCK || !plain_header(block, &size, names + 256 * (int64_t)count, lengths + count))
            break;
        if (size > largest || *at + BLOCK + padded(size) > end)
            break;
        starts[count] = *at + BLOCK;
        sizes[count] = size;
        seals[count] = seal_of(block);
        *at += BLOCK + padded(size);
    }
    return count;
}

/* Look up `count` digests of 12 bytes in the index `file`: its table of buckets (64-bit record numbers; a digest's first
 * `bits` bits are its bucket's number) is at `table`, its records at `records`. Each that is there gets its record in
 * `out`, and found[i] = 1. Returns how many reads failed: such an index is damaged. */
EXPORT int wv_find_members(int file, int bits, int64_t table, int64_t records, int count, const uint8_t *digests, uint8_t *out,
                           uint8_t *found) {
    uint8_t part[BUCKET * RECORD];
    int failed = 0;
    for (int i = 0; i < count; i++) {
        uint64_t key, bounds[2];
        memcpy(&key, digests + 12 * i, 8);
        const int64_t bucket = bits ? (int64_t)(key >> (64 - bits)) : 0;
        found[i] = 0;
        if (pread(file, bounds, 16, table + 8 * bucket) != 16 || bounds[1] < bounds[0] || bounds[1] - bounds[0] > BUCKET) {
            failed++;
            continue;
        }
        const int64_t size = (int64_t)(bounds[1] - bounds[0]) * RECORD;
        if (size == 0)
            continue;
        if (pread(file, part, size, records + (int64_t)bounds[0] * RECORD) != size) {
            failed++;
            continue;
        }
        for (const uint8_t *record = part; record < part + size; record += RECORD)
            if (memcmp(record, digests + 12 * i, 12) == 0) {
                memcpy(out + (int64_t)RECORD * i, record, RECORD);
                found[i] = 1;
                break;
            }
    }
    return failed;
}

/* What wv_read_members reads: members in the order of their places, each with its header before it. */
typedef struct {
    const int32_t *files;
    const int64_t *starts, *sizes, *positions;
    uint8_t *memory, *headers;
} batch_t;

static uint8_t dump[BRIDGED + BLOCK];  /* written by all threads, read by none */

/* How many members from `first` on are read together: neighbours in one file. */
static int run_length(const batch_t *batch, int first, int count) {
    int length = 1;
    while (first + length < count && length < RUN) {
        const int next = first + length, last = next - 1;
        const int64_t gap = batch->starts[next] - BLOCK - (batch->starts[last] + batch->sizes[last]);
        if (batch->files[next] != batch->files[first] || gap < 0 || gap > BRIDGED)
            break;
        length++;
    }
    return length;
}

static int64_t run_bytes(const batch_t *batch, int first, int length) {
    const int last = first + length - 1;
    return batch->starts[last] + batch->sizes[last] - batch->starts[first] + BLOCK;
}

/* The parts of a run's bytes from `done` on: headers, members, and what lies between. Returns how many. */
static int parts_of(const batch_t *batch, int first, int length, int64_t done, struct iovec *parts) {
    int count = 0;
    for (int i = first; i < first + length; i++) {
        const int64_t before = i == first ? 0 : batch->starts[i] - BLOCK - (batch->starts[i - 1] + batch->sizes[i - 1]);
        const struct iovec of_member[3] = {{dump, before}, {batch->headers + (int64_t)BLOCK * i, BLOCK},
                                           {batch->memory + batch->positions[i], batch->sizes[i]}};
        for (int k = 0; k < 3; k++) {
            const int64_t skipped = done < (int64_t)of_member[k].iov_len ? done : (int64_t)of_member[k].iov_len;
            done -= skipped;
            parts[count].iov_base = (uint8_t *)of_member[k].iov_base + skipped;
            parts[count].iov_len = of_member[k].iov_len - skipped;
            count += parts[count].iov_len > 0;
        }
    }
    return count;
}

/* Read a run from byte `done` of it on; with `only_cached`, what is in memory. Returns how many bytes of it are there. */
static int64_t read_run(const batch_t *batch, int first, int length, int64_t done, int only_cached) {
    struct iovec parts[3 * RUN];
    const int64_t bytes = run_bytes(batch, first, length), from = batch->starts[first] - BLOCK;
    while (done < bytes) {
        const int count = parts_of(batch, first, length, done, parts);
        const ssize_t more = preadv2(batch->files[first], parts, count, from + done, only_cached ? RWF_NOWAIT : 0);
        if (more > 0)
            done += more;
        else if (only_cached || more == 0 || errno != EINTR)
            break;
    }
    return done;
}

/* Read `count` members, sorted by file and place, into `memory`: sizes[i] bytes of files[i] from starts[i] on to
 * positions[i]. ok[i] = 1: whole, its header is the one with seals[i], and it is a plain, upright JPEG of sides[i]. What is
 * not in the page cache is told to the kernel, all of it, before the first of it is waited for: a disk, or a server, has
 * the whole batch to work on. beat: progress, counted up; beat[2] = the row. Returns 0, or -1 without memory. */
EXPORT int wv_read_members(int count, const int32_t *rows, const int32_t *files, const int64_t *starts, const int64_t *sizes,
                           const uint32_t *seals, uint8_t *memory, const int64_t *positions, int32_t *sides, uint8_t *ok,
                           int64_t *beat) {
    int64_t *done = malloc(sizeof(int64_t) * count + (int64_t)BLOCK * count + 1);
    if (!done)
        return -1;
    const batch_t batch = {files, starts, sizes, positions, memory, (uint8_t *)(done + count)};
    for (int first = 0, length; first < count; first += length) {
        length = run_length(&batch, first, count);
        done[first] = read_run(&batch, first, length, 0, 1);
        if (done[first] < run_bytes(&batch, first, length))
            posix_fadvise(files[first], starts[first] - BLOCK + done[first], run_bytes(&batch, first, length) - done[first],
                          POSIX_FADV_WILLNEED);
    }
    for (int first = 0, length; first < count; first += length) {
        length = run_length(&batch, first, count);
        ((volatile int64_t *)beat)[2] = rows[first];
        ((volatile int64_t *)beat)[0]++;
        const int64_t have = read_run(&batch, first, length, done[first], 0);
        for (int i = first; i < first + length; i++)
            ok[i] = have >= starts[i] + sizes[i] - (starts[first] - BLOCK) && seal_of(batch.headers + (int64_t)BLOCK * i) == seals[i]
                    && wv_read_sides(memory + positions[i], sizes[i], sides + 2 * i);
    }
    free(done);
    return 0;
}
