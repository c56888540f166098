/* src/gateway/shed_watch.c - how late are the loops, how much memory is there? A letter to every worker tells
 * the first: the time until it is read is what any request waits before it is looked at. */
#include "gateway/gateway_int.h"
#include "gateway/shed.h"
#include "os/clock.h"
#include "os/memory.h"
#include <stdlib.h>

#define MEASURE_LIMIT_NS VV_MINUTE /* limits of cgroups change rarely */

struct probe { /* one letter, sent again when it has been read */
    struct vv_mail mail;
    uint64_t sent_ns;
    _Atomic uint64_t late_ns;
    _Atomic bool out;
};

struct vv_shed_watch {
    struct vv_shed shed;
    uint64_t usable_bytes, measured_ns; /* of the machine */
    uint64_t late_ns;
    size_t count;
    struct probe probe[];
};

static void read_letter(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct probe *p = VV_CONTAINER(mail, struct probe, mail);
    const uint64_t now = vv_clock_now();
    atomic_store_explicit(&p->late_ns, now - p->sent_ns, memory_order_relaxed);
    atomic_store_explicit(&p->out, false, memory_order_release);
}

static uint64_t ask_worker(struct vv_worker *w, struct probe *p, uint64_t now_ns)
{
    if (atomic_load_explicit(&p->out, memory_order_acquire)) {
        return now_ns - vv_min_u64(p->sent_ns, now_ns); /* at least that late */
    }
    const uint64_t late = atomic_load_explicit(&p->late_ns, memory_order_relaxed);
    p->sent_ns = vv_clock_now();
    atomic_store_explicit(&p->out, true, memory_order_relaxed);
    p->mail.fn = read_letter;
    vv_loop_post(w->loop, &p->mail);
    return late;
}

static uint64_t memory_max(struct vv_shed_watch *s, const struct vv_overload_settings *conf,
                           uint64_t now_ns)
{
    if (conf->memory_bytes != 0) {
        return conf->memory_bytes;
    }
    if (s->measured_ns == 0 || now_ns - s->measured_ns > MEASURE_LIMIT_NS) {
        s->usable_bytes = vv_memory_usable();
        s->measured_ns = now_ns;
    }
    return s->usable_bytes / VV_PPM * conf->memory_ppm;
}

static void tell_doors(struct vv_gateway *g, const struct vv_shed_sample *sample, unsigned word)
{
    const bool over =
        sample->memory_max_bytes != 0 && sample->memory_bytes > sample->memory_max_bytes;
    const bool closed = vv_shed_refuses(word, 0, UINT64_MAX);
    vv_clients_set_memory(g->homes.clients, !over    ? VV_MEMORY_FINE
                                            : closed ? VV_MEMORY_OUT
                                                     : VV_MEMORY_SHORT);
}

void vv_shed_watch_tick(struct vv_gateway *g, uint64_t now_ns)
{
    struct vv_shed_watch *s = g->shed;
    const struct vv_overload_settings *conf = &g->rt->settings->overload;
    if (s == NULL) {
        s = calloc(1, sizeof *s + g->worker_count * sizeof s->probe[0]);
        if (s == NULL) {
            return;
        }
        s->count = g->worker_count;
        g->shed = s;
    }
    s->late_ns = 0;
    for (size_t i = 0; i < s->count && !g->draining; i++) {
        s->late_ns = vv_max_u64(s->late_ns, ask_worker(g->worker[i], &s->probe[i], now_ns));
    }
    const struct vv_shed_sample sample = {.memory_bytes = vv_memory_resident(),
                                          .memory_max_bytes = memory_max(s, conf, now_ns),
                                          .late_ns = s->late_ns,
                                          .late_max_ns = conf->delay_ns};
    vv_shed_tick(&s->shed, now_ns, &sample);
    vv_guards_shed(g->homes.guards, vv_shed_word(&s->shed));
    tell_doors(g, &sample, vv_shed_word(&s->shed));
}

uint64_t vv_shed_watch_late_ns(const struct vv_gateway *g)
{
    return g->shed != NULL ? g->shed->late_ns : 0;
}

void vv_shed_watch_free(struct vv_gateway *g)
{
    free(g->shed);
    g->shed = NULL;
}
