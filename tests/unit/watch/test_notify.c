/* tests/unit/watch/test_notify.c - who is told, when, and the bytes. */
#include "vv_test.h"
#include "watch/notify.h"

#include <stdlib.h>

static struct vv_arena arena;

static struct vv_note_matchers matchers(const char *one)
{
    struct vv_note_matcher *m = malloc(sizeof *m);
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    VV_CHECK(m != NULL);
    VV_CHECK_INT(vv_note_matcher_parse(vv_str_from(one), &arena, m), VV_OK);
    return (struct vv_note_matchers){m, 1};
}

static void drop(struct vv_note_matchers m)
{
    free((void *)(uintptr_t)m.at);
}

static const struct vv_promql_label down_labels[] = {{VV_STR("alertname"), VV_STR("Down")},
                                                     {VV_STR("country"), VV_STR("us")},
                                                     {VV_STR("severity"), VV_STR("critical")}};
static const struct vv_promql_label slow_labels[] = {{VV_STR("alertname"), VV_STR("Slow <&>")},
                                                     {VV_STR("country"), VV_STR("us")},
                                                     {VV_STR("severity"), VV_STR("warning")}};
static const struct vv_promql_label notes_text[] = {{VV_STR("summary"), VV_STR("a < b\r\nBcc: x")}};
static const struct vv_promql_label group_labels[] = {{VV_STR("country"), VV_STR("us")}};

static struct vv_note down(bool firing)
{
    return (struct vv_note){{down_labels, 3}, {notes_text, 1}, firing,
                            1763696552457,    1763696600000,   0xe2e078f617dcbf80};
}

static struct vv_note slow(bool firing)
{
    return (struct vv_note){{slow_labels, 3}, {notes_text, 1}, firing,
                            1763696552457,    1763696600000,   2};
}

VV_TEST(matchers_compare_or_match_whole_values)
{
    static const struct {
        const char *text;
        bool match;
    } rows[] = {{"country=us", true},  {"country = \"us\"", true}, {"country!=us", false},
                {"country=~u.", true}, {"country=~u", false},      {"country!~\"f.*\"", true},
                {"nothing=", true},    {"nothing!=x", true}};
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        const struct vv_note_matchers m = matchers(rows[i].text);
        VV_CHECK_INT(vv_note_matches(m, (struct vv_promql_labels){down_labels, 3}), rows[i].match);
        drop(m);
        vv_arena_fini(&arena);
    }
    struct vv_note_matcher none;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    VV_CHECK_INT(vv_note_matcher_parse(VV_STR("country"), &arena, &none), VV_ESYNTAX);
    VV_CHECK_INT(vv_note_matcher_parse(VV_STR("a!b"), &arena, &none), VV_ESYNTAX);
    VV_CHECK_INT(vv_note_matcher_parse(VV_STR("a=~("), &arena, &none), VV_ESYNTAX);
    vv_arena_fini(&arena);
}

VV_TEST(a_silence_holds_from_its_start_to_before_its_end)
{
    const struct vv_silence s[] = {{{NULL, 0}, 0, 1000}, {matchers("country=us"), 100, 200}};
    const struct vv_promql_labels l = {down_labels, 3};
    VV_CHECK_INT(vv_silenced(s, 2, l, 99), -1);
    VV_CHECK_INT(vv_silenced(s, 2, l, 100), 1);
    VV_CHECK_INT(vv_silenced(s, 2, l, 199), 1);
    VV_CHECK_INT(vv_silenced(s, 2, l, 200), -1);
    drop(s[1].matchers);
    vv_arena_fini(&arena);
}

VV_TEST(a_graver_alert_explains_others_but_never_itself)
{
    static const struct vv_str equal[] = {VV_STR("country")};
    struct vv_note all[] = {down(true), slow(true)};
    struct vv_inhibition r = {matchers("severity=critical"), {NULL, 0}, equal, 1};
    VV_CHECK_INT(vv_inhibited(&r, 1, &all[1], all, 2), 0);
    VV_CHECK_INT(vv_inhibited(&r, 1, &all[0], all, 2), -1);
    all[1].labels.at = down_labels; /* both critical now: neither hides the other */
    VV_CHECK_INT(vv_inhibited(&r, 1, &all[1], all, 2), -1);
    all[1] = slow(true);
    all[0].firing = false;
    VV_CHECK_INT(vv_inhibited(&r, 1, &all[1], all, 2), -1);
    drop(r.source);
    vv_arena_fini(&arena);
}

VV_TEST(flapping_is_damped_and_heard_again_after_quiet)
{
    struct vv_flap f = {.penalty = 0};
    for (int i = 0; i < 5; i++) {
        vv_flap_moved(&f, &vv_flap_defaults, 0);
    }
    VV_CHECK(!f.damped);
    vv_flap_moved(&f, &vv_flap_defaults, 0);
    VV_CHECK(f.damped);
    /* 6 falls to 2 in log2(3) half lives: 950,977 ms. */
    VV_CHECK(vv_flap_damped(&f, &vv_flap_defaults, 950900));
    VV_CHECK(!vv_flap_damped(&f, &vv_flap_defaults, 951100));
}

VV_TEST(a_group_waits_repeats_and_tells_what_is_new)
{
    struct vv_group_timer t = {.told = NULL};
    struct vv_note n[] = {down(true), slow(true)};
    const struct vv_group_conf *c = &vv_group_defaults;
    VV_CHECK(!vv_group_look(&t, c, n, 1, 1000));
    VV_CHECK_INT(vv_group_due_ms(&t, c), 31000);
    VV_CHECK(vv_group_look(&t, c, n, 1, 31000));
    VV_CHECK_INT(vv_group_told(&t, n, 1, 31000), VV_OK);
    VV_CHECK_INT(vv_group_due_ms(&t, c), 331000);
    VV_CHECK(!vv_group_look(&t, c, n, 2, 330999)); /* new, but not yet */
    VV_CHECK(vv_group_look(&t, c, n, 2, 331000));
    VV_CHECK_INT(vv_group_told(&t, n, 2, 331000), VV_OK);
    VV_CHECK(!vv_group_look(&t, c, n, 2, 631000)); /* nothing new */
    n[0].firing = false;
    VV_CHECK(vv_group_look(&t, c, n, 2, 931000)); /* an end of what was told */
    VV_CHECK_INT(vv_group_told(&t, n, 2, 931000), VV_OK);
    VV_CHECK(!vv_group_look(&t, c, n, 2, 1231000));
    VV_CHECK(vv_group_look(&t, c, n, 2, 931000 + c->repeat_ms));
    n[1].firing = false;
    VV_CHECK_INT(vv_group_told(&t, n, 2, 0), VV_OK);
    VV_CHECK(!vv_group_look(&t, c, n, 2, 100000000)); /* all over: no repetition */
    vv_group_fini(&t);
}

VV_TEST(what_ended_before_it_was_told_is_not_told)
{
    struct vv_group_timer t = {.told = NULL};
    struct vv_note n = down(true);
    VV_CHECK(!vv_group_look(&t, &vv_group_defaults, &n, 1, 0));
    n.firing = false;
    VV_CHECK(!vv_group_look(&t, &vv_group_defaults, &n, 1, 30000));
    vv_group_fini(&t);
}

static struct vv_message message(const struct vv_note *n, size_t count)
{
    return (struct vv_message){VV_STR("hook"), VV_STR("http://h"), {group_labels, 1}, n, count};
}

VV_TEST(a_webhook_has_version_4s_shape)
{
    const struct vv_note n[] = {down(true), slow(false)};
    const struct vv_message m = message(n, 2);
    struct vv_sb out = VV_SB_INIT;
    vv_message_webhook(&m, &out);
    VV_CHECK(strstr(out.p, "{\"receiver\":\"hook\",\"status\":\"firing\",\"alerts\":[{\"status\":"
                           "\"firing\",\"labels\":{\"alertname\":\"Down\",") == out.p);
    /* 1763696552 s is 2025-11-21 03:42:32 UTC. */
    VV_CHECK(strstr(out.p, "\"startsAt\":\"2025-11-21T03:42:32.457Z\",\"endsAt\":"
                           "\"0001-01-01T00:00:00Z\"") != NULL);
    VV_CHECK(strstr(out.p, "\"fingerprint\":\"e2e078f617dcbf80\"") != NULL);
    VV_CHECK(strstr(out.p, "\"groupLabels\":{\"country\":\"us\"},\"commonLabels\":"
                           "{\"country\":\"us\"}") != NULL);
    VV_CHECK(strstr(out.p, "\"groupKey\":\"{}:{country=\\\"us\\\"}\",\"truncatedAlerts\":0}") !=
             NULL);
    vv_sb_fini(&out);
}

VV_TEST(slack_text_is_escaped)
{
    const struct vv_note n[] = {slow(true)};
    const struct vv_message m = message(n, 1);
    struct vv_sb out = VV_SB_INIT;
    vv_message_slack(&m, &out);
    VV_CHECK(strstr(out.p, "{\"text\":\"[FIRING:1] Slow &lt;&amp;&gt; us\",\"blocks\":[") == out.p);
    VV_CHECK(strstr(out.p, "*warning* - a &lt; b") != NULL);
    VV_CHECK(strstr(out.p, "<http://h/alerts/0000000000000002|open in Vivace>") != NULL);
    vv_sb_fini(&out);
}

VV_TEST(pagerduty_is_triggered_and_resolved_by_the_same_key)
{
    const struct vv_note n[] = {down(true), down(false)};
    const struct vv_message m = message(n, 2);
    struct vv_sb out = VV_SB_INIT;
    vv_message_pagerduty(&m, 0, VV_STR("KEY"), VV_STR("gw-1"), &out);
    VV_CHECK(strstr(out.p, "{\"routing_key\":\"KEY\",\"event_action\":\"trigger\",\"dedup_key\":"
                           "\"e2e078f617dcbf80\",") == out.p);
    VV_CHECK(strstr(out.p, "\"source\":\"gw-1\",\"severity\":\"critical\"") != NULL);
    vv_sb_reset(&out);
    vv_message_pagerduty(&m, 1, VV_STR("KEY"), VV_STR("gw-1"), &out);
    VV_CHECK_STR(out.p, "{\"routing_key\":\"KEY\",\"event_action\":\"resolve\",\"dedup_key\":"
                        "\"e2e078f617dcbf80\"}");
    vv_sb_fini(&out);
}

VV_TEST(a_mail_takes_no_headers_from_an_alert)
{
    const struct vv_note n[] = {down(false)};
    const struct vv_message m = message(n, 1);
    const struct vv_mail mail = {VV_STR("a@b\r\nBcc: x"), VV_STR("c@d"), VV_STR("2@h"),
                                 VV_STR("1@h"), 1763696552457};
    struct vv_sb out = VV_SB_INIT;
    vv_message_mail(&m, &mail, &out);
    VV_CHECK(strstr(out.p, "From: a@b  Bcc: x\r\nTo: c@d\r\n") == out.p);
    VV_CHECK(strstr(out.p, "\nBcc") == NULL);
    /* base64 of "[RESOLVED] Down us" */
    VV_CHECK(strstr(out.p, "Subject: =?UTF-8?B?W1JFU09MVkVEXSBEb3duIHVz?=\r\n") != NULL);
    VV_CHECK(strstr(out.p, "Date: Fri, 21 Nov 2025 03:42:32 +0000\r\n") != NULL);
    VV_CHECK(strstr(out.p, "In-Reply-To: <1@h>\r\n") != NULL);
    vv_sb_fini(&out);
}

VV_TEST(a_signature_is_that_of_standard_webhooks)
{
    /* The example of the specification's reference libraries. */
    struct vv_sb out = VV_SB_INIT;
    VV_CHECK_INT(vv_message_sign(VV_STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
                                 VV_STR("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1614265330,
                                 VV_STR("{\"test\": 2432232314}"), &out),
                 VV_OK);
    VV_CHECK_STR(out.p, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    vv_sb_fini(&out);
}
