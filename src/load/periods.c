/* src/load/periods.c - at most a few pieces are open at a time: threads run apart by seconds, not by
 * minutes. When one drags behind further than that, the oldest piece is closed, and what comes late
 * for it is counted in a record of its own with the same period. */
#include "load/periods.h"

#include "base/sb.h"
#include "load/report_int.h"

#include <stdlib.h>

#define OPEN_MAX 3

struct piece {
    struct vv_load_result *r; /* NULL: not used yet; kept for the next piece */
    uint64_t number;          /* since 1970; 0: closed */
    uint64_t from_ns, to_ns;  /* of the seconds in it */
};

struct vv_load_periods {
    struct vv_load_view view;
    struct piece open[OPEN_MAX];
    bool states;
    struct vv_sb text;
};

struct vv_load_periods *vv_load_periods_new(const struct vv_load_view *view)
{
    struct vv_load_periods *p = calloc(1, sizeof *p);
    if (p != NULL) {
        p->view = *view;
    }
    return p;
}

void vv_load_periods_free(struct vv_load_periods *p)
{
    for (size_t i = 0; p != NULL && i < OPEN_MAX; i++) {
        vv_load_result_free(p->open[i].r);
    }
    if (p != NULL) {
        vv_sb_fini(&p->text);
    }
    free(p);
}

void vv_load_periods_keep_states(struct vv_load_periods *p)
{
    p->states = true;
}

static void add_record(struct vv_sb *text, const struct vv_load_result *r, uint64_t number)
{
    vv_sb_adds(text, text->n > 0 ? "," : "");
    vv_load_report_period(r, number * (VV_LOAD_PERIOD_NS / VV_MS), text);
}

static void close_piece(struct vv_load_periods *p, struct piece *piece)
{
    struct vv_load_result *r = piece->r;
    for (size_t i = 0; i < r->view.endpoint_count; i++) { /* totals are those of the endpoints */
        vv_load_hist_merge(r->latency, r->endpoint[i].latency);
        vv_load_hist_merge(r->service, r->endpoint[i].service);
        vv_load_hist_merge(r->first_byte, r->endpoint[i].first_byte);
    }
    r->started_unix_ns = piece->from_ns;
    r->duration_ns = piece->to_ns - piece->from_ns;
    if (p->states) {
        vv_sb_addf(&p->text, "%llu ", (unsigned long long)piece->number);
        vv_load_result_write(r, &p->text);
        vv_sb_addc(&p->text, '\n');
    } else {
        add_record(&p->text, r, piece->number);
    }
    vv_load_result_clear(r);
    piece->number = 0;
}

/* The piece of this number, opened if need be. NULL: no memory. */
static struct piece *piece_of(struct vv_load_periods *p, uint64_t number)
{
    struct piece *place = &p->open[0]; /* a closed one, else the oldest: 0 is less than all */
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (p->open[i].number == number) {
            return &p->open[i];
        }
        place = p->open[i].number < place->number ? &p->open[i] : place;
    }
    if (place->number != 0) {
        close_piece(p, place);
    }
    if (place->r == NULL && vv_load_result_new(&p->view, &place->r) != VV_OK) {
        return NULL;
    }
    place->number = number;
    place->from_ns = UINT64_MAX;
    place->to_ns = 0;
    return place;
}

enum vv_err vv_load_periods_add(struct vv_load_periods *p, uint64_t second_unix_ns,
                                const struct vv_load_result *part)
{
    struct piece *piece = piece_of(p, second_unix_ns / VV_LOAD_PERIOD_NS);
    if (piece == NULL) {
        return VV_ENOMEM;
    }
    piece->from_ns = vv_min_u64(piece->from_ns, second_unix_ns);
    piece->to_ns = vv_max_u64(piece->to_ns, second_unix_ns + VV_SEC);
    return vv_load_result_merge(piece->r, part);
}

void vv_load_periods_close(struct vv_load_periods *p, uint64_t before_unix_ns)
{
    for (;;) { /* oldest first: records stand in the order of time */
        struct piece *oldest = NULL;
        for (size_t i = 0; i < OPEN_MAX; i++) {
            struct piece *one = &p->open[i];
            if (one->number != 0 && one->number < before_unix_ns / VV_LOAD_PERIOD_NS &&
                (oldest == NULL || one->number < oldest->number)) {
                oldest = one;
            }
        }
        if (oldest == NULL) {
            return;
        }
        close_piece(p, oldest);
    }
}

char *vv_load_periods_take(struct vv_load_periods *p)
{
    vv_load_periods_close(p, UINT64_MAX);
    if (p->text.failed || p->text.n == 0) {
        return NULL;
    }
    return vv_sb_take(&p->text);
}

/* ---- pieces of several agents ---- */

struct line {
    uint64_t number;
    struct vv_str state;
};

static int by_number(const void *a, const void *b)
{
    const uint64_t x = ((const struct line *)a)->number, y = ((const struct line *)b)->number;
    return x < y ? -1 : x > y;
}

static enum vv_err read_lines(struct vv_str text, struct line **ret, size_t *ret_count)
{
    size_t room = 0, n = 0;
    for (size_t i = 0; i < text.n; i++) {
        room += text.p[i] == '\n';
    }
    struct line *line = calloc(room + 1, sizeof(*line));
    if (line == NULL) {
        return VV_ENOMEM;
    }
    while (text.n > 0) {
        struct vv_str one = vv_str_cut(&text, '\n');
        if (n == room || vv_str_to_u64(vv_str_cut(&one, ' '), &line[n].number) != VV_OK ||
            line[n].number > UINT64_MAX / VV_LOAD_PERIOD_NS) {
            free(line);
            return VV_ESYNTAX;
        }
        line[n++].state = one;
    }
    qsort(line, n, sizeof(*line), by_number);
    *ret = line;
    *ret_count = n;
    return VV_OK;
}

/* Adds a state to the sum of its piece; the first becomes the sum. */
static enum vv_err add_state(struct vv_load_result **sum, struct vv_str state)
{
    struct vv_load_result *r = NULL;
    enum vv_err err = vv_load_result_read(state, &r);
    if (err != VV_OK || *sum == NULL) {
        *sum = err == VV_OK ? r : *sum;
        return err;
    }
    struct vv_load_result *s = *sum;
    const uint64_t end_ns =
        vv_max_u64(s->started_unix_ns + s->duration_ns, r->started_unix_ns + r->duration_ns);
    err = vv_load_result_merge(s, r);
    s->duration_ns = end_ns - s->started_unix_ns;
    vv_load_result_free(r);
    return err;
}

enum vv_err vv_load_periods_join(struct vv_str lines, char **ret)
{
    struct line *line = NULL;
    struct vv_load_result *sum = NULL;
    struct vv_sb text = VV_SB_INIT;
    size_t count = 0;
    enum vv_err err = read_lines(lines, &line, &count);
    for (size_t i = 0; i < count && err == VV_OK; i++) {
        err = add_state(&sum, line[i].state);
        if (err == VV_OK && (i + 1 == count || line[i + 1].number != line[i].number)) {
            add_record(&text, sum, line[i].number);
            vv_load_result_free(sum);
            sum = NULL;
        }
    }
    vv_load_result_free(sum);
    free(line);
    err = err == VV_OK && text.failed ? VV_ENOMEM : err;
    if (err != VV_OK) {
        vv_sb_fini(&text);
        return err;
    }
    *ret = text.n > 0 ? vv_sb_take(&text) : NULL;
    return VV_OK;
}
