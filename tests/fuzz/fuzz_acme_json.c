/* tests/fuzz/fuzz_acme_json.c - whatever an authority sends: texts end inside their fields, addresses are ones that
 * may be fetched, tokens cannot be paths, what is shown has no control characters; a conversation that gets it
 * at any place goes on or fails. */
#include "acme/jws.h"
#include "acme/order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_url(const char *url)
{
    VV_ASSERT(strlen(url) < VV_ACME_URL_MAX);
    VV_ASSERT(url[0] == '\0' || strncmp(url, "http", 4) == 0);
    VV_ASSERT(strpbrk(url, " \r\n") == NULL);
}

static void check_problem(const struct vv_acme_problem *p)
{
    VV_ASSERT(strlen(p->type) < sizeof p->type && strlen(p->detail) < sizeof p->detail);
    for (const char *c = p->detail; *c != '\0'; c++) {
        VV_ASSERT((unsigned char)*c >= ' ' && *c != 127);
    }
}

static void check_documents(struct vv_str text)
{
    struct vv_acme_directory d;
    struct vv_acme_order_doc o;
    struct vv_acme_authorization a;
    struct vv_acme_problem p;
    struct vv_acme_memory m;
    char kid[VV_ACME_URL_MAX];
    if (vv_acme_read_directory(text, &d) == VV_OK) {
        check_url(d.new_nonce);
        check_url(d.new_order);
        check_url(d.terms);
    }
    if (vv_acme_read_order(text, &o) == VV_OK) {
        check_url(o.authorization);
        check_url(o.certificate);
        check_problem(&o.problem);
    }
    if (vv_acme_read_authorization(text, &a) == VV_OK) {
        for (size_t i = 0; i < a.challenge_count; i++) {
            check_url(a.challenge[i].url);
            check_problem(&a.challenge[i].problem);
            VV_ASSERT(strpbrk(a.challenge[i].token, "/.") == NULL);
        }
    }
    vv_acme_read_problem(text, &p);
    check_problem(&p);
    VV_ASSERT(vv_acme_read_memory(text, &m) != VV_OK || strlen(m.error) < sizeof m.error);
    if (vv_acme_read_kid(text, "https://a/dir", kid)) {
        check_url(kid);
    }
}

/* A good conversation in which the answer at place `at` is the text. */
static void converse(EVP_PKEY *key, struct vv_str text, unsigned at, int status)
{
    static const char *const good[] = {
        "{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\",\"newOrder\":\"https://a/"
        "o\"}",
        "",
        "{\"status\":\"pending\",\"finalize\":\"https://a/f\",\"authorizations\":[\"https://a/"
        "z\"]}",
        "{\"status\":\"pending\",\"challenges\":[{\"type\":\"http-01\",\"url\":\"https://a/h\","
        "\"token\":\"ABCDEFGHIJKLMNOPQRSTUV\"}]}",
        "{}",
        "{\"status\":\"valid\"}",
        "{\"status\":\"valid\",\"finalize\":\"https://a/f\",\"authorizations\":[\"https://a/z\"],"
        "\"certificate\":\"https://a/c\"}",
        "PEM"};
    const struct vv_acme_order_conf conf = {.account_key = key,
                                            .kid = "https://a/acct/1",
                                            .directory = "https://a/dir",
                                            .name = "a.example",
                                            .cert_key = key,
                                            .agree = true};
    struct vv_acme_order *o = NULL;
    struct vv_acme_request r;
    uint64_t now = VV_SEC;
    unsigned sent = 0;
    VV_ASSERT(vv_acme_order_new(&conf, now, &o) == VV_OK);
    for (unsigned turn = 0; turn < 40; turn++) {
        const enum vv_acme_step s = vv_acme_order_next(o, now, &r, &now);
        if (s == VV_ACME_STEP_PUBLISH) {
            vv_acme_order_published(o);
        } else if (s == VV_ACME_STEP_SEND) {
            const bool odd = sent == at || sent >= VV_COUNT(good);
            const struct vv_acme_answer a = {.status = sent == at ? status : 200,
                                             .body = odd ? text : vv_str_from(good[sent]),
                                             .nonce = "n",
                                             .location = "https://a/o/1"};
            vv_acme_order_answer(o, now, &a);
            sent++;
        } else if (s != VV_ACME_STEP_WAIT) {
            break;
        }
    }
    vv_acme_order_free(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static EVP_PKEY *key;
    static const int statuses[] = {200, 400, 403, 500};
    if (size < 1 || size > 16384) {
        return 0;
    }
    if (key == NULL) {
        VV_ASSERT(vv_acme_key_new(&key) == VV_OK);
    }
    /* the first byte chooses where the text comes, and with which status */
    const struct vv_str text = {(const char *)data + 1, size - 1};
    check_documents(text);
    converse(key, text, data[0] % 8, statuses[data[0] / 8 % 4]);
    return 0;
}
