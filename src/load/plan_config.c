/* src/load/plan_config.c - the `config` part of a scenario file: target, phases, defaults, data. */
#include "load/csv.h"
#include "load/plan_read.h"
#include "wire/uri.h"

#include <stdlib.h>

#define RATE_MAX 10e6
#define COUNT_MAX UINT64_C(1000000000000)
#define USERS_MAX UINT64_C(10000000)

/* ---- target -------------------------------------------------------------------------------- */

void load_target(struct load_reading *r, const NODE *n)
{
    struct vv_load_plan *p = r->plan;
    struct load_place place;
    struct vv_str target, authority, userinfo;
    const char *url = r->source->target;
    if (url == NULL && (n == NULL || !load_fixed(r, n, "target", &url))) {
        return;
    }
    const char *full = strstr(url, "://") == NULL && r->source->target != NULL
                           ? vv_arena_fmt(&p->arena, "http://%s", url).p
                           : load_dup(p, vv_str_from(url));
    if (full == NULL) {
        longjmp(p->out_of_memory, 1);
    }
    if (!load_place_of(vv_str_from(full), &place, &target, &authority, &userinfo)) {
        load_wrong(r, r->source->target != NULL ? NULL : n,
                   "the target must be a URL of http or https, not \"%s\"", url);
        return;
    }
    p->view.target = full;
    p->view.tls = place.tls;
    p->names.target = vv_str_from(full);
}

/* ---- phases -------------------------------------------------------------------------------- */

struct phase_keys { /* those that were given */
    const NODE *duration, *rate, *ramp, *count, *pause, *users, *users_to, *users_ramp, *max, *name,
        *arrival, *recorded;
};

static void phase_arrival(struct load_reading *r, const NODE *n, struct vv_load_phase *ph)
{
    const char *text = NULL;
    if (n != NULL && load_fixed(r, n, "arrival", &text)) {
        if (strcmp(text, "poisson") == 0) {
            ph->arrival = VV_LOAD_POISSON;
        } else if (strcmp(text, "even") != 0) {
            load_wrong(r, n, "arrival must be even or poisson, not \"%s\"", text);
        }
    }
}

/* Milliseconds since the phase began, rising, one for each arrival. */
static bool phase_recorded(struct load_reading *r, const NODE *n, struct vv_load_phase *ph)
{
    if (!load_is(r, n, VV_CONF_NODE_LIST, "recorded")) {
        return false;
    }
    uint64_t *at = load_zalloc(r->plan, (vv_conf_node_count(n) + 1) * sizeof *at);
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        const NODE *item = vv_conf_node_item(n, i);
        double ms = 0;
        if (!load_number(r, item, "a recorded time", 0, 1e11, &ms)) {
            return false;
        }
        at[i] = (uint64_t)(ms * 1e6);
        if (at[i] > ph->duration_ns || (i > 0 && at[i] < at[i - 1])) {
            load_wrong(r, item, "recorded times rise, up to the duration");
            return false;
        }
    }
    ph->recorded = at;
    ph->count = vv_conf_node_count(n);
    return true;
}

static bool phase_numbers(struct load_reading *r, const struct phase_keys *k,
                          struct vv_load_phase *ph)
{
    bool fine = true;
    const NODE *time = k->pause != NULL ? k->pause : k->duration;
    ph->ramp_to = -1;
    if (time != NULL) {
        fine =
            load_time(r, time, k->pause != NULL ? "pause" : "duration", VV_SEC, &ph->duration_ns) &&
            fine;
    }
    if (k->rate != NULL) {
        fine = load_number(r, k->rate, "arrivalRate", 0, RATE_MAX, &ph->rate) && fine;
    }
    if (k->ramp != NULL) {
        fine = load_number(r, k->ramp, "rampTo", 0, RATE_MAX, &ph->ramp_to) && fine;
    }
    if (k->count != NULL) {
        fine = load_whole(r, k->count, "arrivalCount", COUNT_MAX, &ph->count) && fine;
    }
    if (k->recorded != NULL) {
        fine = phase_recorded(r, k->recorded, ph) && fine;
    }
    if (k->users != NULL) {
        fine = load_whole(r, k->users, "users", USERS_MAX, &ph->users) && fine;
    }
    if (k->users_to != NULL) {
        fine = load_whole(r, k->users_to, "rampUsersTo", USERS_MAX, &ph->users_to) && fine;
    }
    if (k->users_ramp != NULL) {
        fine = load_time(r, k->users_ramp, "ramp", VV_SEC, &ph->ramp_ns) && fine;
    }
    if (k->max != NULL) {
        fine = load_whole(r, k->max, "maxVusers", USERS_MAX, &ph->users_max) && fine;
    }
    return fine;
}

void load_phase(struct load_reading *r, const NODE *n)
{
    static const char *const known[] = {
        "duration", "arrivalRate", "rampTo",    "arrivalCount", "pause",    "users", "rampUsersTo",
        "ramp",     "name",        "maxVusers", "arrival",      "recorded", NULL};
    struct vv_load_phase ph = {.arrival = VV_LOAD_EVEN};
    if (!load_is(r, n, VV_CONF_NODE_MAP, "a phase")) {
        return;
    }
    load_known_keys(r, n, known, "a phase");
    const struct phase_keys k = {
        vv_conf_node_get(n, "duration"),    vv_conf_node_get(n, "arrivalRate"),
        vv_conf_node_get(n, "rampTo"),      vv_conf_node_get(n, "arrivalCount"),
        vv_conf_node_get(n, "pause"),       vv_conf_node_get(n, "users"),
        vv_conf_node_get(n, "rampUsersTo"), vv_conf_node_get(n, "ramp"),
        vv_conf_node_get(n, "maxVusers"),   vv_conf_node_get(n, "name"),
        vv_conf_node_get(n, "arrival"),     vv_conf_node_get(n, "recorded"),
    };
    if (k.name != NULL) {
        (void)load_fixed(r, k.name, "name", &ph.name);
    }
    const int kinds = (k.rate != NULL || (k.ramp != NULL && k.users == NULL)) + (k.count != NULL) +
                      (k.pause != NULL) + (k.recorded != NULL) +
                      (k.users != NULL || k.users_to != NULL);
    if (kinds != 1) {
        load_wrong(r, n,
                   kinds == 0 ? "a phase needs one of arrivalRate, arrivalCount, users or pause"
                              : "arrivalRate, arrivalCount, users and pause exclude each other");
        return;
    }
    if (k.pause == NULL && k.duration == NULL) {
        load_wrong(r, n, "a phase needs a duration");
        return;
    }
    phase_arrival(r, k.arrival, &ph);
    if (phase_numbers(r, &k, &ph)) {
        load_phase_add(r->plan, &ph);
    }
}

/* ---- http, defaults, tls ------------------------------------------------------------------- */

static void defaults(struct load_reading *r, const NODE *n, const char *where)
{
    static const char *const known[] = {"headers", "cookie", "strictCapture", "think", NULL};
    struct vv_load_plan *p = r->plan;
    const NODE *headers = NULL, *cookie = NULL, *strict = NULL, *jitter = NULL;
    if (n == NULL || !load_is(r, n, VV_CONF_NODE_MAP, where)) {
        return;
    }
    load_known_keys(r, n, known, where);
    headers = vv_conf_node_get(n, "headers");
    cookie = vv_conf_node_get(n, "cookie");
    strict = vv_conf_node_get(n, "strictCapture");
    jitter = vv_conf_node_get(vv_conf_node_get(n, "think"), "jitter");
    bool yes = true;
    if (headers != NULL) {
        (void)load_pairs(r, headers, "headers", true, &p->headers);
    }
    if (cookie != NULL) {
        (void)load_pairs(r, cookie, "cookie", false, &p->cookies);
    }
    if (strict != NULL && load_bool(r, strict, "strictCapture", &yes)) {
        p->lax_capture = !yes;
    }
    if (jitter != NULL) {
        (void)load_jitter(r, jitter, &p->jitter, &p->jitter_ns);
    }
}

static void http(struct load_reading *r, const NODE *n)
{
    static const char *const known[] = {"timeout",         "pool",     "maxSockets",
                                        "extendedMetrics", "defaults", NULL};
    struct vv_load_view *v = &r->plan->view;
    if (n == NULL || !load_is(r, n, VV_CONF_NODE_MAP, "http")) {
        return;
    }
    load_known_keys(r, n, known, "config.http");
    const NODE *timeout = vv_conf_node_get(n, "timeout"), *pool = vv_conf_node_get(n, "pool");
    const NODE *sockets = vv_conf_node_get(n, "maxSockets");
    if (timeout != NULL) {
        (void)load_time(r, timeout, "timeout", VV_SEC, &v->timeout_ns);
    }
    if (pool != NULL) {
        (void)load_whole(r, pool, "pool", USERS_MAX, &v->pool);
    }
    if (sockets != NULL) {
        load_warn(r, sockets, NULL, "maxSockets has no effect: a user has one connection");
    }
    defaults(r, vv_conf_node_get(n, "defaults"), "config.http.defaults");
}

void load_tls(struct load_reading *r, const NODE *n)
{
    static const char *const known[] = {"rejectUnauthorized", "ca", NULL};
    const char *path = NULL;
    struct vv_str text;
    bool yes = true;
    if (n == NULL || !load_is(r, n, VV_CONF_NODE_MAP, "tls")) {
        return;
    }
    load_known_keys(r, n, known, r->config != NULL ? "config.tls" : "tls");
    const NODE *reject = vv_conf_node_get(n, "rejectUnauthorized");
    const NODE *ca = vv_conf_node_get(n, "ca");
    if (ca != NULL && load_fixed(r, ca, "ca", &path) && load_file(r, ca, path, &text)) {
        r->plan->view.tls_ca = load_beside(r, ca, path);
    }
    if (reject != NULL && load_bool(r, reject, "rejectUnauthorized", &yes)) {
        r->plan->view.tls_insecure = !yes;
    }
}

/* ---- variables and payloads ----------------------------------------------------------------- */

void load_variables(struct load_reading *r, const NODE *map, const char *where)
{
    struct vv_load_plan *p = r->plan;
    if (!load_is(r, map, VV_CONF_NODE_MAP, where)) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(map); i++) {
        const char *name = vv_conf_node_text(vv_conf_node_key(map, i));
        const NODE *n = vv_conf_node_item(map, i);
        struct vv_load_value *v = load_zalloc(p, sizeof *v);
        struct vv_load_text t;
        const char *text = vv_conf_node_text(n);
        load_value(r, n, v);
        if (text != NULL && strstr(text, "{{") != NULL && load_text(r, n, name, &t)) {
            if (!vv_load_text_constant(&t)) {
                load_warn(r, n, NULL, "a variable's value may hold $env, but no other variable");
            } else {
                v->text = t.count > 0 ? t.part[0].literal : VV_STR("");
            }
        }
        load_slot_set(r, name);
        p->variable =
            load_grow(p, p->variable, p->variable_count, &p->variable_room, sizeof *p->variable);
        p->variable[p->variable_count++] = (struct load_variable){
            load_slot(r, name, NULL), v, v->kind == VV_LOAD_LIST && v->count > 0};
    }
}

struct payload_keys {
    const char *path, *name;
    const NODE *fields, *path_at;
    bool in_order, skip_header, cast, load_all;
    char separator;
};

/* What the "cast" of Artillery's CSV reader takes for a number: "02" is 2, too. Longer ones than a
 * double can hold stay text. */
static void cell(struct load_reading *r, struct vv_str s, bool cast, struct vv_load_value *ret)
{
    double d = 0;
    const struct vv_load_value text = {.kind = VV_LOAD_TEXT, .text = {load_dup(r->plan, s), s.n}};
    const char first = s.n > 0 ? s.p[0] : '\0';
    *ret = text;
    if (cast && ((first >= '0' && first <= '9') || first == '-' || first == '+') &&
        !(s.n > 1 && vv_char_lower(s.p[1]) == 'x') && s.n < 17 &&
        vv_load_value_to_double(&text, &d)) {
        char buf[40];
        const struct vv_str n = vv_str_from(vv_load_number_format(d, buf, sizeof buf));
        *ret = (struct vv_load_value){.kind = VV_LOAD_NUMBER, .text = {load_dup(r->plan, n), n.n}};
    }
}

/* All rows as one variable: a list of maps. */
static void load_all(struct load_reading *r, const struct payload_keys *k,
                     const struct load_payload *p, const struct vv_str *names)
{
    struct vv_load_plan *plan = r->plan;
    struct vv_load_value *row = load_zalloc(plan, (p->rows + 1) * sizeof *row);
    struct vv_load_value *all = load_zalloc(plan, sizeof *all);
    for (size_t i = 0; i < p->rows; i++) {
        row[i] = (struct vv_load_value){
            .kind = VV_LOAD_MAP, .count = p->fields, .item = &p->cell[i * p->fields], .key = names};
    }
    *all = (struct vv_load_value){.kind = VV_LOAD_LIST, .count = p->rows, .item = row};
    load_slot_set(r, k->name);
    plan->variable = load_grow(plan, plan->variable, plan->variable_count, &plan->variable_room,
                               sizeof *plan->variable);
    plan->variable[plan->variable_count++] =
        (struct load_variable){load_slot(r, k->name, NULL), all, false};
}

static bool read_rows(struct load_reading *r, const struct payload_keys *k, struct vv_str text,
                      struct load_payload *p)
{
    struct vv_load_csv csv;
    struct vv_load_value *cells = NULL;
    const struct vv_str *field = NULL;
    size_t count = 0, line = 0, room = 0, at = 0;
    enum vv_err err = VV_OK;
    vv_load_csv_init(&csv, &r->plan->arena, text, k->separator);
    if (k->skip_header) {
        err = vv_load_csv_next(&csv, &field, &count, &line);
    }
    while (err == VV_OK && (err = vv_load_csv_next(&csv, &field, &count, &line)) == VV_OK) {
        if (count < p->fields) {
            load_wrong(r, k->path_at, "line %zu of %s has %zu values, %zu are needed", csv.line,
                       k->path, count, p->fields);
            return false;
        }
        for (size_t i = 0; i < p->fields; i++) {
            cells = load_grow(r->plan, cells, at, &room, sizeof *cells);
            cell(r, field[i], k->cast, &cells[at++]);
        }
        p->rows++;
    }
    if (err == VV_ENOMEM) {
        longjmp(r->plan->out_of_memory, 1);
    }
    p->cell = cells;
    if (err == VV_ESYNTAX) {
        load_wrong(r, k->path_at, "a quote in line %zu of %s never ends", line, k->path);
    } else if (p->rows == 0) {
        load_wrong(r, k->path_at, "there are no rows in %s", k->path);
    }
    return err == VV_ENOENT && p->rows > 0;
}

static void payload_rows(struct load_reading *r, const struct payload_keys *k)
{
    struct vv_load_plan *plan = r->plan;
    struct load_payload p = {.in_order = k->in_order};
    struct vv_str text = {NULL, 0};
    p.fields = vv_conf_node_count(k->fields);
    p.slot = load_zalloc(plan, (p.fields + 1) * sizeof *p.slot);
    p.next = load_zalloc(plan, sizeof *p.next);
    struct vv_str *names = load_zalloc(plan, (p.fields + 1) * sizeof *names);
    for (size_t i = 0; i < p.fields; i++) {
        const char *name = vv_conf_node_text(vv_conf_node_item(k->fields, i));
        if (name == NULL) {
            load_wrong(r, vv_conf_node_item(k->fields, i), "a field must be a name");
            return;
        }
        names[i] = (struct vv_str){load_dup(plan, vv_str_from(name)), strlen(name)};
        p.slot[i] = load_slot(r, name, NULL);
        if (!k->load_all) {
            load_slot_set(r, name);
        }
    }
    if (!load_file(r, k->path_at, k->path, &text) || !read_rows(r, k, text, &p)) {
        return;
    }
    if (k->load_all) {
        load_all(r, k, &p, names);
        return;
    }
    plan->payload = load_grow(plan, plan->payload, plan->payload_count, &plan->payload_room,
                              sizeof *plan->payload);
    plan->payload[plan->payload_count++] = p;
}

static void payload(struct load_reading *r, const NODE *n, bool only)
{
    static const char *const known[] = {"path", "fields", "order",     "skipHeader",     "loadAll",
                                        "name", "cast",   "delimiter", "skipEmptyLines", NULL};
    struct payload_keys k = {.cast = true, .separator = ','};
    const char *order = "random", *separator = ",";
    if (!load_is(r, n, VV_CONF_NODE_MAP, "payload")) {
        return;
    }
    load_known_keys(r, n, known, "payload");
    const NODE *v = NULL;
    k.path_at = vv_conf_node_get(n, "path");
    k.fields = vv_conf_node_get(n, "fields");
    if (only && r->source->payload != NULL) {
        k.path = r->source->payload;
        k.path_at = NULL;
    } else if (k.path_at == NULL || !load_fixed(r, k.path_at, "path", &k.path)) {
        load_wrong(r, n, "a payload needs the path of a CSV file");
        return;
    }
    if (k.fields == NULL || vv_conf_node_kind(k.fields) != VV_CONF_NODE_LIST ||
        vv_conf_node_count(k.fields) == 0) {
        load_wrong(r, n, "a payload needs fields: a list with the names of its columns");
        return;
    }
    if ((v = vv_conf_node_get(n, "order")) != NULL && load_fixed(r, v, "order", &order) &&
        strcmp(order, "sequence") != 0 && strcmp(order, "random") != 0) {
        load_wrong(r, v, "order must be random or sequence");
    }
    if ((v = vv_conf_node_get(n, "delimiter")) != NULL &&
        load_fixed(r, v, "delimiter", &separator) && strlen(separator) != 1) {
        load_wrong(r, v, "delimiter must be one character");
    }
    if ((v = vv_conf_node_get(n, "skipHeader")) != NULL) {
        (void)load_bool(r, v, "skipHeader", &k.skip_header);
    }
    if ((v = vv_conf_node_get(n, "cast")) != NULL) {
        (void)load_bool(r, v, "cast", &k.cast);
    }
    if ((v = vv_conf_node_get(n, "loadAll")) != NULL) {
        (void)load_bool(r, v, "loadAll", &k.load_all);
    }
    if (k.load_all &&
        ((v = vv_conf_node_get(n, "name")) == NULL || !load_fixed(r, v, "name", &k.name))) {
        load_wrong(r, n, "loadAll needs the name of a variable");
        return;
    }
    k.in_order = strcmp(order, "sequence") == 0;
    k.separator = separator[0];
    payload_rows(r, &k);
}

void load_payloads(struct load_reading *r, const NODE *n)
{
    if (vv_conf_node_kind(n) != VV_CONF_NODE_LIST) {
        payload(r, n, true);
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        payload(r, vv_conf_node_item(n, i), vv_conf_node_count(n) == 1);
    }
}

/* ---- plugins and the whole ------------------------------------------------------------------ */

static void plugins(struct load_reading *r, const NODE *n)
{
    if (n == NULL || !load_is(r, n, VV_CONF_NODE_MAP, "plugins")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        const NODE *key = vv_conf_node_key(n, i), *value = vv_conf_node_item(n, i);
        const char *name = vv_conf_node_text(key);
        if (strcmp(name, "ensure") == 0) {
            load_ensure(r, value);
        } else if (strcmp(name, "expect") == 0) {
            const NODE *all = vv_conf_node_get(value, "expectDefault200");
            if (all != NULL) {
                (void)load_bool(r, all, "expectDefault200", &r->expect_200);
            }
        } else if (strcmp(name, "metrics-by-endpoint") == 0) {
            const NODE *strip = vv_conf_node_get(value, "stripQueryString");
            const NODE *names = vv_conf_node_get(value, "useOnlyRequestNames");
            bool yes = false; /* once the plugin is named: without a word of it, it is true */
            r->keep_query =
                strip == NULL || (load_bool(r, strip, "stripQueryString", &yes) && !yes);
            r->names_only = false;
            if (names != NULL) {
                (void)load_bool(r, names, "useOnlyRequestNames", &r->names_only);
            }
        } else {
            load_wrong(r, key, "the plugin %s needs JavaScript, which is not run here", name);
        }
    }
}

void load_config(struct load_reading *r, const NODE *config)
{
    static const char *const known[] = {"target",    "phases",       "http",      "timeout",
                                        "defaults",  "tls",          "variables", "payload",
                                        "ensure",    "environments", "plugins",   "statsInterval",
                                        "processor", "engines",      NULL};
    static const char *const scripts[] = {"processor", "engines"};
    const NODE *n = NULL;
    load_known_keys(r, config, known, "config");
    for (size_t i = 0; i < VV_COUNT(scripts); i++) {
        if ((n = vv_conf_node_get(config, scripts[i])) != NULL) {
            load_wrong(r, n, "%s needs JavaScript, which is not run here", scripts[i]);
        }
    }
    load_target(r, vv_conf_node_get(config, "target"));
    if ((n = vv_conf_node_get(config, "phases")) != NULL &&
        load_is(r, n, VV_CONF_NODE_LIST, "phases")) {
        for (size_t i = 0; i < vv_conf_node_count(n); i++) {
            load_phase(r, vv_conf_node_item(n, i));
        }
    }
    if ((n = vv_conf_node_get(config, "timeout")) != NULL) {
        (void)load_time(r, n, "timeout", VV_SEC, &r->plan->view.timeout_ns);
    }
    defaults(r, vv_conf_node_get(config, "defaults"), "config.defaults");
    http(r, vv_conf_node_get(config, "http"));
    load_tls(r, vv_conf_node_get(config, "tls"));
    if ((n = vv_conf_node_get(config, "variables")) != NULL) {
        load_variables(r, n, "config.variables");
    }
    if ((n = vv_conf_node_get(config, "payload")) != NULL) {
        load_payloads(r, n);
    }
    if ((n = vv_conf_node_get(config, "ensure")) != NULL) {
        load_ensure(r, n);
    }
    plugins(r, vv_conf_node_get(config, "plugins"));
}
