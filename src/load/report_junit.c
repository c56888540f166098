/* src/load/report_junit.c - one test case for each gate, and one each for "the generator kept up" and
 * "something succeeded", because those decide the exit code too. */
#include "load/report_int.h"

struct suite {
    struct vv_sb body;
    unsigned tests, failures, skipped;
    double seconds;
};

static void open_case(struct suite *s, const char *name)
{
    vv_sb_adds(&s->body, "    <testcase classname=\"vivace.load\" name=\"");
    vv_sb_add_markup(&s->body, name);
    vv_sb_addf(&s->body, "\" time=\"%.3f\"", s->seconds);
    s->tests++;
}

static void fail(struct suite *s, const char *type, const char *message, const char *text)
{
    vv_sb_addf(&s->body, ">\n      <failure type=\"%s\" message=\"", type);
    vv_sb_add_markup(&s->body, message);
    vv_sb_adds(&s->body, "\">");
    vv_sb_add_markup(&s->body, text);
    vv_sb_adds(&s->body, "</failure>\n    </testcase>\n");
    s->failures++;
}

static void gate(struct suite *s, const struct vv_load_verdict *v)
{
    struct vv_load_gate_line line;
    struct vv_sb text = VV_SB_INIT;
    vv_load_gate_line(v, &line);
    open_case(s, v->gate->expression);
    vv_sb_addf(&text, "%s: wanted %s, measured %s", line.metric, line.target, line.measured);
    if (v->held) {
        vv_sb_adds(&s->body, "/>\n");
    } else if (v->gate->strict) {
        fail(s, v->known ? "gate" : "unknown-metric", vv_sb_str(&text).p,
             v->gate->at.file != NULL && v->gate->at.line > 0 ? v->gate->at.file : "");
    } else { /* reported, but it does not fail the run: JUnit's nearest word is "skipped" */
        vv_sb_adds(&s->body, ">\n      <skipped message=\"missed, not strict: ");
        vv_sb_add_markup(&s->body, vv_sb_str(&text).p);
        vv_sb_adds(&s->body, "\"/>\n    </testcase>\n");
        s->skipped++;
    }
    vv_sb_fini(&text);
}

void vv_load_report_junit(const struct vv_load_result *r, struct vv_load_judged j,
                          struct vv_sb *out)
{
    struct suite s = {.body = VV_SB_INIT, .seconds = (double)r->duration_ns / 1e9};
    open_case(&s, "something succeeded");
    if (r->answers > 0 && r->failed < r->requests) {
        vv_sb_adds(&s.body, "/>\n");
    } else {
        fail(&s, "no-success", "not one request succeeded", "");
    }
    open_case(&s, "the generator kept up");
    if (r->invalid == NULL) {
        vv_sb_adds(&s.body, "/>\n");
    } else {
        fail(&s, "invalid", r->invalid, "");
    }
    for (size_t i = 0; i < j.count; i++) {
        gate(&s, &j.verdict[i]);
    }
    vv_sb_adds(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    vv_sb_addf(out,
               "<testsuites name=\"vivace load\" tests=\"%u\" failures=\"%u\" skipped=\"%u\" "
               "time=\"%.3f\">\n  <testsuite name=\"",
               s.tests, s.failures, s.skipped, s.seconds);
    vv_sb_add_markup(out, r->view.target != NULL ? r->view.target : "load");
    vv_sb_addf(out, "\" tests=\"%u\" failures=\"%u\" skipped=\"%u\" errors=\"0\" time=\"%.3f\">\n",
               s.tests, s.failures, s.skipped, s.seconds);
    vv_sb_add(out, vv_sb_str(&s.body));
    vv_sb_adds(out, "  </testsuite>\n</testsuites>\n");
    vv_sb_fini(&s.body);
}
