/* bench/src/pool.c - servers with a known capacity: so many places, so long a request, a queue in front.
 *
 * Model:   each port is a server with `places` workers. A request waits in an endless queue, then takes a
 *          place for a service time (fixed, or exponential around the mean), then is answered with
 *          200 and a small body. A request whose client has gone still takes its place, as it does in a
 *          server that only notices when it writes. Some servers can be slower by a factor, and one can
 *          have an antagonist: slower by a factor for some milliseconds out of every so many.
 *          GET /-/stats on any port: requests, answered and the longest queue, by server, as JSON.
 *          SIGUSR1 takes all servers down: ports closed, connections reset. SIGUSR2 brings them back.
 * Usage:   pool --ports 8001,8002 --places 4 --service-us 10000 [--exp] [--slow FROM:FACTOR]
 *          [--antagonist SERVER:FACTOR:ON_MS:OFF_MS] [--status CODE] [--seed N]
 * Threads: one; epoll, and a heap of completions. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS_MAX = 64, CONNS_MAX = 1 << 16, QUEUE_MAX = 1 << 18, BUF = 4096 };

struct conn {
    int fd;
    uint32_t generation;
    int server;
    size_t n;
    char in[BUF];
};

struct job { /* one request at work */
    uint64_t at_ns;
    int server, conn;
    uint32_t generation;
};

struct server {
    int fd, port, busy;
    double factor;
    struct job *queue;
    size_t head, count, longest;
    uint64_t requests, answered;
};

static struct conn *conns[CONNS_MAX];
static struct server server[SERVERS_MAX];
static int servers, places = 4, status = 200, ep, timer_fd;
static volatile sig_atomic_t wanted_down; /* by the signals */
static bool down;
static double service_ns = 10e6;
static bool exponential;
static struct job heap[1 << 18];
static size_t heap_n;
static uint64_t rng = 88172645463325252u;
static struct {
    int server;
    double factor;
    uint64_t on_ns, off_ns;
} antagonist = {-1, 1, 0, 0};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double uniform(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return ((double)(rng >> 11) + 0.5) / 9007199254740992.0;
}

static double factor_of(int s, uint64_t now)
{
    double f = server[s].factor;
    if (s == antagonist.server && now % (antagonist.on_ns + antagonist.off_ns) < antagonist.on_ns) {
        f *= antagonist.factor;
    }
    return f;
}

static void arm(void)
{
    struct itimerspec t = {0};
    if (heap_n > 0) {
        t.it_value.tv_sec = (time_t)(heap[0].at_ns / 1000000000u);
        t.it_value.tv_nsec = (long)(heap[0].at_ns % 1000000000u) + 1;
    }
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void push(struct job j)
{
    size_t i = heap_n++;
    for (; i > 0 && heap[(i - 1) / 2].at_ns > j.at_ns; i = (i - 1) / 2) {
        heap[i] = heap[(i - 1) / 2];
    }
    heap[i] = j;
}

static struct job pop(void)
{
    const struct job top = heap[0];
    const struct job last = heap[--heap_n];
    size_t i = 0;
    for (size_t c = 1; c < heap_n; c = 2 * i + 1) {
        c += c + 1 < heap_n && heap[c + 1].at_ns < heap[c].at_ns;
        if (heap[c].at_ns >= last.at_ns) {
            break;
        }
        heap[i] = heap[c];
        i = c;
    }
    heap[i] = last;
    return top;
}

static void begin(struct job j, uint64_t now)
{
    double took = service_ns * (exponential ? -log(uniform()) : 1.0) * factor_of(j.server, now);
    j.at_ns = now + (uint64_t)took;
    server[j.server].busy++;
    push(j);
}

static void drop(int i)
{
    close(conns[i]->fd);
    conns[i]->fd = -1;
    conns[i]->generation++;
}

static void answer(const struct job *j)
{
    char text[80];
    const int n =
        snprintf(text, sizeof text, "HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\nok", status);
    struct conn *c = conns[j->conn];
    server[j->server].answered++;
    if (c->generation == j->generation && send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n) {
        drop(j->conn);
    }
}

static void finish_due(void)
{
    const uint64_t now = now_ns();
    while (heap_n > 0 && heap[0].at_ns <= now) {
        const struct job j = pop();
        struct server *s = &server[j.server];
        s->busy--;
        answer(&j);
        if (s->count > 0) {
            const struct job next = s->queue[s->head];
            s->head = (s->head + 1) % QUEUE_MAX;
            s->count--;
            begin(next, j.at_ns); /* not now: our own lateness must not cost capacity */
        }
    }
}

static void stats(const struct conn *c)
{
    char body[BUF];
    int n = snprintf(body, sizeof body, "[");
    for (int i = 0; i < servers; i++) {
        n += snprintf(body + n, sizeof body - (size_t)n,
                      "%s{\"requests\":%llu,\"answered\":%llu,\"longest\":%zu,\"queue\":%zu}",
                      i > 0 ? "," : "", (unsigned long long)server[i].requests,
                      (unsigned long long)server[i].answered, server[i].longest, server[i].count);
    }
    n += snprintf(body + n, sizeof body - (size_t)n, "]");
    char head[128];
    const int h = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n);
    if (send(c->fd, head, (size_t)h, MSG_NOSIGNAL | MSG_MORE) != h ||
        send(c->fd, body, (size_t)n, MSG_NOSIGNAL) != n) {
        return;
    }
}

static void take(int i)
{
    struct conn *c = conns[i];
    struct server *s = &server[c->server];
    const struct job j = {.server = c->server, .conn = i, .generation = c->generation};
    s->requests++;
    if (s->busy < places) {
        begin(j, now_ns());
    } else if (s->count < QUEUE_MAX) {
        s->queue[(s->head + s->count++) % QUEUE_MAX] = j;
        s->longest = s->count > s->longest ? s->count : s->longest;
    }
}

static void readable(int i)
{
    struct conn *c = conns[i];
    for (;;) {
        const ssize_t n = recv(c->fd, c->in + c->n, sizeof c->in - c->n - 1, 0);
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN) {
                drop(i);
            }
            return;
        }
        c->n += (size_t)n;
        c->in[c->n] = '\0';
        char *end = strstr(c->in, "\r\n\r\n");
        if (end == NULL) {
            continue;
        }
        const bool asks_stats = strncmp(c->in, "GET /-/stats", 12) == 0;
        c->n = 0; /* requests without bodies, one at a time */
        if (asks_stats) {
            stats(c);
        } else {
            take(i);
        }
    }
}

static void accept_all(int s)
{
    for (;;) {
        const int fd = accept4(server[s].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        if (fd >= CONNS_MAX) {
            close(fd);
            continue;
        }
        const int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (conns[fd] == NULL) {
            conns[fd] = calloc(1, sizeof *conns[fd]);
        }
        conns[fd]->fd = fd;
        conns[fd]->server = s;
        conns[fd]->n = 0;
        struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)fd};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

static void open_port(int s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server[s].port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int one = 1;
    server[s].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(server[s].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server[s].fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(server[s].fd, 4096) != 0) {
        perror("pool: listen");
        exit(1);
    }
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (1ull << 32) + (uint64_t)s};
    epoll_ctl(ep, EPOLL_CTL_ADD, server[s].fd, &e);
}

static void add_server(int s, int port)
{
    server[s].port = port;
    server[s].factor = 1.0;
    server[s].queue = malloc(QUEUE_MAX * sizeof *server[s].queue);
    open_port(s);
}

/* A request that is at work stays so: only its answer finds nobody. */
static void go_down(void)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (int s = 0; s < servers; s++) {
        close(server[s].fd);
        server[s].fd = -1;
    }
    for (int i = 0; i < CONNS_MAX; i++) {
        if (conns[i] != NULL && conns[i]->fd >= 0) {
            setsockopt(i, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            drop(i);
        }
    }
}

static void on_signal(int number)
{
    wanted_down = number == SIGUSR1;
}

static void follow_signals(void)
{
    if (down != (wanted_down != 0)) {
        down = !down;
        if (down) {
            go_down();
        }
        for (int s = 0; s < servers && !down; s++) {
            open_port(s);
        }
    }
}

static void options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--ports") == 0) {
            for (char *p = strtok(argv[++i], ","); p != NULL; p = strtok(NULL, ",")) {
                add_server(servers++, atoi(p));
            }
        } else if (strcmp(argv[i], "--places") == 0) {
            places = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--status") == 0) {
            status = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--service-us") == 0) {
            service_ns = atof(argv[++i]) * 1e3;
        } else if (strcmp(argv[i], "--exp") == 0) {
            exponential = true;
        } else if (strcmp(argv[i], "--seed") == 0) {
            rng ^= (uint64_t)atoll(argv[++i]) * 0x9e3779b97f4a7c15u;
        } else if (strcmp(argv[i], "--slow") == 0) {
            int from = 0;
            double factor = 1;
            if (sscanf(value, "%d:%lf", &from, &factor) == 2) {
                for (int s = from; s < servers; s++) {
                    server[s].factor = factor;
                }
            }
            i++;
        } else if (strcmp(argv[i], "--antagonist") == 0) {
            double on = 0;
            double off = 0;
            if (sscanf(value, "%d:%lf:%lf:%lf", &antagonist.server, &antagonist.factor, &on,
                       &off) == 4) {
                antagonist.on_ns = (uint64_t)(on * 1e6);
                antagonist.off_ns = (uint64_t)(off * 1e6);
            }
            i++;
        } else {
            fprintf(stderr, "pool: unknown option %s\n", argv[i]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    ep = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = 1ull << 33};
    epoll_ctl(ep, EPOLL_CTL_ADD, timer_fd, &e);
    options(argc, argv);
    if (servers == 0) {
        fprintf(stderr, "usage: pool --ports 8001,8002 --places 4 --service-us 10000 [--exp]\n");
        return 2;
    }
    const struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &act, NULL);
    sigaction(SIGUSR2, &act, NULL);
    sigset_t ours;
    sigset_t none;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    sigaddset(&ours, SIGUSR2);
    sigprocmask(SIG_BLOCK, &ours, NULL); /* they come only while it waits: none is missed */
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event ev[256];
        const int n = epoll_pwait(ep, ev, 256, -1, &none);
        follow_signals();
        for (int i = 0; i < n; i++) {
            const uint64_t d = ev[i].data.u64;
            if (d >> 33 != 0) {
                uint64_t ticks;
                (void)!read(timer_fd, &ticks, sizeof ticks);
            } else if (d >> 32 != 0 && !down) {
                accept_all((int)(d & 0xffffffff));
            } else if (d >> 32 == 0 && conns[d]->fd >= 0) {
                readable((int)d);
            }
        }
        finish_due();
        arm();
    }
}
