/* tests/unit/gateway/test_guards.c - guards by name: one for each pair, kept over reloads, freed when nobody
 * holds them; and the queue in front of a service. */
#include "gateway/guards.h"
#include "gateway/turnstile.h"
#include "vv_test.h"

static struct vv_metrics *metrics;
static struct vv_guards *guards;

static void start(void)
{
    VV_CHECK_INT(vv_metrics_new(&metrics), VV_OK);
    VV_CHECK_INT(vv_guards_new(metrics, 2, 1024, &guards), VV_OK);
}

static void stop(void)
{
    vv_guards_free(guards);
    vv_metrics_free(metrics);
}

static const struct vv_breaker_settings five = {.name = "ai_service",
                                                .failures = 5,
                                                .recover_ns = 60 * VV_SEC,
                                                .accept_ppm = VV_PPM,
                                                .window_ns = 300 * VV_SEC,
                                                .volume = 20,
                                                .probes = 1,
                                                .successes = 1};

static struct vv_named_breaker *breaker(const struct vv_breaker_settings *s, const char *service)
{
    struct vv_named_breaker *b = NULL;
    VV_CHECK_INT(vv_guards_breaker(guards, s, service, &b), VV_OK);
    return b;
}

/* Failures until it refuses. */
static unsigned failures_to_open(struct vv_named_breaker *b)
{
    struct vv_breaker_permit p;
    uint64_t wait_ns = 0;
    unsigned n = 0;
    for (; n < 100 && vv_breaker_admit(b->breaker, VV_SEC, &p, &wait_ns); n++) {
        vv_breaker_report(b->breaker, VV_SEC, &p, VV_BREAKER_FAILED, VV_MS);
    }
    return n;
}

VV_TEST(there_is_one_breaker_for_a_class_and_a_service)
{
    start();
    struct vv_named_breaker *a = breaker(&five, "openai");
    struct vv_named_breaker *b = breaker(&five, "other");
    VV_CHECK(a != b);
    VV_CHECK(breaker(&five, "openai") == a);
    VV_CHECK_STR(a->name, "ai_service:openai");
    VV_CHECK(vv_guards_find_breaker(guards, VV_STR("ai_service:openai")) == a);
    vv_guards_settle(guards, true);
    VV_CHECK_INT(failures_to_open(a), 5);
    VV_CHECK_INT(failures_to_open(b), 5); /* its neighbour's failures were not its own */
    stop();
}

VV_TEST(a_reload_changes_the_rules_of_a_breaker_only_when_it_is_kept)
{
    start();
    struct vv_named_breaker *a = breaker(&five, "s");
    vv_guards_settle(guards, true);
    struct vv_breaker_settings two = five;
    two.failures = 2;
    VV_CHECK(breaker(&two, "s") == a);
    vv_guards_settle(guards, false);
    vv_named_breaker_unref(a);
    VV_CHECK_INT(failures_to_open(a), 5);
    vv_breaker_reset(a->breaker, VV_SEC);
    VV_CHECK(breaker(&two, "s") == a);
    vv_guards_settle(guards, true);
    VV_CHECK_INT(failures_to_open(a), 2);
    stop();
}

VV_TEST(what_nobody_holds_goes_at_the_next_tick)
{
    start();
    struct vv_named_breaker *a = breaker(&five, "s");
    vv_guards_tick(guards, 0);
    VV_CHECK(vv_guards_next_breaker(guards, NULL) == a);
    vv_named_breaker_unref(a);
    vv_guards_tick(guards, 0);
    VV_CHECK(vv_guards_next_breaker(guards, NULL) == NULL);
    stop();
}

VV_TEST(words_for_failures_are_read)
{
    const char *const texts[] = {"connect", "503", "4xx"};
    const struct vv_conf_list list = {.count = 3, .item = (void **)(uintptr_t)texts};
    struct vv_fail_rules r;
    VV_CHECK_INT(vv_fail_rules_parse(&list, &r, NULL), VV_OK);
    VV_CHECK(r.connect && !r.timeout && !r.broken);
    VV_CHECK(vv_fail_status(&r, 503) && !vv_fail_status(&r, 502));
    VV_CHECK(vv_fail_status(&r, 400) && vv_fail_status(&r, 499) && !vv_fail_status(&r, 500));
    VV_CHECK(!vv_fail_status(&r, -1) && !vv_fail_status(&r, 640));
    const char *const wrong[] = {"600", "5x", "50", "5033", "conect", ""};
    for (size_t i = 0; i < VV_COUNT(wrong); i++) {
        const struct vv_conf_list one = {.count = 1, .item = (void **)(uintptr_t)&wrong[i]};
        const char *bad = NULL;
        VV_CHECK_INT(vv_fail_rules_parse(&one, &r, &bad), VV_ESYNTAX);
        VV_CHECK_STR(bad, wrong[i]);
    }
}

/* ---- the turnstile ---- */

static const struct vv_service_settings one_place = {.name = "app",
                                                     .retries = {.budget_ppm = 200000, .floor = 3},
                                                     .concurrency = {.enabled = 1,
                                                                     .limit = 1,
                                                                     .queue = 2,
                                                                     .target_ns = 10 * VV_SEC,
                                                                     .interval_ns = 100 * VV_MS,
                                                                     .wait_ns = 20 * VV_SEC}};

static struct vv_worker *worker(unsigned index)
{
    const struct vv_worker_options o = {.index = index, .metrics = metrics};
    struct vv_worker *w = NULL;
    VV_CHECK_INT(vv_worker_new(NULL, &o, &w), VV_OK);
    return w;
}

struct guest {
    struct vv_turn turn;
    int calls;
    enum vv_err said;
};

static void told(struct vv_turn *t, enum vv_err err)
{
    struct guest *g = VV_CONTAINER(t, struct guest, turn);
    g->calls++;
    g->said = err;
}

static enum vv_err enter(struct guest *g, struct vv_worker *w, struct vv_service_guard *guard,
                         uint32_t class)
{
    *g = (struct guest){.turn = {.told = told}};
    return vv_turnstile_enter(&g->turn, w, guard, &one_place.concurrency, class);
}

static void leave(struct guest *g)
{
    vv_turnstile_leave(&g->turn, VV_MS, VV_CONC_OK);
}

struct hall {
    struct vv_service_guard *guard;
    struct vv_worker *w[2];
};

static struct hall open_hall(void)
{
    struct hall h = {NULL, {NULL, NULL}};
    start();
    h.w[0] = worker(0);
    h.w[1] = worker(1);
    VV_CHECK_INT(vv_guards_service(guards, &one_place, &h.guard), VV_OK);
    vv_guards_settle(guards, true);
    return h;
}

static void close_hall(struct hall *h)
{
    vv_service_guard_unref(h->guard);
    vv_worker_free(h->w[0]);
    vv_worker_free(h->w[1]);
    stop();
}

VV_TEST(a_guard_of_a_service_stays_the_same_whatever_parts_it_gets)
{
    struct hall h = open_hall();
    struct vv_service_settings more = one_place;
    struct vv_service_guard *g = NULL;
    struct guest a;
    struct guest b;
    VV_CHECK_INT(enter(&a, h.w[0], h.guard, 1), VV_OK);
    more.hedge = (struct vv_hedge_settings){
        .enabled = 1, .after_ppm = 950000, .min_ns = VV_MS, .max_ns = VV_SEC};
    VV_CHECK_INT(vv_guards_service(guards, &more, &g), VV_OK);
    vv_guards_settle(guards, true);
    VV_CHECK(g == h.guard && g->hedge != NULL && g->limited);
    VV_CHECK_INT(enter(&b, h.w[0], g, 1), VV_EAGAIN); /* the one place is taken all the same */
    leave(&b);
    vv_service_guard_unref(g);
    more.concurrency.enabled = 0;
    VV_CHECK_INT(vv_guards_service(guards, &more, &g), VV_OK);
    vv_guards_settle(guards, false);
    VV_CHECK(g->limited);
    vv_guards_settle(guards, true);
    VV_CHECK(g == h.guard && !g->limited);
    leave(&a); /* where it had entered */
    vv_service_guard_unref(g);
    close_hall(&h);
}

VV_TEST(who_leaves_lets_the_next_in)
{
    struct hall h = open_hall();
    struct guest a;
    struct guest b;
    VV_CHECK_INT(enter(&a, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&b, h.w[0], h.guard, 1), VV_EAGAIN);
    VV_CHECK_INT(vv_gates_waiting(h.guard), 1);
    leave(&a);
    VV_CHECK_INT(b.calls, 0); /* not before whoever leaves has left */
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(b.calls, 1);
    VV_CHECK_INT(b.said, VV_OK);
    VV_CHECK_INT(vv_gates_waiting(h.guard), 0);
    leave(&b);
    VV_CHECK_INT(enter(&a, h.w[1], h.guard, 1), VV_OK); /* the place is free again */
    leave(&a);
    close_hall(&h);
}

VV_TEST(a_full_queue_turns_away_the_least_important)
{
    struct hall h = open_hall();
    struct guest in;
    struct guest low;
    struct guest normal;
    struct guest high;
    struct guest late;
    VV_CHECK_INT(enter(&in, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&low, h.w[0], h.guard, 2), VV_EAGAIN);
    VV_CHECK_INT(enter(&normal, h.w[0], h.guard, 1), VV_EAGAIN);
    VV_CHECK_INT(enter(&late, h.w[0], h.guard, 2), VV_ELIMIT);
    VV_CHECK_INT(enter(&high, h.w[0], h.guard, 0), VV_EAGAIN);
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(low.calls, 1);
    VV_CHECK_INT(low.said, VV_ELIMIT);
    leave(&in);
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(high.calls, 1);
    VV_CHECK_INT(normal.calls, 0);
    leave(&high);
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(normal.said, VV_OK);
    leave(&normal);
    close_hall(&h);
}

/* Told that it has to go, it asks again and is important now: a client's next request may be. */
struct pushy {
    struct guest first, next;
    struct hall *hall;
};

static void push_back_in(struct vv_turn *t, enum vv_err err)
{
    struct pushy *p = VV_CONTAINER(t, struct pushy, first.turn);
    told(t, err);
    VV_CHECK_INT(enter(&p->next, p->hall->w[0], p->hall->guard, 0), VV_EAGAIN);
}

VV_TEST(nobody_is_told_while_another_enters)
{
    struct hall h = open_hall();
    struct guest in;
    struct guest normal[2];
    struct pushy p = {.hall = &h};
    VV_CHECK_INT(enter(&in, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&p.first, h.w[0], h.guard, 3), VV_EAGAIN);
    p.first.turn.told = push_back_in;
    VV_CHECK_INT(enter(&normal[0], h.w[0], h.guard, 1), VV_EAGAIN);
    VV_CHECK_INT(enter(&normal[1], h.w[0], h.guard, 1), VV_EAGAIN); /* the pushy one has to go */
    VV_CHECK_INT(p.first.calls, 0);
    VV_CHECK_INT(normal[1].calls, 0);
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(p.first.said, VV_ELIMIT);
    VV_CHECK_INT(normal[1].said, VV_ELIMIT); /* the queue has room for two */
    VV_CHECK_INT(normal[0].calls + p.next.calls, 0);
    leave(&in);
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(p.next.said, VV_OK);
    leave(&p.next);
    vv_loop_turn(h.w[0]->loop, 0);
    leave(&normal[0]);
    VV_CHECK_INT(enter(&in, h.w[0], h.guard, 1), VV_OK); /* no place was lost on the way */
    leave(&in);
    close_hall(&h);
}

VV_TEST(who_was_turned_away_and_leaves_first_is_not_told)
{
    struct hall h = open_hall();
    struct guest in;
    struct guest low;
    struct guest normal[2];
    VV_CHECK_INT(enter(&in, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&low, h.w[0], h.guard, 2), VV_EAGAIN);
    VV_CHECK_INT(enter(&normal[0], h.w[0], h.guard, 1), VV_EAGAIN);
    VV_CHECK_INT(enter(&normal[1], h.w[0], h.guard, 1), VV_EAGAIN);
    leave(&low);
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(low.calls, 0);
    leave(&normal[0]);
    leave(&normal[1]);
    leave(&in);
    close_hall(&h);
}

VV_TEST(an_empty_queue_leaves_no_timer_behind)
{
    struct hall h = open_hall();
    struct guest a;
    struct guest b;
    VV_CHECK_INT(enter(&a, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&b, h.w[0], h.guard, 1), VV_EAGAIN);
    leave(&b); /* its guard may be freed from now on */
    const uint64_t before = vv_loop_stats(h.w[0]->loop)->timers;
    const uint64_t until = vv_loop_refresh(h.w[0]->loop) + 10 * VV_MS;
    while (vv_loop_now(h.w[0]->loop) < until) {
        vv_loop_turn(h.w[0]->loop, VV_MS);
    }
    VV_CHECK_INT(vv_loop_stats(h.w[0]->loop)->timers, before);
    leave(&a);
    close_hall(&h);
}

/* The last one to hold a guard is told, and goes. */
static struct vv_service_guard *held;

static void let_go_of_it(struct vv_turn *t, enum vv_err err)
{
    told(t, err);
    vv_turnstile_leave(t, VV_MS, VV_CONC_OK);
    vv_service_guard_unref(held);
    vv_guards_tick(guards, 0);
    VV_CHECK(vv_guards_next_service(guards, NULL) == held); /* whoever told it is not done yet */
}

VV_TEST(a_guard_outlives_the_last_one_it_lets_in)
{
    struct hall h = open_hall();
    struct guest a;
    struct guest b;
    held = h.guard;
    VV_CHECK_INT(enter(&a, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&b, h.w[0], h.guard, 1), VV_EAGAIN);
    b.turn.told = let_go_of_it;
    leave(&a);
    vv_loop_turn(h.w[0]->loop, 0);
    VV_CHECK_INT(b.calls, 1);
    vv_guards_tick(guards, 0);
    VV_CHECK(vv_guards_next_service(guards, NULL) == NULL);
    vv_worker_free(h.w[0]);
    vv_worker_free(h.w[1]);
    stop();
}

VV_TEST(who_gives_up_waiting_is_not_let_in)
{
    struct hall h = open_hall();
    struct guest a;
    struct guest b;
    VV_CHECK_INT(enter(&a, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&b, h.w[0], h.guard, 1), VV_EAGAIN);
    leave(&b);
    VV_CHECK_INT(vv_gates_waiting(h.guard), 0);
    leave(&a);
    VV_CHECK_INT(b.calls, 0);
    leave(&b); /* harmless */
    VV_CHECK_INT(enter(&a, h.w[0], h.guard, 1), VV_OK);
    leave(&a);
    close_hall(&h);
}

VV_TEST(another_worker_s_waiter_is_woken_by_mail)
{
    struct hall h = open_hall();
    struct guest a;
    struct guest b;
    VV_CHECK_INT(enter(&a, h.w[0], h.guard, 1), VV_OK);
    VV_CHECK_INT(enter(&b, h.w[1], h.guard, 1), VV_EAGAIN);
    leave(&a);
    VV_CHECK_INT(b.calls, 0); /* it is the other thread's to tell */
    vv_loop_turn(h.w[1]->loop, 0);
    VV_CHECK_INT(b.calls, 1);
    VV_CHECK_INT(b.said, VV_OK);
    leave(&b);
    close_hall(&h);
}

VV_TEST(a_service_without_places_takes_everybody)
{
    struct hall h = open_hall();
    struct vv_service_settings open = one_place;
    struct vv_service_guard *g = NULL;
    struct guest a[3];
    open.concurrency.enabled = 0;
    VV_CHECK_INT(vv_guards_service(guards, &open, &g), VV_OK);
    for (size_t i = 0; i < VV_COUNT(a); i++) {
        a[i] = (struct guest){.turn = {.told = told}};
        VV_CHECK_INT(vv_turnstile_enter(&a[i].turn, h.w[0], g, &open.concurrency, 1), VV_OK);
    }
    for (size_t i = 0; i < VV_COUNT(a); i++) {
        leave(&a[i]);
    }
    vv_service_guard_unref(g);
    close_hall(&h);
}
