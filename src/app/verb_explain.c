/* src/app/verb_explain.c - `vivace explain METHOD URL`: asks the running gateway, or a file alone. */
#include "app/socket_path.h"
#include "app/target.h"
#include "gateway/gateway.h"

#include <string.h>

const struct cli_option options_explain[] = {
    {'H', "header", "LINE", "a header of the request, \"name: value\"; may be repeated"},
    {'l', "listener", "NAME", "as if it came in by this listener"},
    {'c', "config", "FILE", "ask this file, no gateway needs to run"},
    {'p', "profile", "NAME", "with --config: use this profile"},
    {'e', "env-file", "FILE", "with --config: take ${NAME} variables from this file first"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_explain[] = "vivace explain GET http://shop.example/api/orders?page=2";

#define HEADERS_MAX 32

static void encode(struct vv_sb *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const char *p = text; *p != '\0'; p++) {
        if (strchr(plain, *p) != NULL) {
            vv_sb_addc(out, *p);
        } else {
            vv_sb_addf(out, "%%%02X", (unsigned)(unsigned char)*p);
        }
    }
}

static void value(const json_t *v, struct vv_sb *out, unsigned indent);

static void member(const char *key, const json_t *v, struct vv_sb *out, unsigned indent)
{
    for (unsigned i = 0; i < indent; i++) {
        vv_sb_adds(out, "  ");
    }
    vv_sb_addf(out, "%-*s", json_is_object(v) || json_is_array(v) ? 0 : 12, key);
    value(v, out, indent);
}

static void list(const json_t *v, struct vv_sb *out, unsigned indent)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_object(item)) {
            member("-", item, out, indent + 1);
            continue;
        }
        const char *key = NULL;
        json_t *inner = NULL;
        bool first = true;
        for (unsigned k = 0; k <= indent; k++) {
            vv_sb_adds(out, "  ");
        }
        /* One line per candidate or server: what is scalar stands beside each other. */
        json_object_foreach((json_t *)(uintptr_t)item, key, inner)
        {
            if (json_is_object(inner) || json_is_array(inner) || json_is_null(inner)) {
                continue;
            }
            vv_sb_addf(out, "%s%s ", first ? "" : "  ", key);
            struct vv_sb text = VV_SB_INIT;
            value(inner, &text, 0);
            vv_sb_add(out, vv_str_trim((struct vv_str){text.p, text.n > 0 ? text.n - 1 : 0}));
            vv_sb_fini(&text);
            first = false;
        }
        vv_sb_addc(out, '\n');
        json_object_foreach((json_t *)(uintptr_t)item, key, inner)
        {
            if (json_is_object(inner) || json_is_array(inner)) {
                member(key, inner, out, indent + 2);
            }
        }
    }
}

/* The explanation is read by people as an indented tree; its shape is the gateway's business. */
static void value(const json_t *v, struct vv_sb *out, unsigned indent)
{
    const char *key = NULL;
    json_t *inner = NULL;
    if (json_is_object(v)) {
        vv_sb_addc(out, '\n');
        json_object_foreach((json_t *)(uintptr_t)v, key, inner)
        {
            member(key, inner, out, indent + 1);
        }
    } else if (json_is_array(v)) {
        vv_sb_addc(out, '\n');
        list(v, out, indent);
    } else if (json_is_string(v)) {
        vv_sb_addf(out, " %s\n", json_string_value(v));
    } else if (json_is_integer(v)) {
        vv_sb_addf(out, " %lld\n", (long long)json_integer_value(v));
    } else if (json_is_real(v)) {
        vv_sb_addf(out, " %g\n", json_real_value(v));
    } else {
        vv_sb_adds(out, json_is_true(v) ? " yes\n" : json_is_false(v) ? " no\n" : " -\n");
    }
}

static int print(const struct cli_args *args, json_t *o)
{
    struct vv_sb out = VV_SB_INIT;
    const char *key = NULL;
    json_t *v = NULL;
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else {
        json_object_foreach(o, key, v)
        {
            member(key, v, &out, 0);
        }
        cli_print(vv_sb_str(&out));
    }
    vv_sb_fini(&out);
    json_decref(o);
    return EXIT_FINE;
}

static int offline(const struct cli_args *args, const char *file,
                   const struct vv_explain_request *r)
{
    struct vv_run run = {0};
    struct vv_settings *s = NULL;
    struct vv_sb text = VV_SB_INIT;
    struct vv_json j;
    if (target_file(args, file, &run) != VV_OK) {
        return cli_fail(EXIT_FAILED, "%s cannot be found", file);
    }
    const int code = target_load(args, &run, "Nothing was asked.", &s);
    if (code != EXIT_FINE) {
        return code;
    }
    vv_json_init(&j, &text);
    vv_json_obj(&j);
    const enum vv_err err = vv_settings_explain(s, r, &j);
    vv_json_obj_end(&j);
    vv_settings_free(s);
    json_t *o = err == VV_OK ? json_loadb(vv_sb_str(&text).p, text.n, 0, NULL) : NULL;
    vv_sb_fini(&text);
    if (o == NULL) {
        return cli_fail(err == VV_EINVAL || err == VV_ESYNTAX ? EXIT_USAGE : EXIT_FAILED,
                        "cannot explain %s %s: %s", r->method, r->url, vv_err_text(err));
    }
    return print(args, o);
}

int verb_explain(const struct cli_args *args)
{
    const char *headers[HEADERS_MAX];
    const char *file = cli_value(args, "config");
    struct vv_sb target = VV_SB_INIT;
    json_t *o = NULL;
    if (args->words_count != 2) {
        return cli_fail(EXIT_USAGE, "give a method and a URL: %s", example_explain);
    }
    const struct vv_explain_request r = {.method = cli_word(args, 0),
                                         .url = cli_word(args, 1),
                                         .headers = headers,
                                         .headers_count =
                                             cli_values(args, "header", headers, HEADERS_MAX),
                                         .listener = cli_value(args, "listener")};
    if (file != NULL) {
        return offline(args, file, &r);
    }
    vv_sb_adds(&target, "/api/v1/explain?method=");
    encode(&target, r.method);
    vv_sb_adds(&target, "&url=");
    encode(&target, r.url);
    if (r.listener != NULL) {
        vv_sb_adds(&target, "&listener=");
        encode(&target, r.listener);
    }
    for (size_t i = 0; i < r.headers_count; i++) {
        vv_sb_adds(&target, "&header=");
        encode(&target, headers[i]);
    }
    const int code = client_json(args, NULL, "GET", vv_sb_str(&target).p, &o);
    vv_sb_fini(&target);
    return code == EXIT_FINE ? print(args, o) : code;
}
