/* tests/unit/acme/test_names.c - which names a certificate can be ordered for. */
#include "acme/acme.h"
#include "vv_test.h"

VV_TEST(hosts_and_addresses_can_have_a_certificate)
{
    static const char *const good[] = {
        "example.org", "a-b.example.org", "localhost", "xn--bcher-kva.example",
        "192.0.2.1",   "2001:db8::1",     "1.example"};
    for (size_t i = 0; i < VV_COUNT(good); i++) {
        VV_CHECK(vv_acme_name_problem(good[i], VV_ACME_ANY) == NULL);
    }
}

VV_TEST(other_names_are_refused_with_a_reason)
{
    static const char *const bad[] = {"",           ".example.org",     "example.org.", "a..b",
                                      "-a.example", "a-.example",       "a_b.example",  "a b",
                                      "a/../b",     "b\xc3\xbc.example"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK(vv_acme_name_problem(bad[i], VV_ACME_ANY) != NULL);
    }
    char label[80];
    memset(label, 'a', 63);
    label[63] = '\0';
    VV_CHECK(vv_acme_name_problem(label, VV_ACME_ANY) == NULL);
    label[63] = 'a';
    label[64] = '\0'; /* RFC 1035: a label has at most 63 bytes */
    VV_CHECK(vv_acme_name_problem(label, VV_ACME_ANY) != NULL);
}

VV_TEST(a_wildcard_is_refused_because_it_needs_another_challenge)
{
    VV_CHECK(strstr(vv_acme_name_problem("*.example.org", VV_ACME_ANY), "dns-01") != NULL);
}

VV_TEST(an_address_cannot_be_proved_over_tls_alpn)
{
    VV_CHECK(strstr(vv_acme_name_problem("192.0.2.1", VV_ACME_TLS_ALPN), "http-01") != NULL);
    VV_CHECK(vv_acme_name_problem("192.0.2.1", VV_ACME_HTTP) == NULL);
}
