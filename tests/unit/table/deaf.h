/* A catalog whose commits take effect, and whose answers are lost. One at a time. */
#pragma once

#include "agent/catalog/driver.h"

static const CatalogDriver *hearing_;
static CatalogDriver deaf_;

static inline bool deaf_commit(Catalog *catalog, const TableName *name, const CatalogChange *change,
                               CatalogEntry *ret, Error *error)
{
    if (!hearing_->commit(catalog, name, change, ret, error))
        return false;
    catalog_entry_done(ret);
    return error_set(error, ERROR_RETRY, "AnswerLost", "the answer is lost");
}

static inline void deaf_begin(Catalog *catalog)
{
    hearing_ = catalog->driver;
    deaf_ = *hearing_;
    deaf_.commit = deaf_commit;
    catalog->driver = &deaf_;
}

static inline void deaf_end(Catalog *catalog)
{
    catalog->driver = hearing_;
}
