/* src/gateway/actions/files_cache.c - descriptors are kept, and asked (fstat) instead of names: a
 * file that is written to, replaced or removed changes the dates or the link count of what we hold,
 * so one cheap call tells nearly every change at once. Only what a descriptor cannot know, a name
 * that came to be or a folder that moved, waits for the name to be opened anew.
 *
 * Every name is opened first and judged by what was opened: asking first and opening later would be
 * two answers about two moments. */
#include "gateway/actions/files_cache.h"
#include "gateway/actions/files_open.h"
#include "gateway/actions/files_parts.h"
#include <stdlib.h>
#include <unistd.h>

#define SWEEP_NS (10 * VV_SEC)
#define FRESH_NS (100 * VV_MS) /* kernels tick at 100 Hz at least: ten ticks */
#define PATH_LISTED_MAX 512    /* a longer path is nobody's: its entry is for one request */

struct vv_files_cache {
    struct vv_loop *loop;
    struct vv_files_limits limits;
    struct vv_files_counts counts;
    uint64_t generation;
    struct vv_list ring; /* new and used ones in front, the hand takes from the back */
    struct vv_list jobs;
    struct vv_timer timer;
    size_t mask;
    struct vv_files_entry **slot;
};

/* ---- copies ---- */

static struct vv_files_mark mark_of(const struct stat *st)
{
    return (struct vv_files_mark){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same(const struct vv_files_mark *a, const struct vv_files_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

static bool copy_unchanged(const struct vv_files_copy *copy)
{
    struct stat st;
    if (fstat(copy->fd, &st) != 0 || st.st_nlink == 0) {
        return false;
    }
    const struct vv_files_mark now = mark_of(&st);
    return same(&copy->mark, &now);
}

static char *put_hex(char *to, uint64_t v)
{
    int shift = 60;
    while (shift > 0 && v >> shift == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        *to++ = "0123456789abcdef"[v >> shift & 15];
    }
    return to;
}

void vv_files_tag(struct vv_files_copy *copy, const uint64_t part[3], enum vv_encoding encoding)
{
    char *p = copy->etag;
    *p++ = '"';
    for (size_t i = 0; i < 3; i++) {
        if (i > 0) {
            *p++ = '-';
        }
        p = put_hex(p, part[i]);
    }
    if (encoding != VV_ENCODING_IDENTITY) {
        const struct vv_str name = vv_encodings[encoding].name;
        *p++ = '-';
        memcpy(p, name.p, name.n);
        p += name.n;
    }
    *p++ = '"';
    copy->etag_bytes = (uint8_t)(p - copy->etag);
}

/* The inode tells apart files of one size and one date, as reproducible builds leave them when one
 * replaces the other. The coding is in it because each coding is a representation of its own. */
static void copy_init(struct vv_files_copy *copy, int fd, const struct stat *st,
                      enum vv_encoding encoding)
{
    *copy = (struct vv_files_copy){.state = VV_FILES_THERE,
                                   .fd = fd,
                                   .size = (uint64_t)st->st_size,
                                   .modified_s = st->st_mtim.tv_sec,
                                   .mark = mark_of(st)};
    const uint64_t part[3] = {(uint64_t)st->st_ino, copy->size,
                              (uint64_t)st->st_mtim.tv_sec * VV_SEC +
                                  (uint64_t)st->st_mtim.tv_nsec};
    vv_files_tag(copy, part, encoding);
}

static void copy_fini(struct vv_files_cache *c, struct vv_files_copy *copy)
{
    if (copy->state != VV_FILES_THERE) {
        return;
    }
    if (copy->fd >= 0) {
        close(copy->fd);
        c->counts.fds--;
    }
    if (copy->bytes != NULL) {
        c->counts.bytes -= copy->size;
        free(copy->bytes);
    }
    copy->state = VV_FILES_NONE;
}

/* ---- entries ---- */

void vv_files_ref(struct vv_files_entry *e)
{
    e->refs++;
}

void vv_files_put(struct vv_files_entry *e)
{
    if (e == NULL || --e->refs > 0) {
        return;
    }
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        copy_fini(e->cache, &e->file[i]);
        copy_fini(e->cache, &e->made[i]);
    }
    free(e);
}

/* Takes the entry out of the table; it lives on while somebody sends from it. */
static void drop(struct vv_files_cache *c, struct vv_files_entry *e)
{
    struct vv_files_entry **at = &c->slot[e->hash & c->mask];
    while (*at != e) {
        at = &(*at)->chain;
    }
    *at = e->chain;
    vv_list_del(&e->ring);
    e->listed = false;
    c->counts.entries--;
    vv_files_put(e);
}

static void drop_all(struct vv_files_cache *c)
{
    VV_LIST_EACH (it, &c->ring) {
        drop(c, VV_LIST_ENTRY(it, struct vv_files_entry, ring));
    }
}

/* The hand of the clock: what was used since it last came by gets another round. */
static void evict_one(struct vv_files_cache *c)
{
    for (;;) {
        struct vv_files_entry *e = VV_LIST_ENTRY(c->ring.prev, struct vv_files_entry, ring);
        if (!e->used) {
            drop(c, e);
            return;
        }
        e->used = false;
        vv_list_del(&e->ring);
        vv_list_push_front(&c->ring, &e->ring);
    }
}

static void keep_bounds(struct vv_files_cache *c)
{
    while (!vv_list_empty(&c->ring) &&
           (c->counts.entries > c->limits.entries || c->counts.fds > c->limits.fds)) {
        evict_one(c);
    }
}

bool vv_files_remember(struct vv_files_cache *c, uint64_t bytes)
{
    if (bytes > c->limits.bytes) {
        return false;
    }
    while (c->counts.bytes + bytes > c->limits.bytes && !vv_list_empty(&c->ring)) {
        evict_one(c);
    }
    if (c->counts.bytes + bytes > c->limits.bytes) {
        return false; /* what is being sent holds the rest */
    }
    c->counts.bytes += bytes;
    return true;
}

void vv_files_forget(struct vv_files_cache *c, uint64_t bytes)
{
    VV_ASSERT(bytes <= c->counts.bytes);
    c->counts.bytes -= bytes;
}

struct key {
    struct vv_str path;
    bool literal; /* the fallback of the route; its path is empty */
    uint64_t hash;
};

static struct vv_files_entry *look_up(const struct vv_files_cache *c,
                                      const struct vv_files_ask *ask, const struct key *key)
{
    struct vv_files_entry *e = c->slot[key->hash & c->mask];
    while (e != NULL &&
           !(e->hash == key->hash && e->generation == ask->generation && e->route == ask->route &&
             e->literal == key->literal && vv_str_eq(e->path, key->path))) {
        e = e->chain;
    }
    return e;
}

static enum vv_err open_counted(struct vv_files_cache *c, int root_fd, const char *name,
                                int *ret_fd, struct stat *ret_stat)
{
    c->counts.opens++;
    const enum vv_err err = vv_files_open(root_fd, name, ret_fd, ret_stat);
    if (err != VV_EFILES) {
        return err;
    }
    drop_all(c); /* requests come first: they can be served without any of this */
    return vv_files_open(root_fd, name, ret_fd, ret_stat);
}

static struct vv_files_entry *entry_new(struct vv_files_cache *c, const struct vv_files_ask *ask,
                                        const char *name, const struct key *key)
{
    const struct vv_str path = key->path;
    const size_t name_bytes = strlen(name);
    struct vv_files_entry *e = calloc(1, sizeof *e + name_bytes + VV_FILES_SUFFIX_MAX + 1 + path.n);
    if (e == NULL) {
        return NULL;
    }
    e->name = (char *)(e + 1);
    memcpy(e->name, name, name_bytes);
    char *copy = e->name + name_bytes + VV_FILES_SUFFIX_MAX + 1;
    if (path.n > 0) {
        memcpy(copy, path.p, path.n);
    }
    e->path = (struct vv_str){copy, path.n};
    e->hash = key->hash;
    e->literal = key->literal;
    e->cache = c;
    e->refs = 1;
    vv_list_init(&e->ring);
    e->root_fd = ask->root_fd;
    e->route = ask->route;
    e->generation = ask->generation;
    e->opened_ns = e->looked_ns = ask->now_ns;
    e->mime = vv_mime_of((struct vv_str){name, name_bytes});
    return e;
}

/* Opens what the name stands for now. *ret is `former` if that is the same as it was, else new. */
static enum vv_err open_entry(struct vv_files_cache *c, const struct vv_files_ask *ask,
                              const char *name, const struct key *key,
                              struct vv_files_entry *former, struct vv_files_entry **ret)
{
    int fd = -1;
    struct stat st;
    const enum vv_err err = open_counted(c, ask->root_fd, name, &fd, &st);
    if (err != VV_OK && err != VV_ENOENT && err != VV_EACCES) {
        return err; /* the machine's troubles are not the file's: ask again next time */
    }
    const bool regular = err == VV_OK && S_ISREG(st.st_mode);
    if (former != NULL && regular && former->file[VV_ENCODING_IDENTITY].state == VV_FILES_THERE) {
        const struct vv_files_mark now = mark_of(&st);
        if (same(&former->file[VV_ENCODING_IDENTITY].mark, &now)) {
            close(fd);
            *ret = former;
            return VV_OK;
        }
    }
    struct vv_files_entry *e = entry_new(c, ask, name, key);
    if (err == VV_OK && (!regular || e == NULL)) {
        close(fd);
    }
    if (e == NULL) {
        return VV_ENOMEM;
    }
    /* A path that ends with its slash, and the fallback, stand for a page: a folder is none. */
    const bool page = key->path.n == 0 || key->path.p[key->path.n - 1] == '/';
    e->err = err == VV_OK && !regular && page ? VV_ENOENT : err;
    e->folder = err == VV_OK && !regular && !page;
    if (regular) {
        c->counts.fds++;
        copy_init(&e->file[VV_ENCODING_IDENTITY], fd, &st, VV_ENCODING_IDENTITY);
    }
    *ret = e;
    return VV_OK;
}

/* Is everything the entry holds as it was? Siblings that were not there are looked for again. */
static bool siblings_hold(struct vv_files_entry *e)
{
    for (size_t i = 0; i < VV_ENCODING_IDENTITY; i++) {
        if (e->file[i].state == VV_FILES_THERE && !copy_unchanged(&e->file[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < VV_ENCODING_IDENTITY; i++) {
        if (e->file[i].state == VV_FILES_NONE) {
            e->file[i].state = VV_FILES_UNKNOWN;
        }
    }
    return true;
}

/* One look per turn at what the entry holds. */
static bool holds(struct vv_files_entry *e, uint64_t now_ns)
{
    if (now_ns - e->opened_ns >= VV_FILES_TRUST_NS) {
        return false;
    }
    for (size_t i = 0; i < VV_ENCODING_COUNT && e->looked_ns != now_ns; i++) {
        if (e->file[i].state == VV_FILES_THERE && !copy_unchanged(&e->file[i])) {
            return false;
        }
    }
    e->looked_ns = now_ns;
    return true;
}

/* Puts a new entry into the table. */
static void enlist(struct vv_files_cache *c, struct vv_files_entry *e)
{
    if (e->path.n > PATH_LISTED_MAX || e->generation != c->generation) {
        return;
    }
    struct vv_files_entry **at = &c->slot[e->hash & c->mask];
    e->chain = *at;
    *at = e;
    e->listed = true;
    vv_list_push_front(&c->ring, &e->ring);
    c->counts.entries++;
    vv_files_ref(e);
    keep_bounds(c);
    if (c->loop != NULL && !c->timer.armed) {
        vv_loop_timer_at(c->loop, &c->timer, vv_loop_now(c->loop) + SWEEP_NS);
    }
}

/* Opens the name anew, for an entry that does not hold any more or is not there yet. */
static enum vv_err refresh(struct vv_files_cache *c, const struct vv_files_ask *ask,
                           const struct key *key, struct vv_files_entry *former,
                           struct vv_files_entry **ret)
{
    const struct vv_files_query q = {ask->conf, key->path, ask->arena};
    char *name = NULL;
    enum vv_err err = key->literal ? vv_files_fallback(&q, &name) : vv_files_name(&q, &name);
    if (err != VV_OK) {
        *ret = NULL; /* refused, and no fallback for it */
        return err;
    }
    struct vv_files_entry *e = NULL;
    if (former != NULL) {
        vv_files_ref(former); /* giving descriptors back may drop it meanwhile */
    }
    const bool may_stay = former != NULL && siblings_hold(former);
    err = open_entry(c, ask, name, key, may_stay ? former : NULL, &e);
    if (err == VV_OK && e == former) {
        e->opened_ns = e->looked_ns = ask->now_ns;
        *ret = e; /* with the reference from above */
        return VV_OK;
    }
    if (former != NULL && former->listed) {
        drop(c, former);
    }
    vv_files_put(former);
    if (err == VV_OK) {
        enlist(c, e);
        *ret = e;
    }
    return err;
}

/* The entry of a path, or of the fallback; it may be one that says that nothing is there. */
static enum vv_err get_entry(struct vv_files_cache *c, const struct vv_files_ask *ask, bool literal,
                             struct vv_files_entry **ret)
{
    struct key key = {literal ? VV_STR("") : ask->path, literal, 0};
    key.hash = vv_str_hash(key.path, (ask->generation << 32 ^ ask->route) * 2 + literal);
    struct vv_files_entry *e = look_up(c, ask, &key);
    if (e != NULL && holds(e, ask->now_ns)) {
        vv_files_ref(e);
    } else {
        const enum vv_err err = refresh(c, ask, &key, e, &e);
        if (err != VV_OK) {
            return err;
        }
    }
    e->used = e->gets > 0; /* the first use is what brought it here: not yet a sign of heat */
    e->gets += e->gets < UINT32_MAX;
    e->used_ns = ask->now_ns;
    *ret = e;
    return VV_OK;
}

enum vv_err vv_files_get(struct vv_files_cache *c, const struct vv_files_ask *ask,
                         struct vv_files_entry **ret)
{
    struct vv_files_entry *e = NULL;
    if (ask->generation > c->generation) {
        drop_all(c); /* the root of a route may be another folder now */
        c->generation = ask->generation;
    }
    enum vv_err err = get_entry(c, ask, false, &e);
    if (err == VV_OK && e->err == VV_ENOENT && ask->conf->fallback != NULL) {
        vv_files_put(e);
        err = get_entry(c, ask, true, &e);
    }
    if (err != VV_OK) {
        return err;
    }
    if (e->err != VV_OK) {
        err = e->err;
        vv_files_put(e);
        return err;
    }
    *ret = e;
    return VV_OK;
}

const struct vv_files_copy *vv_files_sibling(struct vv_files_entry *e, enum vv_encoding encoding)
{
    struct vv_files_copy *copy = &e->file[encoding];
    if (copy->state == VV_FILES_UNKNOWN) {
        const size_t n = strlen(e->name);
        const struct vv_str suffix = vv_encodings[encoding].suffix;
        int fd = -1;
        struct stat st;
        memcpy(e->name + n, suffix.p, suffix.n + 1);
        const enum vv_err err = open_counted(e->cache, e->root_fd, e->name, &fd, &st);
        e->name[n] = '\0';
        copy->state = VV_FILES_NONE;
        if (err != VV_OK) {
            return NULL;
        }
        /* An older one: the file was changed and its copy forgotten. */
        if (!S_ISREG(st.st_mode) ||
            st.st_mtim.tv_sec < e->file[VV_ENCODING_IDENTITY].mark.modified.tv_sec) {
            close(fd);
            return NULL;
        }
        e->cache->counts.fds++;
        copy_init(copy, fd, &st, encoding);
        keep_bounds(e->cache);
    }
    return copy->state == VV_FILES_THERE ? copy : NULL;
}

/* ---- contents ---- */

bool vv_files_unchanged(const struct vv_files_entry *e)
{
    return copy_unchanged(&e->file[VV_ENCODING_IDENTITY]);
}

static bool copy_fresh(const struct vv_files_copy *copy, uint64_t wall_ns)
{
    const struct timespec t = copy->mark.changed;
    return t.tv_sec >= 0 && (uint64_t)t.tv_sec * VV_SEC + (uint64_t)t.tv_nsec + FRESH_NS > wall_ns;
}

bool vv_files_fresh(const struct vv_files_entry *e, uint64_t wall_ns)
{
    return copy_fresh(&e->file[VV_ENCODING_IDENTITY], wall_ns);
}

struct vv_str vv_files_content(struct vv_files_entry *e, const struct vv_files_copy *copy,
                               uint64_t wall_ns)
{
    const bool sibling = copy >= e->file && copy < e->file + VV_ENCODING_COUNT;
    if (copy->bytes != NULL || !sibling || copy->size == 0 || copy->size > VV_FILES_SMALL_MAX ||
        e->gets < 2 || copy_fresh(copy, wall_ns) || !vv_files_remember(e->cache, copy->size)) {
        return (struct vv_str){copy->bytes, copy->bytes != NULL ? (size_t)copy->size : 0};
    }
    char *bytes = malloc(copy->size);
    if (bytes == NULL || vv_files_read_all(copy->fd, bytes, (size_t)copy->size, 0) != VV_OK ||
        !copy_unchanged(copy)) {
        free(bytes);
        vv_files_forget(e->cache, copy->size);
        return (struct vv_str){NULL, 0};
    }
    e->file[copy - e->file].bytes = bytes;
    return (struct vv_str){bytes, (size_t)copy->size};
}

/* ---- the cache itself ---- */

static bool made_any(const struct vv_files_entry *e)
{
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        if (e->made[i].state == VV_FILES_THERE) {
            return true;
        }
    }
    return false;
}

void vv_files_cache_sweep(struct vv_files_cache *c, uint64_t now_ns)
{
    VV_LIST_EACH (it, &c->ring) {
        struct vv_files_entry *e = VV_LIST_ENTRY(it, struct vv_files_entry, ring);
        if (now_ns - e->used_ns >= VV_FILES_IDLE_NS && !(made_any(e) && vv_files_unchanged(e))) {
            drop(c, e);
        }
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_files_cache *c = VV_CONTAINER(t, struct vv_files_cache, timer);
    vv_files_cache_sweep(c, vv_loop_now(loop));
    if (!vv_list_empty(&c->ring)) {
        vv_loop_timer_at(loop, t, vv_loop_now(loop) + SWEEP_NS);
    }
}

enum vv_err vv_files_cache_new(struct vv_loop *loop, const struct vv_files_limits *limits,
                               struct vv_files_cache **ret)
{
    struct vv_files_cache *c = calloc(1, sizeof *c);
    size_t slots = 16;
    while (slots < limits->entries * 2) {
        slots *= 2;
    }
    if (c != NULL) {
        c->slot = calloc(slots, sizeof(struct vv_files_entry *));
    }
    if (c == NULL || c->slot == NULL) {
        free(c);
        return VV_ENOMEM;
    }
    c->mask = slots - 1;
    c->loop = loop;
    c->limits = *limits;
    vv_list_init(&c->ring);
    vv_list_init(&c->jobs);
    vv_timer_init(&c->timer, on_timer);
    *ret = c;
    return VV_OK;
}

void vv_files_cache_free(struct vv_files_cache *c)
{
    if (c == NULL) {
        return;
    }
    drop_all(c);
    VV_ASSERT(c->counts.fds == 0 && c->counts.bytes == 0); /* or a reference is still out */
    if (c->loop != NULL) {
        vv_loop_timer_stop(c->loop, &c->timer);
    }
    free(c->slot);
    free(c);
}

struct vv_list *vv_files_jobs(struct vv_files_cache *c)
{
    return &c->jobs;
}

struct vv_files_counts vv_files_counts(const struct vv_files_cache *c)
{
    return c->counts;
}
