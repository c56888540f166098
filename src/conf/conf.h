/* src/conf/conf.h - the configuration engine: rows in, checked C structs out.
 *
 * Model:     a section is a table of rows, one per field of a C struct. From the rows the engine
 *            parses strict YAML 1.2, fills the struct, prints defaults, the JSON schema, the
 *            reference page and a sample file. What a row means is its owner's business.
 *            A file goes through: parse -> expand ${...} -> shape (short forms become long ones,
 *            unknown and duplicate keys are found) -> merge (includes, profile, overlay) -> decode.
 *            Every problem has a position; a run reports all of them, not only the first.
 * Units:     a row's def, min and max are written as a user would write them ("10s", "256MB").
 * Threads:   a document is immutable after the load; loads share nothing.
 * Ownership: the document owns all structs and text it made; problems are the caller's and do not
 *            point into the document.
 * Errors:    VV_ECONFIG: the problems say why. VV_ENOMEM: memory is out.
 */
#ifndef VV_CONF_CONF_H
#define VV_CONF_CONF_H
#include "base/arena.h"
#include "base/err.h"
#include "base/sb.h"

struct vv_conf_pos { /* where something stands; line 0: nowhere (a default) */
    const char *file;
    uint32_t line, column; /* from 1; columns count characters */
};

struct vv_conf_list { /* items of a list or a map, in the order of the file */
    size_t count;
    void **item;             /* pointers to structs, or const char * for text */
    const char **name;       /* keys of a map; NULL for a list */
    struct vv_conf_pos *pos; /* where each item stands */
};

struct vv_conf_doc;
struct vv_conf_problems;

/* ---- rows ---------------------------------------------------------------------------------- */

enum vv_conf_type {
    /* Without a key in the file: */
    VV_CONF_DERIVED, /* filled in by the section's owner; `absent` is stored */
    VV_CONF_AT,      /* struct vv_conf_pos: where the section stands */
    VV_CONF_PRESENT, /* 1 when the section was given, else 0 */
    VV_CONF_NAME,    /* const char *: the key of the map entry this struct came from */
    /* Scalars, uint64_t: */
    VV_CONF_BOOL,     /* true, false */
    VV_CONF_COUNT,    /* a whole number */
    VV_CONF_OCTAL,    /* "0660" */
    VV_CONF_DURATION, /* nanoseconds */
    VV_CONF_SIZE,     /* bytes */
    VV_CONF_PPM,      /* parts per million, written in percent */
    VV_CONF_ENUM,     /* index of the word in `names` */
    /* const char *: */
    VV_CONF_TEXT,
    VV_CONF_TEMPLATE, /* text with $variables of its own: "$$" is left to the template */
    VV_CONF_JSON,     /* any value, as compact JSON; what it is made of: vv_conf_json_node() */
    /* Compound: */
    VV_CONF_TEXTS,   /* struct vv_conf_list * of const char *; one text is a list of one */
    VV_CONF_SECTION, /* a struct embedded at the offset */
    VV_CONF_LIST,    /* struct vv_conf_list * of structs of `section` */
    VV_CONF_MAP,     /* the same from a map of names */
    /* Keys of the engine itself, only at the root: no field. */
    VV_CONF_INCLUDE,
    VV_CONF_PROFILE,
    VV_CONF_PROFILES,
};

struct vv_conf_row {
    size_t offset;
    const char *key;
    enum vv_conf_type type;
    const char *def;                       /* NULL: absent (0 or `absent`, NULL text) */
    const char *min, *max;                 /* NULL: no limit */
    const char *word;                      /* a word for "absent": "auto", "none" */
    uint64_t absent;                       /* number of an absent value */
    const char *const *names;              /* ENUM: ends with NULL */
    const struct vv_conf_section *section; /* SECTION, LIST, MAP */
    const char *bare_name; /* MAP: a value that is no map becomes the entry of this name */
    const char *store;     /* "timeouts.whole": this key is another spelling of that one */
    bool required;
    bool nullable;   /* null means NULL */
    bool one;        /* LIST: a value that is no list is a list of one */
    bool inherit;    /* SECTION: left-out values are VV_CONF_ABSENT, filled by the owner */
    bool optional;   /* SECTION: nothing of it is in force unless its key is given */
    bool reload;     /* a change takes effect without a restart */
    bool bare;       /* SIZE: a number without a unit is bytes; PPM: one from 0 to 1 is a share */
    bool secret;     /* never printed */
    bool url;        /* TEXT: a URL; a password in it is never printed */
    const char *doc; /* a sentence */
    const char *example; /* a value for the sample file and the reference page */
    const char *sample;  /* stands in the sample file itself: a value; MAP: name of the entry */
};
#define VV_CONF_ABSENT UINT64_MAX
#define VV_CONF_FIELD(type, member) .offset = offsetof(type, member)

enum vv_conf_form {
    VV_CONF_FORM_BOOL, /* true, false without quotes: `cache: false` */
    VV_CONF_FORM_NUMBER,
    VV_CONF_FORM_SCALAR,
    VV_CONF_FORM_LIST,
};
struct vv_conf_short { /* a value of this form stands for {key: value} */
    enum vv_conf_form form;
    const char *key;
};

struct vv_conf_section {
    const char *name; /* for messages and anchors: "service" */
    size_t size;
    const struct vv_conf_row *rows;
    size_t row_count;
    const struct vv_conf_short *shorts; /* tried in order */
    size_t short_count;
    const char *doc;
};

/* ---- problems ------------------------------------------------------------------------------ */

VV_MUST_CHECK struct vv_conf_problems *vv_conf_problems_new(void); /* NULL: no memory */
void vv_conf_problems_free(struct vv_conf_problems *p);            /* NULL is fine */
size_t vv_conf_problems_errors(const struct vv_conf_problems *p);
size_t vv_conf_problems_warnings(const struct vv_conf_problems *p);
/* For editors: what each says. `line`, `column` 0: no position. NULL beyond the end. */
struct vv_conf_problem {
    bool warning;
    const char *file;
    uint32_t line, column, width;
    const char *message; /* "unknown key \"max_fail\" in services.shop" */
    const char *hint;    /* NULL, or "did you mean \"max_fails\"?" */
    const char *other_file;
    uint32_t other_line, other_column; /* the other end, 0: none */
    const char *line_text;             /* NULL when there is no position; secrets are hidden */
    const char *other_what;            /* "defined": how the other end is introduced */
};
const struct vv_conf_problem *vv_conf_problems_at(const struct vv_conf_problems *p, size_t index);
/* A problem without a position (a file that cannot be read, an option of the command line). */
void vv_conf_problems_add(struct vv_conf_problems *p, bool warning, const char *file,
                          const char *fmt, ...) VV_PRINTF(4, 5);
/* Compiler style with line, caret and hint; then the summary: "4 problems: 3 errors, 1 warning."
 * followed by `consequence` ("Nothing was started.") when there are errors. Nothing when empty. */
void vv_conf_problems_print(const struct vv_conf_problems *p, bool colour, const char *consequence,
                            struct vv_sb *out);
void vv_conf_problems_json(const struct vv_conf_problems *p, struct vv_sb *out);

/* ---- documents ----------------------------------------------------------------------------- */

struct vv_conf_source {  /* what to load */
    const char *path;    /* file, or a name for the text when text is given */
    const char *text;    /* NULL: read the file */
    const char *profile; /* NULL: from the file */
    bool no_overlay;     /* do not merge the overlay next to the file */
    bool no_files;       /* refuse include, ${file:} and the overlay: for text from strangers */
    /* Looks a variable up; NULL: getenv. Returned text is copied. */
    const char *(*env)(void *user, const char *name);
    void *env_user;
};

/* On VV_OK the caller owns *ret_doc. Problems may hold warnings then. With `checker` the section's
 * owner derives and checks across fields; it reports through vv_conf_report(). */
typedef void vv_conf_checker(struct vv_conf_doc *doc, void *root);
VV_MUST_CHECK enum vv_err vv_conf_load(const struct vv_conf_source *source,
                                       const struct vv_conf_section *section,
                                       vv_conf_checker *checker, struct vv_conf_problems *problems,
                                       struct vv_conf_doc **ret_doc);
void vv_conf_free(struct vv_conf_doc *doc); /* NULL is fine */
void *vv_conf_root(const struct vv_conf_doc *doc);
/* The file given, and its overlay ("vivace.overlay.yaml") whether or not it exists. */
const char *vv_conf_path(const struct vv_conf_doc *doc);
const char *vv_conf_overlay_path(const struct vv_conf_doc *doc);
const char *vv_conf_profile(const struct vv_conf_doc *doc); /* NULL: none */

/* ---- for checkers -------------------------------------------------------------------------- */

/* Memory of the document. Never NULL in a checker: running out ends the load with VV_ENOMEM. After
 * the load NULL is possible. */
void *vv_conf_zalloc(struct vv_conf_doc *doc, size_t bytes);
const char *vv_conf_dup(struct vv_conf_doc *doc, struct vv_str s);
/* Appends to a list of the document. `origin` is the field the item was made for (may be NULL). */
void vv_conf_append(struct vv_conf_doc *doc, struct vv_conf_list **list, void *item,
                    const char *name, const void *origin);
/* Copies 8 bytes and the origin from another field. */
void vv_conf_inherit(struct vv_conf_doc *doc, void *field, const void *from);
/* True when the field (or text-list slot) was given in a file, not a default. */
bool vv_conf_given(const struct vv_conf_doc *doc, const void *field);
/* The same for an embedded section: its key was there, whatever it holds. */
bool vv_conf_given_struct(const struct vv_conf_doc *doc, const void *section);
/* A new struct of the section with all its defaults; the name goes to its NAME row, if any. */
void *vv_conf_new(struct vv_conf_doc *doc, const struct vv_conf_section *section, const char *name);
struct vv_conf_pos vv_conf_where(const struct vv_conf_doc *doc, const void *field);
/* Resolves a path of the file against the folder of the file that names it. */
const char *vv_conf_resolve(struct vv_conf_doc *doc, const void *field, const char *path);

/* A whole file into the document's memory, NUL-terminated. False: *reterr_why says why not. */
VV_MUST_CHECK bool vv_conf_read_file(struct vv_conf_doc *doc, const char *path,
                                     struct vv_str *ret_text, const char **reterr_why);
/* Errors found so far in this load: warnings that would only follow from them can be left out. */
bool vv_conf_has_errors(const struct vv_conf_doc *doc);
/* True when files outside the text may be looked at (they may not for text from strangers). */
bool vv_conf_may_read(const struct vv_conf_doc *doc);

struct vv_conf_report {
    const void *field; /* address of the value inside the settings, or a struct's */
    bool whole;        /* `field` is the address of a struct: point at its start */
    const void *other; /* the other end, NULL: none */
    bool other_whole;
    const char *other_what; /* "defined", "first used" */
    bool warning;
    const char *hint; /* copied; NULL: none */
};
void vv_conf_report(struct vv_conf_doc *doc, const struct vv_conf_report *r, const char *fmt, ...)
    VV_PRINTF(3, 4);
/* The nearest of `count` names, or NULL when none is near enough to suggest. */
const char *vv_conf_nearest(const char *word, const char *const *names, size_t count);

/* ---- printing ------------------------------------------------------------------------------ */

enum vv_conf_show_flags {
    VV_CONF_SHOW_LONG = 1,   /* every effective value in long form, defaults included */
    VV_CONF_SHOW_ORIGIN = 2, /* "# default", "# file:line", "# profile x", "# environment X" ... */
    VV_CONF_SHOW_JSON = 4,   /* JSON instead of YAML; no origins */
};
/* What is in force, as YAML that loads again; secrets read "[hidden]". */
void vv_conf_show(const struct vv_conf_doc *doc, unsigned flags, struct vv_sb *out);
void vv_conf_schema(const struct vv_conf_section *section, struct vv_sb *out);    /* draft-07 */
void vv_conf_reference(const struct vv_conf_section *section, struct vv_sb *out); /* Markdown */
void vv_conf_sample(const struct vv_conf_section *section, struct vv_sb *out);    /* YAML */
#endif
