/* tests/unit/gateway/test_settings.c - what the configuration means: defaults, nearest wins, services
 * for bare URLs, and each check across values with the place of the other end. */
#include "settings_test.h"

/* ---- meaning ------------------------------------------------------------------------------- */

VV_TEST(three_lines_are_a_configuration)
{
    struct loaded l = load_fine("listen: 8080\nroutes:\n  - to: http://127.0.0.1:3000\n");
    const struct vv_listen_settings *listen = l.s->listen->item[0];
    const struct vv_route_settings *r = l.s->routes->item[0];
    const struct vv_service_settings *s = l.s->services->item[0];
    const struct vv_server_settings *server = s->servers->item[0];
    VV_CHECK_STR(listen->name, "default");
    VV_CHECK_INT(listen->port, 8080);
    VV_CHECK_INT(listen->keepalive_ns, 75 * VV_SEC);
    VV_CHECK_STR(r->path, "/");
    VV_CHECK_STR(r->name, "/");
    VV_CHECK_INT(r->action, VV_ACTION_TO);
    VV_CHECK_STR(r->to, "127.0.0.1:3000");
    VV_CHECK_INT(r->at.line, 3);
    VV_CHECK_INT(r->expires_ns, VV_CONF_ABSENT);
    VV_CHECK_INT(r->body_bytes_max, VV_CONF_ABSENT);
    VV_CHECK_STR(s->name, "127.0.0.1:3000");
    VV_CHECK_STR(server->url, "http://127.0.0.1:3000");
    VV_CHECK_INT(server->weight, 1);
    VV_CHECK_INT(s->keepalive, 256);
    VV_CHECK_INT(s->balance.balancer, VV_BALANCER_LEAST_CONN);
    VV_CHECK_INT(s->balance.max_fails, 3);
    VV_CHECK_INT(s->balance.fail_timeout_ns, 10 * VV_SEC);
    VV_CHECK_INT(s->check.timing.enabled, 0);
    VV_CHECK_STR(l.s->admin, "127.0.0.1:9180");
    VV_CHECK_INT(l.s->workers, 0);
    unload(&l);
}

VV_TEST(one_url_makes_one_service_however_often_it_is_named)
{
    struct loaded l =
        load_fine("listen: 80\nroutes:\n- {path: /a, to: \"http://h:1\"}\n"
                  "- {path: /b, to: \"http://h:1/\"}\n- {path: /c, to: \"unix:/s\"}\n");
    VV_CHECK_INT(l.s->services->count, 2);
    VV_CHECK_STR(l.s->services->name[0], "h:1");
    VV_CHECK_STR(l.s->services->name[1], "unix:/s");
    VV_CHECK_STR(((struct vv_route_settings *)l.s->routes->item[1])->to, "h:1");
    unload(&l);
}

VV_TEST(timeouts_come_from_the_nearest_place)
{
    struct loaded l = load_fine(
        "listen: {web: {port: 80, header_timeout: 4s}, app: 81}\n"
        "defaults: {timeout: 30s, timeouts: {header: 6s, connect: 2s, idle: 9s}}\n"
        "services: {a: {servers: [h:1], connect_timeout: 1s, idle_timeout: 8s}}\n"
        "routes:\n- {path: /x, to: a, timeouts: {idle: 7s}}\n- {path: /y, to: a, timeout: 5s}\n"
        "- {path: /z, respond: 204}\n");
    const struct vv_route_settings *x = l.s->routes->item[0], *y = l.s->routes->item[1];
    const struct vv_route_settings *z = l.s->routes->item[2];
    const struct vv_service_settings *a = l.s->services->item[0];
    VV_CHECK_INT(x->timeouts.idle_ns, 7 * VV_SEC);        /* the route's */
    VV_CHECK_INT(y->timeouts.idle_ns, 8 * VV_SEC);        /* the service's */
    VV_CHECK_INT(z->timeouts.idle_ns, 9 * VV_SEC);        /* the defaults' */
    VV_CHECK_INT(x->timeouts.connect_ns, 1 * VV_SEC);     /* the service's */
    VV_CHECK_INT(z->timeouts.connect_ns, 2 * VV_SEC);     /* the defaults' */
    VV_CHECK_INT(x->timeouts.first_byte_ns, 60 * VV_SEC); /* nobody's: built in */
    VV_CHECK_INT(a->first_byte_ns, 60 * VV_SEC);
    VV_CHECK_INT(x->timeouts.whole_ns, 30 * VV_SEC);
    VV_CHECK_INT(y->timeouts.whole_ns, 5 * VV_SEC);
    VV_CHECK_INT(((struct vv_listen_settings *)l.s->listen->item[0])->header_timeout_ns,
                 4 * VV_SEC);
    VV_CHECK_INT(((struct vv_listen_settings *)l.s->listen->item[1])->header_timeout_ns,
                 6 * VV_SEC);
    unload(&l);
}

VV_TEST(header_edits_of_the_defaults_join_those_of_the_route)
{
    struct loaded l = load_fine("listen: 80\ndefaults: {headers: {X-A: \"1\", X-B: \"2\"}}\n"
                                "routes: [{respond: 204, headers: {x-a: null}}]\n");
    const struct vv_conf_list *edits = ((struct vv_route_settings *)l.s->routes->item[0])->headers;
    const struct vv_header_edit *first = edits->item[0], *second = edits->item[1];
    VV_CHECK_INT(edits->count, 2);
    VV_CHECK_STR(first->name, "x-a");
    VV_CHECK(first->value == NULL); /* removes; the default's X-A is overruled */
    VV_CHECK_STR(second->name, "X-B");
    unload(&l);
}

VV_TEST(each_action_has_its_short_form)
{
    struct loaded l =
        load_fine("listen: 80\nroutes:\n- {path: /f, files: ./public, fallback: i.html}\n"
                  "- {path: /r, redirect: \"https://$host$uri\"}\n- {path: /n, respond: 204}\n"
                  "- {path: /t, respond: hello}\n");
    const struct vv_route_settings *f = l.s->routes->item[0], *r = l.s->routes->item[1];
    const struct vv_route_settings *n = l.s->routes->item[2], *t = l.s->routes->item[3];
    VV_CHECK_INT(f->action, VV_ACTION_FILES);
    VV_CHECK_STR(f->files.root, "./public");
    VV_CHECK_STR(f->files.fallback, "i.html");
    VV_CHECK_INT(f->files.precompressed, 1);
    VV_CHECK_INT(r->action, VV_ACTION_REDIRECT);
    VV_CHECK_INT(r->redirect.status, 308);
    VV_CHECK_INT(n->action, VV_ACTION_RESPOND);
    VV_CHECK_INT(n->respond.status, 204);
    VV_CHECK_STR(t->respond.body, "hello");
    VV_CHECK_INT(t->respond.status, 200);
    unload(&l);
}

VV_TEST(checks_and_words_have_their_short_forms)
{
    struct loaded l = load_fine("listen: 80\nadmin: none\nworkers: 3\ndns: 127.0.0.53\n"
                                "access_log: \"-\"\nlog: {level: warn, format: json}\n"
                                "services: {a: {servers: [h:1], check: /health}}\n"
                                "routes: [{to: a, when_query: {debug: \"*\", x: \"1\"}}]\n");
    const struct vv_service_settings *a = l.s->services->item[0];
    const struct vv_route_settings *r = l.s->routes->item[0];
    VV_CHECK(l.s->admin == NULL);
    VV_CHECK_INT(l.s->workers, 3);
    VV_CHECK_STR(l.s->dns_servers->item[0], "127.0.0.53");
    VV_CHECK_STR(l.s->access_log.path, "-");
    VV_CHECK_INT(l.s->log_level, 2);
    VV_CHECK_INT(a->check.timing.enabled, 1);
    VV_CHECK_STR(a->check.path, "/health");
    VV_CHECK_INT(a->check.timing.every_ns, 10 * VV_SEC);
    VV_CHECK_INT(a->check.expect->count, 2);
    VV_CHECK(((struct vv_header_match *)r->match_query->item[0])->value == NULL);
    VV_CHECK_STR(((struct vv_header_match *)r->match_query->item[1])->value, "1");
    unload(&l);
}

VV_TEST(a_bare_admin_port_stays_on_this_machine)
{
    struct loaded l = load_fine("listen: 80\nadmin: 9999\nroutes: [{respond: 204}]\n");
    VV_CHECK_STR(l.s->admin, "127.0.0.1:9999");
    unload(&l);
}

VV_TEST(host_names_are_kept_in_small_letters)
{
    struct loaded l = load_fine("listen: {web: {port: 80, names: [Shop.Example.ORG]}}\n"
                                "routes: [{host: WWW.example.org, respond: 204}]\n");
    VV_CHECK_STR(((struct vv_listen_settings *)l.s->listen->item[0])->names->item[0],
                 "shop.example.org");
    VV_CHECK_STR(((struct vv_route_settings *)l.s->routes->item[0])->hosts->item[0],
                 "www.example.org");
    unload(&l);
}

VV_TEST(ten_thousand_routes_load)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_adds(&sb, "listen: 80\nroutes:\n");
    for (int i = 0; i < 10000; i++) {
        vv_sb_addf(&sb, "- {path: /a%d/, to: \"http://127.0.0.1:%d\"}\n", i, 1 + i % 60000);
    }
    struct loaded l = load_fine(sb.p);
    VV_CHECK_INT(l.s->routes->count, 10000);
    VV_CHECK_INT(l.s->services->count, 10000);
    unload(&l);
    vv_sb_fini(&sb);
}

/* ---- checks -------------------------------------------------------------------------------- */

VV_TEST(an_unknown_service_shows_the_nearest_and_where_it_is)
{
    check_says("listen: 80\nservices:\n  backend_us: [h:1]\nroutes: [{to: backend_uk}]\n",
               "v.yaml:4:15: error: no service named \"backend_uk\"\n"
               "    4 | routes: [{to: backend_uk}]\n"
               "      |               ^~~~~~~~~~ did you mean \"backend_us\" (defined at 3:3)?\n");
}

VV_TEST(an_unknown_listener_shows_the_nearest_and_where_it_is)
{
    check_says("listen:\n  web: 80\n  app: 81\nroutes: [{listen: [web, ap], respond: 204}]\n",
               "no listener named \"ap\"");
    check_says("listen:\n  web: 80\n  app: 81\nroutes: [{listen: [web, ap], respond: 204}]\n",
               "did you mean \"app\" (defined at 3:3)?");
}

VV_TEST(two_listeners_cannot_share_an_address_however_it_is_written)
{
    check_says("listen: {a: 80, b: \":80\"}\nroutes: [{respond: 204}]\n",
               "listener \"b\" has the address of listener \"a\"");
    check_says("listen: {a: 80, b: \":80\"}\nroutes: [{respond: 204}]\n", "first used at 1:13");
    check_says("listen: {a: \"unix:/s\", b: \"unix:/s\"}\nroutes: [{respond: 204}]\n",
               "has the address of listener \"a\"");
    struct loaded l =
        load_fine("listen: {a: \"127.0.0.1:80\", b: \"[::1]:80\"}\nroutes: [{respond: 204}]\n");
    unload(&l);
}

VV_TEST(a_listener_cannot_take_the_admin_address)
{
    check_says("listen: \"127.0.0.1:9180\"\nroutes: [{respond: 204}]\n",
               "has the address of the admin listener, 127.0.0.1:9180");
}

VV_TEST(addresses_are_checked)
{
    check_says("listen: \"nowhere\"\nroutes: [{respond: 204}]\n", "is no address to listen on");
    check_says("listen: {a: {keepalive: 5s}}\nroutes: [{respond: 204}]\n",
               "has neither an address nor a port");
    check_says("listen: {a: {port: 1, address: \":1\"}}\nroutes: [{respond: 204}]\n",
               "has both an address and a port");
    check_says("listen: {a: {port: 1, trust: [10.0.0.0/33]}}\nroutes: [{respond: 204}]\n",
               "\"10.0.0.0/33\" is no block of addresses");
    check_says("listen: 80\nadmin: here\nroutes: [{respond: 204}]\n",
               "\"here\" is no address to listen on");
    check_says("listen: 80\ndns: x\nroutes: [{respond: 204}]\n", "is no address of a name server");
    check_says("listen: 70000\nroutes: [{respond: 204}]\n", "port must be at most 65535");
}

VV_TEST(servers_are_checked)
{
    static const char *const bad[] = {
        "h",       "h:0",   "h:70000",    "h:x",   "http://", "https://",
        "ftp://h", "unix:", "http://h/a", "a b:1", ":80"};
    static const char *const good[] = {"h:1",     "http://h", "http://h:1/",
                                       "unix:/s", "[::1]:80", "a-b.example_1:8000"};
    char text[256];
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        snprintf(text, sizeof text, "listen: 80\nservices: {a: [\"%s\"]}\nroutes: [{to: a}]\n",
                 bad[i]);
        check_says(text, "is no address of a server");
    }
    for (size_t i = 0; i < VV_COUNT(good); i++) {
        snprintf(text, sizeof text, "listen: 80\nservices: {a: [\"%s\"]}\nroutes: [{to: a}]\n",
                 good[i]);
        struct loaded l = load_fine(text);
        unload(&l);
    }
    check_says("listen: 80\nservices: {a: [h:1, h:1]}\nroutes: [{to: a}]\n",
               "server \"h:1\" stands twice in service \"a\"");
    check_says("listen: 80\nservices: {a: []}\nroutes: [{to: a}]\n", "has no servers");
    check_says("listen: 80\nservices: {a: {retries: 1}}\nroutes: [{to: a}]\n",
               "services.a needs \"servers\"");
    check_says("listen: 80\nservices: {a: {servers: [{url: h:1, weight: 1001}]}}\n",
               "weight must be at most 1000");
}

VV_TEST(services_are_checked)
{
    check_says("listen: 80\nservices: {a: {servers: [h:1], balance: hash}}\nroutes: [{to: a}]\n",
               "balance: hash needs a hash_key");
    check_says("listen: 80\nservices: {a: {servers: [h:1], hash_key: $client_ip}}\n"
               "routes: [{to: a}]\n",
               "warning: hash_key does nothing without balance: hash");
    check_says("listen: 80\nservices: {a: {servers: [h:1], check: health}}\nroutes: [{to: a}]\n",
               "write /health");
    check_says("listen: 80\nservices: {a: {servers: [h:1], check: {expect: [ok]}}}\n",
               "\"ok\" is no status");
    check_says("listen: 80\nservices: {a: {servers: [h:1], check: {every: 1s}}}\n",
               "may take longer than the time to the next one");
    check_says("listen: 80\nservices: {a: {servers: [h:1], sticky: \"a b\"}}\n",
               "cannot be the name of a cookie");
    check_says("listen: 80\nservices: {a: [h:1], b: [h:2]}\nroutes: [{to: a}]\n",
               "v.yaml:2:22: warning: no route goes to service \"b\"");
}

VV_TEST(a_route_has_exactly_one_action)
{
    routes_say("- {path: /x}\n", "v.yaml:4:3: error: route \"/x\" does nothing");
    routes_say("- {to: a, respond: 204}\n",
               "a route has one action, this one has \"to\" and \"respond\"");
    routes_say("- {to: a, respond: 204}\n", "(the other at 4:8)");
}

VV_TEST(an_unreachable_route_is_a_warning_with_both_places)
{
    routes_say("- {path: /api/, to: a}\n- {path: /api/v1/, to: a}\n",
               "v.yaml:5:10: warning: route \"/api/v1/\" is never reached: \"/api/\" before it "
               "takes all its requests");
    routes_say("- {path: /api/, to: a}\n- {path: /api/v1/, to: a}\n", "at 4:3)");
    routes_say("- to: a\n- {path: /x, to: a}\n", "is never reached");
    routes_say("- {path: \"/u/{id}\", to: a}\n- {path: \"/u/{name}\", to: a}\n",
               "is never reached");
    routes_say("- {path: \"/d/{all...}\", to: a}\n- {path: /d/x, to: a}\n", "is never reached");
    routes_say("- to: a\n- {path: \"*.png\", to: a}\n", "is never reached");
    /* Conditions leave something over. */
    routes_are_fine("- {path: /api/, methods: GET, to: a}\n- {path: /api/v1/, to: a}\n");
    routes_are_fine("- {path: /api/, host: h, to: a}\n- {path: /api/, to: a}\n");
    routes_are_fine("- {path: /api, to: a}\n- {path: /api/, to: a}\n");
    routes_are_fine("- {path: /apis/, to: a}\n- {path: /api/, to: a}\n");
}

VV_TEST(templates_are_checked_against_variables_and_the_path)
{
    routes_say("- {path: \"/u/{id}\", to: a, rewrite: \"/v/{ib}\"}\n",
               "\"{ib}\" is no parameter of the path \"/u/{id}\"");
    routes_say("- {redirect: \"https://$hots/\"}\n", "did you mean \"$host\"?");
    routes_say("- {respond: \"costs $5\"}\n", "write $$ for a dollar");
    routes_say("- {to: a, headers: {X-A: \"$nothing\"}}\n", "$nothing");
    routes_are_fine("- {path: \"/u/{id}/\", to: a, rewrite: \"/v/{id}/$rest\"}\n");
    routes_are_fine("- {path: /a, to: a}\n- {respond: '{\"ok\": true}'}\n");
    routes_are_fine("- {path: /a, to: a}\n- {respond: costs $$5 at $host}\n");
}

VV_TEST(routes_are_checked)
{
    routes_say("- {path: api, to: a}\n", "write /api");
    routes_say("- {path: \"/a b\", to: a}\n", "a path has no blanks");
    routes_say("- {path: \"/d/{a...}/x\", to: a}\n", "v.yaml:4:10: error: ");
    routes_say("- {methods: [\"G T\"], to: a}\n", "\"G T\" cannot be a method");
    routes_say("- {redirect: {to: /x, status: 304}}\n", "304 is no redirect");
    routes_say("- {respond: 204, rewrite: /x}\n", "warning: rewrite does nothing without \"to\"");
    routes_say("- {to: a, headers: {\"X A\": b}}\n", "cannot be the name of a header");
    routes_say("- {to: a, headers: {X-A: \"b\\nc\"}}\n", "a header has one line only");
    routes_say("- {path: /x, name: nn, to: a}\n- {path: /y, name: nn, to: a}\n",
               "two routes are named \"nn\"");
    routes_say("- {files: {index: i.html}}\n", "routes[0].files needs \"root\"");
}

VV_TEST(a_misspelt_action_is_one_error_not_two)
{
    struct loaded l = load_text("listen: 80\nroutes: [{too: x}]\n");
    VV_CHECK_INT(l.errors, 1);
    unload(&l);
}

VV_TEST(files_named_in_the_file_are_looked_at)
{
    static const char text[] = "listen: 80\nroutes:\n- {path: /f, files: ./vv-no-such-folder}\n"
                               "- {path: /b, respond: \"@vv-no-such-file\"}\n";
    const struct vv_conf_source source = {.path = VV_TEST_DATA "/v.yaml", .text = text};
    struct loaded l = load_source(&source);
    VV_CHECK(strstr(l.problems, "warning: there is no folder " VV_TEST_DATA "/vv-no") != NULL);
    VV_CHECK(strstr(l.problems, "error: cannot read " VV_TEST_DATA "/vv-no-such-file") != NULL);
    unload(&l);
    static const char good[] = "listen: 80\nroutes: [{respond: \"@ten_mistakes.yaml\"}]\n";
    const struct vv_conf_source other = {.path = VV_TEST_DATA "/v.yaml", .text = good};
    l = load_source(&other);
    VV_CHECK_STR(l.problems, "");
    const struct vv_respond_settings *r =
        &((struct vv_route_settings *)l.s->routes->item[0])->respond;
    VV_CHECK_INT(r->body_literal, 1); /* braces of a file are no parameters */
    VV_CHECK(strstr(r->body, "rewrite: \"/people/{user}\"") != NULL);
    unload(&l);
}

static char *data_file(const char *name)
{
    char path[512], *text = calloc(1, 65536);
    snprintf(path, sizeof path, "%s/%s", VV_TEST_DATA, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    return text;
}

VV_TEST(ten_mistakes_give_ten_errors_with_place_reason_and_suggestion)
{
    char *text = data_file("ten_mistakes.yaml"), *want = data_file("ten_mistakes.txt");
    const struct vv_conf_source source = {.path = "ten_mistakes.yaml", .text = text};
    struct loaded l = load_source(&source);
    VV_CHECK_INT(l.errors, 10);
    VV_CHECK_STR(l.problems, want);
    unload(&l);
    free(text);
    free(want);
}

/* ---- the rows themselves ------------------------------------------------------------------- */

static void cover(const struct vv_conf_section *section, unsigned char *used)
{
    for (size_t i = 0; i < section->row_count; i++) {
        const struct vv_conf_row *row = &section->rows[i];
        if (row->type == VV_CONF_SECTION) {
            cover(row->section, used + row->offset);
        } else if (row->type < VV_CONF_INCLUDE) {
            memset(used + row->offset, 1, row->type == VV_CONF_AT ? sizeof(struct vv_conf_pos) : 8);
        }
    }
}

static void check_section(const struct vv_conf_section *section)
{
    unsigned char used[2048] = {0};
    VV_CHECK(section->size <= sizeof used);
    cover(section, used);
    /* A few small sections describe part of a bigger struct; the root covers the whole of it. */
    const bool part = strcmp(section->name, "log") == 0 || strcmp(section->name, "dns") == 0 ||
                      strcmp(section->name, "outlier") == 0;
    for (size_t i = 0; i < section->size; i++) {
        if (!part && used[i] == 0) {
            fail_msg("byte %zu of section %s has no row", i, section->name);
        }
    }
    for (size_t i = 0; i < section->row_count; i++) {
        const struct vv_conf_row *row = &section->rows[i];
        VV_CHECK(row->key == NULL || row->doc != NULL);
        if (row->doc != NULL && row->doc[strlen(row->doc) - 1] != '.' &&
            row->doc[strlen(row->doc) - 1] != '"') {
            fail_msg("the text of %s.%s is no sentence", section->name, row->key);
        }
        if (row->section != NULL) {
            check_section(row->section);
        }
    }
}

VV_TEST(every_field_of_every_struct_has_a_row_and_every_key_a_sentence)
{
    check_section(vv_settings_section());
}

VV_TEST(the_sample_file_loads_without_a_word)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_sample(vv_settings_section(), &sb);
    struct loaded l = load_fine(sb.p);
    unload(&l);
    vv_sb_fini(&sb);
}

/* Takes the comment sign off the line at `at` ("  # key: value"). */
static bool uncomment(char *at)
{
    char *sign = at + strspn(at, " ");
    char *colon = strchr(sign, ':');
    if (sign[0] != '#' || sign[1] != ' ' || colon == NULL ||
        (size_t)(colon - sign) != 2 + strspn(sign + 2, "abcdefghijklmnopqrstuvwxyz_")) {
        return false;
    }
    memmove(sign, sign + 2, strcspn(sign, "\n") - 2);
    sign[strcspn(sign, "\n") - 2] = ' ';
    sign[strcspn(sign, "\n") - 1] = ' ';
    return true;
}

VV_TEST(every_default_and_example_of_the_sample_file_is_a_good_value)
{
    struct vv_sb sb = VV_SB_INIT;
    size_t tried = 0;
    vv_conf_sample(vv_settings_section(), &sb);
    for (size_t at = 0; at < sb.n; at += strcspn(sb.p + at, "\n") + 1) {
        char *text = strdup(sb.p);
        if (uncomment(text + at)) {
            struct loaded l = load_text(text);
            /* What one key more may rightly lead to: a second action, a file that is not read. */
            const bool fine = l.errors == 0 || strstr(l.problems, "a route has one action") ||
                              strstr(l.problems, "files may not be included here") ||
                              strstr(l.problems, "has both an address and a port") ||
                              strstr(l.problems, "error: no breaker named") ||
                              strstr(l.problems, "error: no service named") ||
                              strstr(l.problems, "error: no store named") ||
                              strstr(l.problems, "\"bearer\" needs access.keys");
            if (!fine) {
                fail_msg("%.*s:\n%s", (int)strcspn(sb.p + at, "\n"), sb.p + at, l.problems);
            }
            unload(&l);
            tried++;
        }
        free(text);
    }
    VV_CHECK(tried > 50);
    vv_sb_fini(&sb);
}
