/* src/os/sock.c - addresses as text and as bytes, and the few socket calls the gateway makes.
 * TCP_NODELAY is set on listeners: Linux hands it on to every accepted connection, which saves a
 * system call for each. */
#include "os/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define IP_TEXT_MAX 46  /* INET6_ADDRSTRLEN */
#define DEFER_SECONDS 1 /* a silent client is handed over after its first retransmission */
#define ABORTED_MAX 16  /* connections that died in the queue, per call of accept */
#define UN_PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

void vv_close_fd(int *fd)
{
    if (*fd >= 0) {
        const int saved = errno;
        close(*fd);
        errno = saved; /* cleanups run between a failure and its report */
        *fd = -1;
    }
}

bool vv_addr_from_ip(struct vv_str ip, uint16_t port, struct vv_addr *ret)
{
    char text[IP_TEXT_MAX];
    struct vv_addr a = {.len = 0};
    if (ip.n == 0 || ip.n >= sizeof(text) || memchr(ip.p, '\0', ip.n) != NULL) {
        return false;
    }
    memcpy(text, ip.p, ip.n);
    text[ip.n] = '\0';
    memset(&a.any, 0, sizeof(a.any));
    if (inet_pton(AF_INET, text, &a.in4.sin_addr) == 1) {
        a.in4.sin_family = AF_INET;
        a.in4.sin_port = htons(port);
        a.len = sizeof(a.in4);
    } else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(port);
        a.len = sizeof(a.in6);
    } else {
        return false;
    }
    *ret = a;
    return true;
}

static enum vv_err parse_port(struct vv_str text, uint16_t *ret)
{
    uint64_t port = 0;
    const int err = vv_str_to_u64(text, &port);
    if (err != VV_OK) {
        return (enum vv_err)err;
    }
    if (port > UINT16_MAX) {
        return VV_ERANGE;
    }
    *ret = (uint16_t)port;
    return VV_OK;
}

static enum vv_err parse_unix(struct vv_str path, struct vv_addr *ret)
{
    struct vv_addr a = {.len = 0};
    const bool abstract = path.n > 0 && path.p[0] == '@';
    if (path.n == 0 || (abstract && path.n == 1) || memchr(path.p, '\0', path.n) != NULL) {
        return VV_ESYNTAX;
    }
    if (path.n >= sizeof(a.un.sun_path)) {
        return VV_ERANGE;
    }
    memset(&a.any, 0, sizeof(a.any));
    a.un.sun_family = AF_UNIX;
    memcpy(a.un.sun_path, path.p, path.n);
    if (abstract) {
        a.un.sun_path[0] = '\0';
    }
    /* The length of an abstract name is part of it; a path is closed by its NUL. */
    a.len = (socklen_t)(UN_PATH_OFFSET + path.n + (abstract ? 0 : 1));
    *ret = a;
    return VV_OK;
}

static enum vv_err parse_bracketed(struct vv_str text, struct vv_addr *ret)
{
    struct vv_addr a;
    uint16_t port = 0;
    const ptrdiff_t close_at = vv_str_find_char(text, ']');
    if (close_at < 0) {
        return VV_ESYNTAX;
    }
    const struct vv_str ip = {text.p + 1, (size_t)close_at - 1};
    if (vv_str_find_char(ip, ':') < 0 || !vv_addr_from_ip(ip, 0, &a)) {
        return VV_ESYNTAX;
    }
    const struct vv_str rest = {text.p + close_at + 1, text.n - (size_t)close_at - 1};
    if (rest.n == 0) {
        return VV_EINVAL;
    }
    if (rest.p[0] != ':') {
        return VV_ESYNTAX;
    }
    const enum vv_err err = parse_port((struct vv_str){rest.p + 1, rest.n - 1}, &port);
    if (err == VV_OK) {
        a.in6.sin6_port = htons(port);
        *ret = a;
    }
    return err;
}

enum vv_err vv_addr_parse(struct vv_str text, struct vv_addr *ret)
{
    struct vv_addr a;
    uint16_t port = 0;
    if (vv_str_starts(text, VV_STR("unix:"))) {
        return parse_unix((struct vv_str){text.p + 5, text.n - 5}, ret);
    }
    if (text.n > 0 && text.p[0] == '[') {
        return parse_bracketed(text, ret);
    }
    if (vv_addr_from_ip(text, 0, &a)) {
        return VV_EINVAL; /* an address alone; "::1:80" would be ambiguous and counts as one */
    }
    struct vv_str rest = text;
    struct vv_str host = vv_str_cut(&rest, ':');
    if (rest.p == NULL) { /* "80" */
        rest = host;
        host.n = 0;
    }
    const enum vv_err err = parse_port(rest, &port);
    if (err != VV_OK) {
        return err;
    }
    if (!vv_addr_from_ip(host.n > 0 ? host : VV_STR("::"), port, &a)) {
        return VV_ESYNTAX;
    }
    *ret = a;
    return VV_OK;
}

/* An IPv4 address in IPv6 clothes, as a dual-stack listener reports it, becomes plain IPv4. */
static void unmap(struct vv_addr *a)
{
    if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
        struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = a->in6.sin6_port};
        memcpy(&in4.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
        a->in4 = in4;
        a->len = sizeof(in4);
    }
}

static size_t put(char *buf, size_t buf_bytes, const char *text, size_t n)
{
    if (buf_bytes == 0) {
        return 0;
    }
    n = n < buf_bytes ? n : buf_bytes - 1;
    memcpy(buf, text, n);
    buf[n] = '\0';
    return n;
}

static size_t put_u8(char *buf, unsigned v)
{
    size_t n = 0;
    if (v >= 100) {
        buf[n++] = (char)('0' + v / 100);
    }
    if (v >= 10) {
        buf[n++] = (char)('0' + v / 10 % 10);
    }
    buf[n++] = (char)('0' + v % 10);
    return n;
}

static size_t ip4_text(const uint8_t *ip, char *text)
{
    size_t n = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i > 0) {
            text[n++] = '.';
        }
        n += put_u8(text + n, ip[i]);
    }
    return n;
}

static size_t unix_text(const struct vv_addr *a, char *text, size_t text_bytes)
{
    size_t n = a->len > UN_PATH_OFFSET ? (size_t)a->len - UN_PATH_OFFSET : 0;
    n = n < sizeof(a->un.sun_path) ? n : sizeof(a->un.sun_path);
    const bool abstract = n > 0 && a->un.sun_path[0] == '\0';
    if (!abstract) {
        n = strnlen(a->un.sun_path, n);
    }
    size_t len = put(text, text_bytes, "unix:", 5);
    len += put(text + len, text_bytes - len, a->un.sun_path, n);
    for (size_t i = 5; i < len; i++) {
        if (text[i] == '\0') {
            text[i] = '@'; /* the usual way to write the leading NUL of an abstract name */
        }
    }
    return len;
}

size_t vv_addr_format_ip(const struct vv_addr *a, char *buf, size_t buf_bytes)
{
    char text[IP_TEXT_MAX];
    if (a->sa.sa_family == AF_INET) {
        return put(buf, buf_bytes, text, ip4_text((const uint8_t *)&a->in4.sin_addr, text));
    }
    if (a->sa.sa_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
            return put(buf, buf_bytes, text, ip4_text(a->in6.sin6_addr.s6_addr + 12, text));
        }
        if (inet_ntop(AF_INET6, &a->in6.sin6_addr, text, sizeof(text)) == NULL) {
            return put(buf, buf_bytes, "?", 1);
        }
        return put(buf, buf_bytes, text, strlen(text));
    }
    if (a->sa.sa_family == AF_UNIX) {
        return put(buf, buf_bytes, "unix:", 5);
    }
    return put(buf, buf_bytes, "?", 1);
}

size_t vv_addr_format(const struct vv_addr *a, char *buf, size_t buf_bytes)
{
    char ip[IP_TEXT_MAX], text[VV_ADDR_TEXT];
    if (a->sa.sa_family == AF_UNIX) {
        const size_t n = unix_text(a, text, sizeof(text));
        return put(buf, buf_bytes, text, n);
    }
    (void)vv_addr_format_ip(a, ip, sizeof(ip));
    const bool brackets = strchr(ip, ':') != NULL;
    const int n =
        snprintf(text, sizeof(text), brackets ? "[%s]:%u" : "%s:%u", ip, (unsigned)vv_addr_port(a));
    return put(buf, buf_bytes, text, n > 0 ? (size_t)n : 0);
}

uint16_t vv_addr_port(const struct vv_addr *a)
{
    if (a->sa.sa_family == AF_INET) {
        return ntohs(a->in4.sin_port);
    }
    return a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

bool vv_addr_eq(const struct vv_addr *a, const struct vv_addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family) {
        return false;
    }
    switch (a->sa.sa_family) {
    case AF_INET:
        return a->in4.sin_port == b->in4.sin_port &&
               a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
    case AF_INET6:
        return a->in6.sin6_port == b->in6.sin6_port &&
               a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
    default:
        return a->len == b->len && memcmp(&a->any, &b->any, a->len) == 0;
    }
}

/* Clears the bits behind the prefix, so that "10.1.2.3/8" means 10.0.0.0/8. */
static void mask_tail(uint8_t *bytes, unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        const unsigned keep = bits <= i * 8 ? 0 : bits - i * 8;
        if (keep < 8) {
            bytes[i] = (uint8_t)(bytes[i] & (0xFF00u >> keep));
        }
    }
}

enum vv_err vv_cidr_parse(struct vv_str text, struct vv_cidr *ret)
{
    struct vv_cidr c = {.family = AF_UNIX};
    struct vv_addr a;
    if (vv_str_eq(text, VV_STR("unix"))) {
        *ret = c;
        return VV_OK;
    }
    struct vv_str rest = text;
    const struct vv_str ip = vv_str_cut(&rest, '/');
    if (!vv_addr_from_ip(ip, 0, &a)) {
        return VV_ESYNTAX;
    }
    const bool four = a.sa.sa_family == AF_INET;
    uint64_t bits = four ? 32 : 128;
    if (rest.p != NULL) {
        const uint64_t bits_max = bits;
        const int err = vv_str_to_u64(rest, &bits);
        if (err != VV_OK) {
            return (enum vv_err)err;
        }
        if (bits > bits_max) {
            return VV_ERANGE;
        }
    }
    c.family = (uint8_t)a.sa.sa_family;
    if (four) {
        memcpy(c.bytes, &a.in4.sin_addr, 4);
    } else if (IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr) && bits >= 96) {
        memcpy(c.bytes, a.in6.sin6_addr.s6_addr + 12, 4);
        c.family = AF_INET;
        bits -= 96;
    } else {
        memcpy(c.bytes, &a.in6.sin6_addr, 16);
    }
    c.bits = (uint8_t)bits;
    mask_tail(c.bytes, c.bits);
    *ret = c;
    return VV_OK;
}

bool vv_cidr_has(const struct vv_cidr *c, const struct vv_addr *a)
{
    const uint8_t *ip = NULL;
    uint8_t family = (uint8_t)a->sa.sa_family;
    if (family == AF_INET) {
        ip = (const uint8_t *)&a->in4.sin_addr;
    } else if (family == AF_INET6) {
        ip = a->in6.sin6_addr.s6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
            ip += 12;
            family = AF_INET;
        }
    }
    if (family != c->family) {
        return false;
    }
    if (ip == NULL) {
        return family == AF_UNIX;
    }
    const size_t whole = c->bits / 8;
    if (memcmp(ip, c->bytes, whole) != 0) {
        return false;
    }
    const unsigned rest = c->bits % 8u;
    return rest == 0 || (ip[whole] & (0xFF00u >> rest) & 0xFFu) == c->bytes[whole];
}

static enum vv_err set_flag(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? VV_OK
                                                                   : vv_err_from_errno(errno);
}

static enum vv_err set_listen_options(int fd, int family, const struct vv_listen_options *o)
{
    enum vv_err err = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == VV_OK && o->reuseport) {
        err = set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (err == VV_OK) {
        err = set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    if (err == VV_OK && o->defer_accept) {
        err = set_flag(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_SECONDS);
    }
    if (err == VV_OK && family == AF_INET6) {
        err = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6only ? 1 : 0);
    }
    if (err == VV_OK && o->transparent) {
        err = family == AF_INET6 ? set_flag(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
                                 : set_flag(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
    }
    return err;
}

/* A socket file that nobody listens on any more stays behind a crash and blocks the bind. */
static bool remove_dead_socket(const struct vv_addr *a)
{
    struct stat st;
    if (a->un.sun_path[0] == '\0' || lstat(a->un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    VV_AUTO(vv_close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, &a->sa, a->len) != 0 && errno == ECONNREFUSED &&
           unlink(a->un.sun_path) == 0;
}

static enum vv_err bind_unix(int fd, const struct vv_addr *a, const struct vv_listen_options *o)
{
    if (o->unix_mode != 0 && fchmod(fd, (mode_t)o->unix_mode) != 0) { /* never wider than asked */
        return vv_err_from_errno(errno);
    }
    int failed = bind(fd, &a->sa, a->len);
    if (failed != 0 && errno == EADDRINUSE) {
        if (!remove_dead_socket(a)) {
            return VV_EADDRINUSE;
        }
        failed = bind(fd, &a->sa, a->len);
    }
    if (failed != 0) {
        return vv_err_from_errno(errno);
    }
    if (o->unix_mode != 0 && a->un.sun_path[0] != '\0' &&
        chmod(a->un.sun_path, (mode_t)o->unix_mode) != 0) { /* the umask took bits away */
        return vv_err_from_errno(errno);
    }
    return VV_OK;
}

static enum vv_err open_listener(const struct vv_addr *a, const struct vv_listen_options *o,
                                 int *ret_fd)
{
    const int family = a->sa.sa_family;
    VV_AUTO(vv_close_fd) int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    enum vv_err err = VV_OK;
    if (family == AF_UNIX) {
        err = bind_unix(fd, a, o);
    } else {
        err = set_listen_options(fd, family, o);
        if (err == VV_OK && bind(fd, &a->sa, a->len) != 0) {
            err = vv_err_from_errno(errno);
        }
    }
    if (err == VV_OK && listen(fd, o->backlog > 0 ? o->backlog : SOMAXCONN) != 0) {
        err = vv_err_from_errno(errno);
    }
    if (err == VV_OK) {
        *ret_fd = vv_take_fd(&fd);
    }
    return err;
}

enum vv_err vv_sock_listen(const struct vv_addr *a, const struct vv_listen_options *o, int *ret_fd)
{
    const enum vv_err err = open_listener(a, o, ret_fd);
    const bool any6 = a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
    if (any6 && !o->v6only && (err == VV_EUNSUPPORTED || err == VV_EUNREACHABLE)) {
        /* "All addresses" on a machine without IPv6 are the IPv4 ones. */
        struct vv_addr any4 = {.in4 = {.sin_family = AF_INET, .sin_port = a->in6.sin6_port},
                               .len = sizeof(any4.in4)};
        return open_listener(&any4, o, ret_fd);
    }
    return err;
}

enum vv_err vv_sock_adopt_listener(int fd)
{
    struct vv_addr local = {.len = 0};
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0) {
        return vv_err_from_errno(errno);
    }
    if (listening == 0) {
        return VV_EINVAL;
    }
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return vv_err_from_errno(errno);
    }
    const enum vv_err err = vv_sock_local(fd, &local);
    if (err == VV_OK && local.sa.sa_family != AF_UNIX) {
        return set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    return err;
}

enum vv_err vv_sock_connect(const struct vv_addr *a, int *ret_fd)
{
    const int family = a->sa.sa_family;
    VV_AUTO(vv_close_fd) int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    if (family != AF_UNIX) {
        const enum vv_err err = set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (err != VV_OK) {
            return err;
        }
    }
    if (connect(fd, &a->sa, a->len) != 0 && errno != EINPROGRESS) {
        /* A unix listener with a full queue says EAGAIN: that is final, there is no waiting. */
        return errno == EAGAIN ? VV_EREFUSED : vv_err_from_errno(errno);
    }
    *ret_fd = vv_take_fd(&fd);
    return VV_OK;
}

enum vv_err vv_sock_accept(int listen_fd, int *ret_fd, struct vv_addr *ret_peer)
{
    for (int aborted = 0; aborted < ABORTED_MAX; aborted++) {
        struct vv_addr peer;
        socklen_t len = sizeof(peer.any);
        const bool named = ret_peer != NULL;
        peer.sa.sa_family = AF_UNIX; /* stays when a unix peer without a name leaves it alone */
        const int fd = accept4(listen_fd, named ? &peer.sa : NULL, named ? &len : NULL,
                               SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (named) {
                peer.len = len;
                unmap(&peer);
                *ret_peer = peer;
            }
            *ret_fd = fd;
            return VV_OK;
        }
        switch (errno) {
        case EAGAIN:
            return VV_EAGAIN;
        case EMFILE:
        case ENFILE:
            return VV_EFILES;
        case ENOBUFS:
        case ENOMEM:
            return VV_ENOMEM;
        case EBADF:
        case EFAULT:
        case EINVAL:
        case ENOTSOCK:
            return VV_EINVAL;
        default:
            /* Linux reports errors of a connection that died in the queue here (accept(2),
             * "Error handling"): take the next one. */
            break;
        }
    }
    return VV_EAGAIN; /* level-triggered: the loop comes back at once */
}

enum vv_err vv_sock_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    return vv_err_from_errno(error);
}

enum vv_err vv_sock_local(int fd, struct vv_addr *ret)
{
    struct vv_addr a;
    socklen_t len = sizeof(a.any);
    memset(&a, 0, sizeof(a));
    if (getsockname(fd, &a.sa, &len) != 0) {
        return vv_err_from_errno(errno);
    }
    a.len = len;
    unmap(&a);
    *ret = a;
    return VV_OK;
}

enum vv_err vv_sock_tcp(int fd, struct vv_sock_tcp *ret)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info)); /* old kernels fill less of it */
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
        return vv_err_from_errno(errno);
    }
    ret->rtt_ns = info.tcpi_rtt * VV_US;
    ret->retransmits = info.tcpi_total_retrans;
    return VV_OK;
}
