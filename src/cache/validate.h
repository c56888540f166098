/* src/cache/validate.h - validation: asking the origin whether a stored answer still holds,
 * answering clients that ask us, and what to forget after a change.
 *
 * Source:    RFC 9111 sections 3.1, 3.2, 4.3 and 4.4; RFC 9110 sections 8.8 and 13.
 * Units:     *_s seconds since 1970. Threads: pure. Ownership: slices borrow.
 */
#ifndef VV_CACHE_VALIDATE_H
#define VV_CACHE_VALIDATE_H
#include "cache/rules.h"

/* May the field be kept with the answer (section 3.1)? Not: fields of the connection, fields for a
 * proxy, and those that no-cache="..." or private="..." name. */
bool vv_cache_keeps_field(const struct vv_h1_field *f, const struct vv_cc *cc);
/* Does a field of a 304 replace the stored one (section 3.2)? Not what describes the stored bytes,
 * nor what section 3.1 excludes. */
bool vv_cache_updates_field(const struct vv_h1_field *f, const struct vv_cc *cc);

/* Writes the fields of a conditional request with line ends (section 4.3.1): If-None-Match, and
 * If-Modified-Since if the answer had Last-Modified. 0: nothing to ask with, or `cap` too small. */
size_t vv_cache_conditions(const struct vv_h1_head *stored, char *out, size_t cap);
/* Does a 304 to our own condition speak about this stored answer (section 4.3.4)? A strong entity
 * tag must be the stored one, a weak one must match weakly, else Last-Modified must be equal; a 304
 * without validators speaks about the answer we asked with. */
bool vv_cache_freshens(const struct vv_h1_head *not_modified, const struct vv_h1_head *stored);
/* Does a 200 to HEAD show that the stored answer still holds (section 4.3.5)? Entity tag,
 * Last-Modified and Content-Length must be equal where it has them. */
bool vv_cache_head_agrees(const struct vv_h1_head *head_answer, const struct vv_h1_head *stored,
                          uint64_t stored_bytes);
/* Should the client's condition be answered 304 from the stored answer (section 4.3.2)?
 * If-None-Match compares weakly and goes before If-Modified-Since; without Last-Modified the date
 * of the answer is taken. Only for a stored 200; If-Match and If-Unmodified-Since are the origin's
 * matter. */
bool vv_cache_not_modified(const struct vv_h1_head *req, const struct vv_h1_head *stored,
                           const struct vv_cache_facts *facts, int64_t now_s);

/* Does the answer invalidate (section 4.4): an unsafe or unknown method, and no error? */
bool vv_cache_invalidates(enum vv_method method, int status);
/* Resolves Location or Content-Location against the target for invalidation (section 4.4). True:
 * same scheme, host and port, with *ret_path and *ret_query in `room` or in `reference`. */
bool vv_cache_invalidation_target(struct vv_str scheme, struct vv_str authority,
                                  struct vv_str base_path, struct vv_str reference, char *room,
                                  size_t cap, struct vv_str *ret_path, struct vv_str *ret_query);
#endif
