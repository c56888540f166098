/* src/conf/problems.c - keeps what is wrong and prints it the way a good compiler would.
 *
 * Problems outlive the document (a failed load has none), so lines are copied when the load ends:
 * only then is it known which bytes of them are secret. */
#include "base/json.h"
#include "conf/conf_int.h"

#include <stdlib.h>

#define LINE_SHOWN_MAX 110 /* longer lines are cut to a window around the caret */
#define LINE_BEFORE 50     /* of which this much stays before the caret */

struct kept {
    struct vv_conf_problem is;
    struct mark at;  /* until sealed */
    const char *fmt; /* until the load ends */
    uint32_t order;
};

struct vv_conf_problems {
    struct kept *kept;
    size_t count, room, errors, warnings, dropped;
};

struct vv_conf_problems *vv_conf_problems_new(void)
{
    return calloc(1, sizeof(struct vv_conf_problems));
}

void vv_conf_problems_free(struct vv_conf_problems *p)
{
    for (size_t i = 0; p != NULL && i < p->count; i++) {
        struct vv_conf_problem *is = &p->kept[i].is;
        free((char *)(uintptr_t)is->file);
        free((char *)(uintptr_t)is->message);
        free((char *)(uintptr_t)is->hint);
        free((char *)(uintptr_t)is->other_file);
        free((char *)(uintptr_t)is->other_what);
        free((char *)(uintptr_t)is->line_text);
    }
    if (p != NULL) {
        free(p->kept);
        free(p);
    }
}

size_t vv_conf_problems_errors(const struct vv_conf_problems *p)
{
    return p->errors;
}

size_t vv_conf_problems_warnings(const struct vv_conf_problems *p)
{
    return p->warnings;
}

const struct vv_conf_problem *vv_conf_problems_at(const struct vv_conf_problems *p, size_t index)
{
    return index < p->count ? &p->kept[index].is : NULL;
}

static char *copy(const char *s)
{
    return s != NULL ? strdup(s) : NULL;
}

/* Room for one more, or NULL when there are too many already. Errors are counted all the same. */
static struct kept *keep(struct vv_conf_problems *p, bool warning)
{
    *(warning ? &p->warnings : &p->errors) += 1;
    if (p->count >= PROBLEMS_MAX) {
        p->dropped++;
        return NULL;
    }
    if (p->count == p->room) {
        const size_t room = p->room > 0 ? p->room * 2 : 16;
        struct kept *bigger = realloc(p->kept, room * sizeof *bigger);
        if (bigger == NULL) {
            p->dropped++;
            return NULL;
        }
        p->kept = bigger;
        p->room = room;
    }
    struct kept *k = &p->kept[p->count++];
    *k = (struct kept){.is = {.warning = warning}};
    return k;
}

/* Values from the file or the environment stand in messages: none may steer a terminal. */
static char *harmless(char *s)
{
    for (char *c = s; c != NULL && *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
    return s;
}

static char *formatted(const char *fmt, va_list args)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_vaddf(&sb, fmt, args);
    return harmless(vv_sb_take(&sb));
}

void vv_conf_problems_add(struct vv_conf_problems *p, bool warning, const char *file,
                          const char *fmt, ...)
{
    struct kept *k = keep(p, warning);
    if (k != NULL) {
        va_list args;
        va_start(args, fmt);
        k->is.message = formatted(fmt, args);
        va_end(args);
        k->is.file = copy(file);
    }
}

/* The same thing said of the same bytes: an alias shows one mistake in many places. */
static bool same_mistake(const struct kept *a, const struct kept *b)
{
    const struct vv_conf_problem *x = &a->is, *y = &b->is;
    if (a->at.file != b->at.file || a->at.from != b->at.from || a->fmt != b->fmt) {
        return false;
    }
    return (x->message != NULL && y->message != NULL && strcmp(x->message, y->message) == 0) ||
           (strcmp(a->fmt, "%s") != 0 && x->hint != NULL && y->hint != NULL &&
            strcmp(x->hint, y->hint) == 0);
}

static void forget_last(struct vv_conf_problems *p)
{
    struct kept *k = &p->kept[--p->count];
    *(k->is.warning ? &p->warnings : &p->errors) -= 1;
    free((char *)(uintptr_t)k->is.message);
    free((char *)(uintptr_t)k->is.hint);
}

void report(struct vv_conf_doc *doc, const struct report *r, const char *fmt, ...)
{
    struct vv_conf_problems *p = doc->problems;
    struct kept *k = keep(p, r->warning);
    if (k == NULL) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    k->is.message = formatted(fmt, args);
    va_end(args);
    k->at = r->at;
    k->fmt = fmt;
    k->is.hint = harmless(copy(r->hint));
    for (size_t i = 0; i + 1 < p->count; i++) {
        if (same_mistake(&p->kept[i], k)) {
            forget_last(p);
            return;
        }
    }
    if (r->at.file != NULL) {
        k->order = r->at.file->order;
        k->is.file = copy(r->at.file->path);
        file_line_column(r->at.file, r->at.from, &k->is.line, &k->is.column);
    } else {
        k->is.file = copy(doc->path);
    }
    if (r->other.file != NULL) {
        k->is.other_file = copy(r->other.file->path);
        k->is.other_what = copy(r->other_what != NULL ? r->other_what : "defined");
        file_line_column(r->other.file, r->other.from, &k->is.other_line, &k->is.other_column);
    }
}

static int by_place(const void *left, const void *right)
{
    const struct kept *a = left, *b = right;
    if (a->order != b->order) {
        return a->order < b->order ? -1 : 1;
    }
    if (a->at.from != b->at.from) {
        return a->at.from < b->at.from ? -1 : 1;
    }
    return 0;
}

static bool is_secret(const struct file *f, uint32_t offset)
{
    for (const struct span *s = f->secrets; s != NULL; s = s->next) {
        if (offset >= s->from && offset < s->to) {
            return true;
        }
    }
    return false;
}

static bool continues(char c) /* a UTF-8 byte that is not the first of its character */
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* One character of a line as it is shown: control bytes as blanks, secrets as stars, bytes that are
 * no characters as question marks. Returns how many bytes it took. */
static uint32_t show_character(const struct file *f, uint32_t at, struct vv_sb *out)
{
    const char *c = f->text.p + at;
    const size_t bytes = utf8_length((struct vv_str){c, f->text.n - at});
    const bool control = (unsigned char)c[0] < ' ' || (unsigned char)c[0] == 0x7f ||
                         (bytes == 2 && (unsigned char)c[0] == 0xc2 && (unsigned char)c[1] < 0xa0);
    if (is_secret(f, at)) {
        vv_sb_addc(out, '*');
    } else if (bytes == 0 || control) {
        vv_sb_addc(out, bytes == 0 ? '?' : ' ');
    } else {
        vv_sb_add(out, (struct vv_str){c, bytes});
    }
    return bytes > 0 ? (uint32_t)bytes : 1;
}

static void seal_line(struct kept *k)
{
    const struct file *f = k->at.file;
    uint32_t at = f->line_at[k->is.line - 1];
    struct vv_sb sb = VV_SB_INIT;
    while (at < f->text.n && f->text.p[at] != '\n' && f->text.p[at] != '\r') {
        k->is.width += at >= k->at.from && at < k->at.to;
        at += show_character(f, at, &sb);
    }
    vv_sb_adds(&sb, "");
    k->is.line_text = vv_sb_take(&sb);
}

void problems_seal(struct vv_conf_problems *p)
{
    size_t fresh = 0; /* those of earlier loads were sealed then */
    while (fresh < p->count && (p->kept[fresh].at.file == NULL)) {
        fresh++;
    }
    for (size_t i = fresh; i < p->count; i++) {
        if (p->kept[i].at.file != NULL && p->kept[i].is.line > 0) {
            seal_line(&p->kept[i]);
        }
    }
    if (p->count > fresh) {
        qsort(p->kept + fresh, p->count - fresh, sizeof *p->kept, by_place);
    }
    for (size_t i = fresh; i < p->count; i++) {
        p->kept[i].at = (struct mark){0};
    }
}

static const char *paint(bool colour, const char *escape)
{
    return colour ? escape : "";
}

static void print_other(const struct vv_conf_problem *is, struct vv_sb *out)
{
    const bool elsewhere = is->file == NULL || strcmp(is->file, is->other_file) != 0;
    vv_sb_addf(out, "%s at %s%s%u:%u", is->other_what, elsewhere ? is->other_file : "",
               elsewhere ? ":" : "", is->other_line, is->other_column);
}

/* `did you mean "a"?` with another end reads `did you mean "a" (defined at 3:1)?` */
static void print_hint(const struct vv_conf_problem *is, struct vv_sb *out)
{
    const size_t n = is->hint != NULL ? strlen(is->hint) : 0;
    const bool asks = n > 0 && is->hint[n - 1] == '?';
    if (n == 0 && is->other_line == 0) {
        return;
    }
    vv_sb_addc(out, ' ');
    vv_sb_add(out, (struct vv_str){is->hint, asks ? n - 1 : n});
    if (is->other_line > 0) {
        vv_sb_adds(out, n > 0 ? " (" : "");
        print_other(is, out);
        vv_sb_adds(out, n > 0 ? ")" : "");
    }
    vv_sb_adds(out, asks ? "?" : "");
}

/* Byte index of the character with this number, counted from `at`. */
static size_t skip_characters(const char *s, size_t at, size_t characters)
{
    while (characters > 0 && s[at] != '\0') {
        at++;
        while (continues(s[at])) {
            at++;
        }
        characters--;
    }
    return at;
}

static void print_line(const struct vv_conf_problem *is, bool colour, struct vv_sb *out)
{
    const uint32_t column = is->column > 0 ? is->column - 1 : 0;
    uint32_t skipped = 0;
    if (strlen(is->line_text) > LINE_SHOWN_MAX && column > LINE_BEFORE) {
        skipped = column - LINE_BEFORE;
    }
    const size_t from = skip_characters(is->line_text, 0, skipped);
    const size_t to = skip_characters(is->line_text, from, LINE_SHOWN_MAX);
    vv_sb_addf(out, "%5u | %s", is->line, skipped > 0 ? "..." : "");
    vv_sb_add(out, (struct vv_str){is->line_text + from, to - from});
    vv_sb_adds(out, is->line_text[to] != '\0' ? "...\n" : "\n");
    vv_sb_addf(out, "      | %*s", (int)(column - skipped + (skipped > 0 ? 3 : 0)), "");
    vv_sb_adds(out, paint(colour, "\033[1;32m"));
    vv_sb_addc(out, '^');
    for (uint32_t i = 1; i < is->width && i < LINE_SHOWN_MAX - (column - skipped); i++) {
        vv_sb_addc(out, '~');
    }
    print_hint(is, out);
    vv_sb_adds(out, paint(colour, "\033[0m"));
    vv_sb_addc(out, '\n');
}

static void print_one(const struct vv_conf_problem *is, bool colour, struct vv_sb *out)
{
    vv_sb_adds(out, paint(colour, "\033[1m"));
    if (is->file != NULL) {
        vv_sb_adds(out, is->file);
        if (is->line > 0) {
            vv_sb_addf(out, ":%u:%u", is->line, is->column);
        }
        vv_sb_adds(out, ": ");
    }
    vv_sb_adds(out, paint(colour, is->warning ? "\033[1;35m" : "\033[1;31m"));
    vv_sb_adds(out, is->warning ? "warning: " : "error: ");
    vv_sb_adds(out, paint(colour, "\033[0m"));
    vv_sb_adds(out, is->message != NULL ? is->message : "out of memory");
    vv_sb_addc(out, '\n');
    if (is->line_text != NULL) {
        print_line(is, colour, out);
    } else if (is->hint != NULL || is->other_line > 0) {
        vv_sb_adds(out, "      |");
        print_hint(is, out);
        vv_sb_addc(out, '\n');
    }
}

static void print_count(size_t n, const char *what, struct vv_sb *out)
{
    vv_sb_addf(out, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

void vv_conf_problems_print(const struct vv_conf_problems *p, bool colour, const char *consequence,
                            struct vv_sb *out)
{
    for (size_t i = 0; i < p->count; i++) {
        print_one(&p->kept[i].is, colour, out);
    }
    if (p->errors + p->warnings == 0) {
        return;
    }
    if (p->dropped > 0) {
        vv_sb_addf(out, "... and %zu more that are not shown.\n", p->dropped);
    }
    print_count(p->errors + p->warnings, "problem", out);
    vv_sb_adds(out, ": ");
    if (p->errors > 0) {
        print_count(p->errors, "error", out);
    }
    if (p->warnings > 0) {
        vv_sb_adds(out, p->errors > 0 ? ", " : "");
        print_count(p->warnings, "warning", out);
    }
    vv_sb_addc(out, '.');
    if (p->errors > 0 && consequence != NULL) {
        vv_sb_addf(out, " %s", consequence);
    }
    vv_sb_addc(out, '\n');
}

static void json_one(const struct vv_conf_problem *is, struct vv_json *j)
{
    vv_json_obj(j);
    vv_json_kcstr(j, "severity", is->warning ? "warning" : "error");
    vv_json_kcstr(j, "file", is->file);
    if (is->line > 0) {
        vv_json_ku64(j, "line", is->line);
        vv_json_ku64(j, "column", is->column);
        vv_json_ku64(j, "width", is->width);
    }
    vv_json_kcstr(j, "message", is->message);
    vv_json_kcstr(j, "hint", is->hint);
    if (is->other_line > 0) {
        vv_json_key(j, "other");
        vv_json_obj(j);
        vv_json_kcstr(j, "what", is->other_what);
        vv_json_kcstr(j, "file", is->other_file);
        vv_json_ku64(j, "line", is->other_line);
        vv_json_ku64(j, "column", is->other_column);
        vv_json_obj_end(j);
    }
    vv_json_obj_end(j);
}

void vv_conf_problems_json(const struct vv_conf_problems *p, struct vv_sb *out)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_ku64(&j, "errors", p->errors);
    vv_json_ku64(&j, "warnings", p->warnings);
    vv_json_key(&j, "problems");
    vv_json_arr(&j);
    for (size_t i = 0; i < p->count; i++) {
        json_one(&p->kept[i].is, &j);
    }
    vv_json_arr_end(&j);
    vv_json_obj_end(&j);
}
