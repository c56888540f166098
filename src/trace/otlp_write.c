/* src/trace/otlp_write.c - an ExportTraceServiceRequest, written in one pass over spans sorted by
 * service: a resource is a service. */
#include "trace/otlp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void key_u64(struct vv_json *j, const char *key, uint64_t v) /* a string, as JSON has it */
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    vv_json_kcstr(j, key, digits);
}

static void key_id(struct vv_json *j, const char *key, const uint8_t *id, size_t n)
{
    char hex[2 * VV_TRACE_ID_BYTES];
    vv_trace_hex(id, n, hex);
    vv_json_kstr(j, key, (struct vv_str){hex, 2 * n});
}

static void write_double(struct vv_json *j, double v)
{
    if (isfinite(v)) {
        vv_json_kdouble(j, "doubleValue", v);
    } else { /* JSON has no such numbers, protobuf's JSON has words for them */
        vv_json_kcstr(j, "doubleValue", isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
    }
}

static void write_value(struct vv_json *j, const struct vv_span_attr *a)
{
    char digits[24];
    vv_json_key(j, "value");
    if (a->type == VV_ATTR_ANY) { /* is the whole value already */
        vv_sb_add(j->out, a->str);
        j->after_key = false;
        return;
    }
    vv_json_obj(j);
    switch (a->type) {
    case VV_ATTR_I64:
        snprintf(digits, sizeof digits, "%lld", (long long)a->i64);
        vv_json_kcstr(j, "intValue", digits);
        break;
    case VV_ATTR_DOUBLE:
        write_double(j, a->f64);
        break;
    case VV_ATTR_BOOL:
        vv_json_kbool(j, "boolValue", a->b);
        break;
    default:
        vv_json_kstr(j, "stringValue", a->str);
        break;
    }
    vv_json_obj_end(j);
}

static void write_attr(struct vv_json *j, const struct vv_span_attr *a)
{
    vv_json_obj(j);
    vv_json_kstr(j, "key",
                 a->key != VV_KEY_OTHER ? vv_str_from(vv_span_key_text((enum vv_span_key)a->key))
                                        : a->name);
    write_value(j, a);
    vv_json_obj_end(j);
}

static void write_text_attr(struct vv_json *j, const char *key, struct vv_str v)
{
    if (v.n > 0) {
        const struct vv_span_attr a = {.type = VV_ATTR_STR, .name = vv_str_from(key), .str = v};
        write_attr(j, &a);
    }
}

/* Rows from `i` up to the next event; returns where they end. Links are written apart. */
static size_t write_attrs(struct vv_json *j, const struct vv_span *s, size_t i)
{
    bool any = false;
    for (; i < s->attr_count && s->attrs[i].type != VV_ATTR_EVENT; i++) {
        if (s->attrs[i].type == VV_ATTR_LINK) {
            continue;
        }
        if (!any) {
            vv_json_key(j, "attributes");
            vv_json_arr(j);
            any = true;
        }
        write_attr(j, &s->attrs[i]);
    }
    if (any) {
        vv_json_arr_end(j);
    }
    return i;
}

static void write_events(struct vv_json *j, const struct vv_span *s, size_t i)
{
    if (i >= s->attr_count) {
        return;
    }
    vv_json_key(j, "events");
    vv_json_arr(j);
    while (i < s->attr_count) { /* at an event */
        vv_json_obj(j);
        key_u64(j, "timeUnixNano", (uint64_t)s->attrs[i].i64);
        vv_json_kstr(j, "name", s->attrs[i].name);
        i = write_attrs(j, s, i + 1);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void write_links(struct vv_json *j, const struct vv_span *s)
{
    bool any = false;
    for (size_t i = 0; i < s->attr_count; i++) {
        const struct vv_span_attr *a = &s->attrs[i];
        if (a->type != VV_ATTR_LINK || a->str.n != VV_TRACE_ID_BYTES + VV_SPAN_ID_BYTES) {
            continue;
        }
        if (!any) {
            vv_json_key(j, "links");
            vv_json_arr(j);
            any = true;
        }
        vv_json_obj(j);
        key_id(j, "traceId", (const uint8_t *)a->str.p, VV_TRACE_ID_BYTES);
        key_id(j, "spanId", (const uint8_t *)a->str.p + VV_TRACE_ID_BYTES, VV_SPAN_ID_BYTES);
        vv_json_obj_end(j);
    }
    if (any) {
        vv_json_arr_end(j);
    }
}

static uint64_t flags_of(const struct vv_span *s)
{
    return (uint64_t)(s->flags & (VV_TRACE_SAMPLED | VV_TRACE_RANDOM)) |
           ((s->flags & VV_SPAN_F_REMOTE_KNOWN) != 0 ? 0x100 : 0) |
           ((s->flags & VV_SPAN_F_REMOTE) != 0 ? 0x300 : 0);
}

static void write_span(struct vv_json *j, const struct vv_span *s)
{
    vv_json_obj(j);
    key_id(j, "traceId", s->trace_id, sizeof s->trace_id);
    key_id(j, "spanId", s->span_id, sizeof s->span_id);
    if (!vv_trace_id_zero(s->parent_id, sizeof s->parent_id)) {
        key_id(j, "parentSpanId", s->parent_id, sizeof s->parent_id);
    }
    if (s->state.n > 0) {
        vv_json_kstr(j, "traceState", s->state);
    }
    vv_json_ku64(j, "flags", flags_of(s));
    vv_json_kstr(j, "name", s->name);
    vv_json_ku64(j, "kind", s->kind);
    key_u64(j, "startTimeUnixNano", s->start_ns);
    key_u64(j, "endTimeUnixNano", vv_max_u64(s->start_ns, s->end_ns));
    const size_t events = write_attrs(j, s, 0);
    if (s->dropped > 0) {
        vv_json_ku64(j, "droppedAttributesCount", s->dropped);
    }
    write_events(j, s, events);
    write_links(j, s);
    vv_json_key(j, "status");
    vv_json_obj(j);
    if (s->message.n > 0) {
        vv_json_kstr(j, "message", s->message);
    }
    if (s->status != VV_SPAN_UNSET) {
        vv_json_ku64(j, "code", s->status);
    }
    vv_json_obj_end(j);
    vv_json_obj_end(j);
}

/* ---------------------------------------------------------------- resources */

static struct vv_str service_of(const struct vv_span *s, const struct vv_otlp_resource *r)
{
    return s->service.n > 0 ? s->service : r->service;
}

struct order {
    const struct vv_span *spans;
    const struct vv_otlp_resource *r;
};

static int by_service(const void *a, const void *b, void *user)
{
    const struct order *o = user;
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    const struct vv_str s = service_of(&o->spans[x], o->r), t = service_of(&o->spans[y], o->r);
    const int c = memcmp(s.p != NULL ? s.p : "", t.p != NULL ? t.p : "", vv_min_u64(s.n, t.n));
    return c != 0 ? c : s.n != t.n ? (s.n < t.n ? -1 : 1) : x < y ? -1 : x > y;
}

static void begin_resource(struct vv_json *j, struct vv_str service,
                           const struct vv_otlp_resource *r)
{
    const bool own = vv_str_eq(service, r->service);
    vv_json_obj(j);
    vv_json_key(j, "resource");
    vv_json_obj(j);
    vv_json_key(j, "attributes");
    vv_json_arr(j);
    write_text_attr(j, "service.name", service);
    write_text_attr(j, "service.version", own ? r->version : VV_STR(""));
    write_text_attr(j, "service.instance.id", own ? r->instance : VV_STR(""));
    vv_json_arr_end(j);
    vv_json_obj_end(j);
    vv_json_key(j, "scopeSpans");
    vv_json_arr(j);
    vv_json_obj(j);
    vv_json_key(j, "scope");
    vv_json_obj(j);
    vv_json_kcstr(j, "name", "vivace");
    vv_json_obj_end(j);
    vv_json_key(j, "spans");
    vv_json_arr(j);
}

static void end_resource(struct vv_json *j)
{
    vv_json_arr_end(j);
    vv_json_obj_end(j);
    vv_json_arr_end(j);
    vv_json_obj_end(j);
}

void vv_otlp_write(const struct vv_span *spans, size_t count, const struct vv_otlp_resource *r,
                   struct vv_sb *out)
{
    struct vv_json j;
    struct order order = {spans, r};
    if (count == 0) {
        return;
    }
    size_t *at = calloc(count, sizeof *at);
    if (at == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        at[i] = i;
    }
    qsort_r(at, count, sizeof *at, by_service, &order);
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_key(&j, "resourceSpans");
    vv_json_arr(&j);
    for (size_t i = 0; i < count; i++) {
        const struct vv_str service = service_of(&spans[at[i]], r);
        if (i == 0 || !vv_str_eq(service, service_of(&spans[at[i - 1]], r))) {
            if (i > 0) {
                end_resource(&j);
            }
            begin_resource(&j, service, r);
        }
        write_span(&j, &spans[at[i]]);
    }
    end_resource(&j);
    vv_json_arr_end(&j);
    vv_json_obj_end(&j);
    free(at);
}
