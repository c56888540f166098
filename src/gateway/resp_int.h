/* src/gateway/resp_int.h - what the files of the RESP front share: a client, its commands, the way to the
 * store. Inside resp_*.c only.
 *
 * Model:     a command is read into memory of its own, looked up, and sent, answered here or refused. The
 *            client's commands stand in a queue in order; answers are gathered in the command until it is
 *            the first, so answers leave in order whatever server they came from. An answer that grows
 *            beyond RESP_HELD while its command is the first leaves as it comes.
 *            A command the store has no room for waits in the client, which is not read meanwhile.
 *            Clients that were closed live until the end of the turn, since callers further up may hold them.
 * Memory:    each client: its commands (RESP_COMMAND_MAX each, RESP_QUEUE of them, RESP_QUEUE_BYTES), and
 *            what it has not read (RESP_OUT_MAX). All clients of a worker: RESP_BUDGET; who holds little
 *            (RESP_LITTLE of a command, RESP_OUT_HIGH of answers) is served even when others have filled it.
 */
#ifndef VV_GATEWAY_RESP_INT_H
#define VV_GATEWAY_RESP_INT_H
#include "cache/small.h"
#include "gateway/resp_commands.h"
#include "gateway/resp_front.h"

#define RESP_COMMAND_MAX (64u << 20)  /* bytes of one command */
#define RESP_STRANGER_MAX (16u << 10) /* of one who has not said the password */
#define RESP_LITTLE (64u << 10)       /* bytes of a command that is taken whatever others hold */
#define RESP_QUEUE 256                /* commands of a client under way */
#define RESP_QUEUE_BYTES (1u << 20)   /* their bytes, after which it is not read */
#define RESP_HELD (64u << 10)         /* bytes of an answer that wait for its end */
#define RESP_OUT_HIGH (1u << 20)      /* unread bytes of a client that stop the store's answer */
#define RESP_OUT_LOW (256u << 10)     /* and let it go on */
#define RESP_OUT_MAX (64u << 20)      /* and close the client */
#define RESP_BUDGET (256u << 20)      /* commands and answers of all clients of a worker */
#define RESP_PATIENCE_NS (20 * VV_MS) /* how long others wait for a slow client */
#define RESP_STUCK_NS                                                                              \
    (60 * VV_SEC)           /* who takes nothing, or leaves a command half said, is closed */
#define RESP_NAME_MAX 64    /* bytes of a client's name */
#define RESP_SLOW_NS VV_SEC /* deadline of commands that take longer with more elements */
#define RESP_BYTES_A_SEC (20u << 20) /* what the deadline of a large command counts on */

struct vv_resp_lane { /* the way to one store; counted by the front and by commands under way */
    struct vv_corpse corpse;
    struct vv_redis *redis; /* NULL: a store without servers */
    struct vv_store *store;
    uint64_t refs;
    uint64_t heard_ns; /* part of an answer came */
};

enum vv_resp_result {
    VV_RESP_RESULT_OK,      /* answered by the store, or here */
    VV_RESP_RESULT_ERROR,   /* answered with an error */
    VV_RESP_RESULT_REFUSED, /* not passed on */
    VV_RESP_RESULT_MEMORY,  /* the store was away: by memory */
    VV_RESP_RESULT_AWAY,    /* the store was away: not answered */
    VV_RESP_RESULT_COUNT
};

struct vv_resp_client;
struct vv_resp_cmd;

struct vv_resp_shared {  /* of one store: by all workers' fronts, and kept over reloads */
    struct vv_list node; /* the home's */
    char *name;
    struct vv_small *memory;
    _Atomic uint32_t refs;
    _Atomic uint64_t ids;
    _Atomic uint64_t clients;
};

struct vv_resp_front {   /* of one store on one worker */
    struct vv_list node; /* the worker's */
    struct vv_corpse corpse;
    struct vv_worker *w;
    struct vv_io io;
    char *name, *address;
    char *password; /* NULL: none is asked for */
    uint64_t clients_max;
    bool flush;   /* FLUSHDB is allowed */
    bool stopped; /* accepts nothing more; gone with its last client */
    bool listening;
    struct vv_resp_lane *lane;
    struct vv_resp_shared *shared;
    struct vv_list clients, waiting;
    uint64_t count;       /* of clients, those that are being buried too */
    struct vv_list spare; /* commands */
    size_t spares;
    size_t bytes;          /* of commands and answers of all clients */
    struct vv_defer kick;  /* those that wait try again */
    struct vv_timer retry; /* the same, where no answer will come to do it */
    struct vv_timer rest;  /* pause after running out of descriptors */
    vv_series s_clients, s_result[VV_RESP_CLASS_COUNT][VV_RESP_RESULT_COUNT];
};

struct vv_resp_part { /* of a command that was cut by server */
    struct vv_redis_op op;
    struct vv_resp_cmd *cmd;
    struct vv_str *args; /* within the split's memory */
    size_t args_n;
    const size_t *place;        /* MGET: of each key among all keys */
    size_t at;                  /* elements of the answer so far */
    struct vv_resp_bytes texts; /* of its values, one behind the other */
    enum vv_err err;
    bool sent, ended;
};

struct vv_resp_value { /* MGET: where a value lies in its part's texts */
    const struct vv_resp_part *part;
    size_t at, n;
    bool there;
};

struct vv_resp_split {
    struct vv_resp_part *part;
    size_t parts, sent, ended;
    struct vv_str *args;
    size_t *place;
    struct vv_resp_value *value; /* by key, MGET */
    size_t keys;
    size_t cost, bytes; /* what all this takes; what the parts' texts have */
    int64_t sum;
    struct vv_resp_bytes error; /* the first one */
    enum vv_err err;            /* the first part that was not answered */
    bool unsure;                /* a part that was not answered may have been carried out */
};

struct vv_resp_cmd {
    struct vv_list node; /* in the client's queue, or among the spare */
    struct vv_resp_client *client;
    const struct vv_resp_command *row; /* NULL: unknown */
    struct vv_str *args;
    size_t args_n, args_cap;
    struct vv_str args_few[8];
    struct vv_resp_bytes text; /* of the arguments, one behind the other */
    struct vv_redis_op op;
    struct vv_resp_keys keys;
    struct vv_resp_split *split;
    struct vv_resp_lane *lane; /* under way there */
    struct vv_resp_bytes answer;
    struct vv_resp_convert convert;
    uint64_t began_ns;
    size_t bytes, held; /* counted in the budget: its words; its answer, while that waits here */
    enum vv_resp_result result;
    uint8_t version;
    bool done;
    bool streams; /* part of the answer has left */
    bool away;    /* the server said that it cannot answer now */
    bool broken;  /* no memory for the answer */
    bool value;   /* GET: the answer is one whole value, at value_at in `answer` */
    bool none;    /* the answer is that there is nothing */
    size_t value_at, value_n;
    int64_t number; /* the answer, of a number */
};

struct vv_resp_client {
    struct vv_list node;    /* front->clients */
    struct vv_list waiting; /* front->waiting: `stuck` is to be sent again */
    struct vv_corpse corpse;
    struct vv_resp_front *front;
    struct vv_io io;
    struct vv_addr peer;
    uint64_t id, since_ns;
    char name[RESP_NAME_MAX + 1];
    struct vv_resp_reader reader;
    struct vv_buf *in; /* bytes that were not parsed yet; NULL: none */
    struct vv_resp_cmd *building;
    struct vv_list queue;
    size_t queued, queued_bytes;
    struct vv_resp_cmd *stuck; /* the store has no room: sent again when it has */
    uint64_t stuck_ns;
    struct vv_resp_bytes out;   /* from out_at on to be sent */
    size_t out_at, out_told;    /* out_told: counted in the budget */
    struct vv_defer work;       /* parse on, then flush */
    struct vv_timer timer;      /* patience, or a client that takes nothing */
    uint64_t progress_ns;       /* it took bytes */
    uint64_t given_ns;          /* and gave some */
    struct vv_redis_op *paused; /* the answer that waits for this client */
    uint64_t paused_ns;
    uint8_t version;
    bool authed, readable, at_end, closing, dead, overdrawn, parsing;
};

/* resp_session.c */
void vv_resp_spare_free(struct vv_resp_front *f);
void vv_resp_client_open(struct vv_resp_front *f, int fd, const struct vv_addr *peer);
void vv_resp_client_close(struct vv_resp_client *c);
void vv_resp_client_wake(struct vv_resp_client *c); /* work at the end of the turn */
/* An answer is complete: those that are first in the queue leave. */
void vv_resp_client_pump(struct vv_resp_client *c);
/* More of the first command's answer than is held: it leaves. False: the client is gone. */
bool vv_resp_client_stream(struct vv_resp_client *c, struct vv_resp_cmd *cmd,
                           struct vv_redis_op *op);
/* Counts what its answer holds now. False: the budget of all clients is used up. */
bool vv_resp_cmd_hold(struct vv_resp_cmd *cmd);
void vv_resp_client_retire(struct vv_resp_client *c); /* closes it when nothing is under way */

/* resp_ask.c */
void vv_resp_ask(struct vv_resp_cmd *cmd);       /* a complete command, last in its queue */
bool vv_resp_ask_again(struct vv_resp_cmd *cmd); /* a stuck one; false: still stuck */
void vv_resp_cmd_drop(struct vv_resp_cmd *cmd);  /* the client is gone: nothing comes any more */
void vv_resp_cmd_done(struct vv_resp_cmd *cmd, enum vv_resp_result result);
void vv_resp_cmd_error(struct vv_resp_cmd *cmd, enum vv_resp_result result, const char *fmt, ...)
    VV_PRINTF(3, 4);
struct vv_resp_lane *vv_resp_lane_new(struct vv_worker *w, struct vv_store *store);
void vv_resp_lane_unref(struct vv_worker *w, struct vv_resp_lane *lane);

/* resp_split.c: true: the command is cut; false: no memory, nothing happened. */
VV_MUST_CHECK bool vv_resp_split(struct vv_resp_cmd *cmd, enum vv_redis_kind kind);
void vv_resp_split_item(struct vv_resp_part *p, const struct vv_resp_item *it);
/* All parts have been answered: the answer. False: no memory. */
VV_MUST_CHECK bool vv_resp_split_join(struct vv_resp_cmd *cmd);
void vv_resp_split_free(struct vv_resp_split *s);

/* resp_own.c */
void vv_resp_own(struct vv_resp_cmd *cmd);

/* resp_memory.c */
/* The store is away; `unsure`: it may have carried the command out. False: memory cannot answer this. */
bool vv_resp_memory_answer(struct vv_resp_cmd *cmd, bool unsure);
/* The store has answered: memory takes note of what it may be asked later. */
void vv_resp_memory_note(struct vv_resp_cmd *cmd);

/* resp_front.c */
uint64_t vv_resp_front_id(struct vv_resp_front *f); /* of a new client */
void vv_resp_front_left(struct vv_resp_front *f);   /* a client has gone */
void vv_resp_front_kick(struct vv_resp_front *f);   /* there may be room at the store again */
void vv_resp_front_count(struct vv_resp_front *f, enum vv_resp_class class, enum vv_resp_result r);
#endif
