/* Columns that are declared → what their values are on the wire, for nothing there says it: plain
 * JSON's by themselves (natural.c), those of Debezium's envelope by what its connector was told
 * (common/manifest/manifest.h: RecordsSpec). How Debezium writes which type in which mode:
 * agent/topic/connect_schema.c, and
 * https://debezium.io/documentation/reference/3.5/connectors/postgresql.html#postgresql-data-types
 */
#include <string.h>

#include "agent/event/wire.h"
#include "common/manifest/manifest.h"

static const WireForm natural_forms[] = {
    [TYPE_BOOL] = FORM_BOOLEAN,      [TYPE_INT32] = FORM_INTEGER, [TYPE_INT64] = FORM_INTEGER,
    [TYPE_FLOAT32] = FORM_REAL,      [TYPE_FLOAT64] = FORM_REAL,  [TYPE_DECIMAL] = FORM_NUMBER,
    [TYPE_DATE] = FORM_DATE,         [TYPE_TIME] = FORM_TIME,     [TYPE_TIMESTAMP] = FORM_LOCAL,
    [TYPE_TIMESTAMPTZ] = FORM_ZONED, [TYPE_STRING] = FORM_JSON,   [TYPE_BINARY] = FORM_BINARY,
    [TYPE_UUID] = FORM_UUID};

static bool choose_micros(const Field *field, const RecordsSpec *records, WireType *to, Error *err)
{
    static const struct {
        int64_t multiplier, divisor;
    } units[] = {[RECORD_MILLISECONDS] = {1000, 1},
                 [RECORD_MICROSECONDS] = {1, 1},
                 [RECORD_NANOSECONDS] = {1, 1000}};
    RecordUnit unit = manifest_time_unit(records, field->name, field->type.kind == TYPE_TIME);
    if (unit == RECORD_UNIT_UNKNOWN) /* the manifest was checked */
        return error_set(err, ERROR_CONFIG, "BadSchema", "in what unit column %s comes is not said",
                         field->name);
    to->form = FORM_MICROS;
    to->multiplier = units[unit].multiplier;
    to->divisor = units[unit].divisor;
    return true;
}

/* Where Debezium's value is another than plain JSON's. */
static bool choose_debezium(const Field *field, const RecordsSpec *records, WireType *to,
                            Error *err)
{
    switch (field->type.kind) {
    case TYPE_DATE:
        to->form = FORM_INTEGER; /* of days, in every mode */
        return true;
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
        return choose_micros(field, records, to, err);
    case TYPE_DECIMAL:
        if (records->decimal == RECORD_DECIMAL_PRECISE)
            to->form = FORM_SCALED;
        return true;
    case TYPE_BINARY: /* base64, too, where it is a text of it, in either alphabet */
        if (records->binary == RECORD_BINARY_HEX)
            to->form = FORM_HEX;
        return true;
    default:
        return true;
    }
}

bool wire_from_columns(const Schema *columns, const RecordsSpec *records, WireSchema *ret,
                       Error *err)
{
    *ret = (WireSchema){0};
    WireType *root = ret->root = wire_new(ret, 1, err);
    WireType *children = root ? wire_new(ret, (uint32_t)columns->field_count, err) : NULL;
    bool ok = children != NULL;
    for (uint32_t i = 0; ok && i < columns->field_count; i++) {
        const Field *field = &columns->fields[i];
        ASSERT(field->type.kind < ARRAY_LEN(natural_forms));
        children[i] =
            (WireType){.kind = WIRE_NATURAL,
                       .optional = true,
                       .field = arena_strndup(ret->arena, field->name, strlen(field->name)),
                       .field_bytes = (uint32_t)strlen(field->name),
                       .natural = field->type,
                       .form = natural_forms[field->type.kind],
                       .column = COLUMN_NONE};
        ok = !records || choose_debezium(field, records, &children[i], err);
    }
    if (!ok) {
        wire_schema_done(ret);
        return false;
    }
    *root = (WireType){.kind = WIRE_STRUCT,
                       .children = children,
                       .child_count = (uint32_t)columns->field_count,
                       .column = COLUMN_NONE};
    return true;
}
