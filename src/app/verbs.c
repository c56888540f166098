/* src/app/verbs.c - the table of commands, from verbs.def. */
#include "app/cli.h"

#include <string.h>

const struct cli_verb cli_verbs[] = {
#define VV_VERB(verb, words, text)                                                                 \
    {#verb, words, text, options_##verb, example_##verb, verb_##verb},
#include "app/verbs.def"
#undef VV_VERB
};
const size_t cli_verbs_count = VV_COUNT(cli_verbs);

const struct cli_verb *cli_find_verb(const char *name)
{
    for (size_t i = 0; i < cli_verbs_count; i++) {
        if (strcmp(cli_verbs[i].name, name) == 0) {
            return &cli_verbs[i];
        }
    }
    return NULL;
}
