/* src/store/redis_io.c - bytes in and out of one connection, through TLS where it has one. What is plain
 * takes the shortest way; TLS keeps what the socket did not take, so both look the same above. */
#include "store/redis_conn_int.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>

#define KEEPALIVE_SECONDS 60 /* an idle connection through a box that forgets is found out */

/* A socket that cannot be told this works all the same. */
static void keep_alive(int fd)
{
    static const int on = 1, seconds = KEEPALIVE_SECONDS;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
}

enum vv_err vv_redis_io_open(struct vv_redis_conn *c)
{
    int fd = -1;
    enum vv_err err = vv_sock_connect(&c->conf.addr, &fd);
    if (err != VV_OK) {
        return err;
    }
    if (c->conf.tls != NULL) {
        err = vv_tls_connect(c->conf.tls, fd, c->tls_name, NULL, &c->tls);
    }
    if (err != VV_OK) {
        vv_close_fd(&fd);
        return err;
    }
    if (c->conf.addr.sa.sa_family != AF_UNIX) {
        keep_alive(fd);
    }
    c->io.fd = fd;
    err = vv_loop_add(c->loop, &c->io);
    if (err != VV_OK) {
        vv_tls_free(c->tls);
        c->tls = NULL;
        vv_close_fd(&c->io.fd);
    }
    return err;
}

void vv_redis_io_close(struct vv_redis_conn *c)
{
    vv_loop_del(c->loop, &c->io, true);
    vv_tls_free(c->tls);
    c->tls = NULL;
    vv_close_fd(&c->io.fd);
}

enum vv_err vv_redis_io_shake(struct vv_redis_conn *c)
{
    if (c->tls == NULL) {
        return VV_OK;
    }
    const enum vv_err err = vv_tls_handshake(c->tls);
    if (err != VV_OK && err != VV_EAGAIN) {
        char text[VV_TLS_ERROR_TEXT];
        snprintf(c->refusal, sizeof(c->refusal), "%.*s", VV_REDIS_REFUSAL - 1,
                 vv_tls_error(c->tls, text));
    }
    return err;
}

enum vv_err vv_redis_io_read(struct vv_redis_conn *c, char *to, size_t room, size_t *ret_bytes)
{
    if (c->tls != NULL) {
        return vv_tls_read(c->tls, to, room, ret_bytes);
    }
    ssize_t n;
    do {
        n = vv_sock_recv(c->io.fd, to, room);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return vv_err_from_errno(errno);
    }
    *ret_bytes = (size_t)n;
    return n == 0 ? VV_ECLOSED : VV_OK;
}

static enum vv_err write_plain(struct vv_redis_conn *c, struct iovec *iov, size_t count,
                               size_t *ret_bytes)
{
    const struct msghdr m = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n;
    do {
        n = count == 1 ? vv_sock_send(c->io.fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                       : vv_sock_sendmsg(c->io.fd, &m, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return vv_err_from_errno(errno);
    }
    *ret_bytes = (size_t)n;
    return VV_OK;
}

enum vv_err vv_redis_io_write(struct vv_redis_conn *c, struct iovec *iov, size_t count,
                              size_t *ret_bytes)
{
    const enum vv_err err =
        c->tls != NULL ? vv_tls_write(c->tls, iov, count, 0, vv_loop_now(c->loop), ret_bytes)
                       : write_plain(c, iov, count, ret_bytes);
    c->stats.writes++;
    if (err == VV_OK) {
        c->stats.bytes_out += *ret_bytes;
    } else if (err == VV_EAGAIN) {
        c->writable = false;
    }
    return err;
}

enum vv_err vv_redis_io_flush(struct vv_redis_conn *c)
{
    if (c->tls == NULL || vv_tls_unsent(c->tls) == 0) {
        return VV_OK;
    }
    const enum vv_err err = vv_tls_flush(c->tls);
    if (err == VV_EAGAIN) {
        c->writable = false;
    }
    return err;
}
