/* src/load/client.c - written for two cases that decide what a generator can offer: the next request
 * on a connection that is alive (one write, one read, no allocation, no copy), and a new connection
 * for one request (the request is written before epoll is asked whether the connection stands: on
 * a short way it does already). TLS is one branch beside each of these. Everything else, like an
 * answer in pieces, takes the slower road of copying into `kept` and parsing the head once more when
 * the answer is complete. */
#include "load/client.h"

#include "base/sb.h"
#include "os/clock.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (64 * VV_KIB)
#define KEPT_FIRST (4 * VV_KIB)
#define SEGMENT_BYTES 500 /* any network carries so much in one segment (RFC 9293 section 3.7.1) */
#define SESSIONS_NAME 64  /* TLS sessions kept of a name: so many connections resume at a time */
#define SESSIONS_MAX 256
#define ENDED_KEEP (64 * VV_KIB) /* a bigger buffer is not kept for the next answer */

static const struct vv_h1_limits limits = {
    .line_bytes = 16 * VV_KIB, .head_bytes = 64 * VV_KIB, .fields = VV_H1_FIELDS_MAX};

#define STATES(X)                                                                                  \
    X(CLOSED, "no socket")                                                                         \
    X(CONNECTING, "the first write will say whether it stands")                                    \
    X(HANDSHAKE, "TLS is agreed on before the request goes out")                                   \
    X(IDLE, "open, nothing asked")                                                                 \
    X(HEAD, "a request is out, its answer's head is not complete")                                 \
    X(LENGTH, "reading a body of known length")                                                    \
    X(CHUNKED, "reading a chunked body")                                                           \
    X(UNTIL_CLOSE, "reading a body that ends with the connection")
#define AS_ENUM(name, doc) ST_##name,
enum state { STATES(AS_ENUM) };

enum verdict { MORE, COMPLETE, BAD, NO_MEMORY };

static const char *errno_name(int errnum)
{
    switch (errnum) {
    case ECONNREFUSED:
        return "ECONNREFUSED";
    case ECONNRESET:
        return "ECONNRESET";
    case ETIMEDOUT:
        return "ETIMEDOUT";
    case EPIPE:
        return "EPIPE";
    case EHOSTUNREACH:
        return "EHOSTUNREACH";
    case ENETUNREACH:
        return "ENETUNREACH";
    case EMFILE:
    case ENFILE:
        return "EMFILE";
    case EADDRNOTAVAIL:
        return "EADDRNOTAVAIL";
    case ENOMEM:
    case ENOBUFS:
        return "ENOMEM";
    default:
        return "EIO";
    }
}

static const char *err_name(enum vv_err err)
{
    switch (err) {
    case VV_EREFUSED:
        return "ECONNREFUSED";
    case VV_ERESET:
    case VV_ECLOSED:
        return "ECONNRESET";
    case VV_ETIMEOUT:
        return "ETIMEDOUT";
    case VV_EUNREACHABLE:
        return "EHOSTUNREACH";
    case VV_EFILES:
        return "EMFILE";
    case VV_ENOMEM:
        return "ENOMEM";
    default:
        return "EIO";
    }
}

static bool bytes_add(struct vv_load_bytes *b, const char *p, size_t n)
{
    if (b->cap - b->n < n) {
        size_t cap = b->cap > 0 ? b->cap : KEPT_FIRST;
        while (cap - b->n < n) {
            cap *= 2;
        }
        char *bigger = realloc(b->p, cap);
        if (bigger == NULL) {
            return false;
        }
        b->p = bigger;
        b->cap = cap;
    }
    if (n > 0) {
        memcpy(b->p + b->n, p, n);
    }
    b->n += n;
    return true;
}

static void bytes_fini(struct vv_load_bytes *b)
{
    free(b->p);
    *b = (struct vv_load_bytes){0};
}

enum vv_err vv_load_client_init(struct vv_load_client *c, struct vv_loop *loop)
{
    *c = (struct vv_load_client){
        .loop = loop, .buf = malloc(READ_BYTES), .head = malloc(sizeof(*c->head))};
    if (c->buf == NULL || c->head == NULL) {
        vv_load_client_fini(c);
        return VV_ENOMEM;
    }
    return VV_OK;
}

void vv_load_client_fini(struct vv_load_client *c)
{
    free(c->buf);
    free(c->head);
    bytes_fini(&c->ended);
    vv_tls_context_unref(c->tls);
    c->buf = NULL;
    c->head = NULL;
    c->tls = NULL;
}

bool vv_load_conn_is_open(const struct vv_load_conn *conn)
{
    return conn->state != ST_CLOSED;
}

void vv_load_conn_close(struct vv_load_conn *conn)
{
    if (conn->state != ST_CLOSED) {
        if (conn->tls != NULL) {
            (void)vv_tls_close(conn->tls); /* best effort: nobody waits for it to go out */
            vv_tls_free(conn->tls);
            conn->tls = NULL;
        }
        vv_loop_del(conn->client->loop, &conn->io, true);
        close(conn->io.fd);
        conn->io.fd = -1;
        conn->state = ST_CLOSED;
        conn->out = (struct vv_str){0};
        bytes_fini(&conn->kept);
    }
}

void vv_load_conn_rest(struct vv_load_conn *conn)
{
    if (conn->tls != NULL && conn->state == ST_IDLE) {
        vv_tls_idle(conn->tls);
    }
}

/* Ends the request in hand. The last thing to happen in a turn of this connection: `done` may have
 * sent the next request, or freed everything. */
static void finish(struct vv_load_conn *conn, struct vv_load_answer *a)
{
    struct vv_load_client *const c = conn->client;
    a->sent_ns = conn->sent_ns;
    a->first_byte_ns = conn->first_byte_ns;
    a->tls_connect_ns = conn->tls_connect_ns;
    conn->tls_connect_ns = 0;
    a->end_ns = vv_max_u64(a->end_ns, a->sent_ns);
    conn->done(conn, a);
    if (c->ended.cap > ENDED_KEEP) {
        bytes_fini(&c->ended);
    }
}

static void fail(struct vv_load_conn *conn, const char *error)
{
    struct vv_load_answer a = {.error = error, .end_ns = vv_loop_now(conn->client->loop)};
    vv_load_conn_close(conn);
    finish(conn, &a);
}

static void succeed(struct vv_load_conn *conn, struct vv_str body, unsigned reads)
{
    struct vv_load_client *const c = conn->client;
    struct vv_load_answer a = {.head = c->head, .body = body};
    a.end_ns = reads > 1 ? vv_clock_now() : vv_loop_now(c->loop);
    a.reusable = conn->reusable && !conn->peer_ended && conn->out.n == 0;
    conn->state = ST_IDLE;
    conn->used = true;
    if (!a.reusable) {
        vv_load_conn_close(conn);
    }
    finish(conn, &a);
}

/* ---- TLS ---- */

static void keep_reason(struct vv_load_client *c, const char *text)
{
    if (c->tls_error[0] == '\0') {
        (void)snprintf(c->tls_error, sizeof(c->tls_error), "%s", text);
    }
}

static const char *tls_failed(struct vv_load_conn *conn, enum vv_err err)
{
    const enum vv_tls_failure why = vv_tls_failure(conn->tls);
    char text[VV_TLS_ERROR_TEXT];
    if (err == VV_ENOMEM) {
        return "ENOMEM";
    }
    if (conn->state != ST_HANDSHAKE && (err == VV_ERESET || err == VV_ECLOSED)) {
        return "ECONNRESET";
    }
    keep_reason(conn->client, vv_tls_error(conn->tls, text));
    return why == VV_TLS_FAIL_IO || why == VV_TLS_FAIL_CLOSED ? "ECONNRESET" : "tls";
}

static const char *flush_tls(struct vv_load_conn *conn)
{
    enum vv_err err = VV_OK;
    if (conn->state == ST_CONNECTING || conn->state == ST_HANDSHAKE) {
        return NULL;
    }
    while (conn->out.n > 0 && err == VV_OK) {
        const struct iovec v = {(void *)(uintptr_t)conn->out.p, conn->out.n};
        size_t n = 0;
        err = vv_tls_write(conn->tls, &v, 1, 0, conn->sent_ns, &n);
        conn->client->bytes_out += n;
        conn->out.p += n;
        conn->out.n -= n;
    }
    if (err == VV_OK && vv_tls_unsent(conn->tls) > 0) {
        err = vv_tls_flush(conn->tls);
    }
    return err == VV_OK || err == VV_EAGAIN ? NULL : tls_failed(conn, err);
}

/* As recv() does it, but a failure is *reterr; NULL with -1: nothing is there. */
static ssize_t receive_tls(struct vv_load_conn *conn, const char **reterr)
{
    size_t n = 0;
    const enum vv_err err = vv_tls_read(conn->tls, conn->client->buf, READ_BYTES, &n);
    if (err == VV_OK || err == VV_ECLOSED) {
        return (ssize_t)n;
    }
    *reterr = err == VV_EAGAIN ? NULL : tls_failed(conn, err);
    return -1;
}

/* ---- sending and receiving ---- */

/* Writes what is left. NULL: done or waiting for room. */
static const char *flush(struct vv_load_conn *conn)
{
    if (conn->tls != NULL) {
        return flush_tls(conn);
    }
    while (conn->out.n > 0) {
        const ssize_t n = send(conn->io.fd, conn->out.p, conn->out.n, MSG_NOSIGNAL);
        if (n >= 0) {
            conn->client->bytes_out += (uint64_t)n;
            conn->out.p += n;
            conn->out.n -= (size_t)n;
        } else if (errno == EAGAIN || errno == ENOTCONN) {
            return NULL; /* the loop says when there is room, or when the connection stands */
        } else if (errno != EINTR) {
            return errno_name(errno);
        }
    }
    return NULL;
}

static void keep_more(struct vv_load_conn *conn, const char *p, size_t n, bool *ret_ok)
{
    if (!conn->wants_body) {
        return;
    }
    const size_t have = conn->kept.n - conn->head_bytes;
    const size_t room = VV_LOAD_BODY_MAX - (have < VV_LOAD_BODY_MAX ? have : VV_LOAD_BODY_MAX);
    *ret_ok = bytes_add(&conn->kept, p, n < room ? n : room);
}

/* Reads body bytes; extra ones behind the answer make the connection unusable. */
static enum verdict body_more(struct vv_load_conn *conn, struct vv_str in)
{
    bool ok = true;
    if (conn->state == ST_UNTIL_CLOSE) {
        keep_more(conn, in.p, in.n, &ok);
        return ok ? MORE : NO_MEMORY;
    }
    if (conn->state == ST_LENGTH) {
        const size_t n = in.n < conn->left ? in.n : (size_t)conn->left;
        keep_more(conn, in.p, n, &ok);
        conn->left -= n;
        conn->reusable = conn->reusable && n == in.n;
        return !ok ? NO_MEMORY : conn->left == 0 ? COMPLETE : MORE;
    }
    while (!conn->chunked.done) {
        size_t used = 0;
        struct vv_str data = {NULL, 0};
        const enum vv_err err = vv_h1_chunked_next(&conn->chunked, in, &used, &data);
        if (err == VV_EAGAIN) {
            return MORE;
        }
        if (err != VV_OK) {
            return BAD;
        }
        keep_more(conn, data.p, data.n, &ok);
        if (!ok) {
            return NO_MEMORY;
        }
        in.p += used;
        in.n -= used;
        if (used == 0 && !conn->chunked.done) {
            return MORE;
        }
    }
    conn->reusable = conn->reusable && in.n == 0;
    return COMPLETE;
}

/* The head is complete at in.p. Is the answer, too? *ret_body is set when it lies in `in`. */
static enum verdict after_head(struct vv_load_conn *conn, struct vv_str in, struct vv_str *ret_body)
{
    const struct vv_h1_head *h = conn->client->head;
    const struct vv_str rest = {in.p + h->head_bytes, in.n - h->head_bytes};
    conn->reusable = h->keep_alive;
    conn->head_bytes = h->head_bytes;
    switch (h->framing) {
    case VV_H1_BODY_NONE:
        conn->reusable = conn->reusable && rest.n == 0;
        return COMPLETE;
    case VV_H1_BODY_LENGTH:
        if (rest.n >= h->content_length) {
            const size_t n = (size_t)h->content_length;
            conn->reusable = conn->reusable && rest.n == n;
            ret_body->p = rest.p;
            ret_body->n = !conn->wants_body ? 0 : n < VV_LOAD_BODY_MAX ? n : VV_LOAD_BODY_MAX;
            return COMPLETE;
        }
        conn->state = ST_LENGTH;
        conn->left = h->content_length;
        break;
    case VV_H1_BODY_CHUNKED:
        conn->state = ST_CHUNKED;
        vv_h1_chunked_init(&conn->chunked);
        break;
    case VV_H1_BODY_CLOSE:
        conn->state = ST_UNTIL_CLOSE;
        conn->reusable = false;
        break;
    case VV_H1_BODY_TUNNEL:
        return BAD;
    }
    if (conn->state == ST_CHUNKED && !conn->wants_body) {
        const enum verdict v = body_more(conn, rest);
        if (v != MORE) {
            return v; /* complete in one piece: nothing to keep */
        }
        return bytes_add(&conn->kept, in.p, h->head_bytes) ? MORE : NO_MEMORY;
    }
    return bytes_add(&conn->kept, in.p, h->head_bytes) ? body_more(conn, rest) : NO_MEMORY;
}

/* Bytes of the head: the first read, or more of a head that began in `kept`. */
static enum verdict head_more(struct vv_load_conn *conn, struct vv_str in, struct vv_str *ret_body)
{
    struct vv_h1_head *const h = conn->client->head;
    struct vv_load_bytes began = conn->kept; /* owned here until it is clear who needs it */
    conn->kept = (struct vv_load_bytes){0};
    if (began.n > 0) {
        if (!bytes_add(&began, in.p, in.n)) {
            bytes_fini(&began);
            return NO_MEMORY;
        }
        in = (struct vv_str){began.p, began.n};
    }
    enum verdict v = MORE;
    for (bool interim = true; interim;) {
        vv_h1_head_init(h);
        h->scan = conn->scan;
        conn->scan = 0;
        const enum vv_err err = vv_h1_parse_answer(h, in, (enum vv_method)conn->method, &limits);
        interim = err == VV_OK && h->status < 200 && h->framing == VV_H1_BODY_NONE;
        if (interim) { /* 100 Continue, 103 Early Hints: the answer follows */
            in.p += h->head_bytes;
            in.n -= h->head_bytes;
        } else if (err == VV_EAGAIN) {
            conn->scan = h->scan;
            v = bytes_add(&conn->kept, in.p, in.n) ? MORE : NO_MEMORY;
        } else {
            v = err == VV_OK ? after_head(conn, in, ret_body) : BAD;
        }
    }
    if (v == COMPLETE && conn->kept.p == NULL) {
        bytes_fini(&conn->client->ended); /* the head's slices point into `began` */
        conn->client->ended = began;
    } else {
        bytes_fini(&began);
    }
    return v;
}

/* The answer is complete and its head lies in `kept`: hands that over and parses it once more. */
static bool reopen_head(struct vv_load_conn *conn, struct vv_str *ret_body)
{
    struct vv_load_client *const c = conn->client;
    bytes_fini(&c->ended);
    c->ended = conn->kept;
    conn->kept = (struct vv_load_bytes){0};
    vv_h1_head_init(c->head);
    const struct vv_str head = {c->ended.p, conn->head_bytes};
    if (vv_h1_parse_answer(c->head, head, (enum vv_method)conn->method, &limits) != VV_OK) {
        return false;
    }
    *ret_body = (struct vv_str){c->ended.p + conn->head_bytes, c->ended.n - conn->head_bytes};
    return true;
}

/* Answers of one piece never fill `kept`; all others come through here. */
static void judge(struct vv_load_conn *conn, enum verdict v, struct vv_str body, unsigned reads)
{
    if (v == COMPLETE && conn->kept.p != NULL && !reopen_head(conn, &body)) {
        v = BAD;
    }
    switch (v) {
    case COMPLETE:
        succeed(conn, body, reads);
        break;
    case BAD:
        fail(conn, "EPROTO");
        break;
    case NO_MEMORY:
        fail(conn, "ENOMEM");
        break;
    case MORE:
        break;
    }
}

static void ended_by_peer(struct vv_load_conn *conn, unsigned reads)
{
    if (conn->state == ST_IDLE) {
        vv_load_conn_close(conn);
        conn->gone(conn);
    } else if (conn->state == ST_UNTIL_CLOSE) {
        conn->peer_ended = true;
        judge(conn, COMPLETE, (struct vv_str){0}, reads);
    } else {
        fail(conn, "ECONNRESET"); /* what Node calls "socket hang up" */
    }
}

/* error NULL: nothing broke. */
static void broke(struct vv_load_conn *conn, const char *error)
{
    if (error != NULL && conn->state == ST_IDLE) {
        vv_load_conn_close(conn);
        conn->gone(conn);
    } else if (error != NULL) {
        fail(conn, error);
    }
}

static void read_answer(struct vv_load_conn *conn)
{
    struct vv_load_client *const c = conn->client;
    for (unsigned reads = 1;; reads++) {
        const char *error = NULL;
        const ssize_t got = conn->tls == NULL ? recv(conn->io.fd, c->buf, READ_BYTES, 0)
                                              : receive_tls(conn, &error);
        if (got == 0) {
            ended_by_peer(conn, reads);
            return;
        }
        if (got < 0) {
            if (conn->tls == NULL && errno == EINTR) {
                continue;
            }
            if (conn->tls == NULL && errno != EAGAIN) {
                error = errno_name(errno);
            }
            broke(conn, error);
            return;
        }
        c->bytes_in += (uint64_t)got;
        if (conn->state == ST_IDLE) { /* an answer to nothing */
            vv_load_conn_close(conn);
            conn->gone(conn);
            return;
        }
        if (conn->first_byte_ns == 0) {
            conn->first_byte_ns = vv_max_u64(vv_loop_now(c->loop), conn->sent_ns);
        }
        struct vv_str body = {NULL, 0};
        const struct vv_str in = {c->buf, (size_t)got};
        const enum verdict v =
            conn->state == ST_HEAD ? head_more(conn, in, &body) : body_more(conn, in);
        if (v != MORE) {
            judge(conn, v, body, reads);
            return;
        }
        if ((size_t)got < READ_BYTES && !conn->peer_ended) {
            return; /* short: the socket is empty, the next bytes are a new event */
        }
    }
}

/* An event before the connection stood. True: it does now, and what waits may go on. */
static bool stand(struct vv_load_conn *conn, uint32_t *events)
{
    if (conn->state == ST_CONNECTING) {
        if ((*events & (VV_IO_WRITE | VV_IO_ERROR | VV_IO_HUP)) == 0) {
            return false;
        }
        const enum vv_err err = vv_sock_error(conn->io.fd);
        if (err != VV_OK) {
            fail(conn, err_name(err));
            return false;
        }
        conn->state = conn->tls == NULL ? ST_HEAD : ST_HANDSHAKE;
    }
    if (conn->tls != NULL) {
        const enum vv_err err = vv_tls_handshake(conn->tls);
        if (err != VV_OK) {
            if (err != VV_EAGAIN) {
                fail(conn, tls_failed(conn, err));
            }
            return false;
        }
        conn->state = ST_HEAD;
        conn->tls_connect_ns = vv_max_u64(vv_clock_now() - conn->opened_ns, 1);
        *events |= VV_IO_READ | VV_IO_WRITE; /* their edges went by during the handshake */
    }
    return true;
}

static void on_io(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    struct vv_load_conn *conn = VV_CONTAINER(io, struct vv_load_conn, io);
    (void)loop;
    if ((events & (VV_IO_RDHUP | VV_IO_HUP)) != 0) {
        conn->peer_ended = true;
        if (conn->tls != NULL) {
            vv_tls_read_to_end(conn->tls);
        }
    }
    if (conn->state <= ST_HANDSHAKE && !stand(conn, &events)) {
        return;
    }
    if ((conn->out.n > 0 || conn->tls != NULL) && (events & VV_IO_WRITE) != 0) {
        const char *error = flush(conn);
        if (error != NULL) {
            broke(conn, error);
            return;
        }
    }
    if ((events & (VV_IO_READ | VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) != 0) {
        read_answer(conn);
    }
}

/* The kernel holds back the tail of a request of several segments until the others are acknowledged.
 * Shorter requests never wait: whatever was sent before them has its answer. A failure is harmless:
 * only slower. */
static void send_at_once(struct vv_load_conn *conn)
{
    const int on = 1;
    (void)setsockopt(conn->io.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    conn->at_once = true;
}

void vv_load_conn_init(struct vv_load_conn *conn, struct vv_load_client *client,
                       vv_load_done_fn *done, vv_load_gone_fn *gone)
{
    *conn = (struct vv_load_conn){
        .io = {.fn = on_io, .fd = -1}, .client = client, .done = done, .gone = gone};
    conn->number = client->made;
    client->made = (uint8_t)((client->made + 1) % SESSIONS_NAME);
    vv_list_init(&conn->node);
}

const char *vv_load_conn_open(struct vv_load_conn *conn, const struct vv_addr *to)
{
    const int family = to->sa.sa_family;
    const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno_name(errno);
    }
    /* The request follows at once and carries the acknowledgement of the handshake: without this the
     * kernel sends a packet for it alone, which costs as much as a system call on each side. */
    const int quick = 0;
    const bool tcp = family != AF_UNIX;
    if ((tcp && setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof quick) != 0) ||
        (connect(fd, &to->sa, to->len) != 0 && errno != EINPROGRESS)) {
        const char *error = errno == EAGAIN && !tcp ? "ECONNREFUSED" : errno_name(errno);
        close(fd);
        return error;
    }
    conn->io.fd = fd;
    conn->state = ST_CONNECTING;
    conn->peer_ended = conn->used = false;
    conn->tls_connect_ns = 0; /* the last one may have been given up before it was told */
    conn->at_once = !tcp;     /* a unix socket has nothing to wait for */
    conn->client->connections++;
    return NULL;
}

enum vv_err vv_load_client_trust(struct vv_load_client *c, const struct vv_load_trust *trust)
{
    static const char *const alpn[] = {"http/1.1"};
    const struct vv_tls_client_conf conf = {.ca_file = trust->ca_file,
                                            .alpn = alpn,
                                            .alpn_count = VV_COUNT(alpn),
                                            .sessions_max = SESSIONS_MAX,
                                            .insecure = trust->insecure};
    struct vv_sb why = VV_SB_INIT;
    const enum vv_err err = c->tls == NULL ? vv_tls_client_new(&conf, &why, &c->tls) : VV_OK;
    if (err != VV_OK) {
        keep_reason(c, why.n > 0 && !why.failed ? why.p : vv_err_text(err));
    }
    vv_sb_fini(&why);
    return err;
}

const char *vv_load_conn_open_tls(struct vv_load_conn *conn, const struct vv_addr *to,
                                  const char *name, uint16_t port)
{
    struct vv_load_client *const c = conn->client;
    /* Tickets are used once: each connection has its own. A name has up to 253 characters. */
    char key[300];
    const int n = snprintf(key, sizeof(key), "%s %u %u", name, port, conn->number);
    const uint64_t now_ns = vv_clock_now();
    const char *error = vv_load_conn_open(conn, to);
    if (error != NULL) {
        return error;
    }
    const enum vv_err err =
        n < (int)sizeof(key)
            ? vv_tls_connect_keyed(c->tls, conn->io.fd, name, key, &c->tls_stats, &conn->tls)
            : VV_EINVAL;
    if (err != VV_OK) {
        vv_load_conn_close(conn);
        if (err != VV_EINVAL) {
            return err_name(err);
        }
        keep_reason(c, "no certificate can be for the name of this URL");
        return "tls";
    }
    conn->opened_ns = now_ns;
    if (!conn->at_once) {
        send_at_once(conn); /* the flights of a handshake must not wait for each other */
    }
    return NULL;
}

const char *vv_load_conn_send(struct vv_load_conn *conn, const struct vv_load_ask *ask)
{
    conn->out = ask->bytes;
    conn->method = (uint8_t)ask->method;
    conn->wants_body = ask->wants_body;
    conn->first_byte_ns = conn->left = 0;
    conn->scan = conn->head_bytes = 0;
    if (ask->bytes.n > SEGMENT_BYTES && !conn->at_once) {
        send_at_once(conn);
    }
    conn->sent_ns = vv_clock_now();
    const char *error = flush(conn);
    if (error == NULL && conn->state != ST_CONNECTING) {
        conn->state = ST_HEAD;
    } else if (error == NULL && conn->out.n == 0) {
        conn->state = ST_HEAD; /* the connection took the bytes, so it stands */
    }
    if (error == NULL && !conn->io.added) {
        const enum vv_err err = vv_loop_add(conn->client->loop, &conn->io);
        error = err != VV_OK ? err_name(err) : NULL;
    }
    if (error != NULL) {
        vv_load_conn_close(conn);
    }
    return error;
}
