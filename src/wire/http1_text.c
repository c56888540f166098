/* src/wire/http1_text.c - the tables behind the names: methods, fields, errors, reasons, lists.
 *
 * Field names are found by a hash of length, first, middle and last letter in a table of 256 slots.
 * It is filled before main() from fields.def, so a new row needs no other change. The factors were
 * found by search and give each of today's names a slot of its own; new ones may share a few. */
#include "wire/http1_int.h"
#include "wire/uri.h"

#include <string.h>

const struct vv_method_info vv_methods[VV_METHOD_COUNT] = {
#define VV_METHOD(id, name, safe, idempotent)                                                      \
    [VV_METHOD_##id] = {{name, sizeof(name) - 1}, safe, idempotent},
#include "wire/methods.def"
#undef VV_METHOD
};

const struct vv_str vv_field_names[VV_FIELD_COUNT] = {
    [VV_FIELD_OTHER] = {"", 0},
#define VV_FIELD(id, name) [VV_FIELD_##id] = {name, sizeof(name) - 1},
#include "wire/fields.def"
#undef VV_FIELD
};

#define ID_BYTES 40
static char error_ids[VV_H1_ERROR_COUNT][ID_BYTES] = {
    [VV_H1_FINE] = "fine",
#define VV_H1_ERROR(id, status, section, text) [VV_H1_ERR_##id] = #id,
#include "wire/http1_errors.def"
#undef VV_H1_ERROR
};

const struct vv_h1_error_info vv_h1_errors[VV_H1_ERROR_COUNT] = {
    [VV_H1_FINE] = {error_ids[VV_H1_FINE], 200, "", "fine"},
#define VV_H1_ERROR(id, status, section, text)                                                     \
    [VV_H1_ERR_##id] = {error_ids[VV_H1_ERR_##id], status, section, text},
#include "wire/http1_errors.def"
#undef VV_H1_ERROR
};

/* Letters, digits and punctuation by what they may be part of; see http1_scan.h. */
#define ALL (VV_H1_C_TOKEN | VV_H1_C_HOST | VV_H1_C_VALUE | VV_H1_C_PATH | VV_H1_C_QUERY)
#define MARK (VV_H1_C_VALUE | VV_H1_C_PATH | VV_H1_C_QUERY)
const uint8_t vv_h1_class[256] = {
    ['\t'] = VV_H1_C_VALUE,
    [' '] = VV_H1_C_VALUE,
    ['0' ... '9'] = ALL | VV_H1_C_HEX | VV_H1_C_DIGIT,
    ['A' ... 'F'] = ALL | VV_H1_C_HEX | VV_H1_C_ALPHA,
    ['G' ... 'Z'] = ALL | VV_H1_C_ALPHA,
    ['a' ... 'f'] = ALL | VV_H1_C_HEX | VV_H1_C_ALPHA,
    ['g' ... 'z'] = ALL | VV_H1_C_ALPHA,
    ['!'] = ALL,
    ['"'] = VV_H1_C_VALUE,
    ['#'] = VV_H1_C_VALUE | VV_H1_C_TOKEN,
    ['$'] = ALL,
    ['%'] = VV_H1_C_VALUE | VV_H1_C_TOKEN,
    ['&'] = ALL,
    ['\''] = ALL,
    ['('] = MARK | VV_H1_C_HOST,
    [')'] = MARK | VV_H1_C_HOST,
    ['*'] = ALL,
    ['+'] = ALL,
    [','] = MARK | VV_H1_C_HOST,
    ['-'] = ALL,
    ['.'] = ALL,
    ['/'] = MARK,
    [':'] = MARK,
    [';'] = MARK | VV_H1_C_HOST,
    ['<'] = VV_H1_C_VALUE,
    ['='] = MARK | VV_H1_C_HOST,
    ['>'] = VV_H1_C_VALUE,
    ['?'] = VV_H1_C_VALUE | VV_H1_C_QUERY,
    ['@'] = MARK,
    ['['] = MARK,
    ['\\'] = VV_H1_C_VALUE | VV_H1_C_QUERY,
    [']'] = MARK,
    ['^'] = MARK | VV_H1_C_TOKEN,
    ['_'] = ALL,
    ['`'] = MARK | VV_H1_C_TOKEN,
    ['{'] = MARK,
    ['|'] = MARK | VV_H1_C_TOKEN,
    ['}'] = MARK,
    ['~'] = ALL,
    [0x80 ... 0xff] = VV_H1_C_VALUE,
};
#undef ALL
#undef MARK

static const uint16_t answer_row[VV_H1_ERROR_COUNT] = {
#define LEADS(id) [VV_H1_ERR_##id] = VV_H1_ERR_ANSWER_##id
    LEADS(VERSION_SYNTAX),
    LEADS(VERSION_UNSUPPORTED),
    LEADS(HEAD_TOO_LARGE),
    LEADS(TOO_MANY_FIELDS),
    LEADS(BARE_CR),
    LEADS(BARE_LF),
    LEADS(LEADING_SPACE),
    LEADS(OBS_FOLD),
    LEADS(NO_COLON),
    LEADS(SPACE_BEFORE_COLON),
    LEADS(NAME_EMPTY),
    LEADS(NAME_CHAR),
    LEADS(VALUE_CHAR),
    LEADS(LENGTH_REPEATED),
    LEADS(LENGTH_SYNTAX),
    LEADS(LENGTH_OVERFLOW),
    LEADS(LENGTH_WITH_CODING),
    LEADS(CODING_IN_1_0),
    LEADS(CODING_SYNTAX),
    LEADS(CODING_UNKNOWN),
    LEADS(CODING_NOT_LAST),
    LEADS(CODING_REPEATED),
    LEADS(CONNECTION_SYNTAX),
    LEADS(CONNECTION_NAMES),
    LEADS(CHUNK_SIZE),
    LEADS(CHUNK_SIZE_OVERFLOW),
    LEADS(CHUNK_EXTENSION),
    LEADS(CHUNK_LINE_LONG),
    LEADS(CHUNK_END),
    LEADS(TRAILER),
    LEADS(TRAILER_TOO_LARGE),
#undef LEADS
};

enum vv_h1_error vv_h1_error_for_answer(enum vv_h1_error error)
{
    const uint16_t row = answer_row[error];
    return row != 0 ? (enum vv_h1_error)row : error;
}

/* ---- field names ---- */

#define SLOTS 256
#define FOLD UINT64_C(0x2020202020202020)
#define NAME_BYTES_MAX 32 /* of the names in fields.def */
#define PROBES_MAX 3      /* more means: search new factors for slot_of() */

static uint8_t slots[SLOTS]; /* field ids, 0: free */
static char folded[VV_FIELD_COUNT][NAME_BYTES_MAX];

_Static_assert(VV_FIELD_COUNT < SLOTS / 2, "the field table is too full to be fast: enlarge SLOTS");

static inline unsigned slot_of(const char *p, size_t n)
{
    const unsigned first = (uint8_t)p[0] | 0x20u, middle = (uint8_t)p[n / 2] | 0x20u;
    const unsigned last = (uint8_t)p[n - 1] | 0x20u;
    return ((unsigned)n * 55 + first * 129 + middle * 107 + last * 221) % SLOTS;
}

static inline uint64_t load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Folding by 0x20 is exact for tokens against names of letters, digits and '-': no other token
 * character falls on one of those. */
static inline bool same_folded(const char *p, const char *row, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 <= n; i += 8) {
            if ((load8(p + i) | FOLD) != load8(row + i)) {
                return false;
            }
        }
        return (load8(p + n - 8) | FOLD) == load8(row + n - 8);
    }
    for (size_t i = 0; i < n; i++) {
        if (((uint8_t)p[i] | 0x20) != (uint8_t)row[i]) {
            return false;
        }
    }
    return true;
}

enum vv_field_id vv_field_lookup_token(const char *p, size_t n)
{
    for (unsigned at = slot_of(p, n); slots[at] != 0; at = (at + 1) % SLOTS) {
        const uint8_t id = slots[at];
        if (vv_field_names[id].n == n && same_folded(p, folded[id], n)) {
            return (enum vv_field_id)id;
        }
    }
    return VV_FIELD_OTHER;
}

enum vv_field_id vv_field_lookup(struct vv_str name)
{
    return vv_h1_is_token(name) ? vv_field_lookup_token(name.p, name.n) : VV_FIELD_OTHER;
}

__attribute__((constructor)) static void fill_tables(void)
{
    for (unsigned id = 1; id < VV_FIELD_COUNT; id++) {
        const struct vv_str name = vv_field_names[id];
        VV_ASSERT(name.n > 0 && name.n <= NAME_BYTES_MAX);
        for (size_t i = 0; i < name.n; i++) {
            folded[id][i] = (char)((uint8_t)name.p[i] | 0x20);
        }
        unsigned at = slot_of(name.p, name.n), probes = 0;
        while (slots[at] != 0) {
            at = (at + 1) % SLOTS;
            probes++;
        }
        VV_ASSERT(probes <= PROBES_MAX);
        slots[at] = (uint8_t)id;
    }
    for (unsigned i = 0; i < VV_H1_ERROR_COUNT; i++) {
        for (char *c = error_ids[i]; *c != '\0'; c++) {
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
        }
    }
}

/* ---- words and lists ---- */

bool vv_h1_is_token(struct vv_str s)
{
    const char *end = s.p + s.n;
    return s.n > 0 && vv_h1_skip(s.p, end, VV_H1_C_TOKEN) == end;
}

bool vv_h1_is_field_value(struct vv_str s)
{
    const char *end = s.p + s.n;
    return s.n == 0 || vv_h1_scan_value(s.p, end) == end;
}

/* The end of the list item that starts at s.p: the next comma outside a quoted string. */
static size_t item_end(struct vv_str s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (quoted && c == '\\' && i + 1 < s.n) {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == ',' && !quoted) {
            return i;
        }
    }
    return s.n;
}

bool vv_h1_list_next(struct vv_str *rest, struct vv_str *ret_item)
{
    while (rest->p != NULL && rest->n > 0) {
        const size_t n = item_end(*rest);
        const struct vv_str item = vv_str_trim((struct vv_str){rest->p, n});
        const size_t used = n < rest->n ? n + 1 : n;
        rest->p += used;
        rest->n -= used;
        if (item.n > 0) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

bool vv_h1_list_has(struct vv_str list, struct vv_str token)
{
    struct vv_str item;
    while (vv_h1_list_next(&list, &item)) {
        const ptrdiff_t semicolon = vv_str_find_char(item, ';');
        if (semicolon >= 0) {
            item = vv_str_trim((struct vv_str){item.p, (size_t)semicolon});
        }
        if (vv_str_eq_nocase(item, token)) {
            return true;
        }
    }
    return false;
}

struct reason {
    int status;
    const char *text;
};
/* RFC 9110 section 15, RFC 6585, RFC 7725, RFC 8297 and RFC 8470; ascending. */
static const struct reason reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};

const char *vv_h1_reason(int status)
{
    size_t low = 0, high = VV_COUNT(reasons);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (reasons[middle].status == status) {
            return reasons[middle].text;
        }
        if (reasons[middle].status < status) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return "";
}

bool vv_h1_authority_valid(struct vv_str s, bool *ret_port)
{
    const char *p = s.p, *end = s.p + s.n;
    if (s.n > 0 && *p != '[') {
        p = vv_h1_skip(p, end, VV_H1_C_HOST);
        if (VV_LIKELY(p == end)) { /* a plain name, the usual case */
            *ret_port = false;
            return true;
        }
    }
    struct vv_str host;
    uint16_t port;
    *ret_port = memchr(p, ':', (size_t)(end - p)) != NULL && s.p[s.n - 1] != ']';
    return vv_uri_split_authority(s, &host, &port) == VV_OK;
}
