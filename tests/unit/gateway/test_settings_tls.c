/* tests/unit/gateway/test_settings_tls.c - what is derived from `tls` of a listener, and what may not be. */
#include "os/tls_context.h"
#include "settings_test.h"

static const struct vv_tls_settings *tls_of(const struct loaded *l, size_t i)
{
    return &((const struct vv_listen_settings *)l->s->listen->item[i])->tls;
}

static void check_names(const struct vv_conf_list *list, const char *joined)
{
    struct vv_sb sb = VV_SB_INIT;
    for (size_t i = 0; i < vv_list_count(list); i++) {
        vv_sb_addf(&sb, "%s%s", i > 0 ? " " : "", (const char *)list->item[i]);
    }
    VV_CHECK_STR(vv_sb_str(&sb).p, joined);
    vv_sb_fini(&sb);
}

VV_TEST(names_come_from_tls_else_from_the_listener_else_from_its_routes)
{
    struct loaded l =
        load_fine("version: 1\n"
                  "listen:\n"
                  "  a: {port: 1, names: [L.test], tls: {mode: local, names: A.test}}\n"
                  "  b: {port: 2, names: [L.test], tls: local}\n"
                  "  c: {port: 3, tls: local}\n"
                  "  d: {port: 4}\n"
                  "routes:\n"
                  "  - {path: /x, host: [R.test, s.test], respond: x}\n"
                  "  - {path: /y, host: r.test, listen: c, respond: x}\n"
                  "  - {path: /z, host: other.test, listen: d, respond: x}\n"
                  "  - {path: /, respond: x}\n");
    check_names(tls_of(&l, 0)->wanted, "a.test");
    check_names(tls_of(&l, 1)->wanted, "l.test");
    check_names(tls_of(&l, 2)->wanted, "r.test s.test"); /* once, and none of d's */
    assert_null(tls_of(&l, 3)->wanted);
    VV_CHECK_INT(tls_of(&l, 3)->enabled, 0);
    unload(&l);
}

VV_TEST(auto_is_local_only_in_the_profile_development)
{
    static const char text[] = "version: 1\nprofile: %s\nprofiles: {%s: {}}\n"
                               "listen: {a: {port: 1, tls: {mode: auto, names: a.test}}}\n"
                               "routes:\n  - {path: /, respond: x}\n";
    static const char *const profiles[] = {"development", "production"};
    for (size_t i = 0; i < 2; i++) {
        char whole[512];
        snprintf(whole, sizeof whole, text, profiles[i], profiles[i]);
        struct loaded l = load_text(whole);
        VV_CHECK_INT(l.errors, 0);
        VV_CHECK_INT(tls_of(&l, 0)->local, i == 0);
        VV_CHECK_INT(tls_of(&l, 0)->mode, VV_TLS_MODE_AUTO); /* as written */
        unload(&l);
    }
}

VV_TEST(short_forms_and_defaults_of_tls)
{
    struct loaded l = load_fine("version: 1\n"
                                "listen:\n"
                                "  a: {port: 1, tls: local}\n"
                                "  b: {port: 2, tls: {cert: a.pem, key: a.key, certs: b.pem, "
                                "min: \"1.3\", tickets: 8h, mutual: ca.pem}}\n"
                                "  c: {port: 3, tls: {mode: local, tickets: false}}\n"
                                "routes:\n  - {path: /, respond: x}\n");
    const struct vv_tls_settings *a = tls_of(&l, 0), *b = tls_of(&l, 1);
    VV_CHECK_INT(a->version_min, VV_TLS_1_2);
    VV_CHECK_INT(a->tickets.enabled, 1);
    VV_CHECK_INT(a->tickets.life_ns, VV_HOUR);
    VV_CHECK_INT(a->ktls, 1);
    VV_CHECK_INT(a->hello_bytes, VV_TLS_HELLO_BYTES);
    VV_CHECK_INT(a->mutual.enabled, 0);
    VV_CHECK_INT(b->version_min, VV_TLS_1_3);
    VV_CHECK_INT(b->tickets.life_ns, 8 * VV_HOUR);
    VV_CHECK_INT(b->mutual.enabled, 1);
    VV_CHECK_INT(b->mutual.required, 1);
    VV_CHECK_INT(b->all->count, 2); /* cert and certs are one list, in this order */
    VV_CHECK_STR(((const struct vv_cert_settings *)b->all->item[0])->key, "a.key");
    assert_null(((const struct vv_cert_settings *)b->all->item[1])->key);
    VV_CHECK_INT(tls_of(&l, 2)->tickets.enabled, 0);
    unload(&l);
}

VV_TEST(mistakes_about_tls_have_a_place)
{
#define LISTEN(tls) "version: 1\nlisten: {a: " tls "}\nroutes:\n  - {path: /, respond: x}\n"
    check_says(LISTEN("{port: 1, tls: auto}"), "v.yaml:2:28: error: listener \"a\" has no name");
    check_says(LISTEN("{port: 1, tls: {key: k}}"), "a key without its certificate");
    check_says(LISTEN("{port: 1, tls: {min: \"1.3\"}}"), "has TLS and no certificate");
    check_says(LISTEN("{port: 1, tls: {mode: local, cert: c}}"),
               "files are given, and mode: local");
    check_says(LISTEN("{port: 1, redirect: https, tls: local}"), "round in circles");
    check_says(LISTEN("{address: \"unix:/x\", tls: local}"), "TLS on a unix socket");
    check_says(LISTEN("{port: 1, tls: {mode: local, min: \"1.1\"}}"), "1.2");
#undef LISTEN
}
