/* src/app/run.c - reading the configuration the same way at the start, at a reload and after a crash:
 * the environment file is read again each time, so a reload sees its changes too. */
#include "app/run.h"
#include "app/sockets.h"
#include "gateway/resp_front.h"
#include "os/clock.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>

#define ENV_FILE_BYTES_MAX (1024 * 1024)
#define THREADS_MAX 256
#define ADMIN_SOCKET_MODE 0600
#define STORE_SOCKET_MODE 0660 /* of a store served at a unix socket */

struct env { /* an environment file in memory: text with each line NUL-terminated */
    char *text;
    size_t bytes;
};

static struct vv_str unquote(struct vv_str value)
{
    if (value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') &&
        value.p[value.n - 1] == value.p[0]) {
        return (struct vv_str){value.p + 1, value.n - 2};
    }
    return value;
}

/* NAME=value, one a line; "#" begins a comment line, "export " may stand in front. The file wins over
 * the process's own environment, for it is the nearer one. */
static const char *env_lookup(void *user, const char *name)
{
    static char value[8192]; /* copied by the caller before the next call */
    const struct env *env = user;
    struct vv_str rest = {env->text, env->bytes};
    while (rest.n > 0) {
        struct vv_str line = vv_str_trim(vv_str_cut(&rest, '\n'));
        if (line.n > 0 && line.p[line.n - 1] == '\r') {
            line.n--;
        }
        if (vv_str_starts(line, VV_STR("export "))) {
            line = vv_str_trim((struct vv_str){line.p + 7, line.n - 7});
        }
        const ptrdiff_t at = vv_str_find_char(line, '=');
        if (at <= 0 || line.p[0] == '#' ||
            !vv_str_eq(vv_str_trim((struct vv_str){line.p, (size_t)at}), vv_str_from(name))) {
            continue;
        }
        const struct vv_str text = {line.p + at + 1, line.n - (size_t)at - 1};
        const struct vv_str v = unquote(vv_str_trim(text));
        if (v.n >= sizeof value) {
            continue;
        }
        memcpy(value, v.p, v.n);
        value[v.n] = '\0';
        return value;
    }
    return getenv(name);
}

static void report(const struct vv_conf_problems *problems, struct vv_sb *text, struct vv_sb *json)
{
    if (text != NULL) {
        vv_conf_problems_print(problems, false, "Nothing was changed.", text);
    }
    if (json != NULL) {
        vv_conf_problems_json(problems, json);
    }
}

/* One spelling for everybody: a listener with a port has the address ":port". */
static enum vv_err spell_addresses(struct vv_settings *s)
{
    struct vv_conf_doc *doc = (struct vv_conf_doc *)(uintptr_t)vv_settings_doc(s);
    for (size_t i = 0; s->listen != NULL && i < s->listen->count; i++) {
        struct vv_listen_settings *l = s->listen->item[i];
        char buf[32];
        if (l->address == NULL) {
            l->address = vv_conf_dup(doc, vv_str_from(vv_run_address(l, buf, sizeof buf)));
        }
        if (l->address == NULL) {
            return VV_ENOMEM;
        }
    }
    return VV_OK;
}

enum vv_err vv_run_problems(const struct vv_run *run, struct vv_conf_problems *problems,
                            struct vv_settings **ret)
{
    struct env env = {NULL, 0};
    struct vv_conf_source source = {.path = run->path,
                                    .text = run->text,
                                    .profile = run->profile,
                                    .no_overlay = run->no_overlay};
    if (run->env_file != NULL) {
        const enum vv_err err =
            vv_file_read(run->env_file, ENV_FILE_BYTES_MAX, &env.text, &env.bytes);
        if (err != VV_OK) {
            vv_conf_problems_add(problems, false, run->env_file, "cannot be read: %s",
                                 vv_err_text(err));
            return VV_ECONFIG;
        }
        source.env = env_lookup;
        source.env_user = &env;
    }
    struct vv_settings *s = NULL;
    enum vv_err err = vv_settings_load(&source, problems, &s);
    free(env.text);
    if (err == VV_OK) {
        err = spell_addresses(s);
        if (err != VV_OK) {
            vv_settings_free(s);
        }
    }
    if (err == VV_OK) {
        *ret = s;
    }
    return err;
}

enum vv_err vv_run_load(const struct vv_run *run, struct vv_sb *text, struct vv_sb *json,
                        struct vv_settings **ret)
{
    struct vv_conf_problems *problems = vv_conf_problems_new();
    if (problems == NULL) {
        return VV_ENOMEM;
    }
    const enum vv_err err = vv_run_problems(run, problems, ret);
    report(problems, text, json);
    vv_conf_problems_free(problems);
    return err;
}

unsigned vv_run_threads(const struct vv_settings *s)
{
    const uint64_t n = s->workers != 0 ? s->workers : vv_cpu_usable();
    return (unsigned)vv_min_u64(n, THREADS_MAX);
}

const char *vv_run_address(const struct vv_listen_settings *l, char *buf, size_t buf_bytes)
{
    if (l->address != NULL) {
        return l->address;
    }
    (void)snprintf(buf, buf_bytes, ":%llu", (unsigned long long)l->port);
    return buf;
}

bool vv_run_has_admin(const struct vv_settings *s)
{
    return s->admin != NULL && strcmp(s->admin, "none") != 0;
}

enum vv_err vv_run_wanted(const struct vv_run *run, const struct vv_settings *s, unsigned threads,
                          struct vv_sb *out)
{
    char buf[32], path[VV_ADDR_TEXT];
    bool fine = true;
    for (size_t i = 0; s->listen != NULL && i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        fine = fine && vv_sockets_line(out, l->name, vv_run_address(l, buf, sizeof buf), threads,
                                       (unsigned)l->unix_mode);
    }
    for (size_t i = 0; s->stores != NULL && i < s->stores->count; i++) {
        const struct vv_store_settings *store = s->stores->item[i];
        char place[VV_RESP_PLACE_BYTES];
        if (vv_resp_place(store, place)) {
            fine = fine && vv_sockets_line(out, place, store->listen, threads, STORE_SOCKET_MODE);
        }
    }
    if (vv_run_has_admin(s)) {
        fine = fine && vv_sockets_line(out, "@admin", s->admin, 1, 0);
    }
    (void)snprintf(path, sizeof path, "unix:%s", run->socket);
    fine = fine && vv_sockets_line(out, "@socket", path, 1, ADMIN_SOCKET_MODE);
    if (!fine) {
        return VV_EINVAL;
    }
    return out->failed ? VV_ENOMEM : VV_OK;
}
