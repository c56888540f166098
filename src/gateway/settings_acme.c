/* src/gateway/settings_acme.c - the rows of `acme`, what they mean together, and what is wrong with them. */
#include "gateway/settings_acme.h"
#include "gateway/certs.h"
#include "gateway/settings_int.h"

#include <stdio.h>
#include <sys/stat.h>

#define MAC_BYTES_MAX 256
#define STAGING "https://acme-staging-v02.api.letsencrypt.org/directory"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)

/* ---- rows ---------------------------------------------------------------------------------- */

#define FIELD(f) VV_CONF_FIELD(struct vv_acme_eab_settings, f)
static const struct vv_conf_row eab_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(key), .key = "key", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc = "The id of the key, as the authority gave it.", .example = "kid-1"},
    {FIELD(mac), .key = "mac", .type = VV_CONF_TEXT, .required = true, .secret = true,
     .reload = true, .doc = "The secret that goes with it, in base64url.",
     .example = "\"${file:/etc/vivace/eab}\""},
};
#undef FIELD
_Static_assert(VV_COUNT(eab_rows) * 8 == sizeof(struct vv_acme_eab_settings), "a row each");
static const struct vv_conf_section eab_section = {
    .name = "eab",
    .size = sizeof(struct vv_acme_eab_settings),
    ROWS(eab_rows),
    .doc = "An account elsewhere that the account at the authority is bound to."};

static const char *const challenges[] = {"auto", "http-01", "tls-alpn-01", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_acme_settings, f)
static const struct vv_conf_row acme_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(directory), .key = "directory", .type = VV_CONF_TEXTS, .reload = true,
     .doc =
         "Authorities: URLs of ACME directories, letsencrypt or letsencrypt-staging. After three "
         "failures with one the next is asked. Default: letsencrypt.",
     .example = "[letsencrypt, \"https://acme.example.org/directory\"]"},
    {FIELD(email), .key = "email", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Where the authority may write to. Default: it is told nothing.",
     .example = "admin@example.org"},
    {FIELD(store), .key = "store", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Directory of the account's key and the certificates, for this user only; gateways may "
            "share one. Default: acme in $STATE_DIRECTORY, else .vivace/acme beside the file.",
     .example = "/var/lib/vivace/acme"},
    {FIELD(ca), .key = "ca", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Who may have signed the certificate of the authority's own server, PEM. Default: whom "
            "the system trusts.",
     .example = "private-ca.pem"},
    {FIELD(challenge), .key = "challenge", .type = VV_CONF_ENUM, .def = "auto", .names = challenges,
     .reload = true,
     .doc = "How names are proved: http-01 (the authority comes to port 80), tls-alpn-01 (to port "
            "443), auto (http-01 first, the other after a failure).",
     .example = "tls-alpn-01"},
    {FIELD(agree), .key = "agree", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc =
         "Agree to the authority's terms of service. The log says where they are when an account "
         "is made; with false no account is made where terms are asked for.",
     .example = "false"},
    {FIELD(retry_ns), .key = "retry", .type = VV_CONF_DURATION, .def = "4m", .min = "100ms",
     .max = "1d", .reload = true,
     .doc = "Pause after an authority refused; each further one is twice as long, up to 12 hours. "
            "After an authority could not be reached it is a tenth of that, up to 10 minutes.",
     .example = "10m"},
    {FIELD(eab), .key = "eab", .type = VV_CONF_SECTION, .section = &eab_section, .optional = true,
     .reload = true, .doc = "For authorities that want an external account.",
     .example = "{key: kid-1, mac: \"${file:/etc/vivace/eab}\"}"},
};
#undef FIELD
_Static_assert((VV_COUNT(acme_rows) - 1) * 8 + sizeof(struct vv_acme_eab_settings) ==
                   sizeof(struct vv_acme_settings),
               "every field has a row");
static const struct vv_conf_short acme_shorts[] = {{VV_CONF_FORM_SCALAR, "email"}};
const struct vv_conf_section vv_settings_acme_section = {
    .name = "acme",
    .size = sizeof(struct vv_acme_settings),
    ROWS(acme_rows),
    .shorts = acme_shorts,
    .short_count = VV_COUNT(acme_shorts),
    .doc = "How certificates are ordered for `tls: auto`."};

/* ---- what they mean ------------------------------------------------------------------------ */

/* acme.store, else where we keep what we make. */
static bool store_of(const struct vv_settings *s, char path[VV_ACME_PATH_MAX])
{
    if (s->acme.store == NULL) {
        return vv_certs_state_dir(s, "acme", path, VV_ACME_PATH_MAX);
    }
    return snprintf(path, VV_ACME_PATH_MAX, "%s", s->acme.store) < VV_ACME_PATH_MAX;
}

static bool orders(const struct vv_listen_settings *l)
{
    return l->tls.enabled && l->tls.mode == VV_TLS_MODE_AUTO && !l->tls.local;
}

static bool has_plain(const struct vv_settings *s)
{
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        if (!l->tls.enabled) {
            return true;
        }
    }
    return false;
}

static const char *url_of(const char *text)
{
    return strcmp(text, "letsencrypt") == 0           ? VV_ACME_LETSENCRYPT
           : strcmp(text, "letsencrypt-staging") == 0 ? STAGING
                                                      : text;
}

enum vv_err vv_settings_acme_conf(const struct vv_settings *s, struct vv_arena *arena,
                                  struct vv_acme_conf *ret)
{
    const struct vv_acme_settings *a = &s->acme;
    char store[VV_ACME_PATH_MAX];
    const size_t count = vv_list_count(a->directory);
    const char **directory = vv_arena_zalloc(arena, (count + 1) * sizeof *directory);
    if (directory == NULL) {
        return VV_ENOMEM;
    }
    if (!store_of(s, store)) {
        return VV_ERANGE;
    }
    for (size_t i = 0; i < count; i++) {
        directory[i] = url_of(a->directory->item[i]);
    }
    struct vv_acme_conf conf = {.store = vv_arena_dup(arena, vv_str_from(store)),
                                .directory = directory,
                                .directory_count = count,
                                .email = a->email,
                                .ca_file = a->ca,
                                .eab_key = a->eab.enabled ? a->eab.key : NULL,
                                .eab_mac = a->eab.enabled ? a->eab.mac : NULL,
                                .agree = a->agree != 0,
                                .challenge = (enum vv_acme_challenge)a->challenge,
                                .retry_ns = a->retry_ns};
    if (conf.challenge == VV_ACME_ANY && !has_plain(s)) {
        conf.challenge = VV_ACME_TLS_ALPN; /* nobody here answers on port 80 */
    }
    if (conf.store == NULL) {
        return VV_ENOMEM;
    }
    *ret = conf;
    return VV_OK;
}

/* ---- checks -------------------------------------------------------------------------------- */

static void check_directories(struct vv_conf_doc *doc, const struct vv_acme_settings *a)
{
    static const char *const words[] = {"letsencrypt", "letsencrypt-staging"};
    for (size_t i = 0; i < vv_list_count(a->directory); i++) {
        const char *text = a->directory->item[i];
        if (strncmp(url_of(text), "https://", 8) == 0 && strlen(url_of(text)) > 8) {
            continue;
        }
        const char *near = vv_conf_nearest(text, words, VV_COUNT(words));
        char hint[128];
        (void)snprintf(hint, sizeof hint,
                       near != NULL ? "did you mean %s?"
                                    : "write letsencrypt, letsencrypt-staging or https://...",
                       near);
        vv_conf_report(doc, &(struct vv_conf_report){.field = &a->directory->item[i], .hint = hint},
                       "\"%s\" is no authority: it must be the https URL of an ACME directory",
                       text);
    }
}

static bool is_base64url(const char *text)
{
    const size_t n =
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return n >= 16 && n <= MAC_BYTES_MAX && strspn(text + n, "=") == strlen(text + n);
}

/* What would stop a start: keys lie there. A directory that is not there will be made. */
static void check_store(struct vv_conf_doc *doc, const struct vv_acme_settings *a)
{
    struct stat st;
    if (a->store == NULL || !vv_conf_may_read(doc) || stat(a->store, &st) != 0) {
        return;
    }
    const bool folder = S_ISDIR(st.st_mode);
    if (!folder || (st.st_mode & 077) != 0) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &a->store,
                                                .hint = folder ? "it holds keys: chmod 700"
                                                               : "name a directory of its own"},
                       folder ? "others may look into %s" : "%s is no directory", a->store);
    }
}

static void check_own(struct vv_conf_doc *doc, const struct vv_acme_settings *a)
{
    struct vv_str text;
    const char *why = NULL;
    if (a->email != NULL && (strchr(a->email, '@') == NULL || strpbrk(a->email, " <>,") != NULL)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &a->email,
                                                .hint = "one address, as in admin@example.org"},
                       "\"%s\" is no address for mail", a->email);
    }
    if (a->ca != NULL && vv_conf_may_read(doc) && !vv_conf_read_file(doc, a->ca, &text, &why)) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = &a->ca, .hint = "certificates of authorities, PEM"},
            "%s cannot be read: %s", a->ca, why);
    }
    if (a->eab.enabled && a->eab.mac != NULL && !is_base64url(a->eab.mac)) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = &a->eab.mac,
                                     .hint = "copy it as the authority shows it: letters, digits, "
                                             "- and _, at least 16 of them"},
            "the MAC key is not in base64url");
    }
}

static void check_names(struct vv_conf_doc *doc, const struct vv_settings *s,
                        const struct vv_listen_settings *l)
{
    for (size_t i = 0; i < vv_list_count(l->tls.wanted); i++) {
        const char *name = l->tls.wanted->item[i];
        const char *problem = vv_acme_name_problem(name, (enum vv_acme_challenge)s->acme.challenge);
        if (problem != NULL) {
            vv_conf_report(
                doc, &(struct vv_conf_report){.field = &l->tls.wanted->item[i], .hint = problem},
                "no certificate can be ordered for \"%s\"", name);
        }
    }
}

void vv_settings_check_acme(struct vv_conf_doc *doc, struct vv_settings *s)
{
    bool any = false;
    vv_settings_resolve(doc, &s->acme.store);
    vv_settings_resolve(doc, &s->acme.ca);
    check_directories(doc, &s->acme);
    check_store(doc, &s->acme);
    check_own(doc, &s->acme);
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        if (orders(l)) {
            any = true;
            check_names(doc, s, l);
        }
    }
    if (any && s->acme.challenge == VV_ACME_HTTP && !has_plain(s)) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = &s->acme.challenge,
                                     .warning = true,
                                     .hint = "listen on 80 too, or write challenge: tls-alpn-01"},
            "no listener without TLS is there to answer the challenge http-01");
    }
}
