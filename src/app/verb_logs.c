/* src/app/verb_logs.c - `vivace logs`: server-sent events from the admin socket, a line each. */
#include "app/socket_path.h"
#include "app/target.h"

#include <string.h>

const struct cli_option options_logs[] = {
    {'f', "follow", NULL, "go on until Ctrl-C (this is what it always does)"},
    {'g', "grep", "TEXT", "only lines with this text in them"},
    {'n', "lines", "COUNT", "end after so many lines"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_logs[] = "vivace logs -f --grep '\"status\":5'";

struct follow {
    struct vv_sb line;
    const char *grep;
    uint64_t left; /* lines; UINT64_MAX: no end */
};

static void print_event(struct follow *f)
{
    struct vv_str line = vv_sb_str(&f->line);
    if (!vv_str_starts(line, VV_STR("data: "))) {
        if (vv_str_starts(line, VV_STR(": ")) && vv_str_ends(line, VV_STR("lost"))) {
            (void)fprintf(stderr, "vivace:%.*s\n", (int)line.n - 1, line.p + 1);
        }
        return;
    }
    line = (struct vv_str){line.p + 6, line.n - 6};
    if (f->grep != NULL && memmem(line.p, line.n, f->grep, strlen(f->grep)) == NULL) {
        return;
    }
    (void)fwrite(line.p, 1, line.n, stdout);
    (void)putchar('\n');
    f->left--;
}

static bool on_bytes(void *user, struct vv_str bytes)
{
    struct follow *f = user;
    for (size_t i = 0; i < bytes.n && f->left > 0; i++) {
        if (bytes.p[i] != '\n') {
            vv_sb_addc(&f->line, bytes.p[i]);
            continue;
        }
        print_event(f);
        vv_sb_reset(&f->line);
    }
    return fflush(stdout) == 0 && f->left > 0;
}

int verb_logs(const struct cli_args *args)
{
    char socket[VV_SOCKET_PATH + 8];
    struct follow f = {.line = VV_SB_INIT, .grep = cli_value(args, "grep"), .left = UINT64_MAX};
    const char *lines = cli_value(args, "lines");
    if (lines != NULL && (vv_str_to_u64(vv_str_from(lines), &f.left) != VV_OK || f.left == 0)) {
        return cli_fail(EXIT_USAGE, "--lines takes a number above 0");
    }
    if (!client_find(args, cli_word(args, 0), socket, sizeof socket)) {
        return EXIT_FAILED;
    }
    const enum vv_err err = client_stream(socket, "/api/v1/logs/stream", on_bytes, &f);
    vv_sb_fini(&f.line);
    if (err != VV_OK) {
        return cli_fail(EXIT_FAILED, "the gateway does not answer: %s", vv_err_text(err));
    }
    return EXIT_FINE;
}
