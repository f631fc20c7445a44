/* The Avro schemas of manifests and manifest lists, with Iceberg's field ids.
 * https://iceberg.apache.org/spec/#manifest-entry-fields, #manifest-lists */
#include "agent/table/iceberg/manifest_schema.h"

#include <stdio.h>
#include <string.h>

#include "agent/table/iceberg/value.h"
#include "common/mem.h"

static void put(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

/* Not by printf: a manifest's schema has thirty, and is made for each. */
static void put_number(Bytes *to, int number)
{
    char digits[12], *at = digits + sizeof digits;
    ASSERT(number >= 0);
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    bytes_put(to, at, (size_t)(digits + sizeof digits - at));
}

/* One field of a record; optional ones are a union with null. */
static void put_field(Bytes *to, const char *name, const char *type, int id, bool optional)
{
    if (to->used && to->data[to->used - 1] == '}')
        bytes_put_u8(to, ',');
    put(to, "{\"name\":\"");
    put(to, name);
    put(to, "\",\"field-id\":");
    put_number(to, id);
    bytes_put_u8(to, ',');
    put(to, optional ? "\"default\":null,\"type\":[\"null\"," : "\"type\":");
    put(to, type);
    put(to, optional ? "]}" : "}");
}

static void put_map(Bytes *to, const char *name, int id, int key_id, int value_id,
                    const char *value)
{
    Bytes type = {0};
    bytes_reserve(&type, 256);
    put(&type,
        "{\"type\":\"array\",\"logicalType\":\"map\",\"items\":{\"type\":\"record\",\"name\":\"k");
    put_number(&type, key_id);
    put(&type, "_v");
    put_number(&type, value_id);
    put(&type, "\",\"fields\":[{\"name\":\"key\",\"type\":\"int\",\"field-id\":");
    put_number(&type, key_id);
    put(&type, "},{\"name\":\"value\",\"type\":\"");
    put(&type, value);
    put(&type, "\",\"field-id\":");
    put_number(&type, value_id);
    put(&type, "}]}}");
    bytes_put_u8(&type, 0);
    put_field(to, name, (const char *)type.data, id, true);
    bytes_done(&type);
}

/* Avro's names are [A-Za-z_][A-Za-z0-9_]*; other characters become _xHH as Iceberg's Java does it,
 * a leading digit gets a _ before it. Readers go by field id. */
static char *avro_name(const char *name)
{
    Bytes text = {0};
    for (const unsigned char *at = (const unsigned char *)name; *at; at++) {
        char escape[8];
        bool digit = *at >= '0' && *at <= '9';
        if (digit && at == (const unsigned char *)name)
            bytes_put_u8(&text, '_');
        if (digit || *at == '_' || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z')) {
            bytes_put_u8(&text, *at);
        } else {
            snprintf(escape, sizeof escape, "_x%X", *at);
            put(&text, escape);
        }
    }
    bytes_put_u8(&text, 0);
    return (char *)text.data;
}

static char *partition_record(const PartitionSpec *spec)
{
    Bytes text = {0};
    put(&text, "{\"type\":\"record\",\"name\":\"r102\",\"fields\":[");
    for (size_t i = 0; i < spec->field_count; i++) {
        const PartitionField *field = &spec->fields[i];
        AUTO(mem_free) char *type = value_avro_type(&field->result, field->field_id);
        AUTO(mem_free) char *name = avro_name(field->name);
        put_field(&text, name, type, field->field_id, true);
    }
    put(&text, "]}");
    bytes_put_u8(&text, 0);
    return (char *)text.data;
}

char *manifest_schema(const PartitionSpec *spec, int format_version)
{
    Bytes text = {0};
    bytes_reserve(&text, 4096);
    AUTO(mem_free) char *partition = partition_record(spec);
    put(&text, "{\"type\":\"record\",\"name\":\"manifest_entry\",\"fields\":[");
    put_field(&text, "status", "\"int\"", 0, false);
    put_field(&text, "snapshot_id", "\"long\"", 1, true);
    put_field(&text, "sequence_number", "\"long\"", 3, true);
    put_field(&text, "file_sequence_number", "\"long\"", 4, true);
    put(&text, ",{\"name\":\"data_file\",\"field-id\":2,\"type\":{\"type\":\"record\",\"name\":"
               "\"r2\",\"fields\":[");
    put_field(&text, "content", "\"int\"", 134, false);
    put_field(&text, "file_path", "\"string\"", 100, false);
    put_field(&text, "file_format", "\"string\"", 101, false);
    put_field(&text, "partition", partition, 102, false);
    put_field(&text, "record_count", "\"long\"", 103, false);
    put_field(&text, "file_size_in_bytes", "\"long\"", 104, false);
    put_map(&text, "column_sizes", 108, 117, 118, "long");
    put_map(&text, "value_counts", 109, 119, 120, "long");
    put_map(&text, "null_value_counts", 110, 121, 122, "long");
    put_map(&text, "nan_value_counts", 137, 138, 139, "long");
    put_map(&text, "lower_bounds", 125, 126, 127, "bytes");
    put_map(&text, "upper_bounds", 128, 129, 130, "bytes");
    put_field(&text, "key_metadata", "\"bytes\"", 131, true);
    put_field(&text, "split_offsets", "{\"type\":\"array\",\"items\":\"long\",\"element-id\":133}",
              132, true);
    put_field(&text, "equality_ids", "{\"type\":\"array\",\"items\":\"int\",\"element-id\":136}",
              135, true);
    put_field(&text, "sort_order_id", "\"int\"", 140, true);
    if (format_version >= 3)
        put_field(&text, "first_row_id", "\"long\"", 142, true);
    put_field(&text, "referenced_data_file", "\"string\"", 143, true);
    if (format_version >= 3) {
        put_field(&text, "content_offset", "\"long\"", 144, true);
        put_field(&text, "content_size_in_bytes", "\"long\"", 145, true);
    }
    put(&text, "]}}]}");
    bytes_put_u8(&text, 0);
    return (char *)text.data;
}

char *manifest_list_schema(int format_version)
{
    Bytes text = {0};
    bytes_reserve(&text, 4096);
    put(&text, "{\"type\":\"record\",\"name\":\"manifest_file\",\"fields\":[");
    put_field(&text, "manifest_path", "\"string\"", 500, false);
    put_field(&text, "manifest_length", "\"long\"", 501, false);
    put_field(&text, "partition_spec_id", "\"int\"", 502, false);
    put_field(&text, "content", "\"int\"", 517, false);
    put_field(&text, "sequence_number", "\"long\"", 515, false);
    put_field(&text, "min_sequence_number", "\"long\"", 516, false);
    put_field(&text, "added_snapshot_id", "\"long\"", 503, false);
    put_field(&text, "added_files_count", "\"int\"", 504, false);
    put_field(&text, "existing_files_count", "\"int\"", 505, false);
    put_field(&text, "deleted_files_count", "\"int\"", 506, false);
    put_field(&text, "added_rows_count", "\"long\"", 512, false);
    put_field(&text, "existing_rows_count", "\"long\"", 513, false);
    put_field(&text, "deleted_rows_count", "\"long\"", 514, false);
    put_field(&text, "partitions",
              "{\"type\":\"array\",\"element-id\":508,\"items\":{\"type\":\"record\",\"name\":"
              "\"r508\",\"fields\":[{\"name\":\"contains_null\",\"type\":\"boolean\",\"field-id\":"
              "509},{\"name\":\"contains_nan\",\"type\":[\"null\",\"boolean\"],\"default\":null,"
              "\"field-id\":518},{\"name\":\"lower_bound\",\"type\":[\"null\",\"bytes\"],"
              "\"default\":null,\"field-id\":510},{\"name\":\"upper_bound\",\"type\":[\"null\","
              "\"bytes\"],\"default\":null,\"field-id\":511}]}}",
              507, true);
    put_field(&text, "key_metadata", "\"bytes\"", 519, true);
    if (format_version >= 3)
        put_field(&text, "first_row_id", "\"long\"", 520, true);
    put(&text, "]}");
    bytes_put_u8(&text, 0);
    return (char *)text.data;
}
