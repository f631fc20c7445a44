/* A schema registry by Confluent's REST API (Confluent's own, Apicurio's ccompat, Karapace …):
 * registers schemas and remembers their ids. Answers are not trusted.
 *
 *   POST <url>/subjects/<subject>/versions          {"schema": "…"}  →  {"id": 7}
 *   GET  <url>/subjects/<subject>/versions/latest                    →  {"id": 7, "schema": "…"}
 *   GET  <url>/schemas/ids/<id>  →  {"schema": "…", "schemaType": "PROTOBUF", "references": [
 *                                     {"name": "a.proto", "subject": "a", "version": 1}]}
 *   GET  <url>/subjects/<subject>/versions/<version>       the same, of what is referred to
 *
 * A registry may be used by several threads; calls are one at a time.
 * https://docs.confluent.io/platform/current/schema-registry/develop/api.html */
#pragma once

#include "agent/record/writer.h"
#include "common/error.h"
#include "common/http/http_client.h"

typedef struct RegistryOptions {
    const char *url;      /* "http://registry:8080/apis/ccompat/v7" */
    const char *username; /* basic; NULL: none */
    const char *password;
    const char *token;  /* bearer; NULL: none */
    const char *ca_pem; /* NULL: the system's */
    uint32_t ids_max;   /* remembered; 0: 10000. The oldest goes first */
} RegistryOptions;

typedef struct Registry Registry;
void registry_free(Registry *registry);
/* CONFIG "RegistryUrl", "BadCertificate". The options are copied. */
Registry *registry_new(const RegistryOptions *options, Error *err) OWNED_BY(registry_free);
/* The id of the schema (its Avro text) under the subject, registered where it is not. CONFIG
 * "SchemaRefused" when the registry says that it is not compatible with what is there, or none
 * ("…: its answer"); "RegistryDenied" for 401 and 403, "RegistryNotFound" for 404; RETRY
 * "RegistryAway" and what http_client.h says; RETRY "RegistryAnswer" for an answer that is none. */
MUST_CHECK bool registry_register(Registry *registry, const char *subject, const char *schema,
                                  uint32_t *ret_id, Error *err);

/* The id of the subject's latest schema. RETRY "SchemaMissing": there is none (yet). */
MUST_CHECK bool registry_latest(Registry *registry, const char *subject, uint32_t *ret_id,
                                Error *err);
typedef enum RegistryKind { REGISTRY_AVRO, REGISTRY_PROTOBUF } RegistryKind;
/* A schema, with all that it imports: the caller's (writer_schema_done). DATA "UnknownSchemaId":
 * there is none of that id, it is of another kind, or what it imports is not there. Nothing is
 * remembered. */
MUST_CHECK bool registry_fetch(Registry *registry, uint32_t id, RegistryKind kind,
                               WriterSchema *ret, Error *err);

DEFINE_AUTO(Registry, registry_free);
