/* src/wire/encoder_whole.h - content codings of a whole body, for answers that are stored and sent often.
 *
 * Model:     one call, dearer levels than for answers that pass, because it is done once. What comes
 *            out decodes to what went in.
 * Source:    RFC 1952 (gzip, by libdeflate), RFC 7932, RFC 8878. Levels: docs/adr/0007-compression.md.
 * Threads:   any; it takes milliseconds for each 100 KB. Ownership: the caller's room; working memory (at most 4
 *            MiB) is freed before it returns.
 * Errors:    VV_ERANGE: the result is longer than `cap`; VV_ENOMEM.
 */
#ifndef VV_WIRE_ENCODER_WHOLE_H
#define VV_WIRE_ENCODER_WHOLE_H
#include "base/err.h"
#include "wire/encoding.h"

/* `encoding` is not IDENTITY; cap is at least 1. */
VV_MUST_CHECK enum vv_err vv_encode_whole(enum vv_encoding encoding, struct vv_str in, char *out,
                                          size_t cap, size_t *ret_n);
#endif
