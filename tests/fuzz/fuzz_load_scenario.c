/* tests/fuzz/fuzz_load_scenario.c - any text is a plan or is refused with reasons, and users of a plan
 * walk through it whatever they are answered; imports take any text too. Nothing is read but the text. */
#include "load/import.h"
#include "load/program.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 loses 4 KiB when a quoted text of many escapes ends in a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static const char *a_variable(void *user, const char *name)
{
    (void)user;
    return name[0] == 'A' ? "a\r\n{{ b }}" : NULL;
}

/* Answers with what the fuzzer wrote itself: it is JSON often enough. */
static void answer(struct vv_load_user *u, struct vv_str text, int turn,
                   struct vv_load_tally *tally)
{
    static const struct vv_h1_limits limits = {8192, 32768, 100};
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-type: application/json\r\n\r\n",
        "HTTP/1.1 303 X\r\nlocation: ../x?y\r\nset-cookie: a=; Max-Age=0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"};
    struct vv_h1_head head;
    vv_h1_head_init(&head);
    VV_ASSERT(vv_h1_parse_answer(&head, vv_str_from(heads[turn % 3]), VV_METHOD_GET, &limits) ==
              VV_OK);
    (void)vv_load_user_answer(u, &head, turn % 2 == 0 ? VV_STR("{\"a\":[1,{\"b\":\"c\"}]}") : text,
                              VV_MS, tally);
}

static void walk(const struct vv_load_plan *plan, struct vv_str text)
{
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    struct vv_load_user *u = vv_load_user_new(plan, &rng);
    struct vv_load_view view;
    vv_load_plan_view(plan, &view);
    struct vv_load_tally *tally = calloc(view.expect_count + 1, sizeof(*tally));
    VV_ASSERT(u != NULL && tally != NULL);
    for (int i = 0; i < 50; i++) {
        struct vv_load_request q = {0};
        uint64_t think = 0;
        const enum vv_load_next next = vv_load_user_next(u, &q, &think);
        if (next == VV_LOAD_REQUEST) {
            VV_ASSERT(q.host.n > 0 && q.port > 0 && q.bytes.n > 0);
            answer(u, text, i, tally);
        } else if (next != VV_LOAD_THINK) {
            vv_load_user_reset(u, &rng);
        }
    }
    vv_load_user_free(u);
    free(tally);
}

static void import(const char *text, size_t size, int which)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_load_notes notes = {0};
    const struct vv_str s = {text, size};
    const enum vv_err err = which == 0   ? vv_load_import_artillery(text, &out, &notes)
                            : which == 1 ? vv_load_import_har(s, &out, &notes)
                                         : vv_load_import_access_log(s, &out, &notes);
    VV_ASSERT(err == VV_OK || err == VV_ESYNTAX);
    vv_sb_fini(&out);
    vv_load_notes_free(&notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536) {
        return 0;
    }
    char *text = malloc(size + 1);
    VV_ASSERT(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    const struct vv_load_source source = {
        .path = "fuzz.yml", .text = text, .env = a_variable, .no_files = true};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_load_plan *plan = NULL;
    struct vv_sb sb = VV_SB_INIT;
    VV_ASSERT(problems != NULL);
    const enum vv_err err = vv_load_plan_read(&source, problems, &plan);
    VV_ASSERT((err == VV_OK) == (vv_conf_problems_errors(problems) == 0));
    vv_conf_problems_print(problems, true, "Nothing was sent.", &sb);
    vv_sb_fini(&sb);
    if (err == VV_OK) {
        walk(plan, (struct vv_str){text, size});
        vv_load_plan_free(plan);
    }
    vv_conf_problems_free(problems);
    for (int which = 0; which < 3; which++) {
        import(text, size, which);
    }
    free(text);
    return 0;
}
