/* src/os/timer.c - four levels of 256 slots: a timer sits in the level whose slot width fits its
 * distance and moves down ("cascades") when time reaches its slot. Bitmaps of used slots let a run
 * over a long quiet time jump from one used slot to the next instead of visiting every tick.
 *
 *   level 0: 1 ms slots, 256 ms    level 1: 256 ms, 65 s    level 2: 65 s, 4.6 h    level 3: 4.6 h
 *
 * A deadline beyond the last level (49 days) waits in its farthest slot and is placed anew there.
 */
#include "os/timer.h"

#define LEVEL_BITS 8
#define SLOT_MASK (VV_WHEEL_SLOTS - 1)
#define SPAN_TICKS (UINT64_C(1) << (LEVEL_BITS * VV_WHEEL_LEVELS))
_Static_assert(VV_WHEEL_SLOTS == 1 << LEVEL_BITS, "levels are shifted by whole slots");

void vv_wheel_init(struct vv_wheel *w, uint64_t now_ns)
{
    *w = (struct vv_wheel){.tick = now_ns / VV_WHEEL_TICK_NS};
    for (size_t level = 0; level < VV_WHEEL_LEVELS; level++) {
        for (size_t i = 0; i < VV_WHEEL_SLOTS; i++) {
            vv_list_init(&w->slot[level][i]);
        }
    }
}

/* The tick at which a deadline has certainly passed. */
static uint64_t tick_after(uint64_t at_ns)
{
    return at_ns / VV_WHEEL_TICK_NS + (at_ns % VV_WHEEL_TICK_NS != 0);
}

/* Links an armed timer into the slot for its deadline, at the earliest the next tick. */
static void place(struct vv_wheel *w, struct vv_timer *t)
{
    uint64_t at = vv_max_u64(tick_after(t->at_ns), w->tick + 1);
    at = vv_min_u64(at, w->tick + SPAN_TICKS - 1);
    /* The level is that of the highest digit in which the two ticks differ: the slot there lies
     * ahead within the current turn of that level, so reaching it never comes too late. */
    const uint64_t differ = at ^ w->tick;
    size_t level = (size_t)(63 - __builtin_clzll(differ)) / LEVEL_BITS;
    if (level >= VV_WHEEL_LEVELS) {
        level = VV_WHEEL_LEVELS - 1; /* carries over the top digit: still ahead, modulo 256 */
    }
    const size_t shift = level * LEVEL_BITS;
    const size_t i = (at >> shift) & SLOT_MASK;
    vv_list_push_back(&w->slot[level][i], &t->node);
    w->used[level][i / 64] |= UINT64_C(1) << (i % 64);
    t->slot_ns = (at >> shift << shift) * VV_WHEEL_TICK_NS;
}

/* Unlinks; a slot that became empty loses its bit, so that nobody wakes up for it. The list may
 * also be the one on run_slot()'s stack, which is no slot. */
static void unlink_timer(struct vv_wheel *w, struct vv_timer *t)
{
    const struct vv_list *const head = t->node.next;
    const bool last = head == t->node.prev;
    vv_list_del(&t->node);
    const uintptr_t first = (uintptr_t)&w->slot[0][0], at = (uintptr_t)head;
    if (last && at >= first && at < first + sizeof(w->slot)) {
        const size_t i = (at - first) / sizeof(struct vv_list);
        w->used[i / VV_WHEEL_SLOTS][i % VV_WHEEL_SLOTS / 64] &= ~(UINT64_C(1) << (i % 64));
    }
}

void vv_wheel_arm(struct vv_wheel *w, struct vv_timer *t, uint64_t at_ns)
{
    t->at_ns = at_ns;
    if (t->armed) {
        if (at_ns >= t->slot_ns) {
            return; /* lazy: the old slot comes first and will place the timer anew */
        }
        unlink_timer(w, t);
    } else {
        t->armed = true;
        w->armed++;
    }
    place(w, t);
}

void vv_wheel_disarm(struct vv_wheel *w, struct vv_timer *t)
{
    if (t->armed) {
        unlink_timer(w, t);
        t->armed = false;
        VV_ASSERT(w->armed > 0);
        w->armed--;
    }
}

/* Distance in slots (1..256) from `from` to the next used slot of the level, 0 when none is used.
 * `from` itself comes last: what sits there lies a whole turn ahead. */
static size_t distance_to_used(const struct vv_wheel *w, size_t level, size_t from)
{
    size_t at = (from + 1) & SLOT_MASK, gone = 1;
    while (gone <= VV_WHEEL_SLOTS) {
        const uint64_t word = w->used[level][at / 64] >> (at % 64);
        if (word != 0) {
            const size_t found = gone + (size_t)__builtin_ctzll(word);
            return found <= VV_WHEEL_SLOTS ? found : 0;
        }
        const size_t step = 64 - at % 64;
        gone += step;
        at = (at + step) & SLOT_MASK;
    }
    return 0;
}

/* The next tick at which a slot has to be looked at; UINT64_MAX when every slot is empty. */
static uint64_t next_tick(const struct vv_wheel *w)
{
    uint64_t next = UINT64_MAX;
    for (size_t level = 0; level < VV_WHEEL_LEVELS; level++) {
        const size_t shift = level * LEVEL_BITS;
        const uint64_t here = w->tick >> shift;
        const size_t distance = distance_to_used(w, level, here & SLOT_MASK);
        if (distance > 0) {
            next = vv_min_u64(next, (here + distance) << shift);
        }
    }
    return next;
}

static void take_slot(struct vv_wheel *w, size_t level, size_t i, struct vv_list *into)
{
    struct vv_list *slot = &w->slot[level][i];
    vv_list_init(into);
    w->used[level][i / 64] &= ~(UINT64_C(1) << (i % 64));
    if (!vv_list_empty(slot)) {
        *into = *slot;
        into->next->prev = into;
        into->prev->next = into;
        vv_list_init(slot);
    }
}

/* Fires or places anew everything in one slot. Each timer leaves the list before its callback, so
 * a callback may disarm its neighbours, which unlinks them from the list on the stack. */
static size_t run_slot(struct vv_wheel *w, struct vv_loop *loop, size_t level, size_t i)
{
    struct vv_list due;
    size_t fired = 0;
    take_slot(w, level, i, &due);
    while (!vv_list_empty(&due)) {
        struct vv_timer *t = VV_LIST_ENTRY(due.next, struct vv_timer, node);
        vv_list_del(&t->node);
        if (tick_after(t->at_ns) > w->tick) {
            place(w, t);
            continue;
        }
        t->armed = false;
        w->armed--;
        fired++;
        t->fn(loop, t);
    }
    return fired;
}

size_t vv_wheel_run(struct vv_wheel *w, struct vv_loop *loop, uint64_t now_ns)
{
    const uint64_t until = now_ns / VV_WHEEL_TICK_NS;
    size_t fired = 0;
    while (w->tick < until) {
        const uint64_t next = next_tick(w);
        if (next > until) {
            w->tick = until;
            break;
        }
        w->tick = next;
        /* Upper levels first: what they hold for this very tick must move down before it runs. */
        for (size_t level = VV_WHEEL_LEVELS; level-- > 0;) {
            const size_t shift = level * LEVEL_BITS;
            if ((next & ((UINT64_C(1) << shift) - 1)) == 0) {
                fired += run_slot(w, loop, level, (next >> shift) & SLOT_MASK);
            }
        }
    }
    return fired;
}

uint64_t vv_wheel_next(const struct vv_wheel *w)
{
    if (w->armed == 0) {
        return UINT64_MAX;
    }
    const uint64_t next = next_tick(w);
    return next > UINT64_MAX / VV_WHEEL_TICK_NS ? UINT64_MAX : next * VV_WHEEL_TICK_NS;
}
