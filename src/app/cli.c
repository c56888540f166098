/* src/app/cli.c - what all verbs share: options looked up, messages, help pages, JSON helpers. */
#include "app/cli.h"
#include "app/version.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cli_flag(const struct cli_args *a, const char *name)
{
    for (size_t i = 0; i < a->options_count; i++) {
        if (strcmp(a->option[i].option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

size_t cli_values(const struct cli_args *a, const char *name, const char **list, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < a->options_count && n < max; i++) {
        if (strcmp(a->option[i].option->name, name) == 0) {
            list[n++] = a->option[i].value;
        }
    }
    return n;
}

const char *cli_value(const struct cli_args *a, const char *name)
{
    const char *list[CLI_OPTIONS_MAX];
    const size_t n = cli_values(a, name, list, CLI_OPTIONS_MAX);
    return n > 0 ? list[n - 1] : NULL;
}

const char *cli_word(const struct cli_args *a, size_t index)
{
    return index < a->words_count ? a->word[index] : NULL;
}

bool cli_color(const struct cli_args *a, FILE *stream)
{
    const char *when = cli_value(a, "color");
    const char *no = getenv("NO_COLOR");
    if (when != NULL && strcmp(when, "auto") != 0) {
        return strcmp(when, "always") == 0;
    }
    return (no == NULL || no[0] == '\0') && isatty(fileno(stream)) == 1;
}

int cli_fail(int code, const char *fmt, ...)
{
    struct vv_sb text = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&text, fmt, args);
    va_end(args);
    (void)fflush(stdout);
    (void)fprintf(stderr, "vivace: %s\n", vv_sb_str(&text).p);
    vv_sb_fini(&text);
    return code;
}

void cli_print(struct vv_str text)
{
    (void)fwrite(text.p, 1, text.n, stdout);
}

static void print_all(FILE *out)
{
    (void)fprintf(out, "Vivace %s - an application-performance gateway\n\n", vv_version);
    (void)fputs("usage: vivace COMMAND [OPTIONS]\n\n", out);
    for (size_t i = 0; i < cli_verbs_count; i++) {
        const struct cli_verb *v = &cli_verbs[i];
        char left[64];
        (void)snprintf(left, sizeof left, "%s %s", v->name, v->args);
        (void)fprintf(out, "  %-28s %s\n", left, v->help);
    }
    (void)fputs("\nFILE is ./vivace.yaml unless given. `vivace help COMMAND` shows options and an "
                "example.\nExit codes: 0 fine, 1 failed, 2 wrong use or configuration errors.\n",
                out);
}

void cli_print_help(FILE *out, const struct cli_verb *verb)
{
    if (verb == NULL) {
        print_all(out);
        return;
    }
    (void)fprintf(out, "usage: vivace %s%s%s [OPTIONS]\n\n  %s\n\n", verb->name,
                  verb->args[0] != '\0' ? " " : "", verb->args, verb->help);
    for (const struct cli_option *o = verb->options; o->name != NULL; o++) {
        char left[64], dash[8] = "    ";
        if (o->letter != 0) {
            (void)snprintf(dash, sizeof dash, "-%c, ", o->letter);
        }
        (void)snprintf(left, sizeof left, "%s--%s%s%s", dash, o->name, o->value != NULL ? " " : "",
                       o->value != NULL ? o->value : "");
        (void)fprintf(out, "  %-28s %s\n", left, o->help);
    }
    (void)fprintf(out, "\nexample: %s\n", verb->example);
}

double json_num(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

const char *json_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

void cli_print_json(const json_t *o)
{
    char *text = json_dumps(o, JSON_INDENT(2));
    (void)puts(text != NULL ? text : "null");
    free(text);
}
