/* tests/fuzz/fuzz_resp_session.c - any bytes of an application that speaks Redis to a whole front: a worker, its
 * loop and a store that has no server, so that memory answers. What comes back is well-formed answers in the
 * client's version, and when the client has gone, nothing of it is left.
 *
 * Byte 0: the size of the pieces that are written; bit 0 of byte 1: the rest are answers of a server
 * instead, which are converted: what comes out must be well-formed, in version 2 without types of 3. */
#include "gateway/homes.h"
#include "gateway/resp_int.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TURNS_MAX 2000
#define OUT_MAX (4u << 20)

static struct {
    struct vv_metrics *metrics;
    struct vv_loop *control;
    struct vv_stores *stores;
    struct vv_resp_home *home;
    struct vv_resp_plan *plan;
    struct vv_worker *w;
    struct vv_resp_front *front;
    struct vv_addr address;
    int listen_fd;
    char out[OUT_MAX];
} rig;

static struct vv_settings *settings_of(const char *text)
{
    const struct vv_conf_source source = {.path = "fuzz.yaml", .text = text, .no_files = true};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_settings *settings = NULL;
    VV_ASSERT(vv_settings_load(&source, problems, &settings) == VV_OK);
    vv_conf_problems_free(problems);
    return settings;
}

static void rig_up(void)
{
    char why[256];
    const struct vv_listen_options o = {.backlog = 16};
    struct vv_addr any;
    VV_ASSERT(vv_addr_parse(VV_STR("127.0.0.1:0"), &any) == VV_OK);
    VV_ASSERT(vv_sock_listen(&any, &o, &rig.listen_fd) == VV_OK);
    VV_ASSERT(vv_sock_local(rig.listen_fd, &rig.address) == VV_OK);
    struct vv_settings *s = settings_of("listen: 1\nroutes: [{path: /, respond: {body: x}}]\n"
                                        "stores: {s: {listen: \"127.0.0.1:1\", fallback: "
                                        "{entries: 50, memory: 64KB, max_object: 4KB}}}\n");
    VV_ASSERT(vv_loop_new(&rig.control) == VV_OK && vv_metrics_new(&rig.metrics) == VV_OK);
    VV_ASSERT(vv_stores_new(rig.control, rig.metrics, &rig.stores) == VV_OK);
    VV_ASSERT(vv_stores_prepare(rig.stores, s, why) == VV_OK);
    VV_ASSERT(vv_resp_home_new(&rig.home) == VV_OK);
    VV_ASSERT(vv_resp_plan_new(rig.home, rig.stores, s, &rig.plan) == VV_OK);
    const struct vv_worker_options wo = {.metrics = rig.metrics};
    VV_ASSERT(vv_worker_new(NULL, &wo, &rig.w) == VV_OK);
    VV_ASSERT(vv_resp_fronts_adopt(rig.w, rig.plan, &rig.listen_fd) == VV_OK);
    rig.front = VV_LIST_ENTRY(rig.w->resp_fronts.next, struct vv_resp_front, node);
    vv_stores_settle(rig.stores, s, true);
    vv_settings_free(s);
}

/* Whole answers only, and none of a type the version has not. */
static size_t well_formed(struct vv_str bytes, bool version2, bool whole)
{
    struct vv_resp_reader r;
    size_t answers = 0;
    vv_resp_reader_init(&r, NULL, false);
    for (enum vv_err err = VV_OK; err == VV_OK;) {
        struct vv_resp_item it;
        size_t used = 0;
        err = vv_resp_next(&r, bytes, &used, &it);
        VV_ASSERT(err == VV_OK || err == VV_EAGAIN);
        const char first = bytes.n > 0 ? bytes.p[0] : '+';
        VV_ASSERT(err != VV_OK || !version2 || !it.first || strchr("+-:$*", first) != NULL ||
                  it.type == VV_RESP_BULK);
        bytes = (struct vv_str){bytes.p + used, bytes.n - used};
        answers += err == VV_OK && it.done;
    }
    VV_ASSERT(!whole || (bytes.n == 0 && vv_resp_between(&r)));
    return answers;
}

static void turn(void)
{
    vv_loop_turn(rig.w->loop, 0);
}

static int reach(void)
{
    int fd = -1;
    VV_ASSERT(vv_sock_connect(&rig.address, &fd) == VV_OK);
    for (int i = 0; rig.front->count == 0 && i < TURNS_MAX; i++) {
        turn();
    }
    return fd;
}

static size_t read_all(int fd, size_t n, bool *ret_end)
{
    for (;;) {
        if (n == OUT_MAX) {
            n = 0; /* more than is looked at: only that it ends matters */
        }
        const ssize_t got = recv(fd, rig.out + n, OUT_MAX - n, MSG_DONTWAIT);
        if (got <= 0) {
            *ret_end = *ret_end || got == 0;
            return n;
        }
        n += (size_t)got;
    }
}

static void session(const uint8_t *data, size_t size, size_t piece)
{
    bool ended = false;
    size_t n = 0;
    const int fd = reach();
    for (size_t at = 0; at < size && !ended;) {
        const size_t part = size - at < piece ? size - at : piece;
        const ssize_t sent = send(fd, data + at, part, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            ended = true;
        }
        at += sent > 0 ? (size_t)sent : 0;
        turn();
        n = read_all(fd, n, &ended);
    }
    (void)shutdown(fd, SHUT_WR); /* what was asked is still answered */
    for (int i = 0; rig.front->count > 0 && i < TURNS_MAX; i++) {
        turn();
        n = read_all(fd, n, &ended);
    }
    n = read_all(fd, n, &ended);
    close(fd);
    for (int i = 0; rig.front->count > 0 && i < TURNS_MAX; i++) {
        turn();
    }
    VV_ASSERT(rig.front->count == 0 && rig.front->bytes == 0);
    VV_ASSERT(vv_list_empty(&rig.front->clients) && vv_list_empty(&rig.front->waiting));
    (void)well_formed((struct vv_str){rig.out, n}, false, n < OUT_MAX / 2);
}

static void convert(struct vv_str bytes, unsigned version, uint16_t flags)
{
    struct vv_resp_bytes out = {0};
    struct vv_resp_convert v;
    struct vv_resp_reader r;
    const struct vv_resp_limits limits = {.bulk_max = 8192, .items_max = 1024};
    size_t answers = 0;
    size_t at = 0; /* of `out`: behind the last whole answer */
    vv_resp_reader_init(&r, &limits, false);
    vv_resp_convert_init(&v, version, flags);
    for (;;) {
        struct vv_resp_item it;
        size_t used = 0;
        if (vv_resp_next(&r, bytes, &used, &it) != VV_OK) {
            break;
        }
        bytes = (struct vv_str){bytes.p + used, bytes.n - used};
        VV_ASSERT(vv_resp_convert(&v, &it, &out));
        if (it.done && !it.push) {
            answers++;
            at = out.n;
            vv_resp_convert_init(&v, version, flags);
        }
    }
    VV_ASSERT(well_formed((struct vv_str){out.p != NULL ? out.p : "", at}, version == 2, true) ==
              answers);
    vv_resp_bytes_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 65536) {
        return 0;
    }
    if (rig.w == NULL) {
        rig_up();
    }
    if ((data[1] & 1) == 0) {
        session(data + 2, size - 2, 1 + (size_t)data[0] * 64);
        return 0;
    }
    const struct vv_str bytes = {(const char *)data + 2, size - 2};
    const struct vv_resp_command *c = vv_resp_command_at(data[0]);
    convert(bytes, 2, c != NULL ? c->flags : 0);
    convert(bytes, 3, c != NULL ? c->flags : 0);
    return 0;
}
