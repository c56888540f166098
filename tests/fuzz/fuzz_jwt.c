/* tests/fuzz/fuzz_jwt.c - no token of any shape holds for an issuer that signed none; sets of keys that are
 * read have keys. The public key is d1 of tests/data/access/jwks.json, so that seeds get past signatures. */
#include "gateway/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SET                                                                                        \
    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d1\",\"x\":\"oE4-"                  \
    "ZoGsQLeQkVsaMnW72z8tbIe_JeV5DyqIfBQ0hqM\"}]}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vv_jwks *keys;
    const struct vv_str audience[] = {VV_STR("api")};
    const struct vv_jwt_rules rules = {.algorithms = VV_JWT_RS256 | VV_JWT_ES256 | VV_JWT_EDDSA,
                                       .issuer = VV_STR("nobody"),
                                       .audience = audience,
                                       .audience_count = 1,
                                       .subject = VV_STR("sub"),
                                       .plan = VV_STR("plan")};
    const struct vv_str text = {(const char *)data, size};
    struct vv_jwks *own = NULL;
    struct vv_jwt_claims claims;
    enum vv_jwt_verdict why = VV_JWT_FINE;
    char error[256];
    if (keys == NULL) {
        VV_ASSERT(vv_jwks_parse(VV_STR(SET), &keys, error) == VV_OK);
    }
    VV_ASSERT(vv_jwt_verify(text, keys, &rules, 1800000000, &claims, &why) == VV_EACCES);
    VV_ASSERT(why != VV_JWT_FINE);
    if (vv_jwks_parse(text, &own, error) == VV_OK) {
        VV_ASSERT(vv_jwks_count(own) > 0);
        vv_jwks_free(own);
    }
    return 0;
}
