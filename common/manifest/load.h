/* Between parse.c, expand.c and validate.c: a manifest while it is being made. */
#pragma once

#include "common/manifest/secret.h"
#include "common/manifest/shape.h"

/* The documents' trees stay until everything is checked, so that each finding has its line. */
typedef struct Load {
    Manifest *manifest;
    Findings *findings;
    const YamlNode **connector_nodes; /* beside manifest->connectors */
    const YamlNode **table_nodes;
    const YamlNode **unit_nodes;
    bool incomplete; /* something could not be read: what is missing may stand there */
} Load;

/* Fills in what follows from other fields: names of slots, the tables of outsourcing units. */
void manifest_complete(Load *load);
void manifest_validate(Load *load);
void manifest_resolve_secrets(Load *load);

/* lake.c: spec.catalog and spec.storage of one table. `spec` is the table's own mapping, `prefix`
 * where it stands in its document ("spec." or "spec.outsourcingUnit.table."). */
typedef struct Place Place;
void lake_complete(LakeTableSpec *table, const YamlNode *spec);
void lake_check(const Place *place, const char *prefix, const LakeTableSpec *table);
void lake_resolve(const Load *load, const Place *place, const char *prefix, LakeTableSpec *table);
void lake_secrets_copy(LakeTableSpec *to, const LakeTableSpec *from); /* `to` has none yet */
void lake_secrets_wipe(LakeTableSpec *table);                         /* and frees them */

/* … and of any object store; path: where it stands ("spec.storage"). */
void storage_complete(StorageSpec *storage, const YamlNode *node);
void storage_check(const Place *place, const char *path, const StorageSpec *storage);
void storage_resolve(const Load *load, const Place *place, const char *path, StorageSpec *storage);

/* events.c: spec.kafka of a unit, which has one. */
void events_check(const Load *load, const Place *place, const IngestionUnitSpec *unit);
/* … spec.toTopic of a unit, which has one. */
void events_check_to_topic(const Place *place, const IngestionUnitSpec *unit);

/* records.c: spec.kafka.records of a unit, which has a spec.kafka. */
void records_check(const Load *load, const Place *place, const IngestionUnitSpec *unit);

/* stream.c: spec.stream of one Connector, spec.kafka of one unit, which has one. */
void stream_complete(ConnectorSpec *connector, const YamlNode *spec);
void stream_complete_unit(IngestionUnitSpec *unit);
void stream_check(const Place *place, const ConnectorSpec *connector);
void stream_check_unit(const Place *place, const IngestionUnitSpec *unit);
void stream_resolve(const Load *load, const Place *place, ConnectorSpec *connector);
void stream_resolve_unit(const Load *load, const Place *place, IngestionUnitSpec *unit);
void stream_secrets_wipe(StreamSpec *stream); /* and frees them */

/* validate.c: a key of a Secret, or a finding at `path`. */
bool place_secret(const Load *load, const Place *place, const char *path, const char *name,
                  const char *key, char **ret_value);
bool place_secret_has(const Load *load, const Place *place, const char *name, const char *key);
/* … that holds "certificate" or "private key" in PEM form. */
bool place_secret_pem(const Load *load, const Place *place, const char *path, const char *name,
                      const char *key, const char *what, char **ret_value);

/* routes.c: which LakeTables the unit of this index names. */
void routes_check(const Load *load, const Place *place, size_t index);
/* Where it names that one: "spec.routes[1].lakeTableRef.name". Caller frees. */
char *routes_path(const IngestionUnitSpec *unit, size_t at);

/* Findings about an object that has been read; path is whole ("spec.source.host"). */
struct Place {
    Findings *findings;
    const char *kind;
    const ObjectMeta *meta;
    const YamlNode *node;
};
void place_report(const Place *place, const char *path, const char *value, const char *format, ...)
    PRINTF(4, 5); /* value NULL: none to quote */
/* "did you mean ...?", where one of the names is near, else the other. Caller frees. */
char *place_meant(const char *name, const char *const *names, size_t count, const char *otherwise);
