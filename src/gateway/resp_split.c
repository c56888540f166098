/* src/gateway/resp_split.c - one command with keys on several servers becomes several, and their answers one. Keys
 * are sorted by where they live; which server that is does not matter here, only who lives together. */
#include "base/str.h"
#include "gateway/resp_int.h"
#include "wire/redis_slots.h"
#include <stdlib.h>

struct where {
    uint64_t at;
    size_t key;
};

static int by_place(const void *a, const void *b)
{
    const struct where *x = a;
    const struct where *y = b;
    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }
    return x->key < y->key ? -1 : x->key > y->key;
}

static uint64_t place_of(enum vv_redis_kind kind, struct vv_str key)
{
    return kind == VV_REDIS_CLUSTER ? vv_redis_slot(key) : vv_str_hash(vv_resp_key_tag(key), 0);
}

static void drop_texts(struct vv_resp_split *s)
{
    for (size_t i = 0; i < s->parts; i++) {
        vv_resp_bytes_fini(&s->part[i].texts);
    }
    s->bytes = 0;
}

void vv_resp_split_free(struct vv_resp_split *s)
{
    if (s == NULL) {
        return;
    }
    drop_texts(s);
    free(s->part);
    free(s->args);
    free(s->place);
    free(s->value);
    vv_resp_bytes_fini(&s->error);
    free(s);
}

static struct vv_resp_split *make(const struct vv_resp_cmd *cmd)
{
    const size_t n = cmd->keys.count;
    struct vv_resp_split *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->keys = n;
    s->cost = n * (sizeof *s->part + (cmd->keys.step + 1) * sizeof *s->args + sizeof *s->place +
                   sizeof *s->value);
    s->part = calloc(n, sizeof *s->part); /* as many as there can be */
    s->args = calloc(n * (cmd->keys.step + 1), sizeof *s->args);
    s->place = calloc(n, sizeof *s->place);
    s->value = cmd->row->how == VV_RESP_HOW_MGET ? calloc(n, sizeof *s->value) : NULL;
    if (s->part == NULL || s->args == NULL || s->place == NULL ||
        (cmd->row->how == VV_RESP_HOW_MGET && s->value == NULL)) {
        vv_resp_split_free(s);
        return NULL;
    }
    return s;
}

bool vv_resp_split(struct vv_resp_cmd *cmd, enum vv_redis_kind kind)
{
    const struct vv_resp_keys *k = &cmd->keys;
    struct where *where = malloc(k->count * sizeof *where);
    struct vv_resp_split *s = make(cmd);
    if (where == NULL || s == NULL) {
        free(where);
        vv_resp_split_free(s);
        return false;
    }
    for (size_t i = 0; i < k->count; i++) {
        where[i] = (struct where){place_of(kind, vv_resp_key(k, i)), i};
    }
    qsort(where, k->count, sizeof *where, by_place);
    struct vv_str *arg = s->args;
    struct vv_resp_part *p = NULL;
    for (size_t i = 0; i < k->count; i++) {
        const size_t key = where[i].key;
        if (i == 0 || where[i].at != where[i - 1].at ||
            !vv_resp_keys_together(kind, vv_resp_key(k, where[i - 1].key), vv_resp_key(k, key))) {
            p = &s->part[s->parts++];
            p->cmd = cmd;
            p->args = arg;
            p->place = &s->place[i];
            *arg++ = cmd->args[0];
            p->args_n = 1;
        }
        s->place[i] = key;
        for (size_t j = 0; j < k->step; j++) {
            *arg++ = cmd->args[k->first + key * k->step + j];
            p->args_n++;
        }
    }
    free(where);
    cmd->split = s;
    if (!vv_resp_cmd_hold(cmd)) {
        cmd->split = NULL;
        vv_resp_split_free(s);
        (void)vv_resp_cmd_hold(cmd);
        return false;
    }
    return true;
}

/* A value of MGET, run by run. */
static void value_item(struct vv_resp_part *p, const struct vv_resp_item *it)
{
    struct vv_resp_split *s = p->cmd->split;
    if (it->depth != 1 || p->at >= p->args_n - 1 || s->err != VV_OK) {
        return;
    }
    struct vv_resp_value *v = &s->value[p->place[p->at]];
    if (it->type == VV_RESP_BULK) {
        if (it->first) {
            *v = (struct vv_resp_value){.part = p, .at = p->texts.n, .there = true};
        }
        /* Several connections take turns, so each part has texts of its own. */
        s->bytes += it->text.n;
        if (s->bytes > RESP_OUT_MAX || !vv_resp_bytes_add(&p->texts, it->text) ||
            !vv_resp_cmd_hold(p->cmd)) {
            s->err = VV_ENOMEM;
            drop_texts(s); /* what else comes is not wanted */
            (void)vv_resp_cmd_hold(p->cmd);
            return;
        }
        v->n += it->text.n;
    }
    if (it->last) {
        p->at++;
    }
}

void vv_resp_split_item(struct vv_resp_part *p, const struct vv_resp_item *it)
{
    struct vv_resp_split *s = p->cmd->split;
    if (it->depth == 0 && (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR)) {
        if (s->error.n == 0 && !vv_resp_bytes_add(&s->error, it->text)) {
            s->err = VV_ENOMEM;
        }
        return;
    }
    if (p->cmd->row->how == VV_RESP_HOW_MGET) {
        value_item(p, it);
    } else if (it->depth == 0 && it->type == VV_RESP_INTEGER) {
        s->sum += it->integer;
    }
}

/* An error of version 3 may have line ends, which would begin another answer. */
static bool join_error(const struct vv_resp_split *s, struct vv_resp_bytes *out)
{
    for (size_t i = 0; i < s->error.n; i++) {
        if (s->error.p[i] == '\r' || s->error.p[i] == '\n') {
            s->error.p[i] = ' ';
        }
    }
    return vv_resp_bytes_add(out, VV_STR("-")) &&
           vv_resp_bytes_add(out, (struct vv_str){s->error.p, s->error.n}) &&
           vv_resp_bytes_add(out, VV_STR("\r\n"));
}

static bool join_values(const struct vv_resp_split *s, unsigned version, struct vv_resp_bytes *out)
{
    bool fine = vv_resp_bytes_head(out, '*', (int64_t)s->keys);
    for (size_t i = 0; fine && i < s->keys; i++) {
        const struct vv_resp_value *v = &s->value[i];
        fine = v->there ? vv_resp_bytes_bulk(out, (struct vv_str){v->part->texts.p + v->at, v->n})
                        : vv_resp_bytes_nil(out, version);
    }
    return fine;
}

bool vv_resp_split_join(struct vv_resp_cmd *cmd)
{
    struct vv_resp_split *s = cmd->split;
    struct vv_resp_bytes *out = &cmd->answer;
    bool fine = true;
    out->n = 0;
    if (s->error.n > 0) {
        return join_error(s, out);
    }
    switch (cmd->row->how) {
    case VV_RESP_HOW_MGET:
        fine = join_values(s, cmd->version, out);
        drop_texts(s);
        (void)vv_resp_cmd_hold(cmd);
        return fine;
    case VV_RESP_HOW_MSET:
        return vv_resp_bytes_add(out, VV_STR("+OK\r\n"));
    default:
        return vv_resp_bytes_head(out, ':', s->sum);
    }
}
