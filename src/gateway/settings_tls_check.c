/* src/gateway/settings_tls_check.c - TLS of the listeners: derives what no key says, and looks into the files.
 *
 * The files are read here once and again when the certificates are put in force: a mistake in them has a line
 * of the configuration only here, and a check must say all that would stop a start. */
#include "gateway/settings_int.h"
#include "os/clock.h"
#include "os/sock.h"
#include "os/tls_context.h"

#include <stdio.h>
#include <stdlib.h>

#define LONG_TEXT 320
#define CERTS_MAX 1024 /* of one listener */

/* ---- derived ------------------------------------------------------------------------------- */

static const char *lower(struct vv_conf_doc *doc, const char *text)
{
    char *copy = (char *)(uintptr_t)vv_conf_dup(doc, vv_str_from(text));
    for (char *c = copy; *c != '\0'; c++) {
        *c = vv_char_lower(*c);
    }
    return copy;
}

static bool is_on(const struct vv_route_settings *r, const char *listener)
{
    for (size_t i = 0; i < vv_list_count(r->listen); i++) {
        if (strcmp(r->listen->item[i], listener) == 0) {
            return true;
        }
    }
    return vv_list_count(r->listen) == 0;
}

struct wanted {
    struct vv_conf_doc *doc;
    struct vv_tls_settings *tls;
    struct vv_name_index seen;
};

static void want(struct wanted *w, const struct vv_conf_list *names)
{
    for (size_t i = 0; i < vv_list_count(names); i++) {
        const char *name = lower(w->doc, names->item[i]);
        if (vv_names_get(&w->seen, vv_str_from(name)) == NULL) {
            vv_names_put(&w->seen, name, (void *)(uintptr_t)name);
            vv_conf_append(w->doc, &w->tls->wanted, (void *)(uintptr_t)name, NULL, &names->item[i]);
        }
    }
}

static void derive_wanted(struct vv_conf_doc *doc, const struct vv_settings *s,
                          struct vv_listen_settings *l)
{
    struct wanted w = {.doc = doc, .tls = &l->tls};
    size_t most = vv_list_count(l->tls.names) + vv_list_count(l->names);
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        most += vv_list_count(((const struct vv_route_settings *)s->routes->item[i])->hosts);
    }
    vv_names_init(&w.seen, doc, most);
    want(&w, vv_list_count(l->tls.names) > 0 ? l->tls.names : l->names);
    for (size_t i = 0; l->tls.wanted == NULL && i < vv_list_count(s->routes); i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        if (is_on(r, l->name)) {
            want(&w, r->hosts);
        }
    }
}

static void derive_certs(struct vv_conf_doc *doc, struct vv_tls_settings *t)
{
    if (t->cert != NULL) {
        struct vv_cert_settings *c = vv_conf_new(doc, &vv_settings_cert_section, NULL);
        vv_conf_inherit(doc, &c->cert, &t->cert);
        vv_conf_inherit(doc, &c->key, &t->key);
        vv_conf_inherit(doc, &c->ocsp, &t->ocsp);
        vv_conf_append(doc, &t->all, c, NULL, &t->cert);
    }
    for (size_t i = 0; i < vv_list_count(t->certs); i++) {
        struct vv_cert_settings *c = t->certs->item[i];
        vv_settings_resolve(doc, &c->cert);
        vv_settings_resolve(doc, &c->key);
        vv_settings_resolve(doc, &c->ocsp);
        vv_conf_append(doc, &t->all, c, NULL, &c->cert);
    }
}

void vv_settings_derive_tls(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    const char *profile = vv_conf_profile(doc);
    const bool development = profile != NULL && strcmp(profile, "development") == 0;
    for (size_t i = 0; i < vv_list_count(root->s.listen); i++) {
        struct vv_listen_settings *l = root->s.listen->item[i];
        struct vv_tls_settings *t = &l->tls;
        if (!t->enabled) {
            continue;
        }
        const char **const path[] = {&t->cert, &t->key, &t->ocsp, &t->mutual.ca, &t->dir};
        for (size_t k = 0; k < VV_COUNT(path); k++) {
            vv_settings_resolve(doc, path[k]);
        }
        derive_certs(doc, t);
        t->local =
            t->mode == VV_TLS_MODE_LOCAL || (t->mode == VV_TLS_MODE_AUTO && development) ? 1 : 0;
        if (t->mode != VV_TLS_MODE_FILES) {
            derive_wanted(doc, &root->s, l);
        }
    }
}

/* ---- checks -------------------------------------------------------------------------------- */

struct tls_check {
    struct vv_conf_doc *doc;
    const struct vv_listen_settings *l;
    const struct vv_tls_settings *t;
    struct vv_tls_cert *cert[CERTS_MAX];
    size_t count;
    bool failed;
};

static void say(struct tls_check *c, const void *field, const char *hint, const char *text)
{
    vv_conf_report(c->doc, &(struct vv_conf_report){.field = field, .hint = hint}, "%s", text);
    c->failed = true;
}

static bool covers(const char *pattern, const char *name)
{
    if (strcmp(pattern, name) == 0) {
        return true;
    }
    const char *dot = strchr(name, '.');
    return strncmp(pattern, "*.", 2) == 0 && dot != NULL && strcmp(pattern + 1, dot) == 0;
}

static void warn_uncovered(const struct tls_check *c, const struct vv_conf_list *names)
{
    for (size_t i = 0; i < vv_list_count(names); i++) {
        const char *name = lower(c->doc, names->item[i]);
        bool covered = false;
        for (size_t k = 0; k < c->count && !covered; k++) {
            const struct vv_tls_cert_info *info = vv_tls_cert_info(c->cert[k]);
            for (size_t n = 0; n < info->name_count && !covered; n++) {
                covered = covers(info->names[n], name);
            }
        }
        if (!covered) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = &names->item[i],
                                                    .warning = true,
                                                    .hint = "clients that ask for it will see the "
                                                            "certificate of another name"},
                           "no certificate of listener \"%s\" has the name \"%s\"", c->l->name,
                           name);
        }
    }
}

static void warn_problems(const struct tls_check *c, const struct vv_cert_settings *conf,
                          const struct vv_tls_cert *cert, const char *why)
{
    const unsigned problems = vv_tls_cert_problems(cert, vv_clock_wall());
    static const struct {
        unsigned bit;
        const char *text, *hint;
    } rows[] = {
        {VV_TLS_CERT_EXPIRED, "has expired", "clients will refuse it; renew it"},
        {VV_TLS_CERT_NOT_YET, "is not good yet", "look at the clock of this machine"},
        {VV_TLS_CERT_SHA1, "is signed in a way that clients refuse", "order a new one"},
    };
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        if ((problems & rows[i].bit) != 0) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){
                               .field = &conf->cert, .warning = true, .hint = rows[i].hint},
                           "the certificate %s %s", conf->cert, rows[i].text);
        }
    }
    if (conf->ocsp != NULL && (problems & VV_TLS_CERT_STAPLE) != 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &conf->ocsp,
                                                .warning = true,
                                                .hint = "handshakes go without it"},
                       "the status answer is of no use: %s", why[0] != '\0' ? why : "it is old");
    }
}

static void load(struct tls_check *c, const struct vv_cert_settings *conf)
{
    struct vv_sb why = VV_SB_INIT;
    const struct vv_tls_cert_files files = {conf->cert, conf->key, conf->ocsp};
    const enum vv_err err = vv_tls_cert_load(&files, &why, &c->cert[c->count]);
    const char *text = vv_sb_str(&why).p;
    if (err == VV_OK) {
        warn_problems(c, conf, c->cert[c->count++], text);
    } else {
        const bool of_key = conf->key != NULL && strncmp(text, conf->key, strlen(conf->key)) == 0;
        const char *hint = err == VV_ENOENT   ? "name a file that is there"
                           : err == VV_EACCES ? "this user must be able to read it"
                           : conf->key == NULL
                               ? "a key in a file of its own is named with key:"
                               : "cert: the certificate and its chain, key: the key that it "
                                 "was made for";
        say(c, of_key ? &conf->key : &conf->cert, hint, text[0] != '\0' ? text : vv_err_text(err));
    }
    vv_sb_fini(&why);
}

/* What only OpenSSL can say: the whole context once, as it will be. */
static void try_context(struct tls_check *c)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_context *made = NULL;
    const struct vv_tls_server_conf conf = {
        .certs = c->cert,
        .cert_count = c->count,
        .client_ca_file = c->t->mutual.ca,
        .ask = !c->t->mutual.enabled || c->t->mutual.ca == NULL ? VV_TLS_ASK_NONE
               : c->t->mutual.required                          ? VV_TLS_ASK_REQUIRED
                                                                : VV_TLS_ASK_OPTIONAL,
        .version_min = (enum vv_tls_version)c->t->version_min,
    };
    const enum vv_err err = vv_tls_server_new(&conf, &why, &made);
    if (err != VV_OK) {
        const char *text = vv_sb_str(&why).p;
        const char *ca = c->t->mutual.ca;
        const bool of_ca = ca != NULL && strncmp(text, ca, strlen(ca)) == 0;
        say(c, of_ca ? (const void *)&c->t->mutual.ca : (const void *)&c->t->cert,
            of_ca ? "certificates of authorities, PEM, one after the other" : NULL,
            text[0] != '\0' ? text : vv_err_text(err));
    }
    vv_tls_context_unref(made);
    vv_sb_fini(&why);
}

static void check_files(struct tls_check *c)
{
    const struct vv_tls_settings *t = c->t;
    c->failed = false;
    if (vv_list_count(t->all) > CERTS_MAX) {
        say(c, &t->certs, NULL, "more than 1024 certificates for one listener");
        return;
    }
    for (size_t i = 0; i < vv_list_count(t->all) && vv_conf_may_read(c->doc); i++) {
        const struct vv_cert_settings *conf = t->all->item[i];
        if (conf->cert != NULL) {
            load(c, conf);
        }
    }
    if (c->count > 0 && !c->failed) {
        try_context(c);
        warn_uncovered(c, vv_list_count(t->names) > 0 ? t->names : c->l->names);
    }
    for (size_t i = 0; i < c->count; i++) {
        vv_tls_cert_unref(c->cert[i]);
    }
}

static const void *tls_place(const struct tls_check *c)
{
    return vv_conf_given(c->doc, &c->t->mode) ? (const void *)&c->t->mode : (const void *)c->t;
}

static void check_mode(struct tls_check *c)
{
    const struct vv_tls_settings *t = c->t;
    const bool files = t->mode == VV_TLS_MODE_FILES;
    if (files && t->cert == NULL && t->key != NULL) {
        say(c, &t->key, "add cert: the certificate of this key", "a key without its certificate");
        return;
    }
    if (files && vv_list_count(t->all) == 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = tls_place(c),
                           .whole = tls_place(c) == (const void *)t,
                           .hint = "name files with cert: and key:, or write tls: auto (a "
                                   "certificate of a public authority) or tls: local (one of "
                                   "our own)"},
                       "listener \"%s\" has TLS and no certificate", c->l->name);
        return;
    }
    if (!files && vv_list_count(t->all) > 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = t->cert != NULL ? (const void *)&t->cert
                                                                         : (const void *)&t->certs,
                                                .other = &t->mode,
                                                .other_what = "mode given",
                                                .hint = "keep the files, or the mode"},
                       "files are given, and mode: %s",
                       t->mode == VV_TLS_MODE_AUTO ? "auto" : "local");
        return;
    }
    if (t->mode == VV_TLS_MODE_AUTO && !t->local && vv_list_count(t->wanted) == 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = tls_place(c),
                                                .hint = "write tls: {mode: auto, names: "
                                                        "[example.org]}, or host: on the routes"},
                       "listener \"%s\" has no name to order a certificate for", c->l->name);
    }
}

static void check_listener(struct vv_conf_doc *doc, const struct vv_listen_settings *l)
{
    struct tls_check c = {.doc = doc, .l = l, .t = &l->tls};
    if (l->address != NULL && strncmp(l->address, "unix:", 5) == 0) {
        say(&c, &l->address, "clients of a unix socket are on this machine: leave tls out",
            "TLS on a unix socket is not served");
    }
    if (l->redirect != NULL) {
        say(&c, &l->redirect, "redirect the listener without TLS",
            "this listener has TLS already: its requests would be sent round in circles");
    }
    check_mode(&c);
    if (l->tls.mode == VV_TLS_MODE_FILES) {
        check_files(&c);
    }
}

void vv_settings_check_tls(struct vv_conf_doc *doc, const struct vv_settings_root *root)
{
    for (size_t i = 0; i < vv_list_count(root->s.listen); i++) {
        const struct vv_listen_settings *l = root->s.listen->item[i];
        if (l->tls.enabled) {
            check_listener(doc, l);
        }
    }
}
