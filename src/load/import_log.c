/* src/load/import_log.c - an access log as a recording: when users came, and what each asked for.
 *
 * The combined format knows whole seconds only: arrivals of one second are spread evenly over it. */
#include "load/import.h"
#include "load/program_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define REQUESTS_MAX 1000000
#define KINDS_MAX 20000
#define NOTES_MAX 20

struct arrival {
    uint64_t ms;
    uint32_t kind;
};
struct kind {
    struct vv_str method, target;
    uint64_t hash;
};
struct log {
    struct vv_arena arena;
    struct vv_load_notes *notes;
    struct arrival *arrival;
    size_t arrivals, arrival_room;
    struct kind *kind;
    size_t kinds;
    uint32_t *table; /* of kinds + 1, open addressing */
    size_t skipped, changing;
    bool whole_seconds, no_memory;
};
#define TABLE_SIZE 65536

/* The number of method and target, new if need be; UINT32_MAX: there are too many. */
static uint32_t kind_of(struct log *l, struct vv_str method, struct vv_str target)
{
    const uint64_t hash = vv_str_hash(target, vv_str_hash(method, 0));
    size_t at = hash % TABLE_SIZE;
    for (; l->table[at] != 0; at = (at + 1) % TABLE_SIZE) {
        const struct kind *k = &l->kind[l->table[at] - 1];
        if (k->hash == hash && vv_str_eq(k->method, method) && vv_str_eq(k->target, target)) {
            return l->table[at] - 1;
        }
    }
    if (l->kinds == KINDS_MAX) {
        return UINT32_MAX;
    }
    const struct kind k = {vv_arena_str(&l->arena, method), vv_arena_str(&l->arena, target), hash};
    l->no_memory = l->no_memory || k.method.p == NULL || k.target.p == NULL;
    l->kind[l->kinds] = k;
    l->table[at] = (uint32_t)++l->kinds;
    return l->table[at] - 1;
}

static void add(struct log *l, uint64_t ms, struct vv_str method, struct vv_str target)
{
    const uint32_t kind = l->arrivals < REQUESTS_MAX ? kind_of(l, method, target) : UINT32_MAX;
    if (kind == UINT32_MAX || l->no_memory) {
        l->skipped++;
        return;
    }
    if (l->arrivals == l->arrival_room) {
        const size_t room = l->arrival_room > 0 ? l->arrival_room * 2 : 1024;
        struct arrival *bigger = realloc(l->arrival, room * sizeof *bigger);
        if (bigger == NULL) {
            l->no_memory = true;
            return;
        }
        l->arrival = bigger;
        l->arrival_room = room;
    }
    l->arrival[l->arrivals++] = (struct arrival){ms, kind};
}

/* Methods that change something are left out: a log has no bodies. */
static bool is_safe(struct log *l, struct vv_str method)
{
    const bool safe = vv_str_eq(method, VV_STR("GET")) || vv_str_eq(method, VV_STR("HEAD")) ||
                      vv_str_eq(method, VV_STR("OPTIONS"));
    l->changing += !safe;
    return safe;
}

/* ---- lines --------------------------------------------------------------------------------- */

/* [21/Nov/2026:10:00:00 +0100] "GET /path HTTP/1.1" ... */
static bool read_combined(struct log *l, struct vv_str line)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[32], month[4] = "";
    struct tm tm = {0};
    int year = 0, zone = 0;
    const ptrdiff_t open = vv_str_find_char(line, '[');
    if (open < 0 || line.n - (size_t)open < 30) {
        return false;
    }
    memcpy(text, line.p + open + 1, 26);
    text[26] = '\0';
    if (sscanf(text, "%2d/%3[A-Za-z]/%4d:%2d:%2d:%2d %5d", &tm.tm_mday, month, &year, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &zone) != 7 ||
        strstr(months, month) == NULL) {
        return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = (int)((strstr(months, month) - months) / 3);
    const int64_t seconds = timegm(&tm) - (zone / 100 * 60 + zone % 100) * 60;
    struct vv_str rest = {line.p + open, line.n - (size_t)open};
    (void)vv_str_cut(&rest, '"');
    struct vv_str request = vv_str_cut(&rest, '"');
    const struct vv_str method = vv_str_cut(&request, ' ');
    const struct vv_str target = vv_str_cut(&request, ' ');
    if (seconds < 0 || target.n == 0 || target.p[0] != '/') {
        return false;
    }
    l->whole_seconds = true;
    if (is_safe(l, method)) {
        add(l, (uint64_t)seconds * 1000, method, target);
    }
    return true;
}

static bool read_json(struct log *l, struct vv_str line, struct vv_arena *scratch)
{
    vv_arena_reset(scratch);
    const struct vv_load_value *v = vv_load_json_read(scratch, line);
    const struct vv_load_value *ts = vv_load_value_get(v, VV_STR("ts"));
    const struct vv_load_value *method = vv_load_value_get(v, VV_STR("method"));
    const struct vv_load_value *path = vv_load_value_get(v, VV_STR("path"));
    const struct vv_load_value *query = vv_load_value_get(v, VV_STR("query"));
    char text[32] = "";
    struct tm tm = {0};
    int year = 0, month = 0, ms = 0;
    if (ts == NULL || method == NULL || path == NULL || ts->kind != VV_LOAD_TEXT ||
        method->kind != VV_LOAD_TEXT || path->kind != VV_LOAD_TEXT || ts->text.n >= sizeof text ||
        path->text.n == 0 || path->text.p[0] != '/') {
        return false;
    }
    memcpy(text, ts->text.p, ts->text.n);
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &year, &month, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &ms) < 6) {
        return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    const int64_t seconds = timegm(&tm);
    struct vv_str target = path->text;
    if (query != NULL && query->kind == VV_LOAD_TEXT) {
        target = vv_arena_fmt(scratch, VV_STR_FMT "?" VV_STR_FMT, VV_STR_ARG(path->text),
                              VV_STR_ARG(query->text));
    }
    if (seconds >= 0 && target.p != NULL && is_safe(l, method->text)) {
        add(l, (uint64_t)seconds * 1000 + (uint64_t)ms, method->text, target);
    }
    return seconds >= 0;
}

static void read_lines(struct log *l, struct vv_str text)
{
    struct vv_arena scratch;
    size_t number = 0, bad = 0;
    struct vv_str rest = text;
    vv_arena_init(&scratch, NULL, 0, 16 * VV_KIB, 16 * VV_MIB);
    while (rest.n > 0) {
        struct vv_str line = vv_str_cut(&rest, '\n');
        number++;
        if (line.n > 0 && line.p[line.n - 1] == '\r') {
            line.n--;
        }
        if (line.n == 0) {
            continue;
        }
        const bool fine = line.p[0] == '{' ? read_json(l, line, &scratch) : read_combined(l, line);
        if (!fine && ++bad <= NOTES_MAX) {
            vv_load_notes_add(l->notes, number, "this line is not understood");
        }
    }
    if (bad > NOTES_MAX) {
        vv_load_notes_add(l->notes, 0, "%zu more lines are not understood", bad - NOTES_MAX);
    }
    vv_arena_fini(&scratch);
}

/* ---- output -------------------------------------------------------------------------------- */

static int by_time(const void *left, const void *right)
{
    const struct arrival *a = left, *b = right;
    return (a->ms > b->ms) - (a->ms < b->ms);
}

static void spread(struct log *l)
{
    for (size_t i = 0, n = 0; i < l->arrivals; i += n) {
        for (n = 0; i + n < l->arrivals && l->arrival[i + n].ms == l->arrival[i].ms; n++) {
        }
        for (size_t j = 1; j < n; j++) {
            l->arrival[i + j].ms += j * 1000 / n;
        }
    }
}

static void print(const struct log *l, struct vv_sb *out)
{
    const uint64_t start = l->arrival[0].ms, end = l->arrival[l->arrivals - 1].ms;
    vv_sb_adds(out, "phases:\n  - duration: ");
    vv_sb_addu(out, (end - start) / 1000 + 1);
    vv_sb_adds(out, "\n    recorded: [");
    for (size_t i = 0; i < l->arrivals; i++) {
        vv_sb_adds(out, i == 0 ? "" : i % 16 == 0 ? ",\n      " : ", ");
        vv_sb_addu(out, l->arrival[i].ms - start);
    }
    vv_sb_adds(out, "]\nsequence: [");
    for (size_t i = 0; i < l->arrivals; i++) {
        vv_sb_adds(out, i == 0 ? "" : i % 16 == 0 ? ",\n  " : ", ");
        vv_sb_addu(out, l->arrival[i].kind);
    }
    vv_sb_adds(out, "]\nscenarios:\n");
    for (size_t i = 0; i < l->kinds; i++) {
        const char first = l->kind[i].method.n > 0 ? l->kind[i].method.p[0] : 'G';
        const char *method = first == 'G' ? "get" : first == 'H' ? "head" : "options";
        vv_sb_addf(out, "  r%zu: {%s: ", i, method);
        vv_load_json_text(l->kind[i].target, out);
        vv_sb_adds(out, "}\n");
    }
}

enum vv_err vv_load_import_access_log(struct vv_str text, struct vv_sb *out,
                                      struct vv_load_notes *notes)
{
    struct log l = {.notes = notes};
    enum vv_err err = VV_OK;
    vv_arena_init(&l.arena, NULL, 0, 64 * VV_KIB, VV_GIB);
    l.kind = calloc(KINDS_MAX, sizeof *l.kind);
    l.table = calloc(TABLE_SIZE, sizeof *l.table);
    if (l.kind == NULL || l.table == NULL) {
        err = VV_ENOMEM;
    } else {
        read_lines(&l, text);
        if (l.changing > 0) {
            vv_load_notes_add(notes, 0,
                              "%zu requests are left out: their methods change something "
                              "and the log has no bodies",
                              l.changing);
        }
        if (l.skipped > 0) {
            vv_load_notes_add(notes, 0,
                              "%zu requests are left out: at most %d requests and %d "
                              "different ones are kept",
                              l.skipped, REQUESTS_MAX, KINDS_MAX);
        }
        if (l.arrivals == 0) {
            vv_load_notes_add(notes, 0, "there is no request to replay");
            err = VV_ESYNTAX;
        }
    }
    if (err == VV_OK) {
        qsort(l.arrival, l.arrivals, sizeof *l.arrival, by_time);
        if (l.whole_seconds) {
            spread(&l);
            vv_load_notes_add(notes, 0,
                              "the log has whole seconds: arrivals are spread evenly "
                              "over each");
        }
        print(&l, out);
        err = l.no_memory || out->failed || notes->failed ? VV_ENOMEM : VV_OK;
    }
    vv_arena_fini(&l.arena);
    free(l.arrival);
    free(l.kind);
    free(l.table);
    return err;
}
