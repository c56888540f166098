/* src/app/cli.h - the command line: verbs, options, output.
 *
 * Model:     `vivace VERB [OPTIONS] [WORDS]`. Verbs are rows of verbs.def, options rows of a verb; the
 *            help pages and the shell completions come from the rows.
 * Exit:      0 fine, 1 failed, 2 wrong use or a configuration with errors.
 * Threads:   one. Ownership: arguments borrow argv.
 */
#ifndef VV_APP_CLI_H
#define VV_APP_CLI_H
#include "base/err.h"
#include "base/sb.h"
#include <jansson.h>
#include <stdio.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define CLI_OPTIONS_MAX 64
#define CLI_WORDS_MAX 8

struct cli_option {
    char letter;       /* 0: none */
    const char *name;  /* without "--" */
    const char *value; /* name of its value for the help; NULL: a flag */
    const char *help;
};

struct cli_args {
    const struct cli_verb *verb;
    char *const *argv; /* the whole command line */
    size_t options_count;
    struct {
        const struct cli_option *option;
        const char *value;
    } option[CLI_OPTIONS_MAX];
    size_t words_count;
    const char *word[CLI_WORDS_MAX];
};

struct cli_verb {
    const char *name, *args, *help;
    const struct cli_option *options; /* ends with a NULL name */
    const char *example;
    int (*run)(const struct cli_args *args);
};
#define VV_VERB(verb, words, text)                                                                 \
    extern const struct cli_option options_##verb[];                                               \
    extern const char example_##verb[];                                                            \
    int verb_##verb(const struct cli_args *args);
#include "app/verbs.def"
#undef VV_VERB
extern const struct cli_verb cli_verbs[];
extern const size_t cli_verbs_count;

/* Options every verb has, and those of verbs that talk to a running gateway. */
#define CLI_HELP_OPTION                                                                            \
    {                                                                                              \
        'h', "help", NULL, "print this page"                                                       \
    }
#define CLI_JSON_OPTION                                                                            \
    {                                                                                              \
        0, "json", NULL, "print JSON, for programs"                                                \
    }
#define CLI_COLOR_OPTION                                                                           \
    {                                                                                              \
        0, "color", "WHEN", "auto (default), always or never"                                      \
    }
#define CLI_SOCKET_OPTION                                                                          \
    {                                                                                              \
        0, "socket", "PATH", "admin socket of the gateway, else found by FILE"                     \
    }

bool cli_flag(const struct cli_args *a, const char *name);
const char *cli_value(const struct cli_args *a,
                      const char *name); /* the last one; NULL: not given */
size_t cli_values(const struct cli_args *a, const char *name, const char **list, size_t max);
/* word[index] or NULL. */
const char *cli_word(const struct cli_args *a, size_t index);
/* Colour on this stream? --color, NO_COLOR, then whether it is a terminal. */
bool cli_color(const struct cli_args *a, FILE *stream);
/* "vivace: text" on standard error; returns `code`. */
int cli_fail(int code, const char *fmt, ...) VV_PRINTF(2, 3);
void cli_print_help(FILE *out, const struct cli_verb *verb); /* NULL: all commands */
const struct cli_verb *cli_find_verb(const char *name);
void cli_print(struct vv_str text); /* to standard output, whole */

/* --- the running gateway (client.c) --- */

struct client_answer {
    int status;
    struct vv_sb body;
};
/* Path of the admin socket: --socket, then the file's, then the only running gateway. Prints why not
 * and returns false. buf >= VV_SOCKET_PATH. */
bool client_find(const struct cli_args *a, const char *file, char *buf, size_t buf_bytes);
bool client_find_quietly(const struct cli_args *a, const char *file, char *buf, size_t buf_bytes);
/* One call. VV_EREFUSED, VV_ENOENT: nobody there. The caller frees the body. */
VV_MUST_CHECK enum vv_err client_call(const char *socket, const char *method, const char *target,
                                      struct vv_str body, struct client_answer *ret);
/* Calls fn with the decoded bytes of an endless answer until it returns false or the end. */
VV_MUST_CHECK enum vv_err client_stream(const char *socket, const char *target,
                                        bool (*fn)(void *user, struct vv_str bytes), void *user);
/* Finds the gateway, calls, prints failures; on success *ret is the JSON (owned by the caller).
 * Returns an exit code. */
int client_json(const struct cli_args *a, const char *file, const char *method, const char *target,
                json_t **ret);
/* The same with a body; the same for a question to which 404 is an answer. */
int client_json_send(const struct cli_args *a, const char *file, const char *method,
                     const char *target, struct vv_str body, json_t **ret);
int client_json_quiet(const struct cli_args *a, const char *file, const char *target, json_t **ret);
bool client_alive(const char *socket);

/* The `socket:` key of a file, when the file can be read and somebody listens there (target.c). */
bool client_socket_of_file(const char *file, char *buf, size_t buf_bytes);

/* --- JSON helpers --- */
double json_num(const json_t *o, const char *key);       /* 0 when absent */
const char *json_text(const json_t *o, const char *key); /* "" when absent */
void cli_print_json(const json_t *o);
#endif
