/* `firn-agent drop`: undoes what a manifest made. Order matters: the slot goes first, so that the
 * source never holds log for a pipeline whose tables are gone. */
#include <stdio.h>

#include "agent/capture/capture.h"
#include "agent/pipeline/flow.h"
#include "common/mem.h"

static bool record_drop(const Lake *lake, const ConnectorSpec *connector, Error *err)
{
    AUTO(mem_free) char *uri = lake_record_uri(lake, connector);
    return store_delete(lake->store, uri, err);
}

static bool table_drop(const Lake *lake, const LakeTableSpec *spec, Error *err)
{
    if (!spec->drop_on_delete) {
        printf("table %s.%s: kept (deletionPolicy Retain)\n", spec->database, spec->table_name);
        return true;
    }
    AUTO(mem_free) char *location = NULL;
    if (!lake_location(lake, spec, &location, err))
        return false;
    TableName name = {spec->database, spec->table_name, location};
    if (!catalog_drop(lake->catalog, &name, true, err))
        return false;
    printf("table %s.%s: dropped\n", spec->database, spec->table_name);
    return true;
}

static bool spec_drop(const ConnectorSpec *connector, const LakeTableSpec *spec, Error *err)
{
    AUTO(lake_close) Lake *lake = lake_open(spec, err);
    return lake && record_drop(lake, connector, err) && table_drop(lake, spec, err);
}

/* The tables of one unit; a pattern's are those the source has now. */
static bool unit_drop(const Manifest *manifest, const ConnectorSpec *connector,
                      const IngestionUnitSpec *unit, const SourceTable *sources,
                      size_t source_count, Error *err)
{
    if (!unit->lake) {
        const LakeTableSpec *spec =
            manifest_find_table(manifest, unit->meta.namespace_name, unit->lake_table);
        return spec_drop(connector, spec, err);
    }
    for (size_t i = 0; i < source_count; i++) {
        AUTO(mem_free)
        char *name = mem_format("%s.%s", sources[i].schema_name, sources[i].table_name);
        if (!(unit->table && strcmp(unit->table, name) == 0) &&
            !manifest_patterns_match(&unit->tables, name))
            continue;
        LakeTableSpec *spec;
        AUTO(mem_free) char *unit_name = NULL;
        if (!manifest_expand(unit, sources[i].schema_name, sources[i].table_name, &spec, &unit_name,
                             err))
            return false;
        bool ok = spec_drop(connector, spec, err);
        lake_table_free(spec);
        if (!ok)
            return false;
    }
    return true;
}

static bool connector_drop(const Manifest *manifest, const ConnectorSpec *connector, Error *err)
{
    AUTO(capture_close) Capture *capture = capture_open(connector, &(CaptureOptions){0}, err);
    if (!capture)
        return false;
    size_t source_count;
    const SourceTable *sources = capture_tables(capture, &source_count);
    if (!capture_drop(connector, err))
        return false;
    if (connector->source_type == SOURCE_POSTGRESQL)
        printf("connector %s/%s: slot %s and publication %s %s\n", connector->meta.namespace_name,
               connector->meta.name, connector->pg_slot, connector->pg_publication,
               connector->pg_manage ? "dropped" : "kept (manage: false)");
    else
        printf("connector %s/%s: keeps nothing at its source\n", connector->meta.namespace_name,
               connector->meta.name);
    for (size_t i = 0; i < manifest->unit_count; i++) {
        const IngestionUnitSpec *unit = &manifest->units[i];
        if (strcmp(unit->connector, connector->meta.name) == 0 &&
            strcmp(unit->meta.namespace_name, connector->meta.namespace_name) == 0 &&
            !unit_drop(manifest, connector, unit, sources, source_count, err))
            return false;
    }
    return true;
}

bool pipeline_drop(const Manifest *manifest, Error *err)
{
    for (size_t i = 0; i < manifest->connector_count; i++)
        if (!connector_drop(manifest, &manifest->connectors[i], err))
            return error_wrap(err, "Connector/%s", manifest->connectors[i].meta.name);
    /* Tables without any Connector are meant themselves: whoever filled them is gone. */
    for (size_t i = 0; !manifest->connector_count && i < manifest->table_count; i++) {
        AUTO(lake_close) Lake *lake = lake_open(&manifest->tables[i], err);
        if (!lake || !table_drop(lake, &manifest->tables[i], err))
            return error_wrap(err, "LakeTable/%s", manifest->tables[i].meta.name);
    }
    return true;
}
