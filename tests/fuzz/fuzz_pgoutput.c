/* links: firn_capture_postgres */
/* pgoutput messages: the input is a sequence of (uint16 length, message); a source that always (or
 * never) has the row to fetch. Whatever comes, rows are whole and positions in a batch grow. */
#include "agent/capture/postgres/pgoutput.h"
#include "tests/unit/capture_postgres/fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const FixtureColumn columns[] = {
    {.name = "id", .oid = 23, .typmod = -1, .required = true, .key = true},
    {.name = "t", .oid = 25, .typmod = -1},
    {.name = "n", .oid = 1700, .typmod = NUMERIC_TYPMOD(12, 2)},
    {.name = "x", .oid = 1700, .typmod = -1},
    {.name = "a", .oid = 1009, .typmod = -1, .element_oid = 25},
};

static bool fetch(void *context, const PgTable *table, PgValue *values, const uint32_t *fields,
                  size_t count, bool *ret_found, Error *err)
{
    (void)context, (void)table, (void)err;
    *ret_found = count % 2;
    for (size_t i = 0; i < count; i++)
        values[fields[i]] = (PgValue){.kind = 'n'};
    return true;
}

static void take_all(Pgoutput *out)
{
    Change change;
    while (pgoutput_take(out, &change)) {
        if (change.kind != CHANGE_BATCH)
            continue;
        Batch *batch = change.batch;
        ASSERT(batch->row_count > 0 && batch->row_count <= batch->row_max);
        for (uint32_t i = 0; i < batch->column_count; i++)
            ASSERT(batch->columns[i].rows == batch->row_count);
        for (uint32_t row = 1; row < batch->row_count; row++)
            ASSERT(batch->ops[row - 1] != ROW_MOVE || batch->ops[row] == ROW_UPDATE);
        batch_free(batch);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PgTable tables[2];
    fixture_table(&tables[0], "a", 100, 'd', columns, ARRAY_LEN(columns));
    fixture_table(&tables[1], "b", 200, 'f', columns, ARRAY_LEN(columns));
    Pgoutput *out = pgoutput_new(&(PgoutputOptions){
        .tables = tables, .table_count = 2, .fetch = fetch, .transaction_bytes = 512});
    Reader in = reader_over(data, size);
    Error err = {0};
    uint16_t length;
    const uint8_t *message;
    bool ok = true;
    while (ok && reader_u16be(&in, &length)) {
        if (length > reader_left(&in))
            length = (uint16_t)reader_left(&in);
        if (!reader_take(&in, length, &message))
            break;
        ok = pgoutput_message(out, 1, message, length, &err);
        while (ok && pgoutput_replaying(out))
            ok = pgoutput_replay(out, &err);
        if (pgoutput_can_checkpoint(out))
            pgoutput_checkpoint(out);
        take_all(out);
    }
    ASSERT(ok || err.kind != ERROR_NONE);
    pgoutput_free(out);
    fixture_table_done(&tables[0]);
    fixture_table_done(&tables[1]);
    return 0;
}
