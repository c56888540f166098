/* src/wire/conditional.c - entity tags have their own walk through lists: a comma may stand between
 * their quotes, and they know no escapes. */
#include "wire/conditional.h"
#include "wire/date.h"

/* opaque-tag with its quotes at the front of *s, which moves on. False: malformed. */
static bool take_tag(struct vv_str *s, bool *ret_weak, struct vv_str *ret_tag)
{
    struct vv_str rest = *s;
    *ret_weak = vv_str_starts(rest, VV_STR("W/"));
    if (*ret_weak) {
        rest = (struct vv_str){rest.p + 2, rest.n - 2};
    }
    if (rest.n < 2 || rest.p[0] != '"') {
        return false;
    }
    const char *end = memchr(rest.p + 1, '"', rest.n - 1);
    if (end == NULL) {
        return false;
    }
    ret_tag->p = rest.p;
    ret_tag->n = (size_t)(end + 1 - rest.p);
    *s = (struct vv_str){end + 1, rest.n - ret_tag->n};
    return true;
}

bool vv_etag_in(struct vv_str list, struct vv_str etag, bool weak)
{
    if (vv_str_eq(vv_str_trim(list), VV_STR("*"))) {
        return true;
    }
    while ((list = vv_str_trim(list)).n > 0) {
        if (list.p[0] == ',') {
            list = (struct vv_str){list.p + 1, list.n - 1};
            continue;
        }
        bool is_weak;
        struct vv_str tag;
        if (!take_tag(&list, &is_weak, &tag)) {
            return false;
        }
        if ((weak || !is_weak) && vv_str_eq(tag, etag)) {
            return true;
        }
        list = vv_str_trim(list);
        if (list.n > 0 && list.p[0] != ',') {
            return false;
        }
    }
    return false;
}

/* A list may be spread over several fields. */
static bool any_field_has(const struct vv_h1_head *req, const struct vv_h1_field *first,
                          struct vv_str etag, bool weak)
{
    for (const struct vv_h1_field *f = first; f < req->fields + req->fields_count; f++) {
        if (f->id == first->id && vv_etag_in(f->value, etag, weak)) {
            return true;
        }
    }
    return false;
}

/* A date that is no date does not count (sections 13.1.3 and 13.1.4). */
static bool date_of(const struct vv_h1_field *f, int64_t now_s, int64_t *ret_s)
{
    return f != NULL && vv_http_date_parse(f->value, now_s, ret_s) == VV_OK;
}

enum vv_condition vv_condition_judge(const struct vv_h1_head *req, const struct vv_validators *v,
                                     int64_t now_s)
{
    const bool reads = req->method == VV_METHOD_GET || req->method == VV_METHOD_HEAD;
    int64_t date_s = 0;
    const struct vv_h1_field *f = vv_h1_find(req, VV_FIELD_IF_MATCH);
    if (f != NULL) {
        if (!any_field_has(req, f, v->etag, false)) {
            return VV_CONDITION_FAILED;
        }
    } else if (date_of(vv_h1_find(req, VV_FIELD_IF_UNMODIFIED_SINCE), now_s, &date_s) &&
               v->modified_s > date_s) {
        return VV_CONDITION_FAILED;
    }
    f = vv_h1_find(req, VV_FIELD_IF_NONE_MATCH);
    if (f != NULL) {
        if (any_field_has(req, f, v->etag, true)) {
            return reads ? VV_CONDITION_NOT_MODIFIED : VV_CONDITION_FAILED;
        }
    } else if (reads && date_of(vv_h1_find(req, VV_FIELD_IF_MODIFIED_SINCE), now_s, &date_s) &&
               v->modified_s <= date_s) {
        return VV_CONDITION_NOT_MODIFIED;
    }
    return VV_CONDITION_SEND;
}

bool vv_condition_range(const struct vv_h1_head *req, const struct vv_validators *v, int64_t now_s)
{
    const struct vv_h1_field *f = vv_h1_find(req, VV_FIELD_IF_RANGE);
    int64_t date_s = 0;
    if (f == NULL) {
        return true;
    }
    if (date_of(f, now_s, &date_s)) {
        return date_s == v->modified_s && v->modified_s < now_s;
    }
    struct vv_str rest = f->value;
    struct vv_str tag;
    bool weak;
    return take_tag(&rest, &weak, &tag) && rest.n == 0 && !weak && vv_str_eq(tag, v->etag);
}
