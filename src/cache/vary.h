/* src/cache/vary.h - the secondary key: what the fields named by Vary said in a request.
 *
 * Model:     one line for each distinct name, in rising order: the name, then " " (the field was
 *            absent) or ":" and its normal form, then a line feed, which no field value contains.
 *            The key names its own fields, so a later request is matched by writing the key again
 *            for it. Normal forms: several fields are one list; Accept and Accept-Charset lists are
 *            sorted, Accept-Language keeps its order (RFC 9110 12.5.4); Accept-Encoding is its
 *            codings by falling weight, "," between equals, which are sorted, ">" before lesser
 *            ones, "!" before what is excluded: "br,gzip>*!identity". All four are without white
 *            space or upper case; a list that is not well-formed is taken as it is. Other fields:
 *            bytes are compared.
 * Source:    RFC 9111 section 4.1, RFC 9110 sections 12.5 and 5.3. Threads: pure.
 */
#ifndef VV_CACHE_VARY_H
#define VV_CACHE_VARY_H
#include "wire/http1.h"

#define VV_VARY_NAMES_MAX 16
#define VV_VARY_ITEMS_MAX 64

struct vv_vary_rules {
    bool known_codings; /* of Accept-Encoding only what wire/encoding.h knows: right if the gateway
                         * sends upstream what it has understood, else wrong */
    bool no_codings;    /* Accept-Encoding counts as absent: right if the gateway does not send it
                         * upstream; goes before known_codings */
};

/* Writes the secondary key of an answer to `req` (section 4.1). VV_OK with *ret_n 0: no Vary.
 * VV_EINVAL: "*", a field that the gateway writes itself for each client (X-Forwarded-For and the
 * like), or more than VV_VARY_NAMES_MAX names: do not keep. VV_ERANGE: `cap` too small. */
VV_MUST_CHECK enum vv_err vv_vary_second(const struct vv_h1_head *req,
                                         const struct vv_h1_head *answer,
                                         const struct vv_vary_rules *rules, char *out, size_t cap,
                                         size_t *ret_n);
/* Does the request select the stored answer with this secondary key (section 4.1)? A request whose
 * lines do not fit into 8 KiB does not match. */
bool vv_vary_matches(const struct vv_h1_head *req, struct vv_str second,
                     const struct vv_vary_rules *rules);
/* The secondary key that `req` has by the fields which this one names. False: cap is too small. */
VV_MUST_CHECK bool vv_vary_again(const struct vv_h1_head *req, struct vv_str second,
                                 const struct vv_vary_rules *rules, char *out, size_t cap,
                                 size_t *ret_n);
#endif
