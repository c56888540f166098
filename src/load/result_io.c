/* src/load/result_io.c - a result as JSON and back: the state agents send and `compare` reads. The
 * histograms go through their exact text form, so nothing is rounded on the way. A state that was
 * read owns its view in one block: its size follows from the document, before anything is copied. */
#include "base/json.h"
#include "load/report.h"

#include <jansson.h>
#include <stdlib.h>

#define FORMAT 1
#define WINDOWS_MAX 1000000
#define LIST_MAX 100000

/* ---- scalars: one row each, written and read by the same table ---- */

#define SCALAR(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct vv_load_result, field)                                             \
    }
static const struct scalar {
    const char *name;
    size_t offset;
} scalars[] = {
    SCALAR(started_unix_ns), SCALAR(duration_ns),    SCALAR(planned_ns),    SCALAR(offered),
    SCALAR(requests),        SCALAR(answers),        SCALAR(failed),        SCALAR(users_created),
    SCALAR(users_completed), SCALAR(users_failed),   SCALAR(users_skipped), SCALAR(bytes_in),
    SCALAR(bytes_out),       SCALAR(connections),    SCALAR(late),          SCALAR(late_max_ns),
    SCALAR(cpu_ns),          SCALAR(tls_handshakes), SCALAR(tls_resumed),
};
#define WINDOW(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct vv_load_window, field)                                             \
    }
static const struct scalar window_scalars[] = {
    WINDOW(at_ns),  WINDOW(offered), WINDOW(started),  WINDOW(completed),
    WINDOW(failed), WINDOW(late),    WINDOW(bytes_in), WINDOW(in_flight),
    WINDOW(p50_ns), WINDOW(p95_ns),  WINDOW(p99_ns),   WINDOW(max_ns),
};

static uint64_t field(const void *base, const struct scalar *s)
{
    uint64_t v;
    memcpy(&v, (const char *)base + s->offset, sizeof v);
    return v;
}

static void set_field(void *base, const struct scalar *s, uint64_t v)
{
    memcpy((char *)base + s->offset, &v, sizeof v);
}

static struct vv_load_hist **total_hist(struct vv_load_result *r, size_t i, const char **ret_name)
{
    static const char *const names[] = {"latency", "service", "first_byte", "session",
                                        "tls_connect"};
    struct vv_load_hist **const list[] = {&r->latency, &r->service, &r->first_byte, &r->session,
                                          &r->tls_connect};
    *ret_name = i < VV_COUNT(names) ? names[i] : NULL;
    return i < VV_COUNT(names) ? list[i] : NULL;
}

/* ---- writing ---- */

static void write_hist(struct vv_json *j, const char *name, const struct vv_load_hist *h)
{
    struct vv_sb text = VV_SB_INIT;
    if (h != NULL) {
        vv_load_hist_write(h, &text);
    }
    vv_json_kstr(j, name, vv_sb_str(&text));
    vv_sb_fini(&text);
}

static void write_codes(struct vv_json *j, const uint64_t *codes)
{
    vv_json_key(j, "codes");
    vv_json_obj(j);
    for (unsigned c = 0; c < 600; c++) {
        char key[8];
        (void)snprintf(key, sizeof key, "%u", c);
        if (codes[c] > 0) {
            vv_json_ku64(j, key, codes[c]);
        }
    }
    vv_json_obj_end(j);
}

static void write_phases(struct vv_json *j, const struct vv_load_view *v)
{
    vv_json_key(j, "phases");
    vv_json_arr(j);
    for (size_t i = 0; i < v->phase_count; i++) {
        const struct vv_load_phase *p = &v->phase[i];
        vv_json_obj(j);
        vv_json_kcstr(j, "name", p->name);
        vv_json_ku64(j, "duration_ns", p->duration_ns);
        vv_json_kdouble(j, "rate", p->rate);
        vv_json_kdouble(j, "ramp_to", p->ramp_to);
        vv_json_ku64(j, "count", p->count);
        vv_json_ku64(j, "users", p->users);
        vv_json_ku64(j, "users_to", p->users_to);
        vv_json_ku64(j, "ramp_ns", p->ramp_ns);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void write_errors(struct vv_json *j, const struct vv_load_named *list, size_t count)
{
    vv_json_key(j, "errors");
    vv_json_obj(j);
    for (size_t i = 0; i < count; i++) {
        vv_json_ku64(j, list[i].name, list[i].count);
    }
    vv_json_obj_end(j);
}

static void write_expects(struct vv_json *j, const struct vv_load_result *r)
{
    vv_json_key(j, "expects");
    vv_json_arr(j);
    for (size_t i = 0; i < r->view.expect_count; i++) {
        vv_json_obj(j);
        vv_json_kcstr(j, "name", r->view.expect[i]);
        vv_json_ku64(j, "ok", r->expect[i].ok);
        vv_json_ku64(j, "failed", r->expect[i].failed);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void write_view(struct vv_json *j, const struct vv_load_result *r)
{
    const struct vv_load_view *v = &r->view;
    vv_json_kcstr(j, "target", v->target != NULL ? v->target : "");
    write_phases(j, v);
    vv_json_key(j, "scenarios");
    vv_json_arr(j);
    for (size_t i = 0; i < v->scenario_count; i++) {
        vv_json_obj(j);
        vv_json_kcstr(j, "name", v->scenario[i]);
        vv_json_ku64(j, "users", r->users_by_scenario != NULL ? r->users_by_scenario[i] : 0);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void write_endpoints(struct vv_json *j, const struct vv_load_result *r)
{
    vv_json_key(j, "endpoints");
    vv_json_arr(j);
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        const struct vv_load_endpoint *e = &r->view.endpoint[i];
        const struct vv_load_endpoint_result *er = &r->endpoint[i];
        vv_json_obj(j);
        vv_json_kcstr(j, "name", e->name);
        vv_json_kcstr(j, "method", e->method);
        vv_json_kcstr(j, "key", e->key);
        vv_json_ku64(j, "scenario", e->scenario);
        vv_json_ku64(j, "requests", er->requests);
        vv_json_ku64(j, "answers", er->answers);
        vv_json_ku64(j, "failed", er->failed);
        write_codes(j, er->codes);
        write_errors(j, er->error, er->error_count);
        write_hist(j, "latency", er->latency);
        write_hist(j, "service", er->service);
        write_hist(j, "first_byte", er->first_byte);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void write_windows(struct vv_json *j, const struct vv_load_result *r)
{
    vv_json_key(j, "windows"); /* rows of numbers in the order of window_scalars */
    vv_json_arr(j);
    for (size_t i = 0; i < r->window_count; i++) {
        vv_json_arr(j);
        for (size_t k = 0; k < VV_COUNT(window_scalars); k++) {
            vv_json_u64(j, field(&r->window[i], &window_scalars[k]));
        }
        vv_json_arr_end(j);
    }
    vv_json_arr_end(j);
}

void vv_load_result_write(const struct vv_load_result *r, struct vv_sb *out)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_ku64(&j, "format", FORMAT);
    write_view(&j, r);
    for (size_t i = 0; i < VV_COUNT(scalars); i++) {
        vv_json_ku64(&j, scalars[i].name, field(r, &scalars[i]));
    }
    vv_json_kbool(&j, "closed", r->closed);
    vv_json_kbool(&j, "interrupted", r->interrupted);
    vv_json_ku64(&j, "threads", r->threads);
    vv_json_kcstr(&j, "invalid", r->invalid);
    write_codes(&j, r->codes);
    write_errors(&j, r->error, r->error_count);
    write_expects(&j, r);
    write_hist(&j, "latency", r->latency);
    write_hist(&j, "service", r->service);
    write_hist(&j, "first_byte", r->first_byte);
    write_hist(&j, "session", r->session);
    write_hist(&j, "tls_connect", r->tls_connect);
    vv_json_kcstr(&j, "tls_error", r->tls_error);
    vv_json_key(&j, "by_class");
    vv_json_obj(&j);
    for (unsigned i = 0; i < VV_COUNT(r->by_class); i++) {
        const char key[] = {(char)('0' + i), '\0'};
        write_hist(&j, key, r->by_class[i]);
    }
    vv_json_obj_end(&j);
    write_endpoints(&j, r);
    write_windows(&j, r);
    vv_json_obj_end(&j);
}

/* ---- reading ---- */

struct block { /* hands out pieces of one allocation */
    char *p;
    size_t left;
};

static void *piece(struct block *b, size_t bytes)
{
    const size_t whole = (bytes + 7) & ~(size_t)7;
    VV_ASSERT(whole <= b->left); /* block_bytes() counted the same pieces */
    void *p = b->p;
    b->p += whole;
    b->left -= whole;
    return p;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    return t != NULL ? t : "";
}

static const char *copy(struct block *b, const char *text)
{
    const size_t n = strlen(text) + 1;
    return memcpy(piece(b, n), text, n);
}

static uint64_t number(const json_t *o, const char *key)
{
    const json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

static size_t text_bytes(const json_t *list, const char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        n += (strlen(text_of(json_array_get(list, i), key)) + 8) & ~(size_t)7;
    }
    return n;
}

static size_t block_bytes(const json_t *o)
{
    const json_t *phases = json_object_get(o, "phases"), *sc = json_object_get(o, "scenarios"),
                 *ends = json_object_get(o, "endpoints"), *ex = json_object_get(o, "expects");
    return json_array_size(phases) * sizeof(struct vv_load_phase) +
           json_array_size(sc) * sizeof(char *) +
           json_array_size(ends) * sizeof(struct vv_load_endpoint) + text_bytes(phases, "name") +
           text_bytes(sc, "name") + text_bytes(ends, "name") + text_bytes(ends, "method") +
           text_bytes(ends, "key") + json_array_size(ex) * sizeof(char *) + text_bytes(ex, "name") +
           strlen(text_of(o, "target")) + 64;
}

static double real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static void read_phases(const json_t *list, struct block *b, struct vv_load_view *v)
{
    const size_t count = json_array_size(list);
    struct vv_load_phase *phase = piece(b, count * sizeof *phase);
    for (size_t i = 0; i < count; i++) {
        const json_t *p = json_array_get(list, i);
        const char *name = text_of(p, "name");
        phase[i] = (struct vv_load_phase){
            .name = name[0] != '\0' ? copy(b, name) : NULL,
            .duration_ns = number(p, "duration_ns"),
            .rate = real(p, "rate"),
            .ramp_to = real(p, "ramp_to"),
            .count = number(p, "count"),
            .users = number(p, "users"),
            .users_to = number(p, "users_to"),
            .ramp_ns = number(p, "ramp_ns"),
        };
    }
    v->phase = phase;
    v->phase_count = count;
}

static const char **read_names(const json_t *list, struct block *b)
{
    const char **name = piece(b, json_array_size(list) * sizeof *name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        name[i] = copy(b, text_of(json_array_get(list, i), "name"));
    }
    return name;
}

static void read_view(const json_t *o, struct block *b, struct vv_load_view *v)
{
    const json_t *list = json_object_get(o, "scenarios");
    v->target = copy(b, text_of(o, "target"));
    read_phases(json_object_get(o, "phases"), b, v);
    v->scenario = read_names(list, b);
    v->scenario_count = json_array_size(list);
    list = json_object_get(o, "expects");
    v->expect = read_names(list, b);
    v->expect_count = json_array_size(list);
    list = json_object_get(o, "endpoints");
    struct vv_load_endpoint *e = piece(b, json_array_size(list) * sizeof *e);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *in = json_array_get(list, i);
        e[i].name = copy(b, text_of(in, "name"));
        e[i].method = copy(b, text_of(in, "method"));
        const char *key = text_of(in, "key");
        e[i].key = key[0] != '\0' ? copy(b, key) : NULL;
        e[i].scenario = (uint32_t)number(in, "scenario");
    }
    v->endpoint = e;
    v->endpoint_count = json_array_size(list);
}

static enum vv_err read_hist(const json_t *o, const char *key, struct vv_load_hist *h)
{
    const char *text = text_of(o, key);
    return text[0] == '\0' || h == NULL ? VV_OK : vv_load_hist_read(h, vv_str_from(text));
}

static void read_codes(const json_t *o, uint64_t *codes)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(o, "codes"), key, value)
    {
        uint64_t code = 0;
        if (vv_str_to_u64(vv_str_from(key), &code) == VV_OK && code < 600 &&
            json_integer_value(value) > 0) {
            codes[code] = (uint64_t)json_integer_value(value);
        }
    }
}

static enum vv_err read_windows(const json_t *list, struct vv_load_result *r)
{
    const size_t count = json_array_size(list);
    if (count == 0) {
        return VV_OK;
    }
    const enum vv_err err = vv_load_result_windows(r, count);
    if (err != VV_OK) {
        return err;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(list, i);
        for (size_t k = 0; k < VV_COUNT(window_scalars); k++) {
            const json_int_t v = json_integer_value(json_array_get(row, k));
            set_field(&r->window[i], &window_scalars[k], v > 0 ? (uint64_t)v : 0);
        }
        if (r->window[i].at_ns != i * VV_SEC) {
            return VV_ESYNTAX; /* a merge makes room for every second before the last */
        }
    }
    return VV_OK;
}

static enum vv_err read_endpoints(const json_t *list, struct vv_load_result *r)
{
    enum vv_err err = VV_OK;
    const char *key;
    json_t *value;
    for (size_t i = 0; i < json_array_size(list) && err == VV_OK; i++) {
        const json_t *in = json_array_get(list, i);
        struct vv_load_endpoint_result *e = &r->endpoint[i];
        e->requests = number(in, "requests");
        e->answers = number(in, "answers");
        e->failed = number(in, "failed");
        read_codes(in, e->codes);
        json_object_foreach(json_object_get(in, "errors"), key, value)
        {
            if (json_integer_value(value) > 0) {
                vv_load_endpoint_error(e, key, (uint64_t)json_integer_value(value));
            }
        }
        err = read_hist(in, "latency", e->latency);
        err = err == VV_OK ? read_hist(in, "service", e->service) : err;
        err = err == VV_OK ? read_hist(in, "first_byte", e->first_byte) : err;
    }
    return err;
}

static enum vv_err fill(const json_t *o, struct vv_load_result *r)
{
    const char *key, *invalid = text_of(o, "invalid");
    const json_t *list = json_object_get(o, "scenarios");
    json_t *value;
    for (size_t i = 0; i < VV_COUNT(scalars); i++) {
        set_field(r, &scalars[i], number(o, scalars[i].name));
    }
    r->closed = json_is_true(json_object_get(o, "closed"));
    r->interrupted = json_is_true(json_object_get(o, "interrupted"));
    r->threads = (unsigned)number(o, "threads");
    r->invalid = invalid[0] != '\0' ? vv_load_invalid_text(vv_str_from(invalid)) : NULL;
    (void)snprintf(r->tls_error, sizeof(r->tls_error), "%s", text_of(o, "tls_error"));
    read_codes(o, r->codes);
    for (size_t i = 0; i < json_array_size(list); i++) {
        r->users_by_scenario[i] = number(json_array_get(list, i), "users");
    }
    list = json_object_get(o, "expects");
    for (size_t i = 0; i < json_array_size(list); i++) {
        r->expect[i].ok = number(json_array_get(list, i), "ok");
        r->expect[i].failed = number(json_array_get(list, i), "failed");
    }
    json_object_foreach(json_object_get(o, "errors"), key, value)
    {
        if (json_integer_value(value) > 0) {
            vv_load_result_error(r, key, (uint64_t)json_integer_value(value));
        }
    }
    const char *name;
    for (size_t i = 0;; i++) {
        struct vv_load_hist **h = total_hist(r, i, &name);
        const enum vv_err err = h != NULL ? read_hist(o, name, *h) : VV_OK;
        if (h == NULL) {
            break;
        }
        if (err != VV_OK) {
            return err;
        }
    }
    for (unsigned i = 0; i < VV_COUNT(r->by_class); i++) {
        const char digit[] = {(char)('0' + i), '\0'};
        const enum vv_err err = read_hist(json_object_get(o, "by_class"), digit, r->by_class[i]);
        if (err != VV_OK) {
            return err;
        }
    }
    const enum vv_err err = read_endpoints(json_object_get(o, "endpoints"), r);
    return err != VV_OK ? err : read_windows(json_object_get(o, "windows"), r);
}

static enum vv_err build(const json_t *o, struct vv_load_result **ret)
{
    struct vv_load_view view = {0};
    struct vv_load_result *r = NULL;
    if (number(o, "format") != FORMAT ||
        json_array_size(json_object_get(o, "endpoints")) > LIST_MAX ||
        json_array_size(json_object_get(o, "scenarios")) > LIST_MAX ||
        json_array_size(json_object_get(o, "expects")) > LIST_MAX ||
        json_array_size(json_object_get(o, "phases")) > LIST_MAX ||
        json_array_size(json_object_get(o, "windows")) > WINDOWS_MAX) {
        return VV_ESYNTAX;
    }
    const size_t bytes = block_bytes(o);
    void *memory = calloc(1, bytes);
    if (memory == NULL) {
        return VV_ENOMEM;
    }
    struct block b = {memory, bytes};
    read_view(o, &b, &view);
    enum vv_err err = vv_load_result_new(&view, &r);
    if (err != VV_OK) {
        free(memory);
        return err;
    }
    r->owned = memory;
    err = fill(o, r);
    if (err != VV_OK) {
        vv_load_result_free(r);
        return err;
    }
    *ret = r;
    return VV_OK;
}

/* A bare state, or a JSON report, which carries it. */
enum vv_err vv_load_result_read(struct vv_str text, struct vv_load_result **ret)
{
    json_t *root = json_loadb(text.p, text.n, 0, NULL);
    const json_t *state = json_object_get(json_object_get(root, "vivace"), "state");
    const enum vv_err err = root == NULL ? VV_ESYNTAX : build(state != NULL ? state : root, ret);
    json_decref(root);
    return err;
}
