/* src/gateway/coherence_link.c - every read is two commands that leave together: is the record still there that
 * was read last, and what came after it? So a log that was lost, set back by a failover or flushed is noticed
 * by the very read that would have overlooked it, however the connection came to lead there; no watching of
 * connections, runs or roles could say as much.
 *
 * What an answer proves: everything that was in the log when the command left has been handed out. An empty
 * answer to a read that waited proves the same for the end of the wait. */
#include "gateway/coherence_int.h"
#include <stdio.h>
#include <stdlib.h>

#define PAGE 1000
#define PAGE_TEXT "1000"
#define PAUSE_MIN_NS (10 * VV_MS)
#define PAUSE_MAX_NS (100 * VV_MS)
#define EARLY_NS (5 * VV_MS) /* a wait may end so much too soon and counts as whole */
#define HANG_LESS_NS (20 * VV_MS)
#define VALUE_MAX (64 * 1024) /* a longer one purges everything */
#define NAME_ROOM 16
#define WORD_ROOM 32
#define WHY_MAX 128

enum state { STARTS, CATCHES_UP, FOLLOWS, AWAY };
static const char *const state_names[] = {
    [STARTS] = "starting", [CATCHES_UP] = "catching_up", [FOLLOWS] = "following", [AWAY] = "away"};

struct parse {    /* of one answer */
    uint8_t base; /* how much deeper than in an answer of version 3 */
    uint64_t entries, id;
    char id_text[VV_RECORD_ID_MAX]; /* strings may come in runs */
    size_t id_n;
    uint64_t fields_left, field;
    char name[NAME_ROOM], word[WORD_ROOM]; /* of a field, and its value when it is short */
    size_t name_n, word_n;
    struct vv_sb value;
    enum vv_record_what what;
    uint64_t gateway, number;
    bool soft, has_what, huge, bad;
    char why[WHY_MAX];
};

struct vv_link {
    struct vv_link_conf conf;
    struct vv_link_events events;
    struct vv_redis *redis;
    struct vv_timer retry;
    enum state state;
    uint64_t last;  /* the record read last; 0: none of this log */
    uint64_t known; /* the largest id ever seen */
    uint64_t anew;  /* records read since it is read anew */
    bool tail_lost; /* records that were read are not there any more, older ones are */
    uint64_t sent_ns, pause_ns;
    bool blocks, found;
    struct vv_redis_op check, read, begin;
    struct vv_str check_args[6], read_args[8], begin_args[VV_RECORD_ARGS];
    char last_text[VV_RECORD_ID_MAX], begin_id[VV_RECORD_ID_MAX], begin_text[VV_RECORD_TEXT],
        block_text[24];
    struct vv_record begin_rec;
    struct parse parse;
    bool check_on, read_on, begin_on;
};

static void cycle(struct vv_link *l);

/* ---- the answers of XREAD ---- */

static bool is_string(const struct vv_resp_item *it)
{
    return it->type == VV_RESP_BULK || it->type == VV_RESP_STATUS;
}

/* What does not fit is no name, word or id that we know. */
static void gather(char *to, size_t *n, size_t room, const struct vv_resp_item *it)
{
    const size_t used = it->first ? 0 : *n;
    const size_t more = vv_min_u64(it->text.n, room - used);
    if (more > 0) {
        memcpy(to + used, it->text.p, more);
    }
    *n = used + more;
}

/* Is the id whole? It is in p->id then, or p->bad is set. */
static bool gather_id(struct parse *p, const struct vv_resp_item *it)
{
    gather(p->id_text, &p->id_n, sizeof p->id_text, it);
    if (it->last && !vv_record_id_read((struct vv_str){p->id_text, p->id_n}, &p->id)) {
        p->bad = true;
    }
    return it->last && !p->bad;
}

static void entry_begins(struct parse *p)
{
    p->what = VV_RECORD_ALL;
    p->gateway = p->number = 0;
    p->soft = p->has_what = p->huge = false;
    p->field = 0;
    vv_sb_reset(&p->value);
}

static void entry_ends(struct vv_link *l)
{
    struct parse *p = &l->parse;
    struct vv_record rec = {.id = p->id,
                            .what = p->what,
                            .value = vv_sb_str(&p->value),
                            .soft = p->soft,
                            .gateway = p->gateway,
                            .number = p->number};
    if (!p->has_what || p->huge || p->value.failed) { /* not understood: it may mean anything */
        rec.what = VV_RECORD_ALL;
        rec.soft = false;
    }
    if (p->id <= l->last) {
        p->bad = true;
        return;
    }
    l->tail_lost |= l->anew == 0 && p->id <= l->known;
    l->anew++;
    l->last = p->id;
    l->known = vv_max_u64(l->known, p->id);
    p->entries++;
    l->events.record(l->events.user, &rec);
}

static uint64_t from_hex(struct vv_str s)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char c = vv_char_lower(s.p[i]);
        v = v << 4 | (uint64_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    return v;
}

static void field_value(struct parse *p, struct vv_str name, struct vv_str value)
{
    if (vv_str_eq(name, VV_STR("g"))) {
        p->gateway = from_hex(value);
    } else if (vv_str_eq(name, VV_STR("n"))) {
        if (vv_str_to_u64(value, &p->number) != VV_OK) {
            p->number = 0;
        }
    } else if (vv_str_eq(name, VV_STR("soft"))) {
        p->soft = vv_str_eq(value, VV_STR("1"));
    } else if (vv_str_eq(name, VV_STR("what"))) {
        for (size_t i = 0; i < VV_RECORD_COUNT; i++) {
            if (vv_str_eq(value, vv_str_from(vv_record_names[i]))) {
                p->what = (enum vv_record_what)i;
                p->has_what = true;
            }
        }
    }
}

/* A run of a field's name or value. */
static void field_text(struct vv_link *l, const struct vv_resp_item *it)
{
    struct parse *p = &l->parse;
    const struct vv_str name = {p->name, p->name_n};
    if (p->field % 2 == 0) {
        gather(p->name, &p->name_n, sizeof p->name, it);
    } else if (vv_str_eq(name, VV_STR("value"))) {
        p->huge |= p->value.n + it->text.n > VALUE_MAX;
        vv_sb_add(&p->value, p->huge ? VV_STR("") : it->text);
    } else {
        gather(p->word, &p->word_n, sizeof p->word, it);
        if (it->last) {
            field_value(p, name, (struct vv_str){p->word, p->word_n});
        }
    }
    if (it->last) {
        p->field++;
        if (--p->fields_left == 0) {
            entry_ends(l);
        }
    }
}

static void keep_why(struct parse *p, const struct vv_resp_item *it)
{
    const size_t at = strlen(p->why);
    snprintf(p->why + at, sizeof p->why - at, "%.*s", VV_STR_ARG(it->text));
    p->bad = true;
}

/* Version 3: {key: [[id, [field, value, ...]], ...]}; version 2: [[key, [[id, ...]]]]. */
static void on_read_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_link *l = VV_CONTAINER(op, struct vv_link, read);
    struct parse *p = &l->parse;
    if (it->attribute || p->bad) {
        return;
    }
    if (it->depth == 0) {
        p->base = it->type == VV_RESP_MAP ? 0 : 1;
        if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
            keep_why(p, it);
        }
        return;
    }
    if (l->last != 0 && !l->found) { /* what comes follows something else */
        p->bad = true;
        return;
    }
    if (it->depth == 3 + p->base && is_string(it)) {
        if (gather_id(p, it)) {
            entry_begins(p);
        }
    } else if (it->depth == 3 + p->base) {
        p->fields_left = it->type == VV_RESP_ARRAY ? it->count : 0;
        if (p->fields_left == 0) {
            entry_ends(l);
        }
    } else if (it->depth == 4 + p->base) {
        if (is_string(it) && p->fields_left > 0) {
            field_text(l, it);
        } else {
            p->bad = true;
        }
    }
}

/* ---- the course of things ---- */

static void stop(struct vv_link *l)
{
    if (l->check_on) {
        vv_redis_abandon(&l->check);
    }
    if (l->read_on) {
        vv_redis_abandon(&l->read);
    }
    if (l->begin_on) {
        vv_redis_abandon(&l->begin);
    }
    l->check_on = l->read_on = l->begin_on = false;
}

static void again_in(struct vv_link *l, uint64_t ns)
{
    vv_loop_timer_at(l->conf.loop, &l->retry, vv_loop_now(l->conf.loop) + ns);
}

static void fail(struct vv_link *l, const char *why)
{
    stop(l);
    l->state = AWAY;
    again_in(l, l->pause_ns);
    l->pause_ns = vv_min_u64(l->pause_ns * 2, PAUSE_MAX_NS);
    l->events.failed(l->events.user, why);
}

static const char *why_of(const struct parse *p)
{
    return p->why[0] != '\0' ? p->why : "what was read is not a log of purges";
}

static void on_begin_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_link *l = VV_CONTAINER(op, struct vv_link, begin);
    if (it->type == VV_RESP_ERROR) {
        keep_why(&l->parse, it);
    } else if (it->type == VV_RESP_BULK) {
        (void)gather_id(&l->parse, it);
    } else {
        l->parse.bad = true;
    }
}

static void begin(struct vv_link *l, struct vv_str id);

static void on_begin_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_link *l = VV_CONTAINER(op, struct vv_link, begin);
    struct parse *p = &l->parse;
    l->begin_on = false;
    if (err != VV_OK || p->bad) {
        fail(l, err != VV_OK ? vv_err_text(err) : why_of(p));
        return;
    }
    if (p->id <= l->known) { /* the clock of the server went back: ids must go on */
        l->known++;
        begin(l, vv_record_id_write(l->known, l->begin_id));
        return;
    }
    l->tail_lost = false;
    cycle(l);
}

/* The log is empty, or lost its end: what was written before this moment cannot be judged. */
static void begin(struct vv_link *l, struct vv_str id)
{
    l->parse.bad = false;
    l->parse.why[0] = '\0';
    l->parse.id = 0;
    l->begin_rec = (struct vv_record){.what = VV_RECORD_BEGIN, .gateway = l->conf.gateway};
    l->begin = (struct vv_redis_op){
        .item = on_begin_item,
        .end = on_begin_end,
        .key = l->conf.key,
        .args = l->begin_args,
        .args_count = vv_record_args(&l->begin_rec, l->conf.key, id, l->begin_text, l->begin_args),
        .timeout_ns = l->conf.grace_ns,
    };
    const enum vv_err err = vv_redis_do(l->redis, &l->begin);
    l->begin_on = err == VV_OK;
    if (err != VV_OK) {
        fail(l, vv_err_text(err));
    }
}

static void forget(struct vv_link *l)
{
    l->state = CATCHES_UP;
    l->last = l->anew = 0;
    l->tail_lost = false;
    l->events.lost(l->events.user);
}

static void on_check_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_link *l = VV_CONTAINER(op, struct vv_link, check);
    if (it->type == VV_RESP_ERROR) {
        keep_why(&l->parse, it);
    } else if (it->depth == 2 && is_string(it) && gather_id(&l->parse, it)) {
        l->found |= l->parse.id == l->last;
    }
}

static void on_check_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_link *l = VV_CONTAINER(op, struct vv_link, check);
    l->check_on = false;
    if (err != VV_OK || l->parse.bad) {
        fail(l, err != VV_OK ? vv_err_text(err) : why_of(&l->parse));
    } else if (!l->found) {
        stop(l);
        forget(l);
        cycle(l);
    }
}

static void on_read_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_link *l = VV_CONTAINER(op, struct vv_link, read);
    const struct parse *p = &l->parse;
    const uint64_t now_ns = vv_loop_now(l->conf.loop), sent_ns = l->sent_ns;
    l->read_on = false;
    if (err != VV_OK || p->bad || l->check_on) {
        fail(l, err != VV_OK ? vv_err_text(err) : why_of(p));
        return;
    }
    const bool waited = l->blocks && p->entries == 0;
    const bool whole = waited && now_ns + EARLY_NS >= sent_ns + l->conf.block_ns;
    if (p->entries >= PAGE) {
        cycle(l);
        return;
    }
    if (l->anew == 0 || l->tail_lost) {
        begin(l, VV_STR("*"));
        return;
    }
    l->state = FOLLOWS;
    l->pause_ns = PAUSE_MIN_NS;
    l->events.proof(l->events.user,
                    whole ? vv_min_u64(now_ns, sent_ns + l->conf.block_ns - EARLY_NS) : sent_ns);
    if (waited && !whole && now_ns < sent_ns + l->conf.block_ns / 2) {
        again_in(l,
                 l->conf.block_ns / 2); /* a server that does not wait is not asked in a circle */
    } else {
        cycle(l);
    }
}

static enum vv_err ask_check(struct vv_link *l)
{
    const struct vv_str id = vv_record_id_write(l->last, l->last_text);
    const struct vv_str args[] = {VV_STR("XRANGE"), l->conf.key, id, id,
                                  VV_STR("COUNT"),  VV_STR("1")};
    memcpy(l->check_args, args, sizeof args);
    l->check = (struct vv_redis_op){
        .item = on_check_item,
        .end = on_check_end,
        .key = l->conf.key,
        .args = l->check_args,
        .args_count = VV_COUNT(args),
        .timeout_ns = l->conf.block_ns + l->conf.grace_ns,
    };
    const enum vv_err err = vv_redis_do(l->redis, &l->check);
    l->check_on = err == VV_OK;
    return err;
}

static enum vv_err ask_read(struct vv_link *l)
{
    const struct vv_str id = vv_record_id_write(l->last, l->last_text);
    struct vv_str *a = l->read_args;
    *a++ = VV_STR("XREAD");
    *a++ = VV_STR("COUNT");
    *a++ = VV_STR(PAGE_TEXT);
    if (l->blocks) {
        *a++ = VV_STR("BLOCK");
        *a++ = vv_str_from(l->block_text);
    }
    *a++ = VV_STR("STREAMS");
    *a++ = l->conf.key;
    *a++ = id;
    l->read = (struct vv_redis_op){
        .item = on_read_item,
        .end = on_read_end,
        .key = l->conf.key,
        .args = l->read_args,
        .args_count = (size_t)(a - l->read_args),
        .timeout_ns = l->conf.block_ns + l->conf.grace_ns,
    };
    const enum vv_err err = vv_redis_do(l->redis, &l->read);
    l->read_on = err == VV_OK;
    return err;
}

/* The next read; it waits for records only once the end was reached. */
static void cycle(struct vv_link *l)
{
    struct vv_sb value = l->parse.value;
    vv_sb_reset(&value);
    l->parse = (struct parse){.value = value};
    l->found = false;
    l->blocks = l->state == FOLLOWS;
    l->sent_ns = vv_loop_now(l->conf.loop);
    enum vv_err err = l->last != 0 ? ask_check(l) : VV_OK;
    if (err == VV_OK) {
        err = ask_read(l);
    }
    if (err != VV_OK) {
        fail(l, vv_err_text(err));
    }
}

static void on_retry(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    struct vv_link *l = VV_CONTAINER(t, struct vv_link, retry);
    if (l->state == AWAY) {
        l->state = l->last != 0 ? CATCHES_UP : STARTS;
    }
    cycle(l);
}

enum vv_err vv_link_new(const struct vv_link_conf *conf, const struct vv_link_events *events,
                        struct vv_link **ret)
{
    struct vv_link *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return VV_ENOMEM;
    }
    l->conf = *conf;
    l->events = *events;
    l->pause_ns = PAUSE_MIN_NS;
    vv_timer_init(&l->retry, on_retry);
    snprintf(l->block_text, sizeof l->block_text, "%llu",
             (unsigned long long)vv_max_u64(conf->block_ns / VV_MS, 1));
    /* A client of its own: a read that waits keeps others waiting behind it. It is never refused by a
     * breaker, since nobody waits for it. */
    struct vv_redis_conf rc = conf->store->conf;
    rc.replicas = rc.tracking = false;
    rc.call_ns = conf->block_ns + conf->grace_ns;
    rc.hang_ns = rc.call_ns - HANG_LESS_NS;
    rc.failures = UINT32_MAX;
    rc.recover_ns = PAUSE_MAX_NS;
    const enum vv_err err = vv_redis_new(conf->loop, &rc, NULL, &l->redis);
    if (err != VV_OK) {
        free(l);
        return err;
    }
    again_in(l, 0);
    *ret = l;
    return VV_OK;
}

void vv_link_free(struct vv_link *l)
{
    if (l == NULL) {
        return;
    }
    stop(l);
    vv_loop_timer_stop(l->conf.loop, &l->retry);
    vv_redis_free(l->redis);
    vv_sb_fini(&l->parse.value);
    free(l);
}

const char *vv_link_state(const struct vv_link *l)
{
    return state_names[l->state];
}
