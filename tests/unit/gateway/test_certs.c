/* tests/unit/gateway/test_certs.c - certificates of listeners: what is read, swapped, kept, handed on. Ticks of
 * the home are a second apart in the time it is given; nothing sleeps. */
#include "gateway/certs.h"

#include "../os/test_tls_kit.h"
#include "settings_test.h"

#define LINE_MAX_BYTES 1024

struct home {
    char dir[64];
    struct vv_metrics *metrics;
    struct vv_certs *c;
    uint64_t now_ns;
    uint64_t writes; /* gives every file another time of change */
};

static void put_file(struct home *h, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", h->dir, name);
    unlink(path); /* another file, however coarse the clock of the file system is */
    char keep[128];
    snprintf(keep, sizeof keep, "%s/keep%llu", h->dir, (unsigned long long)h->writes++);
    kit_write(keep, vv_str_from("x")); /* so that the number of the former file is not used again */
    kit_write(path, vv_str_from(text));
}

static void put_pair(struct home *h, const char *name, enum vv_tls_key key, const char *dns)
{
    struct vv_tls_pem pem;
    char file[32];
    kit_pem(key, dns, false, &pem);
    snprintf(file, sizeof file, "%s.pem", name);
    put_file(h, file, pem.cert);
    snprintf(file, sizeof file, "%s.key", name);
    put_file(h, file, pem.key);
    vv_tls_pem_fini(&pem);
}

static void begin(struct home *h)
{
    *h = (struct home){.now_ns = VV_SEC};
    strcpy(h->dir, "/tmp/vivace-certs-XXXXXX");
    VV_ASSERT(mkdtemp(h->dir) != NULL);
    VV_ASSERT(vv_metrics_new(&h->metrics) == VV_OK);
    VV_ASSERT(vv_certs_new(h->metrics, &h->c) == VV_OK);
}

static void end(struct home *h)
{
    char command[320];
    vv_certs_free(h->c);
    vv_metrics_free(h->metrics);
    snprintf(command, sizeof command, "rm -r %s", h->dir);
    VV_ASSERT(system(command) == 0);
}

/* The settings of `tls`, a flow map of YAML with paths relative to the folder. */
static struct loaded settings(const struct home *h, const char *tls)
{
    char text[LINE_MAX_BYTES], path[128];
    snprintf(path, sizeof path, "%s/v.yaml", h->dir);
    snprintf(text, sizeof text,
             "version: 1\nlisten:\n  web: {port: 8443, tls: %s}\n"
             "routes:\n  - {path: /, respond: hello}\n",
             tls);
    const struct vv_conf_source source = {.path = path, .text = text};
    struct loaded l = load_source(&source);
    VV_CHECK_STR(l.problems, "");
    return l;
}

static void use(struct home *h, const struct loaded *l)
{
    char why[256] = "";
    if (vv_certs_prepare(h->c, l->s, why) != VV_OK) {
        fail_msg("%s", why);
    }
    vv_certs_settle(h->c, l->s, true);
}

static void tick(struct home *h)
{
    h->now_ns += VV_SEC;
    vv_certs_tick(h->c, h->now_ns);
}

/* Names and kind of key of what a client asking for `name` would get now. */
static void check_shown(struct home *h, const char *name, enum vv_tls_key key, const char *first)
{
    struct vv_tls_slot *slot = vv_certs_slot(h->c, "web");
    assert_non_null(slot);
    struct vv_tls_context *c = vv_tls_slot_get(slot);
    assert_non_null(c);
    const struct vv_tls_cert *cert = vv_tls_context_cert(c, vv_str_from(name), key);
    assert_non_null(cert);
    VV_CHECK_STR(vv_tls_cert_info(cert)->names[0], first);
    vv_tls_context_unref(c);
}

VV_TEST(a_listener_without_tls_has_no_slot)
{
    struct home h;
    begin(&h);
    struct loaded l = load_fine("version: 1\nlisten: 8080\nroutes:\n  - {path: /, respond: x}\n");
    use(&h, &l);
    assert_null(vv_certs_slot(h.c, "default"));
    unload(&l);
    end(&h);
}

VV_TEST(certificates_stand_side_by_side)
{
    struct home h;
    begin(&h);
    put_pair(&h, "a", VV_TLS_KEY_EC, "a.test");
    put_pair(&h, "r", VV_TLS_KEY_RSA, "a.test");
    put_pair(&h, "b", VV_TLS_KEY_EC, "b.test");
    struct loaded l = settings(&h, "{cert: a.pem, key: a.key, certs: [{cert: r.pem, key: r.key}, "
                                   "{cert: b.pem, key: b.key}]}");
    use(&h, &l);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "a.test");
    check_shown(&h, "a.test", VV_TLS_KEY_RSA, "a.test");
    check_shown(&h, "b.test", VV_TLS_KEY_EC, "b.test");
    check_shown(&h, "c.test", VV_TLS_KEY_EC, "a.test"); /* the first is for who asks for no other */
    unload(&l);
    end(&h);
}

VV_TEST(a_changed_pair_is_in_force_at_the_next_look)
{
    struct home h;
    begin(&h);
    put_pair(&h, "a", VV_TLS_KEY_EC, "a.test");
    struct loaded l = settings(&h, "{cert: a.pem, key: a.key}");
    use(&h, &l);
    struct vv_tls_context *before = vv_tls_slot_get(vv_certs_slot(h.c, "web"));
    tick(&h);
    struct vv_tls_context *same = vv_tls_slot_get(vv_certs_slot(h.c, "web"));
    assert_ptr_equal(before, same); /* nothing changed: nothing is made anew */
    put_pair(&h, "a", VV_TLS_KEY_EC, "new.test");
    vv_certs_tick(h.c, h.now_ns + VV_SEC - 1); /* a second is not over yet */
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "a.test");
    tick(&h);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "new.test");
    vv_tls_context_unref(before);
    vv_tls_context_unref(same);
    unload(&l);
    end(&h);
}

VV_TEST(half_a_pair_and_a_broken_file_keep_what_was_read_last)
{
    struct home h;
    struct vv_tls_pem pem;
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    begin(&h);
    put_pair(&h, "a", VV_TLS_KEY_EC, "a.test");
    struct loaded l = settings(&h, "{cert: a.pem, key: a.key}");
    use(&h, &l);
    kit_pem(VV_TLS_KEY_EC, "new.test", false, &pem);
    put_file(&h, "a.pem", pem.cert);
    tick(&h); /* the key of the former certificate */
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "a.test");
    put_file(&h, "a.key", pem.key);
    tick(&h);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "new.test");
    put_file(&h, "a.pem", "nonsense");
    tick(&h);
    tick(&h);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "new.test");
    vv_json_init(&j, &out);
    vv_json_obj(&j);
    vv_certs_json(h.c, &j);
    vv_json_obj_end(&j);
    assert_non_null(strstr(out.p, "a.pem: "));
    vv_sb_fini(&out);
    vv_tls_pem_fini(&pem);
    unload(&l);
    end(&h);
}

VV_TEST(a_reload_that_is_refused_changes_nothing)
{
    struct home h;
    char why[256] = "";
    begin(&h);
    put_pair(&h, "a", VV_TLS_KEY_EC, "a.test");
    put_pair(&h, "b", VV_TLS_KEY_EC, "b.test");
    struct loaded l = settings(&h, "{cert: a.pem, key: a.key}");
    struct loaded next = settings(&h, "{cert: b.pem, key: b.key}");
    use(&h, &l);
    put_file(&h, "b.key", "gone bad since the check");
    VV_CHECK_INT(vv_certs_prepare(h.c, next.s, why), VV_ECONFIG);
    assert_non_null(strstr(why, "listen.web.tls: "));
    assert_non_null(strstr(why, "b.key"));
    vv_certs_settle(h.c, l.s, false);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "a.test");
    put_pair(&h, "b", VV_TLS_KEY_EC, "b.test");
    VV_CHECK_INT(vv_certs_prepare(h.c, next.s, why), VV_OK);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "a.test"); /* prepared, not in force */
    vv_certs_settle(h.c, next.s, true);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "b.test");
    unload(&l);
    unload(&next);
    end(&h);
}

VV_TEST(tls_that_is_taken_away_takes_the_slot_away)
{
    struct home h;
    begin(&h);
    put_pair(&h, "a", VV_TLS_KEY_EC, "a.test");
    struct loaded l = settings(&h, "{cert: a.pem, key: a.key}");
    struct loaded plain =
        load_fine("version: 1\nlisten: {web: 8080}\nroutes:\n  - {path: /, respond: x}\n");
    use(&h, &l);
    assert_non_null(vv_certs_slot(h.c, "web"));
    use(&h, &plain);
    assert_null(vv_certs_slot(h.c, "web"));
    use(&h, &l);
    check_shown(&h, "a.test", VV_TLS_KEY_EC, "a.test");
    unload(&l);
    unload(&plain);
    end(&h);
}

/* A session sealed by one home is taken up by a second that imported the keys, not by a third. */
VV_TEST(ticket_keys_go_on_to_the_next_process)
{
    struct home h[3];
    struct vv_sb keys = VV_SB_INIT;
    struct vv_tls_context *client =
        kit_client((struct vv_tls_client_conf){.sessions_max = 4, .insecure = true});
    struct loaded l[3];
    for (size_t i = 0; i < 3; i++) {
        begin(&h[i]);
        put_pair(&h[i], "a", VV_TLS_KEY_EC, "a.test");
        l[i] = settings(&h[i], "{cert: a.pem, key: a.key, tickets: 2h}");
        use(&h[i], &l[i]);
    }
    const uint64_t generation = vv_certs_keys_generation(h[1].c);
    vv_certs_keys_export(h[0].c, &keys);
    assert_int_equal(strncmp(keys.p, "7200:", 5), 0);
    vv_certs_keys_import(h[1].c, vv_sb_str(&keys));
    assert_true(vv_certs_keys_generation(h[1].c) > generation);
    static const bool resumes[3] = {true, true, false};
    for (size_t i = 0; i < 3; i++) {
        struct kit k;
        struct vv_tls_context *first = vv_tls_slot_get(vv_certs_slot(h[0].c, "web"));
        kit_meet(&k, first, client, "a.test"); /* a fresh ticket */
        kit_say(k.s, k.c, "hello");
        kit_stop(&k);
        struct vv_tls_context *server = vv_tls_slot_get(vv_certs_slot(h[i].c, "web"));
        kit_meet(&k, server, client, "a.test");
        VV_CHECK_INT(vv_tls_resumed(k.s), resumes[i]);
        kit_stop(&k);
        vv_tls_context_unref(server);
        vv_tls_context_unref(first);
    }
    vv_sb_fini(&keys);
    vv_tls_context_unref(client);
    for (size_t i = 0; i < 3; i++) {
        unload(&l[i]);
        end(&h[i]);
    }
}

VV_TEST(keys_that_are_nonsense_are_left_out)
{
    static const char *const texts[] = {"",         "x",    "7200",      "7200:", "7200:zz",
                                        "7200:abc", "1:00", "7200:00ff", ":",     " : :"};
    struct home h;
    begin(&h);
    put_pair(&h, "a", VV_TLS_KEY_EC, "a.test");
    struct loaded l = settings(&h, "{cert: a.pem, key: a.key, tickets: 2h}");
    use(&h, &l);
    struct vv_sb before = VV_SB_INIT, after = VV_SB_INIT;
    vv_certs_keys_export(h.c, &before);
    for (size_t i = 0; i < VV_COUNT(texts); i++) {
        vv_certs_keys_import(h.c, vv_str_from(texts[i]));
    }
    vv_certs_keys_export(h.c, &after);
    VV_CHECK_STR(after.p, before.p);
    vv_sb_fini(&before);
    vv_sb_fini(&after);
    unload(&l);
    end(&h);
}

VV_TEST(a_local_authority_signs_for_all_names_of_its_listeners)
{
    struct home h;
    begin(&h);
    struct loaded l = settings(&h, "{mode: local, names: [Shop.test]}");
    use(&h, &l);
    check_shown(&h, "shop.test", VV_TLS_KEY_EC, "localhost");
    struct vv_tls_context *c = vv_tls_slot_get(vv_certs_slot(h.c, "web"));
    const struct vv_tls_cert_info *info =
        vv_tls_cert_info(vv_tls_context_cert(c, VV_STR("shop.test"), VV_TLS_KEY_EC));
    VV_CHECK_INT(info->name_count, 4); /* localhost, two addresses, the listener's */
    VV_CHECK_STR(info->names[3], "shop.test");
    vv_tls_context_unref(c);
    unload(&l);
    l = settings(&h, "{mode: local, names: [other.test]}"); /* as of a second gateway */
    use(&h, &l);
    c = vv_tls_slot_get(vv_certs_slot(h.c, "web"));
    info = vv_tls_cert_info(vv_tls_context_cert(c, VV_STR("shop.test"), VV_TLS_KEY_EC));
    VV_CHECK_INT(info->name_count, 5); /* the first one's name is still there */
    vv_tls_context_unref(c);
    unload(&l);
    end(&h);
}
