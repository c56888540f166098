/* src/gateway/resp_front.c - listening for applications that speak Redis, on every worker, and what their
 * fronts share: memory, numbers and the limit of clients. */
#include "gateway/resp_int.h"
#include "os/sock.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define REST_NS (100 * VV_MS)
#define RETRY_NS VV_MS

/* ---- home and plan: control ---- */

struct vv_resp_home {
    struct vv_list shared;
};

struct door {
    char *name, *address, *password;
    uint64_t clients;
    bool flush;
    struct vv_store *store;
    struct vv_resp_shared *shared;
};

struct vv_resp_plan {
    _Atomic uint32_t refs;
    size_t count;
    struct door door[];
};

enum vv_err vv_resp_home_new(struct vv_resp_home **ret)
{
    struct vv_resp_home *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return VV_ENOMEM;
    }
    vv_list_init(&h->shared);
    *ret = h;
    return VV_OK;
}

static void shared_unref(struct vv_resp_shared *s)
{
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        vv_small_free(s->memory);
        free(s->name);
        free(s);
    }
}

static struct vv_resp_shared *shared_ref(struct vv_resp_shared *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void vv_resp_home_free(struct vv_resp_home *h)
{
    if (h == NULL) {
        return;
    }
    VV_LIST_EACH (it, &h->shared) {
        vv_list_del(it);
        shared_unref(VV_LIST_ENTRY(it, struct vv_resp_shared, node));
    }
    free(h);
}

bool vv_resp_place(const struct vv_store_settings *s, char name[VV_RESP_PLACE_BYTES])
{
    return s->listen != NULL &&
           snprintf(name, VV_RESP_PLACE_BYTES, "@store:%s", s->name) < VV_RESP_PLACE_BYTES;
}

const char *vv_resp_address(const struct vv_settings *s, const char *name)
{
    for (size_t i = 0; s->stores != NULL && i < s->stores->count; i++) {
        const struct vv_store_settings *store = s->stores->item[i];
        char place[VV_RESP_PLACE_BYTES];
        if (vv_resp_place(store, place) && strcmp(place, name) == 0) {
            return store->listen;
        }
    }
    return NULL;
}

static struct vv_small_conf memory_conf(const struct vv_store_settings *s)
{
    return (struct vv_small_conf){.entries = s->fallback.entries,
                                  .bytes = s->fallback.memory_bytes,
                                  .value_bytes = s->fallback.object_bytes,
                                  .trim_ppm = s->fallback.trim_ppm};
}

static struct vv_resp_shared *shared_of(struct vv_resp_home *h, const struct vv_store_settings *s)
{
    const struct vv_small_conf conf = memory_conf(s);
    VV_LIST_EACH (it, &h->shared) {
        struct vv_resp_shared *sh = VV_LIST_ENTRY(it, struct vv_resp_shared, node);
        if (strcmp(sh->name, s->name) == 0) {
            vv_small_set(sh->memory, &conf);
            return shared_ref(sh);
        }
    }
    struct vv_resp_shared *sh = calloc(1, sizeof *sh);
    if (sh == NULL) {
        return NULL;
    }
    atomic_init(&sh->refs, 1);
    sh->name = strdup(s->name);
    if (sh->name == NULL || vv_small_new(&conf, &sh->memory) != VV_OK) {
        shared_unref(sh);
        return NULL;
    }
    vv_list_push_back(&h->shared, &sh->node);
    return shared_ref(sh);
}

static void door_fini(struct door *d)
{
    free(d->name);
    free(d->address);
    free(d->password);
    vv_store_unref(d->store);
    shared_unref(d->shared);
}

static enum vv_err fill_door(struct vv_resp_home *h, struct vv_stores *stores,
                             const struct vv_store_settings *s, const char *place, struct door *d)
{
    d->name = strdup(place);
    d->address = strdup(s->listen);
    d->password = s->listen_password != NULL && s->listen_password[0] != '\0'
                      ? strdup(s->listen_password)
                      : NULL;
    d->clients = s->clients;
    d->flush = s->flushdb;
    d->shared = shared_of(h, s);
    if (d->name == NULL || d->address == NULL || d->shared == NULL ||
        (d->password == NULL && s->listen_password != NULL && s->listen_password[0] != '\0')) {
        return VV_ENOMEM;
    }
    return vv_stores_take(stores, s->name, &d->store);
}

enum vv_err vv_resp_plan_new(struct vv_resp_home *h, struct vv_stores *stores,
                             const struct vv_settings *s, struct vv_resp_plan **ret)
{
    const size_t max = s->stores != NULL ? s->stores->count : 0;
    struct vv_resp_plan *p = calloc(1, sizeof *p + max * sizeof p->door[0]);
    enum vv_err err = p != NULL ? VV_OK : VV_ENOMEM;
    if (p != NULL) {
        atomic_init(&p->refs, 1);
    }
    for (size_t i = 0; err == VV_OK && i < max; i++) {
        const struct vv_store_settings *store = s->stores->item[i];
        char place[VV_RESP_PLACE_BYTES];
        if (vv_resp_place(store, place)) {
            err = fill_door(h, stores, store, place, &p->door[p->count++]);
        }
    }
    if (err != VV_OK) {
        vv_resp_plan_unref(p);
        return err;
    }
    *ret = p;
    return VV_OK;
}

struct vv_resp_plan *vv_resp_plan_ref(struct vv_resp_plan *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void vv_resp_plan_unref(struct vv_resp_plan *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < p->count; i++) {
        door_fini(&p->door[i]);
    }
    free(p);
}

size_t vv_resp_plan_count(const struct vv_resp_plan *p)
{
    return p->count;
}

const char *vv_resp_plan_name(const struct vv_resp_plan *p, size_t i)
{
    return p->door[i].name;
}

const char *vv_resp_plan_address(const struct vv_resp_plan *p, size_t i)
{
    return p->door[i].address;
}

/* ---- counting ---- */

void vv_resp_front_count(struct vv_resp_front *f, enum vv_resp_class class, enum vv_resp_result r)
{
    static const char *const name[VV_RESP_RESULT_COUNT] = {[VV_RESP_RESULT_OK] = "ok",
                                                           [VV_RESP_RESULT_ERROR] = "error",
                                                           [VV_RESP_RESULT_REFUSED] = "refused",
                                                           [VV_RESP_RESULT_MEMORY] = "memory",
                                                           [VV_RESP_RESULT_AWAY] = "away"};
    vv_series *s = &f->s_result[class][r];
    if (*s == 0) {
        const struct vv_str labels[] = {vv_str_from(f->shared->name),
                                        vv_str_from(vv_resp_class_name(class)),
                                        vv_str_from(name[r])};
        *s = vv_metrics_series(f->w->metrics, VV_METRIC_RESP_COMMANDS, labels, 3);
    }
    vv_metric_add(f->w->shard, *s, 1);
}

uint64_t vv_resp_front_id(struct vv_resp_front *f)
{
    return atomic_fetch_add_explicit(&f->shared->ids, 1, memory_order_relaxed) + 1;
}

/* ---- those that wait for room at the store ---- */

static void try_again(struct vv_resp_front *f)
{
    while (!vv_list_empty(&f->waiting)) {
        struct vv_resp_client *c = VV_LIST_ENTRY(f->waiting.next, struct vv_resp_client, waiting);
        if (!vv_resp_ask_again(c->stuck)) {
            break;
        }
        if (!c->dead) {
            vv_list_del(&c->waiting);
            vv_resp_client_wake(c);
        }
    }
    if (!vv_list_empty(&f->waiting)) {
        vv_loop_timer_at(f->w->loop, &f->retry, vv_worker_now(f->w) + RETRY_NS);
    }
}

static void on_kick(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    try_again(VV_CONTAINER(d, struct vv_resp_front, kick));
}

static void on_retry(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    try_again(VV_CONTAINER(t, struct vv_resp_front, retry));
}

void vv_resp_front_kick(struct vv_resp_front *f)
{
    if (!vv_list_empty(&f->waiting)) {
        vv_loop_defer(f->w->loop, &f->kick);
    }
}

/* ---- accepting ---- */

static void refuse(int fd)
{
    static const char answer[] = "-ERR max number of clients reached\r\n";
    (void)!vv_sock_send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

/* One more client of the store, on whichever worker. False: there are as many as may be. */
static bool has_place(struct vv_resp_front *f)
{
    const uint64_t before = atomic_fetch_add_explicit(&f->shared->clients, 1, memory_order_relaxed);
    if (f->clients_max > 0 && before >= f->clients_max) {
        atomic_fetch_sub_explicit(&f->shared->clients, 1, memory_order_relaxed);
        return false;
    }
    f->count++;
    vv_metric_add(f->w->shard, f->s_clients, 1);
    vv_worker_count(&f->w->sessions_open, 1);
    return true;
}

static void bury_front(struct vv_worker *w, struct vv_corpse *corpse)
{
    struct vv_resp_front *f = VV_CONTAINER(corpse, struct vv_resp_front, corpse);
    (void)w;
    vv_resp_spare_free(f);
    shared_unref(f->shared);
    free(f->name);
    free(f->address);
    free(f->password);
    free(f);
}

/* Stopped, and without clients. */
static void end_front(struct vv_resp_front *f)
{
    struct vv_loop *loop = f->w->loop;
    vv_list_del(&f->node);
    vv_loop_timer_stop(loop, &f->rest);
    vv_loop_timer_stop(loop, &f->retry);
    vv_loop_defer_stop(&f->kick);
    if (f->lane != NULL) {
        vv_resp_lane_unref(f->w, f->lane);
        f->lane = NULL;
    }
    f->corpse.bury = bury_front;
    vv_worker_bury(f->w, &f->corpse);
}

void vv_resp_front_left(struct vv_resp_front *f)
{
    atomic_fetch_sub_explicit(&f->shared->clients, 1, memory_order_relaxed);
    vv_metric_sub(f->w->shard, f->s_clients, 1);
    vv_worker_count(&f->w->sessions_open, (uint64_t)0 - 1);
    if (--f->count == 0 && f->stopped) {
        end_front(f);
    }
}

static void on_accept(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    struct vv_resp_front *f = VV_CONTAINER(io, struct vv_resp_front, io);
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && !f->stopped; i++) {
        int fd = -1;
        struct vv_addr peer;
        const enum vv_err err = vv_sock_accept(io->fd, &fd, &peer);
        if (err == VV_EAGAIN) {
            return;
        }
        if (err == VV_EFILES || err == VV_ENOMEM) {
            vv_loop_del(loop, &f->io,
                        false); /* it stays in the backlog; asking at once would spin */
            f->listening = false;
            vv_loop_timer_at(loop, &f->rest, vv_loop_now(loop) + REST_NS);
            return;
        }
        if (err != VV_OK) {
            continue;
        }
        if (has_place(f)) {
            vv_resp_client_open(f, fd, &peer);
        } else {
            refuse(fd);
        }
    }
}

static void on_rested(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_resp_front *f = VV_CONTAINER(t, struct vv_resp_front, rest);
    if (f->stopped) {
        return;
    }
    f->listening = vv_loop_add_listener(loop, &f->io) == VV_OK;
    if (!f->listening) {
        vv_loop_timer_at(loop, t, vv_loop_now(loop) + REST_NS);
    }
}

/* ---- life of a front ---- */

static enum vv_err update(struct vv_resp_front *f, const struct door *d)
{
    char *password = d->password != NULL ? strdup(d->password) : NULL;
    if (d->password != NULL && password == NULL) {
        return VV_ENOMEM;
    }
    if (f->lane == NULL || f->lane->store != d->store) {
        struct vv_resp_lane *lane = vv_resp_lane_new(f->w, d->store);
        if (lane == NULL) {
            free(password);
            return VV_ENOMEM;
        }
        if (f->lane != NULL) {
            vv_resp_lane_unref(f->w, f->lane);
        }
        f->lane = lane;
    }
    free(f->password);
    f->password = password;
    f->clients_max = d->clients;
    f->flush = d->flush;
    return VV_OK;
}

static struct vv_resp_front *front_new(struct vv_worker *w, const struct door *d, int fd)
{
    struct vv_resp_front *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    f->w = w;
    f->io = (struct vv_io){.fn = on_accept, .fd = fd};
    f->kick.fn = on_kick;
    vv_list_init(&f->kick.node);
    vv_list_init(&f->node);
    vv_list_init(&f->clients);
    vv_list_init(&f->waiting);
    vv_list_init(&f->spare);
    vv_timer_init(&f->retry, on_retry);
    vv_timer_init(&f->rest, on_rested);
    f->name = strdup(d->name);
    f->address = strdup(d->address);
    f->shared = shared_ref(d->shared);
    const struct vv_str store = vv_str_from(f->shared->name);
    f->s_clients = vv_metrics_series(w->metrics, VV_METRIC_RESP_CLIENTS, &store, 1);
    return f;
}

static enum vv_err open_front(struct vv_worker *w, const struct door *d, int fd)
{
    struct vv_resp_front *f = front_new(w, d, fd);
    if (f == NULL) {
        return VV_ENOMEM;
    }
    enum vv_err err = f->name != NULL && f->address != NULL ? update(f, d) : VV_ENOMEM;
    if (err == VV_OK) {
        err = vv_loop_add_listener(w->loop, &f->io);
    }
    if (err != VV_OK) {
        f->stopped = true;
        end_front(f);
        return err;
    }
    f->listening = true;
    vv_list_push_back(&w->resp_fronts, &f->node);
    return VV_OK;
}

static void stop(struct vv_resp_front *f)
{
    if (f->stopped) {
        return;
    }
    f->stopped = true;
    if (f->listening) {
        vv_loop_del(f->w->loop, &f->io, false);
        f->listening = false;
    }
    VV_LIST_EACH (it, &f->clients) {
        vv_resp_client_retire(VV_LIST_ENTRY(it, struct vv_resp_client, node));
    }
    if (f->count == 0) {
        end_front(f);
    }
}

static const struct door *door_of(const struct vv_resp_plan *p, const struct vv_resp_front *f)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->door[i].name, f->name) == 0 && strcmp(p->door[i].address, f->address) == 0) {
            return &p->door[i];
        }
    }
    return NULL;
}

static struct vv_resp_front *front_of(struct vv_worker *w, const struct door *d)
{
    VV_LIST_EACH (it, &w->resp_fronts) {
        struct vv_resp_front *f = VV_LIST_ENTRY(it, struct vv_resp_front, node);
        if (!f->stopped && strcmp(f->name, d->name) == 0 && strcmp(f->address, d->address) == 0) {
            return f;
        }
    }
    return NULL;
}

enum vv_err vv_resp_fronts_adopt(struct vv_worker *w, const struct vv_resp_plan *p, const int *fd)
{
    enum vv_err err = VV_OK;
    VV_LIST_EACH (it, &w->resp_fronts) {
        struct vv_resp_front *f = VV_LIST_ENTRY(it, struct vv_resp_front, node);
        if (door_of(p, f) == NULL) {
            stop(f);
        }
    }
    for (size_t i = 0; err == VV_OK && i < p->count; i++) {
        struct vv_resp_front *f = front_of(w, &p->door[i]);
        err = f != NULL ? update(f, &p->door[i]) : open_front(w, &p->door[i], fd[i]);
    }
    return err;
}

void vv_resp_fronts_stop(struct vv_worker *w)
{
    VV_LIST_EACH (it, &w->resp_fronts) {
        stop(VV_LIST_ENTRY(it, struct vv_resp_front, node));
    }
}

void vv_resp_fronts_free(struct vv_worker *w)
{
    VV_LIST_EACH (it, &w->resp_fronts) {
        struct vv_resp_front *f = VV_LIST_ENTRY(it, struct vv_resp_front, node);
        stop(f);
        VV_LIST_EACH (c, &f->clients) {
            vv_resp_client_close(VV_LIST_ENTRY(c, struct vv_resp_client, node));
        }
    }
}
