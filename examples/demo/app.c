/* examples/demo/app.c - a small bookshop API, the application behind the demonstration's gateway.
 *
 * Nothing here knows of Vivace: plain sockets, one thread per connection, a catalogue in memory.
 *
 *   app PORT NAME       serves on 127.0.0.1:PORT and says X-Instance: NAME in every answer
 *
 *   GET  /health              200, or 503 while the instance was told to be sick
 *   GET  /api/books           the catalogue
 *   GET  /api/books/{id}      one book
 *   POST /api/orders          {"book": 3, "count": 2} makes an order: 201
 *   GET  /api/slow?ms=300     waits before it answers, at most 5 s
 *   GET  /api/primes?below=N  counts primes: some work for the processor
 *   POST /sick?ms=15000       the instance fails its health check for so long
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES 16384
#define ANSWER_BYTES 8192
#define THREADS_MAX 1024
#define IDLE_SECONDS 120 /* longer than the gateway keeps a connection, so that it closes first */
#define SLOW_MS_MAX 5000
#define PRIMES_MAX 200000
#define ORDER_COUNT_MAX 100

struct book {
    const char *title, *author;
    unsigned cents;
};

static const struct book books[] = {
    {"The C Programming Language", "Brian W. Kernighan, Dennis M. Ritchie", 4990},
    {"The Art of Computer Programming", "Donald E. Knuth", 19900},
    {"Structure and Interpretation of Computer Programs", "Harold Abelson, Gerald Jay Sussman",
     5450},
    {"The Mythical Man-Month", "Frederick P. Brooks", 3200},
    {"Release It!", "Michael T. Nygard", 3990},
    {"Computer Networks", "Andrew S. Tanenbaum", 7800},
    {"TCP/IP Illustrated", "W. Richard Stevens", 6990},
    {"The Practice of Programming", "Brian W. Kernighan, Rob Pike", 4150},
    {"Programming Pearls", "Jon Bentley", 3390},
    {"Systems Performance", "Brendan Gregg", 5900},
};
#define BOOKS (sizeof books / sizeof books[0])

static const char *instance;
static atomic_int threads;
static atomic_uint orders;
static atomic_llong sick_until_ms;

struct request {
    const char *method;
    char *target, *query; /* query: what follows the "?", or "" */
    char *body;
    size_t head_bytes, body_bytes;
    bool keep, head_only;
};

struct answer {
    int status;
    size_t used; /* the body so far; what does not fit is cut, no answer here is near the limit */
    char location[64];
    char body[ANSWER_BYTES];
};

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 2, 3))) static void put(struct answer *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(a->body + a->used, sizeof a->body - a->used, format, list);
    va_end(list);
    if (n > 0) {
        a->used += (size_t)n;
        if (a->used >= sizeof a->body) {
            a->used = sizeof a->body - 1;
        }
    }
}

static void fail(struct answer *a, int status, const char *why)
{
    a->status = status;
    a->used = 0;
    put(a, "{\"error\": \"%s\"}\n", why);
}

/* The number in "key=NUMBER" of a query, or otherwise what is usual; never above max. */
static long query_number(const char *query, const char *key, long usual, long max)
{
    const size_t n = strlen(key);
    for (const char *p = query; p != NULL && *p != '\0'; p = strchr(p, '&')) {
        p += *p == '&';
        if (strncmp(p, key, n) == 0 && p[n] == '=' && isdigit((unsigned char)p[n + 1])) {
            const long value = strtol(p + n + 1, NULL, 10);
            return value < max ? value : max;
        }
    }
    return usual;
}

/* The number behind "key": in a flat JSON object; false when it is not there. */
static bool json_number(const char *text, const char *key, long *ret)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *p = strstr(text, quoted);
    if (p == NULL) {
        return false;
    }
    p += strlen(quoted);
    p += strspn(p, " \t\r\n");
    if (*p++ != ':') {
        return false;
    }
    p += strspn(p, " \t\r\n");
    char *end;
    errno = 0;
    *ret = strtol(p, &end, 10);
    return end != p && errno == 0;
}

static void put_book(struct answer *a, size_t i)
{
    put(a, "{\"id\": %zu, \"title\": \"%s\", \"author\": \"%s\", \"price\": %u.%02u}", i + 1,
        books[i].title, books[i].author, books[i].cents / 100, books[i].cents % 100);
}

static void get_health(struct answer *a, const struct request *q)
{
    (void)q;
    const bool sick = now_ms() < sick_until_ms;
    a->status = sick ? 503 : 200;
    put(a, "{\"status\": \"%s\", \"instance\": \"%s\"}\n", sick ? "sick" : "ok", instance);
}

static void get_books(struct answer *a, const struct request *q)
{
    (void)q;
    put(a, "[");
    for (size_t i = 0; i < BOOKS; i++) {
        put(a, i > 0 ? ",\n " : "");
        put_book(a, i);
    }
    put(a, "]\n");
}

static void get_book(struct answer *a, const struct request *q)
{
    char *end;
    const char *text = q->target + strlen("/api/books/");
    const unsigned long id = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || id < 1 || id > BOOKS) {
        fail(a, 404, "there is no such book");
        return;
    }
    put_book(a, id - 1);
    put(a, "\n");
}

static void post_order(struct answer *a, const struct request *q)
{
    long book = 0;
    long count = 1;
    const char *start = q->body + strspn(q->body, " \t\r\n");
    if (*start != '{' || !json_number(start, "book", &book)) {
        fail(a, 400, "send a JSON object such as {\\\"book\\\": 3, \\\"count\\\": 2}");
        return;
    }
    if (book < 1 || book > (long)BOOKS) {
        fail(a, 404, "there is no such book");
        return;
    }
    if (strstr(start, "\"count\"") != NULL && !json_number(start, "count", &count)) {
        fail(a, 400, "count must be a number");
        return;
    }
    if (count < 1 || count > ORDER_COUNT_MAX) {
        fail(a, 422, "count must be between 1 and 100");
        return;
    }
    const unsigned id = ++orders;
    const unsigned cents = books[book - 1].cents * (unsigned)count;
    a->status = 201;
    snprintf(a->location, sizeof a->location, "/api/orders/%s-%u", instance, id);
    put(a, "{\"order\": \"%s-%u\", \"book\": %ld, \"count\": %ld, \"total\": %u.%02u}\n", instance,
        id, book, count, cents / 100, cents % 100);
}

static void get_slow(struct answer *a, const struct request *q)
{
    const long ms = query_number(q->query, "ms", 300, SLOW_MS_MAX);
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&wait, NULL);
    put(a, "{\"waited_ms\": %ld}\n", ms);
}

static void get_primes(struct answer *a, const struct request *q)
{
    const long below = query_number(q->query, "below", 5000, PRIMES_MAX);
    long count = 0;
    for (long n = 2; n < below; n++) {
        bool prime = true;
        for (long d = 2; d * d <= n && prime; d++) {
            prime = n % d != 0;
        }
        count += prime;
    }
    put(a, "{\"below\": %ld, \"primes\": %ld}\n", below, count);
}

static void post_sick(struct answer *a, const struct request *q)
{
    const long ms = query_number(q->query, "ms", 15000, 600000);
    sick_until_ms = now_ms() + ms;
    put(a, "{\"instance\": \"%s\", \"sick_ms\": %ld}\n", instance, ms);
}

/* The API of examples/load: a rate of new cases per 100,000 people and what it means. */
static void post_prediction(struct answer *a, const struct request *q)
{
    long people = 0;
    long cases = 0;
    if (!json_number(q->body, "population", &people) || people < 1 ||
        !json_number(q->body, "nouveaux_cas", &cases) || cases < 0) {
        fail(a, 422, "send {\\\"population\\\": 1000, \\\"nouveaux_cas\\\": 3}");
        return;
    }
    const double rate = (double)cases * 100000.0 / (double)people;
    put(a, "{\"instance\": \"%s\", \"rate\": %.2f, \"admissions\": %.0f}\n", instance, rate,
        (double)cases * 0.04);
}

/* A list of predictions; an empty request has an empty result. */
static void post_bulk(struct answer *a, const struct request *q)
{
    put(a, "{\"instance\": \"%s\", \"received_bytes\": %zu, \"predictions\": []}\n", instance,
        q->body_bytes);
}

static const struct {
    const char *method, *path; /* a path that ends in "/" takes everything below it */
    void (*serve)(struct answer *a, const struct request *q);
} routes[] = {
    {"GET", "/health", get_health},
    {"GET", "/api/books", get_books},
    {"GET", "/api/books/", get_book},
    {"POST", "/api/orders", post_order},
    {"GET", "/api/slow", get_slow},
    {"GET", "/api/primes", get_primes},
    {"POST", "/sick", post_sick},
    {"GET", "/api/v1/health", get_health},
    {"POST", "/api/v1/prediction/hospitalisation", post_prediction},
    {"POST", "/api/technique/v1/bulk/predictions", post_bulk},
};

static void route(struct answer *a, const struct request *q)
{
    bool path_known = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const size_t n = strlen(routes[i].path);
        const bool below = routes[i].path[n - 1] == '/';
        if (below ? strncmp(q->target, routes[i].path, n) : strcmp(q->target, routes[i].path)) {
            continue;
        }
        path_known = true;
        if (strcmp(q->method, routes[i].method) == 0) {
            routes[i].serve(a, q);
            return;
        }
    }
    fail(a, path_known ? 405 : 404, path_known ? "not with this method" : "nothing is here");
}

/* The value of a header field of the head that ends at head_end, or NULL. */
static const char *field(const char *head, const char *head_end, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = strchr(head, '\n'); p != NULL && p + n + 1 < head_end;
         p = strchr(p + 1, '\n')) {
        if (strncasecmp(p + 1, name, n) == 0 && p[n + 1] == ':') {
            return p + n + 2 + strspn(p + n + 2, " \t");
        }
    }
    return NULL;
}

/* Takes the head in buf apart in place. Returns 0, or the status that says what is wrong with it.
 */
static int parse(char *buf, char *head_end, struct request *q)
{
    const char *connection = field(buf, head_end, "Connection");
    const char *length = field(buf, head_end, "Content-Length");
    q->head_bytes = (size_t)(head_end - buf);
    q->keep = connection == NULL || strncasecmp(connection, "close", 5) != 0;
    if (field(buf, head_end, "Transfer-Encoding") != NULL) {
        return 411;
    }
    if (length != NULL) {
        q->body_bytes = strtoul(length, NULL, 10);
        if (!isdigit((unsigned char)*length) || q->body_bytes >= REQUEST_BYTES - q->head_bytes) {
            return 413;
        }
    }
    char *save;
    q->method = strtok_r(buf, " ", &save);
    q->target = strtok_r(NULL, " ", &save);
    const char *version = strtok_r(NULL, "\r", &save);
    if (q->target == NULL || version == NULL || strncmp(version, "HTTP/1.", 7) != 0) {
        return 400;
    }
    q->head_only = strcmp(q->method, "HEAD") == 0;
    if (q->head_only) {
        q->method = "GET";
    }
    char *mark = strchr(q->target, '?');
    q->query = mark != NULL ? mark + 1 : q->target + strlen(q->target);
    if (mark != NULL) {
        *mark = '\0';
    }
    return 0;
}

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 404:
        return "Not Found";
    case 503:
        return "Service Unavailable";
    default:
        return status < 500 ? "Bad Request" : "Error";
    }
}

static bool send_all(int fd, const char *p, size_t n, int flags)
{
    while (n > 0) {
        const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | flags);
        if (sent < 0) {
            return false;
        }
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool send_answer(int fd, const struct answer *a, const struct request *q)
{
    char head[512];
    const int n = snprintf(
        head, sizeof head,
        "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\nX-Instance: %s\r\n%s%s%s%s\r\n",
        a->status, reason(a->status), a->used, instance, a->location[0] != '\0' ? "Location: " : "",
        a->location, a->location[0] != '\0' ? "\r\n" : "", q->keep ? "" : "Connection: close\r\n");
    return send_all(fd, head, (size_t)n, q->head_only ? 0 : MSG_MORE) &&
           (q->head_only || send_all(fd, a->body, a->used, 0));
}

/* Reads until buf holds at least `want` bytes, or a whole head when want is 0; *used counts what is
 * there. Returns where the head ends, or NULL when the peer is gone or sends too much. */
static char *read_until(int fd, char *buf, size_t *used, size_t want)
{
    for (;;) {
        buf[*used] = '\0';
        char *end = strstr(buf, "\r\n\r\n");
        if (want > 0 ? *used >= want : end != NULL) {
            return end != NULL ? end + 4 : buf;
        }
        if (*used == REQUEST_BYTES) {
            return NULL;
        }
        const ssize_t n = recv(fd, buf + *used, REQUEST_BYTES - *used, 0);
        if (n <= 0) {
            return NULL;
        }
        *used += (size_t)n;
    }
}

/* One request and its answer. Returns whether the connection goes on. */
static bool serve_one(int fd, char *buf, size_t *used)
{
    struct request q = {.keep = true};
    struct answer a = {.status = 200};
    char *end = read_until(fd, buf, used, 0);
    if (end == NULL) {
        return false;
    }
    const int wrong = parse(buf, end, &q);
    if (wrong != 0) {
        q.keep = false;
        fail(&a, wrong, "this request is not one for a bookshop");
        return send_answer(fd, &a, &q) && false;
    }
    const size_t whole = q.head_bytes + q.body_bytes;
    if (*used < whole && read_until(fd, buf, used, whole) == NULL) {
        return false;
    }
    const char after = buf[whole]; /* the next request may follow at once */
    buf[whole] = '\0';
    q.body = buf + q.head_bytes;
    route(&a, &q);
    buf[whole] = after;
    *used -= whole;
    memmove(buf, buf + whole, *used);
    return send_answer(fd, &a, &q) && q.keep;
}

static void *serve_connection(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char *buf = malloc(REQUEST_BYTES + 1);
    size_t used = 0;
    while (buf != NULL && serve_one(fd, buf, &used)) {
    }
    free(buf);
    close(fd);
    threads--;
    return NULL;
}

static int listen_on(int port)
{
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1024) != 0) {
            close(fd);
            return -1;
        }
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: app PORT NAME\n");
        return 2;
    }
    instance = argv[2];
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* the demonstration ends as a whole */
    const int listener = listen_on(atoi(argv[1]));
    if (listener < 0) {
        perror("app: cannot listen");
        return 1;
    }
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        const struct timeval idle = {.tv_sec = IDLE_SECONDS};
        const int one = 1;
        pthread_t thread;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (++threads > THREADS_MAX ||
            pthread_create(&thread, &attr, serve_connection, (void *)(intptr_t)fd) != 0) {
            threads--;
            close(fd);
        }
    }
}
