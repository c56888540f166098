/* bench/src/openload.c - an open-loop HTTP/1.1 loader: so many connections, so many requests/s.
 *
 * Each request has a time it is due; its latency counts from then, so a server that stalls cannot
 * hide its queue. The connection that has been idle longest is used next: all take part evenly.
 *
 *   openload -p PORT -u PATH -c CONNECTIONS -r RATE -t SECONDS [-w WARM_UP] [-n PATHS] [-P] [-H]
 *     -n  so many paths in turn: PATH with 1, 2 ... behind it
 *     -P  one request on each connection while they are opened, before the load
 *     -H  say "ready" when the connections are open, wait for a line, then load
 * Prints one JSON object.
 */
#include "hist.h"
#include "util.h"
#include <sys/prctl.h>

#define HEAD_BYTES 1024
#define GIVE_UP_NS 2000000000U /* after the last request was due */
#define LATE_NS 1000000U       /* a request sent so long after it was due counts as late */

struct conn {
    int fd;
    uint64_t due_ns;
    size_t got, want; /* bytes of the answer so far, and in all once its head is there */
    char head[HEAD_BYTES];
};

static struct hist times;

static int ep, conns_count = 64, port = 8080;
static int *idle, idle_head, idle_count;
static struct conn *conns;
static char request[512];
static size_t request_len;
static const char *path = "/";
static unsigned paths, turn;
static uint64_t sent, done, errors, late, non2xx, record_from_ns;
static double rate = 1000, seconds = 5, warm = 1;

static void push_idle(int i)
{
    idle[(idle_head + idle_count++) % conns_count] = i;
}

static int pop_idle(void)
{
    const int i = idle[idle_head];
    idle_head = (idle_head + 1) % conns_count;
    idle_count--;
    return i;
}

static void make_request(void)
{
    char number[16] = "";
    if (paths > 0) {
        snprintf(number, sizeof number, "%u", turn++ % paths + 1);
    }
    request_len =
        (size_t)snprintf(request, sizeof request, "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                         path, number, port);
}

static void fire(uint64_t due_ns)
{
    if (paths > 0) {
        make_request();
    }
    struct conn *c = &conns[pop_idle()];
    c->due_ns = due_ns;
    c->got = c->want = 0;
    sent++;
    if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) {
        errors++;
    }
}

/* Takes in the bytes of an answer that just came. Returns whether the answer is whole. */
static bool take(struct conn *c, const char *bytes, size_t n)
{
    if (c->want == 0) {
        const size_t room = c->got < HEAD_BYTES - 1 ? HEAD_BYTES - 1 - c->got : 0;
        const size_t part = n < room ? n : room;
        memcpy(c->head + c->got, bytes, part);
        c->head[c->got + part] = '\0';
        const char *end = strstr(c->head, "\r\n\r\n");
        if (end != NULL) {
            const char *length = strcasestr(c->head, "\r\ncontent-length:");
            if (length == NULL || length > end) {
                fprintf(stderr, "openload: an answer without Content-Length\n");
                exit(1);
            }
            c->want = (size_t)(end + 4 - c->head) + (size_t)atol(length + 17);
            non2xx += strncmp(c->head + 9, "200", 3) != 0;
        }
    }
    c->got += n;
    return c->want > 0 && c->got >= c->want;
}

static void on_read(int i)
{
    static char body[262144];
    struct conn *c = &conns[i];
    for (;;) {
        const ssize_t r = recv(c->fd, body, sizeof body, 0);
        if (r < 0 && errno == EAGAIN) {
            return;
        }
        if (r <= 0) {
            errors++;
            epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
            close(c->fd);
            c->fd = -1;
            return;
        }
        if (take(c, body, (size_t)r)) {
            const uint64_t now = now_ns();
            done++;
            if (c->due_ns >= record_from_ns) {
                hist_add(&times, now > c->due_ns ? now - c->due_ns : 0);
            }
            push_idle(i);
            return;
        }
    }
}

/* One request and its answer on a connection that still blocks. */
static void prime(struct conn *c)
{
    char body[65536];
    if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) {
        die("send");
    }
    for (;;) {
        const ssize_t r = recv(c->fd, body, sizeof body, 0);
        if (r <= 0) {
            die("recv");
        }
        if (take(c, body, (size_t)r)) {
            return;
        }
    }
}

static void open_all(bool primed)
{
    conns = calloc((size_t)conns_count, sizeof(*conns));
    idle = calloc((size_t)conns_count, sizeof(*idle));
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (conns == NULL || idle == NULL || ep < 0) {
        die("calloc");
    }
    for (int i = 0; i < conns_count; i++) {
        conns[i].fd = connect_to(port);
        if (primed) {
            prime(&conns[i]);
        }
        fcntl(conns[i].fd, F_SETFL, O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &e);
        push_idle(i);
    }
}

static void run(void)
{
    const double gap_ns = 1e9 / rate;
    const uint64_t start = now_ns();
    const uint64_t end = start + (uint64_t)((warm + seconds) * 1e9);
    uint64_t count = 0;
    record_from_ns = start + (uint64_t)(warm * 1e9);
    for (;;) {
        const uint64_t now = now_ns();
        uint64_t due = start + (uint64_t)((double)count * gap_ns);
        while (due <= now && due < end && idle_count > 0) {
            late += now - due > LATE_NS;
            fire(due);
            due = start + (uint64_t)((double)++count * gap_ns);
        }
        if ((due >= end && sent == done) || now > end + GIVE_UP_NS) {
            return;
        }
        uint64_t wait = 100000000U;
        if (due < end && idle_count > 0) {
            wait = due > now ? due - now : 0;
        }
        const struct timespec pause = {.tv_sec = (time_t)(wait / 1000000000U),
                                       .tv_nsec = (long)(wait % 1000000000U)};
        struct epoll_event ev[512];
        const int n = epoll_pwait2(ep, ev, 512, &pause, NULL);
        for (int i = 0; i < n; i++) {
            on_read((int)ev[i].data.u32);
        }
    }
}

static void print_result(void)
{
    printf("{\"requests\":%llu,\"recorded\":%llu,\"errors\":%llu,\"non2xx\":%llu,\"late\":%llu,"
           "\"seconds\":%.3f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"max_us\":%.1f}\n",
           (unsigned long long)done, (unsigned long long)times.recorded,
           (unsigned long long)(errors + (sent - done)), (unsigned long long)non2xx,
           (unsigned long long)late, seconds, hist_quantile_us(&times, 0.5),
           hist_quantile_us(&times, 0.9), hist_quantile_us(&times, 0.99),
           hist_quantile_us(&times, 0.999), (double)times.highest_ns / 1e3);
}

int main(int argc, char **argv)
{
    bool hold = false, primed = false;
    int option;
    while ((option = getopt(argc, argv, "p:u:c:r:t:w:n:PH")) != -1) {
        switch (option) {
        case 'p':
            port = atoi(optarg);
            break;
        case 'u':
            path = optarg;
            break;
        case 'c':
            conns_count = atoi(optarg);
            break;
        case 'r':
            rate = atof(optarg);
            break;
        case 't':
            seconds = atof(optarg);
            break;
        case 'w':
            warm = atof(optarg);
            break;
        case 'n':
            paths = (unsigned)atoi(optarg);
            break;
        case 'P':
            primed = true;
            break;
        case 'H':
            hold = true;
            break;
        default:
            return 2;
        }
    }
    raise_nofile(200000);
    prctl(PR_SET_TIMERSLACK, 1UL);
    make_request();
    open_all(primed);
    if (hold) {
        char line[16];
        printf("ready\n");
        fflush(stdout);
        if (fgets(line, sizeof line, stdin) == NULL) {
            return 1;
        }
    }
    run();
    print_result();
    return 0;
}
