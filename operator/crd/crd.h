/* The three CustomResourceDefinitions, written from the manifest's own tables
 * (common/manifest/shape.h): so that the API server's verdict on a resource is that of
 * `firn-agent validate`, and a field that is added there is here with its sentence, default and
 * limits. The texts in crds/ are what this gives; a unit test compares them.
 *
 *   crd.c         names, columns, subresources, status
 *   schema.c      a shape → a structural schema
 *   rules.c       a field's check → pattern or CEL; what holds between fields → CEL
 *   yaml_text.c   JSON → YAML as a person would write it
 *
 * What stays to the operator at run time (condition Stalled, reason InvalidSpec): references
 * between objects, and the items of `host` when it is a list (a field that is a text or a list has
 * no structural type).
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
 */
#pragma once

#include <jansson.h>

#include "common/bytes.h"
#include "common/manifest/shape.h"

typedef struct CrdKind {
    const char *kind, *plural, *singular, *short_name;
    const Shape *shape;
} CrdKind;
/* Connector, LakeTable, IngestionUnit; ends with a NULL kind. */
extern const CrdKind crd_kinds[];

/* The whole definition; the caller's. */
json_t *crd_definition(const CrdKind *kind);
/* Appends a document. */
void yaml_text_write(Bytes *to, const json_t *value);

/* --- inside --- */

/* Of a mapping's shape; the caller's. */
json_t *schema_of_shape(const Shape *shape);
/* Adds what a text's check asks for: pattern, lengths, rules. */
void rules_of_check(json_t *schema, TextCheck *check);
/* Adds what holds between the fields of a shape, found by its name. */
void rules_of_shape(json_t *schema, const Shape *shape);
/* A LakeTable's own, beside those of its spec in an outsourcingUnit. */
void rules_of_lake_table(json_t *spec);
void rule_add(json_t *schema, const char *rule, const char *message);
/* Milliseconds of a duration, as a CEL expression over the text `self`. */
char *rules_duration_ms(void);
