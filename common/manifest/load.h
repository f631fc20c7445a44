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

/* Findings about an object that has been read; path is whole ("spec.source.host"). */
typedef struct Place {
    Findings *findings;
    const char *kind;
    const ObjectMeta *meta;
    const YamlNode *node;
} Place;
void place_report(const Place *place, const char *path, const char *value, const char *format, ...)
    PRINTF(4, 5); /* value NULL: none to quote */
