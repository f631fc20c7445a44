/* Statements in the log: what they do to the tables that are captured. */
#include <string.h>

#include "agent/capture/mysql/log_private.h"

static bool table_gone(const MyTable *table, const char *what, Error *err)
{
    return error_set(
        err, ERROR_CONFIG, "SourceTableReplaced",
        "table %s %s at the source. If it is not to be followed any more, start again, "
        "or exclude it; if it was made anew, load it again with --resnapshot %s",
        table->name, what, table->name);
}

/* A table that a tool has filled beside ours, with the same rows, and now puts in its place. */
static bool is_ghost(const char *ghost, const char *name)
{
    static const char *const ends[] = {"_gho", "_new", "_ghc"};
    size_t length = strlen(name);
    if (ghost[0] != '_' || strncmp(ghost + strspn(ghost, "_"), name, length) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (strcmp(ghost + strspn(ghost, "_") + length, ends[i]) == 0)
            return true;
    return false;
}

/* What is called so once the statement is done; NULL: nothing. */
static const DdlTable *comes_as(const Ddl *ddl, const SourceTable *source)
{
    for (size_t i = 0; i < ddl->table_count; i++)
        if (ddl->tables[i].to_table && ddl->tables[i].to_schema &&
            strcmp(ddl->tables[i].to_table, source->table_name) == 0 &&
            strcmp(ddl->tables[i].to_schema, source->schema_name) == 0)
            return &ddl->tables[i];
    return NULL;
}

static bool on_renamed(MyLog *log, uint32_t number, const Ddl *ddl, const DdlTable *of, Error *err)
{
    const MyTable *table = &log->options.tables[number];
    const DdlTable *comes = comes_as(ddl, table->source);
    if (comes && is_ghost(comes->table, table->source->table_name))
        return mylog_learn(log, number, NULL, ddl, err);
    if (comes)
        return table_gone(table, "was replaced by another table", err);
    return error_set(err, ERROR_CONFIG, "TableRenamed",
                     "table %s is called %s.%s now; name it so in source.tables and in the "
                     "IngestionUnit's connectorRef",
                     table->name, of->to_schema, of->to_table);
}

static void on_truncate(MyLog *log, const BinlogEvent *event, uint32_t number)
{
    builders_flush(&log->builders, number);
    Change *change = builders_push(&log->builders, CHANGE_TRUNCATE);
    change->table = number;
    change->row = log->at;
    if (log->origins)
        my_origins_change(log->origins, event, mylog_place_of_event(log, event), change);
    log->changes++;
}

static bool on_ddl_table(MyLog *log, const BinlogEvent *event, const Ddl *ddl, const DdlTable *of,
                         uint32_t number, Error *err)
{
    const MyTable *table = &log->options.tables[number];
    switch (ddl->kind) {
    case DDL_TRUNCATE:
        on_truncate(log, event, number);
        return true;
    case DDL_DROP:
    case DDL_REPLACE:
    case DDL_DROP_DATABASE:
        return table_gone(table, "was dropped", err);
    case DDL_RENAME:
        return on_renamed(log, number, ddl, of, err);
    case DDL_ALTER:
        if (of->to_table)
            return on_renamed(log, number, ddl, of, err);
        if (ddl->moves_rows)
            return error_set(err, ERROR_CONFIG, "RowsMoved",
                             "table %s: a partition or a file of it came or went with its rows, "
                             "of which the binlog has none; load it again with --resnapshot %s",
                             table->name, table->name);
        return mylog_learn(log, number, NULL, ddl, err);
    case DDL_CREATE: /* of one that is there: IF NOT EXISTS */
    case DDL_INDEX:
    case DDL_OTHER:
        break;
    }
    return true;
}

/* Behind all rows that were written before it, and what became of the tables. */
static bool tell(MyLog *log, const BinlogEvent *event, const Ddl *ddl, Error *err)
{
    Statement *statement = NULL;
    if (!log->options.tell)
        return true;
    if (!log->options.tell(log->options.context, ddl, log->at, &statement, err))
        return false;
    if (!statement)
        return true;
    builders_flush_all(&log->builders);
    Change *change = builders_push(&log->builders, CHANGE_STATEMENT);
    change->row = log->at;
    change->statement = statement;
    my_origins_statement(log->origins, event, mylog_place_of_event(log, event), change);
    return true;
}

bool mylog_on_ddl(MyLog *log, const BinlogEvent *event, const QueryEvent *query, Error *err)
{
    Ddl ddl;
    bool ok = true;
    ddl_read(query->text, query->text_bytes, query->schema, query->schema_bytes, &ddl);
    log->at.minor = 1;
    for (size_t i = 0; ok && i < ddl.table_count; i++)
        for (uint32_t k = 0; ok && k < log->options.table_count; k++) {
            const MyTable *table = &log->options.tables[k];
            const DdlTable *of = &ddl.tables[i];
            bool ours = of->schema && strcmp(of->schema, table->source->schema_name) == 0 &&
                        (ddl.kind == DDL_DROP_DATABASE ||
                         (of->table && strcmp(of->table, table->source->table_name) == 0));
            if (ours && row_position_compare(log->at, table->passed) > 0)
                ok = on_ddl_table(log, event, &ddl, of, k, err);
        }
    ok = ok && tell(log, event, &ddl, err);
    ddl_done(&ddl);
    return ok;
}

/* A statement that changes rows, where rows should stand. */
bool mylog_on_statement(MyLog *log, const QueryEvent *query, Error *err)
{
    log->at.minor = 1;
    for (size_t i = 0; i < log->options.table_count; i++) {
        const MyTable *table = &log->options.tables[i];
        if (row_position_compare(log->at, table->passed) > 0 &&
            ddl_names(query->text, query->text_bytes, table->source->table_name))
            return error_set(err, ERROR_CONFIG, "BinlogFormat",
                             "table %s: somebody's session wrote a statement into the binlog, not "
                             "rows: binlog_format has to be ROW in every session; then load the "
                             "table again with --resnapshot %s",
                             table->name, table->name);
    }
    return true;
}
