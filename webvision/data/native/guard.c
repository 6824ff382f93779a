/* A mapped file that another program cuts short: to read past its new end is a SIGBUS, which ends the process. Here the
 * rest of such a mapping becomes zeros instead, and its owner is told by a flag. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include "decode_window.h"

#define GUARDED 64              /* mappings at a time; one more is not guarded */

typedef struct {
    volatile uintptr_t start, end;      /* 0: free */
    volatile int torn;
} region_t;

static region_t regions[GUARDED];
static struct sigaction before;
static uintptr_t page;

static void on_bus(int number, siginfo_t *info, void *context) {
    const uintptr_t at = (uintptr_t)info->si_addr;
    (void)number, (void)context;
    for (int i = 0; i < GUARDED; i++) {
        const uintptr_t from = at & ~(page - 1);
        if (!regions[i].start || at < regions[i].start || at >= regions[i].end)
            continue;
        regions[i].torn = 1;
        if (mmap((void *)from, regions[i].end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
            return;             /* and the read is made again */
    }
    sigaction(SIGBUS, &before, NULL);   /* none of ours: what comes of it is not our affair */
}

/* Guard the `bytes` from `start` on, the beginning of a mapping. The flag that says when it was cut; NULL: no room. */
EXPORT const volatile int *wv_guard(void *start, size_t bytes) {
    if (!page) {
        struct sigaction action = {0};
        page = (uintptr_t)sysconf(_SC_PAGESIZE);
        action.sa_sigaction = on_bus;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGBUS, &action, &before);
    }
    for (int i = 0; i < GUARDED; i++)
        if (!regions[i].start) {
            regions[i].torn = 0;
            regions[i].end = ((uintptr_t)start + bytes + page - 1) & ~(page - 1);
            regions[i].start = (uintptr_t)start;
            return &regions[i].torn;
        }
    return NULL;
}

/* The mapping is about to go. */
EXPORT void wv_unguard(void *start) {
    for (int i = 0; i < GUARDED; i++)
        if (regions[i].start == (uintptr_t)start)
            regions[i].start = 0;
}
