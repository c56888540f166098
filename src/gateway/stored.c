/* src/gateway/stored.c - writes head blocks at store time, so that a hit has nothing to decide. */
#include "gateway/stored.h"
#include "cache/validate.h"
#include "wire/encoding.h"
#include <stdio.h>

#define LIT(text)                                                                                  \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

struct out {
    char *at, *end;
    bool full;
};

static void put(struct out *o, struct vv_str s)
{
    if (s.n > (size_t)(o->end - o->at)) {
        o->full = true;
    } else if (s.n > 0) {
        memcpy(o->at, s.p, s.n);
        o->at += s.n;
    }
}

static void put_field(struct out *o, const struct vv_h1_field *f)
{
    put(o, f->name);
    put(o, VV_STR(": "));
    put(o, f->value);
    put(o, VV_STR("\r\n"));
}

static void put_date(struct out *o, struct vv_str date)
{
    put(o, VV_STR("Date: "));
    put(o, date);
    put(o, VV_STR("\r\n"));
}

static void put_status(struct out *o, const struct vv_h1_head *h)
{
    const char digits[4] = {(char)('0' + h->status / 100 % 10), (char)('0' + h->status / 10 % 10),
                            (char)('0' + h->status % 10), ' '};
    put(o, VV_STR("HTTP/1.1 "));
    put(o, (struct vv_str){digits, sizeof digits});
    put(o, h->reason);
    put(o, VV_STR("\r\n"));
}

/* Fields that are written anew with each answer. */
static bool ours(const struct vv_h1_field *f)
{
    return f->hop || f->id == VV_FIELD_CONTENT_LENGTH || f->id == VV_FIELD_AGE ||
           f->id == VV_FIELD_X_REQUEST_ID;
}

size_t vv_stored_head_write(const struct vv_h1_head *answer, const struct vv_cc *cc,
                            struct vv_str date, char *out, size_t cap)
{
    struct out o = {out, out + cap, false};
    bool dated = false; /* its Date may be one of those that are not kept */
    put_status(&o, answer);
    for (uint32_t i = 0; i < answer->fields_count; i++) {
        const struct vv_h1_field *f = &answer->fields[i];
        if (!ours(f) && vv_cache_keeps_field(f, cc)) {
            put_field(&o, f);
            dated |= f->id == VV_FIELD_DATE;
        }
    }
    if (!dated) {
        put_date(&o, date);
    }
    return o.full ? 0 : (size_t)(o.at - out);
}

static bool updated(const struct vv_h1_head *not_modified, const struct vv_cc *cc,
                    const struct vv_h1_field *stored)
{
    for (uint32_t i = 0; i < not_modified->fields_count; i++) {
        const struct vv_h1_field *f = &not_modified->fields[i];
        if (!ours(f) && vv_cache_updates_field(f, cc) && vv_str_eq_nocase(f->name, stored->name)) {
            return true;
        }
    }
    return false;
}

size_t vv_stored_head_merge(const struct vv_h1_head *stored, const struct vv_h1_head *not_modified,
                            const struct vv_cc *cc, struct vv_str date, char *out, size_t cap)
{
    struct out o = {out, out + cap, false};
    bool dated = false;
    put_status(&o, stored);
    for (uint32_t i = 0; i < stored->fields_count; i++) {
        const struct vv_h1_field *f = &stored->fields[i];
        if (!ours(f) && f->id != VV_FIELD_DATE && vv_cache_keeps_field(f, cc) &&
            !updated(not_modified, cc, f)) {
            put_field(&o, f);
        }
    }
    for (uint32_t i = 0; i < not_modified->fields_count; i++) {
        const struct vv_h1_field *f = &not_modified->fields[i];
        if (!ours(f) && vv_cache_updates_field(f, cc)) {
            put_field(&o, f);
            dated |= f->id == VV_FIELD_DATE;
        }
    }
    if (!dated) {
        put_date(&o, date);
    }
    return o.full ? 0 : (size_t)(o.at - out);
}

/* One line of a block, without its line end. */
static struct vv_str next_line(struct vv_str *block)
{
    struct vv_str line = vv_str_cut(block, '\n');
    line.n -= line.n > 0 && line.p[line.n - 1] == '\r';
    return line;
}

bool vv_stored_head_read(struct vv_str block, uint64_t body_bytes, struct vv_h1_head *ret)
{
    struct vv_str line = next_line(&block);
    if (line.n < 13 || !vv_str_starts(line, VV_STR("HTTP/1.1 "))) {
        return false;
    }
    vv_h1_head_init(ret);
    ret->minor = 1;
    ret->status = (line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + (line.p[11] - '0');
    ret->reason = (struct vv_str){line.p + 13, line.n - 13};
    ret->framing = VV_H1_BODY_LENGTH;
    ret->content_length = body_bytes;
    ret->has_content_length = true;
    ret->keep_alive = true;
    ret->head_bytes = block.n + line.n + 4;
    while (block.n > 0) {
        line = next_line(&block);
        const struct vv_str name = vv_str_cut(&line, ':');
        if (name.n == 0 || ret->fields_count == VV_H1_FIELDS_MAX) {
            return false;
        }
        struct vv_h1_field *f = &ret->fields[ret->fields_count++];
        *f = (struct vv_h1_field){
            .name = name, .value = vv_str_trim(line), .id = (uint16_t)vv_field_lookup(name)};
        if (f->id != VV_FIELD_OTHER && ret->first[f->id] == 0) {
            ret->first[f->id] = (uint8_t)ret->fields_count;
        }
    }
    return true;
}

/* ---- what others wrote ---- */

#define AGE_MAX_MS ((uint64_t)UINT32_MAX * 1000)

static bool sound_bools(const struct vv_stored_meta *m)
{
    const bool *at[] = {&m->facts.has_modified,    &m->facts.has_etag, &m->facts.no_cache,
                        &m->facts.must_revalidate, &m->facts.s_maxage, &m->facts.immutable,
                        &m->compressible};
    for (size_t i = 0; i < VV_COUNT(at); i++) {
        unsigned char byte;
        memcpy(&byte, at[i], sizeof byte);
        if (byte > 1) {
            return false;
        }
    }
    return true;
}

static bool sound_field(struct vv_str line)
{
    const struct vv_str name = vv_str_cut(&line, ':');
    switch (vv_field_lookup(name)) {
    case VV_FIELD_AGE:
    case VV_FIELD_CONNECTION:
    case VV_FIELD_CONTENT_LENGTH:
    case VV_FIELD_KEEP_ALIVE:
    case VV_FIELD_PROXY_CONNECTION:
    case VV_FIELD_TRANSFER_ENCODING:
    case VV_FIELD_UPGRADE:
        return false;
    default:
        return vv_h1_is_token(name) && vv_h1_is_field_value(vv_str_trim(line));
    }
}

static bool sound_status(struct vv_str line, unsigned status)
{
    char want[16];
    const int n = snprintf(want, sizeof want, "HTTP/1.1 %u ", status);
    return status >= 200 && status <= 599 && status != 206 && status != 304 &&
           vv_str_starts(line, (struct vv_str){want, (size_t)n}) &&
           vv_h1_is_field_value((struct vv_str){line.p + n, line.n - (size_t)n});
}

bool vv_stored_sound(struct vv_stored_meta *m, struct vv_str block, int64_t now_ms)
{
    if (m->version != VV_STORED_VERSION || m->encoding != VV_ENCODING_IDENTITY || !sound_bools(m) ||
        m->status != m->facts.status || m->facts.response_ms < 0 ||
        m->facts.initial_age_ms > AGE_MAX_MS || block.n == 0 || block.p[block.n - 1] != '\n') {
        return false;
    }
    size_t lines = 0;
    for (; block.n > 0; lines++) {
        struct vv_str line = vv_str_cut(&block, '\n');
        if (line.n < 2 || line.p[--line.n] != '\r' || lines > VV_H1_FIELDS_MAX ||
            !(lines == 0 ? sound_status(line, m->status) : sound_field(line))) {
            return false;
        }
    }
    if (m->facts.response_ms > now_ms) {
        m->facts.response_ms = now_ms;
    }
    return true;
}

static uint32_t add_tags(struct vv_str list, uint64_t *tags, uint32_t n)
{
    size_t start = 0;
    for (size_t i = 0; i <= list.n && n < VV_CACHE_TAGS_MAX; i++) {
        if (i == list.n || list.p[i] == ' ' || list.p[i] == ',' || list.p[i] == '\t') {
            if (i > start) {
                tags[n++] = vv_cache_tag((struct vv_str){list.p + start, i - start});
            }
            start = i + 1;
        }
    }
    return n;
}

uint32_t vv_stored_tags(const struct vv_h1_head *answer, uint64_t ret_tags[VV_CACHE_TAGS_MAX])
{
    static const struct vv_str names[] = {LIT("Surrogate-Key"), LIT("Cache-Tag"), LIT("xkey")};
    uint32_t n = 0;
    for (uint32_t i = 0; i < answer->fields_count; i++) {
        const struct vv_h1_field *f = &answer->fields[i];
        for (size_t k = 0; f->id == VV_FIELD_OTHER && k < VV_COUNT(names); k++) {
            if (vv_str_eq_nocase(f->name, names[k])) {
                n = add_tags(f->value, ret_tags, n);
            }
        }
    }
    return n;
}
