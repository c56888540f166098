/* tests/unit/gateway/test_settings_guard.c - limits, plans, access, breakers, retries, overload, compose,
 * fallbacks, canaries: what the file says about them, and each mistake with its place. */
#include "gateway/access.h"
#include "guard/limit.h"
#include "settings_test.h"

static const struct vv_route_settings *route(const struct loaded *l)
{
    return l->s->routes->item[0];
}

static const struct vv_service_settings *service(const struct loaded *l)
{
    return l->s->services->item[0];
}

static const struct vv_limit_settings *limit(const struct vv_conf_list *limits, size_t i)
{
    return limits->item[i];
}

/* A route to service "a" with these further keys: "limit: 100/s". */
static struct loaded load_route(const char *keys)
{
    char text[2048];
    snprintf(text, sizeof text,
             "listen: 80\nservices: {a: [h:1], b: [h:2]}\n"
             "routes:\n- {path: \"/x/{id}\", to: a, %s}\n- {path: /other, to: b}\n",
             keys);
    return load_text(text);
}

static struct loaded fine_route(const char *keys)
{
    struct loaded l = load_route(keys);
    VV_CHECK_STR(l.problems, "");
    return l;
}

static void route_says(const char *keys, const char *part)
{
    struct loaded l = load_route(keys);
    if (strstr(l.problems, part) == NULL) {
        fail_msg("expected \"%s\" in:\n%s", part, l.problems);
    }
    unload(&l);
}

static void root_says(const char *root, const char *part)
{
    char text[2048];
    snprintf(text, sizeof text, "listen: 80\n%s\nroutes: [{to: \"http://h:1\"}]\n", root);
    check_says(text, part);
}

static void service_says(const char *keys, const char *part)
{
    char text[2048];
    snprintf(text, sizeof text,
             "listen: 80\nservices: {a: {servers: [h:1, h:2], %s}}\nroutes: [{to: a}]\n", keys);
    check_says(text, part);
}

/* ---- limits -------------------------------------------------------------------------------- */

VV_TEST(a_limit_is_a_rate_or_a_map_or_a_list)
{
    struct loaded l = fine_route("limit: 100/s");
    const struct vv_limit_settings *k = limit(route(&l)->limits, 0);
    VV_CHECK_INT(route(&l)->limits->count, 1);
    VV_CHECK_INT(k->rate_count, 100);
    VV_CHECK_INT(k->rate_per_ns, VV_SEC);
    VV_CHECK_INT(k->burst, 100); /* what the rate gives in a second */
    VV_CHECK_STR(k->per, "client");
    VV_CHECK_STR(k->name, "/x/{id}");
    VV_CHECK_INT(k->status, 429);
    VV_CHECK_INT(k->weight, 1);
    VV_CHECK_INT(k->at.line, 4);
    unload(&l);
    l = fine_route("limit: {rate: 200/min, burst: 300, concurrent: 50, quota: 1000000/30d}");
    k = limit(route(&l)->limits, 0);
    VV_CHECK_INT(k->rate_count, 200);
    VV_CHECK_INT(k->rate_per_ns, 60 * VV_SEC);
    VV_CHECK_INT(k->burst, 300);
    VV_CHECK_INT(k->concurrent, 50);
    VV_CHECK_INT(k->quota_count, 1000000);
    VV_CHECK_INT(k->quota_per_ns, 30 * VV_DAY);
    unload(&l);
    l = fine_route("limit: [100/s, {per: all, rate: 1000/s}, {name: slow, rate: 5/100ms}]");
    VV_CHECK_INT(route(&l)->limits->count, 3);
    VV_CHECK_STR(limit(route(&l)->limits, 1)->name, "/x/{id}-2");
    VV_CHECK_STR(limit(route(&l)->limits, 1)->per, "all");
    k = limit(route(&l)->limits, 2);
    VV_CHECK_STR(k->name, "slow");
    VV_CHECK_INT(k->rate_per_ns, 100 * VV_MS);
    VV_CHECK_INT(k->burst, 50); /* 5 in 100 ms are 50 in a second */
    unload(&l);
}

VV_TEST(a_burst_is_what_the_rate_gives_in_a_second_but_one_at_least)
{
    static const struct {
        const char *rate;
        uint64_t burst;
    } rows[] = {
        {"10000/h", 2},               /* 2.77 in a second */
        {"200/m", 3},                 /* 3.33 */
        {"5000000000/s", 1000000000}, /* what a file may say */
        {"1/d", 1},
        {"1/s", 1},
        {"7/minute", 1},
        {"30/2s", 15},
        {"1/10ms", 100},
    };
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        char keys[64];
        snprintf(keys, sizeof keys, "limit: %s", rows[i].rate);
        struct loaded l = fine_route(keys);
        VV_CHECK_INT(limit(route(&l)->limits, 0)->burst, rows[i].burst);
        unload(&l);
    }
    struct loaded l = fine_route("limit: {rate: 5/s, burst: 0}"); /* one at a time may be meant */
    VV_CHECK_INT(limit(route(&l)->limits, 0)->burst, 0);
    unload(&l);
}

VV_TEST(a_listener_has_limits_named_after_it)
{
    struct loaded l = load_fine("listen: {web: {port: 80, limit: {rate: 100/s, burst: 200}}}\n"
                                "routes: [{to: \"http://h:1\"}]\n");
    const struct vv_listen_settings *web = l.s->listen->item[0];
    VV_CHECK_INT(limit(web->limits, 0)->burst, 200);
    VV_CHECK_STR(limit(web->limits, 0)->name, "web");
    unload(&l);
}

VV_TEST(a_rate_needs_a_number_and_a_period)
{
    route_says("limit: 100", "v.yaml:4:35: error: a rate needs a period\n");
    route_says("limit: 100", "write 100/s, 100/min or 100/h");
    route_says("limit: {rate: \"0/s\"}", "error: \"0/s\" is no rate");
    route_says("limit: {rate: 5/fortnight}", "\"5/fortnight\" is no rate");
    route_says("limit: {rate: /s}", "\"/s\" is no rate");
    route_says("limit: {rate: 5/0s}", "\"5/0s\" is no rate");
    route_says("limit: {rate: 1.5/s}", "write a number, \"/\" and a time: 100/s");
    route_says("limit: {quota: 100}", "error: a quota needs a period");
    root_says("access: {plans: {p: {rate: 7}}}", "v.yaml:2:28: error: a rate needs a period");
}

VV_TEST(a_limit_must_limit_and_let_pass_something)
{
    route_says("limit: {per: all}", "error: this limit limits nothing");
    route_says("limit: {rate: 5/s, burst: 1, weight: 3}",
               "a request that counts for 3 never passes here: 2 at once are allowed");
    route_says("limit: {quota: 2/h, weight: 3}", "a request that counts for 3 never passes here");
    route_says("limit: {concurrent: 5, burst: 3}", "warning: burst does nothing without a rate");
    route_says("limit: {rate: 1/d, burst: 1000000000}", "at a rate of 1/d take too long");
}

VV_TEST(a_quota_has_the_limits_of_a_counted_window)
{
    struct loaded l = fine_route("limit: {quota: 4194303/48d}");
    unload(&l);
    route_says("limit: {quota: 4194304/h}", "4194303 at most");
    route_says("limit: {quota: 5/49d}", "48d at most");
    route_says("limit: {quota: 5/1500ms}", "whole seconds");
}

VV_TEST(who_is_counted_together_is_a_word_or_a_template)
{
    struct loaded l = fine_route("limit: [{per: $header.x-user, rate: 1/s}, "
                                 "{per: \"{id}\", rate: 1/s}, {per: key, rate: 1/s}]");
    VV_CHECK_STR(limit(route(&l)->limits, 0)->per, "$header.x-user");
    unload(&l);
    route_says("limit: {per: clients, rate: 1/s}", "\"clients\" tells no callers apart");
    route_says("limit: {per: clients, rate: 1/s}", "did you mean \"client\"?");
    route_says("limit: {per: $clientip, rate: 1/s}", "did you mean \"$client_ip\"?");
    route_says("limit: {per: \"{user}\", rate: 1/s}", "\"{user}\" is no parameter of the path");
    route_says("limit: {rate: 1/s, allow: [10.0.0.0/33]}", "is no block of addresses");
    route_says("limit: [{name: a, rate: 1/s}, {name: a, rate: 2/s}]", "two limits are named \"a\"");
    route_says("limit: {name: 'a\"b', rate: 1/s}", "the name of a limit has no quotes");
}

VV_TEST(one_place_has_five_limits_at_most_besides_those_that_watch)
{
    /* 3 + 2 words, and three more that are not part of a decision */
    struct loaded l = fine_route("limit: [{rate: 1/s, quota: 5/h, concurrent: 3}, "
                                 "{per: all, rate: 1/s, concurrent: 3}, "
                                 "{rate: 1/s, quota: 5/h, concurrent: 3, dry_run: true}]");
    unload(&l);
    route_says("limit: [{rate: 1/s, quota: 5/h, concurrent: 3}, {rate: 1/s, quota: 5/h}, 7/s]",
               "more than 5 limits at one place");
    route_says("limit: [{rate: 1/s, quota: 5/h, concurrent: 3}, {rate: 1/s, quota: 5/h}, 7/s]",
               "(the first of them at 4:36)");
}

/* ---- access -------------------------------------------------------------------------------- */

VV_TEST(plans_have_the_numbers_they_are_given)
{
    struct loaded l = load_fine(
        "listen: 80\n"
        "access:\n"
        "  keys: keys.txt\n"
        "  unknown: standard\n"
        "  plans:\n"
        "    standard: {rate: 10000/h, burst: 500, concurrent: 100}\n"
        "    gold: {priority: high}\n" /* no limits at all */
        "routes: [{to: \"http://h:1\", access: {by: [bearer, optional], plans: [standard]}}]\n");
    const struct vv_plan_settings *p = l.s->access.plans->item[0],
                                  *gold = l.s->access.plans->item[1];
    VV_CHECK_STR(p->name, "standard");
    VV_CHECK_STR(p->limit.name, "standard");
    VV_CHECK_INT(p->limit.rate_count, 10000);
    VV_CHECK_INT(p->limit.rate_per_ns, VV_HOUR);
    VV_CHECK_INT(p->limit.burst, 500);
    VV_CHECK_INT(p->limit.concurrent, 100);
    VV_CHECK_INT(p->priority, 1);
    VV_CHECK_INT(gold->priority, 0);
    VV_CHECK_STR(l.s->access.header, "X-API-Key");
    VV_CHECK_INT(l.s->access.jwt.enabled, 0);
    VV_CHECK_INT(route(&l)->access.enabled, 1);
    VV_CHECK_INT(route(&l)->access.methods, VV_BY_BEARER | VV_BY_OPTIONAL);
    VV_CHECK_STR(route(&l)->access.plans->item[0], "standard");
    unload(&l);
}

VV_TEST(names_of_plans_exist_and_ways_have_a_source)
{
    root_says("access: {keys: k, plans: {standard: 5/s}, unknown: standart}",
              "no plan named \"standart\"");
    root_says("access: {keys: k, plans: {standard: 5/s}, anonymous: standart}",
              "did you mean \"standard\" (defined at 2:27)?");
    root_says("access: {jwt: {jwks: k, default_plan: x}}", "no plan named \"x\"");
    root_says("access: {jwt: {jwks: k, algorithms: [HS256]}}", "did you mean \"RS256\"?");
    root_says("access: {jwt: {issuer: me}}", "access.jwt needs \"jwks\"");
    root_says("access: {keys: k, header: \"X Key\"}", "cannot be the name of a header");
    root_says("access: {plans: {p: {rate: 5/s, burst: 0}}}", "plan \"p\" lets nothing pass");
    root_says("access: {plans: {\"a b\": 5/s}}", "cannot be the name of a plan");
    route_says("access: bearer", "\"bearer\" needs access.keys or access.jwt");
    route_says("access: basic", "\"basic\" needs access.basic");
    route_says("access: [key, jwt]", "\"jwt\" needs access.jwt");
    route_says("access: baerer", "did you mean \"bearer\"?");
    route_says("access: optional", "has no way to say who one is");
    route_says("access: {plans: [gold]}", "no plan named \"gold\"");
    route_says("require: {\"X Version\": 1}", "cannot be the name of a header");
}

VV_TEST(files_of_access_stand_beside_the_file_that_names_them)
{
    const struct vv_conf_source source = {
        .path = "/etc/v/v.yaml",
        .text = "listen: 80\naccess: {keys: k.txt, basic: u.txt, jwt: \"http://h/jwks\"}\n"
                "routes: [{to: \"http://h:1\", access: [bearer, basic]}]\n",
        .no_files = true};
    struct loaded l = load_source(&source);
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_STR(l.s->access.keys, "/etc/v/k.txt");
    VV_CHECK_STR(l.s->access.basic, "/etc/v/u.txt");
    VV_CHECK_STR(l.s->access.jwt.jwks, "http://h/jwks");
    VV_CHECK_INT(l.s->access.jwt.algorithms->count, 3);
    unload(&l);
}

/* ---- breakers, retries, overload ----------------------------------------------------------- */

VV_TEST(breakers_have_the_seeds_numbers_and_defaults)
{
    struct loaded l =
        load_fine("listen: 80\n"
                  "services: {a: {servers: [h:1], breaker: ai_service}, b: [h:2]}\n"
                  "breakers:\n"
                  "  ai_service:\n"
                  "    failures: \"${CIRCUIT_BREAKER_FAILURE_THRESHOLD:-5}\"\n"
                  "    recover: \"${CIRCUIT_BREAKER_RECOVERY_TIMEOUT:-60000}ms\"\n"
                  "    accept: 10%\n"
                  "    window: \"${CIRCUIT_BREAKER_MONITORING_WINDOW:-300000}ms\"\n"
                  "  plain: {}\n"
                  "routes: [{path: /b, to: b, breaker: plain, retries: 0}, {to: a}]\n");
    const struct vv_breaker_settings *ai = l.s->breakers->item[0], *plain = l.s->breakers->item[1];
    VV_CHECK_INT(ai->failures, 5);
    VV_CHECK_INT(ai->recover_ns, 60 * VV_SEC);
    VV_CHECK_INT(ai->recover_max_ns, 60 * VV_SEC); /* it never grows */
    VV_CHECK_INT(ai->accept_ppm, 100000);
    VV_CHECK_INT(ai->window_ns, 300 * VV_SEC);
    VV_CHECK_INT(ai->volume, 20);
    VV_CHECK_INT(plain->failures, 5);
    VV_CHECK_INT(plain->accept_ppm, VV_PPM);
    VV_CHECK_INT(plain->on->count, 4);
    VV_CHECK_STR(service(&l)->breaker, "ai_service");
    VV_CHECK_STR(route(&l)->breaker, "plain");
    VV_CHECK_INT(route(&l)->retries, 0);
    unload(&l);
}

VV_TEST(mistakes_of_breakers_are_told)
{
    service_says("breaker: ai}, x: {servers: [h:3], breaker: db", "no breaker named \"ai\"");
    route_says("breaker: db", "no breaker named \"db\"");
    root_says("breakers: {db: {}}", "warning: no service and no route uses breaker \"db\"");
    root_says("breakers: {db: {failures: 0}}", "warning: breaker \"db\" never opens");
    root_says("breakers: {db: {when: []}}", "nothing is a failure for breaker \"db\"");
    root_says("breakers: {db: {when: [timeuot]}}", "did you mean \"timeout\"?");
    root_says("breakers: {db: {when: [600]}}", "\"600\" is no failure");
    root_says("breakers: {db: {recover: 5m, max_recover: 1m}}", "recover is more than max_recover");
    root_says("breakers: {\"d:b\": {}}", "cannot be the name of a breaker");
    root_says("breakers: {db: {probes: 17}}", "must be at most 16");
}

VV_TEST(retries_hedges_and_places_have_short_and_long_forms)
{
    struct loaded l =
        load_fine("listen: 80\n"
                  "services:\n"
                  "  a: {servers: [h:1, h:2], retries: 2, hedge: true, concurrency: auto}\n"
                  "  b: {servers: [h:3], retries: {max: 3, when: [connect, 503], budget: 10%}, "
                  "concurrency: 50}\n"
                  "  c: {servers: [h:4, h:5], hedge: false, concurrency: {max: 10}}\n"
                  "routes: [{path: /b, to: b, priority: batch}, {path: /c, to: c}, {to: a}]\n");
    const struct vv_service_settings *a = l.s->services->item[0], *b = l.s->services->item[1],
                                     *c = l.s->services->item[2];
    VV_CHECK_INT(a->retries.max, 2);
    VV_CHECK_INT(a->retries.on->count, 5);
    VV_CHECK_INT(a->retries.budget_ppm, 200000);
    VV_CHECK_INT(a->hedge.enabled, 1);
    VV_CHECK_INT(a->hedge.after_ppm, 950000);
    VV_CHECK_INT(a->concurrency.enabled, 1);
    VV_CHECK_INT(a->concurrency.limit, 0);
    VV_CHECK_INT(a->concurrency.initial, 20);
    VV_CHECK_INT(b->retries.max, 3);
    VV_CHECK_INT(b->retries.on->count, 2);
    VV_CHECK_INT(b->retries.backoff_ns, 25 * VV_MS);
    VV_CHECK_INT(b->hedge.enabled, 0); /* not given */
    VV_CHECK_INT(b->concurrency.limit, 50);
    VV_CHECK_INT(c->hedge.enabled, 0);
    VV_CHECK_INT(c->concurrency.initial, 10); /* not above max */
    VV_CHECK_INT(route(&l)->priority, 3);
    VV_CHECK_INT(route(&l)->retries, VV_CONF_ABSENT);
    unload(&l);
    service_says("hedge: {min: 2s, max: 1s}", "min is more than max");
    service_says("concurrency: {min: 50, max: 10}", "min is more than max");
    service_says("concurrency: {initial: 5, min: 10}", "min is more than initial");
    service_says("retries: {when: [5x]}", "\"5x\" is no failure");
    service_says("retries: {backoff: 1s}", "backoff is more than max_backoff");
    routes_say("- {to: a}\n- {path: /f, respond: 204, retries: 2, breaker: x}\n",
               "warning: retries does nothing without \"to\"");
    check_says("listen: 80\nservices: {a: {servers: [h:1], hedge: true}}\nroutes: [{to: a}]\n",
               "warning: service \"a\" has nobody else to ask");
}

VV_TEST(the_root_has_bounds_for_chaos_and_overload)
{
    struct loaded l = load_fine("listen: 80\nchaos: true\noverload: {memory: 80%, delay: 50ms}\n"
                                "deadline_header: X-Left\ndefaults: {server_timing: true}\n"
                                "routes: [{path: /x, to: \"http://h:1\", server_timing: false}, "
                                "{to: \"http://h:1\"}]\n");
    VV_CHECK_INT(l.s->chaos.enabled, 1);
    VV_CHECK_INT(l.s->chaos.time_max_ns, 600 * VV_SEC);
    VV_CHECK_INT(l.s->overload.memory_ppm, 800000);
    VV_CHECK_INT(l.s->overload.delay_ns, 50 * VV_MS);
    VV_CHECK_INT(l.s->overload.keys, 1000000);
    VV_CHECK_STR(l.s->deadline_header, "X-Left");
    VV_CHECK_INT(route(&l)->server_timing, 0);
    VV_CHECK_INT(((struct vv_route_settings *)l.s->routes->item[1])->server_timing, 1);
    unload(&l);
    l = load_fine("listen: 80\nroutes: [{to: \"http://h:1\"}]\n");
    VV_CHECK_INT(l.s->chaos.enabled, 0);
    VV_CHECK(l.s->deadline_header == NULL);
    VV_CHECK_INT(route(&l)->server_timing, 0);
    unload(&l);
    root_says("deadline_header: \"a b\"", "cannot be the name of a header");
}

/* ---- fallback ------------------------------------------------------------------------------ */

static void check_literal(const char *keys, uint64_t status, const char *type, const char *body)
{
    struct loaded l = fine_route(keys);
    const struct vv_fallback_settings *f = &route(&l)->fallback;
    VV_CHECK_INT(f->kind, VV_FALLBACK_LITERAL);
    VV_CHECK_INT(f->status, status);
    VV_CHECK_STR(f->type, type);
    VV_CHECK_STR(f->body, body);
    VV_CHECK_INT(f->body_bytes, strlen(body));
    unload(&l);
}

VV_TEST(a_fallback_is_one_of_its_forms_or_the_json_itself)
{
    check_literal("fallback: {name: User, plan: free}", 200, "application/json",
                  "{\"name\":\"User\",\"plan\":\"free\"}");
    check_literal("fallback: []", 200, "application/json", "[]");
    check_literal("fallback: sorry", 200, "application/json", "\"sorry\"");
    check_literal("fallback: {json: {to: 5}}", 200, "application/json", "{\"to\":5}");
    check_literal("fallback: {json: null, status: 503}", 503, "application/json", "null");
    check_literal("fallback: {body: later, status: 503}", 503, "text/plain; charset=utf-8",
                  "later");
    check_literal("fallback: {body: <p>, type: text/html}", 200, "text/html", "<p>");
    check_literal("fallback: {status: 200}", 200, "application/json", "{\"status\":200}");
    check_literal("fallback: {to: b, name: x}", 200, "application/json",
                  "{\"to\":\"b\",\"name\":\"x\"}");
    struct loaded l = fine_route("fallback: {to: b}");
    VV_CHECK_INT(route(&l)->fallback.kind, VV_FALLBACK_TO);
    VV_CHECK_STR(route(&l)->fallback.to, "b");
    unload(&l);
    l = fine_route("fallback: {to: \"http://spare:9\"}");
    VV_CHECK_STR(route(&l)->fallback.to, "spare:9");
    VV_CHECK_STR(l.s->services->name[2], "spare:9");
    unload(&l);
    l = fine_route("cache: 5m, fallback: {stale: true}");
    VV_CHECK_INT(route(&l)->fallback.kind, VV_FALLBACK_STALE);
    unload(&l);
    l = fine_route("limit: 1/s"); /* none */
    VV_CHECK_INT(route(&l)->fallback.kind, VV_FALLBACK_NONE);
    unload(&l);
}

VV_TEST(a_fallback_may_be_a_file)
{
    static const char text[] = "listen: 80\nroutes: [{to: \"http://h:1\", fallback: {file: "
                               "ten_mistakes.yaml, status: 503}}]\n";
    const struct vv_conf_source source = {.path = VV_TEST_DATA "/v.yaml", .text = text};
    struct loaded l = load_source(&source);
    VV_CHECK_STR(l.problems, "");
    const struct vv_fallback_settings *f = &route(&l)->fallback;
    VV_CHECK_INT(f->kind, VV_FALLBACK_LITERAL);
    VV_CHECK_INT(f->status, 503);
    VV_CHECK_INT(f->body_bytes, strlen(f->body));
    VV_CHECK(strstr(f->body, "rewrite: \"/people/{user}\"") != NULL);
    unload(&l);
    route_says("fallback: {file: none.html}", "error: cannot read none.html: files may not");
}

VV_TEST(mistakes_of_fallbacks_are_told)
{
    route_says("fallback: {to: c}", "v.yaml:4:38: error: no service named \"c\"");
    route_says("fallback: {to: a}", "service \"a\" cannot stand in for itself");
    route_says("fallback: {to: [b]}", "to, file and body of a fallback are texts");
    route_says("fallback: {stale: true}", "keeps no answers that could be sent");
    route_says("fallback: {stale: false}", "the only value of stale is true");
    route_says("fallback: {to: b, status: 200}", "do not go together");
    route_says("fallback: {body: x, json: 1}", "do not go together");
    route_says("fallback: {body: x, status: 99}", "a number from 200 to 599");
    route_says("fallback: {json: {a: 1, a: 2}}", "key \"a\" is given twice");
    routes_say("- {to: a}\n- {path: /r, respond: 204, fallback: []}\n",
               "fallback does nothing here");
}

VV_TEST(the_fallback_of_files_is_a_name)
{
    struct loaded l = load_fine("listen: 80\nroutes: [{files: ., fallback: index.html}]\n");
    VV_CHECK_STR(route(&l)->files.fallback, "index.html");
    VV_CHECK_INT(route(&l)->fallback.kind, VV_FALLBACK_NONE);
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_show(vv_settings_doc(l.s), VV_CONF_SHOW_LONG, &sb);
    VV_CHECK(strstr(sb.p, "      fallback: index.html\n") != NULL); /* below files */
    VV_CHECK(strstr(sb.p, "\n    fallback:") == NULL);              /* not twice */
    struct loaded again = load_text(sb.p);
    VV_CHECK_STR(again.problems, "");
    unload(&again);
    vv_sb_fini(&sb);
    unload(&l);
    check_says("listen: 80\nroutes: [{files: ., fallback: {a: 1}}]\n", "is the name of a file");
    check_says("listen: 80\nroutes: [{files: {root: ., fallback: a}, fallback: b}]\n",
               "\"fallback\" and \"files.fallback\" are the same");
}

/* ---- compose, canary, mirror --------------------------------------------------------------- */

VV_TEST(compose_has_parts_with_their_own_times_and_fallbacks)
{
    struct loaded l = load_fine(
        "listen: 80\n"
        "services: {users: [h:1], ideas: [h:2]}\n"
        "routes:\n"
        "- path: /users/{id}/dashboard\n"
        "  compose:\n"
        "    strategy: fail_fast\n"
        "    parts:\n"
        "      user_profile: {to: users, path: \"/users/{id}\", priority: critical, timeout: 2s,\n"
        "                     fallback: {name: User, plan: free}}\n"
        "      ai: {to: ideas, path: \"/ideas/{id}\", timeout: 8s}\n"
        "      extra: \"http://h:3\"\n");
    const struct vv_compose_settings *k = &route(&l)->compose;
    VV_CHECK_INT(route(&l)->action, VV_ACTION_COMPOSE);
    VV_CHECK_INT(k->strategy, 1);
    VV_CHECK_INT(k->timeout_ns, 10 * VV_SEC);
    VV_CHECK_INT(k->parts->count, 3);
    const struct vv_part_settings *p = k->parts->item[0], *extra = k->parts->item[2];
    VV_CHECK_STR(p->name, "user_profile");
    VV_CHECK_INT(p->priority, 1);
    VV_CHECK_INT(p->timeout_ns, 2 * VV_SEC);
    VV_CHECK_STR(p->method, "GET");
    VV_CHECK_STR(p->fallback.body, "{\"name\":\"User\",\"plan\":\"free\"}");
    VV_CHECK_STR(extra->to, "h:3"); /* a service was made for it */
    VV_CHECK_INT(extra->timeout_ns, 10 * VV_SEC);
    VV_CHECK_INT(extra->priority, 0);
    VV_CHECK(extra->path == NULL);
    unload(&l);
}

VV_TEST(mistakes_of_compose_are_told)
{
    routes_say("- {compose: {parts: {p: {to: b}}}}\n", "no service named \"b\"");
    routes_say("- {compose: {parts: {}}}\n", "composed of 1 to 32 parts, not of 0");
    routes_say("- {compose: {parts: {degraded: a}}}\n", "a member \"degraded\" of its own");
    routes_say("- {compose: {timeout: 1s}}\n", "compose needs \"parts\"");
    routes_say("- {compose: {parts: {p: a}}, to: a}\n",
               "a route has one action, this one has \"to\" and \"compose\"");
    routes_say("- {path: \"/u/{id}\", compose: {parts: {p: {to: a, path: \"/u/{user}\"}}}}\n",
               "\"{user}\" is no parameter of the path");
    routes_say("- {compose: {parts: {p: {to: a, path: u}}}}\n", "write /u");
    routes_say("- {compose: {timeout: 1s, parts: {p: {to: a, timeout: 2s}}}}\n",
               "warning: part \"p\" may take longer than all parts together");
    routes_say("- {compose: {parts: {user: a}, body: '{\"u\": {{users}}}'}}\n",
               "no part named \"users\"");
    routes_say("- {compose: {parts: {user: a}, body: '{\"u\": {{user}'}}\n", "is never closed");
    routes_are_fine("- {compose: {parts: {user: a}, body: '{\"u\": {{user}}, \"d\": "
                    "{{degraded}}}'}}\n");
    routes_say("- {compose: {parts: {p: {to: a, fallback: {to: x}}}}}\n", "no service named \"x\"");
}

VV_TEST(canaries_and_mirrors_name_another_service)
{
    struct loaded l = fine_route("canary: {to: b, share: 5%, steps: [5%, 25%, 50%, 100%], "
                                 "every: 10m, header: X-Canary}, mirror: b");
    const struct vv_canary_settings *k = &route(&l)->canary;
    VV_CHECK_INT(k->enabled, 1);
    VV_CHECK_STR(k->to, "b");
    VV_CHECK_INT(k->share_ppm, 50000);
    VV_CHECK_INT(k->steps->count, 4);
    VV_CHECK_STR(k->sticky, "$client_ip");
    VV_CHECK_INT(k->automatic, 1);
    VV_CHECK_INT(route(&l)->mirror.enabled, 1);
    VV_CHECK_STR(route(&l)->mirror.to, "b");
    VV_CHECK_INT(route(&l)->mirror.share_ppm, VV_PPM);
    VV_CHECK_INT(((struct vv_route_settings *)l.s->routes->item[1])->canary.enabled, 0);
    unload(&l);
    route_says("canary: {to: a}", "service \"a\" cannot be tried against itself");
    route_says("canary: {to: x}", "no service named \"x\"");
    route_says("mirror: x", "no service named \"x\"");
    route_says("canary: {to: b, steps: [5%, 5%]}", "the steps of a canary rise");
    route_says("canary: {to: b, steps: [5]}", "\"5\" is no share above 0% and up to 100%");
    route_says("canary: {to: b, sticky: $clientip}", "did you mean \"$client_ip\"?");
    route_says("canary: {to: b, header: \"a b\"}", "cannot be the name of a header");
    route_says("canary: {share: 5%}", "canary needs \"to\"");
    routes_say("- {to: a}\n- {path: /r, respond: 204, mirror: a}\n",
               "warning: mirror does nothing without \"to\"");
}

VV_TEST(a_service_that_only_guards_use_is_used)
{
    static const char *const keys[] = {"fallback: {to: b}", "canary: b", "mirror: b"};
    for (size_t i = 0; i < VV_COUNT(keys); i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "listen: 80\nservices: {a: [h:1], b: [h:2]}\nroutes: [{to: a, %s}]\n", keys[i]);
        struct loaded l = load_fine(text);
        unload(&l);
    }
    routes_are_fine("- {compose: {parts: {p: a}}}\n");
}

VV_TEST(what_is_shown_of_guards_loads_again_and_is_the_same)
{
    struct loaded l = load_fine(
        "listen: {web: {port: 80, limit: {rate: 100/s, burst: 200}}}\n"
        "services: {a: {servers: [h:1, h:2], retries: 2, hedge: true, concurrency: 50}, b: [h:3]}\n"
        "access: {keys: k, plans: {standard: {rate: 10000/h, burst: 500}}, jwt: j.json}\n"
        "chaos: true\n"
        "routes:\n"
        "- {path: /c, compose: {parts: {p: {to: a, fallback: {rest: -1.50}}}}}\n"
        "- {to: a, access: bearer, limit: [5/s, {per: $host, quota: 9/h}], canary: {to: b, steps: "
        "[5%]}, fallback: {to: b}}\n");
    char *shown[2];
    struct vv_settings *s = l.s;
    struct loaded again = {0};
    for (size_t i = 0; i < 2; i++) {
        struct vv_sb sb = VV_SB_INIT;
        vv_conf_show(vv_settings_doc(s), VV_CONF_SHOW_LONG, &sb);
        shown[i] = vv_sb_take(&sb);
        if (i == 0) {
            again = load_fine(shown[0]);
            s = again.s;
        }
    }
    VV_CHECK_STR(shown[0], shown[1]);
    VV_CHECK(strstr(shown[0], "rest: -1.50") != NULL);
    unload(&again);
    unload(&l);
    free(shown[0]);
    free(shown[1]);
}

/* ---- the examples -------------------------------------------------------------------------- */

static const char *environment(void *user, const char *name)
{
    const char *const *pair = user;
    for (; pair[0] != NULL; pair += 2) {
        if (strcmp(pair[0], name) == 0) {
            return pair[1];
        }
    }
    return NULL;
}

static struct loaded load_example(const char *path, const char *const *env)
{
    const struct vv_conf_source source = {
        .path = path, .env = environment, .env_user = (void *)(uintptr_t)env};
    struct loaded l = load_source(&source);
    VV_CHECK_STR(l.problems, "");
    return l;
}

static const void *named(const struct vv_conf_list *list, const char *name)
{
    for (size_t i = 0; i < vv_list_count(list); i++) {
        if (strcmp(list->name[i], name) == 0) {
            return list->item[i];
        }
    }
    fail_msg("nothing is named \"%s\"", name);
    return NULL;
}

static const struct vv_route_settings *route_named(const struct loaded *l, const char *name)
{
    for (size_t i = 0; i < l->s->routes->count; i++) {
        const struct vv_route_settings *r = l->s->routes->item[i];
        if (strcmp(r->name, name) == 0) {
            return r;
        }
    }
    fail_msg("no route is named \"%s\"", name);
    return NULL;
}

static void check_plan(const struct loaded *l, const char *name, uint64_t an_hour, uint64_t burst,
                       uint64_t concurrent)
{
    const struct vv_plan_settings *p = named(l->s->access.plans, name);
    VV_CHECK_INT(p->limit.rate_count, an_hour);
    VV_CHECK_INT(p->limit.rate_per_ns, VV_HOUR);
    VV_CHECK_INT(p->limit.burst, burst);
    VV_CHECK_INT(p->limit.concurrent, concurrent);
}

VV_TEST(the_example_of_limits_has_the_tiers)
{
    static const char *const none[] = {NULL};
    struct loaded l = load_example(VV_EXAMPLES "/limits/vivace.yaml", none);
    const struct vv_listen_settings *web = named(l.s->listen, "web"),
                                    *small = named(l.s->listen, "small");
    check_plan(&l, "standard", 10000, 500, 100);
    check_plan(&l, "premium", 50000, 2000, 500);
    check_plan(&l, "enterprise", 100000, 5000, 1000);
    VV_CHECK_INT(limit(web->limits, 0)->rate_count, 100);
    VV_CHECK_INT(limit(web->limits, 0)->rate_per_ns, VV_SEC);
    VV_CHECK_INT(limit(web->limits, 0)->burst, 200); /* and the first: 201 */
    VV_CHECK_INT(limit(small->limits, 0)->rate_count, 200);
    VV_CHECK_INT(limit(small->limits, 0)->rate_per_ns, VV_MINUTE);
    VV_CHECK_INT(limit(small->limits, 0)->burst + 1, 300); /* at once */
    unload(&l);
}

static void check_ai_service(const struct loaded *l, uint64_t failures, uint64_t recover_ns,
                             uint64_t window_ns)
{
    const struct vv_breaker_settings *b = named(l->s->breakers, "ai_service");
    VV_CHECK_INT(b->failures, failures);
    VV_CHECK_INT(b->recover_ns, recover_ns);
    VV_CHECK_INT(b->window_ns, window_ns);
    VV_CHECK_INT(b->accept_ppm, 100000);
}

static void check_coalescing(const struct loaded *l, uint64_t keep_ns, uint64_t entries)
{
    const struct vv_route_settings *r = route_named(l, "rest");
    VV_CHECK_INT(r->coalesces, 1);
    VV_CHECK_INT(r->coalesce.keep_ns, keep_ns);
    VV_CHECK_INT(r->coalesce.entries, entries);
}

VV_TEST(the_example_of_resilience_has_the_presets)
{
    static const char *const none[] = {NULL};
    struct loaded l = load_example(VV_EXAMPLES "/resilience/vivace.yaml", none);
    const struct vv_breaker_settings *database = named(l.s->breakers, "database");
    check_ai_service(&l, 5, 60 * VV_SEC, 300 * VV_SEC);
    VV_CHECK_INT(database->failures, 3);
    VV_CHECK_INT(database->recover_ns, 30 * VV_SEC);
    VV_CHECK_INT(database->accept_ppm, 50000);
    VV_CHECK_INT(database->window_ns, 300 * VV_SEC);
    const struct vv_compose_settings *dashboard = &route_named(&l, "userDashboard")->compose,
                                     *analytics = &route_named(&l, "analytics")->compose;
    VV_CHECK_INT(dashboard->strategy, 1); /* fail_fast */
    VV_CHECK_INT(dashboard->timeout_ns, 10 * VV_SEC);
    const struct vv_part_settings *user = named(dashboard->parts, "user_profile"),
                                  *ideas = named(dashboard->parts, "ai_recommendations");
    VV_CHECK_INT(user->priority, 1);
    VV_CHECK_INT(user->timeout_ns, 2 * VV_SEC);
    VV_CHECK_STR(user->fallback.body, "{\"name\":\"User\",\"plan\":\"free\"}");
    VV_CHECK_INT(ideas->priority, 0);
    VV_CHECK_INT(ideas->timeout_ns, 8 * VV_SEC);
    VV_CHECK_INT(ideas->fallback.kind, VV_FALLBACK_NONE);
    VV_CHECK_INT(analytics->strategy, 0); /* best_effort */
    VV_CHECK_INT(route_named(&l, "profile")->coalesce.keep_ns, 30 * VV_SEC);
    VV_CHECK_STR(route_named(&l, "profile")->coalesce.key, "user-{id}-profile");
    VV_CHECK_INT(route_named(&l, "ideas")->coalesce.keep_ns, 1800 * VV_SEC);
    check_coalescing(&l, 30 * VV_SEC, 1000);
    VV_CHECK_INT(l.s->log_level, 2); /* warn */
    unload(&l);
}

VV_TEST(profiles_and_variables_change_the_presets)
{
    static const char *const development[] = {"ENVIRONMENT", "development", NULL};
    struct loaded l = load_example(VV_EXAMPLES "/resilience/vivace.yaml", development);
    check_ai_service(&l, 3, 30 * VV_SEC, 300 * VV_SEC);
    check_coalescing(&l, 5 * VV_SEC, 100);
    VV_CHECK_INT(l.s->log_level, 0); /* debug */
    unload(&l);
    static const char *const set[] = {"CIRCUIT_BREAKER_FAILURE_THRESHOLD",
                                      "7",
                                      "CIRCUIT_BREAKER_RECOVERY_TIMEOUT",
                                      "1500",
                                      "CIRCUIT_BREAKER_MONITORING_WINDOW",
                                      "10000",
                                      "REQUEST_COALESCER_TTL",
                                      "2500",
                                      "REQUEST_COALESCER_MAX_CACHE_SIZE",
                                      "50",
                                      NULL};
    l = load_example(VV_EXAMPLES "/resilience/vivace.yaml", set);
    check_ai_service(&l, 7, 1500 * VV_MS, 10 * VV_SEC);
    check_coalescing(&l, 2500 * VV_MS, 50);
    unload(&l);
}

#define SHARING "stores: {local: \"redis://127.0.0.1:1\", far: \"redis://127.0.0.1:2\"}\n"

VV_TEST(limits_and_plans_are_shared_where_the_nearest_says)
{
    struct loaded l = load_text(
        SHARING "defaults: {share: local}\n"
                "listen: {web: {port: 80, limit: 5/s}}\n"
                "access: {keys: k, share: far, plans: {standard: 5/s}}\n"
                "breakers: {b: {share: far}, c: {}}\n"
                "services: {s: {servers: [h:1], breaker: b}, u: {servers: [h:2], breaker: c}}\n"
                "routes:\n- {path: /a, to: s, limit: [5/s, {rate: 6/s, share: far}]}\n"
                "- {path: /b, to: u, limit: {rate: 6/s, share: none}}\n");
    VV_CHECK_STR(l.problems, "");
    const struct vv_listen_settings *web = l.s->listen->item[0];
    const struct vv_route_settings *b = l.s->routes->item[1];
    const struct vv_plan_settings *plan = l.s->access.plans->item[0];
    VV_CHECK_STR(limit(web->limits, 0)->share, "local");
    VV_CHECK_STR(limit(route(&l)->limits, 0)->share, "local");
    VV_CHECK_STR(limit(route(&l)->limits, 1)->share, "far");
    VV_CHECK(limit(b->limits, 0)->share == NULL);
    VV_CHECK_STR(plan->limit.share, "far");
    VV_CHECK_STR(((const struct vv_breaker_settings *)l.s->breakers->item[0])->share, "far");
    VV_CHECK(((const struct vv_breaker_settings *)l.s->breakers->item[1])->share == NULL);
    unload(&l);
}

VV_TEST(a_store_that_is_not_there_shares_nothing)
{
    root_says(SHARING "access: {keys: k, share: lokal, plans: {standard: 5/s}}",
              "did you mean \"local\"");
    root_says(SHARING "defaults: {share: fa}", "did you mean \"far\"");
    root_says("breakers: {b: {share: local}}", "local");
    root_says("stores: {m: \"\"}\naccess: {keys: k, share: m, plans: {standard: 5/s}}",
              "nothing is shared in it");
}
