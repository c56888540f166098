/* tests/unit/os/test_timer.c - the wheel under an injected clock. */
#include "base/rng.h"
#include "os/timer.h"
#include "vv_test.h"

struct probe {
    struct vv_timer t;
    int fired;
    struct vv_timer *other; /* disarmed by the callback */
    uint64_t again_ns;      /* armed anew by the callback */
};

static struct vv_wheel w;

static void on_fire(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    struct probe *p = VV_CONTAINER(t, struct probe, t);
    p->fired++;
    if (p->other != NULL) {
        vv_wheel_disarm(&w, p->other);
    }
    if (p->again_ns != 0) {
        vv_wheel_arm(&w, t, p->again_ns);
        p->again_ns = 0;
    }
}

static void probe_init(struct probe *p)
{
    *p = (struct probe){.fired = 0};
    vv_timer_init(&p->t, on_fire);
}

static size_t run(uint64_t now_ns)
{
    return vv_wheel_run(&w, NULL, now_ns);
}

VV_TEST(timer_fires_never_early_and_within_a_tick_on_every_level)
{
    /* Distances that land on levels 0, 1, 2, 3 and beyond (2^32 ms are 49.7 days). */
    static const uint64_t after[] = {0,           1,
                                     VV_MS,       255 * VV_MS,
                                     256 * VV_MS, 257 * VV_MS + 1,
                                     65 * VV_SEC, 65536 * VV_MS,
                                     5 * VV_HOUR, 30 * VV_DAY,
                                     60 * VV_DAY};
    static const uint64_t starts[] = {0, 123456789, 255 * VV_MS, 65535 * VV_MS + 7, 400 * VV_DAY};
    for (size_t s = 0; s < VV_COUNT(starts); s++) {
        for (size_t i = 0; i < VV_COUNT(after); i++) {
            struct probe p;
            const uint64_t at = starts[s] + after[i];
            vv_wheel_init(&w, starts[s]);
            probe_init(&p);
            vv_wheel_arm(&w, &p.t, at);
            VV_CHECK(vv_wheel_next(&w) <= at + VV_MS);
            if (after[i] > 0) {
                run(at - 1);
                VV_CHECK_INT(p.fired, 0);
            }
            run(at + VV_MS);
            VV_CHECK_INT(p.fired, 1);
            VV_CHECK(!p.t.armed);
            VV_CHECK(vv_wheel_next(&w) == UINT64_MAX);
        }
    }
}

VV_TEST(timer_moves_down_level_by_level_when_the_wheel_is_followed_hint_by_hint)
{
    struct probe p;
    const uint64_t at = 3 * VV_DAY + 7 * VV_HOUR + 123 * VV_MS;
    int wakes = 0;
    vv_wheel_init(&w, 17 * VV_MS);
    probe_init(&p);
    vv_wheel_arm(&w, &p.t, at);
    while (p.fired == 0) {
        const uint64_t next = vv_wheel_next(&w);
        VV_CHECK(next <= at);
        run(next);
        VV_CHECK(++wakes <= 4); /* one look per level */
        VV_CHECK(p.fired == 0 || next == at);
    }
}

VV_TEST(timer_moved_later_is_not_linked_anew_and_fires_once_at_the_new_time)
{
    struct probe p;
    vv_wheel_init(&w, 0);
    probe_init(&p);
    vv_wheel_arm(&w, &p.t, 10 * VV_MS);
    const struct vv_list *const slot = p.t.node.next;
    for (uint64_t i = 1; i <= 100; i++) {
        vv_wheel_arm(&w, &p.t, 10 * VV_MS + i * VV_MS);
        VV_CHECK(p.t.node.next == slot); /* lazy: only the deadline was written */
    }
    run(109 * VV_MS);
    VV_CHECK_INT(p.fired, 0);
    run(110 * VV_MS);
    VV_CHECK_INT(p.fired, 1);
}

VV_TEST(timer_moved_earlier_fires_earlier)
{
    struct probe p;
    vv_wheel_init(&w, 0);
    probe_init(&p);
    vv_wheel_arm(&w, &p.t, 10 * VV_HOUR);
    vv_wheel_arm(&w, &p.t, 5 * VV_MS);
    run(5 * VV_MS);
    VV_CHECK_INT(p.fired, 1);
    VV_CHECK_INT(run(11 * VV_HOUR), 0);
}

VV_TEST(timer_disarmed_in_a_callback_of_the_same_slot_does_not_fire)
{
    struct probe a, b, c;
    vv_wheel_init(&w, 0);
    probe_init(&a);
    probe_init(&b);
    probe_init(&c);
    a.other = &b.t;
    vv_wheel_arm(&w, &a.t, 5 * VV_MS);
    vv_wheel_arm(&w, &b.t, 5 * VV_MS);
    vv_wheel_arm(&w, &c.t, 5 * VV_MS);
    VV_CHECK_INT(run(10 * VV_MS), 2);
    VV_CHECK_INT(a.fired + c.fired, 2);
    VV_CHECK_INT(b.fired, 0);
    VV_CHECK_INT(w.armed, 0);
}

VV_TEST(timer_armed_in_its_own_callback_fires_again_when_its_time_comes)
{
    struct probe p;
    vv_wheel_init(&w, 0);
    probe_init(&p);
    p.again_ns = 20 * VV_MS;
    vv_wheel_arm(&w, &p.t, 5 * VV_MS);
    run(10 * VV_MS);
    VV_CHECK_INT(p.fired, 1);
    VV_CHECK(p.t.armed);
    run(20 * VV_MS);
    VV_CHECK_INT(p.fired, 2);
}

VV_TEST(timer_that_is_disarmed_wakes_nobody)
{
    struct probe a, b;
    vv_wheel_init(&w, 0);
    probe_init(&a);
    probe_init(&b);
    VV_CHECK(vv_wheel_next(&w) == UINT64_MAX);
    vv_wheel_arm(&w, &a.t, 5 * VV_MS);
    vv_wheel_arm(&w, &b.t, 100 * VV_MS);
    VV_CHECK_INT(vv_wheel_next(&w), 5 * VV_MS);
    vv_wheel_disarm(&w, &a.t);
    vv_wheel_disarm(&w, &a.t); /* twice is harmless */
    VV_CHECK_INT(vv_wheel_next(&w), 100 * VV_MS);
    vv_wheel_disarm(&w, &b.t);
    VV_CHECK(vv_wheel_next(&w) == UINT64_MAX);
}

VV_TEST(timer_with_the_farthest_deadline_waits_and_can_be_stopped)
{
    struct probe p;
    vv_wheel_init(&w, VV_DAY);
    probe_init(&p);
    vv_wheel_arm(&w, &p.t, UINT64_MAX);
    run(200 * VV_DAY);
    VV_CHECK_INT(p.fired, 0);
    VV_CHECK(p.t.armed);
    vv_wheel_disarm(&w, &p.t);
    VV_CHECK_INT(w.armed, 0);
}

VV_TEST(timers_at_random_agree_with_a_plain_list_of_deadlines)
{
    static struct probe p[300];
    struct vv_rng rng;
    uint64_t now = 5 * VV_HOUR;
    vv_rng_init(&rng, 42);
    vv_wheel_init(&w, now);
    for (size_t i = 0; i < VV_COUNT(p); i++) {
        probe_init(&p[i]);
    }
    for (int step = 0; step < 3000; step++) {
        struct probe *q = &p[vv_rng_below(&rng, VV_COUNT(p))];
        const uint64_t far = VV_US << vv_rng_below(&rng, 33); /* up to 2.4 hours */
        if (vv_rng_below(&rng, 4) == 0) {
            vv_wheel_disarm(&w, &q->t);
        } else {
            vv_wheel_arm(&w, &q->t, now + vv_rng_below(&rng, far));
        }
        if (step % 3 == 0) {
            now += vv_rng_below(&rng, VV_US << vv_rng_below(&rng, 28));
            size_t due = 0;
            for (size_t i = 0; i < VV_COUNT(p); i++) {
                /* Due: its deadline, rounded up to a tick, lies behind a whole tick of now. */
                due += p[i].t.armed && (p[i].t.at_ns + VV_MS - 1) / VV_MS <= now / VV_MS;
            }
            const size_t fired = run(now);
            /* One armed into the running tick waits for the next: never more, seldom less. */
            VV_CHECK(fired <= due);
            for (size_t i = 0; i < VV_COUNT(p); i++) {
                VV_CHECK(!p[i].t.armed || p[i].t.at_ns + 2 * VV_MS > now);
            }
        }
    }
}
