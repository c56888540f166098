/* src/gateway/certs.c - one slot for each listener with TLS; ticket keys; what changes by itself. */
#include "gateway/certs_int.h"
#include "observe/log.h"
#include "os/clock.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS VV_SEC        /* a new certificate is in force within two looks */
#define LOCAL_NS VV_HOUR      /* how often the age of local certificates is looked at */
#define WARN_NS VV_DAY        /* between two lines about the same end */
#define SOON_NS (14 * VV_DAY) /* before the end of a certificate that nobody renews for us */
#define NAMES_MAX 4096        /* of one local certificate */
#define PATH_BYTES VV_TLS_LOCAL_PATH

/* ---- life ---------------------------------------------------------------------------------- */

enum vv_err vv_certs_new(struct vv_metrics *metrics, struct vv_certs **ret)
{
    struct vv_certs *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->metrics = metrics;
    enum vv_err err = vv_metrics_shard(metrics, &c->shard);
    if (err == VV_OK) {
        err = vv_metrics_collector(metrics, vv_certs_collect, c);
    }
    if (err != VV_OK) {
        vv_certs_free(c);
        return err;
    }
    *ret = c;
    return VV_OK;
}

void vv_certs_free(struct vv_certs *c)
{
    if (c == NULL) {
        return;
    }
    vv_metrics_collector_remove(c->metrics, vv_certs_collect, c);
    for (struct vv_certs_seat *s = atomic_load(&c->seats), *next; s != NULL; s = next) {
        next = s->next;
        vv_certs_set_free(s->set);
        vv_certs_set_free(s->then);
        vv_tls_slot_free(s->slot);
        free(s->name);
        free(s);
    }
    vv_certs_acme_free(c);
    for (size_t i = 0; i < c->lives; i++) {
        vv_tls_tickets_unref(c->life[i].keys);
    }
    if (c->shard != NULL) {
        vv_metrics_shard_return(c->metrics, c->shard);
    }
    free(c);
}

/* ---- seats --------------------------------------------------------------------------------- */

static struct vv_certs_seat *find_seat(const struct vv_certs *c, const char *listener)
{
    struct vv_certs_seat *s = atomic_load_explicit(&c->seats, memory_order_acquire);
    while (s != NULL && strcmp(s->name, listener) != 0) {
        s = s->next;
    }
    return s;
}

static struct vv_certs_seat *seat_of(struct vv_certs *c, const char *listener)
{
    struct vv_certs_seat *s = find_seat(c, listener);
    if (s != NULL) {
        return s;
    }
    s = calloc(1, sizeof *s);
    if (s == NULL || (s->name = strdup(listener)) == NULL || vv_tls_slot_new(&s->slot) != VV_OK) {
        free(s != NULL ? s->name : NULL);
        free(s);
        return NULL;
    }
    _Atomic(struct vv_certs_seat *) *last = &c->seats;
    while (atomic_load(last) != NULL) {
        last = &atomic_load(last)->next;
    }
    atomic_store_explicit(last, s, memory_order_release);
    return s;
}

struct vv_tls_slot *vv_certs_slot(const struct vv_certs *c, const char *listener)
{
    struct vv_certs_seat *s = find_seat(c, listener);
    return s != NULL && atomic_load_explicit(&s->on, memory_order_acquire) ? s->slot : NULL;
}

/* ---- the local authority ------------------------------------------------------------------- */

bool vv_certs_state_dir(const struct vv_settings *s, const char *name, char *path, size_t bytes)
{
    const char *state = getenv("STATE_DIRECTORY"); /* systemd; the first of a list */
    const char *file = vv_conf_path(vv_settings_doc(s));
    int n;
    if (state != NULL && state[0] == '/') {
        n = snprintf(path, bytes, "%.*s/%s", (int)strcspn(state, ":"), state, name);
    } else {
        const char *slash = file != NULL ? strrchr(file, '/') : NULL;
        n = slash != NULL
                ? snprintf(path, bytes, "%.*s/.vivace/%s", (int)(slash - file), file, name)
                : snprintf(path, bytes, ".vivace/%s", name);
    }
    return n > 0 && (size_t)n < bytes;
}

bool vv_certs_local_dir(const struct vv_settings *s, const struct vv_tls_settings *t, char *path,
                        size_t bytes)
{
    return t->dir != NULL ? snprintf(path, bytes, "%s", t->dir) < (int)bytes
                          : vv_certs_state_dir(s, "tls", path, bytes);
}

/* With its parents; what we make is for the owner only. */
static enum vv_err make_dir(const char *path)
{
    char text[PATH_BYTES];
    (void)snprintf(text, sizeof text, "%s", path);
    for (char *p = text + 1;; p++) {
        const char c = *p;
        if (c != '/' && c != '\0') {
            continue;
        }
        *p = '\0';
        if (mkdir(text, 0700) != 0 && errno != EEXIST && (c == '\0' || errno != EROFS)) {
            return vv_err_from_errno(errno);
        }
        if (c == '\0') {
            return VV_OK;
        }
        *p = c;
    }
}

static size_t add_name(const char **name, size_t n, const char *one)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name[i], one) == 0) {
            return n;
        }
    }
    if (n < NAMES_MAX) {
        name[n++] = one;
    }
    return n;
}

static enum vv_err run_local(const char *dir, const char *const *name, size_t n, struct vv_sb *why)
{
    struct vv_tls_local made;
    enum vv_err err = make_dir(dir);
    if (err != VV_OK) {
        vv_sb_addf(why, "%s: cannot be made: %s", dir, vv_err_text(err));
        return err;
    }
    err = vv_tls_local(dir, name, n, vv_clock_wall(), why, &made);
    if (err == VV_OK && made.made_authority) {
        vv_info("certs", "made a local authority; clients that trust it: %s", made.ca_file);
    }
    return err;
}

/* What lies there; NULL: nothing that can be used. */
static struct vv_tls_cert *former_local(const char *dir)
{
    char cert[PATH_BYTES + 16], key[PATH_BYTES + 16];
    struct vv_sb quiet = VV_SB_INIT;
    struct vv_tls_cert *former = NULL;
    (void)snprintf(cert, sizeof cert, "%s/local.pem", dir);
    (void)snprintf(key, sizeof key, "%s/local.key", dir);
    const struct vv_tls_cert_files files = {cert, key, NULL};
    if (vv_tls_cert_load(&files, &quiet, &former) != VV_OK) {
        former = NULL;
    }
    vv_sb_fini(&quiet);
    return former;
}

/* One certificate in a directory for all listeners that use it; also those of another gateway, whose names it
 * keeps. */
static enum vv_err make_local(const struct vv_settings *s, const char *dir, struct vv_sb *why)
{
    static const char *const always[] = {"localhost", "127.0.0.1", "::1"};
    char other[PATH_BYTES];
    const char **name = calloc(NAMES_MAX, sizeof *name);
    size_t n = 0;
    if (name == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < VV_COUNT(always); i++) {
        n = add_name(name, n, always[i]);
    }
    for (size_t i = 0; s->listen != NULL && i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        if (!l->tls.enabled || !l->tls.local || l->tls.wanted == NULL ||
            !vv_certs_local_dir(s, &l->tls, other, sizeof other) || strcmp(other, dir) != 0) {
            continue;
        }
        for (size_t k = 0; k < l->tls.wanted->count; k++) {
            n = add_name(name, n, l->tls.wanted->item[k]);
        }
    }
    struct vv_tls_cert *former = former_local(dir);
    const struct vv_tls_cert_info *info = former != NULL ? vv_tls_cert_info(former) : NULL;
    for (size_t i = 0; info != NULL && i < info->name_count; i++) {
        n = add_name(name, n, info->names[i]);
    }
    const enum vv_err err = run_local(dir, name, n, why);
    vv_tls_cert_unref(former);
    free(name);
    return err;
}

/* ---- ticket keys --------------------------------------------------------------------------- */

enum vv_err vv_certs_tickets(struct vv_certs *c, uint64_t life_ns, struct vv_tls_tickets **ret)
{
    for (size_t i = 0; i < c->lives; i++) {
        if (c->life[i].life_ns == life_ns) {
            *ret = c->life[i].keys;
            return VV_OK;
        }
    }
    if (c->lives == VV_CERTS_LIVES) {
        return VV_ELIMIT;
    }
    struct vv_certs_life *l = &c->life[c->lives];
    const enum vv_err err = vv_tls_tickets_new(life_ns, vv_clock_wall(), &l->keys);
    if (err == VV_OK) {
        l->life_ns = life_ns;
        c->lives++;
        c->keys_generation++;
        *ret = l->keys;
    }
    return err;
}

uint64_t vv_certs_keys_generation(const struct vv_certs *c)
{
    return c->keys_generation;
}

/* "SECONDS:HEX SECONDS:HEX" */
void vv_certs_keys_export(struct vv_certs *c, struct vv_sb *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[VV_TLS_TICKETS_BYTES];
    for (size_t i = 0; i < c->lives; i++) {
        const size_t n = vv_tls_tickets_export(c->life[i].keys, bytes);
        vv_sb_addf(out, "%s%llu:", i > 0 ? " " : "",
                   (unsigned long long)(c->life[i].life_ns / VV_SEC));
        for (size_t k = 0; k < n; k++) {
            vv_sb_addc(out, digits[bytes[k] >> 4]);
            vv_sb_addc(out, digits[bytes[k] & 15]);
        }
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool from_hex(struct vv_str hex, uint8_t bytes[VV_TLS_TICKETS_BYTES])
{
    if (hex.n % 2 != 0 || hex.n > 2 * (size_t)VV_TLS_TICKETS_BYTES) {
        return false;
    }
    for (size_t i = 0; i < hex.n; i += 2) {
        const int high = digit_of(hex.p[i]), low = digit_of(hex.p[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void vv_certs_keys_import(struct vv_certs *c, struct vv_str text)
{
    uint8_t bytes[VV_TLS_TICKETS_BYTES];
    while (text.n > 0) {
        struct vv_str hex = vv_str_cut(&text, ' ');
        uint64_t life_s = 0;
        const struct vv_str number = vv_str_cut(&hex, ':');
        if (vv_str_to_u64(number, &life_s) != VV_OK || !from_hex(hex, bytes)) {
            continue;
        }
        for (size_t i = 0; i < c->lives; i++) {
            const struct vv_str keys = {(const char *)bytes, hex.n / 2};
            if (c->life[i].life_ns == life_s * VV_SEC &&
                vv_tls_tickets_import(c->life[i].keys, keys) != VV_OK) {
                vv_warn("certs", "the ticket keys of the former process cannot be used");
            }
        }
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
    c->keys_generation++;
}

/* ---- start and reload ---------------------------------------------------------------------- */

static enum vv_err prepare_one(struct vv_certs *c, const struct vv_settings *s,
                               const struct vv_listen_settings *l, struct vv_sb *why)
{
    char dir[PATH_BYTES] = "";
    struct vv_certs_seat *seat = seat_of(c, l->name);
    enum vv_err err = seat != NULL ? VV_OK : VV_ENOMEM;
    if (err == VV_OK && l->tls.local) {
        if (!vv_certs_local_dir(s, &l->tls, dir, sizeof dir)) {
            vv_sb_adds(why, "the path of its directory is too long");
            return VV_ERANGE;
        }
        err = make_local(s, dir, why);
    }
    if (err == VV_OK) {
        err = vv_certs_set_new(c, l, dir, why, &seat->then);
    }
    if (err == VV_OK && seat->set == NULL) { /* workers may open it before everything is settled */
        vv_tls_slot_set(seat->slot, seat->then->context);
    }
    return err;
}

static void forget_prepared(struct vv_certs *c)
{
    for (struct vv_certs_seat *s = atomic_load(&c->seats); s != NULL; s = s->next) {
        vv_certs_set_free(s->then);
        s->then = NULL;
    }
}

enum vv_err vv_certs_prepare(struct vv_certs *c, const struct vv_settings *s, char *reterr_text)
{
    struct vv_sb why = VV_SB_INIT;
    enum vv_err err = VV_OK;
    forget_prepared(c);
    err = vv_certs_acme_conf(c, s, &why);
    if (err != VV_OK) {
        (void)snprintf(reterr_text, VV_CERTS_WHY, "acme: %.200s",
                       why.n > 0 ? why.p : vv_err_text(err));
    }
    for (size_t i = 0; s->listen != NULL && i < s->listen->count && err == VV_OK; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        if (!l->tls.enabled) {
            continue;
        }
        err = prepare_one(c, s, l, &why);
        if (err != VV_OK) {
            (void)snprintf(reterr_text, VV_CERTS_WHY, "listen.%.40s.tls: %.200s", l->name,
                           why.n > 0 ? why.p : vv_err_text(err));
        }
    }
    vv_sb_fini(&why);
    if (err != VV_OK) {
        forget_prepared(c);
        return VV_ECONFIG;
    }
    for (struct vv_certs_seat *seat = atomic_load(&c->seats); seat != NULL; seat = seat->next) {
        atomic_store_explicit(&seat->on, seat->then != NULL, memory_order_release);
    }
    return VV_OK;
}

void vv_certs_settle(struct vv_certs *c, const struct vv_settings *s, bool kept)
{
    struct vv_sb why = VV_SB_INIT;
    if (!kept && vv_certs_acme_conf(c, s, &why) != VV_OK) {
        vv_warn("acme", "%s", vv_sb_str(&why).p);
    }
    vv_sb_fini(&why);
    for (struct vv_certs_seat *seat = atomic_load(&c->seats); seat != NULL; seat = seat->next) {
        if (kept) {
            vv_certs_set_free(seat->set);
            seat->set = seat->then;
            seat->then = NULL;
            if (seat->set != NULL) {
                vv_tls_slot_set(seat->slot, seat->set->context);
            }
        }
        atomic_store_explicit(&seat->on, seat->set != NULL, memory_order_release);
    }
    forget_prepared(c);
}

/* ---- what changes by itself ---------------------------------------------------------------- */

static void count_swap(struct vv_certs *c, const struct vv_certs_seat *seat, bool fine)
{
    const struct vv_str values[2] = {vv_str_from(seat->name),
                                     fine ? VV_STR("ok") : VV_STR("error")};
    vv_metric_add(c->shard, vv_metrics_series(c->metrics, VV_METRIC_TLS_SWAPS, values, 2), 1);
}

static void look(struct vv_certs *c, struct vv_certs_seat *seat)
{
    struct vv_sb why = VV_SB_INIT;
    const enum vv_err err = vv_certs_set_look(seat->set, &why);
    if (err == VV_OK) {
        vv_tls_slot_set(seat->slot, seat->set->context);
        seat->swaps++;
        count_swap(c, seat, true);
        vv_info("certs", "listener %s: changed files are in force", seat->name);
    }
    if (why.n > 0 || (err != VV_OK && err != VV_EAGAIN)) {
        count_swap(c, seat, false);
        vv_warn("certs", "listener %s: what was read last stays in force: %s", seat->name,
                why.n > 0 ? why.p : vv_err_text(err));
    }
    vv_sb_fini(&why);
}

static void warn_ends(struct vv_certs_set *s, uint64_t wall_ns)
{
    if (s->warned_wall_ns != 0 && wall_ns - s->warned_wall_ns < WARN_NS) {
        return;
    }
    s->warned_wall_ns = wall_ns;
    for (size_t i = 0; i < s->count; i++) {
        if (s->item[i].cert == NULL) {
            continue;
        }
        const struct vv_tls_cert_info *info = vv_tls_cert_info(s->item[i].cert);
        const uint64_t end = info->not_after_wall_ns;
        if (wall_ns >= end) {
            vv_warn("certs", "listener %s: %s has expired", s->listener,
                    s->item[i].path[FILE_CERT]);
        } else if (s->source == VV_CERTS_FILES && end - wall_ns < SOON_NS) {
            vv_warn("certs", "listener %s: %s ends in %llu days", s->listener,
                    s->item[i].path[FILE_CERT], (unsigned long long)((end - wall_ns) / VV_DAY));
        }
    }
}

static void renew_local(struct vv_certs *c, uint64_t wall_ns)
{
    if (wall_ns >= c->local_wall_ns && wall_ns - c->local_wall_ns < LOCAL_NS) {
        return;
    }
    c->local_wall_ns = wall_ns;
    for (struct vv_certs_seat *seat = atomic_load(&c->seats); seat != NULL; seat = seat->next) {
        const struct vv_certs_set *s = seat->set;
        if (s == NULL || s->source != VV_CERTS_LOCAL) {
            continue;
        }
        /* The names of what lies there: it may have more than this listener wants. */
        const struct vv_tls_cert_info *info = vv_tls_cert_info(s->item[0].cert);
        struct vv_sb why = VV_SB_INIT;
        if (run_local(s->dir, info->names, info->name_count, &why) != VV_OK) {
            vv_warn("certs", "listener %s: the local certificate cannot be renewed: %s", seat->name,
                    vv_sb_str(&why).p);
        }
        vv_sb_fini(&why);
    }
}

void vv_certs_tick(struct vv_certs *c, uint64_t now_ns)
{
    if (now_ns < c->look_ns) {
        return;
    }
    const uint64_t wall_ns = vv_clock_wall();
    c->look_ns = now_ns + LOOK_NS;
    for (size_t i = 0; i < c->lives; i++) {
        c->keys_generation += vv_tls_tickets_rotate(c->life[i].keys, wall_ns);
    }
    renew_local(c, wall_ns);
    vv_certs_acme_tick(c);
    for (struct vv_certs_seat *seat = atomic_load(&c->seats); seat != NULL; seat = seat->next) {
        if (seat->set != NULL) {
            look(c, seat);
            warn_ends(seat->set, wall_ns);
        }
    }
}
