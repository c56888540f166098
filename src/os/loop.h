/* src/os/loop.h - the event loop of one thread: epoll (edge-triggered), timers, mailbox, deferred
 * work, one coarse clock.
 *
 * Model:     a turn is: wait for events -> read the clock once -> run expired timers -> dispatch
 *            I/O -> run posted mail -> run deferred work. Everything that happens in a turn sees
 *            the same vv_loop_now(). Edge-triggered: a handler reads or writes until EAGAIN or a
 *            short read, or remembers that it did not.
 * Threads:   all calls belong to the loop's own thread, except vv_loop_post() and vv_loop_stop().
 * Ownership: vv_io and vv_timer are embedded in the caller's structs; the loop only links them.
 *            A vv_io may be deleted at any moment of the turn: events already fetched for it are
 *            dropped (vv_loop_del bumps its generation by clearing the pending slots).
 * Errors:    VV_ENOMEM, VV_EFILES or VV_EIO from the kernel.
 */
#ifndef VV_OS_LOOP_H
#define VV_OS_LOOP_H
#include "base/err.h"
#include "base/list.h"
#include "os/timer.h"

struct vv_loop;
struct vv_io;

enum { VV_IO_READ = 1, VV_IO_WRITE = 2, VV_IO_HUP = 4, VV_IO_ERROR = 8, VV_IO_RDHUP = 16 };
typedef void vv_io_fn(struct vv_loop *loop, struct vv_io *io, uint32_t events);

struct vv_io {
    vv_io_fn *fn;
    int fd;        /* the caller's; the loop never closes it */
    bool added;    /* registered with epoll */
    uint32_t slot; /* PRIVATE: 1 + index in this turn's event array, 0 when none is pending */
};

struct vv_defer { /* runs once at the end of this turn (for example: flush, free) */
    struct vv_list node;
    void (*fn)(struct vv_loop *loop, struct vv_defer *d);
};

struct vv_mail { /* a message to another thread; fn runs there and owns the mail */
    struct vv_mail *next;
    void (*fn)(struct vv_loop *loop, struct vv_mail *mail);
};

VV_MUST_CHECK enum vv_err vv_loop_new(struct vv_loop **ret_loop);
/* Mail and deferred work that have not run are dropped: vv_loop_turn(loop, 0) runs them first. */
void vv_loop_free(struct vv_loop *loop);
/* Runs until vv_loop_stop(). */
void vv_loop_run(struct vv_loop *loop);
/* One turn, waiting at most max_wait_ns; for tests and tools. */
void vv_loop_turn(struct vv_loop *loop, uint64_t max_wait_ns);
void vv_loop_stop(struct vv_loop *loop); /* any thread */

/* Callbacks around the turns, for one owner per loop. `turned` runs at the end of each turn, when
 * no callback of the turn is on the stack any more; `before` and `after` run around a wait that
 * may really sleep, and only around that one. Each may be NULL. None of them may use the loop. */
struct vv_loop_hooks {
    void (*turned)(void *user);
    void (*before)(void *user);
    void (*after)(void *user);
    void *user;
};
void vv_loop_on_wait(struct vv_loop *loop, const struct vv_loop_hooks *hooks); /* NULL: none */
struct vv_loop *vv_loop_current(void); /* this thread's running loop or NULL */

/* Registers for reading, writing and hang-up at once, edge-triggered; there is no re-arming and
 * no modification afterwards: a caller that is not interested ignores the event and asks later
 * (the state does not get lost: it reads until EAGAIN when it wants bytes). */
VV_MUST_CHECK enum vv_err vv_loop_add(struct vv_loop *loop, struct vv_io *io);
/* Level-triggered read interest, exclusive when shared between threads: for listeners. */
VV_MUST_CHECK enum vv_err vv_loop_add_listener(struct vv_loop *loop, struct vv_io *io);
/* Forgets the io; `closing` true skips the system call since close() does it (the fd must not be
 * shared with another process, and must be closed before this turn ends). */
void vv_loop_del(struct vv_loop *loop, struct vv_io *io, bool closing);

/* Coarse clocks, one reading per turn. now: CLOCK_MONOTONIC ns; wall: CLOCK_REALTIME ns. */
uint64_t vv_loop_now(const struct vv_loop *loop);
uint64_t vv_loop_wall(const struct vv_loop *loop);
/* Reads the clock anew (after long work inside a turn). */
uint64_t vv_loop_refresh(struct vv_loop *loop);

/* Arms or re-arms. Lazy: moving a deadline later only writes the timer; the wheel corrects itself
 * when the old slot expires. Never before at_ns, at most a wheel tick (1 ms) plus a turn after. */
void vv_loop_timer_at(struct vv_loop *loop, struct vv_timer *t, uint64_t at_ns);
void vv_loop_timer_stop(struct vv_loop *loop, struct vv_timer *t);

void vv_loop_defer(struct vv_loop *loop, struct vv_defer *d); /* idempotent within a turn */
/* Takes it back; harmless when it is not queued. For whoever frees the struct around it. */
void vv_loop_defer_stop(struct vv_defer *d);
/* Sends mail to `loop` from any thread: lock-free, wakes it through an eventfd at most once. */
void vv_loop_post(struct vv_loop *loop, struct vv_mail *mail);

struct vv_loop_stats {
    uint64_t turns, events, timers, mails, busy_ns, max_turn_ns; /* busy: not waiting */
};
const struct vv_loop_stats *vv_loop_stats(const struct vv_loop *loop);
#endif
