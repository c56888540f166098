/* src/gateway/resp_ask.c - a command's way: looked up, checked, sent, answered. Nothing that the store does
 * ends a client's connection, except that it vanishes within a large answer: there is no way to take back
 * what has left. */
#include "gateway/resp_int.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define STUCK_MAX_NS (2 * VV_SEC)
/* What applications ask waits longer than what requests do: an answer stands behind those of others, large
 * ones too, and memory has no better one. A server that says nothing at all loses its connection anyway. */
#define PATIENCE 5 /* times the store's own deadline */
#define READ_AGAIN_NS (2 * VV_SEC)
#define NAME_SHOWN 32

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it);
static void on_end(struct vv_redis_op *op, enum vv_err err);

/* ---- the way to the store ---- */

struct vv_resp_lane *vv_resp_lane_new(struct vv_worker *w, struct vv_store *store)
{
    struct vv_resp_lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL) {
        return NULL;
    }
    lane->refs = 1;
    if (store->has_server) {
        struct vv_redis_conf conf = store->conf;
        conf.tracking = false; /* nothing is kept that would have to be invalidated */
        if (vv_redis_new(w->loop, &conf, NULL, &lane->redis) != VV_OK) {
            free(lane);
            return NULL;
        }
    }
    lane->store = vv_store_ref(store);
    return lane;
}

static void bury_lane(struct vv_worker *w, struct vv_corpse *corpse)
{
    struct vv_resp_lane *lane = VV_CONTAINER(corpse, struct vv_resp_lane, corpse);
    (void)w;
    vv_redis_free(lane->redis);
    vv_store_unref(lane->store);
    free(lane);
}

void vv_resp_lane_unref(struct vv_worker *w, struct vv_resp_lane *lane)
{
    if (--lane->refs == 0) {
        lane->corpse.bury = bury_lane; /* we may be inside one of its callbacks */
        vv_worker_bury(w, &lane->corpse);
    }
}

/* ---- answers ---- */

void vv_resp_cmd_done(struct vv_resp_cmd *cmd, enum vv_resp_result result)
{
    struct vv_resp_client *c = cmd->client;
    cmd->result = result;
    cmd->done = true;
    (void)vv_resp_cmd_hold(cmd);
    vv_resp_front_count(c->front, cmd->row != NULL ? cmd->row->class : VV_RESP_CLASS_REFUSED,
                        result);
    vv_resp_client_pump(c);
}

void vv_resp_cmd_error(struct vv_resp_cmd *cmd, enum vv_resp_result result, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *p = text; *p != '\0'; p++) {
        *p = (unsigned char)*p < 0x20 ? ' ' : *p;
    }
    cmd->answer.n = 0;
    if (!vv_resp_bytes_room(&cmd->answer, strlen(text) + 3) ||
        !vv_resp_bytes_add(&cmd->answer, VV_STR("-")) ||
        !vv_resp_bytes_add(&cmd->answer, vv_str_from(text)) ||
        !vv_resp_bytes_add(&cmd->answer, VV_STR("\r\n"))) {
        vv_resp_client_close(cmd->client); /* not even memory to say so */
        return;
    }
    vv_resp_cmd_done(cmd, result);
}

/* The store did not answer; `unsure`: it may have carried the command out. */
static void away(struct vv_resp_cmd *cmd, enum vv_err err, bool unsure)
{
    if (cmd->streams) { /* half an answer cannot become a whole one */
        vv_resp_client_close(cmd->client);
        return;
    }
    cmd->answer.n = 0;
    /* A store that is there but has no room is not away: memory would take what it should have. */
    if (err != VV_ENOMEM && err != VV_ELIMIT && cmd->row->memory != VV_RESP_MEMORY_NONE &&
        vv_resp_memory_answer(cmd, unsure)) {
        if (vv_resp_cmd_hold(cmd)) {
            vv_resp_cmd_done(cmd, VV_RESP_RESULT_MEMORY);
            return;
        }
        vv_resp_bytes_fini(&cmd->answer); /* one short question about many large values */
        err = VV_ENOMEM;
    }
    if (err == VV_ENOMEM) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_AWAY, "OOM the gateway has no memory for this now");
    } else if (err == VV_ELIMIT) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_AWAY,
                          "TRYAGAIN too much waits for the store, or the command is too large");
    } else if (unsure) {
        vv_resp_cmd_error(
            cmd, VV_RESP_RESULT_AWAY,
            "TRYAGAIN the store did not answer; the command may have been carried out");
    } else {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_AWAY,
                          "TRYAGAIN the store is away; memory serves plain strings only");
    }
}

/* The server has an answer, but not to this: it cannot serve anything now. */
static bool cannot_serve(const struct vv_resp_item *it)
{
    if (it->type != VV_RESP_ERROR || it->depth > 0) {
        return false;
    }
    const enum vv_resp_error e = vv_resp_error_of(it->text);
    return e == VV_RESP_E_LOADING || e == VV_RESP_E_MASTERDOWN || e == VV_RESP_E_CLUSTERDOWN;
}

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_resp_cmd *cmd = VV_CONTAINER(op, struct vv_resp_cmd, op);
    if (it->attribute || it->push) {
        return;
    }
    cmd->lane->heard_ns = vv_worker_now(cmd->client->front->w);
    if (it->depth == 0 && it->first) {
        cmd->away = cannot_serve(it);
        cmd->result = it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR
                          ? VV_RESP_RESULT_ERROR
                          : VV_RESP_RESULT_OK;
        cmd->none = it->type == VV_RESP_NIL;
        cmd->number = it->integer;
    }
    if (cmd->broken || !vv_resp_convert(&cmd->convert, it, &cmd->answer)) {
        cmd->broken = true;
        return;
    }
    if (it->depth == 0 && it->type == VV_RESP_BULK && it->first && it->done) {
        cmd->value = true;
        cmd->value_n = it->text.n;
        cmd->value_at = cmd->answer.n - it->text.n - 2;
    }
    if (cmd->answer.n > RESP_HELD && !it->done) {
        (void)vv_resp_client_stream(cmd->client, cmd, op);
    }
}

/* It is not on its way any more. */
static void leave_lane(struct vv_resp_cmd *cmd)
{
    struct vv_resp_front *f = cmd->client->front;
    struct vv_resp_lane *lane = cmd->lane;
    if (lane != NULL) {
        cmd->lane = NULL;
        vv_resp_lane_unref(f->w, lane);
        vv_resp_front_kick(f);
    }
}

static bool may_have_happened(const struct vv_resp_cmd *cmd, enum vv_err err)
{
    return (cmd->row->flags & VV_RESP_WRITE) != 0 && (err == VV_ETIMEOUT || err == VV_ECLOSED);
}

static uint64_t deadline(const struct vv_resp_cmd *cmd)
{
    const uint64_t conf_ns = cmd->client->front->lane->store->conf.call_ns;
    const uint64_t usual = PATIENCE * (conf_ns > 0 ? conf_ns : 50 * VV_MS);
    const bool slow = (cmd->row->flags & VV_RESP_SLOW) != 0;
    uint64_t ns = slow && usual < RESP_SLOW_NS ? RESP_SLOW_NS : usual;
    if (cmd->bytes > VV_BUF_LARGE) {
        ns += (uint64_t)cmd->bytes * VV_SEC / RESP_BYTES_A_SEC;
    }
    return ns;
}

/* A read was too late although the store answers: it stood behind large answers. True: asked again. */
static bool read_again(struct vv_resp_cmd *cmd, enum vv_err err)
{
    const uint64_t now_ns = vv_worker_now(cmd->client->front->w);
    if (err != VV_ETIMEOUT || (cmd->row->flags & VV_RESP_READ) == 0 || cmd->streams ||
        now_ns - cmd->began_ns > READ_AGAIN_NS ||
        now_ns - cmd->lane->heard_ns > deadline(cmd) / 2) {
        return false;
    }
    cmd->answer.n = 0;
    vv_resp_convert_init(&cmd->convert, cmd->version, cmd->row->flags);
    return vv_redis_do(cmd->lane->redis, &cmd->op) == VV_OK;
}

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_resp_cmd *cmd = VV_CONTAINER(op, struct vv_resp_cmd, op);
    if (cmd->client->paused == op) {
        cmd->client->paused = NULL;
    }
    if (read_again(cmd, err)) {
        return;
    }
    leave_lane(cmd);
    if (err == VV_OK && !cmd->away && !cmd->broken) {
        vv_resp_memory_note(cmd);
        vv_resp_cmd_done(cmd, cmd->result);
        return;
    }
    away(cmd,
         cmd->broken    ? VV_ENOMEM
         : err == VV_OK ? VV_EREFUSED
                        : err,
         may_have_happened(cmd, err));
}

/* ---- commands in parts ---- */

static void parts_end(struct vv_resp_cmd *cmd)
{
    struct vv_resp_split *s = cmd->split;
    leave_lane(cmd);
    if (s->err != VV_OK) {
        away(cmd, s->err, s->unsure);
        return;
    }
    const bool error = s->error.n > 0;
    if (!vv_resp_split_join(cmd)) {
        away(cmd, VV_ENOMEM, false);
        return;
    }
    if (!error) {
        vv_resp_memory_note(cmd);
    }
    vv_resp_cmd_done(cmd, error ? VV_RESP_RESULT_ERROR : VV_RESP_RESULT_OK);
}

static void part_failed(struct vv_resp_cmd *cmd, enum vv_err err)
{
    struct vv_resp_split *s = cmd->split;
    s->err = s->err == VV_OK ? err : s->err;
    s->unsure = s->unsure || may_have_happened(cmd, err);
}

static void on_part_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_resp_part *p = VV_CONTAINER(op, struct vv_resp_part, op);
    if (!it->attribute && !it->push) {
        if (cannot_serve(it)) {
            part_failed(p->cmd, VV_EREFUSED);
        }
        vv_resp_split_item(p, it);
    }
}

static void on_part_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_resp_part *p = VV_CONTAINER(op, struct vv_resp_part, op);
    struct vv_resp_cmd *cmd = p->cmd;
    p->ended = true;
    if (err != VV_OK) {
        part_failed(cmd, err);
    }
    vv_resp_front_kick(cmd->client->front);
    if (++cmd->split->ended == cmd->split->parts) {
        parts_end(cmd);
    }
}

/* Everything that can go now. VV_ELIMIT: the rest waits. */
static enum vv_err send_parts(struct vv_resp_cmd *cmd)
{
    struct vv_resp_split *s = cmd->split;
    if (cmd->lane == NULL) { /* all parts go the same way, also after a reload */
        cmd->lane = cmd->client->front->lane;
        cmd->lane->refs++;
    }
    while (s->sent < s->parts) {
        struct vv_resp_part *p = &s->part[s->sent];
        p->op =
            (struct vv_redis_op){.item = on_part_item,
                                 .end = on_part_end,
                                 .key = p->args[1],
                                 .args = p->args,
                                 .args_count = p->args_n,
                                 .flags = (cmd->row->flags & VV_RESP_READ) != 0 ? VV_REDIS_READ : 0,
                                 .timeout_ns = deadline(cmd)};
        const enum vv_err err = vv_redis_do(cmd->lane->redis, &p->op);
        if (err == VV_ELIMIT) {
            return VV_ELIMIT;
        }
        s->sent++;
        if (err != VV_OK) {
            p->ended = true;
            s->ended++;
            part_failed(cmd, err);
            continue;
        }
        p->sent = true;
    }
    if (s->ended == s->parts) {
        parts_end(cmd);
    }
    return VV_OK;
}

static enum vv_err send_whole(struct vv_resp_cmd *cmd)
{
    struct vv_resp_lane *lane = cmd->client->front->lane;
    cmd->op =
        (struct vv_redis_op){.item = on_item,
                             .end = on_end,
                             .key = vv_resp_keys_count(&cmd->keys) > 0 ? vv_resp_key(&cmd->keys, 0)
                                                                       : (struct vv_str){NULL, 0},
                             .args = cmd->args,
                             .args_count = cmd->args_n,
                             .flags = (cmd->row->flags & VV_RESP_READ) != 0 ? VV_REDIS_READ : 0,
                             .timeout_ns = deadline(cmd)};
    const enum vv_err err = vv_redis_do(lane->redis, &cmd->op);
    if (err == VV_ELIMIT) {
        return err;
    }
    if (err != VV_OK) {
        away(cmd, err, false);
        return VV_OK;
    }
    lane->refs++;
    cmd->lane = lane;
    return VV_OK;
}

static enum vv_err try_to_send(struct vv_resp_cmd *cmd)
{
    /* What has begun goes on where it began: a reload may have taken the servers away. */
    const struct vv_resp_lane *lane = cmd->lane != NULL ? cmd->lane : cmd->client->front->lane;
    if (lane->redis == NULL) {
        away(cmd, VV_EREFUSED, false);
        return VV_OK;
    }
    return cmd->split != NULL ? send_parts(cmd) : send_whole(cmd);
}

static void send_or_wait(struct vv_resp_cmd *cmd)
{
    struct vv_resp_client *c = cmd->client;
    if (try_to_send(cmd) == VV_ELIMIT) {
        c->stuck = cmd;
        c->stuck_ns = vv_worker_now(c->front->w);
        vv_list_push_back(&c->front->waiting, &c->waiting);
        vv_resp_front_kick(c->front);
    }
}

/* It waited in vain: the store has no room, or never had any for so large a command. */
static void give_up(struct vv_resp_cmd *cmd)
{
    struct vv_resp_split *s = cmd->split;
    if (s == NULL) {
        away(cmd, VV_ELIMIT, false);
        return;
    }
    for (; s->sent < s->parts; s->sent++) {
        s->part[s->sent].ended = true;
        s->ended++;
        part_failed(cmd, VV_ELIMIT);
    }
    if (s->ended == s->parts) {
        parts_end(cmd);
    }
}

bool vv_resp_ask_again(struct vv_resp_cmd *cmd)
{
    struct vv_resp_client *c = cmd->client;
    c->stuck = NULL;
    if (vv_worker_now(c->front->w) - c->stuck_ns > STUCK_MAX_NS) {
        give_up(cmd);
        return true;
    }
    if (try_to_send(cmd) == VV_ELIMIT) {
        c->stuck = cmd;
        return false;
    }
    return true;
}

void vv_resp_cmd_drop(struct vv_resp_cmd *cmd)
{
    struct vv_resp_front *f = cmd->client->front;
    struct vv_resp_lane *lane = cmd->lane;
    if (lane == NULL) {
        return;
    }
    cmd->lane = NULL;
    if (cmd->split == NULL) {
        vv_redis_abandon(&cmd->op);
    }
    for (size_t i = 0; cmd->split != NULL && i < cmd->split->parts; i++) {
        struct vv_resp_part *p = &cmd->split->part[i];
        if (p->sent && !p->ended) {
            vv_redis_abandon(&p->op);
        }
    }
    vv_resp_lane_unref(f->w, lane);
    vv_resp_front_kick(f);
}

/* ---- checks ---- */

static void unknown(struct vv_resp_cmd *cmd)
{
    const struct vv_str name = cmd->args[0];
    if (vv_str_eq_nocase(name, VV_STR("POST")) || vv_str_eq_nocase(name, VV_STR("HOST:"))) {
        cmd->client->closing = true; /* a browser that was tricked into talking to us */
    }
    vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED,
                      "ERR unknown command '%.*s': it is none of those that are served here",
                      (int)(name.n < NAME_SHOWN ? name.n : NAME_SHOWN), name.p);
}

/* The gateway's own keys: what is in them is not written by applications. */
static bool is_ours(const struct vv_store *store, struct vv_str key)
{
    const size_t n = strlen(store->prefix);
    return key.n > n && key.p[n] == ':' && memcmp(key.p, store->prefix, n) == 0;
}

static bool several(enum vv_redis_kind kind)
{
    return kind == VV_REDIS_RING || kind == VV_REDIS_CLUSTER;
}

/* True: the keys are ours to pass on, and `cut` says whether to several servers. */
static bool keys_fine(struct vv_resp_cmd *cmd, bool *ret_cut)
{
    const struct vv_store *store = cmd->client->front->lane->store;
    const enum vv_redis_kind kind = store->conf.url.kind;
    const size_t count = vv_resp_keys_count(&cmd->keys);
    *ret_cut = false;
    for (size_t i = 0; i < count; i++) {
        if (is_ours(store, vv_resp_key(&cmd->keys, i))) {
            vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED,
                              "NOPERM keys that begin with %s: belong to the gateway",
                              store->prefix);
            return false;
        }
        *ret_cut = *ret_cut || (i > 0 && store->has_server && several(kind) &&
                                !vv_resp_keys_together(kind, vv_resp_key(&cmd->keys, 0),
                                                       vv_resp_key(&cmd->keys, i)));
    }
    if (*ret_cut && cmd->row->how == VV_RESP_HOW_PASS) {
        vv_resp_cmd_error(
            cmd, VV_RESP_RESULT_REFUSED,
            "CROSSSLOT the keys of %s live on several servers: give them a common {tag}",
            cmd->row->name.p);
        return false;
    }
    return true;
}

static void pass(struct vv_resp_cmd *cmd)
{
    const struct vv_resp_front *f = cmd->client->front;
    const struct vv_resp_command *row = cmd->row;
    bool cut = false;
    if (row->how == VV_RESP_HOW_FLUSH && !f->flush) {
        vv_resp_cmd_error(
            cmd, VV_RESP_RESULT_REFUSED,
            "NOPERM FLUSHDB is not allowed: flushdb: true of the store would allow it");
        return;
    }
    if ((row->flags & VV_RESP_ALONE) != 0 && several(f->lane->store->conf.url.kind)) {
        vv_resp_cmd_error(
            cmd, VV_RESP_RESULT_REFUSED,
            "ERR %s is not served: it is about one server, and this store has several",
            row->name.p);
        return;
    }
    if (vv_resp_keys_find(row, cmd->args, cmd->args_n, &cmd->keys) != VV_OK) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR, "ERR syntax error in the keys of %s",
                          row->name.p);
        return;
    }
    if (!keys_fine(cmd, &cut)) {
        return;
    }
    if (cut && !vv_resp_split(cmd, f->lane->store->conf.url.kind)) {
        away(cmd, VV_ENOMEM, false);
        return;
    }
    send_or_wait(cmd);
}

void vv_resp_ask(struct vv_resp_cmd *cmd)
{
    const struct vv_resp_command *row = vv_resp_command_find(cmd->args[0]);
    cmd->row = row;
    if (row == NULL) {
        unknown(cmd);
        return;
    }
    vv_resp_convert_init(&cmd->convert, cmd->version, row->flags);
    if (!cmd->client->authed && (row->flags & VV_RESP_OPEN) == 0) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED, "NOAUTH a password is needed first: AUTH");
    } else if (row->how == VV_RESP_HOW_REFUSE) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_REFUSED, "ERR %s is not served: %s", row->name.p,
                          row->text);
    } else if (!vv_resp_command_fits(row, cmd->args_n)) {
        vv_resp_cmd_error(cmd, VV_RESP_RESULT_ERROR,
                          "ERR wrong number of arguments for '%s' command", row->name.p);
    } else if (row->how == VV_RESP_HOW_OWN) {
        vv_resp_own(cmd);
    } else {
        pass(cmd);
    }
}
