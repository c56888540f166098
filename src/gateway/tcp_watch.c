/* src/gateway/tcp_watch.c - the list of sessions is turned like a wheel, as door.c does: whoever was looked at
 * goes to its end, so that every connection gets its turn and no place in the list is remembered. */
#include "gateway/tcp_watch.h"

#include "gateway/session.h"
#include "gateway/upstream.h"
#include "gateway/worker.h"
#include "os/sock.h"

#define VISITS (4 * VV_TCP_WATCH_MAX) /* streams and fetches without a client are passed over */

bool vv_tcp_look(struct vv_worker *w, enum vv_tcp_side side, int fd, uint32_t *resent)
{
    struct vv_sock_tcp tcp;
    if (vv_sock_tcp(fd, &tcp) != VV_OK) {
        return false; /* a Unix socket, or one that ends */
    }
    if (w->s_tcp_resent[side] == 0) {
        const struct vv_str label = side == VV_TCP_CLIENT ? VV_STR("client") : VV_STR("upstream");
        w->tcp_rtt[side] =
            vv_metric_hist(w->shard, vv_metrics_series(w->metrics, VV_METRIC_TCP_RTT, &label, 1));
        w->s_tcp_resent[side] = vv_metrics_series(w->metrics, VV_METRIC_TCP_RETRANSMITS, &label, 1);
    }
    if (w->tcp_rtt[side] != NULL && tcp.rtt_ns > 0) { /* 0: nothing was measured yet */
        vv_hist_add(w->tcp_rtt[side], tcp.rtt_ns);
    }
    vv_metric_add(w->shard, w->s_tcp_resent[side], tcp.retransmits - *resent); /* modulo 2^32 */
    *resent = tcp.retransmits;
    return true;
}

void vv_tcp_watch(struct vv_worker *w)
{
    unsigned looks = 0;
    const struct vv_list *first = NULL; /* seen again: the wheel went round */
    for (unsigned i = 0; i < VISITS && looks < VV_TCP_WATCH_MAX; i++) {
        struct vv_list *node = w->sessions.next;
        if (node == &w->sessions || node == first) {
            break;
        }
        first = first == NULL ? node : first;
        struct vv_session *s = VV_LIST_ENTRY(node, struct vv_session, node);
        vv_list_del(node);
        vv_list_push_back(&w->sessions, node);
        if (s->conn == NULL && vv_session_has_client(s) && s->io.fd >= 0) {
            looks += vv_tcp_look(w, VV_TCP_CLIENT, s->io.fd, &s->resent);
        }
    }
    vv_upstreams_watch(w->upstreams);
}
