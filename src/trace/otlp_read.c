/* src/trace/otlp_read.c - a tree by jansson, after a look at the text has shown that the tree stays small:
 * an empty array costs its sender two bytes and us a hundred. */
#include "trace/otlp.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ANY_DEPTH_MAX 6 /* of four levels of JSON each: the writer takes 32 */

void vv_otlp_limits_default(struct vv_otlp_limits *l)
{
    *l = (struct vv_otlp_limits){
        .bytes_max = 4 * VV_MIB, .values_max = 400000, .depth_max = 32, .spans_max = 20000};
}

struct reader {
    const struct vv_otlp_limits *limits;
    vv_otlp_span_fn *fn;
    void *user;
    struct vv_otlp_result *result;
    struct vv_span span;
    struct vv_span_attr attrs[VV_SPAN_ATTRS_MAX];
    size_t attr_count, dropped;
    char *any[VV_SPAN_ATTRS_MAX]; /* texts made for this span */
    size_t any_count;
    char links[VV_SPAN_ATTRS_MAX][VV_TRACE_ID_BYTES + VV_SPAN_ID_BYTES];
};

/* ---------------------------------------------------------------- before the tree */

static enum vv_err measure(struct vv_str json, const struct vv_otlp_limits *limits)
{
    uint64_t values = 0, depth = 0;
    bool text = false;
    if (json.n > limits->bytes_max) {
        return VV_ELIMIT;
    }
    for (size_t i = 0; i < json.n; i++) {
        const char c = json.p[i];
        if (text) {
            i += c == '\\' ? 1 : 0;
            text = c != '"';
        } else if (c == '"') {
            text = true;
        } else if (c == '{' || c == '[') {
            values++;
            depth++;
        } else if (c == ',' || c == ':') {
            values++;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0 ? 1 : 0;
        }
        if (values > limits->values_max || depth > limits->depth_max) {
            return VV_ELIMIT;
        }
    }
    return VV_OK;
}

/* ---------------------------------------------------------------- plain values */

static struct vv_str text_of(const json_t *v)
{
    return json_is_string(v) ? (struct vv_str){json_string_value(v), json_string_length(v)}
                             : (struct vv_str){"", 0};
}

/* 64-bit integers come as strings; as numbers they are understood too. */
static bool to_i64(const json_t *v, int64_t *ret)
{
    if (json_is_integer(v)) {
        *ret = json_integer_value(v);
        return true;
    }
    if (json_is_real(v)) {
        const double d = json_real_value(v);
        *ret = fabs(d) < 9e15 ? (int64_t)d : 0;
        return fabs(d) < 9e15 && (double)*ret == d;
    }
    struct vv_str s = text_of(v);
    const bool minus = s.n > 1 && s.p[0] == '-';
    uint64_t u;
    s = minus ? (struct vv_str){s.p + 1, s.n - 1} : s;
    if (s.n == 0 || vv_str_to_u64(s, &u) != 0 || u > (uint64_t)INT64_MAX + (minus ? 1 : 0)) {
        return false;
    }
    *ret = minus ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

static bool to_u64(const json_t *v, uint64_t *ret)
{
    int64_t i;
    const struct vv_str s = text_of(v);
    if (s.n > 0) {
        return vv_str_to_u64(s, ret) == 0;
    }
    if (!to_i64(v, &i) || i < 0) {
        return false;
    }
    *ret = (uint64_t)i;
    return true;
}

static bool to_double(const json_t *v, double *ret)
{
    const struct vv_str s = text_of(v);
    if (json_is_number(v)) {
        *ret = json_number_value(v);
        return true;
    }
    if (vv_str_eq(s, VV_STR("NaN"))) {
        *ret = (double)NAN;
    } else if (vv_str_eq(s, VV_STR("Infinity"))) {
        *ret = (double)INFINITY;
    } else if (vv_str_eq(s, VV_STR("-Infinity"))) {
        *ret = -(double)INFINITY;
    } else {
        return false;
    }
    return true;
}

/* Hex in any case. */
static bool to_id(const json_t *v, uint8_t *ret, size_t n)
{
    char lower[2 * VV_TRACE_ID_BYTES];
    const struct vv_str s = text_of(v);
    if (s.n != 2 * n || s.n > sizeof lower) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        lower[i] = vv_char_lower(s.p[i]);
    }
    return vv_trace_unhex((struct vv_str){lower, s.n}, ret, n) == VV_OK &&
           !vv_trace_id_zero(ret, n);
}

/* ---------------------------------------------------------------- attributes */

/* An AnyValue again, in the strict form. */
static bool any_write(struct vv_json *j, const json_t *v, size_t depth)
{
    const json_t *list, *item;
    size_t i;
    int64_t n;
    double d;
    bool ok = depth < ANY_DEPTH_MAX && json_is_object(v);
    vv_json_obj(j);
    if (!ok) {
        vv_json_obj_end(j);
        return false;
    }
    if ((list = json_object_get(json_object_get(v, "arrayValue"), "values")) != NULL) {
        vv_json_key(j, "arrayValue");
        vv_json_obj(j);
        vv_json_key(j, "values");
        vv_json_arr(j);
        json_array_foreach(list, i, item)
        {
            ok = any_write(j, item, depth + 1) && ok;
        }
        vv_json_arr_end(j);
        vv_json_obj_end(j);
    } else if ((list = json_object_get(json_object_get(v, "kvlistValue"), "values")) != NULL) {
        vv_json_key(j, "kvlistValue");
        vv_json_obj(j);
        vv_json_key(j, "values");
        vv_json_arr(j);
        json_array_foreach(list, i, item)
        {
            vv_json_obj(j);
            vv_json_kstr(j, "key", text_of(json_object_get(item, "key")));
            vv_json_key(j, "value");
            ok = any_write(j, json_object_get(item, "value"), depth + 1) && ok;
            vv_json_obj_end(j);
        }
        vv_json_arr_end(j);
        vv_json_obj_end(j);
    } else if (json_is_string(json_object_get(v, "stringValue"))) {
        vv_json_kstr(j, "stringValue", text_of(json_object_get(v, "stringValue")));
    } else if (json_is_string(json_object_get(v, "bytesValue"))) {
        vv_json_kstr(j, "bytesValue", text_of(json_object_get(v, "bytesValue")));
    } else if (json_is_boolean(json_object_get(v, "boolValue"))) {
        vv_json_kbool(j, "boolValue", json_is_true(json_object_get(v, "boolValue")));
    } else if (to_i64(json_object_get(v, "intValue"), &n)) {
        char digits[24];
        snprintf(digits, sizeof digits, "%lld", (long long)n);
        vv_json_kcstr(j, "intValue", digits);
    } else if (to_double(json_object_get(v, "doubleValue"), &d) && isfinite(d)) {
        vv_json_kdouble(j, "doubleValue", d);
    }
    vv_json_obj_end(j);
    return ok;
}

static bool any_value(struct reader *r, const json_t *v, struct vv_span_attr *a)
{
    struct vv_sb sb = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &sb);
    const bool ok = any_write(&j, v, 0) && !sb.failed;
    const size_t n = sb.n;
    char *text = ok ? vv_sb_take(&sb) : NULL;
    vv_sb_fini(&sb);
    if (text == NULL) {
        return false;
    }
    r->any[r->any_count++] = text;
    a->type = VV_ATTR_ANY;
    a->str = (struct vv_str){text, n};
    return true;
}

static bool set_value(struct reader *r, const json_t *v, struct vv_span_attr *a)
{
    const json_t *inner;
    if (json_is_string(inner = json_object_get(v, "stringValue"))) {
        a->type = VV_ATTR_STR;
        a->str = text_of(inner);
    } else if ((inner = json_object_get(v, "intValue")) != NULL) {
        a->type = VV_ATTR_I64;
        return to_i64(inner, &a->i64);
    } else if ((inner = json_object_get(v, "doubleValue")) != NULL) {
        a->type = VV_ATTR_DOUBLE;
        return to_double(inner, &a->f64);
    } else if (json_is_boolean(inner = json_object_get(v, "boolValue"))) {
        a->type = VV_ATTR_BOOL;
        a->b = json_is_true(inner);
    } else {
        return json_object_get(v, "arrayValue") != NULL ||
                       json_object_get(v, "kvlistValue") != NULL ||
                       json_object_get(v, "bytesValue") != NULL
                   ? any_value(r, v, a)
                   : false; /* no value is no attribute */
    }
    return true;
}

static struct vv_span_attr *next_attr(struct reader *r)
{
    if (r->attr_count == VV_SPAN_ATTRS_MAX) {
        r->dropped++;
        return NULL;
    }
    struct vv_span_attr *a = &r->attrs[r->attr_count];
    *a = (struct vv_span_attr){0};
    return a;
}

static void add_attributes(struct reader *r, const json_t *list)
{
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        const struct vv_str key = text_of(json_object_get(item, "key"));
        struct vv_span_attr *a = key.n > 0 ? next_attr(r) : NULL;
        if (a == NULL) {
            continue;
        }
        a->key = (uint8_t)vv_span_key_find(key);
        a->name = key;
        if (set_value(r, json_object_get(item, "value"), a)) {
            r->attr_count++;
        } else {
            r->dropped++;
        }
    }
}

static void add_events(struct reader *r, const json_t *list)
{
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        struct vv_span_attr *a = next_attr(r);
        uint64_t at = 0;
        if (a == NULL) {
            return; /* its attributes would become those of the event before */
        }
        (void)to_u64(json_object_get(item, "timeUnixNano"), &at);
        a->type = VV_ATTR_EVENT;
        a->name = text_of(json_object_get(item, "name"));
        a->i64 = (int64_t)vv_min_u64(at, INT64_MAX);
        r->attr_count++;
        add_attributes(r, json_object_get(item, "attributes"));
    }
}

static void add_links(struct reader *r, const json_t *list)
{
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        struct vv_span_attr *a = next_attr(r);
        char *bytes = a != NULL ? r->links[r->attr_count] : NULL;
        if (a == NULL) {
            continue;
        }
        if (!to_id(json_object_get(item, "traceId"), (uint8_t *)bytes, VV_TRACE_ID_BYTES) ||
            !to_id(json_object_get(item, "spanId"), (uint8_t *)bytes + VV_TRACE_ID_BYTES,
                   VV_SPAN_ID_BYTES)) {
            r->dropped++;
            continue;
        }
        a->type = VV_ATTR_LINK;
        a->str = (struct vv_str){bytes, sizeof r->links[0]};
        r->attr_count++;
    }
}

/* ---------------------------------------------------------------- spans */

static void refuse(struct reader *r, const char *why)
{
    r->result->rejected++;
    if (r->result->error[0] == '\0') {
        snprintf(r->result->error, sizeof r->result->error, "%s", why);
    }
}

/* Enums are numbers; what later versions add is unset to us. */
static bool to_enum(const json_t *v, uint8_t count, uint8_t *ret)
{
    *ret = 0;
    if (v == NULL || json_is_null(v)) {
        return true;
    }
    if (json_is_integer(v)) {
        const json_int_t i = json_integer_value(v);
        *ret = i >= 0 && i < count ? (uint8_t)i : 0;
        return true;
    }
    return false;
}

static const char *read_head(const json_t *v, struct vv_span *s)
{
    const json_t *parent = json_object_get(v, "parentSpanId");
    const json_t *status = json_object_get(v, "status");
    if (!json_is_object(v)) {
        return "a span is no object";
    }
    if (!to_id(json_object_get(v, "traceId"), s->trace_id, sizeof s->trace_id)) {
        return "traceId is not 32 hex digits";
    }
    if (!to_id(json_object_get(v, "spanId"), s->span_id, sizeof s->span_id)) {
        return "spanId is not 16 hex digits";
    }
    if (text_of(parent).n > 0 && !to_id(parent, s->parent_id, sizeof s->parent_id)) {
        memset(s->parent_id, 0, sizeof s->parent_id);
        if (!vv_str_eq(text_of(parent), VV_STR("0000000000000000"))) {
            return "parentSpanId is not 16 hex digits";
        }
    }
    if (!to_u64(json_object_get(v, "startTimeUnixNano"), &s->start_ns) || s->start_ns == 0 ||
        !to_u64(json_object_get(v, "endTimeUnixNano"), &s->end_ns) || s->end_ns == 0) {
        return "startTimeUnixNano or endTimeUnixNano is not a time";
    }
    if (!to_enum(json_object_get(v, "kind"), VV_SPAN_KIND_COUNT, &s->kind) ||
        !to_enum(json_object_get(status, "code"), VV_SPAN_STATUS_COUNT, &s->status)) {
        return "kind and status.code are numbers";
    }
    s->name = text_of(json_object_get(v, "name"));
    s->state = text_of(json_object_get(v, "traceState"));
    s->message = text_of(json_object_get(status, "message"));
    return NULL;
}

static void read_flags(const json_t *v, struct vv_span *s)
{
    uint64_t flags = 0;
    (void)to_u64(json_object_get(v, "flags"), &flags);
    s->flags = (uint8_t)((flags & VV_TRACE_SAMPLED) | (flags & VV_TRACE_RANDOM) |
                         ((flags & 0x100) != 0 ? VV_SPAN_F_REMOTE_KNOWN : 0) |
                         ((flags & 0x300) == 0x300 ? VV_SPAN_F_REMOTE : 0));
}

/* What is asked of a span often has a place of its own beside the attributes. */
static void read_known(struct vv_span *s)
{
    for (size_t i = 0; i < s->attr_count && s->attrs[i].type != VV_ATTR_EVENT; i++) {
        const struct vv_span_attr *a = &s->attrs[i];
        const bool status =
            a->key == VV_KEY_STATUS || (a->key == VV_KEY_OTHER && a->type == VV_ATTR_I64 &&
                                        vv_str_eq(a->name, VV_STR("http.status_code")));
        if (a->key == VV_KEY_ROUTE && a->type == VV_ATTR_STR) {
            s->route = a->str;
        } else if (status && a->type == VV_ATTR_I64 && a->i64 >= 100 && a->i64 < 1000) {
            s->http_status = (uint16_t)a->i64;
        }
    }
}

static void read_span(struct reader *r, const json_t *v, struct vv_str service)
{
    r->span = (struct vv_span){.service = service};
    r->attr_count = r->dropped = r->any_count = 0;
    if (r->result->accepted + r->result->rejected >= r->limits->spans_max) {
        refuse(r, "too many spans in one request");
        return;
    }
    const char *why = read_head(v, &r->span);
    if (why != NULL) {
        refuse(r, why);
        return;
    }
    read_flags(v, &r->span);
    add_attributes(r, json_object_get(v, "attributes"));
    add_links(r, json_object_get(v, "links"));
    add_events(r, json_object_get(v, "events"));
    r->span.attrs = r->attrs;
    r->span.attr_count = r->attr_count;
    r->span.dropped = (uint16_t)vv_min_u64(r->dropped, UINT16_MAX);
    read_known(&r->span);
    if (r->fn(r->user, &r->span)) {
        r->result->accepted++;
    } else {
        refuse(r, "no room for more spans");
    }
    for (size_t i = 0; i < r->any_count; i++) {
        free(r->any[i]);
    }
}

static struct vv_str service_of(const json_t *resource)
{
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(resource, "attributes"), i, item)
    {
        const struct vv_str value =
            text_of(json_object_get(json_object_get(item, "value"), "stringValue"));
        if (vv_str_eq(text_of(json_object_get(item, "key")), VV_STR("service.name")) &&
            value.n > 0) {
            return value;
        }
    }
    return VV_STR("unknown_service");
}

static void read_tree(struct reader *r, const json_t *root)
{
    const json_t *resource, *scope, *span;
    size_t i, k, n;
    json_array_foreach(json_object_get(root, "resourceSpans"), i, resource)
    {
        const struct vv_str service = service_of(json_object_get(resource, "resource"));
        json_array_foreach(json_object_get(resource, "scopeSpans"), k, scope)
        {
            json_array_foreach(json_object_get(scope, "spans"), n, span)
            {
                read_span(r, span, service);
            }
        }
    }
}

static json_t *load(struct vv_str json, json_error_t *e)
{
    return json_loadb(json.p != NULL ? json.p : "", json.n, JSON_ALLOW_NUL, e);
}

enum vv_err vv_otlp_read(struct vv_str json, const struct vv_otlp_limits *limits,
                         vv_otlp_span_fn *fn, void *user, struct vv_otlp_result *ret)
{
    json_error_t e;
    *ret = (struct vv_otlp_result){0};
    if (measure(json, limits) != VV_OK) {
        snprintf(ret->error, sizeof ret->error, "the request is too large");
        return VV_ELIMIT;
    }
    struct reader *r = calloc(1, sizeof *r);
    json_t *root = r != NULL ? load(json, &e) : NULL;
    const json_t *list = json_object_get(root, "resourceSpans");
    enum vv_err err = VV_OK;
    if (r == NULL) {
        snprintf(ret->error, sizeof ret->error, "out of memory");
        err = VV_ENOMEM;
    } else if (root == NULL) {
        snprintf(ret->error, sizeof ret->error, "line %d: %.100s", e.line, e.text);
        err = VV_ESYNTAX;
    } else if (!json_is_object(root) || (list != NULL && !json_is_array(list))) {
        snprintf(ret->error, sizeof ret->error, "no ExportTraceServiceRequest");
        err = VV_ESYNTAX;
    } else {
        r->limits = limits;
        r->fn = fn;
        r->user = user;
        r->result = ret;
        read_tree(r, root);
    }
    json_decref(root);
    free(r);
    return err;
}

/* ---------------------------------------------------------------- answers */

void vv_otlp_write_response(const struct vv_otlp_result *r, struct vv_sb *out)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    if (r->rejected > 0) {
        char digits[24];
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)r->rejected);
        vv_json_key(&j, "partialSuccess");
        vv_json_obj(&j);
        vv_json_kcstr(&j, "rejectedSpans", digits);
        vv_json_kcstr(&j, "errorMessage", r->error);
        vv_json_obj_end(&j);
    }
    vv_json_obj_end(&j);
}

/* Codes of google.rpc.Code. */
void vv_otlp_write_error(enum vv_err err, const char *message, struct vv_sb *out)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_ku64(&j, "code", err == VV_ESYNTAX ? 3 : err == VV_ELIMIT ? 8 : 14);
    vv_json_kcstr(&j, "message", message);
    vv_json_obj_end(&j);
}

enum vv_err vv_otlp_read_response(struct vv_str json, uint64_t *ret_rejected, char *error,
                                  size_t error_bytes)
{
    static const struct vv_otlp_limits limits = {
        .bytes_max = 65536, .values_max = 1000, .depth_max = 16};
    json_error_t e;
    *ret_rejected = 0;
    snprintf(error, error_bytes, "%s", "");
    json_t *root = measure(json, &limits) == VV_OK ? load(json, &e) : NULL;
    if (!json_is_object(root)) {
        json_decref(root);
        return VV_ESYNTAX;
    }
    const json_t *partial = json_object_get(root, "partialSuccess");
    (void)to_u64(json_object_get(partial, "rejectedSpans"), ret_rejected);
    const struct vv_str text = text_of(json_object_get(partial, "errorMessage"));
    snprintf(error, error_bytes, VV_STR_FMT, VV_STR_ARG(text));
    json_decref(root);
    return VV_OK;
}
