/* tests/unit/os/test_tls_cert.c - reading certificates, what is wrong with them, status answers, our own. */
#include "os/tls_cert.h"
#include "test_tls_kit.h"
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

static enum vv_err parse(const char *cert, const char *key, struct vv_sb *why,
                         struct vv_tls_cert **ret)
{
    const struct vv_tls_cert_text text = {.cert_name = "c.pem",
                                          .key_name = "k.pem",
                                          .cert = vv_str_from(cert),
                                          .key = vv_str_from(key)};
    vv_sb_reset(why);
    return vv_tls_cert_parse(&text, why, ret);
}

static void check_wrong(const char *cert, const char *key, enum vv_err err, const char *text)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = NULL;
    VV_CHECK_INT(parse(cert, key, &why, &c), err);
    VV_CHECK(c == NULL);
    VV_CHECK_STR(why.p, text);
    vv_sb_fini(&why);
}

static char *joined(const char *a, const char *b)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_adds(&sb, a);
    vv_sb_adds(&sb, b);
    return vv_sb_take(&sb);
}

VV_TEST(a_certificate_says_what_it_is)
{
    const char *const names[] = {"A.test", "*.b.test", "192.0.2.7", "2001:db8::1"};
    const uint64_t from = 1700000000 * VV_SEC, to = 1800000000 * VV_SEC;
    const struct vv_tls_make m = {.subject = "Example",
                                  .names = names,
                                  .name_count = 4,
                                  .key = VV_TLS_KEY_RSA,
                                  .rsa_bits = 2048,
                                  .not_before_wall_ns = from,
                                  .not_after_wall_ns = to,
                                  .issuer = kit_authority()};
    struct vv_tls_pem pem;
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = NULL;
    VV_CHECK_INT(vv_tls_make(&m, &pem), VV_OK);
    char *chain = joined(pem.cert, kit_authority()->cert);
    VV_CHECK_INT(parse(chain, pem.key, &why, &c), VV_OK);
    const struct vv_tls_cert_info *i = vv_tls_cert_info(c);
    VV_CHECK_INT(i->name_count, 4);
    VV_CHECK_STR(i->names[0], "a.test");
    VV_CHECK_STR(i->names[1], "*.b.test");
    VV_CHECK_STR(i->names[2], "192.0.2.7");
    VV_CHECK_STR(i->names[3], "2001:db8::1");
    VV_CHECK_STR(i->subject, "CN=Example");
    VV_CHECK_STR(i->issuer, "CN=Test authority");
    VV_CHECK_INT(i->key, VV_TLS_KEY_RSA);
    VV_CHECK_INT(i->key_bits, 2048);
    VV_CHECK_INT(i->chain_count, 1);
    VV_CHECK_INT(i->not_before_wall_ns, from);
    VV_CHECK_INT(i->not_after_wall_ns, to);
    VV_CHECK_INT(strlen(i->fingerprint), 64);
    VV_CHECK_INT(vv_tls_cert_problems(c, from - 1), VV_TLS_CERT_NOT_YET);
    VV_CHECK_INT(vv_tls_cert_problems(c, from), 0);
    VV_CHECK_INT(vv_tls_cert_problems(c, to - 1), 0);
    VV_CHECK_INT(vv_tls_cert_problems(c, to), VV_TLS_CERT_EXPIRED);
    vv_tls_cert_unref(c);
    free(chain);
    vv_tls_pem_fini(&pem);
    vv_sb_fini(&why);
}

VV_TEST(key_and_certificate_may_share_a_file_in_any_order)
{
    struct vv_tls_pem pem;
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = NULL;
    kit_pem(VV_TLS_KEY_EC, "a.test", false, &pem);
    char *both = joined(pem.key, pem.cert);
    VV_CHECK_INT(parse(both, NULL, &why, &c), VV_OK);
    VV_CHECK_INT(vv_tls_cert_info(c)->chain_count, 0);
    VV_CHECK_INT(vv_tls_cert_info(c)->key_bits, 256);
    vv_tls_cert_unref(c);
    free(both);
    vv_tls_pem_fini(&pem);
    vv_sb_fini(&why);
}

VV_TEST(the_line_of_what_is_wrong_is_named)
{
    struct vv_tls_pem a, b;
    kit_pem(VV_TLS_KEY_EC, "a.test", false, &a);
    kit_pem(VV_TLS_KEY_EC, "b.test", false, &b);
    check_wrong("", a.key, VV_ESYNTAX, "c.pem: no certificate in this file (PEM is expected)");
    check_wrong(a.cert, "text\n", VV_ESYNTAX,
                "k.pem: no private key in this file (PEM is expected)");
    check_wrong(a.cert, NULL, VV_ESYNTAX, "c.pem: no private key in this file (PEM is expected)");
    check_wrong(a.cert, b.key, VV_EINVAL,
                "k.pem:1: the key does not belong to the certificate in c.pem");
    check_wrong("# x\n\n-----BEGIN CERTIFICATE-----\nabc\n", a.key, VV_ESYNTAX,
                "c.pem:3: the block that begins here has no end");
    check_wrong(a.cert,
                "\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nQUJD\n"
                "-----END ENCRYPTED PRIVATE KEY-----\n",
                VV_ESYNTAX, "k.pem:2: the key is encrypted; give one without a password");
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = NULL;
    char *bad = joined(a.cert, "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n");
    unsigned lines = 1;
    for (const char *p = a.cert; *p != '\0'; p++) {
        lines += *p == '\n';
    }
    char want[64];
    snprintf(want, sizeof(want), "c.pem:%u: this certificate cannot be read", lines);
    VV_CHECK_INT(parse(bad, a.key, &why, &c), VV_ESYNTAX);
    VV_CHECK_INT(strncmp(why.p, want, strlen(want)), 0);
    free(bad);
    vv_sb_fini(&why);
    vv_tls_pem_fini(&a);
    vv_tls_pem_fini(&b);
}

VV_TEST(a_weak_key_is_refused)
{
    struct vv_tls_pem pem;
    const struct vv_tls_make m = {.subject = "Weak",
                                  .key = VV_TLS_KEY_RSA,
                                  .rsa_bits = 1024,
                                  .not_before_wall_ns = VV_SEC,
                                  .not_after_wall_ns = VV_DAY,
                                  .issuer = kit_authority()};
    VV_CHECK_INT(vv_tls_make(&m, &pem), VV_OK);
    check_wrong(pem.cert, pem.key, VV_EINVAL,
                "c.pem: a key of 1024 bits is too weak; at least 2048 are needed");
    vv_tls_pem_fini(&pem);
}

VV_TEST(files_that_are_not_there_are_named)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = NULL;
    const struct vv_tls_cert_files files = {.cert = "/nowhere/c.pem", .key = "/nowhere/k.pem"};
    VV_CHECK_INT(vv_tls_cert_load(&files, &why, &c), VV_ENOENT);
    VV_CHECK_STR(why.p, "/nowhere/c.pem: not found");
    vv_sb_fini(&why);
}

VV_TEST(names_that_cannot_be_are_not_certified)
{
    const char *const bad[] = {"", "a..b", ".a", "a.", "*", "*.", "a*.b", "a b", "x\n", "a,DNS:b"};
    struct vv_tls_pem pem = {NULL, NULL};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        const struct vv_tls_make m = {.subject = "x",
                                      .names = &bad[i],
                                      .name_count = 1,
                                      .not_before_wall_ns = VV_SEC,
                                      .not_after_wall_ns = VV_DAY};
        VV_CHECK_INT(vv_tls_make(&m, &pem), VV_EINVAL);
    }
    VV_CHECK(pem.cert == NULL);
}

/* ---- status answers -------------------------------------------------------------------------- */

struct party {
    X509 *x;
    EVP_PKEY *key;
};

static struct party party_of(const struct vv_tls_pem *pem)
{
    BIO *c = BIO_new_mem_buf(pem->cert, -1), *k = BIO_new_mem_buf(pem->key, -1);
    const struct party p = {PEM_read_bio_X509(c, NULL, NULL, NULL),
                            PEM_read_bio_PrivateKey(k, NULL, NULL, NULL)};
    BIO_free(c);
    BIO_free(k);
    return p;
}

static void party_end(struct party *p)
{
    X509_free(p->x);
    EVP_PKEY_free(p->key);
}

/* An answer about `about`, good until `until_s`, signed by `by` on behalf of the authority. */
static struct vv_str answer(const struct vv_tls_pem *about, const struct vv_tls_pem *by, int status,
                            time_t until_s)
{
    struct party ca = party_of(kit_authority()), subject = party_of(about), signer = party_of(by);
    ASN1_TIME *from = ASN1_TIME_set(NULL, until_s - 3600), *to = ASN1_TIME_set(NULL, until_s);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, subject.x, ca.x);
    ASN1_TIME *revoked = status == V_OCSP_CERTSTATUS_REVOKED ? from : NULL;
    VV_ASSERT(OCSP_basic_add1_status(basic, id, status, -1, revoked, from, to) != NULL);
    VV_ASSERT(OCSP_basic_sign(basic, signer.x, signer.key, EVP_sha256(), NULL, 0) == 1);
    OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *der = NULL;
    const int n = i2d_OCSP_RESPONSE(r, &der);
    VV_ASSERT(n > 0);
    OCSP_RESPONSE_free(r);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    party_end(&ca);
    party_end(&subject);
    party_end(&signer);
    return (struct vv_str){(char *)der, (size_t)n};
}

static struct vv_tls_cert *parse_stapled(const struct vv_tls_pem *pem, struct vv_str der,
                                         bool with_chain, struct vv_sb *why)
{
    struct vv_tls_cert *c = NULL;
    char *chain = joined(pem->cert, with_chain ? kit_authority()->cert : "");
    const struct vv_tls_cert_text text = {.cert_name = "c.pem",
                                          .key_name = "k.pem",
                                          .ocsp_name = "o.der",
                                          .cert = vv_str_from(chain),
                                          .key = vv_str_from(pem->key),
                                          .ocsp = der};
    vv_sb_reset(why);
    VV_CHECK_INT(vv_tls_cert_parse(&text, why, &c), VV_OK);
    free(chain);
    return c;
}

static void check_unusable(const struct vv_tls_pem *pem, struct vv_str der, bool with_chain,
                           const char *text)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = parse_stapled(pem, der, with_chain, &why);
    VV_CHECK_INT(vv_tls_cert_problems(c, vv_clock_wall()), VV_TLS_CERT_STAPLE);
    VV_CHECK_INT(strncmp(why.p, text, strlen(text)), 0);
    VV_CHECK_INT(vv_tls_cert_info(c)->staple_until_wall_ns, 0);
    vv_tls_cert_unref(c);
    vv_sb_fini(&why);
}

VV_TEST(a_status_answer_is_checked_before_it_is_believed)
{
    const time_t until = (time_t)(vv_clock_wall() / VV_SEC) + 3600;
    const struct vv_tls_pem *ca = kit_authority();
    struct vv_tls_pem a, b;
    kit_pem(VV_TLS_KEY_EC, "a.test", false, &a);
    kit_pem(VV_TLS_KEY_EC, "b.test", false, &b);
    struct vv_str good = answer(&a, ca, V_OCSP_CERTSTATUS_GOOD, until);
    struct vv_str other = answer(&b, ca, V_OCSP_CERTSTATUS_GOOD, until);
    struct vv_str forged = answer(&a, &b, V_OCSP_CERTSTATUS_GOOD, until);
    struct vv_str revoked = answer(&a, ca, V_OCSP_CERTSTATUS_REVOKED, until);
    check_unusable(&a, VV_STR("junk"), true, "o.der: this is no status answer (OCSP, DER)");
    check_unusable(&a, good, false, "o.der: the file of the certificate does not hold its issuer");
    check_unusable(&a, other, true, "o.der: this is about another certificate");
    check_unusable(&a, forged, true, "o.der: this was not signed by the issuer");
    check_unusable(&a, revoked, true, "o.der: the certificate was revoked");
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = parse_stapled(&a, good, true, &why);
    VV_CHECK_INT(why.n, 0);
    VV_CHECK_INT(vv_tls_cert_info(c)->staple_until_wall_ns, (uint64_t)until * VV_SEC);
    VV_CHECK_INT(vv_tls_cert_problems(c, vv_clock_wall()), 0);
    VV_CHECK_INT(vv_tls_cert_problems(c, (uint64_t)until * VV_SEC), VV_TLS_CERT_STAPLE);
    vv_tls_cert_unref(c);
    vv_sb_fini(&why);
    OPENSSL_free((void *)(uintptr_t)good.p);
    OPENSSL_free((void *)(uintptr_t)other.p);
    OPENSSL_free((void *)(uintptr_t)forged.p);
    OPENSSL_free((void *)(uintptr_t)revoked.p);
    vv_tls_pem_fini(&a);
    vv_tls_pem_fini(&b);
}

/* What a client that asks for the status is shown: bytes, 0 for none. */
static long shown(struct vv_tls_context *s)
{
    int fd[2];
    struct vv_tls *t = NULL;
    const unsigned char *p = NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    kit_pair(fd);
    VV_ASSERT(vv_tls_accept(s, fd[0], NULL, &t) == VV_OK);
    SSL_set_fd(ssl, fd[1]);
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    SSL_set_connect_state(ssl);
    for (int i = 0; i < KIT_STEPS_MAX && SSL_do_handshake(ssl) != 1; i++) {
        VV_ASSERT(vv_tls_handshake(t) == VV_EAGAIN);
    }
    VV_CHECK_INT(SSL_is_init_finished(ssl), 1);
    const long n = SSL_get_tlsext_status_ocsp_resp(ssl, &p);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    vv_tls_free(t);
    close(fd[0]);
    close(fd[1]);
    return n > 0 ? n : 0;
}

VV_TEST(a_status_answer_is_shown_while_it_is_valid)
{
    const time_t now = (time_t)(vv_clock_wall() / VV_SEC);
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_pem a;
    kit_pem(VV_TLS_KEY_EC, "a.test", false, &a);
    const time_t until[] = {now + 3600, now - 10};
    for (size_t i = 0; i < VV_COUNT(until); i++) {
        struct vv_str der = answer(&a, kit_authority(), V_OCSP_CERTSTATUS_GOOD, until[i]);
        struct vv_tls_cert *c = parse_stapled(&a, der, true, &why);
        struct vv_tls_context *s =
            kit_server((struct vv_tls_server_conf){.certs = &c, .cert_count = 1});
        VV_CHECK_INT(shown(s), i == 0 ? der.n : 0);
        vv_tls_context_unref(s);
        vv_tls_cert_unref(c);
        OPENSSL_free((void *)(uintptr_t)der.p);
    }
    vv_tls_pem_fini(&a);
    vv_sb_fini(&why);
}

/* ---- our own authority ------------------------------------------------------------------------ */

static void check_local(const char *dir, const char *const *names, size_t count, uint64_t wall_ns,
                        bool made_ca, bool made_cert)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_local l;
    VV_CHECK_INT(vv_tls_local(dir, names, count, wall_ns, &why, &l), VV_OK);
    VV_CHECK_INT(l.made_authority, made_ca);
    VV_CHECK_INT(l.made_certificate, made_cert);
    vv_sb_fini(&why);
}

VV_TEST(the_local_authority_makes_what_is_missing_and_keeps_what_is_good)
{
    char dir[] = "/tmp/vivace-local-XXXXXX", path[VV_TLS_LOCAL_PATH];
    const char *const names[] = {"localhost", "app.localhost", "127.0.0.1", "::1"};
    const uint64_t now = vv_clock_wall();
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_local l;
    VV_ASSERT(mkdtemp(dir) != NULL);
    check_local(dir, names, 3, now, true, true);
    check_local(dir, names, 3, now + VV_HOUR, false, false);
    check_local(dir, names, 4, now + VV_HOUR, false, true); /* one name more */
    check_local(dir, names, 4, now + 59 * VV_DAY, false, false);
    check_local(dir, names, 4, now + 61 * VV_DAY, false, true); /* two thirds of 90 days: 60 */
    check_local(dir, names, 4, now + 3000 * VV_DAY, true, true);
    VV_CHECK_INT(vv_tls_local(dir, names, 4, now, &why, &l), VV_OK); /* the clock is back */
    VV_CHECK(l.made_authority);

    struct stat st;
    VV_CHECK_INT(stat(l.key_file, &st), 0);
    VV_CHECK_INT(st.st_mode & 0777, 0600);
    struct vv_tls_cert *cert = NULL;
    const struct vv_tls_cert_files files = {l.cert_file, l.key_file, NULL};
    VV_CHECK_INT(vv_tls_cert_load(&files, &why, &cert), VV_OK);
    struct vv_tls_context *s =
        kit_server((struct vv_tls_server_conf){.certs = &cert, .cert_count = 1});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.ca_file = l.ca_file});
    struct kit k;
    kit_meet(&k, s, c, "app.localhost"); /* who trusts the file trusts the gateway */
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
    vv_tls_cert_unref(cert);
    const char *const files_made[] = {"ca.pem", "ca.key", "local.pem", "local.key"};
    for (size_t i = 0; i < VV_COUNT(files_made); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files_made[i]);
        VV_CHECK_INT(unlink(path), 0);
    }
    VV_CHECK_INT(rmdir(dir), 0);
    VV_CHECK_INT(vv_tls_local(dir, names, 1, now, &why, &l), VV_ENOENT);
    VV_CHECK(strstr(why.p, "ca.key: cannot be written: not found") != NULL);
    vv_sb_fini(&why);
}
