/* src/base/base64.c - four letters make three bytes; the last group may be shorter. */
#include "base/base64.h"

static const char letters[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

static int value_of(enum vv_base64 kind, char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == letters[kind][62] ? 62 : c == letters[kind][63] ? 63 : -1;
}

enum vv_err vv_base64_decode(enum vv_base64 kind, struct vv_str text, void *out, size_t out_bytes,
                             size_t *ret_n)
{
    unsigned char *to = out;
    uint32_t bits = 0;
    size_t have = 0, n = 0;
    if (kind == VV_BASE64) {
        if (text.n % 4 != 0) {
            return VV_ESYNTAX;
        }
        for (int i = 0; i < 2 && text.n > 0 && text.p[text.n - 1] == '='; i++) {
            text.n--;
        }
    }
    if (text.n % 4 == 1) {
        return VV_ESYNTAX;
    }
    if (text.n / 4 * 3 + text.n % 4 * 3 / 4 > out_bytes) {
        return VV_ERANGE;
    }
    for (size_t i = 0; i < text.n; i++) {
        const int v = value_of(kind, text.p[i]);
        if (v < 0) {
            return VV_ESYNTAX;
        }
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[n++] = (unsigned char)(bits >> have);
        }
    }
    if ((bits & ((1u << have) - 1)) != 0) {
        return VV_ESYNTAX; /* bits that no byte holds: another text of the same bytes */
    }
    *ret_n = n;
    return VV_OK;
}

size_t vv_base64_encode(enum vv_base64 kind, const void *bytes, size_t n, char *out)
{
    const unsigned char *from = bytes;
    size_t at = 0;
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const uint32_t group = (uint32_t)from[i] << 16 |
                               (left > 1 ? (uint32_t)from[i + 1] << 8 : 0) |
                               (left > 2 ? (uint32_t)from[i + 2] : 0);
        const size_t count = left >= 3 ? 4 : left + 1;
        for (size_t k = 0; k < count; k++) {
            out[at++] = letters[kind][group >> (18 - 6 * k) & 63];
        }
        for (size_t k = count; k < 4 && kind == VV_BASE64; k++) {
            out[at++] = '=';
        }
    }
    return at;
}
