/* src/load/user.c - a virtual user: an interpreter of a few operations, without sockets or clocks.
 *
 * Memory: captured values are copied into an arena of the user; when it has grown past a limit, the
 * living values move to a second one and the first is emptied, so that a loop of a million captures
 * stays small. Buffers keep their room from user to user: after warm-up nothing is allocated. */
#include "load/program_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define BLOCK_BYTES (2 * VV_KIB)
#define COLLECT_BYTES (64 * VV_KIB)
#define VALUES_BYTES_MAX (64 * VV_MIB)
#define BODY_BYTES_MAX (64 * VV_MIB) /* of a decoded answer */
#define COOKIES_MAX 64
#define OPS_AT_ONCE 10000 /* then the engine gets a turn */

struct loop {
    int64_t at, to;
    const struct vv_load_value *over; /* a list; NULL: a count */
    bool own;                         /* the list lies in the user's arena */
    struct vv_load_value index;
    char digits[24];
};

struct cookie {
    struct vv_str host, name, value;
};

struct vv_load_user {
    const struct vv_load_plan *plan;
    struct vv_rng *rng;
    uint32_t scenario;
    size_t pc;
    const struct vv_load_value **slot;
    bool *own; /* for each slot: its value lies in the user's arena */
    struct vv_arena arena[2], parsed;
    unsigned which;      /* arena in use */
    size_t collect_over; /* bytes */
    struct loop loop[LOAD_LOOPS_MAX];
    unsigned depth;
    struct cookie cookie[COOKIES_MAX];
    size_t cookies;
    bool jar_used; /* a server has set a cookie: from then on all are sent, not only with a request
                    * that names some (as in Artillery) */
    struct vv_sb url, scratch, body, out, jar, location, decoded;
    const struct load_request *at; /* whose answer is awaited */
    struct vv_str host;            /* it went to; in `out` or the plan */
    unsigned redirects;
    bool redirecting, plain_get, elsewhere, failed;
};

/* ---- life ---------------------------------------------------------------------------------- */

void vv_load_user_free(struct vv_load_user *u)
{
    if (u == NULL) {
        return;
    }
    vv_arena_fini(&u->arena[0]);
    vv_arena_fini(&u->arena[1]);
    vv_arena_fini(&u->parsed);
    vv_sb_fini(&u->url);
    vv_sb_fini(&u->scratch);
    vv_sb_fini(&u->body);
    vv_sb_fini(&u->out);
    vv_sb_fini(&u->jar);
    vv_sb_fini(&u->location);
    vv_sb_fini(&u->decoded);
    free(u->slot);
    free(u->own);
    free(u);
}

struct vv_load_user *vv_load_user_new(const struct vv_load_plan *p, struct vv_rng *rng)
{
    struct vv_load_user *u = calloc(1, sizeof *u);
    if (u == NULL) {
        return NULL;
    }
    u->plan = p;
    vv_arena_init(&u->arena[0], NULL, 0, BLOCK_BYTES, VALUES_BYTES_MAX);
    vv_arena_init(&u->arena[1], NULL, 0, BLOCK_BYTES, VALUES_BYTES_MAX);
    vv_arena_init(&u->parsed, NULL, 0, BLOCK_BYTES, 4 * VALUES_BYTES_MAX);
    u->slot = calloc(p->names.count + 1, sizeof(void *)); /* pointers to values */
    u->own = calloc(p->names.count + 1, sizeof *u->own);
    if (u->slot == NULL || u->own == NULL) {
        vv_load_user_free(u);
        return NULL;
    }
    vv_load_user_reset(u, rng);
    return u;
}

static uint32_t choose_scenario(const struct vv_load_plan *p, struct vv_rng *rng)
{
    if (p->sequence_count > 0) {
        const uint64_t turn = atomic_fetch_add_explicit(p->sequence_next, 1, memory_order_relaxed);
        return p->sequence[turn % p->sequence_count];
    }
    uint64_t at = p->weight_sum > 0 ? vv_rng_below(rng, p->weight_sum) : 0;
    for (uint32_t i = 0; i < p->view.scenario_count; i++) {
        if (at < p->scenario[i].weight) {
            return i;
        }
        at -= p->scenario[i].weight;
    }
    return 0;
}

/* Version 4 (RFC 9562 section 5.4): 122 random bits. */
static const struct vv_load_value *new_uuid(struct vv_load_user *u)
{
    const uint64_t a = vv_rng_u64(u->rng), b = vv_rng_u64(u->rng);
    const struct vv_str text = vv_arena_fmt(
        &u->arena[u->which], "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
        (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff, ((unsigned)(b >> 48) & 0x3fff) | 0x8000,
        (unsigned long long)b & 0xffffffffffffULL);
    return text.p != NULL ? vv_load_value_text(&u->arena[u->which], text) : NULL;
}

static void take_rows(struct vv_load_user *u)
{
    for (size_t i = 0; i < u->plan->payload_count; i++) {
        const struct load_payload *p = &u->plan->payload[i];
        if (p->rows == 0) {
            continue;
        }
        const size_t row =
            p->in_order ? atomic_fetch_add_explicit(p->next, 1, memory_order_relaxed) % p->rows
                        : vv_rng_below(u->rng, p->rows);
        for (size_t f = 0; f < p->fields; f++) {
            if (p->slot[f] != VV_LOAD_NO_SLOT) {
                u->slot[p->slot[f]] = &p->cell[row * p->fields + f];
            }
        }
    }
}

void vv_load_user_reset(struct vv_load_user *u, struct vv_rng *rng)
{
    const struct vv_load_plan *p = u->plan;
    u->rng = rng;
    u->scenario = choose_scenario(p, rng);
    u->pc = 0;
    u->depth = 0;
    u->cookies = 0;
    u->jar_used = false;
    u->redirects = 0;
    u->redirecting = u->plain_get = u->elsewhere = u->failed = false;
    u->at = NULL;
    u->collect_over = COLLECT_BYTES;
    vv_arena_reset(&u->arena[0]);
    vv_arena_reset(&u->arena[1]);
    vv_arena_reset(&u->parsed);
    vv_sb_reset(&u->jar);
    for (uint32_t i = 0; i < p->names.count; i++) {
        u->slot[i] = NULL;
        u->own[i] = false;
    }
    for (size_t i = 0; i < p->variable_count; i++) {
        const struct load_variable *v = &p->variable[i];
        u->slot[v->slot] = v->pick ? &v->value->item[vv_rng_below(rng, v->value->count)] : v->value;
    }
    take_rows(u);
    if (p->uuid_slot != VV_LOAD_NO_SLOT) {
        u->slot[p->uuid_slot] = new_uuid(u);
        u->own[p->uuid_slot] = true;
    }
}

uint32_t vv_load_user_scenario(const struct vv_load_user *u)
{
    return u->scenario;
}

static struct vv_load_scope scope_of(const struct vv_load_user *u)
{
    return (struct vv_load_scope){u->slot, u->rng};
}

/* ---- memory -------------------------------------------------------------------------------- */

/* Moves what lives to the other arena. False: memory is out. */
static bool collect(struct vv_load_user *u)
{
    struct vv_arena *to = &u->arena[1 - u->which];
    bool fine = true;
    for (uint32_t i = 0; i < u->plan->names.count; i++) {
        if (u->slot[i] != NULL && u->own[i]) {
            u->slot[i] = vv_load_value_copy(to, u->slot[i]);
            fine = fine && u->slot[i] != NULL;
        }
    }
    for (unsigned i = 0; i < u->depth; i++) {
        if (u->loop[i].over != NULL && u->loop[i].own) {
            u->loop[i].over = vv_load_value_copy(to, u->loop[i].over);
            fine = fine && u->loop[i].over != NULL;
        }
    }
    for (size_t i = 0; i < u->cookies; i++) {
        struct cookie *c = &u->cookie[i];
        *c = (struct cookie){vv_arena_str(to, c->host), vv_arena_str(to, c->name),
                             vv_arena_str(to, c->value)};
        fine = fine && c->host.p != NULL && c->name.p != NULL && c->value.p != NULL;
    }
    vv_arena_reset(&u->arena[u->which]);
    u->which = 1 - u->which;
    u->collect_over = vv_max_u64(COLLECT_BYTES, 2 * to->used_bytes);
    return fine;
}

static void tidy(struct vv_load_user *u)
{
    if (u->arena[u->which].used_bytes > u->collect_over && !collect(u)) {
        u->failed = true;
    }
}

/* ---- loops and pauses ---------------------------------------------------------------------- */

static void set_loop_slots(struct vv_load_user *u, const struct load_op *op, struct loop *l)
{
    /* The number stands in the loop itself: no memory for each turn. */
    const int n = snprintf(l->digits, sizeof l->digits, "%lld", (long long)l->at);
    l->index =
        (struct vv_load_value){.kind = VV_LOAD_NUMBER, .text = {l->digits, n > 0 ? (size_t)n : 0}};
    if (op->index_slot != VV_LOAD_NO_SLOT) {
        u->slot[op->index_slot] = &l->index;
        u->own[op->index_slot] = false;
    }
    if (op->element_slot != VV_LOAD_NO_SLOT) {
        u->slot[op->element_slot] = l->over != NULL ? &l->over->item[l->at] : &l->index;
        u->own[op->element_slot] = l->over != NULL && l->own;
    }
}

/* "3" or "1-15": the numbers 1 to 14, as Artillery counts. */
static void read_count(struct vv_load_user *u, const struct load_op *op, int64_t *ret_from,
                       int64_t *ret_to)
{
    long long from = 0, to = 0;
    vv_sb_reset(&u->scratch);
    const struct vv_load_scope s = scope_of(u);
    vv_load_text_render(&op->count, &s, &u->scratch);
    const char *text = u->scratch.p != NULL ? u->scratch.p : "";
    if (sscanf(text, "%lld-%lld", &from, &to) == 2) {
        *ret_from = from;
        *ret_to = to;
    } else {
        *ret_from = 0;
        *ret_to = sscanf(text, "%lld", &to) == 1 ? to : 0;
    }
}

static void begin_loop(struct vv_load_user *u, const struct load_op *op)
{
    struct loop *l = &u->loop[u->depth];
    const struct vv_load_scope s = scope_of(u);
    *l = (struct loop){.at = op->from, .to = op->to, .over = op->over};
    if (op->has_over_text) {
        const struct vv_load_value *v = vv_load_text_value(&op->over_text, &s);
        l->over = v != NULL && v->kind == VV_LOAD_LIST ? v : NULL;
        l->own = u->own[op->over_text.part[0].slot];
        l->to = 0; /* what is no list is not walked at all */
    } else if (op->count.count > 0) {
        read_count(u, op, &l->at, &l->to);
    }
    if (l->over != NULL) {
        l->at = 0;
        l->to = (int64_t)l->over->count;
    }
    if (l->to >= 0 && l->at >= l->to) {
        u->pc = op->jump;
        return;
    }
    u->depth++;
    u->pc++;
    set_loop_slots(u, op, l);
}

static void end_turn(struct vv_load_user *u, const struct load_op *again, const struct load_op *ops)
{
    struct loop *l = &u->loop[u->depth - 1];
    l->at++;
    if (l->to >= 0 && l->at >= l->to) {
        u->depth--;
        u->pc++;
        return;
    }
    u->pc = again->jump;
    set_loop_slots(u, &ops[again->jump - 1], l);
}

/* Seconds, or a number with a unit ("500ms"). */
static uint64_t think_time(struct vv_load_user *u, const struct load_op *op)
{
    uint64_t ns = op->think_ns;
    if (op->think.count > 0) {
        const struct vv_load_scope s = scope_of(u);
        vv_sb_reset(&u->scratch);
        vv_load_text_render(&op->think, &s, &u->scratch);
        if (!load_duration(vv_sb_str(&u->scratch), VV_SEC, &ns)) {
            ns = 0;
        }
    }
    const double room = op->jitter > 0 ? op->jitter * (double)ns : (double)op->jitter_ns;
    if (room > 0) {
        const double t = (double)ns + (2 * vv_rng_double(u->rng) - 1) * room;
        ns = t > 0 ? (uint64_t)t : 0;
    }
    return ns;
}

/* ---- requests ------------------------------------------------------------------------------ */

static bool is_chosen(const struct vv_load_user *u, const struct load_request *r)
{
    const struct vv_load_scope s = scope_of(u);
    return (r->probability < 0 || vv_rng_double(u->rng) * 100 < r->probability) &&
           (r->only_if == NULL || vv_load_cond_true(r->only_if, &s));
}

/* Into the jar of this host; the same name replaces. */
static void set_cookie(struct vv_load_user *u, struct vv_str host, struct vv_str name,
                       struct vv_str value, bool removed)
{
    size_t i = 0;
    while (i < u->cookies &&
           !(vv_str_eq(u->cookie[i].name, name) && vv_str_eq_nocase(u->cookie[i].host, host))) {
        i++;
    }
    if (removed) {
        if (i < u->cookies) {
            u->cookie[i] = u->cookie[--u->cookies];
        }
        return;
    }
    if (i < u->cookies && vv_str_eq(u->cookie[i].value, value)) {
        return; /* a loop must not fill the arena with what is there */
    }
    struct vv_arena *a = &u->arena[u->which];
    const struct cookie c = {vv_arena_str(a, host), vv_arena_str(a, name), vv_arena_str(a, value)};
    if (i == COOKIES_MAX || c.host.p == NULL || c.name.p == NULL || c.value.p == NULL) {
        return;
    }
    u->cookie[i] = c;
    u->cookies += i == u->cookies;
}

/* Cookies a file gives stay with the user, as if a server had set them. */
static void own_cookies(struct vv_load_user *u, const struct load_request *r, struct vv_str host)
{
    const struct load_pairs *lists[] = {&u->plan->cookies, &r->cookies};
    const struct vv_load_scope s = scope_of(u);
    for (size_t l = 0; l < VV_COUNT(lists); l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            vv_sb_reset(&u->scratch);
            vv_sb_reset(&u->body); /* not yet needed */
            vv_load_text_render(&lists[l]->pair[i].name, &s, &u->scratch);
            vv_load_text_render(&lists[l]->pair[i].value, &s, &u->body);
            set_cookie(u, host, vv_sb_str(&u->scratch), vv_sb_str(&u->body), false);
        }
    }
}

static void fill_jar(struct vv_load_user *u, struct vv_str host)
{
    for (size_t i = 0; i < u->cookies; i++) {
        const struct cookie *c = &u->cookie[i];
        if (vv_str_eq_nocase(c->host, host)) {
            vv_sb_adds(&u->jar, u->jar.n > 0 ? "; " : "");
            vv_sb_add(&u->jar, c->name);
            vv_sb_addc(&u->jar, '=');
            vv_sb_add(&u->jar, c->value);
        }
    }
}

static bool render(struct vv_load_user *u, const struct load_request *r, struct load_place *place)
{
    struct load_render x = {.plan = u->plan,
                            .scope = scope_of(u),
                            .url = &u->url,
                            .scratch = &u->scratch,
                            .body = &u->body,
                            .out = &u->out,
                            .plain_get = u->plain_get,
                            .elsewhere = u->elsewhere};
    struct vv_str target, authority, userinfo;
    if (u->redirecting) {
        x.location = vv_sb_str(&u->location);
    }
    if (!load_render_url(&x, r) ||
        !load_place_of(vv_sb_str(&u->url), place, &target, &authority, &userinfo)) {
        return false;
    }
    if (!u->redirecting) {
        own_cookies(u, r, place->host);
    }
    vv_sb_reset(&u->jar);
    if (u->jar_used || r->cookies.count > 0 || u->plan->cookies.count > 0) {
        fill_jar(u, place->host);
    }
    x.jar = vv_sb_str(&u->jar);
    return !u->jar.failed && load_render_request(&x, r, place);
}

static enum vv_load_next send_request(struct vv_load_user *u, const struct load_request *r,
                                      struct vv_load_request *ret)
{
    struct load_place place = r->place;
    struct vv_str bytes = r->bytes;
    if (r->bytes.p == NULL || u->cookies > 0 || u->redirecting) {
        if (!render(u, r, &place)) {
            u->failed = true;
            return VV_LOAD_FAILED;
        }
        bytes = vv_sb_str(&u->out);
    }
    u->at = r;
    u->host = place.host;
    *ret = (struct vv_load_request){
        .endpoint = r->endpoint,
        .tls = place.tls,
        .host = place.host,
        .port = place.port,
        .method = u->plain_get ? VV_METHOD_GET : r->method,
        .bytes = bytes,
        .timeout_ns = r->timeout_ns,
        .wants_body = r->wants_body,
        .follow_redirect = r->follow,
    };
    u->redirecting = false;
    return VV_LOAD_REQUEST;
}

enum vv_load_next vv_load_user_next(struct vv_load_user *u, struct vv_load_request *ret_request,
                                    uint64_t *ret_think_ns)
{
    const struct load_op *ops = u->plan->scenario[u->scenario].op;
    if (!u->failed && u->redirecting) {
        return send_request(u, u->at, ret_request);
    }
    u->redirects = 0;
    u->plain_get = u->elsewhere = false;
    for (int i = 0; i < OPS_AT_ONCE && !u->failed; i++) {
        const struct load_op *op = &ops[u->pc];
        switch (op->kind) {
        case LOAD_OP_END:
            return VV_LOAD_DONE;
        case LOAD_OP_LOOP:
            begin_loop(u, op);
            break;
        case LOAD_OP_AGAIN:
            end_turn(u, op, ops);
            break;
        case LOAD_OP_THINK:
            u->pc++;
            *ret_think_ns = think_time(u, op);
            return VV_LOAD_THINK;
        case LOAD_OP_REQUEST:
            u->pc++;
            if (is_chosen(u, op->request)) {
                return send_request(u, op->request, ret_request);
            }
            break;
        }
    }
    *ret_think_ns = VV_MS; /* a long loop that sends nothing must not hold the engine up */
    return u->failed ? VV_LOAD_FAILED : VV_LOAD_THINK;
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Set-Cookie: name=value; the same name replaces, Max-Age=0 removes (RFC 6265 section 5.2). */
static void keep_cookie(struct vv_load_user *u, struct vv_str field)
{
    struct vv_str rest = field, value = vv_str_cut(&rest, ';');
    const ptrdiff_t equals = vv_str_find_char(value, '=');
    bool removed = false;
    if (equals <= 0) {
        return;
    }
    const struct vv_str name = vv_str_trim((struct vv_str){value.p, (size_t)equals});
    value = vv_str_trim((struct vv_str){value.p + equals + 1, value.n - (size_t)equals - 1});
    while (rest.p != NULL) {
        const struct vv_str attribute = vv_str_trim(vv_str_cut(&rest, ';'));
        removed = removed || vv_str_eq_nocase(attribute, VV_STR("Max-Age=0"));
    }
    u->jar_used = true;
    set_cookie(u, u->host, name, value, removed);
}

static void keep_cookies(struct vv_load_user *u, const struct vv_h1_head *head)
{
    for (uint32_t i = 0; i < head->fields_count; i++) {
        if (vv_str_eq_nocase(head->fields[i].name, VV_STR("set-cookie"))) {
            keep_cookie(u, head->fields[i].value);
        }
    }
}

/* Location against the URL just used (RFC 3986 section 5.2, without merging dot segments: servers
 * get what they wrote). */
static bool resolve(struct vv_load_user *u, const struct load_request *r, struct vv_str to)
{
    struct load_place from, there;
    struct vv_str target, authority, userinfo;
    if (r->bytes.p != NULL && u->redirects == 0) { /* the URL was not rendered for this one */
        const struct load_render x = {
            .plan = u->plan, .scope = scope_of(u), .url = &u->url, .scratch = &u->scratch};
        if (!load_render_url(&x, r)) {
            return false;
        }
    }
    const struct vv_str base = vv_sb_str(&u->url);
    if (!load_place_of(base, &from, &target, &authority, &userinfo)) {
        return false;
    }
    size_t keep = 0; /* bytes of the base in front */
    const struct vv_str whole[] = {VV_STR("http://"), VV_STR("https://")};
    if (vv_str_starts(to, whole[0]) || vv_str_starts(to, whole[1])) {
        keep = 0;
    } else if (vv_str_starts(to, VV_STR("//"))) {
        keep = from.tls ? 6 : 5;
    } else if (to.n > 0 && to.p[0] == '/') {
        keep = (size_t)(target.p - base.p);
    } else {
        keep = (size_t)(target.p - base.p);
        for (size_t i = keep; i < base.n && base.p[i] != '?'; i++) {
            keep = base.p[i] == '/' ? i + 1 : keep;
        }
    }
    vv_sb_reset(&u->location);
    vv_sb_add(&u->location, (struct vv_str){base.p, keep});
    load_escape_url(to, &u->location);
    if (u->location.failed ||
        !load_place_of(vv_sb_str(&u->location), &there, &target, &authority, &userinfo)) {
        return false;
    }
    u->elsewhere = u->elsewhere || !vv_str_eq_nocase(from.host, there.host);
    return true;
}

static bool redirects(struct vv_load_user *u, const struct load_request *r,
                      const struct vv_h1_head *head)
{
    const int s = head->status;
    const struct vv_h1_field *to = vv_h1_find_name(head, VV_STR("location"));
    const bool is_redirect = s == 301 || s == 302 || s == 303 || s == 307 || s == 308;
    if (!r->follow || !is_redirect || to == NULL || u->redirects >= LOAD_REDIRECTS_MAX ||
        !resolve(u, r, to->value)) {
        return false;
    }
    u->redirects++;
    u->redirecting = true;
    u->plain_get = u->plain_get || (s == 303 && r->method != VV_METHOD_HEAD);
    return true;
}

/* Undoes gzip or deflate; everything else is taken as it is. False: it is broken or too large. */
static bool decode(struct vv_load_user *u, const struct vv_h1_head *head, struct vv_str *body)
{
    const struct vv_h1_field *f = vv_h1_find_name(head, VV_STR("content-encoding"));
    z_stream z = {0};
    unsigned char part[16384];
    int status = Z_OK;
    if (f == NULL || body->n == 0 ||
        !(vv_str_eq_nocase(f->value, VV_STR("gzip")) ||
          vv_str_eq_nocase(f->value, VV_STR("deflate")))) {
        return true;
    }
    if (inflateInit2(&z, 32 + MAX_WBITS) != Z_OK) { /* gzip or zlib, by their first bytes */
        return false;
    }
    vv_sb_reset(&u->decoded);
    z.next_in = (unsigned char *)(uintptr_t)body->p;
    z.avail_in = (uInt)vv_min_u64(body->n, BODY_BYTES_MAX);
    while (status == Z_OK && u->decoded.n < BODY_BYTES_MAX) {
        z.next_out = part;
        z.avail_out = sizeof part;
        status = inflate(&z, Z_NO_FLUSH);
        vv_sb_add(&u->decoded, (struct vv_str){(char *)part, sizeof part - z.avail_out});
    }
    inflateEnd(&z);
    *body = vv_sb_str(&u->decoded);
    return status == Z_STREAM_END && !u->decoded.failed;
}

static const char *take_captures(struct vv_load_user *u, const struct load_request *r,
                                 struct load_answer *a)
{
    const char *wrong = NULL;
    for (size_t i = 0; i < r->capture_count; i++) {
        const struct load_capture *c = &r->capture[i];
        const struct vv_load_value *v = load_find(a, &c->find);
        const bool none = v == NULL || (v->kind == VV_LOAD_TEXT && v->text.n == 0);
        if (c->slot != VV_LOAD_NO_SLOT) {
            if (none && c->strict) {
                wrong = "capture";
            }
            u->slot[c->slot] = v != NULL ? vv_load_value_copy(&u->arena[u->which], v) : NULL;
            u->own[c->slot] = true;
            continue;
        }
        vv_sb_reset(&u->scratch);
        vv_load_text_render(&c->value, &a->scope, &u->scratch);
        const size_t n = u->scratch.n;
        vv_load_value_print(v, &u->scratch);
        const struct vv_str both = vv_sb_str(&u->scratch);
        const bool same = both.n == 2 * n && (n == 0 || memcmp(both.p, both.p + n, n) == 0);
        if (!same && c->strict && wrong == NULL) {
            wrong = c->find.look == LOAD_LOOK_HEADER ? "header"
                    : c->find.look == LOAD_LOOK_JSON ? "json"
                                                     : "body";
        }
    }
    return wrong;
}

/* The first that was missed; all of them are asked, because all of them count. */
static const char *take_expects(const struct load_request *r, struct load_answer *a,
                                struct vv_load_tally *tally)
{
    const char *wrong = NULL;
    for (size_t i = 0; i < r->expect_count; i++) {
        const struct load_expect *e = &r->expect[i];
        const char *missed = load_expect(a, e);
        if (tally != NULL && e->counter > 0) {
            tally[e->counter - 1].ok += missed == NULL;
            tally[e->counter - 1].failed += missed != NULL;
        }
        wrong = wrong != NULL ? wrong : missed;
    }
    return wrong;
}

const char *vv_load_user_answer(struct vv_load_user *u, const struct vv_h1_head *head,
                                struct vv_str body, uint64_t latency_ns,
                                struct vv_load_tally *tally)
{
    const struct load_request *r = u->at;
    const char *wrong = NULL;
    if (r == NULL) {
        return NULL;
    }
    keep_cookies(u, head);
    if (redirects(u, r, head)) {
        return NULL;
    }
    if (r->wants_body && !decode(u, head, &body)) {
        body.n = 0;
    }
    if (r->capture_count + r->expect_count > 0) {
        struct load_answer a = {.head = head,
                                .body = body,
                                .latency_ns = latency_ns,
                                .arena = &u->parsed,
                                .scope = scope_of(u),
                                .scratch = &u->scratch};
        vv_arena_reset(&u->parsed);
        wrong = take_captures(u, r, &a);
        u->failed = wrong != NULL;
        const char *missed = take_expects(r, &a, tally);
        wrong = wrong != NULL ? wrong : missed;
        tidy(u);
    }
    u->at = NULL;
    return wrong;
}

void vv_load_user_failed(struct vv_load_user *u, const char *why)
{
    (void)why; /* counted by the engine; a user cannot go on without his answer */
    u->failed = true;
}
