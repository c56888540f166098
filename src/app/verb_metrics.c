/* src/app/verb_metrics.c - `vivace metrics`: the scrape, on the terminal, or the page about all of it. */
#include "app/socket_path.h"
#include "app/target.h"
#include "observe/metrics.h"

const struct cli_option options_metrics[] = {
    {'r', "reference", NULL, "print the page that explains every metric"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_metrics[] = "vivace metrics | grep http_requests_total";

static int print_reference(void)
{
    struct vv_sb out = VV_SB_INIT;
    vv_metrics_reference(&out);
    const bool failed = out.failed;
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    return failed ? EXIT_FAILED : EXIT_FINE;
}

int verb_metrics(const struct cli_args *args)
{
    if (cli_flag(args, "reference")) {
        return print_reference();
    }
    char socket[VV_SOCKET_PATH + 8];
    struct client_answer answer = {0};
    const char *target = cli_flag(args, "json") ? "/api/v1/metrics" : "/metrics";
    if (!client_find(args, cli_word(args, 0), socket, sizeof socket)) {
        return EXIT_FAILED;
    }
    const enum vv_err err = client_call(socket, "GET", target, VV_STR(""), &answer);
    if (err != VV_OK) {
        return cli_fail(EXIT_FAILED, "the gateway does not answer: %s", vv_err_text(err));
    }
    cli_print(vv_sb_str(&answer.body));
    vv_sb_fini(&answer.body);
    return answer.status == 200 ? EXIT_FINE : EXIT_FAILED;
}
