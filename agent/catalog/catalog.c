/* The catalog's front: every call goes to the driver that opened it. */
#include "agent/catalog/driver.h"

void catalog_close(Catalog *catalog)
{
    if (catalog)
        catalog->driver->close(catalog);
}

void catalog_entry_done(CatalogEntry *entry)
{
    free(entry->metadata_uri);
    bytes_done(&entry->metadata);
    *entry = (CatalogEntry){0};
}

bool catalog_load(Catalog *catalog, const TableName *name, CatalogEntry *ret, Error *err)
{
    *ret = (CatalogEntry){0};
    if (catalog->driver->load(catalog, name, ret, err))
        return true;
    catalog_entry_done(ret);
    return error_wrap(err, "table %s.%s", name->database, name->table);
}

bool catalog_store(Catalog *catalog, const TableName *name, const CatalogEntry *entry, Store **ret,
                   Error *err)
{
    return catalog->driver->store(catalog, name, entry, ret, err) ||
           error_wrap(err, "table %s.%s", name->database, name->table);
}

bool catalog_keeps_metadata(const Catalog *catalog)
{
    return catalog->driver->keeps_metadata;
}

bool catalog_stage(Catalog *catalog, const TableName *name, const json_t *metadata,
                   char **ret_location, Error *err)
{
    return catalog->driver->stage(catalog, name, metadata, ret_location, err) ||
           error_wrap(err, "table %s.%s", name->database, name->table);
}

bool catalog_commit(Catalog *catalog, const TableName *name, const CatalogChange *change,
                    CatalogEntry *ret, Error *err)
{
    *ret = (CatalogEntry){0};
    if (catalog->driver->commit(catalog, name, change, ret, err))
        return true;
    catalog_entry_done(ret);
    return error_wrap(err, "table %s.%s", name->database, name->table);
}

bool catalog_drop(Catalog *catalog, const TableName *name, bool purge, Error *err)
{
    return catalog->driver->drop(catalog, name, purge, err) ||
           error_wrap(err, "table %s.%s", name->database, name->table);
}
