#include "agent/maintain/orphans.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/commit/piece.h"
#include "agent/lake/lake.h"
#include "agent/table/iceberg/iceberg.h"
#include "agent/table/iceberg/turn.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

/* <piece>-<counter>.parquet: a group knows which of its pieces nobody takes any more, and removes
 * them itself. */
static bool is_others(const char *name)
{
    PieceName piece;
    const char *end = strrchr(name, '-');
    if (strcmp(name, TURN_FILE) == 0)
        return true;
    AUTO(mem_free) char *own = mem_strndup(name, end ? (size_t)(end - name) : 0);
    return piece_name_parse(own, &piece);
}

static void print(void *context, const char *uri, uint64_t bytes, int64_t modified_us)
{
    (void)context;
    char when[40];
    const time_t seconds = modified_us / 1000000;
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    printf("%s %12llu  %s\n", when, (unsigned long long)bytes, uri);
}

static bool remove_orphans(const OrphanTask *task, IcebergTable *table, OrphanOutcome *ret,
                           Error *err)
{
    const IcebergOrphans how = {.older_than_us = task->spec->orphans_older_than_ms * 1000,
                                .is_others = is_others,
                                .dry_run = task->dry_run,
                                .each = task->dry_run ? print : NULL,
                                .stop = task->stop};
    IcebergOrphanFigures figures;
    bool ok = iceberg_remove_orphans(table, &how, &figures, err);
    ret->worked = true;
    ret->more = figures.more;
    ret->files = figures.files;
    ret->bytes = figures.bytes;
    ret->held = figures.held;
    if (ok && !task->dry_run)
        log_info("files that no snapshot names are removed", LOG_T("table", task->spec->meta.name),
                 LOG_U("files", figures.files), LOG_U("bytes", figures.bytes),
                 LOG_U("of_files", figures.seen), LOG_U("held", figures.held));
    return ok;
}

/* A clock that ran ahead must not stop it. */
static bool is_turn(const OrphanTask *task, const Turn *turn, int64_t now_ms, OrphanOutcome *ret)
{
    int64_t begun_ms = turn->begun_ms < now_ms ? turn->begun_ms : now_ms;
    ret->done_ms = turn->done_ms;
    ret->due_ms = begun_ms + task->every_ms;
    return task->now || !turn->begun_ms || ret->due_ms <= now_ms;
}

static bool take_turn(const OrphanTask *task, IcebergTable *table, OrphanOutcome *ret, Error *err)
{
    Turn turn;
    Error why = {0};
    Store *store = iceberg_store(table);
    AUTO(mem_free) char *uri = mem_format("%s/metadata/" TURN_FILE, iceberg_location(table));
    if (task->dry_run)
        return remove_orphans(task, table, ret, err);
    if (!turn_read(store, uri, &turn, err))
        return false;
    int64_t now_ms = clock_wall_us() / 1000;
    if (!is_turn(task, &turn, now_ms, ret))
        return true;
    turn.begun_ms = now_ms;
    if (!turn_write(store, uri, &turn, &why)) {
        ret->due_ms = now_ms + task->every_ms;
        if (why.kind == ERROR_CONFLICT) /* whoever it was works */
            return true;
        *err = why;
        return false;
    }
    if (!remove_orphans(task, table, ret, &why)) {
        if (strcmp(why.code, "Stopped") != 0) {
            snprintf(turn.failed, sizeof turn.failed, "%s", why.code);
            (void)!turn_write(store, uri, &turn, NULL); /* the first error counts */
        }
        *err = why;
        return false;
    }
    turn.done_ms = ret->done_ms = clock_wall_us() / 1000;
    turn.files = ret->files;
    turn.bytes = ret->bytes;
    turn.failed[0] = '\0';
    if (!turn_write(store, uri, &turn, &why) && why.kind != ERROR_CONFLICT) {
        *err = why;
        return false;
    }
    return true;
}

bool orphans_remove(const OrphanTask *task, OrphanOutcome *ret, Error *err)
{
    const LakeTableSpec *spec = task->spec;
    *ret = (OrphanOutcome){0};
    AUTO(lake_close) Lake *lake = lake_open(spec, err);
    AUTO(mem_free) char *location = NULL;
    if (!lake || !lake_location(lake, spec, &location, err))
        return false;
    TableName name = {spec->database, spec->table_name, location};
    AUTO(iceberg_table_free) IcebergTable *table = NULL;
    if (!iceberg_table_load(lake->catalog, &name, &table, err))
        return false;
    return !table || take_turn(task, table, ret, err);
}
