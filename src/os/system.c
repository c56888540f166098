/* src/os/system.c - texts of /proc become numbers. Most of these files are lists of names and
 * values that grew over twenty years and differ between kernels, so that one table per file says
 * which name goes where, and what is not in a text is not touched. */
#include "os/system.h"

#include "base/err.h"

/* Of /proc/diskstats, whatever the sectors of the disk itself are (iostats.rst). */
#define SECTOR_BYTES 512u
#define NO_LIMIT (UINT64_C(1) << 62) /* version 1 writes LONG_MAX rounded down to a page */

struct named { /* a name in a text and where its value goes */
    const char *name;
    size_t offset;
    uint64_t unit; /* what one is worth */
};
#define AT(type, field) offsetof(struct vv_system_##type, field)

/* A value in another unit; what does not fit is not believed. */
static uint64_t times(uint64_t v, uint64_t unit)
{
    uint64_t product;
    return v == VV_SYSTEM_ABSENT || __builtin_mul_overflow(v, unit, &product) ? VV_SYSTEM_ABSENT
                                                                              : product;
}

static uint64_t number(struct vv_str word)
{
    uint64_t v;
    return vv_str_to_u64(word, &v) == VV_OK ? v : VV_SYSTEM_ABSENT;
}

/* The next word of a line, behind any number of spaces and tabs; empty at the end. */
static struct vv_str next_word(struct vv_str *line)
{
    size_t at = 0;
    while (at < line->n && (line->p[at] == ' ' || line->p[at] == '\t')) {
        at++;
    }
    size_t end = at;
    while (end < line->n && line->p[end] != ' ' && line->p[end] != '\t') {
        end++;
    }
    const struct vv_str word = {line->p + at, end - at};
    *line = (struct vv_str){line->p + end, line->n - end};
    return word;
}

static uint64_t next_number(struct vv_str *line)
{
    return number(next_word(line));
}

static void put(void *base, const struct named *to, size_t count, struct vv_str name, uint64_t v)
{
    for (size_t i = 0; i < count; i++) {
        if (vv_str_eq(name, vv_str_from(to[i].name))) {
            const uint64_t worth = times(v, to[i].unit);
            memcpy((char *)base + to[i].offset, &worth, sizeof(worth));
            return;
        }
    }
}

/* Lines of "name value", "name: value" or "name:\tvalue kB". */
static void parse_names(struct vv_str text, const struct named *to, size_t count, void *base)
{
    while (text.n > 0) {
        struct vv_str line = vv_str_cut(&text, '\n');
        struct vv_str name = next_word(&line);
        if (name.n > 0 && name.p[name.n - 1] == ':') {
            name.n--;
        }
        put(base, to, count, name, next_number(&line));
    }
}

static void absent(void *numbers, size_t bytes)
{
    memset(numbers, 0xff, bytes); /* VV_SYSTEM_ABSENT is all ones */
}

void vv_system_clear(struct vv_system *s)
{
    absent(s, offsetof(struct vv_system, disks));
    s->disks = 0;
    s->nics = 0;
}

/* ------------------------------------------------------------------------- the machine */

void vv_system_parse_stat(struct vv_str text, uint64_t ticks_per_s, struct vv_system_cpu *ret)
{
    static const struct named names[] = {{"ctxt", AT(cpu, switches), 1},
                                         {"processes", AT(cpu, forks), 1},
                                         {"procs_running", AT(cpu, running), 1},
                                         {"procs_blocked", AT(cpu, blocked), 1},
                                         {"btime", AT(cpu, boot_s), 1}};
    const uint64_t tick_ns = ticks_per_s > 0 ? VV_SEC / ticks_per_s : 0;
    uint64_t processors = 0;
    parse_names(text, names, VV_COUNT(names), ret);
    while (text.n > 0) {
        struct vv_str line = vv_str_cut(&text, '\n');
        const struct vv_str name = next_word(&line);
        if (vv_str_eq(name, VV_STR("cpu")) && tick_ns > 0) {
            for (size_t i = 0; i < VV_SYSTEM_MODE_COUNT; i++) {
                ret->mode_ns[i] = times(next_number(&line), tick_ns);
            }
        } else if (vv_str_starts(name, VV_STR("cpu"))) {
            processors++;
        }
    }
    if (processors > 0) {
        ret->processors = processors;
    }
}

/* "0.42" in thousandths. */
static uint64_t milli(struct vv_str word)
{
    const struct vv_str whole = vv_str_cut(&word, '.');
    if (word.n > 3) {
        word.n = 3;
    }
    uint64_t part = word.n > 0 ? number(word) : 0, sum;
    for (size_t i = word.n; i < 3; i++) {
        part = times(part, 10);
    }
    const uint64_t thousands = times(number(whole), 1000);
    if (part == VV_SYSTEM_ABSENT || thousands == VV_SYSTEM_ABSENT ||
        __builtin_add_overflow(thousands, part, &sum)) {
        return VV_SYSTEM_ABSENT;
    }
    return sum;
}

void vv_system_parse_loadavg(struct vv_str text, struct vv_system_cpu *ret)
{
    struct vv_str line = vv_str_cut(&text, '\n');
    ret->load1_milli = milli(next_word(&line));
    ret->load5_milli = milli(next_word(&line));
    ret->load15_milli = milli(next_word(&line));
}

void vv_system_parse_meminfo(struct vv_str text, struct vv_system_memory *ret)
{
    static const struct named names[] = {{"MemTotal", AT(memory, total_bytes), 1024},
                                         {"MemFree", AT(memory, free_bytes), 1024},
                                         {"MemAvailable", AT(memory, available_bytes), 1024},
                                         {"Buffers", AT(memory, buffers_bytes), 1024},
                                         {"Cached", AT(memory, cached_bytes), 1024},
                                         {"Dirty", AT(memory, dirty_bytes), 1024},
                                         {"Writeback", AT(memory, writeback_bytes), 1024},
                                         {"AnonPages", AT(memory, anonymous_bytes), 1024},
                                         {"Shmem", AT(memory, shared_bytes), 1024},
                                         {"Slab", AT(memory, slab_bytes), 1024},
                                         {"Committed_AS", AT(memory, committed_bytes), 1024},
                                         {"SwapTotal", AT(memory, swap_total_bytes), 1024},
                                         {"SwapFree", AT(memory, swap_free_bytes), 1024}};
    parse_names(text, names, VV_COUNT(names), ret);
}

void vv_system_parse_vmstat(struct vv_str text, uint64_t page_bytes, struct vv_system_vm *ret)
{
    const struct named names[] = {{"pswpin", AT(vm, swapped_in_bytes), page_bytes},
                                  {"pswpout", AT(vm, swapped_out_bytes), page_bytes},
                                  {"pgmajfault", AT(vm, major_faults), 1},
                                  {"oom_kill", AT(vm, oom_kills), 1}};
    parse_names(text, names, VV_COUNT(names), ret);
}

/* ----------------------------------------------------------------- disks and interfaces */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool all_between(struct vv_str s, char low, char high)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < low || s.p[i] > high) {
            return false;
        }
    }
    return s.n > 0;
}

/* sda, vdb, xvda, dm-0, md127, nvme0n1, mmcblk0: yes. sda1, nvme0n1p2, mmcblk0p1, loop0, ram1,
 * zram0, sr0, fd0: no. A kind of device that is not known counts when its name ends in no digit. */
static bool whole_disk(struct vv_str name)
{
    static const char *const skipped[] = {"loop", "ram", "zram", "sr", "fd"};
    static const char *const numbered[] = {"dm-", "md", "nbd", "rbd", "bcache", "drbd"};
    for (size_t i = 0; i < VV_COUNT(skipped); i++) {
        const struct vv_str prefix = vv_str_from(skipped[i]);
        if (vv_str_starts(name, prefix) &&
            all_between((struct vv_str){name.p + prefix.n, name.n - prefix.n}, '0', '9')) {
            return false;
        }
    }
    for (size_t i = 0; i < VV_COUNT(numbered); i++) {
        const struct vv_str prefix = vv_str_from(numbered[i]);
        if (vv_str_starts(name, prefix)) { /* md0p1 and nbd0p1 are partitions */
            return all_between((struct vv_str){name.p + prefix.n, name.n - prefix.n}, '0', '9');
        }
    }
    if (vv_str_starts(name, VV_STR("nvme"))) { /* nvme0c1n1 is one of several ways to nvme0n1 */
        return vv_str_find_char(name, 'p') < 0 && vv_str_find_char(name, 'c') < 0;
    }
    if (vv_str_starts(name, VV_STR("mmcblk"))) {
        return vv_str_find_char(name, 'p') < 0;
    }
    return name.n > 0 && !is_digit(name.p[name.n - 1]);
}

static bool keep_name(struct vv_str name, char *buf)
{
    if (name.n == 0 || name.n >= VV_SYSTEM_NAME || memchr(name.p, '\0', name.n) != NULL) {
        return false;
    }
    memcpy(buf, name.p, name.n);
    buf[name.n] = '\0';
    return true;
}

/* The columns behind the name; kernels since 4.18 have more, for discards and flushes. */
static void parse_disk(struct vv_str line, struct vv_system_disk *d)
{
    d->reads = next_number(&line);
    (void)next_word(&line); /* merged */
    d->read_bytes = times(next_number(&line), SECTOR_BYTES);
    d->read_ns = times(next_number(&line), VV_MS);
    d->writes = next_number(&line);
    (void)next_word(&line);
    d->written_bytes = times(next_number(&line), SECTOR_BYTES);
    d->write_ns = times(next_number(&line), VV_MS);
    d->now = next_number(&line);
    d->busy_ns = times(next_number(&line), VV_MS);
    d->weighted_ns = times(next_number(&line), VV_MS);
}

size_t vv_system_parse_diskstats(struct vv_str text, struct vv_system_disk *ret, size_t cap)
{
    size_t n = 0;
    while (text.n > 0 && n < cap) {
        struct vv_str line = vv_str_cut(&text, '\n');
        (void)next_word(&line); /* major */
        (void)next_word(&line); /* minor */
        const struct vv_str name = next_word(&line);
        if (whole_disk(name) && keep_name(name, ret[n].name)) {
            parse_disk(line, &ret[n]);
            n++;
        }
    }
    return n;
}

static void parse_nic(struct vv_str line, struct vv_system_nic *nic)
{
    nic->in_bytes = next_number(&line);
    nic->in_packets = next_number(&line);
    nic->in_errors = next_number(&line);
    nic->in_dropped = next_number(&line);
    for (int i = 0; i < 4; i++) {
        (void)next_word(&line); /* fifo, frame, compressed, multicast */
    }
    nic->out_bytes = next_number(&line);
    nic->out_packets = next_number(&line);
    nic->out_errors = next_number(&line);
    nic->out_dropped = next_number(&line);
}

size_t vv_system_parse_net_dev(struct vv_str text, struct vv_system_nic *ret, size_t cap)
{
    size_t n = 0;
    while (text.n > 0 && n < cap) {
        struct vv_str line = vv_str_cut(&text, '\n');
        if (vv_str_find_char(line, '|') >= 0) {
            continue; /* the two lines of titles */
        }
        /* Old kernels write the first number right behind the colon. An alias is "eth0:1". */
        size_t colon = line.n;
        while (colon > 0 && line.p[colon - 1] != ':') {
            colon--;
        }
        if (colon == 0 ||
            !keep_name(vv_str_trim((struct vv_str){line.p, colon - 1}), ret[n].name)) {
            continue;
        }
        parse_nic((struct vv_str){line.p + colon, line.n - colon}, &ret[n]);
        n++;
    }
    return n;
}

void vv_system_parse_snmp(struct vv_str text, struct vv_system_tcp *ret)
{
    static const struct named tcp[] = {
        {"CurrEstab", AT(tcp, established), 1}, {"ActiveOpens", AT(tcp, opened), 1},
        {"PassiveOpens", AT(tcp, accepted), 1}, {"AttemptFails", AT(tcp, failed), 1},
        {"EstabResets", AT(tcp, reset), 1},     {"InSegs", AT(tcp, in_segments), 1},
        {"OutSegs", AT(tcp, out_segments), 1},  {"RetransSegs", AT(tcp, retransmitted), 1},
        {"InErrs", AT(tcp, in_errors), 1},      {"OutRsts", AT(tcp, out_resets), 1}};
    static const struct named more[] = {{"ListenOverflows", AT(tcp, listen_overflows), 1},
                                        {"ListenDrops", AT(tcp, listen_drops), 1},
                                        {"TCPTimeouts", AT(tcp, timeouts), 1},
                                        {"TCPSynRetrans", AT(tcp, syn_retransmits), 1}};
    while (text.n > 0) {
        struct vv_str names = vv_str_cut(&text, '\n'), rest = text;
        struct vv_str values = vv_str_cut(&rest, '\n');
        const struct vv_str title = next_word(&names);
        if (title.n == 0 || !vv_str_eq(title, next_word(&values))) {
            continue; /* not the first line of a pair */
        }
        text = rest;
        const bool base = vv_str_eq(title, VV_STR("Tcp:"));
        if (!base && !vv_str_eq(title, VV_STR("TcpExt:"))) {
            continue;
        }
        for (struct vv_str name = next_word(&names); name.n > 0; name = next_word(&names)) {
            put(ret, base ? tcp : more, base ? VV_COUNT(tcp) : VV_COUNT(more), name,
                next_number(&values));
        }
    }
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=709515", the total in microseconds. */
void vv_system_parse_pressure(struct vv_str text, struct vv_system_pressure *ret)
{
    while (text.n > 0) {
        struct vv_str line = vv_str_cut(&text, '\n');
        const struct vv_str kind = next_word(&line);
        uint64_t *to = vv_str_eq(kind, VV_STR("some"))   ? &ret->waiting_ns
                       : vv_str_eq(kind, VV_STR("full")) ? &ret->stalled_ns
                                                         : NULL;
        for (struct vv_str word = next_word(&line); to != NULL && word.n > 0;
             word = next_word(&line)) {
            struct vv_str value = word;
            if (vv_str_eq(vv_str_cut(&value, '='), VV_STR("total"))) {
                *to = times(number(value), VV_US);
            }
        }
    }
}

/* ------------------------------------------------------------------------- this process */

void vv_system_parse_self_stat(struct vv_str text, struct vv_system_process *ret)
{
    size_t at = text.n; /* the name may hold anything, also ") ": count from the last one */
    while (at > 0 && text.p[at - 1] != ')') {
        at--;
    }
    if (at == 0) {
        return;
    }
    struct vv_str line = {text.p + at, text.n - at};
    for (int field = 3; field <= 20; field++) { /* proc(5) counts pid and name as 1 and 2 */
        const uint64_t v = next_number(&line);
        if (field == 10) {
            ret->minor_faults = v;
        } else if (field == 12) {
            ret->major_faults = v;
        } else if (field == 20) {
            ret->threads = v;
        }
    }
}

void vv_system_parse_self_status(struct vv_str text, struct vv_system_process *ret)
{
    static const struct named names[] = {{"VmHWM", AT(process, peak_bytes), 1024},
                                         {"VmSwap", AT(process, swap_bytes), 1024}};
    parse_names(text, names, VV_COUNT(names), ret);
}

void vv_system_parse_self_io(struct vv_str text, struct vv_system_process *ret)
{
    static const struct named names[] = {{"read_bytes", AT(process, disk_read_bytes), 1},
                                         {"write_bytes", AT(process, disk_written_bytes), 1}};
    parse_names(text, names, VV_COUNT(names), ret);
}

/* ---------------------------------------------------------------------- control groups */

struct vv_str vv_system_cgroup_path(struct vv_str text, struct vv_str controller)
{
    while (text.n > 0) {
        struct vv_str path = vv_str_cut(&text, '\n'); /* "4:cpu,cpuacct:/path" or "0::/path" */
        const struct vv_str id = vv_str_cut(&path, ':');
        struct vv_str names = vv_str_cut(&path, ':');
        if (path.n == 0 || path.p[0] != '/') {
            continue;
        }
        if (controller.n == 0 && names.n == 0 && vv_str_eq(id, VV_STR("0"))) {
            return path;
        }
        while (controller.n > 0 && names.n > 0) {
            if (vv_str_eq(vv_str_cut(&names, ','), controller)) {
                return path;
            }
        }
    }
    return (struct vv_str){NULL, 0};
}

static uint64_t processors_milli(uint64_t quota, uint64_t period)
{
    const uint64_t thousands = times(quota, 1000);
    return thousands == VV_SYSTEM_ABSENT || period == VV_SYSTEM_ABSENT || period == 0
               ? VV_SYSTEM_ABSENT
               : thousands / period;
}

uint64_t vv_system_parse_cpu_max(struct vv_str text)
{
    struct vv_str line = vv_str_cut(&text, '\n');
    const uint64_t quota = next_number(&line); /* "max" is no number */
    return processors_milli(quota, next_number(&line));
}

uint64_t vv_system_parse_cpu_quota(struct vv_str quota, struct vv_str period)
{
    const struct vv_str a = vv_str_cut(&quota, '\n'), b = vv_str_cut(&period, '\n');
    return processors_milli(number(a), number(b));
}

void vv_system_parse_cpu_stat(struct vv_str text, struct vv_system_cgroup *ret)
{
    static const struct named names[] = {{"usage_usec", AT(cgroup, cpu_ns), VV_US},
                                         {"nr_periods", AT(cgroup, periods), 1},
                                         {"nr_throttled", AT(cgroup, throttled), 1},
                                         {"throttled_usec", AT(cgroup, throttled_ns), VV_US},
                                         {"throttled_time", AT(cgroup, throttled_ns), 1}};
    parse_names(text, names, VV_COUNT(names), ret);
}

void vv_system_parse_memory_events(struct vv_str text, struct vv_system_cgroup *ret)
{
    static const struct named names[] = {{"max", AT(cgroup, memory_failures), 1},
                                         {"oom_kill", AT(cgroup, oom_kills), 1}};
    parse_names(text, names, VV_COUNT(names), ret);
}

uint64_t vv_system_parse_number(struct vv_str text)
{
    const uint64_t v = number(vv_str_trim(vv_str_cut(&text, '\n')));
    return v < NO_LIMIT ? v : VV_SYSTEM_ABSENT;
}
