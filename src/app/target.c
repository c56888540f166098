/* src/app/target.c - the same rules for every verb, so that `run`, `check` and `reload` with the same
 * words mean the same file. */
#include "app/target.h"
#include "app/socket_path.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum vv_err target_file(const struct cli_args *a, const char *file, struct vv_run *ret)
{
    static char path[PATH_MAX]; /* one file per process, for its whole life */
    const enum vv_err err =
        vv_absolute_path(file != NULL ? file : TARGET_DEFAULT_FILE, path, sizeof path);
    if (err != VV_OK) {
        return err;
    }
    ret->path = path;
    ret->profile = cli_value(a, "profile");
    ret->env_file = cli_value(a, "env-file");
    ret->argv = a->argv;
    return VV_OK;
}

int target_load(const struct cli_args *a, const struct vv_run *run, const char *consequence,
                struct vv_settings **ret)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_conf_problems *problems = vv_conf_problems_new();
    if (problems == NULL) {
        return cli_fail(EXIT_FAILED, "%s", vv_err_text(VV_ENOMEM));
    }
    const enum vv_err err = vv_run_problems(run, problems, ret);
    if (cli_flag(a, "json")) {
        vv_conf_problems_json(problems, &out);
        cli_print(vv_sb_str(&out));
    } else {
        vv_conf_problems_print(problems, cli_color(a, stderr), consequence, &out);
        (void)fwrite(vv_sb_str(&out).p, 1, out.n, stderr);
    }
    int code = err == VV_OK ? EXIT_FINE : EXIT_USAGE;
    if (err == VV_OK && cli_flag(a, "strict") && vv_conf_problems_warnings(problems) > 0) {
        code = EXIT_FAILED;
    }
    if (err != VV_OK && vv_conf_problems_errors(problems) == 0) {
        code = cli_fail(EXIT_FAILED, "%s: %s", run->path, vv_err_text(err));
    }
    vv_sb_fini(&out);
    vv_conf_problems_free(problems);
    return code;
}

enum vv_err target_socket(const struct cli_args *a, const struct vv_settings *s, const char *key,
                          struct vv_run *run)
{
    static char path[PATH_MAX];
    const char *given = cli_value(a, "socket");
    if (given == NULL && s != NULL) {
        given = s->socket;
    }
    const enum vv_err err = given != NULL ? vv_absolute_path(given, path, sizeof path)
                                          : vv_socket_path_make(key, path, sizeof path);
    if (err != VV_OK) {
        return err;
    }
    if (strlen(path) > VV_SOCKET_PATH) {
        return VV_ERANGE;
    }
    run->socket = path;
    return VV_OK;
}

bool client_socket_of_file(const char *file, char *buf, size_t buf_bytes)
{
    char path[PATH_MAX], socket[PATH_MAX];
    struct vv_settings *s = NULL;
    bool found = false;
    if (vv_absolute_path(file, path, sizeof path) != VV_OK || access(path, R_OK) != 0) {
        return false;
    }
    const struct vv_run run = {.path = path};
    if (vv_run_load(&run, NULL, NULL, &s) != VV_OK) {
        return false;
    }
    if (s->socket != NULL && vv_absolute_path(s->socket, socket, sizeof socket) == VV_OK &&
        strlen(socket) < buf_bytes && client_alive(socket)) {
        (void)snprintf(buf, buf_bytes, "%s", socket);
        found = true;
    }
    vv_settings_free(s);
    return found;
}

const char *target_exe(void)
{
    static const char deleted[] = " (deleted)"; /* proc(5): appended when the file was replaced */
    static char path[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) {
        return NULL;
    }
    path[n] = '\0';
    if (vv_str_ends(vv_str_from(path), VV_STR(deleted))) {
        path[(size_t)n - (sizeof deleted - 1)] = '\0';
    }
    return path;
}
