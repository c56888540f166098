/* src/watch/notify.h - who is told of an alert, when, and in which words; sending is not here.
 *
 * Model:     an alert that fires or was resolved is a note. A note may be silenced (somebody
 *            said so), inhibited (a graver alert explains it) or damped (it flaps). What remains is
 *            gathered in groups of equal labels; a group waits a little before the first message,
 *            speaks again when something is new, and repeats itself while nothing is. A message is
 *            bytes for one kind of receiver.
 * Source:    Prometheus Alertmanager 0.25, "Configuration" (webhook version 4).
 *            RFC 2439 section 4.2 (damping by a penalty that decays). PagerDuty Events API v2.
 *            Standard Webhooks 1.0.0.
 * Units:     *_ms are milliseconds since 1970 or durations.
 * Threads:   pure, or one owner per struct. Ownership: notes and matchers are views.
 * Errors:    an sb that failed says so; VV_ESYNTAX and VV_ELIMIT for matchers.
 */
#ifndef VV_WATCH_NOTIFY_H
#define VV_WATCH_NOTIFY_H
#include "promql/regex.h"
#include "watch/labels.h"

struct vv_note {
    struct vv_promql_labels labels, annotations;
    bool firing;
    int64_t starts_ms, ends_ms; /* ends_ms counts when it is not firing */
    uint64_t hash;
};

/* ---- matchers, silences, inhibition -------------------------------------------------------- */

struct vv_note_matcher { /* name=value, name!=value, name=~pattern, name!~pattern */
    struct vv_str name, value;
    const struct vv_regex *re;
    bool negated;
};
struct vv_note_matchers {
    const struct vv_note_matcher *at;
    size_t n;
};
/* The value may stand in double quotes. */
VV_MUST_CHECK enum vv_err vv_note_matcher_parse(struct vv_str text, struct vv_arena *arena,
                                                struct vv_note_matcher *ret);
bool vv_note_matches(struct vv_note_matchers m, struct vv_promql_labels labels); /* all of them */

struct vv_silence {
    struct vv_note_matchers matchers; /* none: matches nothing */
    int64_t starts_ms, ends_ms;       /* the end is not part of it */
};
/* Index of the silence in force for these labels, or -1. */
ptrdiff_t vv_silenced(const struct vv_silence *s, size_t n, struct vv_promql_labels labels,
                      int64_t now_ms);

struct vv_inhibition { /* while a source fires, targets with the same values of `equal` are quiet */
    struct vv_note_matchers source, target;
    const struct vv_str *equal;
    size_t equal_n;
};
/* Index of the note that explains this one, or -1. A note that is on both sides of a rule is not
 * inhibited by another such note: two would silence each other. */
ptrdiff_t vv_inhibited(const struct vv_inhibition *rules, size_t n, const struct vv_note *note,
                       const struct vv_note *all, size_t all_n);

/* ---- flapping ------------------------------------------------------------------------------ */

struct vv_flap_conf {
    double suppress, reuse; /* damped from `suppress` on, until below `reuse`; a move counts 1 */
    int64_t half_life_ms;
};
extern const struct vv_flap_conf vv_flap_defaults; /* 6, 2, 10 min */
struct vv_flap {                                   /* zero is the start */
    double penalty;
    int64_t at_ms;
    bool damped;
};
void vv_flap_moved(struct vv_flap *f, const struct vv_flap_conf *conf, int64_t now_ms);
bool vv_flap_damped(struct vv_flap *f, const struct vv_flap_conf *conf, int64_t now_ms);

/* ---- groups -------------------------------------------------------------------------------- */

/* The labels that a group has in common: those of `by` (a name that is not there is left out). */
VV_MUST_CHECK enum vv_err vv_group_labels(struct vv_promql_labels labels, const struct vv_str *by,
                                          size_t by_n, struct vv_labels *ret);
struct vv_group_conf {
    int64_t wait_ms, interval_ms, repeat_ms;
    bool send_resolved;
};
extern const struct vv_group_conf vv_group_defaults; /* 30 s, 5 min, 4 h, resolved too */
struct vv_group_timer {                              /* zero is the start */
    int64_t first_ms;                                /* of the first note */
    int64_t looked_ms, sent_ms;
    bool began, looked, sent;
    uint64_t *told; /* heap: notes told as firing, then those told as resolved; both sorted */
    size_t firing_n, resolved_n;
};
void vv_group_fini(struct vv_group_timer *t);
/* When to look next. */
int64_t vv_group_due_ms(const struct vv_group_timer *t, const struct vv_group_conf *conf);
/* Notes of the group, now: true when a message is due. Call vv_group_told() once it was taken. */
bool vv_group_look(struct vv_group_timer *t, const struct vv_group_conf *conf,
                   const struct vv_note *notes, size_t n, int64_t now_ms);
VV_MUST_CHECK enum vv_err vv_group_told(struct vv_group_timer *t, const struct vv_note *notes,
                                        size_t n, int64_t now_ms);

/* ---- messages ------------------------------------------------------------------------------ */

struct vv_message {
    struct vv_str receiver, url; /* url: where a person looks; alerts are at URL/alerts/HASH */
    struct vv_promql_labels group;
    const struct vv_note *notes; /* at least one; the encoders write at most 50 of them */
    size_t n;
};
void vv_message_title(const struct vv_message *m,
                      struct vv_sb *out); /* "[FIRING:2] HighErrorRate" */
void vv_message_webhook(const struct vv_message *m, struct vv_sb *out);
void vv_message_slack(const struct vv_message *m, struct vv_sb *out);
/* One event per note. The key is the integration's; `source` names this gateway. */
void vv_message_pagerduty(const struct vv_message *m, size_t note, struct vv_str key,
                          struct vv_str source, struct vv_sb *out);
struct vv_mail {
    struct vv_str from, to, id; /* id: of this message, "name@host"; replies go to `thread` */
    struct vv_str thread;       /* empty: this is the first of its thread */
    int64_t now_ms;
};
void vv_message_mail(const struct vv_message *m, const struct vv_mail *mail, struct vv_sb *out);
/* "v1,BASE64" for the header webhook-signature: HMAC-SHA256 of "ID.SECONDS.BODY". */
VV_MUST_CHECK enum vv_err vv_message_sign(struct vv_str secret, struct vv_str id, int64_t now_s,
                                          struct vv_str body, struct vv_sb *out);
#endif
