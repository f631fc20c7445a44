#include "agent/capture/postgres/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "common/mem.h"

#define RANGES_MAX 65536
#define BLOCK_BYTES 8192 /* as good as everywhere; only an estimate rests on it */

void copy_parts_free(PgPart *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(parts[i].quoted);
    free(parts);
}

const PgPart *plan_part(const PgTable *table, uint64_t oid)
{
    size_t low = 0, high = table->part_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table->parts[middle].oid == oid)
            return &table->parts[middle];
        if (table->parts[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    ASSERT(oid == 0);
    return NULL;
}

/* A test needs many ranges of few rows. */
static uint64_t blocks_per_range(uint64_t range_bytes)
{
#ifdef FIRN_CRASH_POINTS
    const char *asked = getenv("FIRN_COPY_RANGE_BLOCKS");
    if (asked)
        return strtoull(asked, NULL, 10);
#endif
    return range_bytes / BLOCK_BYTES + 1;
}

static void put_range(CopyRange **ranges, size_t *count, size_t *held, uint32_t table,
                      Extent extent, uint64_t end)
{
    if (*count == *held) {
        *held = *held ? *held * 2 : 16;
        *ranges = mem_regrow(*ranges, *held, sizeof **ranges);
    }
    uint64_t to = extent.to < end ? extent.to : end;
    (*ranges)[(*count)++] =
        (CopyRange){.table = table,
                    .extent = extent,
                    .bytes_estimate = to > extent.from ? (to - extent.from) * BLOCK_BYTES : 0};
}

void plan_ranges(const PgPart *parts, size_t part_count, uint32_t table, uint64_t blocks,
                 const Extents *done, CopyRange **ret, size_t *ret_count)
{
    static const Extents none = {0};
    size_t held = 0;
    uint64_t all = 0;
    *ret = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < part_count; i++)
        all += parts[i].blocks;
    if (blocks < all / RANGES_MAX + 1)
        blocks = all / RANGES_MAX + 1;
    for (size_t i = 0; i < part_count; i++) {
        const PgPart *part = &parts[i];
        Extent gap;
        for (uint64_t from = 0; from < EXTENTS_END && extents_gap(done ? done : &none, part->oid,
                                                                  part->version, from, &gap);
             from = gap.to) {
            Extent extent = gap;
            /* what is left behind the last cut is up to half as long again */
            while (extent.from < part->blocks && gap.to - extent.from > blocks &&
                   part->blocks - extent.from > blocks + blocks / 2) {
                extent.to = extent.from + blocks;
                put_range(ret, ret_count, &held, table, extent, part->blocks);
                extent.from = extent.to;
            }
            extent.to = gap.to;
            put_range(ret, ret_count, &held, table, extent, part->blocks);
        }
    }
}

/* $1: the tables. Those of one stand together, by oid; a partitioned one without partitions has
 * none. */
static const char parts_sql[] =
    "SELECT o.root, c.oid, n.nspname, c.relname, pg_catalog.pg_relation_filenode(c.oid), "
    "  pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8, "
    "  c.oid = o.root OR (c.relkind = 'r' AND pg_catalog.has_table_privilege(c.oid, 'SELECT') "
    "  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')) "
    "FROM pg_catalog.unnest($1::oid[]) AS o(root) "
    "LEFT JOIN LATERAL " LEAVES_SQL(
        "o.root") " t ON true "
                  "JOIN pg_catalog.pg_class c ON c.oid = coalesce(t.oid, o.root) AND c.relkind <> "
                  "'p' "
                  "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY o.root, c.oid";

static void put_part(PgTable *table, const PGresult *result, int row)
{
    AUTO(mem_free) char *schema = connect_identifier(PQgetvalue(result, row, 2));
    AUTO(mem_free) char *name = connect_identifier(PQgetvalue(result, row, 3));
    table->parts_own = table->parts_own && PQgetvalue(result, row, 6)[0] == 't';
    table->parts = mem_regrow(table->parts, table->part_count + 1, sizeof *table->parts);
    table->parts[table->part_count++] =
        (PgPart){.oid = (uint32_t)strtoul(PQgetvalue(result, row, 1), NULL, 10),
                 .version = (uint32_t)strtoul(PQgetvalue(result, row, 4), NULL, 10),
                 .blocks = strtoull(PQgetvalue(result, row, 5), NULL, 10),
                 .quoted = mem_format("%s.%s", schema, name)};
}

/* Of the tables that are copied, all at once: there may be ten thousand. */
static bool find_parts(Postgres *postgres, Error *err)
{
    AUTO(text_done) Bytes oids = {0};
    bytes_put_u8(&oids, '{');
    for (size_t i = 0; i < postgres->table_count; i++) {
        PgTable *table = &postgres->tables[i];
        char text[16];
        if (!postgres->sources[i].copied)
            continue;
        ASSERT(!table->parts);
        table->parts_own = true;
        bytes_put(&oids, text,
                  (size_t)snprintf(text, sizeof text, "%s%" PRIu32, oids.used > 1 ? "," : "",
                                   table->oid));
    }
    bytes_put(&oids, "}", 2);
    const char *values[] = {(const char *)oids.data};
    AUTO(result_clear)
    PGresult *result =
        connect_query_with(postgres->query, PGRES_TUPLES_OK, parts_sql, 1, values, err);
    if (!result)
        return error_wrap(err, "the tables' parts");
    for (int row = 0; row < PQntuples(result); row++) {
        PgTable *table = tables_by_oid(postgres, strtoull(PQgetvalue(result, row, 0), NULL, 10));
        ASSERT(table);
        put_part(table, result, row);
    }
    return true;
}

bool copy_look(Postgres *postgres, Error *err)
{
    return find_parts(postgres, err);
}

/* Was a part rewritten between the two looks? */
static bool check_parts(const PgPart *before, size_t count, const PgTable *table, Error *err)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < table->part_count; k++)
            if (before[i].oid == table->parts[k].oid &&
                before[i].version != table->parts[k].version)
                return error_set(err, ERROR_RETRY, "TableRewritten",
                                 "%s was rewritten or emptied while its copy was prepared",
                                 table->parts[k].quoted) ||
                       error_wrap(err, "table %s", table->name);
    return true;
}

static bool find_parts_again(Postgres *postgres, Error *err)
{
    PgPart **before = mem_array(postgres->table_count, sizeof *before);
    size_t *counts = mem_array(postgres->table_count, sizeof *counts);
    for (size_t i = 0; i < postgres->table_count; i++) {
        PgTable *table = &postgres->tables[i];
        before[i] = TAKE(table->parts);
        counts[i] = table->part_count;
        table->part_count = 0;
    }
    bool ok = find_parts(postgres, err);
    for (size_t i = 0; i < postgres->table_count; i++) {
        ok = ok && check_parts(before[i], counts[i], &postgres->tables[i], err);
        copy_parts_free(before[i], counts[i]);
    }
    free(before);
    free(counts);
    return ok;
}

bool copy_plan(Capture *capture, uint32_t number, uint64_t range_bytes, const Extents *done,
               CopyRange **ret, size_t *ret_count, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    ASSERT(number < postgres->table_count);
    PgTable *table = &postgres->tables[number];
    if (!postgres->looked_again &&
        (!postgres_query_open(postgres, err) || !find_parts_again(postgres, err)))
        return false;
    postgres->looked_again = true;
    if (table->parts_own) {
        plan_ranges(table->parts, table->part_count, number, blocks_per_range(range_bytes), done,
                    ret, ret_count);
        return true;
    }
    /* The user may read the root alone. */
    *ret = mem_zalloc(sizeof **ret);
    *ret_count = 1;
    (*ret)[0] = (CopyRange){.table = number,
                            .extent = {.to = EXTENTS_END},
                            .bytes_estimate = postgres->sources[number].bytes_estimate};
    return true;
}
