/* src/series/files.c - the directory: `lock`, `labels` (which number is which series), and for each
 * tier `K-N.log`, the open segment, and `K-N.seg`, closed ones. A closed segment appears under its
 * name when it is whole, and only then its log goes; so of every segment one of the two is there,
 * whenever the process is killed. Sizes are known without asking the file system. */
#include "series/series_int.h"

#include "os/file.h"
#include "os/sock.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LABELS "labels"
#define LABELS_TEMP "labels.tmp"
#define FILE_BYTES_MAX UINT32_MAX

struct name {
    unsigned tier;
    uint64_t seq;
    bool log;
};
struct names {
    struct name *at;
    size_t n, cap;
};

void vv_series_file_name(char buf[64], unsigned tier, uint64_t seq, const char *end)
{
    (void)snprintf(buf, 64, "%u-%016" PRIu64 ".%s", tier, seq, end);
}

static uint64_t on_disk(uint64_t bytes)
{
    return (bytes + VV_SERIES_DISK_UNIT - 1) / VV_SERIES_DISK_UNIT * VV_SERIES_DISK_UNIT;
}

uint64_t vv_series_files_bytes(const struct vv_samples *s)
{
    uint64_t sum = on_disk(s->labels_bytes);
    for (size_t k = 0; k < VV_SAMPLES_TIERS; k++) {
        sum += on_disk(s->tier[k].log_bytes);
        for (size_t i = 0; i < s->tier[k].seg_n; i++) {
            sum += on_disk(s->tier[k].seg[i].bytes);
        }
    }
    return sum;
}

static void delete_segment(struct vv_samples *s, unsigned tier, size_t i)
{
    struct vv_tier *r = &s->tier[tier];
    char name[64];
    vv_series_file_name(name, tier, r->seg[i].seq, "seg");
    if (unlinkat(s->dir_fd, name, 0) != 0 && errno != ENOENT) {
        s->stats.write_errors++;
    }
    vv_segment_fini(&r->seg[i]);
    r->seg_n--;
    memmove(&r->seg[i], &r->seg[i + 1], (r->seg_n - i) * sizeof *r->seg);
}

static bool evict(struct vv_samples *s)
{
    unsigned tier = 0;
    size_t which = SIZE_MAX;
    int64_t ended = INT64_MAX;
    for (unsigned k = 0; k < VV_SAMPLES_TIERS; k++) {
        for (size_t i = 0; i < s->tier[k].seg_n; i++) {
            if (s->tier[k].seg[i].max_ms < ended) {
                ended = s->tier[k].seg[i].max_ms;
                tier = k;
                which = i;
            }
        }
    }
    if (which != SIZE_MAX) {
        delete_segment(s, tier, which);
        s->stats.evicted++;
    }
    return which != SIZE_MAX;
}

/* Makes room for `more` at the end of a file of so many bytes. */
enum vv_err vv_series_files_room(struct vv_samples *s, uint64_t file_bytes, uint64_t more)
{
    const uint64_t grows = on_disk(file_bytes + more) - on_disk(file_bytes);
    if (grows > s->conf.disk_bytes_max) {
        return VV_ELIMIT;
    }
    while (vv_series_files_bytes(s) > s->conf.disk_bytes_max - grows) {
        if (!evict(s)) {
            return VV_ELIMIT;
        }
    }
    return VV_OK;
}

void vv_series_files_expire(struct vv_samples *s)
{
    if (s->last_ms == VV_SERIES_NEVER) {
        return;
    }
    for (unsigned k = 0; k < VV_SAMPLES_TIERS; k++) {
        struct vv_tier *r = &s->tier[k];
        for (size_t i = r->seg_n; i-- > 0;) {
            if (r->seg[i].max_ms < s->last_ms - r->keep_ms ||
                r->seg[i].min_ms > s->last_ms + r->keep_ms) {
                delete_segment(s, k, i);
                s->stats.expired++;
            }
        }
    }
    while (vv_series_files_bytes(s) > s->conf.disk_bytes_max && evict(s)) {
    }
}

/* All of it or an error; the file is then cut back. */
static enum vv_err write_at(int fd, uint64_t at, const uint8_t *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        const ssize_t put = pwrite(fd, p + done, n - done, (off_t)(at + done));
        if (put < 0 && errno != EINTR) {
            const enum vv_err err = vv_err_from_errno(errno);
            if (ftruncate(fd, (off_t)at) != 0) {
                return VV_EIO; /* the tail is torn, and is stepped over when read */
            }
            return err;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return VV_OK;
}

static enum vv_err open_for_log(struct vv_samples *s, unsigned tier)
{
    struct vv_tier *r = &s->tier[tier];
    char name[64];
    vv_series_file_name(name, tier, r->seq, "log");
    r->fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    r->log_bytes = 0;
    return r->fd < 0 ? vv_err_from_errno(errno) : VV_OK;
}

/* Appends s->out to the open log. */
enum vv_err vv_series_files_log(struct vv_samples *s, unsigned tier)
{
    struct vv_tier *r = &s->tier[tier];
    const enum vv_err room = vv_series_files_room(s, r->log_bytes, s->out.n);
    if (room != VV_OK) {
        return room;
    }
    if ((r->fd < 0 && open_for_log(s, tier) != VV_OK) ||
        write_at(r->fd, r->log_bytes, s->out.p, s->out.n) != VV_OK) {
        s->stats.write_errors++;
        return VV_EIO;
    }
    r->log_bytes += s->out.n;
    r->unsynced = true;
    return VV_OK;
}

enum vv_err vv_series_files_labels(struct vv_samples *s, const struct vv_one *one)
{
    s->out.n = 0;
    s->out.failed = false;
    vv_series_labels_write(one, &s->out);
    if (s->out.failed) {
        return VV_ENOMEM;
    }
    enum vv_err err = vv_series_files_room(s, s->labels_bytes, s->out.n);
    if (err == VV_OK) {
        err = write_at(s->labels_fd, s->labels_bytes, s->out.p, s->out.n);
        s->stats.write_errors += err != VV_OK;
    }
    if (err == VV_OK) {
        s->labels_bytes += s->out.n;
        s->labels_unsynced = true;
    }
    return err;
}

static enum vv_err sync_fd(int fd)
{
    return fd < 0 || fdatasync(fd) == 0 || errno == EINVAL ? VV_OK : VV_EIO;
}

/* Labels first: samples of a number without labels could not be read. */
enum vv_err vv_series_files_sync(struct vv_samples *s)
{
    enum vv_err err = s->labels_unsynced ? sync_fd(s->labels_fd) : VV_OK;
    s->labels_unsynced = s->labels_unsynced && err != VV_OK;
    for (unsigned k = VV_SAMPLES_TIERS; k-- > 0;) {
        if (s->tier[k].unsynced) {
            const enum vv_err one = sync_fd(s->tier[k].fd);
            s->tier[k].unsynced = one != VV_OK;
            err = err == VV_OK ? one : err;
        }
    }
    s->stats.write_errors += err != VV_OK;
    return err;
}

static void drop_log(struct vv_samples *s, unsigned tier)
{
    struct vv_tier *r = &s->tier[tier];
    char name[64];
    if (r->fd >= 0) {
        vv_series_file_name(name, tier, r->seq, "log");
        vv_close_fd(&r->fd);
        if (unlinkat(s->dir_fd, name, 0) != 0 && errno != ENOENT) {
            s->stats.write_errors++;
        }
    }
    r->log_bytes = 0;
    r->unsynced = false;
}

/* Writes s->out as the closed segment: whole under its name, or not at all. VV_ELIMIT: no room in the
 * budget; VV_EIO: the file system would not. */
static enum vv_err put_segment(struct vv_samples *s, unsigned tier)
{
    char temp[64], name[64];
    vv_series_file_name(temp, tier, s->tier[tier].seq, "tmp");
    vv_series_file_name(name, tier, s->tier[tier].seq, "seg");
    enum vv_err err = vv_series_files_room(s, 0, s->out.n);
    if (err != VV_OK) {
        return err;
    }
    VV_AUTO(vv_close_fd)
    int fd = openat(s->dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return VV_EIO;
    }
    err = write_at(fd, 0, s->out.p, s->out.n) == VV_OK ? VV_OK : VV_EIO;
    if (err == VV_OK && s->conf.sync_ns > 0) {
        err = sync_fd(fd);
    }
    if (err == VV_OK && renameat(s->dir_fd, temp, s->dir_fd, name) != 0) {
        err = VV_EIO;
    }
    if (err != VV_OK) {
        (void)unlinkat(s->dir_fd, temp, 0);
    } else if (s->conf.sync_ns > 0 && fsync(s->dir_fd) != 0 && errno != EINVAL) {
        s->stats.write_errors++; /* whole for every reader, if not for a machine that loses power */
    }
    return err;
}

static bool segment_room(struct vv_tier *r)
{
    if (r->seg_n == r->seg_cap) {
        const size_t cap = 2 * r->seg_cap + 16;
        struct vv_segment *seg = realloc(r->seg, cap * sizeof *seg);
        if (seg == NULL) {
            return false;
        }
        r->seg = seg;
        r->seg_cap = cap;
    }
    return true;
}

/* False: the disk would not take it, and log and chunks stay for another try. With `now` they go. */
bool vv_series_files_close_segment(struct vv_samples *s, unsigned tier, bool now)
{
    struct vv_tier *r = &s->tier[tier];
    struct vv_segment g = {0};
    enum vv_err err;
    if (tier == 0 && s->conf.sync_ns > 0) {
        vv_series_files_sync(s); /* coarse tiers must have what this log knows; counted */
    }
    s->out.n = 0;
    s->out.failed = false;
    err = segment_room(r) ? vv_segment_build(&s->index, tier, r->seq, &s->out, &g) : VV_ENOMEM;
    if (err == VV_OK) {
        err = put_segment(s, tier);
    }
    if (err != VV_OK && err != VV_ELIMIT && !now) {
        s->stats.write_errors++;
        vv_bytes_fini(&s->out);
        return false;
    }
    const bool again = err != VV_OK && g.bytes > 0;
    drop_log(s, tier);
    if (again) { /* without its log there may be room */
        err = put_segment(s, tier);
    }
    if (err == VV_OK) {
        r->seg[r->seg_n++] = g;
        s->stats.closed++;
    } else {
        s->stats.write_errors++;
    }
    r->seq++;
    vv_bytes_fini(&s->out); /* the size of a whole segment: not to be kept */
    vv_rows_restart(&r->rows);
    vv_series_empty_head(s, tier);
    return true;
}

static enum vv_err read_whole(const struct vv_samples *s, const char *name, char **ret, size_t *n)
{
    char path[PATH_MAX];
    const int len = snprintf(path, sizeof path, "%s/%s", s->dir, name);
    if (len < 0 || (size_t)len >= sizeof path) {
        return VV_EINVAL;
    }
    return vv_file_read(path, FILE_BYTES_MAX, ret, n);
}

static enum vv_err read_labels(struct vv_samples *s, size_t *ret_records)
{
    char *text = NULL;
    size_t n = 0, at = 0;
    bool gap = false;
    struct vv_str record;
    const enum vv_err read = read_whole(s, LABELS, &text, &n);
    if (read != VV_OK) {
        return read == VV_ENOENT ? VV_OK : read;
    }
    while (vv_record_next((const uint8_t *)text, n, &at, &record, &gap, &s->stats.damaged)) {
        struct vv_promql_label labels[VV_SAMPLES_LABELS_MAX];
        struct vv_one *one = NULL;
        enum vv_samples_kind kind;
        uint32_t id = 0;
        size_t labels_n = 0;
        *ret_records += 1;
        if (vv_series_labels_read(record, &id, &kind, labels, &labels_n) != VV_OK) {
            s->stats.damaged++;
        } else if (vv_series_index_add(&s->index, id, (struct vv_promql_labels){labels, labels_n},
                                       kind, &one) != VV_OK) {
            free(text);
            return VV_ENOMEM;
        }
    }
    s->stats.torn_bytes += n - at;
    s->labels_bytes = at;
    free(text);
    return VV_OK;
}

/* The file anew, with the series that have samples only. */
static enum vv_err rewrite_labels(struct vv_samples *s)
{
    struct vv_bytes all = {0};
    for (uint32_t i = 0; i < s->index.n; i++) {
        if (s->index.at[i] != NULL) {
            vv_series_labels_write(s->index.at[i], &all);
        }
    }
    if (all.failed) {
        vv_bytes_fini(&all);
        return VV_ENOMEM;
    }
    enum vv_err err = vv_series_files_room(s, 0, all.n);
    if (err != VV_OK) {
        vv_bytes_fini(&all);
        return err;
    }
    VV_AUTO(vv_close_fd)
    int fd = openat(s->dir_fd, LABELS_TEMP, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    err = fd >= 0 ? write_at(fd, 0, all.p, all.n) : vv_err_from_errno(errno);
    if (err == VV_OK && s->conf.sync_ns > 0) {
        err = sync_fd(fd);
    }
    if (err == VV_OK && renameat(s->dir_fd, LABELS_TEMP, s->dir_fd, LABELS) != 0) {
        err = vv_err_from_errno(errno);
    }
    if (err == VV_OK) {
        vv_close_fd(&s->labels_fd);
        s->labels_fd = vv_take_fd(&fd);
        s->labels_bytes = all.n;
    } else {
        (void)unlinkat(s->dir_fd, LABELS_TEMP, 0);
    }
    vv_bytes_fini(&all);
    return err;
}

static int name_order(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return x->tier != y->tier ? (x->tier < y->tier ? -1 : 1)
           : x->seq != y->seq ? (x->seq < y->seq ? -1 : 1)
                              : (int)x->log - (int)y->log;
}

static enum vv_err scan(struct vv_samples *s, struct names *ns)
{
    DIR *dir = opendir(s->dir);
    const struct dirent *e;
    if (dir == NULL) {
        return vv_err_from_errno(errno);
    }
    while ((e = readdir(dir)) != NULL) {
        unsigned tier = 0;
        uint64_t seq = 0;
        char end[4] = "", name[64];
        if (sscanf(e->d_name, "%1u-%16" SCNu64 ".%3s", &tier, &seq, end) != 3 ||
            tier >= VV_SAMPLES_TIERS) {
            continue;
        }
        vv_series_file_name(name, tier, seq, end);
        if (strcmp(name, e->d_name) != 0) {
            continue;
        }
        if (strcmp(end, "tmp") == 0) {
            (void)unlinkat(s->dir_fd, name, 0);
        } else if (strcmp(end, "log") == 0 || strcmp(end, "seg") == 0) {
            if (ns->n == ns->cap) {
                struct name *at = realloc(ns->at, (2 * ns->cap + 64) * sizeof *at);
                if (at == NULL) {
                    closedir(dir);
                    return VV_ENOMEM;
                }
                ns->at = at;
                ns->cap = 2 * ns->cap + 64;
            }
            ns->at[ns->n++] = (struct name){tier, seq, end[0] == 'l'};
        }
    }
    closedir(dir);
    if (ns->n > 1) {
        qsort(ns->at, ns->n, sizeof *ns->at, name_order);
    }
    return VV_OK;
}

/* What the newest segment of the finest tier knows as last values. */
static void take_last(struct vv_samples *s, const uint8_t *buf, size_t n,
                      const struct vv_segment_slot *slots, uint32_t ids)
{
    for (uint32_t id = 0; id < ids && id < s->index.n; id++) {
        struct vv_one *one = s->index.at[id];
        struct vv_segment_chunk c;
        if (one != NULL && slots[id].bytes > 0 && slots[id].at < n &&
            vv_segment_chunk(buf + slots[id].at, n - slots[id].at, &c) == VV_OK && c.id == id) {
            one->last_ms = one->number_ms = c.last_ms;
            one->last_v = one->number = c.last_v;
        }
    }
}

static enum vv_err open_segment(struct vv_samples *s, const struct name *f)
{
    struct vv_tier *r = &s->tier[f->tier];
    struct vv_segment g = {0};
    struct vv_segment_slot *slots = NULL;
    char name[64], *text = NULL;
    size_t n = 0;
    vv_series_file_name(name, f->tier, f->seq, "seg");
    enum vv_err err = read_whole(s, name, &text, &n);
    if (err == VV_OK) {
        err = vv_segment_check((const uint8_t *)text, n, &g, &slots, &s->stats.damaged);
    }
    g.seq = f->seq;
    if (err == VV_OK && !segment_room(r)) {
        vv_segment_fini(&g);
        err = VV_ENOMEM;
    }
    if (err == VV_OK) {
        r->seg[r->seg_n++] = g;
        for (uint32_t id = 0; id < g.ids && id < s->index.n; id++) {
            struct vv_one *one = s->index.at[id];
            if (one != NULL && slots[id].bytes > 0 && one->newest_ms < g.max_ms) {
                one->newest_ms = g.max_ms;
            }
        }
        for (uint32_t id = 0; id < g.ids; id++) {
            if (slots[id].bytes > 0) {
                vv_series_index_seen(&s->index, id);
            }
        }
        if (f->tier == 0) {
            take_last(s, (const uint8_t *)text, n, slots, g.ids);
        } else if (g.max_ms < VV_SERIES_T_MAX) {
            r->flushed_ms = vv_series_floor(g.max_ms < 0 ? 0 : g.max_ms, r->step_ms) + r->step_ms;
        }
    } else if (err == VV_ESYNTAX) {
        (void)unlinkat(s->dir_fd, name, 0);
    }
    free(slots);
    free(text);
    return err;
}

struct replay {
    struct vv_samples *s;
    unsigned tier;
};

static void replay_coarse(void *user, int64_t until_ms, const struct vv_row_value *at, size_t n)
{
    const struct replay *p = user;
    vv_series_replay_coarse(p->s, p->tier, until_ms, at, n);
}

/* Reads a log into the open chunks, and goes on writing it. */
static enum vv_err open_log(struct vv_samples *s, const struct name *f)
{
    struct vv_tier *r = &s->tier[f->tier];
    struct replay p = {s, f->tier};
    char name[64], *text = NULL;
    size_t n = 0;
    vv_series_file_name(name, f->tier, f->seq, "log");
    const enum vv_err err = read_whole(s, name, &text, &n);
    if (err != VV_OK) {
        return err;
    }
    if (r->start_ms != VV_SERIES_NEVER) { /* two logs: the older one was not closed */
        (void)vv_series_files_close_segment(s, f->tier, true);
    }
    drop_log(s, f->tier);
    r->seq = f->seq;
    r->fd = openat(s->dir_fd, name, O_RDWR | O_CLOEXEC);
    if (r->fd < 0) {
        free(text);
        return vv_err_from_errno(errno);
    }
    const size_t end = vv_rows_read(&r->rows, (const uint8_t *)text, n,
                                    f->tier == 0 ? vv_series_replay_fine : replay_coarse,
                                    f->tier == 0 ? (void *)s : (void *)&p, &s->stats.damaged);
    s->stats.torn_bytes += n - end;
    free(text);
    if (end < n && ftruncate(r->fd, (off_t)end) != 0) {
        return vv_err_from_errno(errno);
    }
    r->log_bytes = end;
    if (r->start_ms == VV_SERIES_NEVER) {
        drop_log(s, f->tier);
    }
    return VV_OK;
}

static enum vv_err open_tier(struct vv_samples *s, const struct names *ns, unsigned tier)
{
    bool have = false; /* the segment of this number is there, whole */
    uint64_t last = 0;
    enum vv_err err = VV_OK;
    for (size_t i = 0; i < ns->n && err == VV_OK; i++) {
        const struct name *f = &ns->at[i];
        if (f->tier != tier) {
            continue;
        }
        have = have && f->seq == last;
        last = f->seq;
        if (!f->log) {
            err = open_segment(s, f);
            have = err == VV_OK;
            err = err == VV_ESYNTAX ? VV_OK : err;
        } else if (have) {
            char name[64];
            vv_series_file_name(name, tier, f->seq, "log");
            (void)unlinkat(s->dir_fd, name, 0);
        } else {
            err = open_log(s, f);
        }
    }
    if (err == VV_OK && s->tier[tier].start_ms != VV_SERIES_NEVER && s->tier[tier].seq < last) {
        (void)vv_series_files_close_segment(s, tier,
                                            true); /* a log that could not be deleted once */
    }
    if (s->tier[tier].start_ms == VV_SERIES_NEVER && s->tier[tier].seq <= last) {
        s->tier[tier].seq = last + 1;
    }
    return err;
}

static enum vv_err open_dir(struct vv_samples *s, const char *dir)
{
    s->dir = strdup(dir);
    if (s->dir == NULL) {
        return VV_ENOMEM;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return vv_err_from_errno(errno);
    }
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0) {
        return vv_err_from_errno(errno);
    }
    s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        return vv_err_from_errno(errno);
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? VV_EAGAIN : vv_err_from_errno(errno);
    }
    (void)unlinkat(s->dir_fd, LABELS_TEMP, 0);
    s->labels_fd = openat(s->dir_fd, LABELS, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return s->labels_fd < 0 ? vv_err_from_errno(errno) : VV_OK;
}

/* Series without a sample go, when they are many. */
static enum vv_err tidy_labels(struct vv_samples *s, size_t records)
{
    enum vv_err err = ftruncate(s->labels_fd, (off_t)s->labels_bytes) == 0 ? VV_OK : VV_EIO;
    size_t used = 0;
    for (uint32_t i = 0; i < s->index.n; i++) {
        used += s->index.at[i] != NULL && s->index.at[i]->newest_ms != VV_SERIES_NEVER;
    }
    if (err == VV_OK && records - used > used / 4 + 16) {
        err = vv_series_index_drop(&s->index, VV_SERIES_NEVER + 1);
        if (err == VV_OK && rewrite_labels(s) != VV_OK) {
            s->stats.write_errors++; /* the old file is good, too */
        }
    }
    return err;
}

enum vv_err vv_series_files_open(struct vv_samples *s, const char *dir)
{
    struct names ns = {0};
    size_t records = 0;
    enum vv_err err = open_dir(s, dir);
    if (err == VV_OK) {
        err = read_labels(s, &records);
    }
    if (err == VV_OK) {
        err = scan(s, &ns);
    }
    for (unsigned k = VV_SAMPLES_TIERS; k-- > 0 && err == VV_OK;) {
        err = open_tier(s, &ns, k);
    }
    free(ns.at);
    return err == VV_OK ? tidy_labels(s, records) : err;
}

void vv_series_files_fini(struct vv_samples *s)
{
    if (s->conf.sync_ns > 0) {
        (void)vv_series_files_sync(s);
    }
    for (size_t k = 0; k < VV_SAMPLES_TIERS; k++) {
        vv_close_fd(&s->tier[k].fd);
    }
    vv_close_fd(&s->labels_fd);
    vv_close_fd(&s->lock_fd);
    vv_close_fd(&s->dir_fd);
}
