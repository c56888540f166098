/* src/app/verb_canary.c - `vivace canary`: how a new version does, and how much of the traffic it gets. */
#include "app/table.h"
#include "app/target.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option options_canary[] = {
    {0, "share", "SHARE", "start, promote: so much of the route's requests"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_canary[] = "vivace canary start shop --share 10%";

#define DOS "status, start ROUTE, promote ROUTE or abort ROUTE"

static void encode(struct vv_sb *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                           (*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL;
        vv_sb_addf(out, plain ? "%c" : "%%%02X", *p);
    }
}

static void side_cells(struct table *t, size_t cell, const json_t *side)
{
    const double n = json_num(side, "requests");
    table_cell(t, cell, "%.0f", n);
    table_cell(t, cell + 1, "%.2f", n > 0 ? 100.0 * json_num(side, "errors") / n : 0.0);
    table_cell(t, cell + 2, "%.1f", 1000.0 * json_num(side, "p50_seconds"));
}

static void print_list(const json_t *list)
{
    static const char *const titles[] = {"ROUTE",    "TO",     "STATE",  "VERDICT",
                                         ">SHARE %", ">BASE",  ">ERR %", ">P50 MS",
                                         ">CANARY",  ">ERR %", ">P50 MS"};
    struct table t;
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        if (!table_row(&t, NULL)) {
            break;
        }
        table_cell(&t, 0, "%.40s", json_text(c, "route"));
        table_cell(&t, 1, "%.40s", json_text(c, "to"));
        table_cell(&t, 2, "%s", json_text(c, "state"));
        table_cell(&t, 3, "%s", json_text(c, "verdict"));
        table_cell(&t, 4, "%.1f", 100.0 * json_num(c, "share"));
        side_cells(&t, 5, json_object_get(c, "base"));
        side_cells(&t, 8, json_object_get(c, "candidate"));
    }
    struct vv_sb out = VV_SB_INIT;
    table_print(&t, 0, SIZE_MAX, 200, false, "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

static void print_history(const json_t *c)
{
    const json_t *list = json_object_get(c, "history");
    for (size_t i = json_array_size(list); i > 0; i--) {
        const json_t *h = json_array_get(list, i - 1);
        (void)printf("  %.0fs ago  %s  %.1f%% -> %.1f%%  %s\n", json_num(h, "seconds_ago"),
                     json_text(h, "change"), 100.0 * json_num(h, "from"), 100.0 * json_num(h, "to"),
                     json_text(h, "why"));
    }
}

static void show(const struct cli_args *args, const json_t *o)
{
    const json_t *list = json_object_get(o, "canaries");
    if (cli_flag(args, "json")) {
        cli_print_json(o);
        return;
    }
    if (json_array_size(list) == 0) {
        (void)puts("no route has a canary");
        return;
    }
    print_list(list);
    if (json_array_size(list) == 1) {
        print_history(json_array_get(list, 0));
    }
}

static int status(const struct cli_args *args)
{
    struct vv_sb target = VV_SB_INIT;
    json_t *o = NULL;
    vv_sb_adds(&target, "/api/v1/canary?route=");
    encode(&target, cli_word(args, 1) != NULL ? cli_word(args, 1) : "");
    const int code = client_json(args, cli_word(args, 2), "GET", vv_sb_str(&target).p, &o);
    vv_sb_fini(&target);
    if (code == EXIT_FINE) {
        show(args, o);
        json_decref(o);
    }
    return code;
}

static int change(const struct cli_args *args, const char *what)
{
    const char *route = cli_word(args, 1), *share = cli_value(args, "share");
    struct vv_sb target = VV_SB_INIT;
    json_t *body = json_object(), *o = NULL;
    if (route == NULL || (share != NULL && strcmp(what, "abort") == 0)) {
        json_decref(body);
        return route == NULL ? cli_fail(EXIT_USAGE, "say which route: vivace canary %s shop", what)
                             : cli_fail(EXIT_USAGE, "abort takes no --share");
    }
    if (share != NULL) {
        (void)json_object_set_new(body, "share", json_string(share));
    }
    vv_sb_adds(&target, "/api/v1/canary/");
    encode(&target, route);
    vv_sb_addf(&target, "/%s", what);
    char *text = json_dumps(body, 0);
    const int code = client_json_send(args, cli_word(args, 2), "POST", vv_sb_str(&target).p,
                                      vv_str_from(text), &o);
    free(text);
    json_decref(body);
    vv_sb_fini(&target);
    if (code == EXIT_FINE) {
        show(args, o);
        json_decref(o);
    }
    return code;
}

int verb_canary(const struct cli_args *args)
{
    static const char *const what[] = {"start", "promote", "abort"};
    const char *word = cli_word(args, 0);
    if (word == NULL || strcmp(word, "status") == 0) {
        return status(args);
    }
    for (size_t i = 0; i < VV_COUNT(what); i++) {
        if (strcmp(word, what[i]) == 0) {
            return change(args, word);
        }
    }
    return cli_fail(EXIT_USAGE, "say " DOS);
}
