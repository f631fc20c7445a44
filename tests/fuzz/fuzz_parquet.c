/* links: firn_parquet */
/* The Parquet reader over hostile bytes: any file is read or refused, whatever it says of itself.
 * The seed corpus (tests/golden/parquet) are small files of every type and encoding. */
#include "tests/unit/parquet/memory_store.h"

#include "agent/table/parquet/parquet.h"

#define BATCHES_MAX 20 /* a file may truly say that it has 2^40 nulls */

static Schema *wanted(void)
{
    static const char *const types[] = {
        "boolean", "int",          "int",           "long",          "long",           "float",
        "double",  "decimal(9,2)", "decimal(18,6)", "decimal(30,4)", "decimal(38,10)", "date",
        "time",    "timestamp",    "timestamptz",   "string",        "string",         "string",
        "binary",  "binary",       "uuid",          "fixed[7]",      "string",         "long",
    };
    size_t count = sizeof types / sizeof types[0];
    Schema *schema = schema_new(count, 0);
    for (size_t i = 0; i < count; i++) {
        Field *field = &schema->fields[i];
        *field = (Field){.id = (int32_t)i + 1, .name = mem_strdup("field")};
        ASSERT(type_parse(types[i], &field->type, NULL));
        if (i >= 22) {
            Field *element = mem_zalloc(sizeof *element);
            *element = (Field){.id = (int32_t)i + 1001, .name = mem_strdup("element")};
            element->type = field->type;
            field->type = (Type){.kind = TYPE_LIST, .element = element};
        }
    }
    return schema;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static Schema *schema;
    if (!schema)
        schema = wanted();
    Bytes file = {0};
    bytes_put(&file, data, bytes);
    Error err = {0};
    ParquetReader *reader = parquet_reader_open(memory_reader(&file), schema, &err);
    ASSERT(reader || err.kind == ERROR_DATA);
    for (int i = 0; reader && i < BATCHES_MAX; i++) {
        AUTO(batch_free) Batch *batch = NULL;
        if (!parquet_reader_next(reader, &batch, &err)) {
            ASSERT(err.kind == ERROR_DATA);
            break;
        }
        if (!batch)
            break;
    }
    parquet_reader_free(reader);
    ASSERT(memory_open == 0);
    bytes_done(&file);
    return 0;
}
