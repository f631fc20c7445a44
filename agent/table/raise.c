/* The resource asks for a higher format version than the table has: it is raised in place, no file
 * is copied. One commit says so, and adds a snapshot without files of its own, which gives every
 * row of before its row id: the index then knows them, and updated rows keep theirs.
 *
 * That snapshot is one more on top of the claim's, which stays as it is, and so does the record
 * beside the warehouse; its summary says of position and copy what holds of these rows. Readers of
 * older snapshots go on: these stay what they are. Nothing depends on the commit: the process that
 * made it may die at any moment, and when no answer comes, opening the table again tells.
 *
 * Position delete files of before hold on; what becomes of them: live.h.
 *
 * https://iceberg.apache.org/spec/#row-lineage-for-upgraded-tables, #deletion-vectors */
#include <string.h>

#include "agent/table/table_private.h"
#include "common/crash.h"
#include "common/mem.h"

/* Rows that are to be replaced, and a table without any, get the version with their next commit.
 * One that somebody rolled back is left alone: a new head could hide that. */
static bool is_due(const Table *table)
{
    return table->spec->format_version >= 3 && table->claim.is_there && !table->outdated &&
           !iceberg_has_row_ids(table->iceberg) &&
           iceberg_is_ancestor(table->iceberg, table->claim.snapshot);
}

/* The position alone, as the property has it. */
static char *claimed(const Table *table)
{
    const char *text = iceberg_property(table->iceberg, table->property);
    const char *space = text ? strrchr(text, ' ') : NULL;
    ASSERT(space); /* table_read_claim has looked at it */
    return mem_strndup(text, (size_t)(space - text));
}

/* A catalog that says no, and not because somebody else was there first, does not know version 3.
 */
static bool refused(Table *table, const Error *why, Error *err)
{
    bool changed;
    if (!iceberg_table_refresh(table->iceberg, &changed, err))
        return error_wrap(err, "table %s.%s", table->name.database, table->name.table);
    if (changed)
        return error_set(err, ERROR_CONFLICT, "CommitConflict", "%s", why->message);
    return error_set(err, ERROR_CONFIG, "FormatVersion",
                     "table %s.%s has format version %d, the resource asks for %d, and the catalog "
                     "does not raise it: %.250s; set formatVersion: %d (on Kubernetes, make the "
                     "resource anew with it)",
                     table->name.database, table->name.table,
                     iceberg_format_version(table->iceberg), table->spec->format_version,
                     why->message, iceberg_format_version(table->iceberg));
}

static bool settle(Table *table, IcebergAttempt *attempt, Error *err)
{
    Error why = {0};
    IcebergAnswer answer = iceberg_attempt_send(attempt, &why);
    if (answer == ICEBERG_REFUSED || answer == ICEBERG_FAILED)
        iceberg_attempt_undo(attempt);
    if (strcmp(why.code, "CommitRefused") == 0 || strcmp(why.code, "Unsupported") == 0)
        return refused(table, &why, err);
    if (answer == ICEBERG_TAKEN &&
        iceberg_current_snapshot(table->iceberg) != iceberg_attempt_id(attempt)) {
        answer = ICEBERG_REFUSED; /* of no use: the claim is not the one that was read */
        error_set(&why, ERROR_CONFLICT, "CommitConflict", "table %s.%s has moved on",
                  table->name.database, table->name.table);
    }
    if (answer != ICEBERG_TAKEN && err)
        *err = why;
    return answer == ICEBERG_TAKEN ||
           error_wrap(err, "raising the format version to %d", table->spec->format_version);
}

bool table_raise(Table *table, Error *err)
{
    int from = iceberg_format_version(table->iceberg), to = table->spec->format_version;
    if (!is_due(table))
        return true;
    AUTO(mem_free) char *position = claimed(table);
    const char *summary[] = {table->property, position, table->copy_property,
                             table_copy_word(table)};
    IcebergCommit commit = {
        .summary = summary, .summary_count = summary[3] ? 2 : 1, .format_version = to};
    AUTO(iceberg_attempt_free)
    IcebergAttempt *attempt = iceberg_attempt_new(table->iceberg, &commit, err);
    if (!attempt || !settle(table, attempt, err))
        return false;
    CRASH_POINT("format-raised");
    table->raised_from = from < to ? from : 0;
    return true;
}

int table_raised_from(const Table *table)
{
    return table->raised_from;
}
