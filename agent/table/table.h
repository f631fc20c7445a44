/* A lake table as the pipeline sees it: rows in, snapshots out. It joins the key index, the Parquet
 * writers and the Iceberg commit; it knows neither source nor queue.
 *
 * Upsert: the primary-key index (index.h) gives for every live key (file, position[, row id]); an
 * update or delete becomes a deleted position of that file, of any age: v3 one deletion vector per
 * data file, v2 position delete files. Within one batch only the last version of a key is written.
 * In v3 an updated row keeps its _row_id. Append: every change is a row, with two columns more:
 * _firn_op ("r", "c", "u", "d", "t") and _firn_position
 * ("%016X.%016X" of the row's position, sorts in order); all but these two are optional then (a
 * truncate's row has no key). A change of key is "d" of the old key, then "u" of the new one.
 *
 * A Table belongs to one thread at a time, but for TableCopy's writers (one thread each).
 *
 * Rules it keeps:
 *  - A row that is copied gives way to what is known of its key (upsert.h).
 *  - The position is in the snapshot's summary ("firn.position.<unit>") and, same commit, in the
 * table property of that name as "<position> <snapshot id>": the table's claim.
 *  - A row at or before the table's position is dropped (a restart repeats).
 *  - It decides nothing about commits: what comes after an answer is agent/commit's to say. */
#pragma once

#include "agent/catalog/catalog.h"
#include "agent/commit/commit.h"
#include "agent/commit/lanes.h"
#include "agent/record/batch.h"
#include "common/manifest/manifest.h"

typedef struct Table Table;

/* What the table says of itself in its properties: everything up to `position` is in it. */
typedef struct TableClaim {
    bool is_there;
    bool copying; /* of the changes alone: rows of before are still missing */
    Position position;
    int64_t snapshot; /* that made it true */
} TableClaim;

typedef struct TableOptions {
    const LakeTableSpec *spec; /* outlives the table */
    const char *unit;     /* "<namespace>/<name>" of the ingestion unit, for the property's name */
    const Schema *source; /* the source's columns and key; outlives the table */
    const char *shape; /* the same in the source's own words, a JSON object that stands in the table
                          property firn.columns.<unit>; NULL: it has none. Outlives the table */
    /* The table is complete up to the claim, whose anchor was kept with it (NULL: none), with the
     * source's columns as `shape` says (NULL: it does not say): *source and *ret_shape become what
     * rows after it begin with. May be NULL. */
    bool (*resume)(void *context, const char *shape, const TableClaim *claim, const char *anchor,
                   const Schema **source, const char **ret_shape, Error *err);
    /* A copy that is not finished goes on only with the columns that it began with: are the
     * source's those of `shape`? NULL: they are. Where they are not, or with copy_whole, the table
     * is opened with the source's columns, to be copied from the first row: views say `outdated`.
     */
    bool (*same)(void *context, const char *shape);
    void *resume_context; /* of both */
    bool copy_whole;
    Catalog *catalog;        /* says where the table's files are, too */
    const char *warehouse;   /* canonical URI; the table's root is <warehouse>/<database>/<table>
                                unless spec->location. NULL: the catalog chooses */
    size_t memory_bytes_max; /* of open files' buffers */
    bool resnapshot;         /* whatever the table says of its position, it is to be copied again */
    const char *resnapshot_id; /* likewise, unless that was done for this id already: the table
                                  property firn.resnapshot.<unit>. NULL: none. Outlives the table */
    bool create;               /* when it is missing */
    bool leaves_version; /* one below the resource's stays for now: who commits will raise it */
    /* Its claim is of a topic's lanes (agent/commit/lanes.h), and what fills it are staged pieces
     * (below): table_send_lanes, not table_send. */
    bool lanes;
    /* With lanes, in Upsert: of two versions of a row that one counts which has the greater value
     * in this column of the source, whichever comes first; of equal ones the later; null is less
     * than any. Its type is one that table_can_order. A row that is deleted is gone, whichever its
     * version, and nothing is known of it. NULL: the later version counts. */
    const char *ordering;
} TableOptions;

/* Integers, decimals, dates, timestamps, strings of at most TABLE_ORDER_BYTES_MAX. */
bool table_can_order(const Type *type);
#define TABLE_ORDER_BYTES_MAX 256u

/* Pending rows are gone; written, uncommitted files are deleted, but not those of a commit whose
 * result is unknown (law 4). */
void table_close(Table *table);
/* Opens the table, or makes it. A missing one without `create` is CONFIG "TableMissing". An
 * existing one is checked: format version (a lower one is raised, see raise.c; a higher one, or a
 * catalog that does not raise it, is CONFIG "FormatVersion"), columns against the source's (CONFIG
 * "SchemaMismatch" names the column and both types), key (Upsert needs one: CONFIG "NoKey"). */
Table *table_open(const TableOptions *options, Error *err) OWNED_BY(table_close);
/* The format version that it had before table_open raised it; 0: it was not raised there. */
int table_raised_from(const Table *table);

/* The columns that the table has, but for mode Append's own two, as a source's that has them by
 * these names, without a key; *ret NULL: there is no table. Of the options spec, catalog and
 * warehouse count. */
MUST_CHECK bool table_own_columns(const TableOptions *options, Schema **ret, Error *err);

/* What the table has is, in the places of the source of now, everything up to `passed`: they may be
 * lower than those of the server that its claim is of. Before the first row. */
void table_adopt(Table *table, RowPosition passed);

/* The table as it was loaded last: its claim, whether `commit` (0: none) stands in the history of
 * its head, what others did since `head` (0: the empty table). What it points to lasts until the
 * next call. */
/* What was kept with the claim as the table has it now, for capture_adopt; NULL: nothing. */
char *table_anchor(const Table *table) OWNED_BY(free);
void table_view(Table *table, int64_t commit, int64_t head, TableView *ret);
/* Loads it again first. One that is gone, or another under the name, is a view that says so;
 * CONFLICT "SchemaChanged" when others changed its columns or partitions, "FormatVersion" when they
 * raised its format version above the resource's. */
MUST_CHECK bool table_look(Table *table, int64_t commit, int64_t head, TableView *ret, Error *err);
const char *table_uuid(const Table *table);
/* Is it to be copied again, as its options ask? */
bool table_resnapshots(const Table *table);
/* What rows are known by, as origins of the source's columns; none in Append without a key. */
int32_t *table_key(const Table *table, size_t *ret_count) OWNED_BY(free);

/* Removes the parts of uploads below the table's location that were begun before that moment (wall
 * clock) and never ended: their writer crashed. */
MUST_CHECK bool table_sweep_unfinished(Table *table, int64_t before_us, Error *err);

/* --- the initial copy: in pieces, each written by any number of writers side by side, while the
 * stream goes on. How far it is stands in the table property firn.copy.<unit>, set by the very
 * commits that bring the pieces; a table without the property, or with COPY_COMPLETE, has them all.
 * --- */
#define COPY_COMPLETE "complete"
typedef struct TableCopy TableCopy; /* one piece */
typedef struct TableCopyWriter TableCopyWriter;
/* What the table holds is void: the next commit takes it away. Rows at or before `at` are in the
 * pieces to come. A progress has to be set before that commit. */
void table_copy_begin(Table *table, RowPosition at);
/* The property as of the latest commit; NULL: the table is complete. */
const char *table_copy_progress(const Table *table);
/* The next commit, and every try of it, sets the property. COPY_COMPLETE: no piece will come. */
void table_copy_set_progress(Table *table, const char *progress);
void table_copy_free(TableCopy *copy); /* deletes its files. Before table_close */
/* Thread-safe, as everything of a piece up to table_copy_take: it touches nothing of the table that
 * putting and committing change. */
TableCopy *table_copy_start(Table *table) OWNED_BY(table_copy_free);
void table_copy_writer_free(TableCopyWriter *writer);
TableCopyWriter *table_copy_writer_open(TableCopy *copy, Error *err)
    OWNED_BY(table_copy_writer_free);
MUST_CHECK bool table_copy_put(TableCopyWriter *writer, const Batch *batch, Error *err);
MUST_CHECK bool table_copy_finish(TableCopyWriter *writer,
                                  Error *err);            /* files of this writer are whole */
uint64_t table_copy_bytes(const TableCopyWriter *writer); /* of its files so far */
/* Every writer has finished: the piece is the table's, and goes with the next commit. In Upsert a
 * row of it gives way to what the stream said of its key, or an earlier piece. */
MUST_CHECK bool table_copy_take(Table *table, TableCopy *copy, Error *err);

/* --- the stream --- */
/* Applies the batch's rows in order; the batch stays the caller's. The first call in Upsert builds
 * the index from the table. Values that are unchanged are filled in from the table's own rows, in
 * Upsert; RETRY "BaseRowMissing" when it has none: then they have to come with the batch. */
MUST_CHECK bool table_put(Table *table, const Batch *batch, Error *err);
/* Every row of before is gone (Upsert) or, in Append, a row with op "t" is added. */
MUST_CHECK bool table_truncate(Table *table, RowPosition position, Error *err);

/* Bytes that rows take which wait in files that are being written. */
size_t table_buffers(const Table *table);
/* Gives them back: these files end here, and are committed as the rest is. */
MUST_CHECK bool table_ease(Table *table, Error *err);
/* Bytes of large values of rows written lately, kept lest they are read again. */
size_t table_kept(const Table *table);
/* Gives them back. */
void table_forget(Table *table);

/* From here on batches have these columns; what was put before stays as it is, and both go into the
 * same commit, with the table's columns changed as schemaEvolution allows. CONFIG
 * "SchemaIncompatible" and "KeyChanged" name the column and the way out. Both outlive the table. */
MUST_CHECK bool table_evolve(Table *table, const Schema *source, const char *shape, Error *err);

/* Would table_evolve follow it? Nothing is changed. */
MUST_CHECK bool table_can_evolve(const Table *table, const Schema *source, Error *err);

typedef struct TableFigures {
    uint64_t pending_rows;  /* changes applied since the last commit */
    uint64_t pending_bytes; /* of files written or open */
    size_t memory_bytes;    /* index and buffers */
    uint64_t rows;          /* live rows as of the last commit */
    uint64_t commits;       /* by this process */
    uint64_t changes;       /* applied by this process, copy included */
    uint64_t filled;        /* values that updates left out, from the table's own rows */
    int64_t committed_us;   /* wall clock of the last commit; 0: none */
    bool thins;             /* commits expire its old snapshots */
    bool orphans_stay;      /* they are to be removed, and could not be: iceberg/turn.h */
} TableFigures;
void table_figures(const Table *table, TableFigures *ret);
/* As the metric firn_table_upkeep says it. */
#define TABLE_UPKEEP_HELP                                                                          \
    "Are old snapshots expired? 0 not known yet, 1 by its commits, 2 the table or its catalog "    \
    "does not let them, 3 by its commits, but files that no snapshot names can't be removed"
static inline double table_upkeep(const TableFigures *figures)
{
    return !figures->thins ? 2 : figures->orphans_stay ? 3 : 1;
}

/* --- a group: consumers stage pieces, one of them commits --- */
/* A piece's rows, on a consumer's side: data files, and what became of each key in the order of the
 * rows. stage_file.c has the object's format. The table was opened with `lanes`, is the consumer's
 * own, and outlives the stage. */
typedef struct TableStage TableStage;
void table_stage_free(TableStage *stage); /* deletes its files, unless it was finished */
/* name: of letters, digits and -, and no other's; its data files are called by it, too. CONFIG
 * "BadKey". */
TableStage *table_stage_new(Table *table, const char *name, Error *err) OWNED_BY(table_stage_free);
/* Does the table lack some of the columns that it was opened with (or has one narrower)? Then it is
 * as if it was opened with the others; table_evolve makes them with the next commit. Before
 * anything is staged. */
bool table_lacks_columns(const Table *table);
/* All rows of the batch. DATA "NullKey". */
MUST_CHECK bool table_stage_put(TableStage *stage, const Batch *batch, Error *err);
size_t table_stage_memory(const TableStage *stage);
MUST_CHECK bool table_stage_ease(TableStage *stage, Error *err); /* gives most of it back */
/* Everything is durable under its name, and no longer the stage's. */
MUST_CHECK bool table_stage_finish(TableStage *stage, Error *err);
/* The one that commits: the piece of that name goes with the next commit. Pieces of a lane are
 * taken in their order. CONFLICT "PieceOutdated" when it was written for other columns, or is gone.
 */
MUST_CHECK bool table_take_staged(Table *table, const char *name, Error *err);
/* Removes pieces, with their files, that were staged before that moment (wall clock) and that no
 * commit can take any more: `is_dead` says so by the name. A piece that was committed and whose
 * description is still there loses that alone. */
typedef bool TableStagedDead(void *context, const char *name);
MUST_CHECK bool table_sweep_staged(Table *table, int64_t before_us, TableStagedDead *is_dead,
                                   void *context, Error *err);

/* … and data files of such pieces that no snapshot holds: their consumer died before the piece had
 * its description. Lists all data files. */
MUST_CHECK bool table_sweep_undescribed(Table *table, int64_t before_us, TableStagedDead *is_dead,
                                        void *context, Error *err);

/* What was asked for by its id and done last, in a commit that said so: the property
 * firn.<what>.<unit>, what being "replay", "positions" or "rollback". NULL: nothing. As of the
 * latest look. */
const char *table_asked(const Table *table, const char *what);
/* The next commit, and every try of it, says that this is done. */
void table_set_asked(Table *table, const char *what, const char *value);

/* --- going back, of a table with `lanes` --- */
/* To a snapshot, or (snapshot 0) to the newest that the head stands on and that is no younger than
 * at_ms: which, and the lanes that the unit had committed up to there. CONFIG "SnapshotMissing",
 * "PositionMissing": that one, and those below it, do not say. */
MUST_CHECK bool table_find_back(const Table *table, int64_t snapshot, int64_t at_ms,
                                int64_t *ret_snapshot, LanePosition *ret, Error *err);
/* Makes the snapshot the head, with these lanes as the claim and what table_set_asked says.
 * Whatever the answer, only close is left; nothing may be pending. *err unless DONE. */
CommitAnswer table_roll_back(Table *table, int64_t snapshot, const char *source,
                             const LaneValue *lanes, uint32_t lane_count, Error *err);

/* --- committing: send, then as agent/commit says --- */
/* Makes everything pending one snapshot with `position` (all changes up to it have been put; its
 * anchor, or NULL, stands in the table's property firn.anchor.<unit>), on the head that was loaded
 * last. False: nothing was sent. True: *ret is the answer, *err its reason unless DONE, *ret_id the
 * snapshot's id, *ret_sequence (DONE) the table's last sequence number. Nothing may be put between
 * an answer other than DONE and what settles it. */
MUST_CHECK bool table_send(Table *table, const Position *position, const char *anchor,
                           CommitAnswer *ret, int64_t *ret_id, int64_t *ret_sequence, Error *err);
/* The same with the position of a topic's lanes. */
MUST_CHECK bool table_send_lanes(Table *table, const char *source, const LaneValue *lanes,
                                 uint32_t lane_count, CommitAnswer *ret, int64_t *ret_id,
                                 int64_t *ret_sequence, Error *err);
/* The very same commit once more. */
CommitAnswer table_resend(Table *table, int64_t *ret_sequence, Error *err);
/* table_look found the commit: what was pending is the table's. */
void table_found(Table *table);
/* What is pending is thrown away; its files too, if they may go. Only close is left. */
void table_abandon(Table *table, bool files_may_go);

DEFINE_AUTO(Table, table_close);
DEFINE_AUTO(TableCopy, table_copy_free);
DEFINE_AUTO(TableCopyWriter, table_copy_writer_free);
