/* links: firn_parquet */
/* parquet_copy FROM TO LEVEL GROUP_ROWS FIELD…: reads a Parquet file with our reader and writes it
 * with our writer, bloom filters on every field, so that a script can compare both with another
 * engine. FIELD is id:name:type[!], ! for required; type as Iceberg's, or list<type>. Prints the
 * file's metrics, one line per field. */
#include "tests/integration/parquet_files.h"

#include "agent/table/parquet/parquet.h"

static void stop(const Error *err)
{
    fprintf(stderr, "parquet_copy: %s: %s\n", err->code, err->message);
    exit(1);
}

static void field_parse(Field *field, char *text)
{
    Error err = {0};
    char *name = strchr(text, ':');
    char *type = name ? strchr(name + 1, ':') : NULL;
    if (!type) {
        fprintf(stderr, "parquet_copy: %s is not id:name:type\n", text);
        exit(1);
    }
    *name++ = *type++ = '\0';
    *field = (Field){.id = atoi(text), .name = mem_strdup(name)};
    size_t end = strlen(type);
    if (end && type[end - 1] == '!') {
        field->required = true;
        type[--end] = '\0';
    }
    if (strncmp(type, "list<", 5) == 0) {
        type[end - 1] = '\0';
        field->type.kind = TYPE_LIST;
        field->type.element = mem_zalloc(sizeof(Field));
        *field->type.element = (Field){.id = field->id + 1000, .name = mem_strdup("element")};
        if (!type_parse(type + 5, &field->type.element->type, &err))
            stop(&err);
    } else if (!type_parse(type, &field->type, &err)) {
        stop(&err);
    }
}

static void print_hex(const uint8_t *bytes, size_t count, bool has)
{
    printf(has ? " x" : " none");
    for (size_t i = 0; i < count; i++)
        printf("%02x", bytes[i]);
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: parquet_copy FROM TO LEVEL GROUP_ROWS FIELD...\n");
        return 2;
    }
    Error err = {0};
    size_t fields = (size_t)argc - 5;
    AUTO(schema_free) Schema *schema = schema_new(fields, 0);
    int32_t *ids = mem_array(fields, sizeof *ids);
    for (size_t i = 0; i < fields; i++) {
        field_parse(&schema->fields[i], argv[5 + i]);
        const Field *element = schema->fields[i].type.element;
        ids[i] = element ? element->id : schema->fields[i].id;
    }
    AUTO(parquet_reader_free)
    ParquetReader *reader = parquet_reader_open(file_reader(argv[1]), schema, &err);
    if (!reader)
        stop(&err);
    ParquetOptions options;
    parquet_options_default(&options);
    options.zstd_level = atoi(argv[3]);
    options.row_group_rows = (size_t)atol(argv[4]);
    options.bloom_ids = ids;
    options.bloom_count = fields;
    options.schema_json = "{\"type\":\"struct\"}";
    AUTO(parquet_writer_free)
    ParquetWriter *writer = parquet_writer_open(schema, &options, file_writer(argv[2]), &err);
    if (!writer)
        stop(&err);
    const Column **columns = mem_array(fields, sizeof *columns);
    for (;;) {
        AUTO(batch_free) Batch *batch = NULL;
        if (!parquet_reader_next(reader, &batch, &err))
            stop(&err);
        if (!batch)
            break;
        for (size_t i = 0; i < fields; i++)
            columns[i] = &batch->columns[i];
        if (!parquet_writer_put(writer, columns, NULL, batch->row_count, &err))
            stop(&err);
    }
    free(columns);
    ParquetFileInfo info;
    if (!parquet_writer_finish(writer, &info, &err))
        stop(&err);
    for (size_t i = 0; i < info.field_count; i++) {
        const ParquetFieldMetrics *m = &info.fields[i];
        printf("%d %lld %lld %lld %lld", m->field_id, (long long)m->column_bytes,
               (long long)m->value_count, (long long)m->null_count, (long long)m->nan_count);
        print_hex(m->lower, m->lower_bytes, m->has_lower);
        print_hex(m->upper, m->upper_bytes, m->has_upper);
        printf("\n");
    }
    parquet_file_info_done(&info);
    free(ids);
    return 0;
}
