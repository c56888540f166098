/* src/watch/message.c - notes as the bytes that receivers want. Every text of an alert comes from
 * outside (labels hold what clients sent), so each encoder escapes for its own language, and the
 * mail's headers take no line end. */
#include "base/base64.h"
#include "base/json.h"
#include "watch/notify.h"

#include <stdio.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NOTES_MAX 50        /* in one message */
#define SLACK_TEXT_MAX 2900 /* of 3,000 characters of a section */
#define SLACK_FIELDS_MAX 10
#define PAGER_SUMMARY_MAX 1000 /* of 1,024 */
#define PAGER_DETAIL_MAX 4000  /* bytes of one annotation, far below 512 kB for all */
#define HEADER_MAX 200

static size_t count_firing(const struct vv_message *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        n += m->notes[i].firing ? 1 : 0;
    }
    return n;
}

static struct vv_str label(const struct vv_note *note, const char *name)
{
    return vv_labels_get(note->labels, vv_str_from(name));
}

/* Cut at a whole character. */
static struct vv_str at_most(struct vv_str s, size_t max)
{
    if (s.n > max) {
        s.n = max;
        while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80) {
            s.n--;
        }
    }
    return s;
}

static struct vv_str sentence(const struct vv_note *note)
{
    const struct vv_str text = vv_labels_get(note->annotations, VV_STR("description"));
    return text.n > 0 ? text : vv_labels_get(note->annotations, VV_STR("summary"));
}

static const char *put_time(int64_t ms, char buf[32])
{
    const time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char day[24];
    if (gmtime_r(&s, &tm) == NULL || strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        return "0001-01-01T00:00:00Z";
    }
    snprintf(buf, 32, "%s.%03uZ", day, (unsigned)(ms % 1000));
    return buf;
}

void vv_message_title(const struct vv_message *m, struct vv_sb *out)
{
    const size_t firing = count_firing(m);
    if (firing > 0) {
        vv_sb_addf(out, "[FIRING:%zu] ", firing);
    } else {
        vv_sb_adds(out, "[RESOLVED] ");
    }
    vv_sb_add(out, label(&m->notes[0], "alertname"));
    for (size_t i = 0; i < m->group.n; i++) {
        if (!vv_str_eq(m->group.at[i].name, VV_STR("alertname"))) {
            vv_sb_addf(out, " " VV_STR_FMT, VV_STR_ARG(m->group.at[i].value));
        }
    }
}

/* ---- webhook ------------------------------------------------------------------------------- */

static void put_labels(struct vv_json *j, const char *key, struct vv_promql_labels l)
{
    vv_json_key(j, key);
    vv_json_obj(j);
    for (size_t i = 0; i < l.n; i++) {
        vv_json_keyn(j, l.at[i].name);
        vv_json_str(j, l.at[i].value);
    }
    vv_json_obj_end(j);
}

static void put_common(struct vv_json *j, const char *key, const struct vv_message *m, bool notes)
{
    const struct vv_promql_labels first = notes ? m->notes[0].annotations : m->notes[0].labels;
    vv_json_key(j, key);
    vv_json_obj(j);
    for (size_t i = 0; i < first.n; i++) {
        bool common = true;
        for (size_t k = 1; k < m->n && common; k++) {
            common = vv_str_eq(vv_labels_get(notes ? m->notes[k].annotations : m->notes[k].labels,
                                             first.at[i].name),
                               first.at[i].value);
        }
        if (common) {
            vv_json_keyn(j, first.at[i].name);
            vv_json_str(j, first.at[i].value);
        }
    }
    vv_json_obj_end(j);
}

static void put_note(struct vv_json *j, const struct vv_message *m, const struct vv_note *note)
{
    char buf[32], text[512];
    vv_json_obj(j);
    vv_json_kcstr(j, "status", note->firing ? "firing" : "resolved");
    put_labels(j, "labels", note->labels);
    put_labels(j, "annotations", note->annotations);
    vv_json_kcstr(j, "startsAt", put_time(note->starts_ms, buf));
    vv_json_kcstr(j, "endsAt",
                  note->firing ? "0001-01-01T00:00:00Z" : put_time(note->ends_ms, buf));
    snprintf(text, sizeof text, VV_STR_FMT "/alerts/%016llx", VV_STR_ARG(at_most(m->url, 400)),
             (unsigned long long)note->hash);
    vv_json_kcstr(j, "generatorURL", text);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)note->hash);
    vv_json_kcstr(j, "fingerprint", text);
    vv_json_obj_end(j);
}

void vv_message_webhook(const struct vv_message *m, struct vv_sb *out)
{
    struct vv_json j;
    struct vv_sb key = VV_SB_INIT;
    const size_t n = m->n < NOTES_MAX ? m->n : NOTES_MAX;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_kstr(&j, "receiver", m->receiver);
    vv_json_kcstr(&j, "status", count_firing(m) > 0 ? "firing" : "resolved");
    vv_json_key(&j, "alerts");
    vv_json_arr(&j);
    for (size_t i = 0; i < n; i++) {
        put_note(&j, m, &m->notes[i]);
    }
    vv_json_arr_end(&j);
    put_labels(&j, "groupLabels", m->group);
    put_common(&j, "commonLabels", m, false);
    put_common(&j, "commonAnnotations", m, true);
    vv_json_kstr(&j, "externalURL", m->url);
    vv_json_kcstr(&j, "version", "4");
    vv_sb_adds(&key, "{}:{");
    for (size_t i = 0; i < m->group.n; i++) {
        vv_sb_addf(&key, "%s" VV_STR_FMT "=\"" VV_STR_FMT "\"", i > 0 ? ", " : "",
                   VV_STR_ARG(m->group.at[i].name), VV_STR_ARG(m->group.at[i].value));
    }
    vv_sb_addc(&key, '}');
    vv_json_kstr(&j, "groupKey", vv_sb_str(&key));
    vv_json_ku64(&j, "truncatedAlerts", m->n - n);
    vv_json_obj_end(&j);
    vv_sb_fini(&key);
}

/* ---- Slack --------------------------------------------------------------------------------- */

static void put_slack(struct vv_str s, struct vv_sb *out)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (c == '&' || c == '<' || c == '>') {
            vv_sb_adds(out, c == '&' ? "&amp;" : c == '<' ? "&lt;" : "&gt;");
        } else {
            vv_sb_addc(out, c);
        }
    }
}

static void slack_text(struct vv_json *j, const char *type, struct vv_str text)
{
    vv_json_obj(j);
    vv_json_kcstr(j, "type", type);
    vv_json_kstr(j, "text", text);
    vv_json_obj_end(j);
}

static void slack_note(struct vv_json *j, const struct vv_note *note)
{
    struct vv_sb text = VV_SB_INIT;
    const struct vv_str severity = label(note, "severity");
    vv_json_obj(j);
    vv_json_kcstr(j, "type", "section");
    vv_sb_adds(&text, "*");
    put_slack(at_most(note->firing ? severity : VV_STR("resolved"), 100), &text);
    vv_sb_adds(&text, "* - ");
    put_slack(at_most(sentence(note), SLACK_TEXT_MAX / 5), &text); /* "&amp;" is five */
    vv_json_key(j, "text");
    slack_text(j, "mrkdwn", vv_sb_str(&text));
    vv_json_key(j, "fields");
    vv_json_arr(j);
    for (size_t i = 0, n = 0; i < note->labels.n && n < SLACK_FIELDS_MAX; i++, n++) {
        vv_sb_reset(&text);
        vv_sb_addf(&text, "*" VV_STR_FMT "*\n", VV_STR_ARG(at_most(note->labels.at[i].name, 100)));
        put_slack(at_most(note->labels.at[i].value, 300), &text);
        slack_text(j, "mrkdwn", vv_sb_str(&text));
    }
    vv_json_arr_end(j);
    vv_json_obj_end(j);
    vv_sb_fini(&text);
}

void vv_message_slack(const struct vv_message *m, struct vv_sb *out)
{
    struct vv_json j;
    struct vv_sb text = VV_SB_INIT, title = VV_SB_INIT;
    vv_message_title(m, &title);
    put_slack(at_most(vv_sb_str(&title), 500), &text);
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_kstr(&j, "text", vv_sb_str(&text));
    vv_json_key(&j, "blocks");
    vv_json_arr(&j);
    vv_json_obj(&j);
    vv_json_kcstr(&j, "type", "header");
    vv_json_key(&j, "text");
    slack_text(&j, "plain_text", at_most(vv_sb_str(&title), 150));
    vv_json_obj_end(&j);
    for (size_t i = 0; i < m->n && i < NOTES_MAX - 2; i++) { /* 50 blocks with head and foot */
        slack_note(&j, &m->notes[i]);
    }
    vv_sb_reset(&text);
    vv_sb_addf(&text, "<" VV_STR_FMT "/alerts/%016llx|open in Vivace>",
               VV_STR_ARG(at_most(m->url, 400)), (unsigned long long)m->notes[0].hash);
    vv_json_obj(&j);
    vv_json_kcstr(&j, "type", "context");
    vv_json_key(&j, "elements");
    vv_json_arr(&j);
    slack_text(&j, "mrkdwn", vv_sb_str(&text));
    vv_json_arr_end(&j);
    vv_json_obj_end(&j);
    vv_json_arr_end(&j);
    vv_json_obj_end(&j);
    vv_sb_fini(&text);
    vv_sb_fini(&title);
}

/* ---- PagerDuty ----------------------------------------------------------------------------- */

static const char *pager_severity(struct vv_str s)
{
    static const char *const names[] = {"critical", "error", "warning", "info"};
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        if (vv_str_eq_nocase(s, vv_str_from(names[i]))) {
            return names[i];
        }
    }
    return vv_str_eq_nocase(s, VV_STR("page")) ? "critical" : "warning";
}

void vv_message_pagerduty(const struct vv_message *m, size_t note, struct vv_str key,
                          struct vv_str source, struct vv_sb *out)
{
    const struct vv_note *n = &m->notes[note];
    struct vv_json j;
    char text[512];
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_kstr(&j, "routing_key", key);
    vv_json_kcstr(&j, "event_action", n->firing ? "trigger" : "resolve");
    snprintf(text, sizeof text, "%016llx", (unsigned long long)n->hash);
    vv_json_kcstr(&j, "dedup_key", text);
    if (n->firing) {
        struct vv_sb summary = VV_SB_INIT;
        vv_sb_addf(&summary, VV_STR_FMT ": ", VV_STR_ARG(label(n, "alertname")));
        vv_sb_add(&summary, sentence(n));
        vv_json_kcstr(&j, "client", "Vivace");
        snprintf(text, sizeof text, VV_STR_FMT "/alerts/%016llx", VV_STR_ARG(at_most(m->url, 400)),
                 (unsigned long long)n->hash);
        vv_json_kcstr(&j, "client_url", text);
        vv_json_key(&j, "payload");
        vv_json_obj(&j);
        vv_json_kstr(&j, "summary", at_most(vv_sb_str(&summary), PAGER_SUMMARY_MAX));
        vv_json_kstr(&j, "source", source);
        vv_json_kcstr(&j, "severity", pager_severity(label(n, "severity")));
        vv_json_kcstr(&j, "timestamp", put_time(n->starts_ms, text));
        vv_json_kstr(&j, "class", label(n, "alertname"));
        vv_json_key(&j, "custom_details");
        vv_json_obj(&j);
        for (size_t i = 0; i < n->labels.n; i++) {
            vv_json_keyn(&j, n->labels.at[i].name);
            vv_json_str(&j, at_most(n->labels.at[i].value, PAGER_DETAIL_MAX / 4));
        }
        for (size_t i = 0; i < n->annotations.n; i++) {
            snprintf(text, sizeof text, "annotation_" VV_STR_FMT,
                     VV_STR_ARG(at_most(n->annotations.at[i].name, 400)));
            vv_json_key(&j, text);
            vv_json_str(&j, at_most(n->annotations.at[i].value, PAGER_DETAIL_MAX));
        }
        vv_json_obj_end(&j);
        vv_json_obj_end(&j);
        vv_sb_fini(&summary);
    }
    vv_json_obj_end(&j);
}

/* ---- mail ---------------------------------------------------------------------------------- */

static void put_header(const char *name, struct vv_str value, struct vv_sb *out)
{
    vv_sb_addf(out, "%s: ", name);
    value = at_most(value, HEADER_MAX);
    for (size_t i = 0; i < value.n; i++) {
        vv_sb_addc(out, value.p[i] >= ' ' && value.p[i] != 0x7f ? value.p[i] : ' ');
    }
    vv_sb_adds(out, "\r\n");
}

/* RFC 2047: words of at most 45 bytes, which are 60 characters of base64. */
static void put_subject(struct vv_str s, struct vv_sb *out)
{
    char text[VV_BASE64_TEXT(45) + 1];
    vv_sb_adds(out, "Subject:");
    s = at_most(s, HEADER_MAX);
    while (s.n > 0) {
        const struct vv_str word = at_most(s, 45);
        if (word.n == 0) {
            break; /* no character at all begins here */
        }
        text[vv_base64_encode(VV_BASE64, word.p, word.n, text)] = '\0';
        vv_sb_addf(out, " =?UTF-8?B?%s?=\r\n", text);
        s = (struct vv_str){s.p + word.n, s.n - word.n};
    }
}

static void put_mail_text(const struct vv_message *m, struct vv_sb *out)
{
    char buf[32];
    for (size_t i = 0; i < m->n && i < NOTES_MAX; i++) {
        const struct vv_note *n = &m->notes[i];
        vv_sb_addf(out, "%s: " VV_STR_FMT "\r\n" VV_STR_FMT "\r\nsince %s\r\n",
                   n->firing ? "FIRING" : "RESOLVED", VV_STR_ARG(label(n, "alertname")),
                   VV_STR_ARG(sentence(n)), put_time(n->starts_ms, buf));
        for (size_t k = 0; k < n->labels.n; k++) {
            vv_sb_addf(out, "  " VV_STR_FMT " = " VV_STR_FMT "\r\n",
                       VV_STR_ARG(n->labels.at[k].name), VV_STR_ARG(n->labels.at[k].value));
        }
        vv_sb_addf(out, "  " VV_STR_FMT "/alerts/%016llx\r\n\r\n", VV_STR_ARG(m->url),
                   (unsigned long long)n->hash);
    }
}

/* The body is base64: no line can be too long, begin with a dot, or end a header that follows. */
static void put_body(struct vv_str s, struct vv_sb *out)
{
    char line[VV_BASE64_TEXT(57) + 1];
    for (size_t at = 0; at < s.n; at += 57) {
        const size_t n = s.n - at < 57 ? s.n - at : 57;
        line[vv_base64_encode(VV_BASE64, s.p + at, n, line)] = '\0';
        vv_sb_addf(out, "%s\r\n", line);
    }
}

void vv_message_mail(const struct vv_message *m, const struct vv_mail *mail, struct vv_sb *out)
{
    const time_t s = (time_t)(mail->now_ms / 1000);
    struct tm tm;
    char date[64] = "";
    struct vv_sb text = VV_SB_INIT;
    if (gmtime_r(&s, &tm) != NULL) {
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm);
    }
    put_header("From", mail->from, out);
    put_header("To", mail->to, out);
    vv_message_title(m, &text);
    put_subject(vv_sb_str(&text), out);
    put_header("Date", vv_str_from(date), out);
    vv_sb_addf(out, "Message-ID: <" VV_STR_FMT ">\r\n", VV_STR_ARG(mail->id));
    if (mail->thread.n > 0) {
        vv_sb_addf(out, "In-Reply-To: <" VV_STR_FMT ">\r\n", VV_STR_ARG(mail->thread));
    }
    vv_sb_adds(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                    "Content-Type: text/plain; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: base64\r\n\r\n");
    vv_sb_reset(&text);
    put_mail_text(m, &text);
    put_body(vv_sb_str(&text), out);
    vv_sb_fini(&text);
}

/* ---- signature ----------------------------------------------------------------------------- */

enum vv_err vv_message_sign(struct vv_str secret, struct vv_str id, int64_t now_s,
                            struct vv_str body, struct vv_sb *out)
{
    unsigned char key[128], mac[EVP_MAX_MD_SIZE];
    char text[VV_BASE64_TEXT(EVP_MAX_MD_SIZE) + 1];
    size_t key_n = 0;
    unsigned mac_n = 0;
    struct vv_sb content = VV_SB_INIT;
    /* "whsec_" and base64, or any other secret as it is. */
    if (vv_str_starts(secret, VV_STR("whsec_"))) {
        const enum vv_err err = vv_base64_decode(
            VV_BASE64, (struct vv_str){secret.p + 6, secret.n - 6}, key, sizeof key, &key_n);
        if (err != VV_OK) {
            return err;
        }
        secret = (struct vv_str){(const char *)key, key_n};
    }
    vv_sb_addf(&content, VV_STR_FMT ".%lld.", VV_STR_ARG(id), (long long)now_s);
    vv_sb_add(&content, body);
    const bool ok = !content.failed && secret.n <= INT32_MAX &&
                    HMAC(EVP_sha256(), secret.p, (int)secret.n, (const unsigned char *)content.p,
                         content.n, mac, &mac_n) != NULL;
    vv_sb_fini(&content);
    if (!ok) {
        return VV_ENOMEM;
    }
    text[vv_base64_encode(VV_BASE64, mac, mac_n, text)] = '\0';
    vv_sb_addf(out, "v1,%s", text);
    return VV_OK;
}
