/* What a catalog driver fills in; catalog.c dispatches to it. Tests put their own driver here, such
 * as one that loses the answer of a commit. */
#pragma once

#include "agent/catalog/catalog.h"

typedef struct CatalogDriver {
    bool keeps_metadata;
    void (*close)(Catalog *catalog);
    bool (*load)(Catalog *catalog, const TableName *name, CatalogEntry *ret, Error *err);
    bool (*store)(Catalog *catalog, const TableName *name, const CatalogEntry *entry, Store **ret,
                  Error *err);
    bool (*stage)(Catalog *catalog, const TableName *name, const json_t *metadata,
                  char **ret_location, Error *err);
    bool (*commit)(Catalog *catalog, const TableName *name, const CatalogChange *change,
                   CatalogEntry *ret, Error *err);
    bool (*drop)(Catalog *catalog, const TableName *name, bool purge, Error *err);
} CatalogDriver;

struct Catalog {
    const CatalogDriver *driver;
};
