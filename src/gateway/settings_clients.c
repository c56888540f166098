/* src/gateway/settings_clients.c - `clients` of a listener: rates become intervals, lists and files of addresses one
 * sorted set. */
#include "gateway/address_set.h"
#include "gateway/settings_int.h"

#include <stdio.h>

#define BAN_NS (600 * VV_SEC) /* the default: written out it says nothing */
#define FILE_PROBLEMS_MAX 5   /* of one file: the rest would say the same */

struct lists { /* one list on its way to a set */
    struct vv_conf_doc *doc;
    struct vv_cidr *block;
    size_t count, room;
};

static void keep(struct lists *l, const struct vv_cidr *block)
{
    if (l->count == l->room) {
        l->room = l->room > 0 ? l->room * 2 : 64;
        struct vv_cidr *more = vv_conf_zalloc(l->doc, l->room * sizeof *more);
        if (l->count > 0) {
            memcpy(more, l->block, l->count * sizeof *more);
        }
        l->block = more;
    }
    l->block[l->count++] = *block;
}

static bool is_block(struct vv_str text, struct vv_cidr *ret)
{
    return vv_cidr_parse(text, ret) == VV_OK && ret->family != AF_UNIX;
}

/* One block a line; what follows a # is for people. */
static void read_list(struct lists *l, const void *field, const char *name)
{
    struct vv_str text;
    const char *why = NULL;
    size_t line = 0, problems = 0;
    if (!vv_conf_may_read(l->doc)) {
        vv_conf_report(l->doc, &(struct vv_conf_report){.field = field},
                       "no files may be read here");
        return;
    }
    const char *path = vv_conf_resolve(l->doc, field, name);
    if (!vv_conf_read_file(l->doc, path, &text, &why)) {
        vv_conf_report(l->doc, &(struct vv_conf_report){.field = field}, "cannot read \"%s\": %s",
                       path, why);
        return;
    }
    while (text.n > 0 && problems < FILE_PROBLEMS_MAX) {
        struct vv_str rest = vv_str_cut(&text, '\n');
        const struct vv_str entry = vv_str_trim(vv_str_cut(&rest, '#'));
        struct vv_cidr block;
        const struct vv_str plain = entry.n > 0 && entry.p[entry.n - 1] == '\r'
                                        ? vv_str_trim((struct vv_str){entry.p, entry.n - 1})
                                        : entry;
        line++;
        if (plain.n == 0) {
            continue;
        }
        if (is_block(plain, &block)) {
            keep(l, &block);
            continue;
        }
        problems++;
        vv_conf_report(l->doc,
                       &(struct vv_conf_report){
                           .field = field, .hint = "one address or block a line, # for remarks"},
                       "\"%.*s\" in line %zu of %s is no block of addresses",
                       (int)(plain.n < 64 ? plain.n : 64), plain.p, line, path);
    }
}

static struct vv_address_set *make_set(struct vv_conf_doc *doc, const struct vv_conf_list *list)
{
    struct lists l = {.doc = doc};
    if (list == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->item[i];
        struct vv_cidr block;
        if (text[0] == '@') {
            read_list(&l, &list->item[i], text + 1);
        } else if (is_block(vv_str_from(text), &block)) {
            keep(&l, &block);
        } else {
            vv_conf_report(
                doc,
                &(struct vv_conf_report){.field = &list->item[i],
                                         .hint = "write 10.0.0.0/8, 2001:db8::/32, one address, or "
                                                 "\"@file\" with one a line"},
                "\"%s\" is no block of addresses", text);
        }
    }
    struct vv_address_set *set = vv_conf_zalloc(doc, vv_address_set_bytes(l.count));
    vv_address_set_build(set, l.block, l.count);
    return set;
}

static void derive_interval(struct vv_conf_doc *doc, const void *field, const char *text,
                            uint64_t *ret_interval_ns, uint64_t *ret_count)
{
    uint64_t count = 0, per_ns = 0;
    vv_settings_derive_rate(doc, field, "rate", text, &count, &per_ns);
    if (count == 0 || per_ns == 0) {
        return;
    }
    *ret_interval_ns = vv_max_u64(per_ns / count, 1);
    *ret_count = count;
}

/* As many as the rate gives in a second. */
static uint64_t burst_of(const struct vv_clients_settings *c, uint64_t interval_ns)
{
    if (c->burst != VV_CONF_ABSENT) {
        return c->burst;
    }
    return interval_ns != 0 ? vv_max_u64(vv_min_u64(VV_SEC / interval_ns, 1000000), 1) : 1;
}

static void warn_idle_keys(struct vv_conf_doc *doc, const struct vv_clients_settings *c)
{
    const bool rates = c->fresh != NULL || c->handshakes != NULL;
    if (vv_conf_given(doc, &c->burst) && !rates) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = &c->burst, .warning = true, .hint = "add new: 100/s"},
            "burst does nothing without a rate");
    }
    const bool own_ban = vv_conf_given(doc, &c->ban_ns) && c->ban_ns != BAN_NS;
    if (own_ban && c->malformed == NULL) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){
                           .field = &c->ban_ns, .warning = true, .hint = "add malformed: 20/min"},
                       "ban does nothing without malformed");
    }
    if (c->allow != NULL && c->allow->count == 0) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &c->allow,
                                                .warning = true,
                                                .hint = "leave allow out to let everybody in"},
                       "an empty allow lets nobody in");
    }
}

void vv_settings_derive_clients(struct vv_conf_doc *doc, struct vv_listen_settings *l)
{
    struct vv_clients_settings *c = &l->clients;
    uint64_t count = 0;
    derive_interval(doc, &c->fresh, c->fresh, &c->fresh_interval_ns, &count);
    derive_interval(doc, &c->handshakes, c->handshakes, &c->handshakes_interval_ns, &count);
    derive_interval(doc, &c->malformed, c->malformed, &c->malformed_interval_ns,
                    &c->malformed_burst);
    c->fresh_burst = burst_of(c, c->fresh_interval_ns);
    c->handshakes_burst = burst_of(c, c->handshakes_interval_ns);
    c->allow_set = make_set(doc, c->allow);
    c->deny_set = make_set(doc, c->deny);
    warn_idle_keys(doc, c);
    if (c->handshakes != NULL && !l->tls.enabled) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &c->handshakes,
                                                .warning = true,
                                                .hint = "add tls, or use new: for connections"},
                       "listener \"%s\" has no TLS, so there are no handshakes to limit", l->name);
    }
}
