/* src/store/redis_url.c - reads left to right and says at the first part that is wrong what would be
 * right. Passwords never appear in what is said. */
#include "store/redis_url.h"

#include "os/sock.h"
#include "wire/uri.h"

#include <stdio.h>

#define PORT_REDIS 6379
#define PORT_SENTINEL 26379

static const struct scheme {
    const char *text;
    enum vv_redis_kind kind;
    bool tls, is_unix;
} schemes[] = {
    {"redis://", VV_REDIS_SINGLE, false, false},
    {"rediss://", VV_REDIS_SINGLE, true, false},
    {"redis+cluster://", VV_REDIS_CLUSTER, false, false},
    {"rediss+cluster://", VV_REDIS_CLUSTER, true, false},
    {"redis+sentinel://", VV_REDIS_SENTINEL, false, false},
    {"rediss+sentinel://", VV_REDIS_SENTINEL, true, false},
    {"redis+unix://", VV_REDIS_SINGLE, false, true},
};

/* What was wrong, as one sentence. */
#define WRONG(...) (snprintf(why, 256, __VA_ARGS__), VV_ESYNTAX)

static bool printable(struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum vv_err decode(struct vv_str s, char *out, size_t cap, const char *what, char *why)
{
    size_t n = 0;
    if (vv_uri_decode(s, out, cap - 1, &n) != VV_OK || memchr(out, '\0', n) != NULL) {
        return WRONG("The %s is longer than %zu bytes, or a %% in it is not followed by two "
                     "hexadecimal digits (write %%25 for a %% itself).",
                     what, cap - 1);
    }
    out[n] = '\0';
    return VV_OK;
}

/* "user:password", ":password". */
static enum vv_err read_user(struct vv_str s, struct vv_redis_url *u, char *why)
{
    const ptrdiff_t colon = vv_str_find_char(s, ':');
    if (colon < 0) {
        return WRONG("Before the @ stands user:password; without a user :password.");
    }
    const struct vv_str password = {s.p + colon + 1, s.n - (size_t)colon - 1};
    enum vv_err err =
        decode((struct vv_str){s.p, (size_t)colon}, u->user, sizeof(u->user), "user's name", why);
    if (err == VV_OK) {
        err = decode(password, u->password, sizeof(u->password), "password", why);
    }
    if (err == VV_OK && u->user[0] != '\0' && u->password[0] == '\0') {
        err = WRONG("A user needs a password: user:password@host.");
    }
    return err;
}

static enum vv_err read_port(struct vv_str s, uint16_t *ret, char *why)
{
    uint64_t port = 0;
    if (vv_str_to_u64(s, &port) != VV_OK || port == 0 || port > UINT16_MAX) {
        return WRONG("A port is a number from 1 to 65535, not \"%.*s\".", (int)vv_min_u64(s.n, 40),
                     s.p);
    }
    *ret = (uint16_t)port;
    return VV_OK;
}

/* Of a host, and of a master: Sentinel takes no other names. */
static bool plain_name(struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                          (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
        if (!fine) {
            return false;
        }
    }
    return true;
}

/* "host", "host:port", "[::1]:port". */
static enum vv_err read_host(struct vv_str s, struct vv_redis_url *u, char *why)
{
    struct vv_str name, port = {NULL, 0};
    struct vv_addr addr;
    if (u->hosts == VV_REDIS_URL_HOSTS) {
        return WRONG("There may be %d hosts.", VV_REDIS_URL_HOSTS);
    }
    const bool brackets = s.n > 0 && s.p[0] == '[';
    if (brackets) {
        const ptrdiff_t end = vv_str_find_char(s, ']');
        if (end < 0) {
            return WRONG("The ] of an address in brackets is missing.");
        }
        name = (struct vv_str){s.p + 1, (size_t)end - 1};
        port = (struct vv_str){s.p + end + 1, s.n - (size_t)end - 1};
        if (!vv_addr_from_ip(name, 1, &addr) || vv_str_find_char(name, ':') < 0) {
            return WRONG("In brackets stands an IPv6 address, as in [::1]:6379.");
        }
        if (port.n > 0 && port.p[0] != ':') {
            return WRONG("Behind the ] comes :port or nothing.");
        }
        port = port.n > 0 ? (struct vv_str){port.p + 1, port.n - 1} : (struct vv_str){NULL, 0};
    } else {
        port = s;
        name = vv_str_cut(&port, ':');
        if (port.p != NULL && vv_str_find_char(port, ':') >= 0) {
            return WRONG("An IPv6 address stands in brackets, as in [::1]:6379.");
        }
    }
    if (name.n == 0 || name.n >= sizeof(u->host[0].name)) {
        return WRONG("A host is missing, or its name is longer than 255 bytes.");
    }
    if (!brackets && !plain_name(name)) {
        return WRONG("A host's name has letters, digits, dots, hyphens and underscores.");
    }
    uint16_t number = u->kind == VV_REDIS_SENTINEL ? PORT_SENTINEL : PORT_REDIS;
    const enum vv_err err = port.p != NULL ? read_port(port, &number, why) : VV_OK;
    if (err != VV_OK) {
        return err;
    }
    for (size_t i = 0; i < u->hosts; i++) {
        if (u->host[i].port == number && vv_str_eq_nocase(vv_str_from(u->host[i].name), name)) {
            return WRONG("The same host and port are there twice.");
        }
    }
    memcpy(u->host[u->hosts].name, name.p, name.n);
    u->host[u->hosts++].port = number;
    return VV_OK;
}

static enum vv_err read_db(struct vv_str s, struct vv_redis_url *u, char *why)
{
    uint64_t db = 0;
    if (vv_str_to_u64(s, &db) != VV_OK || db > INT32_MAX) {
        return WRONG("The number of the database is a number such as 0.");
    }
    if (db > 0 && u->kind == VV_REDIS_CLUSTER) {
        return WRONG("A cluster has the database 0 only.");
    }
    u->db = (uint32_t)db;
    return VV_OK;
}

/* What follows the hosts, without the slash before it. */
static enum vv_err read_path(struct vv_str path, struct vv_redis_url *u, char *why)
{
    if (u->kind == VV_REDIS_SENTINEL) {
        const struct vv_str name = vv_str_cut(&path, '/');
        if (name.n == 0) {
            return WRONG("The name of the master is missing: redis+sentinel://host/name.");
        }
        if (name.n >= sizeof(u->master) || !plain_name(name)) {
            return WRONG("The name of a master has letters, digits, dots, hyphens and "
                         "underscores, %zu at most.",
                         sizeof(u->master) - 1);
        }
        memcpy(u->master, name.p, name.n);
    }
    return path.n > 0 ? read_db(path, u, why) : VV_OK;
}

static enum vv_err read_unix(struct vv_str rest, struct vv_redis_url *u, char *why)
{
    const ptrdiff_t at = vv_str_find_char(rest, '@');
    if (rest.n > 0 && rest.p[0] != '/' && at > 0) { /* user:password@/path */
        const enum vv_err err = read_user((struct vv_str){rest.p, (size_t)at}, u, why);
        if (err != VV_OK) {
            return err;
        }
        rest = (struct vv_str){rest.p + at + 1, rest.n - (size_t)at - 1};
    }
    const struct vv_str path = vv_str_cut(&rest, '?');
    if (path.n == 0 || path.p[0] != '/') {
        return WRONG("The path of a socket is absolute: redis+unix:///run/redis/redis.sock.");
    }
    if (path.n >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return WRONG("The path of a socket has %zu bytes at most.",
                     sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    }
    memcpy(u->host[0].name, path.p, path.n);
    u->hosts = 1;
    if (rest.p == NULL) {
        return VV_OK;
    }
    if (!vv_str_starts(rest, VV_STR("db="))) {
        return WRONG("Behind the path of a socket may stand ?db=number.");
    }
    return read_db((struct vv_str){rest.p + 3, rest.n - 3}, u, why);
}

static enum vv_err read_hosts(struct vv_str rest, struct vv_redis_url *u, char *why)
{
    struct vv_str hosts = vv_str_cut(&rest, '/');
    const ptrdiff_t at = vv_str_find_char(hosts, '@');
    enum vv_err err = VV_OK;
    if (at >= 0) {
        err = read_user((struct vv_str){hosts.p, (size_t)at}, u, why);
        hosts = (struct vv_str){hosts.p + at + 1, hosts.n - (size_t)at - 1};
    }
    do {
        if (err == VV_OK) {
            err = read_host(vv_str_cut(&hosts, ','), u, why);
        }
    } while (err == VV_OK && hosts.p != NULL);
    if (err == VV_OK && u->kind == VV_REDIS_SINGLE && u->hosts > 1) {
        u->kind = VV_REDIS_RING;
    }
    return err == VV_OK ? read_path(rest, u, why) : err;
}

enum vv_err vv_redis_url_read(struct vv_str text, struct vv_redis_url *ret, char reterr_text[256])
{
    char *why = reterr_text;
    for (size_t i = 0; i < VV_COUNT(schemes); i++) {
        const struct vv_str scheme = vv_str_from(schemes[i].text);
        if (!vv_str_starts(text, scheme)) {
            continue;
        }
        struct vv_redis_url u = {
            .kind = schemes[i].kind, .tls = schemes[i].tls, .is_unix = schemes[i].is_unix};
        const struct vv_str rest = {text.p + scheme.n, text.n - scheme.n};
        if (!printable(rest)) {
            return WRONG("There is a space or a control character in it.");
        }
        const enum vv_err err = u.is_unix ? read_unix(rest, &u, why) : read_hosts(rest, &u, why);
        if (err == VV_OK) {
            *ret = u;
        }
        return err;
    }
    return WRONG("It begins with redis://, rediss://, redis+cluster://, rediss+cluster://, "
                 "redis+sentinel://, rediss+sentinel:// or redis+unix://.");
}

size_t vv_redis_url_show(const struct vv_redis_url *u, char *out, size_t cap)
{
    const enum vv_redis_kind kind = u->kind == VV_REDIS_RING ? VV_REDIS_SINGLE : u->kind;
    char text[VV_REDIS_URL_HOSTS * 272 + 256];
    size_t n = 0;
    for (size_t i = 0; i < VV_COUNT(schemes); i++) {
        if (schemes[i].kind == kind && schemes[i].tls == u->tls &&
            schemes[i].is_unix == u->is_unix) {
            n += (size_t)snprintf(text, sizeof(text), "%s", schemes[i].text);
        }
    }
    for (size_t i = 0; i < u->hosts; i++) {
        const bool six = !u->is_unix && strchr(u->host[i].name, ':') != NULL;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s%s%s", i > 0 ? "," : "",
                              six ? "[" : "", u->host[i].name, six ? "]" : "");
        if (!u->is_unix) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, ":%u", u->host[i].port);
        }
    }
    if (u->master[0] != '\0') {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "/%s", u->master);
    }
    if (u->db > 0) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, u->is_unix ? "?db=%u" : "/%u", u->db);
    }
    n = n < cap ? n : cap;
    memcpy(out, text, n);
    return n;
}
