/* src/gateway/checks_h2.c - a codec with a memory of its own: probes are rare and run on another thread
 * than requests. */
#include "gateway/checks_h2.h"
#include "gateway/upstream_h2_int.h"
#include <stdlib.h>

#define STAGE_BYTES (16 * 1024)
#define FIELDS_MAX 16
#define MESSAGE_MAX 64 /* of a health answer: five bytes, then two that matter */

struct vv_check_h2 {
    struct vv_h2_counts counts;
    struct vv_h2_pool *pool;
    struct vv_h2 *h2;
    bool grpc, over, failed;
    bool well; /* of gRPC: the status says so */
    int status;
    size_t message_bytes;
    char message[MESSAGE_MAX];
};

static void note_grpc(struct vv_check_h2 *k, const struct vv_h1_head *head)
{
    const struct vv_h1_field *f = vv_h1_find_name(head, VV_STR("grpc-status"));
    k->well = f != NULL && vv_str_eq(f->value, VV_STR("0"));
}

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *head, bool end)
{
    struct vv_check_h2 *k = user;
    (void)s;
    if (head->error != VV_H1_FINE) {
        k->failed = true;
    } else if (head->status >= 200) {
        k->status = head->status;
        k->over = end || !k->grpc;
        note_grpc(k, head);
    }
}

static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    struct vv_check_h2 *k = user;
    const size_t n = vv_min_u64(bytes.n, sizeof k->message - k->message_bytes);
    (void)s;
    memcpy(k->message + k->message_bytes, bytes.p, n);
    k->message_bytes += n;
}

static void on_trailers(void *user, struct vv_h2_stream *s, const struct vv_h1_head *fields)
{
    (void)s;
    note_grpc(user, fields);
}

static void on_end(void *user, struct vv_h2_stream *s)
{
    (void)s;
    ((struct vv_check_h2 *)user)->over = true;
}

static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    (void)user;
    (void)s;
    (void)bytes;
}

static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    struct vv_check_h2 *k = user;
    (void)s;
    (void)why;
    (void)code;
    k->failed |= !k->over;
}

static const struct vv_h2_events events = {on_head, on_data, on_trailers,
                                           on_end,  on_sent, on_closed};

static enum vv_err ask(struct vv_check_h2 *k, struct vv_str request, bool secure)
{
    static const char no_service[5]; /* an empty message: not compressed, no bytes */
    struct vv_h2_field field[FIELDS_MAX];
    struct vv_h2_stream *s;
    struct vv_h2_request r = {.scheme = secure ? VV_STR("https") : VV_STR("http")};
    if (!vv_uh2_split(request, &r, field, FIELDS_MAX - 2)) {
        return VV_EINVAL;
    }
    r.end = !k->grpc;
    if (k->grpc) {
        r.method = VV_STR("POST");
        r.path = VV_STR("/grpc.health.v1.Health/Check");
        field[r.count++] = (struct vv_h2_field){VV_STR("te"), VV_STR("trailers"), 0};
        field[r.count++] =
            (struct vv_h2_field){VV_STR("content-type"), VV_STR("application/grpc"), 0};
    }
    enum vv_err err = vv_h2_request(k->h2, k, &r, &s);
    if (err == VV_OK && k->grpc) {
        err = vv_h2_body(s, (struct vv_str){no_service, sizeof no_service});
        vv_h2_end(s);
    }
    return err;
}

static enum vv_err say(struct vv_check_h2 *k, char **ret_bytes, size_t *ret_count)
{
    struct vv_h2_gather g = {.stage = malloc(STAGE_BYTES), .stage_bytes = STAGE_BYTES};
    char *all = malloc(STAGE_BYTES);
    size_t n = 0;
    enum vv_err err = g.stage != NULL && all != NULL ? VV_OK : VV_ENOMEM;
    while (err == VV_OK) {
        vv_h2_output(k->h2, &g);
        if (g.bytes == 0) {
            break;
        }
        err = n + g.bytes <= STAGE_BYTES ? VV_OK : VV_ELIMIT;
        for (unsigned i = 0; err == VV_OK && i < g.count; i++) {
            memcpy(all + n, g.iov[i].iov_base, g.iov[i].iov_len);
            n += g.iov[i].iov_len;
        }
    }
    free(g.stage);
    if (err != VV_OK) {
        free(all);
        return err;
    }
    *ret_bytes = all;
    *ret_count = n;
    return VV_OK;
}

enum vv_err vv_check_h2_new(struct vv_str request, bool secure, bool grpc, uint64_t now_ns,
                            struct vv_check_h2 **ret, char **ret_bytes, size_t *ret_count)
{
    struct vv_check_h2 *k = calloc(1, sizeof *k);
    enum vv_err err = VV_ENOMEM;
    if (k == NULL) {
        return err;
    }
    k->grpc = grpc;
    k->pool = vv_h2_pool_new(&k->counts);
    if (k->pool != NULL) {
        k->h2 = vv_h2_client_new(k->pool, &vv_h2_conf_default, &events, k, now_ns);
    }
    if (k->h2 != NULL) {
        err = ask(k, request, secure);
    }
    if (err == VV_OK) {
        err = say(k, ret_bytes, ret_count);
    }
    if (err != VV_OK) {
        vv_check_h2_free(k);
        return err;
    }
    *ret = k;
    return VV_OK;
}

void vv_check_h2_free(struct vv_check_h2 *k)
{
    if (k != NULL) {
        vv_h2_free(k->h2);
        vv_h2_pool_free(k->pool);
        free(k);
    }
}

/* {1: SERVING}, the only field there is. */
static bool serves(const struct vv_check_h2 *k)
{
    static const char serving[] = {0, 0, 0, 0, 2, 8, 1};
    return k->well && k->status == 200 && k->message_bytes == sizeof serving &&
           memcmp(k->message, serving, sizeof serving) == 0;
}

enum vv_err vv_check_h2_feed(struct vv_check_h2 *k, struct vv_str bytes, uint64_t now_ns,
                             int *ret_status)
{
    const enum vv_err err = vv_h2_receive(k->h2, bytes, now_ns);
    if (k->over && !k->failed) {
        *ret_status = !k->grpc ? k->status : serves(k) ? 200 : 503;
        return VV_OK;
    }
    return err != VV_OK ? err : k->failed ? VV_ERESET : VV_EAGAIN;
}
