/* Where LakeTables are: the catalog and the stores that a spec names. Tables whose specs say the
 * same share one Lake. `run`, `inspect` and `drop` all come through here. */
#pragma once

#include "agent/catalog/catalog.h"
#include "common/manifest/manifest.h"

typedef struct Lake {
    char *folder; /* canonical URI: where the connectors' confirmed records are, in _firn */
    Store *store; /* of the folder */
    Catalog *catalog;
} Lake;

void lake_close(Lake *lake);
Lake *lake_open(const LakeTableSpec *spec, Error *err) OWNED_BY(lake_close);
/* Would lake_open(spec) be the same again? */
bool lake_serves(const Lake *lake, const LakeTableSpec *spec);

/* The table's root; caller frees. */
char *lake_location(const LakeTableSpec *spec, Error *err) OWNED_BY(free);
/* The confirmed record of a connector; caller frees. */
char *lake_record_uri(const Lake *lake, const ConnectorSpec *connector) OWNED_BY(free);

DEFINE_AUTO(Lake, lake_close);
