/* src/app/verb_config.c - `vivace config`: what a file means, and what the language is. */
#include "app/accept.h"
#include "app/diff.h"
#include "app/target.h"
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option options_config[] = {
    {'l', "long", NULL, "show: every value in its long form, defaults too"},
    {'o', "origin", NULL, "show: where each value comes from"},
    {'r', "running", NULL, "show: what the running gateway uses, not the file"},
    {'p', "profile", "NAME", "use this profile of the file"},
    {'e', "env-file", "FILE", "take ${NAME} variables from this file first"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_config[] = "vivace config show --long --origin shop.yaml";

#define WHATS "show, diff, accept, schema, reference or sample"

static unsigned show_flags(const struct cli_args *args)
{
    unsigned flags = 0;
    flags |= cli_flag(args, "long") ? VV_CONF_SHOW_LONG : 0;
    flags |= cli_flag(args, "origin") ? VV_CONF_SHOW_ORIGIN : 0;
    flags |= cli_flag(args, "json") ? VV_CONF_SHOW_JSON : 0;
    return flags;
}

static int show_running(const struct cli_args *args, const char *file)
{
    char socket[256], target[96];
    struct client_answer answer = {0};
    if (!client_find(args, file, socket, sizeof socket)) {
        return EXIT_FAILED;
    }
    (void)snprintf(target, sizeof target, "/api/v1/config?form=%s&origin=%s&json=%s",
                   cli_flag(args, "long") ? "long" : "short",
                   cli_flag(args, "origin") ? "true" : "false",
                   cli_flag(args, "json") ? "true" : "false");
    const enum vv_err err = client_call(socket, "GET", target, VV_STR(""), &answer);
    if (err != VV_OK) {
        return cli_fail(EXIT_FAILED, "the gateway does not answer: %s", vv_err_text(err));
    }
    cli_print(vv_sb_str(&answer.body));
    vv_sb_fini(&answer.body);
    return answer.status == 200 ? EXIT_FINE : EXIT_FAILED;
}

static int show(const struct cli_args *args, const char *file)
{
    struct vv_run run = {0};
    struct vv_settings *s = NULL;
    struct vv_sb out = VV_SB_INIT;
    if (cli_flag(args, "running")) {
        return show_running(args, file);
    }
    if (target_file(args, file, &run) != VV_OK) {
        return cli_fail(EXIT_FAILED, "no such file");
    }
    struct vv_conf_problems *problems = vv_conf_problems_new();
    if (problems == NULL || vv_run_problems(&run, problems, &s) != VV_OK) {
        if (problems != NULL) {
            vv_conf_problems_print(problems, cli_color(args, stderr), "Nothing was shown.", &out);
        }
        (void)fputs(vv_sb_str(&out).p, stderr);
        vv_sb_fini(&out);
        vv_conf_problems_free(problems);
        return EXIT_USAGE;
    }
    vv_conf_problems_free(problems);
    vv_conf_show(vv_settings_doc(s), show_flags(args), &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    vv_settings_free(s);
    return EXIT_FINE;
}

/* The file alone and the file with its overlay, both as they are understood, line against line. */
static int diff(const struct cli_args *args, const char *file)
{
    struct vv_run run = {0};
    struct vv_settings *with = NULL, *without = NULL;
    struct vv_sb a = VV_SB_INIT, b = VV_SB_INIT, out = VV_SB_INIT;
    int code = EXIT_USAGE;
    if (target_file(args, file, &run) != VV_OK) {
        return cli_fail(EXIT_FAILED, "no such file");
    }
    struct vv_run alone = run;
    alone.no_overlay = true;
    if (vv_run_load(&alone, &out, NULL, &without) == VV_OK &&
        vv_run_load(&run, &out, NULL, &with) == VV_OK) {
        code = EXIT_FINE;
        vv_conf_show(vv_settings_doc(without), show_flags(args) & VV_CONF_SHOW_LONG, &a);
        vv_conf_show(vv_settings_doc(with), show_flags(args) & VV_CONF_SHOW_LONG, &b);
        vv_sb_reset(&out);
        diff_print(vv_sb_str(&a), vv_sb_str(&b), cli_color(args, stdout), &out);
        if (cli_flag(args, "json")) {
            json_t *o = json_pack("{s:b, s:s}", "differs", out.n > 0, "diff", vv_sb_str(&out).p);
            cli_print_json(o);
            json_decref(o);
        } else {
            cli_print(out.n > 0 ? vv_sb_str(&out) : VV_STR("no run-time changes\n"));
        }
    } else {
        (void)fputs(vv_sb_str(&out).p, stderr);
    }
    vv_sb_fini(&a);
    vv_sb_fini(&b);
    vv_sb_fini(&out);
    vv_settings_free(with);
    vv_settings_free(without);
    return code;
}

static int accept_overlay(const struct cli_args *args, const char *file)
{
    struct vv_run run = {0};
    if (target_file(args, file, &run) != VV_OK) {
        return cli_fail(EXIT_FAILED, "no such file");
    }
    return config_accept(&run, cli_color(args, stdout));
}

static int print_language(const char *what)
{
    struct vv_sb out = VV_SB_INIT;
    if (strcmp(what, "schema") == 0) {
        vv_conf_schema(vv_settings_section(), &out);
    } else if (strcmp(what, "reference") == 0) {
        vv_conf_reference(vv_settings_section(), &out);
    } else {
        vv_conf_sample(vv_settings_section(), &out);
    }
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    return EXIT_FINE;
}

int verb_config(const struct cli_args *args)
{
    const char *what = cli_word(args, 0), *file = cli_word(args, 1);
    if (what == NULL) {
        return cli_fail(EXIT_USAGE, "say what: " WHATS);
    }
    if (strcmp(what, "show") == 0) {
        return show(args, file);
    }
    if (strcmp(what, "diff") == 0) {
        return diff(args, file);
    }
    if (strcmp(what, "accept") == 0) {
        return accept_overlay(args, file);
    }
    if (strcmp(what, "schema") == 0 || strcmp(what, "reference") == 0 ||
        strcmp(what, "sample") == 0) {
        return print_language(what);
    }
    return cli_fail(EXIT_USAGE, "config has no \"%s\": " WHATS, what);
}
