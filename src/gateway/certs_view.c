/* src/gateway/certs_view.c - what is known about the certificates, for people and for metrics. */
#include "gateway/certs_int.h"
#include "gateway/keys.h"
#include "os/clock.h"

static const char *const key_names[VV_TLS_KEY_COUNT] = {"ecdsa", "rsa", "ed25519"};

static struct vv_str first_name(const struct vv_tls_cert_info *info)
{
    return vv_str_from(info->name_count > 0 ? info->names[0] : info->subject);
}

void vv_certs_collect(struct vv_collect *collect, void *certs)
{
    const struct vv_certs *c = certs;
    for (struct vv_certs_seat *seat = atomic_load(&c->seats); seat != NULL; seat = seat->next) {
        const struct vv_certs_set *s = seat->set;
        for (size_t i = 0; s != NULL && i < s->count; i++) {
            if (s->item[i].cert == NULL) {
                continue;
            }
            const struct vv_tls_cert_info *info = vv_tls_cert_info(s->item[i].cert);
            const struct vv_str values[3] = {vv_str_from(seat->name), first_name(info),
                                             vv_str_from(key_names[info->key])};
            vv_collect_value(collect, VV_METRIC_TLS_EXPIRY, values, 3,
                             (double)info->not_after_wall_ns / (double)VV_SEC);
        }
    }
}

static void put_time(struct vv_json *j, const char *name, uint64_t wall_ns)
{
    char text[VV_UTC_BYTES];
    vv_json_kcstr(j, name, wall_ns != 0 ? vv_utc_format((int64_t)(wall_ns / VV_SEC), text) : NULL);
}

static void put_problems(struct vv_json *j, unsigned problems, const char *text)
{
    static const struct {
        unsigned bit;
        const char *text;
    } rows[] = {{VV_TLS_CERT_EXPIRED, "it has expired"},
                {VV_TLS_CERT_NOT_YET, "it is not good yet"},
                {VV_TLS_CERT_SHA1, "it is signed in a way that clients refuse"},
                {VV_TLS_CERT_STAPLE, "its status answer cannot be stapled"}};
    vv_json_key(j, "problems");
    vv_json_arr(j);
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        if ((problems & rows[i].bit) != 0) {
            vv_json_cstr(j, rows[i].text);
        }
    }
    if (text[0] != '\0') {
        vv_json_cstr(j, text);
    }
    vv_json_arr_end(j);
}

static void put_cert(struct vv_json *j, const struct vv_tls_cert *cert, const char *source,
                     const char *file, const char *problem)
{
    const uint64_t now = vv_clock_wall();
    const struct vv_tls_cert_info *info = vv_tls_cert_info(cert);
    vv_json_obj(j);
    vv_json_key(j, "names");
    vv_json_arr(j);
    for (size_t i = 0; i < info->name_count; i++) {
        vv_json_cstr(j, info->names[i]);
    }
    vv_json_arr_end(j);
    vv_json_kcstr(j, "source", source);
    vv_json_kcstr(j, "file", file);
    vv_json_kcstr(j, "subject", info->subject);
    vv_json_kcstr(j, "issuer", info->issuer);
    vv_json_kcstr(j, "key", key_names[info->key]);
    vv_json_ku64(j, "key_bits", info->key_bits);
    vv_json_kcstr(j, "fingerprint", info->fingerprint);
    put_time(j, "not_before", info->not_before_wall_ns);
    put_time(j, "not_after", info->not_after_wall_ns);
    vv_json_key(j, "seconds_left");
    vv_json_u64(j, info->not_after_wall_ns > now ? (info->not_after_wall_ns - now) / VV_SEC : 0);
    vv_json_ku64(j, "chain", info->chain_count);
    put_time(j, "staple_until", info->staple_until_wall_ns);
    put_problems(j, vv_tls_cert_problems(cert, now), problem);
    vv_json_obj_end(j);
}

static void put_waiting(struct vv_json *j, const struct vv_certs_set *s)
{
    vv_json_key(j, "waiting");
    vv_json_arr(j);
    for (size_t i = 0; i < s->count; i++) {
        if (s->item[i].cert == NULL && s->item[i].name != NULL) {
            vv_json_cstr(j, s->item[i].name);
        }
    }
    vv_json_arr_end(j);
}

static void put_listener(struct vv_json *j, const struct vv_certs_seat *seat)
{
    static const char *const sources[] = {"file", "local", "acme"};
    static const char *const asks[] = {"none", "optional", "required"};
    static const char *const versions[] = {"1.2", "1.3"};
    const struct vv_certs_set *s = seat->set;
    vv_json_obj(j);
    vv_json_kcstr(j, "name", seat->name);
    vv_json_kcstr(j, "source", sources[s->source]);
    vv_json_kcstr(j, "min", versions[s->version_min]);
    vv_json_kcstr(j, "client_certificates", asks[s->ask]);
    vv_json_kbool(j, "strict_names", s->strict_names);
    vv_json_kbool(j, "ktls", s->ktls && vv_tls_ktls_possible());
    vv_json_key(j, "tickets");
    if (s->tickets != NULL) {
        vv_json_u64(j, vv_tls_tickets_life(s->tickets) / VV_SEC);
    } else {
        vv_json_null(j);
    }
    vv_json_ku64(j, "swaps", seat->swaps);
    put_waiting(j, s);
    vv_json_key(j, "certificates");
    vv_json_arr(j);
    for (size_t i = 0; i < s->count; i++) {
        if (s->item[i].cert != NULL) {
            put_cert(j, s->item[i].cert, sources[s->source], s->item[i].path[FILE_CERT],
                     s->item[i].problem);
        }
    }
    if (s->placeholder != NULL) {
        put_cert(j, s->placeholder, "placeholder", NULL,
                 "the authority has not given the certificate yet");
    }
    vv_json_arr_end(j);
    vv_json_obj_end(j);
}

void vv_certs_json(const struct vv_certs *c, struct vv_json *j)
{
    vv_json_key(j, "listeners");
    vv_json_arr(j);
    for (struct vv_certs_seat *seat = atomic_load(&c->seats); seat != NULL; seat = seat->next) {
        if (seat->set != NULL) {
            put_listener(j, seat);
        }
    }
    vv_json_arr_end(j);
    vv_certs_acme_json(c, j);
}
