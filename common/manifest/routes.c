/* The LakeTables that a unit names: its lakeTableRef, or its routes, by which a topic's records are
 * shared out to several; and its dead letters'. */
#include <string.h>

#include "common/manifest/load.h"
#include "common/mem.h"

size_t manifest_table_count(const IngestionUnitSpec *unit)
{
    return unit->routes.count ? unit->routes.count : unit->lake_table != NULL;
}

const char *manifest_table_name(const IngestionUnitSpec *unit, size_t at)
{
    size_t count = manifest_table_count(unit);
    if (at >= count)
        return at == count ? unit->dead_letter_table : NULL;
    return unit->routes.count ? unit->routes.items[at].lake_table : unit->lake_table;
}

char *routes_path(const IngestionUnitSpec *unit, size_t at)
{
    if (at == manifest_table_count(unit))
        return mem_strdup("spec.deadLetter.lakeTableRef.name");
    return unit->routes.count ? mem_format("spec.routes[%zu].lakeTableRef.name", at)
                              : mem_strdup("spec.lakeTableRef.name");
}

static void check_exists(const Load *load, const Place *place, const IngestionUnitSpec *unit,
                         size_t at)
{
    const Manifest *manifest = load->manifest;
    const char *name = manifest_table_name(unit, at);
    if (load->incomplete || manifest_find_table(manifest, unit->meta.namespace_name, name))
        return;
    AUTO(mem_free) const char **names = mem_array(manifest->table_count + 1, sizeof *names);
    size_t count = 0;
    for (size_t i = 0; i < manifest->table_count; i++)
        if (manifest->tables[i].meta.name)
            names[count++] = manifest->tables[i].meta.name;
    AUTO(mem_free)
    char *hint = place_meant(name, names, count, "add it, or give its file as well");
    AUTO(mem_free) char *path = routes_path(unit, at);
    place_report(place, path, name, "names no LakeTable in namespace %s: %s",
                 unit->meta.namespace_name, hint);
}

/* A table is filled by one unit, and by one of its routes. `index`: the unit's in the manifest. */
static void check_alone(const Load *load, const Place *place, const IngestionUnitSpec *unit,
                        size_t index, size_t at)
{
    const char *name = manifest_table_name(unit, at), *taken;
    AUTO(mem_free) char *path = routes_path(unit, at);
    for (size_t i = 0; i < at; i++)
        if ((taken = manifest_table_name(unit, i)) && strcmp(taken, name) == 0)
            place_report(place, path, name,
                         at == manifest_table_count(unit)
                             ? "is a table of the unit's rows: dead letters need one of their own"
                             : "is the table of another route: write one route for it, with in");
    for (size_t i = 0; i < index; i++) {
        const IngestionUnitSpec *other = &load->manifest->units[i];
        bool apart =
            strcmp(unit->meta.namespace_name, other->meta.namespace_name) != 0 ||
            (unit->meta.name && other->meta.name && strcmp(unit->meta.name, other->meta.name) == 0);
        for (size_t k = 0; !apart && (taken = manifest_table_name(other, k)); k++)
            if (strcmp(taken, name) == 0)
                place_report(place, path, name,
                             "is filled by IngestionUnit %s already: a table has one unit",
                             other->meta.name ? other->meta.name : "?");
    }
}

static void check_routes(const Place *place, const IngestionUnitSpec *unit, const YamlNode *node)
{
    if (!unit->kafka)
        place_report(place, "spec.routes", NULL,
                     "is for a topic that others fill (kafka): a captured table goes to one table");
    else if (unit->kafka->incoming == INCOMING_DEBEZIUM && unit->kafka->ordering_column)
        place_report(place, "spec.kafka.orderingColumn", unit->kafka->ordering_column,
                     "can't say which version is newer between the tables of routes: leave out one "
                     "of both");
    for (size_t i = 0; node->kind == YAML_LIST && i + 1 < node->count; i++) {
        if (yaml_get(node->values[i], "when"))
            continue;
        AUTO(mem_free) char *path = mem_format("spec.routes[%zu]", i);
        place_report(place, path, NULL,
                     "takes every record, so that none is left for the routes behind it: write "
                     "when, or put it last");
    }
}

/* A table of dead letters has columns of its own. */
static void check_letters(const Load *load, const Place *place, const IngestionUnitSpec *unit)
{
    const YamlNode *node = yaml_get(yaml_get(place->node, "spec"), "deadLetter");
    if (node && node->kind == YAML_MAP &&
        !yaml_get(node, "topic") == !yaml_get(node, "lakeTableRef"))
        place_report(place, "spec.deadLetter", NULL,
                     "goes to one place: write topic, or lakeTableRef");
    const LakeTableSpec *table =
        unit->dead_letter_table ? manifest_find_table(load->manifest, unit->meta.namespace_name,
                                                      unit->dead_letter_table)
                                : NULL;
    if (!table)
        return;
    const struct {
        bool stands;
        const char *field, *way;
    } own[] = {
        {table->mode != MODE_UPSERT, "mode", "write Upsert, for one may come twice"},
        {table->id_columns.count, "idColumns", "leave it out"},
        {table->columns.count, "columns", "leave it out"},
        {table->incompatible != INCOMPATIBLE_STALL, "schemaEvolution.incompatible", "write Stall"}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (own[i].stands)
            place_report(place, "spec.deadLetter.lakeTableRef.name", unit->dead_letter_table,
                         "is a table that says %s of its own, and dead letters have theirs: %s",
                         own[i].field, own[i].way);
}

/* Where a record goes whose columns the table can't follow: only where it is one among others. */
static void check_incompatible(const Place *place, const IngestionUnitSpec *unit, const char *path,
                               const LakeTableSpec *table)
{
    static const char says[] = "schemaEvolution.incompatible: DeadLetter";
    if (!table || table->incompatible != INCOMPATIBLE_DEAD_LETTER)
        return;
    if (!unit->kafka)
        place_report(place, path, NULL,
                     "%s is for a topic that others fill (kafka): of captured tables no change can "
                     "be left out; write Stall",
                     says);
    else if (unit->kafka->incoming == INCOMING_JSON || manifest_declares_records(unit))
        place_report(place, path, NULL,
                     "%s is for records with a schema, and %s: what does not fit the declared "
                     "columns goes to deadLetter without it; write Stall",
                     says,
                     unit->kafka->incoming == INCOMING_JSON
                         ? "Json has none"
                         : "with records.schemas: false they have none");
    else if (unit->routes.count)
        place_report(place, path, NULL,
                     "%s is for a unit of one table: whose a record is that can't be read into the "
                     "columns, routes can't tell; write Stall",
                     says);
    else if (!unit->dead_letter && !unit->dead_letter_table)
        place_report(place, path, NULL,
                     "%s needs spec.deadLetter, where such records go: write its topic or "
                     "lakeTableRef, or Stall",
                     says);
}

static void check_evolutions(const Load *load, const Place *place, const IngestionUnitSpec *unit)
{
    if (unit->lake)
        check_incompatible(place, unit, "spec.outsourcingUnit.table.schemaEvolution.incompatible",
                           unit->lake);
    for (size_t i = 0; i < manifest_table_count(unit); i++) {
        const char *name = manifest_table_name(unit, i);
        AUTO(mem_free) char *path = routes_path(unit, i);
        if (name)
            check_incompatible(
                place, unit, path,
                manifest_find_table(load->manifest, unit->meta.namespace_name, name));
    }
}

void routes_check(const Load *load, const Place *place, size_t index)
{
    const IngestionUnitSpec *unit = &load->manifest->units[index];
    const YamlNode *node = yaml_get(yaml_get(place->node, "spec"), "routes");
    if (node)
        check_routes(place, unit, node);
    if (unit->lake_table && unit->tables.count)
        place_report(place, "spec.lakeTableRef", NULL,
                     "patterns make a table for each that matches: write outsourcingUnit.table "
                     "instead of lakeTableRef");
    for (size_t i = 0; i <= manifest_table_count(unit); i++) {
        if (!manifest_table_name(unit, i))
            continue;
        check_exists(load, place, unit, i);
        check_alone(load, place, unit, index, i);
    }
    check_letters(load, place, unit);
    check_evolutions(load, place, unit);
}
