/* src/load/program_int.h - what a compiled plan looks like inside: shared by the readers and the user.
 *
 * Model:     a scenario is a list of operations; loops jump. Everything is made once, in the plan's
 *            arena, and never changes: only the counters of payloads do, atomically. Threads and
 *            ownership as in program.h. Errors: while a plan is made, running out of memory jumps
 *            back to the entry function, as in the configuration engine.
 */
#ifndef VV_LOAD_PROGRAM_INT_H
#define VV_LOAD_PROGRAM_INT_H
#include "load/cond.h"
#include "load/jsonpath.h"
#include "load/program.h"
#include "load/template.h"

#include <regex.h>
#include <setjmp.h>
#include <stdatomic.h>

#define LOAD_LOOPS_MAX 8 /* nesting */
#define LOAD_REDIRECTS_MAX 10

struct load_pair { /* a header, a field of a form, a query parameter, a cookie */
    struct vv_load_text name, value;
};
struct load_pairs {
    struct load_pair *pair;
    size_t count;
};

enum load_json_kind {
    LOAD_JSON_DONE,
    LOAD_JSON_TEXT,
    LOAD_JSON_VALUE,
    LOAD_JSON_LIST,
    LOAD_JSON_MAP
};
struct load_json { /* a JSON value with templates */
    enum load_json_kind kind;
    struct vv_str done;       /* DONE: as it goes out */
    struct vv_load_text text; /* TEXT: rendered, then quoted. VALUE: one variable */
    size_t count;
    struct load_json *item;
    struct vv_load_text *key; /* MAP */
};

enum load_body { LOAD_BODY_NONE, LOAD_BODY_JSON, LOAD_BODY_TEXT, LOAD_BODY_FORM };

enum load_look { LOAD_LOOK_JSON, LOAD_LOOK_HEADER, LOAD_LOOK_REGEXP, LOAD_LOOK_BODY };
struct load_find { /* a place in an answer */
    enum load_look look;
    struct vv_load_path path;
    struct vv_str header;
    regex_t *regexp; /* freed with the plan */
    size_t group;
};
struct load_capture {
    struct load_find find;
    uint32_t slot; /* VV_LOAD_NO_SLOT: a match */
    struct vv_load_text value;
    bool strict;
};

enum load_expect_kind {
    LOAD_EXPECT_STATUS,       /* one of `status` */
    LOAD_EXPECT_STATUS_BELOW, /* below number */
    LOAD_EXPECT_TYPE,         /* content type; "json" means any JSON */
    LOAD_EXPECT_HEADER,       /* is there */
    LOAD_EXPECT_HEADER_IS,    /* has `text` as its value */
    LOAD_EXPECT_PROPERTY,     /* JSON path is there */
    LOAD_EXPECT_NO_PROPERTY,
    LOAD_EXPECT_EQUAL,   /* all of `texts` print the same */
    LOAD_EXPECT_MATCHES, /* the body matches a regular expression */
    LOAD_EXPECT_LATENCY, /* at most number ns */
};
struct load_expect {
    enum load_expect_kind kind;
    size_t counter; /* 1 + its index in view.expect; 0: not counted */
    int *status;
    size_t count; /* of status or text */
    uint64_t number;
    struct vv_str name;
    struct vv_load_text *text;
    struct load_find find;
};

struct load_place { /* where a request goes */
    bool tls;
    struct vv_str host;
    uint16_t port;
};

struct load_request {
    uint32_t endpoint;
    enum vv_method method;
    struct vv_str method_text;
    struct vv_load_text url;
    struct load_pairs headers, query, form, cookies; /* header names are constant, in lower case */
    enum load_body body;
    struct load_json json;
    struct vv_load_text text;
    struct vv_load_text user, password;
    bool has_auth, gzip, follow, wants_body;
    double probability; /* percent; < 0: always */
    struct vv_load_cond *only_if;
    uint64_t timeout_ns;
    struct load_capture *capture;
    size_t capture_count;
    struct load_expect *expect;
    size_t expect_count;
    struct vv_str bytes; /* rendered already: nothing in it changes; p NULL: not so */
    struct load_place place;
};

enum load_op_kind { LOAD_OP_REQUEST, LOAD_OP_THINK, LOAD_OP_LOOP, LOAD_OP_AGAIN, LOAD_OP_END };
struct load_op {
    enum load_op_kind kind;
    struct load_request *request;
    /* THINK */
    struct vv_load_text think; /* seconds, or a number with a unit */
    uint64_t think_ns;         /* when the text is constant */
    double jitter;             /* share of it, or: */
    uint64_t jitter_ns;
    /* LOOP; AGAIN has only `jump`, back to behind its LOOP */
    int64_t from, to;                 /* to < 0: for ever */
    struct vv_load_text count;        /* not constant: evaluated at the start */
    const struct vv_load_value *over; /* NULL: by count or over_text */
    struct vv_load_text over_text;
    bool has_over_text;
    uint32_t index_slot, element_slot;
    size_t jump;
};

struct load_scenario {
    const char *name;
    uint64_t weight;
    struct load_op *op;
    size_t op_count, op_room;
};

struct load_variable {
    uint32_t slot;
    const struct vv_load_value *value;
    bool pick; /* a list: one of it for each user */
};

struct load_payload {
    uint32_t *slot; /* one for each field; VV_LOAD_NO_SLOT: not used */
    size_t fields, rows;
    const struct vv_load_value *cell; /* rows * fields */
    bool in_order;
    _Atomic uint64_t *next;
};

struct vv_load_plan {
    struct vv_arena arena;
    jmp_buf out_of_memory;
    bool may_jump;
    struct vv_load_view view;
    struct vv_load_names names;
    struct vv_load_phase *phase;
    size_t phase_room;
    struct load_scenario *scenario; /* parallel to view.scenario */
    size_t scenario_room;
    struct vv_load_endpoint *endpoint;
    size_t endpoint_room;
    struct vv_load_gate *gate;
    size_t gate_room;
    uint64_t weight_sum;
    uint32_t *sequence; /* of scenarios, in the order users start; NULL: by weight */
    size_t sequence_count;
    _Atomic uint64_t *sequence_next;
    const char **expect;
    size_t expect_room;
    struct load_variable *variable;
    size_t variable_count, variable_room;
    struct load_payload *payload;
    size_t payload_count, payload_room;
    uint32_t uuid_slot;        /* VV_LOAD_NO_SLOT: nobody asks */
    struct load_pairs headers; /* of every request */
    struct load_pairs cookies;
    double jitter;
    uint64_t jitter_ns;
    bool lax_capture; /* defaults.strictCapture: false */
    regex_t **regexp;
    size_t regexp_count, regexp_room;
};

/* plan.c */
struct vv_load_plan *load_plan_new(void);                /* NULL: no memory */
void *load_zalloc(struct vv_load_plan *p, size_t bytes); /* never NULL while a plan is made */
const char *load_dup(struct vv_load_plan *p, struct vv_str s);
/* Makes room for one more in an array of the arena; the counter is the caller's. */
void *load_grow(struct vv_load_plan *p, void *array, size_t count, size_t *room, size_t item_bytes);
/* key NULL: the name. */
uint32_t load_endpoint_add(struct vv_load_plan *p, const char *method, const char *name,
                           const char *key, uint32_t scenario);
struct load_scenario *load_scenario_add(struct vv_load_plan *p, const char *name, uint64_t weight);
struct load_op *load_op_add(struct vv_load_plan *p, struct load_scenario *s,
                            enum load_op_kind kind);
void load_phase_add(struct vv_load_plan *p, const struct vv_load_phase *phase);
struct vv_load_text load_literal(struct vv_load_plan *p, struct vv_str s);
void load_default_headers(struct vv_load_plan *p);
enum vv_method load_method(struct vv_str name); /* "get" or "GET" */
/* Renders what never changes. False: the URL says nothing a request can go to. */
bool load_request_seal(struct vv_load_plan *p, struct load_request *r);
/* Fills in the view and checks nothing any more. */
void load_plan_seal(struct vv_load_plan *p);

/* "90s", "500ms", "1.5h", or a number of `unit_ns`. False: none of these, or too long. */
bool load_duration(struct vv_str s, uint64_t unit_ns, uint64_t *ret_ns);

/* render.c */
struct load_render {
    const struct vv_load_plan *plan;
    struct vv_load_scope scope;
    struct vv_str jar; /* "a=1; b=2", may be empty */
    struct vv_sb *url, *scratch, *body, *out;
    /* After a redirect: */
    struct vv_str location; /* absolute; p NULL: the request's own URL */
    bool plain_get;         /* 303: GET without a body */
    bool elsewhere;         /* another host: no credentials */
};
/* URL of a request into x->url, absolute and safe to send. */
bool load_render_url(const struct load_render *x, const struct load_request *r);
/* Head and body into x->out, for the URL in x->url. */
bool load_render_request(const struct load_render *x, const struct load_request *r,
                         struct load_place *ret_place);
bool load_place_of(struct vv_str url, struct load_place *ret_place, struct vv_str *ret_target,
                   struct vv_str *ret_authority, struct vv_str *ret_userinfo);
/* Bytes that may not stand in a request's target are percent-encoded. */
void load_escape_url(struct vv_str s, struct vv_sb *out);

/* check.c: what an answer is asked. */
struct load_answer {
    const struct vv_h1_head *head;
    struct vv_str body; /* decoded */
    uint64_t latency_ns;
    struct vv_arena *arena;           /* for the parsed body */
    const struct vv_load_value *json; /* parsed when first needed */
    bool parsed;
    struct vv_load_scope scope;
    struct vv_sb *scratch;
};
/* The value there; NULL: none. */
const struct vv_load_value *load_find(struct load_answer *a, const struct load_find *f);
/* NULL or the name of what was not as expected. */
const char *load_expect(struct load_answer *a, const struct load_expect *e);
#endif
