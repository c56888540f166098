/* src/gateway/resp_own.c - what the gateway answers itself: greetings, passwords, names, and which commands there
 * are. Libraries ask these first and look no further when they are answered. */
#include "gateway/resp_int.h"
#include <stdio.h>

/* Of the server whose commands these are; libraries compare it. */
#define SERVER_VERSION "7.0.0"
#define NAMES_MAX                                                                                  \
    512 /* of commands that are asked about at once: answers are longer than questions */

static void ok(struct vv_resp_cmd *cmd, bool fine)
{
    if (fine) {
        vv_resp_cmd_done(cmd, VV_RESP_RESULT_OK);
    } else {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR, "OOM the gateway has no memory for this now");
    }
}

static void say(struct vv_resp_cmd *cmd, const char *line)
{
    ok(cmd, vv_resp_bytes_add(&cmd->answer, vv_str_from(line)));
}

static bool is(struct vv_str s, const char *word)
{
    return vv_str_eq_nocase(s, vv_str_from(word));
}

static bool bulk(struct vv_resp_bytes *b, const char *text)
{
    return vv_resp_bytes_bulk(b, vv_str_from(text));
}

/* Takes as long whether they differ early or late. */
static bool same_secret(struct vv_str given, struct vv_str secret)
{
    unsigned differs = given.n != secret.n;
    for (size_t i = 0; i < given.n; i++) {
        differs |=
            (unsigned char)given.p[i] ^ (unsigned char)secret.p[secret.n > 0 ? i % secret.n : 0];
    }
    return differs == 0;
}

static bool password_fits(const struct vv_resp_cmd *cmd, struct vv_str user, struct vv_str password)
{
    const char *secret = cmd->client->front->password;
    return secret != NULL && vv_str_eq(user, VV_STR("default")) &&
           same_secret(password, vv_str_from(secret));
}

static void wrong_password(struct vv_resp_cmd *cmd)
{
    vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED,
                      "WRONGPASS invalid username-password pair or user is disabled.");
}

static void auth(struct vv_resp_cmd *cmd)
{
    if (cmd->args_n > 3) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR, "ERR syntax error");
    } else if (cmd->client->front->password == NULL) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR, "ERR AUTH: no password is asked for here");
    } else if (!password_fits(cmd, cmd->args_n == 3 ? cmd->args[1] : VV_STR("default"),
                              cmd->args[cmd->args_n - 1])) {
        wrong_password(cmd);
    } else {
        cmd->client->authed = true;
        say(cmd, "+OK\r\n");
    }
}

static bool name_fits(struct vv_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] < '!' || name.p[i] > '~') {
            return false;
        }
    }
    return name.n <= RESP_NAME_MAX;
}

static void take_name(struct vv_resp_client *c, struct vv_str name)
{
    memcpy(c->name, name.p, name.n);
    c->name[name.n] = '\0';
}

static bool greeting(struct vv_resp_cmd *cmd)
{
    struct vv_resp_bytes *b = &cmd->answer;
    const struct vv_resp_client *c = cmd->client;
    return vv_resp_bytes_map(b, c->version, 7) && bulk(b, "server") && bulk(b, "redis") &&
           bulk(b, "version") && bulk(b, SERVER_VERSION) && bulk(b, "proto") &&
           vv_resp_bytes_head(b, ':', c->version) && bulk(b, "id") &&
           vv_resp_bytes_head(b, ':', (int64_t)c->id) && bulk(b, "mode") && bulk(b, "standalone") &&
           bulk(b, "role") && bulk(b, "master") && bulk(b, "modules") &&
           vv_resp_bytes_head(b, '*', 0);
}

static void hello(struct vv_resp_cmd *cmd)
{
    struct vv_resp_client *c = cmd->client;
    struct vv_str name = {NULL, 0};
    bool authed = c->authed;
    uint8_t version = c->version;
    if (cmd->args_n > 1) {
        if (!vv_str_eq(cmd->args[1], VV_STR("2")) && !vv_str_eq(cmd->args[1], VV_STR("3"))) {
            vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR, "NOPROTO unsupported protocol version");
            return;
        }
        version = (uint8_t)(cmd->args[1].p[0] - '0');
    }
    for (size_t i = 2; i < cmd->args_n; i++) {
        if (is(cmd->args[i], "AUTH") && i + 2 < cmd->args_n) {
            if (c->front->password != NULL &&
                !password_fits(cmd, cmd->args[i + 1], cmd->args[i + 2])) {
                wrong_password(cmd);
                return;
            }
            authed = true;
            i += 2;
        } else if (is(cmd->args[i], "SETNAME") && i + 1 < cmd->args_n &&
                   name_fits(cmd->args[i + 1])) {
            name = cmd->args[++i];
        } else {
            vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR, "ERR syntax error in HELLO");
            return;
        }
    }
    if (!authed) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED,
                          "NOAUTH HELLO must come with AUTH, or after it");
        return;
    }
    c->authed = true;
    c->version = version;
    if (name.p != NULL) {
        take_name(c, name);
    }
    ok(cmd, greeting(cmd));
}

static void reset(struct vv_resp_cmd *cmd)
{
    struct vv_resp_client *c = cmd->client;
    c->version = 2;
    c->name[0] = '\0';
    c->authed = c->front->password == NULL;
    say(cmd, "+RESET\r\n");
}

static void client_info(struct vv_resp_cmd *cmd)
{
    const struct vv_resp_client *c = cmd->client;
    char text[512];
    char peer[VV_ADDR_TEXT];
    vv_addr_format(&c->peer, peer, sizeof peer);
    const uint64_t age_s = (vv_worker_now(c->front->w) - c->since_ns) / VV_SEC;
    (void)snprintf(text, sizeof text, "id=%llu addr=%s name=%s age=%llu db=0 resp=%u\n",
                   (unsigned long long)c->id, peer, c->name, (unsigned long long)age_s,
                   (unsigned)c->version);
    ok(cmd, bulk(&cmd->answer, text));
}

static void client(struct vv_resp_cmd *cmd)
{
    struct vv_resp_client *c = cmd->client;
    const struct vv_str what = cmd->args[1];
    if (is(what, "SETNAME") && cmd->args_n == 3) {
        if (!name_fits(cmd->args[2])) {
            vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR,
                              "ERR Client names cannot contain spaces, newlines or special "
                              "characters, and have 64 at most.");
            return;
        }
        take_name(c, cmd->args[2]);
        say(cmd, "+OK\r\n");
    } else if (is(what, "SETINFO") || is(what, "NO-EVICT") || is(what, "NO-TOUCH")) {
        say(cmd, "+OK\r\n"); /* said by libraries about themselves; nothing depends on it */
    } else if (is(what, "GETNAME")) {
        ok(cmd, c->name[0] != '\0' ? bulk(&cmd->answer, c->name)
                                   : vv_resp_bytes_nil(&cmd->answer, c->version));
    } else if (is(what, "ID")) {
        ok(cmd, vv_resp_bytes_head(&cmd->answer, ':', (int64_t)c->id));
    } else if (is(what, "INFO")) {
        client_info(cmd);
    } else {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED,
                          "ERR CLIENT %.*s is not served: it is about connections to the store, "
                          "which are shared",
                          (int)(what.n < 24 ? what.n : 24), what.p);
    }
}

/* ---- which commands there are ---- */

static bool lower_name(struct vv_resp_bytes *b, struct vv_str name)
{
    char text[32];
    for (size_t i = 0; i < name.n && i < sizeof text; i++) {
        text[i] = vv_char_lower(name.p[i]);
    }
    return vv_resp_bytes_bulk(b, (struct vv_str){text, name.n});
}

static bool describe(struct vv_resp_bytes *b, const struct vv_resp_command *c)
{
    const bool counted = c->last == VV_RESP_COUNTED;
    return vv_resp_bytes_head(b, '*', 6) && lower_name(b, c->name) &&
           vv_resp_bytes_head(b, ':', c->arity) && vv_resp_bytes_head(b, '*', 1) &&
           vv_resp_bytes_add(b, (c->flags & VV_RESP_WRITE) != 0 ? VV_STR("+write\r\n")
                                                                : VV_STR("+readonly\r\n")) &&
           vv_resp_bytes_head(b, ':', counted ? 0 : c->first) &&
           vv_resp_bytes_head(b, ':', counted ? 0 : c->last) &&
           vv_resp_bytes_head(b, ':', counted ? 0 : c->step);
}

static bool docs(struct vv_resp_bytes *b, unsigned version, const struct vv_resp_command *c)
{
    return lower_name(b, c->name) && vv_resp_bytes_map(b, version, 2) && bulk(b, "summary") &&
           bulk(b, c->text) && bulk(b, "group") && bulk(b, vv_resp_class_name(c->class));
}

static bool served(const struct vv_resp_command *c)
{
    return c != NULL && c->how != VV_RESP_HOW_REFUSE;
}

static size_t served_count(void)
{
    size_t n = 0;
    for (size_t i = 0; vv_resp_command_at(i) != NULL; i++) {
        n += served(vv_resp_command_at(i));
    }
    return n;
}

/* Of all, or of those that the command names from its third word on. */
static bool list(struct vv_resp_cmd *cmd, bool want_docs)
{
    struct vv_resp_bytes *b = &cmd->answer;
    const unsigned version = cmd->version;
    const bool named = cmd->args_n > 2;
    size_t n = named ? 0 : served_count();
    for (size_t i = 2; i < cmd->args_n; i++) { /* docs are about those there are, info about all */
        n += !want_docs || served(vv_resp_command_find(cmd->args[i]));
    }
    bool fine = want_docs ? vv_resp_bytes_map(b, version, (int64_t)n)
                          : vv_resp_bytes_head(b, '*', (int64_t)n);
    for (size_t i = 0; fine && !named && vv_resp_command_at(i) != NULL; i++) {
        const struct vv_resp_command *c = vv_resp_command_at(i);
        if (served(c)) {
            fine = want_docs ? docs(b, version, c) : describe(b, c);
        }
    }
    for (size_t i = 2; fine && i < cmd->args_n; i++) {
        const struct vv_resp_command *c = vv_resp_command_find(cmd->args[i]);
        if (served(c)) {
            fine = want_docs ? docs(b, version, c) : describe(b, c);
        } else if (!want_docs) {
            fine = version >= 3 ? vv_resp_bytes_nil(b, version)
                                : vv_resp_bytes_add(b, VV_STR("*-1\r\n"));
        }
    }
    return fine;
}

static void command(struct vv_resp_cmd *cmd)
{
    if (cmd->args_n > 2 + NAMES_MAX) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED, "ERR of %d commands at most at once",
                          NAMES_MAX);
    } else if (cmd->args_n == 1) {
        ok(cmd, list(cmd, false));
    } else if (is(cmd->args[1], "COUNT")) {
        ok(cmd, vv_resp_bytes_head(&cmd->answer, ':', (int64_t)served_count()));
    } else if (is(cmd->args[1], "DOCS")) {
        ok(cmd, list(cmd, true));
    } else if (is(cmd->args[1], "INFO")) {
        ok(cmd, list(cmd, false));
    } else {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED,
                          "ERR of COMMAND only COUNT, DOCS and INFO are served");
    }
}

static void info(struct vv_resp_cmd *cmd)
{
    const struct vv_resp_front *f = cmd->client->front;
    const struct vv_resp_lane *lane = f->lane;
    struct vv_redis_stats stats = {0};
    struct vv_small_stats memory = {0};
    char text[1024];
    const bool up = lane->redis != NULL &&
                    vv_redis_up(lane->redis, (struct vv_str){NULL, 0}, vv_worker_now(f->w));
    if (lane->redis != NULL) {
        vv_redis_stats(lane->redis, &stats);
    }
    if (f->shared->memory != NULL) {
        vv_small_stats(f->shared->memory, &memory);
    }
    (void)snprintf(
        text, sizeof text,
        "# Server\r\nredis_version:" SERVER_VERSION "\r\nredis_mode:standalone\r\n"
        "server_name:vivace\r\n\r\n"
        "# Clients\r\nconnected_clients:%llu\r\nmaxclients:%llu\r\n\r\n"
        "# Store\r\nstore:%s\r\nstore_state:%s\r\nservers:%u\r\nservers_connected:%u\r\n"
        "breakers_open:%u\r\n\r\n"
        "# Memory of the gateway\r\nfallback_entries:%llu\r\nfallback_bytes:%llu\r\n\r\n"
        "# Replication\r\nrole:master\r\n",
        (unsigned long long)atomic_load_explicit(&f->shared->clients, memory_order_relaxed),
        (unsigned long long)f->clients_max, lane->store->name,
        lane->redis == NULL ? "none"
        : up                ? "up"
                            : "degraded",
        stats.servers, stats.connected, stats.open_breakers, (unsigned long long)memory.entries,
        (unsigned long long)memory.bytes);
    ok(cmd, bulk(&cmd->answer, text));
}

static void ping(struct vv_resp_cmd *cmd)
{
    if (cmd->args_n > 2) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR,
                          "ERR wrong number of arguments for 'ping' command");
    } else if (cmd->args_n == 2) {
        ok(cmd, vv_resp_bytes_bulk(&cmd->answer, cmd->args[1]));
    } else {
        say(cmd, "+PONG\r\n");
    }
}

void vv_resp_own(struct vv_resp_cmd *cmd)
{
    const struct vv_str name = cmd->row->name;
    if (vv_str_eq(name, VV_STR("PING"))) {
        ping(cmd);
    } else if (vv_str_eq(name, VV_STR("ECHO"))) {
        ok(cmd, vv_resp_bytes_bulk(&cmd->answer, cmd->args[1]));
    } else if (vv_str_eq(name, VV_STR("SELECT"))) {
        if (vv_str_eq(cmd->args[1], VV_STR("0"))) {
            say(cmd, "+OK\r\n");
        } else {
            vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED,
                              "ERR DB index is out of range: there is one database here, 0");
        }
    } else if (vv_str_eq(name, VV_STR("HELLO"))) {
        hello(cmd);
    } else if (vv_str_eq(name, VV_STR("AUTH"))) {
        auth(cmd);
    } else if (vv_str_eq(name, VV_STR("CLIENT"))) {
        client(cmd);
    } else if (vv_str_eq(name, VV_STR("COMMAND"))) {
        command(cmd);
    } else if (vv_str_eq(name, VV_STR("INFO"))) {
        info(cmd);
    } else if (vv_str_eq(name, VV_STR("RESET"))) {
        reset(cmd);
    } else {
        VV_ASSERT(vv_str_eq(name, VV_STR("QUIT")));
        cmd->client->closing = true;
        say(cmd, "+OK\r\n");
    }
}
