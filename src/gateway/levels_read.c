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
    struct vv_lease_try *lease; /* who may ask the origin is being found out; NULL: not now */
    uint64_t began_ns;
    unsigned leases; /* how often somebody else had it */
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
};

static void ask_next(struct vv_level_read *rd);

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

static bool usable_meta(const struct vv_packed_head *h, struct vv_stored_meta *ret)
{
    if (h->meta.n != sizeof *ret) {
        return false;
    }
    memcpy(ret, h->meta.p, sizeof *ret);
    return ret->version == VV_STORED_VERSION && ret->encoding == VV_ENCODING_IDENTITY;
}

/* What memory holds of the same is as new as this: there is nothing to be gained. */
static bool is_news(const struct vv_recall *r, const struct vv_cache_facts *facts)
{
    return r->object == NULL || r->soft ||
           facts->response_ms > vv_stored_meta(r->object)->facts.response_ms;
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
    struct vv_stored_meta meta;
    const enum vv_coherence_verdict verdict = vv_coherence_judge(rd->levels->coherence, h);
    if (!vv_str_eq(h->key, r->key) || (!h->marker && !usable_meta(h, &meta)) ||
        (h->marker && rd->variant)) {
        drop(rd, VV_LEVEL_READ_DAMAGED);
        return;
    }
    if (verdict == VV_COHERENCE_GONE) {
        drop(rd, VV_LEVEL_READ_PURGED);
        return;
    }
    if (h->marker) {
        r->marker = h->id;
        r->marker_names = vv_level_names(h->second);
        rd->phase = MARKED;
        return;
    }
    if (h->second.n > 0 && !vv_vary_matches(&x->req, h->second, &r->plan->vary_rules)) {
        drop(rd, VV_LEVEL_READ_MISS);
        return;
    }
    rd->soft = verdict == VV_COHERENCE_SOFT;
    const struct vv_use use =
        vv_cache_judge_use(&meta.facts, &r->cc, &r->plan->options, rd->soft, vv_recall_now_ms(x));
    if (!is_news(r, &meta.facts)) {
        drop(rd, VV_LEVEL_READ_STALE);
    } else if (use.result == VV_USE_FRESH) {
        take_fresh(rd, h, &meta);
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
    if (h != NULL) {
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
    return until_ms > now_ms ? (uint64_t)(until_ms - now_ms) * VV_MS : 0;
}

static void publish(struct vv_level_read *rd, const struct vv_packed_head *h, int64_t now_ms,
                    bool soft)
{
    uint64_t tags[VV_CACHE_TAGS_MAX];
    uint32_t n = h->tags_n;
    struct vv_stored_meta meta;
    const uint64_t now = vv_worker_now(rd->w);
    struct vv_cache *memory = rd->levels->cache->memory;
    memcpy(tags, h->tags, n * sizeof *tags);
    memcpy(&meta, h->meta.p, sizeof meta);
    meta.length = h->body_n;
    meta.second_n = (uint32_t)h->second.n;
    if (!vv_levels_tags(rd->levels, rd->w, h->key, tags, &n)) {
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
        .born = vv_cache_born(memory),
        .soft = soft,
    };
    if (rd->fill != NULL) { /* not admitted: those who wait read on all the same */
        (void)!vv_cache_fill_finish(rd->fill, &spec, now);
    } else {
        (void)!vv_cache_insert(memory, &spec, now);
    }
}

/* What a far level had goes into the nearer ones, for no longer than it is left there. */
static void refill(struct vv_level_read *rd, const struct vv_packed_head *h, int64_t now_ms)
{
    struct vv_stored_meta meta;
    memcpy(&meta, h->meta.p, sizeof meta);
    const struct vv_level_object o = {
        .key = h->key,
        .second = h->second,
        .head = h->head,
        .meta = h->meta.p,
        .meta_n = h->meta.n,
        .tags = h->tags,
        .tags_n = h->tags_n,
        .life_ns = left_ns(meta.facts.response_ms + (int64_t)vv_cache_keep_s(&meta.facts, 0) * 1000,
                           now_ms),
        .keep_ns = left_ns(h->keep_until_ms, now_ms),
        .log = h->log,
        .fill = rd->fill,
    };
    vv_levels_refill(rd->levels, rd->w, &o, rd->at, left_ns(h->store_until_ms, now_ms));
}

static void taken(struct vv_level_read *rd)
{
    const struct vv_packed_head *h = vv_packed_head(rd->reader);
    const int64_t now_ms = (int64_t)(vv_loop_wall(rd->w->loop) / VV_MS);
    publish(rd, h, now_ms, false);
    if (rd->at > 0) {
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
    publish(rd, vv_packed_head(rd->reader), now_ms, rd->soft);
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

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_level_read *rd = VV_CONTAINER(op, struct vv_level_read, op);
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
    } else if (rd->fill != NULL) { /* its head stands in the fill: another one must lead */
        struct vv_exchange *x = rd->x;
        rd->x = NULL;
        x->recall->level = NULL;
        x->recall->finished = true;
        x->recall->levels_failed = true;
        broke(rd);
        vv_recall_again(x);
    } else {
        if (err != VV_OK || rd->phase != MARKED) {
            rd->at++;
        }
        ask_next(rd);
    }
}

/* ---- asking ---- */

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
