/* src/app/verb_help.c - `vivace help [COMMAND]`. */
#include "app/cli.h"

const struct cli_option options_help[] = {CLI_HELP_OPTION, {0}};
const char example_help[] = "vivace help explain";

int verb_help(const struct cli_args *args)
{
    const char *name = cli_word(args, 0);
    const struct cli_verb *verb = name != NULL ? cli_find_verb(name) : NULL;
    if (name != NULL && verb == NULL) {
        return cli_fail(EXIT_USAGE, "there is no command \"%s\"", name);
    }
    cli_print_help(stdout, verb);
    return EXIT_FINE;
}
