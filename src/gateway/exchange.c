/* src/gateway/exchange.c - birth, record and end of an exchange. Every request whose head was received
 * passes vv_exchange_end() exactly once, so that the counters add up. */
#include "gateway/exchange.h"
#include "gateway/access.h"
#include "gateway/admit.h"
#include "gateway/canary.h"
#include "gateway/homes.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include "gateway/shape.h"
#include "gateway/sink.h"
#include "gateway/tls_vars.h"
#include <stdlib.h>

#define SPARE_MAX 128
#define ARENA_BLOCK 4096
#define ARENA_LIMIT (1u << 20)

const struct vv_reason_info vv_reasons[VV_REASON_COUNT] = {
    {"none", 200, ""},
#define VV_REASON(id, name, status, text) {name, status, text},
#include "gateway/reasons.def"
#undef VV_REASON
};

struct vv_exchange *vv_exchange_new(struct vv_worker *w, struct vv_session *s)
{
    struct vv_exchange *x = w->spare;
    if (x != NULL) {
        w->spare = x->next_spare;
        w->spare_count--;
    } else {
        x = malloc(sizeof *x);
        if (x == NULL) {
            return NULL;
        }
    }
    memset(x, 0, offsetof(struct vv_exchange, arena));
    vv_arena_init(&x->arena, x->first_block, sizeof x->first_block, ARENA_BLOCK, ARENA_LIMIT);
    x->w = w;
    x->session = s;
    x->use = w->use;
    x->rt = w->use->rt;
    x->use->exchanges++;
    x->client_ip = (struct vv_str){s->client_ip, s->client_ip_bytes};
    x->began_ns = vv_worker_now(w);
    x->began_wall_ns = vv_loop_wall(w->loop);
    return x;
}

void vv_exchange_free(struct vv_exchange *x)
{
    struct vv_worker *w = x->w;
    vv_arena_reset(&x->arena);
    vv_worker_release_use(w, x->use);
    if (w->spare_count >= SPARE_MAX) {
        vv_arena_fini(&x->arena);
        free(x);
        return;
    }
    x->next_spare = w->spare;
    w->spare = x;
    w->spare_count++;
}

static struct vv_str route_name(const struct vv_exchange *x)
{
    return x->route != NULL ? vv_str_from(x->route->conf->name) : VV_STR("none");
}

static struct vv_str service_name(const struct vv_route *r)
{
    if (r == NULL) {
        return VV_STR("none");
    }
    return r->service != NULL ? vv_str_from(r->service->conf->name) : vv_str_from(r->action->name);
}

static struct vv_str method_name(const struct vv_exchange *x)
{
    return vv_methods[x->req.method].name;
}

static void status_text(int status, char text[4])
{
    text[0] = (char)('0' + status / 100 % 10);
    text[1] = (char)('0' + status / 10 % 10);
    text[2] = (char)('0' + status % 10);
    text[3] = '\0';
}

static vv_series requests_series(const struct vv_exchange *x)
{
    char status[4];
    status_text(x->status, status);
    const struct vv_str values[] = {
        method_name(x), route_name(x), service_name(x->route), {status, 3}};
    return vv_metrics_series(x->w->metrics, VV_METRIC_REQUESTS, values, VV_COUNT(values));
}

static vv_series counted_series(const struct vv_exchange *x)
{
    if (x->route == NULL || x->route->conf->count_as == NULL) {
        return 0;
    }
    char status[4];
    status_text(x->status, status);
    const struct vv_str values[] = {vv_str_from(x->route->conf->count_as), {status, 3}};
    return vv_metrics_series(x->w->metrics, VV_METRIC_COUNTED_AS, values, VV_COUNT(values));
}

static void count_answer(struct vv_exchange *x, struct vv_route_stat *stat)
{
    struct vv_shard *shard = x->w->shard;
    const uint32_t key = (uint32_t)x->req.method << 16 | (uint32_t)x->status;
    const size_t slot = (key ^ key >> 16) % VV_COUNT(stat->slot);
    if (stat->slot[slot].key != key) { /* rare: interning takes a lock */
        stat->slot[slot].key = key;
        stat->slot[slot].series = requests_series(x);
        stat->slot[slot].counted = counted_series(x);
    }
    vv_metric_add(shard, stat->slot[slot].series, 1);
    if (stat->slot[slot].counted != 0) {
        vv_metric_add(shard, stat->slot[slot].counted, 1);
    }
}

static void count_aborted(struct vv_exchange *x, enum vv_reason reason)
{
    const struct vv_str values[] = {route_name(x), vv_str_from(vv_reasons[reason].name)};
    vv_metric_add(x->w->shard, vv_metrics_series(x->w->metrics, VV_METRIC_ABORTED, values, 2), 1);
}

static void log_it(const struct vv_exchange *x, enum vv_reason reason, uint64_t now_ns)
{
    struct vv_access_record r = {
        .wall_ns = x->began_wall_ns,
        .duration_ns = now_ns - x->began_ns,
        .first_byte_ns = x->first_byte_ns != 0 ? x->first_byte_ns - x->began_ns : 0,
        .upstream_ns = x->upstream_ns,
        .bytes_in = x->session->body.bytes,
        .bytes_out = x->bytes_out,
        .client_ip = x->client_ip,
        .method = x->req.method_text,
        .host = x->host,
        .path = x->req.path,
        .query = x->req.query,
        .route = route_name(x),
        .service = x->service_name,
        .server = x->server_name,
        .request_id = x->id,
        .status = x->status,
        .attempts = (int)x->attempts,
        .http_minor = x->req.minor,
        .http2 = x->session->conn != NULL,
    };
    if (x->cache_word != NULL) {
        r.cache = vv_str_from(x->cache_word);
    }
    if (x->guard_word != NULL) {
        r.guard = vv_str_from(x->guard_word);
    }
    if (x->caller != NULL) {
        r.caller = x->caller->name.n > 0 ? x->caller->name : x->caller->id;
        r.plan = x->caller->plan != NULL ? x->caller->plan->name : VV_STR("");
    }
    if (reason != VV_REASON_NONE) {
        r.error =
            x->refused != NULL ? vv_str_from(x->refused->id) : vv_str_from(vv_reasons[reason].name);
    }
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        const struct vv_h1_field *f = &x->req.fields[i];
        if (f->id == VV_FIELD_USER_AGENT) {
            r.user_agent = f->value;
        } else if (f->id == VV_FIELD_REFERER) {
            r.referer = f->value;
        } else if (f->id == VV_FIELD_TRACEPARENT && f->value.n >= 35) {
            r.trace_id = (struct vv_str){f->value.p + 3, 32};
        }
    }
    vv_access_append(x->w->log, &r);
}

static void record(struct vv_exchange *x, enum vv_reason aborted)
{
    struct vv_worker *w = x->w;
    const uint64_t now = vv_worker_now(w);
    struct vv_route_stat *stat = vv_worker_stat(w, x->use, x->route);
    if (aborted != VV_REASON_NONE) {
        count_aborted(x, aborted);
    } else if (stat != NULL) {
        count_answer(x, stat);
        if (stat->duration != NULL && stat->first_byte != NULL) {
            vv_hist_add(stat->duration, now - x->began_ns);
            vv_hist_add(stat->first_byte, x->first_byte_ns - x->began_ns);
        }
    } else {
        vv_metric_add(w->shard, requests_series(x), 1);
    }
    if (stat != NULL) {
        vv_metric_add(w->shard, stat->bytes_in, x->session->body.bytes);
        vv_metric_add(w->shard, stat->bytes_out, x->bytes_out);
    }
    if (w->homes != NULL && vv_faults_any(w->homes->faults)) {
        vv_faults_report(w->homes->faults, now, aborted != VV_REASON_NONE || x->status >= 500);
    }
    if (w->log != NULL) {
        log_it(x, aborted != VV_REASON_NONE ? aborted : x->reason, now);
    }
}

void vv_exchange_end(struct vv_exchange *x, enum vv_reason aborted)
{
    struct vv_session *s = x->session;
    const struct vv_sink *sink = x->sink;
    void *sink_user = x->sink_user;
    if (sink != NULL && aborted == VV_REASON_NONE && vv_session_flush(s) != VV_OK) {
        aborted = VV_REASON_CLIENT_CLOSED; /* the sink did not want the last of it */
    }
    if (x->action != NULL && x->action->cancel != NULL) {
        const struct vv_action *action = x->action;
        x->action = NULL;
        action->cancel(x);
    }
    if (x->side != 0) {
        vv_canary_end(x, aborted);
    }
    vv_recall_end(x);
    vv_shape_end(x);
    vv_access_end(x, x->reason == VV_REASON_LIMITED || x->reason == VV_REASON_SHED);
    vv_admit_end(x);
    if (vv_session_has_client(s)) {
        record(x, aborted);
        vv_metric_sub(x->w->shard, x->w->s_in_flight, 1);
    }
    const bool close_after = x->close;
    /* A cut answer must look cut: closing is all that tells the client (RFC 9112 8). */
    const bool cut = aborted != VV_REASON_NONE;
    if (cut && x->head_sent && x->framing == VV_ANSWER_CLOSE && vv_session_has_client(s) &&
        s->state != VV_SESSION_CLOSED) {
        vv_session_close_hard(s); /* nothing but a reset tells the client from a complete answer */
    }
    s->x = NULL;
    vv_exchange_free(x);
    vv_session_exchange_ended(s, close_after, cut);
    if (sink != NULL) {
        sink->end(sink_user, aborted);
    }
}

static struct vv_str var_header(void *user, struct vv_str name)
{
    const struct vv_exchange *x = user;
    const struct vv_h1_field *f = vv_h1_find_name(&x->req, name);
    return f != NULL ? f->value : (struct vv_str){NULL, 0};
}

void vv_exchange_vars(struct vv_exchange *x, struct vv_template_vars *ret)
{
    *ret = (struct vv_template_vars){
        .host = x->host,
        .path = x->path,
        .query = x->req.query,
        .scheme = x->https ? VV_STR("https") : VV_STR("http"),
        .method = x->req.method_text,
        .client_ip = x->client_ip,
        .request_id = x->id,
        .route = route_name(x),
        .caller = x->caller != NULL ? x->caller->name : (struct vv_str){NULL, 0},
        .plan = x->caller != NULL && x->caller->plan != NULL ? x->caller->plan->name
                                                             : (struct vv_str){NULL, 0},
        .rest = x->match.rest,
        .match = x->route != NULL ? &x->match : NULL,
        .header = var_header,
        .tls = vv_tls_vars,
        .user = x,
    };
}
