/* src/app/target.h - from a command line to what it means: which file, profile, environment, socket. */
#ifndef VV_APP_TARGET_H
#define VV_APP_TARGET_H
#include "app/cli.h"
#include "app/run.h"

#define TARGET_DEFAULT_FILE "vivace.yaml"

/* Fills in path (absolute, in storage of the process), profile and env_file. Once per process. */
VV_MUST_CHECK enum vv_err target_file(const struct cli_args *a, const char *file,
                                      struct vv_run *ret);
/* Loads, prints problems (JSON with --json) to standard error or output; returns an exit code.
 * `consequence` ends the summary: "Nothing was started." */
int target_load(const struct cli_args *a, const struct vv_run *run, const char *consequence,
                struct vv_settings **ret);
/* Decides run->socket: --socket, the file's key, else the derived path. */
VV_MUST_CHECK enum vv_err target_socket(const struct cli_args *a, const struct vv_settings *s,
                                        const char *key, struct vv_run *run);
/* The path of this binary as it was started (a replaced file is found at the same path). */
const char *target_exe(void);
#endif
