/* src/gateway/resp_commands.c - the table is sorted, so a name is found by halving: eight comparisons of
 * short words, less than the hash of one. */
#include "gateway/resp_commands.h"
#include "wire/redis_slots.h"

static const struct vv_resp_command table[] = {
#define VV_RESP_COMMAND(name, arity, first, last, step, class, how, flags, memory, text)           \
    {                                                                                              \
        {#name, sizeof(#name) - 1},                                                                \
        arity,                                                                                     \
        first,                                                                                     \
        last,                                                                                      \
        step,                                                                                      \
        VV_RESP_CLASS_##class,                                                                     \
        VV_RESP_HOW_##how,                                                                         \
        VV_RESP_MEMORY_##memory,                                                                   \
        flags,                                                                                     \
        text},
#include "gateway/resp_commands.def"
#undef VV_RESP_COMMAND
};

const char *vv_resp_class_name(enum vv_resp_class c)
{
    static const char *const name[] = {
#define AS_NAME(id, text) [VV_RESP_CLASS_##id] = text,
        VV_RESP_CLASSES(AS_NAME)};
    return name[c];
}

/* As memcmp, then by length; the name of the table is in upper case. */
static int compare(struct vv_str given, struct vv_str name)
{
    const size_t n = given.n < name.n ? given.n : name.n;
    for (size_t i = 0; i < n; i++) {
        const char c = given.p[i];
        const int a = (unsigned char)(c >= 'a' && c <= 'z' ? c - 32 : c);
        if (a != name.p[i]) {
            return a - name.p[i];
        }
    }
    return given.n < name.n ? -1 : given.n > name.n;
}

const struct vv_resp_command *vv_resp_command_find(struct vv_str name)
{
    size_t low = 0;
    size_t high = VV_COUNT(table);
    while (low < high) {
        const size_t mid = (low + high) / 2;
        const int c = compare(name, table[mid].name);
        if (c == 0) {
            return &table[mid];
        }
        if (c < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return NULL;
}

const struct vv_resp_command *vv_resp_command_at(size_t i)
{
    return i < VV_COUNT(table) ? &table[i] : NULL;
}

bool vv_resp_command_fits(const struct vv_resp_command *c, size_t args_count)
{
    return c->arity >= 0 ? args_count == (size_t)c->arity : args_count >= (size_t)-c->arity;
}

enum vv_err vv_resp_keys_find(const struct vv_resp_command *c, const struct vv_str *args,
                              size_t args_count, struct vv_resp_keys *ret)
{
    const size_t first = (size_t)c->first;
    *ret = (struct vv_resp_keys){.args = args, .first = first, .step = 1};
    if (first == 0) {
        return VV_OK;
    }
    if (c->last == VV_RESP_COUNTED) {
        uint64_t n = 0;
        if (vv_str_to_u64(args[first], &n) != VV_OK || n == 0 || n > args_count - first - 1) {
            return VV_ESYNTAX;
        }
        ret->first = first + 1;
        ret->count = (size_t)n;
        ret->extra = (size_t)c->step;
        return VV_OK;
    }
    const size_t last = c->last >= 0 ? (size_t)c->last : args_count - (size_t)-c->last;
    ret->step = (size_t)c->step;
    ret->count = (last - first) / ret->step + 1;
    /* Of keys with values each must have one. */
    return c->last < 0 && (args_count - first) % ret->step != 0 ? VV_ESYNTAX : VV_OK;
}

struct vv_str vv_resp_key_tag(struct vv_str key)
{
    const char *open = key.n > 0 ? memchr(key.p, '{', key.n) : NULL;
    if (open == NULL) {
        return key;
    }
    const struct vv_str rest = {open + 1, key.n - (size_t)(open + 1 - key.p)};
    const char *close = rest.n > 0 ? memchr(rest.p, '}', rest.n) : NULL;
    if (close == NULL || close == rest.p) {
        return key;
    }
    return (struct vv_str){rest.p, (size_t)(close - rest.p)};
}

bool vv_resp_keys_together(enum vv_redis_kind kind, struct vv_str a, struct vv_str b)
{
    switch (kind) {
    case VV_REDIS_CLUSTER:
        return vv_redis_slot(a) == vv_redis_slot(b);
    case VV_REDIS_RING:
        return vv_str_eq(vv_resp_key_tag(a), vv_resp_key_tag(b));
    default:
        return true;
    }
}
