/* tests/unit/trace/test_assemble.c - gathering, when a trace is judged, and what the bounds do. */
#include "trace/assemble.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <stdlib.h>

struct court {
    bool keep;
    size_t judged, late, spans, root_id;
    bool error, early;
    uint32_t lost;
    uint8_t id;
};

static bool judge(void *user, const struct vv_trace *t, uint64_t now_ns)
{
    struct court *c = user;
    VV_CHECK(now_ns > 0);
    c->judged++;
    c->spans = t->count;
    c->error = t->error;
    c->early = t->early;
    c->lost = t->lost;
    c->id = t->id[15];
    c->root_id = t->spans[t->root].span_id[7];
    return c->keep;
}

static void late(void *user, struct vv_str packed)
{
    struct vv_span_brief b;
    VV_CHECK_INT(vv_span_peek(packed, &b), VV_OK);
    ((struct court *)user)->late++;
}

static struct court court;
static struct vv_assembly_conf conf;

static struct vv_assembly *begin(void)
{
    struct vv_assembly *a;
    court = (struct court){.keep = true};
    VV_CHECK_INT(vv_assembly_new(&conf, judge, late, &court, &a), VV_OK);
    return a;
}

static enum vv_err add(struct vv_assembly *a, uint64_t trace, uint64_t id, uint64_t parent,
                       unsigned status, uint64_t now_ns)
{
    struct maker m = {0};
    uint8_t buf[512];
    struct vv_span *s = maker_add(&m, trace, id, parent, 1000 + id, 2000, "svc", "name");
    s->status = (uint8_t)status;
    return vv_assembly_add(a, (struct vv_str){(char *)buf, vv_span_pack(s, buf)}, now_ns);
}

static void stats(const struct vv_assembly *a, struct vv_assembly_stats *st)
{
    vv_assembly_stats(a, st);
}

VV_TEST(a_trace_is_judged_a_grace_after_its_root_ended)
{
    vv_assembly_conf_default(&conf);
    struct vv_assembly *a = begin();
    VV_CHECK_INT(add(a, 1, 2, 1, VV_SPAN_ERROR, 1 * VV_SEC), VV_OK); /* children first */
    VV_CHECK_INT(add(a, 1, 1, 0, 0, 2 * VV_SEC), VV_OK);
    VV_CHECK_INT(add(a, 1, 3, 1, 0, 3 * VV_SEC), VV_OK);
    VV_CHECK_INT(vv_assembly_tick(a, 4 * VV_SEC - 1, 100), 0);
    VV_CHECK_INT(vv_assembly_tick(a, 4 * VV_SEC, 100), 1); /* 2 s after its root came at 2 s */
    VV_CHECK(court.judged == 1 && court.spans == 3 && court.error && !court.early);
    VV_CHECK_INT(court.root_id, 1);
    vv_assembly_free(a);
}

VV_TEST(without_a_root_quiet_decides_and_age_bounds_it)
{
    struct vv_assembly_stats st;
    vv_assembly_conf_default(&conf);
    struct vv_assembly *a = begin();
    VV_CHECK_INT(add(a, 1, 5, 4, 0, 1 * VV_SEC), VV_OK);
    VV_CHECK_INT(add(a, 1, 6, 5, 0, 9 * VV_SEC), VV_OK);
    VV_CHECK_INT(vv_assembly_tick(a, 19 * VV_SEC - 1, 100), 0);
    VV_CHECK_INT(vv_assembly_tick(a, 19 * VV_SEC, 100), 1); /* 10 s after the last */
    VV_CHECK_INT(court.root_id, 5);                         /* its parent never came */
    for (uint64_t s = 100; s < 160; s++) {                  /* never quiet */
        VV_CHECK_INT(add(a, 2, s, 1, 0, s * VV_SEC), VV_OK);
        VV_CHECK_INT(vv_assembly_tick(a, s * VV_SEC, 100), 0);
    }
    VV_CHECK_INT(vv_assembly_tick(a, 160 * VV_SEC, 100), 1);
    stats(a, &st);
    VV_CHECK(st.open == 0 && st.bytes == 0 && st.kept == 2);
    vv_assembly_free(a);
}

VV_TEST(late_spans_follow_the_word_that_was_given)
{
    struct vv_assembly_stats st;
    vv_assembly_conf_default(&conf);
    struct vv_assembly *a = begin();
    VV_CHECK_INT(add(a, 1, 1, 0, 0, 1), VV_OK);
    VV_CHECK_INT(vv_assembly_tick(a, 9 * VV_SEC, 100), 1);
    VV_CHECK_INT(add(a, 1, 2, 1, 0, 9 * VV_SEC), VV_OK);
    VV_CHECK_INT(court.late, 1);
    court.keep = false;
    VV_CHECK_INT(add(a, 2, 1, 0, 0, 10 * VV_SEC), VV_OK);
    VV_CHECK_INT(vv_assembly_tick(a, 20 * VV_SEC, 100), 1);
    VV_CHECK_INT(add(a, 2, 2, 1, 0, 20 * VV_SEC), VV_OK);
    stats(a, &st);
    VV_CHECK(court.late == 1 && court.judged == 2);
    VV_CHECK(st.late_kept == 1 && st.late_dropped == 1 && st.open == 0);
    vv_assembly_free(a);
}

VV_TEST(bounds_hold_and_what_they_cost_is_counted)
{
    struct vv_assembly_stats st;
    vv_assembly_conf_default(&conf);
    conf.bytes_max = 64 * VV_KIB;
    conf.traces_max = 50;
    conf.spans_max = 3;
    struct vv_assembly *a = begin();
    for (uint64_t t = 1; t <= 60; t++) {
        VV_CHECK_INT(add(a, t, 1, 9, 0, t), VV_OK);
    }
    stats(a, &st);
    VV_CHECK(st.open == 50 && st.early == 10 && court.judged == 10 && court.early);
    VV_CHECK_INT(court.id, 10); /* the oldest went first */
    for (uint64_t i = 2; i <= 5; i++) {
        VV_CHECK_INT(add(a, 60, i, 9, 0, 100), i <= 3 ? VV_OK : VV_ELIMIT);
    }
    vv_assembly_flush(a, 200);
    VV_CHECK(court.spans == 3 && court.lost == 2 && court.judged == 60);
    stats(a, &st);
    VV_CHECK(st.open == 0 && st.bytes == 0 && st.lost == 2);
    conf.traces_max = 100000;
    conf.spans_max = 100000;
    vv_assembly_free(a);
    a = begin();
    for (uint64_t i = 1; i <= 5000; i++) { /* one trace larger than all room is judged in parts */
        VV_CHECK_INT(add(a, 7, i, 9000, 0, i), VV_OK);
        stats(a, &st);
        VV_CHECK(st.bytes <= conf.bytes_max);
    }
    VV_CHECK(st.early >= 1);
    vv_assembly_free(a);
}

VV_TEST(what_is_no_span_is_counted)
{
    struct vv_assembly_stats st;
    vv_assembly_conf_default(&conf);
    struct vv_assembly *a = begin();
    VV_CHECK_INT(vv_assembly_add(a, VV_STR("no span"), 1), VV_ESYNTAX);
    stats(a, &st);
    VV_CHECK(st.broken == 1 && st.open == 0);
    vv_assembly_free(a);
    conf.decided_max = 5;
    VV_CHECK_INT(vv_assembly_new(&conf, judge, late, &court, &a), VV_EINVAL);
}

VV_TEST(the_root_is_found_however_a_trace_came)
{
    struct maker m = {0};
    uint8_t buf[4][512];
    struct vv_str packed[4];
    struct vv_trace t;
    void *memory;
    maker_add(&m, 1, 4, 3, 5, 9, "s", "child");
    maker_add(&m, 1, 2, 77, 1, 9, "s", "orphan, the earliest");
    maker_add(&m, 1, 3, 66, 2, 9, "s", "entry")->flags = VV_SPAN_F_ENTRY;
    maker_add(&m, 1, 9, 0, 4, 9, "s", "true root");
    for (size_t n = 1; n <= 4; n++) {
        static const uint64_t want[] = {0, 0, 1, 2, 3};
        packed[n - 1] =
            (struct vv_str){(char *)buf[n - 1], vv_span_pack(&m.span[n - 1], buf[n - 1])};
        VV_CHECK_INT(vv_trace_open(packed, n, &t, &memory), VV_OK);
        VV_CHECK_INT(t.root, want[n]);
        VV_CHECK_INT(t.end_ns, 9);
        free(memory);
    }
    VV_CHECK_INT(vv_trace_open(packed, 0, &t, &memory), VV_EINVAL);
}
