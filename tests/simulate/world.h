/* The world the machines of agent/commit live in: a clock, seeded chance, a lake, and laws. One
 * world per seed; a seed repeats exactly. Two kinds: direct.c (PostgreSQL into tables in one
 * process) and group.c (a topic into one table by several consumers). */
#pragma once

#include "agent/commit/coordinator.h"
#include "agent/commit/confirm.h"
#include "agent/commit/worker.h"

#define LANES 6
#define TABLES 3
#define SNAPSHOTS 400
#define METAS 6 /* states of a table that a stale read may show */
#define REQUESTS 48
#define PIECES_OF_COMMIT 48
#define STEPS_CALM 6000 /* faults have ended: by then everything has come to its end */

/* Named invariants. */
typedef enum Law {
    LAW_NONE,
    LAW_CONTENT, /* a snapshot holds the model up to its position: nothing twice, nothing lost */
    LAW_VALUE,   /* a lane's value is one that reading the topic gives */
    LAW_FORWARD, /* a commit never moves a position back */
    LAW_ONE_SNAPSHOT, /* a commit takes effect once; a round makes one snapshot of rows */
    LAW_BARRIER,      /* all lanes of a barrier are on the same side of it */
    LAW_CONFIRM_LATE, /* the source is told what is durable in every table */
    LAW_STREAM_WHOLE, /* the source sends all that was asked for */
    LAW_RECORD_FIRST, /* and what stands in the record */
    LAW_FILES,        /* no file is deleted that is, or may yet be, in a snapshot */
    LAW_STALL_JUST,   /* Stalled only for a reason that is true */
    LAW_STALL_SEEN,   /* what only a person can mend is noticed */
    LAW_LOAD_FIRST,   /* a coordinator announces only what it loaded in its term */
    LAW_ROUND_WHOLE,  /* a round waits for every lane, or the deadline */
    LAW_ROUND_ENDS,   /* and no longer */
    LAW_CONVERGES,    /* without faults everything comes to the source's end */
    LAWS,
} Law;
extern const char *const law_names[LAWS];

typedef struct Snapshot {
    int64_t id;
    int32_t parent; /* index; -1: none */
    int64_t sequence;
    uint64_t content; /* of our rows: sum of their hashes */
    uint64_t layout;  /* of files: another number where files were removed or replaced */
    Foreign foreign;
    bool ours, expired;
    uint32_t lane_count; /* ours: position in the summary */
    LaneValue lanes[LANES];
} Snapshot;

typedef struct Meta {
    bool exists, has_claim;
    uint32_t uuid;
    int32_t head; /* index; -1: none */
    int64_t sequence;
    int64_t claim_snapshot;
    int32_t claim_source;
    uint32_t lane_count;
    LaneValue lanes[LANES];
    uint32_t version; /* of the metadata */
    int64_t since_us;
} Meta;

typedef struct LakeTable {
    Meta now;
    Meta before[METAS]; /* a ring */
    uint32_t before_count;
    uint32_t count;
    Snapshot snapshots[SNAPSHOTS];
    bool disturbed; /* rolled back, put back, dropped: confirmed rows may be gone */
} LakeTable;

typedef enum RequestKind {
    REQUEST_LOAD,
    REQUEST_CREATE,
    REQUEST_COMMIT,
    REQUEST_RECORD_READ,
    REQUEST_RECORD_WRITE,
} RequestKind;

typedef struct CommitBody {
    int64_t id, asserts_head;
    uint32_t uuid, version; /* version: asserted by catalogs that compare metadata */
    uint32_t lane_count;
    LaneValue lanes[LANES]; /* of the table after it */
    int32_t source;
    bool clears;          /* what was there before is gone (truncate, copy) */
    uint64_t content;     /* added */
    bool names_positions; /* of files in `layout` */
    uint64_t layout;
    uint64_t files;              /* direct: the pending files; 0: none */
    uint64_t generation, serial; /* group: of the round; 0: a barrier's */
    uint32_t piece_count;
    PieceId pieces[PIECES_OF_COMMIT];
} CommitBody;

typedef struct RecordBody {
    uint32_t version; /* asserted */
    RowPosition at;
    int32_t source;
    RecordEntry entries[TABLES];
} RecordBody;

/* What was asked of the lake or the store. It takes effect at effect_at (never: INT64_MAX), a
 * second time at again_at; the answer comes at answer_at, and is ANSWER_UNKNOWN if it was lost. */
typedef struct Request {
    RequestKind kind;
    uint32_t process, incarnation, table;
    uint64_t ticket;
    int64_t effect_at, again_at, answer_at;
    bool lost, happened, stale;
    /* asked */
    int64_t look_for, since_head;
    CommitBody commit;
    RecordBody record;
    /* answered */
    CommitAnswer answer;
    int64_t sequence;
    uint32_t version, uuid;
    uint64_t layout;
    TableView view;
    LaneValue lanes[LANES];
    bool record_exists;
} Request;

typedef struct World World;
typedef struct Direct Direct;
typedef struct Group Group;

struct World {
    uint64_t seed, random;
    int64_t now_us;
    uint64_t step;
    bool trace, calm;
    Law broken;
    char detail[256];
    /* of this seed */
    uint32_t fault_percent;
    bool compares_metadata; /* the catalog's swap; else the head of the branch */
    bool reads_stale;
    bool disaster; /* this seed has one thing that only a person can mend */
    bool struck;
    uint32_t justified; /* bits of StallReason */
    bool must_stall;    /* after a restart */
    bool stalled;
    uint32_t faults;
    /* the lake */
    int64_t ids;
    uint32_t uuids;
    uint64_t layouts;
    uint32_t table_count;
    LakeTable tables[TABLES];
    bool has_record;
    RecordBody record; /* version: of what stands there */
    uint64_t deleted_files[64];
    uint32_t deleted_count;
    Request requests[REQUESTS];
    uint32_t request_count;
    bool (*content)(World *world, uint32_t table, const CommitBody *body, uint64_t *ret);
    bool (*landed)(World *world, uint32_t table, const CommitBody *body);
};

uint64_t chance_next(World *world);
static inline uint32_t chance_below(World *world, uint32_t count)
{
    return (uint32_t)((chance_next(world) >> 32) * count >> 32);
}
static inline bool chance(World *world, uint32_t percent)
{
    return chance_below(world, 100) < percent;
}
/* A fault of this seed, in so many of a hundred of its faults; none in the calm. */
bool fault(World *world, uint32_t percent);
/* False; remembers the first law that was broken. */
bool broke(World *world, Law law, const char *format, ...) PRINTF(3, 4);
void trace(const World *world, const char *format, ...) PRINTF(2, 3);
void stalled(World *world, StallReason reason, const char *who);
const char *source_name(int32_t source);

/* lake.c */
void lake_init(World *world, uint32_t tables);
Request *lake_ask(World *world, RequestKind kind, uint32_t process, uint32_t incarnation,
                  uint32_t table);
/* Takes effect what is due; the next answer that is due is taken out into *ret, or false. */
bool lake_serve(World *world, Request *ret);
void lake_answer_later(World *world, const Request *answer, int64_t at_us);
void lake_foreign(World *world, uint32_t table);
void lake_rollback(World *world, uint32_t table);
/* without_claim: it may be a state of before the first commit. */
void lake_put_back(World *world, uint32_t table, bool without_claim);
void lake_drop(World *world, uint32_t table);
void lake_delete_files(World *world, uint64_t files);
bool lake_is_ancestor(const LakeTable *table, int32_t head, int64_t id);
static inline const Snapshot *lake_head(const LakeTable *table)
{
    return table->now.head < 0 ? NULL : &table->snapshots[table->now.head];
}
void lake_uuid(uint32_t uuid, char ret[TABLE_UUID_BYTES]);

/* direct.c, group.c: a seed from its beginning to its end; false: a law was broken. */
bool direct_run(World *world, uint64_t steps);
bool group_run(World *world, uint64_t steps);
