/* tests/unit/acme/test_order.c - the conversation with a scripted authority. */
#include "acme/jws.h"
#include "acme/order.h"
#include "vv_test.h"

#include <stdio.h>

#define TOKEN "ABCDEFGHIJKLMNOPQRSTUV"
#define DIR_DOC                                                                                    \
    "{\"newNonce\":\"https://a/nonce\",\"newAccount\":\"https://a/acct\",\"newOrder\":"            \
    "\"https://a/order\",\"revokeCert\":\"https://a/revoke\",\"meta\":{\"termsOfService\":"        \
    "\"https://a/terms\"}}"
#define ORDER(status, more)                                                                        \
    "{\"status\":\"" status "\",\"finalize\":\"https://a/fin\",\"authorizations\":"                \
    "[\"https://a/authz\"]" more "}"
#define AUTHZ(status, more)                                                                        \
    "{\"status\":\"" status "\",\"challenges\":[{\"type\":\"tls-alpn-01\",\"url\":"                \
    "\"https://a/tls\",\"token\":\"" TOKEN "\"},{\"type\":\"http-01\",\"url\":\"https://a/http\"," \
    "\"token\":\"" TOKEN "\"" more "}]}"
#define PROBLEM(type, detail)                                                                      \
    "{\"type\":\"urn:ietf:params:acme:error:" type "\",\"detail\":\"" detail "\"}"

static EVP_PKEY *account, *cert;
static struct vv_acme_order_conf conf;
static struct vv_acme_order *o;
static uint64_t now;

static void begin(const char *kid)
{
    if (account == NULL) {
        VV_CHECK_INT(vv_acme_key_new(&account), VV_OK);
        VV_CHECK_INT(vv_acme_key_new(&cert), VV_OK);
    }
    conf = (struct vv_acme_order_conf){.account_key = account,
                                       .kid = kid,
                                       .directory = "https://a/dir",
                                       .name = "www.example.org",
                                       .cert_key = cert,
                                       .email = "me@example.org",
                                       .agree = true};
    now = VV_SEC;
    VV_CHECK_INT(vv_acme_order_new(&conf, now, &o), VV_OK);
}

static void end(void)
{
    vv_acme_order_free(o);
    o = NULL;
}

/* The next step must be sending to this URL (after waiting, if it wants to); answered so. The text of a signed
 * request without its signature is kept. */
static char payload[4096];

static void read_payload(struct vv_str body)
{
    const char *at = body.n > 0 ? strstr(body.p, "\"payload\":\"") : NULL;
    size_t n = 0;
    payload[0] = '\0';
    if (at != NULL) {
        at += strlen("\"payload\":\"");
        VV_CHECK_INT(vv_acme_b64_decode((struct vv_str){at, strcspn(at, "\"")}, (uint8_t *)payload,
                                        sizeof payload - 1, &n),
                     VV_OK);
        payload[n] = '\0';
    }
}

static void answer_all(const char *url, int status, const char *body, const char *location,
                       uint64_t retry_after)
{
    struct vv_acme_request r;
    uint64_t until = 0;
    enum vv_acme_step s;
    while ((s = vv_acme_order_next(o, now, &r, &until)) == VV_ACME_STEP_WAIT) {
        now = until;
    }
    VV_CHECK_INT(s, VV_ACME_STEP_SEND);
    VV_CHECK_STR(r.url, url);
    read_payload(r.body);
    const struct vv_acme_answer a = {.status = status,
                                     .body = vv_str_from(body),
                                     .nonce = strcmp(url, "https://a/dir") != 0 ? "another" : NULL,
                                     .location = location,
                                     .retry_after_ns = retry_after};
    vv_acme_order_answer(o, now, &a);
}

static void answer(const char *url, int status, const char *body)
{
    answer_all(url, status, body, NULL, 0);
}

static enum vv_acme_step step(void)
{
    struct vv_acme_request r;
    uint64_t until = 0;
    return vv_acme_order_next(o, now, &r, &until);
}

static bool has_failed(void)
{
    return strcmp(vv_acme_order_state(o), "FAILED") == 0;
}

static const char *failure(enum vv_acme_fault fault)
{
    VV_CHECK_INT(step(), VV_ACME_STEP_FAILED);
    VV_CHECK_INT(vv_acme_order_failure(o)->fault, fault);
    return vv_acme_order_failure(o)->text;
}

/* As far as the challenge. */
static void begin_proving(enum vv_acme_challenge prefer)
{
    begin("https://a/acct/1");
    conf.prefer = prefer;
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/order", 201, ORDER("pending", ""), "https://a/order/1", 0);
    answer("https://a/authz", 200, AUTHZ("pending", ""));
}

VV_TEST(a_whole_order_with_a_new_account)
{
    bool made = false;
    char thumbprint[VV_ACME_THUMBPRINT], want[128];
    begin(NULL);
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/acct", 201, "{\"status\":\"valid\"}", "https://a/acct/7", 0);
    VV_CHECK_STR(payload,
                 "{\"termsOfServiceAgreed\":true,\"contact\":[\"mailto:me@example.org\"]}");
    answer_all("https://a/order", 201, ORDER("pending", ""), "https://a/order/1", 0);
    VV_CHECK_STR(payload, "{\"identifiers\":[{\"type\":\"dns\",\"value\":\"www.example.org\"}]}");
    answer("https://a/authz", 200, AUTHZ("pending", ""));
    VV_CHECK_STR(payload, ""); /* reading is a POST without a payload */
    VV_CHECK_INT(step(), VV_ACME_STEP_PUBLISH);
    VV_CHECK_INT(vv_acme_order_kind(o), VV_ACME_KIND_HTTP);
    VV_CHECK_STR(vv_acme_order_token(o), TOKEN);
    VV_CHECK_INT(vv_acme_thumbprint(account, thumbprint), VV_OK);
    snprintf(want, sizeof want, TOKEN ".%s", thumbprint); /* RFC 8555 section 8.1 */
    VV_CHECK_STR(vv_acme_order_key_authorization(o), want);
    vv_acme_order_published(o);
    answer("https://a/http", 200, "{}");
    VV_CHECK_STR(payload, "{}");
    answer("https://a/authz", 200, AUTHZ("pending", ""));
    answer("https://a/authz", 200, AUTHZ("valid", ""));
    answer("https://a/fin", 200, ORDER("processing", ""));
    VV_CHECK(strncmp(payload, "{\"csr\":\"", 8) == 0);
    answer("https://a/order/1", 200, ORDER("valid", ",\"certificate\":\"https://a/cert\""));
    answer("https://a/cert", 200, "PEM");
    VV_CHECK_INT(step(), VV_ACME_STEP_DONE);
    VV_CHECK_SLICE(vv_acme_order_chain(o), "PEM");
    VV_CHECK_STR(vv_acme_order_kid(o, &made), "https://a/acct/7");
    VV_CHECK(made);
    VV_CHECK_STR(vv_acme_order_terms(o), "https://a/terms");
    end();
}

VV_TEST(a_name_that_was_proved_before_is_not_proved_again)
{
    begin("https://a/acct/1");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/order", 201, ORDER("ready", ""), "https://a/order/1", 0);
    answer("https://a/fin", 200, ORDER("valid", ",\"certificate\":\"https://a/cert\""));
    answer("https://a/cert", 200, "PEM");
    VV_CHECK_INT(step(), VV_ACME_STEP_DONE);
    end();
    begin("https://a/acct/1"); /* or so: the order is pending, its authorization valid */
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/order", 201, ORDER("pending", ""), "https://a/order/1", 0);
    answer("https://a/authz", 200, AUTHZ("valid", ""));
    answer("https://a/fin", 200, ORDER("valid", ",\"certificate\":\"https://a/cert\""));
    end();
}

VV_TEST(an_address_is_ordered_as_one)
{
    begin("https://a/acct/1");
    conf.name = "192.0.2.1";
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/order", 201, ORDER("pending", ""), "https://a/order/1", 0);
    VV_CHECK_STR(payload,
                 "{\"identifiers\":[{\"type\":\"ip\",\"value\":\"192.0.2.1\"}]}"); /* RFC 8738 */
    end();
}

VV_TEST(the_wanted_challenge_is_taken_or_none)
{
    begin_proving(VV_ACME_TLS_ALPN);
    VV_CHECK_INT(step(), VV_ACME_STEP_PUBLISH);
    VV_CHECK_INT(vv_acme_order_kind(o), VV_ACME_KIND_TLS_ALPN);
    vv_acme_order_published(o);
    answer("https://a/tls", 200, "{}");
    end();
    begin("https://a/acct/1");
    conf.prefer = VV_ACME_HTTP;
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/order", 201, ORDER("pending", ""), "https://a/order/1", 0);
    answer("https://a/authz", 200,
           "{\"status\":\"pending\",\"challenges\":[{\"type\":\"tls-alpn-01\",\"url\":"
           "\"https://a/tls\",\"token\":\"" TOKEN "\"}]}");
    VV_CHECK(strstr(failure(VV_ACME_UNACCEPTABLE), "acme.challenge") != NULL);
    end();
}

VV_TEST(a_refused_nonce_costs_a_repetition_until_it_is_too_many)
{
    begin("https://a/acct/1");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    for (int i = 0; i < 24; i++) {
        answer("https://a/order", 400, PROBLEM("badNonce", "stale"));
    }
    answer_all("https://a/order", 201, ORDER("pending", ""), "https://a/order/1", 0);
    for (int i = 0; i < 25; i++) {
        answer("https://a/authz", 400, PROBLEM("badNonce", "stale"));
    }
    VV_CHECK(strstr(failure(VV_ACME_UNREACHABLE), "nonces") != NULL);
    end();
}

VV_TEST(an_answer_without_a_nonce_makes_it_ask_for_one)
{
    struct vv_acme_request r;
    uint64_t until = 0;
    begin("https://a/acct/1");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    VV_CHECK_INT(vv_acme_order_next(o, now, &r, &until), VV_ACME_STEP_SEND);
    const struct vv_acme_answer none = {
        .status = 201, .body = VV_STR(ORDER("pending", "")), .location = "https://a/order/1"};
    vv_acme_order_answer(o, now, &none);
    VV_CHECK_INT(vv_acme_order_next(o, now, &r, &until), VV_ACME_STEP_SEND);
    VV_CHECK_STR(r.url, "https://a/nonce");
    VV_CHECK_INT(r.method, VV_ACME_HEAD);
    end();
}

VV_TEST(a_forgotten_account_is_made_again_once)
{
    begin("https://a/acct/1");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer("https://a/order", 400, PROBLEM("accountDoesNotExist", "who?"));
    answer_all("https://a/acct", 201, "{\"status\":\"valid\"}", "https://a/acct/8", 0);
    answer("https://a/order", 400, PROBLEM("accountDoesNotExist", "who?"));
    VV_CHECK(strstr(failure(VV_ACME_REFUSED), "who?") != NULL);
    end();
}

VV_TEST(a_failed_proof_is_told_in_the_authoritys_words)
{
    begin_proving(VV_ACME_ANY);
    vv_acme_order_published(o);
    answer("https://a/http", 200, "{}");
    answer(
        "https://a/authz", 200,
        AUTHZ("invalid", ",\"status\":\"invalid\",\"error\":" PROBLEM("unauthorized", "got 404")));
    const char *text = failure(VV_ACME_REFUSED);
    VV_CHECK(strstr(text, "got 404 (unauthorized)") != NULL);
    VV_CHECK(strstr(text, "http-01") != NULL);
    end();
}

VV_TEST(waiting_for_a_proof_keeps_to_retry_after_and_ends_after_5_minutes)
{
    struct vv_acme_request r;
    uint64_t until = 0;
    begin_proving(VV_ACME_ANY);
    vv_acme_order_published(o);
    answer("https://a/http", 200, "{}");
    answer_all("https://a/authz", 200, AUTHZ("pending", ""), NULL, 30 * VV_SEC);
    VV_CHECK_INT(vv_acme_order_next(o, now, &r, &until), VV_ACME_STEP_WAIT);
    VV_CHECK_INT(until, now + 30 * VV_SEC);
    const uint64_t began = now;
    while (!has_failed()) {
        answer("https://a/authz", 200, AUTHZ("processing", ""));
        VV_CHECK(now < began + 6 * VV_MINUTE);
    }
    VV_CHECK(now > began + 4 * VV_MINUTE);
    end();
}

VV_TEST(an_order_that_says_ready_forever_ends)
{
    begin("https://a/acct/1");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/order", 201, ORDER("ready", ""), "https://a/order/1", 0);
    int turns = 0;
    while (!has_failed() && ++turns < 20) {
        answer("https://a/fin", 403, PROBLEM("orderNotReady", "wait"));
        if (!has_failed()) {
            answer("https://a/order/1", 200, ORDER("ready", ""));
        }
    }
    VV_CHECK_INT(turns, 11); /* ten times it may be late */
    end();
}

VV_TEST(what_does_not_come_through_is_repeated_three_times)
{
    struct vv_acme_request r;
    uint64_t until = 0;
    begin("https://a/acct/1");
    for (int i = 0; i < 4; i++) {
        enum vv_acme_step s = vv_acme_order_next(o, now, &r, &until);
        if (s == VV_ACME_STEP_WAIT) {
            VV_CHECK_INT(until - now, (VV_SEC / 4) << (i - 1)); /* 250 ms, 500 ms, 1 s */
            now = until;
            s = vv_acme_order_next(o, now, &r, &until);
        }
        VV_CHECK_INT(s, VV_ACME_STEP_SEND);
        vv_acme_order_broken(o, now, "connection refused");
    }
    VV_CHECK_STR(failure(VV_ACME_UNREACHABLE), "connection refused");
    end();
}

VV_TEST(an_authority_that_is_down_is_not_one_that_refuses)
{
    begin("https://a/acct/1");
    for (int i = 0; i < 4; i++) {
        answer("https://a/dir", 503, "<html>");
    }
    VV_CHECK(strstr(failure(VV_ACME_UNREACHABLE), "503") != NULL);
    end();
}

VV_TEST(a_limit_is_told_with_when_to_come_back)
{
    begin("https://a/acct/1");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/order", 429, PROBLEM("rateLimited", "too many certificates"), NULL,
               2 * VV_HOUR);
    VV_CHECK(strstr(failure(VV_ACME_LIMITED), "too many certificates") != NULL);
    VV_CHECK_INT(vv_acme_order_failure(o)->retry_after_ns, 2 * VV_HOUR);
    end();
}

VV_TEST(terms_that_are_not_agreed_to_are_shown)
{
    begin(NULL);
    conf.agree = false;
    answer("https://a/dir", 200, DIR_DOC);
    VV_CHECK(strstr(failure(VV_ACME_UNACCEPTABLE), "https://a/terms") != NULL);
    end();
}

VV_TEST(an_external_account_is_asked_for_and_given)
{
    static const char dir[] =
        "{\"newNonce\":\"https://a/nonce\",\"newAccount\":\"https://a/acct\",\"newOrder\":"
        "\"https://a/order\",\"meta\":{\"externalAccountRequired\":true}}";
    begin(NULL);
    answer("https://a/dir", 200, dir);
    VV_CHECK(strstr(failure(VV_ACME_UNACCEPTABLE), "acme.eab") != NULL);
    end();
    begin(NULL);
    conf.eab_key = "kid-1";
    conf.eab_mac = "Zm9vYmFy";
    answer("https://a/dir", 200, dir);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/acct", 201, "{\"status\":\"valid\"}", "https://a/acct/7", 0);
    VV_CHECK(strstr(payload, "\"externalAccountBinding\":{\"protected\":\"") != NULL);
    end();
}

VV_TEST(a_closed_account_is_told)
{
    begin(NULL);
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer_all("https://a/acct", 200, "{\"status\":\"deactivated\"}", "https://a/acct/7", 0);
    VV_CHECK(strstr(failure(VV_ACME_REFUSED), "account.key") != NULL);
    end();
}

VV_TEST(revoking_needs_no_account_and_twice_is_as_good)
{
    begin(NULL);
    conf.cert_key = NULL;
    conf.revoke_der = VV_STR("foobar");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer("https://a/revoke", 400, PROBLEM("alreadyRevoked", "done"));
    VV_CHECK_STR(payload, "{\"certificate\":\"Zm9vYmFy\"}"); /* base64 of foobar, RFC 4648 */
    VV_CHECK_INT(step(), VV_ACME_STEP_DONE);
    end();
}

VV_TEST(nonsense_at_any_place_is_a_failure_and_no_more)
{
    begin("https://a/acct/1");
    answer("https://a/dir", 200, "[]");
    VV_CHECK(strstr(failure(VV_ACME_UNREACHABLE), "no ACME directory") != NULL);
    end();
    begin("https://a/acct/1");
    answer("https://a/dir", 200, DIR_DOC);
    answer("https://a/nonce", 200, "");
    answer("https://a/order", 201, ORDER("pending", "")); /* without Location */
    (void)failure(VV_ACME_UNREACHABLE);
    end();
    begin_proving(VV_ACME_ANY);
    vv_acme_order_published(o);
    answer("https://a/http", 200, "{}");
    answer("https://a/authz", 200, "{}");
    (void)failure(VV_ACME_UNREACHABLE);
    end();
}
