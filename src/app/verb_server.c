/* src/app/verb_server.c - `vivace server`: servers of a service at run time, kept in the overlay. */
#include "app/socket_path.h"
#include "app/target.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option options_server[] = {
    {'w', "weight", "NUMBER", "with add: its weight; with weight: the new one"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_server[] = "vivace server drain shop 127.0.0.1:3001";

#define DOS "add, drain, resume, weight or remove"

static void encode_segment(struct vv_sb *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                           (*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL;
        vv_sb_addf(out, plain ? "%c" : "%%%02X", *p);
    }
}

/* Method and body of what is to be done; false: no such word. */
static bool order(const char *what, const char *server, const char *weight, const char **ret_method,
                  json_t **ret_body)
{
    uint64_t w = 0;
    json_t *body = json_object();
    *ret_body = body;
    *ret_method = "PATCH";
    if (weight != NULL && (vv_str_to_u64(vv_str_from(weight), &w) != VV_OK || w > 1000)) {
        return false;
    }
    if (w > 0) {
        (void)json_object_set_new(body, "weight", json_integer((json_int_t)w));
    }
    if (strcmp(what, "add") == 0) {
        *ret_method = "POST";
        (void)json_object_set_new(body, "url", json_string(server));
        return true;
    }
    if (strcmp(what, "drain") == 0 || strcmp(what, "resume") == 0) {
        (void)json_object_set_new(body, "drain", json_boolean(what[0] == 'd'));
        return true;
    }
    if (strcmp(what, "remove") == 0) {
        *ret_method = "DELETE";
        return true;
    }
    return strcmp(what, "weight") == 0 && w > 0;
}

static int report(const struct cli_args *args, const struct client_answer *answer)
{
    json_t *o = json_loadb(vv_sb_str(&answer->body).p, answer->body.n, 0, NULL);
    const bool ok = answer->status < 300;
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (!ok) {
        (void)cli_fail(EXIT_FAILED, "%s", json_text(o, "error"));
    } else if (json_is_true(json_object_get(o, "kept"))) {
        (void)printf("done, and kept in %s\n", json_text(o, "overlay"));
    } else {
        (void)printf("done; %s\n", json_text(o, "warning"));
    }
    json_decref(o);
    return ok ? EXIT_FINE : EXIT_FAILED;
}

int verb_server(const struct cli_args *args)
{
    char socket[VV_SOCKET_PATH + 8];
    struct client_answer answer = {0};
    struct vv_sb target = VV_SB_INIT;
    const char *method = NULL;
    json_t *body = NULL;
    if (args->words_count < 3 ||
        !order(cli_word(args, 0), cli_word(args, 2), cli_value(args, "weight"), &method, &body)) {
        json_decref(body);
        return cli_fail(EXIT_USAGE, "say " DOS ", then the service and the server: %s",
                        example_server);
    }
    vv_sb_adds(&target, "/api/v1/services/");
    encode_segment(&target, cli_word(args, 1));
    vv_sb_adds(&target, "/servers");
    if (strcmp(method, "POST") != 0) {
        vv_sb_addc(&target, '/');
        encode_segment(&target, cli_word(args, 2));
    }
    char *text = json_dumps(body, 0);
    json_decref(body);
    int code = EXIT_FAILED;
    if (client_find(args, cli_word(args, 3), socket, sizeof socket)) {
        const enum vv_err err =
            client_call(socket, method, vv_sb_str(&target).p, vv_str_from(text), &answer);
        code = err == VV_OK
                   ? report(args, &answer)
                   : cli_fail(EXIT_FAILED, "the gateway does not answer: %s", vv_err_text(err));
    }
    vv_sb_fini(&answer.body);
    vv_sb_fini(&target);
    free(text);
    return code;
}
