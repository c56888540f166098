/* src/wire/date.c - HTTP dates without strftime() and timegm(): those follow locale and time zone.
 *
 * Days and dates convert through years that begin in March, so that the leap day is the last of its
 * year and no table of month lengths is needed. */
#include "wire/date.h"

#include <string.h>

#define DAY_S 86400
#define DAYS_PER_400Y 146097 /* 400 * 365 + 97 leap days */
#define EPOCH_DAYS 719468    /* from 0000-03-01 to 1970-01-01 */

static const char day_names[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct date {
    int64_t year;
    int month, day, hour, minute, second; /* month 1 to 12 */
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* 365.2425 days a year on average, in whole days since 0000-03-01. */
static int64_t days_of(int64_t year, int month, int day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t m = month <= 2 ? month + 9 : month - 3; /* March is 0 */
    /* 153 days in every five months from March on: 31 30 31 30 31. */
    return 365 * y + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400) + (153 * m + 2) / 5 +
           day - 1 - EPOCH_DAYS;
}

static void date_of(int64_t days, struct date *ret)
{
    const int64_t z = days + EPOCH_DAYS;
    const int64_t era = floor_div(z, DAYS_PER_400Y);
    const int64_t doe = z - era * DAYS_PER_400Y; /* day of the 400 years */
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / (DAYS_PER_400Y - 1)) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const int64_t m = (5 * doy + 2) / 153;
    ret->day = (int)(doy - (153 * m + 2) / 5 + 1);
    ret->month = (int)(m < 10 ? m + 3 : m - 9);
    ret->year = yoe + era * 400 + (ret->month <= 2 ? 1 : 0);
}

static void put2(char *out, int64_t v)
{
    out[0] = (char)('0' + v / 10 % 10);
    out[1] = (char)('0' + v % 10);
}

void vv_http_date_format(int64_t unix_s, char out[VV_HTTP_DATE_BYTES])
{
    const int64_t days = floor_div(unix_s, DAY_S), second = unix_s - days * DAY_S;
    const int64_t weekday = days + 4 - 7 * floor_div(days + 4, 7); /* 1970-01-01: Thursday */
    struct date d;
    date_of(days, &d);
    memcpy(out, "___, __ ___ ____ __:__:__ GMT", VV_HTTP_DATE_BYTES);
    memcpy(out, day_names[weekday], 3);
    put2(out + 5, d.day);
    memcpy(out + 8, month_names[d.month - 1], 3);
    put2(out + 12, d.year / 100);
    put2(out + 14, d.year % 100);
    put2(out + 17, second / 3600);
    put2(out + 20, second / 60 % 60);
    put2(out + 23, second % 60);
}

/* ---- parsing: a cursor that remembers whether everything fitted so far ---- */

struct cursor {
    const char *p, *end;
    bool ok;
};

static void expect(struct cursor *c, const char *text)
{
    const size_t n = strlen(text);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n) != 0) {
        c->ok = false;
        return;
    }
    c->p += n;
}

static int digits(struct cursor *c, int count)
{
    int v = 0;
    for (int i = 0; i < count; i++) {
        if (c->p == c->end || *c->p < '0' || *c->p > '9') {
            c->ok = false;
            return 0;
        }
        v = v * 10 + (*c->p++ - '0');
    }
    return v;
}

/* 1 to 12, 0 and not ok when there is no month. */
static int month(struct cursor *c)
{
    for (int i = 0; c->end - c->p >= 3 && i < 12; i++) {
        if (memcmp(c->p, month_names[i], 3) == 0) {
            c->p += 3;
            return i + 1;
        }
    }
    c->ok = false;
    return 0;
}

static void time_of_day(struct cursor *c, struct date *d)
{
    d->hour = digits(c, 2);
    expect(c, ":");
    d->minute = digits(c, 2);
    expect(c, ":");
    d->second = digits(c, 2);
}

/* Skips the name of a day, `long_form` or its first three letters. */
static bool day_name(struct cursor *c, bool long_form)
{
    for (int i = 0; i < 7; i++) {
        const size_t n = long_form ? strlen(day_names[i]) : 3;
        if ((size_t)(c->end - c->p) > n && memcmp(c->p, day_names[i], n) == 0 &&
            (c->p[n] == ',' || c->p[n] == ' ')) {
            c->p += n;
            return true;
        }
    }
    return false;
}

static void day_first_date(struct cursor *c, struct date *d, const char *between, int year_digits)
{
    expect(c, ", ");
    d->day = digits(c, 2);
    expect(c, between);
    d->month = month(c);
    expect(c, between);
    d->year = digits(c, year_digits);
    expect(c, " ");
    time_of_day(c, d);
    expect(c, " GMT");
}

static void imf_fixdate(struct cursor *c, struct date *d)
{
    day_first_date(c, d, " ", 4);
}

static void asctime_date(struct cursor *c, struct date *d)
{
    expect(c, " ");
    d->month = month(c);
    expect(c, " ");
    if (c->p < c->end && *c->p == ' ') {
        c->p++;
        d->day = digits(c, 1);
    } else {
        d->day = digits(c, 2);
    }
    expect(c, " ");
    time_of_day(c, d);
    expect(c, " ");
    d->year = digits(c, 4);
}

static void rfc850_date(struct cursor *c, struct date *d)
{
    day_first_date(c, d, "-", 2);
}

static bool in_range(const struct date *d)
{
    if (d->month < 1 || d->month > 12 || d->day < 1) {
        return false;
    }
    const int64_t next_year = d->month == 12 ? d->year + 1 : d->year;
    const int next_month = d->month == 12 ? 1 : d->month + 1;
    const int64_t length = days_of(next_year, next_month, 1) - days_of(d->year, d->month, 1);
    /* The grammar knows second 60; like timegm(), it counts as the next minute's first. */
    return d->day <= length && d->hour <= 23 && d->minute <= 59 && d->second <= 60;
}

static int64_t seconds_of(const struct date *d)
{
    return days_of(d->year, d->month, d->day) * DAY_S + d->hour * 3600 + d->minute * 60 + d->second;
}

/* RFC 9110 5.6.7: a date that seems more than 50 years ahead belongs to the century before. */
static void choose_century(struct date *d, int64_t now_s)
{
    struct date now;
    date_of(floor_div(now_s, DAY_S), &now);
    const int64_t in_century = d->year;
    const int64_t into_day = now_s - floor_div(now_s, DAY_S) * DAY_S;
    const int64_t latest = days_of(now.year + 50, now.month, now.day) * DAY_S + into_day;
    d->year = now.year / 100 * 100 + 100 + in_century;
    while (seconds_of(d) > latest) {
        d->year -= 100;
    }
}

enum vv_err vv_http_date_parse(struct vv_str s, int64_t now_s, int64_t *ret_unix_s)
{
    struct cursor c = {s.p, s.p + s.n, true};
    struct date d = {0};
    bool short_year = false;
    if (s.n == 0) {
        return VV_ESYNTAX;
    }
    if (day_name(&c, false)) {
        if (*c.p == ',') {
            imf_fixdate(&c, &d);
        } else {
            asctime_date(&c, &d);
        }
    } else if (day_name(&c, true)) {
        rfc850_date(&c, &d);
        short_year = true;
    } else {
        return VV_ESYNTAX;
    }
    if (!c.ok || c.p != c.end) {
        return VV_ESYNTAX;
    }
    if (short_year) {
        if (d.month < 1 || d.month > 12) {
            return VV_ESYNTAX;
        }
        choose_century(&d, now_s);
    }
    if (!in_range(&d)) {
        return VV_ESYNTAX;
    }
    *ret_unix_s = seconds_of(&d);
    return VV_OK;
}
