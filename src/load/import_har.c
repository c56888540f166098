/* src/load/import_har.c - a browser's recording as one scenario; and the notes of all imports. */
#include "load/import.h"
#include "load/program_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ARENA_LIMIT_BYTES VV_GIB
#define THINK_MIN_MS 20 /* shorter pauses are the browser's work, not a person's */

void vv_load_notes_free(struct vv_load_notes *n)
{
    for (size_t i = 0; i < n->count; i++) {
        free(n->note[i].text);
    }
    free(n->note);
    *n = (struct vv_load_notes){0};
}

void vv_load_notes_add(struct vv_load_notes *n, size_t line, const char *fmt, ...)
{
    struct vv_sb sb = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&sb, fmt, args);
    va_end(args);
    if (n->count == n->room) {
        const size_t room = n->room > 0 ? n->room * 2 : 8;
        struct vv_load_note *bigger = realloc(n->note, room * sizeof *bigger);
        if (bigger == NULL) {
            n->failed = true;
            vv_sb_fini(&sb);
            return;
        }
        n->note = bigger;
        n->room = room;
    }
    n->note[n->count] = (struct vv_load_note){line, vv_sb_take(&sb)};
    n->failed = n->failed || n->note[n->count].text == NULL;
    n->count += n->note[n->count].text != NULL;
}

struct har {
    struct vv_sb *out;
    struct vv_load_notes *notes;
    struct vv_str origin; /* of the first request: the target */
    size_t entry;         /* from 1 */
    double last_end_ms;
    bool secrets;
};

static const struct vv_load_value *get(const struct vv_load_value *v, const char *key)
{
    return vv_load_value_get(v, vv_str_from(key));
}

static struct vv_str text_of(const struct vv_load_value *v, const char *key)
{
    const struct vv_load_value *t = get(v, key);
    return t != NULL && t->kind == VV_LOAD_TEXT ? t->text : (struct vv_str){NULL, 0};
}

/* "2026-11-21T10:00:00.123+01:00" in milliseconds since 1970 (RFC 3339). */
static bool read_time(struct vv_str s, double *ret_ms)
{
    char text[48];
    struct tm tm = {0};
    double second = 0;
    int year = 0, month = 0, used = 0, hours = 0, minutes = 0;
    char sign = '+';
    if (s.n == 0 || s.n >= sizeof text) {
        return false;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%lf%n", &year, &month, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &second, &used) != 6) {
        return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    int zone = 0;
    if (sscanf(text + used, "%c%2d:%2d", &sign, &hours, &minutes) == 3) {
        zone = (hours * 60 + minutes) * (sign == '-' ? -1 : 1);
    }
    *ret_ms = ((double)timegm(&tm) + second - 60.0 * zone) * 1000;
    return true;
}

static struct vv_str origin_of(struct vv_str url)
{
    size_t n = 0, slashes = 0;
    while (n < url.n && slashes < 3) {
        slashes += url.p[n++] == '/';
    }
    return (struct vv_str){url.p, slashes == 3 ? n - 1 : n};
}

/* What the browser adds by itself, or what belongs to one connection, is left out. */
static bool is_kept(struct vv_str name)
{
    static const char *const out[] = {"host",
                                      "connection",
                                      "content-length",
                                      "cookie",
                                      "accept-encoding",
                                      "user-agent",
                                      "referer",
                                      "origin",
                                      "if-none-match",
                                      "if-modified-since",
                                      "cache-control",
                                      "pragma",
                                      "upgrade-insecure-requests",
                                      "te",
                                      "priority",
                                      "dnt"};
    if (!vv_h1_is_token(name) || vv_str_starts(name, VV_STR("sec-")) ||
        vv_str_starts(name, VV_STR("Sec-"))) {
        return false;
    }
    for (size_t i = 0; i < VV_COUNT(out); i++) {
        if (vv_str_eq_nocase(name, vv_str_from(out[i]))) {
            return false;
        }
    }
    return true;
}

static bool is_secret(struct vv_str name)
{
    return vv_str_eq_nocase(name, VV_STR("authorization")) ||
           vv_str_eq_nocase(name, VV_STR("x-api-key"));
}

static void add_headers(struct har *h, const struct vv_load_value *list)
{
    bool first = true;
    for (size_t i = 0; list != NULL && list->kind == VV_LOAD_LIST && i < list->count; i++) {
        const struct vv_str name = text_of(&list->item[i], "name");
        if (!is_kept(name)) {
            continue;
        }
        vv_sb_adds(h->out, first ? ", headers: {" : ", ");
        first = false;
        vv_load_json_text(name, h->out);
        vv_sb_adds(h->out, ": ");
        if (is_secret(name)) {
            const bool key = name.n > 0 && vv_char_lower(name.p[0]) == 'x';
            vv_sb_adds(h->out, key ? "\"{{ $env.API_KEY }}\"" : "\"{{ $env.AUTHORIZATION }}\"");
            if (!h->secrets) {
                vv_load_notes_add(h->notes, 0,
                                  "entry %zu has a secret: it is read from the "
                                  "environment, %s",
                                  h->entry, key ? "API_KEY" : "AUTHORIZATION");
            }
            h->secrets = true;
        } else {
            vv_load_json_text(text_of(&list->item[i], "value"), h->out);
        }
    }
    vv_sb_adds(h->out, first ? "" : "}");
}

static void add_think(struct har *h, double at_ms)
{
    const double pause = at_ms - h->last_end_ms;
    if (h->entry > 1 && pause >= THINK_MIN_MS && pause < 86400e3) {
        vv_sb_addf(h->out, "      - {think: %.0fms}\n", pause);
    }
}

static void add_entry(struct har *h, const struct vv_load_value *entry)
{
    const struct vv_load_value *request = get(entry, "request"), *data = NULL;
    const struct vv_str url = text_of(request, "url"), method = text_of(request, "method");
    char lower[16] = "";
    double at_ms = 0, took_ms = 0;
    for (size_t i = 0; i < method.n && i + 1 < sizeof lower; i++) {
        lower[i] = vv_char_lower(method.p[i]);
    }
    const bool known = load_method(method) < VV_METHOD_OTHER && strcmp(lower, "connect") != 0 &&
                       strcmp(lower, "trace") != 0 && strcmp(lower, "purge") != 0;
    if (!vv_str_starts(url, VV_STR("http")) || !known) {
        vv_load_notes_add(h->notes, 0, "entry %zu is left out: " VV_STR_FMT " " VV_STR_FMT,
                          h->entry, VV_STR_ARG(method), (int)vv_min_u64(url.n, 100), url.p);
        return;
    }
    if (read_time(text_of(entry, "startedDateTime"), &at_ms)) {
        add_think(h, at_ms);
        (void)vv_load_value_to_double(get(entry, "time"), &took_ms);
        h->last_end_ms = at_ms + took_ms > h->last_end_ms ? at_ms + took_ms : h->last_end_ms;
    }
    vv_sb_addf(h->out, "      - {%s: ", lower);
    const bool home = vv_str_starts(url, h->origin) && vv_str_eq(origin_of(url), h->origin);
    const struct vv_str path = {url.p + h->origin.n, url.n - (home ? h->origin.n : 0)};
    const struct vv_str shown = !home ? url : path.n > 0 ? path : VV_STR("/");
    vv_load_json_text(shown, h->out);
    if (!home) {
        vv_load_notes_add(h->notes, 0, "entry %zu goes to another server: " VV_STR_FMT, h->entry,
                          VV_STR_ARG(origin_of(url)));
    }
    add_headers(h, get(request, "headers"));
    data = get(request, "postData");
    if (text_of(data, "text").p != NULL) {
        vv_sb_adds(h->out, ", body: ");
        vv_load_json_text(text_of(data, "text"), h->out);
    }
    vv_sb_adds(h->out, "}\n");
}

enum vv_err vv_load_import_har(struct vv_str text, struct vv_sb *out, struct vv_load_notes *notes)
{
    struct vv_arena arena;
    struct har h = {.out = out, .notes = notes};
    vv_arena_init(&arena, NULL, 0, 64 * VV_KIB, ARENA_LIMIT_BYTES);
    if (vv_str_starts(text, VV_STR("\xef\xbb\xbf"))) {
        text = (struct vv_str){text.p + 3, text.n - 3};
    }
    const struct vv_load_value *root = vv_load_json_read(&arena, text);
    const struct vv_load_value *entries = get(get(root, "log"), "entries");
    if (entries == NULL || entries->kind != VV_LOAD_LIST || entries->count == 0) {
        vv_load_notes_add(notes, 0, root == NULL ? "this is no JSON" : "there is no log.entries");
        vv_arena_fini(&arena);
        return VV_ESYNTAX;
    }
    h.origin = origin_of(text_of(get(&entries->item[0], "request"), "url"));
    vv_sb_adds(out, "target: ");
    vv_load_json_text(h.origin, out);
    vv_sb_adds(out,
               "\ntests:\n  smoke: {users: 5, for: 30s}\nscenarios:\n  recorded:\n    steps:\n");
    for (size_t i = 0; i < entries->count; i++) {
        h.entry = i + 1;
        add_entry(&h, &entries->item[i]);
    }
    vv_arena_fini(&arena);
    return out->failed || notes->failed ? VV_ENOMEM : VV_OK;
}
