/* src/os/tls_staple.c - a status answer is checked when it is read: it must be the issuer's, about this
 * certificate, and say that it is good. What fails here would fail in every client instead. */
#include "os/tls_int.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>

/* The certificate after ours in the chain, when it is the one that signed ours. */
static X509 *issuer_of(const struct vv_tls_cert *c)
{
    X509 *next = sk_X509_num(c->chain) > 0 ? sk_X509_value(c->chain, 0) : NULL;
    return next != NULL && X509_check_issued(next, c->x509) == X509_V_OK ? next : NULL;
}

static bool signed_by(OCSP_BASICRESP *basic, struct vv_tls_cert *c, X509 *issuer)
{
    X509_STORE *trust = X509_STORE_new();
    bool ok = trust != NULL && X509_STORE_add_cert(trust, issuer) == 1 &&
              X509_STORE_set_flags(trust, X509_V_FLAG_PARTIAL_CHAIN) == 1;
    ok = ok && OCSP_basic_verify(basic, c->chain, trust, 0) == 1;
    X509_STORE_free(trust);
    return ok;
}

/* NULL when it can be served; otherwise what is wrong. */
static const char *judge(struct vv_tls_cert *c, OCSP_BASICRESP *basic)
{
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    int status = -1;
    X509 *issuer = issuer_of(c);
    if (issuer == NULL) {
        return "the file of the certificate does not hold its issuer, so this cannot be checked";
    }
    if (basic == NULL) {
        return "the responder did not answer the question";
    }
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, c->x509, issuer);
    const bool found =
        id != NULL && OCSP_resp_find_status(basic, id, &status, NULL, NULL, &from, &until) == 1;
    OCSP_CERTID_free(id);
    if (!found) {
        return "this is about another certificate";
    }
    if (!signed_by(basic, c, issuer)) {
        return "this was not signed by the issuer of the certificate";
    }
    if (status != V_OCSP_CERTSTATUS_GOOD) {
        return status == V_OCSP_CERTSTATUS_REVOKED ? "the certificate was revoked"
                                                   : "the responder does not know the certificate";
    }
    c->info.staple_until_wall_ns = until != NULL ? vv_tls_wall_of(until) : UINT64_MAX;
    return NULL;
}

void vv_tls_staple_check(struct vv_tls_cert *c, const char *name, struct vv_str der,
                         struct vv_sb *why)
{
    const unsigned char *p = (const unsigned char *)der.p;
    OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &p, (long)der.n);
    const char *what = "this is no status answer (OCSP, DER)";
    if (r != NULL) {
        OCSP_BASICRESP *basic = OCSP_response_status(r) == OCSP_RESPONSE_STATUS_SUCCESSFUL
                                    ? OCSP_response_get1_basic(r)
                                    : NULL;
        what = judge(c, basic);
        OCSP_BASICRESP_free(basic);
    }
    OCSP_RESPONSE_free(r);
    if (what == NULL && (c->staple = malloc(der.n)) == NULL) {
        what = "out of memory";
    }
    if (what != NULL) {
        c->problems |= VV_TLS_CERT_STAPLE;
        c->info.staple_until_wall_ns = 0;
        vv_sb_addf(why, "%s: ", name);
        vv_tls_say(why, what);
        return;
    }
    memcpy(c->staple, der.p, der.n);
    c->staple_n = der.n;
    ERR_clear_error();
}
