/* src/app/verb_metrics.c - `vivace metrics`: the scrape, on the terminal. */
#include "app/socket_path.h"
#include "app/target.h"

const struct cli_option options_metrics[] = {
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_metrics[] = "vivace metrics | grep http_requests_total";

int verb_metrics(const struct cli_args *args)
{
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
