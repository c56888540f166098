/* tests/fuzz/fuzz_session_h2.c - any bytes of a client of HTTP/2 to a whole gateway: a worker with its loop,
 * sockets and a server that answers as the input says. Whatever came, nothing is left once the client has gone:
 * no connection, no stream, no memory of HTTP/2.
 *
 * The first byte chooses how the server behaves and how the client leaves, the second how writes are cut. */
#include "gateway/homes.h"
#include "gateway/session.h"
#include "gateway/upstream.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SERVERS_MAX 64 /* connections of the gateway to its server that are answered */
#define TURNS_MAX 4000 /* until all is given back: some milliseconds at most, if nothing is wrong */

enum {
    SERVER = 7, /* which of answers[] */
    CLIENT_RESETS = 8,
    NO_PREFACE = 16,
    READS_NOTHING = 32,
};

static const char *const answers[SERVER + 1] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\n"
    "Content-Length: 2\r\n\r\nok",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello",
    "nonsense\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
    "", /* says nothing */
};

static struct {
    struct vv_metrics *metrics;
    struct vv_homes homes;
    struct vv_worker *w;
    struct vv_runtime *rt;
    int listen_fd, server_fd;
    struct vv_addr address;
    int server[SERVERS_MAX];
} rig;

static int listen_somewhere(struct vv_addr *ret)
{
    int fd = -1;
    struct vv_addr a;
    const struct vv_listen_options o = {.backlog = 64};
    VV_ASSERT(vv_addr_parse(VV_STR("127.0.0.1:0"), &a) == VV_OK);
    VV_ASSERT(vv_sock_listen(&a, &o, &fd) == VV_OK);
    VV_ASSERT(vv_sock_local(fd, ret) == VV_OK);
    return fd;
}

static void rig_up(void)
{
    struct vv_addr server;
    char text[2048], why[256];
    rig.listen_fd = listen_somewhere(&rig.address);
    rig.server_fd = listen_somewhere(&server);
    VV_ASSERT(fcntl(rig.server_fd, F_SETFL, O_NONBLOCK) == 0);
    snprintf(text, sizeof text,
             "listen: {web: {address: \"127.0.0.1:1\", max_body: 100KB}}\n"
             "services: {app: {servers: [\"127.0.0.1:%u\"], retries: 0}}\n"
             "routes:\n"
             "  - {path: /say, respond: {body: hello}}\n"
             "  - {path: /cached, to: app, cache: true}\n"
             "  - {path: /, to: app}\n",
             (unsigned)vv_addr_port(&server));
    const struct vv_conf_source source = {.path = "fuzz.yaml", .text = text, .no_files = true};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_settings *settings = NULL;
    VV_ASSERT(vv_settings_load(&source, problems, &settings) == VV_OK);
    vv_conf_problems_free(problems);
    VV_ASSERT(vv_metrics_new(&rig.metrics) == VV_OK);
    VV_ASSERT(vv_homes_init(&rig.homes, NULL, rig.metrics, 1, settings) == VV_OK);
    const struct vv_worker_options o = {.index = 0, .metrics = rig.metrics, .homes = &rig.homes};
    VV_ASSERT(vv_worker_new(NULL, &o, &rig.w) == VV_OK);
    VV_ASSERT(vv_runtime_new(settings, NULL, &rig.homes, &rig.rt, why) == VV_OK);
    for (size_t i = 0; i < rig.rt->service_count; i++) {
        const struct vv_server_spec spec = {.name = "server", .addr = server, .weight = 1};
        VV_ASSERT(vv_service_state_set(rig.rt->service[i].state, &spec, 1, 1) == VV_OK);
    }
    vv_runtime_commit(rig.rt);
    VV_ASSERT(vv_worker_adopt(rig.w, rig.rt) == VV_OK);
    VV_ASSERT(vv_listener_open(rig.w, settings->listen->item[0], 0, rig.listen_fd) == VV_OK);
    for (size_t i = 0; i < SERVERS_MAX; i++) {
        rig.server[i] = -1;
    }
}

/* What the server does in a turn: whoever asks gets the answer that was chosen. */
static void serve(unsigned how)
{
    static char heard[65536];
    for (size_t i = 0; i < SERVERS_MAX; i++) {
        if (rig.server[i] < 0) {
            rig.server[i] = accept4(rig.server_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (rig.server[i] < 0) {
                break;
            }
        }
    }
    for (size_t i = 0; i < SERVERS_MAX; i++) {
        const ssize_t n = rig.server[i] >= 0 ? recv(rig.server[i], heard, sizeof heard, 0) : -1;
        const char *answer = answers[how];
        if (n > 0) {
            (void)!send(rig.server[i], answer, strlen(answer), MSG_NOSIGNAL);
        }
        const bool cut = n > 0 && (how == 2 || how == 5);
        if (rig.server[i] >= 0 && (n == 0 || cut || (n < 0 && errno != EAGAIN))) {
            close(rig.server[i]);
            rig.server[i] = -1;
        }
    }
}

static void turns(unsigned count, unsigned how)
{
    while (count-- > 0) {
        vv_loop_turn(rig.w->loop, 0);
        serve(how);
    }
}

static void hear(int fd)
{
    static char heard[65536];
    while (recv(fd, heard, sizeof heard, 0) > 0) {
    }
}

static void say(int fd, const uint8_t *p, size_t n, unsigned how)
{
    const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
    turns(3, how & SERVER);
    if ((how & READS_NOTHING) == 0) {
        hear(fd);
    }
    (void)sent; /* the gateway may have closed: then it is no news */
}

static int begin(unsigned how)
{
    static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VV_ASSERT(fd >= 0 && connect(fd, &rig.address.sa, rig.address.len) == 0);
    VV_ASSERT(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    turns(2, how & SERVER);
    if ((how & NO_PREFACE) == 0) {
        say(fd, preface, sizeof preface, how);
    }
    return fd;
}

static bool all_gone(void)
{
    return vv_list_empty(&rig.w->sessions) && rig.w->h2_counts.memory_bytes == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 65536) {
        return 0;
    }
    if (rig.w == NULL) {
        rig_up();
    }
    const unsigned how = data[0];
    const int fd = begin(how);
    const size_t piece = data[1] > 0 ? data[1] * UINT64_C(8) : size;
    for (size_t at = 2; at < size; at += piece) {
        say(fd, data + at, vv_min_u64(piece, size - at), how);
    }
    turns(5, how & SERVER);
    if ((how & (CLIENT_RESETS | NO_PREFACE)) !=
        0) { /* HTTP/1.1 may be ended by half and answered still */
        const struct linger now = {.l_onoff = 1, .l_linger = 0};
        VV_ASSERT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    }
    close(fd);
    for (unsigned i = 0; i < TURNS_MAX && !all_gone(); i++) {
        turns(1, how & SERVER);
        if (i > 100) {
            vv_loop_turn(rig.w->loop, VV_MS); /* wait, so that timers of milliseconds may run */
        }
    }
    VV_ASSERT(all_gone());
    return 0;
}
