/* What a catalog driver fills in; catalog.c dispatches to it. Tests put their own driver here, such
 * as one that loses the answer of a commit. */
#pragma once

#include "agent/catalog/catalog.h"

typedef struct CatalogDriver {
    void (*close)(Catalog *catalog);
    bool (*load)(Catalog *catalog, const TableName *name, CatalogEntry *ret, Error *err);
    bool (*commit)(Catalog *catalog, const TableName *name, const CatalogEntry *base,
                   const char *metadata, size_t metadata_bytes, char **ret_uri,
                   int64_t *ret_version, Error *err);
    bool (*drop)(Catalog *catalog, const TableName *name, bool purge, Error *err);
} CatalogDriver;

struct Catalog {
    const CatalogDriver *driver;
};
