/* src/load/agents.c - a protocol of ten frames with blocking calls: between two frames there is nothing
 * else to do, and a run is the engine's own loop. While it runs, the agent looks at its coordinator
 * once a second, so that a coordinator that was interrupted or died ends the load it had asked for. */
#include "load/agents.h"
#include "load/periods.h"
#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAME_MAX (256U * 1024 * 1024)
#define HEAD_MAX 64
#define PERIODS_MAX (1024U * 1024 * 1024) /* of all agents together */
#define PATIENCE_NS (10 * VV_SEC)
#define START_AFTER_NS (500 * VV_MS) /* time for the last agent to hear when to begin */
#define SLICE_MS 200                 /* how often *stop is looked at */
#define SLACK_NS (10 * VV_MINUTE)    /* of a run over its plan, before an agent counts as gone */

struct peer {
    int fd;
    struct vv_sb in;
    size_t used; /* of `in`: the frame handed out last */
};

static void peer_fini(struct peer *p)
{
    vv_close_fd(&p->fd);
    vv_sb_fini(&p->in);
}

static bool stopped(const volatile int *stop)
{
    return stop != NULL && *stop != 0;
}

/* VV_ETIMEOUT after deadline_ns, or at *stop when stop is given. */
static enum vv_err wait_io(int fd, short events, uint64_t deadline_ns, const volatile int *stop)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        const int n = poll(&p, 1, SLICE_MS);
        if (n > 0) {
            return VV_OK;
        }
        if (n < 0 && errno != EINTR) {
            return vv_err_from_errno(errno);
        }
        if (stopped(stop) || vv_clock_now() >= deadline_ns) {
            return VV_ETIMEOUT;
        }
    }
}

static enum vv_err send_bytes(int fd, struct vv_str bytes, uint64_t patience_ns)
{
    const uint64_t deadline_ns = vv_clock_now() + patience_ns;
    while (bytes.n > 0) {
        const ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n > 0) {
            bytes.p += n;
            bytes.n -= (size_t)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            return vv_err_from_errno(errno);
        } else {
            const enum vv_err err = wait_io(fd, POLLOUT, deadline_ns, NULL);
            if (err != VV_OK) {
                return err;
            }
        }
    }
    return VV_OK;
}

static enum vv_err send_slowly(int fd, const char *name, struct vv_str body, uint64_t patience_ns)
{
    char head[HEAD_MAX];
    const int n = snprintf(head, sizeof head, "%s %zu\n", name, body.n);
    const enum vv_err err = send_bytes(fd, (struct vv_str){head, (size_t)n}, patience_ns);
    return err != VV_OK ? err : send_bytes(fd, body, patience_ns);
}

static enum vv_err send_frame(int fd, const char *name, struct vv_str body)
{
    return send_slowly(fd, name, body, PATIENCE_NS);
}

/* VV_EAGAIN: not whole yet. */
static enum vv_err cut_frame(struct peer *p, struct vv_str *ret_name, struct vv_str *ret_body)
{
    const struct vv_str all = {vv_sb_str(&p->in).p + p->used, p->in.n - p->used};
    struct vv_str rest = all;
    uint64_t bytes = 0;
    const ptrdiff_t end = vv_str_find_char(all, '\n');
    if (end < 0) {
        return all.n > HEAD_MAX ? VV_ESYNTAX : VV_EAGAIN;
    }
    struct vv_str head = vv_str_cut(&rest, '\n');
    const struct vv_str name = vv_str_cut(&head, ' ');
    if (head.p == NULL || vv_str_to_u64(head, &bytes) != VV_OK || bytes > FRAME_MAX) {
        return VV_ESYNTAX;
    }
    const size_t from = (size_t)end + 1;
    if (all.n - from < bytes) {
        return VV_EAGAIN;
    }
    *ret_name = name;
    *ret_body = (struct vv_str){all.p + from, (size_t)bytes};
    p->used += from + (size_t)bytes;
    return VV_OK;
}

/* Appends what has come; VV_EAGAIN: nothing there. */
static enum vv_err read_some(struct peer *p)
{
    char buf[65536];
    const ssize_t n = read(p->fd, buf, sizeof buf);
    if (n > 0) {
        vv_sb_add(&p->in, (struct vv_str){buf, (size_t)n});
        return p->in.failed || p->in.n > FRAME_MAX + HEAD_MAX ? VV_ELIMIT : VV_OK;
    }
    if (n == 0) {
        return VV_ECLOSED;
    }
    return errno == EAGAIN || errno == EINTR ? VV_EAGAIN : vv_err_from_errno(errno);
}

/* The frame is valid until the next call. */
static enum vv_err receive(struct peer *p, uint64_t deadline_ns, const volatile int *stop,
                           struct vv_str *ret_name, struct vv_str *ret_body)
{
    if (p->used == p->in.n) {
        vv_sb_reset(&p->in);
        p->used = 0;
    }
    for (;;) {
        enum vv_err err = cut_frame(p, ret_name, ret_body);
        if (err != VV_EAGAIN) {
            return err;
        }
        if (p->used > 0) { /* the rest of a frame moves to the front */
            p->in.n -= p->used;
            memmove(p->in.p, p->in.p + p->used, p->in.n);
            p->used = 0;
        }
        err = read_some(p);
        if (err == VV_EAGAIN) {
            err = wait_io(p->fd, POLLIN, deadline_ns, stop);
        }
        if (err != VV_OK) {
            return err;
        }
    }
}

/* ---- the agent ---- */

struct serving {
    const struct vv_load_agent *agent;
    struct peer peer;
    bool gone;
};

static void say(const struct vv_load_agent *a, const char *text)
{
    if (a->log != NULL) {
        a->log(a->user, text);
    }
}

/* All bytes are looked at, whatever differs: the time taken says nothing about the token. */
static bool same_secret(struct vv_str a, struct vv_str b)
{
    unsigned char differ = a.n != b.n;
    for (size_t i = 0; i < a.n; i++) {
        differ |= (unsigned char)(a.p[i] ^ (b.n > 0 ? b.p[i % b.n] : 1));
    }
    return differ == 0;
}

static bool watch(void *user, const struct vv_load_result *so_far)
{
    struct serving *s = user;
    struct vv_str name, body;
    (void)so_far;
    enum vv_err err = read_some(&s->peer);
    s->gone = err != VV_OK && err != VV_EAGAIN;
    if (s->gone || stopped(s->agent->stop)) {
        return true;
    }
    err = cut_frame(&s->peer, &name, &body);
    return err == VV_OK ? vv_str_eq(name, VV_STR("stop")) : err != VV_EAGAIN;
}

/* "part parts start_unix_ns" */
static bool read_start(struct vv_str body, struct vv_load_options *o)
{
    uint64_t part = 0, parts = 0, at_ns = 0;
    if (vv_str_to_u64(vv_str_cut(&body, ' '), &part) != VV_OK ||
        vv_str_to_u64(vv_str_cut(&body, ' '), &parts) != VV_OK ||
        vv_str_to_u64(body, &at_ns) != VV_OK || parts == 0 || parts > VV_LOAD_AGENTS_MAX ||
        part >= parts) {
        return false;
    }
    o->part = (unsigned)part;
    o->parts = (unsigned)parts;
    o->start_unix_ns = at_ns;
    return true;
}

/* The coordinator listens to one agent after the other, and the slowest decides when. */
static enum vv_err send_result(int fd, const struct vv_load_result *r)
{
    struct vv_str lines = vv_str_from(r->intermediate != NULL ? r->intermediate : "");
    struct vv_sb text = VV_SB_INIT;
    enum vv_err err = VV_OK;
    while (lines.n > 0 && err == VV_OK) {
        err = send_slowly(fd, "period", vv_str_cut(&lines, '\n'), SLACK_NS);
    }
    vv_load_result_write(r, &text);
    if (err == VV_OK) {
        err = text.failed ? VV_ENOMEM : send_slowly(fd, "result", vv_sb_str(&text), SLACK_NS);
    }
    vv_sb_fini(&text);
    return err;
}

static enum vv_err run_job(struct serving *s, const struct vv_load_plan *plan,
                           const struct vv_load_job *job)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_load_options o = {.threads = job->threads,
                                .allow_late = job->allow_late,
                                .seed = job->seed,
                                .period_states = true,
                                .progress = watch,
                                .user = s,
                                .why = &why,
                                .stop = s->agent->stop};
    struct vv_load_result *r = NULL;
    struct vv_str name, body;
    enum vv_err err = receive(&s->peer, vv_clock_now() + PATIENCE_NS, s->agent->stop, &name, &body);
    if (err != VV_OK) {
        return err;
    }
    if (!vv_str_eq(name, VV_STR("start")) || !read_start(body, &o)) {
        return VV_ESYNTAX;
    }
    o.seed += o.seed > 0 ? o.part : 0; /* parts must not choose the same scenarios in step */
    say(s->agent, "running");
    err = vv_load_run(plan, &o, &r);
    if (err != VV_OK) {
        const bool more = why.n > 0 && !why.failed;
        err = send_frame(s->peer.fd, "refused",
                         more ? vv_sb_str(&why) : vv_str_from(vv_err_text(err)));
        vv_sb_fini(&why);
        return err;
    }
    err = s->gone ? VV_OK : send_result(s->peer.fd, r);
    vv_load_result_free(r);
    return err;
}

static enum vv_err refuse(struct serving *s, struct vv_conf_problems *problems)
{
    struct vv_sb text = VV_SB_INIT;
    vv_conf_problems_print(problems, false, "Nothing was sent.", &text);
    const enum vv_err err = send_frame(s->peer.fd, "refused", vv_sb_str(&text));
    vv_sb_fini(&text);
    say(s->agent, "refused a plan");
    return err;
}

static enum vv_err take_job(struct serving *s, struct vv_str body)
{
    struct vv_load_job job;
    struct vv_load_plan *plan = NULL;
    void *memory = NULL;
    enum vv_err err = vv_load_job_read(body, &job, &memory);
    if (err != VV_OK) {
        return err;
    }
    struct vv_conf_problems *problems = vv_conf_problems_new();
    err = problems != NULL ? vv_load_job_plan(&job, problems, &plan) : VV_ENOMEM;
    if (err == VV_OK) {
        err = send_frame(s->peer.fd, "ready", VV_STR(""));
        err = err == VV_OK ? run_job(s, plan, &job) : err;
    } else if (problems != NULL) {
        err = refuse(s, problems);
    }
    vv_load_plan_free(plan);
    vv_conf_problems_free(problems);
    vv_load_job_free(memory);
    return err;
}

static enum vv_err serve_one(struct serving *s)
{
    const struct vv_load_agent *a = s->agent;
    const uint64_t deadline_ns = vv_clock_now() + PATIENCE_NS;
    struct vv_str name, body;
    enum vv_err err = receive(&s->peer, deadline_ns, a->stop, &name, &body);
    if (err != VV_OK) {
        return err;
    }
    if (!vv_str_eq(name, VV_STR("hello")) ||
        (a->token != NULL && !same_secret(vv_str_from(a->token), body))) {
        (void)send_frame(s->peer.fd, "denied", VV_STR(""));
        say(a, "denied: wrong token");
        return VV_EACCES;
    }
    err = send_frame(s->peer.fd, "welcome", VV_STR(""));
    err = err == VV_OK ? receive(&s->peer, deadline_ns, a->stop, &name, &body) : err;
    if (err != VV_OK) {
        return err;
    }
    return vv_str_eq(name, VV_STR("job")) ? take_job(s, body) : VV_ESYNTAX;
}

enum vv_err vv_load_agent_serve(const struct vv_load_agent *agent)
{
    while (!stopped(agent->stop)) {
        struct serving s = {.agent = agent, .peer = {.fd = -1, .in = VV_SB_INIT}};
        struct vv_addr from;
        char text[VV_ADDR_TEXT + 64], address[VV_ADDR_TEXT];
        enum vv_err err = vv_sock_accept(agent->listen_fd, &s.peer.fd, &from);
        if (err == VV_EAGAIN) {
            (void)wait_io(agent->listen_fd, POLLIN, vv_clock_now() + VV_SEC, agent->stop);
            continue;
        }
        if (err != VV_OK) {
            return err;
        }
        (void)vv_addr_format(&from, address, sizeof address);
        err = serve_one(&s);
        (void)snprintf(text, sizeof text, "%s: %s", address,
                       err == VV_OK ? (s.gone ? "left before the end" : "done") : vv_err_text(err));
        say(agent, text);
        peer_fini(&s.peer);
    }
    return VV_OK;
}

/* ---- the coordinator ---- */

static enum vv_err failed(const struct vv_load_crew *c, size_t i, enum vv_err err,
                          struct vv_str more, struct vv_sb *why)
{
    char address[VV_ADDR_TEXT];
    (void)vv_addr_format(&c->agent[i], address, sizeof address);
    vv_sb_addf(why, "agent %s: %s%s" VV_STR_FMT, address, vv_err_text(err), more.n > 0 ? "\n" : "",
               VV_STR_ARG(more));
    return err;
}

static enum vv_err connect_one(const struct vv_load_crew *c, size_t i, struct vv_str job,
                               struct peer *p, struct vv_sb *why)
{
    const uint64_t deadline_ns = vv_clock_now() + PATIENCE_NS;
    struct vv_str name = {0}, body = {0};
    enum vv_err err = vv_sock_connect(&c->agent[i], &p->fd);
    err = err == VV_OK ? wait_io(p->fd, POLLOUT, deadline_ns, c->stop) : err;
    err = err == VV_OK ? vv_sock_error(p->fd) : err;
    err = err == VV_OK ? send_frame(p->fd, "hello", vv_str_from(c->token != NULL ? c->token : ""))
                       : err;
    err = err == VV_OK ? receive(p, deadline_ns, c->stop, &name, &body) : err;
    if (err == VV_OK && !vv_str_eq(name, VV_STR("welcome"))) {
        err = vv_str_eq(name, VV_STR("denied")) ? VV_EACCES : VV_ESYNTAX;
    }
    /* Only now: the file may hold what a stranger should not see. */
    err = err == VV_OK ? send_frame(p->fd, "job", job) : err;
    err = err == VV_OK ? receive(p, deadline_ns, c->stop, &name, &body) : err;
    if (err == VV_OK && !vv_str_eq(name, VV_STR("ready"))) {
        err = vv_str_eq(name, VV_STR("refused")) ? VV_ECONFIG : VV_ESYNTAX;
    }
    return err == VV_OK ? VV_OK : failed(c, i, err, body, why);
}

static uint64_t plan_ns(const struct vv_load_view *view)
{
    uint64_t sum = view->timeout_ns;
    for (size_t i = 0; i < view->phase_count; i++) {
        sum += view->phase[i].duration_ns;
    }
    return sum;
}

/* The next frame that is no period; those are kept. */
static enum vv_err receive_result(struct peer *p, uint64_t deadline_ns, const volatile int *stop,
                                  struct vv_sb *periods, struct vv_str *ret_name,
                                  struct vv_str *ret_body)
{
    for (;;) {
        const enum vv_err err = receive(p, deadline_ns, stop, ret_name, ret_body);
        if (err != VV_OK || !vv_str_eq(*ret_name, VV_STR("period"))) {
            return err;
        }
        vv_sb_add(periods, *ret_body);
        vv_sb_addc(periods, '\n');
        if (periods->failed || periods->n > PERIODS_MAX) {
            return VV_ELIMIT;
        }
    }
}

/* Waits for each in turn; the first that sees *stop tells all of them. */
static enum vv_err collect(const struct vv_load_crew *c, struct peer *peer,
                           struct vv_load_result *into, uint64_t deadline_ns, struct vv_sb *periods,
                           struct vv_sb *why)
{
    bool told = false;
    for (size_t i = 0; i < c->count; i++) {
        struct vv_str name = {0}, body = {0};
        struct vv_load_result *part = NULL;
        enum vv_err err =
            receive_result(&peer[i], deadline_ns, told ? NULL : c->stop, periods, &name, &body);
        if (err == VV_ETIMEOUT && !told && stopped(c->stop)) {
            told = true;
            for (size_t k = 0; k < c->count; k++) {
                (void)send_frame(peer[k].fd, "stop", VV_STR(""));
            }
            deadline_ns = vv_clock_now() + SLACK_NS;
            i--; /* the same one again: it answers with what it has */
            continue;
        }
        if (err == VV_OK && !vv_str_eq(name, VV_STR("result"))) {
            err = VV_EIO;
        }
        err = err == VV_OK ? vv_load_result_read(body, &part) : err;
        err = err == VV_OK ? vv_load_result_merge(into, part) : err;
        vv_load_result_free(part);
        if (err != VV_OK) {
            return failed(c, i, err, vv_str_eq(name, VV_STR("refused")) ? body : VV_STR(""), why);
        }
    }
    return VV_OK;
}

static enum vv_err begin(const struct vv_load_crew *c, struct peer *peer, struct vv_sb *why)
{
    const uint64_t at_ns = vv_clock_wall() + START_AFTER_NS;
    for (size_t i = 0; i < c->count; i++) {
        char text[96];
        const int n =
            snprintf(text, sizeof text, "%zu %zu %llu", i, c->count, (unsigned long long)at_ns);
        const enum vv_err err = send_frame(peer[i].fd, "start", (struct vv_str){text, (size_t)n});
        if (err != VV_OK) {
            return failed(c, i, err, VV_STR(""), why);
        }
    }
    return VV_OK;
}

enum vv_err vv_load_agents_run(const struct vv_load_crew *c, struct vv_load_result **ret,
                               struct vv_sb *reterr_why)
{
    struct peer peer[VV_LOAD_AGENTS_MAX];
    struct vv_load_result *all = NULL;
    struct vv_load_view view;
    struct vv_sb job = VV_SB_INIT, periods = VV_SB_INIT;
    if (c->count == 0 || c->count > VV_LOAD_AGENTS_MAX) {
        return VV_EINVAL;
    }
    for (size_t i = 0; i < c->count; i++) {
        peer[i] = (struct peer){.fd = -1, .in = VV_SB_INIT};
    }
    vv_load_plan_view(c->plan, &view);
    vv_load_job_write(c->job, &job);
    enum vv_err err = job.failed ? VV_ENOMEM : vv_load_result_new(&view, &all);
    for (size_t i = 0; i < c->count && err == VV_OK; i++) {
        err = connect_one(c, i, vv_sb_str(&job), &peer[i], reterr_why);
    }
    err = err == VV_OK ? begin(c, peer, reterr_why) : err;
    if (err == VV_OK) {
        const uint64_t deadline_ns = vv_clock_now() + plan_ns(&view) + SLACK_NS;
        err = collect(c, peer, all, deadline_ns, &periods, reterr_why);
    }
    if (err == VV_OK) {
        err = vv_load_periods_join(vv_sb_str(&periods), &all->intermediate);
        vv_sb_adds(reterr_why, err != VV_OK ? "the records of the agents do not fit together" : "");
    }
    for (size_t i = 0; i < c->count; i++) {
        peer_fini(&peer[i]);
    }
    vv_sb_fini(&job);
    vv_sb_fini(&periods);
    if (err != VV_OK) {
        vv_load_result_free(all);
        return err;
    }
    *ret = all;
    return VV_OK;
}
