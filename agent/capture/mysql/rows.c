/* Rows: see rows.h. */
#include "agent/capture/mysql/rows.h"

#include <stdio.h>

#include "agent/capture/mysql/unpack.h"
#include "agent/record/origin.h"
#include "common/mem.h"

enum RowValueKind { VALUE_ABSENT, VALUE_NULL, VALUE_THERE };

bool rows_is_event(uint8_t type)
{
    return (type >= EVENT_WRITE_V1 && type <= EVENT_DELETE_V1) ||
           (type >= EVENT_WRITE && type <= EVENT_DELETE) || type == EVENT_PARTIAL_UPDATE ||
           (type >= EVENT_WRITE_V1_COMPRESSED && type <= EVENT_DELETE_COMPRESSED);
}

/* --- events --- */

static RowsKind kind_of(uint8_t type)
{
    switch (type) {
    case EVENT_WRITE_V1:
    case EVENT_WRITE:
    case EVENT_WRITE_V1_COMPRESSED:
    case EVENT_WRITE_COMPRESSED:
        return ROWS_WRITE;
    case EVENT_DELETE_V1:
    case EVENT_DELETE:
    case EVENT_DELETE_V1_COMPRESSED:
    case EVENT_DELETE_COMPRESSED:
        return ROWS_DELETE;
    default:
        return ROWS_UPDATE;
    }
}

static bool has_extra(uint8_t type)
{
    return (type >= EVENT_WRITE && type <= EVENT_DELETE) || type == EVENT_PARTIAL_UPDATE ||
           (type >= EVENT_WRITE_COMPRESSED && type <= EVENT_DELETE_COMPRESSED);
}

bool rows_read(const BinlogEvent *event, const BinlogFormat *format, Bytes *unpacked,
               RowsEvent *ret, Error *err)
{
    Reader in = event->content;
    uint64_t flags, extra, columns;
    const uint8_t *at;
    ASSERT(rows_is_event(event->type));
    *ret = (RowsEvent){.kind = kind_of(event->type)};
    if (event->type == EVENT_PARTIAL_UPDATE)
        return error_set(err, ERROR_CONFIG, "PartialJson",
                         "the binlog has updates that say only how a JSON value changed: set "
                         "binlog_row_value_options = '' at the server and in every session, then "
                         "load the table again with --resnapshot");
    if (format->fixed_bytes[event->type] != (has_extra(event->type) ? 10 : 8))
        return binlog_bad(event, "its server numbers tables otherwise", err);
    if (!reader_le(&in, 6, &ret->table) || !reader_le(&in, 2, &flags))
        return binlog_bad(event, "it is too short", err);
    if (has_extra(event->type) &&
        (!reader_le(&in, 2, &extra) || extra < 2 || !reader_take(&in, extra - 2, &at)))
        return binlog_bad(event, "its extra data is longer than it", err);
    if (!reader_packed(&in, &columns) || columns > TABLE_COLUMNS_MAX)
        return binlog_bad(event, "it has no number of columns", err);
    size_t bits = (columns + 7) / 8;
    ret->last = flags & ROWS_FLAG_LAST;
    ret->columns = (uint32_t)columns;
    if ((ret->kind != ROWS_WRITE && !reader_take(&in, bits, &ret->has_old)) ||
        (ret->kind != ROWS_DELETE && !reader_take(&in, bits, &ret->has_new)))
        return binlog_bad(event, "it is too short for its columns", err);
    if (event->type >= EVENT_WRITE_V1_COMPRESSED && !unpack_mariadb(event, &in, unpacked, err))
        return false;
    ret->rows = in;
    return true;
}

/* --- plans --- */

void row_plan_free(RowPlan *plan)
{
    if (!plan)
        return;
    for (uint32_t i = 0; i < plan->column_count; i++) {
        my_decoder_done(&plan->decoders[i]);
        free(plan->names[i]);
    }
    free(plan->name);
    free(plan->decoders);
    free(plan->names);
    free(plan->columns);
    free(plan->is_key);
    free(plan->ids);
    free(plan->old_row);
    free(plan->new_row);
    bytes_done(&plan->scratch);
    free(plan);
}

static bool no_names(const TableMap *map, Error *err)
{
    return error_set(err, ERROR_CONFIG, "RowMetadata",
                     "table %s.%s: the binlog does not name its columns; set binlog_row_metadata "
                     "= FULL at the server",
                     map->schema_name, map->table_name);
}

Schema *rows_schema(const TableMap *map, const Collations *collations, Error *err)
{
    if (!map->has_names) {
        (void)no_names(map, err);
        return NULL;
    }
    AUTO(schema_free) Schema *schema = schema_new(map->column_count, map->key_count);
    for (uint32_t i = 0; i < map->column_count; i++) {
        Field *field = &schema->fields[i];
        MyDecoder decoder;
        const char *why;
        bool ok =
            my_decoder_choose(&map->columns[i], collations, NULL, &decoder, &field->type, &why);
        my_decoder_done(&decoder);
        field->name = mem_strdup(map->columns[i].name);
        field->required = !map->columns[i].nullable;
        field->origin = (int32_t)i + 1;
        if (!ok) {
            error_set(err, ERROR_CONFIG, "UnsupportedType",
                      "table %s.%s column %s: %s; exclude the table "
                      "(spec.source.tables.exclude)",
                      map->schema_name, map->table_name, map->columns[i].name, why);
            return NULL;
        }
    }
    for (uint32_t i = 0; i < map->key_count; i++)
        schema->key[i] = map->key[i];
    return TAKE(schema);
}

/* The decoder of a column that fills no field: only its length matters. */
static bool measure_only(const MyColumn *column, MyDecoder *ret)
{
    static const Collation binary = {COLLATION_BINARY, "binary"};
    MyColumn plain = *column;
    Type type;
    const char *why;
    plain.collation = COLLATION_BINARY;
    if (!plain.labels) {
        static const char *none[] = {NULL};
        static uint32_t bytes[] = {0};
        plain.labels = none;
        plain.label_bytes = bytes;
        plain.label_count = 0;
    }
    bool ok = my_decoder_choose(&plain, &(Collations){&binary, 1}, NULL, ret, &type, &why);
    type_done(&type);
    return ok;
}

static bool plan_column(RowPlan *plan, const TableMap *map, uint32_t column,
                        const Collations *collations, Error *err)
{
    int field = schema_find(plan->schema, plan->names[column]);
    const MyColumn *of = &map->columns[column];
    const char *why = "the log has no such values";
    Type type = {0};
    bool ok;
    if (field < 0) {
        ok = measure_only(of, &plan->decoders[column]);
    } else {
        plan->columns[field] = (int32_t)column;
        ok = my_decoder_choose(of, collations, &plan->schema->fields[field].type,
                               &plan->decoders[column], &type, &why);
        /* A list's type is owned by its schema; what was chosen is equal, and the plan's own. */
        if (type.kind == TYPE_LIST)
            type_done(&type);
    }
    if (!ok)
        return error_set(err, ERROR_CONFIG, "SchemaChanged", "table %s column %s: %s", plan->name,
                         plan->names[column], why);
    return true;
}

static void take_ids(RowPlan *plan)
{
    plan->id_count = 0;
    for (uint32_t i = 0; i < plan->schema->field_count; i++)
        if (plan->is_key[i])
            plan->ids[plan->id_count++] = i;
}

void row_plan_identify(RowPlan *plan, const int32_t *origins, size_t count)
{
    for (size_t i = 0; i < plan->schema->field_count; i++) {
        plan->is_key[i] = false;
        for (size_t k = 0; k < count; k++)
            plan->is_key[i] = plan->is_key[i] || plan->schema->fields[i].origin == origins[k];
    }
    take_ids(plan);
}

void row_plan_as_sent(RowPlan *plan)
{
    for (size_t i = 0; i < plan->schema->field_count; i++)
        if (plan->columns[i] >= 0)
            plan->decoders[plan->columns[i]].stands_in = !plan->is_key[i];
}

static RowPlan *make_plan(const TableMap *map, const Schema *schema, const char *const *names,
                          bool lenient, const Collations *collations, Error *err)
{
    if (!names && !map->has_names) {
        (void)no_names(map, err);
        return NULL;
    }
    AUTO(row_plan_free) RowPlan *plan = mem_zalloc(sizeof *plan);
    plan->name = mem_format("%s.%s", map->schema_name, map->table_name);
    plan->schema = schema;
    plan->column_count = map->column_count;
    plan->decoders = mem_array(map->column_count, sizeof *plan->decoders);
    plan->names = mem_array(map->column_count, sizeof *plan->names);
    plan->old_row = mem_array(map->column_count, sizeof *plan->old_row);
    plan->new_row = mem_array(map->column_count, sizeof *plan->new_row);
    plan->columns = mem_array(schema->field_count + 1, sizeof *plan->columns);
    plan->is_key = mem_array(schema->field_count + 1, sizeof *plan->is_key);
    plan->ids = mem_array(schema->field_count + 1, sizeof *plan->ids);
    plan->fills = true;
    for (size_t i = 0; i < schema->field_count; i++)
        plan->columns[i] = -1;
    for (size_t i = 0; i < schema->key_count; i++)
        plan->is_key[schema->key[i]] = true;
    take_ids(plan);
    for (uint32_t i = 0; i < map->column_count; i++) {
        plan->names[i] = mem_strdup(names ? names[i] : map->columns[i].name);
        if (!plan_column(plan, map, i, collations, err))
            return NULL;
    }
    for (size_t i = 0; i < schema->field_count; i++)
        if (plan->columns[i] < 0 && (!lenient || schema->fields[i].required)) {
            error_set(err, ERROR_CONFIG, "SchemaChanged", "table %s has no column %s any more",
                      plan->name, schema->fields[i].name);
            return NULL;
        }
    return TAKE(plan);
}

RowPlan *row_plan_new(const TableMap *map, const Schema *schema, const char *const *names,
                      const Collations *collations, Error *err)
{
    return make_plan(map, schema, names, false, collations, err);
}

RowPlan *row_plan_new_lenient(const TableMap *map, const Schema *schema,
                              const Collations *collations, Error *err)
{
    return make_plan(map, schema, NULL, true, collations, err);
}

/* --- rows --- */

static bool bad_row(const RowPlan *plan, const char *what, Error *err)
{
    return error_set(err, ERROR_DATA, "BadEvent", "rows of table %s: %s", plan->name, what);
}

static bool read_image(const RowPlan *plan, Reader *in, const uint8_t *has, RowValue *row,
                       Error *err)
{
    uint32_t count = 0, at = 0;
    const uint8_t *nulls;
    for (uint32_t i = 0; i < plan->column_count; i++)
        count += bit_get(has, i);
    if (UNLIKELY(!reader_take(in, (count + 7) / 8, &nulls)))
        return bad_row(plan, "a row is longer than its event", err);
    for (uint32_t i = 0; i < plan->column_count; i++) {
        row[i].kind = VALUE_ABSENT;
        if (UNLIKELY(!bit_get(has, i)))
            continue;
        row[i].kind = VALUE_NULL;
        if (bit_get(nulls, at++))
            continue;
        row[i].kind = VALUE_THERE;
        if (UNLIKELY(!value_take(&plan->decoders[i], in, &row[i].at, &row[i].bytes)))
            return bad_row(plan, "a row is longer than its event", err);
    }
    return true;
}

/* The key of a row in words, for a message; cut to fit. */
static void describe(const RowPlan *plan, const RowValue *row, char *to, size_t to_bytes)
{
    size_t used = 0;
    *to = 0;
    for (size_t i = 0; i < plan->schema->key_count; i++) {
        uint32_t field = plan->schema->key[i];
        const RowValue *value = &row[plan->columns[field]];
        Bytes text = {0};
        if (value->kind == VALUE_THERE &&
            value_print(&plan->decoders[plan->columns[field]], value->at, value->bytes, &text))
            bytes_clear(&text);
        int more =
            snprintf(to + used, to_bytes - used, "%s%s = %.*s", i ? ", " : "",
                     plan->schema->fields[field].name, (int)(text.used < 60 ? text.used : 60),
                     text.used ? (const char *)text.data : "");
        bytes_done(&text);
        if (more < 0 || (size_t)more >= to_bytes - used)
            return;
        used += (size_t)more;
    }
}

static bool bad_value(const RowPlan *plan, size_t field, const RowValue *row, const char *why,
                      Error *err)
{
    char key[160];
    describe(plan, row, key, sizeof key);
    return error_set(
        err, ERROR_DATA, "BadValue",
        "table %s column %s: the value %s; row %s; change the value at the source, give the column "
        "the type string (columns in the LakeTable's spec), or exclude the table "
        "(spec.source.tables.exclude)",
        plan->name, plan->schema->fields[field].name, why, *key ? key : "without a key");
}

static bool incomplete(const RowPlan *plan, size_t field, Error *err)
{
    return error_set(err, ERROR_CONFIG, "RowImageIncomplete",
                     "table %s: a row of the binlog lacks column %s; set binlog_row_image = FULL "
                     "at the server, then copy the table anew",
                     plan->name, plan->schema->fields[field].name);
}

typedef enum Fields { FIELDS_ALL, FIELDS_KEY, FIELDS_THERE } Fields;

/* One row of the batch, which is undone on false. other: where values come from that `row` lacks,
 * NULL: there is nothing. */
static bool put_row(RowPlan *plan, Batch *batch, RowOp op, RowPosition at, const RowValue *row,
                    const RowValue *other, Fields fields, Error *err)
{
    batch_row_begin(batch, op, at);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        int32_t of = plan->columns[i];
        Column *column = &batch->columns[i];
        if (UNLIKELY(of < 0)) {
            column_put_null(batch, column);
            continue;
        }
        const RowValue *value = &row[of];
        if (UNLIKELY(value->kind == VALUE_ABSENT && other))
            value = &other[of];
        bool wanted = fields != FIELDS_KEY || plan->is_key[i];
        if (LIKELY(value->kind == VALUE_THERE && wanted)) {
            const char *why = value_decode(&plan->decoders[of], batch, column, value->at,
                                           value->bytes, &plan->scratch);
            if (LIKELY(!why))
                continue;
            batch_row_undo(batch);
            return bad_value(plan, i, row, why, err);
        }
        bool lacks = value->kind == VALUE_ABSENT && fields == FIELDS_ALL;
        if (UNLIKELY((value->kind == VALUE_ABSENT && (plan->is_key[i] || op == ROW_INSERT)) ||
                     (lacks && !plan->fills))) {
            batch_row_undo(batch);
            return incomplete(plan, i, err);
        }
        if (UNLIKELY(lacks))
            column_put_unchanged(batch, column);
        else
            column_put_null(batch, column);
    }
    return true;
}

/* Does the new image have another key? One that it lacks is as it was. */
static bool moves(const RowPlan *plan)
{
    for (size_t i = 0; i < plan->id_count; i++) {
        int32_t of = plan->columns[plan->ids[i]];
        if (of < 0)
            continue;
        const RowValue *before = &plan->old_row[of], *after = &plan->new_row[of];
        if (after->kind == VALUE_ABSENT || before->kind == VALUE_ABSENT)
            continue;
        if (after->kind != before->kind ||
            (after->kind == VALUE_THERE &&
             (after->bytes != before->bytes || memcmp(after->at, before->at, after->bytes) != 0)))
            return true;
    }
    return false;
}

static bool put_update(RowPlan *plan, Batch *batch, RowPosition at, Error *err)
{
    bool moved = moves(plan);
    if (moved && !put_row(plan, batch, ROW_MOVE, at, plan->old_row, NULL, FIELDS_KEY, err))
        return false;
    if (put_row(plan, batch, ROW_UPDATE, at, plan->new_row, plan->old_row, FIELDS_ALL, err))
        return true;
    if (moved)
        batch_row_undo(batch);
    return false;
}

static bool has_all(const uint8_t *has, uint32_t columns)
{
    for (uint32_t i = 0; i < columns; i++)
        if (!bit_get(has, i))
            return false;
    return true;
}

/* The old row beside the batch; *ret: which one it is there. */
static bool put_before(RowPlan *plan, const RowsEvent *event, Batch *batch, RowPosition at,
                       uint32_t *ret, Error *err)
{
    *ret = ORIGIN_NO_BEFORE;
    if (event->kind == ROWS_WRITE || !has_all(event->has_old, event->columns))
        return true;
    Batch *to = origins_before(batch);
    size_t bytes = to->bytes;
    if (!put_row(plan, to, ROW_DELETE, at, plan->old_row, NULL, FIELDS_THERE, err))
        return false;
    batch->bytes += to->bytes - bytes;
    *ret = to->row_count - 1;
    return true;
}

static bool put_kind(RowPlan *plan, RowsKind kind, Batch *batch, RowPosition at, Error *err)
{
    switch (kind) {
    case ROWS_WRITE:
        return put_row(plan, batch, ROW_INSERT, at, plan->new_row, NULL, FIELDS_ALL, err);
    case ROWS_DELETE:
        return put_row(plan, batch, ROW_DELETE, at, plan->old_row, NULL, FIELDS_THERE, err);
    case ROWS_UPDATE:
        return put_update(plan, batch, at, err);
    }
    return false;
}

bool rows_put_next(RowPlan *plan, RowsEvent *event, Batch *batch, RowPosition at, Error *err)
{
    ASSERT(batch->row_count + 2 <= batch->row_max &&
           batch->column_count == plan->schema->field_count);
    Reader in = event->rows;
    if (UNLIKELY(event->columns != plan->column_count))
        return bad_row(plan, "it has another number of columns than its table map", err);
    if (event->kind != ROWS_WRITE && !read_image(plan, &in, event->has_old, plan->old_row, err))
        return false;
    if (event->kind != ROWS_DELETE && !read_image(plan, &in, event->has_new, plan->new_row, err))
        return false;
    if (UNLIKELY(in.at == event->rows.at))
        return bad_row(plan, "a row has no bytes", err);
    uint32_t first = batch->row_count, before = ORIGIN_NO_BEFORE;
    if (batch->origins && !put_before(plan, event, batch, at, &before, err))
        return false;
    if (UNLIKELY(!put_kind(plan, event->kind, batch, at, err))) {
        if (before != ORIGIN_NO_BEFORE)
            batch_row_undo(batch->origins->before);
        return false;
    }
    for (uint32_t i = first; batch->origins && i < batch->row_count; i++)
        batch->origins->rows[i] = (RowOrigin){.before = i == first ? before : ORIGIN_NO_BEFORE};
    event->rows = in;
    return true;
}
