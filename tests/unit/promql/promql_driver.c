/* tests/unit/promql/promql_driver.c - the query engine as a program, for comparisons with others.
 *
 * Lines of standard input, fields parted by tabs:
 *   series NAME VALUE ...            the series that the next samples belong to
 *   sample MILLISECONDS VALUE        "stale" is the marker
 *   query START END STEP EXPRESSION  milliseconds; step 0 asks at START
 * Every query answers with one line of JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "promql/memory.h"
#include "promql/promql.h"

#define LABELS_MAX 32

static void put_number(struct vv_json *j, double v)
{
    char buf[VV_PROMQL_FORMAT_BYTES];
    vv_json_cstr(j, vv_promql_format(v, buf));
}

static void put_series(struct vv_json *j, const struct vv_promql_series *s)
{
    vv_json_obj(j);
    vv_json_key(j, "metric");
    vv_json_obj(j);
    for (size_t i = 0; i < s->labels.n; i++) {
        vv_json_keyn(j, s->labels.at[i].name);
        vv_json_str(j, s->labels.at[i].value);
    }
    vv_json_obj_end(j);
    vv_json_key(j, "values");
    vv_json_arr(j);
    for (size_t i = 0; i < s->n; i++) {
        vv_json_arr(j);
        vv_json_i64(j, s->samples[i].t_ms);
        put_number(j, s->samples[i].v);
        vv_json_arr_end(j);
    }
    vv_json_arr_end(j);
    vv_json_obj_end(j);
}

static void put_result(struct vv_json *j, const struct vv_promql_result *r)
{
    vv_json_obj(j);
    vv_json_kcstr(j, "type", vv_promql_type_name(r->type));
    vv_json_key(j, "result");
    if (r->type == VV_PROMQL_SCALAR) {
        put_number(j, r->scalar.v);
    } else if (r->type == VV_PROMQL_STRING) {
        vv_json_str(j, r->text);
    } else {
        vv_json_arr(j);
        for (size_t i = 0; i < r->n; i++) {
            put_series(j, &r->series[i]);
        }
        vv_json_arr_end(j);
    }
    vv_json_obj_end(j);
}

static void query(struct vv_promql_memory *memory, char *line)
{
    char *save = NULL;
    struct vv_promql_query q = {0};
    const char *start = strtok_r(line, "\t", &save), *end = strtok_r(NULL, "\t", &save);
    const char *step = strtok_r(NULL, "\t", &save);
    q.start_ms = start != NULL ? atoll(start) : 0;
    q.end_ms = end != NULL ? atoll(end) : 0;
    q.step_ms = step != NULL ? atoll(step) : 0;
    struct vv_arena arena;
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    const struct vv_promql_source source = vv_promql_memory_source(memory);
    const struct vv_promql_expr *e = NULL;
    struct vv_promql_error why;
    struct vv_promql_result result;
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &out);
    enum vv_err err = vv_promql_parse(vv_str_from(save), &arena, &e, &why);
    if (err == VV_OK) {
        err = vv_promql_eval(e, &source, &q, &arena, &result, &why);
    }
    if (err == VV_OK) {
        put_result(&j, &result);
    } else {
        vv_json_obj(&j);
        vv_json_kcstr(&j, "error", why.text);
        vv_json_kcstr(&j, "code", vv_err_name(err));
        vv_json_ku64(&j, "at", why.at);
        vv_json_obj_end(&j);
    }
    puts(out.p);
    fflush(stdout);
    vv_sb_fini(&out);
    vv_arena_fini(&arena);
}

static enum vv_err add_series(struct vv_promql_memory *memory, char *line, size_t *ret)
{
    struct vv_promql_label labels[LABELS_MAX];
    size_t n = 0;
    char *save = NULL;
    for (char *name = strtok_r(line, "\t", &save); name != NULL && n < LABELS_MAX;
         name = strtok_r(NULL, "\t", &save)) {
        labels[n++] =
            (struct vv_promql_label){vv_str_from(name), vv_str_from(strtok_r(NULL, "\t", &save))};
    }
    return vv_promql_memory_series(memory, (struct vv_promql_labels){labels, n}, ret);
}

int main(void)
{
    struct vv_arena arena;
    struct vv_promql_memory memory;
    size_t series = 0, room = 0;
    char *line = NULL;
    enum vv_err err = VV_OK;
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    vv_promql_memory_init(&memory, &arena);
    while (err == VV_OK && getline(&line, &room, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *fields = strchr(line, '\t');
        if (fields == NULL) {
            continue;
        }
        fields++;
        if (line[1] == 'u') {
            query(&memory, fields);
        } else if (line[1] == 'e') {
            err = add_series(&memory, fields, &series);
        } else {
            char *value = NULL;
            const long long t_ms = strtoll(fields, &value, 10);
            const bool stale = strcmp(value, "\tstale") == 0;
            err = vv_promql_memory_add(&memory, series, t_ms,
                                       stale ? vv_promql_stale() : strtod(value, NULL));
        }
    }
    free(line);
    vv_arena_fini(&arena);
    if (err != VV_OK) {
        fprintf(stderr, "%s\n", vv_err_text(err));
    }
    return err == VV_OK ? 0 : 1;
}
