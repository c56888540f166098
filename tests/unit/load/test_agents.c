/* tests/unit/load/test_agents.c - a command line as an agent reads it; the wire is tested end to end in
 * tests/integration/test_load_cli.py. */
#include "load/agents.h"
#include "vv_test.h"

static void check_again(const struct vv_load_job *job)
{
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    struct vv_load_job back;
    void *memory = NULL;
    vv_load_job_write(job, &one);
    VV_CHECK_INT(vv_load_job_read(vv_sb_str(&one), &back, &memory), VV_OK);
    vv_load_job_write(&back, &two);
    VV_CHECK_STR(two.p, one.p);
    VV_CHECK_INT(back.seed, job->seed);
    VV_CHECK_INT(back.threads, job->threads);
    vv_load_job_free(memory);
    vv_sb_fini(&one);
    vv_sb_fini(&two);
}

VV_TEST(a_line_comes_back_as_it_was)
{
    static const char *const headers[] = {"x-a: 1", "x-b: \"2\""};
    const struct vv_load_job job = {
        .is_line = true,
        .threads = 2,
        .allow_late = true,
        .seed = UINT64_MAX, /* more than JSON's 63 bits */
        .line = {.url = "http://127.0.0.1/",
                 .method = "PUT",
                 .body = "{\n}",
                 .headers = headers,
                 .header_count = 2,
                 .timeout_ns = 3 * VV_SEC,
                 .expect_status = 201,
                 .tls_insecure = true,
                 .tls_ca = "/tmp/ca.pem",
                 .phase = {.duration_ns = 9 * VV_SEC,
                           .rate = 0.1,
                           .ramp_to = -1.0,
                           .arrival = VV_LOAD_POISSON}},
    };
    check_again(&job);
}

VV_TEST(a_file_comes_back_as_it_was)
{
    const struct vv_load_job job = {.threads = 1,
                                    .seed = 7,
                                    .source = {.path = "/tmp/a.yml",
                                               .text = "config: {}\n",
                                               .environment = "staging",
                                               .overrides = "{\"http\":{}}",
                                               .strict = true}};
    check_again(&job);
}

VV_TEST(what_is_no_job_is_refused)
{
    static const char *const wrong[] = {"", "[]", "{}", "{\"is_line\":true,\"seed\":\"1\"}",
                                        "{\"is_line\":false,\"seed\":\"1\"}",
                                        "{\"is_line\":true,\"url\":\"http://x/\",\"seed\":\"-1\"}",
                                        "{\"is_line\":true,\"url\":\"http://x/\",\"seed\":1}",
                                        /* An int of this is negative, and came back as 2^64 - n. */
                                        "{\"is_line\":true,\"url\":\"http://x/\",\"seed\":\"1\","
                                        "\"expect_status\":201000000000}",
                                        "{\"is_line\":false,\"text\":\"a\",\"seed\":\"1\","
                                        "\"threads\":4294967297}"};
    for (size_t i = 0; i < VV_COUNT(wrong); i++) {
        struct vv_load_job job;
        void *memory = NULL;
        VV_CHECK_INT(vv_load_job_read(vv_str_from(wrong[i]), &job, &memory), VV_ESYNTAX);
        VV_CHECK(memory == NULL);
    }
}
