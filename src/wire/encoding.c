/* src/wire/encoding.c - four codings, so a weight each and an insertion sort. */
#include "wire/encoding.h"

#define WEIGHT_FULL 1000
#define UNSAID (-1)

const struct vv_encoding_info vv_encodings[VV_ENCODING_COUNT] = {
#define VV_ENCODING(id, name, suffix) {{(name), sizeof(name) - 1}, {(suffix), sizeof(suffix) - 1}},
    VV_ENCODINGS(VV_ENCODING)
#undef VV_ENCODING
};

/* qvalue: "0", "0.5", "1.000". UNSAID: malformed. */
static int parse_weight(struct vv_str s)
{
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.')) {
        return UNSAID;
    }
    int weight = (s.p[0] - '0') * WEIGHT_FULL;
    int place = 100;
    for (size_t i = 2; i < s.n; i++, place /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return UNSAID;
        }
        weight += (s.p[i] - '0') * place;
    }
    return weight <= WEIGHT_FULL ? weight : UNSAID;
}

/* "gzip;q=0.5" into its name and weight. UNSAID: malformed. */
static int split(struct vv_str item, struct vv_str *ret_name)
{
    *ret_name = vv_str_trim(vv_str_cut(&item, ';'));
    if (item.p == NULL) {
        return WEIGHT_FULL;
    }
    const struct vv_str weight = vv_str_trim(item);
    if (weight.n < 2 || (weight.p[0] | 0x20) != 'q' || weight.p[1] != '=') {
        return UNSAID;
    }
    return parse_weight((struct vv_str){weight.p + 2, weight.n - 2});
}

static void add_item(struct vv_str item, int weight[VV_ENCODING_COUNT], int *star)
{
    struct vv_str name;
    const int w = split(item, &name);
    if (w == UNSAID) {
        return;
    }
    if (vv_str_eq(name, VV_STR("*"))) {
        *star = w;
        return;
    }
    if (vv_str_eq_nocase(name, VV_STR("x-gzip"))) {
        name = vv_encodings[VV_ENCODING_GZIP].name; /* RFC 9110 section 8.4.1.3 */
    }
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        if (vv_str_eq_nocase(name, vv_encodings[i].name)) {
            weight[i] = w;
        }
    }
}

size_t vv_encoding_order(const struct vv_h1_head *req, enum vv_encoding ret[VV_ENCODING_COUNT])
{
    int weight[VV_ENCODING_COUNT] = {UNSAID, UNSAID, UNSAID, UNSAID};
    int star = UNSAID;
    const struct vv_h1_field *first = vv_h1_find(req, VV_FIELD_ACCEPT_ENCODING);
    for (const struct vv_h1_field *f = first; f != NULL && f < req->fields + req->fields_count;
         f++) {
        struct vv_str rest = f->value;
        struct vv_str item;
        while (f->id == VV_FIELD_ACCEPT_ENCODING && vv_h1_list_next(&rest, &item)) {
            add_item(item, weight, &star);
        }
    }
    /* Identity that was not named comes last: a client that names codings hopes for one of them. */
    const int identity_unsaid = star == 0 ? 0 : 1;
    size_t count = 0;
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        if (weight[i] == UNSAID) {
            weight[i] = i == VV_ENCODING_IDENTITY ? identity_unsaid : star;
        }
        if (weight[i] <= 0) {
            continue;
        }
        size_t at = count++;
        for (; at > 0 && weight[ret[at - 1]] < weight[i]; at--) {
            ret[at] = ret[at - 1];
        }
        ret[at] = (enum vv_encoding)i;
    }
    return count;
}
