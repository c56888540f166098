/* src/guard/fault.c - every fault draws the same three numbers for every request, so what is decided
 * depends on the seed and the request's place alone. */
#include "guard/fault.h"

#define WINDOW_MIN_NS (10 * VV_MS)

#define AS_NAME(id, name, doc) [VV_FAULT_##id] = (name),
static const char *const names[VV_FAULT_KIND_COUNT] = {VV_FAULT_KINDS(AS_NAME)};

const char *vv_fault_kind_name(enum vv_fault_kind kind)
{
    VV_ASSERT((unsigned)kind < VV_FAULT_KIND_COUNT);
    return names[kind];
}

enum vv_err vv_fault_check(const struct vv_fault *f, uint64_t now_ns)
{
    const bool needs_bytes = f->kind == VV_FAULT_CORRUPT || f->kind == VV_FAULT_SLOW;
    if ((unsigned)f->kind >= VV_FAULT_KIND_COUNT || f->share_ppm == 0 || f->share_ppm > VV_PPM ||
        f->until_ns <= f->from_ns || (needs_bytes && f->bytes == 0) ||
        (f->kind == VV_FAULT_DELAY && f->delay_ns == 0 && f->jitter_ns == 0) ||
        (f->kind == VV_FAULT_ABORT && (f->status < 400 || f->status > 599))) {
        return VV_EINVAL;
    }
    if (f->until_ns <= now_ns || f->until_ns - now_ns > VV_FAULT_LASTS_MAX_NS ||
        f->delay_ns > VV_FAULT_LASTS_MAX_NS || f->jitter_ns > VV_FAULT_LASTS_MAX_NS) {
        return VV_ERANGE;
    }
    return VV_OK;
}

/* 0 .. n-1 from one draw, whatever n is. The unevenness of n / 2^64 does not matter here. */
static uint64_t scaled(uint64_t draw, uint64_t n)
{
    return (uint64_t)((unsigned __int128)draw * n >> 64);
}

static void strike(const struct vv_fault *f, uint64_t draw, uint64_t draw_xor,
                   struct vv_fault_plan *plan)
{
    switch (f->kind) {
    case VV_FAULT_DELAY:
        plan->delay_ns += f->delay_ns + scaled(draw, f->jitter_ns + 1);
        break;
    case VV_FAULT_TRUNCATE:
        plan->truncate_at = vv_min_u64(plan->truncate_at, scaled(draw, f->bytes + 1));
        break;
    case VV_FAULT_CORRUPT:
        plan->corrupt_at = scaled(draw, f->bytes);
        plan->corrupt_xor = (uint8_t)(1 + scaled(draw_xor, 255));
        break;
    case VV_FAULT_SLOW:
        plan->bytes_per_s =
            plan->bytes_per_s == 0 ? f->bytes : vv_min_u64(plan->bytes_per_s, f->bytes);
        break;
    default: /* those that end the request */
        if (plan->end == VV_FAULT_KIND_COUNT) {
            plan->end = f->kind;
            plan->status = f->status;
        }
        break;
    }
}

bool vv_fault_decide(const struct vv_fault *faults, size_t count,
                     const struct vv_fault_watch *watch, struct vv_rng *rng, uint64_t now_ns,
                     struct vv_fault_plan *ret)
{
    const bool stopped = watch != NULL && vv_fault_watch_tripped(watch);
    VV_ASSERT(count <= VV_FAULTS_MAX);
    *ret = (struct vv_fault_plan){
        .end = VV_FAULT_KIND_COUNT, .truncate_at = UINT64_MAX, .corrupt_at = UINT64_MAX};
    for (size_t i = 0; i < count; i++) {
        const struct vv_fault *f = &faults[i];
        const uint64_t chance = scaled(vv_rng_u64(rng), VV_PPM);
        const uint64_t draw = vv_rng_u64(rng);
        const uint64_t draw_xor = vv_rng_u64(rng);
        if (!stopped && now_ns >= f->from_ns && now_ns < f->until_ns && chance < f->share_ppm) {
            strike(f, draw, draw_xor, ret);
            ret->hit |= UINT32_C(1) << i;
        }
    }
    return ret->hit != 0;
}

enum vv_err vv_fault_watch_init(struct vv_fault_watch *w, const struct vv_fault_watch_conf *conf)
{
    if (conf->volume_min == 0 || conf->window_ns < WINDOW_MIN_NS || conf->bad_ppm_max > VV_PPM) {
        return VV_EINVAL;
    }
    *w = (struct vv_fault_watch){.conf = *conf};
    return VV_OK;
}

bool vv_fault_watch_report(struct vv_fault_watch *w, uint64_t now_ns, bool bad)
{
    const uint64_t slice_ns = w->conf.window_ns / VV_SLICES;
    vv_slices_add(&w->total, slice_ns, now_ns, 1);
    if (!bad) {
        return false; /* a good one cannot be the one that goes over */
    }
    vv_slices_add(&w->bad, slice_ns, now_ns, 1);
    const uint64_t total = vv_slices_sum(&w->total, slice_ns, now_ns);
    const uint64_t bad_ones = vv_slices_sum(&w->bad, slice_ns, now_ns);
    return total >= w->conf.volume_min && bad_ones * VV_PPM > total * w->conf.bad_ppm_max &&
           !atomic_exchange_explicit(&w->tripped, true, memory_order_relaxed);
}

bool vv_fault_watch_tripped(const struct vv_fault_watch *w)
{
    return atomic_load_explicit(&w->tripped, memory_order_relaxed);
}
