/* src/os/sock.h - addresses and sockets.
 *
 * Model:   every socket is non-blocking and close-on-exec, TCP_NODELAY on TCP. Text forms:
 *          "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@abstract", ":80" and "80"
 *          (all addresses).
 * Threads: pure wrappers. Errors: mapped from errno.
 */
#ifndef VV_OS_SOCK_H
#define VV_OS_SOCK_H
#include "base/err.h"
#include "base/str.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

struct vv_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage any;
    };
    socklen_t len;
};

/* Numeric only (no DNS). Without a port: VV_EINVAL; malformed: VV_ESYNTAX; a port over 65535 or a
 * path that is too long: VV_ERANGE. "All addresses" is [::], which listens on IPv4 too. */
VV_MUST_CHECK enum vv_err vv_addr_parse(struct vv_str text, struct vv_addr *ret);
/* "192.0.2.1", "2001:db8::1" without a port; false for names. Sets port. */
bool vv_addr_from_ip(struct vv_str ip, uint16_t port, struct vv_addr *ret);
/* With port: "127.0.0.1:80", "[::1]:80", "unix:/p". buf >= VV_ADDR_TEXT. Returns the length. */
#define VV_ADDR_TEXT 128
size_t vv_addr_format(const struct vv_addr *a, char *buf, size_t buf_bytes);
/* The address alone, no port, no brackets; "unix:" for any unix socket. */
size_t vv_addr_format_ip(const struct vv_addr *a, char *buf, size_t buf_bytes);
uint16_t vv_addr_port(const struct vv_addr *a);
bool vv_addr_eq(const struct vv_addr *a, const struct vv_addr *b); /* address and port */

/* CIDR blocks ("10.0.0.0/8", "::1/128"); a bare address is a /32 or /128, "unix" is AF_UNIX. */
struct vv_cidr {
    uint8_t bytes[16];
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX */
    uint8_t bits;
};
VV_MUST_CHECK enum vv_err vv_cidr_parse(struct vv_str text, struct vv_cidr *ret);
bool vv_cidr_has(const struct vv_cidr *c, const struct vv_addr *a); /* v4-mapped v6 counts as v4 */

struct vv_listen_options {
    bool reuseport, defer_accept, v6only, transparent;
    int backlog;
    int unix_mode; /* permissions of a unix socket, 0 = leave */
};
VV_MUST_CHECK enum vv_err vv_sock_listen(const struct vv_addr *a, const struct vv_listen_options *o,
                                         int *ret_fd);
/* Prepares a listening socket that came from elsewhere (socket activation, another process): the
 * flags that vv_sock_listen() sets itself. VV_EINVAL: it does not listen. */
VV_MUST_CHECK enum vv_err vv_sock_adopt_listener(int fd);
/* recv(), send() and sendmsg() without the two looks for a cancelled thread that libc puts around each (we
 * cancel none): 2 to 3 % of the time of a cache hit. */
static inline ssize_t vv_sock_recv(int fd, void *to, size_t room)
{
    return syscall(SYS_recvfrom, fd, to, room, 0, NULL, NULL);
}
static inline ssize_t vv_sock_send(int fd, const void *from, size_t n, int flags)
{
    return syscall(SYS_sendto, fd, from, n, flags, NULL, 0);
}
static inline ssize_t vv_sock_sendmsg(int fd, const struct msghdr *m, int flags)
{
    return syscall(SYS_sendmsg, fd, m, flags);
}
/* VV_OK: connected or in progress (wait for VV_IO_WRITE, then vv_sock_error). */
VV_MUST_CHECK enum vv_err vv_sock_connect(const struct vv_addr *a, int *ret_fd);
/* VV_EAGAIN: nobody waits. VV_EFILES: out of descriptors. ret_peer may be NULL; an IPv4 peer of a
 * dual-stack listener is reported as AF_INET. */
VV_MUST_CHECK enum vv_err vv_sock_accept(int listen_fd, int *ret_fd, struct vv_addr *ret_peer);
enum vv_err vv_sock_error(int fd); /* SO_ERROR of a finished connect */
enum vv_err vv_sock_local(int fd, struct vv_addr *ret);
struct vv_sock_tcp {
    uint64_t rtt_ns;      /* smoothed; 0: not measured yet */
    uint32_t retransmits; /* segments sent again since the connection began; wraps */
};
/* What the kernel measured on a TCP connection. Fails for other sockets. */
VV_MUST_CHECK enum vv_err vv_sock_tcp(int fd, struct vv_sock_tcp *ret);
void vv_close_fd(int *fd); /* for VV_AUTO: closes when >= 0, sets -1 */
static inline int vv_take_fd(int *fd)
{
    const int taken = *fd;
    *fd = -1;
    return taken;
}
#endif
