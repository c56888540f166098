/* src/gateway/door.c - a sample of the sessions instead of lists in order of idleness: those would be kept for
 * every request of every connection, and are needed only when the house is full. */
#include "gateway/door.h"
#include "gateway/address_set.h"
#include "gateway/homes.h"
#include "gateway/session_h2.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SAMPLE 64
#define WAITS_MIN_NS VV_SEC /* a client that paused for less is in the middle of something */
#define SHARE_PER_TICK 8    /* one of so many, and some more, while memory is short */
#define LEAST_PER_TICK 32

static enum vv_err copy_set(const struct vv_address_set *from, struct vv_address_set **to)
{
    *to = NULL;
    if (from == NULL) {
        return VV_OK;
    }
    *to = malloc(vv_address_set_bytes(from->count));
    if (*to == NULL) {
        return VV_ENOMEM;
    }
    memcpy(*to, from, vv_address_set_bytes(from->count));
    return VV_OK;
}

enum vv_err vv_door_copy(const struct vv_clients_settings *from, struct vv_clients_settings *to)
{
    struct vv_clients_settings copy = *from;
    copy.fresh = copy.handshakes = copy.malformed = NULL;
    copy.allow = copy.deny = NULL;
    copy.deny_set = NULL;
    enum vv_err err = copy_set(from->allow_set, &copy.allow_set);
    if (err == VV_OK) {
        err = copy_set(from->deny_set, &copy.deny_set);
    }
    if (err != VV_OK) {
        vv_door_forget(&copy);
        return err;
    }
    *to = copy;
    return VV_OK;
}

void vv_door_forget(struct vv_clients_settings *copy)
{
    free(copy->allow_set);
    free(copy->deny_set);
    copy->allow_set = copy->deny_set = NULL;
}

static void count_refused(struct vv_listener *l, enum vv_client_verdict verdict)
{
    const struct vv_str labels[] = {vv_str_from(l->name),
                                    vv_str_from(vv_client_verdict_name(verdict))};
    vv_metric_add(l->worker->shard,
                  vv_metrics_series(l->worker->metrics, VV_METRIC_REFUSED, labels, 2), 1);
}

static enum vv_client_verdict ask(struct vv_listener *l, const struct vv_addr *peer,
                                  struct vv_client **ret)
{
    const struct vv_client_ask question = {
        .conf = &l->conf.clients, .peer = peer, .place = l->place, .tls = l->tls != NULL};
    return vv_clients_take(l->worker->homes->clients, &question, vv_worker_now(l->worker), ret);
}

bool vv_door_admit(struct vv_listener *l, int fd, const struct vv_addr *peer,
                   struct vv_client **ret_client)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    *ret_client = NULL;
    const bool proxy = l->trust_count > 0 ? vv_listener_trusts(l, peer) : l->conf.proxy_protocol;
    if (l->is_unix || l->worker->homes == NULL || proxy) {
        return true; /* one address for many clients */
    }
    const enum vv_client_verdict verdict = ask(l, peer, ret_client);
    if (verdict == VV_CLIENT_PASSES) {
        return true;
    }
    count_refused(l, verdict);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    return false;
}

bool vv_door_admit_named(struct vv_session *s)
{
    struct vv_listener *l = s->listener;
    if (l->worker->homes == NULL || l->stopped || s->trusted) {
        return true;
    }
    vv_door_leave(l->worker, s->client);
    s->client = NULL;
    const enum vv_client_verdict verdict = ask(l, &s->peer, &s->client);
    if (verdict != VV_CLIENT_PASSES) {
        count_refused(l, verdict);
    }
    return verdict == VV_CLIENT_PASSES;
}

void vv_door_leave(struct vv_worker *w, struct vv_client *client)
{
    if (client != NULL) {
        vv_client_leave(w->homes->clients, client);
    }
}

/* ---- making room ---- */

/* Since when only the client is waited for; UINT64_MAX: it is not, or not only. */
static uint64_t waits_since(const struct vv_session *s)
{
    if (s->h2 != NULL) {
        return vv_session_h2_waits_since(s);
    }
    const bool idle = vv_session_has_client(s) && s->x == NULL && s->tls_job == NULL && !s->busy &&
                      !s->blocked && vv_out_empty(&s->out) && s->state <= VV_SESSION_HEAD;
    if (!idle) {
        return UINT64_MAX;
    }
    if (s->head_began_ns != 0) {
        return s->head_began_ns;
    }
    if (s->wait == VV_WAIT_KEEPALIVE || s->wait == VV_WAIT_QUIET || s->wait == VV_WAIT_TAKE) {
        const uint64_t keep_ns = s->listener->conf.keepalive_ns;
        return s->linger_until_ns > keep_ns ? s->linger_until_ns - keep_ns : 0;
    }
    return UINT64_MAX;
}

bool vv_door_make_room(struct vv_worker *w, struct vv_listener *l, const char *why)
{
    struct vv_session *longest = NULL;
    uint64_t since = UINT64_MAX;
    for (unsigned i = 0; i < SAMPLE && !vv_list_empty(&w->sessions); i++) {
        struct vv_session *s = VV_LIST_ENTRY(w->sessions.next, struct vv_session, node);
        vv_list_del(&s->node); /* the next sample goes on behind it */
        vv_list_push_back(&w->sessions, &s->node);
        const uint64_t at = l == NULL || s->listener == l ? waits_since(s) : UINT64_MAX;
        if (at < since) {
            longest = s;
            since = at;
        }
    }
    if (longest == NULL || vv_worker_now(w) < since + WAITS_MIN_NS) {
        return false;
    }
    const struct vv_str labels[] = {vv_str_from(longest->listener->name), vv_str_from(why)};
    vv_metric_add(w->shard, vv_metrics_series(w->metrics, VV_METRIC_MADE_ROOM, labels, 2), 1);
    if (longest->wait == VV_WAIT_TAKE) {
        vv_session_close_hard(longest); /* what the kernel keeps for it is the most of it */
    }
    vv_session_close(longest);
    return true;
}

bool vv_door_has_memory(struct vv_listener *l)
{
    const struct vv_worker *w = l->worker;
    if (w->homes == NULL) {
        return true;
    }
    const enum vv_memory_state state = vv_clients_memory(w->homes->clients);
    if (state == VV_MEMORY_FINE) {
        return true;
    }
    return vv_door_make_room(l->worker, l, "memory") || state != VV_MEMORY_OUT;
}

void vv_door_tick(struct vv_worker *w)
{
    if (w->homes == NULL || vv_clients_memory(w->homes->clients) == VV_MEMORY_FINE) {
        return;
    }
    uint64_t left = w->sessions_open / SHARE_PER_TICK + LEAST_PER_TICK;
    while (left > 0 && vv_door_make_room(w, NULL, "memory")) {
        left--;
    }
}

void vv_door_resumed(struct vv_session *s)
{
    if (s->client != NULL) {
        vv_client_resumed(s->w->homes->clients, s->client, &s->listener->conf.clients);
    }
}

void vv_door_malformed(struct vv_session *s)
{
    struct vv_worker *w = s->w;
    const struct vv_clients_settings *conf = &s->listener->conf.clients;
    if (s->conn != NULL) {
        s = s->conn;
    }
    if (s->client == NULL || w->homes == NULL) {
        return;
    }
    if (vv_client_malformed(w->homes->clients, s->client, conf, vv_worker_now(w))) {
        const struct vv_str name = vv_str_from(s->listener->name);
        vv_metric_add(w->shard, vv_metrics_series(w->metrics, VV_METRIC_BANS, &name, 1), 1);
    }
}
