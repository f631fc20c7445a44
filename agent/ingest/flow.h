/* One attempt, seen by the files of this folder alone. A Feed is one table's; its thread owns it,
 * but for the committer's part and the atomics. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/commit/coordinator.h"
#include "agent/commit/piece.h"
#include "agent/commit/worker.h"
#include "agent/event/event.h"
#include "agent/ingest/control.h"
#include "agent/ingest/ingest.h"
#include "agent/kafka/channel.h"
#include "agent/kafka/member.h"
#include "agent/kafka/producer.h"
#include "agent/lake/lake.h"
#include "agent/relay/state.h"
#include "agent/table/table.h"
#include "agent/topic/registry.h"
#include "common/thread.h"

#define BUFFERS_MAX ((size_t)28 << 20) /* of all tables' files being written … */
#define QUEUES_MAX ((size_t)12 << 20)  /* … and of what is fetched ahead */
#define SHARE_LEAST ((size_t)4 << 20)  /* of a table, however many there are */

typedef struct Ingest {
    Supervised base;
    const Manifest *manifest;
    const StreamSpec *stream;
    const char *unit;               /* NULL: all */
    const char *asked_unit;         /* whose table Supervised's unit request is of; NULL: none's */
    const IngestionUnitSpec *alone; /* the topic is this unit's own; NULL: the Connector's topics */
    ConnectorSpec in_place_of;      /* … what agent/supervise calls it by; borrowed texts */
    size_t buffers_max, queue_max;  /* of each table */
    /* Columns that records had and the latest schema does not tell of, by the source's table; under
     * base.lock. */
    struct LearntColumns {
        char *name;
        Schema *columns;
    } * learnt;
    size_t learnt_count;
    /* What topics take at most whose settings the cluster does not tell, by what it refused; under
     * base.lock. */
    struct LearntSize {
        char *topic;
        uint64_t bytes;
    } * sizes;
    size_t size_count;
} Ingest;

/* ingest.c. For the attempts to come. CONFIG "SchemaIncompatible" where a column had another type.
 */
MUST_CHECK bool ingest_learn(Ingest *ingest, const char *name, const Schema *columns, Error *err);
/* Those of the table; NULL: there are none. */
Schema *ingest_learnt(Ingest *ingest, const char *name) OWNED_BY(schema_free);
void ingest_forget(Ingest *ingest, const char *name);

/* ---------- committer.c ---------- */
typedef enum CommitJobKind { JOB_LOAD, JOB_COMMIT, JOB_RESEND, JOB_FORGET } CommitJobKind;
typedef struct CommitJob {
    CommitJobKind kind;
    uint64_t ticket;
    int64_t head, commit;
    Barrier barrier;
    PieceName *pieces; /* of rows, in the order in which they are taken; owned */
    size_t piece_count;
    LaneValue *lanes; /* of the table after it; of LOAD, to which it goes first, on `head`; owned */
    uint32_t lane_count;
    char source[POSITION_SOURCE_BYTES];
    /* LOAD with lanes: what table_set_asked says (`done` is owned), and the snapshot whose rows it
     * goes back to; 0: it keeps those that it has. */
    const char *what;
    char *done;
    int64_t snapshot;
} CommitJob;
void commit_job_free(CommitJob *job);

typedef struct CommitResult {
    CommitJobKind kind;
    uint64_t ticket;
    bool ok; /* LOAD: loaded. Else `answer` says */
    TableView view;
    char source[POSITION_SOURCE_BYTES]; /* what the view points to */
    LaneValue *lanes;                   /* owned */
    char *replayed;                     /* what it says of replays; NULL: nothing; owned */
    char *requested;                    /* and of what the request is for; likewise */
    /* LOAD, of a rollback that is not done: where it leads, or why nowhere. */
    int64_t back_snapshot;
    LanePosition back; /* owned */
    Error back_error;
    CommitAnswer answer;
    int64_t id, sequence;
    Error error; /* of what is not ok, or not done */
} CommitResult;
void commit_result_free(CommitResult *result);

typedef struct Committer Committer;
typedef struct CommitterOptions {
    const LakeTableSpec *spec;
    const char *unit, *name;
    const char *ordering; /* TableOptions' */
    const char *replay;   /* the id of what is to be read once more; NULL: nothing */
    const UnitRequest *request;
    const Schema *columns;
} CommitterOptions;
void committer_stop(Committer *committer);
/* The options' contents outlive it. */
Committer *committer_start(const CommitterOptions *options);
void committer_ask(Committer *committer, CommitJob *job); /* takes the job; one at a time */
/* NULL: nothing yet. False: the table can't go on. */
MUST_CHECK bool committer_take(Committer *committer, CommitResult **ret, Error *err);
void committer_figures(Committer *committer, TableFigures *ret);

/* ---------- a table ---------- */
/* The first row of a piece that is not known to be in the table. */
typedef struct PieceMark {
    uint64_t offset, piece;
    int64_t written_us; /* wall clock */
} PieceMark;

typedef struct FeedLane {
    TableStage *stage; /* of the open piece; NULL: no row yet */
    Batch *batch;      /* rows of it that are not put yet; NULL: none */
    size_t batched;    /* their bytes, as counted in the feed's */
    bool paused;       /* at the consumer */
    bool seek_due;
    uint64_t seek_next;
    PieceMark marks[GROUP_CHAIN_MAX + 1]; /* the oldest first */
    uint32_t mark_count;
    uint64_t read_next; /* behind what was heard of the partition last; 0: nothing yet */
} FeedLane;

/* Of the topic that others fill, what firn_topic_retention_status says: the greatest counts. */
typedef enum FeedRetention {
    RETENTION_UNKNOWN,
    RETENTION_KEPT,    /* for as long as is needed */
    RETENTION_HURRIED, /* the table is committed more often than its commitInterval for it */
    RETENTION_LIMITED, /* in bytes, though a time is declared */
    RETENTION_SHORT,   /* for less than is declared */
} FeedRetention;

typedef struct FeedMetrics {
    Metric *records, *unrouted, *forwarded, *rows, *commits, *table_rows, *dead_letters, *lanes,
        *coordinates, *committed, *upkeep, *freshness, *freshness_asked, *lag, *retention;
} FeedMetrics;

typedef struct Feed {
    Ingest *ingest;
    char *name, *unit; /* "public.orders", of a route its LakeTable's; "retail/orders" */
    char *topic;
    LakeTableSpec *made;       /* from a pattern; owned; else NULL */
    const LakeTableSpec *spec; /* NULL: it has no table, but … */
    const char *to_topic;      /* … this topic to go to */
    const char
        *ordering; /* the column that says which version of a row is newer; NULL: the topic */
    const RouteList *routes; /* the unit's, of which this is one; NULL: it has none */
    size_t route;
    bool some_upserts;       /* some route's table */
    const StreamSpec *own;   /* what its unit says of the topic that others fill; NULL: nothing */
    char *dead_letter;       /* the topic of records that can't be read; NULL: they end the flow */
    bool letters_whole;      /* … which fills a table: as letter_table.c reads them */
    bool of_letters;         /* it is this table's */
    const TableState *state; /* as the Connector says; its partitions count */
    const UnitRequest *request; /* where its table is to go on from; kind NOTHING: as it stands */
    bool request_settled;       /* it is done, or refused */
    bool is_asked;              /* it is of the unit that Supervised's request is for */
    char *value_schema, *key_schema; /* of JSON without schemas; NULL: not known */
    uint32_t version;                /* of the columns they tell of; 0: not known */
    Thread *thread;
    atomic_bool ended;
    bool ok;
    Error error;
    atomic_bool *leaves; /* another one has ended: so does this */
    atomic_uint_fast64_t rows, commits;
    atomic_bool reads; /* the table's position is known, and the topic is read */
    FeedMetrics metrics;

    Registry *registry;
    EventReader *reader;
    EventRoute *event_routes; /* the routes, as `reader` has them */
    bool has_unrouted;        /* the log says so */
    struct Letters *letters;  /* NULL: none was needed yet */
    Schema *columns;
    uint32_t ordering_at; /* in columns; with `ordering` */
    Lake *lake;
    Table *table; /* that pieces are staged for; NULL: not opened yet */
    KafkaMember *member;
    KafkaChannel *channel;
    Committer *committer;
    bool asked;      /* the committer is at work */
    bool forget_due; /* it is to let the table go */
    Worker worker;
    WorkerLane *worker_lanes;
    FeedLane *lanes;
    uint32_t lane_count;
    Coordinator coordinator;
    CoordinatorLane *coordinator_lanes;
    LaneValue *values;
    bool coordinates;
    bool has_claim; /* as loaded: its first offsets need not be asked for */
    bool unsure;    /* something was heard since feed_topic_stands said yes */
    int64_t look_us;
    Control heard;
    Bytes words;
    size_t batched;         /* bytes of all lanes' rows that are not put yet */
    int64_t drain_until_us; /* 0: it does not drain */
    uint64_t drain_commits;
    bool drained;
    int64_t freshness_ms;         /* what the unit's sla asks for; 0: nothing */
    atomic_int_fast64_t stale_us; /* age of the oldest record that is not in the table; 0: none */
    bool is_late;                 /* it is older than asked for, and the log says so */
    int64_t show_us;
} Feed;

static inline bool feed_stopping(const Feed *feed)
{
    return atomic_load_explicit(&feed->ingest->base.stop, memory_order_relaxed) ||
           atomic_load_explicit(feed->leaves, memory_order_relaxed);
}
static inline const char *ingest_kafka_field(const Ingest *ingest)
{
    return ingest->alone ? "spec.kafka" : "spec.stream.kafka";
}

/* feed.c */
void feed_run(void *feed); /* the thread */
char *feed_group_name(const Feed *feed) OWNED_BY(free);

/* The member of the table's group; `next` gets the feed. */
MUST_CHECK bool feed_open_member(Feed *feed,
                                 bool (*next)(void *context, uint32_t partition, uint64_t *ret),
                                 Error *err);

/* Is the topic still the one that was opened? False: RETRY, the flow begins again and sees what is
 * there now. `sure`: before what was heard is passed; else, every few seconds, for one that nothing
 * is heard of any more, and who can't tell is asked again. */
MUST_CHECK bool feed_topic_stands(Feed *feed, bool sure, Error *err);

/* forward.c */
void feed_forward(void *feed); /* the thread of one that goes to a topic */

/* topics.c */
#define FEED_BATCH_BYTES ((uint64_t)64 << 10) /* the least that it has to take */
typedef struct FeedTopic {
    const char *name;
    const char *what;        /* goes there; for a message */
    uint32_t partitions;     /* that it is made with; then those that it has */
    bool deletes;            /* it must not be compacted */
    uint64_t made_bytes_max; /* KafkaTopicSpec's */
    uint64_t record_bytes_max;
    bool is_told; /* … by the cluster; else nothing larger was refused so far */
    KafkaTopic *topic;
} FeedTopic;
/* Made if it is missing. */
MUST_CHECK bool feed_open_topic(Ingest *ingest, const FeedTopic *wanted, KafkaProducer *producer,
                                FeedTopic *ret, Error *err);
/* *err is the producer's. Where that is for the size of what was sent, of a topic whose settings
 * are not told, the attempts to come send nothing so large; CONFIG "TopicDiffers" where it takes
 * less than it has to. */
void feed_learn_size(Ingest *ingest, const FeedTopic *topic, const KafkaProducer *producer,
                     Error *err);

/* columns.c: reader and columns. RETRY while they are not known yet. */
MUST_CHECK bool feed_learn_columns(Feed *feed, Error *err);
void feed_routes_free(Feed *feed);
/* Of JSON with these columns, of the events and the route that are asked for. */
EventReader *feed_json_reader(Feed *feed, const Schema *columns, Error *err)
    OWNED_BY(event_reader_free);

/* fit.c: what the columns are that rows get. */
/* The columns of `more` join. CONFIG "SchemaIncompatible" where one has another type that neither
 * widens to. */
MUST_CHECK bool feed_join_columns(Schema **to, const Schema *more, Error *err);
/* What a table that lacks some of them is given, and what it has, are told apart by these. */
void feed_name_columns(Schema *columns);
/* Do records that the table can't follow go to the dead letters? */
bool feed_keeps_going(const Feed *feed);
/* … then feed->columns become the table's, with all of them that it can follow. */
MUST_CHECK bool feed_fit_columns(Feed *feed, Error *err);
/* Can the open table get what these columns have beyond feed->columns? CONFIG "SchemaIncompatible"
 * says why not. */
MUST_CHECK bool feed_can_follow(const Feed *feed, const Schema *found, Error *err);

/* letter_table.c: the table of dead letters, from the topic that they go through. */
char *feed_letters_topic(const IngestionUnitSpec *unit) OWNED_BY(free);
Schema *feed_letter_columns(void) OWNED_BY(schema_free);
/* A row of the batch; false: it is no letter. */
bool feed_letter_row(const KafkaHeard *heard, Batch *batch);

/* letters.c: a record that can't be read goes to the dead letters, whole, and the flow goes on
 * behind it. Gathered until somebody could pass it: before a report says what this consumer has
 * read, feed_letters_settle waits until its letters are durable. So none is lost; one is there
 * again where the record is read again (a restart, another consumer). */
void feed_letters_free(Feed *feed);
/* Does the unit say where it goes, and is it the record that is at fault? */
bool feed_is_dead(const Feed *feed, const Error *why);
MUST_CHECK bool feed_put_letter(Feed *feed, const KafkaHeard *heard, const Error *why, Error *err);
MUST_CHECK bool feed_letters_settle(Feed *feed, Error *err);
/* The topic of a table of dead letters is there. */
MUST_CHECK bool feed_letters_prepare(const Feed *feed, Error *err);

/* lanes.c */
/* Without what Firn's headers say. */
static inline EventRecord feed_record(const KafkaHeard *heard)
{
    return (EventRecord){.key = heard->key,
                         .key_bytes = heard->key_bytes,
                         .value = heard->value,
                         .value_bytes = heard->value_bytes,
                         .offset = heard->offset,
                         .written_ms = heard->timestamp_ms,
                         .partition = heard->partition};
}
/* Behind all rows and markers up to the source's position. */
static inline RowPosition feed_place_behind(RowPosition at)
{
    return (RowPosition){at.major, at.minor * 4 + 3};
}
void feed_lanes_free(Feed *feed);
bool feed_lane_next(void *feed, uint32_t partition, uint64_t *ret); /* for KafkaMember */
MUST_CHECK bool feed_take(Feed *feed, const KafkaHeard *heard, Error *err);
/* What the worker wants done; lanes that can be read again are. */
MUST_CHECK bool feed_work(Feed *feed, Error *err);

/* A record of the lane became a row of the piece. */
void feed_mark(FeedLane *lane, uint64_t offset, uint64_t piece, int64_t written_ms);
/* How far the partition was read. */
void feed_heard(Feed *feed, const KafkaHeard *heard);
void feed_show(Feed *feed); /* how fresh the table is */
void feed_tell(Feed *feed, int64_t stale_us);

/* rewind.c: a table that was loaded in this term first, and may have to go on from elsewhere.
 * *ret_asked: the committer takes it there, and loads it again. */
MUST_CHECK bool feed_rewind(Feed *feed, const CommitResult *result, bool *ret_asked, Error *err);

/* group.c */
MUST_CHECK bool feed_dealt(Feed *feed, Error *err); /* partitions were dealt out */
MUST_CHECK bool feed_group(Feed *feed, Error *err); /* words heard, answers, what is due */
/* Where a partition begins of which nothing is committed yet. */
MUST_CHECK bool feed_find_starts(Feed *feed, uint64_t *starts, Error *err);
void feed_report(Feed *feed, const Report *report);
bool feed_drains(Feed *feed); /* false: there is nothing more to wait for */
