/* src/os/clock.h - the only place that reads clocks, entropy and the machine's size. */
#ifndef VV_OS_CLOCK_H
#define VV_OS_CLOCK_H
#include "base/defs.h"

uint64_t vv_clock_now(void);    /* CLOCK_MONOTONIC, ns */
uint64_t vv_clock_wall(void);   /* CLOCK_REALTIME, ns since 1970 */
uint64_t vv_clock_thread(void); /* CPU time of this thread, ns */
uint64_t vv_entropy_u64(void);  /* getrandom(2) */
void vv_entropy_fill(void *p, size_t n);
/* Cores this process may really use: the smaller of affinity mask and cgroup v1/v2 CPU quota
 * (rounded up), at least 1. */
unsigned vv_cpu_usable(void);
#endif
