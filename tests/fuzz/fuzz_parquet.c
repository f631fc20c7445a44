/* links: firn_parquet */
/* The Parquet reader over hostile bytes: any file is read or refused, whatever it says of itself.
 * The seed corpus (tests/golden/parquet) are small files of every type and encoding. */
#include "tests/unit/parquet/golden_schema.h"
#include "tests/unit/parquet/memory_store.h"

#include "agent/table/parquet/parquet.h"

#define BATCHES_MAX 20 /* a file may truly say that it has 2^40 nulls */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Single rows, near and far; back again, too. */
static void pick(const Bytes *file, const Schema *schema)
{
    static const uint64_t rows[] = {0, 1, 3, 40, 39, 900, 20000};
    Error err = {0};
    ParquetReader *reader = parquet_reader_open(memory_reader(file), schema, &err);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, 16);
    for (uint32_t i = 0; reader && i < schema->field_count; i++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            if (parquet_reader_pick(reader, i, rows[k], batch, &batch->columns[i], &err))
                continue;
            ASSERT(err.kind == ERROR_DATA);
            break;
        }
    parquet_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static Schema *schema;
    if (!schema)
        schema = golden_schema();
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
    pick(&file, schema);
    ASSERT(memory_open == 0);
    bytes_done(&file);
    return 0;
}
