/* src/gateway/stores_walk.c - a bounded look at the keys of a store: SCAN of one master after the other, and the
 * lifetime of every key that is met, a batch at a time so that the servers never notice. */
#include "gateway/stores_int.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH 200             /* lifetimes that are asked for at once */
#define WAIT_NS (500 * VV_MS) /* for one answer */
#define WHOLE_NS (5 * VV_SEC) /* for the walk */
#define KEY_BYTES 200         /* of a key as it is shown */
#define GROUP_BYTES 96
#define GROUP_COLONS 3
#define STEP_TEXT "200"

struct key {
    char *text;
    size_t n;
};

struct ttl_call {
    struct vv_redis_op op;
    struct vv_str args[2];
    struct store_walk *w;
    int64_t ms; /* -1: without an end; -2: it has gone, or nobody knows */
};

struct soon {
    char key[KEY_BYTES + 1];
    int64_t ms;
};

struct store_walk {
    struct vv_store_walk *of;
    struct vv_store_home *h;
    struct vv_defer step;
    struct vv_redis_peer *peer;
    size_t peers, at;
    uint64_t until_ns;
    char prefix[256], match[600], cursor[32], next[32], why[128];
    size_t next_n;
    struct vv_redis_op scan;
    struct vv_str scan_args[6];
    bool scanning, last; /* last: this server has no more */
    struct key *key;     /* of this step */
    size_t keys, keys_room, asked;
    bool key_open; /* more of the last key is to come */
    struct ttl_call call[BATCH];
    size_t calls, open;
    struct {
        char name[GROUP_BYTES];
        uint64_t with, without;
    } group[VV_STORE_WALK_GROUPS];
    size_t groups;
    struct soon *soon;
    size_t soons;
    uint64_t seen, with, without;
    bool whole, ended;
};

static void work_free(struct store_walk *w)
{
    vv_loop_defer_stop(&w->step);
    vv_redis_abandon(&w->scan);
    for (size_t i = 0; i < w->calls; i++) {
        vv_redis_abandon(&w->call[i].op);
    }
    for (size_t i = 0; i < w->keys; i++) {
        free(w->key[i].text);
    }
    free(w->key);
    free(w->soon);
    free(w->peer);
    free(w);
}

static void again(struct store_walk *w)
{
    vv_loop_defer(w->h->owner->control, &w->step);
}

static void fail(struct store_walk *w, const char *why)
{
    if (w->why[0] == '\0') {
        (void)snprintf(w->why, sizeof w->why, "%s", why);
    }
}

/* ---- what is kept -------------------------------------------------------------------------- */

/* "vz:api:o:" of "vz:api:o:9f3c": as many parts as say what kind of key it is. */
static size_t group_of(const struct key *k)
{
    size_t colons = 0, end = 0;
    for (size_t i = 0; i < k->n && i < GROUP_BYTES - 1 && colons < GROUP_COLONS; i++) {
        if (k->text[i] == ':') {
            colons++;
            end = i + 1;
        }
    }
    return end;
}

static void count_group(struct store_walk *w, const struct key *k, bool with)
{
    const size_t n = group_of(k);
    size_t i = 0;
    while (i < w->groups &&
           (strlen(w->group[i].name) != n || memcmp(w->group[i].name, k->text, n) != 0)) {
        i++;
    }
    if (i == w->groups) {
        if (i == VV_STORE_WALK_GROUPS) {
            return; /* the sums still count it */
        }
        memcpy(w->group[i].name, k->text, n);
        w->group[i].name[n] = '\0';
        w->groups++;
    }
    w->group[i].with += with;
    w->group[i].without += !with;
}

static void keep_soon(struct store_walk *w, const struct key *k, int64_t ms)
{
    const size_t max = w->of->soon_max;
    size_t at = w->soons;
    if (max == 0 || (w->soons == max && w->soon[max - 1].ms <= ms)) {
        return;
    }
    if (w->soons < max) {
        w->soons++;
    } else {
        at = max - 1;
    }
    for (; at > 0 && w->soon[at - 1].ms > ms; at--) {
        w->soon[at] = w->soon[at - 1];
    }
    const size_t n = k->n < KEY_BYTES ? k->n : KEY_BYTES;
    memcpy(w->soon[at].key, k->text, n);
    w->soon[at].key[n] = '\0';
    w->soon[at].ms = ms;
}

static void take_batch(struct store_walk *w)
{
    for (size_t i = 0; i < w->calls; i++) {
        const struct key *k = &w->key[w->asked - w->calls + i];
        const int64_t ms = w->call[i].ms;
        if (ms == -2) {
            continue;
        }
        w->seen++;
        w->with += ms >= 0;
        w->without += ms < 0;
        count_group(w, k, ms >= 0);
        if (ms >= 0) {
            keep_soon(w, k, ms);
        }
    }
    w->calls = 0;
}

/* ---- lifetimes ----------------------------------------------------------------------------- */

static void on_ttl(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct ttl_call *c = VV_CONTAINER(op, struct ttl_call, op);
    if (it->depth == 0 && it->type == VV_RESP_INTEGER) {
        c->ms = it->integer;
    }
}

static void on_ttl_end(struct vv_redis_op *op, enum vv_err err)
{
    struct ttl_call *c = VV_CONTAINER(op, struct ttl_call, op);
    if (err != VV_OK) {
        fail(c->w, vv_err_text(err));
    }
    if (--c->w->open == 0) {
        again(c->w);
    }
}

static void ask_lifetimes(struct store_walk *w)
{
    const size_t n = w->keys - w->asked < BATCH ? w->keys - w->asked : BATCH;
    w->calls = n;
    for (size_t i = 0; i < n; i++) {
        struct ttl_call *c = &w->call[i];
        const struct key *k = &w->key[w->asked + i];
        *c = (struct ttl_call){.w = w, .ms = -2};
        c->args[0] = VV_STR("PTTL");
        c->args[1] = (struct vv_str){k->text, k->n};
        c->op = (struct vv_redis_op){.item = on_ttl,
                                     .end = on_ttl_end,
                                     .args = c->args,
                                     .args_count = 2,
                                     .flags = VV_REDIS_READ,
                                     .timeout_ns = WAIT_NS};
        if (vv_redis_do_peer(w->h->eyes, &w->peer[w->at], &c->op) == VV_OK) {
            w->open++;
        }
    }
    w->asked += n;
    if (w->open == 0) {
        again(w);
    }
}

/* ---- keys ---------------------------------------------------------------------------------- */

static void add_key_run(struct store_walk *w, const struct vv_resp_item *it)
{
    if (it->first) {
        if (w->keys == w->keys_room) {
            const size_t room = w->keys_room > 0 ? w->keys_room * 2 : 256;
            struct key *more = realloc(w->key, room * sizeof *more);
            if (more == NULL) {
                w->key_open = false;
                fail(w, vv_err_text(VV_ENOMEM));
                return;
            }
            w->key = more;
            w->keys_room = room;
        }
        w->key[w->keys] = (struct key){malloc(it->count + 1), 0};
        w->key_open = w->key[w->keys].text != NULL;
        w->keys += w->key_open;
    }
    if (w->key_open) {
        struct key *k = &w->key[w->keys - 1];
        if (it->text.n > 0) {
            memcpy(k->text + k->n, it->text.p, it->text.n);
        }
        k->n += it->text.n;
    }
}

static void on_scan(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct store_walk *w = VV_CONTAINER(op, struct store_walk, scan);
    if (it->depth == 0 && it->type == VV_RESP_ERROR) {
        char text[100];
        (void)snprintf(text, sizeof text, "%.*s", (int)(it->text.n < 99 ? it->text.n : 99),
                       it->text.p);
        fail(w, text);
    } else if (it->depth == 1 && it->type == VV_RESP_BULK) {
        for (size_t i = 0; i < it->text.n && w->next_n + 1 < sizeof w->next; i++) {
            w->next[w->next_n++] = it->text.p[i];
        }
        w->next[w->next_n] = '\0';
    } else if (it->depth == 2 && it->type == VV_RESP_BULK) {
        add_key_run(w, it);
    }
}

static void on_scan_end(struct vv_redis_op *op, enum vv_err err)
{
    struct store_walk *w = VV_CONTAINER(op, struct store_walk, scan);
    if (err != VV_OK) {
        fail(w, vv_err_text(err));
    }
    again(w);
}

static void ask_keys(struct store_walk *w)
{
    for (size_t i = 0; i < w->keys; i++) {
        free(w->key[i].text);
    }
    w->keys = w->asked = 0;
    w->next_n = 0;
    w->next[0] = '\0';
    w->scanning = true;
    w->scan_args[0] = VV_STR("SCAN");
    w->scan_args[1] = vv_str_from(w->cursor);
    w->scan_args[2] = VV_STR("MATCH");
    w->scan_args[3] = vv_str_from(w->match);
    w->scan_args[4] = VV_STR("COUNT");
    w->scan_args[5] = VV_STR(STEP_TEXT);
    w->scan = (struct vv_redis_op){.item = on_scan,
                                   .end = on_scan_end,
                                   .args = w->scan_args,
                                   .args_count = 6,
                                   .flags = VV_REDIS_READ,
                                   .timeout_ns = WAIT_NS};
    const enum vv_err err = vv_redis_do_peer(w->h->eyes, &w->peer[w->at], &w->scan);
    if (err != VV_OK) {
        fail(w, vv_err_text(err));
        again(w);
    }
}

static void finish(struct store_walk *w, bool whole)
{
    struct vv_store_walk *of = w->of;
    w->whole = whole && w->why[0] == '\0';
    w->ended = true;
    vv_list_del(&of->node);
    of->done(of); /* last: it frees everything */
}

static void step(struct vv_loop *loop, struct vv_defer *d)
{
    struct store_walk *w = VV_CONTAINER(d, struct store_walk, step);
    if (w->scanning) {
        w->scanning = false;
        w->last = strcmp(w->next, "0") == 0;
        (void)snprintf(w->cursor, sizeof w->cursor, "%s", w->next);
    }
    take_batch(w);
    if (w->why[0] != '\0' || w->seen >= w->of->keys_max || vv_loop_now(loop) >= w->until_ns) {
        finish(w, w->last && w->asked == w->keys && w->at + 1 >= w->peers);
    } else if (w->asked < w->keys) {
        ask_lifetimes(w);
    } else if (!w->last) {
        ask_keys(w);
    } else if (w->at + 1 < w->peers) {
        w->at++;
        w->last = false;
        (void)snprintf(w->cursor, sizeof w->cursor, "0");
        ask_keys(w);
    } else {
        finish(w, true);
    }
}

/* ---- the interface ------------------------------------------------------------------------- */

static void write_match(struct store_walk *w)
{
    size_t n = 0;
    for (const char *c = w->prefix; *c != '\0' && n + 4 < sizeof w->match; c++) {
        if (strchr("*?[]\\", *c) != NULL) {
            w->match[n++] = '\\';
        }
        w->match[n++] = *c;
    }
    w->match[n++] = '*';
    w->match[n] = '\0';
}

static bool find_masters(struct store_walk *w)
{
    struct vv_redis_peer *all = calloc(STORE_SERVERS_MAX, sizeof *all);
    w->peer = all;
    if (all == NULL) {
        return false;
    }
    const size_t n = vv_redis_peers(w->h->eyes, all, STORE_SERVERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!all[i].replica) {
            all[w->peers++] = all[i];
        }
    }
    return true;
}

enum vv_err vv_stores_walk(struct vv_stores *ss, struct vv_str name, struct vv_store_walk *of)
{
    char text[128];
    struct vv_store *s = NULL;
    (void)snprintf(text, sizeof text, "%.*s", (int)(name.n < 127 ? name.n : 127), name.p);
    enum vv_err err = vv_stores_take(ss, text, &s);
    if (err != VV_OK) {
        return err;
    }
    struct vv_store_home *h = store_home(s);
    struct store_walk *w = h->control != NULL ? calloc(1, sizeof *w) : NULL;
    if (w == NULL) {
        vv_store_unref(s);
        return h->control != NULL ? VV_ENOMEM : VV_EUNSUPPORTED;
    }
    w->of = of;
    w->h = h;
    w->step.fn = step;
    vv_list_init(&w->step.node);
    w->until_ns = vv_loop_now(ss->control) + WHOLE_NS;
    of->soon_max = of->soon_max < VV_STORE_WALK_SOON ? of->soon_max : VV_STORE_WALK_SOON;
    w->soon = calloc(of->soon_max + 1, sizeof *w->soon);
    if (w->soon == NULL || !find_masters(w)) {
        work_free(w);
        vv_store_unref(s);
        return VV_ENOMEM;
    }
    (void)snprintf(w->prefix, sizeof w->prefix, of->prefix[0] != '\0' ? "%s" : "%.200s:",
                   of->prefix[0] != '\0' ? of->prefix : s->prefix);
    (void)snprintf(w->cursor, sizeof w->cursor, "0");
    write_match(w);
    of->store = s;
    of->work = w;
    vv_list_init(&of->node);
    vv_list_push_back(&h->walks, &of->node);
    if (w->peers == 0) {
        fail(w, "no server is known yet");
        again(w);
    } else {
        ask_keys(w);
    }
    return VV_OK;
}

void vv_store_walk_end(struct vv_store_walk *of)
{
    if (of->work != NULL) {
        if (!of->work->ended) {
            vv_list_del(&of->node);
        }
        work_free(of->work);
        of->work = NULL;
        vv_store_unref(of->store);
    }
}

void vv_store_walk_json(const struct vv_store_walk *of, struct vv_json *j)
{
    const struct store_walk *w = of->work;
    vv_json_kcstr(j, "name", of->store->name);
    vv_json_kcstr(j, "prefix", w->prefix);
    vv_json_ku64(j, "keys", w->seen);
    vv_json_ku64(j, "with_end", w->with);
    vv_json_ku64(j, "without_end", w->without);
    vv_json_kbool(j, "whole", w->whole);
    vv_json_kcstr(j, "problem", w->why[0] != '\0' ? w->why : NULL);
    vv_json_key(j, "groups");
    vv_json_arr(j);
    for (size_t i = 0; i < w->groups; i++) {
        vv_json_obj(j);
        vv_json_kcstr(j, "prefix", w->group[i].name);
        vv_json_ku64(j, "with_end", w->group[i].with);
        vv_json_ku64(j, "without_end", w->group[i].without);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
    vv_json_key(j, "soonest");
    vv_json_arr(j);
    for (size_t i = 0; i < w->soons; i++) {
        vv_json_obj(j);
        vv_json_kcstr(j, "key", w->soon[i].key);
        vv_json_kdouble(j, "seconds", (double)w->soon[i].ms / 1000.0);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}
