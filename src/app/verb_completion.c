/* src/app/verb_completion.c - `vivace completion SHELL`: printed from the tables, so never stale. */
#include "app/cli.h"

#include <string.h>

const struct cli_option options_completion[] = {CLI_HELP_OPTION, {0}};
const char example_completion[] = "vivace completion bash > /etc/bash_completion.d/vivace";

static void bash(void)
{
    (void)puts("_vivace() {\n    local cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
               "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    (void)fputs("        COMPREPLY=($(compgen -W \"", stdout);
    for (size_t i = 0; i < cli_verbs_count; i++) {
        (void)printf("%s%s", i > 0 ? " " : "", cli_verbs[i].name);
    }
    (void)puts("\" -- \"$cur\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]}\" in");
    for (size_t i = 0; i < cli_verbs_count; i++) {
        (void)printf("    %s) local options=\"", cli_verbs[i].name);
        for (const struct cli_option *o = cli_verbs[i].options; o->name != NULL; o++) {
            (void)printf("%s--%s", o == cli_verbs[i].options ? "" : " ", o->name);
        }
        (void)puts("\" ;;");
    }
    (void)puts("    esac\n    case \"$cur\" in\n"
               "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n"
               "    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n    esac\n}\n"
               "complete -o filenames -F _vivace vivace");
}

/* Single quotes in zsh and fish: our own help texts have none but "'". */
static void quoted(const char *text, const char *special)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            (void)fputs("'\\''", stdout);
        } else {
            if (strchr(special, *text) != NULL) {
                (void)putchar('\\');
            }
            (void)putchar(*text);
        }
    }
}

static void zsh(void)
{
    (void)puts("#compdef vivace\n_vivace() {\n    local -a verbs\n    verbs=(");
    for (size_t i = 0; i < cli_verbs_count; i++) {
        (void)printf("        '%s:", cli_verbs[i].name);
        quoted(cli_verbs[i].help, ":");
        (void)puts("'");
    }
    (void)puts("    )\n    if (( CURRENT == 2 )); then\n        _describe command verbs\n"
               "        return\n    fi\n    case $words[2] in");
    for (size_t i = 0; i < cli_verbs_count; i++) {
        (void)printf("    %s) _arguments", cli_verbs[i].name);
        for (const struct cli_option *o = cli_verbs[i].options; o->name != NULL; o++) {
            (void)printf(" '--%s%s[", o->name, o->value != NULL ? "=" : "");
            quoted(o->help, "[]:");
            (void)printf("]%s'", o->value != NULL ? ":value:_files" : "");
        }
        (void)puts(" '*:file:_files' ;;");
    }
    (void)puts("    esac\n}\n_vivace \"$@\"");
}

static void fish(void)
{
    for (size_t i = 0; i < cli_verbs_count; i++) {
        const struct cli_verb *v = &cli_verbs[i];
        (void)printf("complete -c vivace -n __fish_use_subcommand -f -a %s -d '", v->name);
        quoted(v->help, "");
        (void)puts("'");
        for (const struct cli_option *o = v->options; o->name != NULL; o++) {
            (void)printf("complete -c vivace -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                         v->name, o->name, o->value != NULL ? " -r" : "");
            quoted(o->help, "");
            (void)puts("'");
        }
    }
}

int verb_completion(const struct cli_args *args)
{
    const char *shell = cli_word(args, 0);
    if (shell != NULL && strcmp(shell, "bash") == 0) {
        bash();
    } else if (shell != NULL && strcmp(shell, "zsh") == 0) {
        zsh();
    } else if (shell != NULL && strcmp(shell, "fish") == 0) {
        fish();
    } else {
        return cli_fail(EXIT_USAGE, "name a shell: bash, zsh or fish");
    }
    return EXIT_FINE;
}
