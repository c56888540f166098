/* src/gateway/resp_session.c - one application's connection: bytes to commands, answers to bytes. An idle
 * client holds no buffer; one that does not read stops being read, and stops the store's answer for a
 * moment, but never for long, since others wait behind it. */
#include "gateway/resp_int.h"
#include "os/sock.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define READS_A_TURN 16
#define LAST_READS 64
#define INLINE_WORDS 1024
#define KEEP_TEXT 1024 /* memory that a spare command keeps */
#define KEEP_OUT 4096  /* and a client between two answers */
#define SPARE_MAX 1024
#define SEND_AT_ONCE (256u << 10)

static size_t unread(const struct vv_resp_client *c)
{
    return c->out.n - c->out_at;
}

static bool may_take(const struct vv_resp_client *c)
{
    return !c->dead && !c->closing && c->stuck == NULL && c->queued < RESP_QUEUE &&
           c->queued_bytes < RESP_QUEUE_BYTES && unread(c) < RESP_OUT_HIGH;
}

/* ---- commands ---- */

static struct vv_resp_cmd *cmd_new(struct vv_resp_client *c)
{
    struct vv_resp_front *f = c->front;
    struct vv_resp_cmd *cmd = NULL;
    if (!vv_list_empty(&f->spare)) {
        cmd = VV_LIST_ENTRY(f->spare.next, struct vv_resp_cmd, node);
        vv_list_del(&cmd->node);
        f->spares--;
    } else {
        cmd = calloc(1, sizeof *cmd);
        if (cmd == NULL) {
            return NULL;
        }
        vv_list_init(&cmd->node);
        cmd->args = cmd->args_few;
        cmd->args_cap = VV_COUNT(cmd->args_few);
    }
    cmd->client = c;
    return cmd;
}

static void keep_little(struct vv_resp_bytes *b)
{
    b->n = 0;
    if (b->cap > KEEP_TEXT) {
        vv_resp_bytes_fini(b);
    }
}

static void cmd_free(struct vv_resp_front *f, struct vv_resp_cmd *cmd)
{
    f->bytes -= cmd->bytes + cmd->held;
    vv_list_del(&cmd->node);
    vv_resp_split_free(cmd->split);
    if (cmd->args != cmd->args_few) {
        free(cmd->args);
    }
    keep_little(&cmd->text);
    keep_little(&cmd->answer);
    if (f->spares >= SPARE_MAX) {
        vv_resp_bytes_fini(&cmd->text);
        vv_resp_bytes_fini(&cmd->answer);
        free(cmd);
        return;
    }
    const struct vv_resp_bytes text = cmd->text;
    const struct vv_resp_bytes answer = cmd->answer;
    *cmd = (struct vv_resp_cmd){.text = text, .answer = answer};
    vv_list_init(&cmd->node);
    cmd->args = cmd->args_few;
    cmd->args_cap = VV_COUNT(cmd->args_few);
    vv_list_push_front(&f->spare, &cmd->node);
    f->spares++;
}

/* An argument begins. */
static bool add_arg(struct vv_resp_cmd *cmd)
{
    if (cmd->args_n == cmd->args_cap) {
        const size_t cap = cmd->args_cap * 2;
        struct vv_str *args = malloc(cap * sizeof *args);
        if (args == NULL) {
            return false;
        }
        memcpy(args, cmd->args, cmd->args_n * sizeof *args);
        if (cmd->args != cmd->args_few) {
            free(cmd->args);
        }
        cmd->args = args;
        cmd->args_cap = cap;
    }
    cmd->args[cmd->args_n++] = (struct vv_str){NULL, 0}; /* placed when all texts are there */
    return true;
}

/* Counts what the command holds. False: it is too large, or all together are. */
static bool charge(struct vv_resp_cmd *cmd)
{
    struct vv_resp_front *f = cmd->client->front;
    const size_t bytes = cmd->text.n + cmd->args_n * sizeof *cmd->args;
    f->bytes += bytes - cmd->bytes;
    cmd->bytes = bytes;
    if (!cmd->client->authed && bytes > RESP_STRANGER_MAX) {
        return false;
    }
    return bytes <= RESP_COMMAND_MAX && (f->bytes <= RESP_BUDGET || bytes <= RESP_LITTLE);
}

bool vv_resp_cmd_hold(struct vv_resp_cmd *cmd)
{
    struct vv_resp_front *f = cmd->client->front;
    const size_t held =
        cmd->answer.n + (cmd->split != NULL ? cmd->split->cost + cmd->split->bytes : 0);
    f->bytes += held - cmd->held;
    cmd->held = held;
    return f->bytes <= RESP_BUDGET || held <= RESP_OUT_HIGH;
}

static void complete(struct vv_resp_client *c, struct vv_resp_cmd *cmd)
{
    const char *p = cmd->text.p;
    for (size_t i = 0; i < cmd->args_n; i++) {
        cmd->args[i].p = p != NULL ? p : "";
        p += cmd->args[i].n;
    }
    c->building = NULL;
    cmd->began_ns = vv_worker_now(c->front->w);
    cmd->version = c->version;
    vv_list_push_back(&c->queue, &cmd->node);
    c->queued++;
    c->queued_bytes += cmd->bytes;
    vv_resp_ask(cmd);
}

/* An error nobody asked for, behind all answers; then the connection ends. */
static void complain(struct vv_resp_client *c, const char *text)
{
    struct vv_resp_cmd *cmd = c->building != NULL ? c->building : cmd_new(c);
    c->building = NULL;
    if (cmd == NULL) {
        vv_resp_client_close(c);
        return;
    }
    cmd->began_ns = vv_worker_now(c->front->w);
    vv_list_push_back(&c->queue, &cmd->node);
    c->queued++;
    c->queued_bytes += cmd->bytes;
    c->closing = true;
    vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED, "ERR %s", text);
}

static void on_line(struct vv_resp_client *c, struct vv_str line)
{
    struct vv_str word[INLINE_WORDS];
    size_t words = 0;
    struct vv_resp_cmd *cmd = cmd_new(c);
    if (cmd == NULL || !vv_resp_bytes_room(&cmd->text, line.n + 1)) {
        c->building = cmd;
        complain(c, "no memory for this command");
        return;
    }
    c->building = cmd;
    const enum vv_err err = vv_resp_inline_split(line, cmd->text.p, word, VV_COUNT(word), &words);
    if (err != VV_OK) {
        complain(c, err == VV_ESYNTAX ? "protocol error: unbalanced quotes in a line"
                                      : "protocol error: too many words in a line");
        return;
    }
    if (words == 0) {
        c->building = NULL;
        cmd_free(c->front, cmd);
        return;
    }
    for (size_t i = 0; i < words; i++) {
        if (!add_arg(cmd)) {
            complain(c, "no memory for this command");
            return;
        }
        cmd->args[i].n = word[i].n;
        /* Words lie one behind the other, as the arguments do. */
        memmove(cmd->text.p + cmd->text.n, word[i].p, word[i].n);
        cmd->text.n += word[i].n;
    }
    if (!charge(cmd)) {
        complain(c, "this command and those of others are too large together");
        return;
    }
    complete(c, cmd);
}

static void on_run(struct vv_resp_client *c, const struct vv_resp_item *it)
{
    struct vv_resp_cmd *cmd = c->building;
    if ((it->first && !add_arg(cmd)) || !vv_resp_bytes_add(&cmd->text, it->text)) {
        complain(c, "no memory for this command");
        return;
    }
    cmd->args[cmd->args_n - 1].n += it->text.n;
    if (!charge(cmd)) {
        complain(c, cmd->bytes > RESP_COMMAND_MAX ? "protocol error: a command of more than 64 MiB"
                    : !c->authed
                        ? "protocol error: before the password a command has 16 KiB at most"
                        : "the gateway has no memory for this command now");
        return;
    }
    if (it->done) {
        complete(c, cmd);
    }
}

static void on_item(struct vv_resp_client *c, const struct vv_resp_item *it)
{
    switch (it->type) {
    case VV_RESP_INLINE:
        on_line(c, it->text);
        break;
    case VV_RESP_BULK:
        on_run(c, it);
        break;
    default:
        if (it->depth > 0) {
            complain(c, "protocol error: a command has strings, and no other things");
        } else if (!it->done) { /* an empty command means nothing */
            c->building = cmd_new(c);
            if (c->building == NULL) {
                vv_resp_client_close(c);
            }
        }
    }
}

static void refuse_bytes(struct vv_resp_client *c, enum vv_err err)
{
    complain(c, err == VV_ELIMIT ? "protocol error: a line or a number is too large"
                                 : "protocol error: an array of strings or a line was expected");
}

/* ---- reading ---- */

/* Room to read into: NULL when memory is out. */
static struct vv_buf *room(struct vv_resp_client *c)
{
    struct vv_bufs *bufs = &c->front->w->bufs;
    const bool large = c->building != NULL && c->building->text.n > VV_BUF_SMALL / 2;
    if (c->in == NULL) {
        c->in = vv_buf_get(bufs, large ? VV_BUF_LARGE : VV_BUF_SMALL);
        return c->in;
    }
    struct vv_buf *b = c->in;
    if (b->start > 0) {
        memmove(b->data, b->data + b->start, vv_buf_len(b));
        b->end -= b->start;
        b->start = 0;
    }
    if (vv_buf_room(b) < VV_BUF_SMALL / 4 && b->cap < VV_BUF_LARGE) {
        struct vv_buf *more = vv_buf_get(bufs, VV_BUF_LARGE);
        if (more == NULL) {
            return NULL;
        }
        memcpy(more->data, b->data, b->end);
        more->end = b->end;
        vv_buf_put(bufs, b);
        c->in = more;
    }
    return c->in;
}

/* One read; false: nothing more to be had now. */
static bool fill(struct vv_resp_client *c)
{
    struct vv_buf *b = room(c);
    ssize_t n = 0;
    if (b == NULL || vv_buf_room(b) == 0) {
        vv_resp_client_close(c);
        return false;
    }
    const size_t want = vv_buf_room(b);
    do {
        n = vv_sock_recv(c->io.fd, b->data + b->end, want);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        c->readable = false;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            vv_resp_client_close(c);
        }
        return false;
    }
    if (n == 0) {
        c->readable = false;
        c->closing = true; /* what was asked before is still answered */
        return false;
    }
    b->end += (uint32_t)n;
    c->given_ns = vv_worker_now(c->front->w);
    if ((size_t)n < want && !c->at_end) {
        c->readable = false;
    }
    return true;
}

static void take(struct vv_resp_client *c)
{
    unsigned reads = 0;
    while (may_take(c)) {
        enum vv_err err = VV_EAGAIN;
        if (c->in != NULL && vv_buf_len(c->in) > 0) {
            struct vv_resp_item it;
            size_t used = 0;
            const struct vv_str bytes = {c->in->data + c->in->start, vv_buf_len(c->in)};
            err = vv_resp_next(&c->reader, bytes, &used, &it);
            c->in->start += (uint32_t)used;
            if (err == VV_OK) {
                on_item(c, &it);
                continue;
            }
        }
        if (err != VV_EAGAIN) {
            refuse_bytes(c, err);
            break;
        }
        if (!c->readable) {
            break;
        }
        if (reads++ == READS_A_TURN) {
            vv_loop_defer(c->front->w->loop, &c->work);
            break;
        }
        if (!fill(c)) {
            break;
        }
    }
    if (c->in != NULL && (vv_buf_len(c->in) == 0 || c->closing || c->dead)) {
        vv_buf_put(&c->front->w->bufs, c->in);
        c->in = NULL;
    }
}

/* ---- writing ---- */

static void tell_budget(struct vv_resp_client *c)
{
    c->front->bytes += unread(c) - c->out_told;
    c->out_told = unread(c);
}

static void resume(struct vv_resp_client *c)
{
    if (c->paused != NULL) {
        struct vv_redis_op *op = c->paused;
        c->paused = NULL;
        vv_redis_resume(op);
    }
}

static void all_left(struct vv_resp_client *c)
{
    c->out.n = c->out_at = 0;
    if (c->out.cap > KEEP_OUT) {
        vv_resp_bytes_fini(&c->out);
    }
}

/* Everything has been said. Bytes that came and were not read would make the kernel answer with a reset,
 * which can overtake our last words: they are read, up to a bound. */
static void take_leave(struct vv_resp_client *c)
{
    char nothing[4096];
    (void)shutdown(c->io.fd, SHUT_WR);
    for (unsigned i = 0; i < LAST_READS; i++) {
        if (vv_sock_recv(c->io.fd, nothing, sizeof nothing) <= 0) {
            break;
        }
    }
    vv_resp_client_close(c);
}

static bool first_done(const struct vv_resp_client *c)
{
    return !vv_list_empty(&c->queue) &&
           VV_LIST_ENTRY(c->queue.next, struct vv_resp_cmd, node)->done;
}

static void flush(struct vv_resp_client *c)
{
    struct vv_worker *w = c->front->w;
    while (unread(c) > 0) {
        const ssize_t n =
            vv_sock_send(c->io.fd, c->out.p + c->out_at, unread(c), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                vv_resp_client_close(c);
                return;
            }
            break;
        }
        c->out_at += (size_t)n;
        c->progress_ns = vv_worker_now(w);
    }
    if (unread(c) == 0) {
        all_left(c);
    }
    tell_budget(c);
    if (unread(c) < RESP_OUT_LOW) {
        c->overdrawn = false;
        resume(c);
    }
    if (unread(c) > 0 && c->paused == NULL) {
        vv_loop_timer_at(w->loop, &c->timer, c->progress_ns + RESP_STUCK_NS);
    }
    if (c->closing && unread(c) == 0 && vv_list_empty(&c->queue)) {
        take_leave(c);
    } else if (unread(c) < RESP_OUT_LOW && first_done(c)) {
        vv_resp_client_pump(c);
    }
}

/* Puts bytes behind what is to be sent. */
static bool put_out(struct vv_resp_client *c, struct vv_resp_bytes *from)
{
    if (unread(c) == 0) {
        c->progress_ns = vv_worker_now(c->front->w);
        if (c->out.cap < from->n) { /* nothing waits: the bytes change hands instead of place */
            const struct vv_resp_bytes mine = c->out;
            c->out = *from;
            c->out_at = 0;
            *from = mine;
            from->n = 0;
            return true;
        }
    }
    if (c->out_at > 0 && c->out.cap - c->out.n < from->n) {
        memmove(c->out.p, c->out.p + c->out_at, unread(c));
        c->out.n -= c->out_at;
        c->out_at = 0;
    }
    const bool fine = vv_resp_bytes_add(&c->out, (struct vv_str){from->p, from->n});
    from->n = 0;
    return fine;
}

void vv_resp_client_pump(struct vv_resp_client *c)
{
    VV_LIST_EACH (it, &c->queue) {
        struct vv_resp_cmd *cmd = VV_LIST_ENTRY(it, struct vv_resp_cmd, node);
        /* Those that are done wait, and are counted, while the client does not read. */
        if (c->dead || !cmd->done || unread(c) >= RESP_OUT_HIGH) {
            break;
        }
        c->queued--;
        c->queued_bytes -= cmd->bytes;
        const bool fine = put_out(c, &cmd->answer);
        cmd_free(c->front, cmd);
        if (!fine) {
            vv_resp_client_close(c);
            return;
        }
    }
    if (!c->dead) {
        tell_budget(c);
        vv_resp_client_wake(c);
    }
}

bool vv_resp_client_stream(struct vv_resp_client *c, struct vv_resp_cmd *cmd,
                           struct vv_redis_op *op)
{
    if (c->queue.next == &cmd->node) {
        cmd->streams = true;
        if (!put_out(c, &cmd->answer)) {
            vv_resp_client_close(c);
            return false;
        }
        if (unread(c) >= SEND_AT_ONCE) {
            flush(c);
        }
        if (c->dead) {
            return false;
        }
    }
    tell_budget(c);
    (void)vv_resp_cmd_hold(cmd);
    const size_t waits = unread(c) + cmd->answer.n;
    if (waits > RESP_OUT_MAX || (c->front->bytes > RESP_BUDGET && waits > RESP_OUT_HIGH)) {
        vv_resp_client_close(c);
        return false;
    }
    if (waits > RESP_OUT_HIGH && !c->overdrawn && c->paused == NULL) {
        c->paused = op;
        c->paused_ns = vv_worker_now(c->front->w);
        vv_redis_pause(op);
        vv_loop_timer_at(c->front->w->loop, &c->timer, c->paused_ns + RESP_PATIENCE_NS);
    }
    return true;
}

/* ---- life ---- */

static void work(struct vv_resp_client *c)
{
    c->parsing = true;
    take(c);
    c->parsing = false;
    if (c->dead) {
        return;
    }
    const bool held = !may_take(c);
    if (c->building != NULL && unread(c) == 0 && c->paused == NULL) {
        vv_loop_timer_at(c->front->w->loop, &c->timer, c->given_ns + RESP_STUCK_NS);
    }
    flush(c);
    if (!c->dead && held && may_take(c)) {
        vv_resp_client_wake(c);
    }
}

static void on_work(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    work(VV_CONTAINER(d, struct vv_resp_client, work));
}

void vv_resp_client_wake(struct vv_resp_client *c)
{
    if (!c->parsing && !c->dead) {
        vv_loop_defer(c->front->w->loop, &c->work);
    }
}

static void on_io(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    struct vv_resp_client *c = VV_CONTAINER(io, struct vv_resp_client, io);
    (void)loop;
    if ((events & (VV_IO_READ | VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) != 0) {
        c->readable = true;
    }
    if ((events & (VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) != 0) {
        c->at_end = true; /* read on until there is nothing, also after a short read */
    }
    if ((events & (VV_IO_HUP | VV_IO_ERROR)) != 0 && !may_take(c)) {
        vv_resp_client_close(c); /* it has gone both ways: nobody reads answers */
        return;
    }
    work(c);
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_resp_client *c = VV_CONTAINER(t, struct vv_resp_client, timer);
    const uint64_t now_ns = vv_loop_now(loop);
    if (c->paused != NULL) { /* others have waited enough: its answer is kept for it */
        c->overdrawn = true;
        resume(c);
    }
    const bool half = c->building != NULL && may_take(c); /* that we do not read is not its fault */
    if (unread(c) == 0 && !half) {
        return;
    }
    const uint64_t since_ns = unread(c) > 0 ? c->progress_ns : c->given_ns;
    if (now_ns - since_ns >= RESP_STUCK_NS) {
        vv_resp_client_close(c);
        return;
    }
    vv_loop_timer_at(loop, t, since_ns + RESP_STUCK_NS);
}

void vv_resp_client_open(struct vv_resp_front *f, int fd, const struct vv_addr *peer)
{
    struct vv_resp_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        vv_resp_front_left(f);
        return;
    }
    /* As the server does: no idle time-out, but a peer that vanished is found out. */
    const int on = 1;
    const int idle_s = 60;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, 4 /* TCP_KEEPIDLE */, &idle_s, sizeof idle_s);
    c->front = f;
    c->peer = *peer;
    c->io = (struct vv_io){.fn = on_io, .fd = fd};
    c->id = vv_resp_front_id(f);
    c->since_ns = c->progress_ns = vv_worker_now(f->w);
    c->version = 2;
    c->authed = f->password == NULL;
    c->work.fn = on_work;
    vv_list_init(&c->work.node);
    vv_list_init(&c->queue);
    vv_list_init(&c->node);
    vv_list_init(&c->waiting);
    vv_timer_init(&c->timer, on_timer);
    vv_resp_reader_init(&c->reader, NULL, true);
    vv_list_push_back(&f->clients, &c->node);
    if (vv_loop_add(f->w->loop, &c->io) != VV_OK) {
        vv_resp_client_close(c);
    }
}

static void bury(struct vv_worker *w, struct vv_corpse *corpse)
{
    struct vv_resp_client *c = VV_CONTAINER(corpse, struct vv_resp_client, corpse);
    struct vv_resp_front *f = c->front;
    VV_LIST_EACH (it, &c->queue) {
        cmd_free(f, VV_LIST_ENTRY(it, struct vv_resp_cmd, node));
    }
    if (c->building != NULL) {
        cmd_free(f, c->building);
    }
    vv_buf_put(&w->bufs, c->in);
    f->bytes -= c->out_told;
    vv_resp_bytes_fini(&c->out);
    free(c);
    vv_resp_front_left(f);
}

void vv_resp_client_close(struct vv_resp_client *c)
{
    struct vv_loop *loop = c->front->w->loop;
    if (c->dead) {
        return;
    }
    resume(c); /* while its operation is known: others wait behind it */
    c->dead = true;
    vv_loop_timer_stop(loop, &c->timer);
    vv_loop_defer_stop(&c->work);
    vv_loop_del(loop, &c->io, true);
    vv_close_fd(&c->io.fd);
    vv_list_del(&c->node);
    vv_list_del(&c->waiting);
    c->stuck = NULL;
    VV_LIST_EACH (it, &c->queue) {
        vv_resp_cmd_drop(VV_LIST_ENTRY(it, struct vv_resp_cmd, node));
    }
    c->corpse.bury = bury;
    vv_worker_bury(c->front->w, &c->corpse);
}

void vv_resp_client_retire(struct vv_resp_client *c)
{
    c->closing = true;
    if (vv_list_empty(&c->queue) && unread(c) == 0) {
        vv_resp_client_close(c);
    }
}

void vv_resp_spare_free(struct vv_resp_front *f)
{
    VV_LIST_EACH (it, &f->spare) {
        struct vv_resp_cmd *cmd = VV_LIST_ENTRY(it, struct vv_resp_cmd, node);
        vv_list_del(&cmd->node);
        vv_resp_bytes_fini(&cmd->text);
        vv_resp_bytes_fini(&cmd->answer);
        free(cmd);
    }
}
