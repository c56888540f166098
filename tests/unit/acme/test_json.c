/* tests/unit/acme/test_json.c - documents of an authority: what is needed, what is ignored. */
#include "acme/json.h"
#include "vv_test.h"

#include <stdio.h>

static struct vv_str text(const char *s)
{
    return vv_str_from(s);
}

VV_TEST(a_directory_needs_three_addresses_and_may_have_more)
{
    struct vv_acme_directory d;
    VV_CHECK_INT(vv_acme_read_directory(
                     text("{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\","
                          "\"newOrder\":\"https://a/o\",\"revokeCert\":\"https://a/r\",\"new\":1,"
                          "\"meta\":{\"termsOfService\":\"https://a/tos\","
                          "\"externalAccountRequired\":true}}"),
                     &d),
                 VV_OK);
    VV_CHECK_STR(d.new_order, "https://a/o");
    VV_CHECK_STR(d.revoke, "https://a/r");
    VV_CHECK_STR(d.terms, "https://a/tos");
    VV_CHECK(d.external_account);
    VV_CHECK_INT(vv_acme_read_directory(text("{\"newNonce\":\"https://a/n\",\"newAccount\":"
                                             "\"https://a/a\",\"newOrder\":\"https://a/o\"}"),
                                        &d),
                 VV_OK);
    VV_CHECK_STR(d.revoke, "");
    VV_CHECK(!d.external_account);
}

VV_TEST(a_directory_that_lacks_something_or_is_something_else_is_malformed)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "<html>",
        "{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\"}",
        "{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\",\"newOrder\":7}",
        "{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\",\"newOrder\":\"file:///"
        "etc\"}",
        "{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\",\"newOrder\":\"https://a/ "
        "b\"}",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        struct vv_acme_directory d;
        VV_CHECK_INT(vv_acme_read_directory(text(bad[i]), &d), VV_ESYNTAX);
    }
}

VV_TEST(an_authority_is_spoken_to_over_https_only)
{
    struct vv_acme_directory d;
    VV_CHECK_INT(vv_acme_read_directory(text("{\"newNonce\":\"https://a/n\",\"newAccount\":"
                                             "\"http://a/a\",\"newOrder\":\"https://a/o\"}"),
                                        &d),
                 VV_ESYNTAX);
    VV_CHECK_INT(vv_acme_read_directory(text("{\"newNonce\":\"https://a/n\",\"newAccount\":"
                                             "\"https://a/a\",\"newOrder\":\"https://a/o\","
                                             "\"meta\":{\"termsOfService\":\"http://a/tos\"}}"),
                                        &d),
                 VV_OK);
    VV_CHECK_STR(d.terms, "http://a/tos"); /* for people to read */
}

VV_TEST(an_address_that_is_too_long_is_not_cut)
{
    char doc[2048], url[VV_ACME_URL_MAX + 16];
    struct vv_acme_directory d;
    for (size_t n = VV_ACME_URL_MAX - 1; n <= VV_ACME_URL_MAX; n++) {
        memset(url, 'u', n);
        memcpy(url, "https://", 8);
        url[n] = '\0';
        snprintf(
            doc, sizeof doc,
            "{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\",\"newOrder\":\"%s\"}",
            url);
        VV_CHECK_INT(vv_acme_read_directory(text(doc), &d),
                     n < VV_ACME_URL_MAX ? VV_OK : VV_ESYNTAX); /* with its NUL */
    }
}

VV_TEST(an_order_has_a_status_authorizations_and_where_to_finalize)
{
    struct vv_acme_order_doc d;
    VV_CHECK_INT(vv_acme_read_order(
                     text("{\"status\":\"invalid\",\"finalize\":\"https://a/f\",\"authorizations\":"
                          "[\"https://a/1\",\"https://a/2\"],\"error\":{\"type\":"
                          "\"urn:ietf:params:acme:error:caa\",\"detail\":\"forbidden by CAA\"}}"),
                     &d),
                 VV_OK);
    VV_CHECK_INT(d.status, VV_ACME_INVALID);
    VV_CHECK_INT(d.authorization_count, 2);
    VV_CHECK_STR(d.authorization, "https://a/1");
    VV_CHECK_STR(d.certificate, "");
    VV_CHECK_STR(d.problem.type, "caa");
    VV_CHECK_STR(d.problem.detail, "forbidden by CAA");
    VV_CHECK_INT(vv_acme_read_order(text("{\"status\":\"odd\",\"finalize\":\"https://a/f\","
                                         "\"authorizations\":[\"https://a/1\"]}"),
                                    &d),
                 VV_ESYNTAX);
    VV_CHECK_INT(vv_acme_read_order(text("{\"status\":\"ready\",\"finalize\":\"https://a/f\","
                                         "\"authorizations\":[]}"),
                                    &d),
                 VV_ESYNTAX);
}

VV_TEST(of_challenges_only_those_we_can_do_are_kept)
{
    struct vv_acme_authorization d;
    VV_CHECK_INT(
        vv_acme_read_authorization(
            text("{\"status\":\"pending\",\"challenges\":["
                 "{\"type\":\"dns-01\",\"url\":\"https://a/"
                 "d\",\"token\":\"ABCDEFGHIJKLMNOPQRSTUV\"},"
                 "{\"type\":\"http-01\",\"url\":\"https://a/"
                 "h\",\"token\":\"ABCDEFGHIJKLMNOPQRSTUV\"},"
                 "{\"type\":\"http-01\",\"url\":\"https://a/h\",\"token\":\"../../../../../etc/"
                 "passwd\"},"
                 "{\"type\":\"tls-alpn-01\",\"url\":\"https://a/t\",\"token\":\"short\"},"
                 "{\"type\":\"tls-alpn-01\",\"status\":\"invalid\",\"url\":\"https://a/t\","
                 "\"token\":\"ABCDEFGHIJKLMNOPQRSTU_\",\"error\":{\"type\":\"x\",\"detail\":\"y\"}}"
                 "]}"),
            &d),
        VV_OK);
    VV_CHECK_INT(d.challenge_count, 2);
    VV_CHECK_INT(d.challenge[0].kind, VV_ACME_KIND_HTTP);
    VV_CHECK_INT(d.challenge[1].kind, VV_ACME_KIND_TLS_ALPN);
    VV_CHECK_INT(d.challenge[1].status, VV_ACME_INVALID);
    VV_CHECK_STR(d.challenge[1].problem.detail, "y");
}

VV_TEST(a_token_has_at_least_128_bits_of_base64url)
{
    VV_CHECK(vv_acme_is_token(VV_STR("ABCDEFGHIJKLMNOPQRST-_"))); /* 22 digits of 6 bits are 132 */
    VV_CHECK(!vv_acme_is_token(VV_STR("ABCDEFGHIJKLMNOPQRST-")));
    VV_CHECK(!vv_acme_is_token(VV_STR("ABCDEFGHIJKLMNOPQRST./")));
    VV_CHECK(!vv_acme_is_token(VV_STR("")));
}

VV_TEST(a_problem_is_in_the_authoritys_words_without_control_characters)
{
    struct vv_acme_problem p;
    vv_acme_read_problem(text("{\"type\":\"urn:ietf:params:acme:error:rejectedIdentifier\","
                              "\"detail\":\"many\\u001b[31m\\nlines\",\"subproblems\":[]}"),
                         &p);
    VV_CHECK_STR(p.type, "rejectedIdentifier");
    VV_CHECK_STR(p.detail, "many [31m lines");
    vv_acme_read_problem(
        text("{\"type\":\"urn:ietf:params:acme:error:compound\",\"detail\":\"several\","
             "\"subproblems\":[{\"detail\":\"the first\"},{\"detail\":\"x\"}]}"),
        &p);
    VV_CHECK_STR(p.detail, "the first");
    vv_acme_read_problem(text("<html>502</html>"), &p);
    VV_CHECK_STR(p.type, "");
}

VV_TEST(a_problem_that_is_too_long_is_cut_between_characters)
{
    char doc[2048];
    struct vv_acme_problem p;
    /* 383 bytes fit: 382 letters, then a letter of two bytes that does not */
    int n = snprintf(doc, sizeof doc, "{\"type\":\"t\",\"detail\":\"");
    memset(doc + n, 'a', 382);
    snprintf(doc + n + 382, sizeof doc - (size_t)n - 382, "\xc3\xbc\"}");
    vv_acme_read_problem(text(doc), &p);
    VV_CHECK_INT(strlen(p.detail), 382);
}

VV_TEST(what_is_remembered_reads_back_and_nonsense_is_nothing)
{
    struct vv_acme_memory m;
    VV_CHECK_INT(vv_acme_read_memory(text("{\"issued_ns\":12,\"failures\":3,\"retry_ns\":-5,"
                                          "\"authority\":\"https://a\",\"error\":\"no\"}"),
                                     &m),
                 VV_OK);
    VV_CHECK_INT(m.issued_wall_ns, 12);
    VV_CHECK_INT(m.failures, 3);
    VV_CHECK_INT(m.retry_wall_ns, 0);
    VV_CHECK_STR(m.error, "no");
    VV_CHECK_INT(vv_acme_read_memory(text("]"), &m), VV_ESYNTAX);
}

VV_TEST(an_account_is_found_by_the_authoritys_directory)
{
    char kid[VV_ACME_URL_MAX];
    const struct vv_str doc = VV_STR("{\"accounts\":{\"https://a/dir\":\"https://a/acct/1\"}}");
    VV_CHECK(vv_acme_read_kid(doc, "https://a/dir", kid));
    VV_CHECK_STR(kid, "https://a/acct/1");
    VV_CHECK(!vv_acme_read_kid(doc, "https://b/dir", kid));
}
