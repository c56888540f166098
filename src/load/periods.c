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
    vv_sb_adds(&p->text, p->text.n > 0 ? "," : "");
    vv_load_report_period(r, piece->number * (VV_LOAD_PERIOD_NS / VV_MS), &p->text);
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
