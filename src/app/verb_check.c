/* src/app/verb_check.c - `vivace check`: everything `run` checks, without starting. */
#include "app/handover.h"
#include "app/target.h"
#include "gateway/access.h"

const struct cli_option options_check[] = {
    {'p', "profile", "NAME", "use this profile of the file"},
    {'e', "env-file", "FILE", "take ${NAME} variables from this file first"},
    {0, "strict", NULL, "warnings give exit code 1"},
    {'q', "quiet", NULL, "say nothing when all is well"},
    CLI_JSON_OPTION,
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_check[] = "vivace check --strict shop.yaml";

/* Files of keys, users and public keys stop a start as well. Returns an exit code. */
static int try_access(const struct vv_settings *s)
{
    struct vv_metrics *metrics = NULL;
    struct vv_access *access = NULL;
    char why[256] = "";
    enum vv_err err = vv_metrics_new(&metrics);
    if (err == VV_OK) {
        err = vv_access_new(metrics, &access);
    }
    if (err == VV_OK) {
        err = vv_access_prepare(access, &s->access, why);
    }
    vv_access_free(access);
    vv_metrics_free(metrics);
    return err == VV_OK ? EXIT_FINE
                        : cli_fail(EXIT_USAGE, "%s", why[0] != '\0' ? why : vv_err_text(err));
}

int verb_check(const struct cli_args *args)
{
    struct vv_run run = {0};
    struct vv_settings *s = NULL;
    const enum vv_err err = target_file(args, cli_word(args, 0), &run);
    if (err != VV_OK) {
        return cli_fail(EXIT_FAILED, "%s", vv_err_text(err));
    }
    int code = target_load(args, &run, "Nothing was started.", &s);
    if (s != NULL && try_access(s) != EXIT_FINE) {
        vv_settings_free(s);
        s = NULL;
        code = EXIT_USAGE;
    }
    if (s != NULL && !cli_flag(args, "json") && !cli_flag(args, "quiet")) {
        (void)printf("%s is fine: %zu listener%s, %zu service%s, %zu route%s\n", run.path,
                     s->listen->count, s->listen->count == 1 ? "" : "s",
                     s->services != NULL ? s->services->count : 0,
                     s->services != NULL && s->services->count == 1 ? "" : "s",
                     s->routes != NULL ? s->routes->count : 0,
                     s->routes != NULL && s->routes->count == 1 ? "" : "s");
    }
    vv_settings_free(s);
    return vv_handover_check_code(code);
}
