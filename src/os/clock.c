/* src/os/clock.c - clocks through the vDSO, entropy through getrandom(2), and how many cores the
 * process may use: a container's CPU quota counts as much as the affinity mask. */
#include "os/clock.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;
    VV_ASSERT(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * VV_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t vv_clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t vv_clock_wall(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t vv_clock_thread(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void vv_entropy_fill(void *p, size_t n)
{
    char *at = p;
    while (n > 0) {
        const ssize_t got = getrandom(at, n, 0);
        VV_ASSERT(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}

uint64_t vv_entropy_u64(void)
{
    uint64_t v;
    vv_entropy_fill(&v, sizeof(v));
    return v;
}

static unsigned affinity_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return (unsigned)CPU_COUNT(&set);
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1,024 cores */
    return online > 0 ? (unsigned)online : 1;
}

static bool read_line(const char *dir, const char *sub, const char *name, char *buf, size_t bytes)
{
    char path[1024];
    const int n = snprintf(path, sizeof(path), "%s%s/%s", dir, sub, name);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return false;
    }
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    const bool got = fgets(buf, (int)bytes, f) != NULL;
    fclose(f);
    return got;
}

/* Cores that quota/period allows, rounded up; UINT_MAX-like 0 means no limit. */
static unsigned cores_of(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) {
        return 0;
    }
    const long long cores = (quota + period - 1) / period;
    return cores > 4096 ? 0 : (unsigned)cores;
}

static unsigned quota_v2(const char *sub)
{
    char line[64];
    long long quota = 0, period = 0;
    if (!read_line("/sys/fs/cgroup", sub, "cpu.max", line, sizeof(line)) ||
        sscanf(line, "%lld %lld", &quota, &period) != 2) { /* "max 100000" does not match */
        return 0;
    }
    return cores_of(quota, period);
}

static unsigned quota_v1(const char *sub)
{
    static const char *const mounts[] = {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu"};
    char quota[32], period[32];
    for (size_t i = 0; i < VV_COUNT(mounts); i++) {
        if (read_line(mounts[i], sub, "cpu.cfs_quota_us", quota, sizeof(quota)) &&
            read_line(mounts[i], sub, "cpu.cfs_period_us", period, sizeof(period))) {
            return cores_of(atoll(quota), atoll(period));
        }
    }
    return 0;
}

/* The tightest quota from our own group up to the root that we can see. Inside a container the
 * path in /proc may name a place outside our view: then only the visible root counts. */
static unsigned quota_of_path(char *path, unsigned (*quota)(const char *))
{
    unsigned least = 0;
    for (;;) {
        const unsigned here = quota(path);
        if (here != 0 && (least == 0 || here < least)) {
            least = here;
        }
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

static unsigned cgroup_cores(void)
{
    char line[1024];
    unsigned least = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (f == NULL) {
        return 0;
    }
    while (fgets(line, sizeof(line), f) != NULL) { /* "0::/path" or "4:cpu,cpuacct:/path" */
        line[strcspn(line, "\n")] = '\0';
        char *const names = strchr(line, ':');
        char *const path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path = '\0';
        unsigned cores = 0;
        if (names[1] == '\0') {
            cores = quota_of_path(path + 1, quota_v2);
        } else if (strcmp(names + 1, "cpu") == 0 || strstr(names + 1, "cpuacct") != NULL) {
            cores = quota_of_path(path + 1, quota_v1);
        }
        if (cores != 0 && (least == 0 || cores < least)) {
            least = cores;
        }
    }
    fclose(f);
    return least;
}

unsigned vv_cpu_usable(void)
{
    const unsigned mask = affinity_cores(), quota = cgroup_cores();
    const unsigned cores = quota != 0 && quota < mask ? quota : mask;
    return cores > 0 ? cores : 1;
}
