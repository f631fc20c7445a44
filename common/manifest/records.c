/* spec.kafka.records of an IngestionUnit: what the connector was told that wrote a topic whose
 * records have no schemas with them. In what unit a time comes is all that a column's type and the
 * connector's modes together may leave open: adaptive modes go by the source's digits of a second.
 * https://debezium.io/documentation/reference/3.5/connectors/postgresql.html#postgresql-temporal-types
 * https://debezium.io/documentation/reference/3.5/connectors/mysql.html#mysql-temporal-types */
#include <string.h>

#include "common/manifest/load.h"
#include "common/mem.h"

#define PATH "spec.kafka.records"

typedef struct UnitList {
    const char *name;
    const TextList *columns;
    RecordUnit unit;
} UnitList;
#define UNIT_LISTS 3

static void lists_of(const RecordsSpec *records, UnitList ret[UNIT_LISTS])
{
    ret[0] = (UnitList){"milliseconds", &records->milliseconds, RECORD_MILLISECONDS};
    ret[1] = (UnitList){"microseconds", &records->microseconds, RECORD_MICROSECONDS};
    ret[2] = (UnitList){"nanoseconds", &records->nanoseconds, RECORD_NANOSECONDS};
}

static bool has_text(const TextList *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->texts[i], text) == 0)
            return true;
    return false;
}

/* By the mode alone. */
static RecordUnit mode_unit(const RecordsSpec *records, bool is_time)
{
    switch (records->time) {
    case RECORD_TIME_CONNECT:
        return RECORD_MILLISECONDS;
    case RECORD_TIME_MICROSECONDS:
        return RECORD_MICROSECONDS;
    case RECORD_TIME_NANOSECONDS:
        return RECORD_NANOSECONDS;
    case RECORD_TIME_ADAPTIVE_MICROSECONDS:
        return is_time ? RECORD_MICROSECONDS : RECORD_UNIT_UNKNOWN;
    case RECORD_TIME_ADAPTIVE:
        break;
    }
    return RECORD_UNIT_UNKNOWN;
}

RecordUnit manifest_time_unit(const RecordsSpec *records, const char *column, bool is_time)
{
    UnitList lists[UNIT_LISTS];
    RecordUnit unit = mode_unit(records, is_time);
    lists_of(records, lists);
    for (size_t i = 0; i < UNIT_LISTS && unit == RECORD_UNIT_UNKNOWN; i++)
        if (has_text(lists[i].columns, column))
            unit = lists[i].unit;
    return unit;
}

bool manifest_declares_records(const IngestionUnitSpec *unit)
{
    const StreamSpec *kafka = unit->kafka;
    return kafka && !unit->to_topic && kafka->incoming == INCOMING_DEBEZIUM &&
           !kafka->registry_url && !kafka->records.schemas;
}

/* --- checks --- */

/* The n-th table that the unit's rows go to; NULL: it is not known. */
static const LakeTableSpec *table_at(const Load *load, const IngestionUnitSpec *unit, size_t at)
{
    const char *name = unit->lake ? NULL : manifest_table_name(unit, at);
    return unit->lake ? unit->lake
           : name     ? manifest_find_table(load->manifest, unit->meta.namespace_name, name)
                      : NULL;
}

static bool is_of(const ColumnSpec *column, const char *type)
{
    return column->name && column->type && strcmp(column->type, type) == 0;
}

/* Is every time's unit known? */
static void check_times(const Place *place, const RecordsSpec *records, const LakeTableSpec *table)
{
    for (size_t i = 0; table && i < table->columns.count; i++) {
        const ColumnSpec *column = &table->columns.items[i];
        bool is_time = is_of(column, "time");
        if ((is_time || is_of(column, "timestamp")) &&
            manifest_time_unit(records, column->name, is_time) == RECORD_UNIT_UNKNOWN)
            place_report(
                place, PATH ".time", NULL,
                "leaves open in what column %s comes, which goes by its digits of a second "
                "at the source: write it into %s.milliseconds (up to 3: timestamp(3), "
                "MySQL's datetime) or %s.microseconds (4 to 6: PostgreSQL's timestamp, "
                "datetime(6))",
                column->name, PATH, PATH);
    }
}

/* Has one of the tables a column of that name whose unit the mode leaves open? */
static bool is_open(const Load *load, const IngestionUnitSpec *unit, const char *name)
{
    bool known = true;
    size_t count = unit->lake ? 1 : manifest_table_count(unit);
    for (size_t i = 0; i < count; i++) {
        const LakeTableSpec *table = table_at(load, unit, i);
        known = known && table;
        for (size_t k = 0; table && k < table->columns.count; k++) {
            const ColumnSpec *column = &table->columns.items[k];
            bool is_time = is_of(column, "time");
            if ((is_time || is_of(column, "timestamp")) && strcmp(column->name, name) == 0 &&
                mode_unit(&unit->kafka->records, is_time) == RECORD_UNIT_UNKNOWN)
                return true;
        }
    }
    return !known;
}

static void check_listed(const Load *load, const Place *place, const IngestionUnitSpec *unit)
{
    UnitList lists[UNIT_LISTS];
    lists_of(&unit->kafka->records, lists);
    for (size_t i = 0; i < UNIT_LISTS; i++)
        for (size_t k = 0; k < lists[i].columns->count; k++) {
            const char *name = lists[i].columns->texts[k];
            AUTO(mem_free) char *path = mem_format("%s.%s[%zu]", PATH, lists[i].name, k);
            for (size_t other = 0; other < i; other++)
                if (has_text(lists[other].columns, name))
                    place_report(place, path, name, "stands in %s already: leave it out of one",
                                 lists[other].name);
            if (!is_open(load, unit, name))
                place_report(place, path, name,
                             "is no column of type time or timestamp of the table, or time says "
                             "already in what it comes: leave it out");
        }
}

/* What is said of records that say it themselves. */
static void check_unread(const Place *place, const IngestionUnitSpec *unit)
{
    static const char *const modes[] = {"time",        "milliseconds", "microseconds",
                                        "nanoseconds", "decimal",      "binary"};
    const StreamSpec *kafka = unit->kafka;
    const YamlNode *node = yaml_get(yaml_at(place->node, "spec.kafka"), "records");
    if (!node)
        return;
    if (unit->to_topic)
        place_report(place, PATH, NULL, "is for tables, not for toTopic: leave it out");
    else if (kafka->incoming != INCOMING_DEBEZIUM)
        place_report(place, PATH, NULL, "is for incomingData Debezium alone: leave it out");
    else if (kafka->registry_url)
        place_report(
            place, PATH, NULL,
            "is for JSON, and with schemaRegistry records are Avro: leave out one of both");
    for (size_t i = 0; i < ARRAY_LEN(modes) && kafka->records.schemas && !unit->to_topic; i++) {
        AUTO(mem_free) char *path = mem_format("%s.%s", PATH, modes[i]);
        if (yaml_get(node, modes[i]))
            place_report(place, path, NULL,
                         "says nothing of records that have their schemas with them: leave it out, "
                         "or write schemas: false");
    }
}

void records_check(const Load *load, const Place *place, const IngestionUnitSpec *unit)
{
    check_unread(place, unit);
    if (!manifest_declares_records(unit))
        return;
    size_t count = unit->lake ? 1 : manifest_table_count(unit);
    for (size_t i = 0; i < count; i++)
        check_times(place, &unit->kafka->records, table_at(load, unit, i));
    check_listed(load, place, unit);
}
