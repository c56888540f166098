/* src/app/verb_status.c - `vivace status`: one screen, once. */
#include "app/target.h"
#include "app/view.h"

#include <stdlib.h>

const struct cli_option options_status[] = {
    CLI_SOCKET_OPTION, CLI_JSON_OPTION, CLI_COLOR_OPTION, CLI_HELP_OPTION, {0},
};
const char example_status[] = "vivace status --json | jq .connections";

static void print_reload(const json_t *o)
{
    const json_t *reload = json_object_get(o, "reload");
    const json_t *upgrade = json_object_get(o, "upgrade");
    const double left = json_num(reload, "guard_seconds_left");
    (void)printf("\nlast reload: %s", json_text(reload, "last"));
    if (json_text(reload, "reason")[0] != '\0') {
        (void)printf(" (%s)", json_text(reload, "reason"));
    }
    if (left > 0.0) {
        (void)printf(", watched for another %.0f s", left);
    }
    (void)puts("");
    if (json_text(upgrade, "failed")[0] != '\0') {
        (void)printf("last upgrade failed: %s\n", json_text(upgrade, "failed"));
    }
}

/* Who looks at the numbers below must know that some of them are made. */
static void print_faults(const json_t *o)
{
    const double n = json_num(o, "faults_active");
    if (n > 0.0) {
        (void)printf("CHAOS: %.0f fault%s on purpose active, see `vivace chaos list`\n\n", n,
                     n > 1.0 ? "s" : "");
    }
}

static void print_stores(const json_t *o)
{
    const double away = json_num(o, "stores_away"), unexpected = json_num(o, "stores_unexpected");
    if (away > 0.0) {
        (void)printf("degraded: %.0f store%s away, requests go on without; see `vivace store "
                     "list`\n\n",
                     away, away > 1.0 ? "s are" : " is");
    }
    if (unexpected > 0.0) {
        (void)printf("%.0f parameter%s of stores not as expected, see `vivace store check`\n\n",
                     unexpected, unexpected > 1.0 ? "s are" : " is");
    }
}

int verb_status(const struct cli_args *args)
{
    json_t *o = NULL;
    const bool json = cli_flag(args, "json");
    const int code =
        client_json(args, cli_word(args, 0), "GET", json ? "/api/v1/status" : "/api/v1/top", &o);
    if (code != EXIT_FINE) {
        return code;
    }
    if (json) {
        cli_print_json(o);
    } else {
        struct vv_sb out = VV_SB_INIT;
        const struct view v = {.o = o, .width = 200, .color = cli_color(args, stdout), .eol = "\n"};
        view_print(&v, &out);
        print_faults(o);
        print_stores(o);
        cli_print(vv_sb_str(&out));
        vv_sb_fini(&out);
        print_reload(o);
    }
    json_decref(o);
    return EXIT_FINE;
}
