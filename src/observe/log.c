/* src/observe/log.c - one line, one write(2): lines of different threads and processes never mix.
 * Repeats are found by the whole text in a table of a few recent messages: a flapping server may
 * say two different things in turn, and both bursts must fold. */
#include "observe/log_int.h"

#include "base/str.h"
#include "observe/text_int.h"
#include "os/clock.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define MESSAGE_BYTES 2048 /* a longer message is cut */
#define LINE_BYTES (MESSAGE_BYTES * 6 + 256)
#define FOLD_SLOTS 16
#define FOLD_NS (5 * VV_SEC)
#define KEPT_BYTES 256 /* of a folded message, to say later what was folded */

struct fold {
    uint64_t hash, since_ns, more;
    enum vv_log_level level;
    size_t n;
    char component[32];
    char text[KEPT_BYTES];
};

static const char *const level_word[] = {"debug", "info", "warn", "error"};
static const char *const level_text[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static int current_level = VV_LOG_INFO;
static int current_format = VV_LOG_TEXT;
static int current_fd = STDERR_FILENO;
static pthread_mutex_t fold_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fold folds[FOLD_SLOTS];

static char *put(char *p, const char *cstr)
{
    const size_t n = strlen(cstr);
    memcpy(p, cstr, n);
    return p + n;
}

static char *put_hex(char *p, unsigned byte)
{
    static const char hex[] = "0123456789abcdef";
    *p++ = hex[byte >> 4];
    *p++ = hex[byte & 15];
    return p;
}

/* C1 controls (U+0080 to U+009F) are well-formed UTF-8, but a terminal obeys them. */
static bool is_control(const unsigned char *c, size_t len)
{
    return len == 1 ? (c[0] < 0x20 || c[0] == 0x7f) : (len == 2 && c[0] == 0xc2 && c[1] < 0xa0);
}

static char *put_text(char *p, struct vv_str s)
{
    const unsigned char *c = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        const size_t len = vv_text_utf8(c + i, s.n - i);
        if (len == 1 && c[i] == '\n') {
            p = put(p, "\\n");
        } else if (len != 0 && !is_control(c + i, len)) {
            memcpy(p, c + i, len);
            p += len;
        } else {
            for (size_t k = 0; k < (len != 0 ? len : 1); k++) {
                p = put_hex(put(p, "\\x"), c[i + k]);
            }
        }
        i += len != 0 ? len : 1;
    }
    return p;
}

static char *put_json(char *p, struct vv_str s)
{
    const unsigned char *c = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        const size_t len = vv_text_utf8(c + i, s.n - i);
        if (len == 0) {
            p = put(p, "\\ufffd");
        } else if (is_control(c + i, len)) {
            p = put_hex(put(p, "\\u00"), c[i + len - 1]);
        } else {
            if (c[i] == '"' || c[i] == '\\') {
                *p++ = '\\';
            }
            memcpy(p, c + i, len);
            p += len;
        }
        i += len != 0 ? len : 1;
    }
    return p;
}

/* `more`: how many equal messages were folded since the line was last written. */
static void write_line(uint64_t wall_ns, enum vv_log_level level, const char *component,
                       struct vv_str message, uint64_t more)
{
    char line[LINE_BYTES];
    char *p = line;
    const bool json = __atomic_load_n(&current_format, __ATOMIC_RELAXED) == VV_LOG_JSON;
    p = json ? put(p, "{\"ts\":\"") : p;
    p = vv_text_iso(p, wall_ns / VV_SEC);
    *p++ = '.';
    p = vv_text_pad(p, wall_ns % VV_SEC / VV_MS, 3);
    *p++ = 'Z';
    if (json) {
        p = put(put(p, "\",\"level\":\""), level_word[level]);
        p = put_json(put(p, "\",\"component\":\""), vv_str_from(component));
        p = put_json(put(p, "\",\"msg\":\""), message);
        *p++ = '"';
        p = more > 0 ? vv_text_u64(put(p, ",\"more\":"), more) : p;
        p = put(p, "}\n");
    } else {
        *p++ = ' ';
        p = put(p, level_text[level]);
        *p++ = ' ';
        p = put(put_text(p, vv_str_from(component)), ": ");
        p = put_text(p, message);
        p = more > 0 ? put(vv_text_u64(put(p, " (... "), more), " more)") : p;
        *p++ = '\n';
    }
    const int fd = __atomic_load_n(&current_fd, __ATOMIC_RELAXED);
    ssize_t n;
    do { /* a full or closed log is nobody's reason to stop: anything but EINTR gives up */
        n = write(fd, line, (size_t)(p - line));
    } while (n < 0 && errno == EINTR);
}

static void say_folded(struct fold *f, uint64_t wall_ns)
{
    const uint64_t at_ns = wall_ns == UINT64_MAX ? f->since_ns : wall_ns;
    if (f->more > 0) {
        write_line(at_ns, f->level, f->component, (struct vv_str){f->text, f->n}, f->more);
    }
    f->hash = f->more = 0;
}

static bool expired(const struct fold *f, uint64_t wall_ns)
{
    /* A wall clock that was set back must not silence a message until it caught up. */
    return f->hash != 0 && (wall_ns >= f->since_ns + FOLD_NS || wall_ns < f->since_ns);
}

/* Whether the message repeats a recent one; otherwise it is remembered. */
static bool folded(uint64_t wall_ns, enum vv_log_level level, const char *component,
                   struct vv_str message)
{
    const uint64_t seed = vv_str_hash(vv_str_from(component), (uint64_t)level);
    const uint64_t hash = vv_str_hash(message, seed) | 1; /* 0 means an empty slot */
    struct fold *slot = &folds[0];
    for (size_t i = 0; i < FOLD_SLOTS; i++) {
        struct fold *f = &folds[i];
        if (expired(f, wall_ns)) {
            say_folded(f, wall_ns);
        }
        if (f->hash == hash) {
            f->more++;
            return true;
        }
        if (slot->hash != 0 && (f->hash == 0 || f->since_ns < slot->since_ns)) {
            slot = f;
        }
    }
    say_folded(slot, wall_ns);
    *slot = (struct fold){.hash = hash,
                          .since_ns = wall_ns,
                          .level = level,
                          .n = message.n < KEPT_BYTES ? message.n : KEPT_BYTES};
    memcpy(slot->text, message.p, slot->n);
    strncpy(slot->component, component, sizeof(slot->component) - 1);
    return false;
}

void vv_log_at(uint64_t wall_ns, enum vv_log_level level, const char *component, const char *fmt,
               va_list args)
{
    const int errnum = errno; /* callers log between a failure and its handling */
    char text[MESSAGE_BYTES];
    const int wanted = vsnprintf(text, sizeof(text), fmt, args);
    if (wanted >= 0) {
        struct vv_str message = {text, (size_t)wanted};
        if (message.n >= sizeof(text)) {
            memcpy(text + sizeof(text) - 4, "...", 3);
            message.n = sizeof(text) - 1;
        }
        pthread_mutex_lock(&fold_lock);
        const bool quiet = folded(wall_ns, level, component, message);
        pthread_mutex_unlock(&fold_lock);
        if (!quiet) {
            write_line(wall_ns, level, component, message, 0);
        }
    }
    errno = errnum;
}

void vv_log_setup(enum vv_log_level level, enum vv_log_format format, int fd)
{
    __atomic_store_n(&current_level, (int)level, __ATOMIC_RELAXED);
    __atomic_store_n(&current_format, (int)format, __ATOMIC_RELAXED);
    __atomic_store_n(&current_fd, fd, __ATOMIC_RELAXED);
}

enum vv_log_level vv_log_level_now(void)
{
    return (enum vv_log_level)__atomic_load_n(&current_level, __ATOMIC_RELAXED);
}

void vv_log(enum vv_log_level level, const char *component, const char *fmt, ...)
{
    if (level < vv_log_level_now()) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    vv_log_at(vv_clock_wall(), level, component, fmt, args);
    va_end(args);
}

void vv_log_flush(uint64_t wall_ns)
{
    pthread_mutex_lock(&fold_lock);
    for (size_t i = 0; i < FOLD_SLOTS; i++) {
        if (folds[i].hash != 0 && (wall_ns == UINT64_MAX || expired(&folds[i], wall_ns))) {
            say_folded(&folds[i], wall_ns);
        }
    }
    pthread_mutex_unlock(&fold_lock);
}
