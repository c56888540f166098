/* bench/src/origin.c - a small, fast HTTP/1.1 origin for the benchmarks.
 *
 * Loads every file below DIR at start and serves each from memory with one send. Files below /c/
 * are cacheable for a day, all others are no-store; *.json is JSON. /stats answers
 * {"requests":N,"connections":N} and does not count itself.
 *
 *   origin -p PORT -d DIR
 */
#include "util.h"
#include <dirent.h>
#include <sys/stat.h>

#define REQUEST_BYTES 16384
#define FILES_MAX 64

struct file {
    char path[256];
    size_t path_len;
    char *answer; /* head and body */
    size_t len;
    size_t date_at; /* where the value of Date stands in it */
};

struct conn {
    int fd;
    char *buf;
    size_t used;
    const char *out; /* what the socket has not taken yet */
    size_t out_len;
    bool close;
};

static struct file files[FILES_MAX];
static size_t files_count;
static unsigned long long requests, connections;
static int ep;

static void add_file(const char *full, const char *path)
{
    FILE *in = fopen(full, "rb");
    struct stat st;
    if (in == NULL || fstat(fileno(in), &st) != 0 || files_count == FILES_MAX ||
        strlen(path) >= sizeof files[0].path) {
        die(full);
    }
    struct file *f = &files[files_count++];
    const size_t body = (size_t)st.st_size;
    f->path_len = strlen(path);
    memcpy(f->path, path, f->path_len + 1);
    f->answer = malloc(body + 512);
    if (f->answer == NULL) {
        die("malloc");
    }
    const bool is_json = strstr(path, ".json") != NULL;
    const char *head = "HTTP/1.1 200 OK\r\nDate: ";
    f->date_at = strlen(head);
    const int n = snprintf(f->answer, 512,
                           "%sThu, 01 Jan 1970 00:00:00 GMT\r\nServer: origin\r\n"
                           "Content-Type: application/%s\r\nContent-Length: %zu\r\n"
                           "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"b%zu\"\r\n"
                           "Cache-Control: %s\r\n\r\n",
                           head, is_json ? "json" : "octet-stream", body, body,
                           strncmp(path, "/c/", 3) == 0 ? "public, max-age=86400" : "no-store");
    if (fread(f->answer + n, 1, body, in) != body) {
        die(full);
    }
    f->len = (size_t)n + body;
    fclose(in);
}

static void add_folder(const char *root, const char *below)
{
    char full[2048];
    snprintf(full, sizeof full, "%s%s", root, below);
    DIR *folder = opendir(full);
    if (folder == NULL) {
        die(full);
    }
    for (const struct dirent *e; (e = readdir(folder)) != NULL;) {
        char path[512];
        struct stat st;
        if (e->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", below, e->d_name);
        snprintf(full, sizeof full, "%s%s", root, path);
        if (stat(full, &st) != 0) {
            die(full);
        }
        if (S_ISDIR(st.st_mode)) {
            add_folder(root, path);
        } else {
            add_file(full, path);
        }
    }
    closedir(folder);
}

static void set_dates(void)
{
    static time_t last;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (t.tv_sec == last) {
        return;
    }
    last = t.tv_sec;
    char text[64];
    struct tm tm;
    gmtime_r(&last, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    for (size_t i = 0; i < files_count; i++) {
        memcpy(files[i].answer + files[i].date_at, text, 29);
    }
}

/* Returns 0 when all is sent, 1 when the socket is full, -1 when the peer is gone. */
static int flush_out(struct conn *c)
{
    while (c->out_len > 0) {
        const ssize_t w = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
        if (w < 0) {
            return errno == EAGAIN ? 1 : -1;
        }
        c->out += w;
        c->out_len -= (size_t)w;
    }
    return 0;
}

static void answer_small(struct conn *c, bool stats)
{
    static char text[512];
    char body[128];
    const int n = stats ? snprintf(body, sizeof body, "{\"requests\":%llu,\"connections\":%llu}\n",
                                   requests, connections)
                        : snprintf(body, sizeof body, "not found\n");
    c->out = text;
    c->out_len = (size_t)snprintf(text, sizeof text,
                                  "HTTP/1.1 %s\r\nContent-Length: %d\r\n"
                                  "Cache-Control: no-store\r\n\r\n%s",
                                  stats ? "200 OK" : "404 Not Found", n, body);
}

/* Makes the answer to the request head of len bytes. */
static void answer(struct conn *c, const char *head, size_t len)
{
    const char *space = memchr(head, ' ', len);
    const char *path = space != NULL ? space + 1 : head + len;
    const char *end = memchr(path, ' ', len - (size_t)(path - head));
    const size_t path_len = end != NULL ? (size_t)(end - path) : 0;
    const bool old = end != NULL && strncmp(end + 1, "HTTP/1.0", 8) == 0;
    c->close = old ? memmem(head, len, "eep-alive", 9) == NULL
                   : memmem(head, len, "onnection: close", 16) != NULL;
    for (size_t i = 0; i < files_count; i++) {
        if (files[i].path_len == path_len && memcmp(files[i].path, path, path_len) == 0) {
            requests++;
            c->out = files[i].answer;
            c->out_len = files[i].len;
            return;
        }
    }
    answer_small(c, path_len == 6 && memcmp(path, "/stats", 6) == 0);
}

/* Answers every whole request in the buffer. Returns whether the connection has ended. */
static bool answer_all(struct conn *c)
{
    while (c->used > 0) {
        const char *end = memmem(c->buf, c->used, "\r\n\r\n", 4);
        if (end == NULL) {
            return c->used == REQUEST_BYTES;
        }
        const size_t len = (size_t)(end + 4 - c->buf);
        answer(c, c->buf, len);
        c->used -= len;
        if (c->used > 0) {
            memmove(c->buf, c->buf + len, c->used);
        }
        const int f = flush_out(c);
        if (f == 1) {
            struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
            epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
            return false;
        }
        if (f < 0 || c->close) {
            return true;
        }
    }
    return false;
}

/* Returns whether the connection has ended. */
static bool on_event(struct conn *c, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        const int f = flush_out(c);
        if (f == 1) {
            return false;
        }
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
        return f < 0 || c->close || answer_all(c);
    }
    const ssize_t r = recv(c->fd, c->buf + c->used, REQUEST_BYTES - c->used, 0);
    if (r <= 0) {
        return r == 0 || errno != EAGAIN;
    }
    c->used += (size_t)r;
    return answer_all(c);
}

static void on_accept(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof(*c));
        if (c == NULL || (c->buf = malloc(REQUEST_BYTES)) == NULL) {
            die("malloc");
        }
        connections++;
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int argc, char **argv)
{
    int port = 8081, option;
    const char *dir = ".";
    while ((option = getopt(argc, argv, "p:d:")) != -1) {
        if (option == 'p') {
            port = atoi(optarg);
        } else if (option == 'd') {
            dir = optarg;
        } else {
            return 2;
        }
    }
    raise_nofile(200000);
    add_folder(dir, "");
    const int listener = listen_on(port, true);
    ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev[512] = {{.events = EPOLLIN}};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, ev);
    for (;;) {
        const int n = epoll_wait(ep, ev, 512, -1);
        set_dates();
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c == NULL) {
                on_accept(listener);
            } else if (on_event(c, ev[i].events)) {
                close(c->fd);
                free(c->buf);
                free(c);
            }
        }
    }
}
