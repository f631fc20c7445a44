/* Which columns the rows get where schemaEvolution.incompatible is DeadLetter. What a topic's
 * latest schema says may be what the table can't follow: so the table's own columns come first, and
 * what else is wanted joins them as far as the table takes it. A record that needs more is judged
 * by the same, and is a dead letter where that does not fit.
 *
 * Nothing is changed here: who commits gives the table its columns, and asks the same again. */
#include <string.h>

#include "agent/ingest/flow.h"
#include "common/log.h"
#include "common/mem.h"

/* Can a column of `wide` hold what one of `narrow` has? */
static bool holds(const Type *wide, const Type *narrow)
{
    return type_equal(wide, narrow) || (wide->kind == TYPE_INT64 && narrow->kind == TYPE_INT32) ||
           (wide->kind == TYPE_FLOAT64 && narrow->kind == TYPE_FLOAT32) ||
           (wide->kind == TYPE_DECIMAL && narrow->kind == TYPE_DECIMAL &&
            wide->scale == narrow->scale && wide->precision >= narrow->precision);
}

bool feed_join_columns(Schema **to, const Schema *more, Error *err)
{
    AUTO(schema_free)
    Schema *all = schema_new((*to)->field_count + more->field_count, (*to)->key_count);
    size_t count = (*to)->field_count;
    memcpy(all->key, (*to)->key, all->key_count * sizeof *all->key);
    for (size_t i = 0; i < count; i++)
        field_copy(&all->fields[i], &(*to)->fields[i]);
    for (size_t i = 0; i < more->field_count; i++) {
        const Field *field = &more->fields[i];
        int at = schema_find(*to, field->name);
        if (at >= 0 && holds(&all->fields[at].type, &field->type))
            continue;
        if (at >= 0 && !holds(&field->type, &all->fields[at].type))
            return error_set(err, ERROR_CONFIG, "SchemaIncompatible",
                             "records have column %s in two types that do not go together",
                             field->name);
        Field *into = at >= 0 ? &all->fields[at] : &all->fields[count++];
        bool required = at >= 0 && into->required;
        if (at >= 0)
            field_done(into);
        field_copy(into, field);
        into->required = required;
    }
    all->field_count = count;
    schema_free(*to);
    *to = TAKE(all);
    return true;
}

void feed_name_columns(Schema *columns)
{
    for (size_t i = 0; i < columns->field_count; i++)
        columns->fields[i].origin = (int32_t)i + 1;
}

bool feed_keeps_going(const Feed *feed)
{
    return feed->spec && feed->spec->incompatible == INCOMPATIBLE_DEAD_LETTER;
}

/* *to gets `more`, if the table takes it; `table` has been opened with the columns that *to began
 * with. */
static bool widen(const Table *table, Schema **to, const Schema *more, Error *err)
{
    AUTO(schema_free) Schema *all = schema_copy(*to);
    if (!feed_join_columns(&all, more, err))
        return false;
    feed_name_columns(all);
    if (!table_can_evolve(table, all, err))
        return false;
    schema_free(*to);
    *to = TAKE(all);
    return true;
}

/* The key as the topic has it; false: the table lacks a column of it. */
static bool take_key(Schema **to, const Schema *from)
{
    AUTO(schema_free) Schema *keyed = schema_new((*to)->field_count, from->key_count);
    for (size_t i = 0; i < keyed->field_count; i++) {
        field_copy(&keyed->fields[i], &(*to)->fields[i]);
        keyed->fields[i].required = false;
    }
    for (size_t k = 0; k < from->key_count; k++) {
        int at = schema_find(keyed, from->fields[from->key[k]].name);
        if (at < 0)
            return false;
        keyed->key[k] = (uint32_t)at;
        keyed->fields[at].required = true;
    }
    schema_free(*to);
    *to = TAKE(keyed);
    return true;
}

/* What was learnt of records, and what the topic says, join the table's columns. */
static void join_fitting(Feed *feed, const Table *table, Schema **columns)
{
    Error why = {0};
    AUTO(schema_free) Schema *learnt = ingest_learnt(feed->ingest, feed->name);
    if (learnt && !widen(table, columns, learnt, &why))
        ingest_forget(feed->ingest, feed->name); /* another process gave it other columns since */
    if (!widen(table, columns, feed->columns, &why))
        log_warn("the topic's schema does not fit the table: what needs it goes to the dead "
                 "letters",
                 LOG_T("table", feed->name), LOG_T("topic", feed->topic), LOG_T("reason", why.code),
                 LOG_T("error", why.message));
}

bool feed_fit_columns(Feed *feed, Error *err)
{
    if (!feed_keeps_going(feed))
        return true;
    if (!feed->lake && !(feed->lake = lake_open(feed->spec, err)))
        return false;
    TableOptions options = {.spec = feed->spec,
                            .unit = feed->unit,
                            .catalog = feed->lake->catalog,
                            .warehouse = lake_tables(feed->lake),
                            .memory_bytes_max = feed->ingest->buffers_max / 4,
                            .leaves_version = true,
                            .lanes = true};
    AUTO(schema_free) Schema *columns = NULL;
    if (!table_own_columns(&options, &columns, err))
        return error_wrap(err, "table %s", feed->name);
    if (!columns || !take_key(&columns, feed->columns))
        return true; /* who commits makes it, or says why its key can't change */
    feed_name_columns(columns);
    AUTO(schema_free) Schema *began = schema_copy(columns);
    options.source = began;
    Table *table = table_open(&options, err);
    if (!table)
        return error_wrap(err, "table %s", feed->name);
    TableView view;
    table_view(table, 0, 0, &view);
    if (view.has_claim) { /* of one that holds nothing the columns are the topic's */
        join_fitting(feed, table, &columns);
        schema_free(feed->columns);
        feed->columns = TAKE(columns);
    }
    table_close(table);
    return true;
}

bool feed_can_follow(const Feed *feed, const Schema *found, Error *err)
{
    AUTO(schema_free) Schema *columns = schema_copy(feed->columns);
    return widen(feed->table, &columns, found, err);
}
