/* spec.kafka of an IngestionUnit, a topic that others fill: what goes beyond one field. */
#include <string.h>

#include "common/manifest/load.h"
#include "common/mem.h"

static const char *name_of(StreamIncoming incoming)
{
    return incoming == INCOMING_JSON ? "Json" : incoming == INCOMING_AVRO ? "Avro" : "Protobuf";
}

/* As agent/table orders them. */
static bool can_order(const char *type)
{
    static const char *const names[] = {"int",       "long",        "date",
                                        "timestamp", "timestamptz", "string"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], type) == 0)
            return true;
    return strncmp(type, "decimal(", 8) == 0;
}

/* Whose columns are those that the table declares. */
static bool declares(const IngestionUnitSpec *unit)
{
    return unit->kafka->incoming == INCOMING_JSON || manifest_declares_records(unit);
}

/* Columns that are declared alone are known here; of others the agent says it. */
static void check_ordering(const Place *place, const IngestionUnitSpec *unit,
                           const LakeTableSpec *table)
{
    static const char path[] = "spec.kafka.orderingColumn";
    const char *name = unit->kafka->ordering_column;
    if (!name)
        return;
    if (table->mode != MODE_UPSERT)
        place_report(place, path, name,
                     "is for a table of mode Upsert: of an Append table every version is a row");
    for (size_t i = 0; i < table->id_columns.count; i++)
        if (strcmp(table->id_columns.texts[i], name) == 0)
            place_report(place, path, name,
                         "is of the key, the same in all versions of a row: name another column");
    bool found = !declares(unit) || !table->columns.count;
    for (size_t i = 0; i < table->columns.count; i++) {
        const ColumnSpec *column = &table->columns.items[i];
        if (!column->name || strcmp(column->name, name) != 0)
            continue;
        found = true;
        if (column->type && !can_order(column->type))
            place_report(place, path, name,
                         "is of type %s, of which no value is newer than another: name a column "
                         "of int, long, decimal, date, timestamp, timestamptz or string",
                         column->type);
    }
    if (!found)
        place_report(place, path, name, "is none of the table's columns: name one of them");
}

static void check_replay(const Place *place, const StreamSpec *kafka)
{
    static const char path[] = "spec.kafka.replay";
    const YamlNode *node = yaml_at(place->node, path);
    bool from = yaml_get(node, "from"), offsets = yaml_get(node, "offsets");
    if (kafka->replay_id && from == offsets)
        place_report(place, path, NULL,
                     "needs where it begins: write from for a time, or offsets for partitions");
    const ReplayOffsets *list = &kafka->replay_offsets;
    for (size_t i = 0; i < list->count; i++)
        for (size_t k = 0; k < i; k++) {
            if (list->items[i].partition != list->items[k].partition)
                continue;
            AUTO(mem_free) char *item = mem_format("%s.offsets[%zu].partition", path, i);
            place_report(place, item, NULL, "%u stands in the list twice: write it once",
                         list->items[i].partition);
            break;
        }
}

/* Plain events say nothing of keys, and in JSON nothing of types; nor do Debezium's without their
 * schemas: the table does. path: where the unit says what does not go with it. */
static void check_table(const Place *place, const char *path, const IngestionUnitSpec *unit,
                        const LakeTableSpec *table)
{
    const ColumnList *columns = &table->columns;
    const char *who = manifest_declares_records(unit) ? "a record without its schema"
                                                      : name_of(unit->kafka->incoming);
    check_ordering(place, unit, table);
    if (unit->kafka->incoming == INCOMING_DEBEZIUM && !declares(unit))
        return;
    if (table->mode == MODE_UPSERT && !table->id_columns.count)
        place_report(place, path, NULL,
                     "%s says nothing of keys: write idColumns of the table, or its mode Append",
                     who);
    if (!declares(unit))
        return;
    if (!columns->count)
        place_report(place, path, NULL,
                     "%s says nothing of types: write the table's columns, with name and type",
                     who);
    for (size_t i = 0; i < columns->count; i++)
        if (columns->items[i].name && !columns->items[i].type)
            place_report(place, path, NULL,
                         "%s says nothing of types: the table's column %s needs its type", who,
                         columns->items[i].name);
    for (size_t i = 0; i < table->id_columns.count && columns->count; i++) {
        bool found = false;
        for (size_t k = 0; k < columns->count; k++)
            found = found || (columns->items[k].name &&
                              strcmp(columns->items[k].name, table->id_columns.texts[i]) == 0);
        if (!found)
            place_report(place, path, NULL,
                         "%s has the table's columns, and its id column %s is none of them", who,
                         table->id_columns.texts[i]);
    }
}

static void check_tables(const Load *load, const Place *place, const IngestionUnitSpec *unit)
{
    const char *incoming =
        manifest_declares_records(unit) ? "spec.kafka.records.schemas" : "spec.kafka.incomingData";
    if (unit->lake)
        check_table(place, incoming, unit, unit->lake);
    for (size_t i = 0; i < manifest_table_count(unit); i++) {
        const char *name = manifest_table_name(unit, i);
        if (!name)
            continue;
        const LakeTableSpec *table =
            manifest_find_table(load->manifest, unit->meta.namespace_name, name);
        AUTO(mem_free) char *path = routes_path(unit, i);
        if (table)
            check_table(place, unit->routes.count ? path : incoming, unit, table);
    }
}

static void check_registry(const Place *place, const StreamSpec *kafka)
{
    if (kafka->incoming == INCOMING_JSON && kafka->registry_url)
        place_report(place, "spec.kafka.schemaRegistry", NULL,
                     "says nothing with incomingData Json: leave it out");
    else if (kafka->incoming != INCOMING_JSON && kafka->incoming != INCOMING_DEBEZIUM &&
             !kafka->registry_url)
        place_report(place, "spec.kafka.schemaRegistry", NULL,
                     "is required with incomingData %s: who keeps the records' schemas",
                     name_of(kafka->incoming));
}

void events_check(const Load *load, const Place *place, const IngestionUnitSpec *unit)
{
    const StreamSpec *kafka = unit->kafka;
    check_replay(place, kafka);
    if (kafka->incoming != INCOMING_JSON && kafka->event_field)
        place_report(place, "spec.kafka.events", NULL,
                     "is for incomingData Json alone: leave it out");
    check_registry(place, kafka);
    records_check(load, place, unit);
    check_tables(load, place, unit);
}

void events_check_to_topic(const Place *place, const IngestionUnitSpec *unit)
{
    static const char *const of_tables[] = {"replay", "orderingColumn"};
    if (!unit->kafka)
        place_report(place, "spec.toTopic", NULL,
                     "is for a topic that others fill (kafka): captured tables are in topics "
                     "already");
    if (unit->kafka && unit->kafka->topic && strcmp(unit->to_topic, unit->kafka->topic) == 0)
        place_report(place, "spec.toTopic.topic", unit->to_topic,
                     "is the topic that is read: write another one");
    if (unit->dead_letter && strcmp(unit->to_topic, unit->dead_letter) == 0)
        place_report(place, "spec.deadLetter.topic", unit->dead_letter,
                     "is the topic that the others go to: write another one");
    for (size_t i = 0; unit->kafka && i < ARRAY_LEN(of_tables); i++) {
        AUTO(mem_free) char *path = mem_format("spec.kafka.%s", of_tables[i]);
        if (yaml_get(yaml_at(place->node, "spec.kafka"), of_tables[i]))
            place_report(place, path, NULL, "is for tables, not for toTopic: leave it out");
    }
}
