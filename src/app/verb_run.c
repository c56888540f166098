/* src/app/verb_run.c - `vivace run`: check everything, then become the supervisor. */
#include "app/handover.h"
#include "app/socket_path.h"
#include "app/supervisor.h"
#include "app/target.h"
#include "observe/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* A socket somewhere else is also reached by the name derived from the file, so that commands find the
 * gateway while the file, which says where the socket is, cannot be read. */
static bool link_socket(const struct vv_run *run, char *link, size_t link_bytes)
{
    struct stat st;
    if (vv_socket_path_make(run->path, link, link_bytes) != VV_OK ||
        strcmp(link, run->socket) == 0) {
        return false;
    }
    if (lstat(link, &st) == 0 && (S_ISLNK(st.st_mode) || S_ISSOCK(st.st_mode))) {
        (void)unlink(link);
    }
    return symlink(run->socket, link) == 0;
}

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
    char link[VV_SOCKET_PATH + 8];
    const bool linked = link_socket(run, link, sizeof link);
    const int code = vv_supervise(run, settings);
    if (linked) {
        (void)unlink(link);
    }
    return code;
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
