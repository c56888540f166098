/* src/store/redis_out.c - commands on their way to the socket. Small ones gather in a buffer that
 * leaves once per turn. A command with large values tries the socket at once, with the values where
 * they are; only what the socket does not take is copied, so that the caller's memory is free when
 * the call returns. */
#include "store/redis_conn_int.h"

#include <stdio.h>
#include <stdlib.h>

#define OUT_ROOM_MIN 4096
#define LENGTH_MAX 26 /* a type, digits, CR LF of a length, CR LF of the value before it */
#define PARTS_MAX 64
#define LARGE_MAX 30 /* values that are referred to; each takes two parts */

static size_t waiting(const struct vv_redis_conn *c)
{
    return c->out_n - c->out_at;
}

/* The largest text that the command may need; values that are referred to do not count. */
static size_t text_bound(const struct vv_str *args, size_t args_count)
{
    size_t n = LENGTH_MAX;
    for (size_t i = 0; i < args_count; i++) {
        n += LENGTH_MAX + (args[i].n <= VV_RESP_COPY_MAX ? args[i].n : 0);
    }
    return n;
}

static size_t value_bytes(const struct vv_str *args, size_t args_count)
{
    size_t n = 0;
    for (size_t i = 0; i < args_count; i++) {
        n += args[i].n;
    }
    return n;
}

/* Makes room for `more` bytes behind those that wait. */
static enum vv_err make_room(struct vv_redis_conn *c, size_t more)
{
    if (c->out_room - c->out_n >= more) {
        return VV_OK;
    }
    const size_t need = waiting(c) + more;
    if (c->out_at > 0) {
        memmove(c->out, c->out + c->out_at, waiting(c));
        c->out_n -= c->out_at;
        c->out_at = 0;
    }
    if (c->out_room >= need) {
        return VV_OK;
    }
    size_t room = c->out_room > 0 ? c->out_room : OUT_ROOM_MIN;
    while (room < need) {
        room *= 2;
    }
    char *bigger = realloc(c->out, room);
    if (bigger == NULL) {
        return VV_ENOMEM;
    }
    c->out = bigger;
    c->out_room = room;
    return VV_OK;
}

/* Gives what waits and the parts to the socket; returns how many bytes of both it took. */
static size_t send_parts(struct vv_redis_conn *c, const struct iovec *parts, size_t count)
{
    struct iovec iov[PARTS_MAX + 1];
    size_t n = 0, at = 0, all = 0;
    if (waiting(c) > 0) {
        iov[n++] = (struct iovec){c->out + c->out_at, waiting(c)};
    }
    for (size_t i = 0; i < count; i++) {
        iov[n++] = parts[i];
    }
    while (at < n) {
        size_t took = 0;
        if (vv_redis_io_write(c, iov + at, n - at, &took) != VV_OK) {
            break; /* full; or broken: the next flush says so */
        }
        all += took;
        while (at < n && took >= iov[at].iov_len) {
            took -= iov[at++].iov_len;
        }
        if (at < n) {
            iov[at] = (struct iovec){(char *)iov[at].iov_base + took, iov[at].iov_len - took};
        }
    }
    return all;
}

void vv_redis_out_break(struct vv_redis_conn *c)
{
    (void)shutdown(c->io.fd, SHUT_RDWR);
}

/* A command with values that are referred to. Its text lies behind what waits, not counted yet. */
static enum vv_err send_large(struct vv_redis_conn *c, const struct vv_resp_out *o)
{
    const size_t before = waiting(c), all = before + o->bytes;
    size_t sent =
        c->writable && c->state == VV_REDIS_READY ? send_parts(c, o->iov, o->iov_used) : 0;
    if (sent == all) {
        c->out_at = c->out_n = 0;
        return VV_OK;
    }
    /* The rest in one piece, in new memory: text and values lie in turns. */
    char *rest = malloc(all - sent);
    if (rest == NULL) {
        if (sent <= before) {
            c->out_at += sent; /* nothing of this command has left */
        } else {
            c->out_at = c->out_n = 0;
            vv_redis_out_break(c); /* half of it has */
        }
        return VV_ENOMEM;
    }
    size_t n = 0;
    const size_t from_out = sent < before ? before - sent : 0;
    memcpy(rest, c->out + c->out_n - from_out, from_out);
    n += from_out;
    sent = sent > before ? sent - before : 0;
    for (size_t i = 0; i < o->iov_used; i++) {
        const size_t skip = sent < o->iov[i].iov_len ? sent : o->iov[i].iov_len;
        memcpy(rest + n, (const char *)o->iov[i].iov_base + skip, o->iov[i].iov_len - skip);
        n += o->iov[i].iov_len - skip;
        sent -= skip;
    }
    free(c->out);
    c->out = rest;
    c->out_at = 0;
    c->out_n = c->out_room = n;
    return VV_OK;
}

static size_t large_values(const struct vv_str *args, size_t args_count)
{
    size_t n = 0;
    for (size_t i = 0; i < args_count; i++) {
        n += args[i].n > VV_RESP_COPY_MAX;
    }
    return n;
}

static void put_length(struct vv_redis_conn *c, char type, size_t n)
{
    c->out_n += (size_t)snprintf(c->out + c->out_n, LENGTH_MAX, "%c%zu\r\n", type, n);
}

/* A command with more large values than there are parts: all of it is copied. */
static enum vv_err add_copied(struct vv_redis_conn *c, const struct vv_str *args, size_t args_count)
{
    const enum vv_err err =
        make_room(c, (args_count + 1) * LENGTH_MAX + value_bytes(args, args_count));
    if (err != VV_OK) {
        return err;
    }
    put_length(c, '*', args_count);
    for (size_t i = 0; i < args_count; i++) {
        put_length(c, '$', args[i].n);
        if (args[i].n > 0) {
            memcpy(c->out + c->out_n, args[i].p, args[i].n);
        }
        memcpy(c->out + c->out_n + args[i].n, "\r\n", 2);
        c->out_n += args[i].n + 2;
    }
    vv_loop_defer(c->loop, &c->work);
    return VV_OK;
}

enum vv_err vv_redis_out_add(struct vv_redis_conn *c, const struct vv_str *args, size_t args_count)
{
    const size_t text = text_bound(args, args_count);
    struct iovec parts[PARTS_MAX];
    struct vv_resp_out o;
    if (!c->together && waiting(c) > 0 &&
        waiting(c) + text + value_bytes(args, args_count) > c->conf.out_max) {
        return VV_ELIMIT;
    }
    if (large_values(args, args_count) > LARGE_MAX) {
        return add_copied(c, args, args_count);
    }
    enum vv_err err = make_room(c, text);
    if (err != VV_OK) {
        return err;
    }
    vv_resp_out_init(&o, c->out + c->out_n, c->out_room - c->out_n, parts, PARTS_MAX);
    err = vv_resp_put(&o, args, args_count);
    if (err != VV_OK) {
        return err;
    }
    if (o.bytes > o.text_used) {
        err = send_large(c, &o);
    } else {
        c->out_n += o.text_used;
    }
    if (err == VV_OK && waiting(c) > 0) {
        vv_loop_defer(c->loop, &c->work);
    }
    return err;
}

enum vv_err vv_redis_out_bytes(struct vv_redis_conn *c, struct vv_str bytes)
{
    if (!c->together && waiting(c) > 0 && waiting(c) + bytes.n > c->conf.out_max) {
        return VV_ELIMIT;
    }
    const enum vv_err err = make_room(c, bytes.n);
    if (err == VV_OK) {
        memcpy(c->out + c->out_n, bytes.p, bytes.n);
        c->out_n += bytes.n;
        vv_loop_defer(c->loop, &c->work);
    }
    return err;
}

enum vv_err vv_redis_out_flush(struct vv_redis_conn *c)
{
    while (waiting(c) > 0) {
        struct iovec iov = {c->out + c->out_at, waiting(c)};
        size_t n = 0;
        const enum vv_err err = vv_redis_io_write(c, &iov, 1, &n);
        if (err != VV_OK) {
            return err;
        }
        c->out_at += n;
    }
    c->out_at = c->out_n = 0;
    if (c->out_room > c->conf.out_max) { /* after a value that was larger than what may wait */
        free(c->out);
        c->out = NULL;
        c->out_room = 0;
    }
    return vv_redis_io_flush(c);
}
