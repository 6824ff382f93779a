/* The least that any loader on libjpeg must do: read each file, decode the random crop's window (or all), drop it.
 *
 *     limit LIST SECONDS window|full     LIST: lines "x y width height picture_width picture_height path"
 *
 * Says "ready", then for every line on its standard input goes through the list, again and again for SECONDS, and prints
 * CPU microseconds per picture.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../webvision/data/native/decode_window.h"

typedef struct { int32_t box[4], picture[2]; char path[4096]; } crop_t;

static void drop(void *whose, uint8_t *const *rows, int first, int count) { (void)whose, (void)rows, (void)first, (void)count; }

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    char line[64], message[WV_MESSAGE];
    const sink_t nowhere = {drop, NULL};
    size_t count = 0, room = 0, capacity = 1 << 22;
    crop_t *crops = NULL, one;
    uint8_t *file = malloc(capacity);
    FILE *list = argc == 4 ? fopen(argv[1], "r") : NULL;
    if (!list || !file)
        return 2;
    while (fscanf(list, "%d %d %d %d %d %d %4095[^\n]", &one.box[0], &one.box[1], &one.box[2], &one.box[3],
                  &one.picture[0], &one.picture[1], one.path) == 7) {
        if (count == room && !(crops = realloc(crops, (room = room * 2 + 1024) * sizeof *crops)))
            return 2;
        memmove(one.path, one.path + (one.path[0] == ' '), strlen(one.path));
        crops[count++] = one;
    }
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double began = cpu_seconds();
        int rounds = 0;
        for (; rounds == 0 || cpu_seconds() - began < atof(argv[2]); rounds++) {
            for (size_t i = 0; i < count; i++) {
                FILE *in = fopen(crops[i].path, "rb");
                if (!in)
                    return 3;
                setvbuf(in, NULL, _IONBF, 0);
                size_t size = fread(file, 1, capacity, in);
                fclose(in);
                int32_t whole[4] = {0, 0, crops[i].picture[0], crops[i].picture[1]};
                if (wv_decode_window(file, size, crops[i].picture, 1, argv[3][0] == 'w' ? crops[i].box : whole, 0, 0, &nowhere, message))
                    return 4;
            }
        }
        printf("%.3f\n", (cpu_seconds() - began) / ((double)count * rounds) * 1e6);
        fflush(stdout);
    }
    return 0;
}
