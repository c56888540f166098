/* src/load/plan.c - the plan as a thing: its memory, its lists, and the plan of a single line. */
#include "base/units.h"
#include "load/program_int.h"
#include "wire/uri.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENA_BLOCK_BYTES (16 * VV_KIB)
#define ARENA_LIMIT_BYTES VV_GIB
#define DURATION_MAX_NS (366 * VV_DAY)
#define TIMEOUT_NS (10 * VV_SEC)

void *load_zalloc(struct vv_load_plan *p, size_t bytes)
{
    void *memory = vv_arena_zalloc(&p->arena, bytes);
    if (memory == NULL) {
        VV_ASSERT(p->may_jump);
        longjmp(p->out_of_memory, 1);
    }
    return memory;
}

const char *load_dup(struct vv_load_plan *p, struct vv_str s)
{
    char *text = load_zalloc(p, s.n + 1);
    if (s.n > 0) {
        memcpy(text, s.p, s.n);
    }
    return text;
}

void *load_grow(struct vv_load_plan *p, void *array, size_t count, size_t *room, size_t item_bytes)
{
    if (count < *room) {
        return array;
    }
    const size_t more = *room > 0 ? *room * 2 : 4;
    void *bigger = load_zalloc(p, more * item_bytes);
    if (count > 0) {
        memcpy(bigger, array, count * item_bytes);
    }
    *room = more;
    return bigger;
}

struct vv_load_plan *load_plan_new(void)
{
    struct vv_load_plan *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    vv_arena_init(&p->arena, NULL, 0, ARENA_BLOCK_BYTES, ARENA_LIMIT_BYTES);
    p->names.arena = &p->arena;
    p->uuid_slot = VV_LOAD_NO_SLOT;
    p->view.timeout_ns = TIMEOUT_NS;
    return p;
}

void vv_load_plan_free(struct vv_load_plan *p)
{
    if (p != NULL) {
        for (size_t i = 0; i < p->regexp_count; i++) {
            regfree(p->regexp[i]);
        }
        vv_arena_fini(&p->arena);
        free(p);
    }
}

void vv_load_plan_view(const struct vv_load_plan *p, struct vv_load_view *ret)
{
    *ret = p->view;
}

/* ---- its lists ----------------------------------------------------------------------------- */

void load_phase_add(struct vv_load_plan *p, const struct vv_load_phase *phase)
{
    p->phase = load_grow(p, p->phase, p->view.phase_count, &p->phase_room, sizeof *p->phase);
    p->phase[p->view.phase_count++] = *phase;
}

struct load_scenario *load_scenario_add(struct vv_load_plan *p, const char *name, uint64_t weight)
{
    p->scenario =
        load_grow(p, p->scenario, p->view.scenario_count, &p->scenario_room, sizeof *p->scenario);
    struct load_scenario *s = &p->scenario[p->view.scenario_count++];
    *s = (struct load_scenario){.name = name, .weight = weight};
    p->weight_sum += weight;
    return s;
}

struct load_op *load_op_add(struct vv_load_plan *p, struct load_scenario *s, enum load_op_kind kind)
{
    s->op = load_grow(p, s->op, s->op_count, &s->op_room, sizeof *s->op);
    struct load_op *op = &s->op[s->op_count++];
    *op = (struct load_op){
        .kind = kind, .index_slot = VV_LOAD_NO_SLOT, .element_slot = VV_LOAD_NO_SLOT};
    return op;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

uint32_t load_endpoint_add(struct vv_load_plan *p, const char *method, const char *name,
                           const char *key, uint32_t scenario)
{
    for (size_t i = 0; i < p->view.endpoint_count; i++) {
        const struct vv_load_endpoint *e = &p->endpoint[i];
        if (e->scenario == scenario && strcmp(e->name, name) == 0 &&
            strcmp(e->method, method) == 0 && same_text(e->key, key)) {
            return (uint32_t)i;
        }
    }
    p->endpoint =
        load_grow(p, p->endpoint, p->view.endpoint_count, &p->endpoint_room, sizeof *p->endpoint);
    p->endpoint[p->view.endpoint_count] =
        (struct vv_load_endpoint){.name = name, .method = method, .scenario = scenario, .key = key};
    return (uint32_t)p->view.endpoint_count++;
}

enum vv_method load_method(struct vv_str name)
{
    for (int i = 0; i < VV_METHOD_OTHER; i++) {
        if (vv_str_eq_nocase(vv_methods[i].name, name)) {
            return (enum vv_method)i;
        }
    }
    return VV_METHOD_OTHER;
}

void load_plan_seal(struct vv_load_plan *p)
{
    const char **names = load_zalloc(p, (p->view.scenario_count + 1) * sizeof *names);
    for (size_t i = 0; i < p->view.scenario_count; i++) {
        names[i] = p->scenario[i].name;
    }
    p->view.phase = p->phase;
    p->view.scenario = names;
    p->view.endpoint = p->endpoint;
    p->view.expect = p->expect;
    p->view.gate = p->gate;
}

struct vv_load_text load_literal(struct vv_load_plan *p, struct vv_str s)
{
    struct vv_load_part *part = load_zalloc(p, sizeof *part);
    *part = (struct vv_load_part){.kind = VV_LOAD_PART_LITERAL, .literal = {load_dup(p, s), s.n}};
    return (struct vv_load_text){part, 1};
}

void load_default_headers(struct vv_load_plan *p)
{
    p->headers.pair = load_zalloc(p, sizeof *p->headers.pair);
    p->headers.pair[0] = (struct load_pair){load_literal(p, VV_STR("user-agent")),
                                            load_literal(p, VV_STR("vivace-load"))};
    p->headers.count = 1;
}

bool load_duration(struct vv_str s, uint64_t unit_ns, uint64_t *ret_ns)
{
    const struct vv_str t = vv_str_trim(s);
    const struct vv_load_value v = {.kind = VV_LOAD_TEXT, .text = t};
    double d = 0;
    if (vv_load_value_to_double(&v, &d)) {
        if (d < 0 || d * (double)unit_ns > (double)DURATION_MAX_NS) {
            return false;
        }
        *ret_ns = (uint64_t)(d * (double)unit_ns + 0.5);
        return true;
    }
    /* "5 m", "2min" and "1hour" are texts of the "ms" package too. */
    static const struct {
        const char *word, *unit;
    } words[] = {{"milliseconds", "ms"}, {"millisecond", "ms"}, {"msecs", "ms"}, {"msec", "ms"},
                 {"seconds", "s"},       {"second", "s"},       {"secs", "s"},   {"sec", "s"},
                 {"minutes", "m"},       {"minute", "m"},       {"mins", "m"},   {"min", "m"},
                 {"hours", "h"},         {"hour", "h"},         {"hrs", "h"},    {"hr", "h"},
                 {"days", "d"},          {"day", "d"}};
    size_t number = 0;
    while (number < t.n && ((t.p[number] >= '0' && t.p[number] <= '9') || t.p[number] == '.')) {
        number++;
    }
    struct vv_str unit = vv_str_trim((struct vv_str){t.p + number, t.n - number});
    for (size_t i = 0; i < VV_COUNT(words); i++) {
        if (vv_str_eq(unit, vv_str_from(words[i].word))) {
            unit = vv_str_from(words[i].unit);
            break;
        }
    }
    char text[48];
    const int n =
        snprintf(text, sizeof text, VV_STR_FMT VV_STR_FMT, (int)number, t.p, VV_STR_ARG(unit));
    return number > 0 && n > 0 && (size_t)n < sizeof text &&
           vv_parse_duration((struct vv_str){text, (size_t)n}, ret_ns) == VV_OK &&
           *ret_ns <= DURATION_MAX_NS;
}

/* ---- requests that never change ------------------------------------------------------------- */

static bool pairs_constant(const struct load_pairs *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!vv_load_text_constant(&list->pair[i].name) ||
            !vv_load_text_constant(&list->pair[i].value)) {
            return false;
        }
    }
    return true;
}

static bool request_constant(const struct vv_load_plan *p, const struct load_request *r)
{
    /* Cookies go through the jar of each user. */
    return vv_load_text_constant(&r->url) && pairs_constant(&p->headers) && p->cookies.count == 0 &&
           pairs_constant(&r->headers) && pairs_constant(&r->query) && pairs_constant(&r->form) &&
           r->cookies.count == 0 && vv_load_text_constant(&r->user) &&
           vv_load_text_constant(&r->password) &&
           (r->body != LOAD_BODY_JSON || r->json.kind == LOAD_JSON_DONE) &&
           (r->body != LOAD_BODY_TEXT || vv_load_text_constant(&r->text));
}

bool load_request_seal(struct vv_load_plan *p, struct load_request *r)
{
    struct vv_sb url = VV_SB_INIT, scratch = VV_SB_INIT, body = VV_SB_INIT, out = VV_SB_INIT;
    const struct load_render x = {
        .plan = p, .url = &url, .scratch = &scratch, .body = &body, .out = &out};
    bool fine = true;
    if (request_constant(p, r)) {
        struct load_place place;
        fine = load_render_url(&x, r) && load_render_request(&x, r, &place);
        if (fine) {
            r->bytes = vv_arena_str(&p->arena, vv_sb_str(&out));
            r->place = place;
            r->place.host = vv_arena_str(&p->arena, place.host);
            p->view.tls = p->view.tls || place.tls;
        }
    } else if (r->url.count > 0 && r->url.part[0].kind == VV_LOAD_PART_LITERAL) {
        p->view.tls = p->view.tls || vv_str_starts(r->url.part[0].literal, VV_STR("https://"));
    }
    const bool no_memory = url.failed || scratch.failed || body.failed || out.failed ||
                           (r->bytes.n > 0 && (r->bytes.p == NULL || r->place.host.p == NULL));
    vv_sb_fini(&url);
    vv_sb_fini(&scratch);
    vv_sb_fini(&body);
    vv_sb_fini(&out);
    if (no_memory) {
        longjmp(p->out_of_memory, 1);
    }
    return fine;
}

/* ---- one line ------------------------------------------------------------------------------ */

static void line_headers(struct vv_load_plan *p, const struct vv_load_line *line,
                         struct vv_conf_problems *problems, struct load_request *r)
{
    r->headers.pair = load_zalloc(p, (line->header_count + 1) * sizeof *r->headers.pair);
    for (size_t i = 0; i < line->header_count; i++) {
        struct vv_str value = vv_str_from(line->headers[i]);
        const ptrdiff_t colon = vv_str_find_char(value, ':');
        const struct vv_str name =
            vv_str_trim((struct vv_str){value.p, colon >= 0 ? (size_t)colon : 0});
        value = vv_str_trim((struct vv_str){value.p + colon + 1, value.n - (size_t)(colon + 1)});
        if (!vv_h1_is_token(name) || !vv_h1_is_field_value(value)) {
            vv_conf_problems_add(problems, false, NULL,
                                 "\"%s\" is no header: write \"name: value\"", line->headers[i]);
            continue;
        }
        char *lower = load_zalloc(p, name.n + 1);
        for (size_t j = 0; j < name.n; j++) {
            lower[j] = vv_char_lower(name.p[j]);
        }
        r->headers.pair[r->headers.count++] = (struct load_pair){
            load_literal(p, (struct vv_str){lower, name.n}), load_literal(p, value)};
    }
}

static void line_expect(struct vv_load_plan *p, int status, struct load_request *r)
{
    struct load_expect *e = load_zalloc(p, sizeof *e);
    if (status > 0) {
        int *one = load_zalloc(p, sizeof *one);
        *one = status;
        *e = (struct load_expect){.kind = LOAD_EXPECT_STATUS, .status = one, .count = 1};
    } else {
        *e = (struct load_expect){.kind = LOAD_EXPECT_STATUS_BELOW, .number = 400};
    }
    r->expect = e;
    r->expect_count = 1;
}

static void read_line(struct vv_load_plan *p, const struct vv_load_line *line,
                      struct vv_conf_problems *problems)
{
    const char *method = line->method != NULL ? line->method : line->body != NULL ? "POST" : "GET";
    struct load_request *r = load_zalloc(p, sizeof *r);
    struct vv_uri uri;
    struct vv_str url = vv_str_from(line->url);
    if (strstr(line->url, "://") == NULL) {
        url.p = vv_arena_fmt(&p->arena, "http://%s", line->url).p;
        url.n += 7;
    }
    if (url.p == NULL || vv_uri_parse(url, &uri) != VV_OK || uri.host.n == 0 ||
        !vv_h1_is_token(vv_str_from(method))) {
        vv_conf_problems_add(problems, false, NULL, "cannot send %s to \"%s\"", method, line->url);
        return;
    }
    const char *path = uri.path.n > 0 ? load_dup(p, uri.path) : "/";
    struct load_scenario *s = load_scenario_add(p, load_dup(p, url), 1);
    *r = (struct load_request){
        .endpoint = load_endpoint_add(p, load_dup(p, vv_str_from(method)), path, NULL, 0),
        .method = load_method(vv_str_from(method)),
        .url = load_literal(p, url),
        .probability = -1,
        .timeout_ns = line->timeout_ns > 0 ? line->timeout_ns : TIMEOUT_NS,
        .body = line->body != NULL ? LOAD_BODY_TEXT : LOAD_BODY_NONE,
    };
    r->method_text = vv_str_from(p->endpoint[0].method);
    if (line->body != NULL) {
        r->text = load_literal(p, vv_str_from(line->body));
    }
    line_headers(p, line, problems, r);
    line_expect(p, line->expect_status, r);
    load_op_add(p, s, LOAD_OP_REQUEST)->request = r;
    load_op_add(p, s, LOAD_OP_END);
    load_phase_add(p, &line->phase);
    p->view.target = load_dup(p, url);
    p->view.timeout_ns = r->timeout_ns;
    p->view.tls_insecure = line->tls_insecure;
    p->view.tls_ca = line->tls_ca != NULL ? load_dup(p, vv_str_from(line->tls_ca)) : NULL;
    p->view.pool = UINT64_MAX; /* one URL: connections are used again, as wrk does */
    if (!load_request_seal(p, r)) {
        vv_conf_problems_add(problems, false, NULL, "cannot send a request to \"%s\"", line->url);
    }
}

enum vv_err vv_load_plan_line(const struct vv_load_line *line, struct vv_conf_problems *problems,
                              struct vv_load_plan **ret)
{
    const size_t errors_before = vv_conf_problems_errors(problems);
    struct vv_load_plan *p = load_plan_new();
    if (p == NULL) {
        return VV_ENOMEM;
    }
    if (setjmp(p->out_of_memory) != 0) {
        vv_load_plan_free(p);
        return VV_ENOMEM;
    }
    p->may_jump = true;
    load_default_headers(p);
    read_line(p, line, problems);
    load_plan_seal(p);
    p->may_jump = false;
    if (vv_conf_problems_errors(problems) > errors_before) {
        vv_load_plan_free(p);
        return VV_ECONFIG;
    }
    *ret = p;
    return VV_OK;
}
