/* tests/unit/gateway/rig.h - one worker in the test's own thread, with a client and an origin that are
 * plain sockets of the test: it decides what happens between two turns of the loop. */
#ifndef VV_TEST_RIG_H
#define VV_TEST_RIG_H
#include "gateway/homes.h"
#include "gateway/session.h"
#include "gateway/upstream.h"
#include "vv_test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct rig {
    struct vv_metrics *metrics;
    struct vv_homes homes;
    struct vv_caches *caches; /* of the homes */
    struct vv_worker *w;
    struct vv_runtime *rt;
    int listen_fd, origin_fd;
    struct vv_addr listen_addr, origin_addr;
    char text[65536];
};

static inline int rig_listen(struct vv_addr *ret)
{
    int fd = -1;
    struct vv_addr a;
    const struct vv_listen_options o = {.backlog = 64};
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &a), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&a, &o, &fd), VV_OK);
    VV_CHECK_INT(vv_sock_local(fd, ret), VV_OK);
    return fd;
}

/* `yaml` has one %u: the origin's port. The listener of the file is "127.0.0.1:1" and never bound:
 * the rig's own socket stands for it. */
static inline void rig_up(struct rig *r, const char *yaml)
{
    char text[8192];
    char why[256];
    memset(r, 0, sizeof *r);
    r->listen_fd = rig_listen(&r->listen_addr);
    r->origin_fd = rig_listen(&r->origin_addr);
    snprintf(text, sizeof text, yaml, (unsigned)vv_addr_port(&r->origin_addr));
    const struct vv_conf_source source = {.path = "test.yaml", .text = text, .no_files = true};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_settings *settings = NULL;
    VV_CHECK_INT(vv_settings_load(&source, problems, &settings), VV_OK);
    vv_conf_problems_free(problems);
    VV_CHECK_INT(vv_metrics_new(&r->metrics), VV_OK);
    VV_CHECK_INT(vv_homes_init(&r->homes, NULL, r->metrics, 1, settings), VV_OK);
    r->caches = r->homes.caches;
    const struct vv_worker_options o = {.index = 0, .metrics = r->metrics, .homes = &r->homes};
    VV_CHECK_INT(vv_worker_new(NULL, &o, &r->w), VV_OK);
    VV_CHECK_INT(vv_runtime_new(settings, NULL, &r->homes, &r->rt, why), VV_OK);
    for (size_t i = 0; i < r->rt->service_count; i++) {
        const struct vv_server_spec spec = {.name = "origin", .addr = r->origin_addr, .weight = 1};
        VV_CHECK_INT(vv_service_state_set(r->rt->service[i].state, &spec, 1, 1), VV_OK);
    }
    vv_runtime_commit(r->rt);
    VV_CHECK_INT(vv_worker_adopt(r->w, r->rt), VV_OK);
    VV_CHECK_INT(vv_listener_open(r->w, settings->listen->item[0], 0, r->listen_fd), VV_OK);
}

static inline void rig_turns(struct rig *r, int turns)
{
    for (int i = 0; i < turns; i++) {
        vv_loop_turn(r->w->loop, VV_MS);
    }
}

static inline void rig_down(struct rig *r)
{
    rig_turns(r, 3);
    vv_worker_free(r->w);
    vv_runtime_unref(r->rt);
    vv_homes_fini(&r->homes);
    vv_metrics_free(r->metrics);
    close(r->listen_fd);
    close(r->origin_fd);
}

static inline int rig_client(struct rig *r)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VV_CHECK(connect(fd, &r->listen_addr.sa, r->listen_addr.len) == 0);
    VV_CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    rig_turns(r, 2);
    return fd;
}

/* Waits (turning the loop) until the gateway connects to the origin. */
static inline int rig_accept(struct rig *r)
{
    for (int i = 0; i < 200; i++) {
        rig_turns(r, 1);
        const int fd = accept4(r->origin_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            rig_turns(r, 1);
            return fd;
        }
    }
    fail_msg("the gateway never connected to the origin");
    return -1;
}

static inline void rig_send(struct rig *r, int fd, const char *text)
{
    const size_t n = strlen(text);
    VV_CHECK_INT(send(fd, text, n, MSG_NOSIGNAL), n);
    rig_turns(r, 3);
}

/* All bytes that arrive until nothing has come for some turns; NUL-terminated, in r->text. *ret_closed
 * (may be NULL): whether the other side has closed. */
static inline const char *rig_read(struct rig *r, int fd, bool *ret_closed)
{
    size_t n = 0;
    bool closed = false;
    for (int quiet = 0; quiet < 5 && !closed && n < sizeof r->text - 1;) {
        rig_turns(r, 1);
        const ssize_t k = recv(fd, r->text + n, sizeof r->text - 1 - n, 0);
        closed = k == 0 || (k < 0 && errno == ECONNRESET);
        n += k > 0 ? (size_t)k : 0;
        quiet = k > 0 ? 0 : quiet + 1;
    }
    r->text[n] = '\0';
    if (ret_closed != NULL) {
        *ret_closed = closed;
    }
    return r->text;
}

static inline uint64_t rig_metric(struct rig *r, enum vv_metric id, const char *a, const char *b)
{
    const struct vv_str values[] = {vv_str_from(a), vv_str_from(b)};
    return vv_metrics_value(
        r->metrics, vv_metrics_series(r->metrics, id, values, (a != NULL) + (size_t)(b != NULL)));
}
#endif
