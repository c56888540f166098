/* tests/fuzz/fuzz_compose_merge.c - whatever a template and two parts hold, a template that is taken gives
 * JSON; what another reader of JSON takes, ours takes too. Input: the template (empty: none), a line end,
 * the first part, a NUL byte, the second. */
#include "gateway/compose_merge.h"
#include <jansson.h>
#include <stdlib.h>

#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nested deeper than we take it, or not? Only brackets outside of texts count. */
static bool deep(struct vv_str s)
{
    size_t depth = 0;
    size_t most = 0;
    bool text = false;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (text && c == '\\') {
            i++;
        } else if (c == '"') {
            text = !text;
        } else if (!text && (c == '[' || c == '{')) {
            depth++;
            most = vv_max_u64(most, depth);
        } else if (!text && (c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return most > VV_MERGE_DEPTH_MAX;
}

/* The other reader refuses more than the grammar does: large numbers, lone surrogates. */
static void compare(struct vv_str s, bool ours)
{
    json_t *other = json_loadb(s.p, s.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (other != NULL) {
        VV_ASSERT(ours || deep(s));
        json_decref(other);
    }
}

static void merge(const struct vv_merge *m, struct vv_merge_value *value, size_t count)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_merge_write(m, value, count, &sb);
    VV_ASSERT(!sb.failed);
    /* A part within a template may go deeper than either of them. */
    VV_ASSERT(vv_merge_is_json(vv_sb_str(&sb)) || deep(vv_sb_str(&sb)));
    vv_sb_fini(&sb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vv_str names[] = {{"a", 1}, {"\"b", 2}};
    char template[INPUT_MAX + 1];
    char why[VV_MERGE_TEXT];
    struct vv_str rest = {(const char *)data, size};
    struct vv_merge_value value[2];
    struct vv_merge *m = NULL;
    if (size == 0 || size > INPUT_MAX) {
        return 0;
    }
    const struct vv_str text = vv_str_cut(&rest, '\n');
    memcpy(template, text.p, text.n);
    template[text.n] = '\0';
    for (size_t i = 0; i < 2; i++) {
        const struct vv_str body = i == 0 ? vv_str_cut(&rest, '\0') : rest;
        const bool is_json = body.p != NULL && vv_merge_is_json(body);
        value[i] = (struct vv_merge_value){
            .name = names[i], .body = body, .is_json = is_json, .degraded = !is_json};
        if (body.n > 0) {
            compare(body, is_json);
        }
    }
    if (vv_merge_new(text.n > 0 ? template : NULL, names, 2, &m, why) == VV_OK) {
        merge(m, value, 2);
        vv_merge_free(m);
    }
    return 0;
}
