/* src/gateway/limit_plan.c - limits as the file has them, made ready: words' names, texts of the fields
 * that tell about them, keys. All that can be done once is done here, so that a decision only hashes keys
 * and compares numbers. */
#include "gateway/admit_int.h"
#include <stdio.h>
#include <stdlib.h>

#define ERROR_BYTES 256
#define NAME_BYTES 128
#define ID_SEED                                                                                    \
    UINT64_C(0x6c696d6974730001) /* any constant: names must mean the same after a reload */

struct build {
    struct vv_limit_plan *plan;
    bool at_once;
    size_t parts; /* of all items so far, but those that only watch */
    char *reterr_text;
};

static uint64_t ceil_s(uint64_t ns)
{
    return ns / VV_SEC + (ns % VV_SEC != 0);
}

/* A string of structured fields (RFC 8941 3.3.3) holds printable ASCII; so written it is JSON too. */
static char *quoted(const char *name, const char *suffix)
{
    char *out = malloc(2 * strlen(name) + strlen(suffix) + 3);
    char *p = out;
    if (out == NULL) {
        return NULL;
    }
    *p++ = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\') {
            *p++ = '\\';
        }
        *p++ = *name >= 0x20 && *name < 0x7f ? *name : '_';
    }
    memcpy(p, suffix, strlen(suffix));
    p += strlen(suffix);
    *p++ = '"';
    *p = '\0';
    return out;
}

/* What a policy says: this many requests in that many seconds. Of a rate it is all that may come at once
 * and the time in which all of it comes back, so that q / w is the rate and r never exceeds q. */
static bool describe(struct vv_limit_part *p, const char *name)
{
    static const char *const suffix[] = {"", "-quota", "-concurrent"};
    const struct vv_limit *l = &p->limit;
    char rest[80];
    if (l->kind == VV_LIMIT_CONCURRENT) {
        snprintf(rest, sizeof rest, ";q=%llu;qu=\"concurrent-requests\"",
                 (unsigned long long)l->count);
    } else if (l->kind == VV_LIMIT_WINDOW) {
        snprintf(rest, sizeof rest, ";q=%llu;w=%llu", (unsigned long long)l->count,
                 (unsigned long long)ceil_s(l->per_ns));
    } else {
        snprintf(rest, sizeof rest, ";q=%llu;w=%llu", (unsigned long long)l->at_once,
                 (unsigned long long)ceil_s(l->at_once * l->interval_ns));
    }
    p->label = quoted(name, suffix[l->kind]);
    if (p->label == NULL) {
        return false;
    }
    const size_t room = strlen(p->label) + strlen(rest) + 1;
    p->policy = malloc(room);
    if (p->policy == NULL) {
        return false;
    }
    p->label_bytes = (uint16_t)strlen(p->label);
    p->policy_bytes = (uint16_t)snprintf(p->policy, room, "%s%s", p->label, rest);
    return true;
}

/* The same scope, name, way of counting and part go on with the same words after a reload. Two limits that
 * share all of these are told apart by their order. */
static uint64_t id_of(const struct build *b, const struct vv_limit_item *item,
                      enum vv_limit_kind kind)
{
    char text[3 * NAME_BYTES + 64];
    unsigned nth = 0;
    const char *per = item->conf->per != NULL ? item->conf->per : "";
    for (const struct vv_limit_item *other = b->plan->item; other < item; other++) {
        nth += strcmp(other->name, item->name) == 0 && other->per == item->per;
    }
    const int n = snprintf(text, sizeof text, "%.128s\n%.128s\n%d %.128s\n%u %d", b->plan->scope,
                           item->name, (int)item->per, per, nth, (int)kind);
    return vv_str_hash((struct vv_str){text, (size_t)n}, ID_SEED);
}

static enum vv_err add_part(struct build *b, struct vv_limit_item *item, enum vv_limit_kind kind,
                            uint64_t count, uint64_t per_ns, uint64_t at_once)
{
    struct vv_limit_part *p = &item->part[item->parts];
    const enum vv_err err =
        vv_limit_init(&p->limit, kind, id_of(b, item, kind), count, per_ns, at_once);
    if (err != VV_OK) {
        static const char *const what[] = {"rate and burst", "quota", "concurrent"};
        snprintf(b->reterr_text, ERROR_BYTES, "limit \"%.100s\": %s: %s", item->name, what[kind],
                 err == VV_ERANGE ? "these numbers are too large, or not whole seconds"
                                  : "zero is no limit");
        return err;
    }
    item->parts++;
    if (item->conf->dry_run == 0) {
        b->parts++;
    }
    return describe(p, item->name) ? VV_OK : VV_ENOMEM;
}

static uint64_t burst_of(const struct build *b, const struct vv_limit_settings *s)
{
    if (s->burst != VV_CONF_ABSENT) {
        return b->at_once ? vv_max_u64(s->burst, 1) : s->burst + 1;
    }
    const uint64_t second =
        s->rate_per_ns == 0 ? 1 : (uint64_t)((double)s->rate_count * 1e9 / (double)s->rate_per_ns);
    return vv_max_u64(second, 1) + !b->at_once;
}

static enum vv_err build_parts(struct build *b, struct vv_limit_item *item)
{
    const struct vv_limit_settings *s = item->conf;
    enum vv_err err = VV_OK;
    if (s->rate != NULL && s->rate_count > 0) {
        err = add_part(b, item, VV_LIMIT_RATE, s->rate_count, s->rate_per_ns, burst_of(b, s));
    }
    if (err == VV_OK && s->quota != NULL && s->quota_count > 0) {
        err = add_part(b, item, VV_LIMIT_WINDOW, s->quota_count, s->quota_per_ns, 1);
    }
    if (err == VV_OK && s->concurrent != 0 && s->concurrent != VV_CONF_ABSENT) {
        err = add_part(b, item, VV_LIMIT_CONCURRENT, s->concurrent, 0, 0);
    }
    return err;
}

static enum vv_err build_key(struct build *b, struct vv_limit_item *item)
{
    const char *per = item->conf->per != NULL ? item->conf->per : b->at_once ? "key" : "client";
    if (strcmp(per, "client") == 0) {
        item->per = VV_PER_CLIENT;
        return VV_OK;
    }
    if (strcmp(per, "key") == 0 || strcmp(per, "all") == 0) {
        item->per = per[0] == 'k' ? VV_PER_KEY : VV_PER_ALL;
        return VV_OK;
    }
    struct vv_template_error e = {0, ""};
    item->per = VV_PER_TEMPLATE;
    b->plan->has_template = true;
    const enum vv_err err = vv_template_new(per, &item->key, &e);
    if (err == VV_ESYNTAX) {
        snprintf(b->reterr_text, ERROR_BYTES, "limit: per: \"%.100s\": %s", per, e.text);
    }
    return err;
}

static enum vv_err build_allow(struct build *b, struct vv_limit_item *item)
{
    const struct vv_conf_list *list = item->conf->allow;
    const size_t count = list != NULL ? list->count : 0;
    if (count == 0) {
        return VV_OK;
    }
    item->allow = calloc(count, sizeof *item->allow);
    if (item->allow == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const enum vv_err err =
            vv_cidr_parse(vv_str_from(list->item[i]), &item->allow[item->allow_count++]);
        if (err != VV_OK) {
            snprintf(b->reterr_text, ERROR_BYTES, "limit: allow: \"%.100s\" is no address block",
                     (const char *)list->item[i]);
            return err;
        }
    }
    return VV_OK;
}

static enum vv_err build_item(struct build *b, const struct vv_limit_settings *conf)
{
    struct vv_limit_item *item = &b->plan->item[b->plan->count];
    const char *colon = strchr(b->plan->scope, ':');
    const char *name = conf->name != NULL ? conf->name : colon != NULL ? colon + 1 : b->plan->scope;
    item->conf = conf;
    item->name = strndup(name, NAME_BYTES);
    b->plan->count++;
    if (item->name == NULL) {
        return VV_ENOMEM;
    }
    enum vv_err err = build_key(b, item);
    if (err == VV_OK) {
        err = build_allow(b, item);
    }
    if (err == VV_OK) {
        err = build_parts(b, item);
    }
    if (err == VV_OK && b->parts > VV_LIMIT_PLAN_PARTS) {
        snprintf(b->reterr_text, ERROR_BYTES,
                 "limit: rates, quotas and concurrents of one list are at most %d together",
                 VV_LIMIT_PLAN_PARTS);
        return VV_ELIMIT;
    }
    return err;
}

enum vv_err vv_limit_plan_new(const struct vv_conf_list *limits, const char *scope, bool at_once,
                              struct vv_limit_plan **ret, char *reterr_text)
{
    const size_t count = limits != NULL ? limits->count : 0;
    size_t parts = 0;
    *ret = NULL;
    if (count == 0) {
        return VV_OK;
    }
    struct build b = {.at_once = at_once, .reterr_text = reterr_text};
    b.plan = calloc(1, sizeof *b.plan + count * sizeof b.plan->item[0]);
    if (b.plan == NULL) {
        return VV_ENOMEM;
    }
    b.plan->scope = strdup(scope);
    enum vv_err err = b.plan->scope != NULL ? VV_OK : VV_ENOMEM;
    for (size_t i = 0; err == VV_OK && i < count; i++) {
        err = build_item(&b, limits->item[i]);
        parts += b.plan->item[i].parts;
    }
    if (err != VV_OK || parts == 0) {
        vv_limit_plan_free(b.plan);
        return err;
    }
    *ret = b.plan;
    return VV_OK;
}

void vv_limit_plan_free(struct vv_limit_plan *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->count; i++) {
        struct vv_limit_item *item = &p->item[i];
        for (size_t k = 0; k < VV_LIMIT_PARTS; k++) {
            free(item->part[k].label);
            free(item->part[k].policy);
        }
        vv_template_free(item->key);
        free(item->allow);
        free(item->name);
    }
    free(p->scope);
    free(p);
}
