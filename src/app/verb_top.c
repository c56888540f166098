/* src/app/verb_top.c - `vivace top`: the alternate screen, redrawn in one write, so it never flickers
 * and leaves the terminal as it was. Without a terminal it prints one picture. */
#include "app/socket_path.h"
#include "app/target.h"
#include "app/view.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

const struct cli_option options_top[] = {
    {'s', "seconds", "COUNT", "average over so many seconds, default 10"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_top[] = "vivace top --seconds 5";

#define REDRAW_MS 1000
#define SECONDS_MAX 900

struct screen {
    struct termios before;
    char target[48];
    const char *socket;
    unsigned sort;
    bool color;
    bool over;
};

static volatile sig_atomic_t woken; /* a signal: redraw or end */
static volatile sig_atomic_t ended;

static void on_signal(int signo)
{
    woken = 1;
    if (signo != SIGWINCH) {
        ended = 1;
    }
}

static void catch_signals(void)
{
    static const int caught[] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_handler = on_signal};
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < VV_COUNT(caught); i++) {
        (void)sigaction(caught[i], &a, NULL);
    }
}

static json_t *fetch(const struct screen *s)
{
    struct client_answer answer = {0};
    if (client_call(s->socket, "GET", s->target, VV_STR(""), &answer) != VV_OK) {
        return NULL;
    }
    json_t *o = json_loadb(vv_sb_str(&answer.body).p, answer.body.n, 0, NULL);
    vv_sb_fini(&answer.body);
    return o;
}

static void write_out(const struct vv_sb *out)
{
    size_t at = 0;
    while (at < out->n) {
        const ssize_t n = write(STDOUT_FILENO, out->p + at, out->n - at);
        if (n <= 0) {
            return;
        }
        at += (size_t)n;
    }
}

static void draw(struct screen *s)
{
    struct winsize size = {.ws_col = 80, .ws_row = 24};
    struct vv_sb out = VV_SB_INIT;
    json_t *o = fetch(s);
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    vv_sb_adds(&out, "\033[H");
    if (o == NULL) {
        vv_sb_adds(&out, "the gateway does not answer; trying again\033[K\r\n");
    } else {
        const struct view v = {.o = o,
                               .width = size.ws_col,
                               .height = size.ws_row,
                               .sort = s->sort,
                               .color = s->color,
                               .eol = "\033[K\r\n"};
        view_print(&v, &out);
    }
    vv_sb_addf(&out, "\033[J\033[%u;1Hq quit   left/right: routes by %s\033[K",
               (unsigned)size.ws_row, view_sort_name(s->sort));
    write_out(&out);
    vv_sb_fini(&out);
    json_decref(o);
}

static void on_keys(struct screen *s)
{
    char key[32];
    const ssize_t n = read(STDIN_FILENO, key, sizeof key);
    if (n <= 0) {
        s->over = n == 0;
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (key[i] == 'q' || key[i] == 'Q' || key[i] == 3) {
            s->over = true;
        } else if (key[i] == '\033' && i + 2 < n && key[i + 1] == '[') {
            const char arrow = key[i + 2];
            i += 2;
            if (arrow == 'C' || arrow == 'B') {
                s->sort = (s->sort + 1) % VIEW_SORTS;
            } else if (arrow == 'D' || arrow == 'A') {
                s->sort = (s->sort + VIEW_SORTS - 1) % VIEW_SORTS;
            }
        }
    }
}

static void live(struct screen *s)
{
    static const char enter[] = "\033[?1049h\033[?25l";
    static const char leave[] = "\033[?25h\033[?1049l";
    struct termios raw = s->before;
    struct vv_sb out = VV_SB_INIT;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    vv_sb_adds(&out, enter);
    write_out(&out);
    while (!s->over && ended == 0) {
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        woken = 0;
        draw(s);
        if (poll(&p, 1, REDRAW_MS) > 0) {
            on_keys(s);
        }
    }
    vv_sb_reset(&out);
    vv_sb_adds(&out, leave);
    write_out(&out);
    vv_sb_fini(&out);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

static int once(const struct cli_args *args, struct screen *s)
{
    struct vv_sb out = VV_SB_INIT;
    json_t *o = fetch(s);
    if (o == NULL) {
        return cli_fail(EXIT_FAILED, "the gateway does not answer");
    }
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else {
        const struct view v = {.o = o, .width = 200, .color = s->color, .eol = "\n"};
        view_print(&v, &out);
        cli_print(vv_sb_str(&out));
    }
    vv_sb_fini(&out);
    json_decref(o);
    return EXIT_FINE;
}

int verb_top(const struct cli_args *args)
{
    char socket[VV_SOCKET_PATH + 8];
    const char *text = cli_value(args, "seconds");
    struct screen s = {.socket = socket, .sort = 0, .color = cli_color(args, stdout)};
    uint64_t seconds = 10;
    if (text != NULL && (vv_str_to_u64(vv_str_from(text), &seconds) != VV_OK || seconds == 0 ||
                         seconds > SECONDS_MAX)) {
        return cli_fail(EXIT_USAGE, "--seconds takes a number from 1 to %d", SECONDS_MAX);
    }
    if (!client_find(args, cli_word(args, 0), socket, sizeof socket)) {
        return EXIT_FAILED;
    }
    (void)snprintf(s.target, sizeof s.target, "/api/v1/top?seconds=%llu",
                   (unsigned long long)seconds);
    if (cli_flag(args, "json") || isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1 ||
        tcgetattr(STDIN_FILENO, &s.before) != 0) {
        return once(args, &s);
    }
    catch_signals();
    live(&s);
    return EXIT_FINE;
}
