/* src/app/load_agent.c - `vivace load agent`: makes load for a coordinator elsewhere. Because it sends what it
 * is told to whom it is told, it listens beyond loopback only with a token. */
#include "app/load.h"

#include <stdlib.h>
#include <string.h>

#define LISTEN "127.0.0.1:9190"
#define TOKEN_MIN 16

static void say(void *user, const char *text)
{
    (void)user;
    (void)fprintf(stderr, "%s\n", text);
    (void)fflush(stderr);
}

static bool is_loopback(const struct vv_addr *a)
{
    static const char *const blocks[] = {"127.0.0.0/8", "::1/128", "unix"};
    for (size_t i = 0; i < VV_COUNT(blocks); i++) {
        struct vv_cidr c;
        if (vv_cidr_parse(vv_str_from(blocks[i]), &c) == VV_OK && vv_cidr_has(&c, a)) {
            return true;
        }
    }
    return false;
}

int cli_load_agent(const struct cli_args *a)
{
    const char *text = cli_value(a, "listen") != NULL ? cli_value(a, "listen") : LISTEN;
    const char *token = getenv("VIVACE_LOAD_TOKEN");
    const struct vv_listen_options options = {.backlog = 16};
    char address[VV_ADDR_TEXT];
    struct vv_addr listen;
    int fd = -1;
    token = token != NULL && token[0] != '\0' ? token : NULL;
    if (a->words_count > 1) {
        return cli_fail(EXIT_USAGE, "vivace load agent --listen ADDRESS takes no more words");
    }
    if (vv_addr_parse(vv_str_from(text), &listen) != VV_OK) {
        return cli_fail(EXIT_USAGE, "--listen: \"%s\" is no address with a port", text);
    }
    if (!is_loopback(&listen) && (token == NULL || strlen(token) < TOKEN_MIN)) {
        return cli_fail(EXIT_USAGE,
                        "an agent sends load to whatever it is told: beyond loopback it wants a "
                        "token of at least %d characters in VIVACE_LOAD_TOKEN, here and where "
                        "--agents is used",
                        TOKEN_MIN);
    }
    enum vv_err err = vv_sock_listen(&listen, &options, &fd);
    if (err != VV_OK) {
        return cli_fail(EXIT_FAILED, "%s: %s", text, vv_err_text(err));
    }
    if (vv_sock_local(fd, &listen) == VV_OK) { /* port 0 has become one */
        (void)vv_addr_format(&listen, address, sizeof address);
        (void)printf("listening on %s\n", address);
        (void)fflush(stdout);
    }
    cli_load_catch_signals();
    const struct vv_load_agent agent = {
        .listen_fd = fd, .token = token, .stop = cli_load_stop(), .log = say};
    err = vv_load_agent_serve(&agent);
    vv_close_fd(&fd);
    return err == VV_OK ? EXIT_FINE : cli_fail(EXIT_FAILED, "%s", vv_err_text(err));
}
