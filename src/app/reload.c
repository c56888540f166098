/* src/app/reload.c - guarded reload: parse, check, build, bind, then one swap; and a look back.
 *
 * The gateway owns the settings it uses and frees them when the last request on them has ended. The
 * way back needs them again, whatever the file says by then; so every load makes two equal copies
 * and one of them waits here until the guard time is over. */
#include "app/worker_int.h"
#include "gateway/resp_front.h"
#include "observe/log.h"
#include "os/sock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKETS_TIMEOUT_NS (10 * VV_SEC)
#define BEFORE_SECONDS 60
#define SETTLE_NS (5 * VV_MS) /* between two looks whether all workers took the new rules over */

/* A signal that came during a reload gets its own one. */
static void once_more(struct worker *w)
{
    if (w->reload.again) {
        w->reload.again = false;
        reload_begin(w, NULL, NULL);
    }
}

static void settings_drop(struct vv_settings **s)
{
    vv_settings_free(*s);
    *s = NULL;
}

static void given_drop(struct reload *r)
{
    for (size_t i = 0; i < r->given_count; i++) {
        struct given *g = &r->given[i];
        for (size_t k = 0; k < g->count; k++) {
            vv_close_fd(&g->fds[k]);
        }
        free(g->fds);
        free(g->name);
        free(g->address);
    }
    free(r->given);
    r->given = NULL;
    r->given_count = 0;
}

static void count_reload(struct worker *w, const char *result)
{
    const struct vv_str label = vv_str_from(result);
    vv_metric_add(w->shard, vv_metrics_series(w->metrics, VV_METRIC_RELOADS, &label, 1), 1);
    w->last_reload = result;
    w->last_reload_ok = strcmp(result, "applied") == 0;
    w->last_reload_wall_ns = w->last_reload_ok ? vv_loop_wall(w->loop) : w->last_reload_wall_ns;
}

/* Tells whoever asked, once. `problems` is a JSON array or empty. */
static void answer(struct worker *w, int status, const char *error)
{
    struct reload *r = &w->reload;
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_admin_reload_done *done = r->done;
    r->done = NULL;
    (void)snprintf(w->last_reason, sizeof w->last_reason, "%s", error != NULL ? error : "");
    if (done == NULL) {
        return;
    }
    vv_json_init(&j, &out);
    vv_json_obj(&j);
    vv_json_kbool(&j, "ok", error == NULL);
    if (error != NULL) {
        vv_json_kcstr(&j, "error", error);
    }
    vv_json_obj_end(&j);
    if (r->warnings.n > 0 && out.n > 0) { /* the engine prints its problems itself */
        out.n--;
        vv_sb_adds(&out, ",\"problems\":");
        vv_sb_add(&out, vv_str_trim(vv_sb_str(&r->warnings)));
        vv_sb_addc(&out, '}');
    }
    done(r->arg, status, vv_sb_str(&out));
    vv_sb_fini(&out);
}

/* Nothing has changed and nothing will. */
static void give_up(struct worker *w, int status, const char *error)
{
    struct reload *r = &w->reload;
    vv_loop_timer_stop(w->loop, &r->timeout);
    settings_drop(&r->next);
    settings_drop(&r->spare);
    given_drop(r);
    r->state = RELOAD_IDLE;
    (void)vv_control_send(w->ctl.fd, VV_CONTROL_KEPT, 0, NULL, NULL, 0);
    count_reload(w, "refused");
    vv_error(WORKER, "reload refused, nothing changed: %s", error);
    answer(w, status, error);
    vv_sb_fini(&r->warnings);
    once_more(w);
}

static void ask_for_sockets(struct worker *w)
{
    struct reload *r = &w->reload;
    struct vv_sb list = VV_SB_INIT;
    enum vv_err err = vv_run_wanted(w->run, r->next, w->threads, &list);
    if (err == VV_OK) {
        err = vv_control_send(w->ctl.fd, VV_CONTROL_WANT, 0, vv_sb_str(&list).p, NULL, 0);
    }
    vv_sb_fini(&list);
    if (err != VV_OK) {
        give_up(w, 503, "the supervisor cannot be asked for sockets");
        return;
    }
    r->state = RELOAD_WAITING;
    vv_loop_timer_at(w->loop, &r->timeout, vv_loop_now(w->loop) + SOCKETS_TIMEOUT_NS);
}

static void log_lines(struct vv_str text)
{
    while (text.n > 0) {
        const struct vv_str line = vv_str_cut(&text, '\n');
        if (line.n > 0) {
            vv_error("config", VV_STR_FMT, VV_STR_ARG(line));
        }
    }
}

void reload_begin(struct worker *w, vv_admin_reload_done *done, void *arg)
{
    struct reload *r = &w->reload;
    struct vv_sb text = VV_SB_INIT;
    if (r->state != RELOAD_IDLE && done == NULL) {
        r->again =
            true; /* a signal cannot be told "not now", and the file may have changed since */
        return;
    }
    if (r->state != RELOAD_IDLE || w->draining) {
        static const char busy[] = "{\"ok\":false,\"error\":\"another change is under way\"}";
        vv_warn(WORKER, "reload: not now, another change is under way");
        if (done != NULL) {
            done(arg, 409, VV_STR(busy));
        }
        return;
    }
    r->done = done;
    r->arg = arg;
    r->reverting = false;
    vv_sb_fini(&r->warnings);
    (void)vv_control_send(w->ctl.fd, VV_CONTROL_RELOADING, 0, NULL, NULL, 0);
    const enum vv_err err = vv_run_load(w->run, &text, &r->warnings, &r->next);
    log_lines(vv_sb_str(&text));
    vv_sb_fini(&text);
    if (err != VV_OK) {
        r->next = NULL;
        give_up(w, err == VV_ECONFIG ? 422 : vv_err_http_status(err), vv_err_text(err));
        return;
    }
    if (vv_run_load(w->run, NULL, NULL, &r->spare) != VV_OK) {
        r->spare = NULL; /* the file changes right now: this reload has no way back */
    }
    ask_for_sockets(w);
}

void reload_on_give(struct worker *w, const struct vv_control_msg *m)
{
    struct reload *r = &w->reload;
    struct vv_str rest = {m->text, m->text_bytes};
    const struct vv_str name = vv_str_cut(&rest, VV_SOCKETS_SEP);
    struct given *grown = r->state == RELOAD_WAITING
                              ? realloc(r->given, (r->given_count + 1) * sizeof(struct given))
                              : NULL;
    int *fds = m->fds_count > 0 ? calloc(m->fds_count, sizeof(int)) : NULL;
    if (grown != NULL) {
        r->given = grown;
    }
    if (grown == NULL || fds == NULL) {
        for (size_t i = 0; i < m->fds_count; i++) {
            (void)close(m->fds[i]);
        }
        free(fds);
        return;
    }
    memcpy(fds, m->fds, m->fds_count * sizeof(int));
    r->given[r->given_count++] = (struct given){.name = strndup(name.p, name.n),
                                                .address = strndup(rest.p, rest.n),
                                                .fds = fds,
                                                .count = m->fds_count};
}

static struct given *given_find(struct reload *r, const char *name)
{
    for (size_t i = 0; i < r->given_count; i++) {
        if (r->given[i].name != NULL && strcmp(r->given[i].name, name) == 0) {
            return &r->given[i];
        }
    }
    return NULL;
}

/* The listeners the gateway has no sockets for yet. The descriptors move into the list. */
static struct vv_listener_fds *missing_listeners(struct worker *w, size_t *ret_count)
{
    struct reload *r = &w->reload;
    const struct vv_conf_list *listen = r->next->listen;
    const struct vv_conf_list *stores = r->next->stores;
    const size_t max = listen != NULL ? listen->count : 0;
    const size_t more = stores != NULL ? stores->count : 0;
    struct vv_listener_fds *list = calloc(max + more + 1, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; list != NULL && i < max; i++) {
        const struct vv_listen_settings *l = listen->item[i];
        char buf[32];
        struct given *g = given_find(r, l->name);
        if (g == NULL ||
            vv_gateway_has_listener(w->gateway, l->name, vv_run_address(l, buf, sizeof buf))) {
            continue;
        }
        list[n++] = (struct vv_listener_fds){.name = l->name, .fds = g->fds, .count = g->count};
        g->count = 0; /* the gateway's from now on; the array itself stays ours */
    }
    for (size_t i = 0; list != NULL && i < more; i++) {
        const struct vv_store_settings *s = stores->item[i];
        char place[VV_RESP_PLACE_BYTES];
        struct given *g = vv_resp_place(s, place) ? given_find(r, place) : NULL;
        if (g != NULL && !vv_gateway_has_listener(w->gateway, place, s->listen)) {
            list[n++] = (struct vv_listener_fds){.name = g->name, .fds = g->fds, .count = g->count};
            g->count = 0;
        }
    }
    *ret_count = n;
    return list;
}

/* The admin listener moves when its address has changed. */
static void move_admin(struct worker *w, const char *before)
{
    struct reload *r = &w->reload;
    const char *now = vv_run_has_admin(vv_gateway_settings(w->gateway))
                          ? vv_gateway_settings(w->gateway)->admin
                          : "";
    struct given *g = given_find(r, "@admin");
    if (strcmp(before, now) == 0) {
        return;
    }
    vv_admin_unlisten(w->admin, false);
    if (g != NULL && g->count > 0) {
        const int fd = vv_take_fd(&g->fds[0]);
        if (vv_admin_listen(w->admin, fd, false) != VV_OK) {
            vv_error(WORKER, "cannot listen on the admin address %s", now);
        }
    }
}

static void guard_begin(struct worker *w, struct vv_settings *fallback)
{
    struct guard *g = &w->guard;
    struct vv_history_sum before = {0};
    const uint64_t guard_ns = vv_gateway_settings(w->gateway)->guard_ns;
    /* A second reload inside the guard time of a first goes back to before the first one only if
     * that is still unproven; it is simpler and safer to go back one step. */
    settings_drop(&g->fallback);
    g->fallback = fallback;
    g->until_ns = 0;
    if (guard_ns == 0 || fallback == NULL) {
        settings_drop(&g->fallback);
        return;
    }
    vv_history_sum(w->history, NULL, NULL, BEFORE_SECONDS, &before);
    g->before = (struct vv_guard_sample){before.requests, before.errors_5xx, before.p95_ns};
    g->since_ns = vv_loop_now(w->loop);
    g->until_ns = g->since_ns + guard_ns;
}

static void applied(struct worker *w)
{
    struct reload *r = &w->reload;
    struct vv_settings *before = w->in_use_copy;
    w->in_use_copy = r->spare;
    r->spare = NULL;
    if (r->reverting) {
        settings_drop(&before);
        (void)vv_control_send(w->ctl.fd, VV_CONTROL_REVERTED, 0, NULL, NULL, 0);
        count_reload(w, "reverted");
        w->guard.until_ns = 0;
        return;
    }
    (void)vv_control_send(w->ctl.fd, VV_CONTROL_APPLIED, 0, NULL, NULL, 0);
    count_reload(w, "applied");
    guard_begin(w, before);
    vv_info(WORKER, "reloaded %s", w->run->path);
    w->last_reason[0] = '\0';
    vv_loop_timer_at(w->loop, &r->settle, vv_loop_now(w->loop) + SETTLE_NS);
}

/* Whoever asked may count on the new rules from the answer on. */
static void on_settled(struct vv_loop *loop, struct vv_timer *t)
{
    struct worker *w = VV_CONTAINER(t, struct worker, reload.settle);
    if (!vv_gateway_settled(w->gateway)) {
        vv_loop_timer_at(loop, t, vv_loop_now(loop) + SETTLE_NS);
        return;
    }
    w->reload.state = RELOAD_IDLE;
    answer(w, 200, NULL);
    vv_sb_fini(&w->reload.warnings);
    once_more(w);
}

void reload_on_given(struct worker *w)
{
    struct reload *r = &w->reload;
    size_t count = 0;
    char before[128];
    if (r->state != RELOAD_WAITING) {
        return;
    }
    const struct vv_settings *now = vv_gateway_settings(w->gateway);
    (void)snprintf(before, sizeof before, "%s", vv_run_has_admin(now) ? now->admin : "");
    struct vv_listener_fds *list = missing_listeners(w, &count);
    struct vv_settings *next = r->next;
    r->next = NULL; /* taken, also when it fails */
    const enum vv_err err =
        list == NULL ? VV_ENOMEM : vv_gateway_reload(w->gateway, next, list, count);
    if (list == NULL) {
        vv_settings_free(next);
    }
    free(list);
    if (err != VV_OK) {
        give_up(w, 500, vv_err_text(err));
        return;
    }
    vv_loop_timer_stop(w->loop, &r->timeout);
    move_admin(w, before);
    given_drop(r);
    r->state = r->reverting ? RELOAD_IDLE : RELOAD_SETTLING;
    applied(w);
    if (r->state == RELOAD_IDLE) {
        once_more(w);
    }
}

void reload_on_refused(struct worker *w, const char *why)
{
    char text[600];
    (void)snprintf(text, sizeof text, "cannot listen: %s", why);
    if (w->reload.state == RELOAD_WAITING) {
        give_up(w, 409, text);
    }
}

static void on_timeout(struct vv_loop *loop VV_UNUSED, struct vv_timer *t)
{
    struct worker *w = VV_CONTAINER(t, struct worker, reload.timeout);
    give_up(w, 504, "the supervisor does not answer");
}

void guard_tick(struct worker *w)
{
    struct guard *g = &w->guard;
    struct vv_history_sum sum = {0};
    char why[160];
    const uint64_t now_ns = vv_loop_now(w->loop);
    if (g->until_ns == 0 || w->reload.state != RELOAD_IDLE || w->draining) {
        return;
    }
    const uint64_t seconds = (now_ns - g->since_ns) / VV_SEC;
    if (seconds > 0) {
        vv_history_sum(w->history, NULL, NULL, (unsigned)seconds, &sum);
        const struct vv_guard_sample since = {sum.requests, sum.errors_5xx, sum.p95_ns};
        if (vv_guard_judge(&g->before, &since, why, sizeof why) != NULL) {
            vv_error(WORKER, "the last reload made things worse (%s): going back", why);
            (void)snprintf(w->last_reason, sizeof w->last_reason, "%s", why);
            g->until_ns = 0;
            w->reload.reverting = true;
            w->reload.next = g->fallback;
            g->fallback = NULL;
            ask_for_sockets(w);
            return;
        }
    }
    if (now_ns >= g->until_ns) {
        g->until_ns = 0;
        settings_drop(&g->fallback);
        vv_info(WORKER, "the reload has proved itself");
    }
}

void reload_init(struct worker *w)
{
    vv_timer_init(&w->reload.timeout, on_timeout);
    vv_timer_init(&w->reload.settle, on_settled);
    w->last_reload = "none";
    w->last_reload_ok = true;
}

void reload_fini(struct worker *w)
{
    if (w->reload.done != NULL) {
        answer(w, 503, "the process ends");
    }
    settings_drop(&w->reload.next);
    settings_drop(&w->reload.spare);
    settings_drop(&w->guard.fallback);
    settings_drop(&w->in_use_copy);
    given_drop(&w->reload);
    vv_sb_fini(&w->reload.warnings);
}
