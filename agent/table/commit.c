/* What is pending becomes one snapshot: its files are made whole, sent as a commit, and then are
 * the table's, or thrown away. Each step is the caller's to ask for. */
#include <string.h>

#include "agent/table/table_private.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mem.h"

void table_pending_done(TablePending *pending)
{
    iceberg_attempt_free(pending->attempt);
    upsert_pending_done(&pending->upsert);
    free(pending->joined);
    free(pending->text);
    free(pending->with_snapshot);
    free(pending->anchor);
    *pending = (TablePending){0};
}

static void delete_objects(const Table *table, const char *const *uris, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!store_delete(table->store, uris[i], NULL))
            continue; /* an orphan nobody refers to */
}

/* ---------- the table as it is ---------- */
/* The claim's lanes, as the property has them. */
static void read_lanes(Table *table)
{
    Error ignored;
    const char *text = iceberg_property(table->iceberg, table->property);
    const char *space = text ? strrchr(text, ' ') : NULL;
    lane_position_done(&table->seen_lanes);
    ASSERT(space); /* table_read_claim has looked at it */
    AUTO(mem_free) char *copy = mem_strndup(text, (size_t)(space - text));
    bool good = lane_position_parse(copy, &table->seen_lanes, &ignored);
    ASSERT(good);
}

static void fill_view(Table *table, const TableClaim *claim, int64_t commit, int64_t head,
                      TableView *ret)
{
    const IcebergTable *iceberg = table->iceberg;
    int64_t current = iceberg_current_snapshot(iceberg);
    *ret = (TableView){.exists = true,
                       .head = current < 0 ? 0 : current,
                       .sequence = iceberg_last_sequence(iceberg),
                       .has_claim = claim->is_there,
                       .copying = claim->copying,
                       .outdated = table->outdated,
                       .ours_found = commit && iceberg_history_holds(iceberg, commit)};
    snprintf(ret->uuid, sizeof ret->uuid, "%s", iceberg_uuid(iceberg));
    switch (iceberg_foreign(iceberg, head ? head : -1)) {
    case ICEBERG_FILES_SAME:
        ret->foreign = FOREIGN_NOTHING;
        break;
    case ICEBERG_FILES_ADDED:
        ret->foreign = FOREIGN_APPENDED;
        break;
    case ICEBERG_FILES_CHANGED:
        ret->foreign = FOREIGN_REWROTE;
        break;
    }
    if (!claim->is_there)
        return;
    table->seen = *claim;
    table->lane = (LaneValue){.passed = claim->position.at};
    ret->snapshot = claim->snapshot;
    ret->is_ancestor = iceberg_is_ancestor(iceberg, claim->snapshot);
    ret->source = table->seen.position.source;
    if (table->lanes)
        read_lanes(table);
    ret->lane_count = table->lanes ? table->seen_lanes.lane_count : 1;
    ret->lanes = table->lanes ? table->seen_lanes.lanes : &table->lane;
}

char *table_anchor(const Table *table)
{
    char text[POSITION_TEXT_BYTES];
    const char *anchor = iceberg_property(table->iceberg, table->anchor_property);
    if (!anchor || !table->claim.is_there)
        return NULL;
    position_format(&table->claim.position, text);
    size_t bytes = strlen(text); /* one of another position was left by who knows of none */
    return strncmp(anchor, text, bytes) == 0 && anchor[bytes] == ' '
               ? mem_strdup(anchor + bytes + 1)
               : NULL;
}

void table_view(Table *table, int64_t commit, int64_t head, TableView *ret)
{
    fill_view(table, &table->claim, commit, head, ret);
}

/* Files are written for the columns and partitions that the table had when it was opened, or has
 * been given since. */
static bool same_shape(const Table *table)
{
    const PartitionSpec *now = iceberg_partition_spec(table->iceberg);
    return table_shape_stands(table) && now->spec_id == table->partitions.spec_id;
}

bool table_look(Table *table, int64_t commit, int64_t head, TableView *ret, Error *err)
{
    bool changed;
    TableClaim claim;
    Error why = {0};
    if (!iceberg_table_refresh(table->iceberg, &changed, &why)) {
        if (strcmp(why.code, "TableDropped") == 0) {
            *ret = (TableView){0};
            return true;
        }
        *err = why;
        return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
    }
    if (iceberg_format_version(table->iceberg) > table->spec->format_version)
        return error_set(err, ERROR_CONFLICT, "FormatVersion",
                         "table %s.%s: somebody else raised its format version to %d",
                         table->name.database, table->name.table,
                         iceberg_format_version(table->iceberg));
    if (!same_shape(table))
        return error_set(err, ERROR_CONFLICT, "SchemaChanged",
                         "table %s.%s: somebody else changed its columns or partitions",
                         table->name.database, table->name.table);
    if (!table_read_claim(table, &claim, err))
        return false;
    fill_view(table, &claim, commit, head, ret);
    return true;
}

/* ---------- sending ---------- */
/* Everything pending, durable in files. */
static bool make_whole(Table *table, Error *err)
{
    TablePending *pending = &table->pending;
    IcebergCommit *commit = &pending->commit;
    if (pending->ready)
        return true;
    size_t joined = 0;
    bool ok = table->upsert ? upsert_finish(table->upsert, &pending->upsert, err)
                            : pieces_join(table, &pending->joined, &joined, err);
    if (!ok)
        return table_failed(table, err);
    if (!table->upsert)
        staged_join(table, &pending->joined, &joined);
    if (!table->upsert)
        *commit = (IcebergCommit){.added = pending->joined, .added_count = joined};
    if (table->upsert)
        *commit = (IcebergCommit){.added = pending->upsert.added,
                                  .added_count = pending->upsert.added_count,
                                  .removed = pending->upsert.removed,
                                  .removed_count = pending->upsert.removed_count,
                                  .retired = pending->upsert.retired,
                                  .retired_count = pending->upsert.retired_count,
                                  .remove_all = pending->upsert.remove_all};
    pending->ready = true;
    if (table->piece_count)
        CRASH_POINT("copy-before-commit");
    CRASH_POINT("commit-files-written");
    return true;
}

static void put_property(TablePending *pending, const char *name, const char *value)
{
    size_t at = 2 * pending->commit.property_count++;
    ASSERT(at + 1 < ARRAY_LEN(pending->properties));
    pending->properties[at] = name;
    pending->properties[at + 1] = value;
}

const char *table_copy_word(const Table *table)
{
    if (!table->copy_next)
        return table->copying ? "unfinished" : NULL;
    return strcmp(table->copy_next, COPY_COMPLETE) == 0 ? COPY_COMPLETE : "unfinished";
}

/* The position, in the snapshot's summary and in the property that names the snapshot; what else
 * the table says of itself, with it. */
static void put_position(Table *table, const Position *position, const char *text,
                         const char *anchor)
{
    TablePending *pending = &table->pending;
    pending->position = *position;
    free(pending->text);
    pending->text = mem_strdup(text);
    free(pending->with_snapshot);
    pending->with_snapshot = mem_format("%s %%SNAPSHOT%%", pending->text);
    pending->summary[0] = table->property;
    pending->summary[1] = pending->text;
    pending->commit.summary = pending->summary;
    pending->commit.summary_count = 1;
    const char *word = table_copy_word(table);
    if (word) {
        pending->summary[2] = table->copy_property;
        pending->summary[3] = word;
        pending->commit.summary_count = 2;
    }
    pending->commit.properties = pending->properties;
    pending->commit.property_count = 0;
    put_property(pending, table->property, pending->with_snapshot);
    free(pending->anchor);
    pending->anchor = anchor ? mem_format("%s %s", text, anchor) : NULL;
    if (anchor)
        put_property(pending, table->anchor_property, pending->anchor);
    if (table->copy_next)
        put_property(pending, table->copy_property, table->copy_next);
    if (table->copy_begun && table->request)
        put_property(pending, table->request_property, table->request);
    if (table->asked_value)
        put_property(pending, table->asked_property, table->asked_value);
    if (table->shape_due)
        put_property(pending, table->shape_property, table->shape_value);
    pending->commit.schema = table->evolved ? table->schema : NULL;
    pending->commit.last_column_id = table->last_column_id;
    pending->commit.format_version = table->spec->format_version;
    ASSERT(!table->copy_begun || table->copy_next); /* or it would be taken for complete */
    if (table->copy_begun)
        pending->commit.remove_all = iceberg_current_snapshot(table->iceberg) >= 0;
}

static void settle_copy(Table *table)
{
    table->copy_begun = table->outdated = false;
    if (!table->copy_next)
        return;
    free(table->copy_progress);
    table->copy_progress = TAKE(table->copy_next);
    table->copying = strcmp(table->copy_progress, COPY_COMPLETE) != 0;
    if (table->copying)
        return;
    free(TAKE(table->copy_progress));
    if (table->upsert)
        upsert_copying(table->upsert, false);
}

static void settle(Table *table)
{
    TablePending *pending = &table->pending;
    table_shape_settled(table);
    table->commits++;
    table->committed_us = clock_wall_us();
    table->passed = pending->position.at;
    if (table->piece_count)
        CRASH_POINT("copy-committed");
    CRASH_POINT("commit-done");
    table->pending_rows = 0;
    delete_objects(table, pending->upsert.dead, pending->upsert.dead_count);
    if (table->upsert)
        upsert_committed(table->upsert, &pending->upsert);
    data_writer_forget(table->writer);
    pieces_done(table, true);
    staged_done(table, true);
    settle_copy(table);
    free(TAKE(table->asked_value));
    table->claim = (TableClaim){.is_there = true,
                                .copying = table->copying,
                                .position = pending->position,
                                .snapshot = iceberg_attempt_id(pending->attempt)};
    table->rows = table->upsert ? upsert_rows(table->upsert) : table_rows_of_head(table);
    table_pending_done(pending);
    table_see_maintained(table);
}

static CommitAnswer send(Table *table, int64_t *ret_sequence, Error *err)
{
    Error why = {0};
    CommitAnswer answer = ANSWER_DONE;
    switch (iceberg_attempt_send(table->pending.attempt, &why)) {
    case ICEBERG_TAKEN:
        settle(table);
        *ret_sequence = iceberg_last_sequence(table->iceberg);
        return ANSWER_DONE;
    case ICEBERG_REFUSED:
        answer = ANSWER_CONFLICT;
        break;
    case ICEBERG_UNKNOWN:
        answer = ANSWER_UNKNOWN;
        table->pending.unknown = true;
        break;
    case ICEBERG_FAILED:
        answer = ANSWER_FAILED;
        break;
    }
    *err = why;
    return answer;
}

static bool send_with(Table *table, const Position *position, const char *text, const char *anchor,
                      CommitAnswer *ret, int64_t *ret_id, int64_t *ret_sequence, Error *err)
{
    TablePending *pending = &table->pending;
    if (!table_usable(table, err) || !make_whole(table, err))
        return false;
    put_position(table, position, text, anchor);
    if (pending->attempt) {
        if (!pending->unknown) /* else it may take effect yet */
            iceberg_attempt_undo(pending->attempt);
        iceberg_attempt_free(pending->attempt);
    }
    pending->attempt = iceberg_attempt_new(table->iceberg, &pending->commit, err);
    if (!pending->attempt)
        return table_failed(table, err);
    *ret_id = iceberg_attempt_id(pending->attempt);
    *ret = send(table, ret_sequence, err);
    return true;
}

bool table_send(Table *table, const Position *position, const char *anchor, CommitAnswer *ret,
                int64_t *ret_id, int64_t *ret_sequence, Error *err)
{
    char text[POSITION_TEXT_BYTES];
    ASSERT(!table->lanes);
    return send_with(table, position, position_format(position, text), anchor, ret, ret_id,
                     ret_sequence, err);
}

bool table_send_lanes(Table *table, const char *source, const LaneValue *lanes, uint32_t lane_count,
                      CommitAnswer *ret, int64_t *ret_id, int64_t *ret_sequence, Error *err)
{
    ASSERT(table->lanes);
    AUTO(mem_free) char *text = lane_position_format(source, lanes, lane_count);
    const Position position = position_of(source, (RowPosition){0});
    return send_with(table, &position, text, NULL, ret, ret_id, ret_sequence, err);
}

CommitAnswer table_resend(Table *table, int64_t *ret_sequence, Error *err)
{
    ASSERT(table->pending.attempt);
    return send(table, ret_sequence, err);
}

void table_found(Table *table)
{
    ASSERT(table->pending.attempt);
    iceberg_attempt_found(table->pending.attempt);
    settle(table);
}

void table_abandon(Table *table, bool files_may_go)
{
    TablePending *pending = &table->pending;
    table->failed = true;
    if (files_may_go) {
        ASSERT(!pending->unknown);
        if (pending->attempt)
            iceberg_attempt_undo(pending->attempt);
        for (size_t i = 0; i < pending->upsert.deletes.count; i++)
            delete_objects(table, (const char *const *)&pending->upsert.deletes.files[i].path, 1);
        data_writer_discard(table->writer);
    } else {
        data_writer_forget(table->writer);
    }
    pieces_done(table, !files_may_go);
    staged_done(table, false);
    table_pending_done(pending);
}
