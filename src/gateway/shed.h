/* src/gateway/shed.h - when the gateway itself has too much to do: which requests it turns away.
 *
 * Model:     ten times a second the gateway looks how much memory it has and how late its event loops run.
 *            While it has more than memory_max, or all looks of the last 300 ms found a loop later than
 *            late_max, it closes: from the least important class of requests up, in sixteenths, so that the
 *            most it can do still passes. Memory closes a class at a time, lateness an eighth. When both
 *            are under 90 % of that it opens by a sixteenth every 200 ms.
 *            The level is one word: the class from which all is refused, and how many sixteenths of the
 *            next more important one.
 * Units:     *_ns monotonic nanoseconds.
 * Threads:   ticks: control. vv_shed_refuses(): any.
 */
#ifndef VV_GATEWAY_SHED_H
#define VV_GATEWAY_SHED_H
#include "guard/queue.h"

#define VV_SHED_SHARES 16
#define VV_SHED_LOOKS 3

struct vv_shed_sample {
    uint64_t memory_bytes, memory_max_bytes; /* max 0: memory is not watched */
    uint64_t late_ns, late_max_ns;           /* max 0: lateness is not watched */
};

struct vv_shed { /* PRIVATE; zeroed is open and knows nothing */
    uint64_t looks;
    uint64_t late_ns[VV_SHED_LOOKS];
    uint64_t moved_ns;
    unsigned closed; /* sixteenths, all classes together */
};

void vv_shed_tick(struct vv_shed *s, uint64_t now_ns, const struct vv_shed_sample *sample);
/* The word for vv_guards_shed(): VV_QUEUE_CLASSES when nothing is refused. */
unsigned vv_shed_word(const struct vv_shed *s);

/* Is a request of this class refused? random: any number, new for every request. */
static inline bool vv_shed_refuses(unsigned word, unsigned class, uint64_t random)
{
    const unsigned from = word & 0xff;
    return class >= from || (class + 1 == from && random % VV_SHED_SHARES < word >> 8);
}

/* How many classes that is: 0 none, 0.5 half of the least important one, 4 all. */
static inline double vv_shed_level(unsigned word)
{
    return (double)(VV_QUEUE_CLASSES - (word & 0xff)) + (double)(word >> 8) / VV_SHED_SHARES;
}

struct vv_gateway;
struct vv_shed_watch; /* looks at a gateway and tells its guards */
/* Every 100 ms, from the gateway's timer; made at the first call. */
void vv_shed_watch_tick(struct vv_gateway *g, uint64_t now_ns);
void vv_shed_watch_free(struct vv_gateway *g); /* the workers have ended */
/* How late the latest loop was at the last look. */
uint64_t vv_shed_watch_late_ns(const struct vv_gateway *g);
#endif
