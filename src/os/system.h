/* src/os/system.h - what the kernel says about the machine, this process and its control group.
 *
 * Model:   the parsers are pure: they get the text of one file of /proc or of a control group and
 *          fill numbers. What a text does not say, or says in a way that is no number, stays
 *          VV_SYSTEM_ABSENT: kernels differ in what they tell, containers hide files, and a missing
 *          number is better than an invented zero. So nothing here fails.
 * Source:  proc(5); Linux Documentation/admin-guide/iostats.rst, cgroup-v1/, cgroup-v2.rst and
 *          Documentation/accounting/psi.rst. Meanings are those of Prometheus' node_exporter.
 * Units:   *_ns nanoseconds, *_bytes bytes, everything else counts.
 * Threads: pure functions; vv_system_read() may run on any thread and reads at most a fixed number
 *          of files of a fixed size, which the kernel makes up from memory: no disk is waited for.
 */
#ifndef VV_OS_SYSTEM_H
#define VV_OS_SYSTEM_H
#include "base/str.h"

#define VV_SYSTEM_ABSENT UINT64_MAX
#define VV_SYSTEM_NAME 32    /* bytes of a device's name with its NUL; longer ones are left out */
#define VV_SYSTEM_DEVICES 64 /* most disks and most network interfaces that are looked at */

/* Where processors spend time, in the order of /proc/stat. Time of guests is part of user. */
#define VV_SYSTEM_MODES(X)                                                                         \
    X(USER, "user")                                                                                \
    X(NICE, "nice")                                                                                \
    X(SYSTEM, "system")                                                                            \
    X(IDLE, "idle")                                                                                \
    X(IOWAIT, "iowait")                                                                            \
    X(IRQ, "irq")                                                                                  \
    X(SOFTIRQ, "softirq")                                                                          \
    X(STEAL, "steal")
#define VV_SYSTEM_MODE_ENUM(id, name) VV_SYSTEM_MODE_##id,
enum vv_system_mode { VV_SYSTEM_MODES(VV_SYSTEM_MODE_ENUM) VV_SYSTEM_MODE_COUNT };

struct vv_system_cpu {                      /* /proc/stat, /proc/loadavg */
    uint64_t mode_ns[VV_SYSTEM_MODE_COUNT]; /* all processors together */
    uint64_t processors, switches, forks, running, blocked, boot_s;
    uint64_t load1_milli, load5_milli, load15_milli;
};
struct vv_system_memory { /* /proc/meminfo */
    uint64_t total_bytes, free_bytes, available_bytes, buffers_bytes, cached_bytes, dirty_bytes;
    uint64_t writeback_bytes, anonymous_bytes, shared_bytes, slab_bytes, committed_bytes;
    uint64_t swap_total_bytes, swap_free_bytes;
};
struct vv_system_vm { /* /proc/vmstat */
    uint64_t swapped_in_bytes, swapped_out_bytes, major_faults, oom_kills;
};
struct vv_system_disk { /* a line of /proc/diskstats */
    char name[VV_SYSTEM_NAME];
    uint64_t reads, read_bytes, read_ns, writes, written_bytes, write_ns;
    uint64_t now, busy_ns, weighted_ns;
};
struct vv_system_nic { /* a line of /proc/net/dev */
    char name[VV_SYSTEM_NAME];
    uint64_t in_bytes, in_packets, in_errors, in_dropped;
    uint64_t out_bytes, out_packets, out_errors, out_dropped;
};
struct vv_system_tcp { /* /proc/net/snmp and /proc/net/netstat */
    uint64_t established, opened, accepted, failed, reset, in_segments, out_segments;
    uint64_t retransmitted, in_errors, out_resets;
    uint64_t listen_overflows, listen_drops, timeouts, syn_retransmits;
};
struct vv_system_pressure {          /* /proc/pressure/{cpu,memory,io} */
    uint64_t waiting_ns, stalled_ns; /* some task waited; no task could run */
};
struct vv_system_process { /* /proc/self/stat, status and io */
    uint64_t threads, minor_faults, major_faults, peak_bytes, swap_bytes;
    uint64_t disk_read_bytes, disk_written_bytes;
};
struct vv_system_cgroup { /* of this process; no limit is VV_SYSTEM_ABSENT */
    uint64_t cpu_ns, cpu_limit_milli /* of a processor */, periods, throttled, throttled_ns;
    uint64_t memory_bytes, memory_limit_bytes, memory_failures, oom_kills;
};
struct vv_system {
    struct vv_system_cpu cpu;
    struct vv_system_memory memory;
    struct vv_system_vm vm;
    struct vv_system_tcp tcp;
    struct vv_system_pressure cpu_pressure, memory_pressure, io_pressure;
    struct vv_system_process process;
    struct vv_system_cgroup cgroup;
    size_t disks, nics;
    struct vv_system_disk disk[VV_SYSTEM_DEVICES];
    struct vv_system_nic nic[VV_SYSTEM_DEVICES];
};

/* Everything absent, no devices. The parsers change only what their text says. */
void vv_system_clear(struct vv_system *s);

void vv_system_parse_stat(struct vv_str text, uint64_t ticks_per_s, struct vv_system_cpu *ret);
void vv_system_parse_loadavg(struct vv_str text, struct vv_system_cpu *ret);
void vv_system_parse_meminfo(struct vv_str text, struct vv_system_memory *ret);
void vv_system_parse_vmstat(struct vv_str text, uint64_t page_bytes, struct vv_system_vm *ret);
/* Whole disks only: partitions would count everything twice, and RAM and loop devices wait for
 * nothing. Returns how many of `cap` were filled. */
size_t vv_system_parse_diskstats(struct vv_str text, struct vv_system_disk *ret, size_t cap);
size_t vv_system_parse_net_dev(struct vv_str text, struct vv_system_nic *ret, size_t cap);
/* Of /proc/net/snmp as well as of /proc/net/netstat: pairs of a line of names and one of values. */
void vv_system_parse_snmp(struct vv_str text, struct vv_system_tcp *ret);
void vv_system_parse_pressure(struct vv_str text, struct vv_system_pressure *ret);
void vv_system_parse_self_stat(struct vv_str text, struct vv_system_process *ret);
void vv_system_parse_self_status(struct vv_str text, struct vv_system_process *ret);
void vv_system_parse_self_io(struct vv_str text, struct vv_system_process *ret);

/* The path of this process' group from /proc/self/cgroup, below the mount of `controller`; of the
 * unified tree (version 2) with an empty controller. {NULL, 0}: no such line. */
struct vv_str vv_system_cgroup_path(struct vv_str text, struct vv_str controller);
/* Version 2: "max 100000" or "50000 100000". 0.5 processors are 500. */
uint64_t vv_system_parse_cpu_max(struct vv_str text);
/* Version 1: quota and period, microseconds; a quota of -1 is no limit. */
uint64_t vv_system_parse_cpu_quota(struct vv_str quota, struct vv_str period);
/* cpu.stat of both versions. */
void vv_system_parse_cpu_stat(struct vv_str text, struct vv_system_cgroup *ret);
/* memory.events (version 2) or memory.oom_control (version 1). */
void vv_system_parse_memory_events(struct vv_str text, struct vv_system_cgroup *ret);
/* One number; "max" and what is larger than 2^62, which version 1 writes, is no limit: absent. */
uint64_t vv_system_parse_number(struct vv_str text);

/* Reads it all below these directories: NULL stands for /proc and /sys/fs/cgroup. Limits are the
 * tightest from the own group up to the root that can be seen, counts are those of the own group,
 * or, where its path is not visible (in a container), of the group that the mount shows. */
void vv_system_read(const char *proc, const char *cgroups, struct vv_system *ret);
#endif
