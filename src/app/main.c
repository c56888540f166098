/* src/app/main.c - the command line: finds the verb in verbs.def, reads its options, runs it. */
#include "app/cli.h"
#include "app/version.h"
#include "conf/conf.h"

#include <locale.h>
#include <string.h>

#define VERBS_MAX 64

static int unknown_verb(const char *name)
{
    const char *names[VERBS_MAX];
    size_t n = 0;
    for (; n < cli_verbs_count && n < VERBS_MAX; n++) {
        names[n] = cli_verbs[n].name;
    }
    const char *near = vv_conf_nearest(name, names, n);
    if (near != NULL) {
        return cli_fail(EXIT_USAGE, "there is no command \"%s\"; did you mean \"%s\"?", name, near);
    }
    return cli_fail(EXIT_USAGE, "there is no command \"%s\"; `vivace help` lists them", name);
}

static int unknown_option(const struct cli_verb *verb, const char *name)
{
    const char *names[CLI_OPTIONS_MAX];
    size_t n = 0;
    for (const struct cli_option *o = verb->options; o->name != NULL && n < CLI_OPTIONS_MAX; o++) {
        names[n++] = o->name;
    }
    const char *near = vv_conf_nearest(name, names, n);
    if (near != NULL) {
        return cli_fail(EXIT_USAGE, "%s has no option --%s; did you mean --%s?", verb->name, name,
                        near);
    }
    return cli_fail(EXIT_USAGE, "%s has no option --%s; `vivace help %s` lists them", verb->name,
                    name, verb->name);
}

static const struct cli_option *find_option(const struct cli_verb *verb, struct vv_str name,
                                            char letter)
{
    for (const struct cli_option *o = verb->options; o->name != NULL; o++) {
        if (letter != 0 ? o->letter == letter : vv_str_eq(vv_str_from(o->name), name)) {
            return o;
        }
    }
    return NULL;
}

/* Reads one "-x", "--name", "--name=value" or the first of "--name value"; *at moves over it. */
static int read_option(struct cli_args *a, int argc, char **argv, int *at)
{
    const char *text = argv[*at];
    const bool is_long = text[1] == '-';
    struct vv_str rest = vv_str_from(text + (is_long ? 2 : 1));
    const char *value = NULL;
    struct vv_str name = rest;
    if (is_long && vv_str_find_char(rest, '=') >= 0) {
        name = vv_str_cut(&rest, '=');
        value = rest.p != NULL ? rest.p : "";
    } else if (!is_long && rest.n > 1) {
        value = rest.p + 1;
    }
    const struct cli_option *o = find_option(a->verb, name, is_long ? 0 : rest.p[0]);
    if (o == NULL) {
        char buf[64];
        (void)snprintf(buf, sizeof buf, VV_STR_FMT, VV_STR_ARG(name));
        return unknown_option(a->verb, buf);
    }
    if (o->value == NULL && value != NULL) {
        return cli_fail(EXIT_USAGE, "--%s takes no value", o->name);
    }
    if (o->value != NULL && value == NULL) {
        if (*at + 1 >= argc) {
            return cli_fail(EXIT_USAGE, "--%s needs a value: --%s %s", o->name, o->name, o->value);
        }
        value = argv[++*at];
    }
    if (a->options_count == CLI_OPTIONS_MAX) {
        return cli_fail(EXIT_USAGE, "too many options");
    }
    a->option[a->options_count].option = o;
    a->option[a->options_count++].value = value;
    return EXIT_FINE;
}

static int read_args(struct cli_args *a, int argc, char **argv)
{
    bool only_words = false;
    for (int i = 2; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            const int code = read_option(a, argc, argv, &i);
            if (code != EXIT_FINE) {
                return code;
            }
        } else if (a->words_count == CLI_WORDS_MAX) {
            return cli_fail(EXIT_USAGE, "too many words after \"%s\"", a->verb->name);
        } else {
            a->word[a->words_count++] = argv[i];
        }
    }
    return EXIT_FINE;
}

int main(int argc, char **argv)
{
    struct cli_args args = {.argv = argv};
    (void)setlocale(LC_CTYPE, "");
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_print_help(argc < 2 ? stderr : stdout, NULL);
        return argc < 2 ? EXIT_USAGE : EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        (void)printf("vivace %s\n", vv_version);
        return EXIT_FINE;
    }
    args.verb = cli_find_verb(argv[1]);
    if (args.verb == NULL) {
        return unknown_verb(argv[1]);
    }
    const int code = read_args(&args, argc, argv);
    if (code != EXIT_FINE) {
        return code;
    }
    if (cli_flag(&args, "help")) {
        cli_print_help(stdout, args.verb);
        return EXIT_FINE;
    }
    const int result = args.verb->run(&args);
    if (fflush(stdout) != 0 && result == EXIT_FINE) {
        return cli_fail(EXIT_FAILED, "standard output cannot be written");
    }
    return result;
}
