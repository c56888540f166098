/* src/conf/reference.c - the reference page and the sample file, printed from the rows. */
#include "conf/conf_int.h"

#define SECTIONS_MAX 64

/* ---- the reference page -------------------------------------------------------------------- */

struct place { /* a section and the key it was first met under */
    const struct vv_conf_section *section;
    const char *title;
};

struct page {
    struct vv_conf_doc *tmp;
    struct vv_sb *out;
    struct place places[SECTIONS_MAX];
    size_t count;
};

static const char *const type_words[] = {
    [VV_CONF_BOOL] = "true, false", [VV_CONF_COUNT] = "number",
    [VV_CONF_OCTAL] = "octal text", [VV_CONF_DURATION] = "duration",
    [VV_CONF_SIZE] = "size",        [VV_CONF_PPM] = "percent",
    [VV_CONF_TEXT] = "text",        [VV_CONF_TEMPLATE] = "template",
    [VV_CONF_JSON] = "any value",   [VV_CONF_TEXTS] = "text or list",
    [VV_CONF_SECTION] = "map",      [VV_CONF_LIST] = "list",
    [VV_CONF_MAP] = "map of names", [VV_CONF_INCLUDE] = "file or list",
    [VV_CONF_PROFILE] = "text",     [VV_CONF_PROFILES] = "map of names",
};

/* "/users/{id}" and "a|b" are safe inside a table once the bars are escaped. */
static void cell(struct vv_sb *out, const char *text)
{
    for (; *text != '\0'; text++) {
        vv_sb_adds(out, *text == '|' ? "\\" : "");
        vv_sb_addc(out, *text);
    }
}

static void add_type(struct page *p, const struct vv_conf_row *row)
{
    if (row->type != VV_CONF_ENUM) {
        vv_sb_adds(p->out, row->one ? "one or a list" : type_words[row->type]);
    }
    for (size_t i = 0; row->type == VV_CONF_ENUM && row->names[i] != NULL; i++) {
        vv_sb_adds(p->out, i > 0 ? ", " : "");
        vv_sb_adds(p->out, row->names[i]);
    }
    if (row->min != NULL || row->max != NULL) {
        vv_sb_addf(p->out, ", %s%s%s", row->min != NULL ? row->min : "up",
                   row->max != NULL ? " to " : " or more", row->max != NULL ? row->max : "");
    }
    vv_sb_adds(p->out, row->word != NULL ? ", or " : "");
    vv_sb_adds(p->out, row->word != NULL ? row->word : "");
}

static const char *anchor(struct page *p, const char *title)
{
    char *text = (char *)(uintptr_t)doc_fmt(p->tmp, "%s", title);
    char *to = text;
    for (const char *c = text; *c != '\0'; c++) { /* as Markdown viewers do it */
        if (*c >= 'A' && *c <= 'Z') {
            *to++ = (char)(*c - 'A' + 'a');
        } else if ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-') {
            *to++ = *c;
        } else if (*c == ' ') {
            *to++ = '-';
        }
    }
    *to = '\0';
    return text;
}

/* Title of the section's part of the page; its first place gives the name. */
static const char *title_of(struct page *p, const struct vv_conf_section *section,
                            const char *title)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->places[i].section == section) {
            return p->places[i].title;
        }
    }
    VV_ASSERT(p->count < SECTIONS_MAX);
    p->places[p->count++] = (struct place){section, title};
    return title;
}

static void add_row(struct page *p, const struct vv_conf_row *row, const char *where)
{
    vv_sb_addf(p->out, "| `%s` | ", row->key);
    add_type(p, row);
    vv_sb_adds(p->out, " | ");
    if (row->required) {
        vv_sb_adds(p->out, "*required*");
    } else if (row->def != NULL) {
        vv_sb_addc(p->out, '`');
        cell(p->out, row->def);
        vv_sb_addc(p->out, '`');
    }
    vv_sb_adds(p->out, row->reload ? " | reload | " : " | restart | ");
    cell(p->out, row->doc);
    if (row->example != NULL) {
        vv_sb_adds(p->out, " Example: `");
        cell(p->out, row->example);
        vv_sb_adds(p->out, "`.");
    }
    if (row->section != NULL) {
        const char *key = row->type == VV_CONF_MAP ? "NAME" : NULL;
        const char *title = where[0] != '\0' ? doc_fmt(p->tmp, "%s.%s", where, row->key) : row->key;
        if (key != NULL) {
            title = doc_fmt(p->tmp, "%s.%s", title, key);
        } else if (row->type == VV_CONF_LIST) {
            title = doc_fmt(p->tmp, "%s[]", title);
        }
        title = title_of(p, row->section, title);
        vv_sb_addf(p->out, " See [%s](#%s).", title, anchor(p, title));
    }
    vv_sb_adds(p->out, " |\n");
}

static void add_shorts(struct page *p, const struct vv_conf_section *section)
{
    for (size_t i = 0; i < section->short_count; i++) {
        const struct vv_conf_short *s = &section->shorts[i];
        static const char *const forms[] = {
            [VV_CONF_FORM_BOOL] = "true or false",
            [VV_CONF_FORM_NUMBER] = "a number",
            [VV_CONF_FORM_SCALAR] = "a single value",
            [VV_CONF_FORM_LIST] = "a list",
        };
        vv_sb_addf(p->out, "Short form: %s stands for `{%s: ...}`.\n", forms[s->form], s->key);
    }
    if (section->short_count > 0) {
        vv_sb_addc(p->out, '\n');
    }
}

static void add_place(struct page *p, const struct place *place)
{
    const bool root = place->title[0] == '\0';
    vv_sb_addf(p->out, "## %s\n\n%s\n\n", root ? "Top level" : place->title, place->section->doc);
    add_shorts(p, place->section);
    vv_sb_adds(p->out,
               "| key | value | default | takes effect | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < place->section->row_count; i++) {
        if (place->section->rows[i].key != NULL) {
            add_row(p, &place->section->rows[i], place->title);
        }
    }
    vv_sb_addc(p->out, '\n');
}

static const char intro[] =
    "# Configuration reference\n"
    "\n"
    "This page is printed by the program (`vivace config reference`) from the table its parser "
    "uses.\n"
    "\n"
    "The file is strict YAML 1.2: unknown keys, duplicate keys and wrong types are errors; only "
    "`true`\n"
    "and `false` are booleans.\n"
    "\n"
    "- **Durations** need a unit: `500ms`, `30s`, `5m`, `1h`, `7d`. **Sizes** too: `64KB`, `10MB`, "
    "`1GB`\n"
    "  (powers of 1024). **Percent** values end in `%`. Zero needs no unit.\n"
    "- **Values from outside**: `${NAME}`, `${NAME:-default}`, `${file:/path}` (kept secret); `$$` "
    "is a\n"
    "  dollar. They are put in after parsing and can never change the structure.\n"
    "- **Templates** know `$host $uri $path $query $scheme $method $client_ip $request_id $rest "
    "$route`,\n"
    "  `$user $plan` (of the caller) `$header.NAME $query.NAME $cookie.NAME` and the parameters of "
    "the route's path, `{id}`.\n"
    "- **File names** are relative to the file that names them.\n"
    "- **Order**: the file, then its includes (own values win, lists are appended), then the "
    "profile,\n"
    "  then the overlay (`NAME.overlay.yaml` beside `NAME.yaml`), which holds changes made at run "
    "time.\n"
    "\n";

static void add_page(struct page *p, const struct vv_conf_section *section)
{
    vv_sb_adds(p->out, intro);
    (void)title_of(p, section, "");
    for (size_t i = 0; i < p->count; i++) { /* grows while rows refer to further sections */
        add_place(p, &p->places[i]);
    }
    if (p->out->n > 0 && !p->out->failed) {
        p->out->p[--p->out->n] = '\0'; /* one line end at the end, not two */
    }
}

/* ---- the sample file ----------------------------------------------------------------------- */

static const char *sample_value(const struct vv_conf_row *row)
{
    return row->sample != NULL    ? row->sample
           : row->example != NULL ? row->example
           : row->def != NULL     ? row->def
                                  : "...";
}

static bool is_compound(const struct vv_conf_row *row)
{
    return row->section != NULL || row->type == VV_CONF_PROFILES;
}

static void sample_section(const struct vv_conf_section *section, int indent, struct vv_sb *out);

static void sample_row(const struct vv_conf_row *row, int indent, struct vv_sb *out)
{
    vv_sb_addf(out, "%*s# %s\n", indent, "", row->doc);
    if (row->sample == NULL) {
        vv_sb_addf(out, "%*s# %s: %s\n", indent, "", row->key,
                   is_compound(row) && row->example == NULL ? "..." : sample_value(row));
        return;
    }
    if (row->type == VV_CONF_MAP && row->sample[0] != '\0' && row->bare_name == NULL) {
        vv_sb_addf(out, "%*s%s:\n%*s%s:\n", indent, "", row->key, indent + 2, "", row->sample);
        sample_section(row->section, indent + 4, out);
    } else if (row->type == VV_CONF_LIST) {
        vv_sb_addf(out, "%*s%s:\n%*s-\n", indent, "", row->key, indent + 2, "");
        sample_section(row->section, indent + 4, out);
    } else if (row->type == VV_CONF_SECTION) {
        vv_sb_addf(out, "%*s%s:\n", indent, "", row->key);
        sample_section(row->section, indent + 2, out);
    } else {
        vv_sb_addf(out, "%*s%s: %s\n", indent, "", row->key, row->sample);
    }
}

static void sample_section(const struct vv_conf_section *section, int indent, struct vv_sb *out)
{
    for (size_t i = 0; i < section->row_count; i++) {
        if (section->rows[i].key != NULL && section->rows[i].store == NULL) {
            sample_row(&section->rows[i], indent, out);
        }
    }
}

void vv_conf_sample(const struct vv_conf_section *section, struct vv_sb *out)
{
    vv_sb_adds(out, "# Every key there is. Lines that begin with \"# key:\" show the default or an "
                    "example.\n# Check it with: vivace check FILE\n\n");
    sample_section(section, 0, out);
}

void vv_conf_reference(const struct vv_conf_section *section, struct vv_sb *out)
{
    struct vv_conf_doc tmp = {.may_jump = true};
    struct page p = {.tmp = &tmp, .out = out, .count = 0};
    vv_arena_init(&tmp.arena, NULL, 0, 64 * VV_KIB, 0);
    if (setjmp(tmp.out_of_memory) == 0) {
        add_page(&p, section);
    } else {
        out->failed = true;
    }
    vv_arena_fini(&tmp.arena);
}
