/* src/gateway/csp.c - reports are read whole: they are small, and what is not is no report. */
#include "gateway/csp.h"
#include "conf/conf.h"
#include "gateway/exchange.h"
#include "gateway/session.h"
#include "observe/log.h"
#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BODY_MAX (64u * 1024u)
#define BODY_NS (10 * VV_SEC)
#define READS_A_SECOND 100 /* bodies; more are dropped unread */
#define LINES_A_SECOND 5   /* of the log */

/* CSP Level 3, section 6, and what browsers of Level 2 still name. */
static const char *const directives[] = {
    "base-uri",         "child-src",      "connect-src",     "default-src",
    "fenced-frame-src", "font-src",       "form-action",     "frame-ancestors",
    "frame-src",        "img-src",        "manifest-src",    "media-src",
    "object-src",       "plugin-types",   "prefetch-src",    "require-trusted-types-for",
    "sandbox",          "script-src",     "script-src-attr", "script-src-elem",
    "style-src",        "style-src-attr", "style-src-elem",  "trusted-types",
    "worker-src",
};

/* ---- reading ------------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key, const char *other)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : json_string_value(json_object_get(o, other));
}

/* "script-src-elem", or "script-src 'self' https://..." of an older browser. */
static const char *directive_of(const char *text)
{
    if (text == NULL || text[0] == '\0') {
        return "unknown";
    }
    const size_t n = strcspn(text, " ");
    for (size_t i = 0; i < VV_COUNT(directives); i++) {
        if (strlen(directives[i]) == n && strncmp(directives[i], text, n) == 0) {
            return directives[i];
        }
    }
    return "other";
}

/* Queries hold what users typed: they stay out of the log. */
static void copy(char to[VV_CSP_TEXT], const char *text)
{
    text = text != NULL ? text : "";
    const size_t kept = vv_min_u64(strcspn(text, "?#"), VV_CSP_TEXT - 1);
    for (size_t i = 0; i < kept; i++) {
        const unsigned char c = (unsigned char)text[i];
        to[i] = c <= 0x20 || c >= 0x7f ? '_' : (char)c;
    }
    to[kept] = '\0';
}

static void read_one(const json_t *o, struct vv_csp_report *r)
{
    const char *directive = text_of(o, "effective-directive", "effectiveDirective");
    const json_t *line = json_object_get(o, "line-number");
    if (line == NULL) {
        line = json_object_get(o, "lineNumber");
    }
    const char *disposition = json_string_value(json_object_get(o, "disposition"));
    r->directive = directive_of(directive != NULL && directive[0] != '\0'
                                    ? directive
                                    : text_of(o, "violated-directive", "violatedDirective"));
    r->enforced = disposition == NULL || strcmp(disposition, "report") != 0;
    copy(r->page, text_of(o, "document-uri", "documentURL"));
    copy(r->blocked, text_of(o, "blocked-uri", "blockedURL"));
    copy(r->source, text_of(o, "source-file", "sourceFile"));
    const json_int_t number = json_is_integer(line) ? json_integer_value(line) : 0;
    r->line = number > 0 ? (uint64_t)number : 0;
}

static void read_list(const json_t *list, struct vv_csp_report *ret, size_t *n, size_t *dropped)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const char *type = json_string_value(json_object_get(o, "type"));
        const json_t *body = json_object_get(o, "body");
        if (type == NULL || strcmp(type, "csp-violation") != 0 || !json_is_object(body)) {
            continue;
        }
        if (*n == VV_CSP_REPORTS_MAX) {
            (*dropped)++;
            continue;
        }
        read_one(body, &ret[(*n)++]);
    }
}

enum vv_err vv_csp_read(struct vv_str body, struct vv_csp_report *ret, size_t *ret_n,
                        size_t *ret_dropped)
{
    json_error_t error;
    json_t *root = json_loadb(body.n > 0 ? body.p : "", body.n, 0, &error);
    const json_t *one = json_object_get(root, "csp-report");
    enum vv_err err = VV_OK;
    *ret_n = *ret_dropped = 0;
    if (json_is_object(one)) {
        read_one(one, &ret[(*ret_n)++]);
    } else if (json_is_array(root)) {
        read_list(root, ret, ret_n, ret_dropped);
    } else {
        err = VV_ESYNTAX;
    }
    json_decref(root);
    return err;
}

/* ---- collecting ---------------------------------------------------------------------------- */

struct vv_csp {
    const struct vv_conf_list *paths;
    _Atomic uint64_t second; /* of the loop's clock << 16 | bodies read in it */
    _Atomic uint64_t lines;  /* the same for log lines */
};

enum vv_err vv_csp_new(const struct vv_conf_list *paths, struct vv_csp **ret)
{
    if (paths == NULL || paths->count == 0) {
        return VV_OK;
    }
    struct vv_csp *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->paths = paths;
    *ret = c;
    return VV_OK;
}

void vv_csp_free(struct vv_csp *c)
{
    free(c);
}

/* At most so many in one second of the clock. */
static bool within(_Atomic uint64_t *word, uint64_t now_ns, unsigned max)
{
    const uint64_t second = now_ns / VV_SEC << 16;
    uint64_t was = atomic_load_explicit(word, memory_order_relaxed);
    for (;;) {
        const uint64_t n = was >> 16 << 16 == second ? (was & 0xffff) : 0;
        if (n >= max) {
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(word, &was, second | (n + 1),
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return true;
        }
    }
}

/* Rare enough to intern each time: bodies are bounded in a second. */
static void count(struct vv_exchange *x, const char *directive, const char *disposition, uint64_t n)
{
    const struct vv_str values[2] = {vv_str_from(directive), vv_str_from(disposition)};
    vv_metric_add(x->w->shard, vv_metrics_series(x->w->metrics, VV_METRIC_CSP_REPORTS, values, 2),
                  n);
}

static void note(struct vv_exchange *x, const struct vv_csp_report *r)
{
    count(x, r->directive, r->enforced ? "enforce" : "report", 1);
    if (within(&x->rt->csp->lines, vv_worker_now(x->w), LINES_A_SECOND)) {
        vv_warn("csp", "%s %s page=%s blocked=%s source=%s line=%llu client=" VV_STR_FMT,
                r->directive, r->enforced ? "violated" : "would be violated", r->page, r->blocked,
                r->source, (unsigned long long)r->line, VV_STR_ARG(x->client_ip));
    }
}

static void finish(struct vv_exchange *x)
{
    struct vv_csp_report *report = vv_arena_zalloc(&x->arena, VV_CSP_REPORTS_MAX * sizeof *report);
    size_t n = 0;
    size_t dropped = 0;
    if (report == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    if (vv_csp_read(x->body_kept, report, &n, &dropped) != VV_OK) {
        count(x, "malformed", "dropped", 1);
        vv_answer_error(x, VV_REASON_BAD_REPORT);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        note(x, &report[i]);
    }
    if (dropped > 0) {
        count(x, "other", "dropped", dropped);
    }
    vv_answer_simple(x, 204, NULL, 0, (struct vv_str){NULL, 0});
}

static bool is_report(const struct vv_exchange *x)
{
    const struct vv_conf_list *paths = x->rt->csp->paths;
    for (size_t i = 0; i < paths->count; i++) {
        if (vv_str_eq(x->path, vv_str_from(paths->item[i]))) {
            return true;
        }
    }
    return false;
}

static bool right_type(const struct vv_exchange *x)
{
    const struct vv_h1_field *f = vv_h1_find(&x->req, VV_FIELD_CONTENT_TYPE);
    struct vv_str rest = f != NULL ? f->value : (struct vv_str){NULL, 0};
    const struct vv_str type = vv_str_trim(vv_str_cut(&rest, ';'));
    return vv_str_eq_nocase(type, VV_STR("application/csp-report")) ||
           vv_str_eq_nocase(type, VV_STR("application/reports+json"));
}

bool vv_csp_take(struct vv_exchange *x)
{
    if (x->rt->csp == NULL || x->req.method != VV_METHOD_POST || !is_report(x)) {
        return false;
    }
    if (!right_type(x)) {
        vv_answer_error(x, VV_REASON_MEDIA_TYPE);
        return true;
    }
    if (!within(&x->rt->csp->second, vv_worker_now(x->w), READS_A_SECOND)) {
        count(x, "other", "dropped", 1);
        vv_answer_simple(x, 204, NULL, 0, (struct vv_str){NULL, 0});
        return true;
    }
    x->body_bytes_max = BODY_MAX;
    x->body_timeout_ns = BODY_NS;
    if (vv_body_keep_then(x, BODY_MAX, finish)) {
        return true;
    }
    if (x->body_kept.p == NULL) {
        vv_answer_error(x, VV_REASON_BODY_TOO_LARGE);
    } else {
        finish(x);
    }
    return true;
}
