/* src/app/verb_breaker.c - `vivace breaker`: circuit breakers, and opening or closing one by hand. */
#include "app/table.h"
#include "app/target.h"

#include <string.h>

const struct cli_option options_breaker[] = {
    CLI_SOCKET_OPTION, CLI_JSON_OPTION, CLI_COLOR_OPTION, CLI_HELP_OPTION, {0},
};
const char example_breaker[] = "vivace breaker open ai_service:optimizer";

#define WHATS "list, or open, close or reset a breaker by its name CLASS:SERVICE"

static void encode_segment(struct vv_sb *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                           (*p >= '0' && *p <= '9') || strchr("-._~:", *p) != NULL;
        vv_sb_addf(out, plain ? "%c" : "%%%02X", *p);
    }
}

static const char *color_of(const json_t *b)
{
    const char *state = json_text(b, "state");
    return strcmp(state, "closed") == 0 ? NULL : strcmp(state, "open") == 0 ? "31" : "33";
}

static void print_list(const struct cli_args *args, const json_t *list)
{
    static const char *const titles[] = {"breaker", "state",    ">since",  ">in a row", ">failed",
                                         ">of",     ">refused", ">opened", "mode",      "warned"};
    struct table t;
    struct vv_sb out = VV_SB_INIT;
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *b = json_array_get(list, i);
        (void)table_row(&t, color_of(b));
        table_cell(&t, 0, "%s", json_text(b, "name"));
        table_cell(&t, 1, "%s", json_text(b, "state"));
        table_cell(&t, 2, "%.0f s", json_num(b, "since_s"));
        table_cell(&t, 3, "%.0f", json_num(b, "in_a_row"));
        table_cell(&t, 4, "%.0f", json_num(b, "failed"));
        table_cell(&t, 5, "%.0f", json_num(b, "requests"));
        table_cell(&t, 6, "%.0f", json_num(b, "refused"));
        table_cell(&t, 7, "%.0f", json_num(b, "opened"));
        table_cell(&t, 8, "%s", json_text(b, "mode"));
        table_cell(&t, 9, "%s", json_num(b, "warned_for_s") > 0 ? "yes" : "");
    }
    table_print(&t, 0, TABLE_ROWS, 200, cli_color(args, stdout), "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

static int list(const struct cli_args *args)
{
    json_t *o = NULL;
    const int code = client_json(args, cli_word(args, 1), "GET", "/api/v1/guards", &o);
    if (code != EXIT_FINE) {
        return code;
    }
    const json_t *breakers = json_object_get(o, "breakers");
    if (cli_flag(args, "json")) {
        cli_print_json(breakers);
    } else if (json_array_size(breakers) == 0) {
        (void)puts("no service has a breaker");
    } else {
        print_list(args, breakers);
    }
    json_decref(o);
    return EXIT_FINE;
}

static int order(const struct cli_args *args, const char *what)
{
    static const char *const after[] = {"stays open until it is reset",
                                        "stays closed until it is reset",
                                        "closed, and judges by itself again"};
    const char *name = cli_word(args, 1);
    struct vv_sb target = VV_SB_INIT;
    json_t *o = NULL;
    if (name == NULL) {
        return cli_fail(EXIT_USAGE, "say which breaker: %s", example_breaker);
    }
    vv_sb_adds(&target, "/api/v1/breakers/");
    encode_segment(&target, name);
    vv_sb_addf(&target, "/%s", what);
    const int code = client_json(args, cli_word(args, 2), "POST", vv_sb_str(&target).p, &o);
    vv_sb_fini(&target);
    if (code == EXIT_FINE && cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (code == EXIT_FINE) {
        (void)printf("%s %s\n", name, after[what[0] == 'o' ? 0 : what[0] == 'c' ? 1 : 2]);
    }
    json_decref(o);
    return code;
}

int verb_breaker(const struct cli_args *args)
{
    static const char *const orders[] = {"open", "close", "reset"};
    const char *word = cli_word(args, 0);
    if (word == NULL || strcmp(word, "list") == 0) {
        return list(args);
    }
    for (size_t i = 0; i < VV_COUNT(orders); i++) {
        if (strcmp(word, orders[i]) == 0) {
            return order(args, word);
        }
    }
    return cli_fail(EXIT_USAGE, "say " WHATS);
}
