/* src/gateway/kv_purge.c - one purge at the servers of a store, in steps that cost a server little.
 *
 * A pattern: SCAN on each server, one after the other; what the pattern matches is unlinked key by key. A
 * tag: its sorted set is scanned; a key goes if its value still has the tag, and its place in the set goes
 * if nobody renewed it meanwhile. A step is one page of a scan or at most so many keys, and the next one begins
 * when all of it is answered; a failure ends the run, whoever began it tries again from the start. */
#include "base/sb.h"
#include "cache/store.h"
#include "gateway/kv_int.h"
#include "store/redis_peers.h"
#include <stdio.h>
#include <stdlib.h>

#define PAGE VV_STR("500") /* keys that one SCAN looks at */
#define AT_ONCE 64         /* keys that are removed at once */
#define KEYS_MAX 16384 /* of one page: a server may give more than asked for, but not that many */

/* KEYS[1]; line feed, tag, line feed. */
static const char script_untag[] =
    "local n=tonumber(redis.call('GETRANGE',KEYS[1],4,11),16) if not n then return 0 end "
    "if string.find(redis.call('GETRANGE',KEYS[1],0,n-1),ARGV[1],1,true) then "
    "return redis.call('DEL',KEYS[1]) end return 0";
/* KEYS[1]; member and the score it had. */
static const char script_forget[] = "if redis.call('ZSCORE',KEYS[1],ARGV[1])==ARGV[2] then "
                                    "return redis.call('ZREM',KEYS[1],ARGV[1]) end return 0";

struct removal {
    struct vv_redis_op op;
    struct vv_kv_run *run;
    struct vv_str args[6];
    char *key;
    bool counts;
};

struct vv_kv_run {
    struct vv_worker *w;
    struct vv_kv *kv;
    void (*finish)(void *user, bool ok, uint64_t count);
    void *user;
    bool is_tag, failed, ended, asked_first;
    char *what, *match, *set, *line; /* match: of SCAN; set: of the tag; line: what a head has */
    size_t match_n, set_n, line_n, what_n;
    struct vv_redis_peer *place;
    size_t places, at_place;
    struct vv_redis_op op; /* of a page */
    struct vv_str args[7];
    char cursor[32];
    struct vv_sb page;  /* texts of the page, one behind the other */
    size_t *end, texts; /* where each of them ends */
    size_t next;        /* text of the page that is to go */
    size_t item_at;     /* of the page, at depth 1 */
    uint64_t count;
    unsigned left; /* removals under way */
    struct removal removal[2 * AT_ONCE];
};

static void run_free(struct vv_kv_run *run)
{
    struct vv_store *s = run->kv->store;
    vv_sb_fini(&run->page);
    free(run->what);
    free(run->match);
    free(run->set);
    free(run->line);
    free(run->place);
    free(run->end);
    free(run);
    vv_store_unref(s);
}

static void finish(struct vv_kv_run *run)
{
    run->finish(run->user, !run->failed, run->count);
    run_free(run);
}

static bool ask_page(struct vv_kv_run *run);

/* ---- removing what a page named ----------------------------------------------------------------- */

static struct vv_str text_of(const struct vv_kv_run *run, size_t i)
{
    const size_t from = i > 0 ? run->end[i - 1] : 0;
    return (struct vv_str){run->page.p + from, run->end[i] - from};
}

static void go_on(struct vv_kv_run *run);

static void removal_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct removal *m = VV_CONTAINER(op, struct removal, op);
    if (it->depth != 0 || it->attribute) {
        return;
    }
    if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
        m->run->failed = true;
    } else if (it->type == VV_RESP_INTEGER && it->integer > 0 && m->counts) {
        m->run->count += (uint64_t)it->integer;
    }
}

static void removal_end(struct vv_redis_op *op, enum vv_err err)
{
    struct removal *m = VV_CONTAINER(op, struct removal, op);
    struct vv_kv_run *run = m->run;
    free(m->key);
    m->key = NULL;
    run->failed |= err != VV_OK;
    if (--run->left == 0) {
        go_on(run);
    }
}

static void send_removal(struct vv_kv_run *run, struct removal *m, struct vv_str key, size_t args,
                         bool counts)
{
    m->run = run;
    m->counts = counts;
    m->op = (struct vv_redis_op){.item = removal_item,
                                 .end = removal_end,
                                 .key = key,
                                 .args = m->args,
                                 .args_count = args,
                                 .timeout_ns = VV_KV_STEP_NS};
    struct vv_redis *r = vv_store_client(run->w, run->kv->store);
    if (r != NULL && vv_redis_do(r, &m->op) == VV_OK) {
        run->left++;
    } else {
        run->failed = true;
        free(m->key);
        m->key = NULL;
    }
}

/* A key as the application names it, out of the page: in Redis it has our prefix. */
static bool redis_key(struct vv_kv_run *run, struct removal *m, struct vv_str name,
                      struct vv_str *ret)
{
    const struct vv_str p = run->kv->objects;
    m->key = malloc(p.n + name.n + 1);
    if (m->key == NULL) {
        run->failed = true;
        return false;
    }
    memcpy(m->key, p.p, p.n);
    memcpy(m->key + p.n, name.p != NULL ? name.p : "", name.n);
    *ret = (struct vv_str){m->key, p.n + name.n};
    return true;
}

static void remove_matched(struct vv_kv_run *run, struct removal *m, struct vv_str key)
{
    m->key = NULL;
    m->args[0] = VV_STR("UNLINK");
    m->args[1] = key; /* in the page, which stays until all have ended */
    send_removal(run, m, key, 2, true);
}

static void remove_tagged(struct vv_kv_run *run, struct removal m[2], struct vv_str member,
                          struct vv_str score)
{
    struct vv_str key;
    if (!redis_key(run, &m[0], member, &key)) {
        return;
    }
    m[0].args[0] = VV_STR("EVAL");
    m[0].args[1] = VV_STR(script_untag);
    m[0].args[2] = VV_STR("1");
    m[0].args[3] = key;
    m[0].args[4] = (struct vv_str){run->line, run->line_n};
    send_removal(run, &m[0], key, 5, true);
    m[1].key = NULL;
    const struct vv_str set = {run->set, run->set_n};
    m[1].args[0] = VV_STR("EVAL");
    m[1].args[1] = VV_STR(script_forget);
    m[1].args[2] = VV_STR("1");
    m[1].args[3] = set;
    m[1].args[4] = member;
    m[1].args[5] = score;
    send_removal(run, &m[1], set, 6, false);
}

static bool is_matched(const struct vv_kv_run *run, struct vv_str key)
{
    const struct vv_str p = run->kv->objects;
    const struct vv_str glob = {run->what, run->what_n};
    return vv_str_starts(key, p) && vv_cache_glob(glob, (struct vv_str){key.p + p.n, key.n - p.n});
}

/* The next keys of the page. None left: false. */
static bool remove_some(struct vv_kv_run *run)
{
    size_t used = 0;
    while (run->next < run->texts && used < AT_ONCE && !run->failed) {
        const struct vv_str text = text_of(run, run->next);
        if (run->is_tag && run->next + 1 < run->texts) {
            remove_tagged(run, &run->removal[2 * used++], text, text_of(run, run->next + 1));
            run->next++;
        } else if (!run->is_tag && is_matched(run, text)) {
            remove_matched(run, &run->removal[2 * used++], text);
        }
        run->next++;
    }
    return run->left > 0;
}

static bool last_page(const struct vv_kv_run *run)
{
    return strcmp(run->cursor, "0") == 0;
}

/* Nothing is under way: more of this page, the next page, the next server, or the end. */
static void go_on(struct vv_kv_run *run)
{
    while (!run->failed) {
        if (remove_some(run)) {
            return;
        }
        if (run->failed) {
            break;
        }
        if (last_page(run)) {
            run->at_place++;
            if (run->is_tag || run->at_place >= run->places) {
                break;
            }
        }
        if (ask_page(run)) {
            return;
        }
        run->failed = true;
    }
    if (run->left == 0) {
        finish(run);
    }
}

/* ---- pages ------------------------------------------------------------------------------------- */

/* Depth 0: an array of two; depth 1: the cursor, then an array; depth 2: its texts. */
static void page_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_kv_run *run = VV_CONTAINER(op, struct vv_kv_run, op);
    if (it->attribute) {
        return;
    }
    if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
        run->failed = true;
    } else if (it->depth == 0) { /* or begun again, on another connection */
        vv_sb_reset(&run->page);
        run->texts = 0;
    } else if (it->depth == 1 && it->type == VV_RESP_BULK) {
        const size_t had = it->first ? 0 : strlen(run->cursor);
        if (had + it->text.n < sizeof run->cursor) {
            memcpy(run->cursor + had, it->text.p != NULL ? it->text.p : "", it->text.n);
            run->cursor[had + it->text.n] = '\0';
        } else {
            run->failed = true;
        }
    } else if (it->depth >= 2 && (it->type == VV_RESP_BULK || it->type == VV_RESP_DOUBLE)) {
        vv_sb_add(&run->page, it->text);
        if (it->last && run->texts < KEYS_MAX) {
            run->end[run->texts++] = run->page.n;
        } else if (it->last) {
            run->failed = true;
        }
    }
}

static void begin_scan(struct vv_kv_run *run);

static void page_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_kv_run *run = VV_CONTAINER(op, struct vv_kv_run, op);
    run->failed |= err != VV_OK || run->page.failed;
    if (!run->failed && !run->is_tag && !run->asked_first) {
        run->asked_first = true;
        begin_scan(run);
        return;
    }
    go_on(run);
}

static bool ask_page(struct vv_kv_run *run)
{
    struct vv_redis *r = vv_store_client(run->w, run->kv->store);
    size_t n = 0;
    vv_sb_reset(&run->page);
    run->texts = run->next = 0;
    if (last_page(run)) {
        (void)snprintf(run->cursor, sizeof run->cursor, "0");
    }
    char *cursor = run->line + run->line_n + 1; /* the answer overwrites run->cursor */
    memcpy(cursor, run->cursor, sizeof run->cursor);
    run->op = (struct vv_redis_op){.item = page_item,
                                   .end = page_end,
                                   .args = run->args,
                                   .flags = VV_REDIS_READ | VV_REDIS_MASTER,
                                   .timeout_ns = VV_KV_STEP_NS};
    run->args[n++] = run->is_tag ? VV_STR("ZSCAN") : VV_STR("SCAN");
    if (run->is_tag) {
        run->op.key = (struct vv_str){run->set, run->set_n};
        run->args[n++] = run->op.key;
    }
    run->args[n++] = vv_str_from(cursor);
    if (!run->is_tag) {
        run->args[n++] = VV_STR("MATCH");
        run->args[n++] = (struct vv_str){run->match, run->match_n};
    }
    run->args[n++] = VV_STR("COUNT");
    run->args[n++] = PAGE;
    run->op.args_count = n;
    if (r == NULL) {
        return false;
    }
    return (run->is_tag ? vv_redis_do(r, &run->op)
                        : vv_redis_do_peer(r, &run->place[run->at_place], &run->op)) == VV_OK;
}

/* A first operation was answered, so the servers are known. */
static void begin_scan(struct vv_kv_run *run)
{
    struct vv_redis *r = vv_store_client(run->w, run->kv->store);
    const size_t known = r != NULL ? vv_redis_peers(r, run->place, VV_REDIS_PEERS_MAX) : 0;
    for (size_t i = 0; i < known; i++) {
        if (run->place[i].keys) {
            run->place[run->places++] = run->place[i];
        }
    }
    run->failed = run->places == 0;
    (void)snprintf(run->cursor, sizeof run->cursor, "0");
    if (run->failed || !ask_page(run)) {
        run->failed = true;
        finish(run);
    }
}

/* SCAN needs a key to find out who serves anything at all: any of ours will do. */
static bool ask_first(struct vv_kv_run *run)
{
    struct vv_redis *r = vv_store_client(run->w, run->kv->store);
    run->args[0] = VV_STR("EXISTS");
    run->args[1] = run->kv->objects;
    run->op = (struct vv_redis_op){.item = page_item,
                                   .end = page_end,
                                   .key = run->kv->objects,
                                   .args = run->args,
                                   .args_count = 2,
                                   .flags = VV_REDIS_READ};
    return r != NULL && vv_redis_do(r, &run->op) == VV_OK;
}

/* ---- beginning ----------------------------------------------------------------------------------- */

/* What all keys have that the pattern can match: our prefix and the pattern up to its first star. Bytes that
 * mean something to Redis stand for themselves. */
static bool make_match(struct vv_kv_run *run, struct vv_str glob)
{
    const struct vv_str p = run->kv->objects;
    size_t n = 0, plain = 0;
    while (plain < glob.n && glob.p[plain] != '*' && glob.p[plain] != '?') {
        plain++;
    }
    run->match = malloc(2 * (p.n + plain) + 1);
    for (size_t i = 0; run->match != NULL && i < p.n + plain; i++) {
        const char c = i < p.n ? p.p[i] : glob.p[i - p.n];
        if (strchr("*?[]^-\\", c) != NULL) {
            run->match[n++] = '\\';
        }
        run->match[n++] = c;
    }
    if (run->match != NULL && plain < glob.n) {
        run->match[n++] = '*';
    }
    run->match_n = n;
    return run->match != NULL;
}

static bool make_texts(struct vv_kv_run *run, struct vv_str what)
{
    const struct vv_str p = run->kv->tags;
    run->what = malloc(what.n + 1);
    run->set = malloc(p.n + what.n + 1);
    run->line = calloc(1, what.n + 3 + sizeof run->cursor);
    run->place = malloc(VV_REDIS_PEERS_MAX * sizeof *run->place);
    run->end = malloc(KEYS_MAX * sizeof *run->end);
    if (run->what == NULL || run->set == NULL || run->line == NULL || run->place == NULL ||
        run->end == NULL) {
        return false;
    }
    memcpy(run->what, what.p, what.n);
    run->what_n = what.n;
    memcpy(run->set, p.p, p.n);
    memcpy(run->set + p.n, what.p, what.n);
    run->set_n = p.n + what.n;
    run->line[0] = run->line[what.n + 1] = '\n';
    memcpy(run->line + 1, what.p, what.n);
    run->line_n = what.n + 2;
    return make_match(run, what);
}

struct vv_kv_run *vv_kv_run_start(struct vv_worker *w, struct vv_kv *kv, bool is_tag,
                                  struct vv_str what,
                                  void (*finish_fn)(void *user, bool ok, uint64_t count),
                                  void *user)
{
    struct vv_kv_run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    (void)vv_store_ref(kv->store);
    run->w = w;
    run->kv = kv;
    run->is_tag = is_tag;
    run->finish = finish_fn;
    run->user = user;
    (void)snprintf(run->cursor, sizeof run->cursor, "0");
    if (!make_texts(run, what) || !(is_tag ? ask_page(run) : ask_first(run))) {
        run_free(run);
        return NULL;
    }
    return run;
}
