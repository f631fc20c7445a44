/* See origins.h. Names (files, GTIDs without their numbers) are few, and kept until the end, as
 * what is handed out points to them. */
#include "agent/capture/mysql/origins.h"

#include <string.h>

#include "common/arena.h"
#include "common/mem.h"

#define NAMES_MAX 100000

struct MyOrigins {
    Arena *arena;
    const char **names;
    size_t name_count, names_held;
    TransactionOrigin now;
    int64_t gtid_us; /* when it was committed where it began; 0: the log says seconds alone */
    Builders *builders;
};

MyOrigins *my_origins_new(Builders *builders)
{
    MyOrigins *origins = mem_zalloc(sizeof *origins);
    origins->arena = arena_new(4096);
    origins->builders = builders;
    return origins;
}

void my_origins_free(MyOrigins *origins)
{
    if (!origins)
        return;
    arena_free(origins->arena);
    free(origins->names);
    free(origins);
}

/* The latest ones are asked for most. */
static bool keep(MyOrigins *origins, const char *name, size_t bytes, const char **ret, Error *err)
{
    for (size_t i = origins->name_count; i > 0; i--) {
        *ret = origins->names[i - 1];
        if (strncmp(*ret, name, bytes) == 0 && !(*ret)[bytes])
            return true;
    }
    if (origins->name_count == NAMES_MAX)
        return error_set(err, ERROR_RETRY, "TooManyNames",
                         "the binlog names more than %d files and servers", NAMES_MAX);
    if (origins->name_count == origins->names_held) {
        origins->names_held = origins->names_held ? origins->names_held * 2 : 16;
        origins->names = mem_regrow(origins->names, origins->names_held, sizeof *origins->names);
    }
    *ret = origins->names[origins->name_count++] = arena_strndup(origins->arena, name, bytes);
    return true;
}

bool my_origins_file(MyOrigins *origins, const char *name, size_t bytes, Error *err)
{
    return keep(origins, name, bytes, &origins->now.file, err);
}

bool my_origins_begin(MyOrigins *origins, const GtidEvent *gtid, Error *err)
{
    char text[GTID_TEXT_BYTES];
    origins->now = (TransactionOrigin){.file = origins->now.file};
    origins->gtid_us = gtid->commit_us;
    builders_begin(origins->builders);
    if (gtid->anonymous)
        return true;
    gtid_format(&gtid->gtid, text);
    const char *number = strrchr(text, gtid->gtid.mariadb ? '-' : ':');
    origins->now.id = gtid->gtid.number;
    return keep(origins, text, (size_t)(number + 1 - text), &origins->now.origin, err);
}

void my_origins_begun(MyOrigins *origins, uint32_t thread, uint64_t place)
{
    origins->now.thread = thread;
    origins->now.origin_lsn = origins->now.origin ? 0 : place;
}

static void take_event(MyOrigins *origins, const BinlogEvent *event)
{
    origins->now.server = event->server;
    origins->now.commit_us = origins->gtid_us ? origins->gtid_us : event->time * INT64_C(1000000);
}

void my_origins_rows(MyOrigins *origins, Batch *batch, uint32_t first, const BinlogEvent *event,
                     uint64_t place, uint32_t row)
{
    take_event(origins, event);
    for (uint32_t i = first; i < batch->row_count; i++) {
        RowOrigin *to = &batch->origins->rows[i];
        to->lsn = place;
        to->row = row;
        to->transaction = origins_transaction(batch, &origins->now);
        to->total_order = builders_count(origins->builders, batch->table, &to->table_order);
    }
}

void my_origins_statement(MyOrigins *origins, const BinlogEvent *event, uint64_t place, Change *ret)
{
    take_event(origins, event);
    ret->lsn = place;
    ret->transaction = origins->now;
}

void my_origins_change(MyOrigins *origins, const BinlogEvent *event, uint64_t place, Change *ret)
{
    my_origins_statement(origins, event, place, ret);
    ret->total_order = builders_count(origins->builders, ret->table, &ret->table_order);
}

bool my_origins_end(MyOrigins *origins, uint64_t place, Change *ret)
{
    ret->lsn = place;
    ret->transaction = origins->now;
    return origins->builders->order > 0;
}
