/* src/app/client.c - a blocking HTTP/1.1 client of the admin socket: one call, one connection. */
#include "app/cli.h"
#include "app/socket_path.h"
#include "os/clock.h"
#include "os/sock.h"
#include "wire/http1.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_TIMEOUT_NS (60 * VV_SEC)
#define ANSWER_BYTES_MAX (256U * 1024 * 1024)

static const struct vv_h1_limits limits = {
    .line_bytes = 8192, .head_bytes = 65536, .fields = VV_H1_FIELDS_MAX};

static enum vv_err connect_to(const char *socket, int *ret_fd)
{
    struct vv_addr addr;
    char text[VV_ADDR_TEXT];
    (void)snprintf(text, sizeof text, "unix:%s", socket);
    const enum vv_err err = vv_addr_parse(vv_str_from(text), &addr);
    return err != VV_OK ? err : vv_sock_connect(&addr, ret_fd);
}

bool client_alive(const char *socket)
{
    VV_AUTO(vv_close_fd) int fd = -1;
    return connect_to(socket, &fd) == VV_OK;
}

static enum vv_err wait_for(int fd, short events, uint64_t deadline_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    const uint64_t now_ns = vv_clock_now();
    if (deadline_ns != 0 && now_ns >= deadline_ns) {
        return VV_ETIMEOUT;
    }
    const int ms = deadline_ns == 0 ? -1 : (int)((deadline_ns - now_ns) / VV_MS) + 1;
    const int n = poll(&p, 1, ms);
    if (n < 0 && errno != EINTR) {
        return vv_err_from_errno(errno);
    }
    return VV_OK;
}

static enum vv_err write_all(int fd, struct vv_str bytes, uint64_t deadline_ns)
{
    while (bytes.n > 0) {
        const ssize_t n = write(fd, bytes.p, bytes.n);
        if (n > 0) {
            bytes.p += n;
            bytes.n -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return vv_err_from_errno(errno);
        }
        const enum vv_err err = wait_for(fd, POLLOUT, deadline_ns);
        if (err != VV_OK) {
            return err;
        }
    }
    return VV_OK;
}

/* Appends what is there; VV_ECLOSED at the end of the stream. */
static enum vv_err read_some(int fd, struct vv_sb *in, uint64_t deadline_ns)
{
    char buf[16384];
    for (;;) {
        const ssize_t n = read(fd, buf, sizeof buf);
        if (n > 0) {
            vv_sb_add(in, (struct vv_str){buf, (size_t)n});
            return in->failed || in->n > ANSWER_BYTES_MAX ? VV_ELIMIT : VV_OK;
        }
        if (n == 0) {
            return VV_ECLOSED;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return vv_err_from_errno(errno);
        }
        const enum vv_err err = wait_for(fd, POLLIN, deadline_ns);
        if (err != VV_OK) {
            return err;
        }
    }
}

static enum vv_err send_request(int fd, const char *method, const char *target, struct vv_str body,
                                uint64_t deadline_ns)
{
    struct vv_sb out = VV_SB_INIT;
    vv_sb_addf(&out,
               "%s %s HTTP/1.1\r\nHost: localhost\r\nX-Vivace: cli\r\nConnection: close\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
               method, target, body.n);
    vv_sb_add(&out, body);
    const enum vv_err err = out.failed ? VV_ENOMEM : write_all(fd, vv_sb_str(&out), deadline_ns);
    vv_sb_fini(&out);
    return err;
}

static enum vv_err read_head(int fd, struct vv_sb *in, struct vv_h1_head *head,
                             uint64_t deadline_ns)
{
    vv_h1_head_init(head);
    for (;;) {
        enum vv_err err = read_some(fd, in, deadline_ns);
        if (err != VV_OK) {
            return err;
        }
        err = vv_h1_parse_answer(head, vv_sb_str(in), VV_METHOD_GET, &limits);
        if (err != VV_EAGAIN) {
            return err;
        }
    }
}

enum vv_err client_call(const char *socket, const char *method, const char *target,
                        struct vv_str body, struct client_answer *ret)
{
    VV_AUTO(vv_close_fd) int fd = -1;
    static struct vv_h1_head head;
    struct vv_sb in = VV_SB_INIT;
    const uint64_t deadline_ns = vv_clock_now() + CALL_TIMEOUT_NS;
    enum vv_err err = connect_to(socket, &fd);
    if (err == VV_OK) {
        err = send_request(fd, method, target, body, deadline_ns);
    }
    if (err == VV_OK) {
        err = read_head(fd, &in, &head, deadline_ns);
    }
    /* Every answer to a call has a length; only streams are chunked. */
    while (err == VV_OK && in.n < head.head_bytes + head.content_length) {
        err = read_some(fd, &in, deadline_ns);
    }
    if (err == VV_OK) {
        ret->status = head.status;
        ret->body = (struct vv_sb)VV_SB_INIT;
        const struct vv_str all = vv_sb_str(&in);
        vv_sb_add(&ret->body,
                  (struct vv_str){all.p + head.head_bytes, (size_t)head.content_length});
    }
    vv_sb_fini(&in);
    return err;
}

/* Hands out the decoded part of `in`; false: stop. */
static bool stream_out(struct vv_h1_chunked *d, struct vv_sb *in,
                       bool (*fn)(void *user, struct vv_str bytes), void *user)
{
    size_t at = 0;
    bool more = true;
    while (more && at < in->n && !d->done) {
        size_t used = 0;
        struct vv_str data = {NULL, 0};
        const enum vv_err err =
            vv_h1_chunked_next(d, (struct vv_str){in->p + at, in->n - at}, &used, &data);
        at += used;
        if (data.n > 0) {
            more = fn(user, data);
        }
        if (err != VV_OK || used == 0) {
            more = more && err == VV_EAGAIN;
            break;
        }
    }
    vv_sb_reset(in);
    return more && !d->done;
}

enum vv_err client_stream(const char *socket, const char *target,
                          bool (*fn)(void *user, struct vv_str bytes), void *user)
{
    VV_AUTO(vv_close_fd) int fd = -1;
    static struct vv_h1_head head;
    struct vv_h1_chunked chunked;
    struct vv_sb in = VV_SB_INIT;
    const uint64_t deadline_ns = vv_clock_now() + CALL_TIMEOUT_NS;
    enum vv_err err = connect_to(socket, &fd);
    if (err == VV_OK) {
        err = send_request(fd, "GET", target, VV_STR(""), deadline_ns);
    }
    if (err == VV_OK) {
        err = read_head(fd, &in, &head, deadline_ns);
    }
    if (err == VV_OK && (head.status != 200 || head.framing != VV_H1_BODY_CHUNKED)) {
        err = VV_EUNSUPPORTED;
    }
    if (err == VV_OK) {
        vv_h1_chunked_init(&chunked);
        const struct vv_str all = vv_sb_str(&in);
        struct vv_sb rest = VV_SB_INIT;
        vv_sb_add(&rest, (struct vv_str){all.p + head.head_bytes, all.n - head.head_bytes});
        bool more = stream_out(&chunked, &rest, fn, user);
        while (more && (err = read_some(fd, &rest, 0)) == VV_OK) {
            more = stream_out(&chunked, &rest, fn, user);
        }
        vv_sb_fini(&rest);
    }
    vv_sb_fini(&in);
    return err == VV_ECLOSED ? VV_OK : err;
}

/* Any live socket in the usual folders; the number of them, the first in buf. */
static size_t search(char *buf, size_t buf_bytes)
{
    char folder[VV_SOCKET_PATH], path[PATH_MAX];
    size_t found = 0;
    for (size_t i = 0; i < VV_SOCKET_FOLDERS; i++) {
        DIR *dir = vv_socket_folder(i, folder, sizeof folder) ? opendir(folder) : NULL;
        const struct dirent *e;
        while (dir != NULL && (e = readdir(dir)) != NULL) {
            if (!vv_str_ends(vv_str_from(e->d_name), VV_STR(".sock"))) {
                continue;
            }
            (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            if (strlen(path) < buf_bytes && client_alive(path) && ++found == 1) {
                (void)snprintf(buf, buf_bytes, "%s", path);
            }
        }
        if (dir != NULL) {
            (void)closedir(dir);
        }
    }
    return found;
}

static bool find_by_file(const char *file, char *buf, size_t buf_bytes)
{
    char absolute[PATH_MAX], folder[VV_SOCKET_PATH], name[VV_SOCKET_PATH], path[PATH_MAX];
    if (vv_absolute_path(file, absolute, sizeof absolute) != VV_OK) {
        return false;
    }
    vv_socket_name(absolute, name, sizeof name);
    for (size_t i = 0; i < VV_SOCKET_FOLDERS; i++) {
        if (!vv_socket_folder(i, folder, sizeof folder)) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        if (strlen(path) < buf_bytes && client_alive(path)) {
            (void)snprintf(buf, buf_bytes, "%s", path);
            return true;
        }
    }
    return false;
}

/* Finds without a word; `why` gets the reason when there is none. */
static bool find(const struct cli_args *a, const char *file, char *buf, size_t buf_bytes, char *why,
                 size_t why_bytes)
{
    const char *given = cli_value(a, "socket");
    if (given == NULL && file == NULL) {
        given = getenv("VIVACE_SOCKET");
    }
    if (given != NULL) {
        (void)snprintf(buf, buf_bytes, "%s", given);
        (void)snprintf(why, why_bytes, "no gateway answers at %s", given);
        return client_alive(buf);
    }
    if (find_by_file(file != NULL ? file : "vivace.yaml", buf, buf_bytes) ||
        client_socket_of_file(file != NULL ? file : "vivace.yaml", buf, buf_bytes)) {
        return true;
    }
    if (file != NULL) {
        (void)snprintf(why, why_bytes, "no gateway runs with %s", file);
        return false;
    }
    const size_t found = search(buf, buf_bytes);
    if (found == 0) {
        (void)snprintf(why, why_bytes, "no gateway is running (start one: vivace run FILE)");
    } else {
        (void)snprintf(why, why_bytes, "%zu gateways are running: name the FILE of one", found);
    }
    return found == 1;
}

bool client_find(const struct cli_args *a, const char *file, char *buf, size_t buf_bytes)
{
    char why[PATH_MAX + 64];
    if (find(a, file, buf, buf_bytes, why, sizeof why)) {
        return true;
    }
    (void)cli_fail(EXIT_FAILED, "%s", why);
    return false;
}

bool client_find_quietly(const struct cli_args *a, const char *file, char *buf, size_t buf_bytes)
{
    char why[PATH_MAX + 64];
    return find(a, file, buf, buf_bytes, why, sizeof why);
}

/* `quiet`: a 404 is an answer, not a failure. */
static int call_json(const struct cli_args *a, const char *file, const char *method,
                     const char *target, struct vv_str body, bool quiet, json_t **ret)
{
    char socket[VV_SOCKET_PATH + 8];
    struct client_answer answer = {0};
    if (!client_find(a, file, socket, sizeof socket)) {
        return EXIT_FAILED;
    }
    const enum vv_err err = client_call(socket, method, target, body, &answer);
    if (err != VV_OK) {
        return cli_fail(EXIT_FAILED, "the gateway does not answer: %s", vv_err_text(err));
    }
    json_t *o = json_loadb(vv_sb_str(&answer.body).p, answer.body.n, JSON_DECODE_ANY, NULL);
    vv_sb_fini(&answer.body);
    if (o == NULL) {
        return cli_fail(EXIT_FAILED, "the gateway's answer is not JSON (status %d)", answer.status);
    }
    if (answer.status >= 400 && json_object_get(o, "problems") == NULL && answer.status != 503 &&
        !(quiet && answer.status == 404)) {
        (void)cli_fail(EXIT_FAILED, "%s", json_text(o, "error"));
        json_decref(o);
        return EXIT_FAILED;
    }
    *ret = o;
    return EXIT_FINE;
}

int client_json(const struct cli_args *a, const char *file, const char *method, const char *target,
                json_t **ret)
{
    return call_json(a, file, method, target, VV_STR(""), false, ret);
}

int client_json_send(const struct cli_args *a, const char *file, const char *method,
                     const char *target, struct vv_str body, json_t **ret)
{
    return call_json(a, file, method, target, body, false, ret);
}

int client_json_quiet(const struct cli_args *a, const char *file, const char *target, json_t **ret)
{
    return call_json(a, file, "GET", target, VV_STR(""), true, ret);
}
