/* src/wire/date.h - HTTP dates, RFC 9110 section 5.6.7. Threads: pure. Units: seconds since 1970. */
#ifndef VV_WIRE_DATE_H
#define VV_WIRE_DATE_H
#include "base/err.h"
#include "base/str.h"

#define VV_HTTP_DATE_BYTES 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */
void vv_http_date_format(int64_t unix_s, char out[VV_HTTP_DATE_BYTES]); /* no NUL */
/* All three forms; a two-digit year is taken within 50 years of now_s. */
VV_MUST_CHECK enum vv_err vv_http_date_parse(struct vv_str s, int64_t now_s, int64_t *ret_unix_s);
#endif
