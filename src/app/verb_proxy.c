/* src/app/verb_proxy.c - `vivace proxy 8080 http://127.0.0.1:3000`: the three-line file, without one. */
#include "app/handover.h"
#include "app/supervisor.h"
#include "app/target.h"
#include "observe/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct cli_option options_proxy[] = {
    {0, "admin", "ADDRESS", "admin listener, default 127.0.0.1:9180; \"none\" for none"},
    CLI_SOCKET_OPTION,
    {'q', "quiet", NULL, "no welcome text"},
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_proxy[] = "vivace proxy 8080 http://127.0.0.1:3000";

/* Double-quoted YAML; false when a byte could end the quotes. */
static bool quoted(struct vv_sb *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\' || *p == '$') {
            return false;
        }
    }
    vv_sb_addf(out, "\"%s\"", text);
    return true;
}

static bool write_config(const struct cli_args *args, struct vv_sb *out)
{
    const char *listen = cli_word(args, 0), *url = cli_word(args, 1);
    const char *admin = cli_value(args, "admin");
    const bool port = strspn(listen, "0123456789") == strlen(listen);
    bool fine = true;
    vv_sb_adds(out, "listen: ");
    if (port) {
        vv_sb_adds(out, listen);
    } else {
        vv_sb_adds(out, "{default: {address: ");
        fine = quoted(out, listen);
        vv_sb_adds(out, "}}");
    }
    if (admin != NULL) {
        vv_sb_adds(out, "\nadmin: ");
        fine = fine && quoted(out, admin);
    }
    vv_sb_adds(out, "\nroutes:\n  - to: ");
    fine = fine && quoted(out, url);
    vv_sb_addc(out, '\n');
    return fine && !out->failed;
}

int verb_proxy(const struct cli_args *args)
{
    struct vv_sb text = VV_SB_INIT;
    struct vv_settings *settings = NULL;
    static char key[128];
    static char *config; /* lives as long as the process: a reload reads it again */
    if (args->words_count != 2) {
        return cli_fail(EXIT_USAGE, "give a port and a URL: %s", example_proxy);
    }
    if (!write_config(args, &text)) {
        vv_sb_fini(&text);
        return cli_fail(EXIT_USAGE, "the port or the URL has bytes that do not belong there");
    }
    config = vv_sb_take(&text);
    (void)snprintf(key, sizeof key, "proxy-%s", cli_word(args, 0));
    struct vv_run run = {.path = "command line",
                         .text = config,
                         .argv = args->argv,
                         .exe = target_exe(),
                         .quiet = cli_flag(args, "quiet")};
    const int code = target_load(args, &run, "Nothing was started.", &settings);
    if (code != EXIT_FINE) {
        return code;
    }
    if (target_socket(args, settings, key, &run) != VV_OK) {
        vv_settings_free(settings);
        return cli_fail(EXIT_FAILED, "no place for the admin socket; give one: --socket PATH");
    }
    if (getenv(VV_HANDOVER_ENV) == NULL && client_alive(run.socket)) {
        vv_settings_free(settings);
        return cli_fail(EXIT_FAILED, "a gateway proxies this port already");
    }
    vv_log_setup((enum vv_log_level)settings->log_level, (enum vv_log_format)settings->log_format,
                 STDERR_FILENO);
    return vv_supervise(&run, settings);
}
