/* tests/unit/guard/test_queue.c - who goes next, in calm and late, and who has to go. */
#include "guard/queue.h"

#include "vv_test.h"

#define START (1000 * VV_HOUR)
#define WAITERS 64

static const struct vv_queue_conf usual = {.target_ns = 5 * VV_MS,
                                           .interval_ns = 100 * VV_MS,
                                           .wait_max_ns = VV_SEC,
                                           .capacity = 8,
                                           .keep_min = 2};

struct bench {
    struct vv_queue q;
    struct vv_waiter w[WAITERS];
};

static void open_bench(struct bench *b)
{
    vv_queue_init(&b->q, &usual);
    for (size_t i = 0; i < WAITERS; i++) {
        vv_waiter_init(&b->w[i]);
    }
}

/* The number of a waiter; -1 is nobody. */
static int number(const struct bench *b, const struct vv_waiter *w)
{
    return w == NULL ? -1 : (int)(w - b->w);
}

static int push(struct bench *b, int i, uint32_t class, uint64_t at_ms)
{
    return number(b, vv_queue_push(&b->q, &b->w[i], class, START + at_ms * VV_MS));
}

static int pop(struct bench *b, uint64_t at_ms)
{
    return number(b, vv_queue_pop(&b->q, START + at_ms * VV_MS));
}

static int expire(struct bench *b, uint64_t at_ms)
{
    return number(b, vv_queue_expire(&b->q, START + at_ms * VV_MS));
}

VV_TEST(queue_in_calm_is_first_come_first_served_by_class)
{
    struct bench b;
    open_bench(&b);
    VV_CHECK_INT(push(&b, 0, 2, 0), -1);
    VV_CHECK_INT(push(&b, 1, 1, 1), -1);
    VV_CHECK_INT(push(&b, 2, 1, 2), -1);
    VV_CHECK_INT(push(&b, 3, 99, 3), -1);
    VV_CHECK_INT(push(&b, 4, 0, 3), -1);
    VV_CHECK_INT(pop(&b, 3), 4);
    VV_CHECK_INT(pop(&b, 3), 1);
    VV_CHECK_INT(pop(&b, 3), 2);
    vv_queue_remove(&b.q, &b.w[0]);
    vv_queue_remove(&b.q, &b.w[0]); /* gone is gone */
    VV_CHECK_INT(pop(&b, 3), 3);
    VV_CHECK_INT(pop(&b, 3), -1);
}

VV_TEST(queue_that_is_never_empty_serves_the_newest_and_lets_the_old_go)
{
    struct bench b;
    open_bench(&b);
    VV_CHECK_INT(push(&b, 0, 1, 0), -1);
    VV_CHECK_INT(push(&b, 1, 1, 0), -1);
    VV_CHECK_INT(push(&b, 2, 1, 50), -1);
    VV_CHECK_INT(pop(&b, 51), 0);     /* old, but only since 51 ms */
    VV_CHECK_INT(expire(&b, 51), -1); /* over the target is no crime in calm */
    VV_CHECK_INT(push(&b, 3, 1, 99), -1);
    VV_CHECK_INT(push(&b, 4, 1, 102), -1); /* calm was last seen at 0 */
    VV_CHECK_INT(pop(&b, 102), 4);
    VV_CHECK_INT(push(&b, 5, 1, 103), -1);
    VV_CHECK_INT(push(&b, 6, 0, 103), -1);
    VV_CHECK_INT(expire(&b, 103), 1); /* 103 ms, then 53 ms; 3 has waited 4 ms */
    VV_CHECK_INT(expire(&b, 103), 2);
    VV_CHECK_INT(expire(&b, 103), -1);
    VV_CHECK_INT(pop(&b, 103), 6);     /* classes still count */
    VV_CHECK_INT(expire(&b, 150), -1); /* 3 and 5 are old, but two are kept for free places */
    VV_CHECK_INT(pop(&b, 150), 5);
    VV_CHECK_INT(pop(&b, 150), 3);
    /* It was empty: calm again. */
    VV_CHECK_INT(push(&b, 7, 1, 151), -1);
    VV_CHECK_INT(push(&b, 8, 1, 152), -1);
    VV_CHECK_INT(pop(&b, 153), 7);
    VV_CHECK_INT(push(&b, 9, 1, 156), -1);
    VV_CHECK_INT(pop(&b, 158), 9); /* 8 waits for 6 ms: late again without another 100 ms */
    VV_CHECK_INT(pop(&b, 158), 8);
    VV_CHECK_INT(push(&b, 10, 1, 1200), -1);
    VV_CHECK_INT(push(&b, 11, 1, 1201), -1);
    VV_CHECK_INT(pop(&b, 1250), 10); /* a second later it has earned its patience again */
}

VV_TEST(queue_lets_nobody_wait_longer_than_the_most)
{
    struct bench b;
    open_bench(&b);
    VV_CHECK_INT(push(&b, 0, 0, 0), -1);
    VV_CHECK_INT(expire(&b, 999), -1);
    VV_CHECK_INT(expire(&b, 1000), 0);
    VV_CHECK_INT(expire(&b, 1000), -1);
}

VV_TEST(queue_that_is_full_sheds_from_the_bottom)
{
    struct bench b;
    open_bench(&b);
    for (int i = 0; i < 8; i++) {
        VV_CHECK_INT(push(&b, i, i < 4 ? 1 : 2, 0), -1);
    }
    VV_CHECK_INT(push(&b, 8, 2, 1), 8); /* calm: who came first stays */
    VV_CHECK_INT(push(&b, 9, 3, 1), 9);
    VV_CHECK_INT(push(&b, 10, 0, 1), 7); /* the newest of the least class */
    VV_CHECK_INT(push(&b, 11, 1, 1), 6);
    VV_CHECK_INT(push(&b, 12, 2, 200), 4); /* late: the oldest of its own class */
    VV_CHECK_INT(push(&b, 13, 0, 200), 5);
    VV_CHECK_INT(push(&b, 14, 0, 200), 12);
    VV_CHECK_INT(push(&b, 15, 0, 200), 0); /* class 2 is empty: class 1 pays */
    VV_CHECK_INT(push(&b, 16, 3, 200), 16);
    VV_CHECK_INT(pop(&b, 200), 15);
}
