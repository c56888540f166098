/* src/load/plan_flow.c - scenarios and the steps of their flows, compiled to operations. */
#include "load/plan_read.h"
#include "wire/uri.h"

#include <stdio.h>

#define DEPTH_MAX LOAD_LOOPS_MAX
#define WEIGHT_MAX UINT64_C(1000000000)

static const char *const methods[] = {"get",    "post", "put",     "patch",
                                      "delete", "head", "options", NULL};

const char *load_method_key(const char *key)
{
    static const char *const names[] = {"GET",    "POST", "PUT",     "PATCH",
                                        "DELETE", "HEAD", "OPTIONS", NULL};
    for (size_t i = 0; methods[i] != NULL; i++) {
        if (strcmp(methods[i], key) == 0) {
            return names[i];
        }
    }
    return NULL;
}

/* ---- requests ------------------------------------------------------------------------------ */

static const char *const request_keys[] = {
    "url",     "uri",   "headers",        "json",    "body",           "form",          "qs",
    "cookie",  "auth",  "followRedirect", "gzip",    "ifTrue",         "probability",   "name",
    "capture", "match", "expect",         "timeout", "expectedStatus", "strictCapture", NULL};
static const char *const script_keys[] = {
    "beforeRequest", "afterResponse", "onError",   "beforeScenario",
    "afterScenario", "function",      "whileTrue", NULL};

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Refuses what needs JavaScript and names what is unknown. `also`: keys of the place itself. */
static void check_keys(struct load_reading *r, const NODE *map, const char *const *known,
                       const char *const *also, const char *where)
{
    const char *all[64];
    size_t count = 0;
    for (; *known != NULL && count < VV_COUNT(all) - 1; known++) {
        all[count++] = *known;
    }
    for (; also != NULL && *also != NULL && count < VV_COUNT(all) - 1; also++) {
        all[count++] = *also;
    }
    all[count] = NULL;
    for (size_t i = 0; i < vv_conf_node_count(map); i++) {
        const NODE *key = vv_conf_node_key(map, i);
        const char *name = vv_conf_node_text(key);
        if (is_one_of(name, script_keys) && !is_one_of(name, all)) {
            load_wrong(r, key, "%s needs JavaScript, which is not run here", name);
            return;
        }
    }
    load_known_keys(r, map, all, where);
}

static void body_file(struct load_reading *r, const NODE *n, struct load_request *q)
{
    struct vv_str text = {NULL, 0};
    if (load_file(r, n, vv_conf_node_text(n) + 1, &text)) {
        q->body = LOAD_BODY_TEXT;
        q->text = load_literal(r->plan, text);
    }
}

static void request_body(struct load_reading *r, const NODE *keys, struct load_request *q)
{
    const NODE *json = vv_conf_node_get(keys, "json"), *body = vv_conf_node_get(keys, "body");
    const NODE *form = vv_conf_node_get(keys, "form");
    const char *text = body != NULL ? vv_conf_node_text(body) : NULL;
    if (json != NULL && load_json(r, json, &q->json)) {
        q->body = LOAD_BODY_JSON;
    } else if (json == NULL && form != NULL) {
        q->body = LOAD_BODY_FORM;
        (void)load_pairs(r, form, "form", false, &q->form);
    } else if (json == NULL && body != NULL && r->config == NULL && text != NULL &&
               text[0] == '@') {
        body_file(r, body, q);
    } else if (json == NULL && body != NULL && text == NULL &&
               vv_conf_node_kind(body) != VV_CONF_NODE_NULL && r->config == NULL) {
        q->body = load_json(r, body, &q->json) ? LOAD_BODY_JSON : LOAD_BODY_NONE;
    } else if (json == NULL && body != NULL && load_text(r, body, "body", &q->text)) {
        q->body = LOAD_BODY_TEXT;
    }
}

static void request_auth(struct load_reading *r, const NODE *n, struct load_request *q)
{
    static const char *const known[] = {"user", "pass", NULL};
    if (!load_is(r, n, VV_CONF_NODE_MAP, "auth")) {
        return;
    }
    load_known_keys(r, n, known, "auth");
    const NODE *user = vv_conf_node_get(n, "user"), *pass = vv_conf_node_get(n, "pass");
    q->has_auth = user != NULL && pass != NULL && load_text(r, user, "user", &q->user) &&
                  load_text(r, pass, "pass", &q->password);
    if (user == NULL || pass == NULL) {
        load_wrong(r, n, "auth needs user and pass");
    }
}

static void request_condition(struct load_reading *r, const NODE *n, struct load_request *q)
{
    const char *text = vv_conf_node_text(n), *why = NULL;
    size_t at = 0;
    if (text == NULL) {
        load_wrong(r, n, "ifTrue must be an expression");
        return;
    }
    r->plan->names.where = n;
    const enum vv_err err =
        vv_load_cond_compile(&r->plan->names, vv_str_from(text), &q->only_if, &why, &at);
    if (err == VV_ENOMEM) {
        longjmp(r->plan->out_of_memory, 1);
    }
    if (err != VV_OK) {
        load_wrong(r, n, "character %zu of the condition: %s", at + 1, why);
    }
}

static void request_options(struct load_reading *r, const NODE *keys, struct load_request *q)
{
    const NODE *n = NULL;
    uint64_t status = 0;
    if ((n = vv_conf_node_get(keys, "headers")) != NULL) {
        (void)load_pairs(r, n, "headers", true, &q->headers);
    }
    if ((n = vv_conf_node_get(keys, "qs")) != NULL) {
        (void)load_pairs(r, n, "qs", false, &q->query);
    }
    if ((n = vv_conf_node_get(keys, "cookie")) != NULL) {
        (void)load_pairs(r, n, "cookie", false, &q->cookies);
    }
    if ((n = vv_conf_node_get(keys, "auth")) != NULL) {
        request_auth(r, n, q);
    }
    if ((n = vv_conf_node_get(keys, "followRedirect")) != NULL) {
        (void)load_bool(r, n, "followRedirect", &q->follow);
    }
    if ((n = vv_conf_node_get(keys, "gzip")) != NULL) {
        (void)load_bool(r, n, "gzip", &q->gzip);
    }
    if ((n = vv_conf_node_get(keys, "ifTrue")) != NULL) {
        request_condition(r, n, q);
    }
    if ((n = vv_conf_node_get(keys, "probability")) != NULL) {
        (void)load_number(r, n, "probability", 0, 100, &q->probability);
    }
    if ((n = vv_conf_node_get(keys, "timeout")) != NULL) {
        (void)load_time(r, n, "timeout", VV_MS, &q->timeout_ns);
    }
    if ((n = vv_conf_node_get(keys, "expectedStatus")) != NULL &&
        load_whole(r, n, "expectedStatus", 599, &status)) {
        int *one = load_zalloc(r->plan, sizeof *one);
        *one = (int)status;
        load_expect_add(
            r, q, (struct load_expect){.kind = LOAD_EXPECT_STATUS, .status = one, .count = 1});
    }
}

/* Host, port and path; false: there is no scheme, or no host behind it. */
static bool split(struct vv_str url, struct vv_str *ret_host, uint16_t *ret_port,
                  struct vv_str *ret_path)
{
    const size_t skip = vv_str_starts(url, VV_STR("http://"))    ? 7
                        : vv_str_starts(url, VV_STR("https://")) ? 8
                                                                 : 0;
    size_t end = skip;
    while (end < url.n && url.p[end] != '/' && url.p[end] != '?') {
        end++;
    }
    *ret_path = (struct vv_str){url.p + end, url.n - end};
    return skip > 0 && vv_uri_split_authority((struct vv_str){url.p + skip, end - skip}, ret_host,
                                              ret_port) == VV_OK;
}

/* What Artillery's reports call an endpoint: of an absolute URL only what the target has not, and the
 * name behind it. NULL: just as it is written. */
static const char *endpoint_key(struct vv_load_plan *p, struct vv_str url, const char *name)
{
    struct vv_str host, path = url, home, rest;
    uint16_t port = 0, home_port = 0;
    char text[8] = "";
    const bool far = p->view.target != NULL &&
                     split(vv_str_from(p->view.target), &home, &home_port, &rest) &&
                     split(url, &host, &port, &path);
    if (!far && name == NULL) {
        return NULL;
    }
    if (!far || vv_str_eq_nocase(host, home)) {
        host = VV_STR("");
    }
    if (far && port != 0 && port != home_port) {
        (void)snprintf(text, sizeof text, ":%u", port);
    }
    path = far ? path : url;
    return vv_arena_fmt(&p->arena, VV_STR_FMT "%s%s" VV_STR_FMT "%s%s%s", VV_STR_ARG(host), text,
                        path.n > 0 && path.p[0] != '?' ? "" : "/", VV_STR_ARG(path),
                        name != NULL ? " (" : "", name != NULL ? name : "", name != NULL ? ")" : "")
        .p;
}

struct load_request *load_request_of(struct load_reading *r, const char *method, const NODE *url,
                                     const NODE *keys, bool skip_method)
{
    static const char *const short_keys[] = {"get",  "post",    "put",    "patch", "delete",
                                             "head", "options", "weight", NULL};
    struct vv_load_plan *p = r->plan;
    struct load_request *q = load_zalloc(p, sizeof *q);
    const NODE *name = keys != NULL ? vv_conf_node_get(keys, "name") : NULL;
    const char *label = NULL, *key = NULL;
    *q = (struct load_request){
        .method = load_method(vv_str_from(method)),
        .method_text = vv_str_from(method),
        .gzip = true,
        .follow = true,
        .probability = -1,
        .timeout_ns = p->view.timeout_ns,
    };
    if (!load_text(r, url, "url", &q->url)) {
        return NULL;
    }
    struct vv_str whole = vv_str_from(vv_conf_node_text(url)), rest = whole;
    const struct vv_str path = r->keep_query ? whole : vv_str_cut(&rest, '?');
    const bool unnamed = name == NULL || !load_fixed(r, name, "name", &label);
    label = unnamed ? load_dup(p, path) : label;
    if (unnamed || !r->names_only) {
        key = endpoint_key(p, path, unnamed ? NULL : label);
    }
    q->endpoint = load_endpoint_add(p, method, label, key, (uint32_t)p->view.scenario_count - 1);
    if (keys != NULL) {
        check_keys(r, keys, request_keys, skip_method ? short_keys : NULL, "a request");
        request_options(r, keys, q);
        request_body(r, keys, q);
        load_captures(r, vv_conf_node_get(keys, "capture"), vv_conf_node_get(keys, "match"), q);
        load_expects(r, vv_conf_node_get(keys, "expect"), q);
        const NODE *strict = vv_conf_node_get(keys, "strictCapture");
        bool yes = true;
        if (strict != NULL && load_bool(r, strict, "strictCapture", &yes)) {
            for (size_t i = 0; i < q->capture_count; i++) {
                q->capture[i].strict = q->capture[i].strict && yes;
            }
        }
    } else {
        load_expects(r, NULL, q);
    }
    if (p->view.target != NULL && !load_request_seal(p, q)) {
        load_wrong(r, url, "no request can be sent to this URL, or a header of it cannot be sent");
    }
    return q;
}

/* ---- other steps --------------------------------------------------------------------------- */

static void think_step(struct load_reading *r, size_t scenario, const NODE *step)
{
    static const char *const known[] = {"think", "jitter", "name", NULL};
    struct vv_load_plan *p = r->plan;
    const NODE *n = vv_conf_node_get(step, "think"), *jitter = vv_conf_node_get(step, "jitter");
    struct load_op *op = load_op_add(p, &p->scenario[scenario], LOAD_OP_THINK);
    op->jitter = p->jitter;
    op->jitter_ns = p->jitter_ns;
    check_keys(r, step, known, NULL, "a think step");
    if (!load_text(r, n, "think", &op->think)) {
        return;
    }
    if (vv_load_text_constant(&op->think)) {
        (void)load_time(r, n, "think", VV_SEC, &op->think_ns);
        op->think = (struct vv_load_text){NULL, 0};
    }
    if (jitter != NULL) {
        (void)load_jitter(r, jitter, &op->jitter, &op->jitter_ns);
    }
}

/* `over`: a list in place, or the name of a variable that holds one. */
static void loop_over(struct load_reading *r, const NODE *over, struct load_op *op)
{
    if (vv_conf_node_kind(over) == VV_CONF_NODE_LIST) {
        struct vv_load_value *v = load_zalloc(r->plan, sizeof *v);
        load_value(r, over, v);
        op->over = v;
        return;
    }
    const char *name = vv_conf_node_text(over);
    if (name == NULL || name[0] == '\0') {
        load_wrong(r, over, "over must be a list, or the name of a variable that holds one");
        return;
    }
    const bool braces = strstr(name, "{{") != NULL;
    const struct vv_str source =
        vv_arena_fmt(&r->plan->arena, "%s%s%s", braces ? "" : "{{", name, braces ? "" : "}}");
    const char *why = "it is no name of a variable";
    size_t at = 0;
    r->plan->names.where = over;
    if (source.p == NULL) {
        longjmp(r->plan->out_of_memory, 1);
    }
    if (vv_load_text_compile(&r->plan->names, source, &op->over_text, &why, &at) != VV_OK ||
        !vv_load_text_variable(&op->over_text)) {
        load_wrong(r, over, "over: %s", why);
        op->over_text = (struct vv_load_text){NULL, 0};
        return;
    }
    op->has_over_text = true;
}

static void loop_count(struct load_reading *r, const NODE *n, struct load_op *op)
{
    long long from = 0, to = 0;
    char rest = '\0';
    if (!load_text(r, n, "count", &op->count) || !vv_load_text_constant(&op->count)) {
        return;
    }
    const char *text = op->count.count > 0 ? op->count.part[0].literal.p : "";
    op->count = (struct vv_load_text){NULL, 0};
    if (sscanf(text, "%lld-%lld%c", &from, &to, &rest) == 2 && from >= 0) {
        op->from = from;
        op->to = to;
    } else if (sscanf(text, "%lld%c", &to, &rest) == 1 && to >= -1) {
        op->to = to;
    } else {
        load_wrong(r, n, "count must be a number, or a range such as \"1-15\"");
    }
}

static const char *loop_name(struct load_reading *r, const NODE *step, const char *key,
                             const char *otherwise)
{
    const NODE *n = vv_conf_node_get(step, key);
    const char *name = n != NULL ? vv_conf_node_text(n) : NULL;
    if (n != NULL && name == NULL) {
        load_wrong(r, n, "%s must be the name of a variable", key);
    }
    name = name != NULL ? name : otherwise;
    load_slot_set(r, name);
    return name;
}

static void loop_step(struct load_reading *r, size_t scenario, const NODE *step, int depth)
{
    static const char *const known[] = {"loop",        "count", "over", "loopValue",
                                        "loopElement", "name",  NULL};
    struct vv_load_plan *p = r->plan;
    const NODE *flow = vv_conf_node_get(step, "loop"), *over = vv_conf_node_get(step, "over");
    const NODE *count = vv_conf_node_get(step, "count");
    check_keys(r, step, known, NULL, "a loop");
    if (depth >= DEPTH_MAX) {
        load_wrong(r, step, "loops are nested deeper than %d levels", DEPTH_MAX);
        return;
    }
    if (over == NULL && count == NULL) {
        load_wrong(r, step, "a loop needs count or over");
        return;
    }
    const size_t begin = p->scenario[scenario].op_count;
    struct load_op op = {.kind = LOAD_OP_LOOP};
    op.index_slot = load_slot(r, loop_name(r, step, "loopValue", "$loopCount"), NULL);
    op.element_slot = load_slot(r, loop_name(r, step, "loopElement", "$loopElement"), NULL);
    if (over != NULL) {
        loop_over(r, over, &op);
    } else {
        loop_count(r, count, &op);
    }
    *load_op_add(p, &p->scenario[scenario], LOAD_OP_LOOP) = op;
    load_flow(r, scenario, flow, depth + 1);
    load_op_add(p, &p->scenario[scenario], LOAD_OP_AGAIN)->jump = begin + 1;
    p->scenario[scenario].op[begin].jump = p->scenario[scenario].op_count;
}

static void request_step(struct load_reading *r, size_t scenario, const NODE *step,
                         const char *method, const NODE *value)
{
    struct vv_load_plan *p = r->plan;
    struct load_request *q = NULL;
    if (vv_conf_node_kind(value) == VV_CONF_NODE_SCALAR) { /* - get: /path, its keys beside it */
        q = load_request_of(r, method, value, step, true);
    } else if (load_is(r, value, VV_CONF_NODE_MAP, "a request")) {
        static const char *const both[] = {"url", "uri"};
        const NODE *url = NULL;
        for (size_t i = 0; i < VV_COUNT(both) && url == NULL; i++) {
            url = vv_conf_node_get(value, both[i]);
        }
        if (url == NULL) {
            load_wrong(r, value, "a request needs a url");
            return;
        }
        q = load_request_of(r, method, url, value, false);
    }
    if (q != NULL) {
        load_op_add(p, &p->scenario[scenario], LOAD_OP_REQUEST)->request = q;
    }
}

static void flow_step(struct load_reading *r, size_t scenario, const NODE *step, int depth)
{
    if (!load_is(r, step, VV_CONF_NODE_MAP, "a step")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(step); i++) {
        const NODE *key = vv_conf_node_key(step, i), *value = vv_conf_node_item(step, i);
        const char *name = vv_conf_node_text(key), *method = load_method_key(name);
        if (method != NULL) {
            request_step(r, scenario, step, method, value);
            return;
        }
        if (strcmp(name, "think") == 0) {
            think_step(r, scenario, step);
            return;
        }
        if (strcmp(name, "loop") == 0) {
            loop_step(r, scenario, step, depth);
            return;
        }
        if (strcmp(name, "log") == 0) {
            vv_conf_node_report(r->tree, key, true, NULL, "log prints nothing here");
            return;
        }
        if (strcmp(name, "parallel") == 0) {
            load_wrong(r, key,
                       "parallel is not supported: a user sends one request at a time; "
                       "write the steps one after the other, or more users");
            return;
        }
        if (is_one_of(name, script_keys)) {
            load_wrong(r, key, "%s needs JavaScript, which is not run here", name);
            return;
        }
    }
    load_wrong(r, step,
               "a step is one of get, post, put, patch, delete, head, options, think, "
               "loop and log");
}

void load_flow(struct load_reading *r, size_t scenario, const NODE *list, int depth)
{
    if (!load_is(r, list, VV_CONF_NODE_LIST, "a flow")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(list); i++) {
        flow_step(r, scenario, vv_conf_node_item(list, i), depth);
    }
}

/* ---- scenarios ----------------------------------------------------------------------------- */

static void scenario(struct load_reading *r, const NODE *n, size_t index)
{
    static const char *const known[] = {"name", "weight", "engine", "flow", NULL};
    struct vv_load_plan *p = r->plan;
    const NODE *v = NULL;
    const char *name = NULL, *engine = "http";
    uint64_t weight = 1;
    if (!load_is(r, n, VV_CONF_NODE_MAP, "a scenario")) {
        return;
    }
    check_keys(r, n, known, NULL, "a scenario");
    if ((v = vv_conf_node_get(n, "name")) == NULL || !load_fixed(r, v, "name", &name)) {
        name = vv_arena_fmt(&p->arena, "%zu", index).p; /* Artillery counts from 0 too */
    }
    if (r->source->scenario != NULL && strcmp(name, r->source->scenario) != 0) {
        return;
    }
    if ((v = vv_conf_node_get(n, "weight")) != NULL) {
        (void)load_whole(r, v, "weight", WEIGHT_MAX, &weight);
    }
    if ((v = vv_conf_node_get(n, "engine")) != NULL && load_fixed(r, v, "engine", &engine) &&
        strcmp(engine, "http") != 0) {
        load_wrong(r, v, "the engine %s is not supported, only http", engine);
        return;
    }
    if ((v = vv_conf_node_get(n, "flow")) == NULL) {
        load_wrong(r, n, "a scenario needs a flow");
        return;
    }
    load_scenario_add(p, name, weight);
    const size_t at = p->view.scenario_count - 1;
    load_flow(r, at, v, 0);
    load_op_add(p, &p->scenario[at], LOAD_OP_END);
}

void load_scenarios(struct load_reading *r, const NODE *list)
{
    if (!load_is(r, list, VV_CONF_NODE_LIST, "scenarios")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(list); i++) {
        scenario(r, vv_conf_node_item(list, i), i);
    }
}
