#include "agent/pipeline/lake.h"

#include <string.h>

#include "common/mem.h"

/* The folder of all tables, canonical: the warehouse, else what the table's own folder is in. */
static char *folder_of(const LakeTableSpec *spec, Error *err)
{
    if (spec->catalog.type != CATALOG_DIRECTORY) {
        error_set(err, ERROR_CONFIG, "NotSupported",
                  "the catalog of %s is no Directory: this version can check such a table, not yet "
                  "fill it",
                  spec->meta.name);
        return NULL;
    }
    if (spec->catalog.warehouse)
        return store_uri(spec->catalog.warehouse, err);
    char *uri = store_uri(spec->location, err);
    char *slash = uri ? strrchr(uri, '/') : NULL;
    if (slash)
        *slash = '\0';
    return uri;
}

void lake_close(Lake *lake)
{
    if (!lake)
        return;
    catalog_close(lake->catalog);
    store_close(lake->store);
    free(lake->folder);
    free(lake);
}

Lake *lake_open(const LakeTableSpec *spec, Error *err)
{
    AUTO(lake_close) Lake *lake = mem_zalloc(sizeof *lake);
    lake->folder = folder_of(spec, err);
    lake->store = lake->folder ? store_posix_open(lake->folder, err) : NULL;
    lake->catalog = lake->store ? catalog_directory_open(lake->store, err) : NULL;
    return lake->catalog ? TAKE(lake) : NULL;
}

bool lake_serves(const Lake *lake, const LakeTableSpec *spec)
{
    AUTO(mem_free) char *folder = folder_of(spec, NULL);
    return folder && strcmp(folder, lake->folder) == 0;
}

char *lake_location(const LakeTableSpec *spec, Error *err)
{
    if (spec->location)
        return store_uri(spec->location, err);
    AUTO(mem_free) char *folder = folder_of(spec, err);
    return folder ? mem_format("%s/%s/%s", folder, spec->database, spec->table_name) : NULL;
}

char *lake_record_uri(const Lake *lake, const ConnectorSpec *connector)
{
    return mem_format("%s/_firn/%s.%s.json", lake->folder, connector->meta.namespace_name,
                      connector->meta.name);
}
