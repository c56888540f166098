/* src/guard/queue.c - lateness is left only through an empty queue: newest first keeps the waits of
 * those who are served short, so short waits prove nothing. */
#include "guard/queue.h"

/* Intervals after lateness in which it takes only the target to be late again: a steady overload
 * empties the queue now and then by chance, and must not earn a whole interval of patience. */
#define MEMORY 10

void vv_queue_init(struct vv_queue *q, const struct vv_queue_conf *conf)
{
    *q = (struct vv_queue){.conf = *conf};
    for (size_t i = 0; i < VV_QUEUE_CLASSES; i++) {
        vv_list_init(&q->waiting[i]);
    }
}

void vv_waiter_init(struct vv_waiter *w)
{
    *w = (struct vv_waiter){.since_ns = 0};
    vv_list_init(&w->node);
}

static struct vv_waiter *waiter_at(struct vv_list *node)
{
    return VV_LIST_ENTRY(node, struct vv_waiter, node);
}

static struct vv_waiter *take_out(struct vv_queue *q, struct vv_waiter *w)
{
    vv_list_del(&w->node);
    q->count--;
    return w;
}

static uint64_t waited_ns(const struct vv_waiter *w, uint64_t now_ns)
{
    return now_ns > w->since_ns ? now_ns - w->since_ns : 0;
}

/* Within a class the oldest is first, so the oldest of all is among the firsts. */
static struct vv_waiter *oldest(struct vv_queue *q)
{
    struct vv_waiter *found = NULL;
    for (size_t i = 0; i < VV_QUEUE_CLASSES; i++) {
        if (!vv_list_empty(&q->waiting[i])) {
            struct vv_waiter *w = waiter_at(q->waiting[i].next);
            found = found == NULL || w->since_ns < found->since_ns ? w : found;
        }
    }
    return found;
}

static void judge(struct vv_queue *q, uint64_t now_ns)
{
    struct vv_waiter *first = oldest(q);
    if (first == NULL || (!q->late && waited_ns(first, now_ns) < q->conf.target_ns)) {
        q->calm_ns = now_ns;
        q->late_ns = q->late ? now_ns : q->late_ns;
        q->late = false;
        return;
    }
    const bool lately = q->late_ns != 0 && now_ns - q->late_ns < MEMORY * q->conf.interval_ns;
    if (lately || (now_ns > q->calm_ns && now_ns - q->calm_ns >= q->conf.interval_ns)) {
        q->late = true;
    }
}

/* Makes room for one of `class`: out of the least class that is below it; late, also the oldest of
 * its own. NULL: nobody is less important. */
static struct vv_waiter *make_room(struct vv_queue *q, uint32_t class)
{
    for (uint32_t i = VV_QUEUE_CLASSES; i-- > class;) {
        if (!vv_list_empty(&q->waiting[i]) && (i > class || q->late)) {
            struct vv_list *list = &q->waiting[i];
            return take_out(q, waiter_at(q->late ? list->next : list->prev));
        }
    }
    return NULL;
}

struct vv_waiter *vv_queue_push(struct vv_queue *q, struct vv_waiter *w, uint32_t class,
                                uint64_t now_ns)
{
    struct vv_waiter *goes = NULL;
    class = class < VV_QUEUE_CLASSES ? class : VV_QUEUE_CLASSES - 1;
    judge(q, now_ns);
    if (q->count >= q->conf.capacity) {
        goes = make_room(q, class);
        if (goes == NULL) {
            return w;
        }
    }
    w->since_ns = now_ns;
    w->class = (uint8_t) class;
    vv_list_push_back(&q->waiting[class], &w->node);
    q->count++;
    return goes;
}

/* From the least class up; the oldest of a class is its first. */
struct vv_waiter *vv_queue_expire(struct vv_queue *q, uint64_t now_ns)
{
    judge(q, now_ns);
    const bool short_of_time = q->late && q->count > q->conf.keep_min;
    for (size_t i = VV_QUEUE_CLASSES; i-- > 0;) {
        if (!vv_list_empty(&q->waiting[i])) {
            struct vv_waiter *first = waiter_at(q->waiting[i].next);
            const uint64_t waited = waited_ns(first, now_ns);
            if (waited >= q->conf.wait_max_ns || (short_of_time && waited >= q->conf.target_ns)) {
                return take_out(q, first);
            }
        }
    }
    return NULL;
}

struct vv_waiter *vv_queue_pop(struct vv_queue *q, uint64_t now_ns)
{
    judge(q, now_ns);
    for (size_t i = 0; i < VV_QUEUE_CLASSES; i++) {
        struct vv_list *list = &q->waiting[i];
        if (!vv_list_empty(list)) {
            struct vv_waiter *w = take_out(q, waiter_at(q->late ? list->prev : list->next));
            judge(q, now_ns); /* it may be empty now */
            return w;
        }
    }
    return NULL;
}

void vv_queue_remove(struct vv_queue *q, struct vv_waiter *w)
{
    if (!vv_list_empty(&w->node)) {
        take_out(q, w);
    }
}
