/* src/acme/json.c - jansson parses; here is decided what must be there. */
#include "acme/json.h"

#include <jansson.h>
#include <stdio.h>

#define PROBLEM_PREFIX "urn:ietf:params:acme:error:"
#define TOKEN_BYTES_MIN 22 /* 128 bits in base64url */

static json_t *read_object(struct vv_str text)
{
    if (text.n > VV_ACME_DOCUMENT_MAX) {
        return NULL;
    }
    json_t *root = json_loadb(text.p != NULL ? text.p : "", text.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/* False: no text, or longer than there is room. */
static bool text_of(const json_t *v, char *out, size_t room)
{
    const size_t n = json_is_string(v) ? json_string_length(v) : 0;
    if (n == 0 || n >= room) {
        return false;
    }
    memcpy(out, json_string_value(v), n + 1);
    return true;
}

static bool get_text(const json_t *object, const char *key, char *out, size_t room)
{
    return text_of(json_object_get(object, key), out, room);
}

/* One to be shown: printable, no spaces. */
static bool page_of(const json_t *v, char out[VV_ACME_URL_MAX])
{
    if (!text_of(v, out, VV_ACME_URL_MAX)) {
        return false;
    }
    bool ok = strncmp(out, "https://", 8) == 0 || strncmp(out, "http://", 7) == 0;
    for (const char *p = out; *p != '\0'; p++) {
        ok = ok && *p > ' ' && *p < 127;
    }
    if (!ok) {
        out[0] = '\0';
    }
    return ok;
}

/* One that may be fetched: RFC 8555 section 6.1 knows no other way than this. */
static bool url_of(const json_t *v, char out[VV_ACME_URL_MAX])
{
    if (!page_of(v, out)) {
        return false;
    }
    if (strncmp(out, "https://", 8) != 0) {
        out[0] = '\0';
        return false;
    }
    return true;
}

static bool get_url(const json_t *object, const char *key, char out[VV_ACME_URL_MAX])
{
    return url_of(json_object_get(object, key), out);
}

static enum vv_acme_status get_status(const json_t *object)
{
    static const char *const words[] = {"",        "pending",     "ready",   "processing", "valid",
                                        "invalid", "deactivated", "expired", "revoked"};
    const char *word = json_string_value(json_object_get(object, "status"));
    for (size_t i = 1; word != NULL && i < VV_COUNT(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            return (enum vv_acme_status)i;
        }
    }
    return VV_ACME_UNKNOWN;
}

/* ---- problems ------------------------------------------------------------------------------ */

/* For logs and terminals: control characters become spaces, what is too long is cut. */
static void copy_printable(char *out, size_t room, const char *text)
{
    size_t n = 0;
    for (; text[n] != '\0' && n + 1 < room; n++) {
        out[n] = (unsigned char)text[n] < ' ' || text[n] == 127 ? ' ' : text[n];
    }
    if (text[n] != '\0') { /* no half character */
        while (n > 0 && ((unsigned char)out[n - 1] & 0xc0) == 0x80) {
            n--;
        }
        n -= n > 0 && ((unsigned char)out[n - 1] & 0x80) != 0;
    }
    out[n] = '\0';
}

static void get_problem(const json_t *object, struct vv_acme_problem *ret)
{
    *ret = (struct vv_acme_problem){.type = ""};
    const char *type = json_string_value(json_object_get(object, "type"));
    const char *detail = json_string_value(json_object_get(object, "detail"));
    if (type == NULL) {
        return;
    }
    if (strncmp(type, PROBLEM_PREFIX, sizeof(PROBLEM_PREFIX) - 1) == 0) {
        type += sizeof(PROBLEM_PREFIX) - 1;
    }
    const json_t *part = json_array_get(json_object_get(object, "subproblems"), 0);
    const char *more = json_string_value(json_object_get(part, "detail"));
    copy_printable(ret->type, sizeof ret->type, type[0] != '\0' ? type : "unknown");
    copy_printable(ret->detail, sizeof ret->detail,
                   more != NULL     ? more
                   : detail != NULL ? detail
                                    : "");
}

void vv_acme_read_problem(struct vv_str text, struct vv_acme_problem *ret)
{
    json_t *root = read_object(text);
    get_problem(root, ret);
    json_decref(root);
}

/* ---- documents ----------------------------------------------------------------------------- */

enum vv_err vv_acme_read_directory(struct vv_str text, struct vv_acme_directory *ret)
{
    struct vv_acme_directory d = {.external_account = false};
    json_t *root = read_object(text);
    const json_t *meta = json_object_get(root, "meta");
    const bool ok = get_url(root, "newNonce", d.new_nonce) &&
                    get_url(root, "newAccount", d.new_account) &&
                    get_url(root, "newOrder", d.new_order);
    (void)get_url(root, "revokeCert", d.revoke);
    (void)page_of(json_object_get(meta, "termsOfService"), d.terms);
    d.external_account = json_is_true(json_object_get(meta, "externalAccountRequired"));
    json_decref(root);
    if (!ok) {
        return VV_ESYNTAX;
    }
    *ret = d;
    return VV_OK;
}

enum vv_err vv_acme_read_order(struct vv_str text, struct vv_acme_order_doc *ret)
{
    struct vv_acme_order_doc d = {.status = VV_ACME_UNKNOWN};
    json_t *root = read_object(text);
    const json_t *all = json_object_get(root, "authorizations");
    d.status = get_status(root);
    d.authorization_count = json_array_size(all);
    const bool ok = get_url(root, "finalize", d.finalize) && d.status != VV_ACME_UNKNOWN &&
                    url_of(json_array_get(all, 0), d.authorization);
    (void)get_url(root, "certificate", d.certificate);
    get_problem(json_object_get(root, "error"), &d.problem);
    json_decref(root);
    if (!ok) {
        return VV_ESYNTAX;
    }
    *ret = d;
    return VV_OK;
}

static enum vv_acme_kind kind_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    if (type == NULL) {
        return VV_ACME_KIND_OTHER;
    }
    return strcmp(type, "http-01") == 0       ? VV_ACME_KIND_HTTP
           : strcmp(type, "tls-alpn-01") == 0 ? VV_ACME_KIND_TLS_ALPN
                                              : VV_ACME_KIND_OTHER;
}

static void add_challenge(struct vv_acme_authorization *d, const json_t *object)
{
    struct vv_acme_challenge_doc *c = &d->challenge[d->challenge_count];
    *c = (struct vv_acme_challenge_doc){.kind = kind_of(object), .status = get_status(object)};
    if (c->kind == VV_ACME_KIND_OTHER || !get_url(object, "url", c->url) ||
        !get_text(object, "token", c->token, sizeof c->token) ||
        !vv_acme_is_token(vv_str_from(c->token))) {
        return;
    }
    get_problem(json_object_get(object, "error"), &c->problem);
    d->challenge_count++;
}

enum vv_err vv_acme_read_authorization(struct vv_str text, struct vv_acme_authorization *ret)
{
    struct vv_acme_authorization d = {.status = VV_ACME_UNKNOWN};
    json_t *root = read_object(text);
    const json_t *all = json_object_get(root, "challenges");
    d.status = get_status(root);
    for (size_t i = 0; i < json_array_size(all) && d.challenge_count < VV_COUNT(d.challenge); i++) {
        add_challenge(&d, json_array_get(all, i));
    }
    json_decref(root);
    if (d.status == VV_ACME_UNKNOWN) {
        return VV_ESYNTAX;
    }
    *ret = d;
    return VV_OK;
}

enum vv_err vv_acme_read_account(struct vv_str text, enum vv_acme_status *ret)
{
    json_t *root = read_object(text);
    const enum vv_acme_status s = get_status(root);
    json_decref(root);
    if (s == VV_ACME_UNKNOWN) {
        return VV_ESYNTAX;
    }
    *ret = s;
    return VV_OK;
}

bool vv_acme_is_token(struct vv_str token)
{
    for (size_t i = 0; i < token.n; i++) {
        const char c = vv_char_lower(token.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_') {
            return false;
        }
    }
    return token.n >= TOKEN_BYTES_MIN && token.n < VV_ACME_TOKEN_MAX;
}

/* ---- our own ------------------------------------------------------------------------------- */

static uint64_t get_count(const json_t *object, const char *key)
{
    const json_int_t v = json_integer_value(json_object_get(object, key));
    return v > 0 ? (uint64_t)v : 0;
}

enum vv_err vv_acme_read_memory(struct vv_str text, struct vv_acme_memory *ret)
{
    struct vv_acme_memory m = {.failures = 0};
    json_t *root = read_object(text);
    const bool ok = root != NULL;
    const char *error = json_string_value(json_object_get(root, "error"));
    m.issued_wall_ns = get_count(root, "issued_ns");
    m.failures = get_count(root, "failures");
    m.retry_wall_ns = get_count(root, "retry_ns");
    (void)get_text(root, "authority", m.authority, sizeof m.authority);
    copy_printable(m.error, sizeof m.error, error != NULL ? error : "");
    json_decref(root);
    if (!ok) {
        return VV_ESYNTAX;
    }
    *ret = m;
    return VV_OK;
}

bool vv_acme_read_kid(struct vv_str text, const char *directory, char ret[VV_ACME_URL_MAX])
{
    json_t *root = read_object(text);
    const bool ok = get_url(json_object_get(root, "accounts"), directory, ret);
    json_decref(root);
    return ok;
}
