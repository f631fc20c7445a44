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

bool catalog_commit(Catalog *catalog, const TableName *name, const CatalogEntry *base,
                    const char *metadata, size_t metadata_bytes, char **ret_uri,
                    int64_t *ret_version, Error *err)
{
    return catalog->driver->commit(catalog, name, base, metadata, metadata_bytes, ret_uri,
                                   ret_version, err) ||
           error_wrap(err, "table %s.%s", name->database, name->table);
}

bool catalog_drop(Catalog *catalog, const TableName *name, bool purge, Error *err)
{
    return catalog->driver->drop(catalog, name, purge, err) ||
           error_wrap(err, "table %s.%s", name->database, name->table);
}
