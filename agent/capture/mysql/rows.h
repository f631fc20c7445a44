/* Rows of the log into batches. A plan is made once per table and table map: a decoder per column
 * of the log and the field that it fills; then each row is measured once and decoded straight into
 * the batch's columns.
 *
 *   rows event   table id (6 bytes), uint16 flags, [v2: uint16 n, n - 2 bytes more,] packed count
 * of columns, a bit for each that the image has, [update: the same of the new image,] rows row an
 * image; of an update the old one, then the new one image        a bit for each column that it has:
 * null; then the values (value.h)
 *
 * binlog_row_image: FULL images have all columns. MINIMAL and NOBLOB leave out what an update did
 * not change, in the new image, and what is not the key, in the old one: such a value is the old
 * image's, or is handed out as unchanged (batch.h). A new row that lacks columns can't be known. */
#pragma once

#include "agent/capture/mysql/value.h"

typedef enum RowsKind { ROWS_WRITE, ROWS_UPDATE, ROWS_DELETE } RowsKind;

#define ROWS_FLAG_LAST 1 /* of its statement: table maps no longer hold */
/* Stands for no table, without rows: it only ends a statement. */
#define ROWS_TABLE_NONE 0xffffff

typedef struct RowsEvent {
    RowsKind kind;
    uint64_t table; /* as its table map numbers it */
    bool last;
    uint32_t columns;
    const uint8_t *has_old, *has_new; /* bits; of a write only new, of a delete only old */
    Reader rows;
} RowsEvent;

bool rows_is_event(uint8_t type);
/* unpacked: memory for a compressed one, kept from call to call; *ret points into it. DATA
 * "BadEvent"; CONFIG "PartialJson" for rows that say how a JSON value changed, not what it is. */
MUST_CHECK bool rows_read(const BinlogEvent *event, const BinlogFormat *format, Bytes *unpacked,
                          RowsEvent *ret, Error *err);

typedef struct RowValue {
    const uint8_t *at;
    uint32_t bytes;
    uint8_t kind; /* RowValueKind */
} RowValue;

typedef struct RowPlan {
    char *name; /* "shop.orders", for messages */
    const Schema *schema;
    MyDecoder *decoders; /* per column of the log */
    char **names;        /* of those */
    int32_t *columns;    /* per field: its column; -1: the log has none, it is null */
    bool *is_key;        /* per field: of what rows are known by */
    uint32_t *ids;       /* those fields */
    size_t id_count;
    bool fills; /* the receiver fills in what images leave out; else that is refused */
    uint32_t column_count;
    RowValue *old_row, *new_row; /* per column, of the row being read */
    Bytes scratch;
} RowPlan;

/* A schema as the log tells of it: needs binlog_row_metadata=FULL, else CONFIG "RowMetadata".
 * Invisible columns are columns. CONFIG "UnsupportedType". */
Schema *rows_schema(const TableMap *map, const Collations *collations, Error *err)
    OWNED_BY(schema_free);

void row_plan_free(RowPlan *plan); /* NULL is fine */
/* names: per column of the map, NULL: the map's own. What is in no field is passed over. The schema
 * outlives the plan. CONFIG "SchemaChanged" when a field's column is not there, or can't have the
 * field's type; "RowMetadata" without names. */
RowPlan *row_plan_new(const TableMap *map, const Schema *schema, const char *const *names,
                      const Collations *collations, Error *err) OWNED_BY(row_plan_free);
/* The same; but a field that is not required may have no column: it is null in these rows. */
RowPlan *row_plan_new_lenient(const TableMap *map, const Schema *schema,
                              const Collations *collations, Error *err) OWNED_BY(row_plan_free);
/* What the receiver knows rows by, as origins, where it is not the schema's key: an update that
 * changes one of these moves its row. */
void row_plan_identify(RowPlan *plan, const int32_t *origins, size_t count);

/* Values go to a batch that has origins as its receiver passes them on: also times that are none of
 * a day, and geometries with the SRID. A date or moment that is none (zero dates and the like) is
 * null there, or 1970 where the column is NOT NULL, as Debezium has it; but in a key, where two of
 * them would become one, it stays a BadValue. */
void row_plan_as_sent(RowPlan *plan);

/* Puts the event's next row, which has to be there (reader_left(&event->rows) > 0), into the batch,
 * which has room for two: an update that changes the key is a ROW_MOVE and a ROW_UPDATE. A batch
 * that has origins gets the row as it was, too, where the event has all of it. On false the batch
 * is as before. DATA "BadEvent", and "BadValue" for a value that the field's type does
 * not hold; CONFIG "RowImageIncomplete" when it lacks what it needs. */
MUST_CHECK bool rows_put_next(RowPlan *plan, RowsEvent *event, Batch *batch, RowPosition at,
                              Error *err);

DEFINE_AUTO(RowPlan, row_plan_free);
