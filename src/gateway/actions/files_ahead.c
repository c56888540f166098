/* src/gateway/actions/files_ahead.c - the room for a copy is as long as a copy may be, so the encoder
 * itself finds out that a file is not worth it, and stops there. */
#include "gateway/actions/files_ahead.h"
#include "gateway/actions/files_parts.h"
#include "wire/encoder.h"
#include <stdlib.h>

#define JOBS_MAX 8 /* of one worker at a time: the pool has other work too */
#define READ_BYTES (64 * 1024)
#define ENCODERS_BYTES (256 * VV_MIB) /* one stream at its best level fits many times */
#define LEVEL_BEST 100                /* brought to the end of each coding's own range */

struct making {
    struct vv_job job;
    struct vv_list node, waiters;
    struct vv_files_entry *e;
    enum vv_encoding encoding;
    int level;
    size_t cap;
    enum vv_err err;
    char *bytes;
    size_t n;
};

/* Feeds one run of the file. VV_ELIMIT: the copy would be too long. */
static enum vv_err feed(struct vv_encoder *e, struct vv_str in, bool last, char *out, size_t cap,
                        size_t *n)
{
    enum vv_err err = VV_EAGAIN;
    while (err == VV_EAGAIN) {
        size_t wrote = 0;
        if (*n == cap) {
            return VV_ELIMIT;
        }
        err = vv_encoder_feed(e, &in, last ? VV_ENCODER_FINISH : VV_ENCODER_MORE, out + *n,
                              cap - *n, &wrote);
        *n += wrote;
    }
    return err;
}

enum vv_err vv_files_compress(int fd, uint64_t size, enum vv_encoding encoding, int level,
                              size_t cap, char **ret, size_t *ret_n)
{
    struct vv_encoders pool;
    struct vv_encoder *e = NULL;
    size_t n = 0;
    vv_encoders_init(&pool, ENCODERS_BYTES);
    char *in = malloc(READ_BYTES);
    char *out = malloc(cap > 0 ? cap : 1);
    enum vv_err err = in != NULL && out != NULL ? VV_OK : VV_ENOMEM;
    if (err == VV_OK) {
        err = vv_encoder_begin(&pool, encoding, level, size, &e);
    }
    for (uint64_t at = 0; err == VV_OK && at < size;) {
        const size_t run = (size_t)vv_min_u64(READ_BYTES, size - at);
        err = vv_files_read_all(fd, in, run, at);
        at += run;
        if (err == VV_OK) {
            err = feed(e, (struct vv_str){in, run}, at == size, out, cap, &n);
        }
    }
    vv_encoder_end(&pool, e);
    vv_encoders_fini(&pool);
    free(in);
    if (err != VV_OK) {
        free(out);
        return err;
    }
    char *fitted = realloc(out, n > 0 ? n : 1);
    *ret = fitted != NULL ? fitted : out;
    *ret_n = n;
    return VV_OK;
}

static void work(struct vv_job *job) /* on a thread of the pool */
{
    struct making *m = VV_CONTAINER(job, struct making, job);
    const struct vv_files_copy *file = &m->e->file[VV_ENCODING_IDENTITY];
    m->err =
        vv_files_compress(file->fd, file->size, m->encoding, m->level, m->cap, &m->bytes, &m->n);
    if (m->err == VV_OK && !vv_files_unchanged(m->e)) {
        m->err = VV_EAGAIN; /* it was written to while we read */
    }
}

static void end(struct making *m)
{
    vv_list_del(&m->node);
    vv_files_put(m->e);
    free(m->bytes);
    free(m);
}

static void done(struct vv_loop *loop, struct vv_job *job)
{
    struct making *m = VV_CONTAINER(job, struct making, job);
    struct vv_files_entry *e = m->e;
    struct vv_files_copy *copy = &e->made[m->encoding];
    (void)loop;
    copy->state = m->err == VV_ELIMIT ? VV_FILES_NONE : VV_FILES_UNKNOWN;
    if (m->err == VV_OK && e->listed) {
        copy->state = VV_FILES_NONE; /* when there is no room, until the file changes */
        if (vv_files_remember(e->cache, m->n)) {
            *copy = (struct vv_files_copy){.state = VV_FILES_THERE,
                                           .fd = -1,
                                           .bytes = m->bytes,
                                           .size = m->n,
                                           .modified_s = e->file[VV_ENCODING_IDENTITY].modified_s};
            /* A library that is renewed, or another level, makes other bytes of the same file. */
            const uint64_t part[3] = {vv_str_hash((struct vv_str){m->bytes, m->n}, 0), m->n,
                                      e->file[VV_ENCODING_IDENTITY].size};
            vv_files_tag(copy, part, m->encoding);
            m->bytes = NULL;
        }
    }
    while (!vv_list_empty(&m->waiters)) {
        struct vv_files_waiter *w = VV_LIST_ENTRY(m->waiters.next, struct vv_files_waiter, node);
        vv_list_del(&w->node);
        w->fn(w);
    }
    end(m);
}

static bool order(struct vv_files_entry *e, enum vv_encoding encoding,
                  const struct vv_files_maker *maker)
{
    const uint64_t size = e->file[VV_ENCODING_IDENTITY].size;
    struct vv_list *jobs = vv_files_jobs(e->cache);
    size_t running = 0;
    VV_LIST_EACH (it, jobs) {
        running++;
    }
    struct making *m = running < JOBS_MAX ? calloc(1, sizeof *m) : NULL;
    if (m == NULL) {
        return false;
    }
    *m = (struct making){.job = {.work = work, .done = done},
                         .e = e,
                         .encoding = encoding,
                         .level = maker->level != 0 ? maker->level : LEVEL_BEST,
                         .cap = (size_t)(size * maker->ratio_max_ppm / VV_PPM)};
    vv_list_init(&m->node);
    vv_list_init(&m->waiters);
    if (vv_pool_submit(maker->pool, maker->loop, &m->job) != VV_OK) {
        free(m);
        return false; /* the pool is full: the next request asks again */
    }
    vv_files_ref(e);
    vv_list_push_back(jobs, &m->node);
    return true;
}

const struct vv_files_copy *vv_files_ahead(struct vv_files_entry *e, enum vv_encoding encoding,
                                           const struct vv_files_maker *m, bool *ret_hopeless)
{
    struct vv_files_copy *copy = &e->made[encoding];
    const bool too_large = e->file[VV_ENCODING_IDENTITY].size > VV_FILES_AHEAD_MAX;
    *ret_hopeless = too_large || copy->state == VV_FILES_NONE;
    if (copy->state == VV_FILES_THERE) {
        return copy;
    }
    if (copy->state == VV_FILES_UNKNOWN && !too_large && e->listed && m->pool != NULL &&
        !vv_files_fresh(e, m->wall_ns) && order(e, encoding, m)) {
        copy->state = VV_FILES_COMING;
    }
    return NULL;
}

bool vv_files_await(struct vv_files_entry *e, enum vv_encoding encoding, struct vv_files_waiter *w)
{
    VV_LIST_EACH (it, vv_files_jobs(e->cache)) {
        struct making *m = VV_LIST_ENTRY(it, struct making, node);
        if (m->e == e && m->encoding == encoding) {
            vv_list_push_back(&m->waiters, &w->node);
            return true;
        }
    }
    return false;
}

void vv_files_ahead_stop(struct vv_files_cache *c)
{
    VV_LIST_EACH (it, vv_files_jobs(c)) {
        end(VV_LIST_ENTRY(it, struct making, node));
    }
}
