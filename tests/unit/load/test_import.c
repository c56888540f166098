/* tests/unit/load/test_import.c - what `vivace import` writes reads back as a plan. */
#include "load/import.h"
#include "load_test.h"

struct imported {
    struct vv_sb out;
    struct vv_load_notes notes;
};

static bool has_note(const struct imported *im, size_t line, const char *part)
{
    for (size_t i = 0; i < im->notes.count; i++) {
        if (im->notes.note[i].line == line && strstr(im->notes.note[i].text, part) != NULL) {
            return true;
        }
    }
    return false;
}

static void forget(struct imported *im)
{
    vv_sb_fini(&im->out);
    vv_load_notes_free(&im->notes);
}

VV_TEST(an_access_log_becomes_its_arrivals_in_its_order)
{
    static const char log[] =
        "1.2.3.4 - - [21/Nov/2026:10:00:00 +0100] \"GET /a?x=1 HTTP/1.1\" 200 5 \"-\" \"-\"\n"
        "1.2.3.4 - - [21/Nov/2026:10:00:00 +0100] \"GET /b HTTP/1.1\" 200 5 \"-\" \"-\"\n"
        "what is this\n"
        "1.2.3.4 - - [21/Nov/2026:10:00:01 +0100] \"POST /c HTTP/1.1\" 200 5 \"-\" \"-\"\n"
        "{\"ts\":\"2026-11-21T09:00:02.250Z\",\"method\":\"GET\",\"path\":\"/"
        "a\",\"query\":\"x=1\"}\n";
    struct imported im = {.out = VV_SB_INIT};
    VV_CHECK_INT(vv_load_import_access_log(vv_str_from(log), &im.out, &im.notes), VV_OK);
    VV_CHECK(has_note(&im, 3, "not understood"));
    VV_CHECK(has_note(&im, 0, "1 requests are left out"));
    VV_CHECK(has_note(&im, 0, "whole seconds"));
    struct read r =
        read_source(&(struct vv_load_source){.path = "t", .text = im.out.p, .target = "http://h"});
    VV_CHECK_STR(r.problems, "");
    struct vv_load_view v;
    vv_load_plan_view(r.plan, &v);
    VV_CHECK_INT(v.phase_count, 1);
    VV_CHECK_INT(v.phase[0].count,
                 3); /* two of one second, half a second apart, and 2.25 s later */
    VV_CHECK_INT(v.phase[0].recorded[0], 0);
    VV_CHECK_INT(v.phase[0].recorded[1], 500 * VV_MS);
    VV_CHECK_INT(v.phase[0].recorded[2], 2250 * VV_MS);
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    static const char *const want[] = {"GET /a?x=1 ", "GET /b ", "GET /a?x=1 "};
    struct vv_load_user *u = vv_load_user_new(r.plan, &rng);
    for (size_t i = 0; i < 3; i++) {
        VV_CHECK(strncmp(next_text(u), want[i], strlen(want[i])) == 0);
        vv_load_user_reset(u, &rng);
    }
    vv_load_user_free(u);
    vv_load_plan_free(r.plan);
    free(r.problems);
    forget(&im);
}

VV_TEST(a_har_becomes_steps_with_the_pauses_of_the_person)
{
    static const char har[] =
        "{\"log\": {\"entries\": ["
        "{\"startedDateTime\": \"2026-11-21T10:00:00.000Z\", \"time\": 100, \"request\": "
        "{\"method\":"
        " \"GET\", \"url\": \"http://h:81/\", \"headers\": [{\"name\": \"Host\", \"value\": "
        "\"h:81\"},"
        " {\"name\": \"Accept\", \"value\": \"text/html\"}, {\"name\": \"Authorization\", "
        "\"value\":"
        " \"Bearer secret\"}]}},"
        "{\"startedDateTime\": \"2026-11-21T11:00:01.100+01:00\", \"time\": 5, \"request\": "
        "{\"method\":"
        " \"POST\", \"url\": \"http://h:81/x\", \"headers\": [], \"postData\": {\"text\": "
        "\"{1}\"}}},"
        "{\"startedDateTime\": \"2026-11-21T10:00:01.110Z\", \"request\": {\"method\": \"GET\","
        " \"url\": \"blob:x\"}}]}}";
    struct imported im = {.out = VV_SB_INIT};
    VV_CHECK_INT(vv_load_import_har(vv_str_from(har), &im.out, &im.notes), VV_OK);
    VV_CHECK_STR(im.out.p, "target: \"http://h:81\"\n"
                           "tests:\n"
                           "  smoke: {users: 5, for: 30s}\n"
                           "scenarios:\n"
                           "  recorded:\n"
                           "    steps:\n"
                           "      - {get: \"/\", headers: {\"Accept\": \"text/html\", "
                           "\"Authorization\": \"{{ $env.AUTHORIZATION }}\"}}\n"
                           "      - {think: 1000ms}\n" /* from 0.1 s to 1.1 s */
                           "      - {post: \"/x\", body: \"{1}\"}\n");
    VV_CHECK(has_note(&im, 0, "entry 1 has a secret"));
    VV_CHECK(has_note(&im, 0, "entry 3 is left out"));
    struct read r = read_source(&(struct vv_load_source){.path = "t", .text = im.out.p});
    VV_CHECK(r.plan != NULL);
    vv_load_plan_free(r.plan);
    free(r.problems);
    forget(&im);
    VV_CHECK_INT(vv_load_import_har(VV_STR("{\"log\": {}}"), &im.out, &im.notes), VV_ESYNTAX);
    VV_CHECK(has_note(&im, 0, "there is no log.entries"));
    forget(&im);
}

VV_TEST(an_artillery_file_becomes_the_short_form_with_the_same_requests)
{
    static const char text[] = "config:\n"
                               "  target: http://h\n"
                               "  phases: [{duration: 5, arrivalRate: 2}]\n"
                               "  processor: ./x.js\n"
                               "  plugins: {ensure: {p95: 100}}\n"
                               "scenarios:\n"
                               "  - name: A b\n"
                               "    weight: 3\n"
                               "    flow:\n"
                               "      - loop:\n"
                               "          - post: {url: '/{{ $loopCount }}', json: {a: [1, yes]}}\n"
                               "          - think: 2\n"
                               "        count: 2\n"
                               "      - get: {url: /z, beforeRequest: f}\n"
                               "      - function: f\n";
    struct imported im = {.out = VV_SB_INIT};
    VV_CHECK_INT(vv_load_import_artillery(text, &im.out, &im.notes), VV_OK);
    VV_CHECK_STR(im.out.p,
                 "target: \"http://h\"\n"
                 "phases: [{\"duration\":5,\"arrivalRate\":2}]\n"
                 "ensure: {\"p95\":100}\n"
                 "scenarios:\n"
                 "  \"A b\":\n"
                 "    weight: 3\n"
                 "    steps:\n"
                 "      - loop:\n"
                 "          - {post: \"/{{ $loopCount }}\", \"json\": {\"a\":[1,\"yes\"]}}\n"
                 "          - {\"think\":2}\n"
                 "        count: 2\n"
                 "      - {get: \"/z\"}\n");
    VV_CHECK(has_note(&im, 4, "processor"));
    VV_CHECK(has_note(&im, 14, "beforeRequest"));
    VV_CHECK(has_note(&im, 15, "this step"));
    struct vv_load_plan *plan = plan_of(im.out.p);
    struct vv_load_view v;
    vv_load_plan_view(plan, &v);
    VV_CHECK_INT(v.gate_count, 1);
    VV_CHECK(v.phase[0].rate == 2);
    vv_load_plan_free(plan);
    forget(&im);
}
