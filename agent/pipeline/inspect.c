/* `firn-agent inspect`: what a table says of itself, read from its metadata alone. The JSON object
 * is built first; the text is a view of it, so that both say the same. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/lake/lake.h"
#include "agent/pipeline/pipeline.h"
#include "agent/table/iceberg/iceberg.h"
#include "common/mem.h"

static json_t *schema_json(const IcebergTable *table)
{
    json_t *fields = json_array();
    const Schema *schema = iceberg_schema(table);
    for (size_t i = 0; i < schema->field_count; i++) {
        const Field *field = &schema->fields[i];
        char type[TYPE_NAME_BYTES];
        bool key = false;
        for (size_t k = 0; k < schema->key_count; k++)
            key = key || schema->key[k] == i;
        json_array_append_new(fields,
                              json_pack("{s:i,s:s,s:s,s:b,s:b}", "id", field->id, "name",
                                        field->name, "type", type_format(&field->type, type),
                                        "required", field->required, "key", key));
    }
    return fields;
}

static json_t *positions_json(const IcebergTable *table)
{
    json_t *positions = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(iceberg_metadata(table), "properties"), key,
                        value) if (strncmp(key, ICEBERG_CLAIM, strlen(ICEBERG_CLAIM)) == 0)
        json_object_set(positions, key + strlen(ICEBERG_CLAIM), value);
    return positions;
}

static json_t *snapshots_json(const IcebergTable *table)
{
    json_t *snapshots = json_array();
    size_t i;
    json_t *snapshot;
    json_array_foreach(json_object_get(iceberg_metadata(table), "snapshots"), i, snapshot)
    {
        json_t *summary = json_object_get(snapshot, "summary");
        json_t *row = json_object();
        json_object_set(row, "id", json_object_get(snapshot, "snapshot-id"));
        json_object_set(row, "timestamp-ms", json_object_get(snapshot, "timestamp-ms"));
        static const char *const wanted[] = {
            "operation",        "added-data-files",       "deleted-data-files",
            "added-records",    "added-position-deletes", "total-records",
            "total-data-files", "total-delete-files"};
        for (size_t w = 0; w < ARRAY_LEN(wanted); w++)
            if (json_object_get(summary, wanted[w]))
                json_object_set(row, wanted[w], json_object_get(summary, wanted[w]));
        json_array_append_new(snapshots, row);
    }
    return snapshots;
}

typedef struct Files {
    json_t *data, *deletes;
    uint64_t rows, data_bytes, deleted_rows;
} Files;

static bool each_file(const DataFile *file, void *context, Error *err)
{
    (void)err;
    Files *files = context;
    json_t *row = json_pack("{s:s,s:I,s:I,s:I}", "path", file->path, "rows",
                            (json_int_t)file->record_count, "bytes", (json_int_t)file->file_bytes,
                            "sequence-number", (json_int_t)file->sequence_number);
    if (file->content == FILE_DATA) {
        files->rows += file->record_count;
        files->data_bytes += file->file_bytes;
        if (file->first_row_id >= 0)
            json_object_set_new(row, "first-row-id", json_integer(file->first_row_id));
        json_array_append_new(files->data, row);
        return true;
    }
    files->deleted_rows += file->record_count;
    json_object_set_new(row, "kind",
                        json_string(file->content == FILE_EQUALITY_DELETES ? "equality deletes"
                                    : file->format == FORMAT_PUFFIN        ? "deletion vector"
                                                                           : "position deletes"));
    if (file->referenced_data_file)
        json_object_set_new(row, "data-file", json_string(file->referenced_data_file));
    json_array_append_new(files->deletes, row);
    return true;
}

static bool table_json(IcebergTable *table, const TableName *name, json_t **ret, Error *err)
{
    Files files = {.data = json_array(), .deletes = json_array()};
    bool ok = iceberg_each_file(table, each_file, &files, err);
    if (ok)
        *ret =
            json_pack("{s:s,s:s,s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o}", "database",
                      name->database, "table", name->table, "location", iceberg_location(table),
                      "uuid", iceberg_uuid(table), "format-version", iceberg_format_version(table),
                      "current-snapshot", (json_int_t)iceberg_current_snapshot(table), "rows",
                      (json_int_t)(files.rows - files.deleted_rows), "data-bytes",
                      (json_int_t)files.data_bytes, "deleted-rows", (json_int_t)files.deleted_rows,
                      "positions", positions_json(table), "schema", schema_json(table), "snapshots",
                      snapshots_json(table), "data-files", json_incref(files.data), "delete-files",
                      json_incref(files.deletes));
    ASSERT(!ok || *ret);
    json_decref(files.data);
    json_decref(files.deletes);
    return ok;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void print_files(const char *title, const json_t *files)
{
    printf("%s (%zu)\n", title, json_array_size(files));
    size_t i;
    json_t *file;
    json_array_foreach(files, i, file)
    {
        const char *kind = json_string_value(json_object_get(file, "kind"));
        printf("  %12" JSON_INTEGER_FORMAT " rows %12" JSON_INTEGER_FORMAT " bytes  %s%s%s\n",
               number_of(file, "rows"), number_of(file, "bytes"), kind ? kind : "",
               kind ? "  " : "", text_of(file, "path"));
    }
}

static void print_snapshots(const json_t *table)
{
    const json_t *snapshots = json_object_get(table, "snapshots");
    printf("snapshots (%zu)\n", json_array_size(snapshots));
    size_t i;
    json_t *snapshot;
    json_array_foreach(snapshots, i, snapshot)
    {
        char when[40];
        time_t seconds = number_of(snapshot, "timestamp-ms") / 1000;
        struct tm utc;
        gmtime_r(&seconds, &utc);
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
        bool current = number_of(snapshot, "id") == number_of(table, "current-snapshot");
        printf("  %20" JSON_INTEGER_FORMAT
               "  %s  %-9s  rows %s  data files %s  delete files %s%s\n",
               number_of(snapshot, "id"), when, text_of(snapshot, "operation"),
               text_of(snapshot, "total-records"), text_of(snapshot, "total-data-files"),
               text_of(snapshot, "total-delete-files"), current ? "  (current)" : "");
    }
}

static void print_text(const json_t *table)
{
    printf("table     %s.%s\nlocation  %s\nuuid      %s\nformat    v%" JSON_INTEGER_FORMAT
           "\nrows      %" JSON_INTEGER_FORMAT " (%" JSON_INTEGER_FORMAT
           " deleted rows are still in files)\n",
           text_of(table, "database"), text_of(table, "table"), text_of(table, "location"),
           text_of(table, "uuid"), number_of(table, "format-version"), number_of(table, "rows"),
           number_of(table, "deleted-rows"));
    const char *unit;
    json_t *position;
    json_object_foreach(json_object_get(table, "positions"), unit, position)
        printf("position  %s  %s\n", unit, json_string_value(position));
    const json_t *schema = json_object_get(table, "schema");
    printf("schema (%zu)\n", json_array_size(schema));
    size_t i;
    json_t *field;
    json_array_foreach(schema, i, field)
        printf("  %4" JSON_INTEGER_FORMAT "  %-32s %s%s%s\n", number_of(field, "id"),
               text_of(field, "name"), text_of(field, "type"),
               json_is_true(json_object_get(field, "required")) ? " required" : "",
               json_is_true(json_object_get(field, "key")) ? " key" : "");
    print_snapshots(table);
    print_files("data files", json_object_get(table, "data-files"));
    print_files("delete files", json_object_get(table, "delete-files"));
}

static bool inspect(const Lake *lake, const TableName *name, bool as_json, Error *err)
{
    AUTO(iceberg_table_free) IcebergTable *table = NULL;
    if (!iceberg_table_load(lake->catalog, name, &table, err))
        return false;
    if (!table)
        return error_set(err, ERROR_CONFIG, "TableMissing", "there is no table %s.%s in %s",
                         name->database, name->table, lake->folder);
    json_t *json;
    if (!table_json(table, name, &json, err))
        return error_wrap(err, "%s", iceberg_location(table));
    if (as_json) {
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_text(json);
    }
    json_decref(json);
    return true;
}

bool pipeline_inspect(const LakeTableSpec *spec, bool as_json, Error *err)
{
    AUTO(lake_close) Lake *lake = lake_open(spec, err);
    AUTO(mem_free) char *location = NULL;
    if (!lake || !lake_location(lake, spec, &location, err))
        return false;
    TableName name = {spec->database, spec->table_name, location};
    return inspect(lake, &name, as_json, err);
}

/* "…/database/table": the last two folders name it. */
bool pipeline_inspect_location(const char *location, bool as_json, Error *err)
{
    AUTO(mem_free) char *uri = store_uri(location, err);
    if (!uri)
        return false;
    AUTO(mem_free) char *folder = mem_strdup(uri);
    char *table = strrchr(folder, '/');
    *table++ = '\0';
    LakeTableSpec spec = {.database = strrchr(folder, '/') + 1,
                          .table_name = table,
                          .catalog = {.type = CATALOG_DIRECTORY},
                          .location = uri};
    return pipeline_inspect(&spec, as_json, err);
}
