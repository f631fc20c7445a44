/* Names, columns, subresources and status of the three kinds. */
#include "operator/crd/crd.h"

const CrdKind crd_kinds[] = {
    {"Connector", "connectors", "connector", "fcon", &connector_shape},
    {"LakeTable", "laketables", "laketable", "flt", &lake_table_shape},
    {"IngestionUnit", "ingestionunits", "ingestionunit", "fiu", &ingestion_unit_shape},
    {0},
};

/* As kubectl shows them; priority 1: with -o wide. */
static const struct {
    const char *kind, *name, *type, *path, *description;
    int priority;
} columns[] = {
    {NULL, "Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status",
     "Whether it does what its spec says", 0},
    {NULL, "Phase", "string", ".status.phase", "What it is doing", 0},
    {"Connector", "Tables", "integer", ".status.tables", "Units that it feeds", 0},
    {"IngestionUnit", "Freshness", "date", ".status.freshAt",
     "How old the newest row that the table may lack can be", 0},
    {"IngestionUnit", "Lag", "string", ".status.lag", "What the source has and the table has not",
     0},
    {"IngestionUnit", "Rows", "integer", ".status.rows", "Rows of the table", 0},
    {"IngestionUnit", "Connector", "string", ".spec.connectorRef.name", "The source", 1},
    {"LakeTable", "Unit", "string", ".status.unit", "The IngestionUnit that fills it", 0},
    {"LakeTable", "Database", "string", ".spec.database", "The database in the catalog", 1},
    {"LakeTable", "Table", "string", ".spec.tableName", "The table in the catalog", 1},
    {NULL, "Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason",
     "Why it is, or is not", 1},
    {NULL, "Message", "string", ".status.conditions[?(@.type==\"Ready\")].message",
     "The same in a sentence", 1},
    {NULL, "Age", "date", ".metadata.creationTimestamp", "Since when it is there", 0},
};

static json_t *columns_of(const CrdKind *kind)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (columns[i].kind && strcmp(columns[i].kind, kind->kind) != 0)
            continue;
        json_t *column =
            json_pack("{ss ss ss ss}", "name", columns[i].name, "type", columns[i].type, "jsonPath",
                      columns[i].path, "description", columns[i].description);
        if (columns[i].priority)
            json_object_set_new(column, "priority", json_integer(columns[i].priority));
        json_array_append_new(list, column);
    }
    return list;
}

static json_t *typed(const char *type, const char *description)
{
    return json_pack("{ss ss}", "description", description, "type", type);
}

static json_t *typed_as(const char *type, const char *format, const char *description)
{
    return json_pack("{ss ss ss}", "description", description, "type", type, "format", format);
}

/* https://github.com/kubernetes/community, API conventions: conditions */
static json_t *conditions_schema(void)
{
    json_t *item = json_pack(
        "{ss s[ssssss] s{so so so so so so}}", "type", "object", "required", "type", "status",
        "reason", "message", "lastTransitionTime", "observedGeneration", "properties", "type",
        typed("string", "Ready, Reconciling (abnormal), Stalled (abnormal), and the kind's own"),
        "status", typed("string", "True, False or Unknown"), "reason",
        typed("string", "one word, as README lists them"), "message",
        typed("string", "a sentence: the thing, the value, the way out"), "lastTransitionTime",
        typed_as("string", "date-time", "since when the status is this"), "observedGeneration",
        typed_as("integer", "int64", "of the spec that it speaks of"));
    ASSERT(item);
    json_object_set_new(json_object_get(json_object_get(item, "properties"), "status"), "enum",
                        json_pack("[sss]", "True", "False", "Unknown"));
    return json_pack("{ss ss so ss s[s]}", "description", "what holds of it now", "type", "array",
                     "items", item, "x-kubernetes-list-type", "map", "x-kubernetes-list-map-keys",
                     "type");
}

static json_t *requests_schema(void)
{
    json_t *item = json_pack(
        "{ss s[ssss] s{so so so s{ss ss s{ss}} so so so so so so so}}", "type", "object",
        "required", "kind", "id", "state", "askedAt", "properties", "kind",
        typed("string", "Resnapshot (of a Connector), Rollback or Positions (of a unit)"), "id",
        typed("string", "of the request: what is done once"), "by",
        typed("string", "who asked, as the annotation says"), "tables", "description",
        "patterns of the tables to be copied again", "type", "array", "items", "type", "string",
        "target", typed("string", "a time, a snapshot or offsets, as the annotation says"), "state",
        typed("string", "Waiting, Running, Done, Refused or Withdrawn"), "message",
        typed("string", "why, unless it is done"), "from",
        typed("string", "snapshot@offsets where the table stood"), "to",
        typed("string", "snapshot@offsets where it went on from"), "askedAt",
        typed_as("string", "date-time", "when it was seen first"), "endedAt",
        typed_as("string", "date-time", "when it was over"));
    ASSERT(item);
    return json_pack("{ss ss so ss s[ss]}", "description",
                     "what was asked for by annotations, the latest first", "type", "array",
                     "items", item, "x-kubernetes-list-type", "map", "x-kubernetes-list-map-keys",
                     "kind", "id");
}

static json_t *status_schema(const CrdKind *kind)
{
    json_t *properties = json_pack(
        "{so so so}", "observedGeneration",
        typed_as("integer", "int64", "the spec that this status speaks of"), "conditions",
        conditions_schema(), "phase",
        typed("string", "Pending, Snapshotting, Streaming, CatchingUp, Paused, Stopped, Stalled "
                        "or Deleting"));
    ASSERT(properties);
    if (kind->shape == &connector_shape) {
        json_object_set_new(properties, "tables",
                            typed_as("integer", "int32", "how many units it feeds"));
        json_object_set_new(properties, "requests", requests_schema());
        json_object_set_new(properties, "manifestHash",
                            typed("string", "of the manifest that its Pods are given"));
    } else if (kind->shape == &lake_table_shape) {
        json_object_set_new(properties, "unit", typed("string", "the IngestionUnit that fills it"));
        json_object_set_new(properties, "connector",
                            typed("string", "the Connector whose Pods reach it"));
        json_t *agent = typed("object", "spec.agent of these Pods, for the Job that drops the "
                                        "table; with deletionPolicy: Drop");
        json_object_set_new(agent, "x-kubernetes-preserve-unknown-fields", json_true());
        json_object_set_new(properties, "agent", agent);
    } else {
        json_object_set_new(properties, "replicas",
                            typed_as("integer", "int32", "Pods that fill the table"));
        json_object_set_new(properties, "selector",
                            typed("string", "the labels of these Pods, for the scale subresource"));
        json_object_set_new(properties, "requests", requests_schema());
        json_object_set_new(
            properties, "freshAt",
            typed_as("string", "date-time", "everything the source had then is in the table"));
        json_object_set_new(properties, "lag",
                            typed("string", "what the source has and the table has not"));
        json_object_set_new(properties, "rows", typed_as("integer", "int64", "rows of the table"));
        json_object_set_new(properties, "lakeTable",
                            typed("string", "the LakeTables that are filled, with commas between"));
    }
    /* Before its first word: nothing is known of any generation, which kstatus takes for on its
     * way; without a status it would take it for current. */
    return json_pack("{ss ss s{si ss} so}", "description", "What is, written by the operator",
                     "type", "object", "default", "observedGeneration", -1, "phase", "Pending",
                     "properties", properties);
}

static const Shape *spec_of(const Shape *document)
{
    for (const Field *field = document->fields; field->name; field++)
        if (strcmp(field->name, "spec") == 0)
            return field->shape;
    return NULL;
}

json_t *crd_definition(const CrdKind *kind)
{
    const Shape *spec_shape = spec_of(kind->shape);
    ASSERT(spec_shape);
    json_t *spec = schema_of_shape(spec_shape);
    json_object_set_new(spec, "description", json_string("What is wanted"));
    if (kind->shape == &lake_table_shape)
        rules_of_lake_table(spec);
    json_t *subresources = json_pack("{s{}}", "status");
    if (kind->shape == &ingestion_unit_shape)
        json_object_set_new(subresources, "scale",
                            json_pack("{ss ss ss}", "specReplicasPath", ".spec.numberOfConsumers",
                                      "statusReplicasPath", ".status.replicas", "labelSelectorPath",
                                      ".status.selector"));
    AUTO(mem_free) char *name = mem_format("%s.firn.dev", kind->plural);
    AUTO(mem_free) char *list = mem_format("%sList", kind->kind);
    AUTO(mem_free) char *about = mem_format("%s of Firn", kind->shape->name);
    about[0] = about[0] == 'a' ? 'A' : about[0];
    json_t *schema = json_pack("{ss ss s[s] s{s{ss ss} s{ss ss} s{ss} so so}}", "description",
                               about, "type", "object", "required", "spec", "properties",
                               "apiVersion", "type", "string", "description", "firn.dev/v1alpha1",
                               "kind", "type", "string", "description", kind->kind, "metadata",
                               "type", "object", "spec", spec, "status", status_schema(kind));
    json_t *version =
        json_pack("{ss sb sb so so s{so}}", "name", "v1alpha1", "served", 1, "storage", 1,
                  "subresources", subresources, "additionalPrinterColumns", columns_of(kind),
                  "schema", "openAPIV3Schema", schema);
    json_t *definition =
        json_pack("{ss ss s{ss} s{ss ss s{ss ss ss ss s[s] s[s]} s[o]}}", "apiVersion",
                  "apiextensions.k8s.io/v1", "kind", "CustomResourceDefinition", "metadata", "name",
                  name, "spec", "group", "firn.dev", "scope", "Namespaced", "names", "kind",
                  kind->kind, "listKind", list, "plural", kind->plural, "singular", kind->singular,
                  "shortNames", kind->short_name, "categories", "firn", "versions", version);
    ASSERT(definition);
    return definition;
}
