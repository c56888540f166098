/* tests/unit/load/test_seed.c - the first specification's load test, unchanged: phases, mix, bytes. */
#include "load_test.h"

#define DRAWS 20000

static struct vv_load_plan *seed_plan(void)
{
    struct read r = read_source(&(struct vv_load_source){.path = VV_EXAMPLES "/us-load-test.yml"});
    VV_CHECK_STR(r.problems, "");
    free(r.problems);
    return r.plan;
}

VV_TEST(the_phases_are_756000_arrivals_in_960_seconds)
{
    struct vv_load_plan *plan = seed_plan();
    struct vv_load_view v;
    double arrivals = 0;
    uint64_t duration = 0;
    vv_load_plan_view(plan, &v);
    VV_CHECK_INT(v.phase_count, 3);
    VV_CHECK_STR(v.phase[0].name, "Warm up");
    VV_CHECK_STR(v.phase[1].name, "Ramp up load");
    VV_CHECK_STR(v.phase[2].name, "Sustained high load");
    for (size_t i = 0; i < v.phase_count; i++) {
        VV_CHECK(v.phase[i].ramp_to < 0); /* "Ramp up" has no rampTo: it is constant */
        arrivals += v.phase[i].rate * (double)(v.phase[i].duration_ns / VV_SEC);
        duration += v.phase[i].duration_ns;
    }
    VV_CHECK_INT(arrivals, 60 * 100 + 300 * 500 + 600 * 1000);
    VV_CHECK_INT(duration, 960 * VV_SEC);
    VV_CHECK_STR(v.target, "http://localhost");
    vv_load_plan_free(plan);
}

VV_TEST(the_mix_of_scenarios_is_20_60_20)
{
    struct vv_load_plan *plan = seed_plan();
    struct vv_load_view v;
    struct vv_rng rng;
    uint64_t seen[3] = {0};
    vv_rng_init(&rng, 42);
    vv_load_plan_view(plan, &v);
    VV_CHECK_INT(v.scenario_count, 3);
    struct vv_load_user *u = vv_load_user_new(plan, &rng);
    assert_non_null(u);
    for (int i = 0; i < DRAWS; i++) {
        vv_load_user_reset(u, &rng);
        seen[vv_load_user_scenario(u)]++;
    }
    /* Binomial: sigma of a share p of 20,000 is sqrt(p (1 - p) / 20000): 0.28 % for 20 %, 0.35 % for
     * 60 %. One percent is about 3 sigma. */
    VV_CHECK(seen[0] > DRAWS * 19 / 100 && seen[0] < DRAWS * 21 / 100);
    VV_CHECK(seen[1] > DRAWS * 59 / 100 && seen[1] < DRAWS * 61 / 100);
    VV_CHECK(seen[2] > DRAWS * 19 / 100 && seen[2] < DRAWS * 21 / 100);
    vv_load_user_free(u);
    vv_load_plan_free(plan);
}

/* The request of one scenario, by its index. */
static const char *request_of(struct vv_load_user *u, struct vv_rng *rng, uint32_t scenario)
{
    do {
        vv_load_user_reset(u, rng);
    } while (vv_load_user_scenario(u) != scenario);
    return next_text(u);
}

VV_TEST(its_requests_are_those_the_other_tool_sends)
{
    struct vv_load_plan *plan = seed_plan();
    struct vv_rng rng;
    vv_rng_init(&rng, 7);
    struct vv_load_user *u = vv_load_user_new(plan, &rng);
    assert_non_null(u);
    VV_CHECK_STR(request_of(u, &rng, 0), "GET /api/v1/health HTTP/1.1\r\n"
                                         "host: localhost\r\n"
                                         "user-agent: vivace-load\r\n"
                                         "accept-encoding: gzip, deflate, br\r\n"
                                         "connection: keep-alive\r\n\r\n");
    /* Its length: {"population":330000000, = 24, "nouveaux_cas":50000, = 21,
     * "pays":"etats-unis"} = 20; 24 + 21 + 20 = 65 */
    VV_CHECK_STR(request_of(u, &rng, 1),
                 "POST /api/v1/prediction/hospitalisation HTTP/1.1\r\n"
                 "host: localhost\r\n"
                 "user-agent: vivace-load\r\n"
                 "accept-encoding: gzip, deflate, br\r\n"
                 "content-type: application/json\r\n"
                 "content-length: 65\r\n"
                 "connection: keep-alive\r\n\r\n"
                 "{\"population\":330000000,\"nouveaux_cas\":50000,\"pays\":\"etats-unis\"}");
    vv_load_user_free(u);
    vv_load_plan_free(plan);
}

VV_TEST(the_key_of_the_technical_interface_is_ten_new_characters_each_time)
{
    static const char head[] = "POST /api/technique/v1/bulk/predictions HTTP/1.1\r\n"
                               "host: localhost\r\nuser-agent: vivace-load\r\n"
                               "authorization: Bearer ";
    struct vv_load_plan *plan = seed_plan();
    struct vv_rng rng;
    char keys[2][11];
    vv_rng_init(&rng, 7);
    struct vv_load_user *u = vv_load_user_new(plan, &rng);
    assert_non_null(u);
    for (int i = 0; i < 2; i++) {
        const char *text = request_of(u, &rng, 2);
        VV_CHECK(strncmp(text, head, sizeof head - 1) == 0);
        text = strstr(text, "Bearer ") + 7;
        VV_CHECK_INT(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                     10);
        snprintf(keys[i], sizeof keys[i], "%.10s", text);
        VV_CHECK_STR(text + 10, "\r\naccept-encoding: gzip, deflate, br\r\n"
                                "content-length: 0\r\nconnection: keep-alive\r\n\r\n");
    }
    VV_CHECK(strcmp(keys[0], keys[1]) != 0);
    vv_load_user_free(u);
    vv_load_plan_free(plan);
}
