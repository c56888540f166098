/* src/gateway/settings_upstream_check.c - checks of servers' URLs and of `tls` of a service: whatever would
 * fail at the first connection and can be known now. */
#include "gateway/settings_int.h"
#include "gateway/upstream_tls.h"

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

const char *vv_settings_bad_server(const char *url)
{
    struct vv_str s = {url, strlen(url)};
    if (vv_str_starts(s, VV_STR("unix:"))) {
        return s.n > 5 ? NULL : "write unix:/path/of/socket";
    }
    const bool secure = vv_url_is_secure(url);
    const bool scheme = secure || vv_str_starts(s, VV_STR("http://"));
    if (scheme) {
        const size_t skip = secure ? 8 : 7;
        s = (struct vv_str){s.p + skip, s.n - skip};
        if (s.n > 0 && s.p[s.n - 1] == '/') {
            s.n--;
        }
    }
    const char *const hint = secure ? "write https://host or https://host:port"
                                    : "write host:port, http://host:port or unix:/path";
    size_t colon = s.n;
    while (colon > 0 && s.p[colon - 1] != ':' && s.p[colon - 1] != ']') {
        colon--;
    }
    const bool has_port = colon > 0 && s.p[colon - 1] == ':';
    const struct vv_str host = has_port ? (struct vv_str){s.p, colon - 1} : s;
    uint64_t port = 80;
    if (has_port && (vv_str_to_u64((struct vv_str){s.p + colon, s.n - colon}, &port) != VV_OK ||
                     port == 0 || port > 65535)) {
        return "the port is a number from 1 to 65535";
    }
    for (size_t i = 0; i < host.n; i++) {
        const bool v6 = host.p[0] == '[' && (host.p[i] == ':' || host.p[i] == '[' ||
                                             (host.p[i] == ']' && i + 1 == host.n));
        if (!v6 && !is_host_char(host.p[i])) {
            return hint;
        }
    }
    return host.n > 0 && (has_port || scheme) ? NULL : hint;
}

/* Does `tls` have somebody to be used for? Servers may come by the API, but then the file is no place to
 * prepare for them silently. */
static bool speaks_tls(const struct vv_service_settings *s)
{
    for (size_t i = 0; i < vv_list_count(s->servers); i++) {
        const struct vv_server_settings *server = s->servers->item[i];
        if (server->url == NULL || vv_url_is_secure(server->url)) {
            return true;
        }
    }
    return false;
}

static bool is_host(const char *name)
{
    struct vv_addr ip;
    if (vv_addr_from_ip(vv_str_from(name), 0, &ip)) {
        return true;
    }
    size_t n = 0;
    while (is_host_char(name[n])) {
        n++;
    }
    return n > 0 && n < 256 && name[n] == '\0';
}

/* What the files hold: only a load that may look at them can tell. */
static void check_files(struct vv_conf_doc *doc, const struct vv_service_settings *s)
{
    struct vv_service_tls *made = NULL;
    struct vv_sb why = VV_SB_INIT;
    const void *field = NULL;
    const enum vv_err err = vv_service_tls_take(s, NULL, &made, &why, &field);
    if (err != VV_OK) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){
                .field = field != NULL ? field : (const void *)&s->tls,
                .whole = field == NULL,
                .hint = field == &s->tls.ca ? "name a file with certificates in PEM form" : NULL},
            "%s", why.p != NULL && why.p[0] != '\0' ? why.p : vv_err_text(err));
    }
    vv_service_tls_unref(made);
    vv_sb_fini(&why);
}

void vv_settings_check_upstream(struct vv_conf_doc *doc, struct vv_service_settings *s)
{
    struct vv_service_tls_settings *t = &s->tls;
    if (!t->enabled) {
        return;
    }
    vv_settings_resolve(doc, &t->ca);
    vv_settings_resolve(doc, &t->cert);
    vv_settings_resolve(doc, &t->key);
    if (!speaks_tls(s)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = t,
                                                .whole = true,
                                                .warning = true,
                                                .hint = "write https://host:port for its servers"},
                       "no server of service \"%s\" has an https:// URL, so tls does nothing",
                       s->name);
    }
    if (!t->verify) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){
                           .field = &t->verify,
                           .warning = true,
                           .hint = "name the authority of the servers: tls: {ca: ca.pem}"},
                       "anybody can pretend to be a server of service \"%s\"", s->name);
    }
    if (!t->verify && t->ca != NULL) {
        vv_conf_report(doc, &(struct vv_conf_report){.field = &t->ca, .warning = true},
                       "ca does nothing with verify: false");
    }
    if (t->name != NULL && !is_host(t->name)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &t->name,
                                                .hint = "write a host name or an address, no port"},
                       "\"%s\" cannot be the name of a server", t->name);
    }
    if (t->key != NULL && t->cert == NULL) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &t->key, .hint = "add cert: gateway.pem"},
                       "a key is nothing without its certificate");
    } else if (vv_conf_may_read(doc)) {
        check_files(doc, s);
    }
}
