/* What follows from a manifest without being written in it: defaults that hang on other fields, the
 * tables of outsourcing units, and the unit and table that a pattern makes for each source table.
 *
 * A name that a pattern makes must be the same at every start and never that of another source
 * table. "<unit>-<schema>-<table>" with _ as - is, as long as the schema is of letters and digits
 * and the table of these and single _; anything else gets a hash of the names behind it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/manifest/checks.h"
#include "common/manifest/load.h"
#include "common/mem.h"

#define PG_NAME_BYTES_MAX 63u
#define UNIT_NAME_BYTES_MAX 63u /* a DNS label: it becomes a Deployment's name */

/* --- patterns --- */

static const char *next_letter(const char *at)
{
    do
        at++;
    while (((unsigned char)*at & 0xc0) == 0x80);
    return at;
}

/* Goes back only to the last *, so that it takes pattern times name at most. */
bool manifest_pattern_matches(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            retry = name;
        } else if (*pattern == '?') {
            pattern++;
            name = next_letter(name);
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            retry = next_letter(retry);
            name = retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool manifest_patterns_match(const TextList *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (manifest_pattern_matches(patterns->texts[i], name))
            return true;
    return false;
}

bool manifest_chooses(const ConnectorSpec *spec, const char *name)
{
    return (spec->include.count == 0 || manifest_patterns_match(&spec->include, name)) &&
           !manifest_patterns_match(&spec->exclude, name);
}

/* --- {schema} and {table} --- */

typedef struct SourceName {
    const char *schema;
    const char *table;
} SourceName;

static char *substitute(const char *text, void *context)
{
    const SourceName *source = context;
    Bytes out = {0};
    while (*text) {
        if (strncmp(text, "{schema}", 8) == 0) {
            bytes_put(&out, source->schema, strlen(source->schema));
            text += 8;
        } else if (strncmp(text, "{table}", 7) == 0) {
            bytes_put(&out, source->table, strlen(source->table));
            text += 7;
        } else {
            bytes_put_u8(&out, (uint8_t)*text++);
        }
    }
    bytes_put_u8(&out, '\0');
    return (char *)out.data;
}

void lake_table_free(LakeTableSpec *table)
{
    if (!table)
        return;
    lake_secrets_wipe(table);
    shape_free(&lake_table_shape, table);
    free(table);
}

static bool name_is_safe(const char *what, const char *name, Error *err)
{
    const char *wanted;
    if (*name && check_lake_name(name, &wanted))
        return true;
    Bytes quoted = {0};
    bytes_put(&quoted, name, strnlen(name, 80));
    bytes_put_u8(&quoted, '\0');
    error_set(err, ERROR_CONFIG, "BadTableName",
              "the source's %s \"%s\" can't stand in the lake's names (no / and no control "
              "characters, not . or ..): "
              "exclude it, or give it an IngestionUnit of its own",
              what, (char *)quoted.data);
    bytes_done(&quoted);
    return false;
}

static bool is_plain_name(const char *text, bool underscores)
{
    size_t bytes = strlen(text);
    if (!bytes || text[0] == '_' || text[bytes - 1] == '_')
        return false;
    for (const char *at = text; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (!letter && !(underscores && *at == '_' && at[-1] != '_'))
            return false;
    }
    return true;
}

static uint32_t name_hash(const char *schema, const char *table)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a; the NUL between the names counts */
    for (const char *at = schema; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
    hash *= 0x100000001b3;
    for (const char *at = table; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
    return (uint32_t)(hash ^ hash >> 32);
}

static char *unit_name(const char *unit, const char *schema, const char *table)
{
    char *name = mem_format("%s-%s-%s", unit, schema, table);
    for (char *at = name + strlen(unit); *at; at++) {
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
        else if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9')))
            *at = '-';
    }
    if (is_plain_name(schema, false) && is_plain_name(table, true) &&
        strlen(name) <= UNIT_NAME_BYTES_MAX)
        return name;
    size_t bytes = strnlen(name, UNIT_NAME_BYTES_MAX - 9);
    while (bytes && (name[bytes - 1] == '-' || name[bytes - 1] == '.'))
        bytes--;
    char *hashed = mem_format("%.*s-%08x", (int)bytes, name, name_hash(schema, table));
    free(name);
    return hashed;
}

bool manifest_expand(const IngestionUnitSpec *unit, const char *schema_name, const char *table_name,
                     LakeTableSpec **ret_table, char **ret_unit_name, Error *err)
{
    if (!unit->lake)
        return error_set(err, ERROR_CONFIG, "NoTable",
                         "IngestionUnit %s has no outsourcingUnit.table to make tables from",
                         unit->meta.name);
    if (!name_is_safe("schema", schema_name, err) || !name_is_safe("table", table_name, err))
        return false;
    SourceName source = {.schema = schema_name, .table = table_name};
    LakeTableSpec *table = mem_zalloc(sizeof *table);
    shape_copy(&lake_table_shape, table, unit->lake, substitute, &source);
    lake_secrets_copy(table, unit->lake);
    char *name = unit->tables.count ? unit_name(unit->meta.name, schema_name, table_name)
                                    : mem_strdup(unit->meta.name);
    free(table->meta.name);
    table->meta.name = mem_strdup(name);
    table->meta.line = unit->lake->meta.line;
    table->meta.file = unit->lake->meta.file;
    const char *wanted;
    if (!check_lake_name(table->database, &wanted) ||
        !check_lake_name(table->table_name, &wanted)) {
        error_set(err, ERROR_CONFIG, "BadTableName",
                  "\"%.120s.%.120s\", made for %.80s.%.80s by IngestionUnit %.80s, is not %s",
                  table->database, table->table_name, schema_name, table_name, unit->meta.name,
                  wanted);
        lake_table_free(table);
        free(name);
        return false;
    }
    *ret_table = table;
    *ret_unit_name = name;
    return true;
}

/* --- what follows from other fields --- */

static char *slot_default(const char *connector)
{
    char *name = mem_format("firn_%s", connector);
    if (strlen(name) > PG_NAME_BYTES_MAX)
        name[PG_NAME_BYTES_MAX] = '\0';
    for (char *at = name; *at; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9')))
            *at = '_';
    return name;
}

static void text_default(char **text, const char *value)
{
    if (!*text)
        *text = mem_strdup(value);
}

/* The table of an outsourcing unit is the unit's own: its name, and the source's names in it. With
 * patterns the names stay open until a table is found. */
static void complete_lake(Load *load, IngestionUnitSpec *unit, const YamlNode *node)
{
    LakeTableSpec *lake = unit->lake;
    text_default(&lake->database, "{schema}");
    text_default(&lake->table_name, "{table}");
    lake->meta.namespace_name = mem_strdup(unit->meta.namespace_name);
    lake->meta.file = unit->meta.file;
    const YamlNode *spec = yaml_at(node, "spec.outsourcingUnit.table");
    lake->meta.line = spec->line;
    lake_complete(lake, spec);
    if (!unit->meta.name)
        return;
    lake->meta.name = mem_strdup(unit->meta.name);
    if (unit->tables.count || !unit->table)
        return;
    const char *dot = strchr(unit->table, '.'); /* check_table saw it */
    AUTO(mem_free) char *schema = mem_strndup(unit->table, (size_t)(dot - unit->table));
    LakeTableSpec *table;
    AUTO(mem_free) char *name = NULL;
    Error err;
    if (!manifest_expand(unit, schema, dot + 1, &table, &name, &err)) {
        Place place = {load->findings, "IngestionUnit", &unit->meta, node};
        place_report(&place, "spec.outsourcingUnit.table", NULL, "%s", err.message);
        return;
    }
    lake_table_free(unit->lake);
    unit->lake = table;
}

void manifest_complete(Load *load)
{
    Manifest *manifest = load->manifest;
    for (size_t i = 0; i < manifest->connector_count; i++) {
        ConnectorSpec *connector = &manifest->connectors[i];
        if (connector->stream)
            stream_complete(connector, yaml_get(load->connector_nodes[i], "spec"));
        bool postgres = connector->source_type == SOURCE_POSTGRESQL;
        if (!connector->port)
            connector->port = postgres ? 5432 : 3306;
        if (!connector->meta.name)
            continue;
        AUTO(mem_free) char *slot = slot_default(connector->meta.name);
        text_default(&connector->pg_slot, slot);
        text_default(&connector->pg_publication, slot);
        if (connector->tls_ca.name)
            text_default(&connector->tls_ca.key, "ca.crt");
    }
    for (size_t i = 0; i < manifest->table_count; i++)
        lake_complete(&manifest->tables[i], yaml_get(load->table_nodes[i], "spec"));
    for (size_t i = 0; i < manifest->unit_count; i++)
        if (manifest->units[i].kafka)
            stream_complete_unit(&manifest->units[i]);
    for (size_t i = 0; i < manifest->unit_count; i++)
        if (manifest->units[i].lake)
            complete_lake(load, &manifest->units[i], load->unit_nodes[i]);
}

/* --- finding --- */

static bool is_named(const ObjectMeta *meta, const char *namespace_name, const char *name)
{
    return meta->name && strcmp(meta->name, name) == 0 &&
           strcmp(meta->namespace_name, namespace_name) == 0;
}

const LakeTableSpec *manifest_find_table(const Manifest *manifest, const char *namespace_name,
                                         const char *name)
{
    for (size_t i = 0; i < manifest->table_count; i++)
        if (is_named(&manifest->tables[i].meta, namespace_name, name))
            return &manifest->tables[i];
    return NULL;
}

bool manifest_is_maintained(const Manifest *manifest)
{
    bool asked = false;
    for (size_t i = 0; i < manifest->table_count; i++)
        asked = asked || manifest->tables[i].orphans_older_than_ms;
    for (size_t i = 0; i < manifest->unit_count; i++)
        asked =
            asked || (manifest->units[i].lake && manifest->units[i].lake->orphans_older_than_ms);
    return asked;
}

const ConnectorSpec *manifest_find_connector(const Manifest *manifest, const char *namespace_name,
                                             const char *name)
{
    for (size_t i = 0; i < manifest->connector_count; i++)
        if (is_named(&manifest->connectors[i].meta, namespace_name, name))
            return &manifest->connectors[i];
    return NULL;
}
