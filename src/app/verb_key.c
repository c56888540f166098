/* src/app/verb_key.c - `vivace key`: keys of callers, through the running gateway, or in the file itself
 * when none runs; and lines of the file of users. */
#include "app/cli.h"
#include "app/socket_path.h"
#include "app/table.h"
#include "app/target.h"
#include "gateway/settings.h"
#include "gateway/users.h"
#include "os/clock.h"
#include "os/file.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

const struct cli_option options_key[] = {
    {'p', "plan", "PLAN", "add, user: what the caller may have"},
    {'e', "expires", "TIME", "add: for how long, 90d; default for ever"},
    {'k', "key", "TEXT", "add: a key that exists; - reads it from standard input"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_key[] = "vivace key add partner-42 --plan premium --expires 90d";

#define DOS "add NAME, list, revoke NAME, usage or user NAME"
#define ERROR_BYTES 256

/* ---- secrets from standard input ----------------------------------------------------------- */

/* One line, without echo on a terminal. */
static bool read_secret(const char *prompt, char *out, size_t out_bytes)
{
    struct termios old;
    const bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
    if (terminal) {
        struct termios quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)fputs(prompt, stderr);
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    const bool got = fgets(out, (int)out_bytes, stdin) != NULL;
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        (void)fputc('\n', stderr);
    }
    if (got) {
        out[strcspn(out, "\r\n")] = '\0';
    }
    return got && out[0] != '\0';
}

/* ---- the file, when no gateway runs -------------------------------------------------------- */

struct key_file {
    struct vv_settings *settings;
    const char *path; /* in the settings */
    char *text;
    size_t n;
};

static void file_close(struct key_file *f)
{
    free(f->text);
    vv_settings_free(f->settings);
}

/* Prints why not. Returns an exit code. */
static int file_open(const char *config, struct key_file *f)
{
    char found[4096];
    *f = (struct key_file){.path = NULL};
    const char *path = config;
    if (path == NULL) {
        path = access("vivace.yaml", R_OK) == 0 ? "vivace.yaml" : NULL;
    }
    if (path == NULL) {
        (void)cli_fail(EXIT_USAGE, "no gateway runs here; name its configuration file");
        return EXIT_USAGE;
    }
    (void)snprintf(found, sizeof found, "%s", path);
    const struct vv_conf_source source = {.path = found};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    const enum vv_err err =
        problems != NULL ? vv_settings_load(&source, problems, &f->settings) : VV_ENOMEM;
    vv_conf_problems_free(problems);
    if (err != VV_OK) {
        (void)cli_fail(EXIT_USAGE, "%s cannot be used; `vivace check %s` says why", found, found);
        return EXIT_USAGE;
    }
    f->path = f->settings->access.keys;
    if (f->path == NULL) {
        file_close(f);
        (void)cli_fail(EXIT_FAILED, "%s names no file of keys: access: {keys: keys.txt}", found);
        return EXIT_FAILED;
    }
    const enum vv_err read = vv_file_read(f->path, VV_KEYS_BYTES, &f->text, &f->n);
    if (read != VV_OK && read != VV_ENOENT) {
        (void)cli_fail(EXIT_FAILED, "%s: %s", f->path, vv_err_text(read));
        file_close(f);
        return EXIT_FAILED;
    }
    return EXIT_FINE;
}

static bool has_plan(const struct vv_settings *s, const char *name)
{
    const struct vv_conf_list *plans = s->access.plans;
    for (size_t i = 0; plans != NULL && i < plans->count; i++) {
        if (strcmp(((const struct vv_plan_settings *)plans->item[i])->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- add ----------------------------------------------------------------------------------- */

struct wanted {
    const char *name, *plan, *expires; /* the last two may be NULL */
    char key[VV_KEY_BYTES_MAX + 2];    /* "": make one */
};

static int print_added(const struct cli_args *args, const struct wanted *w, const char *key)
{
    if (cli_flag(args, "json")) {
        json_t *o = json_pack("{s:s, s:s?, s:s?}", "name", w->name, "plan", w->plan, "key",
                              key[0] != '\0' ? key : NULL);
        cli_print_json(o);
        json_decref(o);
    } else if (key[0] != '\0') {
        (void)printf("%s\n", key);
        (void)fprintf(stderr, "this is the only time that the key is shown\n");
    } else {
        (void)printf("added %s\n", w->name);
    }
    return EXIT_FINE;
}

static int add_to_file(const struct cli_args *args, const char *config, const struct wanted *w)
{
    struct key_file f;
    struct vv_sb out = VV_SB_INIT;
    char why[ERROR_BYTES] = "", key[VV_KEY_TEXT] = "";
    uint8_t random[32];
    const uint64_t now_ns = vv_clock_wall();
    int code = file_open(config, &f);
    if (code != EXIT_FINE) {
        return code;
    }
    struct vv_key_new n = {.name = vv_str_from(w->name),
                           .plan = vv_str_from(w->plan),
                           .created_s = (int64_t)(now_ns / VV_SEC)};
    if (w->key[0] == '\0') {
        vv_entropy_fill(random, sizeof random);
        vv_key_make(random, key);
    }
    if (w->expires != NULL) { /* was looked at before */
        (void)!vv_key_lasts(vv_str_from(w->expires), now_ns, &n.expires_s);
    }
    enum vv_err err = vv_key_hash(vv_str_from(w->key[0] != '\0' ? w->key : key), n.hash);
    if (w->plan != NULL && !has_plan(f.settings, w->plan)) {
        (void)snprintf(why, sizeof why, "there is no plan \"%s\" in access.plans", w->plan);
        err = VV_EINVAL;
    }
    err = err == VV_OK ? vv_keys_add((struct vv_str){f.text, f.n}, &n, &out, why) : err;
    err = err == VV_OK ? vv_keys_write(f.path, vv_sb_str(&out)) : err;
    code = err == VV_OK ? print_added(args, w, key)
                        : cli_fail(EXIT_FAILED, "%s", why[0] != '\0' ? why : vv_err_text(err));
    OPENSSL_cleanse(key, sizeof key);
    vv_sb_fini(&out);
    file_close(&f);
    return code;
}

static int add_to_gateway(const struct cli_args *args, const char *config, const struct wanted *w)
{
    json_t *o = NULL;
    json_t *body = json_pack("{s:s, s:s*, s:s*, s:s*}", "name", w->name, "plan", w->plan, "expires",
                             w->expires, "key", w->key[0] != '\0' ? w->key : NULL);
    char *text = json_dumps(body, 0);
    const int code = client_json_send(args, config, "POST", "/api/v1/keys", vv_str_from(text), &o);
    if (code == EXIT_FINE) {
        (void)print_added(args, w, json_text(o, "key"));
    }
    json_decref(o);
    json_decref(body);
    free(text);
    return code;
}

static int add_key(const struct cli_args *args, const char *config, bool running)
{
    struct wanted w = {.name = cli_word(args, 1),
                       .plan = cli_value(args, "plan"),
                       .expires = cli_value(args, "expires")};
    const char *key = cli_value(args, "key");
    int64_t expires_s = 0;
    if (w.expires != NULL &&
        vv_key_lasts(vv_str_from(w.expires), vv_clock_wall(), &expires_s) != VV_OK) {
        return cli_fail(EXIT_USAGE, "--expires takes a duration, up to 36500d: 90d");
    }
    if (key != NULL && strcmp(key, "-") == 0) {
        if (!read_secret("key: ", w.key, sizeof w.key)) {
            return cli_fail(EXIT_USAGE, "there is no key on standard input");
        }
    } else if (key != NULL) {
        (void)snprintf(w.key, sizeof w.key, "%s", key);
    }
    if (key != NULL && !vv_key_is_key(vv_str_from(w.key))) {
        return cli_fail(EXIT_USAGE, "a key has 16 to 512 visible ASCII characters");
    }
    const int code = running ? add_to_gateway(args, config, &w) : add_to_file(args, config, &w);
    OPENSSL_cleanse(w.key, sizeof w.key);
    return code;
}

/* ---- revoke -------------------------------------------------------------------------------- */

static int revoke_key(const struct cli_args *args, const char *config, bool running)
{
    const char *name = cli_word(args, 1);
    struct key_file f;
    struct vv_sb out = VV_SB_INIT;
    char why[ERROR_BYTES] = "";
    int code = EXIT_FINE;
    if (!vv_key_is_name(vv_str_from(name))) {
        return cli_fail(EXIT_USAGE, "\"%s\" cannot be the name of a key", name);
    }
    if (running) { /* such a name needs no escapes in a path */
        json_t *o = NULL;
        vv_sb_addf(&out, "/api/v1/keys/%s", name);
        code = client_json_send(args, config, "DELETE", vv_sb_str(&out).p, (struct vv_str){NULL, 0},
                                &o);
        json_decref(o);
    } else {
        code = file_open(config, &f);
        if (code == EXIT_FINE) {
            enum vv_err err = vv_keys_revoke((struct vv_str){f.text, f.n}, vv_str_from(name),
                                             (int64_t)(vv_clock_wall() / VV_SEC), &out, why);
            err = err == VV_OK ? vv_keys_write(f.path, vv_sb_str(&out)) : err;
            code = err == VV_OK
                       ? EXIT_FINE
                       : cli_fail(EXIT_FAILED, "%s", why[0] != '\0' ? why : vv_err_text(err));
            file_close(&f);
        }
    }
    vv_sb_fini(&out);
    if (code == EXIT_FINE) {
        (void)printf("revoked %s\n", name);
    }
    return code;
}

/* ---- list and usage ------------------------------------------------------------------------ */

static void put_time(json_t *o, const char *key, int64_t unix_s)
{
    char text[VV_UTC_BYTES];
    (void)json_object_set_new(o, key,
                              unix_s != 0 ? json_string(vv_utc_format(unix_s, text)) : json_null());
}

/* What the API would say, out of the file: nothing is counted there. */
static int list_of_file(const char *config, json_t **ret)
{
    struct key_file f;
    struct vv_keys *keys = NULL;
    struct vv_keys_error e;
    int code = file_open(config, &f);
    if (code != EXIT_FINE) {
        return code;
    }
    if (vv_keys_parse((struct vv_str){f.text, f.n}, &keys, &e) != VV_OK) {
        code = cli_fail(EXIT_FAILED, "%s:%u:%u: %s", f.path, e.line, e.column, e.text);
    } else {
        json_t *list = json_array();
        for (size_t i = 0; i < keys->count; i++) {
            const struct vv_key *k = &keys->key[i];
            json_t *o = json_pack("{s:s, s:s?}", "name", k->name, "plan", k->plan);
            put_time(o, "created", k->created_s);
            put_time(o, "expires", k->expires_s);
            put_time(o, "revoked", k->revoked_s);
            (void)json_array_append_new(list, o);
        }
        *ret = json_pack("{s:o}", "keys", list);
        vv_keys_free(keys);
    }
    file_close(&f);
    return code;
}

static const char *or_dash(const json_t *o, const char *key)
{
    const char *text = json_text(o, key);
    return text[0] != '\0' ? text : "-";
}

static void print_keys(const json_t *list, bool usage)
{
    static const char *const of_list[] = {"NAME", "PLAN", "CREATED", "EXPIRES", "REVOKED"};
    static const char *const of_usage[] = {"NAME", "PLAN", ">REQUESTS", ">REFUSED", "LAST USED"};
    struct table t;
    struct vv_sb out = VV_SB_INIT;
    if (!table_init(&t, usage ? of_usage : of_list, VV_COUNT(of_list))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *k = json_array_get(list, i);
        if (!table_row(&t, NULL)) {
            break;
        }
        table_cell(&t, 0, "%s", json_text(k, "name"));
        table_cell(&t, 1, "%s", or_dash(k, "plan"));
        if (usage) {
            table_cell(&t, 2, "%.0f", json_num(k, "requests"));
            table_cell(&t, 3, "%.0f", json_num(k, "refused"));
            table_cell(&t, 4, "%s", or_dash(k, "last_used"));
        } else {
            table_cell(&t, 2, "%s", or_dash(k, "created"));
            table_cell(&t, 3, "%s", or_dash(k, "expires"));
            table_cell(&t, 4, "%s", or_dash(k, "revoked"));
        }
    }
    table_print(&t, 0, SIZE_MAX, 200, false, "\n", &out);
    if (json_array_size(list) > t.rows) {
        vv_sb_addf(&out, "and %zu more: --json has all\n", json_array_size(list) - t.rows);
    }
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

static int list_keys(const struct cli_args *args, const char *config, bool running, bool usage)
{
    json_t *o = NULL;
    if (usage && !running) {
        return cli_fail(EXIT_FAILED, "no gateway runs here, and only a running one counts");
    }
    const int code =
        running ? client_json(args, config, "GET", "/api/v1/keys", &o) : list_of_file(config, &o);
    if (code != EXIT_FINE) {
        return code;
    }
    const json_t *keys = json_object_get(o, "keys");
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (json_array_size(keys) == 0) {
        (void)puts("there are no keys");
    } else {
        print_keys(keys, usage);
    }
    json_decref(o);
    return EXIT_FINE;
}

/* ---- user ---------------------------------------------------------------------------------- */

static int print_user(const struct cli_args *args)
{
    char password[VV_PASSWORD_MAX + 2] = "";
    uint8_t salt[VV_USER_SALT];
    struct vv_sb out = VV_SB_INIT;
    if (!read_secret("password: ", password, sizeof password)) {
        return cli_fail(EXIT_USAGE, "give the password on standard input");
    }
    vv_entropy_fill(salt, sizeof salt);
    const enum vv_err err =
        vv_user_line(vv_str_from(cli_word(args, 1)), vv_str_from(cli_value(args, "plan")),
                     vv_str_from(password), salt, &out);
    OPENSSL_cleanse(password, sizeof password);
    if (err == VV_OK) {
        cli_print(vv_sb_str(&out));
    }
    vv_sb_fini(&out);
    return err == VV_OK ? EXIT_FINE
                        : cli_fail(EXIT_USAGE, "a name has letters, digits, . _ @ -; a password at "
                                               "most 256 bytes");
}

int verb_key(const struct cli_args *args)
{
    const char *what = cli_word(args, 0);
    const bool lists = what != NULL && (strcmp(what, "list") == 0 || strcmp(what, "usage") == 0);
    const char *config = cli_word(args, lists ? 1 : 2);
    char socket[VV_SOCKET_PATH + 8];
    if (what == NULL || (!lists && cli_word(args, 1) == NULL)) {
        return cli_fail(EXIT_USAGE, "say " DOS ": %s", example_key);
    }
    if (strcmp(what, "user") == 0) {
        return print_user(args);
    }
    const bool running =
        client_find_quietly(args, config, socket, sizeof socket) && client_alive(socket);
    if (lists) {
        return list_keys(args, config, running, what[0] == 'u');
    }
    if (strcmp(what, "add") == 0) {
        return add_key(args, config, running);
    }
    if (strcmp(what, "revoke") == 0) {
        return revoke_key(args, config, running);
    }
    return cli_fail(EXIT_USAGE, "\"%s\" is not understood: say " DOS, what);
}
