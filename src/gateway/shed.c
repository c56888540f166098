/* src/gateway/shed.c - closing by shares instead of whole classes: where nearly all requests are of one class,
 * all or nothing would swing between too much and none, and do less than the machine can. */
#include "gateway/shed.h"

#define CLOSED_MAX (VV_QUEUE_CLASSES * VV_SHED_SHARES)
#define CLOSE_MEMORY VV_SHED_SHARES /* memory may be gone before the next look */
#define CLOSE_LATE 2
#define OPEN_NS (200 * VV_MS)
#define CALM_PERCENT 90

/* The least of the last looks: a loop that was late once had one long turn, one that is late at every look
 * has more to do than it can. */
static uint64_t standing(const struct vv_shed *s)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < VV_SHED_LOOKS; i++) {
        least = vv_min_u64(least, s->late_ns[i]);
    }
    return least;
}

void vv_shed_tick(struct vv_shed *s, uint64_t now_ns, const struct vv_shed_sample *sample)
{
    s->late_ns[s->looks++ % VV_SHED_LOOKS] = sample->late_ns;
    const uint64_t late = standing(s);
    const uint64_t memory_max = sample->memory_max_bytes, late_max = sample->late_max_ns;
    const bool memory_over = memory_max != 0 && sample->memory_bytes > memory_max;
    const bool late_over = late_max != 0 && late > late_max;
    if (memory_over || late_over) {
        const unsigned by = memory_over ? CLOSE_MEMORY : CLOSE_LATE;
        s->closed = (unsigned)vv_min_u64(s->closed + by, CLOSED_MAX);
        s->moved_ns = now_ns;
        return;
    }
    const bool calm = (memory_max == 0 || sample->memory_bytes < memory_max / 100 * CALM_PERCENT) &&
                      (late_max == 0 || sample->late_ns < late_max / 100 * CALM_PERCENT);
    if (calm && s->closed > 0 && now_ns - s->moved_ns >= OPEN_NS) {
        s->closed--;
        s->moved_ns = now_ns;
    }
}

unsigned vv_shed_word(const struct vv_shed *s)
{
    return (VV_QUEUE_CLASSES - s->closed / VV_SHED_SHARES) | (s->closed % VV_SHED_SHARES) << 8;
}
