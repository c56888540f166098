/* src/gateway/coherence_wait.c - purges of this gateway until they have been read back from the log. An answer
 * to XADD is not the end: a master that fails may take with it what its replicas had not seen, and only what
 * came back by reading is known to reach the others. A purge whose answer is lost goes once more, since a
 * purge twice in the log is harmless. */
#include "gateway/coherence_int.h"
#include "os/clock.h"
#include <stdio.h>
#include <stdlib.h>

#define UNDER_WAY_MAX 64
#define JUDGE_MAX 256 /* more that wait are not looked at one by one: nothing is taken then */
#define AS_TEXT(n) AS_TEXT_(n)
#define AS_TEXT_(n) #n

enum state { WAITS, SENT, ADDED };

struct waiting {
    struct vv_list node;
    struct vv_redis_op op;
    struct vv_wait *owner;
    struct vv_record rec; /* id 0: not known yet */
    uint64_t tag;
    enum state state;
    bool refused;
    struct vv_str args[VV_RECORD_ARGS];
    char text[VV_RECORD_TEXT];
    char answer[128];
    size_t answer_n;
    char value[];
};

static struct waiting *of(struct vv_list *node)
{
    return VV_LIST_ENTRY(node, struct waiting, node);
}

size_t vv_record_args(const struct vv_record *rec, struct vv_str key, struct vv_str id, char *text,
                      struct vv_str *args)
{
    const int g = snprintf(text, VV_RECORD_TEXT, "%016llx", (unsigned long long)rec->gateway);
    const int n =
        snprintf(text + g, VV_RECORD_TEXT - (size_t)g, "%llu", (unsigned long long)rec->number);
    const struct vv_str all[VV_RECORD_ARGS] = {
        VV_STR("XADD"),
        key,
        VV_STR("MAXLEN"),
        VV_STR("~"),
        VV_STR(AS_TEXT(VV_COHERENCE_RECORDS)),
        id,
        VV_STR("g"),
        {text, (size_t)g},
        VV_STR("n"),
        {text + g, (size_t)n},
        VV_STR("what"),
        vv_str_from(vv_record_names[rec->what]),
        VV_STR("value"),
        {rec->value.p != NULL ? rec->value.p : "", rec->value.n},
        VV_STR("soft"),
        rec->soft ? VV_STR("1") : VV_STR("0"),
    };
    memcpy(args, all, sizeof all);
    return VV_RECORD_ARGS;
}

/* ---- adding ---- */

static struct waiting *make(enum vv_record_what what, struct vv_str value, bool soft)
{
    struct waiting *n = calloc(1, sizeof *n + value.n + 1);
    if (n != NULL) {
        vv_list_init(&n->node);
        if (value.n > 0) {
            memcpy(n->value, value.p, value.n);
        }
        n->rec = (struct vv_record){.what = what, .value = {n->value, value.n}, .soft = soft};
        n->tag = what == VV_RECORD_TAG ? vv_cache_tag(value) : 0;
    }
    return n;
}

static void put(struct vv_wait *w, struct waiting *n)
{
    n->owner = w;
    n->rec.gateway = w->gateway;
    n->rec.number = ++w->next_number;
    vv_list_push_back(&w->list, &n->node);
    w->count++;
}

static void drop(struct vv_wait *w, struct waiting *n)
{
    vv_list_del(&n->node);
    w->count--;
    w->sent -= n->state == SENT;
    free(n);
}

/* One purge of everything instead of all that have not been sent. */
static void give_up_order(struct vv_wait *w)
{
    VV_LIST_EACH (it, &w->list) {
        if (of(it)->state == WAITS) {
            drop(w, of(it));
            atomic_fetch_add_explicit(&w->dropped, 1, memory_order_relaxed);
        }
    }
    w->all_due = true;
}

void vv_wait_add(struct vv_wait *w, const struct vv_purge *p)
{
    static const enum vv_record_what what[] = {
        [VV_PURGE_URL] = VV_RECORD_URL,
        [VV_PURGE_PATTERN] = VV_RECORD_PATTERN,
        [VV_PURGE_TAG] = VV_RECORD_TAG,
        [VV_PURGE_ALL] = VV_RECORD_ALL,
    };
    struct waiting *n = NULL;
    if (!w->all_due && w->count < VV_COHERENCE_WAITING) {
        n = make(what[p->what], p->what == VV_PURGE_ALL ? VV_STR("") : p->value, p->soft);
    }
    if (n != NULL) {
        put(w, n);
        return;
    }
    atomic_fetch_add_explicit(&w->dropped, 1, memory_order_relaxed);
    if (!w->all_due) {
        give_up_order(w);
    }
}

enum vv_coherence_verdict vv_wait_judge(const struct vv_wait *w, const struct vv_packed_head *h)
{
    enum vv_coherence_verdict v = VV_COHERENCE_GOOD;
    if (w->all_due || w->count > JUDGE_MAX) {
        return VV_COHERENCE_GONE;
    }
    for (struct vv_list *it = w->list.next; it != &w->list && v != VV_COHERENCE_GONE;
         it = it->next) {
        const struct waiting *n = of(it);
        const bool later = n->rec.id == 0 || n->rec.id > h->log;
        if (later && vv_record_fits(n->rec.what, n->rec.value, n->tag, h)) {
            v = n->rec.soft ? VV_COHERENCE_SOFT : VV_COHERENCE_GONE;
        }
    }
    return v;
}

/* ---- sending ---- */

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct waiting *n = VV_CONTAINER(op, struct waiting, op);
    n->refused |= it->type != VV_RESP_BULK;
    const size_t more = vv_min_u64(it->text.n, sizeof n->answer - 1 - n->answer_n);
    if (more > 0) {
        memcpy(n->answer + n->answer_n, it->text.p, more);
        n->answer_n += more;
    }
}

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    struct waiting *n = VV_CONTAINER(op, struct waiting, op);
    struct vv_wait *w = n->owner;
    char why[sizeof n->answer];
    uint64_t id = 0;
    n->answer[n->answer_n] = '\0';
    const bool added = err == VV_OK && !n->refused &&
                       vv_record_id_read((struct vv_str){n->answer, n->answer_n}, &id);
    snprintf(why, sizeof why, "%s", err == VV_OK ? n->answer : vv_err_text(err));
    pthread_mutex_lock(w->lock);
    w->sent--;
    n->state = added ? ADDED : WAITS;
    n->rec.id = id;
    pthread_mutex_unlock(w->lock); /* from here on it may be gone */
    if (added) {
        w->events.added(w->events.user);
        vv_wait_send(w);
    } else {
        w->events.failed(w->events.user, why);
    }
}

/* The next one that waits, as being sent; NULL: none, or enough are under way. */
static struct waiting *next(struct vv_wait *w)
{
    struct waiting *n = NULL;
    pthread_mutex_lock(w->lock);
    if (w->all_due && (n = make(VV_RECORD_ALL, VV_STR(""), false)) != NULL) {
        put(w, n);
        w->all_due = false;
        n = NULL;
    }
    if (w->sent < UNDER_WAY_MAX && w->sent < w->count) {
        VV_LIST_EACH (it, &w->list) {
            if (of(it)->state == WAITS) {
                n = of(it);
                n->state = SENT;
                w->sent++;
                break;
            }
        }
    }
    pthread_mutex_unlock(w->lock);
    return n;
}

void vv_wait_send(struct vv_wait *w)
{
    struct vv_redis *redis = NULL;
    struct waiting *n;
    while ((n = next(w)) != NULL) {
        redis = redis != NULL ? redis : vv_store_control(w->store);
        n->answer_n = 0;
        n->refused = false;
        n->op = (struct vv_redis_op){
            .item = on_item,
            .end = on_end,
            .key = w->key,
            .args = n->args,
            .args_count = vv_record_args(&n->rec, w->key, VV_STR("*"), n->text, n->args),
            .timeout_ns = w->timeout_ns,
        };
        const enum vv_err err = redis != NULL ? vv_redis_do(redis, &n->op) : VV_EREFUSED;
        if (err != VV_OK) { /* at the next tick */
            pthread_mutex_lock(w->lock);
            w->sent--;
            n->state = WAITS;
            pthread_mutex_unlock(w->lock);
            w->events.failed(w->events.user, vv_err_text(err));
            return;
        }
    }
}

void vv_wait_seen(struct vv_wait *w, uint64_t number)
{
    bool added = false;
    pthread_mutex_lock(w->lock);
    VV_LIST_EACH (it, &w->list) {
        struct waiting *n = of(it);
        if (n->rec.number == number) {
            added = n->state != ADDED;
            if (n->state == SENT) { /* read back before it was answered */
                vv_redis_abandon(&n->op);
            }
            drop(w, n);
            break;
        }
    }
    pthread_mutex_unlock(w->lock);
    if (added) {
        w->events.added(w->events.user);
    }
}

void vv_wait_again(struct vv_wait *w, uint64_t last)
{
    pthread_mutex_lock(w->lock);
    VV_LIST_EACH (it, &w->list) {
        struct waiting *n = of(it);
        if (n->state == ADDED && n->rec.id <= last) {
            n->state = WAITS;
            n->rec.id = 0;
        }
    }
    pthread_mutex_unlock(w->lock);
}

void vv_wait_init(struct vv_wait *w)
{
    vv_list_init(&w->list);
}

void vv_wait_fini(struct vv_wait *w)
{
    VV_LIST_EACH (it, &w->list) {
        if (of(it)->state == SENT) {
            vv_redis_abandon(&of(it)->op);
        }
        drop(w, of(it));
    }
}
