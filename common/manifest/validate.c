/* What goes beyond one field: within an object, and between the objects of all files. Each check
 * takes what could be read; what could not has its finding already. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/manifest/load.h"
#include "common/mem.h"
#include "common/text.h"

void place_report(const Place *place, const char *path, const char *value, const char *format, ...)
{
    AUTO(mem_free)
    char *object = mem_format("%s%s%s", place->kind, place->meta->name ? "/" : "",
                              place->meta->name ? place->meta->name : "");
    AUTO(mem_free) char *message = NULL;
    Report report = {.findings = place->findings, .file = place->meta->file, .object = object};
    va_list args;
    va_start(args, format);
    ASSERT(vasprintf(&message, format, args) >= 0);
    va_end(args);
    int line = yaml_at(place->node, path)->line;
    if (value)
        report_value(&report, line, path, value, "%s", message);
    else
        report_at(&report, line, path, "%s", message);
}

static bool is_same_name(const ObjectMeta *a, const ObjectMeta *b)
{
    return a->name && b->name && strcmp(a->name, b->name) == 0 &&
           strcmp(a->namespace_name, b->namespace_name) == 0;
}

static void check_name_taken(const Place *place, const ObjectMeta *earlier)
{
    if (is_same_name(place->meta, earlier))
        place_report(place, "metadata.name", place->meta->name,
                     "is the name of another %s already, at %s:%d: every name is one object's",
                     place->kind, earlier->file, earlier->line);
}

char *place_meant(const char *name, const char *const *names, size_t count, const char *otherwise)
{
    const char *near = text_nearest(name, names, count);
    return near ? mem_format("did you mean \"%s\"?", near) : mem_strdup(otherwise);
}

static void check_repeats(const Place *place, const char *path, const TextList *list)
{
    for (size_t i = 0; i < list->count && i < 1000; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(list->texts[i], list->texts[j]) != 0)
                continue;
            char item[128];
            snprintf(item, sizeof item, "%s[%zu]", path, i);
            place_report(place, item, list->texts[i], "stands in the list twice: write it once");
            break;
        }
    }
}

/* --- Connector --- */

static bool is_same_server(const ConnectorSpec *a, const ConnectorSpec *b)
{
    return a->hosts.count && b->hosts.count && a->port == b->port &&
           strcmp(a->hosts.texts[0], b->hosts.texts[0]) == 0;
}

/* What belongs to another kind of source, or does not run with this one yet. */
static void check_source(const Place *place, const ConnectorSpec *connector)
{
    static const char *const names[] = {"PostgreSQL", "MySQL", "MariaDB", "DynamoDB"};
    bool postgres = connector->source_type == SOURCE_POSTGRESQL;
    const YamlNode *source = yaml_at(place->node, "spec.source");
    const char *type = names[connector->source_type];
    if (yaml_get(source, postgres ? "mysql" : "postgresql"))
        place_report(place, postgres ? "spec.source.mysql" : "spec.source.postgresql", NULL,
                     "is not for type %s: take it away", type);
    if (!postgres && yaml_get(source, "heartbeat"))
        place_report(
            place, "spec.source.heartbeat", NULL,
            "is not for type %s, whose server keeps its log by its own rules: take it away", type);
    if (!postgres && connector->stream && connector->stream->records.messages)
        place_report(place, "spec.stream.records.messages", NULL,
                     "is not for type %s, whose log has no messages: take it away", type);
}

static void check_request(const Place *place, const ConnectorSpec *connector)
{
    CopyRequest request;
    Error err = {0};
    if (connector->resnapshot && !copy_request_parse(connector->resnapshot, &request, &err))
        place_report(place, "metadata.annotations", NULL, "%s", err.message);
    else if (connector->resnapshot)
        copy_request_done(&request);
}

static void check_connector(Load *load, size_t index)
{
    const ConnectorSpec *connector = &load->manifest->connectors[index];
    Place place = {load->findings, "Connector", &connector->meta, load->connector_nodes[index]};
    if (connector->tls_mode >= TLS_VERIFY_CA && !connector->tls_ca.name &&
        !yaml_get(yaml_at(place.node, "spec.source.tls"), "caSecretRef"))
        place_report(&place, "spec.source.tls.caSecretRef", NULL,
                     "mode %s needs caSecretRef: the authority to check the server's certificate "
                     "with",
                     connector->tls_mode == TLS_VERIFY_CA ? "VerifyCa" : "VerifyFull");
    check_source(&place, connector);
    check_request(&place, connector);
    check_repeats(&place, "spec.source.host", &connector->hosts);
    if (connector->stream)
        stream_check(&place, connector);
    for (size_t i = 0; i < index; i++) {
        const ConnectorSpec *other = &load->manifest->connectors[i];
        check_name_taken(&place, &other->meta);
        bool slots =
            connector->source_type == SOURCE_POSTGRESQL && other->source_type == SOURCE_POSTGRESQL;
        if (slots && connector->pg_slot && other->pg_slot && is_same_server(connector, other) &&
            !is_same_name(&connector->meta, &other->meta) &&
            strcmp(connector->pg_slot, other->pg_slot) == 0)
            place_report(&place, "spec.source.postgresql.slot", connector->pg_slot,
                         "is the slot of Connector %s on the same server: give each its own",
                         other->meta.name);
    }
}

/* --- LakeTable, of its own or in a unit --- */

/* The first {...} that stands for nothing here, or NULL. *ret_bytes with its braces. */
static const char *odd_placeholder(const char *text, bool known, size_t *ret_bytes)
{
    for (const char *at = text; at && (at = strchr(at, '{')); at++) {
        *ret_bytes = strcspn(at, "}");
        *ret_bytes += at[*ret_bytes] == '}';
        bool schema = strncmp(at, "{schema}", 8) == 0, table = strncmp(at, "{table}", 7) == 0;
        if (!known || (!schema && !table))
            return at;
    }
    return NULL;
}

static void check_placeholders(const Place *place, const char *prefix, const char *field,
                               const char *text, bool known)
{
    size_t bytes;
    const char *odd = odd_placeholder(text, known, &bytes);
    if (!odd)
        return;
    AUTO(mem_free) char *path = mem_format("%s%s", prefix, field);
    AUTO(mem_free) char *name = mem_strndup(odd, bytes);
    static const char *const names[] = {"{schema}", "{table}"};
    AUTO(mem_free)
    char *hint = place_meant(name, names, ARRAY_LEN(names), "they are {schema} and {table}");
    place_report(place, path, name,
                 known ? "stands for nothing: %s"
                       : "stands for nothing in a LakeTable: names of the "
                         "source go into an IngestionUnit's outsourcingUnit",
                 hint);
}

static void check_table_spec(const Place *place, const char *prefix, const LakeTableSpec *table,
                             bool placeholders)
{
    const struct {
        const char *field;
        const char *text;
    } texts[] = {{"database", table->database},
                 {"tableName", table->table_name},
                 {"location", table->location},
                 {"catalog.warehouse", table->catalog.warehouse}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check_placeholders(place, prefix, texts[i].field, texts[i].text, placeholders);
    lake_check(place, prefix, table);
    AUTO(mem_free) char *ids = mem_format("%sidColumns", prefix);
    AUTO(mem_free) char *parts = mem_format("%spartitionBy", prefix);
    check_repeats(place, ids, &table->id_columns);
    check_repeats(place, parts, &table->partition_by);
}

static void check_table(Load *load, size_t index)
{
    const LakeTableSpec *table = &load->manifest->tables[index];
    Place place = {load->findings, "LakeTable", &table->meta, load->table_nodes[index]};
    const YamlNode *spec = yaml_get(place.node, "spec");
    for (size_t i = 0; i < index; i++)
        check_name_taken(&place, &load->manifest->tables[i].meta);
    if (!spec || spec->kind != YAML_MAP)
        return;
    if (!table->database && !yaml_get(spec, "database"))
        place_report(&place, "spec.database", NULL,
                     "database is required: the database (namespace) in the catalog");
    if (!table->table_name && !yaml_get(spec, "tableName"))
        place_report(&place, "spec.tableName", NULL,
                     "tableName is required: the table's name in the catalog");
    check_table_spec(&place, "spec.", table, false);
}

/* What makes the table one of its own, in one spelling, or NULL when it is not known: its name in a
 * Rest catalog, else where its files are. Caller frees. */
static char *table_place(const LakeTableSpec *table)
{
    const CatalogSpec *catalog = &table->catalog;
    const char *warehouse = catalog->warehouse;
    char *place;
    bool named = table->database && table->table_name;
    if (catalog->type == CATALOG_REST && catalog->uri && named)
        place = mem_format("%s/%s/%s/%s", catalog->uri, warehouse ? warehouse : "", table->database,
                           table->table_name);
    else if (table->location)
        place = mem_strdup(table->location);
    else if (warehouse && named)
        place = mem_format("%s/%s/%s", warehouse, table->database, table->table_name);
    else
        return NULL;
    char *scheme = strstr(place, "://");
    char *start = scheme ? scheme + 3 : place;
    const char *from = start;
    char *to = strncmp(place, "file://", 7) == 0 ? place : start;
    start = to;
    for (; *from; from++)
        if (*from != '/' || to == start || to[-1] != '/')
            *to++ = *from;
    while (to > start + 1 && to[-1] == '/')
        to--;
    *to = '\0';
    return place;
}

/* --- IngestionUnit --- */

static void check_connector_ref(Load *load, const Place *place, const IngestionUnitSpec *unit)
{
    const YamlNode *ref = yaml_get(yaml_get(place->node, "spec"), "connectorRef");
    if (ref->kind != YAML_MAP)
        return;
    bool one = yaml_get(ref, "table"), many = yaml_get(ref, "tables");
    if (one && many)
        place_report(place, "spec.connectorRef.tables", NULL,
                     "table and tables stand side by side: write table for one table, or tables "
                     "for patterns");
    else if (!one && !many)
        place_report(place, "spec.connectorRef", NULL,
                     "a unit needs its table: write table, or tables with patterns");
    else if (many && !unit->tables.count && yaml_get(ref, "tables")->kind == YAML_LIST &&
             !yaml_get(ref, "tables")->count)
        place_report(place, "spec.connectorRef.tables", NULL,
                     "is an empty list: write at least one pattern, such as public.*");
    check_repeats(place, "spec.connectorRef.tables", &unit->tables);
    if (!unit->connector)
        return;
    const Manifest *manifest = load->manifest;
    const ConnectorSpec *connector =
        manifest_find_connector(manifest, unit->meta.namespace_name, unit->connector);
    if (!connector && !load->incomplete) {
        const char **names = mem_array(manifest->connector_count, sizeof *names);
        size_t count = 0;
        for (size_t i = 0; i < manifest->connector_count; i++)
            if (manifest->connectors[i].meta.name)
                names[count++] = manifest->connectors[i].meta.name;
        AUTO(mem_free)
        char *hint = place_meant(unit->connector, names, count, "add it, or give its file as well");
        place_report(place, "spec.connectorRef.name", unit->connector,
                     "names no Connector in namespace %s: %s", unit->meta.namespace_name, hint);
        free(names);
    }
    if (connector && !connector->stream && unit->consumers > 1)
        place_report(place, "spec.numberOfConsumers", NULL,
                     "several consumers share a topic, and Connector %s has no stream, so that its "
                     "own process fills the table: write 1",
                     connector->meta.name);
    if (connector && !connector->stream && (unit->dead_letter || unit->dead_letter_table))
        place_report(place, "spec.deadLetter", NULL,
                     "is for records of a topic, and Connector %s has no stream: leave it out",
                     connector->meta.name);
    if (connector && unit->table && !manifest_chooses(connector, unit->table))
        place_report(place, "spec.connectorRef.table", unit->table,
                     "is not captured by Connector %s: its source.tables.include and exclude "
                     "leave it out",
                     connector->meta.name);
}

static bool may_differ_in_schema(const TextList *patterns)
{
    const char *first = patterns->texts[0];
    size_t bytes = strcspn(first, ".") + 1;
    if (strcspn(first, "*?") < bytes)
        return true;
    for (size_t i = 1; i < patterns->count; i++)
        if (strncmp(first, patterns->texts[i], bytes) != 0)
            return true;
    return false;
}

/* Tables that a pattern finds must not fall onto one place. */
static void check_patterns_apart(const Place *place, const IngestionUnitSpec *unit)
{
    const LakeTableSpec *lake = unit->lake;
    const char *location = lake->location ? lake->location : "";
    bool own = lake->location != NULL;
    bool table = strstr(own ? location : lake->table_name, "{table}") ||
                 (!own && strstr(lake->database, "{table}"));
    if (!table)
        place_report(place,
                     own ? "spec.outsourcingUnit.table.location"
                         : "spec.outsourcingUnit.table.tableName",
                     own ? location : lake->table_name,
                     "is one place for all tables that the patterns find: put {table} into it");
    bool schema = strstr(own ? location : lake->table_name, "{schema}") ||
                  (!own && strstr(lake->database, "{schema}"));
    if (may_differ_in_schema(&unit->tables) && !schema)
        place_report(place,
                     own ? "spec.outsourcingUnit.table.location"
                         : "spec.outsourcingUnit.table.database",
                     own ? location : lake->database,
                     "is one place for the schemas that the patterns find: put {schema} into it");
}

static void check_unit_request(const Place *place, UnitRequestKind kind, const char *text)
{
    UnitRequest request;
    Error err = {0};
    if (text && !unit_request_parse(kind, text, &request, &err))
        place_report(place, "metadata.annotations", NULL, "%s", err.message);
    else if (text)
        unit_request_done(&request);
}

static void check_unit(Load *load, size_t index)
{
    const Manifest *manifest = load->manifest;
    const IngestionUnitSpec *unit = &manifest->units[index];
    Place place = {load->findings, "IngestionUnit", &unit->meta, load->unit_nodes[index]};
    const YamlNode *spec = yaml_get(place.node, "spec");
    for (size_t i = 0; i < index; i++)
        check_name_taken(&place, &manifest->units[i].meta);
    check_unit_request(&place, UNIT_POSITIONS, unit->positions);
    check_unit_request(&place, UNIT_ROLLBACK, unit->rollback);
    if (!spec || spec->kind != YAML_MAP)
        return;
    if (yaml_get(spec, "connectorRef"))
        check_connector_ref(load, &place, unit);
    else if (!yaml_get(spec, "kafka"))
        place_report(&place, "spec.connectorRef", NULL,
                     "a unit needs a source: write connectorRef, or kafka");
    if (yaml_get(spec, "connectorRef") && yaml_get(spec, "kafka"))
        place_report(&place, "spec.kafka", NULL,
                     "a unit has one source: leave out connectorRef or kafka");
    if (yaml_get(spec, "agent") && !yaml_get(spec, "kafka"))
        place_report(&place, "spec.agent", NULL,
                     "is for a unit that reads a topic of others (kafka): those of captured tables "
                     "are made as their Connector's agent says");
    static const char *const ends[] = {"lakeTableRef", "outsourcingUnit", "routes", "toTopic"};
    const char *first = NULL;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (!yaml_get(spec, ends[i]))
            continue;
        AUTO(mem_free) char *path = mem_format("spec.%s", ends[i]);
        if (first)
            place_report(&place, path, NULL, "a unit has one destination: leave out %s or %s",
                         first, ends[i]);
        else
            first = ends[i];
    }
    if (!first)
        place_report(
            &place, "spec.lakeTableRef", NULL,
            "a unit needs a destination: write lakeTableRef, outsourcingUnit.table, routes "
            "or toTopic");
    routes_check(load, &place, index);
    if (unit->to_topic)
        events_check_to_topic(&place, unit);
    if (unit->lake)
        check_table_spec(&place, "spec.outsourcingUnit.table.", unit->lake, true);
    if (unit->kafka) {
        events_check(load, &place, unit);
        stream_check_unit(&place, unit);
    }
    if (unit->lake && unit->kafka &&
        (strchr(unit->lake->database, '{') || strchr(unit->lake->table_name, '{')))
        place_report(&place, "spec.outsourcingUnit.table", NULL,
                     "needs database and tableName: a topic has no schema and table of a source "
                     "that could stand for them");
    if (unit->kafka && unit->kafka->topic && unit->dead_letter &&
        strcmp(unit->kafka->topic, unit->dead_letter) == 0)
        place_report(&place, "spec.deadLetter.topic", unit->dead_letter,
                     "is the topic that is read: write another one");
    if (unit->lake && unit->tables.count)
        check_patterns_apart(&place, unit);
    if (unit->lake && unit->tables.count && unit->lake->orphans_older_than_ms)
        place_report(&place, "spec.outsourcingUnit.table.maintenance.orphanFiles", NULL,
                     "is not for the tables of a pattern, which only the agent knows: leave it "
                     "out, or write a unit for each table");
}

/* --- all together --- */

typedef struct Filled {
    char *where;
    Place place;
    const char *path;
} Filled;

/* Two tables in one place would overwrite each other. What patterns make is not known here. */
static void check_places(Load *load)
{
    const Manifest *manifest = load->manifest;
    Filled *filled = mem_array(manifest->table_count + manifest->unit_count, sizeof *filled);
    size_t count = 0;
    static const char lake_table[] = "LakeTable", unit_kind[] = "IngestionUnit";
    for (size_t i = 0; i < manifest->table_count; i++)
        filled[count++] =
            (Filled){table_place(&manifest->tables[i]),
                     {load->findings, lake_table, &manifest->tables[i].meta, load->table_nodes[i]},
                     "spec"};
    for (size_t i = 0; i < manifest->unit_count; i++) {
        const IngestionUnitSpec *unit = &manifest->units[i];
        if (unit->lake && unit->table)
            filled[count++] =
                (Filled){table_place(unit->lake),
                         {load->findings, unit_kind, &unit->meta, load->unit_nodes[i]},
                         "spec.outsourcingUnit.table"};
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i && filled[i].where; j++) {
            const Place *other = &filled[j].place;
            bool said = other->kind == filled[i].place.kind &&
                        is_same_name(filled[i].place.meta, other->meta);
            if (said || !filled[j].where || strcmp(filled[i].where, filled[j].where) != 0)
                continue;
            place_report(&filled[i].place, filled[i].path, filled[i].where,
                         "is the place of %s %s already: two tables can't share a folder",
                         other->kind, other->meta->name ? other->meta->name : "?");
            break;
        }
    }
    for (size_t i = 0; i < count; i++)
        free(filled[i].where);
    free(filled);
}

void manifest_validate(Load *load)
{
    for (size_t i = 0; i < load->manifest->connector_count; i++)
        check_connector(load, i);
    for (size_t i = 0; i < load->manifest->table_count; i++)
        check_table(load, i);
    for (size_t i = 0; i < load->manifest->unit_count; i++)
        check_unit(load, i);
    check_places(load);
}

/* --- Secrets --- */

bool place_secret(const Load *load, const Place *place, const char *path, const char *name,
                  const char *key, char **ret_value)
{
    Error err;
    if (secret_get(load->manifest->secrets, place->meta->namespace_name, name, key, ret_value,
                   &err))
        return true;
    place_report(place, path, NULL, "%s", err.message);
    return false;
}

bool place_secret_has(const Load *load, const Place *place, const char *name, const char *key)
{
    Error err;
    char *value = NULL;
    bool found =
        secret_get(load->manifest->secrets, place->meta->namespace_name, name, key, &value, &err);
    secret_wipe(value);
    return found || strcmp(err.code, "SecretMissing") != 0; /* one that can't be read is there */
}

bool place_secret_pem(const Load *load, const Place *place, const char *path, const char *name,
                      const char *key, const char *what, char **ret_value)
{
    if (!place_secret(load, place, path, name, key, ret_value))
        return false;
    bool is_key = strcmp(what, "private key") == 0;
    if (!strstr(*ret_value, "-----BEGIN ") ||
        !strstr(*ret_value, is_key ? "PRIVATE KEY-----" : "CERTIFICATE-----"))
        place_report(place, path, NULL, "key %s of Secret %s holds no %s in PEM form", key, name,
                     what);
    return true;
}

/* A password, a certificate of the client's own, or both, as the server asks. */
static void resolve_credentials(const Load *load, const Place *place, ConnectorSpec *connector)
{
    const char *path = "spec.source.credentialsSecretRef.name", *name = connector->credentials.name;
    if (!place_secret(load, place, path, name, "username", &connector->username))
        return;
    bool shows = place_secret_has(load, place, name, "tls.crt") ||
                 place_secret_has(load, place, name, "tls.key");
    if (!shows || place_secret_has(load, place, name, "password"))
        (void)place_secret(load, place, path, name, "password", &connector->password);
    if (!shows)
        return;
    (void)(place_secret_pem(load, place, path, name, "tls.crt", "certificate",
                            &connector->client_pem) &&
           place_secret_pem(load, place, path, name, "tls.key", "private key",
                            &connector->client_key_pem));
    if (connector->tls_mode == TLS_DISABLE)
        place_report(place, "spec.source.tls.mode", NULL,
                     "Disable never shows the certificate that Secret %s has: write Require, or "
                     "VerifyFull with caSecretRef",
                     name);
}

void manifest_resolve_secrets(Load *load)
{
    for (size_t i = 0; i < load->manifest->connector_count; i++) {
        ConnectorSpec *connector = &load->manifest->connectors[i];
        Place place = {load->findings, "Connector", &connector->meta, load->connector_nodes[i]};
        if (connector->credentials.name)
            resolve_credentials(load, &place, connector);
        if (connector->tls_ca.name &&
            place_secret(load, &place, "spec.source.tls.caSecretRef.name", connector->tls_ca.name,
                         connector->tls_ca.key, &connector->ca_pem) &&
            !strstr(connector->ca_pem, "-----BEGIN CERTIFICATE-----"))
            place_report(&place, "spec.source.tls.caSecretRef.name", NULL,
                         "key %s of Secret %s holds no certificate in PEM form",
                         connector->tls_ca.key, connector->tls_ca.name);
    }
    for (size_t i = 0; i < load->manifest->connector_count; i++) {
        ConnectorSpec *connector = &load->manifest->connectors[i];
        Place place = {load->findings, "Connector", &connector->meta, load->connector_nodes[i]};
        if (connector->stream)
            stream_resolve(load, &place, connector);
    }
    for (size_t i = 0; i < load->manifest->table_count; i++) {
        LakeTableSpec *table = &load->manifest->tables[i];
        Place place = {load->findings, "LakeTable", &table->meta, load->table_nodes[i]};
        lake_resolve(load, &place, "spec.", table);
    }
    for (size_t i = 0; i < load->manifest->unit_count; i++) {
        IngestionUnitSpec *unit = &load->manifest->units[i];
        Place place = {load->findings, "IngestionUnit", &unit->meta, load->unit_nodes[i]};
        if (unit->lake)
            lake_resolve(load, &place, "spec.outsourcingUnit.table.", unit->lake);
        if (unit->kafka)
            stream_resolve_unit(load, &place, unit);
    }
}
