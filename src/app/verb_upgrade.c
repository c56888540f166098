/* src/app/verb_upgrade.c - `vivace upgrade`: asks, then watches until the new generation serves. */
#include "app/socket_path.h"
#include "app/target.h"
#include "os/clock.h"

#include <poll.h>

const struct cli_option options_upgrade[] = {
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_upgrade[] = "vivace upgrade shop.yaml";

#define WAIT_NS (60 * VV_SEC)
#define POLL_MS 100

/* The status, or NULL while the two generations change places. */
static json_t *status_of(const char *socket)
{
    struct client_answer answer = {0};
    if (client_call(socket, "GET", "/api/v1/status", VV_STR(""), &answer) != VV_OK) {
        return NULL;
    }
    json_t *o = json_loadb(vv_sb_str(&answer.body).p, answer.body.n, 0, NULL);
    vv_sb_fini(&answer.body);
    return o;
}

static int wait_for_it(const struct cli_args *args, const char *socket, double generation)
{
    const uint64_t until_ns = vv_clock_now() + WAIT_NS;
    while (vv_clock_now() < until_ns) {
        (void)poll(NULL, 0, POLL_MS);
        json_t *o = status_of(socket);
        const char *failed = json_text(json_object_get(o, "upgrade"), "failed");
        if (failed[0] != '\0') {
            const int code = cli_fail(EXIT_FAILED, "%s; nothing changed", failed);
            json_decref(o);
            return code;
        }
        if (json_num(o, "generation") > generation) {
            if (cli_flag(args, "json")) {
                cli_print_json(o);
            } else {
                (void)printf("upgraded to %s (%s), worker %d\n", json_text(o, "version"),
                             json_text(o, "revision"), (int)json_num(o, "worker_pid"));
            }
            json_decref(o);
            return EXIT_FINE;
        }
        json_decref(o);
    }
    return cli_fail(EXIT_FAILED, "the new generation is not there after a minute; see the log");
}

int verb_upgrade(const struct cli_args *args)
{
    char socket[VV_SOCKET_PATH + 8];
    struct client_answer answer = {0};
    if (!client_find(args, cli_word(args, 0), socket, sizeof socket)) {
        return EXIT_FAILED;
    }
    json_t *before = status_of(socket);
    const double generation = json_num(before, "generation");
    json_decref(before);
    const enum vv_err err = client_call(socket, "POST", "/api/v1/upgrade", VV_STR(""), &answer);
    vv_sb_fini(&answer.body);
    if (err != VV_OK || answer.status != 202) {
        return cli_fail(EXIT_FAILED, "the gateway does not take the order: %s",
                        err != VV_OK ? vv_err_text(err) : "see its log");
    }
    return wait_for_it(args, socket, generation);
}
