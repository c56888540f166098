/* src/observe/process.c - what the kernel says about this process, as the standard process_*
 * metrics. Read at scrape time only. Field numbers: proc(5), /proc/pid/stat. */
#include "observe/metrics_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { F_UTIME = 14, F_STIME = 15, F_START = 22, F_VSIZE = 23, F_RSS = 24 };

enum vv_err vv_process_parse(struct vv_str stat, uint64_t ticks_per_s, uint64_t page_bytes,
                             struct vv_process_stats *ret)
{
    size_t at =
        stat.n; /* the name (field 2) may hold anything, also ") ": count from the last one */
    while (at > 0 && stat.p[at - 1] != ')') {
        at--;
    }
    if (at == 0 || ticks_per_s == 0) {
        return VV_ESYNTAX;
    }
    struct vv_str rest = vv_str_trim((struct vv_str){stat.p + at, stat.n - at});
    uint64_t field[F_RSS + 1] = {0};
    for (int i = 3; i <= F_RSS; i++) {
        const struct vv_str word = vv_str_cut(&rest, ' ');
        if (i >= F_UTIME && i != 16 && i != 17 && i != 18 && i != 19 &&
            vv_str_to_u64(word, &field[i]) != VV_OK) { /* 16 to 19 may be negative, unused */
            return VV_ESYNTAX;
        }
    }
    ret->cpu_ns = (field[F_UTIME] + field[F_STIME]) * (VV_SEC / ticks_per_s);
    ret->start_ns = field[F_START] * (VV_SEC / ticks_per_s);
    ret->virtual_bytes = field[F_VSIZE];
    ret->resident_bytes = field[F_RSS] * page_bytes;
    return VV_OK;
}

static struct vv_str read_file(const char *path, char *buf, size_t cap)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return (struct vv_str){buf, 0};
    }
    size_t n = 0;
    ssize_t got = 1;
    while (n < cap && got > 0) {
        got = read(fd, buf + n, cap - n);
        n += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return (struct vv_str){buf, n};
}

/* Seconds since 1970 at which the machine started, 0 when unknown. */
static uint64_t boot_s(void)
{
    char buf[65536];
    struct vv_str rest = read_file("/proc/stat", buf, sizeof(buf));
    while (rest.n > 0) {
        struct vv_str line = vv_str_cut(&rest, '\n');
        uint64_t s;
        if (vv_str_eq(vv_str_cut(&line, ' '), VV_STR("btime")) &&
            vv_str_to_u64(vv_str_trim(line), &s) == VV_OK) {
            return s;
        }
    }
    return 0;
}

/* Linux 6.2 and later say the number as the size of the directory; before, it must be walked, which
 * with many connections costs milliseconds on the scraping thread. */
static uint64_t open_fds(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
        return (uint64_t)st.st_size;
    }
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;
    while (dir != NULL) {
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            closedir(dir);
            return n > 0 ? n - 1 : 0; /* the directory's own descriptor is gone now */
        }
        n += entry->d_name[0] != '.' ? 1 : 0;
    }
    return 0;
}

enum vv_err vv_process_read(struct vv_process_stats *ret)
{
    static uint64_t boot_ns; /* never changes; a race writes the same value twice */
    char buf[2048];
    *ret = (struct vv_process_stats){0};
    const enum vv_err err =
        vv_process_parse(read_file("/proc/self/stat", buf, sizeof(buf)),
                         (uint64_t)sysconf(_SC_CLK_TCK), (uint64_t)sysconf(_SC_PAGESIZE), ret);
    if (err != VV_OK) {
        return err;
    }
    uint64_t boot = __atomic_load_n(&boot_ns, __ATOMIC_RELAXED);
    if (boot == 0) {
        boot = boot_s() * VV_SEC;
        __atomic_store_n(&boot_ns, boot, __ATOMIC_RELAXED);
    }
    struct rlimit files;
    ret->start_ns += boot;
    ret->open_fds = open_fds();
    ret->max_fds = getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 0;
    return VV_OK;
}

void vv_process_collect(struct vv_collect *c, void *user VV_UNUSED)
{
    struct vv_process_stats s;
    if (vv_process_read(&s) != VV_OK) {
        return; /* no /proc in this jail: leave the metrics out rather than invent zeros */
    }
    vv_collect_value(c, VV_METRIC_PROCESS_CPU, NULL, 0, (double)s.cpu_ns / 1e9);
    vv_collect_value(c, VV_METRIC_PROCESS_RESIDENT, NULL, 0, (double)s.resident_bytes);
    vv_collect_value(c, VV_METRIC_PROCESS_VIRTUAL, NULL, 0, (double)s.virtual_bytes);
    vv_collect_value(c, VV_METRIC_PROCESS_OPEN_FDS, NULL, 0, (double)s.open_fds);
    vv_collect_value(c, VV_METRIC_PROCESS_MAX_FDS, NULL, 0, (double)s.max_fds);
    vv_collect_value(c, VV_METRIC_PROCESS_START, NULL, 0, (double)s.start_ns / 1e9);
}
