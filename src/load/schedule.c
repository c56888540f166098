/* src/load/schedule.c - an arrival has a position on the axis of expected arrivals (0, 1, 2 ... when
 * even, sums of exponential gaps when random), and the rates of the seconds say at what time that
 * many are expected. So even and random, constant, ramped and fractional rates are one code, and
 * nothing drifts: a time is computed from its position, not from the arrival before. */
#include "load/schedule.h"

#include <math.h>

#define SLACK 1e-9 /* of an arrival: what sums of rates like 0.1 may be off */

bool vv_load_phase_closed(const struct vv_load_phase *p)
{
    return p->users > 0 || p->users_to > 0;
}

uint64_t vv_load_phase_users_max(const struct vv_load_phase *p)
{
    return vv_max_u64(p->users, p->users_to);
}

uint64_t vv_load_schedule_length(const struct vv_load_phase *phases, size_t count)
{
    uint64_t ns = 0;
    for (size_t i = 0; i < count; i++) {
        ns += phases[i].duration_ns;
    }
    return ns;
}

/* Where a ramp of users starts and ends: users_to alone or ramp_ns alone have a meaning, too. */
static void users_ramp(const struct vv_load_phase *p, uint64_t *ret_from, uint64_t *ret_to,
                       uint64_t *ret_ns)
{
    *ret_from = p->users;
    *ret_to = p->users_to;
    *ret_ns = p->ramp_ns;
    if (p->users_to == 0) {
        *ret_to = p->users;
        *ret_from = p->ramp_ns > 0 ? 0 : p->users;
    } else if (p->ramp_ns == 0) {
        *ret_ns = p->duration_ns;
    }
}

uint64_t vv_load_schedule_users(const struct vv_load_phase *p, uint64_t in_ns)
{
    uint64_t from = 0, to = 0, ramp_ns = 0;
    users_ramp(p, &from, &to, &ramp_ns);
    if (in_ns >= p->duration_ns) {
        return 0;
    }
    if (from == to || in_ns >= ramp_ns) {
        return to;
    }
    const double share = (double)in_ns / (double)ramp_ns;
    if (to > from) {
        return from + (uint64_t)((double)(to - from) * share + SLACK);
    }
    return from - (uint64_t)((double)(from - to) * share + SLACK);
}

/* When user `index` begins, and whether there is such a user. */
static bool user_start(const struct vv_load_phase *p, uint64_t index, uint64_t *ret_ns)
{
    uint64_t from = 0, to = 0, ramp_ns = 0;
    users_ramp(p, &from, &to, &ramp_ns);
    if (index >= vv_max_u64(from, to)) {
        return false;
    }
    *ret_ns = 0;
    if (index >= from) {
        const double share = (double)(index - from + 1) / (double)(to - from);
        *ret_ns = (uint64_t)ceil(share * (double)ramp_ns - 1e-3); /* not for a rounded last bit */
    }
    return *ret_ns < p->duration_ns;
}

static uint64_t seconds(const struct vv_load_phase *p)
{
    return (p->duration_ns + VV_SEC - 1) / VV_SEC;
}

/* Arrivals a second, in second i of the phase. */
static double rate_in(const struct vv_load_phase *p, uint64_t i)
{
    const uint64_t n = seconds(p);
    if (p->ramp_to < 0) {
        return p->rate;
    }
    if (n <= 1) {
        return (p->rate + p->ramp_to) / 2;
    }
    return p->rate + (p->ramp_to - p->rate) * (double)i / (double)(n - 1);
}

static double gap(struct vv_load_schedule *s)
{
    return -log1p(-vv_rng_double(&s->rng)); /* exponential with mean 1 */
}

/* The position after this one. Of `count` random arrivals the rest are uniform over what is left:
 * the smallest of k uniform values is 1 - u^(1/k). */
static double step(struct vv_load_schedule *s, const struct vv_load_phase *p, bool first)
{
    if (p->arrival == VV_LOAD_EVEN) {
        return first ? 0 : s->position + 1;
    }
    const double at = first ? 0 : s->position;
    if (p->count == 0) {
        return at + gap(s);
    }
    const uint64_t left = p->count - s->index;
    if (left == 0) {
        return at;
    }
    const double share = 1 - pow(1 - vv_rng_double(&s->rng), 1 / (double)left);
    return at + ((double)p->count - at) * share;
}

/* The time of the next arrival of an open phase since its start; false: it has no more. */
static bool open_next(struct vv_load_schedule *s, const struct vv_load_phase *p, uint64_t *ret_ns)
{
    s->position = step(s, p, !s->begun);
    s->begun = true;
    if (p->count > 0) {
        const double at = s->position * (double)p->duration_ns / (double)p->count;
        *ret_ns = vv_min_u64((uint64_t)at, p->duration_ns - (p->duration_ns > 0));
        return s->index < p->count;
    }
    for (const uint64_t n = seconds(p); s->second < n; s->second++) {
        const double rate = rate_in(p, s->second);
        if (rate > 0 && s->position < s->before + rate - SLACK) {
            const double in_second = fmax(0, s->position - s->before) / rate;
            *ret_ns = s->second * VV_SEC + (uint64_t)(in_second * (double)VV_SEC);
            return *ret_ns < p->duration_ns;
        }
        s->before += rate;
    }
    return false;
}

/* The next start of any part. */
static bool walk(struct vv_load_schedule *s, struct vv_load_start *ret)
{
    while (s->at < s->phase_count) {
        const struct vv_load_phase *p = &s->phase[s->at];
        uint64_t in_ns = 0;
        bool there = false;
        if (vv_load_phase_closed(p)) {
            there = user_start(p, s->index, &in_ns);
        } else if (p->recorded != NULL) {
            there = s->index < p->count;
            in_ns = there ? p->recorded[s->index] : 0;
        } else if (p->count > 0 || p->rate > 0 || p->ramp_to > 0) {
            there = open_next(s, p, &in_ns);
        }
        if (there) {
            *ret = (struct vv_load_start){
                .at_ns = s->phase_at_ns + in_ns, .phase = s->at, .index = s->index++};
            return true;
        }
        s->phase_at_ns += p->duration_ns;
        s->at++;
        s->index = s->second = 0;
        s->begun = false;
        s->position = s->before = 0;
    }
    return false;
}

void vv_load_schedule_init(struct vv_load_schedule *s, const struct vv_load_phase *phases,
                           size_t count, unsigned part, unsigned parts, uint64_t seed)
{
    *s = (struct vv_load_schedule){.phase = phases, .phase_count = count};
    vv_load_schedule_parts(s, part, 1, parts > 0 ? parts : 1);
    vv_rng_init(&s->rng, seed);
}

void vv_load_schedule_parts(struct vv_load_schedule *s, unsigned first, unsigned count,
                            unsigned parts)
{
    s->part = first;
    s->part_count = count;
    s->parts = parts;
}

bool vv_load_schedule_next(struct vv_load_schedule *s, struct vv_load_start *ret)
{
    struct vv_load_start start;
    while (walk(s, &start)) {
        const uint64_t part = s->walked++ % s->parts;
        if (part >= s->part && part - s->part < s->part_count) {
            *ret = start;
            return true;
        }
    }
    return false;
}
