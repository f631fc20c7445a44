/* links: firn_parquet */
/* The Parquet reader over hostile bytes: any file is read or refused, whatever it says of itself.
 * The seed corpus (tests/golden/parquet) are small files of every type and encoding. */
#include "tests/unit/parquet/golden_schema.h"
#include "tests/unit/parquet/memory_store.h"

#include "agent/table/parquet/parquet.h"

#define BATCHES_MAX 20 /* a file may truly say that it has 2^40 nulls */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

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
    ASSERT(memory_open == 0);
    bytes_done(&file);
    return 0;
}
