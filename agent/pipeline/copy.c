/* The initial copy, beside the stream. Each reader is one thread with one connection in the shared
 * snapshot: it reads ranges of a table, and encodes them into files of its own, so that no row
 * crosses a thread. What it has written after some ranges is a piece, which the table's writer
 * thread joins to what it commits next; how far the copy is stands in the table with it. So after a
 * crash only what no commit holds is read again, in a new snapshot, and meanwhile every table, new
 * or old, has each change of the stream as soon as ever: nothing waits for a copy, neither the
 * other tables nor the source's log.
 *
 * Why that gives the source's table in the end. A table begins at L, where its first snapshot was
 * taken, and applies every change behind L, in order, by key; a restart goes on from its claim. A
 * piece shows rows as of a snapshot S that is no older than the claim when the process began. When
 * a piece joins, a row whose key is known to the table gives way: a key is known if a row of it
 * stands there, or if the stream deleted it since the process began (the index remembers). For any
 * key:
 *
 *   - No change behind L concerns it. Its row stands in one place, in one range, and comes with
 *     whatever snapshot that is read in. (VACUUM FULL and the like, which move rows unchanged, give
 *     the part's file another number: it is read anew.)
 *   - A change behind L does. Take the latest one, at C. If the stream has applied it, the table
 *     says what C says: no piece overrides a known key, and if C deleted it, then either this
 *     process remembers, or C is before the claim it began with, so that no snapshot of it shows
 *     the row. If the stream has not, it will. Whatever a piece brought until then, of the same key
 *     from two snapshots because an UPDATE moved the row from one range to another, or nothing
 *     because it went from an unread range to a read one, is replaced by C.
 *
 * So the table is right once the stream has passed every snapshot that a piece was read in. Then,
 * and not before, a commit says that the copy is complete. A change of key is a deletion and a row.
 * An unchanged TOAST value comes from the source by key (capture/postgres/toast.c); if it has
 * changed there since, a later change brings it. TRUNCATE ends a copy: what is behind it comes by
 * the stream.
 *
 * Append tables hold changes, not rows by key: theirs begins anew (FollowOptions.copy_whole).
 *
 * Columns. COPY gives the rows of a snapshot the columns of today's catalog, whatever they had
 * then, and the stream gives a change those of its own moment. So every range is read with the
 * columns that were found when the flow began, under a lock that keeps them; the stream's changes
 * have the same, or else the copy is outdated: whoever finds out first (a reader before a range,
 * the stream at a change, table_open when it is to go on) ends the flow, or has it not go on, and
 * the copy of that table begins anew with the columns of then. Once it is complete they are
 * followed, and no piece ever meets columns that it was not written with. */
#include <stdlib.h>
#include <string.h>

#include "agent/pipeline/flow.h"
#include "agent/supervise/copying.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define PIECE_US 30000000 /* what a reader wrote for so long is joined, however little it is */
#define PUT_MS 100
#define REPORT_US 30000000

typedef struct CopyTable {
    BoundTable *bound;
    CopyRange *ranges;
    size_t range_count;
    size_t next; /* the next range to hand out */
} CopyTable;

typedef struct Reader {
    CopyRun *run;
    CopyReader *capture;
    Thread *thread;
    /* the piece being written */
    CopyTable *table; /* NULL: none */
    TableCopy *files;
    TableCopyWriter *writer;
    Extent *extents;
    size_t extent_count, extents_held;
    size_t range_count;
    int64_t since_us;
} Reader;

struct CopyRun {
    Flow *flow;
    CopyTable *tables;
    size_t table_count;
    size_t current; /* tables before it have handed out every range */
    Reader *readers;
    size_t reader_count;
    pthread_mutex_t lock; /* over the figures above and below */
    CopyPace pace;
    int64_t started_us, report_us;
};

void piece_free(Piece *piece)
{
    if (!piece)
        return;
    table_copy_free(piece->files);
    free(piece->extents);
    free(piece);
}

static bool copy_over(const void *context)
{
    const CopyRun *run = context;
    return flow_failed(run->flow) || flow_stopping(run->flow);
}

static bool cancelled(Error *err)
{
    return error_set(err, ERROR_RETRY, "Cancelled", "the copy was stopped");
}

/* ---------- the readers ---------- */
/* The next range of any table; NULL when there is none. */
static CopyTable *range_take(CopyRun *run, CopyRange *ret)
{
    CopyTable *found = NULL;
    pthread_mutex_lock(&run->lock);
    for (; run->current < run->table_count && !found; run->current += !found) {
        CopyTable *table = &run->tables[run->current];
        BoundCopy *copy = &table->bound->copy;
        atomic_fetch_add(&copy->reading, 1); /* first: flow_copy_due looks the other way round */
        if (table->next < table->range_count && !atomic_load(&copy->over)) {
            *ret = table->ranges[table->next++];
            found = table;
        } else {
            atomic_fetch_sub(&copy->reading, 1);
        }
    }
    pthread_mutex_unlock(&run->lock);
    return found;
}

static void report_if_due(CopyRun *run)
{
    Flow *flow = run->flow;
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&run->lock);
    bool due = now_us >= run->report_us;
    if (due)
        run->report_us = now_us + REPORT_US;
    pthread_mutex_unlock(&run->lock);
    if (!due)
        return;
    CopyFigures all;
    progress_copy(flow, &all);
    double seconds = (double)(now_us - run->started_us) / 1e6;
    log_info("copying", LOG_U("tables", all.tables), LOG_U("rows", all.rows),
             LOG_U("rows_estimate", all.rows_estimate), LOG_U("bytes", all.bytes),
             LOG_U("bytes_estimate", all.bytes_estimate),
             LOG_F("rows_per_second", seconds > 0 ? (double)all.rows / seconds : 0));
}

static bool range_read(Reader *reader, const CopyRange *range, Error *err)
{
    CopyRun *run = reader->run;
    BoundTable *bound = reader->table->bound;
    if (!capture_copy_begin(reader->capture, range, err))
        return false;
    for (;;) {
        AUTO(batch_free) Batch *batch = NULL;
        if (copy_over(run))
            return cancelled(err);
        if (!capture_copy_next(reader->capture, &batch, err))
            return false;
        if (!batch)
            break;
        if (!table_copy_put(reader->writer, batch, err))
            return false;
        copying_put_rows(&bound->copy.count, batch->row_count);
        atomic_fetch_add(&run->flow->rows, batch->row_count);
        metric_add(bound->metrics.changes, batch->row_count);
        report_if_due(run);
        copying_pace(&run->pace, batch->row_count, copy_over, run);
    }
    copying_put_range(&bound->copy.count, range);
    return true;
}

static void piece_start(Reader *reader, CopyTable *table, Error *err)
{
    reader->table = table;
    reader->files = table_copy_start(table->bound->table);
    reader->writer = table_copy_writer_open(reader->files, err);
    reader->since_us = clock_mono_us();
    reader->range_count = reader->extent_count = 0;
}

static void piece_add(Reader *reader, const CopyRange *range)
{
    reader->range_count++;
    if (!range->extent.version) /* it could not be told whether it is the same later */
        return;
    if (reader->extent_count == reader->extents_held) {
        reader->extents_held = reader->extents_held ? reader->extents_held * 2 : 8;
        reader->extents =
            mem_regrow(reader->extents, reader->extents_held, sizeof *reader->extents);
    }
    reader->extents[reader->extent_count++] = range->extent;
}

static bool piece_due(const Reader *reader)
{
    return table_copy_bytes(reader->writer) >= reader->table->bound->spec->file_target_bytes ||
           clock_mono_us() - reader->since_us >= PIECE_US;
}

/* The files are whole; over to the table's writer thread. */
static bool piece_finish(Reader *reader, Error *err)
{
    Flow *flow = reader->run->flow;
    BoundTable *bound = reader->table->bound;
    if (!table_copy_finish(reader->writer, err))
        return error_wrap(err, "table %s", bound->name);
    CRASH_POINT("copy-table-read");
    table_copy_writer_free(TAKE(reader->writer));
    reader->table = NULL;
    Piece *piece = mem_zalloc(sizeof *piece);
    piece->files = TAKE(reader->files);
    piece->extents = TAKE(reader->extents);
    piece->extent_count = reader->extent_count;
    piece->range_count = reader->range_count;
    reader->extents_held = 0;
    Item *item = mem_zalloc(sizeof *item);
    *item = (Item){.kind = ITEM_PIECE, .table = bound, .piece = piece};
    Writer *writer = &flow->writers[bound->number % flow->writer_count];
    for (;;) {
        QueueResult result = queue_put(writer->queue, item, sizeof *item, PUT_MS);
        if (result == QUEUE_OK)
            return true;
        if (result == QUEUE_CLOSED || copy_over(reader->run)) {
            piece_free(piece);
            free(item);
            return cancelled(err);
        }
    }
}

static bool work(Reader *reader, Error *err)
{
    for (;;) {
        CopyRange range;
        CopyTable *next = range_take(reader->run, &range);
        if (reader->table && next != reader->table && !piece_finish(reader, err))
            return false;
        if (!next)
            return true;
        if (!reader->table) {
            piece_start(reader, next, err);
            if (!reader->writer)
                return false;
        }
        bool ok = range_read(reader, &range, err);
        atomic_fetch_sub(&next->bound->copy.reading, 1);
        if (!ok)
            return error_wrap(err, "copy of %s", next->bound->name);
        piece_add(reader, &range);
        if (piece_due(reader) && !piece_finish(reader, err))
            return false;
    }
}

static void reader_run(void *argument)
{
    Reader *reader = argument;
    Error err = {0};
    if (!work(reader, &err) && !flow_stopping(reader->run->flow))
        flow_fail(reader->run->flow, &err);
    /* its snapshot holds up VACUUM, and its locks DDL: no longer than needed */
    pthread_mutex_lock(&reader->run->lock);
    CopyReader *capture = TAKE(reader->capture);
    pthread_mutex_unlock(&reader->run->lock);
    capture_copy_reader_free(capture);
}

/* ---------- the table's writer thread ---------- */
bool flow_copy_piece(BoundTable *table, Piece *piece, Error *err)
{
    BoundCopy *copy = &table->copy;
    if (atomic_load(&copy->over))
        return true; /* void: the table was emptied since */
    ASSERT(copy->active && follow_is_settled(&table->follow));
    ASSERT(piece->range_count <= copy->ranges_left);
    copy->ranges_left -= piece->range_count;
    for (size_t i = 0; i < piece->extent_count; i++)
        extents_add(&copy->done, piece->extents[i]);
    AUTO(mem_free) char *text = extents_format(&copy->done);
    table_copy_set_progress(table->table, text);
    follow_piece(&table->follow, clock_mono_us());
    return table_copy_take(table->table, TAKE(piece->files), err) ||
           error_wrap(err, "table %s", table->name);
}

void flow_copy_truncated(BoundTable *table)
{
    if (!table->copy.active || table->spec->mode != MODE_UPSERT)
        return;
    atomic_store(&table->copy.over, true);
    table->copy.ranges_left = 0;
    table->copy.done.until = 0;
}

bool flow_copy_due(BoundTable *table)
{
    BoundCopy *copy = &table->copy;
    Follow *follow = &table->follow;
    if (!copy->active || !follow_is_settled(follow))
        return false;
    RowPosition until = {.major = copy->done.until};
    if (!copy->ends && copy->ranges_left == 0 && !atomic_load(&copy->reading) &&
        row_position_compare(follow->checkpoint, until) >= 0) {
        copy->ends = true;
        table_copy_set_progress(table->table, COPY_COMPLETE);
        follow_piece(follow, clock_mono_us());
    }
    return copy->ends;
}

void flow_copy_committed(Flow *flow, BoundTable *table)
{
    BoundCopy *copy = &table->copy;
    if (!copy->active)
        return;
    if (table->begins)
        supervised_copy_begun(&flow->pipeline->base, table->name);
    table->begins = false;
    if (table_copy_progress(table->table))
        return;
    copy->active = false;
    capture_copied(flow->capture, table->number);
    flow_fills(flow, table);
    atomic_fetch_sub(&flow->copying, 1);
    copying_end(&copy->count, table->name);
}

/* ---------- beginning and end ---------- */
static int larger_first(const void *a, const void *b)
{
    const CopyTable *left = a, *right = b;
    return copying_larger_first(left->bound->source, right->bound->source);
}

/* What is left to be read of a table; how much that is. */
static bool table_plan(Flow *flow, CopyTable *table, Error *err)
{
    BoundTable *bound = table->bound;
    BoundCopy *copy = &bound->copy;
    const char *progress = table_copy_progress(bound->table);
    copy->active = true;
    if (!bound->begins && !extents_parse(progress, &copy->done, err)) {
        err->kind = ERROR_CONFIG;
        return error_wrap(err, "table %s, property firn.copy.%s; load it again with --resnapshot",
                          bound->name, bound->unit);
    }
    bool wanted = flow->pipeline->connector->snapshot_mode != SNAPSHOT_NEVER || !bound->begins;
    if (wanted && !capture_copy_plan(flow->capture, bound->number,
                                     copying_range_bytes(flow->pipeline->connector, bound->source),
                                     &copy->done, &table->ranges, &table->range_count, err))
        return false;
    copy->ranges_left = table->range_count;
    /* Places of another server's say nothing here. */
    bool elsewhere = strcmp(bound->then.source, bound->now.source) != 0;
    if (table->range_count || bound->begins || elsewhere)
        copy->done.until = flow->copied.at.major;
    if (bound->begins) {
        AUTO(mem_free) char *text = extents_format(&copy->done);
        table_copy_begin(bound->table, flow->copied.at);
        table_copy_set_progress(bound->table, text);
        follow_begin(&bound->follow, flow->copied.at, clock_mono_us());
    }
    copying_begin(&copy->count, bound->name, bound->source, bound->begins, table->ranges,
                  table->range_count);
    atomic_fetch_add(&flow->copying, 1);
    return true;
}

static bool readers_open(CopyRun *run, Error *err)
{
    size_t ranges = 0;
    for (size_t i = 0; i < run->table_count; i++)
        ranges += run->tables[i].range_count;
    size_t wanted = run->flow->pipeline->connector->snapshot_parallelism;
    wanted = wanted < ranges ? wanted : ranges;
    run->readers = mem_array(wanted, sizeof *run->readers);
    for (; run->reader_count < wanted; run->reader_count++) {
        Reader *reader = &run->readers[run->reader_count];
        reader->run = run;
        reader->capture = capture_copy_reader_open(run->flow->capture, err);
        if (!reader->capture)
            return false;
    }
    return true;
}

bool flow_copy_open(Flow *flow, Error *err)
{
    CopyRun *run = flow->copy = mem_zalloc(sizeof *run);
    run->flow = flow;
    run->started_us = clock_mono_us();
    run->report_us = run->started_us + REPORT_US;
    copying_pace_init(&run->pace, flow->pipeline->connector);
    pthread_mutex_init(&run->lock, NULL);
    run->tables = mem_array(flow->table_count, sizeof *run->tables);
    for (size_t i = 0; i < flow->table_count; i++)
        if (!flow->tables[i].complete)
            run->tables[run->table_count++].bound = &flow->tables[i];
    qsort(run->tables, run->table_count, sizeof *run->tables, larger_first);
    if (run->table_count)
        flow_phase(flow, PHASE_SNAPSHOTTING);
    for (size_t i = 0; i < run->table_count; i++)
        if (!table_plan(flow, &run->tables[i], err))
            return false;
    return readers_open(run, err) && capture_copy_done(flow->capture, err);
}

void flow_copy_start(Flow *flow)
{
    CopyRun *run = flow->copy;
    for (size_t i = 0; i < run->reader_count; i++)
        run->readers[i].thread = thread_start("copy", reader_run, &run->readers[i]);
}

void flow_copy_join(Flow *flow)
{
    CopyRun *run = flow->copy;
    for (size_t i = 0; run && i < run->reader_count; i++) {
        Reader *reader = &run->readers[i];
        if (!reader->thread)
            continue;
        pthread_mutex_lock(&run->lock);
        if (reader->capture)
            capture_copy_cancel(reader->capture);
        pthread_mutex_unlock(&run->lock);
        thread_join(TAKE(reader->thread));
    }
}

void flow_copy_close(Flow *flow)
{
    CopyRun *run = flow->copy;
    if (!run)
        return;
    for (size_t i = 0; i < run->reader_count; i++) {
        Reader *reader = &run->readers[i];
        ASSERT(!reader->thread);
        capture_copy_reader_free(reader->capture);
        table_copy_writer_free(reader->writer);
        table_copy_free(reader->files);
        free(reader->extents);
    }
    for (size_t i = 0; i < run->table_count; i++)
        free(run->tables[i].ranges);
    for (size_t i = 0; i < flow->table_count; i++)
        extents_done(&flow->tables[i].copy.done);
    copying_pace_done(&run->pace);
    pthread_mutex_destroy(&run->lock);
    free(run->readers);
    free(run->tables);
    free(run);
}
