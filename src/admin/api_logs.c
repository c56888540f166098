/* src/admin/api_logs.c - the access log as it is written, for whoever watches. A reader that is too
 * slow loses lines and is told how many, so that nobody else waits for it. */
#include "admin/admin_int.h"

#include <stdlib.h>

struct log_stream {
    struct vv_list node;
    struct vv_admin *admin;
    struct vv_admin_exchange *x;
    uint64_t lost;
};

static void on_line(void *user, struct vv_str line)
{
    struct vv_admin *a = user;
    VV_LIST_EACH (it, &a->streams) {
        struct log_stream *s = VV_LIST_ENTRY(it, struct log_stream, node);
        struct vv_sb event = VV_SB_INIT;
        if (s->lost > 0) {
            vv_sb_addf(&event, ": %llu lines lost\n", (unsigned long long)s->lost);
        }
        vv_sb_adds(&event, "data: ");
        vv_sb_add(&event, vv_str_trim(line));
        while (event.n > 0 && (event.p[event.n - 1] == '\n' || event.p[event.n - 1] == '\r')) {
            event.n--;
        }
        vv_sb_adds(&event, "\n\n");
        struct vv_admin_exchange *x = s->x;
        const bool sent = vv_admin_stream_write(x, vv_sb_str(&event));
        vv_sb_fini(&event);
        if (!x->gone) { /* otherwise s went with the connection */
            s->lost = sent ? 0 : s->lost + 1;
        }
    }
}

static void stream_free(struct log_stream *s)
{
    struct vv_admin *a = s->admin;
    vv_list_del(&s->node);
    if (vv_list_empty(&a->streams)) {
        vv_gateway_log_tail(a->o.gateway, NULL, NULL);
    }
    free(s);
}

static void on_closed(struct vv_admin_exchange *x)
{
    stream_free(x->user);
}

enum vv_err admin_logs_stream(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct log_stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    s->admin = a;
    s->x = x;
    x->user = s;
    vv_list_init(&s->node);
    const bool first = vv_list_empty(&a->streams);
    vv_list_push_back(&a->streams, &s->node);
    if (first) {
        vv_gateway_log_tail(a->o.gateway, on_line, a);
    }
    vv_admin_stream_begin(x, "text/event-stream", on_closed);
    (void)vv_admin_stream_write(x, VV_STR(": following\n\n"));
    return VV_EAGAIN;
}

void admin_logs_end(struct vv_admin *a)
{
    VV_LIST_EACH (it, &a->streams) {
        stream_free(VV_LIST_ENTRY(it, struct log_stream, node));
    }
}
