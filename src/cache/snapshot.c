/* src/cache/snapshot.c - records are written in the machine's byte order with fixed widths: a
 * snapshot belongs to the machine that wrote it, and the magic word tells another one.
 *
 * Objects are referenced under the lock and written outside it, so that a save while traffic still
 * runs stops nobody for the time of the disk. */
#include "cache/snapshot.h"
#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAGIC UINT64_C(0x3145484341435656)   /* "VVCACHE1" */
#define RECORD_MAGIC UINT64_C(0x6a624f6568636143) /* "CacheObj" */
#define FILE_BYTES_MAX (64 * VV_GIB)

struct file_head {
    uint64_t magic, now_ns, wall_ns;
};

struct record {
    uint64_t magic, sum; /* sum: of everything that follows it */
    uint64_t payload_n, keep_until_ns, body_n;
    uint32_t meta_n, key_n, second_n, head_n, tags_n, soft;
};

struct list { /* objects to write, each referenced */
    const struct vv_cache_object **items;
    bool *soft;
    size_t n, room;
    bool failed;
};

static void collect(void *ctx, const struct vv_cache_object *o, bool soft)
{
    struct list *l = ctx;
    if (l->n == l->room && !l->failed) {
        const size_t room = l->room > 0 ? l->room * 2 : 1024;
        void *items = realloc(l->items, room * sizeof(struct vv_cache_object *));
        l->items = items != NULL ? items : l->items;
        void *flags = realloc(l->soft, room * sizeof(*l->soft));
        l->soft = flags != NULL ? flags : l->soft;
        l->failed = items == NULL || flags == NULL;
        l->room = l->failed ? l->room : room;
    }
    if (!l->failed) {
        vv_cache_ref(o);
        l->items[l->n] = o;
        l->soft[l->n++] = soft;
    }
}

static uint64_t sum_of(const struct record *r, struct vv_str payload)
{
    const struct vv_str fixed = {(const char *)&r->payload_n,
                                 sizeof(*r) - offsetof(struct record, payload_n)};
    return vv_str_hash(payload, vv_str_hash(fixed, FILE_MAGIC));
}

/* The payload is gathered in one buffer, which the checksum needs anyway. */
static bool write_object(FILE *out, const struct vv_cache_object *o, bool soft, char **buf,
                         size_t *room)
{
    struct record r = {.magic = RECORD_MAGIC,
                       .keep_until_ns = o->keep_until_ns,
                       .body_n = o->body_n,
                       .meta_n = o->meta_n,
                       .key_n = o->key_n,
                       .second_n = o->second_n,
                       .head_n = o->head_n,
                       .tags_n = o->tags_n,
                       .soft = soft};
    const size_t tags_bytes = o->tags_n * 8ul;
    r.payload_n = o->meta_n + tags_bytes + o->key_n + o->second_n + o->head_n + o->body_n;
    if (r.payload_n > *room) {
        char *grown = realloc(*buf, r.payload_n);
        if (grown == NULL) {
            return false;
        }
        *buf = grown;
        *room = r.payload_n;
    }
    if (*buf == NULL) { /* nothing in it but the record itself */
        r.sum = sum_of(&r, (struct vv_str){NULL, 0});
        return fwrite(&r, sizeof(r), 1, out) == 1;
    }
    char *at = mempcpy(*buf, vv_cache_meta(o), o->meta_n);
    at = mempcpy(at, vv_cache_tags(o), tags_bytes);
    at = mempcpy(at, vv_cache_key(o).p, (size_t)o->key_n + o->second_n + o->head_n);
    struct vv_str piece;
    for (uint64_t done = 0; (piece = vv_cache_body_at(o, done)).n > 0; done += piece.n) {
        at = mempcpy(at, piece.p, piece.n);
    }
    r.sum = sum_of(&r, (struct vv_str){*buf, r.payload_n});
    return fwrite(&r, sizeof(r), 1, out) == 1 &&
           (r.payload_n == 0 || fwrite(*buf, r.payload_n, 1, out) == 1);
}

static enum vv_err write_all(FILE *out, const struct list *l, struct vv_cache_clock clock)
{
    const struct file_head head = {FILE_MAGIC, clock.now_ns, clock.wall_ns};
    char *buf = NULL;
    size_t room = 0;
    bool ok = fwrite(&head, sizeof(head), 1, out) == 1;
    for (size_t i = 0; i < l->n && ok; i++) {
        ok = write_object(out, l->items[i], l->soft[i], &buf, &room);
    }
    free(buf);
    ok = ok && fflush(out) == 0 && fsync(fileno(out)) == 0;
    return ok ? VV_OK : VV_EIO;
}

static enum vv_err write_file(const char *path, const struct list *l, struct vv_cache_clock clock)
{
    char beside[PATH_MAX];
    const int n = snprintf(beside, sizeof(beside), "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof(beside)) {
        return VV_EINVAL;
    }
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    FILE *out = fdopen(fd, "wb");
    if (out == NULL) {
        close(fd);
        return VV_ENOMEM;
    }
    enum vv_err err = write_all(out, l, clock);
    if (fclose(out) != 0 && err == VV_OK) {
        err = VV_EIO;
    }
    if (err == VV_OK && rename(beside, path) != 0) {
        err = vv_err_from_errno(errno);
    }
    if (err != VV_OK) {
        unlink(beside);
    }
    return err;
}

enum vv_err vv_cache_save(struct vv_cache *c, const char *path, struct vv_cache_clock clock,
                          uint64_t *ret_objects)
{
    struct list l = {NULL, NULL, 0, 0, false};
    vv_cache_each(c, clock.now_ns, collect, &l);
    const enum vv_err err = l.failed ? VV_ENOMEM : write_file(path, &l, clock);
    for (size_t i = 0; i < l.n; i++) {
        vv_cache_unref(l.items[i]);
    }
    free(l.items);
    free(l.soft);
    if (err == VV_OK && ret_objects != NULL) {
        *ret_objects = l.n;
    }
    return err;
}

/* Lengths that add up, a checksum that fits. */
static bool sound(const struct record *r, struct vv_str rest)
{
    const uint64_t parts =
        (uint64_t)r->meta_n + r->tags_n * UINT64_C(8) + r->key_n + r->second_n + r->head_n;
    if (r->payload_n > rest.n || parts > r->payload_n || r->body_n != r->payload_n - parts ||
        r->meta_n > VV_CACHE_META_MAX || r->tags_n > VV_CACHE_TAGS_MAX) {
        return false;
    }
    return sum_of(r, (struct vv_str){rest.p, r->payload_n}) == r->sum;
}

/* Now on the old machine's clock is as far from its wall time as keep_until was: shifts it to this
 * process's clock; forever stays forever. */
static uint64_t shifted(uint64_t then_ns, const struct file_head *h, struct vv_cache_clock clock)
{
    const uint64_t away = clock.wall_ns > h->wall_ns ? clock.wall_ns - h->wall_ns : 0;
    const uint64_t left = then_ns > h->now_ns ? then_ns - h->now_ns : 0;
    if (then_ns == UINT64_MAX || left > UINT64_MAX - clock.now_ns) {
        return UINT64_MAX;
    }
    return left > away ? clock.now_ns + (left - away) : 0;
}

static void load_record(struct vv_cache *c, const struct record *r, const char *at,
                        const struct file_head *h, struct vv_cache_clock clock,
                        struct vv_cache_loaded *ret)
{
    uint64_t tags[VV_CACHE_TAGS_MAX];
    struct vv_cache_spec s = {.meta = at,
                              .meta_n = (uint16_t)r->meta_n,
                              .tags = tags,
                              .tags_n = r->tags_n,
                              .born = vv_cache_born(c)};
    at += r->meta_n;
    memcpy(tags, at, r->tags_n * 8ul);
    at += r->tags_n * 8ul;
    s.key = (struct vv_str){at, r->key_n};
    s.second = (struct vv_str){s.key.p + r->key_n, r->second_n};
    s.head = (struct vv_str){s.second.p + r->second_n, r->head_n};
    s.body = (struct vv_str){s.head.p + r->head_n, r->body_n};
    s.hash = vv_cache_hash(c, s.key);
    s.soft = r->soft != 0;
    s.keep_until_ns = shifted(r->keep_until_ns, h, clock);
    if (s.keep_until_ns <= clock.now_ns) {
        ret->expired++;
    } else if (vv_cache_insert(c, &s, clock.now_ns) == VV_OK) {
        ret->loaded++;
    } else {
        ret->refused++;
    }
}

enum vv_err vv_cache_load_bytes(struct vv_cache *c, struct vv_str bytes,
                                struct vv_cache_clock clock, struct vv_cache_loaded *ret)
{
    const uint64_t magic = RECORD_MAGIC;
    struct file_head h;
    *ret = (struct vv_cache_loaded){0, 0, 0, 0};
    if (bytes.n < sizeof(h)) {
        return VV_ESYNTAX;
    }
    memcpy(&h, bytes.p, sizeof(h));
    if (h.magic != FILE_MAGIC) {
        return VV_ESYNTAX;
    }
    struct vv_str rest = {bytes.p + sizeof(h), bytes.n - sizeof(h)};
    while (rest.n > 0) {
        struct record r = {.magic = 0};
        const bool whole = rest.n >= sizeof(r);
        if (whole) {
            memcpy(&r, rest.p, sizeof(r));
        }
        const struct vv_str payload = {rest.p + sizeof(r), whole ? rest.n - sizeof(r) : 0};
        size_t skip;
        if (whole && r.magic == RECORD_MAGIC && sound(&r, payload)) {
            load_record(c, &r, payload.p, &h, clock, ret);
            skip = sizeof(r) + r.payload_n;
        } else { /* its lengths cannot be trusted: the next record begins at a magic word */
            ret->damaged++;
            const char *next = memmem(rest.p + 1, rest.n - 1, &magic, sizeof(magic));
            skip = next != NULL ? (size_t)(next - rest.p) : rest.n;
        }
        rest.p += skip;
        rest.n -= skip;
    }
    return VV_OK;
}

enum vv_err vv_cache_load(struct vv_cache *c, const char *path, struct vv_cache_clock clock,
                          struct vv_cache_loaded *ret)
{
    char *text;
    size_t n;
    enum vv_err err = vv_file_read(path, FILE_BYTES_MAX, &text, &n);
    if (err != VV_OK) {
        return err;
    }
    err = vv_cache_load_bytes(c, (struct vv_str){text, n}, clock, ret);
    free(text);
    return err;
}
