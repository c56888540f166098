/* src/gateway/keys.c - one strict reader serves start, reload, API and command line; changes are made in
 * the text, so that an operator's comments stay where they are. The first eight bytes of a hash choose
 * the slot: to a caller without the key they are as good as random. */
#include "gateway/keys.h"
#include "base/base64.h"
#include "base/units.h"
#include "os/file.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS_MAX (1u << 20)
#define ERROR_BYTES 256
#define NAME_SEED 11
#define LASTS_MAX (36500 * VV_DAY)

/* ---- words --------------------------------------------------------------------------------- */

bool vv_key_is_name(struct vv_str s)
{
    if (s.n == 0 || s.n > VV_KEY_NAME_MAX || (s.n == 1 && s.p[0] == '-')) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '@' || c == '-')) {
            return false;
        }
    }
    return true;
}

bool vv_key_is_key(struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~') {
            return false;
        }
    }
    return s.n >= VV_KEY_BYTES_MIN && s.n <= VV_KEY_BYTES_MAX;
}

enum vv_err vv_key_hash(struct vv_str key, uint8_t ret[VV_KEY_HASH])
{
    unsigned n = 0;
    return EVP_Digest(key.p, key.n, ret, &n, EVP_sha256(), NULL) == 1 && n == VV_KEY_HASH
               ? VV_OK
               : VV_ENOMEM;
}

void vv_key_make(const uint8_t random[32], char ret[VV_KEY_TEXT])
{
    memcpy(ret, "vk_", 3);
    const size_t n = vv_base64_encode(VV_BASE64_URL, random, 32, ret + 3);
    ret[3 + n] = '\0';
}

/* ---- times --------------------------------------------------------------------------------- */

/* Days since 1970-01-01 of a date of the Gregorian calendar; years begin in March here, so that the leap
 * day is the last one. 719468 days lie between 0000-03-01 and 1970-01-01. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    const int64_t y = month > 2 ? year : year - 1;
    const int64_t m = month > 2 ? month - 3 : month + 9;
    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t month_days(int64_t year, int64_t month)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

const char *vv_utc_format(int64_t unix_s, char out[VV_UTC_BYTES])
{
    int64_t days = unix_s / 86400, s = unix_s % 86400, year = 1970, month = 1;
    if (unix_s < 0 || unix_s > INT64_C(253402300799)) { /* the end of 9999 */
        days = s = 0;
    }
    year += days / 366; /* never too late; at most a few years too early */
    while (days_of(year + 1, 1, 1) <= days) {
        year++;
    }
    while (month < 12 && days_of(year, month + 1, 1) <= days) {
        month++;
    }
    snprintf(out, VV_UTC_BYTES, "%04d-%02d-%02dT%02d:%02d:%02dZ", (int)(year % 10000), (int)month,
             (int)((days - days_of(year, month, 1)) % 100 + 1), (int)(s / 3600), (int)(s / 60 % 60),
             (int)(s % 60));
    return out;
}

static bool digits(struct vv_str s, size_t at, size_t n, int64_t *ret)
{
    uint64_t v = 0;
    if (vv_str_to_u64((struct vv_str){s.p + at, n}, &v) != VV_OK) {
        return false;
    }
    *ret = (int64_t)v;
    return true;
}

bool vv_utc_parse(struct vv_str s, int64_t *ret_unix_s)
{
    int64_t year, month, day, hour, minute, second;
    if (s.n != 20 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T' || s.p[13] != ':' ||
        s.p[16] != ':' || s.p[19] != 'Z' || !digits(s, 0, 4, &year) || !digits(s, 5, 2, &month) ||
        !digits(s, 8, 2, &day) || !digits(s, 11, 2, &hour) || !digits(s, 14, 2, &minute) ||
        !digits(s, 17, 2, &second)) {
        return false;
    }
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > month_days(year, month) ||
        hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    *ret_unix_s = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}

enum vv_err vv_key_lasts(struct vv_str text, uint64_t wall_ns, int64_t *ret_unix_s)
{
    uint64_t ns = 0;
    const enum vv_err err = vv_parse_duration(text, &ns);
    if (err != VV_OK) {
        return err;
    }
    if (ns < VV_SEC || ns > LASTS_MAX) { /* a sum that wraps would have ended long ago */
        return VV_ERANGE;
    }
    *ret_unix_s = (int64_t)((wall_ns + ns) / VV_SEC);
    return VV_OK;
}

/* ---- the table ----------------------------------------------------------------------------- */

static size_t slot_of(const uint8_t hash[VV_KEY_HASH])
{
    uint64_t v = 0;
    memcpy(&v, hash, sizeof v);
    return (size_t)v;
}

const struct vv_key *vv_keys_find(const struct vv_keys *k, const uint8_t hash[VV_KEY_HASH])
{
    for (size_t at = slot_of(hash);; at++) {
        const uint32_t i = k->by_hash[at & (k->slots - 1)];
        if (i == 0) {
            return NULL;
        }
        if (CRYPTO_memcmp(k->key[i - 1].hash, hash, VV_KEY_HASH) == 0) {
            return &k->key[i - 1];
        }
    }
}

const struct vv_key *vv_keys_named(const struct vv_keys *k, struct vv_str name)
{
    for (size_t at = (size_t)vv_str_hash(name, NAME_SEED);; at++) {
        const uint32_t i = k->by_name[at & (k->slots - 1)];
        if (i == 0) {
            return NULL;
        }
        if (vv_str_eq(vv_str_from(k->key[i - 1].name), name)) {
            return &k->key[i - 1];
        }
    }
}

static void enter(uint32_t *slot, size_t slots, size_t at, size_t index)
{
    while (slot[at & (slots - 1)] != 0) {
        at++;
    }
    slot[at & (slots - 1)] = (uint32_t)index + 1;
}

void vv_keys_free(struct vv_keys *k)
{
    if (k != NULL) {
        free(k->key);
        free(k->text);
        free(k->by_hash);
        free(k->by_name);
        free(k);
    }
}

/* ---- the reader ---------------------------------------------------------------------------- */

struct reader {
    char *line; /* begin of the line at hand, in the table's text */
    struct vv_str rest;
    const char *word; /* begin of the word that was read last */
    struct vv_keys_error *reterr;
};

static enum vv_err wrong(const struct reader *r, const char *at, const char *text)
{
    r->reterr->column = (uint32_t)(at - r->line) + 1;
    r->reterr->text = text;
    return VV_ESYNTAX;
}

/* The next word of the line; n 0: there is none. */
static struct vv_str next_word(struct reader *r)
{
    while (r->rest.n > 0 && (r->rest.p[0] == ' ' || r->rest.p[0] == '\t')) {
        r->rest.p++;
        r->rest.n--;
    }
    struct vv_str word = {r->rest.p, 0};
    while (r->rest.n > 0 && r->rest.p[0] != ' ' && r->rest.p[0] != '\t') {
        r->rest.p++;
        r->rest.n--;
        word.n++;
    }
    r->word = word.p;
    return word;
}

static bool hex_hash(struct vv_str s, uint8_t out[VV_KEY_HASH])
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0 || i >= 2 * VV_KEY_HASH) {
            return false;
        }
        out[i / 2] = (uint8_t)(i % 2 == 0 ? v << 4 : out[i / 2] | v);
    }
    return s.n == 2 * VV_KEY_HASH;
}

static enum vv_err read_options(struct reader *r, struct vv_key *k)
{
    for (;;) {
        struct vv_str value = next_word(r);
        if (value.n == 0) {
            return VV_OK;
        }
        const struct vv_str name = vv_str_cut(&value, '=');
        int64_t *to = vv_str_eq(name, VV_STR("expires"))   ? &k->expires_s
                      : vv_str_eq(name, VV_STR("revoked")) ? &k->revoked_s
                                                           : NULL;
        if (to == NULL) {
            return wrong(r, r->word, "only expires=TIME and revoked=TIME may stand here");
        }
        if (*to != 0) {
            return wrong(r, r->word, "this stands here twice");
        }
        if (!vv_utc_parse(value, to) || *to == 0) {
            return wrong(r, r->word, "a time is written as 2026-11-21T14:00:00Z");
        }
    }
}

/* One line; words become NUL-terminated where they lie, once the line is known to be right. */
static enum vv_err read_key(struct reader *r, struct vv_key *k)
{
    if (!hex_hash(next_word(r), k->hash)) {
        return wrong(r, r->word, "a line begins with the SHA-256 of the key: 64 digits 0-9a-f");
    }
    const struct vv_str plan = next_word(r);
    const bool none = vv_str_eq(plan, VV_STR("-"));
    if (!none && !vv_key_is_name(plan)) {
        return wrong(r, r->word, "the plan follows the hash; \"-\" means none");
    }
    const struct vv_str name = next_word(r);
    if (!vv_key_is_name(name)) {
        return wrong(r, r->word, "the name follows the plan: letters, digits, . _ @ -");
    }
    if (!vv_utc_parse(next_word(r), &k->created_s)) {
        return wrong(r, r->word, "the time of creation follows the name, as 2026-11-21T14:00:00Z");
    }
    const enum vv_err err = read_options(r, k);
    if (err == VV_OK) {
        r->line[plan.p - r->line + (ptrdiff_t)plan.n] = '\0';
        r->line[name.p - r->line + (ptrdiff_t)name.n] = '\0';
        k->plan = none ? NULL : plan.p;
        k->name = name.p;
    }
    return err;
}

static enum vv_err add_key(struct vv_keys *t, const struct reader *r, const struct vv_key *k)
{
    if (vv_keys_find(t, k->hash) != NULL) {
        return wrong(r, r->line, "this key stands in the file twice");
    }
    if (vv_keys_named(t, vv_str_from(k->name)) != NULL) {
        return wrong(r, k->name, "another key has this name");
    }
    t->key[t->count] = *k;
    enter(t->by_hash, t->slots, slot_of(k->hash), t->count);
    enter(t->by_name, t->slots, (size_t)vv_str_hash(vv_str_from(k->name), NAME_SEED), t->count);
    t->count++;
    return VV_OK;
}

static enum vv_err make_room(struct vv_keys *t, struct vv_str text)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.n; i++) {
        lines += text.p[i] == '\n';
    }
    lines = lines > KEYS_MAX ? KEYS_MAX : lines;
    t->slots = 8;
    while (t->slots < 2 * lines) {
        t->slots *= 2;
    }
    t->text = malloc(text.n + 1);
    t->key = calloc(lines, sizeof *t->key);
    t->by_hash = calloc(t->slots, sizeof *t->by_hash);
    t->by_name = calloc(t->slots, sizeof *t->by_name);
    if (t->text == NULL || t->key == NULL || t->by_hash == NULL || t->by_name == NULL) {
        return VV_ENOMEM;
    }
    memcpy(t->text, text.n > 0 ? text.p : "", text.n);
    t->text[text.n] = '\0';
    return VV_OK;
}

enum vv_err vv_keys_parse(struct vv_str text, struct vv_keys **ret, struct vv_keys_error *reterr)
{
    struct vv_keys *t = calloc(1, sizeof *t);
    enum vv_err err = t != NULL ? make_room(t, text) : VV_ENOMEM;
    struct reader r = {.reterr = reterr};
    *reterr = (struct vv_keys_error){.column = 1, .text = "out of memory"};
    size_t at = 0;
    while (err == VV_OK && at < text.n) {
        const char *end = memchr(t->text + at, '\n', text.n - at);
        const size_t n = (end != NULL ? (size_t)(end - t->text) : text.n) - at;
        struct vv_key key = {.line = ++reterr->line};
        r.line = t->text + at;
        r.rest = (struct vv_str){r.line, n};
        if (r.rest.n > 0 && r.rest.p[r.rest.n - 1] == '\r') {
            r.rest.n--;
        }
        at += n + 1;
        if (vv_str_trim(r.rest).n == 0 || r.rest.p[0] == '#') {
            continue;
        }
        err = read_key(&r, &key);
        if (err == VV_OK && t->count >= KEYS_MAX) {
            err = wrong(&r, r.line, "more than 1,048,576 keys");
        }
        if (err == VV_OK) {
            err = add_key(t, &r, &key);
        }
    }
    if (err != VV_OK) {
        vv_keys_free(t);
        return err;
    }
    *ret = t;
    return VV_OK;
}

/* ---- changes ------------------------------------------------------------------------------- */

static enum vv_err parse_for_change(struct vv_str text, struct vv_keys **ret, char *reterr_text)
{
    struct vv_keys_error error;
    const enum vv_err err = vv_keys_parse(text, ret, &error);
    if (err != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "%u:%u: %s", error.line, error.column, error.text);
    }
    return err;
}

static void put_line(const struct vv_key_new *n, struct vv_sb *out)
{
    char time[VV_UTC_BYTES];
    for (size_t i = 0; i < VV_KEY_HASH; i++) {
        vv_sb_addf(out, "%02x", n->hash[i]);
    }
    vv_sb_addf(out, " " VV_STR_FMT " " VV_STR_FMT " %s",
               VV_STR_ARG(n->plan.n > 0 ? n->plan : VV_STR("-")), VV_STR_ARG(n->name),
               vv_utc_format(n->created_s, time));
    if (n->expires_s != 0) {
        vv_sb_addf(out, " expires=%s", vv_utc_format(n->expires_s, time));
    }
    vv_sb_addc(out, '\n');
}

enum vv_err vv_keys_add(struct vv_str text, const struct vv_key_new *n, struct vv_sb *out,
                        char *reterr_text)
{
    struct vv_keys *t = NULL;
    if (!vv_key_is_name(n->name) || (n->plan.n > 0 && !vv_key_is_name(n->plan))) {
        snprintf(reterr_text, ERROR_BYTES,
                 "names have at most 64 characters: letters, digits, . _ @ -");
        return VV_EINVAL;
    }
    enum vv_err err = parse_for_change(text, &t, reterr_text);
    if (err == VV_OK && vv_keys_named(t, n->name) != NULL) {
        snprintf(reterr_text, ERROR_BYTES, "there is a key named \"" VV_STR_FMT "\"%s",
                 VV_STR_ARG(n->name),
                 vv_keys_named(t, n->name)->revoked_s != 0 ? " that was revoked" : "");
        err = VV_EEXIST;
    }
    if (err == VV_OK && vv_keys_find(t, n->hash) != NULL) {
        snprintf(reterr_text, ERROR_BYTES, "this key is there already, named \"%s\"",
                 vv_keys_find(t, n->hash)->name);
        err = VV_EEXIST;
    }
    if (err == VV_OK) {
        vv_sb_add(out, text);
        if (text.n > 0 && text.p[text.n - 1] != '\n') {
            vv_sb_addc(out, '\n');
        }
        put_line(n, out);
        err = out->failed ? VV_ENOMEM : VV_OK;
    }
    vv_keys_free(t);
    return err;
}

enum vv_err vv_keys_write(const char *path, struct vv_str text)
{
    struct stat st;
    const bool had = stat(path, &st) == 0;
    const bool group = had && st.st_gid != getegid();
    char *real = realpath(path, NULL); /* NULL: not there yet */
    const char *to = real != NULL ? real : path;
    enum vv_err err = vv_file_write(to, text, 0600 | (group ? st.st_mode & 0060 : 0));
    if (err == VV_OK && had && (group || st.st_uid != geteuid()) &&
        chown(to, st.st_uid, st.st_gid) != 0) {
        err = VV_EACCES;
    }
    free(real);
    return err;
}

enum vv_err vv_keys_revoke(struct vv_str text, struct vv_str name, int64_t now_s, struct vv_sb *out,
                           char *reterr_text)
{
    struct vv_keys *t = NULL;
    char time[VV_UTC_BYTES];
    enum vv_err err = parse_for_change(text, &t, reterr_text);
    const struct vv_key *k = err == VV_OK ? vv_keys_named(t, name) : NULL;
    if (err == VV_OK && (k == NULL || k->revoked_s != 0)) {
        snprintf(reterr_text, ERROR_BYTES,
                 k == NULL ? "there is no key named \"" VV_STR_FMT "\""
                           : "the key \"" VV_STR_FMT "\" is revoked already",
                 VV_STR_ARG(name));
        err = k == NULL ? VV_ENOENT : VV_EEXIST;
    }
    struct vv_str rest = text;
    for (uint32_t line = 1; err == VV_OK && rest.n > 0; line++) {
        struct vv_str l = vv_str_cut(&rest, '\n');
        if (line == k->line) {
            l.n -= l.n > 0 && l.p[l.n - 1] == '\r';
            vv_sb_add(out, l);
            vv_sb_addf(out, " revoked=%s", vv_utc_format(now_s > 0 ? now_s : 1, time));
        } else {
            vv_sb_add(out, l);
        }
        vv_sb_addc(out, '\n');
    }
    vv_keys_free(t);
    return err == VV_OK && out->failed ? VV_ENOMEM : err;
}
