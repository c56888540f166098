/* src/app/run.h - what `vivace run` and `vivace proxy` were asked to run, and how to read it (again).
 *
 * Ownership: all text is borrowed from the command line or the verb and lives as long as the process.
 * Threads:   supervisor thread, and the worker's control thread after the fork.
 */
#ifndef VV_APP_RUN_H
#define VV_APP_RUN_H
#include "base/sb.h"
#include "gateway/gateway.h"
#include "gateway/settings.h"

struct vv_run {
    const char *path;     /* absolute path of the file; a name for the text when text is given */
    const char *text;     /* NULL: read the file */
    const char *profile;  /* NULL: from the file */
    const char *env_file; /* NULL: none; read again at every load */
    const char *socket;   /* path of the admin socket */
    const char *exe;      /* path of the binary, resolved at the start */
    char *const *argv;    /* the command line, for binary upgrades */
    bool quiet;           /* no welcome block */
    bool no_overlay;      /* the file alone, without run-time changes */
};

/* Loads the settings; problems (also warnings on VV_OK) are appended to text or json, which may be
 * NULL. */
VV_MUST_CHECK enum vv_err vv_run_load(const struct vv_run *run, struct vv_sb *text,
                                      struct vv_sb *json, struct vv_settings **ret);
/* The same with the problems as they are. */
VV_MUST_CHECK enum vv_err vv_run_problems(const struct vv_run *run,
                                          struct vv_conf_problems *problems,
                                          struct vv_settings **ret);
/* Threads of a worker process with these settings. */
unsigned vv_run_threads(const struct vv_settings *s);
/* Address of a listener in the text form of os/sock.h; buf >= 24. */
const char *vv_run_address(const struct vv_listen_settings *l, char *buf, size_t buf_bytes);
/* The list for vv_sockets_want(): listeners, "@admin" and "@socket". */
VV_MUST_CHECK enum vv_err vv_run_wanted(const struct vv_run *run, const struct vv_settings *s,
                                        unsigned threads, struct vv_sb *out);
bool vv_run_has_admin(const struct vv_settings *s); /* `admin: none` switches the listener off */
#endif
