/* src/series/store.c - where samples go: into the finest tier with their batch, and at the end of
 * every interval the ones that a coarser tier keeps go there. A coarser tier's running interval needs
 * no file of its own: the finest tier's open log has all of it (segments end where intervals end), and
 * replaying that log does what appending did. */
#include "series/series_int.h"

#include <stdlib.h>

#define RETRY_MS 30000

static const struct vv_samples_conf defaults = {
    .tier = {{VV_SEC, 15 * VV_MINUTE, 3 * VV_MINUTE},
             {10 * VV_SEC, 6 * VV_HOUR, 30 * VV_MINUTE},
             {VV_MINUTE, 30 * VV_DAY, 6 * VV_HOUR}},
    .disk_bytes_max = 512 * VV_MIB,
    .series_max = 20000,
    .back_ms = 60000,
    .sync_ns = 30 * VV_SEC,
};

void vv_samples_conf_default(struct vv_samples_conf *conf)
{
    *conf = defaults;
}

static bool conf_valid(const struct vv_samples_conf *conf)
{
    for (size_t i = 0; i < VV_SAMPLES_TIERS; i++) {
        const uint64_t step = conf->tier[i].step_ns, span = conf->tier[i].segment_ns;
        if (step < VV_MS || step % VV_MS != 0 || span < step || span > 400 * VV_DAY ||
            conf->tier[i].keep_ns > 4000 * VV_DAY ||
            (i > 0 &&
             (step <= conf->tier[i - 1].step_ns || step % conf->tier[i - 1].step_ns != 0))) {
            return false;
        }
        if (i > 0 && span % conf->tier[i - 1].segment_ns != 0) {
            return false; /* a log that is replayed lies within one segment of every coarser tier */
        }
        for (size_t k = i; k < VV_SAMPLES_TIERS; k++) {
            if (span % conf->tier[k].step_ns != 0) {
                return false;
            }
        }
    }
    return conf->disk_bytes_max >= 256 * VV_KIB && conf->series_max >= 1 &&
           conf->series_max <= VV_SAMPLES_SERIES_MAX && conf->back_ms <= VV_SERIES_T_MAX;
}

int64_t vv_series_floor(int64_t t_ms, int64_t step_ms)
{
    return t_ms - t_ms % step_ms; /* no time is below 0 */
}

/* Room for more in the open chunk, which keeps its bits. */
static bool head_grow(struct vv_samples *s, struct vv_head *h)
{
    const size_t old = h->chunk.bytes, bytes = old > 0 ? 2 * old : 64;
    if (bytes > VV_SERIES_CHUNK_BYTES_MAX) {
        return false;
    }
    uint8_t *buf = realloc(h->buf, bytes);
    if (buf == NULL) {
        return false;
    }
    memset(buf + old, 0, bytes - old);
    s->index.bytes += bytes - old;
    h->buf = h->chunk.buf = buf;
    h->chunk.bytes = bytes;
    return true;
}

/* False: its time does not rise, or there is no room (counted). */
static bool head_add(struct vv_samples *s, unsigned tier, struct vv_one *one, int64_t t_ms,
                     double v)
{
    struct vv_tier *r = &s->tier[tier];
    struct vv_head *h = &one->head[tier];
    enum vv_err err;
    while ((err = vv_chunk_add(&h->chunk, t_ms, v)) == VV_ELIMIT) {
        if (!head_grow(s, h)) {
            s->stats.overfull++;
            return false;
        }
    }
    if (err != VV_OK) {
        return false;
    }
    if (r->start_ms == VV_SERIES_NEVER) {
        r->start_ms = vv_series_floor(t_ms, r->span_ms);
    }
    r->min_ms = t_ms < r->min_ms ? t_ms : r->min_ms;
    r->max_ms = t_ms > r->max_ms ? t_ms : r->max_ms;
    one->newest_ms = t_ms > one->newest_ms ? t_ms : one->newest_ms;
    return true;
}

void vv_series_empty_head(struct vv_samples *s, unsigned tier)
{
    struct vv_tier *r = &s->tier[tier];
    for (uint32_t i = 0; i < s->index.n; i++) {
        if (s->index.at[i] == NULL) {
            continue;
        }
        struct vv_head *h = &s->index.at[i]->head[tier];
        if (h->chunk.n == 0 && h->buf != NULL) { /* unused for a whole segment */
            s->index.bytes -= h->chunk.bytes;
            free(h->buf);
            *h = (struct vv_head){0};
        }
        if (h->buf != NULL) {
            vv_chunk_init(&h->chunk, h->buf, h->chunk.bytes);
        }
    }
    r->start_ms = VV_SERIES_NEVER;
    r->min_ms = INT64_MAX;
    r->max_ms = INT64_MIN;
}

static int row_order(const void *a, const void *b)
{
    const struct vv_row_value *x = a, *y = b;
    return x->t_ms != y->t_ms ? (x->t_ms < y->t_ms ? -1 : 1) : x->id < y->id ? -1 : x->id > y->id;
}

static bool batch_room(struct vv_samples *s, size_t n)
{
    if (n > s->batch_cap) {
        struct vv_row_value *batch = realloc(s->batch, 2 * n * sizeof *batch);
        if (batch == NULL) {
            return false;
        }
        s->batch = batch;
        s->batch_cap = 2 * n;
    }
    return true;
}

static enum vv_err write_rows(struct vv_samples *s, unsigned tier, int64_t until_ms, size_t n)
{
    s->out.n = 0;
    s->out.failed = false;
    enum vv_err err = vv_rows_write(&s->tier[tier].rows, until_ms, s->batch, n, &s->out);
    if (err == VV_OK) {
        err = vv_series_files_log(s, tier);
    }
    if (err != VV_OK) {
        vv_rows_restart(&s->tier[tier].rows);
        s->stats.unwritten += n;
    }
    return err;
}

/* Ends the running interval of a coarse tier: what it keeps is written and read from now on. */
static enum vv_err flush(struct vv_samples *s, unsigned tier)
{
    struct vv_tier *r = &s->tier[tier];
    const int64_t from = r->interval * r->step_ms, until = from + r->step_ms;
    size_t n = 0, kept = 0;
    /* Done before the log was opened again. Much later: done before the clock was set back. */
    const bool done = until <= r->flushed_ms && r->flushed_ms - until <= s->tier[0].span_ms;
    if (r->interval < 0 || done) {
        r->interval = -1;
        r->falls_n = 0;
        return VV_OK;
    }
    r->interval = -1;
    if (!batch_room(s, s->index.n + r->falls_n)) {
        return VV_ENOMEM;
    }
    for (uint32_t i = 0; i < s->index.n; i++) {
        const struct vv_one *one = s->index.at[i];
        if (one != NULL && one->last_ms >= from && one->last_ms < until) {
            s->batch[n] = (struct vv_row_value){.t_ms = one->last_ms, .id = i};
            memcpy(&s->batch[n++].bits, &one->last_v, sizeof one->last_v);
        }
    }
    const int64_t t_ms = n > 0 ? s->batch[0].t_ms : 0;
    bool sorted = r->falls_n == 0;
    for (size_t i = 0; i < n && sorted; i++) {
        sorted = s->batch[i].t_ms == t_ms;
    }
    if (!sorted) {
        for (size_t i = 0; i < r->falls_n; i++) {
            s->batch[n++] = r->falls[i];
        }
        qsort(s->batch, n, sizeof *s->batch, row_order);
    }
    r->falls_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || row_order(&s->batch[kept - 1], &s->batch[i]) != 0) {
            s->batch[kept++] = s->batch[i];
        }
    }
    r->flushed_ms = until;
    for (size_t i = 0; i < kept; i++) {
        double v;
        memcpy(&v, &s->batch[i].bits, sizeof v);
        (void)head_add(s, tier, s->index.at[s->batch[i].id], s->batch[i].t_ms, v);
    }
    return kept > 0 ? write_rows(s, tier, until, kept) : VV_OK;
}

static void note_fall(struct vv_tier *r, const struct vv_one *one, int64_t t_ms, double v)
{
    if (r->falls_n + 2 > r->falls_cap) {
        const size_t cap = 2 * r->falls_cap + 16;
        struct vv_row_value *falls = realloc(r->falls, cap * sizeof *falls);
        if (falls == NULL) {
            return; /* the fall is judged by the interval's last sample alone */
        }
        r->falls = falls;
        r->falls_cap = cap;
    }
    struct vv_row_value before = {.t_ms = one->number_ms, .id = one->id};
    struct vv_row_value after = {.t_ms = t_ms, .id = one->id};
    memcpy(&before.bits, &one->number, sizeof before.bits);
    memcpy(&after.bits, &v, sizeof v);
    /* In another interval it was the last. In this one and later than now: the clock went back. */
    if (one->number_ms >= r->interval * r->step_ms && one->number_ms < t_ms) {
        r->falls[r->falls_n++] = before;
    }
    r->falls[r->falls_n++] = after;
}

static bool feed(struct vv_samples *s, struct vv_one *one, int64_t t_ms, uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    if (!head_add(s, 0, one, t_ms, v)) {
        return false;
    }
    for (unsigned k = 1; one->kind == VV_SAMPLES_COUNTER && v < one->number && k < VV_SAMPLES_TIERS;
         k++) {
        note_fall(&s->tier[k], one, t_ms, v);
    }
    one->last_ms = t_ms;
    one->last_v = v;
    if (!vv_promql_is_stale(v)) { /* a counter that comes back lower fell, too */
        one->number_ms = t_ms;
        one->number = v;
    }
    return true;
}

/* Coarse tiers go first: what they keep is in the finest tier's open segment until they have it. */
static enum vv_err begin_time(struct vv_samples *s, int64_t t_ms)
{
    enum vv_err err = VV_OK;
    for (unsigned k = 1; k < VV_SAMPLES_TIERS; k++) {
        struct vv_tier *r = &s->tier[k];
        if (r->interval >= 0 && r->interval != t_ms / r->step_ms) {
            const enum vv_err one = flush(s, k);
            err = err == VV_OK ? one : err;
        }
        r->interval = t_ms / r->step_ms;
    }
    return err;
}

static void rotate(struct vv_samples *s, int64_t t_ms, unsigned finest)
{
    bool any = false;
    for (unsigned k = finest; k < VV_SAMPLES_TIERS; k++) {
        struct vv_tier *r = &s->tier[k];
        if (r->start_ms == VV_SERIES_NEVER || t_ms < r->retry_ms ||
            r->start_ms == vv_series_floor(t_ms, r->span_ms)) {
            continue;
        }
        const bool closed = vv_series_files_close_segment(s, k, false);
        r->retry_ms = closed ? VV_SERIES_NEVER : t_ms + RETRY_MS;
        any = any || closed;
    }
    if (any) {
        vv_series_files_expire(s);
    }
}

static void clock_back(struct vv_samples *s)
{
    s->stats.clock_back++;
    for (unsigned k = VV_SAMPLES_TIERS; k-- > 0;) {
        if (k > 0) {
            (void)flush(s, k); /* an error is in the figures */
            s->tier[k].interval = -1;
            s->tier[k].flushed_ms = VV_SERIES_NEVER;
        }
        if (s->tier[k].start_ms != VV_SERIES_NEVER) {
            (void)vv_series_files_close_segment(s, k, true); /* it cannot hold earlier times */
            s->tier[k].retry_ms = VV_SERIES_NEVER;
        }
    }
    for (uint32_t i = 0; i < s->index.n; i++) {
        if (s->index.at[i] != NULL) {
            s->index.at[i]->last_ms = VV_SERIES_NEVER;
        }
    }
}

static struct vv_one *by_ref(const struct vv_samples *s, uint64_t ref)
{
    const uint32_t id = (uint32_t)ref;
    struct vv_one *one = id < s->index.n ? s->index.at[id] : NULL;
    return one != NULL && one->generation == ref >> 32 ? one : NULL;
}

/* The samples of the batch that can be taken, in s->batch; the count. */
static size_t sift(struct vv_samples *s, int64_t t_ms, const struct vv_samples_value *at, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct vv_one *one = by_ref(s, at[i].ref);
        if (one == NULL) {
            s->stats.unknown++;
        } else if (one->last_ms >= t_ms) {
            s->stats.late++;
        } else {
            s->batch[kept] = (struct vv_row_value){.t_ms = t_ms, .id = one->id};
            memcpy(&s->batch[kept++].bits, &at[i].v, sizeof at[i].v);
        }
    }
    return kept;
}

static enum vv_err append(struct vv_samples *s, int64_t t_ms, const struct vv_samples_value *at,
                          size_t n)
{
    if (t_ms < 0 || t_ms > VV_SERIES_T_MAX ||
        (t_ms < s->last_ms && s->last_ms - t_ms <= (int64_t)s->conf.back_ms)) {
        s->stats.late += n;
        return VV_ERANGE;
    }
    if (t_ms < s->last_ms) {
        clock_back(s);
        s->synced_ms = VV_SERIES_NEVER;
    }
    enum vv_err err = begin_time(s, t_ms);
    rotate(s, t_ms, 0);
    if (!batch_room(s, n)) {
        return VV_ENOMEM;
    }
    const size_t kept = sift(s, t_ms, at, n);
    s->last_ms = t_ms;
    if (kept > 0) {
        const enum vv_err one = write_rows(s, 0, 0, kept);
        err = err == VV_OK ? one : err;
    }
    for (size_t i = 0; i < kept; i++) {
        const bool fed = feed(s, s->index.at[s->batch[i].id], t_ms, s->batch[i].bits);
        s->stats.appended += fed;
    }
    if (s->synced_ms == VV_SERIES_NEVER) {
        s->synced_ms = t_ms;
    }
    if (s->conf.sync_ns > 0 && t_ms - s->synced_ms >= (int64_t)(s->conf.sync_ns / VV_MS)) {
        const enum vv_err one = vv_series_files_sync(s);
        s->synced_ms = t_ms;
        err = err == VV_OK ? one : err;
    }
    return err;
}

enum vv_err vv_samples_append(struct vv_samples *s, int64_t t_ms, const struct vv_samples_value *at,
                              size_t n)
{
    pthread_mutex_lock(&s->lock);
    const enum vv_err err = append(s, t_ms, at, n);
    pthread_mutex_unlock(&s->lock);
    return err;
}

enum vv_err vv_samples_sync(struct vv_samples *s)
{
    pthread_mutex_lock(&s->lock);
    const enum vv_err err = vv_series_files_sync(s);
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* Forgets series of which no file has a sample. */
static void forget(struct vv_samples *s)
{
    int64_t oldest = s->last_ms;
    for (size_t k = 0; k < VV_SAMPLES_TIERS; k++) {
        const struct vv_tier *r = &s->tier[k];
        oldest = r->min_ms < oldest ? r->min_ms : oldest;
        for (size_t i = 0; i < r->seg_n; i++) {
            oldest = r->seg[i].min_ms < oldest ? r->seg[i].min_ms : oldest;
        }
    }
    if (oldest == s->forgot_ms) {
        return; /* nothing went since: not again for every series that is refused */
    }
    s->forgot_ms = oldest;
    if (vv_series_index_drop(&s->index, oldest) != VV_OK) {
        s->stats.write_errors++;
    }
}

static enum vv_err series(struct vv_samples *s, struct vv_promql_labels labels,
                          enum vv_samples_kind kind, uint64_t *ret_ref)
{
    if (!vv_series_labels_valid(labels)) {
        return VV_EINVAL;
    }
    struct vv_one *one = vv_series_index_find(&s->index, labels);
    enum vv_err err = VV_OK;
    if (one == NULL) {
        if (s->index.live >= s->conf.series_max) {
            forget(s);
        }
        err = s->index.live < s->conf.series_max
                  ? vv_series_index_add(&s->index, UINT32_MAX, labels, kind, &one)
                  : VV_ELIMIT;
        if (err == VV_OK) {
            one->newest_ms = 0;
            err = vv_series_files_labels(s, one);
            if (err != VV_OK) { /* its samples could not be read again: better not begun */
                one->newest_ms = VV_SERIES_NEVER;
                if (vv_series_index_drop(&s->index, VV_SERIES_NEVER + 1) != VV_OK) {
                    err = VV_ENOMEM;
                }
            }
        }
        s->stats.series_refused += err != VV_OK;
    } else {
        one->kind = kind; /* whoever asks after the next start will say it again */
    }
    if (err == VV_OK) {
        one->newest_ms = one->newest_ms < s->last_ms ? s->last_ms : one->newest_ms;
        *ret_ref = (uint64_t)one->generation << 32 | one->id;
    }
    return err;
}

enum vv_err vv_samples_series(struct vv_samples *s, struct vv_promql_labels labels,
                              enum vv_samples_kind kind, uint64_t *ret_ref)
{
    pthread_mutex_lock(&s->lock);
    const enum vv_err err = series(s, labels, kind, ret_ref);
    pthread_mutex_unlock(&s->lock);
    return err;
}

int64_t vv_samples_last_ms(struct vv_samples *s)
{
    pthread_mutex_lock(&s->lock);
    const int64_t t_ms = s->last_ms;
    pthread_mutex_unlock(&s->lock);
    return t_ms;
}

void vv_samples_stats(struct vv_samples *s, struct vv_samples_stats *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    ret->series = s->index.live;
    ret->disk_bytes = vv_series_files_bytes(s);
    ret->memory_bytes = s->index.bytes + s->batch_cap * sizeof *s->batch + s->out.cap;
    for (size_t k = 0; k < VV_SAMPLES_TIERS; k++) {
        const struct vv_tier *r = &s->tier[k];
        ret->memory_bytes += r->rows.cap * 12 + r->rows.ids_cap * 4 + r->seg_cap * sizeof *r->seg;
        ret->segments[k] = r->seg_n + (r->start_ms != VV_SERIES_NEVER);
        ret->oldest_ms[k] = r->min_ms;
        for (size_t i = 0; i < r->seg_n; i++) {
            if (r->seg[i].min_ms < ret->oldest_ms[k]) {
                ret->oldest_ms[k] = r->seg[i].min_ms;
            }
        }
    }
    pthread_mutex_unlock(&s->lock);
}

/* A row of the finest tier's log, when it is opened again. */
void vv_series_replay_fine(void *user, int64_t until_ms, const struct vv_row_value *at, size_t n)
{
    struct vv_samples *s = user;
    (void)until_ms;
    if (n == 0) {
        return;
    }
    const int64_t t_ms = at[0].t_ms;
    if (t_ms < s->tier[0].max_ms) { /* never written so */
        s->stats.damaged++;
        return;
    }
    if (begin_time(s, t_ms) != VV_OK) {
        s->stats.write_errors++;
    }
    rotate(s, t_ms, 1);
    s->last_ms = t_ms;
    for (size_t i = 0; i < n; i++) {
        struct vv_one *one = at[i].id < s->index.n ? s->index.at[at[i].id] : NULL;
        if (one != NULL) {
            (void)feed(s, one, t_ms, at[i].bits);
        } else {
            vv_series_index_seen(&s->index, at[i].id);
            s->stats.damaged++;
        }
    }
}

void vv_series_replay_coarse(struct vv_samples *s, unsigned tier, int64_t until_ms,
                             const struct vv_row_value *at, size_t n)
{
    if (until_ms >= 0 && until_ms <= VV_SERIES_T_MAX) {
        s->tier[tier].flushed_ms = until_ms;
    }
    for (size_t i = 0; i < n; i++) {
        struct vv_one *one = at[i].id < s->index.n ? s->index.at[at[i].id] : NULL;
        double v;
        memcpy(&v, &at[i].bits, sizeof v);
        if (one == NULL) {
            vv_series_index_seen(&s->index, at[i].id);
            s->stats.damaged++;
        } else {
            (void)head_add(s, tier, one, at[i].t_ms, v);
        }
    }
}

/* What the finest tier does not know of a series any more, coarser ones may: its last value, to see
 * a fall after a long pause. */
static void recall(struct vv_samples *s)
{
    for (unsigned k = 0; k < VV_SAMPLES_TIERS; k++) {
        for (uint32_t i = 0; i < s->index.n; i++) {
            struct vv_one *one = s->index.at[i];
            const struct vv_chunk *c = one != NULL ? &one->head[k].chunk : NULL;
            if (c != NULL && c->n > 0 && one->last_ms == VV_SERIES_NEVER) {
                one->last_ms = one->number_ms = c->last.t_ms;
                memcpy(&one->last_v, &c->last.value, sizeof one->last_v);
                one->number = one->last_v; /* of a stale marker: no number */
            }
        }
        const struct vv_tier *r = &s->tier[k];
        if (s->last_ms == VV_SERIES_NEVER && r->start_ms != VV_SERIES_NEVER) {
            s->last_ms = r->max_ms;
        }
        if (s->last_ms == VV_SERIES_NEVER && r->seg_n > 0) {
            s->last_ms = r->seg[r->seg_n - 1].max_ms;
        }
    }
}

enum vv_err vv_samples_open(const char *dir, const struct vv_samples_conf *conf,
                            struct vv_samples **ret)
{
    if (!conf_valid(conf)) {
        return VV_EINVAL;
    }
    struct vv_samples *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->conf = *conf;
    s->dir_fd = s->lock_fd = s->labels_fd = -1;
    s->last_ms = s->synced_ms = s->forgot_ms = VV_SERIES_NEVER;
    for (size_t k = 0; k < VV_SAMPLES_TIERS; k++) {
        s->tier[k] = (struct vv_tier){.step_ms = (int64_t)(conf->tier[k].step_ns / VV_MS),
                                      .keep_ms = (int64_t)(conf->tier[k].keep_ns / VV_MS),
                                      .span_ms = (int64_t)(conf->tier[k].segment_ns / VV_MS),
                                      .fd = -1,
                                      .seq = 1,
                                      .start_ms = VV_SERIES_NEVER,
                                      .retry_ms = VV_SERIES_NEVER,
                                      .min_ms = INT64_MAX,
                                      .max_ms = INT64_MIN,
                                      .interval = -1,
                                      .flushed_ms = VV_SERIES_NEVER};
    }
    const enum vv_err err = vv_series_files_open(s, dir);
    if (err != VV_OK) {
        vv_samples_close(s);
        return err;
    }
    recall(s);
    vv_series_files_expire(s);
    *ret = s;
    return VV_OK;
}

void vv_samples_close(struct vv_samples *s)
{
    if (s == NULL) {
        return;
    }
    vv_series_files_fini(s);
    for (size_t k = 0; k < VV_SAMPLES_TIERS; k++) {
        struct vv_tier *r = &s->tier[k];
        for (size_t i = 0; i < r->seg_n; i++) {
            vv_segment_fini(&r->seg[i]);
        }
        free(r->seg);
        free(r->falls);
        vv_rows_fini(&r->rows);
    }
    vv_series_index_fini(&s->index);
    vv_bytes_fini(&s->out);
    free(s->batch);
    free(s->dir);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
