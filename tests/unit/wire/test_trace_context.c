/* tests/unit/wire/test_trace_context.c - traceparent, tracestate, B3: cases from the specifications.
 * The groups follow those of W3C's own suite; the values are ours. */
#include "vv_test.h"
#include "wire/trace_context.h"

#include <stdio.h>

#define T "4f1c2a9be07d3358a6d4c0b7e9182f3a"
#define S "7a3b90c1d5e6f284"

struct parent_case {
    const char *value;
    bool ok;
};
static const struct parent_case parents[] = {
    {"00-" T "-" S "-01", true},
    {"00-" T "-" S "-00", true},
    {" \t00-" T "-" S "-01\t ", true}, /* white space around a value is no part of it */
    {"00-" T "-" S "-ff", true},       /* unknown flags are ignored */
    {"00-" T "-" S "-01.", false},     /* version 00 has exactly 55 bytes */
    {"00-" T "-" S "-01-more", false},
    {"00-" T "-" S "-0", false},
    {"00-" T "-" S "-001", false},
    {"00-" T "-" S "-.1", false},
    {"00-" T "-" S "-1.", false},
    {"01-" T "-" S "-01", true}, /* later versions may be longer, after a dash */
    {"01-" T "-" S "-01-", true},
    {"cc-" T "-" S "-09-what-comes", true},
    {"cc-" T "-" S "-01.what-comes", false},
    {"cc-" T "-" S "-010", false},
    {"ff-" T "-" S "-01", false},
    {"FE-" T "-" S "-01", false},
    {"0.-" T "-" S "-01", false},
    {".0-" T "-" S "-01", false},
    {"0-" T "-" S "-01", false},
    {"000-" T "-" S "-01", false},
    {"00-00000000000000000000000000000000-" S "-01", false},
    {"00-" T "-0000000000000000-01", false},
    {"00-4F1C2A9BE07D3358A6D4C0B7E9182F3A-" S "-01", false}, /* upper case */
    {"00-" T "-7A3B90C1D5E6F284-01", false},
    {"00-" T "-" S "-0A", false},
    {"00-" T "0-" S "-01", false},
    {"00-4f1c2a9be07d3358a6d4c0b7e9182f3-" S "-01", false},
    {"00-4f1c2a9be07d3358a6d4c0b7e9182f3g-" S "-01", false},
    {"00-.f1c2a9be07d3358a6d4c0b7e9182f3a-" S "-01", false},
    {"00-" T "-" S "0-01", false},
    {"00-" T "-7a3b90c1d5e6f28-01", false},
    {"00-" T "-7a3b90c1d5e6f28.-01", false},
    {"00_" T "-" S "-01", false},
    {"00-" T "_" S "-01", false},
    {"00-" T "-" S "_01", false},
    {"00-" T "-" S "-01,00-" T "-" S "-01", false}, /* two lines joined */
    {"", false},
    {"00", false},
};

VV_TEST(traceparent_is_taken_or_ignored_as_the_specification_says)
{
    for (size_t i = 0; i < VV_COUNT(parents); i++) {
        struct vv_trace_context c;
        const enum vv_err err = vv_traceparent_parse(vv_str_from(parents[i].value), &c);
        if ((err == VV_OK) != parents[i].ok) {
            print_error("case: %s\n", parents[i].value);
        }
        VV_CHECK((err == VV_OK) == parents[i].ok);
    }
}

static bool choose(const char *const (*fields)[2], size_t n, struct vv_trace_context *ctx,
                   struct vv_tracestate *ts)
{
    struct vv_trace_fields f = {0};
    for (size_t i = 0; i < n; i++) {
        (void)vv_trace_fields_add(&f, vv_str_from(fields[i][0]), vv_str_from(fields[i][1]));
    }
    return vv_trace_choose(&f, ctx, ts);
}
#define CHOOSE(ctx, ts, ...)                                                                       \
    choose((const char *const[][2]){__VA_ARGS__},                                                  \
           sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(const char *[2]), ctx, ts)

VV_TEST(a_child_keeps_the_trace_and_gets_an_id_of_its_own)
{
    struct vv_trace_context c;
    struct vv_tracestate ts;
    struct vv_rng rng;
    char out[VV_TRACEPARENT_BYTES], parent[16];
    vv_rng_init(&rng, 7);
    VV_CHECK(CHOOSE(&c, &ts, {"TraceParent", "cc-" T "-" S "-0f-new"}));
    vv_trace_child(&c, &rng);
    vv_traceparent_write(&c, out);
    VV_CHECK(memcmp(out, "00-" T "-", 36) == 0);
    VV_CHECK(memcmp(out + 36, S, 16) != 0);
    VV_CHECK(memcmp(out + 52, "-03", 3) == 0); /* of 0f only sampled and random are known */
    vv_trace_hex(c.parent_id, 8, parent);
    VV_CHECK(memcmp(parent, S, 16) == 0);
}

VV_TEST(without_a_context_a_random_trace_starts)
{
    struct vv_trace_context a, b;
    struct vv_rng rng;
    char out[VV_TRACEPARENT_BYTES];
    struct vv_trace_context again;
    vv_rng_init(&rng, 7);
    VV_CHECK(!CHOOSE(&a, NULL, {"trace-parent", "00-" T "-" S "-01"}));
    VV_CHECK(!CHOOSE(&b, NULL, {"trace.parent", "00-" T "-" S "-01"}));
    vv_trace_start(&a, &rng);
    vv_trace_start(&b, &rng);
    VV_CHECK(memcmp(a.trace_id, b.trace_id, 16) != 0);
    VV_CHECK(a.sampling == VV_TRACE_DEFER && a.flags == VV_TRACE_RANDOM);
    vv_trace_decide(&a, VV_TRACE_YES);
    vv_traceparent_write(&a, out);
    VV_CHECK_INT(vv_traceparent_parse((struct vv_str){out, sizeof out}, &again), VV_OK);
    VV_CHECK(memcmp(a.trace_id, again.trace_id, 16) == 0 && again.flags == 3);
}

VV_TEST(two_traceparents_are_none)
{
    struct vv_trace_context c;
    struct vv_tracestate ts;
    VV_CHECK(!CHOOSE(&c, &ts, {"traceparent", "00-" T "-" S "-01"},
                     {"traceparent", "00-" T "-" S "-01"}, {"tracestate", "a=1"}));
    VV_CHECK_INT(ts.count, 0);
}

VV_TEST(tracestate_needs_a_traceparent_and_never_harms_it)
{
    struct vv_trace_context c;
    struct vv_tracestate ts;
    VV_CHECK(!CHOOSE(&c, &ts, {"tracestate", "a=1"}));
    VV_CHECK_INT(ts.count, 0);
    VV_CHECK(!CHOOSE(&c, &ts, {"traceparent", "00-bad"}, {"tracestate", "a=1"}));
    VV_CHECK_INT(ts.count, 0);
    VV_CHECK(CHOOSE(&c, &ts, {"traceparent", "00-" T "-" S "-01"}, {"tracestate", "A=1"}));
    VV_CHECK_INT(ts.count, 0);
    VV_CHECK(CHOOSE(&c, &ts, {"traceparent", "00-" T "-" S "-01"}, {"TraceState", "a=1"}));
    VV_CHECK_INT(ts.count, 1);
}

struct state_case {
    const char *value;
    int count; /* -1: refused */
};
static const struct state_case states[] = {
    {"foo=1", 1},
    {"foo=1,bar=2", 2},
    {"foo=1 \t , \t bar=2, \t baz=3", 3},
    {"foo=1\t,bar=2", 2},
    {"foo=1,", 1},
    {",foo=1,,  ,bar=2,", 2},
    {"", 0},
    {"  ", 0},
    {",,,", 0},
    {"foo=1,foo=2", 1}, /* one key once: the left one is newer */
    {"foo=1=2", -1},
    {"foo=", -1},
    {"foo", -1},
    {"=1", -1},
    {"foo =1", -1},
    {"foo= 1", 1}, /* a value may begin with a space */
    {"FOO=1", -1},
    {"foo.bar=1", -1},
    {"foo@=1,bar=2", -1},
    {"@foo=1,bar=2", -1},
    {"foo@@bar=1", -1},
    {"foo@bar@baz=1", -1},
    {"foo@1bar=1", -1}, /* a system begins with a letter, */
    {"1foo@bar=1", 1},  /* a tenant may begin with a digit */
    {"0aZ=1", -1},
    {"abcdefghijklmnopqrstuvwxyz0123456789_-*/=1", 1},
    {"0123456789abcdefghijklmnopqrstuvwxyz_-*/@a0_-*/=1", 1},
    {"a=!\"#$%&'()*+-./0123456789:;<>?@ABCXYZ[\\]^_`abcxyz{|}~", 1},
    {"a=b c", 1},
    {"a=b\tc", -1},
    {"a=\x7f", -1},
    {"a=\xc3\xa9", -1},
};

VV_TEST(tracestate_members_follow_the_grammar)
{
    for (size_t i = 0; i < VV_COUNT(states); i++) {
        struct vv_tracestate ts;
        const struct vv_str line = vv_str_from(states[i].value);
        const enum vv_err err = vv_tracestate_parse(&line, 1, &ts);
        if ((err == VV_OK ? (int)ts.count : -1) != states[i].count) {
            print_error("case: %s\n", states[i].value);
        }
        VV_CHECK_INT(err == VV_OK ? (int)ts.count : -1, states[i].count);
    }
}

static enum vv_err one_key(size_t tenant, size_t system, size_t value)
{
    static char buf[1024];
    size_t n = 0;
    struct vv_tracestate ts;
    memset(buf, 't', tenant);
    n += tenant;
    if (system > 0) {
        buf[n++] = '@';
        memset(buf + n, 'v', system);
        n += system;
    }
    buf[n++] = '=';
    memset(buf + n, 'x', value);
    const struct vv_str line = {buf, n + value};
    return vv_tracestate_parse(&line, 1, &ts);
}

VV_TEST(keys_and_values_have_the_lengths_of_the_grammar)
{
    VV_CHECK_INT(one_key(256, 0, 1), VV_OK);
    VV_CHECK_INT(one_key(257, 0, 1), VV_ESYNTAX);
    VV_CHECK_INT(one_key(241, 14, 1), VV_OK);
    VV_CHECK_INT(one_key(242, 13, 1), VV_ESYNTAX);
    VV_CHECK_INT(one_key(1, 15, 1), VV_ESYNTAX);
    VV_CHECK_INT(one_key(1, 0, 256), VV_OK);
    VV_CHECK_INT(one_key(1, 0, 257), VV_ESYNTAX);
}

VV_TEST(several_lines_are_one_list_of_at_most_32_members)
{
    struct vv_tracestate ts;
    struct vv_str lines[3] = {VV_STR("a=1,b=2"), VV_STR(""), VV_STR("c=3")};
    VV_CHECK_INT(vv_tracestate_parse(lines, 3, &ts), VV_OK);
    VV_CHECK_INT(ts.count, 3);
    VV_CHECK_SLICE(ts.member[2].key, "c");
    char many[33 * 8];
    size_t n = 0;
    for (int i = 0; i < 33; i++) {
        n += (size_t)snprintf(many + n, sizeof many - n, "k%02d=%d,", i, i % 10);
        if (i == 31) {
            lines[0] = (struct vv_str){many, n};
            VV_CHECK_INT(vv_tracestate_parse(lines, 1, &ts), VV_OK);
            VV_CHECK_INT(ts.count, 32);
        }
    }
    lines[0] = (struct vv_str){many, n};
    VV_CHECK_INT(vv_tracestate_parse(lines, 1, &ts), VV_ELIMIT);
    VV_CHECK_INT(ts.count, 0);
}

VV_TEST(our_member_goes_to_the_left_and_the_oldest_falls_off)
{
    char many[33 * 8], out[VV_TRACESTATE_BYTES_MAX];
    size_t n = 0;
    struct vv_tracestate ts;
    for (int i = 0; i < 32; i++) {
        n += (size_t)snprintf(many + n, sizeof many - n, "k%02d=%d,", i, i % 10);
    }
    const struct vv_str line = {many, n};
    VV_CHECK_INT(vv_tracestate_parse(&line, 1, &ts), VV_OK);
    VV_CHECK_INT(vv_tracestate_set(&ts, VV_STR("k05"), VV_STR("new")), VV_OK);
    VV_CHECK_INT(ts.count, 32);
    VV_CHECK_SLICE(ts.member[0].key, "k05");
    VV_CHECK_SLICE(ts.member[1].key, "k00"); /* the others keep their order */
    VV_CHECK_SLICE(ts.member[6].key, "k06");
    VV_CHECK_INT(vv_tracestate_set(&ts, VV_STR("vv"), VV_STR("1")), VV_OK);
    VV_CHECK_INT(ts.count, 32);
    VV_CHECK(vv_tracestate_get(&ts, VV_STR("k31")).p == NULL);
    VV_CHECK_SLICE(vv_tracestate_get(&ts, VV_STR("k30")), "0");
    vv_tracestate_remove(&ts, VV_STR("k00"));
    VV_CHECK_INT(ts.count, 31);
    VV_CHECK_INT(vv_tracestate_set(&ts, VV_STR("Bad"), VV_STR("1")), VV_EINVAL);
    VV_CHECK_INT(vv_tracestate_set(&ts, VV_STR("a"), VV_STR("1,2")), VV_EINVAL);
    n = vv_tracestate_write(&ts, out, sizeof out);
    VV_CHECK(n > 20 && memcmp(out, "vv=1,k05=new,k01=1,k02=2", 24) == 0);
}

VV_TEST(writing_leaves_out_long_members_first_and_never_cuts_one)
{
    char text[1024], out[VV_TRACESTATE_BYTES_MAX];
    struct vv_tracestate ts;
    /* a: 2 + 200, b: 2 + 100, c: 2 + 200, d: 2 + 100: 611 bytes with commas. Without c, the rightmost of
     * those above 128, 408 remain. */
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        text[n++] = (char)('a' + i);
        text[n++] = '=';
        memset(text + n, 'x', i % 2 == 0 ? 200 : 100);
        n += i % 2 == 0 ? 200 : 100;
        text[n++] = ',';
    }
    const struct vv_str line = {text, n};
    VV_CHECK_INT(vv_tracestate_parse(&line, 1, &ts), VV_OK);
    n = vv_tracestate_write(&ts, out, sizeof out);
    VV_CHECK_INT(n, 202 + 1 + 102 + 1 + 102);
    VV_CHECK(out[0] == 'a' && out[203] == 'b' && out[306] == 'd');
    /* Room for one of the short ones only: the rightmost goes. */
    VV_CHECK_INT(vv_tracestate_write(&ts, out, 150), 102);
    VV_CHECK(out[0] == 'b');
    VV_CHECK_INT(vv_tracestate_write(&ts, out, 50), 0);
}

VV_TEST(a_list_of_512_bytes_passes_whole)
{
    char text[600], out[VV_TRACESTATE_BYTES_MAX];
    struct vv_tracestate ts;
    memset(text, 'x', sizeof text);
    memcpy(text, "a=", 2);        /* 256 bytes and a comma, */
    memcpy(text + 256, ",b=", 3); /* then 255 */
    const struct vv_str line = {text, 512};
    VV_CHECK_INT(vv_tracestate_parse(&line, 1, &ts), VV_OK);
    VV_CHECK_INT(vv_tracestate_write(&ts, out, sizeof out), 512);
    VV_CHECK(memcmp(out, text, 512) == 0);
}

struct b3_case {
    const char *value, *traceparent; /* NULL: refused, "": a decision only */
    enum vv_trace_sampling sampling;
};
static const struct b3_case b3s[] = {
    {T "-" S "-1", "00-" T "-" S "-01", VV_TRACE_YES},
    {T "-" S "-0", "00-" T "-" S "-00", VV_TRACE_NO},
    {T "-" S "-d", "00-" T "-" S "-01", VV_TRACE_DEBUG},
    {T "-" S, "00-" T "-" S "-00", VV_TRACE_DEFER},
    {T "-" S "-1-05e3ac9a4f6e3b90", "00-" T "-" S "-01", VV_TRACE_YES},
    {"7a3b90c1d5e6f285-" S "-1", "00-00000000000000007a3b90c1d5e6f285-" S "-01", VV_TRACE_YES},
    {"4F1C2A9BE07D3358A6D4C0B7E9182F3A-7A3B90C1D5E6F284-1", "00-" T "-" S "-01", VV_TRACE_YES},
    {"0", "", VV_TRACE_NO},
    {"1", "", VV_TRACE_YES},
    {"d", "", VV_TRACE_DEBUG},
    {"", NULL, VV_TRACE_DEFER},
    {"true", NULL, VV_TRACE_DEFER},
    {T, NULL, VV_TRACE_DEFER},
    {T "-", NULL, VV_TRACE_DEFER},
    {T "-" S "-", NULL, VV_TRACE_DEFER},
    {T "-" S "-2", NULL, VV_TRACE_DEFER},
    {T "-" S "-1-", NULL, VV_TRACE_DEFER},
    {T "-" S "-1-05e3ac9a4f6e3b9", NULL, VV_TRACE_DEFER},
    {T "-" S "-1-05e3ac9a4f6e3b90-1", NULL, VV_TRACE_DEFER},
    {"4f1c2a9be07d3358a6d4-" S "-1", NULL, VV_TRACE_DEFER},
    {"0000000000000000-" S "-1", NULL, VV_TRACE_DEFER},
    {T "-0000000000000000-1", NULL, VV_TRACE_DEFER},
};

VV_TEST(b3_single_reads_all_its_forms)
{
    for (size_t i = 0; i < VV_COUNT(b3s); i++) {
        struct vv_trace_context c;
        char out[VV_TRACEPARENT_BYTES];
        const enum vv_err err = vv_b3_parse(vv_str_from(b3s[i].value), &c);
        if ((err == VV_OK) != (b3s[i].traceparent != NULL)) {
            print_error("case: %s\n", b3s[i].value);
        }
        VV_CHECK((err == VV_OK) == (b3s[i].traceparent != NULL));
        if (err != VV_OK) {
            continue;
        }
        VV_CHECK_INT(c.sampling, b3s[i].sampling);
        VV_CHECK_INT(c.format, b3s[i].traceparent[0] == '\0' ? VV_TRACE_NONE : VV_TRACE_B3);
        if (c.format != VV_TRACE_NONE) {
            vv_traceparent_write(&c, out);
            VV_CHECK(memcmp(out, b3s[i].traceparent, sizeof out) == 0);
        }
    }
}

VV_TEST(w3c_wins_over_b3_and_single_over_multi)
{
    struct vv_trace_context c;
    VV_CHECK(
        CHOOSE(&c, NULL, {"b3", "7a3b90c1d5e6f285-" S "-1"}, {"traceparent", "00-" T "-" S "-00"}));
    VV_CHECK_INT(c.format, VV_TRACE_W3C);
    VV_CHECK(CHOOSE(&c, NULL, {"X-B3-TraceId", T}, {"X-B3-SpanId", S}, {"X-B3-Sampled", "1"},
                    {"b3", "7a3b90c1d5e6f285-" S "-0"}));
    VV_CHECK_INT(c.format, VV_TRACE_B3);
    VV_CHECK_INT(c.sampling, VV_TRACE_NO);
    VV_CHECK(CHOOSE(&c, NULL, {"b3", "broken"}, {"X-B3-TraceId", T}, {"X-B3-SpanId", S},
                    {"X-B3-Sampled", "true"}));
    VV_CHECK_INT(c.format, VV_TRACE_B3_MULTI);
    VV_CHECK_INT(c.sampling, VV_TRACE_YES);
}

VV_TEST(b3_multi_reads_and_writes)
{
    struct vv_trace_context c;
    char buf[VV_B3_BYTES_MAX];
    struct vv_b3_field f[4];
    VV_CHECK(CHOOSE(&c, NULL, {"x-b3-traceid", T}, {"x-b3-spanid", S},
                    {"x-b3-parentspanid", "05e3ac9a4f6e3b90"}, {"x-b3-flags", "1"}));
    VV_CHECK_INT(c.sampling, VV_TRACE_DEBUG);
    VV_CHECK_INT(vv_b3_write_multi(&c, buf, f), 4);
    VV_CHECK_SLICE(f[0].value, T);
    VV_CHECK_SLICE(f[1].value, S);
    VV_CHECK_SLICE(f[2].value, "05e3ac9a4f6e3b90");
    VV_CHECK_SLICE(f[3].name, "x-b3-flags");
    vv_trace_decide(&c, VV_TRACE_NO);
    VV_CHECK_INT(vv_b3_write_multi(&c, buf, f), 4);
    VV_CHECK_SLICE(f[3].name, "x-b3-sampled");
    VV_CHECK_SLICE(f[3].value, "0");
    const size_t n = vv_b3_write(&c, buf);
    VV_CHECK_SLICE(((struct vv_str){buf, n}), T "-" S "-0-05e3ac9a4f6e3b90");
    /* Half of the ids is none, but the wish not to be sampled counts. */
    VV_CHECK(!CHOOSE(&c, NULL, {"x-b3-traceid", T}, {"x-b3-sampled", "0"}));
    VV_CHECK_INT(c.sampling, VV_TRACE_NO);
    VV_CHECK(!CHOOSE(&c, NULL, {"x-b3-traceid", T}, {"x-b3-traceid", T}, {"x-b3-spanid", S}));
}
