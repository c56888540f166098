/* src/wire/http2_guard.c - budgets against floods, counted from the frame headers alone.
 *
 * Every frame is judged before it is looked into, those of unknown types and on closed streams too:
 * a flood is made of just those. What honest clients send is paid for by what they do: each request and each DATA frame
 * they are sent earns them the frames that belong to it, so a fast download is never taken for a
 * flood of WINDOW_UPDATE. Two streams that end well pay for one that is reset: a busy proxy
 * cancels some, an attacker completes none. Sources: RFC 9113 10.5, CVE-2019-9511 to -9518,
 * CVE-2023-44487, CVE-2024-27316, CVE-2025-8671. */
#include "wire/http2_int.h"

#define MILLION UINT64_C(1000000)
#define FRAMES_PER_REQUEST 4 /* its PRIORITY_UPDATE, an empty DATA with no end yet, a PING */
#define WINDOWS_PER_DATA 2   /* the stream's and the connection's */
#define SETTINGS_MAX 32      /* in a frame; each may touch all streams (CVE-2020-11080) */
#define SETTING_BYTES 6

static void bucket_init(struct vv_h2_bucket *b, uint32_t burst, uint32_t per_second)
{
    b->cap = b->tokens = burst * MILLION;
    b->per_second = per_second;
}

static void earn(struct vv_h2_bucket *b, uint64_t millionths)
{
    b->tokens = vv_min_u64(b->cap, b->tokens + millionths);
}

static bool spend(struct vv_h2_bucket *b)
{
    if (VV_UNLIKELY(b->tokens < MILLION)) {
        return false;
    }
    b->tokens -= MILLION;
    return true;
}

void vv_h2_guard_init(struct vv_h2_guard *g, const struct vv_h2_conf *conf, uint64_t now_ns)
{
    bucket_init(&g->frames, conf->frames_burst, conf->frames_per_second);
    bucket_init(&g->windows, conf->frames_burst, conf->frames_per_second);
    bucket_init(&g->resets, conf->resets_burst, conf->resets_per_second);
    g->at_ns = now_ns;
}

bool vv_h2_guard_reset(struct vv_h2_guard *g)
{
    return spend(&g->resets);
}

void vv_h2_guard_well(struct vv_h2_guard *g)
{
    earn(&g->resets, MILLION / 2);
}

void vv_h2_guard_sent_data(struct vv_h2_guard *g)
{
    earn(&g->windows, WINDOWS_PER_DATA * MILLION);
}

void vv_h2_guard_head(struct vv_h2_guard *g)
{
    earn(&g->frames, FRAMES_PER_REQUEST * MILLION);
    earn(&g->windows, WINDOWS_PER_DATA * MILLION);
}

bool vv_h2_guard_late(struct vv_h2_guard *g)
{
    return spend(&g->frames);
}

void vv_h2_guard_time(struct vv_h2_guard *g, uint64_t now_ns)
{
    if (now_ns <= g->at_ns) {
        return;
    }
    /* A minute fills any bucket that has a rate worth the name; more could overflow. */
    const uint64_t us = vv_min_u64(now_ns - g->at_ns, VV_MINUTE) / VV_US;
    if (us == 0) {
        return;
    }
    g->at_ns = now_ns;
    earn(&g->frames, us * g->frames.per_second);
    earn(&g->windows, us * g->windows.per_second);
    earn(&g->resets, us * g->resets.per_second);
}

static enum vv_h2_reason judge_head(struct vv_h2 *c, uint32_t length)
{
    struct vv_h2_guard *g = &c->guard;
    g->head_bytes += length;
    if (g->continuations > c->conf->continuations_max) {
        return VV_H2_WHY_FLOOD_CONTINUATION;
    }
    /* HPACK makes a list smaller, never much larger: this one cannot become acceptable. */
    return g->head_bytes > 4 * (uint64_t)c->conf->head_bytes ? VV_H2_WHY_HEAD_BOMB : VV_H2_FINE;
}

enum vv_h2_reason vv_h2_guard_frame(struct vv_h2 *c, const struct vv_h2_frame *f)
{
    struct vv_h2_guard *g = &c->guard;
    switch (f->type) {
    case VV_H2_T_DATA:
        if (f->length > 0 && (f->flags & VV_H2_F_PADDED) == 0) {
            return VV_H2_FINE;
        }
        break; /* nothing in it but perhaps the end, or only padding; it may be on no stream */
    case VV_H2_T_SETTINGS:
        if (f->length > SETTINGS_MAX * SETTING_BYTES) {
            return VV_H2_WHY_FLOOD_FRAMES;
        }
        break;
    case VV_H2_T_HEADERS:
        g->continuations = g->head_bytes = 0;
        return judge_head(c, f->length);
    case VV_H2_T_CONTINUATION:
        g->continuations++;
        return judge_head(c, f->length);
    case VV_H2_T_RST_STREAM:
        return spend(&g->resets) ? VV_H2_FINE : VV_H2_WHY_FLOOD_RESETS;
    case VV_H2_T_WINDOW_UPDATE:
        return spend(&g->windows) ? VV_H2_FINE : VV_H2_WHY_FLOOD_WINDOW;
    default: /* PING, PRIORITY, GOAWAY, unknown ones; ACKs, too */
        break;
    }
    return spend(&g->frames) ? VV_H2_FINE : VV_H2_WHY_FLOOD_FRAMES;
}
