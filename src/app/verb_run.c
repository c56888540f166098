/* src/app/verb_run.c - `vivace run`: check everything, then become the supervisor. */
#include "app/handover.h"
#include "app/supervisor.h"
#include "app/target.h"
#include "observe/log.h"

#include <stdlib.h>
#include <unistd.h>

const struct cli_option options_run[] = {
    {'p', "profile", "NAME", "use this profile of the file"},
    {'e', "env-file", "FILE", "take ${NAME} variables from this file first"},
    CLI_SOCKET_OPTION,
    {'q', "quiet", NULL, "no welcome text"},
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_run[] = "vivace run --profile development shop.yaml";

/* After an upgrade the worker of the former image carries on whatever happens here. */
static int run_it(const struct cli_args *args, struct vv_run *run, struct vv_settings *settings)
{
    const bool adopted = getenv(VV_HANDOVER_ENV) != NULL;
    const enum vv_err err = target_socket(args, settings, run->path, run);
    if (err != VV_OK) {
        vv_settings_free(settings);
        return cli_fail(EXIT_FAILED, "no place for the admin socket (%s); give one: --socket PATH",
                        vv_err_text(err));
    }
    if (!adopted && client_alive(run->socket)) {
        vv_settings_free(settings);
        return cli_fail(EXIT_FAILED, "a gateway runs with this file already (see: vivace status)");
    }
    run->exe = target_exe();
    run->quiet = cli_flag(args, "quiet");
    if (settings != NULL) {
        vv_log_setup((enum vv_log_level)settings->log_level,
                     (enum vv_log_format)settings->log_format, STDERR_FILENO);
    }
    return vv_supervise(run, settings);
}

int verb_run(const struct cli_args *args)
{
    struct vv_run run = {0};
    struct vv_settings *settings = NULL;
    const enum vv_err err = target_file(args, cli_word(args, 0), &run);
    if (err != VV_OK) {
        return cli_fail(EXIT_FAILED, "%s", vv_err_text(err));
    }
    const int code = target_load(args, &run, "Nothing was started.", &settings);
    if (code != EXIT_FINE && getenv(VV_HANDOVER_ENV) == NULL) {
        return code;
    }
    return run_it(args, &run, code == EXIT_FINE ? settings : NULL);
}
