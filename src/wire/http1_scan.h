/* src/wire/http1_scan.h - character classes of HTTP/1 and how to run over bytes of one class.
 *
 * Model:   one table of bits per byte; two scanners (field values, request targets) in a scalar
 *          form and, where the compiler offers SSE2, 16 bytes at a time. Both give the same answer
 *          on any bytes (a unit test compares them); the plain names pick the faster one.
 * Source:  RFC 9110 sections 5.5 and 5.6.2, RFC 3986 section 3, RFC 9112 section 3.2.
 * Threads: pure. Inline on purpose: these loops are most of what a request costs.
 */
#ifndef VV_WIRE_HTTP1_SCAN_H
#define VV_WIRE_HTTP1_SCAN_H
#include "base/defs.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    VV_H1_C_TOKEN = 1,  /* tchar */
    VV_H1_C_HEX = 2,    /* hexadecimal digit */
    VV_H1_C_HOST = 4,   /* reg-name without percent-coding */
    VV_H1_C_VALUE = 8,  /* field value: HTAB, SP, visible, obs-text */
    VV_H1_C_PATH = 16,  /* path of a target, except '%' and '?', which the scan stops at */
    VV_H1_C_QUERY = 32, /* query of a target, except '%' */
    VV_H1_C_DIGIT = 64,
    VV_H1_C_ALPHA = 128,
};
extern const uint8_t vv_h1_class[256];

static inline bool vv_h1_is(char c, unsigned bits)
{
    return (vv_h1_class[(uint8_t)c] & bits) != 0;
}

/* Each scanner returns the first byte in [p, end) that is not of its class, or `end`. */
static inline const char *vv_h1_skip(const char *p, const char *end, unsigned bits)
{
    while (p < end && vv_h1_is(*p, bits)) {
        p++;
    }
    return p;
}

static inline const char *vv_h1_scan_value_scalar(const char *p, const char *end)
{
    return vv_h1_skip(p, end, VV_H1_C_VALUE);
}

static inline const char *vv_h1_scan_path_scalar(const char *p, const char *end)
{
    return vv_h1_skip(p, end, VV_H1_C_PATH);
}

#ifdef __SSE2__
static inline const char *vv_h1_scan_value_sse2(const char *p, const char *end)
{
    const __m128i last_ctl = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t');
    const __m128i del = _mm_set1_epi8(0x7f);
    for (; end - p >= 16; p += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i ctl = _mm_cmpeq_epi8(_mm_min_epu8(x, last_ctl), x);
        const __m128i bad =
            _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(x, tab), ctl), _mm_cmpeq_epi8(x, del));
        const unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask != 0) {
            return p + __builtin_ctz(mask);
        }
    }
    return vv_h1_scan_value_scalar(p, end);
}

/* Pairs that differ in one bit are tested together: '"' with '#' and '<' with '>'. A signed
 * comparison finds controls, space and everything from 0x80 on at once. */
static inline const char *vv_h1_scan_path_sse2(const char *p, const char *end)
{
    const __m128i first_visible = _mm_set1_epi8(0x21), del = _mm_set1_epi8(0x7f);
    const __m128i no_bit0 = _mm_set1_epi8((char)0xfe), no_bit1 = _mm_set1_epi8((char)0xfd);
    const __m128i quote = _mm_set1_epi8('"'), angle = _mm_set1_epi8('<');
    const __m128i percent = _mm_set1_epi8('%'), question = _mm_set1_epi8('?');
    const __m128i backslash = _mm_set1_epi8('\\');
    for (; end - p >= 16; p += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmplt_epi8(x, first_visible), _mm_cmpeq_epi8(x, del));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_and_si128(x, no_bit0), quote));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_and_si128(x, no_bit1), angle));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(x, percent));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(x, question));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(x, backslash));
        const unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask != 0) {
            return p + __builtin_ctz(mask);
        }
    }
    return vv_h1_scan_path_scalar(p, end);
}
#define vv_h1_scan_value vv_h1_scan_value_sse2
#define vv_h1_scan_path vv_h1_scan_path_sse2
#else
#define vv_h1_scan_value vv_h1_scan_value_scalar
#define vv_h1_scan_path vv_h1_scan_path_scalar
#endif

/* Queries are short and rich in '%', '=' and '&': the table is as fast as blocks of 16. */
static inline const char *vv_h1_scan_query(const char *p, const char *end)
{
    return vv_h1_skip(p, end, VV_H1_C_QUERY);
}
#endif
