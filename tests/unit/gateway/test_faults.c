/* tests/unit/gateway/test_faults.c - faults on purpose: what is ordered, who is struck, when it ends. */
#include "base/sb.h"
#include "gateway/faults.h"
#include "rig.h"
#include <sys/socket.h>

#define ALWAYS VV_PPM

static const struct vv_chaos_settings open_rules = {.enabled = 1,
                                                    .share_max_ppm = VV_PPM,
                                                    .time_max_ns = 10 * VV_MINUTE,
                                                    .stop_ppm = VV_PPM / 2,
                                                    .stop_window_ns = 10 * VV_SEC,
                                                    .stop_volume = 20};

struct bench { /* faults, and an attempt to be struck */
    struct vv_metrics *metrics;
    struct vv_faults *faults;
    struct vv_worker w;
    struct vv_exchange *x;
    struct vv_route route;
    struct vv_route_settings route_conf;
    struct vv_service service;
    struct vv_service_settings service_conf;
    uint64_t now_ns;
    char why[256];
};

static void set_up(struct bench *b, const struct vv_chaos_settings *conf)
{
    memset(b, 0, sizeof *b);
    VV_CHECK_INT(vv_metrics_new(&b->metrics), VV_OK);
    VV_CHECK_INT(vv_faults_new(b->metrics, &b->faults), VV_OK);
    VV_CHECK_INT(vv_loop_new(&b->w.loop), VV_OK);
    vv_faults_conf(b->faults, conf);
    vv_rng_init(&b->w.rng, 7);
    b->x = calloc(1, sizeof *b->x);
    b->route_conf.name = "api";
    b->service_conf.name = "shop";
    b->route.conf = &b->route_conf;
    b->service.conf = &b->service_conf;
    b->x->w = &b->w;
    b->x->route = &b->route;
    b->x->service = &b->service;
    b->now_ns = vv_loop_now(b->w.loop);
}

static void tear_down(struct bench *b)
{
    free(b->x);
    vv_faults_free(b->faults);
    vv_loop_free(b->w.loop);
    vv_metrics_free(b->metrics);
}

static struct vv_fault_order an_order(const struct bench *b, enum vv_fault_kind kind, uint64_t ppm)
{
    return (struct vv_fault_order){.fault = {.kind = kind,
                                             .share_ppm = ppm,
                                             .from_ns = b->now_ns,
                                             .until_ns = b->now_ns + VV_MINUTE,
                                             .delay_ns = VV_MS,
                                             .bytes = 100,
                                             .status = 503}};
}

static uint32_t place(struct bench *b, enum vv_fault_kind kind, uint64_t ppm)
{
    const struct vv_fault_order o = an_order(b, kind, ppm);
    uint32_t id = 0;
    VV_CHECK_INT(vv_faults_order(b->faults, &o, b->now_ns, &id, b->why), VV_OK);
    return id;
}

static bool struck(struct bench *b)
{
    struct vv_fault_plan plan;
    return vv_faults_decide(b->faults, b->x, &plan);
}

VV_TEST(without_permission_nothing_is_ordered)
{
    struct bench b;
    uint32_t id = 0;
    set_up(&b, &(struct vv_chaos_settings){.enabled = 0});
    const struct vv_fault_order o = an_order(&b, VV_FAULT_ABORT, ALWAYS);
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_EACCES);
    VV_CHECK(strstr(b.why, "chaos: {enabled: true}") != NULL);
    VV_CHECK(!vv_faults_any(b.faults));
    VV_CHECK(!struck(&b));
    tear_down(&b);
}

VV_TEST(an_order_strikes_its_route_and_its_service_only)
{
    struct bench b;
    uint32_t id = 0;
    set_up(&b, &open_rules);
    struct vv_fault_order o = an_order(&b, VV_FAULT_ABORT, ALWAYS);
    o.route = VV_STR("api");
    o.service = VV_STR("shop");
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_OK);
    VV_CHECK(vv_faults_any(b.faults));
    VV_CHECK(struck(&b));
    b.route_conf.name = "apis";
    VV_CHECK(!struck(&b));
    b.route_conf.name = "api";
    b.service_conf.name = "sho";
    VV_CHECK(!struck(&b));
    tear_down(&b);
}

VV_TEST(a_seed_decides_who_is_struck)
{
    struct bench b;
    struct vv_rng same;
    set_up(&b, &open_rules);
    place(&b, VV_FAULT_ABORT, VV_PPM / 5);
    vv_rng_init(&same, 7);
    for (int i = 0; i < 1000; i++) {
        /* Of three draws the first decides: as a share of 2^64 it is below 20 %. */
        const uint64_t first = vv_rng_u64(&same);
        (void)vv_rng_u64(&same);
        (void)vv_rng_u64(&same);
        VV_CHECK_INT(struck(&b), first < UINT64_MAX / 5);
    }
    tear_down(&b);
}

VV_TEST(a_fault_elsewhere_changes_nobodys_fate)
{
    struct bench one, two;
    uint32_t id = 0;
    set_up(&one, &open_rules);
    set_up(&two, &open_rules);
    struct vv_fault_order other = an_order(&one, VV_FAULT_DELAY, VV_PPM / 2);
    VV_CHECK_INT(vv_faults_order(two.faults, &other, two.now_ns, &id, two.why), VV_OK);
    other.route = VV_STR("elsewhere");
    VV_CHECK_INT(vv_faults_order(one.faults, &other, one.now_ns, &id, one.why), VV_OK);
    place(&one, VV_FAULT_ABORT, VV_PPM / 3);
    place(&two, VV_FAULT_ABORT, VV_PPM / 3);
    for (int i = 0; i < 300; i++) {
        struct vv_fault_plan a, b;
        (void)vv_faults_decide(one.faults, one.x, &a);
        (void)vv_faults_decide(two.faults, two.x, &b);
        VV_CHECK_INT(a.end, b.end);
        VV_CHECK_INT(a.delay_ns, 0);
    }
    tear_down(&one);
    tear_down(&two);
}

VV_TEST(shares_that_can_meet_are_bounded_together)
{
    struct bench b;
    uint32_t id = 0;
    struct vv_chaos_settings conf = open_rules;
    conf.share_max_ppm = 300000;
    set_up(&b, &conf);
    struct vv_fault_order o = an_order(&b, VV_FAULT_ABORT, 200000);
    o.route = VV_STR("api");
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_OK);
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_ERANGE);
    VV_CHECK(strstr(b.why, "40%") != NULL && strstr(b.why, "chaos.max_share is 30%") != NULL);
    o.route = VV_STR("other"); /* no request is on both */
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_OK);
    o.route = VV_STR("");
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_ERANGE);
    tear_down(&b);
}

VV_TEST(time_and_number_are_bounded)
{
    struct bench b;
    uint32_t id = 0;
    set_up(&b, &open_rules);
    struct vv_fault_order o = an_order(&b, VV_FAULT_ABORT, 1);
    o.fault.until_ns = b.now_ns + 10 * VV_MINUTE + 1;
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_ERANGE);
    o.fault.until_ns = b.now_ns;
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_EINVAL);
    for (int i = 0; i < VV_FAULTS_MAX; i++) {
        VV_CHECK_INT(place(&b, VV_FAULT_ABORT, 1), i + 1);
    }
    o.fault.until_ns = b.now_ns + VV_SEC;
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_ELIMIT);
    tear_down(&b);
}

VV_TEST(each_order_ends_at_its_time)
{
    struct bench b;
    uint32_t id = 0;
    set_up(&b, &open_rules);
    struct vv_fault_order o = an_order(&b, VV_FAULT_ABORT, 500000);
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_OK);
    o.fault.until_ns += VV_SEC;
    VV_CHECK_INT(vv_faults_order(b.faults, &o, b.now_ns, &id, b.why), VV_OK);
    vv_faults_tick(b.faults, b.now_ns + VV_MINUTE - 1);
    VV_CHECK_INT(vv_faults_active(b.faults), 2);
    vv_faults_tick(b.faults, b.now_ns + VV_MINUTE);
    VV_CHECK_INT(vv_faults_active(b.faults), 1);
    VV_CHECK(vv_faults_any(b.faults));
    vv_faults_tick(b.faults, b.now_ns + VV_MINUTE + VV_SEC);
    VV_CHECK(!vv_faults_any(b.faults));
    VV_CHECK(!struck(&b));
    tear_down(&b);
}

VV_TEST(one_is_stopped_by_its_number_and_zero_stops_all)
{
    struct bench b;
    set_up(&b, &open_rules);
    const uint32_t one = place(&b, VV_FAULT_ABORT, 1);
    place(&b, VV_FAULT_DROP, 1);
    place(&b, VV_FAULT_RESET, 1);
    VV_CHECK_INT(vv_faults_stop(b.faults, one), VV_OK);
    VV_CHECK_INT(vv_faults_stop(b.faults, one), VV_ENOENT);
    VV_CHECK_INT(vv_faults_active(b.faults), 2);
    VV_CHECK_INT(vv_faults_stop(b.faults, 0), VV_OK);
    VV_CHECK_INT(vv_faults_active(b.faults), 0);
    VV_CHECK_INT(vv_faults_stop(b.faults, 0), VV_OK);
    tear_down(&b);
}

VV_TEST(too_many_bad_answers_stop_it_at_once_and_the_next_begins_anew)
{
    struct bench b;
    set_up(&b, &open_rules);
    place(&b, VV_FAULT_ABORT, ALWAYS);
    for (int i = 0; i < 20; i++) {
        VV_CHECK(struck(&b));
        vv_faults_report(b.faults, b.now_ns, i >= 9); /* the 20th makes 11 of 20: over 50 % */
    }
    VV_CHECK(!struck(&b)); /* before anybody has ended the order */
    vv_faults_tick(b.faults, b.now_ns);
    VV_CHECK(!vv_faults_any(b.faults));
    place(&b, VV_FAULT_ABORT, ALWAYS);
    VV_CHECK(struck(&b));
    vv_faults_report(b.faults, b.now_ns, true); /* one of one: too few to judge */
    VV_CHECK(struck(&b));
    tear_down(&b);
}

VV_TEST(rules_that_forbid_it_end_what_is_active)
{
    struct bench b;
    struct vv_chaos_settings conf = open_rules;
    set_up(&b, &conf);
    place(&b, VV_FAULT_ABORT, ALWAYS);
    vv_faults_conf(b.faults, &conf); /* a reload that changes nothing */
    VV_CHECK(struck(&b));
    conf.enabled = 0;
    vv_faults_conf(b.faults, &conf);
    VV_CHECK(!struck(&b));
    tear_down(&b);
}

VV_TEST(narrower_bounds_end_the_last_orders_first_until_the_rest_fits)
{
    struct bench b;
    struct vv_chaos_settings conf = open_rules;
    set_up(&b, &conf);
    (void)place(&b, VV_FAULT_DELAY, 100000);
    (void)place(&b, VV_FAULT_DROP, 100000);
    (void)place(&b, VV_FAULT_ABORT, 150000);
    conf.share_max_ppm = 200000; /* 10 % and 10 % together, and no 15 % more */
    vv_faults_conf(b.faults, &conf);
    VV_CHECK_INT(vv_faults_active(b.faults), 2);
    VV_CHECK_INT(vv_faults_stop(b.faults, 3), VV_ENOENT);
    conf.share_max_ppm = 199999;
    vv_faults_conf(b.faults, &conf);
    VV_CHECK_INT(vv_faults_active(b.faults), 1);
    conf.time_max_ns = VV_MINUTE - 1; /* each was ordered for a minute */
    vv_faults_conf(b.faults, &conf);
    VV_CHECK_INT(vv_faults_active(b.faults), 0);
    tear_down(&b);
}

VV_TEST(an_answer_that_may_be_kept_is_not_corrupted)
{
    struct bench b;
    set_up(&b, &open_rules);
    place(&b, VV_FAULT_CORRUPT, ALWAYS);
    VV_CHECK(struck(&b));
    b.x->recall = (struct vv_recall *)(void *)&b; /* only looked at for whether it is there */
    VV_CHECK(!struck(&b));
    tear_down(&b);
}

VV_TEST(what_is_active_and_what_ended_can_be_read)
{
    struct bench b;
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    set_up(&b, &open_rules);
    place(&b, VV_FAULT_ABORT, ALWAYS);
    (void)struck(&b);
    VV_CHECK_INT(vv_faults_stop(b.faults, 1), VV_OK);
    place(&b, VV_FAULT_SLOW, 250000);
    vv_json_init(&j, &out);
    vv_faults_json(b.faults, b.now_ns, &j);
    char *text = vv_sb_take(&out);
    VV_CHECK(strstr(text,
                    "\"ended\":[{\"id\":1,\"fault\":\"abort\",\"why\":\"stopped\",\"asked\":1,"
                    "\"struck\":1}]") != NULL);
    VV_CHECK(strstr(text, "\"id\":2,\"fault\":\"slow\",\"share\":\"25%\"") != NULL);
    VV_CHECK(strstr(text, "\"left_s\":60") != NULL);
    free(text);
    tear_down(&b);
}

/* ---- on connections ---- */

static const char plain[] =
    "listen: 127.0.0.1:1\n"
    "admin: none\n"
    "chaos: {enabled: true, max_share: 100%%}\n"
    "services:\n"
    "  app: {servers: [\"http://127.0.0.1:%u\"], retries: 0, max_fails: 0}\n"
    "routes:\n"
    "  - {path: /, to: app}\n";

static void rig_order(struct rig *r, struct vv_fault fault)
{
    char why[256];
    uint32_t id = 0;
    const uint64_t now_ns = vv_worker_now(r->w);
    vv_faults_conf(r->homes.faults, &open_rules);
    fault.share_ppm = ALWAYS;
    fault.from_ns = now_ns;
    fault.until_ns = now_ns + VV_MINUTE;
    const struct vv_fault_order o = {.fault = fault};
    VV_CHECK_INT(vv_faults_order(r->homes.faults, &o, now_ns, &id, why), VV_OK);
}

#define ASK "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

VV_TEST(an_aborted_request_never_reaches_its_service)
{
    struct rig r;
    rig_up(&r, plain);
    rig_order(&r, (struct vv_fault){.kind = VV_FAULT_ABORT, .status = 418});
    const int client = rig_client(&r);
    for (int i = 0; i < 3; i++) {
        rig_send(&r, client, ASK);
        VV_CHECK(strncmp(rig_read(&r, client, NULL), "HTTP/1.1 418 ", 13) == 0);
    }
    VV_CHECK(accept4(r.origin_fd, NULL, NULL, SOCK_NONBLOCK) < 0);
    close(client);
    rig_down(&r);
}

VV_TEST(a_dropped_and_a_reset_request_fail_as_such)
{
    static const struct {
        enum vv_fault_kind kind;
        const char *reason;
    } rows[] = {{VV_FAULT_DROP, "connect_failed"}, {VV_FAULT_RESET, "server_reset"}};
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        struct rig r;
        rig_up(&r, plain);
        rig_order(&r, (struct vv_fault){.kind = rows[i].kind});
        const int client = rig_client(&r);
        rig_send(&r, client, ASK);
        const char *got = rig_read(&r, client, NULL);
        VV_CHECK(strncmp(got, "HTTP/1.1 502 ", 13) == 0);
        VV_CHECK(strstr(got, rows[i].reason) != NULL);
        VV_CHECK(accept4(r.origin_fd, NULL, NULL, SOCK_NONBLOCK) < 0);
        close(client);
        rig_down(&r);
    }
}

VV_TEST(a_client_that_leaves_while_its_request_is_held_leaves_nothing)
{
    static const enum vv_fault_kind ends[] = {VV_FAULT_KIND_COUNT, VV_FAULT_ABORT, VV_FAULT_DROP};
    for (size_t i = 0; i < VV_COUNT(ends); i++) {
        struct rig r;
        rig_up(&r, plain);
        rig_order(&r, (struct vv_fault){.kind = VV_FAULT_DELAY, .delay_ns = VV_MINUTE});
        if (ends[i] != VV_FAULT_KIND_COUNT) {
            struct vv_chaos_settings twice = open_rules;
            twice.share_max_ppm = 2 * VV_PPM;
            char why[256];
            uint32_t id = 0;
            const uint64_t now_ns = vv_worker_now(r.w);
            const struct vv_fault_order o = {.fault = {.kind = ends[i],
                                                       .share_ppm = ALWAYS,
                                                       .status = 503,
                                                       .from_ns = now_ns,
                                                       .until_ns = now_ns + VV_MINUTE}};
            vv_faults_conf(r.homes.faults, &twice);
            VV_CHECK_INT(vv_faults_order(r.homes.faults, &o, now_ns, &id, why), VV_OK);
        }
        const int client = rig_client(&r);
        rig_send(&r, client, ASK);
        VV_CHECK_STR(rig_read(&r, client, NULL), "");
        const struct linger hard = {.l_onoff = 1, .l_linger = 0};
        VV_CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
        close(client); /* with a reset: it does not wait for an answer */
        rig_turns(&r, 5);
        VV_CHECK(vv_list_empty(&r.w->sessions));
        rig_down(&r); /* the address sanitizer looks at what is left */
    }
}

VV_TEST(a_cut_body_is_passed_on_up_to_the_cut)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, plain);
    rig_order(&r, (struct vv_fault){.kind = VV_FAULT_TRUNCATE, .bytes = 0});
    const int client = rig_client(&r);
    rig_send(&r, client, ASK);
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    const char *got = rig_read(&r, client, &closed);
    VV_CHECK(strncmp(got, "HTTP/1.1 200 ", 13) == 0);
    VV_CHECK(strstr(got, "hello") == NULL);
    VV_CHECK(closed);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(corruption_changes_the_byte_that_was_drawn)
{
    struct rig r;
    rig_up(&r, plain);
    rig_order(&r, (struct vv_fault){.kind = VV_FAULT_CORRUPT, .bytes = 1}); /* the first of one */
    const int client = rig_client(&r);
    rig_send(&r, client, ASK);
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
    rig_send(&r, origin, "lo");
    const char *body = strstr(rig_read(&r, client, NULL), "\r\n\r\n");
    VV_CHECK(body != NULL && body[4] != 'h');
    VV_CHECK_STR(body + 5, "ello");
    close(client);
    close(origin);
    rig_down(&r);
}
