/* src/gateway/limit_fields.c - what an answer says about the limits that decided over its request.
 *
 * Source: draft-ietf-httpapi-ratelimit-headers-10: RateLimit-Policy (q quota, w seconds, qu unit) and
 * RateLimit (r what is left, t seconds until all of it is back), each a list with one member for every
 * rate, quota and number in flight. X-RateLimit-* tell about the one that is nearest to its end; their
 * Reset is seconds from now. All seconds are rounded up, so that nobody comes back too early. */
#include "gateway/admit_int.h"
#include <stdio.h>

#define POLICY "RateLimit-Policy: "
#define STATE "RateLimit: "
#define LEGACY_BYTES 160
#define NUMBERS_BYTES 48 /* ";r=" and ";t=" with their numbers, a comma */

static uint64_t ceil_s(uint64_t ns)
{
    return ns / VV_SEC + (ns % VV_SEC != 0);
}

size_t vv_admission_fields_bytes(const struct vv_admission *a)
{
    if (a->count == 0) {
        return 0;
    }
    size_t bytes = sizeof POLICY + sizeof STATE + 4 + (a->legacy ? (size_t)LEGACY_BYTES : 0);
    for (size_t i = 0; i < a->count; i++) {
        bytes += NUMBERS_BYTES;
        bytes += a->told[i].part->policy_bytes;
        bytes += a->told[i].part->label_bytes;
    }
    return bytes;
}

static const struct vv_admit_told *nearest(const struct vv_admission *a)
{
    const struct vv_admit_told *best = &a->told[0];
    for (size_t i = 1; i < a->count; i++) {
        const struct vv_admit_told *t = &a->told[i];
        if (t->answer.remaining < best->answer.remaining ||
            (t->answer.remaining == best->answer.remaining &&
             t->answer.reset_ns > best->answer.reset_ns)) {
            best = t;
        }
    }
    return best;
}

static void put_legacy(struct vv_writer *w, const struct vv_admission *a)
{
    const struct vv_admit_told *t = nearest(a);
    const struct vv_limit *l = &t->part->limit;
    vv_put(w, VV_STR("X-RateLimit-Limit: "));
    vv_put_u64(w, l->kind == VV_LIMIT_RATE ? l->at_once : l->count);
    vv_put(w, VV_STR("\r\nX-RateLimit-Remaining: "));
    vv_put_u64(w, t->answer.remaining);
    vv_put(w, VV_STR("\r\nX-RateLimit-Reset: "));
    vv_put_u64(w, ceil_s(t->answer.reset_ns));
    vv_put(w, VV_STR("\r\n"));
}

void vv_admission_put_fields(struct vv_writer *w, const struct vv_admission *a)
{
    if (a->count == 0) {
        return;
    }
    vv_put(w, VV_STR(POLICY));
    for (size_t i = 0; i < a->count; i++) {
        const struct vv_limit_part *p = a->told[i].part;
        vv_put(w, i > 0 ? VV_STR(", ") : VV_STR(""));
        vv_put(w, (struct vv_str){p->policy, p->policy_bytes});
    }
    vv_put(w, VV_STR("\r\n" STATE));
    for (size_t i = 0; i < a->count; i++) {
        const struct vv_admit_told *t = &a->told[i];
        vv_put(w, i > 0 ? VV_STR(", ") : VV_STR(""));
        vv_put(w, (struct vv_str){t->part->label, t->part->label_bytes});
        vv_put(w, VV_STR(";r="));
        vv_put_u64(w, t->answer.remaining);
        if (t->part->limit.kind != VV_LIMIT_CONCURRENT) {
            vv_put(w, VV_STR(";t="));
            vv_put_u64(w, ceil_s(t->answer.reset_ns));
        }
    }
    vv_put(w, VV_STR("\r\n"));
    if (a->legacy) {
        put_legacy(w, a);
    }
}

struct vv_str vv_admit_violated(struct vv_exchange *x)
{
    const struct vv_admission *a = x->admission;
    size_t bytes = 1;
    for (size_t i = 0; a != NULL && i < a->count; i++) {
        bytes += a->told[i].part->label_bytes + 1;
    }
    char *out = vv_arena_alloc(&x->arena, bytes);
    if (a == NULL || out == NULL) {
        return VV_STR("");
    }
    struct vv_writer w = {out};
    for (size_t i = 0; i < a->count; i++) {
        if (!a->told[i].answer.allowed) {
            vv_put(&w, w.at > out ? VV_STR(",") : VV_STR(""));
            vv_put(&w, (struct vv_str){a->told[i].part->label, a->told[i].part->label_bytes});
        }
    }
    return (struct vv_str){out, (size_t)(w.at - out)};
}
