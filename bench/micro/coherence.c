/* bench/micro/coherence.c - what it costs to judge an object of a store by 10,000 records. */
#include "gateway/coherence_int.h"
#include "os/clock.h"
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 200000

static void fill(struct vv_records *rs, const char *form, enum vv_record_what what)
{
    char value[128];
    for (unsigned i = 1; i <= VV_COHERENCE_RECORDS; i++) {
        snprintf(value, sizeof value, form, i);
        const struct vv_record rec = {.id = i, .what = what, .value = vv_str_from(value)};
        vv_records_add(rs, &rec);
    }
}

static void measure(const char *name, const char *form, enum vv_record_what what)
{
    struct vv_records *rs = vv_records_new(VV_COHERENCE_RECORDS, 1);
    const uint64_t tags[] = {2, 3, 4, 5};
    unsigned gone = 0;
    char key[96];
    if (rs == NULL) {
        return;
    }
    fill(rs, form, what);
    const uint64_t log = vv_records_floor(rs);
    const uint64_t from_ns = vv_clock_thread();
    for (unsigned i = 0; i < ROUNDS; i++) {
        const int n = snprintf(key, sizeof key, "GET https shop.example.com /api/v1/things/%u/view",
                               i + VV_COHERENCE_RECORDS);
        const struct vv_packed_head h = {
            .log = log, .key = {key, (size_t)n}, .tags = tags, .tags_n = VV_COUNT(tags)};
        gone += vv_records_judge(rs, &h) != VV_COHERENCE_GOOD;
    }
    const uint64_t ns = (vv_clock_thread() - from_ns) / ROUNDS;
    printf("%-28s %6llu ns an object (%u of %u purged)\n", name, (unsigned long long)ns, gone,
           ROUNDS);
    vv_records_free(rs);
}

int main(void)
{
    measure("urls", "GET https shop.example.com /api/v1/things/%u", VV_RECORD_URL);
    measure("tags", "thing-%u", VV_RECORD_TAG);
    measure("prefixes of 5 lengths", "GET https shop.example.com /api/v1/other/%u/*",
            VV_RECORD_PATTERN);
    measure("other patterns (64 kept)", "GET https shop.example.com /api/*/%u/view?",
            VV_RECORD_PATTERN);
    return 0;
}
