/* src/observe/text.c - own digits and calendar: strftime and snprintf cost more than the whole rest
 * of an access log line, and they look at the locale and the time zone. */
#include "observe/text_int.h"

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* RFC 3629 section 4: the second byte's range depends on the first, which rules out overlong
 * forms, surrogates and everything over U+10FFFF. */
size_t vv_text_utf8(const unsigned char *p, size_t n)
{
    if (n == 0) {
        return 0;
    }
    if (p[0] < 0x80) {
        return 1;
    }
    size_t len;
    unsigned lo = 0x80;
    unsigned hi = 0xbf;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        lo = p[0] == 0xe0 ? 0xa0 : 0x80;
        hi = p[0] == 0xed ? 0x9f : 0xbf;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        lo = p[0] == 0xf0 ? 0x90 : 0x80;
        hi = p[0] == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (n < len || p[1] < lo || p[1] > hi) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

struct vv_str vv_text_clean(struct vv_str s, char *buf, size_t cap)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t at = 0;
    if (s.n <= cap) {
        size_t len = 1;
        while (at < s.n && len != 0) {
            len = vv_text_utf8(p + at, s.n - at);
            at += len;
        }
        if (at == s.n) {
            return s;
        }
    }
    size_t n = 0;
    for (at = 0; at < s.n;) {
        const size_t len = vv_text_utf8(p + at, s.n - at);
        const size_t put = len != 0 ? len : 3;
        if (n + put > cap) {
            break;
        }
        memcpy(buf + n, len != 0 ? s.p + at : "\xef\xbf\xbd", put);
        n += put;
        at += len != 0 ? len : 1;
    }
    return (struct vv_str){buf, n};
}

char *vv_text_u64(char *p, uint64_t v)
{
    char digits[VV_TEXT_U64];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    while (n > 0) {
        *p++ = digits[--n];
    }
    return p;
}

char *vv_text_pad(char *p, uint64_t v, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--) {
        p[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    return p + digits;
}

char *vv_text_seconds(char *p, uint64_t ns)
{
    p = vv_text_u64(p, ns / VV_SEC);
    if (ns % VV_SEC == 0) {
        return p;
    }
    *p++ = '.';
    p = vv_text_pad(p, ns % VV_SEC, 9);
    while (p[-1] == '0') {
        p--;
    }
    return p;
}

struct civil {
    uint64_t year;
    unsigned month, day, hour, minute, second; /* month 0..11 */
};

static bool leap(uint64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Walks years and months. It runs once a second and thread, so plain loops are good enough; years
 * are bounded by the range of nanoseconds in 64 bits (until 2554). */
static struct civil civil_from(uint64_t unix_s)
{
    static const unsigned lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t days = vv_min_u64(unix_s, UINT64_MAX / VV_SEC) / 86400;
    struct civil c = {.year = 1970,
                      .hour = (unsigned)(unix_s % 86400 / 3600),
                      .minute = (unsigned)(unix_s % 3600 / 60),
                      .second = (unsigned)(unix_s % 60)};
    while (days >= (leap(c.year) ? 366U : 365U)) {
        days -= leap(c.year) ? 366U : 365U;
        c.year++;
    }
    for (;; c.month++) {
        const unsigned length = lengths[c.month] + (c.month == 1 && leap(c.year) ? 1U : 0U);
        if (days < length) {
            break;
        }
        days -= length;
    }
    c.day = (unsigned)days + 1;
    return c;
}

static char *clock_text(char *p, const struct civil *c)
{
    p = vv_text_pad(p, c->hour, 2);
    *p++ = ':';
    p = vv_text_pad(p, c->minute, 2);
    *p++ = ':';
    return vv_text_pad(p, c->second, 2);
}

char *vv_text_iso(char *p, uint64_t unix_s)
{
    const struct civil c = civil_from(unix_s);
    p = vv_text_pad(p, c.year, 4);
    *p++ = '-';
    p = vv_text_pad(p, c.month + 1, 2);
    *p++ = '-';
    p = vv_text_pad(p, c.day, 2);
    *p++ = 'T';
    return clock_text(p, &c);
}

char *vv_text_clf(char *p, uint64_t unix_s)
{
    const struct civil c = civil_from(unix_s);
    p = vv_text_pad(p, c.day, 2);
    *p++ = '/';
    memcpy(p, months[c.month], 3);
    p += 3;
    *p++ = '/';
    p = vv_text_pad(p, c.year, 4);
    *p++ = ':';
    p = clock_text(p, &c);
    memcpy(p, " +0000", 6);
    return p + 6;
}
