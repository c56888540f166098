/* src/gateway/variants.h - stored answers in other content codings, each made once.
 *
 * Model:     a variant of an object lies in the same cache under the same key; its secondary key is the
 *            object's, 0x01 and the coding's name; its metadata has the object's id and facts. It is made in
 *            the background when the object was hit twice, at a dearer level than on the way, one at
 *            a time, with a tenth of one core. When the object's head was renewed (304), the variant gets
 *            its new head at the next hit.
 * Threads:   pick: a worker whose epoch reader is online. Ownership: a variant is valid until the
 *            reader is next quiet, as any looked up object.
 */
#ifndef VV_GATEWAY_VARIANTS_H
#define VV_GATEWAY_VARIANTS_H
#include "gateway/exchange.h"
#include "gateway/stored.h"

/* The stored variant of `o` that this client gets; NULL: none, send `o` through vv_answer_head_from(),
 * which encodes on the way. */
const struct vv_cache_object *vv_variant_pick(struct vv_exchange *x, struct vv_cache *c,
                                              const struct vv_cache_object *o, struct vv_str key,
                                              uint64_t hash);
/* Would some client get a coding? For vv_stored_meta.compressible. p NULL: no; length UINT64_MAX: not
 * known. */
bool vv_variant_possible(const struct vv_compress_plan *p, const struct vv_h1_head *answer,
                         uint64_t length);
#endif
