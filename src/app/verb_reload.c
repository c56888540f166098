/* src/app/verb_reload.c - `vivace reload`: the problems come back to the terminal that asked. */
#include "app/socket_path.h"
#include "app/target.h"

#include <string.h>

const struct cli_option options_reload[] = {
    CLI_SOCKET_OPTION, CLI_JSON_OPTION, CLI_COLOR_OPTION, CLI_HELP_OPTION, {0},
};
const char example_reload[] = "vivace reload shop.yaml";

/* The gateway read the file with its own environment; its problems are printed as they came. */
static void print_problem(const json_t *p)
{
    const json_t *file = json_object_get(p, "file");
    if (json_is_string(file)) {
        (void)fprintf(stderr, "%s:%d:%d: ", json_string_value(file), (int)json_num(p, "line"),
                      (int)json_num(p, "column"));
    }
    (void)fprintf(stderr, "%s: %s", json_text(p, "severity"), json_text(p, "message"));
    if (json_text(p, "hint")[0] != '\0') {
        (void)fprintf(stderr, " (%s)", json_text(p, "hint"));
    }
    (void)fputc('\n', stderr);
}

int verb_reload(const struct cli_args *args)
{
    json_t *o = NULL;
    const int code = client_json(args, cli_word(args, 0), "POST", "/api/v1/reload", &o);
    if (code != EXIT_FINE) {
        return code;
    }
    const bool ok = json_is_true(json_object_get(o, "ok"));
    const json_t *problems = json_object_get(o, "problems");
    const json_t *list = json_is_array(problems) ? problems : json_object_get(problems, "problems");
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else {
        for (size_t i = 0; i < json_array_size(list); i++) {
            print_problem(json_array_get(list, i));
        }
        if (ok) {
            (void)printf("reloaded\n");
        } else {
            (void)cli_fail(EXIT_FAILED, "%s; nothing changed", json_text(o, "error"));
        }
    }
    const bool config = json_array_size(list) > 0;
    json_decref(o);
    return ok ? EXIT_FINE : config ? EXIT_USAGE : EXIT_FAILED;
}
