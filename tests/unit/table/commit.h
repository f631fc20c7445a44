/* A commit in one go, for tests and benches of one writer: an answer other than DONE ends it. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "agent/table/table.h"

static inline bool commit_now(Table *table, const Position *position, Error *err)
{
    CommitAnswer answer;
    int64_t id, sequence;
    TableView view;
    Error why = {0};
    if (!table_send(table, position, NULL, &answer, &id, &sequence, err)) {
        table_abandon(table, true);
        return false;
    }
    if (answer == ANSWER_DONE)
        return true;
    bool exists = !table_look(table, id, 0, &view, &why) || view.exists;
    table_abandon(table, answer != ANSWER_UNKNOWN);
    if (!exists)
        return error_set(err, ERROR_CONFIG, "TableDropped", "the table is gone");
    return false;
}

/* The whole copy as one piece; the copy is taken. */
static inline bool commit_copy_now(TableCopy *copy, Table *table, const Position *position,
                                   Error *err)
{
    table_copy_begin(table, position->at);
    table_copy_set_progress(table, COPY_COMPLETE);
    return table_copy_take(table, copy, err) && commit_now(table, position, err);
}

/* What the table says of itself; *ret_at {0} when it is not complete. */
static inline bool claim_of(Table *table, RowPosition *ret_at, int64_t *ret_snapshot)
{
    TableView view;
    table_view(table, 0, 0, &view);
    *ret_at = view.has_claim ? view.lanes[0].passed : (RowPosition){0};
    *ret_snapshot = view.has_claim ? view.snapshot : 0;
    return view.has_claim;
}
