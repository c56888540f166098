/* src/gateway/stores_int.h - what the files of the stores' home share. Never included elsewhere. */
#ifndef VV_GATEWAY_STORES_INT_H
#define VV_GATEWAY_STORES_INT_H
#include "gateway/store_ask.h"
#include "gateway/stores.h"
#include "store/redis_peers.h"

#define STORE_SERVERS_MAX 64
#define STORE_DBS_MAX 16

enum store_state {                /* in this order; names in stores_view.c */
                   STORE_UNKNOWN, /* nobody asked yet */
                   STORE_UP,
                   STORE_PARTLY, /* some of its servers do not answer */
                   STORE_AWAY,
                   STORE_MEMORY /* it has no server */
};

struct store_info { /* what INFO said */
    char version[24], role[12], policy[24];
    uint64_t hits, misses, used, max, evicted, expired, clients, uptime_s, tracking_keys,
        last_save_s;
    bool loading;
    size_t dbs;
    struct {
        uint32_t number;
        uint64_t keys, expires;
    } db[STORE_DBS_MAX];
};

struct store_finding { /* one parameter of one server */
    char *is;          /* NULL: not known */
    char why[64];      /* why it is not known; "": it is */
};

struct store_server {
    struct vv_redis_peer peer;
    char name[280];         /* host:port, or the path */
    bool here, up, ever_up; /* here: still known */
    char why[128];          /* why it is not up */
    struct store_info info;
    uint64_t info_wall_ns;         /* 0: never */
    struct store_finding *finding; /* by expectation; NULL: not asked yet */
    struct store_finding bind, guarded, password;
};

struct store_expectation {
    char *name, *value;
};
struct store_expectations { /* replaced as a whole */
    size_t count;
    struct store_expectation *item;
};

struct store_poll;
struct vv_store_home { /* control thread, but for the atomics */
    struct vv_store s; /* first */
    struct vv_stores *owner;
    char *fingerprint;    /* of all that makes it this store: a secret */
    char *texts[8];       /* of conf */
    char shown[512];      /* the address without user and password */
    bool current, wanted; /* of the settings in force; of those being loaded */
    _Atomic uint32_t clients;
    _Atomic uint64_t troubles; /* rises when a worker's operations fail */
    struct vv_redis *control;
    struct vv_redis *eyes;      /* of polls and walks: knows replicas, too; may be `control` */
    struct vv_redis_stats told; /* of the control thread's client */
    struct store_expectations expect, expect_wanted;
    struct store_server server[STORE_SERVERS_MAX];
    size_t servers;
    enum store_state state;
    uint64_t state_wall_ns, state_ns;
    char why[128];                  /* when no server is known */
    struct store_poll *poll;        /* NULL: none is under way */
    uint64_t rounds, config_rounds; /* polls that have begun; those that asked for parameters */
    uint64_t poll_ns, config_ns;    /* when the next one begins */
    uint64_t troubles_seen;
    uint64_t broken_told; /* hash of the expectations that do not hold, as the log knows them */
    struct vv_list asks, walks;
};

struct vv_stores {
    struct vv_loop *control;
    struct vv_metrics *metrics;
    struct vv_shard *shard; /* of the control thread */
    struct vv_list all;     /* struct vv_store */
    struct vv_store_watch watch;
    uint64_t generations, second_ns;
};

static inline struct vv_store_home *store_home(struct vv_store *s)
{
    return VV_CONTAINER(s, struct vv_store_home, s);
}

/* stores_poll.c: asks all servers. */
void store_poll_tick(struct vv_store_home *h, uint64_t now_ns);
void store_poll_end(struct vv_store_home *h); /* at once; the store goes */
/* Expectations changed: what was found is forgotten. */
void store_poll_forget(struct vv_store_home *h);
/* stores_info.c: the text of INFO. */
void store_info_read(struct vv_str text, struct store_info *ret);
/* stores_view.c */
void store_collect(struct vv_collect *c, void *stores);
const char *store_state_name(enum store_state s);
/* "maxmemory of HOST is X, Y was expected"; false: it holds, or nothing is known. */
bool store_sentence(const struct vv_store_home *h, const struct store_server *s, size_t expectation,
                    struct vv_sb *out);
size_t store_broken(const struct vv_store_home *h); /* expectations that do not hold */
#endif
