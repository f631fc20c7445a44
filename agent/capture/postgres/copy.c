/* The copy: COPY … TO STDOUT (FORMAT binary) of ranges of ctid blocks, each reader on a connection
 * of its own in the exported snapshot. ctid is stable within a snapshot: a row version never moves.
 * The server reads only the range's blocks (TID range scan). Of a partitioned table each partition
 * is read by itself (plan.c).
 *
 *   header    "PGCOPY\n\377\r\n\0", Int32 flags (bit 16: oids, never now), Int32 extension length,
 *             the extension
 *   tuple     Int16 fields, then per field Int32 length (-1: null) and the value (decode.h)
 *   trailer   Int16 -1
 *
 * The server sends one CopyData message per tuple, the header before the first in the same message.
 * https://www.postgresql.org/docs/15/sql-copy.html */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/copy.h"
#include "agent/capture/postgres/plan.h"
#include "agent/capture/postgres/postgres.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

#define ROWS_PER_BATCH 8192
#define WAIT_MS_MAX 64
#define COMMAND_TIMEOUT_MS 60000
#define OIDS_FLAG (1u << 16)
#define LOCK_PAUSE_US 20000

bool copy_command(TableReader *reader, const char *sql, Error *err)
{
    AUTO(result_clear)
    PGresult *result = connect_query(reader->connection, PGRES_COMMAND_OK, sql, err);
    return result != NULL;
}

static bool enter_snapshot(TableReader *reader, Error *err)
{
    AUTO(mem_free) char *name = connect_literal(reader->postgres->snapshot);
    AUTO(mem_free) char *set = mem_format("SET TRANSACTION SNAPSHOT %s", name);
    return copy_command(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) &&
           copy_command(reader, set, err);
}

static bool goes_on(void *context)
{
    return !atomic_load(&((TableReader *)context)->cancelled);
}

TableReader *copy_reader_new(Postgres *postgres, Error *err)
{
    TableReader *reader = mem_zalloc(sizeof *reader);
    reader->base.driver = postgres->base.driver;
    reader->postgres = postgres;
    reader->wire.fd = -1;
    reader->patience = (Patience){goes_on, reader};
    size_t widest = 0;
    for (size_t i = 0; i < postgres->table_count; i++)
        if (postgres->sources[i].schema->field_count > widest)
            widest = postgres->sources[i].schema->field_count;
    reader->values = mem_array(widest, sizeof *reader->values);
    reader->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reader->wake_fd < 0)
        error_errno(err, ERROR_FATAL, "NoDescriptor", errno, "eventfd");
    else
        reader->connection = connect_open(postgres->spec, false, &reader->patience, err);
    if (!reader->connection) {
        copy_reader_free(&reader->base);
        return NULL;
    }
    message_init(&reader->wire, reader->connection, reader->wake_fd);
    return reader;
}

CopyReader *copy_reader_open(Capture *capture, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    ASSERT(postgres->snapshot);
    TableReader *reader = copy_reader_new(postgres, err);
    if (reader && enter_snapshot(reader, err))
        return &reader->base;
    if (reader)
        copy_reader_free(&reader->base);
    return NULL;
}

void copy_reader_free(CopyReader *base)
{
    TableReader *reader = (TableReader *)base;
    batch_free(reader->batch);
    wire_done(&reader->wire);
    connect_close(reader->connection);
    if (reader->wake_fd >= 0)
        close(reader->wake_fd);
    free(reader->values);
    free(reader);
}

void copy_cancel(CopyReader *base)
{
    TableReader *reader = (TableReader *)base;
    uint64_t one = 1;
    atomic_store(&reader->cancelled, true);
    ssize_t wrote = write(reader->wake_fd, &one, sizeof one);
    (void)wrote; /* full means it is awake already */
}

/* part NULL: all partitions through their root. */
static char *copy_sql(const PgTable *table, const PgPart *part, const Extent *extent)
{
    const char *only = part ? "ONLY " : "", *from = part ? part->quoted : table->quoted;
    if (extent->from == 0 && extent->to == EXTENTS_END && part && !table->selects)
        return mem_format("COPY %s (%s) TO STDOUT (FORMAT binary)", from, table->columns);
    char upper[64] = "";
    if (extent->to != EXTENTS_END)
        snprintf(upper, sizeof upper, " AND ctid < '(%" PRIu64 ",0)'", extent->to);
    AUTO(mem_free)
    char *where = extent->from == 0 && extent->to == EXTENTS_END
                      ? mem_strdup("")
                      : mem_format(" WHERE ctid >= '(%" PRIu64 ",0)'%s", extent->from, upper);
    return mem_format("COPY (SELECT %s FROM %s%s%s) TO STDOUT (FORMAT binary)", table->columns,
                      only, from, where);
}

#define LEAVE_SQL "ROLLBACK TO SAVEPOINT range; RELEASE SAVEPOINT range"

/* Of a partitioned table all partitions are locked: without waiting for one while others are held,
 * as who alters one after the other may wait for those. */
static bool lock_table(TableReader *reader, const PgTable *table, Error *err)
{
    AUTO(mem_free)
    char *sql = mem_format("SAVEPOINT range; LOCK TABLE %s%s IN ACCESS SHARE MODE%s",
                           table->partitioned ? "" : "ONLY ", table->quoted,
                           table->partitioned ? " NOWAIT" : "");
    while (!copy_command(reader, sql, err)) {
        if (strcmp(err->code, "Locked") != 0 || !goes_on(reader) ||
            !copy_command(reader, LEAVE_SQL, err))
            return false;
        clock_sleep_us(LOCK_PAUSE_US);
    }
    return true;
}

/* COPY does not go by the snapshot's catalog but by today's: the columns may have changed since
 * they were looked up, and it names no types. The lock holds them until the savepoint is left, with
 * the range: whoever wants to alter the table waits for a range and not for the copy, and with him
 * all who queue behind him. */
bool copy_hold_columns(TableReader *reader, const PgTable *table, Error *err)
{
    if (!lock_table(reader, table, err))
        return false;
    return tables_check_columns(reader->connection, table, err) &&
           tables_check_composites(reader->connection, table, err);
}

static bool leave_range(TableReader *reader, Error *err)
{
    return copy_command(reader, reader->beside ? "COMMIT" : LEAVE_SQL, err);
}

/* Rows stand where they stood when the ranges were made; the lock keeps them there. Otherwise they
 * would seem to be gone: an older snapshot finds a rewritten table empty. */
static bool check_version(TableReader *reader, const PgPart *part, Error *err)
{
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT pg_catalog.pg_relation_filenode(%" PRIu32 ")", part->oid);
    AUTO(mem_free) char *now = connect_value(reader->connection, sql, err);
    if (!now)
        return false;
    return strtoull(now, NULL, 10) == part->version ||
           error_set(err, ERROR_RETRY, "TableRewritten",
                     "%s was rewritten or emptied since its copy was planned", part->quoted);
}

/* part NULL: all of them. */
static bool check_versions(TableReader *reader, const PgTable *table, const PgPart *part,
                           Error *err)
{
    if (part)
        return check_version(reader, part, err);
    for (size_t i = 0; i < table->part_count; i++)
        if (!check_version(reader, &table->parts[i], err))
            return false;
    return true;
}

bool copy_start(TableReader *reader, uint32_t table, const char *sql, Error *err)
{
    if (!message_command(&reader->wire, sql, 'H', COMMAND_TIMEOUT_MS, err))
        return false;
    wire_wake_at(&reader->wire, WIRE_GATHER_BYTES);
    reader->wait_ms = 1;
    reader->table = &reader->postgres->tables[table];
    reader->table_number = table;
    reader->header_read = reader->trailer_read = reader->any_batch = false;
    return true;
}

bool copy_begin(CopyReader *base, const CopyRange *range, Error *err)
{
    TableReader *reader = (TableReader *)base;
    ASSERT(range->table < reader->postgres->table_count && !reader->table);
    const PgTable *table = &reader->postgres->tables[range->table];
    const PgPart *part = plan_part(table, range->extent.part);
    AUTO(mem_free) char *sql = copy_sql(table, part, &range->extent);
    if (!copy_hold_columns(reader, table, err) || !check_versions(reader, table, part, err) ||
        !copy_start(reader, range->table, sql, err))
        return error_wrap(err, "copying table %s", table->name);
    return true;
}

static bool bad_copy(const PgTable *table, const char *what, Error *err)
{
    return error_set(err, ERROR_RETRY, "BadMessage", "copying table %s: %s", table->name, what);
}

/* Finds each field of a tuple that passed the first time, to describe its key. */
static void split_tuple(const PgTable *table, PgValue *values, const uint8_t *tuple, size_t bytes)
{
    Reader in = reader_over(tuple, bytes);
    size_t fields = table->source->schema->field_count;
    const uint8_t *count_at;
    if (!reader_take(&in, 2, &count_at))
        return;
    for (size_t i = 0; i < fields; i++) {
        uint32_t length;
        values[i] = (PgValue){.kind = 'n'};
        if (reader_u32be(&in, &length) && length != UINT32_MAX &&
            reader_take(&in, length, &values[i].at))
            values[i] = (PgValue){.at = values[i].at, .bytes = length, .kind = 'b'};
    }
}

bool copy_decode_row(const PgTable *table, Batch *batch, RowPosition position, PgValue *values,
                     const uint8_t *tuple, size_t bytes, Error *err)
{
    Reader in = reader_over(tuple, bytes);
    uint32_t fields = batch->column_count;
    uint16_t count;
    if (UNLIKELY(!reader_u16be(&in, &count) || count != fields))
        return bad_copy(table, "a tuple has another number of fields than asked for", err);
    batch_row_begin(batch, ROW_READ, position);
    for (uint32_t i = 0; i < fields; i++) {
        uint32_t length;
        const uint8_t *value;
        if (UNLIKELY(!reader_u32be(&in, &length)))
            break;
        if (length == UINT32_MAX) {
            if (UNLIKELY(batch->columns[i].field->required)) {
                batch_row_undo(batch);
                return table_changed(table, err); /* NOT NULL was dropped */
            }
            column_put_null(batch, &batch->columns[i]);
            continue;
        }
        if (UNLIKELY(!reader_take(&in, length, &value)))
            break;
        const char *why =
            decode_value(&table->decoders[i], batch, &batch->columns[i], value, length);
        if (UNLIKELY(why != NULL)) {
            batch_row_undo(batch);
            if (why == decode_other_attributes)
                return table_changed(table, err);
            split_tuple(table, values, tuple, bytes);
            return table_bad_value(table, i, values, why, err);
        }
    }
    if (UNLIKELY(fields && batch->columns[fields - 1].rows != batch->row_count)) {
        batch_row_undo(batch);
        return bad_copy(table, "a tuple ends early", err);
    }
    if (UNLIKELY(reader_left(&in))) {
        batch_row_undo(batch);
        return bad_copy(table, "a tuple has bytes left over", err);
    }
    return true;
}

bool copy_read_header(const PgTable *table, Reader *in, Error *err)
{
    static const uint8_t signature[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};
    const uint8_t *at;
    uint32_t flags, extension;
    if (!reader_take(in, sizeof signature, &at) || memcmp(at, signature, sizeof signature) != 0 ||
        !reader_u32be(in, &flags) || flags & OIDS_FLAG || !reader_u32be(in, &extension) ||
        !reader_take(in, extension, &at))
        return bad_copy(table, "the binary header is not PostgreSQL's", err);
    return true;
}

/* All its rows come of the snapshot. */
static void batch_begin(TableReader *reader)
{
    const Postgres *postgres = reader->postgres;
    reader->batch = batch_new(reader->table->source->schema, reader->table_number, ROWS_PER_BATCH);
    if (!postgres->options.origins)
        return;
    origins_keep(reader->batch);
    uint64_t lsn = postgres->copy_at.major;
    TransactionOrigin snapshot = {.last_commit_lsn = lsn, .commit_us = postgres->copy_us};
    uint32_t transaction = origins_transaction(reader->batch, &snapshot);
    for (uint32_t i = 0; i < reader->batch->row_max; i++)
        reader->batch->origins->rows[i] =
            (RowOrigin){.lsn = lsn, .transaction = transaction, .before = ORIGIN_NO_BEFORE};
}

/* One CopyData message: [header] tuple, or [header] trailer. */
static bool take_message(TableReader *reader, Reader content, Error *err)
{
    if (UNLIKELY(!reader->header_read)) {
        if (!copy_read_header(reader->table, &content, err))
            return false;
        reader->header_read = true;
        if (reader_left(&content) == 0)
            return true;
    }
    if (UNLIKELY(reader_left(&content) == 2 && content.at[0] == 0xff && content.at[1] == 0xff)) {
        reader->trailer_read = true;
        return true;
    }
    if (UNLIKELY(!reader->batch))
        batch_begin(reader);
    return copy_decode_row(reader->table, reader->batch, reader->postgres->copy_at, reader->values,
                           content.at, reader_left(&content), err);
}

static void hand_out(TableReader *reader, Batch **ret, bool last)
{
    *ret = TAKE(reader->batch);
    if (*ret && !reader->any_batch)
        CRASH_POINT("copy-first-batch");
    if (*ret && last)
        CRASH_POINT("copy-last-batch");
    reader->any_batch = true;
}

/* Reads what is there, or waits. The server sends 8 KiB at a time; to be woken for each would cost
 * as much as decoding them. So during a range the socket wakes for WIRE_GATHER_BYTES, and after a
 * short while for less, as at the end. */
static bool read_more(TableReader *reader, Error *err)
{
    size_t bytes;
    WireResult result = wire_read(&reader->wire, &bytes, err);
    if (result == WIRE_EMPTY) {
        reader->wait_ms = reader->wait_ms < WAIT_MS_MAX ? reader->wait_ms * 2 : WAIT_MS_MAX;
        result = wire_wait(&reader->wire, reader->wait_ms, err);
    } else {
        reader->wait_ms = 1;
    }
    if (result == WIRE_WOKEN)
        return error_set(err, ERROR_RETRY, "Cancelled", "copying table %s was cancelled",
                         reader->table->name);
    return result != WIRE_FAILED;
}

bool copy_next(CopyReader *base, Batch **ret, Error *err)
{
    TableReader *reader = (TableReader *)base;
    *ret = NULL;
    if (!reader->table)
        return true;
    for (;;) {
        uint8_t kind;
        Reader content;
        WireResult result = message_next(&reader->wire, &kind, &content, err);
        if (result == WIRE_FAILED)
            return error_wrap(err, "copying table %s", reader->table->name);
        if (result == WIRE_EMPTY) {
            if (!read_more(reader, err))
                return false;
            continue;
        }
        if (LIKELY(kind == 'd')) {
            if (!take_message(reader, content, err))
                return false;
            wire_rest(&reader->wire);
            if (reader->batch && batch_is_full(reader->batch)) {
                hand_out(reader, ret, false);
                return true;
            }
        } else if (kind == 'E') {
            message_error(content, err);
            return error_wrap(err, "copying table %s", reader->table->name);
        } else if (kind == 'Z') {
            if (!reader->trailer_read)
                return bad_copy(reader->table, "the copy ended without its trailer", err);
            wire_wake_at(&reader->wire, 0); /* libpq waits for any */
            /* No lock holds types. They were as they are when it began and are when it ends. */
            if (!tables_check_composites(reader->connection, reader->table, err) ||
                !leave_range(reader, err))
                return error_wrap(err, "copying table %s", reader->table->name);
            hand_out(reader, ret, true);
            reader->table = NULL;
            return true;
        }
    }
}
