/* Where LakeTables are: the catalog and the stores that a spec names. Tables whose specs say the
 * same share one Lake. `run`, `inspect` and `drop` all come through here. */
#pragma once

#include "agent/catalog/catalog.h"
#include "common/manifest/manifest.h"

typedef struct Lake {
    char *key;    /* what two specs must agree in to share it */
    char *folder; /* canonical URI: where the connectors' confirmed records are, in _firn */
    bool is_directory;
    AwsCredentials *storage_keys; /* NULL: from the environment */
    AwsCredentials *signing_keys; /* for a catalog that wants SigV4 */
    Store *store;                 /* of the folder */
    Catalog *catalog;
} Lake;

void lake_close(Lake *lake);
/* Reaches a REST catalog, and nothing else. */
Lake *lake_open(const LakeTableSpec *spec, Error *err) OWNED_BY(lake_close);
/* Would lake_open(spec) be the same again? */
bool lake_serves(const Lake *lake, const LakeTableSpec *spec);

/* The folder under which tables stand as database/table; NULL: the catalog chooses. */
const char *lake_tables(const Lake *lake);
/* *ret: the table's root, caller frees; NULL: the catalog knows it. */
MUST_CHECK bool lake_location(const Lake *lake, const LakeTableSpec *spec, char **ret, Error *err);
/* The confirmed record of a connector; caller frees. */
char *lake_record_uri(const Lake *lake, const ConnectorSpec *connector) OWNED_BY(free);

DEFINE_AUTO(Lake, lake_close);
