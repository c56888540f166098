/* src/observe/text_int.h - bytes and times as text: UTF-8 checks, digits, timestamps.
 *
 * Model:   small pure functions shared by logs and metrics; no printf, because the access log runs
 *          them on the data path. Writers return the position behind what they wrote and never
 *          write a NUL; the caller guarantees room.
 * Units:   times are seconds or nanoseconds since 1970, always shown in UTC.
 * Threads: pure functions.
 */
#ifndef VV_OBSERVE_TEXT_INT_H
#define VV_OBSERVE_TEXT_INT_H
#include "base/str.h"

/* Length of the well-formed UTF-8 sequence at p (n bytes left), 0 when it is none (RFC 3629). */
size_t vv_text_utf8(const unsigned char *p, size_t n);
/* `s` itself when it is UTF-8 of at most `cap` bytes; else a copy in buf (cap bytes) in which bad
 * bytes are U+FFFD, cut at a character boundary. */
struct vv_str vv_text_clean(struct vv_str s, char *buf, size_t cap);

#define VV_TEXT_U64 20 /* most digits of a uint64_t */
char *vv_text_u64(char *p, uint64_t v);
char *vv_text_pad(char *p, uint64_t v,
                  unsigned digits); /* exactly `digits` digits, leading zeros */
/* "0.0015": nanoseconds as seconds, exact, without trailing zeros. At most 21 bytes. */
char *vv_text_seconds(char *p, uint64_t ns);

#define VV_TEXT_ISO 19 /* "2026-11-21T08:17:00" */
char *vv_text_iso(char *p, uint64_t unix_s);
#define VV_TEXT_CLF 26 /* "21/Nov/2026:08:17:00 +0000" */
char *vv_text_clf(char *p, uint64_t unix_s);
#endif
