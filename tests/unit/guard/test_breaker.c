/* tests/unit/guard/test_breaker.c - opening, probing, closing, by rules and by hand. */
#include "guard/breaker.h"

#include "vv_test.h"

#include <pthread.h>

#define START (1000 * VV_HOUR)

/* The classes of services people start with: failures in a row, until the first probe, accepted
 * share; both look at five minutes. */
static const struct preset {
    const char *name;
    uint64_t consecutive, open_ns, fail_ppm_max;
} presets[] = {
    {"ai_service", 5, 60 * VV_SEC, VV_PPM / 10},
    {"database", 3, 30 * VV_SEC, VV_PPM / 20},
};

static struct vv_breaker_conf conf_of(const struct preset *p)
{
    return (struct vv_breaker_conf){.consecutive = p->consecutive,
                                    .window_ns = 5 * VV_MINUTE,
                                    .volume_min = 100,
                                    .fail_ppm_max = p->fail_ppm_max,
                                    .open_ns = p->open_ns,
                                    .probes = 1,
                                    .probe_successes = 1,
                                    .probe_lease_ns = 30 * VV_SEC};
}

static struct vv_breaker *breaker_of(const struct vv_breaker_conf *conf)
{
    struct vv_breaker *b = NULL;
    VV_CHECK_INT(vv_breaker_new(conf, START, &b), VV_OK);
    return b;
}

static enum vv_breaker_state state_at(struct vv_breaker *b, uint64_t now_ns)
{
    struct vv_breaker_view view;
    vv_breaker_look(b, now_ns, &view);
    return view.state;
}

/* One request that takes 1 ms. False: refused. */
static bool call(struct vv_breaker *b, uint64_t now_ns, bool ok)
{
    struct vv_breaker_permit permit;
    uint64_t wait_ns;
    if (!vv_breaker_admit(b, now_ns, &permit, &wait_ns)) {
        return false;
    }
    vv_breaker_report(b, now_ns, &permit, ok ? VV_BREAKER_OK : VV_BREAKER_FAILED, VV_MS);
    return true;
}

VV_TEST(presets_open_at_their_failure_in_a_row_and_probe_at_their_time)
{
    for (size_t i = 0; i < VV_COUNT(presets); i++) {
        const struct preset *p = &presets[i];
        const struct vv_breaker_conf conf = conf_of(p);
        struct vv_breaker *b = breaker_of(&conf);
        struct vv_breaker_permit permit;
        uint64_t wait_ns = 0;
        for (uint64_t n = 1; n < p->consecutive; n++) {
            VV_CHECK(call(b, START, false));
        }
        VV_CHECK(call(b, START, true)); /* begins the row anew */
        for (uint64_t n = 1; n < p->consecutive; n++) {
            VV_CHECK(call(b, START, false));
            VV_CHECK_INT(state_at(b, START), VV_BREAKER_CLOSED);
        }
        VV_CHECK(call(b, START, false)); /* the 5th, the 3rd */
        VV_CHECK_INT(state_at(b, START), VV_BREAKER_OPEN);
        VV_CHECK(!vv_breaker_admit(b, START + VV_SEC, &permit, &wait_ns));
        VV_CHECK_INT(wait_ns, p->open_ns - VV_SEC);
        VV_CHECK(!call(b, START + p->open_ns - 1, true));
        VV_CHECK_INT(state_at(b, START + p->open_ns), VV_BREAKER_HALF_OPEN);
        VV_CHECK(call(b, START + p->open_ns, true));
        VV_CHECK_INT(state_at(b, START + p->open_ns), VV_BREAKER_CLOSED);
        vv_breaker_free(b);
    }
}

VV_TEST(presets_accept_their_share_of_failures_and_open_above_it)
{
    for (size_t i = 0; i < VV_COUNT(presets); i++) {
        const struct vv_breaker_conf conf = conf_of(&presets[i]);
        struct vv_breaker *b = breaker_of(&conf);
        const uint64_t every = VV_PPM / conf.fail_ppm_max; /* 10th, 20th */
        uint64_t now_ns = START;
        for (uint64_t n = 1; n <= 1000; n++) { /* at 10 per second, exactly the accepted share */
            now_ns += 100 * VV_MS;
            VV_CHECK(call(b, now_ns, n % every != 0));
        }
        VV_CHECK_INT(state_at(b, now_ns), VV_BREAKER_CLOSED);
        VV_CHECK(call(b, now_ns, false)); /* 101 of 1,001 is above 10 %, 51 of 1,001 above 5 % */
        VV_CHECK_INT(state_at(b, now_ns), VV_BREAKER_OPEN);
        vv_breaker_free(b);
    }
}

VV_TEST(breaker_needs_volume_before_it_judges_a_share)
{
    struct vv_breaker_conf conf = conf_of(&presets[0]);
    conf.consecutive = 0;
    struct vv_breaker *b = breaker_of(&conf);
    for (int n = 0; n < 99; n++) {
        VV_CHECK(call(b, START, false));
    }
    VV_CHECK_INT(state_at(b, START), VV_BREAKER_CLOSED); /* 99 of 99, but 100 are needed */
    VV_CHECK(call(b, START, false));
    VV_CHECK_INT(state_at(b, START), VV_BREAKER_OPEN);
    vv_breaker_free(b);
}

VV_TEST(breaker_window_slides_so_old_failures_fade)
{
    struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker_view view;
    conf.consecutive = 0;
    struct vv_breaker *b = breaker_of(&conf);
    for (int n = 0; n < 90; n++) {
        VV_CHECK(call(b, START, n % 2 == 0));
    }
    /* 5 minutes later these 45 failures are gone: 100 outcomes with 10 failures are accepted. */
    for (int n = 0; n < 100; n++) {
        VV_CHECK(call(b, START + 5 * VV_MINUTE, n % 10 != 0));
    }
    vv_breaker_look(b, START + 5 * VV_MINUTE, &view);
    VV_CHECK_INT(view.total, 100);
    VV_CHECK_INT(view.failed, 10);
    VV_CHECK_INT(view.state, VV_BREAKER_CLOSED);
    vv_breaker_free(b);
}

VV_TEST(breaker_opens_for_slow_calls_that_succeed)
{
    struct vv_breaker_conf conf = conf_of(&presets[0]);
    conf.slow_ns = 2 * VV_SEC;
    conf.slow_ppm_max = VV_PPM / 2;
    struct vv_breaker *b = breaker_of(&conf);
    struct vv_breaker_permit permit;
    uint64_t wait_ns;
    for (int n = 0; n < 101; n++) {
        VV_CHECK_INT(state_at(b, START), VV_BREAKER_CLOSED);
        VV_CHECK(vv_breaker_admit(b, START, &permit, &wait_ns));
        /* 50 quick ones first, then slow ones: the 51st of 101 is the first share above 50 %. */
        vv_breaker_report(b, START, &permit, VV_BREAKER_OK, n < 50 ? VV_SEC : 2 * VV_SEC);
    }
    VV_CHECK_INT(state_at(b, START), VV_BREAKER_OPEN);
    vv_breaker_free(b);
}

/* Opens at START, so that probes go from START + 60 s. */
static struct vv_breaker *opened(const struct vv_breaker_conf *conf)
{
    struct vv_breaker *b = breaker_of(conf);
    for (uint64_t n = 0; n < conf->consecutive; n++) {
        VV_CHECK(call(b, START, false));
    }
    return b;
}

VV_TEST(probes_are_bounded_and_all_needed_ones_close)
{
    struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker_permit permit[4];
    uint64_t wait_ns;
    conf.probes = 2;
    conf.probe_successes = 3;
    struct vv_breaker *b = opened(&conf);
    const uint64_t t = START + 60 * VV_SEC;
    VV_CHECK(vv_breaker_admit(b, t, &permit[0], &wait_ns));
    VV_CHECK(vv_breaker_admit(b, t, &permit[1], &wait_ns));
    VV_CHECK(!vv_breaker_admit(b, t, &permit[2], &wait_ns));
    VV_CHECK_INT(wait_ns, VV_SEC);
    vv_breaker_report(b, t, &permit[0], VV_BREAKER_OK, VV_MS);
    vv_breaker_report(b, t, &permit[0], VV_BREAKER_OK, VV_MS); /* twice counts once */
    VV_CHECK(vv_breaker_admit(b, t, &permit[2], &wait_ns));
    vv_breaker_report(b, t, &permit[1], VV_BREAKER_OK, VV_MS);
    VV_CHECK(!vv_breaker_admit(b, t, &permit[3], &wait_ns)); /* one is needed, one is out */
    VV_CHECK_INT(state_at(b, t), VV_BREAKER_HALF_OPEN);
    vv_breaker_report(b, t, &permit[2], VV_BREAKER_OK, VV_MS);
    VV_CHECK_INT(state_at(b, t), VV_BREAKER_CLOSED);
    vv_breaker_free(b);
}

VV_TEST(one_failed_probe_opens_again_and_longer_each_time)
{
    struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker_view view;
    conf.open_ns_max = 200 * VV_SEC;
    struct vv_breaker *b = opened(&conf);
    uint64_t t = START;
    static const uint64_t waits[] = {60, 120, 200, 200}; /* doubled, up to the most */
    for (size_t i = 0; i < VV_COUNT(waits); i++) {
        vv_breaker_look(b, t, &view);
        VV_CHECK_INT(view.open_until_ns, t + waits[i] * VV_SEC);
        t += waits[i] * VV_SEC;
        VV_CHECK(call(b, t, false));
        VV_CHECK_INT(state_at(b, t), VV_BREAKER_OPEN);
    }
    VV_CHECK(call(b, t + 200 * VV_SEC, true)); /* closed: the next outage starts at 60 s */
    t += 201 * VV_SEC;
    for (int n = 0; n < 5; n++) {
        VV_CHECK(call(b, t, false));
    }
    vv_breaker_look(b, t, &view);
    VV_CHECK_INT(view.open_until_ns, t + 60 * VV_SEC);
    VV_CHECK_INT(view.opened, 6);
    vv_breaker_free(b);
}

VV_TEST(a_lost_probe_does_not_block_the_way_back)
{
    const struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker *b = opened(&conf);
    struct vv_breaker_permit lost;
    struct vv_breaker_permit next;
    struct vv_breaker_view view;
    uint64_t wait_ns;
    const uint64_t t = START + 60 * VV_SEC;
    VV_CHECK(vv_breaker_admit(b, t, &lost, &wait_ns));
    VV_CHECK(!vv_breaker_admit(b, t + 30 * VV_SEC - 1, &next, &wait_ns));
    VV_CHECK_INT(wait_ns, 1);
    VV_CHECK(vv_breaker_admit(b, t + 30 * VV_SEC, &next, &wait_ns));
    vv_breaker_report(b, t + 31 * VV_SEC, &lost, VV_BREAKER_FAILED, VV_MS); /* nobody's any more */
    VV_CHECK_INT(state_at(b, t + 31 * VV_SEC), VV_BREAKER_HALF_OPEN);
    vv_breaker_report(b, t + 31 * VV_SEC, &next, VV_BREAKER_OK, VV_MS);
    vv_breaker_look(b, t + 31 * VV_SEC, &view);
    VV_CHECK_INT(view.state, VV_BREAKER_CLOSED);
    VV_CHECK_INT(view.probes, 2);
    VV_CHECK_INT(view.probes_lost, 1);
    vv_breaker_free(b);
}

VV_TEST(an_unknown_outcome_frees_the_probe_and_proves_nothing)
{
    const struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker *b = opened(&conf);
    struct vv_breaker_permit permit;
    uint64_t wait_ns;
    const uint64_t t = START + 60 * VV_SEC;
    VV_CHECK(vv_breaker_admit(b, t, &permit, &wait_ns));
    vv_breaker_report(b, t, &permit, VV_BREAKER_UNKNOWN, VV_MS);
    VV_CHECK_INT(state_at(b, t), VV_BREAKER_HALF_OPEN);
    VV_CHECK(call(b, t, true));
    VV_CHECK_INT(state_at(b, t), VV_BREAKER_CLOSED);
    vv_breaker_free(b);
}

VV_TEST(outcomes_of_an_earlier_era_are_old_news)
{
    const struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker *b = breaker_of(&conf);
    struct vv_breaker_permit permit[10];
    uint64_t wait_ns;
    for (int i = 0; i < 10; i++) {
        VV_CHECK(vv_breaker_admit(b, START, &permit[i], &wait_ns));
    }
    for (int i = 0; i < 5; i++) {
        vv_breaker_report(b, START, &permit[i], VV_BREAKER_FAILED, VV_MS);
    }
    VV_CHECK(call(b, START + 60 * VV_SEC, true)); /* probe: closed again */
    for (int i = 5; i < 10; i++) {                /* timeouts of before come in now */
        vv_breaker_report(b, START + 61 * VV_SEC, &permit[i], VV_BREAKER_FAILED, 61 * VV_SEC);
    }
    VV_CHECK_INT(state_at(b, START + 61 * VV_SEC), VV_BREAKER_CLOSED);
    vv_breaker_free(b);
}

VV_TEST(an_operator_forces_and_resets_and_it_is_seen)
{
    const struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker *b = breaker_of(&conf);
    struct vv_breaker_view before;
    struct vv_breaker_view after;
    vv_breaker_look(b, START, &before);
    vv_breaker_force(b, VV_BREAKER_FORCED_OPEN, START + 1);
    VV_CHECK(!call(b, START + VV_HOUR, true));
    vv_breaker_look(b, START + VV_HOUR, &after);
    VV_CHECK_INT(after.changes, before.changes + 1);
    VV_CHECK_INT(after.mode, VV_BREAKER_FORCED_OPEN);
    VV_CHECK_INT(after.since_ns, START + 1);
    VV_CHECK_INT(after.refused, 1);
    vv_breaker_force(b, VV_BREAKER_FORCED_CLOSED, START);
    for (int i = 0; i < 1000; i++) {
        VV_CHECK(call(b, START, false));
    }
    vv_breaker_reset(b, START);
    vv_breaker_look(b, START, &after);
    VV_CHECK_INT(after.mode, VV_BREAKER_AUTO);
    VV_CHECK_INT(after.state, VV_BREAKER_CLOSED);
    VV_CHECK_INT(after.total, 0);
    for (int i = 0; i < 5; i++) {
        VV_CHECK(call(b, START, false)); /* counted from nothing */
    }
    VV_CHECK(!call(b, START, false));
    vv_breaker_reset(b, START);
    VV_CHECK(call(b, START, true));
    vv_breaker_free(b);
}

VV_TEST(a_new_conf_keeps_the_state_and_a_bad_one_changes_nothing)
{
    struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker *b = opened(&conf);
    struct vv_breaker *none = NULL;
    conf.consecutive = 7;
    VV_CHECK_INT(vv_breaker_conf_set(b, &conf), VV_OK);
    VV_CHECK_INT(state_at(b, START + 59 * VV_SEC), VV_BREAKER_OPEN);
    conf.probes = VV_BREAKER_PROBES_MAX + 1;
    VV_CHECK_INT(vv_breaker_conf_set(b, &conf), VV_EINVAL);
    VV_CHECK_INT(vv_breaker_new(&conf, START, &none), VV_EINVAL);
    VV_CHECK(call(b, START + 60 * VV_SEC, true));
    for (int i = 0; i < 6; i++) {
        VV_CHECK(call(b, START + 60 * VV_SEC, false));
    }
    VV_CHECK_INT(state_at(b, START + 60 * VV_SEC), VV_BREAKER_CLOSED);
    VV_CHECK(call(b, START + 60 * VV_SEC, false)); /* the 7th */
    VV_CHECK_INT(state_at(b, START + 60 * VV_SEC), VV_BREAKER_OPEN);
    vv_breaker_free(b);
}

struct work {
    struct vv_breaker *b;
    uint64_t seed, passed, refused;
};

static void *hammer(void *arg)
{
    struct work *w = arg;
    for (uint64_t i = 0; i < 20000; i++) {
        struct vv_breaker_permit permit;
        uint64_t wait_ns = 0;
        const uint64_t now_ns = START + i * 10 * VV_MS;
        if (vv_breaker_admit(w->b, now_ns, &permit, &wait_ns)) {
            w->passed++;
            if (i % 977 != w->seed) { /* some never come back */
                vv_breaker_report(w->b, now_ns + VV_MS, &permit,
                                  i / 2000 % 2 == 0 ? VV_BREAKER_FAILED : VV_BREAKER_OK, VV_MS);
            }
        } else {
            w->refused++;
        }
    }
    return NULL;
}

VV_TEST(threads_share_one_breaker_and_no_decision_is_lost)
{
    struct vv_breaker_conf conf = conf_of(&presets[0]);
    struct vv_breaker_view view;
    pthread_t thread[4];
    struct work work[4];
    uint64_t refused = 0;
    conf.open_ns = VV_SEC;
    conf.probe_lease_ns = VV_SEC;
    struct vv_breaker *b = breaker_of(&conf);
    for (uint64_t i = 0; i < 4; i++) {
        work[i] = (struct work){.b = b, .seed = i};
        VV_CHECK_INT(pthread_create(&thread[i], NULL, hammer, &work[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        VV_CHECK_INT(pthread_join(thread[i], NULL), 0);
        VV_CHECK_INT(work[i].passed + work[i].refused, 20000);
        refused += work[i].refused;
    }
    vv_breaker_look(b, START + 200 * VV_SEC, &view);
    VV_CHECK_INT(view.refused, refused);
    VV_CHECK(view.opened > 0);
    VV_CHECK(call(b, START + VV_HOUR, true)); /* whatever happened, it comes back */
    vv_breaker_free(b);
}

VV_TEST(a_breaker_that_was_warned_opens_at_the_first_failure_and_not_before)
{
    const struct vv_breaker_conf conf = conf_of(&presets[0]); /* 5 in a row */
    struct vv_breaker *b = breaker_of(&conf);
    struct vv_breaker_permit p;
    struct vv_breaker_view v;
    uint64_t wait_ns;
    vv_breaker_suspect(b, START + VV_SEC);
    vv_breaker_look(b, START, &v);
    VV_CHECK_INT(v.suspect_until_ns, START + VV_SEC);
    VV_CHECK(vv_breaker_admit(b, START, &p, &wait_ns));
    vv_breaker_report(b, START, &p, VV_BREAKER_OK, VV_MS);
    VV_CHECK_INT(state_at(b, START), VV_BREAKER_CLOSED); /* our way to the service is fine */
    VV_CHECK(vv_breaker_admit(b, START, &p, &wait_ns));
    vv_breaker_report(b, START, &p, VV_BREAKER_FAILED, VV_MS);
    VV_CHECK_INT(state_at(b, START), VV_BREAKER_OPEN);
    vv_breaker_reset(b, START);
    vv_breaker_look(b, START + VV_SEC, &v);
    VV_CHECK_INT(v.suspect_until_ns, 0);
    VV_CHECK(vv_breaker_admit(b, START + VV_SEC, &p, &wait_ns)); /* the warning is over */
    vv_breaker_report(b, START + VV_SEC, &p, VV_BREAKER_FAILED, VV_MS);
    VV_CHECK_INT(state_at(b, START + VV_SEC), VV_BREAKER_CLOSED);
    vv_breaker_free(b);
}
