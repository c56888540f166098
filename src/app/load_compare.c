/* src/app/load_compare.c - `vivace load compare A.json B.json`, and `--run A=URL --run B=URL`: rounds in the
 * order A B B A, so that a machine that grows slower slows both alike. */
#include "app/load.h"
#include "app/table.h"
#include "base/json.h"
#include "base/units.h"
#include "load/compare.h"
#include "os/clock.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>

#define REPORT_MAX (256U * 1024 * 1024)
#define ROUNDS 10
#define ROUNDS_MAX 200
#define ROUND_NS (5 * VV_SEC)

static bool read_result(const char *path, struct vv_load_result **ret)
{
    char *text = NULL;
    size_t bytes = 0;
    enum vv_err err = vv_file_read(path, REPORT_MAX, &text, &bytes);
    if (err != VV_OK) {
        (void)cli_fail(EXIT_USAGE, "%s: %s", path, vv_err_text(err));
        return false;
    }
    err = vv_load_result_read((struct vv_str){text, bytes}, ret);
    free(text);
    if (err != VV_OK) {
        (void)cli_fail(EXIT_USAGE, "%s: no report of `vivace load --output FILE`", path);
    }
    return err == VV_OK;
}

static void print_json(const char *const name[2], const struct vv_load_measured *m)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &out);
    vv_json_obj(&j);
    vv_json_kcstr(&j, "a", name[0]);
    vv_json_kcstr(&j, "b", name[1]);
    vv_json_kdouble(&j, "confidence", 0.95);
    vv_json_key(&j, "metrics");
    vv_json_arr(&j);
    for (size_t i = 0; i < VV_LOAD_MEASURES; i++) {
        vv_json_obj(&j);
        vv_json_kcstr(&j, "name", m[i].name);
        vv_json_kdouble(&j, "a", m[i].a);
        vv_json_kdouble(&j, "b", m[i].b);
        vv_json_kbool(&j, "known", m[i].known);
        if (m[i].known) {
            vv_json_kdouble(&j, "change", m[i].d.change);
            vv_json_kdouble(&j, "low", m[i].d.low);
            vv_json_kdouble(&j, "high", m[i].d.high);
            vv_json_kbool(&j, "significant", m[i].d.significant);
        }
        vv_json_kcstr(&j, "verdict", m[i].worse ? "worse" : m[i].better ? "better" : "same");
        vv_json_obj_end(&j);
    }
    vv_json_arr_end(&j);
    vv_json_obj_end(&j);
    vv_sb_addc(&out, '\n');
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
}

static void print_table(const char *const name[2], const struct vv_load_measured *m)
{
    char a[48], b[48];
    (void)snprintf(a, sizeof a, ">%.40s", name[0]);
    (void)snprintf(b, sizeof b, ">%.40s", name[1]);
    const char *titles[] = {"METRIC", a, b, ">CHANGE", ">95% FROM", ">TO", "VERDICT"};
    struct table t;
    struct vv_sb out = VV_SB_INIT;
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < VV_LOAD_MEASURES && table_row(&t, NULL); i++) {
        const bool share = i == VV_LOAD_MEASURE_ERRORS;
        const double scale = share ? 1.0 : 100.0;
        const char *unit = share ? "%" : i == VV_LOAD_MEASURE_RATE ? "" : "ms";
        table_cell(&t, 0, "%s", m[i].name);
        table_cell(&t, 1, "%.4g%s", m[i].a, unit);
        table_cell(&t, 2, "%.4g%s", m[i].b, unit);
        table_cell(&t, 3, m[i].known ? "%+.1f%s" : "-", scale * m[i].d.change, share ? "pt" : "%");
        table_cell(&t, 4, m[i].known ? "%+.1f" : "-", scale * m[i].d.low);
        table_cell(&t, 5, m[i].known ? "%+.1f" : "-", scale * m[i].d.high);
        table_cell(&t, 6, "%s",
                   m[i].worse           ? "worse"
                   : m[i].better        ? "better"
                   : !m[i].known        ? "unknown"
                   : m[i].d.significant ? "within tolerance"
                                        : "no difference shown");
    }
    table_print(&t, 0, SIZE_MAX, 200, false, "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

static int conclude(const struct cli_args *a, const char *const name[2],
                    const struct vv_load_measured *m)
{
    bool worse = false;
    for (size_t i = 0; i < VV_LOAD_MEASURES; i++) {
        worse = worse || m[i].worse;
    }
    if (cli_flag(a, "json")) {
        print_json(name, m);
    } else {
        print_table(name, m);
    }
    return worse ? EXIT_MISSED : EXIT_FINE;
}

static bool read_tolerance(const struct cli_args *a, double *ret)
{
    const char *text = cli_value(a, "tolerance");
    uint64_t ppm = 0;
    if (text != NULL && vv_parse_ppm(vv_str_from(text), &ppm) != VV_OK) {
        (void)cli_fail(EXIT_USAGE, "--tolerance takes a share, for example 5%%");
        return false;
    }
    *ret = (double)ppm / (double)VV_PPM;
    return true;
}

static void seed_from(const struct cli_args *a, struct vv_rng *rng)
{
    const char *text = cli_value(a, "seed");
    uint64_t seed = 1; /* the same files give the same answer */
    if (text != NULL && vv_str_to_u64(vv_str_from(text), &seed) != VV_OK) {
        seed = 1;
    }
    vv_rng_init(rng, seed);
}

static int compare_files(const struct cli_args *a, const char *const path[2], double tolerance)
{
    struct vv_load_result *r[2] = {NULL, NULL};
    struct vv_load_measured m[VV_LOAD_MEASURES];
    struct vv_rng rng;
    int code = EXIT_USAGE;
    seed_from(a, &rng);
    if (read_result(path[0], &r[0]) && read_result(path[1], &r[1])) {
        const enum vv_err err = vv_load_compare_results(r[0], r[1], tolerance, &rng, m);
        code = err == VV_OK ? conclude(a, path, m)
               : err == VV_EINVAL
                   ? cli_fail(EXIT_USAGE, "a run is too short: %d seconds are the least",
                              VV_LOAD_COMPARE_MIN + 2)
                   : cli_fail(EXIT_FAILED, "%s", vv_err_text(err));
    }
    vv_load_result_free(r[0]);
    vv_load_result_free(r[1]);
    return code;
}

/* ---- interleaved ---- */

struct side {
    char name[64];
    const char *url;
    struct cli_load setup;
    struct vv_load_result *round[ROUNDS_MAX];
};

static bool read_side(const char *text, struct side *s)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof s->name) {
        (void)cli_fail(EXIT_USAGE, "--run takes NAME=URL, not \"%s\"", text);
        return false;
    }
    (void)snprintf(s->name, sizeof s->name, "%.*s", (int)(equals - text), text);
    s->url = equals + 1;
    return true;
}

/* The value of --run may be followed by the other as a word: --run A=URL B=URL. */
static bool read_sides(const struct cli_args *a, struct side side[2])
{
    const char *list[CLI_OPTIONS_MAX + CLI_WORDS_MAX];
    size_t n = cli_values(a, "run", list, CLI_OPTIONS_MAX);
    for (size_t i = 1; i < a->words_count; i++) {
        list[n++] = a->word[i];
    }
    if (n != 2) {
        (void)cli_fail(EXIT_USAGE, "give two: --run A=URL --run B=URL");
        return false;
    }
    return read_side(list[0], &side[0]) && read_side(list[1], &side[1]);
}

static int run_rounds(const struct cli_args *a, struct side side[2], size_t rounds)
{
    for (size_t i = 0; i < 2 * rounds; i++) {
        const size_t which = (i % 4 == 1 || i % 4 == 2) ? 1 : 0; /* A B B A A B B A */
        struct side *s = &side[which];
        struct vv_load_result *r = cli_load_run(a, &s->setup, false);
        if (r == NULL) {
            return EXIT_FAILED;
        }
        s->round[i / 2] = r;
        if (*cli_load_stop() != 0) {
            return cli_fail(EXIT_INTERRUPTED, "interrupted");
        }
        if (r->answers == 0) {
            return cli_fail(EXIT_FAILED, "%s: nothing answered", s->url);
        }
        if (r->invalid != NULL) {
            return cli_fail(EXIT_FAILED, "%s: %s", s->name, r->invalid);
        }
        if (!cli_flag(a, "quiet")) {
            (void)fprintf(stderr, "round %zu of %zu, %s: p50 %.3g ms, p95 %.3g ms\n", i / 2 + 1,
                          rounds, s->name, (double)vv_load_hist_quantile(r->latency, 0.5) / 1e6,
                          (double)vv_load_hist_quantile(r->latency, 0.95) / 1e6);
        }
    }
    return EXIT_FINE;
}

static int compare_runs(const struct cli_args *a, double tolerance)
{
    static struct side side[2];
    const char *const name[2] = {side[0].name, side[1].name};
    struct vv_load_measured m[VV_LOAD_MEASURES];
    uint64_t round_ns = ROUND_NS, rounds = ROUNDS;
    struct vv_rng rng;
    const char *text = cli_value(a, "rounds");
    if (text != NULL && (vv_str_to_u64(vv_str_from(text), &rounds) != VV_OK ||
                         rounds < VV_LOAD_COMPARE_MIN || rounds > ROUNDS_MAX)) {
        return cli_fail(EXIT_USAGE, "--rounds takes a number from %d to %d", VV_LOAD_COMPARE_MIN,
                        ROUNDS_MAX);
    }
    if (!cli_load_duration(a, "step", &round_ns) || !read_sides(a, side)) {
        return EXIT_USAGE;
    }
    int code = cli_load_setup(a, side[0].url, NULL, 0.0, round_ns, &side[0].setup);
    if (code == EXIT_FINE) {
        code = cli_load_setup(a, side[1].url, NULL, 0.0, round_ns, &side[1].setup);
    }
    if (code == EXIT_FINE) {
        cli_load_catch_signals();
        code = run_rounds(a, side, rounds);
    }
    if (code == EXIT_FINE) {
        seed_from(a, &rng);
        const enum vv_err err =
            vv_load_compare_rounds(side[0].round, side[1].round, rounds, tolerance, &rng, m);
        code = err == VV_OK ? conclude(a, name, m) : cli_fail(EXIT_FAILED, "%s", vv_err_text(err));
    }
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < ROUNDS_MAX; i++) {
            vv_load_result_free(side[k].round[i]);
        }
        cli_load_setup_free(&side[k].setup);
    }
    return code;
}

int cli_load_compare(const struct cli_args *a)
{
    double tolerance = 0.0;
    if (!read_tolerance(a, &tolerance)) {
        return EXIT_USAGE;
    }
    if (cli_value(a, "run") != NULL) {
        return compare_runs(a, tolerance);
    }
    if (a->words_count != 3) {
        return cli_fail(EXIT_USAGE, "give two reports: vivace load compare A.json B.json");
    }
    const char *const path[2] = {cli_word(a, 1), cli_word(a, 2)};
    return compare_files(a, path, tolerance);
}
