/* src/balance/service.c - the named state of a service and its set of servers. Sets are immutable
 * and replaced as a whole: a worker that picks from the old one meanwhile sees a consistent picture
 * and needs no lock; it learns of the new one by one atomic load per pick. */
#include "balance/balance_int.h"

#include <stdlib.h>

static struct vv_server_set *set_alloc(size_t count)
{
    struct vv_server_set *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    set->server = calloc(count > 0 ? count : 1, sizeof(struct vv_server *));
    if (set->server == NULL) {
        free(set);
        return NULL;
    }
    atomic_init(&set->refs, 1);
    return set;
}

void vv_server_set_unref(struct vv_server_set *set)
{
    if (set == NULL || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        vv_server_unref(set->server[i]);
    }
    vv_hash_ring_free(set->ring);
    free(set->server);
    free(set);
}

enum vv_err vv_service_state_new(const char *name, struct vv_service_state **ret)
{
    struct vv_service_state *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return VV_ENOMEM;
    }
    s->name = strdup(name);
    s->set = set_alloc(0);
    if (s->name == NULL || s->set == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        vv_server_set_unref(s->set);
        free(s->name);
        free(s);
        return VV_ENOMEM;
    }
    atomic_init(&s->refs, 1);
    atomic_init(&s->held, 1);
    atomic_init(&s->generation, 1);
    *ret = s;
    return VV_OK;
}

void vv_service_state_ref(struct vv_service_state *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void vv_service_state_release(struct vv_service_state *s)
{
    if (atomic_fetch_sub_explicit(&s->held, 1, memory_order_acq_rel) != 1) {
        return;
    }
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s);
}

void vv_service_state_unref(struct vv_service_state *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    /* Servers in flight still end their requests here, so the set leaves under the lock. */
    pthread_mutex_lock(&s->lock);
    struct vv_server_set *set = s->set;
    s->set = NULL;
    pthread_mutex_unlock(&s->lock);
    vv_server_set_unref(set);
    vv_service_state_release(s);
}

const char *vv_service_state_name(const struct vv_service_state *s)
{
    return s->name;
}

uint64_t vv_service_state_panics(const struct vv_service_state *s)
{
    return atomic_load_explicit(&s->panics, memory_order_relaxed);
}

void vv_service_state_conf(struct vv_service_state *s, const struct vv_service_conf *conf)
{
    VV_ASSERT(conf->balancer < VV_BALANCER_COUNT);
    pthread_mutex_lock(&s->lock);
    s->conf = *conf;
    atomic_fetch_add_explicit(&s->generation, 1, memory_order_release);
    pthread_mutex_unlock(&s->lock);
}

static bool same(const char *a_name, const struct vv_addr *a, const char *b_name,
                 const struct vv_addr *b)
{
    return strcmp(a_name, b_name) == 0 && vv_addr_eq(a, b);
}

static struct vv_server *find(const struct vv_server_set *set, const struct vv_server_spec *spec)
{
    for (size_t i = 0; i < set->count; i++) {
        if (same(set->server[i]->name, &set->server[i]->addr, spec->name, &spec->addr)) {
            return set->server[i];
        }
    }
    return NULL;
}

static bool name_is_shared(const struct vv_server_spec *spec, size_t count, size_t which)
{
    for (size_t i = 0; i < count; i++) {
        if (i != which && strcmp(spec[i].name, spec[which].name) == 0 &&
            !vv_addr_eq(&spec[i].addr, &spec[which].addr)) {
            return true;
        }
    }
    return false;
}

/* Weight and drain are written only when the whole set is known to succeed. */
static void apply(struct vv_server *s, const struct vv_server_spec *spec, uint64_t now_ns)
{
    const uint32_t weight = (uint32_t)vv_max_u64(1, vv_min_u64(spec->weight, VV_WEIGHT_MAX));
    atomic_store_explicit(&s->weight, weight, memory_order_relaxed);
    if (spec->draining != s->spec_draining) {
        s->spec_draining = spec->draining;
        vv_server_set_draining(s, spec->draining, now_ns);
    }
}

/* Fills `made` from what `old` has and new servers. Under the lock. */
static enum vv_err fill(struct vv_service_state *s, const struct vv_server_spec *spec, size_t count,
                        const struct vv_server_set *old, struct vv_server_set *made)
{
    for (size_t i = 0; i < count; i++) {
        if (find(made, &spec[i]) != NULL) {
            continue;
        }
        struct vv_server *server = find(old, &spec[i]);
        if (server != NULL) {
            vv_server_ref(server);
        } else {
            const enum vv_err err =
                vv_server_new(s, &spec[i], name_is_shared(spec, count, i), &server);
            if (err != VV_OK) {
                return err;
            }
        }
        made->server[made->count++] = server;
    }
    return VV_OK;
}

enum vv_err vv_service_state_set(struct vv_service_state *s, const struct vv_server_spec *spec,
                                 size_t count, uint64_t now_ns)
{
    struct vv_server_set *made = set_alloc(count);
    if (made == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_lock(&s->lock);
    struct vv_server_set *old = s->set;
    const enum vv_err err = fill(s, spec, count, old, made);
    if (err == VV_OK) {
        for (size_t i = count; i-- > 0;) { /* backwards: of doubles the first one wins */
            struct vv_server *server = find(made, &spec[i]);
            VV_ASSERT(server != NULL); /* fill() put it there */
            apply(server, &spec[i], now_ns);
        }
        made->generation = old->generation + 1;
        s->set = made;
        atomic_fetch_add_explicit(&s->generation, 1, memory_order_release);
    }
    pthread_mutex_unlock(&s->lock);
    vv_server_set_unref(err == VV_OK ? old : made);
    return err;
}

struct vv_server_set *vv_service_state_servers(struct vv_service_state *s)
{
    pthread_mutex_lock(&s->lock);
    struct vv_server_set *set = s->set;
    VV_ASSERT(set != NULL); /* the caller holds no reference on the state */
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    return set;
}
