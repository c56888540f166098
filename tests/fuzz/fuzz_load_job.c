/* tests/fuzz/fuzz_load_job.c - any text is a job or is refused; a job is written and read back the same,
 * and becomes a plan or problems. */
#include "load/agents.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 loses 4 KiB when a quoted text of many escapes ends in a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static const char *no_variable(void *user, const char *name)
{
    (void)user;
    (void)name;
    return NULL;
}

static void check_plan(struct vv_load_job *job)
{
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_load_plan *plan = NULL;
    VV_ASSERT(problems != NULL);
    job->source.no_files = true;
    job->source.env = no_variable;
    const enum vv_err err = vv_load_job_plan(job, problems, &plan);
    VV_ASSERT((err == VV_OK) == (vv_conf_problems_errors(problems) == 0));
    if (err == VV_OK) {
        vv_load_plan_free(plan);
    }
    vv_conf_problems_free(problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_load_job job, back;
    void *memory = NULL, *back_memory = NULL;
    if (vv_load_job_read((struct vv_str){(const char *)data, size}, &job, &memory) != VV_OK) {
        return 0;
    }
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    vv_load_job_write(&job, &one);
    VV_ASSERT(vv_load_job_read(vv_sb_str(&one), &back, &back_memory) == VV_OK);
    vv_load_job_write(&back, &two);
    VV_ASSERT(vv_str_eq(vv_sb_str(&one), vv_sb_str(&two)));
    check_plan(&job);
    vv_load_job_free(memory);
    vv_load_job_free(back_memory);
    vv_sb_fini(&one);
    vv_sb_fini(&two);
    return 0;
}
