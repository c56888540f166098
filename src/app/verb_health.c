/* src/app/verb_health.c - `vivace health`: for HEALTHCHECK lines and scripts; can wait for readiness. */
#include "app/socket_path.h"
#include "app/target.h"
#include "os/clock.h"

#include <poll.h>
#include <stdlib.h>

const struct cli_option options_health[] = {
    {'w', "wait", "SECONDS", "wait at most so long until it is ready"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_health[] = "vivace health --wait 10 shop.yaml";

#define POLL_MS 50
#define WAIT_MAX_S 86400

static bool ready(const char *socket)
{
    struct client_answer answer = {0};
    if (client_call(socket, "GET", "/readyz", VV_STR(""), &answer) != VV_OK) {
        return false;
    }
    vv_sb_fini(&answer.body);
    return answer.status == 200;
}

int verb_health(const struct cli_args *args)
{
    char socket[VV_SOCKET_PATH + 8];
    const char *wait = cli_value(args, "wait");
    uint64_t seconds = 0;
    bool ok = false;
    if (wait != NULL &&
        (vv_str_to_u64(vv_str_from(wait), &seconds) != VV_OK || seconds > WAIT_MAX_S)) {
        return cli_fail(EXIT_USAGE, "--wait takes a number of seconds");
    }
    const uint64_t until_ns = vv_clock_now() + seconds * VV_SEC;
    for (;;) {
        const bool last = vv_clock_now() >= until_ns;
        const bool found =
            last ? client_find(args, cli_word(args, 0), socket, sizeof socket)
                 : client_find_quietly(args, cli_word(args, 0), socket, sizeof socket);
        ok = found && ready(socket);
        if (ok || last) {
            break;
        }
        (void)poll(NULL, 0, POLL_MS);
    }
    if (cli_flag(args, "json")) {
        (void)printf("{\"ready\": %s}\n", ok ? "true" : "false");
    } else if (ok) {
        (void)puts("ready");
    } else {
        (void)puts("not ready");
    }
    return ok ? EXIT_FINE : EXIT_FAILED;
}
