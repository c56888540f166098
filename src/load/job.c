/* src/load/job.c - a command line as JSON, so that an agent builds the same plan from it. */
#include "base/json.h"
#include "load/agents.h"

#include <jansson.h>
#include <stdlib.h>

#define HEADERS_MAX 256
#define THREADS_MAX 4096
#define STATUS_MAX 999

struct memory {
    json_t *root;
    const char *header[HEADERS_MAX];
};

static void optional(struct vv_json *j, const char *key, const char *text)
{
    if (text != NULL) {
        vv_json_kcstr(j, key, text);
    }
}

static void write_line(struct vv_json *j, const struct vv_load_line *l)
{
    const struct vv_load_phase *p = &l->phase;
    vv_json_kcstr(j, "url", l->url);
    optional(j, "method", l->method);
    optional(j, "body", l->body);
    vv_json_key(j, "headers");
    vv_json_arr(j);
    for (size_t i = 0; i < l->header_count; i++) {
        vv_json_cstr(j, l->headers[i]);
    }
    vv_json_arr_end(j);
    vv_json_ku64(j, "timeout_ns", l->timeout_ns);
    vv_json_ku64(j, "expect_status", (uint64_t)l->expect_status);
    vv_json_kbool(j, "tls_insecure", l->tls_insecure);
    optional(j, "tls_ca", l->tls_ca);
    vv_json_ku64(j, "duration_ns", p->duration_ns);
    vv_json_kdouble(j, "rate", p->rate);
    vv_json_kdouble(j, "ramp_to", p->ramp_to);
    vv_json_ku64(j, "count", p->count);
    vv_json_ku64(j, "users", p->users);
    vv_json_ku64(j, "users_to", p->users_to);
    vv_json_ku64(j, "ramp_ns", p->ramp_ns);
    vv_json_ku64(j, "users_max", p->users_max);
    vv_json_kbool(j, "poisson", p->arrival == VV_LOAD_POISSON);
}

static void write_source(struct vv_json *j, const struct vv_load_source *s)
{
    optional(j, "path", s->path);
    optional(j, "text", s->text);
    optional(j, "environment", s->environment);
    optional(j, "target", s->target);
    optional(j, "variables", s->variables);
    optional(j, "overrides", s->overrides);
    optional(j, "payload", s->payload);
    optional(j, "scenario", s->scenario);
    vv_json_kbool(j, "strict", s->strict);
}

void vv_load_job_write(const struct vv_load_job *job, struct vv_sb *out)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_kbool(&j, "is_line", job->is_line);
    vv_json_ku64(&j, "threads", job->threads);
    vv_json_kbool(&j, "allow_late", job->allow_late);
    /* As text: JSON readers keep 63 bits of a number. */
    char seed[24];
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)job->seed);
    vv_json_kcstr(&j, "seed", seed);
    if (job->is_line) {
        write_line(&j, &job->line);
    } else {
        write_source(&j, &job->source);
    }
    vv_json_obj_end(&j);
}

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key)); /* NULL: absent */
}

static uint64_t number(const json_t *o, const char *key)
{
    const json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

static void read_line(struct memory *m, struct vv_load_line *l)
{
    const json_t *o = m->root, *headers = json_object_get(o, "headers");
    for (size_t i = 0; i < json_array_size(headers) && l->header_count < HEADERS_MAX; i++) {
        const char *h = json_string_value(json_array_get(headers, i));
        if (h != NULL) {
            m->header[l->header_count++] = h;
        }
    }
    l->url = text_of(o, "url");
    l->method = text_of(o, "method");
    l->body = text_of(o, "body");
    l->headers = m->header;
    l->timeout_ns = number(o, "timeout_ns");
    l->expect_status = (int)number(o, "expect_status");
    l->tls_insecure = json_is_true(json_object_get(o, "tls_insecure"));
    l->tls_ca = text_of(o, "tls_ca");
    l->phase = (struct vv_load_phase){
        .duration_ns = number(o, "duration_ns"),
        .rate = json_number_value(json_object_get(o, "rate")),
        .ramp_to = json_number_value(json_object_get(o, "ramp_to")),
        .count = number(o, "count"),
        .users = number(o, "users"),
        .users_to = number(o, "users_to"),
        .ramp_ns = number(o, "ramp_ns"),
        .users_max = number(o, "users_max"),
        .arrival = json_is_true(json_object_get(o, "poisson")) ? VV_LOAD_POISSON : VV_LOAD_EVEN,
    };
}

enum vv_err vv_load_job_read(struct vv_str text, struct vv_load_job *ret, void **ret_memory)
{
    struct memory *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return VV_ENOMEM;
    }
    const json_t *o = m->root = json_loadb(text.p, text.n, 0, NULL);
    struct vv_load_job job = {0};
    job.is_line = json_is_true(json_object_get(o, "is_line"));
    job.threads = (unsigned)number(o, "threads");
    job.allow_late = json_is_true(json_object_get(o, "allow_late"));
    const char *seed = text_of(o, "seed");
    if (job.is_line) {
        read_line(m, &job.line);
    } else {
        job.source = (struct vv_load_source){
            .path = text_of(o, "path"),
            .text = text_of(o, "text"),
            .environment = text_of(o, "environment"),
            .target = text_of(o, "target"),
            .variables = text_of(o, "variables"),
            .overrides = text_of(o, "overrides"),
            .payload = text_of(o, "payload"),
            .scenario = text_of(o, "scenario"),
            .strict = json_is_true(json_object_get(o, "strict")),
        };
    }
    const bool whole = (job.is_line ? job.line.url != NULL : job.source.text != NULL) &&
                       number(o, "threads") <= THREADS_MAX &&
                       number(o, "expect_status") <= STATUS_MAX; /* more than fits was cut off */
    if (!json_is_object(o) || !whole || seed == NULL ||
        vv_str_to_u64(vv_str_from(seed), &job.seed) != VV_OK) {
        vv_load_job_free(m);
        return VV_ESYNTAX;
    }
    *ret = job;
    *ret_memory = m;
    return VV_OK;
}

void vv_load_job_free(void *memory)
{
    struct memory *m = memory;
    if (m != NULL) {
        json_decref(m->root);
        free(m);
    }
}

enum vv_err vv_load_job_plan(const struct vv_load_job *job, struct vv_conf_problems *problems,
                             struct vv_load_plan **ret)
{
    return job->is_line ? vv_load_plan_line(&job->line, problems, ret)
                        : vv_load_plan_read(&job->source, problems, ret);
}
