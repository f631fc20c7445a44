/* links: firn_capture_postgres */
/* One binary value: a byte says of which type (types.c, type_rows.h), the rest is the value; as
 * itself and as a string. Whatever is in it, the row is there whole or not at all. */
#include "tests/unit/capture_postgres/type_rows.h"

#include "agent/capture/postgres/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t own[] = {16,   17,   18,   20,   21,   22,   23,   24,   25,   26,   27,
                               30,   142,  600,  601,  602,  603,  604,  628,  650,  700,  701,
                               718,  774,  790,  829,  869,  1042, 1082, 1083, 1114, 1184, 1186,
                               1266, 1560, 1700, 2950, 2970, 3220, 3614, 3615, 3802, 5069};
static char *const by_name[][2] = {{(char[]){"citext"}, (char[]){"citext"}},
                                   {(char[]){"hstore"}, (char[]){"hstore"}},
                                   {(char[]){"ltree"}, (char[]){"ltree"}},
                                   {(char[]){"postgis"}, (char[]){"geometry"}},
                                   {(char[]){"vector"}, (char[]){"vector"}}};

static uint32_t choose_oid(uint8_t number)
{
    if (number < ARRAY_LEN(own))
        return own[number];
    number -= ARRAY_LEN(own);
    if (number < ARRAY_LEN(rows) - 2)
        return rows[number].oid;
    number -= ARRAY_LEN(rows) - 2;
    if (number >= 2 * ARRAY_LEN(by_name))
        return 0;
    PgType *extension = &rows[ARRAY_LEN(rows) - 2];
    extension->extension = by_name[number / 2][0];
    extension->name = by_name[number / 2][1];
    return FIRST_EXTENSION + number % 2;
}

static void check_column(const Column *column, const Type *type, uint32_t wanted)
{
    ASSERT(column->rows == wanted);
    if (type->kind == TYPE_STRUCT)
        for (uint32_t i = 0; i < type->field_count; i++)
            check_column(&column->child[i], &type->fields[i].type, wanted);
    if (type->kind == TYPE_LIST || type->kind == TYPE_MAP)
        ASSERT(column->child->rows == (uint32_t)column->offsets[wanted]);
    if (type->kind == TYPE_MAP)
        ASSERT(column->child[1].rows == column->child->rows);
}

static void decode(PgDecoder *decoder, Field *field, const uint8_t *value, uint32_t bytes)
{
    Schema schema = {.fields = field, .field_count = 1};
    char text[64];
    Batch *batch = batch_new(&schema, 0, 4);
    uint32_t whole = 0;
    for (int turn = 0; turn < 2; turn++) { /* the second upon what the first has left */
        batch_row_begin(batch, ROW_READ, (RowPosition){0});
        if (decode_value(decoder, batch, &batch->columns[0], value, bytes))
            batch_row_undo(batch);
        else
            whole++;
        check_column(&batch->columns[0], &field->type, whole);
    }
    ASSERT(whole != 1);
    decode_describe(decoder, &field->type, value, bytes, text, sizeof text);
    ASSERT(strlen(text) < sizeof text);
    batch_free(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const Type string = {.kind = TYPE_STRING};
    uint32_t oid = size ? choose_oid(data[0]) : 0;
    PgDecoder decoder;
    Field field = {.name = (char[]){"v"}};
    if (!oid)
        return 0;
    bool chosen = decoder_choose(&types, oid, -1, &decoder, &field.type);
    ASSERT(chosen);
    decode(&decoder, &field, data + 1, (uint32_t)size - 1);
    if (decoder_override(&decoder, &field.type, &string))
        decode(&decoder, &field, data + 1, (uint32_t)size - 1);
    decoder_done(&decoder);
    type_done(&field.type);
    return 0;
}
