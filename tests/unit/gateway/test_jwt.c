/* tests/unit/gateway/test_jwt.c - which tokens hold; tests/data/access/make.py says how each was made. */
#include "base/base64.h"
#include "gateway/jwt.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW_S INT64_C(1800000000) /* of make.py */

static char *read_data(const char *name, size_t *ret_n)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/access/%s", VV_TEST_DATA, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = calloc(1, 65536);
    *ret_n = fread(text, 1, 65535, f);
    (void)fclose(f);
    return text;
}

static struct vv_jwks *read_keys(void)
{
    struct vv_jwks *keys = NULL;
    char why[256] = "";
    size_t n = 0;
    char *text = read_data("jwks.json", &n);
    VV_CHECK_INT(vv_jwks_parse((struct vv_str){text, n}, &keys, why), VV_OK);
    free(text);
    return keys;
}

static const struct vv_str audience[] = {{"web", 3}, {"api", 3}};
static const struct vv_jwt_rules rules = {
    .algorithms = VV_JWT_RS256 | VV_JWT_ES256 | VV_JWT_EDDSA,
    .issuer = {"https://id.example.org", 22},
    .audience = audience,
    .audience_count = 2,
    .skew_s = 60,
    .subject = {"sub", 3},
    .plan = {"plan", 4},
};

static const char *verdict_name(enum vv_jwt_verdict v)
{
    static const char *const names[] = {
#define VV_X(id, text) #id,
        VV_JWT_VERDICTS(VV_X)
#undef VV_X
    };
    return names[v];
}

/* The named token of the file; checks that it is there. */
static struct vv_str token_of(const char *text, const char *name)
{
    char start[64];
    (void)snprintf(start, sizeof start, "%s ", name);
    const char *at = strstr(text, start);
    assert_non_null(at);
    at = strchr(at + strlen(start), ' ') + 1;
    return (struct vv_str){at, strcspn(at, "\n")};
}

VV_TEST(every_token_of_the_file_gets_its_verdict)
{
    struct vv_jwks *keys = read_keys();
    size_t n = 0, lines = 0;
    char *text = read_data("tokens.txt", &n);
    struct vv_str rest = {text, n};
    while (rest.n > 0) {
        struct vv_str line = vv_str_cut(&rest, '\n');
        const struct vv_str name = vv_str_cut(&line, ' ');
        const struct vv_str wanted = vv_str_cut(&line, ' ');
        struct vv_jwt_claims claims;
        enum vv_jwt_verdict why = VV_JWT_VERDICT_COUNT;
        const enum vv_err err = vv_jwt_verify(line, keys, &rules, NOW_S, &claims, &why);
        if (!vv_str_eq(wanted, vv_str_from(verdict_name(why)))) {
            fail_msg("%.*s: %s", VV_STR_ARG(name), verdict_name(why));
        }
        VV_CHECK_INT(err == VV_OK, why == VV_JWT_FINE);
        if (err == VV_OK) {
            VV_CHECK_STR(claims.subject, "ann");
            VV_CHECK_STR(claims.plan, "premium");
        }
        lines++;
    }
    VV_CHECK_INT(lines, 29);
    free(text);
    vv_jwks_free(keys);
}

VV_TEST(a_token_holds_until_the_skew_after_its_end)
{
    struct vv_jwks *keys = read_keys();
    struct vv_jwt_claims claims;
    enum vv_jwt_verdict why;
    size_t n = 0;
    char *text = read_data("tokens.txt", &n);
    const struct vv_str token = token_of(text, "rs256"); /* exp is NOW + 300 */
    VV_CHECK_INT(vv_jwt_verify(token, keys, &rules, NOW_S + 359, &claims, &why), VV_OK);
    VV_CHECK_INT(claims.expires_s, NOW_S + 360);
    VV_CHECK_INT(vv_jwt_verify(token, keys, &rules, NOW_S + 360, &claims, &why), VV_EACCES);
    VV_CHECK_INT(why, VV_JWT_EXPIRED);
    /* made at NOW: 60 s before, clocks may differ so much; 61 s before, they may not */
    VV_CHECK_INT(vv_jwt_verify(token, keys, &rules, NOW_S - 60, &claims, &why), VV_OK);
    VV_CHECK_INT(vv_jwt_verify(token, keys, &rules, NOW_S - 61, &claims, &why), VV_EACCES);
    VV_CHECK_INT(why, VV_JWT_EARLY);
    free(text);
    vv_jwks_free(keys);
}

VV_TEST(an_algorithm_that_is_not_allowed_is_refused_although_a_key_fits)
{
    struct vv_jwks *keys = read_keys();
    struct vv_jwt_rules only = rules;
    struct vv_jwt_claims claims;
    enum vv_jwt_verdict why;
    size_t n = 0;
    char *text = read_data("tokens.txt", &n);
    only.algorithms = VV_JWT_EDDSA;
    VV_CHECK_INT(vv_jwt_verify(token_of(text, "rs256"), keys, &only, NOW_S, &claims, &why),
                 VV_EACCES);
    VV_CHECK_INT(why, VV_JWT_ALGORITHM);
    VV_CHECK_INT(vv_jwt_verify(token_of(text, "eddsa"), keys, &only, NOW_S, &claims, &why), VV_OK);
    free(text);
    vv_jwks_free(keys);
}

VV_TEST(any_changed_letter_of_a_token_is_noticed)
{
    struct vv_jwks *keys = read_keys();
    struct vv_jwt_claims claims;
    enum vv_jwt_verdict why;
    size_t n = 0;
    char *text = read_data("tokens.txt", &n);
    const struct vv_str token = token_of(text, "es256");
    char *copy = strndup(token.p, token.n);
    for (size_t i = 0; i < token.n; i += 3) {
        const char old = copy[i];
        copy[i] = old == 'A' ? 'B' : 'A';
        VV_CHECK_INT(
            vv_jwt_verify((struct vv_str){copy, token.n}, keys, &rules, NOW_S, &claims, &why),
            VV_EACCES);
        copy[i] = old;
    }
    free(copy);
    free(text);
    vv_jwks_free(keys);
}

VV_TEST(a_set_keeps_only_keys_that_check_our_signatures)
{
    struct vv_jwks *keys = read_keys();
    VV_CHECK_INT(vv_jwks_count(keys), 3); /* not the secret, not the one for encryption */
    vv_jwks_free(keys);
}

VV_TEST(a_set_without_a_usable_key_is_refused)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
        /* a modulus of 24 bits */
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        /* a point that is not on the curve: 0, 0 */
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
        "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}",
        "{\"keys\":[],\"keys\":[]}",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        struct vv_jwks *keys = NULL;
        char why[256] = "";
        VV_CHECK(vv_jwks_parse(vv_str_from(bad[i]), &keys, why) != VV_OK);
        VV_CHECK(why[0] != '\0');
    }
}

VV_TEST(base64_reads_what_it_writes_and_nothing_else)
{
    static const char *const pairs[][2] = {
        /* RFC 4648 section 10 */
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
    char out[64];
    size_t n = 0;
    for (size_t i = 0; i < VV_COUNT(pairs); i++) {
        n = vv_base64_encode(VV_BASE64, pairs[i][0], strlen(pairs[i][0]), out);
        VV_CHECK_SLICE(((struct vv_str){out, n}), pairs[i][1]);
        VV_CHECK_INT(vv_base64_decode(VV_BASE64, vv_str_from(pairs[i][1]), out, sizeof out, &n),
                     VV_OK);
        VV_CHECK_SLICE(((struct vv_str){out, n}), pairs[i][0]);
    }
    static const char *const bad[] = {"Zg", "Zg=", "Zh==", "Z===", "Zg==Zg==", "Zm 9", "Zm-_"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(vv_base64_decode(VV_BASE64, vv_str_from(bad[i]), out, sizeof out, &n),
                     VV_ESYNTAX);
    }
    VV_CHECK_INT(vv_base64_decode(VV_BASE64_URL, VV_STR("-_8"), out, sizeof out, &n), VV_OK);
    VV_CHECK_INT((unsigned char)out[0], 0xfb); /* 62 << 2 | 63 >> 4 */
    VV_CHECK_INT(vv_base64_decode(VV_BASE64, VV_STR("Zm9v"), out, 2, &n), VV_ERANGE);
}
