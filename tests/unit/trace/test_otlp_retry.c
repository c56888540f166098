/* tests/unit/trace/test_otlp_retry.c - when a batch goes again. Time is passed in. */
#include "trace/otlp_retry.h"
#include "vv_test.h"

static struct vv_otlp_retry_conf conf;
static struct vv_otlp_retry r;
static struct vv_rng rng;

static enum vv_otlp_outcome report(unsigned status, const char *after, uint64_t now_ns)
{
    return vv_otlp_retry_report(&r, status, vv_str_from(after), 784111777, &rng, now_ns);
}

static void begin(void)
{
    vv_otlp_retry_conf_default(&conf);
    vv_otlp_retry_init(&r, &conf);
    vv_rng_init(&rng, 3);
    VV_CHECK(vv_otlp_retry_next(&r, 0));
    VV_CHECK(!vv_otlp_retry_next(&r, 0)); /* one at a time */
}

VV_TEST(success_and_refusal_end_a_batch)
{
    static const unsigned never[] = {400, 401, 404, 413, 301, 500, 501, 505};
    begin();
    VV_CHECK_INT(report(200, "", 1), VV_OTLP_DONE);
    for (size_t i = 0; i < VV_COUNT(never); i++) {
        begin();
        VV_CHECK_INT(report(never[i], "1", 1), VV_OTLP_LOST);
        VV_CHECK(r.lost == 1 && r.state == VV_OTLP_IDLE);
        VV_CHECK_INT(vv_otlp_retry_due(&r), UINT64_MAX);
    }
}

VV_TEST(the_wait_doubles_and_half_of_it_is_chance)
{
    uint64_t now_ns = 0, most_ns = VV_SEC;
    begin();
    for (int i = 0; i < 7; i++) { /* 1, 2, 4, 8, 16, 30, 30 s at most: 91 s in all */
        VV_CHECK_INT(report(i % 2 == 0 ? 503 : 0, "", now_ns), VV_OTLP_AGAIN);
        const uint64_t wait_ns = vv_otlp_retry_due(&r) - now_ns;
        VV_CHECK(wait_ns >= most_ns / 2 && wait_ns <= most_ns);
        VV_CHECK(!vv_otlp_retry_next(&r, vv_otlp_retry_due(&r) - 1));
        now_ns = vv_otlp_retry_due(&r);
        VV_CHECK(vv_otlp_retry_next(&r, now_ns));
        most_ns = vv_min_u64(2 * most_ns, 30 * VV_SEC);
    }
    VV_CHECK_INT(r.retried, 7);
    VV_CHECK_INT(report(200, "", now_ns), VV_OTLP_DONE);
    VV_CHECK_INT(r.delivered, 1);
}

VV_TEST(retry_after_wins_in_both_forms_up_to_a_bound)
{
    begin();
    VV_CHECK_INT(report(429, " 7 ", 100), VV_OTLP_AGAIN);
    VV_CHECK_INT(vv_otlp_retry_due(&r), 100 + 7 * VV_SEC);
    begin();
    /* 784111777 is Sun, 06 Nov 1994 08:49:37 GMT: ten seconds on */
    VV_CHECK_INT(report(503, "Sun, 06 Nov 1994 08:49:47 GMT", 0), VV_OTLP_AGAIN);
    VV_CHECK_INT(vv_otlp_retry_due(&r), 10 * VV_SEC);
    begin();
    VV_CHECK_INT(report(503, "Sun, 06 Nov 1994 08:49:00 GMT", 0), VV_OTLP_AGAIN);
    VV_CHECK_INT(vv_otlp_retry_due(&r), 0);
    begin();
    VV_CHECK_INT(report(503, "99999999999999999", 0), VV_OTLP_AGAIN);
    VV_CHECK_INT(vv_otlp_retry_due(&r), 2 * VV_MINUTE);
    begin();
    VV_CHECK_INT(report(503, "soon", 0), VV_OTLP_AGAIN);
    VV_CHECK(vv_otlp_retry_due(&r) <= VV_SEC);
}

VV_TEST(after_five_minutes_a_batch_is_given_up)
{
    begin();
    VV_CHECK_INT(report(502, "", 5 * VV_MINUTE), VV_OTLP_LOST);
    VV_CHECK_INT(r.lost, 1);
    VV_CHECK(vv_otlp_retry_next(&r, 5 * VV_MINUTE)); /* the next one has its own time */
    VV_CHECK_INT(report(504, "", 5 * VV_MINUTE + 1), VV_OTLP_AGAIN);
}
