/* tests/fuzz/fuzz_uri.c - a normal path stays as it is and never climbs; slices stay inside. */
#include "wire/uri.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct vv_str s, struct vv_str all)
{
    VV_ASSERT(s.p == NULL || (s.p >= all.p && s.p + s.n <= all.p + all.n));
}

static void check_no_dot_segment(struct vv_str path)
{
    VV_ASSERT(path.n > 0 && path.p[0] == '/');
    path.p++;
    path.n--;
    while (path.p != NULL) {
        const struct vv_str segment = vv_str_cut(&path, '/');
        VV_ASSERT(!vv_str_eq(segment, VV_STR(".")) && !vv_str_eq(segment, VV_STR("..")));
    }
}

static void check_path(struct vv_str text)
{
    char *once = malloc(text.n + 1), *twice = malloc(text.n + 1);
    size_t n = 0, again = 0;
    VV_ASSERT(once != NULL && twice != NULL);
    if (vv_uri_normalise_path(text, once, text.n + 1, &n) == VV_OK) {
        VV_ASSERT(n <= text.n);
        check_no_dot_segment((struct vv_str){once, n});
        VV_ASSERT(vv_uri_normalise_path((struct vv_str){once, n}, twice, text.n + 1, &again) ==
                  VV_OK);
        VV_ASSERT(again == n && memcmp(once, twice, n) == 0);
        VV_ASSERT(vv_uri_decode((struct vv_str){once, n}, twice, text.n + 1, &again) == VV_OK);
        VV_ASSERT(again <= n && memchr(twice, '\0', again) == NULL);
    }
    free(once);
    free(twice);
}

static void check_reference(struct vv_str text)
{
    struct vv_uri u;
    if (vv_uri_parse(text, &u) != VV_OK) {
        return;
    }
    const struct vv_str parts[] = {u.scheme, u.userinfo, u.host, u.path, u.query, u.fragment};
    for (size_t i = 0; i < VV_COUNT(parts); i++) {
        check_inside(parts[i], text);
    }
    VV_ASSERT(u.has_port || u.port == 0);
    struct vv_str value;
    if (vv_uri_query_get(u.query, VV_STR("a"), &value)) {
        check_inside(value, u.query);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 8192) {
        return 0;
    }
    const struct vv_str text = {(const char *)data, size};
    struct vv_str host;
    uint16_t port;
    if (vv_uri_split_authority(text, &host, &port) == VV_OK) {
        check_inside(host, text);
    }
    check_path(text);
    check_reference(text);
    return 0;
}
