/* src/observe/system.c - what the kernel says about the machine as vivace_system_* metrics, read at
 * scrape time only, on the scraping thread. What the kernel does not say is no series. */
#include "os/system.h"
#include "observe/metrics_int.h"

#include <stdlib.h>

#define COUNT 1.0
#define NS 1e9
#define MILLI 1e3

struct row { /* a number of struct vv_system, or of a device: value = number / per */
    enum vv_metric id;
    size_t offset;
    double per;
    const char *label; /* NULL: none, or the device */
};
#define ROW(id, field, per, label)                                                                 \
    {                                                                                              \
        VV_METRIC_SYSTEM_##id, offsetof(struct vv_system, field), per, label                       \
    }
#define OF(id, type, field, per)                                                                   \
    {                                                                                              \
        VV_METRIC_SYSTEM_##id, offsetof(struct vv_system_##type, field), per, NULL                 \
    }

static const struct row machine[] = {
    ROW(PROCESSORS, cpu.processors, COUNT, NULL),
    ROW(SWITCHES, cpu.switches, COUNT, NULL),
    ROW(FORKS, cpu.forks, COUNT, NULL),
    ROW(RUNNING, cpu.running, COUNT, NULL),
    ROW(BLOCKED, cpu.blocked, COUNT, NULL),
    ROW(BOOT, cpu.boot_s, COUNT, NULL),
    ROW(LOAD1, cpu.load1_milli, MILLI, NULL),
    ROW(LOAD5, cpu.load5_milli, MILLI, NULL),
    ROW(LOAD15, cpu.load15_milli, MILLI, NULL),
    ROW(MEMORY_TOTAL, memory.total_bytes, COUNT, NULL),
    ROW(MEMORY_FREE, memory.free_bytes, COUNT, NULL),
    ROW(MEMORY_AVAILABLE, memory.available_bytes, COUNT, NULL),
    ROW(MEMORY_BUFFERS, memory.buffers_bytes, COUNT, NULL),
    ROW(MEMORY_CACHED, memory.cached_bytes, COUNT, NULL),
    ROW(MEMORY_DIRTY, memory.dirty_bytes, COUNT, NULL),
    ROW(MEMORY_WRITEBACK, memory.writeback_bytes, COUNT, NULL),
    ROW(MEMORY_ANONYMOUS, memory.anonymous_bytes, COUNT, NULL),
    ROW(MEMORY_SHARED, memory.shared_bytes, COUNT, NULL),
    ROW(MEMORY_SLAB, memory.slab_bytes, COUNT, NULL),
    ROW(MEMORY_COMMITTED, memory.committed_bytes, COUNT, NULL),
    ROW(SWAP_TOTAL, memory.swap_total_bytes, COUNT, NULL),
    ROW(SWAP_FREE, memory.swap_free_bytes, COUNT, NULL),
    ROW(SWAPPED_IN, vm.swapped_in_bytes, COUNT, NULL),
    ROW(SWAPPED_OUT, vm.swapped_out_bytes, COUNT, NULL),
    ROW(MAJOR_FAULTS, vm.major_faults, COUNT, NULL),
    ROW(OOM_KILLS, vm.oom_kills, COUNT, NULL),
    ROW(TCP_ESTABLISHED, tcp.established, COUNT, NULL),
    ROW(TCP_OPENED, tcp.opened, COUNT, NULL),
    ROW(TCP_ACCEPTED, tcp.accepted, COUNT, NULL),
    ROW(TCP_FAILED, tcp.failed, COUNT, NULL),
    ROW(TCP_RESET, tcp.reset, COUNT, NULL),
    ROW(TCP_IN, tcp.in_segments, COUNT, NULL),
    ROW(TCP_OUT, tcp.out_segments, COUNT, NULL),
    ROW(TCP_RETRANSMITTED, tcp.retransmitted, COUNT, NULL),
    ROW(TCP_IN_ERRORS, tcp.in_errors, COUNT, NULL),
    ROW(TCP_OUT_RESETS, tcp.out_resets, COUNT, NULL),
    ROW(TCP_OVERFLOWS, tcp.listen_overflows, COUNT, NULL),
    ROW(TCP_DROPS, tcp.listen_drops, COUNT, NULL),
    ROW(TCP_TIMEOUTS, tcp.timeouts, COUNT, NULL),
    ROW(TCP_SYN_RETRANSMITTED, tcp.syn_retransmits, COUNT, NULL),
    ROW(WAITING, cpu_pressure.waiting_ns, NS, "cpu"),
    ROW(WAITING, memory_pressure.waiting_ns, NS, "memory"),
    ROW(WAITING, io_pressure.waiting_ns, NS, "io"),
    ROW(STALLED, cpu_pressure.stalled_ns, NS, "cpu"),
    ROW(STALLED, memory_pressure.stalled_ns, NS, "memory"),
    ROW(STALLED, io_pressure.stalled_ns, NS, "io"),
    ROW(PROCESS_THREADS, process.threads, COUNT, NULL),
    ROW(PROCESS_FAULTS, process.minor_faults, COUNT, "minor"),
    ROW(PROCESS_FAULTS, process.major_faults, COUNT, "major"),
    ROW(PROCESS_PEAK, process.peak_bytes, COUNT, NULL),
    ROW(PROCESS_SWAP, process.swap_bytes, COUNT, NULL),
    ROW(PROCESS_READ, process.disk_read_bytes, COUNT, NULL),
    ROW(PROCESS_WRITTEN, process.disk_written_bytes, COUNT, NULL),
    ROW(CGROUP_CPU, cgroup.cpu_ns, NS, NULL),
    ROW(CGROUP_CPU_LIMIT, cgroup.cpu_limit_milli, MILLI, NULL),
    ROW(CGROUP_PERIODS, cgroup.periods, COUNT, NULL),
    ROW(CGROUP_THROTTLED, cgroup.throttled, COUNT, NULL),
    ROW(CGROUP_THROTTLED_TIME, cgroup.throttled_ns, NS, NULL),
    ROW(CGROUP_MEMORY, cgroup.memory_bytes, COUNT, NULL),
    ROW(CGROUP_MEMORY_LIMIT, cgroup.memory_limit_bytes, COUNT, NULL),
    ROW(CGROUP_FAILURES, cgroup.memory_failures, COUNT, NULL),
    ROW(CGROUP_OOM_KILLS, cgroup.oom_kills, COUNT, NULL),
};
static const struct row of_disk[] = {
    OF(DISK_READS, disk, reads, COUNT),
    OF(DISK_READ_BYTES, disk, read_bytes, COUNT),
    OF(DISK_READ_TIME, disk, read_ns, NS),
    OF(DISK_WRITES, disk, writes, COUNT),
    OF(DISK_WRITTEN, disk, written_bytes, COUNT),
    OF(DISK_WRITE_TIME, disk, write_ns, NS),
    OF(DISK_NOW, disk, now, COUNT),
    OF(DISK_BUSY, disk, busy_ns, NS),
    OF(DISK_WEIGHTED, disk, weighted_ns, NS),
};
static const struct row of_nic[] = {
    OF(NET_IN, nic, in_bytes, COUNT),           OF(NET_IN_PACKETS, nic, in_packets, COUNT),
    OF(NET_IN_ERRORS, nic, in_errors, COUNT),   OF(NET_IN_DROPPED, nic, in_dropped, COUNT),
    OF(NET_OUT, nic, out_bytes, COUNT),         OF(NET_OUT_PACKETS, nic, out_packets, COUNT),
    OF(NET_OUT_ERRORS, nic, out_errors, COUNT), OF(NET_OUT_DROPPED, nic, out_dropped, COUNT),
};

static void emit(struct vv_collect *c, const struct row *row, const void *base, const char *label)
{
    uint64_t v;
    memcpy(&v, (const char *)base + row->offset, sizeof(v));
    if (v != VV_SYSTEM_ABSENT) {
        const struct vv_str value = vv_str_from(label);
        vv_collect_value(c, row->id, &value, label != NULL ? 1 : 0, (double)v / row->per);
    }
}

/* The kernel adds up idle time and time of waiting for disks from two clocks, so that these may
 * step back a little (proc(5) says so of iowait). A counter that steps back looks like a restart
 * to whoever computes a rate: hours of idle time in one second. Said is what was largest. Several
 * registries may share the floor: they speak of the same machine. */
static uint64_t not_less_than_before(size_t mode, uint64_t now_ns)
{
    static uint64_t floor_ns[VV_SYSTEM_MODE_COUNT];
    uint64_t seen = __atomic_load_n(&floor_ns[mode], __ATOMIC_RELAXED);
    while (seen < now_ns && !__atomic_compare_exchange_n(&floor_ns[mode], &seen, now_ns, true,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return seen > now_ns ? seen : now_ns;
}

static void emit_cpu(struct vv_collect *c, const struct vv_system_cpu *cpu)
{
#define AS_NAME(id, name) [VV_SYSTEM_MODE_##id] = name,
    static const char *const mode[] = {VV_SYSTEM_MODES(AS_NAME)};
#undef AS_NAME
    for (size_t i = 0; i < VV_SYSTEM_MODE_COUNT; i++) {
        const struct vv_str value = vv_str_from(mode[i]);
        if (cpu->mode_ns[i] != VV_SYSTEM_ABSENT) {
            vv_collect_value(c, VV_METRIC_SYSTEM_CPU, &value, 1,
                             (double)not_less_than_before(i, cpu->mode_ns[i]) / NS);
        }
    }
}

void vv_system_collect(struct vv_collect *c, void *user VV_UNUSED)
{
    struct vv_system *s = malloc(sizeof(*s)); /* 10 KB: not for a stack */
    if (s == NULL) {
        return;
    }
    vv_system_read(NULL, NULL, s);
    emit_cpu(c, &s->cpu);
    for (size_t i = 0; i < VV_COUNT(machine); i++) {
        emit(c, &machine[i], s, machine[i].label);
    }
    for (size_t d = 0; d < s->disks; d++) {
        for (size_t i = 0; i < VV_COUNT(of_disk); i++) {
            emit(c, &of_disk[i], &s->disk[d], s->disk[d].name);
        }
    }
    for (size_t d = 0; d < s->nics; d++) {
        for (size_t i = 0; i < VV_COUNT(of_nic); i++) {
            emit(c, &of_nic[i], &s->nic[d], s->nic[d].name);
        }
    }
    free(s);
}
