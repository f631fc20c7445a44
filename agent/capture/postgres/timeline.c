/* A standby that is promoted goes on in a timeline of its own: the same system, the same log up to
 * where it was promoted, another one from there. A position that lies before that is as good as one
 * of the new timeline. One behind it is of changes that the new primary never had. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/postgres.h"
#include "common/mem.h"

#define TIMELINES_MAX 100000

bool timelines_parse(const char *text, Timelines *ret)
{
    *ret = (Timelines){0};
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line != 0) {
        uint32_t number, high, low;
        const char *at = line + strspn(line, " \t\r");
        if (*at == '#' || *at == '\n' || !*at)
            continue;
        if (sscanf(at, "%10" SCNu32 " %8" SCNx32 "/%8" SCNx32, &number, &high, &low) != 3 ||
            ret->count == TIMELINES_MAX) {
            free(TAKE(ret->items));
            ret->count = 0;
            return false;
        }
        ret->items = mem_regrow(ret->items, ret->count + 1, sizeof *ret->items);
        ret->items[ret->count++] = (Timeline){number, (uint64_t)high << 32 | low};
    }
    return true;
}

/* "postgresql/<system>/<timeline>/<slot>": where the timeline stands. */
static const char *timeline_in(const char *source)
{
    const char *system = strchr(source, '/');
    const char *timeline = system ? strchr(system + 1, '/') : NULL;
    return timeline ? timeline + 1 : NULL;
}

bool timelines_adopt(const Timelines *timelines, const char *source, Position *position,
                     bool passed)
{
    const char *now = timeline_in(source), *then = timeline_in(position->source);
    if (strcmp(source, position->source) == 0)
        return true;
    if (!now || !then || now - source != then - position->source ||
        strncmp(source, position->source, (size_t)(now - source)) != 0)
        return false;
    const char *slot = strchr(now, '/'), *slot_then = strchr(then, '/');
    if (!slot || !slot_then || strcmp(slot, slot_then) != 0)
        return false;
    uint32_t number = (uint32_t)strtoul(then, NULL, 10);
    for (size_t i = 0; i < timelines->count; i++) {
        uint64_t end = timelines->items[i].end;
        if (timelines->items[i].number != number)
            continue;
        /* A position inside a transaction lies at its commit record, which has to be before. */
        bool before =
            position->at.major < end || (position->at.major == end && !position->at.minor);
        if (!before && !passed)
            return false;
        if (!before)
            position->at = (RowPosition){.major = end};
        snprintf(position->source, sizeof position->source, "%s", source);
        return true;
    }
    return false;
}

bool timelines_load(Postgres *postgres, const char *timeline, Error *err)
{
    if (strcmp(timeline, "1") == 0)
        return true;
    AUTO(mem_free) char *sql = mem_format("TIMELINE_HISTORY %.10s", timeline);
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->replication, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return error_wrap(err, "the history of timeline %s", timeline);
    if (PQntuples(result) == 1 && PQnfields(result) == 2 &&
        timelines_parse(PQgetvalue(result, 0, 1), &postgres->timelines))
        return true;
    return error_set(err, ERROR_DATA, "BadTimeline", "the history of timeline %s can't be read",
                     timeline);
}
