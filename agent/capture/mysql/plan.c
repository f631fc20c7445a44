/* Ranges of a table's copy: stretches of the first column of its key, where that is an integer. As
 * numbers from 0 on (a signed one's lowest value is 0), so that extents can name them; the first
 * range begins at 0 and the last has no end, whatever the least and the greatest key are. Any other
 * table is one range. Rows keep their key, so a stretch that was read stays read: there is one part
 * and one version. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/mysql/mysql.h"
#include "common/mem.h"

#define RANGES_MAX 65536
#define PART 1
#define VERSION 1

static const MyColumn *range_column(const MyTable *table)
{
    const TableMap *map = table->known->map;
    if (!map->key_count)
        return NULL;
    const MyColumn *column = &map->columns[map->key[0]];
    switch (column->type) {
    case MY_TINY:
    case MY_SHORT:
    case MY_INT24:
    case MY_LONG:
    case MY_LONGLONG:
        return column;
    default:
        return NULL;
    }
}

static uint64_t number_of(const MyColumn *column, const char *text)
{
    return column->is_unsigned ? strtoull(text, NULL, 10)
                               : (uint64_t)strtoll(text, NULL, 10) ^ (UINT64_C(1) << 63);
}

static char *key_of(const MyColumn *column, uint64_t number)
{
    return column->is_unsigned ? mem_format("%" PRIu64, number)
                               : mem_format("%" PRId64, (int64_t)(number ^ (UINT64_C(1) << 63)));
}

char *my_copy_where(const MyTable *table, const Extent *extent)
{
    const MyColumn *column = range_column(table);
    bool begins = extent->from > 0, ends = extent->to != EXTENTS_END;
    if (!column || (!begins && !ends))
        return mem_strdup("");
    AUTO(mem_free) char *name = my_identifier(column->name);
    AUTO(mem_free) char *from = key_of(column, extent->from);
    AUTO(mem_free) char *to = key_of(column, extent->to);
    if (begins && ends)
        return mem_format(" WHERE %s >= %s AND %s < %s", name, from, name, to);
    return begins ? mem_format(" WHERE %s >= %s", name, from)
                  : mem_format(" WHERE %s < %s", name, to);
}

/* How many keys a range has; a test needs many ranges of few rows. */
static uint64_t step_of(uint64_t least, uint64_t most, uint64_t bytes, uint64_t range_bytes)
{
#ifdef FIRN_CRASH_POINTS
    const char *asked = getenv("FIRN_COPY_RANGE_KEYS");
    if (asked)
        return strtoull(asked, NULL, 10);
#endif
    uint64_t ranges = bytes / range_bytes + 1;
    ranges = ranges < RANGES_MAX ? ranges : RANGES_MAX;
    return (most - least) / ranges + 1;
}

typedef struct Plan {
    CopyRange *ranges;
    size_t count, held;
    uint32_t table;
} Plan;

static void put_range(Plan *plan, Extent extent)
{
    if (plan->count == plan->held) {
        plan->held = plan->held ? plan->held * 2 : 16;
        plan->ranges = mem_regrow(plan->ranges, plan->held, sizeof *plan->ranges);
    }
    plan->ranges[plan->count++] = (CopyRange){.table = plan->table, .extent = extent};
}

/* A stretch that is not done, cut where keys are. */
static void cut(Plan *plan, Extent gap, uint64_t least, uint64_t most, uint64_t step)
{
    Extent extent = gap;
    uint64_t at = least;
    while (most - at > step && plan->count < RANGES_MAX) {
        at += step;
        if (at <= extent.from)
            continue;
        if (at >= gap.to)
            break;
        extent.to = at;
        put_range(plan, extent);
        extent.from = at;
    }
    extent.to = gap.to;
    put_range(plan, extent);
}

static bool read_bounds(Mysql *mysql, const MyTable *table, const MyColumn *column,
                        uint64_t *ret_least, uint64_t *ret_most, Error *err)
{
    AUTO(mem_free) char *name = my_identifier(column->name);
    AUTO(mem_free)
    char *sql = mem_format("SELECT min(%s), max(%s) FROM %s", name, name, table->quoted);
    if (!mysql_query_open(mysql, err))
        return false;
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, err);
    if (!result)
        return false;
    MYSQL_ROW row = mysql_fetch_row(result);
    *ret_least = row && row[0] ? number_of(column, row[0]) : 0;
    *ret_most = row && row[1] ? number_of(column, row[1]) : 0;
    return true;
}

bool my_copy_plan(Capture *capture, uint32_t number, uint64_t range_bytes, const Extents *done,
                  CopyRange **ret, size_t *ret_count, Error *err)
{
    static const Extents none = {0};
    Mysql *mysql = mysql_of(capture);
    const MyTable *table = &mysql->tables[number];
    const MyColumn *column = range_column(table);
    Plan plan = {.table = number};
    uint64_t least = 0, most = 0, step = UINT64_MAX;
    *ret = NULL;
    *ret_count = 0;
    if (column && !read_bounds(mysql, table, column, &least, &most, err))
        return error_wrap(err, "table %s", table->name);
    if (column)
        step = step_of(least, most, table->source->bytes_estimate, range_bytes);
    Extent gap;
    for (uint64_t from = 0;
         from < EXTENTS_END && extents_gap(done ? done : &none, PART, VERSION, from, &gap);
         from = gap.to)
        cut(&plan, gap, least, most, step ? step : 1);
    for (size_t i = 0; i < plan.count; i++)
        plan.ranges[i].bytes_estimate = table->source->bytes_estimate / plan.count;
    *ret = plan.ranges;
    *ret_count = plan.count;
    return true;
}
