#include "agent/table/columns.h"

#include "common/mem.h"

/* A moved row is the deletion of its old key; the row after it has the new one. */
static const char op_letters[] = {
    [ROW_READ] = 'r', [ROW_INSERT] = 'c', [ROW_UPDATE] = 'u', [ROW_DELETE] = 'd', [ROW_MOVE] = 'd'};

void column_map_init(ColumnMap *map, const Schema *schema, const uint32_t *source_of)
{
    *map = (ColumnMap){.schema = schema, .source_of = source_of};
    map->columns = mem_array(schema->field_count, sizeof(Column *));
    for (size_t i = 0; i < schema->field_count; i++)
        map->has_absent |= source_of[i] == COLUMN_ABSENT;
}

void column_map_done(ColumnMap *map)
{
    batch_free(map->absent);
    free(map->columns);
    free(map->op_texts);
    free(map->position_texts);
    free(map->bits);
    free(map->op_offsets);
    free(map->position_offsets);
    *map = (ColumnMap){0};
}

static void absent_reserve(ColumnMap *map, uint32_t rows)
{
    if (map->absent && map->absent->row_max >= rows)
        return;
    batch_free(map->absent);
    map->absent = batch_new(map->schema, 0, rows);
    for (size_t i = 0; i < map->schema->field_count; i++)
        if (map->source_of[i] == COLUMN_ABSENT)
            for (uint32_t row = 0; row < rows; row++)
                column_put_null(map->absent, &map->absent->columns[i]);
}

/* Offsets, validity and room for the two Append columns; they never change with the rows. */
static void append_reserve(ColumnMap *map, uint32_t rows)
{
    if (rows <= map->rows_held)
        return;
    map->rows_held = rows;
    map->op_texts = mem_regrow(map->op_texts, rows, 1);
    map->position_texts = mem_regrow(map->position_texts, rows, POSITION_TEXT);
    map->bits = mem_regrow(map->bits, (rows + 7) / 8, 1);
    memset(map->bits, 0xff, (rows + 7) / 8);
    map->op_offsets = mem_regrow(map->op_offsets, (size_t)rows + 1, sizeof(int32_t));
    map->position_offsets = mem_regrow(map->position_offsets, (size_t)rows + 1, sizeof(int32_t));
    ASSERT(rows < COLUMN_BYTES_MAX / POSITION_TEXT);
    for (uint32_t row = 0; row <= rows; row++) {
        map->op_offsets[row] = (int32_t)row;
        map->position_offsets[row] = (int32_t)(row * POSITION_TEXT);
    }
}

/* The 16 upper-case hex digits of a number: eight nibbles at a time in one word. */
static inline void put_hex(uint8_t *to, uint64_t number)
{
    for (int half = 0; half < 2; half++, to += 8) {
        uint64_t x = half ? number & UINT32_MAX : number >> 32;
        x = (x << 16 | x) & 0x0000ffff0000ffffu; /* 2 bytes in each half */
        x = (x << 8 | x) & 0x00ff00ff00ff00ffu;
        x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0fu; /* one nibble per byte, the last in the lowest */
        uint64_t letters = ((x + 0x0606060606060606u) >> 4) & 0x0101010101010101u;
        x += 0x3030303030303030u + letters * ('A' - '0' - 10);
        x = __builtin_bswap64(x);
        memcpy(to, &x, 8);
    }
}

static void append_fill(ColumnMap *map, const Batch *batch, char op)
{
    uint32_t rows = batch->row_count;
    for (uint32_t row = 0; row < rows; row++)
        map->op_texts[row] = (uint8_t)(op ? op : op_letters[batch->ops[row]]);
    uint8_t *to = map->position_texts;
    for (uint32_t row = 0; row < rows; row++, to += POSITION_TEXT) {
        put_hex(to, batch->positions[row].major);
        to[16] = '.';
        put_hex(to + 17, batch->positions[row].minor);
    }
    map->op = (Column){.validity = map->bits,
                       .values = map->op_texts,
                       .offsets = map->op_offsets,
                       .rows = rows,
                       .rows_max = map->rows_held,
                       .values_held = map->rows_held};
    map->position = (Column){.validity = map->bits,
                             .values = map->position_texts,
                             .offsets = map->position_offsets,
                             .rows = rows,
                             .rows_max = map->rows_held,
                             .values_held = map->rows_held * POSITION_TEXT};
}

const Column *const *column_map_batch(ColumnMap *map, const Batch *batch, char op)
{
    if (map->has_absent)
        absent_reserve(map, batch->row_count);
    bool filled = false;
    for (size_t i = 0; i < map->schema->field_count; i++) {
        uint32_t source = map->source_of[i];
        if (source == COLUMN_OP || source == COLUMN_POSITION) {
            if (!filled) {
                append_reserve(map, batch->row_count);
                append_fill(map, batch, op);
                filled = true;
            }
            Column *column = source == COLUMN_OP ? &map->op : &map->position;
            column->field = &map->schema->fields[i];
            map->columns[i] = column;
        } else {
            map->columns[i] =
                source == COLUMN_ABSENT ? &map->absent->columns[i] : &batch->columns[source];
        }
    }
    return map->columns;
}
