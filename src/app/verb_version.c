/* src/app/verb_version.c - `vivace version`. */
#include "app/cli.h"
#include "app/handover.h"
#include "app/version.h"

const struct cli_option options_version[] = {CLI_JSON_OPTION, CLI_HELP_OPTION, {0}};
const char example_version[] = "vivace version --json";

int verb_version(const struct cli_args *args)
{
    if (cli_flag(args, "json")) {
        json_t *o = json_pack("{s:s, s:s, s:s}", "version", vv_version, "revision", vv_revision,
                              "compiler", vv_compiler);
        cli_print_json(o);
        json_decref(o);
        return EXIT_FINE;
    }
    (void)printf("vivace %s (%s, %s)\n", vv_version, vv_revision, vv_compiler);
    return vv_handover_check_code(EXIT_FINE);
}
