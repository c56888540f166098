/* src/gateway/checks.c - one small client per server instead of the workers' upstream code: a probe
 * must not share connections, limits or counters with the traffic whose fate it decides.
 *
 * Groups (a service with a check) follow the runtime's generation, probers (a server of a group) the
 * generation of the service's set, so a tick in which nothing changed only looks at the clocks. */
#include "gateway/checks.h"

#include "balance/check.h"
#include "gateway/checks_h2.h"
#include "gateway/upstream_tls.h"
#include "observe/log.h"
#include "wire/http1.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MAX (64 * VV_KIB) /* of an answer; its head must end before that */
#define READ_FIRST 4096
#define STEP_NS (100 * VV_MS) /* between the first probes of two servers of a service, at most */
#define STATUS_MAX 600
#define REASON_BYTES 128

enum { HTTP, TCP, GRPC }; /* group.type, as in check_types */

struct group { /* one service with a check */
    struct vv_list node;
    struct vv_checks *checks;
    struct vv_service_state *state; /* counted */
    struct vv_check_conf timing;
    uint64_t type;
    char *path, *host;          /* host NULL: the server's name */
    struct vv_service_tls *tls; /* counted; NULL: none */
    bool http2;
    bool good[STATUS_MAX];
    uint64_t set_generation;
    struct vv_list probers;
    bool seen; /* by the update that is running */
};

struct prober { /* one server */
    struct vv_list node;
    struct group *group;
    struct vv_server *server; /* counted */
    struct vv_check check;
    bool passed;  /* at least once since the prober is there */
    bool waiting; /* due, but we had no descriptor or memory: not the server's fault */
    bool seen;
    vv_series s_ok, s_fail;
    /* while a probe is out */
    bool connected; /* and, over TLS, the server is who it should be */
    struct vv_tls *tls;
    struct vv_io io; /* fd -1: no probe is out */
    struct vv_timer timer;
    char *request;
    size_t request_bytes, sent_bytes;
    char *in;
    size_t in_cap, in_bytes, read_bytes;
    struct vv_h1_head *head;
    struct vv_check_h2 *h2; /* NULL: HTTP/1.1 is spoken */
};

struct vv_checks {
    struct vv_loop *loop;
    struct vv_metrics *metrics;
    struct vv_shard *shard;
    struct vv_list groups;
    uint64_t generation; /* of the runtime seen last */
};

/* ---- one probe ---- */

static void probe_close(struct prober *p)
{
    struct vv_loop *loop = p->group->checks->loop;
    vv_loop_timer_stop(loop, &p->timer);
    if (p->io.fd >= 0) {
        vv_loop_del(loop, &p->io, true);
        if (p->tls != NULL) {
            (void)vv_tls_close(p->tls); /* as far as the socket takes it */
            vv_tls_free(p->tls);
            p->tls = NULL;
        }
        close(p->io.fd);
        p->io.fd = -1;
    }
    free(p->request);
    free(p->in);
    free(p->head);
    vv_check_h2_free(p->h2);
    p->h2 = NULL;
    p->request = p->in = NULL;
    p->head = NULL;
    p->in_cap = p->in_bytes = p->read_bytes = 0;
}

static void finish(struct prober *p, bool ok, const char *reason)
{
    struct vv_checks *c = p->group->checks;
    const uint64_t now = vv_loop_now(c->loop);
    const char *service = vv_service_state_name(p->group->state);
    probe_close(p);
    p->passed |= ok;
    vv_metric_add(c->shard, ok ? p->s_ok : p->s_fail, 1);
    const bool changed = vv_check_result(&p->check, ok, now);
    if (!ok) {
        vv_debug("checks", "bad probe service=%s server=%s reason=\"%s\"", service, p->server->name,
                 reason);
    }
    if (!changed) {
        return;
    }
    vv_server_check_result(p->server, p->check.up, now);
    if (p->check.up) {
        vv_info("checks", "server is back service=%s server=%s", service, p->server->name);
    } else {
        vv_warn("checks", "server is down service=%s server=%s reason=\"%s\"", service,
                p->server->name, reason);
    }
}

static void fail_err(struct prober *p, const char *what, enum vv_err err)
{
    char reason[REASON_BYTES];
    snprintf(reason, sizeof reason, "%s: %s", what, vv_err_text(err));
    finish(p, false, reason);
}

static void on_timeout(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    struct prober *p = VV_CONTAINER(t, struct prober, timer);
    finish(p, false, p->connected ? "no answer in time" : "no connection in time");
}

/* A Host that says what a client of this server would say. */
static void add_host(struct vv_sb *out, const struct prober *p)
{
    struct vv_str name = vv_str_from(p->server->name);
    if (vv_url_is_secure(p->server->name)) {
        name = (struct vv_str){name.p + 8, name.n - 8};
    }
    if (p->group->host != NULL && vv_h1_is_field_value(vv_str_from(p->group->host))) {
        vv_sb_adds(out, p->group->host);
    } else if (p->server->addr.sa.sa_family == AF_UNIX) {
        vv_sb_adds(out, "localhost");
    } else if (vv_str_find_char(name, '/') >= 0) { /* resolved: "name/address:port" */
        vv_sb_add(out, vv_str_cut(&name, '/'));
        vv_sb_addf(out, ":%u", vv_addr_port(&p->server->addr));
    } else {
        vv_sb_add(out, name);
    }
}

static bool make_request(struct prober *p)
{
    struct vv_sb out = VV_SB_INIT;
    vv_sb_adds(&out, "GET ");
    for (const char *c = p->group->path; *c != '\0'; c++) {
        const unsigned char byte = (unsigned char)*c;
        if (byte <= ' ' || byte >= 0x7f) { /* would end the request line, or is no URI byte */
            vv_sb_addf(&out, "%%%02X", byte);
        } else {
            vv_sb_addc(&out, *c);
        }
    }
    vv_sb_adds(&out, " HTTP/1.1\r\nHost: ");
    add_host(&out, p);
    vv_sb_adds(&out, "\r\nUser-Agent: vivace-check\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    p->request_bytes = out.n;
    p->sent_bytes = 0;
    p->request = vv_sb_take(&out);
    return p->request != NULL;
}

/* Says the same in HTTP/2, when that is what is spoken. False: the probe is over. */
static bool translate_request(struct prober *p)
{
    char *bytes;
    size_t count;
    const bool agreed = p->tls == NULL || vv_str_eq(vv_tls_alpn(p->tls), VV_STR("h2"));
    if (p->group->type == GRPC && !agreed) {
        finish(p, false, "the server does not speak HTTP/2");
        return false;
    }
    if (p->request == NULL || !p->group->http2 || !agreed) {
        return true;
    }
    const enum vv_err err = vv_check_h2_new(
        (struct vv_str){p->request, p->request_bytes}, p->tls != NULL, p->group->type == GRPC,
        vv_loop_now(p->group->checks->loop), &p->h2, &bytes, &count);
    if (err != VV_OK) {
        fail_err(p, "no request", err);
        return false;
    }
    free(p->request);
    p->request = bytes;
    p->request_bytes = count;
    return true;
}

static enum vv_err put_bytes(struct prober *p, const char *bytes, size_t n, size_t *ret_bytes)
{
    if (p->tls != NULL) {
        const struct iovec one = {(void *)(uintptr_t)bytes, n};
        return vv_tls_write(p->tls, &one, 1, 0, vv_loop_now(p->group->checks->loop), ret_bytes);
    }
    ssize_t sent;
    do {
        sent = send(p->io.fd, bytes, n, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    *ret_bytes = sent > 0 ? (size_t)sent : 0;
    return sent >= 0 ? VV_OK : vv_err_from_errno(errno);
}

/* VV_ECLOSED: the end. */
static enum vv_err get_bytes(struct prober *p, char *to, size_t room, size_t *ret_bytes)
{
    if (p->tls != NULL) {
        return vv_tls_read(p->tls, to, room, ret_bytes);
    }
    ssize_t n;
    do {
        n = recv(p->io.fd, to, room, 0);
    } while (n < 0 && errno == EINTR);
    *ret_bytes = n > 0 ? (size_t)n : 0;
    return n > 0 ? VV_OK : n == 0 ? VV_ECLOSED : vv_err_from_errno(errno);
}

/* True while the probe goes on. */
static bool send_request(struct prober *p)
{
    while (p->sent_bytes < p->request_bytes) {
        size_t n = 0;
        const enum vv_err err =
            put_bytes(p, p->request + p->sent_bytes, p->request_bytes - p->sent_bytes, &n);
        if (err == VV_EAGAIN) {
            return true;
        }
        if (err != VV_OK) {
            fail_err(p, "request not taken", err);
            return false;
        }
        p->sent_bytes += n;
    }
    const enum vv_err left = p->tls != NULL ? vv_tls_flush(p->tls) : VV_OK;
    if (left != VV_OK && left != VV_EAGAIN) {
        fail_err(p, "request not taken", left);
        return false;
    }
    return true;
}

static bool look_at_h2_answer(struct prober *p)
{
    char reason[REASON_BYTES];
    int status = 0;
    const enum vv_err err = vv_check_h2_feed(p->h2, (struct vv_str){p->in, p->in_bytes},
                                             vv_loop_now(p->group->checks->loop), &status);
    p->in_bytes = 0;
    if (err == VV_EAGAIN) {
        return true;
    }
    if (err != VV_OK) {
        fail_err(p, "no answer", err);
        return false;
    }
    if (p->group->type == GRPC) {
        finish(p, status == 200, "it does not say that it is serving");
        return false;
    }
    snprintf(reason, sizeof reason, "status %d", status);
    finish(p, status < STATUS_MAX && p->group->good[status], reason);
    return false;
}

/* The final head decides; interim ones are dropped. True while the probe goes on. */
static bool look_at_answer(struct prober *p)
{
    if (p->h2 != NULL) {
        return look_at_h2_answer(p);
    }
    static const struct vv_h1_limits limits = {
        .line_bytes = READ_MAX, .head_bytes = READ_MAX, .fields = VV_H1_FIELDS_MAX};
    char reason[REASON_BYTES];
    for (;;) {
        const enum vv_err err = vv_h1_parse_answer(p->head, (struct vv_str){p->in, p->in_bytes},
                                                   VV_METHOD_GET, &limits);
        if (err == VV_EAGAIN) {
            return true;
        }
        if (err != VV_OK) {
            snprintf(reason, sizeof reason, "malformed answer: %s",
                     vv_h1_errors[p->head->error].text);
            finish(p, false, reason);
            return false;
        }
        const int status = p->head->status;
        if (status >= 200 || status == 101) {
            snprintf(reason, sizeof reason, "status %d", status);
            finish(p, status < STATUS_MAX && p->group->good[status], reason);
            return false;
        }
        p->in_bytes -= p->head->head_bytes;
        memmove(p->in, p->in + p->head->head_bytes, p->in_bytes);
        vv_h1_head_init(p->head);
    }
}

static bool room(struct prober *p)
{
    if (p->in_bytes < p->in_cap) {
        return true;
    }
    const size_t cap = p->in_cap * 2;
    char *in = realloc(p->in, cap);
    if (in == NULL) {
        return false;
    }
    p->in = in;
    p->in_cap = cap;
    return true;
}

static void read_answer(struct prober *p)
{
    for (;;) {
        if (p->read_bytes >= READ_MAX || !room(p)) {
            finish(p, false, "answer head too large");
            return;
        }
        const size_t want = vv_min_u64(p->in_cap - p->in_bytes, READ_MAX - p->read_bytes);
        size_t n = 0;
        const enum vv_err err = get_bytes(p, p->in + p->in_bytes, want, &n);
        if (err == VV_EAGAIN) {
            return;
        }
        if (err == VV_ECLOSED) {
            finish(p, false, "connection closed without an answer");
            return;
        }
        if (err != VV_OK) {
            fail_err(p, "no answer", err);
            return;
        }
        p->in_bytes += n;
        p->read_bytes += n;
        if (!look_at_answer(p)) {
            return;
        }
    }
}

/* On one machine a connection to a free port can meet itself: the port the kernel chose for our end
 * is the one asked for. Nobody listens there then. */
static bool met_itself(const struct prober *p)
{
    struct vv_addr own;
    return p->server->addr.sa.sa_family != AF_UNIX && vv_sock_local(p->io.fd, &own) == VV_OK &&
           vv_addr_eq(&own, &p->server->addr);
}

/* True when the socket is connected. */
static bool reach(struct prober *p, uint32_t events)
{
    if ((events & (VV_IO_WRITE | VV_IO_ERROR | VV_IO_HUP)) == 0) {
        return false;
    }
    enum vv_err err = vv_sock_error(p->io.fd);
    if (err == VV_OK && met_itself(p)) {
        err = VV_EREFUSED;
    }
    if (err == VV_OK && vv_url_is_secure(p->server->name)) {
        err = p->group->tls == NULL
                  ? VV_ECONFIG
                  : vv_service_tls_connect(p->group->tls, p->server,
                                           p->group->http2 ? VV_SERVICE_TLS_REQUESTS
                                                           : VV_SERVICE_TLS_PROBE,
                                           p->io.fd, &p->tls);
    }
    if (err != VV_OK) {
        fail_err(p, "no connection", err);
    }
    return err == VV_OK;
}

/* True when the server has shown who it is. */
static bool shake_hands(struct prober *p, uint32_t events)
{
    char text[VV_TLS_ERROR_TEXT], reason[VV_TLS_ERROR_TEXT + 16];
    if (events & (VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) {
        vv_tls_read_to_end(p->tls);
    }
    enum vv_err err = vv_tls_handshake(p->tls);
    if (err == VV_OK && p->request == NULL) {
        err = vv_tls_flush(p->tls); /* otherwise the request takes the last flight with it */
    }
    if (err != VV_OK && err != VV_EAGAIN) {
        snprintf(reason, sizeof reason, "no TLS: %s", vv_tls_error(p->tls, text));
        finish(p, false, reason);
    }
    return err == VV_OK;
}

static void on_io(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    (void)loop;
    struct prober *p = VV_CONTAINER(io, struct prober, io);
    if (!p->connected) {
        if (p->tls == NULL && !reach(p, events)) {
            return;
        }
        if (p->tls != NULL && !shake_hands(p, events)) {
            return;
        }
        p->connected = true;
        if (p->request == NULL) {
            finish(p, true, ""); /* TCP: it opened */
            return;
        }
        if (!translate_request(p)) {
            return;
        }
    } else if (p->tls != NULL && (events & (VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) != 0) {
        vv_tls_read_to_end(p->tls);
    }
    if (send_request(p) && (events & (VV_IO_READ | VV_IO_HUP | VV_IO_RDHUP | VV_IO_ERROR)) != 0) {
        read_answer(p);
    }
}

static bool make_buffers(struct prober *p)
{
    p->in = malloc(READ_FIRST);
    p->head = malloc(sizeof *p->head);
    if (p->in == NULL || p->head == NULL || !make_request(p)) {
        return false;
    }
    p->in_cap = READ_FIRST;
    vv_h1_head_init(p->head);
    return true;
}

static void probe_start(struct prober *p)
{
    struct vv_loop *loop = p->group->checks->loop;
    enum vv_err err = VV_OK;
    p->connected = p->waiting = false;
    if (p->group->type != TCP && !make_buffers(p)) {
        err = VV_ENOMEM;
    }
    if (err == VV_OK) {
        err = vv_sock_connect(&p->server->addr, &p->io.fd);
    }
    if (err == VV_OK) {
        err = vv_loop_add(loop, &p->io);
    }
    if (err == VV_ENOMEM || err == VV_EFILES) {
        probe_close(p);
        p->waiting = true;
        return;
    }
    if (err != VV_OK) {
        fail_err(p, "no connection", err);
        return;
    }
    vv_loop_timer_at(loop, &p->timer, vv_loop_now(loop) + p->group->timing.timeout_ns);
}

/* ---- probers ---- */

static enum vv_err prober_new(struct group *g, struct vv_server *server, uint64_t now_ns,
                              uint64_t spread_ns)
{
    struct prober *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return VV_ENOMEM;
    }
    const struct vv_str service = vv_str_from(vv_service_state_name(g->state));
    const struct vv_str name = vv_str_from(server->name);
    const struct vv_str ok[] = {service, name, VV_STR("ok")};
    const struct vv_str fail[] = {service, name, VV_STR("fail")};
    p->group = g;
    p->server = server;
    vv_server_ref(server);
    p->io = (struct vv_io){.fn = on_io, .fd = -1};
    vv_timer_init(&p->timer, on_timeout);
    vv_check_init(&p->check, &g->timing, now_ns, spread_ns);
    p->s_ok = vv_metrics_series(g->checks->metrics, VV_METRIC_CHECKS, ok, VV_COUNT(ok));
    p->s_fail = vv_metrics_series(g->checks->metrics, VV_METRIC_CHECKS, fail, VV_COUNT(fail));
    p->seen = true;
    vv_list_push_back(&g->probers, &p->node);
    return VV_OK;
}

static void prober_free(struct prober *p)
{
    probe_close(p);
    vv_list_del(&p->node);
    vv_server_unref(p->server);
    free(p);
}

/* New times for a prober that stays: its clockwork begins anew and is told what the old one knew. */
static void retime(struct prober *p, uint64_t now_ns, uint64_t spread_ns)
{
    struct vv_check_conf *timing = &p->group->timing;
    const uint64_t grace_ns = timing->grace_ns;
    const bool down = !p->check.up;
    probe_close(p);
    p->waiting = false;
    vv_check_init(&p->check, timing, now_ns, spread_ns);
    if (p->passed) {
        (void)vv_check_result(&p->check, true, now_ns);
    }
    timing->grace_ns = 0; /* what was found out before counts */
    for (uint64_t i = 0; down && i < vv_max_u64(timing->fails, 1); i++) {
        (void)vv_check_result(&p->check, false, now_ns);
    }
    timing->grace_ns = grace_ns;
}

static struct prober *find_prober(struct group *g, const struct vv_server *server)
{
    VV_LIST_EACH (it, &g->probers) {
        struct prober *p = VV_LIST_ENTRY(it, struct prober, node);
        if (p->server == server) {
            return p;
        }
    }
    return NULL;
}

static uint64_t step_of(const struct group *g, size_t servers)
{
    return vv_min_u64(g->timing.every_ns / vv_max_u64(servers, 1), STEP_NS);
}

static void retime_all(struct group *g, uint64_t now_ns)
{
    size_t count = 0;
    uint64_t at_ns = 0;
    VV_LIST_EACH (it, &g->probers) {
        count++;
    }
    VV_LIST_EACH (it, &g->probers) {
        retime(VV_LIST_ENTRY(it, struct prober, node), now_ns, at_ns);
        at_ns += step_of(g, count);
    }
}

/* Gives every server of the set its prober; those whose server has left are not `seen` any more. */
static void follow_set(struct group *g, uint64_t now_ns)
{
    struct vv_server_set *set = vv_service_state_servers(g->state);
    if (set->generation == g->set_generation) {
        vv_server_set_unref(set);
        return;
    }
    const uint64_t step_ns = step_of(g, set->count);
    enum vv_err err = VV_OK;
    VV_LIST_EACH (it, &g->probers) {
        VV_LIST_ENTRY(it, struct prober, node)->seen = false;
    }
    for (size_t i = 0; i < set->count && err == VV_OK; i++) {
        struct prober *p = find_prober(g, set->server[i]);
        if (p != NULL) {
            p->seen = true;
        } else {
            err = prober_new(g, set->server[i], now_ns, i * step_ns);
        }
    }
    if (err == VV_OK) {
        g->set_generation = set->generation;
    } else { /* the next tick goes on; until then nobody leaves */
        VV_LIST_EACH (it, &g->probers) {
            VV_LIST_ENTRY(it, struct prober, node)->seen = true;
        }
    }
    vv_server_set_unref(set);
}

/* ---- groups ---- */

static void expect(struct group *g, const struct vv_conf_list *list)
{
    memset(g->good, 0, sizeof g->good);
    for (int status = 200; list == NULL && status < 400; status++) {
        g->good[status] = true;
    }
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const char *text = list->item[i]; /* the load has checked it: three digits, or "2xx" */
        const int hundreds = (text[0] - '0') * 100;
        if (hundreds < 100 || hundreds >= STATUS_MAX) {
            continue;
        }
        if (text[1] == 'x') {
            for (int status = hundreds; status < hundreds + 100; status++) {
                g->good[status] = true;
            }
        } else {
            g->good[hundreds + (int)strtol(text + 1, NULL, 10) % 100] = true;
        }
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Copies, because the group outlives the settings it came from until the next tick. */
static enum vv_err group_conf(struct group *g, const struct vv_service *s, uint64_t now_ns)
{
    const struct vv_check_settings *conf = &s->conf->check;
    const char *want = conf->path != NULL ? conf->path : "/";
    if (!same_text(g->path, want) || !same_text(g->host, conf->host)) {
        char *path = strdup(want);
        char *host = conf->host != NULL ? strdup(conf->host) : NULL;
        if (path == NULL || (conf->host != NULL && host == NULL)) {
            free(path);
            free(host);
            return VV_ENOMEM;
        }
        free(g->path);
        free(g->host);
        g->path = path;
        g->host = host;
    }
    if (g->tls != s->tls) {
        vv_service_tls_unref(g->tls);
        g->tls = vv_service_tls_ref(s->tls);
    }
    g->type = conf->type;
    g->http2 = s->conf->http2 != 0 || conf->type == GRPC;
    expect(g, conf->expect);
    if (memcmp(&g->timing, &conf->timing, sizeof g->timing) != 0) {
        g->timing = conf->timing;
        retime_all(g, now_ns);
    }
    return VV_OK;
}

static void group_free(struct group *g)
{
    VV_LIST_EACH (it, &g->probers) {
        prober_free(VV_LIST_ENTRY(it, struct prober, node));
    }
    vv_list_del(&g->node);
    vv_service_state_unref(g->state);
    vv_service_tls_unref(g->tls);
    free(g->path);
    free(g->host);
    free(g);
}

/* The file asks for no check any more: a verdict that nobody revises would stand for ever. */
static void group_end(struct group *g, uint64_t now_ns)
{
    VV_LIST_EACH (it, &g->probers) {
        struct prober *p = VV_LIST_ENTRY(it, struct prober, node);
        if (!p->check.up) {
            vv_server_check_result(p->server, true, now_ns);
        }
    }
    group_free(g);
}

static struct group *find_group(struct vv_checks *c, const struct vv_service_state *state)
{
    VV_LIST_EACH (it, &c->groups) {
        struct group *g = VV_LIST_ENTRY(it, struct group, node);
        if (g->state == state) {
            return g;
        }
    }
    return NULL;
}

static enum vv_err group_update(struct vv_checks *c, const struct vv_service *s, uint64_t now_ns)
{
    struct group *g = find_group(c, s->state);
    if (g == NULL) {
        g = calloc(1, sizeof *g);
        if (g == NULL) {
            return VV_ENOMEM;
        }
        g->checks = c;
        g->state = s->state;
        vv_service_state_ref(s->state);
        vv_list_init(&g->probers);
        vv_list_push_back(&c->groups, &g->node);
    }
    g->seen = true;
    return group_conf(g, s, now_ns);
}

/* Gives every service with a check its group; the others are not `seen` any more. */
static void follow_runtime(struct vv_checks *c, const struct vv_runtime *rt, uint64_t now_ns)
{
    enum vv_err err = VV_OK;
    VV_LIST_EACH (it, &c->groups) {
        VV_LIST_ENTRY(it, struct group, node)->seen = false;
    }
    for (size_t i = 0; i < rt->service_count && err == VV_OK; i++) {
        if (rt->service[i].conf->check.timing.enabled) {
            err = group_update(c, &rt->service[i], now_ns);
        }
    }
    if (err == VV_OK) {
        c->generation = rt->generation;
    } else { /* the next tick tries again; until then nobody leaves */
        VV_LIST_EACH (it, &c->groups) {
            VV_LIST_ENTRY(it, struct group, node)->seen = true;
        }
    }
}

/* ---- the interface ---- */

enum vv_err vv_checks_new(struct vv_loop *loop, struct vv_metrics *metrics, struct vv_checks **ret)
{
    struct vv_checks *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->loop = loop;
    c->metrics = metrics;
    vv_list_init(&c->groups);
    const enum vv_err err = vv_metrics_shard(metrics, &c->shard);
    if (err != VV_OK) {
        free(c);
        return err;
    }
    *ret = c;
    return VV_OK;
}

void vv_checks_free(struct vv_checks *c)
{
    if (c == NULL) {
        return;
    }
    VV_LIST_EACH (it, &c->groups) {
        group_free(VV_LIST_ENTRY(it, struct group, node));
    }
    vv_metrics_shard_return(c->metrics, c->shard);
    free(c);
}

static void tick_group(struct group *g, uint64_t now_ns)
{
    if (g->path == NULL) {
        return; /* no memory when it was made */
    }
    follow_set(g, now_ns);
    VV_LIST_EACH (it, &g->probers) {
        struct prober *p = VV_LIST_ENTRY(it, struct prober, node);
        if (!p->seen) {
            prober_free(p);
        } else if (p->waiting || vv_check_due(&p->check, now_ns)) {
            probe_start(p);
        }
    }
}

void vv_checks_tick(struct vv_checks *c, struct vv_runtime *rt, uint64_t now_ns)
{
    if (rt->generation != c->generation) {
        follow_runtime(c, rt, now_ns);
    }
    VV_LIST_EACH (it, &c->groups) {
        struct group *g = VV_LIST_ENTRY(it, struct group, node);
        if (g->seen) {
            tick_group(g, now_ns);
        } else {
            group_end(g, now_ns);
        }
    }
}
