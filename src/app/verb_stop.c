/* src/app/verb_stop.c - `vivace stop`: returns when the process has gone, so scripts need not wait. */
#include "app/socket_path.h"
#include "app/target.h"
#include "os/clock.h"
#include "os/file.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option options_stop[] = {
    {0, "no-wait", NULL, "return at once, do not wait for the end"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_stop[] = "vivace stop shop.yaml";

#define WAIT_NS (10 * VV_MINUTE)
#define POLL_MS 50
#define STAT_BYTES_MAX 4096

/* A zombie has ended too; that its parent has not looked yet is not our wait. */
static bool has_gone(int pid)
{
    char path[64], *text = NULL;
    size_t bytes = 0;
    if (pid <= 0 || kill(pid, 0) != 0) {
        return true;
    }
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (vv_file_read(path, STAT_BYTES_MAX, &text, &bytes) != VV_OK) {
        return false;
    }
    const char *end = memrchr(text, ')', bytes); /* the name before it may hold anything */
    const bool zombie = end != NULL && end + 2 < text + bytes && end[2] == 'Z';
    free(text);
    return zombie;
}

int verb_stop(const struct cli_args *args)
{
    char socket[VV_SOCKET_PATH + 8];
    struct client_answer answer = {0};
    if (!client_find(args, cli_word(args, 0), socket, sizeof socket)) {
        return EXIT_FAILED;
    }
    const enum vv_err err = client_call(socket, "POST", "/api/v1/stop", VV_STR(""), &answer);
    json_t *o = err == VV_OK ? json_loadb(vv_sb_str(&answer.body).p, answer.body.n, 0, NULL) : NULL;
    const int pid = (int)json_num(o, "pid");
    vv_sb_fini(&answer.body);
    json_decref(o);
    if (err != VV_OK || answer.status != 202) {
        return cli_fail(EXIT_FAILED, "the gateway does not take the order: %s",
                        err != VV_OK ? vv_err_text(err) : "see its log");
    }
    const uint64_t until_ns = vv_clock_now() + (cli_flag(args, "no-wait") ? 0 : WAIT_NS);
    bool gone = false;
    while (!gone && vv_clock_now() < until_ns) {
        (void)poll(NULL, 0, POLL_MS);
        gone = has_gone(pid);
    }
    if (cli_flag(args, "json")) {
        (void)printf("{\"ok\": true, \"stopped\": %s}\n", gone ? "true" : "false");
    } else {
        (void)puts(gone ? "stopped" : "stopping");
    }
    return EXIT_FINE;
}
