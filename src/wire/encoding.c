/* src/wire/encoding.c - four codings, so a weight each and an insertion sort. Whether an answer is
 * encoded is asked in the order of cost: what its head says first, then what the client said. */
#include "wire/encoding.h"
#include "wire/mime.h"

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

/* What the client gives each coding; 0: refused. */
static void weigh(const struct vv_h1_head *req, int weight[VV_ENCODING_COUNT])
{
    int star = UNSAID;
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        weight[i] = UNSAID;
    }
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
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        if (weight[i] == UNSAID) {
            weight[i] = i == VV_ENCODING_IDENTITY ? identity_unsaid : star == UNSAID ? 0 : star;
        }
    }
}

size_t vv_encoding_order(const struct vv_h1_head *req, enum vv_encoding ret[VV_ENCODING_COUNT])
{
    int weight[VV_ENCODING_COUNT];
    size_t count = 0;
    weigh(req, weight);
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        if (weight[i] == 0) {
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

const struct vv_encoding_why_info vv_encoding_whys[VV_ENCODING_WHY_COUNT] = {
#define VV_ENCODING_WHY(id, name, text) {(name), (text)},
    VV_ENCODING_WHYS(VV_ENCODING_WHY)
#undef VV_ENCODING_WHY
};

static bool is_digest(struct vv_str name)
{
    return vv_str_eq_nocase(name, VV_STR("Repr-Digest")) ||
           vv_str_eq_nocase(name, VV_STR("Content-Digest")) ||
           vv_str_eq_nocase(name, VV_STR("Digest")) ||
           vv_str_eq_nocase(name, VV_STR("Content-MD5"));
}

void vv_encoding_facts_add(struct vv_encoding_facts *facts, enum vv_field_id id, struct vv_str name,
                           struct vv_str value)
{
    switch (id) {
    case VV_FIELD_CONTENT_TYPE:
        facts->type = value;
        break;
    case VV_FIELD_CONTENT_ENCODING:
        facts->encoded = true;
        break;
    case VV_FIELD_CONTENT_RANGE:
        facts->part = true;
        break;
    case VV_FIELD_CACHE_CONTROL:
        facts->no_transform = facts->no_transform || vv_h1_list_has(value, VV_STR("no-transform"));
        break;
    case VV_FIELD_OTHER:
        facts->has_body_digest = facts->has_body_digest || is_digest(name);
        break;
    default:
        break;
    }
}

struct vv_encoding_facts vv_encoding_facts_of(const struct vv_h1_head *answer)
{
    struct vv_encoding_facts facts = {.status = answer->status,
                                      .length = answer->has_content_length ? answer->content_length
                                                                           : UINT64_MAX};
    for (uint32_t i = 0; i < answer->fields_count; i++) {
        const struct vv_h1_field *f = &answer->fields[i];
        vv_encoding_facts_add(&facts, (enum vv_field_id)f->id, f->name, f->value);
    }
    return facts;
}

/* *ret_wild: the pattern has a star. */
static bool type_matches(struct vv_str type, struct vv_str pattern, bool *ret_wild)
{
    if (vv_str_eq(pattern, VV_STR("*/*"))) {
        pattern = VV_STR("*");
    }
    struct vv_str tail = pattern;
    const struct vv_str front = vv_str_cut(&tail, '*');
    *ret_wild = tail.p != NULL;
    if (tail.p == NULL) {
        return vv_str_eq_nocase(type, pattern);
    }
    return type.n >= front.n + tail.n &&
           vv_str_eq_nocase((struct vv_str){type.p, front.n}, front) &&
           vv_str_eq_nocase((struct vv_str){type.p + type.n - tail.n, tail.n}, tail);
}

/* Whoever names a type in full wants it; a star does not mean images and archives. */
bool vv_encoding_type_fits(const struct vv_encoding_rules *rules, struct vv_str content_type)
{
    const struct vv_str type = vv_str_trim(vv_str_cut(&content_type, ';'));
    bool by_star = false;
    if (type.n == 0) {
        return false;
    }
    for (size_t i = 0; i < rules->type_count; i++) {
        bool wild;
        if (type_matches(type, rules->type[i], &wild)) {
            if (!wild) {
                return true;
            }
            by_star = true;
        }
    }
    return by_star && !vv_mime_is_compressed(type);
}

/* 206 is a part; 204, 205, 304 and 1xx have no content; what another status says of its own length or
 * ranges (416) is left alone too. Errors are pages like others. */
static bool status_fits(int status)
{
    return (status >= 200 && status < 204) || status == 207 ||
           (status >= 300 && status < 600 && status != 304 && status != 416);
}

static enum vv_encoding_why reason_against(const struct vv_encoding_rules *rules,
                                           const struct vv_encoding_facts *facts)
{
    if (facts->part || facts->status == 206) {
        return VV_ENCODING_WHY_PART;
    }
    if (!status_fits(facts->status)) {
        return VV_ENCODING_WHY_STATUS;
    }
    if (facts->encoded) {
        return VV_ENCODING_WHY_ENCODED;
    }
    if (facts->no_transform) {
        return VV_ENCODING_WHY_NO_TRANSFORM;
    }
    if (facts->has_body_digest) {
        return VV_ENCODING_WHY_DIGEST;
    }
    if (facts->length < rules->bytes_min || facts->length == 0) {
        return VV_ENCODING_WHY_SMALL;
    }
    return vv_encoding_type_fits(rules, facts->type) ? VV_ENCODING_WHY_CHOSEN
                                                     : VV_ENCODING_WHY_TYPE;
}

enum vv_encoding vv_encoding_choose(const struct vv_encoding_rules *rules,
                                    const struct vv_h1_head *req)
{
    enum vv_encoding chosen = VV_ENCODING_IDENTITY;
    int weight[VV_ENCODING_COUNT];
    int best = 0;
    weigh(req, weight);
    for (size_t i = 0; i < rules->prefer_count; i++) {
        if (weight[rules->prefer[i]] > best) {
            best = weight[rules->prefer[i]];
            chosen = rules->prefer[i];
        }
    }
    return weight[VV_ENCODING_IDENTITY] > best ? VV_ENCODING_IDENTITY : chosen;
}

struct vv_encoding_verdict vv_encoding_decide(const struct vv_encoding_rules *rules,
                                              const struct vv_h1_head *req,
                                              const struct vv_encoding_facts *facts)
{
    struct vv_encoding_verdict verdict = {.encoding = VV_ENCODING_IDENTITY};
    verdict.why = reason_against(rules, facts);
    if (verdict.why != VV_ENCODING_WHY_CHOSEN) {
        return verdict;
    }
    verdict.vary = rules->prefer_count > 0;
    verdict.encoding = vv_encoding_choose(rules, req);
    if (verdict.encoding == VV_ENCODING_IDENTITY) {
        verdict.why = VV_ENCODING_WHY_CLIENT;
    }
    return verdict;
}

struct vv_str vv_encoding_etag_prefix(struct vv_str etag)
{
    return etag.n > 0 && etag.p[0] == '"' ? VV_STR("W/") : (struct vv_str){"", 0};
}

/* Appends a member; false: no room. */
static bool add_member(char *out, size_t cap, size_t *n, struct vv_str member)
{
    const size_t comma = *n > 0 ? 2 : 0;
    if (cap - *n < comma + member.n) {
        return false;
    }
    memcpy(out + *n, ", ", comma);
    memcpy(out + *n + comma, member.p, member.n);
    *n += comma + member.n;
    return true;
}

static bool varies_by_all(const struct vv_h1_head *answer)
{
    const struct vv_h1_field *f = vv_h1_find(answer, VV_FIELD_VARY);
    for (; f != NULL && f < answer->fields + answer->fields_count; f++) {
        if (f->id == VV_FIELD_VARY && vv_h1_list_has(f->value, VV_STR("*"))) {
            return true;
        }
    }
    return false;
}

size_t vv_vary_merge(const struct vv_h1_head *answer, struct vv_str name, char *out, size_t cap)
{
    size_t n = 0;
    bool has = false;
    if (varies_by_all(answer)) {
        return add_member(out, cap, &n, VV_STR("*")) ? n : 0;
    }
    const struct vv_h1_field *f = vv_h1_find(answer, VV_FIELD_VARY);
    for (; f != NULL && f < answer->fields + answer->fields_count; f++) {
        struct vv_str rest = f->value;
        struct vv_str item;
        while (f->id == VV_FIELD_VARY && vv_h1_list_next(&rest, &item)) {
            if (vv_str_eq_nocase(item, name)) {
                if (has) {
                    continue;
                }
                has = true;
            }
            if (!add_member(out, cap, &n, item)) {
                return 0;
            }
        }
    }
    return has || add_member(out, cap, &n, name) ? n : 0;
}
