/* src/os/loop.c - one epoll instance per thread. Events are fetched into one array; an io that is
 * deleted while an event of it waits there finds its place through `slot` and blanks it, so no
 * generation numbers and no deferred frees are needed. The mailbox is a stack that many push to and
 * the loop takes whole; a sender writes to the eventfd only when it finds the loop asleep. */
#include "os/loop.h"

#include "os/clock.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define WAIT_MAX_NS (60 * VV_SEC)   /* wakes at least once a minute: keeps the wheel close */
#define WALL_EVERY_NS (100 * VV_MS) /* how soon a step of the wall clock is noticed */
#define DEFER_ROUNDS 8              /* deferred work may defer; the rest waits for a turn */

struct vv_loop {
    int epoll_fd;
    uint32_t fetched; /* events of this turn */
    uint64_t now_ns, wall_ns;
    uint64_t wall_read_ns; /* monotonic time of the last reading of the wall clock */
    uint64_t busy_since_ns;
    struct vv_list deferred;
    struct vv_loop_hooks hooks;
    struct vv_loop_stats stats;
    struct vv_io wake;
    struct epoll_event event[EVENTS_MAX];
    struct vv_wheel wheel;
    /* Written by other threads: kept off the lines above. */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic(struct vv_mail *) inbox;
    atomic_bool asleep; /* true: whoever clears it has to write to the eventfd */
    atomic_bool stop;
};

static _Thread_local struct vv_loop *current;

static void on_wake(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    /* Edge-triggered: every write is an event of its own, so the counter need not be read. */
    (void)loop;
    (void)io;
    (void)events;
}

static enum vv_err epoll_err(int errnum)
{
    switch (errnum) {
    case ENOMEM:
        return VV_ENOMEM;
    case ENOSPC: /* /proc/sys/fs/epoll/max_user_watches */
    case EMFILE:
    case ENFILE:
        return VV_EFILES;
    default:
        return VV_EIO;
    }
}

static enum vv_err add(struct vv_loop *loop, struct vv_io *io, uint32_t interest)
{
    VV_ASSERT(!io->added);
    struct epoll_event ev = {.events = interest, .data.ptr = io};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, io->fd, &ev) != 0) {
        return epoll_err(errno);
    }
    io->added = true;
    io->slot = 0;
    return VV_OK;
}

enum vv_err vv_loop_add(struct vv_loop *loop, struct vv_io *io)
{
    return add(loop, io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

enum vv_err vv_loop_add_listener(struct vv_loop *loop, struct vv_io *io)
{
    return add(loop, io, EPOLLIN | EPOLLEXCLUSIVE);
}

void vv_loop_del(struct vv_loop *loop, struct vv_io *io, bool closing)
{
    if (!io->added) {
        return;
    }
    if (!closing) {
        /* Fails only when the fd is gone already; then there is nothing left to forget. */
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    }
    if (io->slot != 0) {
        VV_ASSERT(io->slot <= loop->fetched);
        loop->event[io->slot - 1].data.ptr = NULL;
        io->slot = 0;
    }
    io->added = false;
}

uint64_t vv_loop_now(const struct vv_loop *loop)
{
    return loop->now_ns;
}

uint64_t vv_loop_wall(const struct vv_loop *loop)
{
    return loop->wall_ns;
}

/* The wall clock follows the monotonic one and is compared with the real one now and then, so a
 * turn costs one reading instead of two. */
static void take_time(struct vv_loop *loop, uint64_t now_ns)
{
    if (now_ns - loop->wall_read_ns >= WALL_EVERY_NS) {
        loop->wall_ns = vv_clock_wall();
        loop->wall_read_ns = now_ns;
    } else {
        loop->wall_ns += now_ns - loop->now_ns;
    }
    loop->now_ns = now_ns;
}

uint64_t vv_loop_refresh(struct vv_loop *loop)
{
    take_time(loop, vv_clock_now());
    return loop->now_ns;
}

enum vv_err vv_loop_new(struct vv_loop **ret_loop)
{
    struct vv_loop *loop = aligned_alloc(VV_CACHE_LINE, sizeof(*loop));
    if (loop == NULL) {
        return VV_ENOMEM;
    }
    *loop = (struct vv_loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    loop->wake = (struct vv_io){.fn = on_wake, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    vv_list_init(&loop->deferred);
    enum vv_err err = VV_OK;
    if (loop->epoll_fd < 0 || loop->wake.fd < 0) {
        err = epoll_err(errno);
    } else {
        err = add(loop, &loop->wake, EPOLLIN | EPOLLET);
    }
    if (err != VV_OK) {
        vv_loop_free(loop);
        return err;
    }
    loop->now_ns = loop->wall_read_ns = loop->busy_since_ns = vv_clock_now();
    loop->wall_ns = vv_clock_wall();
    vv_wheel_init(&loop->wheel, loop->now_ns);
    *ret_loop = loop;
    return VV_OK;
}

void vv_loop_free(struct vv_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    if (loop->wake.fd >= 0) {
        close(loop->wake.fd);
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    if (current == loop) {
        current = NULL;
    }
    free(loop);
}

static void wake_up(struct vv_loop *loop)
{
    const uint64_t one = 1;
    const ssize_t n = write(loop->wake.fd, &one, sizeof(one));
    (void)n; /* EAGAIN would mean 2^64 - 2 wake-ups are waiting already */
}

void vv_loop_post(struct vv_loop *loop, struct vv_mail *mail)
{
    struct vv_mail *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);
    do {
        mail->next = head;
    } while (!atomic_compare_exchange_weak(&loop->inbox, &head, mail));
    /* The loop sets `asleep` and then looks at the inbox, we fill the inbox and then look at
     * `asleep`, all sequentially consistent: one of the two sees the other. */
    if (atomic_load(&loop->asleep) && atomic_exchange(&loop->asleep, false)) {
        wake_up(loop);
    }
}

void vv_loop_stop(struct vv_loop *loop)
{
    atomic_store(&loop->stop, true);
    wake_up(loop);
}

void vv_loop_on_wait(struct vv_loop *loop, const struct vv_loop_hooks *hooks)
{
    loop->hooks = hooks != NULL ? *hooks : (struct vv_loop_hooks){0};
}

struct vv_loop *vv_loop_current(void)
{
    return current;
}

void vv_loop_timer_at(struct vv_loop *loop, struct vv_timer *t, uint64_t at_ns)
{
    vv_wheel_arm(&loop->wheel, t, at_ns);
}

void vv_loop_timer_stop(struct vv_loop *loop, struct vv_timer *t)
{
    vv_wheel_disarm(&loop->wheel, t);
}

void vv_loop_defer(struct vv_loop *loop, struct vv_defer *d)
{
    if (d->node.next == NULL || vv_list_empty(&d->node)) { /* zeroed or initialised: not queued */
        vv_list_push_back(&loop->deferred, &d->node);
    }
}

void vv_loop_defer_stop(struct vv_defer *d)
{
    if (d->node.next != NULL) {
        vv_list_del(&d->node);
    }
}

const struct vv_loop_stats *vv_loop_stats(const struct vv_loop *loop)
{
    return &loop->stats;
}

static bool has_work(struct vv_loop *loop)
{
    return !vv_list_empty(&loop->deferred) || atomic_load(&loop->inbox) != NULL ||
           atomic_load(&loop->stop);
}

static void count_busy(struct vv_loop *loop, uint64_t now_ns)
{
    const uint64_t busy_ns = now_ns - loop->busy_since_ns;
    loop->stats.busy_ns += busy_ns;
    loop->stats.max_turn_ns = vv_max_u64(loop->stats.max_turn_ns, busy_ns);
    loop->busy_since_ns = now_ns;
}

/* Fetches events, sleeping when there is nothing else to do; leaves the new time in the loop. */
static void wait_for_events(struct vv_loop *loop, uint64_t max_wait_ns)
{
    int timeout_ms = 0;
    if (max_wait_ns > 0 && !has_work(loop)) {
        const uint64_t now_ns = vv_clock_now(), next_ns = vv_wheel_next(&loop->wheel);
        count_busy(loop, now_ns);
        uint64_t wait_ns = next_ns > now_ns ? next_ns - now_ns : 0;
        wait_ns = vv_min_u64(wait_ns, vv_min_u64(max_wait_ns, WAIT_MAX_NS));
        timeout_ms = (int)((wait_ns + VV_MS - 1) / VV_MS);
    }
    if (timeout_ms > 0) {
        atomic_store(&loop->asleep, true);
        if (has_work(loop)) {
            timeout_ms = 0;
        }
    }
    const bool sleeps = timeout_ms > 0;
    if (sleeps && loop->hooks.before != NULL) {
        loop->hooks.before(loop->hooks.user);
    }
    const int n = epoll_wait(loop->epoll_fd, loop->event, EVENTS_MAX, timeout_ms);
    if (sleeps && loop->hooks.after != NULL) {
        loop->hooks.after(loop->hooks.user);
    }
    atomic_store_explicit(&loop->asleep, false, memory_order_relaxed);
    const uint64_t now_ns = vv_clock_now();
    if (timeout_ms == 0) {
        count_busy(loop, now_ns);
    }
    loop->busy_since_ns = now_ns;
    take_time(loop, now_ns);
    loop->fetched = n > 0 ? (uint32_t)n : 0; /* EINTR: a turn without events */
    for (uint32_t i = 0; i < loop->fetched; i++) {
        ((struct vv_io *)loop->event[i].data.ptr)->slot = i + 1;
    }
}

static uint32_t translate(uint32_t ev)
{
    return ((ev & EPOLLIN) != 0 ? (uint32_t)VV_IO_READ : 0) |
           ((ev & EPOLLOUT) != 0 ? (uint32_t)VV_IO_WRITE : 0) |
           ((ev & EPOLLHUP) != 0 ? (uint32_t)VV_IO_HUP : 0) |
           ((ev & EPOLLERR) != 0 ? (uint32_t)VV_IO_ERROR : 0) |
           ((ev & EPOLLRDHUP) != 0 ? (uint32_t)VV_IO_RDHUP : 0);
}

static void dispatch(struct vv_loop *loop)
{
    for (uint32_t i = 0; i < loop->fetched; i++) {
        struct vv_io *io = loop->event[i].data.ptr;
        if (io != NULL) {
            io->slot = 0;
            io->fn(loop, io, translate(loop->event[i].events));
        }
    }
    loop->stats.events += loop->fetched;
    loop->fetched = 0;
}

static void run_mail(struct vv_loop *loop)
{
    if (atomic_load_explicit(&loop->inbox, memory_order_relaxed) == NULL) {
        return; /* reading a line nobody wrote is cheaper than swapping it */
    }
    struct vv_mail *newest = atomic_exchange(&loop->inbox, NULL), *oldest = NULL;
    while (newest != NULL) { /* the stack has the last one on top; run in the order of sending */
        struct vv_mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct vv_mail *mail = oldest;
        oldest = mail->next; /* fn owns the mail from here on */
        loop->stats.mails++;
        mail->fn(loop, mail);
    }
}

static void run_deferred(struct vv_loop *loop)
{
    for (int round = 0; round < DEFER_ROUNDS && !vv_list_empty(&loop->deferred); round++) {
        struct vv_list batch = loop->deferred;
        batch.next->prev = batch.prev->next = &batch;
        vv_list_init(&loop->deferred);
        while (!vv_list_empty(&batch)) {
            struct vv_defer *d = VV_LIST_ENTRY(batch.next, struct vv_defer, node);
            vv_list_del(&d->node);
            d->fn(loop, d);
        }
    }
}

void vv_loop_turn(struct vv_loop *loop, uint64_t max_wait_ns)
{
    struct vv_loop *const outer = current;
    current = loop;
    wait_for_events(loop, max_wait_ns);
    loop->stats.turns++;
    loop->stats.timers += vv_wheel_run(&loop->wheel, loop, loop->now_ns);
    dispatch(loop);
    run_mail(loop);
    run_deferred(loop);
    if (loop->hooks.turned != NULL) {
        loop->hooks.turned(loop->hooks.user);
    }
    current = outer;
}

void vv_loop_run(struct vv_loop *loop)
{
    while (!atomic_load_explicit(&loop->stop, memory_order_acquire)) {
        vv_loop_turn(loop, UINT64_MAX);
    }
    atomic_store(&loop->stop, false); /* may be run again */
}
