/* src/guard/fault.h - faults on purpose: what to break in this request, and when to stop by itself.
 *
 * Model:     a fault has a kind, a share of requests, and always an end. A decision draws for every
 *            fault in order: delays add up, of the bodies' faults the worse wins (cut sooner,
 *            slower), of those that end a request the first. The same number is drawn whatever is
 *            active, so a seed gives the same requests the same fate when a fault is switched off.
 *            The watch is the steady state: when the share of bad outcomes of all traffic goes over
 *            what was agreed, it trips, and faults decided with it do nothing more.
 *            Carrying a fault out is the caller's, behind everything that measures the service: a
 *            fault nobody can see teaches nothing.
 * Source:    Basiri et al., Chaos Engineering (IEEE Software, 2016): steady state, blast radius.
 * Units:     *_ns monotonic nanoseconds, *_ppm parts per million.
 * Threads:   deciding: one owner of the rng; faults are shared and constant. The watch: any thread.
 * Ownership: the caller's storage everywhere; nothing here allocates.
 * Errors:    VV_EINVAL for a fault that makes no sense, VV_ERANGE for one without an end in sight. */
#ifndef VV_GUARD_FAULT_H
#define VV_GUARD_FAULT_H
#include "base/err.h"
#include "base/rng.h"
#include "guard/slices.h"

#define VV_FAULT_LASTS_MAX_NS VV_HOUR
#define VV_FAULTS_MAX 32

/* VV_FAULT_KIND(id, name, doc) */
#define VV_FAULT_KINDS(X)                                                                          \
    X(DELAY, "delay", "waits delay_ns and up to jitter_ns more")                                   \
    X(ABORT, "abort", "answers `status` without asking the service")                               \
    X(RESET, "reset", "resets the connection to the service")                                      \
    X(DROP, "drop", "acts as if the service could not be reached")                                 \
    X(TRUNCATE, "truncate", "ends the body early, after at most `bytes`")                          \
    X(CORRUPT, "corrupt", "changes one byte among the first `bytes` of the body")                  \
    X(SLOW, "slow", "sends the body at `bytes` a second")

enum vv_fault_kind {
#define VV_FAULT_ENUM(id, name, doc) VV_FAULT_##id,
    VV_FAULT_KINDS(VV_FAULT_ENUM)
#undef VV_FAULT_ENUM
        VV_FAULT_KIND_COUNT
};

struct vv_fault {
    enum vv_fault_kind kind;
    uint64_t share_ppm;         /* of requests, 1 to VV_PPM */
    uint64_t from_ns, until_ns; /* [from, until) */
    uint64_t delay_ns, jitter_ns;
    uint64_t bytes;
    uint32_t status; /* 400 to 599 */
};

struct vv_fault_plan { /* what to do to one request; as vv_fault_decide() leaves it */
    uint64_t delay_ns;
    enum vv_fault_kind end; /* ABORT, RESET or DROP; VV_FAULT_KIND_COUNT: go on */
    uint32_t status;        /* of ABORT */
    uint64_t truncate_at;   /* bytes of the body that are still sent; UINT64_MAX: all */
    uint64_t corrupt_at;    /* the byte to change; UINT64_MAX: none */
    uint8_t corrupt_xor;    /* never 0 */
    uint64_t bytes_per_s;   /* 0: as fast as it goes */
    uint32_t hit;           /* bit i: fault i struck, for metrics and the log */
};

struct vv_fault_watch_conf {
    uint64_t bad_ppm_max; /* accepted share of bad outcomes */
    uint64_t volume_min;  /* outcomes in the window before it is judged; 1 or more */
    uint64_t window_ns;   /* 10 ms or more */
};

struct vv_fault_watch { /* PRIVATE */
    struct vv_fault_watch_conf conf;
    struct vv_slices total, bad;
    _Atomic bool tripped;
};

const char *vv_fault_kind_name(enum vv_fault_kind kind);
/* May it be switched on now? */
VV_MUST_CHECK enum vv_err vv_fault_check(const struct vv_fault *f, uint64_t now_ns);

/* `watch` may be NULL. count <= VV_FAULTS_MAX. True: *ret is not "nothing". */
bool vv_fault_decide(const struct vv_fault *faults, size_t count,
                     const struct vv_fault_watch *watch, struct vv_rng *rng, uint64_t now_ns,
                     struct vv_fault_plan *ret);

VV_MUST_CHECK enum vv_err vv_fault_watch_init(struct vv_fault_watch *w,
                                              const struct vv_fault_watch_conf *conf);
/* An outcome of any request, struck or not. True: this one tripped it (once). */
bool vv_fault_watch_report(struct vv_fault_watch *w, uint64_t now_ns, bool bad);
bool vv_fault_watch_tripped(const struct vv_fault_watch *w);
#endif
