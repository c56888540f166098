/* src/base/units.c - exact integer arithmetic over tables of units; no floating point, so what a
 * user wrote is what is used. A fraction finer than the smallest unit is rounded down, but never to
 * nothing: a value that is not zero and would become zero is out of range. */
#include "base/units.h"

#include <stdio.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: formatting takes the first that fits best. */
static const struct unit durations[] = {
    {"w", 7 * VV_DAY}, {"d", VV_DAY}, {"h", VV_HOUR}, {"m", VV_MINUTE},
    {"s", VV_SEC},     {"ms", VV_MS}, {"us", VV_US},  {"ns", 1},
};
static const struct unit sizes[] = {
    {"TB", 1024 * VV_GIB}, {"GB", VV_GIB},  {"MB", VV_MIB},  {"KB", VV_KIB}, {"B", 1},
    {"T", 1024 * VV_GIB},  {"G", VV_GIB},   {"M", VV_MIB},   {"K", VV_KIB},  {"TiB", 1024 * VV_GIB},
    {"GiB", VV_GIB},       {"MiB", VV_MIB}, {"KiB", VV_KIB},
};
static const struct unit shares[] = {{"%", VV_PPM / 100}};

#define DURATIONS_SHOWN (durations + 1) /* days, not weeks: 7d and 30d is how people write */
#define DURATIONS_SHOWN_COUNT (VV_COUNT(durations) - 1)
#define SIZES_SHOWN_COUNT 5
#define FRACTION_DIGITS_MAX 18

static const struct unit *find_unit(const struct unit *units, size_t count, struct vv_str name,
                                    bool nocase)
{
    for (size_t i = 0; i < count; i++) {
        const struct vv_str known = vv_str_from(units[i].name);
        if (nocase ? vv_str_eq_nocase(known, name) : vv_str_eq(known, name)) {
            return &units[i];
        }
    }
    return NULL;
}

static size_t count_digits(struct vv_str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9') {
        n++;
    }
    return n;
}

static struct vv_str skip(struct vv_str s, size_t n)
{
    return (struct vv_str){s.p + n, s.n - n};
}

/* whole * factor + fraction * factor / 10^digits, rounded down. */
static enum vv_err scale(struct vv_str whole, struct vv_str fraction, uint64_t factor,
                         uint64_t *ret)
{
    uint64_t units = 0, parts = 0, base = 1;
    int err = vv_str_to_u64(whole, &units);
    if (err == VV_OK && fraction.n > 0) {
        err = vv_str_to_u64(fraction, &parts); /* at most 18 digits: cannot overflow */
    }
    if (err != VV_OK) {
        return (enum vv_err)err;
    }
    for (size_t i = 0; i < fraction.n; i++) {
        base *= 10;
    }
    const unsigned __int128 exact =
        (unsigned __int128)units * factor + (unsigned __int128)parts * factor / base;
    if (exact > UINT64_MAX || (exact == 0 && (units | parts) != 0)) {
        return VV_ERANGE;
    }
    *ret = (uint64_t)exact;
    return VV_OK;
}

static enum vv_err parse(struct vv_str s, const struct unit *units, size_t count, bool nocase,
                         bool zero_alone, uint64_t *ret)
{
    const size_t digits = count_digits(s);
    if (digits == 0) {
        return VV_ESYNTAX;
    }
    const struct vv_str whole = {s.p, digits};
    struct vv_str fraction = {NULL, 0}, rest = skip(s, digits);
    if (rest.n > 0 && rest.p[0] == '.') {
        rest = skip(rest, 1);
        fraction = (struct vv_str){rest.p, count_digits(rest)};
        if (fraction.n == 0 || fraction.n > FRACTION_DIGITS_MAX) {
            return VV_ESYNTAX;
        }
        rest = skip(rest, fraction.n);
    }
    if (rest.n == 0) {
        if (zero_alone && vv_str_eq(s, VV_STR("0"))) {
            *ret = 0;
            return VV_OK;
        }
        return VV_EINVAL;
    }
    const struct unit *unit = find_unit(units, count, rest, nocase);
    return unit != NULL ? scale(whole, fraction, unit->factor, ret) : VV_ESYNTAX;
}

enum vv_err vv_parse_duration(struct vv_str s, uint64_t *ret_ns)
{
    return parse(s, durations, VV_COUNT(durations), false, true, ret_ns);
}

enum vv_err vv_parse_size(struct vv_str s, uint64_t *ret_bytes)
{
    return parse(s, sizes, VV_COUNT(sizes), true, true, ret_bytes);
}

enum vv_err vv_parse_ppm(struct vv_str s, uint64_t *ret_ppm)
{
    return parse(s, shares, VV_COUNT(shares), false, false, ret_ppm);
}

enum vv_err vv_parse_rate(struct vv_str s, struct vv_rate *ret)
{
    struct vv_str per = s;
    const struct vv_str count = vv_str_cut(&per, '/');
    struct vv_rate rate = {0, 0};
    const enum vv_err err = (enum vv_err)vv_str_to_u64(count, &rate.count);
    if (per.p == NULL) { /* no slash at all */
        return err == VV_OK ? VV_EINVAL : err;
    }
    const struct unit *unit = find_unit(durations, VV_COUNT(durations), per, false);
    if (unit == NULL) {
        return VV_ESYNTAX;
    }
    if (err != VV_OK) {
        return err;
    }
    rate.per_ns = unit->factor;
    *ret = rate;
    return VV_OK;
}

/* "1.5s": thousandths without trailing zeros. Returns the length. */
static size_t print_in(char *buf, size_t buf_bytes, uint64_t whole, uint64_t thousandths,
                       const char *unit)
{
    int n;
    if (thousandths == 0) {
        n = snprintf(buf, buf_bytes, "%llu%s", (unsigned long long)whole, unit);
    } else {
        unsigned digits = 3;
        while (thousandths % 10 == 0) {
            thousandths /= 10;
            digits--;
        }
        n = snprintf(buf, buf_bytes, "%llu.%0*llu%s", (unsigned long long)whole, (int)digits,
                     (unsigned long long)thousandths, unit);
    }
    return n > 0 ? (size_t)n : 0;
}

/* The shortest text that is exact with at most three decimals and does not begin with "0."; the
 * larger unit wins a tie. The last unit has factor 1, so there is always one. */
static const char *format(uint64_t v, const struct unit *units, size_t count, char *buf,
                          size_t buf_bytes)
{
    VV_ASSERT(buf_bytes >= 32);
    size_t best = SIZE_MAX;
    if (v == 0) {
        (void)snprintf(buf, buf_bytes, "0");
        return buf;
    }
    for (size_t i = 0; i < count; i++) {
        const uint64_t factor = units[i].factor, whole = v / factor, rest = v % factor;
        const unsigned __int128 scaled = (unsigned __int128)rest * 1000;
        if (whole == 0 || scaled % factor != 0) {
            continue;
        }
        char text[32];
        const size_t n =
            print_in(text, sizeof(text), whole, (uint64_t)(scaled / factor), units[i].name);
        if (n < best) {
            best = n;
            memcpy(buf, text, n + 1);
        }
    }
    return buf;
}

const char *vv_format_duration(uint64_t ns, char *buf, size_t buf_bytes)
{
    return format(ns, DURATIONS_SHOWN, DURATIONS_SHOWN_COUNT, buf, buf_bytes);
}

const char *vv_format_size(uint64_t bytes, char *buf, size_t buf_bytes)
{
    return format(bytes, sizes, SIZES_SHOWN_COUNT, buf, buf_bytes);
}

const char *vv_format_ppm(uint64_t ppm, char *buf, size_t buf_bytes)
{
    VV_ASSERT(buf_bytes >= 32);
    const uint64_t percent = ppm / (VV_PPM / 100);
    uint64_t parts = ppm % (VV_PPM / 100); /* ten-thousandths of a percent */
    int digits = 4;
    while (parts != 0 && parts % 10 == 0) {
        parts /= 10;
        digits--;
    }
    if (parts == 0) {
        (void)snprintf(buf, buf_bytes, "%llu%%", (unsigned long long)percent);
    } else {
        (void)snprintf(buf, buf_bytes, "%llu.%0*llu%%", (unsigned long long)percent, digits,
                       (unsigned long long)parts);
    }
    return buf;
}
