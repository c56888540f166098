/* src/guard/breaker.h - circuit breaker: stop sending to a service that keeps failing.
 *
 * Model:     CLOSED -> OPEN -> HALF_OPEN -> CLOSED or OPEN. It opens when any rule says so:
 *            `consecutive` failures in a row; a share of failures above fail_ppm_max, or a share of
 *            slow calls above slow_ppm_max, among at least volume_min outcomes of a sliding window.
 *            After open_ns a few probes go out; one failed probe opens it again (for twice as long,
 *            up to open_ns_max), probe_successes good ones close it; where the rule on slow
 *            calls is on, a slow probe is a failed one. A probe whose outcome never
 *            comes is given up after probe_lease_ns, so it cannot block the way back.
 *            Where others have said that the service fails (vv_breaker_suspect()), the first failure opens
 *            it. An operator can force it open or closed until vv_breaker_reset().
 *            What counts as a failure is the caller's to say.
 * Source:    M. Nygard, Release It! (2nd ed., 2018), chapter 5, "Circuit Breaker".
 * Units:     *_ns are monotonic nanoseconds, *_ppm parts per million. A rule whose number is 0 is
 *            off. The window is kept in ten slices: it covers nine to ten tenths of window_ns.
 * Threads:   any thread at any time. Closed and open it takes no lock; transitions and probes do.
 * Ownership: _new/_free; whoever keeps services by name keeps it across reloads and gives it the
 *            new conf (copied). Free it when no permit is out.
 * Errors:    VV_EINVAL for a conf out of range (below), VV_ENOMEM. */
#ifndef VV_GUARD_BREAKER_H
#define VV_GUARD_BREAKER_H
#include "base/err.h"

#define VV_BREAKER_PROBES_MAX 16

struct vv_breaker_conf {
    uint64_t consecutive;     /* failures in a row that open it */
    uint64_t window_ns;       /* at least 10 ms */
    uint64_t volume_min;      /* outcomes a window needs before its shares are judged; 1 or more */
    uint64_t fail_ppm_max;    /* accepted share: above it the circuit opens */
    uint64_t slow_ns;         /* a call is slow from here on, failed or not */
    uint64_t slow_ppm_max;    /* accepted share of slow calls; both slow_* or none */
    uint64_t open_ns;         /* until the first probe; more than 0 */
    uint64_t open_ns_max;     /* 0: open_ns, that is never longer */
    uint64_t probes;          /* out at once, 1 to VV_BREAKER_PROBES_MAX */
    uint64_t probe_successes; /* that close it; 1 or more */
    uint64_t probe_lease_ns;  /* more than 0; longer than the slowest call */
};

enum vv_breaker_state { VV_BREAKER_CLOSED, VV_BREAKER_OPEN, VV_BREAKER_HALF_OPEN };
enum vv_breaker_mode { VV_BREAKER_AUTO, VV_BREAKER_FORCED_OPEN, VV_BREAKER_FORCED_CLOSED };
enum vv_breaker_outcome {
    VV_BREAKER_OK,
    VV_BREAKER_FAILED,
    VV_BREAKER_UNKNOWN /* the client went away, nothing was sent: says nothing about the service */
};

struct vv_breaker;

struct vv_breaker_permit { /* PRIVATE fields; a plain value, no need to give it back */
    uint32_t era, lease;
    uint8_t probe; /* place + 1; 0 is no probe */
};

struct vv_breaker_view {
    enum vv_breaker_state state; /* OPEN whose time is over reads HALF_OPEN: the next one probes */
    enum vv_breaker_mode mode;
    uint32_t changes;             /* grows with every change of state or mode: poll it */
    uint64_t since_ns;            /* of the last change */
    uint64_t open_until_ns;       /* OPEN only */
    uint64_t suspect_until_ns;    /* 0: nobody warned us, or no more */
    uint64_t in_a_row;            /* failures */
    uint64_t total, failed, slow; /* in the window */
    uint64_t opened, refused, probes, probes_lost; /* since the start */
    uint64_t entered[3]; /* changes to a state, by enum vv_breaker_state */
};

const char *vv_breaker_state_name(enum vv_breaker_state s); /* "half_open" */

VV_MUST_CHECK enum vv_err vv_breaker_new(const struct vv_breaker_conf *conf, uint64_t now_ns,
                                         struct vv_breaker **ret);
void vv_breaker_free(struct vv_breaker *b);

/* State, counts and mode stay; a window of another length starts empty. */
VV_MUST_CHECK enum vv_err vv_breaker_conf_set(struct vv_breaker *b,
                                              const struct vv_breaker_conf *conf);

/* May one request be sent? True: send it, then call vv_breaker_report() with the permit once.
 * False: *reterr_wait_ns says when asking again makes sense (0: nobody knows, it is forced open). */
VV_MUST_CHECK bool vv_breaker_admit(struct vv_breaker *b, uint64_t now_ns,
                                    struct vv_breaker_permit *ret, uint64_t *reterr_wait_ns);
/* An outcome of a request that was admitted before the last change of state is not judged. */
void vv_breaker_report(struct vv_breaker *b, uint64_t now_ns, const struct vv_breaker_permit *p,
                       enum vv_breaker_outcome outcome, uint64_t took_ns);

/* Until then the first failure opens it; 0: as usual. */
void vv_breaker_suspect(struct vv_breaker *b, uint64_t until_ns);
void vv_breaker_force(struct vv_breaker *b, enum vv_breaker_mode mode, uint64_t now_ns);
void vv_breaker_reset(struct vv_breaker *b, uint64_t now_ns); /* AUTO, CLOSED, nothing counted */
void vv_breaker_look(struct vv_breaker *b, uint64_t now_ns, struct vv_breaker_view *ret);
#endif
