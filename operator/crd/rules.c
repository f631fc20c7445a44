/* What checks.c says of one text, and validate.c and lake.c of several fields together, as the API
 * server can check it. Patterns are RE2; CEL has no loops that matter here: each list with rules
 * has its limit. Messages are those a person needs; they name the way out. */
#include "common/manifest/checks.h"
#include "operator/crd/crd.h"

/* Bytes below blank, and DEL. */
#define CTRL "\\x00-\\x1f\\x7f"
#define PORT                                                                                       \
    "(:0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
#define TIME                                                                                       \
    "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"   \
    "([.][0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define AUTHORITY "([A-Za-z0-9._-]+|\\[[0-9a-fA-F:.]+\\])" PORT
#define VALUE "'([^']|'')*'"
#define NAME "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

static void set(json_t *schema, const char *key, json_t *value)
{
    ASSERT(value && json_object_set_new(schema, key, value) == 0);
}

void rule_add(json_t *schema, const char *rule, const char *message)
{
    static const char key[] = "x-kubernetes-validations";
    json_t *rules = json_object_get(schema, key);
    if (!rules)
        set(schema, key, rules = json_array());
    json_t *one = json_pack("{ssss}", "rule", rule, "message", message);
    ASSERT(one && json_array_append_new(rules, one) == 0);
}

/* --- one text --- */

static const struct {
    TextCheck *check;
    const char *pattern;
    int length; /* 0: that of any text */
} patterns[] = {
    {check_object_name, "^" NAME "(\\." NAME ")*$", 253},
    {check_secret_key, "^([-_a-zA-Z0-9][-._a-zA-Z0-9]*|\\.[-_a-zA-Z0-9][-._a-zA-Z0-9]*)$", 253},
    {check_host,
     "^(/[^" CTRL " ,;'\"@\\\\]*|[^" CTRL " ,;'\"@\\\\/:][^" CTRL " ,;'\"@\\\\:]*|"
     "[^" CTRL " ,;'\"@\\\\/]*:[^" CTRL " ,;'\"@\\\\/]*:[^" CTRL " ,;'\"@\\\\/]*)$",
     0},
    {check_pattern, "^[^." CTRL "]+\\.[^" CTRL "]+$", 0},
    {check_table, "^[^.*?" CTRL "]+\\.[^*?" CTRL "]+$", 0},
    {check_slot, "^[a-z0-9_]{1,63}$", 0},
    {check_identifier, "^[^" CTRL "]+$", 63},
    {check_url, "^https?://" AUTHORITY "(/[^" CTRL " ?#{}\"\\\\@]*)?$", 0},
    {check_endpoint, "^https?://" AUTHORITY "/?$", 0},
    {check_name_in_dns, "^" AUTHORITY "$", 300},
    {check_region, "^[A-Za-z0-9-]{1,64}$", 0},
    {check_line, "^[^" CTRL "]+$", 0},
    {check_topic,
     "^([A-Za-z0-9_-][A-Za-z0-9._-]*|\\.[A-Za-z0-9_-][A-Za-z0-9._-]*|\\.\\.[A-Za-z0-9._-]+)$", 249},
    {check_condition,
     "^[A-Za-z_][A-Za-z0-9_]*( *== *" VALUE "| +in *\\[ *" VALUE " *(, *" VALUE " *)*\\])$", 0},
    {check_start, "^(Earliest|Latest|" TIME ")$", 64},
    {check_replay_start, "^(Earliest|" TIME ")$", 64},
    {check_lake_name,
     "^([^./" CTRL "][^/" CTRL "]*|\\.[^./" CTRL "][^/" CTRL "]*|\\.\\.[^/" CTRL "]+)$", 255},
    {check_column_type,
     "^(boolean|int|long|float|double|date|time|string|timestamp|timestamptz|binary|uuid|"
     "decimal\\( *([1-9]|[12][0-9]|3[0-8]) *, *([0-9]|[12][0-9]|3[0-8]) *\\))$",
     64},
    {check_partition,
     "^([^,() " CTRL "]+|(identity|year|month|day|hour|void)\\([^(), " CTRL "][^(," CTRL "]*\\)|"
     "(bucket|truncate)\\( *0*[1-9][0-9]{0,8} *, *[^(), " CTRL "][^(," CTRL "]*\\))$",
     0},
};

static void rules_of_location(json_t *schema)
{
    rule_add(schema,
             "self.matches('^(file://)?/') || self.matches('^s3://[A-Za-z0-9._-]{3,63}(/|$)')",
             "is not an absolute folder, such as /lake or file:///lake, nor s3://bucket/prefix");
    rule_add(schema, "!self.matches('[\\\\x00-\\\\x1f\\\\x7f]')", "has control characters");
    rule_add(schema, "!self.matches('(^|/)[.]{1,2}(/|$)')", "has . or .. as a part");
    rule_add(schema, "!self.startsWith('s3://') || !self.matches('[?#]')",
             "is no place in a bucket: ? and # can't stand in it");
}

void rules_of_check(json_t *schema, TextCheck *check)
{
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        if (patterns[i].check != check)
            continue;
        set(schema, "pattern", json_string(patterns[i].pattern));
        if (patterns[i].length)
            set(schema, "maxLength", json_integer(patterns[i].length));
    }
    if (check == check_location)
        rules_of_location(schema);
    if (check == check_identifier)
        rule_add(schema, "size(bytes(self)) <= 63", "is longer than 63 bytes");
    if (check == check_lake_name)
        rule_add(schema, "size(bytes(self)) <= 255", "is longer than 255 bytes");
    if (check == check_column_type)
        rule_add(schema,
                 "!self.startsWith('decimal') || int(self.find('[0-9]+')) >= "
                 "int(self.find('[0-9]+ *[)]').find('[0-9]+'))",
                 "has a scale beyond its precision");
}

char *rules_duration_ms(void)
{
    static const struct {
        const char *unit, *ms;
    } units[] = {{"y", "31536000000"}, {"d", "86400000"}, {"h", "3600000"},
                 {"m", "60000"},       {"s", "1000"},     {"ms", "1"}};
    Bytes text = {0};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        /* The unit, and no letter behind it: 5m is not 5ms. */
        AUTO(mem_free)
        char *one = mem_format("%s(self.matches('[0-9]%s([0-9]|$)') ? "
                               "int(self.find('[0-9]+%s([0-9]|$)').find('[0-9]+')) * %s : 0)",
                               i ? " + " : "", units[i].unit, units[i].unit, units[i].ms);
        bytes_put(&text, one, strlen(one));
    }
    bytes_put_u8(&text, '\0');
    return (char *)text.data;
}

/* --- several fields --- */

typedef struct ShapeRule {
    const char *shape, *rule, *message;
} ShapeRule;

#define REST "(has(self.type) && self.type == 'Rest')"
#define OF_REST(field)                                                                             \
    {                                                                                              \
        "catalog", "!has(self." field ") || " REST,                                                \
            field " is for a Rest catalog: leave it out, or write type: Rest"                      \
    }
#define OF_AUTH(field, auth)                                                                       \
    {                                                                                              \
        "catalog",                                                                                 \
            "!has(self." field ") || !" REST " || (has(self.auth) ? self.auth == '" auth           \
            "' : has(self.credentialsSecretRef))",                                                 \
            field " is for auth " auth " alone: leave it out, or write auth: " auth                \
    }
#define TABLE_REST "(has(self.catalog) && has(self.catalog.type) && self.catalog.type == 'Rest')"
#define KEPT(field)                                                                                \
    "has(self." field ") == has(oldSelf." field ") && (!has(self." field ") || self." field        \
    " == oldSelf." field ")"
/* As manifest_declares_records, and records in JSON: their columns are those that the table has. */
#define DECLARES                                                                                   \
    "(self.kafka.incomingData == 'Json' || (self.kafka.incomingData == 'Debezium' && "             \
    "!has(self.kafka.schemaRegistry) && has(self.kafka.records) && "                               \
    "has(self.kafka.records.schemas) && !self.kafka.records.schemas))"
static const ShapeRule rules[] = {
    {"tls", "!(has(self.mode) && self.mode in ['VerifyCa', 'VerifyFull']) || has(self.caSecretRef)",
     "modes VerifyCa and VerifyFull need caSecretRef: the authority to check the server's "
     "certificate with"},
    {"source", "self.type == oldSelf.type", "type can't be changed: make another Connector"},
    {"source", "self.database == oldSelf.database",
     "database can't be changed: make another Connector"},

    {"catalog", "!" REST " || has(self.uri)",
     "uri is required of a Rest catalog: where it answers"},
    OF_REST("uri"),
    OF_REST("auth"),
    OF_REST("credentialsSecretRef"),
    OF_REST("caSecretRef"),
    OF_REST("oauth2Uri"),
    OF_REST("scope"),
    OF_REST("signingRegion"),
    OF_REST("signingService"),
    OF_REST("vendedCredentials"),
    OF_AUTH("oauth2Uri", "OAuth2"),
    OF_AUTH("scope", "OAuth2"),
    OF_AUTH("signingRegion", "SigV4"),
    OF_AUTH("signingService", "SigV4"),
    {"catalog", "!(has(self.auth) && self.auth == 'None' && has(self.credentialsSecretRef))",
     "credentialsSecretRef is not used with auth None: leave out one of both"},
    {"catalog",
     "!(has(self.auth) && self.auth in ['Bearer', 'OAuth2']) || has(self.credentialsSecretRef)",
     "auths Bearer and OAuth2 need credentialsSecretRef: the Secret with token, or clientId and "
     "clientSecret"},
    {"catalog",
     "!" REST " || !has(self.caSecretRef) || !has(self.uri) || !self.uri.startsWith('http://') || "
     "(has(self.oauth2Uri) && self.oauth2Uri.startsWith('https://'))",
     "caSecretRef has nothing to check: uri is not https"},
    {"catalog",
     "!has(self.warehouse) || (" REST " && !self.warehouse.startsWith('/') && "
     "!self.warehouse.contains('://')) || self.warehouse.matches('^(file://)?/') || "
     "self.warehouse.matches('^s3://[A-Za-z0-9._{}-]{3,63}(/|$)')",
     "warehouse is not an absolute folder, such as /lake or file:///lake, nor s3://bucket/prefix"},
    {"catalog",
     "!has(self.warehouse) || (" REST " && !self.warehouse.startsWith('/') && "
     "!self.warehouse.contains('://')) || !self.warehouse.matches('(^|/)[.]{1,2}(/|$)')",
     "warehouse has . or .. as a part"},
    {"storage",
     "!has(self.caSecretRef) || !has(self.endpoint) || !self.endpoint.startsWith('http://')",
     "caSecretRef has nothing to check: endpoint is not https"},

    {"spool", "!has(self.storage) || self.location.startsWith('s3://')",
     "storage is for a spool on S3: leave it out, or write an s3:// location"},

    {"a LakeTable's spec",
     TABLE_REST " || has(self.location) || (has(self.catalog) && has(self.catalog.warehouse))",
     "a table needs a place: write catalog.warehouse, the folder of all tables, or location, its "
     "own"},
    {"a LakeTable's spec",
     "!has(self.storage) || " TABLE_REST " || (has(self.location) && "
     "self.location.startsWith('s3://')) || (has(self.catalog) && has(self.catalog.warehouse) && "
     "self.catalog.warehouse.startsWith('s3://'))",
     "storage is for tables in an object store: leave it out, or write an s3:// warehouse or "
     "location"},
    {"a LakeTable's spec",
     "!has(self.formatVersion) || !has(oldSelf.formatVersion) || "
     "self.formatVersion >= oldSelf.formatVersion",
     "formatVersion never goes down"},
    {"a LakeTable's spec", KEPT("database"), "database can't be changed: make another LakeTable"},
    {"a LakeTable's spec", KEPT("tableName"), "tableName can't be changed: make another LakeTable"},
    {"a LakeTable's spec", KEPT("location"), "location can't be changed: make another LakeTable"},
    {"a LakeTable's spec", KEPT("mode"), "mode can't be changed: make another LakeTable"},

    {"connectorRef", "has(self.table) != has(self.tables)",
     "a unit needs its table: write table for one table, or tables for patterns"},
    {"connectorRef", "!has(self.tables) || self.tables.size() > 0",
     "tables is an empty list: write at least one pattern, such as public.*"},
    {"deadLetter", "has(self.topic) != has(self.lakeTableRef)",
     "goes to one place: write topic, or lakeTableRef"},
    {"replay", "has(self.from) != has(self.offsets)",
     "needs where it begins: write from for a time, or offsets for partitions"},
    {"a topic's records",
     "(has(self.schemas) && !self.schemas) || !(has(self.time) || has(self.milliseconds) || "
     "has(self.microseconds) || has(self.nanoseconds) || has(self.decimal) || has(self.binary))",
     "schemas alone says something of records that have their schemas with them: leave the rest "
     "out, or write schemas: false"},
    {"an IngestionUnit's spec",
     "!has(self.kafka) || !has(self.kafka.records) || (self.kafka.incomingData == 'Debezium' && "
     "!has(self.kafka.schemaRegistry) && !has(self.toTopic))",
     "kafka.records is for tables, and for Debezium's records in JSON: leave it out"},
    {"an IngestionUnit's spec", "has(self.connectorRef) || has(self.kafka)",
     "a unit needs a source: write connectorRef, or kafka"},
    {"an IngestionUnit's spec",
     "!has(self.kafka) || !has(self.outsourcingUnit) || !(" DECLARES " || self.kafka.incomingData "
     "in ['Avro', 'Protobuf']) || (has(self.outsourcingUnit.table.mode) && "
     "self.outsourcingUnit.table.mode != 'Upsert') || (has(self.outsourcingUnit.table.idColumns) "
     "&& self.outsourcingUnit.table.idColumns.size() > 0)",
     "Upsert needs idColumns: these records say nothing of keys; write idColumns of "
     "outsourcingUnit.table, or its mode Append"},
    {"an IngestionUnit's spec",
     "!has(self.kafka) || !has(self.outsourcingUnit) || !" DECLARES " || "
     "(has(self.outsourcingUnit.table.columns) && self.outsourcingUnit.table.columns.size() > 0 && "
     "self.outsourcingUnit.table.columns.all(one, has(one.type)))",
     "these records say nothing of types: write columns of outsourcingUnit.table, each with name "
     "and type"},
    {"an IngestionUnit's spec",
     "!has(self.kafka) || !(self.kafka.incomingData in ['Avro', 'Protobuf']) || "
     "has(self.kafka.schemaRegistry)",
     "kafka.schemaRegistry is required with incomingData Avro and Protobuf: who keeps the records' "
     "schemas"},
    {"an IngestionUnit's spec",
     "!has(self.kafka) || self.kafka.incomingData != 'Json' || !has(self.kafka.schemaRegistry)",
     "kafka.schemaRegistry says nothing with incomingData Json: leave it out"},
    {"an IngestionUnit's spec",
     "!has(self.kafka) || self.kafka.incomingData == 'Json' || !has(self.kafka.events)",
     "kafka.events is for incomingData Json alone: leave it out"},
    {"an IngestionUnit's spec",
     "!has(self.kafka) || !has(self.outsourcingUnit) || (has(self.outsourcingUnit.table.database) "
     "&& has(self.outsourcingUnit.table.tableName) && "
     "!self.outsourcingUnit.table.database.contains('{') && "
     "!self.outsourcingUnit.table.tableName.contains('{'))",
     "outsourcingUnit.table needs database and tableName: a topic has no schema and table of a "
     "source that could stand for them"},
    {"an IngestionUnit's spec", "!(has(self.connectorRef) && has(self.kafka))",
     "a unit has one source: leave out connectorRef or kafka"},
    {"an IngestionUnit's spec",
     "(has(self.lakeTableRef) ? 1 : 0) + (has(self.outsourcingUnit) ? 1 : 0) + (has(self.routes) ? "
     "1 : 0) + (has(self.toTopic) ? 1 : 0) == 1",
     "a unit has one destination: write lakeTableRef, outsourcingUnit.table, routes or toTopic"},
    {"an IngestionUnit's spec", "!has(self.agent) || has(self.kafka)",
     "agent is for a unit that reads a topic of others (kafka): those of captured tables are made "
     "as their Connector's agent says"},
    {"an IngestionUnit's spec", "!has(self.toTopic) || has(self.kafka)",
     "toTopic is for a topic that others fill (kafka): captured tables are in topics already"},
    {"an IngestionUnit's spec",
     "!has(self.toTopic) || !has(self.kafka) || self.toTopic.topic != self.kafka.topic",
     "toTopic.topic is the topic that is read: write another one"},
    {"an IngestionUnit's spec",
     "!has(self.toTopic) || !has(self.deadLetter) || self.toTopic.topic != self.deadLetter.topic",
     "deadLetter.topic is the topic that the others go to: write another one"},
    {"an IngestionUnit's spec",
     "!has(self.toTopic) || !has(self.kafka) || !(has(self.kafka.replay) || "
     "has(self.kafka.orderingColumn))",
     "kafka.replay and kafka.orderingColumn are for tables, not for toTopic: leave them out"},
    {"an IngestionUnit's spec", "!has(self.routes) || has(self.kafka)",
     "routes is for a topic that others fill (kafka): a captured table goes to one table"},
    {"an IngestionUnit's spec",
     "!has(self.routes) || !has(self.kafka) || self.kafka.incomingData != 'Debezium' || "
     "!has(self.kafka.orderingColumn)",
     "kafka.orderingColumn can't say which version is newer between the tables of routes: leave "
     "out "
     "one of both"},
    {"an IngestionUnit's spec",
     "!has(self.outsourcingUnit) || !has(self.outsourcingUnit.table.schemaEvolution) || "
     "!has(self.outsourcingUnit.table.schemaEvolution.incompatible) || "
     "self.outsourcingUnit.table.schemaEvolution.incompatible != 'DeadLetter' || "
     "(has(self.kafka) && self.kafka.incomingData != 'Json' && !(has(self.kafka.records) && "
     "has(self.kafka.records.schemas) && !self.kafka.records.schemas) && has(self.deadLetter))",
     "schemaEvolution.incompatible: DeadLetter is for a topic that others fill (kafka), of records "
     "with a schema, and needs deadLetter: write it, or Stall"},
    {"an IngestionUnit's spec",
     "!has(self.routes) || self.routes.filter(one, !has(one.when)).size() == 0 || "
     "(self.routes.filter(one, !has(one.when)).size() == 1 && "
     "!has(self.routes[self.routes.size() - 1].when))",
     "of routes a takes-all (without when) leaves none for those behind it: write when, or put it "
     "last"},
    {"an IngestionUnit's spec",
     "!has(self.routes) || self.routes.all(one, self.routes.exists_one(other, "
     "one.lakeTableRef.name == other.lakeTableRef.name))",
     "routes name a table twice: write one route for it, with in"},
    {"an IngestionUnit's spec",
     "!has(self.lakeTableRef) || !has(self.connectorRef) || !has(self.connectorRef.tables)",
     "patterns make a table for each that matches: write outsourcingUnit.table instead of "
     "lakeTableRef"},
    {"an IngestionUnit's spec",
     "!has(self.connectorRef) || !has(self.connectorRef.tables) || !has(self.outsourcingUnit) || "
     "(has(self.outsourcingUnit.table.location) ? "
     "self.outsourcingUnit.table.location.contains('{table}') : "
     "(!has(self.outsourcingUnit.table.tableName) || "
     "self.outsourcingUnit.table.tableName.contains('{table}') || "
     "(has(self.outsourcingUnit.table.database) && "
     "self.outsourcingUnit.table.database.contains('{table}'))))",
     "outsourcingUnit.table is one place for all tables that the patterns find: put {table} into "
     "its tableName, or location"},
    {"an IngestionUnit's spec",
     "!has(self.connectorRef) || !has(self.connectorRef.tables) || !has(self.outsourcingUnit) || "
     "!has(self.outsourcingUnit.table.maintenance) || "
     "!has(self.outsourcingUnit.table.maintenance.orphanFiles)",
     "maintenance.orphanFiles is not for the tables of a pattern, which only the agent knows: "
     "leave "
     "it out, or write a unit for each table"},
    {"outsourcingUnit",
     "!has(self.table.database) || !self.table.database.replace('{schema}', "
     "'').replace('{table}', '').contains('{')",
     "what stands in braces in database stands for nothing: they are {schema} and {table}"},
    {"outsourcingUnit",
     "!has(self.table.tableName) || !self.table.tableName.replace('{schema}', "
     "'').replace('{table}', '').contains('{')",
     "what stands in braces in tableName stands for nothing: they are {schema} and {table}"},
    {"outsourcingUnit",
     "!has(self.table.location) || !self.table.location.replace('{schema}', "
     "'').replace('{table}', '').contains('{')",
     "what stands in braces in location stands for nothing: they are {schema} and {table}"},
};

void rules_of_shape(json_t *schema, const Shape *shape)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (strcmp(rules[i].shape, shape->name) == 0)
            rule_add(schema, rules[i].rule, rules[i].message);
}

void rules_of_lake_table(json_t *spec)
{
    static const char *const names[] = {"database", "tableName", "location"};
    json_t *required = json_object_get(spec, "required");
    if (!required)
        set(spec, "required", required = json_array());
    json_array_append_new(required, json_string("database"));
    json_array_append_new(required, json_string("tableName"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(mem_free)
        char *rule = mem_format("!has(self.%s) || !self.%s.contains('{')", names[i], names[i]);
        AUTO(mem_free)
        char *message = mem_format("%s has braces: names of the source go into an IngestionUnit's "
                                   "outsourcingUnit",
                                   names[i]);
        rule_add(spec, rule, message);
    }
}
