/* src/app/verb_certs.c - `vivace certs`: which certificates the listeners show, and until when. */
#include "app/table.h"
#include "app/target.h"

#include <string.h>

const struct cli_option options_certs[] = {
    CLI_SOCKET_OPTION, CLI_JSON_OPTION, CLI_COLOR_OPTION, CLI_HELP_OPTION, {0},
};
const char example_certs[] = "vivace certs shop.yaml";

#define DAY_S 86400.0
#define SOON_S (14 * DAY_S)

static const char *color_of(const json_t *cert)
{
    const double left = json_num(cert, "seconds_left");
    if (left <= 0) {
        return "31";
    }
    return left < SOON_S || json_array_size(json_object_get(cert, "problems")) > 0 ? "33" : NULL;
}

/* "CN=x,O=Authority": the part people know it by. */
static const char *issuer_of(const json_t *cert)
{
    const char *issuer = json_text(cert, "issuer");
    return strncmp(issuer, "CN=", 3) == 0 ? issuer + 3 : issuer;
}

static void put_row(struct table *t, const char *listener, const json_t *cert)
{
    const json_t *names = json_object_get(cert, "names");
    const double left = json_num(cert, "seconds_left");
    const size_t count = json_array_size(names);
    if (!table_row(t, color_of(cert))) {
        return;
    }
    table_cell(t, 0, "%.20s", listener);
    if (count > 1) {
        table_cell(t, 1, "%.34s +%zu", json_string_value(json_array_get(names, 0)), count - 1);
    } else {
        table_cell(t, 1, "%.40s",
                   count > 0 ? json_string_value(json_array_get(names, 0))
                             : json_text(cert, "subject"));
    }
    table_cell(t, 2, "%s %.0f", json_text(cert, "key"), json_num(cert, "key_bits"));
    table_cell(t, 3, "%.10s", json_text(cert, "not_after"));
    table_cell(t, 4, left < 2 * DAY_S ? "%.1f" : "%.0f", left / DAY_S);
    table_cell(t, 5, "%s", json_text(cert, "source"));
    table_cell(t, 6, json_is_null(json_object_get(cert, "staple_until")) ? "no" : "yes");
    table_cell(t, 7, "%.40s", issuer_of(cert));
}

static void put_table(const struct cli_args *args, const json_t *listeners)
{
    static const char *const titles[] = {"listener", "name",   "key",    "ends",
                                         ">days",    "source", "staple", "issuer"};
    struct table t;
    struct vv_sb out = VV_SB_INIT;
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(listeners); i++) {
        const json_t *l = json_array_get(listeners, i);
        const json_t *certs = json_object_get(l, "certificates");
        for (size_t k = 0; k < json_array_size(certs); k++) {
            put_row(&t, json_text(l, "name"), json_array_get(certs, k));
        }
    }
    table_print(&t, 0, TABLE_ROWS, 200, cli_color(args, stdout), "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

static void put_problems(const json_t *listeners)
{
    for (size_t i = 0; i < json_array_size(listeners); i++) {
        const json_t *l = json_array_get(listeners, i);
        const json_t *certs = json_object_get(l, "certificates");
        for (size_t k = 0; k < json_array_size(certs); k++) {
            const json_t *c = json_array_get(certs, k);
            const json_t *problems = json_object_get(c, "problems");
            const char *where = json_is_string(json_object_get(c, "file"))
                                    ? json_text(c, "file")
                                    : json_text(c, "subject");
            for (size_t p = 0; p < json_array_size(problems); p++) {
                (void)printf("%s: %s: %s\n", json_text(l, "name"), where,
                             json_string_value(json_array_get(problems, p)));
            }
        }
    }
}

/* Names of the authority's; what comes of an order is in the log and in the list. */
static void put_orders(const json_t *orders)
{
    for (size_t i = 0; i < json_array_size(orders); i++) {
        const json_t *a = json_array_get(orders, i);
        const char *error = json_text(a, "error");
        if (json_is_string(json_object_get(a, "error")) && error[0] != '\0') {
            (void)printf("%s: try %.0f failed: %s\n", json_text(a, "name"), json_num(a, "failures"),
                         error);
        }
    }
}

static int order(const struct cli_args *args, const char *what)
{
    const char *name = cli_word(args, 1);
    struct vv_sb target = VV_SB_INIT;
    json_t *o = NULL;
    if (name == NULL || strchr(name, '/') != NULL) {
        return cli_fail(EXIT_USAGE, "say which name: vivace certs %s example.org", what);
    }
    vv_sb_addf(&target, "/api/v1/certs/%s/%s", name, what);
    const int code = client_json(args, cli_word(args, 2), "POST", vv_sb_str(&target).p, &o);
    vv_sb_fini(&target);
    if (code == EXIT_FINE && cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (code == EXIT_FINE) {
        (void)printf("%s: the authority is asked; `vivace certs` says what came of it\n", name);
    }
    json_decref(o);
    return code;
}

int verb_certs(const struct cli_args *args)
{
    json_t *o = NULL;
    const char *word = cli_word(args, 0);
    if (word != NULL && (strcmp(word, "renew") == 0 || strcmp(word, "revoke") == 0)) {
        return order(args, word);
    }
    const char *file = word != NULL && strcmp(word, "list") == 0 ? cli_word(args, 1) : word;
    const int code = client_json(args, file, "GET", "/api/v1/certs", &o);
    if (code != EXIT_FINE) {
        return code;
    }
    const json_t *listeners = json_object_get(o, "listeners");
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (json_array_size(listeners) == 0) {
        (void)puts("no listener has TLS");
    } else {
        put_table(args, listeners);
        put_problems(listeners);
        put_orders(json_object_get(o, "acme"));
    }
    json_decref(o);
    return EXIT_FINE;
}
