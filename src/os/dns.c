/* src/os/dns.c - c-ares on our loop. c-ares expects a level-triggered world: after each edge its
 * socket is served until poll(2) says that nothing is left. A query that timed out or was cancelled
 * leaves a `pending` behind, which c-ares still holds and which goes when c-ares answers. */
#include "os/dns.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#define TRY_TIMEOUT_MS 2000
#define TRIES 3
#define NAME_BYTES 256 /* RFC 1035 section 2.3.4: 255 and a NUL */
#define PENDING_MAX 4096
#define ROUNDS_MAX 64 /* per edge of one socket; the rest comes with the next turn */
#define TTL_HOSTS_NS (60 * VV_SEC)
#define TTL_MIN_NS (1 * VV_SEC)
#define TTL_MAX_NS (1 * VV_HOUR)

struct vv_dns {
    struct vv_loop *loop;
    ares_channel channel;
    struct vv_timer timer; /* c-ares' own retransmissions */
    struct vv_list sockets;
    size_t pending;
    struct pending *asking; /* within ares_getaddrinfo(): an answer now is the hosts file's */
};

struct dns_socket { /* one of c-ares' sockets */
    struct vv_io io;
    struct vv_defer kick; /* interest in writing may come when the edge has long passed */
    struct vv_list node;
    struct vv_dns *dns;
    bool want_read, want_write;
};

struct pending {
    struct vv_dns *dns;
    struct vv_dns_query *query; /* NULL: nobody waits any more */
    struct vv_timer timer;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void init_library(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

/* Lets c-ares say when it wants to be called next. */
static void schedule(struct vv_dns *dns)
{
    struct timeval tv;
    if (ares_timeout(dns->channel, NULL, &tv) == NULL) {
        vv_loop_timer_stop(dns->loop, &dns->timer);
        return;
    }
    const uint64_t wait_ns = (uint64_t)tv.tv_sec * VV_SEC + (uint64_t)tv.tv_usec * VV_US;
    /* A millisecond more, because c-ares counts from its own, finer reading of the clock. */
    vv_loop_timer_at(dns->loop, &dns->timer, vv_loop_now(dns->loop) + wait_ns + VV_MS);
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    struct vv_dns *dns = VV_CONTAINER(t, struct vv_dns, timer);
    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    schedule(dns);
}

static struct dns_socket *find_socket(struct vv_dns *dns, int fd)
{
    VV_LIST_EACH (it, &dns->sockets) {
        struct dns_socket *s = VV_LIST_ENTRY(it, struct dns_socket, node);
        if (s->io.fd == fd) {
            return s;
        }
    }
    return NULL;
}

/* Serves the socket while it is ready; looks it up each time, since c-ares may close it inside. */
static void serve(struct vv_dns *dns, int fd)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        const struct dns_socket *s = find_socket(dns, fd);
        if (s == NULL) {
            break;
        }
        struct pollfd p = {.fd = fd};
        p.events = (short)((s->want_read ? POLLIN : 0) | (s->want_write ? POLLOUT : 0));
        if (poll(&p, 1, 0) <= 0) {
            break;
        }
        const bool broken = (p.revents & (POLLERR | POLLHUP)) != 0;
        const bool readable = (p.revents & POLLIN) != 0 || broken;
        const bool writable = (p.revents & POLLOUT) != 0;
        ares_process_fd(dns->channel, readable ? fd : ARES_SOCKET_BAD,
                        writable ? fd : ARES_SOCKET_BAD);
    }
    schedule(dns);
}

static void on_socket(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    (void)loop;
    (void)events;
    struct dns_socket *s = VV_CONTAINER(io, struct dns_socket, io);
    serve(s->dns, s->io.fd);
}

static void on_kick(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    struct dns_socket *s = VV_CONTAINER(d, struct dns_socket, kick);
    serve(s->dns, s->io.fd);
}

static void forget_socket(struct dns_socket *s)
{
    vv_loop_del(s->dns->loop, &s->io, false);
    vv_loop_defer_stop(&s->kick);
    vv_list_del(&s->node);
    free(s);
}

/* c-ares opens a socket, changes its mind about it, or is about to close it (neither wanted). */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct vv_dns *dns = data;
    struct dns_socket *s = find_socket(dns, fd);
    if (!readable && !writable) {
        if (s != NULL) {
            forget_socket(s);
        }
        return;
    }
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            return; /* unheard, the query runs into its timeout */
        }
        s->dns = dns;
        s->io = (struct vv_io){.fn = on_socket, .fd = fd};
        s->kick.fn = on_kick;
        vv_list_init(&s->kick.node);
        vv_list_push_back(&dns->sockets, &s->node);
        if (vv_loop_add(dns->loop, &s->io) != VV_OK) {
            forget_socket(s);
            return;
        }
    }
    s->want_read = readable != 0;
    s->want_write = writable != 0;
    if (s->want_write) {
        vv_loop_defer(dns->loop, &s->kick);
    }
}

static void give(struct pending *p, const struct vv_dns_answer *answer)
{
    struct vv_dns_query *q = p->query;
    if (q != NULL) {
        p->query = NULL;
        q->pending = NULL;
        vv_loop_timer_stop(p->dns->loop, &p->timer);
        q->fn(q, answer);
    }
}

static void on_query_timeout(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    give(VV_CONTAINER(t, struct pending, timer), &(struct vv_dns_answer){.err = VV_ETIMEOUT});
}

static void add_address(struct vv_dns_answer *answer, const struct sockaddr *sa, socklen_t len,
                        uint16_t port)
{
    struct vv_addr a;
    if (answer->count == VV_DNS_MAX || len > sizeof(a.any)) {
        return;
    }
    memset(&a, 0, sizeof(a));
    memcpy(&a.any, sa, len);
    a.len = len;
    if (sa->sa_family == AF_INET) {
        a.in4.sin_port = htons(port);
    } else {
        a.in6.sin6_port = htons(port);
    }
    for (size_t i = 0; i < answer->count; i++) {
        if (vv_addr_eq(&answer->addr[i], &a)) {
            return; /* hosts files like to say things twice */
        }
    }
    answer->addr[answer->count++] = a;
}

static void collect(struct vv_dns_answer *answer, const struct ares_addrinfo *info, uint16_t port)
{
    static const int order[] = {AF_INET, AF_INET6};
    uint64_t ttl_ns = TTL_MAX_NS;
    for (size_t i = 0; i < VV_COUNT(order); i++) {
        for (const struct ares_addrinfo_node *n = info->nodes; n != NULL; n = n->ai_next) {
            if (n->ai_family == order[i]) {
                add_address(answer, n->ai_addr, n->ai_addrlen, port);
                ttl_ns = vv_min_u64(ttl_ns, n->ai_ttl > 0 ? (uint64_t)n->ai_ttl * VV_SEC : 0);
            }
        }
    }
    answer->ttl_ns = vv_max_u64(ttl_ns, TTL_MIN_NS);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct pending *p = arg;
    struct vv_dns_answer answer = {.err = VV_EDNS};
    if (p->query != NULL && status != ARES_EDESTRUCTION) {
        if (status == ARES_SUCCESS && info != NULL) {
            collect(&answer, info, p->query->port);
            answer.ttl_ns = p->dns->asking == p ? TTL_HOSTS_NS : answer.ttl_ns;
            answer.err = answer.count > 0 ? VV_OK : VV_EDNS;
        } else if (status == ARES_ETIMEOUT) {
            answer.err = VV_ETIMEOUT;
        } else if (status == ARES_ENOMEM) {
            answer.err = VV_ENOMEM;
        }
        p->dns->pending--;
        give(p, &answer);
    } else {
        p->dns->pending--;
        if (p->query != NULL) { /* the resolver is being freed: nobody is told */
            p->query->pending = NULL;
            vv_loop_timer_stop(p->dns->loop, &p->timer);
        }
    }
    if (info != NULL) {
        ares_freeaddrinfo(info);
    }
    free(p);
}

enum vv_err vv_dns_new(struct vv_loop *loop, struct vv_dns **ret)
{
    (void)pthread_once(&library_once, init_library);
    if (library_status != ARES_SUCCESS) {
        return VV_ENOMEM;
    }
    struct vv_dns *dns = calloc(1, sizeof(*dns));
    if (dns == NULL) {
        return VV_ENOMEM;
    }
    dns->loop = loop;
    vv_timer_init(&dns->timer, on_timer);
    vv_list_init(&dns->sockets);
    char lookups[] = "fb"; /* hosts file, then DNS */
    struct ares_options options = {.timeout = TRY_TIMEOUT_MS,
                                   .tries = TRIES,
                                   .lookups = lookups,
                                   .sock_state_cb = on_socket_state,
                                   .sock_state_cb_data = dns};
    const int status = ares_init_options(&dns->channel, &options,
                                         ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                             ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        free(dns);
        return status == ARES_ENOMEM ? VV_ENOMEM : VV_EDNS;
    }
    *ret = dns;
    return VV_OK;
}

void vv_dns_free(struct vv_dns *dns)
{
    if (dns == NULL) {
        return;
    }
    ares_destroy(dns->channel); /* answers everything with ARES_EDESTRUCTION, closes its sockets */
    VV_ASSERT(dns->pending == 0);
    VV_LIST_EACH (it, &dns->sockets) {
        forget_socket(VV_LIST_ENTRY(it, struct dns_socket, node));
    }
    vv_loop_timer_stop(dns->loop, &dns->timer);
    free(dns);
}

enum vv_err vv_dns_set_servers(struct vv_dns *dns, const char *csv)
{
    switch (ares_set_servers_ports_csv(dns->channel, csv)) {
    case ARES_SUCCESS:
        return VV_OK;
    case ARES_ENOMEM:
        return VV_ENOMEM;
    case ARES_ENOTIMP: /* queries are on their way */
        return VV_EAGAIN;
    default:
        return VV_EINVAL;
    }
}

/* RFC 6761 section 6.3: "localhost" and the names below it are the loopback addresses and are no
 * question for name servers. Into plain[]: the name in lower case, without a final dot. */
static bool means_this_machine(const char *name, char plain[NAME_BYTES])
{
    static const char local[] = "localhost";
    size_t n = strlen(name);
    n -= n > 0 && name[n - 1] == '.';
    if (n < sizeof(local) - 1 || n >= NAME_BYTES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        plain[i] = vv_char_lower(name[i]);
    }
    plain[n] = '\0';
    const size_t above = n - (sizeof(local) - 1);
    return strcmp(plain + above, local) == 0 && (above == 0 || plain[above - 1] == '.');
}

static void add_from_hosts(struct vv_dns *dns, const char *name, int family, uint16_t port,
                           struct vv_dns_answer *answer)
{
    struct hostent *host = NULL;
    if (ares_gethostbyname_file(dns->channel, name, family, &host) != ARES_SUCCESS) {
        return; /* no such line, or no such file */
    }
    for (char **at = host->h_addr_list; *at != NULL; at++) {
        struct vv_addr a;
        memset(&a, 0, sizeof(a));
        a.sa.sa_family = (sa_family_t)family;
        if (family == AF_INET) {
            memcpy(&a.in4.sin_addr, *at, sizeof(a.in4.sin_addr));
            add_address(answer, &a.sa, sizeof(a.in4), port);
        } else {
            memcpy(&a.in6.sin6_addr, *at, sizeof(a.in6.sin6_addr));
            add_address(answer, &a.sa, sizeof(a.in6), port);
        }
    }
    ares_free_hostent(host);
}

/* The hosts file goes first, since it may say less or more; a small container has none. */
static void answer_local(struct vv_dns *dns, struct vv_dns_query *q, const char *name)
{
    struct vv_dns_answer answer = {.err = VV_OK, .ttl_ns = TTL_HOSTS_NS};
    add_from_hosts(dns, name, AF_INET, q->port, &answer);
    add_from_hosts(dns, name, AF_INET6, q->port, &answer);
    if (answer.count == 0) {
        VV_ASSERT(vv_addr_from_ip(VV_STR("127.0.0.1"), q->port, &answer.addr[0]));
        VV_ASSERT(vv_addr_from_ip(VV_STR("::1"), q->port, &answer.addr[1]));
        answer.count = 2;
    }
    q->fn(q, &answer);
}

static void refuse(struct vv_dns_query *q, enum vv_err err)
{
    q->fn(q, &(struct vv_dns_answer){.err = err});
}

void vv_dns_lookup(struct vv_dns *dns, struct vv_dns_query *q, const char *name,
                   uint64_t timeout_ns)
{
    struct vv_dns_answer numeric = {.err = VV_OK, .count = 1, .ttl_ns = TTL_MAX_NS};
    q->pending = NULL;
    if (vv_addr_from_ip(vv_str_from(name), q->port, &numeric.addr[0])) {
        q->fn(q, &numeric);
        return;
    }
    char plain[NAME_BYTES];
    if (means_this_machine(name, plain)) {
        answer_local(dns, q, plain);
        return;
    }
    struct pending *p = dns->pending < PENDING_MAX ? calloc(1, sizeof(*p)) : NULL;
    if (p == NULL) {
        refuse(q, VV_ENOMEM);
        return;
    }
    p->dns = dns;
    p->query = q;
    vv_timer_init(&p->timer, on_query_timeout);
    /* Outside a turn, while the program starts, the loop's time may be old. */
    const bool in_turn = vv_loop_current() == dns->loop;
    const uint64_t now_ns = in_turn ? vv_loop_now(dns->loop) : vv_loop_refresh(dns->loop);
    vv_loop_timer_at(dns->loop, &p->timer, now_ns + timeout_ns);
    q->pending = p;
    dns->pending++;
    const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
    struct pending *const outer = dns->asking; /* a callback may ask for the next name */
    dns->asking = p;
    ares_getaddrinfo(dns->channel, name, NULL, &hints, on_answer, p); /* may free p */
    dns->asking = outer;
    schedule(dns);
}

void vv_dns_cancel(struct vv_dns_query *q)
{
    struct pending *p = q->pending;
    if (p != NULL) {
        p->query = NULL;
        q->pending = NULL;
        vv_loop_timer_stop(p->dns->loop, &p->timer);
    }
}
