/* src/app/load_run.c - one run with its live view on standard error, so that the report on standard output
 * can be piped. On a terminal the view is redrawn in place; elsewhere it is a line a second, and
 * after a minute a line every ten. */
#include "app/load.h"
#include "os/file.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINES_ALL 60 /* seconds with a line each; afterwards every tenth has one */
#define LINES_EVERY 10

static volatile int stop;

static void on_signal(int signo)
{
    (void)signo;
    stop = 1;
}

void cli_load_catch_signals(void)
{
    /* The second signal ends the process at once: somebody means it. */
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&a.sa_mask);
    (void)sigaction(SIGINT, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
}

const volatile int *cli_load_stop(void)
{
    return &stop;
}

struct live {
    bool terminal, color;
    unsigned lines; /* drawn by the last refresh */
    uint64_t calls;
};

static bool show(void *user, const struct vv_load_result *so_far)
{
    struct live *l = user;
    struct winsize size = {.ws_col = 80};
    struct vv_sb out = VV_SB_INIT;
    l->calls++;
    if (!l->terminal) {
        if (l->calls <= LINES_ALL || l->calls % LINES_EVERY == 0) {
            vv_load_report_live(so_far, 0, false, &out);
        }
    } else {
        (void)ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
        if (l->lines > 0) {
            vv_sb_addf(&out, "\033[%uA", l->lines);
        }
        vv_sb_adds(&out, "\033[J");
        const size_t from = out.n;
        vv_load_report_live(so_far, size.ws_col > 0 ? size.ws_col : 80, l->color, &out);
        l->lines = 0;
        for (size_t i = from; i < out.n; i++) {
            l->lines += out.p[i] == '\n' ? 1 : 0;
        }
    }
    if (out.n > 0 && !out.failed) {
        (void)fwrite(out.p, 1, out.n, stderr);
        (void)fflush(stderr);
    }
    vv_sb_fini(&out);
    return stop != 0;
}

static void clear(const struct live *l)
{
    if (l->terminal && l->lines > 0) {
        (void)fprintf(stderr, "\033[%uA\033[J", l->lines);
        (void)fflush(stderr);
    }
}

/* ---- agents ---- */

/* "a:9190,b:9190" */
static bool read_agents(const char *text, struct vv_addr *list, size_t *ret_count)
{
    struct vv_str rest = vv_str_from(text);
    size_t n = 0;
    while (rest.p != NULL) {
        const struct vv_str one = vv_str_trim(vv_str_cut(&rest, ','));
        if (n == VV_LOAD_AGENTS_MAX || vv_addr_parse(one, &list[n]) != VV_OK) {
            (void)cli_fail(EXIT_USAGE, "--agents: \"%.*s\" is no address with a port",
                           VV_STR_ARG(one));
            return false;
        }
        n++;
    }
    *ret_count = n;
    return true;
}

static struct vv_load_result *run_agents(const struct cli_args *a, const struct cli_load *s)
{
    static struct vv_addr agent[VV_LOAD_AGENTS_MAX];
    struct vv_load_crew crew = {.agent = agent,
                                .token = getenv("VIVACE_LOAD_TOKEN"),
                                .job = &s->job,
                                .plan = s->plan,
                                .stop = &stop};
    struct vv_load_result *r = NULL;
    struct vv_sb why = VV_SB_INIT;
    if (!read_agents(cli_value(a, "agents"), agent, &crew.count)) {
        return NULL;
    }
    const enum vv_err err = vv_load_agents_run(&crew, &r, &why);
    if (err != VV_OK) {
        (void)cli_fail(EXIT_FAILED, "%s", why.n > 0 && !why.failed ? why.p : vv_err_text(err));
    }
    vv_sb_fini(&why);
    return r;
}

struct vv_load_result *cli_load_run(const struct cli_args *a, const struct cli_load *s, bool live)
{
    struct live l = {.terminal = isatty(STDERR_FILENO) == 1, .color = cli_color(a, stderr)};
    struct vv_load_options o = {.threads = s->job.threads,
                                .allow_late = s->job.allow_late,
                                .seed = s->job.seed,
                                .progress = live ? show : NULL,
                                .user = &l,
                                .stop = &stop};
    struct vv_load_result *r = NULL;
    if (cli_value(a, "agents") != NULL) {
        return run_agents(a, s);
    }
    struct vv_sb why = VV_SB_INIT;
    o.why = &why;
    const enum vv_err err = vv_load_run(s->plan, &o, &r);
    clear(&l);
    if (err == VV_EFILES) {
        (void)cli_fail(EXIT_FAILED, "not enough file descriptors for so many users: raise the "
                                    "limit (ulimit -n) or use fewer");
    } else if (err != VV_OK) {
        (void)cli_fail(EXIT_FAILED, "the run failed: %s",
                       why.n > 0 && !why.failed ? why.p : vv_err_text(err));
    }
    vv_sb_fini(&why);
    return r;
}

/* ---- reports ---- */

bool cli_load_write_file(const char *path, struct vv_str text)
{
    const enum vv_err err = vv_file_write(path, text, 0644);
    if (err != VV_OK) {
        (void)cli_fail(EXIT_FAILED, "%s: %s", path, vv_err_text(err));
    }
    return err == VV_OK;
}

typedef void writer(const struct vv_load_result *r, struct vv_load_judged j, struct vv_sb *out);

static bool write_option(const struct cli_args *a, const char *option, writer *fn,
                         const struct vv_load_result *r, struct vv_load_judged j)
{
    const char *path = cli_value(a, option);
    struct vv_sb out = VV_SB_INIT;
    if (path == NULL) {
        return true;
    }
    fn(r, j, &out);
    const bool ok = cli_load_write_file(path, vv_sb_str(&out));
    vv_sb_fini(&out);
    return ok;
}

static int verdict(const struct vv_load_result *r, struct vv_load_judged j)
{
    if (r->interrupted) {
        return EXIT_INTERRUPTED;
    }
    if (r->invalid != NULL || r->answers == 0 || r->failed >= r->requests) {
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < j.count; i++) {
        if (j.verdict[i].gate->strict && !j.verdict[i].held) {
            return EXIT_MISSED;
        }
    }
    return EXIT_FINE;
}

int cli_load_report(const struct cli_args *a, const struct cli_load *s,
                    const struct vv_load_result *r)
{
    struct vv_load_verdict *v = NULL;
    struct vv_load_judged j = {0};
    struct vv_sb out = VV_SB_INIT;
    if (vv_load_judge(r, s->gate, s->gate_count, &v, &j.count) != VV_OK) {
        return cli_fail(EXIT_FAILED, "out of memory");
    }
    j.verdict = v;
    if (cli_flag(a, "json")) {
        vv_load_report_json(r, j, &out);
    } else {
        vv_load_report_text(r, j, cli_color(a, stdout), &out);
    }
    cli_print(vv_sb_str(&out));
    (void)fflush(stdout);
    vv_sb_fini(&out);
    bool ok = write_option(a, "output", vv_load_report_json, r, j);
    ok = write_option(a, "html", vv_load_report_html, r, j) && ok;
    ok = write_option(a, "junit", vv_load_report_junit, r, j) && ok;
    const int code = verdict(r, j);
    free(v);
    return code == EXIT_FINE && !ok ? EXIT_FAILED : code;
}
