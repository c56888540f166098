/* src/observe/metrics.c - the registry: series get small numbers once, threads count in plain
 * words.
 *
 * A worker's shard is an array of words indexed by series number, in chunks so that it can grow
 * without moving. A new chunk is given to every shard before the first number in it is handed out;
 * who has a number therefore has the word, and adding needs neither a check nor a lock. */
#include "observe/metrics_int.h"

#include "observe/text_int.h"
#include <stdlib.h>

#define MAP_FIRST 1024 /* slots; a power of two, doubled when half full */
#define WORDS_MAX ((uint32_t)VV_SERIES_CHUNK * VV_SERIES_CHUNKS)

_Static_assert(VV_METRIC_ROWS + 1 <= VV_SERIES_CHUNK, "own series live in the first chunk");

#define COUNTER VV_COUNTER
#define GAUGE VV_GAUGE
#define HISTOGRAM VV_HISTOGRAM
#define INFO VV_INFO
#define VV_METRIC(id, name, kind, unit, labels, help) {#id, name, labels, help, unit, kind},
const struct vv_metric_info vv_metric_rows[VV_METRIC_ROWS] = {
#include "observe/metrics.def"
};
#undef VV_METRIC
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef INFO

void vv_metric_escape(struct vv_sb *out, struct vv_str s, bool quotes)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (c == '\\' || c == '\n' || (quotes && c == '"')) {
            vv_sb_add(out, (struct vv_str){s.p + from, i - from});
            vv_sb_addc(out, '\\');
            vv_sb_addc(out, c == '\n' ? 'n' : c);
            from = i + 1;
        }
    }
    vv_sb_add(out, (struct vv_str){s.p + from, s.n - from});
}

uint64_t vv_metric_series_hash(enum vv_metric id, const struct vv_str *values, size_t count)
{
    uint64_t hash = (uint64_t)id;
    for (size_t i = 0; i < count; i++) {
        hash = vv_str_hash(values[i], hash);
    }
    return hash;
}

bool vv_metric_series_is(const struct vv_metric_series *s, enum vv_metric id,
                         const struct vv_str *values, uint64_t hash)
{
    if (s->hash != hash || s->id != id) {
        return false;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (!vv_str_eq(s->value[i], values[i])) {
            return false;
        }
    }
    return true;
}

void vv_metric_clean(const struct vv_str *values, size_t count, struct vv_metric_room *room,
                     struct vv_str *clean)
{
    for (size_t i = 0; i < count; i++) {
        clean[i] = vv_text_clean(values[i], room->bytes[i], VV_LABEL_BYTES);
    }
}

static void *new_chunk(size_t bytes)
{
    void *p = aligned_alloc(VV_CACHE_LINE, bytes);
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

struct vv_metric_series *vv_metric_series_make(const struct vv_metrics *m, enum vv_metric id,
                                               const struct vv_str *values, uint64_t hash)
{
    const struct vv_metric_family *family = &m->family[id];
    struct vv_sb text = VV_SB_INIT;
    size_t bytes = sizeof(struct vv_metric_series);
    for (size_t i = 0; i < family->labels; i++) {
        vv_sb_adds(&text, i > 0 ? "," : "");
        vv_sb_add(&text, family->label[i]);
        vv_sb_adds(&text, "=\"");
        vv_metric_escape(&text, values[i], true);
        vv_sb_addc(&text, '"');
        bytes += values[i].n;
    }
    struct vv_metric_series *s = text.failed ? NULL : malloc(bytes + text.n);
    if (s != NULL) {
        *s = (struct vv_metric_series){.hash = hash, .id = id, .count = family->labels};
        char *p = (char *)(s + 1);
        for (size_t i = 0; i < s->count; i++) {
            if (values[i].n > 0) {
                memcpy(p, values[i].p, values[i].n);
            }
            s->value[i] = (struct vv_str){p, values[i].n};
            p += values[i].n;
        }
        if (text.n > 0) {
            memcpy(p, text.p, text.n);
        }
        s->text = (struct vv_str){p, text.n};
    }
    vv_sb_fini(&text);
    return s;
}

/* Gives chunk `at` to every shard and to the table of series. What was allocated before a failure
 * stays for the next try. */
static bool ensure_chunk(struct vv_metrics *m, size_t at)
{
    for (struct vv_metric_shard *s = m->shards; s != NULL; s = s->next) {
        if (s->pub.word[at] == NULL) {
            uint64_t *word = new_chunk(VV_SERIES_CHUNK * sizeof(*word));
            struct vv_hist **hist = new_chunk(VV_SERIES_CHUNK * sizeof(struct vv_hist *));
            if (word == NULL || hist == NULL) {
                free(word);
                free(hist);
                return false;
            }
            __atomic_store_n(&s->pub.hist[at], hist, __ATOMIC_RELEASE);
            __atomic_store_n(&s->pub.word[at], word, __ATOMIC_RELEASE);
        }
    }
    if (m->table[at] == NULL) {
        void *table = new_chunk(VV_SERIES_CHUNK * sizeof(struct vv_metric_series *));
        __atomic_store_n(&m->table[at], table, __ATOMIC_RELEASE);
    }
    return m->table[at] != NULL;
}

static void map_put(struct vv_metric_series **map, size_t cap, struct vv_metric_series *s)
{
    size_t at = s->hash & (cap - 1);
    while (map[at] != NULL) {
        at = (at + 1) & (cap - 1);
    }
    map[at] = s;
}

/* Doubles the map when it is half full. */
static bool map_room(struct vv_metrics *m)
{
    if (m->map_used * 2 < m->map_cap) {
        return true;
    }
    const size_t cap = m->map_cap != 0 ? m->map_cap * 2 : MAP_FIRST;
    struct vv_metric_series **map = calloc(cap, sizeof(struct vv_metric_series *));
    if (map == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->map_cap; i++) {
        if (m->map[i] != NULL) {
            map_put(map, cap, m->map[i]);
        }
    }
    free(m->map);
    m->map = map;
    m->map_cap = cap;
    return true;
}

/* Publishes a series under the next number: chunk, then the lists, then the number. */
static void publish(struct vv_metrics *m, struct vv_metric_series *s)
{
    struct vv_metric_family *family = &m->family[s->id];
    s->number = m->numbers;
    m->table[s->number / VV_SERIES_CHUNK][s->number % VV_SERIES_CHUNK] = s;
    __atomic_store_n(family->last != NULL ? &family->last->next : &family->first, s,
                     __ATOMIC_RELEASE);
    family->last = s;
    __atomic_store_n(&m->numbers, m->numbers + 1, __ATOMIC_RELEASE);
}

static vv_series show(struct vv_metric_series *s)
{
    __atomic_store_n(&s->shown, true, __ATOMIC_RELAXED);
    return s->number;
}

/* Under intern. The series, made when it is new; NULL when there is no room for it. */
static struct vv_metric_series *find_or_make(struct vv_metrics *m, enum vv_metric id,
                                             const struct vv_str *values, uint64_t hash)
{
    if (!map_room(m)) {
        return NULL;
    }
    size_t at = hash & (m->map_cap - 1);
    for (; m->map[at] != NULL; at = (at + 1) & (m->map_cap - 1)) {
        if (vv_metric_series_is(m->map[at], id, values, hash)) {
            return m->map[at];
        }
    }
    if (m->family[id].sets >= VV_METRIC_SERIES || m->numbers >= WORDS_MAX ||
        !ensure_chunk(m, m->numbers / VV_SERIES_CHUNK)) {
        return NULL;
    }
    struct vv_metric_series *s = vv_metric_series_make(m, id, values, hash);
    if (s != NULL) {
        map_put(m->map, m->map_cap, s);
        m->map_used++;
        m->family[id].sets++;
        publish(m, s);
    }
    return s;
}

vv_series vv_metrics_series(struct vv_metrics *m, enum vv_metric id, const struct vv_str *values,
                            size_t count)
{
    VV_ASSERT((unsigned)id < VV_METRIC_ROWS);
    VV_ASSERT(count == m->family[id].labels);
    if (count == 0) {
        return show(m->family[id].first);
    }
    struct vv_metric_room room;
    struct vv_str clean[VV_METRIC_LABELS];
    vv_metric_clean(values, count, &room, clean);
    const uint64_t hash = vv_metric_series_hash(id, clean, count);
    pthread_mutex_lock(&m->intern);
    struct vv_metric_series *s = find_or_make(m, id, clean, hash);
    if (s == NULL) {
        s = m->family[id].first;
        vv_metric_add(&m->home->pub, show(m->family[VV_METRIC_SERIES_DROPPED].first), 1);
    }
    const vv_series number = show(s);
    pthread_mutex_unlock(&m->intern);
    return number;
}

static void shard_free(struct vv_metric_shard *s)
{
    for (size_t c = 0; c < VV_SERIES_CHUNKS && s->pub.word[c] != NULL; c++) {
        for (size_t i = 0; i < VV_SERIES_CHUNK; i++) {
            free(s->pub.hist[c][i]);
        }
        free(s->pub.hist[c]);
        free(s->pub.word[c]);
    }
    free(s);
}

/* Under intern. A shard with all chunks that exist, in the list; NULL when memory is out. */
static struct vv_metric_shard *shard_make(struct vv_metrics *m)
{
    struct vv_metric_shard *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->pub.registry = m;
    for (size_t c = 0; c < VV_SERIES_CHUNKS && (c == 0 || m->table[c] != NULL); c++) {
        s->pub.word[c] = new_chunk(VV_SERIES_CHUNK * sizeof(uint64_t));
        s->pub.hist[c] = new_chunk(VV_SERIES_CHUNK * sizeof(struct vv_hist *));
        if (s->pub.word[c] == NULL || s->pub.hist[c] == NULL) {
            free(s->pub.word[c]);
            free(s->pub.hist[c]);
            s->pub.word[c] = NULL;
            shard_free(s);
            return NULL;
        }
    }
    s->taken = true;
    s->next = m->shards;
    __atomic_store_n(&m->shards, s, __ATOMIC_RELEASE);
    return s;
}

enum vv_err vv_metrics_shard(struct vv_metrics *m, struct vv_shard **ret)
{
    pthread_mutex_lock(&m->intern);
    struct vv_metric_shard *s = m->shards;
    while (s != NULL && s->taken) {
        s = s->next;
    }
    if (s != NULL) {
        s->taken = true;
    } else {
        s = shard_make(m);
    }
    pthread_mutex_unlock(&m->intern);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    *ret = &s->pub;
    return VV_OK;
}

void vv_metrics_shard_return(struct vv_metrics *m, struct vv_shard *shard)
{
    pthread_mutex_lock(&m->intern);
    VV_CONTAINER(shard, struct vv_metric_shard, pub)->taken = false;
    pthread_mutex_unlock(&m->intern);
}

struct vv_hist *vv_metric_hist(struct vv_shard *s, vv_series series)
{
    struct vv_hist **at = &s->hist[series / VV_SERIES_CHUNK][series % VV_SERIES_CHUNK];
    if (*at == NULL) {
        struct vv_hist *made = calloc(1, sizeof(*made));
        __atomic_store_n(at, made, __ATOMIC_RELEASE);
    }
    return *at;
}

static const struct vv_hist *hist_of(struct vv_metric_shard *s, vv_series series)
{
    struct vv_hist **chunk =
        __atomic_load_n(&s->pub.hist[series / VV_SERIES_CHUNK], __ATOMIC_ACQUIRE);
    return chunk == NULL ? NULL
                         : __atomic_load_n(&chunk[series % VV_SERIES_CHUNK], __ATOMIC_ACQUIRE);
}

static struct vv_metric_shard *first_shard(struct vv_metrics *m)
{
    return __atomic_load_n(&m->shards, __ATOMIC_ACQUIRE);
}

uint64_t vv_metrics_value(struct vv_metrics *m, vv_series series)
{
    uint64_t sum = 0;
    for (struct vv_metric_shard *s = first_shard(m); s != NULL && series != 0; s = s->next) {
        uint64_t *chunk = __atomic_load_n(&s->pub.word[series / VV_SERIES_CHUNK], __ATOMIC_ACQUIRE);
        if (chunk != NULL) {
            sum += __atomic_load_n(&chunk[series % VV_SERIES_CHUNK], __ATOMIC_RELAXED);
        }
    }
    return sum;
}

uint64_t vv_metrics_hist_count(struct vv_metrics *m, vv_series series)
{
    uint64_t sum = 0;
    for (struct vv_metric_shard *s = first_shard(m); s != NULL && series != 0; s = s->next) {
        const struct vv_hist *h = hist_of(s, series);
        sum += h != NULL ? __atomic_load_n(&h->count, __ATOMIC_RELAXED) : 0;
    }
    return sum;
}

void vv_metrics_hist(struct vv_metrics *m, vv_series series, struct vv_hist *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (struct vv_metric_shard *s = first_shard(m); s != NULL && series != 0; s = s->next) {
        const struct vv_hist *h = hist_of(s, series);
        if (h != NULL) {
            vv_hist_merge(ret, h);
        }
    }
}

void vv_metric_bounds(struct vv_metrics *m, vv_series series, struct vv_metric_bounds *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (struct vv_metric_shard *s = first_shard(m); s != NULL; s = s->next) {
        const struct vv_hist *h = hist_of(s, series);
        for (size_t i = 0; h != NULL && i <= VV_HIST_BOUNDS; i++) {
            ret->at_most[i] += __atomic_load_n(&h->at_most[i], __ATOMIC_RELAXED);
        }
        ret->sum_ns += h != NULL ? __atomic_load_n(&h->sum_ns, __ATOMIC_RELAXED) : 0;
    }
}

void vv_metrics_each(struct vv_metrics *m, vv_series_fn *fn, void *user)
{
    const uint32_t numbers = __atomic_load_n(&m->numbers, __ATOMIC_ACQUIRE);
    for (uint32_t n = 1; n < numbers; n++) {
        struct vv_metric_series **chunk =
            __atomic_load_n(&m->table[n / VV_SERIES_CHUNK], __ATOMIC_ACQUIRE);
        const struct vv_metric_series *s = chunk[n % VV_SERIES_CHUNK];
        if (__atomic_load_n(&s->shown, __ATOMIC_RELAXED)) {
            fn(user, s->id, n, s->value, s->count);
        }
    }
}

static void family_init(struct vv_metric_family *family, const struct vv_metric_info *row)
{
    struct vv_str rest = vv_str_from(row->labels);
    while (rest.n > 0) {
        VV_ASSERT(family->labels < VV_METRIC_LABELS);
        family->label[family->labels++] = vv_str_cut(&rest, ',');
    }
}

static bool own_series(struct vv_metrics *m)
{
    m->numbers = 1;
    m->home = shard_make(m);
    if (m->home == NULL || !ensure_chunk(m, 0)) {
        return false;
    }
    struct vv_str overflow[VV_METRIC_LABELS];
    for (size_t i = 0; i < VV_METRIC_LABELS; i++) {
        overflow[i] = VV_STR("_overflow");
    }
    for (unsigned id = 0; id < VV_METRIC_ROWS; id++) {
        family_init(&m->family[id], &vv_metric_rows[id]);
        const uint64_t hash = vv_metric_series_hash(id, overflow, m->family[id].labels);
        struct vv_metric_series *s = vv_metric_series_make(m, id, overflow, hash);
        if (s == NULL || !map_room(m)) {
            free(s);
            return false;
        }
        map_put(m->map, m->map_cap, s);
        m->map_used++;
        publish(m, s);
    }
    return true;
}

enum vv_err vv_metrics_new(struct vv_metrics **ret)
{
    struct vv_metrics *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_init(&m->intern, NULL);
    pthread_mutex_init(&m->scrape, NULL);
    if (!own_series(m) || vv_metrics_collector(m, vv_process_collect, NULL) != VV_OK ||
        vv_metrics_collector(m, vv_system_collect, NULL) != VV_OK) {
        vv_metrics_free(m);
        return VV_ENOMEM;
    }
    *ret = m;
    return VV_OK;
}

static void const_labels_free(struct vv_metrics *m)
{
    for (size_t i = 0; i < m->const_count; i++) {
        free(m->const_name[i]);
        free(m->const_value[i]);
    }
    free(m->const_text);
    m->const_text = NULL;
    m->const_count = 0;
}

void vv_metrics_free(struct vv_metrics *m)
{
    if (m == NULL) {
        return;
    }
    for (uint32_t n = 1; n < m->numbers; n++) {
        free(m->table[n / VV_SERIES_CHUNK][n % VV_SERIES_CHUNK]);
    }
    for (size_t c = 0; c < VV_SERIES_CHUNKS; c++) {
        free(m->table[c]);
    }
    free(m->map);
    while (m->shards != NULL) {
        struct vv_metric_shard *s = m->shards;
        m->shards = s->next;
        shard_free(s);
    }
    while (m->collectors != NULL) {
        struct vv_metric_collector *c = m->collectors;
        m->collectors = c->next;
        free(c);
    }
    const_labels_free(m);
    pthread_mutex_destroy(&m->intern);
    pthread_mutex_destroy(&m->scrape);
    free(m);
}

/* [a-zA-Z_][a-zA-Z0-9_]*, not reserved, not a label that some metric has itself. */
static bool label_name_ok(const struct vv_metrics *m, const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    if (name[0] == '\0' || strchr(first, name[0]) == NULL || name[strspn(name, rest)] != '\0' ||
        strncmp(name, "__", 2) == 0 || strcmp(name, "le") == 0 || strcmp(name, "quantile") == 0) {
        return false;
    }
    for (unsigned id = 0; id < VV_METRIC_ROWS; id++) {
        for (size_t i = 0; i < m->family[id].labels; i++) {
            if (vv_str_eq(m->family[id].label[i], vv_str_from(name))) {
                return false;
            }
        }
    }
    return true;
}

enum vv_err vv_metrics_set_labels(struct vv_metrics *m, const char *const *names,
                                  const char *const *values, size_t count)
{
    if (count > VV_CONST_LABELS) {
        return VV_ELIMIT;
    }
    struct vv_metrics made = {0}; /* only its const_* fields are used */
    struct vv_sb text = VV_SB_INIT;
    for (size_t i = 0; i < count; i++) {
        bool good = label_name_ok(m, names[i]);
        for (size_t k = 0; k < i; k++) {
            good = good && strcmp(names[i], names[k]) != 0;
        }
        if (!good) {
            const_labels_free(&made);
            vv_sb_fini(&text);
            return VV_EINVAL;
        }
        char room[VV_LABEL_BYTES];
        const struct vv_str value = vv_text_clean(vv_str_from(values[i]), room, sizeof(room));
        vv_sb_adds(&text, i > 0 ? "," : "");
        vv_sb_adds(&text, names[i]);
        vv_sb_adds(&text, "=\"");
        vv_metric_escape(&text, value, true);
        vv_sb_addc(&text, '"');
        made.const_name[i] = strdup(names[i]);
        made.const_value[i] = strndup(value.p, value.n);
        made.const_count = i + 1;
        if (made.const_name[i] == NULL || made.const_value[i] == NULL) {
            text.failed = true;
            break;
        }
    }
    made.const_text = text.n > 0 ? vv_sb_take(&text) : NULL;
    if (text.failed) {
        const_labels_free(&made);
        vv_sb_fini(&text);
        return VV_ENOMEM;
    }
    pthread_mutex_lock(&m->scrape);
    const_labels_free(m);
    memcpy(m->const_name, made.const_name, sizeof(made.const_name));
    memcpy(m->const_value, made.const_value, sizeof(made.const_value));
    m->const_count = made.const_count;
    m->const_text = made.const_text;
    pthread_mutex_unlock(&m->scrape);
    return VV_OK;
}

enum vv_err vv_metrics_collector(struct vv_metrics *m, vv_collector_fn *fn, void *user)
{
    struct vv_metric_collector *c = malloc(sizeof(*c));
    if (c == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_lock(&m->scrape);
    *c = (struct vv_metric_collector){.next = m->collectors, .fn = fn, .user = user};
    m->collectors = c;
    pthread_mutex_unlock(&m->scrape);
    return VV_OK;
}

void vv_metrics_collector_remove(struct vv_metrics *m, vv_collector_fn *fn, void *user)
{
    pthread_mutex_lock(&m->scrape);
    for (struct vv_metric_collector **at = &m->collectors; *at != NULL; at = &(*at)->next) {
        if ((*at)->fn == fn && (*at)->user == user) {
            struct vv_metric_collector *gone = *at;
            *at = gone->next;
            free(gone);
            break;
        }
    }
    pthread_mutex_unlock(&m->scrape);
}
