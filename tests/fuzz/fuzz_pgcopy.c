/* links: firn_capture_postgres */
/* Binary COPY: a header, then (uint16 length, tuple) as CopyData would frame them, into a table
 * with a column of every form. */
#include "tests/unit/capture_postgres/fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const FixtureColumn columns[] = {
    {.name = "id", .oid = 20, .typmod = -1, .required = true, .key = true},
    {.name = "bool", .oid = 16},
    {.name = "bytea", .oid = 17},
    {.name = "char", .oid = 18},
    {.name = "int2", .oid = 21},
    {.name = "text", .oid = 25},
    {.name = "float4", .oid = 700},
    {.name = "date", .oid = 1082},
    {.name = "time", .oid = 1083},
    {.name = "stamp", .oid = 1184},
    {.name = "decimal", .oid = 1700, .typmod = NUMERIC_TYPMOD(38, 10)},
    {.name = "numeric", .oid = 1700, .typmod = -1},
    {.name = "uuid", .oid = 2950},
    {.name = "jsonb", .oid = 3802},
    {.name = "mood", .oid = 20000},
    {.name = "numerics", .oid = 1231, .typmod = NUMERIC_TYPMOD(9, 3), .element_oid = 1700},
    {.name = "bools", .oid = 1000, .element_oid = 16},
    {.name = "texts", .oid = 1009, .element_oid = 25},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PgTable table;
    fixture_table(&table, "t", 100, 'd', columns, ARRAY_LEN(columns));
    PgValue values[ARRAY_LEN(columns)];
    Batch *batch = batch_new(table.source->schema, 0, 64);
    Reader in = reader_over(data, size);
    Error err = {0};
    if (size && data[0] == 'P')
        (void)!copy_read_header(&table, &in, &err);
    uint16_t length;
    while (!batch_is_full(batch) && reader_u16be(&in, &length)) {
        if (length > reader_left(&in))
            length = (uint16_t)reader_left(&in);
        const uint8_t *tuple;
        if (!reader_take(&in, length, &tuple))
            break;
        uint32_t rows = batch->row_count;
        bool ok = copy_decode_row(&table, batch, (RowPosition){1, 0}, values, tuple, length, &err);
        ASSERT(batch->row_count == rows + ok);
        for (uint32_t i = 0; i < batch->column_count; i++)
            ASSERT(batch->columns[i].rows == batch->row_count);
    }
    batch_free(batch);
    fixture_table_done(&table);
    return 0;
}
