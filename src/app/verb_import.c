/* src/app/verb_import.c - `vivace import KIND FILE`: other tools' files as scenario files. What could not be
 * taken over is said on standard error, so that the file alone can be piped. */
#include "app/load.h"
#include "load/import.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option options_import[] = {
    {'o', "output", "FILE", "write here instead of to standard output"},
    {'q', "quiet", NULL, "no notes on what was left out"},
    CLI_HELP_OPTION,
    {0},
};
const char example_import[] = "vivace import har session.har --output load.yml";

#define FILE_MAX (256U * 1024 * 1024)
#define KINDS "artillery, har or access-log"

static enum vv_err convert(const char *kind, struct vv_str text, struct vv_sb *out,
                           struct vv_load_notes *notes)
{
    if (strcmp(kind, "artillery") == 0) {
        return vv_load_import_artillery(text.p, out, notes); /* files end with a NUL */
    }
    return strcmp(kind, "har") == 0 ? vv_load_import_har(text, out, notes)
                                    : vv_load_import_access_log(text, out, notes);
}

static void print_notes(const char *path, const struct vv_load_notes *notes)
{
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->note[i].line > 0) {
            (void)fprintf(stderr, "%s:%zu: %s\n", path, notes->note[i].line, notes->note[i].text);
        } else {
            (void)fprintf(stderr, "%s: %s\n", path, notes->note[i].text);
        }
    }
}

static int finish(const struct cli_args *args, enum vv_err err, const char *kind, const char *path,
                  const struct vv_sb *out)
{
    const char *to = cli_value(args, "output");
    if (err == VV_ESYNTAX) {
        return cli_fail(EXIT_USAGE, "%s: this is no %s file", path, kind);
    }
    if (err != VV_OK || out->failed) {
        return cli_fail(EXIT_FAILED, "%s: %s", path, vv_err_text(err != VV_OK ? err : VV_ENOMEM));
    }
    if (to != NULL) {
        return cli_load_write_file(to, vv_sb_str(out)) ? EXIT_FINE : EXIT_FAILED;
    }
    cli_print(vv_sb_str(out));
    return EXIT_FINE;
}

int verb_import(const struct cli_args *args)
{
    const char *kind = cli_word(args, 0), *path = cli_word(args, 1);
    struct vv_load_notes notes = {0};
    struct vv_sb out = VV_SB_INIT;
    char *text = NULL;
    size_t bytes = 0;
    if (args->words_count != 2) {
        return cli_fail(EXIT_USAGE, "give a kind and a file: vivace import " KINDS " FILE");
    }
    if (strcmp(kind, "artillery") != 0 && strcmp(kind, "har") != 0 &&
        strcmp(kind, "access-log") != 0) {
        return cli_fail(EXIT_USAGE, "there is no kind \"%s\": " KINDS, kind);
    }
    enum vv_err err =
        vv_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, FILE_MAX, &text, &bytes);
    if (err != VV_OK) {
        return cli_fail(EXIT_USAGE, "%s: %s", path, vv_err_text(err));
    }
    err = convert(kind, (struct vv_str){text, bytes}, &out, &notes);
    if (!cli_flag(args, "quiet") || err != VV_OK) {
        print_notes(path, &notes);
    }
    const int code = finish(args, err, kind, path, &out);
    vv_load_notes_free(&notes);
    vv_sb_fini(&out);
    free(text);
    return code;
}
