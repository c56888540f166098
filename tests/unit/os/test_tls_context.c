/* tests/unit/os/test_tls_context.c - names, kinds of key, sessions, rotation, swapping, threads. */
#include "os/thread.h"
#include "test_tls_kit.h"
#include <stdatomic.h>

static const struct vv_tls_cert *pick(struct vv_tls_context *c, const char *name,
                                      enum vv_tls_key key)
{
    return vv_tls_context_cert(c, vv_str_from(name), key);
}

VV_TEST(names_choose_certificates)
{
    struct vv_tls_cert *cert[] = {
        kit_cert(VV_TLS_KEY_EC, "a.test"), kit_cert(VV_TLS_KEY_EC, "*.b.test"),
        kit_cert(VV_TLS_KEY_RSA, "a.test"), kit_cert(VV_TLS_KEY_EC, "x.b.test"),
        kit_cert(VV_TLS_KEY_EC, "A.test")};
    struct vv_tls_context *c =
        kit_server((struct vv_tls_server_conf){.certs = cert, .cert_count = VV_COUNT(cert)});
    VV_CHECK(pick(c, "a.test", VV_TLS_KEY_EC) == cert[0]); /* the first of two */
    VV_CHECK(pick(c, "A.TEST", VV_TLS_KEY_EC) == cert[0]); /* case does not matter */
    VV_CHECK(pick(c, "a.test", VV_TLS_KEY_RSA) == cert[2]);
    VV_CHECK(pick(c, "y.b.test", VV_TLS_KEY_EC) == cert[1]);
    VV_CHECK(pick(c, "x.b.test", VV_TLS_KEY_EC) == cert[3]);   /* exact before wildcard */
    VV_CHECK(pick(c, "z.y.b.test", VV_TLS_KEY_EC) == cert[0]); /* a star is one label */
    VV_CHECK(pick(c, "b.test", VV_TLS_KEY_EC) == cert[0]);
    VV_CHECK(pick(c, ".b.test", VV_TLS_KEY_EC) == cert[0]); /* no name at all */
    VV_CHECK(pick(c, "", VV_TLS_KEY_EC) == cert[0]);
    VV_CHECK(pick(c, "", VV_TLS_KEY_RSA) == cert[2]); /* the default has both kinds */
    vv_tls_context_unref(c);
    for (size_t i = 0; i < VV_COUNT(cert); i++) {
        vv_tls_cert_unref(cert[i]);
    }
}

static void check_served(struct vv_tls_context *s, struct vv_tls_context *c, const char *name,
                         const struct vv_tls_cert *want)
{
    struct vv_arena arena;
    struct vv_tls_peer peer;
    struct kit k;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    kit_meet(&k, s, c, name);
    VV_CHECK_INT(vv_tls_peer(k.c, &arena, &peer), VV_OK);
    VV_CHECK_STR(peer.fingerprint, vv_tls_cert_info(want)->fingerprint);
    kit_stop(&k);
    vv_arena_fini(&arena);
}

VV_TEST(the_certificate_of_the_name_is_served)
{
    struct vv_tls_cert *cert[] = {
        kit_cert(VV_TLS_KEY_EC, "a.test"), kit_cert(VV_TLS_KEY_EC, "*.b.test"),
        kit_cert(VV_TLS_KEY_RSA, "r.test"), kit_cert(VV_TLS_KEY_ED, "e.test"),
        kit_cert(VV_TLS_KEY_EC, "127.0.0.1")};
    struct vv_tls_context *s =
        kit_server((struct vv_tls_server_conf){.certs = cert, .cert_count = VV_COUNT(cert)});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    check_served(s, c, "a.test", cert[0]);
    check_served(s, c, "x.b.test", cert[1]);
    check_served(s, c, "r.test", cert[2]);
    check_served(s, c, "e.test", cert[3]);
    vv_tls_context_unref(s);
    s = kit_server((struct vv_tls_server_conf){.certs = cert + 4, .cert_count = 1});
    check_served(s, c, "127.0.0.1", cert[4]); /* no name is sent; the address must be in it */
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
    for (size_t i = 0; i < VV_COUNT(cert); i++) {
        vv_tls_cert_unref(cert[i]);
    }
}

VV_TEST(what_cannot_be_a_context_is_said)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_context *c = NULL;
    VV_CHECK_INT(vv_tls_server_new(&(struct vv_tls_server_conf){0}, &why, &c), VV_EINVAL);
    VV_CHECK_STR(why.p, "a server needs a certificate");
    vv_sb_reset(&why);
    struct vv_tls_client_conf conf = {.ca_file = "/nowhere/ca.pem"};
    VV_CHECK_INT(vv_tls_client_new(&conf, &why, &c), VV_EINVAL);
    VV_CHECK(strstr(why.p, "/nowhere/ca.pem: the trusted certificates cannot be read") != NULL);
    vv_sb_reset(&why);
    struct vv_tls_cert *cert = kit_cert(VV_TLS_KEY_EC, "a.test");
    struct vv_tls_server_conf asks = {.certs = &cert,
                                      .cert_count = 1,
                                      .ask = VV_TLS_ASK_REQUIRED,
                                      .client_ca_file = "/nowhere/clients.pem"};
    VV_CHECK_INT(vv_tls_server_new(&asks, &why, &c), VV_EINVAL);
    VV_CHECK(strstr(why.p, "/nowhere/clients.pem: ") != NULL);
    vv_tls_cert_unref(cert);
    vv_sb_fini(&why);
}

/* ---- sessions ------------------------------------------------------------------------------- */

/* A handshake, a message each way (so that tickets arrive); true when it was resumed. */
static bool visit(struct vv_tls_context *s, struct vv_tls_context *c)
{
    struct kit k;
    kit_meet(&k, s, c, "a.test");
    kit_say(k.c, k.s, "ping");
    kit_say(k.s, k.c, "pong");
    const bool resumed = vv_tls_resumed(k.s);
    VV_CHECK_INT(vv_tls_resumed(k.c), resumed);
    VV_CHECK_INT(k.stats.resumed, resumed);
    kit_stop(&k);
    return resumed;
}

static struct vv_tls_tickets *tickets_new(uint64_t wall_ns)
{
    struct vv_tls_tickets *t = NULL;
    VV_ASSERT(vv_tls_tickets_new(VV_HOUR, wall_ns, &t) == VV_OK);
    return t;
}

VV_TEST(sessions_are_resumed_each_time)
{
    struct vv_tls_tickets *t = tickets_new(VV_DAY);
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){.tickets = t});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.sessions_max = 2});
    VV_CHECK(!visit(s, c));
    VV_CHECK(visit(s, c));
    VV_CHECK(visit(s, c));
    struct vv_tls_context *none = kit_client((struct vv_tls_client_conf){0});
    VV_CHECK(!visit(s, none));
    VV_CHECK(!visit(s, none));
    vv_tls_context_unref(none);
    vv_tls_context_unref(c);
    vv_tls_context_unref(s);
    vv_tls_tickets_unref(t);
}

/* One after the other: which of them were resumed. */
static void visit_keyed(struct vv_tls_context *s, struct vv_tls_context *c, const char *key,
                        bool resumed)
{
    struct kit k;
    memset(&k, 0, sizeof(k));
    kit_pair(k.fd);
    VV_ASSERT(vv_tls_accept(s, k.fd[0], &k.stats, &k.s) == VV_OK);
    VV_ASSERT(vv_tls_connect_keyed(c, k.fd[1], "a.test", key, NULL, &k.c) == VV_OK);
    kit_shake(&k);
    kit_say(k.c, k.s, "ping");
    kit_say(k.s, k.c, "pong");
    VV_CHECK_INT(vv_tls_resumed(k.c), resumed);
    kit_stop(&k);
}

VV_TEST(servers_of_one_name_have_sessions_of_their_own)
{
    struct vv_tls_tickets *t[2] = {tickets_new(VV_DAY), tickets_new(VV_DAY)};
    struct vv_tls_context *s[2];
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.sessions_max = 4});
    for (int i = 0; i < 2; i++) { /* tickets of one cannot be opened by the other */
        s[i] = kit_server_a((struct vv_tls_server_conf){.tickets = t[i]});
    }
    visit_keyed(s[0], c, "first", false);
    visit_keyed(s[1], c, "second", false);
    visit_keyed(s[0], c, "first", true);
    visit_keyed(s[1], c, "second", true);
    for (int i = 0; i < 2; i++) {
        vv_tls_context_unref(s[i]);
        vv_tls_tickets_unref(t[i]);
    }
    vv_tls_context_unref(c);
}

VV_TEST(a_server_without_tickets_resumes_nothing)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.sessions_max = 2});
    VV_CHECK(!visit(s, c));
    VV_CHECK(!visit(s, c));
    vv_tls_context_unref(c);
    vv_tls_context_unref(s);
}

VV_TEST(a_ticket_outlives_two_rotations_and_not_three)
{
    struct vv_tls_tickets *t = tickets_new(VV_DAY);
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){.tickets = t});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.sessions_max = 2});
    VV_CHECK(!visit(s, c));
    VV_CHECK(!vv_tls_tickets_rotate(t, VV_DAY + VV_HOUR - 1)); /* not yet */
    VV_CHECK(vv_tls_tickets_rotate(t, VV_DAY + VV_HOUR));
    VV_CHECK(vv_tls_tickets_rotate(t, VV_DAY + 2 * VV_HOUR));
    VV_CHECK(visit(s, c)); /* sealed by the oldest of three; the client now has a new one */
    VV_CHECK(vv_tls_tickets_rotate(t, VV_DAY + 3 * VV_HOUR));
    VV_CHECK(visit(s, c));
    VV_CHECK(vv_tls_tickets_rotate(t, VV_DAY + 4 * VV_HOUR));
    VV_CHECK(vv_tls_tickets_rotate(t, VV_DAY + 5 * VV_HOUR));
    VV_CHECK(vv_tls_tickets_rotate(t, VV_DAY)); /* the clock was set back */
    VV_CHECK(!visit(s, c));
    vv_tls_context_unref(c);
    vv_tls_context_unref(s);
    vv_tls_tickets_unref(t);
}

VV_TEST(another_process_with_the_same_keys_resumes)
{
    uint8_t bytes[VV_TLS_TICKETS_BYTES];
    struct vv_tls_tickets *one = tickets_new(VV_DAY), *two = tickets_new(VV_DAY);
    struct vv_tls_context *s1 = kit_server_a((struct vv_tls_server_conf){.tickets = one});
    struct vv_tls_context *s2 = kit_server_a((struct vv_tls_server_conf){.tickets = two});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.sessions_max = 2});
    VV_CHECK(!visit(s1, c));
    VV_CHECK(!visit(s2, c)); /* other keys */
    const struct vv_str all = {(char *)bytes, vv_tls_tickets_export(one, bytes)};
    VV_CHECK_INT(vv_tls_tickets_import(two, all), VV_OK);
    VV_CHECK(!visit(s1, c)); /* the ticket of s2's own key */
    VV_CHECK(visit(s2, c));
    VV_CHECK_INT(vv_tls_tickets_import(two, (struct vv_str){all.p, all.n - 1}), VV_ESYNTAX);
    bytes[0] ^= 1;
    VV_CHECK_INT(vv_tls_tickets_import(two, all), VV_ESYNTAX);
    vv_tls_context_unref(c);
    vv_tls_context_unref(s1);
    vv_tls_context_unref(s2);
    vv_tls_tickets_unref(one);
    vv_tls_tickets_unref(two);
}

VV_TEST(a_session_made_without_a_certificate_does_not_pass_where_one_is_required)
{
    kit_authority();
    struct vv_tls_tickets *t = tickets_new(VV_DAY);
    struct vv_tls_context *s1 = kit_server_a((struct vv_tls_server_conf){.tickets = t});
    struct vv_tls_context *s2 = kit_server_a((struct vv_tls_server_conf){
        .tickets = t, .ask = VV_TLS_ASK_REQUIRED, .client_ca_file = kit_ca_file});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.sessions_max = 2});
    struct kit k;
    VV_CHECK(!visit(s1, c));
    kit_start(&k, s2, c, "a.test");
    kit_shake(&k);
    VV_CHECK(k.s_err != VV_OK);
    kit_stop(&k);
    vv_tls_context_unref(c);
    vv_tls_context_unref(s1);
    vv_tls_context_unref(s2);
    vv_tls_tickets_unref(t);
}

/* ---- shared by threads ------------------------------------------------------------------------ */

VV_TEST(a_connection_keeps_the_context_it_began_with)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct vv_tls_slot *slot = NULL;
    struct kit k;
    VV_CHECK_INT(vv_tls_slot_new(&slot), VV_OK);
    VV_CHECK(vv_tls_slot_get(slot) == NULL);
    vv_tls_slot_set(slot, s);
    vv_tls_context_unref(s); /* the slot's now */
    struct vv_tls_context *mine = vv_tls_slot_get(slot);
    kit_start(&k, mine, c, "a.test");
    vv_tls_context_unref(mine);
    struct vv_tls_context *next = kit_server_a((struct vv_tls_server_conf){0});
    vv_tls_slot_set(slot, next); /* the first one lives by the connection alone */
    vv_tls_context_unref(next);
    kit_shake(&k);
    VV_CHECK_INT(k.s_err, VV_OK);
    kit_say(k.s, k.c, "still here");
    kit_stop(&k);
    vv_tls_slot_free(slot);
    vv_tls_context_unref(c);
}

#define THREADS 3
#define VISITS 40

struct crowd {
    struct vv_tls_slot *slot;
    struct vv_tls_context *client;
    atomic_uint resumed, failed;
};

/* No cmocka in threads: outcomes are counted. */
static void come_and_go(void *arg)
{
    struct crowd *all = arg;
    for (int i = 0; i < VISITS; i++) {
        struct vv_tls_context *s = vv_tls_slot_get(all->slot);
        struct kit k;
        char buf[8];
        size_t n = 0;
        const struct iovec one = {(void *)(uintptr_t) "x", 1};
        kit_start(&k, s, all->client, "a.test");
        vv_tls_context_unref(s);
        kit_shake(&k);
        if (k.s_err != VV_OK || k.c_err != VV_OK ||
            vv_tls_write(k.s, &one, 1, VV_TLS_LAST, VV_SEC, &n) != VV_OK ||
            vv_tls_read(k.c, buf, sizeof(buf), &n) != VV_OK) {
            atomic_fetch_add(&all->failed, 1);
        }
        atomic_fetch_add(&all->resumed, vv_tls_resumed(k.s));
        kit_stop(&k);
    }
}

VV_TEST(threads_share_contexts_while_keys_rotate_and_contexts_are_swapped)
{
    struct vv_tls_tickets *t = tickets_new(VV_DAY);
    struct vv_tls_context *s[] = {kit_server_a((struct vv_tls_server_conf){.tickets = t}),
                                  kit_server_a((struct vv_tls_server_conf){.tickets = t})};
    struct crowd all = {.client = kit_client((struct vv_tls_client_conf){.sessions_max = 2})};
    struct vv_thread thread[THREADS] = {0};
    VV_CHECK_INT(vv_tls_slot_new(&all.slot), VV_OK);
    vv_tls_slot_set(all.slot, s[0]);
    for (size_t i = 0; i < THREADS; i++) {
        VV_CHECK_INT(vv_thread_start(&thread[i], "visitor", come_and_go, &all), VV_OK);
    }
    for (unsigned i = 0; i < 200; i++) {
        vv_tls_slot_set(all.slot, s[i % 2]);
        if (i % 20 == 0) {
            vv_tls_tickets_rotate(t, VV_DAY + i * VV_HOUR);
        }
        struct vv_tls_context *mine = vv_tls_slot_get(all.slot);
        vv_tls_context_unref(mine);
    }
    for (size_t i = 0; i < THREADS; i++) {
        vv_thread_join(&thread[i]);
    }
    VV_CHECK_INT(atomic_load(&all.failed), 0);
    VV_CHECK(atomic_load(&all.resumed) > 0);
    vv_tls_slot_free(all.slot);
    vv_tls_context_unref(all.client);
    vv_tls_context_unref(s[0]);
    vv_tls_context_unref(s[1]);
    vv_tls_tickets_unref(t);
}

static struct vv_tls_cert *proof; /* of a name */

static struct vv_tls_cert *prove(void *user, struct vv_str name)
{
    (*(int *)user)++;
    return vv_str_eq(name, VV_STR("proved.test")) ? vv_tls_cert_ref(proof) : NULL;
}

/* RFC 8737 section 3: who offers only acme-tls/1 sees the certificate of the challenge and is asked for
 * none of its own; who offers it among others is a client like any other. */
VV_TEST(an_authority_sees_the_certificate_of_the_challenge)
{
    const char *const http[] = {"http/1.1"}, *const only[] = {VV_TLS_ALPN_CHALLENGE},
                      *const mixed[] = {"http/1.1", VV_TLS_ALPN_CHALLENGE};
    int asked = 0;
    struct kit k;
    struct vv_tls_peer peer;
    struct vv_arena arena;
    proof = kit_cert(VV_TLS_KEY_EC, "proved.test");
    struct vv_tls_context *s =
        kit_server_a((struct vv_tls_server_conf){.alpn = http,
                                                 .alpn_count = 1,
                                                 .ask = VV_TLS_ASK_REQUIRED,
                                                 .client_ca_file = kit_ca_file,
                                                 .strict_names = true,
                                                 .challenge = prove,
                                                 .challenge_user = &asked});
    struct vv_tls_context *c =
        kit_client((struct vv_tls_client_conf){.alpn = only, .alpn_count = 1, .insecure = true});
    kit_meet(&k, s, c, "proved.test");
    VV_CHECK_SLICE(vv_tls_alpn(k.s), VV_TLS_ALPN_CHALLENGE);
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    VV_CHECK_INT(vv_tls_peer(k.c, &arena, &peer), VV_OK);
    VV_CHECK_SLICE(peer.sans[0].name, "proved.test");
    VV_CHECK_INT(k.stats.done[VV_TLS_1_3][false], 1);
    VV_CHECK_INT(asked, 1);
    vv_arena_fini(&arena);
    kit_stop(&k);
    kit_start(&k, s, c, "other.test");
    kit_shake(&k);
    VV_CHECK_INT(vv_tls_failure(k.s), VV_TLS_FAIL_ALPN);
    kit_stop(&k);
    vv_tls_context_unref(c);
    c = kit_client((struct vv_tls_client_conf){.alpn = mixed, .alpn_count = 2, .insecure = true});
    kit_start(&k, s, c, "a.test");
    kit_shake(&k);
    VV_CHECK_INT(vv_tls_failure(k.s), VV_TLS_FAIL_CERT_MISSING);
    VV_CHECK_INT(asked, 2); /* not for this one */
    kit_stop(&k);
    vv_tls_context_unref(c);
    vv_tls_context_unref(s);
    vv_tls_cert_unref(proof);
}

VV_TEST(who_is_there_is_read_once_and_kept)
{
    struct vv_tls_pem pem;
    struct kit k;
    kit_pem(VV_TLS_KEY_EC, "client.test", true, &pem);
    struct vv_tls_cert *cert = kit_parse(&pem);
    vv_tls_pem_fini(&pem);
    struct vv_tls_context *s = kit_server_a(
        (struct vv_tls_server_conf){.ask = VV_TLS_ASK_OPTIONAL, .client_ca_file = kit_ca_file});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.cert = cert});
    kit_meet(&k, s, c, "a.test");
    const struct vv_tls_peer *p = vv_tls_identity(k.s);
    assert_non_null(p);
    VV_CHECK_SLICE(p->sans[0].name, "client.test");
    assert_ptr_equal(vv_tls_identity(k.s), p);
    kit_stop(&k);
    vv_tls_context_unref(c);
    c = kit_client((struct vv_tls_client_conf){0});
    kit_meet(&k, s, c, "a.test");
    assert_null(vv_tls_identity(k.s));
    kit_stop(&k);
    vv_tls_context_unref(c);
    vv_tls_context_unref(s);
    vv_tls_cert_unref(cert);
}
