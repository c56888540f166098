/* tests/fuzz/fuzz_conf.c - any text loads or is refused with reasons, and what `config show --long`
 * prints loads again and prints the same. Nothing is read but the text. */
#include "gateway/settings.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 loses 4 KiB when a quoted text of many escapes ends in a syntax error. It is not
 * ours to mend and happens once per refused file, so the leak checker is told to look past it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static const char *a_variable(void *user, const char *name)
{
    (void)user;
    return name[0] == 'A' ? "a: [b, $c" : NULL; /* must stay text, whatever it looks like */
}

/* The long form of what `text` says, or NULL when it was refused. */
static char *long_form(const char *text, const char *name)
{
    const struct vv_conf_source source = {
        .path = name, .text = text, .no_files = true, .env = a_variable};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_settings *settings = NULL;
    struct vv_sb sb = VV_SB_INIT, shown = VV_SB_INIT;
    VV_ASSERT(problems != NULL);
    const enum vv_err err = vv_settings_load(&source, problems, &settings);
    VV_ASSERT((err == VV_OK) == (vv_conf_problems_errors(problems) == 0));
    vv_conf_problems_print(problems, true, "Nothing was started.", &sb);
    vv_conf_problems_json(problems, &sb);
    if (err == VV_OK) {
        vv_conf_show(vv_settings_doc(settings), VV_CONF_SHOW_ORIGIN, &sb);
        vv_conf_show(vv_settings_doc(settings), VV_CONF_SHOW_JSON, &sb);
        vv_conf_show(vv_settings_doc(settings), VV_CONF_SHOW_LONG, &shown);
        vv_settings_free(settings);
    }
    vv_sb_fini(&sb);
    vv_conf_problems_free(problems);
    return err == VV_OK ? vv_sb_take(&shown) : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536) {
        return 0;
    }
    char *text = malloc(size + 1);
    VV_ASSERT(text != NULL);
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)data[i];
    }
    text[size] = '\0';
    char *once = long_form(text, "fuzz.yaml");
    if (once != NULL) {
        char *twice = long_form(once, "shown.yaml");
        VV_ASSERT(twice != NULL);
        VV_ASSERT(strcmp(once, twice) == 0);
        free(twice);
    }
    free(once);
    free(text);
    return 0;
}
