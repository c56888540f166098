/* tests/unit/gateway/test_upstream_tls.c - secure servers: what their URLs may be, what they are called,
 * and when a reload keeps how they are spoken to. */
#include "gateway/names.h"
#include "gateway/upstream_tls.h"
#include "os/tls_local.h"
#include "rig.h"
#include "settings_test.h"
#include <sys/stat.h>

/* ---- the settings ---- */

#define SERVICE(text)                                                                              \
    "listen: 127.0.0.1:1\nservices:\n  app:\n" text "routes:\n  - {path: /, to: app}\n"

VV_TEST(urls_of_secure_servers_are_read)
{
    static const struct {
        const char *url;
        bool good;
    } cases[] = {
        {"https://a.test", true},
        {"https://a.test/", true},
        {"https://a.test:8443", true},
        {"https://127.0.0.1", true},
        {"https://[::1]:443", true},
        {"https://", false},
        {"https:///x", false},
        {"https://a.test/x", false},
        {"https://a.test:0", false},
        {"https://a.test:99999", false},
        {"https://a.test:", false},
        {"https://a b", false},
        {"http://a.test", true},
        {"a.test:80", true},
        {"a.test", false},
        {"unix:/run/x", true},
        {"unix:", false},
        {"ftp://a.test:1", false},
    };
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        if ((vv_settings_bad_server(cases[i].url) == NULL) != cases[i].good) {
            fail_msg("%s should be %s", cases[i].url, cases[i].good ? "fine" : "refused");
        }
    }
    VV_CHECK_STR(vv_settings_bad_server("https://a b"), "write https://host or https://host:port");
}

VV_TEST(tls_of_a_service_has_safe_defaults)
{
    struct loaded l = load_fine(SERVICE("    servers: [\"https://a.test\"]\n"));
    const struct vv_service_settings *s = l.s->services->item[0];
    VV_CHECK(!s->tls.enabled);
    VV_CHECK(s->tls.verify);
    VV_CHECK(s->tls.ca == NULL && s->tls.name == NULL && s->tls.cert == NULL);
    VV_CHECK_INT(s->tls.version_min, VV_TLS_1_2);
    unload(&l);
    l = load_fine(SERVICE("    servers: [\"https://a.test\"]\n"
                          "    tls: {ca: ca.pem, name: b.test, cert: c.pem, min: \"1.3\"}\n"));
    s = l.s->services->item[0];
    VV_CHECK(s->tls.enabled && s->tls.verify);
    VV_CHECK_STR(s->tls.name, "b.test");
    VV_CHECK_INT(s->tls.version_min, VV_TLS_1_3);
    unload(&l);
}

VV_TEST(mistakes_in_tls_of_a_service_are_said)
{
    check_says(SERVICE("    servers: [\"https://a\"]\n    tls: {key: k.pem}\n"),
               "a key is nothing without its certificate");
    check_says(SERVICE("    servers: [\"https://a\"]\n    tls: {name: \"a b\"}\n"),
               "\"a b\" cannot be the name of a server");
    check_says(SERVICE("    servers: [\"https://a\"]\n    tls: {verify: false}\n"),
               "anybody can pretend to be a server of service \"app\"");
    check_says(SERVICE("    servers: [\"https://a\"]\n    tls: {verify: false, ca: x.pem}\n"),
               "ca does nothing with verify: false");
    check_says(SERVICE("    servers: [\"a:80\"]\n    tls: {ca: x.pem}\n"),
               "no server of service \"app\" has an https:// URL, so tls does nothing");
}

/* ---- names ---- */

VV_TEST(the_host_is_read_out_of_the_name_of_a_server)
{
    VV_CHECK_SLICE(vv_secure_host("https://a.test"), "a.test");
    VV_CHECK_SLICE(vv_secure_host("https://a.test/"), "a.test");
    VV_CHECK_SLICE(vv_secure_host("https://a.test:8443"), "a.test");
    VV_CHECK_SLICE(vv_secure_host("https://a.test/10.0.0.1:8443"), "a.test");
    VV_CHECK_SLICE(vv_secure_host("https://[::1]:443"), "::1");
    VV_CHECK_SLICE(vv_secure_host("https://[::1"), "");
    VV_CHECK_SLICE(vv_secure_host("https://"), "");
}

VV_TEST(secure_servers_keep_their_scheme_and_have_a_port_of_their_own)
{
    struct rig r;
    struct vv_names *n = NULL;
    rig_up(&r, "listen: 127.0.0.1:1\nadmin: none\n"
               "services: {app: [\"https://127.0.0.1:%u\", \"https://127.0.0.2\", 127.0.0.2:443]}\n"
               "routes: [{to: app}]\n");
    VV_CHECK_INT(vv_names_new(r.w->loop, &n), VV_OK);
    VV_CHECK_INT(vv_names_apply(n, r.rt), VV_OK);
    struct vv_server_set *set = vv_service_state_servers(r.rt->service[0].state);
    VV_CHECK_INT(set->count, 3);
    VV_CHECK_STR(set->server[1]->name, "https://127.0.0.2");
    VV_CHECK_INT(vv_addr_port(&set->server[1]->addr), 443);
    VV_CHECK(vv_url_is_secure(set->server[1]->name));
    VV_CHECK(!vv_url_is_secure(set->server[2]->name)); /* the same place, spoken to in the clear */
    vv_server_set_unref(set);
    struct vv_server_change c = {
        .service = "app", .server = "https://127.0.0.2", .what = VV_SERVER_REMOVE, .drain = -1};
    VV_CHECK_INT(vv_names_change(n, &c), VV_OK);
    set = vv_service_state_servers(r.rt->service[0].state);
    VV_CHECK_INT(set->count, 2);
    VV_CHECK_STR(set->server[1]->name, "127.0.0.2:443");
    vv_server_set_unref(set);
    vv_names_free(n);
    rig_down(&r);
}

/* ---- contexts ---- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    VV_CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static struct vv_service_tls *take(const struct vv_service_settings *conf,
                                   struct vv_service_tls *former)
{
    struct vv_service_tls *t = NULL;
    struct vv_sb why = VV_SB_INIT;
    const void *field;
    VV_CHECK_INT(vv_service_tls_take(conf, former, &t, &why, &field), VV_OK);
    vv_sb_fini(&why);
    return t;
}

VV_TEST(contexts_are_kept_until_something_about_them_changes)
{
    const struct vv_tls_make m = {
        .subject = "root", .authority = true, .not_after_wall_ns = 4000000000 * VV_SEC};
    struct vv_tls_pem pem;
    char path[] = "/tmp/vv-upstream-XXXXXX";
    const int fd = mkstemp(path);
    VV_CHECK(fd >= 0);
    close(fd);
    VV_CHECK_INT(vv_tls_make(&m, &pem), VV_OK);
    write_file(path, pem.cert);
    struct vv_service_settings conf = {
        .name = "app", .tls = {.enabled = 1, .verify = 1, .ca = path, .name = "a.test"}};
    struct vv_service_tls *first = take(&conf, NULL);
    struct vv_service_tls *same = take(&conf, first);
    VV_CHECK(first != NULL && same == first);
    conf.tls.name = "b.test";
    struct vv_service_tls *renamed = take(&conf, first);
    VV_CHECK(renamed != first);
    const struct timespec later[2] = {{4000000000, 0}, {4000000000, 0}};
    VV_CHECK(utimensat(AT_FDCWD, path, later, 0) == 0); /* as a file that was replaced */
    struct vv_service_tls *fresh = take(&conf, renamed);
    VV_CHECK(fresh != renamed);
    vv_service_tls_unref(first);
    vv_service_tls_unref(same);
    vv_service_tls_unref(renamed);
    vv_service_tls_unref(fresh);
    unlink(path);
    vv_tls_pem_fini(&pem);
}

VV_TEST(what_cannot_be_used_is_said_with_its_setting)
{
    struct vv_service_tls *t = NULL;
    struct vv_sb why = VV_SB_INIT;
    const void *field = NULL;
    struct vv_service_settings conf = {.name = "app", .tls = {.enabled = 1, .verify = 1}};
    conf.tls.ca = "/nowhere/ca.pem";
    VV_CHECK(vv_service_tls_take(&conf, NULL, &t, &why, &field) != VV_OK);
    VV_CHECK(field == &conf.tls.ca && strstr(why.p, "/nowhere/ca.pem") != NULL);
    vv_sb_reset(&why);
    conf.tls.ca = NULL;
    conf.tls.cert = "/nowhere/me.pem";
    VV_CHECK(vv_service_tls_take(&conf, NULL, &t, &why, &field) != VV_OK);
    VV_CHECK(field == &conf.tls.cert && strstr(why.p, "/nowhere/me.pem") != NULL);
    VV_CHECK(t == NULL);
    vv_sb_fini(&why);
}

VV_TEST(a_service_without_secure_servers_needs_nothing)
{
    const struct vv_service_settings conf = {.name = "app"};
    VV_CHECK(take(&conf, NULL) == NULL);
}
