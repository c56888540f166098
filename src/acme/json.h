/* src/acme/json.h - the documents of an authority, from JSON to plain values.
 *
 * Model:     strict about what is used, blind to what is not: unknown members and words are ignored, a
 *            missing or overlong member that is needed is VV_ESYNTAX.
 * Source:    RFC 8555 sections 7.1 (directory, order, authorization), 8 (challenges), RFC 7807 (problems).
 * Threads:   pure. Ownership: plain values, nothing points into the text.
 */
#ifndef VV_ACME_JSON_H
#define VV_ACME_JSON_H
#include "base/err.h"
#include "base/str.h"

#define VV_ACME_URL_MAX 512
#define VV_ACME_TOKEN_MAX 129
#define VV_ACME_CHALLENGES_MAX 8
#define VV_ACME_DOCUMENT_MAX (256 * 1024) /* bytes of an answer */

struct vv_acme_directory {
    char new_nonce[VV_ACME_URL_MAX], new_account[VV_ACME_URL_MAX], new_order[VV_ACME_URL_MAX];
    char revoke[VV_ACME_URL_MAX]; /* "": this authority revokes nothing */
    char terms[VV_ACME_URL_MAX];  /* "": it has none */
    bool external_account;        /* it asks for one */
};

enum vv_acme_status { /* of orders, authorizations, challenges and accounts */
                      VV_ACME_UNKNOWN,
                      VV_ACME_PENDING,
                      VV_ACME_READY,
                      VV_ACME_PROCESSING,
                      VV_ACME_VALID,
                      VV_ACME_INVALID,
                      VV_ACME_DEACTIVATED,
                      VV_ACME_EXPIRED,
                      VV_ACME_REVOKED
};

struct vv_acme_problem {
    char type[64];    /* without "urn:ietf:params:acme:error:"; "": none */
    char detail[384]; /* the authority's words, printable; of subproblems the first */
};

struct vv_acme_order_doc {
    enum vv_acme_status status;
    char authorization[VV_ACME_URL_MAX];
    char finalize[VV_ACME_URL_MAX];
    char certificate[VV_ACME_URL_MAX]; /* "": not yet */
    size_t authorization_count;
    struct vv_acme_problem problem;
};

enum vv_acme_kind { VV_ACME_KIND_OTHER, VV_ACME_KIND_HTTP, VV_ACME_KIND_TLS_ALPN };
struct vv_acme_challenge_doc {
    enum vv_acme_kind kind;
    enum vv_acme_status status;
    char url[VV_ACME_URL_MAX], token[VV_ACME_TOKEN_MAX];
    struct vv_acme_problem problem;
};
struct vv_acme_authorization {
    enum vv_acme_status status;
    struct vv_acme_challenge_doc challenge[VV_ACME_CHALLENGES_MAX]; /* kinds we can do first */
    size_t challenge_count;
};

VV_MUST_CHECK enum vv_err vv_acme_read_directory(struct vv_str text, struct vv_acme_directory *ret);
VV_MUST_CHECK enum vv_err vv_acme_read_order(struct vv_str text, struct vv_acme_order_doc *ret);
VV_MUST_CHECK enum vv_err vv_acme_read_authorization(struct vv_str text,
                                                     struct vv_acme_authorization *ret);
/* Of an account only its status matters; its name is in a header field. */
VV_MUST_CHECK enum vv_err vv_acme_read_account(struct vv_str text, enum vv_acme_status *ret);
/* Never fails: what is no problem document has an empty type. */
void vv_acme_read_problem(struct vv_str text, struct vv_acme_problem *ret);
bool vv_acme_is_token(
    struct vv_str token); /* base64url of at least 128 bits, RFC 8555 section 8.3 */

/* What the store remembers of a name between runs. */
struct vv_acme_memory {
    uint64_t issued_wall_ns; /* 0: unknown */
    uint64_t failures;
    uint64_t retry_wall_ns; /* 0: at once */
    char authority[VV_ACME_URL_MAX];
    char error[512];
};
VV_MUST_CHECK enum vv_err vv_acme_read_memory(struct vv_str text, struct vv_acme_memory *ret);
/* The account's URL at an authority, from account.json; false: none. */
bool vv_acme_read_kid(struct vv_str text, const char *directory, char ret[VV_ACME_URL_MAX]);
#endif
