/* src/gateway/actions/proxy.c - asks a service: may it be asked, which server, how often, what a failure
 * means. The bytes are attempt.c's.
 *
 * Another attempt is made only when it is safe: nothing of the request was sent, or the method is
 * idempotent and the body can be sent again, and nothing of an answer was passed on (RFC 9110 9.2.2);
 * only for the failures that `retries.on` names; never at a server that was tried; and only as the
 * service's budget of retries and hedges allows. */
#include "gateway/actions/proxy_int.h"
#include "gateway/fallback.h"
#include "gateway/fault_points.h"

#define ATTEMPTS_MAX 12

static struct vv_attempt *other(struct vv_attempt *a)
{
    return &a->ask->slot[a == a->ask->slot ? 1 : 0];
}

static bool running(const struct vv_attempt *a)
{
    return a->server != NULL;
}

static void count_word(struct vv_ask *k, enum vv_metric metric, const char *word)
{
    const struct vv_exchange *x = k->x;
    const struct vv_str values[] = {vv_str_from(x->service->conf->name), vv_str_from(word)};
    vv_metric_add(x->w->shard, vv_metrics_series(x->w->metrics, metric, values, 2), 1);
}

/* A hedge that was sent has won or lost; once. */
static void judge_race(struct vv_ask *k, const char *word)
{
    if (k->hedged && !k->judged) {
        k->judged = true;
        count_word(k, VV_METRIC_UPSTREAM_HEDGES, word);
    }
}

/* ---- one attempt ends ---- */

static void count_attempt(struct vv_attempt *a, enum vv_outcome outcome)
{
    static const char *const names[] = {"ok", "5xx", "connect", "timeout", "broken", "abandoned"};
    if (a->head_done) {
        const int status = a->status;
        const char text[4] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                              (char)('0' + status % 10), '\0'};
        vv_upstream_count(a->u, (uint32_t)status, (struct vv_str){text, 3});
    } else {
        vv_upstream_count(a->u, 1000 + (uint32_t)outcome, vv_str_from(names[outcome]));
    }
}

static void let_go(struct vv_attempt *a, enum vv_outcome outcome, uint64_t now)
{
    struct vv_upstream_stat *stat = vv_uconn_stat(a->u);
    count_attempt(a, outcome);
    if (stat->duration != NULL && a->head_done) {
        vv_hist_add(stat->duration, now - a->asked_ns);
    }
    if (a->answer_done && a->keep && a->request_done) {
        vv_upstream_give_back(a->u);
    } else {
        vv_upstream_discard(a->u);
    }
    a->u = NULL;
}

/* What a hedge is measured by: answers, and how long was waited in vain for those that did not come. A
 * server that refuses is quick, but that is no answer. */
static void observe(const struct vv_attempt *a, enum vv_outcome outcome, uint64_t latency_ns,
                    uint64_t now_ns)
{
    const struct vv_service_guard *g = a->x->service->guard;
    const bool hedged = g != NULL && a->x->service->conf->hedge.enabled != 0;
    const bool waited = a->head_done || outcome == VV_OUTCOME_TIMEOUT ||
                        (outcome == VV_OUTCOME_ABANDONED && a->ask->hedged);
    if (hedged && !a->hedge && waited) {
        vv_hedge_observe(g->hedge, now_ns, latency_ns);
    }
}

void vv_attempt_end(struct vv_attempt *a, enum vv_outcome outcome)
{
    struct vv_exchange *x = a->x;
    const uint64_t now = vv_worker_now(x->w);
    /* To the first byte; a failure counts with the time it took to fail. */
    const uint64_t latency = (a->first_ns != 0 ? a->first_ns : now) - a->asked_ns;
    if (a->u != NULL) {
        let_go(a, outcome, now);
    }
    if (!running(a)) {
        return;
    }
    x->upstream_ns += now - a->asked_ns;
    observe(a, outcome, latency, now);
    const char *ejected = NULL;
    struct vv_server *server = a->server;
    a->server = NULL;
    vv_server_ref(server); /* its name is needed after the balancer let go */
    if (outcome == VV_OUTCOME_OK && a->status >= 500) {
        outcome = VV_OUTCOME_5XX;
    }
    const struct vv_str name = vv_str_from(server->name);
    vv_balance_done(server, outcome, latency, now, &ejected);
    if (ejected != NULL) {
        const struct vv_str values[] = {vv_str_from(x->service->conf->name), name,
                                        vv_str_from(ejected)};
        vv_metric_add(x->w->shard,
                      vv_metrics_series(x->w->metrics, VV_METRIC_UPSTREAM_EJECTED, values, 3), 1);
    }
    vv_server_unref(server);
}

/* ---- the ask ends ---- */

static enum vv_breaker_outcome judge_breaker(const struct vv_ask *k, enum vv_outcome outcome)
{
    const struct vv_exchange *x = k->x;
    const struct vv_fail_rules *r =
        k->breaker == x->route->breaker ? &x->route->fail_on : &x->service->fail_on;
    bool failed = false;
    switch (outcome) {
    case VV_OUTCOME_OK:
    case VV_OUTCOME_5XX:
        failed = vv_fail_status(r, k->now->status);
        break;
    case VV_OUTCOME_CONNECT:
        failed = r->connect;
        break;
    case VV_OUTCOME_TIMEOUT:
        failed = r->timeout;
        break;
    case VV_OUTCOME_BROKEN:
        failed = r->broken;
        break;
    case VV_OUTCOME_ABANDONED:
        return VV_BREAKER_UNKNOWN;
    }
    return failed ? VV_BREAKER_FAILED : VV_BREAKER_OK;
}

static enum vv_conc_outcome judge_load(const struct vv_ask *k, enum vv_outcome outcome)
{
    const int status = k->now->status;
    if (outcome == VV_OUTCOME_TIMEOUT) {
        return VV_CONC_DROPPED;
    }
    if (outcome != VV_OUTCOME_OK && outcome != VV_OUTCOME_5XX) {
        return VV_CONC_IGNORED;
    }
    return status == 503 || status == 429 ? VV_CONC_DROPPED
           : status >= 500                ? VV_CONC_IGNORED
                                          : VV_CONC_OK;
}

void vv_ask_settle(struct vv_ask *k, enum vv_outcome outcome, uint64_t took_ns)
{
    if (k->unsettled && k->breaker != NULL) {
        vv_breaker_report(k->breaker->breaker, vv_worker_now(k->x->w), &k->permit,
                          judge_breaker(k, outcome), took_ns);
    }
    k->unsettled = false;
    judge_race(k, "lost"); /* unless a head of its own was passed on */
    if (k->entered) {
        k->entered = false;
        vv_turnstile_leave(&k->turn, took_ns, judge_load(k, outcome));
    }
}

static uint64_t since_began(const struct vv_ask *k)
{
    return vv_worker_now(k->x->w) - k->began_ns;
}

/* Nothing more is tried: a stale answer, or the reason. */
void vv_ask_answer(struct vv_ask *k, enum vv_reason reason)
{
    struct vv_exchange *x = k->x;
    if (x->recall != NULL && vv_fetch_failed(x)) {
        vv_ask_drop(x);
        vv_recall_serve(x);
    } else {
        vv_answer_error(x, reason);
    }
}

static void cancel(struct vv_exchange *x)
{
    struct vv_ask *k = x->state;
    if (k == NULL) {
        return;
    }
    if (k->timer.armed) {
        vv_loop_timer_stop(x->w->loop, &k->timer);
    }
    /* The client's leaving says nothing about the service; that the route's time is over does, unless it
     * was over before the service was asked. */
    const bool asked = k->now->asked_ns != 0 && !k->now->head_done;
    const enum vv_outcome outcome =
        x->reason == VV_REASON_WHOLE_TIMEOUT && asked ? VV_OUTCOME_TIMEOUT : VV_OUTCOME_ABANDONED;
    for (size_t i = 0; i < VV_COUNT(k->slot); i++) {
        struct vv_attempt *a = &k->slot[i];
        if (a->u != NULL || running(a)) {
            vv_attempt_end(a, a->head_done ? VV_OUTCOME_OK : outcome);
        }
    }
    vv_ask_settle(k, outcome, since_began(k));
    for (size_t i = 0; i < k->pick.tried_count; i++) {
        vv_server_unref(k->pick.tried[i]);
    }
    k->pick.tried_count = 0;
}

void vv_ask_drop(struct vv_exchange *x)
{
    cancel(x);
    x->state = NULL;
}

/* ---- another attempt ---- */

/* Another attempt goes elsewhere while there is an elsewhere. */
static void avoid_server(struct vv_attempt *a)
{
    struct vv_pick *pick = &a->ask->pick;
    bool known = false; /* a hedge avoids the first one's, which may fail after that */
    for (size_t i = 0; i < pick->tried_count; i++) {
        known |= pick->tried[i] == a->server;
    }
    if (running(a) && !known && pick->tried_count < VV_COUNT(pick->tried)) {
        vv_server_ref(a->server);
        pick->tried[pick->tried_count++] = a->server;
    }
}

/* Is there a server that could be asked and was not? */
static bool elsewhere(const struct vv_ask *k)
{
    struct vv_server_set *set = vv_service_state_servers(k->x->service->state);
    const uint64_t now = vv_worker_now(k->x->w);
    bool found = false;
    for (size_t i = 0; set != NULL && i < set->count && !found; i++) {
        found = set->server[i] != k->slot[0].server && set->server[i] != k->slot[1].server &&
                vv_server_usable(set->server[i], now);
        for (size_t t = 0; found && t < k->pick.tried_count; t++) {
            found = k->pick.tried[t] != set->server[i];
        }
    }
    vv_server_set_unref(set);
    return found;
}

/* A retry or a hedge draws on the service's budget. */
static bool may_spend(struct vv_ask *k)
{
    const struct vv_service_guard *g = k->x->service->guard;
    if (g == NULL || vv_budget_take(g->budget, vv_worker_now(k->x->w))) {
        return true;
    }
    count_word(k, VV_METRIC_UPSTREAM_RETRIES, "budget_empty");
    return false;
}

static bool may_send_again(const struct vv_attempt *a)
{
    const struct vv_exchange *x = a->x;
    if (a->got_any || a->head_done || x->head_sent || x->attempts >= ATTEMPTS_MAX) {
        return false;
    }
    return !a->sent_any || vv_methods[x->req.method].idempotent;
}

static bool worth_retrying(const struct vv_attempt *a, enum vv_outcome outcome)
{
    const struct vv_fail_rules *r = &a->x->service->retry_on;
    switch (outcome) {
    case VV_OUTCOME_CONNECT:
        return r->connect;
    case VV_OUTCOME_TIMEOUT:
        return a->sent_any ? r->timeout : r->connect;
    case VV_OUTCOME_BROKEN:
        return r->broken;
    default:
        return true; /* of our own making */
    }
}

static void try_once(struct vv_ask *k, struct vv_attempt *a);

static void retry(struct vv_ask *k, bool at_once)
{
    const struct vv_retry_settings *conf = &k->x->service->conf->retries;
    struct vv_loop *loop = k->x->w->loop;
    k->now->hedge = false; /* the race is over */
    const uint64_t wait_ns = at_once ? 0
                                     : vv_backoff_ns(&k->x->w->rng, k->retries++, conf->backoff_ns,
                                                     conf->backoff_max_ns);
    if (wait_ns < VV_MS) {
        try_once(k, k->now);
    } else {
        vv_loop_timer_at(loop, &k->timer, vv_loop_now(loop) + wait_ns);
    }
}

/* Its rival goes on alone. */
static bool leave_to_rival(struct vv_attempt *a, enum vv_outcome outcome)
{
    struct vv_attempt *rival = other(a);
    if (!running(rival)) {
        return false;
    }
    avoid_server(a);
    vv_attempt_end(a, outcome);
    a->ask->now = rival;
    if (a->hedge) {
        judge_race(a->ask, "lost");
    }
    return true;
}

void vv_attempt_failed(struct vv_attempt *a, enum vv_reason reason, enum vv_outcome outcome,
                       const char *why)
{
    struct vv_ask *k = a->ask;
    /* A kept-alive connection that dies under a request says nothing about the server: it was closing
     * while we were sending. That retry is free and goes to a new connection. */
    const bool stale = a->u != NULL && a->u->reused && !a->got_any && outcome == VV_OUTCOME_BROKEN;
    if (leave_to_rival(a, stale ? VV_OUTCOME_ABANDONED : outcome)) {
        return;
    }
    bool again = may_send_again(a);
    if (again && !stale) {
        again = k->retries_left > 0 && worth_retrying(a, outcome) && elsewhere(k);
    }
    /* The body starts over also when nothing left: the batch that failed has taken a part of it. */
    again = again && vv_body_rewind(k->x) && (stale || may_spend(k));
    if (!again) {
        vv_attempt_end(a, outcome);
        vv_ask_settle(k, outcome, since_began(k));
        vv_ask_answer(k, reason);
        return;
    }
    const bool nothing_sent = outcome == VV_OUTCOME_CONNECT;
    if (stale) {
        k->fresh = true;
        outcome = VV_OUTCOME_ABANDONED;
    } else {
        k->retries_left--;
        k->last_reason = reason;
        avoid_server(a);
    }
    vv_attempt_end(a, outcome);
    count_word(k, VV_METRIC_UPSTREAM_RETRIES, stale ? "stale_connection" : why);
    retry(k, stale || nothing_sent);
}

/* What has already come of an answer that nobody will see: the connection may be kept. */
static void swallow(struct vv_attempt *a)
{
    struct vv_buf *b = a->u != NULL ? a->u->in : NULL;
    if (b != NULL && a->framing == VV_H1_BODY_LENGTH && vv_buf_len(b) == a->answer_left) {
        b->start = b->end;
        a->answer_left = 0;
    }
    a->answer_done =
        (b == NULL || vv_buf_len(b) == 0) &&
        (a->framing == VV_H1_BODY_NONE || (a->framing == VV_H1_BODY_LENGTH && a->answer_left == 0));
}

/* The server says that it cannot; another one may. */
static bool retry_status(struct vv_attempt *a, int status)
{
    struct vv_ask *k = a->ask;
    const struct vv_exchange *x = k->x;
    const bool named = vv_fail_status(&x->service->retry_on, status);
    if (running(other(a)) && (named || status >= 500)) { /* a failure does not win a race */
        swallow(a);
        return leave_to_rival(a, VV_OUTCOME_OK);
    }
    if (!named || x->head_sent || !vv_methods[x->req.method].idempotent) {
        return false;
    }
    if (k->retries_left == 0 || x->attempts >= ATTEMPTS_MAX || !elsewhere(k) || !may_spend(k) ||
        !vv_body_rewind(k->x)) {
        return false;
    }
    k->retries_left--;
    k->last_reason = VV_REASON_NO_SERVER;
    swallow(a);
    avoid_server(a);
    vv_attempt_end(a, VV_OUTCOME_OK);
    count_word(k, VV_METRIC_UPSTREAM_RETRIES, "status");
    retry(k, false);
    return true;
}

/* An answer is there, but the route prefers its fallback. What is stored is fetch.c's to offer. */
static bool fall_back(struct vv_attempt *a, int status)
{
    struct vv_exchange *x = a->x;
    const uint64_t kind = x->route->conf->fallback.kind;
    const bool can =
        kind == VV_FALLBACK_LITERAL || (kind == VV_FALLBACK_TO && x->service != x->route->fallback);
    if (status < 500 || !can || x->head_sent ||
        (kind == VV_FALLBACK_TO &&
         !vv_body_rewind(x))) { /* then this answer is the best there is */
        return false;
    }
    swallow(a);
    vv_attempt_end(a, VV_OUTCOME_OK);
    vv_ask_settle(a->ask, VV_OUTCOME_OK, since_began(a->ask));
    vv_ask_drop(x);
    if (!vv_fallback(x, VV_REASON_NONE, status)) {
        vv_answer_error(x, VV_REASON_NO_SERVER);
    }
    return true;
}

bool vv_attempt_won(struct vv_attempt *a, const struct vv_h1_head *h)
{
    struct vv_ask *k = a->ask;
    struct vv_exchange *x = a->x;
    a->status = h->status;
    if (retry_status(a, h->status) || fall_back(a, h->status)) {
        return false;
    }
    if (k->timer.armed) {
        vv_loop_timer_stop(x->w->loop, &k->timer);
    }
    if (running(other(a))) {
        vv_attempt_end(other(a), VV_OUTCOME_ABANDONED);
    }
    judge_race(k, a->hedge ? "won" : "lost");
    k->now = a;
    if (k->hedged) {
        x->server_name = vv_arena_str(&x->arena, vv_str_from(a->server->name));
    }
    return true;
}

/* ---- choosing and starting ---- */

static bool cookie_value(const struct vv_exchange *x, struct vv_str name, struct vv_str *ret)
{
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        struct vv_str rest = x->req.fields[i].value;
        while (x->req.fields[i].id == VV_FIELD_COOKIE && rest.n > 0) {
            struct vv_str pair = vv_str_trim(vv_str_cut(&rest, ';'));
            const struct vv_str key = vv_str_cut(&pair, '=');
            if (vv_str_eq(key, name)) {
                *ret = pair;
                return true;
            }
        }
    }
    return false;
}

static bool parse_hex(struct vv_str s, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        v = v << 4 | (unsigned)digit;
    }
    *ret = v;
    return s.n == 8;
}

static void choose_key(struct vv_ask *k)
{
    struct vv_exchange *x = k->x;
    const struct vv_service *service = x->service;
    struct vv_str value;
    if (service->conf->sticky_cookie != NULL &&
        cookie_value(x, vv_str_from(service->conf->sticky_cookie), &value) &&
        parse_hex(value, &k->pick.key)) {
        k->pick.sticky = true;
        k->pick.has_key = true;
    } else if (service->hash_key != NULL) {
        struct vv_template_vars vars;
        vv_exchange_vars(x, &vars);
        if (vv_template_render(service->hash_key, &vars, &x->arena, VV_TEMPLATE_TEXT, &value) ==
            VV_OK) {
            k->pick.has_key = true;
            k->pick.key = vv_str_hash(value, 0);
        }
    }
}

/* No attempt can be made. */
static void give_up(struct vv_ask *k, struct vv_attempt *a, enum vv_reason reason,
                    enum vv_outcome outcome)
{
    if (running(other(a))) {
        k->now = other(a);
        return;
    }
    k->now->status = 0;
    vv_ask_settle(k, outcome, since_began(k));
    vv_ask_answer(k, reason);
}

static enum vv_reason reason_of(enum vv_err err)
{
    return err == VV_ENOMEM   ? VV_REASON_NO_MEMORY
           : err == VV_ELIMIT ? VV_REASON_SERVER_BUSY
                              : VV_REASON_CONNECT_FAILED;
}

/* No connection, for reasons of our own: nothing was asked of the server. */
static bool own_failure(enum vv_err err)
{
    return err == VV_ELIMIT || err == VV_ENOMEM || err == VV_EFILES;
}

/* Takes a connection. Not VV_OK: *reterr_reason; the server was told. */
static enum vv_err connect_to(struct vv_ask *k, struct vv_attempt *a, enum vv_reason *reterr_reason)
{
    struct vv_exchange *x = k->x;
    x->attempts++;
    x->server_name = vv_arena_str(&x->arena, vv_str_from(a->server->name));
    a->asked_ns = k->pick.now_ns;
    const enum vv_err err =
        vv_fault_take(x, a->server, x->service, k->fresh, &vv_attempt_events, a, &a->u);
    if (err != VV_OK) {
        *reterr_reason = reason_of(err);
        avoid_server(a);
        vv_attempt_end(a, own_failure(err) ? VV_OUTCOME_ABANDONED : VV_OUTCOME_CONNECT);
    }
    return err;
}

/* A server refused at once, as those on unix sockets do: the next one is as much a further attempt as after
 * a refusal that took its time. */
static bool may_go_on(struct vv_ask *k)
{
    if (k->retries_left == 0 || !k->x->service->retry_on.connect || !elsewhere(k) ||
        !may_spend(k)) {
        return false;
    }
    k->retries_left--;
    count_word(k, VV_METRIC_UPSTREAM_RETRIES, "connect_failed");
    return true;
}

static void try_once(struct vv_ask *k, struct vv_attempt *a)
{
    struct vv_exchange *x = k->x;
    const bool hedge = a->hedge;
    *a = (struct vv_attempt){.x = x, .ask = k, .hedge = hedge};
    if (x->attempts > 0 && vv_forward_tells_deadline(x) && vv_forward_head(x, &k->head) != VV_OK) {
        give_up(k, a, VV_REASON_NO_MEMORY, VV_OUTCOME_ABANDONED);
        return;
    }
    enum vv_outcome outcome = VV_OUTCOME_CONNECT; /* of what could not even begin */
    for (;;) {
        k->pick.now_ns = vv_worker_now(x->w);
        if (vv_balance_pick(x->use->picker[x->service->index], &k->pick, &a->server) != VV_OK) {
            give_up(k, a, k->last_reason, outcome);
            return;
        }
        VV_ASSERT(a->server != NULL);
        const enum vv_err err = connect_to(k, a, &k->last_reason);
        if (err == VV_OK) {
            break;
        }
        outcome = own_failure(err) ? VV_OUTCOME_ABANDONED : VV_OUTCOME_CONNECT;
        if (x->attempts >= ATTEMPTS_MAX || (!own_failure(err) && !may_go_on(k))) {
            give_up(k, a, k->last_reason, outcome);
            return;
        }
    }
    if (a->u->connecting) {
        vv_attempt_wait(a, vv_attempt_timeouts(a)->connect_ns);
    } else {
        vv_attempt_send(a);
    }
}

void vv_ask_again(struct vv_ask *k)
{
    if (!vv_body_rewind(k->x) || vv_forward_head(k->x, &k->head) != VV_OK) {
        vv_ask_answer(k, VV_REASON_NO_MEMORY);
    } else {
        try_once(k, k->now);
    }
}

/* ---- hedging ---- */

static bool may_hedge(const struct vv_ask *k)
{
    const struct vv_exchange *x = k->x;
    return !k->hedged && x->req.framing == VV_H1_BODY_NONE &&
           vv_methods[x->req.method].idempotent && !vv_forward_upgrades(x) && !k->permit.probe;
}

static void arm_hedge(struct vv_ask *k)
{
    const struct vv_service_guard *g = k->x->service->guard;
    if (g == NULL || k->x->service->conf->hedge.enabled == 0 || !may_hedge(k)) {
        return;
    }
    const uint64_t delay_ns = vv_hedge_delay_ns(g->hedge);
    if (delay_ns != UINT64_MAX) {
        vv_loop_timer_at(k->x->w->loop, &k->timer, vv_worker_now(k->x->w) + delay_ns);
    }
}

/* The first attempt takes longer than nearly all others did. */
static void send_hedge(struct vv_ask *k)
{
    struct vv_attempt *a = other(k->now);
    if (!may_hedge(k) || k->now->head_done || !elsewhere(k) || !may_spend(k)) {
        return;
    }
    k->hedged = true;
    k->x->guard_word = "hedged";
    count_word(k, VV_METRIC_UPSTREAM_HEDGES, "sent");
    avoid_server(k->now);
    a->hedge = true;
    try_once(k, a);
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    struct vv_ask *k = VV_CONTAINER(t, struct vv_ask, timer);
    if (running(k->now)) {
        send_hedge(k);
    } else {
        try_once(k, k->now);
    }
}

/* ---- beginning ---- */

static void let_in(struct vv_ask *k)
{
    const struct vv_service_guard *g = k->x->service->guard;
    k->began_ns = vv_worker_now(k->x->w);
    if (g != NULL) {
        vv_budget_deposit(g->budget, k->began_ns);
    }
    choose_key(k);
    arm_hedge(k);
    try_once(k, k->now);
}

static void told(struct vv_turn *t, enum vv_err err)
{
    struct vv_ask *k = VV_CONTAINER(t, struct vv_ask, turn);
    k->x->queue_ns += vv_worker_now(k->x->w) - t->since_ns;
    if (err == VV_OK) {
        let_in(k);
        return;
    }
    k->entered = false;
    k->x->guard_word = "queue_full";
    vv_ask_settle(k, VV_OUTCOME_ABANDONED, 0);
    vv_ask_answer(k, VV_REASON_QUEUE_FULL);
}

/* May the service be asked at all? False: it was answered. */
static bool pass_breaker(struct vv_ask *k)
{
    struct vv_exchange *x = k->x;
    struct vv_named_breaker *b =
        x->service == x->route->service ? x->route->breaker : x->service->breaker;
    if (b == NULL) {
        return true;
    }
    if (!vv_breaker_admit(b->breaker, vv_worker_now(x->w), &k->permit, &x->retry_after_ns)) {
        x->guard_word = "breaker_open";
        vv_ask_answer(k, VV_REASON_BREAKER_OPEN);
        return false;
    }
    k->breaker = b;
    k->unsettled = true;
    if (k->permit.probe) {
        k->retries_left = 0; /* a probe is one request */
    }
    return true;
}

static void enter(struct vv_ask *k)
{
    struct vv_exchange *x = k->x;
    k->turn.told = told;
    switch (vv_turnstile_enter(&k->turn, x->w, x->service->guard, &x->service->conf->concurrency,
                               x->priority)) {
    case VV_OK:
        k->entered = true;
        let_in(k);
        return;
    case VV_EAGAIN:
        k->entered = true;
        return;
    default:
        x->guard_word = "queue_full";
        vv_ask_settle(k, VV_OUTCOME_ABANDONED, 0);
        vv_ask_answer(k, VV_REASON_QUEUE_FULL);
    }
}

static void start(struct vv_exchange *x)
{
    struct vv_ask *k = vv_arena_zalloc(&x->arena, sizeof *k);
    if (k == NULL) {
        x->action = NULL;
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    x->state = k;
    k->x = x;
    k->now = &k->slot[0];
    k->now->x = x;
    k->now->ask = k;
    k->began_ns = vv_worker_now(x->w);
    vv_timer_init(&k->timer, on_timer);
    k->retries_left = x->route->retries;
    k->last_reason = VV_REASON_NO_SERVER;
    x->service_name = vv_str_from(x->service->conf->name);
    if (vv_forward_loops(x)) {
        vv_answer_error(x, VV_REASON_LOOP);
        return;
    }
    const enum vv_err err = vv_forward_head(x, &k->head);
    if (err != VV_OK) { /* a template refused a value of this request, or memory is out */
        vv_answer_error(x, err == VV_ENOMEM ? VV_REASON_NO_MEMORY : VV_REASON_BAD_REQUEST);
        return;
    }
    if (pass_breaker(k)) {
        enter(k);
    }
}

/* ---- the exchange's other side ---- */

static void body(struct vv_exchange *x)
{
    struct vv_ask *k = x->state;
    struct vv_attempt *a = k->now;
    if (a->u != NULL && !a->u->connecting && !a->u->blocked && !a->request_done) {
        if (a->tunnel) {
            vv_attempt_wait(a, vv_attempt_timeouts(a)->idle_ns);
        }
        (void)vv_attempt_pump_request(a);
    }
}

static void drained(struct vv_exchange *x)
{
    struct vv_ask *k = x->state;
    struct vv_attempt *a = k->now;
    struct vv_attempt *rival = other(a);
    if (rival->u != NULL && rival->u->readable) { /* an interim answer had blocked the client */
        vv_loop_defer(x->w->loop, &rival->u->again);
    }
    if (a->u != NULL && !a->u->connecting) {
        if (a->head_done && a->u->in != NULL && vv_buf_len(a->u->in) > 0 &&
            !vv_attempt_pass_body(a)) {
            return;
        }
        vv_attempt_pump_answer(a);
    }
}

const struct vv_action vv_action_proxy = {"proxy", start, body, drained, cancel};
