/* src/app/load.h - what the forms of `vivace load` share: a command line as a job, one run with its live
 * view, the reports.
 *
 * Ownership: a setup owns the texts the job borrows: cli_load_setup_free().
 * Exit:      0 fine, 1 failed, invalid or nothing succeeded, 2 wrong use or a file with errors,
 *            99 a strict gate was missed, 130 interrupted.
 */
#ifndef VV_APP_LOAD_H
#define VV_APP_LOAD_H
#include "app/cli.h"
#include "load/agents.h"
#include "load/report.h"

enum { EXIT_MISSED = 99, EXIT_INTERRUPTED = 130 };
#define LOAD_GATES_MAX 32

struct cli_load {
    struct vv_load_job job;
    struct vv_load_plan *plan;
    struct vv_load_view view;
    struct vv_load_gate gate[LOAD_GATES_MAX]; /* of the command line */
    size_t gate_count;
    const char *header[CLI_OPTIONS_MAX];
    char *text, *body, *overrides, *ca; /* of the job */
};
/* `what`: URL or file, NULL: the profile's or --target. `rate` > 0 replaces all phases by one of this
 * rate for `for_ns`; without a rate `for_ns` > 0 replaces --for. Prints what is wrong; returns an exit code. */
int cli_load_setup(const struct cli_args *a, const char *what, const char *profile, double rate,
                   uint64_t for_ns, struct cli_load *ret);
void cli_load_setup_free(struct cli_load *s);
bool cli_load_is_profile(const char *word);

/* Catches SIGINT and SIGTERM once: the run ends early and is reported. */
void cli_load_catch_signals(void);
const volatile int *cli_load_stop(void);

/* One run, here or on agents. NULL: it failed and said why. `live`: show progress. */
struct vv_load_result *cli_load_run(const struct cli_args *a, const struct cli_load *s, bool live);
/* Prints and writes what the options ask for; returns the exit code of the verdict. */
int cli_load_report(const struct cli_args *a, const struct cli_load *s,
                    const struct vv_load_result *r);
bool cli_load_write_file(const char *path, struct vv_str text); /* says why not */

/* A duration option; false: malformed, said so. Absent: *ret is left alone. */
bool cli_load_duration(const struct cli_args *a, const char *option, uint64_t *ret_ns);
bool cli_load_number(const struct cli_args *a, const char *option, double *ret);

int cli_load_compare(const struct cli_args *a);
int cli_load_limit(const struct cli_args *a);
int cli_load_agent(const struct cli_args *a);
#endif
