/* src/gateway/levels_read.c - asks one level after the other for what a leader wants.
 *
 * A fresh answer goes into the leader's fill as it comes, and the leader's client becomes its first
 * follower; so a value of any size passes without being kept twice, and outlives a client that leaves. One that
 * must be validated is taken in whole first, since the origin is asked with what it says. */
#include "gateway/fetch.h"
#include "gateway/lease.h"
#include "gateway/levels_int.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include <stdlib.h>

#define HEAD_MAX (256u * 1024u)
#define STALE_MAX VV_MIB /* of an answer that is taken only to be validated */
/* A value that has begun has no deadline of its own: a server that gives it drop by drop must not hold up
 * anybody for longer than so many times what an operation may take. */
#define PATIENCE_CALLS 4
#define CALL_NS (50 * VV_MS) /* where the store says nothing */
#define LEFT_MAX_NS (UINT64_C(100) * 365 * VV_DAY)

struct vv_level_read {
    struct vv_redis_op op;
    struct vv_worker *w;
    struct vv_exchange *x; /* NULL: it has gone; only what has begun is ended */
    struct vv_levels *levels;
    size_t at; /* which level */
    struct vv_str args[2];
    struct vv_packed_reader *reader;
    struct vv_cache_fill *fill; /* counted, once the answer goes into it */
    struct vv_sb stale;
    struct vv_stored_meta meta; /* of the value, once it was found sound */
    struct vv_lease_try *lease; /* who may ask the origin is being found out; NULL: not now */
    uint64_t began_ns;
    unsigned leases; /* how often somebody else had it */
    /* The first level that holds what memory holds softly purged, and what that is. */
    size_t held_at; /* SIZE_MAX: none */
    uint64_t held_id;
    int64_t held_ms;
    uint64_t marker, marker_names; /* as of vv_recall, whose exchange may have gone */
    uint8_t marker_at;
    enum vv_level_read_result result;
    enum {
        LOOKING,  /* nothing is decided yet */
        MARKED,   /* a marker was there: the variant is asked for next */
        TAKING,   /* fresh: into the fill */
        KEEPING,  /* to be validated: into `stale` */
        DROPPING, /* of no use: the rest passes by */
        WHOLE,    /* all of it has been taken in */
    } phase;
    bool soft, variant, told; /* told: the client reads from the fill */
    bool begun;               /* verified bytes of the body have come */
    struct vv_timer patience; /* until it is told, or has what it wants */
};

static void ask_next(struct vv_level_read *rd);
static void lead_again(struct vv_level_read *rd);

static struct vv_level *level_of(const struct vv_level_read *rd)
{
    return &rd->levels->level[rd->at];
}

static void forget_value(struct vv_level_read *rd)
{
    vv_packed_reader_free(rd->reader);
    rd->reader = NULL;
    vv_sb_fini(&rd->stale);
    rd->stale = (struct vv_sb)VV_SB_INIT;
    free((char *)(uintptr_t)rd->args[1].p);
    rd->args[1] = (struct vv_str){NULL, 0};
}

static void read_free(struct vv_level_read *rd)
{
    vv_loop_timer_stop(rd->w->loop, &rd->patience);
    forget_value(rd);
    if (rd->fill != NULL) {
        vv_cache_fill_unref(rd->fill);
    }
    vv_levels_unref(rd->levels);
    free(rd);
}

/* ---- what has come ---- */

static void drop(struct vv_level_read *rd, enum vv_level_read_result why)
{
    rd->result = why;
    rd->phase = DROPPING;
}

/* Others write into a store, maybe others than gateways: what does not read as what we write is not used. */
static bool usable_meta(const struct vv_packed_head *h, int64_t now_ms, struct vv_stored_meta *ret)
{
    if (h->meta.n != sizeof *ret) {
        return false;
    }
    memcpy(ret, h->meta.p, sizeof *ret);
    return vv_stored_sound(ret, h->head, now_ms);
}

/* What memory holds of the same is as new as this: there is nothing to be gained. When a name of it was
 * changed, a nearer level may still hold the very same: the last one, which all share, says. */
static bool is_news(struct vv_level_read *rd, const struct vv_stored_meta *meta)
{
    const struct vv_recall *r = rd->x->recall;
    const int64_t own_ms =
        r->object != NULL ? vv_stored_meta(r->object)->facts.response_ms : INT64_MIN;
    if (meta->facts.response_ms > own_ms || (r->soft && rd->at + 1 == rd->levels->count)) {
        return true;
    }
    if (r->soft && rd->held_at > rd->at) {
        rd->held_at = rd->at;
        rd->held_id = meta->id;
        rd->held_ms = meta->facts.response_ms;
    }
    return false;
}

static void take_fresh(struct vv_level_read *rd, const struct vv_packed_head *h,
                       struct vv_stored_meta *meta)
{
    struct vv_recall *r = rd->x->recall;
    struct vv_sb head = VV_SB_INIT;
    meta->second_n = (uint32_t)h->second.n;
    meta->length = h->body_n;
    vv_sb_add(&head, h->second);
    vv_sb_add(&head, h->head);
    if (head.failed || vv_cache_fill_head(r->fill, meta, sizeof *meta, vv_sb_str(&head), h->body_n,
                                          vv_worker_now(rd->w)) != VV_OK) {
        drop(rd, VV_LEVEL_READ_ERROR);
    } else {
        vv_cache_fill_ref(r->fill);
        rd->fill = r->fill;
        rd->phase = TAKING;
        rd->result = VV_LEVEL_READ_HIT;
    }
    vv_sb_fini(&head);
}

/* The head is whole and sound: what is this good for? */
static void decide(struct vv_level_read *rd, const struct vv_packed_head *h)
{
    struct vv_exchange *x = rd->x;
    struct vv_recall *r = x->recall;
    const enum vv_coherence_verdict verdict = vv_coherence_judge(rd->levels->coherence, h);
    if (!vv_str_eq(h->key, r->key) ||
        (!h->marker && !usable_meta(h, vv_recall_now_ms(x), &rd->meta)) ||
        (h->marker && rd->variant)) {
        drop(rd, VV_LEVEL_READ_DAMAGED);
        return;
    }
    if (verdict == VV_COHERENCE_GONE) {
        drop(rd, VV_LEVEL_READ_PURGED);
        return;
    }
    if (h->marker) {
        r->marker_at = r->marker == h->id ? r->marker_at : 0;
        r->marker_at |= (uint8_t)(1u << rd->at);
        r->marker = h->id;
        r->marker_names = vv_level_names(h->second);
        rd->marker = r->marker;
        rd->marker_names = r->marker_names;
        rd->marker_at = r->marker_at;
        rd->phase = MARKED;
        return;
    }
    if (h->second.n > 0 && !vv_vary_matches(&x->req, h->second, &r->plan->vary_rules)) {
        drop(rd, VV_LEVEL_READ_MISS);
        return;
    }
    rd->soft = verdict == VV_COHERENCE_SOFT;
    const struct vv_use use = vv_cache_judge_use(&rd->meta.facts, &r->cc, &r->plan->options,
                                                 rd->soft, vv_recall_now_ms(x));
    if (!is_news(rd, &rd->meta)) {
        drop(rd, VV_LEVEL_READ_STALE);
    } else if (use.result == VV_USE_FRESH) {
        take_fresh(rd, h, &rd->meta);
    } else if (h->body_n <= STALE_MAX) {
        rd->result = VV_LEVEL_READ_STALE;
        rd->phase = KEEPING;
    } else {
        drop(rd, VV_LEVEL_READ_STALE);
    }
}

/* Verified bytes of the body go where they belong. */
static void take_body(struct vv_level_read *rd)
{
    struct vv_str bytes;
    enum vv_err err = VV_OK;
    while ((rd->phase == TAKING || rd->phase == KEEPING) &&
           (err = vv_packed_body(rd->reader, &bytes)) == VV_OK && bytes.n > 0) {
        if (rd->phase == KEEPING) {
            vv_sb_add(&rd->stale, bytes);
        } else if (vv_cache_fill_append(rd->fill, bytes, vv_worker_now(rd->w)) != VV_OK) {
            drop(rd, VV_LEVEL_READ_ERROR);
        }
        rd->begun = true;
    }
    if (rd->phase != TAKING && rd->phase != KEEPING) {
        return;
    }
    if (err == VV_OK) {
        rd->phase = rd->phase == TAKING || !rd->stale.failed ? WHOLE : DROPPING;
    } else if (err != VV_EAGAIN) {
        drop(rd, VV_LEVEL_READ_DAMAGED);
    }
}

/* The client's way is clear: it reads behind us. */
static void tell(struct vv_level_read *rd)
{
    struct vv_exchange *x = rd->x;
    vv_loop_timer_stop(rd->w->loop, &rd->patience);
    rd->told = true;
    rd->x = NULL;
    if (x == NULL) {
        return;
    }
    struct vv_recall *r = x->recall;
    r->level = NULL;
    r->finished = true;
    if (x->session->detached) {
        vv_cache_fill_unref(r->fill); /* ours goes on */
        r->fill = NULL;
        r->role = VV_RECALL_PASS;
        vv_exchange_end(x, VV_REASON_NONE);
        return;
    }
    r->role = VV_RECALL_FOLLOW;
    r->from_fill = true;
    r->status.hit = true;
    r->status.detail = vv_str_from(level_of(rd)->store->name);
    vv_cached_start(x);
}

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_level_read *rd = VV_CONTAINER(op, struct vv_level_read, op);
    if (rd->x == NULL && rd->fill == NULL) {
        return;
    }
    if (it->type != VV_RESP_BULK) {
        if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
            drop(rd, VV_LEVEL_READ_ERROR);
        } else {
            drop(rd, it->type == VV_RESP_NIL ? VV_LEVEL_READ_MISS : VV_LEVEL_READ_DAMAGED);
        }
        return;
    }
    if (rd->phase == DROPPING || rd->phase == MARKED) {
        return;
    }
    const enum vv_err err =
        rd->phase == WHOLE && it->text.n > 0 ? VV_ESYNTAX : vv_packed_feed(rd->reader, it->text);
    if (err != VV_OK) {
        drop(rd, VV_LEVEL_READ_DAMAGED);
        return;
    }
    const struct vv_packed_head *h = rd->phase == LOOKING ? vv_packed_head(rd->reader) : NULL;
    if (h != NULL && rd->x != NULL) {
        decide(rd, h);
    }
    take_body(rd);
    if (rd->phase == TAKING && rd->begun && !rd->told) {
        tell(rd); /* there is more to come; a small answer is told when it is complete */
    }
}

/* ---- the end of one answer ---- */

static uint64_t left_ns(int64_t until_ms, int64_t now_ms)
{
    const uint64_t left_ms = until_ms > now_ms ? (uint64_t)(until_ms - now_ms) : 0;
    return vv_min_u64(left_ms, LEFT_MAX_NS / VV_MS) * VV_MS;
}

/* What watches it: the connection that gave it, and those that know its key. */
static bool watched_tags(const struct vv_level_read *rd, const struct vv_packed_head *h,
                         uint64_t *tags, uint32_t *n)
{
    const struct vv_level_watch watch = {h->key, h->second.n > 0, rd->op.share};
    return rd->op.share != 0 && vv_levels_tags(rd->levels, rd->w, &watch, tags, n);
}

/* A value may take long to come, so it is judged once more: what is purged from now on meets `born`, what was
 * purged before is known to the log. False: it was. */
static bool publish(struct vv_level_read *rd, const struct vv_packed_head *h, int64_t now_ms,
                    const struct vv_cache_fill *fill)
{
    uint64_t tags[VV_CACHE_TAGS_MAX];
    uint32_t n = h->tags_n;
    struct vv_stored_meta meta = rd->meta;
    const uint64_t now = vv_worker_now(rd->w);
    struct vv_cache *memory = rd->levels->cache->memory;
    const uint64_t born = vv_cache_born(memory);
    const enum vv_coherence_verdict verdict = vv_coherence_judge(rd->levels->coherence, h);
    if (verdict == VV_COHERENCE_GONE) {
        return false;
    }
    memcpy(tags, h->tags, n * sizeof *tags);
    meta.length = h->body_n;
    meta.second_n = (uint32_t)h->second.n;
    if (!watched_tags(rd, h, tags, &n)) {
        const uint64_t age_s =
            vv_cache_age_ms(meta.facts.initial_age_ms, meta.facts.response_ms, now_ms) / 1000;
        meta.facts.lifetime_s =
            (uint32_t)vv_min_u64(meta.facts.lifetime_s, age_s + vv_levels_alone_s(rd->levels));
    }
    const struct vv_cache_spec spec = {
        .key = h->key,
        .second = h->second,
        .hash = vv_cache_hash(memory, h->key),
        .meta = &meta,
        .meta_n = sizeof meta,
        .head = h->head,
        .body = vv_sb_str(&rd->stale),
        .tags = tags,
        .tags_n = n,
        .keep_until_ns = now + left_ns(h->keep_until_ms, now_ms),
        .born = born,
        .soft = verdict == VV_COHERENCE_SOFT,
        .fill = fill,
    };
    if (rd->fill != NULL) { /* not admitted: those who wait read on all the same */
        (void)!vv_cache_fill_finish(rd->fill, &spec, now);
    } else {
        (void)!vv_cache_insert(memory, &spec, now);
    }
    return true;
}

/* What a far level had goes into the nearer ones, for no longer than it is left there. */
static void refill(struct vv_level_read *rd, const struct vv_packed_head *h, int64_t now_ms)
{
    const struct vv_stored_meta *meta = &rd->meta;
    const bool held =
        rd->held_at < rd->at && rd->held_id == meta->id && rd->held_ms == meta->facts.response_ms;
    const struct vv_level_object o = {
        .key = h->key,
        .second = h->second,
        .head = h->head,
        .meta = h->meta.p,
        .meta_n = h->meta.n,
        .tags = h->tags,
        .tags_n = h->tags_n,
        .life_ns = left_ns(
            meta->facts.response_ms + (int64_t)vv_cache_keep_s(&meta->facts, 0) * 1000, now_ms),
        .keep_ns = left_ns(h->keep_until_ms, now_ms),
        .log = h->log,
        .marker = rd->variant ? rd->marker : 0,
        .marker_names = rd->marker_names,
        .marker_at = rd->marker_at,
        .fill = rd->fill,
    };
    /* What a level before has already is not written there again: others would have to look once more. */
    vv_levels_refill(rd->levels, rd->w, &o, held ? rd->held_at : rd->at,
                     left_ns(h->store_until_ms, now_ms));
}

static void taken(struct vv_level_read *rd)
{
    const struct vv_packed_head *h = vv_packed_head(rd->reader);
    const int64_t now_ms = (int64_t)(vv_loop_wall(rd->w->loop) / VV_MS);
    if (!publish(rd, h, now_ms, NULL)) { /* purged while it came */
        if (!rd->told && rd->x != NULL) {
            lead_again(rd);
            return;
        }
        vv_cache_fill_end(rd->fill);
    } else if (rd->at > 0) {
        refill(rd, h, now_ms);
    }
    if (!rd->told) {
        tell(rd);
    }
    read_free(rd);
}

static void on_lease(void *user, enum vv_lease_result result)
{
    struct vv_level_read *rd = user;
    rd->lease = NULL;
    if (result == VV_LEASE_OTHERS) {
        rd->leases++;
        rd->at = 0;
        rd->held_at = SIZE_MAX;
        rd->x->recall->marker = 0;
        rd->x->recall->marker_at = 0;
        rd->phase = LOOKING;
        ask_next(rd);
        return;
    }
    struct vv_exchange *x = rd->x;
    read_free(rd);
    x->recall->level = NULL;
    vv_recall_missed(x);
}

/* Nobody has it fresh. */
static void missed(struct vv_level_read *rd)
{
    struct vv_exchange *x = rd->x;
    if (rd->levels->lease_ns > 0 && !x->session->detached) {
        rd->lease = vv_lease_begin(rd->levels, x, rd->leases, rd->began_ns, on_lease, rd);
        if (rd->lease != NULL) {
            return;
        }
    }
    read_free(rd);
    x->recall->level = NULL;
    vv_recall_missed(x);
}

static void kept(struct vv_level_read *rd)
{
    struct vv_exchange *x = rd->x;
    struct vv_recall *r = x->recall;
    const int64_t now_ms = vv_recall_now_ms(x);
    (void)publish(rd, vv_packed_head(rd->reader), now_ms, r->fill); /* not found then */
    read_free(rd);
    r->level = NULL;
    vv_recall_find(x);
    if (r->object != NULL && r->use.result == VV_USE_WHILE_REVALIDATE && !x->session->detached) {
        vv_recall_serve_renewing(x);
    } else {
        vv_recall_missed(x);
    }
}

struct removal {
    struct vv_redis_op op;
    struct vv_str args[2];
};

static void on_removed(struct vv_redis_op *op, enum vv_err err)
{
    struct removal *m = VV_CONTAINER(op, struct removal, op);
    (void)err; /* then it will be found damaged once more */
    free((char *)(uintptr_t)m->args[1].p);
    free(m);
}

/* Nobody was asked instead, so nothing would be written over it. */
static void remove_damaged(struct vv_level_read *rd)
{
    struct vv_redis *redis = vv_store_client(rd->w, level_of(rd)->store);
    struct removal *m = redis != NULL ? calloc(1, sizeof *m) : NULL;
    if (m == NULL) {
        return;
    }
    m->args[0] = VV_STR("UNLINK");
    m->args[1] = rd->args[1];
    rd->args[1] = (struct vv_str){NULL, 0};
    m->op = (struct vv_redis_op){
        .end = on_removed, .key = m->args[1], .args = m->args, .args_count = 2};
    if (vv_redis_do(redis, &m->op) != VV_OK) {
        on_removed(&m->op, VV_EREFUSED);
    }
}

/* A value that broke off after its head was told: those who read see it as of an origin that broke off. */
static void broke(struct vv_level_read *rd)
{
    if (rd->result == VV_LEVEL_READ_DAMAGED) {
        remove_damaged(rd);
    }
    vv_cache_fill_fail(rd->fill, VV_ECLOSED);
    read_free(rd);
}

/* Its head stands in the fill: another one must lead. */
static void lead_again(struct vv_level_read *rd)
{
    struct vv_exchange *x = rd->x;
    rd->x = NULL;
    x->recall->level = NULL;
    x->recall->finished = true;
    x->recall->levels_failed = true;
    broke(rd);
    vv_recall_again(x);
}

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_level_read *rd = VV_CONTAINER(op, struct vv_level_read, op);
    vv_loop_timer_stop(rd->w->loop, &rd->patience);
    if (err != VV_OK) {
        rd->result = err == VV_ETIMEOUT   ? VV_LEVEL_READ_TIMEOUT
                     : err == VV_EREFUSED ? VV_LEVEL_READ_REFUSED
                                          : VV_LEVEL_READ_ERROR;
    } else if (rd->phase == LOOKING || rd->phase == TAKING || rd->phase == KEEPING) {
        rd->result = VV_LEVEL_READ_DAMAGED; /* cut short */
    }
    const bool fine = err == VV_OK && rd->phase == WHOLE;
    if (err != VV_OK || rd->phase != MARKED) {
        vv_level_count_read(level_of(rd), rd->result);
    }
    if (fine && rd->fill != NULL) {
        taken(rd);
    } else if (rd->told || rd->x == NULL) {
        broke(rd);
    } else if (fine) {
        kept(rd);
    } else if (rd->fill != NULL) {
        lead_again(rd);
    } else {
        if (err != VV_OK || rd->phase != MARKED) {
            rd->at++;
        }
        ask_next(rd);
    }
}

/* ---- asking ---- */

static void on_patience(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_level_read *rd = VV_CONTAINER(t, struct vv_level_read, patience);
    (void)loop;
    vv_redis_abandon(&rd->op);
    on_end(&rd->op, VV_ETIMEOUT);
}

/* The name of the variant that this request would select, once a marker has said by what answers vary. */
static struct vv_str variant_name(struct vv_level_read *rd)
{
    struct vv_exchange *x = rd->x;
    const struct vv_recall *r = x->recall;
    char second[8192];
    size_t n = 0;
    const struct vv_packed_head *h = vv_packed_head(rd->reader);
    if (!vv_vary_again(&x->req, h->second, &r->plan->vary_rules, second, sizeof second, &n)) {
        return (struct vv_str){NULL, 0};
    }
    return vv_level_variant_name(rd->levels, level_of(rd), h->id, (struct vv_str){second, n},
                                 r->key);
}

/* True: it is on its way. */
static bool ask(struct vv_level_read *rd)
{
    const struct vv_level *level = level_of(rd);
    const struct vv_packed_limits limits = {.head_max = HEAD_MAX, .body_max = level->object_max};
    const bool variant = rd->phase == MARKED;
    const struct vv_str name =
        variant ? variant_name(rd) : vv_level_name(rd->levels, level, rd->x->recall->key);
    forget_value(rd);
    rd->args[0] = VV_STR("GET");
    rd->args[1] = name;
    rd->phase = LOOKING;
    rd->variant = variant;
    rd->result = VV_LEVEL_READ_ERROR;
    struct vv_redis *redis = vv_store_client(rd->w, level->store);
    if (name.p == NULL || redis == NULL || vv_packed_reader_new(&limits, &rd->reader) != VV_OK) {
        return false;
    }
    rd->op = (struct vv_redis_op){.item = on_item,
                                  .end = on_end,
                                  .key = name,
                                  .args = rd->args,
                                  .args_count = 2,
                                  .flags = VV_REDIS_READ | VV_REDIS_TRACK};
    const enum vv_err err = vv_redis_do(redis, &rd->op);
    rd->result = err == VV_OK ? rd->result : VV_LEVEL_READ_REFUSED;
    if (err == VV_OK) {
        const uint64_t call_ns = level->store->conf.call_ns;
        vv_loop_timer_at(rd->w->loop, &rd->patience,
                         vv_worker_now(rd->w) + PATIENCE_CALLS * (call_ns > 0 ? call_ns : CALL_NS));
    }
    return err == VV_OK;
}

/* The first level from here on that can be asked; without any the exchange goes to the origin. */
static void ask_next(struct vv_level_read *rd)
{
    for (; rd->at < rd->levels->count; rd->at++) {
        if (ask(rd)) {
            return;
        }
        vv_level_count_read(level_of(rd), rd->result);
        rd->phase = LOOKING;
    }
    missed(rd);
}

static void cancel(struct vv_exchange *x)
{
    vv_levels_leave(x);
}

static const struct vv_action action_level = {.name = "cached", .cancel = cancel};

bool vv_levels_ask(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    struct vv_levels *l = r->plan->levels;
    r->log = vv_coherence_born(l->coherence);
    if (r->levels_failed || !vv_coherence_synced(l->coherence)) {
        return false;
    }
    struct vv_level_read *rd = calloc(1, sizeof *rd);
    if (rd == NULL) {
        return false;
    }
    rd->w = x->w;
    rd->x = x;
    rd->levels = vv_levels_ref(l);
    rd->began_ns = vv_worker_now(x->w);
    rd->held_at = SIZE_MAX;
    vv_timer_init(&rd->patience, on_patience);
    for (; rd->at < l->count; rd->at++) {
        if (ask(rd)) {
            r->level = rd;
            x->action = &action_level;
            x->state = NULL;
            return true;
        }
        vv_level_count_read(level_of(rd), rd->result);
        rd->phase = LOOKING;
    }
    read_free(rd);
    return false;
}

void vv_levels_leave(struct vv_exchange *x)
{
    struct vv_level_read *rd = x->recall != NULL ? x->recall->level : NULL;
    if (rd == NULL) {
        return;
    }
    x->recall->level = NULL;
    rd->x = NULL;
    if (rd->fill == NULL) { /* nobody will want it: the fill ends with its leader */
        vv_lease_stop(rd->lease);
        if (rd->lease == NULL) {
            vv_redis_abandon(&rd->op);
        }
        read_free(rd);
    } else {
        x->recall->finished = true; /* the fill is ended here now */
    }
}
