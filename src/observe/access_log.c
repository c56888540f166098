/* src/observe/access_log.c - two buffers per thread and one writer: appending never waits.
 *
 * A full buffer is pushed on a lock-free list and the writer is woken through a semaphore. If the
 * other buffer is still being written, records are dropped and counted: a slow disk costs lines,
 * never latency. The writer takes the whole list at once, so pushes cannot meet the ABA problem.
 *
 *   appender: [filling]  [free or queued] --push--> log->queue --take all--> writer --write(2)-->
 * fd
 */
#include "observe/access_log.h"

#include "observe/access_int.h"
#include "observe/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_EVERY_NS (500 * VV_MS) /* the loop calls once a second, give or take */
#define PIPE_STEP 4096 /* PIPE_BUF: after POLLOUT a pipe takes this without blocking */
#define POLL_MS 100
#define STOP_POLLS 10 /* a reader that takes nothing for a second does not hold up the end */
#define STDOUT_PATH "-"

struct buffer {
    struct buffer *next; /* in the queue */
    struct vv_access_appender *home;
    bool queued; /* set by the appender, cleared (release) by the writer */
    size_t n, records;
    char bytes[VV_ACCESS_BUFFER];
};

struct vv_access_appender {
    struct vv_access_log *log;
    struct vv_access_clock clock;
    uint64_t flush_at_ns;
    uint32_t refs; /* the owner and every queued buffer */
    unsigned filling;
    struct buffer buffer[2];
};

struct vv_access_log {
    enum vv_access_format format;
    char *path;
    int fd; /* the writer's own */
    struct buffer *queue;
    uint64_t dropped;
    bool reopen, stop;
    sem_t wake;
    pthread_t writer;
    pthread_mutex_t tap_lock; /* held while the tap runs */
    vv_access_tap_fn *tap;
    void *tap_user;
};

/* ---- the writer thread ---- */

static int open_path(const char *path)
{
    if (strcmp(path, STDOUT_PATH) == 0) {
        return STDOUT_FILENO;
    }
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

static void close_path(const char *path, int fd)
{
    if (strcmp(path, STDOUT_PATH) != 0) {
        close(fd);
    }
}

static void reopen(struct vv_access_log *log)
{
    const int fd = open_path(log->path);
    if (fd < 0) {
        vv_error("access_log", "cannot reopen, the old file stays in use path=%s error=%s",
                 log->path, strerror(errno));
        return;
    }
    close_path(log->path, log->fd);
    log->fd = fd;
}

/* Waits until a pipe or terminal takes bytes; false when the log is ending and nobody reads. */
static bool wait_writable(struct vv_access_log *log)
{
    int polls = 0;
    for (;;) {
        struct pollfd p = {.fd = log->fd, .events = POLLOUT};
        const int n = poll(&p, 1, POLL_MS);
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (__atomic_load_n(&log->stop, __ATOMIC_ACQUIRE) && ++polls >= STOP_POLLS) {
            return false;
        }
    }
}

/* How much to write at once: all of it to a file; to a pipe whole lines of at most PIPE_STEP. */
static size_t step_of(const char *p, size_t n, bool file)
{
    if (file || n <= PIPE_STEP) {
        return n;
    }
    const char *line_end = memrchr(p, '\n', PIPE_STEP);
    return line_end != NULL ? (size_t)(line_end - p) + 1 : PIPE_STEP;
}

static bool write_all(struct vv_access_log *log, const char *p, size_t n)
{
    struct stat st;
    const bool file = fstat(log->fd, &st) == 0 && S_ISREG(st.st_mode);
    while (n > 0) {
        if (!file && !wait_writable(log)) {
            return false;
        }
        const ssize_t wrote = write(log->fd, p, step_of(p, n, file));
        if (wrote < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
        if (wrote > 0) {
            p += wrote;
            n -= (size_t)wrote;
        }
    }
    return true;
}

static void appender_unref(struct vv_access_appender *a)
{
    if (__atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(a);
    }
}

/* Before the write: who watches must not wait for a slow disk as well. */
static void show(struct vv_access_log *log, struct vv_str lines)
{
    pthread_mutex_lock(&log->tap_lock);
    if (log->tap != NULL) {
        log->tap(log->tap_user, lines);
    }
    pthread_mutex_unlock(&log->tap_lock);
}

static void drain(struct vv_access_log *log)
{
    struct buffer *taken = __atomic_exchange_n(&log->queue, NULL, __ATOMIC_ACQUIRE);
    struct buffer *first = NULL;
    while (taken != NULL) { /* the list is last in, first out: turn it round */
        struct buffer *next = taken->next;
        taken->next = first;
        first = taken;
        taken = next;
    }
    while (first != NULL) {
        struct buffer *b = first;
        first = b->next;
        show(log, (struct vv_str){b->bytes, b->n});
        if (!write_all(log, b->bytes, b->n)) {
            __atomic_add_fetch(&log->dropped, b->records, __ATOMIC_RELAXED);
        }
        struct vv_access_appender *home = b->home;
        b->n = b->records = 0;
        __atomic_store_n(&b->queued, false, __ATOMIC_RELEASE);
        appender_unref(home);
    }
}

static void *run_writer(void *arg)
{
    struct vv_access_log *log = arg;
    bool stop = false;
    while (!stop) {
        while (sem_wait(&log->wake) != 0) { /* EINTR */
        }
        stop = __atomic_load_n(&log->stop, __ATOMIC_ACQUIRE);
        if (__atomic_exchange_n(&log->reopen, false, __ATOMIC_ACQ_REL)) {
            reopen(log);
        }
        drain(log);
    }
    return NULL;
}

/* ---- the sink ---- */

/* Signals belong to the threads that expect them. */
static int start_writer(struct vv_access_log *log)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&log->writer, NULL, run_writer, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static void log_release(struct vv_access_log *log)
{
    if (log->fd >= 0) {
        close_path(log->path, log->fd);
    }
    sem_destroy(&log->wake);
    pthread_mutex_destroy(&log->tap_lock);
    free(log->path);
    free(log);
}

enum vv_err vv_access_log_new(const char *path, enum vv_access_format format,
                              struct vv_access_log **ret)
{
    struct vv_access_log *log = calloc(1, sizeof(*log));
    char *copy = strdup(path);
    if (log == NULL || copy == NULL) {
        free(log);
        free(copy);
        return VV_ENOMEM;
    }
    *log = (struct vv_access_log){.format = format, .path = copy, .fd = -1};
    sem_init(&log->wake, 0, 0);
    pthread_mutex_init(&log->tap_lock, NULL);
    log->fd = open_path(path);
    if (log->fd < 0) {
        const enum vv_err err = vv_err_from_errno(errno);
        log_release(log);
        return err;
    }
    const int failed = start_writer(log);
    if (failed != 0) {
        log_release(log);
        return vv_err_from_errno(failed);
    }
    *ret = log;
    return VV_OK;
}

void vv_access_log_free(struct vv_access_log *log)
{
    if (log == NULL) {
        return;
    }
    __atomic_store_n(&log->stop, true, __ATOMIC_RELEASE);
    sem_post(&log->wake);
    pthread_join(log->writer, NULL);
    log_release(log);
}

void vv_access_log_reopen(struct vv_access_log *log)
{
    __atomic_store_n(&log->reopen, true, __ATOMIC_RELEASE);
    sem_post(&log->wake);
}

uint64_t vv_access_dropped(const struct vv_access_log *log)
{
    return __atomic_load_n(&log->dropped, __ATOMIC_RELAXED);
}

void vv_access_log_tap(struct vv_access_log *log, vv_access_tap_fn *fn, void *user)
{
    pthread_mutex_lock(&log->tap_lock);
    log->tap = fn;
    log->tap_user = user;
    pthread_mutex_unlock(&log->tap_lock);
}

/* ---- the appender, on the data path ---- */

enum vv_err vv_access_appender_new(struct vv_access_log *log, struct vv_access_appender **ret)
{
    struct vv_access_appender *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return VV_ENOMEM;
    }
    a->log = log;
    a->refs = 1;
    a->buffer[0].home = a->buffer[1].home = a;
    *ret = a;
    return VV_OK;
}

/* Gives the filling buffer to the writer and turns to the other one, which may still be queued. */
static void hand_over(struct vv_access_appender *a)
{
    struct vv_access_log *log = a->log;
    struct buffer *b = &a->buffer[a->filling];
    a->filling ^= 1;
    b->queued = true;
    __atomic_add_fetch(&a->refs, 1, __ATOMIC_RELAXED);
    b->next = __atomic_load_n(&log->queue, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&log->queue, &b->next, b, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
    }
    sem_post(&log->wake);
}

/* The filling buffer, or NULL while the writer still has it. */
static struct buffer *filling(struct vv_access_appender *a)
{
    struct buffer *b = &a->buffer[a->filling];
    return __atomic_load_n(&b->queued, __ATOMIC_ACQUIRE) ? NULL : b;
}

void vv_access_append(struct vv_access_appender *a, const struct vv_access_record *r)
{
    const size_t need = vv_access_bound(r);
    struct buffer *b = filling(a);
    if (b != NULL && VV_ACCESS_BUFFER - b->n < need) {
        hand_over(a);
        b = filling(a);
    }
    if (b == NULL) {
        __atomic_add_fetch(&a->log->dropped, 1, __ATOMIC_RELAXED);
        return;
    }
    b->n = (size_t)(vv_access_line(b->bytes + b->n, r, a->log->format, &a->clock) - b->bytes);
    b->records++;
}

void vv_access_flush(struct vv_access_appender *a, uint64_t now_ns)
{
    const struct buffer *b = filling(a);
    if (now_ns < a->flush_at_ns || b == NULL || b->n == 0) {
        return;
    }
    a->flush_at_ns = now_ns + FLUSH_EVERY_NS;
    hand_over(a);
}

void vv_access_appender_free(struct vv_access_appender *a)
{
    if (a == NULL) {
        return;
    }
    const struct buffer *b = filling(a);
    if (b != NULL && b->n > 0) {
        hand_over(a);
    }
    appender_unref(a);
}
