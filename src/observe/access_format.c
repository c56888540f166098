/* src/observe/access_format.c - one request as one line, JSON or combined, without printf.
 *
 * Every text field has a budget of output bytes, so that the worst record has a known size and is
 * written without looking at the buffer's end; a field over its budget is cut and ends in "...".
 * Most bytes need no escape: they are looked at eight at a time. */
#include "observe/access_int.h"

#include "observe/text_int.h"

/* Budgets; their sum with the fixed parts stays under VV_ACCESS_LINE_MAX (checked below). */
#define B_PATH 16384 /* path and query */
#define B_TEXT 4096  /* user agent, referer */
#define B_HOST 1024
#define B_WORD 512
#define FIXED 1024 /* keys, quotes, numbers, time */
#define PAIRS_PATH 2
#define PAIRS_TEXT 2
#define PAIRS_HOST 1
#define PAIRS_WORD 13
_Static_assert(PAIRS_PATH *B_PATH + PAIRS_TEXT * B_TEXT + PAIRS_HOST * B_HOST +
                       PAIRS_WORD * B_WORD + FIXED <=
                   VV_ACCESS_LINE_MAX,
               "the worst record fits into an empty buffer");
#define ESCAPE_MAX 6 /* \uXXXX */
#define CUT_ROOM 16  /* one more escape and the dots */

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

size_t vv_access_bound(const struct vv_access_record *r)
{
    const size_t raw = r->client_ip.n + r->method.n + r->host.n + r->path.n + r->query.n +
                       r->route.n + r->service.n + r->server.n + r->user_agent.n + r->referer.n +
                       r->request_id.n + r->trace_id.n + r->error.n + r->cache.n + r->guard.n +
                       r->plan.n + r->caller.n;
    return vv_min_u64(raw * ESCAPE_MAX + FIXED, VV_ACCESS_LINE_MAX);
}

/* Nonzero when one of the 8 bytes may need an escape: control, DEL, quote, backslash or not ASCII.
 * The subtraction borrows into the next byte at worst, which only costs a slower look. */
static uint64_t suspicious(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x;
    memcpy(&x, p, 8);
    const uint64_t quote = (x ^ (ones * '"')) - ones;
    const uint64_t slash = (x ^ (ones * '\\')) - ones;
    const uint64_t del = (x ^ (ones * 0x7f)) - ones;
    return ((x - ones * 0x20) | quote | slash | del | x) & (ones * 0x80);
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Escapes the byte or character at c (n bytes left) as JSON; returns how many bytes it used. */
static size_t escape_json(char **at, const unsigned char *c, size_t n)
{
    char *p = *at;
    const size_t len = vv_text_utf8(c, n);
    if (len == 2 && c[0] == 0xc2 && c[1] < 0xa0) { /* C1 controls: terminals obey them */
        memcpy(p, "\\u00", 4);
        p[4] = hex_lower[c[1] >> 4];
        p[5] = hex_lower[c[1] & 15];
        p += 6;
    } else if (len > 1) {
        memcpy(p, c, len);
        p += len;
    } else if (len == 1 && (*c == '"' || *c == '\\')) {
        *p++ = '\\';
        *p++ = (char)*c;
    } else { /* control bytes, and U+FFFD for a byte that is not UTF-8 */
        memcpy(p, len == 1 ? "\\u00" : "\\uff", 4);
        p[4] = len == 1 ? hex_lower[*c >> 4] : 'f';
        p[5] = len == 1 ? hex_lower[*c & 15] : 'd';
        p += 6;
    }
    *at = p;
    return len != 0 ? len : 1;
}

/* As nginx does: quote, backslash, control bytes and everything over 126 become \xHH. */
static size_t escape_combined(char **at, const unsigned char *c)
{
    char *p = *at;
    p[0] = '\\';
    p[1] = 'x';
    p[2] = hex_upper[*c >> 4];
    p[3] = hex_upper[*c & 15];
    *at = p + 4;
    return 1;
}

static char *put_field(char *p, struct vv_str s, size_t budget, enum vv_access_format format)
{
    const unsigned char *c = (const unsigned char *)s.p;
    const char *const stop = p + budget - CUT_ROOM;
    size_t i = 0;
    while (i < s.n && p < stop) {
        if (i + 8 <= s.n && p + 8 <= stop && suspicious(s.p + i) == 0) {
            memcpy(p, s.p + i, 8);
            p += 8;
            i += 8;
        } else if (plain(c[i])) {
            *p++ = s.p[i++];
        } else if (format == VV_ACCESS_JSON) {
            i += escape_json(&p, c + i, s.n - i);
        } else {
            i += escape_combined(&p, c + i);
        }
    }
    if (i < s.n) {
        memcpy(p, "...", 3);
        p += 3;
    }
    return p;
}

#define PUT(p, literal) put_bytes(p, literal, sizeof(literal) - 1)
static char *put_bytes(char *p, const char *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}

/* `,"key":"value"`; an empty optional value leaves the key out. */
#define PAIR(p, key, value, budget) put_pair(p, ",\"" key "\":\"", sizeof(key) + 4, value, budget)
static char *put_pair(char *p, const char *key, size_t key_bytes, struct vv_str value,
                      size_t budget)
{
    if (value.n == 0) {
        return p;
    }
    p = put_field(put_bytes(p, key, key_bytes), value, budget, VV_ACCESS_JSON);
    *p++ = '"';
    return p;
}

/* Milliseconds with three decimals. */
static char *put_ms(char *p, uint64_t ns)
{
    p = vv_text_u64(p, ns / VV_MS);
    *p++ = '.';
    return vv_text_pad(p, ns % VV_MS / VV_US, 3);
}

static char *put_time(char *p, uint64_t wall_ns, enum vv_access_format format,
                      struct vv_access_clock *clock)
{
    const uint64_t second = wall_ns / VV_SEC;
    if (second != clock->second || clock->n == 0) {
        const char *end = format == VV_ACCESS_JSON ? vv_text_iso(clock->text, second)
                                                   : vv_text_clf(clock->text, second);
        clock->n = (size_t)(end - clock->text);
        clock->second = second;
    }
    return put_bytes(p, clock->text, clock->n);
}

static char *put_version(char *p, const struct vv_access_record *r)
{
    if (r->http2) {
        return PUT(p, "HTTP/2.0");
    }
    return r->http_minor == 0 ? PUT(p, "HTTP/1.0") : PUT(p, "HTTP/1.1");
}

static char *format_json(char *p, const struct vv_access_record *r, struct vv_access_clock *clock)
{
    p = PUT(p, "{\"ts\":\"");
    p = put_time(p, r->wall_ns, VV_ACCESS_JSON, clock);
    *p++ = '.';
    p = vv_text_pad(p, r->wall_ns % VV_SEC / VV_MS, 3);
    p = r->error.n > 0 || r->status >= 500 ? PUT(p, "Z\",\"level\":\"error\"")
                                           : PUT(p, "Z\",\"level\":\"info\"");
    p = PUT(p, ",\"msg\":\"request\"");
    p = PAIR(p, "trace_id", r->trace_id, B_WORD);
    p = PAIR(p, "request_id", r->request_id, B_WORD);
    p = PAIR(p, "client_ip", r->client_ip, B_WORD);
    p = PAIR(p, "caller", r->caller, B_WORD);
    p = PAIR(p, "plan", r->plan, B_WORD);
    p = PAIR(p, "method", r->method, B_WORD);
    p = PAIR(p, "host", r->host, B_HOST);
    p = PAIR(p, "path", r->path, B_PATH);
    p = PAIR(p, "query", r->query, B_PATH);
    p = PUT(p, ",\"proto\":\"");
    p = put_version(p, r);
    *p++ = '"';
    p = PAIR(p, "route", r->route, B_WORD);
    p = PAIR(p, "service", r->service, B_WORD);
    p = vv_text_u64(PUT(p, ",\"status\":"), r->status > 0 ? (uint64_t)r->status : 0);
    p = vv_text_u64(PUT(p, ",\"bytes_in\":"), r->bytes_in);
    p = vv_text_u64(PUT(p, ",\"bytes_out\":"), r->bytes_out);
    p = put_ms(PUT(p, ",\"duration_ms\":"), r->duration_ns);
    if (r->first_byte_ns > 0) {
        p = put_ms(PUT(p, ",\"ttfb_ms\":"), r->first_byte_ns);
    }
    if (r->attempts > 0) {
        p = PAIR(p, "upstream", r->server, B_WORD);
        p = put_ms(PUT(p, ",\"upstream_ms\":"), r->upstream_ns);
        p = vv_text_u64(PUT(p, ",\"attempts\":"), (uint64_t)r->attempts);
    }
    p = PAIR(p, "cache", r->cache, B_WORD);
    p = PAIR(p, "guard", r->guard, B_WORD);
    p = PAIR(p, "user_agent", r->user_agent, B_TEXT);
    p = PAIR(p, "referer", r->referer, B_TEXT);
    p = PAIR(p, "error", r->error, B_WORD);
    return PUT(p, "}\n");
}

/* A dash stands for "nothing". */
static char *put_or_dash(char *p, struct vv_str s, size_t budget)
{
    return s.n > 0 ? put_field(p, s, budget, VV_ACCESS_COMBINED) : PUT(p, "-");
}

/* 499 is what nginx logs when the client left first; readers expect three digits. */
static char *format_combined(char *p, const struct vv_access_record *r,
                             struct vv_access_clock *clock)
{
    p = PUT(put_or_dash(p, r->client_ip, B_WORD), " - - [");
    p = PUT(put_time(p, r->wall_ns, VV_ACCESS_COMBINED, clock), "] \"");
    if (r->method.n == 0 && r->path.n == 0) {
        p = PUT(p, "-"); /* the head could not be read */
    } else {
        p = put_or_dash(p, r->method, B_WORD);
        *p++ = ' ';
        p = put_or_dash(p, r->path, B_PATH);
        if (r->query.n > 0) {
            *p++ = '?';
            p = put_field(p, r->query, B_PATH, VV_ACCESS_COMBINED);
        }
        *p++ = ' ';
        p = put_version(p, r);
    }
    p = vv_text_u64(PUT(p, "\" "), r->status > 0 ? (uint64_t)r->status : 499);
    *p++ = ' ';
    p = vv_text_u64(p, r->bytes_out);
    p = put_or_dash(PUT(p, " \""), r->referer, B_TEXT);
    p = put_or_dash(PUT(p, "\" \""), r->user_agent, B_TEXT);
    return PUT(p, "\"\n");
}

char *vv_access_line(char *p, const struct vv_access_record *r, enum vv_access_format format,
                     struct vv_access_clock *clock)
{
    return format == VV_ACCESS_JSON ? format_json(p, r, clock) : format_combined(p, r, clock);
}
