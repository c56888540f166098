/* src/wire/trace_context.c - ids are compared and passed on as bytes: parsing to bytes and writing
 * them again leaves nothing of the caller's text that could carry something else. */
#include "wire/trace_context.h"

#define LONG_MEMBER 128 /* W3C: what is longer may be cut first */

/* ---------------------------------------------------------------- hex */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void vv_trace_hex(const uint8_t *bytes, size_t n, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
}

enum vv_err vv_trace_unhex(struct vv_str hex, uint8_t *ret, size_t n)
{
    if (hex.n != 2 * n) {
        return VV_ESYNTAX;
    }
    for (size_t i = 0; i < hex.n; i++) {
        if (hex_digit(hex.p[i]) < 0) {
            return VV_ESYNTAX;
        }
    }
    for (size_t i = 0; i < n; i++) {
        ret[i] = (uint8_t)(hex_digit(hex.p[2 * i]) << 4 | hex_digit(hex.p[2 * i + 1]));
    }
    return VV_OK;
}

static struct vv_str part(struct vv_str s, size_t from, size_t n)
{
    return (struct vv_str){s.p + from, n};
}

/* ---------------------------------------------------------------- traceparent */

enum vv_err vv_traceparent_parse(struct vv_str value, struct vv_trace_context *ret)
{
    const struct vv_str v = vv_str_trim(value);
    struct vv_trace_context ctx = {.format = VV_TRACE_W3C};
    uint8_t version, flags;
    if (v.n < VV_TRACEPARENT_BYTES || v.p[2] != '-' || v.p[35] != '-' || v.p[52] != '-' ||
        vv_trace_unhex(part(v, 0, 2), &version, 1) != VV_OK || version == 0xff) {
        return VV_ESYNTAX;
    }
    /* A later version may add fields after a dash; this one has none. */
    if (v.n > VV_TRACEPARENT_BYTES && (version == 0 || v.p[VV_TRACEPARENT_BYTES] != '-')) {
        return VV_ESYNTAX;
    }
    if (vv_trace_unhex(part(v, 3, 32), ctx.trace_id, sizeof ctx.trace_id) != VV_OK ||
        vv_trace_unhex(part(v, 36, 16), ctx.span_id, sizeof ctx.span_id) != VV_OK ||
        vv_trace_unhex(part(v, 53, 2), &flags, 1) != VV_OK ||
        vv_trace_id_zero(ctx.trace_id, sizeof ctx.trace_id) ||
        vv_trace_id_zero(ctx.span_id, sizeof ctx.span_id)) {
        return VV_ESYNTAX;
    }
    /* Bits that mean nothing yet are sent as 0, so they are forgotten here. */
    ctx.flags = flags & (VV_TRACE_SAMPLED | VV_TRACE_RANDOM);
    ctx.sampling = (flags & VV_TRACE_SAMPLED) != 0 ? VV_TRACE_YES : VV_TRACE_NO;
    *ret = ctx;
    return VV_OK;
}

void vv_traceparent_write(const struct vv_trace_context *ctx, char buf[VV_TRACEPARENT_BYTES])
{
    buf[0] = buf[1] = '0';
    buf[2] = buf[35] = buf[52] = '-';
    vv_trace_hex(ctx->trace_id, sizeof ctx->trace_id, buf + 3);
    vv_trace_hex(ctx->span_id, sizeof ctx->span_id, buf + 36);
    vv_trace_hex(&ctx->flags, 1, buf + 53);
}

/* ---------------------------------------------------------------- tracestate */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool all_key_chars(struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!is_lower(c) && !is_digit(c) && c != '_' && c != '-' && c != '*' && c != '/') {
            return false;
        }
    }
    return true;
}

/* A simple key, or tenant@system. A simple key may begin with a digit, as Level 2 has it. */
static bool is_key(struct vv_str key)
{
    const ptrdiff_t at = vv_str_find_char(key, '@');
    if (key.n == 0 || key.n > VV_TRACESTATE_KEY_MAX ||
        (!is_lower(key.p[0]) && !is_digit(key.p[0]))) {
        return false;
    }
    if (at < 0) {
        return all_key_chars(key);
    }
    const struct vv_str tenant = part(key, 0, (size_t)at);
    const struct vv_str system = part(key, (size_t)at + 1, key.n - (size_t)at - 1);
    return tenant.n <= 241 && system.n >= 1 && system.n <= 14 && is_lower(system.p[0]) &&
           all_key_chars(tenant) && all_key_chars(system);
}

static bool is_value(struct vv_str v)
{
    if (v.n == 0 || v.n > VV_TRACESTATE_VALUE_MAX || v.p[v.n - 1] == ' ') {
        return false;
    }
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < 0x20 || v.p[i] > 0x7e || v.p[i] == ',' || v.p[i] == '=') {
            return false;
        }
    }
    return true;
}

static ptrdiff_t member_of(const struct vv_tracestate *ts, struct vv_str key)
{
    for (size_t i = 0; i < ts->count; i++) {
        if (vv_str_eq(ts->member[i].key, key)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static enum vv_err parse_line(struct vv_str line, size_t *seen, struct vv_tracestate *ts)
{
    while (line.p != NULL) {
        const struct vv_str member = vv_str_trim(vv_str_cut(&line, ','));
        if (member.n == 0) {
            continue; /* allowed, and worth nothing */
        }
        if (++*seen > VV_TRACESTATE_MEMBERS_MAX) {
            return VV_ELIMIT;
        }
        struct vv_str value = member;
        const struct vv_str key = vv_str_cut(&value, '=');
        if (!is_key(key) || value.p == NULL || !is_value(value)) {
            return VV_ESYNTAX;
        }
        if (member_of(ts, key) < 0) {
            ts->member[ts->count].key = key;
            ts->member[ts->count++].value = value;
        }
    }
    return VV_OK;
}

enum vv_err vv_tracestate_parse(const struct vv_str *lines, size_t count, struct vv_tracestate *ret)
{
    size_t bytes = 0, seen = 0;
    enum vv_err err = VV_OK;
    ret->count = 0;
    for (size_t i = 0; i < count && err == VV_OK; i++) {
        bytes += lines[i].n;
        err = bytes > VV_TRACESTATE_READ_MAX ? VV_ELIMIT : parse_line(lines[i], &seen, ret);
    }
    if (err != VV_OK) {
        ret->count = 0;
    }
    return err;
}

struct vv_str vv_tracestate_get(const struct vv_tracestate *ts, struct vv_str key)
{
    const ptrdiff_t i = member_of(ts, key);
    return i < 0 ? (struct vv_str){NULL, 0} : ts->member[i].value;
}

void vv_tracestate_remove(struct vv_tracestate *ts, struct vv_str key)
{
    const ptrdiff_t i = member_of(ts, key);
    if (i >= 0) {
        memmove(&ts->member[i], &ts->member[i + 1],
                (ts->count - (size_t)i - 1) * sizeof ts->member[0]);
        ts->count--;
    }
}

enum vv_err vv_tracestate_set(struct vv_tracestate *ts, struct vv_str key, struct vv_str value)
{
    if (!is_key(key) || !is_value(value)) {
        return VV_EINVAL;
    }
    vv_tracestate_remove(ts, key);
    const size_t keep = ts->count < VV_TRACESTATE_MEMBERS_MAX ? ts->count : ts->count - 1;
    memmove(&ts->member[1], &ts->member[0], keep * sizeof ts->member[0]);
    ts->member[0].key = key;
    ts->member[0].value = value;
    ts->count = keep + 1;
    return VV_OK;
}

static size_t member_bytes(const struct vv_tracestate *ts, size_t i)
{
    return ts->member[i].key.n + 1 + ts->member[i].value.n;
}

/* Leaves out members from the right until the rest fits: those above `over` bytes. */
static size_t leave_out(const struct vv_tracestate *ts, bool *skip, size_t total, size_t cap,
                        size_t over)
{
    for (size_t i = ts->count; i-- > 0 && total > cap;) {
        if (!skip[i] && member_bytes(ts, i) > over) {
            skip[i] = true;
            total -= member_bytes(ts, i) + 1;
        }
    }
    return total;
}

size_t vv_tracestate_write(const struct vv_tracestate *ts, char *buf, size_t buf_bytes)
{
    const size_t cap = vv_min_u64(buf_bytes, VV_TRACESTATE_BYTES_MAX) + 1; /* one comma too many */
    bool skip[VV_TRACESTATE_MEMBERS_MAX] = {false};
    size_t total = 0;
    for (size_t i = 0; i < ts->count; i++) {
        total += member_bytes(ts, i) + 1;
    }
    total = leave_out(ts, skip, total, cap, LONG_MEMBER);
    (void)leave_out(ts, skip, total, cap, 0);
    size_t n = 0;
    for (size_t i = 0; i < ts->count; i++) {
        if (skip[i]) {
            continue;
        }
        if (n > 0) {
            buf[n++] = ',';
        }
        memcpy(buf + n, ts->member[i].key.p, ts->member[i].key.n);
        n += ts->member[i].key.n;
        buf[n++] = '=';
        memcpy(buf + n, ts->member[i].value.p, ts->member[i].value.n);
        n += ts->member[i].value.n;
    }
    return n;
}

/* ---------------------------------------------------------------- B3 */

/* 16 or 32 digits; senders of B3 write both cases. */
static bool b3_id(struct vv_str s, uint8_t *ret, size_t n)
{
    char lower[2 * VV_TRACE_ID_BYTES];
    const size_t pad = n - s.n / 2;
    if (s.n != 16 && (n != VV_TRACE_ID_BYTES || s.n != 32)) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        lower[i] = vv_char_lower(s.p[i]);
    }
    memset(ret, 0, pad);
    return vv_trace_unhex((struct vv_str){lower, s.n}, ret + pad, s.n / 2) == VV_OK &&
           !vv_trace_id_zero(ret, n);
}

static bool b3_sampling(struct vv_str s, enum vv_trace_sampling *ret)
{
    if (vv_str_eq(s, VV_STR("1")) || vv_str_eq_nocase(s, VV_STR("true"))) {
        *ret = VV_TRACE_YES;
    } else if (vv_str_eq(s, VV_STR("0")) || vv_str_eq_nocase(s, VV_STR("false"))) {
        *ret = VV_TRACE_NO;
    } else if (vv_str_eq(s, VV_STR("d"))) {
        *ret = VV_TRACE_DEBUG;
    } else {
        return false;
    }
    return true;
}

enum vv_err vv_b3_parse(struct vv_str value, struct vv_trace_context *ret)
{
    struct vv_trace_context ctx = {.format = VV_TRACE_B3};
    struct vv_str rest = vv_str_trim(value);
    const struct vv_str trace = vv_str_cut(&rest, '-');
    if (rest.p == NULL) { /* a decision alone; "true" belongs to X-B3-Sampled */
        if (trace.n != 1 || !b3_sampling(trace, &ctx.sampling)) {
            return VV_ESYNTAX;
        }
        ctx.format = VV_TRACE_NONE;
        *ret = ctx;
        return VV_OK;
    }
    const struct vv_str span = vv_str_cut(&rest, '-');
    if (!b3_id(trace, ctx.trace_id, sizeof ctx.trace_id) ||
        !b3_id(span, ctx.span_id, sizeof ctx.span_id)) {
        return VV_ESYNTAX;
    }
    if (rest.p != NULL) {
        const struct vv_str sampled = vv_str_cut(&rest, '-');
        if (sampled.n != 1 || !b3_sampling(sampled, &ctx.sampling) ||
            (rest.p != NULL && !b3_id(rest, ctx.parent_id, sizeof ctx.parent_id))) {
            return VV_ESYNTAX;
        }
    }
    ctx.flags = ctx.sampling >= VV_TRACE_YES ? VV_TRACE_SAMPLED : 0;
    *ret = ctx;
    return VV_OK;
}

/* Broken ids count as none; what they say about sampling may still be followed. */
static void b3_multi(const struct vv_trace_fields *f, struct vv_trace_context *ret)
{
    struct vv_trace_context ctx = {.format = VV_TRACE_B3_MULTI};
    const struct vv_str parent = vv_str_trim(f->b3_parent);
    if (f->b3_other_n > 3 ||
        (f->b3_sampled.p != NULL && !b3_sampling(vv_str_trim(f->b3_sampled), &ctx.sampling))) {
        ctx.sampling = VV_TRACE_DEFER;
    }
    if (vv_str_eq(vv_str_trim(f->b3_flags), VV_STR("1"))) {
        ctx.sampling = VV_TRACE_DEBUG;
    }
    if (f->b3_trace_n != 1 || f->b3_span_n != 1 ||
        !b3_id(vv_str_trim(f->b3_trace), ctx.trace_id, sizeof ctx.trace_id) ||
        !b3_id(vv_str_trim(f->b3_span), ctx.span_id, sizeof ctx.span_id)) {
        *ret = (struct vv_trace_context){.sampling = ctx.sampling};
        return;
    }
    if (!b3_id(parent, ctx.parent_id, sizeof ctx.parent_id)) {
        memset(ctx.parent_id, 0, sizeof ctx.parent_id);
    }
    ctx.flags = ctx.sampling >= VV_TRACE_YES ? VV_TRACE_SAMPLED : 0;
    *ret = ctx;
}

static const char sampling_char[] = {
    [VV_TRACE_DEFER] = 0, [VV_TRACE_NO] = '0', [VV_TRACE_YES] = '1', [VV_TRACE_DEBUG] = 'd'};

size_t vv_b3_write(const struct vv_trace_context *ctx, char buf[VV_B3_BYTES_MAX])
{
    vv_trace_hex(ctx->trace_id, sizeof ctx->trace_id, buf);
    buf[32] = '-';
    vv_trace_hex(ctx->span_id, sizeof ctx->span_id, buf + 33);
    size_t n = 49;
    if (ctx->sampling != VV_TRACE_DEFER) {
        buf[n++] = '-';
        buf[n++] = sampling_char[ctx->sampling];
        if (!vv_trace_id_zero(ctx->parent_id, sizeof ctx->parent_id)) {
            buf[n++] = '-';
            vv_trace_hex(ctx->parent_id, sizeof ctx->parent_id, buf + n);
            n += 16;
        }
    }
    return n;
}

size_t vv_b3_write_multi(const struct vv_trace_context *ctx, char buf[VV_B3_BYTES_MAX],
                         struct vv_b3_field ret[4])
{
    size_t n = 0;
    vv_trace_hex(ctx->trace_id, sizeof ctx->trace_id, buf);
    vv_trace_hex(ctx->span_id, sizeof ctx->span_id, buf + 32);
    ret[n++] = (struct vv_b3_field){VV_STR("x-b3-traceid"), {buf, 32}};
    ret[n++] = (struct vv_b3_field){VV_STR("x-b3-spanid"), {buf + 32, 16}};
    if (!vv_trace_id_zero(ctx->parent_id, sizeof ctx->parent_id)) {
        vv_trace_hex(ctx->parent_id, sizeof ctx->parent_id, buf + 48);
        ret[n++] = (struct vv_b3_field){VV_STR("x-b3-parentspanid"), {buf + 48, 16}};
    }
    if (ctx->sampling == VV_TRACE_DEBUG) { /* debug implies the decision: it is not said twice */
        ret[n++] = (struct vv_b3_field){VV_STR("x-b3-flags"), VV_STR("1")};
    } else if (ctx->sampling != VV_TRACE_DEFER) {
        buf[64] = sampling_char[ctx->sampling];
        ret[n++] = (struct vv_b3_field){VV_STR("x-b3-sampled"), {buf + 64, 1}};
    }
    return n;
}

/* ---------------------------------------------------------------- a request's fields */

static void note(struct vv_str *slot, uint16_t *count, struct vv_str value)
{
    *slot = value;
    *count = (uint16_t)(*count < UINT16_MAX ? *count + 1 : *count);
}

bool vv_trace_fields_add(struct vv_trace_fields *f, struct vv_str name, struct vv_str value)
{
    if (vv_str_eq_nocase(name, VV_STR("traceparent"))) {
        note(&f->traceparent, &f->traceparents, value);
    } else if (vv_str_eq_nocase(name, VV_STR("tracestate"))) {
        struct vv_str past;
        note(f->states < VV_TRACESTATE_LINES_MAX ? &f->state[f->states] : &past, &f->states, value);
    } else if (vv_str_eq_nocase(name, VV_STR("b3"))) {
        note(&f->b3, &f->b3s, value);
    } else if (vv_str_eq_nocase(name, VV_STR("x-b3-traceid"))) {
        note(&f->b3_trace, &f->b3_trace_n, value);
    } else if (vv_str_eq_nocase(name, VV_STR("x-b3-spanid"))) {
        note(&f->b3_span, &f->b3_span_n, value);
    } else if (vv_str_eq_nocase(name, VV_STR("x-b3-parentspanid"))) {
        note(&f->b3_parent, &f->b3_other_n, value);
    } else if (vv_str_eq_nocase(name, VV_STR("x-b3-sampled"))) {
        note(&f->b3_sampled, &f->b3_other_n, value);
    } else if (vv_str_eq_nocase(name, VV_STR("x-b3-flags"))) {
        note(&f->b3_flags, &f->b3_other_n, value);
    } else {
        return false;
    }
    return true;
}

bool vv_trace_choose(const struct vv_trace_fields *f, struct vv_trace_context *ctx,
                     struct vv_tracestate *ts)
{
    *ctx = (struct vv_trace_context){.format = VV_TRACE_NONE};
    if (ts != NULL) {
        ts->count = 0;
    }
    if (f->traceparents == 1 && vv_traceparent_parse(f->traceparent, ctx) == VV_OK) {
        /* Without a usable tracestate the trace goes on all the same. */
        if (ts != NULL && f->states <= VV_TRACESTATE_LINES_MAX &&
            vv_tracestate_parse(f->state, f->states, ts) != VV_OK) {
            ts->count = 0;
        }
        return true;
    }
    if (f->b3s != 1 || vv_b3_parse(f->b3, ctx) != VV_OK) {
        b3_multi(f, ctx);
    }
    return ctx->format != VV_TRACE_NONE;
}

/* ---------------------------------------------------------------- going on */

void vv_span_id_new(uint8_t id[VV_SPAN_ID_BYTES], struct vv_rng *rng)
{
    uint64_t v;
    do {
        v = vv_rng_u64(rng);
    } while (v == 0);
    memcpy(id, &v, sizeof v);
}

void vv_trace_decide(struct vv_trace_context *ctx, enum vv_trace_sampling sampling)
{
    ctx->sampling = sampling;
    ctx->flags = (uint8_t)(ctx->flags & ~VV_TRACE_SAMPLED);
    ctx->flags |= sampling >= VV_TRACE_YES ? VV_TRACE_SAMPLED : 0;
}

void vv_trace_start(struct vv_trace_context *ctx, struct vv_rng *rng)
{
    const enum vv_trace_sampling sampling = ctx->sampling;
    *ctx = (struct vv_trace_context){.format = VV_TRACE_W3C, .flags = VV_TRACE_RANDOM};
    vv_span_id_new(ctx->trace_id, rng);
    vv_span_id_new(ctx->trace_id + 8, rng);
    vv_span_id_new(ctx->span_id, rng);
    vv_trace_decide(ctx, sampling);
}

void vv_trace_child(struct vv_trace_context *ctx, struct vv_rng *rng)
{
    memcpy(ctx->parent_id, ctx->span_id, sizeof ctx->parent_id);
    vv_span_id_new(ctx->span_id, rng);
}
