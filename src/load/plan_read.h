/* src/load/plan_read.h - what the readers of scenario files share: one reading, its helpers.
 *
 * Model:     a reading holds the tree of the file and the plan being made. Helpers report what is
 *            wrong where it stands and return false, so that one run names everything that is wrong.
 * Ownership: text of the tree dies with the tree: the plan gets copies. Errors: as program_int.h.
 */
#ifndef VV_LOAD_PLAN_READ_H
#define VV_LOAD_PLAN_READ_H
#include "conf/node.h"
#include "load/program_int.h"

#define NODE struct vv_conf_node

struct load_reading {
    struct vv_load_plan *plan;
    struct vv_conf_tree *tree;
    const struct vv_load_source *source;
    const NODE *config; /* Artillery form; NULL in the short form */
    bool expect_200;    /* plugins.expect.expectDefault200 */
    bool keep_query;    /* plugins.metrics-by-endpoint without stripQueryString */
    bool names_only;    /* plugins.metrics-by-endpoint.useOnlyRequestNames */
    size_t errors_before;
    struct vv_conf_problems *problems;
};

/* plan_value.c: nodes to things */
void load_wrong(struct load_reading *r, const NODE *n, const char *fmt, ...) VV_PRINTF(3, 4);
void load_warn(struct load_reading *r, const NODE *n, const char *hint, const char *fmt, ...)
    VV_PRINTF(4, 5);
/* Names keys that are none of `known` (ends with NULL). `where` names the place: "config.http". */
void load_known_keys(struct load_reading *r, const NODE *map, const char *const *known,
                     const char *where);
/* True when it is of this kind, else an error. */
bool load_is(struct load_reading *r, const NODE *n, enum vv_conf_node_kind kind, const char *what);
bool load_text(struct load_reading *r, const NODE *n, const char *what, struct vv_load_text *ret);
/* A text that is known when the plan is read: $env and $environment may stand in it. */
bool load_fixed(struct load_reading *r, const NODE *n, const char *what, const char **ret);
bool load_number(struct load_reading *r, const NODE *n, const char *what, double min, double max,
                 double *ret);
bool load_whole(struct load_reading *r, const NODE *n, const char *what, uint64_t max,
                uint64_t *ret);
bool load_bool(struct load_reading *r, const NODE *n, const char *what, bool *ret);
bool load_time(struct load_reading *r, const NODE *n, const char *what, uint64_t unit_ns,
               uint64_t *ret_ns);
/* "20%" or a number of ms. */
bool load_jitter(struct load_reading *r, const NODE *n, double *ret_share, uint64_t *ret_ns);
/* YAML 1.2 core schema: what a plain word means. Templates stay text. */
void load_value(struct load_reading *r, const NODE *n, struct vv_load_value *ret);
bool load_json(struct load_reading *r, const NODE *n, struct load_json *ret);
/* A map of texts; header names become lower case and are checked. */
bool load_pairs(struct load_reading *r, const NODE *n, const char *what, bool headers,
                struct load_pairs *ret);
uint32_t load_slot(struct load_reading *r, const char *name, const NODE *use);
void load_slot_set(struct load_reading *r, const char *name);
/* A file named in the scenario file, beside it: its path from here, and its text. */
const char *load_beside(struct load_reading *r, const NODE *n, const char *path);
bool load_file(struct load_reading *r, const NODE *n, const char *path, struct vv_str *ret);

/* plan_flow.c */
void load_scenarios(struct load_reading *r, const NODE *list);
/* The map `keys` says what to send; `url` is a text node. skip_method: the map also holds these. */
struct load_request *load_request_of(struct load_reading *r, const char *method, const NODE *url,
                                     const NODE *keys, bool skip_method);
void load_flow(struct load_reading *r, size_t scenario, const NODE *list, int depth);
/* The method a key names, or NULL. */
const char *load_method_key(const char *key);
/* plan_answer.c */
void load_captures(struct load_reading *r, const NODE *capture, const NODE *match,
                   struct load_request *q);
void load_expects(struct load_reading *r, const NODE *expect, struct load_request *q);
void load_expect_add(struct load_reading *r, struct load_request *q, struct load_expect e);
/* plan_config.c */
void load_config(struct load_reading *r, const NODE *config);
void load_tls(struct load_reading *r, const NODE *n); /* NULL is fine */
void load_variables(struct load_reading *r, const NODE *map, const char *where);
void load_payloads(struct load_reading *r, const NODE *n);
void load_target(struct load_reading *r, const NODE *n);
void load_phase(struct load_reading *r, const NODE *n);
/* plan_gates.c */
void load_gate(struct load_reading *r, const NODE *at, bool strict, const char *fmt, ...)
    VV_PRINTF(4, 5);
void load_ensure(struct load_reading *r, const NODE *n);
void load_pass(struct load_reading *r, const NODE *n); /* short form */
/* plan_short.c */
void load_short(struct load_reading *r, const NODE *root);
/* Phases and gates of a profile known by name. False: there is none of this name. */
bool load_preset(struct load_reading *r, const char *name);
#endif
