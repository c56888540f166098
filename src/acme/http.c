/* src/acme/http.c - the easy interface on a thread that may block: looking up a name does. */
#include "acme/http.h"
#include "wire/date.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define TIME_MS 30000L
#define CONNECT_MS 10000L
#define FIELD_MAX 512
#define WHY_MAX 400

struct vv_acme_http {
    CURL *curl;
    const atomic_bool *stop;
    struct curl_slist *jose;
    struct vv_sb body;
    uint64_t wall_ns, retry_after_ns;
    char nonce[FIELD_MAX], location[FIELD_MAX];
    char detail[CURL_ERROR_SIZE], why[WHY_MAX];
};

static size_t take_bytes(char *p, size_t size, size_t count, void *user)
{
    struct vv_acme_http *h = user;
    if (h->body.n + size * count > VV_ACME_DOCUMENT_MAX) {
        return 0; /* ends the transfer */
    }
    vv_sb_add(&h->body, (struct vv_str){p, size * count});
    return h->body.failed ? 0 : size * count;
}

uint64_t vv_acme_retry_after(struct vv_str value, uint64_t wall_ns)
{
    uint64_t s = 0;
    int64_t at = 0;
    const int64_t now_s = (int64_t)(wall_ns / VV_SEC);
    const int err = vv_str_to_u64(value, &s);
    if (err == VV_OK || err == VV_ERANGE) {
        return s > UINT64_MAX / VV_SEC || err != VV_OK ? UINT64_MAX : s * VV_SEC;
    }
    if (vv_http_date_parse(value, now_s, &at) == VV_OK && at > now_s) {
        return vv_min_u64((uint64_t)(at - now_s), UINT64_MAX / VV_SEC) * VV_SEC;
    }
    return 0;
}

static void keep(char out[FIELD_MAX], struct vv_str value)
{
    if (value.n < FIELD_MAX) {
        memcpy(out, value.p, value.n);
        out[value.n] = '\0';
    }
}

static size_t take_field(char *p, size_t size, size_t count, void *user)
{
    struct vv_acme_http *h = user;
    struct vv_str line = {p, size * count};
    while (line.n > 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n')) {
        line.n--;
    }
    const struct vv_str name = vv_str_cut(&line, ':');
    const struct vv_str value = vv_str_trim(line);
    if (value.p == NULL) {
        return size * count;
    }
    if (vv_str_eq_nocase(name, VV_STR("replay-nonce"))) {
        keep(h->nonce, value);
    } else if (vv_str_eq_nocase(name, VV_STR("location"))) {
        keep(h->location, value);
    } else if (vv_str_eq_nocase(name, VV_STR("retry-after"))) {
        h->retry_after_ns = vv_acme_retry_after(value, h->wall_ns);
    }
    return size * count;
}

static int go_on(void *user, curl_off_t total, curl_off_t now, curl_off_t up, curl_off_t up_now)
{
    const struct vv_acme_http *h = user;
    (void)total, (void)now, (void)up, (void)up_now;
    return atomic_load(h->stop);
}

static void set_up(struct vv_acme_http *h)
{
    CURL *c = h->curl;
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TIME_MS);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "vivace (ACME)"); /* RFC 8555 section 6.1 */
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->detail);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_bytes);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_field);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
    (void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, go_on);
    (void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
}

enum vv_err vv_acme_http_new(const atomic_bool *stop, struct vv_acme_http **ret)
{
    struct vv_acme_http *h = calloc(1, sizeof *h);
    if (h == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(h);
        return VV_ENOMEM;
    }
    h->stop = stop;
    h->curl = curl_easy_init();
    h->jose = curl_slist_append(NULL, "Content-Type: application/jose+json");
    if (h->curl == NULL || h->jose == NULL) {
        vv_acme_http_free(h);
        return VV_ENOMEM;
    }
    set_up(h);
    *ret = h;
    return VV_OK;
}

void vv_acme_http_free(struct vv_acme_http *h)
{
    if (h != NULL) {
        curl_easy_cleanup(h->curl);
        curl_slist_free_all(h->jose);
        vv_sb_fini(&h->body);
        free(h);
        curl_global_cleanup();
    }
}

static void set_request(struct vv_acme_http *h, const char *ca_file,
                        const struct vv_acme_request *r)
{
    CURL *c = h->curl;
    (void)curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
    (void)curl_easy_setopt(c, CURLOPT_NOBODY, r->method == VV_ACME_HEAD ? 1L : 0L);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, NULL);
    if (r->method == VV_ACME_POST) {
        (void)curl_easy_setopt(c, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body.p);
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
        (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->jose);
    }
    (void)curl_easy_setopt(c, CURLOPT_URL, r->url);
    if (ca_file != NULL) {
        (void)curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
        (void)curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    }
}

enum vv_err vv_acme_http_do(struct vv_acme_http *h, const char *ca_file,
                            const struct vv_acme_request *r, uint64_t wall_ns,
                            struct vv_acme_answer *ret, const char **reterr_why)
{
    vv_sb_reset(&h->body);
    h->nonce[0] = h->location[0] = h->detail[0] = '\0';
    h->retry_after_ns = 0;
    h->wall_ns = wall_ns;
    set_request(h, ca_file, r);
    const CURLcode code = curl_easy_perform(h->curl);
    if (code != CURLE_OK) {
        (void)snprintf(h->why, sizeof h->why, "%.200s: %.180s", r->url,
                       h->detail[0] != '\0' ? h->detail : curl_easy_strerror(code));
        *reterr_why = h->why;
        return VV_EIO;
    }
    long status = 0;
    (void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    *ret = (struct vv_acme_answer){.status = (int)status,
                                   .body = vv_sb_str(&h->body),
                                   .nonce = h->nonce[0] != '\0' ? h->nonce : NULL,
                                   .location = h->location[0] != '\0' ? h->location : NULL,
                                   .retry_after_ns = h->retry_after_ns};
    return VV_OK;
}
