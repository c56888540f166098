/* src/os/system_read.c - reads the files that system.c understands. Their texts are made up by the
 * kernel at the moment of reading, so that this takes well under a millisecond for all together;
 * a file that is not there, or may not be read, is a gap in the numbers and nothing else. */
#include "os/system.h"

#include "os/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* /proc/stat has a line per processor and one number per interrupt: 256 processors and 4,000
 * interrupts take 60 KB. What does not fit is cut. */
#define TEXT_BYTES 262144u
#define LEVELS_MAX 32 /* of control groups within each other */

struct reader {
    const char *proc, *cgroups;
    char *text; /* TEXT_BYTES */
};

static struct vv_str read_path(struct reader *r, const char *path)
{
    size_t n = 0;
    VV_AUTO(vv_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    while (fd >= 0 && n < TEXT_BYTES) {
        const ssize_t got = read(fd, r->text + n, TEXT_BYTES - n);
        if (got > 0) {
            n += (size_t)got;
        } else if (got == 0 || errno != EINTR) {
            break;
        }
    }
    return (struct vv_str){r->text, n};
}

static struct vv_str read_in(struct reader *r, const char *dir, const char *name)
{
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof(path) ? read_path(r, path) : (struct vv_str){r->text, 0};
}

static void read_machine(struct reader *r, struct vv_system *s)
{
    const long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    vv_system_parse_stat(read_in(r, r->proc, "stat"), ticks > 0 ? (uint64_t)ticks : 0, &s->cpu);
    vv_system_parse_loadavg(read_in(r, r->proc, "loadavg"), &s->cpu);
    vv_system_parse_meminfo(read_in(r, r->proc, "meminfo"), &s->memory);
    vv_system_parse_vmstat(read_in(r, r->proc, "vmstat"), page > 0 ? (uint64_t)page : 4096, &s->vm);
    s->disks =
        vv_system_parse_diskstats(read_in(r, r->proc, "diskstats"), s->disk, VV_COUNT(s->disk));
    s->nics = vv_system_parse_net_dev(read_in(r, r->proc, "net/dev"), s->nic, VV_COUNT(s->nic));
    vv_system_parse_snmp(read_in(r, r->proc, "net/snmp"), &s->tcp);
    vv_system_parse_snmp(read_in(r, r->proc, "net/netstat"), &s->tcp);
    vv_system_parse_pressure(read_in(r, r->proc, "pressure/cpu"), &s->cpu_pressure);
    vv_system_parse_pressure(read_in(r, r->proc, "pressure/memory"), &s->memory_pressure);
    vv_system_parse_pressure(read_in(r, r->proc, "pressure/io"), &s->io_pressure);
    vv_system_parse_self_stat(read_in(r, r->proc, "self/stat"), &s->process);
    vv_system_parse_self_status(read_in(r, r->proc, "self/status"), &s->process);
    vv_system_parse_self_io(read_in(r, r->proc, "self/io"), &s->process);
}

/* ---------------------------------------------------------------------- control groups */

struct group {
    char dir[PATH_MAX]; /* of the own group, or of the mount */
    size_t root;        /* bytes of the mount's path */
};

/* Where the own group of a controller is: `controller` as /proc/self/cgroup names it, empty for
 * version 2, `mount` below the mount of all. False: this machine does not have that. */
static bool find_group(struct reader *r, const char *mount, const char *controller,
                       struct group *ret)
{
    const struct vv_str path =
        vv_system_cgroup_path(read_in(r, r->proc, "self/cgroup"), vv_str_from(controller));
    int n = snprintf(ret->dir, sizeof(ret->dir), "%s%s", r->cgroups, mount);
    if (path.n == 0 || n < 0 || (size_t)n >= sizeof(ret->dir) || access(ret->dir, F_OK) != 0) {
        return false;
    }
    ret->root = (size_t)n;
    /* "/../../x" is a group outside our view of the tree (cgroup_namespaces(7)). */
    if (path.n > 1 && path.n < sizeof(ret->dir) - ret->root &&
        !vv_str_starts(path, VV_STR("/.."))) {
        memcpy(ret->dir + ret->root, path.p, path.n);
        ret->dir[ret->root + path.n] = '\0';
        if (access(ret->dir, F_OK) != 0) { /* the path of the host, seen from a container */
            ret->dir[ret->root] = '\0';
        }
    }
    return true;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b; /* absent is more than everything */
}

typedef uint64_t limit_fn(struct reader *r, const char *dir);

/* The tightest limit from the group up to the mount. */
static uint64_t tightest(struct reader *r, struct group g, limit_fn *limit)
{
    uint64_t found = VV_SYSTEM_ABSENT;
    for (int level = 0; level < LEVELS_MAX; level++) {
        found = least(found, limit(r, g.dir));
        char *const slash = strrchr(g.dir + g.root, '/');
        if (slash == NULL) {
            break;
        }
        *slash = '\0';
    }
    return found;
}

static uint64_t cpu_max(struct reader *r, const char *dir)
{
    return vv_system_parse_cpu_max(read_in(r, dir, "cpu.max"));
}

static uint64_t cpu_quota(struct reader *r, const char *dir)
{
    char keep[32]; /* both texts are needed at once */
    const struct vv_str quota = read_in(r, dir, "cpu.cfs_quota_us");
    const size_t n = quota.n < sizeof(keep) ? quota.n : 0;
    memcpy(keep, quota.p, n);
    return vv_system_parse_cpu_quota((struct vv_str){keep, n},
                                     read_in(r, dir, "cpu.cfs_period_us"));
}

static uint64_t memory_max(struct reader *r, const char *dir)
{
    return vv_system_parse_number(read_in(r, dir, "memory.max"));
}

static uint64_t memory_limit(struct reader *r, const char *dir)
{
    return vv_system_parse_number(read_in(r, dir, "memory.limit_in_bytes"));
}

static void read_v2(struct reader *r, struct vv_system_cgroup *c)
{
    struct group g;
    if (!find_group(r, "/unified", "", &g) && !find_group(r, "", "", &g)) {
        return;
    }
    vv_system_parse_cpu_stat(read_in(r, g.dir, "cpu.stat"), c);
    vv_system_parse_memory_events(read_in(r, g.dir, "memory.events"), c);
    c->memory_bytes = vv_system_parse_number(read_in(r, g.dir, "memory.current"));
    c->cpu_limit_milli = tightest(r, g, cpu_max);
    c->memory_limit_bytes = tightest(r, g, memory_max);
}

/* Version 1 has a tree per controller; on a hybrid machine these are the ones that count. */
static void read_v1(struct reader *r, struct vv_system_cgroup *c)
{
    struct group g;
    if (find_group(r, "/cpu", "cpu", &g) || find_group(r, "/cpu,cpuacct", "cpu", &g)) {
        vv_system_parse_cpu_stat(read_in(r, g.dir, "cpu.stat"), c);
        c->cpu_limit_milli = least(c->cpu_limit_milli, tightest(r, g, cpu_quota));
    }
    if (find_group(r, "/cpuacct", "cpuacct", &g) || find_group(r, "/cpu,cpuacct", "cpuacct", &g)) {
        c->cpu_ns = vv_system_parse_number(read_in(r, g.dir, "cpuacct.usage"));
    }
    if (find_group(r, "/memory", "memory", &g)) {
        c->memory_bytes = vv_system_parse_number(read_in(r, g.dir, "memory.usage_in_bytes"));
        c->memory_failures = vv_system_parse_number(read_in(r, g.dir, "memory.failcnt"));
        vv_system_parse_memory_events(read_in(r, g.dir, "memory.oom_control"), c);
        c->memory_limit_bytes = least(c->memory_limit_bytes, tightest(r, g, memory_limit));
    }
}

void vv_system_read(const char *proc, const char *cgroups, struct vv_system *ret)
{
    struct reader r = {proc != NULL ? proc : "/proc", cgroups != NULL ? cgroups : "/sys/fs/cgroup",
                       malloc(TEXT_BYTES)};
    vv_system_clear(ret);
    if (r.text != NULL) {
        read_machine(&r, ret);
        read_v2(&r, &ret->cgroup);
        read_v1(&r, &ret->cgroup);
        free(r.text);
    }
}
